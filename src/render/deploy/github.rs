//! A GitHub workflow that builds the image of each target and pushes it.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{document, head, tagged};
use crate::render::context::Target;
use crate::render::{Error, ImageName, Kind, Page};
use crate::yaml::FlowSeq;

const SAYS: &str = "Builds the image of each target with the Dockerfile of `gpuseal render dockerfile`. What is built from the
default branch is pushed. `actions/checkout` is pinned to the commit of v7.0.1.";
const OWN: &str = "Images go to the container registry of the repository, ghcr.io.";
const OTHER: &str =
    "The secrets REGISTRY_USERNAME and REGISTRY_PASSWORD are the account that pushes there.";

/// A tag could be moved to other code.
const CHECKOUT: &str = "actions/checkout@3d3c42e5aac5ba805825da76410c181273ba90b1";
/// GitHub's own registry.
const GHCR: &str = "ghcr.io";

/// An image with CUDA takes 15 GB while it is built, as much as a runner has to spare.
const FREE_DISK: &str =
    "sudo rm -rf /usr/share/dotnet /usr/local/lib/android /usr/local/.ghcup /opt/hostedtoolcache
df --human-readable /
";
/// The date of the image is that of its commit.
const BUILD: &str = r#"docker build --platform "$PLATFORM" --target "$TARGET" --tag "$IMAGE" \
  --build-arg SOURCE_DATE_EPOCH="$(git log -1 --format=%ct)" .
"#;
/// Runners have no GPU: what can be shown is that every library is found.
const IMPORT: &str = r#"docker run --rm --network none --env CUDA "$IMAGE" \
  python -c 'import os, torch; assert torch.version.cuda == os.environ["CUDA"], torch.__version__'
"#;
const PUSH: &str = r#"printf '%s' "$PASSWORD" | docker login "$REGISTRY" --username "$USERNAME" --password-stdin
docker push "$IMAGE"
"#;
/// Names of images are in lower case, those of repositories need not be.
const PUSH_OWN: &str = r#"printf '%s' "$PASSWORD" | docker login "$REGISTRY" --username "$USERNAME" --password-stdin
name="$REGISTRY/${GITHUB_REPOSITORY,,}:${IMAGE##*:}"
docker tag "$IMAGE" "$name"
docker push "$name"
"#;

#[derive(Serialize)]
struct Workflow {
    name: &'static str,
    on: On,
    /// None but what a job asks for.
    permissions: BTreeMap<&'static str, &'static str>,
    concurrency: Concurrency,
    jobs: Jobs,
}

#[derive(Serialize)]
struct On {
    push: Push,
    pull_request: Paths,
    workflow_dispatch: BTreeMap<&'static str, &'static str>,
}

#[derive(Serialize)]
struct Push {
    branches: FlowSeq<[&'static str; 2]>,
    #[serde(flatten)]
    paths: Paths,
}

/// An image depends on nothing else.
#[derive(Serialize)]
struct Paths {
    paths: [&'static str; 3],
}

impl Paths {
    const ALL: Self =
        Self { paths: ["Dockerfile", "gpuseal.lock", ".github/workflows/gpuseal-images.yml"] };
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Concurrency {
    group: &'static str,
    cancel_in_progress: &'static str,
}

#[derive(Serialize)]
struct Jobs {
    image: Job,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Job {
    name: &'static str,
    runs_on: &'static str,
    timeout_minutes: &'static str,
    permissions: BTreeMap<&'static str, &'static str>,
    strategy: Strategy,
    env: BTreeMap<&'static str, &'static str>,
    steps: Vec<Step>,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Strategy {
    fail_fast: bool,
    matrix: Matrix,
}

#[derive(Serialize)]
struct Matrix {
    include: Vec<Row>,
}

#[derive(Serialize)]
struct Row {
    target: String,
    runner: &'static str,
    platform: String,
    cuda: String,
    image: String,
    minutes: u32,
}

/// A step that uses an action or runs a script.
#[derive(Serialize, Default)]
struct Step {
    name: &'static str,
    #[serde(rename = "if", skip_serializing_if = "Option::is_none")]
    condition: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    uses: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    with: Option<CheckoutWith>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    env: BTreeMap<&'static str, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    run: Option<&'static str>,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct CheckoutWith {
    persist_credentials: bool,
}

impl Step {
    fn run(name: &'static str, script: &'static str) -> Self {
        Self { name, run: Some(script), ..Self::default() }
    }
}

/// The file.
pub(super) fn text(page: &Page, image: Option<&ImageName>) -> Result<String, Error> {
    tagged(image, Kind::Github)?;
    let own = image.is_none_or(|image| image.registry() == GHCR);
    let workflow = Workflow {
        name: "gpuseal images",
        on: On {
            push: Push { branches: FlowSeq(["main", "master"]), paths: Paths::ALL },
            pull_request: Paths::ALL,
            workflow_dispatch: BTreeMap::new(),
        },
        permissions: BTreeMap::new(),
        concurrency: Concurrency {
            group: "gpuseal-images-${{ github.ref }}",
            // What is being pushed is not left half done.
            cancel_in_progress: "${{ github.event_name == 'pull_request' }}",
        },
        jobs: Jobs { image: job(page, image, own) },
    };
    let says = format!("{SAYS}\n{}", if own { OWN } else { OTHER });
    Ok(format!("{}\n{}", head(Kind::Github, page, &says), document(&workflow)))
}

fn job(page: &Page, image: Option<&ImageName>, own: bool) -> Job {
    // Also in pull requests: a job of their own would build twice, or move gigabytes from job to job. Those of
    // forks may only read, whatever stands here.
    let mut permissions = BTreeMap::from([("contents", "read")]);
    if own {
        permissions.insert("packages", "write");
    }
    let (username, password) = if own {
        ("${{ github.actor }}", "${{ github.token }}")
    } else {
        ("${{ secrets.REGISTRY_USERNAME }}", "${{ secrets.REGISTRY_PASSWORD }}")
    };
    let push = Step {
        name: "Push",
        // A pull request has a ref of its own, and so has a run of another branch that is started by hand.
        condition: Some(
            "github.ref == format('refs/heads/{0}', github.event.repository.default_branch)",
        ),
        env: BTreeMap::from([
            ("PASSWORD", password.to_owned()),
            ("REGISTRY", image.map_or(GHCR, ImageName::registry).to_owned()),
            ("USERNAME", username.to_owned()),
        ]),
        run: Some(if image.is_none() { PUSH_OWN } else { PUSH }),
        ..Step::default()
    };
    Job {
        name: "${{ matrix.target }}",
        runs_on: "${{ matrix.runner }}",
        timeout_minutes: "${{ matrix.minutes }}",
        permissions,
        strategy: Strategy {
            fail_fast: false,
            matrix: Matrix { include: page.targets.iter().map(row).collect() },
        },
        env: BTreeMap::from([
            ("CUDA", "${{ matrix.cuda }}"),
            ("IMAGE", "${{ matrix.image }}"),
            ("PLATFORM", "${{ matrix.platform }}"),
            ("TARGET", "${{ matrix.target }}"),
        ]),
        steps: vec![
            Step {
                name: "Check out",
                uses: Some(CHECKOUT),
                with: Some(CheckoutWith { persist_credentials: false }),
                ..Step::default()
            },
            Step::run("Make room", FREE_DISK),
            Step::run("Build", BUILD),
            Step::run("Import torch", IMPORT),
            push,
        ],
    }
}

fn row(target: &Target) -> Row {
    Row {
        target: target.name.clone(),
        // Its own machine: emulation would take hours.
        runner: if target.arch == "arm64" { "ubuntu-24.04-arm" } else { "ubuntu-24.04" },
        platform: target.platform.clone(),
        cuda: target.cuda.clone(),
        image: target.image.clone(),
        // Kernels take hours to compile; this is as long as a job may run.
        minutes: if target.compile.is_some() { 360 } else { 120 },
    }
}
