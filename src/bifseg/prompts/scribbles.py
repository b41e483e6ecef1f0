"""Labels that a user gave, checked: which mask they are, and what of them may be painted in a box."""

from __future__ import annotations

import numpy as np

from bifseg.errors import InvalidInput
from bifseg.imaging.image import extent
from bifseg.prompts.interaction import BACKGROUND, ERASED, FOREGROUND, Box, Patch


def only_label(
    labels: np.ndarray, label: int | None = None, *, name: str = "The initial mask", option: str = "label="
) -> np.ndarray:
    """The voxels of one label of a label map: bool; without ``label`` of the only one there is, besides 0.

    Raises InvalidInput where it has several and none is chosen, or not the chosen one; ``name`` and ``option``: what
    its sentence calls the map, and the way to choose.
    """
    if labels.dtype == bool and label in (None, 1):
        return labels
    values = np.unique(labels)
    values = values[values != 0]
    listed = ", ".join(str(value) for value in values[:10].tolist()) + (", ..." if len(values) > 10 else "")
    if label is None and len(values) > 1:
        raise InvalidInput(f"{name} holds the labels {listed}; choose one of them with {option}{values[0]}.")
    if label is not None and label not in values:
        raise InvalidInput(f"{name} has no label {label}; it holds {listed or 'nothing but 0'}.")
    return labels != 0 if label is None else labels == label


def merge(foreground: np.ndarray | None, background: np.ndarray | None) -> Patch:
    """Two scribble masks (x, y, z) of one shape as uint8 labels; InvalidInput for a voxel that is in both."""
    given = {FOREGROUND: foreground, BACKGROUND: background}
    masks = {label: np.asarray(mask) for label, mask in given.items() if mask is not None}
    if not masks:
        raise InvalidInput("No scribbles are given: give labels, or a foreground or a background mask.")
    shapes = [mask.shape for mask in masks.values()]
    if shapes[0] != shapes[-1]:
        raise InvalidInput(f"The scribble masks have the shapes {shapes[0]} and {shapes[1]}.")
    extents = [found for found in map(extent, masks.values()) if found]
    if not extents:
        return Patch.of(np.zeros((0, 0, 0), np.uint8))
    ranges = [(min(a for a, _ in pairs), max(b for _, b in pairs)) for pairs in zip(*extents, strict=True)]
    box = Box(*zip(*ranges, strict=True))
    inside = {label: mask[box.slices] != 0 for label, mask in masks.items()}
    if len(inside) == 2 and (both := np.count_nonzero(inside[FOREGROUND] & inside[BACKGROUND])):
        raise InvalidInput(f"{both} voxels are in the foreground and the background scribbles; each can be in one.")
    return Patch(box, sum(mask * np.uint8(label) for label, mask in inside.items()))


def scribbles_in(box: Box, patch: Patch, locked: np.ndarray) -> np.ndarray:
    """The labels of a patch inside a box, checked: uint8, the box's shape; ``ERASED`` where strokes erase.

    ``locked``: bool, the box's shape, voxels of other objects. Raises InvalidInput for scribbles outside the box, for
    labels other than 0, 1 and 2, and for foreground on a locked voxel. An eraser may leave the box: it is a rough tool.
    """
    inside = patch.inside(box)
    everywhere, drawn = patch.labels, inside
    if patch.erases:
        everywhere, drawn = (np.where(labels == ERASED, 0, labels) for labels in (everywhere, inside))
    if outside := np.count_nonzero(everywhere) - np.count_nonzero(drawn):
        raise InvalidInput(f"{outside} scribble voxels lie outside the box {box}.")
    if strange := set(np.unique(drawn[drawn != 0]).tolist()) - {FOREGROUND, BACKGROUND}:
        raise InvalidInput(f"The scribbles hold the labels {sorted(strange)}; 1 is foreground, 2 background, 0 none.")
    if clash := np.count_nonzero(locked & (inside == FOREGROUND)):
        raise InvalidInput(
            f"{clash} foreground scribble voxels lie in a finished object; select that one to change it."
        )
    return inside.astype(np.uint8, copy=False)
