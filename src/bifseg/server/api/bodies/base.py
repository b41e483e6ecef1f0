"""What all bodies of requests and answers have in common; those of our own API are its OpenAPI documentation, too.

See `images`, `drawing` and `answers` beside it for what they say of images and sessions, of drawing, and of results.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from bifseg.errors import InvalidInput

HIDDEN = (  # what is not shown, or turns others around; but the joiners of Persian, Indian scripts and emoji
    r"\x00-\x1f\x7f-\x9f\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f"
    r"\u2800\u3164\ufeff\uffa0\ufff9-\ufffb\U000e0000-\U000e007f"
)
Text = Annotated[str, Field(max_length=200, pattern=f"^[^{HIDDEN}]*$")]
SEEN = rf"^[^{HIDDEN}]*[^{HIDDEN}\s\u200c\u200d][^{HIDDEN}]*$"
Name = Annotated[str, Field(min_length=1, max_length=64, pattern=SEEN, examples=["object 1"])]
TaskName = Annotated[str, Field(min_length=1, max_length=80, pattern=SEEN, examples=["left kidney, CT"])]
Place = Annotated[
    str,
    Field(
        max_length=100,
        description="Half-open ranges of voxels along x, y, z, in the file's order; a single index is a plane.",
        examples=["40:80,52:90,12:40"],
    ),
]
Three = Field(min_length=3, max_length=3)  # x, y, z
Two = Field(min_length=2, max_length=2)


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
