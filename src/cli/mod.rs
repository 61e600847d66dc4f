//! The command line: reads, calls, writes, reports. An `if` about CUDA belongs one floor down.

mod args;
mod asked;
mod check;
mod init;
mod inputs;
mod lock;
mod matrix;
mod output;
mod render;
mod resolve;
mod wanted;

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
    let output = Output::new(&cli.global);
    match run(&cli, &output) {
        Ok(exit) => exit,
        Err(err) => {
            output.error(&err);
            err.exit()
        }
    }
}

/// What is said after a panic: a bug of ours, and what helps to mend it.
pub fn report_bug() {
    anstream::eprintln!(
        "error: this is a bug of gpuseal {}\nhelp: please report the lines above with the command that led here",
        env!("CARGO_PKG_VERSION")
    );
}

fn run(cli: &Cli, output: &Output) -> Result<Exit, Error> {
    let load = || Matrix::load(cli.global.matrix.as_deref(), &cli.global.overlay);
    match &cli.command {
        args::Command::Resolve(args) => resolve::run(args, &load()?, output),
        args::Command::Init(args) => init::run(args, &load()?, output),
        args::Command::Inputs(args) => inputs::run(args, &load()?, output),
        args::Command::Check(args) => check::run(args, &load()?, output),
        args::Command::Lock(args) => lock::run(args, &load()?, output),
        args::Command::Render(args) => render::run(args, output),
        args::Command::Matrix(args) => matrix::run(args, &cli.global, output),
    }
}
