"""Run by the Python of a built image, as its own user and without a network: is it what the lock says?

Usage: python - CUDA [MODULE...] <inside.py. Prints what it found; exit 1 names everything that is wrong.
"""

import importlib
import importlib.util
import os
import pathlib
import re
import struct
import sys

cuda, *modules = sys.argv[1:]
wrong = []


def held(what, so):
    if not so:
        wrong.append(what)


import torch

held(f"torch.version.cuda is {torch.version.cuda}, not {cuda}", torch.version.cuda == cuda)
for name in modules:
    importlib.import_module(name)
held(f"the user is {os.getuid()}:{os.getgid()}", (os.getuid(), os.getgid()) == (10001, 10001))
held("the home is not writable", os.access(os.path.expanduser("~"), os.W_OK))
held("pip is in the environment", importlib.util.find_spec("pip") is None)
for name, value in (("VISIBLE_DEVICES", "all"), ("DRIVER_CAPABILITIES", "compute,utility")):
    held(f"NVIDIA_{name} is not {value}", os.environ.get("NVIDIA_" + name) == value)
held("NVIDIA_REQUIRE_CUDA is missing", os.environ.get("NVIDIA_REQUIRE_CUDA", "").startswith("cuda>="))

libraries, count = {}, 0
for folder, folders, files in os.walk("/"):
    if folder == "/":
        folders[:] = [each for each in folders if each not in ("proc", "sys", "dev")]
    count += len(files)
    for file in files:
        # A driver's libraries come from the host: a copy in the image would hide them.
        held(f"{folder}/{file} belongs to a driver", not re.match(r"(libcuda|libnvidia-ml|libnvidia-ptxjitcompiler)\.so", file))
        held(f"{folder}/{file} compiles", file not in ("cc", "gcc", "g++", "clang", "nvcc", "cicc", "uv"))
        library = re.match(r"lib(cudart|cublas|cublasLt|cudnn|nccl|cufft|cusparse|cusolver|nvrtc)\.so", file)
        if library and not os.path.islink(f"{folder}/{file}"):
            libraries.setdefault(library[1], []).append(f"{folder}/{file}")
    held(f"{folder}: compatibility libraries", not re.search(r"/usr/local/cuda[^/]*/compat$", folder))
for name, places in libraries.items():
    held(f"{len(places)} copies of lib{name}: {places}", len(places) == 1)
held(f"not all of CUDA is there: {sorted(libraries)}", {"cudart", "cublas", "cudnn", "nccl"} <= libraries.keys())

# Bytecode that Python would not take is made again at every start, since this user may not write it.
stale = bytecode = weight = 0
for folder, _, files in os.walk("/opt/venv"):
    for file in files:
        if not file.endswith(".pyc"):
            continue
        at = pathlib.Path(folder, file)
        with at.open("rb") as opened:
            flags, time = struct.unpack("<4xII", opened.read(12))
        source = at.parent.parent / re.sub(r"\.cpython-\d+\.pyc$", ".py", file)
        bytecode += 1
        weight += at.stat().st_size
        stale += not flags & 1 and source.exists() and int(source.stat().st_mtime) != time
held(f"{stale} of {bytecode} files of bytecode are stale", stale == 0)
held("there is no bytecode", bytecode > 1000)

print(f"torch {torch.__version__}, CUDA {cuda}, {' '.join(modules)}; uid {os.getuid()}; {count} files, {bytecode} of bytecode, {weight / 1e6:.0f} MB")
for line in wrong:
    print(f"wrong: {line}", file=sys.stderr)
sys.exit(1 if wrong else 0)
