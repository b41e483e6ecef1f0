"""What `benchmarks.page` says of its numbers; the numbers themselves need a browser and a quiet machine."""

import gzip
from importlib import import_module

import pytest


@pytest.fixture
def module():
    """The modules of benchmarks/ by name; they are imported where a test needs them."""
    return import_module


def test_a_promise_is_about_the_median_or_where_it_says_so_the_worst(module):
    cost = module("benchmarks.page.tables").Cost
    values = [0.1, 0.2, 0.3, 0.4, 2.0]
    assert cost("a", values, "s", 0.35).kept
    assert not cost("a", values, "s", 0.25).kept
    assert not cost("a", values, "s", 0.35, True).kept
    assert cost("a", values, "s").kept is None
    assert cost("a", values, "s").quartiles == (0.2, 0.4)
    assert (cost("a", values, "s").worst, cost("a", values, "/s").worst) == (2.0, 0.1)


def test_the_table_says_what_was_promised_and_what_came_of_it(module):
    tables = module("benchmarks.page.tables")
    costs = [
        tables.Cost("mask", [0.0123, 0.2, 1.5], "s", 0.1),
        tables.Cost("scrolling", [59.6], "/s"),
        tables.Cost("waits", [0.01, 0.02], "s", 0.1, True),
    ]
    table = tables.table(costs).splitlines()
    assert "| mask | 3 | 200 ms | 106 ms to 850 ms | 1.50 s | at most 100 ms: **broken** |" in table
    assert "| scrolling | 1 | 60 /s | 60 /s to 60 /s | 60 /s |  |" in table
    assert "worst at most 100 ms: kept" in table[-1]
    assert len({row.count("|") for row in table}) == 1
    assert tables.ratio(costs, "mask", "waits") == pytest.approx(0.2 / 0.015)


def test_surfaces_are_counted_apart_from_the_page(module, tmp_path):
    sent = module("benchmarks.page.sent")
    (tmp_path / "assets").mkdir()
    files = {"index.html": b"a" * 50, "assets/index-1.js": b"b" * 900, "assets/worker-2.js": b"c" * 7000}
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    parts = sent.bundle(tmp_path)
    assert (parts["page"]["bytes"], parts["surfaces"]["bytes"]) == (950, 7000)
    assert parts["surfaces"]["gzipped"] == len(gzip.compress(files["assets/worker-2.js"], 9))
    assert "2 violations" in sent.sentences(parts, {"dark": ["label"], "light": ["label"], "dialog": []})
    assert "nothing is known" in sent.sentences(parts, None)
