"""What a session shows: arrays in a box, as bytes for a program or as a file for a person."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, BinaryIO, Literal

import numpy as np
from pydantic import AfterValidator, WithJsonSchema

from bifseg.errors import InvalidInput, NotFound
from bifseg.io.formats import FORMATS, written_as
from bifseg.prompts.interaction import Box
from bifseg.server.uploads.work import written
from bifseg.session.state import Segment, State
from bifseg.storage.rows import ImageRow

if TYPE_CHECKING:
    from bifseg.server.service import Service

What = Literal["labels", "mask", "scribbles", "probability", "uncertainty", "weights"]
RAW = "raw"  # the voxels of a box, no file
IMAGE = "image"  # the title of the view of the image itself


def media_types() -> dict[str, str]:
    """What may be asked for, by the ending of the file without its point: the media type of the answer."""
    files = {ending[1:]: media for format_ in FORMATS.values() for ending, media in format_.written.items()}
    return {RAW: "application/octet-stream"} | files


def _known(name: str) -> str:
    if name not in media_types():
        raise ValueError(f"must be one of {', '.join(media_types())}")
    return name


Format = Annotated[str, AfterValidator(_known), WithJsonSchema({"type": "string", "enum": list(media_types())})]
PIECE = 1 << 20
SLAB = 16 << 20  # bytes of an array that are packed at once


@dataclass(frozen=True, eq=False)
class View:
    """An array and the box of the image that it fills; ``names``: of the objects, where its numbers mean objects."""

    title: str
    array: np.ndarray
    box: Box
    names: tuple[str, ...] = ()


def view(state: State, what: What, name: str | None, shape: tuple[int, int, int]) -> View:
    """What a session shows of one object (of the current one where ``name`` is None), or as "labels" of all objects.

    ``shape``: the image's. NotFound where there is no such object, or nothing of the kind yet.
    """
    if what == "labels" and state.objects:
        box = Box.spanning(segment.box for segment in state.objects.values())
        return View(what, state.labels(shape)[box.slices], box, state.names)
    segment = segment_of(state, name)
    if what == "mask":
        return View(what, segment.mask.view(np.uint8), segment.box, (segment.name,))
    if what == "weights":
        weights = segment.weight_map()
        if weights is None:
            raise NotFound(f"The object {segment.name!r} has no weight map: its network was not updated yet.")
        return View(what, weights, segment.box)
    array = segment.scribbles if what == "scribbles" else getattr(segment, what)()
    return View(what, array, segment.box)


def segment_of(state: State, name: str | None) -> Segment:
    """The object or part of a name, or the current one; NotFound where there is none."""
    if not state.objects:
        raise NotFound("There is no object yet: draw a box first.")
    wanted = state.current if name is None else name
    segment = None if wanted is None else state.objects.get(wanted)
    if segment is None:
        raise NotFound(f"There is no object named {name!r}; there are: {', '.join(state.objects)}.")
    return segment


def write_raw(view: View, file: BinaryIO) -> dict[str, str]:
    """Write the array in its box into a file, slab by slab: C order (z runs fastest), little-endian, gzipped; headers
    that say so."""
    array = view.array
    kind = array.dtype.newbyteorder("<")
    rows = max(1, SLAB // max(1, array[:1].nbytes))
    with gzip.GzipFile("", "wb", 1, file, mtime=0) as packing:
        for start in range(0, len(array), rows):
            packing.write(np.ascontiguousarray(array[start : start + rows], kind).data.cast("B"))
    return {
        "Content-Encoding": "gzip",
        "X-Box": str(view.box),
        "X-Shape": ",".join(map(str, array.shape)),
        "X-Dtype": array.dtype.name,
    }


def file(service: Service, row: ImageRow, view: View, format: Format) -> BinaryIO:
    """The array in its image, zero elsewhere, as a file of a format; it has no name any more, and ends when closed.

    It is written by a process of its own: how long a surface or a contour becomes is a matter of what was drawn. Raises
    InvalidInput for what the format cannot hold, and for DICOM-SEG and RTSTRUCT of an image that came from no DICOM.
    """
    store, entry = service.store, written_as(Path(f"file.{format}"))
    if entry is None:
        raise InvalidInput(f"Nothing is written as .{format}; possible are {', '.join(media_types())}.")
    if entry.holds == "objects" and not view.names:
        raise InvalidInput(f"{entry.title} holds objects, not {view.title}; ask for labels or a mask.")
    if entry.needs_series and row.dicom is None:
        raise InvalidInput(f"The image came from no DICOM series, and {entry.title} needs one; ask for another format.")
    headers = store.blobs.path(row.dicom) if entry.needs_series and row.dicom is not None else None
    return written(
        None if view.title == IMAGE else view.array, view.box, store.image(row.key), store.folder,
        service.settings.limits, service.template,
        format=format, voxels=store.blobs.path(row.blob), headers=headers, names=view.names or None,
    )  # fmt: skip


def pieces(file: BinaryIO) -> Iterator[bytes]:
    """A file's content, piece by piece; closed at the end."""
    with file:
        while piece := file.read(PIECE):
            yield piece
