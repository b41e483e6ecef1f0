"""Summaries and paired comparisons on numbers small enough to work out by hand."""

from dataclasses import astuple

import numpy as np
import pytest

from bifseg.evaluation.statistics import (
    Averages,
    Summary,
    Thing,
    averages,
    bootstrap,
    by_thing,
    compare,
    grouped,
    scores,
    summarise,
)


def row(dice, *, case="a", patient=None, label="x", dataset="D1", step=0, method="bifseg", seed=0, **other):
    return {
        "protocol": "rounds", "dataset": dataset, "case": case, "patient": patient or f"p{case}", "label": label,
        "dimension": 2, "method": method, "network": "net", "seen": False, "user": "careful", "seed": seed,
        "step": step, "dice": dice, "nsd": dice / 2, "seconds": 0.5, "peak_mib": None,
    } | other  # fmt: skip


def found(values, *, patient=None, dataset="D1", label="x"):
    """Scores of cases by name, one seed each."""
    return {Thing(dataset, patient or f"p{case}", case, label): {0: value} for case, value in values.items()}


def test_scores_are_picked_from_rows_by_step_method_and_whatever_else_is_asked():
    rows = [
        row(0.5), row(0.6, seed=1), row(0.7, step=1), row(0.8, method="crf"), row(0.9, user="sloppy"),
        row(0.4, network="other"), row(0.1, seen=True), row(0.3, method="geos", network=None),
    ]  # fmt: skip
    thing = Thing("D1", "pa", "a", "x")
    one = {"network": "net", "user": "careful", "seen": False}
    assert scores(rows, step=0, method="bifseg", **one) == {thing: {0: 0.5, 1: 0.6}}
    assert scores(rows, step=0, method="bifseg", metric="nsd", **one) == {thing: {0: 0.25, 1: 0.3}}
    assert scores(rows, step=0, method="geos") == {thing: {0: 0.3}}
    assert scores(rows, step=0, method="geos", dataset="D2") == scores(rows, step=9, method="geos") == {}
    assert scores(rows, step=0, method="geos", metric="peak_mib") == {}
    assert scores([row(0.2, label=k) for k in "xy"], step=0, method="bifseg", label="y") == {
        thing._replace(label="y"): {0: 0.2}
    }
    with pytest.raises(ValueError, match="two rows"):
        scores(rows, step=0, method="bifseg")
    with pytest.raises(ValueError, match="must be a number"):
        scores([row(float("nan"))], step=0, method="bifseg")


def test_a_summary_of_values_worked_out_by_hand():
    assert summarise([1, 2, 3, 4, 10]) == Summary(5, 4, pytest.approx(12.5**0.5), 3, 2, 4)
    assert summarise([0.7]) == Summary(1, 0.7, 0, 0.7, 0.7, 0.7)
    assert summarise(iter([0.1] * 3)) == Summary(3, pytest.approx(0.1), 0, 0.1, 0.1, 0.1)
    with pytest.raises(ValueError, match="no values"):
        summarise([])


def test_objects_cases_and_classes_are_averaged_each_in_its_own_way():
    many = {
        Thing("D1", "p", "a", "x"): {0: 0.4, 1: 0.6},  # 0.5
        Thing("D1", "p", "a", "y"): {0: 0.9},
        Thing("D1", "p", "b", "x"): {0: 0.7},
        Thing("D2", "q", "a", "x"): {0: 0.1},
    }
    assert by_thing(many)[Thing("D1", "p", "a", "x")] == 0.5
    told = averages(many)
    assert told.objects.mean == pytest.approx((0.5 + 0.9 + 0.7 + 0.1) / 4)
    assert told.cases.mean == pytest.approx((0.7 + 0.7 + 0.1) / 3)
    assert told.cases.n == 3
    assert told.macro == pytest.approx((0.6 + 0.9 + 0.1) / 3)
    groups = grouped(many)
    assert list(groups) == [("D1", "x"), ("D1", "y"), ("D2", "x")]
    assert astuple(groups["D1", "x"]) == pytest.approx((2, 0.6, 0.02**0.5, 0.6, 0.55, 0.65))
    assert {key: group.n for key, group in grouped(many, ["dataset"]).items()} == {("D1",): 3, ("D2",): 1}
    only = Summary(1, 0.5, 0, 0.5, 0.5, 0.5)
    assert averages(found({"a": 0.5})) == Averages(only, only, 0.5)
    with pytest.raises(ValueError, match="no values"):
        averages({})


def test_a_comparison_pairs_objects_and_seeds_that_both_methods_have():
    theirs = {Thing("D1", f"p{c}", c, "x"): {0: 0.5, 1: 0.5} for c in "abcd"}
    ours = {
        Thing("D1", "pa", "a", "x"): {0: 0.60, 1: 0.70},
        Thing("D1", "pb", "b", "x"): {0: 0.54, 1: 0.56},
        Thing("D1", "pc", "c", "x"): {0: 0.48},
        Thing("D1", "pd", "d", "x"): {2: 0.9},  # no seed in common
        Thing("D1", "pe", "e", "x"): {0: 0.9},
    }
    told = compare(ours, theirs)
    assert (told.n, told.units, told.unpaired) == (3, 3, 2)
    assert told.difference == pytest.approx((0.15 + 0.05 - 0.02) / 3)
    assert told.by_seed == pytest.approx({0: 0.04, 1: 0.13})
    assert told.worse == pytest.approx(1 / 3)
    assert told.low < told.difference < told.high
    back = compare(theirs, ours)
    assert (back.difference, back.worse) == (-told.difference, pytest.approx(2 / 3))
    assert (back.low, back.high) == pytest.approx((-told.high, -told.low), abs=0.01)
    assert compare({}, theirs) is None
    assert compare(ours, found({"z": 1.0})) is None


def test_objects_of_one_patient_are_one_unit():
    theirs = {Thing("D1", "p" if k < 3 else "q", str(k), "x"): {0: 0.0} for k in range(4)}
    ours = {thing: {0: 0.1 if thing.patient == "p" else 0.5} for thing in theirs}
    told = compare(ours, theirs)
    assert (told.n, told.units) == (4, 2)
    assert (told.low, told.high) == pytest.approx((0.1, 0.5))  # a quarter of the draws each: p p, and q q
    assert told.difference == pytest.approx(0.2)


def test_p_values_of_known_differences():
    theirs = found(dict.fromkeys("abcde", 0.5))
    told = compare(found(dict(zip("abcde", (0.51, 0.52, 0.53, 0.54, 0.55), strict=True))), theirs)
    # t = 0.03 / (0.0158114 / sqrt 5) = 4.2426 with 4 degrees of freedom; all five signs agree: 2 / 2^5
    assert told.t_test == pytest.approx(0.013236, abs=1e-5)
    assert told.wilcoxon == pytest.approx(2 / 32)


def test_what_is_not_defined_is_none_and_never_nan():
    one = compare(found({"a": 0.7}), found({"a": 0.5}))
    assert (one.n, one.difference, one.t_test, one.wilcoxon) == (1, pytest.approx(0.2), None, None)
    assert one.low == one.high == pytest.approx(0.2)
    same = compare(found({"a": 0.7, "b": 0.1}), found({"a": 0.7, "b": 0.1}))
    assert (same.difference, same.worse, same.t_test, same.wilcoxon) == (0, 0, None, None)
    base = dict(zip("abcdef", (0.1, 0.2, 0.3, 0.4, 0.5, 0.6), strict=True))
    moved = compare(
        found({case: value + 0.1 for case, value in base.items()}), found(base)
    )  # but for floats, all equal
    assert moved.t_test is None
    assert moved.wilcoxon == pytest.approx(2 / 2**6)
    assert compare(found({"a": 0.49}), found({"a": 0.50})).worse == 0  # a point, not more
    assert compare(found({"a": 48.9}), found({"a": 50.0}), point=1).worse == 1


def test_cases_count_the_same_however_many_objects_they_have():
    theirs = found({"a": 0.5}) | {Thing("D1", "pb", "b", label): {0: 0.5} for label in "xyz"}
    ours = found({"a": 0.9}) | {Thing("D1", "pb", "b", label): {0: 0.5 + k / 10} for k, label in enumerate("xyz")}
    assert compare(ours, theirs).difference == pytest.approx((0.4 + 0 + 0.1 + 0.2) / 4)
    told = compare(ours, theirs, cases=True)
    assert (told.n, told.units, told.unpaired) == (2, 2, 0)
    assert told.difference == pytest.approx((0.4 + 0.1) / 2)


def test_the_bootstrap_is_seeded_and_draws_whole_patients():
    values = np.random.default_rng(0).normal(1, 2, 40)
    alone = [("D1", f"p{k}") for k in range(40)]
    low, high = bootstrap(values, alone)
    assert (low, high) == bootstrap(values, alone) != bootstrap(values, alone, seed=1)
    assert low < values.mean() < high
    assert high - low == pytest.approx(2 * 1.96 * values.std() / 40**0.5, rel=0.1)
    twice = bootstrap(np.repeat(values, 2), [unit for unit in alone for _ in range(2)])
    assert twice == pytest.approx((low, high))  # seeing a patient twice is no new evidence
    assert bootstrap([1.0, 3.0], ["p", "p"]) == (2, 2)
    assert bootstrap([1.0, 1.0, 4.0], ["p", "p", "q"], resamples=500) == (1, 4)  # p p, p q (2) or q q
    for wrong in (([], []), ([1.0], ["p", "q"])):
        with pytest.raises(ValueError, match="one unit for each value"):
            bootstrap(*wrong)
