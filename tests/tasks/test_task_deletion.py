"""A task that is deleted is gone: whoever works on it at the moment brings nothing of it back."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from kinds_of_objects import core
from quick_learning import coarsen, quicken

from bifseg.errors import InvalidInput, NotFound
from bifseg.tasks import store, versions
from bifseg.tasks.example import About
from bifseg.tasks.store import Tasks
from bifseg.tasks.versions import learn_version

NAME = "core"


@pytest.fixture
def tasks(tmp_path, monkeypatch):
    """With one that has something to learn, quickly."""
    quicken(monkeypatch)
    coarsen(monkeypatch)
    tasks = Tasks(tmp_path)
    task = tasks.task(NAME, new=True)
    for seed in range(3):
        task.add(core(seed))
    return tasks


def learnt_while(tasks, monkeypatch, do):
    """Learn, and do something else before what was learnt is kept."""
    whole = versions.learn

    def learn(*arguments):
        told = whole(*arguments)
        do()
        return told

    with monkeypatch.context() as patched:
        patched.setattr(versions, "learn", learn)
        with pytest.raises(NotFound, match="was deleted meanwhile"):
            learn_version(tasks.task(NAME), 2)


def test_what_is_learnt_while_it_is_deleted_is_not_kept(tasks, monkeypatch):
    learnt_while(tasks, monkeypatch, lambda: tasks.delete(NAME))
    assert tasks.names() == []
    assert not [path for path in tasks.folder.rglob("*") if path.is_file() and path.name != ".lock"]


def test_what_was_learnt_from_deleted_objects_is_not_of_a_new_task_of_that_name(tasks, monkeypatch):
    """It began with what other patients had taught, which were deleted for good."""

    def anew():
        tasks.delete(NAME)
        tasks.begin(NAME).add(core(9))

    learnt_while(tasks, monkeypatch, anew)
    assert tasks.task(NAME).versions() == []
    assert learn_version(tasks.task(NAME), 2).patients == 1


def test_an_object_is_not_added_to_a_task_that_was_deleted(tasks):
    task = tasks.task(NAME)
    tasks.delete(NAME)
    for change in (lambda: task.add(core(5)), lambda: task.remove("0"), lambda: learn_version(task, 2)):
        with pytest.raises(NotFound, match="was deleted meanwhile"):
            change()
    assert tasks.names() == []


def test_one_that_is_deleted_by_several_at_once_is_deleted_once(tasks):
    def delete(_):
        try:
            tasks.delete(NAME)
        except NotFound:
            return False
        return True

    with ThreadPoolExecutor(8) as threads:
        done = list(threads.map(delete, range(8)))
    assert any(done)
    assert tasks.names() == []
    assert not list(tasks.folder.glob("*/examples/*"))
    assert tasks.begin(NAME).remembered() == []


def test_one_whose_folder_goes_while_somebody_waits_for_it_is_deleted(tasks, monkeypatch):
    task, whole = tasks.task(NAME), store.locked

    def locked(path, *arguments, **options):
        monkeypatch.setattr(store, "locked", whole)
        tasks.delete(NAME)
        raise FileNotFoundError(path)  # as whoever opens the lock's file then

    monkeypatch.setattr(store, "locked", locked)
    with pytest.raises(NotFound, match="was deleted meanwhile"):
        task.add(core(5))
    assert not list(tasks.folder.iterdir())


def test_whoever_is_stopped_in_the_middle_has_deleted_it(tasks, monkeypatch):
    with monkeypatch.context() as patched:
        patched.setattr(Tasks, "_put_away", lambda *_: pytest.skip.Exception("killed"))
        tasks.delete(NAME)
    assert tasks.names() == []
    with pytest.raises(NotFound):
        tasks.task(NAME)
    assert tasks.begin(NAME).remembered() == []
    tasks.delete(NAME)
    assert not list(tasks.folder.iterdir())


def test_a_name_is_one_of_a_file(tmp_path, monkeypatch):
    """Eighty letters of four bytes each were 500; with those of three, nothing that was learnt could be written."""
    quicken(monkeypatch)
    coarsen(monkeypatch)
    tasks = Tasks(tmp_path)
    with pytest.raises(InvalidInput, match="cannot be named"):
        tasks.task("\U00020000" * 80, new=True)
    name = "\u6f22" * 80
    for seed in range(3):
        tasks.task(name, new=True).add(core(seed))
    version = learn_version(tasks.task(name), 2)
    assert version.better
    assert tasks.task(name).checked_weights(version).is_file()
    tasks.delete(name)


def test_where_an_example_came_from_is_read_once(tasks, monkeypatch):
    store._about.cache_clear()
    read, whole = [], About.read
    monkeypatch.setattr(About, "read", lambda path, digest: read.append(path) or whole(path, digest))
    for _ in range(3):
        assert len(tasks.task(NAME).remembered()) == 3
        assert tasks.task(NAME).pending(2)
    assert len(read) == 3


def test_an_example_is_packed_once(tasks, monkeypatch):
    packed, whole = [], np.savez_compressed
    monkeypatch.setattr(np, "savez_compressed", lambda *a, **b: packed.append(1) or whole(*a, **b))
    example = core(7)
    len(example.packed())
    tasks.task(NAME).add(example)
    assert len(packed) == 1
