"""Overlap, surfaces and curves: cases worked out by hand, and surfaces against a slow reading of the definition."""

from itertools import product
from types import SimpleNamespace

import numpy as np
import pytest
from scipy import ndimage

from bifseg.evaluation import metrics
from bifseg.evaluation.metrics import area_under_curve, clicks_needed, dice, extent, iou, nsd, number_of_clicks


def block(shape, *ranges):
    mask = np.zeros(shape, bool)
    mask[tuple(slice(a, b) for a, b in ranges)] = True
    return mask


def blobs(rng, shape, smooth=1.5):
    """Two masks that overlap in part, with holes, specks and both on the array's border."""
    a, b = (ndimage.gaussian_filter(rng.normal(size=shape), smooth) for _ in range(2))
    mixed = a + rng.uniform(0, 1) * b
    return a > np.quantile(a, 0.6), mixed > np.quantile(mixed, rng.uniform(0.4, 0.9))


def test_overlap_of_two_squares_that_share_a_half():
    one, other = block((8, 8), (0, 4), (0, 4)), block((8, 8), (2, 6), (0, 4))
    assert dice(one, other) == 0.5
    assert iou(one, other) == 8 / 24
    assert dice(one.astype(np.uint8) * 3, other) == 0.5  # labels count as what they are: not 0
    assert (dice(one, one), iou(one, one)) == (1, 1)


@pytest.mark.parametrize("measure", [dice, iou, lambda a, b: nsd(a, b, (1.0, 1.0))])
def test_empty_masks_agree_with_each_other_and_with_nothing_else(measure):
    empty, full = np.zeros((6, 6), bool), block((6, 6), (1, 4), (1, 4))
    assert measure(empty, empty) == 1
    assert measure(empty, full) == measure(full, empty) == 0
    with pytest.raises(ValueError, match=r"\(6, 6\) and the truth \(6, 5\)"):
        measure(empty, empty[:, :5])


def test_two_squares_apart_by_less_and_more_than_the_tolerance():
    one, other = block((40, 40), (10, 20), (10, 20)), block((40, 40), (13, 23), (10, 20))
    assert nsd(one, other, (1, 1), 3) == 1
    # each contour: 4 sides of 9 whole elements, 4 corners of half a diagonal; further than 2 from the other are the
    # side 3 before it, with both corners, and of the side inside it the 5 elements 3 or more from all other sides
    corner = 0.5 * 2**0.5
    assert nsd(one, other, (1, 1), 2) == pytest.approx(1 - (9 + 2 * corner + 5) / (36 + 4 * corner))
    assert nsd(one, other, (0.5, 1), 2) == 1  # the same voxels are 1.5 mm apart
    assert nsd(one, other, (1, 0.5), 2.9) < nsd(one, other, (1, 0.5), 3) == 1
    assert nsd(one, block((40, 40), (30, 36), (30, 36)), (1, 1), 2) == 0


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_two_cubes_apart_along_one_axis_of_an_uneven_grid(axis):
    spacing, ranges = (0.7, 1.1, 2.5), [(6, 14)] * 3
    one = block((24, 24, 24), *ranges)
    ranges[axis] = (8, 16)
    other = block((24, 24, 24), *ranges)
    distance = 2 * spacing[axis]
    assert nsd(one, other, spacing, distance + 1e-6) == 1
    assert 0.5 < nsd(one, other, spacing, distance - 1e-6) < 1


def test_a_cube_in_a_cube_on_an_uneven_grid():
    spacing = sx, sy, sz = 0.7, 1.1, 2.5
    inner, outer = (block((20, 20, 20), *[side] * 3) for side in ((8, 12), (4, 16)))
    # elements: whole on faces, chamfers on edges (named by the axis along them), triangles on corners
    faces = {"x": sy * sz, "y": sx * sz, "z": sx * sy}
    edges = {"x": sx * np.hypot(sy, sz) / 2, "y": sy * np.hypot(sx, sz) / 2, "z": sz * np.hypot(sx, sy) / 2}
    corner = np.linalg.norm(list(faces.values())) / 8

    def surface(n):  # n whole elements on a side
        return 2 * n**2 * sum(faces.values()) + 4 * n * sum(edges.values()) + 8 * corner

    # 4 voxels apart: 2.8 mm along x, 4.4 along y, 10 along z; so within 2.9 mm are the inner cube's two x faces with
    # their rims, and what lies straight across on the outer one's: 5 by 5 elements
    near = 2 * (9 * faces["x"] + 6 * edges["y"] + 6 * edges["z"] + 4 * corner) + 2 * 25 * faces["x"]
    assert nsd(inner, outer, spacing, 2.9) == pytest.approx(near / (surface(3) + surface(11)))
    assert nsd(inner, outer, spacing, 2.7) == 0
    assert nsd(inner, outer, spacing, 20) == 1


def test_exactly_the_tolerance_counts_whatever_the_spacing_is_in_floats():
    one = block((30, 12), (2, 8), (2, 8))
    for spacing in (0.2, 0.4, 2 / 3):  # 7 * 0.4 - 2 * 0.4 is a little more than 2 in floats
        other = np.roll(one, round(2 / spacing), axis=0)
        assert nsd(one, other, (spacing, spacing), 2.0) == 1
        assert nsd(one, other, (spacing, spacing), 1.99) < 1


def literal(mask, truth, spacing, tolerance):
    """Surface Dice in plain loops: corners, their elements, the nearest element of the other surface."""
    tables = pytest.importorskip("surface_distance.lookup_tables")
    flat = mask.ndim == 2
    areas = (
        tables.create_table_neighbour_code_to_contour_length(spacing)
        if flat
        else tables.create_table_neighbour_code_to_surface_area(spacing)
    )
    surfaces = []
    for one in (mask, truth):
        padded, surface = np.pad(one, 1), []
        for corner in product(*(range(size + 1) for size in one.shape)):
            around = [padded[tuple(np.add(corner, step))] for step in product((0, 1), repeat=one.ndim)]
            if any(around) and not all(around):
                code = int("".join(str(int(bit)) for bit in around), 2)
                surface.append((corner, areas[code]))
        surfaces.append(surface)
    near = total = 0.0
    for ours, theirs in (surfaces, surfaces[::-1]):
        others = np.array([corner for corner, _ in theirs])
        for corner, area in ours:
            distance = np.sqrt((((others - corner) * spacing) ** 2).sum(1)).min()
            near, total = near + area * (distance <= tolerance), total + area
    return near / total


@pytest.mark.parametrize("shape", [(11, 9, 7), (17, 13)])
def test_surfaces_against_the_definition_in_loops(shape):
    rng = np.random.default_rng(0)
    for spacing in ((1, 1, 1), (0.8, 0.8, 3), (1.3, 0.9, 0.4)):
        mask, truth = blobs(rng, shape)
        for tolerance in (0.0, 1.0, 2.0):
            expected = literal(mask, truth, spacing[: len(shape)], tolerance)
            assert nsd(mask, truth, spacing[: len(shape)], tolerance) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("shape", [(40, 33, 21), (48, 60)])
def test_surfaces_against_deepminds_package(shape, monkeypatch):
    theirs = pytest.importorskip("surface_distance.metrics")
    # it asks for SciPy's old names, which warn
    monkeypatch.setattr(theirs, "ndimage", SimpleNamespace(filters=ndimage, morphology=ndimage))
    rng = np.random.default_rng(1)
    for spacing in ((1, 1, 1), (0.75, 0.75, 5), (2.1, 1.7, 0.31)):
        mask, truth = blobs(rng, shape, 2.5)
        distances = theirs.compute_surface_distances(truth, mask, spacing[: len(shape)])
        for tolerance in (0.5, 2.0):
            expected = theirs.compute_surface_dice_at_tolerance(distances, tolerance)
            assert nsd(mask, truth, spacing[: len(shape)], tolerance) == pytest.approx(expected, abs=1e-12)


def test_a_surface_does_not_depend_on_what_lies_around_it_or_on_the_order_of_the_arrays():
    mask, truth = blobs(np.random.default_rng(2), (20, 18, 12))
    alone = nsd(mask, truth, (1, 0.8, 2.0), 0.8)
    assert 0 < alone < 1
    near = pytest.approx(alone, abs=1e-12)
    wide = [np.pad(one, ((30, 5), (0, 9), (7, 0))) for one in (mask, truth)]
    assert nsd(*wide, (1, 0.8, 2.0), 0.8) == near
    assert nsd(truth, mask, (1, 0.8, 2.0), 0.8) == near
    assert nsd(np.asfortranarray(mask), truth.astype(np.uint8), (1, 0.8, 2.0), 0.8) == near


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_plane_is_a_contour_whichever_axis_it_lacks(axis):
    mask, truth = blobs(np.random.default_rng(3), (25, 20))
    spacing = np.insert([0.9, 1.2], axis, 8.0)
    found = nsd(np.expand_dims(mask, axis), np.expand_dims(truth, axis), spacing)
    assert found == nsd(mask, truth, (0.9, 1.2))
    assert 0 < found < 1


def test_bad_spacings_are_told():
    mask = block((5, 5, 5), (1, 3), (1, 3), (1, 3))
    for spacing in ((1, 1), (1, 1, 0), (1, 1, np.nan)):
        with pytest.raises(ValueError, match="positive spacing for each"):
            nsd(mask, mask, spacing)
    with pytest.raises(ValueError, match="2 or 3 axes"):
        nsd(mask[0, 0], mask[0, 0], (1,))


def test_without_surface_distance_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "surface_distance", None)
    metrics._sizes.cache_clear()
    with pytest.raises(ImportError, match=r'pip install "bifseg\[evaluation\]"'):
        nsd(np.ones((2, 2), bool), np.ones((2, 2), bool), (1, 1))


def test_the_area_under_a_curve_in_trapezoids():
    assert area_under_curve([1] * 5) == 4
    assert area_under_curve([0, 1, 0, 1, 0.5]) == pytest.approx(0.5 + 0.5 + 0.5 + 0.75)
    assert area_under_curve([0.7]) == 0
    assert area_under_curve(np.array([0.2, 0.4])) == pytest.approx(0.3)
    with pytest.raises(ValueError, match="no values"):
        area_under_curve([])


def test_the_number_of_clicks_and_of_failures():
    assert clicks_needed([0.9, 0.1], 0.9) == 1
    assert clicks_needed([0.5, 0.8, 0.7, 0.95], 0.8) == 2
    assert clicks_needed([0.5] * 30 + [0.9], 0.9) == clicks_needed([], 0.9) == 20
    assert clicks_needed([0.1, 0.2, 0.9], 0.9, most=2) == 2
    curves = [[0.95], [0.5, 0.92], [0.3] * 20, [0.3] * 19 + [0.9]]
    assert number_of_clicks(curves, 0.9) == ((1 + 2 + 20 + 20) / 4, 2)
    assert number_of_clicks(curves, 0.3) == (1, 0)
    with pytest.raises(ValueError, match="no curves"):
        number_of_clicks([], 0.9)


def test_the_extent_of_a_mask():
    assert extent(np.zeros((3, 4), bool)) is None
    mask = np.zeros((6, 7, 8), bool)
    mask[2, 6, 0] = mask[4, 1, 3] = True
    assert extent(mask) == extent(np.asfortranarray(mask)) == (slice(2, 5), slice(1, 7), slice(0, 4))
