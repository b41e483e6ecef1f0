"""A session file whose reading is killed, as by its own bounds, leaves nothing that counts to nobody's share."""

import contextlib
import sys
import textwrap

import numpy as np
import pytest
from stored_sessions import exported, files, scan

from bifseg.errors import TooLarge
from bifseg.server.settings import Limits
from bifseg.server.uploads import reading, work
from bifseg.storage import Store, contents
from bifseg.storage.transfer import verify

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="kills as POSIX does")
KILLED = textwrap.dedent("""
    import json, os, signal, sys
    from bifseg.server.uploads import reader_process
    from bifseg.storage.blobs import Blobs

    last, plain, names = int(sys.argv[1]), Blobs.write, []

    def write(self, fill):
        sha = plain(self, fill)
        names.append(sha)
        if len(names) == last:
            (self.drafts / ".left.part").write_bytes(bytes(100))
            os.kill(os.getpid(), signal.SIGKILL)
        return sha

    Blobs.write = write
    reader_process.main(json.load(sys.stdin))
""")


@pytest.fixture
def archive(tmp_path):
    return exported(tmp_path)


@pytest.mark.server
@pytest.mark.parametrize("last", [1, 4])
def test_nothing_is_left_of_it(tmp_path, archive, monkeypatch, last):
    """7 MB of a zip left 605 MB on the disk for an hour or two, again and again, whatever one's share was."""
    with contextlib.closing(Store(tmp_path / "other")) as other:
        own = other.add_image(scan(3), "ann")
        before = files(other)
        with monkeypatch.context() as patched:
            patched.setattr(reading, "COMMAND", (sys.executable, "-c", KILLED, str(last)))
            with pytest.raises(TooLarge, match="it took more"):
                work.import_archive(other, archive, "bob", Limits())
        assert files(other) == before
        assert not list(other.folder.rglob("*.part"))
        assert not list((other.folder / "temporary").iterdir())
        assert other.image_row(own, "ann").key == own
        id = work.import_archive(other, archive, "bob", Limits())
        assert len(other.entries(id)) == 5
        assert list(verify(other)) == []


@pytest.fixture
def store(tmp_path):
    with contextlib.closing(Store(tmp_path / "store")) as store:
        yield store


def test_many_files_are_deleted_while_others_write(store, monkeypatch):
    """All at once, in one transaction, kept everybody from writing for as long as that took."""
    monkeypatch.setattr(contents, "BATCH", 2)
    deleted, delete = [], store.blobs.delete
    monkeypatch.setattr(store.blobs, "delete", lambda sha: deleted.append(sha) or delete(sha))
    names = [store.add_array(np.full((2, 2, 2), k, np.uint8)) for k in range(5)]
    turns, transaction = [], store.transaction

    @contextlib.contextmanager
    def counted(*arguments, **options):
        with transaction(*arguments, **options) as connection:
            turns.append(len(deleted))
            yield connection

    monkeypatch.setattr(store, "transaction", counted)
    store.withdraw(names)
    assert turns == [0, 0, 2, 4]
    assert not files(store)
