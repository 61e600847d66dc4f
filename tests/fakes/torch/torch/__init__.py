"""A torch of Python's own numbers, with as much in it as the program of L5 asks of one.

What goes wrong stands in FAKE_DRIVER, as for the other fakes: `torch.NAME=hang|crash|TEXT` in a call (TEXT is what it
raises, with `_` for a blank), `devices=2`, `capability=8.0`, `torch=cpu-only`, `arch=sm_80+sm_90`, `result=...`.
"""

import contextlib
import mmap
import operator
import os
import signal
import struct
import time
import types

FAULTS = dict(pair.partition("=")[::2] for pair in os.environ.get("FAKE_DRIVER", "").split(",") if pair)
if FAULTS.get("result-of", "torch") not in ("all", "torch"):
    FAULTS.pop("result", None)


def enter(name):
    what = FAULTS.get("torch." + name)
    if what == "hang":
        # For the test that asks whether this process is gone.
        if "FAKE_TORCH_PID" in os.environ:
            with open(os.environ["FAKE_TORCH_PID"], "w") as file:
                file.write(str(os.getpid()))
        time.sleep(3600)
    if what == "crash":
        os.kill(os.getpid(), signal.SIGSEGV)
    if what == "exit":
        os._exit(7)
    if what:
        raise RuntimeError(what.replace("_", " "))


if FAULTS.get("torch.import") == "import-error":
    raise ImportError("libcudnn.so.9: cannot open shared object file: No such file or directory")
enter("import")

# Libraries that show in this process as if they had been loaded.
MAPPED = []
for path in filter(None, os.environ.get("FAKE_TORCH_MAPS", "").split(":")):
    with open(path, "rb") as file:
        MAPPED.append(mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ))

__version__ = "9.9.9+fake"
CPU_ONLY = FAULTS.get("torch") == "cpu-only"
version = types.SimpleNamespace(cuda=None if CPU_ONLY else "12.8", hip=None, git_version="0" * 40)

int32, int64, uint8, int8 = "int32", "int64", "uint8", "int8"
float32, float64, float16, bfloat16, float8_e4m3fn = "float32", "float64", "float16", "bfloat16", "float8_e4m3fn"

# Significant bits of what a number is held in.
BITS = {"float32": 24, "float16": 11, "bfloat16": 8, "float8_e4m3fn": 4}
precision = "highest"


def rounded(value, bits):
    """To so many significant bits, half to even: small integers alone come here."""
    value = int(value)
    drop = max(abs(value).bit_length() - bits, 0)
    return round(value / (1 << drop)) * (1 << drop)


class Anything:
    """What only numbers in a certain mathematics could be; two of it differ by `distance`."""

    def __init__(self, value=0.0):
        self.value = value

    def __getattr__(self, name):
        return self

    def __call__(self, *_, **__):
        return self

    def __iter__(self):
        return iter([self])

    def __float__(self):
        return self.value

    def __int__(self):
        return 3

    def __sub__(self, other):
        return Anything(float(FAULTS.get("distance", "0.001")))

    __add__ = __mul__ = __matmul__ = __truediv__ = __ne__ = __call__


class Tensor:
    def __init__(self, rows, dtype, device="cpu"):
        # None: random numbers that nobody looks into.
        self.rows, self.dtype, self.device = rows, dtype, device

    def reshape(self, *shape):
        return Anything()

    def t(self):
        return Tensor(self.rows and [list(column) for column in zip(*self.rows)], self.dtype, self.device)

    def to(self, where):
        rows = self.rows
        if where in BITS and rows is not None:
            rows = [[x if x != x else rounded(x, BITS[where]) for x in row] for row in rows]
        if where in BITS or where.startswith(("int", "float")):
            return Tensor(rows, where, self.device)
        return Tensor(rows, self.dtype, where)

    def cpu(self):
        return self.to("cpu")

    def tolist(self):
        if isinstance(self.rows, bytes):
            return list(self.rows)
        return [[float(x) for x in row] for row in self.rows] if "float" in self.dtype else self.rows

    def contiguous(self):
        return self

    def view(self, dtype):
        values = (x for row in self.rows for x in row)
        return Tensor(b"".join(struct.pack("<d", x) for x in values), dtype)

    def flatten(self):
        return self

    def __matmul__(self, other):
        columns = other.t().rows
        return Tensor([[sum(map(operator.mul, row, column)) for column in columns] for row in self.rows], self.dtype, self.device)

    def __ne__(self, other):
        return Count(self.rows.wrong)


class Count(int):
    def sum(self):
        return self


def tensor(rows, dtype):
    return Tensor(rows, dtype)


def full(shape, value, dtype, device):
    if len(shape) == 1:
        enter("memory")
        return Tensor(types.SimpleNamespace(wrong=1 if FAULTS.get("memory") == "wrong" else 0), dtype, device)
    return Tensor([[value] * shape[1] for _ in range(shape[0])], dtype, device)


def ones(shape, dtype, device):
    return Tensor([[1]], dtype, device)


def randn(*shape, device=None):
    return Tensor(None, "float32", device) if device else Anything()


def randint(low, high, shape, dtype, device):
    return Tensor(None, dtype, device)


def equal(a, b):
    if isinstance(a, Anything):
        return FAULTS.get("convolution") != "wrong"
    return FAULTS.get("result") != "second"


launches = iter(range(1 << 30))


def product(a, b, out_dtype, out):
    """A fault of the device shows on the device alone."""
    if a.rows is None:
        return Tensor(None, out_dtype, a.device)
    result, fault, launch = (a @ b).rows, FAULTS.get("result"), next(launches)
    if fault == "wrong-arithmetic" and a.dtype == "float32":
        cut = lambda tensor: Tensor([[rounded(x, 11) for x in row] for row in tensor.rows], "float32")
        result = (cut(a) @ cut(b)).rows
    if fault == "zeros":
        result = [[0] * len(row) for row in result]
    if fault == "lost-tile":
        for row in result[16:32]:
            row[32:48] = [0] * 16
    if fault == "flip-low" or (fault == "second" and launch % 2):
        result[5][7] += 1
    if fault == "nan":
        result[5][7] = float("nan")
    if fault == "nothing":
        result = out.rows if out else [[float("nan")] * len(row) for row in result]
    if out:
        out.rows = result
        return out
    return Tensor(result, out_dtype, a.device)


def matmul(a, b, out=None):
    enter("matmul")
    return product(a, b, a.dtype, out)


def _int_mm(a, b, out=None):
    enter("_int_mm")
    return product(a, b, "int32", out)


def _scaled_mm(a, b, scale_a, scale_b, out_dtype):
    enter("_scaled_mm")
    return product(a, b, out_dtype, None)


def set_float32_matmul_precision(name):
    global precision
    precision = name


def compile(function):
    enter("compile")
    return function


def arange(*_, **__):
    return Anything()


def autocast(device, dtype):
    enter("autocast")
    return contextlib.nullcontext()


nn, relu, manual_seed = Anything(), Anything(), Anything()


class Event:
    def __init__(self, enable_timing):
        pass

    def record(self):
        pass

    def elapsed_time(self, end):
        return 2.0


def synchronize(device=None):
    if FAULTS.get("context") == "lost":
        raise RuntimeError("CUDA error: an illegal memory access was encountered")


def init():
    enter("cuda.init")


backends = types.SimpleNamespace(
    cudnn=types.SimpleNamespace(version=lambda: 91002, allow_tf32=True),
    cuda=types.SimpleNamespace(matmul=types.SimpleNamespace(allow_tf32=False)),
)
cuda = types.SimpleNamespace(
    init=init,
    device_count=lambda: int(FAULTS.get("devices", "1")),
    get_device_capability=lambda index: tuple(map(int, FAULTS.get("capability", "9.0").split("."))),
    set_device=lambda index: None,
    synchronize=synchronize,
    mem_get_info=lambda device: (79 << 30, 80 << 30),
    empty_cache=lambda: None,
    Event=Event,
    nccl=types.SimpleNamespace(version=lambda: (2, 27, 3)),
    get_allocator_backend=lambda: "native",
)
_C = types.SimpleNamespace(_cuda_getArchFlags=lambda: FAULTS.get("arch", "sm_80+sm_90+compute_90").replace("+", " "))
