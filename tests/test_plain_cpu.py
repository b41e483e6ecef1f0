"""The plainest CPU, without AVX and without halves, makes the same masks as this one."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from bifseg.evaluation.metrics import dice
from bifseg.prompts.interaction import Stroke
from bifseg.session.session import Session
from bifseg.training.synthetic.phantom import phantom

PLAIN = {"ATEN_CPU_CAPABILITY": "default", "ONEDNN_MAX_CPU_ISA": "SSE41", "MKL_ENABLE_INSTRUCTIONS": "SSE4_2"}
BOXES = {"2D": ((16, 48), (16, 48), 16), "3D": ((16, 48), (16, 48), (8, 24))}


def masks(dimension: str) -> np.ndarray:
    """The first mask and the one after two strokes, bool (2, x, y, z)."""
    scan, labels = phantom(shape=(64, 64, 32))
    session = Session(scan)
    first = session.box(BOXES[dimension]).copy()
    x, y, z = np.argwhere(labels[16:48, 16:48, 16:17] > 0)[0] + 16
    strokes = [Stroke([(x, y, z)], 1, radius=1), Stroke([(17, 17, 16)], 2, radius=1)]
    return np.stack([first, session.scribble(strokes)])


@pytest.fixture(scope="module")
def plain(tmp_path_factory) -> Path:
    """The folder of the masks that a process on the plainest CPU made."""
    folder = tmp_path_factory.mktemp("plain")
    program = "import sys, test_plain_cpu as own; own.save(sys.argv[1])"
    paths = os.pathsep.join([str(Path(__file__).parent), *filter(None, [os.environ.get("PYTHONPATH")])])
    command = [sys.executable, "-W", "ignore", "-c", program, str(folder)]
    subprocess.run(command, env={**os.environ, **PLAIN, "PYTHONPATH": paths}, check=True)
    return folder


def save(folder: str) -> None:
    for dimension in BOXES:
        np.save(Path(folder) / f"{dimension}.npy", masks(dimension))


@pytest.mark.parametrize("dimension", BOXES)
def test_masks_are_those_of_any_other_cpu(dimension, plain):
    for here, there in zip(masks(dimension), np.load(plain / f"{dimension}.npy"), strict=True):
        assert here.any()
        assert dice(here, there) > 0.99
