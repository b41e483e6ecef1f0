"""Numbers of the report, computed by hand: scores, acceptance, costs, clicks and curves."""

import gzip

import numpy as np
import pytest
from result_rows import NETWORK, run, table_of, trace_of, write
from scipy import stats

from bifseg.evaluation.report import read_results, write_report
from bifseg.evaluation.report.acceptance import Reach, median, reach
from bifseg.evaluation.report.clicks import challenge_scores, ious_by_click
from bifseg.evaluation.report.figures import _by_click, _by_step, _over_time
from bifseg.evaluation.report.groups import Column, group_rows

# ---- acceptance


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
