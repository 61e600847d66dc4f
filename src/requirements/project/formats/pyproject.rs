//! pyproject.toml: PEP 621 dependencies and extras, PEP 735 groups, and what build backends add.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::demand::{Choice, Kind, PythonSaid};
use super::reader::{MAX_DEMANDS, Reader};
use super::source::Text;
use super::uv::Uv;
use super::{envs, pixi, poetry, requirement, txt};
use crate::domain::{is_held, normalise_name, shown};
use crate::requirements::Error;
use crate::tree::Node;

/// A requirement as text, and its line.
pub type Given = (usize, String);

/// Extras or groups that include each other, at most this deep.
const MAX_DEPTH: usize = 32;

/// Groups by their normalised names; of two with one name the first.
type Groups<'a> = BTreeMap<String, &'a Node>;

/// What an extra or a group holds with all that it names.
#[derive(Debug, Default)]
struct Written {
    given: Vec<Given>,
    /// The same, to find what stands there already.
    seen: BTreeSet<Given>,
    /// Extras or groups that are being written out, and all that ever were.
    above: Vec<String>,
    done: BTreeSet<String>,
}

impl Written {
    fn take(&mut self, line: usize, given: &str) {
        if self.seen.insert((line, given.to_owned())) {
            self.given.push((line, given.to_owned()));
        }
    }
}

/// A pyproject.toml, taken apart as far as its parts refer to each other.
#[derive(Debug)]
pub struct Pyproject<'a> {
    /// The file.
    pub text: &'a Text,
    /// Its tables.
    pub node: &'a Node,
    /// Name of the project, normalised.
    pub name: Option<String>,
    /// Extras with their requirements, references to each other written out.
    pub extras: BTreeMap<String, Vec<Given>>,
}

/// Reads a pyproject.toml and, in the root of a uv workspace, its members.
///
/// # Errors
/// What TOML, PEP 508 or the standards for its tables refuse.
pub fn read(text: &Text, reader: &mut Reader) -> Result<(), Error> {
    let node = text.toml()?;
    let uv = one(text, &node, reader, None)?;
    let folder = text.path.parent().unwrap_or(Path::new("."));
    let (members, all) = uv.members(folder);
    if !all {
        let message = "the workspace has more members than are looked for: some are not read";
        reader.unread(&text.place(1), message);
    }
    for member in members {
        let path = member.join("pyproject.toml");
        if path.is_file() && !reader.files.was_read(&path) {
            let text = reader.files.read(&path, super::source::MAX_BYTES)?;
            let node = text.toml()?;
            one(&text, &node, reader, Some(&uv))?.leave(reader);
        }
    }
    // Now that all that may come from them is known.
    uv.leave(reader);
    Ok(())
}

/// What a folder's pyproject.toml asks for when it is installed with some extras.
///
/// # Errors
/// As [`read`].
pub fn installed(
    text: &Text,
    extras: &[String],
    reader: &mut Reader,
    choice: Option<&Choice>,
) -> Result<(), Error> {
    let node = text.toml()?;
    reader.began(text, "pyproject");
    let project = Pyproject::of(text, &node)?;
    let uv = Uv::of(&project, reader, None)?;
    let mut given = project.dependencies()?;
    for extra in extras {
        given.extend(project.extras.get(&normalise_name(extra)).into_iter().flatten().cloned());
    }
    for (line, requirement) in given {
        let mut demand = text.demand(line, &requirement)?;
        demand.choice = choice.cloned();
        uv.place(demand).into_iter().for_each(|demand| reader.push(demand));
        reader.enough()?;
    }
    poetry::read(&project, reader, choice)
}

fn one(text: &Text, node: &Node, reader: &mut Reader, above: Option<&Uv>) -> Result<Uv, Error> {
    reader.began(text, "pyproject");
    let project = Pyproject::of(text, node)?;
    let uv = Uv::of(&project, reader, above)?;
    project.python(reader)?;
    let keep = |given: &[Given], choice: Option<Choice>, kind: Kind, reader: &mut Reader| {
        for (line, requirement) in given {
            // PDM's way to say a folder, and Hatch's to say a value of its matrix.
            if requirement.starts_with("-e ") || requirement.contains("{matrix:") {
                let message = format!("`{}` is not read", crate::domain::shown(requirement));
                reader.unread(&text.place(*line), message);
                continue;
            }
            let mut demand = text.demand(*line, requirement)?;
            demand.choice.clone_from(&choice);
            demand.kind = kind;
            uv.place(demand).into_iter().for_each(|demand| reader.push(demand));
            reader.enough()?;
        }
        Ok::<_, Error>(())
    };
    keep(&project.dependencies()?, None, Kind::Requirement, reader)?;
    for (extra, given) in &project.extras {
        keep(given, Some(Choice::Extra(extra.clone())), Kind::Requirement, reader)?;
    }
    for (group, given) in project.groups()? {
        keep(&given, Some(Choice::Group(group)), Kind::Requirement, reader)?;
    }
    for (key, kind) in
        [("constraint-dependencies", Kind::Constraint), ("override-dependencies", Kind::Override)]
    {
        // uv takes them from the root of a workspace alone.
        let root = above.is_none();
        if let Some(list) = node.at(&["tool", "uv", key]).filter(|_| root) {
            let mut list = project.list(list)?;
            list.retain(|(_, given)| !uv.is_ours(given) && !is_held(given));
            keep(&list, None, kind, reader)?;
        }
    }
    for (group, given) in envs::groups(&project)? {
        keep(&given, Some(Choice::Group(group)), Kind::Requirement, reader)?;
    }
    for (line, given) in envs::overrides(&project) {
        keep(&[(line, given)], None, Kind::Override, reader)?;
    }
    envs::sources(&project, reader);
    project.dynamic(reader)?;
    poetry::read(&project, reader, None)?;
    if let Some(table) = node.at(&["tool", "pixi"]) {
        pixi::table(table, text, reader)?;
    }
    Ok(uv)
}

impl<'a> Pyproject<'a> {
    fn of(text: &'a Text, node: &'a Node) -> Result<Self, Error> {
        let name = node.at(&["project", "name"]).and_then(Node::text).map(normalise_name);
        let mut project = Self { text, node, name, extras: BTreeMap::new() };
        project.extras = project.read_extras()?;
        Ok(project)
    }

    /// A list of requirements.
    ///
    /// # Errors
    /// An item that is no text.
    pub fn list(&self, list: &Node) -> Result<Vec<Given>, Error> {
        list.items()
            .iter()
            .map(|item| match item.text() {
                Some(text) => Ok((item.line, text.to_owned())),
                None => Err(self.text.bad(item.line, "a requirement is a text", None)),
            })
            .collect()
    }

    fn dependencies(&self) -> Result<Vec<Given>, Error> {
        let flit = || self.node.at(&["tool", "flit", "metadata", "requires"]);
        match self.node.at(&["project", "dependencies"]).or_else(flit) {
            Some(list) => self.list(list),
            None => Ok(Vec::new()),
        }
    }

    fn read_extras(&self) -> Result<BTreeMap<String, Vec<Given>>, Error> {
        let flit = || self.node.at(&["tool", "flit", "metadata", "requires-extra"]);
        let own = self.node.at(&["project", "optional-dependencies"]);
        let Some(table) = own.or_else(flit) else {
            return Ok(BTreeMap::new());
        };
        let mut raw = BTreeMap::new();
        for (key, list) in table.entries() {
            raw.insert(normalise_name(&key.text), self.list(list)?);
        }
        let mut all = BTreeMap::new();
        let mut total = 0;
        for extra in raw.keys() {
            let mut out = Written::default();
            self.expand_extra(extra, &raw, &mut out, 0)?;
            self.few(&mut total, &out)?;
            all.insert(extra.clone(), out.given);
        }
        Ok(all)
    }

    /// `all = ["this-project[vision,audio]"]`: an extra that is made of others.
    fn expand_extra(
        &self,
        extra: &str,
        raw: &BTreeMap<String, Vec<Given>>,
        out: &mut Written,
        depth: usize,
    ) -> Result<(), Error> {
        if !out.done.insert(extra.to_owned()) {
            return Ok(());
        }
        out.above.push(extra.to_owned());
        for (line, given) in raw.get(extra).into_iter().flatten() {
            let head = given.split(['[', ';', ' ']).next().unwrap_or_default();
            let own = self.name.as_deref() == Some(&normalise_name(head));
            let inner = own.then(|| given.split_once('[')?.1.split_once(']')).flatten();
            let Some((names, _)) = inner else {
                out.take(*line, given);
                continue;
            };
            if depth >= MAX_DEPTH {
                let message = format!("extras name each other more than {MAX_DEPTH} deep");
                return Err(self.text.bad(*line, message, None));
            }
            for name in names.split(',') {
                let name = normalise_name(name.trim());
                if name == extra {
                    continue;
                }
                if out.above.contains(&name) {
                    let message = format!("the extra `{}` is made of itself", shown(&name));
                    return Err(self.text.bad(*line, message, None));
                }
                self.expand_extra(&name, raw, out, depth + 1)?;
            }
        }
        out.above.pop();
        Ok(())
    }

    /// Sees to it that what is written out for each extra or group has an end.
    fn few(&self, total: &mut usize, out: &Written) -> Result<(), Error> {
        *total += out.given.len();
        match out.given.last() {
            Some((line, _)) if *total > MAX_DEMANDS => {
                let message = format!(
                    "extras or groups that name each other hold more than the {MAX_DEMANDS} requirements that are read"
                );
                Err(self.text.bad(*line, message, None))
            }
            _ => Ok(()),
        }
    }

    /// PEP 735 groups, and uv's older `dev-dependencies`; what is included is written out.
    fn groups(&self) -> Result<BTreeMap<String, Vec<Given>>, Error> {
        let mut groups = BTreeMap::new();
        let table = self.node.get("dependency-groups");
        let entries = table.map_or(&[][..], Node::entries);
        let raw: Groups<'_> =
            entries.iter().rev().map(|(key, list)| (normalise_name(&key.text), list)).collect();
        let mut total = 0;
        for (key, _) in entries {
            let mut out = Written::default();
            self.expand_group(&key.text, &raw, key.line, &mut out)?;
            self.few(&mut total, &out)?;
            groups.insert(normalise_name(&key.text), out.given);
        }
        for tool in ["uv", "rye"] {
            if let Some(list) = self.node.at(&["tool", tool, "dev-dependencies"]) {
                groups.entry("dev".to_owned()).or_default().extend(self.list(list)?);
            }
        }
        Ok(groups)
    }

    fn expand_group(
        &self,
        group: &str,
        raw: &Groups<'_>,
        line: usize,
        out: &mut Written,
    ) -> Result<(), Error> {
        let name = normalise_name(group);
        if out.above.contains(&name) {
            let way = shown(&out.above.join("` -> `"));
            let message = format!("the group includes itself: `{way}` -> `{}`", shown(&name));
            return Err(self.text.bad(line, message, None));
        }
        let Some(list) = raw.get(&name) else {
            let known: Vec<_> = raw.keys().map(String::as_str).collect();
            return Err(self.text.bad(
                line,
                format!("there is no group `{}`", shown(group)),
                Some(format!("groups are {}", shown(&known.join(", ")))),
            ));
        };
        if out.above.len() >= MAX_DEPTH {
            let message = format!("groups include each other more than {MAX_DEPTH} deep");
            return Err(self.text.bad(line, message, None));
        }
        if !out.done.insert(name.clone()) {
            return Ok(());
        }
        out.above.push(name);
        for item in list.items() {
            if let Some(text) = item.text() {
                out.take(item.line, text);
            } else if let Some(inner) = item.text_of("include-group") {
                self.expand_group(inner, raw, item.line, out)?;
            } else {
                let message = "an item of a group is a requirement or { include-group = \"NAME\" }";
                return Err(self.text.bad(item.line, message, None));
            }
        }
        out.above.pop();
        Ok(())
    }

    fn python(&self, reader: &mut Reader) -> Result<(), Error> {
        let flit = || self.node.at(&["tool", "flit", "metadata", "requires-python"]);
        let own = self.node.at(&["project", "requires-python"]);
        let Some(node) = own.or_else(flit) else { return Ok(()) };
        let given = node.text().unwrap_or_default();
        let versions = requirement::versions(given).ok_or_else(|| {
            self.text.bad(
                node.line,
                format!("requires-python: `{}` is no version range", shown(given)),
                Some("write it as in requires-python = \">=3.10\"".into()),
            )
        })?;
        reader.project.python.push(PythonSaid {
            versions,
            given: given.to_owned(),
            by: "requires-python",
            choice: None,
            place: self.text.place(node.line),
        });
        Ok(())
    }

    /// `dynamic = ["dependencies"]`: files that setuptools or Hatch's plugin take them from.
    fn dynamic(&self, reader: &mut Reader) -> Result<(), Error> {
        let setuptools = self.node.at(&["tool", "setuptools", "dynamic"]);
        let hatch = self.node.at(&["tool", "hatch", "metadata", "hooks", "requirements_txt"]);
        let mut sources: Vec<(&Node, Option<Choice>)> = Vec::new();
        let mut extras = Vec::new();
        if let Some(table) = setuptools {
            sources.extend(table.at(&["dependencies", "file"]).map(|files| (files, None)));
            for (key, node) in table.entries_of("optional-dependencies") {
                extras.extend(node.get("file").map(|files| (&key.text, files)));
            }
        }
        if let Some(table) = hatch {
            sources.extend(table.get("files").map(|files| (files, None)));
        }
        for (extra, files) in extras {
            sources.push((files, Some(Choice::Extra(normalise_name(extra)))));
        }
        let none = sources.iter().all(|(_, choice)| choice.is_some());
        for (files, choice) in sources {
            for file in files.one_or_many() {
                let Some(name) = file.text() else { continue };
                let text = reader.files.include(self.text, file.line, name)?;
                txt::read(&text, reader, choice.as_ref())?;
            }
        }
        let list = self.node.at(&["project", "dynamic"]);
        for item in list.map_or(&[][..], Node::items) {
            if item.text() == Some("dependencies")
                && none
                && self.node.at(&["tool", "poetry"]).is_none()
            {
                let beside = ["setup.py", "setup.cfg"].iter().any(|name| reader.files.has(name));
                if !beside {
                    reader.unread(
                        &self.text.place(item.line),
                        "the dependencies are computed by the build backend: only building it would tell",
                    );
                }
            }
        }
        Ok(())
    }
}
