//! Names of images, and where a registry is asked for them.

use oci_client::Reference;
use url::{Host, Url};

use super::RegistryError;
use crate::domain::{Platform, shown};

/// What Docker's own registry is called in names, and where its protocol is spoken.
const HUB: (&str, &str) = ("docker.io", "registry-1.docker.io");

/// An image by its tag, for one platform.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Wanted {
    /// The registry as names have it: `docker.io`, `ghcr.io`.
    pub registry: String,
    /// `library/python`, `nvidia/cuda`, `astral-sh/uv`.
    pub repository: String,
    /// `3.12-slim-trixie`
    pub tag: String,
    /// The machine that it has to run on.
    pub platform: Platform,
}

impl Wanted {
    /// Reads a repository as people write it: `python`, `nvidia/cuda`, `ghcr.io/astral-sh/uv`.
    ///
    /// # Errors
    /// Refuses what is no repository and tag by the rules of Docker's references, a repository that
    /// brings a tag or digest of its own included.
    pub fn parse(repository: &str, tag: &str, platform: Platform) -> Result<Self, RegistryError> {
        let bad = || RegistryError::Name { given: shown(&format!("{repository}:{tag}")) };
        // A repository of 255 letters, a host and a tag of 128: anything longer is no name.
        if repository.len() + tag.len() > 1024 || tag.contains('@') {
            return Err(bad());
        }
        // Before it is read: `library/` is put before official images of the hub alone.
        let full = match repository.split_once('/') {
            Some((host, rest)) => format!("{}/{rest}:{tag}", canonical(host)),
            None => format!("{repository}:{tag}"),
        };
        let read = Reference::try_from(full).map_err(|_| bad())?;
        let wanted = Self {
            registry: read.registry().into(),
            repository: read.repository().into(),
            tag: tag.into(),
            platform,
        };
        // A name that reads in another way than it was put together is not what was meant.
        if read.tag() != Some(tag) || read.digest().is_some() {
            return Err(bad());
        }
        Place::of(None, &wanted.registry)?;
        Ok(wanted)
    }

    /// `docker.io/library/python:3.12-slim-trixie`, whoever is asked for it.
    pub fn reference(&self) -> String {
        format!("{}:{}", reference(None, &self.registry, &self.repository), self.tag)
    }
}

/// A repository as an engine pulls it, without tag: below its mirror where there is one.
///
/// `registry.example.org/hub/library/python` for `library/python` of `docker.io`, mirrored at
/// `registry.example.org/hub`.
pub fn reference(mirror: Option<&str>, registry: &str, repository: &str) -> String {
    let base = mirror.map_or(registry, |mirror| schemeless(mirror).1);
    format!("{base}/{repository}")
}

/// The name that names have, of the several that a registry goes by.
pub(super) fn canonical(registry: &str) -> &str {
    if [HUB.1, "index.docker.io"].contains(&registry) { HUB.0 } else { registry }
}

/// `http` or `https` where it is written, and the rest without slashes at its end.
fn schemeless(mirror: &str) -> (Option<&str>, &str) {
    let (scheme, rest) = match mirror.split_once("://") {
        Some((scheme, rest)) => (Some(scheme), rest),
        None => (None, mirror),
    };
    (scheme, rest.trim_end_matches('/'))
}

/// Where a registry is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    /// Without TLS: on this machine, or written so.
    pub http: bool,
    /// `registry-1.docker.io`, `127.0.0.1:5000`.
    pub host: String,
    /// What the mirror puts before every repository, with its slash; or nothing.
    prefix: String,
    /// It stands for another registry, and nobody else is asked.
    pub mirror: bool,
}

impl Place {
    /// The mirror of a registry, or the registry itself.
    pub fn of(mirror: Option<&str>, registry: &str) -> Result<Self, RegistryError> {
        let given = mirror.unwrap_or(if registry == HUB.0 { HUB.1 } else { registry });
        let bad = |reason| RegistryError::Place {
            registry: shown(registry),
            given: shown(given),
            reason,
        };
        let (scheme, rest) = schemeless(given);
        let (host, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        let plain = |c: char| c.is_ascii_alphanumeric() || ".-:[]".contains(c);
        if host.is_empty() || given.len() > 512 || !host.chars().all(plain) {
            return Err(bad("it is no host with an optional port and path"));
        }
        let segment = |s: &str| {
            !s.is_empty()
                && s != "."
                && s != ".."
                && s.chars()
                    .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "._-".contains(c))
        };
        if !prefix.is_empty() && !prefix.split('/').all(segment) {
            return Err(bad("its path is no repository: lower case letters, digits and `._-`"));
        }
        // Any scheme does to read the host; `https` without a port is 443.
        let url = Url::parse(&format!("https://{host}/"))
            .map_err(|_| bad("it is no host with an optional port and path"))?;
        let http = match scheme {
            Some("http") => true,
            Some("https") => false,
            None => loopback(&url),
            Some(_) => return Err(bad("only `http` and `https` are spoken")),
        };
        let prefix = if prefix.is_empty() { String::new() } else { format!("{prefix}/") };
        Ok(Self { http, host: host.to_owned(), prefix, mirror: mirror.is_some() })
    }

    /// A repository as this place names it.
    pub fn repository(&self, repository: &str) -> String {
        format!("{}{repository}", self.prefix)
    }

    /// An address of the registry protocol.
    pub fn url(&self, path: &str) -> Result<Url, RegistryError> {
        let scheme = if self.http { "http" } else { "https" };
        Url::parse(&format!("{scheme}://{}/v2/{path}", self.host)).map_err(|_| {
            RegistryError::Place {
                registry: self.host.clone(),
                given: shown(path),
                reason: "it makes no address",
            }
        })
    }
}

/// Whether an address is this machine.
pub(super) fn loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        None => false,
    }
}

/// Whether a host belongs to the surroundings of another: the same, above it, below it, or beside it
/// below one domain, as the token server and the store of a registry are.
pub(super) fn beside(one: &Url, other: &Url) -> bool {
    match (one.host(), other.host()) {
        (Some(Host::Domain(one)), Some(Host::Domain(other))) => {
            let parent = |name: &str| {
                name.split_once('.').map(|(_, rest)| rest.to_owned()).filter(|p| p.contains('.'))
            };
            one == other
                || parent(one).is_some_and(|p| p == other || parent(other) == Some(p))
                || parent(other).is_some_and(|p| p == one)
        }
        (one, other) => one == other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(repository: &str, tag: &str) -> Option<String> {
        Wanted::parse(repository, tag, Platform::LinuxAmd64).ok().map(|w| w.reference())
    }

    #[test]
    fn repositories_are_read_as_written() {
        for (given, full) in [
            ("python", "docker.io/library/python:1"),
            ("nvidia/cuda", "docker.io/nvidia/cuda:1"),
            ("docker.io/python", "docker.io/library/python:1"),
            ("index.docker.io/library/python", "docker.io/library/python:1"),
            ("registry-1.docker.io/nvidia/cuda", "docker.io/nvidia/cuda:1"),
            ("registry-1.docker.io/python", "docker.io/library/python:1"),
            ("ghcr.io/astral-sh/uv", "ghcr.io/astral-sh/uv:1"),
            ("localhost:5000/a/b/c", "localhost:5000/a/b/c:1"),
            ("nvcr.io/nvidia/pytorch", "nvcr.io/nvidia/pytorch:1"),
        ] {
            assert_eq!(parse(given, "1").as_deref(), Some(full), "{given}");
        }
    }

    #[test]
    fn what_is_no_name_is_refused() {
        let long = "a/".repeat(200) + "a";
        let digest = format!("3@sha256:{}", "0".repeat(64));
        for (repository, tag) in [
            ("", "1"),
            ("Python", "1"),
            ("python:3", "1"),
            ("../x", "1"),
            ("ghcr.io/../x", "1"),
            ("python\n", "1"),
            ("python", ""),
            ("python", "a b"),
            ("python", "$(id)"),
            ("python", "a/b"),
            ("python", &digest),
            ("python@sha256", "1"),
            ("user:word@example.org/x", "1"),
            ("example.org:99999/x", "1"),
            (&long, "1"),
            ("python", &"x".repeat(129)),
        ] {
            assert_eq!(parse(repository, tag), None, "{repository:?} {tag:?}");
        }
    }

    #[test]
    fn a_mirror_says_where() {
        let at = |mirror: &str| Place::of(Some(mirror), "docker.io").ok();
        let url = |mirror: &str| {
            let place = at(mirror).expect("a place");
            place.url(&place.repository("library/python")).expect("an address").to_string()
        };
        assert_eq!(
            url("registry.example.org/hub"),
            "https://registry.example.org/v2/hub/library/python"
        );
        assert_eq!(
            url("https://registry.example.org/"),
            "https://registry.example.org/v2/library/python"
        );
        assert_eq!(url("http://127.0.0.1:5000/hub"), "http://127.0.0.1:5000/v2/hub/library/python");
        assert_eq!(url("127.0.0.1:5000"), "http://127.0.0.1:5000/v2/library/python");
        assert_eq!(url("https://localhost:5000"), "https://localhost:5000/v2/library/python");
        assert_eq!(url("[::1]:5000"), "http://[::1]:5000/v2/library/python");
        // Not this machine, and not written: TLS.
        assert_eq!(
            url("localhost.example.org:5000/a/b/"),
            "https://localhost.example.org:5000/v2/a/b/library/python"
        );
        assert_eq!(
            url("http://registry.example.org"),
            "http://registry.example.org/v2/library/python"
        );
        for bad in [
            "",
            "/hub",
            "ftp://x",
            "a@example.org",
            "example.org/a b",
            "example.org/../x",
            "example.org/a?b",
            "example.org//x",
            "example.org/Hub",
            "example.org:port",
            "a b",
            "[::1",
        ] {
            assert_eq!(at(bad), None, "{bad:?}");
        }
        assert_eq!(
            Place::of(None, "docker.io").expect("the hub").url("").expect("an address").as_str(),
            "https://registry-1.docker.io/v2/"
        );
    }

    #[test]
    fn references_are_rendered_below_their_mirror() {
        let name = |mirror| reference(mirror, "docker.io", "library/python");
        assert_eq!(name(None), "docker.io/library/python");
        assert_eq!(
            name(Some("registry.example.org/hub")),
            "registry.example.org/hub/library/python"
        );
        assert_eq!(name(Some("http://127.0.0.1:5000/hub/")), "127.0.0.1:5000/hub/library/python");
    }

    #[test]
    fn neighbours_share_a_domain_that_is_somebodys() {
        let beside = |one: &str, other: &str| {
            let url = |host: &str| Url::parse(&format!("https://{host}/")).expect("an address");
            super::beside(&url(one), &url(other))
        };
        assert!(beside("registry.example.org", "registry.example.org"));
        assert!(beside("registry.example.org", "auth.example.org"));
        assert!(beside("registry.git.example.org", "git.example.org"));
        assert!(beside("git.example.org", "registry.git.example.org"));
        assert!(!beside("registry.example.org", "auth.docker.io"));
        assert!(!beside("example.org", "docker.org"));
        assert!(beside("127.0.0.1", "127.0.0.1"));
        assert!(!beside("127.0.0.1", "127.0.0.2"));
    }
}
