//! Requirements of a command: the file, then the flags over it.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use super::args::Wanted;
use super::output::Output;
use crate::domain::{DriverSpec, KernelModule, ParseError, Platform, shown};
use crate::error::Error;
use crate::host::{self, Host};
use crate::matrix::Matrix;
use crate::report::json_v1;
use crate::requirements::{self, Bad, PLACEHOLDER, Requirements, Target};
use crate::resolve::{Problem, Unplaced};

/// Reads the file and lays the flags over it.
///
/// # Errors
/// What is wrong with either.
pub fn requirements(args: &Wanted, output: &Output) -> Result<Requirements, Error> {
    over(config(args)?, args, output)
}

/// Lays the flags over what the file says.
///
/// # Errors
/// A flag that is no value of its kind; nothing that says where it is to run.
pub fn over(
    config: Option<Requirements>,
    args: &Wanted,
    output: &Output,
) -> Result<Requirements, Error> {
    let mut wanted = config.unwrap_or_default();
    let file = wanted.file.clone();
    if let Some(torch) = &args.torch {
        wanted.torch = Some(flag("--torch", torch)?);
        wanted.origins.insert("torch".into(), "--torch".into());
    }
    if let Some(python) = &args.python {
        wanted.python = Some(flag("--python", python)?);
        wanted.origins.insert("python".into(), "--python".into());
    }
    if let Some(cuda) = &args.cuda {
        wanted.cuda = Some(flag("--cuda", cuda)?);
        wanted.origins.insert("cuda".into(), "--cuda".into());
    }
    if let Some(prefer) = &args.prefer {
        wanted.prefer = flag("--prefer", prefer)?;
        wanted.origins.insert("prefer".into(), "--prefer".into());
    }
    for package in &args.with {
        let package: crate::domain::Package = flag("--with", package)?;
        wanted.with.retain(|p| p.name != package.name);
        wanted.with.push(package);
    }
    for need in &args.needs {
        wanted.needs.insert(flag("--needs", need)?);
    }
    for word in &args.allow {
        wanted.allow.add(word).map_err(|err| Error::usage(format!("--allow: {err}")))?;
    }
    mirrors(&mut wanted, variables())?;
    if let (Some(torch), Some(cuda)) = (wanted.torch.as_ref().and_then(|t| t.variant), &wanted.cuda)
        && torch.cuda().is_none_or(|c| !cuda.admits(c))
    {
        return Err(Error::Usage {
            message: format!(
                "torch asks for the build {torch}, and CUDA {} is asked for beside it",
                cuda.given
            ),
            help: Some("keep one of the two".into()),
        });
    }
    if wanted.targets.is_empty() {
        if args.machines.gpus.is_empty() && args.machines.driver.is_none() {
            return Err(match file {
                Some(file) => Error::Usage {
                    message: format!("`{}` names no targets", file.display()),
                    help: Some("add a target with its gpus, or give --gpu".into()),
                },
                None => requirements::Error::NoFile(args.project.clone()).into(),
            });
        }
        wanted.targets.push(Target {
            name: "default".into(),
            gpus: Vec::new(),
            driver: None,
            platform: None,
            os: None,
            kernel_module: None,
            line: None,
            todo: Vec::new(),
        });
    }
    select(&mut wanted, args)?;
    lay_over(&mut wanted, args)?;
    if output.verbose {
        for (key, origin) in &wanted.origins {
            output.talk(format_args!("{key}: from {origin}"));
        }
    }
    Ok(wanted)
}

/// What comes behind `GPUSEAL_MIRROR_` in the names of variables, with their values.
fn variables() -> BTreeMap<String, String> {
    let text = |pair: (OsString, OsString)| Some((pair.0.into_string().ok()?, pair.1));
    std::env::vars_os()
        .filter_map(text)
        .filter_map(|(name, value)| {
            let suffix = name.strip_prefix("GPUSEAL_MIRROR_")?.to_owned();
            Some((suffix, value.to_string_lossy().into_owned()))
        })
        .filter(|(suffix, value)| !suffix.is_empty() && !value.trim().is_empty())
        .collect()
}

/// Lays variables over the mirrors of the file.
fn mirrors(wanted: &mut Requirements, variables: BTreeMap<String, String>) -> Result<(), Error> {
    for (suffix, at) in variables {
        let of = wanted.mirrors.named_by(&suffix);
        let name = format!("GPUSEAL_MIRROR_{suffix}");
        wanted.mirrors.set(&of, &at).map_err(|err| Error::Usage {
            message: format!("{name}: {}", err.message),
            help: err.help,
        })?;
        wanted.origins.insert(format!("mirrors.{of}"), name);
    }
    Ok(())
}

/// The configuration, as the file has it.
///
/// # Errors
/// Two of them; what is wrong with the one.
pub fn config(args: &Wanted) -> Result<Option<Requirements>, Error> {
    let file = match &args.config {
        Some(file) => Some(file.clone()),
        None => requirements::find(&args.project)?,
    };
    Ok(file.map(|file| requirements::read(&file)).transpose()?)
}

/// Where `GPUSEAL_MIRROR_MATRIX` says that the matrix is.
///
/// # Errors
/// It is no name of a file or folder.
pub fn matrix_of_variable() -> Result<Option<PathBuf>, Error> {
    let mut wanted = Requirements::default();
    let matrix = variables().into_iter().filter(|(suffix, _)| suffix == "MATRIX");
    mirrors(&mut wanted, matrix.collect())?;
    Ok(wanted.mirrors.matrix.map(PathBuf::from))
}

/// Where the configuration says that the matrix is.
///
/// # Errors
/// What is wrong with the configuration.
pub fn matrix_of_config(project: &Path, config: Option<&Path>) -> Result<Option<PathBuf>, Error> {
    let file = match config {
        Some(file) => Some(file.to_path_buf()),
        None => requirements::find(project)?,
    };
    Ok(file.map(|file| requirements::matrix_of(&file)).transpose()?.flatten())
}

/// Reads the value of a flag.
///
/// # Errors
/// A value that is none of its kind, with the flag's name.
pub fn flag<T: FromStr<Err = ParseError>>(name: &str, value: &str) -> Result<T, Error> {
    value.parse().map_err(|err: ParseError| Error::usage(format!("{name}: {err}")))
}

fn select(wanted: &mut Requirements, args: &Wanted) -> Result<(), Error> {
    if args.targets.is_empty() {
        return Ok(());
    }
    for name in &args.targets {
        if !wanted.targets.iter().any(|t| t.name == *name) {
            let known: Vec<_> = wanted.targets.iter().map(|t| t.name.as_str()).collect();
            return Err(Error::Usage {
                message: format!("there is no target `{}`", shown(name)),
                help: Some(format!("targets are {}", known.join(", "))),
            });
        }
    }
    wanted.targets.retain(|t| args.targets.contains(&t.name));
    Ok(())
}

/// Flags about machines change every selected target.
fn lay_over(wanted: &mut Requirements, args: &Wanted) -> Result<(), Error> {
    let driver: Option<DriverSpec> =
        args.machines.driver.as_deref().map(|d| flag("--driver", d)).transpose()?;
    let platform: Option<Platform> =
        args.machines.platform.as_deref().map(|p| flag("--platform", p)).transpose()?;
    let host = host(&args.machines.gpus)?;
    let driver = driver.or(host.as_ref().map(|host| DriverSpec::Oldest(host.driver)));
    for target in &mut wanted.targets {
        if let Some(host) = &host {
            target.gpus.clone_from(&host.gpus);
            target.kernel_module = Some(host.module);
        } else if !args.machines.gpus.is_empty() {
            target.gpus.clone_from(&args.machines.gpus);
        }
        target.driver = driver.or(target.driver);
        target.todo.retain(|key| match *key {
            "gpus" => args.machines.gpus.is_empty(),
            _ => driver.is_none(),
        });
        target.platform = platform.or(target.platform);
        target.os = args.machines.os.clone().or(target.os.take());
        if let Some(key) = target.todo.first() {
            let file =
                wanted.file.as_ref().map_or(String::new(), |f| format!("`{}`: ", f.display()));
            return Err(Error::Usage {
                message: format!(
                    "{file}`{key}` of target `{}` is still to be filled in",
                    target.name
                ),
                help: Some(format!(
                    "write it where the file says {PLACEHOLDER}, or give --{}",
                    if *key == "gpus" { "gpu" } else { key }
                )),
            });
        }
    }
    Ok(())
}

/// The machine this program runs on, when `--gpu host` asks for it; with nothing beside it.
///
/// # Errors
/// No driver answers, or cards are named beside `host`.
pub fn host(gpus: &[String]) -> Result<Option<Host>, Error> {
    if !gpus.iter().any(|gpu| gpu == "host") {
        return Ok(None);
    }
    if gpus.len() > 1 {
        return Err(Error::usage("--gpu host: give it alone, or name all cards"));
    }
    Ok(Some(host::look(Path::new("/"))?))
}

/// Places requirements in the matrix.
///
/// # Errors
/// The first name that has no row, with its place in the file and near names.
pub fn place(wanted: &Requirements, matrix: &Matrix, output: &Output) -> Result<Problem, Error> {
    match Problem::place(wanted, matrix) {
        Ok(problem) => Ok(problem),
        Err(list) => {
            output.instead(json_v1::unplaced("gpuseal.resolve", &list, matrix));
            Err(unplaced(&list, wanted))
        }
    }
}

/// The error for names that the matrix does not know.
pub fn unplaced(list: &[Unplaced], wanted: &Requirements) -> Error {
    let Some(first) = list.first() else {
        return Error::usage("a name is not known");
    };
    let help = if first.near.is_empty() {
        first.gpu.then(|| {
            "name it as nvidia-smi prints it, give its compute capability (`sm_90`), or add a row with --overlay".to_owned()
        })
    } else {
        let near: Vec<_> = first.near.iter().map(|n| format!("`{n}`")).collect();
        Some(format!("did you mean {}?", near.join(" or ")))
    };
    let more = list.len() - 1;
    let message = if more == 0 {
        first.message.clone()
    } else {
        format!("{} (and {more} more such names)", first.message)
    };
    Error::Unplaced {
        message,
        help,
        unknown: first.gpu,
        place: place_of(first, wanted).map(Box::new),
    }
}

/// Finds the name in the file that the targets came from.
fn place_of(unplaced: &Unplaced, wanted: &Requirements) -> Option<Bad> {
    let file = wanted.file.clone()?;
    let text = fs_err::read_to_string(&file).ok()?;
    let (line, at) =
        text.lines().zip(1..).find_map(|(line, n)| Some((n, line.find(&unplaced.given)?)))?;
    let excerpt = text.lines().nth(line - 1).map(str::to_owned);
    let place = Some((line, at..at + unplaced.given.len()));
    Some(Bad { file, place, excerpt, message: unplaced.message.clone(), help: None })
}

/// Kernel module flag.
///
/// # Errors
/// Another word than `open` and `proprietary`.
pub fn kernel_module(text: Option<&str>) -> Result<Option<KernelModule>, Error> {
    text.map(|m| flag("--kernel-module", m)).transpose()
}
