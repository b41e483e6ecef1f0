"""Settings to compare, as a command line names them."""

from __future__ import annotations

from collections.abc import Sequence

from bifseg.method.parameters import Parameters, parsed, preset


def variants(base: Parameters, vary: Sequence[str], dimension: int) -> dict[str, Parameters]:
    """The base, and what is compared with it: NAME=A,B is two of them, A=1+B=2 one; preset=NAME changes all."""
    found = {"base": base}
    for text in vary:
        name, values = text.split("=", 1)
        for one in [text] if "+" in text else [f"{name}={value}" for value in values.split(",")]:
            found[one] = (
                preset(one[len("preset=") :], dimension) if name == "preset" else base.but(**parsed(one.split("+")))
            )
    return found
