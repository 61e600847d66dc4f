"""A registry of images and an index of packages on loopback, for .ci/apptainer.

Usage: apptainer.py BASE.tar.gz UV PORT_FILE. The images are Python's, which is BASE, and uv's, which is one
file; the package is a torch of a few hundred bytes that says what CUDA it was built with.
"""

import gzip
import hashlib
import http.server
import io
import json
import os
import pathlib
import sys
import tarfile
import zipfile

base, uv, port_file = map(pathlib.Path, sys.argv[1:])
OCI = "application/vnd.oci.image."
blobs, manifests = {}, {}


def digest(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


def image(repository, tag, layer):
    config = {
        "architecture": "amd64",
        "os": "linux",
        "config": {"Env": ["PATH=/usr/local/bin:/usr/bin:/bin"]},
        "rootfs": {"type": "layers", "diff_ids": [digest(gzip.decompress(layer))]},
    }
    config = json.dumps(config).encode()
    for blob in (config, layer):
        blobs[digest(blob)] = blob

    def part(kind, blob):
        return {"mediaType": OCI + kind, "digest": digest(blob), "size": len(blob)}

    manifest = {
        "schemaVersion": 2,
        "mediaType": OCI + "manifest.v1+json",
        "config": part("config.v1+json", config),
        "layers": [part("layer.v1.tar+gzip", layer)],
    }
    manifest = json.dumps(manifest).encode()
    for reference in (tag, digest(manifest)):
        manifests[repository, reference] = manifest


def one_file(name, path):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz", compresslevel=1) as tar:
        tar.add(path, arcname=name)
    return out.getvalue()


def of_one_user(path):
    """The layer as a user namespace with one user can unpack it, and without devices."""
    out = io.BytesIO()
    with tarfile.open(path) as old, tarfile.open(fileobj=out, mode="w:gz", compresslevel=1) as tar:
        for member in old:
            if not member.isdev():
                member.uid = member.gid = 0
                member.uname = member.gname = "root"
                tar.addfile(member, old.extractfile(member) if member.isreg() else None)
    return out.getvalue()


def wheel(version, cuda):
    info = f"torch-{version}.dist-info"
    members = {
        "torch/__init__.py": "from . import version\n__version__ = version.__version__\n",
        "torch/version.py": f"__version__ = '{version}'\ncuda = '{cuda}'\n",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: torch\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: x\nRoot-Is-Purelib: false\nTag: cp311-cp311-manylinux_2_28_x86_64\n",
    }
    members[f"{info}/RECORD"] = "".join(f"{m},,\n" for m in [*members, f"{info}/RECORD"])
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as file:
        for name, text in members.items():
            file.writestr(name, text)
    return f"torch-{version}-cp311-cp311-manylinux_2_28_x86_64.whl", out.getvalue()


image("library/python", "3.11-slim-trixie", of_one_user(base))
for tag in ("0.13.8",):
    image("astral-sh/uv", tag, one_file("uv", uv))
name, torch = wheel("2.9.1", "12.8")
page = f'<!DOCTYPE html><a href="/files/{name}#{digest(torch).replace(":", "=")}">{name}</a>'


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        parts = self.path.strip("/").split("/")
        kind, body = "application/octet-stream", None
        if self.path == "/v2/":
            body = b"{}"
        elif parts[0] == "v2" and parts[-2] == "manifests":
            kind, body = OCI + "manifest.v1+json", manifests.get(("/".join(parts[1:-2]), parts[-1]))
        elif parts[0] == "v2" and parts[-2] == "blobs":
            body = blobs.get(parts[-1])
        elif parts == ["simple", "torch"]:
            kind, body = "text/html", page.encode()
        elif parts == ["files", name]:
            body = torch
        found = body is not None
        body = body or b""
        self.send_response(200 if found else 404)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        if kind.startswith(OCI) and found:
            self.send_header("Docker-Content-Digest", digest(body))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    do_HEAD = do_GET

    def log_message(self, form, *values):
        sys.stderr.write(form % values + "\n")


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
new = port_file.with_suffix(".new")
new.write_text(str(server.server_address[1]))
os.rename(new, port_file)
server.serve_forever()
