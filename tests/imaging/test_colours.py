import numpy as np
import pytest

from bifseg.errors import InvalidInput
from bifseg.imaging.colours import joined, luminance, parted
from bifseg.imaging.image import Image
from bifseg.imaging.orientation import canonical, nifti

RNG = np.random.default_rng(3)
COLOURS = RNG.integers(0, 256, (5, 4, 3, 3), np.uint8)


def test_luminance_is_that_of_rec_601_and_grey_stays_the_number_it_was():
    wanted = np.rint(COLOURS @ [0.299, 0.587, 0.114])
    assert np.abs(luminance(COLOURS) - wanted).max() <= 1
    for kind, top in ((np.uint8, 256), (np.uint16, 65_536)):
        grey = np.arange(top, dtype=kind)[:, None, None]
        np.testing.assert_array_equal(luminance(np.stack([grey] * 3, axis=-1)), grey)


def test_an_image_of_colours_keeps_them_beside_their_luminance():
    image = Image(COLOURS, (1, 2, 3))
    assert image.shape == (5, 4, 3)
    np.testing.assert_array_equal(image.colours, COLOURS)
    np.testing.assert_array_equal(image.array, luminance(COLOURS))
    assert image.voxels is image.colours
    assert image.with_array(np.zeros(image.shape, bool)).colours is None
    np.testing.assert_array_equal(image.with_array(COLOURS[::-1]).colours, COLOURS[::-1])


@pytest.mark.parametrize("array", [np.zeros((3, 3, 3, 3)), np.zeros((3, 3, 3, 3), np.int16)])
def test_colours_of_other_types_are_refused(array):
    with pytest.raises(InvalidInput, match="uint8 or uint16"):
        Image(array)


def test_colours_of_another_shape_are_refused():
    with pytest.raises(InvalidInput, match="colours have the shape"):
        Image(np.zeros((3, 3, 3)), colours=COLOURS)


def test_colours_of_one_luminance_are_something_to_segment():
    """Red, green and blue that a grey image would not tell apart."""
    colours = np.zeros((4, 4, 1, 3), np.uint8)
    colours[:2], colours[2:] = (0, 51, 0), (100, 0, 0)
    image = Image(colours)
    assert np.ptp(image.array) == 0
    image.check_scan()
    with pytest.raises(InvalidInput, match="constant"):
        Image(colours[:2]).check_scan()


def test_what_is_joined_is_parted_again():
    for image in (Image(COLOURS), Image(COLOURS[..., 0])):
        array, colours = parted(joined(image.array, image.colours))
        np.testing.assert_array_equal(array, image.array)
        assert (colours is None) == (image.colours is None)
        if colours is not None:
            np.testing.assert_array_equal(colours, COLOURS)
    with pytest.raises(InvalidInput, match="it is none"):
        parted(np.zeros((2, 2, 2, 5), np.uint8))


def test_the_page_gets_rgb24_in_canonical_order():
    nibabel = pytest.importorskip("nibabel")
    image = Image(COLOURS, (1, 2, 3), direction=[[0, 1, 0], [-1, 0, 0], [0, 0, 1]])
    for shown in (image, Image(COLOURS.astype(np.uint16) * 257, image.spacing, direction=image.direction)):
        size, pieces = nifti(shown)
        content = b"".join(pieces)
        assert len(content) == size
        file = nibabel.Nifti1Image.from_bytes(content)
        assert file.get_data_dtype() == np.dtype([("R", "u1"), ("G", "u1"), ("B", "u1")])
        voxels = np.asarray(file.dataobj)
        array, affine = canonical(image)
        np.testing.assert_array_equal(np.stack([voxels[c] for c in "RGB"], axis=-1), array)
        np.testing.assert_allclose(file.affine, affine)
        assert nibabel.aff2axcodes(file.affine) == ("R", "A", "S")
