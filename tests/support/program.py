"""`bifseg serve` and `bifseg app` as a person starts them: processes of their own."""

from __future__ import annotations

import signal
import subprocess

IDLE = """
from bifseg.server.workers.pool import Pool
async def none(*_): pass
Pool.start = Pool.start_after = none
"""  # what such a process runs first where nothing is computed: no worker is started, which would load torch
COLD = """
from bifseg.server.settings import Settings
Settings.warm = property(lambda _: False, lambda *_: None)
"""  # where it does not matter how soon it answers: nothing is tried out and nothing loaded before somebody asks for it
MAIN = "import sys; from bifseg.cli import main; sys.exit(main(sys.argv[1:]))"


class Program:
    """A process that says in its first ``line`` where it serves; a ``with`` block that ends before it kills it."""

    def __init__(self, *command: object, environment: dict[str, str] | None = None) -> None:
        self._process = subprocess.Popen(
            list(map(str, command)), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
        )
        self.pid = self._process.pid
        self.line = self._process.stdout.readline()

    def failed(self) -> RuntimeError:
        """What it said in place of where it serves."""
        return RuntimeError(self.line + self._process.communicate()[1])

    def stop(self, number: int = signal.SIGTERM) -> tuple[int, str]:
        """Its exit code and what it wrote after the first line; ``log`` is what it wrote to stderr."""
        self._process.send_signal(number)
        return self.wait()

    def wait(self) -> tuple[int, str]:
        """As `stop`, of one that ends by itself."""
        out, self.log = self._process.communicate(timeout=60)
        return self._process.returncode, out

    def __enter__(self) -> Program:
        return self

    def __exit__(self, *exception: object) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.communicate()
