"""What answers and streams tell of where a session stands, of what was done, and of what came of it."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, Field, WithJsonSchema

from bifseg.server.api.bodies.base import Answer, Three


class PriorInfo(Answer):
    """The version of a task that an object began with."""

    task: str
    version: int


class TidyInfo(BaseModel):
    """An object's rules: shares of its mask, 0 where nothing is done. See the parameters of these names."""

    fill_holes: float
    drop_islands: float


class ObjectInfo(Answer):
    """One object, or its part in another plane: its box, and how many voxels its mask has."""

    name: str
    box: str
    voxels: int
    version: Annotated[str, Field(description="As long as it is the same, all of the object is, bit for bit.")]
    part_of: Annotated[str | None, Field(description="The object that this is a part of.")] = None
    prior: Annotated[
        PriorInfo | None, Field(description="What it began with; null: the network, which learnt from no task.")
    ] = None
    tidy: Annotated[
        TidyInfo | None, Field(description="What becomes of its holes and islands; null: an older version made it.")
    ] = None


class Standing(Answer):
    """Where a session stands. ``number``: of its last interaction."""

    number: int
    objects: list[ObjectInfo]
    current: str | None
    can_undo: bool
    can_redo: bool
    undoes: Annotated[int | None, Field(description="The number of the interaction that undo takes back.")]


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


class ChangedEvent(BaseModel):
    """What a session's events tell whenever it changed: the number of its last interaction."""

    number: int


class Done(Standing):
    """Where an interaction led, and what it cost. ``repeated``: it had been done before, under the same key."""

    kind: str
    changed: bool = True
    repeated: bool = False
    seconds: float = 0
    milliseconds: dict[str, float] = Field({})
    rounds: Annotated[list[dict], WithJsonSchema({"type": "array", "items": RoundInfo.model_json_schema()})] = Field([])


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
