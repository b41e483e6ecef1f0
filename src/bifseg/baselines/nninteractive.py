"""nnInteractive (Isensee et al. 2025, arXiv 2503.08373): a server of its version 2, driven by its own client."""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.ndimage import find_objects, label

from bifseg.errors import InvalidInput, TookTooLong
from bifseg.imaging.image import Image, extent
from bifseg.prompts.interaction import BACKGROUND, FOREGROUND, Box

if TYPE_CHECKING:
    import httpx


class SessionLostError(ConnectionError):
    """The server no longer knows the session: it sat idle for too long, or the server was started again."""


class NNInteractive:
    """Another group's network, judged as its server answers: no guarantee of ours is laid over its masks.

    ``server``: its address, as in ``http://host:1527``. ``api_key``: its bearer key; without one the environment
    variable NN_INTERACTIVE_API_KEY counts. ``timeout``: seconds the server may take over one call. The first ``start``
    claims a session, later ones use it again, and ``close`` or the end of a ``with`` block gives it back.

    Axes are turned round on the wire, to (z, y, x), as its own example and its clients send them.
    Intensities go as they are: the server normalises. Strokes go as they were drawn, single voxels as points, and only
    the last prompt of a step runs the network. Servers that take no thick box (the published weights take none) get a
    flat one: see `flat_box`. A box of one plane asks for that plane alone, so only there does the mask hold anything.

    Raises InvalidInput for an address that is no http(s) one, a key that no header can carry, and where the client is
    not installed.
    """

    begins_with = "box"

    def __init__(self, server: str, api_key: str | None = None, timeout: float = 300.0) -> None:
        if not _is_address(server):
            raise InvalidInput(f"The server {server!r} is not of the form http://host:port or https://host:port.")
        if api_key is not None and not (api_key.isascii() and api_key.isprintable()):
            raise InvalidInput("The api_key holds characters that no header can carry; give printable ASCII.")
        self.server, self.api_key, self.timeout = server.rstrip("/"), api_key, timeout
        self._session: Any = None  # an nnInteractiveRemoteInferenceSession; its package brings no types
        self._image: Image | None = None
        self._box: Box | None = None

    def start(self, image: Image, box: Box) -> np.ndarray:
        """The mask after the box alone: bool (x, y, z), of the image's shape.

        The image is sent when it is not the very one of the last call. Raises ConnectionError, TimeoutError or
        PermissionError where the server cannot be used, InvalidInput for what it refuses.
        """
        held = self._session is not None
        try:
            return self._begin(image, box)
        except SessionLostError:
            # Between two objects a session holds nothing that is not sent again anyway.
            if not held:
                raise
            return self._begin(image, box)

    def refine(self, scribbles: np.ndarray) -> np.ndarray:
        """The mask after more scribbles: labels (x, y, z), 1 foreground, 2 background, 0 none.

        Without any the mask stays. Raises what `start` raises, `SessionLostError` (a ConnectionError) for a lost
        session, and InvalidInput for scribbles of another shape or before a start.
        """
        if self._image is None or self._box is None:
            raise InvalidInput("There is nothing to refine: call start with an image and a box first.")
        if scribbles.shape != self._image.shape:
            raise InvalidInput(f"The scribbles have the shape {scribbles.shape}; the image has {self._image.shape}.")
        turned = scribbles.T
        prompts = [(send, what, sign) for sign in (FOREGROUND, BACKGROUND) for send, what in _prompts(turned == sign)]
        with self._explained():
            for number, (send, what, sign) in enumerate(prompts, start=1):
                call = getattr(self._session, f"add_{send}_interaction")
                call(**what, include_interaction=sign == FOREGROUND, run_prediction=number == len(prompts))
        return self._mask(self._box)

    def close(self) -> None:
        """Give the session back to the server; nothing happens where none is held."""
        if self._session is not None:
            self._release()
        self._session = self._image = self._box = None

    def __enter__(self) -> NNInteractive:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _begin(self, image: Image, box: Box) -> np.ndarray:
        if self._session is None:
            self._claim()
        session, self._box = self._session, None  # a start that fails leaves nothing to refine
        with self._explained():
            if image is not self._image:
                self._image = None  # until the server has all of the new one
                array = image.array.T  # a view: arrays from files are contiguous this way round
                session.set_image(array[None], {"spacing": image.spacing[::-1]})
                session.set_target_buffer(np.zeros(array.shape, np.uint8))
                self._image = image
            session.reset_interactions()
            whole = box.dimension == 2 or session.supported_interactions.get("bbox3d", False)
            drawn = box if whole else flat_box(box, image.spacing)
            pairs = list(zip(drawn.start, drawn.stop, strict=True))[::-1]
            session.add_bbox_interaction(pairs, include_interaction=True)
        self._box = box
        return self._mask(box)

    def _mask(self, box: Box) -> np.ndarray:
        """A copy, in file order, of the buffer that the client pastes into; of a plane's box, that plane alone."""
        mask = self._session.target_buffer.T != 0
        if box.plane is None:
            return mask
        in_plane = np.zeros_like(mask)
        plane = tuple(s if axis == box.plane else slice(None) for axis, s in enumerate(box.slices))
        in_plane[plane] = mask[plane]
        return in_plane

    def _claim(self) -> None:
        remote = _client()
        session = object.__new__(remote.nnInteractiveRemoteInferenceSession)
        try:
            with self._explained():
                try:
                    limits = dict.fromkeys(("read_timeout", "set_image_read_timeout", "write_timeout"), self.timeout)
                    session.__init__(self.server, self.api_key, **limits)
                except (KeyError, TypeError, AttributeError, ValueError) as error:  # an answer of another form
                    raise ConnectionError(self._foreign()) from error
        except BaseException:
            # A session whose claim failed does not close its own connection.
            with suppress(AttributeError):
                session.close()
            with suppress(AttributeError):
                session._http.close()
            raise
        self._session = session
        self._release = weakref.finalize(self, session.close)  # also when nobody calls close

    def _foreign(self) -> str:
        return (
            f"The server {self.server} does not speak nnInteractive's protocol, version 2; "
            "give the address of an nninteractive-server."
        )

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Turn what the client raises into one sentence that says what to do."""
        import httpx

        remote = _client()
        try:
            yield
        except remote.SessionExpiredError as error:
            self.close()
            raise SessionLostError(
                f"The session on the nnInteractive server {self.server} is lost, by idling too long or a restart "
                "of the server; call start again with the image and the box."
            ) from error
        except remote.ServerAtCapacityError as error:
            raise ConnectionError(
                f"The nnInteractive server {self.server} is full; wait until another user closes a session, "
                "or start it with a larger --max-sessions."
            ) from error
        except httpx.HTTPStatusError as error:
            status = error.response.status_code
            if status in (401, 403):
                given = (
                    "the key it was given" if "Authorization" in error.request.headers else "to be used without a key"
                )
                raise PermissionError(
                    f"The nnInteractive server {self.server} refuses {given}; give its own as api_key, "
                    "or as the environment variable NN_INTERACTIVE_API_KEY."
                ) from error
            if status in (400, 413, 422):
                raise InvalidInput(f"The nnInteractive server {self.server} refuses this: {_detail(error)}") from error
            if status in (404, 405):
                raise ConnectionError(self._foreign()) from error
            raise ConnectionError(
                f"The nnInteractive server {self.server} failed with status {status}; see its log."
            ) from error
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            raise ConnectionError(
                f"No nnInteractive server answers at {self.server}; start nninteractive-server there, "
                "or give the address of one that runs."
            ) from error
        except httpx.TimeoutException as error:
            raise TookTooLong(
                f"The nnInteractive server {self.server} did not answer within {self.timeout:g} seconds; "
                "wait for it, or give a longer timeout."
            ) from error
        except httpx.HTTPError as error:
            raise ConnectionError(
                f"The connection to the nnInteractive server {self.server} broke ({error}); "
                "check that it still runs and call start again."
            ) from error


def flat_box(box: Box, spacing: tuple[float, float, float]) -> Box:
    """What its users draw around a thick object: the box on its middle slice through the axis of largest spacing.

    Of axes with equal ``spacing`` (mm) the last counts, and of two middle slices the lower.

    >>> str(flat_box(Box.parse("0:9,4:9,10:20"), (1, 1, 5)))
    '0:9,4:9,14'
    """
    through = max(range(3), key=lambda axis: (spacing[axis], axis))
    ranges: list[tuple[int, int] | int] = list(zip(box.start, box.stop, strict=True))
    ranges[through] = (box.start[through] + box.stop[through] - 1) // 2
    return Box.of(ranges, box.stop)


def _prompts(mask: np.ndarray) -> Iterator[tuple[str, dict]]:
    """A mask as prompts: a point for each voxel that touches no other, one scribble (its extent) for the rest."""
    ranges = extent(mask)
    if ranges is None:
        return
    first = [start for start, _ in ranges]
    part = mask[tuple(slice(*pair) for pair in ranges)].astype(np.uint8)
    pieces, _ = label(part, np.ones((3, 3, 3)))
    single = (np.bincount(pieces.ravel()) == 1)[pieces] & (part != 0)
    for where in np.argwhere(single):
        yield "point", {"coordinates": [int(a + b) for a, b in zip(where, first, strict=True)]}
    part[single] = 0
    for slices in find_objects(part):
        pairs = [[s.start + a, s.stop + a] for s, a in zip(slices, first, strict=True)]
        yield "scribble", {"scribble_image": part[slices].copy(), "interaction_bbox": pairs}


def _is_address(server: str) -> bool:
    """Whether it is an http(s) address and nothing more; a password in it would show in messages and results."""
    _client()
    import httpx

    try:
        url = httpx.URL(server)
    except (httpx.InvalidURL, TypeError):
        return False
    return url.scheme in ("http", "https") and bool(url.host) and not (url.userinfo or url.query or url.fragment)


def _detail(error: httpx.HTTPStatusError) -> str:
    """The server's own words on a refused request, or its status line."""
    with suppress(ValueError, KeyError, TypeError):
        return str(error.response.json()["detail"])
    return f"status {error.response.status_code}."


def _client() -> ModuleType:
    try:
        from nnInteractive.inference import remote
    except ImportError as error:
        raise InvalidInput(
            'nnInteractive needs its client, which is not installed: pip install "bifseg[nninteractive]"'
        ) from error
    return remote
