//! `compose.yaml`, by the Compose specification.

use serde::Serialize;

use super::{Named, SHARED_MEMORY, document, head};
use crate::render::context::Target;
use crate::render::{ImageName, Kind, Page};
use crate::yaml::FlowSeq;

/// The long form of a GPU, because every version of Compose reads it.
const SAYS: &str =
    "A service for each target; the Dockerfile is that of `gpuseal render dockerfile`:
  docker compose build NAME
  docker compose run --rm NAME python -c 'import torch; print(torch.cuda.get_device_name())'
The project is /workspace inside, where programs start. They run as the user 10001 of the image, and write
where that one may.";

/// Where the project is mounted, as in a job of Slurm.
const WORKSPACE: &str = "/workspace";

#[derive(Serialize)]
struct Compose {
    services: Named<Service>,
}

#[derive(Serialize)]
struct Service {
    image: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    build: Option<Build>,
    /// Compose would first look for an image that is only here in a registry of others.
    #[serde(skip_serializing_if = "Option::is_none")]
    pull_policy: Option<&'static str>,
    platform: String,
    /// A plain `docker compose up` would start targets of other machines beside each other. What is
    /// named on the command line needs no profile.
    #[serde(skip_serializing_if = "Option::is_none")]
    profiles: Option<FlowSeq<[&'static str; 1]>>,
    /// The first process of a container inherits the workers that others leave behind.
    init: bool,
    shm_size: String,
    working_dir: &'static str,
    volumes: [String; 1],
    deploy: Deploy,
}

#[derive(Serialize)]
struct Build {
    context: String,
    target: String,
}

#[derive(Serialize)]
struct Deploy {
    resources: Resources,
}

#[derive(Serialize)]
struct Resources {
    reservations: Reservations,
}

#[derive(Serialize)]
struct Reservations {
    devices: [Device; 1],
}

#[derive(Serialize)]
struct Device {
    driver: &'static str,
    /// As `--gpus all`: a machine is used by one person or one job at a time. `CUDA_VISIBLE_DEVICES`
    /// narrows it.
    count: &'static str,
    capabilities: FlowSeq<[&'static str; 1]>,
}

/// The file; `project` is the way to the project from where it lies.
pub(super) fn text(page: &Page, image: Option<&ImageName>, project: &str) -> String {
    let several = page.targets.len() > 1;
    let services = page
        .targets
        .iter()
        .map(|target| (target.name.clone(), service(target, image, several, project)))
        .collect();
    let compose = Compose { services: Named(services) };
    format!("{}\n{}", head(Kind::Compose, page, SAYS), document(&compose))
}

fn service(target: &Target, image: Option<&ImageName>, several: bool, project: &str) -> Service {
    // An image by its digest is there already.
    let builds = !image.is_some_and(ImageName::is_digest);
    Service {
        image: target.image.clone(),
        build: builds.then(|| Build { context: project.to_owned(), target: target.name.clone() }),
        pull_policy: image.is_none().then_some("build"),
        platform: target.platform.clone(),
        profiles: several.then_some(FlowSeq(["targets"])),
        init: true,
        shm_size: format!("{SHARED_MEMORY}gb"),
        working_dir: WORKSPACE,
        volumes: [format!("{project}:{WORKSPACE}")],
        deploy: Deploy {
            resources: Resources {
                reservations: Reservations {
                    devices: [Device {
                        driver: "nvidia",
                        count: "all",
                        capabilities: FlowSeq(["gpu"]),
                    }],
                },
            },
        },
    }
}
