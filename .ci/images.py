"""What .ci/images asks of locks, wheels and images, without a word of gpuseal's own code.

Usage: images.py get LOCK KEY... | wheels INDEX LOCK | serve INDEX FOLDER PORT_FILE | bar IMAGE BASE WHEELS NAIVE | page FIGURES | archs TEXT ARCH...
"""

import hashlib
import html
import http.server
import io
import os
import pathlib
import re
import sys
import tomllib
import urllib.error
import zipfile

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from locks import Lock, Remote, many, page

# What the default image may be larger than wheels and base: bytecode, the user, the environment itself.
BAR = 1.03
MB = 1_000_000
PAGE = """# The size of an image

What `gpuseal render dockerfile` makes, next to the image that most people write by hand, of the same torch and in the
same run. Repeat with `.ci/images GPUSEAL WORK docs/measurements/image-size.md`, as root; it needs 30 GB of disk.

* {of[date]}, gpuseal {of[gpuseal]}, torch {of[torch]}, torchvision {of[torchvision]}, CUDA {of[cuda]}, Python 3.13, linux/amd64
* built by BuildKit of Docker {of[docker]}, with uv {of[uv]}

| | MB | |
| --- | --- | --- |
| base image | {mb[base]:.0f} | |
| {of[files]} wheels, unpacked | {mb[wheels]:.0f} | sum of the directories of the files, read from the index |
| **default image** | **{mb[image]:.0f}** | {ratio:.3f} of wheels and base; bar 1.03 |
| naive image | {mb[naive]:.0f} | the default is {share:.3f} of it; bar 1 |
| of which the CUDA toolkit | {mb[toolkit]:.0f} | a second copy of what the wheels bring |

Bytes of the files in an image, counted inside it (MB are 10^6 bytes); what the default has above wheels and base is
Python's bytecode. As a registry holds them, compressed with zstd, by `docker image inspect`: {mb[image_packed]:.0f} MB and
{mb[naive_packed]:.0f} MB, {packed_share:.3f} of the naive one.

## What stands in for what

Neither the official Python image nor NVIDIA's can be fetched where this is measured.

* The base is Debian 13 with Debian's Python, made by mmdebstrap. The default image stands on it under the name and digest
  of `python:3.13-slim-trixie`.
* The naive image stands for `{of[builder]}` with Python, pip and `pip install --no-cache-dir torch torchvision`.
  Its base is Debian 13 with g++ and all of PyPI's `cuda-toolkit` of the same release below /usr/local/cuda. It has no static
  libraries, no cuDNN or NCCL of the system, and no Nsight tools; NVIDIA's own devel image was not measured, so how much
  larger or smaller it is remains unknown here.
"""


def get(lock, *keys):
    """Values of the one target, `base.tag` for one of a table of it, `packages.numpy` for a version."""
    for key in keys:
        (value,) = tomllib.loads(pathlib.Path(lock).read_text())["target"]
        value["packages"] = {each["name"]: each.get("version") for each in value["package"]}
        for part in key.split("."):
            value = value[part]
        print(value)
    return []


def unpacked(url):
    """Bytes of the files of a wheel, from the directory at its end: some hundred kB of a file of one GB."""
    with zipfile.ZipFile(io.BufferedReader(Remote(url), 1 << 18)) as wheel:
        return sum(member.file_size for member in wheel.infolist())


def wheels(index, path):
    """Unpacked bytes of every wheel of a lock; the page's digest must be the lock's."""
    lock, wrong = Lock(path), []

    def one(name):
        (package,) = (p for p in lock.packages if p["name"] == name)
        url, digest, _ = page(index, name)[package["file"]]
        if package["hash"] != f"sha256:{digest}":
            wrong.append(f"{name}: the index says {digest}")
        return unpacked(url)

    print(sum(many(one, [p["name"] for p in lock.packages]).values()))
    return wrong


class Front(http.server.BaseHTTPRequestHandler):
    """Own files by their digest in front of an index: every other page is the index's, with whole addresses."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        parts = [part for part in self.path.split("/") if part]
        own = self.server.folder / "/".join(parts[1:])
        if len(parts) == 3 and parts[0] == "files" and own.is_file() and ".." not in parts:
            return self.say(200, own.read_bytes(), "application/octet-stream")
        if len(parts) != 2 or parts[0] != "simple" or not re.fullmatch(r"[a-z0-9-]+", parts[1]):
            return self.say(404, b"not here\n", "text/plain")
        if own.is_dir():
            links = [
                (f"/files/{parts[1]}/{file.name}", file.name, hashlib.sha256(file.read_bytes()).hexdigest())
                for file in sorted(own.iterdir())
            ]
        else:
            try:
                links = [(url, name, digest) for name, (url, digest, _) in page(self.server.index, parts[1]).items()]
            except urllib.error.HTTPError as error:
                return self.say(error.code, b"the index says no\n", "text/plain")
        rows = (
            f'<a href="{html.escape(url)}{"#sha256=" + digest if digest else ""}">{html.escape(name)}</a>\n'
            for url, name, digest in links
        )
        return self.say(200, ("<!DOCTYPE html><html><body>\n" + "".join(rows) + "</body></html>\n").encode(), "text/html")

    def say(self, code, body, kind):
        self.send_response(code)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def serve(index, folder, port_file):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Front)
    server.index, server.folder = index, pathlib.Path(folder)
    pathlib.Path(port_file + ".new").write_text(str(server.server_address[1]))
    os.rename(port_file + ".new", port_file)
    server.serve_forever()


def bar(image, base, unpacked_wheels, naive):
    """The two bars of an image's size."""
    image, base, unpacked_wheels, naive = map(int, (image, base, unpacked_wheels, naive))
    print(f"image {image / MB:.0f} MB; wheels unpacked {unpacked_wheels / MB:.0f} MB + base {base / MB:.0f} MB, "
          f"times {image / (unpacked_wheels + base):.4f}; naive image {naive / MB:.0f} MB, share {image / naive:.3f}")
    wrong = []
    if image > (unpacked_wheels + base) * BAR:
        wrong.append("the image is larger than its wheels and its base by more than 3 %")
    if image >= naive:
        wrong.append("the image is no smaller than the naive one")
    return wrong


def page_of(path):
    """docs/measurements/image-size.md, of the figures that were measured."""
    of = dict(line.split(" ", 1) for line in pathlib.Path(path).read_text().splitlines())
    mb = {name: int(of[name]) / MB for name in ("image", "image_packed", "base", "wheels", "naive", "naive_packed", "toolkit")}
    print(PAGE.format(of=of, mb=mb, ratio=mb["image"] / (mb["wheels"] + mb["base"]), share=mb["image"] / mb["naive"],
                      packed_share=mb["image_packed"] / mb["naive_packed"]), end="")
    return []


def archs(listing, *wanted):
    """The machine codes that cuobjdump lists are the wanted ones, all of them and no other."""
    text = pathlib.Path(listing).read_text()
    found = sorted(set(re.findall(r"\bsm_(\d+[af]?)\.cubin$", text, re.MULTILINE)))
    ptx = re.findall(r"\S+\.ptx$", text, re.MULTILINE)
    print("code for", *(f"sm_{arch}" for arch in found), *ptx)
    return [] if found == sorted(wanted) and not ptx else [f"asked for {wanted}, found {found} {ptx}"]



if __name__ == "__main__":
    what, *given = sys.argv[1:]
    found = {"get": get, "wheels": wheels, "page": page_of, "serve": serve, "bar": bar, "archs": archs}[what](*given)
    for line in found:
        print(f"wrong: {line}", file=sys.stderr)
    sys.exit(1 if found else 0)
