"""What is painted in the scribbles panel of MONAI Label's 3D Slicer module, and what it means for the session.

Each of its requests says the whole truth: a region of interest, and all that was painted so far. So it is compared
with what the session knows: what is new corrects the object, another region moves its box, and where scribbles are
gone it begins anew.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, floor
from typing import Annotated, Literal

import numpy as np
from pydantic import BaseModel, Field

from bifseg.errors import InvalidInput
from bifseg.imaging.image import extent
from bifseg.prompts.first_scribbles import box_of
from bifseg.prompts.interaction import BACKGROUND, FOREGROUND, Box, Patch
from bifseg.server.api.bodies.base import Name, parsed
from bifseg.server.nninteractive.prompts import Labels, PromptScene
from bifseg.session.state import State

HIDDEN = 3  # what is painted here is not known: another segment covers it, or no label map came
KINDS = {"foreground_scribbles": FOREGROUND, "background_scribbles": BACKGROUND}
Place = Annotated[float, Field(ge=-(2**31), le=2**31, allow_inf_nan=False)]


class Painted(BaseModel):
    """A segment of Slicer's, and the number it has in the label map."""

    name: str
    id: Annotated[int, Field(ge=1)]


class InferenceRequest(BaseModel):
    """The params of a request; Slicer sends more than is used."""

    roi: list[Place] = []
    label_info: list[Painted] = []
    selected_label_name: Name | None = None
    result_extension: Literal[".nrrd", ".nii.gz", ".nii", ".mha"] = ".nrrd"

    @classmethod
    def of(cls, params: str) -> InferenceRequest:
        """From JSON; InvalidInput, in one sentence, for what is of another form."""
        return parsed(cls, params, "params")

    def region(self, shape: tuple[int, int, int], spacing: tuple[float, float, float]) -> Box | None:
        """The region of interest as a box in an image; its ends come in any order. None where there is none."""
        if not self.roi:
            return None
        if len(self.roi) != 6:
            raise InvalidInput(f"The roi has {len(self.roi)} numbers; it has six, x0, x1, y0, y1, z0, z1, in voxels.")
        ends = [sorted(self.roi[axis : axis + 2]) for axis in (0, 2, 4)]
        pairs = [(floor(low), max(ceil(high), floor(low) + 1)) for low, high in ends]
        return Box.parse(PromptScene(shape, spacing).by_box(pairs, include=True)["box"])

    def marks(self, labels: np.ndarray) -> np.ndarray:
        """The scribbles in a label map (x, y, z): uint8, 1 foreground, 2 background, 3 hidden, 0 none."""
        ids = {segment.id: KINDS[segment.name] for segment in self.label_info if segment.name in KINDS}
        marks = np.zeros(labels.shape, np.uint8)
        for id, kind in ids.items():
            marks[labels == id] = kind
        if ids:  # where segments overlap, Slicer writes the one that comes last
            marks[labels > max(ids)] = HIDDEN
        return marks


def interactions(
    state: State, name: str, box: Box | None, marks: np.ndarray, spacing: tuple[float, float, float]
) -> list[dict]:
    """What makes an object have this box and these scribbles, as `DurableSession` takes it, with `Labels` for arrays.

    ``marks``: uint8 (x, y, z) as `InferenceRequest.marks` gives them; outside the box they say nothing. ``box``: None
    for the one that the object has, or one around the scribbles. Nothing is to do where all is so already. Raises
    InvalidInput where there is neither box nor scribble.
    """
    known, before, opens = state.objects.get(name), np.zeros_like(marks), box is None
    if known:
        before[known.box.slices] = known.scribbles
    marks = np.where(marks == HIDDEN, before, marks)
    if box is None:
        box = _box_of(marks, before, known.box if known else None, spacing)
    inside, earlier = marks[box.slices], before[box.slices]
    new = np.where(inside == earlier, 0, inside)
    if known is None or ((earlier > 0) & (inside == 0)).any():
        where = {} if opens and marks.any() else {"box": str(box)}  # without a region scribbles begin it
        begin = {"kind": "box", **where, "name": name, **_scribbles(inside, box)}
        return [{"kind": "remove", "name": name}, begin] if known else [begin]
    if box != known.box:
        change = {"kind": "resize", "box": str(box), **_scribbles(new, box)}
    elif new.any():
        change = {"kind": "scribble", **_scribbles(new, box)}
    else:
        return []
    return [change] if state.current == name else [{"kind": "select", "name": name}, change]


def cut(array: np.ndarray, start: Sequence[int] = (0, 0, 0)) -> Labels:
    """What is not 0 in an array that begins at ``start`` in the image, and a voxel more where a box needs two."""
    ranges = []
    for n, (low, high) in zip(array.shape, extent(array) or [(0, 0)] * 3, strict=True):
        low = max(0, min(low, n - 2))
        ranges.append((low, max(high, min(n, low + 2))))
    box = Box(*zip(*((at + low, at + high) for at, (low, high) in zip(start, ranges, strict=True)), strict=True))
    return Labels(box, np.ascontiguousarray(array[tuple(slice(*pair) for pair in ranges)], np.uint8))


def _scribbles(array: np.ndarray, box: Box) -> dict:
    return {"scribbles": cut(array, box.start)} if array.any() else {}


def _box_of(marks: np.ndarray, before: np.ndarray, box: Box | None, spacing: tuple[float, float, float]) -> Box:
    """The object's own box while old scribbles are there and new ones in it; else one around them all."""
    if box is not None:
        erased = ((before > 0) & (marks == 0)).any()
        outside = np.count_nonzero(marks) > np.count_nonzero(marks[box.slices])
        if not erased and not outside:
            return box
    if not marks.any():
        raise InvalidInput("There is nothing to go by: place a region of interest, or paint scribbles.")
    return box_of(Patch.of(marks), marks.shape, spacing)
