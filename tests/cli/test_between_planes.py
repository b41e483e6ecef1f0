"""``bifseg segment`` carries objects from plane to plane, and fills what lies between planes."""

import json

import numpy as np
import pytest

from bifseg import Image
from bifseg.cli import main
from bifseg.io.images import read_image, write_image

pytestmark = pytest.mark.usefixtures("coarse")

X, Y, Z = np.ogrid[:48, :48, :24]
CYLINDER = ((X - 24) ** 2 + (Y - 24) ** 2 <= 81) & (Z >= 5) & (Z < 19)


@pytest.fixture
def scan(tmp_path):
    seen = np.random.default_rng(0).normal(0, 10, CYLINDER.shape) + 100 + 150 * CYLINDER
    image = Image(seen.astype(np.float32), (1.0, 1.0, 2.0))
    write_image(tmp_path / "scan.nii.gz", image.array, image)
    strokes = np.where(CYLINDER, 1, 2) * ((X % 4 == 0) & (Z == 12))
    strokes[:8] = strokes[40:] = strokes[:, :8] = strokes[:, 40:] = 0
    write_image(tmp_path / "strokes.nii.gz", strokes.astype(np.uint8), image)
    return tmp_path


def planes(folder):
    return np.flatnonzero(read_image(folder / "mask.nii.gz").array.any((0, 1))).tolist()


def segment(folder, *options):
    return main(["segment", str(folder / "scan.nii.gz"), "-o", str(folder / "mask.nii.gz"), *options])


TAUGHT = ("--box", "8:40,8:40,12", "--scribbles")


def test_an_object_is_carried_to_its_ends(scan, capsys):
    assert segment(scan, *TAUGHT, str(scan / "strokes.nii.gz"), "--propagate", "end", "--json") == 0
    assert planes(scan) == list(range(5, 19))
    told = json.loads(capsys.readouterr().out)["planes"]["object 1"]
    assert told["axis"] == "z"
    assert told["indices"] == list(range(5, 19))
    assert told["voxels"] == np.count_nonzero(read_image(scan / "mask.nii.gz").array)


@pytest.mark.parametrize(("to", "wanted"), [("10:14", [10, 11, 12, 13]), ("14", [12, 14])])
def test_a_range_and_a_plane_are_what_they_say(scan, to, wanted, capsys):
    assert segment(scan, *TAUGHT, str(scan / "strokes.nii.gz"), "--propagate", to) == 0
    assert planes(scan) == wanted
    assert f"object 1: {len(wanted)} planes, z {wanted[0]} to {wanted[-1]}" in capsys.readouterr().out


def test_planes_of_one_name_are_one_object_and_what_lies_between_is_filled(scan):
    boxes = ("--box", "8:40,8:40,8", "--box", "9:39,8:40,15", "--name", "vessel", "--name", "vessel")
    assert segment(scan, *boxes, "--interpolate") == 0
    assert planes(scan) == list(range(8, 16))
    assert read_image(scan / "mask.nii.gz").array.max() == 1


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--box", "8:40,8:40,12", "--propagate", "far"), "'far'; give end, a range such as 5:20, or a plane"),
        (("--box", "8:40,8:40,4:20", "--propagate", "end"), "need an object in a plane"),
        (("--box", "8:40,8:40,12", "--interpolate"), "nothing to fill"),
        (("--box", "8:40,8:40,12", "--propagate", "99"), "There is no plane 99 along z"),
        (
            ("--box", "8:40,8:40,12", "--box", "8:40,12,8:20", "--name", "a", "--name", "a"),
            "only planes across one axis are one object",
        ),
        (("--box", "8:40,8:40,12", "--box", "8:40,8:30,12", "--name", "a", "--name", "a"), "in the plane 12 already"),
    ],
)
def test_what_cannot_be_is_one_sentence_and_leaves_nothing(scan, options, words, capsys):
    assert segment(scan, *options) == 2
    said = capsys.readouterr().err
    assert words in said
    assert said.count("\n") == 1
    assert not (scan / "mask.nii.gz").exists()
