"""Uploads are read in a process of their own: whatever a file does there costs one sentence, and nothing leaks."""

import contextlib
import errno
import logging
import os
import sys
import time
import tracemalloc
import zipfile
from io import BytesIO
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pydicom
import pytest
from dicom_files import save_dicom
from readers import FORKING

from bifseg.errors import TooLarge
from bifseg.imaging.colours import joined
from bifseg.imaging.image import Image
from bifseg.io import arrays, images
from bifseg.server.nninteractive import nnia
from bifseg.server.settings import Limits
from bifseg.server.uploads import reader_process, reading, scan, template
from bifseg.server.uploads.scratch import scratch
from bifseg.server.workers.child import WorkError
from bifseg.storage import Store

LIMITS = Limits(array_bytes=64 << 20, voxels=1 << 20, seconds_per_reading=20)
NOISE = np.random.default_rng(0).integers(0, 99, (12, 11, 10)).astype(np.int16)


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "patient.nii.gz"
    images.write_image(path, NOISE, Image(NOISE, (1, 2, 3), (4, 5, 6)))
    return path


def left(folder: Path) -> list[Path]:
    return list((folder / "temporary").iterdir())


def test_an_image_comes_back_as_it_is(file, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    same = images.read_image(file)
    for path, folder in ((file, tmp_path), (Path(file.name), Path())):
        image, headers, _ = reading.read_image(path, folder, LIMITS, template=FORKING)
        np.testing.assert_array_equal(image.array, same.array)
        np.testing.assert_array_equal(image.affine, same.affine)
        assert (image.array.dtype, image.planar, headers) == (same.array.dtype, same.planar, None)
        assert left(tmp_path) == []


def test_labels_come_back_and_have_to_fit(file, tmp_path):
    like = images.read_image(file)
    np.testing.assert_array_equal(
        reading.read_labels(file, tmp_path, LIMITS, like, name="The map", template=FORKING), NOISE
    )
    with pytest.raises(ValueError, match=r"^The map lies elsewhere"):
        reading.read_labels(file, tmp_path, LIMITS, Image(NOISE, (1, 2, 4)), name="The map", template=FORKING)
    assert left(tmp_path) == []


def test_an_array_comes_back_with_its_shape(tmp_path):
    path = tmp_path / "a.nnia"
    path.write_bytes(nnia.pack(NOISE[None]))
    array, shape = reading.read_array(path, tmp_path, LIMITS, template=FORKING)
    np.testing.assert_array_equal(array, NOISE)
    assert shape == (1, *NOISE.shape)
    path.write_bytes(nnia.pack(NOISE))
    with pytest.raises(ValueError, match="it needs four axes"):
        reading.read_array(path, tmp_path, LIMITS, template=FORKING)


HOSTILE = [
    ("crashes", ValueError, r"^The upload cannot be read: the process that tried to crashed"),
    ("sleeps", ValueError, "it took more than the 1 s or the memory"),
    ("spins", ValueError, "it took more than the 1 s or the memory"),
    ("eats memory", TooLarge, "^The upload needs more memory"),
    ("fills the disk", TooLarge, "^The upload unpacks to more than is allowed"),
    ("has a fault", WorkError, r"a reason that is the server's: KeyError at <lambda>, line \d+ of hostile_reader"),
    ("refuses", ValueError, "^It is no image"),
]


@pytest.mark.skipif(sys.platform != "linux", reason="limits are Linux's")
@pytest.mark.parametrize("way", ["started", "forked"])
@pytest.mark.parametrize(("how", "kind", "sentence"), HOSTILE, ids=[how for how, *_ in HOSTILE])
def test_what_a_file_does_to_its_reader_costs_one_sentence(file, tmp_path, monkeypatch, how, kind, sentence, way):
    hostile = Path(__file__).parents[1] / "support" / "hostile_reader.py"
    module = reading if way == "started" else template
    monkeypatch.setattr(module, "COMMAND", (sys.executable, str(hostile), how, str(tmp_path)))
    limits = Limits(array_bytes=8 << 20, seconds_per_reading=1 if how in ("sleeps", "spins") else 60)
    start = time.monotonic()
    with contextlib.closing(template.Template()) as one, pytest.raises(kind, match=sentence) as caught:
        reading.read_image(file, tmp_path, limits, template=one if way == "forked" else None)
    assert time.monotonic() - start < 60
    assert str(tmp_path) not in str(caught.value)
    assert "patient" not in str(caught.value)
    assert left(tmp_path) == []
    if how == "fills the disk":
        assert (tmp_path / "filler").stat().st_size <= (8 << 20) + (1 << 20)


def test_what_killed_readers_left_goes(tmp_path):
    at = scratch(tmp_path, ".reading")
    at.mkdir()
    (at / "array.npy").write_bytes(b"voxels")
    os.utime(at, (1, 1))
    scratch(tmp_path, ".nii")
    assert left(tmp_path) == []


def test_nothing_is_said_about_what_is_read(file, tmp_path, capfd):
    file.write_bytes(file.read_bytes()[:200])
    with pytest.raises(ValueError, match=r"^The upload is"):
        reading.read_image(file, tmp_path, LIMITS)
    assert capfd.readouterr() == ("", "")


# ---- zips


def entries_on_one_member(count: int = 400, size: int = 10 << 20) -> bytes:
    """A zip whose table has many members, all of which are the same bytes."""
    content = BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("00000", bytes(size))
        (member,) = archive.infolist()
        for k in range(1, count):
            twin = zipfile.ZipInfo(f"{k:05}")
            for name in ("header_offset", "compress_size", "file_size", "CRC", "compress_type", "flag_bits"):
                setattr(twin, name, getattr(member, name))
            archive.filelist.append(twin)
    return content.getvalue()


def zeros(size: int = 400 << 20) -> bytes:
    content = BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("a", "w") as member:
        for _ in range(size >> 20):
            member.write(bytes(1 << 20))
    return content.getvalue()


@pytest.mark.parametrize(
    ("content", "kind", "sentence"),
    [
        (entries_on_one_member, ValueError, "^The upload cannot be unpacked: its members overlap"),
        (zeros, TooLarge, r"^The upload unpacks from 0\.\d+ MiB to 400 MiB"),
    ],
    ids=["400 on one", "zeros"],
)
def test_a_zip_that_would_burst_is_refused_before_it_is_written(tmp_path, monkeypatch, content, kind, sentence):
    (tmp_path / "bomb.zip").write_bytes(content())
    hostile = Path(__file__).parents[1] / "support" / "hostile_reader.py"
    monkeypatch.setattr(reading, "COMMAND", (sys.executable, str(hostile), "crashes"))  # were it to look inside
    start = time.monotonic()
    with pytest.raises(kind, match=sentence):
        reading.read_image(tmp_path / "bomb.zip", tmp_path, Limits())
    assert time.monotonic() - start < 30
    assert left(tmp_path) == []


def test_what_is_unpacked_lies_in_the_stores_folder(tmp_path, monkeypatch):
    seen = tmp_path / "seen"
    save_dicom(tmp_path / "d", [(1, 2, 4 * k) for k in range(4)])
    with zipfile.ZipFile(tmp_path / "d.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for path in (tmp_path / "d").iterdir():
            archive.write(path, path.name)
    hostile = Path(__file__).parents[1] / "support" / "hostile_reader.py"
    monkeypatch.setattr(reading, "COMMAND", (sys.executable, str(hostile), "says where", str(seen)))
    with pytest.raises(ValueError, match="is no image"):
        reading.read_image(tmp_path / "d.zip", tmp_path, LIMITS)
    assert Path(seen.read_text()).is_relative_to(tmp_path / "temporary")
    monkeypatch.undo()
    assert reading.read_image(tmp_path / "d.zip", tmp_path, LIMITS, template=FORKING)[0].shape == (5, 6, 4)


def test_an_array_of_nothing_but_a_header_is_not_unpacked(tmp_path):
    """198 bytes stored 512 MB, and used more than a gigabyte on the way."""
    array = np.zeros((1, 512, 512, 600), np.uint16)  # 315 MB
    array[:, 256:] = 7
    content = nnia.pack(array)
    assert len(content) < 400_000
    (tmp_path / "a.nnia").write_bytes(content)
    with pytest.raises(TooLarge, match="at most"):
        reading.read_array(tmp_path / "a.nnia", tmp_path, Limits(), template=FORKING)
    assert left(tmp_path) == []


@pytest.mark.skipif(sys.platform != "linux", reason="limits are Linux's")
def test_the_server_itself_takes_no_memory_for_an_array(tmp_path):
    array = np.random.default_rng(0).integers(0, 9999, (1, 256, 256, 200)).astype(np.uint16)  # 26 MB
    (tmp_path / "a.nnia").write_bytes(nnia.pack(array))
    with contextlib.closing(Store(tmp_path / "store")) as store:
        reading.read_array(tmp_path / "a.nnia", tmp_path, Limits(), template=FORKING)
        tracemalloc.start()
        read, _ = reading.read_array(tmp_path / "a.nnia", tmp_path, Limits(), template=FORKING)
        store.add_image(Image(read), "ann")
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < array.nbytes


def test_a_series_is_no_cupboard(tmp_path, monkeypatch):
    """Headers may hold anything: gigabytes of it were read into the server's memory, and kept in nobody's share."""
    monkeypatch.setattr(reader_process, "HEADERS_BYTES", 1000)
    noise = np.random.default_rng(0).bytes(5000)
    monkeypatch.setattr(scan, "image_from_upload", lambda *_, **__: (Image(NOISE), noise))
    (tmp_path / "a.dcm").write_bytes(b"x")
    limits = {"voxels": 1 << 20, "bytes": 1 << 20, "seconds": 60, "memory": 1 << 30}
    monkeypatch.setattr(reader_process, "_limit_memory", lambda _: None)
    monkeypatch.setattr(logging.getLogger("bifseg.io"), "handlers", [])
    job = {"kind": "image", "path": str(tmp_path / "a.dcm"), "limits": limits, "series": None, "verb": "read"}
    with pytest.raises(TooLarge, match="MiB of DICOM headers"):
        reader_process._do(job, tmp_path)


@pytest.mark.parametrize("kind", ["as stored", "wider", "coloured", "a disk that reserves nothing"])
def test_a_series_is_read_into_the_file_that_it_is_handed_over_in(tmp_path, monkeypatch, kind):
    """It lay twice in memory, and was copied once; the bytes are those that a copy has. What does not fit there is."""
    kept, keep, series = [], reader_process.keep, tmp_path / "series"
    monkeypatch.setattr(reader_process, "keep", lambda array, folder: kept.append(array) or keep(array, folder))
    monkeypatch.setattr(reader_process, "_limit_memory", lambda _: None)
    monkeypatch.setattr(logging.getLogger("bifseg.io"), "handlers", [])
    save_dicom(series, [(0, 0, z) for z in range(3)])
    if kind == "a disk that reserves nothing":
        monkeypatch.setattr(os, "posix_fallocate", Mock(side_effect=OSError(errno.EOPNOTSUPP, "no")))
    for path in series.iterdir():
        slice_ = pydicom.dcmread(path)
        if kind == "wider":
            slice_.RescaleSlope = 4000
        elif kind == "coloured":
            slice_.SamplesPerPixel, slice_.PhotometricInterpretation, slice_.PlanarConfiguration = 3, "RGB", 0
            slice_.BitsAllocated, slice_.BitsStored, slice_.HighBit, slice_.PixelRepresentation = 8, 8, 7, 0
            slice_.PixelData = bytes(range(90))
            del slice_.RescaleSlope, slice_.RescaleIntercept
        slice_.save_as(path)
    limits = {"voxels": 1 << 20, "bytes": 1 << 20, "seconds": 60, "memory": 1 << 30}
    folder = tmp_path / "out"
    folder.mkdir()
    reader_process._do({"kind": "image", "path": str(series), "limits": limits, "series": None, "verb": "read"}, folder)
    image = images.read_image(series)
    left = arrays.mapped_array(folder / reader_process.ARRAY)
    np.testing.assert_array_equal(left, joined(image.array, image.colours))
    assert bool(kept) == (kind != "as stored")
    np.save(tmp_path / "copy.npy", joined(image.array, image.colours))
    assert (folder / reader_process.ARRAY).read_bytes() == (tmp_path / "copy.npy").read_bytes()
    assert {path.name for path in folder.iterdir()} <= {reader_process.ARRAY, reader_process.HEADERS}


def test_a_full_disk_is_said_before_a_series_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "posix_fallocate", Mock(side_effect=OSError(errno.ENOSPC, "full")))
    with pytest.raises(OSError, match="full"):
        reader_process.RoomInFile(tmp_path)((3, 4, 5), np.dtype(np.int16))
