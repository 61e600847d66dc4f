//! One question to a registry: bounded, put again where that may help, with a login where it is asked for.

use std::collections::BTreeMap;
use std::error::Error as _;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use oci_client::client::{ClientConfig, ClientProtocol};
use oci_client::errors::OciDistributionError;
use oci_client::secrets::RegistryAuth;
use oci_client::{Client, Reference, RegistryOperation};
use reqwest::header::{
    ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue, LINK, LOCATION, RETRY_AFTER,
    WWW_AUTHENTICATE,
};
use serde::Deserialize;
use url::Url;

use super::name::{Place, beside, loopback};
use super::{Credentials, Limits, RegistryError, Watcher};
use crate::domain::shown;
use crate::net::names::Names;

const AGENT: &str = concat!("gpuseal/", env!("CARGO_PKG_VERSION"));
/// Hops that an answer may be away.
const HOPS: usize = 5;

/// What is asked, and of whom.
#[derive(Clone, Copy)]
pub(super) struct Question<'a> {
    pub place: &'a Place,
    /// The registry in names.
    pub registry: &'a str,
    /// As the place names it.
    pub repository: &'a str,
    pub url: &'a Url,
    pub accept: &'static str,
    /// Bytes that an answer may have.
    pub cap: usize,
    /// When the caller goes away: no pause reaches beyond it.
    pub until: Instant,
}

impl Question<'_> {
    fn left(&self) -> Duration {
        self.until.saturating_duration_since(Instant::now())
    }
}

/// What came, whatever its status.
#[derive(Debug)]
pub(super) struct Answer {
    /// What was asked, without its query.
    pub url: String,
    pub status: u16,
    pub body: Vec<u8>,
    pub media_type: Option<String>,
    /// `Docker-Content-Digest`
    pub digest: Option<String>,
    /// There is a next page.
    pub more: bool,
    challenge: Option<HeaderValue>,
    retry_after: Option<Duration>,
}

impl Answer {
    fn errors(&self) -> Option<Fault> {
        #[derive(Deserialize)]
        struct Envelope {
            errors: Vec<Fault>,
        }
        serde_json::from_slice::<Envelope>(&self.body).ok()?.errors.into_iter().next()
    }

    /// The protocol's code for what is wrong.
    pub fn code(&self) -> Option<String> {
        self.errors().map(|fault| fault.code)
    }

    /// As an error, where nothing better can be said.
    pub fn refused(self) -> RegistryError {
        let text = self.errors().map_or(String::new(), |fault| fault.shown());
        RegistryError::Status { url: self.url, status: self.status, text }
    }
}

/// An error of the protocol.
#[derive(Deserialize)]
struct Fault {
    #[serde(default)]
    code: String,
    #[serde(default)]
    message: String,
}

impl Fault {
    fn shown(&self) -> String {
        shown(if self.message.is_empty() { &self.code } else { &self.message })
    }
}

/// Why a question has no answer, and whether to put it again.
struct Failed {
    error: RegistryError,
    again: bool,
}

impl From<RegistryError> for Failed {
    fn from(error: RegistryError) -> Self {
        Self { error, again: false }
    }
}

/// A place and a repository: what a token is good for.
type Scope = (String, String);

/// Puts questions.
pub(super) struct Asker {
    http: reqwest::Client,
    /// oci-client's, for places with and without TLS; made when a registry asks for a login.
    oci: [OnceLock<Client>; 2],
    /// Headers that a repository wants to see.
    tokens: Mutex<BTreeMap<Scope, HeaderValue>>,
    credentials: Credentials,
    limits: Limits,
    watcher: Arc<dyn Watcher>,
}

impl Asker {
    pub fn new(
        limits: Limits,
        credentials: Credentials,
        watcher: Arc<dyn Watcher>,
    ) -> Result<Self, RegistryError> {
        crate::net::tls::provider();
        let http = reqwest::Client::builder()
            .user_agent(AGENT)
            // Redirects are followed here, where it is known who may be asked.
            .redirect(reqwest::redirect::Policy::none())
            // A digest is one of the bytes that were sent.
            .no_gzip()
            .dns_resolver(Names::default())
            .connect_timeout(limits.connect)
            .read_timeout(limits.read)
            .build()
            .map_err(|err| RegistryError::Unreachable {
                host: "any registry".into(),
                reason: cause(&err),
            })?;
        let oci = [OnceLock::new(), OnceLock::new()];
        Ok(Self { http, oci, tokens: Mutex::default(), credentials, limits, watcher })
    }

    /// Asks; with a login once the place wants one. Gives up only where asking again is no use.
    pub async fn get(&self, question: Question<'_>) -> Result<Answer, RegistryError> {
        let Question { place, repository, .. } = question;
        let scope = (place.host.clone(), repository.to_owned());
        let known = self.tokens().get(&scope).cloned();
        let answer = self.patient(question, known.as_ref()).await?;
        if answer.status != 401 {
            return judged(question, answer, known.is_some());
        }
        // No token yet, or one whose time is over.
        self.tokens().remove(&scope);
        let login = self.credentials.find(&place.host, repository, self.limits.helper, |text| {
            self.watcher.warning(text);
        });
        let mut login = login.await;
        if login != RegistryAuth::Anonymous && place.http && !loopback(question.url) {
            self.watcher.warning(&format!(
                "{} is asked without TLS, so your login for it is not used",
                place.host
            ));
            login = RegistryAuth::Anonymous;
        }
        let with_credentials = login != RegistryAuth::Anonymous;
        let Some(token) = self.token(question, &answer, &login).await? else {
            return judged(question, answer, with_credentials);
        };
        let answer = self.patient(question, Some(&token)).await?;
        if answer.status != 401 {
            self.tokens().insert(scope, token);
        }
        judged(question, answer, with_credentials)
    }

    fn tokens(&self) -> std::sync::MutexGuard<'_, BTreeMap<Scope, HeaderValue>> {
        self.tokens.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks, and asks again after a pause where the place is out of breath.
    async fn patient(
        &self,
        question: Question<'_>,
        token: Option<&HeaderValue>,
    ) -> Result<Answer, RegistryError> {
        let mut pause = self.limits.pause;
        let mut left = self.limits.retries;
        loop {
            let result = self.once(question, token).await;
            let (asked_for, again) = match &result {
                Ok(answer) => {
                    (answer.retry_after, matches!(answer.status, 429 | 500 | 502 | 503 | 504))
                }
                Err(failed) => (None, failed.again),
            };
            // A place that wants more time than we have is not asked again before: better its answer
            // than none.
            let wait = asked_for.unwrap_or(pause);
            let had = self.limits.longest_pause.min(question.left());
            if !again || left == 0 || wait >= had {
                return result.map_err(|failed| failed.error);
            }
            tokio::time::sleep(wait).await;
            left -= 1;
            pause *= 2;
        }
    }

    /// Asks once, and goes after redirects.
    async fn once(
        &self,
        question: Question<'_>,
        token: Option<&HeaderValue>,
    ) -> Result<Answer, Failed> {
        let mut url = question.url.clone();
        for _ in 0..=HOPS {
            let start = Instant::now();
            let mut request = self.http.get(url.clone()).header(ACCEPT, question.accept);
            // A store beside the registry has its own signature in the address.
            if let Some(token) = token.filter(|_| url.origin() == question.url.origin()) {
                request = request.header(AUTHORIZATION, token.clone());
            }
            let result = match request.send().await {
                Ok(response) => self.read(question, response, &url).await,
                Err(err) => Err(unreachable(question.place, &err)),
            };
            let (told, bytes) = match &result {
                Ok((answer, _)) => (answer.status.to_string(), answer.body.len()),
                Err(_) => ("failed".to_owned(), 0),
            };
            // Signatures stand in the query.
            let mut bare = url.clone();
            bare.set_query(None);
            self.watcher.asked(&format!("GET {bare} {told}"), bytes as u64, start.elapsed());
            let (answer, next) = result?;
            match next {
                None => return Ok(answer),
                Some(next) => url = allowed(question.place, &url, &next)?,
            }
        }
        Err(elsewhere(question.url, &url, "it is too many redirects").into())
    }

    /// Reads an answer, or where it is to be had.
    async fn read(
        &self,
        question: Question<'_>,
        mut response: reqwest::Response,
        url: &Url,
    ) -> Result<(Answer, Option<String>), Failed> {
        let headers = std::mem::take(response.headers_mut());
        let text =
            |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let status = response.status().as_u16();
        let mut named = url.clone();
        named.set_query(None);
        let mut answer = Answer {
            url: named.to_string(),
            status,
            body: Vec::new(),
            media_type: text(CONTENT_TYPE.as_str()),
            digest: text("docker-content-digest").filter(|text| !text.is_empty()),
            more: text(LINK.as_str()).is_some_and(|link| link.contains("next")),
            challenge: headers.get(WWW_AUTHENTICATE).cloned(),
            retry_after: retry_after(&headers),
        };
        if matches!(status, 301 | 302 | 303 | 307 | 308)
            && let Some(next) = text(LOCATION.as_str())
        {
            return Ok((answer, Some(next)));
        }
        // A refusal is a few words; the rest of it is of no interest.
        let cap = if status == 200 { question.cap } else { 64 * 1024 };
        let too_big = || RegistryError::TooBig { url: named.to_string(), limit: cap };
        if status == 200 && response.content_length().is_some_and(|length| length > cap as u64) {
            return Err(too_big().into());
        }
        loop {
            match response.chunk().await {
                Ok(Some(chunk)) if answer.body.len() + chunk.len() <= cap => {
                    answer.body.extend_from_slice(&chunk);
                }
                Ok(Some(_)) if status == 200 => return Err(too_big().into()),
                Ok(_) => return Ok((answer, None)),
                // What a refusal says is a courtesy.
                Err(_) if status != 200 => return Ok((answer, None)),
                Err(err) => return Err(unreachable(question.place, &err)),
            }
        }
    }

    /// The header that the place wants to see, by oci-client. None where it offers no way to get one.
    async fn token(
        &self,
        question: Question<'_>,
        answer: &Answer,
        login: &RegistryAuth,
    ) -> Result<Option<HeaderValue>, RegistryError> {
        let Question { place, repository, .. } = question;
        let realm = answer.challenge.as_ref().and_then(realm);
        if let Some(realm) = &realm {
            allowed(place, question.url, realm)?;
        }
        let shape = |reason: &str| RegistryError::Shape {
            url: realm.clone().unwrap_or_else(|| question.url.to_string()),
            reason: reason.into(),
        };
        let oci = self.oci(place)?;
        let image =
            Reference::with_tag(place.host.clone(), repository.to_owned(), "latest".to_owned());
        let mut pause = self.limits.pause;
        let mut left = self.limits.retries;
        let token = loop {
            let start = Instant::now();
            let result = oci.auth(&image, login, RegistryOperation::Pull).await;
            let what = format!(
                "GET {} token for {repository}{}",
                realm.as_deref().unwrap_or(&place.host),
                if result.is_ok() { "" } else { " failed" }
            );
            let bytes = result.iter().flatten().map(String::len).sum::<usize>();
            self.watcher.asked(&what, bytes as u64, start.elapsed());
            let (error, again) = match result {
                Ok(token) => break token,
                Err(OciDistributionError::RequestError(err)) => {
                    let failed = unreachable(place, &err);
                    (failed.error, failed.again)
                }
                Err(OciDistributionError::AuthenticationFailure(text)) => {
                    let fault = failure(&text);
                    let limited = fault.code == "TOOMANYREQUESTS";
                    let error = if limited {
                        RegistryError::RateLimited {
                            host: place.host.clone(),
                            registry: question.registry.to_owned(),
                            after: None,
                        }
                    } else {
                        RegistryError::Denied {
                            host: place.host.clone(),
                            repository: repository.to_owned(),
                            text: fault.shown(),
                            with_credentials: *login != RegistryAuth::Anonymous,
                        }
                    };
                    // A wrong password, sent again and again, locks an account.
                    (error, limited || (fault.code.is_empty() && *login == RegistryAuth::Anonymous))
                }
                // Neither may be shown as it is: the text may hold the token.
                Err(OciDistributionError::RegistryTokenDecodeError(_)) => {
                    (shape("its answer is no token"), false)
                }
                Err(_) => (shape("authentication went wrong"), false),
            };
            if !again || left == 0 || pause >= question.left() {
                return Err(error);
            }
            tokio::time::sleep(pause).await;
            left -= 1;
            pause *= 2;
        };
        let mut header = match (token, login) {
            (Some(token), _) => HeaderValue::from_str(&format!("Bearer {token}"))
                .map_err(|_| shape("its answer is no token"))?,
            (None, RegistryAuth::Basic(user, word)) => basic(user, word),
            (None, _) => return Ok(None),
        };
        header.set_sensitive(true);
        Ok(Some(header))
    }

    /// oci-client's client, with or without TLS.
    fn oci(&self, place: &Place) -> Result<&Client, RegistryError> {
        let at = &self.oci[usize::from(place.http)];
        if let Some(client) = at.get() {
            return Ok(client);
        }
        let protocol = if place.http { ClientProtocol::Http } else { ClientProtocol::Https };
        let client = Client::try_from(ClientConfig {
            protocol,
            connect_timeout: Some(self.limits.connect),
            read_timeout: Some(self.limits.read),
            user_agent: AGENT,
            platform_resolver: None,
            ..ClientConfig::default()
        })
        .map_err(|err| RegistryError::Unreachable {
            host: place.host.clone(),
            reason: shown(&err.to_string()),
        })?;
        Ok(at.get_or_init(|| client))
    }
}

/// What an answer means that is the last.
fn judged(
    question: Question<'_>,
    answer: Answer,
    with_credentials: bool,
) -> Result<Answer, RegistryError> {
    let Question { place, registry, repository, .. } = question;
    let limited = |answer: &Answer| answer.code().is_some_and(|code| code == "TOOMANYREQUESTS");
    match answer.status {
        200 => Ok(answer),
        status if status == 429 || limited(&answer) => Err(RegistryError::RateLimited {
            host: place.host.clone(),
            registry: registry.to_owned(),
            after: answer.retry_after,
        }),
        401 | 403 => Err(RegistryError::Denied {
            host: place.host.clone(),
            repository: repository.to_owned(),
            text: answer.errors().map_or(String::new(), |fault| fault.shown()),
            with_credentials,
        }),
        _ => Ok(answer),
    }
}

/// Where a registry sends us, if we go there: never from TLS to none, and from a mirror only to what
/// stands beside it.
fn allowed(place: &Place, from: &Url, to: &str) -> Result<Url, RegistryError> {
    let Ok(next) = from.join(to) else {
        return Err(RegistryError::Elsewhere {
            from: from.host_str().unwrap_or_default().to_owned(),
            to: shown(to),
            reason: "that is no address",
        });
    };
    let reason = match next.scheme() {
        "https" => None,
        "http" if place.http => None,
        "http" => Some("that is without TLS"),
        _ => Some("only `http` and `https` are spoken"),
    };
    let home = place.url("")?;
    let reason = reason.or_else(|| {
        (place.mirror && !beside(&home, &next)).then_some("a mirror has to answer by itself")
    });
    match reason {
        Some(reason) => Err(elsewhere(from, &next, reason)),
        None => Ok(next),
    }
}

fn elsewhere(from: &Url, to: &Url, reason: &'static str) -> RegistryError {
    let named = |url: &Url| shown(&url.origin().ascii_serialization());
    RegistryError::Elsewhere { from: named(from), to: named(to), reason }
}

/// The token server that a challenge names. Only to judge it: oci-client reads it for itself.
fn realm(challenge: &HeaderValue) -> Option<String> {
    let text = challenge.to_str().ok()?;
    let bearer = text.get(..7).is_some_and(|scheme| scheme.eq_ignore_ascii_case("bearer "));
    let at = text.to_ascii_lowercase().find("realm=\"").filter(|_| bearer)?;
    text.get(at + "realm=\"".len()..)?.split('"').next().map(str::to_owned)
}

/// What a token server says, in the registry's shape or in its own.
fn failure(text: &str) -> Fault {
    #[derive(Deserialize)]
    struct Text {
        errors: Option<Vec<Fault>>,
        #[serde(default)]
        details: String,
    }
    let read = serde_json::from_str::<Text>(text).ok();
    let details = read.as_ref().map(|t| t.details.clone()).unwrap_or_default();
    read.and_then(|t| t.errors?.into_iter().next()).unwrap_or_else(|| {
        // Docker's own says only `details`, and means credentials.
        let code = if details.is_empty() { "" } else { "UNAUTHORIZED" };
        Fault { code: code.into(), message: details }
    })
}

fn basic(user: &str, word: &str) -> HeaderValue {
    use base64::Engine as _;

    let text = base64::engine::general_purpose::STANDARD.encode(format!("{user}:{word}"));
    // Base64 has no letter that a header may not.
    HeaderValue::from_str(&format!("Basic {text}"))
        .unwrap_or_else(|_| HeaderValue::from_static("Basic"))
}

/// Seconds to wait, where the place says so in seconds; a date is left to our own pause.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    crate::domain::digits::<u32>(text).map(|seconds| Duration::from_secs(seconds.into()))
}

fn unreachable(place: &Place, err: &reqwest::Error) -> Failed {
    let error = RegistryError::Unreachable { host: place.host.clone(), reason: cause(err) };
    // A certificate will not be another one in a second.
    Failed { again: !err.is_builder() && !cause(err).contains("certificate"), error }
}

/// The innermost reason, which is the one that says something.
fn cause(err: &reqwest::Error) -> String {
    let mut inner = err.source();
    while let Some(next) = inner.and_then(std::error::Error::source) {
        inner = Some(next);
    }
    if err.is_timeout() {
        return if err.is_connect() { "no connection in time" } else { "no answer in time" }.into();
    }
    // The address may have a signature in its query.
    inner.map_or_else(|| "the request failed".into(), |inner| shown(&inner.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_realm_is_judged_before_it_is_asked() {
        let realm = |text: &'static str| super::realm(&HeaderValue::from_static(text));
        let given = r#"Bearer realm="https://auth.example.org/token",service="x""#;
        assert_eq!(realm(given).as_deref(), Some("https://auth.example.org/token"));
        assert_eq!(realm(r#"bearer service="x", Realm="y""#).as_deref(), Some("y"));
        assert_eq!(realm(r#"Basic realm="x""#), None);
        assert_eq!(realm("Bearer"), None);
        assert_eq!(realm("Bearer realm=\"").as_deref(), Some(""));

        let place = |mirror| Place::of(mirror, "docker.io").expect("a place");
        let from = |place: &Place| place.url("x/manifests/1").expect("an address");
        let goes = |place: &Place, to: &str| allowed(place, &from(place), to).is_ok();
        let hub = place(None);
        assert!(goes(&hub, "https://auth.docker.io/token"));
        assert!(goes(&hub, "https://store.example.org/x"));
        assert!(!goes(&hub, "http://auth.docker.io/token"));
        assert!(!goes(&hub, "file:///etc/passwd"));
        let mirror = place(Some("registry.example.org/hub"));
        assert!(goes(&mirror, "/token"));
        assert!(goes(&mirror, "https://auth.example.org/token"));
        assert!(!goes(&mirror, "https://auth.docker.io/token"));
    }

    #[test]
    fn token_servers_say_no_in_two_ways() {
        let code = |text: &str| failure(text).code;
        assert_eq!(code(r#"{"errors":[{"code":"DENIED","message":"no"}]}"#), "DENIED");
        assert_eq!(code(r#"{"details":"incorrect username or password"}"#), "UNAUTHORIZED");
        assert_eq!(code("<html>"), "");
        assert_eq!(code(r#"{"errors":[]}"#), "");
    }
}
