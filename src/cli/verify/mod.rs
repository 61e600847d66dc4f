//! `gpuseal verify`, and the child that it starts for each layer.

mod compare;
mod engine;
mod reports;

use std::io::{IsTerminal as _, Read as _};
use std::path::Path;
use std::time::Duration;

use super::args::{DtypeArg, Format, Global, LayerArg, Verify};
use super::lock;
use super::output::Output;
use crate::domain::shown;
use crate::error::{Error, Exit};
use crate::lock::{Lockfile, Target};
use crate::matrix::Matrix;
use crate::report::{Found, verify as voice};
use crate::verify::frame::Teller;
use crate::verify::numerics::Dtype;
use crate::verify::plan::Job;
use crate::verify::session::{self, Asked};
use crate::verify::{Layer, Mode, Ran, Subject, Verdict, Verification, image, layers};

/// Longest job that is read.
const LONGEST: u64 = 1 << 20;

/// Runs the command.
///
/// # Errors
/// A lock that cannot be read; a target that is not there; a report that cannot be written; Control-C.
pub fn run(
    args: &Verify,
    matrix: &Matrix,
    global: &Global,
    output: &Output,
) -> Result<Exit, Error> {
    if let Some([a, b]) = args.compare.as_deref() {
        return compare::run(a, b, matrix, output);
    }
    if let Some(file) = &args.replay {
        reports::check(args, output)?;
        let verification = compare::side(file)?.reading.verification;
        return answer(args, &verification, matrix, output);
    }
    if args.print_command {
        // What a container will find is not known here.
        let locked = if args.image.is_some() { locked(args)? } else { None };
        output.data(&engine::line(args, global, locked.as_ref())?)?;
        return Ok(Exit::Done);
    }
    reports::check(args, output)?;
    let locked = locked(args)?;
    let verification = match &args.image {
        Some(_) => engine::verify(args, matrix, global, locked.as_ref(), output)?,
        None => here(args, matrix, locked.as_ref(), output),
    };
    answer(args, &verification, matrix, output)
}

/// What the verdict is to be about, as far as it is known before anything was looked at.
fn subject(args: &Verify, locked: Option<&(String, Target)>) -> Subject {
    let mode = match &args.image {
        _ if args.files_only => Mode::Static,
        Some(_) => Mode::Image,
        None => Mode::Here,
    };
    Subject {
        mode,
        image: args.image.clone(),
        image_digest: None,
        engine: None,
        lock_digest: locked.map(|(digest, _)| digest.clone()),
        target: locked.map(|(_, target)| target.name.to_string()),
        driver: None,
        driver_cuda: None,
        torch: None,
    }
}

/// Verifies the environment that this program runs in.
fn here(
    args: &Verify,
    matrix: &Matrix,
    locked: Option<&(String, Target)>,
    output: &Output,
) -> Verification {
    let subject = subject(args, locked);
    let target = locked.map(|(_, target)| target);
    let asked = asked(args, subject.mode, target);
    let look = image::Look::new(args.env.as_deref());
    let image = look.image();
    let files = asked.layers.contains(&Layer::Static).then(|| look.judged(target));
    let (subject, before) = session::before(&asked, subject, &image, files, matrix);
    // Whoever sits before it sees that it goes on.
    let mut hear = |ran: &Ran| {
        if std::io::stderr().is_terminal() {
            output.talk(format_args!("{}: {}", ran.layer.title(), ran.outcome().word()));
        }
    };
    session::run(&asked, subject, &image, &before, &mut hear)
}

/// The target that the image is held against, with the digest of its lock.
fn locked(args: &Verify) -> Result<Option<(String, Target)>, Error> {
    let path = lock::own_lock_path(&args.project)?;
    if !path.exists() {
        return match &args.target {
            Some(name) => Err(Error::Usage {
                message: format!(
                    "there is no target `{}`: there is no {}",
                    shown(name),
                    path.display()
                ),
                help: Some(
                    "run `gpuseal lock`, or name the project's folder with --project".into(),
                ),
            }),
            None => Ok(None),
        };
    }
    let lock = Lockfile::read(&path)?;
    let digest = lock.digest().to_string();
    let names = |targets: &[&Target]| {
        targets.iter().map(|target| format!("`{}`", target.name)).collect::<Vec<_>>().join(", ")
    };
    if let Some(name) = &args.target {
        let all: Vec<_> = lock.targets.iter().collect();
        return match lock.target(name) {
            Some(target) => Ok(Some((digest, target.clone()))),
            None => Err(Error::Usage {
                message: format!("{} has no target `{}`", path.display(), shown(name)),
                help: Some(format!("its targets: {}", names(&all))),
            }),
        };
    }
    let here = crate::host::platform();
    let fit: Vec<_> = lock.targets.iter().filter(|target| Some(target.platform) == here).collect();
    match fit.as_slice() {
        [target] => Ok(Some((digest, (*target).clone()))),
        [] => Err(Error::Usage {
            message: format!("{} has no target for this platform", path.display()),
            help: Some("name one with --target to be held against it all the same".into()),
        }),
        several => Err(Error::Usage {
            message: format!("{} has several targets for this platform", path.display()),
            help: Some(format!("name the one that was built with --target: {}", names(several))),
        }),
    }
}

fn asked(args: &Verify, mode: Mode, target: Option<&Target>) -> Asked {
    let layers = if args.layers.is_empty() {
        session::layers_of(mode).to_vec()
    } else {
        args.layers.iter().map(|layer| layer_of(*layer)).collect()
    };
    // What is named twice is still one.
    let mut devices = Vec::new();
    for device in &args.devices {
        if !devices.contains(device) {
            devices.push(*device);
        }
    }
    let dtypes = if args.dtypes.is_empty() {
        Dtype::ALL.to_vec()
    } else {
        let named = |dtype: &&Dtype| args.dtypes.iter().any(|arg| dtype_of(*arg) == **dtype);
        Dtype::ALL.iter().filter(named).copied().collect()
    };
    Asked {
        layers,
        devices,
        dtypes,
        named: !args.dtypes.is_empty(),
        speed: !args.no_speed,
        longest: args.phase_limit.map(Duration::from_secs),
        // What makes torch.compile a promise: a lock keeps it as the compiler in the image.
        compiles: target.is_some_and(|target| {
            target.base.apt.iter().any(|name| name.as_str() == "gcc" || name.as_str() == "g++")
        }),
        seed: args.seed,
        quick: args.quick,
    }
}

const fn layer_of(layer: LayerArg) -> Layer {
    match layer {
        LayerArg::Static => Layer::Static,
        LayerArg::Driver => Layer::Driver,
        LayerArg::Cuda => Layer::Cuda,
        LayerArg::Kernel => Layer::Kernel,
        LayerArg::Cublas => Layer::Cublas,
        LayerArg::Cudnn => Layer::Cudnn,
        LayerArg::Torch => Layer::Torch,
        LayerArg::Nccl => Layer::Nccl,
    }
}

const fn dtype_of(dtype: DtypeArg) -> Dtype {
    match dtype {
        DtypeArg::Fp32 => Dtype::Fp32,
        DtypeArg::Tf32 => Dtype::Tf32,
        DtypeArg::Fp16 => Dtype::Fp16,
        DtypeArg::Bf16 => Dtype::Bf16,
        DtypeArg::E4m3 => Dtype::E4m3,
        DtypeArg::Int8 => Dtype::Int8,
    }
}

/// Gives the answer, and what else is to be written.
fn answer(
    args: &Verify,
    verification: &Verification,
    matrix: &Matrix,
    output: &Output,
) -> Result<Exit, Error> {
    let exit = exit(args, verification.verdict);
    let findings = voice::findings(verification);
    let found = Found::new("verify", exit, Some(matrix)).with("", None, &findings);
    let lock = Path::new("gpuseal.lock");
    let found = if verification.subject.lock_digest.is_some() { found.about(lock) } else { found };
    let said = output.answer(&|format| match format {
        Format::Human => voice::human(verification, exit, matrix),
        Format::Json => voice::json(verification, matrix),
        Format::Github => found.github(),
        Format::Sarif => found.sarif(),
        Format::Markdown => voice::markdown(verification, &found),
    });
    // One that cannot be written does not cost the other.
    let kept = reports::write(args, verification, matrix);
    said.and(kept)?;
    Ok(exit)
}

fn exit(args: &Verify, verdict: Verdict) -> Exit {
    match verdict {
        Verdict::Proven => Exit::Done,
        Verdict::Unproven if args.allow_unproven => Exit::Done,
        Verdict::Unproven => Exit::CannotJudge,
        Verdict::Failed => Exit::No,
    }
}

/// Runs the job that stands on standard input: a child of `verify`.
///
/// # Errors
/// There is none.
pub fn layer(output: &Output) -> Result<Exit, Error> {
    let mut text = String::new();
    std::io::stdin().lock().take(LONGEST).read_to_string(&mut text)?;
    let job: Option<Job> =
        text.parse::<serde_json::Value>().ok().and_then(|value| serde_json::from_value(value).ok());
    let Some(job) = job else {
        return Err(Error::Usage {
            message: "there is no job on standard input: `gpuseal verify` starts this by itself"
                .into(),
            help: Some("run `gpuseal verify --here`".into()),
        });
    };
    // What cannot be said is not waited for: who listened has gone.
    let mut out = |text: &str| drop(output.data(text));
    layers::run(&job, &mut Teller::new(&mut out));
    Ok(Exit::Done)
}
