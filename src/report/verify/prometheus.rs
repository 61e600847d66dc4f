//! Metrics for Prometheus, in the text format that node_exporter's textfile collector reads.

use std::fmt::Write as _;

use super::Speed;
use crate::verify::{Outcome, Verdict, Verification};

/// Metrics as they grow. A series that stands twice would cost the whole file.
struct Metrics {
    text: String,
    series: Vec<String>,
}

impl Metrics {
    fn begin(&mut self, name: &str, help: &str) {
        self.series.clear();
        let _ = writeln!(self.text, "# HELP gpuseal_verify_{name} {help}");
        let _ = writeln!(self.text, "# TYPE gpuseal_verify_{name} gauge");
    }

    fn add(&mut self, name: &str, labels: &[(&str, &str)], value: f64) {
        let labels: Vec<String> =
            labels.iter().map(|(name, value)| format!("{name}=\"{}\"", escaped(value))).collect();
        let labels = labels.join(",");
        if self.series.contains(&labels) {
            return;
        }
        let braces = if labels.is_empty() { String::new() } else { format!("{{{labels}}}") };
        let _ = writeln!(self.text, "gpuseal_verify_{name}{braces} {value}");
        self.series.push(labels);
    }
}

/// The metrics. `now` is the time of the run in seconds since 1970, where one may be told.
pub fn prometheus(verification: &Verification, now: Option<f64>) -> String {
    let mut metrics = Metrics { text: String::new(), series: Vec::new() };
    let index = |device: Option<u32>| device.map_or_else(String::new, |index| index.to_string());
    let flag = |yes: bool| f64::from(u8::from(yes));

    metrics.begin("verdict", "1 for what the last run came to, 0 for what it did not.");
    for verdict in [Verdict::Proven, Verdict::Unproven, Verdict::Failed] {
        let is = verdict == verification.verdict;
        metrics.add("verdict", &[("verdict", verdict.word())], flag(is));
    }
    let checks = || verification.checks();
    metrics.begin("ok", "1 where a check holds, 0 where not; absent where it was not made.");
    for (ran, check) in checks().filter(|(_, check)| check.outcome != Outcome::Skip) {
        let device = index(ran.device);
        let labels = [("layer", ran.layer.word()), ("device", &device), ("check", &check.name)];
        // Of two checks of one name the worse is told.
        let broken = checks().any(|(other, like)| {
            other.layer == ran.layer
                && other.device == ran.device
                && like.name == check.name
                && like.outcome.is_failure()
        });
        metrics.add("ok", &labels, flag(!broken));
    }
    metrics.begin("missing", "1 for a check that is needed and could not be made.");
    for (ran, check) in checks().filter(|(_, c)| c.outcome == Outcome::Skip && !c.optional) {
        let device = index(ran.device);
        let labels = [("layer", ran.layer.word()), ("device", &device), ("check", &check.name)];
        metrics.add("missing", &labels, 1.0);
    }
    for (name, help) in [
        ("tflops", "Matrix products in 10^12 operations a second."),
        ("ratio", "The same as a part of the dense peak of the card."),
    ] {
        metrics.begin(name, help);
        for (ran, check) in verification.checks() {
            let Some(speed) = Speed::of(check) else { continue };
            let value = if name == "tflops" { Some(speed.tflops) } else { speed.ratio };
            let device = index(ran.device.or(speed.device));
            let labels = [("device", &*device), ("dtype", speed.dtype), ("by", ran.layer.word())];
            if let Some(value) = value {
                metrics.add(name, &labels, value);
            }
        }
    }
    metrics.begin("layer_seconds", "Wall time of a layer.");
    for ran in &verification.layers {
        let device = index(ran.device);
        metrics.add(
            "layer_seconds",
            &[("layer", ran.layer.word()), ("device", &device)],
            ran.seconds,
        );
    }
    metrics.begin("seconds", "Wall time of the run.");
    metrics.add("seconds", &[], verification.seconds);
    metrics.begin("device_info", "The devices that were looked at.");
    let subject = &verification.subject;
    let said = |text: &Option<String>| text.clone().unwrap_or_default();
    for device in &verification.devices {
        let labels = [
            ("device", device.index.to_string()),
            ("name", device.name.clone()),
            ("uuid", said(&device.uuid)),
            ("capability", said(&device.capability)),
            ("driver", said(&subject.driver)),
        ];
        metrics.add("device_info", &labels.each_ref().map(|(n, v)| (*n, v.as_str())), 1.0);
    }
    metrics.begin("info", "What the run was about.");
    let labels = [
        ("image", said(&subject.image)),
        ("image_digest", said(&subject.image_digest)),
        ("lock_digest", said(&subject.lock_digest)),
        ("target", said(&subject.target)),
        ("torch", said(&subject.torch)),
    ];
    metrics.add("info", &labels.each_ref().map(|(n, v)| (*n, v.as_str())), 1.0);
    if let Some(now) = now {
        metrics.begin("last_run_timestamp_seconds", "When the run ended.");
        metrics.add("last_run_timestamp_seconds", &[], now);
    }
    metrics.text
}

/// The value of a label.
fn escaped(text: &str) -> String {
    let text = text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
    text.replace(|c: char| c.is_control(), " ")
}
