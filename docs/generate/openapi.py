"""The OpenAPI document of the server, as GET /openapi.json answers it."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from bifseg.server.app import build_app
from bifseg.server.settings import Settings

API = "/api/v1/"
FRAMEWORK = ("HTTPValidationError", "ValidationError")  # FastAPI's own, which this server never answers


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


def schemas() -> dict[str, dict]:
    """The schemas that our own protocol uses, with the events of its streams, by name."""
    whole = document()["components"]["schemas"]
    used: dict[str, dict] = {}

    def visit(part: object) -> None:
        if isinstance(part, dict):
            used.update(part.get("x-events", {}))
            name = str(part.get("$ref", "")).rpartition("/")[2]
            if name in whole and name not in used:
                used[name] = whole[name]
                visit(whole[name])
            for value in part.values():
                visit(value)
        elif isinstance(part, list):
            for value in part:
                visit(value)

    visit([operation for _, _, operation in operations()])
    return {name: used[name] for name in sorted(used) if name not in FRAMEWORK}
