//! One exact combination to be judged, in types. What is `None` was not given and is not judged.

use std::str::FromStr;

use crate::domain::{
    CudaVersion, DriverSpec, DriverVersion, Glibc, KernelModule, Order as _, Package, ParseError,
    Platform, PythonVersion, TorchVersion, WheelVariant,
};
use crate::matrix::{GpuMatch, Matrix};

/// A combination as a user states it.
#[derive(Debug, Clone, Default)]
pub struct Case {
    /// Exact torch version.
    pub torch: Option<TorchVersion>,
    /// Cards, all in one machine or one pool.
    pub gpus: Vec<GpuMatch>,
    /// Driver.
    pub driver: Option<Driver>,
    /// Python.
    pub python: Option<PythonVersion>,
    /// C library of the system or image.
    pub libc: Option<Libc>,
    /// Platform as given; the cards or Linux on x86-64 stand in.
    pub platform: Option<Platform>,
    /// The one index that the install line names.
    pub index: Option<Index>,
    /// Further packages: name and version as one requirement each.
    pub with: Vec<Package>,
    /// The toolkit that compiles extensions.
    pub nvcc: Option<CudaVersion>,
    /// Environment variables.
    pub env: Vec<(String, String)>,
    /// Base image.
    pub base_image: Option<BaseImage>,
    /// Flavour of the kernel module.
    pub module: Option<KernelModule>,
    /// cuda-compat may be used.
    pub allow_forward_compat: bool,
    /// torch.compile will be used: Triton must know the cards.
    pub compiles: bool,
}

impl Case {
    /// See [`platform_of`].
    pub fn platform(&self) -> Platform {
        platform_of(self.platform, &self.gpus)
    }

    /// The value of an environment variable.
    pub fn var(&self, name: &str) -> Option<&str> {
        self.env.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

/// Platform as given, or the only machine that the cards are built into, or Linux on x86-64.
pub fn platform_of(given: Option<Platform>, gpus: &[GpuMatch]) -> Platform {
    given.or_else(|| gpus.iter().find_map(|gpu| gpu.host)).unwrap_or(Platform::LinuxAmd64)
}

/// A driver, placed: what the user said and which versions that means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Driver {
    /// What the user said.
    pub spec: DriverSpec,
    /// Lowest version that may be met; `None` for a machine without a driver, or a range open below.
    pub oldest: Option<DriverVersion>,
    /// Highest branch that may be met, when the range is closed above or one driver was named.
    pub newest_branch: Option<u16>,
    /// How a short form was read.
    pub note: Option<String>,
}

impl Driver {
    /// Places a driver in the table of branches.
    ///
    /// # Errors
    /// A bare branch or a CUDA version that has no row, with what the table has.
    pub fn place(spec: DriverSpec, matrix: &Matrix) -> Result<Self, String> {
        let first_of = |version: DriverVersion| -> Result<(DriverVersion, Option<String>), String> {
            if !version.is_bare_branch() {
                return Ok((version, None));
            }
            let first = matrix.branch(version.branch).and_then(|b| b.first_data_center).ok_or_else(|| {
                let known: Vec<_> = matrix.branches.iter().map(|b| b.branch.to_string()).collect();
                format!(
                    "the matrix knows no driver branch {}: give a full version such as {}.54.03, or one of {}",
                    version.branch, version.branch, known.join(", ")
                )
            })?;
            Ok((
                first,
                Some(format!(
                    "branch {} was read as {first}, its first data center release",
                    version.branch
                )),
            ))
        };
        // Windows numbers fall between branches and belong to the one below.
        let branch_of = |v: DriverVersion| matrix.locate(v).map_or(v.branch, |at| at.branch.branch);
        Ok(match spec {
            DriverSpec::None => Self { spec, oldest: None, newest_branch: None, note: None },
            DriverSpec::Oldest(version) => {
                let (oldest, note) = first_of(version)?;
                Self { spec, oldest: Some(oldest), newest_branch: Some(branch_of(oldest)), note }
            }
            DriverSpec::Cuda(cuda) => {
                let branch =
                    matrix.branches.iter().find(|b| b.cuda == cuda.series()).ok_or_else(|| {
                        let known: Vec<_> =
                            matrix.branches.iter().map(|b| b.cuda.to_string()).collect();
                        format!(
                            "no driver branch implements CUDA {cuda}; known are {}",
                            known.join(", ")
                        )
                    })?;
                let oldest =
                    branch.first_data_center.unwrap_or(DriverVersion::of_branch(branch.branch));
                let note = format!(
                    "CUDA {cuda} was read as driver {oldest}, the first of branch {}",
                    branch.branch
                );
                Self {
                    spec,
                    oldest: Some(oldest),
                    newest_branch: Some(branch.branch),
                    note: Some(note),
                }
            }
            DriverSpec::Range { lower, upper, upper_included } => {
                let (oldest, note) = match lower {
                    Some(version) => {
                        let (oldest, note) = first_of(version)?;
                        (Some(oldest), note)
                    }
                    None => (None, None),
                };
                let newest_branch = upper.map(|v| {
                    // `<580` ends with the branch before; `<580.95` still holds 580.
                    if v.is_bare_branch() && !upper_included {
                        matrix
                            .branches
                            .iter()
                            .rev()
                            .find(|b| b.branch < v.branch)
                            .map_or(v.branch, |b| b.branch)
                    } else {
                        branch_of(v)
                    }
                });
                Self { spec, oldest, newest_branch, note }
            }
        })
    }
}

/// A C library.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Libc {
    /// What the user said.
    pub given: String,
    /// Its version; `None`: not glibc at all (musl).
    pub glibc: Option<Glibc>,
    /// Where the version stands.
    pub source: String,
}

impl Libc {
    /// `glibc:2.28`, `musl`, or the name of a distribution.
    ///
    /// # Errors
    /// A distribution that has no row, with near names.
    pub fn find(given: &str, matrix: &Matrix) -> Result<Self, String> {
        let lower = given.trim().to_ascii_lowercase();
        if let Some(version) =
            lower.strip_prefix("glibc").map(|t| t.trim_start_matches([':', '-', '=', ' ']))
        {
            let glibc = version.parse::<Glibc>().map_err(|err| err.to_string())?;
            return Ok(Self {
                given: crate::domain::shown(given),
                glibc: Some(glibc),
                source: "as given".into(),
            });
        }
        if lower == "musl" {
            return Ok(Self {
                given: crate::domain::shown(given),
                glibc: None,
                source: "as given".into(),
            });
        }
        if let Some(distro) = distro_names(&lower).iter().find_map(|name| matrix.distro(name)) {
            return Ok(Self {
                given: crate::domain::shown(given),
                glibc: distro.glibc,
                source: matrix.cite_best(&distro.evidence),
            });
        }
        let mut near: Vec<(f64, &str)> = matrix
            .distros
            .iter()
            .map(|d| (strsim::jaro_winkler(&lower, &d.name), d.name.as_str()))
            .collect();
        near.order_by(|a, b| b.0.total_cmp(&a.0));
        let near: Vec<_> = near.into_iter().take(3).map(|(_, n)| format!("`{n}`")).collect();
        Err(format!(
            "the matrix knows no distribution `{}`: did you mean {}? Or state the C library itself, as `glibc:2.35`",
            crate::domain::shown(given),
            near.join(", ")
        ))
    }
}

/// The names under which a distribution may stand, from what /etc/os-release and people write:
/// `Ubuntu 22.04.3 LTS (x86_64)`, `Red Hat Enterprise Linux 8.6`, `alpine:3.19`, `rocky9`.
fn distro_names(lower: &str) -> Vec<String> {
    let plain = lower.split('(').next().unwrap_or_default();
    let words: Vec<&str> = plain
        .split([' ', ':', '-', '_', '/'])
        .filter(|w| {
            !matches!(
                *w,
                "" | "lts"
                    | "gnu"
                    | "linux"
                    | "enterprise"
                    | "release"
                    | "server"
                    | "wsl"
                    | "wsl2"
                    | "on"
                    | "stream"
            )
        })
        .collect();
    let joined = words.concat();
    let (name, version) =
        joined.split_at(joined.find(|c: char| c.is_ascii_digit()).unwrap_or(joined.len()));
    let version = version.trim_start_matches('v');
    let name = match name.trim_end_matches('v') {
        "redhat" => "rhel",
        "rocky" => "rockylinux",
        "alma" => "almalinux",
        "ol" | "oracle" => "oraclelinux",
        "al" | "amazon" | "amazonlinux" => "amzn",
        "opensuseleap" | "opensuse" => "opensuse",
        other => other,
    };
    let parts: Vec<&str> = version.split('.').collect();
    let mut names = vec![lower.to_owned(), joined.clone()];
    for n in (0..=parts.len()).rev() {
        names.push(format!("{name}{}", parts[..n].join(".")));
    }
    names
}

/// The one index that an install line names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Index {
    /// The default index of pip and uv.
    Pypi,
    /// One build's page of the PyTorch wheel index, or of a mirror of it.
    Variant(WheelVariant, String),
    /// The page of the PyTorch wheel index that holds all builds.
    Combined(String),
    /// Some other index: what it holds is not known.
    Other(String),
}

impl FromStr for Index {
    type Err = ParseError;

    fn from_str(given: &str) -> Result<Self, Self::Err> {
        let text = given.trim().trim_end_matches('/');
        if text.eq_ignore_ascii_case("pypi") {
            return Ok(Self::Pypi);
        }
        if text.is_empty() || text.contains(char::is_whitespace) {
            return Err(ParseError::new(
                "an index",
                given,
                "`pypi`, a build such as `cu128`, or the URL of an index",
            ));
        }
        // `.../whl/cu121/torch` and `.../whl/cu121/torch_stable.html` are pages of one build too.
        let page = text.trim_end_matches("/torch").trim_end_matches("/torch_stable.html");
        let page = if page.ends_with("whl") { text } else { page };
        let last = page.rsplit('/').next().unwrap_or_default();
        let folded = last.to_ascii_lowercase();
        let last = if folded.parse::<WheelVariant>().is_ok() { folded.as_str() } else { last };
        if let Ok(variant) = last.parse::<WheelVariant>() {
            // A mirror keeps the path; an index of other builds (Jetson, nightly) does not.
            let foreign =
                text.contains("jetson") || text.contains("nightly") || text.contains("/test/");
            let pytorch = !text.contains('/') || text.contains("whl") || text.contains("pytorch");
            return Ok(if pytorch && !foreign {
                Self::Variant(variant, text.into())
            } else {
                Self::Other(text.into())
            });
        }
        if text.contains("download.pytorch.org") && (last == "whl" || last.starts_with("torch")) {
            return Ok(Self::Combined(text.into()));
        }
        // PyPI and its mirrors say so; a company's own `simple` may hold anything.
        let lower = text.to_ascii_lowercase();
        let others = ["pytorch", "nvidia", "jetson", "torch"];
        if lower == "default"
            || (lower.contains("pypi") && !others.iter().any(|o| lower.contains(o)))
        {
            return Ok(Self::Pypi);
        }
        Ok(Self::Other(text.into()))
    }
}

/// A base image, as far as its name tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BaseImage {
    /// As given.
    pub given: String,
    /// What the name says.
    pub kind: ImageKind,
}

/// What an image's name says of its inside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ImageKind {
    /// `nvidia/cuda`.
    Cuda {
        /// `12.8.1`.
        cuda: CudaVersion,
        /// Its flavour has cuDNN.
        cudnn: bool,
        /// `ubuntu22.04`.
        distro: Option<String>,
    },
    /// `pytorch/pytorch`.
    Pytorch {
        /// torch in it.
        torch: TorchVersion,
        /// `devel` flavours stand on `nvidia/cuda`.
        devel: Option<CudaVersion>,
    },
    /// A plain image: `python:3.12-slim-bookworm`, `debian:12`.
    Plain {
        /// Distribution, when the tag names one.
        distro: Option<String>,
        /// Python, when the tag names one.
        python: Option<PythonVersion>,
    },
    /// Another image: nothing is known of its inside.
    Other,
}

impl FromStr for BaseImage {
    type Err = ParseError;

    fn from_str(given: &str) -> Result<Self, Self::Err> {
        let text = given.trim();
        let bad = text.is_empty() || text.contains(char::is_whitespace) || text.starts_with('-');
        if bad {
            return Err(ParseError::new(
                "an image",
                given,
                "a reference like `nvidia/cuda:12.8.1-base-ubuntu22.04`",
            ));
        }
        let bare = text.split('@').next().unwrap_or(text);
        // The last colon opens the tag unless a slash follows (then it is a port).
        let (name, tag) = match bare.rsplit_once(':') {
            Some((name, tag)) if !tag.contains('/') => (name, tag),
            _ => (bare, ""),
        };
        let kind = if name.ends_with("nvidia/cuda") || name == "cuda" {
            read_cuda_tag(tag)
        } else if name.ends_with("pytorch/pytorch") {
            read_pytorch_tag(tag)
        } else if name == "python" || name.ends_with("/python") {
            let mut words = tag.split('-');
            let python = words.next().and_then(|v| v.parse().ok());
            let distro = words
                .find(|w| *w != "slim")
                .map(|w| w.trim_end_matches(|c: char| c == '.' || c.is_ascii_digit()).to_owned());
            // `alpine3.20` is alpine; a bare `slim` names no release.
            Some(ImageKind::Plain { distro: distro.filter(|d| !d.is_empty()), python })
        } else {
            let last = name.rsplit('/').next().unwrap_or(name);
            let known = [
                "ubuntu",
                "debian",
                "alpine",
                "rockylinux",
                "almalinux",
                "fedora",
                "centos",
                "amazonlinux",
                "ubi7",
                "ubi8",
                "ubi9",
                "ubi10",
            ];
            known.contains(&last).then(|| {
                let tag = tag.split('-').next().unwrap_or(tag);
                let distro = match last {
                    "alpine" => "alpine".to_owned(),
                    "amazonlinux" => format!("amzn{tag}"),
                    _ if tag.starts_with(|c: char| c.is_ascii_alphabetic()) => tag.to_owned(),
                    // Only Ubuntu's minor names a release of its own.
                    "ubuntu" => format!("ubuntu{tag}"),
                    _ => format!("{last}{}", tag.split('.').next().unwrap_or(tag)),
                };
                ImageKind::Plain { distro: Some(distro), python: None }
            })
        };
        Ok(Self { given: text.into(), kind: kind.unwrap_or(ImageKind::Other) })
    }
}

fn read_cuda_tag(tag: &str) -> Option<ImageKind> {
    let mut words = tag.split('-');
    let cuda = words.next()?.parse().ok()?;
    let rest: Vec<_> = words.collect();
    let cudnn = rest.iter().any(|w| w.starts_with("cudnn"));
    let distro = rest
        .iter()
        .rev()
        .find(|w| !matches!(**w, "base" | "runtime" | "devel") && !w.starts_with("cudnn"));
    Some(ImageKind::Cuda { cuda, cudnn, distro: distro.map(|d| (*d).to_owned()) })
}

fn read_pytorch_tag(tag: &str) -> Option<ImageKind> {
    let mut words = tag.split('-');
    let torch = words.next()?;
    let rest: Vec<_> = words.collect();
    let cuda: Option<CudaVersion> =
        rest.iter().find_map(|w| w.strip_prefix("cuda")).and_then(|v| v.parse().ok());
    let variant = match cuda {
        Some(cuda) => WheelVariant::of_cuda(cuda)?,
        None => WheelVariant::Cpu,
    };
    let devel = cuda.filter(|_| rest.contains(&"devel"));
    Some(ImageKind::Pytorch { torch: format!("{torch}+{variant}").parse().ok()?, devel })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn indexes_read_and_refused() {
        let read = |text: &str| text.parse::<Index>().expect(text);
        assert_eq!(read("pypi"), Index::Pypi);
        assert!(matches!(
            read("https://download.pytorch.org/whl/cu128/"),
            Index::Variant(WheelVariant::Cuda { major: 12, minor: 8 }, _)
        ));
        assert!(matches!(read("https://mirror.example/pytorch-wheels/cu118"), Index::Variant(..)));
        assert!(matches!(read("cu130"), Index::Variant(..)));
        assert!(matches!(read("https://download.pytorch.org/whl"), Index::Combined(_)));
        assert!(matches!(read("https://download.pytorch.org/whl/nightly/cu130"), Index::Other(_)));
        assert!(matches!(read("https://index.example/jp6/cu126"), Index::Other(_)));
        assert!("".parse::<Index>().is_err());
        assert!("a b".parse::<Index>().is_err());
    }

    #[test]
    fn images_read_and_refused() {
        let kind = |text: &str| text.parse::<BaseImage>().expect(text).kind;
        let ImageKind::Cuda { cuda, cudnn, distro } =
            kind("nvcr.io/nvidia/cuda:12.8.1-cudnn-devel-ubuntu24.04")
        else {
            panic!("cuda")
        };
        assert_eq!(
            (cuda.to_string().as_str(), cudnn, distro.as_deref()),
            ("12.8.1", true, Some("ubuntu24.04"))
        );
        let ImageKind::Pytorch { torch, devel } =
            kind("pytorch/pytorch:2.4.1-cuda12.4-cudnn9-runtime")
        else {
            panic!("pytorch")
        };
        assert_eq!((torch.to_string().as_str(), devel), ("2.4.1+cu124", None));
        assert_eq!(
            kind("python:3.12-slim-bookworm"),
            ImageKind::Plain {
                distro: Some("bookworm".into()),
                python: Some(PythonVersion::new(12))
            }
        );
        assert_eq!(
            kind("python:3.12-alpine3.20"),
            ImageKind::Plain {
                distro: Some("alpine".into()),
                python: Some(PythonVersion::new(12))
            }
        );
        assert_eq!(
            kind("ubuntu:20.04"),
            ImageKind::Plain { distro: Some("ubuntu20.04".into()), python: None }
        );
        assert_eq!(
            kind("debian:bookworm-slim"),
            ImageKind::Plain { distro: Some("bookworm".into()), python: None }
        );
        assert_eq!(kind("registry.example:5000/team/app"), ImageKind::Other);
        for text in ["", "nvidia/cuda latest", "--privileged"] {
            assert!(text.parse::<BaseImage>().is_err(), "{text}");
        }
    }
}
