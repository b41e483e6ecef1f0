"""What a request of MONAI Label's protocol means: its region, its scribbles, and what was never said."""

import json

import numpy as np
import pytest

from bifseg.prompts.interaction import Box
from bifseg.server.monailabel.painted import HIDDEN, InferenceRequest, cut, interactions
from bifseg.session.state import State

# ---- requests that no client of its sends


@pytest.mark.parametrize(
    "params",
    [
        "[[", "[" * 100_000, "null", "[1]", '"x"', '{"roi": 5}', '{"roi": {"a": 1}}', '{"roi": [[1], 2, 3, 4, 5, 6]}',
        '{"roi": [1, 2, 3, 4, 5, NaN]}', '{"roi": [1, 2, 3, 4, 5, Infinity]}', '{"roi": [1, 2, 3, 4, 5, 1e999]}',
        '{"roi": [1, 2, 3, 4, 5, %s]}' % ("9" * 400), '{"label_info": 5}', '{"label_info": [5]}',
        '{"label_info": [{"name": "foreground_scribbles"}]}', '{"label_info": [{"name": "liver", "id": 0}]}',
        '{"label_info": [{"name": "foreground_scribbles", "id": 1e999}]}', '{"label_info": [{"name": 5, "id": 1}]}',
        '{"selected_label_name": ["a"]}', '{"selected_label_name": "%s"}' % ("a" * 500),
        '{"selected_label_name": "\\ud800"}',
        '{"selected_label_name": "a\\u0000b"}', '{"result_extension": [".nrrd"]}',
    ],
)  # fmt: skip
def test_params_of_another_form_are_refused(params):
    with pytest.raises(ValueError, match=r"^(params|The roi)"):
        InferenceRequest.of(params).region((60, 60, 20), (1, 1, 1))


# ---- what a request means


def regions(*roi):
    return str(InferenceRequest(roi=roi).region((60, 60, 20), (1, 1, 1)))


def test_a_region_of_interest_is_sorted_and_clipped():
    assert regions(40, 10, 5, 50, 0, 8) == "10:40,5:50,0:8"
    assert regions(10.4, 39.2, 5, 50, 3, 3) == "10:40,5:50,3"
    assert regions(-5, 500, 500, -5, -5, 500) == "0:60,0:60,0:20"
    assert regions() == "None"
    flat = InferenceRequest(roi=(5, 40, 5, 40, -3, 9)).region((60, 60, 1), (1, 1, 1))
    assert str(flat) == "5:40,5:40,0"


def test_scribbles_are_found_by_their_names_in_any_order():
    labels = np.array([0, 1, 2, 3, 4]).reshape(5, 1, 1)
    info = [{"name": "foreground_scribbles", "id": 2}, {"name": "background_scribbles", "id": 3}]
    info += [{"name": "liver", "id": 1}, {"name": "cyst", "id": 4}]
    asked = InferenceRequest.of(json.dumps({"label_info": info, "client_id": None}))
    assert asked.marks(labels).ravel().tolist() == [0, 0, 1, 2, HIDDEN]
    assert not InferenceRequest(label_info=info[2:]).marks(labels).any()  # nobody painted yet


def test_what_is_hidden_was_never_said():
    marks = np.zeros((60, 60, 20), np.uint8)
    marks[20:40, 20, 10], marks[30, 30, 10] = 1, HIDDEN
    (begin,) = interactions(State(), "liver", Box((10, 10, 5), (50, 50, 15)), marks, (1, 1, 1))
    labels = begin.pop("scribbles")
    assert begin == {"kind": "box", "box": "10:50,10:50,5:15", "name": "liver"}
    assert (str(labels.box), labels.array.sum()) == ("20:40,20:22,10:12", 20)


def test_scribbles_outside_the_region_say_nothing():
    marks = np.zeros((60, 60, 20), np.uint8)
    marks[5:8, 5, 5] = 1
    (begin,) = interactions(State(), "liver", Box((10, 10, 5), (50, 50, 15)), marks, (1, 1, 1))
    assert "scribbles" not in begin


@pytest.mark.parametrize(
    ("voxels", "expected"),
    [
        ([(3, 4, 5), (5, 6, 5)], "3:6,4:7,5:7"),
        ([(9, 9, 6)], "8:10,8:10,5:7"),
        ([], "0:2,0:2,0:2"),
    ],
)
def test_what_is_cut_out_is_a_box(voxels, expected):
    array = np.zeros((10, 10, 7), np.uint8)
    array[tuple(np.array(voxels, int).reshape(-1, 3).T)] = 2
    labels = cut(array)
    assert Box.parse(expected) == labels.box
    assert labels.array.shape == labels.box.shape
    back = np.zeros_like(array)
    back[labels.box.slices] = labels.array
    np.testing.assert_array_equal(back, array)
