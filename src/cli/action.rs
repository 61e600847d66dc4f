//! `gpuseal action`, hidden: what the GitHub Action runs. action.yml holds no logic; it hands its inputs
//! over as `GPUSEAL_INPUT_*`, and all the rest is here.

mod outputs;

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use clap::Parser as _;
use clap::error::{ContextKind, ContextValue};

use super::args::{Cli, Command, Format, Global, Render, Report};
use super::output::Output;
use super::{ended, render};
use crate::domain::shown;
use crate::error::{Error, Exit};
use outputs::Outputs;

/// What the action can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Resolve,
    Check,
    Lock,
    LockCheck,
    RenderCheck,
    Doctor,
    Verify,
}

use Mode::{Check, Doctor, Lock, LockCheck, RenderCheck, Resolve, Verify};

impl Mode {
    const ALL: &[(&str, Self)] = &[
        ("resolve", Resolve),
        ("check", Check),
        ("lock", Lock),
        ("lock-check", LockCheck),
        ("render-check", RenderCheck),
        ("doctor", Doctor),
        ("verify", Verify),
    ];

    fn word(self) -> &'static str {
        Self::ALL.iter().find(|(_, mode)| *mode == self).map_or("", |(word, _)| word)
    }

    /// The command line that it stands for, without what inputs add.
    fn command(self) -> &'static [&'static str] {
        match self {
            Resolve => &["resolve"],
            Check => &["check"],
            Lock => &["lock"],
            LockCheck => &["lock", "--check"],
            RenderCheck => &["render", "--check"],
            Doctor => &["doctor"],
            Verify => &["verify"],
        }
    }
}

/// How the text of an input becomes flags.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shape {
    /// As it is.
    Text,
    /// One a line or between commas; each is a flag.
    List,
    /// One a line: a requirement may hold commas.
    Lines,
    /// `true` or `false`.
    Switch,
}

const ASKED: &[Mode] = &[Resolve, Lock, LockCheck];
const JUDGED: &[Mode] = &[Resolve, Lock, LockCheck, Check];

/// Inputs that are flags of the same name, and the modes that have use for them.
const FLAGS: &[(&str, Shape, &[Mode])] = &[
    ("project", Shape::Text, &[Resolve, Check, Lock, LockCheck, RenderCheck, Doctor, Verify]),
    ("config", Shape::Text, ASKED),
    ("target", Shape::List, &[Resolve, Check, Lock, LockCheck, RenderCheck, Doctor, Verify]),
    ("torch", Shape::Text, JUDGED),
    ("python", Shape::Text, JUDGED),
    ("gpu", Shape::List, JUDGED),
    ("driver", Shape::Text, JUDGED),
    ("platform", Shape::Text, JUDGED),
    ("os", Shape::Text, JUDGED),
    ("with", Shape::Lines, JUDGED),
    ("cuda", Shape::Text, ASKED),
    ("needs", Shape::List, JUDGED),
    ("prefer", Shape::Text, ASKED),
    ("allow", Shape::List, JUDGED),
    ("index", Shape::Text, &[Check]),
    ("base-image", Shape::Text, &[Check]),
    ("image", Shape::Text, &[RenderCheck, Verify]),
    ("engine", Shape::Text, &[Verify]),
    ("gpus", Shape::Text, &[Verify]),
    ("allow-unproven", Shape::Switch, &[Verify]),
    ("junit", Shape::Text, &[Verify]),
    ("render", Shape::List, &[Lock, LockCheck, RenderCheck]),
    ("upgrade", Shape::Switch, &[Lock]),
    // What is rendered comes from the lock alone.
    ("matrix", Shape::Text, &[Resolve, Check, Lock, LockCheck, Doctor, Verify]),
    ("overlay", Shape::List, &[Resolve, Check, Lock, LockCheck, Doctor, Verify]),
    // The others never ask a network.
    ("offline", Shape::Switch, &[Resolve, Check, Lock, LockCheck, RenderCheck, Doctor, Verify]),
];

/// Runs the mode that the inputs name, and writes the outputs whatever comes of it.
pub fn run(global: Global) -> Exit {
    let temp = || variable("RUNNER_TEMP").map_or_else(std::env::temp_dir, PathBuf::from);
    let place = |name: &str, file: &str| {
        let given = input(name).ok().flatten();
        given.map_or_else(|| temp().join("gpuseal").join(file), PathBuf::from)
    };
    let (json, sarif) = (place("report", "report.json"), place("sarif", "gpuseal.sarif"));
    let report = |format, file: &PathBuf| Report { format, file: file.clone() };
    let mut reports = vec![report(Format::Json, &json), report(Format::Sarif, &sarif)];
    let summary = switch("summary", true);
    if let (Ok(true), Some(file)) = (&summary, variable("GITHUB_STEP_SUMMARY")) {
        reports.push(report(Format::Markdown, &file.into()));
    }
    let global = Global { format: Format::Github, report: reports, ..global };
    let mut output = Output::new(&global);
    output.aloud = true;
    let outputs = Outputs { json, sarif };
    let told = output.reports.clear().and(summary).and_then(|_| work(&output));
    let (exit, project) = told.unwrap_or_else(|err| {
        output.error(&err);
        (err.exit(), None)
    });
    match outputs.write(exit, project.as_deref(), &output) {
        // What comes next must not take old outputs for these.
        Err(err) if exit == Exit::Done => {
            output.error(&err);
            err.exit()
        }
        Err(err) => {
            output.talk(format_args!("error: {err}"));
            exit
        }
        Ok(()) => exit,
    }
}

/// Does what the inputs ask for. Says how it ended, and which folder's lock it was about.
fn work(output: &Output) -> Result<(Exit, Option<PathBuf>), Error> {
    let mode = mode()?;
    let mut flags = flags(mode)?;
    if mode == Verify {
        // Its image is no flag. Without one, the runner's own torch is on trial.
        let image = flags.iter().position(|(name, _)| *name == "image");
        let image = image.map(|at| flags.remove(at).1);
        let flag = match image.as_deref().and_then(|flag| flag.split_once('=')) {
            // It would be read as a flag, and no engine knows such a name.
            Some((_, image)) if image.starts_with('-') => {
                return Err(usage(
                    &format!("input `image`: `{}` is no name of an image", shown(image)),
                    "name it as the container engine knows it, such as `ghcr.io/team/train:1`",
                ));
            }
            Some((_, image)) => image.to_owned(),
            None => "--here".into(),
        };
        flags.push(("image", flag));
    }
    if mode == RenderCheck {
        output.command.set("render");
        let list = renders(&flags)?;
        let project = list.first().map_or_else(|| ".".into(), |args| args.project.clone());
        output.project.replace(project.clone());
        let exit = render::check(&list, &project, output).unwrap_or_else(|err| {
            output.error(&err);
            err.exit()
        });
        return Ok((exit, Some(project)));
    }
    let flags = flags.into_iter().map(|(_, flag)| flag);
    let cli = parsed(mode.command().iter().map(ToString::to_string).chain(flags))?;
    // A judgement of what was given is about no lock. Without the input, the project is what a variable
    // of the job names, as it is for the command.
    let project = cli.command.project().map(Path::to_owned);
    let about = project.filter(|_| mode != Check);
    Ok((ended(cli, output), about))
}

fn usage(message: &str, help: &str) -> Error {
    Error::Usage { message: message.into(), help: Some(help.into()) }
}

fn mode() -> Result<Mode, Error> {
    let given = input("mode")?.unwrap_or_default();
    let found = Mode::ALL.iter().find(|(word, _)| *word == given);
    found.map(|(_, mode)| *mode).ok_or_else(|| {
        let words: Vec<_> = Mode::ALL.iter().map(|(word, _)| *word).collect();
        usage(
            &format!("input `mode`: there is no mode `{}`", shown(&given)),
            &format!("modes are {}", words.join(", ")),
        )
    })
}

/// A variable that is there and says something.
fn variable(name: impl AsRef<OsStr>) -> Option<std::ffi::OsString> {
    std::env::var_os(name).filter(|value| !value.is_empty())
}

/// What an input says; `None` where it was not given.
fn input(name: &str) -> Result<Option<String>, Error> {
    let variable_name = format!("GPUSEAL_INPUT_{}", name.replace('-', "_").to_ascii_uppercase());
    let Some(value) = variable(variable_name) else { return Ok(None) };
    let value = value
        .into_string()
        .map_err(|_| usage(&format!("input `{name}` is not UTF-8"), "write it as text"))?;
    Ok(Some(value.trim().to_owned()).filter(|value| !value.is_empty()))
}

fn switch(name: &str, otherwise: bool) -> Result<bool, Error> {
    match input(name)?.as_deref() {
        None => Ok(otherwise),
        Some("true") => Ok(true),
        Some("false") => Ok(false),
        Some(other) => Err(usage(
            &format!("input `{name}`: `{}` is neither `true` nor `false`", shown(other)),
            "write one of them",
        )),
    }
}

fn split(text: &str, shape: Shape) -> impl Iterator<Item = &str> {
    let parts = text.split(move |c| match shape {
        Shape::List => matches!(c, '\n' | ','),
        Shape::Lines => c == '\n',
        Shape::Text | Shape::Switch => false,
    });
    parts.map(str::trim).filter(|part| !part.is_empty())
}

/// Flags of all inputs, each with its input. A value stands behind `=`: it can never be a flag.
fn flags(mode: Mode) -> Result<Vec<(&'static str, String)>, Error> {
    let mut flags = Vec::new();
    for &(name, shape, modes) in FLAGS {
        let given = if shape == Shape::Switch {
            switch(name, false)?.then(String::new)
        } else {
            input(name)?
        };
        let Some(given) = given else { continue };
        if !modes.contains(&mode) {
            let modes: Vec<_> = modes.iter().map(|mode| mode.word()).collect();
            return Err(usage(
                &format!("mode `{}` has no use for the input `{name}`", mode.word()),
                &format!("leave it out; it is for {}", modes.join(", ")),
            ));
        }
        match shape {
            Shape::Switch if name == "offline" && !matches!(mode, Lock | LockCheck) => (),
            Shape::Switch => flags.push((name, format!("--{name}"))),
            _ => flags.extend(split(&given, shape).map(|v| (name, format!("--{name}={v}")))),
        }
    }
    Ok(flags)
}

/// The command lines of `render --check`, one for each kind.
fn renders(flags: &[(&str, String)]) -> Result<Vec<Render>, Error> {
    const WITH_IMAGE: &[&str] = &["compose", "k8s", "slurm", "apptainer", "github", "gitlab"];
    let value = |flag: &str| flag.split_once('=').map_or_else(String::new, |(_, v)| v.to_owned());
    let mut kinds: Vec<String> =
        flags.iter().filter(|(name, _)| *name == "render").map(|(_, flag)| value(flag)).collect();
    if kinds.is_empty() {
        kinds.push("dockerfile".into());
    }
    let some_name_images = kinds.iter().any(|kind| WITH_IMAGE.contains(&kind.as_str()));
    let mut list = Vec::new();
    for kind in &kinds {
        let mut line: Vec<String> = RenderCheck.command().iter().map(ToString::to_string).collect();
        // Kinds that name no image leave it to those that do.
        let fits = |name: &str| {
            name != "image" || !some_name_images || WITH_IMAGE.contains(&kind.as_str())
        };
        let flags = flags.iter().filter(|(name, _)| *name != "render" && fits(name));
        line.extend(flags.map(|(_, flag)| flag.clone()));
        if kind == "uv" {
            line.push("--write".into());
        }
        line.extend(["--".into(), kind.clone()]);
        match parsed(line.into_iter())?.command {
            Command::Render(args) => list.push(args),
            _ => return Err(Error::usage("`render` is another command")),
        }
    }
    Ok(list)
}

/// Reads a command line. What clap has to say about it names the input.
fn parsed(line: impl Iterator<Item = String>) -> Result<Cli, Error> {
    Cli::try_parse_from(std::iter::once("gpuseal".to_owned()).chain(line)).map_err(|err| {
        let words = err.to_string();
        let words = words.strip_prefix("error: ").unwrap_or(&words);
        let words = words.split("\n\nUsage:").next().unwrap_or_default();
        let words = words.split("\n\nFor more").next().unwrap_or_default();
        let input = match err.get(ContextKind::InvalidArg) {
            Some(ContextValue::String(flag)) => {
                let name =
                    flag.trim_start_matches('-').split([' ', '=']).next().unwrap_or_default();
                let name = if name.starts_with('<') { "render" } else { name };
                format!("input `{name}`: ")
            }
            _ => String::new(),
        };
        // What was given stands in it as it is.
        let words = words.replace(char::is_control, " ");
        let words: Vec<_> = words.split_whitespace().take(60).collect();
        Error::Usage { message: format!("{input}{}", words.join(" ")), help: None }
    })
}
