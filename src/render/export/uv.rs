//! What uv has to be told: an index for every PyTorch page, and for every package that comes from one
//! that it does.
//!
//! As a fragment to read, or edited into a pyproject.toml that keeps its comments and its order. The
//! indexes begin with a name of ours, so that what is ours is known when it is written again, and when
//! the project is read: what follows from the lock asks for nothing.
//!
//! uv heeds a source where the project itself asks for a package. What torch requires it does not ask
//! for, so each package is a constraint too, which holds it to the version of the lock; also one whose
//! source was written by hand and names the same place.

use std::collections::{BTreeMap, BTreeSet};

use toml_edit::{
    Array, ArrayOfTables, DocumentMut, InlineTable, Item, Table, TableLike, Value, value,
};

use super::{address, head, marker, version};
use crate::domain::{
    Gather as _, OUR_INDEX, Order as _, held, is_held, normalise_name, our_constraint,
};
use crate::lock::{Index, Lockfile, Package, Target};
use crate::render::Error;

/// Where a package comes from on some machines.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Source {
    index: String,
    marker: String,
}

/// What is to stand in `[tool.uv]`.
#[derive(Debug, Default)]
struct Wanted {
    /// Address by name.
    indexes: BTreeMap<String, String>,
    /// Sources by normalised name of the package.
    sources: BTreeMap<String, BTreeSet<Source>>,
    /// Constraints by normalised name of the package.
    constraints: BTreeMap<String, BTreeSet<String>>,
    /// Platforms that a resolution must have wheels for.
    environments: BTreeSet<String>,
}

/// The fragment as a text of its own.
///
/// # Errors
/// [`Error::TwoBuilds`] when two targets want different builds of a package on the same machines.
pub fn fragment(lock: &Lockfile, targets: &[&Target]) -> Result<String, Error> {
    let wanted = wanted(lock, targets)?;
    let body = apply("", &wanted, false)?;
    let note = if wanted.sources.is_empty() {
        "# Every package comes from PyPI: there is nothing to point elsewhere.\n"
    } else {
        ""
    };
    Ok(format!("{}{note}{}{body}", head(lock, "uv"), if body.is_empty() { "" } else { "\n" }))
}

/// A pyproject.toml with the fragment in it. What is there already stays as it is.
///
/// # Errors
/// As [`fragment`]; a text that is no TOML; [`Error::OtherSource`] when a package has another source
/// that was written by hand, unless `force` replaces it.
pub fn edit(
    pyproject: &str,
    lock: &Lockfile,
    targets: &[&Target],
    force: bool,
) -> Result<String, Error> {
    apply(pyproject, &wanted(lock, targets)?, force)
}

fn wanted(lock: &Lockfile, targets: &[&Target]) -> Result<Wanted, Error> {
    let mut wanted = Wanted::default();
    // Every place of a package: which target, and what it is there.
    let mut places: BTreeMap<&str, Vec<(&Target, &Package)>> = BTreeMap::new();
    for target in targets {
        for package in &target.packages {
            places.entry(package.name.as_str()).or_default().push((target, package));
        }
    }
    let alike = |a: &Target, b: &Target| a.platform == b.platform;
    // Where builds clash, torch is the one that everybody knows.
    let mut places: Vec<_> = places.into_iter().collect();
    places.order_by_key(|(name, _)| *name != "torch");
    for (name, list) in places {
        let same = |a: &Package, b: &Package| a.index == b.index && version(a) == version(b);
        for (at, (target, package)) in list.iter().enumerate() {
            // uv resolves for all machines at once, and tells these apart by nothing.
            let clash = list[..at].iter().find(|(other, from)| {
                let builds = from.index != Index::Pypi || package.index != Index::Pypi;
                let machines = alike(other, target) && other.python.minor == target.python.minor;
                builds && machines && !same(from, package)
            });
            let told = |target: &Target, package: &Package| {
                let version =
                    version(package).map_or(String::new(), |version| format!("{version} "));
                format!("{version}from {} for target {}", package.index, target.name)
            };
            if let Some((other, from)) = clash {
                return Err(Error::TwoBuilds {
                    package: name.into(),
                    one: told(other, from),
                    other: told(target, package),
                });
            }
            let (Index::Pytorch(variant), Some(url)) =
                (package.index, address(lock, package.index))
            else {
                continue;
            };
            let python =
                list.iter().any(|(other, from)| !same(from, package) && alike(other, target));
            let marker = marker(target, python);
            if let Some(version) = version(package) {
                let constraint = format!("{name}=={version} ; {marker}");
                wanted.constraints.entry(name.into()).or_default().insert(constraint);
            }
            let source = Source { index: format!("{OUR_INDEX}{variant}"), marker };
            wanted.indexes.insert(source.index.clone(), url);
            wanted.sources.entry(name.into()).or_default().insert(source);
        }
    }
    let platforms: BTreeSet<_> = targets.iter().map(|target| marker(target, false)).gather();
    if platforms.len() > 1 && !wanted.sources.is_empty() {
        wanted.environments = platforms;
    }
    Ok(wanted)
}

fn apply(text: &str, wanted: &Wanted, force: bool) -> Result<String, Error> {
    let mut document: DocumentMut =
        text.parse().map_err(|err: toml_edit::TomlError| Error::Pyproject(brief(&err, text)))?;
    if wanted.sources.is_empty() && document.get("tool").is_none() {
        return Ok(text.to_owned());
    }
    let tool = below(document.as_table_mut(), "tool")?;
    if wanted.sources.is_empty() && tool.get("uv").is_none() {
        return Ok(text.to_owned());
    }
    let uv = below(tool, "uv")?;
    let addresses = addresses(uv);
    let mut ours = Ours::default();
    if !wanted.sources.is_empty() || uv.contains_key("sources") {
        ours = sources(below(uv, "sources")?, wanted, &addresses, force)?;
    }
    indexes(uv, wanted, &ours.indexes)?;
    constraints(uv, wanted, &ours)?;
    if !wanted.environments.is_empty() {
        environments(uv, &wanted.environments)?;
    }
    Ok(document.to_string())
}

/// The table below a key, made where there is none.
fn below<'d>(table: &'d mut dyn TableLike, key: &str) -> Result<&'d mut dyn TableLike, Error> {
    let item = table.entry(key).or_insert_with(|| {
        let mut table = Table::new();
        table.set_implicit(true);
        Item::Table(table)
    });
    item.as_table_like_mut().ok_or_else(|| Error::Pyproject(format!("`{key}` is no table")))
}

/// The address of every index that has a name.
fn addresses(uv: &dyn TableLike) -> BTreeMap<String, String> {
    let text = |table: &dyn TableLike, key: &str| Some(table.get(key)?.as_str()?.to_owned());
    rows(uv.get("index"))
        .into_iter()
        .filter_map(|row| Some((text(row, "name")?, text(row, "url")?)))
        .collect()
}

/// The tables of `[[x]]` or of `x = [{...}]`, or the one of `x = {...}`.
fn rows(item: Option<&Item>) -> Vec<&dyn TableLike> {
    match item {
        Some(Item::ArrayOfTables(tables)) => tables.iter().map(|t| t as &dyn TableLike).collect(),
        Some(Item::Value(Value::Array(list))) => {
            list.iter().filter_map(|v| Some(v.as_inline_table()? as &dyn TableLike)).collect()
        }
        Some(item) => item.as_table_like().into_iter().collect(),
        None => Vec::new(),
    }
}

fn is_ours(name: &str) -> bool {
    name.starts_with(OUR_INDEX)
}

/// What of the sources is ours.
#[derive(Debug, Default)]
struct Ours {
    /// Indexes that are named.
    indexes: BTreeSet<String>,
    /// Packages that name one.
    now: BTreeSet<String>,
    /// Packages that named one before.
    before: BTreeSet<String>,
    /// Packages with a source by hand that names the same place.
    by_hand: BTreeSet<String>,
}

/// Writes the sources; tells what of them is ours.
fn sources(
    table: &mut dyn TableLike,
    wanted: &Wanted,
    addresses: &BTreeMap<String, String>,
    force: bool,
) -> Result<Ours, Error> {
    let text = |row: &dyn TableLike, key: &str| {
        row.get(key).and_then(Item::as_str).unwrap_or_default().to_owned()
    };
    let mut found = Ours::default();
    let mut keys: BTreeMap<String, String> = BTreeMap::new();
    let mut stale = Vec::new();
    for (key, item) in table.iter() {
        let name = normalise_name(key);
        let rows = rows(Some(item));
        let ours = !rows.is_empty() && rows.iter().all(|row| is_ours(&text(*row, "index")));
        if ours {
            found.before.insert(name.clone());
            if !wanted.sources.contains_key(&name) {
                stale.push(key.to_owned());
            }
        }
        keys.insert(name, key.to_owned());
    }
    for key in stale {
        table.remove(&key);
    }
    for (name, sources) in &wanted.sources {
        let key = keys.get(name).map_or(name.as_str(), String::as_str);
        if let Some(item) = table.get(key) {
            let rows = rows(Some(item));
            let stand: BTreeSet<Source> = rows
                .iter()
                .map(|row| Source { index: text(*row, "index"), marker: text(*row, "marker") })
                .gather();
            let ours = !rows.is_empty() && stand.iter().all(|source| is_ours(&source.index));
            if ours && stand == *sources && rows.len() == stand.len() {
                found.take(name, sources);
                continue;
            }
            // By hand, and the same place under another name.
            let same = |wish: &Source| {
                let url = wanted.indexes.get(&wish.index).map(|url| url.trim_end_matches('/'));
                stand.iter().any(|source| {
                    let at = addresses.get(&source.index).map(|at| at.trim_end_matches('/'));
                    url == at && (source.marker.is_empty() || source.marker == wish.marker)
                })
            };
            if !ours && sources.iter().all(same) {
                found.by_hand.insert(name.clone());
                continue;
            }
            if !ours && !force {
                return Err(Error::OtherSource {
                    package: name.clone(),
                    given: crate::domain::shown(item.to_string().trim()),
                    wanted: written(sources).to_string().trim().to_owned(),
                });
            }
        }
        found.take(name, sources);
        table.insert(key, Item::Value(written(sources)));
    }
    Ok(found)
}

impl Ours {
    fn take(&mut self, name: &str, sources: &BTreeSet<Source>) {
        self.indexes.extend(sources.iter().map(|source| source.index.clone()));
        self.now.insert(name.to_owned());
    }
}

/// Writes a constraint for every package whose source is ours or names the same place; what was written
/// by hand stays.
fn constraints(uv: &mut dyn TableLike, wanted: &Wanted, ours: &Ours) -> Result<(), Error> {
    let key = "constraint-dependencies";
    let wanted: BTreeSet<String> = wanted
        .constraints
        .iter()
        .flat_map(|(name, list)| list.iter().map(move |text| (name, text)))
        .filter_map(|(name, text)| {
            let by_hand = ours.by_hand.contains(name);
            let text = if by_hand { held(text) } else { text.clone() };
            (by_hand || ours.now.contains(name)).then_some(text)
        })
        .collect();
    if wanted.is_empty() && !uv.contains_key(key) {
        return Ok(());
    }
    let item = uv.entry(key).or_insert_with(|| Item::Value(lines(std::iter::empty())));
    let Some(list) = item.as_array_mut() else {
        return Err(Error::Pyproject(format!("`tool.uv.{key}` is no list")));
    };
    let managed = |text: &str| {
        is_held(text)
            || our_constraint(text)
                .is_some_and(|name| ours.before.contains(&name) || ours.now.contains(&name))
    };
    let stand: BTreeSet<String> =
        list.iter().filter_map(Value::as_str).filter(|t| managed(t)).map(str::to_owned).gather();
    if stand != wanted {
        let mut comments = String::new();
        for value in list.iter().filter(|value| value.as_str().is_some_and(managed)) {
            let prefix = value.decor().prefix().and_then(|prefix| prefix.as_str());
            comments.push_str(prefix.unwrap_or_default().trim_end());
        }
        list.retain(|value| !value.as_str().is_some_and(managed));
        append(list, wanted.iter().map(String::as_str), &comments);
    }
    if list.is_empty() {
        uv.remove(key);
    }
    Ok(())
}

/// Adds texts to a list, each on a line of its own. `before`: comments that stood where they go.
fn append<'t>(list: &mut Array, texts: impl Iterator<Item = &'t str>, before: &str) {
    // The comment behind the last comma belongs to what stands there.
    let mut comments = list.trailing().as_str().unwrap_or_default().trim_end().to_owned();
    comments.push_str(before.trim_end());
    let mut texts = texts.peekable();
    if texts.peek().is_none() && before.is_empty() {
        return;
    }
    for text in texts {
        let mut value = Value::from(text);
        value.decor_mut().set_prefix(format!("{comments}\n    "));
        comments.clear();
        list.push_formatted(value);
    }
    list.set_trailing(format!("{comments}\n"));
    list.set_trailing_comma(!list.is_empty());
}

/// One source as a table, several as a list of them, one a line.
fn written(sources: &BTreeSet<Source>) -> Value {
    let one = |source: &Source| {
        let mut table = InlineTable::new();
        table.insert("index", source.index.as_str().into());
        table.insert("marker", source.marker.as_str().into());
        Value::InlineTable(table)
    };
    match sources.iter().collect::<Vec<_>>()[..] {
        [source] => one(source),
        _ => lines(sources.iter().map(one)),
    }
}

fn lines(values: impl Iterator<Item = Value>) -> Value {
    let mut list = Array::new();
    for mut value in values {
        value.decor_mut().set_prefix("\n    ");
        list.push_formatted(value);
    }
    list.set_trailing("\n");
    list.set_trailing_comma(true);
    Value::Array(list)
}

/// Writes the indexes that are named, and takes away ours that are not.
fn indexes(uv: &mut dyn TableLike, wanted: &Wanted, used: &BTreeSet<String>) -> Result<(), Error> {
    let keep = |row: &dyn TableLike| {
        let name = row.get("name").and_then(Item::as_str).unwrap_or_default();
        !is_ours(name) || used.contains(name)
    };
    if used.is_empty() && !uv.contains_key("index") {
        return Ok(());
    }
    let item = uv.entry("index").or_insert_with(|| Item::ArrayOfTables(ArrayOfTables::new()));
    let missing: Vec<(&String, &String)> = {
        let stand = rows(Some(&*item));
        let names: Vec<&str> = stand.iter().filter_map(|row| row.get("name")?.as_str()).collect();
        wanted
            .indexes
            .iter()
            .filter(|(name, _)| used.contains(*name) && !names.contains(&name.as_str()))
            .collect()
    };
    let fill = |row: &mut dyn TableLike, name: &str, url: &str| {
        row.insert("name", value(name));
        row.insert("url", value(url));
        row.insert("explicit", value(true));
    };
    let mend = |row: &mut dyn TableLike| {
        let name = row.get("name").and_then(Item::as_str).unwrap_or_default().to_owned();
        let Some(url) = wanted.indexes.get(&name) else { return };
        let stands = row.get("url").and_then(Item::as_str) == Some(url)
            && row.get("explicit").and_then(Item::as_bool) == Some(true);
        if !stands {
            row.insert("url", value(url.as_str()));
            row.insert("explicit", value(true));
        }
    };
    match item {
        Item::ArrayOfTables(tables) => {
            tables.retain(|table| keep(table));
            tables.iter_mut().for_each(|table| mend(table));
            for (name, url) in missing {
                let mut table = Table::new();
                fill(&mut table, name, url);
                tables.push(table);
            }
            if tables.is_empty() {
                uv.remove("index");
            }
        }
        Item::Value(Value::Array(list)) => {
            list.retain(|value| value.as_inline_table().is_none_or(|table| keep(table)));
            list.iter_mut().filter_map(Value::as_inline_table_mut).for_each(|table| mend(table));
            for (name, url) in missing {
                let mut table = InlineTable::new();
                fill(&mut table, name, url);
                list.push(table);
            }
        }
        _ => return Err(Error::Pyproject("`tool.uv.index` is no list of tables".into())),
    }
    Ok(())
}

/// Adds the platforms that are missing; what somebody asked for stays.
fn environments(uv: &mut dyn TableLike, wanted: &BTreeSet<String>) -> Result<(), Error> {
    let key = "required-environments";
    let item = uv.entry(key).or_insert_with(|| Item::Value(lines(std::iter::empty())));
    let Some(list) = item.as_array_mut() else {
        return Err(Error::Pyproject(format!("`tool.uv.{key}` is no list")));
    };
    // One platform is written in as many ways as there are quotes and spaces.
    let plain = |text: &str| -> String {
        text.chars()
            .filter(|c| !c.is_whitespace())
            .map(|c| if c == '"' { '\'' } else { c })
            .collect()
    };
    let stand: BTreeSet<_> = list.iter().filter_map(Value::as_str).map(plain).gather();
    append(
        list,
        wanted.iter().map(String::as_str).filter(|marker| !stand.contains(&plain(marker))),
        "",
    );
    Ok(())
}

/// What TOML says, with its line, and without an excerpt that may be long.
fn brief(err: &toml_edit::TomlError, text: &str) -> String {
    let start = err.span().map_or(0, |span| span.start.min(text.len()));
    let line = text.get(..start).unwrap_or_default().matches('\n').count() + 1;
    let message: String = err.message().chars().filter(|c| !c.is_control()).take(200).collect();
    format!("line {line}: {message}")
}
