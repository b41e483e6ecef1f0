"""Server-sent events: how answers that come bit by bit are written, and documented."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

from fastapi.responses import StreamingResponse
from pydantic import BaseModel

STREAM = "text/event-stream"
STILL_HERE = ": still here\n\n"  # a comment, by which both sides know that the other is there


def event(name: str, data: dict) -> str:
    """One event, as it is sent."""
    return f"event: {name}\ndata: {json.dumps(data)}\n\n"


def streamed(events: AsyncIterator[str]) -> StreamingResponse:
    """The answer of which events are sent as they come; no proxy keeps them back."""
    return StreamingResponse(events, media_type=STREAM, headers={"X-Accel-Buffering": "no"})


def documented(*kinds: type[BaseModel]) -> dict[str, Any]:
    """What OpenAPI is told of a stream of events."""
    return {
        STREAM: {"schema": {"type": "string"}, "x-events": {one.__name__: one.model_json_schema() for one in kinds}}
    }
