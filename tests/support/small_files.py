"""Small scans and pictures, and files of them with what a test says of them; and how readers refuse them."""

import struct
from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom
import pytest
from dicom_files import save_dicom

from bifseg.io.images import read_image

RNG = np.random.default_rng(0)
CT = RNG.integers(-1000, 1500, (6, 5, 4)).astype(np.int16)
GREY = RNG.integers(0, 256, (7, 9)).astype(np.uint8)  # rows, columns


def refused(path: Path, words: str = "", **asked: object) -> None:
    with pytest.raises(ValueError, match=words) as caught:
        read_image(path, **asked)
    assert "\n" not in str(caught.value)


def nifti(path: Path, array: np.ndarray = CT, *, units: int = 2, **fields: tuple) -> Path:
    """A NIfTI with bytes of its header replaced: ``fields`` are (offset, format, values...)."""
    image = nib.Nifti1Image(array, np.diag((1.0, 1, 2, 1)))
    image.header["xyzt_units"] = units
    nib.save(image, path)
    content = bytearray(path.read_bytes())
    for offset, form, *values in fields.values():
        struct.pack_into(form, content, offset, *values)
    path.write_bytes(content)
    return path


POSITIONS = [(1, 2, 4 * k) for k in range(4)]


def series(folder: Path, edit, positions=POSITIONS) -> Path:
    """A series whose k-th slice was changed by ``edit(slice, k)``; file names run against the order."""
    save_dicom(folder, positions)
    for k, path in enumerate(sorted(folder.iterdir(), reverse=True)):
        content = pydicom.dcmread(path)
        edit(content, k)
        content.save_as(path)
    return folder


def values(k: int) -> np.ndarray:
    """The numbers stored in the k-th slice of a series, (x, y)."""
    return (np.arange(30).reshape(6, 5) + 100 * k).T


FRAMES = RNG.integers(0, 999, (5, 6, 5)).astype(np.int16)
