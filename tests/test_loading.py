"""Modules are loaded without looking for garbage in between, which takes a sixth of torch's time."""

import gc
import json
import subprocess
import sys

import numpy as np
import pytest

from bifseg.imaging.image import Image
from bifseg.io.images import write_image
from bifseg.loading import loading

PROGRAM = """
import gc, json, sys
looks = []
def look(phase, info):
    if phase == "start" and "torch" in sys.modules and "bifseg.session.session" not in sys.modules:
        looks.append(info["generation"])
gc.callbacks.append(look)
{what}
print(json.dumps([len(looks), gc.isenabled(), gc.get_freeze_count() > 0]))
"""


@pytest.mark.parametrize("before", [True, False])
def test_looking_goes_on_as_it_was(before):
    try:
        if not before:
            gc.disable()
        with loading():
            assert not gc.isenabled()
        with pytest.raises(ImportError), loading():
            raise ImportError
        assert gc.isenabled() == before
    finally:
        gc.enable()


@pytest.mark.parametrize(
    ("what", "kept"),
    [
        ("import bifseg; bifseg.Session", False),
        ("from bifseg.cli import main; main(['segment', 'scan.nii', '--box', '2:14,2:14,2', '-o', 'mask.nii'])", True),
    ],
    ids=["library", "command"],
)
def test_nobody_looks_while_torch_is_loaded(tmp_path, what, kept):
    scan = np.random.default_rng(0).integers(0, 99, (16, 16, 4)).astype(np.int16)
    write_image(tmp_path / "scan.nii", scan, Image(scan))
    command = [sys.executable, "-c", PROGRAM.format(what=what)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout.splitlines()[-1]) == [0, True, kept]
