//! What runs or builds the images: data that machines read, from typed structs.
//!
//! Every value is a text of a checked type, and YAML's writer quotes what a reader of either YAML could
//! take for another type. Compose and the shells of CI would expand a `$`, GitHub a `${{`: no type of the
//! lock admits one, and scripts get their values by environment variables all the same.

mod compose;
mod devcontainer;
mod github;
mod gitlab;
mod k8s;
mod nodes;

use std::fmt::Write as _;

use serde::{Serialize, Serializer};

use super::{Error, ImageName, Kind, Options, Page, template};
use crate::lock::{Lockfile, Mode, Target};
use crate::yaml;

/// Shared memory of a container, in GiB: workers of a `DataLoader` and NCCL pass data through it, and the
/// 64 MiB that engines give end in "bus error". Only what is used is taken.
const SHARED_MEMORY: u32 = 8;

/// Renders a kind that is YAML or JSON.
pub(super) fn render(
    kind: Kind,
    lock: &Lockfile,
    targets: &[&Target],
    options: &Options<'_>,
) -> Result<String, Error> {
    let page = Page::new(lock, targets, kind, options);
    if page.targets.is_empty() {
        return Err(Error::NoContainer);
    }
    // A Job only runs an image; the others build a stage of the Dockerfile.
    if kind != Kind::K8s {
        template::check_stages(targets)?;
    }
    match kind {
        Kind::Compose => Ok(compose::text(&page, options.image, &options.to_project(0))),
        Kind::Devcontainer => Ok(devcontainer::text(&page, options.gpu, &options.to_project(2))),
        Kind::K8s => k8s::text(&page, lock, options.dra),
        Kind::Github => github::text(&page, options.image),
        _ => gitlab::text(&page, options.image),
    }
}

/// The first lines of every file, then what this kind has to say.
fn head(kind: Kind, page: &Page, says: &str) -> String {
    let mut text = format!(
        "# Written by gpuseal from gpuseal.lock. Do not edit: change gpuseal.yaml, run `gpuseal lock`, then\n# `gpuseal render {}`.\n# Lock: {}\n",
        kind.word(),
        page.lock.digest
    );
    for line in says.lines() {
        let _ = writeln!(text, "# {line}");
    }
    for target in &page.targets {
        let _ = writeln!(
            text,
            "# {}: torch {}, CUDA {}, Python {}, {}",
            target.name, target.torch, target.cuda, target.python, target.platform
        );
        let cards: Vec<_> = target.gpus.iter().map(|card| card.name.as_str()).collect();
        let driver = &target.driver;
        let floor = if driver.mode == Some(Mode::ForwardCompat.word()) && !target.holds_compat {
            let newest = driver.native.as_ref().or(driver.min.as_ref());
            newest.map(|floor| format!("{floor} or newer (the image has no cuda-compat)"))
        } else {
            driver.min.as_ref().map(|floor| format!("{floor} or newer"))
        };
        let last = target.driver.max_branch.map(|branch| format!("up to branch {branch}"));
        let drivers: Vec<_> = floor.into_iter().chain(last).collect();
        let drivers = if drivers.is_empty() { "not known".into() } else { drivers.join(", ") };
        let _ = writeln!(text, "#   for {}; host driver: {drivers}", cards.join(", "));
    }
    for target in &page.left_out {
        let _ = writeln!(
            text,
            "# Left out: target {} is for {}, which has no Linux container.",
            target.name, target.platform
        );
    }
    text
}

/// What is built is named by a tag.
fn tagged(image: Option<&ImageName>, kind: Kind) -> Result<(), Error> {
    match image.filter(|image| image.is_digest()) {
        Some(image) => Err(Error::BuiltByDigest { image: image.to_string(), kind: kind.word() }),
        None => Ok(()),
    }
}

/// One document of YAML.
fn document<T: Serialize>(value: &T) -> String {
    // Structs, texts and numbers: no lock makes this fail.
    let text = yaml::to_string(value).unwrap_or_default();
    // What was written is read as what was meant, whatever a lock holds.
    debug_assert_eq!(
        yaml::from_str::<serde_json::Value>(&text).ok(),
        serde_json::to_value(value).ok(),
        "{text}"
    );
    text
}

/// A mapping in the order of the lock.
struct Named<T>(Vec<(String, T)>);

impl<T: Serialize> Serialize for Named<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, value)| (name, value)))
    }
}

#[cfg(test)]
mod tests;
