"""Members of each kind that are seldom met, and that readers often get wrong: right, or refused in one sentence."""

import struct
import zlib
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK
import tifffile
from PIL import Image as Pillow
from small_files import CT, GREY, nifti, refused

from bifseg.io.images import read_image, write_image

RNG = np.random.default_rng(1)
RAS = np.diag((-1.0, -1.0, 1.0, 1.0))


def itk_affine(path: Path) -> np.ndarray:
    """(3, 4): from voxels to LPS mm, as ITK has it."""
    image = SimpleITK.ReadImage(str(path))
    return np.c_[np.reshape(image.GetDirection(), (3, 3)) * image.GetSpacing(), image.GetOrigin()]


# ---- NIfTI


@pytest.mark.parametrize(
    "fields",
    [
        [(112, "<2f", np.nan, np.nan)],
        [(112, "<2f", 0, 5)],
        [(76, "<f", 0), (252, "<2h", 1, 0)],
        [(252, "<2h", 0, 0)],
        [(252, "<2h", 0, 3)],
        [(252, "<2h", 2, 0)],
        [(68, "<h", 1002)],
        [(40, "<6h", 5, 6, 5, 4, 1, 1)],
        [(40, "<4h", 1, 120, 1, 1)],
        [(40, "<h", 2), (42, "<3h", 6, 20, 0)],
    ],
    ids=["slope nan", "slope 0", "qfac 0", "neither form", "sform", "qform", "labels", "5 axes", "1 axis", "2 axes"],
)
def test_a_nifti_with_an_odd_header_is_what_nibabel_says(tmp_path, fields):
    path = nifti(tmp_path / "a.nii", **{str(k): value for k, value in enumerate(fields)})
    image, theirs = read_image(path), nib.load(path)
    np.testing.assert_allclose(image.array.ravel("F"), np.asarray(theirs.dataobj).ravel("F"))
    if len(theirs.shape) > 1:
        np.testing.assert_allclose(RAS @ image.affine, theirs.affine, atol=1e-4)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ([(112, "<2f", 2, np.nan)], "moved by nan"),
        ([(280, "<12f", *[0] * 12)], "no length"),
        ([(40, "<6h", 5, 6, 5, 2, 1, 2), (68, "<h", 1007)], "one frame"),
        ([(40, "<h", 0)], "axes"),
        ([(252, "<2h", 1, 0), (256, "<3f", 1, 1, 1)], "longer than 1"),
    ],
    ids=["intercept", "sform", "vectors", "no axes", "quaternion"],
)
def test_a_nifti_that_means_nothing(tmp_path, fields, words):
    refused(nifti(tmp_path / "a.nii", **{str(k): value for k, value in enumerate(fields)}), words)


@pytest.mark.parametrize("kind", [nib.Nifti1Image, nib.Nifti2Image])
def test_extensions_lie_between_header_and_voxels(tmp_path, kind):
    image = kind(CT, np.eye(4))
    image.header.extensions.append(nib.nifti1.Nifti1Extension(6, b"hello" * 50))
    nib.save(image, tmp_path / "a.nii")
    assert np.array_equal(read_image(tmp_path / "a.nii").array, CT)


@pytest.mark.parametrize("repeats", [1, 100], ids=["small", "read by ITK"])
@pytest.mark.parametrize("rest", [b"rest" * 100, bytes(512)], ids=["words", "zeros"])
def test_what_follows_a_gzip_does_not_matter(tmp_path, repeats, rest):
    array = np.tile(CT, (repeats, repeats // 4 or 1, 4))
    nib.save(nib.Nifti1Image(array, np.eye(4)), tmp_path / "a.nii.gz")
    with (tmp_path / "a.nii.gz").open("ab") as file:
        file.write(rest)
    assert np.array_equal(read_image(tmp_path / "a.nii.gz").array, array)


# ---- NRRD and MHA

HEAD = "NRRD0004\ntype: short\ndimension: 3\nsizes: 6 5 4\nendian: little\nencoding: raw\n"


@pytest.mark.parametrize(
    "space", ["left-posterior-superior", "right-anterior-superior", "left-anterior-superior", "LPS", "RAS"]
)
def test_the_space_of_a_nrrd(tmp_path, space):
    place = f"space: {space}\nspace directions: (0,2,0) (-1,0,0) (0,0,3)\nspace origin: (1,2,3)\n\n"
    (tmp_path / "a.nrrd").write_bytes((HEAD + place).encode() + CT.tobytes("F"))
    np.testing.assert_allclose(read_image(tmp_path / "a.nrrd").affine[:3], itk_affine(tmp_path / "a.nrrd"), atol=1e-6)


@pytest.mark.parametrize("field", ["LIST\ns0\ns1\ns2\ns3", "LIST 2\ns0\ns1\ns2\ns3", "s%d 0 3 1", "s%d 0 3 1 2"])
def test_a_nrrd_in_several_files(tmp_path, field):
    for k in range(4):
        (tmp_path / f"s{k}").write_bytes(CT[..., k].tobytes("F"))
    (tmp_path / "a.nhdr").write_text(f"{HEAD}data file: {field}\n")
    assert np.array_equal(read_image(tmp_path / "a.nhdr").array, CT)


@pytest.mark.parametrize("sizes", ["6 5 2 2", "3 2 5 4", "6 5 4 1"])
@pytest.mark.parametrize(
    "kinds", ["domain domain domain list", "vector domain domain domain", "domain domain domain time"]
)
def test_a_nrrd_of_more_than_one_image(tmp_path, sizes, kinds):
    head = HEAD.replace("dimension: 3", "dimension: 4").replace("6 5 4", sizes)
    (tmp_path / "a.nrrd").write_bytes(f"{head}kinds: {kinds}\n\n".encode() + CT.tobytes("F"))
    if sizes.endswith(" 1") and kinds.startswith("domain"):
        assert np.array_equal(read_image(tmp_path / "a.nrrd").array, CT)
    else:
        refused(tmp_path / "a.nrrd", "one frame|vectors")


@pytest.mark.parametrize(
    "field",
    [
        "ElementByteOrderMSB = True",
        "AnatomicalOrientation = LPI\nTransformMatrix = 0 1 0 1 0 0 0 0 -1\nOffset = 4 5 6",
        "Orientation = 0 1 0 -1 0 0 0 0 1\nPosition = 4 5 6",
        "HeaderSize = -1\nElementMin = -3\nModality = MET_MOD_CT",
        "TransformMatrix = -1 0 0 0 -1 0 0 0 1",
    ],
)  # fmt: skip
def test_an_mha_is_what_itk_says(tmp_path, field):
    head = f"NDims = 3\nDimSize = 6 5 4\nElementType = MET_SHORT\nElementSpacing = 1 2 3\n{field}\n"
    kind = ">i2" if "MSB" in field else "<i2"
    (tmp_path / "a.mha").write_bytes(f"{head}ElementDataFile = LOCAL\n".encode() + CT.astype(kind).tobytes("F"))
    image = read_image(tmp_path / "a.mha")
    assert np.array_equal(image.array, CT)
    np.testing.assert_allclose(image.affine[:3], itk_affine(tmp_path / "a.mha"), atol=1e-6)


# ---- PNG


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(array: np.ndarray, bits: int, colour: int, *, interlaced: bool = False, before: bytes = b"") -> bytes:
    """A PNG of (rows, columns[, channels]), which Pillow cannot write."""

    def rows(part: np.ndarray) -> bytes:
        numbers = part.reshape(len(part), -1)
        if bits >= 8:
            lines = [row.astype(">u2" if bits == 16 else "u1").tobytes() for row in numbers]
        else:
            single = (numbers[..., None] >> np.arange(bits - 1, -1, -1)) & 1
            lines = [np.packbits(row.ravel()).tobytes() for row in single.astype(np.uint8)]
        return b"".join(b"\0" + line for line in lines)

    starts = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]
    parts = [array[y::dy, x::dx] for x, y, dx, dy in (starts if interlaced else [(0, 0, 1, 1)])]
    head = struct.pack(">IIBBBBB", array.shape[1], array.shape[0], bits, colour, 0, 0, interlaced)
    pixels = zlib.compress(b"".join(rows(part) for part in parts if part.size))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + before + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


@pytest.mark.parametrize("interlaced", [False, True])
@pytest.mark.parametrize("bits", [1, 2, 4, 8, 16])
def test_a_png_of_few_bits_interlaced_or_with_a_transparent_grey(tmp_path, bits, interlaced):
    grey = RNG.integers(0, 1 << bits, (13, 11))
    for before in (b"", chunk(b"tRNS", struct.pack(">H", 1))):
        (tmp_path / "a.png").write_bytes(png(grey, bits, 0, interlaced=interlaced, before=before))
        assert np.array_equal(read_image(tmp_path / "a.png").array[..., 0].T, grey)


@pytest.mark.parametrize("interlaced", [False, True])
@pytest.mark.parametrize(("bits", "colour", "channels"), [(8, 2, 3), (16, 2, 3), (16, 6, 4), (8, 6, 4)])
def test_a_png_in_colours(tmp_path, bits, colour, channels, interlaced):
    colours = RNG.integers(0, 1 << bits, (13, 11, channels))
    (tmp_path / "a.png").write_bytes(png(colours, bits, colour, interlaced=interlaced))
    assert np.array_equal(read_image(tmp_path / "a.png").colours[:, :, 0].swapaxes(0, 1), colours[..., :3])


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_a_png_with_a_palette(tmp_path, bits):
    indices, palette = RNG.integers(0, 1 << bits, (13, 11)), RNG.integers(0, 256, (1 << bits, 3)).astype(np.uint8)
    before = chunk(b"PLTE", palette.tobytes()) + chunk(b"tRNS", b"\0")
    (tmp_path / "a.png").write_bytes(png(indices, bits, 3, before=before))
    assert np.array_equal(read_image(tmp_path / "a.png").colours[:, :, 0].swapaxes(0, 1), palette[indices])


def test_pngs_that_are_not_read(tmp_path):
    (tmp_path / "a.png").write_bytes(png(RNG.integers(0, 65_536, (13, 11, 2)), 16, 4))
    refused(tmp_path / "a.png", "2 channels of 16 bits")
    Pillow.fromarray(GREY).save(tmp_path / "a.png", save_all=True, append_images=[Pillow.fromarray(255 - GREY)])
    refused(tmp_path / "a.png", "2 pictures")


# ---- JPEG and TIFF


@pytest.mark.parametrize(("mode", "options"), [("CMYK", {}), ("L", {"progressive": True}), ("RGB", {"subsampling": 2})])
def test_a_jpeg_is_what_pillow_says(tmp_path, mode, options):
    shape = (16, 24, {"CMYK": 4, "L": 1, "RGB": 3}[mode])
    Pillow.fromarray(RNG.integers(0, 256, shape).astype(np.uint8).squeeze(), mode).save(tmp_path / "a.jpg", **options)
    theirs = np.asarray(Pillow.open(tmp_path / "a.jpg").convert("L" if mode == "L" else "RGB"))
    assert np.array_equal(read_image(tmp_path / "a.jpg").voxels[:, :, 0].swapaxes(0, 1), theirs)


@pytest.mark.parametrize("mode", ["CMYK", "YCbCr", "LAB"])
def test_colours_of_a_tiff_that_are_not_red_green_and_blue(tmp_path, mode):
    Pillow.fromarray(RNG.integers(0, 256, (16, 16, 3)).astype(np.uint8)).convert(mode if mode != "LAB" else "RGB").save(
        tmp_path / "a.tif"
    )
    if mode == "LAB":
        with tifffile.TiffFile(tmp_path / "a.tif", mode="r+b") as file:
            file.pages[0].tags["PhotometricInterpretation"].overwrite(8)
    refused(tmp_path / "a.tif", "red, green and blue")


def test_tiffs_that_are_not_read(tmp_path):
    stack = RNG.integers(0, 60_000, (3, 20, 30)).astype(np.uint16)
    for other in (stack[1, :10], stack[1].astype(np.uint8)):
        with tifffile.TiffWriter(tmp_path / "a.tif") as file:
            file.write(stack[0], metadata=None)
            file.write(other, metadata=None)
        refused(tmp_path / "a.tif", "2 pictures")
    for how in ("jpeg", "group4"):
        Pillow.fromarray(GREY > 99 if how == "group4" else GREY).save(tmp_path / "a.tif", compression=how)
        refused(tmp_path / "a.tif", "compressed")
    tifffile.imwrite(tmp_path / "a.tif", stack[0], compression="zlib", predictor=True)
    assert np.array_equal(read_image(tmp_path / "a.tif").array[..., 0].T, stack[0])
    with tifffile.TiffFile(tmp_path / "a.tif", mode="r+b") as file:
        file.pages[0].tags["Predictor"].overwrite(3)
    refused(tmp_path / "a.tif", "compressed")


def test_a_tiff_with_smaller_copies_of_itself(tmp_path):
    picture = RNG.integers(0, 60_000, (20, 30)).astype(np.uint16)
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        file.write(picture, subifds=1)
        file.write(picture[::2, ::2], subfiletype=1)
    assert np.array_equal(read_image(tmp_path / "a.tif").array[..., 0].T, picture)


def test_codes_that_a_nifti_1_has_no_room_for_are_written_all_the_same(tmp_path):
    """Whoever exported such a NIfTI-2 heard of a fault of ours."""
    image = nib.Nifti2Image(RNG.integers(0, 99, (5, 6, 7)).astype(np.int16), np.diag((1.0, 2.0, 3.0, 1.0)))
    image.header["sform_code"], image.header["qform_code"] = 1 << 20, -(1 << 20)
    nib.save(image, tmp_path / "a.nii")
    read = read_image(tmp_path / "a.nii")
    write_image(tmp_path / "b.nii", read.array, read)
    again = read_image(tmp_path / "b.nii")
    np.testing.assert_allclose(again.affine, read.affine)
    assert (again.source["nifti"]["sform_code"], again.source["nifti"]["qform_code"]) == (32767, -32767)
