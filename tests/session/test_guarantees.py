"""What README promises of every mask holds whatever the image, the box and the scribbles."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from phantom_sessions import QUICK, inside_box

from bifseg import Box, Image, Session

pytestmark = pytest.mark.usefixtures("coarse")


@st.composite
def situations(draw):
    """A random image with random spacing, a box anywhere in it (2D or 3D, borders too), and rounds of scribbles."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    shape = tuple(draw(st.tuples(*[st.integers(2, 14)] * 3)))
    spacing = tuple(draw(st.tuples(*[st.sampled_from([0.5, 1.0, 3.0])] * 3)))
    dtype = draw(st.sampled_from([np.uint8, np.int16, np.float32]))
    image = Image((rng.random(shape) * 200).astype(dtype), spacing=spacing)
    ranges = []
    plane = draw(st.sampled_from([None, 0, 1, 2]))
    for axis, n in enumerate(shape):
        start = draw(st.integers(0, n - 2))
        stop = draw(st.integers(start + 2, n))
        ranges.append(start if axis == plane else (start, stop))
    box = Box.of(ranges, shape)
    rounds = []
    for _ in range(draw(st.integers(1, 2))):
        labels = np.zeros(shape, np.uint8)
        share = draw(st.sampled_from([0.0, 0.02, 0.3, 1.0]))
        inside = rng.random(box.shape) < share
        labels[box.slices] = np.where(inside, rng.integers(1, 3, box.shape), 0)
        rounds.append(labels)
    return image, box, rounds


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(situations(), st.sampled_from(["none", "crf", "auto"]))
def test_the_three_guarantees_hold_whatever_the_image_box_and_scribbles(situation, refine):
    image, box, rounds = situation
    if np.ptp(box.crop(image.array)) == 0:
        return
    session = Session(image, parameters=QUICK[box.dimension])
    lock = tuple(slice(s.start, s.start + 2) for s in box.slices)
    locked = np.zeros(image.shape, bool)
    locked[lock] = np.random.default_rng(0).random(locked[lock].shape) < 0.5
    locked &= np.asarray(rounds[0] != 1) & np.asarray(rounds[-1] != 1)
    locked[~inside_box(box, image.shape)] = False
    if locked.any() and not locked[box.slices].all():
        session.box(box, name="finished", initial=locked, refine="none")
        finished = session.mask.copy()
        np.testing.assert_array_equal(finished, locked)
    else:
        finished = np.zeros(image.shape, bool)
    session.box(box, name="object", refine=refine)
    drawn = np.zeros(image.shape, np.uint8)
    for labels in rounds:
        mask = session.scribble(labels, refine=refine)
        drawn = np.where(labels > 0, labels, drawn)
        assert mask.dtype == bool
        assert mask.shape == image.shape
        assert mask[drawn == 1].all()
        assert not mask[drawn == 2].any()
        assert not mask[~inside_box(box, image.shape)].any()
        assert not (mask & finished).any()
        np.testing.assert_array_equal(session.labels == session.names.index("object") + 1, mask)
    if finished.any():
        session.select("finished")
        np.testing.assert_array_equal(session.mask, finished)
