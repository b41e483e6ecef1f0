import builtins

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from bifseg.baselines.slicseg import SlicSeg, local_features, with_foreground_scribble
from bifseg.errors import MissingExtra
from bifseg.evaluation.metrics import dice
from bifseg.imaging.image import Image
from bifseg.prompts.interaction import Box


def test_it_finds_a_disc_of_another_texture():
    """Inside and outside have one mean; they differ in how coarse their noise is."""
    pytest.importorskip("sklearn")
    rng, shape = np.random.default_rng(0), (96, 96)
    x, y = np.indices(shape)
    truth = (x - 48) ** 2 + (y - 48) ** 2 <= 24**2
    coarse = gaussian_filter(rng.normal(size=shape), 3)
    image = np.where(truth, coarse / coarse.std(), rng.normal(size=shape)).astype(np.float32)
    labels = np.zeros((*shape, 1), np.uint8)
    labels[34:62, 48], labels[10, 10:86], labels[85, 10:86], labels[10:86, 10], labels[10:86, 85] = 1, 2, 2, 2, 2
    method = SlicSeg()
    method.start(Image(image), Box.parse("0:96,0:96,0"))
    assert dice(method.refine(labels)[..., 0], truth) > 0.9


def test_features_are_the_same_wherever_a_pattern_is():
    rng = np.random.default_rng(1)
    for shape, shift in (((60, 50), (7, 4)), ((40, 36, 34), (3, 2, 1))):
        image = gaussian_filter(rng.random(shape), 1)
        moved = np.roll(image, shift, axis=range(image.ndim))
        middle = tuple(slice(n // 2 - 1, n // 2 + 1) for n in shape)
        there = tuple(slice(s.start + d, s.stop + d) for s, d in zip(middle, shift, strict=True))
        features = [local_features(i).reshape(*shape, -1) for i in (image, moved)]
        np.testing.assert_allclose(features[0][middle], features[1][there], atol=1e-4)


def test_features_of_a_ramp_are_its_slope():
    image = np.indices((80, 60))[0] / 100
    features = local_features(image).reshape(80, 60, -1)[40, 30]
    assert features.dtype == np.float32
    np.testing.assert_allclose(features[[0, 1, 4, 5, 6]], (0.4, 0.4, 0.01, 0, 0.01), atol=1e-4)


def test_only_parts_with_a_foreground_scribble_stay():
    mask = np.array([[1, 1, 0, 1], [0, 0, 0, 1], [1, 0, 0, 0]], bool)
    scribbles = np.array([[1, 0, 0, 0], [0, 0, 0, 0], [2, 0, 1, 0]], np.uint8)
    expected = [[True, True, False, False], [False] * 4, [False] * 4]
    assert with_foreground_scribble(mask, scribbles).tolist() == expected


def test_without_scikit_learn_it_says_what_to_install(monkeypatch):
    real = builtins.__import__

    def without(name, *rest, **more):
        if name.partition(".")[0] == "sklearn":
            raise ImportError(name)
        return real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(MissingExtra, match=r'pip install "bifseg\[evaluation\]"'):
        SlicSeg()
