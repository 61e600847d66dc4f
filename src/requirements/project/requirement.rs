//! One requirement, as PEP 508 writes it, and as pip lets people write it.

use std::str::FromStr as _;

use pep440_rs::{VersionSpecifier, VersionSpecifiers};

use super::demand::{Demand, countable};
use super::link;
use super::marker::Marker;
use crate::domain::{Place, normalise_name, shown};

/// Longest requirement that is read, in bytes, without the hashes behind it.
const MAX_BYTES: usize = 8192;
/// Parts of one range that are read, and of one version.
const MAX_PARTS: usize = 64;

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
    named(text, place).map_err(|why| format!("`{}` is no requirement: {why}", shown(text)))
}

/// Source: PyPA specifications, "Dependency specifiers", as packaging's `_parser.py` reads them; the
/// first `;` begins the marker in an address too, as for pip.
fn named(text: &str, place: &Place) -> Result<Demand, String> {
    let (head, marker) = text.split_once(';').map_or((text, ""), |(head, marker)| (head, marker));
    let (name, rest) = identifier(head).ok_or_else(|| match head {
        "" => "there is no name".to_owned(),
        head => format!("a name begins with a letter or a number, not with `{}`", first(head)),
    })?;
    let mut demand = Demand::new(name, text, place.clone());
    let rest = trimmed(rest);
    let rest = match rest.strip_prefix('[') {
        Some(list) => {
            let (list, rest) = list.split_once(']').ok_or("`[` lacks its `]`")?;
            demand.extras = extras(list)?;
            trimmed(rest)
        }
        None => rest,
    };
    if let Some(address) = rest.strip_prefix('@') {
        let address = trimmed(address);
        if address.is_empty() {
            return Err("`@` lacks its address".into());
        }
        if let Some((_, more)) = address.split_once([' ', '\t']) {
            return Err(format!("`{}` stands behind the address", shown(trimmed(more))));
        }
        attach(&mut demand, address);
    } else {
        demand.versions = specifiers(rest)?;
        if !sane(&demand.versions) {
            return Err("it names larger or more versions than are read".into());
        }
    }
    demand.marker = Marker::parse(marker)?;
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

fn trimmed(text: &str) -> &str {
    text.trim_matches([' ', '\t'])
}

fn first(text: &str) -> String {
    text.chars().take(1).map(|c| shown(&c.to_string())).collect()
}

/// A name, and what follows it. It may end in `_`, though PEP 508 says otherwise: packaging takes it.
fn identifier(text: &str) -> Option<(&str, &str)> {
    let word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let name = &text[..text.find(|c| !word(c)).unwrap_or(text.len())];
    let name = name.trim_end_matches(['-', '.']);
    let ends = !text[name.len()..].starts_with(char::is_alphanumeric);
    (ends && name.starts_with(|c: char| c.is_ascii_alphanumeric()))
        .then(|| text.split_at(name.len()))
}

fn extras(list: &str) -> Result<Vec<String>, String> {
    let list = trimmed(list);
    if list.is_empty() {
        return Ok(Vec::new());
    }
    list.split(',')
        .map(|extra| match identifier(trimmed(extra)) {
            Some((name, "")) => Ok(normalise_name(name)),
            _ => Err(format!("`{}` is no name of an extra", shown(trimmed(extra)))),
        })
        .collect()
}

/// `>=2,<3`, with or without brackets, and with a comma too many at the end.
fn specifiers(text: &str) -> Result<VersionSpecifiers, String> {
    let list = match text.strip_prefix('(') {
        Some(inner) => trimmed(inner.strip_suffix(')').ok_or("`(` lacks its `)`")?),
        None => text,
    };
    if list.is_empty() {
        return Ok(VersionSpecifiers::default());
    }
    let list = list.strip_suffix(',').unwrap_or(list);
    list.split(',')
        .map(|one| {
            let one = trimmed(one);
            if !one.starts_with(['=', '<', '>', '~', '!']) {
                return Err(match one {
                    "" => "a version is missing beside a comma".to_owned(),
                    _ => format!(
                        "expected a version such as `>=2`, `@`, `[` or `;`, found `{}`",
                        shown(one)
                    ),
                });
            }
            VersionSpecifier::from_str(one).map_err(|err| {
                let why = err.to_string();
                why.lines().next().unwrap_or_default().trim_end_matches('.').to_owned()
            })
        })
        .collect()
}

/// Lets a demand come from an address; a wheel's name tells the version.
pub fn attach(demand: &mut Demand, address: &str) {
    let link = link::read(address);
    // A tag of a repository is a hint: only the repository knows.
    if let Some(version) = link.version.as_ref().filter(|_| !link.vcs) {
        demand.versions = pep440_rs::VersionSpecifier::equals_version(version.clone()).into();
    }
    demand.link = Some(link);
}

/// Whether a name, a version and the tags could be read from the name of a wheel.
fn is_wheel(link: &super::Link) -> bool {
    let named = link.name.as_deref().and_then(identifier).is_some_and(|(_, rest)| rest.is_empty());
    named && link.version.is_some() && link.python.is_some()
}

fn bare_link(text: &str, place: &Place) -> Result<Demand, String> {
    let parts = if text.contains("://") {
        text.split_once(" ;").or_else(|| text.split_once("; "))
    } else {
        text.split_once(';')
    };
    let (address, marker) = match parts {
        Some((address, marker)) => (trimmed(address), Marker::parse(marker)?),
        None => (text, Marker::default()),
    };
    let (address, extras) = match address.split_once('[') {
        Some((path, rest)) if rest.ends_with(']') && !address.contains("#egg=") => {
            (path, extras(rest.trim_end_matches(']').trim_end_matches([',', ' ']))?)
        }
        _ => (address, Vec::new()),
    };
    let found = link::read(address);
    let file = address.split(['?', '#']).next().unwrap_or_default();
    // The end of a wheel's name is lower case: PEP 427.
    if file.strip_suffix(".whl").is_some() && !is_wheel(&found) {
        return Err(format!(
            "`{}` is no name of a wheel: NAME-VERSION-PYTHON-ABI-PLATFORM.whl",
            shown(file)
        ));
    }
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
        for text in ["torch_ >=2,", "torch\t( >= 2 , )", "torch [ ] >=2 ;"] {
            assert_eq!(read(text).spec(), ">=2", "{text}");
        }
        let glued = read("torch@https://x.example/main.zip;os_name=='nt'");
        assert_eq!(
            glued.link.as_ref().map(|l| l.address.as_str()),
            Some("https://x.example/main.zip")
        );
        assert_eq!((glued.name.as_str(), glued.marker.text()), ("torch", Some("os_name=='nt'")));
        let local = read(".[gpu]");
        assert_eq!(local.extras, ["gpu"]);
        for text in [
            "torch- >=2",
            "torch[a.]",
            "torch.[a]",
            "torch>>2",
            "==2.0",
            "torch==",
            "torch vision",
            "torch; sys_platform = 'linux'",
            "torch>=2,,<3",
            "torch ,",
            "torch>=2 <3",
            "torch (>=2",
            "torch[a b]",
            "torch[a",
            "torch-",
            "torché",
            "torch @",
            "torch @ https://x/a b",
            "torch; os_name == 'nt' é",
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
