"""An object is carried on to other planes; its parts go with it and count with it."""

import numpy as np
import pytest
from phantom_sessions import BOX, DRAWN, PLANE, QUICK

import bifseg
from bifseg import Image, Session, Stroke

pytestmark = pytest.mark.usefixtures("coarse")


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
    shipped = bifseg.session.crops.load_model
    monkeypatch.setattr(bifseg.session.crops, "load_model", lambda name, dimension: shipped("pnet"))
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
