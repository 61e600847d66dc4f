//! Whole Dockerfiles, and what is read from them.

use super::super::source::{Files, MAX_BYTES};
use super::*;
use crate::domain::Place;

/// Reads a project whose files are written first.
fn project(files: &[(&str, &str)]) -> Reader {
    let dir = tempfile::tempdir().expect("a folder");
    for (name, text) in files {
        let path = dir.path().join(name);
        fs_err::create_dir_all(path.parent().expect("a parent")).expect("its folder");
        fs_err::write(path, text).expect("a file");
    }
    let mut reader = Reader::new(Files::of(dir.path()).expect("the folder"));
    let text = reader.files.read(&dir.path().join("Dockerfile"), MAX_BYTES).expect("text");
    // Garbage may name more than is read, which is an error and no crash.
    if let Err(err) = read(&text, &mut reader, None) {
        assert!(err.to_string().contains("more than the"), "{err}");
    }
    reader
}

fn dockerfile(text: &str) -> Reader {
    project(&[("Dockerfile", text)])
}

/// Requirements as `line choice? given @index?`.
fn demands(reader: &Reader) -> Vec<String> {
    let one = |d: &Demand| {
        let choice = d.choice.as_ref().map_or(String::new(), |c| format!(" {}", c.name()));
        let hint = if d.kind == Kind::Requirement { "" } else { d.kind.word() };
        let index = d.index.as_ref().map_or(String::new(), |i| format!(" @{}", last(&i.url)));
        format!("{}{choice} {hint}{}{index}", d.place.line, d.given)
    };
    reader.project.demands.iter().map(one).collect()
}

fn cuda(reader: &Reader) -> Vec<String> {
    let one = |said: &CudaSaid| {
        let variant = said.variant.map_or("?".into(), |v| v.to_string());
        format!("{} {} {} {variant}", said.place.line, said.by.word(), last(&said.given))
    };
    reader.project.cuda.iter().map(one).collect()
}

fn notes(reader: &Reader) -> Vec<String> {
    let place = |place: &Option<Place>| place.as_ref().map_or(0, |place| place.line);
    let all = reader.project.findings.iter();
    all.map(|f| format!("{} {}", place(&f.place), f.message)).collect()
}

fn last(url: &str) -> &str {
    url.rsplit('/').next().unwrap_or(url)
}

#[test]
fn installs_in_many_spellings() {
    for (run, expected) in [
        ("pip install torch==2.1.0", &["2 torch==2.1.0"][..]),
        (
            "pip3 --no-cache-dir install -qU 'torch>=2.0' \"numpy<2\"",
            &["2 torch>=2.0", "2 numpy<2"],
        ),
        ("sudo -H python3.11 -u -m pip install torch[opt-einsum]", &["2 torch[opt-einsum]"]),
        ("/opt/venv/bin/pip install torch==2.1.*", &["2 torch==2.1.*"]),
        (
            "uv pip install --system -p 3.11 torch --index-url https://x/whl/cu128",
            &["2 torch @cu128"],
        ),
        ("uv add --index pytorch=https://x/whl/cu126 torch", &["2 torch @cu126"]),
        ("TORCH=2.1.0 && pip install torch==$TORCH", &["2 torch==2.1.0"]),
        ("export V=2.2.0; pip install \"torch==${V}\"", &["2 torch==2.2.0"]),
        ("bash -euxo pipefail -c \"cd /x && pip install torch\"", &["2 torch"]),
        ("(cd x; pip install torch) || true", &["2 torch"]),
        ("conda run --no-capture-output -n env pip install torch", &["2 torch"]),
        ("apt-get install -y pip torch && pip uninstall torch", &[]),
        ("pip install -e . .[gpu] ./lib /wheels/* && pip install --upgrade pip", &["2 pip"]),
        (
            "pip install --timeout 60 -t /x --only-binary=:all: --extra gpu torch -fhttps://x/cu118/t.html",
            &["2 torch @t.html"],
        ),
        ("[\"pip\", \"install\", \"torch==2.0.1\"]", &["2 torch==2.0.1"]),
        (
            "--mount=type=cache,target=/root/.cache pip install \\\n # c\n  a \\\n  b",
            &["4 a", "5 b"],
        ),
        ("<<EOF\nset -e\npip install \\\n  a\npip install b\nEOF", &["5 a", "6 b"]),
        ("bash <<-'EOF'\n\tpip install a\n\tEOF", &["3 a"]),
        ("<<EOF\n#!/usr/bin/env python\npip install a\nEOF", &[]),
        ("python3 <<EOF\npip install a\nEOF", &[]),
        (
            "pip install https://x/whl/cu121/torch-2.3.0%2Bcu121-cp310-cp310-linux_x86_64.whl",
            &["2 https://x/whl/cu121/torch-2.3.0%2Bcu121-cp310-cp310-linux_x86_64.whl"],
        ),
    ] {
        assert_eq!(demands(&dockerfile(&format!("FROM x\nRUN {run}\n"))), expected, "{run}");
    }
}

#[test]
fn what_is_not_known_is_said() {
    for (run, note) in [
        ("pip install torch==$V", "`torch==${V}` depends on the variable `V`"),
        ("pip install torch==$(cat v)", "`torch==$(...)` depends on what a command says"),
        ("pip install -r no.txt", "`no.txt` is no file of the project"),
        (
            "pip install -r https://x/r.txt",
            "`https://x/r.txt` would have to be fetched, and is not read",
        ),
        (
            "[ -f x ] && pip install torch",
            "whether `pip install torch` is run depends on a condition that only the build decides",
        ),
        (
            "uv pip install --torch-backend=auto",
            "`--torch-backend auto` takes the build from the driver of the machine that builds",
        ),
        ("poetry add torch", "`poetry add` adds `torch` to the project while the image is built"),
        (
            "pip install torch==",
            "`torch==` is no requirement: Unexpected end of version specifier, expected version",
        ),
    ] {
        let reader = dockerfile(&format!("FROM x\nRUN {run}\n"));
        assert_eq!(notes(&reader), [format!("2 {note}")], "{run}");
        assert_eq!(demands(&reader), [""; 0]);
    }
    let reader = dockerfile("FROM x\nRUN pip install torch>=2.0\n");
    assert_eq!(demands(&reader), ["2 torch"]);
    assert!(notes(&reader)[0].contains("`torch>=2.0` stands without quotes"));
}

#[test]
fn variables_and_stages() {
    let reader = dockerfile(
        "ARG PY=3.11\nARG CUDA=cu121\nFROM python:${PY}-slim AS base\nARG CUDA\nARG TORCH=2.3.0\n\
         ENV PIP_EXTRA_INDEX_URL=https://x/whl/$CUDA\nRUN pip install torch==${TORCH}\n\
         FROM base AS cpu\nRUN pip install torchvision --index-url https://x/whl/cpu\n\
         FROM python:3.9 AS tools\nRUN pip install black\n\
         FROM base AS gpu\nCOPY --from=tools /x /x\nRUN pip install torchaudio==$TORCH\n\
         FROM gpu\n",
    );
    assert_eq!(
        demands(&reader),
        [
            "7 torch==2.3.0 @cu121",
            "9 cpu torchvision @cpu",
            "11 black",
            "14 torchaudio==2.3.0 @cu121"
        ]
    );
    let python: Vec<_> = reader.project.python.iter().map(|p| p.versions.to_string()).collect();
    assert_eq!(python, ["==3.11.*", "==3.9.*"]);
    let images: Vec<_> = reader.project.images.iter().map(|i| i.reference.as_str()).collect();
    assert_eq!(images, ["python:3.11-slim", "python:3.9"]);
    let unknown = dockerfile("ARG BASE\nFROM $BASE\n");
    assert_eq!(notes(&unknown), ["2 the base image `${BASE}` depends on the variable `BASE`"]);
    assert_eq!(unknown.project.images.len(), 0);
}

#[test]
fn images_and_conda() {
    let reader = dockerfile(
        "FROM pytorch/pytorch:2.4.0-cuda12.4-cudnn9-runtime\n\
         RUN conda install -y -c pytorch -c nvidia pytorch=2.1.0 'torchvision>=0.16' pytorch-cuda=12.1\n\
         RUN mamba install cudatoolkit=11.8 pytorch::pytorch=2.0=py3.10_cuda11.8_cudnn8.7.0_0 python=3.10\n",
    );
    let torch: Vec<_> =
        reader.project.demands.iter().map(|d| (d.name.clone(), d.spec(), d.kind.word())).collect();
    let hint = |name: &str, spec: &str| (name.to_owned(), spec.to_owned(), "hint");
    assert_eq!(
        torch,
        [
            hint("torch", "==2.1.0"),
            hint("torchvision", ">=0.16"),
            hint("torch", "==2.0.*"),
            hint("torch", "==2.4.0"),
        ]
    );
    assert_eq!(
        cuda(&reader),
        [
            "2 config 12.1 cu121",
            "3 config 11.8 cu118",
            "3 config py3.10_cuda11.8_cudnn8.7.0_0 cu118",
            "1 base-image 12.4 cu124"
        ]
    );
    let other = dockerfile(
        "FROM nvidia/cuda:12.8.1-base-ubuntu24.04\nFROM nvcr.io/nvidia/pytorch:24.05-py3\n",
    );
    assert_eq!((other.project.images.len(), cuda(&other).len(), demands(&other).len()), (2, 0, 0));
}

#[test]
fn indexes_that_variables_name() {
    let reader = dockerfile(
        "FROM x\nENV PIP_INDEX_URL https://x/whl/cu118\nRUN pip install torch\n\
         RUN pip install torch -i https://x/whl/cu121 && uv pip install numpy\n\
         RUN PIP_INDEX_URL=https://x/whl/cu124 pip install torch\n\
         ENV UV_TORCH_BACKEND=cu128\nRUN uv pip install torch\nRUN uv pip install torchvision\n",
    );
    assert_eq!(
        demands(&reader),
        [
            "3 torch @cu118",
            "4 torch @cu121",
            "4 numpy",
            "5 torch @cu124",
            "7 torch",
            "8 torchvision"
        ]
    );
    assert_eq!(cuda(&reader), ["6 config cu128 cu128"]);
    // uv takes the first index that has it; pip the higher version of both.
    let ambiguous = |run: &str| {
        dockerfile(&format!("FROM x\nRUN {run} torch --extra-index-url https://x/whl/cu118\n"))
            .project
            .findings
            .len()
    };
    assert_eq!((ambiguous("pip install"), ambiguous("uv pip install")), (1, 0));
}

#[test]
fn files_of_the_project() {
    for (docker, files, expected) in [
        (
            "COPY . .\nRUN pip install -r requirements.txt",
            &["requirements.txt"][..],
            "torch # requirements.txt",
        ),
        (
            "COPY docker/r.txt /tmp/\nRUN pip install -r /tmp/r.txt",
            &["docker/r.txt"],
            "torch # docker/r.txt",
        ),
        (
            "COPY a.txt /tmp/r.txt\nRUN pip install -r /tmp/r.txt",
            &["a.txt", "r.txt"],
            "torch # a.txt",
        ),
        ("COPY deps/*.txt /d/\nRUN pip install -r /d/r.txt", &["deps/r.txt"], "torch # deps/r.txt"),
        ("COPY deps /d\nRUN pip install -r /d/r.txt", &["deps/r.txt"], "torch # deps/r.txt"),
        (
            "RUN --mount=type=bind,source=r.txt,target=/x/y.txt pip install -r /x/y.txt",
            &["r.txt"],
            "torch # r.txt",
        ),
        ("RUN pip install -r /srv/app/r.txt", &["r.txt"], "torch # r.txt"),
        ("RUN pip install -c c.txt -r ../r.txt", &["c.txt", "r.txt"], "torch # c.txt"),
    ] {
        let docker = format!("FROM x\n{docker}\n");
        let mut all = vec![("Dockerfile", docker.as_str())];
        all.extend(files.iter().map(|name| (*name, "torch\n")));
        let reader = project(&all);
        let first = &reader.project.demands[0];
        assert_eq!(format!("{} # {}", first.given, first.place.file), expected, "{docker}");
    }
    // Read before: only the index is said.
    let reader = project(&[
        (
            "Dockerfile",
            "FROM x\nRUN pip install -r r.txt\nRUN pip install -r r.txt \\\n -i https://x/whl/cu126\n",
        ),
        ("r.txt", "torch\n"),
    ]);
    assert_eq!(
        (reader.project.demands.len(), cuda(&reader)),
        (1, vec!["4 index cu126 cu126".to_owned()])
    );
}

#[test]
fn garbage_is_read_in_time() {
    for text in [
        "RUN pip install torch",
        "FROM x\nRUN <<EOF\npip install torch",
        "from x\nONBUILD RUN pip install b\nRUN pip install 'torch",
        "FROM x AS y\nFROM y AS x\nFROM x\nCOPY --from=99 a b\nCOPY --from=2 a b\nrun pip install torch",
    ] {
        assert!(demands(&dockerfile(text))[0].ends_with("torch"), "{text}");
    }
    for text in
        ["", "FROM", "FROM --platform", "RUN", "ENV", "ARG", "COPY", "RUN [", "RUN [\"", "ENV A"]
    {
        dockerfile(text);
    }
    let began = std::time::Instant::now();
    for piece in [
        "FROM x AS y\nENV A=$A$A$A\n",
        "RUN pip install $A torch\n",
        "RUN bash -c '",
        "RUN <<E\n",
        "FROM y AS y\nARG B=1\n",
        "RUN (((",
        "\\\n",
        "RUN pip install -r r.txt\n",
        "\"",
        "${",
        "COPY a b\n",
        "RUN pip install ${A:-",
        "RUN case x in\n",
        "RUN if [ a ]; then \\\n",
    ] {
        let mut text = "FROM x\n".to_owned();
        text.push_str(&piece.repeat(400_000 / piece.len()));
        dockerfile(&text);
    }
    // One long value, used again and again.
    let long = "https://x/a ".repeat(20_000);
    for then in
        ["RUN echo $PIP_EXTRA_INDEX_URL\n", "RUN pip install a\n", "ARG PIP_EXTRA_INDEX_URL\n"]
    {
        let name = "PIP_EXTRA_INDEX_URL";
        let text = format!("ARG {name}=\"{long}\"\nFROM x\nENV {name}=\"{long}\"\n");
        dockerfile(&(text + &then.repeat(10_000)));
    }
    dockerfile(&format!("FROM x\nRUN pip install {}", "torch \\\n".repeat(40_000)));
    assert!(began.elapsed().as_secs() < 60, "{:?}", began.elapsed());
}
