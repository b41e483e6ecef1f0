"""How long the page stands still while its 3D view is made, or follows: NiiVue draws it, on the CPU where no GPU is."""

from __future__ import annotations

from pathlib import Path

from playwright.sync_api import Browser

from benchmarks.page.browser import Desk
from benchmarks.page.scrolling import NO_WEBGL
from benchmarks.page.tables import Cost

MASKS = 3
ABOUT = (
    "256 x 256 x 240 voxels of int16, all views: the longest wait between two frames, in which nothing scrolls, after "
    "what makes the 3D view follow. WebGL is SwiftShader's, on the CPU; a GPU is another matter."
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


def costs(browser: Browser, desk: Desk, path: Path) -> list[Cost]:
    """After a scan is opened, its window is changed, and masks arrive; with a 3D view and without."""
    image = desk.send(path)
    found = []
    for name, script in (("with 3D", None), ("without", NO_WEBGL)):
        other = Desk(browser, desk.base, desk.context)
        other.context.add_init_script(WAITS)
        if script:
            other.context.add_init_script(script)
        other.open(other.session(image, "rendered"))
        opened = other.page.evaluate(LONGEST)
        other.page.locator("select[data-key=window]").select_option("Full range")
        window = other.page.evaluate(LONGEST)
        masks = []
        for k in range(MASKS):
            other.box_in(2)
            with other.acting():
                other.drag("Axial", (60 + 40 * k, 100, 120), (90 + 40 * k, 150, 120))
            masks.append(other.page.evaluate(LONGEST))
        other.close()
        found += [
            Cost(f"Longest wait after the first slice, {name}", [opened], "s"),
            Cost(f"Longest wait after another window, {name}", [window], "s"),
            Cost(f"Longest wait after a mask, {name}", masks, "s"),
        ]
    return found
