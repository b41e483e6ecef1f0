"""Results: what a session shows of its objects, as voxels or as files."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter, Query, Request, Response
from starlette.concurrency import run_in_threadpool

from bifseg.server import views
from bifseg.server.access.guard import User
from bifseg.server.access.turns import Turns
from bifseg.server.api.bodies.answers import MeasureInfo, PlaceInfo
from bifseg.server.api.file_replies import FileReply, array_reply, called, file_reply
from bifseg.server.api.request import PREFIX, ROUTER, Id, Owned, Served
from bifseg.server.api.versions import TAGGED, Expected, etag, known
from bifseg.server.service import Service
from bifseg.server.views import RAW, Format, View, What, media_types
from bifseg.session.uncertain_places import places
from bifseg.storage.journal import History, check_current
from bifseg.storage.rows import ImageRow

router = APIRouter(prefix=PREFIX, tags=["results"], **ROUTER)
RESULT: dict[str, Any] = {
    "response_class": Response,
    "responses": {
        200: {
            "description": (
                "raw: the voxels in the box, C order (z runs fastest), little-endian; else a file of the whole image."
            ),
            "content": {media: {"schema": {"type": "string", "format": "binary"}} for media in media_types().values()},
            "headers": {
                "X-Box": {"schema": {"type": "string"}, "description": "raw: the box they fill."},
                "X-Shape": {
                    "schema": {"type": "string"},
                    "description": "raw: voxels along x, y and z, then colours.",
                },
                "X-Dtype": {"schema": {"type": "string"}, "description": "raw: a number type of NumPy."},
                **TAGGED,
                "X-Number": {"schema": {"type": "integer"}, "description": "The interaction they are of."},
            },
        }
    },
}


Object = Annotated[str | None, Query(max_length=64, description="Its name; else the current one.")]


@router.get("/sessions/{id}/measures", response_model=list[MeasureInfo])
async def measures(session: Owned, service: Served, response: Response) -> list[dict]:
    """How large each object is: its volume, and its longest diameter within one slice."""

    def measure() -> list[dict]:
        history = service.store.history(session.id)
        state = service.store.load(history.state)
        response.headers["ETag"] = etag(history.number)
        about = {"planar": row.planar, "calibrated": row.calibrated}
        return [{"name": name, **vars(m)} for name, m in state.measures(row.spacing, row.direction, **about).items()]

    row = await run_in_threadpool(service.store.image_row, session.image)
    return await service.lane(row.voxels).run(session.owner, measure)


@router.get("/sessions/{id}/places", response_model=list[PlaceInfo])
async def unsure(session: Owned, service: Served, response: Response, object: Object = None) -> list[dict]:
    """Where an object's mask is least sure, worst first: at most eight places that are worth a look."""

    history = await run_in_threadpool(service.store.history, session.id)

    def look() -> list[dict]:
        segment = views.segment_of(service.store.load(history.state), object)
        response.headers["ETag"] = etag(str(history.version(segment.name)))
        uncertain = places(segment.uncertainty(), service.store.image_row(session.image).spacing)
        starts = np.array(segment.box.start)
        return [{"voxel": (starts + voxel).tolist(), "uncertainty": bits} for voxel, bits in uncertain]

    return await service.lane(history.voxels(object)).run(session.owner, look)


@router.get("/sessions/{id}/{what}", **RESULT)
async def result(
    request: Request,
    id: Id,
    user: User,
    service: Served,
    expected: Expected,
    what: What,
    object: Object = None,
    format: Format = "raw",
) -> Response:
    """One object's mask (1), scribbles (1 foreground, 2 background), probability, uncertainty (bits) or weights w(i);
    or the labels of all objects, k the k-th with its parts. DICOM-SEG (dcm), RTSTRUCT (rtstruct.dcm) and STL hold
    labels or a mask.

    The ETag is the object's version, of labels the session's; with it as If-None-Match the answer is 304 where it is
    the same still, as If-Match 412 where it is no longer.
    """
    row, history = await run_in_threadpool(_standing, service, id, user)  # once: each time costs a wait for a turn
    version = history.number if what == "labels" else history.version(object)
    weak = "W/" if format.endswith("dcm") else ""  # each DICOM file has UIDs of its own
    headers = {"X-Number": str(history.number)} | ({} if version is None else {"ETag": weak + etag(version)})
    check_current(history, expected, "" if what == "labels" else object)
    if version is not None and known(request, str(version)):
        return Response(status_code=304, headers=headers)

    def view() -> tuple[ImageRow, View]:
        return row, views.view(service.store.load(history.state), what, object, row.shape)

    each = 2 if what == "labels" else 4 if what in ("probability", "uncertainty", "weights") else 1
    voxels = row.voxels if what == "labels" else history.voxels(object)
    response = await answer(service.lane(voxels), service, user, view, format, each * voxels)
    response.headers.update(headers)
    return response


def _standing(service: Service, id: str, user: str) -> tuple[ImageRow, History]:
    session = service.session(id, user)
    return service.store.image_row(session.image), service.store.history(session.id)


async def answer(
    lane: Turns, service: Service, user: str, view: Callable[[], tuple[ImageRow, View]], format: Format, size: int
) -> Response:
    """What there is to see, as voxels or as a file, when it is the user's turn in a lane; ``size``: bytes of it, or
    a few more."""
    if format == RAW:
        return await array_reply(
            lane, service, user, size, media_types()[RAW], lambda file: views.write_raw(view()[1], file)
        )

    def write() -> FileReply:
        row, shown = view()
        file = views.file(service, row, shown, format)
        return FileReply(file, media_types()[format], called(f"{shown.title}.{format}"))

    return await file_reply(service.heavy, service, user, write)
