"""What a client of the nnInteractive protocol sends and cannot be is refused in a sentence, and changes nothing."""

import re

import httpx
import numpy as np
import pytest
from nnInteractive.inference.remote.serialization import pack_array
from nninteractive_clients import FLAT, UNCLOSED, status

pytestmark = UNCLOSED


def test_what_must_come_first_does(server, scan):
    with server.connect() as client:
        assert status(client.add_bbox_interaction, FLAT, True) == (400, "There is no image yet; set_image comes first.")
        assert status(client.set_target_buffer, np.zeros((3, 3, 3)))[0] == 400
        client.set_image(scan[0], {"spacing": scan[1]})
        assert status(client.add_bbox_interaction, FLAT, True)[1].startswith("There is no buffer yet")
        assert client.undo() is False
        client.set_target_buffer(np.zeros(scan[0].shape[1:], np.uint8))
        assert "The first prompt marks" in status(client.add_bbox_interaction, FLAT, False)[1]


@pytest.mark.parametrize(
    ("image", "properties", "code", "message"),
    [
        (np.full((1, 8, 8, 8), np.nan), {}, 400, "512 voxels that are NaN"),
        (np.ones((1, 8, 8, 8)), {}, 400, "one value|constant|same"),
        (np.ones((2, 8, 8, 8)), {}, 400, "2 channels"),
        (np.ones((3, 8, 8, 8)), {}, 400, "3 channels of float64"),
        (np.arange(512).reshape(1, 8, 8, 8), {"spacing": [1, 1]}, 400, "X-Meta.image_properties.spacing"),
        (np.arange(512).reshape(1, 8, 8, 8), {"spacing": [1, 1, -1]}, 400, "greater than 0"),
        (np.arange(512).reshape(1, 8, 8, 8), {"spacing": [1, 1, float("nan")]}, 400, "X-Meta"),
    ],
)
def test_an_image_that_cannot_be_is_refused(server, image, properties, code, message):
    with server.connect() as client:
        got, detail = status(client.set_image, image, properties)
        assert got == code
        assert re.search(message, detail)


def test_frames_and_words_that_cannot_be_are_refused(server, client, scan):
    mask = pack_array(np.ones((2, 2, 2), np.uint8))
    header = {"Content-Type": "application/octet-stream"}

    def post(path, content, meta="{}"):
        reply = httpx.post(
            f"{server.url}{path}",
            content=content,
            headers={**client._http.headers, **header, "X-Meta": meta},
            timeout=60,
        )
        return reply.status_code, reply.json()["detail"]

    crop = '{"interaction_bbox": [[0, 2], [0, 2], [0, 2]]}'
    assert post("/set_image", mask.replace(b"NNIA\x01", b"NNIA\x02", 1)) == (
        400, "The array has the version 2 of NNIA; this server reads version 1.",
    )  # fmt: skip
    assert post("/set_image", mask)[1].startswith("The image has the shape (2, 2, 2); it needs four axes")
    assert post("/set_image", b"")[0] == 400
    assert post("/set_image", mask[:-1])[0] == 400
    assert post("/add_scribble_interaction", mask)[1].endswith("does not fit the image (64, 128, 128).")
    assert "does not fit interaction_bbox" in post("/add_scribble_interaction", mask, crop.replace("2]", "3]"))[1]
    assert post("/add_scribble_interaction", mask, "{nonsense")[1].startswith("X-Meta: Invalid JSON")
    assert post("/add_scribble_interaction", mask, '{"include_interaction": 7}')[1].startswith("X-Meta.include_inter")
    assert post("/add_lasso_interaction", mask, crop.replace("[[0, 2]", "[[90, 92]"))[1].startswith(
        "The prompt marks no"
    )
    assert post("/add_scribble_interaction", pack_array(np.zeros((2, 2, 2), np.uint8)), crop)[0] == 400
    client.target_buffer = None  # else the client itself stumbles
    assert status(client.add_initial_seg_interaction, np.ones((2, 2, 2), np.uint8))[0] == 400
    huge = bytearray(pack_array(np.zeros((1, 100, 100, 1), np.uint8)))
    huge[21:29] = huge[29:37] = (100_000).to_bytes(8, "little")
    assert post("/set_image", bytes(huge))[0] == 413
    assert post("/add_scribble_interaction", bytes(huge))[0] == 413
    client.target_buffer = np.zeros(scan[2].shape, np.uint8)
    assert not server.agree(client).any()


def test_prompts_that_cannot_be_are_refused_and_change_nothing(server, client):
    client.add_bbox_interaction(FLAT, True)
    mask = server.agree(client)
    assert status(client.add_bbox_interaction, [[70, 80], [0, 9], [0, 9]], True)[0] == 400
    assert status(client.add_bbox_interaction, [[9, 5], [0, 9], [0, 9]], True)[0] == 400
    assert status(client.add_bbox_interaction, [[0, 9], [0, 9]], True)[0] == 422
    assert status(client.add_point_interaction, [64, 0, 0], True)[0] == 400
    assert status(client.add_point_interaction, [float("nan"), 0, 0], True)[0] == 422
    assert status(client.add_point_interaction, [10**30, 0, 0], True)[0] == 422
    buffer = client.target_buffer
    assert "of shape" not in status(client.set_target_buffer, np.zeros((64, 128, 128), np.float32))[1]
    assert "has the shape (3, 3, 3)" in status(client.set_target_buffer, np.zeros((3, 3, 3), np.uint8))[1]
    client.target_buffer = buffer
    np.testing.assert_array_equal(server.agree(client), mask)
    client.add_point_interaction([2, 2, 2], False)  # outside the object's box: background anyway
    np.testing.assert_array_equal(server.agree(client), mask)
    assert client.undo()
    np.testing.assert_array_equal(server.agree(client), mask)
