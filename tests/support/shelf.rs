//! A package index for tests: tiny wheels that are real archives, and the pages that list them.
//!
//! ```text
//! let mut shelf = Shelf::at("/simple", "/files");
//! shelf.add(Wheel::pure("filelock", "3.20.0"));
//! shelf.publish(&web);                                       // as JSON, with all that PEPs know
//! shelf.form = Form { json: false, sidecars: false, ..Form::FULL };
//! web.route(&shelf.page_path("filelock"), shelf.page("filelock").fails(2, 503, None));
//! ```
#![allow(dead_code, reason = "every test binary takes what it needs")]

use std::fmt::Write as _;
use std::io::{Cursor, Write as _};

use gpuseal::domain::Sha256;
use serde_json::{Value, json};
use zip::write::{SimpleFileOptions, ZipWriter};

use super::web::{Route, Web};

/// Content-Type of a page in JSON.
pub(crate) const JSON: &str = "application/vnd.pypi.simple.v1+json";

/// What the index tells of its files.
#[derive(Debug, Clone, Copy)]
#[allow(clippy::struct_excessive_bools, reason = "an index has or lacks each of them on its own")]
pub(crate) struct Form {
    /// JSON (PEP 691), else HTML (PEP 503).
    pub(crate) json: bool,
    /// Digests of files.
    pub(crate) hashes: bool,
    /// METADATA beside files (PEP 658).
    pub(crate) sidecars: bool,
    /// Files are given in parts.
    pub(crate) ranges: bool,
    /// The first file of a page comes last.
    pub(crate) reversed: bool,
}

impl Form {
    /// As a good index does it.
    pub(crate) const FULL: Self =
        Self { json: true, hashes: true, sidecars: true, ranges: true, reversed: false };
    /// As a folder of wheels with hashes in its links does it.
    pub(crate) const PLAIN: Self =
        Self { json: false, hashes: true, sidecars: false, ranges: true, reversed: false };
}

/// A wheel on the shelf.
#[derive(Debug, Clone)]
pub(crate) struct Wheel {
    /// Name of the file.
    pub(crate) file: String,
    /// Normalised name of the package.
    pub(crate) name: String,
    /// The METADATA inside and beside it.
    pub(crate) metadata: String,
    /// Why it was taken back.
    pub(crate) yanked: Option<String>,
    /// The Pythons that it is for.
    pub(crate) python: Option<String>,
    members: Vec<(String, Vec<u8>)>,
    raw: Option<Vec<u8>>,
    /// Digest that the pages give, where it is not that of the file.
    said: Option<Sha256>,
    /// The same for METADATA.
    said_beside: Option<Sha256>,
}

impl Wheel {
    /// A wheel by the name of its file.
    pub(crate) fn new(file: &str) -> Self {
        let mut parts = file.split('-');
        let (stem, version) = (parts.next().expect("a name"), parts.next().expect("a version"));
        let name = stem.to_lowercase().replace('_', "-");
        Self {
            file: file.into(),
            metadata: format!("Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"),
            name,
            yanked: None,
            python: None,
            members: Vec::new(),
            raw: None,
            said: None,
            said_beside: None,
        }
    }

    /// A wheel for any machine.
    pub(crate) fn pure(name: &str, version: &str) -> Self {
        Self::new(&format!("{}-{version}-py3-none-any.whl", name.replace('-', "_")))
    }

    /// What it requires.
    pub(crate) fn requires(mut self, lines: &[&str]) -> Self {
        for line in lines {
            let _ = writeln!(self.metadata, "Requires-Dist: {line}");
        }
        self
    }

    /// It is torch, built for this CUDA, or for none.
    pub(crate) fn build(self, version: &str, cuda: Option<&str>) -> Self {
        let cuda = cuda.map_or_else(|| "None".to_owned(), |cuda| format!("'{cuda}'"));
        let text = format!(
            "from typing import Optional\n__all__ = ['__version__']\n__version__ = '{version}'\ndebug = False\ncuda: Optional[str] = {cuda}\ngit_version = 'abc'\nhip: Optional[str] = None\n"
        );
        self.member("torch/version.py", text.as_bytes())
    }

    /// Another file inside.
    pub(crate) fn member(mut self, name: &str, bytes: &[u8]) -> Self {
        self.members.push((name.into(), bytes.into()));
        self
    }

    /// Another METADATA.
    pub(crate) fn says(self, metadata: &str) -> Self {
        Self { metadata: metadata.into(), ..self }
    }

    /// Other bytes, archive or not.
    pub(crate) fn bytes(self, raw: &[u8]) -> Self {
        Self { raw: Some(raw.into()), ..self }
    }

    /// Taken back.
    pub(crate) fn yanked(self, why: &str) -> Self {
        Self { yanked: Some(why.into()), ..self }
    }

    /// For these Pythons alone.
    pub(crate) fn python(self, range: &str) -> Self {
        Self { python: Some(range.into()), ..self }
    }

    /// The pages give another digest.
    pub(crate) fn said(self, digest: &Sha256) -> Self {
        Self { said: Some(digest.clone()), ..self }
    }

    /// The pages give another digest for METADATA.
    pub(crate) fn said_beside(self, digest: &Sha256) -> Self {
        Self { said_beside: Some(digest.clone()), ..self }
    }

    /// The file, the same bytes each time.
    pub(crate) fn archive(&self) -> Vec<u8> {
        if let Some(raw) = &self.raw {
            return raw.clone();
        }
        let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
        // Compressed, a filler would be no filler.
        let stored =
            SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
        let mut put = |name: &str, bytes: &[u8]| {
            writer.start_file(name, stored).expect("a member");
            writer.write_all(bytes).expect("its bytes");
        };
        for (name, bytes) in &self.members {
            put(name, bytes);
        }
        let stem = self.file.splitn(3, '-').take(2).collect::<Vec<_>>().join("-");
        put(&format!("{stem}.dist-info/METADATA"), self.metadata.as_bytes());
        writer.finish().expect("an archive").into_inner()
    }

    /// Bytes of all that is in it.
    pub(crate) fn unpacked(&self) -> usize {
        self.members.iter().map(|(_, bytes)| bytes.len()).sum::<usize>() + self.metadata.len()
    }

    /// The digest of the file.
    pub(crate) fn sha256(&self) -> Sha256 {
        Sha256::of(&self.archive())
    }
}

/// An index.
#[derive(Debug, Clone)]
pub(crate) struct Shelf {
    /// What it tells.
    pub(crate) form: Form,
    /// Its files, in the order of the pages.
    pub(crate) wheels: Vec<Wheel>,
    /// PEP 792: status and reason, by package.
    pub(crate) status: Vec<(String, String, String)>,
    pages: String,
    files: String,
}

impl Shelf {
    /// An empty index with its pages below one path and its files below another.
    pub(crate) fn at(pages: &str, files: &str) -> Self {
        Self {
            form: Form::FULL,
            wheels: Vec::new(),
            status: Vec::new(),
            pages: pages.into(),
            files: files.into(),
        }
    }

    /// Adds a wheel.
    pub(crate) fn add(&mut self, wheel: Wheel) -> &mut Self {
        self.wheels.push(wheel);
        self
    }

    /// Replaces the wheel of the same file name.
    pub(crate) fn swap(&mut self, wheel: Wheel) -> &mut Self {
        self.wheels.retain(|other| other.file != wheel.file);
        self.add(wheel)
    }

    /// The first wheel of a package.
    pub(crate) fn wheel(&self, name: &str) -> Wheel {
        self.wheels.iter().find(|w| w.name == name).expect("on the shelf").clone()
    }

    /// Names of all packages.
    pub(crate) fn names(&self) -> Vec<String> {
        let mut names: Vec<_> = self.wheels.iter().map(|w| w.name.clone()).collect();
        names.sort();
        names.dedup();
        names
    }

    /// Where the page of a package is.
    pub(crate) fn page_path(&self, name: &str) -> String {
        format!("{}/{name}/", self.pages)
    }

    /// Where the first file of a package is.
    pub(crate) fn file_path(&self, name: &str) -> String {
        self.path_of(&self.wheel(name))
    }

    fn path_of(&self, wheel: &Wheel) -> String {
        format!("{}/{}", self.files, wheel.file.replace('+', "%2B"))
    }

    fn listed(&self, name: &str) -> Vec<&Wheel> {
        let mut list: Vec<_> = self.wheels.iter().filter(|w| w.name == name).collect();
        if self.form.reversed {
            list.reverse();
        }
        list
    }

    /// The page of a package.
    pub(crate) fn page(&self, name: &str) -> Route {
        if self.form.json {
            Route::ok(self.json(name).to_string()).header("Content-Type", JSON)
        } else {
            Route::ok(self.html(name)).header("Content-Type", "text/html; charset=utf-8")
        }
    }

    fn json(&self, name: &str) -> Value {
        let files: Vec<Value> = self
            .listed(name)
            .into_iter()
            .map(|wheel| {
                let bytes = wheel.archive();
                let mut file = json!({
                    "filename": wheel.file,
                    "url": self.path_of(wheel),
                    "hashes": {},
                    "size": bytes.len(),
                    "upload-time": "2026-10-28T12:00:00.000000Z",
                    // A reason is not empty (PEP 691).
                    "yanked": match wheel.yanked.as_deref() {
                        None => json!(false),
                        Some("") => json!(true),
                        Some(why) => json!(why),
                    },
                    "requires-python": wheel.python,
                });
                if self.form.hashes {
                    let digest = wheel.said.clone().unwrap_or_else(|| Sha256::of(&bytes));
                    file["hashes"] = json!({ "sha256": digest.hex() });
                }
                if self.form.sidecars {
                    file["core-metadata"] = json!({ "sha256": beside(wheel).hex() });
                }
                file
            })
            .collect();
        let mut page = json!({ "meta": { "api-version": "1.4" }, "name": name, "versions": [], "files": files });
        if let Some((_, status, why)) = self.status.iter().find(|(of, _, _)| of == name) {
            page["project-status"] = json!({ "status": status, "reason": why });
        }
        page
    }

    fn html(&self, name: &str) -> String {
        let escaped = |text: &str| {
            text.replace('&', "&amp;")
                .replace('<', "&lt;")
                .replace('>', "&gt;")
                .replace('"', "&quot;")
        };
        let mut page = format!("<!DOCTYPE html>\n<html><body><h1>Links for {name}</h1>\n");
        for wheel in self.listed(name) {
            let mut link = format!("<a href=\"{}", self.path_of(wheel));
            if self.form.hashes {
                let digest = wheel.said.clone().unwrap_or_else(|| wheel.sha256());
                let _ = write!(link, "#sha256={}", digest.hex());
            }
            link.push('"');
            if self.form.sidecars {
                let _ = write!(link, " data-core-metadata=\"sha256={}\"", beside(wheel).hex());
            }
            if let Some(python) = &wheel.python {
                let _ = write!(link, " data-requires-python=\"{}\"", escaped(python));
            }
            if let Some(why) = &wheel.yanked {
                let _ = write!(link, " data-yanked=\"{}\"", escaped(why));
            }
            let _ = writeln!(page, "{link}>{}</a><br/>", escaped(&wheel.file));
        }
        page + "</body></html>\n"
    }

    /// The file of a wheel.
    pub(crate) fn file(&self, wheel: &Wheel) -> Route {
        let route = Route::ok(wheel.archive()).etag(&format!("\"{}\"", wheel.sha256().hex()));
        if self.form.ranges { route.ranges() } else { route }
    }

    /// Puts all pages and files on a server.
    pub(crate) fn publish(&self, web: &Web) {
        for name in self.names() {
            web.route(&self.page_path(&name), self.page(&name));
        }
        for wheel in &self.wheels {
            let path = self.path_of(wheel);
            web.route(&path, self.file(wheel));
            let beside = format!("{path}.metadata");
            web.route(
                &beside,
                if self.form.sidecars {
                    Route::ok(wheel.metadata.as_bytes())
                } else {
                    Route::status(404)
                },
            );
        }
    }
}

fn beside(wheel: &Wheel) -> Sha256 {
    wheel.said_beside.clone().unwrap_or_else(|| Sha256::of(wheel.metadata.as_bytes()))
}
