"""Connections of which nobody may have too many, or keep one for long without saying anything."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections import Counter
from ipaddress import ip_network

from uvicorn.protocols.http.h11_impl import H11Protocol

from bifseg.server.settings import Settings

try:
    import resource
except ImportError:
    resource = None  # type: ignore[assignment]  # a module or None is what there is no type for

LOOK = 5.0  # seconds between two looks at a connection
SLOWEST = 1 << 10  # bytes a second of a body, on average after its first minute
OWN_FILES = 256  # descriptors that stores, workers and uploads need
TOLD = 16  # connections beyond those that an address may have which are told so; further ones are closed
REFUSAL = (
    b"HTTP/1.1 %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\nRetry-After: 5\r\n"
    b"Connection: close\r\n\r\n%s"
)


def protocol_for(settings: Settings) -> type[H11Protocol]:
    """HTTP as uvicorn speaks it, with bounds: so many connections in all and of an address, and so long a silence."""
    limits = settings.limits
    proxies = set(map(place_of, settings.proxies))
    held: Counter[str] = Counter()
    everybody = _descriptors() - OWN_FILES

    class Bounded(H11Protocol):
        refused = False

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's
            super().connection_made(transport)
            self.address = place_of(self.client[0]) if self.client else ""
            held[self.address] += 1
            self.heard = self.begun = time.monotonic()
            self.got, self.waited = 0, 0.0  # bytes, and seconds in which more could have come
            self.watch = self.loop.call_later(LOOK, self._look)
            if held[self.address] > limits.connections_per_address and self.address not in proxies:
                self._refuse(b"429 Too Many Requests", b"Too many connections came from your address; close some.")
            elif sum(held.values()) > everybody:
                self._refuse(b"503 Service Unavailable", b"The server has as many connections as it can; try again.")

        def connection_lost(self, exc: Exception | None) -> None:
            self.watch.cancel()
            held[self.address] -= 1
            if not held[self.address]:
                del held[self.address]
            super().connection_lost(exc)

        def data_received(self, data: bytes) -> None:
            if not self.refused:
                now = time.monotonic()
                if self._idle() and self.timeout_keep_alive_task is not None:  # the first bytes of the next request
                    self.begun = now
                self.heard = now
                self.got += len(data)
                super().data_received(data)

        def on_response_complete(self) -> None:
            self.begun = self.heard = time.monotonic()
            self.got, self.waited = 0, 0.0
            super().on_response_complete()

        def pause_writing(self) -> None:
            self.heard = time.monotonic()
            super().pause_writing()

        def _refuse(self, status: bytes, words: bytes) -> None:
            self.refused = True
            body = b'{"detail": "%s"}' % words
            self.transport.write(REFUSAL % (status, len(body), body))
            self.transport.close()

        def _idle(self) -> bool:
            return self.cycle is None or self.cycle.response_complete

        def _look(self) -> None:
            """End a connection whose headers do not come to an end, whose body stands still or drips, or that reads
            nothing."""
            now = time.monotonic()
            self.watch = self.loop.call_later(LOOK, self._look)
            headers = self._idle() and self.timeout_keep_alive_task is None
            body = not self._idle() and self.cycle.more_body and not self.flow.read_paused
            self.waited += LOOK if body else 0
            slow = body and self.waited > limits.seconds_of_silence and self.got < SLOWEST * self.waited
            if (
                (headers and now - self.begun > limits.seconds_of_headers)
                or ((body or self.flow.write_paused) and now - self.heard > limits.seconds_of_silence)
                or slow
            ):
                with contextlib.suppress(OSError):
                    self.transport.abort()

    return Bounded


class Listener(socket.socket):
    """A socket that listens, and closes at once what comes beyond the bounds of `protocol_for`: a connection on which
    TLS has yet to be agreed is no protocol's, and it costs a descriptor all the same. (Windows' loop accepts without
    asking, and has no such bound on descriptors.)
    """

    def __init__(self, listening: socket.socket, settings: Settings) -> None:
        super().__init__(fileno=listening.detach())
        self._own, self._all = settings.limits.connections_per_address + TOLD, _descriptors() - OWN_FILES + TOLD
        self._proxies, self._held = set(map(place_of, settings.proxies)), Counter[str]()

    def accept(self) -> tuple[socket.socket, tuple]:
        """As of any socket; ConnectionAbortedError, after which the loop goes on, for one connection too many."""
        made, address = super().accept()
        place = place_of(address[0])
        accepted = _Accepted(made, self._held, place)
        if self._held.total() > self._all or (self._held[place] > self._own and place not in self._proxies):
            accepted.close()
            raise ConnectionAbortedError
        return accepted, address


class _Accepted(socket.socket):
    """A connection that counts until it is closed."""

    def __init__(self, made: socket.socket, held: Counter[str], place: str) -> None:
        super().__init__(fileno=made.detach())
        self._counts, self._place = held, place
        held[place] += 1

    def close(self) -> None:
        if self.fileno() >= 0:
            self._counts[self._place] -= 1
            if not self._counts[self._place]:
                del self._counts[self._place]
        super().close()


def place_of(address: str) -> str:
    """Whose an address is: of IPv6, where one machine has as many as it likes, the network that it is in."""
    with contextlib.suppress(ValueError):
        if ":" in address:
            return str(ip_network((address.partition("%")[0], 64), strict=False))
    return address


def _descriptors() -> int:
    """How many files and connections the process may have, after asking for as many as it is allowed."""
    if resource is None:
        return 1 << 12
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = min(1 << 16, hard if hard != resource.RLIM_INFINITY else 1 << 16)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
            soft = wanted
    return max(OWN_FILES + 64, min(soft, 1 << 16) if soft != resource.RLIM_INFINITY else 1 << 16)
