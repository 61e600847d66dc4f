//! What contradicts what. Only lines that can meet in one environment are compared: a choice with
//! itself and with what always applies, never with a choice beside it.

use std::collections::{BTreeMap, BTreeSet};

use super::answers::{Answer, Said};
use super::compare::{Ranged, meet, pythons_contradict};
use super::demand::{By, Choice, Demand, Kind, Pin, Project, PythonSaid};
use super::link;
use super::marker::Marker;
use crate::domain::{Code, Finding, Gather as _, Order as _, Place, Severity, WheelVariant, shown};
use crate::requirements::CudaWish;

/// Lines on one package that are compared with each other.
const MAX_COMPARED: usize = 200;
/// Lines that are compared with each other in all, and contradictions that are looked for.
const MAX_PAIRS: usize = 100_000;
const MAX_FOUND: usize = 1000;
/// Contradictions that are told; the first ones are enough to begin with.
const MAX_TOLD: usize = 50;
/// Notes that are told: each names a line that was not read.
const MAX_NOTES: usize = 600;

impl Project {
    /// Every contradiction, and what is risky; worst first.
    pub fn judged(&self) -> Vec<Finding> {
        let mut findings = self.findings.clone();
        findings.extend(self.versions());
        findings.extend(self.builds(None));
        findings.extend(pythons(&self.python.iter().collect::<Vec<_>>()));
        findings.extend(self.stale());
        findings.extend(self.unserved());
        findings.extend(self.unfetched());
        let mut seen = BTreeSet::new();
        findings.retain(|f| seen.insert((f.message.clone(), f.place.clone())));
        findings.order_by_key(|f| f.severity);
        let mut told: BTreeMap<Severity, usize> = BTreeMap::new();
        findings.retain(|f| {
            let told = told.entry(f.severity).or_default();
            *told += 1;
            *told <= if f.severity == Severity::Note { MAX_NOTES } else { MAX_TOLD }
        });
        findings
    }

    /// The build that an answer asks for: one, or none because nothing is said or because it depends
    /// on the environment.
    pub fn asked(&self, answer: &Answer) -> Option<Said<'_>> {
        let demanded = self.demands.iter().any(|d| d.name == "torch" && d.kind != Kind::Hint);
        let mut said: Vec<_> = self
            .said()
            .into_iter()
            .filter(|s| answer.has(s.choice) && (s.by != By::Image || !demanded))
            .collect();
        said.order_by_key(Said::rank);
        let first = said.first()?;
        let other = |variant: Option<WheelVariant>, marker: &Marker| {
            variant != Some(first.variant) && marker.excludes(first.marker)
        };
        let torch =
            self.demands.iter().filter(|d| d.name == "torch" && answer.has(d.choice.as_ref()));
        let depends = said.iter().any(|s| other(Some(s.variant), s.marker))
            || torch.filter(|d| d.variants().is_empty()).any(|d| other(None, &d.marker));
        (!depends).then(|| first.clone())
    }

    /// Two lines ask for versions of one package that cannot both be had.
    fn versions(&self) -> Vec<Finding> {
        let mut by_name: BTreeMap<&str, Vec<&Demand>> = BTreeMap::new();
        for demand in self.demands.iter().filter(|d| !d.name.is_empty()) {
            by_name.entry(&demand.name).or_default().push(demand);
        }
        let mut findings = Vec::new();
        let mut pairs = 0;
        for demands in by_name.values() {
            let overridden = demands.iter().any(|d| d.kind == Kind::Override);
            let compared: Vec<Ranged<'_>> =
                demands.iter().take(MAX_COMPARED).map(|d| Ranged::of(d)).collect();
            for (at, Ranged { demand: a, ranges, .. }) in compared.iter().enumerate() {
                if ranges.is_empty() {
                    findings.push(
                        conflict(
                            format!("no version of {} answers `{}`", a.name, shown(&a.given)),
                            &a.place,
                        )
                        .help("mend the range"),
                    );
                }
                for other in &compared[at + 1..] {
                    let b = other.demand;
                    if findings.len() > MAX_FOUND || pairs > MAX_PAIRS {
                        return findings;
                    }
                    pairs += 1;
                    if overridden || !meet(*a, b) || !compared[at].contradicts(other) {
                        continue;
                    }
                    findings.push(self.versions_clash(a, b));
                }
            }
        }
        findings
    }

    /// Says that no version answers both.
    pub fn versions_clash(&self, a: &Demand, b: &Demand) -> Finding {
        let message = format!(
            "{} is asked for as `{}` in {} and as `{}` in {}",
            a.name,
            of(a),
            whose(&a.place, a.choice.as_ref()),
            of(b),
            whose(&b.place, b.choice.as_ref())
        );
        let image = self.is_image(&a.place) || self.is_image(&b.place);
        let mut finding = conflict(message, &b.place)
            .fact(shown(&a.given), a.place.to_string())
            .fact(shown(&b.given), b.place.to_string());
        if image {
            finding.severity = Severity::Warning;
            finding.help("take a base image without torch: the wheel brings its own CUDA, and the image keeps a second copy")
        } else {
            finding.help("let both lines admit one version, or keep one of them")
        }
    }

    /// The configuration's range of CUDA, and a line that names a build outside of it.
    fn cuda_ranges(&self, said: &[Said<'_>]) -> Vec<Finding> {
        let mut findings = Vec::new();
        for range in self.cuda.iter().filter(|c| c.variant.is_none() && is_config(&c.place)) {
            let Ok(wish) = range.given.parse::<CudaWish>() else { continue };
            let outside = |s: &&Said<'_>| s.variant.cuda().is_some_and(|cuda| !wish.admits(cuda));
            let Some(other) = said.iter().find(outside) else { continue };
            let message = format!(
                "{} asks for {} ({}), {} for CUDA {}",
                other.place,
                other.variant,
                source(other),
                range.place,
                shown(&range.given)
            );
            findings.push(
                conflict(message, &range.place)
                    .fact(shown(other.given), other.place.to_string())
                    .fact(format!("cuda: {}", shown(&range.given)), range.place.to_string())
                    .help("let both admit one build"),
            );
        }
        findings
    }

    /// Two lines ask for different builds; of one answer, or of all.
    pub fn builds(&self, answer: Option<&Answer>) -> Vec<Finding> {
        let mut said = self.said();
        said.retain(|s| answer.is_none_or(|answer| answer.has(s.choice)));
        let mut findings = self.cuda_ranges(&said);
        let mut told = BTreeSet::new();
        for (at, a) in said.iter().take(MAX_COMPARED).enumerate() {
            for b in &said[at + 1..said.len().min(MAX_COMPARED)] {
                let differ = a.variant != b.variant && meet(a, b) && a.marker.meets(b.marker);
                // One line that says two things of the same package is told once.
                if !differ || !told.insert((a.place.min(b.place), a.place.max(b.place), a.by, b.by))
                {
                    continue;
                }
                let (wins, other) = if b.by < a.by { (b, a) } else { (a, b) };
                let mut finding = conflict(
                    format!(
                        "{} asks for {} ({}), {} for {} ({})",
                        wins.place,
                        wins.variant,
                        source(wins),
                        other.place,
                        other.variant,
                        source(other)
                    ),
                    other.place,
                )
                .fact(shown(wins.given), wins.place.to_string())
                .fact(shown(other.given), other.place.to_string());
                if wins.by != other.by {
                    finding = finding.fact(
                        format!("{} counts before {}", wins.by.word(), other.by.word()),
                        String::new(),
                    );
                }
                if other.by == By::Image {
                    finding.severity = Severity::Warning;
                    finding = finding
                        .help("take a base image without torch: the wheel brings its own CUDA");
                } else {
                    finding = finding
                        .help(format!("name {} in both, or in one of them only", wins.variant));
                }
                findings.push(finding);
            }
        }
        findings
    }

    /// Two lines name Pythons that no version answers, with the options of an answer.
    pub fn python_clashes(&self, answer: &Answer) -> Vec<Finding> {
        pythons(&self.python_of(answer))
    }

    /// A lock of another tool pins what the project no longer asks for.
    fn stale(&self) -> Vec<Finding> {
        let mut pins: BTreeMap<(&str, &str), Vec<&Pin>> = BTreeMap::new();
        for pin in &self.pins {
            pins.entry((&pin.place.file, &pin.name)).or_default().push(pin);
        }
        let files: BTreeSet<&str> = self.pins.iter().map(|pin| pin.place.file.as_str()).gather();
        let mut overrides: BTreeMap<&str, Vec<&Demand>> = BTreeMap::new();
        for demand in self.demands.iter().filter(|d| d.kind == Kind::Override) {
            overrides.entry(&demand.name).or_default().push(demand);
        }
        let mut findings = Vec::new();
        for demand in self.demands.iter().filter(|d| d.kind != Kind::Hint && d.link.is_none()) {
            let overridden = overrides
                .get(demand.name.as_str())
                .is_some_and(|list| list.len() > 1 || list.first() != Some(&demand));
            for file in files.iter().filter(|file| !overridden && locks(file, demand)) {
                let Some(list) = pins.get(&(*file, demand.name.as_str())) else { continue };
                let Some(first) = list.first().filter(|_| list.len() <= MAX_COMPARED) else {
                    continue;
                };
                // The build is compared below: not every lock writes it into the version.
                let public = super::demand::public_only(&demand.versions);
                let answers = |pin: &Pin| public.contains(&pin.version.clone().without_local());
                // Of forks each must answer where it is installed; otherwise one of all.
                let wrong = if list.iter().all(|pin| pin.is_fork()) {
                    list.iter().find(|pin| pin.meets(&demand.marker) && !answers(pin))
                } else {
                    Some(first).filter(|_| !list.iter().any(|pin| answers(pin)))
                };
                if let Some(first) = wrong {
                    findings.push(
                        stale(
                            format!(
                                "{} pins {} {}, and {} asks for `{}`",
                                first.place,
                                demand.name,
                                shown(&first.version.to_string()),
                                demand.place,
                                of(demand)
                            ),
                            &first.place,
                        )
                        .fact(shown(&demand.given), demand.place.to_string()),
                    );
                    continue;
                }
                let index = demand.index.as_ref().and_then(|i| i.variant);
                let wanted = index.or_else(|| demand.label());
                let built: Vec<Option<WheelVariant>> =
                    list.iter().map(|pin| pin.variant()).collect();
                if let Some(wanted) = wanted
                    && built.iter().all(|b| b.is_some_and(|b| b != wanted))
                    && let Some(Some(have)) = built.first()
                {
                    findings.push(
                        stale(
                            format!(
                                "{} pins the build {have} of {}, and {} asks for {wanted}",
                                first.place, demand.name, demand.place
                            ),
                            &first.place,
                        )
                        .fact(shown(&demand.given), demand.place.to_string()),
                    );
                }
            }
        }
        findings
    }

    /// A repository: which version it holds is known after fetching it.
    fn unfetched(&self) -> Vec<Finding> {
        let of = |demand: &&Demand| demand.link.as_ref().is_some_and(|link| link.vcs);
        let note = |demand: &Demand| {
            let message = format!(
                "{}: the version of {} is known after fetching it",
                demand.place, demand.name
            );
            Finding::new(Code::InputUnread, Severity::Note, message).at(&demand.place)
        };
        self.demands.iter().filter(of).map(note).collect()
    }

    /// A label, and no index that has it: PyPI serves no file with a local label.
    fn unserved(&self) -> Vec<Finding> {
        let mut findings = Vec::new();
        let beside = self.indexes.iter().any(|i| link::is_pytorch(&i.url) && !i.explicit);
        for demand in &self.demands {
            let Some(label) = demand.label().filter(|_| demand.link.is_none()) else { continue };
            let hint = demand.kind == Kind::Hint || demand.kind == Kind::Constraint;
            let named = demand.index.as_ref().is_some_and(|i| link::is_pytorch(&i.url));
            let private = demand.index.as_ref().is_some_and(|i| i.variant.is_none());
            if hint || named || private || beside {
                continue;
            }
            findings.push(
                Finding::new(
                    Code::MissingIndex,
                    Severity::Warning,
                    format!(
                        "{}: `{}` names the build {label}, and no index that serves it is named: PyPI has no files with a label",
                        demand.place,
                        shown(&demand.given)
                    ),
                )
                .at(&demand.place)
                .help(format!("name https://download.pytorch.org/whl/{label} as the index of {}", demand.name)),
            );
        }
        findings
    }
}

/// Two lines name Pythons that no version answers.
fn pythons(all: &[&PythonSaid]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let said = &all[..all.len().min(MAX_COMPARED)];
    for (at, a) in said.iter().enumerate() {
        for b in &said[at + 1..] {
            if findings.len() > MAX_FOUND {
                return findings;
            }
            if meet(*a, *b) && pythons_contradict(a, b) {
                findings.push(
                    conflict(
                        format!(
                            "{} says Python {} ({}), {} says {} ({})",
                            a.place,
                            shown(&a.given),
                            a.by,
                            b.place,
                            shown(&b.given),
                            b.by
                        ),
                        &b.place,
                    )
                    .fact(format!("{}: {}", a.by, shown(&a.given)), a.place.to_string())
                    .fact(format!("{}: {}", b.by, shown(&b.given)), b.place.to_string())
                    .help("let both admit one version of Python"),
                );
            }
        }
    }
    findings
}

/// Whether a line stands in the configuration of this program.
fn is_config(place: &Place) -> bool {
    let file = place.file.rsplit('/').next().unwrap_or_default();
    ["gpuseal.yaml", "gpuseal.yml", "pyproject.toml"].contains(&file)
}

fn conflict(message: String, place: &Place) -> Finding {
    Finding::new(Code::InputConflict, Severity::Error, message).at(place)
}

fn stale(message: String, place: &Place) -> Finding {
    let tool = match place.file.rsplit('/').next() {
        Some("uv.lock") => "run `uv lock`",
        Some("poetry.lock") => "run `poetry lock`",
        _ => "write the lock anew with the tool that made it",
    };
    Finding::new(Code::LockStale, Severity::Error, message).at(place).help(tool)
}

/// Whether a lock is made of the file that a demand stands in.
fn locks(lock: &str, demand: &Demand) -> bool {
    let file = demand.place.file.rsplit('/').next().unwrap_or_default();
    match lock.rsplit('/').next().unwrap_or_default() {
        "uv.lock" | "poetry.lock" => file == "pyproject.toml",
        _ => file == "pyproject.toml" || file.starts_with("requirements"),
    }
}

fn of(demand: &Demand) -> String {
    let spec = demand.spec();
    if spec.is_empty() { "any version".into() } else { shown(&spec) }
}

fn whose(place: &Place, choice: Option<&Choice>) -> String {
    choice.map_or(place.to_string(), |choice| format!("{place} ({choice})"))
}

fn source(said: &Said<'_>) -> String {
    if said.package.is_empty() {
        said.by.word().into()
    } else {
        format!("{} of {}", said.by.word(), said.package)
    }
}
