//! PDM and Hatch: development groups, environments, sources.

use std::collections::BTreeMap;

use super::demand::{Choice, Index};
use super::pyproject::{Given, Pyproject};
use super::reader::{Reader, of_pytorch};
use super::source::Text;
use crate::domain::normalise_name;
use crate::requirements::Error;
use crate::tree::{Key, Node};

/// Names and patterns of `include_packages` that every requirement is compared with.
const MAX_PATTERNS: usize = 500;

/// `[tool.pdm.dev-dependencies]` and `[tool.hatch.envs.NAME]`, as groups.
///
/// # Errors
/// An item that is no text.
pub fn groups(project: &Pyproject<'_>) -> Result<BTreeMap<String, Vec<Given>>, Error> {
    let mut groups: BTreeMap<String, Vec<Given>> = BTreeMap::new();
    if let Some(table) = project.node.at(&["tool", "pdm", "dev-dependencies"]) {
        for (name, list) in table.entries() {
            groups.entry(normalise_name(&name.text)).or_default().extend(project.list(list)?);
        }
    }
    if let Some(envs) = project.node.at(&["tool", "hatch", "envs"]) {
        for (name, given) in hatch(project, envs)? {
            groups.entry(name).or_default().extend(given);
        }
    }
    Ok(groups)
}

/// `[tool.pdm.resolution.overrides]`, as requirements: a bare version is that one.
pub fn overrides(project: &Pyproject<'_>) -> Vec<Given> {
    let table = project.node.at(&["tool", "pdm", "resolution", "overrides"]);
    let one = |(name, node): &(Key, Node)| {
        let given = node.text()?;
        let requirement = match given.chars().next()? {
            c if c.is_ascii_digit() => format!("{}=={given}", name.text),
            _ if given.contains("://") => format!("{} @ {given}", name.text),
            _ => format!("{}{given}", name.text),
        };
        Some((name.line, requirement))
    };
    table.map_or(&[][..], Node::entries).iter().filter_map(one).collect()
}

/// hatch.toml, which holds the same environments outside of pyproject.toml.
///
/// # Errors
/// What TOML or PEP 508 refuse.
pub fn read(text: &Text, reader: &mut Reader) -> Result<(), Error> {
    let node = text.toml()?;
    reader.began(text, "Hatch settings");
    let Some(envs) = node.get("envs") else { return Ok(()) };
    let project = Pyproject { text, node: &node, name: None, extras: BTreeMap::new() };
    for (group, given) in hatch(&project, envs)? {
        for (line, requirement) in given {
            reader.keep(text, line, &requirement, Some(&Choice::Group(group.clone())))?;
        }
    }
    Ok(())
}

/// Hatch's environments: each has the dependencies of its template, `default` where none is named,
/// unless it is detached or has its own.
fn hatch(project: &Pyproject<'_>, envs: &Node) -> Result<BTreeMap<String, Vec<Given>>, Error> {
    let mut groups = BTreeMap::new();
    for (name, env) in envs.entries() {
        let template = env.text_of("template").unwrap_or("default");
        let detached = env.get("detached").is_some_and(Node::is_true);
        let above = envs.get(template).filter(|_| !detached && template != name.text);
        let mut given = Vec::new();
        for key in ["dependencies", "extra-dependencies"] {
            if let Some(list) = env.get(key).or_else(|| above?.get(key)) {
                given.extend(project.list(list)?);
            }
        }
        for feature in
            env.get("features").or_else(|| above?.get("features")).map_or(&[][..], Node::items)
        {
            let extra = normalise_name(feature.text().unwrap_or_default());
            given.extend(project.extras.get(&extra).into_iter().flatten().cloned());
        }
        if !given.is_empty() {
            groups.insert(normalise_name(&name.text), given);
        }
    }
    Ok(groups)
}

/// `[[tool.pdm.source]]`: indexes, some of them for named packages only; and the variables of Hatch's
/// environments that name an index.
pub fn sources(project: &Pyproject<'_>, reader: &mut Reader) {
    let text = project.text;
    let mut patterns = 0;
    let list = project.node.at(&["tool", "pdm", "source"]);
    for node in list.map_or(&[][..], Node::items) {
        let Some(url) = node.get("url") else { continue };
        let mut index = Index::new(url.text().unwrap_or_default(), text.place(url.line))
            .called(node.text_of("name"));
        let named: Vec<glob::Pattern> = node
            .list_of("include_packages")
            .iter()
            .filter_map(|name| glob::Pattern::new(name.text()?).ok())
            .collect();
        patterns += named.len();
        if patterns > MAX_PATTERNS {
            let message = "more patterns of packages than are compared: the others are not read";
            reader.unread(&index.place, message);
            return;
        }
        index.explicit = !named.is_empty();
        index.extra = index.name.as_deref() != Some("pypi");
        let takes = |name: &str| {
            if named.is_empty() {
                of_pytorch(name)
            } else {
                named.iter().any(|pattern| pattern.matches(name))
            }
        };
        let pytorch = super::link::is_pytorch(&index.url);
        for demand in &mut reader.project.demands {
            let here = demand.place.file == text.name && demand.link.is_none();
            if here && demand.index.is_none() && takes(&demand.name) && (pytorch || index.explicit)
            {
                demand.index = Some(index.clone());
            }
        }
        reader.index(index);
        if reader.enough().is_err() {
            return;
        }
    }
    let envs = project.node.at(&["tool", "hatch", "envs"]);
    for (name, env) in envs.map_or(&[][..], Node::entries) {
        let group = normalise_name(&name.text);
        for (variable, node) in env.entries_of("env-vars") {
            let names = [
                "PIP_INDEX_URL",
                "PIP_EXTRA_INDEX_URL",
                "UV_INDEX_URL",
                "UV_EXTRA_INDEX_URL",
                "UV_INDEX",
                "UV_DEFAULT_INDEX",
            ];
            if !names.contains(&variable.text.as_str()) {
                continue;
            }
            for url in node.text().unwrap_or_default().split_whitespace() {
                let mut index = Index::new(url, text.place(node.line));
                index.extra = variable.text.contains("EXTRA") || variable.text == "UV_INDEX";
                for demand in &mut reader.project.demands {
                    let here = demand.choice.as_ref().is_some_and(|c| c.name() == group)
                        && demand.place.file == text.name;
                    if here
                        && demand.link.is_none()
                        && demand.index.is_none()
                        && (of_pytorch(&demand.name) || !index.extra)
                    {
                        demand.index = Some(index.clone());
                    }
                }
                reader.index(index);
                if reader.enough().is_err() {
                    return;
                }
            }
        }
    }
}
