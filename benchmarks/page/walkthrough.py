"""A walk through the page as an animated picture: from opening a scan to exporting what was found in it."""

from __future__ import annotations

import io
from collections.abc import Iterator
from math import hypot
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from PIL import Image as Picture
from playwright.sync_api import Locator

from benchmarks.page.abdomen import KIDNEY, SPLEEN
from benchmarks.page.browser import Desk, Voxel, browsing, serving
from benchmarks.page.pictures import SETTLED, Models

WIDTH = 900  # pixels
FRAME = 70  # milliseconds of one, where something moves
STRIDE = 150  # CSS pixels that the pointer goes in a frame, at most
QUALITY = 62  # of lossy WebP
Place = tuple[float, float]

POINTER = """
(() => {
  const svg = `<svg width="30" height="30" viewBox="0 0 24 24">
    <path d="M4 2l0 17 4.6-4.2 2.9 6.7 3.2-1.4-2.9-6.6 6.2-.5z"
      fill="#fff" stroke="#000" stroke-width="1.4" stroke-linejoin="round"/></svg>`
  const pointer = document.createElement('div')
  pointer.innerHTML = `<i></i>${svg}`
  pointer.style.cssText = 'position:fixed;left:0;top:0;z-index:99;pointer-events:none;width:30px;height:30px'
  const ring = pointer.firstChild
  ring.style.cssText = 'position:absolute;left:-12px;top:-14px;width:32px;height:32px;border-radius:50%;' +
    'border:3px solid #ffd24d;opacity:0'
  const caption = document.createElement('div')
  caption.style.cssText = 'position:fixed;left:50%;bottom:112px;transform:translateX(-50%);z-index:98;' +
    'pointer-events:none;padding:10px 22px;border-radius:24px;background:#fffffff2;color:#10151c;' +
    'font:600 22px/1.3 system-ui,sans-serif;white-space:nowrap;box-shadow:0 4px 24px #000a'
  caption.hidden = true
  const layer = document.createElement('div') // above dialogs, too
  layer.popover = 'manual'
  layer.style.cssText = 'position:fixed;inset:0;width:100%;height:100%;margin:0;padding:0;border:0;background:none;' +
    'pointer-events:none;overflow:hidden'
  layer.append(pointer, caption)
  const show = () => { document.body.append(layer); layer.showPopover() }
  window.raise = () => { layer.hidePopover(); layer.showPopover() }
  window.caption = (text) => { caption.textContent = text; caption.hidden = !text }
  const [x, y] = (sessionStorage.getItem('pointer') ?? '700 600').split(' ')
  const put = (x, y) => {
    pointer.style.transform = `translate(${x - 5}px, ${y - 3}px)`
    sessionStorage.setItem('pointer', `${x} ${y}`)
  }
  put(x, y)
  addEventListener('pointermove', (event) => put(event.clientX, event.clientY), true)
  addEventListener('pointerdown', () => { ring.style.opacity = 1 }, true)
  addEventListener('pointerup', () => { ring.style.opacity = 0 }, true)
  if (document.body) show()
  else addEventListener('DOMContentLoaded', show)
})()
"""


class Film:
    """Frames of a desk, each with its own time: what the machine takes for it is not seen."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self.frames: list[Picture.Image] = []
        self.times: list[int] = []
        self.place: Place = (700, 600)

    def shot(self, milliseconds: int = FRAME) -> None:
        """What is to be seen now; the same as before is the frame before, for longer."""
        frame = Picture.open(io.BytesIO(self.desk.page.screenshot())).convert("RGB")
        frame = frame.resize((WIDTH, round(frame.height * WIDTH / frame.width)), Picture.Resampling.LANCZOS)
        if self.frames and frame.tobytes() == self.frames[-1].tobytes():
            self.times[-1] += milliseconds
        else:
            self.frames.append(frame)
            self.times.append(milliseconds)

    def say(self, text: str) -> None:
        self.desk.page.evaluate("(text) => caption(text)", text)

    def go(self, place: Place) -> None:
        """Move the pointer there, slower at both ends."""
        for step in _eased(self.place, place):
            self.desk.page.mouse.move(*step)
            self.shot()
        self.place = place

    def click(self, what: Locator | Place) -> None:
        """Go there, press, and let go."""
        box = what.bounding_box() if isinstance(what, Locator) else None
        self.go((box["x"] + box["width"] / 2, box["y"] + box["height"] / 2) if box else what)
        self.desk.page.mouse.down()
        self.shot()
        self.desk.page.mouse.up()

    def draw(self, view: str, *voxels: Voxel) -> None:
        """Press at the first voxel, draw through the others; not let go yet."""
        first, *others = (self.desk.at(view, voxel) for voxel in voxels)
        self.go(first)
        self.desk.page.mouse.down()
        for place in others:
            self.go(place)

    def let_go(self) -> None:
        """End a stroke or a box that leads to a mask, and wait for it."""
        with self.desk.acting():
            self.desk.page.mouse.up()
        self.desk.page.wait_for_timeout(SETTLED)

    def webp(self) -> bytes:
        """All of it, going round and round."""
        file = io.BytesIO()
        first, *others = self.frames
        first.save(
            file, "WEBP", save_all=True, append_images=others, duration=self.times, loop=0, quality=QUALITY, method=6
        )
        return file.getvalue()


def walk(data: Path) -> dict[str, bytes]:
    """The walk-through, WebP, by its name."""
    with TemporaryDirectory() as folder, browsing() as browser, serving(data) as link:
        models = Models(Path(folder))
        desk = Desk(browser, link, color_scheme="dark")
        desk.session(desk.send(models.path), "Abdomen, synthetic")
        desk.context.add_init_script(POINTER)
        film = Film(desk)
        _walk(film, models)
        desk.close()
    return {"walkthrough.webp": film.webp()}


def _walk(film: Film, models: Models) -> None:
    desk, page = film.desk, film.desk.page
    page.goto(desk.base)
    page.locator(".sessions").wait_for()
    page.mouse.move(*film.place)
    film.say("Open a scan")
    film.shot(600)
    film.click(page.locator(".sessions .choice").first)
    page.locator(".workspace").wait_for()
    desk.see()
    page.wait_for_timeout(SETTLED)
    film.say("Draw a box around the organ, in two views")
    film.shot(400)
    spleen, (low, high) = models.middle(SPLEEN), models.box(SPLEEN)
    for view in ("Axial", "Coronal"):
        film.click(desk.at(view, spleen))
    film.draw("Axial", low, high)
    page.mouse.up()
    film.shot(200)
    film.draw("Coronal", [low[0], 0, high[2]], [high[0], 0, low[2]])
    film.shot(200)
    film.let_go()
    film.say("The network’s first answer misses a part")
    film.shot(1100)
    start, end = models.line(SPLEEN, 1, x=int(spleen[0]), z=int(high[2]) - 12)
    film.draw("Sagittal", start, end)
    film.say("One stroke where it is wrong …")
    film.shot(300)
    film.let_go()
    film.say("… and it adapts to this image")
    film.shot(1200)
    for which, pause in (("before", 500), ("after", 700)):
        film.click(page.locator(f"[aria-label=Adaptation] [data-key={which}]"))
        film.shot(pause)
    film.click(page.locator("[aria-label=Adaptation] [data-key=keep]"))
    film.say("The next organ; what is done is locked")
    kidney, (low, high) = models.middle(KIDNEY), models.box(KIDNEY)
    page.keyboard.press("b")
    for view in ("Axial", "Coronal"):
        film.click(desk.at(view, kidney))
    film.draw("Axial", low, high)
    page.mouse.up()
    film.shot(200)
    film.draw("Coronal", [low[0], 0, high[2]], [high[0], 0, low[2]])
    film.let_go()
    film.shot(800)
    film.say("Where to look next: where it is least sure")
    film.click(page.locator("[data-key='Look here next']"))
    page.wait_for_timeout(SETTLED)
    film.shot(900)
    film.say("Save masks, figures, or all of the session")
    film.click(page.get_by_role("button", name="Export"))
    page.locator("dialog").wait_for()
    page.evaluate("raise()")
    film.shot(1700)


def _eased(start: Place, end: Place) -> Iterator[Place]:
    """Places on a straight way, the last of them its end."""
    count = max(2, round(hypot(end[0] - start[0], end[1] - start[1]) / STRIDE) + 1)
    for share in (1 - np.cos(np.pi * np.arange(1, count + 1) / count)) / 2:
        yield tuple(float(a + share * (b - a)) for a, b in zip(start, end, strict=True))
