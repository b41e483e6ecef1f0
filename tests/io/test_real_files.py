"""Real files, of packages that ship some: as the package itself reads them, or refused in one sentence."""

import os
import shutil
import struct
import warnings
from pathlib import Path

import nibabel
import numpy as np
import pydicom
import pytest
from packaged_files import files
from PIL import Image as Pillow
from pydicom.pixels import apply_color_lut, apply_modality_lut

from bifseg.errors import BifsegError, SeveralSeries
from bifseg.io.images import read_image, read_labels, write_image

RAS = np.diag((-1.0, -1.0, 1.0, 1.0))


def opened(path: Path):
    """The image, None where it is refused."""
    try:
        return read_image(path)
    except BifsegError as error:
        return None if "\n" not in str(error) else pytest.fail(str(error))


def by_pydicom(path: Path) -> np.ndarray | None:
    """The numbers that are meant, (rows, columns), with frames before or colours after; None where it has none."""
    try:
        content = pydicom.dcmread(path, force=True)
        array = content.pixel_array
    except Exception:
        return None
    if content.PhotometricInterpretation == "PALETTE COLOR":
        array = apply_color_lut(array, content)
        return (array >> 8).astype(np.uint8) if array.dtype.itemsize > 1 else array
    if content.get("Modality") == "RTDOSE":
        return array * float(content.DoseGridScaling)
    return array if content.SamplesPerPixel > 1 else apply_modality_lut(array, content)


REFUSED = {  # whole files of pydicom's that are not read, and why
    "films": ("examples_ybr_color.dcm", "SC_rgb_rle_2frame.dcm", "SC_rgb_rle_16bit_2frame.dcm"),
    "colours of 32 bits": ("SC_rgb_rle_32bit.dcm", "SC_rgb_rle_32bit_2frame.dcm"),
    "a bit a pixel": ("liver_1frame.dcm", "liver_expb_1frame.dcm", "liver.dcm", "liver_expb.dcm"),
    "deflated": ("image_dfl.dcm",),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("path", files("pydicom", "data/test_files", ".dcm"))
def test_a_file_of_pydicom(path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs, image = by_pydicom(path), opened(path)
    if image is None:
        known = [name for names in REFUSED.values() for name in names]
        assert theirs is None or path.name in known
    elif theirs is not None:
        ours = image.voxels[:, :, 0].swapaxes(0, 1) if image.shape[2] == 1 else image.voxels.T
        if ours.ndim == 2 and theirs.ndim == 3:  # colours that are all grey
            theirs = theirs[..., 0]
        np.testing.assert_allclose(ours, theirs[..., :3] if image.colours is not None else theirs)


@pytest.mark.parametrize("path", files("nibabel", "tests/data", ".nii", ".nii.gz", ".hdr"))
def test_a_file_of_nibabel(path):
    image = opened(path)
    if path.suffix == ".hdr" or ".dconn." in path.name:  # without the .img beside them; numbers that are no image
        assert image is None
        return
    theirs = nibabel.load(path)
    voxels = np.asarray(theirs.dataobj)
    if image is None:
        assert any(n > 1 for n in voxels.shape[3:]) or not np.isfinite(voxels).all()
    else:
        np.testing.assert_allclose(image.array, voxels)
        np.testing.assert_allclose(RAS @ image.affine, theirs.affine, atol=1e-3)


@pytest.mark.parametrize("path", files("skimage", "data", ".png", ".jpg"))
def test_a_picture_of_scikit_image(path):
    image = opened(path)
    theirs = np.asarray(Pillow.open(path)).swapaxes(0, 1)
    ours = image.voxels[:, :, 0]
    ours = (ours >> 8).astype(np.uint8) if ours.dtype == np.uint16 else ours
    if theirs.ndim == 3:
        theirs = theirs[..., :3] if ours.ndim == 3 else theirs[..., 0]
    assert np.array_equal(ours, theirs)


# ---- real files in situations that real people met


def of_pydicom(name: str, folder: Path, *names: str) -> Path:
    """A file of pydicom's in a folder, under other names."""
    folder.mkdir(exist_ok=True)
    for other in names:
        shutil.copy(Path(pydicom.data.__file__).parent / "test_files" / name, folder / other)
    return folder


@pytest.fixture
def anatomy():
    path = Path(nibabel.__file__).parent / "tests/data/anatomical.nii"
    return path if path.exists() else pytest.skip("nibabel brings no tests/data along")


def test_real_series_in_one_folder_and_a_slice_twice(tmp_path):
    of_pydicom("CT_small.dcm", tmp_path, "a.dcm", "a (1).dcm")
    assert read_image(tmp_path).shape == (128, 128, 1)
    of_pydicom("MR_small.dcm", tmp_path, "b.dcm")
    with pytest.raises(SeveralSeries) as caught:
        read_image(tmp_path)
    shapes = {choice["uid"]: choice["shape"][0] for choice in caught.value.data["series"]}
    assert all(read_image(tmp_path, series=uid).shape[0] == columns for uid, columns in shapes.items())


def test_a_real_scan_with_its_voxels_behind_no_offset(anatomy, tmp_path):
    content = bytearray(anatomy.read_bytes())
    struct.pack_into(nibabel.load(anatomy).header.endianness + "f", content, 108, 0.0)
    (tmp_path / "a.nii").write_bytes(content)
    assert np.array_equal(read_image(tmp_path / "a.nii").array, read_image(anatomy).array)


def test_a_real_scan_under_a_name_that_is_no_text_and_its_mask_through_a_link(anatomy, tmp_path):
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/M\xfcller.nii"))
    shutil.copy(anatomy, path)
    image = read_image(path)
    (tmp_path / "real.nii.gz").write_bytes(b"old")
    (tmp_path / "link.nii.gz").symlink_to(tmp_path / "real.nii.gz")
    write_image(tmp_path / "link.nii.gz", image.array > 100, image)
    assert (tmp_path / "link.nii.gz").is_symlink()
    assert np.array_equal(read_labels(tmp_path / "real.nii.gz", image), image.array > 100)
    np.testing.assert_allclose(nibabel.load(tmp_path / "real.nii.gz").affine, nibabel.load(anatomy).affine, atol=1e-4)


@pytest.mark.parametrize("axes", ["RAS", "LPI", "SAR"])
def test_labels_of_a_real_scan_in_another_order_of_axes(anatomy, tmp_path, axes):
    scan = nibabel.load(anatomy)
    labels = nibabel.Nifti1Image((np.asarray(scan.dataobj) > 100).astype(np.uint8), scan.affine)
    turn = nibabel.orientations.ornt_transform(
        nibabel.io_orientation(scan.affine), nibabel.orientations.axcodes2ornt(axes)
    )
    nibabel.save(labels.as_reoriented(turn), tmp_path / "l.nii.gz")
    assert np.array_equal(read_labels(tmp_path / "l.nii.gz", read_image(anatomy)), np.asarray(labels.dataobj))
