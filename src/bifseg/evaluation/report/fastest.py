"""Who is fastest to a Dice of 0.90, in a sentence."""

from __future__ import annotations

from collections.abc import Iterable

from bifseg.evaluation.report.acceptance import LEVEL, median, reached, times_of
from bifseg.evaluation.report.document import Block, Items
from bifseg.evaluation.report.groups import Group
from bifseg.evaluation.report.tables import head_names, rounded


def fastest(groups: Iterable[Group]) -> tuple[Block, dict]:
    """A sentence per dimension and user on the fastest way to a Dice of 0.90."""
    texts, numbers = [], {}
    for group in groups:
        columns = group.interactive
        unseen = group.unseen(columns)
        heads = head_names(columns)
        times = {heads[c]: list(reaches.values()) for c in columns if (reaches := times_of(group, c, unseen))}
        where = f"{group.dimension}D, user {group.user}"
        if not times:
            texts.append(f"**{where}:** no interactive method was judged on data that no network here was trained on.")
            continue
        middles = {name: median(reaches) for name, reaches in times.items()}
        shares = {name: reached(reaches) for name, reaches in times.items()}
        order = sorted(times, key=lambda name: (middles[name] is None, middles[name] or 0, -shares[name]))
        first = order[0]
        if not any(shares.values()):
            texts.append(f"**{where}:** no run of any method gets to Dice {LEVEL:.2f}.")
        elif middles[first] is None:
            best = max(shares, key=lambda name: shares[name])
            texts.append(
                f"**{where}:** no method brings half of its runs to Dice {LEVEL:.2f}; "
                f"most get there with {best} ({100 * shares[best]:.0f} %)."
            )
        else:
            rest = "; ".join(_time_words(name, middles[name], shares[name]) for name in order[1:])
            texts.append(
                f"**{where}:** {first} reaches Dice {LEVEL:.2f} in least user time, in {middles[first]:.1f} s "
                f"(median; {100 * shares[first]:.0f} % of runs get there). The others: {rest or 'none was judged'}."
            )
        numbers[f"{group.dimension}d {group.user}"] = {
            name: {"median_seconds": rounded(middles[name]), "reached": rounded(shares[name])} for name in order
        }
    return Items(texts), numbers


def _time_words(name: str, middle: float | None, share: float) -> str:
    return f"{name} {'never in half of its runs' if middle is None else f'{middle:.1f} s'} ({100 * share:.0f} %)"
