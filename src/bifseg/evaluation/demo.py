"""The whole loop on one object: a simulated user draws a box, looks at the mask, and scribbles where it is wrong.

The default phantom, ``SEED``, was picked from 24 for a first mask that is visibly wrong and scribbles that mend it: an
illustration, not evidence. Dice and times on real scans are in docs/explanation/accuracy.md.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from bifseg.errors import InvalidInput
from bifseg.evaluation.figure import FigureRow, draw
from bifseg.evaluation.metrics import dice
from bifseg.evaluation.simulated_users import simulated_box, simulated_scribbles
from bifseg.imaging.image import Image, slicing_axis
from bifseg.io.images import read_image, read_labels, write_image
from bifseg.prompts.interaction import Box
from bifseg.session.session import Session
from bifseg.training.synthetic.phantom import phantom

if TYPE_CHECKING:
    from rich.table import Table

SEED = 13


@dataclass(frozen=True, eq=False)
class DemoCase:
    """A scan and one object in it. ``truth``: bool (x, y, z)."""

    image: Image
    truth: np.ndarray
    label: int
    seed: int
    synthetic: bool

    @property
    def plane(self) -> tuple[int, int]:
        """(axis, index) of the slice that shows most of the object, across the scan's thickest slices."""
        axis = slicing_axis(self.image.spacing) if not self.image.planar else 2
        return axis, int(np.argmax(self.truth.sum(axis=tuple({0, 1, 2} - {axis}))))

    @property
    def dimensions(self) -> tuple[int, ...]:
        """2 and 3, or 2 alone for an object on one slice."""
        return (2, 3) if all(len(np.unique(found)) > 1 for found in np.nonzero(self.truth)) else (2,)


@dataclass(frozen=True, eq=False)
class Stage:
    """A mask on the way: how good it is, and the milliseconds it took, by what was done."""

    name: str
    mask: np.ndarray
    dice: float
    milliseconds: dict[str, float]

    @property
    def total(self) -> float:
        return sum(self.milliseconds.values())


@dataclass(frozen=True, eq=False)
class Loop:
    """What happened to one object in 2D or 3D; arrays (x, y, z) of the image's shape, Dice within the box's plane."""

    box: Box
    stages: tuple[Stage, Stage, Stage]  # the network alone, after the cut, after the scribbles
    scribbles: np.ndarray
    weights: np.ndarray  # Eq. 13, of the last network update
    probability: np.ndarray
    uncertainty: np.ndarray
    parameters: dict
    cold: tuple[float, ...] = (0.0, 0.0, 0.0)  # milliseconds of the stages the first time: loading, compiling

    @property
    def name(self) -> str:
        return f"{self.box.dimension}D"

    def report(self) -> dict:
        """Dice and times, ready for JSON."""
        stages = [
            {"stage": s.name, "dice": round(s.dice, 4), "milliseconds": s.milliseconds, "cold": round(cold, 1)}
            for s, cold in zip(self.stages, self.cold, strict=True)
        ]
        return {"dimension": self.box.dimension, "box": str(self.box), "stages": stages}


def open_case(
    image: Path | None = None, truth: Path | None = None, label: int | None = None, seed: int | None = None
) -> DemoCase:
    """A labelled scan from files, or the phantom; the object is ``label`` or the one with the most voxels.

    Raises InvalidInput where only one of the files is given, and for a label that the truth does not hold.
    """
    if (image is None) != (truth is None):
        raise InvalidInput("A real case needs both: an image, and its truth as a label map.")
    seed = SEED if seed is None else seed
    if image is None or truth is None:
        scan, labels = phantom(seed)
    else:
        scan = read_image(image).check_scan()
        labels = read_labels(truth, scan)
    sizes = dict(zip(*(a.tolist() for a in np.unique(labels, return_counts=True)), strict=True))
    sizes.pop(0, None)
    if not sizes or label not in {None, *sizes}:
        raise InvalidInput(
            f"The truth holds no object {label or ''}; it has the labels {', '.join(map(str, sizes)) or 0}."
        )
    label = label or max(sizes, key=lambda value: sizes[value])
    return DemoCase(scan, labels == label, label, seed, synthetic=image is None)


def run(case: DemoCase, dimension: int) -> Loop:
    """Box, mask, scribbles, refined mask: in 2D on the object's largest slice, in 3D on the whole object.

    Done twice, with the same result: the first time, code is loaded and perhaps compiled.
    """
    first = _run(case, dimension)
    return replace(_run(case, dimension), cold=tuple(stage.total for stage in first.stages))


def _run(case: DemoCase, dimension: int) -> Loop:
    rng = np.random.default_rng(case.seed)
    box = simulated_box(case.truth, rng, plane=case.plane if dimension == 2 else None)
    session = Session(case.image, seed=case.seed)

    def stage(name: str) -> Stage:
        spent = session.report()["objects"][0]["milliseconds"]
        return Stage(name, session.mask, dice(box.crop(session.mask), truth), spent)

    truth = box.crop(case.truth)
    session.box(box, refine="none")
    network = stage("box: the network alone")
    session.refine()
    adapts = session.report()["objects"][0]["parameters"]["unsupervised"]
    first = stage("+ unsupervised fine-tuning" if adapts else "+ graph cut")
    scribbles = simulated_scribbles(first.mask, case.truth, box)
    session.scribble(scribbles)
    weights = session.weight_map()
    return Loop(
        box,
        (network, first, stage("+ scribbles, fine-tuning")),
        scribbles,
        np.ones(case.image.shape, np.float32) if weights is None else weights,
        session.probability(),
        session.uncertainty(),
        session.report()["objects"][0]["parameters"],
    )


def table(loops: list[Loop]) -> Table:
    """Dice and time per stage, for the terminal."""
    from rich.table import Table

    result = Table("", "stage", "Dice", "ms", "ms the first time", "of the ms")
    for column in result.columns[2:5]:
        column.justify = "right"
    for loop in loops:
        for k, (stage, cold) in enumerate(zip(loop.stages, loop.cold, strict=True)):
            longest = sorted(stage.milliseconds.items(), key=lambda item: -item[1])[:3]
            parts = ", ".join(f"{what} {ms:.0f}" for what, ms in longest)
            result.add_row(
                "" if k else loop.name, stage.name, f"{stage.dice:.3f}", f"{stage.total:.0f}", f"{cold:.0f}", parts
            )
        result.add_section()
    return result


def writers(case: DemoCase, loops: list[Loop]) -> dict[str, Callable[[Path], None]]:
    """What the demo leaves behind: for each file name, the function that writes it to a path."""
    arrays = {"truth": case.truth} | ({"image": case.image.array} if case.synthetic else {})
    for loop in loops:
        found = {
            "initial": loop.stages[1].mask,
            "scribbles": loop.scribbles,
            "mask": loop.stages[2].mask,
            "probability": loop.probability,
            "uncertainty": loop.uncertainty,
        }
        arrays |= {f"{loop.name.lower()}-{name}": array for name, array in found.items()}

    def volume(array: np.ndarray) -> Callable[[Path], None]:
        return lambda path: write_image(path, array, case.image)

    files = {f"{name}.nii.gz": volume(array) for name, array in arrays.items()}
    return files | {"demo.png": lambda path: draw([row(case, loop) for loop in loops], path)}


def middle(within: np.ndarray, drawn: np.ndarray, errors: np.ndarray) -> int:
    """Of the object's slices the middle one or, in the middle third, the scribbled one with the most errors.

    ``within``, ``drawn``: bool per slice, where there is object or scribble. ``errors``: wrong voxels per slice.
    """
    slices = np.flatnonzero(within)
    third = slices[len(slices) // 3 : len(slices) - len(slices) // 3]
    scribbled = third[drawn[third]]
    return int(scribbled[np.argmax(errors[scribbled])] if len(scribbled) else slices[len(slices) // 2])


def row(case: DemoCase, loop: Loop) -> FigureRow:
    """A loop as pictures, hung as radiologists do: in 3D of a slice through the object's middle, if possible the
    scribbled one where the first mask was most wrong."""
    _, first, last = loop.stages
    axis, index = case.plane
    if loop.box.dimension == 3:
        across = tuple({0, 1, 2} - {axis})
        errors, drawn = (first.mask != case.truth).sum(axis=across), loop.scribbles.any(axis=across)
        index = middle(np.asarray(case.truth.any(axis=across)), np.asarray(drawn), errors)
    shown = [a for a in range(3) if a != axis]
    direction = case.image.direction[:, shown]
    main = np.argmax(np.abs(direction), axis=0)  # each shown axis runs mostly along L, P or S
    mirrored = tuple(a for a in range(2) if (direction[main[a], a] > 0) == (main[a] == 2))  # wanted: L, P, foot
    order = np.argsort(main, kind="stable")

    def upright(volume: np.ndarray) -> np.ndarray:
        return np.flip(np.take(volume, index, axis=axis), mirrored).transpose(order)

    inside = np.zeros(case.image.shape, bool)
    inside[loop.box.slices] = True
    return FigureRow(
        name=loop.name if loop.box.dimension == 2 else f"{loop.name}, slice {'xyz'[axis]} = {index}",
        image=upright(case.image.array),
        truth=upright(case.truth),
        box=upright(inside),
        initial=upright(first.mask),
        scribbles=upright(loop.scribbles),
        weights=upright(loop.weights),
        mask=upright(last.mask),
        spacing=tuple(np.array(case.image.spacing)[shown][order]),
        levels=(loop.parameters["unsure"], loop.parameters["omega"]),
        before=f"Dice {first.dice:.2f} in {(loop.stages[0].total + first.total) / 1000:.2f} s",
        after=f"Dice {last.dice:.2f} in {last.total / 1000:.2f} s",
    )
