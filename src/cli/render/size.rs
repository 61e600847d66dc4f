//! What images will weigh: the whole account, or a line of it before they are built.

use crate::cli::args::Format;
use crate::cli::output::Output;
use crate::error::Error;
use crate::lock::{Lockfile, Target};
use crate::render;
use crate::render::size::{Size, explain};
use crate::report::{github, size};

/// Lines before a build; fleets have more targets than anybody reads.
const MOST: usize = 10;

fn sizes<'l>(lock: &'l Lockfile, targets: &[&'l Target]) -> Vec<(&'l Target, Size)> {
    let linux = targets.iter().filter(|target| target.platform.is_linux());
    linux.map(|target| (*target, explain(lock, target))).collect()
}

/// The account in the voice that was asked for.
///
/// # Errors
/// There is no image.
pub fn account(lock: &Lockfile, targets: &[&Target], format: Format) -> Result<String, Error> {
    let sizes = sizes(lock, targets);
    if sizes.is_empty() {
        return Err(render::Error::NoContainer.into());
    }
    Ok(match format {
        Format::Human => size::human(&sizes),
        Format::Json => size::json(lock, &sizes),
        Format::Github => {
            let findings: Vec<_> = sizes.into_iter().flat_map(|(_, size)| size.findings).collect();
            github::annotations(&findings, None)
        }
    })
}

/// What to expect of every image, where the lock knows it.
pub fn tell(lock: &Lockfile, targets: &[&Target], output: &Output) {
    let sizes = sizes(lock, targets);
    for line in sizes.iter().filter_map(|(target, size)| size::line(target, size)).take(MOST) {
        output.talk(line);
    }
}
