"""Behind a proxy that does not take the sub-path away under which it offers the server."""

from __future__ import annotations

import re

from starlette.responses import RedirectResponse
from starlette.types import ASGIApp, Receive, Scope, Send

VALID = re.compile(r"(/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)+")


class SubPath:
    """Takes ``prefix``, as ``/tools/bifseg``, from the paths of requests, before anything else looks at them.

    Paths without it are left as they are: what asks the server itself whether it is well does not know the prefix.
    """

    def __init__(self, app: ASGIApp, prefix: str) -> None:
        self._app, self._prefix = app, prefix

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not (scope["path"] + "/").startswith(self._prefix + "/"):
            await self._app(scope, receive, send)
            return
        path = scope["path"][len(self._prefix) :]
        if not path:  # the page's links are relative to the slash
            await RedirectResponse(f"{self._prefix}/", 308)(scope, receive, send)
            return
        raw = scope.get("raw_path") or scope["path"].encode()
        raw = raw[len(self._prefix) :] if raw.startswith(self._prefix.encode()) else path.encode()
        await self._app({**scope, "path": path, "raw_path": raw}, receive, send)
