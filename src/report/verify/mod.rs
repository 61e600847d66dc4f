//! The answer of `verify`: for people, for programs, for CI systems, monitors and auditors.

mod attest;
pub mod compare;
mod human;
mod json;
mod junit;
mod prometheus;

pub use attest::{attest, digest};
pub use human::human;
pub use json::{ReadError, Reading, json, read, reading, summed_up};
pub use junit::junit;
pub use prometheus::prometheus;

use super::Found;
use super::markdown::Page;
use crate::domain::{Finding, Severity};
use crate::error::Exit;
use crate::verify::numerics::Dtype;
use crate::verify::{Check, Layer, Mode, Outcome, Ran, Verdict, Verification};

/// What was found, in the order of layers: failures are errors, what could not be looked at is unknown.
pub fn findings(verification: &Verification) -> Vec<Finding> {
    let finding = |(ran, check)| finding(verification, ran, check);
    verification.checks().filter_map(finding).collect()
}

fn finding(verification: &Verification, ran: &Ran, check: &Check) -> Option<Finding> {
    let severity = match check.outcome {
        Outcome::Fail | Outcome::Hang | Outcome::Crash => Severity::Error,
        Outcome::Warn => Severity::Warning,
        Outcome::Skip if !check.optional => Severity::Unknown,
        Outcome::Pass | Outcome::Skip => return None,
    };
    let message = format!("{}, {}: {}", place(verification, ran), check.name, check.text);
    let mut finding = Finding::new(check.code, severity, message);
    finding.facts.clone_from(&check.facts);
    finding.help.clone_from(&check.help);
    Some(finding)
}

/// `L3 cuBLAS, NVIDIA H200 (device 0)`
fn place(verification: &Verification, ran: &Ran) -> String {
    let title = ran.layer.title();
    let Some(index) = ran.device else { return title.to_owned() };
    let known = verification.devices.iter().find(|device| device.index == index);
    match known.map(|device| device.name.as_str()).filter(|name| !name.is_empty()) {
        Some(name) => format!("{title}, {name} (device {index})"),
        None => format!("{title}, device {index}"),
    }
}

/// `NVIDIA H200 (devices 0, 1), NVIDIA L4 (device 2)`
fn devices(verification: &Verification) -> String {
    let mut names: Vec<(&str, Vec<String>)> = Vec::new();
    for device in &verification.devices {
        let name = if device.name.is_empty() { "a GPU" } else { &device.name };
        let index = device.index.to_string();
        match names.iter_mut().find(|(other, _)| *other == name) {
            Some((_, list)) => list.push(index),
            None => names.push((name, vec![index])),
        }
    }
    let words = names.iter().map(|(name, list)| {
        let many = if list.len() > 1 { "s" } else { "" };
        format!("{name} (device{many} {})", list.join(", "))
    });
    words.collect::<Vec<_>>().join(", ")
}

/// What the first line says beside the verdict.
pub fn summary(verification: &Verification) -> String {
    let torch = verification.subject.torch.as_deref();
    let torch = torch.map_or_else(|| "torch".to_owned(), |version| format!("torch {version}"));
    let passed = |ran: &&Ran| matches!(ran.outcome(), Outcome::Pass | Outcome::Warn);
    match (verification.verdict, verification.decisive()) {
        (Verdict::Failed, Some((ran, check))) => {
            let place = place(verification, ran);
            format!("[{}] {place}, {}: {}", check.code, check.name, check.text)
        }
        (Verdict::Unproven, Some((ran, check))) => {
            format!("{}: {}", place(verification, ran), check.text)
        }
        (Verdict::Failed, None) => "no check says why".into(),
        (Verdict::Unproven, None) => "nothing that was asked for could be looked at".into(),
        (Verdict::Proven, _) if verification.subject.mode == Mode::Static => {
            format!("the files of {torch} are what they should be; no GPU was asked")
        }
        (Verdict::Proven, _) => {
            let mut layers = verification.layers.iter().filter(passed);
            let on = match devices(verification) {
                names if names.is_empty() => "this machine".into(),
                names => names,
            };
            // Only torch itself shows that torch computes.
            if layers.any(|ran| ran.layer == Layer::Torch) {
                return format!("{torch} computes right on {on}");
            }
            let mut titles: Vec<&str> =
                verification.layers.iter().filter(passed).map(|ran| ran.layer.title()).collect();
            titles.dedup();
            format!("what was asked for holds on {on}: {}", titles.join(", "))
        }
    }
}

/// That exit code 0 was asked for although nothing is proven: nobody may overlook it.
fn allowed(verification: &Verification, exit: Exit) -> Option<&'static str> {
    (verification.verdict == Verdict::Unproven && exit == Exit::Done).then_some(
        "NOT PROVEN: --allow-unproven made this exit code 0, although what is said above could not be looked at",
    )
}

/// How many checks were made, of those that are needed: `24 checks`, `20 of 24 checks`.
fn counted(ran: &Ran) -> String {
    let looked = ran.checks.iter().filter(|check| check.outcome != Outcome::Skip).count();
    let needed =
        ran.checks.iter().filter(|check| check.outcome != Outcome::Skip || !check.optional);
    let needed = needed.count();
    let many = if needed == 1 { "" } else { "s" };
    if needed == 0 {
        "not needed".into()
    } else if looked == needed {
        format!("{needed} check{many}")
    } else {
        format!("{looked} of {needed} check{many}")
    }
}

/// A speed that was measured.
struct Speed<'v> {
    /// The device, where its check says one: a layer may be about several.
    device: Option<u32>,
    /// Word of the data type: `bf16`.
    dtype: &'v str,
    /// TFLOP/s, or TOPS of integers.
    tflops: f64,
    /// Of the card's dense peak, where that is known.
    ratio: Option<f64>,
}

impl<'v> Speed<'v> {
    fn of(check: &'v Check) -> Option<Self> {
        let number = |name: &str| check.numbers.get(name).and_then(serde_json::Value::as_f64);
        let tflops = number("tflops")?;
        let device = check.name.split('.').next().and_then(|word| word.strip_prefix('d'));
        let device = device.and_then(|index| index.parse().ok());
        Some(Self { device, dtype: dtype(&check.name), tflops, ratio: number("ratio") })
    }

    /// `bf16 788 TFLOP/s (0.80 of peak)`
    fn words(&self) -> String {
        let unit = if self.dtype == Dtype::Int8.word() { "TOPS" } else { "TFLOP/s" };
        let value = self.tflops;
        let digits = if value >= 100.0 { 0 } else { 1 + usize::from(value < 10.0) };
        let ratio = self.ratio.map_or_else(String::new, |ratio| format!(" ({ratio:.2} of peak)"));
        let on = self.device.map_or_else(String::new, |index| format!("device {index} "));
        format!("{on}{} {value:.digits$} {unit}{ratio}", self.dtype)
    }
}

/// The data type that a check is about: `bf16` of `ptx.bf16.speed`; else the first word of its name.
fn dtype(name: &str) -> &str {
    let known = |word: &&str| Dtype::ALL.iter().any(|dtype| dtype.word() == *word);
    let mut words = name.split('.');
    words.clone().find(known).or_else(|| words.next()).unwrap_or_default()
}

fn speeds(ran: &Ran) -> String {
    let words: Vec<_> =
        ran.checks.iter().filter_map(Speed::of).map(|speed| speed.words()).collect();
    words.join(", ")
}

/// What the verdict is about, as names and values.
fn about(verification: &Verification) -> Vec<(&'static str, String)> {
    let subject = &verification.subject;
    let mut list = Vec::new();
    let mut add = |name, values: [&Option<String>; 2]| {
        let values: Vec<&str> = values.iter().filter_map(|value| value.as_deref()).collect();
        if !values.is_empty() {
            list.push((name, values.join(" ")));
        }
    };
    // A name may end with the digest itself.
    let named =
        |digest: &&String| subject.image.as_ref().is_none_or(|name| !name.contains(&**digest));
    add("image", [&subject.image, &subject.image_digest.as_ref().filter(named).cloned()]);
    add("torch", [&subject.torch, &None]);
    let target = subject.target.as_ref().map(|target| format!("for {target}"));
    add("lock", [&subject.lock_digest, &target]);
    let cuda = subject.driver_cuda.as_ref().map(|cuda| format!("(CUDA {cuda})"));
    add("driver", [&subject.driver, &cuda]);
    list
}

/// Checks that were not made for the same reason.
struct Skipped<'v> {
    text: &'v str,
    needed: bool,
    /// Places with the names of checks.
    places: Vec<(String, Vec<&'v str>)>,
}

impl Skipped<'_> {
    /// `L3 cuBLAS (bf16.speed, fp16.speed), L5 torch (import)`
    fn whose(&self) -> String {
        let words =
            self.places.iter().map(|(place, names)| format!("{place} ({})", names.join(", ")));
        words.collect::<Vec<_>>().join(", ")
    }
}

/// Checks that were not made and are `wanted`, by reason: needed ones first.
fn skipped<'v>(
    verification: &'v Verification,
    wanted: &dyn Fn(&Check) -> bool,
) -> Vec<Skipped<'v>> {
    let mut groups: Vec<Skipped<'_>> = Vec::new();
    for needed in [true, false] {
        for (ran, check) in verification.checks() {
            if check.outcome != Outcome::Skip || check.optional == needed || !wanted(check) {
                continue;
            }
            let text = check.text.as_str();
            let known = groups.iter().position(|g| g.text == text && g.needed == needed);
            let at = known.unwrap_or_else(|| {
                groups.push(Skipped { text, needed, places: Vec::new() });
                groups.len() - 1
            });
            let places = &mut groups[at].places;
            let place = place(verification, ran);
            match places.last_mut().filter(|(last, _)| *last == place) {
                Some((_, names)) => names.push(&check.name),
                None => places.push((place, vec![&check.name])),
            }
        }
    }
    groups
}

/// Markdown for a summary: the verdict, layers with their numbers, what was not looked at, findings.
pub fn markdown(verification: &Verification, found: &Found<'_>) -> String {
    Page::of(found, verification.verdict.word(), &summary(verification), |page| {
        if let Some(words) = allowed(verification, found.exit) {
            page.add(&format!("\n**{words}.**\n"));
        }
        let rows = verification.layers.iter().map(|ran| {
            let device = ran.device.map_or_else(String::new, |device| device.to_string());
            let outcome = ran.outcome().word().to_owned();
            let seconds = format!("{:.1} s", ran.seconds);
            [ran.layer.title().into(), device, outcome, counted(ran), seconds, speeds(ran)]
        });
        page.table(["layer", "device", "outcome", "checks", "time", "speed"], rows);
        let groups = skipped(verification, &|_| true);
        let lines = groups.iter().map(|group| format!("{}: {}", group.whose(), group.text));
        page.list("Not looked at", lines);
        let about = about(verification);
        page.list("About", about.iter().map(|(name, value)| format!("{name}: `{value}`")));
    })
}
