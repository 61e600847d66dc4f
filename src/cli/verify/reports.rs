//! Files beside the answer: JUnit, Prometheus, in-toto. Looked at before a long run, written whatever came of it.

use std::io::{Read as _, Write as _};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::cli::args::Verify;
use crate::cli::lock::own_lock_path;
use crate::cli::output::{Output, append, write_whole};
use crate::cli::reports::device;
use crate::error::Error;
use crate::matrix::Matrix;
use crate::report::{cleaned, verify as voice};
use crate::verify::Verification;

/// Where Kubernetes takes a container's last words from.
const LAST_WORDS: &str = "/dev/termination-log";

/// What a file is to hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Junit,
    Prometheus,
    Attest,
}

impl Kind {
    const fn flag(self) -> &'static str {
        match self {
            Self::Junit => "--junit",
            Self::Prometheus => "--prometheus",
            Self::Attest => "--attest",
        }
    }

    /// What the first kilobyte of such a file of ours holds.
    const fn sign(self) -> &'static str {
        match self {
            Self::Junit => "<testsuites name=\"gpuseal verify\"",
            Self::Prometheus => "# HELP gpuseal_verify_",
            Self::Attest => "https://in-toto.io/Statement/",
        }
    }
}

fn asked(args: &Verify) -> impl Iterator<Item = (Kind, &Path)> {
    let all = [
        (Kind::Junit, &args.junit),
        (Kind::Prometheus, &args.prometheus),
        (Kind::Attest, &args.attest),
    ];
    all.into_iter().filter_map(|(kind, file)| Some((kind, file.as_deref()?)))
}

/// Looks at all of them before anything runs.
///
/// # Errors
/// A file cannot be written, is not one of ours, or is asked for twice; a statement would name nothing.
pub fn check(args: &Verify, output: &Output) -> Result<(), Error> {
    let mut before: Vec<(Kind, &Path)> = Vec::new();
    for (kind, file) in asked(args) {
        let twice = before.iter().find(|(_, other)| cleaned(other) == cleaned(file));
        let twice = twice.map(|(kind, _)| kind.flag());
        if let Some(other) = twice.or_else(|| output.reports.names(file).then_some("--report"))
            && !device(file)
        {
            return Err(usage(
                format!("{} and {other} name the same file: `{}`", kind.flag(), file.display()),
                "give each a file of its own",
            ));
        }
        before.push((kind, file));
        free(kind, file)?;
    }
    // An earlier report says itself what it is about.
    if args.attest.is_some() && args.image.is_none() && args.replay.is_none() {
        let lock = own_lock_path(&args.project)?;
        if !lock.exists() {
            return Err(usage(
                format!(
                    "--attest has nothing to name: no image was given, and there is no {}",
                    lock.display()
                ),
                "run `gpuseal lock`, name the project's folder with --project, or verify an IMAGE",
            ));
        }
    }
    Ok(())
}

fn usage(message: String, help: &str) -> Error {
    Error::Usage { message, help: Some(help.into()) }
}

/// Whether the file may be written there, without touching it.
fn free(kind: Kind, file: &Path) -> Result<(), Error> {
    if device(file) {
        return Ok(());
    }
    if let Ok(open) = std::fs::File::open(file) {
        let mut begin = Vec::new();
        let _ = open.take(1024).read_to_end(&mut begin);
        let begin = String::from_utf8_lossy(&begin);
        if !begin.is_empty() && !begin.contains(kind.sign()) {
            return Err(usage(
                format!(
                    "{} `{}` would take the place of a file that gpuseal did not write",
                    kind.flag(),
                    file.display()
                ),
                "name another file, or take this one away first",
            ));
        }
    }
    // The nearest folder that is there has to take a file.
    let whole = std::path::absolute(file)?;
    let folder = whole.ancestors().skip(1).find(|folder| folder.exists());
    let tried = folder.map(tempfile::tempfile_in).transpose();
    let folder = folder.is_some_and(Path::is_dir);
    match tried {
        Ok(_) if folder && !file.is_dir() => Ok(()),
        Err(err) if folder => Err(cannot(kind, file, &err.kind().to_string())),
        _ => Err(cannot(kind, file, "it is a folder, or stands below a file")),
    }
}

fn cannot(kind: Kind, file: &Path, why: &str) -> Error {
    usage(
        format!("{}: `{}` cannot be written: {why}", kind.flag(), file.display()),
        "name a file in a folder that can be written",
    )
}

/// Writes all that can be written.
///
/// # Errors
/// The first that cannot.
pub fn write(args: &Verify, verification: &Verification, matrix: &Matrix) -> Result<(), Error> {
    let mut told = Ok(());
    for (kind, file) in asked(args) {
        told = told.and(one(kind, file, verification, matrix));
    }
    if args.here {
        last_words(Path::new(LAST_WORDS), verification);
    }
    told
}

fn one(kind: Kind, file: &Path, verification: &Verification, matrix: &Matrix) -> Result<(), Error> {
    let text = match kind {
        Kind::Junit => voice::junit(verification),
        Kind::Prometheus => {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).ok();
            voice::prometheus(verification, now.map(|now| now.as_secs_f64().floor()))
        }
        Kind::Attest => voice::attest(verification, matrix).ok_or_else(|| {
            usage(
                "--attest has nothing to name: the engine tells no digest of the image, and there is no lock"
                    .into(),
                "push or pull the image, so that it has a digest, or run `gpuseal lock`",
            )
        })?,
    };
    if let Some(folder) = file.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        fs_err::create_dir_all(folder)?;
    }
    if device(file) {
        append(file, &text)?;
    } else {
        write_whole(file, &text)?;
    }
    Ok(())
}

/// Leaves a summary where Kubernetes looks for it. Where it does not, nobody misses it.
fn last_words(file: &Path, verification: &Verification) {
    // It is mounted over: a file beside it could not take its place.
    if file.is_file()
        && let Ok(mut open) = std::fs::OpenOptions::new().write(true).truncate(true).open(file)
    {
        let _ = writeln!(open, "{}", voice::summed_up(verification));
    }
}

#[cfg(test)]
mod tests {
    use super::last_words;
    use crate::report::verify::read;

    #[test]
    fn last_words_stand_in_the_file_that_is_there() {
        let it = read(include_str!("../../../tests/verify/failed.json")).expect("a report");
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("termination-log");
        last_words(&file, &it);
        assert!(!file.exists(), "nobody asked for it");
        std::fs::write(&file, "x".repeat(9000)).expect("a file");
        last_words(&file, &it);
        let text = std::fs::read_to_string(&file).expect("text");
        assert!(text.starts_with('{') && text.ends_with("}\n") && text.len() <= 4096, "{text}");
        assert!(text.contains("\"verdict\":\"failed\""), "{text}");
        last_words(folder.path(), &it);
    }
}
