//! Mirrors are fences, and secrets stay where they belong.

use std::path::Path;

use super::bench::{Bench, YAML, below, version};
use super::support::shelf::{Form, Shelf, Wheel};
use super::support::web::{Route, Web};
use super::support::{files, finish, folder, write};

const CU126: &str = "torch-2.14.1+cu126-cp312-cp312-manylinux_2_28_x86_64.whl";

/// The PyTorch wheel index's page of a build, and PyPI's part of the rest.
fn two_shelves() -> (Shelf, Shelf) {
    let requires = [
        "filelock",
        "cuda-toolkit[cublas]==12.6.3; platform_system == \"Linux\"",
        "cuda-bindings<13,>=12.9.4; platform_system == \"Linux\"",
        "nvidia-nvjitlink-cu12<13,>=12.6.85; platform_system == \"Linux\"",
        "nvidia-cudnn-cu12==9.10.2.21; platform_system == \"Linux\"",
        "nvidia-nccl-cu12==2.29.3; platform_system == \"Linux\"",
        "nvidia-cusparselt-cu12==0.7.1; platform_system == \"Linux\"",
        "nvidia-nvshmem-cu12==3.4.5; platform_system == \"Linux\"",
        "triton~=3.8.0; platform_system == \"Linux\"",
    ];
    let mut build = Shelf::at("/whl/cu126", "/whl/cu126");
    build.form = Form::PLAIN;
    build
        .add(Wheel::new(CU126).requires(&requires).build("2.14.1+cu126", Some("12.6")))
        // Old copies of common packages lie there too.
        .add(Wheel::pure("filelock", "9.9.9"))
        .add(Wheel::pure("cuda-toolkit", "12.6.3"))
        .add(Wheel::new("nvidia_cudnn_cu12-9.10.2.21-py3-none-manylinux_2_27_x86_64.whl"))
        .add(Wheel::new("nvidia_nccl_cu12-2.29.3-py3-none-manylinux_2_18_x86_64.whl"))
        .add(Wheel::new("nvidia_cusparselt_cu12-0.7.1-py3-none-manylinux2014_x86_64.whl"))
        .add(Wheel::new("triton-3.8.0-cp312-cp312-manylinux_2_28_x86_64.whl"));
    let mut pypi = Shelf::at("/simple", "/files");
    pypi.add(Wheel::pure("filelock", "3.20.0"))
        .add(Wheel::new("cuda_bindings-12.9.4-cp312-cp312-manylinux_2_28_x86_64.whl"))
        .add(Wheel::new("nvidia_nvjitlink_cu12-12.9.86-py3-none-manylinux_2_28_x86_64.whl"))
        // Another version on the build's own index: there it has to be looked for first.
        .add(Wheel::new("nvidia_nccl_cu12-2.30.0-py3-none-manylinux_2_18_x86_64.whl"))
        .add(Wheel::new("nvidia_nvshmem_cu12-3.4.5-py3-none-manylinux_2_28_x86_64.whl"));
    (build, pypi)
}

#[test]
fn with_mirrors_no_request_goes_elsewhere_and_the_lock_names_them() {
    let mut bench = Bench::new();
    let (build, pypi) = two_shelves();
    let [own, pypis] = [Web::start([]), Web::start([])];
    build.publish(&own);
    pypi.publish(&pypis);
    // That is how the PyTorch wheel index says that there is no such package, and how it does not.
    own.route("/whl/cu126/nvidia-nvjitlink-cu12/", Route::status(403));
    own.route("/whl/cu126/cuda-bindings/", Route::status(403));
    bench.asked = ["--cuda", "cu126", "--python", "3.12", "--gpu", "h100", "--driver", "550.54.14"]
        .map(String::from)
        .to_vec();
    let mirrored = |args: &[&str]| {
        let mut command = bench.command(args);
        command
            .env("GPUSEAL_MIRROR_PYTORCH", own.url("/whl").as_str())
            .env("GPUSEAL_MIRROR_PYPI", pypis.url("/simple").as_str());
        command
    };
    finish(&mut mirrored(&["-v"])).says(0, &["wrote gpuseal.lock"]);
    assert!(bench.web.log().is_empty(), "a request has gone past the mirrors");
    let (text, lock) = (bench.text(), bench.locked());
    let of = |name: &str| {
        let package = lock.targets[0].packages.iter().find(|p| p.name.as_str() == name);
        package.expect(name).index.to_string()
    };
    assert_eq!(of("torch"), "pytorch-cu126");
    assert_eq!(of("nvidia-cudnn-cu12"), "pytorch-cu126");
    assert_eq!(of("nvidia-nccl-cu12"), "pytorch-cu126");
    assert_eq!(of("nvidia-nvjitlink-cu12"), "pypi");
    assert_eq!(of("nvidia-nvshmem-cu12"), "pypi");
    assert_eq!(of("filelock"), "pypi");
    assert_eq!(version(&lock, "filelock"), "3.20.0");
    assert_eq!(own.hits("/whl/cu126/filelock/"), 0, "only what belongs to the GPU is asked there");
    assert_eq!(text.matches("[[mirror]]").count(), 2);
    for url in [own.url("/whl"), pypis.url("/simple")] {
        assert!(text.contains(&format!("at = \"{url}\"")), "{text}");
    }
    assert!(!text.contains("download.pytorch.org/whl/cu126/torch"), "{text}");
    // Again: nobody is asked.
    let asked = (own.log().len(), pypis.log().len());
    finish(&mut mirrored(&[])).says(0, &["unchanged"]);
    finish(&mut mirrored(&["--check"])).says(0, &[]);
    assert_eq!((own.log().len(), pypis.log().len()), asked);
    assert_eq!(bench.text(), text);
    // torch itself is not there.
    own.route("/whl/cu126/torch/", Route::status(403));
    bench.refuses_with(
        &mut mirrored(&["--upgrade", "--no-cache"]),
        1,
        &["pytorch-cu126 has no file of torch", "there is no such package", "help: "],
    );
    // A refusal on PyPI is one.
    build.publish(&own);
    pypis.route("/simple/filelock/", Route::status(403));
    bench.refuses_with(
        &mut mirrored(&["--upgrade", "--no-cache"]),
        4,
        &["/simple/filelock/", "HTTP 403"],
    );
    // The PyTorch mirror refuses files of PyPI's mirror: each has its own fence.
    pypi.publish(&pypis);
    let link = format!("<a href=\"{}\">x</a>", pypis.url(&format!("/{CU126}").replace('+', "%2B")));
    own.route("/whl/cu126/torch/", Route::ok(link).header("Content-Type", "text/html"));
    bench.refuses_with(
        &mut mirrored(&["--upgrade", "--no-cache"]),
        4,
        &[&own.addr.to_string(), &pypis.addr.to_string(), "is not among the mirrors"],
    );
}

#[test]
fn a_mirror_in_the_file_counts_like_one_in_the_environment() {
    let mut bench = Bench::new();
    bench.asked.clear();
    let yaml = format!("{YAML}mirrors: {{ pypi: \"{}\" }}\n", bench.web.url("/simple"));
    write(bench.project.path(), "gpuseal.yaml", yaml);
    let mut command = bench.command(&[]);
    finish(command.env("PIP_INDEX_URL", "http://nowhere.test/simple")).says(0, &["wrote"]);
    assert!(bench.text().contains("[[mirror]]"));
    let bad = ["ftp://example.org/simple", "http://u:p@example.org/simple", "nowhere", "http://"];
    for mirror in bad {
        let mut command = bench.command(&["--upgrade"]);
        let run = bench.refuses_with(command.env("GPUSEAL_MIRROR_PYPI", mirror), 2, &["help: "]);
        assert!(!run.all().contains("u:p@"), "{}", run.all());
    }
}

#[test]
fn files_of_another_place_are_looked_up_again() {
    let bench = Bench::new();
    bench.lock(&[]).says(0, &[]);
    let mirror = Web::start([]);
    bench.shelf.publish(&mirror);
    let asked = bench.web.log().len();
    let mut command = bench.command(&[]);
    finish(command.env("GPUSEAL_MIRROR_PYPI", mirror.url("/simple").as_str())).says(0, &["wrote"]);
    assert_eq!(bench.web.log().len(), asked);
    let text = bench.text();
    assert!(text.contains(&mirror.addr.to_string()) && text.contains("[[mirror]]"), "{text}");
    assert!(!text.contains(&bench.web.addr.to_string()), "{text}");
    // And back.
    bench.lock(&[]).says(0, &["wrote"]);
    assert!(
        !bench.text().contains("[[mirror]]") && !bench.text().contains(&mirror.addr.to_string())
    );
}

#[test]
fn credentials_are_sent_to_their_server_alone_and_written_nowhere() {
    const SECRET: &str = "s3cr3t-pass";
    let bench = Bench::of(Form { sidecars: false, ..Form::FULL });
    let only = |route: Route| route.only("alice", SECRET);
    for name in bench.shelf.names() {
        bench.web.route(&bench.shelf.page_path(&name), only(bench.shelf.page(&name)));
    }
    for wheel in bench.shelf.wheels.clone() {
        bench.web.route(&format!("/files/{}", wheel.file), only(bench.shelf.file(&wheel)));
    }
    // One file lies elsewhere: nothing goes there.
    let elsewhere = Web::start([]);
    let triton = bench.shelf.wheel("triton");
    elsewhere.route("/stored", bench.shelf.file(&triton));
    let to = elsewhere.url("/stored");
    bench.web.route(&bench.shelf.file_path("triton"), only(Route::redirect(to.as_str())));
    let url = bench.web.url_of(&format!("alice:{SECRET}"), "/simple").to_string();
    let run = finish(bench.command(&["-v"]).env("PIP_INDEX_URL", &url));
    run.says(0, &["wrote gpuseal.lock"]);
    let silent = |text: &str| {
        for word in [SECRET, "alice", "YWxpY2U6"] {
            assert!(!text.contains(word), "`{word}` in {text}");
        }
    };
    silent(&run.all());
    silent(&bench.text());
    for (path, bytes) in below(bench.cache.path()) {
        silent(&path.to_string_lossy());
        silent(&String::from_utf8_lossy(&bytes));
    }
    assert!(elsewhere.log().iter().all(|hit| hit.header("authorization").is_none()));
    assert!(!elsewhere.log().is_empty());
    // Wrong ones.
    let wrong = bench.web.url_of("alice:other-s3cr3t", "/simple").to_string();
    let mut command = bench.command(&["--upgrade", "--no-cache", "-v"]);
    let words = ["HTTP 401", "the credentials were refused", "help: check the credentials"];
    let run = bench.refuses_with(command.env("PIP_INDEX_URL", wrong), 4, &words);
    assert!(!run.all().contains("other-s3cr3t"), "{}", run.all());
    // None, then those of netrc.
    let words = ["HTTP 401", "help: if the index wants credentials, put them into ~/.netrc"];
    bench.refuses_with(&mut bench.command(&["--upgrade", "--no-cache"]), 4, &words);
    let home = folder(&[]);
    let line = format!("machine 127.0.0.1 login alice password {SECRET}\n");
    write(home.path(), "netrc", line);
    let mut command = bench.command(&["--upgrade", "--no-cache", "-v"]);
    let run = finish(command.env("NETRC", home.path().join("netrc")));
    run.says(0, &[]);
    silent(&run.all());
    silent(&bench.text());
    // A failure names the address without them.
    bench.web.route(&bench.shelf.page_path("triton"), Route::status(500));
    let mut command = bench.command(&["--upgrade", "--no-cache"]);
    let run = bench.refuses_with(command.env("PIP_INDEX_URL", &url), 4, &["HTTP 500"]);
    silent(&run.all());
}

#[cfg(unix)]
#[test]
fn the_keyring_is_asked_by_its_command_where_pip_would_ask_it() {
    use std::os::unix::fs::PermissionsExt as _;

    let bench = Bench::new();
    for name in bench.shelf.names() {
        let page = bench.shelf.page(&name).only("alice", "from-the-ring");
        bench.web.route(&bench.shelf.page_path(&name), page);
    }
    let bin = folder(&[("keyring", "#!/bin/sh\necho \"$@\" >> \"$0.log\"\necho from-the-ring\n")]);
    let program = bin.path().join("keyring");
    let runs = std::fs::Permissions::from_mode(0o755);
    fs_err::set_permissions(&program, runs).expect("a mode");
    let path = std::env::join_paths([bin.path(), Path::new("/bin"), Path::new("/usr/bin")]);
    let path = path.expect("a search path");
    let url = bench.web.url_of("alice", "/simple").to_string();
    let signed = |args: &[&str]| {
        let mut command = bench.command(args);
        command.env("PIP_INDEX_URL", &url).env("PATH", &path);
        command
    };
    bench.refuses_with(&mut signed(&[]), 4, &["HTTP 401", "help: "]);
    assert_eq!(files(bin.path()), ["keyring"], "it was asked although nobody wants that");
    let mut command = signed(&["-v"]);
    let run = finish(command.env("PIP_KEYRING_PROVIDER", "subprocess"));
    run.says(0, &["wrote gpuseal.lock"]);
    for text in [run.all(), bench.text()] {
        assert!(!text.contains("from-the-ring") && !text.contains("alice"), "{text}");
    }
    let asked = fs_err::read_to_string(bin.path().join("keyring.log")).expect("a log");
    assert!(asked.lines().count() <= 2, "{asked}");
}
