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

from bifseg.training.bank import Volume
from bifseg.training.synthetic.look import Look

TARGET = 255  # the number of the target in a rendered label map
PATCHES = 240  # the first number of the tissues that are drawn into an empty background
COARSE = {2: 96, 3: 40}  # cells of the grid on which a structure is located
REACH = 1.9  # how far from a structure's middle a window may see, in units of its half extent
STEP = {2: 32, 3: 8}  # by which the sides of a batch's boxes differ: few shapes, and none needs padding


@dataclass(frozen=True)
class Shares:
    """How often each kind of volume is drawn from; ``scans`` have the look they have, but for an augmentation."""

    maps: float = 0.45
    scenes: float = 0.2
    scans: float = 0.25
    regions: float = 0.1


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
        self.volumes = [one for one in volumes if dimension == 2 or one.dimension == 3]
        labels = [torch.from_numpy(one.labels.copy()).ravel() for one in self.volumes]
        self._labels = torch.cat(labels).to(device)
        sizes = np.array([len(flat) for flat in labels])
        self._label_start = torch.from_numpy(np.cumsum(sizes) - sizes).to(device)
        shown: dict[int, int] = {}  # a scan's voxels -> where they begin
        flats, starts, at = [], [], 0
        for one in self.volumes:
            key = 0 if one.image is None else one.image.__array_interface__["data"][0]
            if key and key not in shown:
                shown[key] = at
                flats.append(torch.from_numpy(one.image.copy()).ravel())
                at += one.image.size
            starts.append(shown.get(key, 0))
        self._images = torch.cat([*flats, torch.zeros(1, dtype=torch.uint8)]).to(device)
        self._image_start = torch.tensor(starts, device=device)
        levels = [np.zeros(256, np.float32) if one.levels is None else one.levels for one in self.volumes]
        self._levels = torch.from_numpy(np.stack(levels)).to(device)
        self._shapes = torch.tensor([one.labels.shape for one in self.volumes], device=device)
        self._by_kind = self._sorted(shares or Shares())

    def _sorted(self, shares: Shares) -> list[tuple[str, float, list[list[int]]]]:
        """Kinds with their shares, and the volumes of each, by their data set."""
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
        return [(kind, there[kind] / total, list(groups[kind].values())) for kind in sorted(groups)]

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
        within[(slice(None), *inside)] = truth[(slice(None), *inside)]
        return Boxes(_normalised(image)[:, None], within, inside)

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
            low, high, share = self._located(drawn, noise)
            for k, one in enumerate(drawn):
                if not 0.004 < share[k] < 0.98 or (high[k] - low[k]).min() < 0.08:
                    continue
                one["low"], one["high"] = self._boxed(rng, low[k], high[k])
                one["side"] = ((one["high"] - one["low"]) * one["half"][: self.dimension])[: self.dimension]
                if one["side"].min() < 0.1 * one["side"].max():
                    continue
                found.append(one)
        return found

    def _drawn(self, rng: np.random.Generator) -> dict:
        """A structure, and the frame in which it is seen."""
        kind, _, groups = self._by_kind[rng.choice(len(self._by_kind), p=[share for _, share, _ in self._by_kind])]
        group = groups[rng.integers(len(groups))]
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
        """The box that a user might draw: from tight to wide, now and then a little too small."""
        extent = high - low
        widest = rng.choice([0.05, 0.12, 0.25, 0.5], p=[0.2, 0.3, 0.3, 0.2])
        margins = rng.uniform(0, widest, (2, len(low)))
        if rng.random() < 0.08:
            margins[rng.integers(2), rng.integers(len(low))] = -rng.uniform(0, 0.05)
        return low - margins[0] * extent, high + margins[1] * extent

    # -- where it lies ------------------------------------------------------------------------------------------------

    def _located(self, drawn: list[dict], noise: torch.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The extents (n, d) of the structures in their frames, and the share of the coarse grid that they fill."""
        side = COARSE[self.dimension]
        for one in drawn:
            shape = (3, *[one["cells"]] * self.dimension)
            one["field"] = torch.randn(shape, generator=noise, device=self.device) * float(one["bend"])
        ticks = (torch.arange(side, device=self.device) + 0.5) / side * 2.1 - 1.05
        u = ticks.expand(len(drawn), self.dimension, side)
        label, _ = self._gathered(drawn, self._voxels(drawn, u).round().long())
        mask = self._looked_up(self._targets(drawn), label)
        low, high = [], []
        for axis in range(self.dimension):
            hit = mask.amax([a + 1 for a in range(self.dimension) if a != axis]).int()
            low.append(hit.argmax(1))
            high.append(side - hit.flip(1).argmax(1))
        low, high = torch.stack(low, 1), torch.stack(high, 1)
        share = mask.flatten(1).float().mean(1)
        scale = 2.1 / side
        together = torch.cat([low.float(), high.float(), share[:, None]], 1).cpu().numpy()
        low, high, share = together[:, : self.dimension], together[:, self.dimension : -1], together[:, -1]
        return low * scale - 1.05 - 0.3 * scale, high * scale - 1.05 + 0.3 * scale, share

    def _voxels(self, drawn: list[dict], u: torch.Tensor) -> torch.Tensor:
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
        fields = [
            F.interpolate(one["field"][None], size=(20,) * d, mode="bilinear" if d == 2 else "trilinear")
            for one in drawn
        ]
        fields = torch.cat(fields)
        pool = F.avg_pool2d if d == 2 else F.avg_pool3d
        fields = pool(fields, 3, 1, 1, count_include_pad=False)
        bent = F.grid_sample(fields, grid.flip(-1) / REACH, align_corners=False, padding_mode="border")
        half = self._tensor([one["half"] for one in drawn])
        flat = F.pad(grid, (0, 3 - d)) * half.reshape(n, *[1] * d, 3)
        flat = flat + bent.movedim(1, -1) * half.amax(1).reshape(n, *[1] * d, 1)
        spacing = np.stack([self.volumes[one["volume"]].spacing for one in drawn])
        matrix = np.stack([one["frame"] for one in drawn]) / spacing[:, :, None]
        offset = np.stack([one["centre"] for one in drawn]) / spacing - 0.5
        moved = torch.einsum("n...j,nij->n...i", flat, self._tensor(matrix))
        return moved + self._tensor(offset).reshape(n, *[1] * d, 3)

    def _targets(self, drawn: list[dict]) -> torch.Tensor:
        """Which labels are the target's: bool (n, 256)."""
        table = np.zeros((len(drawn), 256), bool)
        for k, one in enumerate(drawn):
            table[k, np.array(one["members"]) + 1] = True
        return torch.from_numpy(table).to(self.device)

    def _looked_up(self, table: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
        """table[n, label[n, ...]]."""
        flat = label.flatten(1).long()
        return table.gather(1, flat).reshape(label.shape)

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
            axes.append(self._tensor(np.clip(at, first, last)))
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
            is_target = self._looked_up(table, label)
            here += weight * is_target
            better = ~is_target & (weight > heaviest)
            heaviest = torch.where(better, weight, heaviest)
            other = torch.where(better, label, other)
            if shown:
                seen += weight * self._looked_up(levels, self._images[flat + start])
        truth = here >= 0.5
        if shown:
            return self._as_scanned(rng, noise, seen), truth
        label = torch.where(truth, torch.full_like(other, TARGET), other)
        return self._as_drawn(rng, noise, drawn, label, truth), truth

    def _as_drawn(self, rng, noise, drawn: list[dict], label: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
        """A label map with a look of its own."""
        n, shape = len(drawn), label.shape[1:]
        if rng.random() < 0.6:  # tissues in what is empty
            count = int(rng.integers(2, 6))
            patches = torch.stack([self._field(noise, n, shape, int(rng.integers(2, 8))) for _ in range(count)])
            empty = (label == 0) & (torch.rand(n, generator=noise, device=self.device) < 0.8).reshape(
                n, *[1] * len(shape)
            )
            label = torch.where(empty, (PATCHES + patches.argmax(0)).to(torch.uint8), label)
        present = torch.zeros(n, 256, device=self.device).scatter_(1, label.flatten(1).long(), 1.0).cpu().numpy() > 0
        means, textures = np.zeros((n, 256), np.float32), np.zeros((n, 256), np.float32)
        looks = []
        for k, one in enumerate(drawn):
            used = np.flatnonzero(present[k])
            used = np.append(used[used != TARGET], TARGET)
            look = Look.random(rng, len(used), 1, len(used), twins=bool(rng.random() < 0.3))
            colour, texture = look.objects[1:].copy(), look.texture[1 : 1 + len(used)].copy()
            if rng.random() < 0.6 and one["kind"] == "maps":  # left and right look alike
                kin = self.volumes[one["volume"]].kin
                family = np.array(
                    [kin[u - 1] if 0 < u <= len(kin) else -1 - u for u in used[:-1]] + [kin[one["members"][0]]]
                )
                last = {f: i for i, f in enumerate(family)}  # the target's look is the one its twin takes
                source = np.array([last[f] for f in family])
                colour, texture = colour[source], texture[source]
            if used[0] == 0 and rng.random() < 0.3:
                colour[0] = 0.0  # air, or what skull stripping left
                texture[0] = 0.0
            means[k, used], textures[k, used] = colour, texture
            looks.append(look)
        image = self._looked_up(self._tensor(means), label)
        grain = self._field(noise, n, shape, int(rng.integers(6, 16)))
        grain += 0.6 * self._field(noise, n, shape, int(rng.integers(16, 44)))
        image = image + self._looked_up(self._tensor(textures), label) * grain
        gamma = self._column([look.gamma for look in looks], image)
        image = image.clamp_min(0) ** gamma
        bias = self._column([look.bias for look in looks], image)
        image = image * torch.exp(bias * self._field(noise, n, shape, 3))
        fades = rng.random(n) < 0.15  # the target's border fades, as a lesion's does
        soft = self._blurred(truth.float(), rng.uniform(1.0, 4.0, n))
        level = self._column(rng.uniform(0, 1, n), image)
        soft = torch.where(self._column(fades, image) > 0, soft, torch.ones_like(soft))
        image = torch.where(truth, soft * image + (1 - soft) * (0.5 * image + 0.5 * level), image)
        if rng.random() < 0.12:
            image = self._shadowed(rng, image)
        image = self._blurred(image, np.array([look.blur for look in looks]))
        image = self._coarsened(rng, noise, image, self._column([look.noise for look in looks], image))
        return image * self._column(np.where(rng.random(n) < 0.3, -1, 1), image)

    def _coarsened(self, rng, noise, image: torch.Tensor, amplitude: torch.Tensor) -> torch.Tensor:
        """Scanned on a coarser grid, perhaps in thick slices, with noise and speckle."""
        size = np.array(image.shape[1:]) / rng.choice([1.0, 1.0, 1.0, 1.5, 2.2])
        if len(size) == 3 and rng.random() < 0.4:
            size[rng.integers(3)] /= rng.uniform(1.5, 5.0)
        size = tuple(int(n) for n in np.maximum(size, 8))
        mode = "bilinear" if len(size) == 2 else "trilinear"
        native = image
        if size != tuple(image.shape[1:]):
            native = F.adaptive_avg_pool2d(image, size) if len(size) == 2 else F.adaptive_avg_pool3d(image, size)
        grain = torch.randn(native.shape, generator=noise, device=self.device)
        if rng.random() < 0.25:  # noise of neighbours that belongs together
            grain = 2 * self._blurred(grain, np.full(len(image), rng.uniform(0.5, 1.0)))
        native = native + amplitude * grain
        if rng.random() < 0.2:
            speckle = self._column(rng.uniform(0.1, 0.35, len(image)) * (rng.random(len(image)) < 0.6), image)
            native = native * (1 + speckle * torch.randn(native.shape, generator=noise, device=self.device))
        if native.shape != image.shape:
            native = F.interpolate(native[:, None], size=tuple(image.shape[1:]), mode=mode)[:, 0]
        return native

    def _as_scanned(self, rng, noise, image: torch.Tensor) -> torch.Tensor:
        """A real crop as another scanner might have shown it."""
        n = len(image)
        low, high = _limits(image)
        image = ((image - low) / (high - low).clamp_min(1e-6)).clamp(0, 1)
        image = image ** self._column(np.exp(rng.normal(0, 0.3, n)), image)
        bias = self._column(rng.uniform(0, 0.35, n) * (rng.random(n) < 0.35), image)
        image = image * torch.exp(bias * self._field(noise, n, image.shape[1:], 3))
        if rng.random() < 0.4:
            image = self._blurred(image, rng.uniform(0.3, 1.5, n))
        amplitude = self._column(rng.uniform(0, 0.07, n) * (rng.random(n) < 0.5), image)
        image = image + amplitude * torch.randn(image.shape, generator=noise, device=self.device)
        return image * self._column(np.where(rng.random(n) < 0.2, -1, 1), image)

    def _shadowed(self, rng, image: torch.Tensor) -> torch.Tensor:
        """Dark fans along one axis, as behind bone or gas in ultrasound, and less with depth."""
        d = image.ndim - 1
        axis, across = rng.permutation(d)[:2]
        depth = torch.linspace(0, 1, image.shape[1 + axis], device=self.device)
        depth = depth.reshape(1, *[-1 if a == axis else 1 for a in range(d)])
        place = torch.linspace(-1, 1, image.shape[1 + across], device=self.device)
        place = place.reshape(1, *[-1 if a == across else 1 for a in range(d)])
        n = len(image)
        middle, width = self._column(rng.uniform(-1, 1, n), image), self._column(rng.uniform(0.05, 0.3, n), image)
        begin, dark = self._column(rng.uniform(0, 0.7, n), image), self._column(rng.uniform(0.1, 0.9, n), image)
        fan = torch.sigmoid((width - (place - middle).abs()) / 0.03) * torch.sigmoid((depth - begin) / 0.03)
        return image * (1 - fan * (1 - dark)) * torch.exp(-self._column(rng.uniform(0, 1, n), image) * depth)

    # -- small tools --------------------------------------------------------------------------------------------------

    def _tensor(self, array) -> torch.Tensor:
        return torch.from_numpy(np.ascontiguousarray(array, np.float32)).to(self.device, non_blocking=True)

    def _column(self, values, like: torch.Tensor) -> torch.Tensor:
        """One number per image, to multiply with: (n, 1, ...)."""
        return self._tensor(values).reshape(-1, *[1] * (like.ndim - 1))

    def _field(self, noise: torch.Generator, n: int, shape: Sequence[int], cells: int) -> torch.Tensor:
        """Smooth random functions of about unit variance: (n, ...)."""
        d = len(shape)
        field = torch.randn((n, 1, *[cells + 2] * d), generator=noise, device=self.device)
        mode = "bicubic" if d == 2 else "trilinear"
        return 1.4 * F.interpolate(field, size=tuple(shape), mode=mode)[:, 0]

    def _blurred(self, image: torch.Tensor, sigma: np.ndarray) -> torch.Tensor:
        """Every image (n, ...) with a Gaussian of its own width, in pixels."""
        n, d = len(image), image.ndim - 1
        reach = max(1, int(np.ceil(2.5 * float(np.max(sigma)))))
        at = np.arange(-reach, reach + 1)
        kernel = np.exp(-0.5 * (at / np.maximum(sigma, 1e-3)[:, None]) ** 2)
        kernel = self._tensor(kernel / kernel.sum(1, keepdims=True))
        conv = F.conv2d if d == 2 else F.conv3d
        image = image[None]
        for axis in range(d):
            shape = [-1 if a == axis else 1 for a in range(d)]
            pad = [p for a in reversed(range(d)) for p in ((reach, reach) if a == axis else (0, 0))]
            image = conv(F.pad(image, pad, mode="replicate"), kernel.reshape(n, 1, *shape), groups=n)
        return image[0]


def _turn(angles: np.ndarray) -> np.ndarray:
    """A rotation (3, 3) about x, then y, then z."""
    (cx, cy, cz), (sx, sy, sz) = np.cos(angles), np.sin(angles)
    about_x = np.array([[1, 0, 0], [0, cx, -sx], [0, sx, cx]])
    about_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    about_z = np.array([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]])
    return about_z @ about_y @ about_x


def _limits(image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The 0.5 and 99.5 percentiles of every image, of a regular sample of its pixels: (n, 1, ...) each."""
    flat = image.flatten(1)
    flat = flat[:, :: max(1, flat.shape[1] // 20_000)].sort(1).values
    count = flat.shape[1]
    shape = (-1, *[1] * (image.ndim - 1))
    return flat[:, int(0.005 * count)].reshape(shape), flat[:, int(0.995 * (count - 1))].reshape(shape)


def _normalised(image: torch.Tensor) -> torch.Tensor:
    """As `image.normalise`: clipped to those percentiles, zero mean, unit variance."""
    low, high = _limits(image)
    image = torch.minimum(torch.maximum(image, low), high)
    axes = tuple(range(1, image.ndim))
    return (image - image.mean(axes, keepdim=True)) / image.std(axes, keepdim=True).clamp_min(1e-6)
