"""From a hand's deed to the mask on the screen: strokes, boxes, undo, switching between objects."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import islice

import numpy as np

from benchmarks.page.browser import Desk
from benchmarks.page.tables import Cost

PROMISED = {2: 0.4, 3: 1.5}  # seconds, by dimension
BOX, CUBE = 128, 80  # voxels along a side
FLAT, DEEP, SEED = (256, 256, 40), (160, 160, 120), 4  # phantoms
ABOUT = (
    "From the input event to the end of drawing the frame that shows it, by the page's own clock; seen from outside, "
    "until the frame after the one in which pixels of the axial slice last changed."
)

# From outside: when the pixels of the axial slice last changed after an input.
WATCH = """(kind) => {
  const canvas = document.querySelector("canvas[aria-label^='Axial']")
  const watched = { input: 0, last: 0, hash: 0, going: true }
  window.watched = watched
  addEventListener(kind, (event) => { watched.input = event.timeStamp }, { capture: true, once: true })
  const look = () => {
    const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height)
    let hash = 0
    for (const pixel of new Uint32Array(data.buffer)) hash = (31 * hash + pixel) | 0
    if (hash !== watched.hash) Object.assign(watched, { hash, last: performance.now() })
    if (watched.going) requestAnimationFrame(look)
  }
  look()
}"""


def watched(desk: Desk, kind: str, deed: Callable[[], None]) -> float:
    """Seconds from an input event to the last change of the axial slice that it led to."""
    desk.page.evaluate(WATCH, kind)
    with desk.acting():
        deed()
    desk.page.wait_for_timeout(250)  # would a later frame change anything
    input_, last = desk.page.evaluate("() => { watched.going = false; return [watched.input, watched.last] }")
    return (last - input_) / 1000


def told(desk: Desk, kind: str) -> list[float]:
    """Seconds of the page's own measures of one kind of interaction, which are forgotten then."""
    read = """(name) => {
      const found = performance.getEntriesByName(name).map(({ duration }) => duration / 1000)
      performance.clearMeasures(name)
      return found
    }"""
    return desk.page.evaluate(read, f"bifseg-{kind}")


def _strokes(
    rng: np.random.Generator, labels: np.ndarray, box: Sequence[tuple[int, int]]
) -> Iterator[tuple[str, list[int], list[int]]]:
    """Strokes in a plane of a box, over and over: the key that says of what, where they begin and where they end."""
    window = tuple(slice(low, high) for low, high in box)
    found = labels[window] == np.bincount(labels[window].ravel())[1:].argmax() + 1
    while True:
        for key, where in (("f", found), ("g", ~found)):
            inner = where.copy()
            for axis in (0, 1):  # far enough from the border that the whole stroke is in the box
                inner &= np.roll(where, 12, axis)
                inner[tuple(slice(0, 14) if a == axis else slice(None) for a in range(3))] = False
            places = np.argwhere(inner)
            if not len(places):
                continue
            end = places[rng.integers(len(places))] + [low for low, _ in box]
            yield key, (end - [12, 12, 0]).tolist(), end.tolist()


def _check(desk: Desk, session: str, sides: Sequence[int]) -> None:
    """RuntimeError where the last box is of another size than was to be drawn: no promise is about that."""
    last = desk.ask("GET", f"sessions/{session}")["objects"][-1]["box"]
    ranges = [[int(end) for end in part.split(":")] for part in last.split(",")]
    found = [ends[-1] - ends[0] if len(ends) == 2 else 1 for ends in ranges]
    if any(abs(a - b) > 2 for a, b in zip(found, sides, strict=True)):
        raise RuntimeError(f"The box that was drawn has {found} voxels, not about {list(sides)}.")


def flat_costs(desk: Desk, labels: np.ndarray, image: dict, n: int) -> list[Cost]:
    """2D: boxes of about 128 x 128 in several slices, strokes in each, with one view and with all."""
    rng = np.random.default_rng(0)
    made: dict[str, list[float]] = {}
    outside: list[float] = []
    for layout, name in (("1", "all views"), ("2", "one view")):
        session = desk.session(image, f"2D, {name}")
        desk.open(session, layout)
        full = np.flatnonzero((labels > 0).sum((0, 1)) > 2000)
        slices = full[np.linspace(0, len(full) - 1, n // 4).astype(int)]
        for z in slices:
            where = np.argwhere(labels[:, :, z])
            middle = where[rng.integers(len(where))].clip(BOX // 2, np.array(labels.shape[:2]) - BOX // 2)
            low = middle - BOX // 2
            box = [(int(a), int(a) + BOX) for a in low] + [(int(z), int(z) + 1)]
            desk.scroll(z)
            desk.box_in(2)
            with desk.acting():
                desk.drag("Axial", (*low, z), (*(low + BOX - 1), z))
            _check(desk, session, (BOX, BOX, 1))
            for key, start, end in islice(_strokes(rng, labels, box), 4):
                desk.page.keyboard.press(key)
                if z == slices[0]:
                    outside.append(watched(desk, "pointerup", lambda s=start, e=end: desk.drag("Axial", s, e)))
                    told(desk, "scribble")
                else:
                    with desk.acting():
                        desk.drag("Axial", start, end)
        made[f"stroke, {name}"] = told(desk, "scribble")
        made[f"box, {name}"] = told(desk, "box")
    undone = [watched(desk, "keydown", lambda: desk.page.keyboard.press("Control+z")) for _ in range(n // 4)]
    names = desk.page.locator(".row .name")
    switched = [
        watched(desk, "click", lambda k=k: names.nth(k % names.count()).click()) for k in range(n // 4)
    ]  # fmt: skip
    return [
        Cost("From the end of a stroke to the mask, 2D, one view", made["stroke, one view"], "s", PROMISED[2]),
        Cost("From the end of a stroke to the mask, 2D, all views", made["stroke, all views"], "s", PROMISED[2]),
        Cost("The same seen from outside: pixels of the slice", outside, "s", PROMISED[2]),
        Cost("From a box to its mask, 2D", made["box, one view"] + made["box, all views"], "s"),
        Cost("Undo, 2D", undone, "s"),
        Cost("Switching to another object, 2D", switched, "s"),
    ]


def cube_costs(desk: Desk, labels: np.ndarray, image: dict, n: int) -> list[Cost]:
    """3D: boxes of about 80^3 voxels around varying places, strokes in each."""
    rng = np.random.default_rng(1)
    made: dict[str, list[float]] = {"stroke": [], "box": [], "undo": []}
    outside = []
    for index in range(n // 4):
        session = desk.session(image, f"3D, {index + 1}")  # in one that has objects, what they hold is locked
        desk.open(session)
        where = np.argwhere(labels)
        middle = where[rng.integers(len(where))].clip(CUBE // 2, np.array(labels.shape) - CUBE // 2)
        low, high = middle - CUBE // 2, middle + CUBE // 2 - 1
        desk.look(("Axial", middle), ("Coronal", middle))
        desk.box_in(3)
        desk.drag("Axial", low, high)
        with desk.acting():
            desk.drag("Coronal", low, high)
        _check(desk, session, (CUBE,) * 3)
        box = [(int(a), int(b) + 1) for a, b in zip(low, high, strict=True)]
        desk.look(("Coronal", middle))
        shown = int(middle[2])
        plane = [*box[:2], (shown, shown + 1)]
        for key, start, end in islice(_strokes(rng, labels, plane), 4):
            desk.page.keyboard.press("p")
            desk.page.keyboard.press(key)
            if index == 0:
                outside.append(watched(desk, "pointerup", lambda s=start, e=end: desk.drag("Axial", s, e)))
                told(desk, "scribble")
            else:
                with desk.acting():
                    desk.drag("Axial", start, end)
        made["stroke"] += told(desk, "scribble")
        made["box"] += told(desk, "box")
        made["undo"].append(watched(desk, "keydown", lambda: desk.page.keyboard.press("Control+z")))
    return [
        Cost("From the end of a stroke to the mask, 3D, all views", made["stroke"], "s", PROMISED[3]),
        Cost("The same seen from outside: pixels of the slice", outside, "s", PROMISED[3]),
        Cost("From a box to its mask, 3D", made["box"], "s"),
        Cost("Undo, 3D", made["undo"], "s"),
    ]
