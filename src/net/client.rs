//! What callers ask for: a page, a text, a part of a file, a whole file.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use reqwest::header::{
    ACCEPT, ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_RANGE, CONTENT_TYPE, ETAG, HeaderMap,
    HeaderName, HeaderValue, LAST_MODIFIED, RANGE,
};
use tempfile::{NamedTempFile, TempPath};
use tokio::sync::{Semaphore, SemaphorePermit};
use url::Url;

use super::auth::{Auth, Credentials};
use super::body::Body;
use super::place::{Origin, bare, masked};
use super::range::{self, Given, checked, content_range};
use super::stored::{self, PAGES, Stored, header};
use super::wire::Answer;
use super::{Cache, Error, Keyring, Part, Phase, Want, use_ring};
use crate::domain::{Hasher, Sha256};

/// No index page is larger, unpacked: the largest there are have some ten megabytes.
const LARGEST_PAGE: usize = 64 << 20;
/// No metadata is larger.
const LARGEST_TEXT: usize = 16 << 20;
/// No wheel is larger.
const LARGEST_FILE: u64 = 20 << 30;
/// Bytes a second that a download has to reach in the long run.
const SLOWEST: u64 = 32 << 10;
/// Files whose parts are held against each other.
const MOST_FILES: usize = 4096;

/// How a client behaves.
#[derive(Clone)]
pub struct Options {
    /// Ask nobody: all comes from the cache.
    pub offline: bool,
    /// Where answers are kept; nowhere if there is none.
    pub cache: Option<Cache>,
    /// Requests under way at the same time.
    pub concurrency: usize,
    /// How often a request is repeated that may yet succeed.
    pub retries: u32,
    /// The wait before the first repetition; it doubles each time.
    pub back_off: Duration,
    /// For name, connection and handshake.
    pub connect_timeout: Duration,
    /// Between two pieces of an answer, and before the first.
    pub read_timeout: Duration,
    /// For a page or a metadata file with all repetitions. A download gets more as it proceeds.
    pub total: Duration,
    /// The only origins that may be asked, with mirrors set.
    pub fence: Option<Vec<Origin>>,
    /// Who is told.
    pub watcher: Arc<dyn Watcher>,
    /// Whether the keyring is asked for passwords.
    pub keyring: Keyring,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            offline: false,
            cache: None,
            concurrency: 16,
            retries: 3,
            back_off: Duration::from_millis(500),
            connect_timeout: Duration::from_secs(10),
            read_timeout: Duration::from_secs(30),
            total: Duration::from_mins(2),
            fence: None,
            watcher: Arc::new(Silent),
            keyring: Keyring::Off,
        }
    }
}

/// Is told what happens, while it happens. Every text is fit to be shown.
pub trait Watcher: Send + Sync {
    /// A request has ended, well or not. Each redirect is a request of its own.
    fn request(&self, done: &Request);
    /// Part of a file has come; at most some ten times a second.
    fn progress(&self, _file: &str, _so_far: u64, _total: Option<u64>) {}
    /// A request will be repeated.
    fn retry(&self, _note: &str) {}
    /// Something is not as it should be, and the work goes on.
    fn warn(&self, _note: &str) {}
}

/// A watcher that says nothing.
#[derive(Debug, Clone, Copy)]
pub struct Silent;

impl Watcher for Silent {
    fn request(&self, _: &Request) {}
}

/// A request that has ended.
#[derive(Debug, Clone)]
pub struct Request {
    /// `GET`.
    pub method: &'static str,
    /// What was asked, as it may be shown.
    pub url: String,
    /// What the server answered, if it did.
    pub status: Option<u16>,
    /// Bytes of the body that came over the wire, before any decompression.
    pub bytes: u64,
    /// From the question to the last byte.
    pub took: Duration,
    /// The page of the cache still holds (304).
    pub cached: bool,
}

/// All requests of a client together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Requests, redirects and repetitions included.
    pub requests: u64,
    /// Bytes of bodies that came over the wire.
    pub bytes: u64,
    /// Answers that came from the cache, after a question whether they still hold or without one.
    pub cached: u64,
}

/// An index page.
#[derive(Debug, Clone)]
pub struct Page {
    /// What it says, decompressed.
    pub body: Vec<u8>,
    /// `Content-Type`, which alone decides how to read it.
    pub content_type: Option<String>,
    /// Where it came from after all redirects, without user info: what its links are relative to.
    pub url: Url,
}

/// What a file has to be.
#[derive(Debug, Clone, Default)]
pub struct Expect {
    /// Its digest, where the index gives one.
    pub sha256: Option<Sha256>,
    /// Its size, where the index gives one.
    pub size: Option<u64>,
}

/// A file that was downloaded whole.
#[derive(Debug)]
pub struct Download {
    /// Where it is, until this is dropped.
    pub path: TempPath,
    /// Its digest.
    pub sha256: Sha256,
    /// Its size.
    pub size: u64,
}

/// The HTTP client. Redirects, repetitions, credentials, limits, the cache: all is in here.
///
/// Needs a tokio runtime with I/O and time enabled.
pub struct Client {
    pub(super) options: Options,
    /// Nothing when offline.
    pub(super) http: Option<reqwest::Client>,
    auth: Auth,
    gate: Semaphore,
    traffic: Mutex<Traffic>,
    /// Size and validator of files that were read in parts.
    versions: Mutex<BTreeMap<String, (u64, Option<String>)>>,
    warned: AtomicBool,
}

impl Client {
    /// A client. Proxies come from the environment, certificates from the platform or `SSL_CERT_FILE`.
    ///
    /// # Errors
    /// [`Error::Setup`] where the platform has no certificates to trust, unless offline.
    pub fn new(options: Options) -> Result<Self, Error> {
        let http = if options.offline { None } else { Some(connector(&options)?) };
        Ok(Self {
            http,
            // Nobody will be shown a password.
            auth: Auth::new(if options.offline { Keyring::Off } else { options.keyring }),
            gate: Semaphore::new(options.concurrency.clamp(1, 1000)),
            traffic: Mutex::default(),
            versions: Mutex::default(),
            warned: AtomicBool::new(false),
            options,
        })
    }

    /// What all requests so far came to.
    pub fn traffic(&self) -> Traffic {
        *self.traffic.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An index page.
    ///
    /// It is kept in the cache: as long as its server says that it holds, but ten minutes at most, it is
    /// not asked for again, and after that only whether it has changed.
    pub async fn page(&self, url: &Url, accept: &str) -> Result<Page, Error> {
        let signer = self.signer(url).await;
        let user = signer.as_ref().map(|signer| signer.user.as_str());
        let key = stored::key(url, accept, user);
        let known = self.stored(&key);
        let known = match known {
            Some(known) if self.options.offline || known.holds(stored::now()) => {
                self.add(|traffic| traffic.cached += 1);
                return Ok(known.page());
            }
            other => other,
        };
        if self.options.offline {
            return Err(Error::Offline { url: masked(url) });
        }
        let mut headers = HeaderMap::new();
        set(&mut headers, ACCEPT, accept);
        set(&mut headers, ACCEPT_ENCODING, "gzip");
        for (name, value) in known.iter().flat_map(Stored::question) {
            set(&mut headers, name, value);
        }
        let (answered, page) = self
            .tried(url, Some(self.options.total), async || {
                let mut answer = self.send(url, &headers, signer.as_ref()).await?;
                match answer.status().as_u16() {
                    200 => {
                        let body = unpacked(&mut answer, LARGEST_PAGE).await?;
                        let content_type = header(answer.headers(), &CONTENT_TYPE);
                        let page = Page { body, content_type, url: answer.url.clone() };
                        Ok((answer.headers().clone(), Some(page)))
                    }
                    304 if known.is_some() => Ok((answer.headers().clone(), None)),
                    _ => Err(answer.refused()),
                }
            })
            .await?;
        match (page, known) {
            (Some(page), _) => {
                match Stored::new(&answered, &page, stored::now()) {
                    Some(new) => self.keep(&key, &new),
                    None => self.forget(&key),
                }
                Ok(page)
            }
            (None, Some(known)) => {
                let known = known.renewed(&answered, stored::now());
                self.keep(&key, &known);
                Ok(known.page())
            }
            // A 304 is refused above when nothing was known.
            (None, None) => Err(Error::Status { url: masked(url), status: 304, wait: None }),
        }
    }

    /// A small text that never changes, such as the metadata beside a wheel. With a digest it is kept in
    /// the cache under it, and must have it.
    pub async fn text(&self, url: &Url, sha256: Option<&Sha256>) -> Result<Vec<u8>, Error> {
        if let (Some(cache), Some(digest)) = (&self.options.cache, sha256)
            && let Some(text) = cache.text(digest)
        {
            self.add(|traffic| traffic.cached += 1);
            return Ok(text);
        }
        if self.options.offline {
            return Err(Error::Offline { url: masked(url) });
        }
        let signer = self.signer(url).await;
        let mut headers = HeaderMap::new();
        set(&mut headers, ACCEPT, "*/*");
        set(&mut headers, ACCEPT_ENCODING, "gzip");
        let text = self
            .tried(url, Some(self.options.total), async || {
                let mut answer = self.send(url, &headers, signer.as_ref()).await?;
                match answer.status().as_u16() {
                    200 => unpacked(&mut answer, LARGEST_TEXT).await,
                    _ => Err(answer.refused()),
                }
            })
            .await?;
        let Some(expected) = sha256 else {
            return Ok(text);
        };
        let found = Sha256::of(&text);
        if found != *expected {
            return Err(Error::Hash { url: masked(url), expected: expected.clone(), found });
        }
        if let Some(cache) = &self.options.cache
            && let Err(error) = cache.put_text(&text)
        {
            self.unkept(&error);
        }
        Ok(text)
    }

    /// Part of a file.
    ///
    /// A server that knows no parts would send the whole file: nothing of it is read, and the answer is
    /// [`Part::Whole`]. Parts of one URL are held against each other: a file that changes in between is
    /// [`Error::Changed`], and may be read anew after that.
    pub async fn part(&self, url: &Url, want: Want) -> Result<Part, Error> {
        if want.len() == 0 || want.len() > range::LARGEST {
            return Err(Error::Range {
                url: masked(url),
                asked: want.to_string(),
                given: format!("no answer: a part has 1 to {} bytes", range::LARGEST),
            });
        }
        let count = want.len();
        let Some(total) = (match self.ranged(url, &want).await? {
            Ranged::Part(part) => return Ok(part),
            Ranged::None { total } => total,
        }) else {
            if matches!(want, Want::At(_)) {
                return Ok(Part::Whole { total: None });
            }
            // Some servers know parts, but not those counted from the end. The first byte tells the size.
            return match self.ranged(url, &Want::At(0..1)).await? {
                Ranged::Part(Part::Bytes { total, .. }) => self.tail(url, total, count).await,
                Ranged::Part(whole @ Part::Whole { .. }) => Ok(whole),
                Ranged::None { total } => Ok(Part::Whole { total }),
            };
        };
        match want {
            Want::At(_) => Err(Error::Range {
                url: masked(url),
                asked: want.to_string(),
                given: format!("none: it has {total} bytes"),
            }),
            Want::Last(_) if total == 0 => {
                Ok(Part::Bytes { offset: 0, bytes: Vec::new(), total: 0, validator: None })
            }
            // Shorter than asked for, and the server takes that for a mistake.
            Want::Last(_) => self.tail(url, total, count).await,
        }
    }

    /// The end of a file of known size.
    async fn tail(&self, url: &Url, total: u64, count: u64) -> Result<Part, Error> {
        match self.ranged(url, &Want::At(total.saturating_sub(count)..total)).await? {
            Ranged::Part(part) => Ok(part),
            Ranged::None { total } => Ok(Part::Whole { total }),
        }
    }

    async fn ranged(&self, url: &Url, want: &Want) -> Result<Ranged, Error> {
        if self.options.offline {
            return Err(Error::Offline { url: masked(url) });
        }
        let signer = self.signer(url).await;
        let mut headers = HeaderMap::new();
        set(&mut headers, ACCEPT, "*/*");
        set(&mut headers, ACCEPT_ENCODING, "identity");
        set(&mut headers, RANGE, &want.header());
        self.tried(url, Some(self.options.total), async || {
            let mut answer = self.send(url, &headers, signer.as_ref()).await?;
            let range = header(answer.headers(), &CONTENT_RANGE);
            let packed = header(answer.headers(), &CONTENT_ENCODING)
                .is_some_and(|encoding| !encoding.trim().eq_ignore_ascii_case("identity"));
            match answer.status().as_u16() {
                200 => {
                    Ok(Ranged::Part(Part::Whole { total: answer.announced().filter(|_| !packed) }))
                }
                // Part of the compressed file is no part of the file.
                206 if packed => Ok(Ranged::Part(Part::Whole { total: None })),
                206 => self.taken(url, want, &mut answer, range.as_deref()).await.map(Ranged::Part),
                416 => Ok(Ranged::None {
                    total: range.as_deref().and_then(content_range).and_then(|given| match given {
                        Given::Nothing { total } => Some(total),
                        Given::Part { .. } => None,
                    }),
                }),
                400 | 405 | 501 if matches!(want, Want::Last(_)) => {
                    Ok(Ranged::None { total: None })
                }
                _ => Err(answer.refused()),
            }
        })
        .await
    }

    /// The body of an answer that says that it is a part.
    async fn taken(
        &self,
        url: &Url,
        want: &Want,
        answer: &mut Answer<'_>,
        range: Option<&str>,
    ) -> Result<Part, Error> {
        let (at, total) = checked(&answer.shown, want, range)?;
        let length = at.end - at.start;
        let other =
            |given: String| Error::Range { url: masked(url), asked: want.to_string(), given };
        if let Some(announced) = answer.announced().filter(|announced| *announced != length) {
            return Err(other(format!("{announced} bytes for {length}")));
        }
        // A weak ETag may stay the same when bytes change.
        let validator = header(answer.headers(), &ETAG)
            .filter(|etag| !etag.starts_with("W/"))
            .or_else(|| header(answer.headers(), &LAST_MODIFIED));
        let mut bytes = Vec::new();
        let read = answer.read(length, |piece| {
            bytes.extend_from_slice(piece);
            Ok(())
        });
        match read.await {
            Ok(sent) if sent != length => return Err(other(format!("{sent} bytes for {length}"))),
            Err(Error::TooBig { .. }) => return Err(other(format!("more than {length} bytes"))),
            done => done?,
        };
        self.same(url, total, validator.as_ref())?;
        Ok(Part::Bytes { offset: at.start, bytes, total, validator })
    }

    /// Whether this part belongs to the file that the earlier ones belong to.
    fn same(&self, url: &Url, total: u64, validator: Option<&String>) -> Result<(), Error> {
        let key = String::from(bare(url));
        let mut versions = self.versions.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((size, known)) = versions.get(&key) {
            // A server that stops giving its validator has said nothing about a change.
            let changed = known.as_ref().zip(validator).is_some_and(|(a, b)| a != b);
            if *size == total && !changed {
                return Ok(());
            }
            let shown = |size: u64, validator: Option<&String>| match validator {
                Some(v) => format!("{size} bytes ({})", v.chars().take(80).collect::<String>()),
                None => format!("{size} bytes"),
            };
            let (before, now) = (shown(*size, known.as_ref()), shown(total, validator));
            versions.remove(&key);
            return Err(Error::Changed { url: masked(url), before, now });
        }
        if versions.len() >= MOST_FILES {
            versions.clear();
        }
        versions.insert(key, (total, validator.cloned()));
        Ok(())
    }

    /// A whole file, on the disk of the cache until it is dropped. It must be what is expected.
    pub async fn download(&self, url: &Url, expect: Expect) -> Result<Download, Error> {
        if self.options.offline {
            return Err(Error::Offline { url: masked(url) });
        }
        let signer = self.signer(url).await;
        let mut headers = HeaderMap::new();
        set(&mut headers, ACCEPT, "*/*");
        set(&mut headers, ACCEPT_ENCODING, "identity");
        self.tried(url, None, async || {
            let answer = self.send(url, &headers, signer.as_ref()).await?;
            match answer.status().as_u16() {
                200 => self.saved(url, &expect, answer).await,
                _ => Err(answer.refused()),
            }
        })
        .await
    }

    async fn saved(
        &self,
        url: &Url,
        expect: &Expect,
        mut answer: Answer<'_>,
    ) -> Result<Download, Error> {
        let shown = masked(url);
        let announced = answer.announced();
        let size =
            |expected, found, more| Error::Size { url: shown.clone(), expected, found, more };
        if let Some((expected, found)) = expect.size.zip(announced).filter(|(e, a)| e != a) {
            return Err(size(expected, found, false));
        }
        let mut file = self.temporary()?;
        let path = file.path().to_path_buf();
        let failed = |source| Error::File { path: path.clone(), source };
        let name = url.path_segments().and_then(|mut parts| parts.next_back()).unwrap_or_default();
        let (watcher, total) = (&self.options.watcher, expect.size.or(announced));
        let (start, mut told) = (Instant::now(), Instant::now());
        let (mut hasher, mut so_far) = (Hasher::default(), 0u64);
        watcher.progress(name, 0, total);
        let limit = expect.size.unwrap_or(LARGEST_FILE).min(LARGEST_FILE);
        let read = answer
            .read(limit, |piece| {
                // A blocking write of some kilobytes is over before another thread would begin.
                file.write_all(piece).map_err(failed)?;
                hasher.update(piece);
                so_far += piece.len() as u64;
                if told.elapsed() >= Duration::from_millis(100) {
                    watcher.progress(name, so_far, total);
                    told = Instant::now();
                }
                let more = Duration::from_secs(so_far / SLOWEST);
                let after = self.options.total.saturating_add(more);
                if start.elapsed() > after {
                    return Err(Error::Timeout { url: shown.clone(), phase: Phase::Whole, after });
                }
                Ok(())
            })
            .await;
        let found = match (read, expect.size) {
            (Ok(found), Some(expected)) if found != expected => {
                return Err(size(expected, found, false));
            }
            (Err(Error::TooBig { claims: None, .. }), Some(expected)) if limit == expected => {
                return Err(size(expected, expected, true));
            }
            (read, _) => read?,
        };
        file.flush().map_err(failed)?;
        watcher.progress(name, found, total);
        let sha256 = hasher.finish();
        if let Some(expected) = expect.sha256.as_ref().filter(|expected| **expected != sha256) {
            return Err(Error::Hash { url: shown, expected: expected.clone(), found: sha256 });
        }
        Ok(Download { path: file.into_temp_path(), sha256, size: found })
    }

    /// A file in the cache, or among the temporary files where that cannot be written.
    fn temporary(&self) -> Result<NamedTempFile, Error> {
        if let Some(cache) = &self.options.cache {
            match cache.temporary() {
                Ok(file) => return Ok(file),
                Err(error) => self.unkept(&error),
            }
        }
        NamedTempFile::with_prefix("gpuseal-").map_err(|source| {
            let path: PathBuf = std::env::temp_dir();
            Error::File { path, source }
        })
    }

    async fn signer(&self, url: &Url) -> Option<Credentials> {
        self.auth.of(url, &|note| self.options.watcher.warn(note)).await
    }

    fn stored(&self, key: &str) -> Option<Stored> {
        let stored = Stored::read(self.options.cache.as_ref()?.get(PAGES, key)?)?;
        // Kept before there were mirrors, it may have come from elsewhere.
        self.inside(None, &Origin::of(stored.url())?).ok()?;
        Some(stored)
    }

    fn keep(&self, key: &str, page: &Stored) {
        if let (Some(cache), Some(entry)) = (&self.options.cache, page.write())
            && let Err(error) = cache.put(PAGES, key, &entry)
        {
            self.unkept(&error);
        }
    }

    fn forget(&self, key: &str) {
        if let Some(cache) = &self.options.cache {
            cache.remove(PAGES, key);
        }
    }

    /// A cache that cannot be written costs time and nothing else: it is said once.
    fn unkept(&self, error: &std::io::Error) {
        if let Some(cache) = &self.options.cache
            && !self.warned.swap(true, Ordering::Relaxed)
        {
            let folder = cache.folder().display();
            self.options.watcher.warn(&format!(
                "nothing is kept in the cache, `{folder}` cannot be written: {error}"
            ));
        }
    }

    /// Waits until this request may begin.
    pub(super) async fn turn(&self) -> Option<SemaphorePermit<'_>> {
        // It is never closed.
        self.gate.acquire().await.ok()
    }

    pub(super) fn account(&self, request: &Request) {
        self.add(|traffic| {
            traffic.requests += 1;
            traffic.bytes += request.bytes;
            traffic.cached += u64::from(request.cached);
        });
        self.options.watcher.request(request);
    }

    fn add(&self, change: impl FnOnce(&mut Traffic)) {
        change(&mut self.traffic.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

/// What came of asking for a part.
enum Ranged {
    Part(Part),
    /// No such part, of a file of that size.
    None {
        total: Option<u64>,
    },
}

fn connector(options: &Options) -> Result<reqwest::Client, Error> {
    use_ring();
    reqwest::Client::builder()
        .user_agent(concat!("gpuseal/", env!("CARGO_PKG_VERSION")))
        .http1_only()
        // Both by hand: what a redirect takes along, and what came over the wire.
        .redirect(reqwest::redirect::Policy::none())
        .no_gzip()
        .no_brotli()
        .no_deflate()
        .no_zstd()
        // Repetitions are counted and told.
        .retry(reqwest::retry::never())
        .connect_timeout(options.connect_timeout)
        .pool_max_idle_per_host(options.concurrency)
        .build()
        .map_err(|error| {
            let mut cause: &dyn std::error::Error = &error;
            while let Some(inner) = cause.source() {
                cause = inner;
            }
            Error::Setup { reason: cause.to_string() }
        })
}

/// Sets a header; a value that cannot be one is left out.
fn set(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

/// The body of an answer, decompressed.
async fn unpacked(answer: &mut Answer<'_>, limit: usize) -> Result<Vec<u8>, Error> {
    let encoding = header(answer.headers(), &CONTENT_ENCODING);
    let shown = answer.shown.clone();
    let mut body = Body::new(&shown, encoding.as_deref(), limit)?;
    answer.read(limit as u64, |piece| body.push(&shown, piece)).await?;
    body.finish(&shown)
}
