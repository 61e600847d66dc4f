//! Whole files, streamed to the disk and hashed on the way.

use std::io::Write as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use reqwest::header::{ACCEPT, ACCEPT_ENCODING, HeaderMap};
use tempfile::{NamedTempFile, TempPath};
use url::Url;

use super::auth::Wrote;
use super::client::{Client, set};
use super::place::masked;
use super::wire::Answer;
use super::{Error, Phase};
use crate::domain::{Hasher, Sha256};

/// No wheel is larger.
const LARGEST_FILE: u64 = 20 << 30;
/// Bytes a second that a download has to reach in the long run.
const SLOWEST: u64 = 32 << 10;

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

impl Client {
    /// A whole file, on the disk of the cache until it is dropped. It must be what is expected.
    pub async fn download(&self, url: &Url, expect: Expect) -> Result<Download, Error> {
        if self.options.offline {
            return Err(Error::Offline { url: masked(url) });
        }
        let signer = self.signer(url, Wrote::Server).await;
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
}
