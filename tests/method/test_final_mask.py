import numpy as np
import pytest

from bifseg.imaging.image import Image
from bifseg.method.final_mask import final_mask
from bifseg.method.grid import Grid
from bifseg.method.parameters import FAST, PAPER, Parameters
from bifseg.method.timing import Stopwatch
from bifseg.prompts.interaction import Box
from bifseg.session.session import Session

SHAPE = (60, 54, 48)
OFF = Parameters()
CUT = Parameters(full_resolution=True)


def ball(shape, radius):
    grids = np.ogrid[tuple(slice(0, n) for n in shape)]
    return sum((g - (n - 1) / 2) ** 2 for g, n in zip(grids, shape, strict=True)) <= radius**2


@pytest.fixture(scope="module")
def image():
    rng = np.random.default_rng(0)
    return Image((900 * ball(SHAPE, 17) + rng.normal(0, 60, SHAPE)).astype(np.float32))


def drawn(image, ranges, size, parameters, scribbles=None, locked=None, islands=()):
    """The outline of what a network would say that sees the truth on the grid, and the stages it took."""
    box, clock = Box.of(ranges, image.shape), Stopwatch()
    grid = Grid(image, box, size, size)
    labels = grid.array > 450
    for at in islands:
        labels[at] = ~labels[at]
    scribbles = np.zeros(box.shape, np.uint8) if scribbles is None else scribbles
    locked = np.zeros(box.shape, bool) if locked is None else locked
    return (
        final_mask(grid, labels, np.where(labels, 0.9, 0.1), scribbles, locked, parameters, clock),
        grid,
        labels,
        clock,
    )


WHOLE = [(0, n) for n in SHAPE]


def test_follows_the_scan_where_it_is_finer_than_the_grid(image):
    mask, grid, labels, clock = drawn(image, WHOLE, 16, CUT)
    truth, enlarged = ball(SHAPE, 17), grid.mask_in_box(labels)
    assert (mask != truth).sum() < 0.1 * (enlarged != truth).sum()
    assert list(clock) == ["band cut"]


def test_the_outline_can_be_switched_off(image):
    mask, grid, labels, clock = drawn(image, WHOLE, 16, OFF)
    np.testing.assert_array_equal(mask, grid.mask_in_box(labels))
    assert list(clock) == ["paste"]


@pytest.mark.parametrize(("size", "stage"), [(16, "band cut"), (60, "paste"), (128, "paste")])
def test_in_a_plane_only_where_the_box_is_finer_than_the_grid(image, size, stage):
    mask, grid, labels, clock = drawn(image, [(0, 60), (0, 54), 24], size, CUT)
    assert list(clock) == [stage]
    assert mask.shape == (60, 54, 1)
    if stage == "paste":
        np.testing.assert_array_equal(mask, grid.mask_in_box(labels))


def test_strokes_and_locks_hold_and_keep_islands(image):
    scribbles, locked = np.zeros(SHAPE, np.uint8), np.zeros(SHAPE, bool)
    scribbles[30, 27, 20:28] = 2
    scribbles[2, 2, 2:4] = 1
    locked[28:33, 40:44, 20:30] = True
    parameters = CUT.but(fill_holes=0.5, drop_islands=0.5)
    mask, _, _, clock = drawn(image, WHOLE, 20, parameters, scribbles, locked, islands=[np.s_[0, 0, 0:2]])
    assert list(clock) == ["band cut", "tidy"]
    assert not mask[scribbles == 2].any()
    assert not mask[locked].any()
    assert mask[scribbles == 1].all()
    without = drawn(image, WHOLE, 20, parameters, islands=[np.s_[0, 0, 0:2]])[0]
    assert not without[:6, :6, :6].any()
    assert without[30, 27, 24]


def test_the_papers_preset_ends_on_the_grid_and_ours_on_the_scan():
    for preset, full in ((PAPER, False), (FAST, True)):
        assert all(p.full_resolution == full for p in preset.values())
    assert all(p.fill_holes == p.drop_islands == 0 for p in PAPER.values())


def test_a_session_ends_its_refinements_so(image):
    """The stages it tells, the guarantees, undo bit for bit; and none of it where nothing is refined."""
    session = Session(image)
    session.box(WHOLE, refine="none")
    assert "band cut" not in session.report()["objects"][0]["milliseconds"]
    session.undo()
    first = session.box(WHOLE, refine="crf")
    assert session.report()["objects"][0]["milliseconds"]["band cut"] > 0
    labels = np.zeros(SHAPE, np.uint8)
    labels[30, 27, 10:20], labels[5, 5, 5:30] = 1, 2
    second = session.scribble(labels)
    assert second[labels == 1].all()
    assert not second[labels == 2].any()
    session.undo()
    np.testing.assert_array_equal(session.mask, first)
    session.redo()
    np.testing.assert_array_equal(session.mask, second)
