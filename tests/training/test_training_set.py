"""What there is to train on: the first collection, and beside it the wider one for phases that ask for it."""

from dataclasses import replace

import pytest
from ball_scans import folder_of
from tiny import TINY, instances

from bifseg.errors import InvalidInput
from bifseg.training import training_set
from bifseg.training.public_sets import Source
from bifseg.training.recipes import Phase
from bifseg.training.sources import Mixture, Sources
from bifseg.training.train import train
from bifseg.training.training_set import TrainingSet


@pytest.fixture
def collections(tmp_path, monkeypatch):
    """A first data set, and one more with numbered objects; pictures alone, too, which have no volume."""
    for name in ("first", "second", "pictures"):
        folder_of(tmp_path / name)
    about = tmp_path / "second" / "dataset.json"
    about.write_text(about.read_text().replace("organ", "object_1").replace("lesion", "object_2"))
    known = {name: Source(f"licence of {name}") for name in ("second", "first", "pictures")}
    for name, value in {
        "SOURCES": known, "PERMISSIVE": ("first",), "LABEL_MAPS": ("first",), "WIDER_MAPS": ("first", "second"),
        "FLAT": ("pictures",),
    }.items():  # fmt: skip
        monkeypatch.setattr(training_set, name, value)
    return tmp_path


def test_the_wider_set_holds_the_first_and_all_others(collections):
    first, skipped = TrainingSet.permissive(collections, 3)
    wider, as_well = TrainingSet.wider(collections, 3)
    assert skipped == as_well == []
    assert {one.dataset for one in first.sources.instances} == {"first"}
    for kept in (wider.sources, first.sources):
        assert [one.label for one in kept.instances] == ["organ", "lesion"] * 3
        assert len(kept.maps) == 3
    assert [(one.dataset, one.label) for one in wider.wider_sources.instances] == [
        *[("second", "object")] * 6, *[("first", "organ"), ("first", "lesion")] * 3,
    ]  # fmt: skip
    assert len(wider.wider_sources.maps) == 6
    assert "licence of second" in wider.origin
    assert "licence of second" not in first.origin
    flat, _ = TrainingSet.wider(collections, 2)
    assert {one.dataset for one in flat.wider_sources.instances} == {"first", "second", "pictures"}


def test_a_phase_draws_from_the_sources_that_it_asks_for(tmp_path):
    phase = Phase(2, 1e-3, Mixture(scans=1.0), cosine=9)
    wider = replace(phase, wider=True)
    data = TrainingSet(Sources(instances=instances("a")), wider_sources=Sources(instances=instances("b", 8)[4:]))

    def losses(*phases):
        return [one["loss"] for one in train(TINY.but(phases=phases), tmp_path / f"{phases[-1].wider}", data)]

    first, second = losses(phase, phase), losses(phase, wider)
    assert first[:2] == second[:2]
    assert first[2] != second[2]
    with pytest.raises(InvalidInput, match="draws from labelled scans, and none were given"):
        next(train(TINY.but(phases=(wider,)), tmp_path / "none", TrainingSet(data.sources)))
