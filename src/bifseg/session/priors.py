"""What an object is seen and judged by where a task had learnt something when it was begun: see `Prior`."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache

import numpy as np
import torch

from bifseg.errors import InvalidInput
from bifseg.method.crop import Crop
from bifseg.method.mean_shape import shape_on_grid
from bifseg.method.parameters import once_taught
from bifseg.networks.base import Classifier
from bifseg.networks.checkpoint import Model
from bifseg.networks.copies import copied
from bifseg.session.state import Prior

TRUNKS_KEPT = 4  # networks with what tasks had learnt stay in memory; older ones are made again when they are needed


def seen_by(model: Model, prior: Prior | None) -> Model:
    """The network by which a box is seen: with the weights of the trunk that a task had learnt.

    Parameters
    ----------
    model
        Of the box.
    prior
        What the task had learnt, if the object began with one.

    Returns
    -------
    Model
        To make crops of. InvalidInput is raised where the weights do not fit.
    """
    return model if prior is None or not prior.trunk else _taught(model, prior)


def trained_classifier(model: Model, prior: Prior | None) -> Classifier:
    """The classifier that came with a network, or what stands in its place.

    Parameters
    ----------
    model
        The network.
    prior
        What a task had learnt.

    Returns
    -------
    Classifier
        Not to be changed. InvalidInput is raised where its weights do not fit.
    """
    if prior is None:
        return model.network.classifier
    _check(model, prior)
    return with_weights(model.network.classifier, prior.weights)


def expected_shape(crop: Crop, model: Model, prior: Prior | None, part_of: str) -> np.ndarray | None:
    """What finished objects say of where one lies in its box.

    Parameters
    ----------
    crop, model
        Of the box.
    prior
        What a task had learnt.
    part_of
        The object that this is a part of: nobody drew a box around one.

    Returns
    -------
    ndarray or None
        Log-odds on the grid, float32.
    """
    shape = model.shape if prior is None else prior.shape
    return None if shape is None or part_of else shape_on_grid(shape, crop.axes, crop.shape)


def tuned_for(model: Model, prior: Prior | None) -> Mapping[str, float]:
    """The values that precede a preset's where an object begins.

    Parameters
    ----------
    model
        Of its box.
    prior
        What a task had learnt, if it begins with that.

    Returns
    -------
    Mapping
        As `parameters.preset` takes them.
    """
    return model.tuned if prior is None else {**once_taught(model.tuned, model.dimension), **prior.tuned}


def with_weights(classifier: Classifier, weights: Mapping[str, np.ndarray]) -> Classifier:
    """A copy of a classifier with other weights: a shared one never changes.

    Parameters
    ----------
    classifier
        Of which the shapes are.
    weights
        float32, by name.

    Returns
    -------
    Classifier
        InvalidInput is raised where the weights do not fit.
    """
    adapted = copied(classifier)
    shapes = {name: tuple(tensor.shape) for name, tensor in adapted.state_dict().items()}
    if {name: array.shape for name, array in weights.items()} != shapes:
        raise InvalidInput("The object's classifier does not fit its network. Resize its box, and it begins anew.")
    adapted.load_state_dict({name: torch.from_numpy(array.copy()) for name, array in weights.items()})
    return adapted


def _check(model: Model, prior: Prior) -> None:
    if prior.base != model.sha256:
        raise InvalidInput(
            f"Version {prior.version} of the task {prior.task!r} was learnt with another network "
            f"({prior.base[:12]}) than {model.name} ({model.sha256[:12]}); begin without the task."
        )


@lru_cache(maxsize=TRUNKS_KEPT)
def _taught(model: Model, prior: Prior) -> Model:
    _check(model, prior)
    network, digest = copied(model.network), hashlib.sha256(model.sha256.encode())
    own = network.state_dict()
    for name, array in sorted(prior.trunk.items()):
        if name not in own or tuple(own[name].shape) != array.shape:
            raise InvalidInput(
                f"What version {prior.version} of the task {prior.task!r} had learnt does not fit the network "
                f"{model.name}."
            )
        own[name] = torch.from_numpy(array.copy())
        digest.update(name.encode() + array.tobytes())
    network.load_state_dict(own)
    return replace(model, network=network.requires_grad_(False), sha256=digest.hexdigest())
