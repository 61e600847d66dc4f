"""Compares gpuseal's reading of requirement files with pip's own, line by line.

Thousands of requirement lines are made from a seed. pip's parser and `packaging` say what each one
means, or that it is refused; gpuseal must say the same, with the same line. What it does not print,
whether a marker holds and whether a version satisfies a specifier, goes into FOLDER/facts.tsv with
packaging's verdict, for tests/oracle.rs to compare.

pip and packaging are whatever this Python has installed. Nothing is fetched, nothing is installed.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import logging
import os
import random
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import packaging
import pip
from packaging.markers import InvalidMarker, Marker, UndefinedComparison, UndefinedEnvironmentName
from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version
from pip._internal.models.link import Link
from pip._internal.req.constructors import install_req_from_parsed_requirement
from pip._internal.req.req_file import RequirementsFileParser, get_line_parser, handle_line

# Where the two are meant to differ: what it is, why, and when: the line, and what was said of it.
DELIBERATE: list[tuple[str, str, Callable[[str, str], bool]]] = [
    (
        "variables",
        "the environment of whoever reads is not the one of the build: they are reported as unread",
        lambda line, _: "${" in line,
    ),
    (
        "===",
        "its right side must be a version here, since versions are compared; pip takes any text",
        lambda line, _: "===" in line,
    ),
    (
        "paths",
        "what is not there may come with the build: it is reported as unread, and pip refuses it",
        lambda line, why: why.startswith(TAKEN)
        and ("/" in line.split(";")[0] or line.lstrip().startswith("."))
        and "://" not in line
        and ".whl" not in line
        or "not a valid editable" in why
        or re.match(r"\s*[\[~].*/", line) is not None,
    ),
    (
        "archives",
        "pip takes all that ends like one for a file that is not there yet, a `[` or a space in it too",
        lambda line, why: not why.startswith(TAKEN)
        and re.search(r"\.(?:whl|zip|tar\.gz)", line) is not None
        and re.match(r"\s*[\w.-]+\s*(?:\[[^]]*\]\s*)?@\s*https?://[^\x0c\u2028]*$", line) is None
        and re.match(r"\s*(?:https?://|[./]*(?:wheels/)?)[\w./%+-]+\.whl\s*(?:;|$)", line) is None,
    ),
    (
        "brackets behind an address",
        "`name@path[gpu]`: pip takes extras from there, though an address may hold brackets",
        lambda line, _: re.search(r"@.*\]\s*$", line) is not None,
    ),
    (
        "egg fragments",
        "pip before 25 took `#egg=x[gpu]`, and the name in it can be read",
        lambda _, why: "EggFragment" in why,
    ),
    (
        "addresses",
        "whether a scheme or a host is well formed is for those who fetch from it",
        lambda line, why: "IPv6" in why
        or "netloc" in why
        or re.search(r"(?<![\w.+-])(?:(?:git|hg|svn|bzr)\+)?(?:https?|ssh|file)://", line) is None
        and re.search(r"[+:]/?/", line) is not None,
    ),
    (
        "`;` in addresses",
        "it begins the marker, as in every other line of pip; only `-e NAME @ ADDRESS` has it inside",
        lambda line, why: "-e" in line and re.search(r"://[^ ]*;", line) is not None,
    ),
    (
        "tags of wheels",
        "a file that fits nowhere is found where its platform is judged",
        lambda _, why: "invalid tag component" in why or "build number" in why,
    ),
    (
        "escapes in paths",
        "`%2B` and `#` mean something in addresses alone, but people copy file names out of them",
        lambda line, why: "Invalid wheel filename" in why and re.search("%2B|#", line) is not None,
    ),
    (
        "features",
        "their names come and go with the versions of pip",
        lambda line, _: "--use-feature" in line,
    ),
    (
        "backslashes in markers",
        "packaging undoes Python's escapes, of which the specification knows nothing",
        lambda line, _: re.search(r";.*\\", line) is not None,
    ),
]
TAKEN = "gpuseal takes what pip refuses"

# Python's minor versions and platforms that markers are judged for, as `Setting::new` sees them:
# os_name, sys_platform, platform_system, platform_machine.
MINORS = range(9, 15)
PLATFORMS = {
    "linux/amd64": ("posix", "linux", "Linux", "x86_64"),
    "linux/arm64": ("posix", "linux", "Linux", "aarch64"),
    "windows/amd64": ("nt", "win32", "Windows", "AMD64"),
    "macos/arm64": ("posix", "darwin", "Darwin", "arm64"),
}

# A variable that is set while pip reads, and that gpuseal never looks up.
VARIABLE = "GPUSEAL_ORACLE_VERSION"


# --- what is made -----------------------------------------------------------------------------------


class Maker:
    """Makes lines; the same seed makes the same ones."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)

    def one(self, *choices):
        return self.random.choice(choices)

    def chance(self, percent: int) -> bool:
        return self.random.randrange(100) < percent

    def space(self) -> str:
        return self.one("", "", "", " ", "  ", "\t")

    def name(self) -> str:
        words = ["torch", "Torch", "vision", "flash", "Attn", "x", "2", "a1", "NumPy", "zope", "q"]
        name = self.random.choice(words)
        for _ in range(self.random.choice([0, 0, 1, 1, 2, 3])):
            name += self.one("-", "_", ".", "--", "-_", "._.") + self.random.choice(words)
        return name

    def release(self, least: int = 1) -> str:
        parts = self.random.randrange(least, 5)
        return ".".join(self.one("0", "1", "2", "3", "10", "00", "2024", "01") for _ in range(parts))

    def version(self, local: bool = False, least: int = 1) -> str:
        text = self.one("", "", "", "", "", "v", "V") + self.one("", "", "", "", "1!", "0!")
        text += self.release(least)
        if self.chance(20):
            text += self.one("", ".", "-", "_") + self.one("a", "b", "rc", "alpha", "Beta", "c", "pre")
            text += self.one("", "1", "02", ".3", "-4")
        if self.chance(12):
            text += self.one(".post1", "-1", "post", ".rev2", "-r3", "_post_4", ".POST0")
        if self.chance(12):
            text += self.one(".dev0", "dev", "-dev3", "_dev_12", ".DEV1")
        if local and self.chance(35):
            text += self.one("+cu128", "+cpu", "+cu12.1", "+ubuntu-1", "+A_b", "+01", "+rocm6.2.4")
        return text

    def specifier(self) -> str:
        operator = self.one("==", "==", "!=", "<=", ">=", ">=", "<", ">", "~=", "===")
        if operator in ("==", "!=") and self.chance(30):
            version = self.one("", "1!", "v") + self.release() + ".*"
        elif operator == "~=":
            version = self.version(least=2)
        else:
            version = self.version(local=operator in ("==", "!=", "==="))
        return operator + self.space() + version

    def specifiers(self) -> str:
        count = self.random.choice([0, 1, 1, 1, 2, 2, 3])
        between = lambda: self.space() + "," + self.space()  # noqa: E731
        text = "".join(
            (between() if at else "") + self.specifier() for at in range(count)
        )
        if count and self.chance(6):
            text += ","
        if count and self.chance(12):
            text = f"({self.space()}{text}{self.space()})"
        return text

    def extras(self) -> str:
        if not self.chance(25):
            return ""
        names = [self.name() for _ in range(self.random.choice([0, 1, 1, 2, 3]))]
        inside = (self.space() + "," + self.space()).join(names)
        return f"{self.space()}[{self.space()}{inside}{self.space()}]"

    def quoted(self, text: str) -> str:
        quote = self.one("'", '"')
        return f"{quote}{text}{quote}"

    def comparison(self) -> str:
        """One comparison of a marker: any variable, any operator, either way round."""
        words = {
            "os_name": ["posix", "nt", "java"],
            "os.name": ["posix", "nt"],
            "sys_platform": ["linux", "win32", "darwin", "linux2", "lin", "cygwin"],
            "sys.platform": ["linux", "win32"],
            "platform_machine": ["x86_64", "aarch64", "arm64", "AMD64", "x86_64 aarch64"],
            "platform.machine": ["x86_64", "arm64"],
            "platform_system": ["Linux", "Windows", "Darwin", "linux", "Linux Darwin"],
            "platform_python_implementation": ["CPython", "PyPy", "Jython"],
            "platform.python_implementation": ["CPython"],
            "python_implementation": ["CPython", "PyPy"],
            "implementation_name": ["cpython", "pypy"],
            "platform_version": ["", "#1 SMP", "10"],
            "platform.version": ["", "#1"],
            "platform_release": ["", "5.15", "generic", "6.1.0-tegra", "tegra"],
            "extra": ["gpu", "GPU", "dev", "cu_128", "cu-128"],
        }
        pythons = ["3", "3.8", "3.9", "3.10", "3.11", "3.12", "3.13", "3.14", "3.15", "2.7", "4"]
        kind = self.random.randrange(100)
        if kind < 45:
            variable = self.one("python_version", "python_version", "python_full_version")
            operator = self.one("==", "!=", "<", "<=", ">", ">=", ">=", "<", "~=", "in", "not in")
            if operator in ("in", "not in"):
                values = self.random.sample(pythons, self.random.choice([1, 2, 3]))
                value = self.one(" ", " ", " ", ", ", ",", "  ").join(values)
            elif operator == "~=":
                value = self.random.choice(pythons[1:]) if self.chance(70) else "3.10.0"
                value = value if "." in value else "3.10"
            else:
                value = self.random.choice(pythons)
                value += self.one("", "", "", ".0", ".1", ".99", ".100")
                if operator in ("==", "!=") and self.chance(30):
                    value = self.one("3.*", "3.9.*", "3.10.*", "3.12.*", "3.12.0.*", "3.*")
                elif self.chance(5):
                    value = self.one("3.10a1", "3.12.0rc1", "3.11.dev0", "3.9.post1", "3.10+x")
        elif kind < 50:
            variable = "implementation_version"
            operator = self.one("==", "!=", "<", ">=")
            value = self.random.choice(pythons)
        else:
            variable = self.random.choice(list(words))
            operator = self.one("==", "==", "==", "!=", "!=", "in", "not in", "<", ">", "<=", ">=")
            if variable == "extra":
                operator = self.one("==", "==", "!=")
            elif operator in ("<", ">", "<=", ">=") and self.chance(70):
                operator = "=="
            value = self.random.choice(words[variable])
        gap = " " if operator[-1] == "n" else self.one(" ", " ", "")
        sides = [variable, self.quoted(value)]
        if self.chance(15):
            sides.reverse()
        return f"{sides[0]}{gap}{operator}{gap}{sides[1]}"

    def marker(self, depth: int = 0) -> str:
        if depth > 2 or self.chance(45):
            return self.comparison()
        word = self.one(" and ", " or ", " and  ", "\tor ")
        parts = []
        for _ in range(self.random.choice([2, 2, 3])):
            part = self.marker(depth + 1)
            if self.chance(50):
                part = f"({self.one('', ' ')}{part}{self.one('', ' ')})"
            parts.append(part)
        text = word.join(parts)
        # Words need no spaces beside a bracket or a quote.
        if self.chance(4):
            text = text.replace(") and (", ")and(").replace(") or (", ")or(")
        return text

    def wheel(self) -> str:
        name = re.sub("[-_.]+", "_", self.name())
        version = self.one("2.3.0", "2.6.0%2Bcu124", "1.0rc1", "2.1.0+cu118", "0.0.29.post3")
        tags = self.one("cp310-cp310-linux_x86_64", "py3-none-any", "cp312-abi3-win_amd64")
        return f"{name}-{version}-{self.one('', '', '', '1-')}{tags}.whl"

    def address(self) -> str:
        host = "https://files.example"
        return self.one(
            f"{host}/whl/cu121/{self.wheel()}",
            f"{host}/{self.wheel()}#sha256={'0' * 64}",
            f"{host}/a/{self.name()}-1.2.3.tar.gz",
            f"{host}/a/archive/main.zip",
            f"git+https://git.example/a/{self.name()}@v2.6.3",
            f"git+https://git.example/a/{self.name()}.git@main#subdirectory=py",
            f"git+ssh://git@git.example/a/{self.name()}.git",
            f"hg+https://hg.example/{self.name()}",
        )

    def requirement(self) -> str:
        kind = self.random.randrange(100)
        spaced = self.one("", "", " ", "  ")
        marker = ""
        if self.chance(35):
            marker = spaced + ";" + self.space() + self.marker()
        if kind < 80:
            return self.name() + self.extras() + self.space() + self.specifiers() + marker
        # An address ends at a space.
        if marker:
            marker = (" ;" if self.chance(90) else ";") + " " + marker.split(";", 1)[1].strip()
        if kind < 92:
            at = self.one(" @ ", " @ ", "@", " @", "@ ")
            return self.name() + self.extras() + at + self.address() + marker
        egg = self.one("", "#egg=" + self.name(), "#egg=x[gpu]&subdirectory=b")
        return self.one(
            f"https://files.example/whl/{self.wheel()}{marker}",
            f"git+https://git.example/a/b@main{egg}{marker}",
            f"./wheels/{self.wheel()}",
            self.wheel(),
            "./inner",
            "./inner[gpu]",
            ".",
        )

    def option(self) -> str:
        host = "https://wheels.example"
        is_, name = self.one(" ", "=", "  "), self.name()
        return self.one(
            f"--index-url{is_}{host}/simple",
            f"-i {host}/whl/cu128",
            f"-i{host}/glued",
            f"--pypi-url {host}/old",
            f"--extra-index-url{is_}{host}/whl/cu124",
            f"--extra-index-url {host}/a --extra-index-url {host}/b",
            f"--find-links{is_}{host}/whl/torch_stable.html",
            f"-f {host}/links",
            f"-f ./wheels --pre",
            f"--index {host}/short",
            f"--extra '{host}/quo ted'",
            "--no-index",
            "--pre",
            "--prefer-binary",
            "--require-hashes",
            "--no-require-hashes",
            f"--no-binary{is_}{name}",
            "--only-binary :all:",
            f"--no-binary=:none: --only-binary={name}",
            "--trusted-host wheels.example:8080",
            "--use-feature fast-deps",
            f"--all-releases {name}",
            f"--only-final={name}",
            f'--find-links "{host}/a b"',
            f"--find-links {host}/a\\ b",
        )

    def editable(self) -> str:
        flag = self.one("-e ", "-e ", "--editable ", "--editable=", "-e", "--edit ")
        target = self.one(
            "./inner",
            ".",
            "inner",
            "./inner[gpu,dev]",
            f"git+https://git.example/a/b@main#egg={self.name()}",
            f"git+https://git.example/a/b.git#egg=x&subdirectory=y",
            f'"{self.name()} @ git+https://git.example/a/b@v1"',
            f"'{self.name()} @ git+https://git.example/a/b ; os_name == \"nt\"'",
            f"hg+https://hg.example/a#egg={self.name()}",
        )
        return flag + target

    def line(self) -> str:
        """One logical line; it may be spread over several physical ones."""
        kind = self.random.randrange(100)
        if kind < 78:
            text = self.requirement()
        elif kind < 86:
            return self.option() + self.one("", "", " # tail")
        elif kind < 91:
            text = self.editable()
        elif kind < 94:
            return self.one("", "   ", "# a comment", "  # indented", "#", "\t# after a tab \\")
        elif kind < 96:
            return f"{self.name()}=={'${' + VARIABLE + '}'}"
        else:
            text = f"{self.name()}=={self.release()}"
            for _ in range(self.random.choice([1, 2])):
                text += self.one(" ", " \\\n    ", "  ") + self.one(
                    f"--hash=sha256:{'a1' * 32}",
                    f"--hash sha384:{'b2' * 48}",
                    f"--config-settings=key=value",
                    f'-C "key=a value"',
                )
        if self.chance(8):
            text += self.one(" # tail", "\t#tail", "  #", " # tail \\")
        if self.chance(5) and " " in text:
            # Joined without its spaces, or with them.
            at = text.index(" ")
            text = text[:at] + self.one(" \\\n", "\\\n ", " \\\n\t") + text[at + 1 :]
        if self.chance(5):
            text = self.one(" ", "\t", "   ") + text + self.one(" ", "\t", "")
        return text

    def broken(self, line: str) -> str:
        """The same with one to three edits."""
        signs = ";,<>=!~()[]@#'\" \t-+*._\\$/:&|^é\u00a0\u2028\x0ca1vR"
        for _ in range(self.random.choice([1, 1, 2, 3])):
            at = self.random.randrange(len(line) + 1)
            end = at + self.random.choice([0, 1, 1, 2])
            new = self.random.choice(signs) if self.chance(70) else line[at:end] * 2
            line = line[:at] + new + line[end:]
        return line


# --- what pip says ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Said:
    """A requirement, as both can tell it."""

    file: str
    line: int
    name: str
    spec: frozenset[str]
    extras: frozenset[str]
    marker: str
    url: str
    kind: str

    def words(self) -> str:
        spec, extras = ",".join(sorted(self.spec)), ",".join(sorted(self.extras))
        where = f"{self.file}:{self.line} ({self.kind})"
        return f"{where} {self.name}[{extras}] {spec} {self.url} ; {self.marker}"


def canonical(spec: SpecifierSet) -> frozenset[str]:
    """Specifiers in one spelling: pip has a `packaging` of its own, whose objects equal no others."""
    words = set()
    for one in spec:
        version, star = one.version.removesuffix(".*"), ".*" * one.version.endswith(".*")
        with contextlib.suppress(InvalidVersion):
            version = str(Version(version))
        words.add(one.operator + version + star)
    return frozenset(words)


def address(url: str) -> str:
    """Without whatever stands before the `@`, since gpuseal masks it; a path is none."""
    return re.sub(r"://[^/?#]*@", "://", url) if "://" in url and "file://" not in url else ""


class Refused(Exception):
    """What cannot be read, and on which line, where that is told."""

    def __init__(self, why: str, line: int | None = None, file: str = "requirements.txt") -> None:
        super().__init__(why)
        self.line = line
        self.file = file


@dataclass
class Reading:
    """A project folder as one of the two reads it."""

    said: set[Said] = field(default_factory=set)
    # Lines that install something whose name is known only after fetching or building it.
    nameless: set[tuple[str, int]] = field(default_factory=set)
    index: str | None = None
    extra: list[str] = field(default_factory=list)


def by_pip(folder: Path) -> Reading:
    reading = Reading()
    here = os.getcwd()
    os.chdir(folder)
    try:
        # What the option parser prints before it refuses is of no use here.
        with contextlib.redirect_stderr(io.StringIO()):
            parser = RequirementsFileParser(None, get_line_parser(None))
            for line in parser.parse("requirements.txt", False):
                pip_line(line, reading)
    except Exception as err:  # noqa: BLE001 - some refusals leave pip as whatever they came as
        at = re.search(r"\(from line (\d+) of", str(err))
        raise Refused(str(err), int(at[1]) if at else None) from err
    finally:
        os.chdir(here)
    return reading


def pip_line(line, reading: Reading) -> None:
    parsed = handle_line(line)
    file = os.path.relpath(line.filename)
    if parsed is None:
        reading.index = line.opts.index_url or reading.index
        reading.extra += (line.opts.extra_index_urls or []) + (line.opts.find_links or [])[:1]
        return
    made = install_req_from_parsed_requirement(parsed)
    # The next thing that pip does; some markers are refused only here.
    made.match_markers()
    if made.req is None:
        reading.nameless.add((file, line.lineno))
        return
    # In a file name the version is the file's.
    spec, url = made.req.specifier, made.req.url or ""
    if made.link is not None:
        spec = of_file(made.link) or spec
        url = url or made.link.url
    reading.said.add(
        Said(
            file,
            line.lineno,
            canonicalize_name(made.req.name),
            canonical(spec),
            frozenset(canonicalize_name(extra) for extra in made.extras),
            str(made.markers or ""),
            address(url),
            "constraint" if line.constraint else "requirement",
        )
    )


def of_file(link: Link) -> SpecifierSet | None:
    """The version in the name of a wheel or a source archive, whatever else it holds."""
    wheel = re.fullmatch(r"[^-]+-([^-]+)-.+\.whl", link.filename)
    archive = re.fullmatch(r".+-([^-]+)\.(?:tar\.gz|zip)", link.filename)
    try:
        return SpecifierSet(f"=={(wheel or archive)[1]}")
    except (TypeError, InvalidSpecifier):
        return None


# --- what gpuseal says ------------------------------------------------------------------------------


def by_gpuseal(gpuseal: str, folder: Path) -> Reading:
    run = subprocess.run(
        [gpuseal, "inputs", ".", "--format", "json"], cwd=folder, capture_output=True, text=True
    )
    if run.returncode == 2:
        why, at = run.stderr.splitlines()[0], re.search(r"^ *--> (.+?):(\d+)", run.stderr, re.M)
        raise Refused(why, int(at[2]), at[1]) if at else Refused(why)
    if run.returncode not in (0, 1):
        raise Refused(f"exit {run.returncode}: {run.stderr[:400]}")
    answer = json.loads(run.stdout)
    reading = Reading()
    for item in answer["requirements"]:
        origin = item["origin"]
        at = (origin["file"], origin["line"])
        if not origin["file"].endswith(".txt"):
            continue
        if item["name"] is None:
            reading.nameless.add(at)
            continue
        reading.said.add(
            Said(
                *at,
                item["name"],
                canonical(SpecifierSet(item["spec"])),
                frozenset(canonicalize_name(extra) for extra in item["extras"]),
                str(Marker(item["marker"])) if item["marker"] else "",
                address(item["url"] or ""),
                item["kind"],
            )
        )
    for finding in answer["findings"]:
        if finding["code"] == "input-unread" and finding.get("line"):
            reading.nameless.add((finding["path"], finding["line"]))
    for index in answer["indexes"]:
        if index["extra"]:
            reading.extra.append(index["url"])
        else:
            reading.index = index["url"]
    return reading


# --- comparing --------------------------------------------------------------------------------------


class Comparison:
    """Counts what agrees, and keeps what does not."""

    def __init__(self, gpuseal: str, folder: Path) -> None:
        self.gpuseal = gpuseal
        self.folder = folder
        self.counts: Counter[str] = Counter()
        self.deliberate: Counter[str] = Counter()
        self.faults: list[str] = []
        self.made = 0
        # Lines that both take.
        self.agreed: list[str] = []

    def differs(self, line: str, how: str) -> None:
        for name, _, applies in DELIBERATE:
            if applies(line, how):
                self.deliberate[name] += 1
                return
        self.faults.append(f"{how}\n    line: {line!r}")

    def project(self, files: dict[str, bytes]) -> Path:
        self.made += 1
        folder = self.folder / f"{self.made:04}"
        (folder / "inner").mkdir(parents=True)
        (folder / "inner" / "pyproject.toml").write_text('[project]\nname = "inner"\nversion = "1"\n')
        (folder / "pyproject.toml").write_text('[project]\nname = "outer"\nversion = "1"\n')
        for name, content in files.items():
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_bytes(content)
        return folder

    def taken(self, files: dict[str, list[str]], encode: Callable[[str], bytes]) -> None:
        """Files that pip reads to their end."""
        while True:
            content = {name: encode("\n".join(lines) + "\n") for name, lines in files.items()}
            folder = self.project(content)
            theirs = by_pip(folder)
            try:
                ours = by_gpuseal(self.gpuseal, folder)
                break
            except Refused as err:
                if err.line is None:
                    self.faults.append(f"{folder}: {err}")
                    return
                # Only this line is at fault: the others are compared without it.
                lines = files[err.file]
                at = index_of(lines, err.line)
                self.differs(lines.pop(at), f"gpuseal refuses what pip takes: {err}")
        self.same(files, theirs, ours)
        self.agreed += files["requirements.txt"]

    def same(self, files: dict[str, list[str]], theirs: Reading, ours: Reading) -> None:
        def shown(at: tuple[str, int]) -> str:
            return files[at[0]][index_of(files[at[0]], at[1])]

        places = {(said.file, said.line) for said in theirs.said | ours.said}
        for at in sorted(places):
            told = [
                {said for said in side.said if (said.file, said.line) == at}
                for side in (theirs, ours)
            ]
            self.counts["requirements compared"] += 1
            if told[0] != told[1]:
                words = [" | ".join(sorted(s.words() for s in side)) or "nothing" for side in told]
                self.differs(shown(at), f"pip: {words[0]}\n    us:  {words[1]}")
        for at in sorted(theirs.nameless - ours.nameless):
            # A folder that is read leaves no note.
            if not re.search(r"inner|(?:^|[\s=/]|-e)\./*(?:[\s;\\]|$)", shown(at)):
                self.differs(shown(at), f"{at[0]}:{at[1]}: gpuseal says nothing about it")
        self.counts["lines without a name"] += len(theirs.nameless)
        self.counts["lines that pip takes"] += sum(len(lines) for lines in files.values())
        self.counts["index options compared"] += len(theirs.extra) + (theirs.index is not None)
        # A file that two others include is read once here: its indexes are named once.
        for side in (theirs, ours):
            side.extra = list(dict.fromkeys(side.extra))
        for what in ("index", "extra"):
            told = [repr(getattr(side, what)) for side in (theirs, ours)]
            told = [re.sub(r"://[^/?#']*@", "://", text).replace("' ", "'") for text in told]
            if told[0] != told[1]:
                self.faults.append(f"{what} of {sorted(files)}:\n    pip {told[0]}\n    us  {told[1]}")

    def refused(self, before: list[str], line: str) -> None:
        """A line that pip refuses, below others that it takes."""
        lines = [*before, line, "", "numpy"]
        folder = self.project({"requirements.txt": "\n".join(lines).encode() + b"\n"})
        number = sum(map(rows, before)) + 1
        try:
            by_pip(folder)
            return
        except Refused as err:
            if err.line not in (None, number):
                return
            why = str(err).splitlines()[0]
        self.counts["lines that pip refuses"] += 1
        try:
            by_gpuseal(self.gpuseal, folder)
        except Refused as err:
            # Of what a form feed parts, pip does not tell which it refuses.
            if err.line in range(number, number + rows(line) if "\\" not in line else number + 1):
                return
            self.differs(line, f"refused, but not on line {number}: {err.line} {err}")
            return
        self.differs(line, f"{TAKEN}: {why}")


def rows(line: str) -> int:
    """Physical lines of a logical one, in Python's eyes."""
    return len(f"{line}\n".splitlines())


def index_of(lines: list[str], number: int) -> int:
    """Which of some logical lines a physical one belongs to."""
    for at, line in enumerate(lines):
        number -= rows(line)
        if number < 1:
            return at
    raise IndexError(number)


def sorted_by_pip(maker: Maker, count: int, folder: Path) -> tuple[list[str], list[str]]:
    """Lines that pip takes each on its own, and lines that it refuses."""
    folder = Comparison("", folder).project({})
    taken, refused = [], []
    for _ in range(count):
        line = maker.line()
        if maker.chance(40):
            line = maker.broken(line)
        # Python's `strip` takes it off addresses, at either end of whatever part.
        if "\u00a0" in line and re.search("/|^-", line):
            continue
        (folder / "requirements.txt").write_bytes(line.encode() + b"\n\n")
        try:
            by_pip(folder)
            # What goes on would take the next line with it.
            taken.append(line + "\n" if line.rstrip().endswith("\\") else line)
        except Refused:
            refused.append(line)
    return taken, refused


def batches(maker: Maker, lines: list[str]) -> Iterator[tuple[dict[str, list[str]], Callable]]:
    """Some hundred lines each, spread over files that include each other, in several encodings."""
    encodings = [
        lambda text: text.encode(),
        lambda text: text.replace("\n", "\r\n").encode(),
        lambda text: text.encode("utf-8-sig"),
        lambda text: text.encode("utf-16"),
    ]
    for number, at in enumerate(range(0, len(lines), 150)):
        part = lines[at : at + 150]
        files = {"requirements.txt": part}
        if number % 3 == 1:
            nested = [line for line in part[100:] if "-e" not in line and "--e" not in line]
            files = {
                "requirements.txt": [
                    *part[:40], "-r more/one.txt", *part[40:70], "--constraint=more/two.txt", "-rlast.txt"
                ],
                "more/one.txt": [*part[70:100], "-c two.txt", "--requirem ../last.txt"],
                "more/two.txt": nested[:25] + ["-r three.txt"],
                "more/three.txt": nested[25:],
                "last.txt": ["numpy", "", "scipy>=1 # the end"],
            }
        yield files, encodings[number % len(encodings)]


# --- what packaging says of markers and versions ----------------------------------------------------


def environments() -> Iterator[tuple[str, dict[str, str]]]:
    for platform, (os_name, sys_platform, system, machine) in PLATFORMS.items():
        for minor in MINORS:
            yield f"{platform} 3.{minor}", {
                "implementation_name": "cpython",
                "implementation_version": f"3.{minor}.99",
                "os_name": os_name,
                "platform_machine": machine,
                "platform_python_implementation": "CPython",
                "platform_release": "",
                "platform_system": system,
                "platform_version": "",
                "python_full_version": f"3.{minor}.99",
                "python_version": f"3.{minor}",
                "sys_platform": sys_platform,
            }


def verdict(text: str, extra: str) -> str:
    """`1` and `0` for each environment, or `refused`."""
    try:
        marker = Marker(text)
        return "".join(
            str(int(marker.evaluate({**environment, "extra": extra})))
            for _, environment in environments()
        )
    except (InvalidMarker, UndefinedComparison, UndefinedEnvironmentName):
        return "refused"


def facts(maker: Maker, markers: int, specifiers: int, out: Path) -> Counter[str]:
    """Tab-separated: the environments, then a marker or a specifier and its versions a row."""
    rows = ["\t".join(["environments", *(name for name, _ in environments())])]
    for _ in range(markers):
        text = maker.marker().replace("\t", " ")
        if maker.chance(15):
            text = maker.broken(text)
        if re.search(r"[\t\n\r\f\v\x1c-\x1f\x85\u2028\u2029]", text):
            continue
        extra = maker.one("", "gpu", "dev", "cu-128")
        rows.append("\t".join(["marker", text, extra, verdict(text, extra)]))
    for _ in range(specifiers):
        text = ",".join(maker.specifier().replace("\t", " ") for _ in range(maker.one(1, 1, 1, 2)))
        try:
            said = SpecifierSet(text)
        except InvalidSpecifier:
            rows.append("\t".join(["specifier", text, "", "refused"]))
            continue
        versions = list(near(maker, text))
        held = "".join(str(int(said.contains(v, prereleases=True))) for v in versions)
        rows.append("\t".join(["specifier", text, " ".join(versions), held]))
    out.write_text("\n".join(rows) + "\n", encoding="utf-8")
    return Counter(row.split("\t", 1)[0] for row in rows)


def near(maker: Maker, text: str) -> Iterator[str]:
    """Versions around those of a specifier, and some that are anywhere."""
    given = re.split(r"[<>=!~]+", text.split(",")[0])[-1].strip().removesuffix(".*")
    base = re.match(r"[vV]?(?:\d+!)?[\d.]*\d", given)[0]
    ends = ["", ".0", ".1", "a1", "rc1", ".post1", ".dev1", "+cu128", "+cpu", ".post1.dev2", "a1.dev3"]
    for version in [given, *(base + end for end in ends), *(maker.version(True) for _ in range(6))]:
        with contextlib.suppress(InvalidVersion):
            yield str(Version(version))


def main() -> int:
    cli = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    cli.add_argument("gpuseal", help="the binary")
    cli.add_argument("folder", type=Path, help="an empty or new folder to work in")
    cli.add_argument("--seed", type=int, default=508)
    cli.add_argument("--lines", type=int, default=8000)
    cli.add_argument("--refused", type=int, default=400, help="most refused lines, each in a project")
    cli.add_argument("--markers", type=int, default=6000)
    cli.add_argument("--specifiers", type=int, default=6000)
    args = cli.parse_args()
    logging.disable()
    os.environ[VARIABLE] = "2.0"
    args.folder.mkdir(parents=True, exist_ok=True)
    maker = Maker(args.seed)
    print(f"pip {pip.__version__}, packaging {packaging.__version__}, seed {args.seed}")

    comparison = Comparison(args.gpuseal, args.folder)
    taken, refused = sorted_by_pip(maker, args.lines, args.folder / "sorting")
    for files, encode in batches(maker, taken):
        comparison.taken(files, encode)
    plain = [line for line in comparison.agreed if re.match(r" *[A-Za-z]", line)]
    for line in refused[: args.refused]:
        comparison.refused(maker.random.sample(plain, 3), line)
    for what, count in sorted(comparison.counts.items()):
        print(f"{count:7} {what}")
    for name, why, _ in DELIBERATE:
        print(f"{comparison.deliberate[name]:7} differ as meant: {name}: {why}")
    for what, count in sorted(facts(maker, args.markers, args.specifiers, args.folder / "facts.tsv").items()):
        print(f"{count:7} rows of facts.tsv: {what}")
    for fault in comparison.faults[:40]:
        print(f"\n{fault}")
    if comparison.faults:
        print(f"\n{len(comparison.faults)} differences that nobody meant")
    return int(bool(comparison.faults))


if __name__ == "__main__":
    sys.exit(main())
