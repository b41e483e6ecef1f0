"""The planes that an object is drawn in, and those it may be carried to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain, count

import numpy as np

from bifseg.errors import InvalidInput
from bifseg.prompts.interaction import AXES, Box
from bifseg.session.state import Segment, State

LONGEST_NAME = 64  # characters of a name that nobody chose, so that every protocol can say it
EVERYWHERE = "end"  # of planes: until the object ends, both ways


def planes_of(to: str | Sequence[int], axis: int, size: int) -> tuple[int, int]:
    """A range of planes.

    Parameters
    ----------
    to
        (start, stop), half-open, or ``end``: all there are.
    axis, size
        Across the planes, and how many there are.

    Returns
    -------
    tuple of int
        Start and stop. InvalidInput is raised for what is no range.
    """
    if isinstance(to, str) and to == EVERYWHERE:
        return 0, size
    if isinstance(to, str) or not _is_pair(to) or not 0 <= to[0] < to[1] <= size:
        raise InvalidInput(
            f"There are no planes {to!r} along {AXES[axis]}; give one from 0 to {size - 1}, a range of them as "
            f"[start, stop], or {EVERYWHERE!r}."
        )
    return int(to[0]), int(to[1])


def two_of(between: Sequence[int], axis: int, size: int) -> tuple[int, int]:
    """Two planes in their order.

    Parameters
    ----------
    between
        Their indices.
    axis, size
        Across the planes, and how many there are.

    Returns
    -------
    tuple of int
        The lower first. InvalidInput is raised for what are not two planes.
    """
    if not _is_pair(between) or not 0 <= min(between) < max(between) < size:
        raise InvalidInput(f"There are no two planes {between!r} along {AXES[axis]}; the image has 0 to {size - 1}.")
    return int(min(between)), int(max(between))


def drawn_in(state: State, root: str, axis: int) -> Mapping[int, Segment]:
    """The planes that an object is in.

    Parameters
    ----------
    state
        All objects as they stand.
    root
        The object's name.
    axis
        Across the planes.

    Returns
    -------
    dict
        Its part in each, by the plane's index.
    """
    return {part.box.start[axis]: part for part in state.family(root).values() if part.box.plane == axis}


def moved(box: Box, axis: int, index: int) -> Box:
    """A plane's box in another plane.

    Parameters
    ----------
    box
        One voxel thick along ``axis``.
    axis, index
        Across the planes, and which one.

    Returns
    -------
    Box
        Of the same extent.
    """
    ranges: list[tuple[int, int]] = list(zip(box.start, box.stop, strict=True))
    ranges[axis] = int(index), int(index) + 1
    (x0, x1), (y0, y1), (z0, z1) = ranges
    return Box((x0, y0, z0), (x1, y1, z1))


def part_name(state: State, root: str, index: int) -> str:
    """A free name for an object's part in a plane.

    Parameters
    ----------
    state
        All objects as they stand.
    root, index
        The object's name, and the plane.

    Returns
    -------
    str
        Of at most `LONGEST_NAME` characters.
    """
    ends = chain([f" @{index}"], (f" @{index} ({k})" for k in count(2)))
    names = (root[: LONGEST_NAME - len(end)] + end for end in ends)
    return next(name for name in names if name not in state.objects)


def _is_pair(given: object) -> bool:
    whole = (int, np.integer)
    return isinstance(given, (list, tuple)) and len(given) == 2 and all(isinstance(k, whole) for k in given)
