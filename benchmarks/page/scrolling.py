"""What scrolling through slices costs, at rest and while an interaction is computed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from playwright.sync_api import Browser

from benchmarks.page.browser import LONG, Desk
from benchmarks.page.tables import Cost
from bifseg.imaging.image import Image

PROMISED = 0.1  # seconds between two frames while something is computed
SLICES = 20  # a second, at least
SHAPE = (512, 512, 350)
STEPS = 100  # of the wheel
SLOW = {"rounds": 100, "iterations": 300}  # computes for longer than is scrolled
ABOUT = (
    "512 x 512 x 350 voxels of int16 at 1440 x 900 pixels, 100 steps of the wheel, one in each frame; while it "
    "computes, worker processes take all cores that they get. The promise is about the longest wait between two frames."
)

# One step of the wheel in every frame; when each frame came, and whether it showed another slice.
SCROLL = """(steps) => new Promise((done) => {
  const canvas = document.querySelector("canvas[aria-label^='Axial']")
  const { width, height } = canvas.getBoundingClientRect()
  const frames = []
  let before = ''
  const frame = () => {
    const slice = canvas.getAttribute('aria-label')
    frames.push([performance.now(), slice !== before])
    before = slice
    if (frames.length > steps) return done(frames)
    const deltaY = 100
    canvas.dispatchEvent(new WheelEvent('wheel', { deltaY, bubbles: true, cancelable: true, clientX: width / 2 }))
    requestAnimationFrame(frame)
  }
  requestAnimationFrame(frame)
})"""


def scan() -> Image:
    """Waves and noise: what is scrolled does not matter, only how much it is."""
    x, y, _ = np.ogrid[: SHAPE[0], : SHAPE[1], :1]
    noise = np.random.default_rng(0).integers(0, 60, (*SHAPE[:2], 1), dtype=np.int16)
    array = np.empty(SHAPE, np.int16, order="F")
    for k in range(SHAPE[2]):
        waves = 400 + 200 * (np.sin(x / 23) + np.cos(y / 31 + k / 9))
        array[..., k] = waves[..., 0].astype(np.int16) + np.roll(noise, 7 * k, 0)[..., 0]
    return Image(array)


def costs(browser: Browser, desk: Desk, path: Path) -> list[Cost]:
    """100 steps of the wheel over the axial slices of 512 x 512 x 350, at rest and while a refinement is computed."""
    image = desk.upload(path)
    found = []
    for name, keys in (("all views", "1"), ("axial only", "2")):
        other = Desk(browser, desk.base, desk.context)
        other.open(other.session(image, "scrolled", parameters=SLOW), keys)
        found += _scrolled(other, f"at rest, {name}")
        if keys == "1":
            other.look(("Coronal", (256, 256, 60)))
            other.box_in(2)
            other.drag("Axial", (170, 170, 60), (340, 340, 60))
            other.page.locator(".workspace[data-busy]").wait_for()
            found += _scrolled(other, f"while it computes, {name}")
            if not other.page.locator(".workspace[data-busy]").count():
                raise RuntimeError("The computation ended before the scrolling did; make it longer.")
            other.page.keyboard.press("Escape")
            other.page.locator(".workspace:not([data-busy])").wait_for(timeout=LONG)
        other.close()
    return found


def _scrolled(desk: Desk, name: str) -> list[Cost]:
    desk.page.mouse.move(*desk.at("Axial", (256, 256, 0)))
    desk.scroll(110)
    desk.page.wait_for_timeout(300)
    frames = desk.page.evaluate(SCROLL, STEPS)
    times = np.array([time for time, _ in frames]) / 1000
    drawn = sum(new for _, new in frames[1:])
    gaps = np.diff(times)
    return [
        Cost(f"Slices drawn in a second of scrolling, {name}", [drawn / (times[-1] - times[0])], "/s", SLICES),
        Cost(f"Between two frames, {name}", gaps.tolist(), "s", PROMISED if "computes" in name else None, True),
    ]
