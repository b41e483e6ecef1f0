"""The published report: the paper's tables, the target and what is lost; `bifseg report` knows none of them."""

import re
from importlib import import_module
from pathlib import Path

import pytest
from result_rows import NETWORK, many, run, table_of

from benchmarks.published.losses import losses
from benchmarks.published.race import race
from benchmarks.published.report import TITLE, published
from benchmarks.published.target import target
from bifseg.evaluation.report import read_results, write_report
from bifseg.evaluation.report.acceptance import Reach
from bifseg.evaluation.report.groups import group_rows
from bifseg.evaluation.statistics import Thing

RESULTS = Path(__file__).parents[2] / "docs" / "results"


def test_a_race_counts_runs_that_only_one_side_finishes():
    def side(*values):
        return {(Thing("d", "p", str(k), "l"), 0): Reach(s, there, 0.9) for k, (s, there) in enumerate(values)}

    found = race(side((5, True), (9, False), (7, True), (4, False)), side((6, True), (4, True), (9, False), (2, False)))
    assert (found.runs, found.slower, found.faster) == (4, 1, 2)
    assert (found.ours_reached, found.theirs_reached) == (0.5, 0.5)
    assert found.ours is found.ratio is None
    found = race(side((5, True), (5, True)), side((40, False), (60, False)))
    assert (found.theirs, found.theirs_at_least, found.ratio) == (None, 50, 0.1)
    found = race(side((5, True)) | {("x", 1): None}, side((8, True)))
    assert (found.runs, found.ratio) == (1, 5 / 8)
    assert race(side((5, True)), {}) is None


def test_a_network_judged_from_the_box_alone_is_in_the_first_table_only(tmp_path):
    rows = run([0.5, 0.95]) + run([0.4, 0.4], "network") + run([0.7], "network", network="fcn")
    summary = write_report(rows, [], tmp_path, compose=published)
    assert table_of(summary, "table-I")["A", "LV"]["fcn"]["best"]
    assert "fcn" not in table_of(summary, "table-III")["A", "LV"]
    (line,) = summary["tables"]["losses-2d"]["rows"]
    assert (line["Against"], line["start"], line["round 1"]) == ("fcn", pytest.approx(-0.2), None)


def against(ours, theirs, *, own_seconds=5.0, their_seconds=20.0, methods=("grabcut",), **changes):
    rows = run(ours, user_seconds=own_seconds, **changes)
    for method in methods:
        rows += run(theirs, method, user_seconds=their_seconds)
    return group_rows(rows)[0]


ALL = ("grabcut", "random_walks", "slicseg", "geos", "growcut")


@pytest.mark.parametrize(
    ("ours", "theirs", "changes", "verdict"),
    [
        ([0.8, 0.95], [0.8, 0.95], {"methods": ALL}, "met"),
        ([0.8, 0.95], [0.8, 0.95], {}, "open"),  # four methods were not judged
        ([0.8, 0.95], [0.8, 0.95], {"methods": ALL, "own_seconds": 11.0}, "missed"),
        ([0.8, 0.95], [0.8, 0.97], {"methods": ALL}, "missed"),  # two points below at the end
        ([0.8, 0.89], [0.8, 0.89], {"methods": ALL}, "missed"),  # neither gets there
        ([0.8, 0.95], [0.8, 0.85], {"methods": ALL}, "met"),  # 10 s, and 40 s in vain
        ([0.8, 0.95], [0.8, 0.85], {"methods": ALL, "own_seconds": 11.0}, "open"),  # 22 s, and 40 s in vain
        ([0.8, 0.95], [0.8, 0.95], {"methods": ALL, "seen": True}, "open"),
    ],
)
def test_the_target_is_met_missed_or_open(ours, theirs, changes, verdict):
    assert target(against(ours, theirs, **changes))[1]["verdict"] == verdict


def test_the_target_leaves_out_what_the_network_has_seen():
    rows = run([0.95, 0.96], user_seconds=1) + run([0.1, 0.2], dataset="Dataset002_B", seen=True)
    for method in ALL:
        rows += run([0.95, 0.96], method) + run([0.95, 0.96], method, dataset="Dataset002_B")
    blocks, numbers = target(group_rows(rows)[0])
    assert numbers == {"verdict": "met", "met": 5, "missed": 0, "open": 0, "not_judged": []}
    assert [cell.text for cell in blocks[1].rows[0][1:6]] == ["1", "1.0 (100 %)", "10.0 (100 %)", "0.10", "yes"]


def test_the_target_looks_at_the_worst_structure():
    rows = []
    for label, ours in (("LV", 0.99), ("RV", 0.92)):
        rows += run([0.95, ours], label=label, user_seconds=1)
        for method in ALL:
            rows += run([0.95, 0.94], method, label=label)
    blocks, numbers = target(group_rows(rows)[0])
    assert (numbers["verdict"], numbers["missed"]) == ("missed", 5)
    assert blocks[1].rows[0][7].text == "-2.0 (A, RV)"


def test_losses_are_found_by_step_and_by_time():
    rows = run([0.50, 0.90], user_seconds=10) + run([0.60, 0.80], "geos", user_seconds=2)  # lower at the start
    rows += run([0.90, 0.95], label="RV") + run([0.90, 0.95], "geos", label="RV", user_seconds=9)  # slower
    rows += run([0.90, 0.95], label="MYO", user_seconds=1) + run([0.895, 0.955], "geos", label="MYO")  # neither
    _, said, table = losses(group_rows(rows + run([0.9, 0.9], label="X"))[0])  # nobody else tried X
    assert said.text.startswith("Of 3 pairs")
    assert said.text.endswith("after at least one step in 1, and takes more user time to 0.90 in 1.")
    assert [[cell.text for cell in line[:6]] for line in table.rows] == [
        ["A", "LV", "GeoS", "1", "-10.0", "+10.0"], ["A", "RV", "GeoS", "1", "+0.0", "+0.0"],
    ]  # fmt: skip
    assert [line[-1].best for line in table.rows] == [False, True]
    assert [cell.best for cell in table.rows[0][4:6]] == [True, False]


def test_the_objects_lost_most_are_named_with_the_best_of_the_others():
    rows = run([0.90]) + run([0.95], "geos") + run([0.97], "grabcut")
    rows += run([0.80], case="c1") + run([0.95], "geos", case="c1") + run([0.90], "grabcut", case="c1")
    rows += run([0.95], case="c2") + run([0.955], "geos", case="c2")
    table = losses(group_rows(rows)[0])[-1]
    assert [[cell.text for cell in line] for line in table.rows] == [
        ["A", "c1", "LV", "80.0", "GeoS: 95.0", "-15.0"], ["A", "c0", "LV", "90.0", "GrabCut: 97.0", "-7.0"],
    ]  # fmt: skip
    assert table.notes.startswith("2 of 3 objects")


def test_without_bifseg_nothing_is_claimed(tmp_path):
    summary = write_report(run([0.5, 0.95], "geos"), [], tmp_path, figures=False, compose=published)
    assert summary["target"]["2d"] == {"verdict": "open"}
    text = (tmp_path / "report.md").read_text()
    assert "BIFSeg was not judged, so the target is open." in text
    assert re.search(r"Not judged here: BIFSeg, BIFSeg \(no box\), BIFSeg\(-w\),.* \+CRF,.* network,", text)
    assert "Table I is empty: no network and no GrabCut was judged." in text
    assert "Where BIFSeg loses" not in text


def test_a_users_report_knows_neither_target_nor_paper(tmp_path):
    rows = many() + many(3, dimension=3, datasets=("Dataset001_A",))
    summary = write_report(rows, [], tmp_path)
    text = (tmp_path / "report.md").read_text()
    assert not re.search(r"[Tt]arget|paper|loses|lost|Table [IV]+\b|BIFSeg judged", text)
    assert "target" not in summary
    assert {"networks-2d", f"parts-2d-{NETWORK}-0", "comparisons-3d"} <= summary["tables"].keys()


@pytest.mark.parametrize("name", ["rounds", "users", "humans", "networks", "printed", "challenge", "noc"])
def test_the_published_tables_come_out_of_the_published_rows(name, tmp_path):
    rows, abouts = read_results([RESULTS / f"{name}.jsonl.gz"])
    write_report(rows, abouts, tmp_path, title=TITLE, figures=False, compose=published)
    told, again = (
        [line for line in (folder / "report.md").read_text().splitlines() if line.startswith("|")]
        for folder in (RESULTS / name, tmp_path)
    )
    assert again == told
    assert told


def test_nothing_shipped_imports_the_laboratory():
    sources = Path(import_module("bifseg").__file__).parent.rglob("*.py")
    assert not [str(path) for path in sources if re.search(r"^\s*(from|import) benchmarks", path.read_text(), re.M)]
