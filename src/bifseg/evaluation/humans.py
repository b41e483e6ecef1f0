"""Scribbles that people drew, where a data set comes with them: ``scribblesTr/`` beside nnU-Net's folders."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from scipy import ndimage

from bifseg.errors import InvalidInput
from bifseg.evaluation.effort import Effort
from bifseg.evaluation.simulated_users import Drawing
from bifseg.imaging.image import Image
from bifseg.io.datasets import Case
from bifseg.io.images import read_labels
from bifseg.prompts.interaction import BACKGROUND, FOREGROUND, Box


def scribble_files(case: Case) -> list[Path]:
    """The files of a case's annotators, ``CASE.nii.gz`` or ``CASE_A0.nii.gz`` and so on, in their order; often none."""
    folder = case.labels_path.parent.parent / "scribblesTr"
    stem, _, ending = case.labels_path.name.partition(".")
    names = re.compile(rf"{re.escape(stem)}(_A\d+)?\.{re.escape(ending)}")
    return sorted(path for path in folder.glob("*") if names.fullmatch(path.name))


def human_labels(path: Path, image: Image, values: Sequence[int]) -> np.ndarray:
    """What one person scribbled about one class: uint8 (x, y, z), 1 foreground, 2 background, 0 nothing.

    Codes that are the class's label ``values`` are foreground, all others that mark anything are background;
    ``dataset.json`` beside the folder says with ``scribble_codes`` which mark nothing ("not annotated").

    Raises InvalidInput where the codes are not told, and what `read_labels` raises.
    """
    codes = _codes(path.parent.parent / "dataset.json")
    nothing = [code for code, text in codes.items() if "not annotated" in text or "ignore" in text]
    drawn = read_labels(path, image)
    labels = np.where(np.isin(drawn, nothing), 0, BACKGROUND).astype(np.uint8)
    labels[np.isin(drawn, values)] = FOREGROUND
    return labels


def drawing_of(labels: np.ndarray, where: Box, spacing: Sequence[float], longest: float) -> Drawing:
    """The part of somebody's scribbles inside a box, with the effort it took.

    Connected pixels of one label count as one stroke, as long as their skeleton. ``longest``: the object's longest
    extent in mm.
    """
    kept = np.zeros_like(labels)
    kept[where.slices] = labels[where.slices]
    return Drawing(kept, _effort(kept, spacing, longest))


def _effort(labels: np.ndarray, spacing: Sequence[float], longest: float) -> Effort:
    try:
        from skimage.morphology import skeletonize
    except ImportError:
        raise InvalidInput('Real scribbles need scikit-image: pip install "bifseg[evaluation]".') from None
    strokes, length = 0, 0.0
    for label in (FOREGROUND, BACKGROUND):
        drawn = labels == label
        strokes += ndimage.label(drawn, np.ones((3, 3, 3)))[1]
        for z in np.flatnonzero(drawn.any(axis=(0, 1))):
            length += np.count_nonzero(skeletonize(drawn[:, :, z])) * float(np.mean(spacing[:2]))
    return Effort(strokes, length / longest, int(np.count_nonzero(labels.any(axis=(0, 1)))))


def _codes(description: Path) -> dict[int, str]:
    try:
        codes = json.loads(description.read_bytes())["scribble_codes"]
        return {int(code): str(text) for code, text in codes.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise InvalidInput(
            f'{description} does not say what the scribbles mean; it needs "scribble_codes": {{"0": "not annotated"}}.'
        ) from None
