"""Rows sorted for comparing: what one user did to objects of one dimension under one protocol, method by method."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from scipy import stats

from bifseg.evaluation.methods import FAMILY, METHODS, PARTS
from bifseg.evaluation.protocols import PROTOCOLS
from bifseg.evaluation.statistics import DIGITS, Scores, Thing, scores

OURS = "bifseg"
FIRST_USER = "careful"
Row = tuple[str, str]  # data set and label: a structure, as a row of the paper's tables


class Column(NamedTuple):
    """A method, with its network where it has one."""

    method: str
    network: str | None = None


@dataclass(frozen=True, eq=False)
class Trace:
    """One run: the rows of its steps."""

    thing: Thing
    seed: int
    seen: bool
    rows: Sequence[dict]

    def values(self, name: str) -> np.ndarray:
        return np.array([row[name] for row in self.rows], float)


@dataclass(frozen=True, eq=False)
class Group:
    """All runs of one protocol, dimension and user. ``traces``: by column, in the order of `order`."""

    protocol: str
    dimension: int
    user: str
    traces: dict[Column, list[Trace]]
    _scores: dict = field(default_factory=dict, repr=False)

    @property
    def last(self) -> int:
        """The highest step of any run."""
        return max(len(trace.rows) for traces in self.traces.values() for trace in traces) - 1

    @property
    def networks(self) -> list[str]:
        return list(dict.fromkeys(column.network for column in self.traces if column.network))

    @property
    def main(self) -> Column | None:
        """BIFSeg with the network that was judged on most objects; None where BIFSeg was not judged."""
        ours = [column for column in self.traces if column.method == OURS]
        return max(ours, key=lambda column: len(self.traces[column]), default=None)

    @property
    def rows(self) -> list[Row]:
        return sorted({structure(t.thing) for traces in self.traces.values() for t in traces})

    def family(self, network: str | None) -> list[Column]:
        """The paper's ablation on one network, as far as it was judged."""
        return [column for method in FAMILY if (column := Column(method, network)) in self.traces]

    def parts(self, network: str | None) -> list[Column]:
        """BIFSeg on one network and all that is less than it, as far as it was judged."""
        return [column for method in PARTS if (column := Column(method, network)) in self.traces]

    @property
    def interactive(self) -> list[Column]:
        """Whole interactive methods: BIFSeg with each network, and other people's."""
        return [c for c in self.traces if c.method not in PARTS or c.method == OURS]

    @property
    def rivals(self) -> list[Column]:
        """All that BIFSeg is held against: its own parts on the same network, other networks, other methods."""
        network = self.main.network if self.main else None
        return [
            c for c in self.traces
            if c.method != OURS and (c.method not in PARTS or c.network == network or c.method == "network")
        ]  # fmt: skip

    def scores(self, column: Column, step: int, metric: str = "dice") -> Scores:
        """Of all objects of a column after a step; empty where the column does not go as far."""
        key = column, step, metric
        if key not in self._scores:
            rows = (row for trace in self.traces.get(column, ()) for row in trace.rows)
            self._scores[key] = scores(rows, step=step, method=column.method, metric=metric)
        return self._scores[key]

    def seen(self, column: Column, dataset: str) -> bool:
        """Whether the column's network was trained on a data set."""
        return any(trace.seen and trace.thing.dataset == dataset for trace in self.traces.get(column, ()))

    def unseen(self, columns: Iterable[Column]) -> set[str]:
        """The data sets that no network of these columns was trained on."""
        columns = list(columns)
        return {d for d, _ in self.rows if not any(self.seen(column, d) for column in columns)}


def group_rows(rows: Iterable[dict]) -> list[Group]:
    """Groups in the order of protocol, dimension and user; the careful user first."""
    runs: dict[tuple, dict[Column, dict[tuple, list[dict]]]] = {}
    for row in rows:
        where = runs.setdefault((row["protocol"], row["dimension"], row["user"]), {})
        column = where.setdefault(Column(row["method"], row["network"]), {})
        thing = Thing(*(row[name] for name in Thing._fields))
        column.setdefault((thing, row["seed"]), []).append(row)
    groups = []
    for (protocol, dimension, user), columns in runs.items():
        traces = {
            column: [
                Trace(thing, seed, any(r["seen"] for r in run), sorted(run, key=lambda r: r["step"]))
                for (thing, seed), run in columns[column].items()
            ]
            for column in sorted(columns, key=_order)
        }
        groups.append(Group(protocol, dimension, user, traces))
    known = list(PROTOCOLS)
    return sorted(groups, key=lambda g: (known.index(g.protocol), g.dimension, g.user != FIRST_USER, g.user))


def _order(column: Column) -> tuple:
    """BIFSeg, then its parts from the most to the least, then other methods as the registry has them."""
    front = [*FAMILY[::-1][:1], "bifseg-printed", *FAMILY[::-1][1:]]
    order = front + [name for name in METHODS if name not in front]
    return (order.index(column.method) if column.method in order else len(order), column.method, column.network or "")


def title(column: Column, networks: int = 1) -> str:
    """What a column is called; ``networks``: how many there are to be told apart."""
    name = METHODS[column.method].title if column.method in METHODS else column.method
    if column.method == "network":
        return str(column.network)
    if column.method == "crf":
        return f"{column.network} +CRF"
    return f"{name} ({column.network})" if column.network and networks > 1 else name


def short_names(datasets: Iterable[str]) -> dict[str, str]:
    """Data sets without nnU-Net's number, where that leaves them apart."""
    short = {name: re.sub(r"^Dataset\d+_(?=.)", "", name) for name in datasets}
    count = Counter(short.values())
    return {name: brief if count[brief] == 1 else name for name, brief in short.items()}


def structure(thing: Thing) -> Row:
    return thing.dataset, thing.label


def only(scores: Scores, *, datasets: Iterable[str] | None = None, row: Row | None = None) -> Scores:
    """The scores of some data sets, or of one structure."""
    names = None if datasets is None else set(datasets)
    return {
        thing: by_seed for thing, by_seed in scores.items()
        if (names is None or thing.dataset in names) and (row is None or structure(thing) == row)
    }  # fmt: skip


def gaps(ours: Scores, theirs: Scores) -> np.ndarray:
    """Ours minus theirs of every object that both have, averaged over the seeds that both have."""
    differences = []
    for thing in sorted(ours.keys() & theirs.keys()):
        if seeds := ours[thing].keys() & theirs[thing].keys():
            differences.append(np.mean([ours[thing][seed] - theirs[thing][seed] for seed in sorted(seeds)]))
    return np.round(differences, DIGITS)


def surely_above(ours: Scores, theirs: Scores) -> bool:
    """Whether ours is higher with p < 0.05 in a paired t-test."""
    gap = gaps(ours, theirs)
    return len(gap) > 1 and gap.mean() > 0 and np.ptp(gap) > 0 and bool(stats.ttest_1samp(gap, 0).pvalue < 0.05)
