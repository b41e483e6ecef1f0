"""One object of a session as it stands, and all of them together: immutable, NumPy arrays only.

What makes the next segment from this one is in `session.refine`; what keeps segments on disk is in
`storage.snapshot`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike

from bifseg.imaging.image import Image, slabs
from bifseg.imaging.orientation import axes_of
from bifseg.imaging.resampling import resample
from bifseg.method.parameters import Parameters
from bifseg.networks.shipped import PARAMETER, SHAPE, TRUNK
from bifseg.prompts.interaction import BACKGROUND, FOREGROUND, Box, overlap
from bifseg.session.measure import Measure, measure


@dataclass(frozen=True)
class ModelId:
    """Which network: its name, and the digest of its file ("" for one that never was in a file)."""

    name: str
    sha256: str = ""


@dataclass(frozen=True, eq=False)
class Prior:
    """What a task had learnt when an object was begun: a classifier, weights of the trunk, and a shape.

    ``version``: of the task. ``base``: SHA-256 of the network that all weights belong to. ``weights``: the
    classifier's, float32, by name. ``shape``: float32 log-odds, where in their boxes its objects lie, see
    `bifseg.method.mean_shape`; or None. ``trunk``: float32, by their names in the network, which has the others.
    ``tuned``: parameters by name, which precede a preset's; exact in single precision.
    """

    task: str
    version: int
    base: str
    weights: Mapping[str, np.ndarray]
    shape: np.ndarray | None = None
    trunk: Mapping[str, np.ndarray] = field(default_factory=dict)
    tuned: Mapping[str, float] = field(default_factory=dict)

    @property
    def arrays(self) -> dict[str, np.ndarray]:
        """All of them, each under a name of its own."""
        trunk = {TRUNK + name: array for name, array in self.trunk.items()}
        tuned = {PARAMETER + name: np.float32(value)[None] for name, value in self.tuned.items()}
        return {**self.weights, **trunk, **tuned, **({} if self.shape is None else {SHAPE: self.shape})}

    @cached_property
    def sha256(self) -> str:
        """Of the network that this is, and of its parameters: whoever has the task's version can tell that it is it."""
        digest = hashlib.sha256(self.base.encode())
        for name, array in sorted(self.arrays.items()):
            if name != SHAPE:
                digest.update(f" {name} {array.dtype.str} {array.shape} ".encode() + array.tobytes())
        return digest.hexdigest()

    @property
    def told(self) -> dict[str, str | int]:
        """What a report says of it, ready for JSON."""
        return {"task": self.task, "version": self.version, "sha256": self.sha256}

    @classmethod
    def of(cls, task: str, version: int, base: str, arrays: Mapping[str, np.ndarray]) -> Prior:
        """The way back from `arrays`.

        Parameters
        ----------
        task, version, base
            Of the prior.
        arrays
            Of all four kinds.

        Returns
        -------
        Prior
            With the arrays themselves. ValueError is raised for a parameter that is more than one number.
        """
        trunk, tuned = (
            {name.removeprefix(kind): array for name, array in arrays.items() if name.startswith(kind)}
            for kind in (TRUNK, PARAMETER)
        )
        weights = {name: a for name, a in arrays.items() if name != SHAPE and not name.startswith((TRUNK, PARAMETER))}
        parameters = {name: array.item() for name, array in tuned.items()}
        return cls(task, version, base, weights, arrays.get(SHAPE), trunk, parameters)


@dataclass(frozen=True, eq=False)
class Segment:
    """One object, or its part in another plane.

    Arrays have the box's shape, three axes (x, y, z); those named "grid" lie on the crop's grid.
    """

    name: str
    box: Box
    model: ModelId
    parameters: Parameters
    classifier: Mapping[str, np.ndarray]  # the weights adapted to this object, float32
    scribbles: np.ndarray  # uint8: 1 foreground, 2 background
    packed: np.ndarray  # the mask, 8 voxels a byte; empty where there is none yet
    grid_probability: np.ndarray  # float32
    grid_weights: np.ndarray | None = None  # float32
    given: bool = False  # the mask came from the user, and the classifier was not yet fitted to it
    rounds: tuple[dict, ...] = ()
    milliseconds: Mapping[str, float] = field(default_factory=dict)
    part_of: str = ""  # the object whose part this is; "" for an object of its own
    start: Mapping[str, np.ndarray] | None = None  # the weights that a part began with; None: the trained ones
    prior: Prior | None = None  # in the place of the trained classifier; None: that is used

    @property
    def nbytes(self) -> int:
        """Bytes of all its arrays."""
        grids = (array for array in (self.grid_probability, self.grid_weights) if array is not None)
        learnt = {} if self.prior is None else self.prior.arrays
        weights = (array for kept in (self.classifier, self.start or {}, learnt) for array in kept.values())
        return sum(array.nbytes for array in (self.scribbles, self.packed, *grids, *weights))

    @property
    def mask(self) -> np.ndarray:
        """bool, the box's shape."""
        count = int(np.prod(self.box.shape))
        return np.unpackbits(self.packed, count=count).view(bool).reshape(self.box.shape)

    def probability(self) -> np.ndarray:
        """P(foreground) by the classifier.

        Returns
        -------
        ndarray
            float32, the box's shape; scribbled voxels have 1 or 0.
        """
        inside = self._in_box(self.grid_probability)
        inside[self.scribbles == FOREGROUND] = 1
        inside[self.scribbles == BACKGROUND] = 0
        return inside

    def uncertainty(self) -> np.ndarray:
        """Entropy of `probability`.

        Returns
        -------
        ndarray
            float32, the box's shape, bits, 0 (sure) to 1 (p = 0.5).
        """
        from scipy.special import entr  # here, for it takes as long as a refinement

        inside = self.probability()
        for p in slabs(inside):
            p[...] = (entr(p) + entr(1 - p)) / np.float32(np.log(2))
        return inside

    def weight_map(self) -> np.ndarray | None:
        """w(i) of the last network update (Eq. 13).

        Returns
        -------
        ndarray or None
            float32, the box's shape; None where there was no network update.
        """
        if self.grid_weights is None:
            return None
        omega = np.float32(self.parameters.omega if self.parameters.weighted else 1)
        return np.where(self.scribbles > 0, omega, self._in_box(self.grid_weights))

    def report(self) -> dict:
        """What was done and what it cost.

        Returns
        -------
        dict
            Ready for JSON.
        """
        return {
            "name": self.name,
            "part_of": self.part_of or None,
            "box": str(self.box),
            "voxels": int(np.count_nonzero(self.mask)),
            "model": {"name": self.model.name, "sha256": self.model.sha256},
            "prior": None if self.prior is None else self.prior.told,
            "parameters": self.parameters.as_dict(),
            "milliseconds": {stage: round(ms, 2) for stage, ms in self.milliseconds.items()},
            "rounds": list(self.rounds),
        }

    def _in_box(self, grid: np.ndarray) -> np.ndarray:
        """A map on the grid, in the box's voxels: float32, a copy."""
        native = [n for axis, n in enumerate(self.box.shape) if axis != self.box.plane]
        values = resample(grid, native)
        return (values.copy() if values is grid else values).reshape(self.box.shape)


@dataclass(frozen=True)
class State:
    """All objects of a session and their parts, in the order they were begun, and which one is being worked on."""

    objects: Mapping[str, Segment] = field(default_factory=dict)
    current: str | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """Of the objects, without their parts: the k-th is number k in `labels`."""
        return tuple(name for name, segment in self.objects.items() if not segment.part_of)

    def labels(self, shape: tuple[int, int, int]) -> np.ndarray:
        """All objects in one label map.

        Parameters
        ----------
        shape
            Of the image, (x, y, z).

        Returns
        -------
        ndarray
            0 background, k the k-th of `names` with its parts; uint8, or uint16 beyond 255 objects.
        """
        numbers = {name: k for k, name in enumerate(self.names, start=1)}
        labels = np.zeros(shape, np.uint8 if len(numbers) < 256 else np.uint16, order="F")
        for name, segment in self.objects.items():
            labels[segment.box.slices][segment.mask] = numbers[segment.part_of or name]
        return labels

    def family(self, name: str) -> dict[str, Segment]:
        """An object and its parts.

        Parameters
        ----------
        name
            Of the object.

        Returns
        -------
        dict
            Segments by their names.
        """
        return {key: segment for key, segment in self.objects.items() if name in (key, segment.part_of)}

    def measures(
        self, spacing: Sequence[float], direction: ArrayLike, *, planar: bool = False,
        calibrated: bool = True,
    ) -> dict[str, Measure]:  # fmt: skip
        """The measures of each object with its parts.

        The diameter lies in the object's own planes where it has been drawn in planes, else in an axial slice.

        Parameters
        ----------
        spacing, direction, planar, calibrated
            Of the image, as in `bifseg.imaging.image.Image`.

        Returns
        -------
        dict
            `Measure`s by the objects' names.
        """
        axial = 2 if planar else abs(axes_of(direction)[2]) - 1
        about = {"planar": planar, "calibrated": calibrated}
        return {name: _measured(self.family(name).values(), spacing, axial, **about) for name in self.names}

    def report(self, image: Image) -> list[dict]:
        """What was done and what it cost, of each object and part; of objects, how large they are, too.

        Parameters
        ----------
        image
            The scan: its spacing, direction, ``planar`` and ``calibrated``. A picture has an area; where nobody knows
            how large a pixel is there are no millimetres.

        Returns
        -------
        list of dict
            Ready for JSON.
        """
        measures = self.measures(image.spacing, image.direction, planar=image.planar, calibrated=image.calibrated)
        return [
            segment.report() | (_sizes(measures[name]) if name in measures else {})
            for name, segment in self.objects.items()
        ]

    def taken(self, box: Box, but: str) -> np.ndarray:
        """Voxels of a box that belong to other objects.

        Parameters
        ----------
        box
            Where to look.
        but
            The object that does not count.

        Returns
        -------
        ndarray
            bool, the box's shape.
        """
        taken = np.zeros(box.shape, bool)
        for other in self.objects.values():
            here, there = overlap(box, other.box)
            if other.name != but and taken[here].size:
                taken[here] |= other.mask[there]
        return taken


def _sizes(measure: Measure) -> dict[str, float]:
    """What a report says of an object's size: only what is known of it."""
    sizes = {
        "millilitres": measure.ml, "area_mm2": measure.area_mm2, "diameter_mm": measure.diameter_mm,
        "diameter_px": measure.diameter_px,
    }  # fmt: skip
    return {name: value for name, value in sizes.items() if value is not None}


def _measured(segments: Collection[Segment], spacing: Sequence[float], axis: int, **about: bool) -> Measure:
    """The measures of segments that are one object; ``axis``: across the slices of what is no plane."""
    whole = Box.spanning(segment.box for segment in segments)
    mask = np.zeros(whole.shape, bool)
    for segment in segments:
        mask[overlap(whole, segment.box)[0]] |= segment.mask
    planes = {segment.box.plane for segment in segments}
    plane = planes.pop() if len(planes) == 1 else None
    return measure(mask, whole.start, spacing, axis if plane is None else plane, **about)
