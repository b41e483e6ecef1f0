import json
import sys
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from scipy import stats

from bifseg.evaluation import trials, tuning
from bifseg.evaluation.metrics import dice
from bifseg.evaluation.simulated_users import simulated_box, simulated_scribbles
from bifseg.evaluation.tuning import Scores, Trial, Trials, TuningTarget, evaluate, save_tuned, search
from bifseg.imaging.image import Image
from bifseg.method.crop import Crop
from bifseg.method.parameters import preset
from bifseg.networks.checkpoint import load_model
from bifseg.prompts.interaction import Box
from bifseg.session.session import Session
from bifseg.training.synthetic.phantom import phantom

QUICK = {d: preset("fast", d).but(iterations=4, samples=500) for d in (2, 3)}
MODELS = {d: replace(load_model("default", d), size=size) for d, size in ((2, 40), (3, 16))}


def targets(dimension, count=3):
    """The largest objects of a phantom, two of them in one group."""
    image, labels = phantom(seed=2, shape=(40, 40, 20))
    found = []
    for k in np.argsort(-np.bincount(labels.ravel())[1:])[:count] + 1:
        truth, plane = labels == k, None
        if dimension == 2:
            z = int(truth.sum((0, 1)).argmax())
            truth, plane = truth & (np.arange(20) == z), (2, z)
        box = simulated_box(truth, np.random.default_rng(0), 4, plane)
        found.append(TuningTarget(image, truth, box, "phantom a" if len(found) < 2 else "phantom b"))
    return found


@pytest.fixture
def landscape(monkeypatch):
    """Scores that are a formula of the parameters, plus one of the object's group: what the search makes of them."""

    def of(formula, more=lambda parameters, group: 0.0):
        asked = []

        def scores(model, crop, target, parameters, *, rounds, seed):
            asked.append(parameters)
            value = formula(parameters) + more(parameters, target.group)
            return Scores(value, value, None, (value,) * rounds)

        monkeypatch.setattr(trials, "evaluate", scores)
        return asked

    return of


@pytest.mark.parametrize("dimension", [2, 3])
@pytest.mark.parametrize("unsupervised", [False, True])
def test_the_simulated_user_gets_the_masks_of_a_session(dimension, unsupervised):
    model, parameters = MODELS[dimension], QUICK[dimension].but(unsupervised=unsupervised)
    for target in targets(dimension, 2):
        session, expected = Session(target.image, model, parameters, seed=3), []
        for refine in ("none", "crf", "auto"):
            mask = session.box(target.box, refine=refine)
            expected.append(dice(mask, target.truth))
            if refine != "auto":
                session.undo()
        for _ in range(2):
            mask = session.scribble(simulated_scribbles(mask, target.truth, target.box))
            expected.append(dice(mask, target.truth))
        network, cut, box, *rounds = expected
        for same in (target, target.boxed()):
            scores = evaluate(model, Crop(same.image, same.box, model), same, parameters, rounds=2, seed=3)
            assert scores == Scores(network, cut, box if unsupervised else None, tuple(rounds))
            assert scores.steps == (box, *rounds)


@pytest.mark.parametrize("dimension", [2, 3])
def test_of_a_good_and_a_plainly_bad_value_the_good_one_is_found(dimension, tmp_path):
    model, bad = (
        MODELS[dimension],
        QUICK[dimension].but(lam=1000.0, evidence=0.0, appearance=0.0, never_empty=False, unsupervised=False),
    )
    found = search(model, targets(dimension), {"lam": np.array([1000.0, 1.0])}, start=bad, rounds=1)
    assert found.best == bad.but(lam=1.0)
    assert found.after > found.before + 0.1
    assert (found.objects, found.groups, len(found.trials)) == (3, ("phantom a", "phantom b"), 2)

    save_tuned(model, found, tmp_path / "tuned.safetensors")
    back = load_model(tmp_path / "tuned.safetensors")
    standard = preset("fast", dimension)
    assert back.tuned == {k: v for k, v in found.best.as_dict().items() if v != standard.as_dict()[k]}
    assert back.tuned.items() >= {"iterations": 4, "samples": 500, "lam": 1.0, "never_empty": False}.items()
    assert preset("fast", dimension, back.tuned) == found.best
    assert preset("paper", dimension, back.tuned) == preset("paper", dimension)
    assert back.card == {**model.card, "tuning": json.loads(json.dumps(found.summary()))}
    log = json.loads(json.dumps(found.as_dict()))
    assert log["trials"][1]["objective"] == log["objective_after"] == round(found.after, 5)


def test_the_start_stays_where_nothing_wins():
    start = QUICK[2].but(never_empty=False)
    found = search(MODELS[2], targets(2), {"lam": (1000.0, start.lam, 500.0)}, start=start, rounds=1)
    assert found.best == start
    assert found.before == found.after
    assert len(found.trials) == 3


def test_features_are_computed_once_and_no_setting_is_evaluated_twice(monkeypatch):
    calls = {"crop": [], "evaluate": []}

    def crop(*arguments):
        calls["crop"].append(arguments)
        return Crop(*arguments)

    def scores(model, crop, target, parameters, **options):
        calls["evaluate"].append((id(target), parameters))
        return evaluate(model, crop, target, parameters, **options)

    monkeypatch.setattr(trials, "Crop", crop)
    monkeypatch.setattr(trials, "evaluate", scores)
    noted = []
    space = {"lam": (1.0, 3.0, 1.0), "unsure": (0.0, 0.3), "connectivity": (1, 3)}
    found = search(MODELS[2], targets(2), space, start=QUICK[2], sweeps=3, rounds=1, progress=noted.append)
    assert len(calls["crop"]) == 3
    assert len(calls["evaluate"]) == len(set(calls["evaluate"])) == 3 * len(found.trials)
    assert tuple(noted) == found.trials
    assert not trials._crops


def test_coordinates_are_searched_in_turn_until_nothing_changes(landscape):
    def bowl(p):
        return 0.9 - (p.share - 0.3) ** 2 - 0.3 * (p.unsure - p.share) ** 2 - (p.blend - 0.5) ** 2

    asked = landscape(bowl)
    space = {"unsure": np.arange(6) / 10, "share": np.arange(6) / 10, "blend": (0.0, 0.5, 1.0)}
    start = QUICK[2].but(unsure=0.5, share=0.0)
    options = {"start": start, "tolerance": 1e-9, "rounds": 1}
    found = search(MODELS[2], targets(2, 2), space, sweeps=20, **options)
    every = [start.but(unsure=u, share=s, blend=b) for u, s, b in product(*space.values())]
    assert found.best == max(every, key=bowl)
    assert found.after == pytest.approx(0.9)
    assert len(asked) == 2 * len(found.trials) < 2 * len(every)
    assert search(MODELS[2], targets(2, 2), space, sweeps=1, **options).after < found.after
    assert search(MODELS[2], targets(2, 2), space, sweeps=0, **options).best == start


def test_a_gain_within_the_tolerance_is_noise(landscape):
    landscape(lambda p: 0.5 + 0.001 * p.lam)
    options = {"start": QUICK[2].but(lam=1.0), "rounds": 1}
    assert search(MODELS[2], targets(2, 2), {"lam": (2.0, 2.9)}, **options).best.lam == 1.0
    assert search(MODELS[2], targets(2, 2), {"lam": (2.0, 3.1)}, **options).best.lam == 3.1


def alone(count):
    """Objects that are a group each: "0", "1" and so on."""
    [one] = targets(2, 1)
    return [replace(one, group=str(k)) for k in range(count)]


def test_a_fluke_on_one_object_is_not_adopted_and_a_steady_gain_is(landscape):
    def more(p, group):  # lam 2: one object gains much; lam 3: all gain a little
        return {2.0: 0.4 * (group == "0"), 3.0: 0.03 + 0.002 * int(group)}.get(p.lam, 0.0)

    landscape(lambda p: 0.5, more)
    options = {"start": QUICK[2].but(lam=1.0), "rounds": 1}
    assert search(MODELS[2], alone(8), {"lam": (2.0,)}, **options).best.lam == 1.0
    assert search(MODELS[2], alone(8), {"lam": (2.0,)}, sure=0.5, **options).best.lam == 2.0
    found = search(MODELS[2], alone(8), {"lam": (2.0, 3.0)}, **options)
    assert found.best.lam == 3.0
    assert found.after < found.trials[1].objective  # the fluke's mean was higher
    assert search(MODELS[2], alone(1), {"lam": (2.0, 3.0)}, **options).best.lam == 1.0
    assert search(MODELS[2], alone(1), {"lam": (2.0, 3.0)}, sure=0, **options).best.lam == 2.0


def test_the_error_of_a_gain_is_that_of_paired_differences():
    def trial(steps):
        return Trial(QUICK[2], tuple(Scores(0.0, float(a), None, (float(b),)) for a, b in steps), (), 0.0)

    rng = np.random.default_rng(0)
    new, old = rng.random((2, 6, 2))
    differences = (new - old) @ (0.25, 0.75)
    with Trials(MODELS[2], alone(6), rounds=1, weights=(1, 3)) as many:
        assert many.gain(trial(new), trial(old)) == pytest.approx((differences.mean(), stats.sem(differences)))
    groups = [replace(target, group="ab"[k == 5]) for k, target in enumerate(alone(6))]
    with Trials(MODELS[2], groups, rounds=1, weights=(1, 3)) as many:
        gain, error = many.gain(trial(new), trial(old))
    assert gain == pytest.approx((differences[:5].mean() + differences[5]) / 2)
    shares = np.array([0.1] * 5 + [0.5])
    effective = 1 / np.sum(shares**2)
    assert error == pytest.approx(np.sqrt(np.sum(shares**2 * (differences - gain) ** 2) * effective / (effective - 1)))


@pytest.mark.parametrize("wins", [True, False])
def test_the_best_is_confirmed_on_objects_that_were_held_out(landscape, tmp_path, wins):
    landscape(lambda p: 0.5, lambda p, group: 0.1 * (p.lam == 2.0) * (-1 if group == "1" and not wins else 1))
    start, noted = QUICK[2].but(lam=1.0), []
    tune_on, held_out = alone(2)[:1] * 3, alone(2)[1:] * 2
    options = {"start": start, "rounds": 1, "progress": noted.append}
    found = search(MODELS[2], tune_on, {"lam": (2.0,)}, confirm=held_out, **options)
    assert (found.start.lam, found.best.lam, found.chosen.lam) == (1.0, 2.0, 2.0 if wins else 1.0)
    assert (found.before, found.after) == pytest.approx((0.5, 0.6))
    assert (found.confirmed_before, found.confirmed_after) == pytest.approx((0.5, 0.6 if wins else 0.4))
    assert tuple(noted) == found.trials

    save_tuned(MODELS[2], found, tmp_path / "tuned.safetensors")
    back = load_model(tmp_path / "tuned.safetensors")
    assert preset("fast", 2, back.tuned) == found.chosen
    about = back.card["tuning"]
    assert (about["confirmed_before"], about["confirmed_after"]) == pytest.approx((0.5, 0.6 if wins else 0.4))
    assert (about["objects"], about["confirmed_objects"], about["adopted"]) == (3, 2, wins)

    without = search(MODELS[2], tune_on, {"lam": (2.0,)}, **options)
    assert (without.confirmed_before, without.confirmed_after, without.chosen) == (None, None, without.best)
    assert "confirmed_after" not in without.summary()


def test_objects_to_confirm_on_are_checked_before_the_search():
    noted = []
    with pytest.raises(ValueError, match="for 2D boxes; a target of the group 'phantom a' has a 3D box"):
        search(MODELS[2], targets(2, 2), {}, confirm=targets(3, 1), progress=noted.append)
    with pytest.raises(ValueError, match="no targets"):
        search(MODELS[2], targets(2, 2), {}, confirm=[], progress=noted.append)
    assert not noted


def test_values_that_the_best_so_far_does_not_allow_are_passed_over(landscape):
    landscape(lambda p: p.t0 - p.t1)
    found = search(MODELS[2], targets(2, 2), {"t0": (0.2, 0.6), "t1": (0.4, 0.65)}, start=QUICK[2])
    assert (found.best.t0, found.best.t1) == (0.6, 0.65)


def test_groups_count_the_same_and_steps_by_their_weights():
    with Trials(MODELS[2], targets(2), rounds=1, weights=(1, 3)) as trials:
        [trial, again] = trials([QUICK[2]] * 2)
    a, b, c = (np.array(scores.steps) for scores in trial.scores)
    assert trial.steps == pytest.approx(((a + b) / 2 + c) / 2)
    assert trial.objective == pytest.approx(0.25 * trial.steps[0] + 0.75 * trial.steps[1])
    assert again is trial


def tried(**options):
    """Every number of a search, as one computer with one process should find it."""
    found = search(
        MODELS[2], targets(2), {"lam": (1.0, 9.0), "rounds": (1, 2)}, start=QUICK[2], rounds=1, sweeps=1, **options
    )
    return found, found.trials


@pytest.fixture(scope="module")
def serial():
    return tried()


@pytest.mark.server
def test_two_processes_find_what_one_finds_bit_for_bit(serial):
    # Ray and Dask are reached by the same lines; test_benchmark and test_batch start one each.
    assert tried(workers=2) == serial


@pytest.mark.parametrize("backend", ["ray", "dask"])
def test_a_missing_backend_says_what_to_install(monkeypatch, backend):
    monkeypatch.setitem(sys.modules, {"ray": "ray.util.joblib", "dask": "dask.distributed"}[backend], None)
    with pytest.raises(ImportError, match=rf"{backend}.*pip install 'bifseg\[cluster\]'"):
        search(MODELS[2], targets(2, 1), backend=backend)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"space": {"lambda": (1.0,)}}, "Unknown parameter lambda; known are appearance"),
        ({"space": {"lam": (1.0, -1.0)}}, "lam is -1.0"),
        ({"space": {"connectivity": (1, 26)}}, "connectivity is 26; it must be 1"),
        ({"space": {"lam": ()}}, "no values for lam"),
        ({"targets": []}, "no targets"),
        ({"targets": targets(3, 1)}, "for 2D boxes; a target of the group 'phantom a' has a 3D box"),
        ({"backend": "spark"}, "Unknown backend 'spark'; known are loky, ray, dask"),
        ({"workers": 0}, "workers is 0"),
        ({"rounds": -1}, "rounds is -1"),
        ({"weights": (1, 1)}, "needs 3"),
        ({"weights": (0, 0, 0)}, "not all 0"),
    ],
)
def test_every_error_says_what_was_given_and_what_is_possible(changes, message):
    given = {"model": MODELS[2], "targets": targets(2, 1), "space": {}} | changes
    with pytest.raises(ValueError, match=message):
        search(**given)


def test_a_target_is_checked_when_it_is_made():
    image, box, truth = Image(np.zeros((8, 8, 4))), Box((0, 0, 1), (4, 4, 2)), np.ones((8, 8, 4), bool)
    for other in (truth[1:], truth.astype(np.uint8)):
        with pytest.raises(ValueError, match="must be bool of the image's shape"):
            TuningTarget(image, other, box, "g")
    with pytest.raises(ValueError, match="no voxel of the object"):
        TuningTarget(image, ~truth, box, "g")
    with pytest.raises(ValueError, match="outside the image"):
        TuningTarget(image, truth, Box((0, 0, 1), (4, 9, 2)), "g")
    with pytest.raises(ValueError, match="constant"):
        search(MODELS[2], [TuningTarget(image, truth, box, "g")], {})


@pytest.mark.parametrize("dimension", [2, 3])
def test_the_standard_space_fits_the_standard_start_and_holds_its_values(dimension):
    start = preset("fast", dimension)
    for name, values in tuning.SPACE[dimension].items():
        assert getattr(start, name) in values
        assert len(list(tuning._varied(start, name, values))) == len(values)
