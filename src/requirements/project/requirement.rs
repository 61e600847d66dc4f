//! One requirement, as PEP 508 writes it, and as pip lets people write it.

use std::convert::Infallible;
use std::fmt;
use std::path::Path;

use pep440_rs::VersionSpecifiers;
use pep508_rs::{Pep508Error, Pep508Url, Requirement, VersionOrUrl};

use super::demand::{Demand, countable};
use super::link;
use super::marker::{self, Marker};
use crate::domain::Place;

/// Longest requirement that is read, in bytes, without the hashes behind it.
const MAX_BYTES: usize = 8192;
/// Parts of one range that are read, and of one version.
const MAX_PARTS: usize = 64;

/// An address kept as it was written: nothing of the environment is put into it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Address(String);

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Pep508Url for Address {
    type Err = Infallible;

    fn parse_url(url: &str, _: Option<&Path>) -> Result<Self, Self::Err> {
        Ok(Self(url.to_owned()))
    }
}

/// Reads a requirement: `torch>=2.8; sys_platform == "linux"`, `torch @ https://...`, a bare address
/// or path.
///
/// # Errors
/// What is wrong with it, in one sentence without its place.
pub fn read(text: &str, place: &Place) -> Result<Demand, String> {
    let text = text.trim();
    if text.len() > MAX_BYTES {
        let shown = crate::domain::shown(text);
        return Err(format!("`{shown}` is longer than the {MAX_BYTES} bytes that are read"));
    }
    if link::is_link(text) {
        return bare_link(text, place);
    }
    if !crate::domain::names_end_well(text) {
        let shown = crate::domain::shown(text);
        return Err(format!("`{shown}` is no requirement: a name ends with a letter or a number"));
    }
    // A `;` of an address is taken for that of a marker here: what follows it is short then.
    marker::bounded(text.split_once(';').map_or("", |(_, marker)| marker))?;
    let requirement: Requirement<Address> = parse(text)?;
    let mut demand = Demand::new(requirement.name.as_ref(), text, place.clone());
    demand.extras = requirement.extras.iter().map(ToString::to_string).collect();
    match requirement.version_or_url {
        Some(VersionOrUrl::VersionSpecifier(versions)) => {
            if !sane(&versions) {
                let shown = crate::domain::shown(text);
                return Err(format!("`{shown}` names larger or more versions than are read"));
            }
            demand.versions = versions;
        }
        Some(VersionOrUrl::Url(address)) => attach(&mut demand, &address.0),
        None => (),
    }
    demand.marker = Marker::new(marker_text(text, demand.link.is_some()), requirement.marker);
    Ok(demand)
}

/// A range in PEP 440's words, of a length that people write; `None`: it is none.
pub fn versions(text: &str) -> Option<VersionSpecifiers> {
    (text.len() <= MAX_BYTES).then(|| text.parse().ok())?.filter(sane)
}

/// Comparing ranges takes as long as they are, and counts on from their numbers.
fn sane(versions: &VersionSpecifiers) -> bool {
    versions.len() <= MAX_PARTS
        && versions.iter().all(|spec| {
            let version = spec.version();
            version.release().len() <= MAX_PARTS && countable(version)
        })
}

fn parse(text: &str) -> Result<Requirement<Address>, String> {
    Requirement::parse(text, Path::new("")).map_err(|err: Pep508Error<Address>| {
        // Its words, without the drawing below them.
        let why = err.message.to_string();
        let why = crate::domain::shown(why.lines().next().unwrap_or_default());
        let why = why.trim_end_matches('.');
        format!("`{}` is no requirement: {why}", crate::domain::shown(text))
    })
}

/// What stands behind the `;`. In an address a `;` needs a space before it.
fn marker_text(text: &str, is_link: bool) -> Option<&str> {
    let at = if is_link { text.find(" ;").map(|at| at + 1) } else { text.find(';') };
    at.map(|at| &text[at + 1..])
}

/// Lets a demand come from an address; a wheel's name tells the version.
pub fn attach(demand: &mut Demand, address: &str) {
    let link = link::read(address);
    if let Some(version) = &link.version {
        demand.versions = pep440_rs::VersionSpecifier::equals_version(version.clone()).into();
    }
    demand.link = Some(link);
}

fn bare_link(text: &str, place: &Place) -> Result<Demand, String> {
    let (address, marker) = match text.find(" ;").or_else(|| text.find("; ")) {
        Some(at) => (text[..at].trim(), Marker::parse(text[at..].trim_start_matches([' ', ';']))?),
        None => (text, Marker::default()),
    };
    let (address, extras) = match address.split_once('[') {
        Some((path, rest)) if rest.ends_with(']') && !address.contains("#egg=") => {
            let list = rest.trim_end_matches(']').split(',').map(|e| e.trim().to_owned());
            (path, list.filter(|e| !e.is_empty()).collect())
        }
        _ => (address, Vec::new()),
    };
    let found = link::read(address);
    let name = found.name.clone().unwrap_or_default();
    let mut demand = Demand::new(&name, text, place.clone());
    demand.extras = extras;
    demand.marker = marker;
    attach(&mut demand, address);
    Ok(demand)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at() -> Place {
        Place { file: "requirements.txt".into(), line: 1 }
    }

    #[test]
    fn requirements_read_and_refused() {
        let read = |text: &str| read(text, &at()).expect(text);
        let torch = read("Torch[opt-einsum] >= 2.6 , <3 ; sys_platform == 'linux'");
        assert_eq!((torch.name.as_str(), torch.spec().as_str()), ("torch", ">=2.6,<3"));
        assert_eq!(torch.marker.text(), Some("sys_platform == 'linux'"));
        assert_eq!(torch.extras, ["opt-einsum"]);
        let wheel = read(
            "torch @ https://x.example/whl/torch-2.3.0%2Bcu121-cp310-cp310-linux_x86_64.whl ; python_version < '3.11'",
        );
        assert_eq!(wheel.spec(), "==2.3.0+cu121");
        assert_eq!(wheel.marker.text(), Some("python_version < '3.11'"));
        let bare = read("./wheels/torch-2.1.0+cu118-cp310-cp310-linux_x86_64.whl");
        assert_eq!((bare.name.as_str(), bare.spec().as_str()), ("torch", "==2.1.0+cu118"));
        let label = read("torch==2.6.0+cu124");
        assert_eq!(label.label().map(|v| v.to_string()).as_deref(), Some("cu124"));
        let local = read(".[gpu]");
        assert_eq!(local.extras, ["gpu"]);
        for text in [
            "torch- >=2",
            "torch_",
            "torch[a.]",
            "torch.[a]",
            "torch>>2",
            "==2.0",
            "torch==",
            "torch vision",
            "torch; sys_platform = 'linux'",
        ] {
            assert!(super::read(text, &at()).is_err(), "{text}");
        }
        for (text, why) in [
            (format!("torch[{}a]", "a,".repeat(10_000)), "8192 bytes"),
            (format!("torch{}!=1", "!=2,".repeat(64)), "more versions"),
            (format!("torch==1{}", ".1".repeat(64)), "more versions"),
            ("torch==2.post18446744073709551615".into(), "more versions"),
        ] {
            assert!(super::read(&text, &at()).is_err_and(|err| err.contains(why)), "{why}");
        }
    }
}
