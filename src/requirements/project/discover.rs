//! Which files of a folder are read, and what it means that several stand beside each other.

use crate::domain::{Gather as _, Order as _};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::demand::{Choice, Project, PythonSaid};
use super::formats::setup::{setup_cfg, setup_py};
use super::formats::{cog, conda, dockerfile, envs, locks, pipfile, pixi, pyproject, txt};
use super::reader::Reader;
use super::source::{Files, MAX_BYTES, MAX_LOCK_BYTES, Text};
use crate::requirements::Error;

/// Reads all files of a project that say what it needs.
///
/// # Errors
/// A file that cannot be read, with its line.
pub fn folder(folder: &Path) -> Result<Project, Error> {
    let mut reader = Reader::new(Files::of(folder)?);
    let names = names(folder)?;
    let has = |name: &str| names.iter().any(|n| n == name);
    let open = |reader: &mut Reader, name: &str| reader.files.read(&folder.join(name), MAX_BYTES);
    if has("pyproject.toml") {
        let text = open(&mut reader, "pyproject.toml")?;
        pyproject::read(&text, &mut reader)?;
    }
    if has("hatch.toml") {
        let text = open(&mut reader, "hatch.toml")?;
        envs::read(&text, &mut reader)?;
    }
    if has("setup.cfg") {
        let text = open(&mut reader, "setup.cfg")?;
        setup_cfg::read(&text, &mut reader)?;
    }
    if has("setup.py") {
        let text = open(&mut reader, "setup.py")?;
        setup_py::read(&text, &mut reader)?;
    }
    requirement_files(folder, &names, &mut reader)?;
    if has("Pipfile") {
        let text = open(&mut reader, "Pipfile")?;
        pipfile::read(&text, &mut reader, None)?;
    }
    if has("pixi.toml") {
        let text = open(&mut reader, "pixi.toml")?;
        pixi::read(&text, &mut reader)?;
    }
    if has("cog.yaml") {
        let text = open(&mut reader, "cog.yaml")?;
        cog::read(&text, &mut reader)?;
    }
    let conda = |name: &str| {
        let (stem, end) = name.rsplit_once('.').unwrap_or((name, ""));
        let plain = ["conda", "env", "conda-env", "conda_env"].contains(&stem);
        matches!(end, "yml" | "yaml")
            && (stem.starts_with("environment") || stem.ends_with("environment") || plain)
    };
    beside(
        &names,
        conda,
        &["environment.yml", "environment.yaml", "conda.yaml", "conda.yml"],
        true,
        |name, choice| {
            let text = open(&mut reader, name)?;
            conda::read(&text, &mut reader, choice)
        },
    )?;
    let docker = |name: &str| {
        let file = name.rsplit('/').next().unwrap_or(name);
        file == "Containerfile"
            || file.starts_with("Dockerfile")
            || file.to_ascii_lowercase().ends_with(".dockerfile")
    };
    // Only the one of that very name is the project's; others are for some purpose of their own.
    beside(&names, docker, &["Dockerfile", "Containerfile"], false, |name, choice| {
        let text = open(&mut reader, name)?;
        if is_ours(&text) {
            reader.began(&text, "rendered by gpuseal");
            return Ok(());
        }
        dockerfile::read(&text, &mut reader, choice)
    })?;
    if has(".python-version") {
        let text = open(&mut reader, ".python-version")?;
        python_version(&text, &mut reader);
    }
    for name in &names {
        let lock = |name: &str| {
            name.starts_with("pylock.") && Path::new(name).extension().is_some_and(|e| e == "toml")
        };
        let what = match name.as_str() {
            "uv.lock" => "uv lock",
            "poetry.lock" => "Poetry lock",
            name if lock(name) => "pylock",
            _ => continue,
        };
        let text = reader.files.read(&folder.join(name), MAX_LOCK_BYTES)?;
        if is_ours(&text) {
            reader.began(&text, "rendered by gpuseal");
            continue;
        }
        locks::read(&text, what, &mut reader)?;
    }
    reader.project.joint |= has("uv.lock");
    if reader.project.files.is_empty() {
        members(folder, &mut reader);
    }
    reader.project.settle();
    reader.done()
}

/// A folder that says nothing itself: names the projects below it, which are read one by one.
fn members(folder: &Path, reader: &mut Reader) {
    const MANIFESTS: &[&str] = &[
        "pyproject.toml",
        "requirements.txt",
        "setup.py",
        "environment.yml",
        "pixi.toml",
        "Pipfile",
    ];
    const MOST: usize = 20;
    let below = |dir: &Path| -> Vec<PathBuf> {
        let mut list: Vec<PathBuf> = std::fs::read_dir(dir)
            .into_iter()
            .flatten()
            .filter_map(Result::ok)
            .filter(|entry| !entry.file_name().to_string_lossy().starts_with('.'))
            .map(|entry| entry.path())
            .filter(|path| path.is_dir())
            .collect();
        list.order();
        list
    };
    let first = below(folder);
    let second = first.iter().flat_map(|dir| below(dir));
    let is_project = |dir: &PathBuf| MANIFESTS.iter().any(|name| dir.join(name).is_file());
    let found = first.iter().cloned().chain(second).filter(is_project).take(MOST);
    for dir in found.collect::<Vec<_>>() {
        let name = reader.files.name(&dir);
        let place = crate::domain::Place { file: name.clone(), line: 1 };
        reader.unread(
            &place,
            format!("`{name}` is a project of its own: `gpuseal inputs {name}` reads it"),
        );
    }
}

/// Reads only these files, whatever else stands beside them.
///
/// # Errors
/// A file that cannot be read, with its line.
pub fn files(folder: &Path, list: &[PathBuf]) -> Result<Project, Error> {
    let mut reader = Reader::new(Files::of(folder)?);
    for path in list {
        reader.files.trust(path);
        let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        let text = reader.files.read(path, MAX_LOCK_BYTES)?;
        match name.as_str() {
            "pyproject.toml" => pyproject::read(&text, &mut reader)?,
            "setup.cfg" => setup_cfg::read(&text, &mut reader)?,
            "setup.py" => setup_py::read(&text, &mut reader)?,
            "Pipfile" => pipfile::read(&text, &mut reader, None)?,
            "pixi.toml" => pixi::read(&text, &mut reader)?,
            "cog.yaml" => cog::read(&text, &mut reader)?,
            "uv.lock" => locks::read(&text, "uv lock", &mut reader)?,
            "poetry.lock" => locks::read(&text, "Poetry lock", &mut reader)?,
            name if name.starts_with("Dockerfile") || name == "Containerfile" => {
                dockerfile::read(&text, &mut reader, None)?;
            }
            name if Path::new(name).extension().is_some_and(|e| e == "yml" || e == "yaml") => {
                conda::read(&text, &mut reader, None)?;
            }
            name if name.starts_with("pylock.") => locks::read(&text, "pylock", &mut reader)?,
            _ => txt::read(&text, &mut reader, None)?,
        }
    }
    reader.project.settle();
    reader.done()
}

/// Files of the folder, of `requirements/` with its folders and of `docker/`, sorted.
fn names(folder: &Path) -> Result<Vec<String>, Error> {
    let mut names = Vec::new();
    let mut folders = vec![String::new(), "docker".into(), "requirements".into()];
    if let Ok(entries) = std::fs::read_dir(folder.join("requirements")) {
        for entry in entries.filter_map(Result::ok).filter(|entry| entry.path().is_dir()) {
            folders.push(format!("requirements/{}", entry.file_name().to_string_lossy()));
        }
    }
    for below in folders {
        let dir = folder.join(&below);
        if !dir.is_dir() {
            continue;
        }
        for entry in fs_err::read_dir(dir)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            // A pipe or a folder of that name is nothing to read.
            if entry.path().is_file() {
                names.push(if below.is_empty() { name } else { format!("{below}/{name}") });
            }
        }
    }
    names.order();
    Ok(names)
}

/// Files of one kind: the one with the plain name belongs to the project, or the only one where one
/// `alone` does; the others are choices.
fn beside(
    names: &[String],
    is: impl Fn(&str) -> bool,
    plain: &[&str],
    alone: bool,
    mut read: impl FnMut(&str, Option<&Choice>) -> Result<(), Error>,
) -> Result<(), Error> {
    let list: Vec<_> = names.iter().filter(|name| is(name)).collect();
    for name in &list {
        let main = alone && list.len() == 1 || plain.contains(&name.as_str());
        let choice = Choice::File((*name).clone());
        read(name, (!main).then_some(&choice))?;
    }
    Ok(())
}

/// `requirements.txt` belongs to the project; others that no file includes are choices.
fn requirement_files(folder: &Path, names: &[String], reader: &mut Reader) -> Result<(), Error> {
    let is = |name: &&String| {
        let (dir, file) = name.rsplit_once('/').unwrap_or(("", name));
        let end = [".txt", ".in"].iter().any(|end| file.ends_with(end));
        end && match dir {
            "" => file.to_ascii_lowercase().contains("requirements"),
            dir => {
                dir.starts_with("requirements")
                    || file.to_ascii_lowercase().contains("requirements")
            }
        }
    };
    let list: Vec<&String> = names.iter().filter(is).collect();
    let mut included = BTreeSet::new();
    let mut texts = Vec::new();
    for name in &list {
        if reader.files.was_read(&folder.join(name)) {
            continue;
        }
        let text = reader.files.read(&folder.join(name), MAX_BYTES)?;
        if is_ours(&text) {
            reader.began(&text, "rendered by gpuseal");
            continue;
        }
        for (_, content) in txt::logical_lines(&text.text) {
            let Ok(line) = txt::Line::read(&content) else { continue };
            for (target, _) in line.files {
                let base = text.path.parent().unwrap_or(Path::new("."));
                included.extend(fs_err::canonicalize(base.join(target)).ok());
            }
        }
        texts.push(text);
    }
    let stem = |text: &Text| text.name.rsplit_once('.').map_or("", |(stem, _)| stem).to_owned();
    let is_plain = |text: &Text| {
        matches!(
            stem(text).as_str(),
            "requirements"
                | "requirements/requirements"
                | "requirements/base"
                | "requirements/main"
        )
    };
    let root = |text: &&Text| {
        is_plain(text)
            || !fs_err::canonicalize(&text.path).is_ok_and(|path| included.contains(&path))
    };
    let roots: Vec<&Text> = texts.iter().filter(root).collect();
    // requirements.in and requirements.txt are the same choice, before and after compiling.
    let stems: BTreeSet<String> = roots.iter().map(|text| stem(text)).gather();
    let (plain, others): (Vec<&Text>, Vec<&Text>) = roots.into_iter().partition(|t| is_plain(t));
    for text in plain {
        txt::read(text, reader, None)?;
    }
    for text in others {
        let compiled = format!("{}.txt", stem(text));
        let name = if names.contains(&compiled) { compiled } else { text.name.clone() };
        let choice = (stems.len() > 1).then_some(Choice::File(name));
        let from = reader.project.demands.len();
        txt::read(text, reader, choice.as_ref())?;
        // What it includes of the project's own is said there already.
        let new = reader.project.demands.split_off(from);
        let said = &reader.project.demands;
        let said: BTreeSet<_> =
            said.iter().filter(|d| d.choice.is_none()).map(|d| d.place.clone()).gather();
        let new = new.into_iter().filter(|d| d.index.is_some() || !said.contains(&d.place));
        reader.project.demands.extend(new);
        reader.enough()?;
    }
    let mut seen = BTreeSet::new();
    reader.project.files.retain(|file| seen.insert((file.name.clone(), file.what)));
    Ok(())
}

/// Whether this program rendered a file: what follows from the lock asks for nothing.
fn is_ours(text: &Text) -> bool {
    text.text.lines().take(8).any(|line| line.starts_with("# Written by gpuseal from gpuseal.lock"))
}

/// The first version of a `.python-version`.
fn python_version(text: &Text, reader: &mut Reader) {
    reader.began(text, "Python version");
    let line = text.text.lines().zip(1..).find(|(line, _)| {
        let line = line.trim();
        !line.is_empty() && !line.starts_with('#')
    });
    let Some((given, number)) = line else { return };
    let given = given.trim();
    let place = text.place(number);
    // uv's full names too: `cpython-3.11.9-linux-x86_64-gnu`.
    let plain = given.trim_start_matches("cpython").trim_start_matches(['-', '@']);
    let plain = plain.split('-').next().unwrap_or_default();
    match plain.parse::<crate::domain::PythonVersion>() {
        Ok(version) => {
            let patch = version.patch.map_or(".*".to_owned(), |patch| format!(".{patch}"));
            if let Ok(versions) = format!("==3.{}{patch}", version.minor).parse() {
                reader.project.python.push(PythonSaid {
                    versions,
                    given: given.to_owned(),
                    by: ".python-version",
                    choice: None,
                    place,
                });
            }
        }
        Err(_) => reader
            .unread(&place, format!("`{}` names no CPython version", crate::domain::shown(given))),
    }
}
