from copy import deepcopy
from dataclasses import replace

import numpy as np
import pytest
import torch

from bifseg.imaging.image import Image
from bifseg.method.crop import Crop, Features
from bifseg.method.evidence import RelativeDistance
from bifseg.method.finetune import fine_tune, foreground_probability, update_network
from bifseg.method.parameters import FAST, PAPER
from bifseg.networks.checkpoint import load_model
from bifseg.prompts.interaction import Box
from bifseg.training.synthetic.phantom import phantom


@pytest.fixture(scope="module", params=[2, 3])
def case(request):
    """A crop of the phantom around its first object, with the true labels on the grid."""
    image, labels = phantom(seed=2, shape=(48, 48, 24))
    truth = labels == np.bincount(labels.ravel())[1:].argmax() + 1
    z = int(truth.sum((0, 1)).argmax())
    spans = [np.flatnonzero(truth.any(a)) for a in ((1, 2), (0, 2), (0, 1))]
    ranges = [(int(s[0]), int(s[-1]) + 1) for s in spans]
    if request.param == 2:
        ranges[2] = z
    box = Box.of(ranges, image.shape)
    model = replace(load_model("default", request.param), size={2: 64, 3: 24}[request.param])
    crop = Crop(image, box, model)
    return crop, model.network.classifier, crop.mask_on_grid(truth[box.slices]), request.param


def scribbles_on(truth, rng):
    labels = np.zeros(truth.shape, np.uint8)
    for value, side in ((1, truth), (2, ~truth)):
        voxels = np.argwhere(side)
        labels[tuple(voxels[rng.choice(len(voxels), 20)].T)] = value
    return labels


@pytest.mark.parametrize("preset", [PAPER, FAST])
@pytest.mark.parametrize("supervised", [False, True])
def test_every_network_update_lowers_the_loss_of_equation_12(case, preset, supervised):
    crop, classifier, truth, dimension = case
    scribbles = scribbles_on(truth, np.random.default_rng(0)) * np.uint8(supervised)
    rounds = list(fine_tune(crop, deepcopy(classifier), preset[dimension], scribbles=scribbles))
    assert len(rounds) == preset[dimension].rounds + 1
    for step in rounds[:-1]:
        assert step.loss[1] < step.loss[0]
        assert step.weights.shape == crop.shape
    assert rounds[-1].last
    assert rounds[-1].weights is None


def test_the_loss_is_equation_12_as_a_weighted_mean(case):
    crop, classifier, truth, dimension = case
    weights = np.random.default_rng(1).uniform(0, 5, crop.shape).astype(np.float32)
    own = deepcopy(classifier)
    parameters = PAPER[dimension].but(iterations=0)
    as_it_lies = Features(crop.features().views[:1], crop.shape)  # an update learns from no other view
    before, after = update_network(own, as_it_lies.views, truth, weights, np.zeros(crop.shape, np.uint8), parameters)
    p = np.clip(foreground_probability(classifier, as_it_lies).astype(float), 1e-12, 1 - 1e-7)
    expected = -(weights * np.where(truth, np.log(p), np.log(1 - p))).sum() / weights.sum()
    assert before == after == pytest.approx(expected, rel=1e-3)


def test_a_sampled_update_estimates_the_full_loss(case):
    crop, classifier, truth, dimension = case
    weights, scribbles = np.ones(crop.shape, np.float32), scribbles_on(truth, np.random.default_rng(0))
    weights[scribbles > 0] = 5
    losses = []
    for samples in (0, 2000):
        parameters = FAST[dimension].but(iterations=0, samples=samples)
        losses.append(
            update_network(deepcopy(classifier), crop.features().views, truth, weights, scribbles, parameters)[0]
        )
    assert losses[0] == pytest.approx(losses[1], rel=0.1)


def test_labels_are_optimal_obey_scribbles_and_locks_and_end_with_a_label_update(case):
    crop, classifier, truth, dimension = case
    scribbles = scribbles_on(truth, np.random.default_rng(4))
    locked = np.zeros(crop.shape, bool)
    locked[: crop.shape[0] // 3] = True
    locked &= scribbles == 0
    parameters = FAST[dimension]
    energy = crop.energy(parameters)
    for step in fine_tune(crop, deepcopy(classifier), parameters, scribbles=scribbles, locked=locked):
        assert step.labels[scribbles == 1].all()
        assert not step.labels[scribbles == 2].any()
        assert not step.labels[locked].any()
        fixed = np.where(locked, 2, scribbles).astype(np.uint8)
        np.testing.assert_array_equal(step.labels, energy.label_update(step.probability, fixed))
        assert step.energy == pytest.approx(energy(step.labels, step.probability))


def test_the_shared_classifier_never_changes_and_a_seed_repeats_a_run(case):
    crop, classifier, truth, dimension = case
    original = {name: t.clone() for name, t in classifier.state_dict().items()}
    scribbles = scribbles_on(truth, np.random.default_rng(0))
    runs = []
    for _ in range(2):
        own = deepcopy(classifier)
        last = list(fine_tune(crop, own, FAST[dimension].but(samples=500), scribbles=scribbles, seed=7))[-1]
        runs.append((last.probability, own.state_dict()))
    np.testing.assert_array_equal(runs[0][0], runs[1][0])
    assert all(torch.equal(runs[0][1][name], runs[1][1][name]) for name in original)
    assert not all(torch.equal(runs[0][1][name], original[name]) for name in original)
    assert all(torch.equal(classifier.state_dict()[name], t) for name, t in original.items())


def test_crf_alone_is_one_label_update_with_the_classifier_untouched(case):
    crop, classifier, _, dimension = case
    own = deepcopy(classifier)
    rounds = list(fine_tune(crop, own, PAPER[dimension].but(rounds=0), scribbles=np.zeros(crop.shape, np.uint8)))
    assert len(rounds) == 1
    assert all(
        torch.equal(a, b) for a, b in zip(own.state_dict().values(), classifier.state_dict().values(), strict=True)
    )


def test_without_weighting_every_pixel_counts_as_one(case):
    crop, classifier, truth, dimension = case
    parameters = PAPER[dimension].but(weighted=False, rounds=1, iterations=1)
    scribbles = scribbles_on(truth, np.random.default_rng(0))
    first = next(fine_tune(crop, deepcopy(classifier), parameters, scribbles=scribbles))
    assert (first.weights == 1).all()


def test_an_initial_mask_teaches_the_classifier(case):
    crop, classifier, truth, dimension = case
    steps = fine_tune(
        crop, deepcopy(classifier), FAST[dimension], scribbles=np.zeros(crop.shape, np.uint8), initial=truth
    )
    first, *_, last = steps
    np.testing.assert_array_equal(first.labels, truth)
    agree = lambda labels: 2 * (labels & truth).sum() / (labels.sum() + truth.sum())  # noqa: E731
    assert agree(last.labels) > agree(first.probability > 0.5)


def test_thin_strokes_survive_a_coarser_grid_and_masks_come_back_exactly():
    rng = np.random.default_rng(0)
    image = Image(rng.normal(size=(300, 200, 1)).astype(np.float32))
    crop = Crop(image, Box.of(((0, 300), (0, 200), 0), image.shape), load_model("default", 2))
    stroke = np.zeros((300, 200, 1), np.uint8)
    stroke[37, 5:190], stroke[101, 77] = 1, 2
    on_grid = crop.scribbles_on_grid(stroke)
    assert on_grid.shape == (192, 128)
    assert (on_grid[int(37.5 * 192 / 300)] == 1).sum() > 110
    assert (on_grid == 2).sum() == 1
    same = Crop(
        Image(rng.normal(size=(128, 128))), Box.of(((0, 128), (0, 128), 0), (128, 128, 1)), load_model("default", 2)
    )
    mask = rng.random((128, 128, 1)) > 0.5
    np.testing.assert_array_equal(same.mask_in_box(same.mask_on_grid(mask)), mask)


def test_blend_holds_on_to_the_trained_classifier(case):
    crop, classifier, _, _ = case
    other = deepcopy(classifier)
    for parameter in other.parameters():
        parameter.mul_(0.5)
    new, old = (foreground_probability(c, crop.features()) for c in (other, classifier))
    both = foreground_probability(other, crop.features(), classifier, 0.25)
    logit = [np.log(np.clip(p, 1e-6, 1 - 1e-6) / np.clip(1 - p, 1e-6, 1)) for p in (new, old, both)]
    sure = (np.abs(logit[0]) < 8) & (np.abs(logit[1]) < 8)
    np.testing.assert_allclose(logit[2][sure], (0.25 * logit[0] + 0.75 * logit[1])[sure], atol=1e-2)
    np.testing.assert_array_equal(foreground_probability(other, crop.features(), classifier, 1.0), new)


def test_a_cut_that_would_remove_the_object_gives_way_to_the_network(case):
    crop, classifier, _, dimension = case
    free = np.zeros(crop.shape, np.uint8)
    strong = FAST[dimension].but(rounds=0, lam=1e4, never_empty=False)
    (emptied,) = fine_tune(crop, deepcopy(classifier), strong, scribbles=free)
    assert not emptied.labels.any() or emptied.labels.all()
    mark = free.copy()
    mark[0] = 2  # so that "all background" is the cheapest labelling
    (kept,) = fine_tune(crop, deepcopy(classifier), strong.but(never_empty=True), scribbles=mark)
    expected = (kept.probability > 0.5) & (mark == 0)
    assert expected.any()
    np.testing.assert_array_equal(kept.labels, expected)


def test_the_mask_so_far_counts_once_there_are_scribbles(case):
    crop, classifier, truth, dimension = case
    base = FAST[dimension].but(rounds=0, appearance=0.0, evidence=0.0, nearness=0.0)
    scribbles, so_far = scribbles_on(truth, np.random.default_rng(0)), np.roll(truth, 3, 0)

    def log_odds(strokes, **changes):
        (step,) = fine_tune(crop, deepcopy(classifier), base.but(**changes), scribbles=strokes, so_far=so_far)
        p = step.probability.astype(float)
        return np.log(p / (1 - p))

    without, kept = log_odds(scribbles, persistence=0.0), log_odds(scribbles, persistence=0.5)
    sure = np.abs(without) > 8  # in single precision
    np.testing.assert_allclose((kept - without)[so_far & ~sure], 0.5, atol=0.01)
    np.testing.assert_allclose((kept - without)[~so_far & ~sure], -0.5, atol=0.01)
    np.testing.assert_array_equal(log_odds(np.zeros_like(scribbles), persistence=0.5), without)
    near = log_odds(scribbles, nearness=2.0) - log_odds(scribbles, nearness=0.0)
    expected = RelativeDistance(crop.seen01).evidence(scribbles, 2.0)
    np.testing.assert_allclose(near[~sure], expected[~sure], atol=0.01)


def test_grey_levels_change_what_is_learnt_from_and_scribbles_stay_exact(case):
    crop, classifier, truth, dimension = case
    scribbles = scribbles_on(truth, np.random.default_rng(0))
    steps = {
        strength: list(
            fine_tune(crop, deepcopy(classifier), FAST[dimension].but(appearance=strength), scribbles=scribbles)
        )
        for strength in (0.0, 1.0)
    }
    assert (steps[0.0][0].probability != steps[1.0][0].probability).any()
    for step in steps[1.0]:
        assert step.labels[scribbles == 1].all()
        assert not step.labels[scribbles == 2].any()
