"""What tests of the command line share: a scan, and a folder to write to."""

import re
from pathlib import Path

import numpy as np
import pytest

from bifseg.cli import main
from bifseg.imaging.image import Image
from bifseg.io.images import write_image
from bifseg.training.synthetic.phantom import phantom


@pytest.fixture(scope="module")
def scan(tmp_path_factory) -> Path:
    """A small phantom, placed obliquely in space."""
    image, _ = phantom(seed=3, shape=(32, 32, 16))
    turn = np.array([[0.8, -0.6, 0], [0.6, 0.8, 0], [0, 0, 1]])
    path = tmp_path_factory.mktemp("scan") / "scan.nii.gz"
    write_image(path, image.array, Image(image.array, (1.0, 1.5, 3.0), (-20.0, 12.5, 7.0), turn))
    return path


@pytest.fixture
def out(tmp_path) -> Path:
    """An empty folder to write to."""
    folder = tmp_path / "out"
    folder.mkdir()
    return folder


@pytest.fixture
def run(capsys):
    """Run a command line that must succeed: its standard output."""

    def succeed(*arguments: object) -> str:
        code = main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        assert code == 0, captured.err
        assert captured.err == ""
        return captured.out

    return succeed


@pytest.fixture
def refused(capsys):
    """Run a command line that must fail as all failures do: its one sentence."""

    def fail(*arguments: object) -> str:
        code = main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        assert code == 2
        assert captured.out == ""
        assert re.fullmatch(r"bifseg: .+\n", captured.err), captured.err
        return captured.err

    return fail
