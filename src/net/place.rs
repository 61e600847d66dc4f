//! Where a request goes, and how a URL is shown.

use std::fmt;
use std::str::FromStr;

use url::Url;

use super::Error;

/// Scheme, host and port: what credentials belong to, and what a mirror fences in.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Origin(String);

impl Origin {
    /// The origin of a URL; only `http` and `https` have one here.
    pub fn of(url: &Url) -> Option<Self> {
        let known = matches!(url.scheme(), "http" | "https") && url.host().is_some();
        known.then(|| Self(url.origin().ascii_serialization()))
    }
}

impl FromStr for Origin {
    type Err = Error;

    /// From any URL that has it.
    fn from_str(given: &str) -> Result<Self, Error> {
        let url = Url::parse(given).map_err(|_| Error::Scheme { url: hidden(given) })?;
        Self::of(&url).ok_or_else(|| Error::Scheme { url: masked(&url) })
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A text that is no URL may hold a password all the same.
fn hidden(given: &str) -> String {
    given.rsplit_once('@').map_or(given, |(_, after)| after).chars().take(200).collect()
}

/// Hides what may be a secret in anything that is shown.
const MASK: &str = "****";

/// A URL as it may be shown: user info and every value of the query hidden, no fragment.
pub fn masked(url: &Url) -> String {
    if url.cannot_be_a_base() {
        // `mailto:` and the like: what is what in there only they know.
        return format!("{}:{MASK}", url.scheme());
    }
    let mut shown = url.clone();
    shown.set_fragment(None);
    let secret = !url.username().is_empty() || url.password().is_some();
    if secret {
        // Both fail only on URLs without a host, which have no user info either.
        let _ = shown.set_password(None);
        let _ = shown.set_username(MASK);
    }
    if let Some(query) = url.query() {
        let hidden: Vec<String> = query
            .split('&')
            .map(|pair| match pair.split_once('=') {
                Some((name, _)) => format!("{name}={MASK}"),
                None if pair.is_empty() => String::new(),
                // A token alone has no name to keep.
                None => MASK.to_owned(),
            })
            .collect();
        shown.set_query(Some(&hidden.join("&")));
    }
    shown.into()
}

/// The URL without user info and fragment: what is asked, stored and compared.
pub(super) fn bare(url: &Url) -> Url {
    let mut bare = url.clone();
    bare.set_fragment(None);
    let _ = bare.set_password(None);
    let _ = bare.set_username("");
    bare
}

/// Where a redirect leads, without the user info that it may carry: a server has none to give.
pub(super) fn followed(from: &Url, location: &str) -> Result<Url, Error> {
    let to = from.join(location).map_err(|_| Error::Location { url: masked(from) })?;
    if Origin::of(&to).is_none() {
        return Err(Error::Scheme { url: masked(&to) });
    }
    if from.scheme() == "https" && to.scheme() != "https" {
        return Err(Error::Downgrade { from: masked(from), to: masked(&to) });
    }
    Ok(bare(&to))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        Url::parse(text).expect("a URL")
    }

    #[test]
    fn secrets_are_not_shown() {
        for (given, shown) in [
            (
                "https://a:b@example.org/x?token=1&y&z=2#sha256=3",
                "https://****@example.org/x?token=****&****&z=****",
            ),
            ("https://token@example.org/", "https://****@example.org/"),
            ("https://:b@example.org/", "https://****@example.org/"),
            ("https://example.org/simple/", "https://example.org/simple/"),
            ("https://example.org/?", "https://example.org/?"),
        ] {
            assert_eq!(masked(&url(given)), shown);
        }
        let error =
            "nonsense:user:secret@example.org:99999999/".parse::<Origin>().expect_err("no origin");
        assert!(!error.to_string().contains("secret"), "{error}");
    }

    #[test]
    fn origins_have_the_port_that_is_meant() {
        let origin = |text: &str| text.parse::<Origin>().expect("an origin").to_string();
        assert_eq!(origin("https://u:p@Example.org:443/x"), "https://example.org");
        assert_eq!(origin("http://[::1]:8080/"), "http://[::1]:8080");
        for text in ["file:///etc/passwd", "ftp://example.org/", "example.org", ""] {
            assert!(text.parse::<Origin>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn redirects_do_not_lead_astray() {
        let from = url("https://example.org/a/b");
        let to = |location: &str| followed(&from, location);
        assert_eq!(to("../c?d#e").expect("a URL").as_str(), "https://example.org/c?d");
        assert_eq!(to("//u:p@cdn.test/x").expect("a URL").as_str(), "https://cdn.test/x");
        assert!(matches!(to("http://example.org/a"), Err(Error::Downgrade { .. })));
        assert!(matches!(to("file:///etc/passwd"), Err(Error::Scheme { .. })));
        assert!(matches!(to("https://[/"), Err(Error::Location { .. })));
        assert!(followed(&url("http://example.org/"), "https://example.org/").is_ok());
    }
}
