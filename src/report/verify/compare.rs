//! Two reports beside each other: of one image on two machines, or on one machine over time.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use serde_json::{Value, json};

use super::super::human::{BAD, DIM, GOOD, finding as say, paint};
use super::super::markdown::Page;
use super::super::{Found, json_v1, matrix_line};
use super::{Reading, Speed, devices, place};
use crate::domain::{Code, Finding, Gather as _, Order as _, Severity};
use crate::matrix::Matrix;
use crate::verify::{Check, Device, Layer, Outcome, Ran};

/// Two cards of a model differ by as much: silicon and cooling.
const USUAL: f64 = 0.05;

/// By more than this something is wrong with the slower one.
const UNUSUAL: f64 = 0.15;

/// A report with the name of its file.
pub struct Side {
    /// The file.
    pub name: String,
    /// What it says.
    pub reading: Reading,
}

impl Side {
    /// `a.json: proven: torch 2.9.1+cu128, driver 580.95.05, NVIDIA H200 (device 0)`
    fn words(&self) -> String {
        let it = &self.reading.verification;
        let subject = &it.subject;
        let mut words = Vec::new();
        words.extend(subject.torch.as_ref().map(|torch| format!("torch {torch}")));
        words.extend(subject.driver.as_ref().map(|driver| format!("driver {driver}")));
        words.extend(Some(devices(it)).filter(|names| !names.is_empty()));
        format!("{}: {}: {}", self.name, it.verdict.word(), words.join(", "))
    }

    fn device(&self, index: Option<u32>) -> Option<&Device> {
        self.reading.verification.devices.iter().find(|device| Some(device.index) == index)
    }

    fn find(&self, layer: Layer, device: Option<u32>, name: &str) -> Option<(&Ran, &Check)> {
        let mut checks = self.reading.verification.checks();
        checks.find(|(ran, check)| ran.layer == layer && ran.device == device && check.name == name)
    }
}

/// What came of it.
pub struct Comparison {
    /// The first report.
    pub a: Side,
    /// The second.
    pub b: Side,
    /// Differences, worst first: what must be the same and is not is an error.
    pub findings: Vec<Finding>,
    /// Checks that stand in both.
    checks: usize,
    /// Digests of results that were held beside each other.
    digests: usize,
    /// Speeds.
    speeds: usize,
}

impl Comparison {
    /// Nothing differs that must not.
    pub fn same(&self) -> bool {
        self.findings.iter().all(|finding| finding.severity > Severity::Error)
    }

    fn word(&self) -> &'static str {
        if self.same() { "same" } else { "different" }
    }

    fn summary(&self) -> String {
        let (a, b) = (&self.a.name, &self.b.name);
        let errors = self.findings.iter().filter(|f| f.severity == Severity::Error).count();
        let looked = format!(
            "{} checks, {} digests of results and {} speeds stand in both",
            self.checks, self.digests, self.speeds
        );
        match errors {
            0 => format!("{a} and {b} agree; {looked}"),
            1 => format!("{a} and {b} differ in one thing that must be the same; {looked}"),
            count => {
                format!("{a} and {b} differ in {count} things that must be the same; {looked}")
            }
        }
    }

    fn add(&mut self, code: Code, severity: Severity, message: String) -> &mut Finding {
        self.findings.push(Finding::new(code, severity, message));
        let last = self.findings.len() - 1;
        &mut self.findings[last]
    }
}

/// Holds two reports beside each other.
pub fn compare(a: Side, b: Side) -> Comparison {
    let mut all = Comparison { a, b, findings: Vec::new(), checks: 0, digests: 0, speeds: 0 };
    subjects(&mut all);
    let drifted = checks(&mut all);
    exact(&mut all);
    results(&mut all, &drifted);
    speeds(&mut all);
    all.findings.order_by_key(|finding| finding.severity);
    all
}

/// What both are about.
fn subjects(all: &mut Comparison) {
    let (a, b) = (&all.a.reading.verification, &all.b.reading.verification);
    let (name_a, name_b) = (&all.a.name, &all.b.name);
    let mut found = Vec::new();
    if a.verdict != b.verdict {
        let worse = if a.verdict as u8 > b.verdict as u8 { a } else { b };
        let why = worse.decisive();
        let mut finding = Finding::new(
            why.map_or(Code::Unknown, |(_, check)| check.code),
            Severity::Error,
            format!("{name_a} says `{}`, {name_b} says `{}`", a.verdict.word(), b.verdict.word()),
        );
        if let Some((ran, check)) = why {
            finding = finding.fact(format!("{}: {}", place(worse, ran), check.text), "");
            finding.help.clone_from(&check.help);
        }
        found.push(finding);
    }
    let (x, y) = (&a.subject, &b.subject);
    for (what, x, y, severity) in [
        ("the image's digest", &x.image_digest, &y.image_digest, Severity::Error),
        ("the lock's digest", &x.lock_digest, &y.lock_digest, Severity::Error),
        ("the target", &x.target, &y.target, Severity::Error),
        ("torch", &x.torch, &y.torch, Severity::Error),
        ("the driver", &x.driver, &y.driver, Severity::Warning),
        ("CUDA of the driver", &x.driver_cuda, &y.driver_cuda, Severity::Note),
    ] {
        match (x, y) {
            (Some(x), Some(y)) if x != y => {
                let code =
                    if severity == Severity::Error { Code::LockDrift } else { Code::Unknown };
                let message = format!("{what} is {x} in {name_a}, and {y} in {name_b}");
                found.push(Finding::new(code, severity, message));
            }
            (Some(value), None) | (None, Some(value)) => {
                let silent = if x.is_none() { name_a } else { name_b };
                let message = format!("{what} is {value} in one report, and {silent} tells none");
                found.push(Finding::new(Code::Unknown, Severity::Unknown, message));
            }
            _ => (),
        }
    }
    if a.devices.len() != b.devices.len() {
        let message = format!(
            "{} and {}: {name_a} has {} devices, and {name_b} has {}",
            devices(a),
            devices(b),
            a.devices.len(),
            b.devices.len()
        );
        found.push(Finding::new(Code::Unknown, Severity::Note, message));
    }
    all.findings.extend(found);
}

/// Checks of both, one by one: outcomes and versions. Gives the layers in which a version differs.
fn checks(all: &mut Comparison) -> Vec<Layer> {
    let mut found = Vec::new();
    let mut drifted = Vec::new();
    let mut count = 0;
    let it = &all.a.reading.verification;
    for (ran, check) in it.checks() {
        let Some((_, other)) = all.b.find(ran.layer, ran.device, &check.name) else { continue };
        count += 1;
        let place = format!("{}: {}", place(it, ran), check.name);
        if check.outcome != other.outcome {
            let broke = check.outcome.is_failure() != other.outcome.is_failure();
            let severity = if broke { Severity::Error } else { Severity::Warning };
            let worse = if check.outcome > other.outcome { check } else { other };
            let message = format!(
                "{place}: `{}` in {}, `{}` in {}",
                check.outcome.word(),
                all.a.name,
                other.outcome.word(),
                all.b.name
            );
            let finding = Finding::new(worse.code, severity, message);
            found.push(finding.fact(worse.text.clone(), ""));
        }
        for (name, value) in check.numbers.iter().filter(|(name, value)| is_version(name, value)) {
            let Some(other) = other.numbers.get(name).filter(|other| *other != value) else {
                continue;
            };
            drifted.push(ran.layer);
            // The driver is the machine's, and was compared; what is in the image is the image's.
            let own = ran.layer != Layer::Driver && ran.layer != Layer::Cuda;
            let (code, severity) = if own {
                (Code::LockDrift, Severity::Error)
            } else {
                (Code::Unknown, Severity::Warning)
            };
            let message = format!(
                "{place}: {name} is {} in {}, and {} in {}",
                bare(value),
                all.a.name,
                bare(other),
                all.b.name
            );
            found.push(Finding::new(code, severity, message));
        }
    }
    let only = |side: &Side, other: &Side| {
        let checks = side.reading.verification.checks();
        let alone = checks.filter(|(ran, check)| {
            check.outcome != Outcome::Skip
                && other.find(ran.layer, ran.device, &check.name).is_none()
        });
        alone.count()
    };
    for (side, other) in [(&all.a, &all.b), (&all.b, &all.a)] {
        let count = only(side, other);
        if count > 0 {
            let message = format!("{count} checks of {} do not stand in {}", side.name, other.name);
            found.push(Finding::new(Code::Unknown, Severity::Note, message));
        }
    }
    all.checks = count;
    all.findings.extend(found);
    drifted
}

/// `12.8.4`: a library's version is told as text, under its name.
fn is_version(name: &str, value: &Value) -> bool {
    let dotted = |text: &str| {
        text.starts_with(|c: char| c.is_ascii_digit()) && text.contains('.') && !text.contains(' ')
    };
    name.contains("version") || value.as_str().is_some_and(dotted)
}

/// Digests of results: `sha256_64x64x64` by the sizes of the product, or `sha256` alone.
fn digests(check: &Check) -> impl Iterator<Item = (&str, &str)> {
    let all = check.numbers.iter().filter(|(name, _)| name.starts_with("sha256"));
    all.filter_map(|(name, value)| Some((name.as_str(), value.as_str()?)))
}

/// The size of a result, where its digest does not name it.
fn size(check: &Check) -> Option<&Value> {
    check.numbers.get("elements")
}

fn is_exact(check: &Check) -> bool {
    check.name.split('.').any(|word| word == "exact-integer")
}

/// The same random numbers went into both. Who tells no seed had others.
fn same_question(a: &Reading, b: &Reading) -> bool {
    let (x, y) = (a.verification.seed, b.verification.seed);
    x.is_some() && x == y && a.tool == b.tool
}

/// Results in whole numbers are the same on every device, with every library: there is one right answer.
fn exact(all: &mut Comparison) {
    let (a, b) = (&all.a.reading, &all.b.reading);
    // Other random numbers are another question.
    let with_digest = |reading: &Reading| {
        let mut checks = reading.verification.checks();
        checks.any(|(_, check)| is_exact(check) && digests(check).next().is_some())
    };
    if !same_question(a, b) {
        if with_digest(a) && with_digest(b) {
            let message = format!(
                "the results of {} and {} are not compared: other random numbers went in",
                all.a.name, all.b.name
            );
            let finding = all.add(Code::Unknown, Severity::Unknown, message);
            finding.help.push("run both with the same --seed and the same gpuseal".into());
        }
        return;
    }
    let mut first: Vec<(Layer, &Check, (&str, &str), String)> = Vec::new();
    let mut found = Vec::new();
    let mut count = 0;
    for side in [&all.a, &all.b] {
        let it = &side.reading.verification;
        for (ran, check) in it.checks().filter(|(_, check)| is_exact(check)) {
            let whose = format!("{} of {}", place(it, ran), side.name);
            for (name, value) in digests(check) {
                let like = first.iter().find(|(layer, other, (like, _), _)| {
                    *layer == ran.layer
                        && other.name == check.name
                        && *like == name
                        && size(other) == size(check)
                });
                let Some((_, _, (_, right), owner)) = like else {
                    first.push((ran.layer, check, (name, value), whose.clone()));
                    continue;
                };
                count += 1;
                if *right == value {
                    continue;
                }
                let message = format!(
                    "{}: {owner} and {whose} computed different results from the same whole numbers",
                    check.name
                );
                let finding = Finding::new(Code::WrongResult, Severity::Error, message)
                    .fact(format!("{owner}: {name} {right}"), "")
                    .fact(format!("{whose}: {name} {value}"), "")
                    .help("take both out of service until `gpuseal verify --here` proves them again: one of them computes wrongly");
                found.push(finding);
            }
        }
    }
    all.digests += count;
    all.findings.extend(found);
}

/// Rounded results are the same bit by bit on one model with one version of the library.
fn results(all: &mut Comparison, drifted: &[Layer]) {
    let (a, b) = (&all.a.reading, &all.b.reading);
    if !same_question(a, b) {
        return;
    }
    let mut found = Vec::new();
    let mut count = 0;
    for (ran, check) in a.verification.checks().filter(|(_, check)| !is_exact(check)) {
        let Some((_, other)) = all.b.find(ran.layer, ran.device, &check.name) else { continue };
        if size(other) != size(check) {
            continue;
        }
        let both = digests(check).filter_map(|(name, value)| {
            let (_, other) = digests(other).find(|(like, _)| *like == name)?;
            Some(value == other)
        });
        let equal: Vec<bool> = both.collect();
        count += equal.len();
        if equal.iter().all(|equal| *equal) {
            continue;
        }
        let model = alike(all, ran.device);
        let same = model && !drifted.contains(&ran.layer);
        let place = format!("{}: {}", place(&a.verification, ran), check.name);
        let finding = if same {
            Finding::new(
                Code::WrongResult,
                Severity::Error,
                format!(
                    "{place}: {} and {} have other bits, on the same model with the same versions",
                    all.a.name, all.b.name
                ),
            )
            .fact("a library computes the same bits on the same model: one GPU computes something else, or the library picked another algorithm there", "")
            .help("run both again with `gpuseal verify --here`; if it stays so, compare with a third machine")
        } else {
            let why = if model { "another version of a library" } else { "another GPU model" };
            Finding::new(
                Code::Unknown,
                Severity::Note,
                format!("{place}: other bits, as they may be with {why}"),
            )
        };
        found.push(finding);
    }
    all.digests += count;
    all.findings.extend(found);
}

/// Both have the same model there.
fn alike(all: &Comparison, device: Option<u32>) -> bool {
    let model =
        |device: &Device| (device.name.clone(), device.capability.clone(), device.multiprocessors);
    if device.is_some() {
        let (x, y) = (all.a.device(device), all.b.device(device));
        return x.zip(y).is_some_and(|(x, y)| model(x) == model(y));
    }
    let models = |side: &Side| -> BTreeSet<_> {
        side.reading.verification.devices.iter().map(model).gather()
    };
    let (x, y) = (models(&all.a), models(&all.b));
    !x.is_empty() && x == y
}

/// Speeds of the same model.
fn speeds(all: &mut Comparison) {
    let mut found = Vec::new();
    let mut count = 0;
    let it = &all.a.reading.verification;
    for (ran, check) in it.checks() {
        let other = all.b.find(ran.layer, ran.device, &check.name).map(|(_, check)| check);
        let (Some(x), Some(y)) = (Speed::of(check), other.and_then(Speed::of)) else { continue };
        if !alike(all, ran.device) {
            continue;
        }
        count += 1;
        let (fast, slow, slower) = if x.tflops < y.tflops {
            (y.tflops, x.tflops, &all.a.name)
        } else {
            (x.tflops, y.tflops, &all.b.name)
        };
        let below = if fast > 0.0 { 1.0 - slow / fast } else { 0.0 };
        if below <= USUAL {
            continue;
        }
        let severity = if below > UNUSUAL { Severity::Error } else { Severity::Warning };
        let message = format!(
            "{}: {}: {slower} is {:.0} % slower: {} in {}, {} in {}",
            place(it, ran),
            check.name,
            below * 100.0,
            x.words(),
            all.a.name,
            y.words(),
            all.b.name
        );
        let finding = Finding::new(Code::Slow, severity, message);
        found.push(finding.help(format!(
            "look at clocks, power limit, cooling and other processes of the machine of {slower}"
        )));
    }
    all.speeds = count;
    all.findings.extend(found);
}

/// A value as people write it.
fn bare(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// Text for people.
pub fn human(all: &Comparison, matrix: &Matrix) -> String {
    let mut text = String::new();
    let style = if all.same() { GOOD } else { BAD };
    let _ = writeln!(text, "{}: {}", paint(style, all.word()), all.summary());
    for side in [&all.a, &all.b] {
        let _ = writeln!(text, "  {}", side.words());
    }
    for item in &all.findings {
        text.push('\n');
        say(item, &mut text);
    }
    let _ = writeln!(text, "\n{}", paint(DIM, matrix_line(matrix)));
    text
}

/// `gpuseal.verify-compare`
pub fn json(all: &Comparison, matrix: &Matrix) -> String {
    let side = |side: &Side| {
        let it = &side.reading.verification;
        let subject = &it.subject;
        json!({
            "path": side.name, "tool": side.reading.tool, "verdict": it.verdict,
            "image": subject.image, "image_digest": subject.image_digest,
            "lock_digest": subject.lock_digest, "target": subject.target,
            "torch": subject.torch, "driver": subject.driver,
            "devices": it.devices.iter().map(|d| json!({
                "index": d.index, "name": d.name, "uuid": d.uuid,
            })).collect::<Vec<_>>(),
        })
    };
    let body = json!({
        "result": all.word(),
        "summary": all.summary(),
        "a": side(&all.a),
        "b": side(&all.b),
        "compared": { "checks": all.checks, "digests": all.digests, "speeds": all.speeds },
        "findings": all.findings.iter().map(json_v1::finding).collect::<Vec<_>>(),
    });
    json_v1::document("gpuseal.verify-compare", matrix, body)
}

/// Markdown for a summary.
pub fn markdown(all: &Comparison, found: &Found<'_>) -> String {
    Page::of(found, all.word(), &all.summary(), |page| {
        page.list("Reports", [&all.a, &all.b].iter().map(|side| side.words()));
    })
}
