"""``bifseg benchmark``: what it writes and says, and that every mistake is one sentence."""

import json
import sys

import pytest
from labelled_sets import write_set
from nninteractive_server import serving

from bifseg.cli import main
from bifseg.evaluation.methods import STANDARD
from bifseg.evaluation.results import KEY

pytestmark = pytest.mark.usefixtures("coarse")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "set"
    write_set(folder, ("a", "b"), scribbled=("b",))
    return folder


def run(capsys, *arguments):
    assert main([str(a) for a in ("benchmark", *arguments)]) == 0
    return capsys.readouterr()


def test_every_standard_method_runs_on_slices_and_is_told_about(capsys, folder, tmp_path):
    path = tmp_path / "new" / "r.jsonl"
    arguments = (folder, "--limit", 1, "--labels", "box", "--rounds", 1, "--seed", 4, "-o", path)
    said = run(capsys, *arguments)
    assert "10 runs on 1 object " in said.out
    assert "10 of them new" in said.out
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    assert [row["method"] for row in rows[::2]] == list(STANDARD)
    assert {row["seed"] for row in rows} == {4}
    assert all({*KEY, "step", "dice", "nsd", "seconds", "user_seconds"} <= set(row) for row in rows)
    about = json.loads(path.with_suffix(".about.json").read_text())
    assert about["datasets"] == {"set": {"box": {"channel": 0, "values": [1]}}}
    assert about["models"]["fcn2d"]["dimension"] == 2
    assert set(about["methods"]) >= {"grabcut", "bifseg (fcn2d)"}
    assert str(folder) not in json.dumps(about)  # where data lie on this machine is nobody's business
    assert "0 of them new" in run(capsys, *arguments).out


def test_volumes_users_networks_and_protocols(capsys, folder, tmp_path):
    path = tmp_path / "r.jsonl"
    common = (folder, "--labels", "box", "--limit", 1, "-o", path)
    run(capsys, *common, "--dimension", 3, "--methods", "crf", "--users", "sloppy", "--rounds", 1)
    run(capsys, *common, "--dimension", 3, "--methods", "grabcut", "--protocol", "challenge")
    run(
        capsys,
        *common,
        "--methods",
        "network",
        "--networks",
        "pnet,default",
        "--users",
        "careful,careful:0",
        "--rounds",
        0,
    )
    run(capsys, *common, "--methods", "growcut", "--protocol", "noc")
    run(capsys, *common, "--cases", "b", "--methods", "crf,growcut", "--users", "human", "--rounds", 1)
    about = json.loads(path.with_suffix(".about.json").read_text())
    assert len(about["commands"]) == 5
    assert (
        about["commands"][3]
        == "bifseg benchmark set --labels box --limit 1 -o r.jsonl --methods growcut --protocol noc"
    )
    assert set(about["models"]) == {"multiscale3d", "fcn2d", "pnet"}
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    assert {row["user"] for row in rows} == {"sloppy", "careful:0", "challenge", "careful", "noc", "human"}
    assert {row["network"] for row in rows} == {"multiscale3d", "fcn2d", "pnet", None}
    counts = {p: sum(row["protocol"] == p for row in rows) for p in ("rounds", "challenge", "noc")}
    assert counts == {"rounds": 2 + 2 * 2 + 2 * 2, "challenge": 6, "noc": 1 + 20}


def test_a_case_that_cannot_be_read_is_named_and_left_out(capsys, tmp_path):
    folder = tmp_path / "set"
    write_set(folder, ("a", "b"), damaged=("a",))
    said = run(capsys, folder, "--methods", "growcut", "--rounds", 0, "-o", tmp_path / "r.jsonl")
    assert "The case a is left out" in said.err
    assert "1 runs on 1 object " in said.out


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (["--methods", "bifseg,magic"], "Unknown method 'magic'; known are bifseg, bifseg-scribbles, bifseg-w"),
        (["--methods", ","], "Unknown method ''; known are"),
        (["--users", "nobody"], "Unknown user 'nobody'; known are careful, sloppy, line, contour, clicks, human"),
        (["--users", ""], "Unknown user ''"),
        (["--labels", "liver"], "No data set has a class 'liver'; there is box, dot."),
        (["--labels", "dot", "--cases", "b"], "No case shows 'dot'"),
        (["--cases", "z*"], "There is no 2D object"),
        (["--fold", "train"], "Unknown fold 'train'; known are develop, report"),
        (["--protocol", "tennis"], "Unknown protocol 'tennis'; known are rounds, challenge, noc"),
        (["--protocol", "challenge"], "The protocol challenge is not for 2D objects"),
        (["--networks", "resnet"], "Unknown model 'resnet'; known are default"),
        (["--networks", "multiscale3d", "--methods", "crf"], "no network fits"),
        (["--methods", "nninteractive"], "needs a server"),
        (["--jobs", "0"], "workers is 0"),
        (["--cluster", "tcp://127.0.0.1:1"], "Cannot connect to the dask cluster tcp://127.0.0.1:1"),
        (["--channel", "3"], "There is no channel 3"),
        (["-o", "r.txt"], "the suffix of the results must be .jsonl"),
    ],
)  # fmt: skip
def test_every_mistake_is_one_sentence_and_nothing_is_written(capsys, folder, tmp_path, monkeypatch, changes, message):
    if "--cluster" in changes and sys.platform != "win32":
        pytest.importorskip("resource")  # without it Dask is not imported on POSIX
    monkeypatch.chdir(tmp_path)
    assert main(["benchmark", str(folder), "--rounds", "0", "-o", "out/r.jsonl", *changes]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    lines = [line for line in said.err.splitlines() if "left out" not in line]
    assert len(lines) == 1
    assert message in lines[0]
    assert not list(tmp_path.rglob("*.jsonl"))


def test_results_do_not_go_where_they_cannot(capsys, folder, tmp_path):
    (tmp_path / "r.jsonl").mkdir()
    for output, message in ((tmp_path / "r.jsonl", "it is a folder"), (folder / "r.jsonl", "is a data set")):
        assert main(["benchmark", str(folder), "-o", str(output)]) == 2
        assert message in capsys.readouterr().err
    assert main(["benchmark", str(tmp_path / "nothing"), "-o", str(tmp_path / "a.jsonl")]) == 2
    assert "There is no data set" in capsys.readouterr().err


def test_a_remote_server_is_judged_through_its_public_client(capsys, folder, tmp_path):
    pytest.importorskip("nnInteractive")
    path = tmp_path / "r.jsonl"
    with serving() as server:
        common = (folder, "--labels", "box", "--limit", 1, "--rounds", 2, "--methods", "nninteractive,growcut")
        run(capsys, *common, "--server", server.url, "-o", path)
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    assert [(row["method"], row["step"]) for row in rows[:3]] == [("nninteractive", k) for k in range(3)]
    assert rows[2]["dice"] > 0.7
    assert main([str(a) for a in ("benchmark", *common, "--server", server.url, "-o", tmp_path / "gone.jsonl")]) == 2
    assert "nninteractive on box of" in capsys.readouterr().err
