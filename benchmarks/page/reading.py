"""A whole reading, played by hands in a real Chromium: ``python -m benchmarks.page.reading``, some two minutes.

A CT comes as a folder of DICOM slices; three objects are drawn, two in 3D and one in 2D that is carried through a
range of slices; ten strokes; in the middle the server is killed and started again while a stroke is drawn. DICOM-SEG
and NIfTI are exported and compared with what the server has. What hands do is counted by the page's own events; a wait
begins with the last of it, and the table says with what it ends. Before the folder is chosen, hands take ``--dialog``
seconds, as they do in the system's own dialog; with 0 it is opened while the program still starts.
Writes results/reading.json and results/reading.md into the folder given by ``-o`` (docs).
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from benchmarks.page.abdomen import KIDNEY, LESION, SPLEEN
from benchmarks.page.browser import LONG, App, Desk, browsing
from benchmarks.page.opening import FIRST_SLICE, seen
from benchmarks.page.others import told
from benchmarks.page.pictures import Models
from benchmarks.page.scanner import write_series
from benchmarks.page.tables import markdown
from benchmarks.speed import machine
from bifseg.io.atomic import write_atomically
from bifseg.io.images import read_image

ROOT = Path(__file__).parents[2]
MOST = 1.0  # seconds that a wait may take
DIALOG = 5.0  # seconds in which a folder is found and chosen
DRAWN, MASKED, EVERY, WRITTEN = (
    "the first slice is drawn", "the mask is saved and on the screen", "all masks are saved and on the screen",
    "the file is there",
)  # fmt: skip
# What a person's hands do, counted where it arrives: presses that moved are drags.
COUNTED = """(() => {
  const tally = JSON.parse(sessionStorage.getItem('tally') ?? '{"clicks":0,"drags":0,"keys":0,"wheel":0}')
  let from = null
  const add = (what) => { tally[what]++; sessionStorage.setItem('tally', JSON.stringify(tally)) }
  addEventListener('pointerdown', (event) => { from = [event.clientX, event.clientY] }, true)
  addEventListener('pointerup', (event) => {
    if (from) add(Math.hypot(event.clientX - from[0], event.clientY - from[1]) > 4 ? 'drags' : 'clicks')
    from = null
  }, true)
  addEventListener('keydown', (event) => { if (!event.repeat) add('keys') }, true)
  addEventListener('wheel', () => add('wheel'), true)
})()"""
TALLY = 'JSON.parse(sessionStorage.getItem(\'tally\') ?? \'{"clicks":0,"drags":0,"keys":0,"wheel":0}\')'


@dataclass
class Step:
    """A task of the reading: what hands did for it, and each wait in seconds, which ends with ``until``."""

    name: str
    until: str = ""
    clicks: int = 0
    drags: int = 0
    keys: int = 0
    wheel: int = 0
    waits: list[float] = field(default_factory=list)


class Reading:
    """Hands at a desk, and what they did so far."""

    def __init__(self, desk: Desk, models: Models) -> None:
        self.desk, self.page, self.models = desk, desk.page, models
        self.steps: list[Step] = []

    @contextmanager
    def step(self, name: str, until: str = MASKED) -> Iterator[Step]:
        step, before = Step(name, until), self.page.evaluate(TALLY)
        yield step
        for what, count in self.page.evaluate(TALLY).items():
            setattr(step, what, getattr(step, what) + count - before[what])
        self.steps.append(step)

    @contextmanager
    def masked(self, step: Step) -> Iterator[None]:
        """What ends in a mask: wait for it."""
        with self.desk.acting():
            yield
            since = time.perf_counter()
        step.waits.append(time.perf_counter() - since)

    def box(self, step: Step, label: int, flat: bool = False) -> None:
        low, high = self.models.box(label)
        middle = self.models.middle(label)
        self.desk.look(("Axial", middle), ("Coronal", middle))
        self.page.keyboard.press("b")
        dimension = self.page.locator(f".options .{'two' if flat else 'three'}")
        if dimension.get_attribute("aria-pressed") != "true":
            dimension.click()
        if flat:
            with self.masked(step):
                self.desk.drag("Axial", [*low[:2], middle[2]], [*high[:2], middle[2]])
            return
        self.desk.drag("Axial", low, high)
        with self.masked(step):
            self.desk.drag("Coronal", [low[0], middle[1], high[2]], [high[0], middle[1], low[2]])

    def stroke(self, label: int, dy: int = 0) -> tuple[list[int], list[int]]:
        """The inner half of an organ, from left to right, in the axial slice on the screen."""
        _, y, z = (int(v) for v in self.models.middle(label))
        row = np.flatnonzero(self.models.labels[:, y + dy, z] == label)
        first, last = np.quantile(row, (0.3, 0.7)).astype(int)
        return [int(first), y + dy, z], [int(last), y + dy, z]


def read(desk: Desk, app: App, models: Models, folder: Path, dialog: float) -> Reading:
    """The whole of it; ``dialog``: seconds in the system's own, in which a folder is chosen."""
    page = desk.page
    page.add_init_script(COUNTED)
    page.add_init_script(FIRST_SLICE)
    page.goto(desk.base)
    page.locator(".sources").wait_for()
    reading = Reading(desk, models)
    series = write_series(folder / "abdomen", models.scan)
    with reading.step("open a CT (a folder of DICOM slices)", DRAWN) as step:
        with page.expect_file_chooser() as chooser:
            page.get_by_role("button", name="Choose a DICOM folder").click()
        step.clicks += 2  # the folder and OK in the system's own dialog
        page.wait_for_timeout(1000 * dialog)
        chooser.value.set_files(series)
        step.waits.append(seen(desk))
    desk.see()
    with reading.step("first object in 3D (spleen)") as step:
        reading.box(step, SPLEEN)
    with reading.step("five strokes on it") as step:
        page.keyboard.press("f")
        for dy in (0, 3, -3, 5, -5):
            with reading.masked(step):
                desk.drag("Axial", *reading.stroke(SPLEEN, dy))
    with reading.step("second object in 3D (kidney)") as step:
        reading.box(step, KIDNEY)
    with reading.step("server killed, a stroke meanwhile, server again", "") as step:
        page.keyboard.press("f")
        app.kill()
        with desk.acting():
            desk.drag("Axial", *reading.stroke(KIDNEY))
            page.locator(".banner:not([hidden])").wait_for(timeout=LONG)
            again = app.start()
        if again.partition("#")[0] != app.link.partition("#")[0]:
            raise RuntimeError(f"The page was at {app.link}, and is at {again} now.")
    with reading.step("two strokes on it") as step:
        for dy in (3, -3):
            with reading.masked(step):
                desk.drag("Axial", *reading.stroke(KIDNEY, dy))
    with reading.step("third object in 2D (lesion)") as step:
        reading.box(step, LESION, flat=True)
    with reading.step("two strokes on it") as step:
        page.keyboard.press("f")
        for dy in (0, 2):
            with reading.masked(step):
                desk.drag("Axial", *reading.stroke(LESION, dy))
    with reading.step("carried through a range of slices", EVERY) as step:
        page.get_by_role("button", name="Range …").click()
        with reading.masked(step):
            page.locator("dialog").get_by_role("button", name="Carry on").click()
    for name, ending in (("DICOM-SEG", "dcm"), ("NIfTI", "nii.gz")):
        with reading.step(f"export {name}", WRITTEN) as step:
            page.keyboard.press("Control+s")
            choice = page.locator("dialog .choice", has_text=name).first
            choice.wait_for()
            with page.expect_download() as download:
                since = time.perf_counter()
                choice.click()
            step.waits.append(time.perf_counter() - since)
            page.keyboard.press("Escape")
        download.value.save_as(folder / f"labels.{ending}")
    return reading


def check(desk: Desk, folder: Path, strokes: int) -> dict:
    """What the files hold beside what the server has; RuntimeError where anything was lost."""
    session = desk.page.url.partition("#session=")[2]
    history = desk.ask("GET", f"sessions/{session}/history")
    drawn = sum(len(entry["request"]["scribbles"]["strokes"]) for entry in history if entry["kind"] == "scribble")
    measures = {one["name"]: one["voxels"] for one in desk.ask("GET", f"sessions/{session}/measures")}
    array = np.asarray(read_image(folder / "labels.nii.gz").array)
    exported = {name: int(np.count_nonzero(array == k)) for k, name in enumerate(measures, start=1)}
    import pydicom

    segments = len(pydicom.dcmread(folder / "labels.dcm").SegmentSequence)
    if drawn != strokes or exported != measures or segments != len(measures):
        raise RuntimeError(f"Lost: {drawn} of {strokes} strokes, {exported} of {measures}, {segments} segments.")
    return {"strokes": drawn, "voxels": measures, "segments in DICOM-SEG": segments}


def document(about: dict, steps: list[Step], held: dict, errors: list[str]) -> str:
    rows = [["task", "clicks", "drags", "keys", "longest wait", "which ends when"]]
    rows += [
        [s.name, str(s.clicks), str(s.drags), str(s.keys), f"{max(s.waits):.2f} s" if s.waits else "–", s.until or "–"]
        for s in steps
    ]
    total = [sum(getattr(s, what) for s in steps) for what in ("clicks", "drags", "keys")]
    longest = max(wait for s in steps for wait in s.waits)
    rows.append(["all", *map(str, total), f"{longest:.2f} s", ""])
    verdict = "kept" if longest <= MOST else "**broken**"
    load = about["load_average_at_start"]
    busy = [
        f"**The machine was not quiet: its load average was {load} at the start; all waits are longer for it.**",
        "",
    ]
    return "\n".join([
        "# A whole reading", "",
        f"{about['date']}; {about['cpu']}, {about['cores']} cores; Chromium {about['browser']}, headless, drawing on "
        f"the CPU, server on the same machine; load average at the start {about['load_average_at_start']}. n = 1. "
        "`python -m benchmarks.page.reading` plays it.", "", *(busy if load > machine.QUIET else []),
        markdown(rows), "",
        f"The folder was chosen after {about['dialog']:g} s in the system's dialog, which are no wait; `--dialog 0` "
        "chooses it at once, while the program still starts.", "",
        f"No wait above {MOST:g} s: {verdict}. While the server was killed, the stroke drawn meanwhile stayed and was "
        f"sent once: {held['strokes']} of 10 strokes arrived. Errors in the console beside those of the lost "
        f"connection: {len(errors)}. The exported NIfTI has the voxels that the server has, DICOM-SEG "
        f"{held['segments in DICOM-SEG']} segments.", "",
        told([*total]), "",
    ])  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-o", "--output", type=Path, default=ROOT / "docs", metavar="DIR")
    parser.add_argument("--dialog", type=float, default=DIALOG, metavar="SECONDS")
    arguments = parser.parse_args()
    about = {**machine.about(2), "dialog": arguments.dialog}
    with TemporaryDirectory() as name, browsing() as browser:
        folder = Path(name)
        models, app = Models(folder), App(folder / "data")
        try:
            about["browser"] = browser.version
            desk = Desk(browser, app.link)
            reading = read(desk, app, models, folder, arguments.dialog)
            held = check(desk, folder, 10)
            errors = [line for line in desk.errors if "ERR_CONNECTION" not in line and "ERR_INCOMPLETE" not in line]
            desk.context.close()
        finally:
            app.kill()
    found = {"about": about, "steps": [asdict(step) for step in reading.steps], "held": held, "errors": errors}
    (arguments.output / "results").mkdir(parents=True, exist_ok=True)
    page = document(about, reading.steps, held, errors)
    write_atomically(arguments.output / "results" / "reading.json", (json.dumps(found, indent=1) + "\n").encode())
    write_atomically(arguments.output / "results" / "reading.md", page.encode())
    print(page)


if __name__ == "__main__":
    main()
