"""What DICOM headers say, for the server: a process of its own looks at them, and it is looked once."""

from __future__ import annotations

from bifseg.server.settings import Limits
from bifseg.server.uploads.reading import SeriesFacts
from bifseg.server.uploads.template import Template
from bifseg.server.uploads.work import read_series
from bifseg.storage import Store
from bifseg.storage.rows import ImageRow

MOST = 10_000  # series of which it is kept in memory


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
            facts = read_series(path, self._store.folder, self._limits, self._template)
            self.learn(row, facts)
        return facts

    def learn(self, row: ImageRow, facts: SeriesFacts | None) -> None:
        """Know what was found out of an image's series when it was read, if it was."""
        if row.dicom is None or facts is None:
            return
        if len(self._known) >= MOST:
            self._known.clear()
        self._known[row.dicom] = facts
