"""A person at the page: a real browser, hands that know where a voxel lies on the screen, and eyes that read pixels.

Where it lies is worked out from the file alone (`scan`) and from how much of a view a scan fills: nothing of the page's
own code has a part in it.
"""

from __future__ import annotations

import base64
import contextlib
import io
import re
import time
from collections.abc import Callable, Iterator
from urllib.parse import urlsplit

import numpy as np
import pytest
from scan import AXES, Scan
from scipy.ndimage import binary_dilation, binary_erosion
from serving import Served

from bifseg.imaging.image import Image

playwright = pytest.importorskip("playwright.sync_api", reason="needs pip install playwright")
pillow = pytest.importorskip("PIL.Image")
expect = playwright.expect

SCREEN = {"width": 1200, "height": 800}
FIT = 0.96  # of a pane is filled by a scan
EDGE = 30  # pixels along a pane's border where letters may stand
DRAWN = "pane => new Promise(ok => requestAnimationFrame(() => requestAnimationFrame(() => ok(pane.toDataURL()))))"
DONE = """([number, patience]) => new Promise((done, failed) => {
    const over = performance.now() + patience;
    const look = () => {
        const shown = document.querySelector(".kept")?.dataset.number;
        if (shown === number && !document.querySelector(".workspace[data-busy]")) done();
        else if (performance.now() > over) failed(new Error(`interaction ${shown} is shown, not ${number}`));
        else setTimeout(look, 10);
    };
    look();
})"""
WHERE = "pane => { const { x, y, width, height } = pane.getBoundingClientRect(); return { x, y, width, height }; }"
PATIENCE = 60_000  # milliseconds; the first interaction of a worker loads torch
expect.set_options(timeout=PATIENCE)


@contextlib.contextmanager
def reading(browser: playwright.Browser, url: str, **options: object) -> Iterator[Reader]:
    """A person in a browser of their own, who has seen nothing wrong when the block ends."""
    context = browser.new_context(viewport=SCREEN, **options)
    context.set_default_timeout(PATIENCE)
    try:
        reader = Reader(context.new_page(), url)
        yield reader
        reader.check()
    finally:
        context.close()


def begun(
    server: Served, image: Image, box: str | None = None, user: str = "anna", headers: bytes | None = None,
    **options: object,
) -> str:  # fmt: skip
    """A session on an image, with an object in a box where one is given: its id. ``headers``: of its DICOM series."""
    key = server.service.store.add_image(image, user, headers)
    with server.client(user) as http:
        session = http.post("/api/v1/sessions", json={"image": key, "title": "phantom", **options}).json()["id"]
        if box:
            reply = http.post(f"/api/v1/sessions/{session}/box", json={"box": box, "refine": "none"})
            assert reply.status_code == 200, reply.text
    return session


def soon(question: Callable[[], object], seconds: float = 30) -> object:
    """The answer to a question as soon as it is yes; AssertionError where it never is."""
    until = time.monotonic() + seconds
    while not (answer := question()):
        assert time.monotonic() < until, "it never happened"
        time.sleep(0.05)
    return answer


class Reader:
    """The page as it is seen and touched. Voxels are those of the file ``scan`` where they are not called canonical."""

    def __init__(self, page: playwright.Page, url: str) -> None:
        self.page, self.url = page, url
        self.scan: Scan | None = None
        self._troubles: list[str] = []
        self._forgiven: list[str] = []
        self._refused: list[str] = []
        self._asked: set[playwright.Request] = set()
        self._answered: set[playwright.Request] = set()
        self._left: set[playwright.Request] = set()
        self._aborted: list[playwright.Request] = []
        host = urlsplit(url).netloc
        page.on("console", lambda line: line.type == "error" and self._troubles.append(f"console: {line.text}"))
        page.on("pageerror", lambda error: self._troubles.append(f"exception: {error}"))
        page.on("request", lambda request: self._ask(request, host))
        page.on("response", self._hear)
        page.on("requestfailed", self._fail)

    def _ask(self, request: playwright.Request, host: str) -> None:
        self._asked.add(request)
        parts = urlsplit(request.url)
        if parts.scheme not in ("blob", "data") and parts.netloc != host:
            self._troubles.append(f"elsewhere: {request.url}")

    def _hear(self, response: playwright.Response) -> None:
        request = response.request
        self._answered.add(request)
        if response.status >= 400:
            self._refused.append(f"{response.status} {request.method} {request.url}")
        if request.is_navigation_request():  # the page that asked before is gone, and what it still waited for
            self._left |= self._asked

    def _fail(self, request: playwright.Request) -> None:
        # Chromium says so of many an answer that was read as a stream, to its end, and of what a reload cut short.
        if request.failure == "net::ERR_ABORTED":
            self._aborted.append(request)
            return
        self._troubles.append(f"failed: {request.failure} {request.url}")

    # ---- what went wrong

    def forgive(self, *patterns: str) -> None:
        """Expect errors that match one of these."""
        self._forgiven += patterns

    def check(self) -> None:
        """AssertionError for an error in the console, a request that failed, and one to another host."""
        lost = [request for request in self._aborted if request not in self._answered | self._left]
        troubles = self._troubles + [f"failed: {request.failure} {request.url}" for request in lost]
        wrong = [line for line in troubles if not any(re.search(known, line) for known in self._forgiven)]
        assert not wrong, "\n".join(wrong)

    # ---- coming in

    def open(self, server: Served, image: Image, session: str) -> None:
        """Come in as Anna, to a session on an image."""
        self.scan = Scan.of(image)
        self.enter(server.service.tokens.create_once("anna"), session)

    def enter(self, token: str, session: str | None = None) -> None:
        """Come in with a token, to a session or to the start screen."""
        self.page.goto(f"{self.url}/#enter={token}" + (f"&session={session}" if session else ""))
        self.arrived(session is not None)

    def arrived(self, in_session: bool = True) -> None:
        """Wait for a session's slices, or for the start screen; AssertionError with what the server refused so far."""
        try:
            expect(self.page.locator(".workspace" if in_session else "main.start")).to_be_visible(timeout=PATIENCE)
        except AssertionError as error:
            raise AssertionError("\n".join([str(error), "Refused so far:", *self._refused])) from None

    @property
    def session(self) -> str:
        """The id in the address."""
        return re.search(r"session=([\w-]+)", self.page.url)[1]

    # ---- where things lie

    def pane(self, view: str) -> playwright.Locator:
        return self.page.locator(f"canvas[aria-label^='{view}']")

    def rectangle(self, view: str) -> dict[str, float]:
        """Where a view is on the screen; a locator's ``bounding_box`` would wait for a frame."""
        return self.pane(view).evaluate(WHERE)

    def pixels(self, view: str) -> float:
        """Pixels per mm in a view that shows all of the scan."""
        box = self.rectangle(view)
        across, down, _ = AXES[view]
        size = self.scan.shape * self.scan.spacing
        return FIT * min(box["width"] / size[across], box["height"] / size[down])

    def place(self, view: str, voxel: object) -> tuple[float, float]:
        """Where the centre of a voxel is on the screen, with all of the scan to be seen (key 0)."""
        x, y = self.inside(view, self.scan.canonical(voxel))
        box = self.rectangle(view)
        return round(box["x"] + float(x)), round(box["y"] + float(y))

    def inside(self, view: str, canonical: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Where canonical places (..., 3) are in a view, from its upper left corner."""
        box, scale = self.rectangle(view), self.pixels(view)
        away = (
            ((self.scan.shape - 1) / 2 - canonical) * self.scan.spacing * scale
        )  # both axes run against canonical ones
        across, down, _ = AXES[view]
        return box["width"] / 2 + away[..., across], box["height"] / 2 + away[..., down]

    # ---- hands

    def press(self, *keys: str) -> None:
        for key in keys:
            self.page.keyboard.press(key)

    def click(self, view: str, voxel: object, **options: object) -> None:
        self.page.mouse.click(*self.place(view, voxel), **options)

    def drag(self, view: str, *voxels: object, button: str = "left", release: bool = True) -> None:
        """Draw from voxel to voxel."""
        first, *others = (self.place(view, voxel) for voxel in voxels)
        mouse = self.page.mouse
        mouse.move(*first)
        mouse.down(button=button)
        for other in others:
            mouse.move(*other, steps=5)
        if release:
            mouse.up(button=button)

    def go_to(self, voxel: object) -> None:
        """Put the crosshair on a voxel, by mouse; all of the scan is seen afterwards."""
        self.press("Escape", "v", "0")
        for view in ("Image",) if self.pane("Image").count() else ("Axial", "Coronal"):
            self.click(view, voxel)
        assert self.at() == tuple(voxel)

    def at(self) -> tuple[int, int, int]:
        """The voxel that the page says the crosshair is on."""
        return tuple(map(int, re.findall(r"-?\d+", self.page.locator(".place").inner_text())[:3]))

    def box(self, first: object, last: object) -> None:
        """Draw a 3D box, in two views: both voxels are in it."""
        middle = (np.array(first) + np.array(last)) // 2
        self.go_to(middle)
        self.press("b")
        self.drag("Axial", first, last)
        self.drag("Coronal", first, last)

    def control(self, key: str) -> playwright.Locator:
        """A field of the panel."""
        return self.page.locator(f".panel [data-key='{key}']")

    def thin(self) -> None:
        """Make the brush as small as it goes."""
        for _ in range(12):
            self.press("[")

    @contextlib.contextmanager
    def acting(self, steps: int = 1) -> Iterator[None]:
        """What is done in the block is ``steps`` interactions; wait until they are done and on the screen."""
        before = self.number
        yield
        self.done(before + steps)

    def done(self, number: int) -> None:
        """Wait until an interaction is done and on the screen."""
        self.page.evaluate(DONE, [str(number), PATIENCE])

    @property
    def number(self) -> int:
        """Of the last interaction."""
        return int(self.page.locator(".kept").get_attribute("data-number") or 0)

    def told(self, words: str) -> None:
        """Wait for a sentence that the page says to the user."""
        expect(self.page.locator("[role=alert]:visible", has_text=re.compile(words)).first).to_be_visible()

    def hush(self) -> None:
        """Put messages away that lie over the slices."""
        close = self.page.get_by_role("button", name="Close this message")
        if close.is_visible():
            close.click()

    def plain(self) -> None:
        """Masks opaque, pixels as they are, and no crosshair: so that colours can be read."""
        self.control("crosshair").uncheck()
        self.control("smooth").uncheck()
        self.control("opacity").press("End")
        self.press("0")

    # ---- eyes

    def picture(self, view: str) -> np.ndarray:
        """What is drawn of a view, once all is drawn that was asked for: (height, width, 3)."""
        address = self.pane(view).evaluate(DRAWN)
        return _pixels(base64.b64decode(address.partition(",")[2]))

    def photograph(self, view: str) -> np.ndarray:
        """The same place on the screen, with whatever lies over it."""
        return _pixels(self.page.screenshot(clip=self.rectangle(view)))

    def colours(self, view: str) -> np.ndarray:
        """The colour in the middle of every voxel of the slice, (across, down, 3) in canonical order."""
        picture = self.picture(view)
        columns, rows = self._centres(view)
        height, width = picture.shape[:2]
        return picture[np.clip(rows, 0, height - 1)[None, :], np.clip(columns, 0, width - 1)[:, None]].astype(int)

    def clear(self, view: str) -> np.ndarray:
        """Which voxels of a slice no letters can hide: bool (across, down)."""
        columns, rows = self._centres(view)
        box = self.rectangle(view)
        wide = (columns > EDGE) & (columns < box["width"] - EDGE)
        high = (rows > EDGE) & (rows < box["height"] - EDGE)
        return wide[:, None] & high[None, :]

    def _centres(self, view: str) -> tuple[np.ndarray, np.ndarray]:
        across, down, _ = AXES[view]
        places = np.zeros((max(self.scan.shape), 3))
        places[:, across] = places[:, down] = np.arange(len(places))
        columns, rows = self.inside(view, places)
        n = self.scan.shape
        return np.floor(columns[: n[across]]).astype(int), np.floor(rows[: n[down]]).astype(int)

    def sees(self, view: str, mask: np.ndarray, colour: str, hidden: np.ndarray | None = None) -> bool:
        """Whether a mask, and nothing more, is in its colour in the slice on the screen; outlines may hide its border.

        ``mask``, ``hidden``: bool, the file's shape; what is ``hidden`` is under something else.
        """
        here = self.at()
        cut = self.scan.cut(mask, view, here)
        across, down, _ = AXES[view]
        voxel = self.scan.spacing[[across, down]].min() * self.pixels(view)
        wide = np.ones((3, 3), bool)
        rim = int(np.ceil(max(0, 2.2 - voxel / 2) / voxel))  # voxels whose middle an outline of 1.6 pixels may reach
        sure = self.clear(view)
        if rim:
            sure &= ~(binary_dilation(cut, wide, rim) & ~binary_erosion(cut, wide, rim, border_value=1))
        if hidden is not None:
            sure &= ~self.scan.cut(hidden, view, here)
        seen = (np.abs(self.colours(view) - np.array(rgb(colour))).max(-1) <= 4)[sure]
        return bool((seen == cut[sure]).all())


def rgb(colour: str) -> tuple[int, int, int]:
    return tuple(bytes.fromhex(colour.lstrip("#")))


def _pixels(png: bytes) -> np.ndarray:
    return np.asarray(pillow.open(io.BytesIO(png)).convert("RGB"))
