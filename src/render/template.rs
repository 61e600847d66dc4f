//! Kinds that are texts for people: a template, and the context that it sees.

use super::context::Page;
use super::{Error, Kind, Options, Shell, filters};
use crate::lock::{Lockfile, Target};

/// The template that comes with the program: its name and text.
const fn built_in(kind: Kind, options: &Options<'_>) -> (&'static str, &'static str) {
    match (kind, options.shell) {
        (Kind::Install, Shell::Sh) => {
            ("install.tera", include_str!("../../templates/install.tera"))
        }
        (Kind::Install, Shell::Powershell) => {
            ("install.ps1.tera", include_str!("../../templates/install.ps1.tera"))
        }
        (Kind::Slurm, _) => ("slurm.tera", include_str!("../../templates/slurm.tera")),
        (Kind::Apptainer, _) => ("apptainer.tera", include_str!("../../templates/apptainer.tera")),
        _ => ("dockerfile.tera", include_str!("../../templates/dockerfile.tera")),
    }
}

pub(super) fn render(
    kind: Kind,
    lock: &Lockfile,
    targets: &[&Target],
    options: &Options<'_>,
) -> Result<String, Error> {
    if kind != Kind::Install && !targets.iter().any(|target| target.platform.has_container()) {
        return Err(Error::NoContainer);
    }
    if kind == Kind::Dockerfile {
        check_stages(targets)?;
    }
    let page = Page::new(lock, targets, kind, options);
    let (name, built_in) = built_in(kind, options);
    let mut tera = tera::Tera::new();
    tera.register_filter("shell_quote", |text: &str, _: tera::Kwargs, _: &tera::State| {
        filters::shell_quote(text)
    });
    tera.register_filter("docker_quote", |text: &str, _: tera::Kwargs, _: &tera::State| {
        filters::docker_quote(text)
    });
    tera.register_filter("powershell_quote", |text: &str, _: tera::Kwargs, _: &tera::State| {
        filters::powershell_quote(text)
    });
    let failed = |error: tera::Error| Error::Template(printable(&error.to_string()));
    let context = tera::Context::from_serialize(&page).map_err(failed)?;
    if let Some(text) = options.user_template {
        return tera.render_str(text, &context, false).map_err(failed);
    }
    tera.add_raw_template(name, built_in).map_err(failed)?;
    tera.render(name, &context).map_err(failed)
}

/// Names of stages have a rule of their own, and two words mean something else.
///
/// Source: BuildKit, `instructions/parse.go` and the check `ReservedStageName`.
pub(super) fn check_stages(targets: &[&Target]) -> Result<(), Error> {
    let mut targets = targets.iter().filter(|t| t.platform.has_container()).peekable();
    if targets.peek().is_none() {
        return Err(Error::NoContainer);
    }
    for target in targets {
        let name = target.name.as_str();
        let reason = match name {
            "scratch" | "context" => "Docker reserves the word",
            _ if !name.starts_with(|c: char| c.is_ascii_lowercase()) => {
                "a stage starts with a letter"
            }
            _ => continue,
        };
        return Err(Error::StageName { target: name.into(), reason });
    }
    Ok(())
}

/// The excerpt of a template must not steer the terminal.
fn printable(message: &str) -> String {
    let message = message.strip_prefix("error: ").unwrap_or(message);
    message.chars().map(|c| if c.is_control() && c != '\n' { '\u{fffd}' } else { c }).collect()
}
