"""How long until a scan of 30 MB shows its first slice."""

from __future__ import annotations

import gzip
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from playwright.sync_api import Browser

from benchmarks.page.browser import LONG, Desk
from benchmarks.page.tables import Cost
from bifseg.imaging.image import Image
from bifseg.io import images
from bifseg.training.synthetic.phantom import phantom

PROMISED = 3.0  # seconds
SHAPE = (256, 256, 240)  # 30 MB of int16
ABOUT = "256 x 256 x 240 voxels of int16 with noise, a fresh browser cache each time; until the slice has its pixels."

# Runs before the page's own scripts: notes when a slice is first on its canvas, and from when on it was asked for.
FIRST_SLICE = """
  window.asked = 0
  addEventListener('change', (event) => { window.asked = event.timeStamp }, true)
  const look = () => {
    const canvas = document.querySelector("canvas[aria-label^='Axial slice']")
    const middle = canvas?.getContext('2d').getImageData(canvas.width / 2 - 40, canvas.height / 2 - 40, 80, 80).data
    if (middle?.some((value, k) => k % 4 < 3 && value > 0)) window.seen = performance.now()
    else requestAnimationFrame(look)
  }
  requestAnimationFrame(look)
"""


def costs(browser: Browser, desk: Desk, scans: Sequence[Path], n: int) -> list[Cost]:
    """A scan of 30 MB: kept by the server already, or sent to it as it is or packed."""
    session = desk.session(desk.send(scans[0]), "first view")
    opened = []
    for _ in range(n):
        other = Desk(browser, desk.base, desk.context)
        other.context.add_init_script(FIRST_SLICE)
        other.page.goto(f"{desk.base}/#session={session}")
        opened.append(seen(other))
        other.close()
    sent: dict[str, list[float]] = {".nii": [], ".gz": []}
    for path in scans[1:]:
        other = Desk(browser, desk.base, desk.context)
        other.context.add_init_script(FIRST_SLICE)
        other.page.goto(desk.base)
        other.page.locator(".sessions").wait_for()
        other.page.locator("input[type=file][multiple]").first.set_input_files(path)
        sent[path.suffix].append(seen(other))
        other.close()
    return [
        Cost("First slice of a 30 MB scan, from navigation", opened, "s", PROMISED),
        Cost("The same, from choosing a .nii to upload", sent[".nii"], "s", PROMISED),
        Cost("The same, from choosing a .nii.gz", sent[".gz"], "s", PROMISED),
    ]


def seen(desk: Desk) -> float:
    """Seconds from when the page was asked for until a slice is drawn."""
    for _ in range(LONG // 100):
        if seen := desk.page.evaluate("() => window.seen && window.seen - window.asked"):
            return seen / 1000
        desk.page.wait_for_timeout(100)
    raise TimeoutError("No slice was drawn within a minute.")


def noisy_scans(folder: Path, n: int) -> list[Path]:
    """One scan as .nii, then n others, each as .nii and .nii.gz: a phantom at half the resolution, and noise."""
    coarse = phantom(5, tuple(size // 2 for size in SHAPE))[0].array
    rng = np.random.default_rng(0)
    voxels = coarse.repeat(2, 0).repeat(2, 1).repeat(2, 2)
    voxels = (voxels + rng.normal(0, 15, SHAPE)).astype(np.int16)
    paths = []
    for k in range(n + 1):
        voxels[0, 0, 0] = k  # another image for the server, which would know the same one again
        path = folder / f"scan{k}.nii"
        images.write_image(path, voxels, Image(voxels))
        paths.append(path)
        if k:
            packed = folder / f"packed{k}.nii.gz"
            voxels[0, 0, 0] = -k
            images.write_image(folder / "once.nii", voxels, Image(voxels))
            packed.write_bytes(gzip.compress((folder / "once.nii").read_bytes(), 1))
            paths.append(packed)
    return paths
