//! An index page in the cache, with what is needed to ask whether it still holds.

use std::time::{SystemTime, UNIX_EPOCH};

use reqwest::header::{
    AGE, CACHE_CONTROL, ETAG, HeaderMap, HeaderName, IF_MODIFIED_SINCE, IF_NONE_MATCH,
    LAST_MODIFIED,
};
use serde::{Deserialize, Serialize};
use url::Url;

use super::client::Page;
use super::place::bare;

/// Kind of these entries in the cache.
pub(super) const PAGES: &str = "pages";
/// However long a server says that a page holds, nobody goes without a new release for longer.
const LONGEST: u64 = 600;

/// A page and what its server said about it.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Stored {
    url: Url,
    content_type: Option<String>,
    etag: Option<String>,
    changed: Option<String>,
    /// When it came, in seconds since 1970.
    taken: u64,
    /// For how many seconds it holds.
    holds: u64,
    #[serde(skip)]
    body: Vec<u8>,
}

/// The key of a page: what was asked, and who asked. Pages that only some may see are kept apart by
/// the user; the password is not part of it, and is written nowhere.
pub(super) fn key(url: &Url, accept: &str, user: Option<&str>) -> String {
    let mut key = format!("{}\n{accept}", bare(url));
    if let Some(user) = user {
        key.push('\n');
        key.push_str(user);
    }
    key
}

/// Now, in seconds since 1970.
pub(super) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// A header as text.
pub(super) fn header(headers: &HeaderMap, name: &HeaderName) -> Option<String> {
    headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned)
}

/// For how long an answer holds, in seconds; nothing when it may not be kept at all.
fn holds(headers: &HeaderMap) -> Option<u64> {
    let mut age = 0u64;
    let mut seconds = 0u64;
    let mut asks = false;
    for value in headers.get_all(CACHE_CONTROL) {
        for word in value.to_str().unwrap_or_default().split(',') {
            let word = word.trim().to_ascii_lowercase();
            match word.split_once('=') {
                Some(("max-age", given)) => {
                    seconds = given.trim().trim_matches('"').parse().unwrap_or(0);
                }
                None if word == "no-store" => return None,
                None if word == "no-cache" => asks = true,
                _ => (),
            }
        }
    }
    if let Some(given) = header(headers, &AGE) {
        age = given.trim().parse().unwrap_or(0);
    }
    Some(if asks { 0 } else { seconds.saturating_sub(age).min(LONGEST) })
}

impl Stored {
    /// An answer, unless its server says that it may not be kept.
    pub(super) fn new(headers: &HeaderMap, page: &Page, now: u64) -> Option<Self> {
        Some(Self {
            url: page.url.clone(),
            content_type: page.content_type.clone(),
            etag: header(headers, &ETAG),
            changed: header(headers, &LAST_MODIFIED),
            taken: now,
            holds: holds(headers)?,
            body: page.body.clone(),
        })
    }

    /// The same page, found to hold still. The answer may bring new validators.
    pub(super) fn renewed(mut self, headers: &HeaderMap, now: u64) -> Self {
        self.etag = header(headers, &ETAG).or(self.etag);
        self.changed = header(headers, &LAST_MODIFIED).or(self.changed);
        self.taken = now;
        self.holds = holds(headers).unwrap_or(0);
        self
    }

    /// Whether it needs no question.
    pub(super) fn holds(&self, now: u64) -> bool {
        // A clock that went back makes nothing fresh.
        now.checked_sub(self.taken).is_some_and(|age| age < self.holds.min(LONGEST))
    }

    /// The headers that ask whether it has changed; none if its server gave nothing to ask with.
    pub(super) fn question(&self) -> Vec<(HeaderName, &str)> {
        let etag = self.etag.as_deref().map(|etag| (IF_NONE_MATCH, etag));
        let changed = self.changed.as_deref().map(|changed| (IF_MODIFIED_SINCE, changed));
        etag.into_iter().chain(changed).collect()
    }

    /// Where it came from in the end.
    pub(super) fn url(&self) -> &Url {
        &self.url
    }

    /// The page.
    pub(super) fn page(self) -> Page {
        Page { body: self.body, content_type: self.content_type, url: self.url }
    }

    /// As an entry of the cache: one line of JSON, then the body.
    pub(super) fn write(&self) -> Option<Vec<u8>> {
        let mut entry = serde_json::to_vec(self).ok()?;
        entry.push(b'\n');
        entry.extend_from_slice(&self.body);
        Some(entry)
    }

    /// From an entry of the cache.
    pub(super) fn read(mut entry: Vec<u8>) -> Option<Self> {
        let line = entry.iter().position(|byte| *byte == b'\n')?;
        let mut stored: Self = serde_json::from_slice(&entry[..line]).ok()?;
        entry.drain(..=line);
        stored.body = entry;
        Some(stored)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(list: &[(HeaderName, &'static str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in list {
            map.append(name.clone(), value.parse().expect("a value"));
        }
        map
    }

    #[test]
    fn pages_hold_as_long_as_their_server_says_and_ten_minutes_at_most() {
        for (list, seconds) in [
            (vec![], Some(0)),
            (vec![(CACHE_CONTROL, "max-age=60, public")], Some(60)),
            (vec![(CACHE_CONTROL, "public"), (CACHE_CONTROL, "Max-Age=\"60\"")], Some(60)),
            (vec![(CACHE_CONTROL, "max-age=60"), (AGE, "45")], Some(15)),
            (vec![(CACHE_CONTROL, "max-age=60"), (AGE, "450")], Some(0)),
            (vec![(CACHE_CONTROL, "max-age=31536000")], Some(600)),
            (vec![(CACHE_CONTROL, "max-age=600, no-cache")], Some(0)),
            (vec![(CACHE_CONTROL, "max-age=600, no-store")], None),
            (vec![(CACHE_CONTROL, "max-age=never")], Some(0)),
        ] {
            assert_eq!(holds(&headers(&list)), seconds, "{list:?}");
        }
    }

    #[test]
    fn entries_come_back_as_they_went() {
        let url = Url::parse("https://u:p@example.org/x/?a=b").expect("a URL");
        let page = Page { body: b"\n\0<a>".to_vec(), content_type: None, url: bare(&url) };
        let said = headers(&[(ETAG, "\"1\""), (CACHE_CONTROL, "max-age=9")]);
        let stored = Stored::new(&said, &page, 100).expect("may be kept");
        let entry = stored.write().expect("an entry");
        let again = Stored::read(entry.clone()).expect("an entry");
        assert!(again.holds(100) && again.holds(108) && !again.holds(109) && !again.holds(99));
        assert_eq!(again.question(), [(IF_NONE_MATCH, "\"1\"")]);
        let renewed = again.renewed(&headers(&[(LAST_MODIFIED, "then")]), 200);
        assert_eq!(renewed.question().len(), 2);
        assert!(!renewed.holds(200));
        assert_eq!(renewed.page().body, page.body);
        for cut in 0..entry.len() - page.body.len() {
            assert!(Stored::read(entry[..cut].to_vec()).is_none(), "{cut}");
        }
        let key = key(&url, "text/html", Some("u"));
        assert!(!key.contains(":p@") && !key.contains('#'), "{key}");
    }
}
