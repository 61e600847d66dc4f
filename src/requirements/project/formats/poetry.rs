//! Poetry: its own way to write versions, its sources, groups and extras.
//!
//! Source: Poetry's documentation, "Dependency specification" and "Repositories".

use std::collections::BTreeMap;
use std::fmt::Write as _;

use pep440_rs::{Version, VersionSpecifiers};

use super::demand::{Choice, Demand, Index, Kind, PythonSaid};
use super::marker::Marker;
use super::pyproject::Pyproject;
use super::reader::{Reader, of_pytorch};
use super::requirement;
use crate::domain::{normalise_name, shown};
use crate::requirements::Error;
use crate::tree::{Key, Node};

/// Longest version that is read, in bytes.
const MAX_BYTES: usize = 1000;

/// Reads `[tool.poetry]`. Beside PEP 621 dependencies of the same name an entry only adds the source.
///
/// # Errors
/// A version that Poetry would refuse, a source that is not defined.
pub fn read(
    project: &Pyproject<'_>,
    reader: &mut Reader,
    choice: Option<&Choice>,
) -> Result<(), Error> {
    let Some(table) = project.node.at(&["tool", "poetry"]) else { return Ok(()) };
    let poetry = Poetry { project, extras: extras(table), sources: sources(table, project) };
    for (index, _) in &poetry.sources {
        reader.index(index.clone());
    }
    reader.enough()?;
    for (name, node) in table.entries_of("dependencies") {
        if name.text == "python" {
            poetry.python(node, reader)?;
        } else {
            poetry.entry(name, node, choice, reader)?;
        }
    }
    for (name, node) in table.entries_of("dev-dependencies") {
        poetry.entry(name, node, Some(&Choice::Group("dev".into())), reader)?;
    }
    for (group, body) in table.entries_of("group") {
        let group = Choice::Group(normalise_name(&group.text));
        for (name, node) in body.entries_of("dependencies") {
            poetry.entry(name, node, Some(&group), reader)?;
        }
    }
    // PEP 621 dependencies that name no source take the main ones.
    let demands = std::mem::take(&mut reader.project.demands);
    let place = |mut demand: Demand| {
        if demand.place.file == project.text.name && demand.index.is_none() && demand.link.is_none()
        {
            demand.index = poetry.implied(&demand.name);
        }
        demand
    };
    reader.project.demands = demands.into_iter().map(place).collect();
    Ok(())
}

struct Poetry<'a> {
    project: &'a Pyproject<'a>,
    /// Extras that bring a package.
    extras: BTreeMap<String, Vec<String>>,
    /// Each with its priority.
    sources: Vec<(Index, String)>,
}

fn extras(table: &Node) -> BTreeMap<String, Vec<String>> {
    let mut extras: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (extra, list) in table.entries_of("extras") {
        let extra = normalise_name(&extra.text);
        for item in list.items().iter().filter_map(Node::text) {
            let name = normalise_name(item.split(['[', ' ']).next().unwrap_or_default());
            let of = extras.entry(name).or_default();
            if of.last() != Some(&extra) {
                of.push(extra.clone());
            }
        }
    }
    extras
}

fn sources(table: &Node, project: &Pyproject<'_>) -> Vec<(Index, String)> {
    let list = table.get("source").map_or(&[][..], Node::one_or_many);
    let read = |node: &Node| {
        let url = node.get("url")?;
        let place = project.text.place(url.line);
        let mut index = Index::new(url.text()?, place).called(node.text_of("name"));
        let secondary = node.get("secondary").is_some_and(Node::is_true);
        let priority =
            node.text_of("priority").unwrap_or(if secondary { "secondary" } else { "primary" });
        index.explicit = priority == "explicit";
        index.extra = priority == "supplemental" || priority == "secondary";
        Some((index, priority.to_owned()))
    };
    list.iter().filter_map(read).collect()
}

impl Poetry<'_> {
    fn python(&self, node: &Node, reader: &mut Reader) -> Result<(), Error> {
        let given = node.text().or_else(|| node.text_of("version")).unwrap_or_default();
        match specifiers(given) {
            Ok(versions) => reader.project.python.push(PythonSaid {
                versions,
                given: given.to_owned(),
                by: "Poetry's python",
                choice: None,
                place: self.project.text.place(node.line),
            }),
            Err(Refusal::Union) => reader.unread(
                &self.project.text.place(node.line),
                format!("python: `{}` is more than one range", shown(given)),
            ),
            Err(Refusal::Bad) => return Err(self.bad(node, "python", given)),
        }
        Ok(())
    }

    fn bad(&self, node: &Node, name: &str, given: &str) -> Error {
        self.project.text.bad(
            node.line,
            format!("{name}: `{}` is no version that Poetry reads", crate::domain::shown(given)),
            Some("forms are \"^2.6\", \"~2.6.0\", \">=2.6,<3\", \"2.6.*\", \"2.6.0+cu124\"".into()),
        )
    }

    /// One package: a version, a table, or a list of tables.
    fn entry(
        &self,
        name: &Key,
        node: &Node,
        choice: Option<&Choice>,
        reader: &mut Reader,
    ) -> Result<(), Error> {
        for one in node.one_or_many() {
            let key = if node.items().is_empty() { Some(name) } else { None };
            self.one(name, key, one, choice, reader)?;
        }
        Ok(())
    }

    fn one(
        &self,
        name: &Key,
        key: Option<&Key>,
        node: &Node,
        choice: Option<&Choice>,
        reader: &mut Reader,
    ) -> Result<(), Error> {
        let text = self.project.text;
        let line = key.map_or(node.line, |key| key.line);
        let version = node.text().or_else(|| node.text_of("version"));
        let given = format!("{} = {}", name.text, version.unwrap_or("{ ... }"));
        let mut demand = Demand::new(&name.text, &given, text.place(line));
        demand.choice = choice.cloned();
        if let Some(version) = version {
            match specifiers(version) {
                Ok(versions) => demand.versions = versions,
                Err(Refusal::Union) => reader.unread(
                    &demand.place,
                    format!(
                        "{}: `{}` is more than one range, and is taken for any",
                        shown(&name.text),
                        shown(version)
                    ),
                ),
                Err(Refusal::Bad) => return Err(self.bad(node, &name.text, version)),
            }
        }
        demand.extras =
            node.list_of("extras").iter().filter_map(Node::text).map(str::to_owned).collect();
        demand.marker = self.marker(node, reader)?;
        if let Some(source) = node.get("source") {
            let wanted = source.text().unwrap_or_default();
            let same = |index: &Index| {
                index.name.as_deref().is_some_and(|name| name.eq_ignore_ascii_case(wanted))
            };
            let found = self.sources.iter().find(|(index, _)| same(index));
            if found.is_none() && !wanted.eq_ignore_ascii_case("pypi") {
                let known: Vec<_> =
                    self.sources.iter().filter_map(|(i, _)| i.name.as_deref()).collect();
                return Err(text.bad(
                    source.line,
                    format!("there is no source `{}`", crate::domain::shown(wanted)),
                    Some(format!(
                        "define it as [[tool.poetry.source]]; sources are {}",
                        if known.is_empty() { "none".into() } else { known.join(", ") }
                    )),
                ));
            }
            demand.index = found.map(|(index, _)| index.clone());
        } else if let Some(address) = node.text_of("url") {
            requirement::attach(&mut demand, address);
        } else if let Some(path) = node.text_of("path").or_else(|| node.text_of("file")) {
            requirement::attach(&mut demand, path);
        } else if let Some(git) = node.text_of("git") {
            let rev = node.text_of("tag").map_or(String::new(), |tag| format!("@{tag}"));
            requirement::attach(&mut demand, &format!("git+{git}{rev}"));
        } else {
            demand.index = self.implied(&demand.name);
        }
        // `[project] dependencies` says the version, this table only where it comes from.
        let mut added = false;
        if version.is_none() {
            for other in reader.project.demands.iter_mut().filter(|d| {
                d.name == demand.name
                    && d.place.file == text.name
                    && !d.given.contains(" = ")
                    && (demand.choice.is_none() || d.choice == demand.choice)
            }) {
                added = true;
                if other.link.is_none() && demand.index.is_some() {
                    other.index.clone_from(&demand.index);
                }
                if demand.link.is_some() {
                    other.link.clone_from(&demand.link);
                    other.versions.clone_from(&demand.versions);
                }
            }
        }
        if added {
            return Ok(());
        }
        if node.get("optional").is_some_and(Node::is_true) {
            let mut any = false;
            for extra in self.extras.get(&demand.name).into_iter().flatten() {
                // An entry of a list may be meant for one extra only.
                if demand.marker.allows_extra(extra) {
                    any = true;
                    let choice = Some(Choice::Extra(extra.clone()));
                    reader.push(Demand { choice, ..demand.clone() });
                }
            }
            if !any {
                demand.kind = Kind::Constraint;
                reader.push(demand);
            }
        } else {
            reader.push(demand);
        }
        Ok(())
    }

    /// `markers`, `python` and `platform` of an entry.
    fn marker(&self, node: &Node, reader: &mut Reader) -> Result<Marker, Error> {
        let text = self.project.text;
        let parse = |line: usize, given: &str| {
            Marker::parse(given).map_err(|why| text.bad(line, why, None))
        };
        let mut marker = Marker::default();
        if let Some(node) = node.get("markers") {
            marker = marker.and(&parse(node.line, node.text().unwrap_or_default())?);
        }
        if let Some(node) = node.get("platform") {
            let all: Vec<String> = node
                .text()
                .unwrap_or_default()
                .split("||")
                .map(|one| match one.trim().strip_prefix("!=") {
                    Some(other) => format!("sys_platform != '{}'", quotable(other)),
                    None => format!("sys_platform == '{}'", quotable(one)),
                })
                .collect();
            marker = marker.and(&parse(node.line, &all.join(" or "))?);
        }
        if let Some(node) = node.get("python") {
            let given = node.text().unwrap_or_default();
            match specifiers(given) {
                Ok(versions) => {
                    let mut all = String::new();
                    for spec in versions.iter() {
                        let and = if all.is_empty() { "" } else { " and " };
                        let full = spec.version().release().len() > 2;
                        let key = if full { "python_full_version" } else { "python_version" };
                        let _ = write!(
                            all,
                            "{and}{key} {} '{}'",
                            spec.operator(),
                            version_of(&spec.to_string())
                        );
                    }
                    marker = marker.and(&parse(node.line, &all)?);
                }
                Err(Refusal::Union) => reader.unread(
                    &text.place(node.line),
                    format!("python: `{}` is more than one range", shown(given)),
                ),
                Err(Refusal::Bad) => return Err(self.bad(node, "python", given)),
            }
        }
        Ok(marker)
    }

    /// The source of a package that names none. A supplemental one is asked for what no other has.
    fn implied(&self, name: &str) -> Option<Index> {
        let asked = |priority: &str| matches!(priority, "primary" | "default");
        let main = || self.sources.iter().find(|(_, priority)| asked(priority));
        let wheels = || {
            self.sources
                .iter()
                .find(|(index, priority)| asked(priority) && super::link::is_pytorch(&index.url))
        };
        let found = if of_pytorch(name) { wheels().or_else(main) } else { main() };
        found.map(|(index, _)| index.clone())
    }
}

fn quotable(text: &str) -> String {
    text.chars().filter(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.')).collect()
}

/// The version in `>=3.9`, `==3.9.*`.
fn version_of(spec: &str) -> &str {
    spec.trim_start_matches(['<', '>', '=', '!', '~'])
}

/// Why a version is not read.
#[derive(Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Several ranges: PEP 440 has no word for that.
    Union,
    /// Poetry would refuse it too.
    Bad,
}

/// A version in Poetry's words as PEP 440's: `^2.1` is `>=2.1,<3.0`.
///
/// # Errors
/// See [`Refusal`].
pub fn specifiers(given: &str) -> Result<VersionSpecifiers, Refusal> {
    let text = given.trim();
    if text.len() > MAX_BYTES {
        return Err(Refusal::Bad);
    }
    if text.is_empty() || text == "*" {
        return Ok(VersionSpecifiers::default());
    }
    if text.contains('|') {
        return Err(Refusal::Union);
    }
    // Parts are joined by a comma or by space; space may also stand behind an operator.
    let mut parts: Vec<String> = Vec::new();
    for word in text.split([',', ' ']).filter(|w| !w.is_empty()) {
        match parts.last_mut() {
            Some(last) if last.ends_with(['<', '>', '=', '~', '^', '!']) => last.push_str(word),
            _ => parts.push(word.to_owned()),
        }
    }
    let mut all = String::new();
    for part in &parts {
        if !all.is_empty() {
            all.push(',');
        }
        all.push_str(&one(part).ok_or(Refusal::Bad)?);
    }
    requirement::versions(&all).ok_or(Refusal::Bad)
}

fn one(part: &str) -> Option<String> {
    if let Some(rest) = part.strip_prefix('^') {
        let version: Version = rest.trim().parse().ok()?;
        let mut upper = version.release().to_vec();
        // The first part that is not zero may not change; of `^0.0` the last.
        let at = upper.iter().position(|n| *n != 0).unwrap_or(upper.len() - 1);
        return Some(format!(">={version},<{}", bump(&mut upper, at)?));
    }
    if let Some(rest) = part.strip_prefix('~').filter(|rest| !rest.starts_with('=')) {
        let version: Version = rest.trim().parse().ok()?;
        let mut upper = version.release().to_vec();
        let at = 1.min(upper.len() - 1);
        return Some(format!(">={version},<{}", bump(&mut upper, at)?));
    }
    if part.starts_with(['<', '>', '=', '!', '~']) {
        let single = part.starts_with('=') && !part.starts_with("==");
        return Some(if single { format!("={part}") } else { part.to_owned() });
    }
    Some(format!("=={part}"))
}

fn bump(release: &mut [u64], at: usize) -> Option<String> {
    release[at] = release[at].checked_add(1)?;
    release[at + 1..].fill(0);
    Some(release.iter().map(ToString::to_string).collect::<Vec<_>>().join("."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn poetrys_versions() {
        for (given, pep440) in [
            ("^2.1", ">=2.1, <3.0"),
            ("^2.1.0", ">=2.1.0, <3.0.0"),
            ("^2", ">=2, <3"),
            ("^0.15.1", ">=0.15.1, <0.16.0"),
            ("^0.0.3", ">=0.0.3, <0.0.4"),
            ("^0.0", ">=0.0, <0.1"),
            ("~2.1", ">=2.1, <2.2"),
            ("~2.1.3", ">=2.1.3, <2.2.0"),
            ("~2", ">=2, <3"),
            ("2.1.*", "==2.1.*"),
            ("2.6.0+cu124", "==2.6.0+cu124"),
            (">=2.0 <3.0", ">=2.0, <3.0"),
            (">= 2.0, < 3.0", ">=2.0, <3.0"),
            ("~=2.1", "~=2.1"),
            ("=2.1", "==2.1"),
            ("*", ""),
        ] {
            assert_eq!(specifiers(given).map(|s| s.to_string()), Ok(pep440.into()), "{given}");
        }
        assert_eq!(specifiers("^2.0 || ^3.0"), Err(Refusal::Union));
        for given in ["^", "two", "^x", "~"] {
            assert_eq!(specifiers(given), Err(Refusal::Bad), "{given}");
        }
    }
}
