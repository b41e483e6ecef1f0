"""Real files of nibabel, pydicom and scikit-image in situations that are often read wrongly.

Where nobody ships a file of a kind, one is made of a real file by the writer of its own package, and the test says so.
"""

import gzip
import os
import shutil
import struct
import zipfile
from pathlib import Path

import nibabel
import numpy as np
import pydicom
import pytest
from packaged_files import files
from PIL import Image as Pillow
from PIL import ImageOps

from bifseg.errors import BifsegError, CannotWrite, SeveralSeries
from bifseg.io.dicom_seg import headers_of, write_dicom_seg
from bifseg.io.images import read_image, read_labels, write_image

SKIMAGE = Path(pytest.importorskip("skimage").__file__).parent / "data"
NIBABEL = Path(nibabel.__file__).parent / "tests/data"
SIEMENS = Path(nibabel.__file__).parent / "nicom/tests/data"
PYDICOM = Path(pydicom.data.__file__).parent
DISC = PYDICOM / "test_files/dicomdirtests"  # of three patients, as scanners of GE write discs
RAS = np.diag((-1.0, -1.0, 1.0, 1.0))


def refused(path, words, **options):
    with pytest.raises(BifsegError, match=words) as caught:
        read_image(path, **options)
    assert "\n" not in str(caught.value)


def nifti(folder, name, **fields):
    """nibabel's real scan with other bytes in its header: ``fields``: a place, and what struct packs there."""
    content = bytearray((NIBABEL / "anatomical.nii").read_bytes())
    order = nibabel.load(NIBABEL / "anatomical.nii").header.endianness
    for kind, at, *values in fields.values():
        struct.pack_into(order + kind, content, at, *values)
    path = folder / name
    path.write_bytes(content)
    return path


# ---- DICOM


def test_a_real_series_of_a_disc_is_what_its_slices_are():
    folder = DISC / "98892001/CT5N"
    image = read_image(folder)
    slices = sorted(map(pydicom.dcmread, folder.iterdir()), key=lambda one: float(one.ImagePositionPatient[2]))
    stored = np.stack([pydicom.pixels.apply_rescale(one.pixel_array, one).T for one in slices], -1)
    np.testing.assert_array_equal(image.array, stored)
    np.testing.assert_allclose(image.spacing, (*slices[0].PixelSpacing[::-1], 2.5))
    np.testing.assert_allclose(image.origin, slices[0].ImagePositionPatient)


@pytest.mark.parametrize("kept", [True, False], ids=["of two signs", "of one"])
def test_real_slices_with_a_slope_each(tmp_path, kept):
    """Made by pydicom of a real CT, as a PET has them: nobody ships one."""
    right = []
    for k, path in enumerate(sorted((DISC / "98892001/CT5N").iterdir(), reverse=True)):
        content = pydicom.dcmread(path)
        content.RescaleSlope = 1 if k == 0 else 40.5 * k
        content.PixelRepresentation = int(k > 0) if kept else content.PixelRepresentation
        content.save_as(tmp_path / path.name)
        again = pydicom.dcmread(tmp_path / path.name)
        right.append((float(again.ImagePositionPatient[2]), pydicom.pixels.apply_rescale(again.pixel_array, again).T))
    volume = np.stack([plane for _, plane in sorted(right, key=lambda pair: pair[0])], -1)
    np.testing.assert_allclose(read_image(tmp_path).array, volume, rtol=1e-6)


@pytest.mark.parametrize("name", ["examples_palette.dcm", "GDCMJ2K_TextGBR.dcm", "JPEGLSNearLossless_16.dcm"])
def test_a_real_picture_that_does_not_say_how_large_a_pixel_is(name):
    path = PYDICOM / "test_files" / name
    assert "PixelSpacing" not in pydicom.dcmread(path, stop_before_pixels=True)
    image = read_image(path)
    assert not image.calibrated
    assert image.planar


@pytest.mark.parametrize("name", ["98892001/CT2N", "98892003/MR700"], ids=["two scouts", "a fan of views"])
def test_real_slices_that_are_turned_differently(name):
    refused(DISC / name, "DICOM slices differ: .* has the orientation")


def test_a_real_series_of_which_slices_are_missing():
    refused(DISC / "77654033/CT2", "form no even, straight stack: slice 1 ")


def test_the_table_of_contents_of_a_disc_is_no_image(tmp_path):
    refused(DISC / "DICOMDIR", "is a DICOMDIR, .*; give the folder")
    for path in (DISC / "98892001").glob("*/*"):  # a whole study, as one folder
        shutil.copy(path, tmp_path)
    shutil.copy(DISC / "DICOMDIR", tmp_path)
    with pytest.raises(SeveralSeries) as caught:
        read_image(tmp_path)
    uid = next(one["uid"] for one in caught.value.data["series"] if one["shape"][2] == 5)
    assert np.array_equal(read_image(tmp_path, series=uid).array, read_image(DISC / "98892001/CT5N").array)


@pytest.mark.parametrize("path", [*files("nibabel", "nicom/tests/data", "0.dcm", "1.dcm", "dwi_1000.dcm.gz")])
def test_a_mosaic_of_siemens_is_not_taken_for_a_plane(path, tmp_path):
    if path.suffix == ".gz":
        refused(path, "packed by gzip")
        (tmp_path / "a.dcm").write_bytes(gzip.decompress(path.read_bytes()))
        path = tmp_path / "a.dcm"
    refused(path, "is a mosaic")


def test_a_volume_of_philips_in_one_file(tmp_path):
    packed = SIEMENS / "philips_mprage.dcm.gz"
    if not packed.exists():
        pytest.skip("nibabel brings no nicom/tests/data along")
    (tmp_path / "a.dcm").write_bytes(gzip.decompress(packed.read_bytes()))
    content = pydicom.dcmread(tmp_path / "a.dcm")
    image, groups = read_image(tmp_path / "a.dcm"), content.PerFrameFunctionalGroupsSequence
    places = np.array([group.PlanePositionSequence[0].ImagePositionPatient for group in groups], float)
    assert image.shape == (content.Columns, content.Rows, content.NumberOfFrames)
    order = np.argsort(places @ image.direction[:, 2])
    np.testing.assert_allclose(image.origin, places[order[0]], atol=1e-4)
    np.testing.assert_allclose(image.affine @ (0, 0, image.shape[2] - 1, 1), [*places[order[-1]], 1], atol=1e-2)


CHARSETS = [
    "chrArab", "chrFren", "chrGerm", "chrGreek", "chrH31", "chrH32", "chrHbrw", "chrI2", "chrJapMulti",
    "chrKoreanMulti", "chrRuss", "chrX1", "chrX2",
]  # fmt: skip


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("charset", CHARSETS)
def test_a_segmentation_of_a_real_slice_keeps_a_name_in_any_script(tmp_path, charset):
    """The slice is pydicom's CT_small; the name is that of one of its files of character sets, which hold no image."""
    theirs = pydicom.dcmread(PYDICOM / "charset_files" / f"{charset}.dcm")
    content = pydicom.dcmread(PYDICOM / "test_files/CT_small.dcm")
    content.SpecificCharacterSet, content.PatientName = theirs.SpecificCharacterSet, theirs.PatientName
    content.save_as(tmp_path / "a.dcm")
    image = read_image(tmp_path / "a.dcm")
    labels = (image.array > np.median(image.array)).astype(np.uint8)
    write_dicom_seg(tmp_path / "seg.dcm", labels, ["a"], image, headers_of(tmp_path / "a.dcm"))
    seg = pydicom.dcmread(tmp_path / "seg.dcm")
    assert str(seg.PatientName) == str(theirs.PatientName)
    assert np.array_equal(np.squeeze(seg.pixel_array).T, labels[..., 0])


# ---- NIfTI


@pytest.mark.parametrize("shear", [0, 2e-4, 9e-4, 5e-2])
def test_the_axes_of_a_real_scan_are_nearly_at_right_angles(tmp_path, shear):
    """Made by nibabel of its anatomical.nii; reoriented_anat_moved.nii, as it is, is one that SPM turned."""
    scan = nibabel.load(NIBABEL / "reoriented_anat_moved.nii" if shear == 0 else NIBABEL / "anatomical.nii")
    affine = scan.affine.copy()
    affine[:3, 0] += shear * np.linalg.norm(affine[:3, 0]) * affine[:3, 1] / np.linalg.norm(affine[:3, 1])
    made = nibabel.Nifti1Image(np.asarray(scan.dataobj), None, scan.header)
    made.set_sform(affine, 2)
    nibabel.save(made, tmp_path / "a.nii.gz")
    if shear > 1e-3:
        refused(tmp_path / "a.nii.gz", "is sheared")
        return
    image = read_image(tmp_path / "a.nii.gz")
    far = np.array([*image.shape, 1])
    np.testing.assert_allclose(image.affine @ far, RAS @ affine @ far, atol=0.3)
    assert np.array_equal(image.array, np.asarray(scan.dataobj))


@pytest.mark.parametrize(
    ("name", "called"),
    [("anatomical.nii", "a.nii.gz"), ("standard.nii.gz", "a.nii"), ("standard.nii.gz", "A.NII.GZ")],
)
def test_a_real_nifti_under_a_wrong_name(tmp_path, name, called):
    shutil.copy(NIBABEL / name, tmp_path / called)
    assert np.array_equal(read_image(tmp_path / called).array, np.asarray(nibabel.load(NIBABEL / name).dataobj))


def test_a_real_nifti_packed_twice(tmp_path):
    (tmp_path / "a.nii.gz").write_bytes(gzip.compress((NIBABEL / "standard.nii.gz").read_bytes()))
    refused(tmp_path / "a.nii.gz", "packed by gzip.*unpack it first")


@pytest.mark.parametrize(
    "name", ["anatomical.nii", "standard.nii.gz", "reoriented_anat_moved.nii", "example_nifti2.nii.gz"]
)
def test_a_mask_says_of_its_place_what_its_real_scan_says(tmp_path, name):
    scan = nibabel.load(NIBABEL / name)
    if len(scan.shape) > 3:  # one frame, by nibabel
        scan = scan.slicer[..., 0]
        name = "frame.nii.gz"
        nibabel.save(scan, tmp_path / name)
    image = read_image((tmp_path if name.startswith("frame") else NIBABEL) / name)
    write_image(tmp_path / "mask.nii.gz", image.array > np.median(image.array), image)
    mask = nibabel.load(tmp_path / "mask.nii.gz")
    for what in ("qform_code", "sform_code", "xyzt_units"):
        kept = 7 if what == "xyzt_units" else 255  # a mask has no time
        assert int(mask.header[what]) & kept == int(scan.header[what]) & kept
    np.testing.assert_allclose(mask.affine, scan.affine, atol=1e-4)


@pytest.mark.parametrize("signs", [(-1, 1, 1), (1, -1, 1), (-1, -1, -1)])
@pytest.mark.parametrize("codes", [(0, 0), (1, 0), (0, 2)])
def test_a_real_scan_with_negative_spacing(tmp_path, signs, codes):
    """Of anatomical.nii of nibabel, whose own reader takes such spacings as what they are without their sign."""
    steps = np.multiply(nibabel.load(NIBABEL / "anatomical.nii").header.get_zooms()[:3], signs)
    path = nifti(tmp_path, "a.nii", pixdim=("3f", 80, *steps), codes=("2h", 252, *codes))
    image = read_image(path)
    theirs = nibabel.load(nifti(tmp_path, "b.nii", pixdim=("3f", 80, *abs(steps)), codes=("2h", 252, *codes)))
    np.testing.assert_allclose(image.affine, RAS @ theirs.affine, atol=1e-3)
    assert np.array_equal(image.array, np.asarray(theirs.dataobj))


def test_a_real_picture_wider_than_nifti_can_be(tmp_path):
    """Made by Pillow of scikit-image's camera.png, side by side: nobody ships one of more than 32,767 pixels."""
    rows = np.asarray(Pillow.open(SKIMAGE / "camera.png"))[:4]
    Pillow.fromarray(np.tile(rows, 65)).save(tmp_path / "a.png")
    image = read_image(tmp_path / "a.png")
    assert image.shape == (33_280, 4, 1)
    for name in ("m.nii", "m.nii.gz"):
        with pytest.raises(CannotWrite, match=r"at most 32767 voxels.*write \.nrrd or \.mha"):
            write_image(tmp_path / name, image.array > 99, image)
        assert not (tmp_path / name).exists()
    for name in ("m.nrrd", "m.mha", "m.png"):
        write_image(tmp_path / name, image.array > 99, image)
        assert np.array_equal(read_labels(tmp_path / name, image), image.array > 99)


# ---- other formats


OTHERS = [
    *files("nibabel", "tests/data", ".mnc", ".mgz", ".par", ".rec", ".head", ".brik", ".brik.gz", ".hdr", ".v", ".trk"),
    *files("skimage", "data", ".gif", ".npy"),
]


@pytest.mark.parametrize("path", OTHERS)
def test_a_real_file_of_another_format(path):
    refused(path, "known format|two files|packed by gzip|header is truncated")


def test_a_real_pair_of_header_and_voxels(tmp_path):
    """Written by nibabel, which ships headers alone."""
    scan = nibabel.load(NIBABEL / "anatomical.nii")
    nibabel.save(nibabel.Nifti1Pair(np.asarray(scan.dataobj), scan.affine), tmp_path / "a.hdr")
    nibabel.save(nibabel.AnalyzeImage(np.asarray(scan.dataobj), scan.affine), tmp_path / "b.hdr")
    for name in ("a.hdr", "a.img", "b.hdr", "b.img"):
        refused(tmp_path / name, r"save (it|both) as (one )?\.nii")


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("name", ["rocket.jpg", "coffee.png"])
def test_a_real_picture_that_a_camera_turned(tmp_path, name, orientation):
    """Made by Pillow of scikit-image's pictures, which have no EXIF orientation."""
    exif = Pillow.Exif()
    exif[0x0112] = orientation
    path = tmp_path / name
    with Pillow.open(SKIMAGE / name) as picture:
        picture.resize((60, 40)).save(path, exif=exif)
    image = read_image(path)
    with Pillow.open(path) as picture:
        upright = np.asarray(ImageOps.exif_transpose(picture)).swapaxes(0, 1)
        assert np.array_equal(image.voxels[:, :, 0], upright[..., :3])
        mask = image.array > 100
        write_image(tmp_path / "mask.png", mask, image)
        with Pillow.open(tmp_path / "mask.png") as written:
            assert written.size == picture.size  # as the camera's pixels lie
    assert np.array_equal(read_labels(tmp_path / "mask.png", image), mask)


def test_real_pages_of_a_tiff():
    import tifffile

    theirs = tifffile.imread(SKIMAGE / "multipage.tif")
    assert np.array_equal(read_image(SKIMAGE / "multipage.tif").array, theirs.T)
    refused(SKIMAGE / "multipage_rgb.tif", "vectors of 3 float64")


# ---- where a mask goes


@pytest.mark.skipif(os.name != "posix", reason="links of POSIX")
@pytest.mark.parametrize("kind", ["dangling", "two links", "hard", "folder"])
def test_a_mask_of_a_real_scan_goes_where_a_link_leads(tmp_path, kind):
    image = read_image(NIBABEL / "anatomical.nii")
    target, link = tmp_path / "there" / "mask.nii.gz", tmp_path / "link.nii.gz"
    target.parent.mkdir()
    if kind == "folder":
        (tmp_path / "folder").symlink_to(target.parent)
        link = tmp_path / "folder" / target.name
    elif kind == "hard":
        target.write_bytes(b"old")
        link.hardlink_to(target)
    else:
        link.symlink_to(tmp_path / "second.nii.gz" if kind == "two links" else target)
        (tmp_path / "second.nii.gz").symlink_to(target)
    write_image(link, image.array > 100, image)
    assert np.array_equal(read_labels(link, image), image.array > 100)
    if kind == "hard":  # the other name keeps what it had: a file is replaced whole, never changed in place
        assert target.read_bytes() == b"old"
    else:
        assert target.is_file()
        assert not target.is_symlink()
        assert kind == "folder" or link.is_symlink()


def test_a_zip_of_a_mac_holds_the_slices_alone(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for path in (DISC / "98892001/CT5N").iterdir():
            archive.write(path, f"CT5N/{path.name}")
            archive.writestr(f"__MACOSX/CT5N/._{path.name}", b"\0\5\x16\7" + bytes(1000))
    assert np.array_equal(read_image(tmp_path / "a.zip").array, read_image(DISC / "98892001/CT5N").array)
