"""``bifseg app``."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from bifseg.cli.server_extra import needing_server
from bifseg.errors import InvalidInput, MissingFile
from bifseg.loading import loading

if TYPE_CHECKING:
    from bifseg.server.service import Service
    from bifseg.server.uploads.reading import Reading
    from bifseg.server.uploads.template import Template
    from bifseg.storage.rows import SessionRow

log = logging.getLogger("bifseg.cli.app")
T = TypeVar("T")
PATIENCE = 3600.0  # seconds that reading may take: one's own disk may be far away
LOOKED = 1.0  # seconds for which the disk and the workers leave both cores to the page, which draws what was read
EARLY = 0.7  # seconds after which a scan that has shown no fault is waited for in the browser
PORT = "port"  # the file in the data folder that keeps where the page was last


def app(
    image: Annotated[Path | None, typer.Argument(help="A scan to begin with; also a folder of DICOM slices.")] = None,
    series: Annotated[
        str | None, typer.Option(help="Of several DICOM series in a folder or zip: its UID, number or description.")
    ] = None,
    data: Annotated[Path | None, typer.Option(help="Folder that keeps images and sessions; else your own.")] = None,
    port: Annotated[
        int | None, typer.Option(help="TCP port; 0 takes a free one. Else that of last time, if it is free.")
    ] = None,
    no_browser: Annotated[bool, typer.Option("--no-browser", help="Print the address and open nothing.")] = False,
    model: Annotated[list[Path] | None, typer.Option(help="A model to offer, .safetensors; repeatable.")] = None,
    images: Annotated[Path | None, typer.Option(help="Folder of scans to choose from and to go through.")] = None,
) -> None:
    """Open bifseg's page in the browser: a server for you alone, on this machine, until Ctrl-C.

    What you do is kept in your own folder, and found again by the next call. The address that is printed lets one
    browser in, within ten minutes; tabs that were open before go on by themselves.
    """
    from bifseg.cli.outputs import check_folder
    from bifseg.server import built
    from bifseg.server.uploads.template import Template

    if not built.is_built():
        raise InvalidInput(built.NOT_BUILT)
    for path in filter(None, (image, images, *(model or ()))):
        if not path.exists():
            raise MissingFile(f"{path} does not exist.")
    data = data or own_folder()
    check_folder(data)
    with contextlib.closing(Template()) as template:
        template.start()  # it imports what reads files, on another core, while this process imports what serves
        with loading():
            opening = None if image is None else Opening(image, series, data, template)
        port = last_port(data) if port is None else port
        serve(data, port, model or [], images, template, opening, shown=not no_browser)


class Opening:
    """A scan that is read in a process of its own, while the server starts: ``read``, and checked; then it can be
    looked at, and at last it is in the store, with a session on it that has ``id``."""

    def __init__(self, path: Path, series: str | None, data: Path, template: Template) -> None:
        from bifseg.server.settings import Limits
        from bifseg.server.uploads import reading

        data.mkdir(parents=True, exist_ok=True, mode=0o700)
        limits = Limits(seconds_per_reading=PATIENCE)

        def read() -> Reading:
            scan = reading.read_image(
                path, data, limits, name=str(path), series=series, template=template, hear=log.warning
            )
            scan.image.check_scan()
            return scan

        self.path, self.id, self._since = path, "", time.monotonic()
        self.read = begun(read)
        self.kept: Future[str] = Future()

    def wait(self) -> None:
        """Raise what is wrong with the scan, if it is found out soon after reading began."""
        with contextlib.suppress(FutureTimeout):
            self.read.result(max(0.0, self._since + EARLY - time.monotonic()))

    def keep(self, service: Service) -> None:
        """Begin the session as soon as the scan is read: who asks for it earlier waits, and may look at it while it
        comes into the store."""
        from bifseg.server.service import Coming
        from bifseg.server.settings import LOCAL

        def show() -> SessionRow:
            scan = self.read.result()
            service.check_sessions(LOCAL)
            image = service.store.show_image(scan.image, LOCAL, scan.headers)
            service.series.learn(image, scan.facts)
            return service.store.session_row(image.key, LOCAL, title=self.path.resolve().name, id=self.id)

        def keep() -> str:
            row, scan = seen.result(), self.read.result()
            coming.needed.wait(LOOKED)
            service.store.add_image(scan.image, LOCAL, scan.headers)
            return service.store.begin(row)

        self.id = service.store.new_id()
        seen = begun(show)
        coming = service.coming[self.id] = Coming(seen, self.kept)
        begun(keep, self.kept)


def serve(
    data: Path, port: int, models: list[Path], images: Path | None, template: Template, opening: Opening | None, *,
    shown: bool,
) -> None:  # fmt: skip
    """Serve until Ctrl-C, and say where; ``shown``: in a browser, too. Raises what was wrong with the scan."""
    import asyncio
    import signal
    import webbrowser

    with loading(keep=True):
        with needing_server():
            from bifseg.server.app import build_app
            from bifseg.server.run import run
            from bifseg.server.settings import LOCAL, Settings

        named = {path.stem: path for path in models}
        settings = Settings(
            data=data, port=port, require_tokens=True, warm=True, early=True, models=named, images=images
        )
        server = build_app(settings, template)
    service = server.state.service
    if opening is not None:
        opening.keep(service)
        opening.wait()

    def listening(address: str) -> None:
        (data / PORT).write_text(address.rpartition(":")[2])
        link = f"{address}/#enter={service.tokens.create_once(LOCAL)}"
        if opening is not None:
            link += f"&session={opening.id}"
            call = asyncio.get_running_loop().call_soon_threadsafe
            opening.kept.add_done_callback(lambda kept: kept.exception() and call(signal.raise_signal, signal.SIGTERM))
            if opening.read.done() and opening.read.exception() is not None:
                return  # the server ends
        print(f"bifseg: open {link}", flush=True)
        if shown and has_screen():
            threading.Thread(target=webbrowser.open, args=(link,), daemon=True).start()  # some come back when closed

    logging.getLogger("bifseg.requests").setLevel(logging.WARNING)  # lines of them would push the address out of sight
    run(server, settings, listening=listening)
    if opening is not None and opening.kept.done():  # else it was stopped before
        opening.kept.result()


def begun(work: Callable[[], T], future: Future[T] | None = None) -> Future[T]:
    """Work begun in a thread that ends with the program: what comes of it, in ``future`` where one is given."""
    future = future or Future()

    def do() -> None:
        try:
            result = work()
        except BaseException as error:
            future.set_exception(error)
        else:
            future.set_result(result)

    threading.Thread(target=do, daemon=True).start()
    return future


def last_port(data: Path) -> int:
    """The port that the page on this folder had last, so that its tabs find it again; 0 where that is not to be had."""
    try:
        port = int((data / PORT).read_text())
        with socket.create_server(("127.0.0.1", port)):
            return port
    except (OSError, ValueError, OverflowError):  # none yet, not a number, or somebody else listens there
        return 0


def own_folder() -> Path:
    """Where this user's programs keep what they make; InvalidInput where there is no such place."""
    from platformdirs import user_data_path

    try:
        folder = user_data_path("bifseg", appauthor=False)
    except RuntimeError:  # the user has no home
        folder = Path()
    if not folder.is_absolute():
        raise InvalidInput("You have no home folder to keep images and sessions in; give --data FOLDER.")
    return folder


def has_screen() -> bool:
    """Whether a browser would have a window: on a server's console one would take the terminal over."""
    screens = ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER")
    return sys.platform != "linux" or any(os.environ.get(name) for name in screens)
