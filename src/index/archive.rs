//! Members of a wheel of which only parts are at hand.
//!
//! A wheel is a zip file: its directory stands at the end, so three requests are enough for a member
//! of a file of gigabytes. The functions here ask for the range that they lack; whoever has sockets
//! fetches it and asks again.
//!
//! The end of the file and the bounds of the directory are checked here before the `zip` crate reads
//! them: it makes room for as many entries as a file claims to have, and it searches the whole file
//! where a record is damaged. A wheel has nothing before its first entry, one entry a name, and no
//! two entries in the same bytes; whatever differs is refused.
//!
//! Source: PKWARE, "APPNOTE.TXT - .ZIP File Format Specification", 4.3.12 to 4.3.16.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read, Seek, SeekFrom};
use std::ops::Range;

use serde::{Deserialize, Serialize};
use zip::read::{ArchiveOffset, Config, ZipArchive};
use zip::result::ZipError;

use super::metadata::MAX_BYTES as MAX_METADATA;
use super::version;
use super::wheel::WheelName;
use crate::domain::{CodeTarget, normalise_name, shown};

/// What to fetch first: the end record with a comment of any length, less a few bytes.
pub const TAIL: u64 = 64 * 1024;

/// The end record, and the longest comment behind it.
const END: u64 = 22;
const MAX_COMMENT: u64 = 0xffff;
/// Largest directory, most entries and most extra fields in it. torch has 11,000 entries in 1.3 MB.
const MAX_DIRECTORY: u64 = 24 * 1024 * 1024;
const MAX_ENTRIES: u64 = 100_000;
const MAX_EXTRA: u64 = 4 * 1024 * 1024;
/// Longest name of an entry.
const MAX_NAME: u64 = 4096;
/// A local header may have other extra fields than the directory. This much is fetched at most.
const MAX_LOCAL: u64 = 30 + 2 * 0xffff;
/// Largest torch/version.py.
const MAX_VERSION_FILE: u64 = 64 * 1024;
/// Largest library that is searched, unpacked. Those of torch have some 30 MB.
const MAX_LIBRARY: u64 = 1024 * 1024 * 1024;
/// Most that a wheel may say it unpacks to. The largest known has some 2 GB.
const MAX_UNPACKED: u64 = 1 << 40;
/// The libraries that tell a copy of the driver, of CUDA and of cuDNN.
const TELLING: [&str; 4] = ["libcuda", "libcudart", "libcublas", "libcudnn"];

/// A file of which some ranges are known.
#[derive(Debug, Clone, Default)]
pub struct Sparse {
    len: u64,
    /// By where they begin; none overlaps another.
    parts: BTreeMap<u64, Vec<u8>>,
}

/// An answer, or what is needed for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step<T> {
    /// The answer.
    Done(T),
    /// Fetch this range, insert it, ask again.
    Need(Range<u64>),
}

/// What torch says of its own build, in `torch/version.py`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TorchBuild {
    /// `2.6.0+cu126`
    pub version: String,
    /// `12.6`
    pub cuda: Option<String>,
    /// The commit.
    pub git: Option<String>,
}

/// What a wheel puts on the disk, as its directory has it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Contents {
    /// Bytes of all files together once they are installed.
    pub unpacked: u64,
    /// The driver's library, and those of CUDA and cuDNN that tell a copy of them: `libcudart.so.12`.
    /// Sorted.
    pub libraries: Vec<String>,
}

/// Why a file is no wheel that can be read.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// Not the structure of a zip file, or not that of a wheel.
    #[error("the wheel is damaged: {0}")]
    Damaged(String),
    /// Larger than any.
    #[error("the wheel has {what}: {found}, and at most {most} are read")]
    TooMuch {
        /// Of what.
        what: &'static str,
        /// How much.
        found: u64,
        /// The bound.
        most: u64,
    },
    /// A file that every wheel has.
    #[error("the wheel has no `{name}`")]
    Missing {
        /// The entry.
        name: String,
    },
    /// The metadata of something else.
    #[error("`{wheel}` has the metadata of `{found}`")]
    Other {
        /// The file's name.
        wheel: String,
        /// The folder in it.
        found: String,
    },
    /// The file could not be read here.
    #[error("the wheel could not be read: {0}")]
    Io(#[source] io::Error),
}

impl ArchiveError {
    /// What to do next.
    pub fn help(&self) -> String {
        match self {
            Self::Io(_) => "check the disk and the permissions of the folder".into(),
            Self::Damaged(_) => {
                "fetch it again; if it stays damaged, ask for another version".into()
            }
            _ => "ask for another version, or report the file to those who publish it".into(),
        }
    }
}

impl Sparse {
    /// A file of this length, of which nothing is known.
    pub fn new(len: u64) -> Self {
        Self { len, parts: BTreeMap::new() }
    }

    /// Length of the whole file.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether the whole file has no bytes.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Adds what stands at an offset. What would reach beyond the end is left out; what was known
    /// stays as it was.
    pub fn insert(&mut self, offset: u64, bytes: &[u8]) {
        let mut at = offset;
        let end = offset.saturating_add(bytes.len() as u64).min(self.len);
        while at < end {
            let known = self.run(at);
            if !known.is_empty() {
                at += known.len() as u64;
                continue;
            }
            let next = self.parts.range(at..).next().map_or(end, |(start, _)| end.min(*start));
            let index = |at: u64| usize::try_from(at - offset).unwrap_or(usize::MAX);
            let piece = bytes.get(index(at)..index(next)).unwrap_or_default();
            match self.parts.range_mut(..at).next_back() {
                // What follows a range makes it longer.
                Some((start, part)) if start + part.len() as u64 == at => {
                    part.extend_from_slice(piece);
                }
                _ => {
                    self.parts.insert(at, piece.to_vec());
                }
            }
            at = next;
        }
    }

    /// What is known from an offset on.
    fn run(&self, at: u64) -> &[u8] {
        let Some((start, part)) = self.parts.range(..=at).next_back() else { return &[] };
        usize::try_from(at - start).ok().and_then(|skip| part.get(skip..)).unwrap_or_default()
    }

    /// The smallest range that holds all that is lacking of one. `None`: nothing is.
    fn lacking(&self, range: Range<u64>) -> Option<Range<u64>> {
        let mut start = range.start;
        while start < range.end {
            match self.run(start).len() as u64 {
                0 => break,
                len => start += len,
            }
        }
        if start >= range.end {
            return None;
        }
        let mut end = range.end;
        while let Some((first, part)) = self.parts.range(..end).next_back() {
            if first + (part.len() as u64) < end || *first <= start {
                break;
            }
            end = *first;
        }
        Some(start..end)
    }
}

/// A file that can be read at any place, and told beforehand what will be read.
trait Source: Read + Seek {
    /// Whether all of the range is at hand.
    fn has(&self, range: Range<u64>) -> bool;

    /// Fails when some of the range is not at hand, and remembers what.
    fn want(&self, range: Range<u64>) -> io::Result<()>;
}

/// A place in a sparse file. Copies share what was lacking.
#[derive(Clone)]
struct Window<'s> {
    view: &'s Sparse,
    at: u64,
    lacks: &'s RefCell<Option<Range<u64>>>,
}

impl Source for Window<'_> {
    fn has(&self, range: Range<u64>) -> bool {
        self.view.lacking(range).is_none()
    }

    fn want(&self, range: Range<u64>) -> io::Result<()> {
        match self.view.lacking(range.start..range.end.min(self.view.len)) {
            None => Ok(()),
            Some(lacking) => {
                self.lacks.borrow_mut().get_or_insert(lacking);
                Err(io::Error::other("not at hand"))
            }
        }
    }
}

impl Read for Window<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if into.is_empty() || self.at >= self.view.len {
            return Ok(0);
        }
        let run = self.view.run(self.at);
        if run.is_empty() {
            let end = self.at.saturating_add(TAIL.max(into.len() as u64));
            self.want(self.at..end)?;
        }
        let len = run.len().min(into.len());
        into[..len].copy_from_slice(&run[..len]);
        self.at += len as u64;
        Ok(len)
    }
}

impl Seek for Window<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let at = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::End(by) => self.view.len.checked_add_signed(by),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
        };
        self.at = at.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
        Ok(self.at)
    }
}

/// A whole file.
struct Whole<F>(F);

impl<F: Read + Seek> Source for Whole<F> {
    fn has(&self, _: Range<u64>) -> bool {
        true
    }

    fn want(&self, _: Range<u64>) -> io::Result<()> {
        Ok(())
    }
}

impl<F: Read> Read for Whole<F> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.0.read(into)
    }
}

impl<F: Seek> Seek for Whole<F> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.0.seek(to)
    }
}

/// The METADATA of a wheel, which must be the only one and that of this name and version; and what the
/// wheel holds, since the directory is read anyway.
pub fn metadata(
    view: &Sparse,
    wheel: &WheelName,
) -> Result<Step<(Vec<u8>, Contents)>, ArchiveError> {
    step(view, |window| {
        let mut archive = open(window.clone())?;
        let mut folders = (0..archive.len()).filter_map(|index| {
            let name = archive.name_for_index(index)?.ok()?;
            let folder = name.strip_suffix("/METADATA")?.strip_suffix(".dist-info")?;
            (!folder.contains('/')).then(|| (index, folder.to_owned()))
        });
        let (index, folder) = folders
            .next()
            .ok_or_else(|| ArchiveError::Missing { name: ".dist-info/METADATA".into() })?;
        let other = || ArchiveError::Other { wheel: wheel.file().into(), found: shown(&folder) };
        if folders.next().is_some() {
            return Err(damaged("it has the metadata of more than one package"));
        }
        let (name, number) = folder.rsplit_once('-').ok_or_else(other)?;
        if normalise_name(name) != wheel.name() || version(number).as_ref() != Some(wheel.version())
        {
            return Err(other());
        }
        let text = member(window, &mut archive, index, "bytes of METADATA", MAX_METADATA as u64)?;
        Ok((text, listed(&archive)?))
    })
}

/// What a torch wheel says of its build.
pub fn torch_build(view: &Sparse) -> Result<Step<TorchBuild>, ArchiveError> {
    step(view, |window| {
        const NAME: &str = "torch/version.py";
        let mut archive = open(window.clone())?;
        let index = archive
            .index_for_name(NAME)
            .ok_or_else(|| ArchiveError::Missing { name: NAME.into() })?;
        let bytes =
            member(window, &mut archive, index, "bytes of torch/version.py", MAX_VERSION_FILE)?;
        torch_version(&String::from_utf8_lossy(&bytes))
            .ok_or_else(|| damaged("`torch/version.py` does not state a version"))
    })
}

/// What a wheel holds, by its directory alone.
pub fn contents(view: &Sparse) -> Result<Step<Contents>, ArchiveError> {
    step(view, |window| listed(&open(window.clone())?))
}

fn listed<S: Source>(archive: &ZipArchive<S>) -> Result<Contents, ArchiveError> {
    let (mut unpacked, mut libraries) = (0_u64, BTreeSet::new());
    for index in 0..archive.len() {
        let entry = archive.by_index_data(index).map_err(failed)?;
        unpacked = unpacked.saturating_add(entry.size());
        libraries.extend(library(entry.name_raw()));
    }
    bounded("bytes of files", unpacked, MAX_UNPACKED)?;
    Ok(Contents { unpacked, libraries: libraries.into_iter().collect() })
}

/// `libcudart.so.12` of `nvidia/cuda_runtime/lib/libcudart.so.12`: the name and the first number.
fn library(path: &[u8]) -> Option<String> {
    let (folder, file) = str::from_utf8(path).ok()?.rsplit_once('/')?;
    let (stem, number) = file.split_once(".so")?;
    // auditwheel writes a mark of its own into the name, `libcudart-9335f6a2.so.12`.
    let stem = stem.split_once('-').map_or(stem, |(stem, _)| stem);
    // Stubs are there for linkers; nothing loads them.
    if !TELLING.contains(&stem) || folder.ends_with("stubs") {
        return None;
    }
    let major = number.strip_prefix('.').unwrap_or(number).split('.').next().unwrap_or_default();
    if !major.bytes().all(|b| b.is_ascii_digit()) || major.len() > 4 {
        return None;
    }
    Some(if major.is_empty() { format!("{stem}.so") } else { format!("{stem}.so.{major}") })
}

/// The architectures that the CUDA code of a torch wheel was compiled for: the text behind
/// `torch.cuda.get_arch_list()`, which stands in the library for Python. `None`: no such text, as in a
/// build without CUDA, or several that differ.
pub fn arch_list(file: impl Read + Seek) -> Result<Option<Vec<CodeTarget>>, ArchiveError> {
    let mut archive = open(Whole(file))?;
    let names = ["torch/lib/libtorch_python.so", "torch/lib/torch_python.dll"];
    let Some(index) = names.iter().find_map(|name| archive.index_for_name(name)) else {
        return Ok(None);
    };
    let mut library = archive.by_index(index).map_err(failed)?;
    bounded("bytes of torch's library", library.size(), MAX_LIBRARY)?;
    let mut scan = Scan::default();
    let mut buffer = vec![0; 256 * 1024];
    let mut read = 0;
    loop {
        let len = library.read(&mut buffer).map_err(|err| failed(err.into()))?;
        if len == 0 {
            return Ok(scan.answer());
        }
        read += len as u64;
        bounded("bytes of torch's library", read, MAX_LIBRARY)?;
        scan.feed(&buffer[..len]);
    }
}

/// Runs a question over what is known. Whatever comes of it: when bytes were lacking, these are the
/// answer, since the `zip` crate takes what it cannot read for damaged.
fn step<T>(
    view: &Sparse,
    ask: impl FnOnce(&Window<'_>) -> Result<T, ArchiveError>,
) -> Result<Step<T>, ArchiveError> {
    let lacks = RefCell::new(None);
    let answer = ask(&Window { view, at: 0, lacks: &lacks });
    match lacks.take() {
        Some(range) => Ok(Step::Need(range)),
        None => answer.map(Step::Done),
    }
}

fn damaged(why: impl Into<String>) -> ArchiveError {
    ArchiveError::Damaged(why.into())
}

fn failed(err: ZipError) -> ArchiveError {
    match err {
        // What the reader of a compressed stream says about the stream comes as an I/O error too.
        ZipError::Io(err) if err.raw_os_error().is_some() => ArchiveError::Io(err),
        err => damaged(shown(&err.to_string())),
    }
}

fn bounded(what: &'static str, found: u64, most: u64) -> Result<(), ArchiveError> {
    if found > most { Err(ArchiveError::TooMuch { what, found, most }) } else { Ok(()) }
}

fn number(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

/// Reads exactly this range of a file.
fn bytes(source: &mut impl Source, range: Range<u64>) -> Result<Vec<u8>, ArchiveError> {
    let mut read = || -> io::Result<Vec<u8>> {
        source.want(range.clone())?;
        source.seek(SeekFrom::Start(range.start))?;
        let mut bytes = Vec::new();
        source.take(range.end - range.start).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let bytes = read().map_err(|err| failed(err.into()))?;
    if bytes.len() as u64 == range.end - range.start {
        Ok(bytes)
    } else {
        Err(damaged("it ends where more was promised"))
    }
}

/// Where the directory is and how many entries it has, from the records at the end.
struct Directory {
    range: Range<u64>,
    entries: u64,
}

/// Reads the end of the file.
fn directory(source: &mut impl Source) -> Result<Directory, ArchiveError> {
    let len = source.seek(SeekFrom::End(0)).map_err(ArchiveError::Io)?;
    // Who knows the very end asks for no more than what its record points to. With a comment behind it,
    // not even the tail that is fetched first may hold the record.
    let mut at = None;
    let first = if source.has(len.saturating_sub(END)..len) { END } else { TAIL };
    for reach in [first, TAIL, END + MAX_COMMENT] {
        let start = len.saturating_sub(reach);
        let tail = bytes(source, start..len)?;
        at = tail.windows(4).rposition(|w| w == b"PK\x05\x06").map(|at| (start + at as u64, tail));
        if at.is_some() || start == 0 {
            break;
        }
    }
    let (end_at, tail) = at.ok_or_else(|| damaged("it does not end as a zip file"))?;
    let record = &tail[tail.len() - usize::try_from(len - end_at).unwrap_or(0)..];
    let field = |from: usize, to: usize| record.get(from..to).map(number);
    let (Some(entries), Some(size), Some(start), Some(comment)) =
        (field(10, 12), field(12, 16), field(16, 20), field(20, 22))
    else {
        return Err(damaged("its end record is cut off"));
    };
    // The last of several records counts for some readers, the one whose comment fits for others.
    if end_at + END + comment != len {
        return Err(damaged("something follows its end record"));
    }
    let one_disk = field(4, 8) == Some(0) && field(8, 10) == Some(entries);
    // Twenty bytes before the end record may say where a larger one is.
    let locator_at = end_at.checked_sub(20);
    let locator = match locator_at {
        Some(at) => bytes(source, at..end_at)?,
        None => Vec::new(),
    };
    let found = locator.starts_with(b"PK\x06\x07");
    let full = entries == 0xffff || size == 0xffff_ffff || start == 0xffff_ffff;
    if found != full && found {
        return Err(damaged("it has two end records that differ"));
    }
    let (entries, size, start, end) = if let (true, Some(locator_at)) = (found, locator_at) {
        let at = number(&locator[8..16]);
        if at.checked_add(56) != Some(locator_at) {
            return Err(damaged("its large end record is not where it should be"));
        }
        let record = bytes(source, at..locator_at)?;
        let field = |from: usize, to: usize| number(&record[from..to]);
        if !record.starts_with(b"PK\x06\x06")
            || field(4, 12) != 44
            || field(16, 24) != 0
            || field(24, 32) != field(32, 40)
        {
            return Err(damaged("its large end record is none"));
        }
        (field(32, 40), field(40, 48), field(48, 56), at)
    } else {
        (entries, size, start, end_at)
    };
    if !one_disk || start.checked_add(size) != Some(end) {
        return Err(damaged("its directory is not where its end record says"));
    }
    bounded("bytes of directory", size, MAX_DIRECTORY)?;
    bounded("entries", entries, MAX_ENTRIES)?;
    Ok(Directory { range: start..end, entries })
}

/// Opens a file whose directory is whole, and whose entries have places of their own.
fn open<S: Source>(mut source: S) -> Result<ZipArchive<S>, ArchiveError> {
    let directory = directory(&mut source)?;
    let bytes = bytes(&mut source, directory.range.clone())?;
    let (mut at, mut entries, mut extra) = (0, 0, 0);
    while at < bytes.len() {
        let header = bytes.get(at..at + 46).filter(|header| header.starts_with(b"PK\x01\x02"));
        let header = header.ok_or_else(|| damaged("its directory is cut off"))?;
        let length = |from: usize| number(&header[from..from + 2]);
        let (name, extras, comment) = (length(28), length(30), length(32));
        bounded("bytes of a name", name, MAX_NAME)?;
        extra += extras + comment;
        bounded("bytes of extra fields", extra, MAX_EXTRA)?;
        entries += 1;
        at += 46 + usize::try_from(name + extras + comment).unwrap_or(usize::MAX / 2);
    }
    if at != bytes.len() || entries != directory.entries {
        return Err(damaged(format!(
            "its end record counts {} entries, its directory has {entries}",
            directory.entries
        )));
    }
    drop(bytes);
    let archive =
        ZipArchive::with_config(Config { archive_offset: ArchiveOffset::Known(0) }, source)
            .map_err(failed)?;
    if archive.has_duplicate_names() || archive.len() as u64 != entries {
        return Err(damaged("it has two entries of one name"));
    }
    let mut places = Vec::with_capacity(archive.len());
    for index in 0..archive.len() {
        let entry = archive.by_index_data(index).map_err(failed)?;
        let header = 30 + entry.name_raw().len() as u64;
        let start = entry.header_start();
        let end = start.checked_add(header).and_then(|at| at.checked_add(entry.compressed_size()));
        places.push((start, end.unwrap_or(u64::MAX)));
    }
    places.sort_unstable();
    let starts = places.iter().skip(1).map(|(start, _)| *start).chain([directory.range.start]);
    if places.iter().zip(starts).any(|((_, end), next)| *end > next) {
        return Err(damaged("two of its entries are in the same place"));
    }
    Ok(archive)
}

/// Unpacks one member; the `zip` crate compares its checksum at the end of the data.
fn member(
    window: &Window<'_>,
    archive: &mut ZipArchive<Window<'_>>,
    index: usize,
    what: &'static str,
    most: u64,
) -> Result<Vec<u8>, ArchiveError> {
    let entry = archive.by_index_data(index).map_err(failed)?;
    let (start, size, packed) = (entry.header_start(), entry.size(), entry.compressed_size());
    bounded(what, size, most)?;
    // Deflate adds five bytes to every 64 KB that do not shrink.
    bounded(what, packed, most + most / 1000 + 64)?;
    // All that lies before the next entry, in one go.
    let mut end = archive.central_directory_start();
    for other in 0..archive.len() {
        let other = archive.by_index_data(other).map_err(failed)?.header_start();
        if other > start {
            end = end.min(other);
        }
    }
    window.want(start..end.min(start + MAX_LOCAL + packed)).map_err(|err| failed(err.into()))?;
    let mut bytes = Vec::new();
    let entry = archive.by_index(index).map_err(failed)?;
    entry.take(most + 1).read_to_end(&mut bytes).map_err(|err| failed(err.into()))?;
    bounded(what, bytes.len() as u64, most)?;
    if bytes.len() as u64 == size {
        Ok(bytes)
    } else {
        Err(damaged(format!("an entry of {size} bytes has {}", bytes.len())))
    }
}

/// Reads the assignments of `torch/version.py`; nothing of it is run.
fn torch_version(text: &str) -> Option<TorchBuild> {
    let value = |name: &str| {
        text.lines().find_map(|line| {
            let (target, value) = line.split_once('=')?;
            let target = target.split(':').next()?.trim();
            let value = value.trim();
            let quote = value.chars().next().filter(|c| matches!(c, '\'' | '"'))?;
            let inner = value[1..].split(quote).next()?;
            let plain = |b: u8| b.is_ascii_alphanumeric() || b"._+-".contains(&b);
            (target == name && (1..=100).contains(&inner.len()) && inner.bytes().all(plain))
                .then(|| inner.to_owned())
        })
    };
    Some(TorchBuild {
        version: value("__version__")?,
        cuda: value("cuda"),
        git: value("git_version"),
    })
}

/// Looks for texts of C that list code targets: a NUL stands behind them. What stands before need not
/// end with one, since compilers put pieces of other texts there.
struct Scan {
    run: Vec<u8>,
    /// Whether the run begins where a text does.
    begins: bool,
    found: Vec<Vec<CodeTarget>>,
}

/// Longest such text, and how many that differ.
const MAX_LIST: usize = 1024;
const MAX_LISTS: usize = 64;

impl Default for Scan {
    fn default() -> Self {
        Self { run: Vec::with_capacity(MAX_LIST), begins: true, found: Vec::new() }
    }
}

impl Scan {
    fn feed(&mut self, bytes: &[u8]) {
        for byte in bytes {
            match byte {
                0 => self.end(),
                b'a'..=b'z' | b'0'..=b'9' | b'_' | b' ' if self.run.len() < MAX_LIST => {
                    self.run.push(*byte);
                }
                _ => {
                    self.run.clear();
                    self.begins = false;
                }
            }
        }
    }

    fn end(&mut self) {
        let mut list = Vec::new();
        let text = str::from_utf8(&self.run).unwrap_or_default();
        let mut whole = self.begins;
        for word in text.rsplit(' ') {
            if let Ok(target) = word.parse::<CodeTarget>() {
                list.push(target);
                continue;
            }
            whole = false;
            let starts = ["sm_", "compute_"].map(|prefix| word.rfind(prefix));
            if let Some(start) = starts.into_iter().flatten().max() {
                list.extend(word[start..].parse::<CodeTarget>());
            }
            break;
        }
        list.reverse();
        let counts = whole || list.len() > 1;
        if counts && !list.is_empty() && self.found.len() < MAX_LISTS && !self.found.contains(&list)
        {
            self.found.push(list);
        }
        self.run.clear();
        self.begins = true;
    }

    /// The only list of several targets, or else the only target: a build for one card is possible.
    fn answer(mut self) -> Option<Vec<CodeTarget>> {
        self.end();
        let (mut several, mut single): (Vec<_>, Vec<_>) =
            self.found.into_iter().partition(|list| list.len() > 1);
        match (several.len(), single.len()) {
            (1, _) => several.pop(),
            (0, 1) => single.pop(),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Cursor, Write as _};

    use zip::write::{SimpleFileOptions, ZipWriter};

    use super::*;

    const METADATA: &str = "torch-2.6.0+cu126.dist-info/METADATA";
    const VERSION: &str = "from typing import Optional\n__all__ = ['__version__', 'debug']\n\
        __version__ = '2.6.0+cu126'\ndebug = False\ncuda: Optional[str] = '12.6'\n\
        git_version = 'abc'\nhip: Optional[str] = None\n";

    fn zip(entries: &[(&str, &[u8])]) -> Vec<u8> {
        let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
        for (number, (name, bytes)) in entries.iter().enumerate() {
            let method =
                [zip::CompressionMethod::Deflated, zip::CompressionMethod::Stored][number % 2];
            let options = SimpleFileOptions::default().compression_method(method);
            writer.start_file(*name, options).expect("a member");
            writer.write_all(bytes).expect("its bytes");
        }
        writer.finish().expect("an archive").into_inner()
    }

    fn torch() -> Vec<u8> {
        let filler: Vec<u8> =
            (0..300_000_u32).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
        zip(&[
            ("torch/a.bin", &filler),
            ("torch/version.py", VERSION.as_bytes()),
            ("torch/b.bin", &filler),
            (METADATA, b"Name: torch\nVersion: 2.6.0+cu126\n"),
            (
                "torch/lib/libtorch_python.so",
                b"\x7fELF\0sm_90\0x sm_50\0(std::string hsm_50 sm_90a compute_90\0tail",
            ),
            ("torch/c.bin", &filler),
        ])
    }

    fn wheel() -> WheelName {
        "torch-2.6.0+cu126-cp312-cp312-linux_x86_64.whl".parse().expect("a wheel")
    }

    /// Answers what is asked for, and counts rounds and bytes.
    fn through<T>(
        whole: &[u8],
        ask: impl Fn(&Sparse) -> Result<Step<T>, ArchiveError>,
    ) -> (Result<T, ArchiveError>, usize, usize) {
        let mut view = Sparse::new(whole.len() as u64);
        let (mut rounds, mut fetched) = (0, 0);
        loop {
            match ask(&view) {
                Err(err) => return (Err(err), rounds, fetched),
                Ok(Step::Done(answer)) => return (Ok(answer), rounds, fetched),
                Ok(Step::Need(range)) => {
                    let at = usize::try_from(range.start).expect("an offset");
                    let end = usize::try_from(range.end).expect("an offset");
                    assert!(at < end && end <= whole.len(), "{range:?} of {}", whole.len());
                    view.insert(range.start, &whole[at..end]);
                    (rounds, fetched) = (rounds + 1, fetched + end - at);
                    assert!(rounds <= 5, "it does not end");
                }
            }
        }
    }

    fn why(whole: &[u8]) -> String {
        let err = through(whole, |view| metadata(view, &wheel())).0.expect_err("an error");
        assert!(!err.help().is_empty());
        err.to_string()
    }

    #[test]
    fn a_member_costs_few_bytes() {
        let whole = torch();
        let (read, rounds, fetched) = through(&whole, |view| metadata(view, &wheel()));
        let (text, with) = read.expect("metadata");
        assert_eq!(text, b"Name: torch\nVersion: 2.6.0+cu126\n");
        assert!(rounds <= 3 && fetched < 70_000, "{rounds} rounds, {fetched} of {}", whole.len());
        let (build, rounds, fetched) = through(&whole, torch_build);
        let build = build.expect("a build");
        assert_eq!((build.version.as_str(), build.cuda.as_deref()), ("2.6.0+cu126", Some("12.6")));
        assert_eq!(build.git.as_deref(), Some("abc"));
        assert!(rounds <= 3 && fetched < 70_000, "{rounds} rounds, {fetched} of {}", whole.len());
        let (alone, rounds, _) = through(&whole, contents);
        assert!(alone.expect("contents") == with && with.unpacked > 3_600_000 && rounds == 1);
        let targets = arch_list(Cursor::new(&whole)).expect("a list").expect("targets");
        let targets: Vec<_> = targets.iter().map(ToString::to_string).collect();
        assert_eq!(targets, ["sm_50", "sm_90a", "compute_90"]);
        assert_eq!(arch_list(Cursor::new(zip(&[("a", b"sm_50 sm_60")]))).expect("a list"), None);
    }

    #[test]
    fn contents_are_those_of_the_files() {
        let runtime = [7_u8; 1000];
        let whole = zip(&[
            ("a/b.py", b"0123456789"),
            ("nvidia/cu13/lib/libcudart.so.13", &runtime),
            ("nvidia/cu13/lib/stubs/libcuda.so", b"stub"),
            ("a.libs/libcudnn-9335f6a2.so.9.1.0", b"x"),
            ("a/libcudnn_graph.so.9", b"x"),
            ("a/compat/libcuda.so.1", b"x"),
            ("a/libcublas.so.x", b"x"),
            ("a/libcublas.source", b"x"),
            ("a/libcublas.so", b""),
            ("empty/", b""),
        ]);
        let read = through(&whole, contents).0.expect("contents");
        assert_eq!(read.unpacked, 10 + 1000 + 4 + 5);
        assert_eq!(
            read.libraries,
            ["libcublas.so", "libcuda.so.1", "libcudart.so.13", "libcudnn.so.9"]
        );
        assert_eq!(through(&zip(&[]), contents).0.expect("contents"), Contents::default());
    }

    /// Whoever has the end of a file alone gets by with its directory.
    #[test]
    fn a_short_tail_will_do() {
        let filler = vec![7; 100_000];
        let many: Vec<_> = (0..500).map(|n| format!("a/module_{n}.py")).collect();
        let mut entries: Vec<(&str, &[u8])> = vec![("a/data.bin", &filler)];
        entries.extend(many.iter().map(|name| (name.as_str(), &b"pass"[..])));
        let whole = zip(&entries);
        for (tail, needs) in [(whole.len(), 0), (16 << 10, 1), (22, 2), (10, 1)] {
            let mut view = Sparse::new(whole.len() as u64);
            view.insert((whole.len() - tail) as u64, &whole[whole.len() - tail..]);
            let mut rounds = 0;
            let read = loop {
                match contents(&view).expect("a wheel") {
                    Step::Done(read) => break read,
                    Step::Need(range) => {
                        let at = usize::try_from(range.start).expect("an offset");
                        let end = usize::try_from(range.end).expect("an offset");
                        assert!(end - at <= 64 << 10, "{range:?}");
                        view.insert(range.start, &whole[at..end]);
                        rounds += 1;
                    }
                }
            };
            assert_eq!((read.unpacked, rounds), (102_000, needs), "of {tail} bytes");
        }
    }

    #[test]
    fn the_metadata_is_that_of_the_wheel() {
        assert!(why(&zip(&[("a", b"")])).contains("no `.dist-info/METADATA`"));
        assert!(why(&zip(&[("x/torch-2.6.0+cu126.dist-info/METADATA", b"")])).contains("has no"));
        for other in ["torch-2.6.0", "torch-2.6.1+cu126", "touch-2.6.0+cu126", "torch"] {
            let name = format!("{other}.dist-info/METADATA");
            assert!(why(&zip(&[(&name, b"")])).contains(&format!("of `{other}`")), "{other}");
        }
        let two = [(METADATA, &b"a"[..]), ("a-1.dist-info/METADATA", b"b")];
        assert!(why(&zip(&two)).contains("more than one"));
        let large = vec![b'a'; MAX_METADATA + 1];
        assert!(why(&zip(&[(METADATA, &large)])).contains("16777216 are read"));
    }

    /// The place of a record, by its signature.
    fn find(whole: &[u8], signature: &[u8]) -> usize {
        whole.windows(4).rposition(|window| window == signature).expect("a record")
    }

    #[test]
    fn damage_is_named() {
        let good = zip(&[(METADATA, b"Name: torch\nVersion: 2.6.0+cu126\n"), ("a", b"bb")]);
        assert!(through(&good, |view| metadata(view, &wheel())).0.is_ok());
        let (end, entry) = (find(&good, b"PK\x05\x06"), find(&good, b"PK\x01\x02"));
        let with = |at: usize, bytes: &[u8]| {
            let mut bad = good.clone();
            bad[at..at + bytes.len()].copy_from_slice(bytes);
            bad
        };
        assert!(why(b"").contains("does not end"));
        assert!(why(b"<html>").contains("does not end"));
        assert!(why(&good[..good.len() - 1]).contains("cut off"));
        assert!(why(&[&good[..], b"x"].concat()).contains("follows"));
        assert!(why(&[b"junk", &good[..]].concat()).contains("not where"));
        assert!(why(&with(end + 10, b"\x09\0")).contains("not where"));
        assert!(why(&with(end + 8, b"\x09\0\x09\0")).contains("counts 9 entries"));
        assert!(why(&with(end + 16, b"\xff\xff\xff\x7f")).contains("not where"));
        assert!(why(&with(entry, b"XX")).contains("cut off"));
        assert!(why(&with(entry + 28, b"\xff\x7f")).contains("bytes of a name"));
        // The second entry is laid over the first.
        assert!(why(&with(entry + 42, b"\0\0\0\0")).contains("same place"));
        // A checksum, a byte of the data, the local header.
        let first = good.windows(4).position(|w| w == b"PK\x01\x02").expect("a record");
        assert!(!why(&with(first + 16, b"\0\0")).is_empty());
        assert!(!why(&with(60 + METADATA.len() - 20, b"\x55\x55\x55")).is_empty());
        assert!(why(&with(0, b"XX")).contains("damaged"));
        // An unknown method; a size of 4 GB.
        assert!(!why(&with(first + 10, b"\x63\0")).is_empty());
        assert!(why(&with(first + 24, b"\xf0\xff\xff\xff")).contains("METADATA"));
    }

    #[test]
    fn two_entries_of_one_name_are_refused() {
        let name = METADATA.replace("METADATA", "METADATB");
        let mut twice = zip(&[(METADATA, b"a"), (&name, b"b")]);
        while let Some(at) = twice.windows(8).position(|window| window == b"METADATB") {
            twice[at + 7] = b'A';
        }
        assert!(why(&twice).contains("one name"));
    }

    /// Claims alone, in files that are small or of which little is there.
    #[test]
    fn claims_cost_nothing() {
        let end = |entries: u16, size: u32, start: u32| {
            let mut end = b"PK\x05\x06\0\0\0\0".to_vec();
            end.extend([entries.to_le_bytes(), entries.to_le_bytes()].concat());
            end.extend([size.to_le_bytes(), start.to_le_bytes()].concat());
            end.extend([0, 0]);
            end
        };
        let ask = |len: u64, tail: &[u8]| {
            let mut view = Sparse::new(len);
            view.insert(len - tail.len() as u64, tail);
            view.insert(len - TAIL, &vec![0; usize::try_from(TAIL).expect("small")]);
            contents(&view)
        };
        // A directory of 100 MB.
        let tail = end(60_000, 100_000_000, 900_000_000);
        let err = ask(1_000_000_022, &tail).expect_err("too much").to_string();
        assert!(err.contains("100000000"), "{err}");
        // A terabyte with ten milliard entries.
        let len: u64 = 1 << 40;
        let at = len - 22 - 20 - 56;
        let mut tail = b"PK\x06\x06".to_vec();
        let entries = 10_000_000_000_u64;
        tail.extend([44, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        for number in [entries, entries, entries * 46, at - entries * 46] {
            tail.extend(u64::to_le_bytes(number));
        }
        tail.extend([&b"PK\x06\x07\0\0\0\0"[..], &at.to_le_bytes(), &[1, 0, 0, 0]].concat());
        tail.extend(end(u16::MAX, u32::MAX, u32::MAX));
        let err = ask(len, &tail).expect_err("too much").to_string();
        assert!(err.contains("directory: 460000000000"), "{err}");
        // A megabyte of entries in half of the bytes: none is where it says.
        let mut bomb = Vec::new();
        for _ in 0..20_000_u32 {
            let mut header = vec![0; 46];
            header[..4].copy_from_slice(b"PK\x01\x02");
            header[20..28].fill(0xfe);
            bomb.extend(header);
        }
        bomb.extend(end(20_000, 920_000, 0));
        let err = through(&bomb, contents).0.expect_err("a bomb").to_string();
        assert!(err.contains("damaged"), "{err}");
    }

    #[test]
    fn parts_grow_together() {
        let whole: Vec<u8> = (0..100).collect();
        let mut view = Sparse::new(100);
        assert_eq!(view.lacking(0..100), Some(0..100));
        for (from, to) in [(10, 20), (30, 40), (0, 5), (15, 35), (90, 100), (5, 10)] {
            view.insert(from as u64, &whole[from..to]);
        }
        let lacks = RefCell::new(None);
        let mut read = vec![0; 40];
        let mut window = Window { view: &view, at: 0, lacks: &lacks };
        window.read_exact(&mut read).expect("what is known");
        assert_eq!(read, &whole[..40]);
        assert!(window.read(&mut read).is_err() && lacks.take() == Some(40..90));
        assert_eq!(view.lacking(0..100), Some(40..90));
        assert_eq!((view.lacking(3..40), view.lacking(35..60)), (None, Some(40..60)));
        view.insert(95, &[7; 50]);
        view.insert(u64::MAX, &[7]);
        assert_eq!((view.run(90), view.len()), (&whole[90..], 100));
    }

    /// GPUSEAL_WHEEL names a torch wheel on disk.
    #[test]
    #[ignore = "needs a torch wheel"]
    fn a_real_wheel() {
        let path = std::env::var("GPUSEAL_WHEEL").expect("GPUSEAL_WHEEL names a wheel");
        let mut file = fs_err::File::open(&path).expect("a file");
        let name: WheelName = path.rsplit('/').next().unwrap_or_default().parse().expect("a wheel");
        let len = file.seek(SeekFrom::End(0)).expect("a length");
        let mut view = Sparse::new(len);
        let mut asked = Vec::new();
        let mut fetch = |view: &mut Sparse, range: Range<u64>| {
            let mut bytes = vec![0; usize::try_from(range.end - range.start).expect("a length")];
            file.seek(SeekFrom::Start(range.start)).expect("a place");
            file.read_exact(&mut bytes).expect("its bytes");
            view.insert(range.start, &bytes);
            asked.push(range);
        };
        let read = loop {
            match metadata(&view, &name).expect("metadata") {
                Step::Done((text, _)) => {
                    break super::super::metadata::read(&text).expect("metadata");
                }
                Step::Need(range) => fetch(&mut view, range),
            }
        };
        let build = loop {
            match torch_build(&view).expect("a build") {
                Step::Done(build) => break build,
                Step::Need(range) => fetch(&mut view, range),
            }
        };
        assert!(matches!(contents(&view), Ok(Step::Done(with)) if with.unpacked > len));
        assert!(
            asked.len() <= 4 && read.is_of(&name) && read.unread.is_empty(),
            "{asked:?} {read:?}"
        );
        assert!(build.version.starts_with(&name.version().clone().without_local().to_string()));
        let list = arch_list(fs_err::File::open(&path).expect("a file")).expect("a list");
        assert_eq!(list.is_some_and(|list| list.len() > 1), build.cuda.is_some());
    }
}
