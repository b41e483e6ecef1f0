"""Imports are there as a whole or not at all, also where the process is killed in the middle, and count to a share."""

import contextlib
import os
import subprocess
import sys
import textwrap

import pytest
from stored_sessions import exported

from bifseg.errors import StorageFull
from bifseg.storage import Store
from bifseg.storage.transfer import import_, verify

KILLED = textwrap.dedent("""
    import os, sys
    from pathlib import Path
    from bifseg.storage import Store
    from bifseg.storage.transfer import import_

    folder, archive, last = sys.argv[1], sys.argv[2], int(sys.argv[3])
    store, plain, calls = Store(Path(folder)), Store.record, []

    def record(self, connection, sha):
        calls.append(sha)
        if len(calls) == last:
            os._exit(9)
        plain(self, connection, sha)

    Store.record = record
    import_(store, archive, "bob")
""")


@pytest.fixture
def archive(tmp_path):
    return exported(tmp_path)


@pytest.mark.server
@pytest.mark.parametrize("last", [1, 3, 4])
def test_an_import_that_is_killed_leaves_no_session(tmp_path, archive, last):
    """It left one without its journal, which looked like a session that nobody had drawn in yet."""
    arguments = [str(tmp_path / "other"), str(archive), str(last)]
    done = subprocess.run([sys.executable, "-c", KILLED, *arguments], env=os.environ, timeout=120)
    assert done.returncode == 9
    with contextlib.closing(Store(tmp_path / "other")) as other:
        assert other.sessions() == []
        assert list(verify(other)) == []
        id = import_(other, archive, "bob")
        assert len(other.entries(id)) == 5


def test_an_import_counts_whole_to_the_share_before_it_is_unpacked(tmp_path, archive):
    with contextlib.closing(Store(tmp_path / "other", share=archive.stat().st_size)) as other:
        with pytest.raises(StorageFull, match="You may keep"):
            import_(other, archive, "bob")
        assert other.images("bob") == []
