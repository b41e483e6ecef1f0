"""One row of a batch, from the scan to the bytes of its files: what a worker does, on this machine or another."""

from __future__ import annotations

import tempfile
import time
import traceback
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from bifseg.batch.table import Row
from bifseg.errors import BifsegError, InvalidInput
from bifseg.imaging.image import Image
from bifseg.io.images import check_writable, headers_for, read_image, read_labels, write_image
from bifseg.networks.checkpoint import Model, load_model
from bifseg.prompts.interaction import Box
from bifseg.prompts.scribbles import only_label
from bifseg.session.picture import picture
from bifseg.session.session import Session
from bifseg.session.state import Segment
from bifseg.tasks.priors import prior_of
from bifseg.tasks.store import Tasks


@dataclass(frozen=True)
class Settings:
    """What all rows have in common.

    ``model``, ``refine``, ``seed``: as in `Session`. ``parameters``: the preset and changes to it. ``margin``: by which
    share of its extent the box around a mask is wider, on every side. ``ending``: of the masks' files. ``tasks``: the
    folder of the tasks that rows name.
    """

    model: str = "default"
    parameters: dict[str, Any] = field(default_factory=lambda: {"preset": "fast"})
    refine: str = "auto"
    margin: float = 0.1
    seed: int = 0
    ending: str = ".nii.gz"
    tasks: str = ""


@dataclass(frozen=True)
class Outcome:
    """What became of a row: ``refused`` for a fault of what was given, ``failed`` for one of the program's.

    ``sentence``: why it was not done. ``about``: its measures. ``mask``, ``picture``: the content of the files.
    """

    status: Literal["done", "refused", "failed"]
    sentence: str = ""
    trace: str = ""
    about: dict[str, Any] = field(default_factory=dict)
    mask: bytes = b""
    picture: bytes = b""
    seconds: float = 0.0


def work(row: Row, settings: Settings) -> Outcome:
    """Segment a row's object with one thread; whatever is wrong becomes the outcome."""
    threads, start = torch.get_num_threads(), time.perf_counter()
    torch.set_num_threads(1)
    try:
        if row.problem:
            return Outcome("refused", f"{row.problem}.")
        about, mask, shown = _segmented(row, settings)
        return Outcome("done", about=about, mask=mask, picture=shown, seconds=time.perf_counter() - start)
    except MemoryError:
        return Outcome("refused", "there is not enough memory for it.")
    except (BifsegError, OSError) as error:
        return Outcome("refused", " ".join(str(error).split()))
    except Exception as error:
        return Outcome("failed", f"{type(error).__name__}: {error}", traceback.format_exc())
    finally:
        torch.set_num_threads(threads)


def _segmented(row: Row, settings: Settings) -> tuple[dict[str, Any], bytes, bytes]:
    scan = _scan(row.image, row.series, _changed(row.image))
    file = Path(f"mask{settings.ending}")
    check_writable(file, scan)
    headers = headers_for(file, row.image, row.series or None)
    label = int(row.label) if row.label else None
    initial = None
    if row.mask:
        initial = only_label(read_labels(row.mask, scan), label, name=row.mask, option="the column label: ")
    if row.box:
        box = Box.parse(row.box, scan.shape)
    elif initial is not None:
        box = Box.around(initial, settings.margin)
    else:
        box = place_of(read_image(row.previous), scan, label, settings.margin, row.previous)
    prior = prior_of(Tasks(Path(settings.tasks)).task(row.task), scan, box) if row.task else None
    model = "default" if row.task else _chosen(row, settings)
    session = Session(scan, model, settings.parameters, settings.seed)
    mask = session.box(box, row.name, initial=initial, refine=settings.refine, prior=prior)
    segment, report = session.state.objects[row.name], session.report()["objects"][0]
    sizes = ("voxels", "millilitres", "area_mm2", "diameter_mm", "diameter_px")
    about = {
        "box": str(box), **{name: report[name] for name in sizes if name in report},
        "uncertainty": round(doubt(segment), 4), "model": report["model"], "prior": report["prior"],
    }  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        path, shown = Path(folder) / file, Path(folder) / "picture.png"
        write_image(path, session.labels, scan, names=session.names, headers=headers)
        drawn = Image(picture(scan, mask, box), planar=True)
        write_image(shown, drawn.voxels, drawn)
        return about, path.read_bytes(), shown.read_bytes()


def _chosen(row: Row, settings: Settings) -> Model | str:
    named = row.model or settings.model
    return named if named == "default" else _model(named, _changed(named))


def doubt(segment: Segment) -> float:
    """How unsure a mask is, from 0 to 1: what is left of 1 after the Dice that the probabilities expect of it."""
    mask, p = segment.mask, segment.probability()
    whole = float(mask.sum()) + float(p.sum(dtype=np.float64))
    return 1 - 2 * float(p[mask].sum(dtype=np.float64)) / whole if whole else 1.0


def place_of(previous: Image, scan: Image, label: int | None, margin: float, name: str) -> Box:
    """The box of the place in a scan where a mask of another scan lies, grown on every side.

    Both are taken to lie in one space, as scans of one session, or registered ones, do. Raises InvalidInput for an
    empty mask, several labels of which none is chosen, a place outside the scan, and pictures, which have no place, of
    different shapes.
    """
    mask = only_label(previous.array, label, name=name, option="the column label: ")
    if scan.planar or previous.planar:
        if previous.shape != scan.shape:
            raise InvalidInput(
                f"{name} has the shape {previous.shape}; the image has {scan.shape}, and neither a place."
            )
        return Box.around(mask, margin)
    own = Box.around(mask, 0)
    ends = np.array([own.start, own.stop]) - 0.5  # of voxels, not their centres
    corners = np.array([(*ends[list(which), range(3)], 1) for which in np.ndindex(2, 2, 2)])
    placed = (np.linalg.inv(scan.affine) @ previous.affine @ corners.T)[:3] + 0.5
    low, high = placed.min(1), placed.max(1)
    wider = margin * (high - low) * (high - low > 1 + 1e-6)
    start, stop = np.floor(low - wider + 1e-6).astype(int), np.ceil(high + wider - 1e-6).astype(int)
    start, stop = np.maximum(start, 0), np.minimum(stop, scan.shape)
    if (start >= stop).any():
        raise InvalidInput(f"{name} lies outside the scan; both must be in one space.")
    return Box.of(list(zip(start.tolist(), stop.tolist(), strict=True)), scan.shape)


def _changed(path: str) -> int:
    """When a file was changed last: what is kept of it is kept no longer."""
    try:
        return Path(path).stat().st_mtime_ns
    except OSError:
        return 0


@lru_cache(maxsize=1)  # rows of one scan mostly follow each other
def _scan(path: str, series: str, changed: int) -> Image:
    return read_image(path, series=series or None)


@lru_cache(maxsize=4)
def _model(name: str, changed: int) -> Model:
    return load_model(name)
