"""``bifseg serve`` as benchmarks start it, kill it and weigh it."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx

STARTING = 900  # seconds; a machine that is busy with other work, at the lowest priority, takes minutes
MODULES = {"workers": "bifseg.server.workers.main", "readers": "bifseg.server.uploads"}  # of processes beside its own


class Server:
    """``bifseg serve`` in a process group of its own."""

    def __init__(self, folder: Path, workers: int, threads: int) -> None:
        self.folder, self.workers, self.threads = folder, workers, threads
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.url, self.process = f"http://127.0.0.1:{self.port}", None

    def start(self) -> None:
        command = [str(Path(sys.executable).with_name("bifseg")), "serve", "--data", str(self.folder)]
        command += ["--port", str(self.port)]
        command += ["--workers", str(self.workers), "--threads", str(self.threads)]
        until = time.monotonic() + STARTING
        with httpx.Client(verify=False) as asking:  # one: to look for certificates takes longer than to ask
            while time.monotonic() < until:
                if self.process is None or self.process.poll() is not None:  # or its workers were too slow to start
                    self.process = subprocess.Popen(
                        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
                    )
                    give_way(self.process.pid, priority())
                with contextlib.suppress(httpx.HTTPError):
                    if asking.get(f"{self.url}/healthz").status_code == 200:
                        return
                time.sleep(0.05)
        raise RuntimeError("The server did not start.")

    def kill(self) -> None:
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def kill_one(self, kind: str, rng: random.Random) -> bool:
        """Kill one of the server's processes: one of its "workers", or of the "readers" of uploads, be it what they are
        forked from; False where there is none."""
        found = [pid for pid in _tree(self.process.pid) if MODULES[kind] in _command(pid)]
        if not found:
            return False
        with contextlib.suppress(ProcessLookupError):  # it ended meanwhile
            os.kill(rng.choice(found), signal.SIGKILL)
        return True

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait()

    def memory(self) -> float:
        """MiB that the server's processes hold alone, or share among themselves only once counted."""
        return round(self.memories()["all"], 1)

    def memories(self) -> dict[str, float]:
        """The same of "all", of the "server" itself, the "workers", and the "readers" of uploads with what they are
        forked from."""
        held = dict.fromkeys(("all", "server", *MODULES), 0.0)
        for pid in _tree(self.process.pid):
            try:
                lines = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="utf-8").splitlines()
            except OSError:
                continue
            own = sum(int(line.split()[1]) for line in lines if line.startswith(("Pss_Anon:", "Pss_Shmem:"))) / 1024
            command = _command(pid)
            held[next((kind for kind, module in MODULES.items() if module in command), "server")] += own
            held["all"] += own
        return {kind: round(mib, 1) for kind, mib in held.items()}


def priority() -> str:
    """That of this session, where Linux groups by sessions; else empty."""
    with contextlib.suppress(OSError):
        return Path("/proc/self/autogroup").read_text("utf-8").rpartition(" ")[2].strip()  # empty if it groups nothing
    return ""


def give_way(pid: int, own: str) -> None:
    """A new session has a priority of its own: it gets this one."""
    with contextlib.suppress(OSError):
        Path(f"/proc/{pid}/autogroup").write_text(own, "utf-8")


def _tree(pid: int) -> list[int]:
    found = [pid]
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):  # it ended meanwhile
            for child in children.read_text(encoding="utf-8").split():
                found += _tree(int(child))
    return found


def _command(pid: int) -> str:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace")
    return ""
