"""What the results say and how sure they are: ``python -m benchmarks.published.evidence``, in docs/results.

Reads rounds.jsonl.gz, unseen.jsonl.gz and nested.json, for some claims also the files of other protocols; writes
evidence.md, its picture, and evidence.json, from which `docs.generate` makes the tables of README and accuracy.md.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np

from benchmarks.published.claims import tried
from benchmarks.published.evidence_tables import HANDS
from benchmarks.published.intervals import Values, class_of, estimate, macro, paired, told
from benchmarks.published.judge import PARTS
from benchmarks.published.nested import View, view_of
from benchmarks.published.users import by_user
from bifseg.errors import BifsegError
from bifseg.evaluation.effort import BOX_WAY, SPEED
from bifseg.evaluation.methods import settings_of
from bifseg.evaluation.report import read_results
from bifseg.evaluation.report.acceptance import median, reach
from bifseg.evaluation.report.groups import OURS, Column, Group, group_rows
from bifseg.evaluation.statistics import Scores, Thing, by_thing
from bifseg.io.atomic import write_atomically
from bifseg.networks.checkpoint import load_model

RESULTS = Path(__file__).parents[2] / "docs" / "results"
FILES = {"known": "rounds", "new": "unseen"}  # sets whose other half parameters were chosen on; sets never looked at
METHODS = ("bifseg", "bifseg-scribbles", "crf", "network", "grabcut", "random_walks", "slicseg", "geos", "growcut")
SCRIBBLED = "bifseg-scribbles", ("random_walks", "slicseg", "geos", "growcut")  # ours, and those that begin as it does
ABLATION = ("crf", "cut", "bifseg-w", "bifseg-e")
POINT = 0.01
RENAMED = {"connectivity": "neighbours"}  # a setting, and what it was called
SECONDS = {2: (15, 20, 30), 3: (30, 40, 50, 60)}  # of a user, after which methods are compared
SUBSETS = ("all", "known", "new", "identified", "nested")


@dataclass(frozen=True)
class Evidence:
    """The judged objects of one dimension. ``group``: their runs; ``origin``: from which of `FILES` an object is."""

    dimension: int
    group: Group
    origin: Mapping[Thing, str]
    shared: frozenset[Thing]
    _values: dict = field(default_factory=dict, repr=False)

    @cached_property
    def columns(self) -> dict[str, Column]:
        """The column of each method, with the network that ships."""
        main = self.group.main
        return {
            column.method: column for column in self.group.traces if column.network in (None, main and main.network)
        }

    def things(self, subset: str, methods: Iterable[str] = METHODS) -> set[Thing]:
        """The objects of a subset that all of the methods were judged on, of sets that no network learnt from."""
        columns = [self.columns[name] for name in methods if name in self.columns]
        unseen = self.group.unseen(columns)
        common = set.intersection(*(set(self.group.scores(column, self.group.last)) for column in columns))
        wanted: dict[str, Callable[[Thing], bool]] = {
            "all": lambda thing: True,
            "identified": lambda thing: thing not in self.shared,
            "nested": lambda thing: thing in self.shared,
            **{name: lambda thing, name=name: self.origin[thing] == name for name in FILES},
        }
        return {thing for thing in common if thing.dataset in unseen and wanted[subset](thing)}

    def values(self, method: str, step: int) -> Values:
        """Dice of every object after a step, averaged over its boxes."""
        key = method, step
        if key not in self._values:
            self._values[key] = by_thing(self.group.scores(self.columns[method], step))
        return self._values[key]

    def chosen(self, method: str, step: int, things: set[Thing]) -> Values:
        return {thing: value for thing, value in self.values(method, step).items() if thing in things}

    def begun(self, method: str, things: set[Thing]) -> float:
        """Seconds of a user, in the mean over runs, until there is a first mask, waiting included."""
        traces = self.group.traces[self.columns[method]]
        return float(np.mean([trace.rows[0]["user_seconds"] for trace in traces if trace.thing in things]))

    def within(self, method: str, seconds: float, hand: float, things: set[Thing]) -> Values:
        """Dice of the last mask that a user has after so many seconds, waiting included; 0: there is none yet.

        ``hand``: how many times as fast as modelled the user's hand moves (`bifseg.evaluation.effort`).
        """
        found: Scores = {}
        for trace in self.group.traces[self.columns[method]]:
            if trace.thing not in things:
                continue
            way = trace.values("length")
            if not trace.rows[0]["strokes"]:  # it began with a box
                way[0] = BOX_WAY
            made = np.cumsum(trace.values("user_seconds") - way / SPEED * (1 - 1 / hand)) <= seconds
            last = np.flatnonzero(made)
            found.setdefault(trace.thing, {})[trace.seed] = trace.rows[last[-1]]["dice"] if len(last) else 0.0
        return by_thing(found)


def gather(results: Path = RESULTS) -> list[Evidence]:
    """The evidence in a folder of results, 2D and 3D; a file that is not there counts as empty."""
    rows, origin, shared = [], {}, set()
    nested = {View(v["dataset"], v["case"], v["label"], v["plane"] and tuple(v["plane"])) for v in _nested(results)}
    for name, file in FILES.items():
        path = results / f"{file}.jsonl.gz"
        if not path.exists():
            continue
        for row in read_results([path])[0]:
            thing = Thing(*(row[key] for key in Thing._fields))
            rows.append(row)
            origin[row["dimension"], thing] = name
            if view_of(row) in nested:
                shared.add((row["dimension"], thing))
    return [
        Evidence(
            group.dimension, group,
            {thing: name for (dimension, thing), name in origin.items() if dimension == group.dimension},
            frozenset(thing for dimension, thing in shared if dimension == group.dimension),
        )
        for group in group_rows(rows)
    ]  # fmt: skip


def _nested(results: Path) -> list[dict]:
    path = results / "nested.json"
    return json.loads(path.read_bytes()) if path.exists() else []


def numbers(evidence: Evidence) -> dict:
    """All that is told of one dimension: means, differences, losses and structures, as JSON takes it."""
    steps = range(evidence.group.last + 1)
    found: dict = {"means": {}, "gaps": {}, "ablation": {}, "worse": {}, "basis": {}}
    for subset in SUBSETS:
        if not (things := evidence.things(subset)):
            continue
        found["basis"][subset] = _basis(things)
        found["means"][subset] = {
            method: [told(estimate(evidence.chosen(method, step, things))) for step in steps] for method in METHODS
        }
        found["gaps"][subset] = {
            method: [
                told(paired(evidence.chosen(METHODS[0], step, things), evidence.chosen(method, step, things)))
                for step in steps
            ]
            for method in METHODS[1:]
        }
    parts = [name for name in ABLATION if name in evidence.columns]
    things = evidence.things("all", ("bifseg", *parts))
    found["basis"]["ablation"] = _basis(things)
    found["ablation"] = {
        method: [
            told(paired(evidence.chosen("bifseg", step, things), evidence.chosen(method, step, things)))
            for step in steps
        ]
        for method in parts
    }
    things = evidence.things("all")
    found["scribbled"] = _scribbled(evidence, things)
    found["begun"] = {method: round(evidence.begun(method, things), 2) for method in METHODS}
    found["within"] = {
        str(hand): {str(s): _within(evidence, s, hand, things) for s in SECONDS[evidence.dimension]} for hand in HANDS
    }
    found["reached"] = {method: _reached(evidence, method, things) for method in METHODS}
    found["worse"] = {method: [_worse(evidence, method, step, things) for step in steps if step] for method in METHODS}
    found["structures"] = _structures(evidence, things)
    return found


def _scribbled(evidence: Evidence, things: set[Thing]) -> dict:
    """BIFSeg begun with first scribbles, less every method that begins with the same ones."""
    ours, others = SCRIBBLED
    return {
        method: [
            told(paired(evidence.chosen(ours, step, things), evidence.chosen(method, step, things)))
            for step in range(evidence.group.last + 1)
        ]
        for method in others
    }


def _basis(things: Iterable[Thing]) -> dict:
    things = list(things)
    return {
        "sets": sorted({thing.dataset for thing in things}),
        "structures": len({(thing.dataset, class_of(thing)) for thing in things}),
        "patients": len({thing[:2] for thing in things}),
        "objects": len(things),
    }


def _reached(evidence: Evidence, method: str, things: set[Thing]) -> dict:
    reaches = [reach(trace) for trace in evidence.group.traces[evidence.columns[method]] if trace.thing in things]
    seconds = median(reaches)
    return {
        "runs": len(reaches),
        "share": round(float(np.mean([one.there for one in reaches])), 5),
        "seconds": None if seconds is None else round(seconds, 2),
    }


def _within(evidence: Evidence, seconds: float, hand: float, things: set[Thing]) -> dict:
    """What every method has after some seconds, and BIFSeg's less it."""
    ours, *others = [evidence.within(method, seconds, hand, things) for method in METHODS]
    return {
        "means": {method: told(estimate(own)) for method, own in zip(METHODS, (ours, *others), strict=True)},
        "gaps": {method: told(paired(ours, own)) for method, own in zip(METHODS[1:], others, strict=True)},
    }


def _worse(evidence: Evidence, method: str, step: int, things: set[Thing]) -> dict:
    """How many objects a round left more than a point lower than they were before it."""
    before, after = (evidence.chosen(method, at, things) for at in (step - 1, step))
    gaps = np.array([after[thing] - before[thing] for thing in sorted(things)])
    return {"objects": len(gaps), "worse": int((gaps < -POINT - 1e-9).sum()), "most": round(float(gaps.min()), 5)}


def _structures(evidence: Evidence, things: set[Thing]) -> list[dict]:
    groups: dict[tuple[str, str], set[Thing]] = {}
    for thing in things:
        groups.setdefault((thing.dataset, class_of(thing)), set()).add(thing)
    last = evidence.group.last
    return [
        {
            "set": dataset, "class": name, "patients": len({thing.patient for thing in own}), "objects": len(own),
            "nested": len(own & evidence.shared),
            **{
                method: [round(macro(evidence.chosen(method, step, own)), 5) for step in (0, 1, last)]
                for method in METHODS
            },
        }
        for (dataset, name), own in sorted(groups.items())
    ]  # fmt: skip


def _report(results: Path, name: str) -> dict | None:
    """What is told of one results file: when, where, on how much, and whether with the settings that ship."""
    path = results / f"{name}.jsonl.gz"
    if not path.exists():
        return None
    rows, (about,) = read_results([path])
    parts = []
    for dimension in sorted({row["dimension"] for row in rows}):
        things = {tuple(row[key] for key in Thing._fields) for row in rows if row["dimension"] == dimension}
        parts.append(f"{len(things)} ({len({thing[:2] for thing in things})}) in {dimension}D")
    return {
        "name": name, "date": about["date"], "machine": about["machine"], "commit": about.get("commit"),
        "objects": ", ".join(parts), "current": _current(about, {row["network"] for row in rows}),
    }  # fmt: skip


def _current(about: Mapping, networks: set[str | None]) -> bool:
    """Whether BIFSeg's settings and weights in an about.json are those of today; a parameter's new name is none."""
    for key, settings in about["methods"].items():
        method, _, network = key.partition(" (")
        network = network.rstrip(")")
        if method != OURS or network not in networks:
            continue
        try:
            model = load_model(network)
        except BifsegError:
            return False
        if about["models"][network]["sha256"] != model.sha256:
            return False
        for setting, value in settings_of(method, model).items():
            before = settings.get(setting, None if setting in RENAMED and RENAMED[setting] in settings else 0)
            if before is not None and before != value:  # what was not told did not exist: it was off
                return False
    return True


def main() -> None:
    from benchmarks.published.evidence_page import page
    from benchmarks.published.picture import draw

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("results", type=Path, nargs="?", default=RESULTS, help="folder of the results files")
    results = parser.parse_args().results
    found: dict = {f"{evidence.dimension}D": numbers(evidence) for evidence in gather(results)}
    found["claims"] = tried(results)
    found["users"] = by_user(results)
    libraries = results / "libraries.json"
    found["libraries"] = json.loads(libraries.read_bytes()) if libraries.exists() else None
    found["reports"] = [one for name in PARTS if (one := _report(results, name))]
    lines = ",\n".join(f"{json.dumps(key)}: {json.dumps(value, separators=(',', ':'))}" for key, value in found.items())
    write_atomically(results / "evidence.json", f"{{{lines}}}\n".encode())
    write_atomically(results / "evidence.md", page(found).encode())
    draw(found, results)
    print(f"{results / 'evidence.md'}; `python -m docs.generate` puts its tables into README and docs")


if __name__ == "__main__":
    main()
