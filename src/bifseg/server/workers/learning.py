"""What the process that learns does: ``-m bifseg.server.workers.learning FOLDER...``, all tasks in these folders.

It gives way to everything else on the machine, and ends when it has nothing to learn, or when its standard input does.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import traceback
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from bifseg.tasks.store import Task, Tasks
from bifseg.tasks.version import Version
from bifseg.tasks.versions import learn_version


def main(folders: list[str]) -> None:
    """Learn what was not learnt yet; each task and dimension is tried once for the same examples."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _give_way()
    tried: set[tuple[Path, Version]] = set()
    had: Counter[Path] = Counter()  # how often a user's tasks had their turn
    while new := [(task, wanted) for task, wanted in wanted_in(folders) if (task.folder, wanted) not in tried]:
        task, wanted = following(new, had)
        had[task.folder.parent] += 1
        tried.add((task.folder, wanted))
        try:
            learn_version(task, wanted.dimension)
        except Exception as error:
            _tell(error)


def wanted_in(folders: list[str]) -> Iterator[tuple[Task, Version]]:
    """What was not learnt yet in any of these."""
    for folder in folders:
        yield from Tasks(Path(folder)).unlearnt()


def following(new: Sequence[tuple[Task, Version]], had: Mapping[Path, int]) -> tuple[Task, Version]:
    """What is learnt next: of the user who had least, so that nobody's many tasks stand before all others'."""
    return min(new, key=lambda pair: had[pair[0].folder.parent])


def _tell(error: Exception) -> None:
    """Where it went wrong, and no sentence, which may name the task."""
    place = traceback.extract_tb(error.__traceback__)[-1]
    where = f"{type(error).__name__} at {place.name}, line {place.lineno}"
    print(f"bifseg: a task was not learnt: {where}", file=sys.stderr)


def _give_way() -> None:
    """Have the cores that nobody else wants."""
    with contextlib.suppress(OSError):  # where memory ends, this process goes, and none that serves
        Path("/proc/self/oom_score_adj").write_text("1000", encoding="utf-8")
    with contextlib.suppress(OSError, AttributeError):
        os.nice(19)  # and no less: on a machine that is always busy it would never learn


def _end_with_parent() -> None:
    while os.read(0, 1024):  # not sys.stdin, whose lock would be held when the interpreter ends
        pass
    os._exit(0)  # at once: whatever is under way was not said to be there


if __name__ == "__main__":
    main(sys.argv[1:])
