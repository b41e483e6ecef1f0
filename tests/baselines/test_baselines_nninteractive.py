"""The unmodified client of nnInteractive against a small server of its protocol, over real HTTP on this machine."""

import gc
import socket
import sys
import time
from importlib.util import find_spec

import numpy as np
import pytest
from nninteractive_server import serving

from bifseg.baselines.nninteractive import NNInteractive, flat_box
from bifseg.imaging.image import Image
from bifseg.prompts.interaction import BACKGROUND, FOREGROUND, Box

# Not imported before it is needed: it takes half a second.
pytestmark = pytest.mark.skipif(find_spec("nnInteractive") is None, reason="pip install 'bifseg[nninteractive]'")

OBJECT, DECOY, HOLE, AROUND = 100.0, 60.0, 30.0, 0.0
BOX = Box.parse("2:14,3:15,4:10")


@pytest.fixture(autouse=True)
def no_settings(monkeypatch):
    """Neither a key nor a proxy of whoever runs the tests."""
    monkeypatch.delenv("NN_INTERACTIVE_API_KEY", raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")


def scan(dtype=np.int16, order="F", seed=0):
    """An object in four intensities (x, y, z) = (20, 18, 12), no two sides alike, so that swapped axes show."""
    array = np.full((20, 18, 12), AROUND)
    array[4:12, 5:13, 5:9] = OBJECT
    array[12:14, 5:9, 5:9] = DECOY
    array[4:6, 5:7, 5:9] = HOLE
    array += np.random.default_rng(seed).uniform(0, 8, array.shape)
    return Image(np.asarray(array, dtype, order=order), spacing=(0.5, 0.75, 3.0))


def between(image, low, box=BOX):
    """Voxels of the box above a threshold: the server's rule, by hand."""
    mask = np.zeros(image.shape, bool)
    mask[box.slices] = image.array[box.slices] > low
    return mask


def strokes(image, **marks):
    labels = np.zeros(image.shape, np.uint8)
    for name, where in marks.items():
        labels[where] = {"fg": FOREGROUND, "bg": BACKGROUND}[name]
    return labels


@pytest.mark.parametrize(("bbox3d", "dtype"), [(False, "int16"), (True, "float32"), (False, "uint8")])
def test_a_3d_box_and_scribbles_of_both_kinds(bbox3d, dtype):
    image = scan(dtype)
    with serving(bbox3d=bbox3d) as server, NNInteractive(server.url) as method:
        box = Box(BOX.start, BOX.stop) if bbox3d else Box((2, 3, 0), (14, 15, 12))  # a flat box: all planes
        first = method.start(image, BOX)
        np.testing.assert_array_equal(first, between(image, 50, box))
        assert first.dtype == bool
        kept = first.copy()

        second = method.refine(strokes(image, bg=np.s_[12:14, 6, 6]))
        np.testing.assert_array_equal(second, between(image, 80, box))
        third = method.refine(strokes(image, fg=np.s_[4:6, 5, 6], bg=np.s_[0:3, 0, 0]))
        hole = between(image, 15, box) & ~between(image, 45, box)
        np.testing.assert_array_equal(third, second | hole)
        np.testing.assert_array_equal(first, kept)  # not the client's buffer

        (sent,) = server.heard("bbox")
        assert sent["bbox_coords"] == [[4, 10] if bbox3d else [6, 7], [3, 15], [2, 14]]  # z, y, x
        (told,) = server.heard("set_image")
        assert told == {
            "image_properties": {"spacing": [3.0, 0.75, 0.5]},
            "shape": (1, 12, 18, 20),
            "dtype": dtype,
        }


def test_only_the_last_prompt_of_a_step_runs_the_network_and_single_voxels_are_points():
    image = scan()
    with serving() as server, NNInteractive(server.url) as method:
        method.start(image, BOX)
        del server.calls[:]
        labels = strokes(image, fg=np.s_[6:10, 8, 6], bg=np.s_[1, 2, 3])
        labels[5, 6, 7] = FOREGROUND
        labels[3, 12, 5] = BACKGROUND
        method.refine(labels)
        assert server.calls == [
            ("/add_point_interaction", _said(True, False, coordinates=[7, 6, 5])),
            ("/add_scribble_interaction", _said(True, False, interaction_bbox=[[6, 7], [8, 9], [6, 10]], voxels=4)),
            ("/add_point_interaction", _said(False, False, coordinates=[3, 2, 1])),
            ("/add_point_interaction", _said(False, True, coordinates=[5, 12, 3])),
        ]
        del server.calls[:]
        method.refine(strokes(image))
        assert server.calls == []  # nothing new to tell


def _said(include, run, **more):
    return {**more, "include_interaction": include, "run_prediction": run, "override_capability_checks": False}


def test_a_stroke_is_told_as_it_was_drawn():
    image = scan()
    with serving() as server, NNInteractive(server.url) as method:
        method.start(image, BOX)
        labels = strokes(image)
        for step in range(4):  # a diagonal of voxels that touch by their corners
            labels[6 + step, 7 + step, 5 + step] = FOREGROUND
        method.refine(labels)
        (said,) = server.heard("scribble")
        assert (said["voxels"], said["interaction_bbox"]) == (4, [[5, 9], [7, 11], [6, 10]])
        labels[...] = 0
        labels[6:8, 8:10, 6] = BACKGROUND
        labels[7, 9, 6] = 0  # a hook: one voxel of its extent is not its own
        method.refine(labels)
        assert [said["voxels"] for said in server.heard("scribble")] == [4, 3]
        assert server.heard("point") == []


@pytest.mark.parametrize(
    ("text", "wire"), [("2:14,3:15,6", [[6, 7], [3, 15], [2, 14]]), ("7,3:15,4:10", [[4, 10], [3, 15], [7, 8]])]
)
def test_a_2d_box_asks_for_its_plane_alone(text, wire):
    image, box = scan(), Box.parse(text)
    with serving() as server, NNInteractive(server.url) as method:
        mask = method.start(image, box)
        np.testing.assert_array_equal(mask, between(image, 50, box))
        assert mask.any()
        assert server.heard("bbox")[0]["bbox_coords"] == wire
        after = method.refine(strokes(image, bg=np.s_[12:14, 6, 6]))
        np.testing.assert_array_equal(after, between(image, 80, box))


def test_a_planar_image():
    image = Image(scan().array[:, :, 6])
    with serving() as server, NNInteractive(server.url) as method:
        box = Box.parse("2:14,3:15,0")
        np.testing.assert_array_equal(method.start(image, box), between(image, 50, box))
        assert server.heard("set_image")[0]["shape"] == (1, 1, 18, 20)


def test_several_images_in_a_row_share_one_session():
    images = [scan(seed=seed) for seed in (1, 2)] + [scan(order="C")]
    with serving() as server, NNInteractive(server.url) as method:
        whole = Box((2, 3, 0), (14, 15, 12))
        for image in images:
            for _ in range(2):  # the second time nothing is left of the first
                np.testing.assert_array_equal(method.start(image, BOX), between(image, 50, whole))
                method.refine(strokes(image, bg=np.s_[12:14, 6, 6]))
        other = Image(images[0].array[:10, :, :8], images[0].spacing)
        assert method.start(other, Box.parse("2:9,3:15,4:7")).shape == (10, 18, 8)
        assert server.claims == 1
        assert len(server.heard("set_image")) == 4
        assert len(server.leases) == 1
    assert server.leases == {}


def test_flat_box_is_the_middle_slice_of_the_thickest_axis():
    box = Box.parse("0:5,2:8,1:4")
    for spacing, expected in (
        ((1, 1, 1), "0:5,2:8,2"),
        ((3, 1, 3), "0:5,2:8,2"),
        ((2, 2, 1), "0:5,4,1:4"),
        ((2, 1, 1), "2,2:8,1:4"),
    ):
        assert str(flat_box(box, spacing)) == expected
    for length in range(2, 9):
        middle = flat_box(Box((0, 0, 7), (4, 4, 7 + length)), (1, 1, 2)).start[2]
        assert middle == list(range(7, 7 + length))[(length - 1) // 2]


def test_the_servers_key_is_sent_and_a_wrong_one_is_said():
    with serving(api_key="right") as server:
        with NNInteractive(server.url, "right") as method:
            assert method.start(scan(), BOX).any()
        for key, words in (("wrong", "refuses the key"), (None, "without a key")):
            with pytest.raises(PermissionError, match=words) as caught:
                NNInteractive(server.url, key).start(scan(), BOX)
            assert "wrong" not in str(caught.value)
        assert server.claims == 1


def test_no_server():
    with socket.socket() as taken:  # bound, but nobody listens
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(ConnectionError, match=f"No nnInteractive server answers at {url}; start"):
            NNInteractive(url).start(scan(), BOX)


def test_another_server():
    with serving() as server, pytest.raises(ConnectionError, match="does not speak nnInteractive's protocol"):
        NNInteractive(server.url + "/elsewhere").start(scan(), BOX)


def test_a_full_server():
    with serving() as server, NNInteractive(server.url) as first, NNInteractive(server.url) as second:
        first.start(scan(), BOX)
        with pytest.raises(ConnectionError, match="is full; wait"):
            second.start(scan(), BOX)
        first.close()
        assert second.start(scan(), BOX).any()


def test_a_lost_session():
    image = scan()
    with serving() as server, NNInteractive(server.url) as method:
        first = method.start(image, BOX)
        server.leases.clear()
        with pytest.raises(ConnectionError, match=r"is lost.*call start again"):
            method.refine(strokes(image, bg=np.s_[12:14, 6, 6]))
        with pytest.raises(ValueError, match="call start"):
            method.refine(strokes(image))
        np.testing.assert_array_equal(method.start(image, BOX), first)
        assert (server.claims, len(server.heard("set_image"))) == (2, 2)

        server.leases.clear()  # between two objects nobody notices
        np.testing.assert_array_equal(method.start(image, BOX), first)
        assert (server.claims, len(server.heard("set_image"))) == (3, 3)


def test_a_session_is_given_back_when_its_owner_is_forgotten():
    with serving() as server:
        method = NNInteractive(server.url)
        method.start(scan(), BOX)
        assert len(server.leases) == 1
        del method
        gc.collect()
        assert server.leases == {}


def test_what_the_server_and_we_refuse():
    image = scan()
    with serving(bbox3d=True) as server, NNInteractive(server.url) as method:
        method.start(image, BOX)
        server.bbox3d = False  # not what it promised
        with pytest.raises(ValueError, match=r"refuses this: The given bounding box .* 3D"):
            method.start(image, BOX)
        with pytest.raises(ValueError, match="nothing to refine"):
            method.refine(strokes(image))
        server.bbox3d = True
        method.start(image, BOX)
        with pytest.raises(ValueError, match="The scribbles have the shape"):
            method.refine(np.zeros((2, 2, 2), np.uint8))


@pytest.mark.parametrize(
    ("trouble", "words"), [(500, "failed with status 500"), ("hang up", "broke .* call start again")]
)
def test_a_server_in_trouble(trouble, words):
    image = scan()
    with serving() as server, NNInteractive(server.url) as method:
        first = method.start(image, BOX)
        server.trouble = trouble
        with pytest.raises(ConnectionError, match=words):
            method.refine(strokes(image, bg=np.s_[12:14, 6, 6]))
        server.trouble = None
        np.testing.assert_array_equal(method.start(image, BOX), first)


def test_a_server_that_stalls():
    with socket.socket() as silent:  # accepts, and never answers
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        method = NNInteractive(f"http://127.0.0.1:{silent.getsockname()[1]}", timeout=0.05)
        began = time.monotonic()
        with pytest.raises(TimeoutError, match=r"within 0\.05 seconds"):
            method.start(scan(), BOX)
        assert time.monotonic() - began < 20  # the client's own limit is 60


@pytest.mark.parametrize(
    "server", ["", "127.0.0.1:1527", "ftp://host", "file:///etc", "http://", "http://me:secret@host", "http://a:b", 7]
)
def test_only_http_addresses(server):
    with pytest.raises(ValueError, match=r"is not of the form http://host:port"):
        NNInteractive(server)


def test_a_key_that_no_header_carries():
    with pytest.raises(ValueError, match="printable ASCII") as caught:
        NNInteractive("http://127.0.0.1", "line\nbreak")
    assert "line" not in str(caught.value).replace("printable", "")


def test_without_the_client(monkeypatch):
    monkeypatch.setitem(sys.modules, "nnInteractive.inference", None)
    with pytest.raises(ValueError, match=r'pip install "bifseg\[nninteractive\]"'):
        NNInteractive("http://127.0.0.1:1527")
