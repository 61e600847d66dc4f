//! Kubernetes: a Job for each target, with its GPU by the device plugin or by Dynamic Resource Allocation.

use std::collections::BTreeMap;

use serde::Serialize;

use super::nodes::{self, Term};
use super::{SHARED_MEMORY, document, head};
use crate::lock::{self, Lockfile};
use crate::render::context::Target;
use crate::render::{Error, Kind, Page, smoke};
use crate::yaml::FlowSeq;

/// The user that the Dockerfile makes.
const USER: u32 = 10001;
/// The resource of NVIDIA's device plugin; nodes with GPUs are tainted by the same name.
const GPU: &str = "nvidia.com/gpu";
/// The class of NVIDIA's driver for Dynamic Resource Allocation.
const DEVICE_CLASS: &str = "gpu.nvidia.com";

const SAYS: &str = "A Job for each target: it proves that torch computes on the GPU. Copy it, replace `command` by your
program and raise `requests` to what that takes; as they are, the smallest nodes with a GPU have them.
A Job cannot be changed: the same one runs again by `kubectl replace --force -f FILE`.
The image has to be where the nodes can pull it: name it with --image.";
const BY_LABELS: &str = "Nodes are chosen by the labels of GPU feature discovery, which comes with NVIDIA's GPU operator. The
device plugins of GKE and EKS set none of them: without these labels the pod stays pending.";
const BY_CLAIM: &str = "GPUs are claimed by Dynamic Resource Allocation: Kubernetes 1.34 and NVIDIA's DRA driver, whose Helm chart
publishes no GPU unless it is installed with `gpuResourcesEnabledOverride=true`. NVIDIA's device plugin
must not run on the same nodes: each of the two would give out the same GPU.";
/// A pod that asks for no CPU and memory is the first that a full node evicts. A machine of a cloud with
/// one GPU has 4 CPUs and 16 GB, not all of which are for pods.
const REQUESTS: [(&str, &str); 2] = [("cpu", "2"), ("memory", "8Gi")];
/// A Job that ended is kept for its logs, in seconds.
const KEPT: u32 = 24 * 60 * 60;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Object<S> {
    api_version: &'static str,
    kind: &'static str,
    metadata: Metadata,
    spec: S,
}

#[derive(Serialize, Clone)]
struct Metadata {
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    labels: BTreeMap<&'static str, String>,
    annotations: BTreeMap<&'static str, String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct JobSpec {
    /// A GPU that computes something else does so again.
    backoff_limit: u32,
    ttl_seconds_after_finished: u32,
    template: Template<PodSpec>,
}

#[derive(Serialize)]
struct Template<S> {
    #[serde(skip_serializing_if = "Option::is_none")]
    metadata: Option<Metadata>,
    spec: S,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct PodSpec {
    restart_policy: &'static str,
    automount_service_account_token: bool,
    node_selector: BTreeMap<&'static str, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    affinity: Option<Affinity>,
    tolerations: [Toleration; 1],
    security_context: PodSecurity,
    #[serde(skip_serializing_if = "Option::is_none")]
    resource_claims: Option<[PodClaim; 1]>,
    containers: [Container; 1],
    volumes: [Volume; 1],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Affinity {
    node_affinity: NodeAffinity,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct NodeAffinity {
    #[serde(rename = "requiredDuringSchedulingIgnoredDuringExecution")]
    required: NodeSelector,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct NodeSelector {
    node_selector_terms: Vec<Term>,
}

#[derive(Serialize)]
struct Toleration {
    key: &'static str,
    operator: &'static str,
    effect: &'static str,
}

/// As the "restricted" standard for pods asks. The root file system stays writable: torch.compile and
/// Triton keep what they compiled in the home of the user, which is also where programs lie.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct PodSecurity {
    run_as_non_root: bool,
    run_as_user: u32,
    run_as_group: u32,
    seccomp_profile: Seccomp,
}

#[derive(Serialize)]
struct Seccomp {
    #[serde(rename = "type")]
    kind: &'static str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Container {
    name: &'static str,
    image: String,
    command: [&'static str; 3],
    resources: Resources,
    security_context: ContainerSecurity,
    volume_mounts: [Mount; 1],
}

#[derive(Serialize)]
struct Resources {
    requests: BTreeMap<&'static str, &'static str>,
    #[serde(flatten)]
    gpu: Gpu,
}

#[derive(Serialize)]
#[serde(rename_all = "lowercase")]
enum Gpu {
    Limits(BTreeMap<&'static str, &'static str>),
    Claims([ClaimName; 1]),
}

#[derive(Serialize)]
struct ClaimName {
    name: &'static str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ContainerSecurity {
    allow_privilege_escalation: bool,
    capabilities: Capabilities,
}

#[derive(Serialize)]
struct Capabilities {
    drop: FlowSeq<[&'static str; 1]>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Mount {
    name: &'static str,
    mount_path: &'static str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Volume {
    name: &'static str,
    empty_dir: EmptyDir,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct EmptyDir {
    medium: &'static str,
    size_limit: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct PodClaim {
    name: &'static str,
    resource_claim_template_name: String,
}

#[derive(Serialize)]
struct ClaimSpec {
    devices: Devices,
}

#[derive(Serialize)]
struct Devices {
    requests: [Request; 1],
}

#[derive(Serialize)]
struct Request {
    name: &'static str,
    exactly: Exactly,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Exactly {
    device_class_name: &'static str,
    selectors: Vec<Selector>,
}

#[derive(Serialize)]
struct Selector {
    cel: Cel,
}

#[derive(Serialize)]
struct Cel {
    expression: String,
}

/// The file: one document for each object.
pub(super) fn text(page: &Page, lock: &Lockfile, dra: bool) -> Result<String, Error> {
    let says = format!("{SAYS}\n{}", if dra { BY_CLAIM } else { BY_LABELS });
    let mut text = head(Kind::K8s, page, &says);
    let mut names: BTreeMap<String, &str> = BTreeMap::new();
    let digest = lock.digest();
    for target in &page.targets {
        let (label, name) = (dashed(&target.name), short(&target.name));
        if let Some(one) = names.insert(name.clone(), &target.name) {
            let other = target.name.clone();
            return Err(Error::SameName { one: one.into(), other, name });
        }
        // The page is of this lock.
        let Some(locked) = lock.target(&target.name) else { continue };
        let metadata = Metadata {
            // What these objects describe cannot be changed: another lock makes others, as it makes other
            // images.
            name: Some(format!("{name}-{}", &digest.hex()[..12])),
            labels: BTreeMap::from([
                ("app.kubernetes.io/name", label.clone()),
                ("dev.gpuseal/target", label),
            ]),
            annotations: BTreeMap::from([("dev.gpuseal/lock-digest", page.lock.digest.clone())]),
        };
        if dra {
            text.push_str("---\n");
            text.push_str(&document(&claim(metadata.clone(), locked)));
        }
        text.push_str("---\n");
        text.push_str(&document(&job(metadata, target, locked, dra)));
    }
    Ok(text)
}

/// As much of a target's name as leaves room for a lock in the 63 signs of a Job's name.
fn short(target: &str) -> String {
    dashed(&target[..target.len().min(50)])
}

/// A target's name by RFC 1123, as Kubernetes wants it.
fn dashed(target: &str) -> String {
    target.replace('_', "-").trim_end_matches('-').to_owned()
}

fn job(metadata: Metadata, target: &Target, locked: &lock::Target, dra: bool) -> Object<JobSpec> {
    let resource_claims = metadata
        .name
        .clone()
        .filter(|_| dra)
        .map(|name| [PodClaim { name: "gpu", resource_claim_template_name: name }]);
    let affinity = Affinity {
        node_affinity: NodeAffinity {
            required: NodeSelector { node_selector_terms: nodes::terms(locked) },
        },
    };
    let container = Container {
        name: "main",
        image: target.image.clone(),
        command: ["python", "-c", smoke::PROGRAM],
        resources: Resources {
            requests: BTreeMap::from(REQUESTS),
            gpu: if dra {
                Gpu::Claims([ClaimName { name: "gpu" }])
            } else {
                Gpu::Limits(BTreeMap::from([(GPU, "1")]))
            },
        },
        security_context: ContainerSecurity {
            allow_privilege_escalation: false,
            capabilities: Capabilities { drop: FlowSeq(["ALL"]) },
        },
        volume_mounts: [Mount { name: "shm", mount_path: "/dev/shm" }],
    };
    let pod = PodSpec {
        restart_policy: "Never",
        automount_service_account_token: false,
        node_selector: BTreeMap::from([("kubernetes.io/arch", target.arch.clone())]),
        affinity: (!dra).then_some(affinity),
        tolerations: [Toleration { key: GPU, operator: "Exists", effect: "NoSchedule" }],
        security_context: PodSecurity {
            run_as_non_root: true,
            run_as_user: USER,
            run_as_group: USER,
            seccomp_profile: Seccomp { kind: "RuntimeDefault" },
        },
        resource_claims,
        containers: [container],
        volumes: [Volume {
            name: "shm",
            empty_dir: EmptyDir { medium: "Memory", size_limit: format!("{SHARED_MEMORY}Gi") },
        }],
    };
    let inner = Metadata { name: None, ..metadata.clone() };
    Object {
        api_version: "batch/v1",
        kind: "Job",
        metadata,
        spec: JobSpec {
            backoff_limit: 0,
            ttl_seconds_after_finished: KEPT,
            template: Template { metadata: Some(inner), spec: pod },
        },
    }
}

fn claim(metadata: Metadata, locked: &lock::Target) -> Object<Template<ClaimSpec>> {
    let selectors = nodes::selectors(locked)
        .into_iter()
        .map(|expression| Selector { cel: Cel { expression } })
        .collect();
    let request =
        Request { name: "gpu", exactly: Exactly { device_class_name: DEVICE_CLASS, selectors } };
    Object {
        api_version: "resource.k8s.io/v1",
        kind: "ResourceClaimTemplate",
        metadata,
        spec: Template {
            metadata: None,
            spec: ClaimSpec { devices: Devices { requests: [request] } },
        },
    }
}
