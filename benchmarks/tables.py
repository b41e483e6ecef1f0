"""The report of `accuracy.py` from its rows; alone: ``python benchmarks/tables.py docs/results/accuracy``.

Every object's Dice is averaged over its seeds first. Objects of one patient are one unit of the bootstrap.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from scipy import stats

from bifseg.files import write_atomically, write_json

STEPS = {
    "box": "From the box alone",
    "round 1": "After one round of scribbles, the same for all methods",
    "round 3": "After three rounds of scribbles",
}
METHODS = {"network": "network", "crf": "+CRF", "-w": "BIFSeg(-w)", "fast": "BIFSeg", "paper": "BIFSeg, printed preset"}
CLAIMS = (
    ("box", "crf", "network"),
    ("box", "fast", "crf"),
    ("round 1", "fast", "crf"),
    ("round 3", "fast", "crf"),
    ("box", "fast", "-w"),
    ("round 1", "fast", "-w"),
    ("round 3", "fast", "-w"),
)
SEPARATELY = {2: ("ACDC", "AbdomenCT2D"), 3: ("BRATS2013",)}  # data sets with comparisons of their own
RESAMPLES = 10_000
NOTE = """Dice in %: mean ± standard deviation over n objects, each averaged over its seeds (a seed is another box).
**all**: the objects of a data set; **macro**: the mean over the means of (data set, object), so that each counts the
same, however many objects it has; its n and ± are those of all objects. From the box, `session.box` gives +CRF in 2D
and BIFSeg in 3D as shipped. BIFSeg is the preset `fast`, fine-tuned without scribbles from the box; BIFSeg(-w) is the
same without the weights of Eq. 13; the printed preset, where it is shown, was run on the first seed only."""

Thing = tuple[str, str, str, str]  # data set, patient, case, label: one object
Scores = dict[Thing, dict[int, float]]  # its Dice in % by seed


@dataclass(frozen=True)
class Comparison:
    """Paired difference of two methods in points of Dice, over objects averaged over their seeds."""

    objects: int
    units: int  # patients
    difference: float
    low: float  # 95 % interval, bootstrap over units
    high: float
    t_test: float  # p; nan where it is not defined
    wilcoxon: float
    worse: float  # share of objects that lost more than a point
    by_seed: dict[int, float]


def read_rows(path: Path) -> list[dict]:
    """The rows of a JSON-lines file, if there is one; a last line that was not finished is left out."""
    lines = path.read_text().split("\n") if path.exists() else [""]
    return [json.loads(line) for line in lines[:-1]]


def about_models(output: Path) -> dict[str, dict]:
    """What the last report said about its models: when, where and with which parameters they were judged."""
    path = Path(f"{output}.summary.json")
    told = json.loads(path.read_text()) if path.exists() else {}
    return {name: entry["about"] for name, entry in told.items()}


def scores(rows: Iterable[dict], step: str, method: str, dataset: str = "") -> Scores:
    """Dice of every object by seed; ``dataset``: the short name of the only one to look at."""
    found: Scores = defaultdict(dict)
    for r in rows:
        if r["step"] == step and r["method"] == method and dataset in ("", _short(r["dataset"])):
            found[_short(r["dataset"]), r["patient"], r["case"], r["label"]][r["seed"]] = 100 * r["dice"]
    return dict(found)


def summarise(found: Scores) -> dict[tuple[str, str], tuple[float, float, int]]:
    """(data set, label) -> mean, standard deviation, n; also (data set, "all") and ("macro", "")."""
    groups, means = defaultdict(list), {}
    for (dataset, _, _, label), by_seed in found.items():
        for key in ((dataset, label), (dataset, "all"), ("macro", "")):
            groups[key].append(np.mean(list(by_seed.values())))
    for key, values in groups.items():
        means[key] = (float(np.mean(values)), float(np.std(values, ddof=1)) if len(values) > 1 else 0.0, len(values))
    if means:
        classes = [mean for (dataset, label), (mean, _, _) in means.items() if label != "all" and dataset != "macro"]
        means["macro", ""] = (float(np.mean(classes)), *means["macro", ""][1:])
    return means


def compare(ours: Scores, theirs: Scores) -> Comparison | None:
    """What ``ours`` gains over ``theirs`` on objects and seeds that both have; None where there are none."""
    gaps, units, by_seed = [], [], defaultdict(list)
    for thing in sorted(ours.keys() & theirs.keys()):
        if seeds := sorted(ours[thing].keys() & theirs[thing].keys()):
            own = [ours[thing][seed] - theirs[thing][seed] for seed in seeds]
            gaps.append(np.mean(own))
            units.append(thing[:2])
            for seed, gap in zip(seeds, own, strict=True):
                by_seed[seed].append(gap)
    if not gaps:
        return None
    gap = np.array(gaps)
    varied = np.ptp(gap) > 0
    return Comparison(
        len(gap), len(set(units)), float(gap.mean()), *bootstrap(gap, units),
        t_test=float(stats.ttest_1samp(gap, 0).pvalue) if varied else np.nan,
        wilcoxon=float(stats.wilcoxon(gap).pvalue) if varied else np.nan,
        worse=float((gap < -1).mean()),
        by_seed={seed: round(float(np.mean(own)), 3) for seed, own in sorted(by_seed.items())},
    )  # fmt: skip


def bootstrap(values: np.ndarray, units: Sequence, seed: int = 0) -> tuple[float, float]:
    """95 % interval of the mean: whole units are drawn, so that what belongs together stays together."""
    _, unit = np.unique([" / ".join(u) for u in units], return_inverse=True)
    sums, counts = np.bincount(unit, values), np.bincount(unit)
    drawn = np.random.default_rng(seed).integers(0, len(sums), (RESAMPLES, len(sums)))
    low, high = np.percentile(sums[drawn].sum(1) / counts[drawn].sum(1), (2.5, 97.5))
    return float(low), float(high)


def report(rows: Sequence[dict], about: Mapping[str, Mapping]) -> str:
    """Markdown: of every model its header, tables by step, comparisons, and times."""
    lines = ["# Accuracy", "", 'Fold "report" of `benchmarks/objects.py`.', "", *NOTE.splitlines()]
    for name in dict.fromkeys(r["model"] for r in rows):
        own = [r for r in rows if r["model"] == name]
        methods = {m: head for m, head in METHODS.items() if any(r["method"] == m for r in own)}
        seeds = sorted({r["seed"] for r in own})
        lines += ["", f"## {name}", "", *_header(about.get(name, {}), own, seeds)]
        for step, title in STEPS.items():
            lines += ["", f"### {title}", "", *_table(own, step, methods)]
        lines += [
            "",
            "### Paired comparisons",
            "",
            *_comparisons(own),
            "",
            "### Median seconds",
            "",
            *_times(own, methods),
        ]
    return "\n".join(lines) + "\n"


def summary(rows: Sequence[dict], about: Mapping[str, Mapping]) -> dict:
    """By model: about it, the macro Dice and that of each data set by step and method, and the comparisons."""
    told = {}
    for name in dict.fromkeys(r["model"] for r in rows):
        own = [r for r in rows if r["model"] == name]
        entry = told[name] = {"about": about.get(name, {}), "macro": {}, "datasets": {}, "comparisons": []}
        for step in STEPS:
            means = {m: summarise(scores(own, step, m)) for m in METHODS}
            means = {m: found for m, found in means.items() if found}
            entry["macro"][step] = {m: _rounded(found["macro", ""]) for m, found in means.items()}
            entry["datasets"][step] = {
                m: {d: _rounded(value) for (d, label), value in sorted(found.items()) if label == "all"}
                for m, found in means.items()
            }
        for data, step, ours, theirs, found in _compared(own):
            numbers = {
                k: None if v != v else round(v, 5) if isinstance(v, float) else v for k, v in asdict(found).items()
            }
            entry["comparisons"].append({"data": data, "step": step, "ours": ours, "theirs": theirs, **numbers})
    return told


def chart(rows: Sequence[dict], path: Path) -> None:
    """Mean Dice by step: a row of panels per model, a panel per data set, a line per method but `paper`."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    styles = {  # Okabe and Ito's colours
        "network": {"color": "#666666", "marker": "D"},
        "crf": {"color": "#0072b2", "marker": "s"},
        "-w": {"color": "#e69f00", "marker": "^"},
        "fast": {"color": "#d55e00", "marker": "o"},
    }
    names = list(dict.fromkeys(r["model"] for r in rows))
    panels = {n: ["macro", *sorted({_short(r["dataset"]) for r in rows if r["model"] == n})] for n in names}
    columns = max(len(found) for found in panels.values())
    figure, axes = plt.subplots(
        len(names), columns, figsize=(2.3 * columns + 0.6, 2.4 * len(names) + 0.5), sharey="row", squeeze=False,
        layout="constrained",
    )  # fmt: skip
    for line, name in zip(axes, names, strict=True):
        own = [r for r in rows if r["model"] == name]
        means = {(step, method): summarise(scores(own, step, method)) for step in STEPS for method in styles}
        for axis in line[len(panels[name]) :]:
            axis.set_axis_off()
        for axis, data in zip(line, panels[name], strict=False):
            key = ("macro", "") if data == "macro" else (data, "all")
            for method, style in styles.items():
                points = [
                    (k, means[step, method][key][0]) for k, step in enumerate(STEPS) if key in means[step, method]
                ]
                axis.plot(*zip(*points, strict=True), label=METHODS[method], markersize=4.5, linewidth=1.4, **style)
            count = max(found[key][2] for found in means.values() if key in found)
            axis.set_title(f"{data} (n = {count})", fontsize=9, fontweight="bold" if data == "macro" else "normal")
            axis.set_xticks(range(len(STEPS)), STEPS, fontsize=8)
            axis.tick_params(axis="y", labelsize=8, length=0)
            axis.set_xlim(-0.25, len(STEPS) - 0.75)
            axis.grid(axis="y", color="#dddddd", linewidth=0.6)
            axis.set_axisbelow(True)
            axis.spines[["top", "right", "left"]].set_visible(False)
        line[0].set_ylabel(f"{name}\nDice, %", fontsize=9)
    figure.legend(
        *axes[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=4, frameon=False, fontsize=9
    )
    figure.savefig(path, dpi=150)
    plt.close(figure)


def write_report(
    output: Path, rows: list[dict], about: Mapping[str, Mapping], picture: Path | None = None
) -> list[Path]:
    """Write OUTPUT.md, OUTPUT.summary.json and, if asked for, the chart; returns their paths."""
    text, numbers = Path(f"{output}.md"), Path(f"{output}.summary.json")
    write_atomically(text, report(rows, about).encode())
    write_json(numbers, summary(rows, about))
    if picture and rows:
        chart(rows, picture)
    return [text, numbers, *([picture] if picture and rows else [])]


def _short(dataset: str) -> str:
    return dataset.split("_", 1)[-1]


def _rounded(value: tuple[float, float, int]) -> dict:
    return dict(zip(("mean", "sd", "n"), (round(value[0], 3), round(value[1], 3), value[2]), strict=True))


def _header(about: Mapping, rows: Sequence[dict], seeds: Sequence[int]) -> list[str]:
    told = [f"sha256 {rows[0]['sha256'][:12]}, {rows[0]['dimension']}D, {len(seeds)} seeds (boxes per object)."]
    if about:
        where = f"{about['date']}, {about['machine']}, {about['processes']} processes of one thread"
        told[0] = f"{where}, torch {about['torch']}; {told[0]}"
        for method in ("fast", *(["paper"] if any(r["method"] == "paper" for r in rows) else [])):
            values = ", ".join(f"{key}={value}" for key, value in about["parameters"][method].items())
            told += ["", f"Parameters of {METHODS[method]}: `{values}`"]
    return told


def _table(rows: Sequence[dict], step: str, methods: Mapping[str, str]) -> list[str]:
    means = {m: summarise(scores(rows, step, m)) for m in methods}
    means = {m: found for m, found in means.items() if found}
    lines = [
        "| data | object | n | " + " | ".join(methods[m] for m in means) + " |",
        "|---|---|---|" + "---|" * len(means),
    ]
    keys = {key for found in means.values() for key in found}
    for data, label in sorted(keys, key=lambda key: (key[0] == "macro", key[0], key[1] == "all", key[1])):
        values = {m: found[data, label] for m, found in means.items() if (data, label) in found}
        best = max(mean for mean, _, _ in values.values())
        cells = []
        for m in means:
            mean, sd, n = values.get(m, (np.nan, 0, 0))
            text = "–" if not n else f"{mean:.1f} ± {sd:.1f}" if n > 1 else f"{mean:.1f}"
            cells.append(f"**{text}**" if mean == best else text)
        counts = sorted({n for _, _, n in values.values()})  # more than one: the run is not complete
        row = [f"**{data}**" if data == "macro" else data, f"**{label}**" if label == "all" else label]
        lines.append("| " + " | ".join([*row, "–".join(str(n) for n in counts), *cells]) + " |")
    return lines


def _compared(rows: Sequence[dict]) -> list[tuple[str, str, str, str, Comparison]]:
    datasets = ("", *SEPARATELY[rows[0]["dimension"]])
    found = [
        (data or "all", step, ours, theirs, compare(scores(rows, step, ours, data), scores(rows, step, theirs, data)))
        for data in datasets
        for step, ours, theirs in CLAIMS
    ]
    return [entry for entry in found if entry[-1] is not None]


def _comparisons(rows: Sequence[dict]) -> list[str]:
    lines = [
        "| data | step | compared | objects (patients) | points of Dice [95 % interval] | p, t-test | p, Wilcoxon | "
        "worse by > 1 point | on each seed |",
        "|" + "---|" * 9,
    ]
    for data, step, ours, theirs, c in _compared(rows):
        cells = [
            data,
            step,
            f"{METHODS[ours]} vs {METHODS[theirs]}",
            f"{c.objects} ({c.units})",
            f"**{c.difference:+.1f}** [{c.low:+.1f}, {c.high:+.1f}]",
            _p(c.t_test),
            _p(c.wilcoxon),
            f"{100 * c.worse:.0f} %",
            " / ".join(f"{gap:+.1f}" for gap in c.by_seed.values()),
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def _p(p: float) -> str:
    return "–" if np.isnan(p) else "< 0.001" if p < 0.001 else f"{p:.3f}"


def _times(rows: Sequence[dict], methods: Mapping[str, str]) -> list[str]:
    lines = ["| step | " + " | ".join(methods.values()) + " |", "|---|" + "---|" * len(methods)]
    for step in STEPS:
        told = [r for r in rows if r["step"] == step and r["seconds"] > 0]  # 0: there was nothing left to correct
        seconds = [[r["seconds"] for r in told if r["method"] == m] for m in methods]
        lines.append(f"| {step} | " + " | ".join(f"{np.median(s):.2f}" if s else "–" for s in seconds) + " |")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("output", type=Path, help="reads OUTPUT.jsonl, writes OUTPUT.md and OUTPUT.summary.json")
    parser.add_argument("--chart", type=Path, metavar="FILE.png")
    arguments = parser.parse_args()
    rows = read_rows(Path(f"{arguments.output}.jsonl"))
    for written in write_report(arguments.output, rows, about_models(arguments.output), arguments.chart):
        print(f"Wrote {written}.")


if __name__ == "__main__":
    main()
