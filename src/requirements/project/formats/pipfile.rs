//! `Pipfile`: pipenv's sources and packages.
//!
//! Source: pipenv's documentation, "Pipfile & Pipfile.lock" and "Specifiers". A package that names no
//! index comes from the first source, and from no other.

use super::demand::{Choice, Index, PythonSaid};
use super::fields;
use super::link;
use super::marker::Marker;
use super::reader::Reader;
use super::requirement;
use super::source::Text;
use crate::domain::shown;
use crate::requirements::Error;
use crate::tree::{Key, Node, Value};

/// Tables that hold no packages.
const OTHERS: &[&str] = &["source", "requires", "scripts", "pipenv", "pipfile"];
/// Keys of a package that are markers: `sys_platform = "== 'linux'"`.
const MARKERS: &[&str] = &[
    "implementation_name",
    "implementation_version",
    "os_name",
    "platform_machine",
    "platform_python_implementation",
    "platform_release",
    "platform_system",
    "platform_version",
    "python_full_version",
    "python_version",
    "sys_platform",
];

/// Reads `Pipfile`.
///
/// # Errors
/// No TOML, or a folder that it installs and that cannot be read.
pub fn read(text: &Text, reader: &mut Reader, choice: Option<&Choice>) -> Result<(), Error> {
    let root = text.toml()?;
    reader.began(text, "Pipfile");
    let sources = sources(&root, text, reader);
    for index in &sources {
        reader.index(index.clone());
    }
    reader.enough()?;
    if let Some(requires) = root.get("requires") {
        python(requires, text, reader, choice);
    }
    for (key, table) in root.entries() {
        if OTHERS.contains(&key.text.as_str()) {
            continue;
        }
        if !table.is_map() {
            let message = format!("`{}` is no table of packages", shown(&key.text));
            reader.unread(&text.place(key.line), message);
            continue;
        }
        let choice = match key.text.as_str() {
            "packages" => choice.cloned(),
            "dev-packages" => Some(Choice::Group("dev".into())),
            name => Some(Choice::Group(name.to_owned())),
        };
        for (name, value) in table.entries() {
            package(name, value, choice.clone(), &sources, text, reader)?;
        }
    }
    Ok(())
}

/// `[[source]]`
fn sources(root: &Node, text: &Text, reader: &mut Reader) -> Vec<Index> {
    let mut sources: Vec<Index> = Vec::new();
    for source in root.get("source").map_or(&[][..], Node::one_or_many) {
        let Some(url) = source.get("url").filter(|url| url.text().is_some()) else {
            reader.unread(&text.place(source.line), "a source without an address");
            continue;
        };
        let mut index = Index::new(url.text().unwrap_or_default(), text.place(url.line))
            .called(source.text_of("name"));
        index.explicit = !sources.is_empty();
        sources.push(index);
    }
    sources
}

/// `[requires]`
fn python(requires: &Node, text: &Text, reader: &mut Reader, choice: Option<&Choice>) {
    for (key, tail) in [("python_full_version", ""), ("python_version", ".*")] {
        let Some(node) = requires.get(key) else { continue };
        let place = text.place(node.line);
        let given = node.text().unwrap_or_default();
        match requirement::versions(&format!("=={given}{tail}")) {
            Some(versions) => reader.project.python.push(PythonSaid {
                versions,
                given: given.to_owned(),
                by: "Pipfile",
                choice: choice.cloned(),
                place,
            }),
            None => reader.unread(&place, format!("`{key}` is no version of Python")),
        }
    }
}

fn package(
    key: &Key,
    value: &Node,
    choice: Option<Choice>,
    sources: &[Index],
    text: &Text,
    reader: &mut Reader,
) -> Result<(), Error> {
    let place = text.place(key.line);
    let Some(mut demand) = fields::demand(&key.text, value, true, text, key.line, reader) else {
        return Ok(());
    };
    demand.choice = choice;
    match marker(value) {
        Ok(marker) => demand.marker = marker,
        Err(why) => {
            let message = format!("the marker of `{}` is not read: {why}", shown(&key.text));
            reader.unread(&place, message);
            return Ok(());
        }
    }
    if demand.link.is_none() {
        demand.index = match value.text_of("index") {
            None => sources.first().cloned(),
            Some(named) => {
                let source = sources.iter().find(|s| s.name.as_deref() == Some(named)).cloned();
                let address = || {
                    link::is_link(named)
                        .then(|| Index { explicit: true, ..Index::new(named, place.clone()) })
                };
                let index = source.or_else(address);
                if index.is_none() {
                    let message = format!("no source has the name `{}`", shown(named));
                    reader.unread(&place, message);
                }
                index
            }
        };
    }
    fields::keep(demand, text, reader)
}

/// `markers` and the keys that are markers: all of them hold.
fn marker(value: &Node) -> Result<Marker, String> {
    let mut all = Marker::default();
    for (key, value) in value.entries() {
        let name = key.text.as_str();
        let text = match &value.value {
            Value::Text(text) if name == "markers" => text.clone(),
            Value::Text(text) if MARKERS.contains(&name) => format!("{name} {text}"),
            Value::List(_) | Value::Map(_) if name == "markers" || MARKERS.contains(&name) => {
                return Err(format!("`{name}` is no text"));
            }
            _ => continue,
        };
        all = all.and(&Marker::parse(&text)?);
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::requirements::project::demand::{Demand, Kind, Project};
    use crate::requirements::project::source::{Files, MAX_BYTES};

    fn of(content: &str) -> Project {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("Pipfile");
        fs_err::write(&path, content).expect("a file");
        let mut reader = Reader::new(Files::of(dir.path()).expect("a folder"));
        let text = reader.files.read(&path, MAX_BYTES).expect("a text");
        read(&text, &mut reader, None).expect("a Pipfile");
        reader.project
    }

    #[test]
    fn packages_take_their_source() {
        let project = of(r#"
[[source]]
url = "https://${USER}:${PASS}@pypi.example/simple"
verify_ssl = true
name = "pypi"

[[source]]
url = "https://download.pytorch.org/whl/cu118"
name = "pytorch"

[packages]
torch = {version = "==2.1.0+cu118", index = "pytorch", extras = ["opt-einsum"]}
numpy = "*"
scipy = "1.11.4"

[dev-packages]
torchvision = {version = ">=0.16,<1", markers = "python_version >= '3.9' or os_name == 'nt'", sys_platform = "== 'linux'"}

[docs]
torchaudio = {file = "https://download.pytorch.org/whl/cu118/torchaudio-2.1.0%2Bcu118-cp310-cp310-linux_x86_64.whl"}

[requires]
python_version = "3.10"

[scripts]
run = "python x.py"
"#);
        assert_eq!(project.files[0].what, "Pipfile");
        let of = |name: &str| -> &Demand {
            project.demands.iter().find(|d| d.name == name).expect(name)
        };
        let torch = of("torch");
        let index = torch.index.as_ref().expect("an index");
        assert_eq!((index.name.as_deref(), index.explicit), (Some("pytorch"), true));
        assert_eq!((torch.spec().as_str(), torch.kind), ("==2.1.0+cu118", Kind::Requirement));
        assert_eq!((torch.extras.len(), torch.place.line), (1, 12));
        assert!(torch.given.starts_with("torch = { version = \"==2.1.0+cu118\", index"));
        let first = of("numpy").index.as_ref().expect("the first source");
        assert_eq!(
            (first.url.as_str(), first.explicit),
            ("https://***@pypi.example/simple", false)
        );
        assert_eq!(of("scipy").spec(), "==1.11.4");
        let vision = of("torchvision");
        assert_eq!(vision.choice, Some(Choice::Group("dev".into())));
        assert_eq!(
            vision.marker.text(),
            Some("(python_version >= '3.9' or os_name == 'nt') and sys_platform == 'linux'")
        );
        let audio = of("torchaudio");
        assert_eq!(audio.choice, Some(Choice::Group("docs".into())));
        assert_eq!((audio.spec().as_str(), audio.index.is_none()), ("==2.1.0+cu118", true));
        assert_eq!(project.python[0].versions.to_string(), "==3.10.*");
        assert_eq!(project.indexes.len(), 2);
        assert!(project.findings.is_empty(), "{:?}", project.findings);
    }

    #[test]
    fn addresses() {
        let project = of(
            "[packages]\na = {git = \"https://x.example/a.git\", ref = \"v1\"}\nb = {path = \"./b\", editable = true}\nc = {version = \"*\", index = \"https://x.example/whl/cu126\"}\n",
        );
        let link = |at: usize| project.demands[at].link.as_ref().expect("a link");
        assert!(link(0).vcs && link(0).address == "git+https://x.example/a.git@v1");
        assert!(link(1).local);
        assert!(project.demands[2].index.as_ref().is_some_and(|i| i.variant.is_some()));
    }

    #[test]
    fn odd_values_are_noted() {
        let project = of(
            "other = 1\n[[source]]\nname = \"x\"\n[requires]\npython_version = \"x\"\n[packages]\na = [1]\nb = {version = [1]}\nc = \"new\"\nd = {markers = \"x\"}\ne = {version = \"*\", index = \"nope\"}\nf = {markers = [1]}\n",
        );
        assert_eq!(project.findings.len(), 9, "{:#?}", project.findings);
        assert_eq!(project.demands.len(), 1);
    }
}
