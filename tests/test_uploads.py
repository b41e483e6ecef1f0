"""Files from strangers: `read_upload` takes what `read_image` takes, unless it leads elsewhere or wants too much."""

import gzip
import re
import struct
import tracemalloc
import zipfile
import zlib

import numpy as np
import pytest

from bifseg import io
from bifseg.declared import ONE_FILE, TooLargeError, check_single
from bifseg.image import Image
from test_io import save_dicom

LIMITS = {"voxels": 50_000, "bytes": 1 << 20}
NOISE = np.random.default_rng(0).integers(0, 99, (12, 11, 10)).astype(np.int16)


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".nrrd", ".mha"])
def test_a_volume_is_read_as_ever(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    io.write_image(path, NOISE, Image(NOISE, (1, 2, 3), (4, 5, 6)))
    image, same = io.read_upload(path, **LIMITS), io.read_image(path)
    np.testing.assert_array_equal(image.array, same.array)
    np.testing.assert_array_equal(image.affine, same.affine)
    with pytest.raises(TooLargeError, match=r"12 x 11 x 10 voxels of 2 bytes; at most 0\.001319 million"):
        io.read_upload(path, voxels=NOISE.size - 1, bytes=1 << 20)
    with pytest.raises(TooLargeError):
        io.read_upload(path, voxels=NOISE.size, bytes=2 * NOISE.size - 1)
    io.read_upload(path, voxels=NOISE.size, bytes=2 * NOISE.size)


def test_pictures_and_dicom(tmp_path):
    plane = Image(NOISE[..., 0].astype(np.uint8))
    io.write_image(tmp_path / "a.png", plane.array, plane)
    np.testing.assert_array_equal(io.read_upload(tmp_path / "a.png", **LIMITS).array, plane.array)
    save_dicom(tmp_path / "d", [(1, 2, 4 * k) for k in range(4)])
    with zipfile.ZipFile(tmp_path / "d.zip", "w") as archive:
        for path in (tmp_path / "d").iterdir():
            archive.write(path, path.name)
    assert io.read_upload(tmp_path / "d.zip", **LIMITS).shape == (5, 6, 4)
    with pytest.raises(TooLargeError, match="5 x 6 x 4"):
        io.read_upload(tmp_path / "d.zip", voxels=119, bytes=1 << 20)
    with pytest.raises(TooLargeError, match="4 files"):
        io.read_upload(tmp_path / "d.zip", voxels=50_000, bytes=1000)


NRRD = "NRRD0004\ntype: uint8\ndimension: 3\nsizes: 4 4 4\nencoding: raw\n"
MHA = "ObjectType = Image\nNDims = 3\nDimSize = 4 4 4\nElementType = MET_UCHAR\n"


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.nrrd", NRRD + "data file: secret.raw\n\n"),
        ("a.nrrd", NRRD + "DATAFILE: ../secret.raw\n\n"),
        ("a.nrrd", NRRD + "data file: LIST\nsecret.raw\n\n"),
        ("a.nrrd", NRRD.replace("\n", "\r\n") + "Data File: secret.raw\r\n\r\n"),
        ("a.mha", MHA + "ElementDataFile = secret.raw\n"),
        ("a.mha", MHA + "ElementDataFile=../secret.raw\n"),
        ("a.mha", MHA + "ElementDataFile = LIST\nsecret.raw\n"),
        ("a.mha", MHA + "ElementDataFile = secret%d.raw 1 4 1\n"),
        ("a.mha", MHA),
        ("a.nrrd", NRRD),
        ("a.mhd", MHA + "ElementDataFile = secret.raw\n"),
        ("a.nhdr", NRRD + "data file: secret.raw\n\n"),
        ("a.hdr", "x"),
        ("a", "x"),
    ],
)
def test_no_header_leads_to_another_file(tmp_path, name, content):
    (tmp_path / "secret.raw").write_bytes(bytes(64))
    (tmp_path / name).write_text(content, newline="")
    with pytest.raises(ValueError, match=r"another file|cannot be uploaded|no end"):
        io.read_upload(tmp_path / name, **LIMITS)


def test_a_word_in_a_comment_is_no_reference(tmp_path):
    header = NRRD.replace("encoding", "# data file: none of ours\nencoding") + "\n"
    (tmp_path / "a.nrrd").write_bytes(header.encode() + bytes(range(64)))
    assert io.read_upload(tmp_path / "a.nrrd", **LIMITS).shape == (4, 4, 4)


def png_header(width, height):
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")


def nifti_header(shape, bits=16):
    header = bytearray(352)
    struct.pack_into("<i8h", header, 0, 348, *([0] * 8))
    struct.pack_into("<8h", header, 40, 3, *shape, 1, 1, 1, 1)
    struct.pack_into("<hh", header, 70, 4, bits)
    struct.pack_into("<8f", header, 76, *([1.0] * 8))
    struct.pack_into("<f", header, 108, 352.0)
    header[344:348] = b"n+1\0"
    return bytes(header)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.png", png_header(100_000, 100_000)),
        ("a.nii", nifti_header((30_000, 30_000, 30_000))),
        ("a.nii.gz", gzip.compress(nifti_header((30_000, 30_000, 30_000)))),
        ("a.nrrd", NRRD.replace("4 4 4", "100000 100000 1").encode() + b"\n"),
        ("a.mha", MHA.replace("4 4 4", "100000 100000 1").encode() + b"ElementDataFile = LOCAL\n"),
    ],
)
def test_what_says_that_it_is_huge_is_refused_before_memory_is_taken(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    tracemalloc.start()
    with pytest.raises(TooLargeError, match="at most"):
        io.read_upload(tmp_path / name, **LIMITS)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 5 << 20


def test_a_nifti_that_unpacks_to_more_than_it_says_is_refused_early(tmp_path):
    small = nifti_header((10, 10, 10)) + bytes(range(250)) * 8
    (tmp_path / "a.nii.gz").write_bytes(gzip.compress(small + bytes(300 << 20)))
    with pytest.raises(ValueError, match="unpacks to more than its header says"):
        io.read_upload(tmp_path / "a.nii.gz", **LIMITS)
    (tmp_path / "b.nii.gz").write_bytes(gzip.compress(small + b"a little more"))
    assert io.read_upload(tmp_path / "b.nii.gz", **LIMITS).shape == (10, 10, 10)


def test_zips(tmp_path):
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a", bytes(2 << 20))
    with pytest.raises(TooLargeError, match="at most"):
        io.read_upload(tmp_path / "bomb.zip", **LIMITS)
    with zipfile.ZipFile(tmp_path / "link.zip", "w") as archive:
        link = zipfile.ZipInfo("link.dcm")
        link.create_system, link.external_attr = 3, 0o120777 << 16
        archive.writestr(link, "/etc/passwd")
    with pytest.raises(ValueError, match="no DICOM"):  # a link is but a file that holds a path
        io.read_upload(tmp_path / "link.zip", **LIMITS)
    inner = (tmp_path / "bomb.zip").read_bytes()
    with zipfile.ZipFile(tmp_path / "nested.zip", "w") as archive:
        archive.writestr("inner.zip", inner)
    with pytest.raises(ValueError, match="no DICOM"):
        io.read_upload(tmp_path / "nested.zip", **LIMITS)


def test_every_ending_that_may_be_uploaded_is_checked(tmp_path):
    for suffix in ONE_FILE:
        path = tmp_path / f"a{suffix}"
        path.write_bytes(b"nonsense" * 20)
        with pytest.raises(ValueError, match=re.escape(str(path))):
            io.read_upload(path, **LIMITS)
    with pytest.raises(ValueError, match="is empty"):
        io.read_upload(tmp_path / "missing.nii", **LIMITS)
    check_single(tmp_path / "a.nii")
