"""An object with other rules for its small holes and islands: its mask is made anew, and nothing learnt."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from bifseg.method.crop import Crop
from bifseg.method.energy import fixed_labels
from bifseg.method.final_mask import final_mask
from bifseg.method.finetune import Round, label_update
from bifseg.method.islands import tidy
from bifseg.method.parameters import RULES, Parameters
from bifseg.method.timing import Stopwatch
from bifseg.prompts.interaction import Box
from bifseg.session.priors import seen_by
from bifseg.session.refine import obeying, record
from bifseg.session.state import Segment, State

if TYPE_CHECKING:
    from bifseg.session.workbench import Workbench


def tidied(
    state: State, segments: Iterable[Segment], shares: Mapping[str, float], bench: Workbench
) -> Generator[Round, None, State]:
    """All objects, some of which have other rules.

    One cut of what a segment's labels were cut from last makes its mask anew: where the rules are the same, so is the
    mask. One that no cut made, such as one that was given, is tidied as it is.

    Parameters
    ----------
    state, segments
        All objects, and those to make anew.
    shares
        By the names of parameters, `RULES`; what is missing stays.
    bench
        Image, network and crops.

    Returns
    -------
    State
        The current object is the same.

    Yields
    ------
    Round
        One for each segment that is cut.
    """
    for segment in segments:
        clock, own = Stopwatch(), {**_rules(segment.parameters), **shares}
        crop = bench.crop(segment.box, seen_by(bench.model_of(segment), segment.prior), clock)
        locked = state.taken(segment.box, segment.name)
        done = yield from _tidied(segment, crop, own, locked=locked, clock=clock)
        state = replace(state, objects={**state.objects, segment.name: done})
    return state


def parameters_for(box: Box, like: Segment, bench: Workbench) -> Parameters:
    """The session's parameters for a box, with the rules that an object was given; opened, where scribbles began it.

    Parameters
    ----------
    box
        Where the object is to begin anew.
    like
        The object as it stands.
    bench
        With the session's parameters.

    Returns
    -------
    Parameters
        Where the object has the session's rules, those for the dimension of the box.
    """

    def settings(of: Box) -> Parameters:
        prior = like.prior if bench.model_for(of).sha256 == like.model.sha256 else None
        return bench.settings(of, prior)

    given, known, own = like.parameters, settings(like.box), settings(box)
    if known.opening and given.nearness == known.opened().nearness:
        own = own.opened()
    return own if _rules(given) == _rules(known) else own.but(**_rules(given))


def _rules(parameters: Parameters) -> dict[str, float]:
    return {name: getattr(parameters, name) for name in RULES}


def _tidied(
    segment: Segment, crop: Crop, shares: Mapping[str, float], *, locked: np.ndarray, clock: Stopwatch
) -> Generator[Round, None, Segment]:
    """One segment, with what its classifier learnt; ``shares``: both of its rules."""
    parameters = segment.parameters.but(**shares)
    if not segment.rounds:
        fixed = fixed_labels(segment.scribbles, locked)
        with clock("tidy"):
            inside = tidy(segment.mask.reshape(crop.native_shape), fixed.reshape(crop.native_shape), **shares)
        mask = obeying(inside.reshape(segment.box.shape), segment, locked)
        return replace(segment, parameters=parameters, packed=np.packbits(mask), milliseconds=dict(clock))
    step = label_update(
        crop, segment.grid_probability, parameters, scribbles=crop.scribbles_on_grid(segment.scribbles),
        locked=crop.mask_on_grid(locked) if locked.any() else None,
    )  # fmt: skip
    clock.add(step.milliseconds)
    yield step
    inside = final_mask(crop, step.labels, step.probability, segment.scribbles, locked, parameters, clock)
    with clock("paste"):
        mask = obeying(inside, segment, locked)
    return replace(
        segment, parameters=parameters, packed=np.packbits(mask), rounds=(record(step),), milliseconds=dict(clock)
    )
