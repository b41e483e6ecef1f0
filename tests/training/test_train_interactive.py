"""Training a listening trunk: volumes packed and read, boxes rendered, hands that draw, and a whole small run."""

import contextlib
import itertools
import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from small_volumes import small_volumes

from bifseg.cli import main as bifseg
from bifseg.errors import InvalidInput
from bifseg.networks import build
from bifseg.networks.checkpoint import load_model
from bifseg.training import learners, run_state, simulated_user, train_interactive
from bifseg.training.bank import MAGIC, in_one_piece, read_bank, volume, write_bank
from bifseg.training.batches import Batches
from bifseg.training.interactive_recipes import InteractiveRecipe
from bifseg.training.learners import loss_of
from bifseg.training.render import Renderer, Shares
from bifseg.training.run_state import RunState
from bifseg.training.train_interactive import train

NARROW = {"width": 8, "head": 16, "context": 8}


@pytest.fixture(scope="module")
def volumes():
    return small_volumes()


def test_a_volume_knows_its_structures():
    labels = np.zeros((30, 20, 10), np.int64)
    labels[2:12, 2:12, 1:9], labels[18:28, 2:12, 1:9], labels[5, 18, 5] = 1, 1, 1
    one = volume("x", labels, (1, 1, 1), np.array([0, 7]))
    assert sorted(one.boxes[:, 0, 0].tolist()) == [2, 18]  # two parts, each a structure; the speck is none
    assert one.kin.tolist() == [7, 7]
    for k in range(2):
        assert (one.labels[tuple(one.points[k].T)] == k + 1).all()
    assert volume("x", np.zeros((30, 20, 10), np.int64), (1, 1, 1), np.array([0])) is None


def test_a_bank_comes_back_as_it_was_and_a_shared_scan_is_packed_once(tmp_path, volumes):
    scan = volumes[-1]
    size = write_bank(tmp_path / "bank", volumes)
    twice = write_bank(tmp_path / "twice", [*volumes, scan])
    assert twice < size + 1000
    for one, other in zip(volumes, read_bank(tmp_path / "bank"), strict=True):
        assert (one.source, one.spacing) == (other.source, other.spacing)
        for name in ("labels", "boxes", "points", "kin", "image", "levels"):
            np.testing.assert_array_equal(getattr(one, name), getattr(other, name))


@pytest.mark.parametrize("damage", [b"", b"other", MAGIC, MAGIC + b"\xff" * 8, MAGIC + b"\x02" + b"\0" * 7 + b"{}"])
def test_a_damaged_bank_is_refused_in_one_sentence(tmp_path, damage):
    (tmp_path / "bank").write_bytes(damage)
    with pytest.raises(ValueError, match="is not a bank of volumes to train on, or it is damaged"):
        read_bank(tmp_path / "bank")


def test_levels_keep_the_contrast_where_the_intensities_are():
    image = np.concatenate([np.random.default_rng(0).normal(0, 10, 20_000), [-1000, 3000] * 400]).reshape(-1, 16, 10)
    labels = np.zeros(image.shape, np.int64)
    labels[2:40] = 1
    one = volume("ct", labels, (1, 1, 1), np.array([0, 1]), image)
    shown = one.levels[one.image] * 4000 - 1000
    soft = np.abs(image) < 30
    assert np.abs(shown - image)[soft].mean() < 0.5  # 256 even levels would be 16 apart: 4 on average


@pytest.mark.parametrize(("dimension", "size", "context"), [(2, 48, 8), (3, 24, 4)])
def test_boxes_are_a_function_of_their_key_and_hold_their_target(volumes, dimension, size, context):
    renderer = Renderer(volumes, dimension, size, context)
    one, same, other = (renderer.batch((0, k), 5) for k in (1, 1, 2))
    assert torch.equal(one.images, same.images)
    assert torch.equal(one.truth, same.truth)
    assert (
        not torch.equal(one.images, other.images[..., : one.images.shape[-1]]) or one.images.shape != other.images.shape
    )
    for boxes in (one, other):
        shape = tuple(s.stop - s.start + 2 * context for s in boxes.inside)
        assert boxes.images.shape == (5, 1, *shape)
        assert boxes.images.isfinite().all()
        assert int(np.prod([s.stop - s.start for s in boxes.inside])) <= renderer.most
        inside = torch.zeros(shape, dtype=torch.bool)
        inside[boxes.inside] = True
        assert not (boxes.truth & ~inside).any()
        share = boxes.truth.flatten(1).sum(1) / inside.sum()
        assert (share > 0.002).all()
        assert (share < 1).all()
        torch.testing.assert_close(boxes.images.flatten(1).mean(1), torch.zeros(5), atol=1e-3, rtol=0)


@pytest.mark.parametrize("shape", [(40, 40), (24, 24, 24)])
def test_what_nobody_would_box_is_no_target(shape):
    rng = np.random.default_rng(0)
    body = np.zeros(shape, bool)
    body[tuple(slice(4, n - 6) for n in shape)] = True
    assert in_one_piece(body)
    ring = body & ~np.roll(np.roll(body, 5, 0), 5, 1)  # an angle, five pixels thick
    assert in_one_piece(ring)
    assert not in_one_piece(body & (rng.random(shape) < 0.5))  # specks
    halves = body.copy()
    halves[shape[0] // 2 - 1 : shape[0] // 2 + 1] = False
    assert not in_one_piece(halves)
    crumb = body.copy()
    crumb[0, 0] = True  # nearly all of it is in one piece
    assert in_one_piece(crumb)


def test_a_kind_that_no_volume_has_is_never_drawn(volumes):
    renderer = Renderer(volumes[:3], 3, 24, 4, Shares(maps=0.9, scenes=0.1))
    assert [kind for kind, *_ in renderer._by_kind] == ["scenes"]
    assert renderer._by_kind[0][1] == 1


@pytest.mark.parametrize("dimension", [2, 3])
def test_hands_mostly_draw_where_the_mask_is_wrong_with_the_right_label(dimension):
    shape = (60, 50) if dimension == 2 else (30, 26, 20)
    truth = np.zeros(shape, bool)
    truth[tuple(slice(n // 4, 3 * n // 4) for n in shape)] = True
    mask = np.roll(truth, 5, 0)
    right = wrong = 0
    for seed in range(40):
        rng = np.random.default_rng(seed)
        before = np.zeros(shape, np.uint8)
        after = simulated_user.correct(rng, before, mask, truth)
        assert not before.any()
        assert after.any()
        right += np.count_nonzero((after == 1) & truth & ~mask) + np.count_nonzero((after == 2) & mask & ~truth)
        wrong += np.count_nonzero(after) - np.count_nonzero((after == 1) & truth | (after == 2) & ~truth)
    assert right > 4 * wrong
    assert wrong > 0  # people err, and the network must have seen it


def test_hands_leave_a_perfect_mask_alone_and_begin_inside_the_object():
    truth = np.zeros((40, 40), bool)
    truth[10:30, 12:28] = True
    rng = np.random.default_rng(1)
    assert not simulated_user.correct(rng, np.zeros((40, 40), np.uint8), truth, truth).any()
    first = [simulated_user.begin(np.random.default_rng(seed), truth) for seed in range(30)]
    assert all((s == 1).any() for s in first)
    inside = sum(np.count_nonzero((s == 1) & truth) for s in first)
    assert inside > 0.85 * sum(np.count_nonzero(s == 1) for s in first)


def test_hands_draw_on_the_smallest_objects_without_a_word():
    for seed in range(1500):  # seven in three thousand had an outline of one point, which has no median of its steps
        rng, truth = np.random.default_rng(seed), np.zeros((24, 24), bool)
        truth[8 : 8 + rng.integers(1, 9), 9 : 9 + rng.integers(1, 9)] = True
        simulated_user.correct(rng, np.zeros(truth.shape, np.uint8), np.zeros_like(truth), truth)


def test_a_network_of_half_resolution_is_trained_at_every_second_point(tmp_path, volumes):
    settings = {"dimension": 3, "widths": [8, 16, 16], "blocks": [1, 1], "context": 4, "finest": 2}
    recipe = InteractiveRecipe("listening", settings, size=24, batch=2, under_way=2, warm_up=5, rounds=(0.5, 0.5))
    output = tmp_path / "net.safetensors"
    list(train(recipe, volumes, output, minutes=0.03, bf16=True))
    model = load_model(output)
    assert model.network.finest == 2
    assert model.card["steps"] > 0
    assert all(torch.isfinite(weight).all() for weight in model.network.parameters())


def test_a_step_whose_gradient_is_not_finite_is_left_out(tmp_path, volumes, monkeypatch):
    recipe = InteractiveRecipe("fcn", NARROW, size=32, batch=2, under_way=2, rate=1e-3, warm_up=5)
    losses = iter(range(1_000_000))
    monkeypatch.setattr(train_interactive, "LOGGED_EVERY", 4)
    monkeypatch.setattr(learners, "loss_of", lambda *of: loss_of(*of) * (np.nan if next(losses) % 4 else 1))
    first = next(train(recipe, volumes, tmp_path / "net.safetensors", minutes=1))
    assert first["skipped"] == 3
    assert np.isfinite(first["loss"])
    monkeypatch.setattr(learners, "loss_of", lambda *of: loss_of(*of) * np.nan)
    with pytest.raises(InvalidInput, match="No gradient is finite at step 4"):
        list(train(recipe, volumes, tmp_path / "other.safetensors", minutes=1))


def test_the_next_batches_are_those_that_are_rendered_when_asked(tmp_path, volumes):
    recipe = InteractiveRecipe("fcn", NARROW, size=32, batch=2, under_way=2)
    renderer = Renderer(volumes, 2, 32, 8)
    batches = Batches(recipe, renderer, 1, tmp_path, seed=3)
    try:
        for number in (5, 6, 9):
            made, asked = batches.fresh(0, number).boxes, renderer.batch((3, number, 0), 2)
            assert torch.equal(made.images, asked.images)
            assert torch.equal(made.truth, asked.truth)
    finally:
        batches.close()


@pytest.mark.server
def test_a_run_learns_resumes_and_writes_its_card(tmp_path, volumes):
    recipe = InteractiveRecipe("fcn", NARROW, size=32, batch=2, under_way=2, rate=1e-3, warm_up=5)
    output = tmp_path / "net.safetensors"
    list(train(recipe, volumes, output, minutes=0.02))
    model = load_model(output)
    assert model.network.listens
    assert model.card["steps"] > 0
    assert model.card["data"] == "synthetic anatomy; label maps and scans of a scan"
    assert model.card["licence"] == "unknown"
    states = sorted(tmp_path.glob("net.*.state"))
    assert [path.name for path in states] == sorted(
        f"net.{name}.{model.card['steps']}.state" for name in RunState.NAMES
    )
    minutes = model.card["minutes"] + 0.02
    list(train(recipe, volumes, output, minutes=minutes))
    card = load_model(output).card
    assert card["steps"] > model.card["steps"]
    assert minutes <= card["minutes"] < minutes + 1  # a busy machine may overrun
    for line in (tmp_path / "net.jsonl").read_text().splitlines() if (tmp_path / "net.jsonl").exists() else []:
        assert np.isfinite(json.loads(line)["loss"])
    states = {path.name.split(".")[1]: path for path in tmp_path.glob("net.*.state")}
    states["average"].write_bytes(states["exp_avg"].read_bytes())
    with pytest.raises((ValueError, RuntimeError)):
        list(train(recipe, volumes, output, minutes=minutes + 1))


@pytest.mark.parametrize("written", range(5))
def test_a_run_that_was_killed_while_it_saved_goes_on_from_what_was_whole(tmp_path, monkeypatch, written):
    network, average = torch.nn.Linear(2, 1), torch.nn.Linear(2, 1)
    optimiser = torch.optim.AdamW(network.parameters())
    state = RunState(tmp_path / "a [1].safetensors")
    assert state.resume(network, average, optimiser) == (0, 0.0)
    network(torch.ones(1, 2)).sum().backward()
    optimiser.step()
    state.save(network, average, optimiser, 9, 1.5)
    before = network.weight.detach().clone()
    optimiser.step()
    after = network.weight.detach().clone()
    write, count = run_state.write_atomically, itertools.count()

    def dies(path, content):
        if next(count) == written:
            raise KeyboardInterrupt
        write(path, content)

    monkeypatch.setattr(run_state, "write_atomically", dies)
    with pytest.raises(KeyboardInterrupt) if written < 4 else contextlib.nullcontext():
        state.save(network, average, optimiser, 10, 2.5)
    monkeypatch.undo()
    fresh = torch.nn.Linear(2, 1)
    assert state.resume(fresh, average, optimiser) == ((9, 1.5) if written < 4 else (10, 2.5))
    assert torch.equal(fresh.weight, before if written < 4 else after)
    state.save(fresh, average, optimiser, 11, 3.5)
    assert len(list(tmp_path.glob("*.state"))) == 4  # nothing is left behind


def test_a_trunk_that_hears_nothing_learns_from_boxes_alone(tmp_path, volumes):
    recipe = InteractiveRecipe(
        "fcn", {"width": 8, "head": 16}, size=32, batch=2, under_way=2, rounds=(1,), flips=True, warm_up=5
    )
    torch.manual_seed(0)
    before = build("fcn", width=8, head=16)
    list(train(recipe, volumes, tmp_path / "net.safetensors", minutes=0.02))
    model = load_model(tmp_path / "net.safetensors")
    assert not model.network.listens
    assert model.flips
    assert not torch.equal(model.network.classifier.linear[0].weight, before.classifier.linear[0].weight)


@pytest.mark.server
@pytest.mark.parametrize("dimension", [2, 3])
def test_a_trunk_learns_what_can_be_adapted(tmp_path, volumes, monkeypatch, dimension):
    monkeypatch.setattr(train_interactive, "LOGGED_EVERY", 8)
    settings = {2: {"width": 8, "head": 16}, 3: {"dimension": 3, "widths": [4, 8]}}[dimension]
    recipe = InteractiveRecipe(
        {2: "fcn", 3: "multiscale"}[dimension], settings, size=32, batch=2, under_way=2, rounds=(0, 1), adapts=True,
        warm_up=5,
    )  # fmt: skip
    record = next(train(recipe, volumes, tmp_path / "net.safetensors", minutes=1))
    assert all(dice is not None for dice in record["dice"])  # boxes are seen with strokes, too
    assert record["skipped"] == 0
    list(train(recipe, volumes, tmp_path / "short.safetensors", minutes=0.02))
    assert not load_model(tmp_path / "short.safetensors").network.listens


def test_sets_are_drawn_by_their_maps_and_by_the_kinds_that_their_scans_show(volumes):
    scan = volumes[-1]
    other = replace(scan, source="another scan", kin=np.array([1, 2]))
    renderer = Renderer([*volumes, other], 3, 24, 0)
    (_, share, groups, weights), (_, _, _, scenes_alone) = renderer._by_kind
    assert share == pytest.approx(Shares().scans / (Shares().scans + Shares().scenes))
    assert [renderer.volumes[group[0]].source for group in groups] == ["a scan", "another scan"]
    assert weights[1] / weights[0] == pytest.approx(2**0.5)  # of one kind, and of two
    assert scenes_alone.tolist() == [1]


@pytest.mark.server
def test_the_command_trains_from_a_bank_and_refuses_what_it_does_not_know(tmp_path, volumes, capsys):
    bank, output = str(tmp_path / "bank"), tmp_path / "net.safetensors"
    write_bank(tmp_path / "bank", volumes)
    start = ["train", bank, "-o", str(output), "--recipe"]
    assert bifseg([*start, "fcn2d", "--minutes", "0.02", "--start", "fcn2d"]) == 0
    assert load_model(output, 2).network.listens
    assert bifseg([*start, "vgg"]) == 2
    assert (
        "known are fast, paper, fcn2d, multiscale3d, halved3d, boxes2d, boxes3d, adapted2d, adapted3d, rnet2d, rnet3d, "
        "large2d, large3d" in capsys.readouterr().err
    )
