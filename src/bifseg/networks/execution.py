"""How a trunk is run when it only has to answer: oneDNN on packed weights, in half precision where the CPU has it.

``BIFSEG_PRECISION`` in the environment says in what the convolutions multiply: ``float32``, ``bfloat16``, or ``auto``
(the default): bfloat16 on CPUs that multiply it in hardware and for networks whose masks are as good, else float32.
Normalisation, upsampling and the features themselves are float32 always.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache, partial
from typing import Any, TypeVar, cast
from weakref import WeakKeyDictionary

import torch
from torch import nn
from torch.nn import functional as F

from bifseg.errors import InvalidInput
from bifseg.networks.base import BoxNetwork, upsampled
from bifseg.networks.copies import copied
from bifseg.networks.threads import calm

SLICES = 8  # upsampled at once
SHAPES = 4  # of maps, whose packed weights a layer keeps
N = TypeVar("N", bound=nn.Module)
PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16}


@torch.inference_mode()
def write_features(
    network: BoxNetwork,
    image: torch.Tensor,
    out: torch.Tensor,
    inside: tuple[slice, ...] | None = None,
    precision: str | None = None,
) -> None:
    """Compute features into ``out``, each piece as soon as it is known: nothing is held twice.

    ``image``: what the network sees, float32, (N, c, x, y) or (N, c, x, y, z). ``out``: float32, (N, ..., C), of any
    strides. ``inside``: which part of the image ``out`` is of; all by default. ``precision``: as ``BIFSEG_PRECISION``,
    which it replaces. InvalidInput for another word, or for bfloat16 where it can only be imitated.
    """
    calm()
    dtype = chosen(precision, network.halves)
    layout = torch.channels_last if image.ndim == 4 else torch.channels_last_3d
    trunk = _prepared(network, dtype)
    inside = tuple(slice(0, n) for n in image.shape[2:]) if inside is None else inside
    start = 0
    for maps, size in trunk.parts(image.contiguous(memory_format=layout)):
        stop = start + maps.shape[1]
        for one, place in zip(maps.split(1), out, strict=True):  # by their strides still seen to be channels last
            _write(one, size, place[..., start:stop], inside)
        start = stop


@torch.inference_mode()
def answer(network: nn.Module, *given: torch.Tensor, part: str = "forward") -> torch.Tensor:
    """What a network, or a method of it, makes of maps (N, c, ...), in float32 on every CPU."""
    calm()
    layout = torch.channels_last if given[0].ndim == 4 else torch.channels_last_3d
    prepared = _prepared(network, torch.float32)
    return getattr(prepared, part)(*(maps.contiguous(memory_format=layout) for maps in given))


@contextmanager
def convolved_by_onednn(network: BoxNetwork) -> Iterator[None]:
    """While a network learns from one volume at a time, its convolutions in 3D are oneDNN's.

    PyTorch hands small ones to loops of its own, which take three times as long; the gradient of one whose weights do
    not learn, four times.
    """
    layers = [layer for layer in network.modules() if isinstance(layer, nn.Conv3d)] if _has_onednn() else []
    try:
        for layer in layers:
            layer.forward = partial(_convolved, layer)  # type: ignore[method-assign]
        yield
    finally:
        for layer in layers:
            del layer.forward


def _convolved(layer: nn.Conv3d, x: torch.Tensor) -> torch.Tensor:
    padding = cast("tuple[int, ...]", layer.padding)
    if layer.weight.requires_grad or layer.bias is not None or layer.groups > 1 or max(layer.dilation) > 1:
        how = padding, layer.stride, layer.dilation, layer.groups
        return torch.mkldnn_convolution(x, layer.weight, layer.bias, *how)
    return cast("torch.Tensor", _Frozen.apply(x, layer.weight, padding, layer.stride))


class _Frozen(torch.autograd.Function):
    """A convolution whose weights do not learn: what is passed back through it is a convolution, too."""

    @staticmethod
    def forward(
        ctx: Any, x: torch.Tensor, weight: torch.Tensor, padding: tuple[int, ...], stride: tuple[int, ...]
    ) -> torch.Tensor:
        ctx.save_for_backward(weight)
        ctx.how = x.shape[2:], padding, stride
        return _plain(x, weight, padding, stride)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        (weight,), (size, padding, stride), gradient = ctx.saved_tensors, ctx.how, gradients[0].contiguous()
        sides = weight.shape[2:]
        if max(stride) == 1:  # three times as fast as the other
            turned = weight.transpose(0, 1).flip(2, 3, 4).contiguous()
            back = _plain(gradient, turned, tuple(n - 1 - p for n, p in zip(sides, padding, strict=True)), stride)
        else:
            # Without what padding took off, a strided convolution leaves less than a stride of the input unseen.
            unseen = [(n + 2 * p - side) % s for n, p, side, s in zip(size, padding, sides, stride, strict=True)]
            back = F.conv_transpose3d(gradient, weight, None, stride, padding, unseen)
        return back, None, None, None


def _plain(x: torch.Tensor, weight: torch.Tensor, padding: tuple[int, ...], stride: tuple[int, ...]) -> torch.Tensor:
    return torch.mkldnn_convolution(x, weight, None, padding, stride, (1, 1, 1), 1)


def _write(maps: torch.Tensor, size: torch.Size, out: torch.Tensor, inside: tuple[slice, ...]) -> None:
    """`upsampled`, without what is not ``inside``, into ``out``; large 3D maps some slices at a time, which stay in
    the cache. ``maps``: (1, c, ...)."""
    if maps.ndim == 4 or maps.shape[2:] == size:
        out.copy_(upsampled(maps, size)[0].movedim(0, -1)[inside])
        return
    maps = maps[0]
    n, entering = out.shape[0], maps.shape[1]
    at = ((torch.arange(n) + inside[0].start + 0.5) * (entering / size[0]) - 0.5).clamp_(min=0)
    below = at.long()
    weight = (at - below)[:, None, None, None]
    slices = maps.float().movedim(0, -1)  # (x, y, z, c): memory's order
    slices = torch.lerp(slices[below], slices[(below + 1).clamp_(max=entering - 1)], weight).movedim(-1, 1)
    within = slice(None), *inside[1:]
    for k in range(0, n, SLICES):
        plane = upsampled(slices[k : k + SLICES], size[1:]).movedim(1, -1)
        out[k : k + SLICES].copy_(plane[within])


def chosen(precision: str | None = None, halves: bool = True) -> torch.dtype:
    """What convolutions multiply in; see the module. ``halves``: whether ``auto`` may be bfloat16."""
    precision = precision or os.environ.get("BIFSEG_PRECISION") or "auto"
    if precision == "auto":
        precision = "bfloat16" if halves and _has_bfloat16() else "float32"
    if precision not in PRECISIONS:
        raise InvalidInput(f"The precision is {precision!r}; possible are auto, {', '.join(PRECISIONS)}.")
    if precision == "bfloat16" and not _has_bfloat16():
        raise InvalidInput("This CPU does not multiply bfloat16; possible are auto and float32.")
    return PRECISIONS[precision]


@cache
def _has_onednn() -> bool:
    """Elsewhere than on x86, PyTorch's own choice of kernels stands: we have not measured another."""
    x86 = platform.machine().lower() in ("x86_64", "amd64")
    reorders = all(hasattr(torch._C._nn, f"mkldnn_reorder_conv{d}d_weight") for d in (2, 3))
    convolves = torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_convolution_pointwise")
    return x86 and reorders and convolves


@cache
def _has_bfloat16() -> bool:
    """Whether the CPU multiplies it in hardware, and oneDNN may: its environment can hide what a CPU has."""
    allowed = getattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", bool)
    kinds = (getattr(torch.cpu, f"_is_{kind}_supported", bool) for kind in ("avx512_bf16", "amx_tile"))
    return _has_onednn() and allowed() and any(kind() for kind in kinds)


# Weights are packed once per network: packing is as dear as multiplying where maps are small.
_made: WeakKeyDictionary[nn.Module, dict[torch.dtype, tuple[tuple, nn.Module]]] = WeakKeyDictionary()


def _prepared(network: N, dtype: torch.dtype) -> N:
    if not _has_onednn():
        return network
    state = tuple((t.data_ptr(), 0 if t.is_inference() else t._version) for t in network.parameters())
    kept = _made.setdefault(network, {})
    if dtype not in kept or kept[dtype][0] != state:  # never made, or trained since
        made = copied(network).eval().requires_grad_(False)
        _replace(made, dtype)
        kept[dtype] = state, made
    return cast("N", kept[dtype][1])


def _replace(module: nn.Module, dtype: torch.dtype) -> None:
    """Give a network's copy, in place, layers that compute the same for inference."""
    children = list(module.named_children())
    for k, (name, child) in enumerate(children):
        follower = children[k + 1][1] if isinstance(module, nn.Sequential) and k + 1 < len(children) else None
        if isinstance(child, (nn.Conv2d, nn.Conv3d)):
            rectified = isinstance(follower, nn.ReLU)
            # The image itself: few operations, at full resolution. Where a norm follows, nothing is gained by halves.
            whole = child.in_channels == 1 and not rectified
            setattr(module, name, _Convolution(child, torch.float32 if whole else dtype, rectified))
            if rectified:
                setattr(module, children[k + 1][0], nn.Identity())
        elif isinstance(child, (nn.GroupNorm, nn.ConvTranspose2d, nn.ConvTranspose3d)):
            setattr(module, name, _Float(child))
            if isinstance(follower, nn.ReLU):
                follower.inplace = True
        elif not isinstance(child, nn.Identity):
            _replace(child, dtype)


class _Convolution(nn.Module):
    """A convolution on weights in oneDNN's own layout, with the ReLU that follows it."""

    def __init__(self, conv: nn.Conv2d | nn.Conv3d, dtype: torch.dtype, rectified: bool) -> None:
        super().__init__()
        self.weight = conv.weight.detach().to(dtype).contiguous()
        self.packed: dict[torch.Size, torch.Tensor] = {}
        self.bias = None if conv.bias is None else conv.bias.detach().to(dtype)
        self.how = conv.padding, conv.stride, conv.dilation, conv.groups
        self.after = "relu" if rectified else "none"

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x.to(self.weight.dtype)
        packed = self.packed.get(x.shape)
        if packed is None:
            packed = self._pack(x.shape)
        return torch.ops.mkldnn._convolution_pointwise(x, packed, self.bias, *self.how, self.after, [], "")

    def _pack(self, shape: torch.Size) -> torch.Tensor:
        """The weights in the layout for maps of a shape; the layout for another can be a hundred times slower."""
        reorder = getattr(torch._C._nn, f"mkldnn_reorder_conv{len(shape) - 2}d_weight")
        packed = reorder(self.weight.to_mkldnn(), *self.how, list(shape))
        self.packed = {**dict(list(self.packed.items())[1 - SHAPES :]), shape: packed}
        return packed


class _Float(nn.Module):
    """A layer on float32, whatever it is given: what sums over whole maps, or has no fast form in bfloat16."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer(x.float())
