//! The client, and the small answers: index pages and metadata. Files are in `parts` and `download`.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use reqwest::header::{
    ACCEPT, ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue,
};
use tokio::sync::{Semaphore, SemaphorePermit};
use url::Url;

use super::auth::{Auth, Credentials, Wrote};
use super::body::Body;
use super::names::Names;
use super::place::{Origin, masked};
use super::stored::{self, PAGES, Stored, header};
use super::wire::Answer;
use super::{Cache, Error, Keyring, tls};
use crate::domain::Sha256;

/// No index page is larger, unpacked: the largest there are have some ten megabytes.
const LARGEST_PAGE: usize = 64 << 20;
/// No metadata is larger.
const LARGEST_TEXT: usize = 16 << 20;

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
    pub(super) versions: Mutex<BTreeMap<String, (u64, Option<String>)>>,
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
        let signer = self.signer(url, Wrote::User).await;
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
        let signer = self.signer(url, Wrote::Server).await;
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

    pub(super) async fn signer(&self, url: &Url, wrote: Wrote) -> Option<Credentials> {
        self.auth.of(url, wrote, &|note| self.options.watcher.warn(note)).await
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
    pub(super) fn unkept(&self, error: &std::io::Error) {
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

fn connector(options: &Options) -> Result<reqwest::Client, Error> {
    tls::provider();
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
        .dns_resolver(Names::default())
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
pub(super) fn set(headers: &mut HeaderMap, name: HeaderName, value: &str) {
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
