"""How users and methods work together, with methods that do something simple and keep a record of what they saw."""

import json

import numpy as np
import pytest
from labelled_sets import write_set

from bifseg.evaluation.challenge import challenge_box
from bifseg.evaluation.effort import Effort
from bifseg.evaluation.metrics import iou
from bifseg.evaluation.protocols.challenge import challenge
from bifseg.evaluation.protocols.noc import noc
from bifseg.evaluation.protocols.rounds import rounds
from bifseg.evaluation.simulated_users import user_of
from bifseg.evaluation.targets import find_targets


class Painter:
    """Segments half of its box at first, later what is scribbled and all that is as bright; writes down all it sees."""

    def __init__(self, begins_with="box"):
        self.begins_with, self.seen = begins_with, []

    def start(self, image, box):
        self.seen.append(("start", image, box))
        self.image, self.box = image, box
        self.mask = np.zeros(image.shape, bool)
        if self.begins_with == "box":
            middle = (box.start[0] + box.stop[0]) // 2
            self.mask[box.start[0] : middle, box.slices[1], box.slices[2]] = True
        return self.mask

    def refine(self, scribbles):
        self.seen.append(("refine", scribbles.copy()))
        for label in (1, 2):
            if (scribbles == label).any():
                value = self.image.array[scribbles == label].mean()
                similar = np.abs(self.image.array - value) < 35
                inside = np.zeros_like(similar)
                inside[self.box.slices] = similar[self.box.slices]
                self.mask = self.mask | inside if label == 1 else self.mask & ~inside
        return self.mask


class Perfect(Painter):
    def __init__(self, truth):
        super().__init__()
        self.truth = truth

    def start(self, image, box):
        super().start(image, box)
        return self.truth


@pytest.fixture(scope="module")
def objects(tmp_path_factory):
    dataset = write_set(tmp_path_factory.mktemp("data") / "set", ("a", "b"), scribbled=("b",))
    flat = find_targets([dataset], 2, classes=["box"]).targets
    [human] = find_targets([dataset], 2, human=True).targets
    return {2: flat[0], 3: find_targets([dataset], 3).targets[0], "human": human}


@pytest.mark.parametrize("dimension", [2, 3])
def test_a_box_comes_first_then_strokes_on_the_methods_own_mask(objects, dimension):
    target, method = objects[dimension], Painter()
    steps = list(rounds(method, target, user_of("careful"), 0, 3))
    assert [step.index for step in steps] == [0, 1, 2, 3]
    kind, image, box = method.seen[0]
    assert (kind, box.dimension) == ("start", dimension)
    assert image is target.image
    assert target.truth[box.slices].sum() == target.truth.sum()
    assert steps[0].effort == Effort(box=dimension)
    assert steps[1].effort.strokes >= 2  # a missed half and a leak
    _, first = method.seen[1]
    assert target.truth[first == 1].all()
    assert not target.truth[first == 2].any()
    assert iou(steps[-1].mask, target.truth) > 0.9 > iou(steps[0].mask, target.truth)
    other = Painter()
    list(rounds(other, target, user_of("careful"), 1, 0))
    assert other.seen[0][2] != box


@pytest.mark.parametrize("dimension", [2, 3])
def test_a_method_that_begins_with_scribbles_sees_no_box(objects, dimension):
    target, method = objects[dimension], Painter("scribbles")
    steps = list(rounds(method, target, user_of("careful"), 0, 2))
    assert method.seen[0][2] == target.view
    assert set(np.unique(method.seen[1][1])) == {0, 1, 2}
    assert steps[0].effort.strokes == (2 if dimension == 2 else 6)
    assert not steps[0].effort.box
    assert steps[0].mask.any()


def test_who_has_nothing_to_correct_repeats_the_last_mask_at_no_cost(objects):
    target = objects[2]
    method = Perfect(target.truth)
    steps = list(rounds(method, target, user_of("careful"), 0, 3))
    assert len(method.seen) == 1
    assert all(step.mask is steps[0].mask for step in steps)
    assert {(step.seconds, step.effort.seconds) for step in steps[1:]} == {(0.0, 0.0)}


def test_the_first_strokes_are_drawn_on_the_networks_mask_where_a_method_shows_it(objects):
    target = objects[2]

    class Shows(Painter):
        initial = np.zeros(target.image.shape, bool)

    method, plain = Shows(), Painter()
    list(rounds(method, target, user_of("careful"), 0, 1))
    list(rounds(plain, target, user_of("careful"), 0, 1))
    assert (method.seen[1][1] == 2).sum() == 0  # an empty mask only misses
    assert (plain.seen[1][1] == 2).any()


def test_peoples_scribbles_come_in_one_round(objects):
    target, method = objects["human"], Painter()
    steps = list(rounds(method, target, user_of("human:20"), 0, 3))
    assert [bool(step.effort.strokes) for step in steps] == [False, True, False, False]
    drawn = method.seen[1][1]
    assert np.count_nonzero(drawn == 1) == 16
    assert not drawn[tuple(slice(0, a) for a in steps[0].box.start)].any()
    method = Painter("scribbles")
    steps = list(rounds(method, target, user_of("human"), 0, 2))
    assert [bool(step.effort.strokes) for step in steps] == [True, False, False]
    assert np.count_nonzero(method.seen[1][1] == 2) == 72
    with pytest.raises(ValueError, match="Nobody scribbled on a"):
        list(rounds(Painter(), objects[2], user_of("human"), 0, 1))


def test_clicks_are_counted_until_the_iou_is_reached(objects):
    target, method = objects[2], Painter()
    steps = list(noc(method, target, user_of("careful"), 0, 20))
    assert len(steps) == 19  # a box is two clicks
    assert [step.effort.strokes for step in steps][:2] == [2, 1]
    assert steps[0].effort.seconds == Effort(box=2).seconds
    for kind, scribbles in method.seen[1:]:
        assert (kind, np.count_nonzero(scribbles)) == ("refine", 1)
        assert scribbles[:, :, target.plane[1]].any()
    reached = [iou(step.mask, target.truth) >= 0.9 for step in steps]
    assert reached[-1]
    assert sum(step.effort.strokes for step in steps) == 2 + reached.index(True)
    first = Painter("scribbles")
    steps = list(noc(first, target, user_of("careful"), 0, 20))
    assert len(steps) == 21
    assert steps[0].effort == Effort()
    assert (first.seen[1][1] == 1).sum() == 1


def test_the_challenge_gives_its_box_and_five_clicks(objects):
    target, method = objects[3], Painter()
    steps = list(challenge(method, target, user_of("careful"), 0, 5))
    assert len(steps) == 6
    assert method.seen[0][2] == challenge_box(target.truth, np.random.RandomState(2025))
    assert all(np.count_nonzero(seen[1]) == 1 for seen in method.seen if seen[0] == "refine")


def test_a_click_outside_the_box_widens_it_and_keeps_all_clicks(objects, monkeypatch):
    target, method = objects[3], Painter()
    clicks = iter([((15, 15, 2), 1), ((2, 15, 2), 2), ((16, 16, 3), 1), None, None])
    monkeypatch.setattr("bifseg.evaluation.challenge.challenge_click", lambda mask, truth: next(clicks))
    steps = list(challenge(method, target, user_of("careful"), 0, 5))
    assert [seen[0] for seen in method.seen] == ["start", "refine", "start", "refine", "refine"]
    wide = method.seen[2][2]
    assert wide.start[0] <= 2 < method.seen[0][2].start[0]
    assert wide.stop == method.seen[0][2].stop
    assert np.argwhere(method.seen[3][1]).tolist() == [[2, 15, 2], [15, 15, 2]]
    assert np.count_nonzero(method.seen[4][1]) == 1
    assert steps[2].box == steps[5].box == wide
    assert [step.effort.strokes for step in steps] == [0, 1, 1, 1, 0, 0]


def test_what_a_method_is_given_never_holds_the_truth(objects):
    """Everything that reaches a method, byte by byte: neither the truth nor the label map is in it."""
    for protocol, dimension, count in ((rounds, 2, 3), (rounds, 3, 3), (challenge, 3, 5), (noc, 2, 6)):
        target, method = objects[dimension], Painter()
        list(protocol(method, target, user_of("careful"), 0, count))
        for seen in method.seen:
            arrays = [seen[1].array, seen[1].direction] if seen[0] == "start" else [seen[1]]
            for array in arrays:
                if array.shape == target.truth.shape:
                    given = np.asarray(array) > 0 if seen[0] == "refine" else np.asarray(array)
                    assert not np.array_equal(given, target.truth)
                    assert not np.array_equal(given, target.case.labels)
            if seen[0] == "refine":  # strokes cover little of the object
                assert np.count_nonzero(target.truth & (seen[1] == 1)) < 0.5 * target.truth.sum()
        assert json.dumps(sorted(vars(seen[1]) if seen[0] == "start" else [])) in (
            "[]",
            json.dumps(sorted(vars(target.image))),
        )
