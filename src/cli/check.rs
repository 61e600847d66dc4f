//! `gpuseal check`

use std::path::Path;

use super::args::{Check, Format, Wanted};
use super::asked;
use super::output::Output;
use super::wanted::{self, flag};
use crate::domain::{Code, DriverSpec, Finding, PythonVersion, shown};
use crate::error::{Error, Exit};
use crate::matrix::Matrix;
use crate::report::{Found, human, json_v1, markdown};
use crate::requirements::{Allow, Need, Requirements, in_project};
use crate::resolve::case::{BaseImage, Case, Driver, Index, Libc};
use crate::resolve::{Unplaced, judge, place_gpu};

/// Runs the command.
///
/// # Errors
/// Flags that are no values of their kind; names that the matrix does not know.
pub fn run(args: &Check, matrix: &Matrix, output: &Output) -> Result<Exit, Error> {
    let mut said = Vec::new();
    let mut case = match case(args, matrix, output, &mut said) {
        Ok(case) => case,
        Err(Stop::Error(err)) => return Err(err),
        Err(Stop::Unplaced(unplaced)) => {
            let list = std::slice::from_ref(&unplaced);
            output.instead(json_v1::unplaced("gpuseal.check", list, matrix));
            return Err(wanted::unplaced(&[unplaced], &Requirements::default()));
        }
    };
    case.allow_forward_compat = allow(args)?.forward_compat;
    let mut judgement = judge(&case, matrix);
    judgement.findings.append(&mut said);
    let given = case.driver.as_ref().map(|d| d.spec.to_string());
    let exit = match judgement.verdict {
        Code::Ok | Code::OkViaPtxJit => Exit::Done,
        Code::Unknown => Exit::Unknown,
        _ => Exit::No,
    };
    let found = Found::new("check", exit, Some(matrix)).with("", None, &judgement.findings);
    let project = args.project.as_deref().unwrap_or(Path::new("."));
    let config = in_project(project, "gpuseal.yaml");
    let of_it = args.project.is_some() || args.target.is_some();
    let found = if of_it && config.is_file() { found.about(&config) } else { found };
    let found = found.of_project(project);
    output.answer(&|format| match format {
        Format::Human => human::check(&judgement, matrix),
        Format::Json => json_v1::check(&judgement, given.as_deref(), matrix),
        Format::Github => found.github(),
        Format::Sarif => found.sarif(),
        Format::Markdown => markdown::check(&found, &judgement),
    })?;
    Ok(exit)
}

enum Stop {
    Error(Error),
    Unplaced(Unplaced),
}

impl From<Error> for Stop {
    fn from(err: Error) -> Self {
        Self::Error(err)
    }
}

fn allow(args: &Check) -> Result<Allow, Error> {
    let mut allow = Allow::default();
    for word in &args.allow {
        allow.add(word).map_err(|err| Error::usage(format!("--allow: {err}")))?;
    }
    Ok(allow)
}

/// The combination that is to be judged; what the project's files disagree about goes to `said`.
fn case(
    args: &Check,
    matrix: &Matrix,
    output: &Output,
    said: &mut Vec<Finding>,
) -> Result<Case, Stop> {
    let mut case = Case::default();
    if let Some(name) = &args.target {
        from_target(args, name, matrix, output, &mut case)?;
    }
    if args.project.is_some() || !args.chosen.requirements.is_empty() {
        said.extend(from_project(args, matrix, &mut case)?);
    }
    if let Some(torch) = &args.torch {
        case.torch = Some(flag("--torch", torch)?);
    }
    let host = wanted::host(&args.gpus)?;
    if let Some(host) = &host {
        case.module = Some(host.module);
        let spec = DriverSpec::Oldest(host.driver);
        case.driver = Some(Driver::place(spec, matrix).map_err(Error::usage)?);
    }
    if !args.gpus.is_empty() {
        let named = host.as_ref().map_or(&args.gpus, |host| &host.gpus);
        case.gpus = named
            .iter()
            .map(|g| place_gpu(g, "", matrix))
            .collect::<Result<_, _>>()
            .map_err(Stop::Unplaced)?;
    }
    if let Some(driver) = &args.driver {
        let spec: DriverSpec = flag("--driver", driver)?;
        case.driver = Some(Driver::place(spec, matrix).map_err(Error::usage)?);
    }
    if let Some(python) = &args.python {
        case.python = Some(flag::<PythonVersion>("--python", python)?);
    }
    if let Some(os) = &args.os {
        case.libc =
            Some(Libc::find(os, matrix).map_err(|err| Error::usage(format!("--os: {err}")))?);
    }
    if let Some(platform) = &args.platform {
        case.platform = Some(flag("--platform", platform)?);
    }
    if let Some(index) = &args.index {
        case.index = Some(flag::<Index>("--index", index)?);
    }
    for package in &args.with {
        let package: crate::domain::Package = flag("--with", package)?;
        case.with.retain(|p| p.name != package.name);
        case.with.push(package);
    }
    if let Some(nvcc) = &args.nvcc {
        case.nvcc = Some(flag("--nvcc", nvcc_version(nvcc))?);
    }
    for pair in &args.env {
        let (name, value) = pair
            .split_once('=')
            .ok_or_else(|| Error::usage(format!("--env: `{}` is no NAME=VALUE", shown(pair))))?;
        if pair.chars().any(char::is_control) {
            return Err(Error::usage(format!(
                "--env: `{}` holds a control character",
                shown(pair)
            ))
            .into());
        }
        case.env.push((name.to_owned(), value.to_owned()));
    }
    if let Some(image) = &args.base_image {
        case.base_image = Some(flag::<BaseImage>("--base-image", image)?);
    }
    case.module = wanted::kernel_module(args.kernel_module.as_deref())?.or(case.module);
    for need in &args.needs {
        case.compiles |= flag::<Need>("--needs", need)? == Need::Compile;
    }
    let nothing = case.torch.is_none()
        && case.gpus.is_empty()
        && case.driver.is_none()
        && case.base_image.is_none();
    if nothing {
        return Err(Error::Usage {
            message: "there is nothing to judge".into(),
            help: Some("give at least --torch, --gpu, --driver or --base-image".into()),
        }
        .into());
    }
    Ok(case)
}

/// The version in what nvcc prints: `release 12.4, V12.4.131`, `V12.4.131`, `cuda_12.4.r12.4/...`.
fn nvcc_version(text: &str) -> &str {
    let dotted = text
        .split(|c: char| !(c.is_ascii_digit() || c == '.'))
        .map(|word| word.trim_matches('.'))
        .find(|word| word.contains('.'));
    // A build number is no patch.
    match dotted {
        Some(word) if word.matches('.').count() == 2 => {
            word.rsplit_once('.').map_or(word, |(v, _)| v)
        }
        Some(word) => word,
        None => text,
    }
}

/// The flags that `check` shares with `resolve`, as that reads them.
fn selection(args: &Check) -> Wanted {
    Wanted {
        project: args.project.clone().unwrap_or_else(|| ".".into()),
        chosen: args.chosen.clone(),
        torch: args.torch.clone(),
        python: args.python.clone(),
        with: args.with.clone(),
        ..Wanted::default()
    }
}

/// What the project's own files pin; flags come over it.
fn from_project(args: &Check, matrix: &Matrix, case: &mut Case) -> Result<Vec<Finding>, Error> {
    let pinned = asked::pins(&selection(args), case, matrix)?;
    case.torch = pinned.torch;
    case.python = pinned.python.or(case.python);
    case.index = pinned.index.map(|url| flag::<Index>("--index", &url)).transpose()?;
    case.with = pinned.with;
    Ok(pinned.findings)
}

/// Machines of a target of gpuseal.yaml; flags come over them.
fn from_target(
    args: &Check,
    name: &str,
    matrix: &Matrix,
    output: &Output,
    case: &mut Case,
) -> Result<(), Error> {
    let selection = Wanted { targets: vec![name.to_owned()], ..selection(args) };
    let wanted = wanted::requirements(&selection, output)?;
    let problem = wanted::place(&wanted, matrix, output)?;
    if let Some(pool) = problem.targets.first() {
        case.gpus.clone_from(&pool.gpus);
        case.driver.clone_from(&pool.driver);
        case.platform = pool.platform;
        case.libc.clone_from(&pool.libc);
        case.module = pool.module;
    }
    Ok(())
}
