"""Readers of uploads are forked from a template: with the same answers, for little, and nothing of one in another."""

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from dicom_files import save_dicom

from bifseg.errors import TooLarge
from bifseg.imaging.image import Image
from bifseg.io import images
from bifseg.server.nninteractive import nnia
from bifseg.server.settings import Limits
from bifseg.server.uploads import reading, template
from bifseg.server.uploads.template import Template

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="readers are forked on Linux alone")
LIMITS = Limits(array_bytes=64 << 20, voxels=1 << 20, seconds_per_reading=120)
NOISE = np.random.default_rng(0).integers(0, 99, (12, 11, 10)).astype(np.int16)
HOSTILE = Path(__file__).parents[1] / "support" / "hostile_reader.py"
TICKS = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 1


@pytest.fixture
def one():
    with contextlib.closing(Template()) as one:
        yield one


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "patient.nii.gz"
    images.write_image(path, NOISE, Image(NOISE, (1, 2, 3), (4, 5, 6)))
    return path


def hostile(monkeypatch, how: str, path: Path) -> None:
    monkeypatch.setattr(template, "COMMAND", (sys.executable, str(HOSTILE), how, str(path)))


def left(folder: Path) -> list[Path]:
    return list((folder / "temporary").iterdir())


def gone(pid: int, seconds: float = 30) -> bool:
    """Whether a process ends, and leaves no zombie."""
    until = time.monotonic() + seconds
    while time.monotonic() < until and Path(f"/proc/{pid}").exists():
        time.sleep(0.05)
    return not Path(f"/proc/{pid}").exists()


def said(path: Path) -> int:
    """The number that a file gets to hold."""
    until = time.monotonic() + 60
    while time.monotonic() < until and not (path.is_file() and path.read_text(encoding="utf-8")):
        time.sleep(0.05)
    return int(path.read_text(encoding="utf-8"))


def spent(pid: int) -> float:
    """Seconds of CPU that a process and those that it waited for have had."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) / TICKS


def test_it_answers_as_a_process_that_is_started(file, tmp_path, one):
    save_dicom(tmp_path / "d", [(1, 2, 4 * k) for k in range(4)])
    with zipfile.ZipFile(tmp_path / "d.zip", "w") as archive:
        for path in (tmp_path / "d").iterdir():
            archive.write(path, path.name)
    for path in (file, tmp_path / "d.zip", tmp_path / "d"):
        one_way, other = (reading.read_image(path, tmp_path, LIMITS, template=door) for door in (one, None))
        np.testing.assert_array_equal(one_way.image.array, other.image.array)
        np.testing.assert_array_equal(one_way.image.affine, other.image.affine)
        assert one_way[1:] == other[1:]
    like = images.read_image(file)
    labels = reading.read_labels(file, tmp_path, LIMITS, like, name="The map", template=one)
    np.testing.assert_array_equal(labels, NOISE)
    (tmp_path / "a.nnia").write_bytes(nnia.pack(NOISE[None]))
    np.testing.assert_array_equal(reading.read_array(tmp_path / "a.nnia", tmp_path, LIMITS, template=one)[0], NOISE)
    file.write_bytes(file.read_bytes()[:200])
    with pytest.raises(ValueError, match=r"^The upload is truncated or damaged"):
        reading.read_image(file, tmp_path, LIMITS, template=one)
    assert left(tmp_path) == []


def test_a_small_upload_costs_little(file, tmp_path, one):
    """A process of its own took 0.25 s for this file, 0.4 s for DICOM."""
    for _ in range(2):  # the second one has all readers imported
        reading.read_image(file, tmp_path, LIMITS, template=one)
    pid = one.process
    before = spent(one.process)
    for _ in range(10):
        reading.read_image(file, tmp_path, LIMITS, template=one)
    assert one.process == pid
    assert (spent(pid) - before) / 10 < 0.1


def test_nothing_of_a_job_is_in_the_template(file, tmp_path, one):
    path = tmp_path / "MUSTERMANN^ERIKA.nii"
    images.write_image(path, NOISE, Image(NOISE))
    reading.read_image(path, tmp_path, LIMITS, template=one)
    row, libraries = NOISE[:, 3, 4].tobytes(), False
    with Path(f"/proc/{one.process}/mem").open("rb", 0) as memory:
        for line in Path(f"/proc/{one.process}/maps").read_text(encoding="utf-8").splitlines():
            low, high, mode = re.match(r"(\w+)-(\w+) (\S+)", line).groups()
            if mode.startswith("rw"):
                memory.seek(int(low, 16))
                with contextlib.suppress(OSError):
                    content = memory.read(int(high, 16) - int(low, 16))
                    assert b"MUSTERMANN" not in content
                    assert row not in content
                    libraries |= b"bifseg.io.nifti" in content
    assert libraries


def test_one_that_is_killed_costs_nobody_anything(file, tmp_path, one, monkeypatch):
    pid = tmp_path / "pid"
    hostile(monkeypatch, "says who, and sleeps", pid)
    with ThreadPoolExecutor(1) as threads:
        read = threads.submit(reading.read_image, file, tmp_path, LIMITS, template=one)
        reader, killed = said(pid), one.process
        os.kill(killed, signal.SIGKILL)
        image = read.result(60).image  # by a process that was started
    np.testing.assert_array_equal(image.array, NOISE)
    assert gone(reader)
    assert gone(killed)
    assert one.process is None
    np.testing.assert_array_equal(reading.read_image(file, tmp_path, LIMITS, template=one)[0].array, NOISE)
    assert left(tmp_path) == []


@pytest.mark.parametrize("how", ["kills the template", "begins a thread"])
def test_where_it_cannot_fork_a_process_is_started(file, tmp_path, one, monkeypatch, how):
    hostile(monkeypatch, how, tmp_path)
    for _ in range(2):
        np.testing.assert_array_equal(reading.read_image(file, tmp_path, LIMITS, template=one)[0].array, NOISE)
    assert one.process is None


def test_where_it_hangs_the_deadline_holds(file, tmp_path, one):
    one.start()
    os.kill(pid := one.process, signal.SIGSTOP)
    start = time.monotonic()
    with pytest.raises(TooLarge, match="it took more than the 1 s"):
        reading.read_image(file, tmp_path, Limits(seconds_per_reading=1), template=one)
    assert time.monotonic() - start < 30
    assert gone(pid)


SERVER = """
import sys
from pathlib import Path
from bifseg.server.settings import Limits
from bifseg.server.uploads import reading, template
template.COMMAND = (sys.executable, *sys.argv[3:])
one = template.Template()
one.start()
Path(sys.argv[2]).write_text(str(one.process))
reading.read_image(Path(sys.argv[1]), Path(sys.argv[1]).parent, Limits(), template=one)
"""


def test_it_and_what_it_forked_end_with_a_server_that_is_killed(file, tmp_path):
    ids = tmp_path / "template", tmp_path / "reader"
    command = [sys.executable, "-c", SERVER, file, ids[0], HOSTILE, "says who, and sleeps", ids[1]]
    with subprocess.Popen([*map(str, command)]) as server:
        pids = [said(path) for path in ids]
        server.kill()
    assert all(map(gone, pids))


def test_it_ends_when_it_is_closed(file, tmp_path):
    one = Template()
    reading.read_image(file, tmp_path, LIMITS, template=one)
    pid = one.process
    one.close()
    assert gone(pid)
    with pytest.raises(template.LostError):
        one.run({"limits": {"seconds": 1}})
