"""All that reading files of any format imports, for who would rather import it before there is a file."""

from __future__ import annotations

from collections.abc import Iterator

from bifseg.io.formats import FORMATS

BESIDE = (  # what readers import when they are first called
    "pydicom.encaps", "pydicom.pixels", "PIL.Image",
    "PIL.PngImagePlugin", "PIL.JpegImagePlugin", "PIL.BmpImagePlugin", "tifffile", "SimpleITK",
)  # fmt: skip


def modules() -> Iterator[str]:
    """Their names; of extras, which may not be installed, too."""
    for entry in FORMATS.values():
        yield from (name.partition(":")[0] for name in (entry.signature, entry.reader) if name)
    yield from BESIDE
