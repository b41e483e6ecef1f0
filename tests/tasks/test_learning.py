"""Learning from finished objects: new ones of the kind begin better, and nothing is learnt that does not prove good."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from kinds_of_objects import BOX, core, one_of_two, scan_and_core, scan_and_one_of_two

from bifseg.errors import InvalidInput
from bifseg.imaging.image import Image
from bifseg.method.crop import Crop
from bifseg.method.label_fusion import fused_shape, stretched
from bifseg.networks.checkpoint import load_model
from bifseg.prompts.interaction import Box
from bifseg.session.session import Session
from bifseg.tasks import cross_validation, fitting
from bifseg.tasks.cross_validation import CrossValidation, Proof
from bifseg.tasks.example import Example
from bifseg.tasks.fitting import between
from bifseg.tasks.learning import learn

MODEL = replace(load_model("default", 2), size=64)  # a quarter of the time


def of_some_size(seed):
    """A bright disc, whose rim the truth lies inside of, or outside, as chance will have it."""
    x, y = np.indices((48, 48))
    far = np.hypot(x - 24, y - 24)
    array = 100.0 * (far < 16) + np.random.default_rng(seed).normal(0, 8, far.shape)
    truth = far < (14 if seed % 2 else 18)
    return Example.of(Image(array.astype(np.float32)[..., None], (1, 1, 1)), truth[..., None], BOX, f"patient {seed}")


@pytest.fixture(autouse=True)
def few_steps(monkeypatch):
    """Enough where what is learnt is not looked at."""
    monkeypatch.setattr(fitting, "STEPS", {2: 5})


@pytest.fixture(scope="module")
def learnt():
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(fitting, "STEPS", {2: 35})
        return learn(MODEL, [core(seed) for seed in range(3)])


def dice(mask, truth):
    return 2 * (mask & truth).sum() / (mask.sum() + truth.sum())


def test_a_new_object_of_the_kind_begins_better(learnt):
    for seed in (10, 11):
        image, truth = scan_and_core(seed)
        before, after = (dice(Session(image, model).box(BOX), truth) for model in (MODEL, learnt.model))
        assert before < 0.5
        assert after > 0.8
    gains = learnt.proof.gains(learnt.proof.best)
    assert len(gains) == 3
    assert gains.min() > 0.4


def test_the_shipped_network_is_not_touched_and_the_same_examples_give_the_same_weights():
    before = [parameter.clone() for parameter in MODEL.network.parameters()]
    learnt, again = (learn(MODEL, [core(seed) for seed in range(3)]) for _ in range(2))
    assert learnt.strength > 0
    assert again.proof == learnt.proof
    for one, other in zip(again.model.network.parameters(), learnt.model.network.parameters(), strict=True):
        assert torch.equal(one, other)
    for one, other in zip(before, MODEL.network.parameters(), strict=True):
        assert torch.equal(one, other)


def test_what_cannot_be_foreseen_is_not_learnt():
    learnt = learn(MODEL, [of_some_size(seed) for seed in range(4)])
    assert learnt.model is None
    assert learnt.strength == 0
    assert len(learnt.proof.shipped) == 4


def test_two_patients_are_too_few_to_tell_luck_from_skill():
    learnt = learn(MODEL, [core(0), core(1), core(2, "patient 1"), core(3, "patient 0")])
    assert learnt.model is None
    assert learnt.proof is None


def test_objects_of_one_patient_are_left_out_together(monkeypatch):
    seen, fitted = [], cross_validation.fitted
    monkeypatch.setattr(
        cross_validation,
        "fitted",
        lambda model, examples, *rest: seen.append(examples) or fitted(model, examples, *rest),
    )
    examples = [core(k, f"patient {k % 3}") for k in range(5)]
    learn(MODEL, examples)
    for k, patient in enumerate(("patient 0", "patient 1", "patient 2")):
        assert patient not in {example.patient for example in seen[k]}
        assert len({example.patient for example in seen[k]}) == 2


@pytest.mark.parametrize(
    ("gains", "best"),
    [
        ({(0.5, 0.0): (0.1, 0.12, 0.08), (1.0, 0.0): (0.2, 0.22, 0.18)}, (1.0, 0.0)),
        ({(0.5, 0.0): (0.1, 0.12, 0.08), (0.5, 1.0): (0.6, 0.0, -0.3)}, (0.5, 0.0)),  # more in the mean, and less sure
        ({(0.0, 0.5): (0.1, 0.12, 0.08), (1.0, 0.0): (-0.2, -0.1, 0.02)}, (0.0, 0.5)),
        ({(0.5, 0.0): (-0.1, -0.02, 0.01), (1.0, 0.0): (-0.2, -0.1, 0.02)}, (0, 0)),
        ({(0.5, 0.5): (0.09, -0.06, 0.0), (1.0, 0.0): (0.2, -0.2, 0.03)}, (0, 0)),  # better by no more than chance
        ({(0.5, 0.0): (0.0, 0.0, 0.0)}, (0, 0)),
    ],
)
def test_only_what_is_better_beyond_chance_is_used(gains, best):
    shipped = (0.5, 0.6, 0.7)
    learnt = {shares: tuple(np.add(shipped, gain).tolist()) for shares, gain in gains.items()}
    assert Proof(shipped, learnt).best == best


@pytest.mark.parametrize(
    ("after", "best"),
    [
        ({0.0: 0.6, 1.0: 0.9}, (1.0, 1.0)),  # (0.7 + 2 * 0.9) / 3 against (0.8 + 2 * 0.7) / 3
        ({0.0: 0.8, 1.0: 0.8}, (1.0, 0.0)),
        ({0.0: 0.2, 1.0: 0.3}, (1.0, 0.0)),  # with the other reach
        ({0.0: 0.0, 1.0: 0.8, None: 0.95}, (0.0, 0.0)),  # the shipped network ends better
    ],
)
def test_what_counts_is_what_masks_after_strokes_want_too(monkeypatch, after, best):
    first = {(0.0, 1.0): 0.55, (1.0, 0.0): 0.8, (1.0, 1.0): 0.7, (0.5, 0.0): 0.6, (0.5, 1.0): 0.4}
    proof = Proof((0.5, 0.5), {shares: (dice, dice) for shares, dice in first.items()})
    assert proof.best == proof.surest == (1.0, 0.0)
    tried = []

    def drawn(validation, shares, tuned, reaches):
        if not any(shares):
            return {"": (after.get(None, 0.6),) * 2}
        tried.append(shares)
        return {"": (after[shares[1]],) * 2, "short": (0.7,) * 2}

    monkeypatch.setattr(CrossValidation, "_after_strokes", drawn)
    chosen = CrossValidation(load_model("default", 3), [], [], 0).drawn_on(proof)
    assert tried == [(1.0, 0.0), (1.0, 1.0)]
    assert chosen.best == best
    if any(best):
        assert chosen.drawn_on[""] == (after[best[1]],) * 2
    else:
        assert not chosen.drawn_on
        assert chosen.reach == ""


def test_a_shape_that_makes_first_masks_worse_is_not_tried(monkeypatch):
    proof = Proof((0.5, 0.5), {(1.0, 0.0): (0.8, 0.8), (1.0, 1.0): (0.4, 0.5)})
    monkeypatch.setattr(CrossValidation, "_after_strokes", lambda *given: {"": (0.5 + 0.4 * given[1][1],) * 2})
    assert CrossValidation(load_model("default", 2), [], [], 0).drawn_on(proof).best == (1.0, 0.0)


def test_where_an_object_lies_is_learnt_beside_how_it_looks():
    examples = [one_of_two(seed) for seed in range(4)]
    learnt = learn(MODEL, examples)
    assert learnt.shape > 0
    assert learnt.model.shape is None  # it is each box's own
    image, truth = scan_and_one_of_two(10)
    here = fused_shape(stretched(image, Box.of(BOX, image.shape)), [example.look for example in examples])
    model = replace(learnt.model, shape=np.float32(learnt.shape) * here)
    by_place = {"appearance": 0.0}  # grey levels cannot tell the two apart
    before, after = (dice(Session(image, m, parameters=by_place).box(BOX), truth) for m in (MODEL, model))
    assert before < 0.75
    assert after > 0.9


def test_between_two_networks_lie_all_shares():
    one = MODEL.network
    other = between(one, one, 1)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.add_(1)
    for share in (0.0, 0.25, 1.0):
        for made, here in zip(between(one, other, share).parameters(), one.parameters(), strict=True):
            assert torch.allclose(made, here + share, atol=1e-6)


def test_examples_of_another_dimension_are_refused():
    with pytest.raises(InvalidInput, match="for 3D boxes, and so must be all examples"):
        learn(load_model("default", 3), [core(0)])


def test_in_a_stack_a_network_is_tried_beside_what_slices_say():
    model = load_model("multiscale3d", 3)
    array, mask = (np.repeat(one, 6, axis=2) for one in (scan_and_core(0)[0].array, scan_and_core(0)[1]))
    example = Example.of(Image(array, (1, 1, 6)), mask, ((4, 44), (4, 44), (0, 6)), "patient 0")
    crop = Crop(example.image, example.box_in_image, model)
    alone = crop.features().log_odds(model.network.classifier).numpy().reshape(crop.shape)
    same = between(model.network, model.network, 0.5)
    for network in (model.network, same):
        odds = cross_validation._log_odds(crop, model, network)
        np.testing.assert_allclose(odds, (alone + crop.slices) / 2, atol=1e-4)
    untuned = replace(model, tuned={})
    np.testing.assert_allclose(cross_validation._log_odds(crop, untuned, same), alone, atol=1e-4)
