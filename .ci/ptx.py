"""Runs the PTX of kernels/ on the CPU, thread by thread, and compares the products with those of integers.

It knows the instructions that these kernels use, and no others. Reads and writes outside of a matrix end it, and so
does a thread that misses a barrier. What no run on a GPU is needed for is proven here: the indexing of every kernel,
edges included, and where the tensor instructions want their operands.

Usage: ptx.py KERNELS
"""

import pathlib
import random
import re
import struct
import sys

WIDTH = {"rs": 16, "r": 32, "rd": 64}
# struct's letters of the types of memory accesses.
MEMORY = {"u8": "B", "s8": "b", "u16": "H", "u32": "I", "u64": "Q", "f32": "f"}


class Kernel:
    """An entry, as a Python generator that yields at barriers and where a warp multiplies together."""

    def __init__(self, name, parameters, body):
        self.name, self.parameters = name, parameters
        self.shared, self.size = {}, 0
        blocks, labels = [[]], {}
        for statement in re.split(r";|(?<=:)\n", re.sub(r"//.*", "", body)):
            statement = " ".join(statement.split())
            if found := re.match(r"\.shared \.align (\d+) \.b8 (\w+)\[(\d+)\]$", statement):
                align, symbol, size = int(found[1]), found[2], int(found[3])
                self.size = -(-self.size // align) * align
                self.shared[symbol] = self.size
                self.size += size
            elif found := re.match(r"(\$\w+):$", statement):
                blocks.append([])
                labels[found[1]] = len(blocks) - 1
            elif statement and not statement.startswith((".reg", ".pragma", ".maxntid")):
                blocks[-1].append(statement)
                if "bra" in statement.split(".")[0].split():
                    blocks.append([])
        lines = ["def run(tid_x, tid_y, ctaid_x, ctaid_y, param, load, store):", " at = 0", " while True:"]
        for number, block in enumerate(blocks):
            lines.append(f"  if at == {number}:")
            lines += [f"   {line}" for statement in block for line in self.translated(statement, labels)]
            lines.append(f"   at = {number + 1}")
        names = {"bits": lambda value: struct.unpack("<I", struct.pack("<f", value))[0]}
        exec(compile("\n".join(lines), name, "exec"), names)
        self.run = names["run"]

    def value(self, operand):
        operand = operand.strip()
        if found := re.fullmatch(r"0f([0-9A-F]{8})", operand):
            return repr(struct.unpack(">f", bytes.fromhex(found[1]))[0])
        if operand in self.shared:
            return str(self.shared[operand])
        return operand.replace("%", "").replace(".", "_")

    def address(self, operand):
        base, _, offset = operand.strip("[] ").partition("+")
        return f"{self.value(base)} + {offset or 0}"

    def translated(self, statement, labels):
        """Python lines of an instruction."""
        if found := re.match(r"@(!?)%(p\d+) (.*)", statement):
            lines = self.translated(found[3], labels)
            return [f"if {'not ' if found[1] else ''}{found[2]}:", *(f" {line}" for line in lines)]
        code, _, rest = statement.partition(" ")
        parts = code.split(".")
        if parts[0] == "mma":
            groups = [",".join(self.value(x) for x in group.split(",")) for group in re.findall(r"{(.*?)}", rest)]
            return [f"{groups[0]} = yield ({code!r}, ({groups[1]},), ({groups[2]},), ({groups[3]},))"]
        operands = [x.strip() for x in rest.split(",")] if rest else []
        if parts[0] == "bra":
            return [f"at = {labels[operands[0]]}", "continue"]
        if parts[0] == "ret":
            return ["return"]
        if code == "bar.sync":
            return ["yield None"]
        kind, to = parts[-1], self.value(operands[0])
        if parts[0] == "st":
            return [f"store({parts[1]!r}, {MEMORY[kind]!r}, {self.address(operands[0])}, {self.value(operands[1])})"]
        width = WIDTH.get(re.match(r"[a-z]+", to)[0], 0)
        mask = f" & {(1 << width) - 1:#x}" if width else ""
        if code.startswith("ld.param"):
            return [f"{to} = param[{self.parameters.index(operands[1].strip('[]'))}]"]
        if parts[0] == "ld":
            return [f"{to} = load({parts[1]!r}, {MEMORY[kind]!r}, {self.address(operands[1])}){mask}"]
        a, *more = [self.value(x) for x in operands[1:]]
        if parts[0] == "setp":
            if kind[0] == "s" and parts[1] not in ("eq", "ne"):
                raise NotImplementedError(statement)
            compare = {"eq": "==", "ne": "!=", "lt": "<", "ge": ">=", "gt": ">", "le": "<="}[parts[1]]
            return [f"{to} = {a} {compare} {more[0]}"]
        if code == "cvt.rna.tf32.f32":
            return [f"{to} = bits({a}) + 0x1000 & 0xffffe000"]
        known = {
            "mov": "{0}", "cvta": "{0}", "add": "{0} + {1}", "sub": "{0} - {1}", "mul": "{0} * {1}",
            "mad": "{0} * {1} + {2}", "fma": "{0} * {1} + {2}", "shl": "{0} << {1}", "shr": "{0} >> {1}",
            "and": "{0} & {1}", "or": "{0} | {1}", "cvt": "{0}",
        }  # fmt: skip
        # What would have to look at a sign is not known.
        if parts[0] not in known or code in ("shr.s32", "shr.s64", "mul.wide.s32") or "hi" in parts:
            raise NotImplementedError(statement)
        if parts[0] == "cvt" and not all(part.startswith("u") for part in parts[1:]):
            raise NotImplementedError(statement)
        return [f"{to} = ({known[parts[0]].format(a, *more)}){mask}"]


def kernels(text):
    entries = re.finditer(r"\.visible \.entry (\w+)\((.*?)\)\n.*?\n{\n(.*?)\n}\n", text, re.S)
    return {e[1]: Kernel(e[1], re.findall(r"\.param \.\w+ (\w+)", e[2]), e[3]) for e in entries}


# Where the operands of a lane stand, as the PTX ISA has it: values of a word, and row and column of element i.
def f32_layout(lane, i):
    return lane // 4 + i // 2 * 8, lane % 4 * 2 + i % 2


SHAPES = {
    "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32": (
        16, lambda word: [struct.unpack("<f", struct.pack("<I", half << 16))[0] for half in (word & 0xFFFF, word >> 16)],
        lambda g, t, i: (g + i // 2 % 2 * 8, t * 2 + i % 2 + i // 4 * 8), lambda g, t, i: (t * 2 + i % 2 + i // 2 * 8, g),
    ),
    "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32": (
        8, lambda word: [struct.unpack("<f", struct.pack("<I", word))[0]],
        lambda g, t, i: (g + i % 2 * 8, t + i // 2 * 4), lambda g, t, i: (t + i * 4, g),
    ),
    "mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32": (
        32, lambda word: list(struct.unpack("4b", struct.pack("<I", word))),
        lambda g, t, i: (g + i // 4 % 2 * 8, t * 4 + i % 4 + i // 8 * 16), lambda g, t, i: (t * 4 + i % 4 + i // 4 * 16, g),
    ),
}  # fmt: skip


def multiplied(lanes):
    """What a warp gets from a product that all of its lanes have come to."""
    (code,) = {lane[0] for lane in lanes}
    depth, values, of_a, of_b = SHAPES[code]
    a, b = [[0] * depth for _ in range(16)], [[0] * depth for _ in range(8)]
    for number, (_, left, right, _) in enumerate(lanes):
        group, thread = divmod(number, 4)
        for i, value in enumerate(v for word in left for v in values(word)):
            row, column = of_a(group, thread, i)
            a[row][column] = value
        for i, value in enumerate(v for word in right for v in values(word)):
            row, column = of_b(group, thread, i)
            b[column][row] = value
    results = []
    for number, (_, _, _, sums) in enumerate(lanes):
        places = [f32_layout(number, i) for i in range(4)]
        row = [c + sum(x * y for x, y in zip(a[i], b[j])) for c, (i, j) in zip(sums, places)]
        results.append([int(c) & 0xFFFFFFFF for c in row] if ".s32." in code else row)
    return results


def launched(kernel, buffers, m, n, k):
    """Runs a kernel; buffers are those of A, B and C."""
    # Far apart, so that an address outside of one is outside of all.
    bases = [(number + 1) << 32 for number in range(3)]
    for x in range(-(-m // 32)):
        for y in range(-(-n // 32)):
            shared = bytearray(b"\xa5" * kernel.size)

            def place(space, letter, at):
                size = struct.calcsize(letter)
                memory, at = (shared, at) if space == "shared" else (buffers[(at >> 32) - 1], at & 0xFFFFFFFF)
                if at % size or at + size > len(memory):
                    sys.exit(f"{kernel.name}: {size} bytes at {at} of {len(memory)}, {m} x {n} x {k}")
                return memory, at

            def load(space, letter, at):
                return struct.unpack_from("<" + letter, *place(space, letter, at))[0]

            def store(space, letter, at, value):
                if letter != "f":
                    value &= (1 << 8 * struct.calcsize(letter)) - 1
                struct.pack_into("<" + letter, *place(space, letter, at), value)

            threads = [kernel.run(t % 16, t // 16, x, y, [*bases, m, n, k], load, store) for t in range(256)]
            sent = [None] * 256
            while True:
                # A thread that has returned stays away from all that comes after.
                stops = [next(t, "end") if s is None else t.send(s) for t, s in zip(threads, sent)]
                if all(stop == "end" for stop in stops):
                    break
                if "end" in stops or len({stop is None for stop in stops}) > 1:
                    sys.exit(f"{kernel.name}: not every thread comes to the barrier")
                if stops[0] is None:
                    sent = [None] * 256
                else:
                    sent = [row for warp in range(8) for row in multiplied(stops[warp * 32 : warp * 32 + 32])]


# How each kernel holds operands and results, and the largest numbers with which it is exact.
FORMATS = {
    "simt_fp32": ("f", 4, "f", 15, 15), "simt_int8": ("b", 1, "i", 127, 127), "mma_bf16": ("bf16", 2, "f", 255, 1),
    "mma_tf32": ("f", 4, "f", 1023, 1), "mma_int8": ("b", 1, "i", 127, 127),
}  # fmt: skip


def encoded(letter, values):
    if letter == "bf16":
        return b"".join(struct.pack("<f", value)[2:] for value in values)
    return struct.pack(f"<{len(values)}{letter}", *values)


def proven(kernel, m, n, k):
    letter, _, result, wide, narrow = FORMATS[kernel.name]
    rng = random.Random(m * 10007 + n * 101 + k)
    a = [rng.randint(-wide, wide) for _ in range(m * k)]
    b = [rng.randint(-narrow, narrow) for _ in range(n * k)]
    buffers = [bytearray(encoded(letter, a)), bytearray(encoded(letter, b)), bytearray(b"\xff" * (4 * m * n))]
    launched(kernel, buffers, m, n, k)
    found = struct.unpack(f"<{m * n}{result}", buffers[2])
    for j in range(n):
        right = b[j * k : j * k + k]
        for i in range(m):
            wanted = sum(x * y for x, y in zip(a[i * k : i * k + k], right))
            if found[j * m + i] != wanted:
                sys.exit(f"{kernel.name}, {m} x {n} x {k}: row {i}, column {j} is {found[j * m + i]}, not {wanted}")


def main(folder):
    entries = {}
    for name in ("simt", "mma"):
        entries |= kernels((folder / f"{name}.ptx").read_text())
    if entries.keys() != FORMATS.keys():
        sys.exit(f"kernels: {', '.join(entries)}; known here: {', '.join(FORMATS)}")
    # One element; edges on every side and two steps in k; whole blocks.
    shapes = [(1, 1, 1), (37, 34, 133), (32, 64, 32)]
    for kernel in entries.values():
        for shape in shapes:
            proven(kernel, *shape)
    print(f"{len(entries)} kernels compute {len(shapes)} products each, to the last bit")


main(pathlib.Path(sys.argv[1]))
