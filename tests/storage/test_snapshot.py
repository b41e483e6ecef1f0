"""Segments come back bit for bit; what is damaged is refused."""

import contextlib
import json
import struct
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from safetensors.numpy import load, save
from stored_sessions import one

from bifseg.method.parameters import FAST, PAPER
from bifseg.prompts.interaction import Box
from bifseg.session.state import ModelId, Segment
from bifseg.storage.snapshot import FORMAT, pack, unpack

floats = st.floats(width=32, allow_nan=False, allow_infinity=False)
numbers = st.floats(allow_nan=False, allow_infinity=False)


@st.composite
def segments(draw) -> Segment:
    plane = draw(st.sampled_from([None, 0, 1, 2]))
    shape = [1 if axis == plane else draw(st.integers(2, 7)) for axis in range(3)]
    start = [draw(st.integers(0, 5000)) for _ in shape]
    box = Box(tuple(start), tuple(a + n for a, n in zip(start, shape, strict=True)))
    grid = tuple(draw(st.integers(1, 6)) for _ in range(box.dimension))

    def map_on_grid() -> np.ndarray:
        return draw(arrays.arrays(np.float32, grid, elements=floats))

    layers = draw(st.dictionaries(st.text(max_size=8), arrays.array_shapes(max_dims=2, max_side=4), max_size=3))

    def weights() -> dict[str, np.ndarray]:
        return {name: draw(arrays.arrays(np.float32, size, elements=floats)) for name, size in layers.items()}

    return Segment(
        draw(st.text(max_size=20)), box, ModelId(draw(st.text(max_size=8)), draw(st.text(max_size=8))),
        draw(st.sampled_from([*PAPER.values(), *FAST.values()])).but(sigma=draw(st.floats(1e-9, 10))),
        weights(),
        scribbles=draw(arrays.arrays(np.uint8, shape, elements=st.integers(0, 2))),
        packed=np.packbits(draw(arrays.arrays(bool, shape))),
        grid_probability=map_on_grid(),
        grid_weights=draw(st.sampled_from([None, 1])) and map_on_grid(),
        given=draw(st.booleans()),
        rounds=tuple(draw(st.lists(st.dictionaries(st.text(max_size=5), numbers, max_size=3), max_size=3))),
        milliseconds=draw(st.dictionaries(st.text(max_size=5), numbers, max_size=3)),
        part_of=draw(st.text(max_size=5)),
        start=(draw(st.booleans()) and weights()) or None,
    )  # fmt: skip


@settings(deadline=None, max_examples=75)
@given(segments())
@example(one())
@example(one(grid_weights=None, scribbles=np.zeros((4, 5, 6), np.uint8)))
def test_all_of_a_segment_comes_back_bit_for_bit(segment):
    content = pack(segment)
    back = unpack(content)
    for name in ("scribbles", "packed", "grid_probability", "grid_weights", "mask"):
        before, after = getattr(segment, name), getattr(back, name)
        if before is None:
            assert after is None
            continue
        assert (before.dtype, before.shape) == (after.dtype, after.shape)
        assert before.tobytes() == after.tobytes()
    for name in ("name", "box", "model", "parameters", "given", "rounds", "part_of"):
        assert getattr(segment, name) == getattr(back, name)
    assert dict(segment.milliseconds) == dict(back.milliseconds)
    assert (segment.start is None) == (back.start is None)
    for before, after in ((segment.classifier, back.classifier), (segment.start or {}, back.start or {})):
        assert before.keys() == after.keys()
        for name, weights in before.items():
            assert weights.shape == after[name].shape
            assert weights.tobytes() == after[name].tobytes()
    assert pack(back) == content  # one segment has one name in the store


def test_what_memory_order_the_arrays_have_does_not_matter():
    segment = one()
    turned = replace(
        segment, grid_probability=np.asfortranarray(segment.grid_probability),
        scribbles=np.asfortranarray(segment.scribbles), classifier={"w": np.ones((3, 2), np.float32).T},
    )  # fmt: skip
    assert pack(turned) == pack(segment)


@settings(deadline=None, max_examples=200)
@given(st.data())
def test_damaged_bytes_are_refused_or_are_still_a_segment(data):
    content = bytearray(pack(one()))
    where = st.integers(0, len(content) - 1)
    for k in data.draw(st.lists(where, min_size=1, max_size=3)):
        content[k] = data.draw(st.integers(0, 255))
    if data.draw(st.booleans()):
        content = content[: data.draw(where)]
    with contextlib.suppress(ValueError):
        segment = unpack(bytes(content))  # a changed bit of an array is found by the blob's name, not here
        assert segment.mask.shape == segment.scribbles.shape == segment.box.shape
        assert len(pack(segment))


@given(st.binary(max_size=200))
def test_other_bytes_are_refused(content):
    with pytest.raises(ValueError, match="damaged"):
        unpack(content)


def test_segments_of_before_there_were_parts_are_read():
    content = pack(one())
    header = json.loads(content[8 : 8 + struct.unpack_from("<Q", content)[0]])["__metadata__"][FORMAT]
    about = {name: value for name, value in json.loads(header).items() if name != "part_of"}
    back = unpack(save(load(content), {FORMAT: json.dumps(about, sort_keys=True)}))
    assert (back.part_of, back.start) == ("", None)
    assert pack(back) == content


def forged(arrays: dict | None = None, **about) -> bytes:
    """The bytes of `one`, with other arrays and another header."""
    content = pack(one())
    header = json.loads(content[8 : 8 + struct.unpack_from("<Q", content)[0]])["__metadata__"][FORMAT]
    changed = {name: array for name, array in {**load(content), **(arrays or {})}.items() if array is not None}
    return save(changed, {FORMAT: json.dumps({**json.loads(header), **about})})


@pytest.mark.parametrize(
    ("arrays", "about"),
    [
        ({"mask": np.zeros(14, np.uint8)}, {}),
        ({"mask": np.zeros(15, np.int8)}, {}),
        ({"mask": None}, {}),
        ({"scribbled": np.array([120], np.uint32), "scribbles": np.ones(1, np.uint8)}, {}),
        ({"scribbled": np.array([0], np.int64), "scribbles": np.ones(1, np.uint8)}, {}),
        ({"scribbles": np.array([3], np.uint8)}, {}),
        ({"scribbles": np.ones(2, np.uint8)}, {}),
        ({"probability": np.full((3, 3, 3), np.nan, np.float32)}, {}),
        ({"probability": np.zeros((3, 3), np.float32), "weights": None}, {}),
        ({"probability": np.zeros((2, 3, 3), np.float32)}, {}),
        ({"probability": np.zeros((1025, 1, 1), np.float32), "weights": None}, {}),
        ({"weights": np.zeros((3, 3, 3), np.float64)}, {}),
        ({"classifier.w": np.full(3, np.inf, np.float32)}, {}),
        ({"start.w": np.full(3, np.inf, np.float32)}, {}),
        ({"start.w": np.zeros(3)}, {}),
        ({"something": np.zeros(3, np.float32)}, {}),
        ({}, {"box": "3:7,4:9,5:12"}),
        ({}, {"box": "1:2"}),
        ({}, {"box": None}),
        ({}, {"box": "0:9000000000000000000,0:9000000000000000000,0:9000000000000000000"}),
        ({}, {"parameters": {"sigma": -1}}),
        ({}, {"parameters": {"wish": 1}}),
        ({}, {"parameters": {"sigma": "a"}}),
        ({}, {"parameters": []}),
        ({}, {"model": ["a"]}),
        ({}, {"model": None}),
        ({}, {"rounds": 3}),
        ({}, {"milliseconds": 3}),
    ],
)
def test_forged_segments_are_refused(arrays, about):
    assert unpack(forged()).name == "object 1"
    with pytest.raises(ValueError, match="A stored segment is damaged"):
        unpack(forged(arrays, **about))


FORGED = {
    "rounds that are none": ({}, {"rounds": [7]}),
    "milliseconds that are words": ({}, {"milliseconds": {"cut": "long"}}),
    "half a letter": ({}, {"rounds": [{"\ud800": 1}]}),
    "rounds without end": ({}, {"rounds": [{}] * 12_000}),
    "a name without end": ({}, {"name": "a" * (1 << 20)}),
    "a grid without voxels": ({"probability": np.zeros((0, 3, 3), np.float32), "weights": None}, {}),
}


@pytest.mark.parametrize("what", FORGED)
def test_what_would_fail_later_is_refused_now(what):
    arrays, about = FORGED[what]
    with pytest.raises(ValueError, match="A stored segment is damaged"):
        unpack(forged(arrays, **about))


def test_a_header_that_is_too_deep_is_refused():
    deep = b'{"__metadata__":' + b"[" * 100_000
    with pytest.raises(ValueError, match="A stored segment is damaged"):
        unpack(struct.pack("<Q", len(deep)) + deep)
