"""Which files are read, written, taken by the server and given out by it."""

from __future__ import annotations

import inspect
import re

from bifseg.io import images
from bifseg.io.formats import FORMATS, Format, upload_endings
from bifseg.server.views import RAW, media_types


def page() -> str:
    rows = "\n".join(map(_row, FORMATS.values()))
    refused = "\n".join(
        f"| {entry.title} | {'; '.join(entry.refused.values())} |" for entry in FORMATS.values() if entry.refused
    )
    media = "\n".join(f"| `{name}` | {kind} |" for name, kind in media_types().items() if name != RAW)
    return f"""# Formats

Arrays are in the file's order, x, y, z, and in its own number type. Geometry is in millimetres, LPS.

| format | read | written | what is written | needs |
|---|---|---|---|---|
{rows}

## Read

What a file is, its content says, not its name. A folder of DICOM slices is read as well ([how to](../how-to/dicom.md)).

{_docstring(images.read_image)}

### Refused

What is whole and yet not read, in one sentence that says why; and files that are damaged. Anything that the table above
does not list is refused too, whatever its libraries could open, and so is a file packed by gzip that is no NIfTI.

| format | what is refused of it |
|---|---|
{refused}

## Written

{_docstring(images.write_image)}

## Taken by the server

{_listed(upload_endings())}: one file that says itself what it holds; there are [limits](../how-to/serve.md#limits).

## Given out by the server

| `format` | media type |
|---|---|
{media}

`{RAW}` is none of them: the voxels of the object's box, gzipped, with their box and number type in headers.
"""


def _row(entry: Format) -> str:
    holds = {"numbers": "any numbers", "objects": "labels"}[entry.holds] if entry.written else ""
    holds += {(2,): " of one plane", (3,): " of a volume"}.get(entry.axes, "") if entry.written else ""
    needs = [f"`bifseg[{entry.extra}]`" if entry.extra else "", "a DICOM scan" if entry.needs_series else ""]
    cells = (entry.title, _listed(entry.endings), _listed(entry.written), holds, ", ".join(filter(None, needs)))
    return f"| {' | '.join(cells)} |"


def _listed(names) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _docstring(function: object) -> str:
    """The prose of a docstring, without its examples."""
    prose = inspect.cleandoc(function.__doc__).partition("\n>>>")[0].strip()
    return re.sub(r"``(.+?)``", r"`\1`", prose)
