"""Whether a change left every mask as it was: a fixed set of interactions, and a checksum after each.

    python -m benchmarks.models.same_masks before.json                    # in the checkout of before
    python -m benchmarks.models.same_masks after.json --against before.json

Two objects of a phantom, each in a plane and in a volume, with two presets: box, strokes of both labels, undo, refine,
erase, propagate, a second object, another box. Checksums are of mask, labels and probability, so that nothing may
differ by a bit; they belong to one machine. Ends with 1 where a checksum differs.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np

import bifseg
from bifseg import Box, Session, Stroke
from bifseg.training.synthetic.phantom import phantom


def checksums() -> Iterator[dict]:
    """After every interaction: what it was, the mask's voxels, and the checksum."""
    image, labels = phantom(11)
    values = [int(value) for value in np.unique(labels) if value]
    for preset in ("fast", "paper"):
        for value in values[:2]:
            target = labels == value
            volume = Box.around(target)
            z = int(np.argmax(target.sum((0, 1))))
            plane = Box.of([*zip(volume.start[:2], volume.stop[:2], strict=True), z], target.shape)
            other = Box.around(labels == next(v for v in values if v != value))
            for box in (plane, volume):
                session = Session(image, parameters=preset)
                for name in _interactions(session, target, box, z, other):
                    about = f"{preset}, object {value}, {'plane' if box is plane else 'volume'}: {name}"
                    arrays = session.mask, session.labels, session.probability()
                    digest = hashlib.sha256(b"".join(np.ascontiguousarray(array).tobytes() for array in arrays))
                    yield {"after": about, "voxels": int(session.mask.sum()), "sha256": digest.hexdigest()}


def _interactions(session: Session, target: np.ndarray, box: Box, z: int, other: Box) -> Iterator[str]:
    """Take one after the other; their names."""
    session.box(box)
    yield "box"
    here = np.arange(target.shape[2]) == z
    missed = target & ~session.mask & here
    inside = np.argwhere(missed if missed.any() else target & here)
    inside = inside[len(inside) // 2]
    outside = np.argwhere(~target[box.slices])[7] + np.array(box.start)
    session.scribble([Stroke([inside.tolist(), np.add(inside, (1, 1, 0)).tolist()], label=1, radius=1.0)])
    yield "scribble"
    session.scribble([Stroke([outside.tolist()], label=2, radius=0.0)])
    yield "background"
    session.undo()
    yield "undo"
    session.refine()
    yield "refine"
    session.scribble([Stroke([inside.tolist()], label=0, radius=0.0)])
    yield "erase"
    if box.stop[2] - box.start[2] == 1:
        session.propagate(z + 1)
        yield "propagate"
    session.box(other)
    yield "second object"
    session.select(session.names[0])
    session.resize(Box.around(target, 0.2) if box.stop[2] - box.start[2] > 1 else box)
    yield "another box"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("output", type=Path)
    parser.add_argument("--against", type=Path, help="what another checkout wrote on this machine")
    options = parser.parse_args()
    rows = list(checksums())
    options.output.write_text(json.dumps({"bifseg": bifseg.__version__, "rows": rows}, indent=1), "utf-8")
    before = json.loads(options.against.read_text("utf-8"))["rows"] if options.against else rows
    different = [row["after"] for row, old in zip(rows, before, strict=True) if row != old]
    print(f"{len(rows)} interactions" + (f", {len(different)} with another mask" if options.against else ""))
    print(*different, sep="\n", end="\n" if different else "")
    return bool(different)


if __name__ == "__main__":
    raise SystemExit(main())
