"""Which axis is the network's z, and which slices lie across: told in one place each, ties and all."""

from dataclasses import replace

import numpy as np
import pytest

from bifseg import Box, Image
from bifseg.imaging.image import coarsest_axis, slicing_axis
from bifseg.method.crop import Crop
from bifseg.networks.checkpoint import load_model
from bifseg.training.instances import across


@pytest.mark.parametrize(
    ("spacing", "z", "slices"),
    [((1, 1, 1), 0, 2), ((2, 1, 2), 0, 2), ((1, 2, 2), 1, 2), ((2, 2, 1), 0, 1), ((1, 3, 2), 1, 1), ((1, 1, 5), 2, 2)],
)
def test_ties_are_broken_one_way_each(spacing, z, slices):
    assert coarsest_axis(spacing) == z
    assert slicing_axis(spacing) == slices
    image = Image(np.random.default_rng(0).normal(size=(12, 12, 12)).astype(np.float32), spacing)
    assert across(image) == slices
    model = replace(load_model("default", 3), size=8)
    assert Crop(image, Box.parse("1:11,1:11,1:11"), model)._coarsest == z
