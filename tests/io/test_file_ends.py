"""No byte that is not the file's becomes a voxel: files that end early, or were changed anywhere."""

import os
import struct
import subprocess
import sys
import zipfile
import zlib
from pathlib import Path

import nrrd
import numpy as np
import pydicom
import pytest
import SimpleITK
import tifffile
from dicom_files import save_dicom
from PIL import Image as Pillow
from pydicom.data import get_testdata_file
from pydicom.uid import RLELossless
from small_files import CT, GREY, nifti, refused

from benchmarks.server.damaged_files import write_packed
from bifseg.imaging.image import Image
from bifseg.io import images, voxels
from bifseg.io.images import read_image, write_image

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
    write_packed(folder, plane)
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
from bifseg.io import images, voxels
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


@pytest.mark.server
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


def test_joined_streams_cost_what_they_hold(tmp_path, monkeypatch):
    """What followed each of them was copied, up to a megabyte: 5 MB of streams that hold nothing took 40 s."""
    pack = zlib.compressobj(9, zlib.DEFLATED, 31)
    empty = pack.compress(b"") + pack.flush()
    path, copied, made = tmp_path / "a.gz", [], voxels._machine
    path.write_bytes(empty * 8000)

    class Watched:
        def __init__(self, kind):
            self._machine = made(kind)

        def decompress(self, data, most):
            piece = self._machine.decompress(data, most)
            copied.append(len(self._machine.unused_data))
            return piece

        def __getattr__(self, name):
            return getattr(self._machine, name)

    monkeypatch.setattr(voxels, "_machine", Watched)
    with path.open("rb") as file:
        assert b"".join(voxels.unpacking(file, "gzip")) == b""
    assert len(copied) >= 8000
    assert max(copied) <= 1 << 16
