"""Files in and out: what was read is where it was, in 2D and 3D, oblique and of every number type."""

import zipfile
from itertools import permutations, product
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from dicom_files import check_dicom, save_dicom
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from nifti_files import LPS, WRITABLE, save_nifti, scan

from bifseg.imaging.image import Image
from bifseg.io.images import read_image, read_labels, write_image

VOLUMES = [suffix for suffix in WRITABLE if suffix != ".png"]
ORIENTATIONS = [
    np.eye(3)[list(order)] * signs for order in permutations(range(3)) for signs in product((1, -1), repeat=3)
]


def rotation(angles: tuple[float, float, float]) -> np.ndarray:
    matrix = np.eye(3)
    for axis, angle in enumerate(angles):
        turn, (i, j) = np.eye(3), [(1, 2), (0, 2), (0, 1)][axis]
        turn[[i, j], [i, j]], turn[i, j], turn[j, i] = np.cos(angle), -np.sin(angle), np.sin(angle)
        matrix = matrix @ turn
    return matrix


def assert_same_place(read_back: Path, source: Path) -> None:
    theirs, ours = nib.load(source), nib.load(read_back)
    assert ours.shape == theirs.shape
    assert np.allclose(ours.affine, theirs.affine, atol=1e-4, rtol=1e-5)
    assert np.allclose(ours.get_qform(), theirs.affine, atol=1e-3)


@pytest.mark.parametrize("orientation", ORIENTATIONS, ids=range(48))
def test_a_mask_lies_where_its_image_lies(tmp_path, orientation):
    affine = np.eye(4)
    affine[:3] = np.c_[orientation * (0.7, 1.3, 5.0), (11, -7, 3)]
    image = read_image(save_nifti(tmp_path / "scan.nii", scan, affine))
    assert np.array_equal(image.array, scan)
    assert np.allclose(LPS @ image.affine, affine, atol=1e-5)
    write_image(tmp_path / "mask.nii", image.array > 0, like=image)
    assert_same_place(tmp_path / "mask.nii", tmp_path / "scan.nii")
    assert np.array_equal(np.asarray(nib.load(tmp_path / "mask.nii").dataobj), scan > 0)


@settings(max_examples=25, deadline=None)
@given(
    angles=st.tuples(*[st.floats(-3.1, 3.1)] * 3),
    spacing=st.tuples(*[st.floats(0.1, 9)] * 3),
    origin=st.tuples(*[st.floats(-400, 400)] * 3),
    mask=arrays(bool, st.tuples(*[st.integers(1, 5)] * 3)),
    suffix=st.sampled_from(VOLUMES),
    codes=st.sampled_from([{"sform": 1}, {"sform": 0}, {"qform": 0}, {"sform": 2}]),
)
def test_oblique_masks_keep_every_voxel_and_its_place(tmp_path_factory, angles, spacing, origin, mask, suffix, codes):
    folder = tmp_path_factory.mktemp("oblique")
    affine = np.eye(4)
    affine[:3] = np.c_[rotation(angles) * spacing, origin]
    image = read_image(save_nifti(folder / "scan.nii", mask.astype(np.float32), affine, **codes))
    write_image(folder / f"mask{suffix}", mask, like=image)
    assert np.array_equal(read_labels(folder / f"mask{suffix}", like=image), mask)
    again = read_image(folder / f"mask{suffix}")
    assert np.allclose(again.affine, image.affine, atol=1e-3, rtol=1e-5)
    if suffix.startswith(".nii"):
        assert_same_place(folder / f"mask{suffix}", folder / "scan.nii")


def test_the_sform_wins_over_another_qform(tmp_path):
    """SimpleITK alone would join the sform's direction to the qform's spacing."""
    affine = np.eye(4)
    affine[:3] = np.c_[rotation((0.3, 0.2, 0.1)) * (1, 2, 3), (7, 8, 9)]
    image = nib.Nifti1Image(scan, affine)
    image.set_qform(np.diag((2.0, 2, 2, 1)), 1)
    nib.save(image, tmp_path / "scan.nii.gz")
    assert np.allclose(LPS @ read_image(tmp_path / "scan.nii.gz").affine, affine, atol=1e-5)


def test_pixels_outlive_the_reader(tmp_path):
    array = read_image(save_nifti(tmp_path / "scan.nii", np.tile(scan, (9, 9, 9)), np.eye(4))).array
    _ = [np.ones(1 << 20) for _ in range(50)]
    assert np.array_equal(array, np.tile(scan, (9, 9, 9)))
    assert not array.flags.writeable


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16, np.int32, np.float32, np.float64])
@pytest.mark.parametrize("suffix", VOLUMES)
def test_number_types_survive(tmp_path, suffix, dtype):
    array = scan.astype(dtype)
    write_image(tmp_path / f"a{suffix}", array, like=Image(scan))
    back = read_image(tmp_path / f"a{suffix}").array
    assert back.dtype == dtype
    assert np.array_equal(back, array)


def test_pictures(tmp_path):
    pillow = pytest.importorskip("PIL.Image")
    colours = np.random.default_rng(0).integers(0, 256, (8, 9, 3)).astype(np.uint8)  # rows, columns
    grey = pillow.fromarray(colours[..., 0])
    for name in ["a.png", "a.tif", "a.bmp"]:
        grey.save(tmp_path / name)
        image = read_image(tmp_path / name)
        assert image.planar
        assert image.shape == (9, 8, 1)
        assert np.array_equal(image.array[..., 0].T, colours[..., 0])
    grey.save(tmp_path / "a.jpg", quality=95)
    assert np.abs(read_image(tmp_path / "a.jpg").array[..., 0].T - colours[..., 0].astype(float)).mean() < 5
    pillow.fromarray(colours).save(tmp_path / "rgb.png")
    luminance = np.rint(colours @ [0.299, 0.587, 0.114])
    assert np.abs(read_image(tmp_path / "rgb.png").array[..., 0].T - luminance).max() <= 1
    with pytest.raises(ValueError, match="in colour"):
        read_labels(tmp_path / "rgb.png", like=image)


def test_planar_masks_become_2d_files(tmp_path):
    like = Image(np.arange(20, dtype=np.uint8).reshape(4, 5), spacing=(0.5, 0.7, 1))
    mask = like.array > 9
    for suffix in WRITABLE:
        write_image(tmp_path / f"m{suffix}", mask, like=like)
        assert np.array_equal(read_labels(tmp_path / f"m{suffix}", like=like), mask)
        assert read_image(tmp_path / f"m{suffix}").planar
    assert nib.load(tmp_path / "m.nii").shape == (4, 5)
    write_image(tmp_path / "p.png", mask * 0.5, like=like)
    assert set(np.unique(read_image(tmp_path / "p.png").array)) == {0, 128}
    write_image(tmp_path / "w.png", like.array.astype(np.uint16) * 1000, like=like)
    assert read_image(tmp_path / "w.png").array.max() == 19000


def test_a_2d_nifti_in_oblique_space_keeps_its_place(tmp_path):
    affine = np.eye(4)
    affine[:3] = np.c_[rotation((0.3, 0.2, 0.1)) * (1, 2, 3), (7, 8, 9)]
    image = read_image(save_nifti(tmp_path / "a.nii", scan[..., 0], affine))
    assert image.planar
    write_image(tmp_path / "m.nii", image.array, like=image)
    assert np.allclose(nib.load(tmp_path / "m.nii").affine, affine, atol=1e-5)


def test_four_axes_with_one_frame_are_fine(tmp_path):
    image = read_image(save_nifti(tmp_path / "a.nii", scan[..., None], np.diag((1.0, 2, 3, 1))))
    assert np.array_equal(image.array, scan)
    assert np.allclose(image.spacing, (1, 2, 3))


def test_dicom_folder_and_zip(tmp_path):
    save_dicom(tmp_path / "d", [(1, 2, 4 * k - 8) for k in range(4)])
    check_dicom(read_image(tmp_path / "d"))
    with zipfile.ZipFile(tmp_path / "d.zip", "w") as archive:
        archive.writestr("../../outside.txt", "no image")
        for file in (tmp_path / "d").iterdir():
            archive.write(file, f"../study/series/{file.name}")
    check_dicom(read_image(tmp_path / "d.zip"))
    assert not (tmp_path.parent / "outside.txt").exists()


def test_several_series_are_listed(tmp_path):
    one = save_dicom(tmp_path, [(1, 2, 4 * k - 8) for k in range(4)])
    two = save_dicom(tmp_path, [(1, 2, 5 * k) for k in range(3)])
    with pytest.raises(ValueError, match="several") as caught:
        read_image(tmp_path)
    assert f"{one} (5 x 6 x 4, CT)" in str(caught.value)
    assert f"{two} (5 x 6 x 3, CT)" in str(caught.value)
    check_dicom(read_image(tmp_path, series=one))
    with pytest.raises(ValueError, match=r"not 1\.2"):
        read_image(tmp_path, series="1.2")


@pytest.mark.parametrize(
    "positions",
    [[(1, 2, z) for z in (0, 4, 8, 16, 20)], [(1, 2 + k, 4 * k) for k in range(5)]],
    ids=["missing", "tilted"],
)
def test_uneven_and_tilted_stacks(tmp_path, positions):
    save_dicom(tmp_path, positions)
    with pytest.raises(ValueError, match="even, straight stack"):
        read_image(tmp_path)


def test_zips_that_would_fill_the_disk(tmp_path, monkeypatch):
    path = tmp_path / "many.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for k in range(21):
            archive.writestr(str(k), bytes(1 << 20))
    monkeypatch.setattr("bifseg.io.archive.ZIP_FILES", 20)
    with pytest.raises(ValueError, match="21 files"):
        read_image(path)
    monkeypatch.setattr("bifseg.io.archive.ZIP_FILES", 21)
    monkeypatch.setattr("bifseg.io.archive.ZIP_BYTES", 20 << 20)
    with pytest.raises(ValueError, match="at most"):
        read_image(path)


def test_every_data_set_opens(data):
    for folder in sorted(data.glob("Dataset*")):
        labels = sorted((folder / "labelsTr").iterdir())[0]
        files = sorted((folder / "imagesTr").glob(labels.name.replace(".nii.gz", "_*"))) or [labels]
        image = read_image(files[0])
        theirs = nib.load(files[0])
        assert np.allclose(LPS @ image.affine, theirs.affine, atol=1e-4), folder.name
        corner = tuple(slice(n // 2, n // 2 + 3) for n in image.shape)
        assert np.allclose(image.array[corner], np.asarray(theirs.dataobj[corner]), rtol=1e-5), folder.name
        assert read_labels(labels, like=image).any()
