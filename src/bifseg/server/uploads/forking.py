"""What forks a reader for each upload: ``-m bifseg.server.uploads.forking FD``, the end of a socket.

The process imports all that readers need, and holds nothing else: over the socket come sockets, one for each job, and
the job itself is read by the process that was forked for it. See `bifseg.server.uploads.template` for the other end.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import select
import signal
import socket
import sys
import tempfile
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from bifseg.io import libraries
from bifseg.server.uploads import reader_process
from bifseg.server.uploads.template import STATUS

FIRST = (
    "bifseg.io.images",
    "bifseg.server.uploads.scan",
    "pydicom",
    "bifseg.io.dicom_series",
    "bifseg.server.uploads.jobs",
    "bifseg.io.dicom_display",
)  # what most who wait, wait for
REST = ("bifseg.server.uploads.channel", "bifseg.server.nninteractive.nnia", "blosc2", "bifseg.storage.transfer",
        "bifseg.server.api.bodies.images")  # fmt: skip
IDLE = 3000  # milliseconds without a job, after which the rest is imported: not beside a scan that is being opened
THREADED = 3  # the status of a template in which a library began a thread: it must not be forked


@dataclass(frozen=True)
class Running:
    """A job that a process was forked for."""

    process: int
    handle: int  # of the process, for poll
    socket: socket.socket


def main(control: socket.socket) -> None:
    """Fork a process for every socket that comes, until the other end is closed: then they all end, and this."""
    for number in (signal.SIGINT, signal.SIGTERM):  # meant for the server
        signal.signal(number, signal.SIG_IGN)
    os.close(os.pidfd_open(os.getpid()))  # where the system has none of these, the server reads without a template
    first, rest = deque(FIRST), deque([*libraries.modules(), *REST, ""])
    jobs, poll, quiet, asked = list[Running](), select.poll(), False, False
    poll.register(control, select.POLLIN)
    while True:
        now = bool(first) and not asked  # who comes first imports what it needs by itself, and has the cores for it
        left = first or rest
        events = dict(poll.poll(0 if now or (left and quiet) else IDLE if left else None))
        quiet = not events and not jobs and not now
        for job in [job for job in jobs if job.socket.fileno() in events]:  # given up by who asked
            signal.pidfd_send_signal(job.handle, signal.SIGKILL)
            poll.unregister(job.socket)
        for job in [job for job in jobs if job.handle in events]:
            _end(job, poll)
            jobs.remove(job)
        if control.fileno() in events:
            _, handles, _, _ = socket.recv_fds(control, 1, 1)
            if not handles:
                break
            while asked and first:
                _load(first.popleft())
            asked = True
            jobs.append(_forked(socket.socket(fileno=handles[0]), control, jobs))
            poll.register(jobs[-1].handle, select.POLLIN)
            poll.register(jobs[-1].socket, select.POLLRDHUP)
        elif now or (left and quiet):
            _load(left.popleft())
    for job in jobs:
        signal.pidfd_send_signal(job.handle, signal.SIGKILL)
        os.waitpid(job.process, 0)


def _load(name: str) -> None:
    """Import a module, where it is installed, between two looks at the socket; at the end what is no module."""
    if name:
        with suppress(ImportError):
            importlib.import_module(name)
        return
    from bifseg.io import dicom_seg

    dicom_seg.warm_up()
    gc.collect()
    gc.freeze()  # so that readers do not copy pages only to look for what is no longer used


def _end(job: Running, poll: select.poll) -> None:
    """Say how a process ended."""
    _, status = os.waitpid(job.process, 0)
    with suppress(OSError):  # nobody waits for it any more
        job.socket.send(STATUS.pack(os.waitstatus_to_exitcode(status)))
    with suppress(KeyError):
        poll.unregister(job.socket)
    poll.unregister(job.handle)
    os.close(job.handle)
    job.socket.close()


def _forked(asked: socket.socket, control: socket.socket, jobs: list[Running]) -> Running:
    """A process that does the job that is asked for over a socket."""
    if sum(1 for _ in Path("/proc/self/task").iterdir()) > 1:
        sys.exit(THREADED)
    template = os.getpid()
    process = os.fork()
    if process:
        return Running(process, os.pidfd_open(process), asked)
    status = 1
    try:
        for job in jobs:
            job.socket.close()
            os.close(job.handle)
        control.close()
        with asked, asked.makefile("rb") as lines:
            job = json.loads(lines.readline())
        os.environ["TMPDIR"] = tempfile.tempdir = job["folder"]
        reader_process.main(job, template)
        status = 0
    finally:
        os._exit(status)


if __name__ == "__main__":
    main(socket.socket(fileno=int(sys.argv[1])))
