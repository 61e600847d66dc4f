//! GitLab jobs: one that builds and pushes the image of each target, one that tries it on a GPU.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{Named, document, head, tagged};
use crate::render::context::Target;
use crate::render::{Error, ImageName, Kind, Page, smoke};
use crate::yaml::FlowSeq;

const SAYS: &str = "Include it in .gitlab-ci.yml:
  include:
    - local: gpuseal-images.gitlab-ci.yml
On the default branch each image is built with the Dockerfile of `gpuseal render dockerfile` and pushed, in
the stage `build`. Runners that build linux/arm64 have the tag `arm64`; all of them, for Docker in Docker:
  [runners.docker]
    privileged = true
    volumes = [\"/certs/client\", \"/cache\"]
With the variable GPUSEAL_SMOKE set to \"true\" each image is tried where it shall run, in the stage `test`:
on a runner that has the tags `gpu` and the name of the target, and a GPU:
  [runners.docker]
    gpus = \"all\"";
const OWN: &str = "Images go to the container registry of the project.";
const OTHER: &str = "The variables REGISTRY_USERNAME and REGISTRY_PASSWORD are the account that pushes; what pulls a
private image is set in DOCKER_AUTH_CONFIG.";

/// Client and daemon. It brings git.
const DOCKER: &str = "docker:28.5.2";
const DAEMON: &str = "docker:28.5.2-dind";

/// A hidden job, which the others extend.
const BUILD: &str = ".gpuseal-image";
const SMOKE: &str = ".gpuseal-smoke";

const LOGIN: &str = r#"printf '%s' "$REGISTRY_PASSWORD" | docker login "$REGISTRY" --username "$REGISTRY_USERNAME" --password-stdin"#;
const LOGIN_OWN: &str = r#"printf '%s' "$CI_REGISTRY_PASSWORD" | docker login "$CI_REGISTRY" --username "$CI_REGISTRY_USER" --password-stdin"#;

/// What stands under a name at the top of the file.
#[derive(Serialize)]
#[serde(untagged)]
enum Entry {
    Build(BuildTemplate),
    Smoke(SmokeTemplate),
    Image(Image),
    Try(Try),
}

#[derive(Serialize)]
struct BuildTemplate {
    stage: &'static str,
    inherit: Inherit,
    image: &'static str,
    services: [&'static str; 1],
    variables: BTreeMap<&'static str, String>,
    before_script: [&'static str; 1],
    script: [&'static str; 2],
    rules: [Rule; 2],
}

/// Scripts and services that a project has for all of its jobs would not run in these images. Which runners
/// it has is another matter.
#[derive(Serialize)]
struct Inherit {
    default: FlowSeq<[&'static str; 2]>,
}

impl Inherit {
    const RUNNERS: Self = Self { default: FlowSeq(["tags", "timeout"]) };
}

#[derive(Serialize)]
struct SmokeTemplate {
    stage: &'static str,
    inherit: Inherit,
    variables: BTreeMap<&'static str, &'static str>,
    script: [String; 1],
    rules: [Rule; 3],
}

#[derive(Serialize)]
struct Image {
    extends: &'static str,
    variables: BTreeMap<&'static str, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tags: Option<FlowSeq<[&'static str; 1]>>,
}

#[derive(Serialize)]
struct Try {
    extends: &'static str,
    image: String,
    needs: FlowSeq<[String; 1]>,
    tags: FlowSeq<[String; 2]>,
}

#[derive(Serialize, Default)]
struct Rule {
    #[serde(rename = "if", skip_serializing_if = "Option::is_none")]
    condition: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    changes: Option<[&'static str; 3]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    when: Option<&'static str>,
}

impl Rule {
    /// On the default branch, by hand or where something changed that an image depends on: a tag of a
    /// registry is not for a branch that nobody reviewed.
    const fn wanted() -> [Self; 2] {
        [
            Self {
                condition: Some(
                    "$CI_PIPELINE_SOURCE == \"web\" && $CI_COMMIT_BRANCH == $CI_DEFAULT_BRANCH",
                ),
                changes: None,
                when: None,
            },
            Self {
                condition: Some(
                    "$CI_PIPELINE_SOURCE == \"push\" && $CI_COMMIT_BRANCH == $CI_DEFAULT_BRANCH",
                ),
                changes: Some(["Dockerfile", "gpuseal.lock", "gpuseal-images.gitlab-ci.yml"]),
                when: None,
            },
        ]
    }
}

/// The file.
pub(super) fn text(page: &Page, image: Option<&ImageName>) -> Result<String, Error> {
    tagged(image, Kind::Gitlab)?;
    let mut entries = vec![
        (BUILD.to_owned(), Entry::Build(build_template(image))),
        (SMOKE.to_owned(), Entry::Smoke(smoke_template())),
    ];
    for target in &page.targets {
        let build = format!("image:{}", target.name);
        let image = pushed(target, image);
        entries.push((build.clone(), Entry::Image(build_job(target, image.clone()))));
        entries.push((format!("smoke:{}", target.name), Entry::Try(try_job(target, image, build))));
    }
    let says = format!("{SAYS}\n{}", if image.is_none() { OWN } else { OTHER });
    Ok(format!("{}\n{}", head(Kind::Gitlab, page, &says), document(&Named(entries))))
}

/// Where it is pushed: by the name that was given, else the project's registry with the same tag.
fn pushed(target: &Target, image: Option<&ImageName>) -> String {
    match target.image.split_once(':') {
        Some((_, tag)) if image.is_none() => format!("$CI_REGISTRY_IMAGE:{tag}"),
        _ => target.image.clone(),
    }
}

fn build_template(image: Option<&ImageName>) -> BuildTemplate {
    // Where the daemon of the service listens; its image makes the certificates.
    let mut variables = BTreeMap::from([
        ("DOCKER_CERT_PATH", "/certs/client".to_owned()),
        ("DOCKER_HOST", "tcp://docker:2376".to_owned()),
        ("DOCKER_TLS_CERTDIR", "/certs".to_owned()),
        ("DOCKER_TLS_VERIFY", "1".to_owned()),
    ]);
    if let Some(image) = image {
        variables.insert("REGISTRY", image.registry().to_owned());
    }
    BuildTemplate {
        stage: "build",
        inherit: Inherit::RUNNERS,
        image: DOCKER,
        services: [DAEMON],
        variables,
        before_script: [if image.is_none() { LOGIN_OWN } else { LOGIN }],
        // The date of the image is that of its commit.
        script: [
            r#"docker build --platform "$PLATFORM" --target "$TARGET" --tag "$IMAGE" --build-arg SOURCE_DATE_EPOCH="$(git log -1 --format=%ct)" ."#,
            r#"docker push "$IMAGE""#,
        ],
        rules: Rule::wanted(),
    }
}

fn smoke_template() -> SmokeTemplate {
    let [web, changed] = Rule::wanted();
    let unasked = Rule {
        condition: Some("$GPUSEAL_SMOKE != \"true\""),
        when: Some("never"),
        ..Rule::default()
    };
    SmokeTemplate {
        stage: "test",
        inherit: Inherit::RUNNERS,
        // Nothing of the repository is wanted, and the image has no git.
        variables: BTreeMap::from([("GIT_STRATEGY", "none")]),
        script: [format!("python -c '{}'", smoke::PROGRAM)],
        rules: [unasked, web, changed],
    }
}

fn build_job(target: &Target, image: String) -> Image {
    Image {
        extends: BUILD,
        variables: BTreeMap::from([
            ("IMAGE", image),
            ("PLATFORM", target.platform.clone()),
            ("TARGET", target.name.clone()),
        ]),
        tags: (target.arch == "arm64").then_some(FlowSeq(["arm64"])),
    }
}

fn try_job(target: &Target, image: String, build: String) -> Try {
    Try {
        extends: SMOKE,
        image,
        needs: FlowSeq([build]),
        tags: FlowSeq(["gpu".into(), target.name.clone()]),
    }
}
