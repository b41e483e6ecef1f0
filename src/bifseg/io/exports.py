"""Objects out, as labels or as what other programs call objects: the file's name says which."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from bifseg.errors import CannotWrite, DamagedFile
from bifseg.imaging.image import Image
from bifseg.io import dicom_seg, images, rtstruct, stl

OF_SERIES = (".seg.dcm", ".rtstruct.dcm")  # for scans that came as DICOM
OBJECTS = (*images.WRITABLE, ".stl", *OF_SERIES)


def check_objects(path: Path, image: Image) -> None:
    """Refuse a file name whose format has no room for objects in an image, before they are computed."""
    if path.name.lower().endswith(".stl"):
        stl.check_surface(path, image)
    elif not path.name.lower().endswith(OF_SERIES):
        images.check_writable(path, image.shape)


def headers_for(path: Path, scan: str | Path, series: str | None = None) -> bytes | None:
    """The headers of a scan's DICOM series, if ``path`` is to be a file of that; CannotWrite where it is no DICOM."""
    if not path.name.lower().endswith(OF_SERIES):
        return None
    try:
        return dicom_seg.headers_of(scan, series=series)
    except DamagedFile as error:  # it was read, and not as DICOM
        raise CannotWrite(path, f"it belongs to a DICOM series, and {scan} is none; write .nii.gz.") from error


def write_objects(
    path: str | Path, labels: np.ndarray, names: Sequence[str], image: Image, headers: bytes | None = None
) -> None:
    """Write a label map (x, y, z), k the k-th of ``names``, as an image, or as .stl, .seg.dcm or .rtstruct.dcm; atomic.

    ``headers``: those of the image's DICOM series (`bifseg.io.dicom_seg.headers_of`); None: it came from none.
    Raises InvalidInput for what the format cannot hold.
    """
    path = Path(path)
    name = path.name.lower()
    if name.endswith(".stl"):
        stl.write_stl(path, labels, image)
    elif not name.endswith(OF_SERIES):
        images.write_image(path, labels, image, names=names)
    elif headers is None:
        raise CannotWrite(path, "it belongs to a DICOM series, and the image came from none; write .nii.gz.")
    elif name.endswith(".seg.dcm"):
        dicom_seg.write_dicom_seg(path, labels, names, image, headers)
    else:
        rtstruct.write_rtstruct(path, labels, names, image, headers)
