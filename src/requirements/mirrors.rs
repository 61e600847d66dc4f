//! What stands in for an index, a registry or the matrix, and where.

use std::collections::BTreeMap;

use super::project::mask;
use crate::domain::shown;

/// More of these than anybody has.
const MAX_MIRRORS: usize = 100;
/// Longest address, in bytes; a lock can hold no longer one.
const MAX_ADDRESS: usize = 500;

/// Registries that a variable can name though no file does: `GPUSEAL_MIRROR_DOCKER_IO`. Of others the
/// variable's underscores are dots.
const REGISTRIES: &[&str] = &["docker.io", "ghcr.io", "nvcr.io", "quay.io"];

/// What stands in for an index, a registry or the matrix. It decides where files come from and never
/// which, so it is no part of what a lock takes its digest of.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Mirrors {
    /// Root of a simple index that stands for PyPI, without `/` at its end.
    pub pypi: Option<String>,
    /// Stands for `https://download.pytorch.org/whl`: its pages are `URL/cu126/torch/`.
    pub pytorch: Option<String>,
    /// Folder or file of the matrix.
    pub matrix: Option<String>,
    /// `registry.example.org/hub` for `docker.io`, by the host of the registry.
    pub registries: BTreeMap<String, String>,
}

/// Why a mirror is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct BadMirror {
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub help: Option<String>,
    /// The text is not to be shown: it has a password in it.
    pub secret: bool,
    /// It is the key that is wrong, not the value.
    pub key: bool,
}

impl BadMirror {
    fn new(message: String, help: &str) -> Self {
        Self { message, help: Some(help.into()), secret: false, key: false }
    }
}

impl Mirrors {
    /// The keys that are no registry.
    pub const KEYS: &[&str] = &["pypi", "pytorch", "matrix"];

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Indexes and registries with what stands in for them, by name; not the matrix.
    pub fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        let indexes = [("pypi", &self.pypi), ("pytorch", &self.pytorch)];
        let indexes = indexes.into_iter().filter_map(|(of, at)| Some((of, at.as_deref()?)));
        indexes.chain(self.registries.iter().map(|(of, at)| (of.as_str(), at.as_str())))
    }

    /// Sets what stands in for `of`: `pypi`, `pytorch`, `matrix`, or the host of a registry.
    ///
    /// # Errors
    /// A name that can have no mirror, or a value that is none, with what to write.
    pub fn set(&mut self, of: &str, at: &str) -> Result<(), BadMirror> {
        let at = at.trim();
        match of {
            "pypi" => self.pypi = Some(address(of, at)?),
            "pytorch" => self.pytorch = Some(address(of, at)?),
            "matrix" => self.matrix = Some(matrix(at)?),
            _ if is_registry(of) => {
                if self.registries.len() == MAX_MIRRORS && !self.registries.contains_key(of) {
                    let message = format!(
                        "more than the {MAX_MIRRORS} registries that are read have a mirror"
                    );
                    return Err(BadMirror { key: true, ..BadMirror::new(message, "name fewer") });
                }
                self.registries.insert(of.into(), registry(of, at)?);
            }
            _ => return Err(unknown(of)),
        }
        Ok(())
    }

    /// What a variable `GPUSEAL_MIRROR_...` stands for, given what comes behind: a key, a registry of
    /// the file, one that everybody knows, or the host with dots for its underscores.
    pub fn named_by(&self, suffix: &str) -> String {
        let key = suffix.to_ascii_lowercase();
        if Self::KEYS.contains(&key.as_str()) {
            return key;
        }
        let plain = |host: &str| host.replace(['.', '-', ':'], "_");
        let known = self.registries.keys().map(String::as_str).chain(REGISTRIES.iter().copied());
        let known = known.into_iter().find(|host| plain(host) == key);
        known.map_or_else(|| key.replace('_', "."), str::to_owned)
    }
}

/// Letters of an address that mean nothing to a shell, a Dockerfile or a template.
fn plain(text: &str) -> bool {
    (1..=MAX_ADDRESS).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~%+,:=/".contains(&b))
}

/// A password has no place in a file that is committed.
fn without_secret(of: &str, at: &str) -> Result<(), BadMirror> {
    if !at.contains('@') {
        return Ok(());
    }
    let help = if is_registry(of) {
        "leave them out and log in with the container engine: `docker login HOST`"
    } else {
        "leave them out and put them into the netrc file or the keyring, where they are looked up"
    };
    let message = format!("the mirror of `{of}` has credentials in its address");
    Err(BadMirror { secret: true, ..BadMirror::new(message, help) })
}

fn address(of: &str, at: &str) -> Result<String, BadMirror> {
    const HELP: &str = "write a form like `https://mirror.example.org/simple`";
    without_secret(of, at)?;
    let wrong = |why: &str| {
        let given = shown(&mask(at));
        BadMirror::new(format!("`{given}` is no address of a mirror of `{of}`: {why}"), HELP)
    };
    if at.contains(['?', '#']) {
        return Err(wrong("it has a `?` or a `#`"));
    }
    if !plain(at) {
        return Err(wrong("it is empty, too long, or has letters that no address needs"));
    }
    if !at.starts_with("https://") && !at.starts_with("http://") {
        return Err(wrong("it begins neither with `https://` nor with `http://`"));
    }
    let url: url::Url = at.parse().map_err(|_| wrong("it cannot be read"))?;
    if url.path().contains("//") || !url.host_str().is_some_and(is_host) {
        return Err(wrong("it names no host, or has an empty part"));
    }
    Ok(url.as_str().trim_end_matches('/').to_owned())
}

fn matrix(at: &str) -> Result<String, BadMirror> {
    let wrong = |why: &str| {
        BadMirror::new(
            format!("`{}` is no place of a matrix: {why}", shown(&mask(at))),
            "name a folder of YAML files, or one file, as for --matrix",
        )
    };
    if at.is_empty() || at.len() > 4096 || at.chars().any(char::is_control) {
        return Err(wrong("it is empty, too long, or no name of a file"));
    }
    if at.contains("://") {
        return Err(wrong("it is read from this machine's disk"));
    }
    Ok(at.to_owned())
}

/// `HOST[:PORT][/PATH]`; with `http://` on this machine alone.
fn registry(of: &str, at: &str) -> Result<String, BadMirror> {
    const HELP: &str = "write a form like `registry.example.org/hub`, or `http://127.0.0.1:5000/hub` for a registry on this machine";
    without_secret(of, at)?;
    let wrong =
        |why: &str| BadMirror::new(format!("`{}` is no mirror of `{of}`: {why}", shown(at)), HELP);
    // Registries speak https unless told otherwise.
    let (scheme, rest) = match at.split_once("://") {
        Some(("https", rest)) => ("", rest),
        Some(("http", rest)) => ("http://", rest),
        Some(_) => return Err(wrong("a registry is asked by https")),
        None => ("", at),
    };
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    let (place, path) = rest.split_once('/').map_or((rest, None), |(p, path)| (p, Some(path)));
    let (host, port) = place.split_once(':').map_or((place, None), |(h, port)| (h, Some(port)));
    if rest.len() > MAX_ADDRESS
        || !is_host(host)
        || port.is_some_and(|port| port.parse::<u16>().is_err() || port.starts_with('+'))
    {
        return Err(wrong("it names no host and port"));
    }
    if path.is_some_and(|path| !path.split('/').all(is_segment)) {
        return Err(wrong(
            "the path of an image has small letters, digits and inner `.`, `_`, `-`",
        ));
    }
    let loopback = host == "localhost"
        || host.parse::<std::net::Ipv4Addr>().is_ok_and(|address| address.is_loopback());
    if !scheme.is_empty() && !loopback {
        return Err(wrong("plain http is for this machine alone"));
    }
    // Without a dot or a port, a reference would take the name for a part of the path.
    if !host.contains('.') && port.is_none() && host != "localhost" {
        return Err(wrong("its host has neither a dot nor a port"));
    }
    Ok(format!("{scheme}{rest}"))
}

fn is_host(text: &str) -> bool {
    let label = |part: &str| {
        (1..=63).contains(&part.len())
            && part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
            && !part.starts_with('-')
            && !part.ends_with('-')
    };
    text.len() <= 253 && text.split('.').all(label)
}

/// A part of a repository's name, as the distribution specification has it.
fn is_segment(text: &str) -> bool {
    let word = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let edge = |b: Option<u8>| b.is_some_and(word);
    edge(text.bytes().next())
        && edge(text.bytes().next_back())
        && text.bytes().all(|b| word(b) || b"._-".contains(&b))
}

/// The host of a registry, told from a key by its dot or port.
fn is_registry(of: &str) -> bool {
    let (host, port) = of.split_once(':').map_or((of, None), |(host, port)| (host, Some(port)));
    is_host(host)
        && !host.bytes().any(|b| b.is_ascii_uppercase())
        && port.is_none_or(|port| port.parse::<u16>().is_ok() && !port.starts_with('+'))
        && (host.contains('.') || port.is_some() || host == "localhost")
}

fn unknown(of: &str) -> BadMirror {
    let near = Mirrors::KEYS
        .iter()
        .map(|key| (strsim::jaro_winkler(key, of), key))
        .max_by(|a, b| a.0.total_cmp(&b.0));
    let help = match near {
        Some((score, key)) if score > 0.65 => format!("did you mean `{key}`?"),
        _ => "known are pypi, pytorch, matrix, and registries by their host, like docker.io".into(),
    };
    let message = format!("mirrors: there is no `{}` to stand in for", shown(of));
    BadMirror { key: true, ..BadMirror::new(message, &help) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(of: &str, at: &str) -> Result<Mirrors, BadMirror> {
        let mut mirrors = Mirrors::default();
        mirrors.set(of, at).map(|()| mirrors)
    }

    #[test]
    fn mirrors_read() {
        for (of, given, read) in [
            ("pypi", "https://mirror.example.org/simple/", "https://mirror.example.org/simple"),
            ("pytorch", " http://10.0.0.5:8080/whl ", "http://10.0.0.5:8080/whl"),
            ("docker.io", "registry.example.org/hub/", "registry.example.org/hub"),
            ("docker.io", "https://registry.example.org:5443", "registry.example.org:5443"),
            ("ghcr.io", "http://127.0.0.1:5000/gh_cr/x", "http://127.0.0.1:5000/gh_cr/x"),
            ("registry.corp:5000", "localhost/x", "localhost/x"),
        ] {
            let mirrors = set(of, given).expect(given);
            let pairs: Vec<_> = mirrors.pairs().collect();
            assert_eq!(pairs, [(of, read)], "{given}");
        }
        assert_eq!(
            set("matrix", "../facts").expect("a folder").matrix.as_deref(),
            Some("../facts")
        );
        assert!(Mirrors::default().is_empty() && !set("matrix", "x").expect("x").is_empty());
    }

    #[test]
    fn mirrors_refused() {
        for (of, given, word) in [
            ("pypi", "", "empty"),
            ("pypi", "mirror.example.org", "neither with `https://`"),
            ("pypi", "ftp://a.test", "neither with"),
            ("pypi", "https://a.test/?x=1", "`?`"),
            ("pypi", "https://a.test/#x", "`#`"),
            ("pypi", "https://a.test/a b", "letters"),
            ("pypi", "https://a.test/'$(id)'", "letters"),
            ("pypi", "https://a.test/x\nRUN id", "letters"),
            ("pypi", "https:///simple//x", "empty part"),
            ("pypi", "https://a..test/", "no host"),
            ("pypi", "https://", "cannot be read"),
            ("pypi", &format!("https://a.test/{}", "x".repeat(500)), "too long"),
            ("pytorch", "https://me:secret@a.test/whl", "credentials"),
            ("docker.io", "me:secret@registry.example.org", "credentials"),
            ("docker.io", "http://registry.example.org", "plain http"),
            ("docker.io", "http://127.0.0.1.example.org", "plain http"),
            ("docker.io", "oci://registry.example.org", "https"),
            ("docker.io", "registry", "neither a dot nor a port"),
            ("docker.io", "registry.example.org:x/hub", "no host and port"),
            ("docker.io", "registry.example.org/Hub", "path"),
            ("docker.io", "registry.example.org/a//b", "path"),
            ("docker.io", "registry.example.org/../x", "path"),
            ("docker.io", "", "no host"),
            ("matrix", "", "empty"),
            ("matrix", "https://a.test/facts", "disk"),
            ("pipy", "https://a.test", "no `pipy`"),
            ("Docker.io", "registry.example.org", "no `Docker.io`"),
            ("docker.io/library", "registry.example.org", "no `docker.io/library`"),
        ] {
            let err = set(of, given).expect_err(given);
            let text = err.to_string();
            assert!(text.contains(word), "{given}: {text}");
            assert!(!text.contains("secret") && !text.contains('\n') && err.help.is_some());
            assert_eq!(err.secret, word == "credentials");
        }
    }

    #[test]
    fn variables_name_registries() {
        let mut mirrors = set("my-registry.corp.test:5000", "a.test").expect("a mirror");
        for (suffix, of) in [
            ("PYPI", "pypi"),
            ("PYTORCH", "pytorch"),
            ("MATRIX", "matrix"),
            ("DOCKER_IO", "docker.io"),
            ("GHCR_IO", "ghcr.io"),
            ("MY_REGISTRY_CORP_TEST_5000", "my-registry.corp.test:5000"),
            ("REGISTRY_CORP_TEST", "registry.corp.test"),
        ] {
            assert_eq!(mirrors.named_by(suffix), of);
        }
        assert!(mirrors.set(&mirrors.named_by("PIPY"), "https://a.test").is_err());
    }
}
