"""The paper's experiment: what is judged, what is made of it, and what words follow."""

import json

import numpy as np
import pytest
import torch

from benchmarks.published import experiment, experiment_picture, experiment_tables, user_times
from bifseg.evaluation.metrics import dice
from bifseg.evaluation.protocols.steps import Hand
from bifseg.evaluation.simulated_users import user_of
from bifseg.evaluation.targets import find_targets
from bifseg.imaging.image import Image
from bifseg.io.datasets import open_dataset
from bifseg.io.images import write_image
from bifseg.method.crop import Crop
from bifseg.method.parameters import preset
from bifseg.networks import build
from bifseg.networks.checkpoint import Model, save_model
from bifseg.session.session import Session

PRINTED = preset("paper", 2).but(rounds=2, iterations=3)


@pytest.fixture(scope="module")
def target(tmp_path_factory):
    x, y = np.meshgrid(np.arange(50), np.arange(44), indexing="ij")
    labels = np.zeros((50, 44, 3), np.uint8)
    labels[(x - 24) ** 2 + (y - 20) ** 2 < 90] = 1
    scan = 200.0 * labels + 40 * np.random.default_rng(0).standard_normal(labels.shape)
    folder = tmp_path_factory.mktemp("data") / "Dataset001_Toy"
    (folder / "imagesTr").mkdir(parents=True)
    (folder / "labelsTr").mkdir()
    image = Image(scan.astype(np.float32), spacing=(1.0, 1.0, 3.0))
    write_image(folder / "imagesTr/case_0000.nii.gz", image.array, image)
    write_image(folder / "labelsTr/case.nii.gz", labels, image)
    about = {"labels": {"background": 0, "disc": 1}, "file_ending": ".nii.gz", "channel_names": {"0": "MR"}}
    (folder / "dataset.json").write_text(json.dumps(about))
    [found] = find_targets([open_dataset(folder)], 2).targets
    return found


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    settings = {"width": 4, "hidden": 8}
    return Model("tiny", build("pnet", **settings), "pnet", settings, size=32, card={"steps": 7, "hours": 0.5})


@pytest.mark.parametrize("scribbled", [False, True])
def test_the_mask_after_each_label_update_is_that_of_so_many_rounds_in_a_session(target, model, scribbled):
    hand = Hand(user_of("careful"), target, 0)
    box = hand.box()
    crop = Crop(target.image, box, model)
    drawing = hand.correct(1, np.zeros_like(target.truth), box) if scribbled else None
    begun = experiment.begin("target", crop, model, PRINTED)
    if drawing:
        begun = experiment.replace(begun, scribbles=drawing.labels[box.slices])
    masks = experiment.masks_of(begun, crop, model, PRINTED.but(rounds=3))
    assert len(masks) == 4
    for rounds, mask in enumerate(masks):
        session = Session(target.image, model=model, parameters=PRINTED.but(rounds=rounds))
        shown = session.box(box, refine="none" if drawing else "auto")
        if drawing:
            shown = session.scribble(drawing.labels, refine="auto")
        assert np.array_equal(shown[box.slices], mask)


def test_an_object_is_judged_with_the_same_scribbles_by_all_and_parts_that_say_nothing_are_left_out(target, model):
    found = experiment.judged(target, model, {"printed": PRINTED, "ships": preset("fast", 2)})
    box, scribbles = found["printed"]["box"], found["printed"]["scribbles"]
    assert set(box) == {"bifseg", "bifseg-w", "once", "dropped"}
    assert set(scribbles) == {*box, "without U_p", "without U_s", "without omega"}
    assert len(box["bifseg"]) == len(scribbles["bifseg"]) == experiment.LONGEST + 1
    assert set(found["ships"]["box"]) == {"bifseg", "bifseg-w", "dropped"}
    hand = Hand(user_of("careful"), target, 0)
    session = Session(target.image, model=model, parameters=PRINTED)
    mask = session.box(hand.box(), refine="none")
    assert found["network"] == round(dice(mask, target.truth), 5)
    mask = session.scribble(hand.correct(1, mask, hand.box()).labels, refine="auto")
    assert all(0 <= share <= 1 for share in (*box["dropped"], *scribbles["dropped"]))
    assert scribbles["bifseg"][PRINTED.rounds] == round(dice(mask, target.truth), 5)


def row(model: str, patient: str, network: float, gain: float, label: str = "RV") -> dict:
    phase = {
        "bifseg": [network, *[network + gain] * 8], "bifseg-w": network - gain, "once": network,
        "dropped": [0.9, 0.25],
    }  # fmt: skip
    scribbles = {**phase, "without U_p": network, "without U_s": network, "without omega": network + gain}
    return {
        "model": model, "sha256": model, "steps": 100, "hours": 0.1, "learnt": "A: 3 objects; B", "label": label,
        "case": patient, "plane": 3, "patient": patient, "network": network, "strokes": 3, "date": "2026-11-28",
        "machine": "x86_64, 2 cores",
        "settings": {"printed": PRINTED.as_dict()},
        "printed": {"box": phase, "scribbles": scribbles},
        "ships": {
            "box": {**phase, "bifseg": [network, network + gain]}, "scribbles": {**phase, "bifseg": [network] * 2}
        },
    }  # fmt: skip


@pytest.fixture
def numbers():
    rows = [row("good", f"p{k}", 0.8 + 0.01 * k, 0.05) for k in range(4)]
    rows += [row("poor", f"p{k}", 0.3 + 0.01 * k, -0.05) for k in range(4)]
    found = experiment_tables.summary(rows)
    log = [{"step": k + 1, "loss": 0.7 - 0.0001 * k, "seconds": 36.0 * (k + 1)} for k in range(1250)]
    curves = {"seed 0": experiment_tables.curve(log), "seed 1": experiment_tables.curve(log[:600])}
    return {**found, "curves": curves, "tuned": None, "users": []}


def test_models_stand_in_the_order_of_their_own_masks_with_paired_differences(numbers):
    poor, good = numbers["models"]
    assert [poor["name"], good["name"]] == ["poor", "good"]
    assert good["network"]["mean"] == pytest.approx(0.815)
    gaps = good["printed"]["scribbles"]["gaps"]
    assert gaps["bifseg less crf"] == pytest.approx([0.05] * 3)
    assert gaps["bifseg less without omega"] == pytest.approx([0.0] * 3)
    assert poor["printed"]["box"]["worse"] == poor["printed"]["box"]["worse than a cut"] == 4
    assert good["printed"]["box"]["worse"] == 0
    assert "tuned" not in good
    assert good["ships"]["box"]["means"]["bifseg"]["mean"] == pytest.approx(0.865)


def test_both_kidneys_of_a_patient_are_one_class_that_no_network_saw():
    rows = [row("good", f"p{k}", 0.8, 0.05, label) for k in range(4) for label in ("kidney_right", "kidney_left")]
    found = experiment_tables.summary([*rows, *(row("good", f"p{k}", 0.9, 0.0, "liver") for k in range(4))])
    kidney, liver = found["models"]  # what it never saw stands first
    assert (kidney["label"], kidney["objects"], kidney["patients"]) == ("kidney", 8, 4)
    assert "| kidney^ (n = 8 of 4 patients) | good |" in experiment_tables.tables(found)
    assert "kidney from the box, Dice" in experiment_tables.networks(found)
    assert liver["label"] == "liver"
    assert "liver (n = 4)" in experiment_tables.tables(found)


def test_tables_say_what_the_numbers_say(numbers):
    text = experiment_tables.claims(numbers)
    assert "| the paper says | its points | poor | good |" in text
    line = next(one for one in text.splitlines() if "is above one cut" in one)
    assert "**-5.0 [-5.0, -5.0]**, the opposite | +5.0 [+5.0, +5.0]*, holds" in line
    tables = experiment_tables.tables(numbers)
    assert "| *paper: fetal lungs^* | P-Net, at most 60,000 steps | found for it | 83.59±6.42 |" in tables
    assert "| RV^ (n = 4) | good | printed parameters | 81.5±1.3 | 81.5±1.3 | 76.5±1.3 | 86.5±1.3 |" in tables
    assert "| U_s | after one round of scribbles | **-5.0 [-5.0, -5.0]** | +5.0 [+5.0, +5.0]* |" in (
        experiment_tables.parts(numbers)
    )
    assert "| left out by w(i) at first, object / background, % | without scribbles | 90 / 25 | 90 / 25 |" in (
        experiment_tables.parts(numbers)
    )
    assert "than +CRF | without scribbles | 4 / 4 of 4 | 0 / 0 of 4 |" in experiment_tables.parts(numbers)
    assert "| good | 100 | 0.10 | A: 3 objects | 81.5±1.3 |" in experiment_tables.networks(numbers)
    assert "| 500 | 0.675 | 0.675 |" in experiment_tables.progress(numbers)
    assert "| 1,000 | 0.625 |  |" in experiment_tables.progress(numbers)
    assert "| steps in all, and hours | 1,000, 10.00 h | 500, 5.00 h |" in experiment_tables.progress(numbers)
    assert experiment_tables.title({"name": "paper1.step2500", "steps": 2500}) == (
        "P-Net as printed, seed 1, 2,500 steps"
    )
    assert experiment_tables.tuned(numbers) == "Not searched yet."
    searched = {"model": "good", "objects": 8, "classes": ["LV"], "settings": 3, "before": 0.5, "after": 0.6}
    text = experiment_tables.tuned({**numbers, "tuned": {**searched, "found": {"lam": 1.0}}})
    assert "50.0 → 60.0 %" in text
    assert "| lam | 3 | 1 |" in text


def test_the_picture_is_small(numbers, tmp_path):
    pytest.importorskip("matplotlib")
    experiment_picture.draw(numbers, tmp_path)
    assert 10_000 < (tmp_path / experiment_picture.NAME).stat().st_size < 200_000


def test_a_model_that_was_judged_is_not_judged_again(target, model, tmp_path, monkeypatch, capsys):
    save_model(model, tmp_path / "tiny.safetensors")
    monkeypatch.setattr(experiment, "objects", lambda data, labels, patients: [target])
    monkeypatch.setattr(experiment, "settings_of", lambda model, tuned: {"printed": PRINTED})
    arguments = tmp_path, [str(tmp_path / "tiny.safetensors")], tmp_path / "rows.jsonl", ["disc"], 1, None
    experiment.judge(*arguments)
    first = (tmp_path / "rows.jsonl").read_text()
    experiment.judge(*arguments)
    assert (tmp_path / "rows.jsonl").read_text() == first
    [told] = map(json.loads, first.splitlines())
    assert (told["model"], told["steps"], told["case"], told["label"]) == ("tiny", 7, "case", "disc")
    assert capsys.readouterr().out.count("network") == 1
    both = {"printed": PRINTED, "tuned": PRINTED.but(lam=1.0)}
    monkeypatch.setattr(experiment, "settings_of", lambda model, tuned: both)
    experiment.judge(*arguments)
    rows = experiment.read(tmp_path / "rows.jsonl")
    assert [list(row["settings"]) for row in rows] == [["printed"], ["tuned"]]
    [found] = experiment_tables.summary(rows)["models"]
    assert found["objects"] == 1
    assert {"printed", "tuned"} < set(found)


def test_a_users_time_is_that_until_the_dice_where_people_were_content():
    def step(case: str, k: int, score: float) -> dict:
        return {
            "label": "core", "method": "bifseg", "dimension": 3, "user": "careful", "dataset": "D", "case": case,
            "seed": 0, "network": "n", "step": k, "dice": score, "user_seconds": 10.0,
        }  # fmt: skip

    rows = [step("a", 0, 0.5), step("a", 1, 0.9), step("a", 2, 0.95), step("b", 0, 0.1), step("b", 1, 0.2)]
    seconds, how = user_times._accepted("core", 0.875)(rows)
    assert seconds == 20.0
    assert "1 of 2 got there" in how
    with pytest.raises(ValueError, match="No careful user"):
        user_times._accepted("whole", 0.875)(rows)
    assert all(study.seconds > 0 and study.source for study in user_times.STUDIES)
