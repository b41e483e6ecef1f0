"""The server: puts store, workers, guard and protocols together."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from importlib.metadata import version

from anyio import to_thread
from fastapi import FastAPI, Request, Response
from fastapi.exception_handlers import http_exception_handler
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException

from bifseg.errors import (
    BifsegError,
    Busy,
    Cancelled,
    Closing,
    InvalidInput,
    KeyReused,
    NotFound,
    Overloaded,
    Stale,
    StorageFull,
    TookTooLong,
    TooLarge,
)
from bifseg.heaps import give_back
from bifseg.server import metrics, page
from bifseg.server.access.guard import Guard
from bifseg.server.access.subpath import SubPath
from bifseg.server.api import router as api
from bifseg.server.api.versions import etag
from bifseg.server.log import RequestLog, failure
from bifseg.server.monailabel import api as monailabel
from bifseg.server.nninteractive import api as nninteractive
from bifseg.server.service import Service
from bifseg.server.settings import Settings
from bifseg.server.uploads.template import Template
from bifseg.server.workers.child import StartError, WorkError
from bifseg.storage.full_disk import FULL, is_full
from bifseg.storage.retention import sweep

HOURLY = 3600.0
EVERY_MINUTE = 60.0
THREADS = 128  # that answer what is short; what is long has a few of its own, see `bifseg.server.access.turns`
STATUS = {  # the first that fits; what is not here is a fault of ours
    TooLarge: 413,
    KeyReused: 422,
    InvalidInput: 400,
    NotFound: 404,
    Busy: 409,
    Cancelled: 409,
    Stale: 412,
    Overloaded: 429,
    StorageFull: 507,
    Closing: 503,
    TookTooLong: 503,
    BifsegError: 400,
    MemoryError: 507,
    StartError: 503,
    WorkError: 500,
}
HEADERS = {429: {"Retry-After": "1"}, 503: {"Retry-After": "5"}, 413: {"Connection": "close"}}  # the rest is not read


def build_app(settings: Settings, template: Template | None = None) -> FastAPI:
    """The server as an ASGI application; its workers start and stop with it. ``template``: see `Service`."""
    service = Service(settings, template)

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        to_thread.current_default_thread_limiter().total_tokens = THREADS
        if settings.warm:
            await run_in_threadpool(service.template.start)
        if not settings.early:
            await service.pool.start()
        await run_in_threadpool(service.leases.hear_all)
        beside = [asyncio.create_task(_tidy(service)), asyncio.create_task(_give_back())]
        if settings.early:
            beside.append(asyncio.create_task(service.pool.start_after(service.come())))
        service.learner.start()
        try:
            yield
        finally:
            for task in beside:
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task
            await service.learner.close()
            await service.pool.close(settings.grace)
            await run_in_threadpool(service.template.close)
            service.store.close()

    app = FastAPI(
        title="bifseg",
        version=version("bifseg"),
        description="A box and scribbles on a medical image become a mask. Axes are x, y, z, in the order of the file.",
        docs_url=None,  # these pages load scripts from elsewhere
        redoc_url=None,
        lifespan=lifespan,
    )
    app.state.service = service
    for protocol in (api, nninteractive.router, monailabel.router, metrics.router, page.router):
        app.router.routes += protocol.routes  # as they are: what is included is made anew, beside the first request
    for error, status in STATUS.items():
        app.add_exception_handler(error, _refusal(status))
    # Starlette's own types know no errors but Exception.
    app.add_exception_handler(RequestValidationError, _invalid)  # type: ignore[arg-type]
    app.add_exception_handler(OSError, _system)  # type: ignore[arg-type]
    app.add_exception_handler(HTTPException, _http)  # type: ignore[arg-type]
    app.add_middleware(Guard, settings=settings, tokens=service.tokens)
    app.add_middleware(RequestLog, metrics=service.metrics)
    if settings.root_path:
        app.add_middleware(SubPath, prefix=settings.root_path)
    return app


def _refusal(status: int) -> Callable[[Request, Exception], Awaitable[Response]]:
    async def refuse(request: Request, error: Exception) -> Response:
        if isinstance(error, WorkError):
            failure(error)
        if is_full(error) and not isinstance(error, StorageFull):  # which says whose share it is
            return _full()
        answer, headers = {"detail": sentence(error)}, HEADERS.get(status)
        if isinstance(error, BifsegError):
            answer |= {"code": error.code, **error.data}
        if isinstance(error, Stale) and "number" in error.data:
            headers = {"ETag": etag(error.data["number"])}
        return JSONResponse(answer, status, headers)

    return refuse


def _full() -> JSONResponse:
    """What is said of a full disk, whoever meets it."""
    return JSONResponse({"detail": FULL, "code": StorageFull.code}, STATUS[StorageFull])


def sentence(error: Exception) -> str:
    """An error in one sentence; bytes of a file or a name that are no UTF-8 are question marks in it."""
    words = (str(error) or type(error).__name__).encode("utf-8", "replace").decode()
    return " ".join(words.split())


async def _invalid(request: Request, error: RequestValidationError) -> JSONResponse:
    """A body or a parameter of another form: the innermost thing that is wrong with it, in one sentence."""
    first = max(error.errors(), key=lambda found: len(found["loc"]))
    where = ".".join(str(part) for part in first["loc"]) or "request"
    return JSONResponse({"detail": f"{where}: {first['msg']}."}, 422)


async def _system(request: Request, error: OSError) -> JSONResponse:
    """What the system refuses: a full disk is no fault of the server's, all else is."""
    if is_full(error):
        return _full()
    raise error


async def _http(request: Request, error: HTTPException) -> Response:
    """FastAPI makes 400 of whatever goes wrong while it reads a body."""
    if error.status_code == 400 and is_full(error):
        return _full()
    return await http_exception_handler(request, error)


async def _give_back() -> None:
    """Give memory that is free back to the system every minute, which takes milliseconds: what is kept of sessions
    changes all the time, and leaves gaps."""
    while True:
        await asyncio.sleep(EVERY_MINUTE)
        await run_in_threadpool(give_back)


async def _tidy(service: Service) -> None:
    """Delete what is too old, now and every hour."""
    while True:
        try:
            await run_in_threadpool(sweep, service.store, keep_days=service.settings.keep_days)
        except Exception as error:  # what goes wrong here must not end the server; the log says it
            failure(error)
            logging.getLogger("bifseg").warning("sweep failed")
        await asyncio.sleep(HOURLY)
