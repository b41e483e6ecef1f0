"""What cannot be is refused in a sentence, and changes nothing."""

import re
from pathlib import Path

import numpy as np
import pytest
from phantom_sessions import BOX, QUICK, inside_box

from bifseg import Box, Parameters, Session, Stroke
from bifseg.errors import InvalidInput


@pytest.mark.parametrize("path", ["scan.nii.gz", Path("scan.nii.gz")])
def test_a_path_is_refused_and_says_how_a_file_is_read(path):
    sentence = (
        "A Session takes an Image or an array; 'scan.nii.gz' is a path. Read the file first: Session(bifseg.read_"
    )
    with pytest.raises(InvalidInput, match=re.escape(sentence)):
        Session(path)


@pytest.mark.parametrize(
    ("ranges", "sentence"),
    [
        (((5, 5), (6, 30), 10), "empty or inverted along x: 5:5"),
        (((9, 5), (6, 30), 10), "empty or inverted along x: 9:5"),
        (((5, 41), (6, 30), 10), "x from 0 to 40"),
        (((-1, 8), (6, 30), 10), "outside the image"),
        (((5, 6), (6, 7), 10), "1 x 1 x 1 voxels; it needs at least two"),
        (((5, 9), (6, 7), 10), "at least two"),
        (((5, 9), (6, 9)), "2 axes; give three"),
        (((5.5, 9), (6, 9), 10), "whole numbers"),
        (((5, 9, 2), (6, 9), 10), "whole numbers"),
    ],
)
def test_boxes_that_cannot_be_are_refused(scan, ranges, sentence):
    session = Session(scan[0])
    with pytest.raises(ValueError, match=sentence):
        session.box(ranges)
    assert not session.names


def test_other_impossible_requests_are_refused_and_change_nothing(scan):
    image, _ = scan
    for sentence, call in {
        "constant": lambda: Session(np.ones((9, 9, 9))),
        "NaN or infinite": lambda: Session(np.where(np.arange(27).reshape(3, 3, 3) == 3, np.nan, 1)),
        "Unknown preset 'quick'": lambda: Session(image, parameters="quick"),
        "Unknown parameter lambda": lambda: Parameters().but(**{"lambda": 3}),
        "t0 <= t1": lambda: Parameters(t0=0.8, t1=0.2),
        "connectivity is 5": lambda: Parameters(connectivity=5),
        "no object yet": lambda: Session(image).scribble(np.zeros(image.shape)),
        "draw a box first": lambda: Session(image).save("x.nii.gz"),
        "There is no object named 'x'": lambda: Session(image).select("x"),
    }.items():
        with pytest.raises(ValueError, match=sentence):
            call()
    with pytest.raises(FileNotFoundError, match="Unknown model 'unet'"):
        Session(image, model="unet")
    flat = image.array.copy()
    flat[5:30, 6:30] = 7
    with pytest.raises(ValueError, match="constant inside the box"):
        Session(flat).box(BOX)

    session = Session(image, parameters=QUICK[3])
    session.box(BOX, name="a")
    state = session.state
    both, outside, strange = (np.zeros(image.shape, np.uint8) for _ in range(3))
    both[10, 10, 10] = outside[0, 0, 0] = 1
    strange[10, 10, 10] = 3
    for sentence, call in {
        "shape": lambda: session.scribble(np.zeros((3, 3, 3))),
        "1 voxels are in the foreground and the background": lambda: session.scribble(foreground=both, background=both),
        "lie outside the box": lambda: session.scribble(outside),
        r"labels \[3\]": lambda: session.scribble(strange),
        "No scribbles": lambda: session.scribble(),
        "give one of the two": lambda: session.scribble(both, foreground=both),
        "Unknown refinement": lambda: session.scribble(both, refine="magic"),
        "named 'a' already": lambda: session.box(BOX, name="a"),
        "outside the image": lambda: session.scribble([Stroke([(99, 0, 0)])]),
        "label 3": lambda: session.scribble([Stroke([(9, 9, 9)], label=3)]),
    }.items():
        with pytest.raises(ValueError, match=sentence):
            call()
        assert session.state is state
    session.box(BOX, name="all", initial=np.ones(image.shape, np.uint8), refine="none")
    session.undo()
    session.scribble(np.where(inside_box(Box.of(BOX, image.shape), image.shape), 1, 0))
    with pytest.raises(ValueError, match="within finished objects"):
        session.box(BOX)


def test_rounds_of_what_takes_none_are_refused(scan):
    session = Session(scan[0], parameters=QUICK[3])
    with pytest.raises(ValueError, match=r"Unknown interaction 'undo'; with rounds there are box, scribble"):
        session.rounds("undo")
