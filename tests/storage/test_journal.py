"""The fold of a journal against an obvious model: a list of states, and a position that undo and redo move."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bifseg.storage.journal import EMPTY, History, blobs_of


def state(k: int) -> dict:
    return {"objects": {f"o{k}": {"segment": f"{k:064x}", "box": "0:4,0:4,0:4", "voxels": k}}, "current": f"o{k}"}


class Obvious:
    """Two stacks, as every editor has them."""

    def __init__(self) -> None:
        self.done, self.undone, self.now = [], [], EMPTY

    def do(self, kind: str, new: dict | None) -> bool:
        """Whether it could be done."""
        if kind == "undo":
            if not self.done:
                return False
            self.undone.append(self.now)
            self.now = self.done.pop()
        elif kind == "redo":
            if not self.undone:
                return False
            self.done.append(self.now)
            self.now = self.undone.pop()
        elif new is not None:
            self.done.append(self.now)
            self.now, self.undone = new, []
        return True


@given(st.lists(st.sampled_from(["box", "scribble", "submit", "undo", "redo"]), max_size=40), st.integers(0, 40))
def test_a_history_is_what_two_stacks_make_of_the_journal(kinds, cut):
    obvious, entries = Obvious(), []
    for kind in kinds:
        number = len(entries) + 1
        new = state(number) if kind in ("box", "scribble") else None
        if not obvious.do(kind, new):
            with pytest.raises(ValueError, match=f"entry {number}, {kind}, has nowhere to go"):
                History().after([*entries, (number, kind, new)])
            continue
        entries.append((number, kind, new))
        history = History().after(entries)
        assert history.state == obvious.now
        assert history.can_undo == bool(obvious.done)
        assert history.can_redo == bool(obvious.undone)
        assert history.number == number
    in_two_parts = History().after(entries[:cut]).after(entries[cut:])
    assert in_two_parts == History().after(entries)
    assert in_two_parts.summary()["current"] == obvious.now["current"]


def test_the_summary_is_ready_for_json_and_names_no_blob():
    one, two = state(1)["objects"]["o1"], state(2 << 200)["objects"][f"o{2 << 200}"]
    both = {"objects": {"o1": one, "o1 @7": {**two, "part_of": "o1"}}, "current": "o1 @7"}
    history = History().after([(1, "box", state(1)), (2, "propagate", both), (3, "submit", None)])
    told = history.summary()
    assert told == {
        "number": 3,
        "objects": [
            {"name": "o1", "box": "0:4,0:4,0:4", "voxels": 1, "version": "0" * 16, "part_of": None,
             "prior": None, "tidy": None},
            {"name": "o1 @7", "box": "0:4,0:4,0:4", "voxels": 2 << 200, "version": f"{2 << 200:064x}"[:16],
             "part_of": "o1", "prior": None, "tidy": None},
        ],
        "current": "o1 @7",
        "can_undo": True,
        "can_redo": False,
        "undoes": 2,
    }  # fmt: skip
    assert told["objects"][0]["version"] != told["objects"][1]["version"]
    assert one["segment"] not in str(told)
    assert history.after([(4, "undo", None)]).summary()["objects"] == told["objects"][:1]


def test_a_history_is_never_changed():
    before = History().after([(1, "box", state(1)), (2, "box", state(2)), (3, "undo", None)])
    states = before.states
    after = before.after([(4, "box", state(4))])
    assert before.states == states == (EMPTY, state(1), state(2))
    assert after.states == (EMPTY, state(1), state(4))


@pytest.mark.parametrize(
    ("request_", "blobs"),
    [
        ({"box": "0:2,0:2,0:2"}, []),
        ({"initial": {"blob": "a", "box": "b"}}, ["a"]),
        ({"scribbles": {"labels": {"blob": "a", "box": "b"}}}, ["a"]),
        ({"initial": {"blob": "a"}, "scribbles": {"labels": {"blob": "b"}}}, ["a", "b"]),
        ({"labels": {"blob": "a"}, "title": "final"}, ["a"]),
        ({"scribbles": {"strokes": [{"points": [[0, 0, 0]]}]}, "initial": None}, []),
    ],
)
def test_the_arrays_that_an_interaction_refers_to(request_, blobs):
    assert blobs_of(request_) == blobs
