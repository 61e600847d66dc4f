//! Raw rows -> [`Matrix`], or every bad row at once.
//!
//! Two kinds of fault are looked for: a row that cannot be read (a version that is none, a source
//! that does not exist; `tables`, `torch`), and rows that contradict each other (code outside its
//! toolkit's range, a pin without a row, a floor that differs from another table; `across`).

mod across;
mod messages;
mod tables;
mod torch;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::str::FromStr;

use sha2::{Digest, Sha256};

use super::file::RawFile;
use super::model::{Evidence, Level, Matrix, Source};
use super::raw::RawEvidence;
use super::words::Words;
use crate::domain::{CodeTarget, Order as _};

/// Newest shape of the YAML that this program reads.
pub const SCHEMA: u32 = 1;

/// One bad row.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fault {
    /// File it stands in.
    pub file: String,
    /// Table and key: `torch 2.8.0 cu128 linux/amd64`.
    pub row: String,
    /// What is wrong.
    pub message: String,
}

impl Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}: {}", self.file, self.row, self.message)
    }
}

/// A file to be read: its name and its text.
#[derive(Debug, Clone)]
pub struct Input {
    /// Name for messages.
    pub name: String,
    /// YAML.
    pub text: String,
}

/// Builds the matrix of `files`, then lays each overlay over it: a row of an overlay replaces the
/// row with the same key, and cites the overlay as its source.
///
/// # Errors
/// Every fault of every file, sorted.
pub fn build(files: &[Input], overlays: &[Input]) -> Result<Matrix, Vec<Fault>> {
    let mut check = Check::default();
    let mut raws = Vec::new();
    let mut digest = Sha256::new();
    let all = files.iter().map(|f| (f, None)).chain(
        overlays.iter().enumerate().map(|(i, f)| (f, Some(u16::try_from(i).unwrap_or(u16::MAX)))),
    );
    for (input, overlay) in all {
        digest.update((input.text.len() as u64).to_be_bytes());
        digest.update(input.text.as_bytes());
        match crate::yaml::from_str::<serde_json::Value>(&input.text) {
            Ok(document) => {
                // Of a later shape the other words are not ours to complain of.
                if let Some(schema) = future_schema(&document) {
                    check.fault(&input.name, "matrix", too_new(schema));
                    return Err(check.faults);
                }
                let raw = RawFile::of(document, &mut |row, message| {
                    check.fault(&input.name, &row, message);
                });
                raws.push((input.name.clone(), overlay, raw));
            }
            Err(err) => check.fault(&input.name, "the file", err.to_string()),
        }
    }
    check.matrix.digest = format!("sha256:{}", hex(&digest.finalize()));
    check.matrix.overlays = overlays.iter().map(|o| o.name.clone()).collect();
    check.header(&raws);
    check.sources(&raws);
    for (file, overlay, raw) in raws {
        check.tables(&file, overlay, raw);
    }
    check.settle();
    check.across();
    if check.faults.is_empty() {
        check.matrix.words = check.words.into();
        Ok(check.matrix)
    } else {
        check.faults.order();
        check.faults.dedup();
        Err(check.faults)
    }
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        let _ = write!(text, "{byte:02x}");
    }
    text
}

#[derive(Default)]
struct Check {
    matrix: Matrix,
    words: Words,
    faults: Vec<Fault>,
    /// Source key -> index.
    source_index: BTreeMap<String, u16>,
    /// (table, key) -> file and overlay of the row that holds it.
    seen: BTreeMap<(&'static str, String), (String, Option<u16>)>,
    /// (table, file) -> last key, for the order of rows.
    last: BTreeMap<(&'static str, String), Vec<u64>>,
    /// Rows that an overlay replaced: (table, key).
    replaced: BTreeSet<(&'static str, String)>,
    /// The row being read, for messages.
    file: String,
    row: String,
    overlay: Option<u16>,
}

impl Check {
    fn fault(&mut self, file: &str, row: &str, message: impl Into<String>) {
        self.faults.push(Fault { file: file.into(), row: row.into(), message: message.into() });
    }

    fn here(&mut self, message: impl Into<String>) {
        let (file, row) = (self.file.clone(), self.row.clone());
        self.fault(&file, &row, message);
    }

    /// Parses one column of the row at hand.
    fn read<T: FromStr<Err: Display>>(&mut self, column: &str, text: &str) -> Option<T> {
        match text.parse() {
            Ok(value) => Some(value),
            Err(err) => {
                self.here(format!("{column}: {err}"));
                None
            }
        }
    }

    fn read_opt<T: FromStr<Err: Display>>(
        &mut self,
        column: &str,
        text: Option<&str>,
    ) -> Option<T> {
        text.and_then(|text| self.read(column, text))
    }

    fn read_all<T: FromStr<Err: Display>>(&mut self, column: &str, texts: &[String]) -> Vec<T> {
        texts.iter().filter_map(|text| self.read(column, text)).collect()
    }

    /// A branch or a CUDA major.
    fn number(&mut self, column: &str, text: &str) -> Option<u16> {
        let number = crate::domain::digits(text);
        if number.is_none() {
            self.here(format!("{column}: `{text}` is no number: expected digits, as in `570`"));
        }
        number
    }

    fn number_opt(&mut self, column: &str, text: Option<&str>) -> Option<u16> {
        text.and_then(|text| self.number(column, text))
    }

    fn read_code(
        &mut self,
        column: &str,
        texts: Option<&[String]>,
        ptx: bool,
    ) -> Option<Vec<CodeTarget>> {
        let texts = texts?;
        let list: Vec<CodeTarget> = self.read_all(column, texts);
        if let Some(wrong) = list.iter().find(|code| code.ptx != ptx) {
            self.here(format!(
                "{column}: `{wrong}` is {} code",
                if wrong.ptx { "PTX" } else { "machine" }
            ));
        }
        if !list.is_sorted_by(|a, b| a < b) {
            self.here(format!("{column}: not sorted, or a target twice"));
        }
        Some(list)
    }

    fn read_specifiers(&mut self, column: &str, text: &str) {
        // Markers follow a semicolon; only the versions are read here.
        let versions = text.split(';').next().unwrap_or_default().trim();
        if !versions.is_empty()
            && let Err(err) = versions.parse::<pep440_rs::VersionSpecifiers>()
        {
            let reason = err.to_string().lines().next().unwrap_or_default().to_owned();
            self.here(format!("{column}: `{versions}` is no version specifier: {reason}"));
        }
    }

    /// Enters a row: its key must be new (an overlay may replace), and rows of a file are sorted.
    fn enter(&mut self, table: &'static str, key: impl Display, order: &[u64]) {
        let key = key.to_string();
        self.row = format!("{table} {key}");
        let id = (table, key.clone());
        if let Some((file, overlay)) = self.seen.get(&id) {
            if self.overlay == *overlay {
                let file = file.clone();
                self.here(format!("a second row with this key; the first is in {file}"));
            } else {
                self.replaced.insert(id.clone());
            }
        }
        self.seen.insert(id, (self.file.clone(), self.overlay));
        if !order.is_empty() {
            let place = (table, self.file.clone());
            if self.last.get(&place).is_some_and(|last| last.as_slice() > order) {
                self.here("out of order: rows are sorted by their key");
            }
            self.last.insert(place, order.to_vec());
        }
    }

    fn evidence(&mut self, raw: Vec<RawEvidence>) -> Vec<Evidence> {
        if raw.is_empty() {
            self.here("no source");
        }
        let mut list = Vec::new();
        if let Some(overlay) = self.overlay {
            let key = overlay_key(&self.matrix.overlays[usize::from(overlay)]);
            list.extend(self.source_index.get(&key).map(|&source| Evidence {
                source,
                what: None,
                file: None,
                sha256: None,
                note: None,
            }));
        }
        for item in raw {
            let (key, rest) = match item {
                RawEvidence::Key(key) => (key, None),
                RawEvidence::Full(full) => (full.source.clone(), Some(full)),
            };
            let Some(&source) = self.source_index.get(&key) else {
                self.here(format!("source `{key}` does not exist"));
                continue;
            };
            let (what, file, sha256, note) =
                rest.map_or((None, None, None, None), |r| (r.what, r.file, r.sha256, r.note));
            if file.is_some() != sha256.is_some() {
                self.here("evidence names a file without its sha256, or the reverse");
            }
            if let Some(sum) = &sha256
                && (sum.len() != 64 || !sum.bytes().all(|b| b.is_ascii_hexdigit()))
            {
                self.here(format!("`{sum}` is no sha256"));
            }
            list.push(Evidence { source, what, file, sha256, note });
        }
        list
    }

    fn header(&mut self, raws: &[(String, Option<u16>, RawFile)]) {
        let mut headers = raws
            .iter()
            .filter(|(_, overlay, _)| overlay.is_none())
            .filter_map(|(file, _, raw)| raw.matrix.as_ref().map(|h| (file, h)));
        let Some((file, header)) = headers.next() else {
            self.fault(
                "matrix.yaml",
                "matrix",
                "no file says `matrix:` with its id, schema and date",
            );
            return;
        };
        if let Some((second, _)) = headers.next() {
            self.fault(second, "matrix", format!("a second header; the first is in {file}"));
        }
        if header.schema > SCHEMA {
            self.fault(file, "matrix", too_new(header.schema));
        }
        if let Err(err) = semver::Version::parse(&header.id) {
            self.fault(file, "matrix", format!("id `{}`: {err}", header.id));
        }
        if !is_date(&header.date) {
            self.fault(
                file,
                "matrix",
                format!("date `{}`: expected a day like 2026-11-21", header.date),
            );
        }
        self.matrix.id.clone_from(&header.id);
        self.matrix.schema = header.schema;
        self.matrix.date.clone_from(&header.date);
    }

    fn sources(&mut self, raws: &[(String, Option<u16>, RawFile)]) {
        let mut sources: BTreeMap<String, Source> = BTreeMap::new();
        for name in &self.matrix.overlays {
            let key = overlay_key(name);
            let text = format!("a row of the overlay `{name}`, not of gpuseal's matrix");
            sources.insert(key.clone(), Source { key, level: Level::Document, text });
        }
        for (file, overlay, raw) in raws {
            for (key, source) in &raw.sources {
                let level = match source.level.as_str() {
                    "artifact" => Level::Artifact,
                    "build-script" => Level::BuildScript,
                    "document" => Level::Document,
                    "unverified" => Level::Unverified,
                    other => {
                        self.fault(file, &format!("sources {key}"), format!(
                            "level `{other}`: expected artifact, build-script, document or unverified"
                        ));
                        continue;
                    }
                };
                if source.text.trim().is_empty() {
                    self.fault(file, &format!("sources {key}"), "no text");
                }
                let row = Source { key: key.clone(), level, text: source.text.clone() };
                if sources.insert(key.clone(), row).is_some() && overlay.is_none() {
                    self.fault(file, &format!("sources {key}"), "a second source with this key");
                }
            }
        }
        self.matrix.sources = sources.into_values().collect();
        self.source_index = self
            .matrix
            .sources
            .iter()
            .zip(0..)
            .map(|(source, i)| (source.key.clone(), i))
            .collect();
    }

    /// Sorts what look-ups rely on.
    fn settle(&mut self) {
        let m = &mut self.matrix;
        m.releases.order_by_key(|r| r.version);
        m.branches.order_by_key(|b| b.branch);
        m.toolkits.order_by_key(|t| t.version);
        m.compilers.order_by_key(|c| c.cuda);
        m.forward_compat.order_by_key(|p| p.cuda);
        m.cudnn.order_by_key(|c| (c.version, c.cuda_major));
        m.cuda_images.order_by(|a, b| (a.cuda, &a.distros).cmp(&(b.cuda, &b.distros)));
        m.companions.sort_by_cached_key(|c| {
            (c.package.clone(), c.version.parse::<pep440_rs::Version>().ok())
        });
    }

    /// Rows against each other.
    fn across(&mut self) {
        let matrix = std::mem::take(&mut self.matrix);
        let mut faults = Vec::new();
        let mut fault = |table: &'static str, key: String, place: &str, message: String| {
            let file =
                self.seen.get(&(table, key.clone())).map_or("matrix", |(file, _)| file).to_owned();
            faults.push(Fault { file, row: format!("{table} {key}{place}"), message });
        };
        across::torch(&matrix, &mut fault);
        across::drivers(&matrix, &mut fault);
        across::gpus(&matrix, &mut fault);
        messages::across(&self.words, &mut fault);
        self.matrix = matrix;
        self.faults.extend(faults);
    }
}

/// The schema of a file that a later program reads, whatever else stands in it.
fn future_schema(document: &serde_json::Value) -> Option<u32> {
    let schema = document.get("matrix")?.get("schema")?.as_u64()?;
    u32::try_from(schema).ok().filter(|schema| *schema > SCHEMA)
}

fn too_new(schema: u32) -> String {
    format!(
        "this matrix has schema {schema}, this gpuseal reads up to {SCHEMA}: use a newer gpuseal, or an older matrix"
    )
}

/// Source key that rows of an overlay cite.
fn overlay_key(name: &str) -> String {
    format!("overlay {name}")
}

fn is_date(text: &str) -> bool {
    let shape = |(i, b): (usize, u8)| {
        if i == 4 || i == 7 { b == b'-' } else { b.is_ascii_digit() }
    };
    text.len() == 10 && text.bytes().enumerate().all(shape)
}

/// Version numbers as they sort; empty where there are none.
fn version_order(text: &str) -> Vec<u64> {
    text.split(['.', '-']).map_while(|part| part.parse().ok()).collect()
}
