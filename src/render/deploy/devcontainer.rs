//! `devcontainer.json`, by the Development Container specification.

use std::collections::BTreeMap;

use serde::Serialize;

use super::SHARED_MEMORY;
use crate::render::{Gpu, Page};

/// The environment that the Dockerfile makes.
const PYTHON: &str = "/opt/venv/bin/python";
/// The user that it makes.
const USER: &str = "app";
/// The image has no git, which editors want; this is the distribution's.
const GIT: (&str, Feature) =
    ("ghcr.io/devcontainers/features/git:1", Feature { version: "os-provided" });

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Devcontainer {
    name: String,
    build: Build,
    features: BTreeMap<&'static str, Feature>,
    run_args: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    host_requirements: Option<HostRequirements>,
    init: bool,
    /// By name, as the first process would else keep the number that the image gives this user: on Linux the
    /// tool changes it to that of the person.
    container_user: &'static str,
    remote_user: &'static str,
    customizations: Customizations,
}

/// Paths are seen from `.devcontainer/NAME/`.
#[derive(Serialize)]
struct Build {
    dockerfile: String,
    context: String,
    target: String,
    options: [String; 1],
}

#[derive(Serialize)]
struct Feature {
    version: &'static str,
}

#[derive(Serialize)]
struct HostRequirements {
    gpu: &'static str,
}

#[derive(Serialize)]
struct Customizations {
    vscode: Vscode,
    gpuseal: Origin,
}

#[derive(Serialize)]
struct Vscode {
    extensions: [&'static str; 1],
    settings: Settings,
}

#[derive(Serialize)]
struct Settings {
    #[serde(rename = "python.defaultInterpreterPath")]
    interpreter: &'static str,
}

/// What stands in a comment elsewhere.
#[derive(Serialize)]
struct Origin {
    note: &'static str,
    lock: String,
    target: String,
}

/// The file of the one target of a page; `project` is the way to the project from where it lies.
///
/// A GPU that is required is an argument of `docker run`, which fails without one. One that is optional is
/// a requirement of the host: the tool then looks for the NVIDIA runtime and adds the argument itself. Both
/// at once would ask for the GPUs twice.
pub(super) fn text(page: &Page, gpu: Gpu, project: &str) -> String {
    let mut text = String::new();
    for target in &page.targets {
        let mut run_args = vec![format!("--shm-size={SHARED_MEMORY}g")];
        if gpu == Gpu::Required {
            run_args.push("--gpus=all".into());
        }
        let file = Devcontainer {
            name: format!("{}: torch {}, CUDA {}", target.name, target.torch, target.cuda),
            build: Build {
                dockerfile: format!("{project}/Dockerfile"),
                context: project.to_owned(),
                target: target.name.clone(),
                options: [format!("--platform={}", target.platform)],
            },
            features: BTreeMap::from([GIT]),
            run_args,
            host_requirements: (gpu == Gpu::Optional)
                .then_some(HostRequirements { gpu: "optional" }),
            init: true,
            container_user: USER,
            remote_user: USER,
            customizations: Customizations {
                vscode: Vscode {
                    extensions: ["ms-python.python"],
                    settings: Settings { interpreter: PYTHON },
                },
                gpuseal: Origin {
                    note: "Written by gpuseal from gpuseal.lock. Do not edit: change gpuseal.yaml, run `gpuseal lock`, then `gpuseal render devcontainer`.",
                    lock: page.lock.digest.clone(),
                    target: target.name.clone(),
                },
            },
        };
        // Structs and texts: no lock makes this fail.
        text.push_str(&serde_json::to_string_pretty(&file).unwrap_or_default());
        text.push('\n');
    }
    text
}
