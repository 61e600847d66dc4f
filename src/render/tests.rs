#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::{Error, ImageName, Kind, Options, Runtime, Shell};
use crate::lock::{Lockfile, sample};

/// Every target of a lock.
fn render(kind: Kind, lock: &Lockfile, options: &Options<'_>) -> Result<String, Error> {
    super::render(kind, lock, &lock.targets.iter().collect::<Vec<_>>(), options)
}

fn built_in(kind: Kind, lock: &Lockfile) -> String {
    render(kind, lock, &Options::default()).unwrap()
}

fn by(template: &str) -> Result<String, Error> {
    render(
        Kind::Dockerfile,
        &sample::lock(),
        &Options { user_template: Some(template), ..Options::default() },
    )
}

/// The sample cut down to one target.
fn only(name: &str) -> Lockfile {
    let mut lock = sample::lock();
    lock.targets.retain(|t| t.name.as_str() == name);
    lock
}

/// What a text is called, and the text.
type Texts = BTreeMap<String, Result<String, Error>>;

/// Every text that has a template: those of the whole lock, and those of its `chosen` targets; with
/// `fewer`, no text that holds the same values as another.
fn texts(lock: &Lockfile, fewer: bool, chosen: impl Fn(usize) -> bool) -> Texts {
    let image: ImageName = "registry.example.org:5000/team/app".parse().unwrap();
    let plain = Options::default();
    let pulled = Options { image: Some(&image), ..plain };
    let mut texts = Texts::new();
    for (name, kind, options) in [
        ("Dockerfile", Kind::Dockerfile, plain),
        ("sh", Kind::Install, plain),
        ("ps1", Kind::Install, Options { shell: Shell::Powershell, ..plain }),
        ("compose.yaml", Kind::Compose, plain),
        ("k8s.yaml", Kind::K8s, plain),
        ("k8s-dra.yaml", Kind::K8s, Options { dra: true, ..plain }),
        ("github.yml", Kind::Github, plain),
        ("gitlab.yml", Kind::Gitlab, plain),
    ] {
        texts.insert(name.to_owned(), render(kind, lock, &options));
    }
    for (at, target) in lock.targets.iter().enumerate().filter(|&(at, _)| chosen(at)) {
        for (name, kind, options) in [
            ("def", Kind::Apptainer, plain),
            ("devcontainer.json", Kind::Devcontainer, plain),
            ("pyxis.sh", Kind::Slurm, plain),
            ("pyxis-pulled.sh", Kind::Slurm, pulled),
            ("apptainer.sh", Kind::Slurm, Options { runtime: Runtime::Apptainer, ..plain }),
            ("apptainer-pulled.sh", Kind::Slurm, Options { runtime: Runtime::Apptainer, ..pulled }),
        ] {
            if fewer && kind == Kind::Slurm && name != "pyxis-pulled.sh" {
                continue;
            }
            let text = super::render(kind, lock, &[target], &options);
            texts.insert(format!("{at}.{name}"), text);
        }
    }
    texts
}

fn all_texts(lock: &Lockfile) -> Texts {
    texts(lock, false, |_| true)
}

#[test]
fn the_same_lock_gives_the_same_text() {
    let mut again = all_texts(&sample::lock());
    for (name, text) in all_texts(&sample::lock()) {
        // The last target is for Windows, which has no such container.
        let Ok(text) = text else {
            assert!(name.starts_with("4."), "{name}");
            continue;
        };
        assert_eq!(text, again.remove(&name).unwrap().unwrap());
        assert!(text.ends_with('\n') && !text.ends_with("\n\n"));
        assert!(text.lines().all(|line| line.trim_end() == line));
        assert!(text.contains(sample::lock().digest().as_str()));
        assert!(!text.contains("extra-index-url"));
    }
}

#[test]
fn a_dockerfile_has_a_stage_for_each_target() {
    let text = built_in(Kind::Dockerfile, &sample::lock());
    assert!(text.starts_with("# syntax=docker/dockerfile:1\n"));
    for stage in ["train", "fleet", "arm", "compiled"] {
        assert!(
            text.contains(&format!(" AS {stage}\n"))
                && text.contains(&format!(" AS {stage}.build\n"))
        );
    }
    // They are for two architectures, so the last stage is chosen by it.
    assert!(text.ends_with("\nFROM gpuseal.${TARGETARCH} AS gpuseal.image\n"), "{text}");
    assert!(text.contains("\nFROM train AS gpuseal.amd64\nFROM arm AS gpuseal.arm64\n"));
    let mut same = sample::lock();
    same.targets.retain(|t| t.name.as_str() != "arm");
    let text = built_in(Kind::Dockerfile, &same);
    assert!(text.ends_with("\nFROM train\n") && text.contains("Without --target the first"));
    assert!(text.contains("Left out: target desk is for windows/amd64"));
    let one = built_in(Kind::Dockerfile, &only("arm"));
    assert!(one.ends_with("CMD [\"python\"]\n"));
    let digest = "3".repeat(64);
    assert!(one.contains(&format!("FROM python:3.12-slim-trixie@sha256:{digest} AS arm\n")));
}

#[test]
fn packages_come_from_one_index_each() {
    let text = built_in(Kind::Dockerfile, &only("fleet"));
    assert!(text.contains("--index-url https://download.pytorch.org/whl/cu126 \\\n      torch==2.14.1+cu126 \\\n      torchvision==0.29.1+cu126\n"));
    assert!(text.contains("COPY <<'EOF' /opt/constraints.txt\ntorch==2.14.1+cu126\ntorchvision==0.29.1+cu126\nvllm==0.25.0\nEOF\n\nRUN"));
    assert!(text.contains("--constraint /opt/constraints.txt \\\n      vllm==0.25.0\n"));
    assert!(!text.contains("nvidia-cudnn"));
    let text = built_in(Kind::Dockerfile, &only("train"));
    assert!(!text.contains("--index-url"));
    assert!(text.contains("uv pip install \\\n      torch==2.14.1 \\\n      torchvision==0.29.1 \\\n      'transformers[accelerate]>=5,<6'\n"));
    assert!(text.contains("--no-install-recommends gcc libc6-dev \\"));
}

#[test]
fn the_driver_is_asked_for_no_more_than_needed() {
    let require = |name: &str| {
        let text = built_in(Kind::Dockerfile, &only(name));
        text.split_once("NVIDIA_REQUIRE_CUDA=")
            .map(|(_, rest)| rest.lines().next().unwrap().to_owned())
    };
    assert_eq!(require("train").as_deref(), Some("\"cuda>=13.0\""));
    assert_eq!(require("fleet").as_deref(), Some("\"cuda>=12.0\""));
    assert_eq!(require("arm").as_deref(), Some("\"cuda>=13.0\""));
    // What was given may do more than the oldest driver that serves.
    let mut given = only("fleet");
    given.targets[0].driver.mode = Some(crate::lock::Mode::Native);
    assert!(built_in(Kind::Dockerfile, &given).contains("NVIDIA_REQUIRE_CUDA=\"cuda>=12.0\""));
    // One of its cards lives on PTX.
    assert_eq!(require("compiled").as_deref(), Some("\"cuda>=12.8\""));
    let mut lock = only("arm");
    lock.targets[0].driver.mode = Some(crate::lock::Mode::ForwardCompat);
    assert!(!built_in(Kind::Dockerfile, &lock).contains("NVIDIA_REQUIRE_CUDA"));
}

#[test]
fn extensions_are_compiled_for_the_cards() {
    let text = built_in(Kind::Dockerfile, &only("compiled"));
    assert!(text.contains("FROM nvidia/cuda:12.8.1-devel-ubuntu24.04 AS compiled.compile\n"));
    assert!(text.contains("TORCH_CUDA_ARCH_LIST=\"8.0;12.0+PTX\""));
    assert!(text.contains("pip wheel --no-deps --no-build-isolation"));
    assert!(text.contains("FROM python:3.12-slim-trixie AS compiled\n"));
    let text = built_in(Kind::Install, &only("compiled"));
    assert!(text.contains("TORCH_CUDA_ARCH_LIST='8.0;12.0+PTX'"));
    assert!(text.contains("from_pypi --no-build-isolation \\\n            flash-attn==2.8.3\n"));
}

#[test]
fn a_base_without_python_gets_one() {
    let mut lock = only("desk");
    lock.targets[0].platform = "linux/amd64".parse().unwrap();
    let text = built_in(Kind::Dockerfile, &lock);
    assert!(text.contains("uv venv --managed-python --python 3.13t /opt/venv"));
    assert!(text.contains("COPY --from=desk.build /opt/python /opt/python"));
    assert!(text.contains("base.name=\"docker.io/nvidia/cuda:13.0.2-runtime-ubuntu24.04\""));
}

#[test]
fn what_docker_cannot_name_is_refused() {
    for (name, part) in
        [("3090", "starts with a letter"), ("scratch", "reserves"), ("context", "reserves")]
    {
        let lock = Lockfile::parse(
            &sample::text().replace("name = \"fleet\"", &format!("name = \"{name}\"")),
            "lock",
        )
        .unwrap();
        let error = render(Kind::Dockerfile, &lock, &Options::default()).unwrap_err();
        assert!(error.to_string().contains(part) && error.to_string().contains(name), "{error}");
        assert!(render(Kind::Install, &lock, &Options::default()).is_ok());
    }
    assert!(matches!(
        render(Kind::Dockerfile, &only("desk"), &Options::default()),
        Err(Error::NoContainer)
    ));
}

/// A target of which every file is known.
fn complete(name: &str) -> Lockfile {
    let mut lock = only(name);
    for package in &mut lock.targets[0].packages {
        package.specifier = None;
        package.version.get_or_insert_with(|| "5.1.0".parse().unwrap());
        let label = package.local.as_ref().map_or_else(String::new, |local| format!("%2B{local}"));
        let url = format!(
            "https://files.example.org/{}-{}{label}-py3-none-any.whl",
            package.name.as_str().replace('-', "_"),
            package.version.as_ref().unwrap(),
        );
        package.file = Some(crate::lock::LockedFile {
            name: url.rsplit('/').next().unwrap().replace("%2B", "+").parse().unwrap(),
            sha256: crate::domain::Sha256::of(url.as_bytes()),
            url: url.parse().unwrap(),
            size: 1,
            origin: crate::lock::Origin::Index,
            contents: None,
        });
    }
    Lockfile::parse(&lock.to_toml(), "complete").unwrap()
}

#[test]
fn known_files_are_installed_by_their_digests() {
    for (name, torch) in [
        ("train", "\ntorch==2.14.1 --hash=sha256:"),
        (
            "fleet",
            "\ntorch @ https://files.example.org/torch-2.14.1%2Bcu126-py3-none-any.whl --hash=sha256:",
        ),
    ] {
        let text = built_in(Kind::Dockerfile, &complete(name));
        assert!(text.contains(torch), "{text}");
        assert!(text.contains("\nEOF\n\nRUN --mount"), "{text}");
        assert!(text.contains("--no-deps --require-hashes --requirement /opt/requirements.txt\n"));
        assert!(!text.contains("--index-url") && !text.contains("constraints"));
        let packages = complete(name).targets[0].packages.len();
        assert_eq!(text.matches("--hash=sha256:").count(), packages);
    }
    // What is compiled is no ready file: the digest is that of its source.
    let text = built_in(Kind::Dockerfile, &complete("compiled"));
    assert!(text.contains("COPY <<'EOF' /opt/sources.txt\nflash-attn==2.8.3 --hash=sha256:"));
    assert!(text.contains("/opt/sources --require-hashes --requirement /opt/sources.txt\n"));
    // A source might fetch a ready file of its own.
    assert!(text.contains("RUN --network=none python -m pip wheel --no-deps"));
    assert!(text.contains("FLASH_ATTN_CUDA_ARCHS=\"80;120\""));
    assert_eq!(text.matches("\nflash-attn==2.8.3").count(), 1);
    assert_eq!(text.matches("\ntorch==2.10.0 --hash=sha256:").count(), 2, "{text}");
    assert!(!text.contains("--index-url"));
}

#[test]
fn known_files_are_installed_by_their_digests_outside_containers() {
    let fleet = complete("fleet");
    let text = built_in(Kind::Install, &fleet);
    for part in [
        "        by_digest <<'EOF'\n",
        "\ntorch @ https://files.example.org/torch-2.14.1%2Bcu126-py3-none-any.whl --hash=sha256:",
        "\nvllm==0.25.0 --hash=sha256:",
        "\nEOF\n        confirm 12.6\n",
        "uv pip install --python \"$python\" --no-deps --require-hashes --requirement \"$req",
        "-m pip install --no-deps --require-hashes --requirement \"$req",
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
    // What torch requires is among them, and no function is left that nobody calls.
    assert_eq!(text.matches("--hash=sha256:").count(), fleet.targets[0].packages.len());
    assert!(!text.contains("from_index") && !text.contains("from_pypi") && !text.contains("keep"));
    // A target without files beside it is still installed by version.
    let mut both = sample::lock();
    both.targets[1] = fleet.targets[0].clone();
    let text = built_in(Kind::Install, &both);
    for part in ["by_digest <<", "from_index https", "from_pypi \\\n            torch==2.14.1"] {
        assert!(text.contains(part), "{part} in {text}");
    }
    let mut mirrored = fleet;
    let at = "https://mirror.example.org/pypi/simple";
    mirrored.mirrors.insert("pypi".parse().unwrap(), at.parse().unwrap());
    assert!(built_in(Kind::Install, &mirrored).contains(&format!("UV_DEFAULT_INDEX={at}\n")));
    // What is compiled is compiled from the very source, after all that is ready.
    let text = built_in(Kind::Install, &complete("compiled"));
    assert!(text.contains("\ntorch==2.10.0 --hash=sha256:") && !text.contains("from_index"));
    assert!(
        text.contains("by_digest --no-build-isolation <<'EOF'\nflash-attn==2.8.3 --hash=sha256:")
    );
    assert!(text.contains(
        "EOF\n        from_pypi --no-build-isolation \\\n            flash-attn==2.8.3\n"
    ));
    assert!(text.contains("keep='torch==2.10.0'\n"));
}

/// One target of a lock.
fn of(kind: Kind, lock: &Lockfile, options: Options<'_>) -> String {
    super::render(kind, lock, &[&lock.targets[0]], &options).unwrap()
}

#[test]
fn powershell_keeps_the_same_contract() {
    let ps1 = Options { shell: Shell::Powershell, ..Options::default() };
    let mut fleet = complete("fleet");
    let at = "https://mirror.example.org/pypi/simple";
    fleet.mirrors.insert("pypi".parse().unwrap(), at.parse().unwrap());
    let text = of(Kind::Install, &fleet, ps1);
    for part in [
        "        Install-ByDigest @'\nnvidia-cudnn-cu12 @ https://",
        "\ntorch @ https://files.example.org/torch-2.14.1%2Bcu126-py3-none-any.whl --hash=sha256:",
        "\n'@\n        Confirm-Cuda '12.6'\n",
        &format!("$pypi = @{{ UV_DEFAULT_INDEX = '{at}'; PIP_INDEX_URL = '{at}' }}\n"),
        "Lowest = '525.60.13'\n            Recommended = '560.28.03'\n            LastBranch = '580'\n            Compat = ''\n            Cards = @('7.0', '8.9')\n",
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
    assert!(!text.contains("function Install-From"));
    let text = of(Kind::Install, &only("compiled"), ps1);
    assert!(text.contains("            TORCH_CUDA_ARCH_LIST = '8.0;12.0+PTX'\n"));
    assert!(text.contains("'--no-build-isolation'\n                'flash-attn==2.8.3'\n"));
    assert!(text.contains("$pypi = @{}\n"));
    let text = of(Kind::Install, &only("desk"), ps1);
    assert!(text.contains("Get-Interpreter 'windows/amd64' '3.13t'\n"));
    // Newer than Windows PowerShell 5.1.
    for new in ["&&", "||", "??", "$IsWindows", "$IsLinux"] {
        assert!(!text.contains(new), "{new}");
    }
}

#[test]
fn the_driver_to_install_drives_all_cards() {
    let mut lock = only("fleet");
    let advised = |lock: &Lockfile| {
        let text = built_in(Kind::Install, lock);
        text.lines().find(|line| line.contains("lowest=")).unwrap().trim().to_owned()
    };
    assert_eq!(advised(&lock), "lowest=525.60.13 recommended=560.28.03");
    // As on a card that a later branch has dropped.
    lock.targets[0].driver.max_branch = Some(535);
    assert_eq!(advised(&lock), "lowest=525.60.13 recommended=525.60.13");
    lock.targets[0].driver = crate::lock::Driver::default();
    assert_eq!(advised(&lock), "lowest='' recommended=''");
}

#[test]
fn a_job_is_checked_and_pulled_by_name() {
    let image: ImageName = "registry.example.org:5000/team/app".parse().unwrap();
    let plain = Options::default();
    let by_apptainer = Options { runtime: Runtime::Apptainer, ..plain };
    let fleet = only("fleet");
    let tag = format!("fleet-{}", &fleet.digest().hex()[..12]);
    for (options, part) in [
        (plain, format!("#   enroot import --output {tag}.sqsh dockerd://gpuseal:{tag}\n")),
        (by_apptainer, format!("#   apptainer build {tag}.sif fleet.def\n")),
        (
            Options { image: Some(&image), ..plain },
            format!("'docker://registry.example.org:5000#team/app:{tag}'\n"),
        ),
        (
            Options { image: Some(&image), ..by_apptainer },
            format!("docker://registry.example.org:5000/team/app:{tag}\n"),
        ),
    ] {
        let text = of(Kind::Slurm, &fleet, options);
        assert!(text.starts_with("#!/bin/bash\n") && text.contains(&part), "{part} in {text}");
        assert!(text.contains("not_above 525.60.13 \"$driver\" ||\n"));
        assert!(text.contains("[ \"${driver%%.*}\" -le 580 ] ||\n"));
        assert!(text.contains(&format!("set -- python -c '{}'\n", super::smoke::PROGRAM)));
        // Slurm reads its lines up to the first command.
        assert!(text.rfind("#SBATCH") < text.find("\nset -euo"));
    }
    for kind in [Kind::Slurm, Kind::Apptainer] {
        assert!(matches!(render(kind, &only("desk"), &plain), Err(Error::NoContainer)));
    }
}

#[test]
fn apptainer_builds_what_docker_builds() {
    let text = of(Kind::Apptainer, &complete("fleet"), Options::default());
    for part in [
        "Bootstrap: docker\nFrom: python:3.11-slim-trixie\nStage: build\n",
        "    cat > /opt/requirements.txt <<'EOF'\nnvidia-cudnn-cu12 @ https://files.example.org/",
        "\nEOF\n    uv pip install --no-deps --require-hashes --requirement /opt/requirements.txt\n",
        "assert torch.version.cuda == \"12.6\"",
        "\n    dev.gpuseal.target fleet\n",
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
    // A digest stands alone, and the tag is said above it.
    let arm = of(Kind::Apptainer, &only("arm"), Options::default());
    let digest = "3".repeat(64);
    assert!(arm.contains(&format!(
        "# python:3.12-slim-trixie@sha256:{digest}\nBootstrap: docker\nFrom: python@sha256:{digest}\n"
    )));
    assert!(arm.contains("[ \"$(uname -m)\" = aarch64 ]"));
    let compiled = of(Kind::Apptainer, &only("compiled"), Options::default());
    assert!(compiled.contains("From: nvidia/cuda:12.8.1-devel-ubuntu24.04\nStage: compile\n"));
    assert!(compiled.contains("%files from compile\n    /opt/wheels /opt/wheels\n"));
    let train = of(Kind::Apptainer, &only("train"), Options::default());
    assert!(train.contains("apt-get install --yes --no-install-recommends gcc libc6-dev\n"));
    for text in [text, arm, compiled, train] {
        assert!(!text.contains("{{") && !text.contains("}}"), "an argument of the build: {text}");
    }
}

#[test]
fn heads_say_only_what_is_true() {
    let files = |text: &str| text.contains("Packages without a digest");
    let images = |text: &str| text.contains("named by its tag alone");
    let docker = |lock: &Lockfile| built_in(Kind::Dockerfile, lock);
    let mut lock = only("fleet");
    assert!(files(&docker(&lock)) && images(&docker(&lock)));
    assert!(files(&built_in(Kind::Install, &lock)));
    lock = complete("fleet");
    assert!(!files(&docker(&lock)) && images(&docker(&lock)));
    // A script pulls no image.
    let install = built_in(Kind::Install, &lock);
    assert!(!files(&install) && !images(&install));
    let arm = sample::lock().target("arm").unwrap().base.clone();
    lock.targets[0].base = arm.clone();
    lock.targets[0].base.builder = None;
    assert!(!images(&docker(&lock)));
    lock.targets[0].base.uv.as_mut().unwrap().digest = crate::lock::Fetched::Unfetched;
    assert!(images(&docker(&lock)));
    lock.targets[0].base = crate::lock::Base { builder: None, uv: None, ..arm };
    assert!(images(&docker(&lock)));
}

#[test]
fn mirrors_are_named_in_everything() {
    let mut lock = only("fleet");
    lock.targets[0].base.uv = sample::lock().target("arm").unwrap().base.uv.clone();
    for (of, at) in [
        ("pypi", "https://mirror.example.org/pypi/simple"),
        ("pytorch", "https://mirror.example.org/whl/"),
        ("docker.io", "registry.example.org/hub"),
        ("ghcr.io", "http://127.0.0.1:5000"),
    ] {
        lock.mirrors.insert(of.parse().unwrap(), at.parse().unwrap());
    }
    let text = built_in(Kind::Dockerfile, &lock);
    assert!(
        text.contains("FROM registry.example.org/hub/library/python:3.11-slim-trixie AS fleet\n")
    );
    let uv =
        format!("COPY --from=127.0.0.1:5000/astral-sh/uv:0.13.8@sha256:{} /uv ", "4".repeat(64));
    assert!(text.contains(&uv), "{text}");
    assert!(text.contains("UV_DEFAULT_INDEX=\"https://mirror.example.org/pypi/simple\""));
    assert!(text.contains("--index-url https://mirror.example.org/whl/cu126 "));
    // The label says what the image is, not where it was had.
    assert!(text.contains("base.name=\"docker.io/library/python:3.11-slim-trixie\""));
    let install = built_in(Kind::Install, &lock);
    assert!(install.contains("from_index https://mirror.example.org/whl/cu126 "));
    assert!(install.contains("UV_DEFAULT_INDEX=https://mirror.example.org/pypi/simple\n"));
    for text in [text, install] {
        assert!(!text.contains("download.pytorch.org") && !text.contains("ghcr.io"), "{text}");
    }
}

#[test]
fn templates_of_users_see_the_same_context() {
    let text = by(
        "{% for t in targets %}{{ t.name }} {{ t.driver.min | docker_quote }} {{ t.torch | shell_quote }}\n{% endfor %}",
    );
    assert_eq!(text.unwrap().lines().next(), Some("train \"580.65.06\" 2.14.1"));
    for (template, part) in [
        ("{{ nothing }}", "Variable `nothing` is not defined"),
        ("{{ targets[0].colour }}", "undefined"),
        ("{% if %}", "expected"),
        ("{{ lock.digest | colour }}", "colour"),
        ("{% include \"/etc/passwd\" %}", "passwd"),
        ("{% extends \"x\" %}", "extends"),
    ] {
        let error = by(template).unwrap_err();
        assert!(matches!(error, Error::Template(_)));
        for part in ["`lock.digest`", "`targets[].torch`", "gpuseal schema template-context"] {
            assert!(error.help().unwrap().contains(part), "{:?}", error.help());
        }
        assert!(error.to_string().to_lowercase().contains(&part.to_lowercase()), "{error}");
    }
}

/// `UPDATE_SCHEMAS=1 cargo test --lib schema` writes it anew.
#[test]
fn the_schema_is_that_of_the_context() {
    let schema = schemars::schema_for!(super::Page);
    let text = serde_json::to_string_pretty(&schema).unwrap() + "\n";
    if std::env::var_os("UPDATE_SCHEMAS").is_some() {
        std::fs::write("schemas/template-context.json", &text).unwrap();
    }
    let standing = std::fs::read_to_string("schemas/template-context.json").unwrap();
    assert_eq!(standing, text, "UPDATE_SCHEMAS=1 cargo test --lib schema");
    // What a template sees is what the schema names.
    let names = super::context::names();
    let lock = complete("compiled");
    let targets: Vec<_> = lock.targets.iter().collect();
    let page = super::Page::new(&lock, &targets, Kind::Dockerfile, &Options::default());
    let mut seen = Vec::new();
    walk(&serde_json::to_value(page).unwrap(), "", &mut seen);
    assert!(seen.len() > 30);
    for name in seen {
        assert!(names.contains(&name), "{name} is not in {names:?}");
    }
}

/// Names of values that are no maps, with `[]` for any element of an array.
fn walk(value: &serde_json::Value, path: &str, seen: &mut Vec<String>) {
    match value {
        serde_json::Value::Object(map) => {
            for (name, inner) in map {
                let dot = if path.is_empty() { "" } else { "." };
                walk(inner, &format!("{path}{dot}{name}"), seen);
            }
        }
        serde_json::Value::Array(list) if list.iter().any(serde_json::Value::is_object) => {
            for inner in list {
                walk(inner, &format!("{path}[]"), seen);
            }
        }
        serde_json::Value::Array(list) if list.is_empty() => (),
        serde_json::Value::Null => (),
        _ => seen.push(path.to_owned()),
    }
}

#[test]
#[ignore = "writes samples for the parsers of .ci/rendered to /tmp/render-samples"]
fn samples() {
    let folder = std::path::Path::new("/tmp/render-samples");
    std::fs::create_dir_all(folder).unwrap();
    let write = |name: String, lock: &Lockfile| {
        for (kind, text) in all_texts(lock) {
            if let Ok(text) = text {
                std::fs::write(folder.join(format!("{name}.{kind}")), text).unwrap();
            }
        }
    };
    write("all".into(), &sample::lock());
    for target in &sample::lock().targets {
        write(target.name.to_string(), &only(target.name.as_str()));
    }
    let mut bare = only("desk");
    bare.targets[0].platform = "linux/amd64".parse().unwrap();
    write("bare".into(), &bare);
    write("locked".into(), &complete("fleet"));
    write("locked-compiled".into(), &complete("compiled"));
    let mut both = sample::lock();
    both.targets[1] = complete("fleet").targets[0].clone();
    write("both".into(), &both);
    // Two indexes, and a package to compile on top of them.
    let (vllm, vision) = (
        "name = \"vllm\"\n",
        "local = \"cu126\"\nindex = \"pytorch-cu126\"\nrequested = true\nhash = \"unfetched\"\n\n[[target.package]]\nname = \"vllm\"",
    );
    let text = sample::text()
        .replace(vision, &vision.replace("cu126", "cu130"))
        .replace(vllm, &format!("{vllm}source_build = true\n"));
    let mut mixed = Lockfile::parse(&text, "mixed").unwrap();
    mixed.targets.retain(|t| t.name.as_str() == "fleet");
    mixed.targets[0].base.builder = sample::lock().target("compiled").unwrap().base.builder.clone();
    write("mixed".into(), &mixed);
}

/// Every text of the sample, by its path.
fn leaves(value: &mut toml::Value, visit: &mut impl FnMut(&mut String)) {
    match value {
        toml::Value::String(text) => visit(text),
        toml::Value::Array(rows) => rows.iter_mut().for_each(|row| leaves(row, visit)),
        toml::Value::Table(table) => table.iter_mut().for_each(|(_, inner)| leaves(inner, visit)),
        _ => (),
    }
}

fn counted(text: &str) -> usize {
    let mut count = 0;
    leaves(&mut text.parse::<toml::Table>().unwrap().into(), &mut |_| count += 1);
    count
}

/// A lock with its `index`th text changed.
fn changed(text: &str, index: usize, change: impl Fn(&str) -> String) -> String {
    let mut value: toml::Value = text.parse::<toml::Table>().unwrap().into();
    let mut at = 0;
    leaves(&mut value, &mut |text| {
        if at == index {
            *text = change(text);
        }
        at += 1;
    });
    toml::to_string(&value).unwrap()
}

/// What is refused is refused on one line; what passes leaves every text as many lines as before.
fn survives(text: &str, hostile: &str, (plain, old): &(Lockfile, Texts)) {
    match Lockfile::parse(text, "hostile.lock") {
        Err(error) => assert!(!error.to_string().contains(['\u{1b}', '\0', '\r']), "{error}"),
        Ok(lock) => {
            // The other targets say what they said.
            let touched = |at: usize| lock.targets.get(at) != plain.targets.get(at);
            let shared = !(0..lock.targets.len()).any(touched);
            for (name, new) in texts(&lock, true, |at| shared || touched(at)) {
                let (Ok(new), Some(Ok(old))) = (new, old.get(&name)) else { continue };
                assert_eq!(new.lines().count(), old.lines().count(), "{name}: {hostile:?}");
                // A value may be trimmed; every text holds the end of a line.
                assert!(
                    hostile.trim().is_empty() || held(&new, hostile) <= held(old, hostile),
                    "{name}: {hostile:?}"
                );
            }
        }
    }
}

/// How often a text stands in another.
fn held(text: &str, part: &str) -> usize {
    text.matches(part).count()
}

#[test]
fn hostile_texts_reach_no_template() {
    let hostile = [
        "\nRUN id",
        "$(id)",
        "`id`",
        "'; id; '",
        "\" && id \"",
        "a\\",
        "\r\nUSER 0",
        "a b; id",
        "${HOME}",
        "{{ lock }}",
        "#x",
    ];
    for lock in [sample::lock(), complete("fleet")] {
        let plain = lock.to_toml();
        let texts = all_texts(&lock);
        let before = (lock, texts);
        for index in 0..counted(&plain) {
            for hostile in hostile {
                let changed = |change: &dyn Fn(&str) -> String| {
                    survives(&changed(&plain, index, change), hostile, &before);
                };
                changed(&|_| hostile.to_owned());
                changed(&|text| format!("{text}{hostile}"));
                changed(&|text| format!("{hostile}{text}"));
            }
        }
    }
}

proptest! {
    #[test]
    fn any_hostile_text_is_refused_or_harmless(
        index in 0..counted(&sample::text()),
        before in "[a-z0-9.]{0,6}",
        sign in prop::sample::select(vec!["\n", "\r", "'", "\"", "`", "$(", ";", "&", "\\", "\0", "|", "\u{2028}", "\u{1b}["]),
        after in "\\PC{0,12}",
    ) {
        let hostile = format!("{before}{sign}{after}");
        let before = (sample::lock(), all_texts(&sample::lock()));
        survives(&changed(&sample::text(), index, |_| hostile.clone()), &hostile, &before);
        let end = format!("{sign}{after}");
        survives(&changed(&sample::text(), index, |text| format!("{text}{end}")), &end, &before);
    }
}
