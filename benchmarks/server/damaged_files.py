"""Whole files of every format, and what spoils them: damage by something that knows the format."""

from __future__ import annotations

import gzip
import re
import struct
import tempfile
import zipfile
import zlib
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np

NUMBERS = (0, 1, 2, 7, 127, 128, 255, 256, 32767, 32768, 65535, 1 << 20, (1 << 31) - 1, 1 << 31, (1 << 32) - 1)
WORDS = (
    b"0", b"-1", b"1", b"99999999999", b"nan", b"inf", b"", b"1e400", b"none", b"(0,0,0)", b"%s%n", b"LIST", b"../x",
    b"\xff\xfe", b"0 0 0", b"1.5", b"True", b"LOCAL", b"gzip", b"raw", b"big", b"MET_DOUBLE", b"double",
)  # fmt: skip
Rng = np.random.Generator


# ---- whole files


def whole() -> dict[str, bytes]:
    """A small file of every kind, by a name that ends as it should."""
    import pydicom
    import SimpleITK
    import tifffile
    from PIL import Image as Pillow
    from pydicom.data import get_testdata_file
    from pydicom.uid import RLELossless

    from bifseg.imaging.image import Image
    from bifseg.io.images import write_image

    rng = np.random.default_rng(0)
    scan = rng.integers(-1000, 1500, (6, 5, 4)).astype(np.int16)
    grey = rng.integers(0, 256, (9, 11)).astype(np.uint8)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for ending in ("nii", "nii.gz", "mha", "nrrd"):
            write_image(folder / f"a.{ending}", scan, Image(scan, (1, 1, 2)))
        itk = SimpleITK.GetImageFromArray(scan.T)
        for ending in ("nrrd", "mha"):
            SimpleITK.WriteImage(itk, str(folder / f"raw.{ending}"), False)
        picture = Pillow.fromarray(grey)
        for ending in ("png", "jpg", "bmp", "tif"):
            picture.save(folder / f"a.{ending}")
        for kind in ("tiff_lzw", "packbits"):
            picture.save(folder / f"{kind}.tif", compression=kind)
        picture.convert("RGB").save(folder / "colour.png")
        picture.convert("P").save(folder / "palette.png")
        picture.convert("1").save(folder / "bit.bmp")
        picture.convert("RGB").save(folder / "progressive.jpg", progressive=True)
        Pillow.fromarray(np.tile(grey, (9, 9)).astype(np.uint16)).save(folder / "deep.png")
        for kind, options in {
            "zip": {"compression": "zlib"}, "tiled": {"tile": (16, 16)}, "big": {"bigtiff": True},
            "other": {"byteorder": ">"}, "imagej": {"imagej": True}, "ome": {"ome": True},
        }.items():  # fmt: skip
            stack = np.abs(scan).T.astype(np.uint16)
            tifffile.imwrite(folder / f"{kind}.tif", stack, photometric="minisblack", **options)
        single = pydicom.dcmread(get_testdata_file("CT_small.dcm"))
        single.save_as(folder / "native.dcm")
        single.compress(RLELossless)
        single.save_as(folder / "rle.dcm")
        with zipfile.ZipFile(folder / "slices.zip", "w", zipfile.ZIP_DEFLATED) as archive:
            for k in range(3):
                piece = pydicom.dcmread(get_testdata_file("CT_small.dcm"))
                piece.SOPInstanceUID = piece.file_meta.MediaStorageSOPInstanceUID = f"1.2.3.{k + 1}"
                piece.ImagePositionPatient = [0, 0, 5 * k]
                content = BytesIO()
                piece.save_as(content)
                archive.writestr(f"{k}.dcm", content.getvalue())
        wide = np.tile(grey, (1, 8, 8)).astype(np.uint16)
        write_packed(folder, wide)
        found = {path.name: path.read_bytes() for path in sorted(folder.iterdir())}
    for name in ("MR_small.dcm", "MR_small_bigendian.dcm", "examples_palette.dcm", "rtdose_1frame.dcm"):
        found[name] = Path(get_testdata_file(name)).read_bytes()
    return found


def write_packed(folder: Path, plane: np.ndarray) -> None:
    """Write a plane (y, x) as DICOM files packed without loss: JPEG.dcm and JPEG2000.dcm."""
    import SimpleITK

    for kind in ("JPEG", "JPEG2000"):
        writer = SimpleITK.ImageFileWriter()
        writer.SetImageIO("GDCMImageIO")
        writer.SetUseCompression(True)
        writer.SetCompressor(kind)
        writer.SetFileName(str(folder / f"{kind}.dcm"))
        writer.Execute(SimpleITK.GetImageFromArray(plane))


# ---- damage


def bytewise(content: bytes, rng: Rng) -> bytes:
    """Cut, longer, or with bytes changed, taken out, put in, doubled or exchanged."""
    new, at, count = bytearray(content), int(rng.integers(len(content) or 1)), int(rng.integers(1, 100))
    kind = int(rng.integers(8))
    if kind == 0:
        del new[at + 1 :]
    elif kind == 1:
        new += rng.bytes(count)
    elif kind == 2:
        new[at : at + count] = bytes(len(new[at : at + count]))
    elif kind == 3:
        del new[at : at + count]
    elif kind == 4:
        new[at:at] = rng.bytes(count)
    elif kind == 5:
        new[at:at] = new[at : at + count]
    elif kind == 6 and len(new) > 2 * count:
        other = int(rng.integers(len(new) - count))
        new[at : at + count], new[other : other + count] = new[other : other + count], new[at : at + count]
    elif new:
        new[at % len(new)] ^= 1 << int(rng.integers(8))
    return bytes(new)


def numbers(content: bytes, rng: Rng, first: int = 0, last: int = 600) -> bytes:
    """With a number of 2, 4 or 8 bytes that counts or points set to one that is seldom meant."""
    size = int(rng.choice([1, 2, 4, 8]))
    if len(content) < first + size:
        return bytewise(content, rng)
    at = int(rng.integers(first, max(first + 1, min(last, len(content)) - size)))
    if rng.random() < 0.2:
        value = struct.pack(str(rng.choice(["<f", ">f", "<d"])), float(rng.choice([np.nan, np.inf, -1, 1e30, 0.5])))
    else:
        number = int(rng.choice(NUMBERS)) % (1 << 8 * size)
        value = number.to_bytes(size, str(rng.choice(["little", "big"])))
    return content[:at] + value + content[at + len(value) :]


def lines(content: bytes, rng: Rng) -> bytes:
    """NRRD, MHA: with a line of the header changed, taken out, doubled or moved."""
    end = content.find(b"ElementDataFile") if b"ElementDataFile" in content else content.find(b"\n\n")
    head, data = content[:end].split(b"\n"), content[end:]
    k, kind = int(rng.integers(len(head))), int(rng.integers(5))
    if kind == 0:
        del head[k]
    elif kind == 1:
        head.insert(k, head[int(rng.integers(len(head)))] if head else b"")
    elif kind == 2:
        other = int(rng.integers(len(head)))
        head[k], head[other] = head[other], head[k]
    else:
        found = list(re.finditer(rb"[^\s:=,()]+", head[k]))
        if found:
            word = found[int(rng.integers(len(found)))]
            head[k] = head[k][: word.start()] + WORDS[int(rng.integers(len(WORDS)))] + head[k][word.end() :]
    return b"\n".join(head) + data


def chunks(content: bytes, rng: Rng) -> bytes:
    """PNG: with a chunk changed (and its checksum made right), taken out, doubled or moved."""
    found, at = [], 8
    while at + 12 <= len(content):
        length = int.from_bytes(content[at : at + 4], "big")
        found.append((content[at + 4 : at + 8], content[at + 8 : at + 8 + length]))
        at += 12 + length
    if not found:
        return bytewise(content, rng)
    k, kind = int(rng.integers(len(found))), int(rng.integers(4))
    if kind == 0:
        del found[k]
    elif kind == 1:
        found.insert(int(rng.integers(len(found))), found[k])
    else:
        found[k] = (found[k][0], numbers(found[k][1], rng) if rng.random() < 0.6 else bytewise(found[k][1], rng))
    return content[:8] + b"".join(
        len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big") for kind, data in found
    )


def tags(content: bytes, rng: Rng) -> bytes:
    """TIFF: with a field of an entry, or the way to the next page, changed."""
    order, big = "<" if content[:2] == b"II" else ">", content[2:4] in (b"+\0", b"\0+")
    try:
        (at,) = struct.unpack_from(order + ("Q" if big else "I"), content, 8 if big else 4)
        (count,) = struct.unpack_from(order + ("Q" if big else "H"), content, at)
    except struct.error:
        return bytewise(content, rng)
    size, first = (20, at + 8) if big else (12, at + 2)
    k = int(rng.integers(min(count, 100) + 1))
    return numbers(content, rng, first + size * k, first + size * (k + 1))


def elements(content: bytes, rng: Rng) -> bytes:
    """DICOM, explicit: with an element's length, type, value or place changed, or taken out, or doubled."""
    found, at = [], 132
    while at + 8 <= len(content) and len(found) < 500:
        long = content[at + 4 : at + 6] in (b"OB", b"OW", b"SQ", b"UN", b"UT", b"OF")
        length = int.from_bytes(content[at + 8 : at + 12] if long else content[at + 6 : at + 8], "little")
        step = (12 if long else 8) + (0 if length == 0xFFFFFFFF else length)
        found.append((at, at + step, 12 if long else 8))
        at += step
    if not found:
        return bytewise(content, rng)
    start, stop, head = found[int(rng.integers(len(found)))]
    kind = int(rng.integers(6))
    if kind == 0:
        return content[:start] + content[stop:]
    if kind == 1:
        return content[:stop] + content[start:stop] + content[stop:]
    if kind == 2:
        return numbers(content, rng, start + 4, start + head)
    if kind == 3:
        value = WORDS[int(rng.integers(len(WORDS)))][: stop - start - head].ljust(max(0, stop - start - head))
        return content[: start + head] + value + content[stop:]
    if kind == 4:
        return numbers(content, rng, start + head, max(stop, start + head + 1))
    vr = bytes(rng.choice(list(b"ABCDFILOSTUWQ"), 2).astype(np.uint8))
    return content[: start + 4] + vr + content[start + 6 :]


def segments(content: bytes, rng: Rng) -> bytes:
    """JPEG: with a number in a segment, or the length of it, changed."""
    markers = [match.start() for match in re.finditer(rb"\xff[\xc0-\xfe]", content)]
    if not markers:
        return bytewise(content, rng)
    at = int(rng.choice(markers))
    return numbers(content, rng, at + 1, at + 20)


def inside(content: bytes, rng: Rng) -> bytes:
    """Packed whole: with what is inside damaged, and packed anew."""
    if content[:2] == b"\x1f\x8b":
        return gzip.compress(numbers(gzip.decompress(content), rng) if rng.random() < 0.7 else
                             bytewise(gzip.decompress(content), rng), 1)  # fmt: skip
    packed = BytesIO()
    with zipfile.ZipFile(BytesIO(content)) as archive, zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as made:
        names = archive.namelist()
        spoilt = int(rng.integers(len(names)))
        for k, name in enumerate(names):
            data = archive.read(name)
            made.writestr(name, damaged(name, data, rng) if k == spoilt else data)
    return packed.getvalue()


def tail(content: bytes, rng: Rng) -> bytes:
    """Zip: with a number in its table of contents changed."""
    return numbers(content, rng, max(0, content.find(b"PK\1\2")), len(content))


KNOWING: dict[str, tuple[Callable[[bytes, Rng], bytes], ...]] = {
    ".nii": (numbers,), ".gz": (inside, numbers), ".nrrd": (lines,), ".mha": (lines,), ".png": (chunks,),
    ".tif": (tags,), ".dcm": (elements,), ".jpg": (segments,), ".bmp": (lambda c, r: numbers(c, r, 0, 60),),
    ".zip": (inside, tail),
}  # fmt: skip


def damaged(name: str, content: bytes, rng: Rng) -> bytes:
    """A file with one to three faults."""
    knowing = KNOWING[Path(name).suffix]
    for _ in range(int(rng.integers(1, 4))):
        kind = knowing[int(rng.integers(len(knowing)))] if rng.random() < 0.75 else bytewise
        try:
            content = kind(content, rng)
        except Exception:  # it is damaged so far already that its parts are not found
            content = bytewise(content, rng)
    return content


def made(names: list[str], contents: list[bytes], seed: int, number: int) -> tuple[str, bytes]:
    """The file of a number: always the same."""
    rng = np.random.default_rng((seed, number))
    name = names[number % len(names)]
    return name, damaged(name, contents[number % len(names)], rng)
