"""How refining a segment makes the next one."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import replace

import numpy as np

from bifseg.method.crop import Crop
from bifseg.method.evidence import with_evidence
from bifseg.method.final_mask import final_mask
from bifseg.method.finetune import Round, fine_tune, foreground_probability
from bifseg.method.parameters import Parameters
from bifseg.method.stack import beside_slices
from bifseg.method.timing import Stopwatch
from bifseg.networks.base import Classifier
from bifseg.networks.checkpoint import Model
from bifseg.prompts.interaction import BACKGROUND, FOREGROUND
from bifseg.session.priors import expected_shape, trained_classifier, with_weights
from bifseg.session.state import ModelId, Prior, Segment


def begin(
    name: str,
    crop: Crop,
    model: Model,
    parameters: Parameters,
    *,
    part_of: str = "",
    start: Mapping[str, np.ndarray] | None = None,
    prior: Prior | None = None,
    clock: Stopwatch | None = None,
) -> Segment:
    """An object of which only the box is known: no mask yet.

    Parameters
    ----------
    name
        Of the object.
    crop, model, parameters
        Of its box.
    part_of
        The object that it continues, if any.
    start
        Weights to begin with instead of the trained classifier's.
    prior
        What a task learnt, in the place of what the model brings.
    clock
        Takes the time of the stages "features" and "classifier".

    Returns
    -------
    Segment
        InvalidInput is raised where the weights do not fit.
    """
    trained = trained_classifier(model, prior)
    classifier = trained if start is None else with_weights(trained, start)
    blend = 1.0 if start is None else parameters.blend
    clock = Stopwatch() if clock is None else clock
    with clock("features"):
        features, slices = crop.features(), crop.slices if parameters.slices else None
    with clock("classifier"):
        probability = foreground_probability(classifier, features, trained, blend)
        if slices is not None:
            probability = beside_slices(probability, slices, parameters.slices)
    return Segment(
        name, crop.box, ModelId(model.name, model.sha256), parameters, _weights_of(classifier),
        scribbles=np.zeros(crop.box.shape, np.uint8),
        packed=np.zeros(0, np.uint8),
        grid_probability=with_evidence(probability, expected_shape(crop, model, prior, part_of)),
        part_of=part_of, start=start, prior=prior,
    )  # fmt: skip


def adapt(
    segment: Segment,
    crop: Crop,
    model: Model,
    *,
    refine: str,
    locked: np.ndarray,
    initial: np.ndarray | None = None,
    beside: np.ndarray | None = None,
    seed: int = 0,
    clock: Stopwatch | None = None,
) -> Generator[Round, None, Segment]:
    """Fit a segment to its scribbles; the old segment is untouched.

    Whatever the rounds say, the new mask has the scribbled label on every scribbled voxel and no locked voxel.

    Parameters
    ----------
    segment
        As it stands.
    crop, model
        Of its box.
    refine
        As in `Session.box`; ``none`` keeps the mask there is, if any, but for the scribbles.
    locked
        bool, the box's shape: voxels of other objects.
    initial
        bool, the box's shape: a mask to start from; one that was given before and not fitted yet is one, too.
    beside
        As in `fine_tune`.
    seed
        Of what is random.
    clock
        Takes the time of the stages.

    Returns
    -------
    Segment
        The new one.

    Yields
    ------
    Round
        Each as soon as it is computed.
    """
    clock = Stopwatch() if clock is None else clock
    trained = trained_classifier(model, segment.prior)
    classifier, records, weights = with_weights(trained, segment.classifier), [], segment.grid_weights
    probability = segment.grid_probability
    given = segment.given or initial is not None
    if initial is None and segment.given:
        initial = segment.mask
    so_far = segment.mask if initial is None and segment.rounds else initial
    if refine != "none":
        fit = refine == "auto" and (segment.scribbles.any() or segment.parameters.unsupervised)
        for step in fine_tune(
            crop, classifier, segment.parameters if fit else segment.parameters.but(rounds=0),
            scribbles=crop.scribbles_on_grid(segment.scribbles),
            locked=crop.mask_on_grid(locked) if locked.any() else None,
            initial=None if initial is None else crop.mask_on_grid(initial),
            so_far=None if so_far is None else crop.mask_on_grid(so_far),
            beside=beside, shape=expected_shape(crop, model, segment.prior, segment.part_of), trained=trained,
            seed=seed,
        ):  # fmt: skip
            clock.add(step.milliseconds)
            records.append(record(step))
            labels, probability = step.labels, step.probability
            weights = weights if step.weights is None else step.weights
            yield step
    if refine != "none":
        inside = final_mask(crop, labels, probability, segment.scribbles, locked, segment.parameters, clock)
    elif initial is not None:
        inside = initial
    else:
        inside = segment.mask if segment.packed.size else crop.mask_in_box(probability >= 0.5)
    with clock("paste"):
        mask = obeying(inside, segment, locked)
    return replace(
        segment, classifier=_weights_of(classifier), packed=np.packbits(mask), grid_probability=probability,
        grid_weights=weights, given=given and refine == "none", rounds=tuple(records), milliseconds=dict(clock),
    )  # fmt: skip


def obeying(inside: np.ndarray, segment: Segment, locked: np.ndarray) -> np.ndarray:
    """A mask with the scribbled label on every scribbled voxel, and no locked voxel.

    Parameters
    ----------
    inside
        bool, the box's shape.
    segment
        Whose scribbles these are.
    locked
        bool, the box's shape: voxels of other objects.

    Returns
    -------
    ndarray
        bool, the box's shape.
    """
    mask = np.greater(inside, locked)  # inside and not locked
    mask |= segment.scribbles == FOREGROUND
    mask &= segment.scribbles != BACKGROUND
    return mask


def record(step: Round) -> dict:
    """What is kept of a round.

    Parameters
    ----------
    step
        As `fine_tune` yields it.

    Returns
    -------
    dict
        Ready for JSON.
    """
    about = {"round": step.index, "energy": round(step.energy, 3), "foreground": int(step.labels.sum())}
    if step.loss is not None:
        about["loss_before"], about["loss_after"] = (round(value, 5) for value in step.loss)
    return about


def _weights_of(classifier: Classifier) -> dict[str, np.ndarray]:
    return {name: tensor.numpy().copy() for name, tensor in classifier.state_dict().items()}
