"""A session that survives its process: every interaction is in a store before anyone is told that it happened."""

from __future__ import annotations

import secrets
import time
from collections.abc import Collection, Generator, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from bifseg.errors import InvalidInput
from bifseg.method.finetune import Round
from bifseg.method.parameters import RULES, Parameters
from bifseg.prompts.interaction import Box, Patch
from bifseg.prompts.painting import check_effort
from bifseg.session.interactions import INTERACTIONS, interaction_of
from bifseg.session.session import Session
from bifseg.session.state import Prior, Segment
from bifseg.storage import Store
from bifseg.storage.journal import KINDS, MOVES, History, blobs_of, check_current, repeated
from bifseg.storage.snapshot import pack, unpack_prior

FLUSHED = 8  # segments at once
CLAIMED = 60.0  # seconds that a process holds a session between two rounds, if it lives


class DurableSession:
    """One session of a store, as one process works on it; others may do so between two interactions.

    ``models``: files of models that are known by a name. Raises NotFound where there is no such session.

    >>> session = DurableSession(store, store.create(store.add_image(image, "me"), "me"))  # doctest: +SKIP
    >>> for step in session.apply({"kind": "box", "box": "40:80,52:90,12:40"}):            # doctest: +SKIP
    ...     print(step)
    """

    def __init__(self, store: Store, id: str, *, models: Mapping[str, Path] | None = None) -> None:
        row = store.session(id)
        self.store, self.id, self._owner = store, id, row.owner
        self._name = f"{store.processes.appear()}/{secrets.token_hex(4)}"
        self._history = History()
        self._stored: dict[str, tuple[Segment, dict]] = {}
        parameters: str | dict | Parameters = row.parameters
        if isinstance(parameters, dict) and "preset" not in parameters:
            parameters = Parameters.stored(parameters)
        model = (models or {}).get(row.model, row.model)
        self._session = Session(store.image(row.image), model, parameters, row.seed, state=store.load(History().state))
        self._catch_up()

    def apply(
        self, interaction: Mapping, key: str | None = None, expected: Collection[str] | None = None
    ) -> Generator[dict, None, dict]:
        """Do one interaction, given as data: yields what there is to say of each round, returns where it led.

        ``interaction``: {"kind": ..., ...}, see docs/reference/api.md. ``key``: of the caller's choice; an interaction
        that comes twice with the same is done once. ``expected``: versions, of which the session, or the object that
        the interaction changes, has to be at one; see `bifseg.storage.journal.check_current`. To stop iterating is to
        cancel. Raises InvalidInput for one that cannot be, KeyReused for a key that came with another, Stale for a
        session at another version, Busy where another process works on it; the session is then as it was.
        """
        start = time.perf_counter()
        kind = interaction.get("kind")
        if kind not in KINDS:
            raise InvalidInput(f"Unknown interaction {str(kind)[:80]!r}; known are {', '.join(KINDS)}.")
        if kind in MOVES:
            return self.store.move(self.id, self._name, kind, key, expected)
        with self.store.claimed(self.id, self._name, CLAIMED) as fence:
            self._catch_up()
            if key is not None and (entry := self.store.find(self.id, key)):
                return repeated(self._history, entry, kind, _request(interaction))
            self._check_current(kind, interaction, expected)
            try:
                yield from self._perform(kind, interaction, fence)
                return self._commit(kind, interaction, fence, key, start)
            except BaseException:
                self._session.go_on_from(self._state)
                raise

    def _check_current(self, kind: str, interaction: Mapping, expected: Collection[str] | None) -> None:
        """Stale where others changed what the interaction is about; nobody else can while this has the claim."""
        name: str | None
        if kind in ("box", "submit"):  # about no object that there is
            name = ""
        else:
            name = str(interaction.get("name")) if kind in ("select", "remove", "rename") else None
        check_current(self._history, expected, name)

    def _catch_up(self) -> None:
        """Take over what other processes did to the session."""
        history = self.store.history(self.id, self._history)
        if history.number != self._history.number or not self._stored:
            self._go_to(history)

    def _go_to(self, history: History) -> None:
        self._history, self._state = history, self.store.load(history.state)
        self._stored = {
            name: (segment, history.state["objects"][name]) for name, segment in self._state.objects.items()
        }
        self._session.go_on_from(self._state)

    def _perform(self, kind: str, interaction: Mapping, fence: int) -> Iterator[dict]:
        """Change the session; what submit does is in the journal alone."""
        if kind == "submit":
            self._array(interaction.get("labels"))
            return
        if (prior := interaction.get("prior")) is not None:
            interaction = {**interaction, "prior": self._prior(prior)}
        parsed = interaction_of(interaction, self._array, self._session.image.shape)
        strokes, box = parsed.painted(self._state, self._session.image.shape)
        if isinstance(strokes, list):
            check_effort(strokes, self._session.image, box)
        if parsed.computes:
            self.store.check_room(1)
        if kind != "remove":  # whatever else is said, the journal grows by all objects
            self.store.check_share(self._owner, 1)
        renewed = time.monotonic()
        for step in self._session.rounds(parsed):
            yield _told(step)
            if time.monotonic() > renewed + CLAIMED / 4:  # nobody else can have it before; each is a write
                self.store.renew(self.id, fence, CLAIMED)
                renewed = time.monotonic()

    def _commit(self, kind: str, interaction: Mapping, fence: int, key: str | None, start: float) -> dict:
        """Write the interaction into the journal."""
        history = self._history
        state: dict[str, Any] | None = None
        if kind != "submit":
            state = {
                "objects": self._all_stored(self._session.state.objects),
                "current": self._session.state.current,
            }
        summary: dict[str, Any] = {"seconds": round(time.perf_counter() - start, 4)}
        if state is not None and kind in INTERACTIONS and INTERACTIONS[kind].computes:
            segment = self._session.state.objects[state["current"]]
            summary["milliseconds"] = {stage: round(ms, 2) for stage, ms in segment.milliseconds.items()}
            summary["rounds"] = list(segment.rounds)
        blobs = [about["segment"] for about in state["objects"].values()] if state else []
        number = self.store.append(
            self.id, fence, kind, _request(interaction), state=state, summary=summary,
            blobs=[*blobs, *blobs_of(interaction)], key=key,
        )  # fmt: skip
        self._go_to(history.after([(number, kind, state)]))
        return {**self._history.summary(), **summary, "kind": kind, "changed": True}

    def _all_stored(self, segments: Mapping[str, Segment]) -> dict[str, dict]:
        """How the journal names segments; those it does not know yet are written first. Several are flushed to the disk
        at once, which takes little longer than one."""
        with ThreadPoolExecutor(FLUSHED) as threads:
            return dict(zip(segments, threads.map(self._stored_as, segments.values()), strict=True))

    def _stored_as(self, segment: Segment) -> dict:
        """How the journal names a segment; those it does not know yet are written first."""
        stored = self._stored.get(segment.name)
        if stored is not None and stored[0] is segment:
            return stored[1]
        voxels = int(np.count_nonzero(segment.mask))
        about: dict[str, Any] = {
            "segment": self.store.blobs.put(pack(segment)),
            "box": str(segment.box),
            "voxels": voxels,
            "tidy": {name: getattr(segment.parameters, name) for name in RULES},
        }
        if (prior := segment.prior) is not None:
            about["prior"] = {"task": prior.task, "version": prior.version}
        return about | ({"part_of": segment.part_of} if segment.part_of else {})

    def _prior(self, given: object) -> Prior:
        """What a task had learnt, whose weights are stored: the task may be deleted since."""
        if not isinstance(given, Mapping) or "blob" not in given:
            raise InvalidInput('What a task had learnt is given as {"task", "version", "base", "blob"}.')
        return unpack_prior(given, self.store.blob(str(given["blob"])))

    def _array(self, given: object) -> Patch:
        """A stored array in the box it fills."""
        if not isinstance(given, Mapping) or not {"blob", "box"} <= given.keys():
            raise InvalidInput('A stored array is given as {"blob": ..., "box": ...}.')
        box = Box.parse(str(given["box"]), self._session.image.shape)
        inside = self.store.array(str(given["blob"]))
        if inside.dtype != np.uint8 or inside.shape != box.shape:
            raise InvalidInput(
                f"The array is {inside.dtype} of shape {inside.shape}; the box {box} needs uint8 {box.shape}."
            )
        return Patch(box, inside)


def _told(step: Round) -> dict:
    """What there is to say of a round while it runs, ready for JSON."""
    summary = {
        "round": step.index,
        "last": step.last,
        "energy": round(step.energy, 3),
        "foreground": int(step.labels.sum()),
    }
    return summary | {"milliseconds": {stage: round(ms, 2) for stage, ms in step.milliseconds.items()}}


def _request(interaction: Mapping) -> dict:
    """An interaction as the journal has it, beside its kind."""
    return {name: value for name, value in interaction.items() if name != "kind"}
