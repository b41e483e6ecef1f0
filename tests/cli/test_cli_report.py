"""``bifseg report``: what it writes and says, and that every failure is one sentence that leaves nothing behind."""

import builtins
import json

import pytest
from result_rows import run, write

from bifseg import cli


@pytest.fixture
def main(capsys):
    """`bifseg report` with arguments; returns exit code, stdout, stderr."""

    def call(*arguments):
        code = cli.main(["report", *map(str, arguments)])
        return (code, *capsys.readouterr())

    return call


@pytest.fixture
def results(tmp_path):
    rows = [r for k in range(3) for m in ("bifseg", "geos") for r in run([0.6, 0.8 + k / 20], m, case=f"c{k}")]
    return write(tmp_path / "results.jsonl", rows, {"commands": ["bifseg benchmark"], "versions": {"evaluator": "1"}})


def test_a_report_is_written(main, results, tmp_path):
    code, out, err = main(results, "-o", tmp_path / "out", "--title", "Ours")
    assert (code, err) == (0, "")
    assert out == f"12 rows of 1 file are in {tmp_path / 'out' / 'index.html'}\n"
    assert (tmp_path / "out" / "report.md").read_text().startswith("# Ours\n")
    assert (tmp_path / "out" / "curves-2d-time.png").exists()


def test_several_files_are_read_together(main, results, tmp_path):
    more = write(tmp_path / "more.jsonl", run([0.5, 0.6], dimension=3))
    code, out, _ = main(results, more, "-o", tmp_path / "out", "--no-figures", "--json")
    assert code == 0
    summary = json.loads(out)
    assert summary == json.loads((tmp_path / "out" / "summary.json").read_text())
    assert {"time-2d", "time-3d"} <= summary["tables"].keys()
    assert [about["results"] for about in summary["about"]] == ["results.jsonl", "more.jsonl"]
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"index.html", "report.md", "summary.json"}


@pytest.mark.parametrize("content", ["", "{}\n", '{"a": 1\n{"b": 2}\n'])
def test_bad_results_are_refused_in_one_sentence(main, tmp_path, content):
    (tmp_path / "bad.jsonl").write_text(content)
    code, out, err = main(tmp_path / "bad.jsonl", "-o", tmp_path / "out")
    assert (code, out) == (2, "")
    assert err.startswith("bifseg: ")
    assert "bad.jsonl" in err
    assert err.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_a_missing_file_is_named(main, tmp_path):
    code, _, err = main(tmp_path / "none.jsonl", "-o", tmp_path / "out")
    assert code == 2
    assert err == f"bifseg: There is no file {tmp_path / 'none.jsonl'}; give the results of `bifseg benchmark`.\n"


def test_an_input_is_never_overwritten(main, results, tmp_path):
    summary = tmp_path / "summary.json"
    summary.write_bytes(results.read_bytes())
    code, _, err = main(summary, "-o", tmp_path)
    assert code == 2
    assert "it is an input of this command" in err
    assert summary.read_bytes() == results.read_bytes()


def test_a_file_in_the_place_of_the_folder_is_refused(main, results, tmp_path):
    (tmp_path / "out").write_text("mine")
    code, _, err = main(results, "-o", tmp_path / "out")
    assert code == 2
    assert "is a file" in err


def test_without_matplotlib_the_sentence_says_what_to_install(main, results, tmp_path, monkeypatch):
    real = builtins.__import__

    def without(name, *rest, **more):
        if name.split(".")[0] == "matplotlib":
            raise ImportError(name)
        return real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    code, _, err = main(results, "-o", tmp_path / "out")
    assert code == 2
    assert 'pip install "bifseg[figures]"' in err
    assert not (tmp_path / "out").exists()
    assert main(results, "-o", tmp_path / "out", "--no-figures")[0] == 0
