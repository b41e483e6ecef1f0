"""What boxes look like: tissues drawn into label maps, and scans as another scanner might have shown them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch.nn import functional as F

from bifseg.training.synthetic.look import Look

TARGET = 255  # the number of the target in a rendered label map
NESTED = 254  # of what lies within the target, or around it, see `Painter.nested`
HOLLOW = 0.7  # of what is nested, the share that is a shell
NOISY, HEAVY = 0.12, (0.08, 0.4)  # how often noise is so strong, in units of the range of intensities
PATCHES = 240  # the first number of the tissues that are drawn into an empty background


@dataclass(frozen=True)
class Palette:
    """How the labels of one box look: arrays over label numbers, of intensities where labels have one, else -1."""

    look: Look
    means: np.ndarray
    textures: np.ndarray  # amplitudes
    rims: np.ndarray  # where a label meets another
    mottles: np.ndarray  # of patches within a label
    noise: float

    @classmethod
    def random(cls, rng: np.random.Generator, labels: np.ndarray, kin: np.ndarray | None, member: int) -> Palette:
        """Of a box with these labels; ``kin``: which are alike in their scan; ``member``: the target's first."""
        used = np.append(labels[labels != TARGET], TARGET)
        look = Look.random(rng, len(used), 1, len(used), twins=bool(rng.random() < 0.3))
        colour, texture = look.objects[1:].copy(), look.texture[1 : 1 + len(used)].copy()
        noise = look.noise if rng.random() >= NOISY else rng.uniform(*HEAVY)
        rim, mottle = np.full(len(used), -1.0), np.full(len(used), -1.0)
        draw = rng.random()
        if draw < 0.06:  # cells, whose membranes are stained
            colour = rng.uniform(0, 1) + rng.normal(0, 0.05, len(used))
            rim[:] = rng.uniform(0, 1)
        elif draw < 0.22:  # bones, and what has a wall or a capsule
            rim = np.where(rng.random(len(used)) < 0.6, rng.choice(rng.uniform(0, 1, 2), len(used)), -1.0)
        draw = rng.random()
        if draw < 0.1:  # tumours, and others that are not of one tissue
            mottle = np.where(rng.random(len(used)) < 0.3, rng.uniform(0, 1, len(used)), -1.0)
            mottle[-1] = rng.uniform(0, 1)
        elif draw < 0.3:  # soft tissues that differ little, beside bone, gas or fat
            far = rng.random(len(used)) < 0.25
            far[-1] = False
            near = rng.uniform(0.2, 0.8) + rng.uniform(0.05, 0.3) * (colour - 0.5)
            colour = np.where(far, rng.integers(0, 2, len(used)), near)
            texture, noise = texture * 0.3, noise * rng.uniform(0.2, 1)
        if rng.random() < 0.6 and kin is not None:  # left and right look alike
            family = np.array([kin[u - 1] if 0 < u <= len(kin) else -1 - u for u in used[:-1]] + [kin[member]])
            last = {f: i for i, f in enumerate(family)}  # the target's look is the one its twin takes
            source = np.array([last[f] for f in family])
            colour, texture, rim, mottle = colour[source], texture[source], rim[source], mottle[source]
        if NESTED in used and abs(colour[-2] - colour[-1]) < 0.15:  # the border can be seen
            colour[-2] = (colour[-1] + rng.uniform(0.2, 0.8)) % 1.0
        if used[0] == 0 and rng.random() < 0.3:
            colour[0] = texture[0] = 0.0  # air, or what skull stripping left
            rim[0] = mottle[0] = -1.0
        spread = np.full((4, 256), -1.0, np.float32)
        spread[:2] = 0
        spread[:, used] = colour.clip(0), texture, rim, mottle
        return cls(look, spread[0], spread[1], spread[2], spread[3], float(noise))


class Painter:
    """Gives a batch of boxes its look, on a device: every image one of its own."""

    def __init__(self, device: str) -> None:
        self.device = device

    def nested(
        self, rng: np.random.Generator, label: torch.Tensor, truth: torch.Tensor, share: float
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Labels and targets (n, ...), of which a share lies in a shell, or is one, as ventricle and myocardium are."""
        some = np.flatnonzero(rng.random(len(label)) < share)
        if not len(some):
            return label, truth
        target, n, d = truth[some], len(some), label.ndim - 1
        extent = target.flatten(1).sum(1).cpu().numpy() ** (1 / d)
        soft = self._blurred(target.float(), extent * rng.uniform(0.08, 0.28, n))
        deepest = soft.flatten(1).amax(1).reshape(-1, *[1] * d)
        within = target & (soft > deepest * self._column(rng.uniform(0.6, 0.92, n), soft))
        around = ~target & (soft > self._column(rng.uniform(0.02, 0.3, n), soft))
        other = torch.where(self._column(rng.random(n) < HOLLOW, soft) > 0, within, around)
        label, truth = label.clone(), truth.clone()
        label[some] = torch.where(other, torch.full_like(label[some], NESTED), label[some])
        truth[some] &= ~other
        return label, truth

    def drawn(
        self, rng: np.random.Generator, noise: torch.Generator, label: torch.Tensor, truth: torch.Tensor,
        kins: Sequence[np.ndarray | None], members: Sequence[int],
    ) -> torch.Tensor:  # fmt: skip
        """Label maps (n, ...), each with a look of its own.

        ``kins``: of each box, which labels are alike in their scan, or None where nobody knows; ``members``: its
        target's first label.
        """
        n, shape = len(label), label.shape[1:]
        if rng.random() < 0.6:  # tissues in what is empty
            count = int(rng.integers(2, 6))
            patches = torch.stack([self._field(noise, n, shape, int(rng.integers(2, 8))) for _ in range(count)])
            empty = (label == 0) & (torch.rand(n, generator=noise, device=self.device) < 0.8).reshape(
                n, *[1] * len(shape)
            )
            label = torch.where(empty, (PATCHES + patches.argmax(0)).to(torch.uint8), label)
        present = torch.zeros(n, 256, device=self.device).scatter_(1, label.flatten(1).long(), 1.0).cpu().numpy() > 0
        palettes = [Palette.random(rng, np.flatnonzero(present[k]), kin, members[k]) for k, kin in enumerate(kins)]
        looks = [palette.look for palette in palettes]
        image = self._looked_up(palettes, "means", label)
        image = self._rimmed(rng, palettes, label, image)
        mottles = self._looked_up(palettes, "mottles", label)
        mottled = (self._field(noise, n, shape, int(rng.integers(3, 10))) > 0.2) & (mottles >= 0)
        image = torch.where(mottled, mottles, image)
        grain = self._field(noise, n, shape, int(rng.integers(6, 16)))
        grain += 0.6 * self._field(noise, n, shape, int(rng.integers(16, 44)))
        image = image + self._looked_up(palettes, "textures", label) * grain
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
        image = self._coarsened(rng, noise, image, self._column([one.noise for one in palettes], image))
        return image * self._column(np.where(rng.random(n) < 0.3, -1, 1), image)

    def _rimmed(
        self, rng: np.random.Generator, palettes: Sequence[Palette], label: torch.Tensor, image: torch.Tensor
    ) -> torch.Tensor:
        """Rims where one label meets another: cortical bone, a wall, the membrane of a cell."""
        some = [k for k, palette in enumerate(palettes) if (palette.rims >= 0).any()]
        if not some:
            return image
        pool = F.max_pool2d if label.ndim == 3 else F.max_pool3d
        size = 3 + 2 * int(rng.integers(2))
        number = label[some].float()[:, None]
        edge = (pool(number, size, 1, size // 2) != number) | (-pool(-number, size, 1, size // 2) != number)
        rims = self._looked_up([palettes[k] for k in some], "rims", label[some])
        image = image.clone()
        image[some] = torch.where(edge[:, 0] & (rims >= 0), rims, image[some])
        return image

    def _looked_up(self, palettes: Sequence[Palette], what: str, label: torch.Tensor) -> torch.Tensor:
        return looked_up(self._tensor(np.stack([getattr(one, what) for one in palettes])), label)

    def scanned(self, rng: np.random.Generator, noise: torch.Generator, image: torch.Tensor) -> torch.Tensor:
        """Real crops (n, ...) as another scanner might have shown it."""
        n = len(image)
        low, high = _limits(image)
        image = ((image - low) / (high - low).clamp_min(1e-6)).clamp(0, 1)
        image = image ** self._column(np.exp(rng.normal(0, 0.3, n)), image)
        bias = self._column(rng.uniform(0, 0.35, n) * (rng.random(n) < 0.35), image)
        image = image * torch.exp(bias * self._field(noise, n, image.shape[1:], 3))
        if rng.random() < 0.4:
            image = self._blurred(image, rng.uniform(0.3, 1.5, n))
        strength = np.where(rng.random(n) < NOISY, rng.uniform(*HEAVY, n), rng.uniform(0, 0.07, n))
        amplitude = self._column(strength * (rng.random(n) < 0.5), image)
        image = image + amplitude * torch.randn(image.shape, generator=noise, device=self.device)
        return image * self._column(np.where(rng.random(n) < 0.2, -1, 1), image)

    def _coarsened(
        self, rng: np.random.Generator, noise: torch.Generator, image: torch.Tensor, amplitude: torch.Tensor
    ) -> torch.Tensor:
        """Scanned on a coarser grid, perhaps in thick slices, with noise and speckle."""
        sides = np.array(image.shape[1:]) / rng.choice([1.0, 1.0, 1.0, 1.5, 2.2])
        if len(sides) == 3 and rng.random() < 0.4:
            sides[rng.integers(3)] /= rng.uniform(1.5, 5.0)
        size = tuple(int(n) for n in np.maximum(sides, 8))
        mode = "bilinear" if len(size) == 2 else "trilinear"
        native = image
        if size != tuple(image.shape[1:]):
            pool: Callable = F.adaptive_avg_pool2d if len(size) == 2 else F.adaptive_avg_pool3d
            native = pool(image, size)
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

    def _shadowed(self, rng: np.random.Generator, image: torch.Tensor) -> torch.Tensor:
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

    def _column(self, values: ArrayLike, like: torch.Tensor) -> torch.Tensor:
        """One number per image, to multiply with: (n, 1, ...)."""
        return self._tensor(values).reshape(-1, *[1] * (like.ndim - 1))

    def _tensor(self, array: ArrayLike) -> torch.Tensor:
        return as_tensor(array, self.device)


def as_tensor(array: ArrayLike, device: str | torch.device) -> torch.Tensor:
    """Numbers as float32 on a device."""
    return torch.from_numpy(np.ascontiguousarray(array, np.float32)).to(device, non_blocking=True)


def looked_up(table: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
    """table[n, label[n, ...]]."""
    flat = label.flatten(1).long()
    return table.gather(1, flat).reshape(label.shape)


def _limits(image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The 0.5 and 99.5 percentiles of every image, of a regular sample of its pixels: (n, 1, ...) each."""
    flat = image.flatten(1)
    flat = flat[:, :: max(1, flat.shape[1] // 20_000)].sort(1).values
    count = flat.shape[1]
    shape = (-1, *[1] * (image.ndim - 1))
    return flat[:, int(0.005 * count)].reshape(shape), flat[:, int(0.995 * (count - 1))].reshape(shape)


def normalised(image: torch.Tensor) -> torch.Tensor:
    """As `bifseg.imaging.image.normalise`: clipped to those percentiles, zero mean, unit variance."""
    low, high = _limits(image)
    image = torch.minimum(torch.maximum(image, low), high)
    axes = tuple(range(1, image.ndim))
    return (image - image.mean(axes, keepdim=True)) / image.std(axes, keepdim=True).clamp_min(1e-6)
