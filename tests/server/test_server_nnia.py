import struct

import blosc2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from nnInteractive.inference.remote.serialization import pack_array, unpack_array

from bifseg.errors import TooLarge
from bifseg.server.nninteractive import nnia

LIMIT = 1 << 20
SHAPES = arrays.array_shapes(min_dims=1, max_dims=4, max_side=9)
ARRAYS = st.sampled_from(sorted(nnia.DTYPES)).flatmap(lambda name: arrays.arrays(name, SHAPES))
FILTERS = st.sampled_from([None, [blosc2.Filter.NOFILTER], [blosc2.Filter.SHUFFLE]])
CODECS = st.sampled_from([blosc2.Codec.ZSTD, blosc2.Codec.LZ4])


def scan(kind: int) -> np.ndarray:
    noise = np.random.default_rng(kind).integers(-900, 900, (1, 20, 30, 11)).astype(np.int16)
    return [noise, np.zeros_like(noise), np.cumsum(noise, 3).astype(np.float32)][kind]


FRAMES = [
    pack_array(scan(kind), codec=codec, filters=[filter])
    for kind in range(3)
    for codec in (blosc2.Codec.ZSTD, blosc2.Codec.LZ4)
    for filter in (blosc2.Filter.NOFILTER, blosc2.Filter.SHUFFLE)
]
CHUNK_AT = 8 + 5 + 4 * 8 + 4 + 16  # where the blosc2 chunk of an int16 frame begins


@settings(deadline=None, max_examples=150)
@given(ARRAYS, CODECS, FILTERS)
def test_what_the_client_packs_is_read_and_what_is_packed_the_client_reads(array, codec, filters):
    got = nnia.unpack(pack_array(array, codec=codec, filters=filters), LIMIT)
    assert got.dtype == array.dtype
    np.testing.assert_array_equal(got, array)
    back = unpack_array(nnia.pack(array))
    assert back.dtype == array.dtype
    np.testing.assert_array_equal(back, array)


def test_arrays_in_any_memory_order_and_in_several_chunks(monkeypatch):
    array = scan(0)[0].transpose(2, 0, 1)[::2]
    np.testing.assert_array_equal(unpack_array(nnia.pack(array)), array)
    np.testing.assert_array_equal(nnia.unpack(nnia.pack(array.astype(">i2")), LIMIT), array)
    for most in ("CHUNK", "PART"):
        monkeypatch.setattr(nnia, most, 1 << 10)
    frame = nnia.pack(array)
    np.testing.assert_array_equal(nnia.unpack(frame, LIMIT), array)
    np.testing.assert_array_equal(unpack_array(frame), array)


def test_a_type_that_the_format_has_not_is_not_sent():
    with pytest.raises(ValueError, match="complex64 cannot be sent"):
        nnia.pack(np.zeros(3, np.complex64))


def header(dtype=b"uint8", shape=(4,), chunks=0, *, magic=b"NNIA", version=1, codec=1):
    head = struct.pack("<4sBBBB", magic, version, codec, len(shape), len(dtype)) + dtype
    return head + struct.pack(f"<{len(shape)}qI", *shape, chunks)


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (b"", "cut off"),
        (b"NNI", "cut off"),
        (b"PK\x03\x04" + bytes(40), "does not begin with NNIA"),
        (header(version=2), "version 2 of NNIA; this server reads version 1"),
        (header(codec=7), "codec 7; 1 is ZSTD"),
        (header(shape=()), "has 0 axes"),
        (header(shape=(1,) * 5), "has 5 axes"),
        (header(b"object"), "type b'object' is unknown"),
        (header(b"i4,O"), "unknown"),
        (header(b"\xff\xff"), "unknown"),
        (header()[:-6], "cut off"),
        (header(shape=(4, -1)), "every axis needs one"),
        (header(shape=(0, 3)), "every axis needs one"),
        (header(), "do not add up"),
        (header(chunks=1), "cut off"),
        (header(chunks=1) + struct.pack("<QQ", 4, 4) + bytes(4), "shorter than its header"),
        (header(chunks=1) + struct.pack("<QQ", 4, 1 << 60) + bytes(4), "4 of 1152921504606846976 bytes"),
        (header(chunks=1) + struct.pack("<QQ", 1 << 60, 0), "has 1152921504606846976 bytes"),
        (header(b"int16", chunks=1) + struct.pack("<QQ", 3, 0), "a multiple of 2"),
        (header(chunks=1) + struct.pack("<QQ", 4, 40) + bytes(40), "header does not fit"),
        (FRAMES[0] + b"\0", "or more follows"),
        (FRAMES[0][:-1], "cut off"),
    ],
)
def test_a_damaged_frame_is_refused_with_what_is_wrong(frame, message):
    with pytest.raises(ValueError, match=message):
        nnia.unpack(frame, LIMIT)


@pytest.mark.parametrize("shape", [(LIMIT + 1,), (1 << 62, 1 << 62), (100_000, 100_000), (1, 1 << 40, 1, 1)])
def test_declared_sizes_beyond_the_limit_are_refused_before_memory_is_reserved(shape):
    resource = pytest.importorskip("resource")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(TooLarge, match=f"at most {LIMIT} are taken"):
        nnia.unpack(header(shape=shape, chunks=1), LIMIT)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 1 << 12  # KiB


@pytest.mark.parametrize(
    ("at", "value"),
    [
        (0, 6), (2, 0x80), (2, 0x8D), (2, 0xE5), (3, 0), (4, 1), (11, 0x7F), (11, 0x80), (12, 1), (16, 35), (16, 4),
        (22, 33), (30, 1), (31, 0x40), (31, 0x08), (31, 0x50),
    ],
)  # fmt: skip
def test_a_chunk_that_asks_for_more_than_clients_do_never_reaches_blosc2(at, value, monkeypatch):
    """Other formats, plug-ins, delta, lazy chunks, memory as it is, and sizes that are not true."""
    monkeypatch.setattr(blosc2, "decompress2", lambda *_, **__: pytest.fail("it got there"))
    frame = bytearray(FRAMES[0])
    frame[CHUNK_AT + at] = value
    with pytest.raises(ValueError, match="header does not fit"):
        nnia.unpack(frame, LIMIT)


def test_a_bool_is_true_or_false():
    with pytest.raises(ValueError, match="neither 0 nor 1"):
        nnia.unpack(pack_array(np.full(40, 7, np.uint8)).replace(b"\x05uint8", b"\x04bool", 1), LIMIT)


MUTATION = st.tuples(st.integers(0, 1 << 16), st.integers(0, 255))
SIZES = st.sampled_from([0, 1, 31, 32, 255, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF])


@settings(deadline=None, max_examples=500)
@given(st.sampled_from(FRAMES), st.lists(MUTATION, min_size=1, max_size=6), st.integers(0, 200), st.booleans())
def test_changed_frames_are_refused_or_read_in_bounds(frame, mutations, cut, early):
    frame = bytearray(frame)
    for at, value in mutations:
        frame[at % min(len(frame), 100 if early else 1 << 16)] = value
    _refused_or_an_array(bytes(frame[: len(frame) - cut] if cut < 20 else frame))


@settings(deadline=None, max_examples=250)
@given(st.sampled_from(FRAMES), st.sampled_from([4, 8, 12, 32, 36, 40]), SIZES)
def test_forged_sizes_inside_a_chunk_are_refused_or_read_in_bounds(frame, at, size):
    frame = bytearray(frame)
    frame[CHUNK_AT + at : CHUNK_AT + at + 4] = struct.pack("<I", size)
    _refused_or_an_array(bytes(frame))


@settings(deadline=None, max_examples=250)
@given(st.binary(max_size=300), st.sampled_from([b"", header(shape=(2, 2), chunks=1), header(b"int16", chunks=2)]))
def test_any_bytes_are_refused_or_read_in_bounds(content, head):
    _refused_or_an_array(head + content)


def _refused_or_an_array(frame: bytes) -> None:
    try:
        array = nnia.unpack(frame, LIMIT)
    except ValueError:
        return
    assert array.nbytes <= LIMIT
    assert array.dtype.name in nnia.DTYPES


def test_a_mask_takes_a_byte_a_voxel_or_what_a_real_one_could():
    """89 bytes say that 537 million voxels of eight bytes follow, all alike: 4 GB, in the server's own process."""
    voxels = 512 * 512 * 2048
    assert nnia.most(voxels, 89) == voxels
    assert nnia.most(1000, 89) == 8000
    assert nnia.most(voxels, 1 << 30) == 8 * voxels
