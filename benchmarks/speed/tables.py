"""What was measured, as Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from benchmarks.speed.load import COUNT
from benchmarks.speed.ours import OTHER, model_of
from benchmarks.speed.peers import FAIR, OURS
from benchmarks.speed.targets import Target, against, beside_busy
from benchmarks.speed.timing import BF16, FIRST, FP32, MOMENTS, REFINEMENT, WHOLE, Measurement
from bifseg.networks.checkpoint import DEFAULT

ORDER = (
    "crop", "features", "graph", "geodesic", "classifier", "cut", "weight map", "network update", "band cut", "tidy",
    "paste", OTHER, WHOLE,
)  # fmt: skip


def document(about: dict, machine: dict, found: Sequence[Measurement], extra: dict, aims: Sequence[Target]) -> str:
    """The whole page."""
    parts = [
        "# How near the machine's limit\n",
        _machine(about, machine),
        _section("Promises", _targets(aims)),
        *(_section(title, table) for title, table in _stage_tables(found)),
        _section("Whole interactions", _wholes(found)),
        _section("Features of the paper's networks at their printed widths", _printed(found)),
        _section("Other methods, on the same boxes", _peers(found)),
        _section("The grid growing with the box", _grid(found)),
        _section("The same box in larger scans", _scans(found)),
        _section("Opening a scan", _opened(found)),
        _section("Memory", _memory(extra.get("memory", []))),
        _section("Beside busy processes", _loaded(found)),
        _section("A fresh process", _cold(extra.get("cold", []))),
        _section("What a fresh process imports", _imports(extra.get("imports", []))),
    ]
    return "\n".join(part for part in parts if part)


def duration(seconds: float) -> str:
    """Three digits: ``0.21 ms``, ``48.3 ms``, ``1.24 s``."""
    value, unit = (1e3 * seconds, "ms") if seconds < 0.9995 else (seconds, "s")
    digits = 0 if value >= 99.95 else 1 if value >= 9.995 else 2
    return f"{value:.{digits}f} {unit}"


def spread(m: Measurement) -> str:
    """The median, and the quartiles' distance as a share of it."""
    low, high = m.quartiles
    return f"{duration(m.median)} ± {50 * (high - low) / m.median if m.median else 0:.0f} %"


def _machine(about: dict, machine: dict) -> str:
    versions = ", ".join(f"{name} {number}" for name, number in about["versions"].items() if number)
    lines = [
        f"{about['date']}; {about['cpu']} ({', '.join(about['instructions'])}), {about['threads']} of {about['cores']} "
        f"cores; {versions}. Matrix products {machine[FP32] / 1e9:.0f} (fp32) and {machine[BF16] / 1e9:.0f} (bf16) "
        f"GFLOP/s, memory {machine['bandwidth'] / 1e9:.1f} GB/s, the better of before and after. Load average at the "
        f"start {about['load_average_at_start']}. {about['scenes']}",
        "",
        "Medians, ± half the distance of the quartiles. A limit is the longer of operations / matrix rate and bytes / "
        "memory rate, each stage by itself; what it counts is in speed.json.",
        "",
    ]
    return "\n".join([*lines, *(f"**{warning}**\n" for warning in about["warnings"])])


def _targets(aims: Iterable[Target]) -> list[list[str]]:
    rows = [["promise", "at most", "found", ""]]
    for aim in aims:
        value = "" if aim.value is None else f"{aim.value:.3g} {aim.unit}"
        rows.append([aim.name, f"{aim.most:g} {aim.unit}", value, aim.verdict if aim.verdict != "fail" else "**fail**"])
    return rows


def _stage_tables(found: Sequence[Measurement]) -> list[tuple[str, list[list[str]]]]:
    """A table of stages for the boxes that promises are about."""
    made = []
    for facts in (
        {"part": "stages", "dimension": 2, "side": FAIR[2], "preset": "fast", "network": DEFAULT[2]},
        {"part": "stages", "dimension": 3, "side": FAIR[3], "preset": "fast", "network": DEFAULT[3]},
        {"part": "grid", "dimension": 3, "side": FAIR[3]},
    ):
        here = [m for m in found if m.matches(**facts)]
        if not here:
            continue
        rows = [["stage", *(head for moment in MOMENTS for head in (moment, "limit", "ratio"))]]
        for stage in sorted({m.stage for m in here}, key=_place):
            row = [stage]
            for moment in MOMENTS:
                m = next((m for m in here if m.matches(moment=moment, stage=stage)), None)
                row += ["", "", ""] if m is None else [spread(m), *_limit(m)]
            rows.append(row)
        d, side, grid = (here[0].facts[name] for name in ("dimension", "side", "grid"))
        made.append((f"Stages in {d}D: box {side}, working grid {grid}, preset `fast`", rows))
    return made


def _wholes(found: Sequence[Measurement]) -> list[list[str]]:
    chosen = [m for m in found if m.matches(part="stages", stage=WHOLE)]
    pairs = list(dict.fromkeys((m.facts["network"], m.facts["preset"]) for m in chosen))
    boxes = sorted({(m.facts["dimension"], m.facts["side"]) for m in chosen})
    rows = [["box", *(f"{network}, `{preset}`" for network, preset in pairs)]]
    for dimension, side in boxes:
        row = [f"{side}^{dimension}"]
        for network, preset in pairs:
            same = {"dimension": dimension, "side": side, "network": network, "preset": preset}
            cells = [next((m for m in chosen if m.matches(**same, moment=moment)), None) for moment in MOMENTS]
            row.append(" / ".join(duration(m.median) for m in cells if m is not None))
        rows.append(row)
    return rows


def _printed(found: Sequence[Measurement]) -> list[list[str]]:
    rows = [["network", "grid", "features", "limit", "ratio"]]
    for m in found:
        if m.part == "printed":
            rows.append([m.facts["network"], f"{m.facts['grid']}^{m.facts['dimension']}", spread(m), *_limit(m)])
    return rows


def _peers(found: Sequence[Measurement]) -> list[list[str]]:
    """Ratios are those on the same grid; behind them, where it is another, those of ours on its own."""
    rows = [["method", "box", "grid", "first mask", "ours / its", "refinement", "ours / its"]]
    for first in found:
        if not first.matches(part="peers", moment=FIRST):
            continue
        d, name = first.facts["dimension"], first.facts["method"]
        last = next(m for m in found if m.part == "peers" and m.facts == first.facts and m.moment == REFINEMENT)
        row = [first.facts["title"], f"{first.facts['side']}^{d}", str(first.facts["grid"])]
        for m in (first, last):
            grids = dict.fromkeys((FAIR[d], model_of("default", d).size))
            ratios = [] if name == OURS else [against(found, d, name, m.moment, grid) for grid in grids]
            row += [spread(m), " / ".join(f"{ratio:.2f}" for ratio in ratios if ratio is not None)]
        rows.append(row)
    return rows


def _grid(found: Sequence[Measurement]) -> list[list[str]]:
    chosen = [m for m in found if m.matches(part="grid", stage=WHOLE)]
    rows = [["box and grid", *MOMENTS]]
    for d, side in sorted({(m.facts["dimension"], m.facts["side"]) for m in chosen}):
        cells = [next(m for m in chosen if m.matches(dimension=d, side=side, moment=moment)) for moment in MOMENTS]
        rows.append([f"{side}^{d}", *map(spread, cells)])
    return rows


def _scans(found: Sequence[Measurement]) -> list[list[str]]:
    chosen = [m for m in found if m.matches(part="scan", stage=WHOLE)]
    rows = [["scan", "box", *MOMENTS]]
    for scan in sorted({m.facts["scan"] for m in chosen}):
        cells = [next(m for m in chosen if m.matches(scan=scan, moment=moment)) for moment in MOMENTS]
        rows.append([f"{scan}^3", f"{cells[0].facts['side']}^3", *map(spread, cells)])
    return rows


def _opened(found: Sequence[Measurement]) -> list[list[str]]:
    rows = [["file", "scan", "time", "limit", "ratio"]]
    for m in found:
        if m.part == "open":
            rows.append([f"`{m.facts['file']}`", f"{m.facts['scan']}^3", spread(m), *_limit(m)])
    return rows


def _memory(memory: Iterable[dict]) -> list[list[str]]:
    return [["box", "grid", "peak above the opened scan"]] + [
        [f"{m['side']}^{m['dimension']}", str(m["grid"]), f"{m['peak_mib']:.0f} MiB"]
        for m in memory
        if m["peak_mib"] is not None
    ]


def _cold(cold: Iterable[dict]) -> list[list[str]]:
    return [["box", "compiled before", "beside busy processes", "imported", "and scan read", "and first mask"]] + [
        [f"{m['side']}^{m['dimension']}", "yes" if m["compiled"] else "no", str(m["beside"])]
        + [f"{m[moment]:.2f} s" for moment in ("imported", "opened", FIRST)]
        for m in cold
    ]


def _imports(imports: Iterable[dict]) -> list[list[str]]:
    return [["package", "its own time"]] + [[m["package"], duration(m["milliseconds"] / 1e3)] for m in imports]


def _loaded(found: Sequence[Measurement]) -> list[list[str]]:
    """Free and loaded, taken in turn."""
    rows = [["box", "", "free", f"beside {COUNT} busy processes", "ratio of medians", "95th percentile"]]
    for dimension in (2, 3):
        for moment in MOMENTS:
            free, loaded = (beside_busy(found, dimension, moment, beside) for beside in (0, COUNT))
            if free is None or loaded is None:
                continue
            ratio, slowest = loaded.median / free.median, duration(float(np.percentile(loaded.seconds, 95)))
            box = f"{free.facts['side']}^{dimension}"
            rows.append([box, moment, spread(free), spread(loaded), f"{ratio:.1f}", slowest])
    return rows


def _limit(m: Measurement) -> list[str]:
    return ["", ""] if not m.limit else [duration(m.limit), f"{m.ratio:.1f}" if m.ratio < 100 else f"{m.ratio:.0f}"]


def _place(stage: str) -> tuple[int, str]:
    return (ORDER.index(stage) if stage in ORDER else len(ORDER) - 2, stage)


def _section(title: str, rows: list[list[str]]) -> str:
    """A heading and a table; nothing where there is only the table's head."""
    if len(rows) < 2:
        return ""
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    lines.insert(1, "|" + "---|" * len(rows[0]))
    return f"## {title}\n\n" + "\n".join(lines) + "\n"
