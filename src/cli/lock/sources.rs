//! The indexes: where they are, who asks them, and what they answer.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use url::Url;

use super::online::Job;
use super::watch::Watch;
use crate::closure::Inspected;
use crate::error::Error;
use crate::index::page;
use crate::lock::{Index, Origin};
use crate::net::{self, Cache, Client, Keyring, settings, wheel};

/// A question with all that it takes to put it.
pub enum Question {
    Page(Index, String),
    File(Index, Box<page::File>),
}

/// What an ask came to.
pub enum Answer {
    Page(Index, String, page::Page),
    File(String, Box<Inspected>),
}

/// The indexes, and who asks them.
pub struct Sources {
    cache: Option<Cache>,
    pypi: Client,
    pytorch: Client,
    /// The root of the PyTorch wheel index.
    pytorch_url: Option<Url>,
    /// The root of PyPI, once it is needed.
    pypi_url: OnceLock<settings::PypiAddress>,
}

impl Sources {
    pub fn new(job: &Job<'_>, watch: &Arc<Watch>) -> Result<Self, Error> {
        let args = job.args;
        let folder = args.cache_dir.clone().or_else(Cache::default_folder);
        let cache = folder.filter(|_| !args.no_cache).map(Cache::at);
        let mirrors = &job.asked.wanted.mirrors;
        let client = |mirror: Option<&str>| -> Result<Client, Error> {
            let fence = mirror.map(root).transpose()?;
            Ok(Client::new(net::Options {
                offline: args.offline,
                cache: cache.clone(),
                fence: fence.and_then(|url| net::Origin::of(&url)).map(|origin| vec![origin]),
                watcher: watch.clone(),
                keyring: keyring(),
                retries: args.retries,
                read_timeout: Duration::from_secs(args.timeout),
                connect_timeout: Duration::from_secs(args.timeout.min(10)),
                total: Duration::from_secs(args.timeout * 4),
                ..net::Options::default()
            })?)
        };
        Ok(Self {
            pypi: client(mirrors.pypi.as_deref())?,
            pytorch: client(mirrors.pytorch.as_deref())?,
            pytorch_url: mirrors.pytorch.as_deref().map(root).transpose()?,
            pypi_url: OnceLock::new(),
            cache,
        })
    }

    fn client(&self, index: Index) -> &Client {
        match index {
            Index::Pypi => &self.pypi,
            Index::Pytorch(_) => &self.pytorch,
        }
    }

    pub fn traffic(&self) -> net::Traffic {
        let (a, b) = (self.pypi.traffic(), self.pytorch.traffic());
        net::Traffic {
            requests: a.requests + b.requests,
            bytes: a.bytes + b.bytes,
            cached: a.cached + b.cached,
        }
    }

    pub fn notes(&self) -> Vec<String> {
        self.pypi_url.get().map(|address| address.notes.clone()).unwrap_or_default()
    }

    /// Where PyPI is: its mirror, or where the user's pip and uv look for it.
    pub fn pypi_url(&self, job: &Job<'_>) -> Result<Url, Error> {
        if let Some(mirror) = &job.asked.wanted.mirrors.pypi {
            return root(mirror);
        }
        if let Some(known) = self.pypi_url.get() {
            return Ok(known.url.clone());
        }
        let look = settings::Look::here(&job.args.wanted.project);
        let address = settings::pypi(&look)?;
        Ok(self.pypi_url.get_or_init(|| address).url.clone())
    }

    /// The page of a package.
    fn page_url(&self, job: &Job<'_>, index: Index, name: &str) -> Result<Url, Error> {
        let root = match (index, &self.pytorch_url) {
            (Index::Pypi, _) => self.pypi_url(job)?,
            (Index::Pytorch(variant), Some(mirror)) => join(mirror, &variant.to_string())?,
            (Index::Pytorch(_), None) => root(&index.url().unwrap_or_default())?,
        };
        join(&root, name)
    }

    /// Puts a question to the index that it is for.
    pub async fn answer(&self, job: &Job<'_>, question: Question) -> Result<Answer, Error> {
        match question {
            Question::Page(index, name) => {
                let url = self.page_url(job, index, &name)?;
                let page = match self.client(index).page(&url, page::ACCEPT).await {
                    Ok(page) => {
                        page::read(&page.body, page.content_type.as_deref(), &page.url).map_err(
                            |why| Error::Page { url: net::masked(&url), why: Box::new(why) },
                        )?
                    }
                    // No such package there. The PyTorch wheel index says 403 for it.
                    Err(net::Error::NotFound { .. }) => page::Page::empty(),
                    Err(net::Error::Denied { signed: false, status: 403, .. })
                        if index != Index::Pypi =>
                    {
                        page::Page::empty()
                    }
                    Err(err) => return Err(err.into()),
                };
                Ok(Answer::Page(index, name, page))
            }
            Question::File(index, file) => {
                let url = file.url.to_string();
                let deep = file.name.starts_with("torch-");
                let cache = self.cache.as_ref();
                let told = wheel::tell(self.client(index), cache, &file, deep).await?;
                Ok(Answer::File(
                    url,
                    Box::new(Inspected {
                        metadata: told.metadata,
                        size: told.size,
                        sha256: told.sha256,
                        origin: if told.hashed_here { Origin::Download } else { Origin::Index },
                        build: told.build,
                        contents: told.contents,
                        codes: told.codes,
                    }),
                ))
            }
        }
    }
}

/// An address with a slash at its end, so that pages lie below it.
fn root(text: &str) -> Result<Url, Error> {
    let text = format!("{}/", text.trim_end_matches('/'));
    Url::parse(&text).map_err(|why| Error::usage(format!("`{text}` is no address: {why}")))
}

/// `ROOT/part/`
fn join(root: &Url, part: &str) -> Result<Url, Error> {
    root.join(&format!("{part}/"))
        .map_err(|why| Error::usage(format!("`{part}` cannot stand in an address: {why}")))
}

/// As pip and uv are told: `keyring` is asked for passwords only when they would ask it.
fn keyring() -> Keyring {
    let told = ["UV_KEYRING_PROVIDER", "PIP_KEYRING_PROVIDER"]
        .iter()
        .any(|name| std::env::var(name).is_ok_and(|value| value == "subprocess"));
    if told { Keyring::Subprocess } else { Keyring::Off }
}
