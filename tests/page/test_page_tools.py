"""The page in a real browser: every tool, by mouse, pen, finger and keyboard, against what the store has on disk."""

import re

import matplotlib
import numpy as np
import pytest
from page_reader import PATIENCE, begun, expect, reading, soon

from bifseg.training.synthetic.phantom import phantom

SCAN, LABELS = phantom(2, (44, 38, 24))
Z = 13
PLANE = f"10:30,9:27,{Z}"  # a box in one slice: quick to compute
VOLUME = "10:30,9:27,8:18"


@pytest.fixture
def reader(browser, server):
    with reading(browser, server.url) as reader:
        yield reader


@pytest.fixture
def plane(reader, server):
    """A session with an object in one slice, which is to be seen alone."""
    reader.open(server, SCAN, begun(server, SCAN, PLANE))
    reader.go_to((20, 18, Z))
    reader.press("2")
    return Stored(reader, server)


class Stored:
    """What the store has of the session on the screen."""

    def __init__(self, reader, server):
        self.reader, self.server = reader, server

    @property
    def state(self):
        return self.server.service.store.state(self.reader.session)

    @property
    def segment(self):
        return self.state.objects[self.state.current]

    @property
    def scribbles(self):
        return self.segment.box.paste(self.segment.scribbles, SCAN.shape)


def voxels(*places):
    """These voxels: bool, the scan's shape."""
    marked = np.zeros(SCAN.shape, bool)
    for place in places:
        marked[place] = True
    return marked


def test_clicks_lines_brushes_and_the_eraser(reader, plane):
    reader.press("c", "g")
    reader.thin()
    with reader.acting():
        reader.click("Axial", (14, 20, Z))
    clicked = voxels((14, 20, Z))
    np.testing.assert_array_equal(plane.scribbles, 2 * clicked)

    reader.press("l", "f")
    with reader.acting():
        reader.drag("Axial", (17, 12, Z), (12, 20, Z), (25, 25, Z), (25, 12, Z))  # a line knows its ends only
    lined = voxels((slice(17, 26), 12, Z))
    np.testing.assert_array_equal(plane.scribbles, 2 * clicked + lined)

    for _ in range(4):
        reader.press("]")
    expect(reader.page.get_by_role("group", name="Size of the brush")).to_contain_text("4.0 mm")
    reader.press("c")
    reader.page.keyboard.down("Shift")  # the other kind
    with reader.acting():
        reader.click("Axial", (22, 20, Z))
    reader.page.keyboard.up("Shift")
    x, y, z = np.ogrid[: SCAN.shape[0], : SCAN.shape[1], : SCAN.shape[2]]
    away = np.where(z == Z, np.hypot(x - 22, y - 20), np.inf)
    disc = (plane.scribbles == 2) & ~clicked
    assert disc[away < 1.9].all()  # a mouse points at pixels, not at the middle of a voxel
    assert not disc[away > 2.1].any()
    assert not plane.segment.box.paste(plane.segment.mask, SCAN.shape)[disc].any()

    reader.press("e")
    reader.thin()
    with reader.acting():
        reader.drag("Axial", (18, 20, Z), (26, 20, Z))
    np.testing.assert_array_equal(plane.scribbles, 2 * (clicked | (disc & (y != 20))) + lined)


def test_a_foreground_stroke_that_leaves_the_box_takes_it_along(reader, plane):
    before = plane.segment.box
    reader.press("f")
    reader.thin()
    reader.drag("Axial", (26, 18, Z), (34, 18, Z))
    asked = reader.page.get_by_role("dialog", name="The stroke leaves the box")
    expect(asked).to_contain_text("begins anew")
    with reader.acting():
        asked.get_by_role("button", name="Make the box larger").click()
    after = plane.segment.box
    assert (after.start, after.stop[1:]) == (before.start, before.stop[1:])
    assert 35 <= after.stop[0] < 40
    np.testing.assert_array_equal(plane.scribbles == 1, voxels((slice(26, 35), 18, Z)))
    with reader.acting():
        reader.drag("Axial", (14, 12, Z), (14, 4, Z))
        asked.get_by_role("button", name="Paint inside only").click()
    assert plane.segment.box == after
    inside = voxels((slice(26, 35), 18, Z), (14, slice(9, 13), Z))
    np.testing.assert_array_equal(plane.scribbles == 1, inside)
    number = reader.number
    reader.drag("Axial", (14, 12, Z), (14, 4, Z))
    asked.get_by_role("button", name="Forget the stroke").click()
    reader.press("g")
    with reader.acting():  # background ends where the box does
        reader.drag("Axial", (20, 22, Z), (20, 34, Z))
    assert reader.number == number + 1
    assert plane.segment.box == after
    np.testing.assert_array_equal(plane.scribbles == 2, voxels((20, slice(22, 27), Z)))


def test_what_is_not_the_object_paints_nothing_outside_the_box(reader, plane):
    reader.press("g")
    reader.thin()
    number = reader.number
    reader.drag("Axial", (5, 4, Z), (36, 4, Z))  # all of it above the box
    reader.told("outside the box, so nothing was painted")
    assert reader.number == number
    with reader.acting():  # out at one side and back in: what lies between is not moved to the border
        reader.drag("Axial", (27, 12, Z), (35, 12, Z), (35, 22, Z), (27, 22, Z))
    expected = voxels((slice(27, 30), 12, Z), (slice(27, 30), 22, Z))
    np.testing.assert_array_equal(plane.scribbles == 2, expected)


def test_the_box_is_seen_while_painting(reader, plane):
    reader.press("p")
    reader.plain()
    _, y = reader.place("Axial", (20, 18, Z))
    near, far = reader.place("Axial", (30, 18, Z)), reader.place("Axial", (29, 18, Z))
    pane = reader.pane("Axial").bounding_box()
    picture = reader.picture("Axial").astype(int)
    side = round((near[0] + far[0]) / 2 - pane["x"])
    row = picture[round(y - pane["y"] + 3), side - 2 : side + 3]
    assert row.min(1).max() > 225  # its white line


def test_a_box_is_pulled_by_its_handles(reader, plane):
    reader.press("v")
    left, _ = reader.place("Axial", (10, 18, Z))
    right, y = reader.place("Axial", (29, 18, Z))
    voxel = (right - left) / 19
    reader.page.mouse.move(right + voxel / 2, y)
    assert reader.pane("Axial").evaluate("pane => pane.style.cursor") == "ew-resize"
    with reader.acting():
        reader.page.mouse.down()
        reader.page.mouse.move(*reader.place("Axial", (33, 18, Z)), steps=4)
        reader.page.mouse.up()
    assert str(plane.segment.box) == f"10:34,9:27,{Z}"
    x, y = reader.place("Axial", (10, 9, Z))
    with reader.acting():
        reader.page.mouse.move(x - voxel / 2, y - voxel / 2)
        reader.page.mouse.down()
        reader.page.mouse.move(*reader.place("Axial", (7, 5, Z)), steps=4)
        reader.page.mouse.up()
    assert str(plane.segment.box) == f"7:34,5:27,{Z}"


def test_a_click_on_the_side_of_a_box_changes_nothing(reader, plane):
    before = plane.segment.packed.tobytes()
    number = reader.number
    reader.press("1")
    reader.go_to((20, 18, Z))  # in the coronal view this is on the side of a box that is one slice thick
    assert reader.number == number
    assert plane.segment.packed.tobytes() == before


def test_a_box_by_numbers_and_everything_by_keyboard(reader, server):
    reader.open(server, SCAN, begun(server, SCAN))
    stored, page = Stored(reader, server), reader.page
    reader.press("Shift+b")
    expect(page.get_by_role("region", name="Box to be")).to_be_visible()
    middle = reader.at()
    for k, (first, last) in enumerate([(30, 10), (9, 26), (8, 17)]):
        for which, value in (("first", first), ("last", last)):
            page.get_by_label(f"{which} voxel along {'xyz'[k]}").fill(str(value))
    page.get_by_role("button", name="Move the box").press("Enter")
    reader.told("Along x the box goes from 30 to 10")
    page.get_by_label("first voxel along x").fill("10")
    page.get_by_label("last voxel along x").fill("29")
    page.get_by_role("button", name="Move the box").press("Enter")
    page.get_by_role("button", name="Segment").focus()
    with reader.acting():
        reader.press("Enter")
    assert str(stored.segment.box) == VOLUME
    page.locator("body").focus()
    reader.pane("Axial").focus()
    reader.press("g")
    reader.thin()
    here = reader.at()
    reader.press("ArrowLeft", "ArrowLeft", "ArrowDown", "PageUp")
    place = (here[0] - 2, here[1] + 1, here[2] + 1)  # in this file x runs to the left of the patient, y to the back
    assert reader.at() == place != middle
    with reader.acting():
        reader.press("Space")
    np.testing.assert_array_equal(stored.scribbles, 2 * voxels(place))


def test_a_long_computation_is_cancelled_and_never_stands_in_the_way(reader, server):
    slow = {"rounds": 100, "iterations": 40, "connectivity": 3}  # half a minute
    reader.open(server, SCAN, begun(server, SCAN, VOLUME, parameters=slow))
    stored = Stored(reader, server)
    before = stored.segment
    reader.go_to((20, 18, Z))
    reader.press("g")
    reader.drag("Axial", (15, 18, Z), (25, 18, Z))
    expect(reader.page.locator(".doing")).to_contain_text("Computing")
    expect(reader.page.locator(".doing")).to_contain_text(re.compile(r"round \d"), timeout=PATIENCE)
    reader.page.mouse.move(*reader.place("Axial", (20, 18, Z)))
    reader.page.mouse.wheel(0, 100)
    soon(lambda: reader.at() == (20, 18, Z - 1), 1)
    reader.press("Escape")
    expect(reader.page.locator(".workspace[data-busy]")).to_have_count(0)
    reader.told("cancelled")
    assert stored.segment.packed.tobytes() == before.packed.tobytes()
    assert not stored.scribbles.any()
    with reader.acting():  # and the page goes on
        reader.page.get_by_role("button", name="Rename object 1").click()
        reader.page.get_by_role("dialog").get_by_label("Name").fill("liver")
        reader.page.get_by_role("dialog").get_by_role("button", name="OK").click()


def test_maps_and_where_to_look_next(reader, plane, server):
    reader.press("g", "[", "[", "[")
    with reader.acting():
        reader.drag("Axial", (16, 18, Z), (24, 18, Z))
    reader.press("Enter", "p")  # the adaptation is kept; no box is drawn over the map
    reader.plain()
    segment = plane.segment
    reader.control("map").select_option("Probability")
    reader.control("mapOpacity").press("End")
    reader.control("opacity").press("Home")
    painted = segment.scribbles > 0
    maps = {
        "probability": (segment.probability(), "viridis", 1 / 3),
        "uncertainty": (segment.uncertainty(), "magma", 2 / 3),
    }
    for name, (values, colours, opaque) in maps.items():
        reader.control("map").select_option(name)
        expect(reader.page.locator(f".legend.{name}")).to_be_visible()
        soon(
            lambda values=values, colours=colours, opaque=opaque: painted_as(
                reader,
                segment.box,
                values,
                (values > opaque) & ~painted,
                lambda v: matplotlib.colormaps[colours](v)[..., :3] * 255,
            )
        )
    weights = segment.weight_map()
    reader.control("map").select_option("weights")
    soon(lambda: painted_as(reader, segment.box, weights, ~painted & (weights <= 1.001), lambda w: 128 * w[..., None]))
    reader.press("u")
    with server.client("anna") as http:
        first, *_ = http.get(f"/api/v1/sessions/{reader.session}/places").json()
    soon(lambda: list(reader.at()) == first["voxel"])
    place = tuple(np.array(first["voxel"]) - segment.box.start)
    assert segment.uncertainty()[place] > 0.3


def painted_as(reader, box, values, sure, colour):
    """Whether voxels of a box have the colours of their values; those on an outline may have its."""
    full = np.zeros((*SCAN.shape, 3))
    full[box.slices] = colour(np.asarray(values, float))
    known = box.paste(sure, SCAN.shape)
    cut = np.stack([reader.scan.cut(full[..., k], "Axial", reader.at()) for k in range(3)], -1)
    here = reader.scan.cut(known, "Axial", reader.at())
    assert here.sum() > 10
    return bool((np.abs(reader.colours("Axial") - cut).max(-1) <= 20)[here].mean() > 0.97)
