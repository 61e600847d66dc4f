//! `environment.yml`: what conda installs is a hint, what its pip installs is a requirement.
//!
//! Source: conda's documentation, "Managing environments". `variables` are set after the
//! installation, so an index named there has no say in it.

use pep440_rs::VersionSpecifiers;

use super::demand::{By, Choice, CudaSaid, Demand, Kind, PythonSaid};
use super::marker::Marker;
use super::matchspec::{MatchSpec, series};
use super::reader::Reader;
use super::source::Text;
use super::txt;
use crate::domain::{Place, WheelVariant, shown};
use crate::requirements::Error;
use crate::tree::Node;

/// Where a match spec stands, and when it applies.
#[derive(Debug, Clone, Copy)]
pub struct Said<'a> {
    /// Where it stands.
    pub place: &'a Place,
    /// File or key that says it: `environment.yml`.
    pub by: &'static str,
    /// Where it applies.
    pub marker: &'a Marker,
    /// Option of the project that it belongs to.
    pub choice: Option<&'a Choice>,
}

/// Reads `environment.yml`. Another kind of YAML says nothing.
///
/// # Errors
/// No YAML, a requirement of `pip:` that pip would refuse, a file that is not there.
pub fn read(text: &Text, reader: &mut Reader, choice: Option<&Choice>) -> Result<(), Error> {
    let root = match text.yaml() {
        Ok(root) => root,
        Err(err) => {
            // A template is no YAML before it is filled in.
            let hole = text.text.lines().position(|l| l.contains("{{") || l.contains("{%"));
            let Some(at) = hole else { return Err(err) };
            let message = "a template that is filled in later: the file is not read";
            reader.unread(&text.place(at + 1), message);
            return Ok(());
        }
    };
    let Some(list) = root.get("dependencies") else { return Ok(()) };
    if list.is_map() || list.text().is_some_and(|t| !t.is_empty()) {
        return Ok(());
    }
    reader.began(text, "conda environment");
    let mut batch = txt::Batch::default();
    for item in list.items() {
        let place = text.place(item.line);
        if let Some(given) = item.text() {
            let marker = Marker::default();
            let said = Said { place: &place, by: "environment.yml", marker: &marker, choice };
            match_spec(given, &said, reader);
            continue;
        }
        if !item.is_map() {
            reader.unread(&place, "a list among the dependencies is not read");
        }
        for (key, value) in item.entries() {
            if key.text == "pip" {
                pip(value, text, reader, &mut batch)?;
            } else {
                let message = format!("what `{}` holds is not read", shown(&key.text));
                reader.unread(&text.place(key.line), message);
            }
        }
    }
    batch.finish(reader, choice)
}

/// Takes the `pip:` list as the requirement file that conda makes of it.
fn pip(list: &Node, text: &Text, reader: &mut Reader, batch: &mut txt::Batch) -> Result<(), Error> {
    for item in list.one_or_many() {
        let place = text.place(item.line);
        let Some(given) = item.text() else {
            reader.unread(&place, "a list or a map among the requirements of pip is not read");
            continue;
        };
        if given.contains("{{") || given.contains("{%") {
            let message = format!("`{}` is filled in when the environment is made", shown(given));
            reader.unread(&place, message);
            continue;
        }
        for (_, content) in txt::logical_lines(given) {
            let words = txt::Line::read(&content).map_err(|why| text.bad(item.line, why, None))?;
            for (target, constraint) in &words.files {
                if target.contains("://") {
                    let message = format!("`{target}` would have to be fetched, and is not read");
                    reader.unread(&place, message);
                    continue;
                }
                let kind = if *constraint { Kind::Constraint } else { Kind::Requirement };
                let inner = reader.files.include(text, item.line, target)?;
                txt::read_into(&inner, reader, batch, kind)?;
            }
            batch.options(&words, &place);
            if let Some(given) = &words.requirement {
                batch.requirement(given, text, item.line, Kind::Requirement, reader)?;
            }
        }
    }
    Ok(())
}

/// Reads a match spec, `pytorch=2.1=*cuda*`, and keeps what it says.
pub fn match_spec(given: &str, said: &Said<'_>, reader: &mut Reader) {
    match MatchSpec::read(given) {
        Ok(spec) => take(&spec, given, said, reader),
        Err(why) => reader.unread(said.place, why),
    }
}

/// Keeps what a match spec says: of Python, of CUDA, or of a package.
pub fn take(spec: &MatchSpec, given: &str, said: &Said<'_>, reader: &mut Reader) {
    let versions = spec.versions().unwrap_or_else(|why| {
        reader.unread(said.place, why);
        VersionSpecifiers::default()
    });
    match spec.name.as_str() {
        "python" => {
            if !versions.is_empty() {
                python(versions, spec.written(), said, reader);
            }
            return;
        }
        "cuda" | "cuda-toolkit" | "cuda-version" | "cudatoolkit" | "pytorch-cuda" => {
            cuda(spec.written(), series(&versions), "torch", said, reader);
            return;
        }
        "cpuonly" => {
            cuda(given.to_owned(), Some(WheelVariant::Cpu), "torch", said, reader);
            return;
        }
        // The CUDA that the driver offers: a floor, and no build.
        "__cuda" => {
            cuda(spec.written(), None, "", said, reader);
            return;
        }
        name if name.starts_with("__") => return,
        // It has no files: its build is how PyTorch's channel chooses one.
        "pytorch-mutex" => (),
        name => {
            let mut demand = Demand::new(pypi_name(name), given, said.place.clone());
            demand.versions = versions;
            demand.marker = said.marker.clone();
            demand.kind = Kind::Hint;
            demand.choice = said.choice.cloned();
            reader.push(demand);
        }
    }
    let package = if spec.name == "pytorch-mutex" { "torch" } else { pypi_name(&spec.name) };
    if spec.name == "pytorch-cpu" {
        cuda(given.to_owned(), Some(WheelVariant::Cpu), package, said, reader);
    } else if let Some(build) = spec.build_cuda() {
        cuda(build.given, build.variant, package, said, reader);
    }
    if let Some(short) = spec.build_python()
        && let Ok(versions) = format!("=={short}.*").parse()
    {
        python(versions, short, said, reader);
    }
}

/// The name on PyPI, where it is another one.
fn pypi_name(name: &str) -> &str {
    match name {
        "pytorch" | "pytorch-gpu" | "pytorch-cpu" => "torch",
        "torchtriton" => "triton",
        name => name,
    }
}

fn python(versions: VersionSpecifiers, given: String, said: &Said<'_>, reader: &mut Reader) {
    if let Some(marker) = said.marker.text() {
        // One Python is looked for, on whatever platform.
        let message = format!("Python `{}` holds only where {marker}", shown(&given));
        reader.unread(said.place, message);
        return;
    }
    reader.project.python.push(PythonSaid {
        versions,
        given,
        by: said.by,
        choice: said.choice.cloned(),
        place: said.place.clone(),
    });
}

fn cuda(
    given: String,
    variant: Option<WheelVariant>,
    package: &str,
    said: &Said<'_>,
    reader: &mut Reader,
) {
    reader.project.cuda.push(CudaSaid {
        given,
        variant,
        by: By::Config,
        package: crate::domain::normalise_name(package),
        marker: said.marker.clone(),
        choice: said.choice.cloned(),
        place: said.place.clone(),
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::requirements::project::demand::Project;
    use crate::requirements::project::source::{Files, MAX_BYTES};

    fn project(files: &[(&str, &str)]) -> Result<Project, Error> {
        let dir = tempfile::tempdir().expect("a folder");
        for (name, content) in files {
            fs_err::write(dir.path().join(name), content).expect("a file");
        }
        let mut reader = Reader::new(Files::of(dir.path())?);
        let text = reader.files.read(&dir.path().join(files[0].0), MAX_BYTES)?;
        read(&text, &mut reader, None)?;
        Ok(reader.project)
    }

    fn of(content: &str) -> Project {
        project(&[("environment.yml", content)]).expect("an environment")
    }

    fn cudas(project: &Project) -> Vec<(String, Option<String>, String)> {
        let one =
            |c: &CudaSaid| (c.given.clone(), c.variant.map(|v| v.to_string()), c.package.clone());
        project.cuda.iter().map(one).collect()
    }

    #[test]
    fn packages_are_hints_and_tell_python_and_cuda() {
        let project = of(
            "name: x\nchannels: [pytorch, nvidia]\ndependencies:\n  - python=3.10 # [linux]\n  - pytorch::pytorch=2.1.0=py3.10_cuda12.1_cudnn8.9.2_0\n  - torchvision>=0.16,<1\n  - pytorch-cuda=12.1\n  - cuda-version>=12,<13\n  - numpy=1.26|1.25\n",
        );
        assert_eq!(project.files[0].what, "conda environment");
        let python: Vec<_> = project.python.iter().map(|p| p.versions.to_string()).collect();
        assert_eq!(python, ["==3.10.*", "==3.10.*"]);
        assert_eq!((project.python[0].by, project.python[0].place.line), ("environment.yml", 4));
        let demands: Vec<_> = project.demands.iter().map(|d| (d.name.as_str(), d.spec())).collect();
        assert_eq!(
            demands,
            [
                ("torch", "==2.1.0".to_owned()),
                ("torchvision", ">=0.16,<1".to_owned()),
                ("numpy", String::new())
            ]
        );
        assert!(project.demands.iter().all(|d| d.kind == Kind::Hint));
        assert_eq!(project.demands[0].given, "pytorch::pytorch=2.1.0=py3.10_cuda12.1_cudnn8.9.2_0");
        let torch = |given: &str, variant: Option<&str>| {
            (given.to_owned(), variant.map(str::to_owned), "torch".to_owned())
        };
        assert_eq!(
            cudas(&project),
            [torch("12.1", Some("cu121")), torch("12.1", Some("cu121")), torch(">=12,<13", None)]
        );
        assert_eq!(project.findings.len(), 1, "{:?}", project.findings);
    }

    #[test]
    fn builds_without_gpu() {
        let project = of(
            "dependencies: [cpuonly, pytorch-cpu, 'pytorch=*=cpu*', pytorch-mutex=1.0=cuda, nvidia::cuda-nvcc=12.1, __cuda>=12.2, __glibc]\n",
        );
        let names: Vec<_> = project.demands.iter().map(|d| d.name.as_str()).collect();
        assert_eq!(names, ["torch", "torch", "cuda-nvcc"]);
        let cudas = cudas(&project);
        assert!(cudas[..3].iter().all(|(_, variant, _)| variant.as_deref() == Some("cpu")));
        assert_eq!((cudas[3].0.as_str(), &cudas[3].1), ("*", &None));
        assert_eq!((cudas[4].0.as_str(), cudas[4].2.as_str()), (">=12.2", ""));
    }

    #[test]
    fn pip_is_one_requirement_file() {
        let project = project(&[
            (
                "environment.yml",
                "dependencies:\n- pip\n- pip:\n  - --index-url=https://download.pytorch.org/whl/cu118\n  - torch==2.1.0+cu118\n  - -r requirements.txt\n  - -r https://x.example/r.txt\n  - -e .\n",
            ),
            ("requirements.txt", "torchvision\n"),
        ])
        .expect("an environment");
        let torch = &project.demands[1];
        assert_eq!((torch.kind, torch.place.line), (Kind::Requirement, 5));
        let index = torch.index.as_ref().expect("an index");
        assert_eq!((index.place.line, index.variant.is_some()), (4, true));
        let vision = &project.demands[2];
        assert_eq!(
            (vision.name.as_str(), vision.place.file.as_str()),
            ("torchvision", "requirements.txt")
        );
        assert!(vision.index.is_some());
        assert_eq!(project.findings.len(), 1);
        let bad =
            super::tests::project(&[("environment.yml", "dependencies:\n- pip:\n  - torch>>2\n")]);
        assert!(bad.is_err_and(|err| err.to_string().contains("torch>>2")));
    }

    #[test]
    fn other_files_and_odd_values() {
        for text in ["", "a: 1\n", "- a\n", "dependencies: {http: ^1.0}\n", "dependencies: x\n"] {
            assert_eq!(of(text).files.len(), 0, "{text}");
        }
        let odd = of(
            "dependencies:\n- sel(linux): pytorch\n- [a]\n- pip: [{a: b}, 'torch=={{ v }}']\n- 'pytorch={{ v }}'\n",
        );
        assert_eq!((odd.findings.len(), odd.demands.len()), (5, 0));
        assert_eq!(of("dependencies:\n- {{ x }}\n").findings.len(), 1);
        assert!(project(&[("environment.yml", "a: [\n")]).is_err());
    }
}
