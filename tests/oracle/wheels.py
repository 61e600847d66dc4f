"""Writes what packaging says of thousands of wheel names, for tests/oracle.rs to compare.

FOLDER/wheels.tsv holds machines, then for each name its place in the order of preference on each of
them: the position of its best tag, then its build number. The names are made from a seed, and taken
from the pages of some packages of PyPI. Of those pages, the links as Python's own parser sees them
follow. Where PyPI does not answer, they are left out.

pip and packaging are whatever this Python has installed; PyPI is where pip finds it.
"""

from __future__ import annotations

import argparse
import os
import random
import re
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urldefrag, urljoin, urlsplit

import packaging
from packaging import _manylinux, tags
from packaging.utils import InvalidWheelFilename, parse_wheel_filename
from pip._internal.models.index import PyPI
from pip._vendor import requests

PACKAGES = ["torch", "numpy", "nvidia-cublas", "pillow", "markupsafe", "triton"]
ACCEPT = "application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html;q=0.2, text/html;q=0.1"
PYTHONS = ["3.7", "3.9", "3.10", "3.11", "3.12", "3.13", "3.14", "3.13t", "3.14t"]
GLIBCS = ["2.17", "2.26", "2.28", "2.35", "2.39"]


def machines() -> Iterator[tuple[str, list[tags.Tag]]]:
    """Each machine with its tags, the best first."""
    _manylinux._have_compatible_abi = lambda *_: True
    for python in PYTHONS:
        places = [("windows/amd64", "-", ["win_amd64"]), ("windows/arm64", "-", ["win_arm64"])]
        for platform, arch in (("linux/amd64", "x86_64"), ("linux/arm64", "aarch64")):
            for glibc in GLIBCS:
                version = tuple(map(int, glibc.split(".")))
                _manylinux._get_glibc_version = lambda version=version: version
                places.append((platform, glibc, [*_manylinux.platform_tags([arch]), f"linux_{arch}"]))
        for platform, glibc, platforms in places:
            minor = int(python.removesuffix("t").split(".")[1])
            abi = f"cp3{minor}" + ("t" if python.endswith("t") else "m" if minor < 8 else "")
            yield f"{platform} {python} {glibc}", [
                *tags.cpython_tags((3, minor), [abi], platforms),
                *tags.compatible_tags((3, minor), f"cp3{minor}", platforms),
            ]


class Maker:
    """Names of wheels, mostly plausible."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)

    def some(self, choices: list[str]) -> str:
        return ".".join(self.random.choice(choices) for _ in range(self.random.choice([1, 1, 1, 2, 3])))

    def name(self) -> str:
        pick = self.random.choice
        minors = [str(n) for n in (0, 2, 7, 8, 9, 10, 11, 12, 13, 14, 15)]
        python = [f"cp3{n}" for n in minors] * 3 + [f"py3{n}" for n in minors]
        python += ["py3"] * 6 + ["py2", "cp27", "pp310", "cp309", "cp3", "py30", "PY3", "CP312", "3"]
        abi = [f"cp3{n}" for n in minors[2:]] + ["cp37m", "cp313t", "cp314t", "cp27mu", "pypy310_pp73"]
        abi += ["none"] * 8 + ["abi3"] * 5 + ["abi3t", "NONE"]
        arch = ["x86_64"] * 3 + ["aarch64", "i686", "ppc64le"]
        platform = [
            "any", "any", "win_amd64", "win_arm64", "win32", f"linux_{pick(arch)}",
            f"manylinux1_{pick(arch)}", f"manylinux2010_{pick(arch)}", f"manylinux2014_{pick(arch)}",
            f"musllinux_1_{pick('012')}_{pick(arch)}", "macosx_11_0_arm64", "manylinux_2_x86_64",
            f"manylinux_2_017_{pick(arch)}", f"manylinux_3_0_{pick(arch)}",
            *(f"manylinux_2_{self.random.randrange(2, 42)}_{pick(arch)}" for _ in range(8)),
        ]
        version = pick(["1.0", "2.6.0+cu126", "1!2.0rc1", "0.1.post2.dev3", "1.0_1", "v2", "1.0+a_b.1", "x", ""])
        build = pick(["", "", "", "", "1", "2", "10", "1a", "2_b", "007", "a1", ""])
        fields = [pick(["a", "A.b_c", "x9", "a__b", ""] + ["ab"] * 9), version, *([build] if build else [])]
        fields += [self.some(python), self.some(abi), self.some(platform)]
        if self.random.random() < 0.02:
            fields.append(pick(["cu126", "x8664v3", "", "1"]))
        if self.random.random() < 0.03:
            del fields[self.random.randrange(len(fields))]
        return "-".join(fields) + pick([".whl"] * 30 + [".zip", ".WHL", ""])

    def likely(self) -> str:
        """One that installs on some machine: for the order."""
        minor = self.random.randrange(7, 16)
        pairs = [f"cp3{minor}-cp3{minor}", f"cp3{minor}-cp3{minor}t", f"cp3{minor}-abi3", f"cp3{minor}-none"]
        pairs += [f"py3{minor}-none", "py3-none", "py2.py3-none", f"cp3{minor}.cp39-abi3", "cp37-cp37m"]
        arch = self.random.choice(["x86_64", "aarch64"])
        legacy = [f"manylinux{n}_{arch}" for n in (1, 2010, 2014)]
        platform = [f"manylinux_2_{self.random.randrange(5, 40)}_{arch}" for _ in range(5)]
        platform += [*legacy, f"linux_{arch}", "win_amd64", "any"]
        build = self.random.choice(["", "", "", "-1", "-2a", "-2b", "-10"])
        return f"a-1{build}-{self.random.choice(pairs)}-{self.some(platform)}.whl"


def places(name: str, order: list[dict[tags.Tag, int]], builds: dict[tuple, int]) -> str:
    """Its place on each machine, `-` where it does not install, or `refused`."""
    try:
        _, _, build, found = parse_wheel_filename(name)
    except InvalidWheelFilename:
        return "refused"
    out = []
    for known in order:
        best = min((known[tag] for tag in found if tag in known), default=None)
        # pip prefers the greater build number, and any to none.
        out.append("-" if best is None else str(best * 100_000 + len(builds) - builds[build]))
    return " ".join(out)


class Links(HTMLParser):
    """The files of an index page."""

    def __init__(self, url: str) -> None:
        super().__init__(convert_charrefs=True)
        self.url, self.rows = url, []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        if tag != "a" or not found.get("href"):
            return
        url, fragment = urldefrag(urljoin(self.url, found["href"]))
        digest = re.search(r"sha256=([0-9a-f]{64})", fragment)
        self.rows.append([
            unquote(urlsplit(url).path.rsplit("/", 1)[-1]),
            url,
            digest[1] if digest else "-",
            found.get("data-requires-python") or "-",
            (found["data-yanked"] or "") if "data-yanked" in found else "-",
        ])


def pages(folder: Path) -> Iterator[tuple[str, Links]]:
    """Row and links of each page that PyPI gives as HTML."""
    index = os.environ.get("PIP_INDEX_URL", PyPI.simple_url).rstrip("/")
    for package in PACKAGES:
        try:
            verify = os.environ.get("PIP_CERT", True)
            answer = requests.get(f"{index}/{package}/", headers={"Accept": ACCEPT}, timeout=30, verify=verify)
            answer.raise_for_status()
        except requests.RequestException as err:
            print(f"skipped: PyPI does not answer for {package} ({type(err).__name__})")
            return
        kind = answer.headers.get("Content-Type", "")
        if "html" not in kind:
            print(f"skipped: {package} came as {kind}")
            continue
        path = folder / f"{package}.html"
        path.write_bytes(answer.content)
        links = Links(answer.url)
        links.feed(answer.content.decode())
        yield f"page\t{path.resolve()}\t{kind}\t{answer.url}\t{len(links.rows)}", links


def plain(name: str) -> bool:
    """A name that gpuseal takes: nothing in it means anything to a shell or leaves the folder."""
    return re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._+!~-]{0,254}", name) is not None and ".." not in name


def main() -> int:
    cli = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    cli.add_argument("folder", type=Path, help="a folder to work in")
    cli.add_argument("--seed", type=int, default=508)
    cli.add_argument("--names", type=int, default=8000)
    args = cli.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    print(f"packaging {packaging.__version__}, seed {args.seed}")

    maker = Maker(args.seed)
    names = [maker.name() for _ in range(args.names)] + [maker.likely() for _ in range(args.names)]
    rows = []
    for row, links in pages(args.folder):
        rows.append(row)
        rows += ["\t".join(["link", *link]) for link in links.rows if plain(link[0])]
        names += [link[0] for link in links.rows if link[0].endswith(".whl")]

    # Names that packaging takes with fewer questions asked: `a_` ends with no letter.
    names = sorted({name for name in names if plain(name)})
    numbers = set()
    for name in names:
        try:
            numbers.add(parse_wheel_filename(name)[2])
        except InvalidWheelFilename:
            pass
    builds = {build: number for number, build in enumerate(sorted(numbers))}
    known = list(machines())
    order = [{tag: n for n, tag in reversed(list(enumerate(found)))} for _, found in known]
    head = [f"machine\t{name}" for name, _ in known]
    head += [f"wheel\t{name}\t{places(name, order, builds)}" for name in names]
    (args.folder / "wheels.tsv").write_text("\n".join(head + rows) + "\n", encoding="utf-8")
    print(f"{len(names):7} names of wheels, {len(known)} machines, {len(rows)} rows of pages")
    return 0


if __name__ == "__main__":
    sys.exit(main())
