"""What requests say that is drawn: boxes, strokes, masks, and what is to become of objects."""

from __future__ import annotations

import base64
import zlib
from collections.abc import Iterator
from math import prod
from typing import Annotated, Literal

import numpy as np
from pydantic import Field, FiniteFloat, model_validator

from bifseg.errors import InvalidInput
from bifseg.prompts.interaction import Box
from bifseg.server.api.bodies.base import Body, Drawn, Name, Place, TaskName, Text, Three

Refine = Annotated[
    Literal["auto", "crf", "none"],
    Field(description="auto: fine-tune to this image; crf: one minimum cut; none: the network as it is."),
]

PIECE = 1 << 20  # bytes unpacked at once


class Mask(Body):
    """A label map inside a box; voxels outside it are 0.

    >>> int(Mask.of(np.ones((2, 3, 1), np.uint8), "4:6,0:3,7").array((9, 9, 9)).sum())
    6
    """

    box: Place
    deflate: Annotated[
        str, Field(description="Base64 of the zlib-deflated uint8 voxels in the box, C order: z runs fastest.")
    ]

    @classmethod
    def of(cls, array: np.ndarray, box: str) -> Mask:
        """An array of the box's shape as it is sent."""
        return cls(box=box, deflate=base64.b64encode(zlib.compress(array.astype(np.uint8).tobytes(), 1)).decode())

    def array(self, shape: tuple[int, int, int]) -> np.ndarray:
        """uint8, the box's shape; InvalidInput where the box leaves an image of ``shape`` or the voxels do not fill it.

        No more is unpacked than the box has voxels.
        """
        box = Box.parse(self.box, shape)
        return np.frombuffer(b"".join(self.pieces(box)), np.uint8).reshape(box.shape)

    def pieces(self, box: Box) -> Iterator[bytes]:
        """The voxels in C order, of its box as parsed, piece by piece: a large one never lies in memory as a whole."""
        size, unpacked, unpack = prod(box.shape), 0, zlib.decompressobj()
        try:
            packed = base64.b64decode(self.deflate, validate=True)
            while not unpack.eof and (piece := unpack.decompress(packed, PIECE)):
                unpacked, packed = unpacked + len(piece), unpack.unconsumed_tail
                if unpacked > size:
                    break
                yield piece
        except (ValueError, zlib.error) as error:
            raise InvalidInput(f"The mask is not base64 of zlib-deflated bytes: {str(error).rstrip('.')}.") from None
        if unpacked != size or not unpack.eof or unpack.unused_data:
            number = "more" if unpacked > size else unpacked
            raise InvalidInput(f"The mask's box {box} has {size} voxels, one byte each; {number} were sent.")


class Stroke(Body):
    """A polyline painted with a round brush."""

    points: Annotated[
        list[Annotated[list[FiniteFloat], Three]],
        Field(
            fail_fast=True,
            min_length=1,
            description="Voxel coordinates x, y, z.",
            examples=[[[50, 60, 20], [55, 61, 20]]],
        ),
    ]
    label: Annotated[
        Literal[0, 1, 2], Field(description="1 foreground, 2 background, 0 takes away the scribbles it touches.")
    ] = 1
    radius: Annotated[FiniteFloat, Field(ge=0, le=100, description="In units of the finest voxel spacing.")] = 0


class Scribbles(Body):
    """Strokes, or a map of voxels: 1 foreground, 2 background, 0 none. One of the two."""

    strokes: Annotated[list[Stroke], Field(fail_fast=True, min_length=1)] | None = None
    labels: Mask | None = None

    @model_validator(mode="after")
    def _one(self) -> Scribbles:
        if (self.strokes is None) == (self.labels is None):
            raise InvalidInput("scribbles are strokes or labels, one of the two")
        return self


class Begin(Drawn):
    """A box around an object; one plane thick, it is segmented in 2D. Without a box, first scribbles make it."""

    box: Place | None = None
    name: Name | None = None
    refine: Refine = "auto"
    initial: Annotated[Mask | None, Field(description="A mask to start from; 0 is background.")] = None
    scribbles: Scribbles | None = None
    task: Annotated[
        TaskName | None,
        Field(description="Begin with what one of your tasks has learnt; what that is stays with the session."),
    ] = None

    @model_validator(mode="after")
    def _somewhere(self) -> Begin:
        if self.box is None and self.scribbles is None:
            raise InvalidInput("an object begins with a box, or with scribbles")
        return self


class Correct(Drawn):
    """Scribbles where the current object's mask is wrong."""

    scribbles: Scribbles
    refine: Refine = "auto"


class Resize(Drawn):
    """Another box for the current object."""

    box: Place
    scribbles: Scribbles | None = None
    refine: Refine = "auto"


Plane = Annotated[int, Field(ge=0, lt=2**31)]
Planes = Annotated[list[Plane], Field(min_length=2, max_length=2)]


class Propagate(Body):
    """Another plane for the current object, which has to be in one; or many of them."""

    to: Annotated[
        Plane | Planes | Literal["end"],
        Field(
            description="A plane, along the axis that the box is thin along; or a range of them, [start, stop], half-"
            "open, or 'end', all there are: through these it is carried both ways until it ends, as one interaction."
        ),
    ]
    name: Name | None = None
    refine: Annotated[Refine, Field(description="auto, crf: one minimum cut; none: the classifier as it is.")] = "auto"


class Interpolate(Body):
    """Shapes for the planes between those that the current object was drawn in."""

    between: Annotated[Planes | None, Field(description="Two planes: nothing before or beyond is filled.")] = None


Rule = Annotated[
    bool | Annotated[FiniteFloat, Field(ge=0, le=1)],
    Field(description="true or false, or a share, as of the parameter of this name; left out, it stays."),
]


class Tidy(Body):
    """Whether the current object's small holes are filled, and its small islands dropped."""

    fill_holes: Rule | None = None
    drop_islands: Rule | None = None

    @model_validator(mode="after")
    def _some(self) -> Tidy:
        if self.fill_holes is None and self.drop_islands is None:
            raise InvalidInput("nothing is said to change; give fill_holes or drop_islands")
        return self


class Named(Body):
    """An object."""

    name: Name


class Rename(Named):
    """An object, and its new name."""

    to: Name


class Submit(Drawn):
    """A mask that a person accepted elsewhere."""

    labels: Mask
    title: Text = ""
