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
  docker compose run --rm NAME python -c 'import torch; print(torch.cuda.get_device_name())'";

#[derive(Serialize)]
struct Compose {
    services: Named<Service>,
}

#[derive(Serialize)]
struct Service {
    image: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    build: Option<Build>,
    platform: String,
    /// A plain `docker compose up` would start targets of other machines beside each other. What is
    /// named on the command line needs no profile.
    #[serde(skip_serializing_if = "Option::is_none")]
    profiles: Option<FlowSeq<[&'static str; 1]>>,
    /// The first process of a container inherits the workers that others leave behind.
    init: bool,
    shm_size: String,
    deploy: Deploy,
}

#[derive(Serialize)]
struct Build {
    context: &'static str,
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

/// The file.
pub(super) fn text(page: &Page, image: Option<&ImageName>) -> String {
    let several = page.targets.len() > 1;
    // An image by its digest is there already.
    let builds = !image.is_some_and(ImageName::is_digest);
    let services = page
        .targets
        .iter()
        .map(|target| (target.name.clone(), service(target, builds, several)))
        .collect();
    let compose = Compose { services: Named(services) };
    format!("{}\n{}", head(Kind::Compose, page, SAYS), document(&compose))
}

fn service(target: &Target, builds: bool, several: bool) -> Service {
    Service {
        image: target.image.clone(),
        build: builds.then(|| Build { context: ".", target: target.name.clone() }),
        platform: target.platform.clone(),
        profiles: several.then_some(FlowSeq(["targets"])),
        init: true,
        shm_size: format!("{SHARED_MEMORY}gb"),
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
