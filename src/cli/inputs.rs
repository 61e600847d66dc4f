//! `gpuseal inputs`

use std::path::Path;

use super::args::{Format, Inputs};
use super::output::Output;
use crate::error::{Error, Exit};
use crate::matrix::Matrix;
use crate::report::{self, Found, markdown};
use crate::requirements::{self, project};

/// Runs the command.
///
/// # Errors
/// A file that cannot be read.
pub fn run(args: &Inputs, matrix: &Matrix, output: &Output) -> Result<Exit, Error> {
    // A file by its name is that file alone.
    let (folder, mut files) = match args.path.parent() {
        Some(parent) if args.path.is_file() => {
            let here = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
            (here, vec![args.path.clone()])
        }
        _ => (args.path.as_path(), Vec::new()),
    };
    files.extend(args.requirements.iter().cloned());
    let config = match &args.config {
        Some(file) => Some(file.clone()),
        None => requirements::find(folder)?.filter(|_| !args.path.is_file()),
    };
    let config = config.map(|file| requirements::read(&file)).transpose()?;
    let mut project =
        if files.is_empty() { project::folder(folder)? } else { project::files(folder, &files)? };
    if let Some(config) = &config {
        project.add(config);
    }
    let inputs = report::Inputs::of(&project);
    let exit = if inputs.contradict() { Exit::No } else { Exit::Done };
    let found = Found::new("inputs", exit, Some(matrix))
        .with("", None, &inputs.findings)
        .of_project(folder);
    output.answer(&|format| match format {
        Format::Human => inputs.human(matrix),
        Format::Json => inputs.json(matrix),
        Format::Github => found.github(),
        Format::Sarif => found.sarif(),
        Format::Markdown => {
            let verdict = match exit {
                Exit::Done if project.files.is_empty() => "nothing to read",
                Exit::Done => "ok",
                _ => "input-conflict",
            };
            markdown::folded(&found, verdict, "What was read", &inputs.human(matrix))
        }
    })?;
    Ok(exit)
}
