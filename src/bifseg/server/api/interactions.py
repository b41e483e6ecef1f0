"""Interactions: each an answer when it is done, or a stream of server-sent events while it runs.

A stream (``Accept: text/event-stream``) has the events ``queued`` (how many are before it), ``round`` for each round,
and at its end ``done`` with what the JSON answer holds, or ``error`` with {"status", "detail"}. Who hangs up cancels;
without a stream the interaction is finished all the same. The version that it led to is ``number``, in quotes the ETag.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from math import prod
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Request, Response
from fastapi.responses import StreamingResponse
from pydantic import BaseModel

from bifseg.errors import InvalidInput
from bifseg.prompts.first_scribbles import box_of_strokes
from bifseg.prompts.interaction import Box, Stroke
from bifseg.prompts.painting import check_effort
from bifseg.server.access.guard import User
from bifseg.server.api.bodies.answers import Cancellation, Done, QueuedEvent, RoundEvent
from bifseg.server.api.bodies.drawing import (
    Begin,
    Correct,
    Interpolate,
    Mask,
    Named,
    Propagate,
    Rename,
    Resize,
    Submit,
    Tidy,
)
from bifseg.server.api.request import PREFIX, ROUTER, Owned, Served
from bifseg.server.api.streams import STILL_HERE, STREAM, documented, event, streamed
from bifseg.server.api.versions import TAGGED, Expected, etag
from bifseg.server.service import Service
from bifseg.storage.rows import SessionRow

router = APIRouter(prefix=PREFIX, tags=["interactions"], **ROUTER)
HEARTBEAT = 10.0  # seconds of silence after which a stream says that it is alive
WATCH = 2.0  # seconds after which it is asked again whether the token is valid
PROGRESS = documented(QueuedEvent, RoundEvent)
DONE: dict[str, Any] = {
    "response_model": Done,
    "responses": {200: {"content": PROGRESS, "description": "Done; or its progress.", "headers": TAGGED}},
}


Answered = dict | StreamingResponse  # what is done, or its progress


@dataclass(frozen=True)
class Act:
    """How an interaction on the session in the path is done and answered."""

    request: Request
    session: SessionRow
    service: Service
    user: str
    response: Response
    expected: list[str] | None
    streams: bool
    key: str | None

    async def __call__(self, kind: str, body: BaseModel | None = None) -> Answered:
        interaction: dict[str, Any] = {"kind": kind}
        if body is not None:
            interaction |= await self.service.storing.run(self.user, _stored, self.service, self.session, body)
        if not self.streams:
            done = await self._done(interaction)
            self.response.headers["ETag"] = etag(done["number"])
            return done
        return streamed(self._events(interaction))

    async def _done(self, interaction: dict, progress: Callable[[dict], None] | None = None) -> dict:
        return await self.service.act(
            self.user, self.session.id, interaction, self.key, progress=progress, expected=self.expected
        )

    async def _events(self, interaction: dict) -> AsyncIterator[str]:
        news: asyncio.Queue[dict | None] = asyncio.Queue()
        work = asyncio.create_task(self._done(interaction, news.put_nowait))
        work.add_done_callback(lambda _: news.put_nowait(None))
        try:
            said = asked = time.monotonic()
            while True:
                if time.monotonic() - asked >= WATCH:
                    if not await self.request.state.still():
                        yield event("error", {"status": 401, "detail": "The token was revoked meanwhile."})
                        return
                    asked = time.monotonic()
                try:
                    told = await asyncio.wait_for(news.get(), WATCH)
                except asyncio.TimeoutError:  # not the builtin before Python 3.11
                    if time.monotonic() - said >= HEARTBEAT:
                        said = time.monotonic()
                        yield STILL_HERE
                    continue
                if told is None:
                    break
                said = time.monotonic()
                yield event("queued" if "queued" in told else "round", told)
            try:
                done = Done(**work.result()).model_dump()
            except Exception as error:
                yield event("error", await self._refusal(error))
            else:
                yield event("done", done)
        finally:
            work.cancel()
            with contextlib.suppress(Exception, asyncio.CancelledError):
                await work

    async def _refusal(self, error: Exception) -> dict:
        """What the server would have answered, had it not begun to stream."""
        handlers = self.request.app.exception_handlers
        handler = next((handlers[kind] for kind in type(error).__mro__ if kind in handlers), None)
        if handler is None:
            raise error
        response = await handler(self.request, error)
        return {"status": response.status_code, **json.loads(response.body)}


def _stored(service: Service, session: SessionRow, body: BaseModel) -> dict:
    """A body as the journal has it: its masks are stored, and named by their content."""
    told = body.model_dump(exclude_none=True)
    store, shape = service.store, service.store.image_row(session.image).shape

    def stored(mask: Mask) -> dict:
        box = Box.parse(mask.box, shape)
        store.check_share(session.owner, prod(box.shape))
        return store.refer_pieces(mask.pieces(box), box)

    for name in ("initial", "labels"):
        if isinstance(mask := getattr(body, name, None), Mask):
            told[name] = stored(mask)
    prior = None
    if isinstance(body, Resize):
        prior = service.tasks.prior_again(session, told["box"])
    elif isinstance(body, Begin) and body.task is not None:
        prior = service.tasks.prior(session, body.task, body.box or _first_box(service, session, body))
    if prior is not None:
        told["prior"] = prior
    scribbles = getattr(body, "scribbles", None)
    if scribbles is not None and scribbles.labels is not None:
        told["scribbles"] = {"labels": stored(scribbles.labels)}
    return told


def _first_box(service: Service, session: SessionRow, body: Begin) -> str:
    """The box that an object's first strokes make."""
    if body.scribbles is None or body.scribbles.strokes is None:
        raise InvalidInput("What a task learnt is about a box: give one, or strokes.")
    strokes = [Stroke(stroke.points, stroke.label, stroke.radius) for stroke in body.scribbles.strokes]
    image = service.store.image(session.image)
    check_effort(strokes, image)
    return str(box_of_strokes(strokes, image))


async def _acting(
    request: Request,
    session: Owned,
    service: Served,
    user: User,
    response: Response,
    expected: Expected,
    accept: Annotated[str, Header(include_in_schema=False)] = "",
    idempotency_key: Annotated[
        str | None,
        Header(
            alias="Idempotency-Key",
            min_length=1,
            max_length=200,
            description="An interaction that comes twice with the same is done once.",
        ),
    ] = None,
) -> Act:
    return Act(request, session, service, user, response, expected, STREAM in accept, idempotency_key)


Acting = Annotated[Act, Depends(_acting)]


@router.post("/sessions/{id}/box", **DONE)
async def box(act: Acting, body: Begin) -> Answered:
    """Begin an object from a box, or from first scribbles, which make one; objects begun before are locked then."""
    return await act("box", body)


@router.post("/sessions/{id}/scribble", **DONE)
async def scribble(act: Acting, body: Correct) -> Answered:
    """Correct the current object. Scribbles add up; where a new one crosses an older one, it wins.

    Where an eraser took scribbles away, the object learns anew, from those that are left.
    """
    return await act("scribble", body)


@router.post("/sessions/{id}/resize", **DONE)
async def resize(act: Acting, body: Resize) -> Answered:
    """Give the current object another box; those of its scribbles that lie in it stay.

    One that began with a task is asked about anew, by what the task has learnt until now.
    """
    return await act("resize", body)


@router.post("/sessions/{id}/refine", **DONE)
async def refine(act: Acting) -> Answered:
    """Go on fine-tuning the current object with the scribbles it has."""
    return await act("refine")


@router.post("/sessions/{id}/propagate", **DONE)
async def propagate(act: Acting, body: Propagate) -> Answered:
    """Carry the current object on to another plane, as a part of it: the same box, and the classifier as adapted.

    Through a range of planes it is carried until it ends; its last new part is current.
    """
    return await act("propagate", body)


@router.post("/sessions/{id}/interpolate", **DONE)
async def interpolate(act: Acting, body: Interpolate) -> Answered:
    """Fill the planes between those that the current object was drawn in: every shape in between is a part of it."""
    return await act("interpolate", body)


@router.post("/sessions/{id}/tidy", **DONE)
async def tidy(act: Acting, body: Tidy) -> Answered:
    """Fill the current object's small holes and drop its small islands, or leave them, from here on and in all its
    parts. Nothing is learnt: the mask is cut anew."""
    return await act("tidy", body)


@router.post("/sessions/{id}/undo", **DONE)
async def undo(act: Acting) -> Answered:
    """Take back the last interaction; where there is none, nothing is ``changed``."""
    return await act("undo")


@router.post("/sessions/{id}/redo", **DONE)
async def redo(act: Acting) -> Answered:
    """Bring back what was undone last; where there is nothing, nothing is ``changed``."""
    return await act("redo")


@router.post("/sessions/{id}/select", **DONE)
async def select(act: Acting, body: Named) -> Answered:
    """Work on another object or part: it is unlocked, all others are locked."""
    return await act("select", body)


@router.post("/sessions/{id}/remove", **DONE)
async def remove(act: Acting, body: Named) -> Answered:
    """Forget a part, or an object with its parts; undo brings it back."""
    return await act("remove", body)


@router.post("/sessions/{id}/rename", **DONE)
async def rename(act: Acting, body: Rename) -> Answered:
    """Call an object or a part something else; an object's parts keep their names."""
    return await act("rename", body)


@router.post("/sessions/{id}/submit", **DONE)
async def submit(act: Acting, body: Submit) -> Answered:
    """Keep a mask that was accepted elsewhere; it changes no object."""
    return await act("submit", body)


@router.post("/sessions/{id}/cancel", response_model=Cancellation)
async def cancel(session: Owned, service: Served) -> dict:
    """Cancel the interaction that runs or waits; whoever asked for it is told so, and the session is as before."""
    return {"cancelled": service.pool.cancel(session.id)}
