//! Reads `cog.yaml`, which says of a model what its container needs.
//!
//! Source: Cog's documentation, "cog.yaml reference".

use super::demand::{By, CudaSaid, PythonSaid};
use super::dockerfile::{Installs, Traced, python_version};
use super::marker::Marker;
use super::reader::Reader;
use super::source::Text;
use super::txt;
use crate::domain::{CudaVersion, WheelVariant, shown};
use crate::requirements::Error;

/// Reads `cog.yaml`.
///
/// # Errors
/// It is no YAML, a requirement is none, or a file that it names cannot be read.
pub fn read(text: &Text, reader: &mut Reader) -> Result<(), Error> {
    reader.began(text, "cog.yaml");
    let root = text.yaml()?;
    let Some(build) = root.get("build") else { return Ok(()) };
    if let Some(node) = build.get("python_version")
        && let Some(given) = node.text().filter(|given| !given.is_empty())
    {
        match python_version(given) {
            Some(versions) => reader.project.python.push(PythonSaid {
                versions,
                given: given.to_owned(),
                by: "cog.yaml python_version",
                choice: None,
                place: text.place(node.line),
            }),
            None => reader.unread(
                &text.place(node.line),
                format!("`{}` is no version of Python that is read", shown(given)),
            ),
        }
    }
    if let Some(node) = build.get("cuda")
        && let Some(given) = node.text().filter(|given| !given.is_empty())
    {
        let version = given.parse::<CudaVersion>().ok();
        let variant = version.and_then(|cuda| WheelVariant::of_cuda(cuda.series()));
        said(text, node.line, given, variant, reader);
    } else if let Some(node) = build.get("gpu").filter(|node| node.text() == Some("false")) {
        // Cog installs the CPU build then.
        said(text, node.line, "gpu: false", Some(WheelVariant::Cpu), reader);
    }
    let mut batch = txt::Batch::default();
    for node in build.list_of("python_packages") {
        let Some(given) = node.text() else { continue };
        let line = txt::Line::read(given).map_err(|why| text.bad(node.line, why, None))?;
        batch.options(&line, &text.place(node.line));
        if let Some(given) = &line.requirement {
            let kind = super::demand::Kind::Requirement;
            batch.requirement(given, text, node.line, kind, reader)?;
        }
    }
    batch.finish(reader, None)?;
    if let Some(node) = build.get("python_requirements")
        && let Some(target) = node.text().filter(|target| !target.is_empty())
    {
        let folder = text.path.parent().unwrap_or(reader.files.folder());
        if !reader.files.was_read(&folder.join(target)) {
            let inner = reader.files.include(text, node.line, target)?;
            txt::read(&inner, reader, None)?;
        }
    }
    let mut installs = Installs::new(text, reader);
    for node in build.list_of("run") {
        let node = node.get("command").unwrap_or(node);
        if let Some(script) = node.text() {
            installs.script(&Traced::lines(script, node.line), &[])?;
        }
    }
    Ok(())
}

fn said(text: &Text, line: usize, given: &str, variant: Option<WheelVariant>, reader: &mut Reader) {
    reader.project.cuda.push(CudaSaid {
        given: given.to_owned(),
        variant,
        by: By::Config,
        package: String::new(),
        marker: Marker::default(),
        choice: None,
        place: text.place(line),
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::requirements::project::source::{Files, MAX_BYTES};

    fn project(files: &[(&str, &str)]) -> Result<Reader, Error> {
        let dir = tempfile::tempdir().expect("a folder");
        for (name, text) in files {
            fs_err::write(dir.path().join(name), text).expect(name);
        }
        let mut reader = Reader::new(Files::of(dir.path())?);
        let text = reader.files.read(&dir.path().join("cog.yaml"), MAX_BYTES)?;
        read(&text, &mut reader)?;
        Ok(reader)
    }

    #[test]
    fn all_keys_of_build() {
        let yaml = "build:\n  gpu: true\n  cuda: \"12.1\"\n  python_version: 3.10\n  python_packages:\n    - torch==2.3.1\n    - \"numpy<2\"\n  python_requirements: requirements.txt\n  run:\n    - pip install xformers==0.0.27 -i https://download.pytorch.org/whl/cu121\n    - command: |\n        apt-get update\n        pip install triton\n";
        let reader =
            project(&[("cog.yaml", yaml), ("requirements.txt", "pillow\n")]).expect("it reads");
        let project = &reader.project;
        let demands: Vec<_> =
            project.demands.iter().map(|d| (d.given.as_str(), d.place.line)).collect();
        assert_eq!(
            demands,
            [
                ("torch==2.3.1", 6),
                ("numpy<2", 7),
                ("pillow", 1),
                ("xformers==0.0.27", 10),
                ("triton", 13)
            ]
        );
        assert_eq!(project.python[0].versions.to_string(), "==3.10.*");
        let cuda = &project.cuda[0];
        assert_eq!((cuda.given.as_str(), cuda.by, cuda.place.line), ("12.1", By::Config, 3));
        assert_eq!(cuda.variant.map(|v| v.to_string()).as_deref(), Some("cu121"));
        assert_eq!(project.demands[3].variants()[0].0, By::Index);
    }

    #[test]
    fn what_is_missing_or_wrong() {
        assert!(project(&[("cog.yaml", "predict: a\n")]).is_ok());
        let exact = project(&[("cog.yaml", "build:\n  python_version: \"3.11.4\"\n")]).expect("ok");
        assert_eq!(exact.project.python[0].versions.to_string(), "==3.11.4");
        let file = project(&[("cog.yaml", "build:\n  python_requirements: no.txt\n")]);
        assert!(matches!(file, Err(Error::Bad(_))));
        assert!(project(&[("cog.yaml", "build:\n  python_packages: [\"torch>>2\"]\n")]).is_err());
        let cpu = project(&[("cog.yaml", "build:\n  gpu: false\n")]).expect("ok");
        assert_eq!(cpu.project.cuda[0].variant, Some(WheelVariant::Cpu));
    }
}
