"""A user's images by the names that clients of MONAI Label give them, and the label maps submitted for them."""

from __future__ import annotations

import json
from dataclasses import dataclass

from bifseg.errors import NotFound
from bifseg.storage import Store
from bifseg.storage.rows import SessionRow


@dataclass(frozen=True)
class Datastore:
    """What one user named and submitted."""

    store: Store
    user: str

    def call(self, image: str, name: str) -> None:
        """Give an image a name; another that had it has it no longer."""
        with self.store.transaction() as connection:
            connection.execute("INSERT OR REPLACE INTO datastore VALUES (?, ?, ?)", (self.user, name, image))

    def image(self, name: str) -> str:
        """The key of the image of this name; NotFound where there is none."""
        rows = self.store.read("SELECT image FROM datastore WHERE owner = ? AND name = ?", (self.user, name))
        if not rows:
            raise NotFound(f"There is no image of the name {name[:80]!r}; upload it first.")
        return rows[0]["image"]

    def session(self, image: str, client: str) -> SessionRow | None:
        """The session on an image that was used last by such a client."""
        rows = self.store.sessions(self.user)
        return next((row for row in rows if row.image == image and row.client == client), None)

    def submitted(self, image: str, tag: str) -> dict:
        """The label map submitted last for an image, as the journal has it; NotFound where there is none."""
        sql = (
            "SELECT json_extract(request, '$.labels') AS labels FROM entries JOIN sessions ON id = session "
            "WHERE owner = ? AND image = ? AND kind = 'submit' AND json_extract(request, '$.title') = ? "
            "ORDER BY entries.created DESC LIMIT 1"
        )
        rows = self.store.read(sql, (self.user, image, tag))
        if not rows:
            raise NotFound(f"Nothing was submitted for this image with the tag {tag[:80]!r}.")
        return json.loads(rows[0]["labels"])

    def tags(self) -> dict[str, list[str]]:
        """By name of an image, the tags of what was submitted for it."""
        sql = (
            "SELECT DISTINCT name, json_extract(request, '$.title') AS tag FROM datastore "
            "LEFT JOIN sessions ON sessions.owner = datastore.owner AND sessions.image = datastore.image "
            "LEFT JOIN entries ON session = id AND kind = 'submit' WHERE datastore.owner = ? ORDER BY name, tag"
        )
        tags: dict[str, list[str]] = {}
        for name, tag in self.store.read(sql, (self.user,)):
            tags.setdefault(name, []).extend([] if tag is None else [tag])
        return tags

    def counts(self) -> dict:
        """How many images there are, and for how many something was submitted."""
        tags = self.tags()
        every = [tag for own in tags.values() for tag in own]
        return {
            "total": len(tags),
            "completed": sum(map(bool, tags.values())),
            "label_tags": {tag: every.count(tag) for tag in every},
        }

    def contents(self) -> dict:
        """All images and tags, as MONAI Label's Slicer module reads them."""
        about = {"ext": ".nii.gz", "info": {}}
        return {
            "objects": {
                name: {"image": about, "labels": dict.fromkeys(own, about)} for name, own in self.tags().items()
            }
        }
