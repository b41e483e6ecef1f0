"""The server's own API, from its OpenAPI document."""

from __future__ import annotations

import json
import re

from docs.generate.openapi import API, operations, schemas

from bifseg.server.api.request import REFUSED

HEAD = f"""# The server's API

JSON under `{API}`, described for programs at `GET /openapi.json`. How to use it, with examples, is in
[how-to/serve.md](../how-to/serve.md#our-own-api). `Authorization: Bearer TOKEN` says who asks. Boxes are half-open
ranges of voxels, x, y, z, in the file's order: `40:80,52:90,12:40`.

An interaction is answered when it is done or, with `Accept: text/event-stream`, by events: `queued`
([QueuedEvent](#queuedevent)), `round` for each round ([RoundEvent](#roundevent)), then `done` with what the JSON answer
holds, or `error` with a [Refusal](#refusal) and its `status`.

## Refusals

`detail` is one sentence for people; programs read `code` and the fields that go with it.

| status | |
|---|---|
"""
JSON, STREAM = "application/json", "text/event-stream"


def page() -> str:
    parts = [HEAD + "\n".join(f"| {status} | {sentence} |" for status, sentence in REFUSED.items())]
    tag = None
    for method, path, operation in operations():
        if operation["tags"][0] != tag:
            tag = operation["tags"][0]
            parts.append(f"## {tag[0].upper()}{tag[1:]}")
        parts.append(_operation(method, path, operation))
    parts.append("## Schemas")
    parts += [_schema(name, schema) for name, schema in schemas().items()]
    return "\n\n".join(part.strip() for part in parts)


def _operation(method: str, path: str, operation: dict) -> str:
    lines = [f"### `{method.upper()} {path}`", "", _prose(operation.get("description", ""))]
    rows = [
        f"| `{one['name']}` | {one['in']} | {_type(one['schema'])} | {_about(one['schema'], one)} |"
        for one in operation.get("parameters", [])
        if one["in"] != "path" or one["name"] != "id"
    ]
    if rows:
        lines += ["", "| parameter | in | type | |", "|---|---|---|---|", *rows]
    if body := operation.get("requestBody"):
        lines += ["", f"Body: {_content(body['content'])}."]
    for status, answer in operation["responses"].items():
        if status.startswith("2"):
            lines += ["", f"Answer {status}: {_content(answer.get('content', {})) or 'nothing'}."]
    return "\n".join(lines)


def _content(content: dict) -> str:
    told = []
    for media, one in content.items():
        told.append(_type(one["schema"]) if media == JSON else "events" if media == STREAM else f"`{media}`")
    return ", or ".join(told)


def _type(schema: dict) -> str:
    """A schema in a few words."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if "const" in schema or "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema.get("enum", [schema.get("const")]))
    if choices := schema.get("anyOf") or schema.get("oneOf"):
        return " or ".join(_type(one) for one in choices)
    kind = schema.get("type", "anything")
    if kind == "array":
        length = schema.get("maxItems") if schema.get("maxItems") == schema.get("minItems") else None
        return f"list of {f'{length} ' if length else ''}{_type(schema.get('items', {}))}"
    return kind


def _about(schema: dict, beside: dict | None = None) -> str:
    text = (beside or {}).get("description") or schema.get("description", "")
    default = schema.get("default")
    return _prose(text) + (f" Default: `{json.dumps(default)}`." if default not in (None, "", [], {}) else "")


def _schema(name: str, schema: dict) -> str:
    required = schema.get("required", [])
    rows = [
        f"| `{field}`{'' if field in required else ' (optional)'} | {_type(one)} | {_about(one)} |"
        for field, one in schema.get("properties", {}).items()
    ]
    head = [f"### {name}", "", _prose(schema.get("description", "")), "", "| field | type | |", "|---|---|---|"]
    return "\n".join([*head, *rows])


def _prose(text: str) -> str:
    return re.sub(r"``(.+?)``", r"`\1`", " ".join(text.split())).replace("|", "\\|")
