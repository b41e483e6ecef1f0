"""Boxes to learn from, rendered on any device, a batch at a time: windows of volumes, turned, bent, and with any look.

Every batch is a function of its key and of the volumes. It is made in two steps: where the structure lies once it is
turned and bent (on a coarse grid), and then what is seen in a box around it, with its context (on the working grid).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional as F

from bifseg.training.appearance import TARGET, Painter, as_tensor, looked_up, normalised
from bifseg.training.bank import Volume, in_one_piece

COARSE = {2: 96, 3: 40}  # cells of the grid on which a structure is located
REACH = 1.9  # how far from a structure's middle a window may see, in units of its half extent
STEP = {2: 32, 3: 8}  # by which the sides of a batch's boxes differ: few shapes, and none needs padding
WIDEST = (0.05, 0.12, 0.25)  # margins of boxes at most, in units of the structure's extent; wider, a disc seems a ring


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
        self._shapes = torch.tensor([one.labels.shape for one in self.volumes], device=device)
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
                kind = "regions" if one.source.endswith("regions") else "scans"
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
        sides = np.stack([one["side"] for one in chosen])
        cells = self._cells(sides)
        apart = np.abs(np.log(cells / cells[0])).max(1)
        take = np.argsort(apart, kind="stable")[:count]
        shape = tuple(int(n) for n in cells[0])
        picked = [chosen[k] for k in take]
        while len(picked) < count:  # few were usable
            picked.append(picked[int(rng.integers(len(picked)))])
        images, truths = [], []
        for shown in (False, True):
            group = [one for one in picked if one["scan"] == shown]
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

    def _candidates(self, rng: np.random.Generator, noise: torch.Generator, count: int) -> list[dict]:
        found: list[dict] = []
        while not found:
            drawn = [self._drawn(rng) for _ in range(count)]
            low, high, masks = self._located(drawn, noise)
            for k, one in enumerate(drawn):
                if not 0.004 < masks[k].mean() < 0.98 or (high[k] - low[k]).min() < 0.08 or not in_one_piece(masks[k]):
                    continue
                one["low"], one["high"] = self._boxed(rng, low[k], high[k])
                one["side"] = ((one["high"] - one["low"]) * one["half"][: self.dimension])[: self.dimension]
                if one["side"].min() < 0.1 * one["side"].max():
                    continue
                found.append(one)
        return found

    def _drawn(self, rng: np.random.Generator) -> dict:
        """A structure, and the frame in which it is seen."""
        kind, _, groups, weights = self._by_kind[rng.choice(len(self._by_kind), p=[one[1] for one in self._by_kind])]
        group = groups[rng.choice(len(groups), p=weights)]
        index = int(group[rng.integers(len(group))])
        of = self.volumes[index]
        label = int(rng.integers(len(of.kin)))
        members = [label]
        if rng.random() < 0.12 and len(of.kin) > 1:  # with its kin, or with a neighbour
            kin = np.flatnonzero(of.kin == of.kin[label])
            middle = of.boxes.mean(2)
            members += (
                kin.tolist()
                if len(kin) > 1 and rng.random() < 0.5
                else [int(np.argsort(np.abs(middle - middle[label]).sum(1))[1])]
            )
        members = sorted(set(members))
        spacing = np.array(of.spacing)
        box = np.stack([of.boxes[members, :, 0].min(0), of.boxes[members, :, 1].max(0)], 1) * spacing[:, None]
        point = of.points[label, rng.integers(of.points.shape[1])] * spacing
        frame = self._frame(rng, of, free=kind in ("maps", "scenes"))
        centre, half = box.mean(1), (box[:, 1] - box[:, 0]) / 2
        half = np.abs(frame.T) @ half + 0.5 * spacing.min()
        if self.dimension == 2:
            centre = centre + frame[:, 2] * ((point - centre) @ frame[:, 2])
            half[2] = half[:2].max()
        bend = rng.uniform(0, 0.09) if kind in ("maps", "scenes") else rng.uniform(0, 0.035)
        return {
            "volume": index, "members": members, "kind": kind, "scan": of.image is not None, "frame": frame,
            "centre": centre, "half": half, "bend": bend * (rng.random() < 0.8), "cells": int(rng.integers(4, 8)),
        }  # fmt: skip

    def _frame(self, rng: np.random.Generator, of: Volume, free: bool) -> np.ndarray:
        """A rotation or reflection (3, 3), its columns the window's axes; in 2D the last is the slice's normal."""
        spacing, single = np.array(of.spacing), [a for a in range(3) if of.labels.shape[a] == 1]
        order = rng.permutation(3)
        if self.dimension == 2:
            normal = single[-1] if single else int(rng.integers(3))
            if not single and spacing.max() > 2.2 * spacing.min():
                normal = int(np.argmax(spacing))
            order = np.array([a for a in order if a != normal] + [normal])
        frame = np.eye(3)[:, order] * rng.choice([-1.0, 1.0], 3)
        draw = rng.random()
        flat = bool(single) or (self.dimension == 2 and spacing.max() > 2.2 * spacing.min())
        if draw < (0.7 if free else 0.4):
            wide = free and draw < 0.25
            angles = rng.uniform(-np.pi, np.pi, 3) if wide else rng.normal(0, 0.2, 3)
            if flat:
                angles[:2] = 0  # only within the slice
            frame = frame @ _turn(angles)
        return frame

    def _boxed(self, rng: np.random.Generator, low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The box that a user might draw, from tight to wide."""
        extent = high - low
        margins = rng.uniform(0, rng.choice(WIDEST), (2, len(low)))
        return low - margins[0] * extent, high + margins[1] * extent

    # -- where it lies ------------------------------------------------------------------------------------------------

    def _located(self, drawn: list[dict], noise: torch.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The extents (n, d) of the structures in their frames, and their masks on the coarse grid: bool (n, ...)."""
        side = COARSE[self.dimension]
        for one in drawn:
            shape = (3, *[one["cells"]] * self.dimension)
            one["field"] = torch.randn(shape, generator=noise, device=self.device) * float(one["bend"])
        ticks = (torch.arange(side, device=self.device) + 0.5) / side * 2.1 - 1.05
        u = ticks.expand(len(drawn), self.dimension, side)
        label, _ = self._gathered(drawn, self._voxels(drawn, u).round().long())
        mask = looked_up(self._targets(drawn), label).cpu().numpy()
        first, last = [], []
        for axis in range(self.dimension):
            hit = np.logical_or.reduce(mask, axis=tuple(a + 1 for a in range(self.dimension) if a != axis))
            first.append(hit.argmax(1))
            last.append(side - hit[:, ::-1].argmax(1))
        scale = 2.1 / side
        low, high = np.stack(first, 1), np.stack(last, 1)
        return low * scale - 1.05 - 0.3 * scale, high * scale - 1.05 + 0.3 * scale, mask

    def _voxels(self, drawn: list[dict], u: torch.Tensor | list[torch.Tensor]) -> torch.Tensor:
        """Where the points of grids lie in their volumes: (n, ..., 3) voxels. ``u``: (n, d, side), of equal sides or a
        list of (n, side), one per axis, in units of the structures' half extents."""
        axes = u if isinstance(u, list) else list(u.unbind(1))
        n, d = len(drawn), self.dimension
        grid = torch.stack(
            [
                axis.reshape(n, *[-1 if a == k else 1 for a in range(d)]).expand(n, *[len(x[0]) for x in axes])
                for k, axis in enumerate(axes)
            ],
            -1,
        )
        bends = [
            F.interpolate(one["field"][None], size=(20,) * d, mode="bilinear" if d == 2 else "trilinear")
            for one in drawn
        ]
        pool = F.avg_pool2d if d == 2 else F.avg_pool3d
        fields = pool(torch.cat(bends), 3, 1, 1, count_include_pad=False)
        bent = F.grid_sample(fields, grid.flip(-1) / REACH, align_corners=False, padding_mode="border")
        half = as_tensor([one["half"] for one in drawn], self.device)
        flat = F.pad(grid, (0, 3 - d)) * half.reshape(n, *[1] * d, 3)
        flat = flat + bent.movedim(1, -1) * half.amax(1).reshape(n, *[1] * d, 1)
        spacing = np.stack([self.volumes[one["volume"]].spacing for one in drawn])
        matrix = np.stack([one["frame"] for one in drawn]) / spacing[:, :, None]
        offset = np.stack([one["centre"] for one in drawn]) / spacing - 0.5
        moved = torch.einsum("n...j,nij->n...i", flat, as_tensor(matrix, self.device))
        return moved + as_tensor(offset, self.device).reshape(n, *[1] * d, 3)

    def _targets(self, drawn: list[dict]) -> torch.Tensor:
        """Which labels are the target's: bool (n, 256)."""
        table = np.zeros((len(drawn), 256), bool)
        for k, one in enumerate(drawn):
            table[k, np.array(one["members"]) + 1] = True
        return torch.from_numpy(table).to(self.device)

    def _gathered(self, drawn: list[dict], index: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The labels at voxels; outside of a volume 0. And where each voxel lies among those of its volume."""
        n, d = len(drawn), self.dimension
        of = torch.tensor([one["volume"] for one in drawn], device=self.device)
        shape = self._shapes[of].reshape(n, *[1] * d, 3)
        within = ((index >= 0) & (index < shape)).all(-1)
        index = torch.minimum(index.clamp_min(0), shape - 1)
        flat = (index[..., 0] * shape[..., 1] + index[..., 1]) * shape[..., 2] + index[..., 2]
        label = self._labels[flat + self._label_start[of].reshape(n, *[1] * d)]
        return torch.where(within, label, torch.zeros_like(label)), flat

    # -- what is seen -------------------------------------------------------------------------------------------------

    def _seen(
        self, rng: np.random.Generator, noise: torch.Generator, drawn: list[dict], shape: tuple[int, ...], shown: bool
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Images (n, ...) and targets (n, ...) of boxes with their context, on a grid of ``shape`` and context."""
        axes = []
        for axis, n in enumerate(shape):
            low = np.array([one["low"][axis] for one in drawn])
            pitch = (np.array([one["high"][axis] for one in drawn]) - low) / n
            at = low[:, None] + (np.arange(-self.context, n + self.context) + 0.5) * pitch[:, None]
            near = rng.uniform(0, 1, (2, len(drawn), 1)) * self.context  # how near the image ends, in cells
            near[rng.random((2, len(drawn), 1)) > 0.12] = self.context
            first = low[:, None] + (0.5 - near[0]) * pitch[:, None]
            last = low[:, None] + (n - 0.5 + near[1]) * pitch[:, None]
            axes.append(as_tensor(np.clip(at, first, last), self.device))
        voxels = self._voxels(drawn, axes)
        base = voxels.floor()
        rest, base = voxels - base, base.long()
        here = torch.zeros(voxels.shape[:-1], device=self.device)
        seen = torch.zeros_like(here)
        other, heaviest = torch.zeros_like(here, dtype=torch.uint8), torch.full_like(here, -1)
        of = torch.tensor([one["volume"] for one in drawn], device=self.device)
        start = self._image_start[of].reshape(len(drawn), *[1] * self.dimension)
        levels = self._levels[of]
        table = self._targets(drawn)
        for corner in range(8):
            step = torch.tensor([corner >> 2 & 1, corner >> 1 & 1, corner & 1], device=self.device)
            weight = torch.where(step.bool(), rest, 1 - rest).prod(-1)
            label, flat = self._gathered(drawn, base + step)
            is_target = looked_up(table, label)
            here += weight * is_target
            better = ~is_target & (weight > heaviest)
            heaviest = torch.where(better, weight, heaviest)
            other = torch.where(better, label, other)
            if shown:
                seen += weight * looked_up(levels, self._images[flat + start])
        truth = here >= 0.5
        if shown:
            return self._painter.scanned(rng, noise, seen), truth
        label = torch.where(truth, torch.full_like(other, TARGET), other)
        kins = [self.volumes[one["volume"]].kin if one["kind"] == "maps" else None for one in drawn]
        members = [one["members"][0] for one in drawn]
        return self._painter.drawn(rng, noise, label, truth, kins, members), truth


def _turn(angles: np.ndarray) -> np.ndarray:
    """A rotation (3, 3) about x, then y, then z."""
    (cx, cy, cz), (sx, sy, sz) = np.cos(angles), np.sin(angles)
    about_x = np.array([[1, 0, 0], [0, cx, -sx], [0, sx, cx]])
    about_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    about_z = np.array([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]])
    return about_z @ about_y @ about_x
