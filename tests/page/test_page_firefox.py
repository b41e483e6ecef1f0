"""The main story in Firefox: a box, its mask and surface, a stroke, undo, export; and a clean console."""

import numpy as np
import pytest
from page_reader import begun, soon
from scan import AXES, Scan

from bifseg.server import built
from bifseg.training.synthetic.phantom import phantom

SCAN, _ = phantom(2, (44, 38, 24))
FIT = 0.96  # of a pane is filled by a scan


def place(firefox, view, voxel):
    """Where a voxel of the file is on the screen."""
    box = firefox.evaluate(f"document.querySelector(\"canvas[aria-label^='{view}']\").getBoundingClientRect().toJSON()")
    scan = Scan.of(SCAN)
    across, down, _ = AXES[view]
    size = scan.shape * scan.spacing
    scale = FIT * min(box["width"] / size[across], box["height"] / size[down])
    away = ((scan.shape - 1) / 2 - scan.canonical(voxel)) * scan.spacing * scale
    return box["x"] + box["width"] / 2 + away[across], box["y"] + box["height"] / 2 + away[down]


def done(firefox, number):
    firefox.until(
        f"document.querySelector('.kept')?.dataset.number === '{number}' && !document.querySelector('[data-busy]')"
    )


def test_the_main_story_in_firefox(server, tmp_path):
    if not built.is_built():
        pytest.skip("the page was not built: make page")
    from firefox import browsing

    session = begun(server, SCAN)
    token = server.service.tokens.create_once("anna")
    with browsing(tmp_path) as firefox:
        firefox.go(f"{server.url}/#enter={token}&session={session}")
        firefox.until("document.querySelector('.workspace')")
        firefox.drag(place(firefox, "Axial", (20, 18, 13)))
        firefox.drag(place(firefox, "Coronal", (20, 18, 13)))
        assert "20, 18, 13" in firefox.until("document.querySelector('.place').textContent")
        firefox.press("b")
        firefox.drag(place(firefox, "Axial", (10, 9, 13)), place(firefox, "Axial", (29, 26, 13)))
        firefox.drag(place(firefox, "Coronal", (10, 18, 8)), place(firefox, "Coronal", (29, 18, 17)))
        done(firefox, 1)
        first = server.service.store.state(session).objects["object 1"]
        assert first.mask.any()
        firefox.until("document.querySelector('.render canvas').dataset.drawn")
        firefox.press("f")
        firefox.drag(place(firefox, "Axial", (18, 12, 13)), place(firefox, "Axial", (22, 12, 13)))
        done(firefox, 2)
        painted = server.service.store.state(session).objects["object 1"]
        assert np.count_nonzero(painted.scribbles == 1) > 3
        firefox.press("z", held="\ue009")  # Ctrl
        done(firefox, 3)
        again = server.service.store.state(session).objects["object 1"]
        assert again.packed.tobytes() == first.packed.tobytes()
        firefox.press("s", held="\ue009")
        firefox.until("document.querySelector('dialog .choice strong')")
        named = "[...document.querySelectorAll('dialog .choice strong')].map((one) => one.textContent)"
        choices = firefox.evaluate(named)
        assert "NIfTI" in choices
        soon(lambda: not firefox.errors, 1)
