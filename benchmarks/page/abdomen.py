"""A made-up abdomen, as CT shows one with contrast medium: for pictures of the page; nobody's anatomy."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import ndimage

from bifseg.imaging.image import Image
from bifseg.training.synthetic.scene import Field

LESION, KIDNEY, SPLEEN, VERTEBRA = 1, 2, 3, 4  # labels of what is segmented
SPACING = (1.25, 1.25, 2.0)  # mm
EXTENT = ((-164, 164), (-120, 122), (0, 236))  # mm: to the left, to the back, to the head

Parts = tuple[np.ndarray, np.ndarray, np.ndarray]


def abdomen(seed: int = 0) -> tuple[Image, np.ndarray]:
    """(A scan of int16 in Hounsfield units; labels uint8: LESION, KIDNEY (the left one), SPLEEN, VERTEBRA)."""
    rng = np.random.default_rng(seed)
    mm = [np.arange(low, high, s, dtype=np.float32) for (low, high), s in zip(EXTENT, SPACING, strict=True)]
    axes = [np.linspace(-1.2, 1.2, len(m)) for m in mm]

    def field(cells: int) -> np.ndarray:
        return Field.random(rng, 3, cells)(axes)

    still = np.meshgrid(*mm, indexing="ij")
    at = tuple(m + 3.2 * field(6) + 1.2 * field(14) for m in still)  # nothing in a body is an ellipsoid
    x, y, z = at
    hu = np.full(x.shape, -1000, np.float32)
    labels = np.zeros(x.shape, np.uint8)

    def paint(where: np.ndarray, value: np.ndarray | float, label: int = 0) -> None:
        hu[where] = value[where] if isinstance(value, np.ndarray) else value
        labels[where] = label

    # the wall, from outside
    body = _round(at, (0, 4, 0), (152, 106, 0))
    depth = (1 - body) * 115  # mm under the skin, about
    paint(depth > 0, 40)
    paint(depth > 2, -105 + 6 * field(20))
    wall = 17 + 5 * field(5) + 5 * (y > 40)
    paint(depth > wall, 55 + 8 * field(24))
    inner = depth > wall + 9
    paint(inner, -98 + 8 * field(24))
    rib = np.abs(depth - wall - 5.5) < 4
    turn = np.sin(2 * np.pi * (z - 0.55 * y - 0.2 * np.abs(x)) / 34)
    bony = rib & (turn > 0.5) & (z > 70 + 0.5 * np.clip(-y, 0, None)) & ((np.abs(x) > 30) | (z > 190))
    paint(bony, 190 + 30 * field(30))
    paint(bony & ~ndimage.binary_erosion(bony, iterations=2), 480)

    # organs
    gut = field(19)
    loops = inner & (y < 12) & (z < 128)
    paint(loops & (gut > -0.35), 66)
    paint(loops & (gut > 0.1), 26 + 10 * field(20))
    gas = loops & (gut > 0.8) & (y < -38)
    paint(gas, -850)
    stomach = _round(at, (52, -34, 182), (46, 36, 40))
    paint(inner & (stomach < 1), 75)
    paint(inner & (stomach < 0.8), 18 + 6 * field(26))
    paint(inner & (stomach < 0.78) & (still[1] < -42), -900)
    spleen = (_round(at, (100, 34, 168), (33, 50, 52)) < 1) & (_round(at, (62, 16, 168), (34, 40, 60)) > 1)
    paint(inner & spleen, 122 + 4 * field(30), SPLEEN)
    liver = inner & (
        (_round(at, (-76, 4, 144), (80, 84, 76)) < 1) | (_round(at, (-8, -44, 176), (62, 34, 42)) < 1)
    ) & (_round(at, (-34, 48, 120), (32, 44, 70)) > 1)  # fmt: skip
    paint(liver, 108 + 4 * field(36))
    for reach, cells in ((0.2, 4), (0.17, 7)):
        paint(liver & (np.hypot(field(cells), field(cells)) < reach), 158)
    for centre, size, value in (
        ((-84, -14, 152), (19, 16, 17), 58), ((-52, -50, 178), (9, 8, 9), 52), ((-104, 36, 128), (11, 12, 10), 60),
    ):  # fmt: skip
        shape = _round(at, centre, size) + 0.07 * field(22)
        paint(liver & (shape < 1), value + 20 * np.clip(shape, 0.5, 1) + 5 * field(30), LESION if size[0] > 15 else 0)
    gall = _round(at, (-50, -52, 120), (15, 20, 24))
    paint(inner & (gall < 1), 55)
    paint(inner & (gall < 0.86), 8)
    bent = (x - 14, y - 8 - 0.12 * np.abs(x - 10), z - 158 - 0.2 * x)
    pancreas = _round(bent, (0, 0, 0), (46, 10, 14)) + 0.08 * field(16)
    paint(inner & (pancreas < 1), 92 + 16 * field(34))

    # the back
    for side in (-1, 1):
        top = 112 if side > 0 else 96
        lean = (x - side * (58 + 0.13 * (top - z)), y - 42 - 0.1 * (z - top), z - top)
        kidney = _round(lean, (0, 0, 0), (27, 24, 54)) + 0.04 * field(12)
        hilum = _round((lean[0] + side * 17, lean[1] + 5, lean[2]), (0, 0, 0), (15, 9, 26))
        paint(kidney < 1, 176 + 5 * field(30), KIDNEY if side > 0 else 0)
        paint((kidney < 0.76) & (field(19) > -0.1), 122, KIDNEY if side > 0 else 0)
        paint((hilum < 1) & (kidney < 1.3), -85)
        paint((hilum < 0.45) & (kidney < 1), 60)
        psoas = _round(at, (side * (32 + 0.1 * (110 - z)), 58, 20), (17, 18, 115))
        paint(inner & (psoas < 1), 58 + 6 * field(30))
        paint(_round(at, (side * 36, 88, 0), (29, 19, 0)) < 1, 56 + 9 * field(34))
        paint(np.hypot(x - side * 12, y - 96) < 5, -60)
    lung = inner & (np.abs(x + 5 * field(4)) > 25) & (z > 128) & ((y > 36) | (z > 196)) & (np.hypot(x + 4, y + 16) > 46)
    for centre, size in (((-74, 8, 110), (71, 82, 108)), ((76, 8, 110), (68, 80, 94))):
        lung &= _round(at, centre, size) > 1
    paint(lung, -820 + 20 * field(30))
    paint(lung & (np.hypot(field(9), field(9)) < 0.16), 30)
    disc = np.abs((z + 8) % 36 - 18) > 14.5
    column = _round(at, (0, 62, 0), (23, 17.5, 0)) + 0.12 * np.cos(2 * np.pi * (z + 8) / 36)
    bone = column < 1
    paint(bone, 215 + 25 * field(40), VERTEBRA)
    paint(bone & ((column > 0.86) | (np.abs(np.abs((z + 8) % 36 - 18) - 13.5) < 1.4)), 430, VERTEBRA)
    paint(bone & disc, 95)
    arch = np.hypot(x / 1.25, y - 88)
    paint((arch < 15) & (arch > 9) & ((z + 8) % 36 < 28), 400)
    paint((np.abs(x) < 3.5) & (y > 98) & (y < 118) & ((z + 2) % 36 < 20), 380)
    paint((np.abs(y - 84 - 0.1 * np.abs(x)) < 5) & (np.abs(x) > 14) & (np.abs(x) < 42) & ((z + 4) % 36 < 12), 360)
    paint(arch < 9, 25)
    paint(arch < 4.5, 42)
    paint(np.hypot(x - 9, y - 34) < 10, 215)
    paint(_round(at, (-20, 37, 0), (12.5, 9, 0)) < 1, 150)
    for side in (-1, 1):  # to the kidneys
        paint((np.hypot(z - 104, y - 40 - 0.06 * np.abs(x)) < 3.4) & (side * x > 0) & (np.abs(x) < 50), 190)

    hu = ndimage.gaussian_filter(hu, (0.75, 0.75, 0.55))
    grain = ndimage.gaussian_filter(rng.standard_normal(hu.shape, dtype=np.float32), (0.8, 0.8, 0.3))
    hu += 11 * grain / grain.std()
    table = np.abs(np.hypot(still[0], still[1] + 330) - 446) < 2
    hu = np.where(table & (depth < 0), hu + 820, hu)
    return Image(np.clip(np.rint(hu), -1024, 3000).astype(np.int16), spacing=SPACING), labels


def _round(at: Parts | Sequence[np.ndarray], centre: Sequence[float], size: Sequence[float]) -> np.ndarray:
    """How far out of an ellipsoid, 1 on its surface; a size of 0 makes a cylinder along that axis."""
    parts = [((a - c) / s) ** 2 for a, c, s in zip(at, centre, size, strict=True) if s]
    return np.sqrt(sum(parts))
