"""What a task learnt, in the place of the trained classifier: as a network that has it, and kept bit for bit."""

import hashlib
from dataclasses import replace

import numpy as np
import pytest
import torch
from kinds_of_objects import BOX, core, one_of_two, scan_and_core, scan_and_one_of_two
from safetensors import safe_open

from bifseg.errors import InvalidInput, NotFound
from bifseg.imaging.image import Image
from bifseg.method.label_fusion import fused_shape, look_of, stretched
from bifseg.method.parameters import Parameters
from bifseg.networks.checkpoint import load_model, save_model
from bifseg.prompts.interaction import Box, Stroke
from bifseg.session.session import Session
from bifseg.storage.snapshot import pack, pack_prior, unpack, unpack_prior
from bifseg.tasks import cross_validation, store
from bifseg.tasks.example import Example
from bifseg.tasks.priors import mean_shape_of, prior_of
from bifseg.tasks.store import Tasks
from bifseg.tasks.strokes import REACHES, parameters_of
from bifseg.tasks.versions import learn_version, model_in_use

PLACE = scan_and_core(10)[0], BOX


@pytest.fixture(scope="module")
def task(tmp_path_factory):
    task = Tasks(tmp_path_factory.mktemp("tasks")).begin("cores")
    assert prior_of(task, *PLACE) is None
    for seed in range(3):
        task.add(core(seed))
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(cross_validation, "STRENGTHS", (0.0, 1.0))
        learn_version(task, 2)
    return task


def test_a_prior_gives_the_masks_of_the_versions_network(task):
    image, _ = scan_and_core(10)
    prior = prior_of(task, *PLACE)
    with_prior, with_model = Session(image), Session(image, replace(model_in_use(task, 2), shape=prior.shape))
    first = with_prior.box(BOX, prior=prior)
    assert np.array_equal(first, with_model.box(BOX))
    assert not np.array_equal(first, Session(image).box(BOX))
    strokes = [Stroke([(24, 24, 0)], 1, radius=2), Stroke([(10, 10, 0)], 2, radius=2)]
    assert np.array_equal(with_prior.scribble(strokes), with_model.scribble(strokes))
    eraser = [Stroke([(24, 24, 0)], 0, radius=4)]
    assert np.array_equal(with_prior.scribble(eraser), with_model.scribble(eraser))
    larger = ((3, 45), (3, 45), 0)
    assert np.array_equal(with_prior.resize(larger), with_model.resize(larger))
    one, other = with_prior.state.objects["object 1"], with_model.state.objects["object 1"]
    assert all(np.array_equal(one.classifier[name], array) for name, array in other.classifier.items())


def test_the_trunk_of_a_prior_is_what_the_version_changed_of_the_shipped_one(task):
    prior, learnt = prior_of(task, *PLACE), model_in_use(task, 2)
    shipped = load_model("default", 2).network.state_dict()
    changed = {n for n, t in learnt.network.state_dict().items() if not torch.equal(t, shipped[n])}
    assert set(prior.trunk) == {name for name in changed if not name.startswith("classifier.")}
    assert all(name.startswith("scores.") or shipped[name].ndim == 1 for name in prior.trunk)  # few of the weights
    assert sum(array.nbytes for array in prior.arrays.values()) < 100_000


def test_a_report_says_which_network_it_was_wherever_the_box_lies(task):
    prior, elsewhere = prior_of(task, *PLACE), prior_of(task, PLACE[0], ((2, 46), (3, 44), 0))
    assert prior.told == {"task": "cores", "version": 1, "sha256": prior.sha256}
    assert elsewhere.sha256 == prior.sha256
    first = next(iter(prior.trunk))
    others = (
        replace(prior, base="0" * 64),
        replace(prior, tuned={**prior.tuned, "nearness": 0.5}),
        replace(prior, trunk={**prior.trunk, first: prior.trunk[first] + 1}),
    )
    assert len({prior.sha256, *(other.sha256 for other in others)}) == 4


def test_objects_with_and_without_a_prior_do_not_see_each_others_trunks(task):
    image, _ = scan_and_core(12)
    alone = Session(image).box(BOX)
    session = Session(image)
    with_prior = session.box(BOX, prior=prior_of(task, *PLACE))
    session.undo()
    assert np.array_equal(session.box(BOX), alone)
    session.undo()
    assert np.array_equal(session.box(BOX, prior=prior_of(task, *PLACE)), with_prior)
    assert not np.array_equal(alone, with_prior)


def test_a_trunk_of_another_network_is_refused(task):
    image, _ = scan_and_core(11)
    wrong = replace(prior_of(task, *PLACE), trunk={"stages.0.0.1.weight": np.ones(3, np.float32)})
    with pytest.raises(InvalidInput, match="does not fit the network fcn2d"):
        Session(image).box(BOX, prior=wrong)


def test_a_segment_keeps_its_prior_bit_for_bit_and_one_without_is_as_before(task):
    image, _ = scan_and_core(11)
    session = Session(image)
    session.box(BOX, prior=prior_of(task, *PLACE))
    segment = session.state.objects["object 1"]
    again = unpack(pack(segment))
    assert pack(again) == pack(segment)
    assert (again.prior.task, again.prior.version, again.prior.base) == ("cores", 1, segment.model.sha256)
    assert all(np.array_equal(again.prior.arrays[name], array) for name, array in segment.prior.arrays.items())
    assert again.prior.trunk
    assert b"prior" not in pack(replace(segment, prior=None))  # bytes, and so versions, of older objects stay


def test_a_part_in_another_plane_has_no_box_that_anybody_drew(task):
    image, _ = scan_and_core(10)
    stack = Image(np.repeat(image.array, 3, axis=2), image.spacing)
    box = ((4, 44), (4, 44), 1)
    prior = replace(prior_of(task, *PLACE), shape=np.full((48, 48), -20, np.float32))  # nowhere
    session = Session(stack, parameters=Parameters(never_empty=False))
    assert not session.box(box, prior=prior).any()
    session.scribble([Stroke([(24, 24, 1)], 1, radius=4)])
    without = Session(stack, parameters=Parameters(never_empty=False))
    without.box(box, prior=replace(prior, shape=None))
    without.scribble([Stroke([(24, 24, 1)], 1, radius=4)])
    assert session.mask.sum() < without.mask.sum()
    assert session.propagate(2).sum() > session.mask[..., 1].sum()


def test_a_shape_is_kept_with_the_object_and_refused_where_it_cannot_be_one(task):
    image, _ = scan_and_core(11)
    session = Session(image)
    shape = np.linspace(-3, 3, 48 * 48, dtype=np.float32).reshape(48, 48)
    prior = replace(prior_of(task, *PLACE), shape=shape)
    session.box(BOX, prior=prior)
    again = unpack(pack(session.state.objects["object 1"]))
    assert np.array_equal(again.prior.shape, shape)
    assert set(again.prior.weights) == set(prior.weights)
    about = {"task": "cores", "version": 1, "base": prior.base}
    assert np.array_equal(unpack_prior(about, pack_prior(prior)).shape, shape)
    with pytest.raises(InvalidInput, match="a mean shape has two or three axes"):
        unpack_prior(about, pack_prior(replace(prior, shape=shape.ravel())))
    with pytest.raises(InvalidInput, match="of 3D boxes, and this one is 2D"):
        Session(image).box(BOX, prior=replace(prior, shape=np.zeros((4, 4, 4), np.float32)))


def test_an_object_is_judged_by_the_parameters_that_its_prior_brings(task):
    image, _ = scan_and_core(11)
    session = Session(image, parameters={"preset": "fast", "reach": 0.25})
    prior = replace(prior_of(task, *PLACE), tuned={"evidence": 4.0, "reach": 0.0625})
    session.box(BOX, prior=prior)
    segment = session.state.objects["object 1"]
    assert (segment.parameters.evidence, segment.parameters.reach) == (4.0, 0.25)  # who asks for a value gets it
    assert unpack(pack(segment)).prior.tuned == prior.tuned
    about = {"task": "cores", "version": 1, "base": prior.base}
    assert unpack_prior(about, pack_prior(prior)).tuned == prior.tuned
    for wrong, sentence in (({"loudness": 1.0}, "Unknown parameter loudness"), ({"reach": -1.0}, "reach is -1.0")):
        with pytest.raises(InvalidInput, match=sentence):
            unpack_prior(about, pack_prior(replace(prior, tuned=wrong)))
    with pytest.raises(InvalidInput, match="had learnt is damaged"):
        unpack_prior(about, pack_prior(replace(prior, tuned={"reach": np.ones(2)})))


def test_a_version_brings_the_parameters_it_was_tried_with(tmp_path, task, monkeypatch):
    from bifseg.tasks.cross_validation import CrossValidation

    monkeypatch.setitem(REACHES, 2, {"": {}, "long": {"evidence": 4.0}})
    monkeypatch.setattr(CrossValidation, "_after_strokes", lambda *_: {"": (0.5, 0.5, 0.5), "long": (0.6, 0.6, 0.7)})
    own = Tasks(tmp_path).begin("own")
    for seed in range(3):
        own.add(core(seed))
    version = learn_version(own, 2)
    assert own.version(version.number) == version
    assert (version.reach, version.drawn_on["long"]) == ("long", (0.6, 0.6, 0.7))
    assert prior_of(own, *PLACE).tuned == {"evidence": 4.0}
    assert model_in_use(own, 2).tuned == {**load_model("default", 2).tuned, "evidence": 4.0}
    assert prior_of(task, *PLACE).tuned == parameters_of(task.current(2).reach, 2)


def test_what_is_no_prior_is_refused(task):
    image, _ = scan_and_core(12)
    prior = prior_of(task, *PLACE)
    with pytest.raises(InvalidInput, match="was learnt with another network"):
        Session(image).box(BOX, prior=replace(prior, base="0" * 64))
    content = pack_prior(prior)
    about = {"task": "cores", "version": 1, "base": prior.base}
    assert unpack_prior(about, content).task == "cores"
    for wrong, bytes in ((about, content[:-5]), ({**about, "version": "1"}, content), ({"task": "cores"}, content)):
        with pytest.raises(InvalidInput, match="had learnt is damaged"):
            unpack_prior(wrong, bytes)


def test_what_was_learnt_from_an_object_that_is_taken_out_is_used_no_more(tmp_path, task):
    image, mask = scan_and_core(3)
    drawn = {"session": "s", "object": "object 1"}
    own = Tasks(tmp_path).begin("own")
    own.add(Example.of(image, mask, BOX, "p", drawn))
    again = Example.of(image, np.roll(mask, 12, axis=0), BOX, "p", drawn)  # another place, the same object
    own.add(again)
    (about,) = own.remembered()
    assert about.digest == again.digest
    version = learn_version(own, 2)
    own.remove(about.digest)
    assert own.remembered() == []
    assert own.current(2) is None
    assert own.version(version.number).rejected
    with pytest.raises(InvalidInput, match="taken out"):
        own.restore(version.number)
    with pytest.raises(NotFound, match="does not hold"):
        own.example(about.digest)
    own.add(again)  # on second thoughts
    assert own.current(2) == replace(version, rejected=False)


def test_one_is_deleted_while_it_learns(tmp_path, monkeypatch):
    from bifseg.tasks import versions

    tasks = Tasks(tmp_path)
    task = tasks.begin("own")
    task.add(core(0))
    whole = versions.learn

    def learn(*arguments):
        tasks.delete("own")
        return whole(*arguments)

    monkeypatch.setattr(versions, "learn", learn)
    with pytest.raises(NotFound, match="was deleted meanwhile"):
        learn_version(task, 2)
    assert tasks.names() == []


@pytest.fixture
def of_two(tmp_path):
    """A task in which only the place tells what is meant."""
    task = Tasks(tmp_path).begin("one of two")
    for seed in range(4):
        task.add(one_of_two(seed))
    learn_version(task, 2)
    return task


def test_every_box_has_a_shape_of_its_own_and_no_image_of_another_one(of_two):
    (version,) = of_two.versions()
    assert version.shape > 0
    looks = [one_of_two(seed).look for seed in range(4)]
    shapes = []
    for seed in (10, 11):
        image, mask = scan_and_one_of_two(seed)
        box = Box.of(BOX, image.shape)
        shape = prior_of(of_two, image, box).shape
        assert np.array_equal(shape, np.float32(version.shape) * fused_shape(stretched(image, box), looks))
        there = look_of(image, box, mask).mask > 0.5
        assert (shape[there] > 0).mean() > 0.9
        shapes.append(shape)
    assert not np.array_equal(*shapes)
    with safe_open(of_two.weights(version), framework="np") as file:
        assert "shape" not in set(file.keys())


def test_another_box_is_given_a_shape_of_its_own_by_the_task_that_the_object_began_with(of_two):
    image, _ = scan_and_one_of_two(10)
    larger = ((0, 48), (2, 46), 0)
    first, there = prior_of(of_two, image, BOX), prior_of(of_two, image, larger)
    wanted = Session(image).box(larger, prior=there)

    def resized(begun, asked):
        session = Session(image)
        session.box(BOX, prior=begun)
        return session.resize(larger, prior=asked), session.state.objects["object 1"].prior

    mask, kept = resized(first, there)
    assert np.array_equal(mask, wanted)
    assert kept is there
    stretched_mask, kept = resized(first, None)
    assert not np.array_equal(stretched_mask, wanted)
    assert kept is first
    for begun, asked in (
        (first, replace(there, task="another")), (first, replace(there, base="0" * 64)), (None, there),
    ):  # fmt: skip
        _, kept = resized(begun, asked)
        assert kept is begun


def test_an_object_that_was_forgotten_votes_no_more(of_two, monkeypatch):
    image, _ = scan_and_one_of_two(10)
    place = image, Box.of(BOX, image.shape)
    before = prior_of(of_two, *place).shape
    monkeypatch.setattr(store, "MOST", 2)
    after = prior_of(of_two, *place).shape
    looks = [one_of_two(seed).look for seed in (2, 3)]
    assert np.array_equal(after, np.float32(of_two.versions()[0].shape) * fused_shape(stretched(*place), looks))
    assert not np.array_equal(before, after)


def test_the_mean_shape_can_be_looked_at_and_that_of_an_older_version_counts(of_two):
    (version,) = of_two.versions()
    mean = mean_shape_of(of_two, version)
    assert mean[36, 36] > 2  # canonical axes run against this scan's
    assert mean[12, 12] < -2
    assert mean_shape_of(of_two, replace(version, shape=0.0)) is None
    old = replace(load_model(of_two.weights(version)), shape=mean)
    path = of_two.weights(version)
    path.unlink()
    save_model(old, path)
    older = replace(version, learner=5, sha256=hashlib.sha256(path.read_bytes()).hexdigest())
    of_two.keep(older)
    assert np.array_equal(prior_of(of_two, *PLACE).shape, mean)
    assert np.array_equal(mean_shape_of(of_two, older), mean)
