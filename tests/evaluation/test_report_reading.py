"""The report reads what is whole, and refuses what is damaged or contradicts itself."""

import json
import re

import pytest
from result_rows import run, write

from bifseg.evaluation.report import read_results, write_report


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
