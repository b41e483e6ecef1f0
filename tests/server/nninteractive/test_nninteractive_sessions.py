"""The unmodified nnInteractive client against a real server, whose process is killed and started again on the way.

After every call the client's buffer is compared with the mask of its session in the store, voxel by voxel.
"""

import json

import httpx
import numpy as np
import pytest
from nnInteractive.inference.remote.serialization import pack_array
from nninteractive_clients import FLAT, UNCLOSED, begin, dice

from bifseg.imaging.intensity import unit_range
from bifseg.training.synthetic.phantom import phantom

pytestmark = UNCLOSED


WHOLE = [[15, 51], [60, 128], [10, 90]]  # its box, (z, y, x) as clients send images


def test_a_session_in_a_volume(server, client, scan):
    """Two flat boxes become a 3D box; scribbles for and against; points; and all of it undone."""
    organ, masks = scan[2], []
    assert client.original_image_shape == scan[0].shape
    changed = client.add_bbox_interaction(FLAT, True)
    assert changed == FLAT
    assert dice(server.agree(client)[32], organ[32]) > 0.7
    masks.append(server.agree(client))
    (segment,) = server.state(client).objects.values()
    assert segment.box.dimension == 2

    client.add_bbox_interaction([[15, 51], [60, 128], [40, 41]], True)
    masks.append(server.agree(client))
    (segment,) = server.state(client).objects.values()
    assert str(segment.box) == "15:51,60:128,14:80"

    wrong = np.argwhere(masks[-1] & ~organ)
    crop = [[int(a), int(a) + 3] for a in wrong[len(wrong) // 2] - 1]
    client.add_scribble_interaction(np.ones((3, 3, 3), np.uint8), False, interaction_bbox=crop)
    masks.append(server.agree(client))
    assert not masks[-1][tuple(slice(*pair) for pair in crop)].any()

    inside = np.argwhere(organ).mean(0).astype(int)
    whole = np.zeros(organ.shape, np.uint8)
    whole[inside[0], inside[1], inside[2] - 8 : inside[2] + 8] = 1
    client.add_scribble_interaction(whole & organ, True)
    masks.append(server.agree(client))
    assert masks[-1][(whole & organ) > 0].all()

    client.add_point_interaction(inside, True)
    masks.append(server.agree(client))
    assert masks[-1][tuple(inside)]
    client.add_point_interaction([20, 62, 15], False)
    masks.append(server.agree(client))
    assert not masks[-1][20, 62, 15]

    for before in [*masks[-2::-1], np.zeros_like(organ)]:
        assert client.undo()
        np.testing.assert_array_equal(server.agree(client), before)
    assert client.undo() is False
    assert client._last_paste_bbox is None
    client.add_bbox_interaction(FLAT, True)
    np.testing.assert_array_equal(server.agree(client), masks[0])


@pytest.mark.parametrize("dtype", [bool, np.int32])
def test_a_box_in_one_go_into_a_buffer_of_any_type(server, scan, dtype):
    with server.connect() as client:
        begin(client, scan, dtype)
        assert client.add_bbox_interaction(WHOLE, True) == WHOLE
        assert dice(server.agree(client), scan[2]) > 0.5
        client.reset_interactions()
        assert not server.agree(client).any()


def test_a_first_scribble_point_and_lasso_make_their_own_boxes(server, client, scan):
    organ = scan[2]
    scribble = np.zeros(organ.shape, np.uint8)
    scribble[30, 85:105, 45] = scribble[30, 95, 30:60] = 1
    client.add_scribble_interaction(scribble, True)
    assert server.agree(client)[scribble > 0].all()
    assert str(next(iter(server.state(client).objects.values())).box) == "30,77:113,22:68"
    client.add_scribble_interaction(np.roll(scribble, 4, axis=0), True)  # on another plane: a volume
    assert server.agree(client)[34, 95, 45]
    assert next(iter(server.state(client).objects.values())).box.dimension == 3
    first = server.facts(client)["session"]

    client.reset_interactions()
    centre = [int(at) for at in np.argwhere(organ).mean(0)]
    client.add_point_interaction(centre, True)
    assert server.agree(client)[tuple(centre)]
    assert server.facts(client)["session"] != first

    client.reset_interactions()
    lasso = np.zeros(organ.shape, np.uint8)
    lasso[30] = organ[30]
    client.add_lasso_interaction(lasso, True)
    assert dice(server.agree(client)[30], organ[30]) > 0.8
    client.add_lasso_interaction(np.roll(lasso, 40, axis=2), False)
    assert not (server.agree(client)[30] & (np.roll(lasso, 40, axis=2)[30] > 0)).any()


def test_prompts_wait_for_a_prediction_where_the_client_says_so(server, client):
    client.add_bbox_interaction(FLAT, True, run_prediction=False)
    assert client._last_paste_bbox is None
    assert not client.target_buffer.any()
    client.add_point_interaction([32, 95, 45], True, run_prediction=False)
    assert not client.target_buffer.any()
    assert client._predict() == FLAT
    assert server.agree(client)[32, 95, 45]
    entries = server.store.entries(server.facts(client)["session"])
    assert [entry.kind for entry in entries] == ["box", "scribble", "refine"]
    assert [len(entry.summary["rounds"]) > 0 for entry in entries] == [False, False, True]
    client.reset_interactions()
    assert client._predict() is None


def test_a_given_mask_begins_a_session(server, client, scan):
    given = np.zeros(scan[2].shape, np.uint8)
    given[28:36] = scan[2][28:36]
    assert client.add_initial_seg_interaction(given) is None
    np.testing.assert_array_equal(server.agree(client), given > 0)
    client.add_point_interaction([40, 95, 45], True)
    assert server.agree(client)[40, 95, 45]
    client.undo()
    np.testing.assert_array_equal(server.agree(client), given > 0)
    client.add_initial_seg_interaction(given, run_prediction=True)
    assert dice(server.agree(client), given > 0) > 0.7
    client.add_initial_seg_interaction(np.zeros_like(given))
    assert not server.agree(client).any()


def test_a_mask_brings_its_session_back_with_scribbles_classifier_and_undo(server, scan):
    with server.connect() as client:
        begin(client, scan)
        client.add_bbox_interaction(FLAT, True)
        first = server.agree(client)
        client.add_point_interaction([32, 95, 45], True)
        client.add_point_interaction([32, 64, 16], False)
        last, session, segment = (
            server.agree(client), server.facts(client)["session"], next(iter(server.state(client).objects.values())),
        )  # fmt: skip
        with server.connect("bob") as other:  # to whom it does not belong
            begin(other, scan)
            other.add_initial_seg_interaction(last.astype(np.uint8))
            server.agree(other)
            assert server.facts(other)["session"] != session
        with server.connect() as second:  # while the first client works on it
            begin(second, scan)
            second.add_initial_seg_interaction(last.astype(np.uint8))
            assert server.facts(second)["session"] != session
            server.store.delete(server.facts(second)["session"])
    with server.connect() as client:
        begin(client, scan)
        client.add_initial_seg_interaction(last.astype(np.uint8))
        assert server.facts(client)["session"] == session
        again = next(iter(server.state(client).objects.values()))
        np.testing.assert_array_equal(again.scribbles, segment.scribbles)
        for name, weights in segment.classifier.items():
            np.testing.assert_array_equal(again.classifier[name], weights)
        assert client.undo()
        assert client.undo()
        np.testing.assert_array_equal(server.agree(client), first)


def test_a_killed_server_goes_on_with_the_same_client_where_it_was(server, client):
    """Killed in the middle of a prompt: what was answered is there, undo included."""
    client.add_bbox_interaction(FLAT, True)
    first = server.agree(client)
    client.add_point_interaction([32, 95, 45], True)
    second = server.agree(client)
    assert second[32, 95, 45]

    entries = len(server.store.entries(server.facts(client)["session"]))
    digest = pack_array(np.ones((1, 3, 3), np.uint8))
    meta = {"include_interaction": False, "interaction_bbox": [[32, 33], [63, 66], [15, 18]]}
    headers = {**client._http.headers, "X-Meta": json.dumps(meta)}
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(
            f"{server.url}/add_scribble_interaction",
            content=digest,
            headers=headers,
            timeout=httpx.Timeout(5, read=0.005),
        )
    server.kill()
    assert not client.ping()
    with pytest.raises(httpx.HTTPError):
        client.add_point_interaction([32, 95, 45], True)
    server.start()
    assert client.heartbeat() > 500
    assert len(server.store.entries(server.facts(client)["session"])) in (entries, entries + 1)
    while len(server.store.entries(server.facts(client)["session"])) > entries:
        client.undo()  # its reply was lost; this one is not
        server.agree(client)
        entries += 2
    np.testing.assert_array_equal(server.agree(client), second)
    assert client.undo()
    np.testing.assert_array_equal(server.agree(client), first)


def test_a_lost_reply_does_no_harm(server, client):
    """The server does something that the client never hears of; the next reply brings the two together."""
    client.add_bbox_interaction(FLAT, True)
    httpx.post(f"{server.url}/undo", headers=client._http.headers, timeout=60)
    assert client.target_buffer.any()
    client.add_bbox_interaction([[32, 33], [20, 60], [20, 60]], True)
    server.agree(client)


def test_a_session_that_was_deleted_is_begun_anew(server, client):
    client.add_bbox_interaction(FLAT, True)
    server.store.delete(server.facts(client)["session"])
    assert client.undo() is False
    client.add_bbox_interaction(FLAT, True)
    server.agree(client)


def test_flat_and_colour_images(server):
    image, _ = phantom(11)
    plane = (255 * unit_range(image.array[:, :, 32].T)).astype(np.uint8)
    with server.connect() as client:
        for scan in (plane[None, None], np.repeat(plane[None, None], 3, 0), plane[None, None].astype(np.float16)):
            begin(client, (scan, (1, 1, 1)))
            client.add_point_interaction([0, 95, 45], True)
            assert server.agree(client)[0, 95, 45]
        assert server.store.image(server.facts(client)["image"]).array.dtype == np.float32
        two = np.stack([plane, plane])[None]
        begin(client, (two, (1, 1, 1)))
        client.add_bbox_interaction([[0, 2], [60, 120], [15, 80]], True)
        assert next(iter(server.state(client).objects.values())).box.dimension == 2
        server.agree(client)
