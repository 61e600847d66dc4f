# What both programs have that are fed to an interpreter on its standard input stands in front of each. Lines of
# theirs begin with the mark and are JSON. They write nothing: no byte code, no cache of compiled kernels.
import sys

# The folder that this was started from is no part of the environment.
sys.path[:] = [folder for folder in sys.path if folder]
import json
import os
import warnings


def tell(**facts):
    # On a line of its own, whatever a library has printed before it. A path may hold bytes that are no text: they
    # come as halves of surrogate pairs, which are no JSON.
    line = json.dumps(facts, ensure_ascii=False).encode("utf-8", "replace").decode("utf-8")
    sys.stdout.write("\n@gpuseal " + json.dumps(json.loads(line)) + "\n")
    sys.stdout.flush()


def words(error):
    return f"{type(error).__name__}: {error}"[:2000]


def mapped():
    starts = ("libcublas", "libcuda.", "libcudart", "libcudnn", "libcufft", "libcurand", "libcusolver")
    starts += ("libcusparse", "libnccl", "libnvJitLink", "libnvidia-ptxjit", "libnvrtc")
    files = []
    try:
        with open("/proc/self/maps") as maps:
            for line in maps:
                path = line.rstrip("\n")[line.find("/") :] if "/" in line else ""
                name = path.rpartition("/")[2]
                if name.startswith(starts) and ".so" in name and path not in files:
                    files.append(path)
    except OSError:
        pass
    return files
