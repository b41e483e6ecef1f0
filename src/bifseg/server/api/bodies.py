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
    WithJsonSchema,
    computed_field,
    create_model,
    model_validator,
)

from bifseg.errors import InvalidInput
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


class Answer(BaseModel):
    """What is answered; all of its fields are always there, and its schema says so."""

    model_config = ConfigDict(json_schema_serialization_defaults_required=True)


class SeriesInfo(Answer):
    """A DICOM series that could be asked for; what its files do not tell is null."""

    uid: Annotated[str, Field(description="Empty where the files have none; then it cannot be asked for by it.")]
    shape: Annotated[list[int], Three, Field(description="Columns, rows, frames.")]
    modality: str | None
    number: str | None
    description: str | None


class Refusal(BaseModel):
    """Why a request was not done. ``detail`` is one sentence for people; programs read the other fields."""

    detail: str
    code: Annotated[
        str | None,
        Field(description="The kind of refusal; several_series: ask again with the uid of one of ``series``."),
    ] = None
    series: Annotated[list[SeriesInfo] | None, Field(description="What there is to choose from.")] = None


Said = TypeVar("Said", bound=BaseModel)


def parsed(model: type[Said], text: str, called: str) -> Said:
    """What JSON in a header or a field says; InvalidInput for another form, naming it ``called``."""
    try:
        return model.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        raise InvalidInput(f"{'.'.join([called, *map(str, first['loc'])])}: {first['msg']}.") from None


# ---- images and sessions

BOUNDS = {"rounds": 100, "iterations": 1000}  # more than anyone needs, and less than would hold up others
Parameters = create_model(
    "Parameters",
    __base__=Body,
    __doc__="The method's numbers, by the paper's symbols; those that are left out have the values of the `preset`, or "
    "where none is given the paper's.",
    preset=(Literal["fast", "paper"], None),
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
    parameters: Annotated[
        Literal["fast", "paper"] | Parameters,
        Field(
            description="A preset; or one but for some numbers: {'preset': 'fast', 'fill_holes': 0}. Switches are "
            "full_resolution (masks follow the scan's own edges), fill_holes and drop_islands (0 leaves them)."
        ),
    ] = "fast"
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0


class ImageInfo(Answer):
    """An image; millimetres, LPS. Column k of ``direction`` is where voxel axis k points."""

    key: str
    shape: Annotated[list[int], Three]
    dtype: str
    spacing: Annotated[list[float], Three]
    origin: Annotated[list[float], Three]
    direction: Annotated[list[Annotated[list[float], Three]], Three]
    planar: bool
    calibrated: Annotated[bool, Field(description="Whether spacing is in millimetres; else only its ratios count.")]
    colours: Annotated[bool, Field(description="Whether a voxel is red, green and blue, each of dtype.")] = False
    bytes: int
    created: float
    dicom: bool

    @computed_field
    @property
    def axes(self) -> Annotated[list[int], Three]:
        """The file axes, from 1, that run most to right, front and head; negative: they run the other way."""
        return list(axes_of(np.array(self.direction)))


class FileInfo(Answer):
    """A file or a folder that may be opened by its path."""

    path: str
    folder: bool
    bytes: int


class ObjectInfo(Answer):
    """One object, or its part in another plane: its box, and how many voxels its mask has."""

    name: str
    box: str
    voxels: int
    version: Annotated[str, Field(description="As long as it is the same, all of the object is, bit for bit.")]
    part_of: Annotated[str | None, Field(description="The object that this is a part of.")] = None


class Standing(Answer):
    """Where a session stands. ``number``: of its last interaction."""

    number: int
    objects: list[ObjectInfo]
    current: str | None
    can_undo: bool
    can_redo: bool


class SessionInfo(Answer):
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


class RoundInfo(BaseModel):
    """What is kept of a round: energies of Eq. 1; losses where the classifier was trained in it."""

    round: int
    energy: float
    foreground: Annotated[int, Field(description="Cells of the working grid.")]
    loss_before: float | None = None
    loss_after: float | None = None


class RoundEvent(BaseModel):
    """What a stream tells of a round while the interaction runs."""

    round: int
    last: bool
    energy: float
    foreground: int
    milliseconds: dict[str, float]


class QueuedEvent(BaseModel):
    """What a stream tells first: how many interactions are computed before this one."""

    queued: int


class Done(Standing):
    """Where an interaction led, and what it cost. ``repeated``: it had been done before, under the same key."""

    kind: str
    changed: bool = True
    repeated: bool = False
    seconds: float = 0
    milliseconds: dict[str, float] = {}
    rounds: Annotated[list[dict], WithJsonSchema({"type": "array", "items": RoundInfo.model_json_schema()})] = []


class Cancellation(Answer):
    """Whether there was something to cancel."""

    cancelled: bool


class EntryInfo(Answer):
    """One interaction in a session's journal. Arrays in ``request`` are named by their SHA-256."""

    number: int
    kind: str
    request: dict
    summary: dict
    created: float


class MeasureInfo(Answer):
    """How large an object is, with its parts. The diameter is the longest distance between the centres of two voxels of
    one slice, ``ends``: of the planes that it was drawn in, else of an axial one."""

    name: str
    voxels: int
    ml: Annotated[float | None, Field(description="Volume; null of a picture, and where the spacing is unknown.")]
    area_mm2: Annotated[float | None, Field(description="Of a picture whose spacing is known.")] = None
    diameter_mm: Annotated[float | None, Field(description="Null where the spacing is unknown.")]
    diameter_px: Annotated[float | None, Field(description="In voxels; where the spacing is unknown.")] = None
    ends: Annotated[
        Annotated[list[Annotated[list[int], Three]], Field(min_length=2, max_length=2)] | None,
        Field(description="Two voxels, x, y, z; null for an empty mask."),
    ]


class PlaceInfo(Answer):
    """Where an object's mask is unsure: ``uncertainty`` in bits, blurred."""

    voxel: Annotated[list[int], Three]
    uncertainty: float


class ExportInfo(Answer):
    """A format in which objects can be downloaded: which images it suits, and what it is good for."""

    format: Annotated[str, Field(description="What GET /sessions/{id}/labels takes as `format`.")]
    title: str
    help: str
    axes: Annotated[list[int], Field(description="2 for planar images, 3 for volumes.")]
    needs_series: Annotated[bool, Field(description="Whether the image must have come as DICOM.")]


class ServerInfo(Answer):
    """What this server offers, and to whom it speaks."""

    version: str
    user: str
    models: list[str]
    presets: list[str]
    upload_formats: list[str]
    download_formats: list[str]
    exports: list[ExportInfo]
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
        """uint8, the box's shape; InvalidInput where the box leaves an image of ``shape`` or the voxels do not fill it.

        No more is unpacked than the box has voxels.
        """
        box = Box.parse(self.box, shape)
        size = prod(box.shape)
        try:
            unpack = zlib.decompressobj()
            voxels = unpack.decompress(base64.b64decode(self.deflate, validate=True), size + 1)
        except (ValueError, zlib.error) as error:
            raise InvalidInput(f"The mask is not base64 of zlib-deflated bytes: {str(error).rstrip('.')}.") from None
        if len(voxels) != size or not unpack.eof or unpack.unused_data:
            found = "more" if len(voxels) > size else len(voxels)
            raise InvalidInput(f"The mask's box {box} has {size} voxels, one byte each; {found} were sent.")
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
            raise InvalidInput("scribbles are strokes or labels, one of the two")
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
