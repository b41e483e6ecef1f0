"""Files in and out: what was read is where it was, and what cannot be read is refused in one sentence."""

import gzip
import os
import subprocess
import sys
import zipfile
from itertools import permutations, product
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK
from dicom_files import check_dicom, save_dicom
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from bifseg.imaging.image import Image
from bifseg.io.formats import written_endings
from bifseg.io.images import read_image, read_labels, write_image

LPS = np.diag((-1.0, -1.0, 1.0, 1.0))  # to and from the RAS of NIfTI
WRITABLE = written_endings("numbers")
VOLUMES = [suffix for suffix in WRITABLE if suffix != ".png"]
ORIENTATIONS = [
    np.eye(3)[list(order)] * signs for order in permutations(range(3)) for signs in product((1, -1), repeat=3)
]
scan = np.random.default_rng(0).integers(-1000, 3000, (5, 6, 7)).astype(np.int16)


def save_nifti(path: Path, array: np.ndarray, affine: np.ndarray, **codes: int) -> Path:
    image = nib.Nifti1Image(array, affine)
    image.set_sform(affine, codes.get("sform", 1))
    image.set_qform(affine, codes.get("qform", 1), strip_shears=True)
    nib.save(image, path)
    return path


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


# ---- what is refused -------------------------------------------------------------------------------------------


def sheared() -> np.ndarray:
    affine = np.diag((2.0, 2, 2, 1))
    affine[0, 1] = 0.1
    return affine


@pytest.mark.parametrize(
    ("array", "affine", "words"),
    [
        (np.zeros((4, 5, 6, 3)), np.eye(4), "4 axes"),
        (np.zeros((4, 5, 6), np.complex64), np.eye(4), "complex"),
        (np.where(scan > 2900, np.nan, scan.astype(np.float32)), np.eye(4), rf"{(scan > 2900).sum()} voxels"),
        (scan, sheared(), "sheared"),
    ],
    ids=["frames", "complex", "nan", "sheared"],
)
def test_unusable_nifti(tmp_path, array, affine, words):
    path = save_nifti(tmp_path / "a.nii.gz", array, affine)
    with pytest.raises(ValueError, match=words) as caught:
        read_image(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz", "a.nrrd", "a.png", "b.jpg", "b.bmp", "b.tif"])
@pytest.mark.parametrize("part", [0, 0.1, 0.5, 0.95])
def test_truncated_files(tmp_path, name, part):
    path = tmp_path / name
    flat = Image(np.random.default_rng(0).integers(0, 256, (70, 50)).astype(np.uint8))
    if name.startswith("a"):
        write_image(path, flat.array, like=flat)
    else:
        pytest.importorskip("PIL.Image").fromarray(flat.array[..., 0].T).save(path)
    assert read_image(path).shape == flat.shape
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * part)])
    with pytest.raises(ValueError, match=name) as caught:
        read_image(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("suffix", [".nii", ".nrrd", ".mha"])
@pytest.mark.parametrize("dtype", ["<f4", ">f8"])
def test_nan_and_infinity_are_counted(tmp_path, suffix, dtype):
    array = scan.astype(dtype)
    array[1, 2, 3], array[3, 2, 1] = np.nan, -np.inf
    path = tmp_path / f"a{suffix}"
    if suffix == ".nii":
        header = nib.Nifti1Header(endianness=dtype[0])
        nib.save(nib.Nifti1Image(array, np.eye(4), header), path)  # ITK alone would read zeros here
    else:
        SimpleITK.WriteImage(SimpleITK.GetImageFromArray(array.astype(dtype[1:]).T), str(path))
    with pytest.raises(ValueError, match="2 voxels"):
        read_image(path)
    with pytest.raises(ValueError, match="2 values"):
        write_image(path, array, like=Image(scan))


def test_big_endian_nifti(tmp_path):
    header = nib.Nifti1Header(endianness=">")
    nib.save(nib.Nifti1Image(scan.astype(">i2"), np.diag((2.0, 3, 4, 1)), header), tmp_path / "a.nii.gz")
    image = read_image(tmp_path / "a.nii.gz")
    assert np.array_equal(image.array, scan)
    assert np.allclose(image.spacing, (2, 3, 4))


def test_a_flipped_byte_in_a_compressed_nifti(tmp_path):
    path = save_nifti(tmp_path / "a.nii.gz", np.tile(scan, (5, 5, 5)), np.eye(4))
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 255
    path.write_bytes(content)
    with pytest.raises(ValueError, match="damaged"):
        read_image(path)


def test_a_wrong_checksum_and_a_file_in_several_parts(tmp_path):
    content = gzip.decompress(save_nifti(tmp_path / "a.nii.gz", scan, np.eye(4)).read_bytes())
    parts = gzip.compress(content[:300]) + gzip.compress(content[300:])
    for name, data in [("parts", parts), ("longer", gzip.compress(content + b"more"))]:
        (tmp_path / f"{name}.nii.gz").write_bytes(data)
        assert np.array_equal(read_image(tmp_path / f"{name}.nii.gz").array, scan)
    whole = gzip.compress(content)
    for place in (-8, -4):  # of the checksum and of the length
        wrong = bytearray(whole)
        wrong[place] ^= 1
        (tmp_path / "wrong.nii.gz").write_bytes(wrong)
        with pytest.raises(ValueError, match="damaged"):
            read_image(tmp_path / "wrong.nii.gz")


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
@pytest.mark.parametrize("dtype", ["u1", "i1", "i2", "u2", "i4", "u4", "i8", "u8", "f4", "f8", ">i2", ">f4"])
@pytest.mark.parametrize("scale", [(None, None), (1, 0), (2, -3), (1, 5)])
def test_a_nifti_is_read_as_itk_reads_it(tmp_path, suffix, dtype, scale):
    header = nib.Nifti1Header(endianness=">" if dtype[0] == ">" else "<")
    image = nib.Nifti1Image(scan.astype(dtype), np.diag((2.0, 3, 4, 1)), header)
    image.set_data_dtype(dtype)  # else it is that of a new header, float32
    nib.save(image, tmp_path / "a.nii")
    content = bytearray((tmp_path / "a.nii").read_bytes())
    if scale[0] is not None:  # nibabel itself writes NaN for "not scaled"
        content[112:120] = np.array(scale, header.endianness + "f4").tobytes()
    path = tmp_path / f"b{suffix}"
    path.write_bytes(gzip.compress(content) if suffix == ".nii.gz" else content)
    theirs = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(path))).T
    ours = read_image(path)
    scaled = scale not in [(None, None), (1, 0)]
    if scaled and np.dtype(dtype).itemsize > 2 and np.dtype(dtype).kind != "f":  # which float32 would not hold
        theirs = np.asarray(nib.load(path).dataobj)
    assert ours.array.dtype == theirs.dtype
    assert np.allclose(ours.array, theirs, rtol=1e-6)
    assert np.allclose(ours.spacing, (2, 3, 4))


def test_what_is_no_image(tmp_path):
    with pytest.raises(FileNotFoundError, match="does not exist"):
        read_image(tmp_path / "absent.nii")
    with pytest.raises(ValueError, match="no DICOM"):
        read_image(tmp_path)
    (tmp_path / "a.txt").write_text("hello")
    (tmp_path / "a.nii").write_bytes(np.random.default_rng(0).bytes(2000))
    (tmp_path / "a.zip").write_text("hello")
    for name, words in [("a.txt", "NRRD"), ("a.nii", "NIfTI-1"), ("a.zip", "unpacked")]:
        with pytest.raises(ValueError, match=words):
            read_image(tmp_path / name)


def test_labels_must_fit(tmp_path):
    like = Image(scan, (1, 1, 2), (5, 6, 7))
    labels = (scan > 0).astype(np.float32)
    write_image(tmp_path / "float.nii", labels * 3, like)
    assert read_labels(tmp_path / "float.nii", like).dtype.kind == "i"
    write_image(tmp_path / "half.nii", labels / 2, like)
    write_image(tmp_path / "turned.nii", labels, Image(scan, (1, 1, 2), (5, 6, 7), np.diag((1, 1, -1))))
    write_image(tmp_path / "moved.nii", labels, Image(scan, (1, 1, 2), (5, 6, 7.5)))
    write_image(tmp_path / "small.nii", labels[1:], Image(scan[1:]))
    for name, words in [("half", "0.5"), ("turned", "24 mm"), ("moved", "0.5 mm"), ("small", r"\(4, 6, 7\)")]:
        with pytest.raises(ValueError, match=words):
            read_labels(tmp_path / f"{name}.nii", like)
    write_image(tmp_path / "close.nii", labels, Image(scan, (1, 1, 2), (5, 6, 7.01)))
    assert read_labels(tmp_path / "close.nii", like).any()


def test_what_cannot_be_written(tmp_path):
    like = Image(scan)
    for name, array, words in [
        ("a.gif", scan, r"\.nii\.gz"),
        ("a.nii", scan[1:], "shape"),
        ("a.png", scan, "one plane"),
    ]:
        with pytest.raises(ValueError, match=words):
            write_image(tmp_path / name, array, like)
    plane = Image(np.ones((3, 4)))
    for array in (plane.array * 2, plane.array.astype(np.int32)):
        with pytest.raises(ValueError, match="PNG"):
            write_image(tmp_path / "a.png", array, plane)
    with pytest.raises(OSError, match="does not exist"):
        write_image(tmp_path / "absent" / "a.nii", scan, like)
    (tmp_path / "folder.nii").mkdir()
    with pytest.raises(OSError, match="directory"):
        write_image(tmp_path / "folder.nii", scan, like)
    assert [p.name for p in tmp_path.iterdir()] == ["folder.nii"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_is_not_writable(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(OSError, match="ermission"):
        write_image(tmp_path / "a.nii", scan, Image(scan))


FULL_DISK = """
import resource, signal, sys, numpy as np
from bifseg.imaging.image import Image
from bifseg.io.images import write_image
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
noise = np.random.default_rng(0).integers(0, 256, (60, 60, 20)).astype(np.uint8)
for path in sys.argv[1:]:
    array = noise.reshape(60, -1, 1) if path.endswith("png") else noise * ("zeros" not in path)
    try:
        write_image(path, array, Image(array))
    except OSError as error:
        print(type(error).__name__, error)
    else:
        print("written", path)
"""


def test_a_full_disk_leaves_the_old_file(tmp_path):
    """A limit on the file size stands for the full disk: ITK is cut short in the same way."""
    pytest.importorskip("resource")
    paths = [*(tmp_path / f"a{suffix}" for suffix in WRITABLE), tmp_path / "zeros.nii"]
    for path in paths:
        path.write_text("old")
    run = subprocess.run(
        [sys.executable, "-c", FULL_DISK, *map(str, paths)], capture_output=True, text=True, check=True
    )
    lines = run.stdout.splitlines()
    assert len(lines) == len(paths)
    assert all(line.startswith("CannotWrite Cannot write") for line in lines), run.stdout
    assert all(path.read_text() == "old" for path in paths)
    assert sorted(tmp_path.iterdir()) == sorted(paths)


# ---- DICOM -----------------------------------------------------------------------------------------------------


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


# ---- the shared data -------------------------------------------------------------------------------------------


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
