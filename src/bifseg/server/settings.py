"""What a server is told when it starts, and what it lets a client do."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path

from bifseg.storage.contents import LOCAL

__all__ = ["LOCAL", "Limits", "Settings"]

WEIGHTS = Path(__file__).parents[1] / "networks" / "weights"


@dataclass(frozen=True)
class Limits:
    """How much one client may ask for; more is refused before it is read, unpacked or computed."""

    upload_bytes: int = 2 << 30  # of one request, as it comes
    array_bytes: int = 4 << 30  # of one image or mask, unpacked
    voxels: int = 512 * 512 * 2048  # of one image
    sessions_per_user: int = 1000
    queued_per_user: int = 8  # interactions that wait or run
    requests_per_second: float = 20  # of one user, on average
    requests_in_burst: int = 200  # of them at once: a page of thumbnails is asked for in one
    requests_at_once: int = 32  # of one user, streams included
    leases: int = 16  # clients of the nnInteractive protocol at a time
    leases_per_user: int = 4  # of them, where there are several users
    idle_seconds: float = 600  # until a client that does nothing loses its lease
    liveness_seconds: float = 60  # until one that says nothing does
    seconds_per_interaction: float = 120
    seconds_per_reading: float = 300  # of the process that reads an upload
    connections_per_address: int = 256  # but of a proxy that is named
    seconds_of_headers: float = 20  # until a request's headers have to be there
    seconds_of_silence: float = 60  # of a body that does not come, or a reply that is not read
    strokes: int = 2_000  # of one interaction
    points: int = 20_000  # of all its strokes; who has more sends labels


@dataclass(frozen=True)
class Settings:
    """``data``: the store's folder. ``images``: a folder whose scans may be opened by name, without an upload."""

    data: Path
    host: str = "127.0.0.1"
    port: int = 1527  # where clients of the nnInteractive protocol look first
    hosts: tuple[str, ...] = ()  # further names under which clients may reach it
    origins: tuple[str, ...] = ()  # web pages of other servers that may call it
    proxies: tuple[str, ...] = ()  # addresses whose word on where a request comes from is believed
    require_tokens: bool = False
    workers: int = 1
    threads: int = field(default_factory=lambda: os.cpu_count() or 1)  # of all workers together
    images: Path | None = None
    models: Mapping[str, Path] = field(default_factory=dict)
    labels: tuple[str, ...] = ("object",)  # names that MONAI Label's panel offers for objects
    quota: int | None = None  # bytes of stored blobs
    share: int | None = None  # of one user; None: half of the quota
    root_path: str = ""  # the sub-path of a proxy that does not take it away, /tools/bifseg
    keep_days: float | None = None  # sessions untouched for longer are deleted
    prefix: str = ""  # of session ids: which of several servers a session is on
    warm: bool = False  # workers try the method once before they are ready, so that no user waits for compilers
    early: bool = False  # whether it listens before its workers are there
    grace: float = 30  # seconds that running interactions get when the server stops
    limits: Limits = field(default_factory=Limits)

    @property
    def loopback(self) -> bool:
        """Whether only this machine can reach the server."""
        try:
            return ip_address(self.host.strip("[]")).is_loopback
        except ValueError:
            return self.host == "localhost"

    @property
    def own_share(self) -> int | None:
        """Bytes that one of several users may keep."""
        return self.share if self.share is not None or self.quota is None else self.quota // 2

    @property
    def known_models(self) -> list[str]:
        """Names that a session may ask for."""
        return ["default", *sorted(path.stem for path in WEIGHTS.glob("*.safetensors")), *self.models]
