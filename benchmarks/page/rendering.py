"""How soon objects are seen in 3D after a mask, and how long the page stands still meanwhile."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from playwright.sync_api import Browser

from benchmarks.page.browser import Desk
from benchmarks.page.tables import Cost
from bifseg.io.images import read_image

MASKS = 5
PROMISED = 0.5  # seconds from a mask to its surface
SIDE = 80  # voxels of the boxes
ABOUT = (
    f"256 x 256 x 240 voxels of int16, all views, boxes of {SIDE} x {SIDE} x {SIDE} voxels; a worker makes surfaces "
    "and draws them on the CPU. From a mask's arrival in the page until its surface is drawn; and the longest wait "
    "between two frames, in which nothing scrolls, after what makes the views follow."
)
# Runs from the beginning: the longest wait between two frames since it was last asked for.
WAITS = """
  Object.assign(window, { longest: 0, quiet: performance.now() })
  let last = performance.now()
  const frame = () => {
    const now = performance.now()
    window.longest = Math.max(window.longest, now - last)
    if (now - last > 100) window.quiet = now
    last = now
    requestAnimationFrame(frame)
  }
  requestAnimationFrame(frame)
"""
# Asks for it, once nothing has kept the page waiting for a second.
LONGEST = """() => new Promise((done) => {
  const since = performance.now()
  const look = () => {
    if (performance.now() - Math.max(since, window.quiet) < 1200) return void requestAnimationFrame(look)
    done(window.longest / 1000)
    window.longest = 0
  }
  look()
})"""


SURFACES = "performance.getEntriesByName('bifseg-surface').map(({ duration }) => duration / 1000)"


def costs(browser: Browser, desk: Desk, path: Path) -> list[Cost]:
    """After a scan is opened, its window is changed, and masks arrive."""
    session = desk.session(desk.send(path), "rendered")
    shape = read_image(path).shape
    other = Desk(browser, desk.base, desk.context)
    other.context.add_init_script(WAITS)
    other.open(session)
    opened = other.page.evaluate(LONGEST)
    other.page.locator("select[data-key=window]").select_option("Full range")
    window = other.page.evaluate(LONGEST)
    masks = []
    for k in range(MASKS):
        low = np.array([20 + 25 * k, 40, shape[2] // 2 - SIDE // 2])
        middle = low + SIDE // 2
        other.look(("Axial", middle), ("Coronal", middle))
        other.box_in(3)
        other.drag("Axial", low, low + SIDE - 1)
        with other.acting():
            other.drag("Coronal", low, low + SIDE - 1)
        masks.append(other.page.evaluate(LONGEST))
    surfaces = other.page.evaluate(SURFACES)
    other.close()
    return [
        Cost("From a mask to its surface", surfaces[-MASKS:], "s", PROMISED, True),
        Cost("Longest wait after the first slice", [opened], "s"),
        Cost("Longest wait after another window", [window], "s"),
        Cost("Longest wait after a mask", masks, "s"),
    ]
