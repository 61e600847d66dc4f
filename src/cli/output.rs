//! Streams: the result on stdout, everything else on stderr. A closed pipe is silence.

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write as _};
use std::path::{Path, PathBuf};

use super::args::{Color, Format, Global};
use super::reports::Reports;
use crate::error::{Error, Exit};
use crate::report::{Failure, github, markdown};
use crate::requirements::Bad;

/// Where and how to speak.
pub struct Output {
    /// Voice of the result.
    pub format: Format,
    color: anstream::ColorChoice,
    quiet: bool,
    /// Say where values come from.
    pub verbose: bool,
    /// Also answer for people, on the side.
    pub aloud: bool,
    /// The command that speaks, as it is typed.
    pub command: Cell<&'static str>,
    /// The folder of the project that it is about.
    pub project: RefCell<PathBuf>,
    /// Files that the answer is written to as well.
    pub reports: Reports,
    /// The command has given its answer: an error after it does not take its place.
    answered: Cell<bool>,
    /// What an error says to programs, where the command's own document says it better.
    instead: RefCell<Option<String>>,
}

/// The same answer in each voice.
pub type Voices<'a> = &'a dyn Fn(Format) -> String;

impl Output {
    /// From the global options.
    pub fn new(global: &Global) -> Self {
        let color = match global.color {
            Color::Auto => anstream::ColorChoice::Auto,
            Color::Always => anstream::ColorChoice::Always,
            Color::Never => anstream::ColorChoice::Never,
        };
        color.write_global();
        Self {
            format: global.format,
            color,
            quiet: global.quiet,
            verbose: global.verbose,
            aloud: false,
            command: Cell::new("gpuseal"),
            project: RefCell::new(".".into()),
            reports: Reports::new(global.report.clone()),
            answered: Cell::new(false),
            instead: RefCell::new(None),
        }
    }

    /// Nothing but the result and errors is wanted.
    pub const fn quiet(&self) -> bool {
        self.quiet
    }

    /// The answer of a command, in the voice that was asked for.
    ///
    /// # Errors
    /// Anything but a closed pipe.
    pub fn answer(&self, voices: Voices<'_>) -> Result<(), Error> {
        self.aloud(voices);
        // A report that cannot be written does not cost the answer, nor the other way round.
        let said = self.result(&self.tamed(voices(self.format)));
        self.report(voices).and(said)
    }

    /// The same where the text for people is to be copied: not a character of it is changed.
    ///
    /// # Errors
    /// Anything but a closed pipe.
    pub fn answer_as_it_is(&self, voices: Voices<'_>) -> Result<(), Error> {
        self.aloud(voices);
        let said = self.data(&self.tamed(voices(self.format)));
        self.report(voices).and(said)
    }

    /// The answer, of which a runner that reads the text for people takes no line for a command.
    fn tamed(&self, text: String) -> String {
        let read = std::env::var_os("GITHUB_ACTIONS").is_some() && !io::stdout().is_terminal();
        if read && self.format == Format::Human { github::tame(&text) } else { text }
    }

    /// The answer for people, beside one that they do not see.
    fn aloud(&self, voices: Voices<'_>) {
        if self.aloud {
            self.talk(voices(Format::Human).trim_end());
        }
    }

    /// Writes the reports alone: the answer of a command that prints something else.
    ///
    /// # Errors
    /// A report that cannot be written.
    pub fn report(&self, voices: Voices<'_>) -> Result<(), Error> {
        self.answered.set(true);
        self.reports.write(voices)
    }

    /// What the process ends with: a scanner that prints its findings has not failed.
    pub fn process_exit(&self, exit: Exit) -> Exit {
        if self.format == Format::Sarif && exit == Exit::No { Exit::Done } else { exit }
    }

    /// What the document of a command says where there is no answer but an error.
    pub fn instead(&self, document: String) {
        *self.instead.borrow_mut() = Some(document);
    }

    /// Prints a text that is no answer with several voices.
    ///
    /// # Errors
    /// Anything but a closed pipe.
    pub fn result(&self, text: &str) -> Result<(), Error> {
        let text = match terminal_size::terminal_size() {
            Some((width, _)) if self.format == Format::Human && io::stdout().is_terminal() => {
                Cow::Owned(wrap(text, usize::from(width.0)))
            }
            _ => Cow::Borrowed(text),
        };
        self.data(&text)
    }

    /// Prints a text that is a file: not a character is changed for the terminal.
    ///
    /// # Errors
    /// Anything but a closed pipe.
    pub fn data(&self, text: &str) -> Result<(), Error> {
        let mut out = anstream::AutoStream::new(io::stdout().lock(), self.color);
        match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
            Err(err) if err.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            other => Ok(other?),
        }
    }

    /// Prints talk.
    pub fn talk(&self, text: impl std::fmt::Display) {
        if !self.quiet {
            self.aside(&format!("{text}\n"));
        }
    }

    /// Prints on standard error. A runner reads commands from there as well.
    fn aside(&self, text: &str) {
        let mut err = anstream::AutoStream::new(io::stderr().lock(), self.color);
        let _ = err.write_all(github::tame(text).as_bytes());
    }

    /// Prints an error: what, where, what to do.
    pub fn error(&self, error: &Error) {
        let mut err = String::new();
        let red = anstyle::AnsiColor::Red.on_default().bold();
        let cyan = anstyle::AnsiColor::Cyan.on_default().bold();
        let text = error.to_string();
        let _ = writeln!(err, "{red}error{red:#}: {text}");
        let mut cause = std::error::Error::source(error);
        while let Some(inner) = cause {
            // Transparent errors repeat what was said.
            if !text.contains(&inner.to_string()) {
                let _ = writeln!(err, "  cause: {inner}");
            }
            cause = inner.source();
        }
        if let Some(bad) = error.place() {
            let _ = write!(err, "{}", excerpt(bad));
        }
        for fault in error.faults() {
            let _ = writeln!(err, "  {fault}");
        }
        if let Some(help) = error.help() {
            let _ = writeln!(err, "{cyan}help:{cyan:#} {help}");
        }
        self.aside(&err);
        if !self.answered.get() {
            let failure = {
                let project = self.project.borrow();
                Failure::of(error, self.command.get(), &project, error.exit())
            };
            let document = self.instead.take().unwrap_or_else(|| failure.json());
            let voices = |format| match format {
                Format::Human => failure.human(),
                Format::Json => document.clone(),
                Format::Github => failure.github(),
                Format::Sarif => failure.found.sarif(),
                Format::Markdown => markdown::failure(&failure.found),
            };
            if let Err(err) = self.report(&voices).map_err(|err| err.to_string())
                && err != text
            {
                self.aside(&format!("error: {err}\n"));
            }
            // People have read it already.
            if self.format != Format::Human {
                let _ = self.data(&voices(self.format));
            }
        }
    }
}

/// Breaks lines that are wider than the terminal, below where their text begins.
fn wrap(text: &str, width: usize) -> String {
    let mut out = String::with_capacity(text.len());
    for line in text.lines() {
        // `  driver  525.60.13 or newer`: the second column. Elsewhere a step below the first.
        let plain = line.trim_start();
        let lead = line.len() - plain.len();
        let column = plain
            .find("  ")
            .filter(|at| *at < 9)
            .map(|at| at + plain[at..].len() - plain[at..].trim_start().len());
        let indent = " ".repeat(lead + column.unwrap_or(2));
        let options = textwrap::Options::new(width.max(40))
            .subsequent_indent(&indent)
            .break_words(false)
            .word_splitter(textwrap::WordSplitter::NoHyphenation);
        if textwrap::core::display_width(line) <= width.max(40) {
            out.push_str(line);
        } else {
            out.push_str(&textwrap::fill(line, options));
        }
        out.push('\n');
    }
    out
}

/// Characters of a line that are shown.
const MOST: usize = 160;

/// The line of a file with the offending words underlined.
fn excerpt(bad: &Bad) -> String {
    let file = bad.file.display();
    match (&bad.place, &bad.excerpt) {
        (Some((line, columns)), Some(text)) => {
            let number = line.to_string();
            let pad = " ".repeat(number.len());
            // Columns are bytes; what is shown is counted in characters, tabs as one.
            let start = text.get(..columns.start).map_or(0, |t| t.chars().count());
            // A line has its end, and what moves a terminal's cursor stays out.
            let indent = start.min(MOST);
            let length = text.get(columns.clone()).map_or(1, |t| t.chars().count()).clamp(1, 80);
            let shown: String =
                text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(MOST).collect();
            format!(
                "{pad}--> {file}:{line}:{}\n{pad} |\n{number} | {shown}\n{pad} | {}{}\n",
                start + 1,
                " ".repeat(indent),
                "^".repeat(length),
            )
        }
        (Some((line, _)), None) => format!("  --> {file}:{line}\n"),
        _ => format!("  --> {file}\n"),
    }
}

/// Writes a file whole or not at all; leaves it alone when nothing changed. Says whether it wrote. Of a
/// link the file behind it is written.
///
/// # Errors
/// The folder is not writable; what is there is a device, a pipe or a folder; a link leads nowhere.
pub fn write_whole(path: &Path, text: &str) -> io::Result<bool> {
    let real = if path.is_symlink() {
        std::fs::canonicalize(path).map_err(|err| cannot(path, &err))?
    } else {
        path.to_owned()
    };
    // A rename would put the file in the place of a device or a pipe.
    if let Ok(there) = std::fs::metadata(&real) {
        if !there.is_file() {
            let why = io::Error::other("it is there, and is no regular file");
            return Err(cannot(path, &why));
        }
        if there.len() == text.len() as u64
            && fs_err::read(&real).is_ok_and(|old| old == text.as_bytes())
        {
            return Ok(false);
        }
    }
    written(&real, text)?.persist(&real).map_err(|err| cannot(path, &err.error))?;
    Ok(true)
}

/// Adds a text to the end of a file.
///
/// # Errors
/// It cannot be written.
pub fn append(path: &Path, text: &str) -> io::Result<()> {
    let open = std::fs::OpenOptions::new().create(true).append(true).open(path);
    open.and_then(|mut file| file.write_all(text.as_bytes())).map_err(|err| cannot(path, &err))
}

/// Writes a file that is not there yet, whole or not at all; never over one that came meanwhile.
///
/// # Errors
/// The folder is not writable, or the file is there.
pub fn write_new(path: &Path, text: &str) -> io::Result<()> {
    written(path, text)?.persist_noclobber(path).map_err(|err| cannot(path, &err.error))?;
    Ok(())
}

/// A text in a temporary file beside the path that it is to have.
fn written(path: &Path, text: &str) -> io::Result<tempfile::NamedTempFile> {
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut builder = tempfile::Builder::new();
    #[cfg(unix)]
    {
        use std::fs::Permissions;
        use std::os::unix::fs::PermissionsExt;
        // A temporary file is private; what a project keeps has its own mode, or what the umask leaves.
        let standing = std::fs::metadata(path).ok().filter(std::fs::Metadata::is_file);
        builder.permissions(
            standing.map_or_else(|| Permissions::from_mode(0o666), |file| file.permissions()),
        );
    }
    let mut temp = builder.tempfile_in(folder).map_err(|err| cannot(path, &err))?;
    temp.write_all(text.as_bytes()).map_err(|err| cannot(path, &err))?;
    temp.as_file().sync_all().map_err(|err| cannot(path, &err))?;
    Ok(temp)
}

/// The system's words alone: the name of the temporary file is nobody's business.
fn cannot(path: &Path, err: &io::Error) -> io::Error {
    let kind = err.kind();
    // Words of ours have no code of the system, and no kind.
    let words = || if kind == io::ErrorKind::Other { err.to_string() } else { kind.to_string() };
    let why = err
        .raw_os_error()
        .map_or_else(words, |code| io::Error::from_raw_os_error(code).to_string());
    io::Error::new(kind, format!("cannot write `{}`: {why}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::{wrap, write_whole};

    #[cfg(unix)]
    #[test]
    fn what_is_no_file_stays_and_links_are_followed() {
        let folder = tempfile::tempdir().expect("a folder");
        let at = |name: &str| folder.path().join(name);
        let _socket = std::os::unix::net::UnixListener::bind(at("socket")).expect("a socket");
        let err = write_whole(&at("socket"), "x").expect_err("no file");
        assert!(err.to_string().ends_with("socket`: it is there, and is no regular file"), "{err}");
        assert!(std::fs::metadata(at("socket")).is_ok_and(|there| !there.is_file()));
        assert!(write_whole(folder.path(), "x").is_err());

        std::fs::write(at("real"), "old").expect("a file");
        std::os::unix::fs::symlink("real", at("link")).expect("a link");
        assert!(write_whole(&at("link"), "new").expect("written"));
        assert!(!write_whole(&at("link"), "new").expect("the same"));
        assert!(at("link").is_symlink());
        assert_eq!(std::fs::read_to_string(at("real")).expect("text"), "new");
        std::os::unix::fs::symlink("nowhere", at("dangling")).expect("a link");
        assert!(write_whole(&at("dangling"), "x").is_err());
    }

    #[test]
    fn wide_lines_go_on_below_their_text() {
        let wide = "  driver  525.60.13 or newer; from 560.28.03 on with everything";
        assert_eq!(
            wrap(wide, 40),
            "  driver  525.60.13 or newer; from\n          560.28.03 on with everything\n"
        );
        assert_eq!(wrap("narrow\n", 40), "narrow\n");
    }
}
