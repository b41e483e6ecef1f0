import tracemalloc

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import bifseg
from bifseg import Box, Image, Parameters, Session, Stroke
from bifseg.interaction import merge
from bifseg.painting import rasterise
from bifseg.parameters import preset
from bifseg.session import BIFSeg
from bifseg.synthetic.phantom import phantom

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


def test_scribbles_come_as_labels_masks_strokes_points_or_files(scan, tmp_path):
    image, _ = scan
    labels = np.zeros(image.shape, np.uint8)
    labels[10:15, 12, 10], labels[20, 20, 10] = 1, 2
    strokes = [Stroke([(10, 12, 10), (14, 12, 10)], label=1), Stroke([(20, 20, 10)], label=2)]
    bifseg.write_image(tmp_path / "labels.nii.gz", labels, image)
    results = []
    for way in ({"labels": labels}, {"foreground": labels == 1, "background": labels == 2}, {"labels": strokes},
                {"labels": tmp_path / "labels.nii.gz"}):  # fmt: skip
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


def test_the_paper_preset_models_and_methods_are_selectable(scan):
    image, _ = scan
    session = Session(image, model="multiscale2d", parameters="paper")
    session.box(PLANE)
    report = session.report()["objects"][0]
    assert report["parameters"] == preset("paper", 2).as_dict()
    assert len(report["rounds"]) == 5
    with pytest.raises(ValueError, match=r"is for 2D boxes; .* is 3D"):
        session.box(BOX)
    method = BIFSeg(refine="crf")
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
        "neighbours is 5": lambda: Parameters(neighbours=5),
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
