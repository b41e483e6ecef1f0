"""The page in a real browser, as who reads scans expects it: values under the pointer, slices, one picture, colours."""

import re
from decimal import ROUND_HALF_UP, Decimal

import numpy as np
import pytest
from page_reader import begun, expect, reading, soon

from bifseg.imaging.image import Image
from bifseg.training.synthetic.phantom import phantom

PHANTOM, _ = phantom(2, (44, 38, 24))
CT = Image((np.asarray(PHANTOM.array) * 1.6 - 900).astype(np.int16), PHANTOM.spacing)  # Hounsfield units, roughly
FILM = Image(np.asarray(PHANTOM.array)[:, :, 12:13], (0.5, 0.5, 3.0))  # one slice of known spacing
Z = 13
HERE = (24, 15, Z)


@pytest.fixture
def reader(browser, server):
    with reading(browser, server.url) as reader:
        reader.open(server, CT, begun(server, CT))
        reader.go_to(HERE)
        yield reader


def test_the_value_under_the_pointer_has_its_unit_and_place(reader):
    there = (12, 20, Z)
    reader.page.mouse.move(*reader.place("Axial", there))
    value = int(CT.array[there])
    expect(reader.page.locator(".pointer")).to_have_text(f"{value} HU at 12, 20, {Z}")
    assert reader.at() == HERE
    reader.page.mouse.move(*reader.place("Coronal", (30, 15, 4)))
    expect(reader.page.locator(".pointer")).to_have_text(f"{int(CT.array[30, 15, 4])} HU at 30, 15, 4")


def test_slices_are_counted_as_the_file_counts_them(reader):
    for view, axis in (("Sagittal", 0), ("Coronal", 1), ("Axial", 2)):
        counted = re.compile(f"slice {HERE[axis] + 1} of {CT.shape[axis]}(?![0-9])")
        expect(reader.pane(view)).to_have_attribute("aria-label", counted)  # as soon as the view has followed


def test_a_slider_turns_slices_over(reader):
    reader.press("2")
    slider = reader.page.get_by_label("Slice, axial")
    box = slider.bounding_box()
    reader.page.mouse.click(box["x"] + box["width"] / 2, box["y"] + 2)
    soon(lambda: reader.at()[2] == CT.shape[2] - 1)
    reader.page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] - 2)
    soon(lambda: reader.at()[2] == 0)


def test_a_double_click_enlarges_a_view_and_brings_the_others_back(reader):
    views = reader.page.locator(".stage canvas:visible")
    reader.page.mouse.dblclick(*reader.place("Coronal", HERE))
    expect(views).to_have_count(1)
    expect(views).to_have_attribute("aria-label", "Coronal slice 16 of 38")
    box = views.bounding_box()
    reader.page.mouse.dblclick(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    expect(views).to_have_count(4)


def test_a_finger_turns_slices_over(browser, server):
    with reading(browser, server.url, has_touch=True) as reader:
        reader.open(server, CT, begun(server, CT))
        reader.go_to(HERE)
        reader.press("2")
        x, y = reader.place("Axial", HERE)
        hands = reader.page.context.new_cdp_session(reader.page)
        for kind, up in [("touchStart", 0), ("touchMove", 20), ("touchMove", 46)]:
            hands.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": [{"x": x, "y": y - up}]})
        hands.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
        soon(lambda: reader.at() == (24, 15, Z + 5))


def test_a_file_with_one_slice_is_one_picture_with_an_area(browser, server):
    session = begun(server, FILM, "10:30,9:27,0")
    with reading(browser, server.url) as reader:
        reader.open(server, FILM, session)
        page = reader.page
        expect(page.locator(".stage canvas:visible")).to_have_count(1)
        expect(page.get_by_role("group", name="Views").get_by_role("button")).to_have_count(0)
        expect(page.get_by_role("button", name="Next slice")).to_have_count(0)
        reader.press("b")
        expect(page.get_by_role("group", name="Dimension")).to_have_count(0)
        segment = server.service.store.state(session).objects["object 1"]
        area = Decimal(int(np.count_nonzero(segment.mask))) / 4
        shown = area.quantize(Decimal("0.1"), ROUND_HALF_UP)  # as JavaScript does, where Python rounds to even
        assert 10 <= area < 100
        expect(page.locator(".row .size")).to_contain_text(f"{shown} mm²")
        expect(page.locator(".row .size")).not_to_contain_text("ml")
        reader.press("i")
        expect(page.get_by_role("dialog", name="Report")).to_contain_text("Area")


def test_colours_are_shown_as_they_are(browser, server):
    rows, columns = np.mgrid[:40, :30]
    array = np.stack([rows * 6, columns * 8, 255 - rows * 3], -1).astype(np.uint8)[:, :, None]
    picture = Image(array, planar=True, calibrated=False)
    with reading(browser, server.url) as reader:
        reader.open(server, picture, begun(server, picture))
        reader.plain()
        clear = reader.clear("Image")
        shown = np.stack([reader.scan.cut(array[..., k], "Image", (0, 0, 0)) for k in range(3)], -1)
        assert (np.abs(reader.colours("Image") - shown).max(-1) <= 1)[clear].all()
        x, y = reader.place("Image", (10, 12, 0))
        reader.page.mouse.move(x, y)
        expect(reader.page.locator(".pointer")).to_have_text("RGB 60 96 225 at 10, 12, 0")


def test_another_scan_begins_fresh_and_the_first_is_as_it_was(browser, server):
    first, second = begun(server, CT, "4:40,3:35,6:20"), begun(server, PHANTOM, "10:22,9:21,8:18")
    with reading(browser, server.url) as reader:
        reader.open(server, CT, first)
        page, brush = reader.page, reader.page.get_by_role("group", name="Size of the brush")
        reader.press("3", "b", "d", "p")
        for _ in range(8):
            reader.press("]")
        wide = brush.inner_text()
        page.wait_for_timeout(400)  # until it is kept
        page.goto(f"{server.url}/#session={second}")
        page.reload()
        reader.arrived()
        expect(page.locator(".stage canvas:visible")).to_have_count(4)
        reader.press("p")
        expect(brush).to_contain_text("1.0 mm")  # a twentieth of 12 mm, or the next there is
        reader.press("b")
        expect(page.get_by_role("button", name="3D", exact=True).last).to_have_attribute("aria-pressed", "true")
        page.goto(f"{server.url}/#session={first}")
        page.reload()
        reader.arrived()
        expect(page.locator(".stage canvas:visible")).to_have_count(1)
        reader.press("p")
        expect(brush).to_have_text(wide, use_inner_text=True)


def test_after_a_stroke_the_changes_are_shown_and_nothing_moves(browser, server):
    session = begun(server, CT, f"10:30,9:27,{Z}")
    with reading(browser, server.url) as reader:
        reader.open(server, CT, session)
        reader.go_to((20, 18, Z))
        reader.press("2", "f")
        before = server.service.store.state(session).objects["object 1"]
        places = [reader.page.locator(where).bounding_box() for where in (".stage", ".panel .objects", ".status")]
        around = np.argwhere(~before.mask[:, :, 0]) + before.box.start[:2]
        out = around[3 * len(around) // 4]  # not in a corner, where a stroke changes nothing but itself
        with reader.acting():
            reader.click("Axial", (*out.tolist(), Z))
        guide = reader.page.get_by_role("region", name="Adaptation")
        expect(guide).to_contain_text("came")
        now = [reader.page.locator(where).bounding_box() for where in (".stage", ".panel .objects", ".status")]
        assert now == places
        after = server.service.store.state(session).objects["object 1"]
        guide.get_by_label("Changes").check()
        reader.plain()
        reader.control("opacity").press("Home")
        reader.press("p")
        added, removed = after.mask & ~before.mask, before.mask & ~after.mask
        expect(guide).to_contain_text(f"{np.count_nonzero(added)} voxels came") if added.any() else None
        painted = after.scribbles > 0
        soon(lambda: coloured(reader, after, added & ~painted, lambda r, g, b: b > r + 25))
        if removed.any():
            soon(lambda: coloured(reader, after, removed & ~painted, lambda r, g, b: r > b + 15))


def coloured(reader, segment, mask, hue):
    """Whether most voxels of a mask have a hue."""
    cut = reader.scan.cut(segment.box.paste(mask, CT.shape), "Axial", reader.at())
    return bool(hue(*np.moveaxis(reader.colours("Axial"), -1, 0))[cut].mean() > 0.7)


def test_a_stroke_that_takes_most_of_the_mask_offers_to_take_it_back(browser, server):
    session = begun(server, CT, f"10:30,9:27,{Z}")
    with reading(browser, server.url) as reader:
        reader.open(server, CT, session)
        reader.go_to((20, 18, Z))
        reader.press("2", "g")
        before = server.service.store.state(session).objects["object 1"]
        for _ in range(12):
            reader.press("]")
        x, y = (np.argwhere(before.mask[:, :, 0]).mean(0) + before.box.start[:2]).astype(int).tolist()
        with reader.acting():
            reader.click("Axial", (x, y, Z))
        guide = reader.page.get_by_role("region", name="Adaptation")
        expect(guide).to_contain_text("More than half of the mask is gone")
        with reader.acting():
            guide.get_by_role("button", name="Take back").click()
        now = server.service.store.state(session).objects["object 1"]
        assert now.packed.tobytes() == before.packed.tobytes()
