//! The program: parse, run, exit.

use std::process::ExitCode;

use gpuseal::error::Exit;

fn main() -> ExitCode {
    // The default hook has printed what happened and where.
    let exit = std::panic::catch_unwind(gpuseal::cli::main).unwrap_or_else(|_| {
        gpuseal::cli::report_bug();
        Exit::Bug
    });
    ExitCode::from(exit as u8)
}
