"""What requests and answers of our own API hold: these models are its OpenAPI documentation, too."""

from __future__ import annotations

import base64
import zlib
from dataclasses import fields
from math import prod
from typing import Annotated, ClassVar, Literal, TypeVar, get_type_hints

import numpy as np
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    FiniteFloat,
    ValidationError,
    computed_field,
    create_model,
    model_validator,
)

from bifseg.imaging.orientation import axes_of
from bifseg.method import parameters
from bifseg.prompts.interaction import Box

HIDDEN = (  # what is not shown, or turns others around; but the joiners of Persian, Indian scripts and emoji
    r"\x00-\x1f\x7f-\x9f\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f"
    r"\u2800\u3164\ufeff\uffa0\ufff9-\ufffb\U000e0000-\U000e007f"
)
Text = Annotated[str, Field(max_length=200, pattern=f"^[^{HIDDEN}]*$")]
SEEN = rf"^[^{HIDDEN}]*[^{HIDDEN}\s\u200c\u200d][^{HIDDEN}]*$"
Name = Annotated[str, Field(min_length=1, max_length=64, pattern=SEEN, examples=["object 1"])]
Place = Annotated[
    str,
    Field(
        max_length=100,
        description="Half-open ranges of voxels along x, y, z, in the file's order; a single index is a plane.",
        examples=["40:80,52:90,12:40"],
    ),
]
Three = Field(min_length=3, max_length=3)  # x, y, z
Refine = Annotated[
    Literal["auto", "crf", "none"],
    Field(description="auto: fine-tune to this image; crf: one minimum cut; none: the network as it is."),
]


class Body(BaseModel):
    """A request: what it does not know, it refuses. ``bytes``: of JSON that nobody needs more of for it."""

    model_config = ConfigDict(extra="forbid")
    bytes: ClassVar[int] = 16 << 10


class Drawn(Body):
    """A request in which strokes or masks may travel."""

    bytes: ClassVar[int] = 16 << 20


class Refusal(BaseModel):
    """Why a request was not done, in one sentence."""

    detail: str


Said = TypeVar("Said", bound=BaseModel)


def parsed(model: type[Said], text: str, called: str) -> Said:
    """What JSON in a header or a field says; ValueError for another form, in one sentence that names it ``called``."""
    try:
        return model.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        raise ValueError(f"{'.'.join([called, *map(str, first['loc'])])}: {first['msg']}.") from None


# ---- images and sessions

BOUNDS = {"rounds": 100, "iterations": 1000}  # more than anyone needs, and less than would hold up others
Parameters = create_model(
    "Parameters",
    __base__=Body,
    __doc__="The method's numbers, by the paper's symbols; those that are left out have the paper's values.",
    **{
        field.name: (
            Annotated[get_type_hints(parameters.Parameters)[field.name], Field(le=BOUNDS.get(field.name))],
            field.default,
        )
        for field in fields(parameters.Parameters)
    },
)


class Open(Body):
    """A scan in the server's folder of images."""

    path: Annotated[str, Field(min_length=1, max_length=1000, examples=["ward 3/scan.nii.gz"])]
    series: Annotated[Text | None, Field(description="UID of one of several DICOM series.")] = None


class Imported(BaseModel):
    """What a session that comes as a file may say of itself: no more than one that begins here."""

    title: Text
    client: Text
    parameters: Parameters | None = None
    names: list[Name]


class NewSession(Body):
    """A session on an image that was uploaded or opened before."""

    image: Annotated[Text, Field(description="The image's key.")]
    title: Text = ""
    model: Annotated[Text, Field(description="One of the server's models; see GET /api/v1/server.")] = "default"
    parameters: Literal["fast", "paper"] | Parameters = "fast"
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0


class ImageInfo(BaseModel):
    """An image; millimetres, LPS. Column k of ``direction`` is where voxel axis k points."""

    key: str
    shape: Annotated[list[int], Three]
    dtype: str
    spacing: Annotated[list[float], Three]
    origin: Annotated[list[float], Three]
    direction: list[list[float]]
    planar: bool
    calibrated: Annotated[bool, Field(description="Whether spacing is in millimetres; else only its ratios count.")]
    bytes: int
    created: float
    dicom: bool

    @computed_field
    @property
    def axes(self) -> Annotated[list[int], Three]:
        """The file axes, from 1, that run most to right, front and head; negative: they run the other way."""
        return list(axes_of(np.array(self.direction)))


class FileInfo(BaseModel):
    """A file or a folder that may be opened by its path."""

    path: str
    folder: bool
    bytes: int


class ObjectInfo(BaseModel):
    """One object, or its part in another plane: its box, and how many voxels its mask has."""

    name: str
    box: str
    voxels: int
    version: Annotated[str, Field(description="As long as it is the same, all of the object is, bit for bit.")]
    part_of: Annotated[str | None, Field(description="The object that this is a part of.")] = None


class Standing(BaseModel):
    """Where a session stands. ``number``: of its last interaction."""

    number: int
    objects: list[ObjectInfo]
    current: str | None
    can_undo: bool
    can_redo: bool


class SessionInfo(BaseModel):
    """What a session was made with; times are seconds since 1970."""

    id: str
    image: str
    title: str
    model: str
    parameters: str | dict
    seed: int
    client: str
    created: float
    touched: float


class SessionState(SessionInfo, Standing):
    """A session, and where it stands."""


class Done(Standing):
    """Where an interaction led, and what it cost. ``repeated``: it had been done before, under the same key."""

    kind: str
    changed: bool = True
    repeated: bool = False
    seconds: float = 0
    milliseconds: dict[str, float] = {}
    rounds: list[dict] = []


class Cancelled(BaseModel):
    """Whether there was something to cancel."""

    cancelled: bool


class EntryInfo(BaseModel):
    """One interaction in a session's journal. Arrays in ``request`` are named by their SHA-256."""

    number: int
    kind: str
    request: dict
    summary: dict
    created: float


class MeasureInfo(BaseModel):
    """How large an object is, with its parts. The diameter is the longest distance between the centres of two voxels of
    one slice, ``ends``: of the planes that it was drawn in, else of an axial one."""

    name: str
    voxels: int
    ml: Annotated[float | None, Field(description="Volume; null of a picture, and where the spacing is unknown.")]
    area_mm2: Annotated[float | None, Field(description="Of a picture whose spacing is known.")] = None
    diameter_mm: Annotated[float | None, Field(description="Null where the spacing is unknown.")]
    diameter_px: Annotated[float | None, Field(description="In voxels; where the spacing is unknown.")] = None
    ends: Annotated[
        list[Annotated[list[int], Three]] | None, Field(description="Two voxels, x, y, z; null for an empty mask.")
    ]


class PlaceInfo(BaseModel):
    """Where an object's mask is unsure: ``uncertainty`` in bits, blurred."""

    voxel: Annotated[list[int], Three]
    uncertainty: float


class ServerInfo(BaseModel):
    """What this server offers, and to whom it speaks."""

    version: str
    user: str
    models: list[str]
    presets: list[str]
    upload_formats: list[str]
    download_formats: list[str]
    images: Annotated[bool, Field(description="Whether it has a folder of images to open.")]
    limits: dict[str, float]


# ---- interactions


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
        """uint8, the box's shape; ValueError where the box leaves an image of ``shape`` or the voxels do not fill it.

        No more is unpacked than the box has voxels.
        """
        box = Box.parse(self.box, shape)
        size = prod(box.shape)
        try:
            unpack = zlib.decompressobj()
            voxels = unpack.decompress(base64.b64decode(self.deflate, validate=True), size + 1)
        except (ValueError, zlib.error) as error:
            raise ValueError(f"The mask is not base64 of zlib-deflated bytes: {str(error).rstrip('.')}.") from None
        if len(voxels) != size or not unpack.eof or unpack.unused_data:
            found = "more" if len(voxels) > size else len(voxels)
            raise ValueError(f"The mask's box {box} has {size} voxels, one byte each; {found} were sent.")
        return np.frombuffer(voxels, np.uint8).reshape(box.shape)


class Stroke(Body):
    """A polyline painted with a round brush."""

    points: Annotated[
        list[Annotated[list[FiniteFloat], Three]],
        Field(min_length=1, description="Voxel coordinates x, y, z.", examples=[[[50, 60, 20], [55, 61, 20]]]),
    ]
    label: Annotated[
        Literal[0, 1, 2], Field(description="1 foreground, 2 background, 0 takes away the scribbles it touches.")
    ] = 1
    radius: Annotated[FiniteFloat, Field(ge=0, le=100, description="In units of the finest voxel spacing.")] = 0


class Scribbles(Body):
    """Strokes, or a map of voxels: 1 foreground, 2 background, 0 none. One of the two."""

    strokes: Annotated[list[Stroke] | None, Field(min_length=1)] = None
    labels: Mask | None = None

    @model_validator(mode="after")
    def _one(self) -> Scribbles:
        if (self.strokes is None) == (self.labels is None):
            raise ValueError("scribbles are strokes or labels, one of the two")
        return self


class Begin(Drawn):
    """A box around an object; one plane thick, it is segmented in 2D."""

    box: Place
    name: Name | None = None
    refine: Refine = "auto"
    initial: Annotated[Mask | None, Field(description="A mask to start from; 0 is background.")] = None
    scribbles: Scribbles | None = None


class Correct(Drawn):
    """Scribbles where the current object's mask is wrong."""

    scribbles: Scribbles
    refine: Refine = "auto"


class Resize(Drawn):
    """Another box for the current object."""

    box: Place
    scribbles: Scribbles | None = None
    refine: Refine = "auto"


class Propagate(Body):
    """Another plane for the current object, which has to be in one."""

    to: Annotated[
        int, Field(ge=0, lt=2**31, description="Index of the plane, along the axis that the box is thin along.")
    ]
    name: Name | None = None
    refine: Annotated[Refine, Field(description="auto, crf: one minimum cut; none: the classifier as it is.")] = "auto"


class Named(Body):
    """An object."""

    name: Name


class Rename(Body):
    """An object, and its new name."""

    name: Name
    to: Name


class Submit(Drawn):
    """A mask that a person accepted elsewhere."""

    labels: Mask
    title: Text = ""
