//! What an image will weigh, as far as the lock knows it, and what it carries twice.
//!
//! Sizes are those that indexes, registries and the directories of wheels told when the lock was made.
//! What nobody told is unknown: a sum says how much of it is, and no number is made up for it.

use std::collections::BTreeMap;

use crate::domain::{Code, Finding, Order as _, Severity};
use crate::lock::{AptName, Lockfile, Mode, Package, Target};

/// What an image is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Size {
    /// The base image.
    pub base: Row,
    /// Distribution packages on top of it, of which no lock knows the size.
    pub apt: Vec<String>,
    /// Python packages, the largest first; those of unknown size last.
    pub packages: Vec<Row>,
    /// Bytes of all packages as they are fetched.
    pub fetched: Sum,
    /// Bytes of all packages once they are installed.
    pub unpacked: Sum,
    /// What should not be in the image, or is in it twice.
    pub findings: Vec<Finding>,
}

/// A part of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Package, or reference of the image.
    pub name: String,
    /// Bytes that are fetched for it.
    pub fetched: Option<u64>,
    /// Bytes that it takes on the disk. No registry tells that of an image.
    pub unpacked: Option<u64>,
}

/// Bytes of several parts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sum {
    /// Of the parts that are known.
    pub bytes: u64,
    /// Parts that are not.
    pub unknown: usize,
}

impl FromIterator<Option<u64>> for Sum {
    fn from_iter<I: IntoIterator<Item = Option<u64>>>(parts: I) -> Self {
        parts.into_iter().fold(Self::default(), |sum, part| match part {
            Some(bytes) => Self { bytes: sum.bytes.saturating_add(bytes), ..sum },
            None => Self { unknown: sum.unknown + 1, ..sum },
        })
    }
}

impl Size {
    /// Whether the sum tells something: most packages are known.
    pub fn tells(&self) -> bool {
        self.unpacked.unknown * 2 < self.packages.len()
    }
}

/// What the image of a target is made of.
pub fn explain(lock: &Lockfile, target: &Target) -> Size {
    let mut packages: Vec<_> = target
        .packages
        .iter()
        .map(|package| Row {
            name: package.name.to_string(),
            fetched: package.file.as_ref().map(|file| file.size),
            unpacked: unpacked(package),
        })
        .collect();
    packages.order_by(|a, b| b.unpacked.cmp(&a.unpacked).then_with(|| a.name.cmp(&b.name)));
    Size {
        base: Row { name: base(lock, target), fetched: target.base.size, unpacked: None },
        apt: target.base.apt.iter().map(ToString::to_string).collect(),
        fetched: packages.iter().map(|row| row.fetched).collect(),
        unpacked: packages.iter().map(|row| row.unpacked).collect(),
        packages,
        findings: findings(lock, target),
    }
}

fn base(lock: &Lockfile, target: &Target) -> String {
    format!("{}:{}", lock.pulled(&target.base.repository), target.base.tag)
}

fn unpacked(package: &Package) -> Option<u64> {
    Some(package.file.as_ref()?.contents.as_ref()?.unpacked)
}

fn findings(lock: &Lockfile, target: &Target) -> Vec<Finding> {
    let mut findings = copies(target);
    findings.extend(of_base(lock, target));
    findings.extend(of_driver(target));
    findings
}

/// The library of the driver itself, wherever it stands in the lock.
const DRIVER: &str = "libcuda";

/// Libraries of a package that tell a copy: `libcudart` and its whole name.
fn libraries(package: &Package) -> impl Iterator<Item = (&str, &str)> {
    let contents = package.file.as_ref().and_then(|file| file.contents.as_ref());
    let list = contents.map(|contents| contents.libraries.as_slice()).unwrap_or_default();
    list.iter().map(|library| {
        let name = library.as_str();
        (name.split('.').next().unwrap_or(name), name)
    })
}

/// `nvidia-cudnn` of `nvidia-cudnn-cu12`; CUDA 13 has packages without the end.
fn without_cuda(name: &str) -> Option<&str> {
    let name = name.strip_prefix("nvidia-").map(|_| name)?;
    let bare = name.rsplit_once("-cu").filter(|(_, n)| n.bytes().all(|b| b.is_ascii_digit()));
    Some(bare.map_or(name, |(bare, _)| bare))
}

/// Libraries that several packages bring, by the names of NVIDIA's packages and by the files in all.
fn copies(target: &Target) -> Vec<Finding> {
    let mut by_name: BTreeMap<&str, Vec<&Package>> = BTreeMap::new();
    let mut by_file: BTreeMap<&str, Vec<(&Package, &str)>> = BTreeMap::new();
    for package in &target.packages {
        if let Some(bare) = without_cuda(package.name.as_str()) {
            by_name.entry(bare).or_default().push(package);
        }
        for (stem, library) in libraries(package).filter(|(stem, _)| *stem != DRIVER) {
            let rows = by_file.entry(stem).or_default();
            if rows.iter().all(|(other, _)| other.name != package.name) {
                rows.push((package, library));
            }
        }
    }
    let mut told = Vec::new();
    let mut findings = Vec::new();
    for (bare, packages) in by_name.iter().filter(|(_, packages)| packages.len() > 1) {
        let code =
            if *bare == "nvidia-cudnn" { Code::CudnnMismatch } else { Code::LibraryShadowed };
        let message = format!("{bare} comes twice, for CUDA of different generations");
        let facts = packages.iter().map(|package| (package, package.name.to_string()));
        findings.push(twice(code, message, facts, target));
        told.push(packages.clone());
    }
    for (stem, rows) in by_file.iter().filter(|(_, rows)| rows.len() > 1) {
        let packages: Vec<_> = rows.iter().map(|(package, _)| *package).collect();
        if told.contains(&packages) {
            continue;
        }
        let differ = rows.iter().any(|(_, library)| *library != rows[0].1);
        let code =
            if *stem == "libcudnn" && differ { Code::CudnnMismatch } else { Code::LibraryShadowed };
        let message = format!("{stem} comes with {} packages", rows.len());
        let facts =
            rows.iter().map(|(package, library)| (package, format!("{}: {library}", package.name)));
        findings.push(twice(code, message, facts, target));
        told.push(packages);
    }
    findings
}

/// A finding about packages that bring the same, with the file of each.
fn twice<'p>(
    code: Code,
    message: String,
    facts: impl Iterator<Item = (&'p &'p Package, String)>,
    target: &Target,
) -> Finding {
    let finding = Finding::new(code, Severity::Warning, message);
    facts
        .fold(finding, |finding, (package, text)| {
            let file = package.file.as_ref();
            finding.fact(text, file.map_or_else(String::new, |f| format!("artifact: {}", f.name)))
        })
        .help(format!(
            "take the build for CUDA {} of whatever requires the other one; in one process the copy that is loaded first serves both",
            target.cuda
        ))
}

/// What an image of NVIDIA's brings beside the wheels.
fn of_base(lock: &Lockfile, target: &Target) -> Vec<Finding> {
    if target.base.repository.as_str() != "nvidia/cuda" {
        return Vec::new();
    }
    let base = base(lock, target);
    let tag = target.base.tag.as_str();
    let has = |part: &str| tag.split('-').any(|word| word.starts_with(part));
    let help = "leave `cuda-runtime` and `nvcc-runtime` out of `needs` where nothing asks for the system's CUDA: the wheels bring their own";
    let mut findings = Vec::new();
    if has("runtime") || has("devel") {
        let what = if has("cudnn") { "CUDA and cuDNN" } else { "CUDA" };
        findings.push(
            Finding::new(
                Code::LibraryShadowed,
                Severity::Warning,
                format!("{what} comes with {base}, and again with the wheels of torch"),
            )
            .fact(format!("torch {} brings its own CUDA {}", target.torch, target.cuda), "")
            .help(help),
        );
    }
    // Where an older driver serves, they are what it takes.
    if target.driver.mode != Some(Mode::ForwardCompat) {
        findings.push(
            Finding::new(
                Code::LibraryShadowed,
                Severity::Warning,
                format!("{base} carries cuda-compat, a driver library that nothing here asks for"),
            )
            .fact("NVIDIA's images install cuda-compat", "NVIDIA's Dockerfiles of nvidia/cuda")
            .help(help),
        );
    }
    findings
}

/// Parts of a driver: an image takes them from its host, where they fit the kernel module.
fn of_driver(target: &Target) -> Vec<Finding> {
    let driver = |apt: &str| {
        ["libcuda1", "libnvidia-", "nvidia-driver", "nvidia-utils", "nvidia-smi", "cuda-drivers"]
            .iter()
            .any(|part| apt.starts_with(part))
            // The container toolkit has its libraries under the same name.
            && !apt.starts_with("libnvidia-container")
    };
    let warn = |code: Code, message: String| {
        Finding::new(code, Severity::Warning, message)
            .help("leave it out: the container runtime brings the library of the host's own driver")
    };
    let mut findings = Vec::new();
    for apt in target.base.apt.iter().map(AptName::as_str) {
        if driver(apt) {
            findings.push(warn(
                Code::DriverLibraryMismatch,
                format!("the package {apt} is part of a driver, and comes into the image"),
            ));
        } else if apt.starts_with("cuda-compat") && target.driver.mode != Some(Mode::ForwardCompat)
        {
            findings.push(warn(
                Code::LibraryShadowed,
                format!("{apt} is a driver library that nothing here asks for"),
            ));
        }
    }
    for package in &target.packages {
        if let Some((_, library)) = libraries(package).find(|(stem, _)| *stem == DRIVER) {
            findings.push(
                warn(
                    Code::DriverLibraryMismatch,
                    format!("{} brings {library}, which belongs to the driver", package.name),
                )
                .fact(
                    format!("{library} is in the wheel"),
                    package
                        .file
                        .as_ref()
                        .map_or_else(String::new, |f| format!("artifact: {}", f.name)),
                ),
            );
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lock::{Contents, LockedFile, sample};

    /// The first target of the sample with these packages: name, bytes unpacked, libraries.
    fn of(packages: &[(&str, Option<u64>, &[&str])]) -> Target {
        let mut target = sample::lock().targets[0].clone();
        let one = target.packages[0].clone();
        target.packages = packages
            .iter()
            .map(|(name, unpacked, libraries)| Package {
                name: name.parse().expect("a value of a lock"),
                file: Some(LockedFile {
                    name: format!("{}-1-py3-none-any.whl", name.replace('-', "_"))
                        .parse()
                        .expect("a value of a lock"),
                    url: "https://example.org/a-1-py3-none-any.whl"
                        .parse()
                        .expect("a value of a lock"),
                    size: 10,
                    sha256: crate::domain::Sha256::of(b""),
                    origin: crate::lock::Origin::Index,
                    contents: unpacked.map(|unpacked| Contents {
                        unpacked,
                        libraries: libraries
                            .iter()
                            .map(|l| l.parse().expect("a value of a lock"))
                            .collect(),
                    }),
                }),
                ..one.clone()
            })
            .collect();
        target.base.apt.clear();
        target
    }

    fn said(target: &Target) -> Vec<String> {
        let size = explain(&sample::lock(), target);
        let line = |f: &Finding| {
            assert!(f.severity == Severity::Warning && !f.help.is_empty(), "{f:?}");
            format!("{}: {}", f.code, f.message)
        };
        size.findings.iter().map(line).collect()
    }

    #[test]
    fn the_largest_come_first_and_the_unknown_last() {
        let mut target =
            of(&[("a", Some(5), &[]), ("b", None, &[]), ("c", Some(7), &[]), ("d", Some(5), &[])]);
        target.packages[1].file = None;
        target.base.size = Some(40);
        let size = explain(&sample::lock(), &target);
        let names: Vec<_> = size.packages.iter().map(|row| row.name.as_str()).collect();
        assert_eq!(names, ["c", "a", "d", "b"]);
        assert_eq!(size.unpacked, Sum { bytes: 17, unknown: 1 });
        assert_eq!(size.fetched, Sum { bytes: 30, unknown: 1 });
        assert_eq!((size.base.fetched, size.base.unpacked), (Some(40), None));
        assert_eq!(size.base.name, "python:3.12-slim-trixie");
        assert!(size.tells() && size.findings.is_empty());
        let none = explain(&sample::lock(), &of(&[("a", None, &[]), ("b", Some(1), &[])]));
        assert!(!none.tells());
    }

    /// Sums of hostile numbers have no end, and no panic.
    #[test]
    fn sums_do_not_overflow() {
        let sum: Sum = [Some(u64::MAX), None, Some(7)].into_iter().collect();
        assert_eq!(sum, Sum { bytes: u64::MAX, unknown: 1 });
    }

    #[test]
    fn what_comes_once_is_no_copy() {
        let target = of(&[
            ("nvidia-cuda-runtime", Some(1), &["libcudart.so.13"]),
            ("nvidia-cudnn-cu13", Some(1), &["libcudnn.so", "libcudnn.so.9"]),
            ("nvidia-cublas", Some(1), &["libcublas.so.13"]),
            ("nvidia-cuda-nvrtc", Some(1), &[]),
            ("torch", Some(1), &[]),
        ]);
        assert_eq!(said(&target), [""; 0]);
    }

    #[test]
    fn copies_are_found_by_name_and_by_file() {
        let target = of(&[
            ("nvidia-cudnn-cu12", Some(1), &["libcudnn.so.9"]),
            ("nvidia-cudnn-cu13", Some(1), &["libcudnn.so.9"]),
            ("nvidia-nccl", None, &[]),
            ("nvidia-nccl-cu12", None, &[]),
        ]);
        assert_eq!(
            said(&target),
            [
                "cudnn-mismatch: nvidia-cudnn comes twice, for CUDA of different generations",
                "library-shadowed: nvidia-nccl comes twice, for CUDA of different generations",
            ]
        );
        let target = of(&[
            ("nvidia-cuda-runtime", Some(1), &["libcudart.so.13"]),
            ("other", Some(1), &["libcudart.so.12", "libcudnn.so.8"]),
            ("torch", Some(1), &["libcudnn.so.9"]),
        ]);
        assert_eq!(
            said(&target),
            [
                "library-shadowed: libcudart comes with 2 packages",
                "cudnn-mismatch: libcudnn comes with 2 packages",
            ]
        );
        let finding = &explain(&sample::lock(), &target).findings[0];
        let facts: Vec<_> = finding.facts.iter().map(|fact| fact.text.as_str()).collect();
        assert_eq!(facts, ["nvidia-cuda-runtime: libcudart.so.13", "other: libcudart.so.12"]);
        assert!(finding.facts[0].source.contains("nvidia_cuda_runtime-1-py3-none-any.whl"));
    }

    #[test]
    fn the_base_may_bring_it_again() {
        let mut target = of(&[("torch", Some(1), &[])]);
        target.base.repository = "nvidia/cuda".parse().expect("a value of a lock");
        let with = |target: &mut Target, tag: &str| {
            target.base.tag = tag.parse().expect("a value of a lock");
            said(target).join("; ")
        };
        let base = with(&mut target, "13.2.0-base-ubuntu24.04");
        assert!(base.starts_with("library-shadowed: nvidia/cuda:13.2.0-base-ubuntu24.04 carries"));
        assert!(!base.contains("comes with"));
        let runtime = with(&mut target, "13.2.0-runtime-ubuntu24.04");
        assert!(runtime.contains("CUDA comes with") && runtime.contains("cuda-compat"));
        assert!(with(&mut target, "13.2.0-cudnn-devel-ubuntu24.04").contains("CUDA and cuDNN"));
        // Where an older driver serves, cuda-compat is what it takes.
        target.driver.mode = Some(Mode::ForwardCompat);
        assert_eq!(with(&mut target, "13.2.0-base-ubuntu24.04"), "");
    }

    #[test]
    fn a_driver_in_an_image_is_told() {
        let mut target = of(&[("stub", Some(1), &["libcuda.so.1"]), ("torch", Some(1), &[])]);
        let apt = ["cuda-compat-13-2", "gcc", "libcuda1", "libnvidia-container1", "nvidia-smi"];
        target.base.apt = apt.iter().map(|name| name.parse().expect("a value of a lock")).collect();
        assert_eq!(
            said(&target),
            [
                "library-shadowed: cuda-compat-13-2 is a driver library that nothing here asks for",
                "driver-library-mismatch: the package libcuda1 is part of a driver, and comes into the image",
                "driver-library-mismatch: the package nvidia-smi is part of a driver, and comes into the image",
                "driver-library-mismatch: stub brings libcuda.so.1, which belongs to the driver",
            ]
        );
        target.driver.mode = Some(Mode::ForwardCompat);
        assert!(!said(&target).iter().any(|line| line.contains("cuda-compat")));
    }
}
