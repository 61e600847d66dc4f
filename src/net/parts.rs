//! Files read in parts: the directory of a wheel, and what it points to.

use std::sync::PoisonError;

use reqwest::header::{
    ACCEPT, ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_RANGE, ETAG, HeaderMap, LAST_MODIFIED, RANGE,
};
use url::Url;

use super::auth::Wrote;
use super::client::{Client, set};
use super::place::{bare, masked};
use super::range::{self, Given, checked, content_range};
use super::stored::header;
use super::wire::Answer;
use super::{Error, Part, Want};

/// Files whose parts are held against each other.
const MOST_FILES: usize = 4096;

impl Client {
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
        let signer = self.signer(url, Wrote::Server).await;
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
}

/// What came of asking for a part.
enum Ranged {
    Part(Part),
    /// No such part, of a file of that size.
    None {
        total: Option<u64>,
    },
}
