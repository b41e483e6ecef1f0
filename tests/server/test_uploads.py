"""Files from strangers: `read_upload` takes what `read_image` takes, unless it leads elsewhere or wants too much."""

import gzip
import re
import struct
import tracemalloc
import zipfile
import zlib
from io import BytesIO

import numpy as np
import pydicom
import pytest
import SimpleITK
from dicom_files import save_dicom
from pydicom.encaps import encapsulate
from pydicom.uid import JPEG2000Lossless

from bifseg.errors import TooLarge
from bifseg.imaging.image import Image
from bifseg.io import images
from bifseg.io.formats import upload_endings
from bifseg.io.untrusted import check_single

LIMITS = {"voxels": 50_000, "bytes": 1 << 20}
NOISE = np.random.default_rng(0).integers(0, 99, (12, 11, 10)).astype(np.int16)


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".nrrd", ".mha"])
def test_a_volume_is_read_as_ever(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    images.write_image(path, NOISE, Image(NOISE, (1, 2, 3), (4, 5, 6)))
    image, same = images.read_upload(path, **LIMITS), images.read_image(path)
    np.testing.assert_array_equal(image.array, same.array)
    np.testing.assert_array_equal(image.affine, same.affine)
    with pytest.raises(TooLarge, match=r"12 x 11 x 10 voxels of 2 bytes; at most 0\.001319 million"):
        images.read_upload(path, voxels=NOISE.size - 1, bytes=1 << 20)
    with pytest.raises(TooLarge):
        images.read_upload(path, voxels=NOISE.size, bytes=2 * NOISE.size - 1)
    images.read_upload(path, voxels=NOISE.size, bytes=2 * NOISE.size)


def test_pictures_and_dicom(tmp_path):
    plane = Image(NOISE[..., 0].astype(np.uint8))
    images.write_image(tmp_path / "a.png", plane.array, plane)
    np.testing.assert_array_equal(images.read_upload(tmp_path / "a.png", **LIMITS).array, plane.array)
    save_dicom(tmp_path / "d", [(1, 2, 4 * k) for k in range(4)])
    assert not any(path.suffix for path in (tmp_path / "d").iterdir())
    assert images.read_upload(tmp_path / "d", **LIMITS).shape == (5, 6, 4)  # as from the server's own folder
    with pytest.raises(TooLarge):
        images.read_upload(tmp_path / "d", voxels=119, bytes=1 << 20)
    with zipfile.ZipFile(tmp_path / "d.zip", "w") as archive:
        for path in (tmp_path / "d").iterdir():
            archive.write(path, path.name)
    assert images.read_upload(tmp_path / "d.zip", **LIMITS).shape == (5, 6, 4)
    with pytest.raises(TooLarge, match="5 x 6 x 4"):
        images.read_upload(tmp_path / "d.zip", voxels=119, bytes=1 << 20)
    with pytest.raises(TooLarge, match="4 files"):
        images.read_upload(tmp_path / "d.zip", voxels=50_000, bytes=1000)


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
        ("a.mha", MHA + "Comment = ElementDataFile = LOCAL\nElementDataFile = secret.raw\n"),
        ("a.mha", MHA + "ElementDataFile = LOCAL\nElementDataFile = secret.raw\n"),
        ("a.mha", MHA + "elementDataFile = LOCAL\nElementDataFile : secret.raw\n"),
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
    with pytest.raises(ValueError, match=r"another file|cannot be uploaded|no end|truncated"):
        images.read_upload(tmp_path / name, **LIMITS)


@pytest.mark.parametrize(
    "header",
    [
        MHA.replace("NDims = 3", "NDims = 83") + "TransformMatrix = 1 0 0\n",  # 83 x 83 numbers in 10 x 10
        MHA + "NDims = 83\n",
        MHA.replace("NDims = 3", "NDims : 83"),
        MHA.replace("NDims = 3\n", ""),
        MHA.replace("NDims = 3", "NDims = \n83"),
        MHA + "x" * 2000 + " = 1\n",
    ],
)
def test_an_mha_that_would_be_read_beyond_its_tables(tmp_path, header):
    (tmp_path / "a.mha").write_bytes(header.encode() + b"ElementDataFile = LOCAL\n" + bytes(64))
    with pytest.raises(ValueError, match=r"NDims of 2 to 4|the form Key = value"):
        images.read_upload(tmp_path / "a.mha", **LIMITS)


@pytest.mark.parametrize("line", ["type: uint8 ", "kinds: ", "x", "sizes: 1:="])
def test_a_nrrd_of_very_long_lines(tmp_path, line):
    header = NRRD + line + "1 " * 1000 + "\n\n"
    (tmp_path / "a.nrrd").write_bytes(header.encode() + bytes(64))
    with pytest.raises(ValueError, match=r"a\.nrrd is damaged"):
        images.read_upload(tmp_path / "a.nrrd", **LIMITS)
    header = NRRD + "Segment0_Tags:=" + "x" * 5000 + "\n\n"
    (tmp_path / "a.nrrd").write_bytes(header.encode() + bytes(64))
    assert images.read_upload(tmp_path / "a.nrrd", **LIMITS).shape == (4, 4, 4)


def test_a_word_in_a_comment_is_no_reference(tmp_path):
    header = NRRD.replace("encoding", "# data file: none of ours\nencoding") + "\n"
    (tmp_path / "a.nrrd").write_bytes(header.encode() + bytes(range(64)))
    assert images.read_upload(tmp_path / "a.nrrd", **LIMITS).shape == (4, 4, 4)


@pytest.mark.parametrize("suffix", [".bmp", ".jpg", ".png", ".nrrd", ".mha", ".dcm", ".nii"])
@pytest.mark.parametrize("disguised", [".h5", ".nhdr", ".mhd", ".vtk"])
def test_a_suffix_decides_who_reads(tmp_path, suffix, disguised):
    """ITK goes by content, too, and HDF5 and others may keep their voxels in any file that the server can read."""
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(NOISE), str(tmp_path / f"source{disguised}"))
    content = (tmp_path / f"source{disguised}").read_bytes()
    path = tmp_path / f"a{suffix}"
    # What a JPEG ends with, for those who look.
    path.write_bytes(content + b"\xff\xda\xff\xd9")
    with pytest.raises(ValueError, match=re.escape(str(path))):
        images.read_upload(path, **LIMITS)


def test_voxels_far_behind_the_header_are_not_unpacked_to(tmp_path):
    header = bytearray(nifti_header((10, 10, 10)))
    struct.pack_into("<f", header, 108, 5e11)
    (tmp_path / "a.nii.gz").write_bytes(gzip.compress(bytes(header) + bytes(20 << 20)))
    with pytest.raises(ValueError, match="behind 5e"):
        images.read_upload(tmp_path / "a.nii.gz", **LIMITS)
    for skip in ("byte skip: 4000000000", "line skip: 4000000000", "Byte Skip: -1"):
        header = NRRD.replace("raw", "gzip") + f"{skip}\n\n"
        (tmp_path / "a.nrrd").write_bytes(header.encode() + gzip.compress(bytes(1 << 20)))
        with pytest.raises(ValueError, match="skips bytes"):
            images.read_upload(tmp_path / "a.nrrd", **LIMITS)


def test_a_jpeg_of_very_many_scans(tmp_path):
    pillow = pytest.importorskip("PIL.Image")
    path = tmp_path / "a.jpg"
    pillow.fromarray(NOISE[..., 0].astype(np.uint8)).save(path, progressive=True)
    assert images.read_upload(path, **LIMITS).shape == (11, 12, 1)
    content = path.read_bytes()
    last = content[content.rfind(b"\xff\xda") : -2]
    path.write_bytes(content[:-2] + last * 200 + b"\xff\xd9")
    with pytest.raises(ValueError, match="scans; at most 100"):
        images.read_upload(path, **LIMITS)


def slice_of(folder, **changes):
    """The bytes of a DICOM slice of 5 x 6 pixels, and where the element of its pixels begins."""
    save_dicom(folder, [(1, 2, 0)])
    (path,) = folder.iterdir()
    content = pydicom.dcmread(path)
    for keyword, value in changes.items():
        setattr(content, keyword, value)
    content.save_as(path)
    return path.read_bytes(), path.read_bytes().find(b"\xe0\x7f\x10\0OW")


def nested(depth, *, fake=b""):
    """Sequences in sequences, of a private group before the pixels'; ``fake``: the value of an element in each."""
    fake = b"\xdf\x7f\x11\x10OB\0\0" + struct.pack("<I", len(fake)) + fake if fake else b""
    begin = b"\xdf\x7f\x10\x10SQ\0\0" + b"\xff" * 4 + b"\xfe\xff\0\xe0" + b"\xff" * 4
    end = b"\xfe\xff\x0d\xe0\0\0\0\0" + b"\xfe\xff\xdd\xe0\0\0\0\0"
    return (begin + fake) * depth + end * depth


@pytest.mark.parametrize("suffix", [".dcm", ".zip"])
def test_dicom_that_would_overflow_the_stack_or_read_beyond_its_pixels(tmp_path, suffix):
    """GDCM follows sequences by recursion, and fills up missing pixels with what lies in memory."""

    def read(content):
        path = tmp_path / f"a{suffix}"
        if suffix == ".zip":
            with zipfile.ZipFile(path, "w") as archive:
                archive.writestr("a", content)
        else:
            path.write_bytes(content)
        return images.read_upload(path, **LIMITS)

    content, at = slice_of(tmp_path / "d")
    assert read(content).shape == (5, 6, 1)
    assert read(content[:at] + nested(20) + content[at:]).shape == (5, 6, 1)
    item, ends = b"\xfe\xff\0\xe0\0\0\0\0", b"\xfe\xff\x0d\xe0\0\0\0\0\xfe\xff\xdd\xe0\0\0\0\0"
    for fake in (b"", item + ends, ends + item):  # delimiters in a value end nothing around it
        with pytest.raises(ValueError, match="deep"):
            read(content[:at] + nested(9_000, fake=fake) + content[at:])
    wide = slice_of(tmp_path / "e", Columns=100)[0]
    with pytest.raises(ValueError, match="60 of 1200 bytes of pixels"):
        read(wide)


def test_a_compressed_slice_is_no_larger_than_its_header_says(tmp_path):
    pillow = pytest.importorskip("PIL.Image")
    features = pytest.importorskip("PIL.features")
    if not features.check("jpg_2000"):
        pytest.skip("Pillow without JPEG 2000")
    for side, fits in ((8, True), (4000, False)):
        with BytesIO() as stream:
            pillow.new("L", (side, side)).save(stream, "JPEG2000", no_jp2=True)
            content = pydicom.dcmread(BytesIO(slice_of(tmp_path / f"d{side}")[0]))
            content.PixelData = encapsulate([stream.getvalue()])
        content["PixelData"].is_undefined_length = True
        content.Rows = content.Columns = 8
        content.BitsAllocated, content.BitsStored, content.HighBit, content.PixelRepresentation = 8, 8, 7, 0
        content.file_meta.TransferSyntaxUID = JPEG2000Lossless
        content.save_as(tmp_path / "a.dcm")
        if fits:
            assert images.read_upload(tmp_path / "a.dcm", **LIMITS).shape == (8, 8, 1)
        else:
            with pytest.raises(ValueError, match="4000 x 4000, more than its header says"):
                images.read_upload(tmp_path / "a.dcm", **LIMITS)


def test_an_archive_that_lists_too_much_is_not_opened(tmp_path):
    entry = struct.pack("<4s6H3L5H2L", b"PK\1\2", 20, 20, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0) + b"a"
    listing = entry * 300_000
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 9, 9, len(listing), 0, 0)
    (tmp_path / "a.zip").write_bytes(listing + end)
    tracemalloc.start()
    with pytest.raises(TooLarge, match="lists 9 files in 14100000 bytes"):
        images.read_upload(tmp_path / "a.zip", **LIMITS)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1 << 20


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
    ids=("png", "nii", "nii.gz", "nrrd", "mha"),  # not the contents: a packed one holds the time
)
def test_what_says_that_it_is_huge_is_refused_before_memory_is_taken(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    tracemalloc.start()
    with pytest.raises(TooLarge, match="at most"):
        images.read_upload(tmp_path / name, **LIMITS)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 5 << 20


def test_a_nifti_that_unpacks_to_more_than_it_says_is_refused_early(tmp_path):
    small = nifti_header((10, 10, 10)) + bytes(range(250)) * 8
    (tmp_path / "a.nii.gz").write_bytes(gzip.compress(small + bytes(300 << 20)))
    with pytest.raises(ValueError, match="unpacks to more than its header says"):
        images.read_upload(tmp_path / "a.nii.gz", **LIMITS)
    (tmp_path / "b.nii.gz").write_bytes(gzip.compress(small + b"a little more"))
    assert images.read_upload(tmp_path / "b.nii.gz", **LIMITS).shape == (10, 10, 10)


def test_zips(tmp_path):
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a", bytes(2 << 20))
    with pytest.raises(TooLarge, match="at most"):
        images.read_upload(tmp_path / "bomb.zip", **LIMITS)
    with zipfile.ZipFile(tmp_path / "link.zip", "w") as archive:
        link = zipfile.ZipInfo("link.dcm")
        link.create_system, link.external_attr = 3, 0o120777 << 16
        archive.writestr(link, "/etc/passwd")
    with pytest.raises(ValueError, match="no DICOM"):  # a link is but a file that holds a path
        images.read_upload(tmp_path / "link.zip", **LIMITS)
    with zipfile.ZipFile(tmp_path / "nameless.zip", "w") as archive:
        archive.writestr("x", bytes(200))
    content = (tmp_path / "nameless.zip").read_bytes()
    at = content.find(b"PK\1\2") + 28
    (tmp_path / "nameless.zip").write_bytes(content[:at] + bytes(2) + b"\1\0" + content[at + 4 :])  # its name, a field
    with pytest.raises(ValueError, match=r"unpacked|no DICOM"):
        images.read_upload(tmp_path / "nameless.zip", **LIMITS)
    inner = (tmp_path / "bomb.zip").read_bytes()
    with zipfile.ZipFile(tmp_path / "nested.zip", "w") as archive:
        archive.writestr("inner.zip", inner)
    with pytest.raises(ValueError, match="no DICOM"):
        images.read_upload(tmp_path / "nested.zip", **LIMITS)


def test_every_ending_that_may_be_uploaded_is_checked(tmp_path):
    for suffix in upload_endings():
        path = tmp_path / f"a{suffix}"
        path.write_bytes(b"nonsense" * 20)
        with pytest.raises(ValueError, match=re.escape(str(path))):
            images.read_upload(path, **LIMITS)
    with pytest.raises(ValueError, match="is empty"):
        images.read_upload(tmp_path / "missing.nii", **LIMITS)
    check_single(tmp_path / "a.nii")
