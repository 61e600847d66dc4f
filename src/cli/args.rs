//! The command line, as clap reads it.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::domain::shown;

/// Exit codes, shown below the help.
const EXITS: &str = "\
Exit codes: 0 done, 1 an honest no, 2 bad usage or input, 3 cannot judge here, 4 network,
5 unknown to the matrix, 70 a bug of gpuseal, 130 interrupted.";

/// Makes a PyTorch GPU container right before it is built, and proves it on the GPU after.
#[derive(Debug, Parser)]
#[command(name = "gpuseal", version, after_help = EXITS, max_term_width = 100)]
pub struct Cli {
    /// Options of every command.
    #[command(flatten)]
    pub global: Global,
    /// The command.
    #[command(subcommand)]
    pub command: Command,
}

/// Options of every command.
#[derive(Debug, Args)]
pub struct Global {
    /// Another matrix than the embedded one: a folder of YAML files, or one file.
    #[arg(long, global = true, env = "GPUSEAL_MATRIX", value_name = "DIR|FILE")]
    pub matrix: Option<PathBuf>,
    /// Rows of your own, laid over the matrix and marked in every output.
    #[arg(long, global = true, env = "GPUSEAL_OVERLAY", value_name = "FILE")]
    pub overlay: Vec<PathBuf>,
    /// How to answer.
    #[arg(long, global = true, env = "GPUSEAL_FORMAT", value_enum, default_value_t = Format::Human)]
    pub format: Format,
    /// Also answer so in a file: `sarif=gpuseal.sarif`. Markdown is added to the end of its file, as the
    /// summaries of workflows are written; other files are written anew, over an earlier report or an
    /// empty file alone. Repeatable.
    #[arg(long, global = true, value_name = "FORMAT=FILE")]
    pub report: Vec<Report>,
    /// When to use colour.
    #[arg(long, global = true, env = "GPUSEAL_COLOR", value_enum, default_value_t = Color::Auto, value_name = "WHEN")]
    pub color: Color,
    /// Say where each value comes from, and tell every request with its bytes.
    #[arg(short, long, global = true)]
    pub verbose: bool,
    /// Print nothing but the result and errors.
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub quiet: bool,
}

/// Voices of the result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Text.
    Human,
    /// One JSON document.
    Json,
    /// GitHub workflow annotations.
    Github,
    /// SARIF 2.1.0, for code scanning; findings are no failure then, so exit code 1 is 0.
    Sarif,
    /// Markdown, for job summaries.
    Markdown,
}

/// A voice and the file that it speaks to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// The voice.
    pub format: Format,
    /// The file.
    pub file: PathBuf,
}

impl FromStr for Report {
    type Err = String;

    fn from_str(given: &str) -> Result<Self, Self::Err> {
        let (format, file) = given
            .split_once('=')
            .filter(|(_, file)| !file.is_empty())
            .ok_or("it is no FORMAT=FILE, such as `json=report.json`")?;
        let format = Format::from_str(format, false).map_err(|_| {
            let words: Vec<_> = Format::value_variants()
                .iter()
                .filter_map(|format| Some(format.to_possible_value()?.get_name().to_owned()))
                .collect();
            format!("there is no format `{}`: formats are {}", shown(format), words.join(", "))
        })?;
        Ok(Self { format, file: file.into() })
    }
}

/// When to use colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Color {
    /// On a terminal, unless NO_COLOR says otherwise.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// Commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Pick the stack for every target.
    Resolve(Resolve),
    /// Write a first gpuseal.yaml from what the project's own files say.
    Init(Init),
    /// Show what the project's own files ask for, and from which line.
    Inputs(Inputs),
    /// Judge one given combination: what if?
    Check(Check),
    /// Resolve, and write gpuseal.lock.
    Lock(Lock),
    /// Write a Dockerfile, an install script or another tool's files from the lock.
    Render(Render),
    /// Judge this host or container, link by link from the GPU to torch; verdict first.
    Doctor(Doctor),
    /// Prove on the GPU that an image computes what it should.
    Verify(Verify),
    /// Find the root cause in an error text, a log, a pasted collect_env or nvidia-smi; and the fix.
    Diagnose(Diagnose),
    /// Show the chain from card to image of a target, with the source of each fact.
    Why(Why),
    /// Print the page of a finding code: what it means, how to see it, what to do.
    Explain(Explain),
    /// Show, compare and check the compatibility matrix.
    #[command(subcommand)]
    Matrix(MatrixCommand),
    /// Print a JSON Schema.
    Schema(Schema),
    /// Print what completes gpuseal's commands and options in a shell.
    Completions(Completions),
    /// Print the manual page of gpuseal or of one of its commands.
    Man(Man),
    /// Do what the inputs of the GitHub Action ask for, `GPUSEAL_INPUT_*`, and write its outputs.
    #[command(hide = true)]
    Action,
    /// Ask a driver library in this process, which may not survive it; `doctor` starts it.
    #[command(hide = true)]
    HostProbe(HostProbe),
    /// Run one layer of a verification in this process, which may not survive it; `verify` starts it.
    #[command(hide = true)]
    VerifyLayer,
}

impl Command {
    /// The folder of the project that it is about.
    pub fn project(&self) -> Option<&Path> {
        match self {
            Self::Resolve(args) => Some(&args.wanted.project),
            Self::Lock(args) => Some(&args.wanted.project),
            Self::Why(args) => Some(&args.wanted.project),
            Self::Inputs(args) => Some(&args.path),
            Self::Check(args) => args.project.as_deref(),
            Self::Render(args) => Some(&args.project),
            Self::Doctor(args) => Some(&args.project),
            Self::Verify(args) => Some(&args.project),
            _ => None,
        }
    }

    /// The name of a command whose answer has voices; `None` of one that writes a text of its own.
    pub const fn answers(&self) -> Option<&'static str> {
        match self {
            Self::Resolve(_) => Some("resolve"),
            Self::Inputs(_) => Some("inputs"),
            Self::Check(_) => Some("check"),
            Self::Lock(_) => Some("lock"),
            Self::Render(_) => Some("render"),
            Self::Doctor(_) => Some("doctor"),
            Self::Verify(_) => Some("verify"),
            Self::Diagnose(_) => Some("diagnose"),
            Self::Why(_) => Some("why"),
            Self::Explain(_) => Some("explain"),
            _ => None,
        }
    }
}

/// Machines that the image is to run on.
#[derive(Debug, Clone, Default, Args)]
pub struct Machines {
    /// A card: alias, nvidia-smi name, `sm_90`, `9.0`, cloud instance type, or `host` for the cards and
    /// the driver of this machine. Repeatable.
    #[arg(long = "gpu", env = "GPUSEAL_GPU", value_delimiter = ',', value_name = "G")]
    pub gpus: Vec<String>,
    /// Driver: the oldest of the pool, a branch, a range, `cuda:12.8`.
    #[arg(long, env = "GPUSEAL_DRIVER", value_name = "D")]
    pub driver: Option<String>,
    /// Platform, `linux/amd64`.
    #[arg(long, env = "GPUSEAL_PLATFORM", value_name = "P")]
    pub platform: Option<String>,
    /// Distribution, or `glibc:2.28`.
    #[arg(long, env = "GPUSEAL_OS", value_name = "NAME")]
    pub os: Option<String>,
}

/// What counts of a project's own files.
#[derive(Debug, Clone, Default, Args)]
pub struct Chosen {
    /// Read the project's demands from this file alone: requirements, pyproject.toml, environment.yml
    /// ... Repeatable.
    #[arg(short = 'r', long = "requirement", value_name = "FILE")]
    pub requirements: Vec<PathBuf>,
    /// An extra of the project that is installed. Repeatable.
    #[arg(long = "extra", value_name = "NAME")]
    pub extras: Vec<String>,
    /// A dependency group of the project that is installed. Repeatable.
    #[arg(long = "group", value_name = "NAME")]
    pub groups: Vec<String>,
}

/// What is wanted: from gpuseal.yaml, changed by flags.
#[derive(Debug, Clone, Default, Args)]
pub struct Wanted {
    /// Folder of the project.
    #[arg(long, env = "GPUSEAL_PROJECT", default_value = ".", value_name = "DIR")]
    pub project: PathBuf,
    /// The configuration file, instead of the one in the project's folder.
    #[arg(long, env = "GPUSEAL_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// torch: `2.9.1`, `2.9`, `>=2.8,<2.10`, `2.6.0+cu126`.
    #[arg(long, env = "GPUSEAL_TORCH", value_name = "SPEC")]
    pub torch: Option<String>,
    /// Python: `3.12` or a range.
    #[arg(long, env = "GPUSEAL_PYTHON", value_name = "V")]
    pub python: Option<String>,
    /// Where it is to run.
    #[command(flatten)]
    pub machines: Machines,
    /// A further package, as a requirement. Repeatable.
    #[arg(long = "with", value_name = "REQ")]
    pub with: Vec<String>,
    /// CUDA builds: `12.8`, `>=12.6`, `cu128`.
    #[arg(long, env = "GPUSEAL_CUDA", value_name = "SPEC")]
    pub cuda: Option<String>,
    /// What will be done with it: compile, nvcc, nccl, fp8, cudnn. Repeatable.
    #[arg(long, value_delimiter = ',', value_name = "NEED")]
    pub needs: Vec<String>,
    /// Which of several answers is best: newest, stable, oldest-driver, smallest.
    #[arg(long, env = "GPUSEAL_PREFER", value_name = "HOW")]
    pub prefer: Option<String>,
    /// What is only done on demand: ptx, forward-compat, unofficial. Repeatable.
    #[arg(long, value_delimiter = ',', value_name = "WHAT")]
    pub allow: Vec<String>,
    /// What counts of the project's own files.
    #[command(flatten)]
    pub chosen: Chosen,
    /// Take nothing from the project's own files.
    #[arg(long, conflicts_with_all = ["requirements", "extras", "groups"])]
    pub no_project: bool,
    /// Only this target of the file. Repeatable.
    #[arg(long = "target", value_name = "NAME")]
    pub targets: Vec<String>,
}

/// `gpuseal resolve`
#[derive(Debug, Args)]
pub struct Resolve {
    /// What is wanted.
    #[command(flatten)]
    pub wanted: Wanted,
    /// Also fail when gpuseal.lock no longer matches.
    #[arg(long)]
    pub check: bool,
    /// As a hook before a commit: --check that says nothing when all is well, and fails when git would
    /// commit without the lock.
    #[arg(long, conflicts_with_all = ["check", "targets"])]
    pub hook: bool,
}

/// `gpuseal init`
#[derive(Debug, Args)]
pub struct Init {
    /// Folder of the project.
    #[arg(long, env = "GPUSEAL_PROJECT", default_value = ".", value_name = "DIR")]
    pub project: PathBuf,
    /// Where it is to run.
    #[command(flatten)]
    pub machines: Machines,
}

/// `gpuseal inputs`
#[derive(Debug, Args)]
pub struct Inputs {
    /// Folder of the project, or one file of it.
    #[arg(env = "GPUSEAL_PROJECT", default_value = ".", value_name = "PATH")]
    pub path: PathBuf,
    /// The configuration file, instead of the one in the project's folder.
    #[arg(long, env = "GPUSEAL_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Read only this file: requirements, pyproject.toml, environment.yml, Dockerfile ... Repeatable.
    #[arg(short = 'r', long = "requirement", value_name = "FILE")]
    pub requirements: Vec<PathBuf>,
}

/// `gpuseal check`
#[derive(Debug, Args)]
pub struct Check {
    /// Exact version, `2.6.0+cu126`; without a label, the file that PyPI serves.
    #[arg(long, value_name = "VERSION")]
    pub torch: Option<String>,
    /// A card. Repeatable.
    #[arg(long = "gpu", value_name = "G")]
    pub gpus: Vec<String>,
    /// Driver, or `none`.
    #[arg(long, value_name = "D")]
    pub driver: Option<String>,
    /// Python, `3.12`.
    #[arg(long, value_name = "V")]
    pub python: Option<String>,
    /// Distribution, or `glibc:2.28`.
    #[arg(long, value_name = "NAME")]
    pub os: Option<String>,
    /// Platform, `linux/amd64`.
    #[arg(long, value_name = "P")]
    pub platform: Option<String>,
    /// The one index that the install line names: `pypi` or a URL.
    #[arg(long, value_name = "URL")]
    pub index: Option<String>,
    /// A further package, `torchvision==0.21.0+cu118`. Repeatable.
    #[arg(long = "with", value_name = "REQ")]
    pub with: Vec<String>,
    /// The toolkit that compiles extensions, `12.1`.
    #[arg(long, value_name = "V")]
    pub nvcc: Option<String>,
    /// An environment variable. Repeatable.
    #[arg(long = "env", value_name = "NAME=VALUE")]
    pub env: Vec<String>,
    /// The base image, `nvidia/cuda:12.8.1-base-ubuntu22.04`.
    #[arg(long, value_name = "TAG")]
    pub base_image: Option<String>,
    /// Flavour of the kernel module.
    #[arg(long, value_name = "open|proprietary")]
    pub kernel_module: Option<String>,
    /// What will be done with it: compile. Repeatable.
    #[arg(long, value_delimiter = ',', value_name = "NEED")]
    pub needs: Vec<String>,
    /// What is only done on demand: forward-compat. Repeatable.
    #[arg(long, value_delimiter = ',', value_name = "WHAT")]
    pub allow: Vec<String>,
    /// Take cards, driver, platform, os and kernel module of this target of gpuseal.yaml.
    #[arg(long, value_name = "NAME")]
    pub target: Option<String>,
    /// Folder of the project: torch, Python and companions are judged as its own files pin them.
    #[arg(long, value_name = "DIR")]
    pub project: Option<PathBuf>,
    /// What counts of the project's own files.
    #[command(flatten)]
    pub chosen: Chosen,
}

/// `gpuseal lock`
#[derive(Debug, Args)]
#[allow(clippy::struct_excessive_bools, reason = "flags of a command line are bools")]
pub struct Lock {
    /// What is wanted.
    #[command(flatten)]
    pub wanted: Wanted,
    /// Ask no index and no registry: what the cache and the old lock do not know is marked as not
    /// fetched.
    #[arg(long, env = "GPUSEAL_OFFLINE")]
    pub offline: bool,
    /// Write nothing and ask nobody; fail when the lock no longer satisfies what is asked for, or when a
    /// file named by --render is not what it renders.
    #[arg(long)]
    pub check: bool,
    /// Fail when the lock no longer satisfies what is asked for; write what --render names from it.
    #[arg(long, env = "GPUSEAL_LOCKED", conflicts_with = "check")]
    pub locked: bool,
    /// Take the lock as it stands, without a look at what is asked for.
    #[arg(long, env = "GPUSEAL_FROZEN", conflicts_with_all = ["check", "locked"])]
    pub frozen: bool,
    /// Write nothing; show what would change.
    #[arg(long, conflicts_with_all = ["check", "locked", "frozen"])]
    pub dry_run: bool,
    /// Replace a lock that cannot be read.
    #[arg(long)]
    pub force: bool,
    /// Let everything change: versions, files and image digests.
    #[arg(short = 'U', long, conflicts_with_all = ["check", "locked", "frozen"])]
    pub upgrade: bool,
    /// Let this package change; `torch` frees its build and Python too. Repeatable.
    #[arg(short = 'P', long, value_name = "NAME", conflicts_with_all = ["check", "locked", "frozen", "upgrade"])]
    pub upgrade_package: Vec<String>,
    /// Accept that a file of this package has another hash than in the lock. Repeatable.
    #[arg(long, value_name = "NAME")]
    pub accept_hash: Vec<String>,
    /// Lock the project's other packages too: uv solves them around ours. A lock that has them keeps
    /// them.
    #[arg(long, overrides_with = "no_with_deps")]
    pub with_deps: bool,
    /// Leave the project's other packages to its own lock.
    #[arg(long, overrides_with = "with_deps")]
    pub no_with_deps: bool,
    /// Ask no registry: images stay named by tag.
    #[arg(long, env = "GPUSEAL_NO_IMAGES")]
    pub no_images: bool,
    /// Fail when the matrix has corrected a fact that the lock rests on.
    #[arg(long)]
    pub deny_withdrawn: bool,
    /// Longest wait for the next byte of an answer; an answer as a whole gets four times as long.
    #[arg(long, env = "GPUSEAL_HTTP_TIMEOUT", value_name = "SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub timeout: u64,
    /// How often a question is asked again that may yet be answered.
    #[arg(long, env = "GPUSEAL_HTTP_RETRIES", value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(0..=20))]
    pub retries: u32,
    /// Folder of the cache.
    #[arg(long, env = "GPUSEAL_CACHE_DIR", value_name = "DIR")]
    pub cache_dir: Option<PathBuf>,
    /// Keep no cache and use none.
    #[arg(long, env = "GPUSEAL_NO_CACHE")]
    pub no_cache: bool,
    /// Also render these next to the lock.
    #[arg(long, value_enum, value_name = "KIND")]
    pub render: Vec<Kind>,
}

/// `gpuseal render`
#[derive(Debug, Clone, Args)]
#[allow(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
pub struct Render {
    /// What to write.
    #[arg(value_enum)]
    pub kind: Kind,
    /// Folder with gpuseal.lock.
    #[arg(long, env = "GPUSEAL_PROJECT", default_value = ".", value_name = "DIR")]
    pub project: PathBuf,
    /// Only this target. Repeatable.
    #[arg(long = "target", value_name = "NAME")]
    pub targets: Vec<String>,
    /// Where to write; standard output when absent or `-`. In a folder the files have their usual names.
    #[arg(short, long, value_name = "FILE|DIR", group = "place")]
    pub output: Option<PathBuf>,
    /// Edit the project's pyproject.toml, which keeps its comments; of uv.
    #[arg(long, group = "place")]
    pub write: bool,
    /// Write over a file of somebody else's, a block that was edited by hand, or another source of uv.
    #[arg(long)]
    pub force: bool,
    /// Write nothing; show the difference and fail when the file is not what would be written. Without
    /// -o the file that `lock --render` writes.
    #[arg(long)]
    pub check: bool,
    /// Write nothing; show what would change.
    #[arg(long)]
    pub diff: bool,
    /// As a hook before a commit: write what is out of date where `lock --render` does, and fail when
    /// anything was, or when git would commit without it.
    #[arg(long, conflicts_with_all = ["check", "diff", "explain_size"])]
    pub hook: bool,
    /// A Tera template of your own, with the same context: `gpuseal schema template-context`.
    #[arg(long, value_name = "FILE")]
    pub template: Option<PathBuf>,
    /// Keep the stages in a marked block of a Dockerfile of your own: the project's, or -o FILE.
    #[arg(long)]
    pub managed: bool,
    /// Leave out the `# syntax=` line, for builders that cannot fetch the frontend; of dockerfile.
    #[arg(long)]
    pub no_syntax_line: bool,
    /// Show what the images will weigh, part by part, instead of the file; beside it with -o. Of
    /// dockerfile.
    #[arg(long)]
    pub explain_size: bool,
    /// The shell that runs the script; of install.
    #[arg(long, value_enum, value_name = "SHELL")]
    pub shell: Option<Shell>,
    /// What the built image is called; without a tag it gets one of target and lock.
    #[arg(long, value_name = "NAME")]
    pub image: Option<String>,
    /// Ask for GPUs by Dynamic Resource Allocation; of k8s.
    #[arg(long)]
    pub dra: bool,
    /// What starts the container; of slurm.
    #[arg(long, value_enum, value_name = "RUNTIME")]
    pub runtime: Option<Runtime>,
    /// What happens on a host without a GPU; of devcontainer.
    #[arg(long, value_enum, value_name = "WHEN")]
    pub gpu: Option<Gpu>,
}

/// Shells of an install script.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Shell {
    /// POSIX sh, for Linux.
    Sh,
    /// PowerShell 5.1 or newer, for Windows.
    Powershell,
}

/// What starts the container of a Slurm job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Runtime {
    /// Slurm's plugin pyxis, over enroot.
    Pyxis,
    /// Apptainer.
    Apptainer,
}

/// Whether a development container can do without a GPU.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Gpu {
    /// It does not start.
    Required,
    /// It starts without one.
    Optional,
}

/// Kinds of rendered files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Kind {
    /// A Dockerfile with a stage for every target.
    Dockerfile,
    /// A script that installs a target into an environment.
    Install,
    /// A Compose file with a service for every target.
    Compose,
    /// A development container of a target.
    Devcontainer,
    /// A Kubernetes Job for every target.
    K8s,
    /// A batch script for Slurm.
    Slurm,
    /// A definition file for Apptainer.
    Apptainer,
    /// A GitHub workflow that builds every target.
    Github,
    /// GitLab jobs that build every target.
    Gitlab,
    /// Every file of a target by address and hash, for pip and uv.
    Requirements,
    /// The same as a pylock.toml (PEP 751).
    Pylock,
    /// Exact versions of a target.
    Constraints,
    /// Indexes and sources for the pyproject.toml of a project that uses uv.
    Uv,
}

/// `gpuseal doctor`
#[derive(Debug, Args)]
pub struct Doctor {
    /// The Python environment to look at: an interpreter, or the folder of an environment. Repeatable;
    /// without it the active one, `.venv` and the one on PATH.
    #[arg(long = "env", value_name = "PYTHON")]
    pub envs: Vec<PathBuf>,
    /// Run no Python: look at its files only.
    #[arg(long)]
    pub no_run: bool,
    /// Folder of the project whose gpuseal.lock or gpuseal.yaml this machine is to serve.
    #[arg(long, default_value = ".", value_name = "DIR")]
    pub project: PathBuf,
    /// The target that runs here; without it every one of this platform is held against the cards.
    #[arg(long = "target", value_name = "NAME")]
    pub target: Option<String>,
    /// Judge a recorded machine and look at nothing here; `-` is standard input.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["envs", "no_run", "record"])]
    pub facts: Option<PathBuf>,
    /// Write what was found to a file that replays anywhere: no host, user or serial number stands in it.
    #[arg(long, value_name = "FILE")]
    pub record: Option<PathBuf>,
    /// Print a block for bug reports, in Markdown.
    #[arg(long)]
    pub shareable: bool,
}

/// `gpuseal verify`
#[derive(Debug, Args)]
#[command(override_usage = "gpuseal verify [OPTIONS] <IMAGE> [-- <ENGINE_ARGS>...]
       gpuseal verify [OPTIONS] --here
       gpuseal verify [OPTIONS] --static [IMAGE]
       gpuseal verify [OPTIONS] --replay <REPORT.json>
       gpuseal verify [OPTIONS] --compare <A.json> <B.json>")]
#[allow(clippy::struct_excessive_bools, reason = "each is a flag of its own")]
pub struct Verify {
    /// The image; it is run by a container engine of this host, with this very program inside.
    #[arg(required_unless_present_any = ["here", "files_only", "compare", "replay"], conflicts_with_all = ["here", "compare", "replay"], value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pub image: Option<String>,
    /// Verify the environment that this program runs in: inside a container, or a machine's own torch.
    #[arg(long, conflicts_with_all = ["compare", "replay"])]
    pub here: bool,
    /// Look at files and versions alone; needs no GPU. Of an image where one is named, else of this
    /// environment.
    #[arg(long = "static", conflicts_with_all = ["layers", "dtypes", "devices", "gpus"])]
    pub files_only: bool,
    /// Compare two reports of earlier runs (JSON), of the same image on two machines or over time.
    #[arg(long, num_args = 2, value_names = ["A.json", "B.json"], conflicts_with_all = ["junit", "prometheus", "attest"])]
    pub compare: Option<Vec<PathBuf>>,
    /// Say the report of an earlier run (JSON) again, in any voice; nothing is run.
    #[arg(long, value_name = "REPORT.json", conflicts_with_all = ["compare", "print_command"])]
    pub replay: Option<PathBuf>,
    /// Folder of the project whose gpuseal.lock the image is held against.
    #[arg(long, default_value = ".", value_name = "DIR")]
    pub project: PathBuf,
    /// The target of the lock; needed where it has several for this platform.
    #[arg(long, value_name = "NAME")]
    pub target: Option<String>,
    /// The image's interpreter or the folder of its environment; without it the one that is active, or on
    /// PATH.
    #[arg(long = "env", value_name = "PYTHON")]
    pub env: Option<PathBuf>,
    /// Layers to run; without it all of them.
    #[arg(long = "layer", value_enum, value_delimiter = ',', value_name = "LAYER")]
    pub layers: Vec<LayerArg>,
    /// Data types to prove; without it all that the card and the library have.
    #[arg(long = "dtype", value_enum, value_delimiter = ',', value_name = "DTYPE")]
    pub dtypes: Vec<DtypeArg>,
    /// Devices in CUDA's order; without it all of them.
    #[arg(long = "device", value_delimiter = ',', value_name = "INDEX")]
    pub devices: Vec<u32>,
    /// Do not measure the speed.
    #[arg(long)]
    pub no_speed: bool,
    /// Longest that any phase may take, in seconds; without it each phase has its own limit.
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..))]
    pub phase_limit: Option<u64>,
    /// Seed of the random numbers.
    #[arg(long, default_value_t = 1, value_name = "N")]
    pub seed: u64,
    /// Prove with small matrices, for tests in which a CPU stands in for the device.
    #[arg(long, hide = true)]
    pub quick: bool,
    /// Exit with 0 also where nothing was proven, and say so.
    #[arg(long)]
    pub allow_unproven: bool,
    /// The container engine: docker, podman or nerdctl; without it the first that works.
    #[arg(long, value_name = "ENGINE", requires = "image", conflicts_with_all = ["here", "compare", "replay"])]
    pub engine: Option<String>,
    /// GPUs for the container: `all`, `device=0,1`, a CDI name such as `nvidia.com/gpu=0`, or `none`; without
    /// it all of them, in the way that this host offers.
    #[arg(long, value_name = "GPUS", requires = "image", conflicts_with_all = ["here", "compare", "replay"])]
    pub gpus: Option<String>,
    /// Longest that the container may run, in seconds; then it is removed.
    #[arg(long, default_value_t = 900, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..))]
    pub run_limit: u64,
    /// Print the command that would be run, as one line for a shell, and run nothing: that of the container for an
    /// IMAGE, with --here the one to run inside. Needs no engine: without one it is Docker's.
    #[arg(long, conflicts_with = "compare")]
    pub print_command: bool,
    /// More for the `run` of the engine, after `--`: `-- --shm-size 8g`.
    #[arg(last = true, value_name = "ENGINE_ARGS", requires = "image", conflicts_with_all = ["here", "compare", "replay"])]
    pub engine_args: Vec<String>,
    /// Write a JUnit report.
    #[arg(long, value_name = "FILE")]
    pub junit: Option<PathBuf>,
    /// Write metrics for Prometheus's textfile collector.
    #[arg(long, value_name = "FILE")]
    pub prometheus: Option<PathBuf>,
    /// Write an in-toto statement: what was proven, about which image, lock, GPU and driver.
    #[arg(long, value_name = "FILE")]
    pub attest: Option<PathBuf>,
}

/// A layer on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LayerArg {
    /// Files and versions.
    Static,
    /// Kernel driver, device nodes, NVML.
    Driver,
    /// libcuda and a context on each device.
    Cuda,
    /// gpuseal's own kernels, as PTX and as cubin.
    Kernel,
    /// The image's cuBLAS.
    Cublas,
    /// The image's cuDNN.
    Cudnn,
    /// The image's torch.
    Torch,
    /// NCCL between several devices.
    Nccl,
}

/// A data type on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum DtypeArg {
    /// 32 bits.
    Fp32,
    /// 32 bits on tensor cores.
    Tf32,
    /// IEEE half.
    Fp16,
    /// bfloat16.
    Bf16,
    /// FP8.
    E4m3,
    /// Integers.
    Int8,
}

/// `gpuseal diagnose`
#[derive(Debug, Args)]
pub struct Diagnose {
    /// The text; `-`, or nothing, is standard input.
    #[arg(value_name = "LOG")]
    pub log: Option<PathBuf>,
}

/// `gpuseal why`
#[derive(Debug, Args)]
pub struct Why {
    /// The target.
    pub name: Option<String>,
    /// What is asked for.
    #[command(flatten)]
    pub wanted: Wanted,
}

/// `gpuseal explain`
#[derive(Debug, Args)]
pub struct Explain {
    /// A finding code; without one, all of them are listed.
    pub code: Option<String>,
}

/// `gpuseal schema`
#[derive(Debug, Args)]
pub struct Schema {
    /// Of what.
    #[arg(value_enum)]
    pub of: Described,
}

/// `gpuseal completions`
#[derive(Debug, Args)]
pub struct Completions {
    /// Of which shell.
    #[arg(value_enum)]
    pub shell: clap_complete::Shell,
}

/// `gpuseal man`
#[derive(Debug, Args)]
pub struct Man {
    /// The command, such as `lock` or `matrix show`; without one, the page of gpuseal itself.
    #[arg(value_name = "COMMAND")]
    pub command: Vec<String>,
    /// Write a page for every command into this folder.
    #[arg(short, long, value_name = "DIR", conflicts_with = "command")]
    pub output: Option<PathBuf>,
}

/// What has a schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Described {
    /// What the templates of `render` see, your own too.
    TemplateContext,
}

/// `gpuseal host-probe`
#[derive(Debug, Args)]
pub struct HostProbe {
    /// What is asked.
    #[arg(long, value_enum, value_name = "WHAT")]
    pub ask: Asked,
    /// Ask the library in a child, and wait so long for the answer.
    #[arg(long, value_name = "SECONDS")]
    pub within: Option<u64>,
}

/// What of the driver can be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Asked {
    /// libnvidia-ml.so.1.
    Nvml,
    /// libcuda.so.1.
    Cuda,
    /// nvidia-smi, which is a program of its own anyway.
    Smi,
}

/// `gpuseal matrix`
#[derive(Debug, Subcommand)]
pub enum MatrixCommand {
    /// Show rows: `torch`, `2.8.0+cu128`, `h100`, `branches/570`. Without a name, the whole table of contents.
    Show {
        /// A table, a key, or `table/key`.
        row: Option<String>,
    },
    /// List the tables, or the keys of one.
    List {
        /// The table.
        table: Option<String>,
    },
    /// What differs between two matrices.
    Diff {
        /// The older: a folder, a file, or `embedded`.
        old: String,
        /// The newer.
        new: String,
    },
    /// Draw torch x GPU x driver: which builds run on which cards, from which driver on.
    Chart {
        /// A picture of the last releases, or a page of all.
        #[arg(long = "as", value_enum, default_value_t = ChartForm::Svg, value_name = "FORM")]
        form: ChartForm,
        /// The file; standard output when absent.
        #[arg(short, long, value_name = "FILE")]
        output: Option<PathBuf>,
        /// Platform.
        #[arg(long, default_value = "linux/amd64", value_name = "P")]
        platform: String,
        /// Only these releases: `2.9`, `>=2.6`, `2.6.0+cu126`.
        #[arg(long, value_name = "SPEC")]
        torch: Option<String>,
    },
    /// Find every bad row.
    Check {
        /// Folder or file; the embedded matrix when absent.
        path: Option<PathBuf>,
    },
}

/// How the chart is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ChartForm {
    /// One picture, for a README or a wall: the newest release of each of the last twelve lines.
    Svg,
    /// One page with every release, and the reasons as text.
    Html,
}
