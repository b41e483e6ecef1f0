"""What networks learn from, and what they are chosen by: never the same."""

import numpy as np

from benchmarks.models.objects import ASIDE, LEARNT, REPORTED, TASKS
from bifseg.training.bank import volume
from bifseg.training.public_sets import SOURCES, learnt_from, origin


def of(source):
    labels = np.zeros((20, 20, 20), np.int64)
    labels[4:16, 4:16, 4:16] = 1
    return volume(source, labels, (1, 1, 1), np.array([0, 1]))


def test_networks_in_3d_do_not_learn_from_what_they_are_chosen_by():
    every = [of(name + ending) for name in SOURCES for ending in ("", " regions")]
    assert learnt_from(every, 2) == every
    left = {one.source.split()[0] for one in learnt_from(every, 3)}
    aside = {task.dataset for task in ASIDE}
    assert aside == {name for name, source in SOURCES.items() if source.aside}
    assert left == set(SOURCES) - aside
    assert of("scenes").source in {one.source for one in learnt_from([of("scenes")], 3)}


def test_what_is_reported_on_is_neither_learnt_from_nor_chosen_by():
    learnt = {task.dataset for task in LEARNT} | set(SOURCES)
    assert not learnt & {task.dataset for task in (*TASKS, *REPORTED)}
    assert {task.dataset for task in ASIDE} <= learnt


def test_a_card_names_the_licence_of_every_set_and_who_must_be_cited():
    told, licence = origin([of("Dataset118_SpinalCord regions"), of("Dataset118_SpinalCord"), of("scenes")])
    assert told == "synthetic anatomy; label maps and scans of Dataset118_SpinalCord: MIT, De Leener et al. 2017"
    assert licence == "Apache-2.0"
    assert origin([of("scenes")]) == ("synthetic anatomy only", "Apache-2.0")
    assert origin([of("Dataset118_SpinalCord"), of("mine")])[1] == "unknown"
