"""The objects of a session: what they are called, how they stand, and which of them is worked on."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from bifseg.errors import InvalidInput
from bifseg.imaging.image import Image
from bifseg.io.images import write_image
from bifseg.loading import version
from bifseg.method.timing import peak_memory
from bifseg.session import interactions as kinds
from bifseg.session.history import SessionHistory
from bifseg.session.interactions.base import current
from bifseg.session.state import State
from bifseg.session.workbench import Workbench


class SessionObjects(SessionHistory):
    """An image and its objects.

    Arrays are in file order (x, y, z) and have the image's shape. Those of the current object raise InvalidInput where
    there is none.

    Parameters
    ----------
    image
        The scan.
    state, bench
        As of `SessionHistory`.
    seed
        Of what was random.
    """

    def __init__(self, image: Image, state: State, bench: Workbench, seed: int) -> None:
        super().__init__(state, bench)
        self.image, self.seed = image, seed

    @property
    def names(self) -> list[str]:
        """Names of the objects, in the order they were begun; parts of objects are in `parts`."""
        return list(self.state.names)

    @property
    def parts(self) -> dict[str, str]:
        """Which object each part belongs to: names by names of parts, in the order they were begun."""
        return {name: segment.part_of for name, segment in self.state.objects.items() if segment.part_of}

    @property
    def mask(self) -> np.ndarray:
        """The current object's mask: bool."""
        return self._full(current(self.state).mask)

    @property
    def scribbles(self) -> np.ndarray:
        """The current object's scribbles: uint8, 1 foreground, 2 background, 0 none."""
        return self._full(current(self.state).scribbles)

    @property
    def labels(self) -> np.ndarray:
        """All objects: 0 background, k the k-th object of `names` with its parts; uint8, uint16 beyond 255 objects."""
        return self.state.labels(self.image.shape)

    def probability(self) -> np.ndarray:
        """P(foreground) of the current object by its classifier.

        Returns
        -------
        ndarray
            float32; 1 or 0 on scribbles, 0 outside the box.
        """
        return self._full(current(self.state).probability())

    def uncertainty(self) -> np.ndarray:
        """Entropy of `probability`.

        Returns
        -------
        ndarray
            float32, bits, from 0 (sure) to 1 (p = 0.5); 0 outside the box.
        """
        return self._full(current(self.state).uncertainty())

    def weight_map(self) -> np.ndarray | None:
        """w(i) of the last network update (Eq. 13).

        Returns
        -------
        ndarray or None
            float32, 0 outside the box; None where there was no network update.
        """
        inside = current(self.state).weight_map()
        return None if inside is None else self._full(inside)

    def select(self, name: str) -> None:
        """Work on another object or part: it is unlocked, all others are locked.

        Parameters
        ----------
        name
            InvalidInput is raised for an unknown one.
        """
        self._take(kinds.Select(name))

    def remove(self, name: str) -> None:
        """Forget a part, or an object with its parts; of what is left, the last begun becomes current if need be.

        Parameters
        ----------
        name
            InvalidInput is raised for an unknown one.
        """
        self._take(kinds.Remove(name))

    def rename(self, name: str, to: str) -> None:
        """Call an object or a part something else; an object's parts stay its own, and keep their names.

        Parameters
        ----------
        name, to
            The name it has, and the new one. InvalidInput is raised where the first is unknown, and where the second is
            taken or has no letter or digit.
        """
        self._take(kinds.Rename(name, to))

    def save(self, path: str | os.PathLike) -> None:
        """Write `labels` (of a single object: its mask, 0 and 1) with the image's geometry, atomically.

        Parameters
        ----------
        path
            The file; its suffix says the format.

        Raises
        ------
        InvalidInput
            Where there is no object, and as `bifseg.write_image`.
        """
        if not self.names:
            raise InvalidInput("There is nothing to save: draw a box first.")
        write_image(Path(path), self.labels, self.image, names=self.names)

    def report(self) -> dict:
        """What was done and what it cost.

        Returns
        -------
        dict
            Ready for JSON: versions, models, parameters, times, energies, memory.
        """
        return {
            "versions": {name: version(name) for name in ("bifseg", "numpy", "scipy", "torch", "SimpleITK")},
            "image": {
                "shape": list(self.image.shape),
                "spacing_mm": list(self.image.spacing) if self.image.calibrated else None,
            },
            "seed": self.seed,
            "objects": self.state.report(self.image),
            "peak_memory_mib": peak_memory(),
        }

    def _full(self, inside: np.ndarray) -> np.ndarray:
        """An array in the current object's box, in the image: 0 outside."""
        return current(self.state).box.paste(inside, self.image.shape)
