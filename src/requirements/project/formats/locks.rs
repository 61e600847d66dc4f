//! Locks of other tools: what they pin, to be checked against what the project asks for.

use std::collections::BTreeSet;

use super::demand::{Pin, countable};
use super::marker::Marker;
use super::reader::Reader;
use super::source::Text;
use crate::domain::{Gather as _, normalise_name};
use crate::requirements::Error;
use crate::tree::Node;

/// Reads uv.lock, poetry.lock or a pylock.toml: each has its packages in a list of tables.
///
/// # Errors
/// What TOML refuses; a file without such a list.
pub fn read(text: &Text, what: &'static str, reader: &mut Reader) -> Result<(), Error> {
    let node = text.lock()?;
    reader.began(text, what);
    let key = if what == "pylock" { "packages" } else { "package" };
    let known = ["version", "lock-version", "metadata"].iter().any(|key| node.get(key).is_some());
    if node.get(key).is_none() && !known {
        let help = format!("{what} files list their packages in [[{key}]]");
        return Err(text.bad(1, format!("this is no {what}"), Some(help)));
    }
    let list = node.get(key).map_or(&[][..], Node::items);
    // Of the hundreds that a lock pins, those that somebody asks for are compared.
    let asked: BTreeSet<String> = reader.project.demands.iter().map(|d| d.name.clone()).gather();
    for package in list {
        let (Some(name), Some(version)) = (package.text_of("name"), package.get("version")) else {
            continue;
        };
        let parsed = version.text().unwrap_or_default().parse().ok().filter(countable);
        let Some(parsed) = parsed else {
            let given = crate::domain::shown(version.text().unwrap_or_default());
            let message = format!("`{given}` is no version");
            return Err(text.bad(version.line, message, None));
        };
        reader.project.pins.push(Pin {
            name: normalise_name(name),
            version: parsed,
            from: from(package).map(str::to_owned),
            markers: if asked.contains(&normalise_name(name)) {
                markers(package)
            } else {
                Vec::new()
            },
            place: text.place(version.line),
        });
    }
    Ok(())
}

/// Where a package is installed: uv's forks, Poetry's `markers`, pylock's `marker`. One that is not
/// understood is no reason to complain of a lock.
fn markers(package: &Node) -> Vec<Marker> {
    let forks = package.list_of("resolution-markers").iter();
    let one = ["markers", "marker"].iter().filter_map(|key| package.get(key));
    let all: Option<Vec<Marker>> =
        forks.chain(one).map(|node| Marker::parse(node.text()?).ok()).collect();
    all.unwrap_or_default()
}

/// Where a package comes from: uv's `source`, Poetry's `[package.source]`, pylock's `index`.
fn from(package: &Node) -> Option<&str> {
    let source = package.get("source");
    let uv = source.and_then(|s| s.text_of("registry").or_else(|| s.text_of("url")));
    uv.or_else(|| package.text_of("index"))
        .or_else(|| package.at(&["archive", "url"]).and_then(Node::text))
}
