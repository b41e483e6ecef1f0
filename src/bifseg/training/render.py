"""Boxes to learn from, rendered on any device, a batch at a time: windows of volumes, turned, bent, and with any look.

Every batch is a function of its key and of the volumes. It is made in two steps: where the structure lies once it is
turned and bent (on a coarse grid), and then what is seen in a box around it, with its context (on the working grid).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
import torch

from bifseg.training.appearance import TARGET, Painter, as_tensor, looked_up, normalised
from bifseg.training.bank import Volume, in_one_piece
from bifseg.training.windows import Window, boxed, draw, places

COARSE = {2: 96, 3: 40}  # cells of the grid on which a structure is located
NESTED_SHARE = 0.3  # how often a target that is drawn lies in a shell, or is one
SEEN = 1.05  # how far from its middle that grid reaches, in units of its half extent
STEP = {2: 32, 3: 8}  # by which the sides of a batch's boxes differ: few shapes, and none needs padding


@dataclass(frozen=True)
class Shares:
    """How often each kind of volume is drawn from; ``scans`` have the look they have, but for an augmentation."""

    maps: float = 0.45
    scenes: float = 0.35
    scans: float = 0.15
    regions: float = 0.05


@dataclass(frozen=True, eq=False)
class Boxes:
    """A batch. ``images``: float32 (N, 1, ...), normalised, box and context; ``truth``: bool (N, ...), of that shape,
    False outside the box; ``inside``: where the box lies in it, the same for all."""

    images: torch.Tensor
    truth: torch.Tensor
    inside: tuple[slice, ...]


class Renderer:
    """Volumes on a device, and batches of boxes from them.

    ``size``: of the box on the working grid, smaller side in 2D, largest in 3D; ``context``: cells around it.
    """

    def __init__(
        self,
        volumes: Sequence[Volume],
        dimension: int,
        size: int,
        context: int,
        shares: Shares | None = None,
        device: str = "cpu",
    ) -> None:
        self.dimension, self.size, self.context, self.device = dimension, size, context, device
        self._painter = Painter(device)
        self.volumes = [one for one in volumes if dimension == 2 or one.dimension == 3]
        labels = [torch.from_numpy(one.labels.copy()).ravel() for one in self.volumes]
        self._labels = torch.cat(labels).to(device)
        sizes = np.array([len(flat) for flat in labels])
        self._label_start = torch.from_numpy(np.cumsum(sizes) - sizes).to(device)
        shown: dict[int, int] = {}  # a scan's voxels -> where they begin
        flats, starts, at = [], [], 0
        for one in self.volumes:
            if one.image is None:
                starts.append(0)
                continue
            key = one.image.__array_interface__["data"][0]
            if key not in shown:
                shown[key] = at
                flats.append(torch.from_numpy(one.image.copy()).ravel())
                at += one.image.size
            starts.append(shown[key])
        self._images = torch.cat([*flats, torch.zeros(1, dtype=torch.uint8)]).to(device)
        self._image_start = torch.tensor(starts, device=device)
        levels = [np.zeros(256, np.float32) if one.levels is None else one.levels for one in self.volumes]
        self._levels = torch.from_numpy(np.stack(levels)).to(device)
        self._by_kind = self._sorted(shares or Shares())

    def _sorted(self, shares: Shares) -> list[tuple[str, float, list[list[int]], np.ndarray]]:
        """Kinds with their shares, the volumes of each, by their data set, and how often each set is drawn."""
        groups: dict[str, dict[str, list[int]]] = {}
        for index, one in enumerate(self.volumes):
            if one.source == "scenes":
                kind = "scenes"
            elif one.image is None:
                kind = "maps"
            else:
                kind = "scans" if one.source == one.dataset else "regions"
            groups.setdefault(kind, {}).setdefault(one.source, []).append(index)
        there = {kind: getattr(shares, kind) for kind in groups}
        total = sum(there.values())
        return [
            (kind, there[kind] / total, list(own.values()), self._how_often(list(own.values())))
            for kind, own in sorted(groups.items())
        ]

    def _how_often(self, groups: list[list[int]]) -> np.ndarray:
        """How often each data set of a kind is drawn: maps all alike, scans by the root of how many kinds they show."""
        volumes = [[self.volumes[index] for index in group] for group in groups]
        weights = [
            len(own) if own[0].image is None else max(len(np.unique(one.kin)) for one in own) ** 0.5 for own in volumes
        ]
        return np.array(weights) / sum(weights)

    # -- what is drawn ------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def batch(self, key: Sequence[int], count: int) -> Boxes:
        """``count`` boxes of one shape."""
        rng = np.random.default_rng(key)
        noise = torch.Generator(self.device).manual_seed(int(rng.integers(2**62)))
        chosen = self._candidates(rng, noise, 3 * count)
        cells = self._cells(np.stack([one.sides for one in chosen]))
        apart = np.abs(np.log(cells / cells[0])).max(1)
        take = np.argsort(apart, kind="stable")[:count]
        shape = tuple(int(n) for n in cells[0])
        picked = [chosen[k] for k in take]
        while len(picked) < count:  # few were usable
            picked.append(picked[int(rng.integers(len(picked)))])
        images, truths = [], []
        for shown in (False, True):
            group = [one for one in picked if one.shown == shown]
            if group:
                image, truth = self._seen(rng, noise, group, shape, shown)
                images.append(image)
                truths.append(truth)
        inside = tuple(slice(self.context, self.context + n) for n in shape)
        image, truth = torch.cat(images), torch.cat(truths)
        within = torch.zeros_like(truth)
        box = slice(None), *inside
        within[box] = truth[box]
        return Boxes(normalised(image)[:, None], within, inside)

    @property
    def most(self) -> int:
        """Pixels of the largest box, without its context."""
        return int(
            np.prod(self._cells(np.array([[1.0] * (self.dimension - 1) + [8.0 if self.dimension == 2 else 1.0]])))
        )

    def _cells(self, sides: np.ndarray) -> np.ndarray:
        """The working grids of boxes whose sides are (n, d) mm."""
        if self.dimension == 2:
            cells = self.size * np.minimum(2.0, sides / sides.min(1, keepdims=True))
        else:
            cells = self.size * sides / sides.max(1, keepdims=True)
        step = STEP[self.dimension]
        return np.maximum(16, self.size + step * np.round((cells - self.size) / step).astype(int))

    def _candidates(self, rng: np.random.Generator, noise: torch.Generator, count: int) -> list[Window]:
        """Up to ``count`` windows, and at least one, onto what somebody would box."""
        found: list[Window] = []
        while not found:
            drawn = [self._drawn(rng) for _ in range(count)]
            for one, low, high, mask in zip(drawn, *self._located(drawn, noise), strict=True):
                if not 0.004 < mask.mean() < 0.98 or (high - low).min() < 0.08 or not in_one_piece(mask):
                    continue
                one.low, one.high = boxed(rng, low, high)
                cells = (np.stack([one.low, one.high]) + SEEN) / (2 * SEEN) * mask.shape[0]
                first, last = cells.round().astype(int).clip(0, mask.shape[0])
                kept = mask[tuple(slice(a, b) for a, b in zip(first, last, strict=True))]
                if kept.any() and kept.mean() > 0.004 and one.sides.min() >= 0.1 * one.sides.max():
                    found.append(one)
        return found

    def _drawn(self, rng: np.random.Generator) -> Window:
        kind, _, groups, weights = self._by_kind[rng.choice(len(self._by_kind), p=[one[1] for one in self._by_kind])]
        group = groups[rng.choice(len(groups), p=weights)]
        number = int(group[rng.integers(len(group))])
        return draw(rng, self.volumes[number], number, kind, self.dimension)

    def _located(self, drawn: list[Window], noise: torch.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The extents (n, d) of the structures in their frames, and their masks on the coarse grid: bool (n, ...)."""
        side = COARSE[self.dimension]
        for one in drawn:
            shape = (3, *[one.cells] * self.dimension)
            one.warp = torch.randn(shape, generator=noise, device=self.device) * float(one.bend)
        ticks = (torch.arange(side, device=self.device) + 0.5) / side * 2 * SEEN - SEEN
        at = places(drawn, [ticks.expand(len(drawn), side)] * self.dimension)
        (x, in_x), (y, in_y), (z, in_z) = (self._steps(drawn, a, place.round().long()) for a, place in enumerate(at))
        label = self._labels[x + y + z + self._start(self._label_start, drawn)] * (in_x & in_y & in_z)
        mask = looked_up(self._targets(drawn), label).cpu().numpy()
        first, last = [], []
        for axis in range(self.dimension):
            hit = np.logical_or.reduce(mask, axis=tuple(a + 1 for a in range(self.dimension) if a != axis))
            first.append(hit.argmax(1))
            last.append(side - hit[:, ::-1].argmax(1))
        scale = 2 * SEEN / side
        low, high = np.stack(first, 1), np.stack(last, 1)
        return low * scale - SEEN - 0.3 * scale, high * scale - SEEN + 0.3 * scale, mask

    def _targets(self, drawn: list[Window]) -> torch.Tensor:
        """Which labels are the target's: bool (n, 256)."""
        table = np.zeros((len(drawn), 256), bool)
        for k, one in enumerate(drawn):
            table[k, np.array(one.members) + 1] = True
        return torch.from_numpy(table).to(self.device)

    def _steps(self, drawn: list[Window], axis: int, index: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """How far into its volume's voxels an index along an axis leads, and whether it is within the volume."""
        shapes = np.array([one.volume.labels.shape for one in drawn])
        column = (-1, *[1] * self.dimension)
        side = torch.from_numpy(shapes[:, axis]).to(self.device).reshape(column)
        stride = torch.from_numpy(shapes[:, axis + 1 :].prod(1)).to(self.device).reshape(column)
        near = torch.minimum(index.clamp_min(0), side - 1)
        return near * stride, near == index

    def _start(self, starts: torch.Tensor, drawn: list[Window]) -> torch.Tensor:
        """Where the voxels of each window's volume begin."""
        return starts[[one.number for one in drawn]].reshape(-1, *[1] * self.dimension)

    # -- what is seen -------------------------------------------------------------------------------------------------

    def _seen(
        self, rng: np.random.Generator, noise: torch.Generator, drawn: list[Window], shape: tuple[int, ...], shown: bool
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Images (n, ...) and targets (n, ...) of boxes with their context, on a grid of ``shape`` and context."""
        axes = []
        for axis, n in enumerate(shape):
            low = np.array([one.low[axis] for one in drawn])
            pitch = (np.array([one.high[axis] for one in drawn]) - low) / n
            at = low[:, None] + (np.arange(-self.context, n + self.context) + 0.5) * pitch[:, None]
            near = rng.uniform(0, 1, (2, len(drawn), 1)) * self.context  # how near the image ends, in cells
            near[rng.random((2, len(drawn), 1)) > 0.12] = self.context
            first = low[:, None] + (0.5 - near[0]) * pitch[:, None]
            last = low[:, None] + (n - 0.5 + near[1]) * pitch[:, None]
            axes.append(as_tensor(np.clip(at, first, last), self.device))
        corners = []  # per axis: of the two voxels around each point how far, whether within, and their weights
        for axis, place in enumerate(places(drawn, axes)):
            lower = place.floor()
            upper = place - lower
            index = lower.long()
            corners.append(
                [(*self._steps(drawn, axis, index), 1 - upper), (*self._steps(drawn, axis, index + 1), upper)]
            )
        here = torch.zeros_like(place)
        seen = torch.zeros_like(here)
        other, heaviest = torch.zeros_like(here, dtype=torch.uint8), torch.full_like(here, -1)
        table = self._targets(drawn)
        labels_from, image_from = self._start(self._label_start, drawn), self._start(self._image_start, drawn)
        levels = self._levels[[one.number for one in drawn]]
        for (x, in_x, of_x), (y, in_y, of_y) in product(*corners[:2]):
            flat_xy, in_xy, of_xy = x + y, in_x & in_y, of_x * of_y
            for z, in_z, of_z in corners[2]:
                flat, weight = flat_xy + z, of_xy * of_z
                label = self._labels[flat + labels_from] * (in_xy & in_z)
                is_target = looked_up(table, label)
                here += weight * is_target
                better = ~is_target & (weight > heaviest)
                heaviest = torch.where(better, weight, heaviest)
                other = torch.where(better, label, other)
                if shown:
                    seen += weight * looked_up(levels, self._images[flat + image_from])
        truth = here >= 0.5
        if shown:
            return self._painter.scanned(rng, noise, seen), truth
        label = torch.where(truth, torch.full_like(other, TARGET), other)
        label, truth = self._painter.nested(rng, label, truth, NESTED_SHARE)
        kins = [one.volume.kin if one.kind == "maps" else None for one in drawn]
        members = [one.members[0] for one in drawn]
        return self._painter.drawn(rng, noise, label, truth, kins, members), truth
