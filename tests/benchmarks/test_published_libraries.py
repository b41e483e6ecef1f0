"""Our GrabCut and Random Walks beside those of libraries."""

import numpy as np
import pytest

from benchmarks.published.libraries import PAIRS, OpenCVGrabCut, SkimageRandomWalks, compared, judged, shown
from bifseg.baselines.random_walks import RandomWalks
from bifseg.evaluation.statistics import Thing
from bifseg.evaluation.targets import Target
from bifseg.imaging.image import Image
from bifseg.io.datasets import Case
from bifseg.prompts.interaction import Box


@pytest.fixture
def disk(tmp_path):
    """A bright disk on a plane: image, truth, box."""
    x, y = np.mgrid[:60, :60]
    truth = (np.hypot(x - 30, y - 28) < 12)[..., None]
    noise = np.random.default_rng(0).normal(0, 3, truth.shape)
    return (
        Image((100.0 * truth + noise).astype(np.float32), (1, 1, 1)),
        truth,
        Box.of([(14, 46), (12, 44), 0], truth.shape),
    )


def test_opencvs_grabcut_finds_a_disk_and_keeps_scribbles_and_box(disk):
    pytest.importorskip("cv2")
    image, truth, box = disk
    method = OpenCVGrabCut()
    mask = method.start(image, box)
    assert mask.shape == truth.shape
    assert (mask & truth).sum() / (mask | truth).sum() > 0.95
    scribbles = np.zeros(truth.shape, np.uint8)
    scribbles[30, 26:30] = 2
    assert not method.refine(scribbles)[30, 26:30].any()


def test_scikit_images_random_walks_lie_in_a_disk_that_ours_find(disk):
    pytest.importorskip("skimage")
    image, truth, _ = disk
    scribbles = np.zeros(truth.shape, np.uint8)
    scribbles[28:32, 28], scribbles[10:50, 8], scribbles[10:50, 48], scribbles[10, 8:49], scribbles[49, 8:49] = (
        1,
        2,
        2,
        2,
        2,
    )
    masks = []
    for method in (RandomWalks(), SkimageRandomWalks()):
        method.start(image, Box.of([(0, 60), (0, 60), 0], truth.shape))
        masks.append(method.refine(scribbles))
    ours, theirs = masks  # its own beta is a tenth of ours: with so few seeds it stays near them
    assert (ours & truth).sum() / (ours | truth).sum() > 0.95
    assert (theirs & truth).sum() > max(0.95 * theirs.sum(), 0.4 * truth.sum())


def test_a_target_is_judged_from_the_start_to_the_last_round(disk):
    image, truth, _ = disk
    case = Case("A", "c", "p", None, None)
    case.__dict__.update(image=image, labels=truth.astype(np.uint8))
    dices = judged(PAIRS["GrabCut"]["ours"], Target(case, "disk", (1,), (2, 0)))
    assert len(dices) == 4
    assert dices[-1] > 0.9


def test_the_comparison_is_paired_and_told_or_said_not_to_be_made(disk, monkeypatch):
    scores = {"ours": [0.5] * 4, "theirs": [0.4] * 4}
    monkeypatch.setattr("benchmarks.published.libraries.PAIRS", {"GrabCut": {"ours": "ours", "OpenCV's": "theirs"}})
    monkeypatch.setattr("benchmarks.published.libraries.judged", lambda make, target: scores[make])
    found = compared({Thing("A", f"p{k}", f"p{k}", "x"): None for k in range(2)})
    assert found["GrabCut"]["gaps"][0] == [0.1, 0.1, 0.1]
    told = {"date": "d", "objects": 2, "patients": 2, "versions": {"OpenCV": "5"}, "methods": found}
    assert "| GrabCut | ours less theirs | +10.0 [+10.0, +10.0]*" in shown(told)
    assert shown(told).startswith("2 objects of 2 patients in 2D, OpenCV 5, d. From the box")
    assert "python -m benchmarks.published.libraries" in shown(None)
