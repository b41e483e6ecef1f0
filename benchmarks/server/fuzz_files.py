"""Damaged files of every format through the code that reads uploads: none may abort it, hang it, or find a bug.

    python -m benchmarks.server.fuzz_files --files 20000 --uploads 20000 [--seed 0] [--keep FOLDER] [--log FILE]

Each file is a whole one whose fields, counts, offsets, parts or bytes were changed by something that knows its format
(damaged_files.py). ``--files`` of them are read in a process with the limits of
`bifseg.server.uploads.reader_process`, many to a process for speed; ``--uploads`` others go over HTTP to a server,
which reads each in a process of its own. Those take hours: with ``--log`` what is done is written down piece by piece,
and a second call goes on where the first was ended. What is found is kept, and the exit code is 1.
"""

from __future__ import annotations

import argparse
import json
import logging
import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback
import warnings
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import httpx

from benchmarks.server.damaged_files import made, whole

if TYPE_CHECKING:
    from benchmarks.server.process import Server

SECONDS = 10  # that one file may take
VOXELS, BYTES = 1 << 24, 1 << 27
PIECE = 50  # uploads between two lines of the log
FAULTS = ("bug", "fault", "hang", "abort")

# ---- reading


class Hang(BaseException):
    """It took too long."""


def read(path: Path) -> tuple[str, str]:
    """What the upload's code makes of a file: a kind of outcome, and a word about it."""
    from bifseg.errors import BifsegError
    from bifseg.server.uploads import reader_process
    from bifseg.server.uploads.scan import image_from_upload

    signal.setitimer(signal.ITIMER_PROF, SECONDS)  # of the processor: the machine may be busy
    signal.alarm(30 * SECONDS)  # of the clock: it may sleep
    try:
        if path.suffix == ".zip":
            reader_process._check_zip(path)
        image, _ = image_from_upload(path, VOXELS, BYTES)
        return "read", str(image.shape)
    except BifsegError as error:
        return ("refused", type(error).__name__) if len(str(error).splitlines()) == 1 else ("bug", repr(error))
    except MemoryError:
        return "refused", "memory"
    except Hang:
        return "hang", ""
    except Exception:
        return "bug", traceback.format_exc()
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.alarm(0)


def work(pipe: multiprocessing.connection.Connection, names: list[str], contents: list[bytes], seed: int, first: int,
         last: int, step: int) -> None:  # fmt: skip
    """Read the files of some numbers, telling each number before and its outcome after."""
    from bifseg.io.itk import sitk
    from bifseg.server.uploads import reader_process

    def late(*_: object) -> None:
        raise Hang

    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore")
    for late_by in (signal.SIGPROF, signal.SIGALRM):
        signal.signal(late_by, late)
    sitk()
    reader_process._limit_memory(3 * BYTES + (1 << 30))
    with tempfile.TemporaryDirectory() as folder:
        for number in range(first, last, step):
            name, content = made(names, contents, seed, number)
            path = Path(folder, name)
            path.write_bytes(content)
            pipe.send((number, None, 0.0))
            start = time.monotonic()
            outcome = read(path)
            pipe.send((number, outcome, time.monotonic() - start))
            path.unlink()
    pipe.send(None)


def run(files: int, seed: int, keep: Path) -> dict:
    """Read damaged files; what came of them."""
    seeds = whole()
    names, contents = list(seeds), list(seeds.values())
    outcomes: Counter = Counter()
    slowest, number, begun = (0.0, -1), 0, time.monotonic()
    while number < files:
        ours, theirs = multiprocessing.Pipe()
        child = multiprocessing.Process(target=work, args=(theirs, names, contents, seed, number, files, 1))
        child.start()
        theirs.close()
        try:
            while (said := ours.recv()) is not None:
                number, outcome, seconds = said
                if outcome is None:
                    continue
                slowest = max(slowest, (round(seconds, 2), number))
                outcomes[outcome[0]] += 1
                if outcome[0] in ("bug", "hang"):
                    record(keep, names, contents, seed, number, outcome)
                number += 1
                if number % 1000 == 0:
                    print(f"{number} files, {time.monotonic() - begun:.0f} s: {dict(outcomes)}", flush=True)
        except EOFError:
            child.join()
            outcomes["abort"] += 1
            record(keep, names, contents, seed, number, ("abort", f"exit code {child.exitcode}"))
            number += 1
        child.join()
    result = {"files": files, "seed": seed, "slowest_s": slowest[0], "slowest": slowest[1], **outcomes}
    return result | {"seconds": round(time.monotonic() - begun, 1)}


def through_http(count: int, seed: int, keep: Path, log: Path | None = None) -> dict:
    """Upload damaged files to a ``bifseg serve`` of its own, piece by piece: what came of them.

    ``abort``: the server, or the connection to it, went away; ``fault``: an answer of 500 or more; ``hang``: a file
    that took more than `SECONDS` of the processor. ``log``: a file to which every piece is appended; those in it are
    not done again.
    """
    from benchmarks.server.process import Server

    seeds = whole()
    lines = log.read_text(encoding="utf-8").splitlines() if log and log.exists() else []
    pieces = [piece for piece in map(json.loads, lines) if piece["seed"] == seed and piece["last"] <= count]
    done = {piece["first"] for piece in pieces}
    left = [first for first in range(0, count, PIECE) if first not in done]
    with tempfile.TemporaryDirectory() as folder:
        server = Server(Path(folder), workers=1, threads=1)
        if left:
            server.start()
        try:
            for first in left:
                pieces.append(one_piece(server, seeds, seed, first, min(first + PIECE, count), keep))
                print(json.dumps(pieces[-1]), flush=True)
                if log:
                    with log.open("a", encoding="utf-8") as file:
                        file.write(json.dumps(pieces[-1]) + "\n")
                if "abort" in pieces[-1]["formats"].get("server", {}):
                    server.start()
        finally:
            if left:
                server.stop()
    total: dict[str, Counter] = {}
    for piece in pieces:
        for name, outcomes in piece["formats"].items():
            total.setdefault(name, Counter()).update(outcomes)
    return {
        **sum(total.values(), Counter()), "uploads": sum(piece["last"] - piece["first"] for piece in pieces),
        "formats": total, "slowest_s": max(piece["slowest_s"] for piece in pieces),
        "mib": max(piece["mib"] for piece in pieces), "seconds": round(sum(piece["seconds"] for piece in pieces)),
    }  # fmt: skip


def one_piece(server: Server, seeds: dict[str, bytes], seed: int, first: int, last: int, keep: Path) -> dict:
    """Upload the files of some numbers."""
    names, contents = list(seeds), list(seeds.values())
    formats: dict[str, Counter] = {}
    begun, slowest, memory, ended = time.monotonic(), 0.0, 0.0, threading.Event()

    def answer(number: int) -> tuple[int, str, str, float]:
        name, content = made(names, contents, seed, number)
        start = time.monotonic()
        kind, words = uploaded(server.url, name, content)
        seconds = time.monotonic() - start
        if kind != "abort" and seconds > SECONDS:  # of a clock on the wall, on a machine that may be busy
            seconds = processor_seconds(name, content)
            kind = "hang" if seconds > SECONDS else kind
        return number, kind, words, seconds

    def watch() -> None:
        nonlocal memory
        while not ended.wait(1):
            memory = max(memory, server.memory())

    watching = threading.Thread(target=watch)
    watching.start()
    try:
        with ThreadPoolExecutor(2) as clients:
            for number, kind, words, seconds in clients.map(answer, range(first, last)):
                formats.setdefault(Path(names[number % len(names)]).suffix, Counter())[kind] += 1
                slowest = max(slowest, seconds)
                if kind in FAULTS:
                    record(keep, names, contents, seed, number, (kind, words))
    finally:
        ended.set()
        watching.join()
    if server.process.poll() is not None:
        formats["server"] = Counter(abort=1)
    return {
        "seed": seed, "first": first, "last": last, "formats": formats, "slowest_s": round(slowest, 2),
        "mib": round(memory), "seconds": round(time.monotonic() - begun, 1),
    }  # fmt: skip


def processor_seconds(name: str, content: bytes) -> float:
    """The time of the processor that a reader takes for a file, whatever else the machine does."""
    code = "import json, sys; from bifseg.server.uploads.reader_process import main; main(json.load(sys.stdin))"
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, name)
        path.write_bytes(content)
        bounds = {"voxels": VOXELS, "bytes": BYTES, "seconds": 300, "memory": 3 * BYTES + (1 << 30)}
        job = {"kind": "image", "path": str(path), "folder": folder, "limits": bounds, "series": None}
        with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL) as process:  # fmt: skip
            process.stdin.write(json.dumps(job).encode())
            process.stdin.close()
            _, _, used = os.wait4(process.pid, 0)
            process.returncode = 0
    return used.ru_utime + used.ru_stime


def uploaded(url: str, name: str, content: bytes) -> tuple[str, str]:
    """What a server answers to an upload: a kind of outcome, and a word about it."""
    try:
        answer = httpx.post(f"{url}/api/v1/images", params={"name": name}, content=content, timeout=300)
    except httpx.HTTPError as error:
        return "abort", repr(error)
    if answer.status_code == 201:
        return "read", ""
    kind = "fault" if answer.status_code >= 500 else "refused"
    return kind, f"{answer.status_code} {answer.text}"


def record(keep: Path, names: list[str], contents: list[bytes], seed: int, number: int, outcome: tuple) -> None:
    """Keep a file, and say what it did."""
    name, content = made(names, contents, seed, number)
    keep.mkdir(parents=True, exist_ok=True)
    (keep / f"{seed}-{number}-{name}").write_bytes(content)
    print(f"{outcome[0]} by {keep / f'{seed}-{number}-{name}'}: {outcome[1].strip()[-600:]}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--files", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, default=Path("fuzzed"))
    parser.add_argument("--uploads", type=int, default=200)
    parser.add_argument("--log", type=Path, help="of uploads: pieces in it are not done again")
    options = parser.parse_args()
    results = {"files": run(options.files, options.seed, options.keep)} if options.files else {}
    if options.uploads:
        results["uploads"] = through_http(options.uploads, options.seed + 1, options.keep, options.log)
    print(json.dumps(results))
    sys.exit(any(result.get(kind) for result in results.values() for kind in FAULTS))


if __name__ == "__main__":
    main()
