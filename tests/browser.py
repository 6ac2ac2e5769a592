"""A headless Chromium, driven through its DevTools protocol: what a page shows, asks for and complains about.

It is looked for in DCFM_BROWSER, in ``.venv/browser`` (``make browser`` puts one there), then by the usual names.
"""

import itertools
import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from websockets.sync.client import ClientConnection, connect

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome", "chrome-headless-shell")
PHONE = {"width": 390, "height": 844, "deviceScaleFactor": 2, "mobile": True}
OPTIONS = ("--headless", "--no-sandbox", "--disable-gpu", "--mute-audio", "--remote-debugging-port=0")


def find() -> str | None:
    """The path of a browser, or ``None``."""
    given = os.environ.get("DCFM_BROWSER")
    own = Path(__file__).parents[1] / ".venv/browser/chromium"
    return given or (str(own) if own.is_file() else next(filter(None, map(shutil.which, NAMES)), None))


class Page:
    """An open page; ``events`` holds what it told."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket, self.numbers, self.session = socket, itertools.count(1), ""
        self.events: list[dict[str, Any]] = []

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """A command's result."""
        number = next(self.numbers)
        where = {"sessionId": self.session} if self.session else {}
        self.socket.send(json.dumps({"id": number, "method": method, "params": parameters, **where}))
        while True:
            answer = json.loads(self.socket.recv(timeout=60))
            if answer.get("id") == number:
                assert "error" not in answer, answer
                return answer["result"]
            self.events.append(answer)

    def run(self, script: str) -> Any:
        """The value of a JavaScript expression, waited for where it is a promise."""
        result = self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    def open(self, url: str) -> None:
        """Go there as a phone without network, until everything is loaded."""
        for domain in ("Page", "Network", "Runtime", "Log"):
            self.call(f"{domain}.enable")
        self.call("Network.emulateNetworkConditions", offline=True, latency=0, downloadThroughput=0, uploadThroughput=0)
        self.call("Emulation.setDeviceMetricsOverride", **PHONE)
        self.call("Page.navigate", url=url)
        self.run("new Promise(f => document.readyState == 'complete' ? f() : addEventListener('load', () => f()))")

    def requests(self) -> list[str]:
        """Addresses that the page asked for, but for those within itself."""
        sent = [e["params"]["request"]["url"] for e in self.events if e["method"] == "Network.requestWillBeSent"]
        return [url for url in sent if not url.startswith("data:")]

    def complaints(self) -> list[Any]:
        """Errors and warnings of console and log."""
        found = []
        for event in self.events:
            told = event["params"]
            if event["method"] == "Runtime.exceptionThrown":
                found.append(told)
            elif event["method"] == "Log.entryAdded" and told["entry"]["level"] in ("error", "warning"):
                found.append(told["entry"])
            elif event["method"] == "Runtime.consoleAPICalled" and told["type"] in ("error", "warning", "assert"):
                found.append(told)
        return found


@contextmanager
def page(browser: str, folder: Path) -> Iterator[Page]:
    """A new page in a new browser whose profile is ``folder``."""
    command = [browser, *OPTIONS, f"--user-data-dir={folder}", "about:blank"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            with connect(_address(folder, process), max_size=None) as socket:
                found = Page(socket)
                target = found.call("Target.createTarget", url="about:blank")["targetId"]
                found.session = found.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
                yield found
        finally:
            process.terminate()
            process.wait(timeout=30)


def _address(folder: Path, process: subprocess.Popen[bytes]) -> str:
    told = folder / "DevToolsActivePort"
    for _ in range(600):
        assert process.poll() is None, f"the browser ended with status {process.returncode}"
        if told.is_file() and len(lines := told.read_text().split()) == 2:
            return f"ws://127.0.0.1:{lines[0]}{lines[1]}"
        time.sleep(0.1)
    raise AssertionError("the browser did not start within a minute")
