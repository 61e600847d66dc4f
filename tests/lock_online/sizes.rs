//! Unpacked sizes and telling libraries: what a lock learns of the directories of its wheels, and that
//! nothing rests on them.

use gpuseal::lock::{Contents, Lockfile};

use super::bench::{Bench, COUNT, filler, portless, without_sizes};
use super::support::shelf::{Form, Wheel};
use super::support::web::Route;
use super::support::{run, write};

const CUDNN: &str = "nvidia_cudnn_cu13-9.26.0.51-py3-none-manylinux_2_27_x86_64.whl";

/// cuDNN with its library, and triton with a directory that is longer than what is fetched first.
fn bench(form: Form) -> Bench {
    let mut bench = Bench::of(form);
    let cudnn = Wheel::new(CUDNN)
        .member("nvidia/cudnn/lib/libcudnn.so.9", &filler(100_000))
        .member("nvidia/cudnn/lib/libcudnn_graph.so.9", &filler(1000));
    let mut triton = bench.shelf.wheel("triton").member("triton/libtriton.so", &filler(300_000));
    for number in 0..1000 {
        triton = triton.member(&format!("triton/{number:0>60}.py"), b"pass");
    }
    bench.shelf.swap(cudnn);
    bench.shelf.swap(triton);
    bench.publish();
    bench
}

fn contents<'l>(lock: &'l Lockfile, name: &str) -> Option<&'l Contents> {
    let package = lock.targets[0].packages.iter().find(|p| p.name.as_str() == name);
    package.expect(name).file.as_ref().expect("a file").contents.as_ref()
}

#[test]
fn sizes_arrive_whatever_the_index_tells_beside_the_files() {
    let mut locks = Vec::new();
    for form in [Form::FULL, Form::PLAIN, Form { hashes: false, ..Form::PLAIN }] {
        let bench = bench(form);
        bench.lock(&[]).says(0, &["wrote gpuseal.lock"]);
        let lock = bench.locked();
        for package in &lock.targets[0].packages {
            let wheel = bench.shelf.wheels.iter().find(|wheel| {
                package.file.as_ref().is_some_and(|file| file.name.as_str() == wheel.file)
            });
            let found = contents(&lock, package.name.as_str()).expect("its directory was read");
            assert_eq!(found.unpacked, wheel.expect("a wheel").unpacked() as u64, "{package:?}");
        }
        let cudnn = contents(&lock, "nvidia-cudnn-cu13").expect("its directory was read");
        assert_eq!(cudnn.libraries.len(), 1);
        assert_eq!(cudnn.libraries[0].as_str(), "libcudnn.so.9");
        let text = bench.text();
        assert_eq!(text.matches("unpacked = ").count(), COUNT);
        // The cache has them too, where digests tell its entries apart.
        if form.hashes {
            fs_err::remove_file(bench.path()).expect("a lock");
            bench.lock(&["--offline"]).says(0, &["wrote"]);
            assert_eq!(bench.text(), text);
        }
        locks.push(portless(&text, &bench.web));
    }
    assert_eq!(locks[0], locks[1]);
}

/// Where METADATA is beside the files, a part of each is asked for its size alone, and a small one.
#[test]
fn a_size_costs_little() {
    let bench = bench(Form::FULL);
    bench.lock(&[]).says(0, &[]);
    let (cudnn, triton) = (bench.shelf.file_path(NAME), bench.shelf.file_path("triton"));
    assert_eq!((bench.web.hits(&cudnn), bench.web.hits(&triton)), (1, 2));
    assert!(bench.web.bytes(&cudnn) <= 16 << 10, "{} bytes", bench.web.bytes(&cudnn));
}

const NAME: &str = "nvidia-cudnn-cu13";

#[test]
fn a_lock_is_made_where_no_size_can_be_had() {
    let good = bench(Form::FULL);
    good.lock(&[]).says(0, &[]);
    let text = without_sizes(&portless(&good.text(), &good.web));
    // No parts: torch alone, whose build is in the file, is fetched whole and so has a size.
    let none = bench(Form { ranges: false, ..Form::FULL });
    none.lock(&[]).says(0, &["wrote gpuseal.lock"]);
    assert_eq!(without_sizes(&portless(&none.text(), &none.web)), text);
    let lock = none.locked();
    let known =
        |package: &&gpuseal::lock::Package| contents(&lock, package.name.as_str()).is_some();
    let known: Vec<_> = lock.targets[0].packages.iter().filter(known).collect();
    assert!(known.len() == 1 && known[0].name.as_str() == "torch", "{known:?}");
    // Parts that are no end of an archive; none for those who ask; another file's.
    let routes: [fn(&Wheel) -> Route; 3] = [
        |_| Route::ok(filler(40_000)).ranges(),
        |_| Route::status(403),
        |wheel| Route::ok([&wheel.archive()[..], b"x"].concat()).ranges(),
    ];
    for route in routes {
        let bad = bench(Form::FULL);
        bad.web.route(&bad.shelf.file_path(NAME), route(&bad.shelf.wheel(NAME)));
        bad.lock(&[]).says(0, &["wrote gpuseal.lock"]);
        assert_eq!(without_sizes(&portless(&bad.text(), &bad.web)), text);
        let lock = bad.locked();
        assert_eq!((contents(&lock, NAME), contents(&lock, "triton").is_some()), (None, true));
    }
}

/// A lock of an earlier day has no sizes, and is as good as ever.
#[test]
fn a_lock_without_sizes_is_not_stale() {
    let bench = bench(Form::FULL);
    bench.lock(&[]).says(0, &[]);
    let whole = bench.text();
    let old = without_sizes(&whole);
    assert!(old != whole && !old.contains("unpacked"));
    write(bench.project.path(), "gpuseal.lock", &old);
    let asked = bench.web.log().len();
    for args in [&["--check"][..], &["--locked"], &["--offline"], &[]] {
        bench.lock(args).says(0, &[]);
        assert_eq!(bench.text(), old, "{args:?}");
    }
    assert_eq!(bench.web.log().len(), asked);
    // Files that are asked for anew come with theirs.
    bench.lock(&["--upgrade-package", "filelock"]).says(0, &["wrote"]);
    assert_eq!(bench.text(), whole);
}

#[test]
fn what_an_image_weighs_is_told_before_it_is_built() {
    let bench = bench(Form::FULL);
    let line = "image of target default: about 2.6 MB on top of python:3.12-slim-trixie, of which torch 2.2 MB, triton 304.1 kB, ";
    bench.lock(&["--render", "dockerfile"]).says(0, &["wrote Dockerfile", line]);
    let (project, whole) = (bench.project.path(), bench.text());
    let told = run(project, &["render", "dockerfile", "-o", "Dockerfile"]);
    told.says(0, &["unchanged Dockerfile", "image of target default: about "]);
    for args in [&["--quiet"][..], &["--check"]] {
        let told = run(project, &[&["render", "dockerfile", "-o", "Dockerfile"], args].concat());
        told.says(0, &[]);
        assert!(!told.all().contains("image of target"), "{}", told.all());
    }
    // The account is the result, unless the file is.
    let account = ["render", "dockerfile", "--explain-size"];
    let told = run(project, &account);
    told.says(0, &[]);
    for part in
        ["image of target default, linux/amd64", "ON DISK", "triton ", "together ", "at least"]
    {
        assert!(told.stdout.contains(part) && !told.stdout.contains("FROM "), "{}", told.all());
    }
    let told = run(project, &[&account[..], &["-o", "Other"]].concat());
    told.says(0, &["wrote Other"]);
    assert!(told.stdout.is_empty() && told.stderr.contains("ON DISK"), "{}", told.all());
    assert!(fs_err::read_to_string(project.join("Other")).is_ok_and(|text| text.contains("FROM ")));
    let told = run(project, &[&account[..], &["--format", "json"]].concat());
    let document: serde_json::Value = serde_json::from_str(&told.stdout).expect("JSON");
    let target = &document["targets"][0];
    assert_eq!(target["packages"].as_array().map(Vec::len), Some(COUNT));
    assert_eq!(target["packages"][0]["name"], "torch");
    assert_eq!(target["unpacked"]["unknown"], 0);
    let sum: usize = bench.locked().targets[0]
        .packages
        .iter()
        .map(|package| {
            bench
                .shelf
                .wheels
                .iter()
                .find(|w| w.file == package.file.as_ref().expect("a file").name.as_str())
                .expect("a wheel")
                .unpacked()
        })
        .sum();
    assert_eq!(target["unpacked"]["bytes"], sum);
    run(project, &["render", "install", "--explain-size"])
        .says(2, &["--explain-size is for `dockerfile`"]);
    // Where nobody told the sizes there is nothing to say, and the account says so.
    write(project, "gpuseal.lock", without_sizes(&whole));
    let told = run(project, &["render", "dockerfile", "-o", "Dockerfile", "--force"]);
    assert!(!told.all().contains("image of target"), "{}", told.all());
    let told = run(project, &account);
    assert!(
        told.stdout.lines().any(|l| l.contains("together") && l.ends_with("unknown")),
        "{}",
        told.all()
    );
}
