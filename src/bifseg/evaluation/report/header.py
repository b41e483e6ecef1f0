"""What was run, and what is meant by the marks: the head of a report."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from bifseg.evaluation.methods import METHODS
from bifseg.evaluation.report.document import Block, Cell, Heading, Items, Table, Text
from bifseg.evaluation.report.groups import Group, short_names
from bifseg.evaluation.report.tables import DAGGER


def header(rows: Sequence[Mapping], groups: Sequence[Group]) -> tuple[list[Block], dict]:
    """Counts, and which network learnt from which data set."""
    counts = {
        "data sets": len({r["dataset"] for r in rows}),
        "patients": len({(r["dataset"], r["patient"]) for r in rows}),
        "cases": len({(r["dataset"], r["case"]) for r in rows}),
        "objects": len({(r["dataset"], r["case"], r["label"], r["dimension"]) for r in rows}),
        "seeds": len({r["seed"] for r in rows}),
        "steps": len(rows),
    }
    blocks: list[Block] = [Text("Judged: " + ", ".join(f"{count} {name}" for name, count in counts.items()) + ".")]
    blocks += [_counted(groups), *_seen(rows)]
    numbers = {"counts": counts}
    missing = [m.title for name, m in METHODS.items() if not any(r["method"] == name for r in rows)]
    if missing:
        blocks.append(Text(f"Not judged here: {', '.join(missing)}."))
    return blocks, numbers


def how_it_was_run(abouts: Iterable[Mapping]) -> list[Block]:
    """Commands, machines, versions, models and parameters, from the files beside the results."""
    blocks: list[Block] = [Heading("How it was run")]
    for about in abouts:
        facts = [f"**{about.get('results', 'results')}**"]
        if len(about) <= 1:
            blocks.append(Text(f"{facts[0]}: nothing is said about this run; there is no .about.json beside it."))
            continue
        for name in ("date", "machine", "processes"):
            if name in about:
                facts.append(f"{name} {about[name]}")
        versions = ", ".join(f"{name} {version}" for name, version in about.get("versions", {}).items())
        lines = [", ".join(facts)] + ([f"versions: {versions}"] if versions else [])
        lines += [f"command: `{command}`" for command in about.get("commands", [])]
        for name, model in about.get("models", {}).items():
            model = model if isinstance(model, Mapping) else {"sha256": str(model)}
            parts = [f"sha256 {str(model['sha256'])[:12]}"] if "sha256" in model else []
            parts += [f"{model['parameters']} parameters"] if "parameters" in model else []
            parts += [f"trained on: {model['data']}"] if "data" in model else []
            lines.append(f"model {name}: {', '.join(parts)}")
        for name, values in about.get("methods", {}).items():
            settings = values.items() if isinstance(values, Mapping) else [("setting", values)]
            lines.append(f"parameters of {name}: `{', '.join(f'{k}={v}' for k, v in settings) or 'none'}`")
        blocks.append(Items(lines))
    return blocks


def _counted(groups: Sequence[Group]) -> Table:
    lines = []
    for group in groups:
        names = short_names(d for d, _ in group.rows)
        for dataset in sorted(names):
            things = {t.thing for traces in group.traces.values() for t in traces if t.thing.dataset == dataset}
            seeds = {t.seed for traces in group.traces.values() for t in traces if t.thing.dataset == dataset}
            counts = [
                len({t.patient for t in things}), len({t.case for t in things}), len({t.label for t in things}),
                len(things), len(seeds),
            ]  # fmt: skip
            lines.append([
                Cell(group.protocol), Cell(f"{group.dimension}D"), Cell(group.user), Cell(names[dataset]),
                *(Cell(str(count), count) for count in counts),
            ])  # fmt: skip
    heads = ["Protocol", "", "User", "Data", "Patients", "Cases", "Labels", "Objects", "Seeds"]
    return Table("judged", "What was judged", heads, lines, 4)


def _seen(rows: Iterable[Mapping]) -> list[Block]:
    pairs = sorted({(r["network"], r["dataset"]) for r in rows if r["seen"]}, key=str)
    if not pairs:
        return [Text("No network here was trained on any of these data sets.")]
    by_network: dict[str, list[str]] = {}
    for network, dataset in pairs:
        by_network.setdefault(str(network), []).append(dataset)
    names = "; ".join(f"{network}: {', '.join(datasets)}" for network, datasets in by_network.items())
    return [
        Text(
            f"**Trained on what it is judged on** ({names}): these numbers bear a {DAGGER} everywhere and are "
            "in no macro average."
        )
    ]
