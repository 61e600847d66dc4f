#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::index::metadata;
use crate::index::page::{Sidecar, Status};
use crate::lock::{Lockfile, sample};

/// An index of files: name, what METADATA says beside name and version.
#[derive(Clone, Default)]
struct World {
    files: Vec<(Index, String, Vec<String>)>,
    yanked: BTreeSet<String>,
    python: BTreeMap<String, String>,
}

impl World {
    fn wheel(mut self, index: &str, file: &str, requires: &[&str]) -> Self {
        self.files.push((
            index.parse().unwrap(),
            file.to_owned(),
            requires.iter().map(|r| (*r).to_owned()).collect(),
        ));
        self
    }

    fn pypi(self, file: &str, requires: &[&str]) -> Self {
        self.wheel("pypi", file, requires)
    }

    fn url(index: Index, file: &str) -> url::Url {
        format!("https://{index}.example.org/files/{file}").parse().unwrap()
    }

    fn name_of(file: &str) -> String {
        crate::domain::normalise_name(file.split('-').next().unwrap())
    }

    fn file(&self, index: Index, file: &str) -> File {
        File {
            name: file.to_owned(),
            url: Self::url(index, file),
            sha256: Some(Sha256::of(file.as_bytes())),
            size: Some(10),
            upload_time: None,
            requires_python: self.python.get(file).cloned(),
            yanked: self.yanked.contains(file).then(|| "broken".to_owned()),
            sidecar: Sidecar::None,
        }
    }

    fn page(&self, index: Index, name: &str) -> Page {
        let files = self
            .files
            .iter()
            .filter(|(at, file, _)| *at == index && Self::name_of(file) == name)
            .map(|(at, file, _)| self.file(*at, file))
            .collect();
        Page { files, status: Status::Active, reason: None, skipped: 0 }
    }

    fn inspected(&self, url: &str) -> Inspected {
        let (_, file, requires) = self
            .files
            .iter()
            .find(|(index, file, _)| Self::url(*index, file).as_str() == url)
            .unwrap();
        let mut parts = file.split('-');
        let (name, version) = (parts.next().unwrap(), parts.next().unwrap());
        let version = version.trim_end_matches(".tar.gz");
        let mut text = format!("Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n");
        for line in requires {
            text += "Requires-Dist: ";
            text += line;
            text.push('\n');
        }
        Inspected {
            metadata: file
                .parse::<crate::index::wheel::WheelName>()
                .is_ok()
                .then(|| metadata::read(text.as_bytes()).unwrap()),
            size: 10,
            sha256: Sha256::of(file.as_bytes()),
            origin: Origin::Index,
            build: None,
            contents: None,
            codes: None,
        }
    }

    /// Answers until the walk is done.
    fn walk(&self, wish: &Wish<'_>) -> Result<Closure, Error> {
        let (mut known, memory) = (Known::default(), Memory::default());
        for _ in 0..100 {
            match walk(wish, &known, &memory)? {
                Step::Done(closure) => return Ok(closure),
                Step::Ask(asks) => {
                    assert!(!asks.is_empty());
                    for ask in asks {
                        match ask {
                            Ask::Page(index, name) => {
                                let page = self.page(index, &name);
                                assert!(known.pages.insert((index, name), page).is_none());
                            }
                            Ask::File(_, url) => {
                                let told = self.inspected(&url);
                                assert!(known.files.insert(url, told).is_none(), "asked twice");
                            }
                        }
                    }
                }
            }
        }
        panic!("the walk does not end");
    }
}

/// torch 2.10.0 of PyPI on Python 3.12, with what is asked for beside it.
fn target(with: &[&str]) -> Target {
    let mut target = sample::lock().target("compiled").unwrap().clone();
    target.glibc = Some("2.36".parse().unwrap());
    target.packages.retain(|p| p.name.as_str() == "torch");
    for text in with {
        let (name, specifier) = text.split_once(' ').unwrap_or((text, ""));
        let mut package = target.packages[0].clone();
        package.name = name.parse().unwrap();
        package.version = None;
        package.specifier = (!specifier.is_empty()).then(|| specifier.parse().unwrap());
        target.packages.push(package);
    }
    target
}

fn wish(target: &Target) -> Wish<'_> {
    Wish { target, kept: BTreeMap::new(), pins: BTreeMap::new(), ours_only: false }
}

fn versions(closure: &Closure) -> Vec<String> {
    closure.members.iter().map(|(name, m)| format!("{name} {}", m.version)).collect()
}

const TORCH: &str = "torch-2.10.0-cp312-cp312-manylinux_2_28_x86_64.whl";

#[test]
fn requirements_are_followed_where_their_markers_hold() {
    let world = World::default()
        .pypi(
            TORCH,
            &[
                "filelock",
                "nvidia-cublas-cu12 ==12.8.4.1; platform_machine == 'x86_64'",
                "toolkit[cublas,cudart]==1.0; sys_platform == 'linux'",
                "pywin32; sys_platform == 'win32'",
                "old; python_version < '3.9'",
                "optree; extra == 'optree'",
            ],
        )
        .pypi("torch-2.10.0-cp312-cp312-win_amd64.whl", &["pywin32"])
        .pypi("torch-2.9.0-cp312-cp312-manylinux_2_28_x86_64.whl", &[])
        .pypi("filelock-3.0-py3-none-any.whl", &[])
        .pypi("filelock-4.0rc1-py3-none-any.whl", &[])
        .pypi("nvidia_cublas_cu12-12.8.4.1-py3-none-manylinux_2_27_x86_64.whl", &[])
        .pypi("nvidia_cublas_cu12-12.9.0-py3-none-manylinux_2_27_x86_64.whl", &[])
        .pypi(
            "toolkit-1.0-py3-none-any.whl",
            &["cublas; extra == 'cublas'", "fft; extra == 'cufft'"],
        )
        .pypi("cublas-5.0-py3-none-any.whl", &["filelock<4"]);
    let target = target(&[]);
    let closure = world.walk(&wish(&target)).unwrap();
    assert_eq!(
        versions(&closure),
        [
            "cublas 5.0",
            "filelock 3.0",
            "nvidia-cublas-cu12 12.8.4.1",
            "toolkit 1.0",
            "torch 2.10.0"
        ]
    );
    let filled = fill(&wish(&target), closure).unwrap();
    assert!(filled.target.files_known());
    let requested: Vec<_> =
        filled.target.packages.iter().filter(|p| p.requested).map(|p| p.name.as_str()).collect();
    assert_eq!(requested, ["torch"]);
}

#[test]
fn what_was_locked_stays_while_it_is_admitted() {
    let world = World::default()
        .pypi(TORCH, &["filelock>=3", "sympy"])
        .pypi("filelock-3.0-py3-none-any.whl", &[])
        .pypi("filelock-3.1-py3-none-any.whl", &[])
        .pypi("sympy-1.13-py3-none-any.whl", &[])
        .pypi("sympy-1.14-py3-none-any.whl", &[]);
    let target = target(&[]);
    let kept = |pairs: &[(&str, &str)]| Wish {
        kept: pairs.iter().map(|(n, v)| ((*n).to_owned(), v.parse().unwrap())).collect(),
        ..wish(&target)
    };
    let found = |wish: &Wish<'_>| versions(&world.walk(wish).unwrap());
    assert_eq!(found(&wish(&target)), ["filelock 3.1", "sympy 1.14", "torch 2.10.0"]);
    assert_eq!(
        found(&kept(&[("filelock", "3.0"), ("sympy", "1.13")])),
        ["filelock 3.0", "sympy 1.13", "torch 2.10.0"]
    );
    assert_eq!(
        found(&kept(&[("filelock", "2.0"), ("sympy", "1.13")])),
        ["filelock 3.1", "sympy 1.13", "torch 2.10.0"]
    );
    // uv's answer is no preference: it is what there is.
    let solved = Wish {
        pins: BTreeMap::from([("sympy".to_owned(), "1.13".parse().unwrap())]),
        ..kept(&[("sympy", "1.14")])
    };
    assert_eq!(found(&solved), ["filelock 3.1", "sympy 1.13", "torch 2.10.0"]);
}

#[test]
fn yanked_files_and_other_pythons_are_passed_over() {
    let mut world = World::default()
        .pypi(TORCH, &["filelock", "numpy"])
        .pypi("filelock-3.0-py3-none-any.whl", &[])
        .pypi("filelock-3.1-py3-none-any.whl", &[])
        .pypi("numpy-2.4-cp312-cp312-manylinux_2_28_x86_64.whl", &[])
        .pypi("numpy-2.5-cp312-cp312-manylinux_2_28_x86_64.whl", &[])
        .pypi("numpy-2.6-cp313-cp313-manylinux_2_28_x86_64.whl", &[])
        .pypi("numpy-2.7-cp312-cp312-manylinux_2_40_x86_64.whl", &[]);
    world.yanked.insert("filelock-3.1-py3-none-any.whl".into());
    world.python.insert("numpy-2.5-cp312-cp312-manylinux_2_28_x86_64.whl".into(), ">=3.13".into());
    let target = target(&[]);
    let closure = world.walk(&wish(&target)).unwrap();
    assert_eq!(versions(&closure), ["filelock 3.0", "numpy 2.4", "torch 2.10.0"]);
    assert!(closure.notes.is_empty(), "{:?}", closure.notes);
    // Locked before it was yanked: it still installs, and that is worth a word.
    let kept = Wish {
        kept: BTreeMap::from([("filelock".to_owned(), "3.1".parse().unwrap())]),
        ..wish(&target)
    };
    let closure = world.walk(&kept).unwrap();
    assert_eq!(versions(&closure)[0], "filelock 3.1");
    assert_eq!(closure.notes, ["filelock 3.1 is yanked: broken"]);
}

#[test]
fn gpu_packages_come_from_the_index_of_the_build() {
    let fleet = sample::lock().target("fleet").unwrap().clone();
    let mut fleet = Target { glibc: Some("2.36".parse().unwrap()), ..fleet };
    fleet.packages.retain(|p| p.name.as_str() != "vllm");
    let (cu126, tags) = ("pytorch-cu126", "cp311-cp311-manylinux_2_28_x86_64.whl");
    let world = World::default()
        .wheel(
            cu126,
            &format!("torch-2.14.1+cu126-{tags}"),
            &["triton==3.8.0", "numpy", "nvidia-x==1"],
        )
        .wheel(cu126, &format!("torch-2.14.1+cpu-{tags}"), &[])
        .wheel("pypi", &format!("torch-2.14.1-{tags}"), &[])
        .wheel(cu126, &format!("torchvision-0.29.1+cu126-{tags}"), &["torch==2.14.1"])
        .wheel(cu126, &format!("triton-3.8.0-{tags}"), &[])
        .wheel("pypi", &format!("triton-3.8.0-{tags}"), &[])
        .wheel(cu126, &format!("numpy-1.0-{tags}"), &[])
        .wheel("pypi", &format!("numpy-2.0-{tags}"), &[])
        .wheel("pypi", "nvidia_x-1-py3-none-any.whl", &[]);
    let closure = world.walk(&wish(&fleet)).unwrap();
    let from: Vec<_> =
        closure.members.iter().map(|(n, m)| format!("{n} {} {}", m.version, m.index)).collect();
    assert_eq!(
        from,
        [
            "numpy 2.0 pypi",
            // Not on the index of the build, so PyPI's: the version is pinned exactly.
            "nvidia-x 1 pypi",
            "torch 2.14.1+cu126 pytorch-cu126",
            "torchvision 0.29.1+cu126 pytorch-cu126",
            "triton 3.8.0 pytorch-cu126",
        ]
    );
    let filled = fill(&wish(&fleet), closure).unwrap();
    // The matrix expects nvidia-cudnn-cu12 there, and the file does not require it.
    let said: Vec<_> = filled.disagreements.iter().map(|d| d.what.as_str()).collect();
    assert_eq!(said, ["nvidia-cudnn-cu12"]);
    let torch = filled.target.packages.iter().find(|p| p.name.as_str() == "torch").unwrap();
    assert_eq!(torch.local.as_ref().unwrap().as_str(), "cu126");
}

#[test]
fn what_does_not_fit_is_said_with_both_sides() {
    let target = target(&[]);
    let said = |world: &World| {
        let error = world.walk(&wish(&target)).unwrap_err();
        assert!(error.help().is_some());
        error.to_string()
    };
    assert_eq!(
        said(&World::default()),
        "target `compiled`: PyPI has no file of torch ==2.10.0 (asked for) for Python 3.12, linux/amd64, glibc 2.36: there is no such package"
    );
    let old = World::default().pypi("torch-2.9.0-cp312-cp312-manylinux_2_28_x86_64.whl", &[]);
    assert!(said(&old).ends_with("of 1 versions that fit there the newest is 2.9.0"));
    let elsewhere = World::default().pypi("torch-2.10.0-cp313-cp313-win_amd64.whl", &[]);
    assert!(said(&elsewhere).ends_with(
        "its files of that version are for other places: torch-2.10.0-cp313-cp313-win_amd64.whl"
    ));
    let clash = World::default()
        .pypi(TORCH, &["a", "b"])
        .pypi("a-1-py3-none-any.whl", &["c<2"])
        .pypi("b-1-py3-none-any.whl", &["c>=2"])
        .pypi("c-1-py3-none-any.whl", &[])
        .pypi("c-2-py3-none-any.whl", &[]);
    let text = said(&clash);
    assert!(text.contains("c <2 (a), >=2 (b)"), "{text}");
    let error = clash.walk(&wish(&target)).unwrap_err();
    assert!(error.help().unwrap().contains("--with-deps"));
}

#[test]
fn circles_and_source_archives_end() {
    let world = World::default()
        .pypi(TORCH, &["a", "runtime"])
        .pypi("a-1-py3-none-any.whl", &["b"])
        .pypi("b-1-py3-none-any.whl", &["a", "torch"])
        .pypi("runtime-4.9.3.tar.gz", &[]);
    let closure = world.walk(&wish(&target(&[]))).unwrap();
    assert_eq!(versions(&closure), ["a 1", "b 1", "runtime 4.9.3", "torch 2.10.0"]);
    assert_eq!(closure.notes.len(), 1, "{:?}", closure.notes);
    // Each newer release requires an older one of the other: no end but the cap.
    let world = World::default()
        .pypi(TORCH, &["a", "b"])
        .pypi("a-1-py3-none-any.whl", &[])
        .pypi("a-2-py3-none-any.whl", &["b<2"])
        .pypi("b-1-py3-none-any.whl", &["a<2"])
        .pypi("b-2-py3-none-any.whl", &[]);
    let error = world.walk(&wish(&target(&[]))).unwrap_err();
    assert!(matches!(error, Error::Unsettled { .. }), "{error}");
}

#[test]
fn two_digests_of_one_file_are_found() {
    let target = target(&[]);
    let world = World::default().pypi(TORCH, &[]);
    let lock = |digest: &str| {
        let mut closure = world.walk(&wish(&target)).unwrap();
        for member in closure.members.values_mut() {
            member.inspected.sha256 = Sha256::of(digest.as_bytes());
        }
        let mut lock: Lockfile = sample::lock();
        lock.targets = vec![fill(&wish(&target), closure).unwrap().target];
        lock
    };
    assert!(two_digests(&lock("a"), &lock("a")).is_empty());
    let clashes = two_digests(&lock("a"), &lock("b"));
    assert_eq!(clashes.len(), 1);
    assert_eq!((clashes[0].package.as_str(), clashes[0].file.as_str()), ("torch", TORCH));
}

proptest! {
    /// What an index lists first is nothing that a lock depends on.
    #[test]
    fn the_order_of_a_page_does_not_matter(order in Just((0usize..14).collect::<Vec<_>>()).prop_shuffle()) {
        let names = [
            TORCH,
            "torch-2.10.0-1-cp312-cp312-manylinux_2_28_x86_64.whl",
            "torch-2.10.0-cp312-cp312-manylinux_2_17_x86_64.whl",
            "filelock-3.0-py3-none-any.whl",
            "filelock-3.0-py2.py3-none-any.whl",
            "filelock-3.1-py3-none-any.whl",
            "filelock-3.1.tar.gz",
            "numpy-2.0-cp312-cp312-manylinux_2_17_x86_64.whl",
            "numpy-2.0-cp312-cp312-manylinux_2_28_x86_64.whl",
            "numpy-2.0-cp312-abi3-manylinux_2_28_x86_64.whl",
            "numpy-2.0-cp311-abi3-manylinux_2_28_x86_64.whl",
            "numpy-2.1a1-cp312-cp312-manylinux_2_28_x86_64.whl",
            "sympy-1.0-py3-none-any.whl",
            "sympy-1.0-2-py3-none-any.whl",
        ];
        let build = |order: &[usize]| {
            order.iter().fold(World::default(), |world, i| {
                let requires: &[&str] = if names[*i].starts_with("torch") {
                    &["filelock", "numpy", "sympy"]
                } else {
                    &[]
                };
                world.pypi(names[*i], requires)
            })
        };
        let target = target(&[]);
        let text = |order: &[usize]| {
            let closure = build(order).walk(&wish(&target)).unwrap();
            let mut lock = sample::lock();
            lock.targets = vec![fill(&wish(&target), closure).unwrap().target];
            lock.to_toml()
        };
        let sorted: Vec<usize> = (0..names.len()).collect();
        let once = text(&sorted);
        prop_assert_eq!(&once, &text(&order));
        // And it reads back, to the byte.
        prop_assert_eq!(Lockfile::parse(&once, "again").unwrap().to_toml(), once);
    }
}
