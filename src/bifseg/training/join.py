"""One 3D model made of three that were trained apart."""

from __future__ import annotations

from dataclasses import replace

from bifseg.errors import InvalidInput
from bifseg.networks.checkpoint import Model
from bifseg.networks.slices import WithSlices
from bifseg.networks.two_stage import TwoStage

SLICES = {"size": 112, "step": 6, "flips": 2}  # chosen on the development fold: docs/explanation/training.md


def join(volume: Model, plane: Model, refinement: Model) -> Model:
    """A first stage that sees the box as a volume and slice by slice, and a second one that listens.

    Parameters
    ----------
    volume, plane
        A 3D and a 2D model, neither of which listens: the first stage, see `bifseg.networks.slices.WithSlices`.
    refinement
        A 3D model that listens: the second stage, see `bifseg.networks.two_stage.TwoStage`.

    Returns
    -------
    Model
        Of the refinement's working grid; its card holds the cards of all three. Nothing in it is tuned.

    Raises
    ------
    InvalidInput
        Where the models' dimensions, grids, or whether they listen, do not fit.
    """
    if volume.size != refinement.size:
        raise InvalidInput(
            f"{volume.name} works on a grid of {volume.size} and {refinement.name} on one of {refinement.size}; "
            "only models of one grid can be joined."
        )
    roles = {"volume": volume, "plane": plane, "refinement": refinement}
    slices = WithSlices.of((volume.design, volume.network), (plane.design, plane.network), **SLICES)
    settings = {"volume": volume.design, "plane": plane.design, **SLICES}
    proposal = replace(volume, network=slices, architecture="with-slices", settings=settings)
    card = {
        "data": "; ".join(dict.fromkeys(one for model in roles.values() for one in _learnt_from(model))),
        "parts": {role: {"name": model.name, "sha256": model.sha256, **model.card} for role, model in roles.items()},
    }
    return replace(two_stages(proposal, refinement), name="joined", tuned={}, card=card, sha256="", flips=False)


def two_stages(proposal: Model, refinement: Model) -> Model:
    """One model of a first stage and a second one, see `bifseg.networks.two_stage.TwoStage`; all else of it is the
    refinement's."""
    network = TwoStage.of((proposal.design, proposal.network), (refinement.design, refinement.network))
    settings = {"proposal": proposal.design, "refinement": refinement.design}
    network = network.eval().requires_grad_(False)
    return replace(refinement, network=network, architecture="two-stage", settings=settings)


def _learnt_from(model: Model) -> list[str]:
    """The entries of a card that say what a model learnt from: one text, or a list."""
    data = model.card.get("data", "unknown")
    return [data] if isinstance(data, str) else list(data)
