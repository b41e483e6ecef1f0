"""Whatever file is taken, its voxels do not depend on what lay in memory."""

import sys

import numpy as np
import pytest

from benchmarks.server import same_voxels

pytestmark = [
    pytest.mark.server, pytest.mark.skipif(sys.platform != "linux", reason="memory is filled by glibc's malloc"),
]  # fmt: skip


def test_damaged_files_of_all_formats_hold_the_same_whatever_lay_in_memory():
    pytest.importorskip("tifffile")
    found = same_voxels.compared(300, 7)
    assert found["filled"]
    assert found["taken"] > 50
    assert found["differ"] == []


def test_a_reader_that_returns_memory_as_it_was_is_found(tmp_path, monkeypatch):
    """As one does that believes how many voxels a header says."""
    script = (
        "import sys, numpy as np\n"
        "from pathlib import Path\n"
        "from bifseg.imaging.image import Image\n"
        "from bifseg.server.uploads import scan\n"
        "scan.image_from_upload = lambda path, *_: (Image(np.frombuffer("
        "np.empty(50_000, np.uint8).tobytes(), np.uint8).reshape(50, 50, 20).copy()), None)\n"
        "from benchmarks.server import same_voxels\n"
        "import json; print(json.dumps(same_voxels.digests(Path(sys.argv[2]))))\n"
    )
    (tmp_path / "lying").write_text(f"#!/bin/sh\nshift 2\nexec {sys.executable} -c '{script}' \"$@\"\n")
    (tmp_path / "lying").chmod(0o700)
    with monkeypatch.context() as patched:
        patched.setattr(same_voxels.sys, "executable", str(tmp_path / "lying"))
        found = same_voxels.compared(2, 7)
    assert len(found["differ"]) == 2
    assert np.all([name[:6] in ("000000", "000001") for name in found["differ"]])
