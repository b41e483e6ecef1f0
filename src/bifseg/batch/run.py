"""A batch: rows worked on by processes here or on a cluster, and a folder that is whole at every moment.

For each row ``rows/NAME.json`` says what became of it, and its mask and picture lie in ``masks/`` and ``pictures/``.
This process alone writes there, each file at once; what is done is passed over when the batch is begun again.
"""

from __future__ import annotations

import contextlib
import csv
import hashlib
import io
import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from bifseg.batch.overview import overview
from bifseg.batch.table import Row
from bifseg.batch.work import Outcome, Settings, work
from bifseg.errors import BifsegError
from bifseg.evaluation.pool import streamed
from bifseg.io.atomic import write_atomically, write_json
from bifseg.io.locked import locked
from bifseg.loading import version
from bifseg.networks.checkpoint import load_model
from bifseg.tasks.store import Tasks

FORMULA = ("=", "+", "-", "@", "\t", "\r")  # with which a spreadsheet begins to compute
RESULTS = (
    "row", "name", "status", "uncertainty", "voxels", "millilitres", "area_mm2", "diameter_mm", "diameter_px", "box",
    "model", "image", "mask", "picture", "sentence",
)  # fmt: skip


@dataclass(frozen=True)
class Report:
    """What a batch came to: rows by status, those among the done ones that were done before, and all entries."""

    statuses: Counter[str]
    kept: int
    entries: list[dict[str, Any]] = field(repr=False)


def batch(
    rows: Sequence[Row],
    folder: Path,
    settings: Settings,
    *,
    jobs: int = 1,
    backend: str = "loky",
    progress: Callable[[int, int, str], None] | None = None,
) -> Report:
    """Work on all rows that a folder does not hold yet; masks that somebody changed since stay as they are.

    ``jobs``: processes of one thread. ``progress``: called with rows done, rows in all, and a row's name. Raises
    InvalidInput where another batch writes to the folder.
    """
    said = f"Another batch is writing to {folder}; wait for it, or choose another folder."
    with locked(folder / ".lock", said):
        for part in ("masks", "pictures", "rows"):
            (folder / part).mkdir(parents=True, exist_ok=True)
        for draft in (*folder.glob(".*.part"), *folder.glob("*/.*.part")):  # of a process that was killed
            draft.unlink()
        prints = {row.name: _fingerprint(row, settings) for row in rows}
        entries = {row.name: _kept(row, folder, prints[row.name], settings) for row in rows}
        left = [row for row in rows if entries[row.name] is None]
        kept = len(rows) - len(left)
        try:
            outcomes = streamed(work, [(row, settings) for row in left], jobs, backend)
            for row, outcome in zip(left, outcomes, strict=True):
                entries[row.name] = _written(row, outcome, folder, prints[row.name], settings)
                if progress is not None:
                    progress(len(rows) - sum(entry is None for entry in entries.values()), len(rows), row.name)
        finally:
            done = [entry for entry in entries.values() if entry is not None]
            write_atomically(folder / "results.csv", _csv(done).encode())
            write_atomically(folder / "index.html", overview(done).encode())
    return Report(Counter(entry["status"] for entry in done), kept, done)


def _files(row: Row, settings: Settings) -> dict[str, str]:
    return {"mask": f"masks/{row.name}{settings.ending}", "picture": f"pictures/{row.name}.png"}


def _kept(row: Row, folder: Path, fingerprint: str, settings: Settings) -> dict[str, Any] | None:
    """What is known of a row that needs no work any more."""
    entry = _entry(row, folder)
    whole = all((folder / file).is_file() for file in _files(row, settings).values())
    if whole and entry.get("status") == "done" and entry.get("fingerprint") == fingerprint:
        return {**entry, "row": row.number}
    return None


def _entry(row: Row, folder: Path) -> dict[str, Any]:
    with contextlib.suppress(OSError, ValueError):
        entry = json.loads((folder / f"rows/{row.name}.json").read_bytes())
        return entry if isinstance(entry, dict) else {}
    return {}


def _written(row: Row, outcome: Outcome, folder: Path, fingerprint: str, settings: Settings) -> dict[str, Any]:
    """The entry of a row, once its files are on the disk; what tells of them is there before them."""
    files, before = _files(row, settings), _entry(row, folder)
    mask, made = folder / files["mask"], hashlib.sha256(outcome.mask).hexdigest()
    if outcome.status == "done" and mask.exists():
        there = hashlib.sha256(mask.read_bytes()).hexdigest()
        if there not in (made, before.get("sha256")):
            sentence = f"{mask} was changed, or is not of this batch; it stays. Move it away to have it made anew."
            outcome = Outcome("refused", sentence)
        elif there != made:
            mask.unlink()  # before the entry is another's
    if outcome.status == "done":
        (folder / files["picture"]).unlink(missing_ok=True)
    entry: dict[str, Any] = {
        "row": row.number, "name": row.name, "status": outcome.status, "sentence": outcome.sentence,
        "given": {key: value for key, value in asdict(row).items() if value and key not in ("number", "name")},
        **outcome.about, "seconds": round(outcome.seconds, 3), "fingerprint": fingerprint,
        "sha256": made if outcome.status == "done" else before.get("sha256", ""),
    }  # fmt: skip
    if outcome.status == "done":
        entry |= files
    if outcome.trace:
        entry["trace"] = outcome.trace
    write_json(folder / f"rows/{row.name}.json", entry)
    if outcome.status == "done":
        write_atomically(mask, outcome.mask)
        write_atomically(folder / files["picture"], outcome.picture)
    return entry


def _fingerprint(row: Row, settings: Settings) -> str:
    """A hash of all that decides a row's mask: what was given, the files as they are, weights, version."""
    named = row.model or settings.model
    told = [
        {**asdict(row), "number": 0}, asdict(settings), version("bifseg"),
        [_stamp(Path(path)) for path in (row.image, row.mask, row.previous) if path],
        _learnt(row.task, settings) if row.task else _hashes(named, tuple(_stamp(Path(named)))),
    ]  # fmt: skip
    return hashlib.sha256(json.dumps(told, sort_keys=True, default=str).encode()).hexdigest()[:16]


def _learnt(task: str, settings: Settings) -> list:
    """What the versions in use have learnt, and from which objects."""
    try:
        versions = map(Tasks(Path(settings.tasks)).task(task).improved, (2, 3))
        return [version and (version.sha256, version.shape, version.examples) for version in versions]
    except BifsegError:
        return []  # its rows will say why


def _stamp(path: Path) -> list:
    """By what one sees that a file, or a folder's, was changed."""
    try:
        files = sorted(path.iterdir()) if path.is_dir() else [path]
        return [(file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in files]
    except OSError:
        return []


@lru_cache(maxsize=64)
def _hashes(name: str, stamp: tuple) -> list[str]:
    try:
        models = [load_model(name, d) for d in (2, 3)] if name == "default" else [load_model(name)]
    except BifsegError:
        return []  # its rows will say why
    return [model.sha256 for model in models]


def _csv(entries: Sequence[Mapping[str, Any]]) -> str:
    """The table of results, in the order of the rows."""
    text = io.StringIO()
    writer = csv.DictWriter(text, RESULTS, lineterminator="\n")
    writer.writeheader()
    for entry in entries:
        model, prior = entry.get("model", {}).get("name", ""), entry.get("prior")
        model += f", {prior['task']} version {prior['version']}" if prior else ""
        told = {**entry, "image": entry["given"].get("image", ""), "model": model}
        writer.writerow({name: _no_formula(name, told.get(name, "")) for name in RESULTS})
    return text.getvalue()


def _no_formula(column: str, value: object) -> object:
    """A field that no spreadsheet takes for a formula, whatever files are called: a path is the same path."""
    if not isinstance(value, str) or not value.startswith(FORMULA):
        return value
    return f"./{value}" if column in ("image", "mask", "picture") else f" {value}"
