"""Random whole files of every format, read by us and by the library that others read them with: the same, or refused.

``BIFSEG_DIFFERENTIAL=300 pytest tests/io/test_differential.py`` tries 300 of each format instead of a few.
"""

import os
import re

import nibabel as nib
import numpy as np
import pytest
from random_files import FLIP, MAKERS, opened

from bifseg.io.formats import FORMATS
from bifseg.io.images import read_image

COUNT = int(os.environ.get("BIFSEG_DIFFERENTIAL", "40"))
REFUSED = {  # all that may be refused of what is whole, and why
    "nifti": {
        "shear": "is sheared", "frames": "give one frame", "complex": "complex", "nan": "NaN or infinite",
        "vectors": "holds numbers of NIfTI's type",
    },
    "dicom": {"differing": "rescale slope and intercept"},
    "zip": {"differing": "rescale slope and intercept"},
    "nrrd": {"shear": "is sheared", "frames": "give one frame|vectors", "nan": "NaN or infinite"},
    "metaimage": {"frames": "give one frame", "vectors": "vectors of", "nan": "NaN or infinite"},
    "tiff": {
        "vectors": "vectors of", "channels": "channels", "nan": "NaN or infinite", "complex": "complex64",
        "pictures": "holds 2 pictures",
    },
}  # fmt: skip


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", [name for name, format_ in FORMATS.items() if format_.reader])
def test_other_libraries_read_the_same_voxels(tmp_path, name):
    read = 0
    for number in range(COUNT):
        folder = tmp_path / str(number)
        folder.mkdir()
        path, voxels, place, odd = MAKERS[name](folder, np.random.default_rng((19, number)))
        image, refused = opened(path)
        if image is None:
            known = REFUSED.get(name, {}).get(odd, "nothing is wrong with it")
            assert re.search(known, refused), (number, odd, refused)
            continue
        assert odd in (None, "frames", "nan"), (number, odd)
        read += 1
        voxels = np.asarray(voxels)
        voxels = voxels.reshape((*voxels.shape, 1, 1)[:3], order="F")
        if voxels.dtype == bool:
            image = image.with_array((image.array > 0).astype(np.uint8))
        assert image.shape == voxels.shape, number
        grey = (
            name not in ("dicom", "zip") and voxels.dtype.kind == "f" and image.array.dtype.kind == "u"
        )  # of colours, rounded
        found, right = image.array.astype(float), voxels.astype(float)
        np.testing.assert_allclose(found, right, rtol=1e-6, atol=float(grey), err_msg=str(number))
        if voxels.dtype.kind in "iu" and name not in ("dicom", "zip", "jpeg", "png", "bmp"):
            assert image.array.dtype == voxels.dtype.newbyteorder("="), number
        if place is not None:
            tolerance = 1e-3 * min(image.spacing)
            np.testing.assert_allclose(image.affine, place, rtol=1e-5, atol=tolerance, err_msg=str(number))
    assert read > 0.5 * COUNT


def test_what_is_refused_here_is_on_the_list():
    for name, reasons in REFUSED.items():
        listed = FORMATS["dicom" if name == "zip" else name].refused
        assert reasons.keys() <= listed.keys(), name


@pytest.mark.parametrize("axis", [(0.7071, 0, 0.7071), (1, 0.003, 0), (0.6, 0.64, 0.48), (0, 1, 0)])
@pytest.mark.parametrize("kind", [nib.Nifti1Image, nib.Nifti2Image])
def test_half_a_turn_in_a_qform_is_no_more(tmp_path, kind, axis):
    """In 32 bits the quaternion of half a turn is a little too short; the rest is no turn of its own."""
    axis = np.array(axis) / np.linalg.norm(axis)
    affine = np.eye(4)
    affine[:3, :3] = (2 * np.outer(axis, axis) - np.eye(3)) * (0.7, 0.8, 3)
    image = kind(np.zeros((300, 200, 100), np.uint8), None)
    image.set_sform(None, 0)
    image.set_qform(affine, 1)
    nib.save(image, tmp_path / "a.nii")
    ours, theirs = read_image(tmp_path / "a.nii").affine, FLIP @ nib.load(tmp_path / "a.nii").affine
    np.testing.assert_allclose(ours @ (300, 200, 100, 1), theirs @ (300, 200, 100, 1), atol=1e-3)
