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

from docs.generate.openapi import schemas

HERE = Path(__file__).parent
TYPES = HERE.parent / "src" / "server" / "types.ts"
OPTIONS = ("--array-length", "--root-types", "--root-types-no-schema-prefix")


def source() -> dict:
    """An OpenAPI document of the schemas that our own protocol uses, and no paths: the page has its own client."""
    used = {name: _plain(schema) for name, schema in schemas().items()}
    about = {"title": "bifseg", "version": "1"}
    return {"openapi": "3.1.0", "info": about, "paths": {}, "components": {"schemas": used}}


def heading() -> str:
    """The first line of the types that fit the server as it is."""
    return f"// Made by `make types`; do not edit. {hashlib.sha256(_json(source()).encode()).hexdigest()}\n"


def main() -> None:
    document, made = HERE / "schemas.json", HERE / "types.ts"
    document.write_text(_json(source()))
    command = ["npx", "--no-install", "openapi-typescript", document.name, *OPTIONS, "--output", made.name]
    try:
        subprocess.run(command, cwd=HERE, check=True)
        TYPES.write_text(heading() + made.read_text().partition("*/\n")[2])
    finally:
        document.unlink()
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
