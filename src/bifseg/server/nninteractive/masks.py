"""What a client of the nnInteractive protocol sees of a session: one box, one mask, and which session a mask is of."""

from __future__ import annotations

import json
from collections.abc import Iterator, Set

import numpy as np
from fastapi import Response

from bifseg.prompts.interaction import Box, overlap
from bifseg.server.nninteractive import nnia
from bifseg.server.nninteractive.prompts import Mark
from bifseg.storage import Store

BINARY = "application/octet-stream"
RESUMABLE = 20  # of a user's sessions on an image, the last used


def box_of(store: Store, session: str) -> Box | None:
    """The box of a session's current object, where it has one."""
    state = store.history(session).state
    return Box.parse(state["objects"][state["current"]]["box"]) if state["current"] else None


def extent_of(store: Store, session: str) -> Box:
    """The extent of all boxes that a session ever had."""
    sql = (
        "SELECT DISTINCT json_extract(about.value, '$.box') "
        "FROM entries, json_each(entries.state, '$.objects') AS about WHERE session = ?"
    )
    return Box.spanning(Box.parse(text) for (text,) in store.read(sql, (session,)))


def mask_of(store: Store, session: str, whole: Box) -> np.ndarray:
    """The current object's mask, bool, in a box around it."""
    state = store.state(session)
    mask = np.zeros(whole.shape, bool)
    if state.current is not None:
        segment = state.objects[state.current]
        mask[overlap(whole, segment.box)[0]] = segment.mask
    return mask


def session_with(store: Store, user: str, image: str, mark: Mark, but: Set[str]) -> str | None:
    """A session of this user on this image whose one object is just this mask; none of ``but``."""
    voxels = int(np.count_nonzero(mark.mask))
    rows = [row for row in store.sessions(user) if row.image == image]
    for row in rows[:RESUMABLE]:
        objects = list(store.history(row.id).state["objects"].values())
        if row.id in but or len(objects) != 1 or objects[0]["voxels"] != voxels:
            continue
        segment = store.segment(objects[0]["segment"])
        here, there = overlap(mark.box, segment.box)
        inside = segment.mask[there]
        if np.count_nonzero(inside) == voxels and np.array_equal(inside, mark.mask[here]):
            return row.id
    return None


def predicted(store: Store, session: str, box: Box, dtype: np.dtype) -> tuple[dict[str, str], Iterator[bytes]]:
    """The reply with what there is to see in a box, as numbers of a type: its header, and the mask piece by piece."""
    told = {
        "ran_prediction": True,
        "bbox": [[part.start, part.stop] for part in box.slices],
        "dtype": dtype.name,
        "shape": list(box.shape),
    }
    return {"X-Meta": json.dumps(told)}, nnia.packed(mask_of(store, session, box), dtype)


def unchanged() -> Response:
    """The reply where nothing was computed."""
    return Response(b"", media_type=BINARY, headers={"X-Meta": '{"ran_prediction": false, "bbox": null}'})
