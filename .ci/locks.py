"""What .ci/locks looks at, without a word of gpuseal's own code: pages by html.parser, tags by packaging.

Usage: locks.py ping INDEX | pages INDEX LOCK... | sizes LOCK... | closures LOCK... | table LOCK... | uv-flags LOCK |
       proxy PORT_FILE BYTES_FILE | counted BYTES_FILE FOLDER | times FILE
"""

import concurrent.futures
import html.parser
import io
import pathlib
import re
import signal
import socket
import socketserver
import ssl
import statistics
import sys
import threading
import time
import tomllib
import urllib.error
import urllib.parse
import urllib.request
import zipfile

MACHINES = {"linux/amd64": "x86_64", "linux/arm64": "aarch64"}
# The generation of CUDA that every locked release stands for.
GENERATIONS = {"cu117", "cu121", "cu124", "cu126", "cu128", "cu130", "cu132"}
BAR = 0.01
TLS = ssl.create_default_context()


def fetch(url, **headers):
    """Body and headers of an address; asked again where that may help."""
    for wait in (1, 3, 9, None):
        try:
            request = urllib.request.Request(url, headers={"User-Agent": "gpuseal-ci", **headers})
            with urllib.request.urlopen(request, timeout=60, context=TLS) as answer:
                return answer.read(64 << 20), answer.headers
        except urllib.error.HTTPError as error:
            if wait is None or error.code not in (429, 500, 502, 503, 504):
                raise
        except OSError:
            if wait is None:
                raise
        time.sleep(wait)


def page_url(index, name):
    return f"{index.rstrip('/')}/{name}/"


class Links(html.parser.HTMLParser):
    """The files of a page: name -> (address, sha256, range of Pythons)."""

    def __init__(self, base):
        super().__init__()
        self.base, self.files = base, {}

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        if tag == "a" and given.get("href"):
            url, _, fragment = urllib.parse.urljoin(self.base, given["href"]).partition("#")
            name = urllib.parse.unquote(url.rsplit("/", 1)[1])
            digest = re.fullmatch(r"sha256=([0-9a-f]{64})", fragment)
            self.files[name] = (url, digest and digest[1], given.get("data-requires-python"))


def page(index, name):
    base = page_url(index, name)
    links = Links(base)
    links.feed(fetch(base, Accept="text/html")[0].decode())
    return links.files


def size(url):
    """As the server of the file has it: of a part of one byte."""
    _, headers = fetch(url, Range="bytes=0-0")
    return int(headers["Content-Range"].rsplit("/", 1)[1])


class Remote(io.RawIOBase):
    """A file of the index, read in parts: what zipfile needs of it and no more."""

    def __init__(self, url):
        self.url, self.at, self.size = url, 0, size(url)

    def readable(self):
        return True

    def seekable(self):
        return True

    def seek(self, offset, whence=io.SEEK_SET):
        self.at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self.at, io.SEEK_END: self.size}[whence]
        return self.at

    def readinto(self, buffer):
        end = min(self.at + len(buffer), self.size)
        if self.at >= end:
            return 0
        body, _ = fetch(self.url, Range=f"bytes={self.at}-{end - 1}")
        buffer[: len(body)] = body
        self.at += len(body)
        return len(body)


def opened(url):
    return zipfile.ZipFile(io.BufferedReader(Remote(url), 1 << 16))


def metadata(url, member):
    with opened(url) as wheel:
        return wheel.read(member).decode()


def contents(url):
    """Bytes of all members of a wheel, and the libraries among them that tell a copy of CUDA."""
    with opened(url) as wheel:
        members = wheel.infolist()
    found = (re.search(r"(?<!/stubs)/(lib(?:cuda|cudart|cublas|cudnn))(?:-[^/.]*)?\.so(?:\.(\d+))?(?:\.[\d.]+)?$", m.filename) for m in members)
    libraries = {f"{each[1]}.so" + (f".{each[2]}" if each[2] else "") for each in found if each}
    return sum(member.file_size for member in members), sorted(libraries)


def many(work, items):
    items = sorted(items)
    with concurrent.futures.ThreadPoolExecutor(12) as pool:
        return dict(zip(items, pool.map(work, items)))


class Lock:
    def __init__(self, path):
        self.path = pathlib.Path(path)
        text = tomllib.loads(self.path.read_text())
        (self.target,) = text["target"]
        self.packages = self.target["package"]
        self.roots = {index["name"]: index.get("files") for index in text["index"]}
        self.name = self.path.parent.name

    def url(self, package):
        return self.roots[package["index"]].rstrip("/") + "/" + urllib.parse.quote(package["path"].lstrip("/"), safe="/%+")

    def supported(self):
        """Tags that pip would accept there, by packaging for an interpreter that is not this one."""
        from packaging import tags

        major, minor = map(int, self.target["python"].split("."))
        glibc = int(self.target["glibc"].split(".")[1])
        machine = MACHINES[self.target["platform"]]
        oldest, old = (5, {17: "2014", 12: "2010", 5: "1"}) if machine == "x86_64" else (17, {17: "2014"})
        platforms = []
        for each in range(glibc, oldest - 1, -1):
            platforms.append(f"manylinux_2_{each}_{machine}")
            if each in old:
                platforms.append(f"manylinux{old[each]}_{machine}")
        platforms.append(f"linux_{machine}")
        interpreter = f"cp{major}{minor}"
        return {
            *tags.cpython_tags((major, minor), [interpreter], platforms),
            *tags.compatible_tags((major, minor), interpreter, platforms),
        }


def pages(index, paths):
    """Names, addresses, digests, sizes and tags of every file of every lock."""
    from packaging import specifiers, utils, version

    locks = [Lock(path) for path in paths]
    names = {package["name"] for lock in locks for package in lock.packages}
    known = many(lambda name: page(index, name), names)
    sizes = many(size, {known[p["name"]][p["file"]][0] for lock in locks for p in lock.packages if p.get("file") in known[p["name"]]})
    wrong, files = [], set()
    for lock in locks:
        supported = lock.supported()
        for package in lock.packages:
            said = f"{lock.name}: {package['name']} {package.get('version')}"
            if package.get("file") not in known[package["name"]]:
                wrong.append(f"{said}: the page has no file {package.get('file')}")
                continue
            url, digest, pythons = known[package["name"]][package["file"]]
            files.add(package["file"])
            for what, ours, theirs in [
                ("index", package["index"], "pypi"),
                ("hash", package["hash"], f"sha256:{digest}"),
                ("origin", package["origin"], "index"),
                ("address", lock.url(package), url),
                ("size", package["size"], sizes[url]),
            ]:
                if ours != theirs:
                    wrong.append(f"{said}: {what} is {ours} in the lock, {theirs} in the index")
            if pythons and not specifiers.SpecifierSet(pythons).contains(lock.target["python"] + ".0"):
                wrong.append(f"{said}: it is for Python {pythons}")
            if not package["file"].endswith(".whl"):
                print(f"note: {said}: {package['file']} is a source archive")
                continue
            name, number, _, tags = utils.parse_wheel_filename(package["file"])
            if (name, number) != (package["name"], version.Version(package["version"])):
                wrong.append(f"{said}: its file is {package['file']}")
            if not tags & supported:
                wrong.append(f"{said}: {package['file']} does not install on Python {lock.target['python']}, {lock.target['platform']}, glibc {lock.target['glibc']}")
    variants = {lock.target["variant"] for lock in locks}
    if variants != GENERATIONS:
        wrong.append(f"the locks stand for {sorted(variants)}, and not for {sorted(GENERATIONS)}")
    print(f"{len(locks)} locks, {len(files)} files of {len(names)} packages: name, address, digest, size, Python and tags")
    return wrong


def sizes(paths):
    """Unpacked sizes and telling libraries, against Python's zipfile; nothing may be unknown here."""
    locks = [Lock(path) for path in paths]
    wheels = {lock.url(p): p for lock in locks for p in lock.packages if p["file"].endswith(".whl")}
    known = many(contents, wheels)
    wrong = []
    for url, package in wheels.items():
        ours, theirs = (package.get("unpacked"), package.get("libraries", [])), known[url]
        if ours != theirs:
            wrong.append(f"{package['file']}: the lock has {ours}, zipfile {theirs}")
    telling = sum(1 for package in wheels.values() if package.get("libraries"))
    print(f"{len(wheels)} wheels: {sum(size for size, _ in known.values()) / 1e9:.1f} GB unpacked, {telling} with libraries that tell a copy")
    return wrong


def uv_flags(path):
    """Python and platform of a lock in uv's words."""
    target = Lock(path).target
    glibc = min(int(target["glibc"].split(".")[1]), 40)
    print(f"--python-version {target['python']} --python-platform {MACHINES[target['platform']]}-manylinux_2_{glibc}")
    return []


def torch_pins(lock):
    """What torch's own metadata asks for there, read by zipfile out of its wheel: name -> specifier."""
    from packaging import requirements, utils

    (torch,) = [package for package in lock.packages if package["name"] == "torch"]
    text = metadata(lock.url(torch), f"torch-{torch['version']}.dist-info/METADATA")
    python = lock.target["python"]
    where = {
        "python_version": python, "python_full_version": python + ".0", "extra": "",
        "sys_platform": "linux", "platform_system": "Linux", "os_name": "posix",
        "platform_machine": MACHINES[lock.target["platform"]],
        "implementation_name": "cpython", "platform_python_implementation": "CPython",
    }
    pins = {}
    for line in re.findall(r"(?m)^Requires-Dist: (.+)$", text.split("\n\n")[0]):
        asked = requirements.Requirement(line.strip())
        if asked.marker is None or asked.marker.evaluate(where):
            pins[utils.canonicalize_name(asked.name)] = asked.specifier
    return pins


def closures(paths):
    """The same names as uv's, the same versions of what torch pins; other differences are named."""
    wrong = []
    for lock in map(Lock, paths):
        theirs = dict(re.findall(r"(?m)^([a-z0-9.-]+)==(\S+)", (lock.path.parent / "uv.txt").read_text()))
        ours = {package["name"]: package["version"] for package in lock.packages}
        pins = torch_pins(lock)
        for name in sorted(ours.keys() ^ theirs.keys()):
            wrong.append(f"{lock.name}: {name} is in {'the lock' if name in ours else 'uv’s closure'} only")
        differ = {name for name in ours.keys() & theirs.keys() if ours[name] != theirs[name]}
        for name in sorted(differ):
            said = f"{lock.name}: {name} {ours[name]}, and uv has {theirs[name]}"
            pinned = any(pin.operator in ("==", "===") for pin in pins.get(name, ()))
            if pinned or name in ("torch", "torchvision"):
                wrong.append(said)
            else:
                print(f"note: {said}")
        for name, asked in pins.items():
            if name not in ours or not asked.contains(ours[name], prereleases=True):
                wrong.append(f"{lock.name}: torch asks for {name}{asked}, the lock has {ours.get(name)}")
        print(f"{lock.name}: {len(ours)} packages, {len(ours) - len(differ)} as uv has them, {len(pins)} asked for by torch itself")
    return wrong


UNITS = {"B": 1, "kB": 1e3, "MB": 1e6, "GB": 1e9}


def summary(folder):
    """Requests, bytes and seconds, as the summary has them; and each request, as -v has it."""
    text = (folder / "log").read_text()
    amount = r"([\d.]+) ([kMG]?B)"
    told = re.search(rf"locked \d+ files? of {amount}: (\d+) requests?, {amount} fetched, ([\d.]+) s", text)
    if not told:
        sys.exit(f"{folder}: no summary:\n{text}")
    one_by_one = re.findall(rf"(?m)^GET \S+ \S+ {amount} in \d+ ms$", text)
    fetched = float(told[4]) * UNITS[told[5]]
    return int(told[3]), fetched, float(told[6]), [float(n) * UNITS[unit] for n, unit in one_by_one]


def table(paths):
    wrong, rows = [], []
    for lock in sorted(map(Lock, paths), key=lambda lock: [*map(int, lock.target["torch"].split(".")), lock.target["platform"]]):
        requests, fetched, seconds, each = summary(lock.path.parent)
        wheels = sum(package["size"] for package in lock.packages)
        rows.append((f"lock {lock.target['torch']}", lock.target["variant"], lock.target["platform"], lock.target["python"], len(lock.packages),
                     f"{wheels / 1e6:.1f} MB", f"{fetched / 1e6:.2f} MB", f"{100 * fetched / wheels:.3f} %", requests, f"{seconds:.1f}"))
        if fetched > BAR * wheels:
            wrong.append(f"{lock.name}: {fetched:.0f} bytes were fetched for {wheels} bytes of wheels")
        # Each amount is rounded to three digits or so.
        if len(each) != requests or abs(sum(each) - fetched) > 0.06 * fetched + 1000:
            wrong.append(f"{lock.name}: the summary has {requests} requests of {fetched:.0f} bytes, -v shows {len(each)} of {sum(each):.0f}")
    show(("torch", "build", "platform", "Python", "files", "wheels", "fetched", "share", "requests", "s"), rows)
    return wrong


def show(head, rows):
    rows = [tuple(map(str, row)) for row in (head, *rows)]
    widths = [max(map(len, column)) for column in zip(*rows)]
    for row in rows:
        first, *others = zip(row, widths)
        print("  ".join([first[0].ljust(first[1]), *(text.rjust(width) for text, width in others)]))


def times(path):
    ours, theirs = [], []
    for line in pathlib.Path(path).read_text().splitlines():
        start, between, end = map(float, line.split())
        ours.append(between - start)
        theirs.append(end - between)
    show(("", *(f"pair {n + 1}" for n in range(len(ours))), "median"), [
        (name, *(f"{taken:.2f} s" for taken in taken_by), f"{statistics.median(taken_by):.2f} s")
        for name, taken_by in (("gpuseal lock", ours), ("uv pip compile", theirs))
    ])
    ratio = statistics.median(ours) / statistics.median(theirs)
    print(f"ratio of the medians {ratio:.2f}, bar 0.50: {'held' if ratio <= 0.5 else 'MISSED (noted, not enforced)'}")
    return []


def proxy(port_file, bytes_file):
    """Forwards CONNECT and counts what comes back, TLS and headers included; tells when it is ended."""
    total, held = 0, threading.Lock()

    class Tunnel(socketserver.StreamRequestHandler):
        timeout = 120

        def handle(self):
            method, where, _ = self.rfile.readline(4096).decode("ascii", "replace").split()
            while self.rfile.readline(4096).strip():
                pass
            if method != "CONNECT":
                self.wfile.write(b"HTTP/1.1 405 Only CONNECT\r\n\r\n")
                return
            host, _, port = where.rpartition(":")
            with socket.create_connection((host, int(port)), 30) as server:
                self.wfile.write(b"HTTP/1.1 200 Connected\r\n\r\n")
                up = threading.Thread(target=self.pump, args=(self.connection, server, False), daemon=True)
                up.start()
                self.pump(server, self.connection, True)
                up.join(5)

        @staticmethod
        def pump(source, sink, counted):
            nonlocal total
            try:
                while piece := source.recv(1 << 16):
                    if counted:
                        with held:
                            total += len(piece)
                    sink.sendall(piece)
            except OSError:
                pass
            try:
                sink.shutdown(socket.SHUT_WR)
            except OSError:
                pass

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True

    def told(*_):
        pathlib.Path(bytes_file).write_text(str(total))
        sys.exit(0)

    signal.signal(signal.SIGTERM, told)
    with Server(("127.0.0.1", 0), Tunnel) as server:
        pathlib.Path(port_file).write_text(str(server.server_address[1]))
        server.serve_forever()


def counted(bytes_file, folder):
    lock = Lock(pathlib.Path(folder) / "gpuseal.lock")
    wheels = sum(package["size"] for package in lock.packages)
    seen = int(pathlib.Path(bytes_file).read_text())
    _, fetched, _, _ = summary(lock.path.parent)
    print(f"{seen / 1e6:.2f} MB on the wire with TLS and headers, {fetched / 1e6:.2f} MB by the summary: {100 * seen / wheels:.3f} % of the wheels")
    wrong = []
    if seen > BAR * wheels:
        wrong.append("that is more than one per cent")
    if seen < 0.97 * fetched:
        wrong.append("the program did not ask through the proxy it was told of")
    return wrong


def main(what, *given):
    if what == "ping":
        fetch(page_url(given[0], "filelock"))
        return []
    if what == "pages":
        return pages(given[0], given[1:])
    if what in ("sizes", "closures", "table"):
        return {"sizes": sizes, "closures": closures, "table": table}[what](given)
    return {"uv-flags": uv_flags, "proxy": proxy, "counted": counted, "times": times}[what](*given)


if __name__ == "__main__":
    found = main(*sys.argv[1:])
    for line in found:
        print(f"wrong: {line}")
    sys.exit(1 if found else 0)
