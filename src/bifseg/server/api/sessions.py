"""Sessions: one image each, and all that was done on it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import StreamingResponse
from starlette.concurrency import run_in_threadpool

from bifseg.io.formats import FORMATS, upload_endings
from bifseg.io.labels import LABELS
from bifseg.loading import version
from bifseg.method.parameters import PRESETS
from bifseg.server import views
from bifseg.server.access.guard import User
from bifseg.server.api.bodies.answers import EntryInfo
from bifseg.server.api.bodies.images import NewSession, ServerInfo, SessionInfo, SessionState
from bifseg.server.api.file_replies import FileReply, called, file_reply
from bifseg.server.api.request import PREFIX, ROUTER, Id, Owned, Served, listed
from bifseg.server.api.versions import Expected, etag
from bifseg.server.service import Service
from bifseg.server.uploads.receiving import received
from bifseg.server.uploads.work import export_archive, import_archive
from bifseg.storage.rows import ImageRow, SessionRow

if TYPE_CHECKING:
    from bifseg.imaging.image import Image

router = APIRouter(prefix=PREFIX, tags=["sessions"], **ROUTER)
SAID = ("title", "help", "axes", "needs_series")  # of a format, to who exports
BATCH = 20  # entries of a journal, each with up to 20,000 points, that are read at once
ARCHIVE = {"application/zip": {"schema": {"type": "string", "format": "binary"}}}


@router.get("/server", tags=["server"], response_model=ServerInfo)
def server(service: Served, user: User) -> dict:
    """What this server offers, and to whom it speaks."""
    settings = service.settings
    return {
        "version": version("bifseg"),
        "user": user,
        "models": settings.known_models,
        "presets": list(PRESETS),
        "upload_formats": list(upload_endings()),
        "download_formats": list(views.media_types()),
        "exports": [
            {"format": next(iter(entry.written))[1:], **{name: getattr(entry, name) for name in SAID}}
            for entry in FORMATS.values()
            if entry.help
        ],
        "labels": [
            {"name": label.name, "colour": label.colour, "code": label.type[0], "meaning": label.type[1]}
            for label in LABELS
        ],
        "images": settings.images is not None,
        "limits": vars(settings.limits),
    }


@router.post("/sessions", status_code=201, response_model=SessionState)
async def create(body: NewSession, service: Served, user: User, response: Response) -> dict:
    """Begin a session on an image."""
    options = body.model_dump(exclude={"image"}, exclude_unset=True)
    id = await service.create(body.image, user, **options)
    return _tagged(response, await run_in_threadpool(_state, service, id))


@router.get("/sessions", response_model=list[SessionInfo])  # type: ignore[valid-type]
async def sessions(service: Served, user: User) -> Response:
    """All sessions of yours, the last used first."""
    return await listed(service, user, SessionInfo, lambda: service.store.sessions(user))


@router.post(
    "/sessions/import",
    status_code=201,
    response_model=SessionState,
    openapi_extra={"requestBody": {"required": True, "content": ARCHIVE}},
)
async def import_session(request: Request, service: Served, user: User, response: Response) -> dict:
    """Take in a session that was exported, here or elsewhere: send the archive as the body."""
    store, limits = service.store, service.settings.limits

    def take(path: Path) -> dict:
        service.check_sessions(user)
        return _state(service, import_archive(store, path, user, limits, service.template))

    async with service.receiving.turn(user), received(request.stream(), store, user, ".zip") as path:
        return _tagged(response, await service.heavy.run(user, take, path))


@router.get("/sessions/{id}", response_model=SessionState)
def session(id: Id, service: Served, user: User, response: Response) -> dict:
    """A session, and where it stands."""
    row = service.session_to_see(id, user)
    return _tagged(response, row.as_dict() | service.store.history(id).summary())


@router.delete("/sessions/{id}", status_code=204)
def delete(session: Owned, service: Served, expected: Expected) -> Response:
    """Delete a session and its masks, for good."""
    service.store.delete(session.id, expected=expected)
    return Response(status_code=204)


@router.get("/sessions/{id}/history", response_model=list[EntryInfo])
async def history(
    session: Owned, service: Served, after: Annotated[int, Query(ge=0, lt=2**63)] = 0
) -> StreamingResponse:
    """All interactions in their order; ``after``: only those that came after one."""
    store, last = service.store, (await run_in_threadpool(service.store.history, session.id)).number

    def pieces() -> Iterator[bytes]:
        number, begun = after, False
        while number < last:
            entries = store.entries(session.id, number, BATCH)
            for entry in (entry for entry in entries if entry.number <= last):
                yield (b"," if begun else b"[") + EntryInfo(**vars(entry)).model_dump_json().encode()
                begun = True
            number = entries[-1].number if entries else last
        yield b"]" if begun else b"[]"

    parts = service.quick.pieces(session.owner, pieces())
    return StreamingResponse(parts, media_type="application/json", headers={"ETag": etag(last)})


@router.get("/sessions/{id}/report")
async def report(session: Owned, service: Served, response: Response) -> dict:
    """What was done and what it cost: models, parameters, times, energies; and how large the objects are."""
    row = await run_in_threadpool(service.store.image_row, session.image)
    return await service.lane(row.voxels).run(session.owner, _report, session, row, service, response)


def _report(session: SessionRow, row: ImageRow, service: Service, response: Response) -> dict:
    history = service.store.history(session.id)
    response.headers["ETag"] = etag(history.number)
    return {
        "version": version("bifseg"),
        "session": SessionInfo(**session.as_dict()).model_dump(),
        "image": {"shape": row.shape, "spacing_mm": row.spacing if row.calibrated else None},
        "objects": service.store.load(history.state).report(cast("Image", row)),
    }


@router.get("/sessions/{id}/export", response_class=Response, responses={200: {"content": ARCHIVE}})
async def export_session(session: Owned, service: Served) -> Response:
    """The whole session as one file: its image, every interaction, every mask."""

    def write() -> FileReply:
        file = export_archive(service.store, session.id, service.settings.limits, service.template)
        return FileReply(file, "application/zip", called(f"{session.id}.zip"))

    return await file_reply(service.heavy, service, session.owner, write)


def _tagged(response: Response, state: dict) -> dict:
    response.headers["ETag"] = etag(state["number"])
    return state


def _state(service: Served, id: str) -> dict:
    return service.store.session(id).as_dict() | service.store.history(id).summary()
