"""What cannot be read or written is refused in one sentence, and leaves the old file."""

import gzip
import os
import subprocess
import sys

import nibabel as nib
import numpy as np
import pytest
import SimpleITK
from nifti_files import WRITABLE, save_nifti, scan

from bifseg.imaging.image import Image
from bifseg.io.images import read_image, read_labels, write_image


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
