"""Which files are read, written, taken by the server and given out by it."""

from __future__ import annotations

import inspect
import re

from bifseg.io import images
from bifseg.server.uploads.receiving import SUFFIXES
from bifseg.server.views import MEDIA

RAW = "raw"  # voxels alone: no file


def page() -> str:
    media = "\n".join(f"| `{name}` | {kind} |" for name, kind in MEDIA.items() if name != RAW)
    return f"""# Formats

Arrays are in the file's order, x, y, z, and in its own number type. Geometry is in millimetres, LPS.

## Read

{images.FORMATS}; a folder or a zip of DICOM slices ([how to](../how-to/dicom.md)).
What a file is, its content says, not its name.

{_docstring(images.read_image)}

## Written

{_listed(images.WRITABLE)}

{_docstring(images.write_image)}

## Taken by the server

{_listed(SUFFIXES)}: one file that says itself what it holds; there are [limits](../how-to/serve.md#limits).

## Given out by the server

| `format` | media type |
|---|---|
{media}

`{RAW}` is none of them: the voxels of the object's box, gzipped, with their box and number type in headers.
"""


def _listed(names: tuple[str, ...]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _docstring(function: object) -> str:
    """The prose of a docstring, without its examples."""
    prose = inspect.cleandoc(function.__doc__).partition("\n>>>")[0].strip()
    return re.sub(r"``(.+?)``", r"`\1`", prose)
