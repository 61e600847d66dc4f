#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

use serde_json::{Value, json};

use super::super::{Error, Gpu, ImageName, Kind, Options, render, smoke};
use crate::domain::DriverVersion;
use crate::lock::{Lockfile, Mode, sample};
use crate::yaml;

const KINDS: [Kind; 5] = [Kind::Compose, Kind::Devcontainer, Kind::K8s, Kind::Github, Kind::Gitlab];

fn text(kind: Kind, lock: &Lockfile, options: &Options<'_>) -> Result<String, Error> {
    render(kind, lock, &lock.targets.iter().collect::<Vec<_>>(), options)
}

/// The documents of a text, as any reader sees them.
fn documents(text: &str) -> Vec<Value> {
    let parts = text.split("---\n").map(|part| yaml::from_str::<Value>(part).unwrap());
    parts.filter(|value| !value.is_null()).collect()
}

fn one(kind: Kind, lock: &Lockfile, options: &Options<'_>) -> Value {
    let text = text(kind, lock, options).unwrap();
    match kind {
        Kind::Devcontainer => serde_json::from_str(&text).unwrap(),
        _ => documents(&text).remove(0),
    }
}

fn plain(kind: Kind, lock: &Lockfile) -> Value {
    one(kind, lock, &Options::default())
}

fn only(name: &str) -> Lockfile {
    let mut lock = sample::lock();
    lock.targets.retain(|target| target.name.as_str() == name);
    lock
}

/// The sample with a target called otherwise.
fn renamed(name: &str, new: &str) -> Lockfile {
    let line = |name: &str| format!("name = \"{name}\"\nplatform");
    Lockfile::parse(&sample::text().replace(&line(name), &line(new)), "lock").unwrap()
}

fn keys(value: &Value) -> Vec<&str> {
    value.as_object().unwrap().keys().map(String::as_str).collect()
}

#[test]
fn every_file_says_whose_it_is() {
    for kind in KINDS {
        let lock = sample::lock();
        let text = text(kind, &lock, &Options::default()).unwrap();
        assert!(text.contains("Written by gpuseal from gpuseal.lock. Do not edit"), "{kind:?}");
        assert!(text.contains(&format!("`gpuseal render {}`", kind.word())), "{kind:?}");
        assert!(text.contains(lock.digest().as_str()), "{kind:?}");
        assert!(text.ends_with('\n') && !text.ends_with("\n\n"), "{kind:?}");
        assert!(text.lines().all(|line| line.trim_end() == line), "{kind:?}");
        let left_out = "# Left out: target desk is for windows/amd64";
        assert_eq!(text.contains(left_out), kind != Kind::Devcontainer, "{kind:?}");
        assert!(text.contains("for Tesla V100-SXM2-16GB, NVIDIA L4; host driver: 525.60.13 or newer, up to branch 580\n") || kind == Kind::Devcontainer);
        assert!(matches!(
            super::super::render(kind, &lock, &[lock.target("desk").unwrap()], &Options::default()),
            Err(Error::NoContainer)
        ));
    }
}

#[test]
fn what_builds_a_stage_wants_a_name_for_it() {
    let lock = renamed("fleet", "3090");
    for kind in KINDS {
        match text(kind, &lock, &Options::default()) {
            Ok(text) => assert!(kind == Kind::K8s && text.contains("name: \"3090\"\n"), "{text}"),
            Err(error) => assert!(matches!(error, Error::StageName { .. }), "{error}"),
        }
    }
}

/// Readers of YAML 1.1 take these for booleans, nothing or numbers.
#[test]
fn names_are_texts_to_every_reader() {
    for name in ["on", "off", "yes", "no", "y", "n", "null", "true"] {
        let lock = renamed("fleet", name);
        for (kind, line) in [
            (Kind::Compose, format!("  \"{name}\":\n")),
            (Kind::K8s, format!("  app.kubernetes.io/name: \"{name}\"\n")),
            (Kind::Github, format!("- target: \"{name}\"\n")),
            (Kind::Gitlab, format!("  tags: [gpu, \"{name}\"]\n")),
        ] {
            let text = text(kind, &lock, &Options::default()).unwrap();
            assert!(text.contains(&line), "{line} in {text}");
        }
    }
}

#[test]
fn compose_has_a_service_for_each_target() {
    let file = plain(Kind::Compose, &sample::lock());
    let services = &file["services"];
    assert_eq!(keys(services), ["train", "fleet", "arm", "compiled"]);
    let arm = &services["arm"];
    assert_eq!(arm["platform"], "linux/arm64");
    assert_eq!(arm["build"], json!({ "context": ".", "target": "arm" }));
    assert_eq!(arm["profiles"], json!(["targets"]));
    assert_eq!(
        arm["deploy"]["resources"]["reservations"]["devices"],
        json!([{ "driver": "nvidia", "count": "all", "capabilities": ["gpu"] }])
    );
    let short = &sample::lock().digest().hex()[..12].to_owned();
    assert_eq!(arm["image"], format!("gpuseal:arm-{short}"));
    assert_eq!(arm["volumes"], json!([format!(".:{}", arm["working_dir"].as_str().unwrap())]));
    // Alone it starts without being named.
    let arm = plain(Kind::Compose, &only("arm"));
    assert!(arm["services"]["arm"].get("profiles").is_none());
    // What has a name can be pulled, and what has a digest is not built.
    assert_eq!(arm["services"]["arm"]["pull_policy"], "build");
    let name: ImageName = "registry.example.org/app".parse().unwrap();
    let options = Options { image: Some(&name), ..Options::default() };
    let arm = &one(Kind::Compose, &only("arm"), &options)["services"]["arm"];
    assert!(arm.get("build").is_some() && arm.get("pull_policy").is_none());
    let image = format!("app@sha256:{}", "a".repeat(64));
    let name: ImageName = image.parse().unwrap();
    let options = Options { image: Some(&name), ..Options::default() };
    let arm = &one(Kind::Compose, &only("arm"), &options)["services"]["arm"];
    assert!(arm["image"] == image);
    assert!(arm.get("build").is_none() && arm.get("pull_policy").is_none());
}

#[test]
fn a_development_container_asks_for_its_gpu_once() {
    let required = plain(Kind::Devcontainer, &only("arm"));
    assert_eq!(required["runArgs"], json!(["--shm-size=8g", "--gpus=all"]));
    assert!(required.get("hostRequirements").is_none());
    assert_eq!(
        required["build"],
        json!({
            "dockerfile": "../../Dockerfile", "context": "../..", "target": "arm",
            "options": ["--platform=linux/arm64"],
        })
    );
    assert_eq!(required["customizations"]["gpuseal"]["target"], "arm");
    let options = Options { gpu: Gpu::Optional, ..Options::default() };
    let optional = one(Kind::Devcontainer, &only("arm"), &options);
    assert_eq!(optional["runArgs"], json!(["--shm-size=8g"]));
    assert_eq!(optional["hostRequirements"], json!({ "gpu": "optional" }));
}

/// The Dockerfile makes the user, the environment and the home that these files count on.
#[test]
fn users_and_paths_are_those_of_the_dockerfile() {
    let dockerfile = text(Kind::Dockerfile, &only("arm"), &Options::default()).unwrap();
    let container = plain(Kind::Devcontainer, &only("arm"));
    let user = container["remoteUser"].as_str().unwrap();
    let python =
        &container["customizations"]["vscode"]["settings"]["python.defaultInterpreterPath"];
    let venv = python.as_str().unwrap().strip_suffix("/bin/python").unwrap();
    let job = plain(Kind::K8s, &only("arm"));
    let uid = &job["spec"]["template"]["spec"]["securityContext"]["runAsUser"];
    assert!(dockerfile.contains(&format!("--uid {uid} --gid {uid} {user}\n")));
    assert_eq!(container["containerUser"], user);
    let compose = text(Kind::Compose, &only("arm"), &Options::default()).unwrap();
    assert!(compose.contains(&format!("as the user {uid} of the image")));
    assert!(dockerfile.contains(&format!("PATH=\"{venv}/bin:${{PATH}}\"")));
}

/// Whether a node with these labels is chosen, as Kubernetes decides it.
fn chosen(terms: &Value, label: impl Fn(&str) -> Option<String>) -> bool {
    let holds = |expression: &Value| {
        let Some(found) = label(expression["key"].as_str().unwrap()) else { return false };
        let values: Vec<&str> =
            expression["values"].as_array().unwrap().iter().map(|v| v.as_str().unwrap()).collect();
        let number = |text: &str| text.parse::<i64>().ok();
        match expression["operator"].as_str().unwrap() {
            "In" => values.contains(&found.as_str()),
            "Gt" => number(&found).is_some_and(|found| found > number(values[0]).unwrap()),
            "Lt" => number(&found).is_some_and(|found| found < number(values[0]).unwrap()),
            other => panic!("{other}"),
        }
    };
    let terms = terms.as_array().unwrap();
    // Kubernetes refuses a selector without terms.
    assert!(!terms.is_empty());
    terms.iter().any(|term| term["matchExpressions"].as_array().unwrap().iter().all(holds))
}

#[test]
fn nodes_are_chosen_by_card_and_driver_and_no_others() {
    let drivers = [
        "520.61.05",
        "525.54",
        "525.60",
        "525.60.11",
        "525.60.13",
        "525.60.14",
        "525.61",
        "525.85.12",
        "526.1",
        "570.86.14",
        "570.86.15",
        "580.0",
        "580.65.05",
        "580.65.06",
        "580.105.08",
        "581.15",
        "590.44.01",
    ];
    let mut seen = [0, 0];
    for floor in ["525.60.13", "580.65.06", "570.86.15", "580", "525.60", "none"] {
        for ceiling in [None, Some(580), Some(525)] {
            let mut lock = only("fleet");
            let bounds = &mut lock.targets[0].driver;
            bounds.min = floor.parse().ok();
            bounds.max_branch = ceiling;
            let min = bounds.min;
            let job = plain(Kind::K8s, &lock);
            let terms = &job["spec"]["template"]["spec"]["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
                ["nodeSelectorTerms"];
            for driver in drivers {
                let version: DriverVersion = driver.parse().unwrap();
                let parts: Vec<&str> = driver.split('.').collect();
                for (major, minor) in [("7", "0"), ("8", "9"), ("8", "0"), ("7", "9"), ("9", "0")] {
                    let label = |key: &str| {
                        let part = match key.strip_prefix("nvidia.com/").unwrap() {
                            "gpu.compute.major" => Some(major),
                            "gpu.compute.minor" => Some(minor),
                            "cuda.driver-version.major" => Some(parts[0]),
                            "cuda.driver-version.minor" => Some(parts[1]),
                            // Empty where a driver has two parts.
                            "cuda.driver-version.revision" => {
                                Some(parts.get(2).copied().unwrap_or_default())
                            }
                            other => panic!("{other}"),
                        };
                        part.map(str::to_owned)
                    };
                    let right = [("7", "0"), ("8", "9")].contains(&(major, minor))
                        && min.is_none_or(|min| version >= min)
                        && ceiling.is_none_or(|last| version.branch <= last);
                    assert_eq!(
                        chosen(terms, label),
                        right,
                        "driver {driver}, card {major}.{minor}, {floor} to {ceiling:?}: {terms}"
                    );
                    seen[usize::from(right)] += 1;
                }
                // A node that nobody labelled.
                assert!(!chosen(terms, |_| None));
            }
        }
    }
    assert!(seen.iter().all(|&count| count > 50), "{seen:?}");
}

/// `min` is then the given driver, which runs the target by a package that the image does not hold.
#[test]
fn a_driver_that_needs_cuda_compat_is_no_node_for_an_image() {
    let mut lock = only("fleet");
    let bounds = &mut lock.targets[0].driver;
    bounds.mode = Some(Mode::ForwardCompat);
    bounds.max_branch = None;
    let said = "host driver: 560.28.03 or newer (the image has no cuda-compat)\n";
    for dra in [false, true] {
        let options = Options { dra, ..Options::default() };
        let text = text(Kind::K8s, &lock, &options).unwrap();
        assert!(text.contains(said), "{text}");
        assert!(!text.contains("525"), "{text}");
        assert!(
            text.contains(if dra { "semver(\"560.28.3\")) >= 0" } else { "[\"560\"]" }),
            "{text}"
        );
    }
    // Where nobody knows which driver implements the CUDA, the one that was given is still a bound.
    lock.targets[0].driver.native = None;
    let text = text(Kind::K8s, &lock, &Options::default()).unwrap();
    assert!(text.contains("[\"525\"]"), "{text}");
}

#[test]
fn a_gpu_is_a_limit_or_a_claim() {
    let requests = json!({ "cpu": "2", "memory": "8Gi" });
    let limit = text(Kind::K8s, &only("fleet"), &Options::default()).unwrap();
    let job = &documents(&limit)[0];
    let pod = &job["spec"]["template"]["spec"];
    assert_eq!(
        pod["containers"][0]["resources"],
        json!({ "requests": requests, "limits": { "nvidia.com/gpu": "1" } })
    );
    assert_eq!(pod["nodeSelector"], json!({ "kubernetes.io/arch": "amd64" }));
    assert_eq!(pod["containers"][0]["command"], json!(["python", "-c", smoke::PROGRAM]));

    let options = Options { dra: true, ..Options::default() };
    let claimed = text(Kind::K8s, &only("fleet"), &options).unwrap();
    let [claim, job] = &documents(&claimed)[..] else { panic!("{claimed}") };
    let pod = &job["spec"]["template"]["spec"];
    assert_eq!(
        pod["containers"][0]["resources"],
        json!({ "requests": requests, "claims": [{ "name": "gpu" }] })
    );
    assert_eq!(
        pod["resourceClaims"],
        json!([{ "name": "gpu", "resourceClaimTemplateName": claim["metadata"]["name"] }])
    );
    assert!(pod.get("affinity").is_none() && !claimed.contains("nvidia.com/gpu:"));
    let selectors = &claim["spec"]["spec"]["devices"]["requests"][0]["exactly"]["selectors"];
    let attribute = |name: &str| format!("device.attributes[\"gpu.nvidia.com\"].{name}.compareTo");
    let (card, driver) = (attribute("cudaComputeCapability"), attribute("driverVersion"));
    assert_eq!(
        selectors,
        &json!([
            { "cel": { "expression": format!("{card}(semver(\"7.0.0\")) == 0 ||\n{card}(semver(\"8.9.0\")) == 0") } },
            { "cel": { "expression": format!("{driver}(semver(\"525.60.13\")) >= 0") } },
            { "cel": { "expression": format!("{driver}(semver(\"581.0.0\")) < 0") } },
        ])
    );
    // Semantic versions have no leading zeros.
    let train = text(Kind::K8s, &only("train"), &options).unwrap();
    assert!(train.contains("semver(\"580.65.6\")") && !train.contains("580.65.06\")"));
}

#[test]
fn names_are_those_of_kubernetes() {
    let longest = "a".repeat(63);
    let gap = format!("{}_{}", &longest[..49], &longest[50..]);
    for (target, name, label) in [
        ("a_b", "a-b", "a-b"),
        ("a-", "a", "a"),
        ("a__", "a", "a"),
        ("on", "on", "on"),
        ("1e3", "1e3", "1e3"),
        (&longest, &longest[..50], &longest),
        (&gap, &longest[..49], &gap.replace('_', "-")),
    ] {
        let mut lock = renamed("fleet", target);
        lock.targets.retain(|t| t.name.as_str() == target);
        let name = format!("{name}-{}", &lock.digest().hex()[..12]);
        assert!(name.len() <= 63, "{name}");
        let options = Options { dra: true, ..Options::default() };
        for object in documents(&text(Kind::K8s, &lock, &options).unwrap()) {
            assert_eq!(object["metadata"]["name"], name);
            assert_eq!(object["metadata"]["labels"]["app.kubernetes.io/name"], label);
        }
    }
    for (one, other) in [("a-b", "a_b"), (&*longest, &longest[1..])] {
        let mut lock = renamed("fleet", other);
        lock.targets[0].name = one.parse().unwrap();
        let error = text(Kind::K8s, &lock, &Options::default()).unwrap_err();
        let said = error.to_string();
        let both = [one, other].iter().all(|name| said.contains(&format!("`{name}`")));
        assert!(both && error.help().is_some(), "{said}");
    }
}

#[test]
fn workflows_build_every_target_on_its_own_machine() {
    let file = plain(Kind::Github, &sample::lock());
    let job = &file["jobs"]["image"];
    let rows = job["strategy"]["matrix"]["include"].as_array().unwrap();
    let row = |row: &Value| {
        format!("{} {} {} {}", row["target"], row["runner"], row["cuda"], row["minutes"])
    };
    assert_eq!(
        rows.iter().map(row).map(|row| row.replace('"', "")).collect::<Vec<_>>(),
        [
            "train ubuntu-24.04 13.2 120",
            "fleet ubuntu-24.04 12.6 120",
            "arm ubuntu-24.04-arm 13.0 120",
            "compiled ubuntu-24.04 12.8 360",
        ]
    );
    assert_eq!(job["permissions"], json!({ "contents": "read", "packages": "write" }));
    for step in job["steps"].as_array().unwrap() {
        // An expression in a script would be code of whoever names a branch.
        assert!(!step["run"].as_str().unwrap_or_default().contains("${{"), "{step}");
        if let Some(uses) = step["uses"].as_str() {
            let commit = uses.split_once('@').unwrap().1;
            assert!(commit.len() == 40 && commit.bytes().all(|b| b.is_ascii_hexdigit()), "{uses}");
        }
        // What has a password runs on the default branch alone.
        let secret = step["env"].get("PASSWORD").is_some();
        let guard = step["if"].as_str().unwrap_or_default();
        assert_eq!(secret, guard.contains("github.event.repository.default_branch"), "{step}");
    }
}

#[test]
fn images_are_pushed_where_they_are_called() {
    let text_of = |kind, image: &str| {
        let name: ImageName = image.parse().unwrap();
        text(kind, &sample::lock(), &Options { image: Some(&name), ..Options::default() })
    };
    let own = text(Kind::Github, &sample::lock(), &Options::default()).unwrap();
    assert!(own.contains("GITHUB_REPOSITORY") && own.contains("github.token"));
    let ghcr = text_of(Kind::Github, "ghcr.io/team/app").unwrap();
    assert!(ghcr.contains("image: ghcr.io/team/app:train-") && ghcr.contains("github.token"));
    assert!(!ghcr.contains("GITHUB_REPOSITORY"));
    let other = text_of(Kind::Github, "registry.example.org:5000/app").unwrap();
    assert!(other.contains("REGISTRY: registry.example.org:5000\n"));
    assert!(other.contains("secrets.REGISTRY_PASSWORD") && !other.contains("github.token"));
    assert!(!other.contains("packages:"));

    let own = text(Kind::Gitlab, &sample::lock(), &Options::default()).unwrap();
    assert!(own.contains("IMAGE: $CI_REGISTRY_IMAGE:train-") && !own.contains("gpuseal:train"));
    let other = text_of(Kind::Gitlab, "registry.example.org:5000/app").unwrap();
    assert!(other.contains("REGISTRY: registry.example.org:5000\n"));
    assert!(other.contains("image: registry.example.org:5000/app:train-"));
    assert!(!other.contains("CI_REGISTRY"));

    for kind in [Kind::Github, Kind::Gitlab] {
        let error = text_of(kind, &format!("app@sha256:{}", "a".repeat(64))).unwrap_err();
        assert!(error.to_string().contains(kind.word()) && error.help().is_some(), "{error}");
    }
}

#[test]
fn gitlab_tries_what_it_built() {
    let file = plain(Kind::Gitlab, &sample::lock());
    assert_eq!(file["image:arm"]["tags"], json!(["arm64"]));
    assert!(file["image:train"].get("tags").is_none());
    for target in ["train", "fleet", "arm", "compiled"] {
        let (build, smoke) = (format!("image:{target}"), &file[format!("smoke:{target}")]);
        assert_eq!(smoke["needs"], json!([build]));
        assert_eq!(smoke["image"], file[&build]["variables"]["IMAGE"]);
        assert_eq!(smoke["tags"], json!(["gpu", target]));
        for name in [&smoke["extends"], &file[&build]["extends"]] {
            let job = &file[name.as_str().unwrap()];
            assert_eq!(job["inherit"], json!({ "default": ["tags", "timeout"] }), "{name}");
            for rule in job["rules"].as_array().unwrap() {
                let runs = rule["when"] != "never";
                let branch = "$CI_COMMIT_BRANCH == $CI_DEFAULT_BRANCH";
                assert_eq!(rule["if"].as_str().unwrap().ends_with(branch), runs, "{rule}");
            }
        }
    }
}

/// It stands between single quotes of a shell, and where Kubernetes, Compose and GitHub expand a `$`.
#[test]
fn the_smoke_test_is_one_word_everywhere() {
    assert!(!smoke::PROGRAM.contains(['\'', '$', '\\', '`', '\t']));
    assert!(smoke::PROGRAM.is_ascii());
}
