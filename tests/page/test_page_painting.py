"""The page in a real browser: an object that begins with strokes alone, in place of a box."""

import pytest
from page_reader import begun, expect, reading

from bifseg import Box
from bifseg.training.synthetic.phantom import phantom

SCAN, _ = phantom(2, (44, 38, 24))
MIDDLE = (20, 18, 13)
LOOP = ((9, 8, 13), (9, 28, 13), (31, 28, 13), (31, 8, 13), (9, 8, 13))
UPRIGHT = ((9, 18, 7), (9, 18, 19), (31, 18, 19), (31, 18, 7), (9, 18, 7))


@pytest.fixture
def reader(browser, server):
    with reading(browser, server.url) as reader:
        reader.open(server, SCAN, begun(server, SCAN))
        reader.go_to(MIDDLE)
        yield reader


def objects(reader, server):
    return server.service.store.state(reader.session).objects


def to_be(reader):
    return reader.page.get_by_role("region", name="Object to be")


def test_a_line_and_loops_in_two_views_begin_an_object(reader, server):
    reader.press("p", "f")
    expect(reader.page.get_by_role("note")).to_contain_text("Paint a line in the object")
    reader.thin()
    reader.drag("Axial", (17, 18, 13), (23, 18, 13))
    expect(to_be(reader)).to_contain_text("In this slice alone it becomes an object in 2D")
    reader.press("g")
    reader.drag("Axial", *LOOP)
    reader.drag("Coronal", *UPRIGHT)
    expect(to_be(reader)).to_contain_text("a loop around it")
    reader.drag("Coronal", (2, 18, 3), (5, 18, 3))  # a mistake
    reader.press("Control+z")
    reader.page.reload()  # loses nothing
    reader.arrived()
    with reader.acting():
        reader.press("Enter")
    made = objects(reader, server)["object 1"]
    assert made.box == Box((9, 8, 7), (32, 29, 20))
    assert (made.scribbles == 1).any()
    assert made.mask[made.scribbles == 1].all()
    assert not made.mask[made.scribbles == 2].any()
    expect(to_be(reader)).to_be_hidden()
    with reader.acting():
        reader.press("Control+z")
    assert not objects(reader, server)


def test_one_slice_makes_an_object_in_2d_and_the_next_begins_by_a_key(reader, server):
    reader.press("p", "Enter")  # nothing is painted yet
    reader.press("d", "g")
    reader.thin()
    reader.drag("Axial", *LOOP)
    reader.press("Enter")
    expect(reader.page.get_by_role("alert")).to_contain_text("Paint a line in the object first")
    reader.press("f")
    reader.drag("Coronal", (17, 18, 13), (23, 18, 19))
    expect(reader.page.get_by_role("alert")).to_contain_text("lies in one slice")
    reader.drag("Axial", (17, 18, 13), (23, 18, 13))
    with reader.acting():
        to_be(reader).get_by_role("button", name="Segment").click()
    assert objects(reader, server)["object 1"].box == Box((9, 8, 13), (32, 29, 14))
    reader.press("Shift+P")
    reader.drag("Axial", (35, 30, 13), (38, 33, 13))
    expect(to_be(reader)).to_be_visible()
    reader.press("Escape")
    expect(to_be(reader)).to_be_hidden()
    assert list(objects(reader, server)) == ["object 1"]
