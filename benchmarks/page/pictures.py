"""Pictures of the page for its documentation, on a made-up abdomen."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from benchmarks.page.abdomen import KIDNEY, LESION, SPLEEN, abdomen
from benchmarks.page.browser import SIZE, Desk, browsing, serving
from bifseg.io import images

ROOM = 4  # voxels between an organ and its box
SETTLED = 2500  # milliseconds after which the 3D view is drawn, too
LOW = 730  # CSS pixels that the start screen needs


class Models:
    """Who sits for the pictures: the scan, and where its organs are."""

    def __init__(self, folder: Path) -> None:
        self.scan, self.labels = abdomen()
        self.path = folder / "abdomen.nii"
        images.write_image(self.path, self.scan.array, self.scan)

    def box(self, label: int) -> tuple[np.ndarray, np.ndarray]:
        """The first and the last voxel of a box around an organ."""
        found = np.argwhere(self.labels == label)
        return found.min(0) - ROOM, np.minimum(found.max(0) + ROOM, np.array(self.scan.shape) - 1)

    def middle(self, label: int) -> np.ndarray:
        """The organ's voxel nearest to its centre."""
        found = np.argwhere(self.labels == label)
        return found[np.abs(found - found.mean(0)).sum(1).argmin()]

    def line(self, label: int, axis: int, **at: int) -> tuple[list[int], list[int]]:
        """The inner half of an organ along an axis; ``at`` says where on the two others, x, y or z."""
        ends = [at.get(name, 0) for name in "xyz"]
        place = tuple(slice(None) if k == axis else ends[k] for k in range(3))
        first, last = np.quantile(np.flatnonzero(self.labels[place] == label), (0.25, 0.75)).astype(int)
        return [*ends[:axis], int(first), *ends[axis + 1 :]], [*ends[:axis], int(last), *ends[axis + 1 :]]


def draw(data: Path) -> dict[str, bytes]:
    """The four pictures, PNG, by their names."""
    with TemporaryDirectory() as folder, browsing() as browser, serving(data) as link:
        models = Models(Path(folder))
        desk = Desk(browser, link, color_scheme="dark")
        image = desk.send(models.path)
        desk.session(desk.ask("POST", "images/demo"), "Demo phantom")
        made = {}
        for (name, title), picture in {
            ("box", "Kidney, synthetic"): _box,
            ("adapted", "Abdomen, synthetic"): _adapted,
            ("map", "Spleen, synthetic"): _map,
        }.items():
            picture(desk, models, desk.session(image, title))
            desk.page.mouse.move(0, 0)
            desk.page.evaluate("document.activeElement?.blur()")
            desk.page.wait_for_timeout(SETTLED)
            made[f"page-{name}.png"] = desk.page.screenshot()
        desk.page.emulate_media(color_scheme="light")
        desk.page.set_viewport_size({"width": SIZE["width"], "height": LOW})
        desk.page.goto(desk.base)
        desk.page.locator(".sessions").wait_for()
        desk.page.evaluate("() => Promise.all([...document.images].map((image) => image.decode()))")
        made["page-start.png"] = desk.page.screenshot()
        desk.close()
    return made


def _begun(desk: Desk, models: Models, session: str, *organs: tuple[str, int]) -> None:
    """Organs segmented from their boxes, and the page at the middle of the last of them."""
    for k, (name, label) in enumerate(organs, start=1):
        low, high = models.box(label)
        ranges = ",".join(f"{a}:{b + 1}" for a, b in zip(low, high, strict=True))
        desk.ask("POST", f"sessions/{session}/box", data={"box": ranges})
        desk.ask("POST", f"sessions/{session}/rename", data={"name": f"object {k}", "to": name})
    desk.open(session)
    desk.page.keyboard.press("0")


def _box(desk: Desk, models: Models, session: str) -> None:
    _begun(desk, models, session)
    low, high = models.box(KIDNEY)
    middle = models.middle(KIDNEY)
    desk.look(("Axial", middle), ("Coronal", middle))
    desk.box_in(3)
    desk.drag("Axial", low, high)


def _adapted(desk: Desk, models: Models, session: str) -> None:
    _begun(desk, models, session, ("lesion", LESION), ("left kidney", KIDNEY), ("spleen", SPLEEN))
    middle = models.middle(SPLEEN)
    desk.look(("Axial", middle), ("Coronal", middle))
    desk.page.keyboard.press("p")
    _, high = models.box(SPLEEN)
    with desk.acting():
        desk.drag("Sagittal", *models.line(SPLEEN, 1, x=int(middle[0]), z=int(high[2]) - 12))
    desk.page.locator("[aria-label=Adaptation]:visible").wait_for()


def _map(desk: Desk, models: Models, session: str) -> None:
    _begun(desk, models, session, ("spleen", SPLEEN))
    middle = models.middle(SPLEEN)
    desk.look(("Axial", middle), ("Coronal", middle))
    for view in ("Axial", "Coronal"):
        desk.bring(view, middle)
    desk.closer(3)
    desk.page.keyboard.press("p")
    desk.page.keyboard.press("o")
    desk.page.locator("select[data-key=map]").select_option("uncertainty")
