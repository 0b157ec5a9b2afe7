"""A Chromium without a window, driven over its debugging socket."""

import base64
import json
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from websockets.sync.client import ClientConnection, connect

NAMES = ("chromium", "chromium-browser", "google-chrome")
_SOFTWARE = ("--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader")
_START_S = 60.0
_LARGEST_SHOT = 64 * 2**20


def browser() -> str | None:
    """Path of a browser, None where there is none."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


class Page:
    """One page, by the Chrome DevTools protocol."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket, self._count = socket, 0

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        self._count += 1
        self._socket.send(json.dumps({"id": self._count, "method": method, "params": parameters}))
        while True:
            said = json.loads(self._socket.recv(timeout=_START_S))
            if said.get("id") == self._count:
                return dict(said["result"])

    def picture(self) -> np.ndarray:
        """What the page looks like, RGB (H, W, 3)."""
        data = base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"])
        return cv2.cvtColor(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)


@contextmanager
def open_page(program: str, address: str, size: tuple[int, int] = (1280, 800)) -> Iterator[Page]:
    """The page at an address in a browser of its own, which ends with the block."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        profile = ["--headless=new", "--no-sandbox", "--no-first-run", "--remote-debugging-port=0", f"--user-data-dir={folder}"]
        window = [f"--window-size={size[0]},{size[1]}", *_SOFTWARE]
        process = subprocess.Popen([program, *profile, *window, address], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            with connect(_page_socket(Path(folder)), max_size=_LARGEST_SHOT) as socket:
                yield Page(socket)
        finally:
            process.terminate()
            process.wait(10.0)


def _page_socket(folder: Path) -> str:
    """Address of the first page's socket, once the browser is up."""
    from urllib.request import urlopen

    end_s = time.monotonic() + _START_S
    while time.monotonic() < end_s:
        active = folder / "DevToolsActivePort"
        if active.is_file() and (lines := active.read_text().splitlines()):
            with urlopen(f"http://127.0.0.1:{lines[0]}/json/list", timeout=10.0) as answer:
                pages = [target for target in json.load(answer) if target["type"] == "page"]
            if pages:
                return str(pages[0]["webSocketDebuggerUrl"])
        time.sleep(0.1)
    raise AssertionError("the browser did not come up")
