import dataclasses

import numpy as np
import pytest

from bifseg import Box
from bifseg.prompts.interaction import Patch
from bifseg.server.api.bodies import drawing
from bifseg.session.interactions import INTERACTIONS, interaction_of
from bifseg.session.state import Prior

SHAPE = (9, 9, 9)
ARRAY = {"blob": "aa", "box": "1:4,2:5,3"}
TOLD = {
    "box": {
        "box": "1:4,2:5,3",
        "name": "a",
        "refine": "crf",
        "initial": ARRAY,
        "scribbles": {"labels": ARRAY},
        "prior": Prior("spleen", 2, "0" * 64, {}),
    },
    "scribble": {"scribbles": {"strokes": [{"points": [[2, 3, 3]], "label": 2, "radius": 1.0}]}, "refine": "none"},
    "resize": {
        "box": "1:4,2:5,3",
        "scribbles": {"labels": ARRAY},
        "refine": "none",
        "prior": Prior("spleen", 2, "0" * 64, {}),
    },
    "refine": {},
    "propagate": {"to": 4, "name": "b", "refine": "none"},
    "interpolate": {"between": [2, 7]},
    "tidy": {"fill_holes": True, "drop_islands": 0.2},
    "select": {"name": "a"},
    "remove": {"name": "a"},
    "rename": {"name": "a", "to": "b"},
}
BODIES = {
    "box": drawing.Begin, "scribble": drawing.Correct, "resize": drawing.Resize, "propagate": drawing.Propagate,
    "interpolate": drawing.Interpolate, "tidy": drawing.Tidy,
    "select": drawing.Named, "remove": drawing.Named, "rename": drawing.Rename,
}  # fmt: skip


def arrays(about):
    box = Box.parse(about["box"], SHAPE)
    return Patch(box, np.ones(box.shape, np.uint8))


@pytest.mark.parametrize("kind", INTERACTIONS)
def test_all_that_json_tells_arrives(kind):
    interaction = interaction_of({"kind": kind, **TOLD[kind]}, arrays, SHAPE)
    assert type(interaction) is INTERACTIONS[kind]
    fields = {field.name: field.default for field in dataclasses.fields(interaction) if field.name != "_"}
    given = {name for name, default in fields.items() if getattr(interaction, name) is not default}
    assert given == set(fields) - {"foreground", "background"}


@pytest.mark.parametrize("kind", BODIES)
def test_the_api_says_what_an_interaction_takes(kind):
    named = {"ranges": "box", "labels": "scribbles", "prior": "task"}  # of which the server knows what it learnt
    fields = {named.get(field.name, field.name) for field in dataclasses.fields(INTERACTIONS[kind])}
    fields -= {"task"} if kind == "resize" else set()  # nor is it said for another box: the object has one, or none
    assert set(BODIES[kind].model_fields) == fields - {"_", "foreground", "background"}


@pytest.mark.parametrize(
    ("told", "message"),
    [
        ({"kind": "fly"}, "Unknown interaction 'fly'; known are box, scribble"),
        ({"kind": "box", "box": 3}, "needs 'box', a text; it has 3"),
        ({"kind": "rename", "name": "a"}, "needs 'to'"),
        ({"kind": "tidy", "fill_holes": "yes"}, "fill_holes is 'yes'; it must be true, false or a share"),
        ({"kind": "scribble", "scribbles": {}}, "give one of the two"),
        ({"kind": "scribble", "scribbles": {"strokes": []}}, "no strokes"),
        ({"kind": "scribble", "scribbles": {"strokes": [{}]}}, "A stroke needs points"),
    ],
)
def test_other_forms_are_refused(told, message):
    with pytest.raises(ValueError, match=message):
        interaction_of(told, arrays, SHAPE)
