//! `gpuseal completions`

use clap::CommandFactory as _;

use super::args::{Cli, Completions};
use super::output::Output;
use crate::error::{Error, Exit};

/// Runs the command.
///
/// # Errors
/// The output cannot be written.
pub fn run(args: &Completions, output: &Output) -> Result<Exit, Error> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut public(), "gpuseal", &mut script);
    output.data(&String::from_utf8_lossy(&script))?;
    Ok(Exit::Done)
}

/// The command line as users are to know it. The generators show hidden commands too, and clap takes
/// none away from a command: so this one is put together from the rest.
pub fn public() -> clap::Command {
    let whole = Cli::command();
    clap::Command::new("gpuseal")
        .version(env!("CARGO_PKG_VERSION"))
        .about(whole.get_about().cloned().unwrap_or_default())
        .subcommand_required(true)
        .args(whole.get_arguments())
        .subcommands(whole.get_subcommands().filter(|command| !command.is_hide_set()))
}
