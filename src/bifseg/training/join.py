"""One 3D model made of three that were trained apart."""

from __future__ import annotations

from bifseg.errors import InvalidInput
from bifseg.networks.checkpoint import Model
from bifseg.networks.slices import WithSlices
from bifseg.networks.two_stage import TwoStage

SLICES = {"size": 112, "step": 6, "flips": 2}  # chosen on the development fold: docs/explanation/training.md
SHARES = (0.5, 0.5)


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
    parts = {role: (model.architecture, model.settings) for role, model in (("volume", volume), ("plane", plane))}
    slices = WithSlices.of((parts["volume"], volume.network), (parts["plane"], plane.network), **SLICES)
    stages = {
        "proposal": ("with-slices", {**parts, **SLICES}),
        "refinement": (refinement.architecture, refinement.settings),
    }
    network = TwoStage.of(
        (stages["proposal"], slices), (stages["refinement"], refinement.network), shares=SHARES
    )  # fmt: skip
    roles = {"volume": volume, "plane": plane, "refinement": refinement}
    card = {
        "data": "; ".join(dict.fromkeys(one for model in roles.values() for one in _learnt_from(model))),
        "parts": {role: {"name": model.name, "sha256": model.sha256, **model.card} for role, model in roles.items()},
    }
    settings = {**stages, "shares": SHARES}
    return Model("joined", network.eval().requires_grad_(False), "two-stage", settings, refinement.size, card=card)


def _learnt_from(model: Model) -> list[str]:
    """The entries of a card that say what a model learnt from: one text, or a list."""
    data = model.card.get("data", "unknown")
    return [data] if isinstance(data, str) else list(data)
