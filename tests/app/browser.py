"""A headless Chromium for tests, driven with the standard library alone over its debugging pipe.

The pipe (file descriptors 3 and 4 of the browser, JSON messages ended by a zero byte) opens no
port, so nothing else on the machine can steer the browser.
"""

import base64
import fcntl
import json
import os
import select
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-extensions",
    "--disable-sync",
    "--no-proxy-server",
    # Every other name is unknown, so a page that needs the network fails here as it would without.
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost",
    "--remote-debugging-pipe",
)
# Puts the two ends of the pipe where Chromium expects them, in the process that becomes Chromium.
LAUNCH = (
    "import os, sys\n"
    "os.dup2(int(sys.argv[1]), 3)\n"
    "os.dup2(int(sys.argv[2]), 4)\n"
    "os.execv(sys.argv[3], sys.argv[3:])\n"
)
FIRST_FREE_DESCRIPTOR = 10  # so that neither end is 3 or 4 and gets overwritten by the other

Message = dict[str, Any]


def chromium() -> str | None:
    """The path of an installed Chromium, or None."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


class PageError(Exception):
    """The page threw an error, or Chromium refused a command."""


class Browser:
    """One Chromium with one page; leaving the `with` block ends it and removes its profile."""

    def __init__(self, *, timeout_s: float = 20.0, width: int = 1440, height: int = 900) -> None:
        self.requests: list[str] = []
        self.problems: list[str] = []
        self._headers: dict[str, str] = {}
        self._timeout_s = timeout_s
        self._size = (width, height)
        self._last_id = 0
        self._unread = b""
        self._answers: dict[int, Message] = {}
        self._loaded = False
        self._session = ""

    def __enter__(self) -> Self:
        path = chromium()
        if path is None:
            raise FileNotFoundError(f"none of {', '.join(NAMES)} is installed")
        self._profile = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        self._start(path)
        target = self._call("Target.createTarget", {"url": "about:blank"}, session="")
        attach = {"targetId": target["targetId"], "flatten": True}
        self._session = self._call("Target.attachToTarget", attach, session="")["sessionId"]
        self._watch(self._session)
        self._call("Page.enable")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        os.close(self._to_browser)  # Chromium ends by itself when its pipe closes
        try:
            self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        os.close(self._from_browser)
        self._profile.cleanup()

    # ------------------------------------------------------------------ what a test does with it

    def navigate(self, url: str) -> None:
        """Opens an address and waits until the page has loaded."""
        self._loaded = False
        answer = self._call("Page.navigate", {"url": url})
        if "errorText" in answer:
            raise PageError(f"{url}: {answer['errorText']}")
        self._read_until(lambda: self._loaded, f"loading {url}")

    def evaluate(self, expression: str) -> Any:
        """The value of a JavaScript expression in the page; a promise is waited for."""
        answer = self._call(
            "Runtime.evaluate",
            {"expression": expression, "awaitPromise": True, "returnByValue": True},
        )
        if details := answer.get("exceptionDetails"):
            raise PageError(_exception_text(details))
        return answer["result"].get("value")

    def wait_for(self, expression: str) -> Any:
        """Repeats an expression until its value is true, and answers that value."""
        deadline = time.monotonic() + self._timeout_s
        while not (value := self.evaluate(expression)):
            if time.monotonic() > deadline:
                raise TimeoutError(f"still not true: {expression}\n{self.problems}")
            time.sleep(0.05)
        return value

    def click(self, selector: str) -> None:
        """Presses and releases the left button in the middle of the first match."""
        x, y = self.evaluate(
            f"(() => {{ const e = document.querySelector({json.dumps(selector)});"
            " e.scrollIntoView({block: 'nearest', inline: 'nearest'});"
            " const b = e.getBoundingClientRect();"
            " return [b.x + b.width / 2, b.y + b.height / 2] })()"
        )
        for kind in ("mouseMoved", "mousePressed", "mouseReleased"):
            button = {"type": kind, "x": x, "y": y, "button": "left", "clickCount": 1}
            self._call("Input.dispatchMouseEvent", button)

    def insert(self, text: str) -> None:
        """Puts text where the cursor is, as a paste would."""
        self._call("Input.insertText", {"text": text})

    def sent_header(self, name: str) -> str | None:
        """The value of a request header when it was last sent, or None if it never was."""
        return self._headers.get(name.lower())

    def colour_scheme(self, name: str) -> None:
        """Makes the page believe that the reader prefers "light" or "dark"."""
        feature = {"name": "prefers-color-scheme", "value": name}
        self._call("Emulation.setEmulatedMedia", {"features": [feature]})

    def screenshot(self, path: Path) -> None:
        """Saves what the page looks like as a PNG."""
        answer = self._call("Page.captureScreenshot", {"format": "png"})
        path.write_bytes(base64.b64decode(answer["data"]))

    # ------------------------------------------------------------------ the pipe

    def _start(self, path: str) -> None:
        read_by_browser, to_browser = os.pipe()
        from_browser, written_by_browser = os.pipe()
        ends = [_high(end) for end in (read_by_browser, written_by_browser)]
        size = f"--window-size={self._size[0]},{self._size[1]}"
        profile = f"--user-data-dir={self._profile.name}"
        self._process = subprocess.Popen(
            [sys.executable, "-c", LAUNCH, *map(str, ends), path, *FLAGS, size, profile],
            pass_fds=ends,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for end in ends:
            os.close(end)
        self._to_browser, self._from_browser = to_browser, from_browser

    def _watch(self, session: str) -> None:
        """Listens to one page or worker, and to the workers that it will start."""
        follow = {"autoAttach": True, "waitForDebuggerOnStart": True, "flatten": True}
        for method, parameters in (
            ("Network.enable", {}),
            ("Runtime.enable", {}),
            ("Log.enable", {}),
            ("Target.setAutoAttach", follow),
            # A worker is held until here, or its first requests would go unseen.
            ("Runtime.runIfWaitingForDebugger", {}),
        ):
            self._send(method, parameters, session)

    def _call(
        self, method: str, parameters: Message | None = None, session: str | None = None
    ) -> Any:
        number = self._send(method, parameters or {}, self._session if session is None else session)
        self._read_until(lambda: number in self._answers, method)
        answer = self._answers.pop(number)
        if "error" in answer:
            raise PageError(f"{method}: {answer['error']['message']}")
        return answer["result"]

    def _send(self, method: str, parameters: Message, session: str) -> int:
        self._last_id += 1
        message: Message = {"id": self._last_id, "method": method, "params": parameters}
        if session:
            message["sessionId"] = session
        unsent = json.dumps(message).encode() + b"\0"
        while unsent:
            unsent = unsent[os.write(self._to_browser, unsent) :]
        return self._last_id

    def _read_until(self, done: Callable[[], bool], purpose: str) -> None:
        deadline = time.monotonic() + self._timeout_s
        while not done():
            left_s = max(0.0, deadline - time.monotonic())
            if not select.select([self._from_browser], [], [], left_s)[0]:
                raise TimeoutError(f"Chromium gave no answer: {purpose}")
            chunk = os.read(self._from_browser, 1 << 20)
            if not chunk:
                raise PageError(f"Chromium has ended: {purpose}")
            *messages, self._unread = (self._unread + chunk).split(b"\0")
            for message in messages:
                self._take(json.loads(message))

    def _take(self, message: Message) -> None:
        if "id" in message:
            self._answers[message["id"]] = message
            return
        parameters = message["params"]
        match message["method"]:
            case "Target.attachedToTarget" if self._session:
                self._watch(parameters["sessionId"])
            case "Page.loadEventFired":
                self._loaded = True
            case "Network.requestWillBeSent":
                self._take_request(parameters["request"])
            case "Network.webSocketCreated":
                self.requests.append(parameters["url"])
            case "Runtime.exceptionThrown":
                self.problems.append(_exception_text(parameters["exceptionDetails"]))
            case "Runtime.consoleAPICalled" if parameters["type"] in {"error", "assert"}:
                self.problems.append(_console_text(parameters["args"]))
            # A broken content security policy is reported here too.
            case "Log.entryAdded" if parameters["entry"]["level"] == "error":
                entry = parameters["entry"]
                self.problems.append(f"{entry['text']} {entry.get('url', '')}".strip())

    def _take_request(self, request: Message) -> None:
        self.requests.append(request["url"])
        self._headers |= {name.lower(): value for name, value in request["headers"].items()}


def _high(descriptor: int) -> int:
    moved = fcntl.fcntl(descriptor, fcntl.F_DUPFD, FIRST_FREE_DESCRIPTOR)
    os.close(descriptor)
    return moved


def _exception_text(details: Message) -> str:
    text = details.get("exception", {}).get("description") or details["text"]
    return str(text)


def _console_text(arguments: list[Message]) -> str:
    return " ".join(str(item.get("value", item.get("description", ""))) for item in arguments)
