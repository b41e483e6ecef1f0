"""Interactions with the phantom as a client sends them, and the calls of the API that most tests make."""

import numpy as np

from bifseg.prompts.interaction import Box
from bifseg.server.settings import Limits

API = "/api/v1"
BOX = {"box": "30:90,30:90,20:40"}
PLANE = {"box": "30:90,30:90,30", "name": "slice"}
STROKE = {"points": [[50, 50, 30], [60, 60, 30]], "label": 1, "radius": 2}
SCRIBBLE = {"scribbles": {"strokes": [STROKE]}}
LIMITS = Limits(
    upload_bytes=4 << 20, array_bytes=16 << 20, voxels=2 << 20, sessions_per_user=40, requests_per_second=10_000
)  # of the server in tests/server/api
LONG = {"rounds": 100, "iterations": 20, "samples": 4096, "connectivity": 1}  # seconds, unless it is cancelled


def begin(client, image, **options):
    """Begin a session; its id."""
    answer = client.post(f"{API}/sessions", json={"image": image, **options})
    assert answer.status_code == 201, answer.text
    return answer.json()["id"]


def do(client, id, kind, body=None, **headers):
    """An interaction; the session's state after it."""
    answer = client.post(f"{API}/sessions/{id}/{kind}", json=body, headers=headers)
    assert answer.status_code == 200, answer.text
    return answer.json()


def fetch(client, path, **params):
    """An array in its box, and the box."""
    answer = client.get(f"{API}/{path}", params=params)
    assert answer.status_code == 200, answer.text
    shape = tuple(map(int, answer.headers["X-Shape"].split(",")))
    return np.frombuffer(answer.content, answer.headers["X-Dtype"]).reshape(shape), Box.parse(answer.headers["X-Box"])


def file(client, path, folder, format, **params):
    """A result as the file that it is saved as."""
    answer = client.get(f"{API}/{path}", params={"format": format, **params})
    assert answer.status_code == 200, answer.text
    name = answer.headers["Content-Disposition"].partition('filename="')[2].rstrip('"')
    (folder / name).write_bytes(answer.content)
    return folder / name


def refused(answer, status, *words):
    """Refused with one sentence that has these words."""
    assert answer.status_code == status, answer.text
    detail = answer.json()["detail"]
    assert all(word in detail for word in words), detail
    assert detail.endswith(".")
    assert "\n" not in detail
    return detail


def left(server):
    """Temporary files that are still there."""
    folder = server.service.store.folder / "temporary"
    return list(folder.iterdir()) if folder.exists() else []
