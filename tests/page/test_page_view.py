"""The page in a real browser: how a scan is looked at, by wheel, mouse, pen and finger, and what is told of it."""

import re
from functools import partial

import numpy as np
import pytest
from page_reader import begun, expect, reading, soon

from bifseg.imaging.image import Image
from bifseg.training.synthetic.phantom import phantom

PHANTOM, _ = phantom(2, (44, 38, 24))
# Hounsfield units, roughly: air to bone.
SCAN = Image((np.asarray(PHANTOM.array) * 1.6 - 900).astype(np.int16), PHANTOM.spacing)
HERE = (24, 15, 13)


def window(reader):
    """Level and width, as the page's fields have them."""
    return tuple(float(reader.control(key).input_value()) for key in ("Level", "Width"))


def test_windows_change_grey_values(reader):
    reader.plain()
    assert window(reader) == (40, 400)  # a CT is first shown as one
    known = {"Soft tissue": (40, 400), "Lung": (-600, 1500), "Bone": (400, 1800), "Brain": (40, 80)}
    cut = reader.scan.cut(reader.scan.array, "Axial", HERE).astype(float)
    clear = reader.clear("Axial")
    for name, (level, width) in known.items():
        reader.control("window").select_option(name)
        assert window(reader) == (level, width)
        grey = np.clip((cut - (level - width / 2)) * 255 / width, 0, 255)
        assert (np.abs(reader.colours("Axial")[..., 1] - grey) <= 1)[clear].all()
    reader.control("window").select_option("Lung")
    before = reader.colours("Axial")[clear].mean()
    x, y = reader.place("Axial", HERE)
    for to, changed in [((x, y + 60), "brighter"), ((x + 80, y), "wider")]:
        level, width = window(reader)
        reader.page.mouse.move(x, y)
        reader.page.mouse.down(button="right")
        reader.page.mouse.move(*to, steps=3)
        reader.page.mouse.up(button="right")
        after = window(reader)
        if changed == "brighter":
            assert after[0] < level
            assert after[1] == pytest.approx(width, rel=1e-3)
            assert reader.colours("Axial")[clear].mean() > before + 5
        else:
            assert after[0] == pytest.approx(level, rel=1e-3)
            assert after[1] > 1.2 * width
    expect(reader.control("window").locator("option:checked")).to_have_text("By hand")
    reader.control("Level").fill("100")
    reader.control("Level").press("Enter")
    assert window(reader)[0] == 100


def test_the_wheel_scrolls_through_slices(reader):
    reader.page.mouse.move(*reader.place("Axial", HERE))
    for step in (1, 2):
        reader.page.mouse.wheel(0, 100)
        soon(lambda step=step: reader.at() == (24, 15, 13 - step))
    reader.page.mouse.wheel(0, -100)
    soon(lambda: reader.at() == (24, 15, 12))
    expect(reader.pane("Axial")).to_have_attribute("aria-label", re.compile("13 of 24"))
    reader.page.mouse.move(*reader.place("Sagittal", HERE))
    reader.page.mouse.wheel(0, 100)  # towards the left of the patient, where this file's x runs to
    soon(lambda: reader.at() == (25, 15, 12))


def pointed(reader, x, y):
    """The voxel that a click there leads to."""
    reader.page.mouse.click(x, y)
    return reader.at()


def test_what_is_under_the_pointer_stays_there_while_zooming(reader):
    corner = (12, 25, 13)
    x, y = reader.place("Axial", corner)
    near = reader.place("Axial", (11, 25, 13))
    voxel = abs(near[0] - x)
    reader.page.mouse.move(x, y)
    reader.page.keyboard.down("Control")
    for _ in range(3):
        reader.page.mouse.wheel(0, -150)
    reader.page.keyboard.up("Control")
    assert pointed(reader, x, y) == corner
    zoom = np.exp(0.9)
    assert pointed(reader, x - round(3 * voxel * zoom), y) == (9, 25, 13)
    # pulled with the middle button it goes along
    reader.page.mouse.move(x, y)
    reader.page.mouse.down(button="middle")
    reader.page.mouse.move(x + 40, y - 30, steps=3)
    reader.page.mouse.up(button="middle")
    assert pointed(reader, x + 40, y - 30) == corner
    reader.press("0")
    assert pointed(reader, x, y) == corner
    assert pointed(reader, *near) == (11, 25, 13)


def test_fingers_zoom_and_a_pen_paints(browser, server):
    session = begun(server, SCAN, "10:30,9:27,13")
    with reading(browser, server.url, has_touch=True) as reader:
        reader.open(server, SCAN, session)
        reader.go_to((20, 18, 13))
        reader.press("2")
        x, y = reader.place("Axial", (20, 18, 13))
        voxel = abs(reader.place("Axial", (19, 18, 13))[0] - x)
        hands = reader.page.context.new_cdp_session(reader.page)

        def touch(kind, *places):
            points = [{"x": a, "y": b, "id": k} for k, (a, b) in enumerate(places)]
            hands.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

        touch("touchStart", (x - 30, y))
        touch("touchStart", (x - 30, y), (x + 30, y))
        for half in (40, 50, 60):
            touch("touchMove", (x - half, y), (x + half, y))
        touch("touchEnd")
        assert pointed(reader, x, y) == (20, 18, 13)
        assert pointed(reader, x - 4 * voxel * 2, y) == (16, 18, 13)

        reader.press("0", "p", "f")
        reader.thin()
        with reader.acting():
            for kind, at in [("touchStart", 18), ("touchMove", 20), ("touchMove", 22)]:
                touch(kind, reader.place("Axial", (at, 12, 13)))
            touch("touchEnd")
        reader.press("g")
        with reader.acting():
            for kind, at in [("mousePressed", 18), ("mouseMoved", 20), ("mouseMoved", 22), ("mouseReleased", 22)]:
                a, b = reader.place("Axial", (at, 22, 13))
                pen = {"type": kind, "x": a, "y": b, "button": "left", "buttons": 1, "clickCount": 1}
                hands.send("Input.dispatchMouseEvent", {**pen, "pointerType": "pen", "force": 0.5})
        segment = server.service.store.state(session).objects["object 1"]
        expected = np.zeros(SCAN.shape, np.uint8)
        expected[18:23, 12, 13], expected[18:23, 22, 13] = 1, 2
        np.testing.assert_array_equal(segment.box.paste(segment.scribbles, SCAN.shape), expected)


def test_layouts_and_surfaces(browser, server):
    with reading(browser, server.url) as reader:
        reader.open(server, SCAN, begun(server, SCAN, "10:30,9:27,8:18"))
        views = reader.page.get_by_role("group", name="Views")
        drawn = reader.page.locator(".stage canvas:visible")
        expect(drawn).to_have_count(4)
        for key, name, panes in [("2", "Axial", 1), ("3", "Coronal", 1), ("4", "Sagittal", 1), ("5", "3D", 1)]:
            reader.press(key)
            expect(drawn).to_have_count(panes)
            expect(drawn.first).to_have_attribute("aria-label", re.compile(f"^{name}"))
            expect(views.get_by_role("button", name=name)).to_have_attribute("aria-pressed", "true")
        soon(lambda: orange(reader.photograph("3D")) > 500)  # the mask is in it
        reader.press("h")
        soon(lambda: orange(reader.photograph("3D")) < 50)
        expect(reader.page.locator(".render")).to_contain_text("Objects appear here")
        reader.press("h")
        reader.pane("3D").dblclick()
        expect(drawn).to_have_count(4)
        reader.page.reload()  # how it was looked at is kept
        reader.arrived()
        expect(views.get_by_role("button", name="All")).to_have_attribute("aria-pressed", "true")


def test_a_surface_is_turned_by_hand_and_by_keys_and_comes_nearer(browser, server):
    with reading(browser, server.url) as reader:
        reader.open(server, SCAN, begun(server, SCAN, "10:30,9:27,8:18"))
        reader.press("5")
        soon(lambda: orange(reader.photograph("3D")) > 500)

        seen = partial(reader.photograph, "3D")
        whole = "canvas => canvas.width === canvas.clientWidth && canvas.height === canvas.clientHeight"
        soon(lambda: reader.pane("3D").evaluate(whole))  # drawn for the room that it has now
        reader.pane("3D").focus()
        first = seen()

        def apart(picture):
            """The share of pixels that are not as they were at first."""
            return np.mean(np.abs(picture.astype(int) - first).max(-1) > 8)

        box = reader.pane("3D").bounding_box()
        x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
        reader.page.mouse.move(x, y)
        reader.page.mouse.down()
        reader.page.mouse.move(x + 120, y + 30, steps=4)
        reader.page.mouse.up()
        soon(lambda: apart(seen()) > 0.02)
        reader.page.mouse.wheel(0, -400)
        soon(lambda: orange(seen()) > 1.3 * orange(first))
        reader.press("0")
        soon(lambda: apart(seen()) < 0.01)
        reader.press("ArrowLeft")
        soon(lambda: apart(seen()) > 0.01)


def orange(picture):
    """How many pixels have the hue of the first object."""
    red, green, blue = picture.astype(int).transpose(2, 0, 1)
    return np.count_nonzero((red > green + 25) & (green > blue + 25))


def test_themes_and_help(reader):
    page = reader.page
    page.emulate_media(color_scheme="dark")
    ground = "() => getComputedStyle(document.body).backgroundColor"
    brightness = {}
    for theme in ("dark", "light", "auto"):
        page.get_by_role("button", name="Dark or light").click()
        expect(page.locator("html")).to_have_attribute("data-theme", theme)
        brightness[theme] = sum(map(int, re.findall(r"\d+", page.evaluate(ground))[:3]))
    assert brightness["dark"] == brightness["auto"] < 200 < 600 < brightness["light"]
    reader.press("?")
    help_ = page.get_by_role("dialog", name="Keys")
    for key, what in [("Ctrl+Z", "Undo"), ("B", "Box"), ("U", "least sure"), ("Wheel", "Scroll"), (".", "next slice")]:
        row = help_.get_by_role("row").filter(has=page.get_by_role("rowheader", name=key, exact=True))
        expect(row).to_contain_text(what)
    reader.press("Escape")
    expect(help_).to_have_count(0)


def test_report_and_measures_are_of_the_mask(reader, server):
    with reader.acting():
        reader.box((10, 9, 8), (29, 26, 17))
    segment = server.service.store.state(reader.session).objects["object 1"]
    volume = np.count_nonzero(segment.mask) * 2 / 1000  # voxels of 1 x 1 x 2 mm, in ml
    where = np.argwhere(segment.mask)
    diameter = max(
        np.sqrt(((points[:, None] - points[None, :]) ** 2).sum(-1).max())
        for points in (where[where[:, 2] == z][:, :2] for z in np.unique(where[:, 2]))
    )
    row = reader.page.locator(".row.current")
    expect(row).to_contain_text(f"{volume:.1f} ml" if volume >= 1 else f"{volume:.2g} ml")
    expect(row).to_contain_text(f"{diameter:.1f} mm")
    reader.press("i")
    report = reader.page.get_by_role("dialog", name="Report")
    row = report.get_by_role("row").filter(has_text="object 1")
    expect(row).to_be_visible()
    cells = row.get_by_role("cell").all_inner_texts()
    assert float(cells[0]) == pytest.approx(volume, abs=0.006)
    assert float(cells[1]) == pytest.approx(diameter, abs=0.06)
    with reader.page.expect_download() as saved:
        report.get_by_role("button", name="Save as text").click()
    assert f"Volume (ml): {cells[0]}" in saved.value.path().read_text()
