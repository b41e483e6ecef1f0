"""Grey levels of a scan: its ends, and between which most of it lies."""

import numpy as np
import pytest

from bifseg.imaging.intensity import levels


@pytest.mark.parametrize("shape", [(7, 1, 1), (120, 130, 140)])
@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float32, np.float64])
def test_levels_are_those_of_all_voxels_or_nearly_so(shape, dtype):
    array = np.random.default_rng(0).integers(0, 250, shape).astype(dtype)
    (least, greatest), most = levels(array)
    assert (least, greatest) == (array.min(), array.max())
    np.testing.assert_allclose(most, np.percentile(array, (2, 99.5)), atol=1.5)
