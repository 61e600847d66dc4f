//! Files that the answer is written to as well: `--report`, and `report` and `sarif` of the action.
//!
//! A mistyped name must not cost a file of the user: what is written over is one of ours, or empty.

use std::cell::RefCell;
use std::io::BufReader;
use std::path::Path;

use serde_json::Value;

use super::args::{Format, Report};
use super::output::{Voices, append, write_whole};
use crate::error::Error;
use crate::report::cleaned;

/// Reports of a run.
pub struct Reports {
    list: Vec<Report>,
    /// Which of them this run has written, by their place in the list.
    written: RefCell<Vec<usize>>,
}

impl Reports {
    /// None of them is written yet.
    pub const fn new(list: Vec<Report>) -> Self {
        Self { list, written: RefCell::new(Vec::new()) }
    }

    /// Looks at all of them before the command does anything.
    ///
    /// # Errors
    /// Two name the same file; one names a file that is no report.
    pub fn check(&self) -> Result<(), Error> {
        (0..self.list.len()).try_for_each(|at| self.free(at))
    }

    /// Takes away what an earlier step has left there: its answer is not this one's.
    ///
    /// # Errors
    /// Those of [`Reports::check`], and a file that cannot be taken away: the first of them, after all.
    pub fn clear(&self) -> Result<(), Error> {
        let mut told = Ok(());
        for (at, report) in self.list.iter().enumerate() {
            let cleared = self.free(at).and_then(|()| {
                if report.format != Format::Markdown
                    && report.file.is_file()
                    && !device(&report.file)
                {
                    fs_err::remove_file(&report.file)?;
                }
                Ok(())
            });
            told = told.and(cleared);
        }
        told
    }

    /// Writes all that can be written.
    ///
    /// # Errors
    /// The first that cannot.
    pub fn write(&self, voices: Voices<'_>) -> Result<(), Error> {
        let mut told = Ok(());
        for (at, report) in self.list.iter().enumerate() {
            // The command may have written a file there in between.
            let kept = self.free(at).and_then(|()| write(report, &voices(report.format)));
            if kept.is_ok() {
                self.written.borrow_mut().push(at);
            }
            told = told.and(kept);
        }
        told
    }

    /// Whether this run has written a file in this voice there.
    pub fn wrote(&self, format: Format, file: &Path) -> bool {
        let written = self.written.borrow();
        written.iter().any(|at| self.list[*at].format == format && self.list[*at].file == file)
    }

    /// Whether one of them is to stand there.
    pub fn names(&self, file: &Path) -> bool {
        self.list.iter().any(|report| cleaned(&report.file) == cleaned(file))
    }

    /// Whether a report may be written where it is to stand.
    fn free(&self, at: usize) -> Result<(), Error> {
        let Report { format, file } = &self.list[at];
        if device(file) {
            return Ok(());
        }
        let same = |other: &&Report| cleaned(&other.file) == cleaned(file);
        if let Some(other) = self.list[..at].iter().find(same) {
            return Err(Error::Usage {
                message: format!(
                    "two reports name the same file: `{}` and `{}`",
                    other.file.display(),
                    file.display()
                ),
                help: Some("give each a file of its own".into()),
            });
        }
        // What cannot be read is told when it is written.
        let empty = std::fs::metadata(file).map_or(true, |there| there.len() == 0);
        let (fits, rule) = match format {
            _ if empty => (true, ""),
            Format::Markdown => (
                named(file, "md")
                    || std::env::var_os("GITHUB_STEP_SUMMARY").is_some_and(|s| *file == s),
                "Markdown is added to files that end in .md, and to the job's summary",
            ),
            Format::Human | Format::Github => {
                (named(file, "log"), "text is written over files that end in .log alone")
            }
            Format::Json | Format::Sarif => (ours(file), "a report is written over a report alone"),
        };
        if fits {
            return Ok(());
        }
        Err(Error::Usage {
            message: format!(
                "the report `{}` would take the place of a file that is not known to be one: {rule}",
                file.display()
            ),
            help: Some("name another file, or take this one away first".into()),
        })
    }
}

/// A device, a pipe, or what leads to one: written to, and never in the place of a file.
pub fn device(file: &Path) -> bool {
    file.starts_with("/dev")
        || std::fs::metadata(file).is_ok_and(|there| !there.is_file() && !there.is_dir())
}

fn named(file: &Path, extension: &str) -> bool {
    file.extension().is_some_and(|own| own.eq_ignore_ascii_case(extension))
}

/// A document or a log of this program.
fn ours(file: &Path) -> bool {
    let Ok(open) = std::fs::File::open(file) else { return false };
    let document: Value = serde_json::from_reader(BufReader::new(open)).unwrap_or_default();
    let name = document["schema"]["name"].as_str().unwrap_or_default();
    name.starts_with("gpuseal.") || document["runs"][0]["tool"]["driver"]["name"] == "gpuseal"
}

fn write(Report { format, file }: &Report, text: &str) -> Result<(), Error> {
    if let Some(folder) = file.parent().filter(|p| !p.as_os_str().is_empty()) {
        fs_err::create_dir_all(folder)?;
    }
    // A file has no colours.
    let text = anstream::adapter::strip_str(text).to_string();
    if *format == Format::Markdown || device(file) {
        append(file, &text)?;
    } else {
        write_whole(file, &text)?;
    }
    Ok(())
}
