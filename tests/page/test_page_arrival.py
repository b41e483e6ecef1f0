"""A large scan in a real browser: the slices that are looked at are there before the rest, and are what they stay."""

from urllib.parse import parse_qs, urlsplit

import numpy as np
from page_reader import begun, expect, reading

from bifseg.imaging.image import Image

MISSING = (0x20, 0x26, 0x2E)  # of web/src/scan/volume.ts
VIEWS = ("Axial", "Coronal", "Sagittal")


def is_slab(address: str) -> bool:
    """Whether a part of the scan is asked for that is no slice."""
    (box,) = parse_qs(urlsplit(address).query)["box"]
    return all(":" in axis for axis in box.split(","))


def test_slices_are_seen_before_the_rest_is_there_and_do_not_change(browser, server):
    scan = Image(np.random.default_rng(3).integers(-200, 300, (256, 256, 200)).astype(np.int16))  # four slabs
    with reading(browser, server.url) as reader:
        held = []

        def hold(route):
            if is_slab(route.request.url):
                held.append(route)
            else:
                route.continue_()

        reader.page.context.route("**/canonical?*", hold)
        reader.open(server, scan, begun(server, scan))
        expect(reader.page.locator("progress[aria-label='The scan is on its way']")).to_be_visible()
        reader.plain()
        early = {view: reader.picture(view) for view in VIEWS}
        here = reader.at()
        expect(reader.page.locator(".place")).to_contain_text(f"· {int(scan.array[here])} HU")
        assert not any((picture == MISSING).all(2).any() for picture in early.values())
        name = reader.pane("Axial").get_attribute("aria-label")
        reader.pane("Axial").press("PageUp")
        expect(reader.pane("Axial")).not_to_have_attribute("aria-label", name)
        assert ((reader.picture("Axial") == MISSING).all(2)).mean() > 0.2  # no grey, so nobody takes it for air
        reader.pane("Axial").press("PageDown")
        assert held
        while reader.page.locator("progress[aria-label='The scan is on its way']").is_visible():
            for route in [held.pop() for _ in range(len(held))]:
                route.continue_()
            reader.page.wait_for_timeout(50)
        for view in VIEWS:
            np.testing.assert_array_equal(reader.picture(view), early[view])
        reader.go_to((10, 20, 30))
        expect(reader.page.locator(".place")).to_contain_text(f"· {int(scan.array[10, 20, 30])} HU")
