//! The program: parse, run, exit.

use std::process::ExitCode;

use gpuseal::error::Exit;

fn main() -> ExitCode {
    // The release build aborts on a panic, which is smaller; the exit code is promised all the same.
    let print = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        print(info);
        gpuseal::cli::report_bug();
        std::process::exit(Exit::Bug as i32);
    }));
    ExitCode::from(gpuseal::cli::main() as u8)
}
