"""Where the voxels of a file lie for who looks at the patient: worked out with nibabel, and with nothing of ours.

A radiologist expects R at the left, A and S up, and in sagittal slices A at the left: on the screen, right and down run
against the canonical axes R, A, S.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import nibabel
import numpy as np

from bifseg.imaging.image import Image

AXES = {"Axial": (0, 1, 2), "Coronal": (0, 2, 1), "Sagittal": (1, 2, 0), "Image": (0, 1, 2)}  # across, down, through


@dataclass(frozen=True)
class Scan:
    """A file's voxels (x, y, z), and how they lie in the canonical order: ``to``, 4 x 4, from voxels to voxels."""

    array: np.ndarray
    to: np.ndarray
    spacing: np.ndarray  # mm along R, A, S
    affine: np.ndarray  # from voxels of the file to mm, RAS

    @classmethod
    def read(cls, path: Path) -> Scan:
        """The scan in a NIfTI file."""
        return cls._in(nibabel.load(path))

    @classmethod
    def of(cls, image: Image) -> Scan:
        """The same of an image that never was in a file."""
        affine = np.diag([-1.0, -1.0, 1.0, 1.0]) @ image.affine  # ours are LPS
        return cls._in(nibabel.Nifti1Image(np.asarray(image.array), affine))

    @classmethod
    def _in(cls, file: nibabel.Nifti1Image) -> Scan:
        canonical = nibabel.as_closest_canonical(file)
        to = np.linalg.inv(canonical.affine) @ file.affine
        return cls(np.asarray(file.dataobj), to, nibabel.affines.voxel_sizes(canonical.affine), file.affine)

    @classmethod
    def picture(cls, array: np.ndarray) -> Scan:
        """A picture (x, y), grey: x runs to the right and y down, as in every picture."""
        to = np.diag([-1.0, -1.0, 1.0, 1.0])
        to[:2, 3] = np.array(array.shape) - 1
        return cls(array[..., None], to, np.ones(3), np.diag([-1.0, -1.0, 1.0, 1.0]))

    @property
    def shape(self) -> np.ndarray:
        """Voxels along R, A, S."""
        return np.rint(np.abs(self.to[:3, :3]) @ self.array.shape).astype(int)

    def canonical(self, voxel: object) -> np.ndarray:
        """Where a voxel of the file lies in the canonical order."""
        return self.to[:3, :3] @ np.asarray(voxel, float) + self.to[:3, 3]

    def file(self, canonical: object) -> tuple[int, int, int]:
        """The voxel of the file that lies at a place in the canonical order."""
        back = np.linalg.inv(self.to)
        return tuple(np.rint(back[:3, :3] @ np.asarray(canonical, float) + back[:3, 3]).astype(int).tolist())

    def cut(self, volume: np.ndarray, view: str, voxel: object) -> np.ndarray:
        """The slice of an array of the file's shape that a view shows at a voxel: (across, down), canonical order."""
        across, down, through = AXES[view]
        turns = np.rint(self.to[:3, :3]).astype(int)  # -1, 0, 1
        order = np.abs(turns).argmax(1)
        turned = volume.transpose(order)[tuple(slice(None, None, turns[k, a]) for k, a in enumerate(order))]
        index = int(np.rint(self.canonical(voxel)[through]))
        plane = np.take(turned, index, through)
        return plane if across < down else plane.T
