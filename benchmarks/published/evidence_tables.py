"""Tables of the evidence in Markdown, from the numbers in docs/results/evidence.json."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

from benchmarks.models.objects import TASKS
from benchmarks.published.claims import verdict
from benchmarks.published.users import DEVELOPED
from bifseg.evaluation.methods import METHODS
from bifseg.evaluation.report.groups import short_names
from bifseg.evaluation.report.tables import points_of

HANDS = (1, 3)  # how many times as fast as modelled a user's hand moves, see `within`
STEPS = {"2D": (0, 1, 3, 5), "3D": (0, 1, 3, 5)}
TITLES = {**{name: method.title for name, method in METHODS.items()}, "network": "network alone"}
ABLATED = ("bifseg-w", "network", "bifseg-scribbles")
NOT_OTHERS = ("bifseg", "bifseg-scribbles", "bifseg-w", "crf", "network")
Numbers = Mapping[str, Mapping]


def table(heads: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """A table in Markdown."""
    return "\n".join("| " + " | ".join(line) + " |" for line in (heads, ["---"] * len(heads), *lines))


def percent(one: Sequence[float | None], digits: int = 1) -> str:
    """A mean in %, with its interval where there is one."""
    mean, *ends = (None if value is None else f"{100 * value:.{digits}f}" for value in one)
    return f"{mean} [{ends[0]}, {ends[1]}]" if ends[0] is not None else str(mean)


def points(one: Sequence[float | None]) -> str:
    """A difference in points with its interval: bold where all of it is below 0, a star where all is above."""
    mean, low, high = one
    if low is None or high is None:
        return points_of(mean)
    text = f"{points_of(mean)} [{points_of(low)}, {points_of(high)}]"
    return f"**{text}**" if high < 0 else f"{text}*" if low > 0 else text


def counts(basis: Mapping) -> str:
    """How much a number stands on, in words."""
    parts = [
        (len(basis["sets"]), "data set"),
        *((basis[key], key[:-1]) for key in ("structures", "patients", "objects")),
    ]
    return ", ".join(f"{n} {word}{'s' * (n != 1)}" for n, word in parts)


def step_name(step: int) -> str:
    return "start" if step == 0 else f"round {step}"


def means(numbers: Numbers, dimension: str, subset: str = "all") -> str:
    """Macro Dice of every method after some steps, the best of a step in bold, and the time to 0.90."""
    own, steps = numbers[dimension], STEPS[dimension]
    values = own["means"].get(subset)
    if values is None:
        return "There are none."
    top = {step: max(round(found[step][0], 3) for found in values.values()) for step in steps}
    lines = []
    for method, found in values.items():
        cells = [
            f"**{percent(found[step])}**" if round(found[step][0], 3) == top[step] else percent(found[step])
            for step in steps
        ]
        got = own["reached"][method]
        time = "–" if got["seconds"] is None else f"{got['seconds']:.1f} s"
        more = [f"{time} ({100 * got['share']:.0f} %)"] if subset == "all" else []
        lines.append([TITLES[method], *cells, *more])
    heads = [dimension, *map(step_name, steps), *(["user time to 0.90, median (got there)"] if subset == "all" else [])]
    return f"{counts(own['basis'][subset])}{dated(numbers)}:\n\n{table(heads, lines)}"


def within(numbers: Numbers, dimension: str, hand: int = 1) -> str:
    """Macro Dice of what a user has after some seconds, and how far BIFSeg is above it; ``hand``: how many times as
    fast as modelled the hand moves. What the start takes is told as modelled."""
    own = numbers[dimension]["within"][str(hand)]
    top = {seconds: max(round(one[0], 3) for one in found["means"].values()) for seconds, found in own.items()}
    lines = []
    for method in numbers[dimension]["means"]["all"]:
        cells = [f"{numbers[dimension]['begun'][method]:.1f} s"]
        for seconds, found in own.items():
            mean = f"{100 * found['means'][method][0]:.1f}"
            mean = f"**{mean}**" if round(found["means"][method][0], 3) == top[seconds] else mean
            cells.append(mean if method == "bifseg" else f"{mean}: {points(found['gaps'][method])}")
        lines.append([TITLES[method], *cells])
    return table([dimension, "its start takes", *(f"after {seconds} s: BIFSeg less it" for seconds in own)], lines)


def gaps(numbers: Numbers, kind: str = "gaps", subset: str = "all", ours: str = "bifseg") -> str:
    """BIFSeg less every other method, paired, 2D beside 3D."""
    found = {
        d: own["gaps"].get(subset, {}) if kind == "gaps" else own[kind] for d, own in numbers.items() if d in STEPS
    }
    names = list(dict.fromkeys(method for own in found.values() for method in own))
    steps = {d: STEPS[d] for d in found if found[d]}
    lines = [
        [TITLES[name], *(points(found[d][name][s]) if name in found[d] else "–" for d in steps for s in steps[d])]
        for name in names
    ]
    return table([f"{TITLES[ours]} less", *(f"{d} {step_name(s)}" for d in steps for s in steps[d])], lines)


def ablation(numbers: Numbers) -> str:
    """BIFSeg less what is less than it, with what it stands on."""
    stands = "; ".join(f"{d}: {counts(own['basis']['ablation'])}" for d, own in numbers.items() if d in STEPS)
    return f"{stands}.\n\n{gaps(numbers, 'ablation')}"


def worse(numbers: Numbers) -> str:
    """How many objects each round left lower."""
    lines = []
    for dimension in STEPS:
        for method, rounds in numbers[dimension]["worse"].items():
            cells = [
                f"{one['worse']} of {one['objects']}" + (f" ({points_of(one['most'])})" if one["worse"] else "")
                for one in rounds
            ]
            lines.append([dimension, TITLES[method], *cells])
    rounds = len(numbers["2D"]["worse"]["bifseg"])
    return table(["", "lower by more than a point after (worst)", *(step_name(k + 1) for k in range(rounds))], lines)


def losers(numbers: Numbers) -> str:
    """Where another method is above BIFSeg, surely (the whole interval) or not, a line per dimension and step."""
    lines = []
    for dimension, steps in STEPS.items():
        for step in steps:
            surely, perhaps = [], []
            for method, own in numbers[dimension]["gaps"]["all"].items():
                if method == "bifseg-scribbles":  # the same with another start
                    continue
                mean, low, high = own[step]
                if high is not None and high < 0:
                    ends = f"[{points_of(-high)}, {points_of(-low)}]"
                    surely.append(f"{TITLES[method]} by {100 * -mean:.1f} {ends}")
                elif mean < 0:
                    perhaps.append(f"{TITLES[method]} by {100 * -mean:.1f}")
            lines.append([dimension, step_name(step), ", ".join(surely) or "nobody", ", ".join(perhaps) or "nobody"])
    return table(["", "after", "surely above BIFSeg, points", "above, but not surely"], lines)


def _by_set(numbers: Numbers, dimension: str) -> dict[str, list[Mapping]]:
    """The structures of each data set."""
    found: dict[str, list[Mapping]] = {}
    for row in numbers[dimension]["structures"]:
        found.setdefault(row["set"], []).append(row)
    return found


def sets(numbers: Numbers) -> str:
    """Every data set: what it holds, what was chosen on it, and BIFSeg beside the best of the others."""
    developed = {task.dataset for task in TASKS}
    lines = []
    for dimension in STEPS:
        rows = _by_set(numbers, dimension)
        names = short_names(rows)
        for dataset, own in rows.items():
            cells = []
            for at in (0, 1, 2):
                mean = {m: sum(row[m][at] for row in own) / len(own) for m in numbers[dimension]["reached"]}
                best = max((m for m in mean if m not in NOT_OTHERS), key=lambda m: mean[m])
                cells.append(f"{100 * mean['bifseg']:.1f} / {TITLES[best]} {100 * mean[best]:.1f}")
            lines.append([
                dimension, names[dataset], "yes" if dataset in developed else "no", str(len(own)),
                str(max(row["patients"] for row in own)), str(sum(row["objects"] for row in own)), *cells,
            ])  # fmt: skip
    heads = [
        "",
        "data set",
        "its other cases tuned on",
        "structures",
        "patients",
        "objects",
        "start: BIFSeg / best other",
        "round 1",
        "round 5",
    ]
    return table(heads, lines)


def structures(numbers: Numbers, dimension: str) -> str:
    """Every structure: n, how many share their box, Dice of every method at the start, after a round, at the end."""
    rows = numbers[dimension]["structures"]
    names = short_names(row["set"] for row in rows)
    lines = [
        [
            names[row["set"]], row["class"], str(row["patients"]), str(row["objects"]), str(row["nested"]),
            *(" / ".join(f"{100 * value:.0f}" for value in row[method]) for method in numbers[dimension]["reached"]),
        ]
        for row in rows
    ]  # fmt: skip
    methods = [TITLES[method] for method in numbers[dimension]["reached"]]
    return table(["data set", "class", "patients", "objects", "share a box", *methods], lines)


def readme(numbers: Numbers) -> str:
    """The short table of README."""
    shown = {"2D": (0, 1, 3), "3D": (0, 1, 5)}
    heads = [""]
    for dimension, steps in shown.items():
        basis = numbers[dimension]["basis"]["all"]
        n = f"{dimension}, {basis['objects']} objects of {len(basis['sets'])} sets: "
        heads += [(n if step == 0 else f"{dimension} ") + step_name(step) for step in steps]
    heads.append("2D time to 0.90")
    lines = []
    for method in numbers["2D"]["means"]["all"]:
        cells = [percent(numbers[d]["means"]["all"][method][step], 0) for d, steps in shown.items() for step in steps]
        seconds = numbers["2D"]["reached"][method]["seconds"]
        name = f"**{TITLES[method]}**" if method == "bifseg" else TITLES[method]
        lines.append([name, *cells, "–" if seconds is None else f"{seconds:.1f} s"])
    when = dated(numbers).replace("; j", "J")
    return (f"{when}.\n\n" if when else "") + table(heads, lines)


def dated(numbers: Numbers) -> str:
    """When BIFSeg's numbers are of other settings than those that ship: of which date; else nothing."""
    old = [one for one in numbers["reports"] if one["name"] in ("rounds", "unseen") and not one["current"]]
    return f"; judged on {old[0]['date']}, before BIFSeg's parameters last changed" if old else ""


def reports(numbers: Numbers) -> str:
    """The reports beside these: what, when, where, on how much."""
    lines = [
        [
            f"[{one['name']}]({{results}}/{one['name']}/report.md)",
            one["date"],
            one["machine"],
            one["objects"],
            "yes" if one["current"] else "no",
        ]
        for one in numbers["reports"]
    ]
    return table(["report", "date", "machine", "objects (patients)", "of the settings that ship"], lines)


def basis(numbers: Numbers) -> str:
    """How many objects (of how many patients) are of each data set; those tuned on beside are marked."""
    developed = {task.dataset for task in TASKS}
    lines = []
    for dimension in STEPS:
        own = _by_set(numbers, dimension)
        names = short_names(own)
        told = [
            f"{names[name]}{'*' if name in developed else ''} {sum(row['objects'] for row in rows)} "
            f"({max(row['patients'] for row in rows)})"
            for name, rows in own.items()
        ]
        lines.append(f"- {dimension}, {counts(numbers[dimension]['basis']['all'])}: {', '.join(told)}.")
    return "\n".join(lines)


def claims(numbers: Numbers) -> str:
    """The paper's claims, what the paper says of each, what is found here, and the verdict that follows."""
    lines = []
    for claim in numbers["claims"]:
        cells = []
        for dimension in (2, 3):
            own = [one for one in claim["here"] if one["dimension"] == dimension]
            told = [
                f"{step_name(one['step'])}: {points(one['difference'])}, {verdict(*one['difference'][1:])}"
                for one in own
            ]
            n = f" (n = {own[0]['objects']})" if own else "–"
            cells.append("; ".join(told) + n)
        lines.append([claim["text"], claim["paper"], *cells, claim["date"]])
    return table(["the paper says", "its points", "2D here", "3D here", "judged"], lines)


def users(numbers: Numbers, file: str = "users") -> str:
    """Every user with BIFSeg and the best three of the others: Dice, and BIFSeg's less theirs."""
    lines = []
    for one in numbers["users"]:
        if one["file"] != file:
            continue
        best = sorted((m for m in one["gaps"] if m not in ABLATED), key=lambda m: -one["means"][m][0])[:3]
        who = one["user"] if file == "users" else ", ".join(short_names(one["sets"]).values())
        if DEVELOPED in one["sets"]:
            who += ", of the development fold"
        lines.append([
            who, step_name(one["step"]), f"{one['objects']} ({one['patients']})", percent(one["means"]["bifseg"]),
            *(f"{TITLES[m]} {percent(one['means'][m])}: {points(one['gaps'][m])}" for m in best),
            *["–"] * (3 - len(best)), one["date"],
        ])  # fmt: skip
    heads = ["user" if file == "users" else "data set", "after", "objects (patients)", "BIFSeg"]
    return table([*heads, "best other: BIFSeg less it", "second", "third", "judged"], lines)


BLOCKS: dict[str, Callable[[Numbers], str]] = {
    "basis": basis,
    "readme": readme,
    "means-2d": partial(means, dimension="2D"),
    "means-3d": partial(means, dimension="3D"),
    "within-2d": partial(within, dimension="2D"),
    "within-3d": partial(within, dimension="3D"),
    "gaps": gaps,
    "scribbled": partial(gaps, kind="scribbled", ours="bifseg-scribbles"),
    "ablation": ablation,
    "claims": claims,
    "losers": losers,
    "humans": partial(users, file="humans"),
    "reports": reports,
}


def block(name: str, results: Path) -> str:
    """One of `BLOCKS` from the numbers in a folder of results."""
    return BLOCKS[name](json.loads((results / "evidence.json").read_bytes()))
