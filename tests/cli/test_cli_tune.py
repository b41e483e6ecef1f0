"""``bifseg tune``: what it writes, what it says, and that no failure leaves a file behind."""

import json
import re
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bifseg.cli import main
from bifseg.evaluation import trials
from bifseg.evaluation.loop import Scores
from bifseg.evaluation.sample import sample
from bifseg.imaging.image import Image
from bifseg.io.datasets import open_dataset
from bifseg.io.images import write_image
from bifseg.method.parameters import preset
from bifseg.networks.checkpoint import SHIPPED, load_model, save_model

BAD = {"lam": 1000.0, "never_empty": False}  # one cut of that finds nothing
VARY = ("--vary", "lam=1000,1", "--rounds", 1, "--objects", 8)
DISCS = {"left": (12, 13), "right": (27, 26)}


def write_case(folder: Path, name: str, seed: int) -> None:
    """Two noisy discs on a plane of 40 x 40, each brighter than what is around it."""
    rng = np.random.default_rng(seed)
    x, y = np.indices((40, 40))
    labels = np.zeros((40, 40), np.uint8)
    for value, centre in enumerate(DISCS.values(), 1):
        labels[(x - centre[0]) ** 2 + (y - centre[1]) ** 2 < rng.integers(36, 60)] = value
    image = (60 + seed + 90 * (labels > 0) + rng.normal(0, 12, labels.shape)).astype(np.uint8)
    for kind, array in (("images", image), ("masks", labels)):
        (folder / kind).mkdir(parents=True, exist_ok=True)
        write_image(folder / kind / f"{name}.png", array[..., None], Image(array[..., None]))


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("data") / "discs"
    for k in range(6):
        write_case(path, f"case{k}", k)
    (path / "labels.json").write_text(json.dumps({"left": 1, "right": 2}))
    return path


@pytest.fixture(scope="module")
def bad(tmp_path_factory) -> Path:
    """A small network that was tuned badly."""
    path = tmp_path_factory.mktemp("model") / "bad.safetensors"
    save_model(replace(load_model("multiscale2d"), size=32, tuned=BAD), path)
    return path


def run(capsys, *arguments: object) -> tuple[str, str]:
    code = main(["tune", *map(str, arguments)])
    captured = capsys.readouterr()
    assert code == 0, captured.err
    return captured.out, captured.err


def test_the_tuned_model_is_written_with_what_was_found_and_confirmed(capsys, folder, bad, tmp_path):
    output, log = tmp_path / "new" / "tuned.safetensors", tmp_path / "log.json"
    out, err = run(capsys, bad, folder, "-o", output, *VARY, "--vary", "share=0.3,0.5", "--log", log)

    model = load_model(output)
    best = preset("fast", 2, model.tuned)
    assert best.lam == 1.0
    assert not best.never_empty
    tuning = model.card["tuning"]
    assert tuning["adopted"]
    assert tuning["data"] == ["discs left", "discs right"] or tuning["data"] == ["discs right", "discs left"]
    assert (tuning["objects"], tuning["confirmed_objects"], tuning["scribble_rounds"]) == (6, 2, 1)
    assert tuning["confirmed_after"] > tuning["confirmed_before"] + 0.1

    assert re.search(r"^lam +1000\.0 -> 1\.0$", out, re.M)
    before, after = tuning["objective_before"], tuning["objective_after"]
    said = re.search(r"^objective +([\d.]+) -> ([\d.]+) on 6 objects$", out, re.M)
    assert [float(value) for value in said.groups()] == pytest.approx([before, after], abs=1e-4)
    assert re.search(r"^confirmed +0\.\d{4} -> 0\.\d{4} on 2 objects of other patients$", out, re.M)
    assert out.endswith(f"Wrote {output}.\n")

    lines = err.splitlines()
    assert len(lines) == tuning["settings"] == 3
    assert re.fullmatch(r"setting 1: objective (0\.\d{4}), best \1  \(as it was\)", lines[0])
    assert re.fullmatch(r"setting 2: objective 0\.\d{4}, best 0\.\d{4}  \(lam 1\.0\)", lines[1])
    written = json.loads(log.read_text())
    assert [trial["parameters"]["lam"] for trial in written["trials"]] == [1000.0, 1.0, 1.0]
    assert written["trials"][0]["objective"] == before
    assert written["chosen"] == best.as_dict()
    assert written["changes"]["lam"] == [1000.0, 1.0]
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["log.json", "new", "tuned.safetensors"]


def test_the_result_as_json_and_nobody_held_back(capsys, folder, bad, tmp_path):
    arguments = (bad, folder, "-o", tmp_path / "a.safetensors", *VARY, "--held-back", 0, "--seen", "left", "--json")
    about = json.loads(run(capsys, *arguments)[0])
    assert about["changes"] == {"lam": [1000.0, 1.0]}
    assert about["data"] == ["discs left"]
    assert (about["objects"], about["adopted"]) == (6, True)
    assert "confirmed_after" not in about
    assert load_model(tmp_path / "a.safetensors").card["tuning"].items() <= about.items()


def test_what_does_not_win_on_patients_held_back_is_not_kept(capsys, monkeypatch, folder, bad, tmp_path):
    held = {t.boxed().image.array.tobytes() for t in sample([open_dataset(folder)], 2, objects=8).confirm}

    def scores(model, crop, target, parameters, **options):
        sign = -1 if target.image.array.tobytes() in held else 1
        value = 0.5 + sign * 0.1 * (parameters.lam == 1)
        return Scores(value, value, None, (value,))

    monkeypatch.setattr(trials, "evaluate", scores)
    out, _ = run(capsys, bad, folder, "-o", tmp_path / "kept.safetensors", *VARY)
    assert "confirmed    0.5000 -> 0.4000 on 2 objects of other patients\nThe best did not win" in out
    model = load_model(tmp_path / "kept.safetensors")
    assert model.tuned == BAD
    assert not model.card["tuning"]["adopted"]


def test_where_nothing_is_better_the_parameters_stay(capsys, folder, bad, tmp_path):
    out, _ = run(
        capsys, bad, folder, "-o", tmp_path / "same.safetensors", "--vary", "lam=1000,900", "--rounds", 0,
        "--region", "both=1,2", "--seen", "both", "--objects", 5,
    )  # fmt: skip
    assert "Nothing was surely better" in out
    model = load_model(tmp_path / "same.safetensors")
    assert model.tuned == BAD
    assert model.card["tuning"]["data"] == ["discs both"]


def test_a_case_that_cannot_be_read_is_left_out_and_named(capsys, bad, tmp_path):
    for k in range(3):
        write_case(tmp_path / "set", f"case{k}", k)
    (tmp_path / "set" / "labels.json").write_text(json.dumps({"left": 1, "right": 2}))
    (tmp_path / "set" / "images" / "case1.png").write_bytes(b"no image")
    _, err = run(capsys, bad, tmp_path / "set", "-o", tmp_path / "a.safetensors", *VARY, "--held-back", 0)
    assert err.startswith("bifseg: The case case1 is left out: ")


def test_a_sample_spreads_over_classes_and_holds_back_patients(folder, tmp_path):
    dataset = open_dataset(folder)
    small = sample([dataset], 2, objects=8, seed=1)
    again = sample([dataset], 2, objects=8, seed=1)
    assert [t.box for t in small.tune] == [t.box for t in again.tune]
    assert (len(small.tune), len(small.confirm), small.skipped) == (6, 2, [])
    assert sorted(t.group for t in small.tune) == ["discs left"] * 3 + ["discs right"] * 3
    base = [int(t.image.array.min()) for t in small.tune]
    assert len(set(base)) > 2
    everything = sample([dataset], 2, objects=100, held_back=0)
    assert (len(everything.tune), everything.confirm) == (12, [])
    for target in everything.tune:
        assert target.box.plane == 2
        assert target.truth[target.box.slices].sum() == target.truth.sum()


def test_of_few_objects_every_data_set_gives_some(folder, tmp_path):
    write_case(tmp_path / "other", "another", 9)
    drawn = sample([open_dataset(folder), open_dataset(tmp_path / "other")], 2, objects=4, held_back=0)
    assert sorted({t.group.split()[0] for t in drawn.tune}) == ["discs", "other"]
    assert len(drawn.tune) == 4


def test_volumes_are_sampled_as_volumes(tmp_path):
    rng = np.random.default_rng(0)
    for k in range(2):
        truth = np.zeros((24, 20, 12), np.uint8)
        truth[6:16, 5:15, 2:9] = 1
        for kind, array in (("images", truth * 50 + rng.normal(0, 5, truth.shape)), ("masks", truth)):
            (tmp_path / kind).mkdir(exist_ok=True)
            write_image(tmp_path / kind / f"{k}.nii.gz", array, Image(array, (1.0, 1.0, 2.0)))
    drawn = sample([open_dataset(tmp_path)], 3, objects=5, held_back=0)
    assert [t.truth.sum() for t in drawn.tune] == [700, 700]
    assert all(t.box.plane is None and t.image.spacing == (1.0, 1.0, 2.0) for t in drawn.tune)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"-o": "tuned.pt"}, "tuned.pt: the suffix of a model must be .safetensors"),
        ({"-o": SHIPPED / "multiscale2d.safetensors"}, "models that ship with bifseg stay as they are"),
        ({"-o": "folder.safetensors"}, "folder.safetensors: it is a folder"),
        ({"-o": "file/tuned.safetensors"}, "is a file"),
        ({"--log": "log.txt"}, "log.txt: the suffix of the log must be .json"),
        ({"--log": "DATA/labels.json"}, "it is an input of this command"),
        ({"MODEL": "nobody"}, "Unknown model 'nobody'"),
        ({"MODEL": "none.safetensors"}, "There is no model file"),
        ({"DATA": "nowhere"}, "There is no data set nowhere"),
        ({"--channel": 1}, "There is no channel 1"),
        ({"--seen": "left,top"}, "No data set has a class 'top'; there is left, right"),
        ({"--region": "core"}, "--region is 'core'; it must be a name and label values"),
        ({"--region": "core=7", "--seen": "core"}, "There is no 2D object of core to tune on"),
        ({"MODEL": "multiscale3d"}, "There is no 3D object of any class to tune on"),
        ({"--vary": "lam"}, "--vary is 'lam'; it must be a parameter and values: lam=1,3,5"),
        ({"--vary": "lambda=1"}, "Unknown parameter lambda; known are appearance"),
        ({"--vary": "lam=a"}, "--vary lam has the value 'a'; it takes numbers"),
        ({"--vary": "lam=nan"}, "lam is nan"),
        ({"--vary": "iterations=1.5"}, "--vary iterations has the value '1.5'; it takes whole numbers"),
        ({"--vary": "balanced=2"}, "--vary balanced has the value '2'; it takes true or false"),
        ({"--vary": "sigma=0"}, "sigma is 0.0; it must be above 0"),
        ({"--vary": "connectivity=26"}, "connectivity is 26; it must be 1"),
        ({"--backend": "spark"}, "Unknown backend 'spark'; known are loky, ray, dask"),
        ({"--cluster": "tcp://here:1"}, "loky works on this machine only; give --backend ray or dask"),
        ({"--workers": 0}, "workers is 0; give 1 or more, or -1"),
        ({"--objects": 3}, "objects"),
        ({"--held-back": 1}, "held"),
        ({"DATA": "single"}, "one patient only, so nobody can be held back"),
        ({"DATA": "broken"}, r"There is no 2D object of any class to tune on.* The case \w+ is left out"),
    ],
)
def test_every_error_is_one_line_and_nothing_is_written(capsys, monkeypatch, folder, bad, tmp_path, changes, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder.safetensors").mkdir()
    (tmp_path / "file").write_text("")
    write_case(tmp_path / "single", "case", 1)
    for name in ("a", "b", "c"):
        write_case(tmp_path / "broken", name, 1)
        (tmp_path / "broken" / "images" / f"{name}.png").write_bytes(f"no image {name}".encode())
    (tmp_path / "broken" / "labels.json").write_text('{"left": 1}')
    there = sorted(tmp_path.rglob("*")), (folder / "labels.json").read_bytes()
    given = {"-o": "tuned.safetensors", "--vary": "lam=1", "--log": "log.json"} | changes
    model, data = given.pop("MODEL", bad), given.pop("DATA", folder)
    options = [str(part).replace("DATA", str(folder)) for pair in given.items() for part in pair]
    assert main(["tune", str(model), str(data), *options]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert re.search(message, captured.err)
    assert re.fullmatch(r"bifseg: .+\n", captured.err)
    assert (sorted(tmp_path.rglob("*")), (folder / "labels.json").read_bytes()) == there


@pytest.mark.parametrize("backend", ["ray", "dask"])
def test_a_missing_backend_is_refused_before_anything_is_read(capsys, monkeypatch, bad, tmp_path, backend):
    monkeypatch.setitem(sys.modules, {"ray": "ray.util.joblib", "dask": "dask.distributed"}[backend], None)
    assert main(["tune", str(bad), "nowhere", "-o", str(tmp_path / "a.safetensors"), "--backend", backend]) == 2
    assert f"The backend {backend} is not installed" in capsys.readouterr().err


@pytest.mark.server
def test_a_dask_cluster_is_used_by_its_address(capsys, folder, bad, tmp_path):
    distributed = pytest.importorskip("dask.distributed", reason="Dask is not installed: pip install 'bifseg[cluster]'")
    options = ("--vary", "lam=1", "--rounds", 0, "--objects", 4, "--held-back", 0)
    cluster = distributed.LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=None)
    with cluster:
        address = cluster.scheduler_address
        there = ("--backend", "dask", "--cluster", address)
        run(capsys, bad, folder, "-o", tmp_path / "there.safetensors", *options, *there)
    run(capsys, bad, folder, "-o", tmp_path / "here.safetensors", *options)
    tuning = [load_model(tmp_path / f"{name}.safetensors").card["tuning"] for name in ("there", "here")]
    assert tuning[0] == tuning[1]
    assert main(["tune", str(bad), str(folder), "-o", str(tmp_path / "a.safetensors"), *map(str, options + there)]) == 2
    assert f"Cannot connect to the dask cluster {address}" in capsys.readouterr().err
