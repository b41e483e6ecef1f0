"""Networks with weights of their own, made in a fifth of the time of `copy.deepcopy`."""

from __future__ import annotations

from typing import TypeVar

from torch import nn

M = TypeVar("M", bound=nn.Module)


def copied(module: M) -> M:
    """A module that computes the same, whose weights can change while the other's stay.

    Parameters
    ----------
    module
        A network or a part of one: no weight and no part occurs twice in it, and what is neither is never changed.

    Returns
    -------
    nn.Module
        Weights, buffers and parts are new; all else is shared.
    """
    made = object.__new__(type(module))
    own = made.__dict__
    own.update((name, value.copy() if isinstance(value, dict) else value) for name, value in vars(module).items())
    own["_parameters"].update(
        (name, nn.Parameter(weight.detach().clone(), weight.requires_grad))
        for name, weight in module._parameters.items()
        if weight is not None
    )
    own["_buffers"].update((name, each.clone()) for name, each in module._buffers.items() if each is not None)
    own["_modules"].update((name, copied(part)) for name, part in module._modules.items() if part is not None)
    return made
