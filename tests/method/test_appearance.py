"""Grey levels have a say as far as they tell the object from what surrounds it, and as the scribbles agree."""

import numpy as np
import pytest

from bifseg.method.appearance import FEWEST, LARGEST, appearance_evidence
from bifseg.prompts.interaction import BACKGROUND, FOREGROUND

SHAPE = (24, 24, 12)
NONE = np.zeros(SHAPE, np.uint8)


@pytest.fixture
def truth():
    x, y, z = np.indices(SHAPE)
    return (x - 12) ** 2 + (y - 12) ** 2 + 4 * (z - 6) ** 2 < 64


def scan(truth, gap, noise=0.05):
    """Brighter inside by ``gap``."""
    return np.clip(0.3 + gap * truth + np.random.default_rng(0).normal(0, noise, SHAPE), 0, 1).astype(np.float32)


def test_what_looks_like_the_object_becomes_likelier_and_what_does_not_less_likely(truth):
    image, labels = scan(truth, 0.4), truth.copy()
    labels[truth & (np.indices(SHAPE)[0] > 13)] = False  # a part is missing
    labels[:4, :4, :4] = True  # and something dark was taken along
    evidence = appearance_evidence(image, labels, NONE, 1.0)
    assert evidence.dtype == np.float32
    assert evidence.shape == SHAPE
    assert evidence[truth].mean() > 1
    assert evidence[~truth].mean() < -1
    assert evidence[:3, :3, :3].mean() < 0
    assert np.abs(evidence).max() <= LARGEST


def test_the_strength_is_a_factor_and_0_is_silence(truth):
    image = scan(truth, 0.4)
    once, twice = (appearance_evidence(image, truth, NONE, strength) for strength in (1.0, 2.0))
    np.testing.assert_allclose(twice, 2 * once, rtol=1e-6)
    assert appearance_evidence(image, truth, NONE, 0.0) is None


def test_grey_levels_that_tell_nothing_apart_say_nothing(truth):
    gaps = (0.0, 0.05, 0.1, 0.2)
    told = [appearance_evidence(scan(truth, gap), truth, NONE, 1.0) for gap in gaps]
    largest = [0 if evidence is None else np.abs(evidence).mean() for evidence in told]
    assert largest == sorted(largest)
    assert largest[0] < 0.02 < 1 < largest[-1]


def painted(where, label):
    return np.where(where, np.uint8(label), np.uint8(0))


def test_scribbles_that_agree_leave_grey_levels_their_say(truth):
    image = scan(truth, 0.4)
    agreeing = painted((image > 0.6) & truth, FOREGROUND) + painted((image < 0.4) & ~truth, BACKGROUND)
    agreeing[::2] = 0
    free = np.abs(appearance_evidence(image, truth, NONE, 1.0)).mean()
    assert np.abs(appearance_evidence(image, truth, agreeing, 1.0)).mean() > 0.8 * free


def test_what_is_painted_as_background_goes_from_the_mask_wherever_it_lies(truth):
    """The mask holds two tissues; one stroke on one of them, far from most of it, and one on the other."""
    image, (x, _, z) = scan(truth, 0.4), np.indices(SHAPE)
    other = truth & (x > 12)
    image[other] = (image[other] + np.float32(0.2)).clip(0, 1)
    assert appearance_evidence(image, truth, NONE, 1.0)[other].mean() > 1  # the mask speaks for its own mistake
    stroke = painted(other & (z == 6) & (x < 15), BACKGROUND) + painted(truth & (x == 8) & (z == 6), FOREGROUND)
    evidence = appearance_evidence(image, truth, stroke, 1.0)
    assert evidence[other].mean() < -1
    assert evidence[truth & ~other].mean() > 1
    alone = appearance_evidence(image, truth, painted(stroke == BACKGROUND, BACKGROUND), 1.0)
    assert alone is None or alone[other].mean() > -1  # nobody said that the object does not look so


def test_where_all_of_the_mask_looks_like_background_strokes_grey_levels_say_nothing(truth):
    image = scan(truth, 0.4, noise=0.02)
    image[:2] = image[truth][: image[:2].size].mean()  # the same tissue, elsewhere
    stroke = painted(truth & (np.indices(SHAPE)[0] == 12), FOREGROUND)
    stroke[:2] = BACKGROUND
    assert appearance_evidence(image, truth, stroke, 1.0) is None


def test_scribbles_whose_grey_levels_are_alike_silence_them(truth):
    """What tells inside from outside tells no scribble of the one label from one of the other."""
    image, half = scan(truth, 0.4), np.indices(SHAPE)[2] % 2 == 0
    image[:2, :, :], image[2:4, :, :] = 0.3, 0.7
    both = painted(half, FOREGROUND) + painted(~half, BACKGROUND)
    both[4:] = 0
    assert appearance_evidence(image, truth, NONE, 1.0) is not None
    assert appearance_evidence(image, truth, both, 1.0) is None


def test_where_too_little_is_safe_nothing_is_said():
    image = scan(NONE, 0)
    thin = NONE.astype(bool)
    thin[:, 12, 6] = True  # no voxel whose neighbours are all of it
    assert appearance_evidence(image, thin, NONE, 1.0) is None
    assert appearance_evidence(image, np.ones(SHAPE, bool), NONE, 1.0) is None
    line = NONE.copy()
    line[:, 12, 5:8] = FOREGROUND
    assert line.sum() > FEWEST
    image[line > 0] = 0.9
    assert appearance_evidence(image, line > 0, line, 1.0)[line > 0].min() > 0


def test_in_a_plane_too(truth):
    image = scan(truth, 0.4)[:, :, 6]
    evidence = appearance_evidence(image, truth[:, :, 6], NONE[:, :, 6], 1.0)
    assert evidence[truth[:, :, 6]].mean() > 1
