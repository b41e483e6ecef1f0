"""A worker process as the server sees it: started, given jobs, heard, and stopped."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from typing import Protocol

from bifseg.errors import Cancelled, from_dict
from bifseg.server.workers.main import LENGTH, SHARED, encode
from bifseg.threads import limited, waits

STARTING = 600.0  # seconds that a worker may take to load its model, on a machine that is busy with other work
STOPPING = 5.0  # seconds that a worker gets to notice a cancellation before it is killed


class WorkError(RuntimeError):
    """The interaction failed for a reason that is not the user's."""


class StartError(WorkError):
    """A worker process ended, or did nothing, before it was ready; nothing that it was to do was begun."""


class DeadError(Exception):
    """The worker process ended."""


class ChildJob(Protocol):
    """What a worker process needs to know of a job."""

    id: int
    work: dict
    progress: Callable[[dict], None] | None
    result: asyncio.Future
    cancelled: bool


class Child:
    """One worker process and the socket to it; see `bifseg.server.workers.main` for the other end."""

    def __init__(self, factory: str, options: dict, threads: int) -> None:
        self._factory, self._options, self._threads = factory, options, threads
        self._process: subprocess.Popen | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._closed = False
        self.ready, self.starts = False, 0

    @property
    def alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    async def start(self) -> None:
        """Start the process, again if it ended, and wait until it is ready; DeadError after `close`."""
        await self.stop()
        if self._closed:
            raise DeadError
        self.starts += 1
        options = {**self._options, "threads": self._threads}
        mine, theirs = socket.socketpair()
        with theirs:
            command = [sys.executable, "-m", "bifseg.server.workers.main", self._factory]
            self._process = _started(
                command, json.dumps(options), theirs, {**os.environ, **waits(), **limited(self._threads)}
            )
        self._reader, self._writer = await asyncio.open_connection(sock=mine)
        try:
            if self._closed:  # meanwhile
                raise DeadError
            await asyncio.wait_for(self._hear(), STARTING)
            self.ready = True
        except (DeadError, asyncio.TimeoutError):
            await self.stop()
            if self._closed:
                raise DeadError from None
            raise StartError("A worker process did not start; its words are on the server's standard error.") from None

    async def do(self, job: ChildJob) -> dict:
        """Have the process do a job: its result. Raises what the handler raised, or DeadError."""
        self.say({"job": job.work, "id": job.id})
        if job.cancelled:  # while the worker was started again
            self.say({"cancel": job.id})
        while True:
            message = await self._hear()
            if message.get("id") != job.id:
                continue
            if "progress" in message:
                if job.progress and not job.result.done():
                    try:
                        job.progress(message["progress"])
                    except Exception as error:  # of the caller, who hears of it; the worker has to end the job first
                        job.result.set_exception(error)
                        self.say({"cancel": job.id})
            elif "done" in message:
                return message["done"]
            elif "cancelled" in message:
                raise Cancelled("The interaction was cancelled; the session is as it was.")
            else:
                raise from_dict(message["refused"]) if "refused" in message else WorkError(message["failed"])

    def say(self, message: dict) -> None:
        if self._writer is not None:  # one that is dead does not hear it, which `do` notices
            self._writer.write(encode(message))

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()

    async def close(self) -> None:
        """Stop the process, for good."""
        self._closed = True
        await self.stop()

    async def stop(self) -> None:
        """Close the socket, at which the process ends; one that does not is killed."""
        process, writer, self._process, self._writer, self.ready = self._process, self._writer, None, None, False
        if writer is not None:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
        if process is not None:
            try:
                await asyncio.to_thread(process.wait, STOPPING)
            except subprocess.TimeoutExpired:
                process.kill()
                await asyncio.to_thread(process.wait)

    async def _hear(self) -> dict:
        try:
            (length,) = LENGTH.unpack(await self._reader.readexactly(LENGTH.size))
            return json.loads(await self._reader.readexactly(length))
        except (asyncio.IncompleteReadError, OSError):
            raise DeadError from None


def _started(command: list[str], options: str, theirs: socket.socket, environment: dict[str, str]) -> subprocess.Popen:
    """A process that has a socket of ours: by its number or, on Windows, by what its standard input tells of it."""
    if not hasattr(theirs, "share"):
        command = [*command, str(theirs.fileno()), options]
        return subprocess.Popen(command, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL, env=environment)
    process = subprocess.Popen([*command, SHARED, options], stdin=subprocess.PIPE, env=environment)
    if process.stdin is not None:
        with contextlib.suppress(BrokenPipeError), process.stdin as told:  # one that is dead is noticed by who listens
            told.write(theirs.share(process.pid))
    return process
