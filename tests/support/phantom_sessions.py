"""Sessions on the phantom that take no time: their parameters, boxes and scribbles; and whether two are the same."""

import numpy as np

from bifseg import Stroke
from bifseg.method.parameters import preset

QUICK = {d: preset("fast", d).but(rounds=1, iterations=3, samples=500) for d in (2, 3)}
BOX = ((5, 30), (6, 30), (2, 18))
PLANE = ((5, 30), (6, 30), 10)
DRAWN = [Stroke([(12, 12, 10), (18, 12, 10)], label=1, radius=1), Stroke([(26, 24, 10), (28, 26, 10)], label=2)]


def inside_box(box, shape):
    inside = np.zeros(shape, bool)
    inside[box.slices] = True
    return inside


def states_equal(a, b):
    assert a.objects.keys() == b.objects.keys()
    assert a.current == b.current
    for name, one in a.objects.items():
        other = b.objects[name]
        np.testing.assert_array_equal(one.packed, other.packed)
        np.testing.assert_array_equal(one.scribbles, other.scribbles)
        np.testing.assert_array_equal(one.grid_probability, other.grid_probability)
        assert one.classifier.keys() == other.classifier.keys()
        for key, weights in one.classifier.items():
            np.testing.assert_array_equal(weights, other.classifier[key])
