"""The page: its files, which need no token, and the door where a token becomes a cookie."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from fastapi import APIRouter, HTTPException, Request, Response
from fastapi.responses import FileResponse, HTMLResponse
from pydantic import Field
from starlette.concurrency import run_in_threadpool

from bifseg.server import built
from bifseg.server.access.guard import check_guesses
from bifseg.server.access.tokens import ONCE
from bifseg.server.api.bodies.base import Body
from bifseg.server.api.request import ROUTER, Served

router = APIRouter(tags=["server"], **ROUTER)
DAYS = 30.0  # that a browser stays known
READ: dict[str, Any] = {"methods": ["GET", "HEAD"], "include_in_schema": False, "response_class": FileResponse}
MEDIA = {  # said here, for what Python knows of types depends on the machine
    ".css": "text/css", ".html": "text/html", ".js": "text/javascript", ".json": "application/json",
    ".png": "image/png", ".svg": "image/svg+xml", ".wasm": "application/wasm", ".woff2": "font/woff2",
}  # fmt: skip
POLICY = {
    "Content-Security-Policy": "; ".join(
        [
            "default-src 'self'", "script-src 'self'", "style-src 'self' 'unsafe-inline'",
            "img-src 'self' data: blob:", "worker-src 'self' blob:", "connect-src 'self' data: blob:",
            "frame-ancestors 'none'", "base-uri 'none'", "form-action 'none'", "object-src 'none'",
        ]
    )
}  # fmt: skip
FOREVER = {"Cache-Control": "public, max-age=31536000, immutable"}  # a changed asset has another name


class Enter(Body):
    """A token: of ``bifseg token create``, or one that is good for a single time, of ``bifseg app``."""

    bytes: ClassVar[int] = 1 << 10
    token: str = Field(max_length=200)


@router.api_route("/", **READ)
def page() -> Response:
    """The page."""
    if not built.is_built():
        return HTMLResponse(f"<!doctype html><title>bifseg</title><p>{built.NOT_BUILT}", 503, POLICY)
    return _file(built.STATIC, "index.html")


@router.api_route("/assets/{name}", **READ)
def asset(name: str) -> Response:
    """A script, a style or the like, named by its content."""
    return _file(built.STATIC / "assets", name, **FOREVER)


@router.api_route("/icon.svg", **READ)
@router.api_route("/favicon.ico", **READ)
def icon() -> Response:
    """The page's icon, also under the name that browsers try unasked."""
    return _file(built.STATIC, "icon.svg")


@router.post("/enter", status_code=204)
async def enter(body: Enter, request: Request, service: Served) -> Response:
    """Exchange a token for a cookie, by which the page is known from then on."""
    tokens = service.tokens
    if ONCE.fullmatch(body.token):
        token = await run_in_threadpool(tokens.exchange, body.token, DAYS)
        wrong = "This link was used already or is too old; type bifseg app again."
    else:
        token = body.token if await run_in_threadpool(tokens.user, body.token) else None
        wrong = "The token is wrong, expired or revoked."
    if token is None:
        check_guesses(request)
        raise HTTPException(401, wrong)
    reply = Response(status_code=204)
    reply.set_cookie(
        tokens.cookie, token, max_age=int(DAYS * 86_400), secure=request.url.scheme == "https", httponly=True,
        samesite="strict",
    )  # fmt: skip
    return reply


def _file(folder: Path, name: str, **headers: str) -> Response:
    """A file that lies in a folder under this very name: no other path is ever put together."""
    path = next((path for path in folder.glob("*") if path.name == name and path.is_file()), None)
    if path is None:
        raise HTTPException(404, "The page has no such file.")
    return FileResponse(path, media_type=MEDIA.get(path.suffix), headers=POLICY | headers)
