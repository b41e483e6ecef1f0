"""The nnInteractive protocol, version 2, at the root: for its clients in napari, 3D Slicer and MITK as they are.

A client has a lease, which holds an image and at most one session of the store, with one object. All of it is in the
store, so neither side notices that a server was killed and started again. A mask that a client brings along, and that
is the current mask of one of the user's sessions on the same image, is that session: with its scribbles, its adapted
classifier and its undo history.

A reply holds the mask in all boxes that its session ever had, not only where it changed: so a reply that was lost does
no harm, and nobody has to know what the client has seen.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from math import prod
from pathlib import Path
from typing import Annotated, Any, BinaryIO

import numpy as np
from fastapi import APIRouter, Depends, Header, HTTPException, Request, Response
from starlette.concurrency import run_in_threadpool

from bifseg.errors import InvalidInput, NotFound
from bifseg.imaging.image import Image
from bifseg.prompts.interaction import Box, overlap
from bifseg.server.access.guard import User
from bifseg.server.api.bodies.base import parsed
from bifseg.server.api.file_replies import array_reply
from bifseg.server.api.request import Bounded
from bifseg.server.nninteractive.leases import CapacityError, Lease, LeaseGoneError, Leases
from bifseg.server.nninteractive.masks import BINARY, box_of, extent_of, predicted, session_with, unchanged
from bifseg.server.nninteractive.prompts import Mark, PromptScene
from bifseg.server.nninteractive.said import (
    BUFFERS,
    CAPABILITIES,
    BoxPrompt,
    Buffer,
    Given,
    MaskPrompt,
    PointPrompt,
    Scan,
)
from bifseg.server.service import Service, journalled
from bifseg.server.uploads.reading import read_array
from bifseg.server.uploads.receiving import received
from bifseg.server.uploads.work import read_mask
from bifseg.storage.rows import ImageRow

router = APIRouter(
    tags=["nnInteractive"],
    route_class=Bounded,
    responses={
        status: {"description": text}
        for status, text in {
            400: "A prompt that cannot be.", 401: "No token, or a wrong one.", 404: "Nothing of that name.",
            409: "The session is being worked on.", 410: "No lease, or no longer.", 413: "Too large.",
            429: "Too many requests.", 503: "The server is full, busy or stopping.", 507: "The store is full.",
        }.items()
    },
)  # fmt: skip

ARRAY: dict[str, Any] = {
    "requestBody": {"required": True, "content": {BINARY: {"schema": {"type": "string", "format": "binary"}}}}
}
PREDICTION: dict[str, Any] = {
    "response_class": Response,
    "responses": {200: {"description": "Part of the mask.", "content": {BINARY: {}}}},
}

# ---- what every call begins with


def _leases(request: Request) -> Leases:
    return request.app.state.service.leases


Token = Annotated[str, Header(alias="X-Lease-Token")]
Meta = Annotated[str, Header(alias="X-Meta")]


async def _held(request: Request, user: User, token: Token = "") -> Lease:
    """The lease of a client that is there, whatever it does."""
    return await _hear(_leases(request), token, user, act=False)


async def _acting(request: Request, user: User, token: Token = "") -> AsyncIterator[Lease]:
    """The lease of a client whose user does something; what comes at the same time waits."""
    leases = _leases(request)
    async with leases.turn(token):
        yield await _hear(leases, token, user, act=True)


async def _hear(leases: Leases, token: str, user: str, act: bool) -> Lease:
    try:
        return await run_in_threadpool(leases.hear, token, user, act=act)
    except LeaseGoneError as error:
        raise HTTPException(410, str(error)) from None


Held = Annotated[Lease, Depends(_held)]
Acting = Annotated[Lease, Depends(_acting)]


# ---- leases


@router.post("/claim")
async def claim(request: Request, user: User) -> dict:
    """Connect."""
    limits = request.app.state.service.settings.limits
    try:
        token = await run_in_threadpool(_leases(request).claim, user)
    except CapacityError as error:
        raise HTTPException(503, str(error), {"Retry-After": "30"}) from None
    return {
        "lease_token": token,
        "idle_timeout_seconds": limits.idle_seconds,
        "liveness_timeout_seconds": limits.liveness_seconds,
        "max_sessions": limits.leases,
    }


@router.get("/capabilities")
async def capabilities(user: User) -> dict:
    """What prompts the server takes."""
    return CAPABILITIES


@router.post("/heartbeat")
async def heartbeat(request: Request, lease: Held) -> dict:
    """Say that the client is there, without doing anything."""
    return {"remaining_seconds": _remaining(request, lease)}


@router.get("/lease_status")
async def lease_status(request: Request, lease: Held) -> dict:
    """How long the lease lasts if the user does nothing."""
    idle = request.app.state.service.settings.limits.idle_seconds
    return {"remaining_seconds": _remaining(request, lease), "idle_timeout_seconds": idle}


def _remaining(request: Request, lease: Lease) -> float:
    return max(0.0, request.app.state.service.settings.limits.idle_seconds - lease.idle)


@router.post("/release")
async def release(request: Request, user: User, token: Token = "") -> dict:
    """Disconnect; sessions stay in the store."""
    return {"released": await run_in_threadpool(_leases(request).release, token, user)}


# ---- image and buffer


@router.post("/set_image", openapi_extra=ARRAY)
async def set_image(request: Request, lease: Acting, meta: Meta = "{}") -> dict:
    """Upload an image, (channels, x, y, z); a buffer must follow."""
    service: Service = request.app.state.service
    spacing = parsed(Scan, meta, "X-Meta").image_properties.spacing or [1, 1, 1]

    def keep(path: Path) -> tuple[str, tuple[int, ...]]:
        array, shape = read_array(path, service.store.folder, service.settings.limits, template=service.template)
        return service.store.add_image(Image(array, spacing), lease.user), shape

    body = received(request.stream(), service.store, lease.user, ".nnia")
    async with service.receiving.turn(lease.user), body as path:
        key, shape = await service.heavy.run(lease.user, keep, path)
    await run_in_threadpool(_leases(request).note, lease, image=key, session=None, dtype=None)
    return {"original_image_shape": shape}


@router.post("/set_target_buffer")
async def set_target_buffer(request: Request, lease: Acting, buffer: Buffer) -> dict:
    """Say of what type the client's mask is."""
    row = await _image(request, lease)
    if tuple(buffer.shape) != row.shape:
        raise InvalidInput(f"The buffer has the shape {tuple(buffer.shape)}; the image has {row.shape}.")
    if buffer.dtype not in BUFFERS:
        raise InvalidInput(f"The buffer is of {buffer.dtype[:20]!r}; possible are {', '.join(BUFFERS)}.")
    await run_in_threadpool(_leases(request).note, lease, dtype=buffer.dtype)
    return {}


@router.post("/reset_interactions")
async def reset_interactions(request: Request, lease: Acting) -> dict:
    """Let go of the object; its session stays in the store, and its mask brings it back."""
    await run_in_threadpool(_leases(request).note, lease, session=None)
    return {}


@router.post("/set_do_autozoom")
async def set_do_autozoom(lease: Acting) -> dict:
    """Nothing: boxes say how far to look."""
    return {}


async def _image(request: Request, lease: Lease) -> ImageRow:
    if "image" not in lease.facts:
        raise InvalidInput("There is no image yet; set_image comes first.")
    return await run_in_threadpool(request.app.state.service.store.image_row, lease.facts["image"], lease.user)


# ---- prompts


@router.post("/add_bbox_interaction", **PREDICTION)
async def add_bbox(request: Request, lease: Acting, prompt: BoxPrompt) -> Response:
    """A box around the object, or around what does not belong to it; half-open ranges of voxels."""
    pairs = [[round(a), round(b)] for a, b in prompt.bbox_coords]
    return await _prompt(request, lease, prompt.run_prediction, PromptScene.by_box, pairs, prompt.include_interaction)


@router.post("/add_point_interaction", **PREDICTION)
async def add_point(request: Request, lease: Acting, prompt: PointPrompt) -> Response:
    """A voxel of the object, or of what does not belong to it."""
    voxel = [round(at) for at in prompt.coordinates]
    return await _prompt(request, lease, prompt.run_prediction, PromptScene.by_point, voxel, prompt.include_interaction)


@router.post("/add_scribble_interaction", openapi_extra=ARRAY, **PREDICTION)
async def add_scribble(request: Request, lease: Acting, meta: Meta = "{}") -> Response:
    """Voxels of the object, or of what does not belong to it: a mask of the image, or of interaction_bbox."""
    said = parsed(MaskPrompt, meta, "X-Meta")
    mark = await _mark(request, lease, said.interaction_bbox)
    return await _prompt(request, lease, said.run_prediction, PromptScene.by_scribble, mark, said.include_interaction)


@router.post("/add_lasso_interaction", openapi_extra=ARRAY, **PREDICTION)
async def add_lasso(request: Request, lease: Acting, meta: Meta = "{}") -> Response:
    """A line around the object, or what is within: a mask of the image, or of interaction_bbox."""
    said = parsed(MaskPrompt, meta, "X-Meta")
    mark = await _mark(request, lease, said.interaction_bbox)
    return await _prompt(request, lease, said.run_prediction, PromptScene.by_lasso, mark, said.include_interaction)


@router.post("/add_initial_seg_interaction", openapi_extra=ARRAY, **PREDICTION)
async def add_initial_seg(request: Request, lease: Acting, meta: Meta = "{}") -> Response:
    """A mask that the client has: a session of this user goes on if it is the mask of one, else one begins."""
    said = parsed(Given, meta, "X-Meta")
    mark = await _mark(request, lease, None, may_be_empty=True)
    found = None if mark is None else await run_in_threadpool(_session_of, request, lease, mark)
    lease = await run_in_threadpool(_leases(request).note, lease, session=found)
    if mark is None:
        return unchanged()
    if found is None:
        return await _prompt(request, lease, said.run_prediction, PromptScene.by_mask, mark)
    return await predict(request, lease) if said.run_prediction else unchanged()


@router.post("/undo", **PREDICTION)
async def undo(request: Request, lease: Acting) -> Response:
    """Take back the last prompt."""
    service: Service = request.app.state.service
    session = await _session(request, lease)
    if session is None or not (await service.act(lease.user, session, {"kind": "undo"}))["changed"]:
        return unchanged()
    return await _reply(request, lease)


@router.post("/predict", **PREDICTION)
async def predict(request: Request, lease: Acting) -> Response:
    """Compute what prompts that came without a prediction have left to compute."""
    service: Service = request.app.state.service
    session = await _session(request, lease)
    if session is None or await run_in_threadpool(box_of, service.store, session) is None:
        return unchanged()
    await service.act(lease.user, session, {"kind": "refine"})
    return await _reply(request, lease)


async def _prompt(request: Request, lease: Lease, run: bool, prompt: Callable[..., dict], *said: object) -> Response:
    """Do what a prompt says: an interaction of the lease's session, which begins here where there is none."""
    service: Service = request.app.state.service
    row, session = await _image(request, lease), await _session(request, lease)
    if "dtype" not in lease.facts:
        raise InvalidInput("There is no buffer yet; set_target_buffer comes before the first prompt.")

    def interaction() -> dict:
        scene = PromptScene(row.shape, row.spacing, None if session is None else box_of(service.store, session))
        return journalled(prompt(scene, *said), service.store)

    marked = max((one.mask.size for one in said if isinstance(one, Mark)), default=0)
    told = await service.lane(marked).run(lease.user, interaction)
    asked = {"refine": "auto" if run else "none", **told}
    if session is None:
        session = await service.create(row.key, lease.user, client="nninteractive")
        lease = await run_in_threadpool(_leases(request).note, lease, session=session)
    await service.act(lease.user, session, asked)
    return await _reply(request, lease) if run else unchanged()


async def _mark(
    request: Request, lease: Lease, pairs: list[list[float]] | None, may_be_empty: bool = False
) -> Mark | None:
    """The voxels that a mask in the body marks; ``pairs``: the ranges it fills, where it is not the whole image."""
    row, service = await _image(request, lease), request.app.state.service
    start, stop = zip(*(map(round, pair) for pair in pairs), strict=True) if pairs else ((0, 0, 0), row.shape)

    def read(path: Path) -> Mark | None:
        mask = read_mask(path, service.store.folder, service.settings.limits, prod(row.shape), service.template)
        if mask.shape != tuple(b - a for a, b in zip(start, stop, strict=True)):
            where = f"interaction_bbox {pairs}" if pairs else f"the image {row.shape}"
            raise InvalidInput(f"The mask has the shape {mask.shape}, which does not fit {where}.")
        here, there = overlap(Box((0, 0, 0), row.shape), Box(start, stop))
        if may_be_empty and not mask.any():
            return None
        return Mark.of(mask[there], [part.start for part in here])

    body = received(request.stream(), service.store, lease.user, ".nnia")
    async with service.receiving.turn(lease.user), body as path:
        return await service.lane(prod(row.shape)).run(lease.user, read, path)


async def _session(request: Request, lease: Lease) -> str | None:
    """The lease's session; none where it has none yet, or the user deleted it."""
    store, id = request.app.state.service.store, lease.facts.get("session")
    try:
        return id and (await run_in_threadpool(store.session, id, lease.user)).id
    except NotFound:
        return None


def _session_of(request: Request, lease: Lease, mark: Mark) -> str | None:
    others = _leases(request).sessions(but=lease)
    return session_with(request.app.state.service.store, lease.user, lease.facts["image"], mark, but=others)


async def _reply(request: Request, lease: Lease) -> Response:
    service: Service = request.app.state.service
    session, dtype = lease.facts["session"], np.dtype(lease.facts["dtype"])
    box = await run_in_threadpool(extent_of, service.store, session)
    voxels = prod(box.shape)

    def write(file: BinaryIO) -> dict[str, str]:
        about, pieces = predicted(service.store, session, box, dtype)
        file.writelines(pieces)
        return about

    return await array_reply(service.lane(voxels), service, lease.user, voxels * dtype.itemsize, BINARY, write)
