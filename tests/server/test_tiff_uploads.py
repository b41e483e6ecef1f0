"""TIFFs of strangers: those that once kept a reader busy, or had it take memory, cost one sentence and little time."""

import struct
import sys
import time
import zlib
from pathlib import Path

import numpy as np
import pytest
from readers import FORKING

from bifseg.errors import BifsegError, DamagedFile, InvalidInput
from bifseg.io import images
from bifseg.io.formats import upload_endings
from bifseg.server.settings import Limits
from bifseg.server.uploads import reading

tifffile = pytest.importorskip("tifffile")
LIMITS = Limits(array_bytes=64 << 20, voxels=1 << 22, seconds_per_reading=20)
STACK = np.random.default_rng(0).integers(0, 999, (3, 20, 30)).astype(np.uint16)
SHORT, LONG = 3, 4


def directory(entries: list[tuple[int, int, int]], following: int) -> bytes:
    """A page: its entries (tag, type, value), and where the next one is."""
    packed = b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in sorted(entries))
    return struct.pack("<H", len(entries)) + packed + struct.pack("<I", following)


def plane(width: int, height: int, data: int, count: int, compression: int = 1) -> list[tuple[int, int, int]]:
    return [
        (256, LONG, width), (257, LONG, height), (258, SHORT, 8), (259, SHORT, compression), (262, SHORT, 1),
        (273, LONG, data), (277, SHORT, 1), (278, LONG, height), (279, LONG, count),
    ]  # fmt: skip


def chain(count: int, width: int, height: int, data: bytes, *, last: int = 0, compression: int = 1) -> bytes:
    """A TIFF of many pages that all have the same pixels; ``last``: where the last page leads."""
    start, size = 8 + len(data), len(directory(plane(1, 1, 8, 1), 0))
    after = [*(start + k * size for k in range(1, count)), last]
    pages = [directory(plane(width, height, 8, len(data), compression), following) for following in after]
    return b"II*\0" + struct.pack("<I", start) + data + b"".join(pages)


def test_a_stack_is_read_as_by_the_command_line(tmp_path):
    for suffix in (".tif", ".tiff"):
        path = tmp_path / f"a{suffix}"
        tifffile.imwrite(path, STACK, photometric="minisblack", compression="zlib")
        image, headers, _ = reading.read_image(path, tmp_path, LIMITS, template=FORKING)
        np.testing.assert_array_equal(image.array, STACK.T)
        assert headers is None
        assert not image.calibrated
        assert suffix in upload_endings()


HOSTILE = {
    "a circle of pages": lambda: chain(3, 10, 10, bytes(100), last=8 + 100),
    "a page that leads to itself": lambda: b"II*\0\x08\0\0\0" + directory(plane(10, 10, 8, 100), 8) + bytes(100),
    "very many pages": lambda: chain(70_000, 1, 1, b"\0"),
    "pages that share their pixels": lambda: chain(20_000, 2000, 2000, zlib.compress(bytes(4_000_000)), compression=8),
    "a bomb in a strip": lambda: chain(1, 10, 10, zlib.compress(bytes(1 << 29), 1), compression=8),
    "a plane of many pixels": lambda: chain(1, 1 << 30, 1 << 30, bytes(100)),
    "pages beyond the end": lambda: chain(3, 10, 10, bytes(100), last=1 << 30),
    "no page": lambda: b"II*\0\0\0\0\0",
    "half a header": lambda: b"II*\0\x08\0",
    "a first page beyond the end": lambda: b"II*\0" + struct.pack("<I", 1 << 31),
}


@pytest.mark.skipif(sys.platform != "linux", reason="limits are Linux's")
@pytest.mark.parametrize("what", HOSTILE)
def test_what_kept_readers_busy_costs_one_sentence(tmp_path, monkeypatch, what):
    monkeypatch.setattr(reading, "ROOM", 128 << 20)
    path = tmp_path / "patient.tif"
    path.write_bytes(HOSTILE[what]())
    start = time.monotonic()
    with pytest.raises(BifsegError, match=r"^The upload") as caught:
        reading.read_image(path, tmp_path, LIMITS, template=FORKING)
    assert "\n" not in str(caught.value)
    assert "patient" not in str(caught.value)
    assert time.monotonic() - start < 60


def test_a_stack_cut_in_half_is_no_shorter_stack(tmp_path):
    simple = pytest.importorskip("SimpleITK")
    simple.WriteImage(simple.GetImageFromArray(np.tile(STACK, (5, 1, 1))), str(tmp_path / "a.tif"))
    content = (tmp_path / "a.tif").read_bytes()
    for part in (0.3, 0.5, 0.9):
        (tmp_path / "a.tif").write_bytes(content[: int(part * len(content))])
        with pytest.raises(DamagedFile, match="truncated"):
            images.read_image(tmp_path / "a.tif")


def test_real_files_are_read_as_tifffile_reads_them():
    skimage = pytest.importorskip("skimage")
    folder = Path(skimage.__file__).parent / "data"
    stack = images.read_image(folder / "multipage.tif")
    np.testing.assert_array_equal(stack.array, tifffile.imread(folder / "multipage.tif").T)
    with pytest.raises(InvalidInput, match="vectors of 3 float64"):
        images.read_image(folder / "multipage_rgb.tif")
