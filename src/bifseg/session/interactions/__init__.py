"""What a user can do to a session, as data: one class for each kind, and one line of `INTERACTIONS`.

A protocol makes them as JSON, a worker gets them, a journal keeps them, and a replay does them again. ``apply`` takes
the state of a session to the next one; it checks what it was given at once, and computes as its rounds are taken.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from bifseg.errors import InvalidInput
from bifseg.session.interactions.base import Arrays, Interaction
from bifseg.session.interactions.drawing import DrawBox, Refine, Resize, Scribble
from bifseg.session.interactions.naming import Remove, Rename, Select
from bifseg.session.interactions.propagation import Interpolate, Propagate
from bifseg.session.interactions.tidying import Tidy

INTERACTIONS: dict[str, type[Interaction]] = {
    one.kind: one for one in (DrawBox, Scribble, Resize, Refine, Propagate, Interpolate, Tidy, Select, Remove, Rename)
}


def interaction_of(request: Mapping, arrays: Arrays, shape: Sequence[int]) -> Interaction:
    """The interaction that JSON holds.

    Parameters
    ----------
    request
        ``kind``, and what its class reads.
    arrays
        The array that JSON refers to.
    shape
        Of the image, (x, y, z).

    Returns
    -------
    Interaction
        InvalidInput is raised for an unknown kind, and for another form.
    """
    kind = request.get("kind")
    if kind not in INTERACTIONS:
        raise InvalidInput(f"Unknown interaction {str(kind)[:80]!r}; known are {', '.join(INTERACTIONS)}.")
    return INTERACTIONS[kind].from_json(request, arrays, shape)
