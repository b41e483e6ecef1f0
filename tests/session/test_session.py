import re
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import bifseg
from bifseg import Box, Image, Parameters, Session, Stroke
from bifseg.errors import InvalidInput
from bifseg.evaluation.methods import FromNetwork
from bifseg.method.parameters import preset
from bifseg.networks.checkpoint import DEFAULT
from bifseg.prompts.painting import rasterise
from bifseg.prompts.scribbles import merge
from bifseg.training.synthetic.phantom import phantom

QUICK = {d: preset("fast", d).but(rounds=1, iterations=3, samples=500) for d in (2, 3)}


@pytest.fixture(scope="module")
def scan():
    image, labels = phantom(seed=2, shape=(40, 36, 20))
    return image, labels


BOX = ((5, 30), (6, 30), (2, 18))
PLANE = ((5, 30), (6, 30), 10)


@st.composite
def situations(draw):
    """A random image with random spacing, a box anywhere in it (2D or 3D, borders too), and rounds of scribbles."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    shape = tuple(draw(st.tuples(*[st.integers(2, 14)] * 3)))
    spacing = tuple(draw(st.tuples(*[st.sampled_from([0.5, 1.0, 3.0])] * 3)))
    dtype = draw(st.sampled_from([np.uint8, np.int16, np.float32]))
    image = Image((rng.random(shape) * 200).astype(dtype), spacing=spacing)
    ranges = []
    plane = draw(st.sampled_from([None, 0, 1, 2]))
    for axis, n in enumerate(shape):
        start = draw(st.integers(0, n - 2))
        stop = draw(st.integers(start + 2, n))
        ranges.append(start if axis == plane else (start, stop))
    box = Box.of(ranges, shape)
    rounds = []
    for _ in range(draw(st.integers(1, 2))):
        labels = np.zeros(shape, np.uint8)
        share = draw(st.sampled_from([0.0, 0.02, 0.3, 1.0]))
        inside = rng.random(box.shape) < share
        labels[box.slices] = np.where(inside, rng.integers(1, 3, box.shape), 0)
        rounds.append(labels)
    return image, box, rounds


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(situations(), st.sampled_from(["none", "crf", "auto"]))
def test_the_three_guarantees_hold_whatever_the_image_box_and_scribbles(situation, refine):
    image, box, rounds = situation
    if np.ptp(box.crop(image.array)) == 0:
        return
    session = Session(image, parameters=QUICK[box.dimension])
    lock = tuple(slice(s.start, s.start + 2) for s in box.slices)
    locked = np.zeros(image.shape, bool)
    locked[lock] = np.random.default_rng(0).random(locked[lock].shape) < 0.5
    locked &= np.asarray(rounds[0] != 1) & np.asarray(rounds[-1] != 1)
    locked[~_inside(box, image.shape)] = False
    if locked.any() and not locked[box.slices].all():
        session.box(box, name="finished", initial=locked, refine="none")
        finished = session.mask.copy()
        np.testing.assert_array_equal(finished, locked)
    else:
        finished = np.zeros(image.shape, bool)
    session.box(box, name="object", refine=refine)
    drawn = np.zeros(image.shape, np.uint8)
    for labels in rounds:
        mask = session.scribble(labels, refine=refine)
        drawn = np.where(labels > 0, labels, drawn)
        assert mask.dtype == bool
        assert mask.shape == image.shape
        assert mask[drawn == 1].all()
        assert not mask[drawn == 2].any()
        assert not mask[~_inside(box, image.shape)].any()
        assert not (mask & finished).any()
        np.testing.assert_array_equal(session.labels == session.names.index("object") + 1, mask)
    if finished.any():
        session.select("finished")
        np.testing.assert_array_equal(session.mask, finished)


def _inside(box, shape):
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


def frozen(session):
    """What a user can see now, copied."""
    probability = session.probability() if session.names else None
    return session.labels.copy(), probability, session.names


@pytest.mark.parametrize("ranges", [BOX, PLANE])
def test_undo_and_redo_give_back_every_state_bit_for_bit(scan, ranges):
    image, _ = scan
    session = Session(image, parameters=QUICK[2 if ranges is PLANE else 3])
    rng = np.random.default_rng(0)
    seen, states = [frozen(session)], [session.state]
    session.box(ranges, name="a")
    seen.append(frozen(session))
    states.append(session.state)
    for _ in range(3):
        labels = np.zeros(image.shape, np.uint8)
        labels[10:20, 10:20, 10] = rng.integers(0, 3, (10, 10))
        session.scribble(labels)
        seen.append(frozen(session))
        states.append(session.state)
    for k in reversed(range(len(seen) - 1)):
        assert session.undo()
        states_equal(session.state, states[k])
        for now, then in zip(frozen(session), seen[k], strict=True):
            np.testing.assert_array_equal(now, then)
    assert not session.undo()
    for k in range(1, len(seen)):
        assert session.redo()
        for now, then in zip(frozen(session), seen[k], strict=True):
            np.testing.assert_array_equal(now, then)
    assert not session.redo()


def test_refining_after_undo_is_as_if_the_undone_never_was(scan):
    image, _ = scan
    labels = np.zeros(image.shape, np.uint8)
    labels[10:14, 10:14, 10], labels[24:28, 24:28, 10] = 1, 2
    straight, detour = (Session(image, parameters=QUICK[3]) for _ in range(2))
    straight.box(BOX)
    detour.box(BOX)
    detour.scribble(np.where(labels > 0, 3 - labels, 0).astype(np.uint8))
    detour.undo()
    np.testing.assert_array_equal(straight.scribble(labels), detour.scribble(labels))
    np.testing.assert_array_equal(straight.probability(), detour.probability())
    assert not detour.redo()


def test_cancelling_changes_nothing(scan):
    image, _ = scan
    session = Session(image, parameters=QUICK[3].but(rounds=3))
    session.box(BOX)
    before, state = session.mask.copy(), session.state
    labels = np.zeros(image.shape, np.uint8)
    labels[10:20, 10, 10] = 2
    rounds = session.rounds("scribble", labels)
    next(rounds)
    rounds.close()
    assert session.state is state
    np.testing.assert_array_equal(session.mask, before)
    assert len(list(session.rounds("scribble", labels))) == 4
    assert session.state is not state


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


def test_scribbles_come_as_labels_masks_or_strokes(scan):
    image, _ = scan
    labels = np.zeros(image.shape, np.uint8)
    labels[10:15, 12, 10], labels[20, 20, 10] = 1, 2
    strokes = [Stroke([(10, 12, 10), (14, 12, 10)], label=1), Stroke([(20, 20, 10)], label=2)]
    results = []
    for way in ({"labels": labels}, {"foreground": labels == 1, "background": labels == 2}, {"labels": strokes}):
        session = Session(image, parameters=QUICK[3])
        session.box(BOX)
        results.append(session.scribble(**way))
        np.testing.assert_array_equal(session.scribbles, labels)
    for other in results[1:]:
        np.testing.assert_array_equal(results[0], other)


def test_a_stroke_is_a_tube_of_its_radius_in_physical_space():
    image = Image(np.zeros((30, 30, 9)), spacing=(1, 1, 4))
    patch = rasterise([Stroke([(5, 15, 4), (25, 15, 4)], label=2, radius=3)], image)
    labels = patch.inside(Box((0, 0, 0), image.shape))
    assert patch.labels.size < labels.size / 2  # only what the brush can reach is looked at
    x, y, z = np.indices(image.shape)
    away = np.hypot(np.hypot(x - np.clip(x, 5, 25), y - 15), 4 * (z - 4))
    assert (labels[away <= 2.9] == 2).all()
    assert (labels[away > 3.001] == 0).all()
    assert not labels[:, :, [3, 5]].any()  # slices 4 mm away are untouched by a 3 mm brush


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=25, deadline=None)
def test_strokes_and_masks_are_the_same_labels_wherever_their_patch_begins(seed):
    rng = np.random.default_rng(seed)
    image = Image(np.zeros(rng.integers(4, 14, 3)), spacing=tuple(rng.choice([0.5, 1, 3], 3)))
    whole, last = Box((0, 0, 0), image.shape), np.array(image.shape) - 1
    strokes = [Stroke(rng.random((2, 3)) * last, int(rng.integers(1, 3)), rng.random() * 4) for _ in range(3)]
    painted = np.zeros(image.shape, np.uint8)
    for stroke in strokes:
        alone = rasterise([stroke], image).inside(whole)
        painted = np.where(alone > 0, alone, painted)
    np.testing.assert_array_equal(rasterise(strokes, image).inside(whole), painted)
    merged = merge(painted == 1, painted == 2)
    np.testing.assert_array_equal(merged.inside(whole), painted)
    assert merged.labels.size <= painted.size
    assert np.isin([1, 2], merged.labels).tolist() == np.isin([1, 2], painted).tolist()


def test_an_interaction_needs_no_memory_for_the_scan(scan):
    image, _ = scan
    large = np.zeros((400, 400, 300), np.uint8, order="F")  # 48 MB
    large[: image.shape[0], : image.shape[1], : image.shape[2]] = image.array // 8
    session = Session(Image(large), parameters=QUICK[3])
    session.box(BOX, refine="crf")
    strokes = [Stroke([(12, 12, 8), (18, 14, 8)], label=1, radius=2), Stroke([(6, 7, 8)], label=2)]
    tracemalloc.start()
    for refine in ("none", "crf", "auto"):
        assert list(session.rounds("scribble", strokes, refine=refine)) or refine == "none"
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < large.nbytes / 2


def test_maps_lie_on_the_scans_grid_and_mean_what_they_say(scan):
    image, _ = scan
    session = Session(image, parameters=QUICK[3])
    session.box(BOX, refine="crf")
    assert session.weight_map() is None
    labels = np.zeros(image.shape, np.uint8)
    labels[10, 10, 10], labels[20, 20, 10] = 1, 2
    session.scribble(labels)
    probability, uncertainty, weights = session.probability(), session.uncertainty(), session.weight_map()
    outside = ~_inside(Box.of(BOX, image.shape), image.shape)
    for array in (probability, uncertainty, weights):
        assert array.shape == image.shape
        assert array.dtype == np.float32
        assert (array[outside] == 0).all()
    assert probability[10, 10, 10] == 1
    assert probability[20, 20, 10] == 0
    assert uncertainty[10, 10, 10] == uncertainty[20, 20, 10] == 0
    p = probability[15, 15, 5]
    assert uncertainty[15, 15, 5] == pytest.approx(-p * np.log2(p) - (1 - p) * np.log2(1 - p), abs=1e-4)
    assert 0 <= uncertainty.min() <= uncertainty.max() <= 1


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


def test_a_flat_image_and_a_2d_array_work_alike(scan):
    image, _ = scan
    plane = image.array[:, :, 10]
    by_array = Session(plane, parameters=QUICK[2])
    mask = by_array.box(((5, 30), (6, 30)))
    assert mask.shape == (40, 36, 1)
    np.testing.assert_array_equal(mask[:, :, 0], Session(image, parameters=QUICK[2]).box(PLANE)[:, :, 10])
    labels = np.zeros((40, 36), np.uint8)
    labels[10, 10] = 2
    assert not by_array.scribble(labels)[10, 10, 0]


@pytest.mark.parametrize("path", ["scan.nii.gz", Path("scan.nii.gz")])
def test_a_path_is_refused_and_says_how_a_file_is_read(path):
    sentence = (
        "A Session takes an Image or an array; 'scan.nii.gz' is a path. Read the file first: Session(bifseg.read_"
    )
    with pytest.raises(InvalidInput, match=re.escape(sentence)):
        Session(path)


def test_the_paper_preset_models_and_methods_are_selectable(scan):
    image, _ = scan
    session = Session(image, model="multiscale2d", parameters="paper")
    session.box(PLANE)
    report = session.report()["objects"][0]
    assert report["parameters"] == preset("paper", 2).as_dict()
    assert len(report["rounds"]) == 5
    with pytest.raises(ValueError, match=r"is for 2D boxes; .* is 3D"):
        session.box(BOX)
    method = FromNetwork("crf")
    mask = method.start(image, Box.of(PLANE, image.shape))
    assert mask.any()
    assert not (method.refine(np.where(mask, 2, 0).astype(np.uint8)) & mask).any()


@pytest.mark.parametrize(
    ("ranges", "sentence"),
    [
        (((5, 5), (6, 30), 10), "empty or inverted along x: 5:5"),
        (((9, 5), (6, 30), 10), "empty or inverted along x: 9:5"),
        (((5, 41), (6, 30), 10), "x from 0 to 40"),
        (((-1, 8), (6, 30), 10), "outside the image"),
        (((5, 6), (6, 7), 10), "1 x 1 x 1 voxels; it needs at least two"),
        (((5, 9), (6, 7), 10), "at least two"),
        (((5, 9), (6, 9)), "2 axes; give three"),
        (((5.5, 9), (6, 9), 10), "whole numbers"),
        (((5, 9, 2), (6, 9), 10), "whole numbers"),
    ],
)
def test_boxes_that_cannot_be_are_refused(scan, ranges, sentence):
    session = Session(scan[0])
    with pytest.raises(ValueError, match=sentence):
        session.box(ranges)
    assert not session.names


def test_other_impossible_requests_are_refused_and_change_nothing(scan):
    image, _ = scan
    for sentence, call in {
        "constant": lambda: Session(np.ones((9, 9, 9))),
        "NaN or infinite": lambda: Session(np.where(np.arange(27).reshape(3, 3, 3) == 3, np.nan, 1)),
        "Unknown preset 'quick'": lambda: Session(image, parameters="quick"),
        "Unknown parameter lambda": lambda: Parameters().but(**{"lambda": 3}),
        "t0 <= t1": lambda: Parameters(t0=0.8, t1=0.2),
        "connectivity is 5": lambda: Parameters(connectivity=5),
        "no object yet": lambda: Session(image).scribble(np.zeros(image.shape)),
        "draw a box first": lambda: Session(image).save("x.nii.gz"),
        "There is no object named 'x'": lambda: Session(image).select("x"),
    }.items():
        with pytest.raises(ValueError, match=sentence):
            call()
    with pytest.raises(FileNotFoundError, match="Unknown model 'unet'"):
        Session(image, model="unet")
    flat = image.array.copy()
    flat[5:30, 6:30] = 7
    with pytest.raises(ValueError, match="constant inside the box"):
        Session(flat).box(BOX)

    session = Session(image, parameters=QUICK[3])
    session.box(BOX, name="a")
    state = session.state
    both, outside, strange = (np.zeros(image.shape, np.uint8) for _ in range(3))
    both[10, 10, 10] = outside[0, 0, 0] = 1
    strange[10, 10, 10] = 3
    for sentence, call in {
        "shape": lambda: session.scribble(np.zeros((3, 3, 3))),
        "1 voxels are in the foreground and the background": lambda: session.scribble(foreground=both, background=both),
        "lie outside the box": lambda: session.scribble(outside),
        r"labels \[3\]": lambda: session.scribble(strange),
        "No scribbles": lambda: session.scribble(),
        "give one of the two": lambda: session.scribble(both, foreground=both),
        "Unknown refinement": lambda: session.scribble(both, refine="magic"),
        "named 'a' already": lambda: session.box(BOX, name="a"),
        "outside the image": lambda: session.scribble([Stroke([(99, 0, 0)])]),
        "label 3": lambda: session.scribble([Stroke([(9, 9, 9)], label=3)]),
    }.items():
        with pytest.raises(ValueError, match=sentence):
            call()
        assert session.state is state
    session.box(BOX, name="all", initial=np.ones(image.shape, np.uint8), refine="none")
    session.undo()
    session.scribble(np.where(_inside(Box.of(BOX, image.shape), image.shape), 1, 0))
    with pytest.raises(ValueError, match="within finished objects"):
        session.box(BOX)


def test_the_public_names_are_exactly_these():
    assert bifseg.__all__ == [
        "Box", "Image", "Parameters", "Session", "Stroke", "load_model", "read_image", "write_image",
    ]  # fmt: skip
    for name in bifseg.__all__:
        assert getattr(bifseg, name).__doc__


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


def test_a_session_can_go_on_from_a_state_without_what_was_before(scan):
    image, _ = scan
    session = Session(image, parameters=QUICK[3])
    session.box(BOX)
    later = Session(image, parameters=QUICK[3], state=session.state)
    assert not later.undo()
    labels = np.zeros(image.shape, np.uint8)
    labels[12:20, 12, 10] = 1
    np.testing.assert_array_equal(later.scribble(labels), session.scribble(labels))
    states_equal(later.state, session.state)


def test_rounds_of_what_takes_none_are_refused(scan):
    session = Session(scan[0], parameters=QUICK[3])
    with pytest.raises(ValueError, match=r"Unknown interaction 'undo'; with rounds there are box, scribble"):
        session.rounds("undo")


def test_the_brush_is_a_disc_in_the_plane_of_a_2d_object(scan):
    image, _ = scan
    session = Session(image, parameters=QUICK[2])
    session.box(PLANE)
    stroke = Stroke([(15, 15, 10.2), (20, 15, 9.8)], label=1, radius=3)
    mask = session.scribble([stroke])
    ball = rasterise([Stroke([(15, 15, 10), (20, 15, 10)], label=1, radius=3)], image)
    ball = ball.inside(Box((0, 0, 0), image.shape))
    np.testing.assert_array_equal(session.scribbles[..., 10], ball[..., 10])
    assert ball[..., 9].any()  # elsewhere the brush has depth
    assert not session.scribbles[..., 9].any()
    assert mask[session.scribbles == 1].all()
    with pytest.raises(ValueError, match="outside the box"):
        session.scribble([Stroke([(15, 15, 11)], label=1, radius=3)])


# ---- erasing

DRAWN = [Stroke([(12, 12, 10), (18, 12, 10)], label=1, radius=1), Stroke([(26, 24, 10), (28, 26, 10)], label=2)]
WRONG = Stroke([(22, 10, 10), (27, 10, 10)], label=1, radius=1)
ERASER = Stroke([(22, 10, 10), (27, 10, 10)], label=0, radius=2)


@pytest.mark.parametrize("ranges", [BOX, PLANE])
def test_erasing_is_as_if_the_erased_had_never_been_drawn(scan, ranges):
    image, _ = scan
    erased, never, empty = (Session(image, parameters=QUICK[2 if ranges is PLANE else 3]) for _ in range(3))
    erased.box(ranges)
    erased.scribble(DRAWN)
    erased.scribble([WRONG])
    wrong = erased.probability()
    never.box(ranges, scribbles=DRAWN)
    np.testing.assert_array_equal(erased.scribble([ERASER]), never.mask)
    states_equal(erased.state, never.state)
    assert (erased.probability() != wrong).any()
    erased.undo()
    np.testing.assert_array_equal(erased.probability(), wrong)
    all_of_it = [Stroke([(5, 6, 10), (29, 29, 10)], label=0, radius=30)]
    empty.box(ranges)
    np.testing.assert_array_equal(erased.scribble(all_of_it), empty.mask)
    states_equal(erased.state, empty.state)


def test_an_eraser_takes_what_it_touches_and_strokes_have_their_order(scan):
    image, _ = scan
    session = Session(image, parameters=QUICK[3])
    session.box(BOX, refine="crf")
    session.scribble([WRONG], refine="crf")
    half = Stroke([(25, 10, 10), (29, 10, 10)], label=0, radius=2)
    before = session.scribbles
    gone = rasterise([Stroke(half.points, label=1, radius=2)], image).inside(Box((0, 0, 0), image.shape)) > 0
    session.scribble([half], refine="crf")
    assert 0 < np.count_nonzero(session.scribbles) < np.count_nonzero(before)
    np.testing.assert_array_equal(session.scribbles, np.where(gone, 0, before))
    again = Stroke([(26, 10, 10)], label=2)
    session.scribble([half, again], refine="crf")
    assert session.scribbles[26, 10, 10] == 2
    session.scribble([Stroke([(15, 20, 10)], label=1), Stroke([(15, 20, 10)], label=0), again], refine="crf")
    assert session.scribbles[15, 20, 10] == 0


def test_without_refinement_erasing_keeps_the_mask_and_forgets_what_was_learnt(scan):
    image, _ = scan
    session, never = (Session(image, parameters=QUICK[3]) for _ in range(2))
    session.box(BOX)
    session.scribble([*DRAWN, WRONG])
    mask = session.mask
    np.testing.assert_array_equal(session.scribble([ERASER], refine="none"), mask)
    never.box(BOX, scribbles=DRAWN)
    np.testing.assert_array_equal(session.refine(), never.mask)
    given_mask = np.zeros(image.shape, np.uint8)
    given_mask[10:20, 10:20, 5:12] = 1
    session.box(((4, 31), (5, 31), (1, 19)), "given", initial=np.where(session.mask, 0, given_mask), refine="none")
    kept = session.mask
    inside = Stroke([(8, 25, 10)], label=2)
    session.scribble([inside], refine="none")
    session.scribble([Stroke(inside.points, label=0)], refine="none")
    np.testing.assert_array_equal(session.mask, kept)
    assert session.state.objects["given"].given


def test_an_eraser_may_be_rough_but_must_meet_something(scan):
    image, _ = scan
    session = Session(image, parameters=QUICK[3])
    session.box(BOX, "a", refine="crf")
    with pytest.raises(ValueError, match="The eraser meets no scribble of 'a'"):
        session.scribble([ERASER], refine="crf")
    session.scribble([WRONG], refine="crf")
    state = session.state
    outside = Stroke([(1, 1, 1)], label=0)
    with pytest.raises(ValueError, match="The eraser meets no scribble of 'a'"):
        session.scribble([outside], refine="crf")
    with pytest.raises(ValueError, match="1 scribble voxels lie outside the box"):
        session.scribble([outside, Stroke([(1, 1, 2)], label=1)], refine="crf")
    with pytest.raises(ValueError, match="outside the image"):
        session.scribble([Stroke([(-9, 1, 1)], label=0)], refine="crf")
    assert session.state is state
    session.scribble([outside, *DRAWN], refine="crf")  # beside others it is no error
    session.scribble([Stroke([(1, 10, 10), (35, 10, 10)], label=0, radius=4)], refine="crf")
    assert (session.scribbles == 1).sum() < (state.objects["a"].scribbles == 1).sum() + 30
    assert not session.scribbles[22:28, 10, 10].any()


# ---- parts of an object in other planes


def in_a_plane(image):
    """A session with an object in a plane that was corrected there."""
    session = Session(image, parameters=QUICK[2])
    session.box(PLANE, "liver")
    session.scribble(DRAWN)
    return session


def test_an_object_is_carried_on_to_other_planes_by_its_adapted_classifier(scan):
    image, _ = scan
    session, fresh = in_a_plane(image), Session(image, parameters=QUICK[2])
    first, adapted = session.mask, session.state.objects["liver"].classifier
    mask = session.propagate(12)
    part = session.state.objects["liver @12"]
    assert session.state.current == "liver @12"
    assert session.names == ["liver"]
    assert session.parts == {"liver @12": "liver"}
    assert str(part.box) == "5:30,6:30,12"
    assert not part.scribbles.any()
    assert not mask[..., :12].any()
    assert not mask[..., 13:].any()
    for name, weights in adapted.items():
        np.testing.assert_array_equal(part.classifier[name], weights)
    fresh.box(((5, 30), (6, 30), 12))
    assert (session.probability() != fresh.probability()).any()  # it has learnt something in the first plane
    np.testing.assert_array_equal(session.labels, (mask | first).astype(np.uint8))
    session.propagate(13, "last")
    assert session.parts == {"liver @12": "liver", "last": "liver"}
    for name, weights in adapted.items():
        np.testing.assert_array_equal(session.state.objects["last"].classifier[name], weights)
    for _ in range(2):
        session.undo()
    np.testing.assert_array_equal(session.mask, first)


def test_a_part_is_an_object_that_can_be_corrected_resized_and_erased(scan):
    image, _ = scan
    session = in_a_plane(image)
    adapted = session.state.objects["liver"].classifier
    plain = session.propagate(11)
    dot = np.zeros(image.shape, np.uint8)
    dot[10:12, 20, 11], dot[24, 9, 11] = 2, 1
    assert session.scribble(dot)[24, 9, 11]
    begun = session.state.objects["liver @11"]
    assert any((weights != adapted[name]).any() for name, weights in begun.classifier.items())
    erased = session.scribble([Stroke([(10, 20, 11), (24, 9, 11)], label=0, radius=2)])
    np.testing.assert_array_equal(erased, plain)  # begins again with what came from the other plane
    session.resize(((5, 30), (6, 30), 11))
    np.testing.assert_array_equal(session.mask, plain)
    session.resize(((8, 25), (6, 30), 11))
    assert session.parts == {"liver @11": "liver"}
    for elsewhere in (BOX, PLANE, ((5, 30), 11, (2, 18))):
        with pytest.raises(ValueError, match="'liver @11' is 'liver' in the plane 11 along z; give it a box in that"):
            session.resize(elsewhere)


def test_parts_go_with_their_object_and_count_with_it(scan):
    image, _ = scan
    session = in_a_plane(image)
    session.propagate(11)
    eleven = session.mask
    session.box(((30, 36), (30, 36), (2, 9)), "cyst", initial=np.ones(image.shape, np.uint8), refine="none")
    session.select("liver @11")
    session.propagate(9)
    labels = session.labels
    assert session.names == ["liver", "cyst"]
    np.testing.assert_array_equal(labels[..., 11] == 1, eleven[..., 11])
    assert (labels[..., 9] == 1).any()
    assert (labels[30:36, 30:36, 2:9] == 2).all()
    report = session.report()["objects"]
    assert [(one["name"], one["part_of"]) for one in report] == [
        ("liver", None), ("liver @11", "liver"), ("cyst", None), ("liver @9", "liver"),
    ]  # fmt: skip
    assert ["diameter_mm" in one for one in report] == [True, False, True, False]
    volume = np.prod(image.spacing) / 1000
    assert report[0]["millilitres"] == pytest.approx((labels == 1).sum() * volume, rel=1e-4)
    assert report[2]["millilitres"] == pytest.approx(6 * 6 * 7 * volume, rel=1e-4)
    assert report[2]["diameter_mm"] == pytest.approx(np.hypot(5 * image.spacing[0], 5 * image.spacing[1]), abs=1e-3)
    session.rename("liver", "Leber")
    assert session.parts == {"liver @11": "Leber", "liver @9": "Leber"}
    np.testing.assert_array_equal(session.labels, labels)
    session.remove("liver @9")
    assert session.parts == {"liver @11": "Leber"}
    assert not session.labels[..., 9].any()
    session.remove("Leber")
    assert (session.names, session.parts, session.state.current) == (["cyst"], {}, "cyst")
    np.testing.assert_array_equal(session.labels, (labels == 2).astype(np.uint8))
    for _ in range(3):
        session.undo()
    assert session.parts == {"liver @11": "liver", "liver @9": "liver"}


def test_the_measures_of_an_object_in_planes_lie_in_its_planes():
    array = np.random.default_rng(0).random((30, 20, 10)).astype(np.float32)
    session = Session(Image(array, spacing=(1, 2, 5)), parameters=QUICK[2])
    mask = np.zeros(array.shape, np.uint8)
    mask[3:25, 8, 2:5] = 1
    session.box(((2, 28), 8, (0, 10)), initial=mask, refine="none")
    measures = session.state.measures(session.image.spacing, session.image.direction)
    assert measures["object 1"].diameter_mm == pytest.approx(np.hypot(21, 10), abs=1e-3)
    session.resize(((2, 28), (2, 18), (0, 10)), refine="none")
    measures = session.state.measures(session.image.spacing, session.image.direction)
    assert measures["object 1"].diameter_mm == 21  # axial slices, along z
    assert {end[1] for end in measures["object 1"].ends} == {8}
    measures = session.state.measures((1, 2, 5), np.eye(3)[:, [1, 2, 0]])  # y runs to the head
    assert measures["object 1"].diameter_mm == pytest.approx(np.hypot(21, 10), abs=1e-3)


def test_planes_that_cannot_be_reached_are_refused_and_change_nothing(scan, monkeypatch):
    image, _ = scan
    session = in_a_plane(image)
    session.propagate(11)
    state = session.state
    for sentence, call in {
        "There is no plane 20 along z; the image has 0 to 19": lambda: session.propagate(20),
        "There is no plane -1": lambda: session.propagate(-1),
        "There is no plane 1.5": lambda: session.propagate(1.5),
        "The object 'liver' is in the plane 10 already; select 'liver'": lambda: session.propagate(10),
        "is in the plane 11 already; select 'liver @11'": lambda: session.propagate(11),
        "named 'liver' already": lambda: session.propagate(12, "liver"),
        "Unknown refinement": lambda: session.propagate(12, refine="magic"),
    }.items():
        with pytest.raises(ValueError, match=sentence):
            call()
        assert session.state is state
    rounds = session.rounds("propagate", 12)
    next(rounds)
    rounds.close()
    assert session.state is state
    with pytest.raises(ValueError, match="no object yet"):
        Session(image).propagate(3)
    volume = Session(image, parameters=QUICK[3])
    volume.box(BOX, "a")
    with pytest.raises(ValueError, match=r"The object 'a' has a 3D box, .*; only a plane can be propagated"):
        volume.propagate(3)
    shipped = bifseg.session.workbench.load_model
    monkeypatch.setattr(bifseg.session.workbench, "load_model", lambda name, dimension: shipped("pnet"))
    with pytest.raises(ValueError, match="'liver @11' was begun with another model"):
        session.propagate(12)


def test_finished_objects_stay_locked_and_names_free_where_a_part_goes(scan):
    image, _ = scan
    session = in_a_plane(image)
    wall = np.zeros(image.shape, np.uint8)
    wall[5:18, 6:30, 12] = 1
    session.box(((5, 18), (6, 30), 12), "liver @12", initial=wall, refine="none")
    session.select("liver")
    mask = session.propagate(12, refine="none")
    assert session.state.current == "liver @12 (2)"
    assert not (mask & (wall > 0)).any()
    session.rename("liver", "x" * 64)
    session.propagate(13)
    assert session.state.current == "x" * 60 + " @13"


def test_a_brush_may_reach_over_the_border_of_the_box_and_marks_nothing_there(scan):
    image, _ = scan
    session = Session(image, parameters=QUICK[3])
    session.box(BOX)
    session.scribble([Stroke([(5, 6, 2)], label=2, radius=4)])
    marked = np.argwhere(session.scribbles)
    assert len(marked) > 20
    assert (marked >= (5, 6, 2)).all()
    assert not session.mask[session.scribbles == 2].any()
    with pytest.raises(ValueError, match="outside the box"):
        session.scribble([Stroke([(4, 6, 2)], label=2, radius=4)])


def test_an_object_goes_on_with_what_was_the_default_when_it_was_begun(scan, monkeypatch):
    image, _ = scan
    monkeypatch.setitem(DEFAULT, 3, "multiscale3d")
    session = Session(image)
    session.box(BOX)
    monkeypatch.setitem(DEFAULT, 3, "pcnet")
    later = Session(image, state=session.state)
    later.scribble([Stroke([(12, 12, 8), (18, 14, 8)], label=1)])
    segment = later.state.objects[later.state.current]
    assert segment.model.name == "multiscale3d"
    later.box(((6, 30), (6, 30), (2, 18)), "another")
    assert later.state.objects["another"].model.name == "pcnet"
