"""One tab of a headless Chromium, driven over the DevTools protocol."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import websocket

# The innermost visible element whose own words are these, in the middle of which a click lands.
_PLACE_OF = """((words, tags) => {
  const seen = [...document.querySelectorAll(tags)].filter((e) => {
    const box = e.getBoundingClientRect();
    return (e.innerText || '').trim() === words && box.width && box.height && !e.disabled;
  });
  const found = seen[seen.length - 1];
  if (!found) return null;
  found.scrollIntoView({block: 'center'});
  const box = found.getBoundingClientRect();
  return [box.x + box.width / 2, box.y + box.height / 2];
})(%s, %s)"""


class Browser:
    """Start it on a free folder; `close` ends the process."""

    def __init__(self, program: str, folder: Path) -> None:
        options = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
        options += ["--remote-debugging-port=0", f"--user-data-dir={folder}", "--no-first-run"]
        options += ["--window-size=1500,1000", "--remote-allow-origins=*", "about:blank"]
        with (folder.parent / f"{folder.name}.log").open("wb") as log:
            # A socket of its own lies there: 108 characters, which pytest's folders can exceed.
            self._temporary = tempfile.mkdtemp(prefix="chromium-")
            own = {**os.environ, "TMPDIR": self._temporary}
            self._process = subprocess.Popen([program, *options], stdout=log, stderr=log, env=own)
        try:
            self._connect(folder / "DevToolsActivePort")
        except BaseException:
            self._process.kill()
            self._process.wait()
            shutil.rmtree(self._temporary, ignore_errors=True)
            raise

    def _connect(self, told: Path) -> None:
        deadline = time.monotonic() + 300
        while not (told.exists() and len(told.read_text().splitlines()) == 2):
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"Chromium did not start, see {told.parent}.log")
            time.sleep(0.1)
        port, path = told.read_text().splitlines()
        self._socket = websocket.create_connection(f"ws://127.0.0.1:{port}{path}", timeout=60)
        self._number, self._session = 0, ""
        self.events: list[dict[str, Any]] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """The result of a command; events that come before it are kept in `events`."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        self._socket.send(json.dumps(message))
        while True:
            answer = json.loads(self._socket.recv())
            if answer.get("id") == self._number:
                assert "error" not in answer, (method, answer)
                found: dict[str, Any] = answer["result"]
                return found
            if "method" in answer:
                self.events.append(answer)

    def evaluate(self, script: str) -> Any:
        found = self.call("Runtime.evaluate", expression=script, returnByValue=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def open(self, url: str) -> None:
        self.call("Page.navigate", url=url)

    @property
    def text(self) -> str:
        """What can be read on the page."""
        return str(self.evaluate("document.body ? document.body.innerText : ''"))

    def wait_for(self, *words: str, seconds: float = 60) -> str:
        """The page's text, once it has all the words."""
        deadline = time.monotonic() + seconds
        while True:
            text = self.text
            missing = [word for word in words if word not in text]
            if not missing:
                return text
            assert time.monotonic() < deadline, f"not on the page: {missing}; it reads:\n{text}"
            time.sleep(0.3)

    def click(self, words: str, *, tags: str = "button,a,span,div", seconds: float = 30) -> None:
        """A click of the mouse on what reads `words`."""
        deadline = time.monotonic() + seconds
        script = _PLACE_OF % (json.dumps(words), json.dumps(tags))
        while not (place := self.evaluate(script)):
            assert time.monotonic() < deadline, f"nothing to click reads {words!r}:\n{self.text}"
            time.sleep(0.3)
        for kind in ("mouseMoved", "mousePressed", "mouseReleased"):
            button = {} if kind == "mouseMoved" else {"button": "left", "clickCount": 1}
            self.call("Input.dispatchMouseEvent", type=kind, x=place[0], y=place[1], **button)

    def press(self, words: str) -> None:
        """A click event for the first button or link that reads `words`."""
        same = f"(e) => (e.innerText || '').trim() === {json.dumps(words)}"
        found = self.evaluate(
            f"(() => {{ const same = {same};"
            "const e = [...document.querySelectorAll('button,a,span,div')].find("
            "(e) => same(e) && ![...e.children].some(same));"
            "if (e) e.click(); return !!e; })()"
        )
        assert found, f"nothing to press reads {words!r}"

    def screenshot(self, path: Path) -> None:
        data = self.call("Page.captureScreenshot", format="png")["data"]
        path.write_bytes(base64.b64decode(data))

    def size(self, width: int, height: int) -> None:
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=height, deviceScaleFactor=1, mobile=False,
        )  # fmt: skip

    def close(self) -> None:
        self._socket.close()
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        # what it left half downloaded, too
        shutil.rmtree(self._temporary, ignore_errors=True)
