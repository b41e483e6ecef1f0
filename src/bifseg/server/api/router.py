"""All routes of our own protocol."""

from fastapi import APIRouter

from bifseg.server.api import events, images, interactions, results, sessions, tasks

router = APIRouter(prefix="/api/v1")
for part in (images, sessions, events, interactions, results, tasks):
    router.include_router(part.router)
