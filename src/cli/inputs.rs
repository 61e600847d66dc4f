//! `gpuseal inputs`

use super::args::{Format, Inputs};
use super::output::Output;
use crate::error::{Error, Exit};
use crate::matrix::Matrix;
use crate::report;
use crate::requirements::{self, project};

/// Runs the command.
///
/// # Errors
/// A file that cannot be read.
pub fn run(args: &Inputs, matrix: &Matrix, output: &Output) -> Result<Exit, Error> {
    let config = match &args.config {
        Some(file) => Some(file.clone()),
        None => requirements::find(&args.path)?,
    };
    let config = config.map(|file| requirements::read(&file)).transpose()?;
    let mut project = if args.requirements.is_empty() {
        project::folder(&args.path)?
    } else {
        project::files(&args.path, &args.requirements)?
    };
    if let Some(config) = &config {
        project.add(config);
    }
    let inputs = report::Inputs::of(&project);
    let text = match output.format {
        Format::Human => inputs.human(matrix),
        Format::Json => inputs.json(matrix),
        Format::Github => inputs.github(),
    };
    output.result(&text)?;
    Ok(if inputs.contradict() { Exit::No } else { Exit::Done })
}
