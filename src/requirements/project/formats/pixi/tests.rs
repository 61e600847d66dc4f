use super::*;
use crate::requirements::project::demand::Project;
use crate::requirements::project::source::{Files, MAX_BYTES};

fn project(name: &str, content: &str) -> Project {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join(name);
    fs_err::write(&path, content).expect("a file");
    let mut reader = Reader::new(Files::of(dir.path()).expect("a folder"));
    let text = reader.files.read(&path, MAX_BYTES).expect("a text");
    if name == "pixi.toml" {
        read(&text, &mut reader).expect("a manifest");
    } else {
        let root = text.toml().expect("TOML");
        table(root.at(&["tool", "pixi"]).expect("a table"), &text, &mut reader).expect("a table");
    }
    reader.project
}

fn of(content: &str) -> Project {
    project("pixi.toml", content)
}

fn group(name: &str) -> Choice {
    Choice::Group(name.into())
}

#[test]
fn conda_packages_are_hints() {
    let project = of(r#"
[workspace]
channels = ["conda-forge"]
platforms = ["osx-arm64", { name = "gpu", platform = "linux-64", cuda = "12.4" }, { platform = "linux-aarch64", cuda = { driver = "12.8", arch = "9.0" } }]

[system-requirements]
cuda = "12.0"

[dependencies]
python = "3.11.*"
pytorch-gpu = { version = "2.1.*", build = "cuda120*", channel = "conda-forge" }
torchvision = "*"
cuda-version = "12.4.*"
odd = [1]
"#);
    assert_eq!(project.files[0].what, "pixi");
    assert_eq!((project.python[0].by, project.python[0].place.line), ("pixi.toml", 10));
    assert_eq!(project.python[0].versions.to_string(), "==3.11.*");
    let names: Vec<_> = project.demands.iter().map(|d| (d.name.as_str(), d.spec())).collect();
    assert_eq!(names, [("torch", "==2.1.*".to_owned()), ("torchvision", String::new())]);
    assert!(project.demands.iter().all(|d| d.kind == Kind::Hint));
    assert!(project.demands[0].given.starts_with("pytorch-gpu = { version = \"2.1.*\", build"));
    let cuda: Vec<_> = project.cuda.iter().map(|c| c.given.as_str()).collect();
    assert_eq!(cuda, [">=12.4", ">=12.8", ">=12.0", "12.0", "12.4.*"]);
    assert!(project.cuda[0].marker.text().is_some_and(|m| m.contains("x86_64")));
    assert_eq!(project.cuda[2].package, "");
    assert_eq!(project.cuda[4].variant.map(|v| v.to_string()).as_deref(), Some("cu124"));
    assert_eq!(project.findings.len(), 1, "{:?}", project.findings);
}

#[test]
fn packages_of_pypi_take_their_index() {
    let project = of(r#"
[pypi-options]
index-url = "https://pypi.example/simple"
extra-index-urls = ["https://download.pytorch.org/whl/cu126", { url = "https://x.example/simple" }]
find-links = [{ path = "./wheels" }, [1]]

[pypi-dependencies]
torch = "==2.6.0"
torchvision = { version = "*", index = "https://download.pytorch.org/whl/cpu", extras = ["x"] }
numpy = ">=1"
mine = { path = ".", editable = true }
from-git = { git = "https://x.example/a.git", rev = "abc" }
wrong = "2.6.0"
"#);
    let variant = |at: usize| {
        let index = project.demands[at].index.as_ref().and_then(|i| i.variant);
        index.map(|v| v.to_string())
    };
    assert_eq!(variant(0).as_deref(), Some("cu126"));
    assert_eq!(
        (project.demands[0].kind, project.demands[0].spec()),
        (Kind::Requirement, "==2.6.0".into())
    );
    assert_eq!(variant(1).as_deref(), Some("cpu"));
    assert!(project.demands[1].index.as_ref().is_some_and(|i| i.explicit));
    assert_eq!(project.demands[2].index, None);
    assert!(project.demands[3].link.as_ref().is_some_and(|l| l.local));
    assert!(project.demands[4].link.as_ref().is_some_and(|l| l.vcs));
    assert_eq!((project.demands.len(), project.indexes.len()), (5, 5));
    assert!(project.cuda.is_empty());
    assert_eq!(project.findings.len(), 2, "{:?}", project.findings);
}

#[test]
fn targets_replace_what_holds_more_widely() {
    let project = of(r#"
[pypi-dependencies]
torch = "==2.6.0"

[target.linux-64.pypi-dependencies]
torch = "==2.7.0"

[target.unix.pypi-dependencies]
torch = "==2.5.0"

[target.win-64.dependencies]
pytorch = "2.4.*"
python = "3.10.*"

[target.plan9.dependencies]
x = "*"
"#);
    let of = |spec: &str| {
        let one = project.demands.iter().find(|d| d.spec() == spec);
        one.expect(spec).marker.clone()
    };
    assert_eq!(
        of("==2.7.0").text(),
        Some("sys_platform == 'linux' and platform_machine == 'x86_64'")
    );
    assert!(of("==2.6.0").excludes(&of("==2.7.0")) && of("==2.6.0").excludes(&of("==2.5.0")));
    assert!(of("==2.5.0").excludes(&of("==2.7.0")) && !of("==2.5.0").is_never());
    assert!(of("==2.4.*").text().is_some_and(|m| m.contains("AMD64")));
    // The Python of one platform, and the platform that nobody knows.
    assert_eq!((project.findings.len(), project.python.len()), (2, 0));
}

#[test]
fn features_and_environments() {
    let project = of(r#"
[pypi-dependencies]
torch = "*"

[feature.cuda]
platforms = ["linux-64", "win-64"]
[feature.cuda.system-requirements]
cuda = "12"
[feature.cuda.pypi-options]
extra-index-urls = ["https://download.pytorch.org/whl/cu124"]
[feature.cuda.dependencies]
python = "3.12.*"

[feature.cpu.pypi-dependencies]
torch = { version = "*", index = "https://download.pytorch.org/whl/cpu" }
[feature.test.dependencies]
pytest = "*"
[feature.lint.dependencies]
ruff = "*"

[environments]
cuda = ["cuda", "test"]
cpu = { features = ["cpu", "test"] }
lint = { features = ["lint"], no-default-feature = true, solve-group = "cpu" }
alone = { features = ["cpu"], solve-group = "cpu", no-default-feature = true }
"#);
    assert_eq!(
        project.conflicts,
        [
            vec![group("cpu"), group("cuda")],
            vec![group("cuda"), group("lint")],
            vec![group("lint"), group("test")]
        ]
    );
    let index = project.cuda.iter().find(|c| c.by == By::Index).expect("an index");
    assert_eq!(index.choice, Some(group("cuda")));
    let driver = project.cuda.iter().find(|c| c.by == By::Config).expect("a driver");
    assert_eq!((driver.given.as_str(), &driver.choice), (">=12", &Some(group("cuda"))));
    assert!(driver.marker.text().is_some_and(|m| m.contains(" or ")));
    assert!(project.demands.iter().any(|d| d.name == "torch" && d.choice == Some(group("cpu"))));
    assert_eq!(project.python[0].choice, Some(group("cuda")));
    // The environment without the default feature.
    assert_eq!(project.findings.len(), 1, "{:#?}", project.findings);
}

#[test]
fn the_table_of_pyproject() {
    let project = project(
        "pyproject.toml",
        r#"
[project.optional-dependencies]
gpu = ["torch"]
[tool.pixi.project]
platforms = ["linux-64"]
[tool.pixi.dependencies]
python = ">=3.10,<3.13"
[tool.pixi.feature.cpu.dependencies]
pytorch-cpu = "*"
[tool.pixi.environments]
gpu = ["gpu"]
cpu = ["cpu"]
"#,
    );
    assert_eq!((project.files.len(), project.python[0].by), (0, "tool.pixi"));
    assert_eq!(project.conflicts, [vec![group("cpu"), Choice::Extra("gpu".into())]]);
    assert_eq!(project.cuda[0].choice, Some(group("cpu")));
}

#[test]
fn odd_values_are_noted() {
    let project = of(
        "dependencies = 1\npypi-dependencies = [1]\n[environments]\na = 1\n[system-requirements]\ncuda = [1]\n",
    );
    assert_eq!(project.findings.len(), 4, "{:#?}", project.findings);
}
