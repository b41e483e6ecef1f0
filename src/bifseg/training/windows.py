"""Windows onto volumes: a structure, the frame in which it is seen, turned and bent, and the box around it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch.nn import functional as F

from bifseg.training.appearance import as_tensor
from bifseg.training.bank import Volume

REACH = 1.9  # how far from a structure's middle a window may see, in units of its half extent
BEND = 20  # cells of the grid on which a window is bent
WIDEST = {2: (0.05, 0.1, 0.15, 0.2, 0.25), 3: (0.1, 0.2, 0.35, 0.5)}  # margins at most, in units of the extent
CUT, DEEPEST = 0.06, 0.3  # how often a side of a box lies within the structure, and how deep at most, in such units


@dataclass(eq=False)
class Window:
    """A structure of a volume as it is seen: in 3D or, in 2D, on the plane of the frame's first two axes.

    ``number``: of the volume; ``members``: the structure's labels less one; ``frame``: (3, 3), its columns the window's
    axes; ``centre``, ``half``: of the structure, (3,) mm; ``bend``: by how much of its half extent it is bent, on a
    grid of ``cells``. Once it is located: ``warp``, how it is bent, (3, ...) on that grid; ``low``, ``high``, the box,
    (d,) in units of half extents.
    """

    volume: Volume
    number: int
    kind: str
    members: list[int]
    frame: np.ndarray
    centre: np.ndarray
    half: np.ndarray
    bend: float
    cells: int
    warp: torch.Tensor = field(init=False)
    low: np.ndarray = field(init=False)
    high: np.ndarray = field(init=False)

    @property
    def shown(self) -> bool:
        """Whether it is seen in a scan; else its look is drawn."""
        return self.volume.image is not None

    @property
    def sides(self) -> np.ndarray:
        """Of the box: (d,) mm."""
        extent = self.high - self.low
        return extent * self.half[: len(extent)]


def draw(rng: np.random.Generator, volume: Volume, number: int, kind: str, dimension: int) -> Window:
    """One structure of a volume, or a few that belong together, in a frame."""
    label = int(rng.integers(len(volume.kin)))
    members = [label]
    if rng.random() < 0.12 and len(volume.kin) > 1:  # with its kin, or with a neighbour
        kin = np.flatnonzero(volume.kin == volume.kin[label])
        middle = volume.boxes.mean(2)
        members += (
            kin.tolist()
            if len(kin) > 1 and rng.random() < 0.5
            else [int(np.argsort(np.abs(middle - middle[label]).sum(1))[1])]
        )
    members = sorted(set(members))
    spacing = np.array(volume.spacing)
    box = np.stack([volume.boxes[members, :, 0].min(0), volume.boxes[members, :, 1].max(0)], 1) * spacing[:, None]
    point = volume.points[label, rng.integers(volume.points.shape[1])] * spacing
    free = kind in ("maps", "scenes")
    frame = _frame(rng, volume, dimension, free)
    centre, half = box.mean(1), (box[:, 1] - box[:, 0]) / 2
    half = np.abs(frame.T) @ half + 0.5 * spacing.min()
    if dimension == 2:
        centre = centre + frame[:, 2] * ((point - centre) @ frame[:, 2])
        half[2] = half[:2].max()
    bend = rng.uniform(0, 0.09 if free else 0.035) * (rng.random() < 0.8)
    return Window(volume, number, kind, members, frame, centre, half, bend, int(rng.integers(4, 8)))


def boxed(rng: np.random.Generator, low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The box that a user might draw around a structure between ``low`` and ``high``, from tight to wide."""
    extent = high - low
    margins = rng.uniform(0, rng.choice(WIDEST[len(low)]), (2, len(low)))
    cut = rng.random(margins.shape) < CUT  # the image ends there, or only some slices are asked for
    margins[cut] = -rng.uniform(0.02, DEEPEST, cut.sum())
    return low - margins[0] * extent, high + margins[1] * extent


def places(windows: Sequence[Window], axes: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    """Where the points of grids lie along each of their volumes' three axes: (n, ...) voxels each.

    ``axes``: (n, side) of every axis of the grids, in units of the structures' half extents.
    """
    n, d, device = len(windows), len(axes), axes[0].device
    half = as_tensor([one.half for one in windows], device)
    spacing = np.stack([one.volume.spacing for one in windows])
    matrix = as_tensor(np.stack([one.frame for one in windows]) / spacing[:, :, None], device)
    offset = as_tensor(np.stack([one.centre for one in windows]) / spacing - 0.5, device)
    bends = [
        F.interpolate(one.warp[None], size=(BEND,) * d, mode="bilinear" if d == 2 else "trilinear") for one in windows
    ]
    pool = F.avg_pool2d if d == 2 else F.avg_pool3d
    fields = pool(torch.cat(bends), 3, 1, 1, count_include_pad=False).flatten(2)
    bent = torch.einsum("nij,njp->nip", matrix * half.amax(1)[:, None, None], fields).reshape(n, 3, *[BEND] * d)
    ticks = torch.arange(BEND, device=device)
    for axis in axes:  # the first of the coarse axes becomes the last, and fine
        at = ((axis / REACH + 1) * BEND / 2 - 0.5).clamp(0, BEND - 1)
        weight = (1 - (at[:, None] - ticks[:, None]).abs()).clamp_min(0)  # (n, coarse, fine)
        bent = torch.einsum("ncp...,npk->nc...k", bent, weight)
    found = []
    for i in range(3):
        place = bent[:, i] + offset[:, i].reshape(n, *[1] * d)
        for j, axis in enumerate(axes):
            along = matrix[:, i, j, None] * half[:, j, None] * axis
            place += along.reshape(n, *[-1 if a == j else 1 for a in range(d)])
        found.append(place)
    return found


def _frame(rng: np.random.Generator, of: Volume, dimension: int, free: bool) -> np.ndarray:
    """A rotation or reflection (3, 3), its columns the window's axes; in 2D the last is the slice's normal."""
    spacing, single = np.array(of.spacing), [a for a in range(3) if of.labels.shape[a] == 1]
    thick = spacing.max() > 2.2 * spacing.min()
    order = rng.permutation(3)
    if dimension == 2:
        normal = single[-1] if single else int(rng.integers(3))
        if not single and thick:
            normal = int(np.argmax(spacing))
        order = np.array([a for a in order if a != normal] + [normal])
    frame = np.eye(3)[:, order] * rng.choice([-1.0, 1.0], 3)
    turned = rng.random()
    if turned < (0.7 if free else 0.4):
        angles = rng.uniform(-np.pi, np.pi, 3) if free and turned < 0.25 else rng.normal(0, 0.2, 3)
        if single or (dimension == 2 and thick):
            angles[:2] = 0  # only within the slice
        frame = frame @ _turn(angles)
    return frame


def _turn(angles: np.ndarray) -> np.ndarray:
    """A rotation (3, 3) about x, then y, then z."""
    (cx, cy, cz), (sx, sy, sz) = np.cos(angles), np.sin(angles)
    about_x = np.array([[1, 0, 0], [0, cx, -sx], [0, sx, cx]])
    about_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    about_z = np.array([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]])
    return about_z @ about_y @ about_x
