//! `gpuseal man`

use clap::Command;
use clap_mangen::roff::{Roff, bold, roman};

use super::args::Man;
use super::completions::public;
use super::output::{Output, write_whole};
use crate::domain::shown;
use crate::error::{Error, Exit};

/// Variables that are no flag's: what they do.
const OTHERS: &[(&str, &str)] = &[
    (
        "GPUSEAL_MIRROR_PYPI, GPUSEAL_MIRROR_PYTORCH, GPUSEAL_MIRROR_MATRIX",
        "What stands in for PyPI, the PyTorch wheel index and the matrix; over the mirrors of gpuseal.yaml.",
    ),
    (
        "GPUSEAL_MIRROR_HOST",
        "What stands in for the registry HOST, with _ for its signs: GPUSEAL_MIRROR_DOCKER_IO.",
    ),
    ("GPUSEAL_NO_PROGRESS", "Show no progress."),
    ("NO_COLOR", "Use no colour."),
];

/// Runs the command.
///
/// # Errors
/// There is no such command; the folder is not writable.
pub fn run(args: &Man, output: &Output) -> Result<Exit, Error> {
    let mut root = public().disable_help_subcommand(true);
    // Gives commands their full names, and the options of every command.
    root.build();
    if let Some(folder) = &args.output {
        fs_err::create_dir_all(folder)?;
        let commands = all(&root);
        for command in &commands {
            let name = format!("{}.1", name(command));
            write_whole(&folder.join(name), &page(command, &root)?)?;
        }
        output.talk(format_args!("wrote {} pages to {}", commands.len(), folder.display()));
        return Ok(Exit::Done);
    }
    let mut command = &root;
    for word in &args.command {
        command = command.find_subcommand(word).ok_or_else(|| stranger(word, command))?;
    }
    output.data(&page(command, &root)?)?;
    Ok(Exit::Done)
}

fn stranger(word: &str, command: &Command) -> Error {
    let known: Vec<_> = command.get_subcommands().map(Command::get_name).collect();
    let of = command.get_bin_name().unwrap_or("gpuseal");
    Error::Usage {
        message: format!("`{of}` has no command `{}`", shown(word)),
        help: Some(if known.is_empty() {
            format!("`{of}` has no commands of its own")
        } else {
            format!("its commands are {}", known.join(", "))
        }),
    }
}

/// A command and everything below it.
fn all(command: &Command) -> Vec<&Command> {
    std::iter::once(command).chain(command.get_subcommands().flat_map(all)).collect()
}

fn name(command: &Command) -> &str {
    command.get_display_name().unwrap_or_else(|| command.get_name())
}

/// A page as roff. It holds no date and no value of a variable: the same program writes the same page.
fn page(command: &Command, root: &Command) -> Result<String, Error> {
    let man = clap_mangen::Man::new(command.clone())
        // An empty one is left out, and what follows taken for the date.
        .date(" ")
        .source(concat!("gpuseal ", env!("CARGO_PKG_VERSION")))
        .manual("User Commands");
    let mut page = Vec::new();
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    man.render_options_section(&mut page)?;
    if command.has_subcommands() {
        man.render_subcommands_section(&mut page)?;
    }
    let mut end = Roff::new();
    end.control("SH", ["EXIT STATUS"]);
    for (exit, meaning) in Exit::ALL {
        row(&mut end, &(*exit as u8).to_string(), meaning);
    }
    end.control("SH", ["ENVIRONMENT"]);
    // On the page of gpuseal itself stand those of all commands.
    let mut seen: Vec<&str> = Vec::new();
    for arg in all(command).iter().flat_map(|command| command.get_arguments()) {
        let Some(variable) = arg.get_env().and_then(|name| name.to_str()) else { continue };
        if !seen.contains(&variable) {
            seen.push(variable);
            let flag = arg.get_long().map_or(String::new(), |long| format!("As --{long}. "));
            let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
            row(&mut end, variable, &format!("{flag}{help}"));
        }
    }
    if std::ptr::eq(command, root) {
        for (variable, does) in OTHERS {
            row(&mut end, variable, does);
        }
    }
    end.to_writer(&mut page)?;
    Ok(String::from_utf8_lossy(&page).into_owned())
}

/// A word, and below it what it means.
fn row(roff: &mut Roff, word: &str, means: &str) {
    roff.control("TP", []);
    roff.text([bold(word)]);
    roff.text([roman(means)]);
}
