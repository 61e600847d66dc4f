//! What images will weigh: the whole account, or a line of it before they are built.

use crate::cli::args::Format;
use crate::cli::output::Output;
use crate::error::{Error, Exit};
use crate::lock::{Lockfile, Target};
use crate::render;
use crate::render::size::{Size, explain};
use crate::report::{Found, markdown, size};

/// Lines before a build; fleets have more targets than anybody reads.
const MOST: usize = 10;

fn sizes<'l>(lock: &'l Lockfile, targets: &[&'l Target]) -> Result<Vec<(&'l Target, Size)>, Error> {
    let linux = targets.iter().filter(|target| target.platform.is_linux());
    let sizes: Vec<_> = linux.map(|target| (*target, explain(lock, target))).collect();
    if sizes.is_empty() { Err(render::Error::NoContainer.into()) } else { Ok(sizes) }
}

/// Gives the account as the answer.
///
/// # Errors
/// There is no image; the answer cannot be written.
pub fn answer(lock: &Lockfile, targets: &[&Target], output: &Output) -> Result<(), Error> {
    let sizes = sizes(lock, targets)?;
    let found =
        sizes.iter().fold(Found::new("render", Exit::Done, None), |found, (target, size)| {
            found.with(target.name.as_str(), None, &size.findings)
        });
    output.answer(&|format| match format {
        Format::Human => size::human(&sizes),
        Format::Json => size::json(lock, &sizes),
        Format::Github => found.github(),
        Format::Sarif => found.sarif(),
        Format::Markdown => markdown::plain(&found, "ok", &size::human(&sizes)),
    })
}

/// The account for people.
///
/// # Errors
/// There is no image.
pub fn account(lock: &Lockfile, targets: &[&Target]) -> Result<String, Error> {
    Ok(size::human(&sizes(lock, targets)?))
}

/// What to expect of every image, where the lock knows it.
pub fn tell(lock: &Lockfile, targets: &[&Target], output: &Output) {
    let sizes = sizes(lock, targets).unwrap_or_default();
    for line in sizes.iter().filter_map(|(target, size)| size::line(target, size)).take(MOST) {
        output.talk(line);
    }
}
