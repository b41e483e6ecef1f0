"""``bifseg tasks``: from the first finished object to a model that finds the next ones."""

import json

import pytest
from kinds_of_objects import scan_and_core
from quick_learning import coarsen, quicken

from bifseg.cli import main
from bifseg.io.images import read_image, write_image
from bifseg.networks.checkpoint import load_model


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scans")
    for seed in range(4):
        image, mask = scan_and_core(seed)
        write_image(folder / f"scan{seed}.nii.gz", image.array, image)
        write_image(folder / f"mask{seed}.nii.gz", mask, image)
    return folder


def test_from_finished_objects_to_a_model(folder, tmp_path, capsys, monkeypatch):
    quicken(monkeypatch)
    coarsen(monkeypatch)
    data, box = ["--data", str(tmp_path / "tasks")], ["--box", "4:44,4:44,0"]

    def run(*arguments, code=0):
        assert main([str(a) for a in arguments]) == code
        said = capsys.readouterr()
        return said.err if code else said.out

    said = [
        run("tasks", "add", "core", folder / f"scan{k}.nii.gz", folder / f"mask{k}.nii.gz", *box, *data)
        for k in range(3)
    ]
    assert "remembers 1 object in 2D" in said[0]
    assert "the shipped network stays, for it takes 3 patients" in said[1]
    assert "Version 3, 2D, 3 objects of 3 patients: first masks of objects left out go from Dice" in said[2]
    assert run("tasks", "list", *data) == "core: 3 in 2D (version 3)\n"
    shown = run("tasks", "show", "core", *data).splitlines()
    assert len(shown) == 6
    assert "patient" not in shown[0]
    about = json.loads(run("tasks", "show", "core", "--json", *data))
    assert [one["patient"] for one in about["objects"]] == [f"scan{k}.nii.gz" for k in range(3)]
    assert about["versions"][2]["strength"] > 0

    made, report = tmp_path / "new.nii.gz", tmp_path / "report.json"
    run(
        "segment",
        folder / "scan3.nii.gz",
        *box,
        "-o",
        made,
        "--task",
        "core",
        "--task-data",
        tmp_path / "tasks",
        "--report",
        report,
    )
    mask, truth = read_image(made).array > 0, read_image(folder / "mask3.nii.gz").array > 0
    assert 2 * (mask & truth).sum() / (mask.sum() + truth.sum()) > 0.9
    used = json.loads(report.read_text())
    assert used["command"]["task"] == "core"
    told = used["objects"][0]["prior"]
    assert (told["task"], told["version"], len(told["sha256"])) == ("core", 3, 64)

    model, again = tmp_path / "core.safetensors", tmp_path / "again.nii.gz"
    run("tasks", "export", "core", "-o", model, "--dimension", 2, *data)
    assert load_model(model).card["task"] == "core"
    run("segment", folder / "scan3.nii.gz", *box, "-o", again, "--model", model)
    mask = read_image(again).array > 0  # by the weights alone: where the object lies the finished ones know
    assert 2 * (mask & truth).sum() / (mask.sum() + truth.sum()) > 0.8

    run("tasks", "reject", "core", 3, *data)
    assert run("tasks", "list", *data) == "core: 3 in 2D (the shipped network)\n"
    assert "nothing to export" in run("tasks", "export", "core", "-o", model, "--dimension", 2, *data, code=2)
    run("tasks", "delete", "core", *data)
    assert run("tasks", "list", *data) == ""
    assert "no task 'core'" in run("tasks", "learn", "core", "--dimension", 2, *data, code=2)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--task", "x", "--model", "pnet"], "give one of the two"),
        (["--task", "x"], "no task 'x'"),
    ],
)
def test_a_task_that_cannot_be_used(folder, tmp_path, capsys, options, said):
    command = ["segment", folder / "scan0.nii.gz", "--box", "4:44,4:44,0", "-o", tmp_path / "m.nii.gz"]
    assert main([*map(str, command), *options, "--task-data", str(tmp_path)]) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "m.nii.gz").exists()
