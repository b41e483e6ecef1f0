"""The demo: the whole loop on the phantom and on a real case, and what it leaves behind."""

import json

import numpy as np
import pytest

from bifseg.cli import main
from bifseg.evaluation import demo
from bifseg.imaging.image import Image
from bifseg.io.images import read_image, write_image
from bifseg.training.synthetic.phantom import phantom

pytest.importorskip("matplotlib")
pytestmark = pytest.mark.usefixtures("coarse")


@pytest.fixture(scope="module")
def case(tmp_path_factory):
    """A small labelled scan as files: (image, truth)."""
    folder = tmp_path_factory.mktemp("case")
    image, labels = phantom(seed=3, shape=(48, 48, 24))
    write_image(folder / "image.nii.gz", image.array, image)
    write_image(folder / "truth.nii.gz", labels, image)
    return folder / "image.nii.gz", folder / "truth.nii.gz"


def test_the_phantom(tmp_path, capsys):
    assert main(["demo", "-o", str(tmp_path / "new" / "demo"), "--dimension", "2"]) == 0
    said = capsys.readouterr()
    assert said.err == ""
    assert "Dice" in said.out
    assert "scribbles" in said.out
    folder = tmp_path / "new" / "demo"
    planes = {f"2d-{kind}.nii.gz" for kind in ("initial", "scribbles", "mask", "probability", "uncertainty")}
    assert {path.name for path in folder.iterdir()} == planes | {
        "image.nii.gz",
        "truth.nii.gz",
        "demo.png",
        "demo.json",
    }
    truth, mask, drawn = (read_image(folder / f"{n}.nii.gz").array for n in ("truth", "2d-mask", "2d-scribbles"))
    assert ((mask == 1) == (truth == 1))[drawn > 0].all()
    assert read_image(folder / "demo.png").shape[0] == 1800
    (loop,) = json.loads((folder / "demo.json").read_text())["loops"]
    assert len(loop["stages"]) == 3
    assert all(0 <= stage["dice"] <= 1 and sum(stage["milliseconds"].values()) > 0 for stage in loop["stages"])


def test_a_real_case_in_2d_and_3d(case, tmp_path, capsys):
    image, truth = map(str, case)
    assert main(["demo", "--image", image, "--truth", truth, "-o", str(tmp_path), "--seed", "1", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert [loop["dimension"] for loop in result["loops"]] == [2, 3]
    assert result["label"] == demo.open_case(*case).label
    assert not (tmp_path / "image.nii.gz").exists()
    assert (tmp_path / "3d-mask.nii.gz").exists()


def test_the_object_is_the_largest_or_the_one_asked_for(case):
    labels = read_image(case[1]).array
    counts = np.bincount(labels.ravel())[1:]
    chosen = demo.open_case(*case)
    assert chosen.label == 1 + np.argmax(counts)
    other = 1 + int(np.argmin(np.where(counts > 0, counts, counts.max())))
    np.testing.assert_array_equal(demo.open_case(*case, label=other).truth, labels == other)
    axis, index = chosen.plane
    assert axis == 2  # across the thickest slices
    areas = chosen.truth.sum(axis=(0, 1))
    assert areas[index] == areas.max()


@pytest.mark.parametrize("direction", [np.diag([-1.0, -1, 1]), np.eye(3)[[2, 0, 1]], np.eye(3)[:, [1, 0, 2]]])
def test_pictures_hang_as_in_radiology(direction):
    """However the voxels are ordered: to the right lies the patient's left, below lies the back, or the feet."""
    ramp = np.indices((12, 14, 10)).astype(float)
    truth = np.zeros((12, 14, 10), bool)
    truth[3:9, 4:10, 3:7] = True
    plain = Image(np.random.default_rng(0).random(truth.shape), spacing=(1, 2, 3), direction=direction)
    position = np.einsum("ij,jxyz->ixyz", plain.affine[:3, :3], ramp)
    found = demo.DemoCase(plain, truth, 1, 0, synthetic=False)
    loop = demo.run(found, 2)
    right, down = ((0, 1), (0, -3), (1, -3))[2 - int(np.argmax(np.abs(direction[:, 2])))]
    for lps, shown_axis in ((right, 0), (down, 1)):
        place = position[abs(lps) - (lps < 0)] * (-1 if lps < 0 else 1)
        shown = demo.row(demo.DemoCase(plain.with_array(place), truth, 1, 0, synthetic=False), loop)
        assert (np.diff(shown.image, axis=shown_axis) > 0).all()
        assert np.ptp(shown.image, axis=1 - shown_axis).max() == pytest.approx(0)


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--image", "IMAGE"], "both"),
        (["--image", "IMAGE", "--truth", "TRUTH", "--label", "9"], "no object 9"),
        (["--image", "IMAGE", "--truth", "missing.nii"], "does not exist"),
        (["--dimension", "4"], "--dimension"),
    ],
)
def test_bad_requests_leave_nothing(more, words, case, tmp_path, capsys):
    files = dict(zip(("IMAGE", "TRUTH"), map(str, case), strict=True))
    folder = tmp_path / "demo"
    assert main(["demo", "-o", str(folder), *(files.get(word, word) for word in more)]) == 2
    said = capsys.readouterr().err
    assert words in said
    assert said.count("\n") == 1
    assert not folder.exists()


def test_an_output_that_is_a_file(tmp_path, capsys):
    (tmp_path / "demo").touch()
    assert main(["demo", "-o", str(tmp_path / "demo")]) == 2
    assert "is a file" in capsys.readouterr().err


def test_a_missing_matplotlib_is_named(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "matplotlib", None)
    assert main(["demo", "-o", str(tmp_path / "demo")]) == 2
    assert 'pip install "bifseg[figures]"' in capsys.readouterr().err


@pytest.mark.parametrize(
    ("drawn", "expected"),
    [([], 5), ([0, 9], 5), ([0, 4], 4), ([4, 6], 6)],
)
def test_the_slice_shown_lies_in_the_objects_middle(drawn, expected):
    within, scribbled = np.ones(10, bool), np.zeros(10, bool)
    scribbled[drawn] = True
    assert demo.middle(within, scribbled, np.arange(10)) == expected


def test_the_first_time_is_told_apart(capsys):
    loop = demo.run(demo.open_case(), 2)
    assert all(cold > 0 for cold in loop.cold)
    assert [stage["cold"] for stage in loop.report()["stages"]] == [round(cold, 1) for cold in loop.cold]
    assert "ms the first time" in [column.header for column in demo.table([loop]).columns]
