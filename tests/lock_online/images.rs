//! Digests of images, beside the files: a registry that fails leaves the lock as it was.

use std::process::Command;
use std::time::Duration;

use gpuseal::domain::Sha256;
use gpuseal::lock::Lockfile;
use serde_json::json;

use super::bench::{Bench, old_lock};
use super::support::shelf::Form;
use super::support::web::{Route, Web};
use super::support::{Run, finish};

const INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// Puts an image for two platforms under a tag, and tells the digest of the one for `linux/amd64`.
fn publish(registry: &Web, path: &str, content: &str) -> Sha256 {
    const IMAGE: &str = "application/vnd.oci.image.manifest.v1+json";
    let (repository, _) = path.rsplit_once('/').expect("a path");
    let put = |path: &str, kind: &str, text: &serde_json::Value| {
        let text = text.to_string();
        let digest = Sha256::of(text.as_bytes());
        let route = Route::ok(text.clone())
            .header("Content-Type", kind)
            .header("Docker-Content-Digest", digest.as_str());
        registry.route(&format!("{repository}/{digest}"), route.clone());
        if !path.is_empty() {
            registry.route(path, route);
        }
        (digest, text.len())
    };
    let part = |machine: &str| {
        let config = json!({
            "mediaType": "application/vnd.oci.image.config.v1+json",
            "digest": Sha256::of(machine.as_bytes()).as_str(),
            "size": 5,
        });
        let image = json!({
            "schemaVersion": 2, "mediaType": IMAGE, "config": config, "layers": [{ "size": 28_000_000 }, { "size": 14_000_000 }],
            "annotations": { "content": content },
        });
        let (digest, size) = put("", IMAGE, &image);
        let part = json!({
            "mediaType": IMAGE, "digest": digest.as_str(), "size": size,
            "platform": { "os": "linux", "architecture": machine },
        });
        (digest, part)
    };
    let ((_, arm64), (digest, amd64)) = (part("arm64"), part("amd64"));
    let list = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [arm64, amd64] });
    put(path, INDEX, &list);
    digest
}

/// Paths of the base image and of uv's, as the lock names them.
fn paths() -> [String; 2] {
    let lock = Lockfile::parse(old_lock(), "gpuseal.lock").expect("a lock");
    let base = &lock.targets[0].base;
    let uv = base.uv.as_ref().expect("uv's image");
    let name = uv.repository.to_string();
    let name = name.split_once('/').expect("a registry").1.to_owned();
    [
        format!("/v2/library/{}/manifests/{}", base.repository, base.tag),
        format!("/v2/{name}/manifests/{}", uv.tag),
    ]
}

/// `gpuseal lock` without `--no-images`.
fn command(bench: &Bench, registry: &Web, args: &[&str]) -> Command {
    let plain = bench.command(args);
    let mut command = super::support::gpuseal(bench.project.path());
    command.args(plain.get_args().filter(|arg| *arg != "--no-images"));
    for (name, value) in plain.get_envs() {
        if let Some(value) = value {
            command.env(name, value);
        }
    }
    let at = format!("http://{}", registry.addr);
    command.env("GPUSEAL_MIRROR_DOCKER_IO", &at).env("GPUSEAL_MIRROR_GHCR_IO", at);
    command
}

fn lock(bench: &Bench, registry: &Web, args: &[&str]) -> Run {
    finish(&mut command(bench, registry, args))
}

#[test]
fn digests_of_images_are_locked_and_kept() {
    let bench = Bench::new();
    let [base, uv] = paths();
    let registry = Web::start([]);
    let (one, two) = (publish(&registry, &base, "base"), publish(&registry, &uv, "uv"));
    let run = lock(&bench, &registry, &["-v"]);
    run.says(0, &["wrote gpuseal.lock", &base, &uv]);
    let text = bench.text();
    assert!(text.contains(&format!("digest = \"{one}\"")), "{text}");
    assert!(text.contains(&format!("uv_digest = \"{two}\"")), "{text}");
    assert!(bench.locked().complete());
    assert_eq!(bench.locked().targets[0].base.size, Some(42_000_000));
    // They stay, without a question, and offline.
    let asked = registry.log().len();
    let newer = publish(&registry, &base, "newer");
    for args in [&[][..], &["--offline"], &["--check"], &["--no-images"]] {
        lock(&bench, &registry, args).says(0, &[]);
        assert_eq!(bench.text(), text, "{args:?}");
    }
    assert_eq!(registry.log().len(), asked);
    // Until everything may change.
    lock(&bench, &registry, &["--upgrade"]).says(0, &["wrote"]);
    assert_eq!(bench.text(), text.replace(one.as_str(), newer.as_str()));
}

#[test]
fn a_registry_that_fails_leaves_the_lock_as_it_was() {
    let bench = Bench::with_old(Form::FULL);
    let [base, uv] = paths();
    let registry = Web::start([]);
    publish(&registry, &uv, "uv");
    let good = Route::ok("{\"schemaVersion\":2}").header("Content-Type", INDEX);
    let host = registry.addr.to_string();
    for (route, words) in [
        (Route::status(500), "answers with status 500"),
        (Route::status(429).header("Retry-After", "3600"), "try again in 3600 s"),
        (Route::status(403), &host),
        (Route::silent(), "lock without digests: `--no-images`"),
        (Route::hangs_up(), &host),
        (good.clone().truncated(10), &host),
        (good.clone().claims(1 << 30), &host),
        (good.clone().drip(Duration::from_millis(300)), "lock without digests: `--no-images`"),
        (Route::ok("<html>log in</html>").header("Content-Type", "text/html"), &host),
        (Route::redirect(&base), &host),
    ] {
        registry.route(&base, route);
        let mut command = command(&bench, &registry, &["--upgrade"]);
        command.env("GPUSEAL_HTTP_TIMEOUT", "1");
        bench.refuses_with(&mut command, 4, &[words, "help: "]);
    }
    // Another platform's image, and none at all.
    let [repository, tag] = {
        let (repository, tag) = base.rsplit_once("/manifests/").expect("a path");
        [repository.to_owned(), tag.to_owned()]
    };
    registry.route(&base, Route::status(404));
    let list =
        json!({ "name": "library/python", "tags": ["3.12-slim-bookworm", "3.13-slim-trixie"] });
    let list = Route::ok(list.to_string()).header("Content-Type", "application/json");
    registry.route(&format!("{repository}/tags/list"), list);
    let mut command = command(&bench, &registry, &["--upgrade"]);
    bench.refuses_with(&mut command, 1, &[&tag, "3.12-slim-bookworm"]);
}
