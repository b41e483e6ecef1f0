"""Colours come out of a file as they went in, and other people's programs read what we wrote."""

import numpy as np
import pytest
from PIL import Image as Pillow

from bifseg.errors import CannotWrite, DamagedFile
from bifseg.imaging.image import Image
from bifseg.io.images import read_image, read_labels, write_image

RNG = np.random.default_rng(5)
VOLUME = RNG.integers(0, 256, (6, 5, 4, 3), np.uint8)
DEEP = RNG.integers(0, 65_536, (6, 5, 4, 3)).astype(np.uint16)


@pytest.mark.parametrize("planar", [True, False])
@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".nrrd", ".mha", ".png"])
def test_colours_survive_a_file(tmp_path, suffix, planar):
    colours = VOLUME[:, :, :1] if planar or suffix == ".png" else VOLUME
    image = Image(colours, None if suffix == ".png" else (0.5, 1.0, 2.0), planar=planar)
    write_image(tmp_path / f"a{suffix}", image.colours, image)
    back = read_image(tmp_path / f"a{suffix}")
    np.testing.assert_array_equal(back.colours, colours)
    np.testing.assert_array_equal(back.array, image.array)
    if suffix != ".png":
        assert back.spacing[:2] == image.spacing[:2]


@pytest.mark.parametrize("suffix", [".nrrd", ".mha"])
def test_colours_of_16_bits_survive_a_file(tmp_path, suffix):
    image = Image(DEEP, (1, 1, 2))
    write_image(tmp_path / f"a{suffix}", image.colours, image)
    np.testing.assert_array_equal(read_image(tmp_path / f"a{suffix}").colours, DEEP)


@pytest.mark.parametrize("suffix", [".nii", ".png"])
def test_what_has_no_room_for_16_bits_says_so(tmp_path, suffix):
    image = Image(DEEP[:, :, :1])
    with pytest.raises(CannotWrite, match=r"have 16; write \.nrrd or \.mha"):
        write_image(tmp_path / f"a{suffix}", image.colours, image)
    assert not list(tmp_path.iterdir())


def test_a_segmentation_is_not_written_from_colours(tmp_path):
    image = Image(VOLUME)
    with pytest.raises(CannotWrite, match="holds labels"):
        write_image(tmp_path / "a.seg.nrrd", image.colours, image)


@pytest.mark.parametrize("suffix", [".nii.gz", ".nrrd", ".mha", ".png"])
def test_itk_reads_the_colours_we_write(tmp_path, suffix):
    import SimpleITK

    colours = VOLUME[:, :, :1] if suffix == ".png" else VOLUME
    image = Image(colours, (0.5, 1.0, 2.0))
    write_image(tmp_path / f"a{suffix}", image.colours, image)
    itk = SimpleITK.ReadImage(str(tmp_path / f"a{suffix}"))
    array = SimpleITK.GetArrayFromImage(itk)
    assert itk.GetNumberOfComponentsPerPixel() == 3
    if suffix == ".png":
        np.testing.assert_array_equal(array.transpose(1, 0, 2), colours[:, :, 0])
    else:
        np.testing.assert_array_equal(array.transpose(2, 1, 0, 3), colours)
        np.testing.assert_allclose(itk.GetSpacing(), image.spacing)


def test_rgb24_of_nibabel_is_read(tmp_path):
    nibabel = pytest.importorskip("nibabel")
    voxels = np.ascontiguousarray(VOLUME).view([("R", "u1"), ("G", "u1"), ("B", "u1")])[..., 0]
    nibabel.save(nibabel.Nifti1Image(voxels, np.eye(4)), tmp_path / "a.nii.gz")
    np.testing.assert_array_equal(read_image(tmp_path / "a.nii.gz").colours, VOLUME)


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.bmp", "a.tif", "alpha.png", "palette.png"])
def test_pictures_keep_their_colours(tmp_path, name):
    smooth = np.stack(np.meshgrid(np.arange(0, 240, 8), np.arange(0, 200, 8)), axis=-1).astype(np.uint8)
    rows = np.concatenate([smooth, np.full((*smooth.shape[:2], 1), 90, np.uint8)], axis=-1)  # (rows, columns, 3)
    picture = Pillow.fromarray(rows)
    if name == "alpha.png":
        picture.putalpha(7)
    if name == "palette.png":
        picture = picture.quantize(16)
        rows = np.array(picture.convert("RGB"))
    if name == "a.tif":
        tifffile = pytest.importorskip("tifffile")
        tifffile.imwrite(tmp_path / name, rows, photometric="rgb")
    else:
        picture.save(tmp_path / name, quality=95)
    image = read_image(tmp_path / name)
    assert image.planar
    apart = np.abs(image.colours[:, :, 0].swapaxes(0, 1).astype(int) - rows)
    assert apart.max() <= (16 if name == "a.jpg" else 0)


def test_a_stack_of_colour_planes_is_a_volume_of_colours(tmp_path):
    tifffile = pytest.importorskip("tifffile")
    tifffile.imwrite(tmp_path / "a.tif", VOLUME.transpose(2, 1, 0, 3), photometric="rgb")
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif").colours, VOLUME)


def test_colours_that_are_all_grey_are_a_grey_scan(tmp_path):
    """A screenshot of a scan: the same image, bit for bit, as if it had been saved in grey."""
    grey = VOLUME[:, :, 0, 0]
    Pillow.fromarray(grey.T).save(tmp_path / "grey.png")
    Pillow.fromarray(grey.T).convert("RGB").save(tmp_path / "rgb.png")
    one, other = (read_image(tmp_path / name) for name in ("grey.png", "rgb.png"))
    assert other.colours is None
    np.testing.assert_array_equal(one.array, other.array)


def test_labels_in_colour_are_refused_still(tmp_path):
    image = Image(VOLUME[:, :, :1], planar=True)
    write_image(tmp_path / "a.png", image.colours, image)
    with pytest.raises(DamagedFile, match="is in colour"):
        read_labels(tmp_path / "a.png", like=image)
