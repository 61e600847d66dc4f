//! One requirement, as PEP 508 writes it, and as pip lets people write it.

use std::convert::Infallible;
use std::fmt;
use std::path::Path;

use pep508_rs::{Pep508Error, Pep508Url, Requirement, VersionOrUrl};

use super::demand::Demand;
use super::link;
use super::marker::Marker;
use crate::domain::Place;

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
    if link::is_link(text) {
        return bare_link(text, place);
    }
    let requirement: Requirement<Address> = parse(text)?;
    let mut demand = Demand::new(requirement.name.as_ref(), text, place.clone());
    demand.extras = requirement.extras.iter().map(ToString::to_string).collect();
    match requirement.version_or_url {
        Some(VersionOrUrl::VersionSpecifier(versions)) => demand.versions = versions,
        Some(VersionOrUrl::Url(address)) => attach(&mut demand, &address.0),
        None => (),
    }
    demand.marker = Marker::new(marker_text(text, demand.link.is_some()), requirement.marker);
    Ok(demand)
}

fn parse(text: &str) -> Result<Requirement<Address>, String> {
    Requirement::parse(text, Path::new("")).map_err(|err: Pep508Error<Address>| {
        // Its words, without the drawing below them.
        let why = err.message.to_string();
        let why = why.lines().next().unwrap_or_default().trim_end_matches('.');
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
        for text in
            ["torch>>2", "==2.0", "torch==", "torch vision", "torch; sys_platform = 'linux'"]
        {
            assert!(super::read(text, &at()).is_err(), "{text}");
        }
    }
}
