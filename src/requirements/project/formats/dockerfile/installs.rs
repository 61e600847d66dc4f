//! What the commands of a script install.

use std::path::{Component, Path, PathBuf};

use super::shell::{Command, Commands, Runs};
use super::vars::{Traced, Vars, Word};
use super::{conda, pip};
use crate::domain::shown;
use crate::requirements::Error;
use crate::requirements::project::demand::Choice;
use crate::requirements::project::reader::Reader;
use crate::requirements::project::source::Text;

/// Scripts inside of scripts (`bash -c`), at most this deep.
const MAX_DEPTH: usize = 8;
/// Copied files that are remembered.
const MAX_COPIES: usize = 100;

/// A file that `COPY`, `ADD` or a mount brings into the image.
#[derive(Debug, Clone)]
pub struct Copied {
    /// Path or pattern in the project.
    pub from: String,
    /// Path in the image.
    pub to: String,
}

/// Reads scripts of one file for what they install.
#[derive(Debug)]
pub struct Installs<'a> {
    /// The file.
    pub text: &'a Text,
    /// What was read.
    pub reader: &'a mut Reader,
    /// Option of the project that all of it belongs to.
    pub choice: Option<Choice>,
    /// Variables in effect.
    pub vars: Vars,
    /// Something was installed.
    pub any: bool,
    copies: Vec<Copied>,
}

impl<'a> Installs<'a> {
    /// For a file.
    pub fn new(text: &'a Text, reader: &'a mut Reader) -> Self {
        let (choice, vars, copies) = (None, Vars::default(), Vec::new());
        Self { text, reader, choice, vars, any: false, copies }
    }

    /// Remembers what is copied.
    pub fn copied(&mut self, from: &str, to: &str) {
        if self.copies.len() < MAX_COPIES {
            self.copies.push(Copied { from: from.into(), to: to.into() });
        }
    }

    /// A note on a line of the file.
    pub fn unread(&mut self, line: usize, message: impl Into<String>) {
        self.reader.unread(&self.text.place(line), message);
    }

    /// A note on a word that depends on a variable; whether it does.
    pub fn depends(&mut self, word: &Word) -> bool {
        let Some(name) = &word.unknown else { return false };
        let on = if name.starts_with(['$', '<', '`']) {
            "what a command says".to_owned()
        } else {
            format!("the variable `{}`", shown(name))
        };
        let message = format!("`{}` depends on {on}", shown(word.as_str()));
        self.unread(word.line(), message);
        true
    }

    /// Reads a script.
    ///
    /// # Errors
    /// A requirement file that it installs from cannot be read.
    pub fn script(&mut self, script: &Traced, bodies: &[Traced]) -> Result<(), Error> {
        self.nested(script, bodies, 0)?;
        self.vars.end_of_command();
        Ok(())
    }

    fn nested(&mut self, script: &Traced, bodies: &[Traced], depth: usize) -> Result<(), Error> {
        if depth > MAX_DEPTH {
            self.unread(script.line(), "scripts inside of scripts are not read that deep");
            return Ok(());
        }
        let mut commands = Commands::new(script);
        let mut bodies = bodies.iter();
        while let Some(command) = commands.next(&mut self.vars) {
            let bodies: Vec<&Traced> = bodies.by_ref().take(command.heredocs).collect();
            if command.runs == Runs::No {
                continue;
            }
            let inner = if command.words.is_empty() {
                bodies.first().filter(|body| is_shell_script(&body.text)).map(|b| (*b).clone())
            } else {
                self.words(&command.words, &command, &bodies)?
            };
            if let Some(inner) = inner {
                self.nested(&inner, &[], depth + 1)?;
            }
        }
        Ok(())
    }

    /// Reads a command without a shell: `RUN ["pip", "install", "torch"]`.
    ///
    /// # Errors
    /// As [`Self::script`].
    pub fn exec(&mut self, words: &[(String, usize)]) -> Result<(), Error> {
        let command = Command {
            assigned: Vec::new(),
            words: words.iter().map(|(word, line)| Word::literal(word, *line)).collect(),
            redirected: Vec::new(),
            heredocs: 0,
            runs: Runs::Yes,
        };
        if let Some(inner) = self.words(&command.words, &command, &[])? {
            self.nested(&inner, &[], 1)?;
        }
        self.vars.end_of_command();
        Ok(())
    }

    /// Reads a command; gives the script that it runs, when it is a shell.
    fn words(
        &mut self,
        mut words: &[Word],
        command: &Command,
        bodies: &[&Traced],
    ) -> Result<Option<Traced>, Error> {
        let mut assigned = command.assigned.clone();
        // `sudo env A=1 conda run -n x pip install`: what stands before the program itself.
        loop {
            let Some((first, rest)) = words.split_first() else { return Ok(None) };
            let takes: &[&str] = match program(first.as_str()) {
                "sudo" => &["-u", "-g", "--user", "--group"],
                "env" => &["-u", "--unset", "-C", "--chdir"],
                "nice" | "ionice" => &["-n", "-c"],
                "exec" | "command" | "nohup" | "builtin" => &[],
                "conda" | "mamba" | "micromamba"
                    if rest.first().is_some_and(|word| word.as_str() == "run") =>
                {
                    words = rest;
                    &["-n", "--name", "-p", "--prefix", "--cwd"]
                }
                "uv" | "poetry" | "pipenv" | "pdm" | "hatch"
                    if rest.first().is_some_and(|word| word.as_str() == "run") =>
                {
                    words = rest;
                    &["--with", "--python", "-p", "--project", "--directory", "--extra", "--group"]
                }
                _ => break,
            };
            words = without_options(&words[1..], takes);
            while let Some((name, value)) = words.first().and_then(Word::assignment) {
                assigned.push((name.to_owned(), value));
                words = &words[1..];
            }
        }
        let Some((first, rest)) = words.split_first() else { return Ok(None) };
        let name = program(first.as_str());
        if matches!(name, "sh" | "bash" | "dash" | "zsh" | "ash" | "su") {
            return Ok(shell(name, rest, bodies));
        }
        let call = pip::Call { assigned: &assigned, command };
        if let Some(tool) = pip::Tool::of(name, rest) {
            pip::read(&tool, &call, self)?;
        } else if matches!(name, "conda" | "mamba" | "micromamba") {
            conda::read(rest, command, self);
        } else if matches!(name, "poetry" | "pipenv" | "pdm" | "rye")
            && let Some((verb, packages)) = rest.split_first()
            && (verb.as_str() == "add" || (name == "pipenv" && verb.as_str() == "install"))
            && let Some(package) = packages.iter().find(|word| !word.as_str().starts_with('-'))
        {
            let message = format!(
                "`{name} {}` adds `{}` to the project while the image is built",
                verb.as_str(),
                shown(package.as_str())
            );
            self.unread(package.line(), message);
        }
        Ok(None)
    }

    /// Whether a command only may run: then that is said, and nothing of it counts.
    pub fn only_maybe(&mut self, command: &Command, what: &str) -> bool {
        if command.runs != Runs::Maybe {
            return false;
        }
        let words: Vec<&str> = command.words.iter().map(Word::as_str).collect();
        let line = command.words.first().map_or(1, Word::line);
        let message = format!(
            "whether `{}` {what} depends on a condition that only the build decides",
            shown(&words.join(" "))
        );
        self.unread(line, message);
        true
    }

    /// The file of the project behind a path in the image.
    pub fn in_project(&self, target: &str) -> Option<PathBuf> {
        let name = target.rsplit('/').next().filter(|name| !name.is_empty())?;
        let context = self.reader.files.folder();
        let beside = self.text.path.parent().unwrap_or(context);
        let file = |path: &str| {
            let path = path.trim_start_matches('/').trim_start_matches("./");
            let inside =
                Path::new(path).components().all(|part| matches!(part, Component::Normal(_)));
            let found = [context, beside].into_iter().map(|folder| folder.join(path));
            found.into_iter().find(|path| inside && path.is_file())
        };
        let named = |path: &str| path.rsplit('/').next() == Some(name);
        let copies = || self.copies.iter().rev();
        // `COPY requirements-gpu.txt /tmp/requirements.txt`: under another name.
        let renamed =
            || copies().find(|c| named(&c.to) && !named(&c.from)).and_then(|c| file(&c.from));
        let same = || {
            let copy = copies().find(|c| named(&c.from))?;
            file(&copy.from)
        };
        let matched = || {
            copies().find_map(|copy| {
                let from = copy.from.trim_end_matches('/');
                let (folder, last) = from.rsplit_once('/').unwrap_or(("", from));
                let pattern = last.contains(['*', '?', '[']).then(|| glob::Pattern::new(last).ok());
                match pattern.flatten() {
                    Some(pattern) => {
                        pattern.matches(name).then(|| file(&format!("{folder}/{name}")))?
                    }
                    None => file(&format!("{from}/{name}")),
                }
            })
        };
        let relative = || (!target.starts_with('/')).then(|| file(target)).flatten();
        renamed().or_else(relative).or_else(same).or_else(matched).or_else(|| file(name))
    }
}

/// The name of a program without its folder.
fn program(word: &str) -> &str {
    word.rsplit('/').next().unwrap_or(word)
}

/// The words behind the options of a wrapper.
fn without_options<'w>(mut words: &'w [Word], takes: &[&str]) -> &'w [Word] {
    while let Some((first, rest)) = words.split_first().filter(|(w, _)| w.as_str().starts_with('-'))
    {
        let skip = usize::from(takes.contains(&first.as_str()));
        words = &rest[skip.min(rest.len())..];
    }
    words
}

/// The script of `bash -c "..."`, or the one that `bash <<EOF` reads.
fn shell(name: &str, words: &[Word], bodies: &[&Traced]) -> Option<Traced> {
    let flag = |word: &Word| {
        let text = word.as_str();
        text == "--command"
            || (text.starts_with('-') && !text.starts_with("--") && text.ends_with('c'))
    };
    if let Some(at) = words.iter().position(flag) {
        return words.get(at + 1).map(|word| word.text.clone());
    }
    let reads = name != "su" && words.iter().all(|word| word.as_str().starts_with('-'));
    bodies.first().filter(|_| reads).map(|body| (*body).clone())
}

/// A heredoc with `#!/usr/bin/env python` is no script of ours.
fn is_shell_script(text: &str) -> bool {
    let first = text.lines().next().unwrap_or_default();
    !first.starts_with("#!") || first.contains("sh")
}
