//! From a lock to text: a Dockerfile, an install script, or whatever the user's template says.
//!
//! Reads the lock and nothing else, never the matrix: an old lock keeps giving the same text. The
//! templates are in `templates/`; `context` documents what they see, `filters` what they may use.

mod context;
pub mod export;
mod filters;

use crate::domain::Platform;
use crate::lock::Lockfile;

pub use context::{Card, Compile, Driver, FromIndex, Image, LeftOut, LockFacts, Page, Target};

/// What to render.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// One Dockerfile with a stage for every target.
    Dockerfile,
    /// A POSIX shell script that installs a target into a virtual environment.
    Install,
}

impl Kind {
    /// The template that comes with the program: its name and text.
    const fn template(self) -> (&'static str, &'static str) {
        match self {
            Self::Dockerfile => {
                ("dockerfile.tera", include_str!("../../templates/dockerfile.tera"))
            }
            Self::Install => ("install.tera", include_str!("../../templates/install.tera")),
        }
    }
}

/// How to render.
#[derive(Debug, Clone, Copy, Default)]
pub struct Options<'a> {
    /// Text of a template to take instead of the built-in one; it sees the same [`Page`].
    pub user_template: Option<&'a str>,
}

/// Why a lock could not be rendered. All of it is invalid input (exit code 2).
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The template has a mistake, or names something that is not there.
    #[error("the template cannot be rendered: {0}")]
    Template(String),
    /// Docker would refuse the stage, or take it for something else.
    #[error("target `{target}` cannot name a stage of a Dockerfile: {reason}")]
    StageName {
        /// The target.
        target: String,
        /// Which rule it breaks.
        reason: &'static str,
    },
    /// A package has no file yet.
    #[error("package `{package}` of target `{target}` has no file: nobody has asked its index yet")]
    Unfetched {
        /// The package.
        package: String,
        /// The target.
        target: String,
    },
    /// uv cannot tell two targets apart.
    #[error(
        "one pyproject.toml cannot hold both: `{package}` is {one} and {other}, on the same machines"
    )]
    TwoBuilds {
        /// The package.
        package: String,
        /// Index and target.
        one: String,
        /// The others.
        other: String,
    },
    /// A source that was written by hand.
    #[error(
        "`{package}` has a source of its own in [tool.uv.sources]: {given}; the lock takes it from {wanted}"
    )]
    OtherSource {
        /// The package.
        package: String,
        /// As it stands.
        given: String,
        /// As it would stand.
        wanted: String,
    },
    /// The file that is to be edited is not as it should be.
    #[error("pyproject.toml: {0}")]
    Pyproject(String),
    /// There is no target left to render.
    #[error("no target of the lock is for Linux: there is no container image to describe")]
    NoContainer,
}

impl Error {
    /// What to do next, as one imperative sentence.
    pub fn help(&self) -> Option<String> {
        Some(match self {
            Self::Template(_) => "compare the template with the ones in `templates/` and their context in `src/render/context.rs`".into(),
            Self::StageName { .. } => "rename the target in gpuseal.yaml, then run `gpuseal lock` again".into(),
            Self::Unfetched { .. } => "run `gpuseal lock` with a network, then render again".into(),
            Self::TwoBuilds { .. } => "choose one of them with --target, or render `pylock` or `requirements`, which have a file for each".into(),
            Self::OtherSource { .. } => "take it out, or replace it with --force".into(),
            Self::Pyproject(_) => "mend it, or render `uv` without --write and copy what is missing".into(),
            Self::NoContainer => "run `gpuseal render install`, or add a target with `platform: linux/amd64`".into(),
        })
    }
}

/// Renders `lock`. The same lock gives the same bytes.
pub fn render(kind: Kind, lock: &Lockfile, options: &Options<'_>) -> Result<String, Error> {
    if kind == Kind::Dockerfile {
        check_stages(lock)?;
    }
    let page = Page::new(lock, kind);
    let (name, built_in) = kind.template();
    let mut tera = tera::Tera::new();
    tera.register_filter("shell_quote", |text: &str, _: tera::Kwargs, _: &tera::State| {
        filters::shell_quote(text)
    });
    tera.register_filter("docker_quote", |text: &str, _: tera::Kwargs, _: &tera::State| {
        filters::docker_quote(text)
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
fn check_stages(lock: &Lockfile) -> Result<(), Error> {
    let linux =
        |platform: Platform| matches!(platform, Platform::LinuxAmd64 | Platform::LinuxArm64);
    let mut targets = lock.targets.iter().filter(|t| linux(t.platform)).peekable();
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

#[cfg(test)]
mod tests;
