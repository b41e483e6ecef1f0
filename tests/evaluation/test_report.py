"""The report: what it reads and refuses, numbers computed by hand, and that Markdown, HTML and JSON say the same."""

import gzip
import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from result_rows import NETWORK, many, run, table_of, write
from scipy import stats

from bifseg.evaluation.report import read_results, write_report
from bifseg.evaluation.report.acceptance import Reach, median, reach
from bifseg.evaluation.report.clicks import challenge_scores, ious_by_click
from bifseg.evaluation.report.document import Cell, Heading, Items, Table, Text, markdown
from bifseg.evaluation.report.figures import _by_click, _by_step, _over_time
from bifseg.evaluation.report.groups import Column, group_rows, short_names
from bifseg.evaluation.report.page import page


class Tables(HTMLParser):
    """Captions, tables and figures of a page; ``open``: the elements that were not closed."""

    def __init__(self, text):
        super().__init__()
        self.tables, self.open, self.links, self.ids, self.words = [], [], [], set(), []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        self.ids |= {given["id"]} if "id" in given else set()
        self.links += [given[name] for name in ("href", "src") if name in given]
        if tag in ("meta", "img"):
            return
        self.open.append(tag)
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("td", "th"):
            self.tables[-1][-1].append("")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if any(tag in ("td", "th") for tag in self.open):
            self.tables[-1][-1][-1] += data.replace("\xa0", " ")
        elif "style" not in self.open:
            self.words.append(data)


def markdown_tables(text: str) -> dict[str, list[list[str]]]:
    """The tables by caption, cells without marks."""
    found = {}
    for caption, body in re.findall(r"^\*\*(.+)\*\*\n\n((?:\|.*\n)+)", text, flags=re.M):
        lines = [re.split(r"(?<!\\)\|", line)[1:-1] for line in body.splitlines()]
        plain = [[re.sub(r"(?<!\\)\*", "", c).replace("\\", "").replace("&lt;", "<").strip() for c in x] for x in lines]
        found[caption] = [plain[0], *plain[2:]]
    return found


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """A report on both dimensions, two users, and both click protocols; one network has seen one data set."""
    folder = tmp_path_factory.mktemp("report")
    rows = many()
    rows += [row | {"network": "other", "seen": row["dataset"] == "Dataset002_B"}
             for row in many(1, ("network", "bifseg"))]  # fmt: skip
    rows += many(2, user="sloppy", datasets=("Dataset001_A",))
    rows += many(3, dimension=3, datasets=("Dataset001_A",))
    rows += many(4, protocol="challenge", user="challenge", dimension=3)
    rows += many(5, ("bifseg", "grabcut"), protocol="noc", user="noc", strokes=[2, 1, 1])
    picture = folder / "sheet.png"
    picture.write_bytes(b"\x89PNG made elsewhere")
    about = {
        "date": "2026-11-24",
        "machine": "a <fast> one",
        "versions": {"evaluator": "1"},
        "commands": ["bifseg x | y"],
    }
    summary = write_report(rows, [about], folder / "out", title="T & <t>", pictures=[(picture, "A sheet.")])
    return rows, folder / "out", summary


# ---- reading


def test_an_unfinished_end_is_left_out(tmp_path):
    rows = run([0.5, 0.6, 0.7]) + run([0.5, 0.6, 0.7], case="c1")
    path = write(tmp_path / "r.jsonl", rows[:5], end='\n{"protocol": "rou')
    assert read_results([path])[0] == rows[:3]  # the second run was not finished either


def test_a_whole_last_line_without_its_end_counts(tmp_path):
    rows = run([0.5, 0.6])
    assert read_results([write(tmp_path / "r.jsonl", rows, end="")])[0] == rows


def test_a_run_told_twice_counts_once(tmp_path):
    rows = run([0.5, 0.6])
    paths = [write(tmp_path / name, rows) for name in ("a.jsonl", "b.jsonl")]
    assert read_results(paths)[0] == rows


def test_a_damaged_line_is_named(tmp_path):
    path = tmp_path / "r.jsonl"
    rows = [json.dumps(row) for row in run([0.5, 0.6, 0.7])]
    path.write_text("\n".join([rows[0], rows[1][:20], rows[2]]) + "\n")
    with pytest.raises(ValueError, match=r"^Line 2 of .*r\.jsonl is damaged"):
        read_results([path])
    path.write_text(rows[0] + "\n" + rows[1][:20] + "\n")  # it has an end, so nobody was stopped there
    with pytest.raises(ValueError, match="Line 2"):
        read_results([path])


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"dice": 1.5}, "dice is 1.5, which must be a number from 0 to 1"),
        ({"nsd": None}, "nsd is None"),
        ({"dice": float("nan")}, "dice is nan"),
        ({"user_seconds": -1}, "user_seconds is -1, which must be a number not below 0"),
        ({"dimension": 4}, "dimension is 4, which must be 2 or 3"),
        ({"protocol": "mine"}, "protocol is 'mine'; known are rounds, challenge, noc"),
        ({"seen": 1}, "seen is 1, which must be true or false"),
        ({"case": 7}, "case is 7, which must be text"),
        ({"step": "0"}, "step is '0', which must be a whole number"),
        ({"network": 3}, "network is 3, which must be text or null"),
        ({"peak_mib": "much"}, "peak_mib is 'much', which must be a number"),
    ],
)
def test_a_row_with_a_wrong_field_is_refused(tmp_path, changes, said):
    rows = run([0.5, 0.6])
    path = write(tmp_path / "r.jsonl", [rows[0], rows[1] | changes])
    with pytest.raises(ValueError, match=re.escape(f"Line 2 of {path} is no row of results: {said}")):
        read_results([path])


def test_a_row_that_lacks_fields_is_refused(tmp_path):
    row = run([0.5])[0]
    del row["user"], row["dice"]
    with pytest.raises(ValueError, match="it has no user, dice"):
        read_results([write(tmp_path / "r.jsonl", [row])])
    with pytest.raises(ValueError, match=r"Line 1 of .* it is no object"):
        read_results([write(tmp_path / "r.jsonl", [[1, 2]])])


def test_files_that_hold_nothing_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="There is no file"):
        read_results([tmp_path / "none.jsonl"])
    with pytest.raises(IsADirectoryError, match="is a folder"):
        read_results([tmp_path])
    (tmp_path / "empty.jsonl").write_text("\n")
    with pytest.raises(ValueError, match="holds no results"):
        read_results([tmp_path / "empty.jsonl"])
    with pytest.raises(ValueError, match="no results to report"):
        write_report([], [], tmp_path / "out")


def test_runs_that_contradict_each_other_are_refused(tmp_path):
    paths = [write(tmp_path / f"{dice}.jsonl", run([0.4, dice])) for dice in (0.5, 0.6)]
    with pytest.raises(ValueError, match=r"both hold bifseg \(net\) on LV of c0 .* with different results"):
        read_results(paths)
    with pytest.raises(ValueError, match="a step twice or not at all"):
        read_results([write(tmp_path / "twice.jsonl", run([0.4, 0.5]) + run([0.4]))])


def test_results_of_different_evaluators_are_refused(tmp_path):
    versions = [{"versions": {"evaluator": v, "users": "1"}} for v in ("1", "2")]
    paths = [write(tmp_path / f"{k}.jsonl", run([0.5], case=f"c{k}"), versions[k]) for k in range(2)]
    with pytest.raises(ValueError, match=r"versions of the evaluator: 1 \(0\.jsonl\), 2 \(1\.jsonl\)"):
        read_results(paths)
    rows = run([0.5], case="c0", evaluator="1") + run([0.5], case="c1", evaluator="2")
    with pytest.raises(ValueError, match="versions of the evaluator"):
        write_report(rows, [], tmp_path / "out", figures=False)
    (tmp_path / "0.about.json").write_text("{")
    with pytest.raises(ValueError, match=r"0\.about\.json is damaged"):
        read_results(paths[:1])


def test_commands_are_told_without_where_files_lay(tmp_path):
    command = (
        "bifseg benchmark Dataset1 /data/my/Dataset2 --region core=1,3 -o '/home/me/out/r.jsonl' --cluster=tcp://h:1/a"
    )
    path = write(tmp_path / "r.jsonl", run([0.5]), {"commands": [command]})
    told = read_results([path])[1][0]
    assert told["results"] == "r.jsonl"
    assert told["commands"][0] == (
        "bifseg benchmark Dataset1 Dataset2 --region core=1,3 -o 'r.jsonl' --cluster=tcp://h:1/a"
    )


# ---- acceptance


def trace_of(dices, method="bifseg", **changes):
    (group,) = group_rows(run(dices, method, **changes))
    return next(iter(group.traces.values()))[0]


def test_reach_adds_the_steps_up_to_the_first_that_is_enough():
    assert reach(trace_of([0.5, 0.9, 0.8], user_seconds=[7, 5, 4])) == Reach(12, True, 0.9)
    assert reach(trace_of([0.5, 0.6, 0.89], user_seconds=[7, 5, 4])) == Reach(16, False, 0.89)
    assert reach(trace_of([0.95, 0.96], user_seconds=[7, 5])) == Reach(7, True, 0.95)


def test_the_median_takes_what_never_comes_as_longest():
    there, never = [Reach(s, True, 0.9) for s in (3.0, 5.0, 8.0)], Reach(1.0, False, 0.5)
    assert median(there) == 5
    assert median([*there, never]) == 6.5
    assert median([*there[:2], never]) == 5
    assert median([there[0], never]) is None
    assert median([]) is None


# ---- tables


def test_a_score_table_by_hand(tmp_path):
    ours, theirs = [0.80, 0.84, 0.88], [0.70, 0.72, 0.80]
    rows = []
    for k in range(3):
        rows += run([ours[k] - 0.1], case=f"c{k}", seed=0) + run([ours[k] + 0.1], case=f"c{k}", seed=1)
        rows += run([theirs[k]], "network", case=f"c{k}") + run([theirs[k]], "network", case=f"c{k}", seed=1)
    summary = write_report(rows, [], tmp_path, figures=False)
    row = table_of(summary, "parts-2d-net-0")["A", "LV"]
    assert row["BIFSeg"] == {"mean": 0.84, "sd": 0.04, "n": 3, "best": True, "significant": True, "seen": False}
    assert row[NETWORK]["sd"] == round(float(np.std(theirs, ddof=1)), 5)
    assert stats.ttest_rel(ours, theirs).pvalue < 0.05
    text = (tmp_path / "report.md").read_text()
    assert "| A | LV | 3 | 74.0 ± 5.3 | **84.0 ± 4.0\\*** |" in text
    assert "| Tm (s) |  |  | 0.50 | 0.50 |" in text


def test_no_star_without_significance_or_against_one_of_several(tmp_path):
    scores = {"network": [0.6, 0.7, 0.8], "crf": [0.70, 0.81, 0.89], "bifseg": [0.73, 0.81, 0.94]}
    rows = [r for m, own in scores.items() for k, dice in enumerate(own) for r in run([dice], m, case=f"c{k}")]
    row = table_of(write_report(rows, [], tmp_path, figures=False), "parts-2d-net-0")["A", "LV"]
    assert stats.ttest_rel(scores["bifseg"], scores["network"]).pvalue < 0.05
    assert 0.05 < stats.ttest_rel(scores["bifseg"], scores["crf"]).pvalue < 0.3
    assert row["BIFSeg"]["best"]
    assert not row["BIFSeg"]["significant"]


def test_what_a_network_has_seen_is_marked_and_in_no_average(tmp_path):
    rows = run([0.99], dataset="Dataset001_A", seen=True) + run([0.95], "network", dataset="Dataset001_A", seen=True)
    rows += run([0.60], dataset="Dataset002_B") + run([0.5], "network", dataset="Dataset002_B")
    rows += run([0.80], dataset="Dataset002_B", label="RV") + run([0.5], "network", dataset="Dataset002_B", label="RV")
    rows += run([0.70], dataset="Dataset002_B", label="RV", case="c1")
    rows += run([0.5], "network", dataset="Dataset002_B", label="RV", case="c1")
    rows += run([0.9], "grabcut", dataset="Dataset001_A") + run([0.4], "grabcut", dataset="Dataset002_B")
    summary = write_report(rows, [], tmp_path, figures=False)
    found = table_of(summary, "parts-2d-net-0")
    assert found["A", "LV"]["BIFSeg"]["seen"]
    assert found["**macro**", ""]["BIFSeg"]["mean"] == pytest.approx((0.60 + 0.75) / 2)
    assert found["**all objects**", ""]["BIFSeg"]["mean"] == pytest.approx(0.7)
    assert found["**all cases**", ""]["BIFSeg"]["mean"] == pytest.approx(0.7)
    assert table_of(summary, "dice-2d-0")["**macro**", ""]["GrabCut"] is None  # it lacks an object
    assert table_of(summary, "dice-2d-0")["A", "LV"]["GrabCut"]["best"]  # the best of those that had not seen it
    text = (tmp_path / "report.md").read_text()
    assert "99.0†" in text
    assert "(net: Dataset001_A): these numbers bear a †" in text


def test_comparisons_keep_to_unseen_data(tmp_path):
    rows = []
    for k, (ours, theirs) in enumerate([(0.9, 0.8), (0.85, 0.83), (0.7, 0.72), (0.9, 0.82)]):
        rows += run([ours], case=f"c{k}") + run([theirs], "geos", case=f"c{k}")
        rows += run([1.0], case=f"c{k}", dataset="Dataset009_S", seen=True)
        rows += run([0.1], "geos", case=f"c{k}", dataset="Dataset009_S")
    summary = write_report(rows, [], tmp_path, figures=False)
    lines = {line["Data"]: line for line in summary["tables"]["comparisons-2d"]["rows"]}
    assert lines.keys() == {"A", "S†"}
    gaps = np.array([0.1, 0.02, -0.02, 0.08])
    assert lines["A"]["Points of Dice [95 %]"]["mean"] == pytest.approx(gaps.mean())
    assert lines["A"]["t-test"] == pytest.approx(stats.ttest_1samp(gaps, 0).pvalue)
    assert lines["A"]["Wilcoxon"] == pytest.approx(stats.wilcoxon(gaps).pvalue)
    assert lines["A"]["Worse by > 1"] == 0.25


@pytest.mark.parametrize(
    ("step", "key"), [(0, "networks-2d"), (0, "parts-2d-net-0"), (1, "parts-2d-net-1"), (2, "dice-2d-2")]
)
def test_every_number_of_a_table_comes_out_of_the_rows(written, step, key):
    """Means and deviations recomputed from the rows without the report's code."""
    rows, _, summary = written
    rows = [r for r in rows if (r["protocol"], r["dimension"], r["user"], r["step"]) == ("rounds", 2, "careful", step)]
    names = {
        "net": ("network", "net"), "other": ("network", "other"), "net +CRF": ("crf", "net"),
        "BIFSeg(-w)": ("bifseg-w", "net"), "BIFSeg": ("bifseg", "net"), "BIFSeg (net)": ("bifseg", "net"),
        "BIFSeg (other)": ("bifseg", "other"), "GrabCut": ("grabcut", None), "GeoS": ("geos", None),
    }  # fmt: skip
    checked = 0
    for (data, label), line in table_of(summary, key).items():
        for head in line.keys() - {"Data", "Object", "n"}:
            if data.startswith(("**", "Tm")):
                continue
            values = {}
            for r in rows:
                same = (r["method"], r["network"]) == names[head] and r["dataset"].endswith(f"_{data}")
                if same and label in (r["label"], "**all**"):
                    values.setdefault((r["case"], r["label"]), []).append(r["dice"])
            means = [np.mean(own) for own in values.values()]
            assert line[head]["mean"] == pytest.approx(np.mean(means), abs=1e-5)
            assert line[head]["sd"] == pytest.approx(np.std(means, ddof=1), abs=1e-5)
            assert line[head]["seen"] == (names[head][1] == "other" and data == "B")
            checked += 1
    assert checked >= 6 * 2


def test_times_to_the_level_come_out_of_the_rows(written):
    rows, _, summary = written
    checked = 0
    for line in summary["tables"]["time-2d"]["rows"]:
        if line["Data"].startswith("**"):
            continue
        own = [r for r in rows if (r["protocol"], r["dimension"], r["user"]) == ("rounds", 2, "careful")]
        own = [r for r in own if r["method"] == "geos" and r["dataset"][11:] == line["Data"]]
        spent, there = {}, {}
        for r in sorted((r for r in own if r["label"] == line["Object"]), key=lambda r: r["step"]):
            key = r["case"], r["seed"]
            spent[key] = spent.get(key, 0) + r["user_seconds"]
            if r["dice"] >= 0.9:
                there.setdefault(key, spent[key])
        middle = np.median([there.get(key, np.inf) for key in spent])
        assert line["GeoS"]["median"] == (pytest.approx(middle, abs=1e-4) if np.isfinite(middle) else None)
        assert line["GeoS"]["reached"] == pytest.approx(len(there) / len(spent), abs=1e-5)
        checked += 1
    assert checked == 4


def test_other_users_are_held_against_the_first_on_the_same_objects(written):
    _, _, summary = written
    lines = summary["tables"]["users-2d-last"]["rows"]
    assert [(line["User"], line["Objects"]) for line in lines] == [("careful", "6"), ("sloppy", "6")]  # B was seen
    rows = run([0.5], case="c0") + run([0.9], case="c1") + run([0.4], case="c0", user="careful:20")
    (group, other) = group_rows(rows)
    assert (group.user, other.user) == ("careful", "careful:20")


def test_of_two_users_with_other_objects_the_common_ones_are_shown(tmp_path):
    rows = run([0.5], case="c0") + run([0.9], case="c1") + run([0.4], case="c0", user="careful:20")
    lines = write_report(rows, [], tmp_path, figures=False)["tables"]["users-2d-last"]["rows"]
    shown = [(line["User"], line["Margin"], line["Objects"], line["BIFSeg"]) for line in lines]
    assert shown == [
        ("careful", "10", "2", 0.7),
        ("careful", "20", "1", 0.4),
        ("careful, same objects", "10", "1", 0.5),
    ]


def test_costs_leave_out_steps_in_which_nothing_was_to_do(tmp_path):
    rows = run([0.5, 0.9], case="c0", seconds=[1.0, 3.0]) + run([0.5, 0.9], case="c1", seconds=[2.0, 0.0], strokes=0)
    rows += run([0.5, 0.9], "geos", peak_mib=None)
    summary = write_report(rows, [], tmp_path, figures=False)
    start, first = summary["tables"]["seconds-2d"]["rows"]
    assert (start["BIFSeg"], first["BIFSeg"]) == ({"median": 1.5, "n": 2}, {"median": 3.0, "n": 1})
    assert summary["tables"]["memory-2d"]["rows"][0]["GeoS"] is None


# ---- in short


def test_the_fastest_method_is_named(tmp_path):
    rows = run([0.5, 0.95], user_seconds=9) + run([0.92, 0.95], "geos", user_seconds=11.5) + run([0.5, 0.6], "slicseg")
    write_report(rows, [], tmp_path, figures=False)
    said = "GeoS reaches Dice 0.90 in least user time, in 11.5 s (median; 100 % of runs get there). The others: BIFSeg "
    said += "18.0 s (100 %); SlicSeg never in half of its runs (0 %)."
    assert said in (tmp_path / "report.md").read_text()


# ---- clicks


def test_the_challenge_scores_by_hand():
    dices, nsds = [0.1, 0.15, 0.6, 0.7, 0.8, 0.9], [0.9, 0.9, 0.5, 0.6, 0.7, 0.8]
    trace = trace_of(dices, protocol="challenge", nsd=nsds, seconds=[9, 1, 1, 1, 1, 2])
    assert challenge_scores(trace) == pytest.approx(
        {"dsc_auc": 2.625, "nsd_auc": 2.2, "dsc_final": 0.9, "nsd_final": 0.8, "seconds": 15}
    )


def test_clicks_count_what_each_step_cost():
    half = 2 / 3  # a Dice with an IoU of one half
    boxed = trace_of([half, 0.8, 1.0, 1.0], protocol="noc", strokes=[2, 1, 1, 0])
    assert ious_by_click(boxed) == pytest.approx([0, 0.5, 2 / 3, 1])
    clicked = trace_of([0.0, half, 1.0], "geos", protocol="noc", strokes=[0, 1, 1])
    assert ious_by_click(clicked) == pytest.approx([0.5, 1])


def test_the_number_of_clicks_in_a_report(tmp_path):
    ious = [0.5, 0.81, 0.86, 0.86]
    rows = run([2 * v / (1 + v) for v in ious], protocol="noc", user="noc", strokes=[2, 1, 1, 1], seconds=0.5)
    ious = [0.0, 0.7, 0.95, 0.95]
    rows += run([2 * v / (1 + v) for v in ious], "geos", protocol="noc", user="noc", strokes=[0, 1, 1, 0], seconds=1.0)
    summary = write_report(rows, [], tmp_path, figures=False)
    lines = [list(line.values()) for line in summary["tables"]["noc-2d"]["rows"]]
    assert lines == [
        ["A", "BIFSeg", 1, 3, 4, 20, 0, 1, 0.4], ["A", "GeoS", 1, 2, 2, 2, 0, 0, 2.0],
        ["**mean of data sets**", "BIFSeg", None, 3, 4, 20, 0, 1, 0.4],
        ["**mean of data sets**", "GeoS", None, 2, 2, 2, 0, 0, 2.0],
    ]  # fmt: skip
    assert "target" not in summary


# ---- the written report


def test_markdown_page_and_summary_hold_the_same_numbers(written):
    _, folder, summary = written
    told = markdown_tables((folder / "report.md").read_text())
    parsed = Tables((folder / "index.html").read_text())
    assert not parsed.open
    assert list(told.values()) == parsed.tables
    assert len(told) == len(summary["tables"]) > 30
    assert {table["caption"] for table in summary["tables"].values()} == told.keys()
    assert json.loads((folder / "summary.json").read_text()) == summary
    for table in summary["tables"].values():
        assert len(table["rows"]) == len(told[table["caption"]]) - 1


def test_the_page_stands_alone(written):
    _, folder, _ = written
    text = (folder / "index.html").read_text()
    parsed = Tables(text)
    files = [link for link in parsed.links if not link.startswith("#")]
    assert files
    assert all((folder / name).read_bytes().startswith(b"\x89PNG") for name in files)
    assert {link[1:] for link in parsed.links if link.startswith("#")} <= parsed.ids
    assert {path.name for path in folder.iterdir()} == {*files, "report.md", "index.html", "summary.json"}
    assert "sheet.png" in files
    assert not re.search(r"https?:|@import|<script|url\(", text)
    assert "prefers-color-scheme: dark" in text
    assert "overflow-x: auto" in text
    assert "T & <t>" in parsed.words
    assert "a <fast> one" in " ".join(parsed.words)


def test_every_figure_is_in_both(written):
    _, folder, _ = written
    names = {path.name for path in folder.glob("*.png")}
    assert names >= {
        "curves-2d-rounds.png", "curves-2d-time.png", "boxes-2d.png", "ablation-2d-net.png", "ablation-3d.png",
        "challenge-3d-dice.png", "challenge-3d-nsd.png", "clicks-2d.png", "boxes-3d.png",
    }  # fmt: skip
    text = (folder / "report.md").read_text()
    assert all(f"]({name})" in text for name in names)


def test_all_files_are_written_or_none(tmp_path):
    (tmp_path / "report.md").write_text("old")
    (tmp_path / "summary.json").mkdir()
    with pytest.raises(OSError, match=r"summary\.json"):
        write_report(run([0.5]), [], tmp_path, figures=False)
    assert (tmp_path / "report.md").read_text() == "old"
    assert {path.name for path in tmp_path.iterdir()} == {"report.md", "summary.json"}


def test_names_cannot_break_the_report():
    blocks = [
        Heading("A <b> & *c*"), Text("x < 1 | `a|b` **bold**"), Items(["<script>"]),
        Table("k", "Cap | tion", ["a|b", "<i>"], [[Cell("x|y"), Cell("**1*", None, True)]], 1),
    ]  # fmt: skip
    assert markdown_tables(markdown(blocks))["Cap \\| tion"][0] == ["a|b", "<i>"]
    parsed = Tables(page(blocks))
    assert parsed.tables == [[["a|b", "<i>"], ["x|y", "**1*"]]]
    assert "<script>" in parsed.words
    assert not parsed.open


def test_short_names_stay_apart():
    assert short_names(["Dataset001_A", "Dataset002_B"]) == {"Dataset001_A": "A", "Dataset002_B": "B"}
    assert short_names(["Dataset001_A", "Dataset002_A", "C"]) == {
        "Dataset001_A": "Dataset001_A", "Dataset002_A": "Dataset002_A", "C": "C",
    }  # fmt: skip


# ---- curves


def test_the_curve_over_time_holds_the_last_mask_made():
    (group,) = group_rows(run([0.5, 0.9], user_seconds=[10, 10]) + run([0.7, 0.8], case="c1", user_seconds=[5, 5]))
    moments, values = _over_time(group, list(group.traces))(group.traces[Column("bifseg", NETWORK)])

    def at(second):
        return values[np.searchsorted(moments, second)]

    assert [at(s) for s in (1, 6, 11, 15)] == pytest.approx([0, 0.35, 0.65, 0.65])
    assert moments[-1] == pytest.approx(np.quantile([20, 10], 0.95))


def test_curves_by_step_and_click():
    traces = [trace_of([0.5, 0.7]), trace_of([0.7, 0.9, 1.0])]
    assert _by_step("dice")(traces)[1] == pytest.approx([0.6, 0.8])
    traces = [trace_of([0.1, 0.5], protocol="challenge", nsd=[0.4, 0.4])]
    assert _by_step("nsd")(traces)[1] == pytest.approx([0, 0.4])
    clicks, values = _by_click([trace_of([2 / 3, 1.0], protocol="noc", strokes=[2, 1])])
    assert (clicks[0], clicks[-1]) == (2, 20)
    assert values[:3] == pytest.approx([0.5, 1, 1])


def test_nobody_leads_where_nobody_gets_there(tmp_path):
    write_report(run([0.5, 0.6]) + run([0.5, 0.7], "geos"), [], tmp_path, figures=False)
    text = (tmp_path / "report.md").read_text()
    assert "no run of any method gets to Dice 0.90." in text
    assert "most get there with" not in text


def test_packed_results_are_read_as_the_plain_ones(tmp_path):
    rows, about = run([0.5, 0.6]), {"commands": ["bifseg benchmark"]}
    plain = write(tmp_path / "r.jsonl", rows, about)
    packed = tmp_path / "r.jsonl.gz"
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    assert read_results([packed]) == read_results([plain])
    packed.write_bytes(packed.read_bytes()[:-9])
    with pytest.raises(ValueError, match=r"r\.jsonl\.gz is damaged: it cannot be unpacked"):
        read_results([packed])
