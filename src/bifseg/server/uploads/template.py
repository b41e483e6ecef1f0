"""A process that readers of uploads are forked from, as the server sees it: started, asked, and stopped.

Forking takes milliseconds where starting an interpreter and importing what reads files takes half a second. What it is
forked from holds no upload and never did; see `bifseg.server.uploads.forking`.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import struct
import subprocess
import sys
import threading
import time

from bifseg.threads import limited

STATUS = struct.Struct("<i")  # how a process ended, as `subprocess` says it
COMMAND = (sys.executable, "-m", "bifseg.server.uploads.forking")
PAUSE = 60.0  # seconds between two starts: one that dies again and again costs nobody anything
ENDING = 5.0  # seconds that it has to end a process that was given up
ALONE = limited(1, "BLOSC", "TIFFFILE") | {"NUMEXPR_MAX_THREADS": "1", "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS": "1"}


class LostError(Exception):
    """The template is not there (any more), and with it went what it was asked for."""


class Template:
    """One such process, started when it is first needed, and again where it died; on Linux alone, for elsewhere a
    process that has threads of the system's libraries must not be forked."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen | None = None
        self._control: socket.socket | None = None
        self._started = -PAUSE
        self._closed = False

    @property
    def process(self) -> int | None:
        """Its id, while it lives."""
        process = self._process
        return process.pid if process is not None and process.poll() is None else None

    def start(self) -> bool:
        """Begin to start it, unless it lives: whether it can be asked. It imports beside whatever else is done."""
        with self._lock:
            if self.process is not None:
                return True
            if sys.platform != "linux" or self._closed or time.monotonic() < self._started + PAUSE:
                return False
            self._started = time.monotonic()
            self._hang_up()
            mine, theirs = socket.socketpair()
            silent, env = subprocess.DEVNULL, {**os.environ, **ALONE}
            with theirs:
                self._process = subprocess.Popen(
                    [*COMMAND, str(theirs.fileno())], pass_fds=[theirs.fileno()], stdin=silent, stdout=silent,
                    stderr=silent, env=env,
                )  # fmt: skip
            self._control = mine
            threading.Thread(target=self._process.wait, daemon=True).start()  # so that it leaves nothing when it dies
            return True

    def run(self, job: dict) -> int:
        """Have a process do a job, see `bifseg.server.uploads.reader_process`: its exit status.

        Raises LostError where there is no template, or it died meanwhile, TimeoutError after the job's ``seconds``;
        the process is dead then.
        """
        control = self._control if self.start() else None
        if control is None:
            raise LostError
        mine, theirs = socket.socketpair()
        with mine:
            with theirs:
                try:
                    socket.send_fds(control, [b"j"], [theirs.fileno()])
                except (OSError, ValueError):  # it is closed
                    raise LostError from None
            try:
                mine.settimeout(job["limits"]["seconds"])
                mine.sendall(json.dumps(job).encode() + b"\n")
                return self._status(mine)
            except TimeoutError:
                with contextlib.suppress(OSError):
                    mine.shutdown(socket.SHUT_WR)
                mine.settimeout(ENDING)
                try:
                    self._status(mine)
                except TimeoutError:  # it does nothing any more
                    self.kill()
                raise

    def kill(self) -> None:
        """End it, and with it all that it forked."""
        process = self._process
        if process is not None:
            process.kill()
            process.wait()

    def close(self) -> None:
        """End it, for good."""
        with self._lock:
            self._closed = True
            self._hang_up()
        self.kill()

    def _hang_up(self) -> None:
        if self._control is not None:
            self._control.close()
            self._control = None

    @staticmethod
    def _status(mine: socket.socket) -> int:
        try:
            told = mine.recv(STATUS.size)
        except ConnectionError:
            told = b""
        if len(told) < STATUS.size:
            raise LostError
        return STATUS.unpack(told)[0]
