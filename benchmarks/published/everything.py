"""All published numbers, one command after another: ``python -m benchmarks.published.everything DATA``.

``--list`` says what is done and what is left. A job is done once it has ended with the code under src/ as it is now:
docs/results/made.json tells when, where and at which commit. Stopped, it goes on where it was; each judge goes on
within its job. Rows whose settings, weights, users and evaluator are the same are kept: `check` says whether they
still come out.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.published.judge import PARTS
from bifseg.io.atomic import write_json

ROOT = Path(__file__).parents[2]
RESULTS = Path("docs") / "results"
MADE = ROOT / RESULTS / "made.json"
BY_HAND = (
    "Not among these, because they take hours or a machine of their own: training (docs/explanation/training.md), the "
    "paper's experiment (docs/explanation/paper.md), the server's load and kills (docs/how-to/serve.md), the choice of "
    "parameters (docs/explanation/method.md, speed.md)."
)


@dataclass(frozen=True)
class Job:
    """One command. ``module`` and ``words``: of ``python -m``; the word DATA stands for the folder of data sets."""

    module: str
    words: tuple[str, ...] = ()

    def command(self, data: Path) -> list[str]:
        return [sys.executable, "-m", self.module, *(str(data) if word == "DATA" else word for word in self.words)]


def _judged(protocol: str) -> Job:
    return Job("benchmarks.published.judge", (protocol, "DATA", "-o", str(RESULTS)))


JOBS: dict[str, Job] = {
    "speed": Job("benchmarks.speed"),
    "reading": Job("benchmarks.page.reading"),
    "page": Job("benchmarks.page"),
    "fairness": Job("benchmarks.server.fairness", ("-o", str(RESULTS / "server-fairness.json"))),
    **{protocol: _judged(protocol) for protocol in ("unseen", *(name for name in PARTS if name != "unseen"))},
    "nested": Job(
        "benchmarks.published.nested",
        ("DATA", f"{RESULTS}/rounds.jsonl.gz", f"{RESULTS}/unseen.jsonl.gz", "-o", f"{RESULTS}/nested.json"),
    ),
    "libraries": Job("benchmarks.published.libraries", ("DATA",)),
    "evidence": Job("benchmarks.published.evidence"),
    "docs": Job("docs.generate"),
}  # fmt: skip
"""In the order in which they run: what times itself first, what reads others' results last."""
LAST = ("nested", "evidence", "docs")  # seconds: made whenever anything was


def source() -> str:
    """The code under src/, as git names it; with a + where files there were changed since the commit."""
    tree = _git("rev-parse", "HEAD:src")
    return tree + ("+" if _git("status", "--porcelain", "--", "src") else "")


def made() -> dict[str, dict]:
    """What is known of each job that ended, by its name."""
    return json.loads(MADE.read_bytes()) if MADE.exists() else {}


def stamp(name: str, seconds: float) -> None:
    """Note that a job has ended."""
    told = {
        "date": time.strftime("%Y-%m-%d %H:%M"), "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "commit": _git("rev-parse", "--short", "HEAD"), "source": source(), "minutes": round(seconds / 60, 1),
    }  # fmt: skip
    write_json(MADE, {**made(), name: told})


def state(name: str, known: dict[str, dict], code: str) -> str:
    """What is to say of a job: done, of other code, or never run by this command."""
    told = known.get(name)
    if told is None:
        return "left, never run by this command"
    where = f"{told['date']}, commit {told['commit']}, {told['machine']}, {told['minutes']} min"
    return f"done: {where}" if told["source"] == code else f"left, the code has changed since: {where}"


def left(names: Sequence[str], known: dict[str, dict], code: str) -> list[str]:
    """The jobs that have not ended with this code; what reads others' results, too, where any of those is left."""
    missing = [name for name in names if known.get(name, {}).get("source") != code]
    return [name for name in names if name in missing or (missing and name in LAST)]


def _git(*words: str) -> str:
    return subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="folder of the data sets")
    parser.add_argument("--list", action="store_true", help="say what is done and what is left, run nothing")
    parser.add_argument(
        "--only", nargs="+", choices=list(JOBS), default=list(JOBS), metavar="JOB", help=", ".join(JOBS)
    )
    arguments = parser.parse_args()
    if not arguments.data.is_dir():
        raise SystemExit(f"There is no folder {arguments.data}; give the one that holds the data sets.")
    known, code = made(), source()
    for name in arguments.only:
        print(f"{name:10} {state(name, known, code)}")
    print(BY_HAND, flush=True)
    if arguments.list:
        return
    failed = []
    for name in left(arguments.only, known, code):
        print(f"{name}: {' '.join(JOBS[name].command(arguments.data)[1:])}", flush=True)
        begun = time.monotonic()
        if subprocess.run(JOBS[name].command(arguments.data.absolute()), cwd=ROOT).returncode:
            failed.append(name)
        else:
            stamp(name, time.monotonic() - begun)
    if failed:
        raise SystemExit(f"{', '.join(failed)} failed; give the same command again once that is mended.")


if __name__ == "__main__":
    main()
