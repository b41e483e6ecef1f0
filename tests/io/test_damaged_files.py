"""What fuzzing found: damaged files that were told as faults of ours are the files' faults, in one sentence."""

import struct
import warnings
import zipfile
import zlib
from io import BytesIO
from pathlib import Path

import numpy as np
import pydicom
import pytest
import tifffile
from PIL import Image as Pillow
from pydicom.data import get_testdata_file

from bifseg.errors import DamagedFile
from bifseg.io.images import read_image
from bifseg.server.uploads import reader_process

GREY = np.arange(63, dtype=np.uint8).reshape(7, 9)


def tag(content: bytes, number: int, value: int) -> bytes:
    """A little-endian TIFF whose first page has another value for a tag."""
    new = bytearray(content)
    at = struct.unpack_from("<I", new, 4)[0]
    (count,) = struct.unpack_from("<H", new, at)
    for k in range(count):
        if struct.unpack_from("<H", new, at + 2 + 12 * k)[0] == number:
            struct.pack_into("<I", new, at + 2 + 12 * k + 8, value)
    return bytes(new)


def tiff(number: int, value: int, **options: object) -> bytes:
    content = BytesIO()
    if options.get("compression", "")[:4] in ("tiff", "pack"):
        Pillow.fromarray(GREY).save(content, "TIFF", **options)
    else:
        tifffile.imwrite(content, GREY, photometric="minisblack", **options)
    return tag(content.getvalue(), number, value)


def png(length: int) -> bytes:
    """A PNG whose first chunk is of another length, and of the right checksum."""
    content = BytesIO()
    Pillow.fromarray(GREY).save(content, "PNG")
    raw = content.getvalue()
    head = b"IHDR" + raw[16:29][:length]
    return raw[:8] + struct.pack(">I", length) + head + struct.pack(">I", zlib.crc32(head)) + raw[33:]


def slices(**values: str) -> bytes:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        content = pydicom.dcmread(get_testdata_file("CT_small.dcm"))
        for keyword in values:
            setattr(content, keyword, "1\\1" if keyword == "ImagerPixelSpacing" else "1")
        for word in ("PixelSpacing",) if "ImagerPixelSpacing" in values else ():
            delattr(content, word)
        made = BytesIO()
        content.save_as(made)
    raw = made.getvalue()
    for keyword, value in values.items():
        head = struct.pack("<HH", *divmod(pydicom.datadict.tag_for_keyword(keyword), 1 << 16)) + b"DS"
        at = raw.index(head) + 8
        (length,) = struct.unpack_from("<H", raw, at - 2)
        raw = raw[:at] + value.encode()[:length].ljust(length) + raw[at + length :]
    return raw


DAMAGED = {
    "packbits of another depth.tif": lambda: tiff(258, 7, compression="packbits"),
    "lzw of another depth.tif": lambda: tiff(258, 7, compression="tiff_lzw"),
    "lzw of no photometry.tif": lambda: tiff(262, 999, compression="tiff_lzw"),
    "pixels of no type.tif": lambda: tiff(258, 200),
    "short head.png": lambda: png(5),
    "no head.png": lambda: png(0),
    "thickness.dcm": lambda: slices(SpacingBetweenSlices="x"),
    "slope.dcm": lambda: slices(RescaleSlope="x"),
    "intercept.dcm": lambda: slices(RescaleIntercept="x"),
    "detector.dcm": lambda: slices(ImagerPixelSpacing="x\\y"),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", DAMAGED)
def test_damage_that_libraries_tell_in_their_own_ways(tmp_path, name):
    (tmp_path / name).write_bytes(DAMAGED[name]())
    with pytest.raises(DamagedFile) as caught:
        read_image(tmp_path / name)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("version", [99, 255])
def test_a_zip_of_a_version_to_come(tmp_path, version):
    content = BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("a.dcm", Path(get_testdata_file("CT_small.dcm")).read_bytes())
    raw = bytearray(content.getvalue())
    raw[raw.rfind(b"PK\1\2") + 6] = version
    (tmp_path / "a.zip").write_bytes(raw)
    with pytest.raises(DamagedFile, match="zip file version"):
        reader_process._check_zip(tmp_path / "a.zip")
    with pytest.raises(DamagedFile, match="zip file version"):
        read_image(tmp_path / "a.zip")
