from itertools import product
from operator import add

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bifseg.baselines.growcut import attack_graph, conquer


def automaton(image, scribbles, reach):
    """The automaton of Vezhnevets & Konouchine, cell by cell until nothing changes: labels and strengths."""
    strongest = image.max() or 1.0
    label, strength = scribbles.copy(), (scribbles > 0).astype(float)
    steps = [s for s in product((-1, 0, 1), repeat=image.ndim) if 0 < np.abs(s).sum() <= reach]
    changed = True
    while changed:
        changed = False
        new_label, new_strength = label.copy(), strength.copy()
        for p in np.ndindex(image.shape):
            for step in steps:
                q = tuple(map(add, p, step))
                if all(0 <= a < n for a, n in zip(q, image.shape, strict=True)):
                    attack = (1 - abs(image[p] - image[q]) / strongest) * strength[q]
                    if attack > new_strength[p]:
                        new_label[p], new_strength[p], changed = label[q], attack, True
        label, strength = new_label, new_strength
    return label, strength


def ambiguous(image, scribbles, reach):
    """Where both labels' attacks are equally strong: the automaton's answer depends on who comes first."""
    either = [automaton(image, np.where(scribbles == label, label, 0), reach)[1] for label in (1, 2)]
    return np.abs(either[0] - either[1]) < 1e-9


@pytest.mark.parametrize(
    ("shape", "neighbours"), [((9, 8), 8), ((9, 8), 4), ((1, 12), 8), ((4, 5, 4), 26), ((4, 5, 4), 6), ((4, 1, 5), 26)]
)
@settings(deadline=None, max_examples=4, derandomize=True)
@given(seed=st.integers(0, 2**32 - 1))
def test_the_shortest_path_is_the_automaton_at_rest(shape, neighbours, seed):
    rng = np.random.default_rng(seed)
    image, scribbles = rng.random(shape), np.zeros(shape, np.uint8)
    scribbles.flat[rng.permutation(scribbles.size)[:4]] = [1, 1, 2, 2]
    reach = {4: 1, 6: 1}.get(neighbours, image.ndim)
    expected, _ = automaton(image, scribbles, reach)
    got = conquer(attack_graph(image, neighbours), scribbles)
    clear = ~ambiguous(image, scribbles, reach) | (scribbles > 0)
    assert clear.mean() > 0.9
    np.testing.assert_array_equal(got[clear], expected[clear])


def test_no_attack_passes_the_largest_step():
    image = np.array([[0.2, 0.0, 1.0, 1.0, 0.0, 0.3]])
    scribbles = np.array([[1, 0, 0, 2, 0, 0]], np.uint8)
    assert conquer(attack_graph(image, 8), scribbles).tolist() == [[1, 1, 2, 2, 0, 0]]


def test_among_equals_the_nearest_wins():
    scribbles = np.zeros((1, 8), np.uint8)
    scribbles[0, 0], scribbles[0, 7] = 1, 2
    assert conquer(attack_graph(np.zeros((1, 8)), 8), scribbles).tolist() == [[1, 1, 1, 1, 2, 2, 2, 2]]
