//! The search: one torch release for all targets, the best build for each.
//!
//! The dimensions are few, so it enumerates in order of preference. A build is first asked the
//! cheap questions of `physics`; what is left is judged like a `check`, so that an answer of
//! `resolve` is always one that `check` accepts.

use std::cmp::Reverse;

use pep440_rs::{Version, VersionSpecifier};

use super::base;
use super::case::Case;
use super::companion::{self, OF_PYTORCH};
use super::judge::{Judgement, Wheel, judge};
use super::physics::{self, DriverFit, Served};
use super::problem::{Kept, Pool, Problem};
use super::stack::{Pin, PinIndex, Resolution, Stack};
use crate::domain::{
    Code, Finding, KernelModule, Order as _, Package, Platform, PythonTag, PythonVersion, Severity,
    WheelVariant,
};
use crate::matrix::{Matrix, Release, Variant};
use crate::requirements::{Need, Prefer, PythonWish};

/// Solves for all targets at once, without alternatives. `None`: nothing fits.
pub fn solve(problem: &Problem, matrix: &Matrix) -> Option<Resolution> {
    let search = Search { problem, matrix };
    let order = search.releases();
    let kept = problem.targets.iter().filter_map(|pool| pool.kept.as_ref());
    for kept in kept {
        let release = order.iter().find(|release| release.version == kept.torch);
        if let Some(found) = release.and_then(|release| search.all(release)) {
            return Some(found);
        }
    }
    match problem.prefer {
        Prefer::Newest | Prefer::Stable => {
            order.into_iter().find_map(|release| search.all(release))
        }
        Prefer::OldestDriver => {
            order.into_iter().filter_map(|release| search.all(release)).min_by_key(|r| {
                (
                    r.stacks.iter().filter_map(|s| s.driver.min).max(),
                    Reverse(r.stacks.first().map(|s| s.torch)),
                )
            })
        }
        Prefer::Smallest => {
            order.into_iter().filter_map(|release| search.all(release)).min_by_key(|r| {
                let codes =
                    r.stacks.iter().fold(0usize, |n, s| n.saturating_add(search.code_count(s)));
                (codes, Reverse(r.stacks.first().map(|s| s.torch)))
            })
        }
    }
}

/// The stack of one target with exactly this build, if it works.
pub fn solve_exactly(
    problem: &Problem,
    matrix: &Matrix,
    pool: &Pool,
    release: &Release,
    variant: WheelVariant,
) -> Option<Stack> {
    let search = Search { problem, matrix };
    let variant = release.variant(variant)?;
    search.admits(variant).then(|| search.build(pool, release, variant))?.ok()
}

/// Why a build is no answer: the findings of its judgement that stand against it.
pub fn objections(problem: &Problem, matrix: &Matrix, pool: &Pool) -> Vec<(String, Vec<Finding>)> {
    let search = Search { problem, matrix };
    let mut all = Vec::new();
    for release in search.releases() {
        for variant in search.ranked(pool, release) {
            if let Err(findings) = search.build(pool, release, variant) {
                all.push((format!("{}+{}", release.version, variant.name), findings));
            }
        }
    }
    all
}

struct Search<'p, 'm> {
    problem: &'p Problem,
    matrix: &'m Matrix,
}

/// Smaller is better.
type Rank = (bool, bool, bool, u8, bool, Reverse<Option<crate::domain::CudaVersion>>);

impl<'m> Search<'_, 'm> {
    /// Releases that the wish admits, best first.
    fn releases(&self) -> Vec<&'m Release> {
        let newest_line = self.matrix.releases.last().map(|r| r.version.line());
        let wanted = |r: &&Release| {
            self.problem
                .torch
                .as_ref()
                .is_none_or(|wish| wish.versions.contains(&r.version.pep440()))
        };
        let mut list: Vec<_> = self.matrix.releases.iter().filter(wanted).collect();
        let young = |r: &Release| {
            self.problem.prefer == Prefer::Stable && Some(r.version.line()) == newest_line
        };
        list.order_by_key(|r| (young(r), Reverse(r.version)));
        list
    }

    fn admits(&self, variant: &Variant) -> bool {
        let Some(cuda) = variant.cuda else {
            return false;
        };
        let problem = self.problem;
        problem.cuda.as_ref().is_none_or(|wish| wish.admits(cuda))
            && problem.torch.as_ref().and_then(|t| t.variant).is_none_or(|v| v == variant.name)
            && (variant.official || problem.allow.unofficial)
    }

    /// All targets on one release.
    fn all(&self, release: &'m Release) -> Option<Resolution> {
        let stacks = self
            .problem
            .targets
            .iter()
            .map(|pool| {
                let mut list = self.ranked(pool, release);
                match self.problem.prefer {
                    Prefer::OldestDriver => list.order_by_key(|v| {
                        v.cuda.and_then(|c| {
                            physics::driver_floor(self.matrix, c, pool.platform(), false)
                        })
                    }),
                    Prefer::Smallest => list.order_by_key(|v| codes(v, pool.platform())),
                    Prefer::Newest | Prefer::Stable => (),
                }
                if let Some(kept) = kept(pool, release) {
                    list.order_by_key(|v| v.name != kept.variant);
                }
                list.into_iter().find_map(|variant| self.build(pool, release, variant).ok())
            })
            .collect::<Option<Vec<_>>>()?;
        Some(Resolution { stacks, left_out: Vec::new() })
    }

    fn code_count(&self, stack: &Stack) -> usize {
        let variant = self.matrix.release(stack.torch).and_then(|r| r.variant(stack.variant));
        variant.map_or(usize::MAX, |v| codes(v, stack.platform))
    }

    /// Builds for a target, best first, those left out that physics already refuses.
    fn ranked(&self, pool: &Pool, release: &'m Release) -> Vec<&'m Variant> {
        let platform = pool.platform();
        let mut list: Vec<(Rank, &Variant)> = release
            .variants
            .iter()
            .filter(|v| self.admits(v))
            .filter_map(|v| {
                let (cuda, build) = (v.cuda?, v.build(platform)?);
                let compiler = self.matrix.compiler(cuda);
                let served = pool
                    .gpus
                    .iter()
                    .map(|g| physics::served(self.matrix, &build.code, compiler, g.capability));
                let by_ptx = served.into_iter().any(|s| matches!(s, Served::Ptx(_)));
                let fit = pool
                    .driver
                    .as_ref()
                    .and_then(|d| d.oldest)
                    .map(|d| physics::driver_fit(self.matrix, cuda, d, platform));
                let mode = match fit {
                    None | Some(DriverFit::Native) => 0,
                    Some(DriverFit::MinorCompat) => 1,
                    Some(DriverFit::TooOld | DriverFit::Unknown) => 2,
                };
                let on_pypi = release.pypi.get(&platform) == Some(&v.name);
                // A build whose pins nobody has seen may not even exist.
                let unseen = v.requires.is_none() && !v.bundled;
                Some(((by_ptx, !v.official, unseen, mode, !on_pypi, Reverse(v.cuda)), v))
            })
            .collect();
        list.order_by_key(|(rank, _)| *rank);
        list.into_iter().map(|(_, v)| v).collect()
    }

    /// The cheap questions, whose answers need no Python and no companions.
    fn hopeless(&self, pool: &Pool, variant: &Variant) -> bool {
        let platform = pool.platform();
        let (Some(cuda), Some(build)) = (variant.cuda, variant.build(platform)) else {
            return true;
        };
        let compiler = self.matrix.compiler(cuda);
        let oldest = pool.driver.as_ref().and_then(|d| d.oldest);
        let old = oldest.is_some_and(|d| {
            physics::driver_fit(self.matrix, cuda, d, platform) == DriverFit::TooOld
        });
        (old && !self.problem.allow.forward_compat)
            || pool.gpus.iter().any(|gpu| {
                let served = physics::served(self.matrix, &build.code, compiler, gpu.capability);
                matches!(served, Served::Nothing | Served::Unknown)
                    || (matches!(served, Served::Ptx(_)) && !self.problem.allow.ptx)
            })
    }

    /// The stack that a build makes, or what stands against it.
    fn build(
        &self,
        pool: &Pool,
        release: &'m Release,
        variant: &'m Variant,
    ) -> Result<Stack, Vec<Finding>> {
        let platform = pool.platform();
        let mut pythons = self.pythons(pool, release);
        if let Some(kept) = kept(pool, release) {
            pythons.order_by_key(|python| *python != kept.python);
        }
        let Some(wheel) = Wheel::find(release, variant.name, platform) else {
            return Err(Vec::new());
        };
        let first = pythons.first().copied();
        let mut refused = Vec::new();
        for python in pythons.into_iter().map(Some).chain(first.is_none().then_some(None)) {
            let (mut case, mut pins, mut from_pypi) = self.case(pool, wheel, python, true);
            let mut judgement = judge(&case, self.matrix);
            let mut against = self.against(pool, &judgement);
            if !against.is_empty() && kept(pool, release).is_some() {
                // A package that was kept may be what no longer fits.
                (case, pins, from_pypi) = self.case(pool, wheel, python, false);
                judgement = judge(&case, self.matrix);
                against = self.against(pool, &judgement);
            }
            let Some(python) = python else {
                against.extend(self.no_python(pool, release));
                return Err(against);
            };
            if against.is_empty() {
                return Ok(self.stack(pool, wheel, python, pins, from_pypi, judgement));
            }
            let python_helps = against.iter().all(|f| f.code == Code::PythonUnsupported);
            if refused.is_empty() {
                refused = against;
            }
            if !python_helps || self.hopeless(pool, variant) {
                break;
            }
        }
        Err(refused)
    }

    fn no_python(&self, pool: &Pool, release: &Release) -> Option<Finding> {
        let wish = self.problem.python.as_ref()?;
        let tags: Vec<_> = release
            .wheels
            .iter()
            .filter(|w| w.platform == Some(pool.platform()))
            .flat_map(|w| &w.python)
            .map(ToString::to_string)
            .collect();
        Some(
            Finding::new(
                Code::PythonUnsupported,
                Severity::Error,
                format!(
                    "torch {} has no file for Python {wish} on {}",
                    release.version,
                    pool.platform()
                ),
            )
            .fact(format!("its files are for {}", tags.join(", ")), super::judge::row_of(release)),
        )
    }

    /// Findings that forbid a build here: errors, unknowns, and what was not allowed.
    fn against(&self, pool: &Pool, judgement: &Judgement<'_>) -> Vec<Finding> {
        let mut against: Vec<_> = judgement
            .findings
            .iter()
            .filter(|f| f.severity <= Severity::Unknown)
            .cloned()
            .collect();
        let needs_both = |module| pool.gpus.iter().any(|g| g.module == Some(module));
        if pool.module.is_none()
            && needs_both(KernelModule::Open)
            && needs_both(KernelModule::Proprietary)
        {
            // `check` only warns, since its cards may stand in different machines; a target is one pool.
            against.extend(
                judgement
                    .findings
                    .iter()
                    .filter(|f| f.code == Code::KernelModuleMismatch)
                    .cloned()
                    .map(|f| Finding { severity: Severity::Error, ..f }),
            );
        }
        if !self.problem.allow.ptx {
            let by_ptx = judgement.findings.iter().filter(|f| f.code == Code::OkViaPtxJit);
            against.extend(by_ptx.cloned().map(|f| Finding {
                code: Code::ArchNotInBinary,
                severity: Severity::Error,
                message: format!("{}; `allow: [ptx]` is not given", f.message),
                help: vec!["allow: [ptx] accepts this".into()],
                ..f
            }));
        }
        if self.problem.needs.contains(&Need::Fp8) {
            against.extend(
                pool.gpus.iter().filter(|g| (g.capability.major, g.capability.minor) < (8, 9)).map(
                    |g| {
                        Finding::new(
                            Code::ArchNotInBinary,
                            Severity::Error,
                            format!(
                                "fp8 needs compute capability 8.9 or newer, {} has {}",
                                g.name, g.capability
                            ),
                        )
                        .fact(
                            "8-bit floating point came with Ada and Hopper",
                            "document: CUDA C++ Programming Guide",
                        )
                        .help("drop `fp8` from needs, or this card")
                    },
                ),
            );
        }
        against
    }

    /// Pythons to try, best first.
    fn pythons(&self, pool: &Pool, release: &Release) -> Vec<PythonVersion> {
        if let Some(PythonWish::Exact(exact)) = &self.problem.python {
            let fits = release.wheels.iter().any(|w| {
                w.platform == Some(pool.platform()) && w.python.iter().any(|t| t.admits(*exact))
            });
            return if fits { vec![*exact] } else { Vec::new() };
        }
        let mut list: Vec<_> = release
            .wheels
            .iter()
            .filter(|w| w.platform == Some(pool.platform()))
            .flat_map(|w| &w.python)
            .filter_map(|tag| match tag {
                PythonTag::CPython { minor, free_threaded: false } => {
                    Some(PythonVersion::new(*minor))
                }
                _ => None,
            })
            .filter(|p| self.problem.python.as_ref().is_none_or(|wish| wish.admits(*p)))
            .collect();
        // A Python without a released image is only taken when nothing else is left.
        list.order_by_key(|p| (base::python_image(self.matrix, *p).is_none(), Reverse(*p)));
        list.dedup();
        list
    }

    /// The combination that would be installed.
    fn case(
        &self,
        pool: &Pool,
        wheel: Wheel<'m>,
        python: Option<PythonVersion>,
        keep: bool,
    ) -> (Case, Vec<Pin>, bool) {
        let mut from_pypi = wheel.on_pypi;
        // vision and audio of PyPI are built with the CUDA of their own day: when it does not go with
        // torch's, all of them come from torch's page of the PyTorch wheel index.
        for package in self.problem.with.iter().filter(|p| OF_PYTORCH.contains(&p.name.as_str())) {
            from_pypi &= package.local.is_none()
                && companion::pypi_build_fits(self.matrix, package, wheel, pool.platform());
        }
        let label = if from_pypi { None } else { Some(wheel.variant.name.to_string()) };
        let mut pins = Vec::new();
        let mut with = Vec::new();
        for package in &self.problem.with {
            // Of packages without rows nothing is known but what was asked for: the index decides.
            let known = !self.matrix.companions(&package.name).is_empty();
            let kept = kept(pool, wheel.release)
                .filter(|_| keep && known)
                .and_then(|kept| kept.packages.get(&package.name)?.parse::<Version>().ok())
                .filter(|version| package.admits(version))
                .map(|version| Package {
                    versions: VersionSpecifier::equals_version(version).into(),
                    ..package.clone()
                });
            let package = kept.as_ref().unwrap_or(package);
            let (pin, case) = self.companion(package, wheel, label.as_deref());
            pins.push(pin);
            with.push(case);
        }
        let version = wheel.release.version;
        let torch = match &label {
            Some(label) => format!("{version}+{label}"),
            None => version.to_string(),
        };
        let case = Case {
            torch: torch.parse().ok(),
            gpus: pool.gpus.clone(),
            driver: pool.driver.clone(),
            python,
            libc: pool.libc.clone(),
            platform: Some(pool.platform()),
            with,
            module: pool.module,
            allow_forward_compat: self.problem.allow.forward_compat,
            compiles: self.problem.needs.contains(&Need::Compile),
            // What is compiled is compiled in an image of the very CUDA: the cards are judged by it.
            nvcc: wheel.cuda().filter(|_| {
                let needs = [Need::Nvcc, Need::NvccRuntime];
                needs.iter().any(|need| self.problem.needs.contains(need))
                    || pins.iter().any(|p| p.source_build)
            }),
            ..Case::default()
        };
        (case, pins, from_pypi)
    }

    fn companion(
        &self,
        package: &Package,
        wheel: Wheel<'m>,
        label: Option<&str>,
    ) -> (Pin, Package) {
        let torch = wheel.release.version.pep440();
        let narrowed = companion::narrowed(self.matrix, package, &torch);
        let package = narrowed.as_ref().unwrap_or(package);
        let row = companion::pick(self.matrix, package, Some(wheel));
        let of_pytorch = OF_PYTORCH.contains(&package.name.as_str());
        let local = package
            .local
            .clone()
            .or_else(|| of_pytorch.then_some(label).flatten().map(str::to_owned));
        let version = row
            .map(|r| r.version.clone())
            .or_else(|| package.exact().map(|v| v.clone().without_local().to_string()));
        let rules = self.matrix.companion_rules(
            &package.name,
            version.as_deref().and_then(|v| v.parse().ok()).as_ref(),
        );
        let from_index = of_pytorch && local.is_some();
        let pin = Pin {
            name: package.name.clone(),
            extras: package.extras.iter().cloned().collect(),
            specifier: (version.is_none() && !package.versions.is_empty())
                .then(|| package.versions.to_string()),
            index: if from_index { PinIndex::Pytorch(wheel.variant.name) } else { PinIndex::Pypi },
            source_build: row.is_some_and(|r| r.sdist_only) || rules.iter().any(|r| r.source_build),
            requested: true,
            version: version.clone(),
            local: local.clone(),
        };
        let exact = version.map(|v| {
            let label = local.map_or(String::new(), |l| format!("+{l}"));
            format!("{}=={v}{label}", package.name)
        });
        let case = exact.and_then(|text| text.parse().ok()).unwrap_or_else(|| package.clone());
        (pin, case)
    }

    fn stack(
        &self,
        pool: &Pool,
        wheel: Wheel<'m>,
        python: PythonVersion,
        companions: Vec<Pin>,
        from_pypi: bool,
        judgement: Judgement<'m>,
    ) -> Stack {
        let (release, variant) = (wheel.release, wheel.variant);
        let index = if from_pypi { PinIndex::Pypi } else { PinIndex::Pytorch(variant.name) };
        let platform = pool.platform();
        let triton = companion::pinned_triton(self.matrix, wheel)
            .filter(|t| companion::has_file(t, platform, Some(python)))
            .map(|t| t.version.clone());
        let pins_hold = pins_hold(release, platform);
        let extras = self.problem.torch.iter().flat_map(|wish| wish.extras.iter().cloned());
        let mut packages = vec![Pin {
            name: "torch".into(),
            extras: extras.collect(),
            version: Some(release.version.to_string()),
            specifier: None,
            local: (!from_pypi).then(|| variant.name.to_string()),
            index,
            requested: true,
            source_build: false,
        }];
        packages.extend(companions);
        let linux = pool.platform().is_linux();
        for (name, specifier) in variant.requires.iter().flatten().filter(|_| linux && pins_hold) {
            packages.push(transitive(name, specifier, index));
        }
        if let (Some(version), true) = (&triton, linux) {
            packages
                .push(Pin { version: Some(version.clone()), ..transitive("triton", "", index) });
        }
        packages.order_by(|a, b| {
            (!a.requested, a.name != "torch", &a.name).cmp(&(
                !b.requested,
                b.name != "torch",
                &b.name,
            ))
        });
        packages.dedup_by(|b, a| a.name == b.name);
        let source_build = packages.iter().any(|p| p.source_build);
        let base = base::choose(
            self.matrix,
            &self.problem.needs,
            source_build,
            pool,
            python,
            wheel,
            judgement.driver.mode == Some(super::DriverMode::ForwardCompat),
        );
        let findings = judgement
            .findings
            .into_iter()
            .filter(|f| f.severity > Severity::Unknown)
            .chain(self.end_of_life(pool))
            .collect();
        Stack {
            target: pool.name.clone(),
            platform: pool.platform(),
            python,
            torch: release.version,
            variant: variant.name,
            from_pypi,
            cuda: wheel.cuda().unwrap_or(crate::domain::CudaVersion::new(0, 0)),
            toolkit: variant.toolkit,
            cudnn: variant.cudnn,
            nccl: variant.nccl.clone(),
            triton,
            packages,
            pins_unknown: linux && !variant.bundled && (variant.requires.is_none() || !pins_hold),
            driver: judgement.driver,
            driver_given: pool.driver.as_ref().map(|d| d.spec.to_string()),
            gpus: judgement.gpus,
            glibc_min: wheel.build.and_then(|b| b.glibc),
            glibc: base::glibc(self.matrix, &base.tag)
                .into_iter()
                .chain(pool.libc.as_ref().and_then(|libc| libc.glibc))
                .min()
                .filter(|_| linux),
            base,
            findings,
            alternatives: Vec::new(),
        }
    }

    /// Notes on what ends: the driver branch, and the last release for a card.
    fn end_of_life(&self, pool: &Pool) -> Vec<Finding> {
        let mut notes = Vec::new();
        if let Some(driver) = pool.driver.as_ref() {
            if let Some(note) = &driver.note {
                notes.push(Finding::new(Code::Ok, Severity::Note, note.clone()));
            }
            let located = driver.oldest.and_then(|d| self.matrix.locate(d));
            if let Some(eol) = located.and_then(|at| at.branch.eol.clone())
                && let Some(at) = located
                && eol.as_str() < self.matrix.date.as_str()
                && eol.starts_with("20")
            {
                notes.push(
                    Finding::new(
                        Code::Ok,
                        Severity::Warning,
                        format!(
                            "driver branch {} has had no updates since {eol}",
                            at.branch.branch
                        ),
                    )
                    .fact(
                        format!("branch {}: end of life {eol}", at.branch.branch),
                        self.matrix.cite_best(&at.branch.evidence),
                    ),
                );
            }
        }
        let platform = pool.platform();
        for gpu in &pool.gpus {
            let serves = |r: &&Release| {
                r.variants.iter().filter(|v| v.official).any(|v| {
                    v.build(platform).is_some_and(|b| {
                        physics::served(self.matrix, &b.code, None, gpu.capability)
                            .by_machine_code()
                    })
                })
            };
            let last = self.matrix.releases.iter().rev().find(serves).map(|r| r.version);
            let newest = self.matrix.releases.last().map(|r| r.version);
            if let Some(last) = last
                && Some(last) != newest
            {
                notes.push(Finding::new(
                    Code::ArchNotInBinary,
                    Severity::Note,
                    format!(
                        "torch {last} is the last release with code for {} (compute capability {})",
                        gpu.name, gpu.capability
                    ),
                ));
            }
        }
        notes
    }
}

/// What is kept of a pool on this release.
fn kept<'p>(pool: &'p Pool, release: &Release) -> Option<&'p Kept> {
    pool.kept.as_ref().filter(|kept| kept.torch == release.version)
}

/// Whether the pins of a release's metadata hold on a platform: up to 2.10 they carry a marker for
/// x86-64, and nobody has read the metadata of the Arm builds.
fn pins_hold(release: &Release, platform: Platform) -> bool {
    let x86_only = |v: &Variant| v.more.get("markers").is_some_and(|m| m.contains("x86_64"));
    platform != Platform::LinuxArm64 || !release.variants.iter().any(x86_only)
}

/// For how many capabilities a build carries machine code; many when nobody knows.
fn codes(variant: &Variant, platform: Platform) -> usize {
    variant.build(platform).and_then(|b| b.code.sass.as_ref()).map_or(usize::MAX, Vec::len)
}

fn transitive(name: &str, specifier: &str, index: PinIndex) -> Pin {
    let (name, extras) = match name.split_once('[') {
        Some((name, extras)) => {
            (name, extras.trim_end_matches(']').split(',').map(|e| e.trim().to_owned()).collect())
        }
        None => (name, Vec::new()),
    };
    let exact = specifier.strip_prefix("==").filter(|v| !v.contains([',', '*']));
    Pin {
        name: crate::domain::normalise_name(name),
        extras,
        version: exact.map(str::to_owned),
        specifier: (exact.is_none() && !specifier.is_empty()).then(|| specifier.to_owned()),
        local: None,
        index,
        requested: false,
        source_build: false,
    }
}
