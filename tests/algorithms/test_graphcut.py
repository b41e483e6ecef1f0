from concurrent.futures import ThreadPoolExecutor
from itertools import combinations, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bifseg.algorithms.graphcut import GridCut, grid_edges

TINY = [
    ((3, 4), 4, (1.0, 1.0)),
    ((3, 3), 8, (0.7, 2.1)),
    ((1, 7), 8, (1.0, 1.0)),
    ((2, 2, 3), 6, (1.0, 1.0, 4.0)),
    ((3, 2, 2), 18, (2.0, 1.0, 1.0)),
    ((2, 3, 2), 26, (0.5, 0.5, 3.0)),
]


def total_cost(labels, cost0, cost1, edges, weights):
    """The cost of one labelling (*shape) or of each of many (n, *shape)."""
    axes = tuple(range(-cost0.ndim, 0))
    cost = np.where(labels, cost1, cost0).sum(axes)
    for (first, second, _), weight in zip(edges, weights, strict=True):
        cost = cost + (weight * (labels[(..., *first)] != labels[(..., *second)])).sum(axes)
    return cost


def all_labellings(shape):
    return np.array(list(product((False, True), repeat=int(np.prod(shape))))).reshape(-1, *shape)


def random_weights(rng, shape, edges):
    return [rng.integers(0, 5, np.empty(shape)[e.first].shape) for e in edges]


@pytest.mark.parametrize(("shape", "neighbours", "spacing"), TINY)
def test_edges_are_all_pairs_of_neighbours_once(shape, neighbours, spacing):
    axes_moved = {4: 1, 8: 2, 6: 1, 18: 2, 26: 3}[neighbours]
    expected = {}
    for a, b in combinations(np.ndindex(shape), 2):
        step = np.abs(np.subtract(a, b))
        if step.max() == 1 and step.sum() <= axes_moved:
            expected[a, b] = np.sqrt(np.sum((step * spacing) ** 2)) / min(spacing)
    voxels = np.empty(shape, object)
    for index in np.ndindex(shape):
        voxels[index] = index
    edges = grid_edges(shape, neighbours, spacing)
    found = [
        (*sorted((a, b)), e.distance)
        for e in edges
        for a, b in zip(voxels[e.first].ravel(), voxels[e.second].ravel(), strict=True)
    ]
    assert len(found) == len(expected)
    assert {(a, b): d for a, b, d in found} == pytest.approx(expected)


@pytest.mark.parametrize(("shape", "neighbours", "spacing"), TINY)
@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 2**32 - 1))
def test_no_labelling_is_cheaper_and_no_equal_one_is_smaller(shape, neighbours, spacing, seed):
    rng = np.random.default_rng(seed)
    edges = grid_edges(shape, neighbours, spacing)
    weights = random_weights(rng, shape, edges)
    cost0, cost1 = rng.integers(0, 9, (2, *shape)).astype(float)
    labels = GridCut(shape, edges, weights)(cost0, cost1)
    others = all_labellings(shape)
    costs = total_cost(others, cost0, cost1, edges, weights)
    assert total_cost(labels, cost0, cost1, edges, weights) == costs.min()
    assert labels.sum() == min(other.sum() for other in others[costs == costs.min()])


@pytest.mark.parametrize(
    ("shape", "neighbours"), [((24, 31), 4), ((30, 22), 8), ((9, 8, 10), 6), ((9, 8, 7), 18), ((8, 7, 9), 26)]
)
@pytest.mark.parametrize("softness", [0.2, 3.0])
def test_agrees_with_boykov_kolmogorov(shape, neighbours, softness):
    maxflow = pytest.importorskip("maxflow")
    rng = np.random.default_rng(neighbours)
    edges = grid_edges(shape, neighbours)
    weights = [rng.random(np.empty(shape)[e.first].shape) / e.distance for e in edges]
    cost0, cost1 = softness * rng.random((2, *shape))

    oracle = maxflow.GraphFloat()
    nodes = oracle.add_grid_nodes(shape)
    oracle.add_grid_tedges(nodes, cost0, cost1)
    for e, weight in zip(edges, weights, strict=True):
        for i, j, w in zip(nodes[e.first].ravel(), nodes[e.second].ravel(), weight.ravel(), strict=True):
            oracle.add_edge(i, j, w, w)
    minimum = oracle.maxflow()

    labels = GridCut(shape, edges, weights)(cost0, cost1)
    assert total_cost(labels, cost0, cost1, edges, weights) == pytest.approx(minimum, rel=1e-6)
    np.testing.assert_array_equal(labels, ~oracle.get_grid_segments(nodes))


def test_earlier_calls_leave_no_trace_in_the_labels():
    rng = np.random.default_rng(3)
    shape = (12, 11, 10)
    edges = grid_edges(shape, 26)
    weights = random_weights(rng, shape, edges)
    used = GridCut(shape, edges, weights)
    for size in (1, 100, 10, 30):
        costs = rng.integers(0, 1 + size, (2, *shape))
        np.testing.assert_array_equal(used(*costs), GridCut(shape, edges, weights)(*costs))


def hostile(kind, shape, rng):
    """Costs and a mask of voxels that have edges, made to need many flow paths, or long ones."""
    parity, everywhere = np.indices(shape).sum(0) % 2.0, np.ones(shape, bool)
    if kind == "checkerboard":
        return 3 * parity, 3 * (1 - parity), everywhere
    if kind == "huge noise":
        return 1e9 * rng.random(shape), 1e9 * rng.random(shape), everywhere
    if kind == "all equal":
        return np.ones(shape), np.ones(shape), everywhere
    if kind == "weak sources, far sink":
        cost1 = np.zeros(shape)
        cost1[..., -1] = np.inf
        return rng.random(shape) * 1e-2, cost1, everywhere
    snake = np.zeros(shape, bool)  # a corridor back and forth, fed all along, drained at its end
    snake[::2] = True
    snake[1::4, -1] = snake[3::4, 0] = True
    cost1 = np.zeros(shape)
    cost1[-1, -1] = 1.0
    return np.where(snake, 1e-3 * rng.random(shape), 0.0), cost1, snake


@pytest.mark.parametrize("kind", ["checkerboard", "huge noise", "all equal", "weak sources, far sink", "snake"])
@pytest.mark.parametrize(("shape", "neighbours"), [((41, 40), 8), ((12, 11, 12), 6), ((9, 10, 11), 26)])
def test_hostile_instances_are_solved_exactly_warm_and_cold(kind, shape, neighbours):
    maxflow = pytest.importorskip("maxflow")
    if kind == "snake" and len(shape) == 3:
        shape, neighbours = (61, 60), 4
    rng = np.random.default_rng(1)
    edges = grid_edges(shape, neighbours)
    cost0, cost1, linked = hostile(kind, shape, rng)
    weights = [(linked[e.first] & linked[e.second]) * rng.integers(1, 4, linked[e.first].shape) for e in edges]
    oracle = maxflow.GraphFloat()
    nodes = oracle.add_grid_nodes(shape)
    oracle.add_grid_tedges(nodes, np.minimum(cost0, 1e12), np.minimum(cost1, 1e12))
    for e, weight in zip(edges, weights, strict=True):
        for i, j, w in zip(nodes[e.first].ravel(), nodes[e.second].ravel(), weight.ravel(), strict=True):
            oracle.add_edge(i, j, w, w)
    minimum = oracle.maxflow()
    cut = GridCut(shape, edges, weights)
    cold = cut(cost0, cost1)
    assert total_cost(cold, np.minimum(cost0, 1e12), np.minimum(cost1, 1e12), edges, weights) == pytest.approx(
        minimum, rel=1e-6, abs=1e-4
    )
    cut(cost1, cost0)
    np.testing.assert_array_equal(cut(cost0, cost1), cold)


def test_two_threads_may_use_two_instances():
    rng, shape = np.random.default_rng(5), (20, 20, 20)
    edges = grid_edges(shape, 6)
    weights = random_weights(rng, shape, edges)
    costs = 3 * rng.random((2, *shape))
    expected = GridCut(shape, edges, weights)(*costs)
    with ThreadPoolExecutor(2) as pool:
        for labels in pool.map(lambda _: GridCut(shape, edges, weights)(*costs), range(8)):
            np.testing.assert_array_equal(labels, expected)


def test_an_infinite_cost_forces_the_other_label_whatever_the_neighbours_want():
    shape, rng = (9, 9), np.random.default_rng(0)
    edges = grid_edges(shape, 8)
    cut = GridCut(shape, edges, [np.full(np.empty(shape)[e.first].shape, 1e9) for e in edges])
    cost0, cost1 = rng.random((2, *shape)) * 1e-3
    forced = rng.integers(0, 3, shape)
    cost0[forced == 1] = np.inf
    cost1[forced == 2] = np.inf
    labels = cut(cost0, cost1)
    assert labels[forced == 1].all()
    assert not labels[forced == 2].any()


@pytest.mark.parametrize("huge", [1e7, 1e15, 1e300])
def test_huge_numbers_do_not_overflow(huge):
    edges = grid_edges((2, 2), 4)
    cut = GridCut((2, 2), edges, [np.full(np.empty((2, 2))[e.first].shape, huge) for e in edges])
    cost1 = np.array([[0, 0], [0, 1.8 * huge]])  # less than the two edges that would cut the corner off
    assert cut(np.full((2, 2), huge), cost1).all()
    assert not cut(np.full((2, 2), 0.1 * huge), cost1).any()


def test_all_voxels_on_one_side():
    cut = GridCut((4, 5), grid_edges((4, 5), 4), [np.ones((4, 4)), np.ones((3, 5))])
    zeros, ones = np.zeros((4, 5)), np.ones((4, 5))
    assert cut(ones, zeros).all()
    assert not cut(zeros, ones).any()
    assert not cut(zeros, zeros).any()  # a tie: fewest voxels of label 1


def test_a_single_voxel_takes_its_cheaper_label():
    edges = grid_edges((1, 1), 8)
    cut = GridCut((1, 1), edges, [np.empty((1, 1))[e.first] for e in edges])
    assert cut(np.array([[2.0]]), np.array([[1.0]]))
    assert not cut(np.array([[1.0]]), np.array([[2.0]]))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (((4, 4), 6), "2D has 4 or 8"),
        (((4, 4, 4), 8), "3D has 6, 18 or 26"),
        (((4,), 2), "1D grid"),
        (((4, 0), 4), "one voxel or more"),
        (((4, 4), 4, (1.0, 0.0)), "above 0"),
        (((4, 4), 4, (1.0, np.inf)), "finite"),
        (((4, 4), 4, (1.0, 1.0, 1.0)), "give 2"),
    ],
)
def test_bad_grids(arguments, message):
    with pytest.raises(ValueError, match=message):
        grid_edges(*arguments)


def test_bad_weights_and_costs():
    edges = grid_edges((2, 2), 4)
    for weights in ([np.ones((2, 2)), np.ones((1, 2))], [np.ones((2, 1))]):
        with pytest.raises(ValueError, match=r"given for edges|shorter"):
            GridCut((2, 2), edges, weights)
    for bad in (-1.0, np.nan, np.inf):
        with pytest.raises(ValueError, match="finite weights"):
            GridCut((2, 2), edges, [np.full((2, 1), bad), np.ones((1, 2))])
    cut = GridCut((2, 2), edges, [np.ones((2, 1)), np.ones((1, 2))])
    with pytest.raises(ValueError, match=r"this grid is \(2, 2\)"):
        cut(np.zeros((2, 2)), np.zeros((2, 3)))
    for bad in (np.nan, np.inf):
        with pytest.raises(ValueError, match="both infinite"):
            cut(np.full((2, 2), bad), np.full((2, 2), bad))
