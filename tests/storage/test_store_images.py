"""Images and other contents of the store: there once, mapped as they came; each user has the headers that they sent."""

import time

import numpy as np
import pytest
from stored_sessions import files, headers, scan

from bifseg.errors import Busy, NotFound
from bifseg.imaging.image import Image
from bifseg.prompts.interaction import Box

# ---- images


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16, np.float32, np.float64])
def test_an_image_comes_back_as_it_was_mapped_from_the_disk(store, dtype):
    image = scan(dtype=dtype)
    key = store.add_image(image, "ann")
    back = store.image(key)
    np.testing.assert_array_equal(back.array, image.array)
    np.testing.assert_array_equal(back.affine, image.affine)
    assert back.array.dtype == dtype
    assert not back.array.flags.writeable
    base = back.array
    while base.base is not None and not isinstance(base, np.memmap):
        base = base.base
    assert isinstance(base, np.memmap)
    row = store.image_row(key, "ann")
    assert (row.shape, row.voxels, row.bytes) == (image.shape, image.array.size, image.array.nbytes)


def test_a_planar_image_stays_planar(store):
    image = Image(np.arange(30.0).reshape(5, 6))
    assert store.image(store.add_image(image, "ann")).planar


def test_an_image_is_stored_once_however_often_and_by_whom_it_comes(store):
    keys = {store.add_image(scan(), owner) for owner in ("ann", "bob", "ann")}
    assert len(keys) == len(files(store)) == 1
    assert store.add_image(Image(scan().array, (0.5, 1.5, 3.1)), "ann") not in keys  # elsewhere in the body
    assert len(files(store)) == 1
    assert [row.key for row in store.images("bob")] == list(keys)
    assert len(store.images("ann")) == 2


def test_three_users_with_the_same_voxels_each_have_the_headers_they_sent(store):
    """Else a DICOM-SEG carries the name of another user's patient."""
    sent = {"ann": b"of ann's patient", "bob": None, "eve": b"anonymous"}
    keys = {owner: store.add_image(scan(), owner, content) for owner, content in sent.items()}
    ids = {owner: store.create(key, owner) for owner, key in keys.items()}
    for owner, content in reversed(sent.items()):  # again, and in another order
        assert store.add_image(scan(), owner, content) == keys[owner]
    for owner, content in sent.items():
        assert headers(store, keys[owner], owner) == content
        assert headers(store, store.session(ids[owner]).image, owner) == content
        assert [row.key for row in store.images(owner)] == [keys[owner]]
        for other in sent.keys() - {owner}:
            with pytest.raises(NotFound):
                store.image_row(keys[owner], other)
            with pytest.raises(NotFound):
                store.create(keys[owner], other)
    assert len({store.image_row(key).blob for key in keys.values()}) == 1  # the voxels themselves are there once


def test_a_session_keeps_the_headers_that_it_was_begun_with(store):
    key = store.add_image(scan(), "ann", b"named")
    id = store.create(key, "ann")
    plain, anonymous = store.add_image(scan(), "ann"), store.add_image(scan(), "ann", b"anonymous")
    assert len({key, plain, anonymous}) == 3
    assert headers(store, store.session(id).image, "ann") == b"named"
    store.forget_image(plain, "ann")
    assert headers(store, key, "ann") == b"named"


def test_nobody_learns_since_when_others_have_an_image(store):
    key = store.add_image(scan(), "ann")
    with store.transaction() as connection:
        connection.execute("UPDATE images SET created = 5")
        connection.execute("UPDATE owners SET created = 5")
    before = time.time()
    store.add_image(scan(), "bob")
    assert store.image_row(key, "ann").created == store.images("ann")[0].created == 5
    assert store.image_row(key, "bob").created == store.images("bob")[0].created >= before


@pytest.mark.parametrize("array", [np.ones((4, 4, 4)), np.full((4, 4, 4), np.nan)])
def test_an_image_that_is_no_scan_leaves_nothing(store, array):
    with pytest.raises(ValueError, match=r"constant|NaN"):
        store.add_image(Image(array), "ann")
    assert files(store) == set()
    assert store.images("ann") == []


def test_an_image_goes_with_the_last_who_needs_it(store):
    key = store.add_image(scan(), "ann", b"headers")
    store.add_image(scan(), "bob", b"headers")
    id = store.create(key, "ann")
    with pytest.raises(Busy, match="used by sessions"):
        store.forget_image(key, "ann")
    store.forget_image(key, "bob")
    with pytest.raises(NotFound):
        store.image_row(key, "bob")
    store.delete(id)
    store.forget_image(key, "ann")
    assert files(store) == set()
    assert store.used() == 0


# ---- small contents


def test_arrays_and_bytes_come_back(store):
    array = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    np.testing.assert_array_equal(store.array(store.add_array(array)), array)
    assert store.blob(store.add_blob(b"abc")) == b"abc"
    assert store.add_blob(b"abc") == store.add_blob(b"abc")
    assert store.used() == sum(store.blobs.path(sha).stat().st_size for sha in store.blobs)
    with pytest.raises(ValueError, match="magic"):
        store.array(store.add_blob(b"no array"))
    with pytest.raises(ValueError, match=r"pickle|Object"):
        store.add_array(np.array([{}], dtype=object))


@pytest.mark.parametrize("name", ["", "..", "../../etc/passwd", "a" * 63, "A" * 64, "a" * 64 + "\n", "0" * 64])
def test_what_is_not_there_and_what_cannot_be_a_name_is_unknown(store, name):
    for look in (store.blob, store.array, store.segment):
        with pytest.raises(NotFound):
            look(name)


# ---- contents that come in between, in halves or in pieces


def test_halves_are_kept_as_numbers_that_can_be_computed_with(store):
    image = Image(scan().array.astype(np.float16), (1, 1, 1))
    kept = store.image(store.add_image(image, "ann")).array
    assert kept.dtype == np.float32
    np.testing.assert_array_equal(kept, image.array)


def test_an_image_whose_file_is_deleted_in_between_is_written_again(store, monkeypatch):
    """With the last session of somebody who had the same voxels: no reason to refuse this one."""
    write, written = store.blobs.write, []

    def deleted(fill):
        written.append(write(fill))
        if len(written) == 1:
            store.blobs.delete(written[0])
        return written[-1]

    monkeypatch.setattr(store.blobs, "write", deleted)
    key = store.add_image(scan(), "ann")
    np.testing.assert_array_equal(store.image(key).array, scan().array)


def test_an_array_in_pieces_is_the_same_as_one(store):
    array = np.arange(60, dtype=np.uint8).reshape(3, 4, 5)
    box = Box((0, 0, 0), array.shape)
    assert store.refer_pieces(iter([array.tobytes()[:7], array.tobytes()[7:]]), box) == store.refer(array, box)
