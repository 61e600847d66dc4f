//! uv's own tables: which index a package comes from, and which options exclude each other.
//!
//! Source: uv's documentation, "Package indexes", "Managing dependencies" and "Using uv with
//! PyTorch".

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use super::demand::{By, Choice, CudaSaid, Demand, Environment, Index};
use super::marker::Marker;
use super::pyproject::Pyproject;
use super::reader::{Reader, of_pytorch};
use super::requirement;
use super::source::Text;
use crate::domain::{OUR_INDEX, WheelVariant, normalise_name, our_constraint, shown};
use crate::requirements::Error;
use crate::tree::Node;

/// Members of a workspace that are read.
const MAX_MEMBERS: usize = 200;
/// Files and folders that are looked at to find them.
const MAX_ENTRIES: usize = 50_000;
/// Indexes of one project, and sources of one package.
const MAX_INDEXES: usize = 500;
const MAX_SOURCES: usize = 64;

/// What uv is told about the packages of a project.
#[derive(Debug, Clone, Default)]
pub struct Uv {
    indexes: Vec<Index>,
    /// The index that is asked when no other is named.
    default: Option<Index>,
    sources: BTreeMap<String, Vec<Source>>,
    /// Packages whose source `render uv` wrote.
    rendered: BTreeSet<String>,
    members: Vec<String>,
    excluded: Vec<String>,
}

/// An entry of `[tool.uv.sources]`.
#[derive(Debug, Clone)]
struct Source {
    marker: Marker,
    choice: Option<Choice>,
    from: From,
}

#[derive(Debug, Clone)]
enum From {
    Index(Index),
    Address(String),
    /// A member of the workspace, a folder, a repository: nothing an index serves.
    Elsewhere,
}

impl Uv {
    /// The tables of a project; a member of a workspace inherits those of its root.
    ///
    /// # Errors
    /// A source that names an index which is nowhere defined, a marker that PEP 508 refuses.
    pub fn of(
        project: &Pyproject<'_>,
        reader: &mut Reader,
        above: Option<&Self>,
    ) -> Result<Self, Error> {
        let text = project.text;
        let mut uv = Self::default();
        // Rye wrote its sources elsewhere and handed them to uv.
        let rye = project.node.at(&["tool", "rye", "sources"]);
        for node in rye.map_or(&[][..], Node::items) {
            let Some(url) = node.get("url") else { continue };
            let index = Index::new(url.text().unwrap_or_default(), text.place(url.line));
            let index = index.called(node.text_of("name"));
            if node.text_of("name") == Some("default") {
                uv.default = Some(index.clone());
            }
            uv.indexes.push(index);
        }
        // uv.toml beside it replaces [tool.uv], but for the sources.
        let file = text.path.parent().unwrap_or(Path::new(".")).join("uv.toml");
        let own = if above.is_none() && file.is_file() && !reader.files.was_read(&file) {
            let text = reader.files.read(&file, super::source::MAX_BYTES)?;
            reader.began(&text, "uv settings");
            let node = text.toml()?;
            uv.settings(&node, &text, reader)?;
            true
        } else {
            false
        };
        reader.project.joint |= project.node.at(&["tool", "uv"]).is_some();
        let Some(table) = project.node.at(&["tool", "uv"]) else {
            uv.inherit(above);
            return Ok(uv);
        };
        if !own {
            uv.settings(table, text, reader)?;
        }
        uv.inherit(above);
        for (name, node) in table.entries_of("sources") {
            let mut list = Vec::new();
            let mut markers = String::new();
            for entry in node.one_or_many() {
                if is_ours(entry, "index") {
                    uv.rendered.insert(normalise_name(&name.text));
                    continue;
                }
                let source = uv.source(entry, text)?;
                // All of them are weighed against each other for every requirement.
                if let Some(marker) = source.marker.text() {
                    let _ = write!(markers, " or ({marker})");
                    super::marker::bounded(&markers).map_err(|why| {
                        let name = shown(&name.text);
                        text.bad(entry.line, format!("the sources of `{name}` make {why}"), None)
                    })?;
                }
                if list.len() >= MAX_SOURCES {
                    let message = format!("more than the {MAX_SOURCES} sources that are read");
                    return Err(text.bad(entry.line, message, None));
                }
                list.push(source);
            }
            uv.sources.insert(normalise_name(&name.text), list);
        }
        for set in table.list_of("conflicts") {
            let set: Vec<Choice> = set.items().iter().filter_map(choice).collect();
            if set.len() > 1 {
                reader.project.conflicts.push(set);
            }
        }
        let strings = |key: &str| {
            let list = table.at(&["workspace", key]).map_or(&[][..], Node::items);
            list.iter().filter_map(Node::text).map(str::to_owned).collect()
        };
        uv.members = strings("members");
        uv.excluded = strings("exclude");
        for key in ["environments", "required-environments"] {
            for node in
                table.get(key).filter(|_| above.is_none()).map_or(&[][..], Node::one_or_many)
            {
                let marker = node.text().unwrap_or_default();
                let marker = Marker::parse(marker).map_err(|why| text.bad(node.line, why, None))?;
                reader.project.environments.push(Environment {
                    marker,
                    required: key.starts_with("required"),
                    place: text.place(node.line),
                });
            }
        }
        Ok(uv)
    }

    fn inherit(&mut self, above: Option<&Self>) {
        let Some(above) = above else { return };
        self.indexes.extend(above.indexes.iter().cloned());
        self.default = self.default.take().or_else(|| above.default.clone());
        for (name, list) in &above.sources {
            self.sources.entry(name.clone()).or_insert_with(|| list.clone());
        }
    }

    /// Indexes and `torch-backend`, from `[tool.uv]`, `[tool.uv.pip]` or uv.toml.
    fn settings(&mut self, table: &Node, text: &Text, reader: &mut Reader) -> Result<(), Error> {
        for node in table.list_of("dependency-metadata") {
            let name = node.text_of("name").unwrap_or_default();
            let message = format!("the metadata that is written for `{}` is not read", shown(name));
            reader.unread(&text.place(node.line), message);
        }
        for node in table.list_of("index").iter().filter(|node| !is_ours(node, "name")) {
            let Some(url) = node.get("url").and_then(Node::text) else {
                return Err(text.bad(node.line, "an index needs its url", None));
            };
            let line = node.get("url").map_or(node.line, |n| n.line);
            let mut index = Index::new(url, text.place(line)).called(node.text_of("name"));
            index.explicit = node.get("explicit").is_some_and(Node::is_true);
            if node.get("default").is_some_and(Node::is_true) {
                self.default = Some(index.clone());
            }
            self.indexes.push(index);
            if self.indexes.len() > MAX_INDEXES {
                let message = format!("more than the {MAX_INDEXES} indexes that are read");
                return Err(text.bad(node.line, message, None));
            }
        }
        for table in [Some(table), table.get("pip")].into_iter().flatten() {
            if let Some(node) = table.get("index-url") {
                let index = Index::new(node.text().unwrap_or_default(), text.place(node.line));
                self.default = Some(index.clone());
                self.indexes.push(index);
            }
            for key in ["extra-index-url", "find-links"] {
                for node in table.get(key).map_or(&[][..], Node::one_or_many) {
                    let url = node.text().unwrap_or_default();
                    let index = Index::new(url, text.place(node.line));
                    self.indexes.push(Index { extra: true, ..index });
                }
            }
            if let Some(node) = table.get("torch-backend") {
                let given = node.text().unwrap_or_default();
                let place = text.place(node.line);
                if given == "auto" {
                    reader.unread(
                        &place,
                        "torch-backend = \"auto\" takes what the installing machine has",
                    );
                } else {
                    reader.project.cuda.push(CudaSaid {
                        given: given.to_owned(),
                        variant: given.parse::<WheelVariant>().ok(),
                        by: By::Config,
                        package: String::new(),
                        marker: Marker::default(),
                        choice: None,
                        place,
                    });
                }
            }
        }
        Ok(())
    }

    fn source(&self, node: &Node, text: &Text) -> Result<Source, Error> {
        let marker = match node.get("marker") {
            Some(marker) => Marker::parse(marker.text().unwrap_or_default())
                .map_err(|why| text.bad(marker.line, why, None))?,
            None => Marker::default(),
        };
        let from = if let Some(name) = node.get("index") {
            let wanted = name.text().unwrap_or_default();
            let index = self.indexes.iter().find(|i| i.name.as_deref() == Some(wanted));
            let Some(index) = index else {
                let known: Vec<_> = self.indexes.iter().filter_map(|i| i.name.as_deref()).collect();
                return Err(text.bad(
                    name.line,
                    format!("there is no index `{}`", shown(wanted)),
                    Some(if known.is_empty() {
                        "define it as [[tool.uv.index]] with a name and a url".into()
                    } else {
                        format!("indexes are {}", known.join(", "))
                    }),
                ));
            };
            From::Index(index.clone())
        } else if let Some(url) = node.text_of("url") {
            From::Address(url.to_owned())
        } else if let Some(path) =
            node.text_of("path").filter(|p| Path::new(p).extension().is_some_and(|e| e == "whl"))
        {
            From::Address(path.to_owned())
        } else if let Some(git) = node.text_of("git") {
            let rev = node.text_of("tag").map_or(String::new(), |tag| format!("@{tag}"));
            From::Address(format!("git+{git}{rev}"))
        } else {
            From::Elsewhere
        };
        Ok(Source { marker, choice: choice(node), from })
    }

    /// Whether `render uv` wrote this constraint.
    pub fn is_ours(&self, given: &str) -> bool {
        our_constraint(given).is_some_and(|name| self.rendered.contains(&name))
    }

    /// A demand with its index or address: one for every source that can apply to it, and one for
    /// the environments that no source names.
    pub fn place(&self, demand: Demand) -> Vec<Demand> {
        if demand.link.is_some() {
            return vec![demand];
        }
        let sources: Vec<&Source> = self
            .sources
            .get(&demand.name)
            .into_iter()
            .flatten()
            .filter(|s| s.choice.is_none() || s.choice == demand.choice)
            .collect();
        let mut out = Vec::new();
        for source in &sources {
            let mut placed = demand.clone();
            placed.marker = demand.marker.and(&source.marker);
            match &source.from {
                From::Index(index) => placed.index = Some(index.clone()),
                From::Address(address) => requirement::attach(&mut placed, address),
                From::Elsewhere => placed.elsewhere = true,
            }
            if !placed.marker.is_never() {
                out.push(placed);
            }
        }
        let mut rest = demand;
        rest.marker = rest.marker.and(&Marker::none_of(sources.iter().map(|s| &s.marker)));
        if !rest.marker.is_never() {
            rest.index = self.implied(&rest.name).cloned();
            out.push(rest);
        }
        out
    }

    /// The index of a package that names none: the first that has it, the default one last. PyPI and
    /// its mirrors have all of PyTorch's packages; what a private index has is not known.
    fn implied(&self, name: &str) -> Option<&Index> {
        let default = self.default.as_ref();
        let beside = || {
            let own = self.indexes.iter().filter(|i| !i.explicit && Some(*i) != default);
            own.chain(default).find(|i| super::link::is_pytorch(&i.url) || i.url.contains("pypi"))
        };
        of_pytorch(name).then(beside).flatten().or(default)
    }

    /// Hands the indexes over; one that serves a build and that no package names speaks for itself.
    pub fn leave(&self, reader: &mut Reader) {
        for index in &self.indexes {
            if reader.project.indexes.contains(index) {
                continue;
            }
            let used = reader.project.demands.iter().any(|d| d.index.as_ref() == Some(index));
            let asked = self.implied("torch") == Some(index);
            let said = CudaSaid::by_index(index, None).filter(|_| !used && asked);
            reader.project.cuda.extend(said);
            reader.index(index.clone());
        }
    }

    /// Folders of the workspace's members, sorted; and whether there are more than are looked for.
    pub fn members(&self, root: &Path) -> (Vec<PathBuf>, bool) {
        let mut walk = Walk { found: BTreeSet::new(), left: MAX_ENTRIES };
        let mut expand = |patterns: &[String]| {
            for pattern in patterns {
                // Neither above the project nor elsewhere.
                if !pattern.starts_with('/') && !pattern.contains("..") {
                    let parts: Vec<_> = pattern.split('/').filter(|p| !p.is_empty()).collect();
                    walk.below(root, &parts);
                }
            }
            std::mem::take(&mut walk.found)
        };
        let out = expand(&self.excluded);
        let mut list: Vec<_> =
            expand(&self.members).into_iter().filter(|path| !out.contains(path)).collect();
        let all = list.len() <= MAX_MEMBERS && walk.left > 0;
        list.truncate(MAX_MEMBERS);
        (list, all)
    }
}

/// Folders that match patterns. It has an end where a tree has none that is near.
struct Walk {
    found: BTreeSet<PathBuf>,
    left: usize,
}

impl Walk {
    fn below(&mut self, folder: &Path, parts: &[&str]) {
        if self.left == 0 {
            return;
        }
        self.left -= 1;
        let Some((part, rest)) = parts.split_first() else {
            if folder.is_dir() {
                self.found.insert(folder.to_owned());
            }
            return;
        };
        if *part == "**" {
            self.below(folder, rest);
        } else if !part.contains(['*', '?', '[']) {
            return self.below(&folder.join(part), rest);
        }
        let Ok(pattern) = glob::Pattern::new(part) else { return };
        let entries = fs_err::read_dir(folder).into_iter().flatten().filter_map(Result::ok);
        for entry in entries {
            if self.left == 0 {
                return;
            }
            self.left -= 1;
            // A link to a folder may lead around in a circle.
            let folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
            let name = entry.file_name();
            let name = name.to_string_lossy();
            if !folder || name.starts_with('.') || !pattern.matches(&name) {
                continue;
            }
            self.below(&entry.path(), if *part == "**" { parts } else { rest });
        }
    }
}

/// Whether `render uv` wrote it.
fn is_ours(node: &Node, key: &str) -> bool {
    node.text_of(key).is_some_and(|name| name.starts_with(OUR_INDEX))
}

/// `{ extra = "cpu" }`, `{ group = "dev" }`.
fn choice(node: &Node) -> Option<Choice> {
    node.text_of("extra")
        .map(|name| Choice::Extra(normalise_name(name)))
        .or_else(|| node.text_of("group").map(|name| Choice::Group(normalise_name(name))))
}
