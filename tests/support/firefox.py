"""Firefox as its distributor built it, driven by WebDriver BiDi: Playwright drives a build of its own only."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import shutil
import subprocess
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

FIREFOXES = ("firefox-esr", "firefox")
PATIENCE = 90.0  # seconds


class Firefox:
    """One tab. ``errors``: what its console said of errors."""

    def __init__(self, address: str) -> None:
        self._loop = asyncio.new_event_loop()
        # In a thread of its own: in this one Playwright's loop may be running.
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._number = 0
        self.errors: list[str] = []
        self._socket = self._wait(self._connected(f"{address}/session"))
        self._ask("session.new", capabilities={})
        self._ask("session.subscribe", events=["log.entryAdded"])
        self._tab = self._ask("browsingContext.getTree")["contexts"][0]["context"]

    def close(self) -> None:
        self._wait(self._closed())
        self._end()

    def go(self, url: str) -> None:
        self._ask("browsingContext.navigate", context=self._tab, url=url, wait="complete")

    def evaluate(self, expression: str) -> Any:
        """What an expression is, as JSON; a promise is waited for."""
        source = f"(async () => JSON.stringify((await ({expression})) ?? null))()"
        told = self._ask(
            "script.evaluate", expression=source, target={"context": self._tab}, awaitPromise=True
        )  # fmt: skip
        if told["type"] != "success":
            raise AssertionError(told["exceptionDetails"]["text"])
        return json.loads(told["result"]["value"])

    def until(self, expression: str) -> Any:
        """What an expression is as soon as it is true; AssertionError where it never is."""
        asked = f"""new Promise((done, fail) => {{
          const until = performance.now() + {1000 * PATIENCE}
          const look = () => {{
            const value = {expression}
            if (value) done(value)
            else if (performance.now() > until) fail(new Error('it never happened'))
            else setTimeout(look, 50)
          }}
          look()
        }})"""
        return self.evaluate(asked)

    def press(self, key: str, *, held: Sequence[str] = ()) -> None:
        keys = [{"type": "keyDown", "value": one} for one in (*held, key)]
        keys += [{"type": "keyUp", "value": one} for one in (key, *reversed(held))]
        self._act({"type": "key", "id": "keys", "actions": keys})

    def drag(self, *places: tuple[float, float]) -> None:
        """Press the mouse at the first place, go through the others, let go at the last; a single one is a click."""
        first, *others = [{"type": "pointerMove", "x": round(x), "y": round(y)} for x, y in places]
        ways = [{**place, "duration": 60} for place in others]
        down, up = {"type": "pointerDown", "button": 0}, {"type": "pointerUp", "button": 0}
        self._act({"type": "pointer", "id": "mouse", "actions": [first, down, *ways, up]})

    def _act(self, source: dict) -> None:
        self._ask("input.performActions", context=self._tab, actions=[source])

    def _ask(self, method: str, **params: Any) -> Any:
        return self._wait(self._answer(method, params))

    async def _answer(self, method: str, params: dict) -> Any:
        self._number += 1
        await self._socket.write_message(json.dumps({"id": self._number, "method": method, "params": params}))
        while text := await self._socket.read_message():
            told = json.loads(text)
            if told.get("method") == "log.entryAdded" and told["params"]["level"] == "error":
                self.errors.append(told["params"]["text"])
            if told.get("id") == self._number:
                if told["type"] == "error":
                    raise AssertionError(f"{method}: {told['message']}")
                return told["result"]
        raise AssertionError("Firefox has gone.")

    def _wait(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(asyncio.wait_for(work, PATIENCE), self._loop).result()

    def _end(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _closed(self) -> None:
        self._socket.close()

    async def _connected(self, address: str) -> Any:
        from tornado.websocket import websocket_connect

        return await websocket_connect(address, max_message_size=1 << 26)


@contextlib.contextmanager
def browsing(folder: Path) -> Iterator[Firefox]:
    """A headless Firefox with a profile in a folder; skips where there is none."""
    pytest.importorskip("tornado", reason="needs pip install tornado")
    path = next(filter(None, map(shutil.which, FIREFOXES)), None)
    if path is None:
        pytest.skip(f"no Firefox is on the path, under any of the names {', '.join(FIREFOXES)}")
    command = [path, "--headless", "--no-remote", "--profile", str(folder), "--remote-debugging-port", "0",
               "--width", "1200", "--height", "800", "about:blank"]  # fmt: skip
    process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    try:
        address = next(filter(None, (re.search(r"BiDi listening on (ws://\S+)", line) for line in process.stderr)))[1]
        firefox = Firefox(address)
        try:
            yield firefox
        finally:
            firefox.close()
    finally:
        process.kill()
        process.wait()
        process.stderr.close()
