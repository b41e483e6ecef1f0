"""What requests and answers say of images and of the sessions on them."""

from __future__ import annotations

from dataclasses import fields
from typing import Annotated, Any, Literal, get_type_hints

import numpy as np
from pydantic import BaseModel, Field, computed_field, create_model

from bifseg.imaging.orientation import axes_of
from bifseg.method import parameters
from bifseg.server.api.bodies.answers import Standing
from bifseg.server.api.bodies.base import Answer, Body, Name, Text, Three, Two
from bifseg.storage.rows import SessionRow

BOUNDS = {"rounds": 100, "iterations": 1000}  # more than anyone needs, and less than would hold up others
_numbers: dict[str, Any] = {
    field.name: (
        Annotated[get_type_hints(parameters.Parameters)[field.name], Field(le=BOUNDS.get(field.name))],
        field.default,
    )
    for field in fields(parameters.Parameters)
}
_preset: Any = Literal["fast", "paper"]
Parameters = create_model(
    "Parameters",
    __base__=Body,
    __doc__="The method's numbers, by the paper's symbols; those that are left out have the values of the `preset`, or "
    "where none is given the paper's.",
    preset=(_preset, None),
    **_numbers,
)


class Open(Body):
    """A scan in the server's folder of images."""

    path: Annotated[str, Field(min_length=1, max_length=1000, examples=["ward 3/scan.nii.gz"])]
    series: Annotated[Text | None, Field(description="UID of one of several DICOM series.")] = None


class Imported(BaseModel):
    """What a session that comes as a file may say of itself: no more than one that begins here."""

    title: Text
    client: Text
    parameters: Parameters | None = None  # type: ignore[valid-type]
    names: list[Name]


class NewSession(Body):
    """A session on an image that was uploaded or opened before."""

    image: Annotated[Text, Field(description="The image's key.")]
    title: Text = ""
    model: Annotated[Text, Field(description="One of the server's models; see GET /api/v1/server.")] = "default"
    parameters: Annotated[
        Literal["fast", "paper"] | Parameters,  # type: ignore[valid-type]
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

    @computed_field  # type: ignore[prop-decorator]
    @property
    def axes(self) -> Annotated[list[int], Three]:
        """The file axes, from 1, that run most to right, front and head; negative: they run the other way."""
        return list(axes_of(np.array(self.direction)))


class DisplayInfo(Answer):
    """How an image wants to be seen: what its DICOM headers say, nulls where they do not or it has none, and its
    values."""

    low: Annotated[float | None, Field(description="The value that is black.")]
    high: Annotated[float | None, Field(description="The value that is white.")]
    function: Annotated[Literal["LINEAR", "SIGMOID", "TABLE"], Field(description="How grey runs between the two.")]
    table: Annotated[list[int] | None, Field(description="TABLE: greys, 0 to 255, of each number from low to high.")]
    inverted: Annotated[bool, Field(description="Whether large values are dark: PET, MONOCHROME1.")]
    unit: Annotated[str | None, Field(description="Of the values, such as HU or Bq/ml.")]
    suv: Annotated[float | None, Field(description="By what a value is multiplied to become an SUV (body weight).")]
    suv_missing: Annotated[str | None, Field(description="Why a PET series has no SUV.")]
    modality: str | None
    description: Annotated[str | None, Field(description="Of the series.")]
    range: Annotated[list[float], Two, Field(description="The least and the greatest value.")]
    most: Annotated[list[float], Two, Field(description="Between which most values lie: 2nd and 99.5th percentile.")]


class FileInfo(Answer):
    """A file or a folder that may be opened by its path."""

    path: str
    folder: bool
    bytes: int


_kept: dict[str, Any] = {  # of the owner, who asks, nothing is told
    field.name: (get_type_hints(SessionRow)[field.name], ...) for field in fields(SessionRow) if field.name != "owner"
}
SessionInfo = create_model(
    "SessionInfo",
    __base__=Answer,
    __doc__="What a session was made with; times are seconds since 1970.",
    **_kept,
)


class SessionState(SessionInfo, Standing):  # type: ignore[valid-type, misc]
    """A session, and where it stands."""


class ExportInfo(Answer):
    """A format in which objects can be downloaded: which images it suits, and what it is good for."""

    format: Annotated[str, Field(description="What GET /sessions/{id}/labels takes as `format`.")]
    title: str
    help: str
    axes: Annotated[list[int], Field(description="2 for planar images, 3 for volumes.")]
    needs_series: Annotated[bool, Field(description="Whether the image must have come as DICOM.")]


class LabelInfo(Answer):
    """A name for objects that DICOM-SEG has a code for, in any case and with or without a number after it."""

    name: str
    colour: Annotated[str, Field(description="As #rrggbb.", examples=["#e69f00"])]
    code: Annotated[str, Field(description="SNOMED CT.")]
    meaning: str


class ServerInfo(Answer):
    """What this server offers, and to whom it speaks."""

    version: str
    user: str
    models: list[str]
    presets: list[str]
    upload_formats: list[str]
    download_formats: list[str]
    exports: list[ExportInfo]
    labels: list[LabelInfo]
    images: Annotated[bool, Field(description="Whether it has a folder of images to open.")]
    limits: dict[str, float]
