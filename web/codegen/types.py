"""Write the types of the server's API for the page: ``make types``, which calls ``python -m web.codegen.types``.

openapi-typescript, which needs another version of TypeScript than the page and so has this folder to itself, turns the
schemas of the server's OpenAPI document into src/server/types.ts. The first line of that file has the SHA-256 of these
schemas, by which a test knows when the file is stale.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
from pathlib import Path

from docs.generate.openapi import document, operations

HERE = Path(__file__).parent
TYPES = HERE.parent / "src" / "server" / "types.ts"
OPTIONS = ("--array-length", "--root-types", "--root-types-no-schema-prefix")
FRAMEWORK = ("HTTPValidationError", "ValidationError")  # FastAPI's own, which this server never answers


def schemas() -> dict:
    """An OpenAPI document of the schemas that our own protocol uses, with the events of its streams, and no paths."""
    whole = document()["components"]["schemas"]
    found: dict[str, dict] = {}

    def visit(part: object) -> None:
        if isinstance(part, dict):
            found.update(part.get("x-events", {}))
            if isinstance(name := part.get("$ref"), str) and (name := name.rpartition("/")[2]) not in found:
                found[name] = whole[name]
                visit(whole[name])
            for value in part.values():
                visit(value)
        elif isinstance(part, list):
            for value in part:
                visit(value)

    visit([operation for _, _, operation in operations()])
    used = {name: _plain(found[name]) for name in sorted(found) if name not in FRAMEWORK}
    about = {"title": "bifseg", "version": "1"}
    return {"openapi": "3.1.0", "info": about, "paths": {}, "components": {"schemas": used}}


def heading() -> str:
    """The first line of the types that fit the server as it is."""
    return f"// Made by `make types`; do not edit. {hashlib.sha256(_json(schemas()).encode()).hexdigest()}\n"


def main() -> None:
    source, made = HERE / "schemas.json", HERE / "types.ts"
    source.write_text(_json(schemas()))
    command = ["npx", "--no-install", "openapi-typescript", source.name, *OPTIONS, "--output", made.name]
    try:
        subprocess.run(command, cwd=HERE, check=True)
        TYPES.write_text(heading() + made.read_text().partition("*/\n")[2])
    finally:
        source.unlink()
        made.unlink(missing_ok=True)
    subprocess.run(["npx", "--no-install", "biome", "format", "--write", str(TYPES)], cwd=HERE.parent, check=True)


def _plain(part: object) -> object:
    """A schema without titles, which repeat the names of fields, and without lengths that TypeScript cannot hold to."""
    if isinstance(part, dict):
        left = {"title", *({"minItems"} if "maxItems" not in part else ())}
        return {key: _plain(value) for key, value in part.items() if key not in left or isinstance(value, dict)}
    return [_plain(value) for value in part] if isinstance(part, list) else part


def _json(value: object) -> str:
    return json.dumps(value, indent=1)


if __name__ == "__main__":
    main()
