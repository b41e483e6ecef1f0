"""A real server for tests: uvicorn on a free port of this machine, in a thread; its workers are processes."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass

import httpx
import uvicorn
from readers import TEMPLATE

from bifseg.server.app import build_app
from bifseg.server.run import Server
from bifseg.server.service import Service
from bifseg.server.settings import Settings
from bifseg.server.workers.pool import Pool

PATIENCE = 300.0  # seconds to start or to end; far more than it takes
GRACE = 20  # seconds that answers under way get when the server ends


@dataclass(frozen=True)
class Served:
    """Where the server is, and its parts."""

    url: str
    service: Service

    def client(self, user: str | None = None, **options: object) -> httpx.Client:
        """A client with a new token of ``user``, or without one."""
        headers = {} if user is None else {"Authorization": f"Bearer {self.service.tokens.create(user)}"}
        return httpx.Client(base_url=self.url, headers=headers, timeout=60, **options)


@contextlib.contextmanager
def serving(settings: Settings, computes: bool = True) -> Iterator[Served]:
    """A server that runs until the end of the block; one that never computes starts no worker, which loads torch."""
    app = build_app(settings, TEMPLATE)
    if not computes:
        app.state.service.pool = no_workers()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        config = uvicorn.Config(
            app, log_level="error", http="h11", ws="none", lifespan="on", timeout_graceful_shutdown=GRACE,
            timeout_keep_alive=30,  # as in the product; httpx keeps a silent connection for 5 s, uvicorn else as long
        )  # fmt: skip
        server = _Server(config, "", lambda _: None, app.state.service.watchers.close)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        try:
            until = time.monotonic() + PATIENCE
            while not server.started:
                if not thread.is_alive() or time.monotonic() > until:
                    raise RuntimeError("the server did not start")
                time.sleep(0.02)
            yield Served(f"http://127.0.0.1:{listener.getsockname()[1]}", app.state.service)
        finally:
            server.should_exit = True
            thread.join(PATIENCE)
            if thread.is_alive():
                raise RuntimeError(f"the server did not end; it waits for {asyncio.all_tasks(server.loop)}")


def no_workers() -> Pool:
    """A pool for a server whose tests compute nothing."""
    return Pool("nothing:computes", {}, workers=0)


class _Server(Server):
    """Remembers its event loop, so that a test which waits in vain can say for what."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        self.loop = asyncio.get_running_loop()
        await super().startup(sockets)
