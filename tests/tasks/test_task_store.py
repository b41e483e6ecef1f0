"""Tasks on the disk: what is remembered, which version is used, and that a kill at any point costs nothing."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from kinds_of_objects import BOX, core, scan_and_core
from quick_learning import coarsen, quicken

from bifseg.errors import DamagedFile, InvalidInput, NotFound
from bifseg.imaging.image import Image
from bifseg.networks.checkpoint import load_model
from bifseg.tasks import example as examples_of_tasks
from bifseg.tasks import store
from bifseg.tasks.example import Example
from bifseg.tasks.store import Tasks
from bifseg.tasks.versions import learn_version, model_in_use

EXAMPLES = [core(seed) for seed in range(4)]


@pytest.fixture(autouse=True, scope="module")
def quick():
    with pytest.MonkeyPatch.context() as patched:
        quicken(patched)
        coarsen(patched)
        yield


@pytest.fixture(scope="module")
def learnt(tmp_path_factory):
    """A task that learnt from three objects."""
    task = Tasks(tmp_path_factory.mktemp("tasks")).task("cores", new=True)
    for example in EXAMPLES[:3]:
        task.add(example)
    learn_version(task, 2)
    return task


def files(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file() and p.name != ".lock"}


def digests(task):
    return [example.digest for example in task.examples()]


def test_as_much_is_kept_around_a_box_as_the_default_network_looks_at(monkeypatch):
    monkeypatch.setattr(examples_of_tasks, "surroundings", lambda dimension: {2: 0.0, 3: 0.25}[dimension])
    rng = np.random.default_rng(0)
    scan, mask = Image(rng.normal(size=(30, 40, 12)).astype(np.float32), (1, 1, 4)), np.zeros((30, 40, 12), bool)
    mask[6:16, 8:20, 4:7] = True
    one = Example.of(scan, mask, ((4, 18), (6, 26), (3, 8)), "p")
    assert one.margins == ((4, 6), (6, 6), (3, 3))  # a quarter of 20 mm and one voxel more, or up to the border
    assert np.array_equal(one.image.voxels, scan.voxels[0:24, 0:32, 0:11])
    assert np.array_equal(one.image.voxels[one.box_in_image.slices], scan.voxels[one.box.slices])
    assert np.array_equal(one.mask_in_image, mask[0:24, 0:32, 0:11])
    again = Example.unpacked(one.packed())
    assert again.margins == one.margins
    assert again.digest == one.digest
    assert np.array_equal(again.look.mask, one.look.mask)
    assert Example.of(scan, mask, ((4, 18), (6, 26), 5), "p").margins == examples_of_tasks.ALONE


def test_an_example_comes_back_as_it_was():
    one = EXAMPLES[0]
    again = Example.unpacked(one.packed())
    assert np.array_equal(again.voxels, one.voxels)
    assert np.array_equal(again.mask, one.mask)
    assert again.voxels.dtype == one.voxels.dtype
    about = [(e.spacing, e.box, e.scan, e.patient, e.source, e.digest, e.dimension) for e in (one, again)]
    assert about[0] == about[1]
    for damaged in (b"", one.packed()[:-40], one.packed().replace(b"PK", b"KP")):
        with pytest.raises(InvalidInput, match="no example of a task, or damaged"):
            Example.unpacked(damaged)


def test_examples_that_teach_nothing_are_refused():
    image, mask = scan_and_core(0)
    with pytest.raises(InvalidInput, match="nothing is of the object"):
        Example.of(image, np.zeros_like(mask), BOX, "p")
    with pytest.raises(InvalidInput, match="everything is of the object"):
        Example.of(image, np.ones_like(mask), BOX, "p")
    with pytest.raises(InvalidInput, match="The mask has the shape"):
        Example.of(image, mask[1:], BOX, "p")
    with pytest.raises(InvalidInput, match="constant"):
        Example.of(image.with_array(np.zeros(image.shape)), mask, BOX, "p")


def test_a_corrected_object_replaces_itself_and_the_oldest_are_forgotten(tmp_path, monkeypatch):
    monkeypatch.setattr(store, "MOST", 3)
    task = Tasks(tmp_path).task("cores", new=True)
    for example in EXAMPLES[:3]:
        task.add(example)
    image, mask = scan_and_core(1)
    better = Example.of(image, np.roll(mask, 1, axis=0), ((5, 44), (4, 43), 0), "patient 1")
    task.add(better)
    assert digests(task) == [EXAMPLES[0].digest, EXAMPLES[2].digest, better.digest]
    task.add(EXAMPLES[3])
    assert digests(task) == [EXAMPLES[2].digest, better.digest, EXAMPLES[3].digest]
    assert len(list(tmp_path.glob("cores/examples/*.npz"))) == 3


def test_the_version_in_use_is_the_newest_that_was_not_rejected(learnt, tmp_path):
    version = learnt.current(2)
    assert version.number == 1
    assert version.strength > 0
    assert version.gain > 0.5
    model = model_in_use(learnt, 2)
    assert model.sha256 == version.sha256 != load_model("default", 2).sha256
    assert learn_version(learnt, 2) == version  # nothing new to learn
    assert model_in_use(learnt, 3).sha256 == load_model("default", 3).sha256

    task = Tasks(tmp_path).task("cores", new=True)
    for name, content in files(learnt.folder).items():
        path = task.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    assert task.current(2) == version
    task.reject(1)
    assert task.current(2) is None
    assert model_in_use(task, 2).sha256 == load_model("default", 2).sha256
    assert learn_version(task, 2).rejected  # the same examples teach the same
    with pytest.raises(NotFound, match="no version 7; there is 1"):
        task.reject(7)


def test_weights_that_are_not_those_that_were_learnt_are_not_used(learnt, tmp_path):
    task = Tasks(tmp_path).task("cores", new=True)
    for name, content in files(learnt.folder).items():
        (task.folder / name).parent.mkdir(parents=True, exist_ok=True)
        (task.folder / name).write_bytes(content)
    path = task.weights(task.version(1))
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(DamagedFile, match="not those that were learnt"):
        model_in_use(task, 2)
    (task.folder / "versions/0001.json").write_text(json.dumps({"number": 1}))
    with pytest.raises(DamagedFile, match="is damaged"):
        model_in_use(task, 2)


@pytest.mark.parametrize("writes", range(5))
def test_killed_at_any_point_a_task_is_as_before_or_as_after(learnt, tmp_path, monkeypatch, writes):
    """A process that is killed writes and removes nothing more: neither does this one, from some moment on."""
    from bifseg.io import atomic
    from bifseg.networks import checkpoint

    tasks, count, whole = Tasks(tmp_path), 0, atomic.write_atomically
    first = tasks.task("cores", new=True)
    first.add(EXAMPLES[0])
    first.add(EXAMPLES[1])

    def dying(path, content):
        nonlocal count
        if count >= writes:
            path.with_name(f".{path.name}.part").write_bytes(content[: len(content) // 2])
            raise SystemExit
        count += 1
        whole(path, content)

    killed = False
    with monkeypatch.context() as patched:
        for module in (store, atomic, checkpoint):
            patched.setattr(module, "write_atomically", dying)
        try:
            first.add(EXAMPLES[2])
            learn_version(first, 2)
            first.reject(1)
        except SystemExit:
            killed = True
    assert killed == (writes < 4)
    after = Tasks(tmp_path).task("cores")
    remembered = 2 if writes < 1 else 3
    assert digests(after) == [example.digest for example in EXAMPLES[:remembered]]
    version = after.current(2)
    assert (version is not None) == (writes == 3)
    model_in_use(after, 2)  # the shipped one, or that of the version
    if writes < 1:
        after.add(EXAMPLES[2])
    if writes < 4:
        undisturbed = learnt.version(1)
        assert replace(learn_version(after, 2), sha256=undisturbed.sha256) == undisturbed
        pairs = zip(
            model_in_use(after, 2).network.parameters(), model_in_use(learnt, 2).network.parameters(), strict=True
        )
        assert all(torch.equal(*pair) for pair in pairs)


def test_names_and_deleting(tmp_path):
    tasks = Tasks(tmp_path / "none yet")
    assert tasks.names() == []
    with pytest.raises(NotFound, match="no task 'kidney'; there is none"):
        tasks.task("kidney")
    for name in ("../kidney", ".kidney", "", "a/b", "kidney ", "kidney.", "x" * 90):
        with pytest.raises(InvalidInput, match="cannot be named"):
            tasks.task(name, new=True)
    tasks.task("left kidney, CT", new=True).add(EXAMPLES[0])
    assert tasks.names() == ["left kidney, CT"]
    with pytest.raises(InvalidInput, match="no example in 3D"):
        learn_version(tasks.task("left kidney, CT"), 3)
    tasks.delete("left kidney, CT")
    assert tasks.names() == []
    assert not list((tmp_path / "none yet").iterdir())
