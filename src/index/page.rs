//! A page of an index: the files of one package.
//!
//! Sources: PEP 503 (HTML), 691 (JSON), 592 (yanked), 629 (version of the format), 700 (sizes), 714
//! (metadata beside the file) and 792 (status of the project).

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use url::Url;

use super::is_plain_name;
use crate::domain::{Sha256, shown};

/// What to ask an index for: JSON first, since HTML knows neither sizes nor times.
pub const ACCEPT: &str = "application/vnd.pypi.simple.v1+json, \
    application/vnd.pypi.simple.v1+html;q=0.2, text/html;q=0.1";

/// Longest page that is read. The largest known have some 40 MB.
pub const MAX_BYTES: usize = 64 * 1024 * 1024;
/// Files of one package.
const MAX_FILES: usize = 200_000;
/// Longest of the other texts, in characters.
const MAX_TEXT: usize = 1000;

/// The files of one package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// In the order of the page.
    pub files: Vec<File>,
    /// What the index says of the project as a whole.
    pub status: Status,
    /// Why, where it says so.
    pub reason: Option<String>,
    /// Links that were passed over: their names could leave their folder, or their digest is none.
    pub skipped: usize,
}

impl Page {
    /// The page of a package that is not there.
    pub const fn empty() -> Self {
        Self { files: Vec::new(), status: Status::Active, reason: None, skipped: 0 }
    }
}

/// One file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// A plain file name, the same as at the end of the address.
    pub name: String,
    /// Absolute, without fragment and credentials.
    pub url: Url,
    /// Digest of the file.
    pub sha256: Option<Sha256>,
    /// Its length in bytes.
    pub size: Option<u64>,
    /// When it was published, as written.
    pub upload_time: Option<String>,
    /// The Pythons that it is for, as written.
    pub requires_python: Option<String>,
    /// Taken back: the reason, or nothing.
    pub yanked: Option<String>,
    /// Whether its METADATA can be had at the address with `.metadata` behind it.
    pub sidecar: Sidecar,
}

/// The METADATA of a wheel as a file of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sidecar {
    /// The index does not say that there is one.
    None,
    /// There is one.
    Unhashed,
    /// There is one with this digest.
    Sha256(Sha256),
}

/// What an index says of a project. What is not known here counts as active.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Status {
    /// Nothing unusual.
    #[default]
    Active,
    /// No more releases are to be expected.
    Archived,
    /// Not safe to use.
    Quarantined,
    /// Out of date: another project takes its place.
    Deprecated,
}

/// Why an answer is no page of an index.
#[derive(Debug, thiserror::Error)]
pub enum PageError {
    /// Longer than any.
    #[error("{url} sent {len} bytes, and {MAX_BYTES} are read")]
    TooLong {
        /// Where it came from.
        url: String,
        /// Its length.
        len: usize,
    },
    /// More files than any package has.
    #[error("{url} lists more than {MAX_FILES} files")]
    TooMany {
        /// Where it came from.
        url: String,
    },
    /// Something else.
    #[error(
        "{url} sent {}, where the JSON or HTML of a package index was expected",
        .given.as_ref().map_or_else(|| "no Content-Type".into(), |given| format!("`{given}`"))
    )]
    Type {
        /// Where it came from.
        url: String,
        /// The Content-Type.
        given: Option<String>,
    },
    /// A format of the future.
    #[error("{url} speaks version {found} of the index format, and version 1 is read")]
    Version {
        /// Where it came from.
        url: String,
        /// The version it states.
        found: String,
    },
    /// Broken.
    #[error("{url} sent JSON that is none of an index: {source}")]
    Json {
        /// Where it came from.
        url: String,
        /// Line, column and reason.
        source: serde_json::Error,
    },
    /// The index contradicts itself.
    #[error("{url} gives two digests for `{name}`: {one} and {other}")]
    TwoHashes {
        /// Where it came from.
        url: String,
        /// The file.
        name: String,
        /// One digest.
        one: Sha256,
        /// The other one.
        other: Sha256,
    },
}

impl PageError {
    /// What to do next.
    pub fn help(&self) -> String {
        match self {
            Self::Type { .. } => {
                "check the address: it must be the page of a package below an index, such as `/simple/torch/`; a login page is HTML too, so check proxy and credentials".into()
            }
            Self::TooLong { .. } | Self::TooMany { .. } => {
                "check the address: no package has so many files".into()
            }
            Self::Version { .. } => "update gpuseal, or use a mirror that speaks version 1".into(),
            Self::Json { .. } => "try again, and if it stays so, report it to those who run the index".into(),
            Self::TwoHashes { .. } => {
                "do not install this file before those who run the index have said which one is right".into()
            }
        }
    }
}

/// Reads a page that came from this address. Its Content-Type alone says what it is.
pub fn read(body: &[u8], content_type: Option<&str>, url: &Url) -> Result<Page, PageError> {
    // For messages: credentials and secrets in the query stay out of them.
    let place = || {
        let mut place = plain(url);
        place.set_query(None);
        shown(place.as_str())
    };
    if body.len() > MAX_BYTES {
        return Err(PageError::TooLong { url: place(), len: body.len() });
    }
    let kind = content_type.and_then(|text| text.split(';').next()).map(str::trim);
    let mut found = Found::at(url);
    match kind.unwrap_or_default().to_ascii_lowercase().as_str() {
        "application/vnd.pypi.simple.v1+json" => match found.json(body) {
            Err(source) if !found.too_many => {
                return Err(PageError::Json { url: place(), source });
            }
            _ => (),
        },
        "application/vnd.pypi.simple.v1+html" | "text/html" => {
            found.html(&String::from_utf8_lossy(body));
        }
        _ => return Err(PageError::Type { url: place(), given: content_type.map(shown) }),
    }
    if let Some(version) = found.version.filter(|text| text.trim().split('.').next() != Some("1")) {
        return Err(PageError::Version { url: place(), found: shown(&version) });
    }
    if found.too_many {
        return Err(PageError::TooMany { url: place() });
    }
    let page = found.page;
    let mut known: BTreeMap<&str, &Sha256> = BTreeMap::new();
    for file in &page.files {
        let Some(sha256) = &file.sha256 else { continue };
        let one = *known.entry(&file.name).or_insert(sha256);
        if one != sha256 {
            let (name, one, other) = (file.name.clone(), one.clone(), sha256.clone());
            return Err(PageError::TwoHashes { url: place(), name, one, other });
        }
    }
    Ok(page)
}

/// Without fragment and credentials.
fn plain(url: &Url) -> Url {
    let mut url = url.clone();
    url.set_fragment(None);
    // Both fail for addresses without a host alone.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url
}

/// What has been read so far.
struct Found<'u> {
    page: Page,
    base: Cow<'u, Url>,
    version: Option<String>,
    too_many: bool,
}

/// What a page says of a file, before any of it is believed.
struct Raw<'r> {
    /// `None` in HTML: there the address alone names the file.
    name: Option<&'r str>,
    href: &'r str,
    /// The digits; beside the address in JSON, in its fragment in HTML.
    sha256: Option<Cow<'r, str>>,
    size: Option<u64>,
    upload_time: Option<Cow<'r, str>>,
    requires_python: Option<Cow<'r, str>>,
    yanked: Option<Cow<'r, str>>,
    sidecar: Sidecar,
}

impl<'u> Found<'u> {
    fn at(url: &'u Url) -> Self {
        let page = Page { files: Vec::new(), status: Status::Active, reason: None, skipped: 0 };
        Self { page, base: Cow::Borrowed(url), version: None, too_many: false }
    }

    /// Takes a file, or counts it among those that were passed over.
    fn take(&mut self, raw: Raw<'_>) {
        if self.page.files.len() + self.page.skipped >= MAX_FILES {
            self.too_many = true;
        } else if let Some(file) = self.file(raw) {
            self.page.files.push(file);
        } else {
            self.page.skipped += 1;
        }
    }

    fn file(&self, raw: Raw<'_>) -> Option<File> {
        let joined = self.base.join(raw.href.trim_ascii()).ok()?;
        if !matches!(joined.scheme(), "http" | "https") || !joined.has_host() {
            return None;
        }
        let name = decoded(joined.path_segments()?.next_back()?)?;
        // Installers that are given the address take the name from there.
        if !is_plain_name(&name) || raw.name.is_some_and(|given| given != name) {
            return None;
        }
        let digits = raw.sha256.or_else(|| {
            let mut parts = joined.fragment()?.split('&');
            parts
                .find_map(|part| part.strip_prefix("sha256="))
                .map(|hex| Cow::Owned(hex.to_owned()))
        });
        let sha256 = match digits {
            None => None,
            Some(digits) => Some(Sha256::from_hex(&digits)?),
        };
        // Cut short, it would mean another thing.
        let requires_python = raw.requires_python.filter(|text| !text.trim_ascii().is_empty());
        if requires_python.as_ref().is_some_and(|text| text.len() > MAX_TEXT) {
            return None;
        }
        let time = |text: &Cow<'_, str>| {
            let known = |b: u8| b.is_ascii_digit() || b"TZtz:.+-".contains(&b);
            text.len() <= 40 && text.bytes().all(known) && !text.is_empty()
        };
        Some(File {
            name,
            url: plain(&joined),
            sha256,
            size: raw.size,
            upload_time: raw.upload_time.filter(time).map(Cow::into_owned),
            requires_python: requires_python.map(Cow::into_owned),
            yanked: raw.yanked.map(|text| text.chars().take(MAX_TEXT).collect()),
            sidecar: raw.sidecar,
        })
    }

    fn status(&mut self, status: &str, reason: Option<&str>) {
        self.page.status = match status.trim_ascii() {
            "archived" => Status::Archived,
            "quarantined" => Status::Quarantined,
            "deprecated" => Status::Deprecated,
            _ => Status::Active,
        };
        if let Some(reason) = reason.filter(|reason| !reason.is_empty()) {
            self.page.reason = Some(reason.chars().take(MAX_TEXT).collect());
        }
    }
}

/// The last segment of an address, with its escapes undone once.
fn decoded(segment: &str) -> Option<String> {
    let mut out = Vec::with_capacity(segment.len());
    let mut bytes = segment.bytes();
    while let Some(byte) = bytes.next() {
        if byte == b'%' {
            let mut digit = || char::from(bytes.next()?).to_digit(16);
            let (high, low) = (digit()?, digit()?);
            out.push(u8::try_from(high * 16 + low).ok()?);
        } else {
            out.push(byte);
        }
    }
    String::from_utf8(out).ok()
}

// --- JSON ----------------------------------------------------------------------------------------

#[derive(Deserialize)]
struct JsonMeta<'j> {
    #[serde(borrow, rename = "api-version", default)]
    version: Option<Cow<'j, str>>,
}

#[derive(Deserialize)]
struct JsonStatus<'j> {
    #[serde(borrow, default)]
    status: Cow<'j, str>,
    #[serde(borrow, default)]
    reason: Option<Cow<'j, str>>,
}

#[derive(Deserialize)]
struct JsonFile<'j> {
    #[serde(borrow)]
    filename: Cow<'j, str>,
    #[serde(borrow)]
    url: Cow<'j, str>,
    #[serde(borrow, default)]
    hashes: JsonHashes<'j>,
    #[serde(default)]
    size: Option<u64>,
    #[serde(borrow, rename = "upload-time", default)]
    upload_time: Option<Cow<'j, str>>,
    #[serde(borrow, rename = "requires-python", default)]
    requires_python: Option<Cow<'j, str>>,
    #[serde(borrow, default)]
    yanked: Maybe<'j>,
    #[serde(borrow, rename = "core-metadata", default)]
    core: Option<Maybe<'j>>,
    #[serde(borrow, rename = "dist-info-metadata", default)]
    dist_info: Option<Maybe<'j>>,
}

#[derive(Deserialize, Default)]
struct JsonHashes<'j> {
    #[serde(borrow, default)]
    sha256: Option<Cow<'j, str>>,
}

/// Yes or no, or what stands for a yes with something to add: a reason, digests.
#[derive(Default)]
enum Maybe<'j> {
    #[default]
    No,
    Yes,
    Reason(Cow<'j, str>),
    Hashes(JsonHashes<'j>),
}

impl<'de: 'j, 'j> Deserialize<'de> for Maybe<'j> {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct Either;
        impl<'j> Visitor<'j> for Either {
            type Value = Maybe<'j>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("true, false, a text or a table of hashes")
            }

            fn visit_unit<E>(self) -> Result<Self::Value, E> {
                Ok(Maybe::No)
            }

            fn visit_bool<E>(self, yes: bool) -> Result<Self::Value, E> {
                Ok(if yes { Maybe::Yes } else { Maybe::No })
            }

            fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Maybe::Reason(Cow::Owned(text.to_owned())))
            }

            fn visit_borrowed_str<E>(self, text: &'j str) -> Result<Self::Value, E> {
                Ok(Maybe::Reason(Cow::Borrowed(text)))
            }

            fn visit_map<A: MapAccess<'j>>(self, map: A) -> Result<Self::Value, A::Error> {
                let map = serde::de::value::MapAccessDeserializer::new(map);
                JsonHashes::deserialize(map).map(Maybe::Hashes)
            }
        }
        d.deserialize_any(Either)
    }
}

impl Maybe<'_> {
    fn sidecar(&self) -> Sidecar {
        match self {
            Self::No | Self::Reason(_) => Sidecar::None,
            Self::Yes | Self::Hashes(JsonHashes { sha256: None }) => Sidecar::Unhashed,
            // With a digest that is none it proves nothing: the wheel itself is asked.
            Self::Hashes(JsonHashes { sha256: Some(digits) }) => {
                Sha256::from_hex(digits).map_or(Sidecar::None, Sidecar::Sha256)
            }
        }
    }
}

impl Found<'_> {
    fn json(&mut self, body: &[u8]) -> Result<(), serde_json::Error> {
        let mut reader = serde_json::Deserializer::from_slice(body);
        reader.deserialize_map(Root(self))?;
        reader.end()
    }

    fn take_json(&mut self, file: &JsonFile<'_>) {
        let own =
            |text: &'_ Option<Cow<'_, str>>| text.as_deref().map(|t| Cow::Owned(t.to_owned()));
        let core = file.core.as_ref().or(file.dist_info.as_ref());
        self.take(Raw {
            name: Some(&file.filename),
            href: &file.url,
            sha256: own(&file.hashes.sha256),
            size: file.size,
            upload_time: own(&file.upload_time),
            requires_python: own(&file.requires_python),
            yanked: match &file.yanked {
                Maybe::Yes | Maybe::Hashes(_) => Some("".into()),
                Maybe::Reason(reason) if !reason.is_empty() => Some(reason.as_ref().into()),
                Maybe::No | Maybe::Reason(_) => None,
            },
            sidecar: core.map_or(Sidecar::None, Maybe::sidecar),
        });
    }
}

/// The whole page. Files are judged as they come, so that a list of millions is never held.
struct Root<'f, 'u>(&'f mut Found<'u>);

impl<'j> Visitor<'j> for Root<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the object that lists the files of a package")
    }

    fn visit_map<A: MapAccess<'j>>(self, mut map: A) -> Result<(), A::Error> {
        let mut has_files = false;
        while let Some(key) = map.next_key::<Cow<'j, str>>()? {
            match key.as_ref() {
                "meta" => {
                    let meta: JsonMeta<'j> = map.next_value()?;
                    self.0.version = meta.version.map(Cow::into_owned);
                }
                "project-status" => {
                    let status: JsonStatus<'j> = map.next_value()?;
                    self.0.status(&status.status, status.reason.as_deref());
                }
                "files" => {
                    has_files = true;
                    map.next_value_seed(Files(self.0))?;
                }
                _ => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        if has_files { Ok(()) } else { Err(serde::de::Error::missing_field("files")) }
    }
}

struct Files<'f, 'u>(&'f mut Found<'u>);

impl<'j> DeserializeSeed<'j> for Files<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'j>>(self, d: D) -> Result<(), D::Error> {
        d.deserialize_seq(self)
    }
}

impl<'j> Visitor<'j> for Files<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of files")
    }

    fn visit_seq<A: SeqAccess<'j>>(self, mut list: A) -> Result<(), A::Error> {
        while let Some(file) = list.next_element::<JsonFile<'j>>()? {
            self.0.take_json(&file);
            if self.0.too_many {
                return Err(serde::de::Error::custom("too many files"));
            }
        }
        Ok(())
    }
}

// --- HTML ----------------------------------------------------------------------------------------

impl Found<'_> {
    /// Each tag is parsed on its own: a tree of ten megabytes of tags would need a gigabyte.
    fn html(&mut self, text: &str) {
        let mut has_base = false;
        for tag in Tags(text) {
            if self.too_many {
                return;
            }
            let Ok(dom) = tl::parse(tag, tl::ParserOptions::new()) else { continue };
            let Some(tag) = dom.nodes().first().and_then(tl::Node::as_tag) else { continue };
            let attribute = |name| attribute(tag, name);
            match tag.name().as_utf8_str().to_ascii_lowercase().as_str() {
                "a" => {
                    let Some(href) = attribute("href").filter(|href| names_a_file(href)) else {
                        continue;
                    };
                    let sidecar = attribute("data-core-metadata")
                        .or_else(|| attribute("data-dist-info-metadata"));
                    self.take(Raw {
                        name: None,
                        href: &href,
                        sha256: None,
                        size: None,
                        upload_time: attribute("data-upload-time"),
                        requires_python: attribute("data-requires-python"),
                        yanked: attribute("data-yanked"),
                        sidecar: match sidecar.as_deref().map(str::trim_ascii) {
                            None | Some("false") => Sidecar::None,
                            Some(text) => match text.strip_prefix("sha256=") {
                                Some(digits) => {
                                    Sha256::from_hex(digits).map_or(Sidecar::None, Sidecar::Sha256)
                                }
                                None => Sidecar::Unhashed,
                            },
                        },
                    });
                }
                "base" if !has_base => {
                    if let Some(base) =
                        attribute("href").and_then(|href| self.base.join(&href).ok())
                    {
                        has_base = true;
                        self.base = Cow::Owned(base);
                    }
                }
                "meta" => {
                    let (name, content) = (attribute("name"), attribute("content"));
                    let content = content.unwrap_or_default();
                    match name.unwrap_or_default().to_ascii_lowercase().as_str() {
                        "pypi:repository-version" => self.version = Some(content.into_owned()),
                        "pypi:project-status" => self.status(&content, None),
                        "pypi:project-status-reason" if !content.is_empty() => {
                            self.page.reason = Some(content.chars().take(MAX_TEXT).collect());
                        }
                        _ => (),
                    }
                }
                _ => (),
            }
        }
    }
}

/// The value of an attribute; an empty one where it stands without a value.
fn attribute<'t>(tag: &'t tl::HTMLTag<'_>, name: &'static str) -> Option<Cow<'t, str>> {
    let value = tag.attributes().get(name)?;
    Some(value.map_or(Cow::Borrowed(""), |value| unescaped(value.as_utf8_str())))
}

/// Not a link to a folder, such as the one above, nor to a place on the page.
fn names_a_file(href: &str) -> bool {
    let path = href.trim_ascii().split(['?', '#']).next().unwrap_or_default();
    !path.is_empty() && !path.ends_with('/') && !matches!(path, "." | "..")
}

/// The texts of the tags that matter here, `<` and `>` included. Comments are passed over.
struct Tags<'t>(&'t str);

impl<'t> Iterator for Tags<'t> {
    type Item = &'t str;

    fn next(&mut self) -> Option<&'t str> {
        loop {
            let rest = &self.0[self.0.find('<')?..];
            if let Some(inside) = rest.strip_prefix("<!--") {
                self.0 = inside.split_once("-->")?.1;
                continue;
            }
            let name = &rest[1..];
            let end = name.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(name.len());
            if !["a", "base", "meta"].iter().any(|known| known.eq_ignore_ascii_case(&name[..end])) {
                self.0 = name;
                continue;
            }
            let (tag, after) = rest.split_at(closing(rest)?);
            self.0 = after;
            return Some(tag);
        }
    }
}

/// Where a tag ends: behind the first `>` that stands in no quoted value. A quote begins one behind an
/// equals sign alone.
fn closing(tag: &str) -> Option<usize> {
    let bytes = tag.as_bytes();
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        at += 1;
        match byte {
            b'>' => return Some(at),
            b'=' => {
                while bytes.get(at).is_some_and(u8::is_ascii_whitespace) {
                    at += 1;
                }
                if let Some(quote @ (b'"' | b'\'')) = bytes.get(at) {
                    at += 2 + bytes[at + 1..].iter().position(|b| b == quote)?;
                }
            }
            _ => (),
        }
    }
    None
}

/// With character references undone: those that are needed in an attribute, and numbers.
fn unescaped(text: Cow<'_, str>) -> Cow<'_, str> {
    if !text.contains('&') {
        return text;
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text.as_ref();
    while let Some((before, behind)) = rest.split_once('&') {
        out.push_str(before);
        // The longest is `&#x10FFFF;`.
        let end = behind.bytes().take(10).position(|b| b == b';');
        let meant = end.and_then(|end| match &behind[..end] {
            "amp" => Some('&'),
            "lt" => Some('<'),
            "gt" => Some('>'),
            "quot" => Some('"'),
            "apos" => Some('\''),
            number => {
                let number = number.strip_prefix('#')?;
                let code = match number.strip_prefix(['x', 'X']) {
                    Some(hex) => u32::from_str_radix(hex, 16),
                    None => number.parse(),
                };
                code.ok().and_then(char::from_u32)
            }
        });
        if let (Some(end), Some(meant)) = (end, meant) {
            out.push(meant);
            rest = &behind[end + 1..];
        } else {
            out.push('&');
            rest = behind;
        }
    }
    out.push_str(rest);
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    const JSON: &str = "application/vnd.pypi.simple.v1+json";
    const A: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    const B: &str = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";

    fn at(kind: &str, body: &str) -> Result<Page, PageError> {
        let url = Url::parse("https://u:p@index.test/simple/x/?token=t").expect("an address");
        read(body.as_bytes(), Some(kind), &url)
    }

    fn html(body: &str) -> Page {
        at("text/html; charset=utf-8", body).expect(body)
    }

    fn files(list: &str) -> Page {
        at(JSON, &format!(r#"{{"meta":{{"api-version":"1.4"}},"files":[{list}]}}"#)).expect(list)
    }

    fn names(page: &Page) -> Vec<&str> {
        page.files.iter().map(|file| file.name.as_str()).collect()
    }

    #[test]
    fn html_says_what_json_says() {
        let page = html(&format!(
            r#"<!DOCTYPE html><html><head><meta name="pypi:repository-version" content="1.4">
            <meta name='pypi:project-status' content=archived>
            <meta name="pypi:project-status-reason" content="use &quot;y&quot;"></head><body>
            <A class=x HREF = "../../f/x-1.0%2Bcu126-py3-none-any.whl#sha256={A}"
               data-requires-python="&gt;=3.8,&#60;4" data-yanked
               data-dist-info-metadata="sha256={B}" data-core-metadata='true'
               data-upload-time="2025-01-02T03:04:05.6Z">x</a><br/>
            <a href="https://u:p@files.test/x-1.0.tar.gz?a=b#md5=1" data-yanked="bad &amp; old">x</a>
            <!-- <a href="x-3.tar.gz">no</a> --><a name="top">top</a><a href="../">up</a>"#
        ));
        assert_eq!((page.status, page.reason.as_deref()), (Status::Archived, Some("use \"y\"")));
        let [wheel, sdist] = page.files.as_slice() else { panic!("{page:?}") };
        assert_eq!(wheel.name, "x-1.0+cu126-py3-none-any.whl");
        let url = "https://index.test/f/x-1.0%2Bcu126-py3-none-any.whl";
        assert_eq!(wheel.url.as_str(), url);
        assert_eq!(wheel.sha256.as_ref().map(Sha256::hex), Some(A));
        assert_eq!(wheel.requires_python.as_deref(), Some(">=3.8,<4"));
        assert_eq!(wheel.yanked.as_deref(), Some(""));
        assert_eq!(wheel.sidecar, Sidecar::Unhashed);
        assert_eq!(wheel.upload_time.as_deref(), Some("2025-01-02T03:04:05.6Z"));
        assert_eq!(sdist.url.as_str(), "https://files.test/x-1.0.tar.gz?a=b");
        assert_eq!((&sdist.sha256, sdist.yanked.as_deref()), (&None, Some("bad & old")));
        assert_eq!(page.skipped, 0);
    }

    #[test]
    fn json_is_read() {
        let page = at(
            JSON,
            &format!(
                r#"{{"name":"x","versions":["1"],"project-status":{{"status":"quarantined","reason":"r"}},
                "files":[{{"filename":"x-1.0-py3-none-any.whl","url":"/f/x-1.0-py3-none-any.whl",
                "hashes":{{"md5":"1","sha256":"{}"}},"size":12,"upload-time":"2025-01-02T03:04:05Z",
                "requires-python":">=3.8","yanked":"why","gpg-sig":false,"provenance":null,
                "core-metadata":{{"sha256":"{B}"}},"dist-info-metadata":false}}],
                "meta":{{"api-version":"1.4","_last-serial":1}}}}"#,
                A.to_uppercase()
            ),
        )
        .expect("a page");
        assert_eq!((page.status, page.reason.as_deref()), (Status::Quarantined, Some("r")));
        let [file] = page.files.as_slice() else { panic!("{page:?}") };
        assert_eq!(file.url.as_str(), "https://index.test/f/x-1.0-py3-none-any.whl");
        assert_eq!(file.sha256.as_ref().map(Sha256::hex), Some(A));
        assert_eq!((file.size, file.yanked.as_deref()), (Some(12), Some("why")));
        assert_eq!(file.sidecar, Sidecar::Sha256(Sha256::from_hex(B).expect("a digest")));

        let page = files(
            r#"{"filename":"a-1.zip","url":"a-1.zip","hashes":{},"yanked":true,"dist-info-metadata":true},
            {"filename":"b-1.zip","url":"b-1.zip","yanked":"","core-metadata":{},"size":null},
            {"filename":"c-1.zip","url":"c-1.zip","core-metadata":{"sha256":"1"},"yanked":false}"#,
        );
        let said: Vec<_> =
            page.files.iter().map(|f| (f.yanked.as_deref(), f.sidecar.clone())).collect();
        let unhashed = || Sidecar::Unhashed;
        assert_eq!(said, [(Some(""), unhashed()), (None, unhashed()), (None, Sidecar::None)]);
    }

    #[test]
    fn hostile_links_are_passed_over() {
        let page = html(&format!(
            r#"<a href="../../x.whl%2f..%2fy.whl">1</a><a href="..%2f..%2fx.whl">2</a>
            <a href="file:///x-1.whl">3</a><a href="javascript:x.whl">4</a><a href="x%00.whl">5</a>
            <a href="x$(id).whl">6</a><a href="x%20y.whl">7</a><a href="-r.whl">8</a>
            <a href="x.whl#sha256=12">9</a><a href="%ff.whl">10</a><a href="%2.whl">11</a>
            <a href="%252e.whl">12</a><a href="http://[x.whl">13</a><a href="{}.whl">14</a>
            <a href="x.whl" data-requires-python="{}">15</a>
            <a href="../../ok.whl">ok</a><a href="\x.whl">ok</a>"#,
            "a".repeat(300),
            "a".repeat(2000)
        ));
        assert_eq!((names(&page), page.skipped), (vec!["ok.whl", "x.whl"], 15));
        assert!(page.files.iter().all(|file| file.url.host_str() == Some("index.test")));
        let page = files(
            r#"{"filename":"../../x.whl","url":"x.whl"},{"filename":"y.whl","url":"x.whl"},
            {"filename":"x.whl","url":"x.whl","hashes":{"sha256":"zz"}},{"filename":"x.whl","url":"x.whl"}"#,
        );
        assert_eq!((names(&page), page.skipped), (vec!["x.whl"], 3));
    }

    #[test]
    fn odd_html_is_read() {
        for (body, found) in [
            ("", vec![]),
            ("<a", vec![]),
            ("<a href=\"x.whl", vec![]),
            ("<a href=x.whl>", vec!["x.whl"]),
            ("<a\thref='a>b.whl'><a\r\nhref='x.whl'/>", vec!["x.whl"]),
            ("<abbr href=y.whl><a href=x.whl>", vec!["x.whl"]),
            ("< a href=y.whl><<a href=x.whl>", vec!["x.whl"]),
            ("<a it's href=x.whl><a href=y.whl>", vec!["x.whl", "y.whl"]),
            ("<!-- <a href=y.whl>", vec![]),
            ("<a href=x.whl href=y.whl>", vec!["x.whl"]),
            ("<a href='&#120;.whl'><a href='&bogus;&#xD800;&'>", vec!["x.whl"]),
        ] {
            assert_eq!(names(&html(body)), found, "{body}");
        }
        let based = html("<base href='https://files.test/a/'><base href='/b/'><a href=x.whl>");
        assert_eq!(based.files[0].url.as_str(), "https://files.test/a/x.whl");
        let cut = html("<base href='ftp://files.test/a/'><a href=x.whl>");
        assert_eq!(cut.skipped, 1);
    }

    #[test]
    fn the_content_type_decides() {
        let url = Url::parse("https://u:p@index.test/simple/x/?token=t").expect("an address");
        let why = |kind: Option<&str>, body: &str| {
            let err = read(body.as_bytes(), kind, &url).expect_err(body);
            assert!(!err.help().is_empty());
            let text = err.to_string();
            assert!(!text.contains("u:p") && !text.contains("token"), "{text}");
            text
        };
        assert!(why(None, "{}").contains("sent no Content-Type"));
        assert!(why(Some("application/json"), "{}").contains("`application/json`"));
        assert!(why(Some("text/html2"), "").contains("`text/html2`"));
        assert!(why(Some(JSON), "<html>").contains("line 1 column 1"));
        assert!(why(Some(JSON), r#"{"files":[]} x"#).contains("trailing"));
        assert!(why(Some(JSON), r#"{"meta":{}}"#).contains("missing field `files`"));
        assert!(why(Some(JSON), &"[".repeat(100_000)).contains("JSON"));
        assert!(why(Some(JSON), &format!(r#"{{"x":{}"#, "[".repeat(100_000))).contains("EOF"));
        assert!(
            why(Some(JSON), r#"{"meta":{"api-version":"2.0"},"files":[]}"#).contains("version 2.0")
        );
        let two = "<meta name='pypi:repository-version' content='2.0'>";
        assert!(why(Some(" Text/HTML;charset=x"), two).contains("version 2.0"));
        assert!(read(b"", Some("Application/VND.pypi.simple.v1+HTML"), &url).is_ok());
    }

    #[test]
    fn two_digests_for_one_name_are_an_error() {
        let twice = |one: &str, other: &str| {
            at("text/html", &format!("<a href='/a/x.whl{one}'></a><a href='/b/x.whl{other}'></a>"))
        };
        let (a, b) = (format!("#sha256={A}"), format!("#sha256={B}"));
        assert_eq!(twice(&a, &a).expect("a page").files.len(), 2);
        assert_eq!(twice(&a, "").expect("a page").files.len(), 2);
        let err = twice(&a, &b).expect_err("two").to_string();
        assert!(err.contains(A) && err.contains(B) && err.contains("x.whl"), "{err}");
    }

    #[test]
    fn what_is_too_much_is_refused() {
        let url = Url::parse("https://index.test/simple/x/").expect("an address");
        let many = "<a href=x.whl>".repeat(MAX_FILES + 1);
        assert!(matches!(
            read(many.as_bytes(), Some("text/html"), &url),
            Err(PageError::TooMany { .. })
        ));
        let long = vec![b' '; MAX_BYTES + 1];
        assert!(matches!(read(&long, Some(JSON), &url), Err(PageError::TooLong { .. })));
    }
}
