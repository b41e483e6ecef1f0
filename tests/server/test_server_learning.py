"""Learning beside the server: killed at any point, nothing is lost, and nothing half done is used."""

import asyncio
import subprocess
import sys
import time
from collections import Counter

import impatient_learner
import pytest
from kinds_of_objects import BOX, core, scan_and_core

from bifseg.errors import DamagedFile
from bifseg.server import learner as learning
from bifseg.server.learner import Learner
from bifseg.server.tasks import UserTasks
from bifseg.server.workers.learning import following, wanted_in
from bifseg.storage import Store
from bifseg.tasks.priors import prior_of


@pytest.fixture
def tasks(tmp_path):
    store = Store(tmp_path)
    yield UserTasks(store, lambda row: None)
    store.close()


def begun(tasks, user="ann"):
    """A task that has something to learn."""
    task = tasks.of(user).task("core", new=True)
    for seed in range(3):
        task.add(core(seed))
    return task


def test_users_learn_in_turns(tasks):
    """Whose folder came first learnt all that they wanted, again and again, before anybody else."""
    for user in ("ann", "ben"):
        begun(tasks, user)
    new = list(wanted_in(map(str, tasks.folders())))
    first = following(new, Counter())
    second = following(new, Counter({first[0].folder.parent: 1}))
    assert {first[0].folder.parent, second[0].folder.parent} == {tasks.of(user).folder for user in ("ann", "ben")}


async def until(true, seconds=120.0):
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        await asyncio.sleep(0.02)


def test_one_that_is_killed_is_started_again_and_the_next_server_goes_on(tasks, monkeypatch):
    monkeypatch.setattr(learning, "AFTER", 0.01)
    monkeypatch.setattr(learning, "PROGRAM", (impatient_learner.__file__,))
    task = begun(tasks)

    async def killed():
        learner = Learner(tasks, 1)
        learner.start()
        await until(lambda: learner._process is not None)
        first = learner._process
        first.kill()  # before it could learn
        await until(lambda: learner._process not in (None, first))  # again, by itself
        assert task.versions() == []
        await learner.close()  # the server ends in the middle
        assert learner._process is None

    async def again():
        learner = Learner(tasks, 1)
        learner.start()
        assert learner.busy
        await until(lambda: not learner.busy)
        await learner.close()

    asyncio.run(killed())
    assert task.versions() == []
    assert [about.digest for about in task.remembered()] == [core(seed).digest for seed in range(3)]
    asyncio.run(again())
    (version,) = task.versions()
    assert version.strength > 0
    image, _ = scan_and_core(3)
    assert prior_of(task, image, BOX).version == 1
    assert not task.pending(2)


def test_it_ends_with_who_started_it(tasks):
    begun(tasks)
    command = [sys.executable, "-m", "bifseg.server.workers.learning", str(tasks.of("ann").folder)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE)
    process.stdin.close()  # as when the server is killed
    assert process.wait(120) == 0
    assert next(iter(tasks.folders())) == tasks.of("ann").folder


def test_a_damaged_task_does_not_keep_others_from_learning(tasks):
    begun(tasks)
    other = begun(tasks, "bob")
    path = next((tasks.of("ann").folder / "core" / "examples").glob("*.npz"))
    path.write_bytes(path.read_bytes()[:1000])

    folders = list(map(str, tasks.folders()))
    assert [(task.folder, wanted.dimension) for task, wanted in wanted_in(folders)] == [(other.folder, 2)]
    assert [(task.folder, dimension) for task, dimension in tasks.pending()] == [(other.folder, 2)]
    with pytest.raises(DamagedFile):
        tasks.of("ann").task("core").remembered()
