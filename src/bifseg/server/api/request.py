"""What every request of the API has: who asks, of which session, and what may be answered to it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Coroutine, Sequence
from typing import Annotated, Any, Protocol

from fastapi import Depends, Path, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from pydantic import BaseModel, ValidationError
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import Message

from bifseg.errors import BifsegError, InvalidInput
from bifseg.server.access.guard import LOGIN, User, readable
from bifseg.server.access.turns import Turns
from bifseg.server.api.bodies.base import Refusal
from bifseg.server.service import Service
from bifseg.storage.rows import SessionRow

SMALL, PARTS = 16 << 10, 32_000  # bytes of a body, and how many lists and things one may have, as one may draw points
COMMAS = 4 * PARTS  # between them: a point has three, and one after it
FIELD = 128 << 10  # bytes of a form's field that is no file
REST = 30  # times as long as it took to parse and validate a long body, its sender's next one waits: to have it done
# by a worker holds up the others as long again
REFUSED = {
    400: "It cannot be done as asked; or a header that the server does not accept.",
    401: "No token, or one that is not valid.",
    403: "From a page that may not call this server.",
    404: "There is nothing of that name, or it is another user's.",
    409: "Someone else works on it, or it was cancelled.",
    412: "The session is at another version than If-Match says: ``number``. Nothing was done.",
    413: "Too large.",
    421: "The server is not called what the request calls it.",
    422: "Not of the documented form.",
    429: "Too many at a time; see Retry-After.",
    500: "The server failed.",
    503: "The server ends, or it took too long; see Retry-After.",
    507: "The disk, or the user's share of it, is full.",
}
_REFUSAL = {"application/json": {"schema": {"$ref": f"#/components/schemas/{Refusal.__name__}"}}}
RESPONSES: dict[int | str, dict[str, Any]] = {
    status: {"description": sentence, "content": _REFUSAL} for status, sentence in REFUSED.items()
}
RESPONSES[400] = {"description": REFUSED[400], "model": Refusal}  # FastAPI makes a validator of every model it is given
BYTES = {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}


class StoreRow(Protocol):
    """What the store tells of something."""

    def as_dict(self) -> dict: ...


class _Bodied(Request):
    """A request whose JSON is counted as it comes. A long one is heard, parsed and validated when it is its sender's
    turn, beside the event loop; none of that yields to anybody, so the next one of the same sender waits ``REST`` times
    as long as it took."""

    def __init__(self, request: Request, model: type[BaseModel], most: int) -> None:
        super().__init__(request.scope, self._hear)
        self._source, self._model, self._most = request.receive, model, most
        self._size = self._parts = self._commas = 0
        self._turn = False
        self.invalid: ValidationError | None = None

    async def _hear(self) -> Message:
        message = await self._source()
        part = message.get("body", b"")
        self._size += len(part)
        if self._size > self._most:
            raise HTTPException(413, f"The body is longer than the {readable(self._most)} that this may have.")
        self._parts += part.count(b"[") + part.count(b"{") + part.count(b":")
        self._commas += part.count(b",")
        if self._parts > PARTS or self._commas > COMMAS:
            raise HTTPException(413, f"The body has more than {PARTS} parts, which is all that is taken in one.")
        if self._size > SMALL and not self._turn:
            await self._turns.begin(self.state.user)
            self._turn = True
        return message

    async def json(self) -> Any:
        if not self._turn:
            return await super().json()
        body = await self.body()

        def said() -> tuple[BaseModel | None, float]:
            start = time.thread_time()
            try:
                return self._model.model_validate(json.loads(body.decode("utf-8"))), time.thread_time() - start
            except ValidationError as error:
                self.invalid = error
                return None, time.thread_time() - start

        told, seconds = await run_in_threadpool(said)
        self.let_go(REST * seconds)
        return told

    def let_go(self, after: float = 0.0) -> None:
        """End the turn, where it is one."""
        if self._turn:
            self._turn = False
            self._turns.end(self.state.user, after)

    @property
    def _turns(self) -> Turns:
        return self.app.state.service.parsing


class Bounded(APIRoute):
    """A route that refuses a JSON body longer, or of more parts, than anyone needs, before it is parsed: the parser
    holds up everybody. Bodies that are streamed are counted elsewhere."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()
        if self.body_field is None:
            return handle
        model = self.body_field.field_info.annotation
        if not (isinstance(model, type) and issubclass(model, BaseModel)):  # a form, which comes as a file does
            return handle
        most = getattr(model, "bytes", SMALL)

        async def bounded(request: Request) -> Response:
            bodied = _Bodied(request, model, most)
            try:
                return await handle(bodied)
            except RequestValidationError:
                if bodied.invalid is not None:
                    found = bodied.invalid.errors(include_url=False, include_context=False, include_input=False)
                    raise RequestValidationError([{**e, "loc": ("body", *e["loc"])} for e in found]) from None
                raise
            except HTTPException as error:
                if isinstance(error.__cause__, BifsegError):  # while the body came
                    raise error.__cause__ from None
                if error.status_code == 400:  # FastAPI's own word for bytes that are no text
                    raise InvalidInput(
                        "The body is no JSON in UTF-8, or too deep, or has a number that is too long."
                    ) from None
                raise
            finally:
                bodied.let_go()

        return bounded


class Received(APIRoute):
    """A route whose form, which may hold one file, is taken in when it is its sender's turn, and answered within it.

    What is short of it lies in memory: so it has few parts.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()
        if self.body_field is None:
            return handle

        async def received(request: Request) -> Response:
            if request.scope["path"] == LOGIN:  # nobody's turn, for nobody is known; and little may be said there
                return await handle(request)
            async with request.app.state.service.receiving.turn(request.state.user):
                try:
                    await request.form(max_files=1, max_fields=8, max_part_size=FIELD)  # which is kept by the request
                except ClientDisconnect:
                    raise InvalidInput("The form broke off before its end.") from None
                return await handle(request)

        return received


PREFIX = "/api/v1"
ROUTER: dict[str, Any] = {
    "responses": RESPONSES,
    "route_class": Bounded,
    "generate_unique_id_function": lambda route: route.name,
}


async def service_of(request: Request) -> Service:
    return request.app.state.service


Served = Annotated[Service, Depends(service_of)]


Id = Annotated[str, Path(max_length=100)]


def session_of(service: Served, user: User, id: Id) -> SessionRow:
    """The session that the path names, if it is this user's."""
    return service.session(id, user)


Owned = Annotated[SessionRow, Depends(session_of)]


async def listed(
    service: Service, user: str, kind: type[BaseModel], rows: Callable[[], Sequence[StoreRow]]
) -> Response:
    """All rows that a user has, as JSON that is made when it is their turn: there may be thousands."""

    def listing() -> bytes:
        return b"[" + b",".join(kind(**row.as_dict()).model_dump_json().encode() for row in rows()) + b"]"

    return Response(await service.quick.run(user, listing), media_type="application/json")
