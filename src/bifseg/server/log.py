"""What the server says of itself: one line a request, and nothing that could tell of a patient.

No path, query, body, name or message of an exception is written: of a request its route, of an error its place.
"""

from __future__ import annotations

import logging
import sys
import time
import traceback

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from bifseg.server.metrics import METHODS, Metrics

_requests = logging.getLogger("bifseg.requests")
_failures = logging.getLogger("bifseg.failures")


def start_log() -> None:
    """Write the log to standard error, with the time in UTC."""
    handler = logging.StreamHandler(sys.stderr)
    formatter = logging.Formatter("time=%(asctime)sZ %(message)s", "%Y-%m-%dT%H:%M:%S")
    formatter.converter = time.gmtime
    handler.setFormatter(formatter)
    logger = logging.getLogger("bifseg")
    logger.handlers, logger.propagate = [handler], False
    logger.setLevel(logging.INFO)


def failure(error: BaseException) -> None:
    """An error that is not the user's: its type and where it came from."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f"{frames[-1].filename.rpartition('/')[2]}:{frames[-1].lineno}" if frames else "unknown"
    _failures.error("level=error error=%s at=%s", type(error).__name__, place)


class RequestLog:
    """ASGI middleware, the outermost: counts every request, and writes its line."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app, self._metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        start, status, sent = time.perf_counter(), 0, 0

        async def watched(message: Message) -> None:
            nonlocal status, sent
            if message["type"] == "http.response.start":
                status = message["status"]
            sent += len(message.get("body", b""))
            await send(message)

        try:
            await self._app(scope, receive, watched)
        except Exception as error:  # goes no further: who runs the app would log its words, which may be a patient's
            failure(error)
            if not status:
                status = 500
                await _fail(watched)
        finally:
            seconds = time.perf_counter() - start
            route = getattr(scope.get("route"), "path", "none")
            user = scope.get("state", {}).get("user", "-")
            self._metrics.request(scope["method"], route, status, seconds)
            _requests.info(
                "user=%s method=%s route=%s status=%d ms=%.1f bytes=%d",
                user, scope["method"] if scope["method"] in METHODS else "other", route, status, 1e3 * seconds, sent,
            )  # fmt: skip


async def _fail(send: Send) -> None:
    body = b'{"detail":"The server failed; nothing was changed."}'
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 500, "headers": headers})
    await send({"type": "http.response.body", "body": body})
