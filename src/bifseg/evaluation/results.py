"""The file that a benchmark writes: JSON lines, whole runs only, whatever stopped it."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from filelock import FileLock, Timeout

from bifseg.errors import InvalidInput
from bifseg.io.atomic import write_atomically

KEY = ("protocol", "dataset", "case", "label", "dimension", "method", "network", "user", "seed")
MEASURED = ("seconds", "user_seconds", "peak_mib")  # what differs between two runs of the same


class Results:
    """A results file: whole runs only, each appended at once; one process at a time writes to it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = FileLock(path.with_name(f".{path.name}.lock"), thread_local=False)

    def __enter__(self) -> Results:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._lock.acquire(blocking=False)
        except Timeout:
            raise InvalidInput(
                f"Another benchmark is writing to {self.path}; wait for it, or choose another."
            ) from None
        try:
            self._file = self.path.open("a+b", buffering=0)
        except BaseException:
            self._unlock()
            raise
        return self

    def __exit__(self, *exception: object) -> None:
        self._file.close()
        self._unlock()

    def _unlock(self) -> None:
        with contextlib.suppress(OSError):  # Windows, which deletes no open file
            Path(self._lock.lock_file).unlink()
        self._lock.release()

    def keep(self, wanted: Mapping[tuple, tuple[str, int]]) -> set[tuple]:
        """Which ``wanted`` runs are done. What else the file says of them is dropped: halves, and stale rows.

        ``wanted``: key (the values of `KEY`) -> fingerprint and number of steps. Rows of other runs stay. Raises
        InvalidInput for a file that is something else.
        """
        kept, done = [], set()
        for key, rows in _grouped(self.rows()):
            whole = (rows[0]["fingerprint"], len(rows)) == wanted.get(key)
            if key not in wanted or (whole and key not in done):
                kept += rows
                done |= {key} & wanted.keys()
        content = _lines(kept)
        self._file.seek(0)
        if self._file.read() != content:
            self._file.close()
            try:
                write_atomically(self.path, content)
            finally:
                self._file = self.path.open("a+b", buffering=0)
        return done

    def rows(self) -> list[dict]:
        """All rows but an unfinished last one; InvalidInput names the line that is none."""
        self._file.seek(0)
        lines = self._file.read().split(b"\n")
        rows = []
        for number, line in enumerate(lines[:-1], 1):
            try:
                row = json.loads(line)
                _ = [row[name] for name in (*KEY, "step", "fingerprint")]
            except (ValueError, KeyError, TypeError):
                raise InvalidInput(
                    f"Line {number} of {self.path} is no row of a benchmark; choose another file."
                ) from None
            rows.append(row)
        return rows

    def append(self, rows: list[dict]) -> None:
        """One run's rows, all or none. Raises OSError on a full disk, with what was there before intact."""
        end, content = self._file.seek(0, os.SEEK_END), _lines(rows)
        try:
            while content:
                content = content[self._file.write(content) :]
            os.fsync(self._file.fileno())
        except OSError as error:
            with contextlib.suppress(OSError):
                self._file.truncate(end)
            raise OSError(f"Cannot write {self.path}: {error.strerror or error}. The runs before are kept.") from error


def _grouped(rows: Iterable[dict]) -> Iterator[tuple[tuple, list[dict]]]:
    """Rows that follow each other and belong to one run, whose steps are 0, 1, 2, ..."""
    group: list[dict] = []
    for row in rows:
        if group and (_key(row) != _key(group[0]) or row["step"] != len(group)):
            yield _key(group[0]), group
            group = []
        group.append(row)
    if group:
        yield _key(group[0]), group


def _key(row: dict) -> tuple:
    return tuple(row[name] for name in KEY)


def _lines(rows: Iterable[dict]) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()
