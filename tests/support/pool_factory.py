"""What the workers of tests/server/workers do: each job says what is to happen to it."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Generator
from pathlib import Path

from bifseg.errors import Busy, InvalidInput, MissingFile

ERRORS = {kind.__name__: kind for kind in (InvalidInput, MissingFile, KeyError, Busy)}


def handler(options: dict) -> Callable[[dict], Generator[dict, None, dict]]:
    """A handler whose jobs are {"do": the name of one of those below, ...}."""
    jobs = {f.__name__: f for f in (echo, about, steps, stubborn, fail, missing, crash, crash_once, unsayable)}

    def work(job: dict) -> Generator[dict, None, dict]:
        return jobs[job["do"]](job, options)

    return work


def broken(options: dict) -> None:
    raise ValueError("There is no model.")


def lame(options: dict) -> Callable[[dict], Generator[dict, None, dict]]:
    """As `handler`, but a process that is started while the file ``options["flag"]`` exists takes a second for it."""
    if Path(options["flag"]).exists():
        time.sleep(1)
    return handler(options)


def mortal(options: dict) -> Callable[[dict], Generator[dict, None, dict]]:
    """As `handler`, but a process is killed while it starts, as often as there are letters in ``options["deaths"]``."""
    deaths = Path(options["deaths"])
    if left := deaths.read_text(encoding="utf-8"):
        deaths.write_text(left[1:], encoding="utf-8")
        os.kill(os.getpid(), signal.SIGKILL)
    return handler(options)


def echo(job: dict, options: dict) -> Generator[dict, None, dict]:
    print("what a library prints does not get between the messages")
    yield from ()
    return {"said": job.get("say"), "pid": os.getpid()}


def about(job: dict, options: dict) -> Generator[dict, None, dict]:
    yield from ()
    return {
        "options": options,
        "threads": os.environ["OMP_NUM_THREADS"],
        "loaded": sorted({"numpy", "torch"} & sys.modules.keys()),
        "interrupt": signal.getsignal(signal.SIGINT) == signal.SIG_IGN,
        "descriptors": [str(path.readlink()) for path in Path("/proc/self/fd").iterdir() if path.is_symlink()],
    }


def steps(job: dict, options: dict) -> Generator[dict, None, dict]:
    """``count`` steps of ``seconds``; when and by whom they were done is written to the file ``log``, if given."""
    _log(job, "begin")
    try:
        for k in range(job["count"]):
            time.sleep(job["seconds"])
            yield {"step": k, "pid": os.getpid()}
    finally:
        _log(job, "end")
    return {"steps": job["count"], "pid": os.getpid()}


def stubborn(job: dict, options: dict) -> Generator[dict, None, dict]:
    """One step that hears of no cancellation."""
    yield {"pid": os.getpid()}
    time.sleep(job["seconds"])
    return {"done": True}


def fail(job: dict, options: dict) -> Generator[dict, None, dict]:
    yield {"before": True}
    raise ERRORS[job["error"]](job["message"])


def missing(job: dict, options: dict) -> Generator[dict, None, dict]:
    yield from ()
    return {"content": Path("/nowhere/at all").read_text(encoding="utf-8")}


def crash(job: dict, options: dict) -> Generator[dict, None, dict]:
    """Killed, as by the kernel when memory runs out."""
    _log(job, "begin")
    yield {"pid": os.getpid()}
    os.kill(os.getpid(), signal.SIGKILL)


def crash_once(job: dict, options: dict) -> Generator[dict, None, dict]:
    first = not Path(job["log"]).exists()
    return (yield from (crash if first else echo)(job, options))


def unsayable(job: dict, options: dict) -> Generator[dict, None, dict]:
    _log(job, "begin")
    yield from ()
    return {"a set": {1, 2}}


def _log(job: dict, what: str) -> None:
    if "log" in job:
        with Path(job["log"]).open("a", encoding="utf-8") as file:
            file.write(f"{what} {job.get('say', '')} {time.monotonic()}\n")
