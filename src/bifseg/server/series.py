"""What DICOM headers say, for the server: a process of its own looks at them, and it is looked once."""

from __future__ import annotations

from typing import NamedTuple

from bifseg.io.dicom_display import Display
from bifseg.server.settings import Limits
from bifseg.server.uploads.template import Template
from bifseg.server.uploads.work import read_series
from bifseg.storage import Store
from bifseg.storage.rows import ImageRow

MOST = 10_000  # series of which it is kept in memory


class SeriesFacts(NamedTuple):
    """How a series wants to be seen, and whose it is, as `bifseg.io.dicom_display.patient_of` says it."""

    display: Display = Display()
    patient: str | None = None


class KnownSeries:
    """What is known of the series of a store's images."""

    def __init__(self, store: Store, limits: Limits, template: Template) -> None:
        self._store, self._limits, self._template = store, limits, template
        self._known: dict[str, SeriesFacts] = {}

    def of(self, row: ImageRow) -> SeriesFacts:
        """Of an image's series; nothing where it came from none, or its headers cannot be read."""
        if row.dicom is None:
            return SeriesFacts()
        facts = self._known.get(row.dicom)
        if facts is None:
            path = self._store.blobs.path(row.dicom)
            facts = SeriesFacts(*read_series(path, self._store.folder, self._limits, self._template))
            if len(self._known) >= MOST:
                self._known.clear()
            self._known[row.dicom] = facts
        return facts
