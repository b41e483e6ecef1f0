"""R-Net on a crop: it hears strokes, where the trunk in front of it does not."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from bifseg.networks.execution import answer
from bifseg.networks.guidance import nearness
from bifseg.networks.rnet import SUREST, RNet, bounded
from bifseg.prompts.interaction import BACKGROUND, FOREGROUND


class CropRNet:
    """R-Net on one crop; what strokes do not change is computed once.

    Parameters
    ----------
    network
        Of the crop's dimension.
    image, image01
        float32, on the grid: normalised as the trunk sees it, and scaled to [0, 1].
    features
        (pixels, C), of the trunk, in C order of the grid.
    as_seen
        Turns the grid's axes into the network's, and back.
    """

    def __init__(
        self,
        network: RNet,
        image: np.ndarray,
        image01: np.ndarray,
        features: torch.Tensor,
        as_seen: Callable[[np.ndarray], np.ndarray],
    ) -> None:
        self._network, self._image, self._image01, self._as_seen = network, image, image01, as_seen
        self._near: tuple[bytes, np.ndarray] = b"", np.zeros(0)
        maps = features.reshape(*image.shape, -1).movedim(-1, 0).numpy()
        turned = np.stack([as_seen(one) for one in maps])
        self._context = answer(network, torch.from_numpy(turned)[None], part="context")

    def correction(
        self,
        trained: np.ndarray,
        belief: np.ndarray,
        held: np.ndarray,
        scribbles: np.ndarray,
        so_far: np.ndarray | None = None,
    ) -> np.ndarray:
        """What to add to what is held, once these scribbles were heard: nothing is too sure to be corrected.

        Parameters
        ----------
        trained, belief
            Log-odds on the grid: of the trained classifier, and of the one that was fine-tuned, with evidence.
        held
            Log-odds on the grid, what is corrected: the belief and, in a stack, what its slices say.
        scribbles
            uint8, on the grid.
        so_far
            bool, what was segmented before the scribbles; None where nothing was.

        Returns
        -------
        ndarray
            Log-odds, float32, on the grid.
        """
        if self._near[0] != (said := scribbles.tobytes()):
            self._near = said, nearness(self._image01, scribbles)
        mask = np.zeros(scribbles.shape, bool) if so_far is None else so_far
        maps = (
            self._image, bounded(trained), bounded(belief), mask, scribbles == FOREGROUND, scribbles == BACKGROUND,
            *self._near[1],
        )  # fmt: skip
        seen = torch.from_numpy(np.stack([self._as_seen(one).astype(np.float32) for one in maps]))
        odds = self._as_seen(answer(self._network, seen[None], self._context)[0].numpy())
        added = np.ascontiguousarray(odds) - belief.clip(-SUREST, SUREST)
        return added + held.clip(-SUREST, SUREST) - held
