"""Compare parameter settings on the development fold: ``python -m benchmarks.models.tune 2 --vary lam=1,3 --limit 60``.

Prints the mean Dice in % over objects after the box (network alone, one cut, unsupervised fine-tuning) and after each
round of simulated scribbles, for the base setting and each variation (``preset=paper`` changes all parameters); below,
the same where all data sets count alike, whatever the number of their objects. Under each variation is its paired
difference to the base, with its 95 % interval (bootstrap over patients) and the share of objects that lost more than a
point after the last round. In the objective of `bifseg.evaluation.tuning.search`, every group counts the same.
"""

from __future__ import annotations

import argparse
import dataclasses

import numpy as np

from benchmarks.models.objects import FOLDS, Target, spread
from benchmarks.models.variants import variants
from bifseg.evaluation.statistics import bootstrap
from bifseg.evaluation.tuning import BACKENDS, Trials, TuningTarget
from bifseg.method.parameters import parsed, preset
from bifseg.networks.checkpoint import load_model


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("dimension", type=int, choices=(2, 3))
    parser.add_argument("--fold", nargs="+", choices=tuple(FOLDS), default=["develop"], help="in 3D, better with aside")
    parser.add_argument("--model", default="default")
    parser.add_argument("--preset", default="fast")
    parser.add_argument("--base", nargs="*", default=[], metavar="NAME=VALUE", help="changes to the preset")
    parser.add_argument("--vary", nargs="*", default=[], metavar="NAME=A,B,...", help="one at a time; A=1+B=2: at once")
    parser.add_argument("--size", type=int, default=0, help="working grid; 0: the model's")
    parser.add_argument("--limit", type=int, default=60, help="objects, spread over the fold")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--backend", default="loky", choices=BACKENDS)
    arguments = parser.parse_args()

    found = spread(arguments.dimension, arguments.fold, arguments.limit)
    chosen = [TuningTarget(t.image, t.truth, t.box, f"{t.dataset} {t.label}") for t in found]
    patients = [(t.dataset, t.patient) for t in found]
    model = load_model(arguments.model, arguments.dimension)
    model = dataclasses.replace(model, size=arguments.size or model.size)
    base = preset(arguments.preset, arguments.dimension, model.tuned)
    compared = variants(base.but(**parsed(arguments.base)), arguments.vary, arguments.dimension)
    heads = ["network", "cut", "unsup.", *(f"round {k + 1}" for k in range(arguments.rounds))]
    print(f"{len(chosen)} objects, model {model.name} {model.sha256[:8]}, size {model.size}, base {compared['base']}")
    print(f"{'':24s}" + "".join(f"{head:>22s}" for head in heads), flush=True)
    with Trials(model, chosen, rounds=arguments.rounds, workers=arguments.workers, backend=arguments.backend) as trials:
        for name, parameters in compared.items():
            [trial] = trials([parameters])
            rows = np.array([(s.network, s.cut, s.unsupervised, *s.rounds) for s in trial.scores], float)  # None: nan
            print(_line(name, rows.mean(axis=0)), _line("  sets alike", _by_sets(rows, found)), sep="\n", flush=True)
            if name == "base":
                reference = rows
            else:
                gaps = 100 * (rows - reference)
                worse = f"{np.mean(gaps[:, -1] < -1):.0%} lost"
                print(
                    f"{'  minus base, ' + worse:24s}" + "".join(f"{_interval(g, patients):>22s}" for g in gaps.T),
                    flush=True,
                )


def _line(name: str, means: np.ndarray) -> str:
    return f"{name:24s}" + "".join(f"{100 * mean:22.2f}" for mean in means)


def _by_sets(rows: np.ndarray, found: list[Target]) -> np.ndarray:
    """The mean of the means of data sets, whatever the number of their objects."""
    own = np.array([target.dataset for target in found])
    return np.mean([rows[own == name].mean(axis=0) for name in dict.fromkeys(own.tolist())], axis=0)


def _interval(gaps: np.ndarray, units: list) -> str:
    if np.isnan(gaps).any():
        return ""
    low, high = bootstrap(gaps, units)
    return f"{gaps.mean():+.2f} [{low:+.2f}, {high:+.2f}]"


if __name__ == "__main__":
    main()
