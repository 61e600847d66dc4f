//! Version 1 of the JSON documents. Owns its structs: inner types may change, these may only grow.

use serde::Serialize;
use serde_json::Value;

use super::TOOL;
use super::lock::Standing;
use crate::domain::{Code, Finding, Severity};
use crate::lock::Lockfile;
use crate::matrix::{GpuMatch, Matrix};
use crate::resolve::physics::Served;
use crate::resolve::{
    DriverBounds, Explanation, JudgedGpu, Judgement, LeftOut, Outcome, Pin, PinIndex, Stack,
    Unplaced,
};

#[derive(Serialize)]
struct Named<'a> {
    name: &'a str,
    version: &'a str,
}

#[derive(Serialize)]
struct MatrixId<'a> {
    id: &'a str,
    digest: &'a str,
    overlays: &'a [String],
}

#[derive(Serialize)]
struct Document<'a, T> {
    schema: Named<'a>,
    tool: Named<'a>,
    matrix: MatrixId<'a>,
    #[serde(flatten)]
    body: T,
}

/// A finding.
#[derive(Serialize)]
pub(super) struct FindingV1<'a> {
    code: Code,
    severity: Severity,
    message: &'a str,
    facts: Vec<FactV1<'a>>,
    help: &'a [String],
    path: Option<&'a str>,
    line: Option<usize>,
}

#[derive(Serialize)]
struct FactV1<'a> {
    text: &'a str,
    source: &'a str,
}

#[derive(Serialize)]
struct ServedV1 {
    kind: &'static str,
    code: Option<String>,
}

#[derive(Serialize)]
struct GpuV1<'a> {
    given: &'a str,
    name: &'a str,
    capability: String,
    served_by: Option<ServedV1>,
}

#[derive(Serialize)]
struct DriverV1<'a> {
    given: Option<&'a str>,
    min: Option<String>,
    native: Option<String>,
    max_branch: Option<u16>,
    mode: Option<&'static str>,
}

#[derive(Serialize)]
struct WheelV1 {
    version: String,
    variant: String,
    platform: Option<String>,
    on_pypi: bool,
    cuda: Option<String>,
    cudnn: Option<String>,
}

#[derive(Serialize)]
struct CheckV1<'a> {
    verdict: Code,
    findings: Vec<FindingV1<'a>>,
    gpus: Vec<GpuV1<'a>>,
    driver: DriverV1<'a>,
    wheel: Option<WheelV1>,
    not_judged: &'a [String],
}

#[derive(Serialize)]
struct ResolveV1<'a> {
    result: &'static str,
    targets: Vec<TargetV1<'a>>,
    left_out: Vec<LeftOutV1<'a>>,
    /// How gpuseal.lock stands to it, where that was asked too.
    #[serde(skip_serializing_if = "Option::is_none")]
    lock: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    explanation: Option<ExplanationV1<'a>>,
}

#[derive(Serialize)]
struct LeftOutV1<'a> {
    name: &'a str,
    why: &'a str,
}

#[derive(Serialize)]
struct TargetV1<'a> {
    name: &'a str,
    platform: String,
    python: String,
    torch: TorchV1,
    cuda: String,
    toolkit: Option<String>,
    cudnn: Option<String>,
    nccl: Option<&'a str>,
    triton: Option<&'a str>,
    packages: Vec<PackageV1<'a>>,
    driver: DriverV1<'a>,
    gpus: Vec<GpuV1<'a>>,
    base_image: BaseV1<'a>,
    glibc_min: Option<String>,
    alternatives: Vec<AlternativeV1<'a>>,
    findings: Vec<FindingV1<'a>>,
}

#[derive(Serialize)]
struct TorchV1 {
    version: String,
    variant: String,
    local: Option<String>,
    index: String,
}

#[derive(Serialize)]
struct PackageV1<'a> {
    name: &'a str,
    version: Option<&'a str>,
    specifier: Option<&'a str>,
    local: Option<&'a str>,
    index: String,
    requested: bool,
}

#[derive(Serialize)]
struct BaseV1<'a> {
    name: &'a str,
    tag: &'a str,
    flavour: &'a str,
    builder: Option<String>,
    apt: &'a [String],
    why: &'a str,
}

#[derive(Serialize)]
struct AlternativeV1<'a> {
    change: &'a str,
    gives: &'a str,
    costs: &'a str,
}

#[derive(Serialize)]
struct ExplanationV1<'a> {
    clash: &'a [String],
    targets: &'a [String],
    findings: Vec<FindingV1<'a>>,
    cures: Vec<CureV1<'a>>,
}

#[derive(Serialize)]
struct CureV1<'a> {
    change: &'a str,
    gives: &'a str,
}

/// Words of an index in every document and in the lock.
pub fn index_name(index: PinIndex) -> String {
    match index {
        PinIndex::Pypi => "pypi".into(),
        PinIndex::Pytorch(variant) => format!("pytorch-{variant}"),
    }
}

pub(super) fn document<T: Serialize>(name: &str, matrix: &Matrix, body: T) -> String {
    let (id, digest, overlays) = (&matrix.id, &matrix.digest, &matrix.overlays);
    stamped(name, MatrixId { id, digest, overlays }, body)
}

/// A document about a lock: the matrix is the one that it was made with.
pub(super) fn document_of_lock<T: Serialize>(name: &str, lock: &Lockfile, body: T) -> String {
    let overlays: Vec<_> = lock.matrix.overlays.iter().map(ToString::to_string).collect();
    let (id, digest) = (lock.matrix.id.as_str(), lock.matrix.digest.as_str());
    stamped(name, MatrixId { id, digest, overlays: &overlays }, body)
}

fn stamped<T: Serialize>(name: &str, matrix: MatrixId<'_>, body: T) -> String {
    let document = Document {
        schema: Named { name, version: "1.0" },
        tool: Named { name: TOOL.0, version: TOOL.1 },
        matrix,
        body,
    };
    written(&document)
}

/// A document as text.
pub(super) fn written<T: Serialize>(document: &T) -> String {
    let mut text = serde_json::to_string_pretty(document)
        .unwrap_or_else(|err| format!("{{\"error\": \"{err}\"}}"));
    text.push('\n');
    text
}

pub(super) fn finding(finding: &Finding) -> FindingV1<'_> {
    FindingV1 {
        code: finding.code,
        severity: finding.severity,
        message: &finding.message,
        facts: finding.facts.iter().map(|f| FactV1 { text: &f.text, source: &f.source }).collect(),
        help: &finding.help,
        path: finding.place.as_ref().map(|p| p.file.as_str()),
        line: finding.place.as_ref().map(|p| p.line),
    }
}

fn gpu(gpu: &GpuMatch, served: Option<Served>) -> GpuV1<'_> {
    GpuV1 {
        given: &gpu.given,
        name: &gpu.name,
        capability: gpu.capability.to_string(),
        served_by: served.map(served_v1),
    }
}

fn served_v1(served: Served) -> ServedV1 {
    let (kind, code) = match served {
        Served::Exact(code) => ("exact", Some(code)),
        Served::SameMajor(code) => ("same-major", Some(code)),
        Served::Ptx(code) => ("ptx", Some(code)),
        Served::Nothing => ("none", None),
        Served::Unknown => ("unknown", None),
    };
    ServedV1 { kind, code: code.map(|c| c.to_string()) }
}

fn gpus(list: &[JudgedGpu]) -> Vec<GpuV1<'_>> {
    list.iter().map(|j| gpu(&j.gpu, j.served)).collect()
}

fn driver<'a>(bounds: &DriverBounds, given: Option<&'a str>) -> DriverV1<'a> {
    DriverV1 {
        given,
        min: bounds.min.map(|v| v.to_string()),
        native: bounds.native.map(|v| v.to_string()),
        max_branch: bounds.max_branch,
        mode: bounds.mode.map(crate::resolve::DriverMode::word),
    }
}

/// `gpuseal.check`
pub fn check(judgement: &Judgement<'_>, given_driver: Option<&str>, matrix: &Matrix) -> String {
    let wheel = judgement.wheel.map(|w| WheelV1 {
        version: w.release.version.to_string(),
        variant: w.variant.name.to_string(),
        platform: w.build.map(|b| b.platform.to_string()),
        on_pypi: w.on_pypi,
        cuda: w.variant.cuda.map(|c| c.to_string()),
        cudnn: w.variant.cudnn.map(|c| c.to_string()),
    });
    document(
        "gpuseal.check",
        matrix,
        CheckV1 {
            verdict: judgement.verdict,
            findings: judgement.findings.iter().map(finding).collect(),
            gpus: gpus(&judgement.gpus),
            driver: driver(&judgement.driver, given_driver),
            wheel,
            not_judged: &judgement.not_judged,
        },
    )
}

fn target(stack: &Stack) -> TargetV1<'_> {
    let index =
        stack.packages.iter().find(|p| p.name == "torch").map_or(PinIndex::Pypi, |p| p.index);
    TargetV1 {
        name: &stack.target,
        platform: stack.platform.to_string(),
        python: stack.python.to_string(),
        torch: TorchV1 {
            version: stack.torch.to_string(),
            variant: stack.variant.to_string(),
            local: (!stack.from_pypi).then(|| stack.variant.to_string()),
            index: index_name(index),
        },
        cuda: stack.cuda.to_string(),
        toolkit: stack.toolkit.map(|t| t.to_string()),
        cudnn: stack.cudnn.map(|c| c.to_string()),
        nccl: stack.nccl.as_deref(),
        triton: stack.triton.as_deref(),
        packages: stack.packages.iter().map(package).collect(),
        driver: driver(&stack.driver, stack.driver_given.as_deref()),
        gpus: gpus(&stack.gpus),
        base_image: BaseV1 {
            name: &stack.base.repository,
            tag: &stack.base.tag,
            flavour: &stack.base.flavour,
            builder: stack.base.builder.as_ref().map(|(name, tag)| format!("{name}:{tag}")),
            apt: &stack.base.apt,
            why: &stack.base.why,
        },
        glibc_min: stack.glibc_min.map(|g| g.to_string()),
        alternatives: stack
            .alternatives
            .iter()
            .map(|a| AlternativeV1 { change: &a.change, gives: &a.gives, costs: &a.costs })
            .collect(),
        findings: stack.findings.iter().map(finding).collect(),
    }
}

fn package(pin: &Pin) -> PackageV1<'_> {
    PackageV1 {
        name: &pin.name,
        version: pin.version.as_deref(),
        specifier: pin.specifier.as_deref(),
        local: pin.local.as_deref(),
        index: index_name(pin.index),
        requested: pin.requested,
    }
}

/// `gpuseal.resolve`
pub fn resolve(outcome: &Outcome, lock: Option<&Standing>, matrix: &Matrix) -> String {
    let left_out: &[LeftOut] = match outcome {
        Outcome::Solved(resolution) => &resolution.left_out,
        _ => &[],
    };
    let (result, stacks, explanation): (_, &[Stack], Option<&Explanation>) = match outcome {
        Outcome::Solved(resolution) => ("ok", &resolution.stacks, None),
        Outcome::Unsatisfiable(explanation) => ("unsatisfiable", &[], Some(explanation)),
        Outcome::Unknown(explanation) => ("unknown", &[], Some(explanation)),
    };
    document(
        "gpuseal.resolve",
        matrix,
        ResolveV1 {
            result,
            targets: stacks.iter().map(target).collect(),
            left_out: left_out.iter().map(|l| LeftOutV1 { name: &l.name, why: &l.why }).collect(),
            lock: lock.map(Standing::json),
            explanation: explanation.map(|e| ExplanationV1 {
                clash: &e.clash,
                targets: &e.targets,
                findings: e.reasons.iter().map(finding).collect(),
                cures: e
                    .cures
                    .iter()
                    .map(|c| CureV1 { change: &c.change, gives: &c.gives })
                    .collect(),
            }),
        },
    )
}

/// A name the matrix does not know, in the shape of the command that met it.
pub fn unplaced(command: &str, list: &[Unplaced], matrix: &Matrix) -> String {
    let findings: Vec<Value> = list
        .iter()
        .map(|u| {
            let help: Vec<_> = u.near.iter().map(|n| format!("did you mean `{n}`?")).collect();
            serde_json::json!({
                "code": Code::Unknown, "severity": Severity::Unknown, "message": u.message,
                "facts": [], "help": help, "path": null, "line": null,
            })
        })
        .collect();
    let key = if command == "gpuseal.check" { "verdict" } else { "result" };
    document(command, matrix, serde_json::json!({ key: "unknown", "findings": findings }))
}

/// `gpuseal.matrix`: rows, or one release's name.
pub fn rows(rows: &[crate::matrix::Row], matrix: &Matrix) -> String {
    let list: Vec<Value> = rows
        .iter()
        .map(|row| serde_json::json!({ "table": row.table, "key": row.key, "row": row.value }))
        .collect();
    document("gpuseal.matrix", matrix, serde_json::json!({ "rows": list }))
}
