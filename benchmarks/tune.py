"""Compare parameter settings on the development fold: ``python benchmarks/tune.py 2 --vary lam=1,3 --limit 60``.

Prints the mean Dice over objects after the box (network alone, one cut, unsupervised fine-tuning) and after one and
two rounds of simulated scribbles, for the base setting and each variation of one parameter at a time.
"""

from __future__ import annotations

import argparse
from itertools import islice

import numpy as np
from rich.progress import track

from bifseg.checkpoint import load_model
from bifseg.evaluation.metrics import dice
from bifseg.evaluation.users import simulated_scribbles
from bifseg.parameters import Parameters, preset
from bifseg.session import Session
from objects import targets


def scores(target, model, parameters: Parameters, rounds: int, unsupervised: bool) -> list[float]:
    """Dice: network, cut, unsupervised (nan if not asked for), then after each round of scribbles."""
    session = Session(target.image, model, parameters.but(unsupervised=False))
    results = []
    for refine in ("none", "crf"):
        mask = session.box(target.box, refine=refine)
        results.append(dice(mask, target.truth))
        session.undo()
    if unsupervised:
        free = Session(target.image, model, parameters.but(unsupervised=True))
        results.append(dice(free.box(target.box), target.truth))
    else:
        results.append(np.nan)
    mask = session.box(target.box, refine="crf")
    for _ in range(rounds):
        mask = session.scribble(simulated_scribbles(mask, target.truth, target.box))
        results.append(dice(mask, target.truth))
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("dimension", type=int, choices=(2, 3))
    parser.add_argument("--model", default="default")
    parser.add_argument("--preset", default="fast")
    parser.add_argument("--base", nargs="*", default=[], metavar="NAME=VALUE", help="changes to the preset")
    parser.add_argument("--vary", nargs="*", default=[], metavar="NAME=A,B,...", help="one at a time")
    parser.add_argument("--limit", type=int, default=60, help="objects, spread over the fold")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--unsupervised", action="store_true", help="also fine-tune without scribbles")
    arguments = parser.parse_args()

    every = list(targets("develop", arguments.dimension))
    chosen = list(islice(every, 0, None, max(1, len(every) // arguments.limit)))
    model = load_model(arguments.model, arguments.dimension)
    base = preset(arguments.preset, arguments.dimension, model.tuned)
    base = base.but(**dict(_parsed(text, base) for text in arguments.base))
    variants = {"base": base}
    for text in arguments.vary:
        name, values = text.split("=")
        for value in values.split(","):
            key, parsed = _parsed(f"{name}={value}", base)
            variants[f"{key}={value}"] = base.but(**{key: parsed})
    heads = ["network", "cut", "unsup.", *(f"round {k + 1}" for k in range(arguments.rounds))]
    print(f"{len(chosen)} objects, model {model.name} {model.sha256[:8]}, base {base}")
    print(f"{'':24s}" + "".join(f"{head:>10s}" for head in heads), flush=True)
    for name, parameters in variants.items():
        table = [
            scores(target, model, parameters, arguments.rounds, arguments.unsupervised)
            for target in track(chosen, description=name, transient=True)
        ]
        print(f"{name:24s}" + "".join(f"{100 * mean:10.2f}" for mean in np.mean(table, axis=0)), flush=True)


def _parsed(text: str, like: Parameters) -> tuple[str, object]:
    name, value = text.split("=")
    kind = type(getattr(like, name))
    return name, value in ("1", "True", "true") if kind is bool else kind(value)


if __name__ == "__main__":
    main()
