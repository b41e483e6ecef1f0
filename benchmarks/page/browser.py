"""A person at the page: the real program, a headless Chromium, and where voxels lie on its screen."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, BrowserContext, sync_playwright

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
FLAGS = ["--no-sandbox", "--enable-unsafe-swiftshader"]  # no GPU: WebGL, which NiiVue is compared with, is not refused
SIZE = {"width": 1440, "height": 900}
VIEWS = {"Sagittal": 0, "Coronal": 1, "Axial": 2}  # the canonical axis across a slice
LONG = 60_000  # milliseconds that a computation may take

Voxel = Sequence[float]


class App:
    """``bifseg app`` on a folder; ``link``: the address that it printed, with its one-time token."""

    def __init__(self, data: Path, *scan: Path) -> None:
        self._command = [sys.executable, "-m", "bifseg", "app", *map(str, scan), "--no-browser", "--data", str(data)]
        self.link = self.start()

    def start(self) -> str:
        """The address of a new process."""
        self._process = subprocess.Popen(self._command, stdout=subprocess.PIPE, text=True)
        for line in self._process.stdout:
            if found := re.search(r"http\S+", line):
                return found[0]
        self._process.stdout.close()
        raise RuntimeError(f"bifseg app ended with status {self._process.wait()} before it printed its address.")

    def kill(self) -> None:
        """As a power cut would."""
        self._process.kill()
        self._ended()

    def stop(self) -> None:
        """As a person does."""
        self._process.terminate()
        self._ended()

    def _ended(self) -> None:
        self._process.wait()
        self._process.stdout.close()


@contextmanager
def serving(data: Path, *scan: Path) -> Iterator[str]:
    """The address of a ``bifseg app``, while it is needed."""
    app = App(data, *scan)
    try:
        yield app.link
    finally:
        app.stop()


@contextmanager
def browsing() -> Iterator[Browser]:
    """A headless Chromium that draws on the CPU; SystemExit where there is none."""
    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    if path is None:
        raise SystemExit(f"There is no browser on the PATH; possible are {', '.join(BROWSERS)}.")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        try:
            yield browser
        finally:
            browser.close()


class Desk:
    """One browser tab at the page of a server.

    Voxels are those of the file, (x, y, z) with fractions; files here have no rotation, only axes that may run any way.
    """

    def __init__(
        self, browser: Browser, link: str, known: BrowserContext | None = None, before: str = "", **options: Any
    ) -> None:
        self.base = link.partition("#")[0].rstrip("/")
        state = known.storage_state() if known else None
        self.context = browser.new_context(viewport=SIZE, storage_state=state, **options)
        if before:  # a script that runs before those of the page
            self.context.add_init_script(before)
        self.page = self.context.new_page()
        self.errors: list[str] = []
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("console", lambda said: said.type == "error" and self.errors.append(said.text))
        if known is None:
            self.page.goto(link)
            if not link.startswith("about:"):  # an empty window
                self.page.locator("main").first.wait_for()

    def close(self) -> None:
        self.context.close()
        if self.errors:
            raise RuntimeError(f"The page's console has errors: {self.errors}.")

    # ---- the server, asked directly

    def ask(self, method: str, path: str, **options: Any) -> Any:
        """What the server answers, parsed; RuntimeError where it refuses."""
        answer = self.context.request.fetch(f"{self.base}/api/v1/{path}", method=method, timeout=LONG, **options)
        if not answer.ok:
            raise RuntimeError(f"{method} {path}: {answer.status}, {answer.text()[:300]}")
        return answer.json() if answer.status != 204 else None

    def send(self, path: Path) -> dict:
        """Upload a scan."""
        return self.ask("POST", f"images?name={path.name}", data=path.read_bytes())

    def upload(self, path: Path) -> dict:
        """Send a large scan as a person does, by choosing its file."""
        self.page.goto(self.base)
        self.page.locator(".sources").wait_for()
        self.page.locator("input[type=file][multiple]").first.set_input_files(path)
        self.page.locator(".workspace").wait_for(timeout=LONG)
        session = self.page.url.partition("#session=")[2]
        image = self.ask("GET", f"sessions/{session}")["image"]
        self.page.goto("about:blank")
        return self.ask("GET", f"images/{image}")

    def session(self, image: dict, title: str, **more: Any) -> str:
        """A new session's id."""
        return self.ask("POST", "sessions", data={"image": image["key"], "title": title, **more})["id"]

    # ---- the page

    def open(self, session: str, layout: str = "1") -> None:
        """Go to a session and wait for its slices; ``layout``: the key of a view, 1 for all."""
        self.page.goto("about:blank")
        self.page.goto(f"{self.base}/#session={session}")
        self.page.locator(".workspace").wait_for(timeout=LONG)
        self.see()
        self.page.keyboard.press(layout)
        self.page.locator("canvas[aria-label]:visible").first.wait_for(timeout=LONG)

    def see(self) -> None:
        """Learn what the page shows: from then on it is known where voxels lie."""
        session = self.page.url.partition("#session=")[2]
        image = self.ask("GET", f"images/{self.ask('GET', f'sessions/{session}')['image']}")
        axes = image["axes"]
        self.axes = [abs(a) - 1 for a in axes]
        self.turned = [a < 0 for a in axes]
        self.shape = [image["shape"][a] for a in self.axes]
        self.spacing = [image["spacing"][a] for a in self.axes]
        self.centre = [(n - 1) / 2 for n in self.shape]
        self.zoom = 1.0

    def canonical(self, voxel: Voxel) -> list[float]:
        """Where a file voxel lies along right, front and head."""
        moved = [voxel[a] for a in self.axes]
        return [n - 1 - v if turn else v for v, n, turn in zip(moved, self.shape, self.turned, strict=True)]

    def scale(self, view: str) -> float:
        """CSS pixels per millimetre."""
        u, v = (k for k in range(3) if k != VIEWS[view])
        box = self._canvas(view)
        across, down = (self.shape[k] * self.spacing[k] for k in (u, v))
        return self.zoom * 0.96 * min(box["width"] / across, box["height"] / down)

    def at(self, view: str, voxel: Voxel) -> tuple[float, float]:
        """The place of a voxel in a view, CSS pixels of the page."""
        u, v = (k for k in range(3) if k != VIEWS[view])
        box, scale, place = self._canvas(view), self.scale(view), self.canonical(voxel)
        x = box["x"] + box["width"] / 2 + (self.centre[u] - place[u]) * self.spacing[u] * scale
        y = box["y"] + box["height"] / 2 + (self.centre[v] - place[v]) * self.spacing[v] * scale
        return x, y

    def closer(self, steps: int) -> None:
        """Zoom in around what is in the middle of the views."""
        for _ in range(steps):
            self.page.keyboard.press("+")
        self.zoom *= 1.25**steps

    def bring(self, view: str, voxel: Voxel) -> None:
        """Pan a view so that a voxel is in its middle."""
        canvas = self._canvas(view)
        middle = canvas["x"] + canvas["width"] / 2, canvas["y"] + canvas["height"] / 2
        x, y = self.at(view, voxel)
        half = (x + middle[0]) / 2, (y + middle[1]) / 2
        self.page.mouse.move(*half)
        self.page.mouse.down(button="middle")
        self.page.mouse.move(half[0] + middle[0] - x, half[1] + middle[1] - y)
        self.page.mouse.up(button="middle")
        place = self.canonical(voxel)
        for k in range(3):
            if k != VIEWS[view]:
                self.centre[k] = place[k]

    def _canvas(self, view: str) -> dict:
        return self.page.locator(f"canvas[aria-label^='{view}']").bounding_box()

    def look(self, *views_and_voxels: tuple[str, Voxel]) -> None:
        """Put the crosshair there, by a click in each view."""
        self.page.keyboard.press("v")
        for view, voxel in views_and_voxels:
            self.page.mouse.click(*self.at(view, voxel))

    def scroll(self, z: int) -> None:
        """Go to the axial slice z by the wheel."""
        shown = int(self.page.locator("canvas[aria-label^='Axial']").get_attribute("aria-label").split()[2]) - 1
        wanted = round(self.canonical((0, 0, z))[2])
        x, y = self.at("Axial", (3, 3, z))
        self.page.mouse.move(x, y)
        for _ in range(abs(wanted - shown)):
            self.page.mouse.wheel(0, -100 if wanted > shown else 100)
        self.page.locator(f"canvas[aria-label^='Axial slice {wanted + 1} ']").wait_for()

    def box_in(self, dimension: int) -> None:
        """Take up the box, in one slice (2) or in a volume (3)."""
        self.page.keyboard.press("b")
        self.page.locator(f".options .{'two' if dimension == 2 else 'three'}").click()

    def drag(self, view: str, *voxels: Voxel, steps: int = 12) -> None:
        """Press the mouse at the first voxel, draw through the others, let it go at the last."""
        (x, y), *others = (self.at(view, voxel) for voxel in voxels)
        self.page.mouse.move(x, y)
        self.page.mouse.down()
        for place in others:
            self.page.mouse.move(*place, steps=max(1, steps // len(others)))
        self.page.mouse.up()

    @contextmanager
    def acting(self) -> Iterator[None]:
        """Do what leads to one interaction, and wait until it is saved and on the screen."""
        before = self.page.locator(".kept").get_attribute("data-number")
        yield
        self.page.locator(f".kept:not([data-number='{before}'])").wait_for(timeout=LONG)
        self.page.locator(".workspace:not([data-busy])").wait_for(timeout=LONG)
