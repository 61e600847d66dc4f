//! The command line of the container, and of the program inside.

use std::path::{Path, PathBuf};

use clap::ValueEnum as _;

use super::find::{Engine, Kind};
use crate::cli::args::{Global, Verify};
use crate::cli::lock::own_lock_path;
use crate::cli::wanted;
use crate::domain::shown;
use crate::error::Error;
use crate::host::Engines;
use crate::lock::Target;

/// Folder of ours in the container; no image has it.
const FOLDER: &str = "/gpuseal";

/// This program in the container.
pub const PROGRAM: &str = "/gpuseal/gpuseal";

/// CDI's kind of NVIDIA's cards.
const CDI: &str = "nvidia.com/gpu";

/// What runs inside, and the files that it needs there.
pub struct Inside {
    /// On this machine, and in the container.
    mounts: Vec<(PathBuf, String)>,
    words: Vec<String>,
}

impl Inside {
    /// # Errors
    /// This program, the lock, the matrix or an overlay is not there.
    pub fn of(
        args: &Verify,
        global: &Global,
        locked: Option<&(String, Target)>,
        quiet: bool,
    ) -> Result<Self, Error> {
        let mut words: Vec<String> =
            ["verify", "--here", "--format", "json"].map(Into::into).into();
        let mut mounts = vec![(std::env::current_exe()?, PROGRAM.to_owned())];
        // A lock that the image has of its own is not the one that it is held against.
        let project = if locked.is_some() { format!("{FOLDER}/project") } else { FOLDER.into() };
        if let Some((_, target)) = locked {
            let lock = fs_err::canonicalize(own_lock_path(&args.project)?)?;
            mounts.push((lock, format!("{project}/gpuseal.lock")));
            words.extend(["--target".into(), target.name.to_string()]);
        }
        words.extend(["--project".into(), project]);
        words.extend(asked(args));
        let matrix = match &global.matrix {
            Some(matrix) => Some(matrix.clone()),
            None => wanted::matrix_of_config(&args.project, None)?,
        };
        let matrix = matrix.iter().map(|path| ("--matrix", path));
        let files = matrix.chain(global.overlay.iter().map(|path| ("--overlay", path)));
        for (number, (flag, path)) in files.enumerate() {
            let path = fs_err::canonicalize(path)?;
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let to = format!("{FOLDER}/matrix-{number}/{name}");
            words.extend([flag.into(), to.clone()]);
            mounts.push((path, to));
        }
        if quiet {
            words.push("--quiet".into());
        }
        Ok(Self { mounts, words })
    }

    /// Whether the image's own user can read the files that are mounted.
    ///
    /// # Errors
    /// One cannot be.
    #[cfg(unix)]
    pub fn readable_by(&self, user: &str) -> Result<(), Error> {
        use std::os::unix::fs::PermissionsExt as _;

        let user = user.split(':').next().unwrap_or_default();
        if matches!(user, "" | "0" | "root") {
            return Ok(());
        }
        for (from, to) in &self.mounts {
            let metadata = fs_err::metadata(from)?;
            let (needed, how) =
                if to == PROGRAM || metadata.is_dir() { (0o5, "o+rx") } else { (0o4, "o+r") };
            if metadata.permissions().mode() & needed != needed {
                return Err(Error::Usage {
                    message: format!(
                        "the image runs as user `{}`, who may not read {} of this machine",
                        shown(user),
                        from.display()
                    ),
                    help: Some(format!("`chmod {how} {}`", from.display())),
                });
            }
        }
        Ok(())
    }

    /// # Errors
    /// There is none.
    #[cfg(not(unix))]
    pub fn readable_by(&self, _user: &str) -> Result<(), Error> {
        Ok(())
    }
}

/// The command that runs inside of a container which somebody else starts.
pub fn here(args: &Verify, global: &Global) -> Vec<String> {
    let mut words: Vec<String> = ["gpuseal", "verify", "--here"].map(Into::into).into();
    let matrix = global.matrix.iter().map(|path| ("--matrix", path));
    for (flag, path) in matrix.chain(global.overlay.iter().map(|path| ("--overlay", path))) {
        words.extend([flag.into(), path.display().to_string()]);
    }
    if args.project != Path::new(".") {
        words.extend(["--project".into(), args.project.display().to_string()]);
    }
    if let Some(target) = &args.target {
        words.extend(["--target".into(), target.clone()]);
    }
    words.extend(asked(args));
    if args.allow_unproven {
        words.push("--allow-unproven".into());
    }
    words
}

/// What is to be looked at, as flags.
fn asked(args: &Verify) -> Vec<String> {
    let mut words = Vec::new();
    let mut flag = |name: &str, value: Option<String>| {
        words.push(name.to_owned());
        words.extend(value);
    };
    if args.files_only {
        flag("--static", None);
    }
    if let Some(env) = &args.env {
        flag("--env", Some(env.display().to_string()));
    }
    let joined = |names: Vec<String>| (!names.is_empty()).then(|| names.join(","));
    let name = |value: Option<clap::builder::PossibleValue>| {
        value.map(|value| value.get_name().to_owned()).unwrap_or_default()
    };
    let layers = args.layers.iter().map(|layer| name(layer.to_possible_value()));
    let dtypes = args.dtypes.iter().map(|dtype| name(dtype.to_possible_value()));
    let lists = [
        ("--layer", joined(layers.collect())),
        ("--dtype", joined(dtypes.collect())),
        ("--device", joined(args.devices.iter().map(u32::to_string).collect())),
        ("--phase-limit", args.phase_limit.map(|seconds| seconds.to_string())),
        ("--seed", (args.seed != 1).then(|| args.seed.to_string())),
    ];
    for (name, value) in lists {
        if value.is_some() {
            flag(name, value);
        }
    }
    if args.no_speed {
        flag("--no-speed", None);
    }
    if args.quick {
        flag("--quick", None);
    }
    words
}

/// The whole line, engine first.
pub fn container(
    args: &Verify,
    engine: &Engine,
    name: Option<&str>,
    gpus: &[String],
    inside: &Inside,
) -> Vec<String> {
    let mut words = vec![engine.program.clone(), "run".into(), "--rm".into()];
    if let Some(name) = name {
        words.extend(["--name".into(), name.into()]);
    }
    // Neither a network for what runs, nor one to fetch the image.
    words.extend(["--network", "none", "--pull", "never"].map(Into::into));
    words.extend_from_slice(gpus);
    if Path::new("/sys/fs/selinux/enforce").exists() {
        // It keeps a container from files of a home folder and from device nodes.
        words.extend(["--security-opt", "label=disable"].map(Into::into));
    }
    for (from, to) in &inside.mounts {
        let from = field(&format!("src={}", from.display()));
        words.extend([
            "--mount".into(),
            format!("type=bind,{from},{},readonly", field(&format!("dst={to}"))),
        ]);
    }
    words.extend_from_slice(&args.engine_args);
    words.extend(["--entrypoint".into(), PROGRAM.into()]);
    words.extend(args.image.clone());
    words.extend_from_slice(&inside.words);
    words
}

/// A field of the line of comma-separated values that `--mount` and `--gpus` read.
fn field(text: &str) -> String {
    if text.contains([',', '"']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text.to_owned()
    }
}

/// How the engine is asked for the GPUs; `None`: this host offers no way.
///
/// # Errors
/// See [`gpus_named`].
pub fn gpus(args: &Verify, engine: &Engine, host: &Engines) -> Result<Option<Vec<String>>, Error> {
    match args.gpus.as_deref() {
        _ if args.files_only => Ok(Some(Vec::new())),
        Some("none") => Ok(Some(Vec::new())),
        Some(given) => gpus_named(given, engine).map(Some),
        None => Ok(offered(engine, host)),
    }
}

/// All GPUs, in the way that this host offers.
fn offered(engine: &Engine, host: &Engines) -> Option<Vec<String>> {
    let flag = || vec!["--gpus".to_owned(), "all".to_owned()];
    let specs = host.cdi.as_deref().unwrap_or_default();
    let devices = specs.iter().flat_map(|spec| spec.devices.iter().map(String::as_str));
    let mut devices: Vec<&str> = devices.chain(engine.cdi_devices()).collect();
    if devices.contains(&"all") {
        devices = vec!["all"];
    }
    let by_cdi = || {
        let named = |device: &&str| ["--device".to_owned(), format!("{CDI}={device}")];
        (!devices.is_empty()).then(|| devices.iter().flat_map(named).collect())
    };
    match engine.kind {
        Kind::Podman => by_cdi(),
        _ if engine.has_nvidia_runtime() => Some(flag()),
        Kind::Docker if !engine.reads_cdi() => host.toolkit.is_some().then(flag),
        _ => by_cdi().or_else(|| host.toolkit.is_some().then(flag)),
    }
}

/// GPUs as the user names them.
///
/// # Errors
/// podman is asked for a number of GPUs.
pub fn gpus_named(given: &str, engine: &Engine) -> Result<Vec<String>, Error> {
    let device = |name: &str| ["--device".to_owned(), name.to_owned()];
    if given.contains('/') {
        return Ok(given.split(',').flat_map(device).collect());
    }
    let listed = given.strip_prefix("device=");
    if engine.kind != Kind::Podman {
        // A comma within the list is none between fields.
        let given = if listed.is_some() { field(given) } else { given.to_owned() };
        return Ok(vec!["--gpus".into(), given]);
    }
    let names = listed.or((given == "all").then_some(given)).ok_or_else(|| Error::Usage {
        message: format!(
            "--gpus {}: podman hands GPUs over by CDI, by name and not by number",
            shown(given)
        ),
        help: Some(
            "name them: `--gpus all`, `--gpus device=0,1` or `--gpus nvidia.com/gpu=0`".into(),
        ),
    })?;
    Ok(names.split(',').flat_map(|name| device(&format!("{CDI}={name}"))).collect())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::host::{Cdi, Told};

    fn host(devices: &[&str], toolkit: bool) -> Engines {
        let devices = devices.iter().map(|name| (*name).to_owned()).collect();
        Engines {
            cdi: Some(vec![Cdi { devices, ..Cdi::default() }]),
            toolkit: toolkit.then(|| Told::new("1.18.0".into(), "nvidia-ctk --version")),
            ..Engines::default()
        }
    }

    fn offer(kind: Kind, info: serde_json::Value, host: &Engines) -> Option<String> {
        offered(&Engine::told(kind, info), host).map(|words| words.join(" "))
    }

    #[test]
    fn gpus_come_in_the_way_that_the_host_offers() {
        let runtime =
            || json!({"Runtimes": {"gpu": {"path": "/usr/bin/nvidia-container-runtime"}}});
        let folders = || json!({"CDISpecDirs": ["/etc/cdi"]});
        let (none, all) = (host(&[], false), host(&["0", "all"], false));
        let flag = Some("--gpus all".to_owned());
        let cdi = Some("--device nvidia.com/gpu=all".to_owned());
        let two = Some("--device nvidia.com/gpu=0 --device nvidia.com/gpu=1".to_owned());
        assert_eq!(offer(Kind::Docker, runtime(), &all), flag);
        assert_eq!(offer(Kind::Docker, folders(), &all), cdi);
        assert_eq!(offer(Kind::Docker, json!({}), &all), None, "it reads no specifications");
        assert_eq!(offer(Kind::Docker, json!({}), &host(&["all"], true)), flag, "by the hook");
        assert_eq!(offer(Kind::Docker, folders(), &none), None);
        let found = json!({"CDISpecDirs": ["/x"], "DiscoveredDevices": [{"Source": "cdi", "ID": "nvidia.com/gpu=all"}, {"ID": "vendor.com/nic=0"}]});
        assert_eq!(offer(Kind::Docker, found, &none), cdi, "in a folder of its own");
        assert_eq!(offer(Kind::Podman, json!({}), &all), cdi);
        assert_eq!(offer(Kind::Podman, json!({}), &host(&["0", "1"], true)), two);
        assert_eq!(offer(Kind::Podman, json!({}), &host(&[], true)), None);
        assert_eq!(offer(Kind::Nerdctl, json!({}), &all), cdi);
        assert_eq!(offer(Kind::Nerdctl, json!({}), &host(&[], true)), flag);
    }
}
