//! `pip install` and `uv pip install` as they stand in a script.

use super::installs::Installs;
use super::shell::Command;
use super::vars::Word;
use crate::domain::{WheelVariant, shown};
use crate::requirements::Error;
use crate::requirements::project::demand::{By, CudaSaid, Index, Kind};
use crate::requirements::project::formats::txt;
use crate::requirements::project::marker::Marker;
use crate::requirements::project::source::MAX_BYTES;
use crate::requirements::project::{link, requirement};

/// An installer, and what it is told.
#[derive(Debug)]
pub struct Tool<'w> {
    /// uv, which reads other variables and takes the first index that has a package.
    uv: bool,
    /// `uv pip sync`: the words are files.
    files: bool,
    words: &'w [Word],
}

/// The command around it.
#[derive(Debug)]
pub struct Call<'c> {
    /// Variables set for it alone.
    pub assigned: &'c [(String, Word)],
    /// The command.
    pub command: &'c Command,
}

/// Long options with a value.
const LONG: &str = "\
    abi allow-insecure-host backend bounds branch build-constraint build-constraints cache-dir \
    cert client-cert color config-file config-setting config-settings constraint constraints \
    default-index default-timeout dest directory editable exclude-newer exclude-newer-package \
    excludes exists-action extra extra-index-url find-links fork-strategy global-option group \
    implementation index index-strategy index-url install-option keyring-provider link-mode \
    log marker no-binary no-binary-package no-build-isolation-package no-build-package \
    no-sources-package only-binary optional override overrides package platform prefix \
    prerelease progress-bar project proxy python python-platform python-version \
    refresh-package reinstall-package report requirement requirements resolution resume-retries retries rev \
    root root-user-action script src tag target timeout torch-backend trusted-host \
    upgrade-package upgrade-strategy use-deprecated use-feature wheel-dir";
/// Short options with a value.
const SHORT: &str = "rceiftdwCpPbm";

impl<'w> Tool<'w> {
    /// The installer behind a program and its words.
    pub fn of(program: &str, words: &'w [Word]) -> Option<Self> {
        let versioned = |name: &str| {
            program.strip_prefix(name).is_some_and(|rest| {
                rest.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'-'))
            })
        };
        if versioned("pip") {
            let (verb, words) = verb(words)?;
            return matches!(verb, "install" | "wheel" | "download").then_some(Self {
                uv: false,
                files: false,
                words,
            });
        }
        if program == "uv" {
            let (first, words) = verb(words)?;
            if first == "add" {
                return Some(Self { uv: true, files: false, words });
            }
            let (second, words) = verb(words).filter(|_| first == "pip")?;
            return matches!(second, "install" | "sync").then_some(Self {
                uv: true,
                files: second == "sync",
                words,
            });
        }
        if versioned("python") || versioned("pypy") {
            let mut rest = words.iter().enumerate();
            while let Some((at, word)) = rest.next() {
                match word.as_str() {
                    "-m" => return Self::module(words.get(at + 1)?.as_str(), words.get(at + 2..)?),
                    "-W" | "-X" => {
                        rest.next();
                    }
                    flag if flag.starts_with('-') => {
                        if let Some(module) = flag.strip_prefix("-m") {
                            return Self::module(module, words.get(at + 1..)?);
                        }
                    }
                    _ => return None,
                }
            }
        }
        None
    }

    fn module(name: &str, words: &'w [Word]) -> Option<Self> {
        matches!(name, "pip" | "uv").then(|| Self::of(name, words))?
    }
}

/// The first word that is no option, and what stands behind it.
fn verb(mut words: &[Word]) -> Option<(&str, &[Word])> {
    loop {
        let (first, rest) = words.split_first()?;
        let Some(option) = first.as_str().strip_prefix('-') else {
            return Some((first.as_str(), rest));
        };
        let takes = option.strip_prefix('-').is_some_and(takes_value);
        words = rest.get(usize::from(takes)..)?;
    }
}

/// Whether a long option has a value.
fn takes_value(name: &str) -> bool {
    LONG.split_whitespace().any(|known| known == name)
}

/// An option or a plain word.
enum Part<'w> {
    Option(String, Option<Word>),
    Plain(&'w Word),
}

/// Options with their values, and the words between them.
fn parts(words: &[Word]) -> Vec<Part<'_>> {
    let mut out = Vec::new();
    let mut rest = words.iter();
    while let Some(word) = rest.next() {
        let text = word.as_str();
        if text == "--" {
            out.extend(rest.map(Part::Plain));
            break;
        }
        if let Some(long) = text.strip_prefix("--") {
            if let Some((name, _)) = long.split_once('=') {
                out.push(Part::Option(name.into(), Some(word.from(name.len() + 3))));
            } else {
                let value = takes_value(long).then(|| rest.next().cloned()).flatten();
                out.push(Part::Option(long.into(), value));
            }
        } else if text.len() > 1 && text.starts_with('-') {
            // `-qUr requirements.txt`: flags in a bundle, the last of which may take a value.
            let takes = text.char_indices().skip(1).find(|(_, c)| SHORT.contains(*c));
            if let Some((at, c)) = takes {
                let glued = at + c.len_utf8() < text.len();
                let value = if glued {
                    let skip = usize::from(text[at + 1..].starts_with('='));
                    Some(word.from(at + 1 + skip))
                } else {
                    rest.next().cloned()
                };
                out.push(Part::Option(c.to_string(), value));
            }
        } else {
            out.push(Part::Plain(word));
        }
    }
    out
}

/// Reads what an installer is told.
///
/// # Errors
/// A requirement file that it names cannot be read.
pub fn read(tool: &Tool<'_>, call: &Call<'_>, on: &mut Installs<'_>) -> Result<(), Error> {
    if tool.words.is_empty() || on.only_maybe(call.command, "is run") {
        return Ok(());
    }
    on.any = true;
    for (whole, line) in &call.command.redirected {
        on.unread(
            *line,
            format!(
                "`{}` stands without quotes: the shell redirects, any version is taken",
                shown(whole)
            ),
        );
    }
    let mut said = Said { files: Vec::new(), requirements: Vec::new(), backend: None };
    let mut batch = txt::Batch::default();
    let parts = parts(tool.words);
    let unsafe_order = parts.iter().any(|part| {
        matches!(part, Part::Option(name, Some(value))
            if name == "index-strategy" && value.as_str().starts_with("unsafe"))
    });
    // uv takes a package from the first index that has it: nothing is ambiguous then.
    let beside = !tool.uv || unsafe_order;
    let mut named = Named::default();
    for part in parts {
        match part {
            Part::Plain(word) if tool.files => said.files.push((word.clone(), Kind::Requirement)),
            Part::Plain(word) => said.requirements.push(word.clone()),
            Part::Option(name, Some(value)) => match name.as_str() {
                "r" | "requirement" | "requirements" => said.files.push((value, Kind::Requirement)),
                "c" | "constraint" | "constraints" => said.files.push((value, Kind::Constraint)),
                "override" | "overrides" => said.files.push((value, Kind::Override)),
                // A folder of the image: the project's own is read anyway.
                "e" | "editable" if !value.as_str().contains("://") => (),
                "e" | "editable" => said.requirements.push(value),
                // pip takes `--index` for the beginning of `--index-url`.
                name @ ("i" | "index-url" | "default-index" | "pypi-url" | "index")
                    if name != "index" || !tool.uv =>
                {
                    named.main = true;
                    on.depends(&value);
                    batch.index = Some(index(&value, false, on));
                }
                "index" | "extra-index-url" | "extra-index" => {
                    named.extra = true;
                    on.depends(&value);
                    let found = index(&value, beside, on);
                    batch.extra.push(found);
                }
                "f" | "find-links" => {
                    named.links = true;
                    on.depends(&value);
                    let found = index(&value, true, on);
                    batch.extra.push(found);
                }
                "torch-backend" => said.backend = Some(value),
                _ => (),
            },
            Part::Option(_, None) => (),
        }
    }
    variables(tool, call, &named, beside, &mut batch, &mut said, on);
    if let Some(backend) = said.backend.take() {
        torch_backend(&backend, on);
    }
    let mut elsewhere = false;
    for (word, kind) in &said.files {
        elsewhere |= !file(word, *kind, &mut batch, on)?;
    }
    for word in &said.requirements {
        take(word, &mut batch, on)?;
    }
    let indexes: Vec<Index> = batch.index.iter().chain(&batch.extra).cloned().collect();
    let choice = on.choice.clone();
    let before = on.reader.project.cuda.len();
    batch.finish(on.reader, choice.as_ref())?;
    // Requirements of a file that was read before: the index is said of them here.
    for index in indexes.iter().filter(|_| elsewhere) {
        if let Some(said) = CudaSaid::by_index(index, choice.as_ref()) {
            let told = &mut on.reader.project.cuda;
            if !told[before..].contains(&said) {
                told.push(said);
            }
        }
    }
    Ok(())
}

/// What was named so far, beside the indexes.
struct Said {
    files: Vec<(Word, Kind)>,
    requirements: Vec<Word>,
    backend: Option<Word>,
}

/// Which kinds of index the command names itself.
#[derive(Default)]
struct Named {
    main: bool,
    extra: bool,
    links: bool,
}

/// An index that a word names: `https://...`, in uv also `name=https://...`.
fn index(word: &Word, extra: bool, on: &Installs<'_>) -> Index {
    let text = word.as_str();
    let (name, url) = match text.split_once('=') {
        Some((name, url)) if !name.contains([':', '/']) && url.contains("://") => (Some(name), url),
        _ => (None, text),
    };
    let mut index = Index::new(url, on.text.place(word.line()));
    index.name = name.map(str::to_owned);
    index.extra = extra;
    index
}

/// Indexes that variables name, where the command names none itself.
fn variables(
    tool: &Tool<'_>,
    call: &Call<'_>,
    named: &Named,
    beside: bool,
    batch: &mut txt::Batch,
    said: &mut Said,
    on: &mut Installs<'_>,
) {
    let mut value = |name: &str| -> Option<Word> {
        let own = call.assigned.iter().rev().find(|(given, _)| given == name);
        let word = if let Some((_, word)) = own {
            word.clone()
        } else {
            let len = on.vars.get(name)?.text.as_ref().map_or(0, String::len);
            let counted = on.vars.spend(len);
            let value = on.vars.get(name)?;
            let text = value.text.as_deref().filter(|_| counted);
            let mut word = Word::literal(text.unwrap_or(name), value.line);
            word.unknown = text.is_none().then(|| name.to_owned());
            word
        };
        (!word.as_str().trim().is_empty() && !on.depends(&word)).then_some(word)
    };
    let (main, extra, links): (&[_], &[_], &[_]) = if tool.uv {
        (
            &["UV_DEFAULT_INDEX", "UV_INDEX_URL"],
            &["UV_INDEX", "UV_EXTRA_INDEX_URL"],
            &["UV_FIND_LINKS"],
        )
    } else {
        (&["PIP_INDEX_URL"], &["PIP_EXTRA_INDEX_URL"], &["PIP_FIND_LINKS"])
    };
    let main = main.iter().find_map(|name| value(name)).filter(|_| !named.main);
    let extra: Vec<_> =
        extra.iter().filter_map(|name| value(name)).filter(|_| !named.extra).collect();
    let links: Vec<_> =
        links.iter().filter_map(|name| value(name)).filter(|_| !named.links).collect();
    if tool.uv && said.backend.is_none() {
        said.backend = value("UV_TORCH_BACKEND");
    }
    if let Some(word) = main {
        batch.index = Some(index(&word, false, on));
    }
    for (words, beside) in [(extra, beside), (links, true)] {
        for word in words {
            for part in word.as_str().split([' ', ',', '\t', '\n']).filter(|part| !part.is_empty())
            {
                batch.extra.push(index(&Word::literal(part, word.line()), beside, on));
            }
        }
    }
}

fn torch_backend(word: &Word, on: &mut Installs<'_>) {
    if on.depends(word) {
        return;
    }
    let given = word.as_str();
    if given == "auto" {
        on.unread(
            word.line(),
            "`--torch-backend auto` takes the build from the driver of the machine that builds",
        );
        return;
    }
    on.reader.project.cuda.push(CudaSaid {
        given: given.to_owned(),
        variant: given.parse::<WheelVariant>().ok(),
        by: By::Config,
        package: String::new(),
        marker: Marker::default(),
        choice: on.choice.clone(),
        place: on.text.place(word.line()),
    });
}

/// Reads a requirement file of the project into the batch; `false`: it was read elsewhere.
fn file(
    word: &Word,
    kind: Kind,
    batch: &mut txt::Batch,
    on: &mut Installs<'_>,
) -> Result<bool, Error> {
    let target = word.as_str();
    if on.depends(word) {
        return Ok(true);
    }
    if target.contains("://") {
        on.unread(
            word.line(),
            format!("`{}` would have to be fetched, and is not read", shown(target)),
        );
        return Ok(true);
    }
    let Some(path) = on.in_project(target) else {
        on.unread(word.line(), format!("`{}` is no file of the project", shown(target)));
        return Ok(true);
    };
    if on.reader.files.was_read(&path) {
        return Ok(false);
    }
    if path.file_name().is_some_and(|name| name == "pyproject.toml") {
        // The project's own files are read anyway.
        return Ok(false);
    }
    let text = on.reader.files.read(&path, MAX_BYTES)?;
    txt::read_into(&text, on.reader, batch, kind)?;
    Ok(true)
}

/// Takes a requirement word.
fn take(word: &Word, batch: &mut txt::Batch, on: &mut Installs<'_>) -> Result<(), Error> {
    let given = word.as_str().trim();
    let local = link::is_path(given) && !given.contains("://");
    let is_wheel = std::path::Path::new(given).extension().is_some_and(|end| end == "whl");
    let wheel = is_wheel && !given.contains('*');
    // Folders of the project: its own files are read anyway.
    if given.is_empty() || (local && !wheel) || on.depends(word) {
        return Ok(());
    }
    let line = word.line();
    if let Err(why) = requirement::read(given, &on.text.place(line)) {
        on.unread(line, why);
        return Ok(());
    }
    batch.requirement(given, on.text, line, Kind::Requirement, on.reader)
}
