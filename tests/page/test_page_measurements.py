"""The page in a real browser: rulers and angles are in millimetres, kept, moved and removed."""

import re

import numpy as np
import pytest
from page_reader import begun, expect, reading

from bifseg.imaging.image import Image
from bifseg.training.synthetic.phantom import phantom

PHANTOM, _ = phantom(2, (44, 38, 24))
SCAN = Image(np.asarray(PHANTOM.array), (1.0, 2.0, 3.0))
Z = 13
HERE = (24, 15, Z)


def measured(reader):
    """What the panel lists."""
    return reader.page.get_by_role("region", name="Measured").get_by_role("listitem")


def number(text):
    return float(re.search(r"[\d.]+", text)[0])


def test_a_ruler_is_in_millimetres_kept_moved_and_removed(reader):
    reader.press("w")
    reader.drag("Axial", (10, 10, Z), (30, 10, Z))
    expect(measured(reader)).to_have_count(1)
    assert number(measured(reader).inner_text()) == pytest.approx(20, abs=0.3)  # a pixel of the screen
    expect(measured(reader)).to_contain_text(f"Axial {Z + 1}")
    reader.drag("Coronal", (10, 15, 4), (10, 15, 14))
    expect(measured(reader)).to_have_count(2)
    assert number(measured(reader).nth(1).inner_text()) == pytest.approx(30, abs=0.3)
    reader.drag("Axial", (30, 10, Z), (10, 20, Z))  # its end is taken hold of
    expect(measured(reader)).to_have_count(2)
    assert number(measured(reader).first.inner_text()) == pytest.approx(20, abs=0.3)  # 10 voxels of 2 mm
    reader.page.reload()
    reader.arrived()
    expect(measured(reader)).to_have_count(2)
    reader.press("Delete")
    expect(measured(reader)).to_have_count(1)
    reader.page.get_by_role("button", name="Remove 20.0 mm").or_(
        reader.page.get_by_role("button", name=re.compile("Remove (19.[89]|20.[12]) mm"))
    ).click()
    expect(measured(reader)).to_have_count(0)


def test_an_angle_has_two_arms_and_is_true_to_the_spacing(reader):
    reader.press("a")
    reader.drag("Axial", (30, 10, Z), (10, 10, Z))
    reader.page.mouse.move(*reader.place("Axial", (15, 12, Z)))
    reader.click("Axial", (30, 20, Z))  # 20 mm along x, 20 mm along y
    expect(measured(reader)).to_have_count(1)
    assert number(measured(reader).inner_text()) == pytest.approx(45, abs=1)
    reader.drag("Axial", (20, 30, Z), (25, 30, Z))
    reader.press("Escape")  # half an angle is none
    reader.drag("Axial", (20, 30, Z), (25, 30, Z))
    reader.press("Escape", "v")
    expect(measured(reader)).to_have_count(1)
    reader.press("Delete")
    expect(measured(reader)).to_have_count(0)


def test_a_click_is_no_ruler_and_a_picture_of_unknown_size_is_in_pixels(browser, server):
    picture = Image(np.asarray(PHANTOM.array)[:, :, 12], planar=True, calibrated=False)
    with reading(browser, server.url) as reader:
        reader.open(server, picture, begun(server, picture))
        reader.press("w")
        reader.click("Image", (10, 10, 0))
        expect(measured(reader)).to_have_count(0)
        reader.drag("Image", (10, 10, 0), (13, 14, 0))
        expect(measured(reader)).to_have_count(1)
        expect(measured(reader)).to_contain_text(re.compile(r"(4\.9|5\.0|5\.1) px"))
