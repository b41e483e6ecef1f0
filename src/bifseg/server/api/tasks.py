"""Tasks: finished objects of one kind, and what new ones begin with. A user sees their own alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, TypeVar

from fastapi import APIRouter, Path, Query, Response
from starlette.concurrency import run_in_threadpool

from bifseg.errors import InvalidInput, NotFound
from bifseg.io.thumbnail import SIDE, png
from bifseg.server.access.guard import User
from bifseg.server.access.turns import Turns
from bifseg.server.api.bodies.tasks import Chosen, Finished, FinishedInfo, LearntInfo, NewTask, TaskInfo, TaskState
from bifseg.server.api.file_replies import FileReply, called, file_reply
from bifseg.server.api.images import PNG
from bifseg.server.api.request import BYTES, PREFIX, ROUTER, Served
from bifseg.server.api.versions import Expected
from bifseg.server.service import Service
from bifseg.session.picture import picture, shape_picture
from bifseg.tasks.example import About
from bifseg.tasks.priors import mean_shape_of
from bifseg.tasks.store import Task
from bifseg.tasks.version import Version

router = APIRouter(prefix=PREFIX, tags=["tasks"], **ROUTER)
Named = Annotated[str, Path(max_length=80, description="The task's name.")]
Result = TypeVar("Result")
Digest = Annotated[str, Path(max_length=64)]


@router.get("/tasks", response_model=list[TaskInfo])
async def tasks(service: Served, user: User) -> list[TaskInfo]:
    """All tasks of yours, by name."""

    def all_of() -> list[TaskInfo]:
        own = service.tasks.of(user)
        return [TaskInfo(**_info(service, own.task(name))) for name in own.names()]

    return await _run(service.quick, user, all_of)


@router.post("/tasks", status_code=201, response_model=TaskState)
async def begin_task(body: NewTask, service: Served, user: User) -> TaskState:
    """Begin a task."""
    return await _run(service.quick, user, lambda: _state(service, service.tasks.begin(user, body.name)))


@router.get("/tasks/{task}", response_model=TaskState)
async def task(task: Named, service: Served, user: User) -> TaskState:
    """A task: its objects, and what it learnt."""
    return await _run(service.quick, user, lambda: _state(service, service.tasks.of(user).task(task)))


@router.delete("/tasks/{task}", status_code=204)
async def delete_task(task: Named, service: Served, user: User) -> Response:
    """Delete a task with its objects and versions, for good; sessions keep their masks, and what those began with."""
    await _run(service.quick, user, lambda: service.tasks.of(user).delete(task))
    return Response(status_code=204)


@router.post("/tasks/{task}/objects", status_code=201, response_model=TaskState)
async def add_finished(task: Named, body: Finished, service: Served, user: User, expected: Expected) -> TaskState:
    """Add an object of a session that is finished: the part of the scan in its box, and its mask, are copied.

    Of an object in many slices, up to five are, spread from the first to the last. The task learns from them in the
    background. An object, or slice, that was added before is replaced.
    """
    session = await run_in_threadpool(service.store.session, body.session, user)

    def add() -> None:
        service.tasks.accept(session, task, body.object, expected)

    await _run(service.heavy, user, add)  # to copy and pack a part of the scan takes seconds
    service.learner.wake()
    return await _run(service.quick, user, lambda: _state(service, service.tasks.of(user).task(task)))


@router.delete("/tasks/{task}/objects/{digest}", response_model=TaskState)
async def remove_finished(task: Named, digest: Digest, service: Served, user: User) -> TaskState:
    """Take an object out of a task; what was learnt from it is used no more, and the task learns anew."""

    await _run(service.quick, user, lambda: service.tasks.of(user).task(task).remove(digest))
    service.learner.wake()
    return await _run(service.quick, user, lambda: _state(service, service.tasks.of(user).task(task)))


@router.get(
    "/tasks/{task}/objects/{digest}/picture",
    response_class=Response,
    responses={200: {"description": "PNG.", "content": PNG}},
)
async def picture_of_finished(task: Named, digest: Digest, service: Served, user: User) -> Response:
    """The object in its box, with its outline: a small picture, to know it again by."""

    def look() -> tuple[Task, int]:
        own = service.tasks.of(user).task(task)
        return own, own.voxels(digest)

    own, voxels = await _run(service.quick, user, look)

    def draw() -> bytes:
        example = own.example(digest)
        box = example.box_in_image
        return png(picture(example.image, example.mask_in_image, box, SIDE, example.box.plane))

    return Response(await _run(service.lane(voxels), user, draw), media_type="image/png")


@router.get(
    "/tasks/{task}/versions/{version}/shape",
    response_class=Response,
    responses={200: {"description": "PNG.", "content": PNG}},
)
async def picture_of_shape(task: Named, version: Annotated[int, Path(ge=1)], service: Served, user: User) -> Response:
    """Where in their boxes objects lie, by the finished masks: in 3D the middle planes, axial, coronal, sagittal."""

    def draw() -> bytes:
        own = service.tasks.of(user).task(task)
        shape = mean_shape_of(own, own.version(version))
        if shape is None:
            raise NotFound(f"In version {version} of the task {task!r} the place of its objects does not count.")
        return png(shape_picture(shape, SIDE))

    return Response(await _run(service.quick, user, draw), media_type="image/png")


@router.post("/tasks/{task}/reject", response_model=TaskState)
async def reject_learnt(task: Named, body: Chosen, service: Served, user: User) -> TaskState:
    """Use a version no more, but the one before it; or none, but the shipped network, until something new is learnt."""

    def reject() -> TaskState:
        own = service.tasks.of(user).task(task)
        for version in own.versions() if body.version is None else [own.version(body.version)]:
            own.reject(version.number)
        return _state(service, own)

    return await _run(service.quick, user, reject)


@router.post("/tasks/{task}/restore", response_model=TaskState)
async def restore_learnt(task: Named, body: Chosen, service: Served, user: User) -> TaskState:
    """Use a version again that was rejected; or all of them, so that the newest is used."""

    def restore() -> TaskState:
        own = service.tasks.of(user).task(task)
        if body.version is not None:
            own.restore(body.version)
        else:
            gone = own.taken_out
            for version in own.versions():
                if not gone & set(version.examples):
                    own.restore(version.number)
        return _state(service, own)

    return await _run(service.quick, user, restore)


@router.get("/tasks/{task}/model", response_class=Response, responses={200: {"content": BYTES}})
async def model_of_task(
    task: Named, service: Served, user: User, dimension: Annotated[int, Query(ge=2, le=3)]
) -> Response:
    """The network with what was learnt, as a model for every command; it holds weights and no image."""

    def read() -> FileReply:
        own = service.tasks.of(user).task(task)
        version = own.exportable(dimension)
        if version is None:
            raise InvalidInput(f"The task {task!r} uses the shipped network in {dimension}D; there is nothing to save.")
        path = own.checked_weights(version)
        name = f"task-v{version.number}-{dimension}d.safetensors"
        return FileReply(path.open("rb"), next(iter(BYTES)), called(name))

    return await file_reply(service.quick, service, user, read)


async def _run(lane: Turns, user: str, work: Callable[[], Result]) -> Result:
    """What ``work`` returns; NotFound where files were deleted under its hands."""

    def tried() -> Result:
        try:
            return work()
        except FileNotFoundError:
            raise NotFound("The task was deleted, or changed, meanwhile; look again.") from None

    return await lane.run(user, tried)


def _state(service: Service, task: Task) -> TaskState:
    finished, versions = [_finished(about) for about in task.remembered()], [_learnt(v) for v in task.versions()]
    return TaskState(**_info(service, task), finished=finished, versions=versions)


def _info(service: Service, task: Task) -> dict:
    used = [_learnt(version) for version in map(task.current, (2, 3)) if version is not None]
    learning = service.learner.busy and any(task.pending(dimension) for dimension in (2, 3))
    return {"name": task.name, "objects": len(task.remembered()), "learning": learning, "in_use": used}


def _finished(about: About) -> FinishedInfo:
    told = about.source
    return FinishedInfo(
        digest=about.digest, dimension=about.dimension, box=str(about.box), session=told.get("session"),
        object=told.get("object"), version=told.get("version"), title=told.get("title") or told.get("image"),
    )  # fmt: skip


def _learnt(version: Version) -> LearntInfo:
    return LearntInfo(
        version=version.number, dimension=version.dimension, objects=len(version.examples), patients=version.patients,
        used=version.better, network=version.strength, shape=version.shape, reach=version.reach,
        before=version.before, gain=version.gain, rejected=version.rejected,
    )  # fmt: skip
