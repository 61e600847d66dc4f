//! `[environments]` of pixi: which features are installed together, and which never are.

use std::collections::{BTreeMap, BTreeSet};

use crate::domain::{Gather as _, shown};
use crate::requirements::project::demand::Choice;
use crate::requirements::project::reader::{Reader, of_pytorch};
use crate::requirements::project::source::Text;
use crate::tree::Node;

/// Features of one manifest whose pairs are looked at.
const MAX_FEATURES: usize = 200;

/// Keeps every pair of features that are used, and never in one environment.
pub fn read(root: &Node, text: &Text, reader: &mut Reader) {
    let Some(table) = root.get("environments") else { return };
    let extras = extras(root, text);
    let choice = |name: &str| {
        if extras.contains(name) { Choice::Extra(name.into()) } else { Choice::Group(name.into()) }
    };
    let mut together: BTreeMap<String, BTreeSet<&str>> = BTreeMap::new();
    for (key, node) in table.entries() {
        let list = if node.is_map() { node.list_of("features") } else { node.items() };
        let names: Vec<&str> = list.iter().filter_map(Node::text).collect();
        if names.len() < list.len() || node.text().is_some() {
            let message = format!("the features of `{}` are no list of names", shown(&key.text));
            reader.unread(&text.place(key.line), message);
        }
        // The environments of a group get the same versions, as one would.
        let group = node.text_of("solve-group").map(|group| format!("group {group}"));
        let set = together.entry(group.unwrap_or_else(|| format!("alone {}", key.text)));
        set.or_default().extend(names.iter().filter(|name| **name != "default"));
        let alone = node.get("no-default-feature").is_some_and(Node::is_true);
        if alone && names.iter().any(|name| says(&choice(name), reader)) {
            let message = format!(
                "`{}` leaves the default feature out: its features are checked beside it",
                shown(&key.text)
            );
            reader.unread(&text.place(key.line), message);
        }
    }
    let used: BTreeSet<&str> = together.values().flatten().copied().gather();
    if used.len() > MAX_FEATURES {
        let message =
            format!("more than {MAX_FEATURES} features: none is taken to exclude another");
        reader.unread(&text.place(table.line), message);
        return;
    }
    let paired: BTreeSet<(&str, &str)> = together.values().flat_map(pairs).gather();
    for (first, second) in pairs(&used).into_iter().filter(|pair| !paired.contains(pair)) {
        reader.project.conflicts.push(vec![choice(first), choice(second)]);
    }
}

/// Every two of them, in their order.
fn pairs<'a>(names: &BTreeSet<&'a str>) -> Vec<(&'a str, &'a str)> {
    let behind = |first: &&'a str| names.range(*first..).skip(1);
    names.iter().flat_map(|first| behind(first).map(|second| (*first, *second))).collect()
}

/// Extras of `pyproject.toml` that are features without a table of their own.
fn extras(root: &Node, text: &Text) -> BTreeSet<String> {
    if !text.name.ends_with("pyproject.toml") {
        return BTreeSet::new();
    }
    let own: BTreeSet<&str> =
        root.entries_of("feature").iter().map(|(key, _)| key.text.as_str()).gather();
    let whole = text.toml().ok();
    let table = whole.as_ref().and_then(|whole| whole.at(&["project", "optional-dependencies"]));
    let names = table.map_or(&[][..], Node::entries).iter().map(|(key, _)| key.text.clone());
    names.filter(|name| !own.contains(name.as_str())).collect()
}

/// Whether an option says something that is checked.
fn says(choice: &Choice, reader: &Reader) -> bool {
    let project = &reader.project;
    project.demands.iter().any(|d| d.choice.as_ref() == Some(choice) && of_pytorch(&d.name))
        || project.cuda.iter().any(|c| c.choice.as_ref() == Some(choice))
        || project.python.iter().any(|p| p.choice.as_ref() == Some(choice))
}
