"""From plane to plane: the crops of those that come next are made on other cores, while one is cut."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import chain, islice
from typing import TYPE_CHECKING

import torch

from bifseg.method.crop import Crop
from bifseg.method.timing import Stopwatch

if TYPE_CHECKING:
    from types import TracebackType

    from bifseg.networks.checkpoint import Model
    from bifseg.prompts.interaction import Box
    from bifseg.session.crops import Crops

AT_ONCE = 2  # crops: while one waits for a thread of its own, the other computes


class CropsAhead:
    """Crops of boxes in neighbouring planes, two of them made at a time.

    A plane is too small to keep all cores busy, two are not. Each is made with as many of torch's threads as it would
    be alone, on which the last bits of its features depend. Used in a ``with`` block: at its end, those that nobody
    asked for are given up.

    Parameters
    ----------
    crops
        Which makes them itself, one after the other, where torch has one thread.
    """

    def __init__(self, crops: Crops) -> None:
        self._crops, self._threads = crops, torch.get_num_threads()
        self._pool: ThreadPoolExecutor | None = None
        self._begun: dict[tuple[Box, str], tuple[Stopwatch, Future[Crop]]] = {}

    def __enter__(self) -> CropsAhead:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)

    def crop(self, box: Box, following: Iterable[Box], model: Model, clock: Stopwatch) -> Crop:
        """The crop of a box, as `Crops.crop`.

        Parameters
        ----------
        box
            Where in the image.
        following
            The boxes that will probably be asked for next, in their order.
        model
            The network that looks at them.
        clock
            Takes the time of making it, also where that was beside something else.

        Returns
        -------
        Crop
            Image and features; InvalidInput is raised as by `Crop`.
        """
        if self._threads < 2:
            return self._crops.crop(box, model, clock)
        if self._pool is None:
            self._pool = ThreadPoolExecutor(AT_ONCE, "bifseg-crop", torch.set_num_threads, (self._threads,))
        for one in islice(chain([box], following), AT_ONCE):
            if (one, model.sha256) not in self._begun:
                own = Stopwatch()
                self._begun[one, model.sha256] = own, self._pool.submit(Crop, self._crops.image, one, model, own)
        own, future = self._begun.pop((box, model.sha256))
        crop = future.result()
        clock.add(own)
        return self._crops.kept(crop, model)
