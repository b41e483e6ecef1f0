"""Compare parameter settings on the development fold: ``python benchmarks/tune.py 2 --vary lam=1,3 --limit 60``.

Prints the mean Dice over objects after the box (network alone, one cut, unsupervised fine-tuning) and after each round
of simulated scribbles, for the base setting and each variation of one parameter at a time. Every object counts the
same; in the objective of `bifseg.tune.search`, every group does.
"""

from __future__ import annotations

import argparse
from itertools import islice

import numpy as np

from bifseg.checkpoint import load_model
from bifseg.parameters import Parameters, preset
from bifseg.tune import BACKENDS, Trials, TuningTarget
from objects import targets


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("dimension", type=int, choices=(2, 3))
    parser.add_argument("--model", default="default")
    parser.add_argument("--preset", default="fast")
    parser.add_argument("--base", nargs="*", default=[], metavar="NAME=VALUE", help="changes to the preset")
    parser.add_argument("--vary", nargs="*", default=[], metavar="NAME=A,B,...", help="one at a time")
    parser.add_argument("--limit", type=int, default=60, help="objects, spread over the fold")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--backend", default="loky", choices=BACKENDS)
    arguments = parser.parse_args()

    every = list(targets(arguments.dimension))
    chosen = islice(every, 0, None, max(1, len(every) // arguments.limit))
    chosen = [TuningTarget(t.image, t.truth, t.box, f"{t.dataset} {t.label}") for t in chosen]
    model = load_model(arguments.model, arguments.dimension)
    base = preset(arguments.preset, arguments.dimension, model.tuned)
    base = base.but(**dict(_parsed(text, base) for text in arguments.base))
    variants = {"base": base}
    for text in arguments.vary:
        name, values = text.split("=")
        for value in values.split(","):
            variants[f"{name}={value}"] = base.but(**dict([_parsed(f"{name}={value}", base)]))
    heads = ["network", "cut", "unsup.", *(f"round {k + 1}" for k in range(arguments.rounds))]
    print(f"{len(chosen)} objects, model {model.name} {model.sha256[:8]}, base {base}")
    print(f"{'':24s}" + "".join(f"{head:>10s}" for head in heads), flush=True)
    with Trials(model, chosen, rounds=arguments.rounds, workers=arguments.workers, backend=arguments.backend) as trials:
        for name, parameters in variants.items():
            [trial] = trials([parameters])
            rows = np.array([(s.network, s.cut, s.unsupervised, *s.rounds) for s in trial.scores], float)  # None: nan
            print(f"{name:24s}" + "".join(f"{100 * mean:10.2f}" for mean in rows.mean(axis=0)), flush=True)


def _parsed(text: str, like: Parameters) -> tuple[str, object]:
    name, value = text.split("=")
    kind = type(getattr(like, name))
    return name, value in ("1", "True", "true") if kind is bool else kind(value)


if __name__ == "__main__":
    main()
