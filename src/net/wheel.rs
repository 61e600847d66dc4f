//! What a file of an index says of itself, for as few bytes as it takes.
//!
//! The METADATA beside the file where the index has it; otherwise the parts of the archive that hold
//! it; the whole file only where the server gives no parts, or where nobody but the file can tell its
//! digest.

use std::fs::File as Disk;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::ops::Range;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use url::Url;

use super::{Cache, Client, Download, Expect, Part, Want};
use crate::domain::Sha256;
use crate::index::archive::{self, Contents, Sparse, Step, TorchBuild};
use crate::index::metadata::{self, Metadata};
use crate::index::page::{File, Sidecar};
use crate::index::wheel::WheelName;

/// The end of a wheel: in most it holds the directory of the archive and METADATA too.
const TAIL: u64 = 64 << 10;
/// The same for torch, whose directory alone has 1.2 MB: with this much METADATA stands in it too, behind
/// which lie 0.8 MB of RECORD. Two rounds less on the longest way to a lock.
const TORCH_TAIL: u64 = 2 << 20;
/// The same where nothing but the directory is wanted: those of NVIDIA's wheels have some kilobytes.
const SHORT_TAIL: u64 = 16 << 10;
/// How long the directory is waited for where nothing but a size depends on it.
const PATIENCE: Duration = Duration::from_secs(5);
/// Parts of one file. Three will do for any wheel that was seen.
const PARTS: usize = 12;
/// What the cache keeps of wheels is called that.
const KIND: &str = "wheels";

/// What a file says of itself.
#[derive(Debug, Clone)]
pub struct Told {
    /// `None` for a source archive.
    pub metadata: Option<Metadata>,
    /// Size in bytes.
    pub size: u64,
    /// Digest: the index's, or that of the bytes that came.
    pub sha256: Sha256,
    /// The digest is that of the bytes that came: the index names none.
    pub hashed_here: bool,
    /// `torch/version.py`, where it was asked for.
    pub build: Option<TorchBuild>,
    /// What it holds; `None` for a source archive, and where its directory could not be had.
    pub contents: Option<Contents>,
    /// Code in the binary, where the whole file came and it is torch.
    pub codes: Option<Vec<String>>,
}

/// Why a file says nothing of itself that can be used.
#[derive(Debug, thiserror::Error)]
pub enum WheelError {
    /// The network.
    #[error(transparent)]
    Net(Box<super::Error>),
    /// Not an archive as wheels are.
    #[error("`{file}` cannot be read as a wheel: {why}")]
    Archive {
        /// The file.
        file: String,
        /// What is wrong with it.
        why: String,
    },
    /// Not metadata as packages have it.
    #[error("the METADATA of `{file}` cannot be read: {why}")]
    Metadata {
        /// The file.
        file: String,
        /// What is wrong with it.
        why: String,
    },
    /// Metadata of something else.
    #[error("the METADATA of `{file}` is that of {name} {version}")]
    Other {
        /// The file.
        file: String,
        /// Name in the metadata.
        name: String,
        /// Version in the metadata.
        version: String,
    },
    /// The file that was downloaded could not be read back.
    #[error("cannot read the download of `{file}`: {source}")]
    Disk {
        /// The file.
        file: String,
        /// What the system said.
        source: std::io::Error,
    },
}

impl From<super::Error> for WheelError {
    fn from(error: super::Error) -> Self {
        Self::Net(Box::new(error))
    }
}

impl WheelError {
    /// What to do next.
    pub fn help(&self) -> Option<String> {
        match self {
            Self::Net(err) => err.help(),
            Self::Archive { .. } | Self::Metadata { .. } | Self::Other { .. } => Some(
                "the index or something on the way changed the file: try again, or report it to the index".into(),
            ),
            Self::Disk { .. } => None,
        }
    }

    /// Nobody was to be asked, and the cache does not know.
    pub const fn is_offline(&self) -> bool {
        matches!(self, Self::Net(err) if err.is_offline())
    }

    /// An honest no rather than trouble with the network.
    pub fn honest_no(&self) -> bool {
        matches!(self, Self::Net(err) if err.honest_no())
    }
}

/// What the cache keeps of a wheel, under the digest of the wheel.
#[derive(Debug, Serialize, Deserialize)]
struct Kept {
    metadata: String,
    size: u64,
    build: Option<KeptBuild>,
    contents: Option<Contents>,
}

#[derive(Debug, Serialize, Deserialize)]
struct KeptBuild {
    version: String,
    cuda: Option<String>,
    git: Option<String>,
}

/// Asks a file what it is. `deep`: it is torch, and its build is to be told too.
///
/// # Errors
/// The network; a file that is not what its name says.
pub async fn tell(
    client: &Client,
    cache: Option<&Cache>,
    file: &File,
    deep: bool,
) -> Result<Told, WheelError> {
    let wheel = file.name.parse::<WheelName>().ok();
    if let (Some(wheel), Some(sha256)) = (&wheel, &file.sha256)
        && let Some(told) = cache.and_then(|cache| kept(cache, wheel, sha256, file.size, deep))
    {
        return Ok(told);
    }
    let reader = Reader { client, file, deep };
    let (told, text) = match (&wheel, &file.sha256) {
        (None, Some(sha256)) => (reader.source(sha256).await?, None),
        (Some(wheel), Some(sha256)) => reader.parts(wheel, sha256).await?,
        (_, None) => reader.whole(wheel.as_ref()).await?,
    };
    if let (Some(cache), Some(text)) = (cache, text) {
        keep(cache, &told, &text);
    }
    Ok(told)
}

fn kept(
    cache: &Cache,
    wheel: &WheelName,
    sha256: &Sha256,
    size: Option<u64>,
    deep: bool,
) -> Option<Told> {
    let kept: Kept = serde_json::from_slice(&cache.get(KIND, sha256.as_str())?).ok()?;
    let metadata = metadata::read(kept.metadata.as_bytes()).ok()?;
    // A page that says another size than the file had is to be heard.
    if !metadata.is_of(wheel) || size.is_some_and(|size| size != kept.size) {
        return None;
    }
    let build = kept.build.map(|b| TorchBuild { version: b.version, cuda: b.cuda, git: b.git });
    (!deep || build.is_some()).then(|| Told {
        metadata: Some(metadata),
        size: kept.size,
        sha256: sha256.clone(),
        hashed_here: false,
        build,
        contents: kept.contents,
        codes: None,
    })
}

fn keep(cache: &Cache, told: &Told, text: &[u8]) {
    let build = told.build.as_ref().map(|b| KeptBuild {
        version: b.version.clone(),
        cuda: b.cuda.clone(),
        git: b.git.clone(),
    });
    let metadata = String::from_utf8_lossy(text).into_owned();
    let kept = Kept { metadata, size: told.size, build, contents: told.contents.clone() };
    if let Ok(bytes) = serde_json::to_vec(&kept) {
        // Without it the next run asks again.
        let _ = cache.put(KIND, told.sha256.as_str(), &bytes);
    }
}

struct Reader<'a> {
    client: &'a Client,
    file: &'a File,
    deep: bool,
}

/// What came of a file, with the text of its METADATA.
type Came = (Told, Option<Vec<u8>>);

impl Reader<'_> {
    /// A source archive: its size is all that is to be learnt.
    async fn source(&self, sha256: &Sha256) -> Result<Told, WheelError> {
        let size = match self.file.size {
            Some(size) => size,
            None => match self.client.part(&self.file.url, Want::At(0..1)).await? {
                Part::Bytes { total, .. } | Part::Whole { total: Some(total) } => total,
                Part::Whole { total: None } => self.download().await?.size,
            },
        };
        Ok(told(None, size, sha256.clone()))
    }

    /// A wheel whose digest the index names.
    async fn parts(&self, wheel: &WheelName, sha256: &Sha256) -> Result<Came, WheelError> {
        let beside = match &self.file.sidecar {
            Sidecar::None => None,
            Sidecar::Unhashed => Some(None),
            Sidecar::Sha256(digest) => Some(Some(digest)),
        };
        let mut text = None;
        if let Some(digest) = beside {
            let beside = beside_of(&self.file.url);
            let asked = self.client.text(&beside, digest);
            // With both in hand nothing more is asked, so the directory is asked for at the same time.
            let enough = self.file.size.filter(|_| !self.deep);
            let (found, contents) = match enough {
                Some(size) => tokio::join!(asked, self.contents(size)),
                None => (asked.await, None),
            };
            match found {
                Ok(found) => text = Some(found),
                // Mirrors promise it and do not have it: the file itself will tell.
                Err(super::Error::NotFound { .. }) => (),
                Err(err) => return Err(err.into()),
            }
            if let (Some(found), Some(size)) = (&text, enough) {
                let metadata = Some(self.metadata(wheel, found)?);
                return Ok((Told { contents, ..told(metadata, size, sha256.clone()) }, text));
            }
        }
        let tail = Want::Last(if self.deep { TORCH_TAIL } else { TAIL });
        let (offset, bytes, total) = match self.client.part(&self.file.url, tail).await? {
            Part::Bytes { offset, bytes, total, .. } => (offset, bytes, total),
            Part::Whole { total } => return self.without_parts(wheel, text, total).await,
        };
        if let Some(expected) = self.file.size.filter(|size| *size != total) {
            let url = super::masked(&self.file.url);
            return Err(super::Error::Size { url, expected, found: total, more: false }.into());
        }
        let mut view = Sparse::new(total);
        view.insert(offset, &bytes);
        let (found, contents) = match text {
            // torch, whose directory is read for its build.
            Some(found) => (found, self.stepped(&mut view, archive::contents).await?),
            None => self.stepped(&mut view, |view| archive::metadata(view, wheel)).await?,
        };
        let build = if self.deep {
            Some(self.stepped(&mut view, archive::torch_build).await?)
        } else {
            None
        };
        let metadata = Some(self.metadata(wheel, &found)?);
        let told = told(metadata, total, sha256.clone());
        Ok((Told { build, contents: Some(contents), ..told }, Some(found)))
    }

    /// What a wheel of this size holds. A lock goes without it where it cannot be had.
    async fn contents(&self, size: u64) -> Option<Contents> {
        let read = async {
            match self.client.part(&self.file.url, Want::Last(SHORT_TAIL)).await.ok()? {
                Part::Bytes { offset, bytes, total, .. } if total == size => {
                    let mut view = Sparse::new(total);
                    view.insert(offset, &bytes);
                    self.stepped(&mut view, archive::contents).await.ok()
                }
                _ => None,
            }
        };
        tokio::time::timeout(PATIENCE, read).await.ok().flatten()
    }

    /// The server gives no parts. With the METADATA beside the file its size is enough.
    async fn without_parts(
        &self,
        wheel: &WheelName,
        text: Option<Vec<u8>>,
        total: Option<u64>,
    ) -> Result<Came, WheelError> {
        let size = self.file.size.or(total);
        if let (Some(found), Some(size), false) = (&text, size, self.deep)
            && let Some(sha256) = &self.file.sha256
        {
            let metadata = self.metadata(wheel, found)?;
            return Ok((told(Some(metadata), size, sha256.clone()), text));
        }
        self.whole(Some(wheel)).await
    }

    /// The whole file, whose digest is computed on the way.
    async fn whole(&self, wheel: Option<&WheelName>) -> Result<Came, WheelError> {
        let download = self.download().await?;
        let mut told = told(None, download.size, download.sha256.clone());
        told.hashed_here = self.file.sha256.is_none();
        let Some(wheel) = wheel else { return Ok((told, None)) };
        let disk = |source| WheelError::Disk { file: self.file.name.clone(), source };
        let mut opened = Disk::open(&download.path).map_err(disk)?;
        let mut view = Sparse::new(download.size);
        let (text, contents) =
            self.read(&mut opened, &mut view, |view| archive::metadata(view, wheel))?;
        told.contents = Some(contents);
        told.metadata = Some(self.metadata(wheel, &text)?);
        if self.deep {
            told.build = Some(self.read(&mut opened, &mut view, archive::torch_build)?);
            let codes = archive::arch_list(opened).map_err(|why| self.broken(&why))?;
            told.codes = codes.map(|codes| codes.iter().map(ToString::to_string).collect());
        }
        Ok((told, Some(text)))
    }

    async fn download(&self) -> Result<Download, WheelError> {
        let expect = Expect { sha256: self.file.sha256.clone(), size: self.file.size };
        Ok(self.client.download(&self.file.url, expect).await?)
    }

    /// Fetches parts until the archive tells what is asked of it.
    async fn stepped<T>(
        &self,
        view: &mut Sparse,
        ask: impl Fn(&Sparse) -> Result<Step<T>, archive::ArchiveError>,
    ) -> Result<T, WheelError> {
        for _ in 0..PARTS {
            match ask(view).map_err(|why| self.broken(&why))? {
                Step::Done(found) => return Ok(found),
                Step::Need(range) => {
                    let want = Want::At(range);
                    match self.client.part(&self.file.url, want.clone()).await? {
                        Part::Bytes { offset, bytes, .. } => view.insert(offset, &bytes),
                        Part::Whole { .. } => {
                            return Err(super::Error::Range {
                                url: super::masked(&self.file.url),
                                asked: want.to_string(),
                                given: "the whole file, after it had given a part".into(),
                            }
                            .into());
                        }
                    }
                }
            }
        }
        Err(self.broken(&"it asks for ever more parts"))
    }

    /// The same from the disk.
    fn read<T>(
        &self,
        disk: &mut Disk,
        view: &mut Sparse,
        ask: impl Fn(&Sparse) -> Result<Step<T>, archive::ArchiveError>,
    ) -> Result<T, WheelError> {
        let failed = |source| WheelError::Disk { file: self.file.name.clone(), source };
        for _ in 0..PARTS {
            match ask(view).map_err(|why| self.broken(&why))? {
                Step::Done(found) => return Ok(found),
                Step::Need(Range { start, end }) => {
                    let mut bytes = Vec::new();
                    disk.seek(SeekFrom::Start(start)).map_err(failed)?;
                    disk.by_ref().take(end - start).read_to_end(&mut bytes).map_err(failed)?;
                    view.insert(start, &bytes);
                }
            }
        }
        Err(self.broken(&"it asks for ever more parts"))
    }

    fn metadata(&self, wheel: &WheelName, text: &[u8]) -> Result<Metadata, WheelError> {
        let metadata = metadata::read(text).map_err(|why| WheelError::Metadata {
            file: self.file.name.clone(),
            why: why.to_string(),
        })?;
        if !metadata.is_of(wheel) {
            return Err(WheelError::Other {
                file: self.file.name.clone(),
                name: metadata.name,
                version: metadata.version.to_string(),
            });
        }
        Ok(metadata)
    }

    fn broken(&self, why: &dyn std::fmt::Display) -> WheelError {
        WheelError::Archive { file: self.file.name.clone(), why: why.to_string() }
    }
}

fn told(metadata: Option<Metadata>, size: u64, sha256: Sha256) -> Told {
    Told { metadata, size, sha256, hashed_here: false, build: None, contents: None, codes: None }
}

/// `URL.metadata`, as PEP 658 has it.
fn beside_of(url: &Url) -> Url {
    let mut beside = url.clone();
    beside.set_path(&format!("{}.metadata", url.path()));
    beside
}
