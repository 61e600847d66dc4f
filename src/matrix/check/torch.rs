//! Releases, their builds, and the packages that live on them.

use std::collections::{BTreeMap, BTreeSet};

use super::tables::{flag, listed, more};
use super::{Check, is_date, version_order};
use crate::domain::WheelVariant;
use crate::matrix::model::{
    Build, CodeList, Companion, NotPublished, Ptxas, Release, Train, Variant, Wheels,
};
use crate::matrix::raw::{RawBuild, RawCompanion, RawRelease, RawVariant, RawWheels};

impl Check {
    pub(super) fn release(&mut self, raw: RawRelease) -> Option<Release> {
        self.enter("torch", &raw.version, &version_order(&raw.version));
        let head = self.row.clone();
        let evidence = self.evidence(raw.source);
        self.read_specifiers("requires_python", &raw.requires_python);
        if let Some(day) = &raw.released
            && !is_date(day)
        {
            self.here(format!("released `{day}`: expected a day like 2026-11-21"));
        }
        let version = self.read("version", &raw.version);
        let mut pypi = BTreeMap::new();
        for (platform, variant) in &raw.pypi {
            if let (Some(p), Some(v)) =
                (self.read("pypi", platform), self.read::<WheelVariant>("pypi", variant))
            {
                if !raw.variants.iter().any(|row| row.name == *variant) {
                    self.here(format!("pypi: variant `{variant}` has no row"));
                }
                pypi.insert(p, v);
            }
        }
        let wheels = self.wheels(raw.wheels);
        let cxx11_abi = raw
            .cxx11_abi
            .iter()
            .filter_map(|(p, abi)| Some((self.read("cxx11_abi", p)?, *abi)))
            .collect();
        let train = raw
            .train
            .into_iter()
            .map(|(package, t)| (package, Train { exact: t.exact, open: t.open }))
            .collect();
        let not_published = raw
            .not_published
            .into_iter()
            .map(|n| {
                self.evidence(n.source);
                NotPublished { variant: n.variant, why: n.why, unknown: n.unknown }
            })
            .collect();
        let mut names = BTreeSet::new();
        let mut variants = Vec::new();
        for row in raw.variants {
            self.row = format!("{head} {}", row.name);
            if !names.insert(row.name.clone()) {
                self.here("a second variant with this name");
            }
            variants.extend(self.variant(row));
            self.row.clone_from(&head);
        }
        let symbols: Vec<_> = raw
            .symbols
            .iter()
            .map(|(p, s)| {
                format!("{p}: GLIBC {}, GLIBCXX {}, CXXABI {}", s.glibc, s.glibcxx, s.cxxabi)
            })
            .collect();
        let announced: Vec<_> = raw
            .announced_code
            .iter()
            .map(|a| {
                format!(
                    "CUDA {}{}: {}",
                    a.cuda,
                    a.platform.as_deref().map_or(String::new(), |p| format!(" {p}")),
                    a.sass.join(" ")
                )
            })
            .collect();
        let joined = |list: &[String]| (!list.is_empty()).then(|| list.join("; "));
        let more = more([
            ("released_note", raw.released_note),
            ("built", raw.built),
            ("commit", raw.commit),
            ("build_numbers", listed(&raw.build_numbers)),
            ("symbols", joined(&symbols)),
            ("announced_code", joined(&announced)),
        ]);
        Some(Release {
            more,
            version: version?,
            released: raw.released,
            requires_python: raw.requires_python,
            pypi,
            wheels,
            cxx11_abi,
            train,
            variants,
            not_published,
            evidence,
        })
    }

    pub(super) fn variant(&mut self, raw: RawVariant) -> Option<Variant> {
        let head = self.row.clone();
        let evidence = self.evidence(raw.source);
        let name: Option<WheelVariant> = self.read("name", &raw.name);
        let cuda = self.read_opt("cuda", raw.cuda.as_deref());
        match (name, raw.kind.as_str()) {
            (Some(WheelVariant::Cuda { .. }), "cuda") => {
                if name.and_then(WheelVariant::cuda) != cuda {
                    self.here(format!("cuda: does not agree with the name `{}`", raw.name));
                }
            }
            (Some(WheelVariant::Cpu), "cpu")
            | (Some(WheelVariant::Rocm { .. }), "rocm")
            | (Some(WheelVariant::Xpu), "xpu")
            | (None, _) => (),
            (Some(_), kind) => {
                self.here(format!("kind `{kind}` does not agree with the name `{}`", raw.name));
            }
        }
        for (package, spec) in raw.requires.iter().flatten() {
            self.read_specifiers(package, spec);
        }
        if let Some(spec) = &raw.triton {
            self.read_specifiers("triton", spec);
        }
        let mut platforms = BTreeSet::new();
        let mut builds = Vec::new();
        for row in raw.platforms {
            self.row = format!("{head} {}", row.platform);
            if !platforms.insert(row.platform.clone()) {
                self.here("a second build for this platform");
            }
            builds.extend(self.build_of(row));
            self.row.clone_from(&head);
        }
        let joined = (!raw.markers.is_empty()).then(|| raw.markers.join("; "));
        Some(Variant {
            more: more([("markers", joined)]),
            name: name?,
            cuda,
            builds,
            unsure: self.read_all("unsure_platforms", &raw.unsure_platforms),
            evidence,
            toolkit: self.read_opt("toolkit", raw.toolkit.as_deref()),
            official: raw.official,
            bundled: raw.bundled || raw.index_bundled,
            cxx11_abi: raw.cxx11_abi,
            cudnn: self.read_opt("cudnn", raw.cudnn.as_deref()),
            nccl: raw.nccl,
            triton: raw.triton,
            requires: raw.requires.map(|map| map.into_iter().collect()),
            requires_status: raw.requires_status,
            note: raw.note,
        })
    }

    pub(super) fn build_of(&mut self, raw: RawBuild) -> Option<Build> {
        let evidence = self.evidence(raw.source);
        let code = CodeList {
            sass: self.read_code("sass", raw.sass.as_deref(), false),
            ptx: self.read_code("ptx", raw.ptx.as_deref(), true),
        };
        let linalg = self.read_code("linalg", raw.linalg.as_deref(), false);
        let partial = self.read_code("partial", Some(&raw.partial), false).unwrap_or_default();
        let glibc = self.read_opt("glibc", raw.glibc.as_deref());
        let platform = self.read("platform", &raw.platform)?;
        Some(Build {
            platform,
            tag: raw.tag,
            glibc,
            code,
            linalg,
            partial,
            labelled: raw.labelled,
            more: more([("index_only", flag(raw.index_only)), ("note", raw.note)]),
            evidence,
        })
    }

    pub(super) fn companion(&mut self, raw: RawCompanion) -> Option<Companion> {
        let order = raw.version.parse::<pep440_rs::Version>();
        self.enter("companions", format!("{} {}", raw.package, raw.version), &[]);
        if order.is_err() {
            self.here(format!("version `{}` is none of PEP 440", raw.version));
            return None;
        }
        let evidence = self.evidence(raw.source);
        for (package, spec) in &raw.requires {
            self.read_specifiers(package, spec);
        }
        if let Some(spec) = &raw.requires_python {
            self.read_specifiers("requires_python", spec);
        }
        let built_as = raw
            .built_as
            .into_iter()
            .filter_map(|(p, text)| Some((self.read("built_as", &p)?, text)))
            .collect();
        let cuda_libraries = raw
            .cuda_libraries
            .into_iter()
            .filter_map(|(p, list)| {
                Some((self.read("cuda_libraries", &p)?, self.read_all("cuda_libraries", &list)))
            })
            .collect();
        let ptxas = raw
            .ptxas
            .into_iter()
            .filter_map(|p| {
                Some(Ptxas {
                    cuda: self.read("ptxas", &p.cuda)?,
                    targets: self.read_all("ptxas", &p.targets),
                    path: p.path,
                })
            })
            .collect();
        Some(Companion {
            cuda: self.read_opt("cuda", raw.cuda.as_deref()),
            cuda_major: raw.cuda_major,
            code: CodeList {
                sass: self.read_code("sass", raw.sass.as_deref(), false),
                ptx: self.read_code("ptx", raw.ptx.as_deref(), true),
            },
            wheels: self.wheels(raw.wheels),
            package: raw.package,
            version: raw.version,
            requires_python: raw.requires_python,
            requires: raw.requires,
            documented_torch: raw.documented_torch,
            built_as,
            cuda_libraries,
            ptxas,
            sdist_only: raw.sdist_only,
            yanked: raw.yanked,
            more: more([("built_with_torch", raw.built_with_torch)]),
            evidence,
        })
    }

    pub(super) fn wheels(&mut self, raw: Vec<RawWheels>) -> Vec<Wheels> {
        raw.into_iter()
            .map(|w| Wheels {
                platform: if w.platform == "any" { None } else { self.read("wheels", &w.platform) },
                python: self.read_all("wheels", &w.python),
                tag: w.tag,
            })
            .collect()
    }
}
