//! `gpuseal verify IMAGE`: a container of the image is started with this very program inside, and what that one
//! says is read back.
//!
//! The image is on trial as it is: its user, its environment and its folder stay. It gets no network, the
//! program, the lock and the matrix read-only, and the GPUs in the way that this host offers. A container that
//! could not be started says nothing about the image, unless the image itself is the cause.

mod command;
mod errors;
mod find;
mod run;

use std::time::{Duration, Instant};

use serde_json::Value;

use self::command::Inside;
use self::find::Engine;
use super::subject;
use crate::cli::args::{Global, Verify};
use crate::cli::output::Output;
use crate::error::{Error, Exit};
use crate::host;
use crate::lock::Target;
use crate::matrix::Matrix;
use crate::render::shell_quote;
use crate::report::verify::read;
use crate::verify::{Check, Layer, Ran, Subject, Verification, session};

/// The command that is run for an image, or inside of a container, as a line for a shell.
///
/// # Errors
/// An engine that is none; GPUs that the engine cannot be asked for; a matrix that is not there.
pub fn line(
    args: &Verify,
    global: &Global,
    locked: Option<&(String, Target)>,
) -> Result<String, Error> {
    let words = if args.image.is_some() {
        let engine = match find::find(args.engine.as_deref())? {
            Ok(engine) => engine,
            Err(_) => Engine::assumed(args.engine.as_deref()),
        };
        // It may be meant for another machine: what this one lacks is asked for all the same.
        let gpus = match command::gpus(args, &engine, &host::engines())? {
            Some(words) => words,
            None => command::gpus_named("all", &engine)?,
        };
        let inside = Inside::of(args, global, locked, false)?;
        command::container(args, &engine, None, &gpus, &inside)
    } else {
        command::here(args, global)
    };
    let words: Vec<String> = words.iter().map(|word| shell_quote(word)).collect();
    Ok(words.join(" ") + "\n")
}

/// Verifies an image in a container of its own.
///
/// # Errors
/// An engine that is none; GPUs that the engine cannot be asked for; a file that the image's user cannot read;
/// a usage error inside, such as an `--env` that the image does not have; Control-C.
pub fn verify(
    args: &Verify,
    matrix: &Matrix,
    global: &Global,
    locked: Option<&(String, Target)>,
    output: &Output,
) -> Result<Verification, Error> {
    let start = Instant::now();
    let name = args.image.as_deref().unwrap_or_default();
    let inside = Inside::of(args, global, locked, output.quiet())?;
    let mut subject = subject(args, locked);
    let ended = |subject: Subject, check: Check| {
        let layer = if args.files_only { Layer::Static } else { Layer::Driver };
        let layers = vec![Ran { layer, device: None, seconds: 0.0, checks: vec![check] }];
        let (verdict, seconds) = (session::verdict(&layers), start.elapsed().as_secs_f64());
        Verification { verdict, subject, devices: Vec::new(), layers, seed: None, seconds }
    };
    if !cfg!(target_os = "linux") {
        return Ok(ended(subject, errors::no_linux()));
    }
    let engine = match find::find(args.engine.as_deref())? {
        Ok(engine) => engine,
        Err(why) => return Ok(ended(subject, errors::no_engine(&why))),
    };
    subject.engine = Some(engine.kind.word().into());
    let gpus = command::gpus(args, &engine, &host::engines())?;
    let image = match find::inspect(&engine, name) {
        Ok(image) => image,
        Err(said) => return Ok(ended(subject, errors::no_image(&engine, name, &said, matrix))),
    };
    subject.image_digest.clone_from(&image.digest);
    if let Some(check) = errors::other_machine(&image) {
        return Ok(ended(subject, check));
    }
    inside.readable_by(&image.user)?;

    let container = run::name();
    let given = gpus.clone().unwrap_or_default();
    let words = command::container(args, &engine, Some(&container), &given, &inside);
    if output.verbose {
        let words: Vec<String> = words.iter().map(|word| shell_quote(word)).collect();
        output.talk(words.join(" "));
    } else {
        let with = if given.is_empty() { "no GPU".into() } else { given.join(" ") };
        output.talk(format_args!("{} runs {name} with {with}", engine.kind.word()));
    }
    let limit = Duration::from_secs(args.run_limit);
    let ran = match run::run(&engine, &words, &container, limit, output) {
        Ok(ran) => ran,
        Err(err) => return Ok(ended(subject, errors::no_engine(&[err.to_string()]))),
    };
    let code = match ran.end {
        run::End::Interrupted => return Err(Error::Interrupted),
        run::End::Late => return Ok(ended(subject, errors::late(&ran, limit))),
        run::End::Exit(code) => code,
    };
    let mut verification = match read(&ran.answer) {
        Ok(verification) => verification,
        Err(err) => {
            if let Some(err) = usage(&ran.answer) {
                return Err(err);
            }
            let why = (!ran.answer.trim().is_empty()).then(|| err.to_string());
            let check = errors::not_run(&engine, &image, code, &ran.said, why, matrix);
            return Ok(ended(subject, check));
        }
    };
    // The host knows better than the inside what was looked at.
    let inner = verification.subject;
    verification.subject = Subject {
        driver: inner.driver,
        driver_cuda: inner.driver_cuda,
        torch: inner.torch,
        ..subject
    };
    if gpus.is_none() && verification.layers.iter().any(|ran| ran.layer != Layer::Static) {
        first(&mut verification, errors::without_gpu(&engine));
    }
    verification.verdict = session::verdict(&verification.layers);
    verification.seconds = start.elapsed().as_secs_f64();
    Ok(verification)
}

/// Says before all else of the driver why the container has none.
fn first(verification: &mut Verification, check: Check) {
    let layers = &mut verification.layers;
    let driver = layers.iter_mut().find(|ran| ran.layer == Layer::Driver && ran.device.is_none());
    if let Some(ran) = driver {
        ran.checks.insert(0, check);
        return;
    }
    let at = layers.iter().position(|ran| ran.layer > Layer::Driver).unwrap_or(layers.len());
    layers
        .insert(at, Ran { layer: Layer::Driver, device: None, seconds: 0.0, checks: vec![check] });
}

/// What the program inside found wrong with its flags: they were ours.
fn usage(answer: &str) -> Option<Error> {
    let document: Value = answer.parse().ok()?;
    let ours = document["schema"]["name"] == "gpuseal.error"
        && document["exit"].as_u64() == Some(Exit::Usage as u64);
    let text = |name: &str| Some(document[name].as_str()?.replace(char::is_control, " "));
    let message = format!("inside of the image: {}", text("message").filter(|_| ours)?);
    Some(Error::Usage { message, help: text("help") })
}
