//! From a lock to text: a Dockerfile, an install script, what runs the image, other tools' files.
//!
//! Reads the lock and nothing else, never the matrix: an old lock keeps giving the same text. What is a
//! text for people has a template in `templates/`: `context` documents what they see, `filters` what they
//! may use. What is data for machines (`deploy`, `export`) comes from typed structs.

mod context;
mod deploy;
pub mod export;
mod filters;
mod image;
pub mod managed;
pub mod size;
mod smoke;
mod template;

use crate::lock::{Lockfile, Target};

pub use context::{Page, SCHEMA};
pub use filters::shell_quote;
pub use image::{ImageName, ParseImageNameError, Pull};

/// What stays out of a build: a first list for a project that has none.
pub const DOCKERIGNORE: &str = include_str!("../../templates/dockerignore.txt");

/// What to render.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// One Dockerfile with a stage for every target.
    Dockerfile,
    /// A script that installs a target into a virtual environment.
    Install,
    /// A Compose file with a service for every target.
    Compose,
    /// A development container.
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
    /// Every file by its address and digest, for `pip install --require-hashes -r` and uv.
    Requirements,
    /// The same by PEP 751.
    Pylock,
    /// Exact versions alone, for `pip install -c`.
    Constraints,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 12] = [
        Self::Dockerfile,
        Self::Install,
        Self::Compose,
        Self::Devcontainer,
        Self::K8s,
        Self::Slurm,
        Self::Apptainer,
        Self::Github,
        Self::Gitlab,
        Self::Requirements,
        Self::Pylock,
        Self::Constraints,
    ];

    /// The word of the command line.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Dockerfile => "dockerfile",
            Self::Install => "install",
            Self::Compose => "compose",
            Self::Devcontainer => "devcontainer",
            Self::K8s => "k8s",
            Self::Slurm => "slurm",
            Self::Apptainer => "apptainer",
            Self::Github => "github",
            Self::Gitlab => "gitlab",
            Self::Requirements => "requirements",
            Self::Pylock => "pylock",
            Self::Constraints => "constraints",
        }
    }

    /// Each target has a file of its own.
    pub const fn each(self) -> bool {
        matches!(
            self,
            Self::Devcontainer
                | Self::Slurm
                | Self::Apptainer
                | Self::Requirements
                | Self::Pylock
                | Self::Constraints
        )
    }

    /// It is about a container, so a target has to be for Linux.
    pub const fn is_container(self) -> bool {
        !matches!(self, Self::Install | Self::Requirements | Self::Pylock | Self::Constraints)
    }

    /// It is made by a template, so one of the user's can stand in.
    pub const fn has_template(self) -> bool {
        matches!(self, Self::Dockerfile | Self::Install | Self::Slurm | Self::Apptainer)
    }

    /// Where tools look for it in a project, with `/` at the end; empty: at the top.
    pub const fn folder(self) -> &'static str {
        match self {
            Self::Devcontainer => ".devcontainer/",
            Self::Github => ".github/workflows/",
            _ => "",
        }
    }

    /// What it is called in that folder. `target` is that of a kind with a file for each.
    ///
    /// PEP 751 has a rule for the name of a pylock.toml, which names of targets keep.
    pub fn file_name(self, target: &str, options: &Options<'_>) -> String {
        match self {
            Self::Dockerfile => "Dockerfile".into(),
            Self::Install => match options.shell {
                Shell::Sh => "install.sh".into(),
                Shell::Powershell => "install.ps1".into(),
            },
            Self::Compose => "compose.yaml".into(),
            Self::Devcontainer => format!("{target}/devcontainer.json"),
            Self::K8s => "k8s.yaml".into(),
            Self::Slurm => format!("slurm.{target}.sh"),
            Self::Apptainer => format!("{target}.def"),
            Self::Github => "gpuseal-images.yml".into(),
            Self::Gitlab => "gpuseal-images.gitlab-ci.yml".into(),
            Self::Requirements => format!("requirements.{target}.txt"),
            Self::Pylock => format!("pylock.{target}.toml"),
            Self::Constraints => format!("constraints.{target}.txt"),
        }
    }
}

/// Which shell runs an install script.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Shell {
    /// POSIX sh.
    #[default]
    Sh,
    /// PowerShell 5.1 or newer.
    Powershell,
}

/// What starts the container of a Slurm job.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Runtime {
    /// Slurm's plugin pyxis, over enroot.
    #[default]
    Pyxis,
    /// Apptainer.
    Apptainer,
}

/// What a development container does on a host without a GPU.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Gpu {
    /// It does not start.
    #[default]
    Required,
    /// It starts without one.
    Optional,
}

/// How to render.
#[derive(Debug, Clone, Copy, Default)]
pub struct Options<'a> {
    /// Text of a template to take instead of the built-in one; it sees the same [`Page`].
    pub user_template: Option<&'a str>,
    /// A Dockerfile without its `# syntax=` line, for builders that cannot fetch the frontend.
    pub no_syntax_line: bool,
    /// A Dockerfile is a block in the user's own.
    pub managed: bool,
    /// Of an install script.
    pub shell: Shell,
    /// What the built image is called, for what runs or pushes it.
    pub image: Option<&'a ImageName>,
    /// Of a Kubernetes Job: ask for GPUs by Dynamic Resource Allocation.
    pub dra: bool,
    /// Of a Slurm job.
    pub runtime: Runtime,
    /// Of a development container.
    pub gpu: Gpu,
    /// How many folders below the project the file will lie; `None`: at its usual place.
    pub depth: Option<usize>,
}

impl Options<'_> {
    /// The way from the file to the project: `..`, `../..`, or `.`.
    fn to_project(self, usual: usize) -> String {
        match self.depth.unwrap_or(usual) {
            0 => ".".into(),
            depth => vec![".."; depth].join("/"),
        }
    }
}

/// Why a lock could not be rendered. All of it is invalid input (exit code 2).
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The template has a mistake, or names something that is not there.
    #[error("the template cannot be rendered: {0}")]
    Template(String),
    /// Docker would refuse the stage, or take it for something else.
    #[error("target `{target}` cannot name a stage of a Dockerfile: {reason}")]
    StageName {
        /// The target.
        target: String,
        /// Which rule it breaks.
        reason: &'static str,
    },
    /// A package has no file yet.
    #[error("package `{package}` of target `{target}` has no file: nobody has asked its index yet")]
    Unfetched {
        /// The package.
        package: String,
        /// The target.
        target: String,
    },
    /// uv cannot tell two targets apart.
    #[error(
        "one pyproject.toml cannot hold both: `{package}` is {one} and {other}, on the same machines"
    )]
    TwoBuilds {
        /// The package.
        package: String,
        /// Index and target.
        one: String,
        /// The others.
        other: String,
    },
    /// A source that was written by hand.
    #[error(
        "`{package}` has a source of its own in [tool.uv.sources]: {given}; the lock takes it from {wanted}"
    )]
    OtherSource {
        /// The package.
        package: String,
        /// As it stands.
        given: String,
        /// As it would stand.
        wanted: String,
    },
    /// The file that is to be edited is not as it should be.
    #[error("pyproject.toml: {0}")]
    Pyproject(String),
    /// The block in a Dockerfile is not as it was written.
    #[error(
        "what stands between the marks of the Dockerfile was edited by hand, and would be lost"
    )]
    BlockEdited,
    /// A Dockerfile cannot hold the block.
    #[error("the Dockerfile cannot take the block: {0}")]
    Block(String),
    /// Kubernetes admits fewer signs in a name than a target does.
    #[error("targets `{one}` and `{other}` would both be called `{name}` in Kubernetes")]
    SameName {
        /// The first target.
        one: String,
        /// The second.
        other: String,
        /// What both become.
        name: String,
    },
    /// Only what was built has a digest.
    #[error("`{image}` names a digest, and {kind} builds an image and pushes it by its tag")]
    BuiltByDigest {
        /// The name as it was given.
        image: String,
        /// What builds it.
        kind: &'static str,
    },
    /// There is no target left to render.
    #[error("no target to render is for Linux: there is no container image to describe")]
    NoContainer,
}

impl Error {
    /// What to do next, as one imperative sentence.
    pub fn help(&self) -> Option<String> {
        Some(match self {
            Self::Template(_) => format!(
                "names are {}; `gpuseal schema template-context` says what they hold",
                context::names().iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
            ),
            Self::StageName { .. } | Self::SameName { .. } => "rename the target in gpuseal.yaml, then run `gpuseal lock` again".into(),
            Self::Unfetched { .. } => "run `gpuseal lock` with a network, then render again".into(),
            Self::TwoBuilds { .. } => "choose one of them with --target, or render `pylock` or `requirements`, which have a file for each".into(),
            Self::OtherSource { .. } => "take it out, or replace it with --force".into(),
            Self::Pyproject(_) => "mend it, or render `uv` without --write and copy what is missing".into(),
            Self::BlockEdited => "move what you wrote below the block, then run `gpuseal render dockerfile --managed --force`".into(),
            Self::Block(_) => "mend the Dockerfile by hand, then run the same command".into(),
            Self::BuiltByDigest { .. } => "give --image a name without a digest".into(),
            Self::NoContainer => "run `gpuseal render install`, or add a target with `platform: linux/amd64`".into(),
        })
    }
}

/// Renders `targets` of `lock`. The same lock gives the same bytes.
///
/// A kind with a file for [each](Kind::each) target wants one of them.
pub fn render(
    kind: Kind,
    lock: &Lockfile,
    targets: &[&Target],
    options: &Options<'_>,
) -> Result<String, Error> {
    match kind {
        Kind::Dockerfile | Kind::Install | Kind::Slurm | Kind::Apptainer => {
            template::render(kind, lock, targets, options)
        }
        Kind::Compose | Kind::Devcontainer | Kind::K8s | Kind::Github | Kind::Gitlab => {
            deploy::render(kind, lock, targets, options)
        }
        Kind::Requirements | Kind::Pylock | Kind::Constraints => {
            let mut text = String::new();
            for target in targets {
                text.push_str(&export::export(kind, lock, target)?);
            }
            Ok(text)
        }
    }
}

#[cfg(test)]
mod tests;
