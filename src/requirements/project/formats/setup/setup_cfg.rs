//! `setup.cfg` as setuptools reads it: the syntax of Python's configparser, the lists of setuptools.
//!
//! Sources: the `configparser` module's documentation ("Supported INI File Structure"), and
//! setuptools' user guide, "Configuring setuptools using setup.cfg files". What they do with `;`,
//! comments and empty lines was compared with their code.

use std::collections::BTreeSet;

use pep440_rs::VersionSpecifiers;

use super::demand::{Choice, PythonSaid};
use super::reader::Reader;
use super::source::Text;
use super::{link, requirement, txt};
use crate::domain::shown;
use crate::requirements::Error;

/// Variables of an environment marker. A one-line list that is split at `;` may leave one behind.
const MARKERS: &[&str] = &[
    "extra",
    "implementation_",
    "os_name",
    "platform_",
    "python_full_version",
    "python_version",
    "sys_platform",
];

/// One `key = value` of a section.
#[derive(Debug, PartialEq, Eq)]
struct Entry {
    section: String,
    /// As written: an extra's name keeps its dashes and its case.
    key: String,
    line: usize,
    /// The value's lines without their indentation; the first is what stands beside the key.
    value: Vec<(usize, String)>,
}

impl Entry {
    /// Whether it is an option of this name: dashes and capitals are taken as well.
    fn is(&self, name: &str) -> bool {
        self.key.replace('-', "_").eq_ignore_ascii_case(name)
    }

    fn joined(&self) -> String {
        self.value.iter().map(|(_, part)| part.as_str()).collect::<Vec<_>>().join("\n")
    }
}

/// Reads what a `setup.cfg` says about requirements and Python.
///
/// # Errors
/// Lines that configparser refuses, a requirement or version range that is none, a file named by
/// `file:` that cannot be read.
pub fn read(text: &Text, reader: &mut Reader) -> Result<(), Error> {
    reader.began(text, "setup.cfg");
    for entry in entries(text)? {
        match entry.section.as_str() {
            "options" if entry.is("install_requires") => {
                requirements(text, &entry, reader, "install_requires", None)?;
            }
            "options" if entry.is("python_requires") => python(text, &entry, reader)?,
            "options.extras_require" => {
                let choice = Choice::Extra(entry.key.clone());
                let of = format!("extra `{}`", shown(&entry.key));
                requirements(text, &entry, reader, &of, Some(&choice))?;
            }
            // `setup_requires` and `tests_require` are not installed beside the project.
            _ => (),
        }
    }
    Ok(())
}

/// Takes the file apart, as configparser does.
fn entries(text: &Text) -> Result<Vec<Entry>, Error> {
    let mut entries: Vec<Entry> = Vec::new();
    let mut section: Option<String> = None;
    let mut sections = BTreeSet::new();
    let mut keys = BTreeSet::new();
    // Indentation of the last key or header; deeper lines go on with the value.
    let mut indent = 0;
    let mut in_value = false;
    for (physical, line) in text.text.lines().zip(1..) {
        let content = physical.trim();
        if content.starts_with(['#', ';']) {
            continue;
        }
        let current = entries.last_mut().filter(|_| in_value);
        if content.is_empty() {
            if let Some(entry) = current {
                entry.value.push((line, String::new()));
            }
            continue;
        }
        let deep = physical.len() - physical.trim_start().len();
        if deep > indent
            && let Some(entry) = current
        {
            entry.value.push((line, content.to_owned()));
            continue;
        }
        indent = deep;
        in_value = false;
        if let Some(name) = header(content) {
            if !sections.insert(name.to_owned()) {
                let message = format!("the section `[{}]` stands twice", shown(name));
                return Err(text.bad(line, message, Some("join both sections".into())));
            }
            section = Some(name.to_owned());
            keys.clear();
            continue;
        }
        let Some(section) = &section else {
            let help = "begin the file with a section, such as `[options]`";
            return Err(text.bad(line, "this line stands before any section", Some(help.into())));
        };
        let Some((key, value)) =
            content.split_once(['=', ':']).filter(|(key, _)| !key.trim().is_empty())
        else {
            let help = "write `key = value`, or indent the line to go on with the value above";
            return Err(text.bad(line, "this line is no `key = value`", Some(help.into())));
        };
        let key = key.trim().to_owned();
        if !keys.insert(key.clone()) {
            let message = format!("the key `{}` stands twice in this section", shown(&key));
            return Err(text.bad(line, message, Some("join both values".into())));
        }
        let value = vec![(line, value.trim().to_owned())];
        // Those of other sections only end the value above them.
        let section = if section.starts_with("options") { section.as_str() } else { "" };
        let section = if section.len() < 100 { section } else { "" };
        entries.push(Entry { section: section.to_owned(), key, line, value });
        in_value = true;
    }
    for entry in &mut entries {
        while entry.value.len() > 1 && entry.value.last().is_some_and(|(_, part)| part.is_empty()) {
            entry.value.pop();
        }
    }
    Ok(entries)
}

/// The name in a `[header]`; what stands behind the bracket counts for nothing.
fn header(content: &str) -> Option<&str> {
    let inner = content.strip_prefix('[')?;
    inner.rfind(']').map(|end| &inner[..end]).filter(|name| !name.is_empty())
}

/// `%(name)s`, which some versions of setuptools fill in and others take as it stands.
fn interpolated(value: &str) -> bool {
    value.contains("%(")
}

fn requirements(
    text: &Text,
    entry: &Entry,
    reader: &mut Reader,
    of: &str,
    choice: Option<&Choice>,
) -> Result<(), Error> {
    if entry.value[0].1.starts_with("file:") {
        return files(text, entry, reader, of, choice);
    }
    // In a list of several lines `;` begins a marker; on one line it parts the requirements.
    let one_line = entry.value.len() == 1;
    let mut parts: Vec<(usize, String)> = Vec::new();
    for (line, part) in &entry.value {
        if one_line {
            parts.extend(part.split(';').map(|part| (*line, part.to_owned())));
        } else if let Some((_, open)) = parts.last_mut().filter(|(_, part)| part.ends_with('\\')) {
            open.pop();
            open.push_str(part);
        } else {
            parts.push((*line, without_comment(part).to_owned()));
        }
    }
    for (at, (line, part)) in parts.iter().enumerate() {
        let given = without_comment(part).trim();
        if given.is_empty() {
            continue;
        }
        if interpolated(given) {
            let message =
                format!("{of}: `{}` holds a value that is filled in elsewhere", shown(given));
            reader.unread(&text.place(*line), message);
            continue;
        }
        if one_line && at > 0 && MARKERS.iter().any(|marker| given.starts_with(marker)) {
            let message = format!("`{}` stands where a requirement is expected", shown(given));
            let help = "write each requirement on an indented line of its own: on one line `;` parts requirements and begins no marker";
            return Err(text.bad(*line, message, Some(help.into())));
        }
        keep(text, *line, given, reader, choice)?;
    }
    Ok(())
}

/// Keeps a requirement; setuptools takes no bare address or path for one.
fn keep(
    text: &Text,
    line: usize,
    given: &str,
    reader: &mut Reader,
    choice: Option<&Choice>,
) -> Result<(), Error> {
    if link::is_link(given) && !given.contains(" @ ") {
        let message = format!("`{}` is no requirement: the name is missing", shown(given));
        let help = if given.starts_with("file:") {
            "write `file:` on the line of the key, or `NAME @ ADDRESS` for an address"
        } else {
            "write it as `NAME @ ADDRESS`"
        };
        return Err(text.bad(line, message, Some(help.into())));
    }
    reader.keep(text, line, given, choice)
}

/// setuptools cuts a line at the first ` #`.
fn without_comment(part: &str) -> &str {
    let part = part.split_once(" #").map_or(part, |(before, _)| before);
    if part.starts_with('#') { "" } else { part }
}

/// `file: a.txt, b.txt`: one requirement per line, no options.
fn files(
    text: &Text,
    entry: &Entry,
    reader: &mut Reader,
    of: &str,
    choice: Option<&Choice>,
) -> Result<(), Error> {
    for (at, (line, part)) in entry.value.iter().enumerate() {
        let part = if at == 0 { part.trim_start_matches("file:") } else { part };
        for target in part.split(',').map(str::trim).filter(|target| !target.is_empty()) {
            if interpolated(target) {
                let message =
                    format!("{of}: the file `{}` is named by another value", shown(target));
                reader.unread(&text.place(*line), message);
                continue;
            }
            let inner = reader.files.include(text, *line, target)?;
            reader.began(&inner, "requirements");
            for (line, given) in txt::logical_lines(&inner.text) {
                if given.starts_with('-') {
                    let message = format!(
                        "`{}` is an option of pip, which setuptools does not know in a file that `{}` names",
                        shown(&given),
                        text.name
                    );
                    reader.unread(&inner.place(line), message);
                } else {
                    keep(&inner, line, &given, reader, choice)?;
                }
            }
        }
    }
    Ok(())
}

fn python(text: &Text, entry: &Entry, reader: &mut Reader) -> Result<(), Error> {
    let given = entry.joined();
    let line = entry
        .value
        .iter()
        .find_map(|(line, part)| (!part.is_empty()).then_some(*line))
        .unwrap_or(entry.line);
    if interpolated(&given) {
        let message = format!("python_requires: `{}` is filled in elsewhere", shown(&given));
        reader.unread(&text.place(line), message);
        return Ok(());
    }
    let Some(versions) = versions(&given) else {
        let message = format!("`{}` is no range of versions", shown(given.trim()));
        return Err(text.bad(line, message, Some("write it as in `>=3.10,<3.14`".into())));
    };
    if versions.is_empty() {
        return Ok(());
    }
    reader.project.python.push(PythonSaid {
        versions,
        given: given.trim().replace('\n', " "),
        by: "setup.cfg python_requires",
        choice: None,
        place: text.place(line),
    });
    Ok(())
}

/// A version range as setuptools takes it: empty parts between commas count for nothing.
pub(super) fn versions(given: &str) -> Option<VersionSpecifiers> {
    let parts: Vec<_> = given.split(',').map(str::trim).filter(|part| !part.is_empty()).collect();
    if parts.is_empty() {
        return Some(VersionSpecifiers::default());
    }
    requirement::versions(&parts.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::requirements::project::Project;
    use crate::requirements::project::source::Files;

    fn read_all(files: &[(&str, &str)]) -> Result<Project, Error> {
        let dir = tempfile::tempdir().expect("a folder");
        for (name, content) in files {
            fs_err::write(dir.path().join(name), content).expect("a file");
        }
        let mut reader = Reader::new(Files::of(dir.path()).expect("a folder"));
        let path = dir.path().join("setup.cfg");
        let text = reader.files.read(&path, super::super::source::MAX_BYTES)?;
        read(&text, &mut reader)?;
        Ok(reader.project)
    }

    fn cfg(content: &str) -> Result<Project, Error> {
        read_all(&[("setup.cfg", content)])
    }

    /// Every demand as `file:line given` and its extra.
    fn demands(project: &Project) -> Vec<String> {
        let extra = |c: &Option<Choice>| c.as_ref().map_or(String::new(), |c| format!(" {c}"));
        project
            .demands
            .iter()
            .map(|d| format!("{}:{} {}{}", d.place.file, d.place.line, d.given, extra(&d.choice)))
            .collect()
    }

    fn line_of(error: Result<Project, Error>) -> Option<usize> {
        match error {
            Err(Error::Bad(bad)) => bad.place.map(|(line, _)| line),
            _ => None,
        }
    }

    #[test]
    fn lists_keep_their_lines() {
        let project = cfg(
            "[metadata]\nname = x\n\n[options]\npackages = find:\nInstall-Requires =\n    torch>=2.6 ; sys_platform == 'linux'\n    # why\n\n    ; more\n    numpy  # tail\nsetup_requires = wheel\npython_requires: >=3.10,\n  <3.14\n[options.extras_require]\nGPU-x =\n  triton>=3\nall : a>1; b\n",
        )
        .expect("a good file");
        assert_eq!(
            demands(&project),
            [
                "setup.cfg:7 torch>=2.6 ; sys_platform == 'linux'",
                "setup.cfg:11 numpy",
                "setup.cfg:17 triton>=3 extra `GPU-x`",
                "setup.cfg:18 a>1 extra `all`",
                "setup.cfg:18 b extra `all`"
            ]
        );
        assert_eq!(project.demands[0].marker.text(), Some("sys_platform == 'linux'"));
        let python = &project.python[0];
        assert_eq!(
            (python.versions.to_string().as_str(), python.place.line),
            (">=3.10, <3.14", 13)
        );
        assert_eq!(project.files[0].what, "setup.cfg");
    }

    #[test]
    fn a_semicolon_parts_one_line_and_begins_a_marker_in_a_list() {
        let project = cfg("[options]\ninstall_requires = torch>=2; numpy\n").expect("two");
        assert_eq!(demands(&project), ["setup.cfg:2 torch>=2", "setup.cfg:2 numpy"]);
        let project =
            cfg("[options]\ninstall_requires = \n  torch; python_version>'3'\n").expect("one");
        assert_eq!(project.demands[0].marker.text(), Some("python_version>'3'"));
        let error = cfg("[options]\ninstall_requires = torch; python_version>'3'\n");
        assert!(error.as_ref().is_err_and(|e| e.help().is_some_and(|h| h.contains("own"))));
        assert_eq!(line_of(error), Some(2));
    }

    #[test]
    fn files_keep_their_own_lines() {
        let project = read_all(&[
            (
                "setup.cfg",
                "[options]\ninstall_requires = file: a.txt,\n  b.txt\n[options.extras_require]\ngpu = file: b.txt\n",
            ),
            ("a.txt", "# head\ntorch>=2 # tail\n-r b.txt\n--extra-index-url https://x.example\n"),
            ("b.txt", "\nnumpy\n"),
        ])
        .expect("good files");
        assert_eq!(
            demands(&project),
            ["a.txt:2 torch>=2", "b.txt:2 numpy", "b.txt:2 numpy extra `gpu`"]
        );
        let places: Vec<_> =
            project.findings.iter().flat_map(|f| &f.place).map(ToString::to_string).collect();
        assert_eq!(places, ["a.txt:3", "a.txt:4"]);
        let missing = cfg("[options]\n\ninstall_requires = file: none.txt\n");
        assert_eq!(line_of(missing), Some(3));
        assert!(cfg("[options]\ninstall_requires = file: ../../etc/passwd\n").is_err());
    }

    #[test]
    fn what_is_filled_in_is_not_guessed() {
        let project = cfg(
            "[options]\ninstall_requires =\n  torch==%(v)s\n  numpy\npython_requires = %(p)s\n",
        )
        .expect("a good file");
        assert_eq!(demands(&project), ["setup.cfg:4 numpy"]);
        assert_eq!(project.findings.len(), 2);
    }

    #[test]
    fn bad_lines_are_named() {
        for (content, line) in [
            ("a = 1\n", 1),
            ("[options]\nnothing\n", 2),
            ("[options]\n= 1\n", 2),
            ("[options]\na = 1\n[options]\n", 3),
            ("[options]\na = 1\na = 2\n", 3),
            ("[options]\ninstall_requires =\n  torch\n  torch>>2\n", 4),
            ("[options]\ninstall_requires =\n  ./wheels/x.whl\n", 3),
            ("[options]\ninstall_requires =\n  file: a.txt\n", 3),
            ("[options]\npython_requires = three\n", 2),
        ] {
            assert_eq!(line_of(cfg(content)), Some(line), "{content}");
        }
    }

    #[test]
    fn hostile_files_end() {
        for content in [
            "[".repeat(1_000_000),
            "\"".repeat(1_000_000),
            format!("[options]\ninstall_requires ={}", "\n ".repeat(500_000)),
            format!("[options]\ninstall_requires = {}", ";".repeat(1_000_000)),
            format!("[options]\ninstall_requires =\n a{}", "\\\n ".repeat(200_000)),
        ] {
            let _ = cfg(&content);
        }
        assert!(cfg("").is_ok_and(|project| project.demands.is_empty()));
        assert!(cfg("[flake8]\nmax-line-length = 100\n").is_ok());
    }
}
