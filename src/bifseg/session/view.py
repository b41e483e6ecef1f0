"""What can be seen of a session: its objects as they stand, and the moments that undo and redo move along."""

from __future__ import annotations

import os
from importlib.metadata import version
from pathlib import Path

import numpy as np

from bifseg.errors import InvalidInput
from bifseg.imaging.image import Image
from bifseg.io.images import write_image
from bifseg.method.timing import peak_memory
from bifseg.session.interactions.base import current
from bifseg.session.state import State


class SessionView:
    """An image and the states of its objects, one of which is shown.

    Arrays are in file order (x, y, z) and have the image's shape. Those of the current object raise InvalidInput where
    there is none.

    Parameters
    ----------
    image
        The scan.
    state
        What the history begins with.
    seed
        Of what was random.
    """

    def __init__(self, image: Image, state: State, seed: int) -> None:
        self.image, self.seed = image, seed
        self.go_on_from(state)

    # ---- history

    @property
    def state(self) -> State:
        """All objects as they stand."""
        return self._history[self._position]

    def go_on_from(self, state: State) -> None:
        """Make a state the whole history: it can be worked on, and nothing before it undone.

        Parameters
        ----------
        state
            Objects on this image.
        """
        self._history, self._position = [state], 0

    def undo(self) -> bool:
        """Take back the last interaction.

        Returns
        -------
        bool
            False where there is none.
        """
        return self._move(-1)

    def redo(self) -> bool:
        """Bring back what was undone last.

        Returns
        -------
        bool
            False where there is nothing.
        """
        return self._move(+1)

    def _move(self, step: int) -> bool:
        if not 0 <= self._position + step < len(self._history):
            return False
        self._position += step
        return True

    # ---- objects

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
