"""What a worker process is: ``-m bifseg.server.workers.main FACTORY FD OPTIONS``, jobs in, progress and results out.

Parent and child speak over a socket: four bytes of length, then JSON. The child ends when the socket does.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import select
import signal
import socket
import struct
import sys
import traceback
from collections.abc import Callable, Generator
from pkgutil import resolve_name

from bifseg.errors import BifsegError, StorageFull
from bifseg.loading import loading
from bifseg.storage.full_disk import FULL, is_full

NICE = 5  # by which computing gives way to the server's own process, whose replies take milliseconds
LENGTH = struct.Struct("<I")
SHARED = "shared"  # in the place of a socket's number, where processes cannot pass one on: standard input tells of it


def encode(message: dict) -> bytes:
    """One message as it goes over the socket."""
    content = json.dumps(message).encode()
    return LENGTH.pack(len(content)) + content


def main(factory: str, handle: str, options: dict) -> None:
    """Do jobs until the parent closes its end."""
    for number in (signal.SIGINT, signal.SIGTERM):  # meant for the parent, which lets running jobs end
        signal.signal(number, signal.SIG_IGN)
    _die_with_parent()
    with contextlib.suppress(OSError, AttributeError):
        os.nice(NICE)
    with _connection(handle) as connection:
        with loading(keep=True):
            make = resolve_name(factory)
        handler = make(options)
        with contextlib.suppress(ConnectionError, EOFError):
            connection.sendall(encode({"ready": True}))
            while True:
                message = _receive(connection)
                if "job" in message:  # else it is a cancellation that came too late
                    connection.sendall(_work(handler, message, connection))


def _connection(handle: str) -> socket.socket:
    if handle == SHARED:
        return socket.fromshare(sys.stdin.buffer.read())  # type: ignore[attr-defined]  # of Windows
    return socket.socket(fileno=int(handle))


def _work(handler: Callable[[dict], Generator[dict, None, dict]], message: dict, connection: socket.socket) -> bytes:
    """Do one job: its result, its error, or that it was cancelled, encoded; progress is sent as it comes."""
    id = message["id"]
    try:
        steps = handler(message["job"])
        while True:
            if _cancelled(connection, id):
                steps.close()
                return encode({"cancelled": True, "id": id})
            try:
                told = next(steps)
            except StopIteration as end:
                return encode({"done": end.value, "id": id})
            connection.sendall(encode({"progress": told, "id": id}))
    except (ConnectionError, EOFError):
        raise
    except BifsegError as error:
        refused = StorageFull(FULL) if is_full(error) and not isinstance(error, StorageFull) else error
        return encode({"refused": refused.as_dict(), "id": id})
    except MemoryError:
        refused = StorageFull("There is not enough memory for this interaction; the session is as it was.")
        return encode({"refused": refused.as_dict(), "id": id})
    except Exception as error:
        if is_full(error):
            return encode({"refused": StorageFull(FULL).as_dict(), "id": id})
        place = traceback.extract_tb(error.__traceback__)[-1]  # not the message: it may tell of a patient
        where = f"{type(error).__name__} at {place.name}, line {place.lineno}"
        print(f"bifseg: a job failed: {where} of {place.filename}", file=sys.stderr)
        words = f"The interaction failed inside ({where}); the session is as it was."
        return encode({"failed": words, "id": id})


def _cancelled(connection: socket.socket, id: int) -> bool:
    while select.select([connection], [], [], 0)[0]:
        if _receive(connection).get("cancel") == id:
            return True
    return False


def _receive(connection: socket.socket) -> dict:
    (length,) = LENGTH.unpack(_exactly(connection, LENGTH.size))
    return json.loads(_exactly(connection, length))


def _exactly(connection: socket.socket, count: int) -> bytes:
    parts = bytearray()
    while len(parts) < count:
        part = connection.recv(min(count - len(parts), 1 << 20))
        if not part:
            raise EOFError
        parts += part
    return bytes(parts)


def _die_with_parent() -> None:
    """On Linux, end also when the parent was killed in the middle of a long computation."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, 9)  # PR_SET_PDEATHSIG, SIGKILL


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], json.loads(sys.argv[3]))
