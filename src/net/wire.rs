//! One question and its answer: redirects, limits, and an account of every byte.

use std::time::{Duration, Instant, SystemTime};

use reqwest::StatusCode;
use reqwest::header::{HeaderMap, LOCATION, RETRY_AFTER};
use tokio::time::timeout;
use url::Url;

use super::auth::Credentials;
use super::client::{Client, Request};
use super::place::{Origin, bare, followed, masked};
use super::retry::{self, retry_after};
use super::stored::header;
use super::{Error, Phase};

/// A page that redirects more often leads nowhere.
const REDIRECTS: usize = 5;

/// An answer whose body is still to be read.
pub(super) struct Answer<'c> {
    client: &'c Client,
    response: reqwest::Response,
    meter: Meter<'c>,
    /// Where it came from in the end.
    pub(super) url: Url,
    /// The same as it may be shown.
    pub(super) shown: String,
    signed: bool,
}

/// Tells the watcher about a request when all that will be read of it has been read.
struct Meter<'c> {
    client: &'c Client,
    url: String,
    start: Instant,
    status: Option<u16>,
    bytes: u64,
}

impl Drop for Meter<'_> {
    fn drop(&mut self) {
        self.client.account(&Request {
            method: "GET",
            url: std::mem::take(&mut self.url),
            status: self.status,
            bytes: self.bytes,
            took: self.start.elapsed(),
            cached: self.status == Some(304),
        });
    }
}

impl Client {
    /// Asks once, and goes where the redirects lead.
    ///
    /// Credentials go to the server they belong to and to no other, wherever it redirects.
    pub(super) async fn send(
        &self,
        url: &Url,
        headers: &HeaderMap,
        credentials: Option<&Credentials>,
    ) -> Result<Answer<'_>, Error> {
        let Some(http) = &self.http else {
            return Err(Error::Offline { url: masked(url) });
        };
        let first = Origin::of(url).ok_or_else(|| Error::Scheme { url: masked(url) })?;
        self.inside(None, &first)?;
        let mut url = bare(url);
        for _ in 0..=REDIRECTS {
            let origin = Origin::of(&url).ok_or_else(|| Error::Scheme { url: masked(&url) })?;
            let shown = masked(&url);
            let mut request = http.get(url.clone()).headers(headers.clone());
            let credentials = credentials.filter(|_| origin == first);
            if let Some(known) = credentials {
                request = request.basic_auth(&known.user, Some(&known.password));
            }
            let mut meter = Meter {
                client: self,
                url: shown.clone(),
                start: Instant::now(),
                status: None,
                bytes: 0,
            };
            // The connection has its own limit, inside.
            let limit = self.options.connect_timeout.saturating_add(self.options.read_timeout);
            let response = match timeout(limit, request.send()).await {
                Err(_) => {
                    let after = self.options.read_timeout;
                    return Err(Error::Timeout { url: shown, phase: Phase::Byte, after });
                }
                Ok(Err(error)) => return Err(self.unreached(shown, &error)),
                Ok(Ok(response)) => response,
            };
            let status = response.status();
            meter.status = Some(status.as_u16());
            if !matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308) {
                let signed = credentials.is_some();
                return Ok(Answer { client: self, response, meter, url, shown, signed });
            }
            let location =
                header(response.headers(), &LOCATION).ok_or(Error::Location { url: shown })?;
            url = followed(&url, &location)?;
            let next = Origin::of(&url).ok_or_else(|| Error::Scheme { url: masked(&url) })?;
            self.inside(Some(&origin), &next)?;
        }
        Err(Error::Redirects { url: masked(&url), limit: REDIRECTS })
    }

    /// Whether a request may go there.
    pub(super) fn inside(&self, from: Option<&Origin>, to: &Origin) -> Result<(), Error> {
        match &self.options.fence {
            Some(fence) if !fence.contains(to) => Err(Error::Fence {
                from: from.map(ToString::to_string),
                to: to.to_string(),
                allowed: fence.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
            }),
            _ => Ok(()),
        }
    }

    fn unreached(&self, url: String, error: &reqwest::Error) -> Error {
        if error.is_timeout() {
            let after = self.options.connect_timeout;
            return Error::Timeout { url, phase: Phase::Connect, after };
        }
        let (reason, certificate) = reason(error);
        Error::Connect { url, reason, certificate }
    }

    /// Asks until there is an answer, or no hope. `whole` bounds all tries and waits together, from the
    /// moment when it is this request's turn.
    pub(super) async fn tried<T>(
        &self,
        url: &Url,
        whole: Option<Duration>,
        once: impl AsyncFn() -> Result<T, Error>,
    ) -> Result<T, Error> {
        let mut turn = self.turn().await;
        let start = Instant::now();
        let left = || whole.map_or(Duration::MAX, |whole| whole.saturating_sub(start.elapsed()));
        let mut tries = 0;
        loop {
            tries += 1;
            let error = match timeout(left(), once()).await {
                Ok(Ok(got)) => return Ok(got),
                Ok(Err(error)) => error,
                Err(_) => {
                    let after = whole.unwrap_or_default();
                    return Err(Error::Timeout { url: masked(url), phase: Phase::Whole, after });
                }
            };
            // Who waits lets others ask.
            drop(turn);
            if !error.passing() {
                return Err(error);
            }
            let back_off = retry::back_off(self.options.back_off, tries, retry::seed());
            let wait = match &error {
                Error::Status { url, status, wait: Some(wait) } if *wait > retry::LONGEST => {
                    let (url, status, wait) = (url.clone(), *status, *wait);
                    return Err(Error::Busy { url, status, wait, limit: retry::LONGEST });
                }
                // "At once" is said to all who ask.
                Error::Status { wait: Some(wait), .. } => (*wait).max(back_off),
                _ => back_off,
            };
            if tries > self.options.retries || wait >= left() {
                return Err(match tries {
                    1 => error,
                    _ => Error::Repeated { tries, last: Box::new(error) },
                });
            }
            self.options.watcher.retry(&format!(
                "{error}; try {} of {} in {:.1} s",
                tries + 1,
                self.options.retries + 1,
                wait.as_secs_f64()
            ));
            tokio::time::sleep(wait).await;
            turn = self.turn().await;
        }
    }
}

impl Answer<'_> {
    /// The status.
    pub(super) fn status(&self) -> StatusCode {
        self.response.status()
    }

    /// All headers.
    pub(super) fn headers(&self) -> &HeaderMap {
        self.response.headers()
    }

    /// How many bytes are announced.
    pub(super) fn announced(&self) -> Option<u64> {
        self.response.content_length()
    }

    /// What a status means that is no answer.
    pub(super) fn refused(&self) -> Error {
        let (url, status) = (self.shown.clone(), self.status().as_u16());
        match status {
            404 | 410 => Error::NotFound { url, status },
            401 | 403 => Error::Denied { url, status, signed: self.signed },
            _ => {
                let wait = header(self.headers(), &RETRY_AFTER)
                    .and_then(|given| retry_after(&given, SystemTime::now()));
                Error::Status { url, status, wait }
            }
        }
    }

    /// Reads the body, piece by piece, and says how long it was.
    pub(super) async fn read(
        &mut self,
        limit: u64,
        mut take: impl FnMut(&[u8]) -> Result<(), Error>,
    ) -> Result<u64, Error> {
        let promised = self.announced();
        if let Some(claims) = promised.filter(|claims| *claims > limit) {
            return Err(Error::TooBig { url: self.shown.clone(), limit, claims: Some(claims) });
        }
        let mut sent = 0;
        let after = self.client.options.read_timeout;
        loop {
            let cut = |sent| Error::Cut { url: self.shown.clone(), promised, sent };
            let piece = match timeout(after, self.response.chunk()).await {
                Err(_) => {
                    let url = self.shown.clone();
                    return Err(Error::Timeout { url, phase: Phase::Byte, after });
                }
                Ok(Err(_)) => return Err(cut(sent)),
                Ok(Ok(None)) if promised.is_some_and(|promised| promised != sent) => {
                    return Err(cut(sent));
                }
                Ok(Ok(None)) => return Ok(sent),
                Ok(Ok(Some(piece))) => piece,
            };
            sent += piece.len() as u64;
            self.meter.bytes = sent;
            if sent > limit {
                return Err(Error::TooBig { url: self.shown.clone(), limit, claims: None });
            }
            take(&piece)?;
        }
    }
}

/// The innermost reason of an error, and whether it is about certificates.
fn reason(error: &reqwest::Error) -> (String, bool) {
    let mut reason = "the request failed".to_owned();
    let mut certificate = false;
    let mut next: Option<&(dyn std::error::Error + 'static)> = std::error::Error::source(error);
    // What the connection is lost in is deeper than any real chain.
    for _ in 0..16 {
        let Some(cause) = next else {
            break;
        };
        // An I/O error counts the sources of what it wraps, and not that itself.
        let inner = cause.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        if let Some(inner) = inner {
            next = Some(inner);
            continue;
        }
        if let Some(tls) = cause.downcast_ref::<rustls::Error>() {
            certificate |= matches!(
                tls,
                rustls::Error::InvalidCertificate(_) | rustls::Error::NoCertificatesPresented
            );
        }
        reason = cause.to_string();
        next = cause.source();
    }
    (reason.chars().filter(|c| !c.is_control()).take(300).collect(), certificate)
}
