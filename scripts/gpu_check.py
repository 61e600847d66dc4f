"""What scripts/gpu-check cannot say in a shell: plants a wrong library, and judges what came of each run."""

import datetime
import json
import os
import pathlib
import shutil
import subprocess
import sys
import sysconfig

# Of the speed of torch's own product in the same run.
SPEED = 0.97
SECONDS = 20.0
BAD = ("fail", "hang", "crash")

# dlsym of a library finds what it needs as well: all that is not changed is the real library's.
WRONG = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stddef.h>

typedef int (*matmul)(void *, void *, const void *, const void *, void *, const void *, void *, const void *, const void *, void *, void *,
                      void *, const void *, void *, size_t, void *);
typedef int (*fill)(unsigned long long, unsigned char, size_t, void *);
typedef int (*fill_now)(unsigned long long, unsigned char, size_t);

int cublasLtMatmul(void *h, void *op, const void *alpha, const void *a, void *la, const void *b, void *lb, const void *beta, const void *c,
                   void *lc, void *d, void *ld, const void *algo, void *space, size_t size, void *stream) {
  matmul real = (matmul)dlsym(RTLD_NEXT, "cublasLtMatmul");
  void *driver = dlopen("libcuda.so.1", RTLD_NOW);
  fill set = (fill)dlsym(driver, "cuMemsetD8Async");
  fill_now set_now = (fill_now)dlsym(driver, "cuMemsetD8_v2");
  int status = real(h, op, alpha, a, la, b, lb, beta, c, lc, d, ld, algo, space, size, stream);
  if (status == 0 && set) set((unsigned long long)d + 64, 0x55, 1, stream);
  else if (status == 0) set_now((unsigned long long)d + 64, 0x55, 1);
  return status;
}
"""


def documents(path):
    return json.loads(pathlib.Path(path).read_text())


def device(path):
    """0 where a device was opened."""
    try:
        return 0 if documents(path)["devices"] else 1
    except (OSError, ValueError, KeyError):
        return 1


def plant(folder):
    """An environment like this one, in which cublasLtMatmul computes wrongly."""
    import torch

    site = pathlib.Path(torch.__file__).resolve().parent.parent
    folder = pathlib.Path(folder)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    paths = {"base": str(folder), "platbase": str(folder)}
    other = pathlib.Path(sysconfig.get_path("purelib", "venv" if "venv" in sysconfig.get_scheme_names() else None, paths))
    # Hard links where the file system allows it: the loader sees files in their new place.
    for name in ("torch", "nvidia"):
        if (site / name).is_dir():
            shutil.copytree(site / name, other / name, copy_function=linked, symlinks=True)
    libraries = list(other.glob("nvidia/**/libcublasLt.so.*")) or list(other.glob("torch/lib/libcublasLt.so.*"))
    if not libraries:
        raise SystemExit("no libcublasLt among the wheels of this torch: a wrong one is not planted")
    library = libraries[0]
    real = f"libcublasLt_real.{library.name.split('.', 1)[1]}"
    library.rename(library.with_name(real))
    source = folder / "wrong.c"
    source.write_text(WRONG)
    # The name to need comes from an empty library, because the real one has the name that it is to lose.
    subprocess.run(["cc", "-shared", f"-Wl,-soname,{real}", "-o", folder / real, "-x", "c", os.devnull], check=True)
    names = [f"-Wl,-soname,{library.name}", "-Wl,-rpath,$ORIGIN", "-Wl,--no-as-needed"]
    subprocess.run(["cc", "-O1", "-shared", "-fPIC", *names, "-o", library, source, "-ldl", folder / real], check=True)


def linked(source, target, **_):
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


class Runs:
    def __init__(self, work):
        self.work = pathlib.Path(work)
        self.checks = []

    def run(self, name):
        """A run's document, exit code and seconds."""
        end = self.work / f"{name}.end"
        if not end.exists():
            return None, None, None
        status, seconds = end.read_text().split()
        try:
            document = documents(self.work / f"{name}.json")
        except ValueError:
            document = {"verdict": None, "layers": []}
        return document, int(status), float(seconds)

    def tell(self, name, ok, text, **numbers):
        self.checks.append({"check": name, "ok": ok, "text": text, **numbers})
        print(f"{'ok  ' if ok else 'FAIL' if ok is False else 'skip'} {name}: {text}")

    def expect(self, name, verdicts, codes, why):
        document, status, _ = self.run(name)
        if document is None:
            said = self.work / f"{name}.said"
            last = said.read_text().strip().splitlines()[-1:] if said.exists() else []
            self.tell(name, None, f"not run: {' '.join(last) or 'no C compiler here'}")
            return
        bad = [c for c in document["layers"] if c["outcome"] in BAD or c["outcome"] == "skip" and c["needed"]]
        found = sorted({c["code"] for c in bad})
        right = document["verdict"] in verdicts and (codes is None or bool(set(found) & set(codes)))
        first = bad[0]["text"] if bad else "nothing was found"
        self.tell(name, right, f"{why}: {document['verdict']} (exit {status}), {', '.join(found)}; {first}")


def judge(work, out):
    runs = Runs(work)
    whole, status, seconds = runs.run("whole")
    bad = [f"{c['layer']}/{c['check']}: {c['text']}" for c in whole["layers"] if c["outcome"] in BAD or c["outcome"] == "skip" and c["needed"]]
    runs.tell("proven", whole["verdict"] == "proven" and status == 0, f"all layers: {whole['verdict']}{''.join('; ' + text for text in bad[:5])}")
    runs.tell("whole-run", seconds <= SECONDS, f"{seconds:.1f} s of {SECONDS:.0f} s", seconds=seconds)
    compared, _, _ = runs.run("compared")
    speeds = {}
    for check in compared["layers"]:
        if check["check"].endswith(".speed") and "tflops" in check["numbers"]:
            speeds.setdefault((check["device"] or 0, check["check"][:-6]), {})[check["layer"]] = check["numbers"]["tflops"]
    both = {key: of for key, of in speeds.items() if {"cublas", "torch"} <= of.keys()}
    for (index, dtype), of in sorted(both.items()):
        ratio = of["cublas"] / of["torch"]
        text = f"cuBLAS {of['cublas']:.1f}, torch {of['torch']:.1f} TFLOP/s in {dtype} on device {index}: {ratio:.3f} of {SPEED}"
        runs.tell(f"speed.{index}.{dtype}", ratio >= SPEED, text, ratio=ratio)
    runs.tell("speed", bool(both), f"{len(both)} data types were measured by both")
    runs.expect("hidden-empty", ("unproven", "failed"), ("no-device", "env-path"), "CUDA_VISIBLE_DEVICES is empty")
    runs.expect("hidden-minus-one", ("unproven", "failed"), ("no-device", "env-path"), "CUDA_VISIBLE_DEVICES is -1")
    runs.expect("stub-libcuda", ("unproven", "failed"), ("env-path", "library-shadowed"), "LD_LIBRARY_PATH leads to a stub of libcuda")
    runs.expect("planted", ("failed",), ("wrong-result",), "cublasLtMatmul changes one byte")
    killed, status, _ = runs.run("killed")
    crashed = [c["text"] for c in killed["layers"] if c["outcome"] == "crash"]
    runs.tell("killed", status == 1 and bool(crashed), f"a layer was killed: exit {status}, {' '.join(crashed) or 'no crash was told'}")
    document = {
        "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "gpu": whole["devices"],
        "driver": {"version": whole["subject"]["driver"], "cuda": whole["subject"]["driver_cuda"]},
        "versions": {"torch": whole["subject"]["torch"], "gpuseal": whole["tool"]["version"], "matrix": whole["matrix"]},
        "timings": {name: runs.run(name)[2] for name in ("cold", "whole", "compared")},
        "checks": runs.checks,
        "results": whole,
    }
    pathlib.Path(out).write_text(json.dumps(document, indent=2) + "\n")
    print(f"wrote {out}")
    return 1 if any(check["ok"] is False for check in runs.checks) else 0


if __name__ == "__main__":
    sys.exit({"device": device, "plant": plant, "judge": judge}[sys.argv[1]](*sys.argv[2:]))
