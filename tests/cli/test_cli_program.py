"""The command line as a process of its own: full disks, how soon it answers, and how much memory a scan takes."""

import re
import shutil
import statistics
import subprocess
import sys
from pathlib import Path

import nibabel
import numpy as np
import pytest

from bifseg.training.synthetic.phantom import phantom

PLANE = "4:28,6:30,8"


def program(*arguments: object, before: str = "") -> subprocess.CompletedProcess:
    """The command line in a process of its own; ``before``: what that process runs first."""
    code = f"import sys\n{before}\nfrom bifseg.cli import main\nsys.exit(main(sys.argv[1:]))"
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)], capture_output=True, text=True, timeout=300, check=False
    )


FULL_DISK = """
import resource, signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (600, 600))
"""


def test_a_full_disk(scan, out):
    """A limit on the file size stands for the disk; the mask fits, the probability does not."""
    files = ("-o", out / "m.nii.gz", "--probability", out / "p.nii.gz", "--report", out / "r.json")
    done = program("segment", scan, "--box", PLANE, *files, before=FULL_DISK)
    assert done.returncode == 2
    assert re.fullmatch(r"bifseg: Cannot write \S+p\.nii\.gz: File too large\.\n", done.stderr), done.stderr
    assert not list(out.iterdir())


def test_the_command_line_answers_at_once():
    slow = "torch", "SimpleITK", "scipy", "numpy", "rich", "matplotlib", "bifseg.session.session"
    listing = f"import sys, bifseg.cli; print([name for name in {slow} if name in sys.modules])"
    assert subprocess.run([sys.executable, "-c", listing], capture_output=True, text=True, check=True).stdout == "[]\n"

    def seconds(code: str) -> float:
        code += "\nimport time; print(time.process_time())"
        return float(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)

    bare, ours = (statistics.median(seconds(code) for _ in range(3)) for code in ("pass", "import bifseg.cli"))
    assert ours - bare < 0.4  # of computing: 0.1 s on an idle machine; 0.2 s is the aim, the rest is for busy ones


MEBIBYTE = 1 << 20


@pytest.mark.parametrize(
    ("box", "extra"),
    [("200:280,220:300,180:220", []), ("0:512,0:512,0:400", ["--uncertainty", "u.nii"])],
    ids=["small", "whole, with a map"],
)
def test_memory_of_a_large_scan(box, extra, large_scan, out, monkeypatch):
    monkeypatch.chdir(out)
    print_peak = "import atexit, resource\n" + (
        "atexit.register(lambda: print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss))"
    )
    done = program("segment", large_scan, "--box", box, "-o", out / "m.nii", *extra, before=print_peak)
    assert done.returncode == 0, done.stderr
    kibibytes = 1 / 1024 if sys.platform == "darwin" else 1
    assert int(done.stdout.split()[-1]) * kibibytes < 1.6 * MEBIBYTE


@pytest.fixture(scope="module")
def large_scan(tmp_path_factory) -> Path:
    """512 x 512 x 400 int16, uncompressed: 200 MiB."""
    folder = tmp_path_factory.mktemp("large")
    if shutil.disk_usage(folder).free < 3 << 30:
        pytest.skip(f"less than 3 GiB are free in {folder}")
    path = folder / "ct.nii"
    small, _ = phantom(seed=1, shape=(64, 64, 50), objects=5)
    header = nibabel.Nifti1Header()
    header.set_data_dtype(np.int16)
    header.set_data_shape((512, 512, 400))
    header.set_zooms((0.8, 0.8, 1.0))
    header.set_sform(np.diag([0.8, 0.8, 1.0, 1.0]), code=1)
    header["vox_offset"], header["magic"] = 352, b"n+1"
    with path.open("wb") as file:
        file.write(header.binaryblock.ljust(352, b"\0"))
        for k in range(400):
            file.write(np.kron(small.array[..., k // 8], np.ones((8, 8), np.int16)).tobytes("F"))
    yield path
    path.unlink()
