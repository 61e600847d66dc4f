# L5, behind `host/tell.py`: does the torch of this interpreter compute what it should, on every device? It needs
# nothing but torch. Whatever a call raises is quoted; what an older torch does not have is not needed.
import hashlib
import importlib
import math
import shutil
import sysconfig
import tempfile
import time

# A is m rows of k, B is n rows of k: `shape`, small enough for integers on the CPU, large enough for tensor cores,
# and k no more than 256.
#
# dtype: A holds integers up to the first number; B up to the second, at every third-th place. No partial sum leaves
# what accumulator and result hold exactly, so that the integers of the CPU are the only right answer, in every
# order. fp32 needs 12 bits of A: with TF32 in its place, whose inputs have 11, it comes out wrong.
INTEGERS = {
    "fp32": (4095, 1, 1),
    "tf32": (1023, 1, 1),
    "fp16": (15, 1, 2),
    "bf16": (15, 1, 16),
    "e4m3": (15, 1, 16),
    "int8": (127, 127, 1),
}

# The first compute capability whose tensor cores have it; others torch computes without.
SINCE = {"tf32": (8, 0), "bf16": (8, 0), "e4m3": (8, 9), "int8": (7, 5)}

# What torch says of fp8 and int8 that it, or its cuBLAS, has not on a device: fp8 came to 8.9 after it came to 9.0.
REFUSED = ["only supported on", "only supported for", "not compiled for", "CUBLAS_STATUS_NOT_SUPPORTED"]

# What CUDA, its libraries and torch say, in small letters, and the code of it.
KNOWN = [
    ("no kernel image is available", "arch-not-in-binary"),
    ("out of memory", "out-of-memory"),
    ("driver version is insufficient", "driver-too-old"),
    ("driver on your system is too old", "driver-too-old"),
    ("found no nvidia driver", "no-driver"),
    ("no cuda gpus are available", "no-device"),
    ("no cuda-capable device", "no-device"),
    ("busy or unavailable", "device-busy"),
    ("ecc error", "hardware-fault"),
    ("forward compatibility was attempted", "forward-compat-unsupported"),
    ("out of shared memory", "shared-memory"),
    ("bus error", "shared-memory"),
    ("not compiled with cuda enabled", "cpu-only-wheel"),
]


class Wrong(Exception):
    def __init__(self, code, text, *help):
        Exception.__init__(self, text)
        self.code, self.help = code, list(help)


class NotNeeded(Exception):
    pass


class NotDone(Exception):
    """What should have been looked at, and was not."""


def say(name, outcome, code, text, numbers=None, facts=(), help=(), optional=False):
    facts = [{"text": fact[:2000], "source": "torch"} for fact in facts]
    tell(
        check={
            "name": name,
            "outcome": outcome,
            "code": code,
            "text": text[:2000],
            "numbers": numbers or {},
            "facts": facts,
            "help": list(help),
            "optional": optional,
        }
    )


def code_of(text):
    return next((code for part, code in KNOWN if part in text.lower()), "unknown")


def made(name, seconds, call):
    """One check: its phase, its call, and what came of it. False where the call raised."""
    tell(phase=name, seconds=seconds)
    try:
        text, numbers = call()
    except NotNeeded as why:
        say(name, "skip", "ok", str(why), optional=True)
    except NotDone as why:
        say(name, "skip", "unknown", str(why))
    except Wrong as wrong:
        say(name, "fail", wrong.code, str(wrong), help=wrong.help)
    except Exception as error:
        text = words(error)
        first = text.partition("\n")[0]
        say(name, "fail", code_of(text), f"torch raised in {name}: {first}", facts=[text])
        return False
    else:
        say(name, "pass", "ok", text, numbers)
    return True


def integers(rows, columns, high, step, seed):
    """Of no generator of torch's: the same in every version, so that the hash of a right result is so too."""
    state = (seed * 2654435761 + high) & 0xFFFFFFFF
    values = []
    for row in range(rows):
        line = []
        for column in range(columns):
            state = (state * 1664525 + 1013904223) & 0xFFFFFFFF
            # The low bits of such a generator are none. Of 1 and -1 no third value.
            value = (state >> 8) % (2 * high + 1) - high if high > 1 else 1 - (state >> 15 & 2)
            line.append(value if (row + column) % step == 0 else 0)
        values.append(line)
    return values


class Device:
    def __init__(self, torch, name, prefix, job, capability):
        self.torch, self.name, self.prefix, self.job = torch, name, prefix, job
        self.capability = capability
        self.lost = False

    def made(self, name, seconds, call):
        if self.lost or made(self.prefix + name, seconds, call):
            return
        try:
            self.torch.cuda.synchronize(self.name)
        except Exception as error:
            # A context that has failed once fails every later call, whatever it asks.
            self.lost = True
            text = f"nothing more was asked of device {self.name} after {name}: {words(error)}"
            say(self.prefix + "context", "skip", "unknown", text)

    def type_of(self, dtype):
        torch = self.torch
        if dtype in self.job["dtypes"] and self.capability < SINCE.get(dtype, (0, 0)):
            needed = "%d.%d" % SINCE[dtype]
            have = "%d.%d" % self.capability
            raise NotNeeded(f"tensor cores have {dtype} since {needed}, and this device is {have}")
        needs = {"e4m3": (torch, "_scaled_mm"), "int8": (torch, "_int_mm")}.get(dtype)
        if needs and not hasattr(*needs):
            raise NotNeeded(f"torch {torch.__version__} has no torch.{needs[1]}")
        names = {"fp16": "float16", "bf16": "bfloat16", "e4m3": "float8_e4m3fn", "int8": "int8"}
        kind = getattr(torch, names.get(dtype, "float32"), None)
        if kind is None:
            raise NotNeeded(f"torch {torch.__version__} has no {names[dtype]}")
        return kind

    def multiply(self, dtype, a, b, out=None):
        """A times B transposed, as torch's users call it."""
        torch = self.torch
        if dtype in ("int8", "e4m3"):
            try:
                return self.multiply_bytes(dtype, a, b, out)
            except RuntimeError as error:
                if any(part in str(error) for part in REFUSED):
                    raise NotNeeded(f"this torch multiplies no {dtype} on this device: {words(error)}")
                raise
        return torch.matmul(a, b.t(), out=out) if out is not None else torch.matmul(a, b.t())

    def multiply_bytes(self, dtype, a, b, out):
        torch = self.torch
        if dtype == "int8":
            return torch._int_mm(a, b.t(), out=out) if out is not None else torch._int_mm(a, b.t())
        one = torch.ones((), dtype=torch.float32, device=self.name)
        result = torch._scaled_mm(a, b.t(), scale_a=one, scale_b=one, out_dtype=torch.bfloat16)
        # Until 2.4 it gave the largest value as well.
        return result[0] if isinstance(result, tuple) else result

    def precise(self, dtype):
        high = dtype == "tf32"
        if hasattr(self.torch, "set_float32_matmul_precision"):
            self.torch.set_float32_matmul_precision("high" if high else "highest")
        else:
            self.torch.backends.cuda.matmul.allow_tf32 = high

    def operands(self, dtype, kind):
        torch, (m, n, k) = self.torch, self.job["shape"]
        high, low, step = INTEGERS[dtype]
        a = torch.tensor(integers(m, k, high, 1, self.job["seed"]), dtype=torch.int64)
        b = torch.tensor(integers(n, k, low, step, self.job["seed"] + 1), dtype=torch.int64)
        # By way of fp32, which holds all of them; int64 has no conversion to fp8 in some versions.
        return a @ b.t(), [x.to(torch.float32).to(kind).to(self.name) for x in (a, b)]

    def exact(self, dtype):
        torch, (m, n, _) = self.torch, self.job["shape"]
        kind = self.type_of(dtype)
        self.precise(dtype)
        want, (a, b) = self.operands(dtype, kind)
        want = want.tolist()
        results = []
        for _ in range(2):
            out = None
            # torch._scaled_mm takes a place for its result in some versions only.
            if dtype == "int8":
                out = torch.full((m, n), -(2**31), dtype=torch.int32, device=self.name)
            elif dtype != "e4m3":
                out = torch.full((m, n), math.nan, dtype=kind, device=self.name)
            results.append(self.multiply(dtype, a, b, out).cpu())
        got = [result.to(torch.float64).tolist() for result in results]
        if got[0] != want:
            raise Wrong("wrong-result", self.difference(dtype, got[0], want), *self.remedies(dtype))
        if got[1] != want:
            text = self.difference(dtype, got[1], want)
            raise Wrong("wrong-result", f"right at first, then not: {text}", *self.remedies(dtype))
        numbers = {"elements": m * n, "sha256": digest(torch, results[0])}
        return f"{m * n} elements of a {dtype} product are the integers of the CPU", numbers

    def difference(self, dtype, got, want):
        m, n, _ = self.job["shape"]
        wrong = [(i, j) for i in range(m) for j in range(n) if got[i][j] != want[i][j]]
        i, j = wrong[0]
        empty = sum(1 for i, j in wrong if got[i][j] != got[i][j] or got[i][j] == -(2**31))
        text = f"{len(wrong)} of {m * n} elements of torch's {dtype} product are wrong: "
        if empty:
            text += f"{empty} were never written, "
        return text + f"at row {i}, column {j} it has {got[i][j]:g}, and the integers say {want[i][j]}"

    def remedies(self, dtype):
        variables = ("NVIDIA_TF32_OVERRIDE", "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE")
        if dtype == "fp32":
            for name in variables:
                if os.environ.get(name):
                    yield f"unset {name} ({os.environ[name]}), which takes bits from fp32"
        yield "see whether the layers of our own kernels and of cuBLAS fail on this device too: then it is the GPU"

    def again(self, dtype):
        """On numbers that have to be rounded: the order of a sum shows."""
        torch = self.torch
        kind = self.type_of(dtype)
        self.precise(dtype)
        a, b = self.noise(dtype, kind, 512), self.noise(dtype, kind, 512)
        first = self.multiply(dtype, a, b).cpu()
        second = self.multiply(dtype, a, b).cpu()
        if not torch.equal(first, second):
            text = f"torch's {dtype} product of the same random numbers came out in two ways"
            raise Wrong("wrong-result", text, *self.remedies(dtype))
        return f"two runs of a {dtype} product are equal to the bit", None

    def noise(self, dtype, kind, size):
        torch = self.torch
        if dtype == "int8":
            return torch.randint(-128, 128, (size, size), dtype=kind, device=self.name)
        return torch.randn(size, size, device=self.name).to(kind)

    def operands_for_speed(self, dtype, kind):
        """The largest squares of which twenty products take no second."""
        free, _ = self.torch.cuda.mem_get_info(self.name)
        for size in self.job["sizes"]:
            if 64 * size**2 > free:
                continue
            # Several, so that the cache of the device does not hold the next ones.
            pairs = [(self.noise(dtype, kind, size), self.noise(dtype, kind, size)) for _ in range(3)]
            for _ in range(2):
                start = time.monotonic()
                self.multiply(dtype, *pairs[0])
                self.torch.cuda.synchronize(self.name)
            if time.monotonic() - start < 0.04 or size == self.job["sizes"][-1]:
                return size, pairs
        raise NotNeeded(f"{free >> 20} MiB are free on the device: too little to measure a speed")

    def speed(self, dtype):
        torch = self.torch
        kind = self.type_of(dtype)
        self.precise(dtype)
        size, pairs = self.operands_for_speed(dtype, kind)
        # Clocks rise, and settle.
        start = time.monotonic()
        while time.monotonic() - start < 0.3:
            for pair in pairs:
                self.multiply(dtype, *pair)
            torch.cuda.synchronize(self.name)
        marks = [torch.cuda.Event(enable_timing=True) for _ in range(21)]
        marks[0].record()
        for turn, mark in enumerate(marks[1:]):
            self.multiply(dtype, *pairs[turn % 3])
            mark.record()
        torch.cuda.synchronize(self.name)
        times = sorted(start.elapsed_time(end) for start, end in zip(marks, marks[1:]))
        median = (times[9] + times[10]) / 2
        if not median > 0:
            raise Wrong("unknown", f"torch measured {median} ms for a {dtype} product of {size}")
        tflops = 2 * size**3 / median / 1e9
        numbers = {"tflops": round(tflops, 2), "milliseconds": median, "size": size}
        return f"{tflops:.1f} TFLOP/s in {dtype} through torch", numbers

    def cudnn(self):
        torch = self.torch
        x = torch.tensor(integers(1, 8 * 16 * 16, 7, 1, 3), dtype=torch.float32)
        w = torch.tensor(integers(1, 8 * 8 * 3 * 3, 7, 1, 4), dtype=torch.float32)
        x, w = x.reshape(1, 8, 16, 16), w.reshape(8, 8, 3, 3)
        conv = torch.nn.functional.conv2d
        # Of steps of two there is no convolution by Winograd or Fourier, whose results are no whole numbers.
        want = conv(x.double(), w.double(), padding=1, stride=2)
        got = conv(x.to(self.name), w.to(self.name), padding=1, stride=2).cpu().double()
        if not torch.equal(got, want):
            wrong = int((got != want).sum())
            text = f"{wrong} of {want.numel()} elements of torch's convolution are not the integers"
            raise Wrong("wrong-result", text, *self.remedies("cudnn"))
        return f"{want.numel()} elements of a convolution are the integers of the CPU", None

    def autocast(self):
        """A training step's mathematics in mixed precision, against float64 on the CPU."""
        torch = self.torch
        if not hasattr(torch, "autocast"):
            raise NotNeeded(f"torch {torch.__version__} has no torch.autocast")
        nn, low = torch.nn, torch.bfloat16 if self.capability >= (8, 0) else torch.float16
        torch.manual_seed(self.job["seed"])
        model = nn.Sequential(nn.Linear(256, 512), nn.GELU(), nn.Linear(512, 64))
        x, y = torch.randn(128, 256), torch.randn(128, 64)
        want = gradients(torch, model.double(), x.double(), y.double())
        model = model.float().to(self.name)
        with torch.autocast(self.name.partition(":")[0], dtype=low):
            got = gradients(torch, model, x.to(self.name), y.to(self.name))
        worst = max(distance(torch, g, w) for g, w in zip(got, want))
        numbers = {"relative_error": worst}
        # bf16 keeps 8 bits: one rounding is 0.002, and a gradient here has a handful of them.
        if not worst < 0.05:
            text = f"gradients under autocast are {worst:.2g} of their length away from float64's"
            raise Wrong("wrong-result", text + ", where 0.05 is the most", *self.remedies("autocast"))
        return f"gradients under autocast are within {worst:.2g} of float64's", numbers

    def attention(self):
        torch = self.torch
        if not hasattr(torch.nn.functional, "scaled_dot_product_attention"):
            raise NotNeeded(f"torch {torch.__version__} has no scaled_dot_product_attention")
        low = torch.bfloat16 if self.capability >= (8, 0) else torch.float16
        torch.manual_seed(self.job["seed"])
        q, k, v = (torch.randn(2, 4, 256, 64).to(low) for _ in range(3))
        scores = q.double() @ k.double().transpose(-1, -2) / math.sqrt(64)
        want = scores.softmax(-1) @ v.double()
        on = [x.to(self.name) for x in (q, k, v)]
        got = torch.nn.functional.scaled_dot_product_attention(*on).cpu().double()
        error = distance(torch, got, want)
        if not error < 0.02:
            text = f"attention is {error:.2g} of its length away from float64's, where 0.02 is the most"
            raise Wrong("wrong-result", text, *self.remedies("attention"))
        return f"attention is within {error:.2g} of float64's", {"relative_error": error}

    def memory(self):
        torch = self.torch
        free, total = torch.cuda.mem_get_info(self.name)
        count = free // 10 // 8
        # No byte of it is zero, and no two are alike.
        pattern = 0x123456789ABCDEF
        block = torch.full((count,), pattern, dtype=torch.int64, device=self.name)
        wrong = int((block != pattern).sum())
        if wrong:
            text = f"{wrong} of {count} words of the device's memory do not hold what was written"
            raise Wrong("hardware-fault", text, "look for `Xid` in the kernel log, and drain the GPU")
        del block
        torch.cuda.empty_cache()
        text = f"{count * 8 >> 20} MiB were taken, filled, read and given back"
        return text, {"bytes": count * 8, "free_bytes": free, "total_bytes": total}

    def all(self):
        for dtype in self.job["dtypes"]:
            # The first product loads cuBLAS and its kernels.
            self.made(dtype + ".exact-integer", 120, lambda: self.exact(dtype))
        for dtype in self.job["dtypes"]:
            self.made(dtype + ".rerun", 60, lambda: self.again(dtype))
        self.made("convolution", 120, self.cudnn)
        self.made("autocast-backward", 60, self.autocast)
        self.made("attention", 60, self.attention)
        self.made("memory", 60, self.memory)
        for dtype in self.job["dtypes"] if self.job["speed"] else []:
            self.made(dtype + ".speed", 60, lambda: self.speed(dtype))


def digest(torch, result):
    return hashlib.sha256(bytes(result.contiguous().view(torch.uint8).flatten().tolist())).hexdigest()


def gradients(torch, model, x, y):
    model.zero_grad(set_to_none=True)
    torch.nn.functional.mse_loss(model(x), y).backward()
    return [parameter.grad.cpu().double() for parameter in model.parameters()]


def distance(torch, got, want):
    """Infinite where anything in it is not finite."""
    error = float((got - want).norm() / want.norm())
    return error if math.isfinite(error) else 1e300


def workers(torch, device):
    data = importlib.import_module("torch.utils.data")
    rows = torch.arange(64 * 16384).reshape(64, 16384)
    # Workers are forked: there is no file of this program that another start could read.
    loader = data.DataLoader(
        data.TensorDataset(rows),
        batch_size=16,
        num_workers=2,
        multiprocessing_context="fork",
        pin_memory=device != "cpu",
        timeout=60,
    )
    total = sum(int(batch.to(device).sum()) for (batch,) in loader)
    want = (64 * 16384) * (64 * 16384 - 1) // 2
    if total != want:
        text = f"two workers of a DataLoader delivered a sum of {total}, and {want} was sent"
        raise Wrong("wrong-result", text)
    return "two workers of a DataLoader delivered what was sent", None


def missing():
    """What torch.compile needs of an image, and this one has not."""
    try:
        importlib.import_module("triton")
    except Exception as error:
        yield f"triton ({words(error)})"
    compilers = [name for name in (os.environ.get("CC"), "gcc", "clang", "cc") if name]
    if not any(map(shutil.which, compilers)):
        yield "a C compiler"
    header = os.path.join(sysconfig.get_paths()["include"], "Python.h")
    if not os.path.exists(header):
        yield header


def compiled(torch, device, job):
    if not hasattr(torch, "compile"):
        raise NotNeeded(f"torch {torch.__version__} has no torch.compile")
    # With one of them it gives back the function as it was.
    off = [name for name in ("TORCH_COMPILE_DISABLE", "TORCHDYNAMO_DISABLE") if os.environ.get(name) == "1"]
    if off and job["compiles"]:
        raise NotDone(f"{off[0]}=1 keeps torch.compile from compiling, which the lock promises: take it away")
    if off:
        raise NotNeeded(f"{off[0]}=1 keeps torch.compile from compiling")
    # And with this one where it fails.
    os.environ.pop("TORCHDYNAMO_SUPPRESS_ERRORS", None)
    try:
        place = tempfile.TemporaryDirectory()
    except OSError as error:
        text = f"torch.compile writes its code into a folder, and none can be made: {words(error)}"
        if job["compiles"]:
            raise Wrong("compiler-missing", text, "let the container write to /tmp: `--tmpfs /tmp:exec`")
        raise NotNeeded(text + "; the lock does not promise it")
    with place as folder:
        # Nothing of an earlier run is taken, and nothing is left behind.
        tempfile.tempdir = folder
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = os.path.join(folder, "inductor")
        os.environ["TRITON_CACHE_DIR"] = os.path.join(folder, "triton")
        os.environ["TORCHINDUCTOR_COMPILE_THREADS"] = "1"
        x = torch.arange(-2048, 2048, dtype=torch.float32, device=device)
        function = lambda x: torch.relu(x * 2 + 1)
        try:
            got = torch.compile(function)(x)
        except Exception as error:
            lacks = list(missing())
            if "libcuda.so" in words(error):
                lacks.append("a libcuda.so where Triton looks for it")
            first = words(error).partition("\n")[0]
            text = f"torch.compile does not work here: {first}"
            if lacks:
                text = "torch.compile does not work here: the image lacks " + ", ".join(lacks)
            if job["compiles"]:
                code = "compiler-missing" if lacks else code_of(words(error))
                raise Wrong(code, text + "; the lock promises it", f"torch says: {first}")
            raise NotNeeded(text + "; the lock does not promise it")
        if not torch.equal(got, function(x)):
            raise Wrong("wrong-result", "a compiled function gives something else than the same one not compiled")
    return "torch.compile made a kernel, and it computes what the function does", None


def libraries(job):
    files = mapped()
    facts = [f"mapped: {path}" for path in files]
    by_name, copies = {}, {}
    for path in files:
        name, _, version = os.path.basename(path).partition(".so.")
        by_name.setdefault(name, []).append(path)
        # Below WSL a first libcuda loads the one of Windows' driver.
        if name == "libcuda" and "/wsl/" in path:
            continue
        # Two of one name and version; the driver's own carry its version, and there is one of each.
        major = "" if name == "libcuda" else version.partition(".")[0]
        copies.setdefault((name, major), []).append(path)
    wrong = []
    for (name, _), paths in sorted(copies.items()):
        if len(set(map(os.path.realpath, paths))) > 1:
            wrong.append(f"two copies of {name} are loaded: " + " and ".join(paths))
    seen = 0
    for wanted in job["libraries"]:
        # One that torch has not loaded may be loaded later: that is no contradiction.
        for path in by_name.get(os.path.basename(wanted).partition(".so")[0], []):
            seen += 1
            if os.path.realpath(path) != os.path.realpath(wanted):
                wrong.append(f"torch has loaded {path}, and its files lead to {wanted}")
    if wrong:
        paths = os.environ.get("LD_LIBRARY_PATH")
        help = f"LD_LIBRARY_PATH is {paths}: unset it for torch" if paths else "remove the other copy"
        say("libraries", "fail", "library-shadowed", "; ".join(wrong), facts=facts, help=[help])
    elif seen:
        text = f"the {seen} libraries that torch has loaded are those that its files lead to"
        say("libraries", "pass", "ok", text, facts=facts)
    else:
        text = "its files did not say which CUDA libraries torch loads; it has loaded each only once"
        say("libraries", "skip", "ok", text, facts=facts, optional=True)


def versions(torch):
    told = {"torch": str(torch.__version__), "cuda": torch.version.cuda, "python": sys.version.split()[0]}
    facts = []
    for name, call in [
        ("git", lambda: torch.version.git_version),
        ("cudnn", lambda: torch.backends.cudnn.version()),
        ("nccl", lambda: ".".join(map(str, torch.cuda.nccl.version()))),
        ("allow_tf32_matmul", lambda: torch.backends.cuda.matmul.allow_tf32),
        ("allow_tf32_cudnn", lambda: torch.backends.cudnn.allow_tf32),
        ("allocator", lambda: torch.cuda.get_allocator_backend()),
    ]:
        try:
            told[name] = call()
        except Exception as error:
            # A torch without CUDA or an older one lacks some of these.
            facts.append(f"{name}: {words(error)}")
    text = f"torch {told['torch']} for CUDA {told['cuda']} in Python {told['python']}"
    say("versions", "pass", "ok", text, told, facts=facts)


def available(torch, job):
    if not torch.version.cuda:
        hip = getattr(torch.version, "hip", None)
        if hip:
            raise Wrong("cpu-only-wheel", f"torch {torch.__version__} was built for ROCm {hip}: it has no code for NVIDIA's GPUs")
        raise Wrong(
            "cpu-only-wheel",
            f"torch {torch.__version__} was built without CUDA",
            "install torch from the index of a CUDA variant",
        )
    # `is_available` swallows why it says no.
    torch.cuda.init()
    count = torch.cuda.device_count()
    if count <= max(job["devices"], default=0):
        raise Wrong("no-device", f"torch sees {count} devices, and libcuda shows device {max(job['devices'], default=0)}")
    return f"torch sees {count} device" + ("s" if count > 1 else ""), {"devices": count}


def main(job):
    tell(phase="import torch", seconds=180)
    try:
        import torch
    except Exception as error:
        absent = isinstance(error, ImportError) and getattr(error, "name", None) == "torch"
        text = words(error)
        if absent:
            say("import", "skip", "unknown", f"{sys.executable} has no torch: {text}")
        else:
            first = text.partition("\n")[0]
            say("import", "fail", code_of(text), f"torch cannot be imported: {first}", facts=[text])
        return
    say("import", "pass", "ok", f"torch was imported from {os.path.dirname(torch.__file__)}")
    versions(torch)
    if not made("cuda-available", 120, lambda: available(torch, job)) or not torch.version.cuda:
        return
    count = torch.cuda.device_count()
    indices = job["devices"] or range(count)
    if not all(index < count for index in indices):
        return
    last = None
    for index in indices:
        prefix = f"d{index}." if len(indices) > 1 else ""
        tell(phase=prefix + "arch", seconds=60)
        capability = tuple(torch.cuda.get_device_capability(index))
        arch = {"name": prefix + "arch", "capability": "%d.%d" % capability}
        # Not `get_arch_list`, which gives none where CUDA is not available.
        tell(arch=dict(arch, list=torch._C._cuda_getArchFlags().split(), torch=str(torch.__version__)))
        torch.cuda.set_device(index)
        last = Device(torch, f"cuda:{index}", prefix, job, capability)
        last.all()
    tell(phase="libraries", seconds=20)
    libraries(job)
    if last is not None and not last.lost:
        made("dataloader", 120, lambda: workers(torch, last.name))
        # The last one: it starts compilers.
        made("compile", 300, lambda: compiled(torch, last.name, job))


main(json.loads(sys.argv[1]))
tell(done=True)
