"""``bifseg app``."""

from __future__ import annotations

import os
import socket
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Annotated, TypeVar

import typer

from bifseg.errors import InvalidInput, MissingFile

T = TypeVar("T")
EARLY = 0.7  # seconds in which a scan's faults are told before anything else is begun
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
) -> None:
    """Open bifseg's page in the browser: a server for you alone, on this machine, until Ctrl-C.

    What you do is kept in your own folder, and found again by the next call. The address that is printed lets one
    browser in, within ten minutes; tabs that were open before go on by themselves.
    """
    import asyncio
    import contextlib
    import logging
    import signal
    import webbrowser
    from concurrent.futures import TimeoutError

    from bifseg.cli.outputs import check_folder

    try:
        from bifseg.server import page
        from bifseg.server.app import build_app
        from bifseg.server.run import run
        from bifseg.server.settings import LOCAL, Settings
        from bifseg.server.uploads.scan import image_from_upload
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("bifseg"):
            raise
        raise InvalidInput(
            f'A server needs {error.name}, which is not installed: pip install "bifseg[server]"'
        ) from None

    if not page.built():
        raise InvalidInput(page.NOT_BUILT)
    for path in filter(None, (image, *(model or ()))):
        if not path.exists():
            raise MissingFile(f"{path} does not exist.")
    data = data or own_folder()
    check_folder(data)
    settings = Settings(
        data=data,
        port=last_port(data) if port is None else port,
        require_tokens=True,
        warm=True,
        models={path.stem: path for path in model or ()},
    )
    server = build_app(settings)
    service = server.state.service

    def read(path: Path) -> str:
        """The key of the scan, in the store from then on."""
        scan, headers = image_from_upload(path, settings.limits.voxels, settings.limits.array_bytes, series=series)
        service.check_sessions(LOCAL)
        return service.store.add_image(scan, LOCAL, headers)

    reading: Future[str] | None = None if image is None else begun(lambda: read(image))
    if reading is not None:  # beside the worker's start, which takes seconds; most of what is wrong is told before
        with contextlib.suppress(TimeoutError):
            reading.result(EARLY)

    def tell(address: str) -> None:
        link = f"{address}/#enter={service.tokens.create_once(LOCAL)}"
        if image is not None and reading is not None:
            if reading.exception() is not None:
                asyncio.get_running_loop().call_soon(signal.raise_signal, signal.SIGTERM)  # when it has begun to serve
                return
            link += f"&session={service.store.create(reading.result(), LOCAL, title=image.resolve().name)}"
        print(f"bifseg: open {link}", flush=True)
        if not no_browser and has_screen():
            threading.Thread(target=webbrowser.open, args=(link,), daemon=True).start()  # some come back when closed

    def listening(address: str) -> None:
        (data / PORT).write_text(address.rpartition(":")[2])
        if reading is None or reading.done():
            tell(address)
        else:
            loop = asyncio.get_running_loop()
            reading.add_done_callback(lambda _: loop.call_soon_threadsafe(tell, address))

    logging.getLogger("bifseg.requests").setLevel(logging.WARNING)  # lines of them would push the address out of sight
    run(server, settings, listening=listening)
    if reading is not None and reading.done():  # else it was stopped before
        reading.result()


def begun(work: Callable[[], T]) -> Future[T]:
    """Work begun in a thread that ends with the program: what comes of it."""
    future: Future[T] = Future()

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
