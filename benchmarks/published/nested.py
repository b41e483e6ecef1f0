"""Which judged objects a box does not identify: ``python -m benchmarks.published.nested DATA RESULTS... -o FILE``.

An object shares its box where another labelled object of the same view, at least half as large, has nine tenths of
its voxels in the object's own tight box: a ring and what it encloses, layers of a brain.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from bifseg.evaluation.report import read_results
from bifseg.io.atomic import write_atomically
from bifseg.io.datasets import open_dataset

INSIDE = 0.9  # of the other object's voxels
SIZE = 0.5  # of the object's own


class View(NamedTuple):
    """One object as it was judged. ``plane``: axis and index in 2D, None in 3D."""

    dataset: str
    case: str
    label: str
    plane: tuple[int, int] | None


def view_of(row: Mapping) -> View:
    """The view of a row; its plane is the axis of the box without a range."""
    ranges = row["box"].split(",")
    planes = [(axis, int(text)) for axis, text in enumerate(ranges) if ":" not in text]
    return View(row["dataset"], row["case"], row["label"], planes[0] if row["dimension"] == 2 else None)


def sharer(truth: np.ndarray, others: Mapping[str, np.ndarray]) -> str | None:
    """The largest of the other objects (bool, of the shape of ``truth``) that shares its box; None where none does."""
    where = np.nonzero(truth)
    box = tuple(slice(axis.min(), axis.max() + 1) for axis in where)
    sizes = {}
    for name, other in others.items():
        size = np.count_nonzero(other)
        if size >= SIZE * len(where[0]) and np.count_nonzero(other[box]) >= INSIDE * size:
            sizes[name] = size
    return max(sizes, key=lambda name: sizes[name], default=None)


def nested(rows: Iterable[Mapping], about: Mapping, data: Path) -> Iterator[dict]:
    """The objects of rows that share their box, each with the name of the other; reads the label maps in ``data``."""
    views = dict.fromkeys(map(view_of, rows))
    cases, maps = {}, {}
    for view in views:
        if view.dataset not in cases:
            found = open_dataset(data / view.dataset)
            cases[view.dataset] = {case.name: case for case in found.cases}, found.labels
        by_name, classes = cases[view.dataset]
        if (view.dataset, view.case) not in maps:
            maps = {(view.dataset, view.case): by_name[view.case].labels}
        labels = maps[view.dataset, view.case]
        if view.plane is not None:
            labels = labels.take(view.plane[1], axis=view.plane[0])
        values = set(about["datasets"][view.dataset][view.label]["values"])
        others = {name: np.isin(labels, own) for name, own in classes.items() if not values & set(own)}
        if other := sharer(np.isin(labels, list(values)), others):
            yield {**view._asdict(), "other": other}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="folder of the data sets")
    parser.add_argument("results", type=Path, nargs="+", help="files that `judge` wrote")
    parser.add_argument("-o", "--output", type=Path, required=True, help="JSON file to write")
    arguments = parser.parse_args()
    found: dict[View, dict] = {}
    for path in arguments.results:
        rows, (about,) = read_results([path])
        for one in nested(rows, about, arguments.data):
            found[View(*(one[name] for name in View._fields))] = one
    lines = ",\n".join(json.dumps(one) for one in sorted(found.values(), key=str))
    write_atomically(arguments.output, f"[\n{lines}\n]\n".encode())
    print(f"{len(found)} objects share their box: {arguments.output}")


if __name__ == "__main__":
    main()
