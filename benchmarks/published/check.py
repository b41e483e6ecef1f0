"""Judge a random part of published rows again and compare: ``python -m benchmarks.published.check DATA [RESULTS...]``.

Dice, surface Dice, box and strokes must come out as they stand; times may differ. Runs are judged whole, since each
round stands on the one before it. A difference ends it with exit status 1 and the row named.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.published.evidence import FILES, RESULTS
from benchmarks.published.judge import NETWORKS
from benchmarks.published.nested import view_of
from bifseg.errors import InvalidInput
from bifseg.evaluation.benchmark import Run, benchmark
from bifseg.evaluation.protocols import PROTOCOLS
from bifseg.evaluation.report import read_results, read_rows
from bifseg.evaluation.results import KEY
from bifseg.evaluation.targets import Target
from bifseg.io.datasets import Dataset, open_dataset

SHARE = 0.05
SAME = ("dice", "nsd", "strokes", "length", "box")
FILE_OF = {Path(name).stem: name for names in NETWORKS.values() for name in names if name.endswith(".safetensors")}


def runs_of(rows: Iterable[dict]) -> list[list[dict]]:
    """Rows by run, each in the order of its steps."""
    runs: dict[tuple, list[dict]] = {}
    for row in rows:
        runs.setdefault(tuple(row[name] for name in KEY), []).append(row)
    return [sorted(run, key=lambda row: row["step"]) for run in runs.values()]


def drawn(runs: Sequence[list[dict]], count: int, seed: int) -> list[list[dict]]:
    """Runs at random that hold ``count`` rows or a few more; the same for the same seed."""
    chosen: list[list[dict]] = []
    for run in random.Random(seed).sample(runs, len(runs)):
        if sum(map(len, chosen)) >= count:
            break
        chosen.append(run)
    return chosen


class Again:
    """Runs as rows tell them, of the data sets in a folder. ``about``: the rows' own, of classes and channels."""

    def __init__(self, data: Path, about: Mapping) -> None:
        self._data, self._about = data, about
        self._opened: dict[tuple[str, int], Dataset] = {}

    def run(self, rows: Sequence[Mapping]) -> Run:
        """InvalidInput where its case is no longer there, or its network's file."""
        row, protocol = rows[0], PROTOCOLS[rows[0]["protocol"]]
        told = self._about["datasets"][row["dataset"]][row["label"]]
        key = row["dataset"], told["channel"]
        if key not in self._opened:
            self._opened[key] = open_dataset(self._data / key[0], key[1])
        cases = [case for case in self._opened[key].cases if case.name == row["case"]]
        if not cases:
            raise InvalidInput(f"There is no case {row['case']} in {self._data / key[0]}.")
        network = row["network"] and FILE_OF.get(row["network"], row["network"])
        if network in FILE_OF.values() and not Path(network).exists():
            raise InvalidInput(f"There is no {network}, which benchmarks/networks/README.md tells how to make.")
        return Run(
            Target(cases[0], row["label"], tuple(told["values"]), view_of(row).plane), row["method"], network,
            row["user"] if protocol.users else "careful", row["seed"], row["protocol"],
            len(rows) - 1 if protocol.count is None else protocol.count,
        )  # fmt: skip


def differences(before: Sequence[Mapping], after: Sequence[Mapping], tolerance: float = 0.0) -> Iterator[str]:
    """A sentence on each row that did not come out again."""
    if len(before) != len(after):
        yield f"{words(before[0])}: {len(after)} steps, the results have {len(before)}."
        return
    for old, new in zip(before, after, strict=True):
        for name in SAME:
            far = abs(old[name] - new[name]) > tolerance if isinstance(old[name], float) else old[name] != new[name]
            if far:
                yield f"{words(old)}, step {old['step']}: {name} is {new[name]}, the results say {old[name]}."
                break


def words(row: Mapping) -> str:
    """Which run a row is of."""
    network = f" ({row['network']})" if row["network"] else ""
    return (
        f"{row['protocol']}, {row['dataset']}, {row['case']}, {row['label']}, {row['dimension']}D, {row['method']}"
        f"{network}, {row['user']}, seed {row['seed']}"
    )


def check(
    path: Path, data: Path, *, rows: int | None, share: float, seed: int, tolerance: float, jobs: int = 1
) -> tuple[int, list[str]]:
    """How many rows of a results file were judged again, and a sentence on each that came out otherwise."""
    known, (about,) = read_results([path])
    again, found, count = Again(data, about), [], 0
    with TemporaryDirectory() as folder:
        pairs = []
        for run in drawn(runs_of(known), rows or max(1, round(share * len(known))), seed):
            try:
                pairs.append((run, again.run(run)))
            except InvalidInput as error:
                found.append(f"{words(run[0])}: not judged again. {error}")
        output = Path(folder) / "again.jsonl"
        if pairs:
            benchmark([run for _, run in pairs], output, jobs=jobs, progress=_say)
            made = {tuple(run[0][name] for name in KEY): run for run in runs_of(read_rows(output))}
            for before, _ in pairs:
                after = made.get(tuple(before[0][name] for name in KEY), [])
                found += differences(before, after, tolerance)
                count += len(after)
    return count, found


def _say(done: int, runs: int) -> None:
    print(f"{done} of {runs} runs", file=sys.stderr, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="folder of the data sets")
    default = [RESULTS / f"{name}.jsonl.gz" for name in FILES.values()]
    parser.add_argument("results", type=Path, nargs="*", default=default, help="files (rounds and unseen)")
    parser.add_argument("--rows", type=int, help="so many of each file instead of a share")
    parser.add_argument("--share", type=float, default=SHARE, help=f"of the rows ({SHARE})")
    parser.add_argument("--seed", type=int, help="which ones; told at the end, so that it can be given again")
    parser.add_argument("--tolerance", type=float, default=0.0, help="of Dice and surface Dice, for other machines (0)")
    parser.add_argument("--jobs", type=int, default=1, help="processes of one thread")
    arguments = parser.parse_args()
    seed = random.randrange(10**6) if arguments.seed is None else arguments.seed
    failed = False
    for path in arguments.results:
        try:
            count, found = check(
                path, arguments.data, rows=arguments.rows, share=arguments.share, seed=seed,
                tolerance=arguments.tolerance, jobs=arguments.jobs,
            )  # fmt: skip
        except (InvalidInput, OSError) as error:
            raise SystemExit(f"{path.name}: {error}") from None
        for sentence in found:
            print(sentence)
        failed |= bool(found)
        print(f"{path.name}: {count} rows judged again, {len(found)} came out otherwise (--seed {seed})")
    raise SystemExit(int(failed))


if __name__ == "__main__":
    os.environ.setdefault("BIFSEG_PRECISION", "float32")  # rows are the same on CPUs that multiply bfloat16, too
    main()
