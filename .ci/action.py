"""The cases of `.ci/action`, and what must come of each.

Usage: action.py serve WORK | action.py try WORK GPUSEAL ARCHIVE WHEEL
"""

import hashlib
import http.server
import json
import os
import pathlib
import re
import shutil
import ssl
import subprocess
import sys
import tempfile

import yaml

ROOT = pathlib.Path(__file__).resolve().parent.parent
CHECKOUT = re.search(r"actions/checkout@(\S+)", (ROOT / ".ci/action.yml").read_text())[1]
EXAMPLES = ROOT / "examples/workflows"


# ---- The server in GitHub's name: as there, a release is redirected to another host. Every request is noted.
def serve(work):
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            with open(work / "requests", "a") as requests:
                print(self.headers["Host"], self.path, file=requests)
            tag, _, name = self.path.removeprefix("/gpuseal/gpuseal/releases/download/").rpartition("/")
            file = work / "release" / pathlib.Path(self.path).name
            if self.headers["Host"] == "github.com" and tag.startswith("v") and file.exists():
                self.send_response(302)
                self.send_header("Location", f"https://assets.example.org/{name}")
                self.end_headers()
            elif self.headers["Host"] == "assets.example.org" and file.exists():
                self.send_response(200)
                self.send_header("Content-Length", str(file.stat().st_size))
                self.end_headers()
                with open(file, "rb") as source:
                    shutil.copyfileobj(source, self.wfile)
            else:
                self.send_error(404)

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(work / "curl/cert.pem", work / "curl/key.pem")
    server.socket = context.wrap_socket(server.socket, server_side=True)
    (work / "port").write_text(str(server.server_port))
    server.serve_forever()


def digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def shell(*command, at=None):
    subprocess.run(command, cwd=at, check=True, timeout=60, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


class Act:
    """Runs of act over one copy of the action, with stubs for the actions of others and for programs of a runner."""

    def __init__(self, work, action):
        self.work, self.action = work, action
        # Nothing of the user's: neither their ~/.actrc nor their settings of curl and git.
        rust = {name: os.environ.get(name, str(pathlib.Path.home() / at)) for name, at in (("CARGO_HOME", ".cargo"), ("RUSTUP_HOME", ".rustup"))}
        keep = ("PATH", "LANG", "TMPDIR", "SSL_CERT_FILE", "HTTPS_PROXY", "https_proxy", "NO_PROXY", "no_proxy")
        self.environment = {name: os.environ[name] for name in keep if name in os.environ}
        self.environment |= rust | {"HOME": str(work / "home"), "CURL_HOME": str(work / "curl")}
        self.environment["PATH"] = f"{work / 'stubs/bin'}:{self.environment['PATH']}"

    def run(self, workflow, names, event="push", limit=120, tools="tools", **variables):
        """Exit code and log of a run; `names` go into the environment of its steps, `variables` are those of the repository."""
        told = pathlib.Path(tempfile.mkdtemp(prefix="told-", dir=self.work))
        pins = {CHECKOUT: "actions/checkout"} | {
            ref: name for name, ref in re.findall(r"uses: ((?:actions|github)/[\w-]+)[\w/-]*@(\w+)", workflow.read_text())
        }
        command = ["act", event, "--json", "-W", str(workflow), "--no-cache-server", "--action-offline-mode", "--no-skip-checkout"]
        command += ["--action-cache-path", str(self.work / tools), "--local-repository", f"gpuseal/gpuseal@v0={self.action}"]
        for machine in ("ubuntu-24.04", "ubuntu-24.04-arm", "self-hosted"):
            command += ["-P", f"{machine}=-self-hosted"]
        for ref, name in pins.items():
            command += ["--local-repository", f"{name}@{ref}={self.work / 'stubs' / name}"]
        kept = ("PATH", "HOME", "CURL_HOME", "CARGO_HOME", "RUSTUP_HOME")
        names = {name: self.environment[name] for name in kept} | {"TOLD": str(told), "SAMPLES": str(self.work / "samples")} | names
        for name, value in names.items():
            command += ["--env", f"{name}={value}"]
        for name, value in variables.items():
            command += ["--var", f"{name}={value}"]
        # Into a file, where the stub of bash sees what act has read.
        at = told / "log"
        try:
            with open(at, "w") as file:
                code = subprocess.run(command, cwd=self.work / "empty", env=self.environment, timeout=limit, stdout=file, stderr=file).returncode
        except subprocess.TimeoutExpired:
            raise AssertionError(f"act has not ended after {limit} s:\n{Log.read(at).text()}") from None
        return code, Log.read(at), told


class Log:
    """What act says of a run, a JSON object a line."""

    def __init__(self, lines):
        self.lines = lines

    @classmethod
    def read(cls, file):
        lines = file.read_text(errors="replace").split("\n")
        # What act says before and behind its jobs is plain text.
        return cls([json.loads(line) if line.startswith("{") and line.endswith("}") else {"msg": line} for line in lines if line])

    def of(self, name):
        return Log([line for line in self.lines if line.get("matrix", {}).get("name") == name])

    def annotations(self):
        """(level, file, line, title, message) of every one."""
        return [read for line in self.lines if line.get("command") in ("error", "warning", "notice") for read in [annotation(line["raw"])]]

    def commands(self):
        return {line["command"] for line in self.lines if "command" in line}

    def summary(self):
        # The step and the action around it both tell of one file.
        return "\n".join(dict.fromkeys(line["content"] for line in self.lines if line.get("command") == "summary"))

    def text(self):
        return "".join(line["msg"].rstrip("\n") + "\n" for line in self.lines)


def annotation(raw):
    """As GitHub reads it: the first `::` behind the name ends the properties; act takes the last."""
    head, message = raw.strip()[2:].split("::", 1)
    level, _, properties = head.partition(" ")
    plain = lambda text: text.replace("%3A", ":").replace("%2C", ",").replace("%0D", "\r").replace("%0A", "\n").replace("%25", "%")
    pairs = {key: plain(value) for key, _, value in (p.partition("=") for p in properties.split(",")) if key}
    return level, pairs.get("file"), pairs.get("line"), pairs.get("title"), plain(message)


def stubs(work):
    """Stand-ins for what this machine is not: other people's actions, and programs that would change it."""

    def action(name, inputs, run):
        at = work / "stubs" / name
        at.mkdir(parents=True)
        step = {"shell": "bash", "run": run, "env": {"IN_" + i.upper().replace("-", "_"): "${{ inputs." + i + " }}" for i in inputs}}
        made = {"name": name, "description": "stub", "inputs": {i: {"description": i} for i in inputs}}
        (at / "action.yml").write_text(json.dumps(made | {"runs": {"using": "composite", "steps": [step]}}))

    action("actions/checkout", ["persist-credentials"], 'cp -R "$SAMPLES/$SAMPLE/." .')
    action("actions/cache", ["path", "key", "restore-keys"], 'mkdir -p "$IN_PATH"; printf "%s\\n" "$IN_KEY" >"$TOLD/key"')
    action("github/codeql-action/upload-sarif", ["sarif_file", "category"], 'cp "$IN_SARIF_FILE" "$TOLD/uploaded.json"')
    programs = work / "stubs/bin"
    programs.mkdir(parents=True)
    for name in ("docker", "gh", "sudo"):
        answer = 'case "$*" in "pr list"*) echo 0 ;; esac' if name == "gh" else ""
        program = programs / name
        # The words that follow a line break in an argument belong to it. One write: jobs run at the same time.
        program.write_text(f'#!/bin/sh\nline=$(printf \'%s\' "{name} $*" | tr \'\\n\' \' \')\necho "$line" >>"$TOLD/programs"\n{answer}\n')
        program.chmod(0o755)
    # act reads what a command says from a terminal, and forgets to read the rest of it when the command has failed
    # (HostEnvironment.exec returns before its copying has ended). So a script of a step that failed says a last word, and only
    # ends when that stands in act's log.
    real = shutil.which("bash")
    bash = programs / "bash"
    bash.write_text(
        f"""#!{real}
case $1 in
  -e | --noprofile) ;;
  *) exec {real} "$@" ;;
esac
{real} "$@" && exit
code=$? word="the end of $$-$RANDOM-$RANDOM"
printf '\\n%s\\n' "$word"
for ((i = 0; i < 300; i++)); do
  if grep -qF "$word" "$TOLD/log"; then break; fi
  sleep 0.1
done
exit $code
"""
    )
    bash.chmod(0o755)


NOBODY = ("-c", "user.name=ci", "-c", "user.email=ci@example.org")
UNSATISFIABLE = """\
torch: "2.6.0"
python: "3.12"
targets:
  new:
    gpus: [rtx5090]
    driver: "580"
"""


def samples(work, gpuseal):
    """Repositories in each state that a gate must tell apart."""
    at = work / "samples"

    def sample(name):
        shutil.copytree(ROOT / "examples/mixed-fleet", at / name)
        shell(gpuseal, "lock", "--offline", "--render", "dockerfile", "--render", "install", at=at / name)
        return at / name

    # Where act is started: it asks git which commit is tried.
    (work / "empty").mkdir()
    shell("git", "init", "--quiet", at=work / "empty")
    shell("git", *NOBODY, "commit", "--quiet", "--allow-empty", "--message", "nothing", at=work / "empty")
    sample("good")
    old = sample("stale") / "gpuseal.yaml"
    old.write_text(old.read_text().replace('torch: ">=2.8"', 'torch: "<2.14"'))
    with open(sample("edited") / "Dockerfile", "a") as file:
        file.write("RUN id\n")
    (sample("unlocked") / "gpuseal.lock").unlink()
    (at / "unsatisfiable/sub").mkdir(parents=True)
    (at / "unsatisfiable/sub/gpuseal.yaml").write_text(UNSATISFIABLE)
    (at / "broken").mkdir()
    (at / "broken/gpuseal.yaml").write_text('torch: "2.9"\ntargets: [\n')
    # What a pull request may hold: words that a runner would take for commands, were they printed as they are.
    hostile = at / "hostile"
    hostile.mkdir()
    bad = "x\n::error file=a,line=1::forged\n##[error]forged\n::set-output name=verdict::ok\n::stop-commands::x"
    (hostile / "gpuseal.yaml").write_text(json.dumps({"torch": bad, "python": "3.12", "targets": {"t": {"gpus": [bad], "driver": "580"}}}))


def case(name, sample, exit_code, verdict=None, *, inputs=None, changed=None, targets=None, note=None, summary=(), files=(), rules=None, log=()):
    """`note`: an annotation that must be there (level, file, title). `rules`: ids in the SARIF file."""
    return dict(locals())


H = "$(touch pwned)`touch pwned`';touch pwned;\"${{ github.token }}\n::error::forged\n::set-output name=verdict::ok\n##[error]forged"
# Each input that takes words of the caller.
WORDS = "project config target torch python gpu driver platform os with cuda needs prefer allow index base-image image render".split()
WORDS += "upgrade matrix overlay offline summary mode".split()


def cases(archive):
    check = {"mode": "check", "torch": "2.6.0+cu124", "gpu": "rtx5090", "driver": "570.86.16"}
    all_of_it = [
        case("resolve", "good", 0, "ok", inputs={"mode": "resolve"}, changed="false", targets=["train", "edge"], summary=["train", "edge", "H100", "cu130"]),
        case("an empty mode", "good", 2, log=["lock-check"]),
        case("one target", "good", 0, "ok", inputs={"mode": "resolve", "target": "edge"}, targets=["edge"]),
        case("no summary", "good", 0, "ok", inputs={"mode": "resolve", "summary": "false"}, summary=None),
        case("unsatisfiable", "unsatisfiable", 1, "unsatisfiable", inputs={"mode": "resolve", "project": "sub"},
             note=("error", "sub/gpuseal.yaml", "arch-not-in-binary"), rules=["arch-not-in-binary"], summary=["new"]),
        case("check", "good", 1, "arch-not-in-binary", inputs=check, note=("error", None, "arch-not-in-binary"), rules=["arch-not-in-binary"]),
        case("check of what runs", "good", 0, "ok", inputs={"mode": "check", "torch": "2.9.1+cu128", "gpu": "l4, h100", "driver": "580"}),
        case("check of what nobody knows", "good", 5, "unknown", inputs={"mode": "check", "torch": "9.9.9", "gpu": "l4"}),
        case("lock-check", "good", 0, inputs={"mode": "lock-check"}, changed="false", targets=["train", "edge"]),
        case("lock-check of an old lock", "stale", 1, "lock-stale", inputs={"mode": "lock-check"}, changed="true",
             note=("error", "gpuseal.lock", "lock-stale"), rules=["lock-stale"]),
        case("render-check", "good", 0, inputs={"mode": "render-check", "render": "dockerfile\ninstall"}, changed="false"),
        case("render-check of an edited file", "edited", 1, "lock-stale", inputs={"mode": "render-check"}, changed="true",
             note=("error", "Dockerfile", "lock-stale"), rules=["lock-stale"]),
        case("lock", "unlocked", 0, inputs={"mode": "lock", "offline": "true", "render": "dockerfile, install"}, changed="true",
             targets=["train", "edge"], files=["./gpuseal.lock", "./Dockerfile", "./install.sh"]),
        case("lock again", "good", 0, inputs={"mode": "lock", "offline": "true"}, changed="false"),
        case("doctor", "good", None, inputs={"mode": "doctor"}),
        case("verify", "unlocked", 3, "unproven", inputs={"mode": "verify", "junit": "v.xml"}, files=["./v.xml"],
             note=("error", None, None)),
        case("verify, where nothing has to be proven", "unlocked", 0, "unproven", inputs={"mode": "verify", "allow-unproven": "true"},
             note=("error", None, None), summary=["NOT PROVEN"]),
        case("a mode that is none", "good", 2, inputs={"mode": "frobnicate"}, log=["frobnicate", "lock-check"]),
        case("a switch that is none", "good", 2, inputs={"mode": "lock", "offline": "maybe"}, log=["maybe"]),
        case("a file that cannot be read", "broken", 2, inputs={"mode": "resolve"}, note=("error", "gpuseal.yaml", None)),
        case("hostile file", "hostile", 2, inputs={"mode": "resolve"}),
    ]
    for word in WORDS:
        mode = {"index": "check", "base-image": "check", "image": "render-check", "render": "render-check", "upgrade": "lock"}.get(word, "resolve")
        all_of_it.append(case(f"hostile {word}", "good", None, inputs={"mode": mode, word: H}))
    return all_of_it


def left(told, name, log):
    """What a step has left in the folder of its run, or what was said instead."""
    assert (told / name).is_file(), f"there is no {name} in {told}\n{log.text()}"
    return (told / name).read_text()


def judge(of, log, told, work):
    """Complains about whatever is not as the case says."""
    name, inputs = of["name"], of["inputs"] or {}
    at = told / name
    outputs = json.loads(left(at, "outputs.json", log))
    code = outputs["exit-code"]
    seen = f"{outputs}\n{log.text()}"
    # Without an exit code of their own: whether this machine is sound, and a word that is none, or unknown.
    expected = str(of["exit_code"]) if of["exit_code"] is not None else "013" if name == "doctor" else "125"
    assert code and code in expected, seen
    assert left(at, "outcome", log) == ("success" if code == "0" else "failure"), seen
    assert set(outputs) == {"lock-digest", "changed", "targets", "matrix", "report-path", "sarif-path", "verdict", "exit-code"}, seen
    assert of["verdict"] is None or outputs["verdict"] == of["verdict"], seen
    assert outputs["verdict"] or code != "0", seen
    assert of["changed"] is None or outputs["changed"] == of["changed"], seen
    if of["targets"] is not None:
        assert json.loads(outputs["targets"]) == of["targets"], seen
        rows = json.loads(outputs["matrix"])["include"]
        assert [row["target"] for row in rows] == of["targets"], seen
        for row in rows:
            assert set(row) == {"target", "platform", "python", "torch", "cuda", "gpus", "driver"}, f"{row}\n{seen}"
            assert row["platform"].startswith("linux/") and re.match(r"\d+\.\d+\.\d+(\+cu\d+)?$", row["torch"]), f"{row}\n{seen}"
    files = left(at, "files", log).splitlines()
    assert not set(of["files"]) - set(files), f"{files}\n{seen}"
    lock = work / "samples" / of["sample"] / "gpuseal.lock"
    if lock.exists():
        # Empty where it was about no lock.
        assert outputs["lock-digest"] in [f"sha256:{digest(lock)}"] + [""] * (not of["targets"]), seen
    assert not any("pwned" in file for file in files), f"{files}\n{seen}"

    annotations = log.annotations()
    if of["note"]:
        level, file, title = of["note"]
        fits = [a for a in annotations if a[0] == level and (file is None or (a[1] == file and int(a[2]) >= 1)) and title in (None, a[3])]
        assert fits, seen
    elif code == "0":
        assert not [a for a in annotations if a[0] == "error"], seen
    else:
        assert any(a[0] == "error" for a in annotations), f"nothing is annotated: {seen}"
    # What was forged is neither a line of its own nor a command.
    assert not [a for a in annotations if a[4].startswith("forged")], seen
    assert not {"stop-commands", "set-env"} & log.commands(), seen
    # GitHub finds commands of the old kind anywhere in a line.
    assert not [line for line in log.lines if line.get("raw_output") and "##[" in line["msg"]], seen

    if of["summary"] is None:
        assert not log.summary(), seen
    elif code in "015" and name != "hostile summary":
        summary = log.summary()
        assert summary and all(word in summary for word in of["summary"]), f"{summary}\n{seen}"
    for text in of["log"]:
        assert text in log.text() + "".join(a[4] for a in annotations), seen

    if (at / "report.json").exists():
        report = json.loads((at / "report.json").read_text())
        assert report["schema"]["name"].startswith("gpuseal."), f"{report}\n{seen}"
    else:
        assert code == "2", f"no report: {seen}"
    if (at / "sarif.json").exists():
        sarif = json.loads((at / "sarif.json").read_text())
        assert sarif["version"] == "2.1.0", f"{sarif}\n{seen}"
        results = sarif["runs"][0]["results"]
        assert not set(of["rules"] or []) - {result["ruleId"] for result in results}, f"{results}\n{seen}"
        if of["note"] and of["note"][1]:
            places = [r["locations"][0]["physicalLocation"] for r in results if r.get("locations")]
            assert of["note"][1] in [p["artifactLocation"]["uri"] for p in places], f"{places}\n{seen}"
    else:
        assert code == "2", f"no SARIF: {seen}"
    assert left(at, "version", log).startswith("gpuseal "), seen


def modes(act, work, archive):
    """Every mode on every sample, and every word of a caller that is no word of ours."""
    wanted = cases(archive)
    rows = [{"name": c["name"], "sample": c["sample"], "archive": str(archive)} | (c["inputs"] or {}) for c in wanted]
    code, log, told = act.run(ROOT / ".ci/action.yml", {}, limit=400, CASES=json.dumps({"include": rows}))
    assert code == 0, log.text()
    wrong = []
    for of in wanted:
        try:
            judge(of, log.of(of["name"]), told, work)
        except AssertionError as err:
            wrong.append(f"== {of['name']}: line {err.__traceback__.tb_next.tb_lineno}\n{err}")
    assert not wrong, "\n".join(wrong)
    pwned = list(work.rglob("pwned"))
    assert not pwned, f"a word of the caller was run: {pwned}\n{log.text()}"
    print(f"{len(wanted)} cases of modes and hostile words")


def installing(act, work, archive, wheel):
    """Each way to come by the program, and each that must fail before anything is unpacked."""
    right, other = digest(archive), "0" * 64
    version = archive.name.split("-")[1]
    tools = "tools-install"
    bad = work / "bad.tar.gz"
    bad.write_bytes(b"no archive at all")
    hollow = work / "hollow.tar.gz"
    shell("tar", "-C", str(ROOT), "-czf", str(hollow), "LICENSE-MIT")
    url = f"https://github.com/gpuseal/gpuseal/releases/download/v{version}/{archive.name}"
    # name, inputs, what the log says where it fails
    tried = [
        ("wrong digest", {"archive": str(archive), "checksum": other}, [right, other, "nothing was unpacked"]),
        ("wrong digest of an address", {"archive": url, "checksum": other}, [right, other, "nothing was unpacked"]),
        ("address without a digest", {"archive": url}, ["checksum"]),
        ("address without TLS", {"archive": "http://github.com/x.tar.gz", "checksum": right}, ["only https"]),
        ("address that is not there", {"archive": url + ".tar.gz", "checksum": right}, ["cannot be fetched"]),
        ("digest that is none", {"archive": str(archive), "checksum": "abc"}, ["`checksum: abc` is no SHA-256"]),
        ("file that is not there", {"archive": "nowhere.whl"}, ["there is no file `nowhere.whl`"]),
        ("file of another kind", {"archive": "gpuseal.zip"}, ["neither a .tar.gz nor a .whl"]),
        ("no archive inside", {"archive": str(bad)}, ["cannot be unpacked"]),
        ("no program inside", {"archive": str(hollow)}, ["does not hold exactly one program"]),
        ("unknown version", {"version": "9.9.9"}, ["no archive of gpuseal 9.9.9", "leave out `version`"]),
        ("digest of somebody else", {"version": version, "checksum": other}, [right, other, "checksums.txt"]),
        ("another version than asked for", {"archive": str(wheel), "version": "9.9.9"}, ["`version` asks for 9.9.9"]),
        ("source and archive", {"version": "source", "archive": str(archive)}, ["leave out either"]),
        ("hostile version", {"version": H}, ["is no version"]),
        ("hostile archive", {"archive": H}, ["neither a .tar.gz nor a .whl"]),
        ("hostile checksum", {"checksum": H}, ["is no SHA-256"]),
        ("archive", {"archive": str(archive), "checksum": f"sha256:{right.upper()}"}, None),
        ("wheel", {"archive": str(wheel)}, None),
        ("wheel by its digest", {"archive": str(wheel), "checksum": digest(wheel), "version": version}, None),
    ]
    rows = [{"name": name, "sample": "good", "mode": "lock-check"} | inputs for name, inputs, _ in tried]
    code, log, told = act.run(ROOT / ".ci/action.yml", {}, tools=tools, limit=200, CASES=json.dumps({"include": rows}))
    assert code == 0, log.text()
    for name, _, says in tried:
        here = log.of(name)
        outcome, outputs, found = (left(told / name, file, here) for file in ("outcome", "outputs.json", "version"))
        seen = f"== {name}: {outcome}\n{outputs}\n{here.text()}"
        code = json.loads(outputs)["exit-code"]
        if says is None:
            assert outcome == "success" and code == "0", seen
            assert found == f"gpuseal {version}\n", f"{found}\n{seen}"
            continue
        assert outcome == "failure" and not code, seen
        errors = [a for a in here.annotations() if a[0] == "error"]
        assert len(errors) == 1 and errors[0][3] == "gpuseal is not installed", f"{errors}\n{seen}"
        assert all(word in errors[0][4] for word in says), f"{says} {errors}\n{seen}"
        assert not found, f"{found} is on the PATH all the same\n{seen}"
    cache = work / tools / "tool_cache/gpuseal"
    kept = sorted(at.name for at in cache.iterdir())
    assert kept == sorted([right, digest(wheel)]), f"{kept}\n{log.text()}"
    pwned = list(work.rglob("pwned"))
    assert not pwned, f"a word of the caller was run: {pwned}\n{log.text()}"

    # The release of the version that the action is: fetched once, found again by the next job.
    requests = work / "requests"
    fetched = lambda: requests.read_text().count(f"assets.example.org /{archive.name}")
    for name, inputs in (("release", {}), ("once more", {}), ("by its name", {"version": f"v{version}"})):
        before = fetched()
        rows = [{"name": name, "sample": "good", "mode": "lock-check"} | inputs]
        code, log, told = act.run(ROOT / ".ci/action.yml", {}, tools="tools-release", CASES=json.dumps({"include": rows}))
        seen = f"== {name}: exit {code}\n{log.text()}"
        assert left(told / name, "version", log) == f"gpuseal {version}\n", seen
        assert fetched() - before == (name == "release"), f"{requests.read_text()}\n{seen}"
    print(f"{len(tried) + 3} ways of installing")


def built(work, source):
    """Without a known release it is built from the action's own source. Only the mechanics: the build is not optimized."""
    act = Act(work, source)
    # A toolchain and settings in the caller's repository are not ours to use.
    sample = work / "samples/settings"
    shutil.copytree(work / "samples/good", sample)
    (sample / "rust-toolchain.toml").write_text('[toolchain]\nchannel = "1.0.0"\n')
    (sample / ".cargo").mkdir()
    (sample / ".cargo/config.toml").write_text('[build]\nrustc = "/nowhere/rustc"\n')
    quick = {"LTO": "off", "OPT_LEVEL": "0", "CODEGEN_UNITS": "16", "STRIP": "symbols"}
    names = {f"CARGO_PROFILE_RELEASE_{name}": value for name, value in quick.items()} | {"CARGO_TARGET_DIR": str(work / "target")}
    rows = [{"name": "source", "sample": "settings", "mode": "lock-check"}]
    code, log, told = act.run(ROOT / ".ci/action.yml", names, tools="tools-source", limit=900, CASES=json.dumps({"include": rows}))
    shutil.rmtree(work / "target", ignore_errors=True)
    assert code == 0 and left(told, "source/outcome", log) == "success", log.text()
    assert "no archive of gpuseal" in log.text() and "built from the action's own source" in log.text(), log.text()

    # Without cargo: said, not tried.
    bare = work / "bare"
    bare.mkdir()
    for tool in ("bash", "sh", "env", "git", "cp", "mv", "rm", "mkdir", "mktemp", "cut", "head", "sed", "awk", "tr", "find", "sort", "cat", "sha256sum", "dirname", "chmod", "grep", "sleep"):
        (bare / tool).symlink_to(shutil.which(tool, path=act.environment["PATH"]))
    code, log, told = act.run(ROOT / ".ci/action.yml", {"PATH": str(bare)}, tools="tools-bare", CASES=json.dumps({"include": rows}))
    assert "there is no cargo to build it with" in log.text(), log.text()
    print("built from source, and not without cargo")


def examples(act, work):
    """The workflows that people copy, as they stand."""
    sample = lambda name: {"SAMPLE": name}
    # Their programs are stubs: nothing of them may reach this machine.
    for name in ("docker", "gh", "sudo"):
        found = shutil.which(name, path=act.environment["PATH"])
        assert found == str(work / "stubs/bin" / name), found

    def programs(told):
        at = told / "programs"
        return at.read_text().splitlines() if at.exists() else []

    code, log, told = act.run(EXAMPLES / "cpu-gate.yml", sample("good"), "pull_request")
    assert code == 0, log.text()
    assert json.loads(left(told, "uploaded.json", log))["version"] == "2.1.0", log.text()
    code, log, told = act.run(EXAMPLES / "cpu-gate.yml", sample("stale"), "pull_request")
    assert code == 1, log.text()
    assert ("error", "gpuseal.lock", "lock-stale") in [(a[0], a[1], a[3]) for a in log.annotations()], log.text()
    assert json.loads(left(told, "uploaded.json", log))["runs"][0]["results"], f"no findings are uploaded when it fails\n{log.text()}"
    code, log, _ = act.run(EXAMPLES / "cpu-gate.yml", sample("edited"), "pull_request")
    assert code == 1 and [a for a in log.annotations() if a[1] == "Dockerfile"], log.text()

    code, log, told = act.run(EXAMPLES / "matrix.yml", sample("good"), "pull_request")
    assert code == 0, log.text()
    ran = sorted(line for line in programs(told) if line.startswith("docker build"))
    assert ran == [f"docker build --platform linux/amd64 --target {t} --tag app:{t} ." for t in ("edge", "train")], f"{ran}\n{log.text()}"

    code, log, told = act.run(EXAMPLES / "verify-on-gpu.yml", sample("good"))
    ran = programs(told)
    assert any(line.startswith("docker push ghcr.io/") for line in ran), log.text()
    # On a machine without a GPU and without a container engine that works nothing is proven, and that is no success.
    assert code == 1, log.text()
    assert any(line.startswith("docker pull ghcr.io/") for line in ran), ran
    assert [a for a in log.annotations() if a[0] == "error"], log.text()

    # A repository with a remote, and a lock that a newer torch may replace.
    at = work / "samples/weekly"
    shutil.copytree(work / "samples/good", at)
    lock = at / "gpuseal.lock"
    git = lambda *words: shell("git", *NOBODY, *words, at=at)
    git("init", "--quiet", "--initial-branch", "main")
    git("add", "--all")
    git("commit", "--quiet", "--message", "first")
    remote = work / "remote.git"
    shell("git", "init", "--quiet", "--bare", str(remote))
    git("remote", "add", "origin", str(remote))
    offline = {"SAMPLE": "weekly", "GPUSEAL_OFFLINE": "true"}
    code, log, told = act.run(EXAMPLES / "weekly-lock.yml", offline, "schedule")
    assert code == 0, log.text()
    assert left(told, "key", log) == f"gpuseal-{hashed(lock)}\n", f"the cache is not kept for this lock\n{log.text()}"
    assert not programs(told), f"nothing changed, and yet something is proposed: {programs(told)}\n{log.text()}"
    lock.unlink()
    git("commit", "--quiet", "--all", "--message", "second")
    code, log, told = act.run(EXAMPLES / "weekly-lock.yml", offline, "schedule")
    assert code == 0, log.text()
    ran = programs(told)
    fits = ran and ran[0] == "gh auth setup-git" and ran[-1].startswith("gh pr create --head gpuseal/weekly-lock")
    assert fits, f"{ran}\n{log.text()}"
    pushed = subprocess.run(["git", "ls-tree", "--name-only", "gpuseal/weekly-lock"], cwd=remote, check=True, capture_output=True, text=True)
    assert "gpuseal.lock" in pushed.stdout.split(), f"{pushed.stdout}\n{log.text()}"
    print("4 workflows that people copy")


def hashed(file):
    """hashFiles() of one file: the digest of its digest."""
    return hashlib.sha256(hashlib.sha256(file.read_bytes()).digest()).hexdigest()


def tagged(work, source, files):
    """What the release workflow makes of a tag: one commit more, under the name that users write."""
    shell("git", "init", "--quiet", "--initial-branch", "main", at=source)
    shell("git", "add", "--all", "--force", at=source)
    shell("git", *NOBODY, "commit", "--quiet", "--message", "the release", at=source)
    shell("git", "tag", "v0.1.0", at=source)
    remote = work / "release.git"
    shell("git", "init", "--quiet", "--bare", str(remote))
    shell("git", "remote", "add", "origin", str(remote), at=source)
    (work / "SHA256SUMS").write_text("".join(f"{digest(file)}  {file.name}\n" for file in files))
    steps = yaml.safe_load((ROOT / ".github/workflows/release.yml").read_text())["jobs"]["checksums"]["steps"]
    [script] = [step["run"] for step in steps if step.get("name") == "Tag the action"]
    names = {"BRANCH": "checksums-v0.1.0", "GITHUB_REF_NAME": "v0.1.0", "SUMS": str(work / "SHA256SUMS"), "TOLD": str(work)}
    path = f"{work / 'stubs/bin'}:{os.environ['PATH']}"
    shell("env", *(f"{k}={v}" for k, v in names.items()), f"PATH={path}", f"HOME={work / 'home'}", "bash", "-eo", "pipefail", "-c", script, at=source)
    log = (work / "programs").read_text()
    assert "gh pr create --head checksums-v0.1.0 --title action: the checksums of v0.1.0" in log, log
    shell("git", "clone", "--quiet", "--branch", "v0", str(remote), str(work / "action"))
    changed = subprocess.run(["git", "diff", "--stat", "v0.1.0..v0"], cwd=source, check=True, capture_output=True, text=True).stdout
    assert ".github/action/checksums.txt | 1 +" in changed and "1 file changed" in changed, changed
    return work / "action"


def main(work, gpuseal, archive, wheel):
    stubs(work)
    (work / "home").mkdir()
    samples(work, gpuseal)
    # The action as its repository would be downloaded, and what becomes of it by a release.
    source, released = work / "source", work / "released"
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True).stdout.decode().split("\0")
    for name in filter(None, listed):
        if (ROOT / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, source / name)
    action = tagged(work, shutil.copytree(source, work / "tagged"), [archive, wheel])
    # act copies it for every job: what an installed program needs of it is a few files.
    for name in ("action.yml", "Cargo.toml", ".github/action/install", ".github/action/checksums.txt"):
        (released / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(action / name, released / name)
    act = Act(work, released)
    installing(act, work, archive, wheel)
    modes(act, work, archive)
    examples(act, work)
    built(work, source)


if __name__ == "__main__":
    what, work, *rest = sys.argv[1:]
    if what == "serve":
        serve(pathlib.Path(work))
    else:
        main(pathlib.Path(work), *map(pathlib.Path, rest))
