"""Drives Chromium over DevTools' pipe: JSON with a zero byte behind it, on descriptors 3 and 4."""

import base64
import json
import os
import re
import select
import shlex
import subprocess
import sys
import time
from pathlib import Path

GPUSEAL, WORK, PAGE = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]).resolve()
WAIT = 20


class Browser:
    """One Chromium with one page."""

    def __init__(self):
        commands, ours = os.pipe()
        self.answers, theirs = os.pipe()
        self.pipe = os.fdopen(ours, "wb", buffering=0)
        flags = [
            "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
            "--disable-background-networking", "--disable-component-update", "--disable-sync",
            "--disable-dev-shm-usage", "--hide-scrollbars", "--remote-debugging-pipe",
            f"--user-data-dir={WORK / 'profile'}", "about:blank",
        ]
        line = f'exec "$@" 3<&{commands} 4>&{theirs}'
        self.log = open(WORK / "chromium.log", "wb")
        self.child = subprocess.Popen(
            ["bash", "-c", line, "chromium", "chromium", *flags],
            pass_fds=(commands, theirs), stdout=self.log, stderr=self.log,
        )
        os.close(commands)
        os.close(theirs)
        self.buffer, self.events, self.count, self.session = b"", [], 0, None
        target = self("Target.createTarget", url="about:blank")["targetId"]
        self.session = self("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network", "Accessibility", "DOM"):
            self(f"{domain}.enable")

    def read(self, deadline):
        """The next message."""
        while b"\0" not in self.buffer:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self.answers], [], [], left)[0]:
                raise SystemExit(f"Chromium said nothing for {WAIT} s")
            part = os.read(self.answers, 1 << 20)
            if not part:
                raise SystemExit("Chromium ended: " + (WORK / "chromium.log").read_text()[-2000:])
            self.buffer += part
        message, self.buffer = self.buffer.split(b"\0", 1)
        return json.loads(message)

    def __call__(self, method, **params):
        """Sends a command and waits for its answer; events are kept."""
        self.count += 1
        message = {"id": self.count, "method": method, "params": params}
        if self.session:
            message["sessionId"] = self.session
        self.pipe.write(json.dumps(message).encode() + b"\0")
        deadline = time.monotonic() + WAIT
        while True:
            answer = self.read(deadline)
            if answer.get("id") == self.count:
                if "error" in answer:
                    raise SystemExit(f"{method}: {answer['error']}")
                return answer["result"]
            self.events.append(answer)

    def js(self, expression):
        """The value of an expression, a promise waited for."""
        answer = self("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True, userGesture=True)
        if "exceptionDetails" in answer:
            raise SystemExit(f"{expression}: {answer['exceptionDetails']}")
        return answer["result"].get("value")

    def key(self, name, code=None, shift=False):
        """Presses a key that writes nothing."""
        numbers = {"Tab": 9, "Enter": 13, "Escape": 27, "ArrowUp": 38, "ArrowDown": 40, " ": 32}
        text = {"Enter": "\r", " ": " "}.get(name, "")
        common = dict(key=name, code=code or name, windowsVirtualKeyCode=numbers[name], modifiers=8 if shift else 0)
        self("Input.dispatchKeyEvent", type="keyDown", text=text, **common)
        self("Input.dispatchKeyEvent", type="keyUp", **common)

    def click(self, selector):
        """Presses the pointer in the middle of an element."""
        box = self.js(
            f"(() => {{ const e = document.querySelector({json.dumps(selector)}); e.scrollIntoView({{block: 'center'}});"
            " const b = e.getBoundingClientRect(); return [b.x + b.width / 2, b.y + b.height / 2]; })()"
        )
        for kind in ("mousePressed", "mouseReleased"):
            self("Input.dispatchMouseEvent", type=kind, x=box[0], y=box[1], button="left", clickCount=1)

    def type(self, field, text):
        """Replaces what stands in a field, letter by letter."""
        self.js(f"(() => {{ const e = document.getElementById({json.dumps(field)}); e.focus(); e.select(); }})()")
        if text:
            for letter in text:
                self("Input.insertText", text=letter)
        else:
            self("Input.dispatchKeyEvent", type="keyDown", key="Delete", code="Delete", windowsVirtualKeyCode=46)
            self("Input.dispatchKeyEvent", type="keyUp", key="Delete", code="Delete", windowsVirtualKeyCode=46)

    def open(self, fragment=""):
        """Loads the page anew."""
        self("Page.navigate", url="about:blank")
        self("Page.navigate", url=PAGE.as_uri() + fragment)
        deadline = time.monotonic() + WAIT
        while not self.js("document.readyState === 'complete' && !!document.getElementById('verdict')?.childElementCount"):
            if time.monotonic() > deadline:
                raise SystemExit("the page did not start")
            time.sleep(0.05)

    def size(self, width, height, phone=False):
        self("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=2 if phone else 1, mobile=phone)

    def scheme(self, name):
        self("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": name}])

    def picture(self, name, whole=True):
        shot = self("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        (WORK / f"{name}.png").write_bytes(base64.b64decode(shot["data"]))

    def close(self):
        self.pipe.close()
        try:
            self.child.wait(10)
        except subprocess.TimeoutExpired:
            self.child.kill()
        self.log.close()


failures = []


def expect(true, message):
    if not true:
        failures.append(message)
        print("FAIL", message)


def program(*args):
    """The answer of the program, in an empty folder and with an empty environment."""
    folder = WORK / "empty"
    folder.mkdir(exist_ok=True)
    environment = {"NO_COLOR": "1", "HOME": str(folder), "GPUSEAL_CACHE_DIR": str(WORK / "cache"), "PATH": os.environ["PATH"]}
    run = subprocess.run([GPUSEAL, *args], cwd=folder, env=environment, capture_output=True, text=True, timeout=60)
    return run.returncode, run.stdout


def shown(browser):
    """What stands on the page."""
    return browser.js("""({
      kind: document.getElementById('verdict').className,
      first: document.querySelector('#verdict .first').textContent,
      verdict: document.getElementById('verdict').textContent,
      rest: document.getElementById('rest').textContent,
      hash: location.hash,
      blocks: Object.fromEntries([...document.querySelectorAll('pre')].filter(p => p.closest('#rest')).map(p => [p.getAttribute('aria-label'), p.textContent])),
    })""")


def plain(text):
    """The program names the only target of a command, the page has none."""
    return text.replace(" of `default`", "").replace(" (target `default`)", "")


def agrees(browser, what):
    """The page says what the program answers to the command that the page shows."""
    page = shown(browser)
    line = shlex.split(page["blocks"]["gpuseal resolve"])
    code, out = program(*line[1:], "--format", "json")
    told = json.loads(out)
    print(f"{what}: {' '.join(line)} -> {page['first']}")
    if code == 0:
        target = told["targets"][0]
        torch = target["torch"]
        expect(page["kind"] == "fits", f"{what}: the page has no answer, the program has")
        expect(page["first"] == f"torch {torch['version']}+{torch['variant']}", f"{what}: {page['first']}, not {torch}")
        floor = f"driver {target['driver']['min']} or newer" if target["driver"]["min"] else "not known"
        for word in (f"CUDA {target['cuda']}", f"Python {target['python']}", floor):
            expect(word in page["verdict"], f"{what}: the verdict lacks {word}")
        index = "" if torch["index"] == "pypi" else " --index-url https://download.pytorch.org/whl/" + torch["variant"]
        version = torch["version"] + (f"+{torch['local']}" if torch["local"] else "")
        expect(page["blocks"]["pip"] == f"pip install torch=={version}{index}", f"{what}: {page['blocks']['pip']}")
        for finding in target["findings"]:
            if "was read as" not in finding["message"]:
                expect(finding["message"] in page["rest"], f"{what}: not said: {finding['message']}")
        lock = shlex.split(page["blocks"]["gpuseal lock"])
        folder = WORK / "empty"
        for file in folder.iterdir():
            file.unlink()
        code, out = program(*lock[1:], "--offline")
        expect(code == 0, f"{what}: lock ends with {code}: {out}")
        theirs = (folder / "Dockerfile").read_text().splitlines()
        ours = page["blocks"]["Dockerfile"].splitlines()
        differ = [(a, b) for a, b in zip(ours, theirs) if a != b]
        expect(len(ours) == len(theirs) and all("lock-digest" in a for a, _ in differ), f"{what}: Dockerfile: {differ}")
    else:
        expect(page["kind"] == {1: "none", 5: "open"}[code], f"{what}: {page['kind']}, the program ends with {code}")
        why = told["explanation"]
        for cure in why["cures"]:
            expect(f"{plain(cure['change'])}, then: {cure['gives']}" in page["rest"], f"{what}: not said: {cure}")
        for reason in why["findings"]:
            expect(plain(reason["message"]) in page["rest"], f"{what}: not said: {reason['message']}")
        for part in why["clash"]:
            expect(plain(part) in page["verdict"], f"{what}: the verdict lacks {plain(part)}")
    return page


CONTRAST = """(() => {
  const parse = (c) => c.match(/[\\d.]+/g).map(Number);
  const behind = (e) => { for (; e; e = e.parentElement) { const c = parse(getComputedStyle(e).backgroundColor); if (c.length < 4 || c[3] > 0) return c; } return [255, 255, 255]; };
  const light = ([r, g, b]) => { const [x, y, z] = [r, g, b].map(v => (v /= 255) <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4); return .2126 * x + .7152 * y + .0722 * z; };
  const low = [];
  let seen = 0;
  for (const e of document.querySelectorAll('body *')) {
    if (!e.offsetParent || ![...e.childNodes].some(n => n.nodeType === 3 && n.textContent.trim())) continue;
    const [a, b] = [light(parse(getComputedStyle(e).color)), light(behind(e))].sort((x, y) => y - x);
    seen++;
    if ((a + .05) / (b + .05) < 4.5) low.push(e.tagName + '.' + e.className + ': ' + e.textContent.slice(0, 30) + ' ' + ((a + .05) / (b + .05)).toFixed(2));
  }
  return [seen, low];
})()"""


def contrast(browser, what):
    seen, low = browser.js(CONTRAST)
    expect(seen > 20 and not low, f"{what}: contrast of {low} among {seen} texts")


def main(browser):
    browser.size(1280, 900)
    browser.scheme("light")
    browser.open()
    page = shown(browser)
    expect(page["first"] == "Choose a GPU", f"the first thing said is {page['first']}")
    expect(not browser.js("document.getElementById('form').hidden"), "the form is hidden")
    expect(browser.js("document.querySelector('noscript').offsetHeight") == 0, "noscript is shown")
    browser.picture("empty")

    # By keyboard alone: letters, arrows, Enter; a branch typed; a select walked.
    for _ in range(12):
        browser.key("Tab")
        if browser.js("document.activeElement.id") == "gpu":
            break
    for letter in "h100":
        browser("Input.insertText", text=letter)
    expect(browser.js("document.getElementById('gpu').getAttribute('aria-expanded')") == "true", "no list opens")
    browser.picture("list", whole=False)
    browser.key("ArrowDown")
    expect(browser.js("!!document.getElementById(document.activeElement.getAttribute('aria-activedescendant'))?.matches('[aria-selected=true]')"), "no option is active")
    contrast(browser, "an open list")
    browser.key("Enter")
    expect(browser.js("document.getElementById('gpu-list').hidden"), "the list stays open")
    browser.key("Tab")
    expect(browser.js("document.activeElement.id") == "driver", "Tab leads from GPU elsewhere than to the driver")
    for letter in "535":
        browser("Input.insertText", text=letter)
    browser.key("Enter")
    browser.key("Tab")
    for _ in range(20):
        if browser.js("document.activeElement.value") == "3.12":
            break
        browser.key("ArrowDown")
    page = agrees(browser, "H100 and 535 by keyboard")
    expect("python=3.12" in page["hash"] and "driver=535" in page["hash"] and "gpu=h100" in page["hash"], f"the link is {page['hash']}")
    contrast(browser, "an answer")
    browser.picture("desktop")

    # The link gives the answer back.
    browser.open(page["hash"])
    again = shown(browser)
    expect((again["verdict"], again["rest"]) == (page["verdict"], page["rest"]), "the link gives another answer")

    # What can be reached by Tab: fields, details, every block and its button.
    browser.js("document.querySelectorAll('details').forEach(d => d.open = true)")
    wanted = browser.js("[...document.querySelectorAll('a[href], input, select, button, summary, pre')].filter(e => e.offsetParent).length")
    browser.js("document.activeElement.blur()")
    seen = set()
    for _ in range(wanted + 5):
        browser.key("Tab")
        seen.add(browser.js("[...document.querySelectorAll('a[href], input, select, button, summary, pre')].indexOf(document.activeElement)"))
    expect(len(seen - {-1}) == wanted, f"Tab reaches {len(seen - {-1})} of {wanted}")

    # Every field and button has a name for those who hear the page.
    tree = browser("Accessibility.getFullAXTree")["nodes"]
    roles = {"combobox", "button", "link", "textbox", "listbox"}
    mute = [n["role"]["value"] for n in tree if not n.get("ignored") and n.get("role", {}).get("value") in roles and not n.get("name", {}).get("value")]
    expect(not mute, f"without a name: {mute}")
    names = {n["name"]["value"] for n in tree if n.get("role", {}).get("value") == "combobox"}
    expect({"GPU", "Driver", "Python", "Platform"} <= names, f"fields are called {names}")

    # Copied is what stands there.
    browser.session, session = None, browser.session
    browser("Browser.grantPermissions", permissions=["clipboardReadWrite", "clipboardSanitizedWrite"])
    browser.session = session
    for label in ("gpuseal lock", "pip", "Dockerfile"):
        browser.click(f"button[aria-label='Copy: {label}']")
        deadline = time.monotonic() + 5
        while browser.js(f"document.querySelector(\"button[aria-label='Copy: {label}']\").textContent") == "Copy" and time.monotonic() < deadline:
            time.sleep(0.05)
        copied = browser.js("navigator.clipboard.readText()")
        expect(copied == page["blocks"][label], f"copied for {label}: {copied!r}")

    # By pointer and by link, one of each kind.
    browser.open()
    browser.click("#gpu")
    browser.click("#gpu-list [role=option]:nth-child(3)")
    agrees(browser, "the third of the list by pointer")
    for what, fragment, kind in [
        ("RTX 5090 and an exact driver", "#gpu=rtx5090&driver=570.86.16&python=3.12", "fits"),
        ("RTX 5090 and an older one", "#gpu=rtx5090&driver=550", "none"),
        ("V100 and the newest driver", "#gpu=v100&driver=615", "none"),
        ("V100 and no driver", "#gpu=v100", "fits"),
        ("GB10", "#gpu=gb10&driver=580.95.05", None),
        ("a capability on Arm", "#gpu=9.0&platform=linux/arm64", "fits"),
        ("K80", "#gpu=k80&driver=470", "fits"),
        ("GTX 1080 Ti with Python 3.14", "#gpu=gtx1080ti&driver=535.161.8&python=3.14", "fits"),
    ]:
        browser.open(fragment)
        page = agrees(browser, what)
        expect(kind in (None, page["kind"]), f"{what}: {page['kind']}")
        contrast(browser, what)
        if page["kind"] == "none":
            browser.picture("nothing-fits")

    # What the page cannot know it calls unknown.
    for fragment, word in [("#gpu=h999", "h999"), ("#gpu=h100&driver=536.23", "536"), ("#gpu=h100&driver=%3E%3D535", "gpuseal")]:
        browser.open(fragment)
        page = shown(browser)
        expect(page["first"] == "Not known" and word in page["verdict"], f"{fragment}: {page['verdict']}")
    hostile = "#gpu=%3Cimg%20src%3Dx%20onerror%3Dalert(1)%3E&driver=%3Cb%3E"
    browser.open(hostile)
    expect(browser.js("document.querySelectorAll('img, #answer b').length") == 0, "markup of the link is run")

    # On a phone, and by night.
    for scheme in ("light", "dark"):
        browser.scheme(scheme)
        for name, width, height, phone in [("phone", 360, 740, True), ("desktop", 1280, 900, False)]:
            browser.size(width, height, phone)
            for answer, fragment in [("fits", "#gpu=h100&driver=535&python=3.12"), ("none", "#gpu=rtx5090&driver=550")]:
                browser.open(fragment)
                browser.js("document.querySelectorAll('details').forEach(d => d.open = true)")
                wide = browser.js("[document.documentElement.scrollWidth, innerWidth]")
                expect(wide[0] <= width, f"{name}: {wide[0]} wide on {width}")
                contrast(browser, f"{name}, {scheme}, {answer}")
                browser.picture(f"{name}-{scheme}-{answer}")

    # Without JavaScript there is a text, and no dead form.
    browser.size(800, 700)
    browser("Emulation.setScriptExecutionDisabled", value=True)
    browser("Page.navigate", url="about:blank")
    browser("Page.navigate", url=PAGE.as_uri())
    time.sleep(1)
    browser.picture("no-script", whole=False)
    root = browser("DOM.getDocument")["root"]["nodeId"]
    heading = browser("DOM.querySelector", nodeId=root, selector="noscript h2")["nodeId"]
    expect(heading and browser("DOM.getBoxModel", nodeId=heading)["model"]["height"] > 0, "noscript is not shown")

    for event in browser.events:
        method, params = event["method"], event.get("params", {})
        if method == "Network.requestWillBeSent":
            url = params["request"]["url"]
            expect(url.split("#")[0] == PAGE.as_uri() or url == "about:blank", f"asked for {url}")
        if method == "Runtime.exceptionThrown":
            expect(False, f"exception: {params['exceptionDetails']}")
        if method == "Runtime.consoleAPICalled" and params["type"] in ("error", "warning"):
            expect(False, f"console: {params['args']}")
        if method == "Log.entryAdded" and params["entry"]["level"] in ("error", "warning"):
            expect(False, f"log: {params['entry']}")


browser = Browser()
try:
    main(browser)
finally:
    browser.close()
print(f"{len(failures)} failed")
sys.exit(1 if failures else 0)
