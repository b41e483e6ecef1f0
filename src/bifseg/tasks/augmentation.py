"""One finished object is shown in many ways: few examples teach more where none is seen twice alike.

Another user draws another box, another scanner shows other grey levels, and another patient has another shape: a smooth
random deformation, as in elastic augmentation (Simard et al., ICDAR 2003). The object fills its box as before, for
that is what the network is told of it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import ndimage

from bifseg.imaging.image import extent
from bifseg.imaging.intensity import normalise
from bifseg.training.synthetic.look import augment
from bifseg.training.synthetic.scene import Field

MARGIN = 0.08  # of a box, at most so much of it is cut away on a side: nobody draws a box twice alike
ANOTHER_LOOK = 0.7  # how often an example is shown as another scanner might
ANOTHER_SHAPE = 0.7  # how often as of another patient
BEND = 0.05  # of a box's side: standard deviation of how far a point is moved
TURN = 0.075  # standard deviation of shears and stretches
CELLS = 4  # of the random field that bends, along a side


def shown(
    rng: np.random.Generator, image: np.ndarray, mask: np.ndarray, flips: bool, context: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """An example as another user, scanner and patient might have shown it: the image float32, the mask bool.

    ``flips``: whether the network may see it reflected. ``context``: points around the box that the image has on every
    side beside those of the mask, before and after.
    """
    mask = np.pad(mask, context)
    if rng.random() < ANOTHER_SHAPE:
        image, mask = deformed(rng, image, mask)
    part = []
    for n, (start, stop) in zip(mask.shape, extent(mask) or [(0, n) for n in mask.shape], strict=True):
        before, after = (
            rng.integers(max(0, min(int(MARGIN * (n - 2 * context)), free - context)) + 1) for free in (start, n - stop)
        )
        step = -1 if flips and rng.random() < 0.5 else 1
        part.append(slice(before, n - after) if step > 0 else slice(n - after - 1, before - 1 if before else None, -1))
    image, mask = (np.ascontiguousarray(array[tuple(part)]) for array in (image, mask))
    if rng.random() < ANOTHER_LOOK:
        image = augment(rng, image, inverted=0)  # the scans of a task are of one kind
    box = (slice(context, -context),) * mask.ndim if context else ...
    return np.ascontiguousarray(normalise(image), np.float32), np.ascontiguousarray(mask[box])


def deformed(rng: np.random.Generator, image: np.ndarray, mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Image and mask bent alike, then stretched so that the object reaches from where to where it did."""
    dimension = mask.ndim
    turn = np.eye(dimension) + rng.normal(0, TURN, (dimension, dimension))
    bends = [Field.random(rng, dimension, CELLS) for _ in range(dimension)]
    middle = (np.array(mask.shape).reshape(-1, *[1] * dimension) - 1) / 2

    def origins(axes: Sequence[np.ndarray]) -> np.ndarray:
        """Where the points of the grid spanned by these coordinates come from: (d, ...), in pixels."""
        inside = [axis / max(1, n - 1) * 2 - 1 for axis, n in zip(axes, mask.shape, strict=True)]
        straight = np.tensordot(turn, np.stack(np.meshgrid(*inside, indexing="ij")), 1)
        return middle * (1 + straight + 2 * BEND * np.stack([bend(inside) for bend in bends]))

    wide = [np.arange(-(n // 4), n + n // 4, dtype=float) for n in mask.shape]  # it may reach out of its box
    before, after = extent(mask), extent(_at(mask, origins(wide), outside=0) > 0.5)
    if before is None or after is None or any(stop - start < 2 for start, stop in (*before, *after)):
        return image, mask  # there is next to nothing to bend
    stretched = [
        axis[there] + (end - 1 - there) / (stop - 1 - start) * (np.arange(n) - start)
        for axis, n, (start, stop), (there, end) in zip(wide, mask.shape, before, after, strict=True)
    ]
    where = origins(stretched)
    return _at(image, where), _at(mask, where, outside=0) > 0.5


def _at(array: np.ndarray, where: np.ndarray, outside: float | None = None) -> np.ndarray:
    """Linearly interpolated: float32. ``outside``: what there is around the array; None: what its border has."""
    mode, value = ("nearest", 0.0) if outside is None else ("grid-constant", outside)
    return ndimage.map_coordinates(array.astype(np.float32, copy=False), where, order=1, mode=mode, cval=value)
