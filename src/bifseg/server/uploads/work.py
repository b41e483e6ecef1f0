"""What is done in a process of its own, as the server asks for it; see `bifseg.server.uploads.jobs` for what is done.

Each process is one of `bifseg.server.uploads.reading`: bounded in time, memory and disk, and gone afterwards.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, BinaryIO, cast

import numpy as np

from bifseg.errors import BifsegError, InvalidInput
from bifseg.io.arrays import mapped_array
from bifseg.server.settings import Limits
from bifseg.server.uploads.jobs import EXPORTED
from bifseg.server.uploads.reader_process import ARRAY
from bifseg.server.uploads.reading import SeriesFacts, asked, folder_of
from bifseg.server.uploads.scan import geometry_of
from bifseg.server.uploads.scratch import scratch
from bifseg.server.uploads.template import Template
from bifseg.server.workers.child import WorkError
from bifseg.storage.full_disk import on_disk

if TYPE_CHECKING:
    from bifseg.imaging.image import Image
    from bifseg.prompts.interaction import Box
    from bifseg.storage import Store

NAME = 64  # letters of a content: one that was written in part names none
LOOKING = 10.0  # seconds that headers may take to be looked at


def read_mask(path: Path, folder: Path, limits: Limits, voxels: int, template: Template | None = None) -> np.ndarray:
    """A mask that came as NNIA, for an image of so many voxels: bool, of any shape.

    Raises InvalidInput, TooLarge, StorageFull, and WorkError for a fault of ours, as all of these.
    """
    with asked("mask", path, folder, replace(limits, voxels=voxels), "The mask", template) as (_, at):
        return mapped_array(at / ARRAY)


def read_series(path: Path, folder: Path, limits: Limits, template: Template | None = None) -> SeriesFacts:
    """What a series' headers say. ``path``: of them.

    Nothing is known of what takes too long, or crashes.
    """
    bounded = replace(limits, seconds_per_reading=min(LOOKING, limits.seconds_per_reading))
    try:
        with asked("series", path, folder, bounded, "The series", template) as (told, _):
            return SeriesFacts.told(told) or SeriesFacts()
    except (InvalidInput, WorkError):
        return SeriesFacts()


def written(
    array: np.ndarray | None, box: Box, image: Image, folder: Path, limits: Limits, template: Template | None = None, *,
    format: str, voxels: Path, headers: Path | None, names: Sequence[str] | None,
) -> BinaryIO:  # fmt: skip
    """An array in its image, zero elsewhere, as a file of a format, which has no name any more.

    ``array``: None for the image itself; ``voxels``: the image's, as an .npy file; ``headers``: of its series, where
    the format needs them.
    """
    told: dict[str, Any] = {
        "format": format, "voxels": str(voxels.absolute()), "image": geometry_of(image), "box": str(box),
        "names": None if names is None else list(names),
        "headers": None if headers is None else str(headers.absolute()),
    }  # fmt: skip
    with folder_of(folder) as own:
        path = voxels
        if array is not None:
            path = own / "array.npy"
            with on_disk(), path.open("wb") as file:  # NumPy does not say why a file did not take it all
                np.lib.format.write_array(
                    cast("BinaryIO", SimpleNamespace(write=file.write)), array, allow_pickle=False
                )
        with asked("file", path, folder, limits, f"A file .{format}", template, verb="written", **told) as (_, at):
            return (at / f"file.{format}").open("rb")


def import_archive(store: Store, path: Path, owner: str, limits: Limits, template: Template | None = None) -> str:
    """Take an exported session into a store, as this owner's: its id.

    Whatever becomes of the process, contents that it brought and nothing refers to are gone afterwards.
    """
    names = scratch(store.folder, ".names")
    told: dict[str, Any] = {
        **_place(store), "quota": store.quota, "share": store.share, "prefix": store.prefix,
        "owner": owner, "beside": store.beside(owner), "unpacked": limits.array_bytes, "names": str(names.absolute()),
    }  # fmt: skip
    bounded = _beside(store, limits)
    try:
        with asked("session", path, store.folder, bounded, "The upload", template, **told) as (answer, _):
            store.recount(owner)
            return answer["id"]
    except BaseException:
        if names.exists():
            with contextlib.suppress(BifsegError):  # then the sweep takes them
                store.withdraw([name for name in names.read_text("ascii").splitlines() if len(name) == NAME])
        raise
    finally:
        names.unlink(missing_ok=True)


def export_archive(store: Store, id: str, limits: Limits, template: Template | None = None) -> BinaryIO:
    """A session as one file, which has no name any more."""
    told: dict[str, Any] = {**_place(store), "id": id, "verb": "written"}
    path, bounded = store.folder / "store.sqlite", _beside(store, limits)
    with asked("export", path, store.folder, bounded, "A file .zip", template, **told) as (_, at):
        return (at / EXPORTED).open("rb")


def _place(store: Store) -> dict[str, Any]:
    return {"store": str(store.folder.absolute())}


def _beside(store: Store, limits: Limits) -> Limits:
    """Those of a process that works on a store: no file that it writes exceeds them."""
    database = sum(file.stat().st_size for file in store.folder.glob("store.sqlite*"))
    return replace(limits, array_bytes=2 * limits.array_bytes + database)
