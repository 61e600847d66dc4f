//! Addresses: their credentials, the build that an index serves, what a wheel's name tells.

use super::demand::Link;
use crate::domain::WheelVariant;

/// What stands for a credential.
const MASK: &str = "***";

/// A text in which every address has lost its credentials: `https://***@host/`.
///
/// `git@host` without a password names an account of everybody and stays.
pub fn mask(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let (before, after) = rest.split_at(at + 3);
        out.push_str(before);
        // A quote that opened it closes it; another one may stand in a password.
        let scheme = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.');
        let opened = before[..at].trim_end_matches(scheme).chars().next_back();
        let close = match opened {
            Some('<') => Some('>'),
            Some(quote @ ('"' | '\'' | '`')) => Some(quote),
            _ => None,
        };
        let ends = |c: char| c.is_whitespace() || Some(c) == close;
        let whole = &after[..after.find(ends).unwrap_or(after.len())];
        // What belongs to it ends at the first `/`, unless a password was written with one in it.
        let host = whole.find(['/', '?', '#']).unwrap_or(whole.len());
        let end = match whole[..host].rsplit_once(':') {
            // What looks like a port is one behind a host, and a password behind a name.
            Some((name, port)) if !whole[..host].contains('@') => {
                let number = port.bytes().all(|b| b.is_ascii_digit());
                let is_host = name.contains('.') || name == "localhost" || name.ends_with(']');
                if number && (is_host || !whole.contains('@')) { host } else { whole.len() }
            }
            _ => host,
        };
        let cut = whole[..end].rfind('@');
        match cut {
            Some(at) if &whole[..at] != "git" => {
                out.push_str(MASK);
                out.push_str(&secrets(&whole[at..]));
            }
            _ => out.push_str(&secrets(whole)),
        }
        rest = &after[whole.len()..];
    }
    out.push_str(rest);
    out
}

/// `?token=...` in what is left of an address.
fn secrets(address: &str) -> String {
    let Some((path, query)) = address.split_once('?') else { return address.to_owned() };
    let (query, fragment) = query.split_once('#').map_or((query, ""), |(q, f)| (q, f));
    let words = ["token", "key", "secret", "password", "passwd", "sig", "auth", "credential"];
    let query: Vec<String> = query
        .split('&')
        .map(|pair| match pair.split_once('=') {
            Some((name, _)) if words.iter().any(|w| name.to_ascii_lowercase().contains(w)) => {
                format!("{name}={MASK}")
            }
            _ => pair.to_owned(),
        })
        .collect();
    let hash = if fragment.is_empty() { "" } else { "#" };
    format!("{path}?{}{hash}{fragment}", query.join("&"))
}

/// The build that an index or a folder of wheels serves: the last part of its path that names one.
pub fn variant_of(address: &str) -> Option<WheelVariant> {
    let path = address.split(['?', '#']).next().unwrap_or_default();
    path.rsplit('/').find_map(|part| part.parse().ok())
}

/// Whether an address is a page of the PyTorch wheel index, or of a mirror that keeps its layout.
pub fn is_pytorch(address: &str) -> bool {
    address.contains("download.pytorch.org/whl")
        || address.contains("download-r2.pytorch.org/whl")
        || address.contains("pytorch-wheels")
        || variant_of(address).is_some()
}

/// Whether it is the address of something and not a name: a scheme, or a path.
pub fn is_link(text: &str) -> bool {
    let scheme = text.split_once("://").map(|(scheme, _)| scheme);
    scheme.is_some_and(|s| {
        s.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.'))
    }) || ["file:", "git+", "hg+", "svn+", "bzr+"].iter().any(|scheme| text.starts_with(scheme))
        || is_path(text)
}

/// Whether it is a path of this project rather than a name.
pub fn is_path(text: &str) -> bool {
    let head = text.split(['[', ' ', ';']).next().unwrap_or_default();
    head == "."
        || head == ".."
        || head.starts_with("./")
        || head.starts_with("../")
        || head.starts_with('/')
        || head.starts_with(".\\")
        || head.starts_with("..\\")
        || head.starts_with("~/")
        || (head.contains('/') && !head.contains('@'))
        || [".whl", ".tar.gz", ".zip"].iter().any(|end| head.ends_with(end)) && !head.contains('@')
}

/// Reads an address: what a wheel's name tells, or that it is a repository or a folder.
pub fn read(address: &str) -> Link {
    let plain = address.split(['?', '#']).next().unwrap_or_default();
    let plain = plain.trim_end_matches('/');
    let file = plain.rsplit(['/', '\\']).next().unwrap_or_default();
    let scheme = address.split_once("://").map_or("", |(scheme, _)| scheme);
    let vcs = scheme.contains('+') && !scheme.ends_with("+file") || scheme == "git";
    let mut link = Link {
        address: mask(address),
        vcs,
        local: scheme.is_empty() || scheme == "file" || address.starts_with("file:"),
        ..Link::default()
    };
    if let Some(stem) = file.strip_suffix(".whl") {
        let stem = stem.replace("%2B", "+").replace("%2b", "+");
        let mut parts = stem.split('-');
        link.name = parts.next().map(crate::domain::normalise_name);
        link.version = parts.next().and_then(|v| v.parse().ok());
        let tags: Vec<_> = parts.collect();
        if let Some(at) = tags.len().checked_sub(3).filter(|at| *at < 2) {
            // Of the ABI only the stable one matters: such a file serves later Pythons too.
            let stable = tags[at + 1] == "abi3";
            let tag = tags[at];
            link.python = Some(if stable { format!("{tag}-abi3") } else { tag.to_owned() });
            link.platform = tags.last().map(|t| (*t).to_owned());
        }
    } else if let Some(stem) =
        [".tar.gz", ".zip", ".tar.bz2"].iter().find_map(|end| file.strip_suffix(end))
        && let Some((name, version)) = stem.rsplit_once('-')
        && let Ok(version) = version.replace("%2B", "+").replace("%2b", "+").parse()
    {
        link.name = Some(crate::domain::normalise_name(name));
        link.version = Some(version);
    } else if let Some(name) = address.split_once("#egg=").or_else(|| address.split_once("&egg=")) {
        let name = name.1.split(['&', '[']).next().unwrap_or_default();
        link.name = Some(crate::domain::normalise_name(name));
    }
    // A tag such as `v2.6.3` is the release that it names.
    let rev = plain.rsplit_once('@').map_or("", |(_, rev)| rev);
    if link.vcs && link.version.is_none() && rev.contains('.') && !rev.contains('/') {
        link.version = rev.strip_prefix('v').unwrap_or(rev).parse().ok();
    }
    link
}

impl Link {
    /// The build that it carries: its local label, or the folder that it lies in.
    pub fn variant(&self) -> Option<WheelVariant> {
        let label = self
            .version
            .as_ref()
            .map(|v| v.local().iter().map(ToString::to_string).collect::<Vec<_>>().join("."));
        label.and_then(|label| label.parse().ok()).or_else(|| {
            let folder = self.address.rsplit_once('/').map_or("", |(folder, _)| folder);
            variant_of(folder)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_masked() {
        for (text, masked) in [
            ("https://user:pw@host/simple", "https://***@host/simple"),
            ("--index-url https://${TOKEN}@host/simple x", "--index-url https://***@host/simple x"),
            ("url = \"https://__token__:a/b@host/x\"", "url = \"https://***@host/x\""),
            ("https://host.example:8080/x@v1", "https://host.example:8080/x@v1"),
            ("https://user:2024/ab@host/x", "https://***@host/x"),
            ("https://user:123#x@host/", "https://***@host/"),
            ("https://user:p'w@host/ x", "https://***@host/ x"),
            ("'https://user:p\"w@host/' x", "'https://***@host/' x"),
            ("<https://u:p@host/>, a@b", "<https://***@host/>, a@b"),
            ("git+ssh://git@github.com/a/b@main", "git+ssh://git@github.com/a/b@main"),
            ("git+https://ghp_x@github.com/a/b.git@v1", "git+https://***@github.com/a/b.git@v1"),
            ("https://host/x?token=abc&a=1#h", "https://host/x?token=***&a=1#h"),
            ("a://b://c", "a://b://c"),
            ("no address @ all", "no address @ all"),
        ] {
            assert_eq!(mask(text), masked);
        }
    }

    #[test]
    fn addresses_tell_the_build() {
        let variant = |text: &str| variant_of(text).map(|v| v.to_string());
        assert_eq!(variant("https://download.pytorch.org/whl/cu128").as_deref(), Some("cu128"));
        assert_eq!(
            variant("https://download.pytorch.org/whl/nightly/cu126/").as_deref(),
            Some("cu126")
        );
        assert_eq!(
            variant("https://download.pytorch.org/whl/cu111/torch_stable.html").as_deref(),
            Some("cu111")
        );
        assert_eq!(variant("https://download.pytorch.org/whl/torch_stable.html"), None);
        let wheel = read(
            "https://download.pytorch.org/whl/cu121/torch-2.3.0%2Bcu121-cp310-cp310-linux_x86_64.whl#sha256=00",
        );
        assert_eq!(wheel.name.as_deref(), Some("torch"));
        assert_eq!(wheel.variant().map(|v| v.to_string()).as_deref(), Some("cu121"));
        assert_eq!(
            (wheel.python.as_deref(), wheel.platform.as_deref()),
            (Some("cp310"), Some("linux_x86_64"))
        );
        let git = read("git+https://github.com/Dao-AILab/flash-attention@v2.6.3#egg=flash-attn");
        assert!(git.vcs && git.name.as_deref() == Some("flash-attn"));
    }
}
