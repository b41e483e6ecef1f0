"""What every request of the API has: who asks, of which session, and what may be answered to it."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from json import JSONDecoder
from json.scanner import py_make_scanner
from typing import Annotated, Any

from fastapi import Depends, Path, Request, Response
from fastapi.routing import APIRoute
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.types import Message

from bifseg.errors import InvalidInput
from bifseg.server.access.guard import User, readable
from bifseg.server.api.bodies import Refusal
from bifseg.server.service import Service
from bifseg.storage.rows import SessionRow

SMALL, PARTS = 16 << 10, 160_000  # bytes of a body, and how many lists and things one may have, as one may draw points
REST = 10  # times as long as a long body was parsed, its sender's next one waits: what validates it yields to nobody
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
RESPONSES: dict[int | str, dict[str, Any]] = {
    status: {"model": Refusal, "description": sentence} for status, sentence in REFUSED.items()
}
BYTES = {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}


class _Counted(Request):
    """A request whose JSON is parsed only where it has not too many parts."""

    async def json(self) -> Any:
        body = await self.body()
        if (parts := body.count(b"[") + body.count(b"{") + body.count(b":")) > PARTS:
            raise HTTPException(413, f"The body has about {parts} parts; at most {PARTS} are taken in one.")
        if len(body) <= SMALL:
            return await super().json()
        async with self.app.state.service.parsing.spaced(self.state.user, REST):
            return await run_in_threadpool(_yielding(), body.decode("utf-8"))


def _yielding() -> Callable[[str], Any]:
    """A parser of JSON in Python: that in C holds the interpreter, and so everybody, until it is done."""
    decoder = JSONDecoder()
    decoder.scan_once = py_make_scanner(decoder)
    return decoder.decode


class Bounded(APIRoute):
    """A route that refuses a JSON body longer, or of more parts, than anyone needs, before it is parsed: the parser
    holds up everybody. Bodies that are streamed are counted elsewhere."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()
        if self.body_field is None:
            return handle
        most = getattr(self.body_field.field_info.annotation, "bytes", SMALL)

        async def bounded(request: Request) -> Response:
            size = 0

            async def receive() -> Message:
                nonlocal size
                message = await request.receive()
                size += len(message.get("body", b""))
                if size > most:
                    raise HTTPException(413, f"The body is longer than the {readable(most)} that this may have.")
                return message

            try:
                return await handle(_Counted(request.scope, receive))
            except HTTPException as error:
                if error.status_code == 400:  # FastAPI's own word for bytes that are no text
                    raise InvalidInput(
                        "The body is no JSON in UTF-8, or too deep, or has a number that is too long."
                    ) from None
                raise

        return bounded


ROUTER = {"responses": RESPONSES, "route_class": Bounded, "generate_unique_id_function": lambda route: route.name}


def service_of(request: Request) -> Service:
    return request.app.state.service


Served = Annotated[Service, Depends(service_of)]


def session_of(service: Served, user: User, id: Annotated[str, Path(max_length=100)]) -> SessionRow:
    """The session that the path names, if it is this user's."""
    return service.store.session(id, user)


Owned = Annotated[SessionRow, Depends(session_of)]
