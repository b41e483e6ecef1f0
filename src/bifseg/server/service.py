"""What every protocol of the server stands on: the store, the pool that computes, and how the two are asked."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

from starlette.concurrency import run_in_threadpool

from bifseg.errors import BifsegError, Busy, InvalidInput, StorageFull
from bifseg.server.access.tokens import Tokens
from bifseg.server.access.turns import Turns
from bifseg.server.learner import Learner
from bifseg.server.metrics import Metrics
from bifseg.server.nninteractive.leases import Leases
from bifseg.server.nninteractive.prompts import Labels
from bifseg.server.series import KnownSeries
from bifseg.server.settings import LOCAL, Settings
from bifseg.server.tasks import UserTasks
from bifseg.server.uploads.template import Template
from bifseg.server.watchers import Watchers
from bifseg.server.workers.pool import Pool
from bifseg.storage import Store
from bifseg.storage.journal import MOVES, blobs_of
from bifseg.storage.rows import SessionRow

QUICK = 32 << 20  # voxels of an array that is made, or packed, in a fraction of a second
PATIENCE = 20.0  # seconds to wait for another process that works on the same session


@dataclass(frozen=True)
class Coming:
    """A local user's session whose image is on its way into the store. ``seen``: its row, once its image can be looked
    at (`bifseg.storage.images.Images.show_image`); ``needed``: set where somebody waits for more than that; ``kept``:
    its id, once it is in the store."""

    seen: Future[SessionRow]
    kept: Future[str]
    needed: threading.Event = field(default_factory=threading.Event)


class Service:
    """One server's parts; see `bifseg.server.app.build_app` for how they are put together.

    ``template``: one that was started already.
    """

    def __init__(self, settings: Settings, template: Template | None = None) -> None:
        self.settings = settings
        self.store = Store(settings.data, quota=settings.quota, share=settings.own_share, prefix=settings.prefix)
        self.tokens = Tokens(self.store)
        self.leases = Leases(self.store, settings.limits)
        self.template = template or Template()  # of the processes that read uploads
        self.series = KnownSeries(self.store, settings.limits, self.template)
        self.tasks = UserTasks(self.store, lambda row: self.series.of(row).patient)
        self.learner = Learner(self.tasks, min(2, settings.threads))
        self.store.beside = self.tasks.taken
        self.metrics = Metrics()
        self.watchers = Watchers()
        self.coming: dict[str, Coming] = {}
        # Seconds or gigabytes: files, whole images, exports, uploads.
        self.heavy = Turns(at_once=2, own=1, waiting=16)
        self.receiving = Turns(at_once=64, own=2, waiting=16)  # bodies on the disk, until they are read
        self.parsing = Turns(at_once=64, own=1, waiting=16)  # long JSON, which holds up everybody
        self.storing = Turns(at_once=8, own=2, waiting=16)  # what an interaction brings with it
        self.quick = Turns(at_once=4, own=2, waiting=64)  # what a reader waits for: masks, measures
        self.sending = Turns(at_once=64, own=4, waiting=13)  # files on the disk, until they are read
        self._brought: Counter[str] = Counter()  # contents that interactions under way refer to
        limits = settings.limits
        self.pool = Pool(
            "bifseg.server.workers.compute:handler",
            {
                "data": str(settings.data.resolve()),
                "quota": settings.quota,
                "share": settings.own_share,
                "models": {name: str(path.resolve()) for name, path in settings.models.items()},
                "warm": settings.warm,
            },
            workers=settings.workers,
            threads=max(1, settings.threads // settings.workers),
            queued_per_user=limits.queued_per_user,
            patience=limits.seconds_per_interaction,
            own=self._workers_of,
        )

    def lane(self, voxels: int) -> Turns:
        """Where arrays of so many voxels are made: what takes seconds never stands before what takes milliseconds."""
        return self.quick if voxels <= QUICK else self.heavy

    def _workers_of(self, user: str) -> int:
        """How many workers one user may have at a time: where there are several, one is left for others."""
        return self.settings.workers if user == LOCAL else max(1, self.settings.workers - 1)

    def session(self, id: str, user: str) -> SessionRow:
        """A user's session, waited for where it is coming; NotFound where there is none."""
        if id in self.coming:
            self.coming[id].needed.set()
            self.coming[id].kept.result()
        return self.store.session(id, user)

    def session_to_see(self, id: str, user: str) -> SessionRow:
        """As `session`, which is waited for only until its image can be looked at."""
        coming = self.coming.get(id)
        if coming is None or user != LOCAL or coming.kept.done():
            return self.session(id, user)
        return coming.seen.result()

    async def come(self) -> None:
        """Wait until every session that is coming is there, or will never be."""
        for coming in list(self.coming.values()):
            await asyncio.wait([asyncio.wrap_future(coming.kept)])

    async def create(self, image: str, user: str, **options: Any) -> str:
        """Begin a session for a user: its id. InvalidInput for a model that is not here; StorageFull at the limit."""
        model = options.get("model", "default")
        if model not in self.settings.known_models:
            known = ", ".join(self.settings.known_models)
            raise InvalidInput(f"Unknown model {str(model)[:80]!r}; this server has {known}.")

        def create() -> str:
            self.check_sessions(user)
            return self.store.create(image, user, **options)

        return await run_in_threadpool(create)

    def check_sessions(self, user: str) -> None:
        """StorageFull where a user has as many sessions as one may."""
        limit = self.settings.limits.sessions_per_user
        if self.store.read("SELECT count(*) FROM sessions WHERE owner = ?", (user,))[0][0] >= limit:
            raise StorageFull(f"You have {limit} sessions, as many as this server lets one user have; delete some.")

    async def act(
        self,
        user: str,
        session: str,
        interaction: Mapping,
        key: str | None = None,
        progress: Callable[[dict], None] | None = None,
        expected: Collection[str] | None = None,
    ) -> dict:
        """Do an interaction on a user's session, given as data (see `bifseg.storage.durable`): where it led.

        It is in the store when this returns. ``key``: an interaction that comes twice with the same one is done once.
        ``progress`` hears of every round; ``expected``: versions, see `DurableSession.apply`. Cancelling the call
        cancels the work.
        """
        brought = blobs_of(interaction)
        self._brought.update(brought)
        try:
            check_size(interaction, self.settings.limits.strokes, self.settings.limits.points)
            key = key or secrets.token_hex(16)  # a worker may die between commit and answer; the pool tries again
            told = await self._patiently(user, session, interaction, key, progress, expected)
        except BaseException:
            unused = [sha for sha in brought if self._brought[sha] == 1]  # by no other interaction that is under way
            await asyncio.shield(run_in_threadpool(self._withdraw, unused))
            raise
        finally:
            self._brought -= Counter(brought)
        self.metrics.interaction(told)
        self.watchers.tell(session)
        return told

    def _withdraw(self, brought: Collection[str]) -> None:
        """Delete what came with an interaction that was not done: it counts to nobody's share."""
        with contextlib.suppress(BifsegError):  # then the sweep takes it
            self.store.withdraw(brought)

    async def _patiently(
        self, user: str, session: str, interaction: Mapping, key: str, progress: Callable[[dict], None] | None,
        expected: Collection[str] | None,
    ) -> dict:  # fmt: skip
        until = time.monotonic() + PATIENCE
        while True:
            try:
                return await self._do(user, session, interaction, key, progress, expected)
            except Busy:
                if time.monotonic() > until:
                    raise
                await asyncio.sleep(0.05)

    async def _do(
        self, user: str, session: str, interaction: Mapping, key: str | None, progress: Callable[[dict], None] | None,
        expected: Collection[str] | None,
    ) -> dict:  # fmt: skip
        kind = interaction.get("kind")
        if kind in MOVES and not self.pool.busy(session):  # a few milliseconds: no need to queue for them
            return await run_in_threadpool(self._move, user, session, kind, key, expected)
        await run_in_threadpool(self.store.session, session, user)
        job: dict[str, Any] = {"session": session, "interaction": dict(interaction), "key": key}
        job |= {} if expected is None else {"expected": sorted(expected)}
        return await self.pool.run(user, session, job, progress=progress)

    def _move(self, user: str, session: str, kind: str, key: str | None, expected: Collection[str] | None) -> dict:
        self.store.session(session, user)
        owner = f"{self.store.processes.appear()}/{secrets.token_hex(4)}"
        return self.store.move(session, owner, kind, key, expected)


def check_size(interaction: Mapping, strokes: int, points: int) -> None:
    """Refuse more strokes or points than one interaction may have."""
    scribbles = interaction.get("scribbles")
    given = scribbles.get("strokes") if isinstance(scribbles, Mapping) else None
    if not isinstance(given, list):
        return
    drawn = sum(len(s["points"]) for s in given if isinstance(s, Mapping) and isinstance(s.get("points"), list))
    if len(given) > strokes or drawn > points:
        raise InvalidInput(
            f"There are {len(given)} strokes of {drawn} points; at most {strokes} of {points} go into one interaction."
        )


def journalled(interaction: Mapping, store: Store) -> dict:
    """An interaction as the journal has it: its `Labels` put into the store, and called by what they are kept as."""
    told = dict(interaction)
    for name, value in interaction.items():
        if isinstance(value, Labels):
            kept = store.refer(value.array, value.box)
            told[name] = {"labels": kept} if name == "scribbles" else kept
    return told
