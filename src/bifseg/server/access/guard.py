"""What stands in front of every protocol: who asks, from where, how often, and how much they send."""

from __future__ import annotations

import json
import math
import re
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from ipaddress import ip_address
from typing import Annotated

from anyio import CapacityLimiter, to_thread
from fastapi import Depends, HTTPException, Request
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from bifseg.server.access.holding import Holding
from bifseg.server.access.lingering import lingering
from bifseg.server.access.ratelimit import RateLimit
from bifseg.server.access.tokens import Tokens
from bifseg.server.settings import LOCAL, Settings

OPEN = ("/healthz",)  # needs neither a token nor a known host
LOGIN_ASKED, LOGIN = "/monailabel/auth/", "/monailabel/auth/token"  # need none either
PAGE = re.compile(r"/|/assets/[^/]*|/icon\.svg|/favicon\.ico|/enter")  # nor does the page, which asks for it
COOKIE = "bifseg_token"
HOST = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9._-]+))(?::[0-9]{1,5})?")
UPLOADS = re.compile(
    r"/set_image|/add_(scribble|lasso|initial_seg)_interaction|/api/v1/images|/api/v1/sessions/import"
    r"|/monailabel/(session/|infer/.*|datastore/.*)"
)
OTHER_BYTES = 64 << 20  # of a body anywhere else
STRANGERS_BYTES = 16 << 10  # of one that needs no token
WATCH = 2.0  # seconds after which it is asked again whether the token of a long request is valid
FAILURES = 10  # wrong tokens from one address at once, then one every six seconds
HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
}


class Guard:
    """ASGI middleware. Tokens are asked for unless nobody has one and only this machine can reach the server."""

    def __init__(self, app: ASGIApp, settings: Settings, tokens: Tokens) -> None:
        self._app, self._settings, self._tokens = app, settings, tokens
        self._hosts = {"localhost", *(name.lower() for name in settings.hosts)}
        limits = settings.limits
        self._requests = RateLimit(limits.requests_per_second, limits.requests_in_burst)
        self._failures = RateLimit(1 / 6, FAILURES)
        self._holding = Holding(limits)
        self._present: Counter[str] = Counter()  # requests of a user, or of an address that is nobody's
        self._threads: CapacityLimiter | None = None  # not those of the requests: who asks is known at once

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self._app(scope, receive, send)
            return
        headers, address = Headers(scope=scope), (scope.get("client") or ("",))[0]
        receive, send = lingering(receive, send, headers.get("content-length", ""))
        token = _token(headers, (self._tokens.cookie, COOKIE))
        limit = self._settings.limits.upload_bytes if UPLOADS.fullmatch(scope["path"]) else OTHER_BYTES
        if scope["path"] in OPEN or scope["path"] == LOGIN or PAGE.fullmatch(scope["path"]):  # before anybody is known
            limit = STRANGERS_BYTES
        refusal = self._refusal(scope, headers, limit) if scope["path"] not in OPEN else None
        if refusal is None and scope["path"] not in OPEN:
            refusal = await self._unknown(scope, token)
        if refusal is not None:
            await self._holding.hold(address, receive, counted=refusal[0] == 429)
            await _answer(send, *refusal)
            return
        if scope["path"] in OPEN:
            await self._holding.hold(f"[{address}]", receive)  # not together with what is refused
        state = scope.setdefault("state", {})
        who = state.get("user") or f"[{address}]"  # which is no user's name
        if self._present[who] >= self._settings.limits.requests_at_once and scope["path"] not in OPEN:
            await self._holding.hold(address, receive, counted=True)
            await _answer(send, *_too_many(self._settings.limits.requests_at_once))
            return
        self._present[who] += 1
        try:
            still = _Watch(state.get("still"))
            await self._app(scope, _counted(receive, limit, still), _hardened(send, still))
        except HTTPException as error:  # of _counted, in what is no FastAPI application
            await _answer(send, error.status_code, error.detail)
        finally:
            self._present[who] -= 1
            if not self._present[who]:
                del self._present[who]

    def _refusal(self, scope: Scope, headers: Headers, limit: int) -> tuple | None:
        """What is wrong with where a request comes from, or how large it says it is."""
        host = headers.get("host", "")
        if not self._known(host):
            return 421, f"This server is not called {host[:80]!r}; start it with --host-name to give it that name."
        origin = headers.get("origin")
        if origin is not None and origin not in (f"{scope['scheme']}://{host}", *self._settings.origins):
            return 403, "Pages of other servers may not call this one; start it with --origin to let one do so."
        linked = scope["method"] in ("GET", "HEAD") and PAGE.fullmatch(scope["path"])  # from anywhere to the page
        if origin is None and headers.get("sec-fetch-site") in ("cross-site", "same-site") and not linked:
            return 403, "Pages of other servers may not call this one."
        length = headers.get("content-length", "0")
        if "content-length" in headers and "transfer-encoding" in headers:  # of which a proxy may believe the other
            return 400, "The request says its length in two ways, Content-Length and Transfer-Encoding; give one."
        if not re.fullmatch("[0-9]{1,18}", length):
            return 400, "The Content-Length is no number."
        if int(length) > limit:
            return 413, f"The body has {readable(int(length))}; at most {readable(limit)} go in one request."
        return None

    def _known(self, host: str) -> bool:
        """Whether a Host header names this server: a number always does, which no foreign page can make its name."""
        parts = HOST.fullmatch(host)
        name = (parts[1] or parts[2]).lower() if parts else ""
        try:
            ip_address(name)
        except ValueError:
            return name in self._hosts
        return True

    async def _unknown(self, scope: Scope, token: str | None) -> tuple | None:
        """Find out who asks; what to say where that is nobody, or where they ask too often."""
        address = (scope.get("client") or ("",))[0]
        state = scope.setdefault("state", {})
        state["guessed"] = lambda: self._guessed(address)
        if PAGE.fullmatch(scope["path"]):
            wait = self._requests.wait(f"[{address}]")  # no user's name
            return _too_often(wait) if wait else None
        state["still"] = lambda: self._still(scope["path"], token, state.get("user"))
        user, guess, state["admin"] = await self._who(scope["path"], token)
        if guess and (refusal := self._guessed(address)):
            return refusal
        if user is None:
            what = "The token is wrong, expired or revoked" if token else "This server asks for a token"
            headers = {"WWW-Authenticate": 'Bearer realm="bifseg"'}
            return 401, f"{what}; send yours as Authorization: Bearer ...", headers
        if wait := self._requests.wait(user):
            return _too_often(wait)
        state["user"] = user
        return None

    def _guessed(self, address: str) -> tuple | None:
        """Count a wrong token; what to say where there were too many."""
        if wait := self._failures.wait(address):
            return 429, "Too many wrong tokens came from your address; wait.", {"Retry-After": str(math.ceil(wait))}
        return None

    async def _still(self, path: str, token: str | None, user: str | None) -> bool:
        """Whether who asked may still do so: their token was not revoked meanwhile."""
        return (await self._who(path, token))[0] == user

    async def _who(self, path: str, token: str | None) -> tuple[str | None, bool, bool]:
        """Who asks, None for nobody; whether it may be a guess: a right token is none, however many were wrong; and
        whether it is who runs the server."""
        self._threads = self._threads or CapacityLimiter(8)
        return await to_thread.run_sync(self._known_as, path, token, limiter=self._threads)

    def _known_as(self, path: str, token: str | None) -> tuple[str | None, bool, bool]:
        if path == LOGIN_ASKED or not self._tokens.asked_for(self._settings):
            return LOCAL, False, path != LOGIN_ASKED
        if path == LOGIN:
            return LOCAL, True, False
        row = self._tokens.known(token) if token else None
        return (row.user, False, bool(row.admin)) if row else (None, bool(token), False)


async def user_of(request: Request) -> str:
    """Who asks."""
    return request.state.user


User = Annotated[str, Depends(user_of)]


def check_guesses(request: Request) -> None:
    """Count a wrong token that came in a body, which the guard does not read; 429 where there were too many."""
    if refusal := request.state.guessed():
        raise HTTPException(*refusal)


def _too_often(wait: float) -> tuple:
    return 429, "You ask too often; wait a second.", {"Retry-After": str(math.ceil(wait))}


def _too_many(most: int) -> tuple:
    return (
        429,
        f"{most} of your requests are being answered, as many as you may have; wait for one.",
        {"Retry-After": "1"},
    )


def _token(headers: Headers, cookies: Sequence[str]) -> str | None:
    """The token that was sent: as a header, or in the first of these cookies that there is."""
    kind, _, token = headers.get("authorization", "").partition(" ")
    if kind.lower() == "bearer" and token:
        return token.strip()
    parts = [part.strip().partition("=") for part in headers.get("cookie", "").split(";")]
    sent = {name: value for name, _, value in reversed(parts)}  # of two with one name the first
    return next((sent[name] for name in cookies if name in sent), None)


class RevokedError(OSError):
    """The token was revoked in the middle of an answer, which therefore ends."""


class _Watch:
    """Asks now and then whether who asked may still do so; ``still``: None where nobody needs to."""

    def __init__(self, still: Callable[[], Awaitable[bool]] | None) -> None:
        self._still, self._asked = still, time.monotonic()

    async def __call__(self) -> bool:
        if self._still is None or time.monotonic() - self._asked < WATCH:
            return True
        self._asked = time.monotonic()
        return await self._still()


def _counted(receive: Receive, limit: int, still: _Watch) -> Receive:
    """Body parts as they come; HTTPException, which the app answers, where they are more than allowed, or come from
    somebody who may not send them any more."""
    seen = 0

    async def counted() -> Message:
        nonlocal seen
        message = await receive()
        if message["type"] == "http.request" and not await still():
            raise HTTPException(401, "The token was revoked meanwhile.", {"Connection": "close"})
        seen += len(message.get("body", b""))
        if seen > limit:
            detail = f"The body is larger than the {readable(limit)} that go in one request."
            raise HTTPException(413, detail, {"Connection": "close"})
        return message

    return counted


def readable(bytes: int) -> str:
    """So many bytes, for people."""
    return f"{bytes >> 20} MiB" if bytes >= 1 << 20 else f"{bytes / 1024:.3g} KiB"


def _hardened(send: Send, still: _Watch) -> Send:
    async def hardened(message: Message) -> None:
        if message["type"] == "http.response.body" and message.get("more_body") and not await still():
            raise RevokedError
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in HEADERS.items():
                headers.setdefault(name, value)
        await send(message)

    return hardened


async def _answer(send: Send, status: int, sentence: str, headers: dict[str, str] | None = None) -> None:
    body = json.dumps({"detail": sentence}).encode()
    fields = {"Content-Type": "application/json", "Content-Length": str(len(body)), "Connection": "close"}
    fields |= HEADERS | (headers or {})  # what is still to come of the request is not read
    start = [(name.lower().encode(), value.encode()) for name, value in fields.items()]
    await send({"type": "http.response.start", "status": status, "headers": start})
    await send({"type": "http.response.body", "body": body})
