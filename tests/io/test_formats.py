"""Each kind of file that real people have: its voxels, place, units and number type as its makers meant, or refused."""

import gzip
import os
import struct
import subprocess
import sys
import zipfile
import zlib
from io import BytesIO
from pathlib import Path

import nibabel as nib
import nrrd
import numpy as np
import pydicom
import pytest
import SimpleITK
import tifffile
from dicom_files import enhanced, save_dicom
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image as Pillow
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset
from pydicom.uid import RLELossless, generate_uid

from bifseg.imaging.image import Image
from bifseg.io import images
from bifseg.io.images import read_image, read_labels, write_image

RNG = np.random.default_rng(0)
CT = RNG.integers(-1000, 1500, (6, 5, 4)).astype(np.int16)
GREY = RNG.integers(0, 256, (7, 9)).astype(np.uint8)  # rows, columns


def refused(path: Path, words: str = "", **asked: object) -> None:
    with pytest.raises(ValueError, match=words) as caught:
        read_image(path, **asked)
    assert "\n" not in str(caught.value)


def nifti(path: Path, array: np.ndarray = CT, *, units: int = 2, **fields: tuple) -> Path:
    """A NIfTI with bytes of its header replaced: ``fields`` are (offset, format, values...)."""
    image = nib.Nifti1Image(array, np.diag((1.0, 1, 2, 1)))
    image.header["xyzt_units"] = units
    nib.save(image, path)
    content = bytearray(path.read_bytes())
    for offset, form, *values in fields.values():
        struct.pack_into(form, content, offset, *values)
    path.write_bytes(content)
    return path


# ---- no byte that is not the file's

MHA = "ObjectType = Image\nNDims = 3\nCompressedData = True\nDimSize = 200 200 160\nElementType = MET_SHORT\n"


@pytest.mark.parametrize(
    "stream",
    [
        zlib.compress(b"x" * 100),
        b"garbage" * 20,
        zlib.compress(bytes(12_800_000))[:5000],
        zlib.compress(bytes(400))[:9],
    ],
    ids=["short", "none", "cut", "tiny"],
)
def test_a_packed_mha_that_ends_early(tmp_path, stream):
    (tmp_path / "a.mha").write_bytes(MHA.encode() + b"ElementDataFile = LOCAL\n" + stream)
    refused(tmp_path / "a.mha", "truncated")
    with pytest.raises(ValueError, match="truncated"):
        images.read_upload(tmp_path / "a.mha", voxels=10**8, bytes=10**9)


@pytest.mark.parametrize("encoding", ["raw", "gzip", "bzip2"])
@pytest.mark.parametrize("missing", [1, 40])
def test_a_nrrd_that_ends_early(tmp_path, encoding, missing):
    nrrd.write(str(tmp_path / "a.nrrd"), CT, {"encoding": encoding})
    assert np.array_equal(read_image(tmp_path / "a.nrrd").array, CT)
    (tmp_path / "b.nrrd").write_bytes((tmp_path / "a.nrrd").read_bytes()[:-missing])
    refused(tmp_path / "b.nrrd", "truncated")


@pytest.mark.parametrize(("width", "height"), [(8, 8_300_000), (9, 8), (9, -8), (1 << 30, 1 << 30)])
def test_a_bmp_that_says_more_than_it_holds(tmp_path, width, height):
    Pillow.fromarray(GREY).save(tmp_path / "a.bmp")
    assert np.array_equal(read_image(tmp_path / "a.bmp").array[..., 0].T, GREY)
    content = bytearray((tmp_path / "a.bmp").read_bytes())
    struct.pack_into("<ii", content, 18, width, height)
    (tmp_path / "a.bmp").write_bytes(content)
    refused(tmp_path / "a.bmp", "truncated|damaged")


@pytest.mark.parametrize("kind", ["L", "RGB", "P", "1", "LA", "I;16"])
def test_a_png_whose_pixels_are_too_few(tmp_path, kind):
    """A stream that is whole, and holds fewer rows than the header says."""
    image = Pillow.fromarray(GREY.astype(np.uint16)) if kind == "I;16" else Pillow.fromarray(GREY).convert(kind)
    image.save(tmp_path / "a.png")
    read_image(tmp_path / "a.png")
    content = bytearray((tmp_path / "a.png").read_bytes())
    struct.pack_into(">I", content, 20, 70)
    struct.pack_into(">I", content, 29, zlib.crc32(content[12:29]))
    (tmp_path / "a.png").write_bytes(content)
    refused(tmp_path / "a.png", "truncated")


def seeds(folder: Path) -> dict[str, bytes]:
    """A small file of every format that is read."""
    made = {}
    for name in ("a.nii", "a.nii.gz", "a.mha", "a.nrrd"):
        write_image(folder / name, CT, Image(CT, (1, 1, 2)))
        made[name] = (folder / name).read_bytes()
    nrrd.write(str(folder / "b.nrrd"), CT, {"encoding": "bzip2"})
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(CT.T), str(folder / "raw.mha"), False)
    for name in ("a.png", "a.jpg", "a.bmp", "a.tif"):
        Pillow.fromarray(GREY).save(folder / name)
    Pillow.fromarray(GREY).save(folder / "lzw.tif", compression="tiff_lzw")
    tifffile.imwrite(folder / "zip.tif", CT, compression="zlib", photometric="minisblack")
    save_dicom(folder / "d", [(1, 2, 4 * k) for k in range(2)])
    files = sorted((folder / "d").iterdir())
    with zipfile.ZipFile(folder / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for file in files:
            archive.write(file, file.name)
    packed = pydicom.dcmread(files[0])
    packed.compress(RLELossless)
    packed.save_as(folder / "rle.dcm")
    plane = np.tile(CT[..., :1].T + 1000, (1, 8, 8)).astype(np.uint16)  # of a few pixels, GDCM writes beyond its room
    for kind in ("JPEG", "JPEG2000"):  # both without loss
        writer = SimpleITK.ImageFileWriter()
        writer.SetImageIO("GDCMImageIO")
        writer.SetUseCompression(True)
        writer.SetCompressor(kind)
        writer.SetFileName(str(folder / f"{kind}.dcm"))
        writer.Execute(SimpleITK.GetImageFromArray(plane))
    made |= {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    for name in ("MR_small.dcm", "examples_palette.dcm"):
        made[name] = Path(get_testdata_file(name)).read_bytes()
    return made


def mutated(content: bytes, rng: np.random.Generator) -> bytes:
    """Cut, or with bytes changed, taken out or put in."""
    new, kind, at = bytearray(content), rng.integers(5), int(rng.integers(len(content)))
    if kind == 0:
        return bytes(new[: at + 1])
    if kind == 1:
        new[at : at + 8] = bytes(len(new[at : at + 8]))
    elif kind == 2:
        del new[at : at + int(rng.integers(1, 100))]
    elif kind == 3:
        new[at:at] = rng.bytes(10)
    else:
        new[at % min(400, len(new))] = rng.integers(256)
    return bytes(new)


READER = """
import hashlib, logging, sys, warnings
from pathlib import Path
from bifseg.io import images
from bifseg.io.formats import ReadOptions
logging.disable(50); warnings.simplefilter("ignore")
for path in sorted(Path(sys.argv[1]).iterdir()):
    try:
        array = images._read(path, ReadOptions(allowed=(10_000_000, 1 << 28))).array
        print(path.name, array.shape, array.dtype, hashlib.sha256(array.tobytes()).hexdigest())
    except ValueError as error:
        assert len(str(error).splitlines()) == 1, error
        print(path.name)
"""


def test_accepted_files_hold_the_same_voxels_whatever_lies_in_memory(tmp_path):
    """MALLOC_PERTURB_ fills what malloc gives: a voxel that no byte of the file stands behind would differ."""
    (tmp_path / "seeds").mkdir()
    (tmp_path / "files").mkdir()
    rng = np.random.default_rng(19)
    for name, content in seeds(tmp_path / "seeds").items():
        (tmp_path / "files" / f"00-{name}").write_bytes(content)
        for k in range(1, 13):
            (tmp_path / "files" / f"{k:02}-{name}").write_bytes(mutated(content, rng))
    said = []
    for fill in ("85", "170"):
        run = subprocess.run(
            [sys.executable, "-c", READER, str(tmp_path / "files")],
            capture_output=True, text=True, env={**os.environ, "MALLOC_PERTURB_": fill},
        )  # fmt: skip
        assert run.returncode == 0, run.stderr[-2000:]
        said.append(run.stdout.splitlines())
    assert said[0] == said[1]
    assert all(" " in line for line in said[0] if line.startswith("00-"))
    assert sum(" " in line for line in said[0]) > 60  # enough were accepted for this to mean something


@pytest.mark.parametrize("spacing", [np.nan, 0.0, np.inf, 1e38])
def test_a_spacing_that_is_none(tmp_path, spacing):
    refused(nifti(tmp_path / "a.nii", pixdim=(80, "<3f", *[spacing] * 3)), "spacing|length")
    (tmp_path / "a.mha").write_bytes(
        f"NDims = 3\nDimSize = 4 4 4\nElementType = MET_UCHAR\nElementSpacing = 1 1 {spacing}\n".encode()
        + b"ElementDataFile = LOCAL\n" + bytes(64)
    )  # fmt: skip
    refused(tmp_path / "a.mha", "spacing")
    told = f"NRRD0004\ntype: uint8\ndimension: 3\nsizes: 4 4 4\nencoding: raw\nspacings: 1 1 {spacing}\n\n"
    (tmp_path / "a.nrrd").write_bytes(told.encode() + bytes(64))
    refused(tmp_path / "a.nrrd", "spacing")


# ---- NIfTI


@pytest.mark.parametrize("name", ["plain.nii.gz", "packed.nii", "A.NII.GZ"])
def test_a_nifti_is_packed_or_not_whatever_its_name_says(tmp_path, name):
    content = nifti(tmp_path / "a.nii").read_bytes()
    (tmp_path / name).write_bytes(content if name.startswith("plain") else gzip.compress(content))
    assert np.array_equal(read_image(tmp_path / name).array, CT)


@pytest.mark.parametrize("endian", ["<", ">"])
@pytest.mark.parametrize("dtype", ["u1", "i2", "f4", "f8"])
def test_nifti_2(tmp_path, endian, dtype):
    image = nib.Nifti2Image(CT.astype(dtype), np.diag((-1.0, 1, 2, 1)), nib.Nifti2Header(endianness=endian))
    image.set_data_dtype(dtype)
    nib.save(image, tmp_path / "a.nii")
    assert np.array_equal(read_image(tmp_path / "a.nii").array, np.asarray(nib.load(tmp_path / "a.nii").dataobj))
    assert np.allclose(read_image(tmp_path / "a.nii").spacing, (1, 1, 2))


@pytest.mark.parametrize(
    ("fields", "right"),
    [
        ({"offset": (108, "<f", 0.0)}, "same"),
        ({"offset": (108, "<f", 100.0)}, "header"),
        ({"x": (80, "<f", -1.0)}, "same"),
        ({"dim": (40, "<h", 9)}, "axes"),
        ({"dim": (42, "<h", -6)}, "axes"),
        ({"bits": (72, "<h", 32)}, "bits"),
        ({"type": (70, "<h", 1536)}, "type"),
        ({"magic": (344, "3s", b"ni1")}, "two files"),
    ],
)
def test_odd_headers_of_a_nifti(tmp_path, fields, right):
    path = nifti(tmp_path / "a.nii", **fields)
    (tmp_path / "a.nii.gz").write_bytes(gzip.compress(path.read_bytes()))
    for name in ("a.nii", "a.nii.gz"):
        if right == "same":
            assert np.array_equal(read_image(tmp_path / name).array, CT)
        else:
            refused(tmp_path / name, right)


@pytest.mark.parametrize("shear", [2e-4, 9e-4, 5e-2])
@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_an_sform_that_is_nearly_orthonormal(tmp_path, shear, suffix):
    affine = np.diag((1.0, 1, 2, 1))
    affine[0, 1] = shear
    image = nib.Nifti1Image(np.tile(CT, (30, 30, 10)), affine)  # large enough for ITK, which refuses it
    image.set_qform(None, 0)
    nib.save(image, tmp_path / f"a{suffix}")
    if shear < 1e-3:
        assert np.array_equal(read_image(tmp_path / f"a{suffix}").array, np.tile(CT, (30, 30, 10)))
    else:
        refused(tmp_path / f"a{suffix}", "sheared")


@pytest.mark.parametrize("codes", [(0, 0), (1, 0), (1, 4), (0, 2), (2, 1)])
@pytest.mark.parametrize("units", [0, 1, 2, 3])
def test_a_mask_has_the_header_of_its_scan(tmp_path, codes, units):
    path = nifti(tmp_path / "a.nii", units=units, codes=(252, "<2h", *codes), x=(268, "<f", 7.0))
    image = read_image(path)
    assert np.isclose(image.spacing[2], 2 * {1: 1000, 3: 1e-3}.get(units, 1))
    write_image(tmp_path / "m.nii.gz", CT > 0, image)
    scan, mask = nib.load(path), nib.load(tmp_path / "m.nii.gz")
    assert np.allclose(scan.affine, mask.affine)
    for field in ("qform_code", "sform_code", "xyzt_units", "srow_x", "qoffset_x", "quatern_d"):
        assert np.array_equal(scan.header[field], mask.header[field]), field
    assert np.array_equal(read_labels(tmp_path / "m.nii.gz", image), CT > 0)


def test_an_axis_that_nifti_has_no_room_for(tmp_path):
    for shape in ((33_000, 2, 1), (2, 40_000, 1), (1, 2, 32_768)):
        array = np.zeros(shape, np.uint8)
        with pytest.raises(ValueError, match=r"at most 32767 .* write \.nrrd"):
            write_image(tmp_path / "a.nii", array, Image(array))
        write_image(tmp_path / "a.nrrd", array, Image(array))
        assert read_image(tmp_path / "a.nrrd").shape == shape


DTYPES = ["u1", "i1", "i2", "u2", "i4", "u4", "f4", "f8"]
SHAPES = st.tuples(*[st.integers(1, 6)] * 3)


@settings(max_examples=60, deadline=None)
@given(SHAPES, st.sampled_from(DTYPES), st.booleans(), st.booleans(), st.floats(0.1, 9), st.sampled_from([1, 2.5, -1]))
def test_nibabel_sees_the_same_in_a_nifti(tmp_path_factory, shape, dtype, big, packed, spacing, slope):
    path = tmp_path_factory.mktemp("n") / f"a.nii{'.gz' * packed}"
    array = np.random.default_rng(1).integers(0, 100, shape).astype(dtype)
    image = nib.Nifti1Image(array, np.diag((-spacing, 1, 2, 1)), nib.Nifti1Header(endianness="<>"[big]))
    image.set_data_dtype(dtype)
    nib.save(image, path)
    if slope != 1:
        raw = bytearray(gzip.decompress(path.read_bytes()) if packed else path.read_bytes())
        struct.pack_into("<>"[big] + "2f", raw, 112, slope, 3)
        path.write_bytes(gzip.compress(raw) if packed else raw)
    ours, theirs = read_image(path), nib.load(path)
    assert np.allclose(ours.array, theirs.get_fdata(), rtol=1e-6)
    assert np.allclose(np.diag((-1, -1, 1, 1)) @ ours.affine, theirs.affine, atol=1e-4)


@settings(max_examples=60, deadline=None)
@given(SHAPES, st.sampled_from(DTYPES), st.sampled_from(["raw", "gzip", "bzip2"]), st.booleans(), st.floats(0.1, 9))
def test_pynrrd_sees_the_same_in_a_nrrd(tmp_path_factory, shape, dtype, encoding, detached, spacing):
    folder = tmp_path_factory.mktemp("n")
    path = folder / ("a.nhdr" if detached else "a.nrrd")
    array = np.random.default_rng(1).integers(0, 100, shape).astype(dtype)
    directions = np.diag((spacing, -1.0, 2))
    header = {"encoding": encoding, "space": "RAS", "space directions": directions, "space origin": np.array([1, 2, 3])}
    nrrd.write(str(path), array, header)
    ours = read_image(path)
    assert np.array_equal(ours.array, nrrd.read(str(path))[0])
    assert ours.array.dtype == array.dtype
    assert np.allclose(ours.affine[:3, :3], np.diag((-spacing, 1, 2)))
    assert np.allclose(ours.origin, (-1, -2, 3))


@pytest.mark.parametrize("suffix", [".mha", ".mhd", ".nrrd"])
@pytest.mark.parametrize("compressed", [False, True])
def test_itk_sees_the_same_in_what_it_writes(tmp_path, suffix, compressed):
    itk = SimpleITK.GetImageFromArray(CT.T)
    itk.SetSpacing((0.5, 1, 2))
    itk.SetOrigin((4, 5, 6))
    itk.SetDirection((0, 1, 0, -1, 0, 0, 0, 0, 1))
    SimpleITK.WriteImage(itk, str(tmp_path / f"a{suffix}"), compressed)
    image = read_image(tmp_path / f"a{suffix}")
    assert np.array_equal(image.array, CT)
    assert np.allclose(image.affine[:3], np.c_[np.reshape(itk.GetDirection(), (3, 3)) * (0.5, 1, 2), (4, 5, 6)])


def test_itk_and_pynrrd_read_what_we_write(tmp_path):
    place = Image(CT, (0.5, 1, 2), (4, 5, 6), np.array([[0, 1, 0], [-1, 0, 0], [0, 0, 1]]))
    for suffix in (".mha", ".nrrd", ".nii", ".nii.gz"):
        write_image(tmp_path / f"a{suffix}", CT, place)
        itk = SimpleITK.ReadImage(str(tmp_path / f"a{suffix}"))
        assert np.array_equal(SimpleITK.GetArrayFromImage(itk).T, CT)
        assert np.allclose(itk.GetOrigin(), place.origin)
        assert np.allclose(np.reshape(itk.GetDirection(), (3, 3)), place.direction)
    write_image(tmp_path / "a.seg.nrrd", (CT > 0) + (CT > 500).astype(np.uint8), place, names=["liver", "Läsion"])
    header = nrrd.read_header(str(tmp_path / "a.seg.nrrd"))
    assert [header[f"Segment{k}_Name"] for k in (0, 1)] == ["liver", "Lsion"]  # pynrrd leaves out what is not ASCII
    assert "Segment1_Name:=Läsion\n".encode() in (tmp_path / "a.seg.nrrd").read_bytes()
    assert [header[f"Segment{k}_LabelValue"] for k in (0, 1)] == ["1", "2"]
    assert header["Segment0_Color"] != header["Segment1_Color"]


@pytest.mark.parametrize("change", [-1, 1, 60])
def test_detached_voxels_are_of_the_right_length(tmp_path, change):
    for name, other in (("a.nhdr", "a.raw"), ("a.mhd", "a.raw")):
        SimpleITK.WriteImage(SimpleITK.GetImageFromArray(CT.T), str(tmp_path / name), False)
        read_image(tmp_path / name)
        content = (tmp_path / other).read_bytes()
        (tmp_path / other).write_bytes(content[:change] if change < 0 else content + bytes(change))
        refused(tmp_path / name, "bytes")


# ---- what is not told is not known


def test_spacing_that_is_not_told(tmp_path):
    (tmp_path / "a.mha").write_bytes(
        b"NDims = 3\nDimSize = 4 4 4\nElementType = MET_UCHAR\nElementDataFile = LOCAL\n" + bytes(range(64))
    )
    (tmp_path / "a.nrrd").write_bytes(
        b"NRRD0004\ntype: uint8\ndimension: 3\nsizes: 4 4 4\nencoding: raw\n\n" + bytes(range(64))
    )
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((3, 20, 30), np.uint16), photometric="minisblack")
    Pillow.fromarray(GREY).save(tmp_path / "a.png")
    for name in ("a.mha", "a.nrrd", "a.tif", "a.png"):
        assert not read_image(tmp_path / name).calibrated, name
    assert read_image(nifti(tmp_path / "a.nii")).calibrated
    for suffix in (".mha", ".nrrd"):
        write_image(tmp_path / f"m{suffix}", np.zeros((4, 4, 4), np.uint8), read_image(tmp_path / "a.mha"))
        assert not read_image(tmp_path / f"m{suffix}").calibrated


# ---- pictures


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_a_picture_is_upright_and_its_mask_lies_as_it_does(tmp_path, orientation, suffix):
    from PIL import ImageOps

    exif = Pillow.Exif()
    exif[0x0112] = orientation
    Pillow.fromarray(GREY).save(tmp_path / f"a{suffix}", exif=exif, quality=95)
    picture = Pillow.open(tmp_path / f"a{suffix}")
    image = read_image(tmp_path / f"a{suffix}")
    assert np.array_equal(image.array[..., 0].T, np.asarray(ImageOps.exif_transpose(picture)))
    mask = image.array > 100
    write_image(tmp_path / "m.png", mask, image)
    stored = np.asarray(Pillow.open(tmp_path / "m.png"))
    assert np.array_equal(stored > 0, np.asarray(picture) > 100)  # on the pixels as the file has them
    assert np.array_equal(read_labels(tmp_path / "m.png", image), mask)


def test_kinds_of_png(tmp_path):
    grey = Pillow.fromarray(GREY)
    Pillow.merge("LA", (grey, Pillow.new("L", grey.size, 9))).save(tmp_path / "la.png")
    grey.save(tmp_path / "key.png", transparency=3)
    Pillow.fromarray(GREY.astype(np.uint16) * 250).save(tmp_path / "deep.png")
    for name, factor in (("la", 1), ("key", 1), ("deep", 250)):
        assert np.array_equal(read_image(tmp_path / f"{name}.png").array[..., 0].T, GREY.astype(int) * factor), name
    colours = RNG.integers(0, 65_536, (7, 9, 3)).astype(np.uint16)
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(colours, isVector=True), str(tmp_path / "rgb.png"))
    assert np.allclose(read_image(tmp_path / "rgb.png").array[..., 0].T, colours @ [0.299, 0.587, 0.114], atol=1)
    labels, like = (GREY > 100).astype(np.uint8) + (GREY > 200), Image(GREY.T)
    for palette in (
        [0, 0, 0, 128, 0, 0, 0, 128, 0],
        [0, 0, 0, 255, 255, 255, 99, 99, 99],
        [255] * 3 + [0] * 3 + [9] * 3,
    ):
        indexed = Pillow.fromarray(labels)
        indexed.putpalette(palette)
        indexed.save(tmp_path / "p.png")
        assert np.array_equal(read_labels(tmp_path / "p.png", like)[..., 0].T, labels)
    Pillow.fromarray(GREY > 100).save(tmp_path / "bit.png")
    assert np.unique(read_labels(tmp_path / "bit.png", like)).tolist() == [0, 1]
    write_image(tmp_path / "m.png", labels.T[..., None], like, names=["a", "b"])
    assert len(np.unique(np.asarray(Pillow.open(tmp_path / "m.png").convert("L")))) == 3  # three greys, far apart
    assert np.array_equal(read_labels(tmp_path / "m.png", like)[..., 0].T, labels)


# ---- TIFF


def test_kinds_of_tiff(tmp_path):
    wide = GREY.astype(np.uint16) * 200
    for dtype in ("u1", "i2", "u2", "u4", "f2", "f4", "f8"):
        tifffile.imwrite(tmp_path / "a.tif", GREY.astype(dtype))
        assert np.array_equal(read_image(tmp_path / "a.tif").array[..., 0].T, GREY), dtype
    for how in (
        {"compression": "zlib"},
        {"compression": "zlib", "predictor": True},
        {"tile": (16, 16)},
        {"bigtiff": True},
    ):
        tifffile.imwrite(tmp_path / "a.tif", wide, byteorder=">", **how)
        assert np.array_equal(read_image(tmp_path / "a.tif").array[..., 0].T, wide), how
    Pillow.fromarray(GREY).save(tmp_path / "lzw.tif", compression="tiff_lzw")
    assert np.array_equal(read_image(tmp_path / "lzw.tif").array[..., 0].T, GREY)
    tifffile.imwrite(tmp_path / "turned.tif", wide, extratags=[(274, "H", 1, 6, True)])
    assert np.array_equal(read_image(tmp_path / "turned.tif").array[..., 0].T, np.rot90(wide, -1))


@pytest.mark.parametrize(
    ("name", "axes", "words"),
    [("a.tif", "ZCYX", "2 channels"), ("a.tif", "TYX", "times"), ("a.ome.tif", "CYX", "channels"),
     ("b.ome.tif", "TZYX", "times")],
)  # fmt: skip
def test_one_channel_and_one_time_are_asked_for(tmp_path, name, axes, words):
    array = RNG.integers(0, 99, (*(6, 2)[: len(axes) - 2], 20, 30)).astype(np.uint16)
    tifffile.imwrite(tmp_path / name, array, imagej="ome" not in name, metadata={"axes": axes})
    refused(tmp_path / name, words)


def test_the_spacing_of_a_tiff(tmp_path):
    stack = RNG.integers(0, 99, (6, 20, 30)).astype(np.uint16)
    about = {"axes": "ZYX", "spacing": 2.0, "unit": "um"}
    tifffile.imwrite(tmp_path / "ij.tif", stack, imagej=True, metadata=about, resolution=(5, 4))
    told = {"axes": "ZYX", "PhysicalSizeX": 0.2, "PhysicalSizeY": 0.25, "PhysicalSizeZ": 2.0}
    tifffile.imwrite(tmp_path / "a.ome.tif", stack, metadata=told)
    for name in ("ij.tif", "a.ome.tif"):
        image = read_image(tmp_path / name)
        assert np.array_equal(image.array, stack.T)
        assert np.allclose(image.spacing, (0.2e-3, 0.25e-3, 2e-3)), name
    tifffile.imwrite(tmp_path / "cm.tif", stack[0], resolution=(20, 10), resolutionunit="CENTIMETER")
    assert np.allclose(read_image(tmp_path / "cm.tif").spacing, (0.5, 1, 1))


@pytest.mark.parametrize("suffix", [".hdr", ".gipl", ".vtk", ".mrc"])
def test_formats_that_nobody_checks_are_refused(tmp_path, suffix):
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(CT.T), str(tmp_path / f"a{suffix}"))
    refused(tmp_path / f"a{suffix}", "known format|two files")


# ---- DICOM

POSITIONS = [(1, 2, 4 * k) for k in range(4)]


def series(folder: Path, edit, positions=POSITIONS) -> Path:
    """A series whose k-th slice was changed by ``edit(slice, k)``; file names run against the order."""
    save_dicom(folder, positions)
    for k, path in enumerate(sorted(folder.iterdir(), reverse=True)):
        content = pydicom.dcmread(path)
        edit(content, k)
        content.save_as(path)
    return folder


def values(k: int) -> np.ndarray:
    """The numbers stored in the k-th slice of a series, (x, y)."""
    return (np.arange(30).reshape(6, 5) + 100 * k).T


@pytest.mark.parametrize(
    "slopes", [(1, 1, 1, 40.5), (1, 0.0004, 0.0004, 0.0004), (2, 2, 3, 3), (1, 1, 1, 1000)], ids=str
)
def test_each_slice_has_its_own_slope(tmp_path, slopes):
    def edit(content, k):
        content.RescaleSlope, content.RescaleIntercept = slopes[k], -5

    image = read_image(series(tmp_path / "d", edit))
    assert np.allclose(image.array, np.stack([values(k) * slopes[k] - 5 for k in range(4)], -1), rtol=1e-6)


@pytest.mark.parametrize("first", [0, 3])
def test_signed_and_unsigned_slices(tmp_path, first):
    def edit(content, k):
        content.RescaleIntercept = 0
        content.PixelRepresentation = int(k != first)
        if k == first:
            content.PixelData = (np.arange(30, dtype=np.uint16) + 60_000).tobytes()

    image = read_image(series(tmp_path / "d", edit))
    assert image.array[..., first].min() == 60_000
    assert np.array_equal(image.array[..., 1], values(1))


def _turn(content):
    content.ImageOrientationPatient = [0, 1, 0, -1, 0, 0]


def _zoom(content):
    content.PixelSpacing = [1, 1]


def _grow(content):
    content.Rows, content.Columns = 5, 6


def _no_place(content):
    del content.ImagePositionPatient


@pytest.mark.parametrize("change", [_turn, _zoom, _grow, _no_place])
def test_slices_that_differ_are_named(tmp_path, change):
    folder = series(tmp_path / "d", lambda content, k: change(content) if k == 2 else None)
    refused(folder, "differ|do not say where")


@pytest.mark.parametrize("k", [0, 1, 3])
@pytest.mark.parametrize("length", [-7, 300, 0])
def test_a_damaged_slice_is_never_left_out(tmp_path, k, length):
    save_dicom(tmp_path / "d", POSITIONS)
    path = sorted((tmp_path / "d").iterdir())[k]
    path = path.rename(path.with_name(f"{k}.dcm"))
    path.write_bytes(path.read_bytes()[:length])
    refused(tmp_path / "d", path.name)


def test_copies_and_phases(tmp_path, caplog):
    save_dicom(tmp_path / "d", POSITIONS)
    path = sorted((tmp_path / "d").iterdir())[0]
    (tmp_path / "d" / "copy").write_bytes(path.read_bytes())
    assert read_image(tmp_path / "d").shape == (5, 6, 4)
    assert "same DICOM slice" in caplog.text
    other = pydicom.dcmread(path)
    other.PixelData = bytes(60)
    other.save_as(tmp_path / "d" / "copy")
    refused(tmp_path / "d", "say that they are the same")
    other.SOPInstanceUID = generate_uid()
    other.save_as(tmp_path / "d" / "copy")
    refused(tmp_path / "d", "same place")
    save_dicom(tmp_path / "two", [(1, 2, 4 * (k // 2)) for k in range(6)])
    refused(tmp_path / "two", "6 DICOM slices at 3 places")


def test_a_series_is_picked_by_what_is_said_of_it(tmp_path):
    one, two = (save_dicom(tmp_path / "d", POSITIONS[:n]) for n in (4, 3))
    for path in (tmp_path / "d").iterdir():
        content = pydicom.dcmread(path)
        first = content.SeriesInstanceUID == one
        content.SeriesNumber, content.SeriesDescription = (3, "Thorax") if first else (4, "Abdomen")
        content.save_as(path)
    refused(tmp_path / "d", "--series.*CT, number 3, Thorax")
    for asked, slices in ((one, 4), (two, 3), ("3", 4), ("Abdomen", 3)):
        assert read_image(tmp_path / "d", series=asked).shape[2] == slices
    refused(tmp_path / "d", "not Head", series="Head")


FRAMES = RNG.integers(0, 999, (5, 6, 5)).astype(np.int16)


@pytest.mark.parametrize("order", [(0, 1, 2, 3, 4), (4, 3, 2, 1, 0), (2, 0, 4, 1, 3)])
@pytest.mark.parametrize("slopes", [[1] * 5, [0.5, 1, 2, 3, 4.5]], ids=["same", "own"])
def test_frames_are_sorted_and_scaled_each(tmp_path, order, slopes):
    positions, order = [(1, 2, 4 * k) for k in range(5)], list(order)
    path = enhanced(tmp_path / "a.dcm", [positions[k] for k in order], [slopes[k] for k in order], FRAMES[order])
    image = read_image(path)
    assert np.allclose(image.array, (FRAMES * np.array(slopes)[:, None, None]).transpose(2, 1, 0))
    assert image.spacing == (3, 2, 4)
    assert image.origin == (1, 2, 0)


@pytest.mark.parametrize(
    ("positions", "words"),
    [
        ([(1, 2, z) for z in (0, 4, 8, 20, 24)], "even, straight"),
        ([(1, 2 + k, 4 * k) for k in range(5)], "even, straight"),
        ([(1, 2, z) for z in (0, 4, 0, 4, 8)], "same place"),
    ],
    ids=["gap", "tilted", "times"],
)
def test_frames_that_form_no_stack(tmp_path, positions, words):
    refused(enhanced(tmp_path / "a.dcm", positions, [1] * 5, FRAMES), words)


@pytest.mark.parametrize("name", ["examples_ybr_color.dcm", "SC_rgb_rle_2frame.dcm"])
def test_a_film_is_no_volume(name):
    refused(get_testdata_file(name), "one frame")


@pytest.mark.parametrize(
    "name", ["CT_small.dcm", "MR_small.dcm", "MR_small_RLE.dcm", "MR_small_bigendian.dcm", "MR_small_implicit.dcm"]
)
def test_pydicom_sees_the_same_in_its_files(name):
    content = pydicom.dcmread(get_testdata_file(name))
    meant = content.pixel_array * float(content.get("RescaleSlope", 1)) + float(content.get("RescaleIntercept", 0))
    assert np.array_equal(read_image(get_testdata_file(name)).array[..., 0].T, meant)


@pytest.mark.parametrize("syntax", ["implicit", "explicit", "zip"])
def test_files_without_preamble(tmp_path, syntax):
    save_dicom(tmp_path / "d", POSITIONS)
    for path in (tmp_path / "d").iterdir():
        content = pydicom.dcmread(path)
        bare = Dataset()
        bare.update(content)
        with path.open("wb") as file:
            pydicom.dcmwrite(file, bare, implicit_vr=syntax == "implicit", little_endian=True)
    path = tmp_path / "d"
    if syntax == "zip":
        path = tmp_path / "d.zip"
        with zipfile.ZipFile(path, "w") as archive:
            for file in (tmp_path / "d").iterdir():
                archive.write(file, file.name)
    assert np.array_equal(read_image(path).array[..., 3], values(3) - 1000)


def test_hounsfield_units_that_look_like_the_start_of_a_jpeg_2000(tmp_path):
    def edit(content, k):
        content.PixelData = (b"\xff\x4f\xff\x51" + b"\x7f" * 16) * 3

    assert images.read_upload(series(tmp_path / "d", edit), voxels=10**6, bytes=10**8).shape == (5, 6, 4)


# ---- labels, names, links


def test_labels_in_another_order_of_axes(tmp_path):
    scan = Image(CT, (1, 1.5, 2), (5, 6, 7))
    labels = (CT > 500).astype(np.uint8)
    for order, flips in [((0, 1, 2), (1, -1, 1)), ((1, 0, 2), (1, 1, 1)), ((2, 0, 1), (-1, 1, -1))]:
        turned = labels.transpose(order)[tuple(slice(None, None, f) for f in flips)]
        first = [0 if f > 0 else CT.shape[axis] - 1 for axis, f in zip(order, flips, strict=True)]
        origin = np.array(scan.origin)
        direction = np.zeros((3, 3))
        for k, (axis, f) in enumerate(zip(order, flips, strict=True)):
            direction[axis, k] = f
            origin[axis] += first[k] * scan.spacing[axis]
        place = Image(turned, [scan.spacing[axis] for axis in order], origin, direction)
        write_image(tmp_path / "l.nii.gz", turned, place)
        assert np.array_equal(read_labels(tmp_path / "l.nii.gz", scan), labels)


def test_a_link_is_followed_and_a_mode_is_kept(tmp_path):
    (tmp_path / "real").mkdir()
    target = tmp_path / "real" / "m.nii"
    target.write_bytes(b"old")
    target.chmod(0o640)
    (tmp_path / "m.nii").symlink_to(target)
    write_image(tmp_path / "m.nii", CT, Image(CT))
    assert (tmp_path / "m.nii").is_symlink()
    assert np.array_equal(read_image(target).array, CT)
    assert target.stat().st_mode & 0o777 == 0o640
    assert [path.name for path in (tmp_path / "real").iterdir()] == ["m.nii"]


@pytest.mark.parametrize("name", [b"M\xfcller.nii.gz", b"\xe4.nrrd", b"\xff\xfe.png"])
def test_names_that_are_no_text(tmp_path, name):
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + name))
    array = np.tile(CT, (20, 20, 10)) if not name.endswith(b"png") else GREY.T[..., None]
    write_image(path, array, Image(array))
    assert read_image(path).shape == array.shape


def test_members_of_a_zip_that_overlap(tmp_path):
    content = BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.dcm", bytes(1000))
        archive.writestr("b.dcm", bytes(1000))
    raw = bytearray(content.getvalue())
    second = raw.rfind(b"PK\1\2")
    raw[second + 42 : second + 46] = bytes(4)  # its data are the first one's
    (tmp_path / "a.zip").write_bytes(raw)
    refused(tmp_path / "a.zip", "overlap")


def test_names_of_a_zips_members_are_as_long_as_they_are_stored(tmp_path):
    """Old names are of one byte a letter; taken for UTF-8, they reach into the member that follows."""
    save_dicom(tmp_path / "d", [(1, 2, 4 * k) for k in range(3)])
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for k, file in enumerate(sorted((tmp_path / "d").iterdir())):
            archive.write(file, f"LEBER-{k}xxxx.dcm")
    raw = (tmp_path / "a.zip").read_bytes().replace(b"xxxx", b"\x84\x94\x81\xe1")  # code page 437: äöüß
    (tmp_path / "a.zip").write_bytes(raw)
    assert read_image(tmp_path / "a.zip").shape[2] == 3
