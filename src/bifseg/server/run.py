"""The server as a process: a socket, uvicorn on it, and an end that loses nothing."""

from __future__ import annotations

import gc
import signal
import socket
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import uvicorn
from fastapi import FastAPI

from bifseg.heaps import share_heaps
from bifseg.server.access.connections import Listener, protocol_for
from bifseg.server.log import start_log
from bifseg.server.settings import Settings

MEMORY = Path("/dev/shm")
HEADERS = 1 << 16  # bytes of a request's line and headers
SWITCH = (
    0.0005  # seconds that a thread keeps the interpreter from the event loop, which hands over many times a request
)


def say(address: str) -> None:
    """Say where a server listens."""
    print(f"bifseg: serving on {address}", flush=True)


def run(
    app: FastAPI, settings: Settings, certificate: Path | None = None, key: Path | None = None,
    listening: Callable[[str], None] = say,
) -> None:  # fmt: skip
    """Serve until SIGINT or SIGTERM: running interactions then get ``settings.grace`` seconds to end.

    ``listening`` is called with the address as soon as somebody answers at it. Raises OSError where the address cannot
    be listened on, or the certificate cannot be used.
    """
    share_heaps()
    config = uvicorn.Config(
        app, log_level="warning", access_log=False, server_header=False, lifespan="on", timeout_keep_alive=30,
        timeout_graceful_shutdown=int(settings.grace), h11_max_incomplete_event_size=HEADERS,
        http=protocol_for(settings), ws="none",
        ssl_certfile=certificate, ssl_keyfile=key, proxy_headers=bool(settings.proxies),
        forwarded_allow_ips=list(settings.proxies),
    )  # fmt: skip
    with _listening(settings.host, settings.port) as listener:
        try:
            config.load()
        except OSError as error:  # an SSLError is one
            raise OSError(f"The certificate {certificate} and key {key} cannot be used: {error}.") from None
        address, port = listener.getsockname()[:2]
        reached = f"{'https' if certificate else 'http'}://{_host(address)}:{port}"
        server = Server(config, reached, listening, app.state.service.watchers.close)
        with (
            _temporary(settings.data / "temporary"),
            _signals_ignored(),
        ):  # uvicorn hears them; when it has ended, it sends them again
            start_log()
            sys.setswitchinterval(SWITCH)
            gc.freeze()  # what is there by now stays: to look all of it through for garbage holds up everybody
            server.run(sockets=[Listener(listener, settings)])


@contextmanager
def folder_in_memory() -> Iterator[Path]:
    """A folder on the memory file system, gone at the end. OSError where there is no such file system."""
    if not MEMORY.is_dir():
        raise OSError(f"There is no memory file system {MEMORY} on this machine; give --data FOLDER.")
    with tempfile.TemporaryDirectory(prefix="bifseg-", dir=MEMORY) as folder:
        yield Path(folder)


@contextmanager
def _temporary(folder: Path) -> Iterator[None]:
    """What is put down on the way lies in the store's folder: on its disk, in its memory, and as well protected."""
    folder.mkdir(parents=True, exist_ok=True)
    tempfile.tempdir, before = str(folder), tempfile.tempdir
    try:
        yield
    finally:
        tempfile.tempdir = before


class Server(uvicorn.Server):
    """Says where it listens as soon as it does; ``ending`` is called before it waits for answers that are under way."""

    def __init__(
        self, config: uvicorn.Config, address: str, listening: Callable[[str], None], ending: Callable[[], None]
    ) -> None:
        super().__init__(config)
        self._address, self._listening, self._ending = address, listening, ending

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._listening(self._address)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._ending()
        await super().shutdown(sockets)


@contextmanager
def _signals_ignored() -> Iterator[None]:
    before = {number: signal.signal(number, lambda *_: None) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _listening(host: str, port: int) -> Iterator[socket.socket]:
    try:
        if not 0 <= port < 1 << 16:
            raise OSError("a port is a number from 0 to 65535")
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listener = socket.create_server((host.strip("[]"), port), family=family, backlog=128)
    except OSError as error:
        reason = error.strerror or error
        raise OSError(f"The server cannot listen on {host}, port {port}: {reason}.") from None
    with listener:
        yield listener


def _host(address: str) -> str:
    return f"[{address}]" if ":" in address else address
