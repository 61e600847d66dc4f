//! An in-toto statement: what was verified, about which image, lock, GPU and driver. docs/attestation.md has
//! its fields.

use serde_json::{Value, json};

use super::super::{HOME, TOOL, json_v1};
use super::summary;
use crate::domain::Sha256;
use crate::matrix::Matrix;
use crate::verify::{Subject, Verification};

/// What the statement is about: a name, and the hexadecimal digits of its sha256. The image where there is one,
/// else the lock; `None`: nothing that has a digest.
pub fn digest(subject: &Subject) -> Option<(&str, String)> {
    let digits = |digest: &Option<String>| {
        let digest: Sha256 = digest.as_deref()?.parse().ok()?;
        Some(digest.to_string().trim_start_matches("sha256:").to_owned())
    };
    let image = digits(&subject.image_digest)
        .map(|digits| (subject.image.as_deref().unwrap_or("image"), digits));
    image.or_else(|| Some(("gpuseal.lock", digits(&subject.lock_digest)?)))
}

/// The statement. A failure is stated too: its verdict stands in it. `None`: there is nothing to name.
pub fn attest(verification: &Verification, matrix: &Matrix) -> Option<String> {
    let subject = &verification.subject;
    let (name, digits) = digest(subject)?;
    let devices = verification.devices.iter().map(|device| {
        json!({
            "index": device.index, "name": device.name, "uuid": device.uuid,
            "capability": device.capability,
        })
    });
    let checks = verification.checks().map(|(ran, check)| {
        json!({
            "layer": ran.layer, "device": ran.device, "check": check.name,
            "outcome": check.outcome, "code": check.code, "needed": !check.optional,
            "numbers": check.numbers,
        })
    });
    Some(json_v1::written(&json!({
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{ "name": name, "digest": { "sha256": digits } }],
        "predicateType": format!("{HOME}/verify/v1"),
        "predicate": {
            "verdict": verification.verdict,
            "summary": summary(verification),
            "mode": subject.mode,
            "verifier": { "name": TOOL.0, "version": TOOL.1, "home": HOME },
            "matrix": { "id": matrix.id, "digest": matrix.digest },
            "image": { "name": subject.image, "digest": subject.image_digest },
            "lock": { "digest": subject.lock_digest, "target": subject.target },
            "torch": subject.torch,
            "driver": { "version": subject.driver, "cuda": subject.driver_cuda },
            "devices": devices.collect::<Vec<Value>>(),
            "seed": verification.seed,
            "seconds": verification.seconds,
            "checks": checks.collect::<Vec<Value>>(),
        },
    })))
}
