"""Our own protocol: JSON under /api/v1, arrays as gzipped bytes or files, rounds as server-sent events."""

from fastapi import APIRouter

from bifseg.server.api import events, images, interactions, results, sessions, tasks

router = APIRouter(prefix="/api/v1")
for part in (images, sessions, events, interactions, results, tasks):
    router.include_router(part.router)
