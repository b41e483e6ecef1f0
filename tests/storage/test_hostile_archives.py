"""A session file that is another file, damaged, encrypted or made to fill the disk adds nothing."""

import contextlib
import struct
import zipfile

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rewritten_sessions import empty, npy, rewritten, with_array

from bifseg.errors import StorageFull
from bifseg.storage import Store, transfer
from bifseg.storage.transfer import import_


def test_other_files_are_refused(other, tmp_path):
    path = tmp_path / "a.zip"
    for content in (b"", b"no zip", b"PK\x05\x06" + bytes(18)):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"a\.zip is no exported session that is whole"):
            import_(other, path, "bob")
    with pytest.raises(FileNotFoundError):
        import_(other, tmp_path / "missing.zip", "bob")
    assert empty(other)


def test_limits_hold_before_anything_is_unpacked(archive, other, tmp_path, monkeypatch):
    path = archive[2]
    with pytest.raises(ValueError, match=r"its image has 1920 voxels; at most 1919 are allowed"):
        import_(other, path, "bob", voxels=1919)
    with pytest.raises(ValueError, match="it unpacks to"):
        import_(other, path, "bob", limit=4000)
    bomb = tmp_path / "bomb.zip"
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("manifest.json", b" " * (100 << 20))
    assert bomb.stat().st_size < 1 << 20
    with pytest.raises(ValueError, match=r"its manifest\.json has 104857600 bytes"):
        import_(other, bomb, "bob")
    monkeypatch.setattr(transfer, "SMALL_BYTES", 10)
    with pytest.raises(ValueError, match=r"at most \d+ are allowed"):
        import_(other, rewritten(path, tmp_path / "a.zip", **with_array(npy(np.zeros(60_000, np.uint8)))), "bob")
    assert empty(other)
    assert import_(other, archive[2], "bob", voxels=1920, limit=1 << 20)


def test_a_member_never_yields_more_than_it_declared(archive, other, tmp_path):
    """The table of contents says 100 bytes, the data are a gigabyte."""
    content = bytearray(rewritten(archive[2], tmp_path / "a.zip", compression=zipfile.ZIP_DEFLATED).read_bytes())
    where = content.index(b"PK\x01\x02")
    while where >= 0:
        struct.pack_into("<I", content, where + 24, 100)
        where = content.find(b"PK\x01\x02", where + 4)
    (tmp_path / "a.zip").write_bytes(content)
    with pytest.raises(ValueError, match="no exported session"):
        import_(other, tmp_path / "a.zip", "bob")
    assert empty(other)


def test_a_huge_table_of_contents_is_not_read(archive, other, tmp_path):
    path = tmp_path / "a.zip"
    with path.open("wb") as file:
        size = 64 << 20
        file.truncate(size)
        file.seek(size)
        file.write(struct.pack("<4s4H2IH", b"PK\x05\x06", 0, 0, 65535, 65535, size, 0, 0))
    with pytest.raises(ValueError, match="its table of contents is too large"):
        import_(other, path, "bob")


def test_a_table_of_contents_that_leads_nowhere_is_refused(archive, other, tmp_path):
    content = bytearray(archive[2].read_bytes())
    end = content.rindex(b"PK\x05\x06")
    struct.pack_into("<I", content, end + 16, struct.unpack_from("<I", content, end + 16)[0] + 256)
    (tmp_path / "a.zip").write_bytes(content)
    with pytest.raises(ValueError, match="leads nowhere"):
        import_(other, tmp_path / "a.zip", "bob")


def test_an_encrypted_file_is_refused(archive, other, tmp_path):
    content = bytearray(archive[2].read_bytes())
    where = content.index(b"PK\x01\x02")
    content[where + 8] |= 1
    (tmp_path / "a.zip").write_bytes(content)
    with pytest.raises(ValueError, match="encrypted"):
        import_(other, tmp_path / "a.zip", "bob")
    assert empty(other)


def test_nothing_above_the_quota(archive, tmp_path):
    with contextlib.closing(Store(tmp_path, quota=5000)) as store:
        with pytest.raises(StorageFull):
            import_(store, archive[2], "bob")
        assert empty(store)


@settings(deadline=None, max_examples=75, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_damaged_files_are_refused_or_come_back_whole(archive, other, tmp_path, data):
    store, id, path = archive
    content = bytearray(path.read_bytes())
    middle = st.integers(0, len(content) - 1)
    tail = st.integers(len(content) - 1200, len(content) - 1)  # where the table of contents is
    for k in data.draw(st.lists(st.one_of(middle, tail), min_size=1, max_size=4)):
        content[k] = data.draw(st.integers(0, 255))
    if data.draw(st.booleans()):
        content = content[: data.draw(middle)]
    (tmp_path / "a.zip").write_bytes(content)
    try:
        new = import_(other, tmp_path / "a.zip", "bob", limit=1 << 24)
    except ValueError:
        assert empty(other)
    else:
        assert other.history(new) == store.history(id)
        other.delete(new)
        other.forget_image(other.images("bob")[0].key, "bob")


def test_members_that_are_the_same_bytes_are_refused(archive, other, tmp_path):
    """Else a few kB unpack to as much as is allowed."""
    content = bytearray(archive[2].read_bytes())
    with zipfile.ZipFile(archive[2]) as file:
        first, second = file.infolist()[-2:]
        table = content.rindex(second.filename.encode()) - 46
    assert content[table : table + 4] == b"PK\1\2"
    content[table + 42 : table + 46] = first.header_offset.to_bytes(4, "little")
    (tmp_path / "overlapping.zip").write_bytes(content)
    with pytest.raises(ValueError, match="its members overlap"):
        import_(other, tmp_path / "overlapping.zip", "bob")
    assert empty(other)
