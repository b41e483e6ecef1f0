"""What all interactions have in common: their form as JSON, how they are applied, and the names of objects."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

from bifseg.errors import InvalidInput
from bifseg.prompts.interaction import Box, Labels, Patch, Stroke
from bifseg.session.state import Segment, State

if TYPE_CHECKING:  # this module does not need torch
    from bifseg.method.finetune import Round
    from bifseg.session.workbench import Workbench

Rounds = Generator["Round", None, State]  # the rounds of an interaction, which return the state that follows
Arrays = Callable[[object], Patch]  # a stored array, of what JSON says of it


class Interaction:
    """Something that a user does. ``kind``: its name in JSON; ``computes``: whether it has rounds."""

    kind: ClassVar[str]
    computes: ClassVar[bool] = True

    @classmethod
    def from_json(cls, request: Mapping, arrays: Arrays, shape: Sequence[int]) -> Interaction:
        """The interaction that JSON holds.

        Parameters
        ----------
        request
            Its fields by name.
        arrays
            The array that JSON refers to.
        shape
            Of the image, (x, y, z).

        Returns
        -------
        Interaction
            InvalidInput is raised for another form.
        """
        raise NotImplementedError

    def apply(self, state: State, bench: Workbench) -> Rounds:
        """Check what was given, and lead from one state to the next.

        Parameters
        ----------
        state
            All objects as they stand.
        bench
            Image, network and crops.

        Returns
        -------
        generator of Round
            It returns the state that follows. InvalidInput is raised at once for what cannot be.
        """
        raise NotImplementedError

    def painted(self, state: State, shape: Sequence[int]) -> tuple[Labels | None, Box | None]:
        """The scribbles that come with it.

        Parameters
        ----------
        state
            All objects as they stand.
        shape
            Of the image, (x, y, z).

        Returns
        -------
        tuple
            The scribbles and the box that they are painted in; None each where there are none.
        """
        return None, None


def current(state: State) -> Segment:
    """The object that is being worked on.

    Parameters
    ----------
    state
        All objects as they stand.

    Returns
    -------
    Segment
        InvalidInput is raised where there is none.
    """
    if state.current is None:
        raise InvalidInput("There is no object yet: draw a box first.")
    return state.objects[state.current]


def first_free(names: Iterable[str], state: State) -> str:
    """The first name that no object has.

    Parameters
    ----------
    names
        As many as it takes.
    state
        All objects as they stand.

    Returns
    -------
    str
        One of the names.
    """
    return next(name for name in names if name not in state.objects)


def check_known(name: str, state: State) -> None:
    """Refuse a name that no object has.

    Parameters
    ----------
    name
        InvalidInput lists those that there are.
    state
        All objects as they stand.
    """
    if name not in state.objects:
        raise InvalidInput(f"There is no object named {name!r}; there are: {', '.join(state.objects) or 'none'}.")


def check_free(name: str, state: State) -> None:
    """Refuse a name that an object has, and one that nobody could read.

    Parameters
    ----------
    name
        InvalidInput is raised where it has no letter or digit, too.
    state
        All objects as they stand.
    """
    if not name.strip():
        raise InvalidInput(f"An object cannot be named {name!r}; give at least one letter or digit.")
    if name in state.objects:
        raise InvalidInput(f"There is an object named {name!r} already; select it, or choose another name.")


def text_of(request: Mapping, name: str) -> str:
    """A text of a request.

    Parameters
    ----------
    request
        Its fields by name.
    name
        Of the field.

    Returns
    -------
    str
        InvalidInput is raised where there is none.
    """
    value = request.get(name)
    if not isinstance(value, str):
        raise InvalidInput(f"The interaction needs {name!r}, a text; it has {value!r}.")
    return value


def scribbles_of(request: Mapping, arrays: Arrays) -> Labels | None:
    """The scribbles of a request.

    Parameters
    ----------
    request
        Its fields by name.
    arrays
        The array that JSON refers to.

    Returns
    -------
    list of Stroke, Patch or None
        InvalidInput is raised for another form.
    """
    scribbles = request.get("scribbles")
    if scribbles is None:
        return None
    if not isinstance(scribbles, Mapping) or len({"strokes", "labels"} & scribbles.keys()) != 1:
        raise InvalidInput('Scribbles are {"strokes": [...]} or {"labels": ...}; give one of the two.')
    if "labels" in scribbles:
        return arrays(scribbles["labels"])
    try:
        strokes = [Stroke(s["points"], s.get("label", 1), s.get("radius", 0.0)) for s in scribbles["strokes"]]
    except (TypeError, KeyError, AttributeError) as error:
        raise InvalidInput(f"A stroke needs points (x, y, z), a label and a radius; {error} is wrong.") from None
    if not strokes:
        raise InvalidInput("There are no strokes; give one or more.")
    return strokes
