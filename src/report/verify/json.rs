//! `gpuseal.verify`, version 1: written, and read back. Owns its structs: inner types may change, these may
//! only grow.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::super::json_v1::{self, FindingV1};
use super::{findings, summary};
use crate::domain::{Code, Fact, Gather as _, shown};
use crate::matrix::Matrix;
use crate::verify::{
    Check, Device, Layer, Mode, Outcome, Ran, Subject, Verdict, Verification, session,
};

/// Name of the document.
const NAME: &str = "gpuseal.verify";

/// The version whose documents are read; later fields of it are ignored.
const MAJOR: &str = "1";

/// Bytes of a document; a run on eight devices has one megabyte.
const LONGEST: usize = 4 << 20;

/// Bytes that Kubernetes keeps of a message, less a line end.
const MESSAGE: usize = 4095;

#[derive(Serialize)]
struct VerifyV1<'v> {
    verdict: Verdict,
    summary: String,
    subject: SubjectV1,
    devices: Vec<DeviceV1>,
    layers: Vec<CheckV1>,
    /// Layers as a whole.
    runs: Vec<RunV1>,
    findings: Vec<FindingV1<'v>>,
    seed: Option<u64>,
    seconds: f64,
}

#[derive(Serialize, Deserialize)]
struct SubjectV1 {
    mode: Mode,
    image: Option<String>,
    image_digest: Option<String>,
    engine: Option<String>,
    lock_digest: Option<String>,
    target: Option<String>,
    driver: Option<String>,
    driver_cuda: Option<String>,
    torch: Option<String>,
}

#[derive(Serialize, Deserialize)]
struct DeviceV1 {
    index: u32,
    name: String,
    uuid: Option<String>,
    address: Option<String>,
    capability: Option<String>,
    multiprocessors: Option<u32>,
    memory: Option<u64>,
}

#[derive(Serialize, Deserialize)]
struct CheckV1 {
    layer: Layer,
    device: Option<u32>,
    check: String,
    outcome: Outcome,
    /// A word that only a later version knows is no reason to read nothing.
    code: String,
    text: String,
    needed: bool,
    numbers: Map<String, Value>,
    facts: Vec<Fact>,
    help: Vec<String>,
}

#[derive(Serialize, Deserialize)]
struct RunV1 {
    layer: Layer,
    device: Option<u32>,
    outcome: Outcome,
    seconds: f64,
}

impl From<&Subject> for SubjectV1 {
    fn from(subject: &Subject) -> Self {
        let Subject {
            mode,
            image,
            image_digest,
            engine,
            lock_digest,
            target,
            driver,
            driver_cuda,
            torch,
        } = subject.clone();
        Self { mode, image, image_digest, engine, lock_digest, target, driver, driver_cuda, torch }
    }
}

impl From<SubjectV1> for Subject {
    fn from(subject: SubjectV1) -> Self {
        let SubjectV1 {
            mode,
            image,
            image_digest,
            engine,
            lock_digest,
            target,
            driver,
            driver_cuda,
            torch,
        } = subject;
        Self { mode, image, image_digest, engine, lock_digest, target, driver, driver_cuda, torch }
    }
}

impl From<&Device> for DeviceV1 {
    fn from(device: &Device) -> Self {
        let Device { index, name, uuid, address, capability, multiprocessors, memory } =
            device.clone();
        Self { index, name, uuid, address, capability, multiprocessors, memory }
    }
}

impl From<DeviceV1> for Device {
    fn from(device: DeviceV1) -> Self {
        let DeviceV1 { index, name, uuid, address, capability, multiprocessors, memory } = device;
        Self { index, name, uuid, address, capability, multiprocessors, memory }
    }
}

fn check(ran: &Ran, check: &Check) -> CheckV1 {
    CheckV1 {
        layer: ran.layer,
        device: ran.device,
        check: check.name.clone(),
        outcome: check.outcome,
        code: check.code.to_string(),
        text: check.text.clone(),
        needed: !check.optional,
        numbers: check.numbers.clone(),
        facts: check.facts.clone(),
        help: check.help.clone(),
    }
}

/// The document.
pub fn json(verification: &Verification, matrix: &Matrix) -> String {
    let found = findings(verification);
    let run = |ran: &Ran| RunV1 {
        layer: ran.layer,
        device: ran.device,
        outcome: ran.outcome(),
        seconds: rounded(ran.seconds),
    };
    let body = VerifyV1 {
        verdict: verification.verdict,
        summary: summary(verification),
        subject: (&verification.subject).into(),
        devices: verification.devices.iter().map(DeviceV1::from).collect(),
        layers: verification.checks().map(|(ran, of)| check(ran, of)).collect(),
        runs: verification.layers.iter().map(run).collect(),
        findings: found.iter().map(json_v1::finding).collect(),
        seed: verification.seed,
        seconds: rounded(verification.seconds),
    };
    json_v1::document(NAME, matrix, body)
}

/// Milliseconds are enough.
fn rounded(seconds: f64) -> f64 {
    (seconds * 1000.0).round() / 1000.0
}

/// One line for what keeps only a few kilobytes, such as Kubernetes's termination message.
pub fn summed_up(verification: &Verification) -> String {
    let failed = verification.checks().filter(|(_, check)| check.outcome.is_failure());
    let failed: Vec<Value> = failed
        .map(|(ran, check)| {
            json!({
                "layer": ran.layer.word(), "device": ran.device, "check": short(&check.name),
                "code": check.code, "text": short(&check.text),
            })
        })
        .collect();
    let subject = &verification.subject;
    let decisive = verification.decisive().map(|(_, check)| check.code);
    let mut count = failed.len().min(20);
    loop {
        let line = json!({
            "gpuseal": "verify",
            "verdict": verification.verdict,
            "code": decisive,
            "summary": short(&summary(verification)),
            "image_digest": subject.image_digest.as_deref().map(short),
            "lock_digest": subject.lock_digest.as_deref().map(short),
            "driver": subject.driver.as_deref().map(short),
            "failures": failed.len(),
            "failed": &failed[..count],
        })
        .to_string();
        if line.len() <= MESSAGE || count == 0 {
            return line;
        }
        count -= 1;
    }
}

fn short(text: &str) -> String {
    text.chars().take(300).collect()
}

/// A report that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// Far too long.
    #[error("the report has {0} bytes, more than the {LONGEST} that are read")]
    Long(usize),
    /// It is no JSON, or cut off.
    #[error("the report is not JSON: {0}")]
    Syntax(#[source] serde_json::Error),
    /// Another document.
    #[error("this is no report of `gpuseal verify`: its schema is `{0}`, not `{NAME}`")]
    Other(String),
    /// A later major version.
    #[error("the report has version {0} of `{NAME}`; this program reads version {MAJOR}")]
    Version(String),
    /// A field is missing or holds something else.
    #[error("the report is damaged: `{field}`: {why}")]
    Field {
        /// Where.
        field: &'static str,
        /// What is wrong.
        why: serde_json::Error,
    },
    /// A check of a layer that was not run.
    #[error("the report is damaged: it has checks of `{0}`, and that layer is not among its runs")]
    Stray(&'static str),
    /// It says something else than its checks.
    #[error("the report says `{0}`, and its checks come to `{1}`")]
    Contradiction(&'static str, &'static str),
}

impl ReadError {
    /// What to do.
    pub fn help(&self) -> String {
        match self {
            Self::Version(_) => "read it with the gpuseal that wrote it, or a newer one".into(),
            Self::Other(_) => "write one with `gpuseal verify ... --report json=FILE`".into(),
            _ => "take the report as `gpuseal verify --format json` has written it".into(),
        }
    }
}

/// A report of an earlier run.
#[derive(Debug, Clone, PartialEq)]
pub struct Reading {
    /// What it says.
    pub verification: Verification,
    /// Version of the gpuseal that wrote it.
    pub tool: String,
}

/// Reads a report: what it verified.
///
/// # Errors
/// It is none, one of a later major version, or damaged.
pub fn read(text: &str) -> Result<Verification, ReadError> {
    reading(text).map(|reading| reading.verification)
}

/// Reads a report, with who wrote it.
///
/// # Errors
/// As [`read`].
pub fn reading(text: &str) -> Result<Reading, ReadError> {
    if text.len() > LONGEST {
        return Err(ReadError::Long(text.len()));
    }
    let mut document: Value = serde_json::from_str(text).map_err(ReadError::Syntax)?;
    plain(&mut document);
    let name = document["schema"]["name"].as_str().unwrap_or_default();
    if name != NAME {
        return Err(ReadError::Other(shown(name)));
    }
    let version = document["schema"]["version"].as_str().unwrap_or_default();
    if version.split('.').next() != Some(MAJOR) {
        return Err(ReadError::Version(shown(version)));
    }
    let tool = document["tool"]["version"].as_str().unwrap_or_default().to_owned();
    let mut field = |name: &'static str| (name, document[name].take());
    let verdict: Verdict = parsed(field("verdict"))?;
    let subject: SubjectV1 = parsed(field("subject"))?;
    let devices: Vec<DeviceV1> = parsed(field("devices"))?;
    let runs: Vec<RunV1> = parsed(field("runs"))?;
    let checks: Vec<CheckV1> = parsed(field("layers"))?;
    let seed: Option<u64> = parsed(field("seed"))?;
    let seconds: f64 = parsed(field("seconds"))?;
    let mut layers: Vec<Ran> = Vec::new();
    for run in runs {
        layers.push(Ran {
            layer: run.layer,
            device: run.device,
            seconds: run.seconds,
            checks: Vec::new(),
        });
    }
    for of in checks {
        let mut runs = layers.iter_mut();
        let ran = runs.find(|ran| ran.layer == of.layer && ran.device == of.device);
        let ran = ran.ok_or(ReadError::Stray(of.layer.word()))?;
        ran.checks.push(Check {
            name: of.check,
            outcome: of.outcome,
            code: of.code.parse().unwrap_or(Code::Unknown),
            text: of.text,
            numbers: of.numbers,
            facts: of.facts,
            help: of.help,
            optional: !of.needed,
        });
    }
    // What was damaged or edited must not pass for something better.
    let comes_to = session::verdict(&layers);
    if comes_to as u8 > verdict as u8 {
        return Err(ReadError::Contradiction(verdict.word(), comes_to.word()));
    }
    let devices = devices.into_iter().map(Device::from).gather();
    let subject = subject.into();
    let verification = Verification { verdict, subject, devices, layers, seed, seconds };
    Ok(Reading { verification, tool })
}

/// An image on trial wrote it, perhaps: nothing in it moves a cursor or begins a line.
fn plain(value: &mut Value) {
    match value {
        Value::String(text) if text.contains(char::is_control) => {
            *text = text.replace(char::is_control, " ");
        }
        Value::Array(list) => list.iter_mut().for_each(plain),
        Value::Object(map) => {
            // Names of numbers are said as well.
            *map = std::mem::take(map)
                .into_iter()
                .map(|(name, mut value)| {
                    plain(&mut value);
                    (name.replace(char::is_control, " "), value)
                })
                .collect();
        }
        _ => (),
    }
}

fn parsed<T: serde::de::DeserializeOwned>(
    (field, value): (&'static str, Value),
) -> Result<T, ReadError> {
    serde_json::from_value(value).map_err(|why| ReadError::Field { field, why })
}
