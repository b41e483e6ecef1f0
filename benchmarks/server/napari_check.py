"""Drive the unmodified napari plugin against a server: boxes, scribbles, a lasso, a point, undo, a lost connection.

napari needs Qt and much else, so it has an environment of its own; bifseg need not be in it. It draws with OpenGL, so
where there is no screen, Xvfb has to be one (Debian: xvfb xauth libgl1-mesa-dri):

    python -m venv napari-env
    napari-env/bin/pip install napari==0.9.2 pyqt5 napari-nninteractive==2.5.4
    bifseg serve --data sessions &
    xvfb-run -a napari-env/bin/python benchmarks/server/napari_check.py http://127.0.0.1:1527 [TOKEN] [--restart X]

It says what was checked, line by line, and exits with 1 at the first thing that is wrong. ``--restart``: a shell
command that kills the server and starts it again, to see that the plugin does not notice.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
os.environ["XDG_CONFIG_HOME"] = tempfile.mkdtemp(prefix="napari-check-")  # leave the user's own settings alone

import httpx
import napari
import numpy as np
from napari_nninteractive import nnInteractiveWidget
from qtpy.QtWidgets import QApplication

POINT, BOX, SCRIBBLE, LASSO = range(4)
PLANE, OTHER_PLANE = 12, 20
PATIENCE = 120.0  # seconds; the first prompt may find the server loading its network


def scan() -> tuple[np.ndarray, np.ndarray]:
    """A ball and a smaller, darker one beside it in noise, (z, y, x); and where the first is."""
    z, y, x = np.indices((32, 96, 96))
    ball = (2 * (z - 16)) ** 2 + (y - 48) ** 2 + (x - 44) ** 2 < 22**2
    small = (2 * (z - 16)) ** 2 + (y - 48) ** 2 + (x - 80) ** 2 < 10**2
    noise = np.random.default_rng(1).normal(0, 12, ball.shape)
    return (100 + 80 * ball + 50 * small + noise).astype(np.int16), ball


class Reader:
    """Somebody at napari's window: clicks buttons and draws into the plugin's layers."""

    def __init__(self, url: str, token: str | None, volume: np.ndarray) -> None:
        self.viewer = napari.Viewer(show=False)
        self.viewer.add_image(volume, name="scan", scale=(2, 1, 1))
        self.widget = nnInteractiveWidget(self.viewer)
        self.viewer.window.add_dock_widget(self.widget)
        if not self.widget._remote_mode:
            self.widget.mode_switch._uncheck()
            self.widget.mode_switch._check(1)
            self.widget.on_mode_switched()
        self.widget.server_url_edit.setText(url)
        self.widget.api_key_edit.setText(token or "")

    @property
    def mask(self) -> np.ndarray:
        """What the plugin shows, as it is now."""
        return np.array(self.viewer.layers[self.widget.label_layer_name].data) > 0

    def wait(self, until: Callable[[], bool], what: str) -> None:
        end = time.monotonic() + PATIENCE
        while not until():
            QApplication.processEvents()
            time.sleep(0.01)
            if time.monotonic() > end:
                raise TimeoutError(f"waited {PATIENCE:g} s for {what}: {self.widget.remote_status_label.text()}")

    def initialize(self) -> None:
        """Click Initialize: connects where there is no connection, and uploads the scan."""
        widget = self.widget
        widget.init_button.click()
        self.wait(lambda: widget._upload_dialog is not None, "the connection")
        self.wait(lambda: widget._upload_dialog is None, "the upload")

    def tool(self, index: int, plane: int, positive: bool = True):
        """Choose a tool, the prompt's sign and the plane that is shown; returns the layer to draw into."""
        self.viewer.dims.set_point(0, 2 * plane)  # in millimetres
        self.widget.prompt_button._uncheck()
        self.widget.prompt_button._check(0 if positive else 1)
        self.widget.interaction_button._uncheck()
        self.widget.interaction_button._check(index)
        self.widget.on_interaction_selected()
        self.widget.on_prompt_selected()
        return self.viewer.layers[self.widget.layer_dict[index]]

    def box(self, plane: int, y: tuple[int, int], x: tuple[int, int]) -> None:
        corners = [[plane, y[0], x[0]], [plane, y[0], x[1]], [plane, y[1], x[1]], [plane, y[1], x[0]]]
        self.tool(BOX, plane).add(np.array(corners, float), shape_type="rectangle")

    def scribble(self, plane: int, y: int, x: tuple[int, int], positive: bool) -> np.ndarray:
        """Paint along a row; where it was painted, bool."""
        layer = self.tool(SCRIBBLE, plane, positive)
        layer.on_draw()  # what pressing the button does
        before = np.array(layer.data)
        with layer.block_history():  # what is painted until it is let go is one stroke
            for column in range(*x):
                layer.paint((plane, y, column), 1, refresh=False)
        return (np.array(layer.data) != before) & (np.array(layer.data) > 0)

    def lasso(self, plane: int, centre: tuple[int, int], radius: float) -> None:
        angle = np.linspace(0, 2 * np.pi, 24, endpoint=False)
        ring = np.stack(
            [np.full(24, plane), centre[0] + radius * np.sin(angle), centre[1] + radius * np.cos(angle)], axis=1
        )
        self.tool(LASSO, plane).add(ring, shape_type="polygon")

    def point(self, plane: int, y: int, x: int) -> None:
        self.tool(POINT, plane).add(np.array([[plane, y, x]], float))


def check(what: str, right: bool, found: object = "") -> None:
    print("ok   " if right else "WRONG", what, found, flush=True)
    if not right:
        sys.exit(1)


def dice(a: np.ndarray, b: np.ndarray) -> float:
    return float(2 * (a & b).sum() / max(1, a.sum() + b.sum()))


def planes(mask: np.ndarray) -> list[int]:
    return np.flatnonzero(mask.any((1, 2))).tolist()


def alive(url: str) -> bool:
    try:
        return httpx.get(f"{url}/healthz").status_code == 200
    except httpx.HTTPError:
        return False


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("url")
    parser.add_argument("token", nargs="?")
    parser.add_argument("--restart", metavar="COMMAND")
    options = parser.parse_args()
    volume, ball = scan()
    reader = Reader(options.url, options.token, volume)
    widget = reader.widget

    reader.initialize()
    supported = widget.session.supported_interactions
    check("connected; all five tools are offered", all(supported.values()), sorted(supported))
    check("licence is shown", "Apache" in (widget.session.license or ""), widget.session.license)
    check("nothing is segmented yet", not reader.mask.any())

    reader.box(PLANE, (20, 76), (16, 72))
    flat = reader.mask
    check("a box in one plane is 2D", planes(flat) == [PLANE], f"planes {planes(flat)}")
    score = dice(flat[PLANE], ball[PLANE])
    check("and finds the ball in it", score > 0.85, f"Dice {score:.3f}")

    stroke = reader.scribble(PLANE, 48, (34, 40), positive=False)
    corrected = reader.mask
    check("a negative scribble takes its voxels out", stroke.any() and not corrected[stroke].any(), int(stroke.sum()))
    widget.on_undo()
    check("undo gives the mask before it back, bit for bit", np.array_equal(reader.mask, flat))
    corner = reader.scribble(PLANE, 24, (20, 26), positive=True)
    check("a positive scribble puts its voxels in", corner.any() and reader.mask[corner].all(), int(corner.sum()))
    widget.on_undo()

    reader.box(OTHER_PLANE, (20, 76), (16, 72))
    solid = reader.mask
    inside = range(PLANE, OTHER_PLANE + 1)
    check("a box in a second plane makes it 3D", set(planes(solid)) == set(inside), f"planes {planes(solid)}")
    score = dice(solid[PLANE : OTHER_PLANE + 1], ball[PLANE : OTHER_PLANE + 1])
    check("and finds the ball in all of them", score > 0.85, f"Dice {score:.3f}")

    if options.restart:
        subprocess.run(options.restart, shell=True, check=True)
        reader.wait(lambda: alive(options.url), "the server")
        reader.scribble(16, 48, (34, 40), positive=False)
        check("the server was killed and is back; the plugin goes on", not reader.mask[16, 48, 34:40].any())
        widget.on_undo()
        check("and can undo", np.array_equal(reader.mask, solid))

    lease = {"X-Lease-Token": widget.session._lease_token}
    bearer = {"Authorization": f"Bearer {options.token}"} if options.token else {}
    gone = httpx.post(f"{options.url}/release", headers=lease | bearer).json()
    check("the connection is cut behind the plugin's back", gone == {"released": True})
    reader.scribble(16, 48, (34, 40), positive=False)
    check("the plugin notices, and keeps its mask", not widget._remote_connected and np.array_equal(reader.mask, solid))
    reader.initialize()
    check("after Initialize the mask is there", np.array_equal(reader.mask, solid))
    widget.on_undo()
    check("and the undo history, too: the box is flat again", np.array_equal(reader.mask, flat), planes(reader.mask))

    widget.on_next()
    check("the next object begins empty", not reader.mask.any())
    reader.point(16, 48, 44)
    check("a point is enough to begin", reader.mask[16, 48, 44], f"{int(reader.mask.sum())} voxels")
    widget.on_next()
    reader.lasso(16, (48, 44), 24)
    score = dice(reader.mask[16], ball[16])
    check("a lasso is enough to begin", score > 0.85, f"Dice {score:.3f}")
    widget.on_next()
    line = reader.scribble(16, 48, (30, 60), positive=True)
    check("a scribble is enough to begin", line.any() and reader.mask[line].all(), f"{int(reader.mask.sum())} voxels")
    widget._release_session()
    check("disconnected", not widget._remote_connected)
    reader.viewer.close()
    print("all is well")


if __name__ == "__main__":
    main()
