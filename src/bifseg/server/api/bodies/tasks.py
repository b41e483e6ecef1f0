"""What requests and answers say of tasks: objects of one kind, and what was learnt from them."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from bifseg.server.api.bodies.base import Answer, Body, Name, TaskName


class NewTask(Body):
    """A task that has no object yet."""

    name: TaskName


class Finished(Body):
    """An object of a session that is right everywhere; one that was added before is replaced."""

    session: Annotated[str, Field(max_length=100)]
    object: Name


class Chosen(Body):
    """Which version; null: all of them, so that new objects begin with the shipped network."""

    version: Annotated[int | None, Field(ge=1)] = None


class LearntInfo(Answer):
    """A version: what a task learnt at one moment. Dice, 0 to 1, of first masks of objects that were left out."""

    version: int
    dimension: Annotated[int, Field(description="2: boxes in planes; 3: in volumes.")]
    objects: int
    patients: int
    used: Annotated[bool, Field(description="Whether it proved better than the shipped network; else that is used.")]
    network: Annotated[float, Field(description="How far the network went from the shipped one, 0 to 1.")]
    shape: Annotated[float, Field(description="How much counts where in their boxes the finished objects lie, 0 to 1.")]
    reach: Annotated[str, Field(description="How far strokes count: short, shorter, or as ever, which is empty.")]
    before: Annotated[float | None, Field(description="By the shipped network; null with too few patients.")]
    gain: Annotated[float, Field(description="How much more it is by what was learnt.")]
    rejected: bool


class FinishedInfo(Answer):
    """A finished object that a task remembers, and where it came from; null where that is not known."""

    digest: str
    dimension: int
    box: str
    session: str | None
    object: str | None
    version: Annotated[str | None, Field(description="Of the object, when it was added.")]
    title: Annotated[str | None, Field(description="Of its session; or the file.")]


class TaskInfo(Answer):
    """A task."""

    name: str
    objects: Annotated[int, Field(description="Finished ones that it remembers.")]
    learning: Annotated[bool, Field(description="Whether it has objects that it is still learning from.")]
    in_use: Annotated[list[LearntInfo], Field(description="What new objects begin with, in 2D and in 3D.")]


class TaskState(TaskInfo):
    """A task with its objects and all versions, the oldest first."""

    finished: list[FinishedInfo]
    versions: list[LearntInfo]
