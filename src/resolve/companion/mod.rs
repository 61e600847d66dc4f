//! Packages that live on torch: release train, CUDA build, C++ ABI, code of their own.

mod build;

use std::str::FromStr;

use pep440_rs::{Version, VersionSpecifier, VersionSpecifiers};
use version_ranges::Ranges;

use super::case::{Case, Index};
use super::judge::{DriverMode, Wheel};
use crate::domain::{
    Code, Finding, Package, Platform, PythonTag, PythonVersion, Severity, WheelVariant,
};
use crate::matrix::{Companion, CompanionRule, CudaRule, Matrix};

/// Packages of the PyTorch wheel index: built once per CUDA build, like torch itself.
pub const OF_PYTORCH: &[&str] = &["torchvision", "torchaudio"];

/// Findings about all companions.
pub fn judge(
    case: &Case,
    matrix: &Matrix,
    wheel: Option<Wheel<'_>>,
    platform: Platform,
    mode: Option<DriverMode>,
) -> Vec<Finding> {
    let mut findings = Vec::new();
    for package in &case.with {
        Bench { case, matrix, wheel, platform, mode, package, findings: &mut findings }.judge();
    }
    if case.compiles
        && !case.with.iter().any(|p| p.name == "triton")
        && let Some(wheel) = wheel
    {
        match pinned_triton(matrix, wheel) {
            Some(triton) if has_file(triton, platform, case.python) => {
                ptxas(case, triton, matrix, &mut findings);
            }
            triton => findings.push(no_triton(matrix, wheel, platform, triton)),
        }
    }
    findings
}

/// The newest Triton that torch's metadata admits.
pub fn pinned_triton<'m>(matrix: &'m Matrix, wheel: Wheel<'_>) -> Option<&'m Companion> {
    let pin: VersionSpecifiers = wheel.variant.triton.as_deref()?.parse().ok()?;
    matrix
        .companions("triton")
        .iter()
        .rev()
        .find(|c| c.version.parse().is_ok_and(|v: Version| pin.contains(&v)))
}

/// Whether PyPI has a file of a package for this platform and Python.
pub fn has_file(row: &Companion, platform: Platform, python: Option<PythonVersion>) -> bool {
    row.wheels
        .iter()
        .filter(|w| w.platform.is_none_or(|p| p == platform))
        .any(|w| python.is_none_or(|python| w.python.iter().any(|tag| tag.admits(python))))
}

fn no_triton(
    matrix: &Matrix,
    wheel: Wheel<'_>,
    platform: Platform,
    triton: Option<&Companion>,
) -> Finding {
    let version = triton.map_or("Triton".into(), |t| format!("Triton {}", t.version));
    let source = triton
        .map_or_else(|| super::judge::row_of(wheel.release), |t| matrix.cite_best(&t.evidence));
    let message = format!(
        "torch.compile of torch {} needs {version}, which has no file for {platform} and this Python",
        wheel.release.version
    );
    Finding::new(Code::NoSuchWheel, Severity::Error, message)
        .fact("Triton has files for linux/amd64 since 2.0, for linux/arm64 since 3.5.0", source)
        .help("take a newer torch, or do without torch.compile")
}

/// Triton compiles with a ptxas of its own, which must know the very card.
fn ptxas(case: &Case, triton: &Companion, matrix: &Matrix, findings: &mut Vec<Finding>) {
    for rule in
        matrix.companion_rules.iter().filter(|r| case.compiles && r.package == "torch.compile")
    {
        for gpu in &case.gpus {
            if let Some(min) = rule.min_capability.filter(|min| gpu.capability < *min) {
                let message = format!(
                    "torch.compile needs compute capability {min} or newer, {} has {}",
                    gpu.name, gpu.capability
                );
                findings.push(
                    Finding::new(Code::CompanionMismatch, Severity::Error, message)
                        .fact(
                            rule.note.clone().unwrap_or_default(),
                            matrix.cite_best(&rule.evidence),
                        )
                        .help("do without torch.compile on this card"),
                );
            }
        }
    }
    let overridden = case.env.iter().any(|(k, _)| k.starts_with("TRITON_PTXAS"));
    if triton.ptxas.is_empty() || overridden {
        return;
    }
    for gpu in &case.gpus {
        if triton.ptxas.iter().any(|p| p.targets.iter().any(|t| t.capability == gpu.capability)) {
            continue;
        }
        let programs: Vec<_> = triton.ptxas.iter().map(|p| format!("CUDA {}", p.cuda)).collect();
        findings.push(
            Finding::new(Code::ToolkitMismatch, Severity::Error, format!(
                "torch.compile on {} needs a ptxas that knows compute capability {}; Triton {} brings that of {}",
                gpu.name, gpu.capability, triton.version, programs.join(" and ")
            ))
            .fact(format!("Triton {} passes the card's own capability to its ptxas", triton.version), matrix.cite_best(&triton.evidence))
            .help("point TRITON_PTXAS_PATH to the ptxas of a newer toolkit, or take a newer torch"),
        );
    }
}

/// Whether the matrix has rows about a package.
pub fn is_known(matrix: &Matrix, package: &str) -> bool {
    package == "torch"
        || !matrix.companions(package).is_empty()
        || matrix.companion_rules.iter().any(|r| r.package == package)
}

struct Bench<'a, 'm> {
    case: &'a Case,
    matrix: &'m Matrix,
    wheel: Option<Wheel<'a>>,
    platform: Platform,
    mode: Option<DriverMode>,
    package: &'a Package,
    findings: &'a mut Vec<Finding>,
}

impl<'m> Bench<'_, 'm> {
    fn add(&mut self, finding: Finding) {
        self.findings.push(finding);
    }

    fn judge(&mut self) {
        let name = self.package.name.clone();
        if name == "torch" {
            if let (Some(wheel), Some(exact)) = (self.wheel, self.package.exact())
                && exact.clone().without_local() != wheel.release.version.pep440()
            {
                let message = format!("torch {exact} is asked for beside torch {}", wheel.name());
                self.add(Finding::new(Code::CompanionMismatch, Severity::Error, message));
            }
            return;
        }
        self.reach();
        self.pinned();
        let known = is_known(self.matrix, &name);
        if !known {
            self.add(Finding::new(
                Code::Ok,
                Severity::Note,
                format!("{name}: the matrix has no rows for it, so it was not judged"),
            ));
            return;
        }
        let row = self.row();
        let exact = self.package.exact().cloned();
        // Without a row, the lowest version that a range names stands for it.
        let lower = |s: &&pep440_rs::VersionSpecifier| {
            use pep440_rs::Operator as Op;
            matches!(
                s.operator(),
                Op::GreaterThanEqual | Op::GreaterThan | Op::TildeEqual | Op::EqualStar
            )
        };
        let named =
            || self.package.versions.iter().filter(lower).map(|s| s.version().clone()).min();
        let version = row.map_or_else(|| exact.clone().or_else(named), |r| r.version.parse().ok());
        let rules = self.matrix.companion_rules(&name, version.as_ref());
        self.train(row, exact.as_ref());
        if let Some(row) = row {
            self.requires(row);
            self.file(row);
            self.cuda(row, &rules);
            self.code(row);
            self.libraries(row, &rules);
            if name == "triton" && self.case.compiles {
                ptxas(self.case, row, self.matrix, self.findings);
            } else if name == "triton" {
                self.ptxas_known(row);
            }
        } else {
            self.label_cuda(&rules);
        }
        self.label_of_wheel();
        self.rules(&rules);
        self.refused();
    }

    fn ptxas_known(&mut self, row: &Companion) {
        ptxas(self.case, row, self.matrix, self.findings);
    }

    /// The row that the request picks: the exact one, or of several that belonging to torch, or the newest.
    fn row(&self) -> Option<&'m Companion> {
        pick(self.matrix, self.package, self.wheel)
    }

    /// vision, audio and xformers belong to a release; Triton is pinned by torch itself.
    fn train(&mut self, row: Option<&Companion>, exact: Option<&Version>) {
        let Some(wheel) = self.wheel else { return };
        let name = &self.package.name;
        let torch = wheel.release.version;
        if name == "triton" {
            let Some(pin) =
                wheel.variant.triton.as_deref().and_then(|t| VersionSpecifiers::from_str(t).ok())
            else {
                return;
            };
            let both = self.matrix.companions("triton").iter().any(|c| {
                c.version
                    .parse()
                    .is_ok_and(|v: Version| pin.contains(&v) && self.package.admits(&v))
            });
            let exact_fits = exact.is_some_and(|e| pin.contains(&e.clone().without_local()));
            if !both && !exact_fits {
                let asked = &self.package.given;
                let message =
                    format!("torch {} asks for triton{pin}, not for {asked}", wheel.name());
                let finding = Finding::new(Code::CompanionMismatch, Severity::Error, message)
                    .fact(
                        format!("triton{pin} stands in its metadata"),
                        self.matrix.cite_best(&wheel.variant.evidence),
                    )
                    .help(format!("take triton{pin}"));
                self.add(finding);
            }
            return;
        }
        let Some(train) = wheel.release.train.get(name) else {
            // A label such as `cu12torch2.6cxx11abiFALSE` says by itself what a row would say.
            let told = self.package.local.as_deref().is_some_and(|l| l.contains("torch"));
            if row.is_none()
                && !told
                && let Some(exact) = exact
                && !self.matrix.companions(name).is_empty()
            {
                self.no_row(exact);
            }
            return;
        };
        // What its own metadata pins counts before the list of what belongs together.
        let own = row.and_then(|r| r.requires.get("torch"));
        let own = own.and_then(|s| s.split(['+', ';']).next()).map(str::trim);
        let own = own.filter(|s| s.starts_with("==")).map(VersionSpecifiers::from_str);
        if exact.is_some()
            && matches!(own, Some(Ok(spec)) if spec.contains(&wheel.release.version.pep440()))
        {
            return;
        }
        let all: Vec<&String> = train.exact.iter().chain(&train.open).collect();
        let belongs = all.iter().any(|v| v.parse().is_ok_and(|v: Version| self.package.admits(&v)));
        if belongs {
            return;
        }
        if row.is_none()
            && let Some(exact) = exact
            && let Some(newest) = self.matrix.companions(name).last()
            && newest.version.parse().is_ok_and(|v: Version| v < exact.clone().without_local())
        {
            self.no_row(exact);
            return;
        }
        let list = all.iter().map(|v| v.as_str()).collect::<Vec<_>>().join(", ");
        let asked = self.package.given.clone();
        let mut finding = Finding::new(
            Code::CompanionMismatch,
            Severity::Error,
            format!("{asked} does not belong to torch {torch}"),
        );
        finding = if list.is_empty() {
            finding.fact(
                format!("no {name} known was made for torch {torch}"),
                self.matrix.cite_best(&wheel.release.evidence),
            )
        } else {
            finding.fact(
                format!("{name} for torch {torch}: {list}"),
                self.matrix.cite_best(&wheel.release.evidence),
            )
        };
        if let Some(needs) = row.and_then(|r| r.requires.get("torch"))
            && let Some(row) = row
        {
            finding = finding.fact(
                format!("{name} {} asks for torch{needs}", row.version),
                self.matrix.cite_best(&row.evidence),
            );
        }
        if let Some(best) = all.last() {
            finding = finding.help(format!("take {name}=={best}"));
        }
        self.add(finding);
    }

    fn no_row(&mut self, version: &Version) {
        let name = &self.package.name;
        let finding = Finding::new(
            Code::Unknown,
            Severity::Unknown,
            format!("the matrix does not know {name} {version}"),
        );
        self.add(finding);
    }

    /// Requirements in its metadata: on torch, and on other packages of the same request.
    fn requires(&mut self, row: &Companion) {
        let name = self.package.name.clone();
        let in_train = self.wheel.is_some_and(|w| w.release.train.contains_key(&name));
        if let (Some(wheel), Some(spec)) = (self.wheel, row.requires.get("torch"))
            && !in_train
        {
            self.against_torch(row, wheel, spec);
        }
        if let (Some(wheel), Some(line)) = (self.wheel, row.documented_torch.as_deref())
            && !row.requires.contains_key("torch")
        {
            let (major, minor) = wheel.release.version.line();
            let fits = match line.strip_prefix(">=") {
                Some(from) => {
                    Version::from_str(from).is_ok_and(|from| wheel.release.version.pep440() >= from)
                }
                None => line == format!("{major}.{minor}"),
            };
            if !fits {
                let finding = Finding::new(
                    Code::CompanionMismatch,
                    Severity::Error,
                    format!(
                        "{name} {} was made for torch {line}, not {}",
                        row.version, wheel.release.version
                    ),
                )
                .fact(
                    format!("{name} {}: torch {line}", row.version),
                    self.matrix.cite_best(&row.evidence),
                );
                self.add(finding);
            }
        }
        for other in &self.case.with {
            let (Some(spec), Some(exact)) = (row.requires.get(&other.name), other.exact()) else {
                continue;
            };
            let versions = spec.split(';').next().unwrap_or_default();
            if let Ok(spec) = VersionSpecifiers::from_str(versions)
                && !spec.contains(&exact.clone().without_local())
            {
                let finding = Finding::new(
                    Code::CompanionMismatch,
                    Severity::Error,
                    format!("{name} {} asks for {}{spec}, not {exact}", row.version, other.name),
                )
                .fact(
                    format!("{}{spec} stands in its metadata", other.name),
                    self.matrix.cite_best(&row.evidence),
                );
                self.findings.push(finding);
            }
        }
    }

    fn against_torch(&mut self, row: &Companion, wheel: Wheel<'_>, spec: &str) {
        let (versions, marker) = spec.split_once(';').map_or((spec, None), |(v, m)| (v, Some(m)));
        if marker.is_some_and(|m| m.contains("platform_machine != \"aarch64\""))
            && self.platform == Platform::LinuxArm64
        {
            return;
        }
        // A requirement with a label names the build too.
        let Ok(wanted) =
            VersionSpecifiers::from_str(versions.split('+').next().unwrap_or_default().trim())
        else {
            return;
        };
        if wanted.contains(&wheel.release.version.pep440()) {
            return;
        }
        let name = &self.package.name;
        let mut finding = Finding::new(
            Code::CompanionMismatch,
            Severity::Error,
            format!("{name} {} asks for torch{wanted}, not {}", row.version, wheel.release.version),
        )
        .fact(format!("torch{wanted} stands in its metadata"), self.matrix.cite_best(&row.evidence))
        .help(format!("take torch{wanted}"));
        let other = self.matrix.companions(name).iter().rev().find(|c| {
            c.requires.get("torch").is_some_and(|s| {
                VersionSpecifiers::from_str(s.split(['+', ';']).next().unwrap_or_default().trim())
                    .is_ok_and(|s| !s.is_empty() && s.contains(&wheel.release.version.pep440()))
            })
        });
        if let Some(other) = other {
            finding = finding.help(format!(
                "or {name}=={}, which was made for torch {}",
                other.version, wheel.release.version
            ));
        }
        self.add(finding);
    }

    /// What the package asks beyond its metadata.
    fn rules(&mut self, rules: &[&CompanionRule]) {
        let name = self.package.name.clone();
        for rule in rules {
            let source = self.matrix.cite_best(&rule.evidence);
            for gpu in &self.case.gpus {
                let low = rule.min_capability.filter(|min| gpu.capability < *min);
                let high = rule.max_capability.filter(|max| gpu.capability > *max);
                let Some(bound) = low
                    .map(|m| format!("{m} or newer"))
                    .or_else(|| high.map(|m| format!("{m} or older")))
                else {
                    continue;
                };
                let finding = Finding::new(
                    Code::CompanionMismatch,
                    Severity::Error,
                    format!(
                        "{} needs compute capability {bound}, {} has {}",
                        self.package.given, gpu.name, gpu.capability
                    ),
                )
                .fact(
                    rule.note.clone().unwrap_or_else(|| format!("{name}: capability {bound}")),
                    source.clone(),
                )
                .help(format!("do without {name} on this card"));
                self.findings.push(finding);
            }
            if rule.source_build && self.package.local.is_none() && self.case.nvcc.is_none() {
                let finding = Finding::new(
                    Code::Ok,
                    Severity::Note,
                    format!(
                        "{name} is compiled on installation: it needs nvcc of torch's CUDA major"
                    ),
                )
                .help("state the toolkit with --nvcc to have it judged");
                self.findings.push(finding);
            }
        }
    }

    /// Versions that some torch releases do not work with: all that the request admits, or some.
    fn refused(&mut self) {
        let Some(wheel) = self.wheel else { return };
        let torch = wheel.release.version;
        let specifiers = |text: &str| VersionSpecifiers::from_str(text).ok();
        for rule in self.matrix.companion_rules.iter().filter(|r| r.package == self.package.name) {
            let Some(refused) = rule.refuses_torch.as_deref().and_then(specifiers) else {
                continue;
            };
            let Some(versions) = specifiers(&rule.versions) else { continue };
            if !refused.contains(&torch.pep440()) {
                continue;
            }
            let bound = versions.iter().map(|s| s.version().clone()).min();
            let exact = self.package.exact().map(|v| versions.contains(&v.clone().without_local()));
            let admitted = bound.is_some_and(|v| self.package.versions.contains(&v));
            let (severity, code, how) = match exact {
                Some(true) => (Severity::Error, Code::CompanionMismatch, "does not work"),
                None if admitted => {
                    (Severity::Unknown, Code::Unknown, "may bring a version that does not work")
                }
                _ => continue,
            };
            let message = format!("{} {how} with torch {torch}", self.package.given);
            let fact = rule
                .note
                .clone()
                .unwrap_or_else(|| format!("{}{versions} refuses torch{refused}", rule.package));
            let finding = Finding::new(code, severity, message)
                .fact(fact, self.matrix.cite_best(&rule.evidence))
                .help(format!("ask for a {} outside of {versions}", rule.package));
            self.findings.push(finding);
        }
    }

    /// The package is one that torch's own metadata pins.
    fn pinned(&mut self) {
        let (Some(wheel), Some(exact)) = (self.wheel, self.package.exact()) else { return };
        let name = &self.package.name;
        let public = exact.clone().without_local();
        let pins = wheel.variant.requires.iter().flatten();
        let pin = pins
            .filter(|(n, _)| n == name)
            .find_map(|(_, spec)| VersionSpecifiers::from_str(spec).ok());
        let Some(pin) = pin else { return };
        if pin.contains(&public)
            || !matches!(wheel.variant.requires_status.as_deref(), Some("exact" | "document"))
        {
            return;
        }
        let code =
            if name.contains("cudnn") { Code::CudnnMismatch } else { Code::CompanionMismatch };
        let message = format!("torch {} asks for {name}{pin}, not {public}", wheel.name());
        let finding = Finding::new(code, Severity::Error, message)
            .fact(
                format!("{name}{pin} stands in its metadata"),
                self.matrix.cite_best(&wheel.variant.evidence),
            )
            .help(format!("leave {name} to torch's own requirement"));
        self.findings.push(finding);
    }

    /// A file named by its URL, or asked of an index that has no such file.
    fn reach(&mut self) {
        let name = self.package.name.clone();
        if let Some(tag) = &self.package.platform {
            let fits = tag == "any" || tag.split('.').any(|t| t.parse() == Ok(self.platform));
            if !fits {
                let message = format!("the file of {name} is for {tag}, not for {}", self.platform);
                self.findings.push(Finding::new(Code::NoSuchWheel, Severity::Error, message));
            }
        }
        if let (Some(tag), Some(python)) = (&self.package.python, self.case.python)
            && tag.parse::<PythonTag>().is_ok_and(|t| !t.admits(python))
        {
            let message = format!("the file of {name} is for {tag}, not for Python {python}");
            self.findings.push(Finding::new(Code::PythonUnsupported, Severity::Error, message));
        }
        let (Some(label), true) = (self.own_label(), self.package.platform.is_none()) else {
            return;
        };
        if !OF_PYTORCH.contains(&name.as_str()) {
            return;
        }
        let (there, where_) = match &self.case.index {
            Some(Index::Pypi) => (false, "PyPI".to_owned()),
            Some(Index::Variant(variant, url)) => (*variant == label, url.clone()),
            _ => return,
        };
        if !there {
            let message = format!("{} is not on {where_}", self.package.given);
            let finding = Finding::new(Code::MissingIndex, Severity::Error, message)
                .help(format!("name its own index: https://download.pytorch.org/whl/{label}"));
            self.findings.push(finding);
        }
    }
}

/// Whether PyPI's file of a package, where its build is known, goes with torch's CUDA.
pub fn pypi_build_fits(
    matrix: &Matrix,
    package: &Package,
    wheel: Wheel<'_>,
    platform: Platform,
) -> bool {
    let Some(row) = pick(matrix, package, Some(wheel)) else {
        return true;
    };
    let label = row
        .built_as
        .get(&platform)
        .and_then(|built| built.split_once('+'))
        .and_then(|(_, l)| l.parse::<WheelVariant>().ok());
    let (Some(label), Some(torch)) = (label, wheel.cuda()) else {
        return true;
    };
    let Some(cuda) = label.cuda() else {
        return false;
    };
    let version = row.version.parse().ok();
    matrix.companion_rules(&package.name, version.as_ref()).iter().all(|rule| match rule.cuda {
        CudaRule::Minor => cuda == torch,
        CudaRule::Major => cuda.major == torch.major,
        CudaRule::Any => true,
    })
}

/// A package without the versions that refuse a torch, where a rule has them from a bound on: of
/// `numpy` that is `numpy<2` beside torch 2.2.
pub fn narrowed(matrix: &Matrix, package: &Package, torch: &Version) -> Option<Package> {
    let specifiers = |text: &str| VersionSpecifiers::from_str(text).ok();
    let mut versions = package.versions.clone();
    for rule in matrix.companion_rules.iter().filter(|r| r.package == package.name) {
        let refuses = rule.refuses_torch.as_deref().and_then(specifiers);
        let from = specifiers(&rule.versions).filter(open);
        let (Some(refuses), Some(from)) = (refuses, from) else { continue };
        let Some(bound) = from.iter().map(|s| s.version().clone()).min() else { continue };
        if refuses.contains(torch) && package.versions.contains(&bound) {
            let below = VersionSpecifier::less_than_version(bound);
            versions = versions.iter().cloned().chain([below]).collect();
        }
    }
    let ranges = |versions: &VersionSpecifiers| {
        versions
            .iter()
            .fold(Ranges::full(), |all, spec| all.intersection(&Ranges::from(spec.clone())))
    };
    let changed = versions != package.versions && !ranges(&versions).is_empty();
    changed.then(|| Package { versions, ..package.clone() })
}

/// Only a lower bound.
fn open(spec: &VersionSpecifiers) -> bool {
    use pep440_rs::Operator as Op;
    spec.iter().all(|s| matches!(s.operator(), Op::GreaterThanEqual | Op::GreaterThan))
}

/// The row that a request picks: the exact one; of several the newest that belongs to torch, or the newest.
pub fn pick<'m>(
    matrix: &'m Matrix,
    package: &Package,
    wheel: Option<Wheel<'_>>,
) -> Option<&'m Companion> {
    let admitted = || {
        matrix
            .companions(&package.name)
            .iter()
            .rev()
            .filter(|c| c.version.parse().is_ok_and(|v: Version| package.admits(&v)))
    };
    if package.exact().is_some() {
        return admitted().next();
    }
    let linked =
        matrix.companion_rules(&package.name, None).iter().any(|rule| rule.cuda != CudaRule::Any);
    let belongs = |c: &&Companion| {
        let Some(wheel) = wheel else { return true };
        if let Some(train) = wheel.release.train.get(&c.package) {
            return train.exact.contains(&c.version) || train.open.contains(&c.version);
        }
        // torch's own metadata pins Triton; a documented table names the line of others.
        if let Some(pin) = wheel.variant.triton.as_deref().filter(|_| c.package == "triton") {
            let version = c.version.parse().ok();
            return VersionSpecifiers::from_str(pin)
                .is_ok_and(|pin| version.is_some_and(|v: Version| pin.contains(&v)));
        }
        let (major, minor) = wheel.release.version.line();
        if let Some(line) = &c.documented_torch {
            return *line == format!("{major}.{minor}");
        }
        let spec =
            c.requires.get("torch").map(|s| s.split(['+', ';']).next().unwrap_or_default().trim());
        match spec.filter(|s| !s.is_empty()).map(VersionSpecifiers::from_str) {
            // An open range of code that is linked with torch and CUDA holds for the line that it was
            // compiled against, whatever its metadata hopes.
            Some(Ok(spec)) if linked && open(&spec) => {
                let line =
                    spec.iter().find_map(|s| s.version().release().get(..2).map(<[u64]>::to_vec));
                line.is_some_and(|line| line == [u64::from(major), u64::from(minor)])
            }
            Some(Ok(spec)) => spec.contains(&wheel.release.version.pep440()),
            // Linked with torch, and nobody knows with which: never before one that is known.
            _ => !linked,
        }
    };
    admitted().filter(|c| !c.yanked).find(belongs).or_else(|| admitted().next())
}
