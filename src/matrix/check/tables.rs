//! Table by table: each row's columns into their types.

use std::collections::BTreeMap;

use super::{Check, version_order};
use crate::domain::{KernelModule, Platform};
use crate::matrix::file::RawFile;
use crate::matrix::model::{
    Archived, Branch, CodeList, CodeRule, CompanionRule, Compiler, CudaImage, CudaRule, Cudnn,
    Distro, Evidence, FirstListed, ForwardCompat, Generation, Gpu, ImageRequirement, MinorCompat,
    More, PythonImage, Throughput, Toolkit, ToolkitPackages, UvImage,
};

impl Check {
    /// Turns all tables of one file.
    pub(super) fn tables(&mut self, file: &str, overlay: Option<u16>, raw: RawFile) {
        file.clone_into(&mut self.file);
        self.overlay = overlay;
        for row in raw.torch {
            if let Some(release) = self.release(row) {
                put(&mut self.matrix.releases, release, |r| r.version);
            }
        }
        for row in raw.gpus {
            self.enter("gpus", &row.id, &[]);
            let evidence = self.evidence(row.source);
            let (capability, kind) =
                (self.read("capability", &row.capability), self.read("kind", &row.kind));
            let host = self.read_opt("host", row.host.as_deref());
            let module = self.read_opt("module", row.module.as_deref());
            let (Some(capability), Some(kind)) = (capability, kind) else {
                continue;
            };
            let gpu = Gpu {
                id: row.id,
                architecture: row.architecture,
                capability,
                kind,
                names: row.names,
                aliases: row.aliases,
                cloud: row.cloud,
                matches: row.matches,
                host,
                module,
                memory_gb: row.memory_gb,
                bandwidth_gb_s: row.bandwidth_gb_s,
                sms: row.sms,
                peak: row.peak.named(),
                chip: row.chip,
                pci_ids: row.pci_ids,
                note: row.note,
                evidence,
            };
            put(&mut self.matrix.gpus, gpu, |g| g.id.clone());
        }
        for row in raw.throughput {
            self.enter("throughput", &row.capability, &version_order(&row.capability));
            let evidence = self.evidence(row.source);
            let Some(capability) = self.read("capability", &row.capability) else {
                continue;
            };
            let (per_clock, geforce) = (row.per_clock.named(), row.geforce.named());
            let throughput = Throughput { capability, per_clock, geforce, evidence };
            put(&mut self.matrix.throughput, throughput, |t| t.capability);
        }
        for row in raw.generations {
            self.enter("generations", &row.name, &[]);
            let evidence = self.evidence(row.source);
            let module = match row.module.as_deref() {
                None | Some("either") => None,
                Some(text) => self.read::<KernelModule>("module", text),
            };
            let generation = Generation {
                capabilities: self.read_all("capabilities", &row.capabilities),
                first_branch: self.number_opt("first_branch", row.first_branch.as_deref()),
                last_branch: self.number_opt("last_branch", row.last_branch.as_deref()),
                name: row.name,
                module,
                more: more([("note", row.note)]),
                evidence,
            };
            put(&mut self.matrix.generations, generation, |g| g.name.clone());
        }
        for row in raw.code_rules {
            self.enter("code_rules", &row.code, &[]);
            let evidence = self.evidence(row.source);
            let serves = self.read_all("serves", &row.serves);
            let Some(code) = self.read("code", &row.code) else {
                continue;
            };
            put(&mut self.matrix.code_rules, CodeRule { code, serves, evidence }, |r| r.code);
        }
        for row in raw.branches {
            self.enter("branches", &row.branch, &version_order(&row.branch));
            let evidence = self.evidence(row.source);
            let first_data_center =
                self.read_opt("first_data_center", row.first_data_center.as_deref());
            let (Some(branch), Some(cuda)) =
                (self.number("branch", &row.branch), self.read("cuda", &row.cuda))
            else {
                continue;
            };
            let branch = Branch {
                branch,
                cuda,
                kind: row.kind,
                first_data_center,
                eol: row.eol,
                latest: row.latest,
                architectures: row.architectures,
                note: row.note,
                more: more([("first_release", row.first_release)]),
                evidence,
            };
            put(&mut self.matrix.branches, branch, |b| b.branch);
        }
        for row in raw.first_listed {
            self.enter("first_listed", &row.name, &[]);
            let evidence = self.evidence(row.source);
            let added_later = row
                .added_later
                .iter()
                .filter_map(|(b, v)| {
                    Some((self.number("added_later", b)?, self.read("added_later", v)?))
                })
                .collect();
            if row.version.is_some() == row.at_most.is_some() {
                self.here("exactly one of `version` and `at_most` is expected");
            }
            let Some(branch) = self.number("branch", &row.branch) else {
                continue;
            };
            let listed = FirstListed {
                branch,
                added_later,
                version: self.read_opt("version", row.version.as_deref()),
                at_most: self.read_opt("at_most", row.at_most.as_deref()),
                missing_from: row
                    .missing_from
                    .iter()
                    .filter_map(|b| self.number("missing_from", b))
                    .collect(),
                name: row.name,
                note: row.note,
                evidence,
            };
            put(&mut self.matrix.first_listed, listed, |l| l.name.clone());
        }
        for row in raw.toolkits {
            self.enter("toolkits", &row.version, &version_order(&row.version));
            let evidence = self.evidence(row.source);
            let Some(version) = self.read("version", &row.version) else {
                continue;
            };
            let toolkit = Toolkit {
                version,
                driver: self.read_opt("driver", row.driver.as_deref()),
                driver_windows: self.read_opt("driver_windows", row.driver_windows.as_deref()),
                bundled_driver: self.read_opt("bundled_driver", row.bundled_driver.as_deref()),
                minor_compat_driver: self
                    .read_opt("minor_compat_driver", row.minor_compat_driver.as_deref()),
                pypi: row.pypi,
                components: row.components,
                note: row.note,
                more: more([
                    ("released", row.released),
                    ("driver_inferred", flag(row.driver_inferred)),
                ]),
                evidence,
            };
            put(&mut self.matrix.toolkits, toolkit, |t| t.version);
        }
        for row in raw.toolkit_packages {
            self.enter("toolkit_packages", &row.version, &version_order(&row.version));
            let evidence = self.evidence(row.source);
            let Some(version) = self.read("version", &row.version) else {
                continue;
            };
            let packages = ToolkitPackages { version, extras: row.extras, evidence };
            put(&mut self.matrix.toolkit_packages, packages, |p| p.version);
        }
        for row in raw.compilers {
            self.enter("compilers", &row.cuda, &version_order(&row.cuda));
            let evidence = self.evidence(row.source);
            let targets = self.read_all("targets", &row.targets);
            let Some(cuda) = self.read("cuda", &row.cuda) else {
                continue;
            };
            let compiler = Compiler {
                cuda,
                targets,
                ptx_isa: row.ptx_isa,
                gcc_max: row.gcc_max,
                clang_max: row.clang_max,
                more: more([("default", row.default), ("note", row.note)]),
                evidence,
            };
            put(&mut self.matrix.compilers, compiler, |c| c.cuda);
        }
        for row in raw.minor_compat {
            self.enter("minor_compat", row.cuda_major, &[row.cuda_major.into()]);
            let evidence = self.evidence(row.source);
            let floor = MinorCompat {
                cuda_major: row.cuda_major,
                linux: self.read_opt("linux", row.linux.as_deref()),
                windows: self.read_opt("windows", row.windows.as_deref()),
                more: more([("note", row.note)]),
                evidence,
            };
            put(&mut self.matrix.minor_compat, floor, |m| m.cuda_major);
        }
        for row in raw.forward_compat {
            self.enter("forward_compat", &row.package, &[]);
            let evidence = self.evidence(row.source);
            let mut usable_on = Vec::new();
            for (branch, how) in &row.on {
                match how.as_str() {
                    "usable" => usable_on.extend(self.number("on", branch)),
                    "same" | "older" => (),
                    other => {
                        self.here(format!(
                            "on {branch}: `{other}`, expected usable, same or older"
                        ));
                    }
                }
            }
            let Some(cuda) = self.read("cuda", &row.cuda) else {
                continue;
            };
            let on =
                row.on.iter().map(|(branch, how)| format!("{branch}: {how}")).collect::<Vec<_>>();
            let more = more([("libraries", Some(row.libraries)), ("on", Some(on.join(", ")))]);
            let package = ForwardCompat { package: row.package, cuda, usable_on, more, evidence };
            put(&mut self.matrix.forward_compat, package, |p| p.cuda);
        }
        let mut sets = BTreeMap::new();
        for row in raw.cudnn_code {
            self.enter("cudnn_code", &row.id, &[]);
            let evidence = self.evidence(row.source);
            let code = CodeList {
                sass: self.read_code("sass", Some(&row.sass), false),
                ptx: self.read_code("ptx", Some(&row.ptx), true),
            };
            self.archive(
                "cudnn_code",
                &row.id,
                vec![("sass".into(), row.sass.join(" ")), ("ptx".into(), row.ptx.join(" "))],
                evidence,
            );
            sets.insert(row.id, code);
        }
        for row in raw.cudnn {
            let mut order = version_order(&row.version);
            order.extend(row.build.strip_prefix("cu").and_then(|m| m.parse::<u64>().ok()));
            self.enter("cudnn", format!("{} {}", row.version, row.build), &order);
            let evidence = self.evidence(row.source);
            let mut code = BTreeMap::new();
            for (platform, set) in &row.code {
                let Some(platform) = self.read::<Platform>("code", platform) else {
                    continue;
                };
                match sets.get(set) {
                    Some(list) => {
                        code.insert(platform, list.clone());
                    }
                    None => self.here(format!("code set `{set}` does not exist")),
                }
            }
            let cuda_major = row.build.strip_prefix("cu").unwrap_or_default().to_owned();
            let (Some(version), Some(cuda_major)) =
                (self.read("version", &row.version), self.number("build", &cuda_major))
            else {
                continue;
            };
            let cudnn = Cudnn {
                version,
                cuda_major,
                code,
                driver: self.read_opt("driver", row.driver.as_deref()),
                min: self.read_opt("min", row.min.as_deref()),
                max: self.read_opt("max", row.max.as_deref()),
                measured: row.measured,
                yanked: row.yanked,
                wheels: row.wheels,
                note: row.note,
                more: more([("package", Some(row.package)), ("soname", Some(row.soname))]),
                evidence,
            };
            put(&mut self.matrix.cudnn, cudnn, |c| (c.version, c.cuda_major));
        }
        for row in raw.cuda_images {
            let key = format!("{} {}", row.cuda, row.distros.join(","));
            self.enter("cuda_images", &key, &[]);
            let evidence = self.evidence(row.source);
            let platforms = row.platforms.map(|list| self.read_all("platforms", &list));
            let Some(cuda) = self.read("cuda", &row.cuda) else {
                continue;
            };
            self.matrix.cuda_images.push(CudaImage {
                cuda,
                distros: row.distros,
                flavours: row.flavours,
                platforms,
                cudnn: row.cudnn,
                status: row.status,
                seen_only: row.seen_only,
                evidence,
            });
        }
        for row in raw.image_requirements {
            self.enter("image_requirements", &row.image, &version_order(&row.image));
            let evidence = self.evidence(row.source);
            let branches = row
                .branches
                .map(|list| list.iter().filter_map(|b| self.number("branches", b)).collect());
            let (Some(image), Some(cuda)) =
                (self.read("image", &row.image), self.read("cuda", &row.cuda))
            else {
                continue;
            };
            let more = more([("installs_compat", flag(row.installs_compat)), ("note", row.note)]);
            let requirement = ImageRequirement {
                image,
                cuda,
                branches,
                brands: row.brands,
                partial: row.partial,
                more,
                evidence,
            };
            put(&mut self.matrix.image_requirements, requirement, |r| r.image);
        }
        for row in raw.python_images {
            self.enter("python_images", &row.tag, &[]);
            let evidence = self.evidence(row.source);
            let glibc = self.read_opt("glibc", row.glibc.as_deref());
            let image = PythonImage {
                tag: row.tag,
                distro: row.distro,
                glibc,
                as_of: row.as_of,
                variants: row.variants,
                evidence,
            };
            put(&mut self.matrix.python_images, image, |i| i.tag.clone());
        }
        for row in raw.uv_images {
            self.enter("uv_images", format!("{}:{}", row.repository, row.tag), &[]);
            let evidence = self.evidence(row.source);
            let image = UvImage { repository: row.repository, tag: row.tag, evidence };
            put(&mut self.matrix.uv_images, image, |i| (i.repository.clone(), i.tag.clone()));
        }
        for row in raw.distros {
            self.enter("distros", &row.name, &[]);
            let evidence = self.evidence(row.source);
            let glibc = self.read_opt("glibc", row.glibc.as_deref());
            let more = more([("note", row.note)]);
            let distro = Distro {
                name: row.name,
                aliases: row.aliases,
                glibc,
                python: row.python,
                gcc: row.gcc,
                more,
                evidence,
            };
            put(&mut self.matrix.distros, distro, |d| d.name.clone());
        }
        for row in raw.companions {
            if let Some(companion) = self.companion(row) {
                put(&mut self.matrix.companions, companion, |c| {
                    (c.package.clone(), c.version.clone())
                });
            }
        }
        for row in raw.companion_rules {
            let versions = row.versions.unwrap_or_default();
            self.enter("companion_rules", format!("{} {versions}", row.package).trim(), &[]);
            let evidence = self.evidence(row.source);
            self.read_specifiers("versions", &versions);
            if let Some(refused) = &row.refuses_torch {
                self.read_specifiers("refuses_torch", refused);
            }
            let cuda = match row.cuda.as_deref() {
                Some("minor") => CudaRule::Minor,
                Some("major") => CudaRule::Major,
                Some("any") | None => CudaRule::Any,
                Some(other) => {
                    self.here(format!("cuda `{other}`: expected minor, major or any"));
                    CudaRule::Any
                }
            };
            let rule = CompanionRule {
                min_capability: self.read_opt("min_capability", row.min_capability.as_deref()),
                max_capability: self.read_opt("max_capability", row.max_capability.as_deref()),
                package: row.package,
                versions,
                cuda,
                source_build: row.source_build,
                pinned_by_torch: row.pinned_by_torch,
                refuses_torch: row.refuses_torch,
                note: row.note,
                evidence,
            };
            put(&mut self.matrix.companion_rules, rule, |r| {
                (r.package.clone(), r.versions.clone())
            });
        }
        for row in raw.messages {
            self.message(row);
        }
        for row in raw.pages {
            self.page(row);
        }
        for row in raw.listed_by_package {
            let evidence = self.evidence(row.source);
            let columns = vec![
                ("listed_in".into(), row.listed_in.join(" ")),
                ("dropped_to".into(), row.dropped_to.unwrap_or_default()),
            ];
            self.archive("listed_by_package", &row.name, columns, evidence);
        }
        for row in raw.cudnn_documented {
            let evidence = self.evidence(row.source);
            let map = |m: &BTreeMap<String, String>| {
                m.iter().map(|(k, v)| format!("{k}: {v}")).collect::<Vec<_>>().join(", ")
            };
            let columns = vec![
                ("cuda".into(), row.cuda.join(" ")),
                ("driver".into(), map(&row.driver)),
                ("min".into(), map(&row.min)),
                ("max".into(), row.max.unwrap_or_default()),
                ("deprecated".into(), row.deprecated.join(" ")),
            ];
            self.archive("cudnn_documented", &row.cudnn, columns, evidence);
        }
        for row in raw.pytorch_images {
            let evidence = self.evidence(row.source);
            let columns = vec![
                ("cuda".into(), row.cuda.join(" ")),
                ("cudnn".into(), row.cudnn.to_string()),
                ("note".into(), row.note.unwrap_or_default()),
            ];
            self.archive("pytorch_images", &row.torch, columns, evidence);
        }
        for row in raw.notes {
            self.row = format!("notes {}", row.topic);
            let evidence = self.evidence(row.source);
            self.archive("notes", &row.topic, vec![("text".into(), row.text)], evidence);
        }
    }

    fn archive(
        &mut self,
        table: &str,
        key: &str,
        mut columns: Vec<(String, String)>,
        evidence: Vec<Evidence>,
    ) {
        columns.retain(|(_, value)| !value.is_empty());
        self.matrix.archive.push(Archived {
            table: table.into(),
            key: key.into(),
            columns,
            evidence,
        });
    }
}

/// Further columns, those that are filled.
pub(super) fn more<const N: usize>(columns: [(&str, Option<String>); N]) -> More {
    columns.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?))).collect()
}

/// A word for a flag that is set.
pub(super) fn flag(set: bool) -> Option<String> {
    set.then(|| "true".to_owned())
}

/// A list as one text, when it holds something.
pub(super) fn listed(items: &[String]) -> Option<String> {
    (!items.is_empty()).then(|| items.join(" "))
}

/// Adds a row, in place of the one with the same key if there is one.
pub(super) fn put<T, K: PartialEq>(table: &mut Vec<T>, row: T, key: impl Fn(&T) -> K) {
    match table.iter_mut().find(|old| key(old) == key(&row)) {
        Some(old) => *old = row,
        None => table.push(row),
    }
}
