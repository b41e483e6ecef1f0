"""The OpenAPI document of the server, as GET /openapi.json answers it."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from bifseg.server.app import build_app
from bifseg.server.settings import Settings

API = "/api/v1/"


@cache
def document() -> dict:
    """The whole document, of all protocols."""
    with TemporaryDirectory() as folder:
        app = build_app(Settings(Path(folder, "store")))
        try:
            return app.openapi()
        finally:
            app.state.service.store.close()


def operations() -> list[tuple[str, str, dict]]:
    """Method, path and operation of our own protocol, in the order of the code."""
    return [
        (method, path, operation)
        for path, methods in document()["paths"].items()
        if path.startswith(API)
        for method, operation in methods.items()
    ]
