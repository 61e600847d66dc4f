//! The command line: reads, calls, writes, reports. An `if` about CUDA belongs one floor down.

mod action;
mod args;
mod asked;
mod check;
mod completions;
mod diagnose;
mod doctor;
mod explain;
mod hook;
mod host_probe;
mod init;
mod inputs;
mod lock;
mod man;
mod matrix;
mod output;
mod render;
mod reports;
mod resolve;
mod verify;
mod wanted;
mod why;

use std::path::Path;

use clap::Parser;

pub use args::{Cli, Format};

use crate::error::{Error, Exit};
use crate::matrix::Matrix;
use output::Output;

/// Runs the program on the arguments of the process.
pub fn main() -> Exit {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(err) => {
            let ok = !err.use_stderr();
            let _ = err.print();
            return if ok { Exit::Done } else { Exit::Usage };
        }
    };
    if matches!(cli.command, args::Command::Action) {
        return action::run(cli.global);
    }
    let output = Output::new(&cli.global);
    ended(cli, &output)
}

/// Runs a command, says its error, and gives what the program ends with.
fn ended(cli: Cli, output: &Output) -> Exit {
    let exit = run(cli, output).unwrap_or_else(|err| {
        output.error(&err);
        err.exit()
    });
    output.process_exit(exit)
}

/// What is said after a panic: a bug of ours, and what helps to mend it.
pub fn report_bug() {
    anstream::eprintln!(
        "error: this is a bug of gpuseal {}\nhelp: please report the lines above with the command that led here",
        env!("CARGO_PKG_VERSION")
    );
}

fn run(mut cli: Cli, output: &Output) -> Result<Exit, Error> {
    if let Some(project) = cli.command.project() {
        output.project.replace(project.to_owned());
    }
    match cli.command.answers() {
        Some(name) => output.command.set(name),
        None if !cli.global.report.is_empty() => {
            return Err(Error::Usage {
                message: "--report is for the answer of a command, and this one has none".into(),
                help: Some("leave it out".into()),
            });
        }
        None => (),
    }
    output.reports.check()?;
    if cli.global.matrix.is_none() {
        cli.global.matrix = wanted::matrix_of_variable()?;
    }
    let global = &cli.global;
    let load = || Ok::<_, Error>(Matrix::load(global.matrix.as_deref(), &global.overlay)?);
    // What the configuration names stands behind flag and variable.
    let load_for = |project: &Path, config: Option<&Path>| {
        if global.matrix.is_some() {
            return load();
        }
        let matrix = wanted::matrix_of_config(project, config)?;
        Ok(Matrix::load(matrix.as_deref(), &global.overlay)?)
    };
    let load_wanted = |args: &args::Wanted| load_for(&args.project, args.config.as_deref());
    match &cli.command {
        args::Command::Resolve(args) => resolve::run(args, &load_wanted(&args.wanted)?, output),
        args::Command::Init(args) => init::run(args, &load()?, output),
        args::Command::Inputs(args) if args.path.is_file() && args.config.is_none() => {
            inputs::run(args, &load()?, output)
        }
        args::Command::Inputs(args) => {
            inputs::run(args, &load_for(&args.path, args.config.as_deref())?, output)
        }
        args::Command::Check(args) => {
            let here = args.target.as_ref().map(|_| Path::new("."));
            let matrix = match args.project.as_deref().or(here) {
                Some(project) => load_for(project, None)?,
                None => load()?,
            };
            check::run(args, &matrix, output)
        }
        args::Command::Lock(args) => lock::run(args, &load_wanted(&args.wanted)?, output),
        args::Command::Render(args) => render::run(args, output),
        args::Command::Doctor(args) => doctor::run(args, &load_for(&args.project, None)?, output),
        args::Command::Verify(args) => {
            verify::run(args, &load_for(&args.project, None)?, global, output)
        }
        args::Command::VerifyLayer => verify::layer(output),
        args::Command::Diagnose(args) => diagnose::run(args, &load()?, output),
        args::Command::Why(args) => why::run(args, &load_wanted(&args.wanted)?, output),
        args::Command::Explain(args) => explain::run(args, &load()?, output),
        args::Command::Schema(args) => match args.of {
            args::Described::TemplateContext => {
                output.data(crate::render::SCHEMA)?;
                Ok(Exit::Done)
            }
        },
        args::Command::Completions(args) => completions::run(args, output),
        args::Command::Man(args) => man::run(args, output),
        // It runs another one of these.
        args::Command::Action => Ok(Exit::Usage),
        args::Command::HostProbe(args) => host_probe::run(args, output),
        args::Command::Matrix(args) => matrix::run(args, global, output),
    }
}
