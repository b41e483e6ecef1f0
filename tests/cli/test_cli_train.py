import json
import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from tiny import SMALL, TINY

from bifseg.cli import main
from bifseg.evaluation.targets import half
from bifseg.imaging.image import Image
from bifseg.io.images import write_image
from bifseg.networks import build
from bifseg.networks.checkpoint import Model, load_model, save_model

SUPPORT = str(Path(__file__).parents[1] / "support")


def two_discs(seed: int) -> tuple[Image, np.ndarray]:
    """A noisy scan of four slices, and its labels: a disc of 1, a disc of 2."""
    x, y = np.meshgrid(np.arange(60), np.arange(50), indexing="ij")
    labels = np.zeros((60, 50, 4), np.uint8)
    labels[(x - 16) ** 2 + (y - 18) ** 2 < 80] = 1
    labels[(x - 42) ** 2 + (y - 30) ** 2 < 100] = 2
    scan = 300.0 * labels + 30 * np.random.default_rng(seed).standard_normal(labels.shape)
    return Image(scan.astype(np.int16), spacing=(1.0, 1.0, 3.0)), labels


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    """Four patients with the classes a and b, as nnU-Net lays them out."""
    folder = tmp_path_factory.mktemp("data") / "Dataset001_Toy"
    (folder / "imagesTr").mkdir(parents=True)
    (folder / "labelsTr").mkdir()
    for k in range(4):
        image, labels = two_discs(k)
        write_image(folder / f"imagesTr/case{k}_0000.nii.gz", image.array, image)
        write_image(folder / f"labelsTr/case{k}.nii.gz", labels, image)
    about = {"labels": {"background": 0, "a": 1, "b": 2}, "file_ending": ".nii.gz", "channel_names": {"0": "MR"}}
    (folder / "dataset.json").write_text(json.dumps(about))
    return folder


@pytest.fixture(autouse=True)
def _tiny(monkeypatch, tmp_path):
    """The shipped 2D network, small enough for a test, and judged on 4 synthetic boxes."""
    from bifseg.training import recipes, train

    monkeypatch.setattr(train, "validate", partial(train.validate, synthetic=4))
    monkeypatch.setitem(recipes.SHIPPED, "multiscale2d", recipes.SHIPPED["multiscale2d"].but(**SMALL))
    monkeypatch.chdir(tmp_path)


def run(*arguments) -> int:
    return main(["train", *map(str, arguments), "--cache", "cache", "--threads", "1"])


@pytest.mark.parametrize(("network", "settings"), [("unet", {"width": 8}), ("fcn", {"width": 4, "head": 8})])
def test_a_network_that_others_are_compared_with_is_trained_as_any(dataset, monkeypatch, network, settings):
    pytest.importorskip("monai")
    from bifseg.training import recipes

    small = {"settings": settings, "size": 24, "batch": 1}
    for of in (recipes.SHIPPED, recipes.COMPARED):
        for name, recipe in of.items():
            if recipe.architecture == network:
                monkeypatch.setitem(of, name, recipe.but(**small))
    assert run(dataset, "-o", "m.safetensors", "--network", network, "--steps", 2, "--every", 2) == 0
    model = load_model("m.safetensors")
    assert (model.architecture, model.settings) == (network, settings)


def test_a_network_is_trained_on_seen_classes_and_judged_on_both(dataset, tmp_path, capsys):
    assert run(dataset, "-o", "m.safetensors", "--seen", "a", "--unseen", "b", "--steps", 4, "--every", 2) == 0
    said = capsys.readouterr().out
    assert "seen    a" in said
    assert "unseen  b" in said
    model = load_model(tmp_path / "m.safetensors")
    assert "objects of a" in model.card["data"]
    assert model.card["licence"] == "that of the data it learnt from"
    assert set(model.card["seen"]) == {"a"}
    assert set(model.card["unseen"]) == {"b"}
    assert model.card["intensities"]["Dataset001_Toy"]["n"] > 0
    assert list((tmp_path / "cache").glob("*.npz"))
    # Once more: there is nothing left to do.
    assert run(dataset, "-o", "m.safetensors", "--seen", "a", "--unseen", "b", "--steps", 4, "--every", 2) == 0
    assert "is finished" in capsys.readouterr().out


@pytest.mark.server
def test_a_killed_command_goes_on_when_it_is_given_again(dataset, tmp_path, capsys, monkeypatch):
    from bifseg.training import train as training

    program = f"""
import sys
sys.path.insert(0, {SUPPORT!r})
from tiny import SMALL, TINY
from bifseg.cli import main
from bifseg.training import recipes
recipes.SHIPPED["multiscale2d"] = recipes.SHIPPED["multiscale2d"].but(**SMALL)
sys.exit(main(sys.argv[1:]))
"""
    command = [sys.executable, "-c", program, "train", dataset, "-o", "m.safetensors", "--steps", "100000"]
    command += ["--every", "1", "--threads", "1", "--cache", "c"]
    process = subprocess.Popen(list(map(str, command)), cwd=tmp_path, stdout=subprocess.PIPE, text=True)
    deadline = time.time() + 300
    while not (tmp_path / "m.state").exists():
        assert time.time() < deadline
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    load_model(tmp_path / "m.safetensors")  # at whatever time it was
    done = len((tmp_path / "m.jsonl").read_text().splitlines())
    train = training.train

    def interrupted(*arguments, **options):
        yield next(train(*arguments, **options))
        raise KeyboardInterrupt

    monkeypatch.setattr(training, "train", interrupted)
    assert main(list(map(str, command[3:]))) == 130
    first = capsys.readouterr().out
    assert done <= int(first.split()[1].split("/")[0]) <= done + 2


def test_one_half_of_the_patients_teaches_and_every_model_validated_can_be_kept(dataset, tmp_path, capsys):
    assert {half(f"case{k}") for k in range(4)} == {"report"}  # by their names, for ever
    short = ["--steps", "4", "--every", "2", "--keep", "--held-back", "0", "--seen", "a", "--recipe", "paper"]
    assert run(dataset, "-o", "one.safetensors", "--fold", "report", *short) == 0
    assert load_model(tmp_path / "one.safetensors").card["data"] == "Dataset001_Toy: 16 objects of a"
    assert [load_model(tmp_path / f"one.step{k}.safetensors").card["steps"] for k in (2, 4)] == [2, 4]
    capsys.readouterr()
    assert run(dataset, "-o", "none.safetensors", "--fold", "develop", *short) == 2
    assert "No patient of these data sets belongs to the fold 'develop'." in capsys.readouterr().err


def test_regions_are_classes_and_a_model_can_be_trained_on(dataset, tmp_path, capsys):
    assert run(dataset, "-o", "one.safetensors", "--region", "both=1,2", "--seen", "both", "--steps", 1) == 0
    more = ("--region", "both=1,2", "--seen", "both", "--steps", 1, "--start", "one.safetensors", "--synthetic", 0.5)
    assert run(dataset, "-o", "two.safetensors", *more) == 0
    assert load_model(tmp_path / "two.safetensors").card["start"]["name"] == "one"


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--seen", "c"], "No data set has a class 'c'; there is a, b."),
        (["--seen", "a", "--unseen", "a"], "'a' is both seen and unseen"),
        (["--channel", "3"], "There is no channel 3"),
        (["--fold", "train"], "Unknown fold 'train'; known are develop, report"),
        (["--region", "x"], "--region is 'x'; it must be a name and label values"),
        (["--network", "vnet"], "There is no network 'vnet' for 2D; known are pnet (2D), pcnet (3D)"),
        (["--recipe", "quick"], "Unknown recipe 'quick'"),
        (["--start", "nobody"], "Unknown model 'nobody'"),
        (["--start", "multiscale2d"], "the recipe trains a multiscale with"),
        (
            ["--shipped", "nobody"],
            "Unknown model 'nobody'; known are fcn2d, multiscale2d, multiscale3d, pnet, pcnet, "
            "fcn, unet, deepmedic, highres3dnet.",
        ),
        (["--shipped", "multiscale2d"], "There are no label maps"),
        (["--shipped", "unet"], "There are no label maps"),
        (["--device", "cuda"], "There is no device 'cuda' here; there is cpu."),
    ],
)
def test_bad_input_gets_one_sentence_and_leaves_nothing(dataset, tmp_path, capsys, arguments, problem):
    assert run(dataset, "-o", "m.safetensors", "--steps", 1, *arguments) == 2
    said = capsys.readouterr().err
    assert problem in said
    assert said.count("\n") == 1
    assert not list(tmp_path.glob("m.*"))


def test_a_network_of_monais_without_monai_gets_one_sentence(dataset, tmp_path, capsys, monkeypatch):
    settings = {"width": 8, "hidden": 8}
    save_model(Model("u", build("unet", **settings), "unet", settings, size=24), tmp_path / "u.safetensors")
    for module in ("monai", "monai.networks"):
        monkeypatch.setitem(sys.modules, module, None)
    assert run(dataset, "-o", "m.safetensors", "--steps", 1, "--start", "u.safetensors") == 2
    said = capsys.readouterr().err
    assert 'pip install "bifseg[monai]"' in said
    assert said.count("\n") == 1
    assert not list(tmp_path.glob("m.*"))


def test_bad_files_are_told_apart(dataset, tmp_path, capsys):
    assert run(dataset, "-o", "m.pt", "--steps", 1) == 2
    assert "must be .safetensors" in capsys.readouterr().err
    assert run(tmp_path / "nothing", "-o", "m.safetensors") == 2
    assert "There is no data set" in capsys.readouterr().err
    (tmp_path / "empty").mkdir()
    assert run(tmp_path / "empty", "-o", "m.safetensors") == 2
    assert "is no data set" in capsys.readouterr().err


def test_damaged_cases_are_named_and_skipped(tmp_path, capsys):
    for folder in ("images", "masks"):
        (tmp_path / "plain" / folder).mkdir(parents=True)
    for k in range(3):
        image, labels = two_discs(k)
        write_image(tmp_path / f"plain/images/{k}.nii.gz", image.array, image)
        write_image(tmp_path / f"plain/masks/{k}.nii.gz", labels, image)
    whole = (tmp_path / "plain/images/1.nii.gz").read_bytes()
    (tmp_path / "plain/images/1.nii.gz").write_bytes(whole[: len(whole) // 2])
    small = np.zeros((5, 5, 5), np.uint8)
    write_image(tmp_path / "plain/masks/2.nii.gz", small, Image(small))
    assert run(tmp_path / "plain", "-o", "m.safetensors", "--steps", 1) == 0
    said = capsys.readouterr().err
    assert "The case 1 is left out" in said
    assert "The case 2 is left out" in said


def test_a_state_of_another_run_is_not_overwritten(dataset, tmp_path, capsys):
    assert run(dataset, "-o", "m.safetensors", "--steps", 2) == 0
    before = {path.name: path.read_bytes() for path in tmp_path.glob("m.*")}
    assert run(dataset, "-o", "m.safetensors", "--steps", 3) == 2
    assert "belongs to another run" in capsys.readouterr().err
    assert {path.name: path.read_bytes() for path in tmp_path.glob("m.*")} == before


def test_a_full_disk_is_said_and_the_model_before_is_kept(dataset, tmp_path, capsys, monkeypatch):
    assert run(dataset, "-o", "m.safetensors", "--steps", 4, "--every", 2) == 0
    before = (tmp_path / "m.safetensors").read_bytes()
    (tmp_path / "m.state").unlink()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("bifseg.io.atomic.os.fsync", full)
    assert run(dataset, "-o", "m.safetensors", "--steps", 4, "--every", 2) == 2
    assert "No space left on device" in capsys.readouterr().err
    assert (tmp_path / "m.safetensors").read_bytes() == before
    assert not list(tmp_path.glob(".*part"))


def test_an_interrupt_says_how_to_go_on(dataset, capsys, monkeypatch):
    def interrupted(*_, **__):
        yield {"step": 1, "loss": 1.0}
        raise KeyboardInterrupt

    monkeypatch.setattr("bifseg.training.train.train", interrupted)
    assert run(dataset, "-o", "m.safetensors", "--steps", 2) == 130
    assert "give the same command again" in capsys.readouterr().err


def test_a_models_card_says_what_it_learnt_from(dataset, tmp_path, capsys):
    assert run(dataset, "-o", "m.safetensors", "--seen", "a", "--steps", 1) == 0
    capsys.readouterr()
    assert main(["info", "m.safetensors", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["card"]["data"].startswith("Dataset001_Toy")
    assert told["settings"] == TINY.settings
    assert main(["info", "m.safetensors"]) == 0
    assert "Dataset001_Toy" in capsys.readouterr().out
    assert main(["info", "nobody"]) == 2
    assert "Unknown model 'nobody'" in capsys.readouterr().err
