"""A finished object as a task remembers it: the scan in and around its box, its mask, and where both came from."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np

from bifseg.errors import InvalidInput
from bifseg.imaging.image import Image
from bifseg.io.arrays import ONE_READER
from bifseg.method.label_fusion import Look, look_of
from bifseg.networks.shipped import surroundings
from bifseg.prompts.interaction import Box, overlap

ALONE = ((0, 0),) * 3  # no margins
SAME = 0.5  # of their union, that two masks of one scan have in common if they are of one object


@dataclass(frozen=True)
class About:
    """What is known of an example without its arrays; see `Example`."""

    digest: str
    box: Box
    spacing: tuple[float, float, float]
    scan: str
    patient: str
    source: Mapping[str, str]

    @property
    def dimension(self) -> int:
        """2 of an object in a plane, else 3."""
        return self.box.dimension

    @property
    def drawn_as(self) -> tuple[str | None, str | None]:
        """The session and the object's name in it; None each for one that came otherwise."""
        return self.source.get("session"), self.source.get("object")

    @classmethod
    def read(cls, path: Path, digest: str) -> About:
        """From a file of `Example.packed`, whose arrays stay unread; InvalidInput as by `Example.unpacked`."""
        try:
            with ONE_READER, path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
                about = json.loads(file["about"].tobytes())
            x, y, z = about["spacing"]
            return cls(digest, Box.parse(about["box"]), (x, y, z), about["scan"], about["patient"], about["source"])
        except FileNotFoundError:
            raise
        except Exception as error:  # as in `Example.unpacked`
            raise InvalidInput(f"is no example of a task, or damaged: {error}.") from error


@dataclass(frozen=True, eq=False)
class Example:
    """One finished object.

    ``voxels``: the box's content and, as far as the default network looks around it, what lies there: (x, y, z), or
    (x, y, z, 3) of colours. ``mask``: bool (x, y, z), in the box. ``spacing``: mm. ``direction``: column k is where
    axis k points, LPS; none in older ones. ``margins``: for each axis, how many of the voxels lie before and after the
    box; none in older ones.
    ``scan``: a hash of the whole image's voxels. ``patient``: whose it is; objects of one patient are no independent
    witnesses. ``source``: what else is known of where it came from, for people.
    """

    voxels: np.ndarray
    mask: np.ndarray
    spacing: tuple[float, float, float]
    box: Box
    scan: str
    patient: str
    source: Mapping[str, str] = field(default_factory=dict)
    direction: tuple[tuple[float, ...], ...] | None = None
    margins: tuple[tuple[int, int], ...] = ALONE

    @classmethod
    def of(
        cls, image: Image, mask: np.ndarray, box: Box | Sequence, patient: str, source: Mapping[str, str] | None = None
    ) -> Example:
        """Cut out of a scan. ``mask``: (x, y, z), of the scan's shape or the box's; InvalidInput where there is nothing
        to learn from."""
        box = Box.of(box, image.shape)
        if np.shape(mask) not in (image.shape, box.shape):
            raise InvalidInput(f"The mask has the shape {np.shape(mask)}; the image has {image.shape}.")
        inside = np.asarray(mask)[box.slices if np.shape(mask) == image.shape else ...] != 0
        if not inside.any() or inside.all():
            part = "nothing" if not inside.any() else "everything"
            raise InvalidInput(f"In the box {box} {part} is of the object; there is nothing to learn from.")
        image.check_scan()
        content = image.voxels[box.slices]
        if content.min() == content.max():
            raise InvalidInput(f"The image is constant inside the box {box}; there is nothing to learn from.")
        margins = _margins(image, box)
        seen = zip(box.start, box.stop, margins, strict=True)
        voxels = image.voxels[tuple(slice(start - less, stop + more) for start, stop, (less, more) in seen)].copy()
        scan = hashlib.sha256(np.ascontiguousarray(image.voxels).data).hexdigest()
        direction = tuple(tuple(row) for row in image.direction.tolist())
        return cls(voxels, inside, image.spacing, box, scan, patient, dict(source or {}), direction, margins)

    @property
    def dimension(self) -> int:
        """2 of an object in a plane, else 3."""
        return self.box.dimension

    @property
    def about(self) -> About:
        """All but the arrays."""
        return About(self.digest, self.box, self.spacing, self.scan, self.patient, self.source)

    @property
    def image(self) -> Image:
        """The voxels as a scan of its own."""
        return Image(self.voxels, self.spacing, direction=np.eye(3) if self.direction is None else self.direction)

    @property
    def box_in_image(self) -> Box:
        """Where the box lies in `image`."""
        (x, _), (y, _), (z, _) = self.margins
        nx, ny, nz = self.box.shape
        return Box((x, y, z), (x + nx, y + ny, z + nz))

    @property
    def mask_in_image(self) -> np.ndarray:
        """The mask, bool, of the shape of `image`."""
        return np.pad(self.mask, self.margins)

    @property
    def look(self) -> Look:
        """What tells another object where in its box it lies."""
        return look_of(self.image, self.box_in_image, self.mask_in_image)

    @cached_property
    def digest(self) -> str:
        """What it is called: a hash of all it holds."""
        return hashlib.sha256(self.packed()).hexdigest()[:16]

    def same_object(self, other: Example) -> bool:
        """Whether two are of one object in one scan: the later one is then a correction of the earlier."""
        if self.scan != other.scan:
            return False
        if self.source.get("session") and self.about.drawn_as == other.about.drawn_as:
            return True
        here, there = overlap(self.box, other.box)
        common = np.count_nonzero(self.mask[here] & other.mask[there])
        return common > SAME * (np.count_nonzero(self.mask) + np.count_nonzero(other.mask) - common)

    def packed(self) -> bytes:
        """The same as bytes, in NumPy's format without pickle; the same ones every time."""
        return self._packed

    @cached_property
    def _packed(self) -> bytes:
        about = {
            "box": str(self.box), "spacing": self.spacing, "scan": self.scan, "patient": self.patient,
            "source": dict(self.source), "direction": self.direction,
        } | ({"margins": self.margins} if self.margins != ALONE else {})  # fmt: skip
        told = np.frombuffer(json.dumps(about, sort_keys=True).encode(), np.uint8)
        file = io.BytesIO()
        np.savez_compressed(file, voxels=self.voxels, mask=np.packbits(self.mask), about=told)
        return file.getvalue()

    @classmethod
    def unpacked(cls, content: bytes) -> Example:
        """Of `packed` bytes; InvalidInput where they are something else."""
        try:
            with ONE_READER, np.load(io.BytesIO(content), allow_pickle=False) as file:
                about, voxels = json.loads(file["about"].tobytes()), file["voxels"]
                box = Box.parse(about["box"])
                mask = np.unpackbits(file["mask"], count=int(np.prod(box.shape))).astype(bool).reshape(box.shape)
            a, b, c = ((int(before), int(after)) for before, after in about.get("margins", ALONE))
            margins = a, b, c
            if voxels.shape[:3] != tuple(n + sum(more) for n, more in zip(box.shape, margins, strict=True)):
                raise ValueError("its parts do not fit")
            x, y, z = about["spacing"]
            turned = about.get("direction") and tuple(tuple(map(float, row)) for row in about["direction"])
            return cls(voxels, mask, (x, y, z), box, about["scan"], about["patient"], about["source"], turned, margins)
        except Exception as error:  # of zip, zlib, NumPy, JSON: whatever a damaged file brings forth
            raise InvalidInput(f"is no example of a task, or damaged: {error}.") from error


def _margins(image: Image, box: Box) -> tuple[tuple[int, int], ...]:
    """How many voxels before and after a box are kept, on each axis: as far as the default network looks."""
    share = surroundings(box.dimension)
    longest = max(np.multiply(box.shape, image.spacing))
    found = []
    for axis, (start, stop, n) in enumerate(zip(box.start, box.stop, image.shape, strict=True)):
        kept = 0 if not share or axis == box.plane else int(np.ceil(share * longest / image.spacing[axis])) + 1
        found.append((min(kept, start), min(kept, n - stop)))
    return tuple(found)
