"""Scores by structure and method, as in the paper's tables: mean ± sd, the best in bold, a star where it surely is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from bifseg.evaluation.report.document import EMPTY, Cell, Table
from bifseg.evaluation.report.groups import Column, Group, Row, only, short_names, structure, surely_above, title
from bifseg.evaluation.statistics import Comparison, Scores, Summary, averages, by_thing, summarise

DAGGER = "†"
METRICS = {"dice": "Dice", "nsd": "NSD"}
KEEPS = (
    f"{DAGGER}: this network was trained on this data set. The averages leave such data sets out for all "
    "columns; – where a column lacks one of the others."
)


def score_table(
    group: Group,
    columns: Sequence[Column],
    step: int,
    key: str,
    caption: str,
    *,
    metric: str = "dice",
    seconds: bool = True,
    heads: Mapping[Column, str] | None = None,
    notes: str = "",
) -> Table | None:
    """Percent by (data set, label) and column after a step, then the averages and the median machine time.

    The number in a cell's brackets is its n where columns differ. None where no column goes that far.
    """
    scores = {column: group.scores(column, step, metric) for column in columns}
    columns = [column for column in columns if scores[column]]
    if not columns:
        return None
    names, titles = short_names(d for d, _ in group.rows), heads or head_names(columns)
    keys = sorted({structure(t) for column in columns for t in scores[column]})
    lines = []
    for line in _with_totals(keys):
        line_scores = {c: _of(scores[c], line) for c in columns}
        data = names[line[0]]
        lines.append(
            score_row([data, line[1] or "**all**"], line_scores, [c for c in columns if group.seen(c, line[0])])
        )
    lines += average_rows(scores, columns, keys, group.unseen(columns))
    if seconds:
        lines.append([Cell("Tm (s)"), Cell(""), Cell(""), *(seconds_cell(group, column, step) for column in columns)])
    seen = [c for c in columns if any(group.seen(c, d) for d, _ in keys)]
    marks = "Bold: the best of a row. *: p < 0.05 against all others (paired t-test)."
    notes = " ".join(part for part in (notes, marks, KEEPS if seen else "") if part)
    return Table(key, caption, ["Data", "Object", "n", *(titles[c] for c in columns)], lines, 3, notes)


def head_names(columns: Iterable[Column]) -> dict[Column, str]:
    """What the columns are called, with their networks where one name would stand twice."""
    columns = list(columns)
    same = {c: sum(other.method == c.method for other in columns) for c in columns}
    return {c: title(c, same[c]) for c in columns}


def score_row(fixed: Sequence[str], scores: Mapping[Column, Scores], seen: Sequence[Column]) -> list[Cell]:
    """The cells of one structure: the best of those whose network has not seen it is bold, with a star if surely."""
    sums = {c: summarise(by_thing(s).values()) for c, s in scores.items() if s}
    fair = [c for c in sums if c not in seen] or list(sums)
    top = max((f"{100 * sums[c].mean:.1f}" for c in fair), key=float, default="")
    counts = sorted({s.n for s in sums.values()})
    cells = []
    for column in scores:
        if column not in sums:
            cells.append(EMPTY)
            continue
        summary = sums[column]
        best = column in fair and f"{100 * summary.mean:.1f}" == top
        others = [scores[c] for c in sums if c != column]
        star = best and bool(others) and all(surely_above(scores[column], theirs) for theirs in others)
        number = f" ({summary.n})" if len(counts) > 1 else ""
        text = percent(summary) + ("*" if star else "") + (DAGGER if column in seen else "") + number
        numbers = {"mean": rounded(summary.mean), "sd": rounded(summary.sd), "n": summary.n}
        cells.append(Cell(text, numbers | {"best": best, "significant": star, "seen": column in seen}, best))
    n = "–".join(str(count) for count in dict.fromkeys((counts[0], counts[-1]))) if counts else "0"
    return [*(Cell(text) for text in fixed), Cell(n), *cells]


def average_rows(
    by_column: Mapping[Column, Scores], columns: Sequence[Column], keys: Sequence[Row], datasets: set[str]
) -> list[list[Cell]]:
    """The means over objects, cases and structures, of the columns that have all structures of ``datasets``."""
    kept = {key for key in keys if key[0] in datasets}
    if not kept:
        return []
    unseen = {column: only(by_column[column], datasets=datasets) for column in columns}
    fair = {c: averages(scores) for c, scores in unseen.items() if {structure(t) for t in scores} == kept}
    lines = []
    for name in ("objects", "cases", "macro"):
        values = {c: getattr(a, name) for c, a in fair.items()}
        means = {c: v if name == "macro" else v.mean for c, v in values.items()}
        top = max((f"{100 * mean:.1f}" for mean in means.values()), key=float, default="")
        cells = []
        for column in columns:
            if column not in means:
                cells.append(EMPTY)
                continue
            best = f"{100 * means[column]:.1f}" == top
            others = [unseen[c] for c in columns if c != column and unseen[c]]
            star = name == "objects" and best and bool(others) and all(surely_above(unseen[column], o) for o in others)
            text = f"{100 * means[column]:.1f}" if name == "macro" else percent(values[column])
            numbers = {"mean": rounded(means[column]), "best": best}
            cells.append(Cell(text + ("*" if star else ""), numbers, best))
        counts = [len(kept)] if name == "macro" else [v.n for v in values.values()]
        n = "–".join(str(count) for count in dict.fromkeys((min(counts), max(counts)))) if counts else "–"
        what = {"objects": "all objects", "cases": "all cases", "macro": "macro"}[name]
        lines.append([Cell(f"**{what}**"), Cell(""), Cell(n), *cells])
    return lines


def step_seconds(group: Group, column: Column, step: int) -> list[float]:
    """The machine's seconds of a step in every run in which the method had something to do there."""
    rows = (trace.rows[step] for trace in group.traces.get(column, ()) if step < len(trace.rows))
    return [row["seconds"] for row in rows if step == 0 or row["strokes"] > 0]


def seconds_cell(group: Group, column: Column, step: int) -> Cell:
    return median_cell(step_seconds(group, column, step), ".2f")


def median_cell(values: Sequence[float], form: str) -> Cell:
    if not values:
        return EMPTY
    middle = float(np.median(values))
    return Cell(f"{middle:{form}}", {"median": rounded(middle), "n": len(values)})


def cost_table(group: Group, columns: Sequence[Column], field: str, key: str, caption: str, form: str) -> Table | None:
    """The median of ``seconds`` or ``peak_mib`` by step, over the runs in which there was something to do."""
    lines = []
    for step in range(group.last + 1):
        cells = []
        for column in columns:
            rows = [t.rows[step] for t in group.traces[column] if step < len(t.rows)]
            values = [r.get(field) for r in rows if step == 0 or r["strokes"] > 0]
            cells.append(median_cell([v for v in values if v is not None], form))
        lines.append([Cell(step_name(step)), *cells])
    if all(cell is EMPTY for line in lines for cell in line[1:]):
        return None
    heads = head_names(columns)
    return Table(key, caption, ["After", *(heads[c] for c in columns)], lines, 1)


def comparison_cells(comparison: Comparison) -> list[Cell]:
    """n (patients), difference and interval in points, both p, and the share made worse."""
    numbers = {
        "mean": rounded(comparison.difference), "low": rounded(comparison.low), "high": rounded(comparison.high),
    }  # fmt: skip
    points = f"**{points_of(comparison.difference)}** [{points_of(comparison.low)}, {points_of(comparison.high)}]"
    return [
        Cell(f"{comparison.n} ({comparison.units})", {"objects": comparison.n, "patients": comparison.units}),
        Cell(points, numbers),
        Cell(p_text(comparison.t_test), comparison.t_test),
        Cell(p_text(comparison.wilcoxon), comparison.wilcoxon),
        Cell(f"{100 * comparison.worse:.0f} %", rounded(comparison.worse)),
    ]


def step_name(step: int) -> str:
    return "start" if step == 0 else f"round {step}"


def percent(summary: Summary) -> str:
    return f"{100 * summary.mean:.1f} ± {100 * summary.sd:.1f}" if summary.n > 1 else f"{100 * summary.mean:.1f}"


def points_of(difference: float) -> str:
    """A difference of scores in points, without a minus before zero."""
    return f"{round(100 * difference, 1) + 0.0:+.1f}"


def p_text(p: float | None) -> str:
    return "–" if p is None else "< 0.001" if p < 0.001 else f"{p:.3f}"


def seconds_text(value: float | None) -> str:
    return "–" if value is None else f"{value:.1f}"


def rounded(value: float | None) -> float | None:
    """As `summary.json` has it."""
    return None if value is None else round(float(value), 5)


def _of(scores: Scores, line: tuple[str, str | None]) -> Scores:
    dataset, label = line
    return only(scores, datasets=[dataset]) if label is None else only(scores, row=(dataset, label))


def _with_totals(keys: Sequence[Row]) -> list[tuple[str, str | None]]:
    """The structures, and after those of a data set with several of them the data set as a whole."""
    lines: list[tuple[str, str | None]] = []
    for dataset in dict.fromkeys(d for d, _ in keys):
        labels = [label for d, label in keys if d == dataset]
        lines += [(dataset, label) for label in labels]
        if len(labels) > 1:
            lines.append((dataset, None))
    return lines
