"""A session that survives its process: every interaction is in a store before anyone is told that it happened."""

from __future__ import annotations

import secrets
import time
from collections.abc import Generator, Iterator, Mapping
from pathlib import Path

import numpy as np

from bifseg.errors import InvalidInput
from bifseg.method.finetune import Round
from bifseg.method.parameters import Parameters
from bifseg.prompts.interaction import INTERACTIONS, Box, Patch, Stroke
from bifseg.prompts.painting import effort
from bifseg.session.session import Session
from bifseg.session.state import Segment
from bifseg.storage import Store
from bifseg.storage.journal import KINDS, MOVES, History, blobs_of, repeated
from bifseg.storage.snapshot import pack

PAINTED = 300_000_000  # voxels that the strokes of an interaction may have looked at: a few seconds
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
        self._history, self._stored = History(), {}
        preset = isinstance(row.parameters, str) or "preset" in row.parameters
        parameters = row.parameters if preset else Parameters(**row.parameters)
        model = (models or {}).get(row.model, row.model)
        self._session = Session(store.image(row.image), model, parameters, row.seed, state=store.load(History().state))
        self._catch_up()

    def apply(self, interaction: Mapping, key: str | None = None) -> Generator[dict, None, dict]:
        """Do one interaction, given as data: yields what there is to say of each round, returns where it led.

        ``interaction``: {"kind": ..., ...}, see docs/server.md. ``key``: of the caller's choice; an interaction that
        comes twice with the same is done once. To stop iterating is to cancel. Raises InvalidInput for one that cannot
        be, KeyReused (an InvalidInput) for a key that came with another, Busy where another process works on the
        session; the session is then as it was.
        """
        start = time.perf_counter()
        kind = interaction.get("kind")
        if kind not in KINDS:
            raise InvalidInput(f"Unknown interaction {str(kind)[:80]!r}; known are {', '.join(KINDS)}.")
        if kind in MOVES:
            return self.store.move(self.id, self._name, kind, key)
        with self.store.claimed(self.id, self._name, CLAIMED) as fence:
            self._catch_up()
            if key is not None and (entry := self.store.find(self.id, key)):
                return repeated(self._history, entry, kind, _request(interaction))
            try:
                yield from self._perform(kind, interaction, fence)
                return self._commit(kind, interaction, fence, key, start)
            except BaseException:
                self._session.go_on_from(self._state)
                raise

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
        session = self._session
        if kind in INTERACTIONS:
            self.store.check_room(1)
            self.store.check_share(self._owner, 1)
            for step in self._rounds(kind, interaction):
                yield _told(step)
                self.store.renew(self.id, fence, CLAIMED)
        elif kind == "rename":
            session.rename(_text(interaction, "name"), _text(interaction, "to"))
        elif kind in ("select", "remove"):
            getattr(session, kind)(_text(interaction, "name"))
        elif kind == "submit":
            self._array(interaction.get("labels"))

    def _rounds(self, kind: str, interaction: Mapping) -> Iterator[Round]:
        options, box = {}, None
        if kind in ("box", "resize"):
            options["ranges"] = box = Box.parse(_text(interaction, "box"), self._session.image.shape)
        elif self._state.current is not None:
            box = self._state.objects[self._state.current].box
        if (given := interaction.get("scribbles")) is not None:
            options["labels" if kind == "scribble" else "scribbles"] = self._scribbles(given, box)
        if kind == "propagate":
            options["to"] = interaction.get("to")
        if kind in ("box", "propagate"):
            options["name"] = interaction.get("name")
        if kind == "box" and (initial := interaction.get("initial")) is not None:
            options["initial"] = self._array(initial)
        if kind == "interpolate":
            options["between"] = interaction.get("between")
        elif kind != "refine":
            options["refine"] = interaction.get("refine", "auto")
        return self._session.rounds(kind, **options)

    def _commit(self, kind: str, interaction: Mapping, fence: int, key: str | None, start: float) -> dict:
        """Write the interaction into the journal."""
        history, state = self._history, None
        if kind != "submit":
            state = {
                "objects": {name: self._stored_as(segment) for name, segment in self._session.state.objects.items()},
                "current": self._session.state.current,
            }
        told = {"seconds": round(time.perf_counter() - start, 4)}
        if kind in INTERACTIONS:
            segment = self._session.state.objects[state["current"]]
            told["milliseconds"] = {stage: round(ms, 2) for stage, ms in segment.milliseconds.items()}
            told["rounds"] = list(segment.rounds)
        blobs = [about["segment"] for about in state["objects"].values()] if state else []
        number = self.store.append(
            self.id, fence, kind, _request(interaction), state=state, summary=told,
            blobs=[*blobs, *blobs_of(interaction)], key=key,
        )  # fmt: skip
        self._go_to(history.after([(number, kind, state)]))
        return {**self._history.summary(), **told, "kind": kind, "changed": True}

    def _stored_as(self, segment: Segment) -> dict:
        """How the journal names a segment; those it does not know yet are written first."""
        known, about = self._stored.get(segment.name, (None, None))
        if known is segment:
            return about
        voxels = int(np.count_nonzero(segment.mask))
        about = {"segment": self.store.blobs.put(pack(segment)), "box": str(segment.box), "voxels": voxels}
        return about | ({"part_of": segment.part_of} if segment.part_of else {})

    def _scribbles(self, given: Mapping, box: Box | None) -> Patch | list[Stroke]:
        if not isinstance(given, Mapping) or len({"strokes", "labels"} & given.keys()) != 1:
            raise InvalidInput('Scribbles are {"strokes": [...]} or {"labels": ...}; give one of the two.')
        if "labels" in given:
            return self._array(given["labels"])
        try:
            strokes = [Stroke(s["points"], s.get("label", 1), s.get("radius", 0.0)) for s in given["strokes"]]
        except (TypeError, KeyError, AttributeError) as error:
            raise InvalidInput(f"A stroke needs points (x, y, z), a label and a radius; {error} is wrong.") from None
        if not strokes:
            raise InvalidInput("There are no strokes; give one or more.")
        if (looked := effort(strokes, self._session.image, box)) > PAINTED:  # nobody can cancel it, and others wait
            raise InvalidInput(
                f"The strokes would be painted over {looked / 1e6:.4g} million voxels; at most {PAINTED / 1e6:.3g} "
                "are: take a smaller brush, or fewer points."
            )
        return strokes

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
    told = {
        "round": step.index,
        "last": step.last,
        "energy": round(step.energy, 3),
        "foreground": int(step.labels.sum()),
    }
    return told | {"milliseconds": {stage: round(ms, 2) for stage, ms in step.milliseconds.items()}}


def _request(interaction: Mapping) -> dict:
    """An interaction as the journal has it, beside its kind."""
    return {name: value for name, value in interaction.items() if name != "kind"}


def _text(interaction: Mapping, name: str) -> str:
    value = interaction.get(name)
    if not isinstance(value, str):
        raise InvalidInput(f"The interaction needs {name!r}, a text; it has {value!r}.")
    return value
