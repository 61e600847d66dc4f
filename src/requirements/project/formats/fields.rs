//! A dependency as a TOML table of pixi and pipenv writes it: `torch = { version = "==2.6.0" }`.

use pep440_rs::{VersionSpecifier, VersionSpecifiers};

use super::demand::{Demand, countable};
use super::reader::Reader;
use super::source::Text;
use super::{local, requirement};
use crate::domain::shown;
use crate::requirements::Error;
use crate::tree::{Node, Value};

/// Longest version that is read, in bytes.
const MAX_VERSION: usize = 200;

/// An entry on one line, as it is written: `torch = { version = "==2.6.0" }`.
pub fn given(name: &str, value: &Node) -> String {
    format!("{name} = {}", inline(value))
}

fn inline(value: &Node) -> String {
    match &value.value {
        Value::Text(text) if matches!(text.as_str(), "true" | "false") => text.clone(),
        Value::Text(text) => format!("\"{text}\""),
        Value::List(items) => {
            format!("[{}]", items.iter().map(inline).collect::<Vec<_>>().join(", "))
        }
        Value::Map(entries) => {
            let one = |(key, value): &(_, Node)| {
                let key: &crate::tree::Key = key;
                given(&key.text, value)
            };
            format!("{{ {} }}", entries.iter().map(one).collect::<Vec<_>>().join(", "))
        }
    }
}

/// Versions in PEP 440's words; `*` and nothing: any. `None`: it is neither.
///
/// `bare`: a version without an operator means exactly that one.
pub fn versions(text: &str, bare: bool) -> Option<VersionSpecifiers> {
    let text = text.trim();
    if matches!(text, "*" | "") {
        return Some(VersionSpecifiers::default());
    }
    if bare
        && text.len() <= MAX_VERSION
        && let Ok(version) = text.parse()
        && countable(&version)
    {
        return Some(VersionSpecifier::equals_version(version).into());
    }
    requirement::versions(text)
}

/// Reads version, extras and address of an entry. `None`: it was noted as unread.
pub fn demand(
    name: &str,
    value: &Node,
    bare: bool,
    text: &Text,
    line: usize,
    reader: &mut Reader,
) -> Option<Demand> {
    let place = text.place(line);
    let given = given(name, value);
    let mut demand = Demand::new(name, &given, place.clone());
    let version = match &value.value {
        Value::Text(version) => Some(version.as_str()),
        Value::Map(_) => match value.get("version").map(Node::text) {
            Some(None) => {
                reader.unread(&place, format!("the version in `{}` is no text", shown(&given)));
                return None;
            }
            version => version.flatten(),
        },
        Value::List(_) => {
            reader.unread(&place, format!("`{}` is no version and no table", shown(&given)));
            return None;
        }
    };
    let version = version.unwrap_or_default();
    let Some(versions) = versions(version, bare) else {
        reader.unread(&place, format!("`{}` is no version that PyPI knows", shown(version)));
        return None;
    };
    demand.versions = versions;
    demand.extras = texts(value.get("extras"));
    if let Some(address) = address(value) {
        requirement::attach(&mut demand, &address);
    }
    Some(demand)
}

/// The address in a table: a repository, a file, a folder.
fn address(value: &Node) -> Option<String> {
    if let Some(git) = value.text_of("git") {
        let git = if git.starts_with("git+") { git.to_owned() } else { format!("git+{git}") };
        let at = ["ref", "rev", "tag", "branch"].iter().find_map(|key| value.text_of(key));
        return Some(at.map_or(git.clone(), |at| format!("{git}@{at}")));
    }
    ["url", "file", "path"].iter().find_map(|key| value.text_of(key)).map(str::to_owned)
}

/// Keeps a demand, and reads the folder that it installs.
///
/// # Errors
/// What is wrong with the folder's files.
pub fn keep(demand: Demand, text: &Text, reader: &mut Reader) -> Result<(), Error> {
    // An archive tells its name; what is left of the local ones is a folder.
    let folder = demand.link.clone().filter(|link| link.local && link.name.is_none());
    let (line, extras, choice) = (demand.place.line, demand.extras.clone(), demand.choice.clone());
    reader.push(demand);
    reader.enough()?;
    if let Some(link) = folder {
        let path = link.address.trim_start_matches("file://").trim_start_matches("file:");
        local::folder(path, &extras, text, line, reader, choice.as_ref())?;
    }
    Ok(())
}

/// The texts of a list, or one text alone.
pub fn texts(node: Option<&Node>) -> Vec<String> {
    let items = node.map_or(&[][..], Node::one_or_many);
    items.iter().filter_map(Node::text).map(str::to_owned).collect()
}
