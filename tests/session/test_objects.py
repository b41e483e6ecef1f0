"""Objects: begun with a box, a mask or scribbles, resized, renamed, removed, locked and saved."""

import numpy as np
import pytest
from phantom_sessions import BOX, PLANE, QUICK

import bifseg
from bifseg import Session

pytestmark = pytest.mark.usefixtures("coarse")


def test_objects_are_locked_selected_removed_and_saved_as_labels(scan, tmp_path):
    image, _ = scan
    session = Session(image, parameters=QUICK[3])
    session.box(BOX, name="first")
    first = session.mask.copy()
    session.box(((0, 40), (0, 36), (0, 20)), name="second")
    assert session.names == ["first", "second"]
    assert not (session.mask & first).any()
    assert set(np.unique(session.labels)) <= {0, 1, 2}
    session.save(tmp_path / "labels.nii.gz")
    np.testing.assert_array_equal(bifseg.read_image(tmp_path / "labels.nii.gz").array, session.labels)

    on_first = np.zeros(image.shape, np.uint8)
    on_first[tuple(np.argwhere(first)[0])] = 1
    with pytest.raises(ValueError, match="1 foreground scribble voxels lie in a finished object"):
        session.scribble(on_first)
    session.scribble(np.where(on_first, 2, 0))
    np.testing.assert_array_equal(session.labels == 1, first)

    session.select("first")
    session.scribble(np.where(on_first, 2, 0))
    assert not session.mask[on_first > 0].any()
    session.remove("first")
    assert session.names == ["second"]
    session.undo()
    assert session.names == ["first", "second"]


def test_an_initial_mask_is_kept_or_refined(scan):
    image, _ = scan
    given_mask = np.zeros(image.shape, np.uint8)
    given_mask[10:20, 10:20, 5:12] = 1
    session = Session(image, parameters=QUICK[3])
    assert session.box(BOX, initial=given_mask).any()
    session.undo()
    np.testing.assert_array_equal(session.box(BOX, initial=given_mask, refine="none"), given_mask.astype(bool))
    dot = np.zeros(image.shape, np.uint8)
    dot[12, 12, 6] = 2
    np.testing.assert_array_equal(session.scribble(dot, refine="none"), (given_mask > 0) & (dot == 0))
    session.undo()
    with pytest.raises(ValueError, match="empty inside the box"):
        session.box(((30, 35), (30, 35), (0, 3)), initial=given_mask)


@pytest.mark.parametrize("ranges", [BOX, PLANE])
def test_a_box_may_come_with_its_first_scribbles(scan, ranges):
    image, _ = scan
    parameters = QUICK[2 if ranges is PLANE else 3]
    labels = np.zeros(image.shape, np.uint8)
    labels[12:20, 12, 10], labels[24:30, 26, 10] = 1, 2
    session = Session(image, parameters=parameters)
    mask = session.box(ranges, scribbles=labels)
    assert mask[labels == 1].all()
    assert not mask[labels == 2].any()
    np.testing.assert_array_equal(session.scribbles, labels)
    assert session.undo()
    assert session.names == []
    with pytest.raises(ValueError, match="outside the box"):
        session.box(((10, 20), (10, 20), 3), scribbles=labels)
    assert session.names == []


def test_a_box_can_be_resized_also_from_a_plane_to_a_volume(scan):
    image, _ = scan
    session = Session(image, parameters=QUICK[2])
    session.box(PLANE, "object")
    first = np.zeros(image.shape, np.uint8)
    first[12:20, 12, 10], first[24:30, 26, 10] = 1, 2
    plane = session.scribble(first)
    session._parameters = QUICK[3]
    second = np.zeros(image.shape, np.uint8)
    second[15, 15, 7] = 1
    volume = session.resize(BOX, scribbles=second)
    assert session.names == ["object"]
    assert session.state.objects["object"].box.dimension == 3
    np.testing.assert_array_equal(session.scribbles, np.where(second > 0, second, first))
    assert volume[session.scribbles == 1].all()
    assert not volume[session.scribbles == 2].any()
    smaller = session.resize(((10, 22), (10, 22), (6, 9)))
    np.testing.assert_array_equal(session.scribbles, second)
    assert not smaller[22:].any()
    assert session.undo()
    np.testing.assert_array_equal(session.mask, volume)
    assert session.undo()
    np.testing.assert_array_equal(session.mask, plane)


def test_resizing_is_as_if_the_object_had_begun_so(scan):
    image, _ = scan
    labels = np.zeros(image.shape, np.uint8)
    labels[14:20, 14, 10], labels[20:24, 22, 10] = 1, 2
    straight, detour = (Session(image, parameters=QUICK[3]) for _ in range(2))
    detour.box(((8, 28), (8, 28), (4, 14)), scribbles=labels)
    np.testing.assert_array_equal(detour.resize(BOX), straight.box(BOX, scribbles=labels))
    np.testing.assert_array_equal(straight.probability(), detour.probability())


def test_a_given_mask_is_what_the_first_refinement_starts_from(scan):
    """A mask kept as it was drawn must not be forgotten by the correction that follows it."""
    image, _ = scan
    drawn = np.zeros(image.shape, np.uint8)
    drawn[12:24, 12:24, 5:14] = 1
    dot = np.zeros(image.shape, np.uint8)
    dot[28, 28, 6] = 2
    kept, fitted, forgot = (Session(image, parameters=QUICK[3]) for _ in range(3))
    kept.box(BOX, initial=drawn, refine="none")
    fitted.box(BOX, initial=drawn, scribbles=dot)
    forgot.box(BOX, scribbles=dot)
    np.testing.assert_array_equal(kept.scribble(dot), fitted.mask)
    assert (kept.probability() != forgot.probability()).any()
    once = kept.mask
    kept.undo()
    np.testing.assert_array_equal(kept.mask, drawn > 0)
    np.testing.assert_array_equal(kept.scribble(dot), once)
    bigger = Session(image, parameters=QUICK[3])
    bigger.box(((11, 25), (11, 25), (4, 15)), initial=drawn, refine="none")
    np.testing.assert_array_equal(bigger.resize(BOX, scribbles=dot), fitted.mask)


def test_objects_are_renamed_and_undo_gives_the_old_name_back(scan):
    image, _ = scan
    session = Session(image, parameters=QUICK[3])
    session.box(BOX, "liver")
    session.box(((30, 36), (30, 36), (2, 9)), "cyst")
    labels = session.labels
    session.rename("liver", "Leber")
    assert session.names == ["Leber", "cyst"]
    assert session.state.current == "cyst"
    np.testing.assert_array_equal(session.labels, labels)
    session.undo()
    assert session.names == ["liver", "cyst"]
    with pytest.raises(ValueError, match="named 'liver' already"):
        session.rename("cyst", "liver")
    with pytest.raises(ValueError, match="no object named 'lung'"):
        session.rename("lung", "x")
    for nothing in ("", "  "):
        with pytest.raises(ValueError, match="cannot be named"):
            session.rename("cyst", nothing)
