"""What no schema says of rendered files: that they fit together, and that no name changes their meaning.

Usage: rendered.py together PROJECT | rendered.py hostile PROJECT GPUSEAL
"""

import hashlib
import json
import pathlib
import re
import subprocess
import sys
import tomllib

import dockerfile
import ruamel.yaml
import yaml

FILES = {
    "compose": "compose.yaml",
    "k8s": "k8s.yaml",
    "github": ".github/workflows/gpuseal-images.yml",
    "gitlab": "gpuseal-images.gitlab-ci.yml",
}


def documents(text):
    """The documents of a file, which readers of YAML 1.1 and 1.2 must take alike."""
    old = list(yaml.safe_load_all(text))
    new = list(ruamel.yaml.YAML(typ="safe", pure=True).load_all(text))
    assert old == new, (old, new)
    return old


def together(project):
    """Every file names stages of the Dockerfile beside it, and images that another file builds."""
    dockerfile = project / "Dockerfile"
    stages = set(re.findall(r"^FROM \S+ AS (\S+)$", dockerfile.read_text(), re.M))
    lock = tomllib.loads((project / "gpuseal.lock").read_text())
    targets = [t["name"] for t in lock["target"] if t["platform"].startswith("linux/")]
    file = {kind: documents((project / at).read_text()) for kind, at in FILES.items()}

    services = file["compose"][0]["services"]
    assert list(services) == targets
    images = {name: service["image"] for name, service in services.items()}
    for name, service in services.items():
        assert service["build"]["target"] == name and name in stages, name

    jobs = file["k8s"]
    program = jobs[0]["spec"]["template"]["spec"]["containers"][0]["command"][2]
    compile(program, "smoke test", "exec")
    pulled = [job["spec"]["template"]["spec"]["containers"][0]["image"] for job in jobs]
    assert pulled == list(images.values()), (pulled, images)

    rows = file["github"][0]["jobs"]["image"]["strategy"]["matrix"]["include"]
    assert {row["target"]: row["image"] for row in rows} == images
    for row in rows:
        service = services[row["target"]]
        assert row["platform"] == service["platform"]
        assert row["runner"].endswith("-arm") == (row["platform"] == "linux/arm64"), row

    for name in targets:
        job = file["gitlab"][0][f"image:{name}"]
        tag = images[name].split(":")[1]
        assert job["variables"]["IMAGE"] == f"$CI_REGISTRY_IMAGE:{tag}", job
        assert file["gitlab"][0][f"smoke:{name}"]["image"] == job["variables"]["IMAGE"]
        at = project / ".devcontainer" / name / "devcontainer.json"
        build = json.loads(at.read_text())["build"]
        assert (at.parent / build["dockerfile"]).resolve() == dockerfile.resolve(), build
        assert (at.parent / build["context"]).resolve() == project.resolve(), build
        assert build["target"] == name, build
    print(len(targets), "targets,", len(file) + len(targets), "files fit together")


def replaced(value, pairs):
    """The value with texts replaced in every key and text."""
    if isinstance(value, dict):
        return {replaced(key, pairs): replaced(inner, pairs) for key, inner in value.items()}
    if isinstance(value, list):
        return [replaced(inner, pairs) for inner in value]
    for old, new in pairs if isinstance(value, str) else ():
        value = value.replace(old, new)
    return value


WORDS = ["on", "off", "yes", "no", "y", "n", "null", "true", "nan", "inf", "e1", "a-", "a--", "x_1"]
NUMBERS = ["3090", "1e3", "0x10", "0o17", "0b1", "1_000", "2026-01-01", "12e03", "0", "00", "9_"]
LABELS = ["a: b", "--- x: y", "...", "- a", "null", "x:", ",", "(a): x", "1:30"]


def hostile(project, gpuseal):
    """A target of any name gives the document of any other target, but for the name."""
    quiet = [gpuseal, "lock", "--offline", "--quiet", "--project", project]
    subprocess.run(quiet, check=True, stdout=subprocess.DEVNULL)
    at = project / "gpuseal.lock"
    plain = at.read_text()
    card = re.search(r'^name = "NVIDIA [^"]*"$', plain, re.M).group(0)
    named = 'name = "train"\nplatform'
    assert named in plain

    def render(kind, lock, target):
        """The answer of the program, and the digest of the lock."""
        at.write_text(lock)
        one = ["--target", target]
        flags = {"dra": ["--dra"], "devcontainer": one, "slurm": one, "apptainer": one}.get(kind, [])
        command = [gpuseal, "render", "k8s" if kind == "dra" else kind, "--project", project, *flags]
        got = subprocess.run(command, capture_output=True, text=True, check=False)
        return got, hashlib.sha256(lock.encode()).hexdigest()

    count = refused = 0
    for kind in [*FILES, "dra", "devcontainer"]:
        read = documents if kind != "devcontainer" else lambda text: [json.loads(text)]
        base, old = render(kind, plain, "train")
        assert base.returncode == 0 and old in base.stdout, base
        before = read(base.stdout)
        for name in WORDS + NUMBERS:
            got, new = render(kind, plain.replace(named, named.replace("train", name)), name)
            if kind not in ("k8s", "dra") and name in NUMBERS:
                assert got.returncode == 2 and "a stage starts with a letter" in got.stderr, (kind, got)
                refused += 1
                continue
            assert got.returncode == 0, (kind, got)
            # A name in Kubernetes has no `_`, and no `-` at its end; the image keeps that of the target.
            called = name.replace("_", "-").rstrip("-") if kind in ("k8s", "dra") else name
            pairs = [(f":train-{old[:12]}", f":\0-{new[:12]}"), (old, new), (old[:12], new[:12])]
            pairs += [("train", called), ("\0", name)]
            assert read(got.stdout) == replaced(before, pairs), (kind, name, got.stdout)
            count += 1
        for label in LABELS:
            got, new = render(kind, plain.replace(card, f'name = "{label}"'), "train")
            assert got.returncode == 0 and (label in got.stdout or kind == "devcontainer"), (kind, got)
            assert read(got.stdout) == replaced(before, [(old, new), (old[:12], new[:12])]), (kind, label)
            count += 1
    print(count, "documents keep their meaning,", refused, "names refused")

    # Texts for builders and shells: Docker's parser sees the same instructions, shells read every script.
    def judged(kind, text):
        if kind == "dockerfile":
            return [instruction.cmd for instruction in dockerfile.parse_string(text)]
        shells = {"install": [["sh", "-n"]], "slurm": [["bash", "-n"]]}[kind]
        # SC1010 takes a pattern called `esac` for the end of its case; the parenthesis before it tells shells.
        for judge in [*shells, ["shellcheck", "--severity=warning", "--exclude=SC1010", "-"]]:
            judge = judge if judge[0] == "shellcheck" else [*judge, "/dev/stdin"]
            got = subprocess.run(judge, input=text, capture_output=True, text=True, check=False)
            assert got.returncode == 0, (kind, judge, got)
        return len(text.splitlines())

    count = 0
    for kind in ["dockerfile", "install", "slurm"]:
        base = judged(kind, render(kind, plain, "train")[0].stdout)
        names = [(plain.replace(named, named.replace("train", name)), name) for name in [*WORDS, "esac", "done", "fi"]]
        for lock, name in names + [(plain.replace(card, f'name = "{label}"'), "train") for label in LABELS]:
            got, _ = render(kind, lock, name)
            assert got.returncode == 0 and judged(kind, got.stdout) == base, (kind, name, got)
            count += 1
    print(count, "texts for builders and shells keep their shape")


if __name__ == "__main__":
    if sys.argv[1] == "together":
        together(pathlib.Path(sys.argv[2]))
    else:
        hostile(pathlib.Path(sys.argv[2]), sys.argv[3])
