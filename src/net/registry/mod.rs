//! Digests of images: from a tag to the manifest of one platform.
//!
//! oci-client does the authentication: the challenge, the token server, Basic where that is asked for.
//! The questions themselves are put here, because it reads answers of any size, follows any redirect
//! and keeps the headers of a refusal (`Retry-After`) to itself.

mod ask;
mod credentials;
mod error;
mod manifest;
mod name;
mod nearest;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Deserialize;
use tokio::sync::Semaphore;
use tokio::time::timeout;
use url::Url;

pub use credentials::Credentials;
pub use error::RegistryError;
pub use name::{Wanted, reference};

use crate::domain::{Order as _, Sha256, shown};
use ask::{Answer, Asker, Question};
use manifest::Manifest;
use name::{Place, canonical};

/// A manifest is a few kilobytes, an index of many platforms some tens; registries cap both at this.
const MANIFEST: usize = 4 * 1024 * 1024;
/// A page of tags.
const PAGE: usize = 4 * 1024 * 1024;
/// Pages of tags, and tags, to look through for one that looks alike.
const PAGES: usize = 20;
const TAGS: usize = 10_000;
/// Questions at a time.
const TURNS: usize = 4;

/// What a tag stands for today.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Digest of the image of the platform that was asked for.
    pub digest: Sha256,
    /// Digest of the index behind the tag, where there is one.
    pub index: Option<Sha256>,
    /// Bytes of its layers, compressed as they are pulled; `None` where the manifest has no sum.
    pub size: Option<u64>,
}

/// Who is told what goes over the network.
pub trait Watcher: Send + Sync {
    /// An answer came, or did not: `GET https://... 200`, bytes of its body, and how long it took.
    fn asked(&self, what: &str, bytes: u64, took: Duration) {
        let _ = (what, bytes, took);
    }
    /// Something is not as it should be, and the question goes on.
    fn warning(&self, text: &str) {
        let _ = text;
    }
}

/// Nobody.
impl Watcher for () {}

/// How long, and how often.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Until a connection stands.
    pub connect: Duration,
    /// Between two bytes.
    pub read: Duration,
    /// For the digest of one image, all waits included.
    pub whole: Duration,
    /// For the list of tags, when one does not exist.
    pub tags: Duration,
    /// For a credential helper.
    pub helper: Duration,
    /// How often a question is put again.
    pub retries: u32,
    /// The first pause before that; it doubles.
    pub pause: Duration,
    /// The longest pause that a registry may ask for.
    pub longest_pause: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            read: Duration::from_secs(30),
            whole: Duration::from_mins(1),
            tags: Duration::from_secs(15),
            helper: Duration::from_secs(10),
            retries: 3,
            pause: Duration::from_millis(500),
            longest_pause: Duration::from_secs(30),
        }
    }
}

/// What [`Registries`] are built from.
pub struct Options {
    /// Registry to mirror: `docker.io` to `registry.example.org/hub`, or `http://127.0.0.1:5000`.
    pub mirrors: BTreeMap<String, String>,
    /// Where logins are looked for.
    pub credentials: Credentials,
    /// How long, and how often.
    pub limits: Limits,
    /// Who is told.
    pub watcher: Arc<dyn Watcher>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            mirrors: BTreeMap::new(),
            credentials: Credentials::none(),
            limits: Limits::default(),
            watcher: Arc::new(()),
        }
    }
}

/// Container registries, or their mirrors.
pub struct Registries {
    mirrors: BTreeMap<String, Place>,
    asker: Asker,
    limits: Limits,
    turns: Semaphore,
}

impl Registries {
    /// A client for all registries.
    ///
    /// # Errors
    /// Refuses a mirror that cannot be asked, and a machine whose certificates cannot be read.
    pub fn new(options: Options) -> Result<Self, RegistryError> {
        let mut mirrors = BTreeMap::new();
        for (registry, mirror) in &options.mirrors {
            let name = canonical(registry);
            mirrors.insert(name.to_owned(), Place::of(Some(mirror), name)?);
        }
        let limits = options.limits;
        let asker = Asker::new(limits, options.credentials, options.watcher)?;
        Ok(Self { mirrors, asker, limits, turns: Semaphore::new(TURNS) })
    }

    /// Asks for the digest of an image.
    ///
    /// # Errors
    /// See [`RegistryError`]; an honest no is one that the registry itself gave.
    pub async fn digest(&self, image: &Wanted) -> Result<Found, RegistryError> {
        // The semaphore is never closed: without a turn there is only more at a time.
        let _turn = self.turns.acquire().await.ok();
        timeout(self.limits.whole, self.find(image)).await.unwrap_or_else(|_| {
            Err(RegistryError::TimedOut { image: image.reference(), limit: self.limits.whole })
        })
    }

    async fn find(&self, image: &Wanted) -> Result<Found, RegistryError> {
        let until = Instant::now() + self.limits.whole;
        let registry = canonical(&image.registry);
        let place = match self.mirrors.get(registry) {
            Some(place) => place.clone(),
            None => Place::of(None, registry)?,
        };
        let repository = place.repository(&image.repository);
        let asked = Asked { place: &place, registry, repository: &repository, until };

        let answer = self.manifest(asked, &image.tag).await?;
        if answer.status == 404 {
            return Err(self.missing(asked, image, &answer).await);
        }
        let (top, manifest) = read(answer)?;
        let entries = match manifest {
            Manifest::Image { config, size } => {
                let built = self.config(asked, &config).await?;
                return if built.serves(image.platform) {
                    Ok(Found { digest: top, index: None, size })
                } else {
                    Err(no_platform(image, vec![built.shown()]))
                };
            }
            Manifest::Index(entries) => entries,
        };
        let Some(entry) = entries.iter().find(|entry| entry.built_for.serves(image.platform))
        else {
            let mut found: Vec<_> = entries.iter().map(|e| e.built_for.shown()).collect();
            found.order();
            found.dedup();
            found.truncate(20);
            return Err(no_platform(image, found));
        };

        // That the index lists it does not mean that it is there, least of all at a mirror.
        let answer = self.manifest(asked, entry.digest.as_str()).await?;
        if answer.status == 404 {
            return Err(RegistryError::Incomplete {
                host: place.host.clone(),
                image: image.reference(),
                digest: entry.digest.to_string(),
            });
        }
        let (url, size) = (answer.url.clone(), answer.body.len() as u64);
        let (digest, manifest) = read(answer)?;
        let differs = |actual: String, promised: String| RegistryError::Digest {
            url: url.clone(),
            actual,
            by: "the index",
            promised,
        };
        if digest != entry.digest {
            return Err(differs(digest.to_string(), entry.digest.to_string()));
        }
        if size != entry.size {
            return Err(differs(format!("{size} bytes"), format!("{} bytes", entry.size)));
        }
        match manifest {
            Manifest::Image { size, .. } => Ok(Found { digest, index: Some(top), size }),
            Manifest::Index(_) => Err(RegistryError::Shape {
                url,
                reason: "an index stands where an image should".into(),
            }),
        }
    }

    /// A manifest by its tag or digest; the status is 200 or 404.
    async fn manifest(&self, asked: Asked<'_>, what: &str) -> Result<Answer, RegistryError> {
        let url = asked.url(&format!("manifests/{what}"))?;
        let answer = self.get(asked, &url, manifest::ACCEPT, MANIFEST).await?;
        match answer.status {
            200 | 404 => Ok(answer),
            _ => Err(answer.refused()),
        }
    }

    /// The platform of an image that stands alone.
    async fn config(
        &self,
        asked: Asked<'_>,
        digest: &Sha256,
    ) -> Result<manifest::BuiltFor, RegistryError> {
        let url = asked.url(&format!("blobs/{digest}"))?;
        let answer = self.get(asked, &url, "*/*", MANIFEST).await?;
        if answer.status != 200 {
            return Err(answer.refused());
        }
        let actual = Sha256::of(&answer.body);
        if actual != *digest {
            return Err(RegistryError::Digest {
                url: answer.url,
                actual: actual.to_string(),
                by: "the image",
                promised: digest.to_string(),
            });
        }
        manifest::config(&answer.body)
            .map_err(|reason| RegistryError::Shape { url: answer.url, reason })
    }

    async fn get(
        &self,
        asked: Asked<'_>,
        url: &Url,
        accept: &'static str,
        cap: usize,
    ) -> Result<Answer, RegistryError> {
        let Asked { place, registry, repository, until } = asked;
        self.asker.get(Question { place, registry, repository, url, accept, cap, until }).await
    }

    /// What a 404 means: no such repository, or no such tag, with those that look alike.
    async fn missing(&self, asked: Asked<'_>, image: &Wanted, answer: &Answer) -> RegistryError {
        let (host, repository) = (asked.place.host.clone(), asked.repository.to_owned());
        if answer.code() == Some("NAME_UNKNOWN".into()) {
            return RegistryError::NoRepository { host, repository };
        }
        // Names of tags are a courtesy: whatever goes wrong with them, the answer stands.
        let left = asked.until.saturating_duration_since(Instant::now());
        let left = left.saturating_sub(Duration::from_millis(200)).min(self.limits.tags);
        let mut tags = Vec::new();
        let listed = timeout(left, self.tags(asked, &mut tags)).await;
        if let Ok(Ok(Some(404))) = listed {
            return RegistryError::NoRepository { host, repository };
        }
        let near = nearest::nearest(&image.tag, &tags);
        RegistryError::NoTag { host, repository, tag: image.tag.clone(), near }
    }

    /// Collects tags, page by page. The status, where it is none of success.
    async fn tags(
        &self,
        asked: Asked<'_>,
        tags: &mut Vec<String>,
    ) -> Result<Option<u16>, RegistryError> {
        #[derive(Deserialize)]
        struct Page {
            #[serde(default)]
            tags: Option<Vec<String>>,
        }

        let mut url = asked.url("tags/list")?;
        for page in 0..PAGES {
            let last = tags.last().filter(|_| page > 0).cloned();
            url.query_pairs_mut().clear().append_pair("n", "1000");
            if let Some(last) = &last {
                url.query_pairs_mut().append_pair("last", last);
            }
            let answer = self.get(asked, &url, "application/json", PAGE).await?;
            if answer.status != 200 {
                return Ok(Some(answer.status));
            }
            let Ok(read) = serde_json::from_slice::<Page>(&answer.body) else { break };
            let read = read.tags.unwrap_or_default();
            // A registry that knows no pages gives the first one for ever.
            let again = last.is_some() && read.first() == tags.first();
            if read.is_empty() || again {
                break;
            }
            tags.extend(read.into_iter().take(TAGS - tags.len()));
            if tags.len() >= TAGS || !answer.more {
                break;
            }
        }
        Ok(None)
    }
}

/// A repository at the place where it is asked for.
#[derive(Clone, Copy)]
struct Asked<'a> {
    place: &'a Place,
    registry: &'a str,
    repository: &'a str,
    until: Instant,
}

impl Asked<'_> {
    fn url(self, rest: &str) -> Result<Url, RegistryError> {
        self.place.url(&format!("{}/{rest}", self.repository))
    }
}

/// The digest of an answer's bytes, which the registry's header must not contradict, and what it is.
fn read(answer: Answer) -> Result<(Sha256, Manifest), RegistryError> {
    let digest = Sha256::of(&answer.body);
    // Another algorithm would be a digest that no lock of ours could name.
    if let Some(promised) = answer.digest.filter(|text| text != digest.as_str()) {
        return Err(RegistryError::Digest {
            url: answer.url,
            actual: digest.to_string(),
            by: "the registry's header",
            promised: shown(&promised),
        });
    }
    let manifest = manifest::read(&answer.body, answer.media_type.as_deref())
        .map_err(|reason| RegistryError::Shape { url: answer.url, reason })?;
    Ok((digest, manifest))
}

fn no_platform(image: &Wanted, found: Vec<String>) -> RegistryError {
    RegistryError::NoPlatform {
        image: image.reference(),
        platform: image.platform.to_string(),
        found,
    }
}
