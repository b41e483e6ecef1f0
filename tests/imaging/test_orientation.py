"""An image in canonical order: the same as nibabel's, for every orientation and number type."""

import contextvars
import itertools

import nibabel
import numpy as np
import pytest

from bifseg.imaging import orientation as canonical_module
from bifseg.imaging.image import Image
from bifseg.imaging.orientation import RAS, axes_of, canonical, nifti

ARRAY = np.random.default_rng(5).integers(-900, 900, (4, 5, 6)).astype(np.int16)
SIGNED = [
    np.eye(3)[:, list(order)] * signs
    for order in itertools.permutations(range(3))
    for signs in itertools.product((1, -1), repeat=3)
]


def rotations(count):
    """Directions of random scans: half of them mirrored."""
    made = np.linalg.qr(np.random.default_rng(2).normal(size=(count, 3, 3)))[0]
    return list(made)


def of_nibabel(image):
    """What nibabel makes of the image's file."""
    return nibabel.as_closest_canonical(nibabel.Nifti1Image(image.array, RAS @ image.affine))


def read(image):
    size, pieces = nifti(image)
    content = b"".join(pieces)
    assert len(content) == size
    return nibabel.Nifti1Image.from_bytes(content)


@pytest.mark.parametrize("direction", [*SIGNED, *rotations(40)])
def test_axes_and_place_are_nibabels(direction):
    image = Image(ARRAY, (0.7, 1.3, 2.5), (-31.5, 12.25, 800), direction)
    expected = of_nibabel(image)
    array, affine = canonical(image)
    np.testing.assert_array_equal(array, np.asanyarray(expected.dataobj))
    np.testing.assert_allclose(affine, expected.affine, atol=1e-6)
    assert array.base is not None
    assert sorted(map(abs, axes_of(direction))) == [1, 2, 3]
    for k, axis in enumerate(axes_of(direction)):
        step = affine[:3, k]
        np.testing.assert_allclose(step, np.sign(axis) * (RAS @ image.affine)[:3, abs(axis) - 1], atol=1e-9)

    file = read(image)
    np.testing.assert_array_equal(np.asanyarray(file.dataobj), array)
    assert file.get_data_dtype() == np.int16
    assert file.header["sform_code"] == file.header["qform_code"] == 1
    np.testing.assert_allclose(file.get_sform(), affine, rtol=1e-6, atol=1e-5)
    np.testing.assert_allclose(file.get_qform(), affine, atol=5e-3)  # NIfTI leaves one of four numbers to be guessed
    np.testing.assert_allclose(file.header.get_zooms(), np.array(image.spacing)[np.abs(axes_of(direction)) - 1])
    assert file.header.get_xyzt_units()[0] == "mm"


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("bool", "uint8"), ("uint8", "uint8"), ("int8", "int16"), ("int16", "int16"), ("uint16", "uint16"),
        ("int32", "int32"), ("float32", "float32"), ("float16", "float32"), ("float64", "float32"),
        ("uint32", "float32"), ("int64", "float32"), ("uint64", "float32"), (">i2", "int16"), (">f4", "float32"),
    ],
)  # fmt: skip
def test_numbers_are_kept_where_they_can_be_shown(given, kept):
    array = np.abs(ARRAY).clip(0, 100).astype(given)
    file = read(Image(array))
    assert file.get_data_dtype() == np.dtype(kept)
    np.testing.assert_array_equal(np.asanyarray(file.dataobj), array[::-1, ::-1])


def test_a_float_beyond_float32_warns_nobody():
    file = read(Image(np.array([[[0.0, 1e300]]])))
    assert np.asanyarray(file.dataobj).tolist() == [[[0, np.inf]]]


@pytest.mark.parametrize("order", ["C", "F"])
def test_a_volume_comes_in_pieces(monkeypatch, order):
    monkeypatch.setattr(canonical_module, "BLOCK", 45)
    image = Image(np.asarray(ARRAY, order=order), direction=SIGNED[9])
    _, pieces = nifti(image)
    lengths = [len(piece) for piece in pieces]
    array, _ = canonical(image)
    plane = 2 * array[..., 0].size
    assert lengths[0] == 352
    assert len(lengths) > 2
    assert max(lengths[1:]) <= max(plane, 90)
    np.testing.assert_array_equal(np.asanyarray(read(image).dataobj), array)


def test_a_picture_is_one_plane():
    image = Image(ARRAY[..., 0])
    assert image.planar
    file = read(image)
    assert file.shape == (4, 5, 1)
    np.testing.assert_array_equal(np.asanyarray(file.dataobj)[..., 0], ARRAY[::-1, ::-1, 0])


def test_an_axis_that_is_too_long_is_refused():
    with pytest.raises(ValueError, match="at most 32767 voxels"):
        nifti(Image(np.zeros((1 << 15, 1, 1), np.uint8)))


def test_pieces_may_be_taken_by_different_threads():
    """As a server takes them."""
    _, pieces = nifti(Image(ARRAY.astype(float)))
    taken = [contextvars.Context().run(next, pieces) for _ in range(2)]
    assert len(taken[1]) == 4 * ARRAY.size
    assert contextvars.Context().run(next, pieces, None) is None
