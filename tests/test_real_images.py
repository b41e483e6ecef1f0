"""The whole loop on real scans of every kind; skipped where the data sets are absent. Accuracy is in benchmarks/."""

import numpy as np
import pytest

from bifseg import Session
from bifseg.evaluation.metrics import dice
from bifseg.evaluation.simulated_users import simulated_box, simulated_scribbles
from bifseg.io.datasets import open_dataset

OBJECTS = [
    ("Dataset101_ACDC", 0, (1,), 2, "right ventricle"),
    ("Dataset101_ACDC", 0, (3,), 2, "left ventricle"),
    ("Dataset107_AbdomenCT2D", 0, (6,), 2, "liver"),
    ("Dataset102_BRATS2013", 0, (1, 3, 4), 3, "tumour core in T1c"),
    ("Dataset102_BRATS2013", 1, (1, 2, 3, 4), 3, "whole tumour in FLAIR"),
    ("Dataset104_SarcomaMR", 0, (1,), 3, "sarcoma"),
    ("Dataset115_BodyCT", 0, (1,), 3, "spleen in CT"),
    ("Dataset103_FetalBrainAtlas", 0, (1,), 3, "white matter"),
]


@pytest.mark.parametrize(("dataset", "channel", "values", "dimension", "name"), OBJECTS, ids=[o[-1] for o in OBJECTS])
def test_a_box_and_one_round_of_scribbles_on_a_real_scan(data, dataset, channel, values, dimension, name):
    for case in open_dataset(data / dataset, channel).cases:
        truth = np.isin(case.labels, values)
        if truth.any():
            break
    plane = (2, int(truth.sum((0, 1)).argmax())) if dimension == 2 else None
    box = simulated_box(truth, np.random.default_rng(0), plane=plane)
    session = Session(case.image)
    first = session.box(box)
    inside = np.zeros(truth.shape, bool)
    inside[box.slices] = True
    truth &= inside
    assert not (first & ~inside).any()
    scribbles = simulated_scribbles(first, truth, box)
    second = session.scribble(scribbles)
    assert second[scribbles == 1].all()
    assert not second[(scribbles == 2) | ~inside].any()
    # Loose on purpose: that the mask is about this object, not how good it is.
    assert dice(first, truth) > 0.3
    assert dice(second, truth) > 0.4
