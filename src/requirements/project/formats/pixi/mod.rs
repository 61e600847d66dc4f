//! `pixi.toml` and `[tool.pixi]`: conda packages as hints, packages of PyPI as requirements.
//!
//! Source: pixi's documentation, "Pixi Manifest". What a feature says belongs to a choice of its
//! name; what a target says replaces the entry of the same name that holds on more platforms.

mod environments;

use std::collections::BTreeMap;

use super::conda::{self, Said};
use super::demand::{By, Choice, CudaSaid, Demand, Index, Kind};
use super::marker::Marker;
use super::matchspec::MatchSpec;
use super::reader::{Reader, of_pytorch};
use super::source::Text;
use super::{fields, link};
use crate::domain::shown;
use crate::requirements::Error;
use crate::tree::{Key, Node};

/// Tables of conda packages. A constraint installs nothing, but bounds Python and CUDA as they do.
const CONDA: &[&str] = &["dependencies", "host-dependencies", "build-dependencies", "constraints"];

/// Targets of one feature that are read: platforms are few.
const MAX_TARGETS: usize = 100;

/// Reads `pixi.toml`.
///
/// # Errors
/// No TOML, or a folder that it installs and that cannot be read.
pub fn read(text: &Text, reader: &mut Reader) -> Result<(), Error> {
    let root = text.toml()?;
    reader.began(text, "pixi");
    manifest(&root, "pixi.toml", text, reader)
}

/// Reads `[tool.pixi]` of `pyproject.toml`.
///
/// # Errors
/// A folder that it installs and that cannot be read.
pub fn table(node: &Node, text: &Text, reader: &mut Reader) -> Result<(), Error> {
    manifest(node, "tool.pixi", text, reader)
}

/// What holds for all tables of a manifest.
struct Manifest<'a> {
    /// Key or file, as it is named to people.
    by: &'static str,
    text: &'a Text,
    /// Platforms that got a name of their own, and what they are.
    platforms: Vec<(&'a str, &'a str)>,
    /// `[workspace.pypi-options]` and the default feature's.
    options: Options,
}

/// Indexes of one `[pypi-options]`.
#[derive(Default)]
struct Options {
    own: Option<Index>,
    extra: Vec<Index>,
}

/// Entries of one table of packages, where they apply, and how narrow that is.
struct Part<'a> {
    rank: u8,
    marker: Marker,
    node: &'a Node,
}

fn manifest(root: &Node, by: &'static str, text: &Text, reader: &mut Reader) -> Result<(), Error> {
    let workspace = root.get("workspace").or_else(|| root.get("project"));
    let platforms = workspace.map_or(&[][..], |node| node.list_of("platforms"));
    let mut all = Manifest {
        by,
        text,
        platforms: platforms
            .iter()
            .filter_map(|node| Some((node.text_of("name")?, node.text_of("platform")?)))
            .collect(),
        options: Options::default(),
    };
    for node in platforms {
        all.platform(node, reader);
    }
    all.options = Options::read(root.get("pypi-options"), text, reader);
    if let Some(base) = workspace.and_then(|node| node.get("pypi-options")) {
        let base = Options::read(Some(base), text, reader);
        all.options.own = all.options.own.or(base.own);
        all.options.extra.extend(base.extra);
    }
    reader.enough()?;
    all.feature(root, None, &Options::default(), reader)?;
    all.options.say_unused(None, reader);
    for (key, node) in root.entries_of("feature") {
        let choice = Choice::Group(key.text.clone());
        let options = Options::read(node.get("pypi-options"), text, reader);
        reader.enough()?;
        all.feature(node, Some(&choice), &options, reader)?;
        options.say_unused(Some(&choice), reader);
    }
    environments::read(root, text, reader);
    Ok(())
}

impl Manifest<'_> {
    /// An entry of `platforms` that promises CUDA: `{ platform = "linux-64", cuda = "12.4" }`.
    fn platform(&self, node: &Node, reader: &mut Reader) {
        let Some(cuda) = node.get("cuda").or_else(|| node.get("__cuda")) else { return };
        let name = node.text_of("platform").or_else(|| node.text_of("name")).unwrap_or_default();
        let marker = self.marker(name).map_or_else(Marker::default, |(_, marker)| marker);
        self.driver(cuda, marker, None, reader);
    }

    /// The CUDA that the driver is promised to offer: no build, and the newest it may need.
    fn driver(&self, cuda: &Node, marker: Marker, choice: Option<&Choice>, reader: &mut Reader) {
        let place = self.text.place(cuda.line);
        let Some(given) = cuda.text().or_else(|| cuda.text_of("driver")) else {
            reader.unread(&place, "`cuda` is no version");
            return;
        };
        let bare = given.starts_with(|c: char| c.is_ascii_digit());
        reader.project.cuda.push(CudaSaid {
            given: if bare { format!(">={given}") } else { given.to_owned() },
            variant: None,
            by: By::Config,
            package: String::new(),
            marker,
            choice: choice.cloned(),
            place,
        });
    }

    /// A feature, or the root, which is the default one.
    fn feature(
        &self,
        node: &Node,
        choice: Option<&Choice>,
        options: &Options,
        reader: &mut Reader,
    ) -> Result<(), Error> {
        let everywhere = self.own_platforms(node, reader);
        if let Some(cuda) = node.at(&["system-requirements", "cuda"]) {
            self.driver(cuda, everywhere.clone(), choice, reader);
        }
        let mut targets = vec![Part { rank: 0, marker: everywhere.clone(), node }];
        for (key, node) in node.entries_of("target") {
            if targets.len() > MAX_TARGETS {
                let message = format!("more than {MAX_TARGETS} targets: the others are not read");
                reader.unread(&self.text.place(key.line), message);
                break;
            }
            let Some((rank, marker)) = self.marker(&key.text) else {
                let message = format!("`{}` is no platform that is known", shown(&key.text));
                reader.unread(&self.text.place(key.line), message);
                continue;
            };
            targets.push(Part { rank, marker: everywhere.and(&marker), node });
        }
        for table in CONDA {
            for (key, value, marker) in self.entries(&targets, table, reader) {
                // Python has no platform, and a feature's platforms are those of its environments.
                let plain = key.text == "python" && marker == everywhere;
                let marker = if plain { Marker::default() } else { marker };
                self.conda(key, value, &marker, choice, reader);
            }
        }
        for (key, value, marker) in self.entries(&targets, "pypi-dependencies", reader) {
            if let Some(demand) = self.pypi(key, value, options, reader) {
                let demand = Demand { marker, choice: choice.cloned(), ..demand };
                fields::keep(demand, self.text, reader)?;
            }
        }
        for (key, value) in
            node.at(&["pypi-options", "dependency-overrides"]).map_or(&[][..], Node::entries)
        {
            if let Some(demand) = self.pypi(key, value, options, reader) {
                let choice = choice.cloned();
                let kind = Kind::Override;
                reader.push(Demand { kind, choice, ..demand });
            }
        }
        Ok(())
    }

    /// `platforms = ["linux-64"]` of a feature: it is for these alone.
    fn own_platforms(&self, node: &Node, reader: &mut Reader) -> Marker {
        let mut any: Vec<String> = Vec::new();
        for platform in node.list_of("platforms") {
            let name = platform.text().or_else(|| platform.text_of("platform"));
            let marker = name.and_then(|name| self.marker(name));
            let Some(text) = marker.as_ref().and_then(|(_, marker)| marker.text()) else {
                let message = "a platform that is not known: it is taken as all of them";
                reader.unread(&self.text.place(platform.line), message);
                return Marker::default();
            };
            if !any.contains(&text.to_owned()) {
                any.push(text.to_owned());
            }
        }
        let any = if any.len() > 1 { format!("({})", any.join(") or (")) } else { any.concat() };
        Marker::parse(&any).unwrap_or_default()
    }

    /// The entries of a table, each where no narrower target has one of its name.
    fn entries<'n>(
        &self,
        targets: &[Part<'n>],
        table: &str,
        reader: &mut Reader,
    ) -> Vec<(&'n Key, &'n Node, Marker)> {
        let mut named: BTreeMap<&str, Vec<&Part<'n>>> = BTreeMap::new();
        for part in targets {
            let Some(node) = part.node.get(table) else { continue };
            if !node.is_map() {
                let message = format!("`{table}` is no table");
                reader.unread(&self.text.place(node.line), message);
            }
            for (key, _) in node.entries() {
                named.entry(&key.text).or_default().push(part);
            }
        }
        let mut out = Vec::new();
        for part in targets {
            for (key, value) in part.node.entries_of(table) {
                let all = named.get(key.text.as_str()).map_or(&[][..], Vec::as_slice);
                let narrower = || all.iter().filter(|other| other.rank > part.rank);
                let mut marker = part.marker.clone();
                if narrower().next().is_some() {
                    marker = marker.and(&Marker::none_of(narrower().map(|other| &other.marker)));
                }
                if !marker.is_never() {
                    out.push((key, value, marker));
                }
            }
        }
        out
    }

    /// A conda package: `"2.1.*"`, `{ version = "2.1.*", build = "*cuda*" }`.
    fn conda(
        &self,
        key: &Key,
        value: &Node,
        marker: &Marker,
        choice: Option<&Choice>,
        reader: &mut Reader,
    ) {
        let place = self.text.place(key.line);
        let said = Said { place: &place, by: self.by, marker, choice };
        let given = fields::given(&key.text, value);
        let version = match value.get("version") {
            Some(version) => version.text(),
            None if value.is_map() => Some("*"),
            None => value.text(),
        };
        let Some(version) = version else {
            reader.unread(&place, format!("`{}` is no match spec", shown(&given)));
            return;
        };
        let source = ["git", "path", "workspace"].iter().any(|key| value.get(key).is_some());
        if let Some(url) = value.text_of("url") {
            conda::match_spec(url, &said, reader);
            return;
        }
        let mut spec = MatchSpec::of(&key.text, version);
        if let Some(build) = value.text_of("build").filter(|build| *build != "*") {
            spec.build = Some(build.to_owned());
        }
        if source && value.get("version").is_none() {
            let message = format!("`{}` is made here: its version is not known", shown(&given));
            reader.unread(&place, message);
        }
        conda::take(&spec, &given, &said, reader);
    }

    /// A package of PyPI: `"==2.6.0"`, `{ version = "*", index = "https://..." }`.
    fn pypi(
        &self,
        key: &Key,
        value: &Node,
        options: &Options,
        reader: &mut Reader,
    ) -> Option<Demand> {
        let mut demand = fields::demand(&key.text, value, false, self.text, key.line, reader)?;
        if demand.link.is_some() {
            return Some(demand);
        }
        if let Some(index) = value.get("index") {
            let Some(url) = index.text() else {
                reader.unread(&self.text.place(index.line), "`index` is no address");
                return Some(demand);
            };
            let place = self.text.place(index.line);
            let index = Index { explicit: true, ..Index::new(url, place) };
            reader.index(index.clone());
            demand.index = Some(index);
        } else if of_pytorch(&demand.name) {
            demand.index = options.serves(&self.options).cloned();
        }
        Some(demand)
    }

    /// A platform as a marker, and how narrow it is.
    fn marker(&self, name: &str) -> Option<(u8, Marker)> {
        let named = self.platforms.iter().find(|(own, _)| *own == name);
        let (rank, text) = match named.map_or(name, |(_, platform)| platform) {
            "unix" => (1, "sys_platform != 'win32'"),
            "linux" => (2, "sys_platform == 'linux'"),
            "osx" => (2, "sys_platform == 'darwin'"),
            "win" => (2, "sys_platform == 'win32'"),
            "linux-64" => (3, "sys_platform == 'linux' and platform_machine == 'x86_64'"),
            "linux-aarch64" => (3, "sys_platform == 'linux' and platform_machine == 'aarch64'"),
            "linux-ppc64le" => (3, "sys_platform == 'linux' and platform_machine == 'ppc64le'"),
            "osx-64" => (3, "sys_platform == 'darwin' and platform_machine == 'x86_64'"),
            "osx-arm64" => (3, "sys_platform == 'darwin' and platform_machine == 'arm64'"),
            "win-64" => (3, "sys_platform == 'win32' and platform_machine == 'AMD64'"),
            "win-arm64" => (3, "sys_platform == 'win32' and platform_machine == 'ARM64'"),
            _ => return None,
        };
        Some((rank, Marker::parse(text).ok()?))
    }
}

impl Options {
    fn read(node: Option<&Node>, text: &Text, reader: &mut Reader) -> Self {
        let mut options = Self::default();
        let Some(node) = node else { return options };
        if let Some(own) = node.get("index-url") {
            match own.text() {
                Some(url) => options.own = Some(Index::new(url, text.place(own.line))),
                None => reader.unread(&text.place(own.line), "`index-url` is no address"),
            }
        }
        for key in ["extra-index-urls", "find-links"] {
            for item in node.list_of(key) {
                let url = item.text().or_else(|| item.text_of("url"));
                let place = text.place(item.line);
                match url.or_else(|| item.text_of("path")) {
                    Some(url) => {
                        options.extra.push(Index { extra: true, ..Index::new(url, place) });
                    }
                    None => reader.unread(&place, format!("an item of `{key}` is no address")),
                }
            }
        }
        for index in options.own.iter().chain(&options.extra) {
            reader.index(index.clone());
        }
        options
    }

    /// The index that the PyTorch family comes from: pixi prefers the extra ones.
    fn serves<'o>(&'o self, base: &'o Self) -> Option<&'o Index> {
        let extra = self.extra.iter().chain(&base.extra).find(|i| link::is_pytorch(&i.url));
        extra.or(self.own.as_ref()).or(base.own.as_ref())
    }

    /// An index of one build that no package here takes: it is meant for one named elsewhere.
    fn say_unused(&self, choice: Option<&Choice>, reader: &mut Reader) {
        for index in self.own.iter().chain(&self.extra) {
            let used = reader.project.demands.iter().any(|d| d.index.as_ref() == Some(index));
            reader.project.cuda.extend(CudaSaid::by_index(index, choice).filter(|_| !used));
        }
    }
}

#[cfg(test)]
mod tests;
