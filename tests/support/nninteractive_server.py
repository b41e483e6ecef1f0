"""A small nnInteractive server, version 2 of its protocol, for the unmodified client: standard library, real HTTP.

It segments by a rule one can follow: a box teaches it the intensity of its middle (inside) and of all that lies around
it (outside), a scribble or a point that of its voxels, and every voxel takes the side of the nearest intensity it was
taught; outside the box nothing is inside. A flat box stands for all planes, as the network's answer is a volume, too.
"""

from __future__ import annotations

import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np


class Refused(Exception):
    """A reply with an error's status."""

    def __init__(self, status: int, detail: str) -> None:
        self.status, self.detail = status, detail


class Lease:
    """What the server knows of one client: arrays of any three axes, in the order in which they came."""

    def __init__(self) -> None:
        self.image = self.target = self.region = None
        self.taught = {True: [], False: []}

    def reset(self) -> None:
        self.region, self.taught = None, {True: [], False: []}
        self.target[...] = 0

    def box(self, pairs: list) -> None:
        inner = tuple(slice(a + (b - a) // 4, b - (b - a) // 4) for a, b in pairs)
        self.region = np.zeros(self.image.shape, bool)
        self.region[tuple(slice(None) if b - a == 1 else slice(a, b) for a, b in pairs)] = True
        self.taught[True].append(float(np.median(self.image[inner])))
        self.taught[False].append(float(np.median(self.image[~self.region])))

    def predict(self) -> tuple[list, np.ndarray] | None:
        """The range of voxels that changed and their new values; None where none did."""
        near = {side: np.min([abs(self.image - v) for v in values], axis=0) for side, values in self.taught.items()}
        new = ((near[True] < near[False]) & self.region).astype(self.target.dtype)
        changed = np.argwhere(new != self.target)
        self.target = new
        if not len(changed):
            return None
        pairs = [[int(a), int(b) + 1] for a, b in zip(changed.min(0), changed.max(0), strict=True)]
        return pairs, new[tuple(slice(*pair) for pair in pairs)]


class Server(ThreadingHTTPServer):
    """``calls``: the images, resets and prompts that came, as (path, what it said). ``trouble``: to fail with."""

    daemon_threads = True

    def __init__(self, api_key: str | None = None, bbox3d: bool = False, max_sessions: int = 1) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.api_key, self.bbox3d, self.max_sessions = api_key, bbox3d, max_sessions
        self.leases: dict[str, Lease] = {}
        self.claims = 0
        self.trouble: int | str | None = None
        self.calls: list[tuple[str, dict]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def heard(self, part: str) -> list[dict]:
        return [said for path, said in self.calls if part in path]

    def handle_error(self, request, client_address) -> None:
        raise  # to the thread's hook, which fails the test


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # head and body in one packet: two of them wait for each other
    disable_nagle_algorithm = True

    def log_message(self, *words) -> None:
        pass

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def _answer(self) -> None:
        from nnInteractive.inference.remote.serialization import unpack_array  # half a second: not to collect tests

        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.server.trouble == "hang up":
            self.close_connection = True
            return
        binary = self.headers.get("Content-Type") == "application/octet-stream"
        try:
            said = json.loads(self.headers.get("X-Meta", "{}") if binary else body or "{}")
            if self.server.trouble:
                raise Refused(self.server.trouble, "Internal Server Error")
            known = getattr(self, "on_" + self.path.lstrip("/"), None)
            if known is None:
                raise Refused(404, "Not Found")
            if self.server.api_key and self.headers.get("Authorization") != f"Bearer {self.server.api_key}":
                raise Refused(401, "Invalid bearer token")
            reply, meta = known(said, unpack_array(body) if binary else None)
            status = 200
        except Refused as refused:
            status, reply, meta = refused.status, json.dumps({"detail": refused.detail}).encode(), None
        self.send_response(status)
        if meta is not None:
            self.send_header("X-Meta", json.dumps(meta))
        self.send_header("Content-Length", str(len(reply)))
        self.end_headers()
        self.wfile.write(reply)

    @property
    def lease(self) -> Lease:
        try:
            return self.server.leases[self.headers.get("X-Lease-Token", "")]
        except KeyError:
            raise Refused(410, "lease expired or unknown") from None

    def _heard(self, said: dict) -> None:
        self.server.calls.append((self.path, said))

    def on_claim(self, said, array):
        if len(self.server.leases) >= self.server.max_sessions:
            raise Refused(503, f"server is at capacity ({self.server.max_sessions} sessions)")
        self.server.claims += 1
        token = f"lease-{self.server.claims}"
        self.server.leases[token] = Lease()
        return _json(
            lease_token=token,
            idle_timeout_seconds=600,
            liveness_timeout_seconds=60,
            max_sessions=self.server.max_sessions,
        )

    def on_capabilities(self, said, array):
        return _json(
            supported_interactions={
                "points": True, "bbox2d": True, "bbox3d": self.server.bbox3d, "scribble": True, "lasso": False,
            },
            channel_mapping={"prev_seg": 0, "bbox2d": [1, 2], "points": [3, 4], "scribble": [5, 6]},
            num_interaction_channels=7,
            supports_initial_label=False,
            supports_zero_shot_label_refinement=False,
            preferred_scribble_thickness=[2, 2, 2],
            interaction_decay=0.98,
            inference_session_version="2.6.0",
            license="none",
        )  # fmt: skip

    def on_heartbeat(self, said, array):
        _ = self.lease
        return _json(remaining_seconds=600)

    def on_release(self, said, array):
        self.server.leases.pop(self.headers.get("X-Lease-Token", ""), None)
        return _json(released=True)

    def on_set_image(self, said, array):
        lease = self.lease
        if array.ndim != 4:
            raise Refused(400, f"expected a 4d image as input, got {array.ndim}d")
        self._heard({**said, "shape": array.shape, "dtype": str(array.dtype)})
        lease.image, lease.target = array[0].astype(np.float32), None
        return _json(original_image_shape=list(array.shape))

    def on_set_target_buffer(self, said, array):
        lease = self.lease
        if tuple(said["shape"]) != lease.image.shape:
            raise Refused(400, f"the buffer has the shape {said['shape']}, the image {lease.image.shape}")
        lease.target = np.zeros(said["shape"], said["dtype"])
        return _json()

    def on_reset_interactions(self, said, array):
        self.lease.reset()
        self._heard(said)
        return _json()

    def on_add_bbox_interaction(self, said, array):
        lease, pairs = self.lease, said["bbox_coords"]
        if all(b - a > 1 for a, b in pairs) and not self.server.bbox3d:
            raise Refused(400, f"The given bounding box {pairs} indicates a 3D bounding box.")
        lease.box(pairs)
        return self._prediction(lease, said)

    def on_add_point_interaction(self, said, array):
        lease = self.lease
        lease.taught[said["include_interaction"]].append(float(lease.image[tuple(said["coordinates"])]))
        return self._prediction(lease, said)

    def on_add_scribble_interaction(self, said, array):
        lease, pairs = self.lease, said["interaction_bbox"]
        if [b - a for a, b in pairs] != list(array.shape):
            raise Refused(400, f"image shape {array.shape} must match interaction_bbox {pairs}")
        values = lease.image[tuple(slice(*pair) for pair in pairs)][array > 0]
        lease.taught[said["include_interaction"]].append(float(values.mean()))
        return self._prediction(lease, {**said, "voxels": len(values)})

    def _prediction(self, lease: Lease, said: dict):
        self._heard(said)
        found = lease.predict() if said["run_prediction"] else None
        if found is None:
            return b"", {"ran_prediction": said["run_prediction"], "bbox": None}
        pairs, part = found
        meta = {"ran_prediction": True, "bbox": pairs, "dtype": str(part.dtype), "shape": list(part.shape)}
        from nnInteractive.inference.remote.serialization import pack_array

        return pack_array(part), meta


def _json(**reply) -> tuple[bytes, None]:
    return json.dumps(reply).encode(), None


@contextmanager
def serving(**options):
    """A server that runs in a thread for the length of a ``with`` block; its port is whichever was free."""
    server = Server(**options)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
