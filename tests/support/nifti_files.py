"""A small scan as a NIfTI, and how it lies in space."""

from pathlib import Path

import nibabel as nib
import numpy as np

from bifseg.io.formats import written_endings

LPS = np.diag((-1.0, -1.0, 1.0, 1.0))  # to and from the RAS of NIfTI
WRITABLE = written_endings("numbers")


scan = np.random.default_rng(0).integers(-1000, 3000, (5, 6, 7)).astype(np.int16)


def save_nifti(path: Path, array: np.ndarray, affine: np.ndarray, **codes: int) -> Path:
    image = nib.Nifti1Image(array, affine)
    image.set_sform(affine, codes.get("sform", 1))
    image.set_qform(affine, codes.get("qform", 1), strip_shears=True)
    nib.save(image, path)
    return path
