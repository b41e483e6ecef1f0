"""What else is done in a process of its own, beside reading images: whatever a stranger's file, or what a user drew,
can make long, large or dangerous. See `bifseg.server.uploads.work` for the other end.
"""

from __future__ import annotations

import errno
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from bifseg.errors import FileError, StorageFull
from bifseg.io.untrusted import mapped
from bifseg.server.uploads.reader_process import keep

if TYPE_CHECKING:
    from bifseg.session.state import Segment
    from bifseg.storage.manifest import Manifest

EXPORTED = "session.zip"


def mask(path: Path, job: dict, folder: Path) -> dict:
    """A mask that came as NNIA: bool, of any shape."""
    from bifseg.server.nninteractive.nnia import most, unpack

    array = unpack(memoryview(mapped(path)), most(job["limits"]["voxels"], path.stat().st_size))
    keep(array != 0, folder)
    return {}


def series(path: Path, job: dict, folder: Path) -> dict:
    """What a series' headers say."""
    return facts(path.read_bytes())


def facts(headers: bytes) -> dict:
    """How a series wants to be seen, and whose it is, as JSON."""
    from bifseg.io.dicom_display import display_of, patient_of

    return {"display": vars(display_of(headers)), "patient": patient_of(headers)}


def file(path: Path, job: dict, folder: Path) -> dict:
    """An array in its image as a file of a format."""
    from bifseg.io.images import write_image
    from bifseg.prompts.interaction import Box
    from bifseg.server.uploads.scan import placed
    from bifseg.storage.full_disk import FULL, is_full

    image = placed(np.load(job["voxels"], mmap_mode="r", allow_pickle=False), job["image"])
    itself = str(path) == job["voxels"]  # the image, kept with its colours and their luminance in one array
    array = image.voxels if itself else np.load(path, mmap_mode="r", allow_pickle=False)
    full = array if array.shape[:3] == image.shape else Box.parse(job["box"]).paste(array, image.shape)
    headers = None if job["headers"] is None else Path(job["headers"]).read_bytes()
    written = folder / f"file.{job['format']}"
    try:
        # it is gone once it was read; to wait for the disk would hold up who writes what stays
        write_image(written, full, image, names=job["names"], headers=headers, lasting=False)
    except (ValueError, OSError) as error:
        if any(isinstance(one, OSError) and one.errno == errno.EFBIG for one in _causes(error)):
            raise OSError(errno.EFBIG, "too large") from None
        # ITK does not say why a file did not arrive
        if is_full(error) or (isinstance(error, OSError) and shutil.disk_usage(folder).free < full.nbytes):
            raise StorageFull(FULL) from None
        if isinstance(error, FileError) and error.file == str(written):
            raise error.of(f"a file .{job['format']}") from None
        raise
    return {}


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """An error, and what it came of."""
    while error is not None:
        yield error
        error = error.__cause__


def session(path: Path, job: dict, folder: Path) -> dict:
    """An exported session taken into the store: its id."""
    from bifseg.storage import Store
    from bifseg.storage.transfer import import_

    limits = job["limits"]
    store = Store(Path(job["store"]), quota=job["quota"], share=job["share"], prefix=job["prefix"])
    store.beside = lambda _: job["beside"]
    store.blobs.drafts = folder
    try:
        bounds = {"voxels": limits["voxels"], "limit": job["unpacked"]}
        with Path(job["names"]).open("a", buffering=1, encoding="ascii") as names:
            store.blobs.naming = lambda sha: names.write(f"{sha}\n")  # for who deletes them if this process is killed
            return {
                "id": import_(store, path, job["owner"], **bounds, check=check_manifest, check_segment=check_segment)
            }
    finally:
        store.close()


def export(path: Path, job: dict, folder: Path) -> dict:
    """A session of the store as one file."""
    from bifseg.storage import Store
    from bifseg.storage.transfer import export

    store = Store(Path(job["store"]))
    try:
        export(store, job["id"], folder / EXPORTED)
    finally:
        store.close()
    return {}


def check_manifest(manifest: Manifest) -> None:
    """ValueError for a session that could not have been begun here: hidden letters, parameters without bounds."""
    from bifseg.server.api.bodies.base import parsed
    from bifseg.server.api.bodies.images import Imported

    names = {name for entry in manifest.entries for name in (entry.state or {"objects": {}})["objects"]}
    about = {name: manifest.options[name] for name in ("title", "client")} | {"names": sorted(names)}
    if not isinstance(parameters := manifest.options["parameters"], str):
        about["parameters"] = dict(parameters)
    parsed(Imported, json.dumps(about), "manifest")


def check_segment(segment: Segment) -> None:
    """ValueError for an object with numbers of the method that no session here could have."""
    from bifseg.server.api.bodies.base import parsed
    from bifseg.server.api.bodies.images import Parameters

    parsed(Parameters, json.dumps(segment.parameters.as_dict()), "object")


JOBS: dict[str, Callable[[Path, dict, Path], dict]] = {
    "mask": mask, "series": series, "file": file, "session": session, "export": export,
}  # fmt: skip
