"""The same reading in other programs, estimated from what their manuals say: nobody played it there."""

from __future__ import annotations

from benchmarks.page.tables import markdown

PROGRAMS = ("ITK-SNAP", "3D Slicer with nnInteractive", "OHIF")
# Clicks, drags and keys together: task, then one of each program; None: it does not do that.
TASKS: tuple[tuple[str, tuple[int | None, int | None, int | None]], ...] = (
    ("open a CT (a folder of DICOM slices)", (8, 8, 5)),
    ("make the prompt or the segmentation ready", (0, 4, 3)),
    ("two objects in 3D, first mask", (28, 6, None)),
    ("ten strokes", (20, 20, 20)),
    ("one object in 2D, through 11 slices", (14, 2, 25)),
    ("export DICOM-SEG", (None, 7, 3)),
    ("export NIfTI", (5, 6, None)),
    ("server or program killed, go on", (None, 6, None)),
)
NOTES = (
    "**ITK-SNAP**, manual of 3.4.0 (*Tutorial, Section: Region segmentation*; 4.x has the same wizard): opening "
    "is the menu, the item, the file, its series and the wizard's buttons. An object in 3D is the active contour "
    "wizard: region of interest, thresholds, bubbles, evolution, finish, 14 a piece. A stroke is a click on the "
    "label or tool and a drag. In 2D: draw in four slices, then interpolate. It writes no DICOM-SEG, and what was"
    " not saved is gone with the program.",
    "**3D Slicer with nnInteractive**, manual of Slicer 5.0 (*DICOM*, *Segment editor*) and README of "
    "SlicerNNInteractive for nnInteractive 2: import, load, module, *Initialize*, *Next segment* and a box each; "
    "a stroke is a drag and a click on positive or negative. Its first mask in 3D comes from a box in one view, "
    "and needs a GPU for that: that is where it is ahead of bifseg by one drag. After a kill what was not saved "
    "is gone; after one of its server, *Initialize* goes on.",
    "**OHIF**, manual of 3.9 (segmentation mode): a brush, thresholds, scissors; no network in 3D without another"
    " server, so that an object is painted slice by slice, a click for the next slice and a drag. It writes "
    "DICOM-SEG, no NIfTI; what was not stored is gone on a reload.",
)


def told(ours: tuple[int, int, int]) -> str:
    """A table beside what bifseg took, clicks, drags and keys, and where each number comes from."""
    rows = [["estimated from manuals: clicks, drags and keys", *PROGRAMS]]
    rows += [[task, *("–" if n is None else str(n) for n in counts)] for task, counts in TASKS]
    return "\n".join([
        "## The same tasks elsewhere", "",
        f"bifseg took {sum(ours)} clicks, drags and keys for all of it. Numbers of the others are **estimates from "
        "excerpts of their manuals, not played and not counted twice**, at their shortest, with nothing to correct on "
        "the way; – is what a program does not do. "
        "They tell the order of size, no more.", "",
        markdown(rows), "", *(line for note in NOTES for line in (note, "")),
    ]).rstrip()  # fmt: skip
