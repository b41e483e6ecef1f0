"""``bifseg serve``."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from bifseg.cli.server_extra import needing_server
from bifseg.errors import InvalidInput, MissingFile


def serve(
    data: Annotated[Path | None, typer.Option(help="Folder that keeps images and sessions.")] = None,
    port: Annotated[int, typer.Option(help="TCP port; 0 takes a free one.")] = 1527,
    host: Annotated[str, typer.Option(help="Address to listen on; any but a loopback one needs tokens.")] = "127.0.0.1",
    host_name: Annotated[list[str] | None, typer.Option(help="A name by which clients reach it; repeatable.")] = None,
    origin: Annotated[
        list[str] | None, typer.Option(help="Another server whose pages may call it; repeatable.")
    ] = None,
    workers: Annotated[int, typer.Option(help="Processes that compute.")] = 1,
    threads: Annotated[int, typer.Option(help="Threads of all workers together; 0: one per core.")] = 0,
    images: Annotated[Path | None, typer.Option(help="Folder whose scans may be opened without an upload.")] = None,
    model: Annotated[list[Path] | None, typer.Option(help="A model to offer, .safetensors; repeatable.")] = None,
    label: Annotated[list[str] | None, typer.Option(help="An object's name for MONAI Label; repeatable.")] = None,
    quota: Annotated[float, typer.Option(help="GiB that the store may take; 0: as the disk allows.")] = 0,
    share: Annotated[float, typer.Option(help="GiB of it that one user may take; 0: half of the quota.")] = 0,
    proxy: Annotated[
        list[str] | None, typer.Option(help="Address of a proxy whose X-Forwarded-For is believed; repeatable.")
    ] = None,
    root_path: Annotated[
        str,
        typer.Option(help="Sub-path of a proxy that passes it on, /tools/bifseg; one that takes it away needs none."),
    ] = "",
    keep_days: Annotated[float, typer.Option(help="Delete sessions unused for so long; 0: never.")] = 0,
    no_disk: Annotated[bool, typer.Option("--no-disk", help="Keep all in memory, and nothing after the end.")] = False,
    require_tokens: Annotated[bool, typer.Option("--require-tokens", help="Ask for tokens on loopback, too.")] = False,
    prefix: Annotated[str, typer.Option(help="What session ids begin with, where there are several stores.")] = "",
    tls_cert: Annotated[Path | None, typer.Option(help="Certificate chain (PEM): serve https.")] = None,
    tls_key: Annotated[Path | None, typer.Option(help="Its private key (PEM).")] = None,
) -> None:
    """Serve many readers at once: own JSON API, nnInteractive clients (napari, 3D Slicer, MITK), MONAI Label.

    Listens on this machine only unless told otherwise; other addresses need a token of ``bifseg token create``. Every
    interaction is on the disk before it is answered, so the server may be killed at any time. See docs/how-to/serve.md.
    """
    import re
    from contextlib import nullcontext

    from bifseg.cli.outputs import check_folder

    with needing_server():
        from bifseg.server.access.subpath import VALID
        from bifseg.server.app import build_app
        from bifseg.server.run import folder_in_memory, run
        from bifseg.server.settings import Settings

    if (data is None) != no_disk:
        raise InvalidInput("Where shall sessions be kept? Give one of --data FOLDER and --no-disk.")
    if (tls_cert is None) != (tls_key is None):
        raise InvalidInput("TLS needs both --tls-cert and --tls-key.")
    for path in filter(None, (tls_cert, tls_key, images, *(model or ()))):
        if not path.exists():
            raise MissingFile(f"{path} does not exist.")
    if not re.fullmatch("[A-Za-z0-9]{0,16}", prefix):
        raise InvalidInput(f"--prefix is {prefix!r}; it has up to 16 letters and digits.")
    root_path = root_path.rstrip("/")
    if root_path and not VALID.fullmatch(root_path):
        raise InvalidInput(f"--root-path is {root_path!r}; it looks like /tools/bifseg.")
    if not 1 <= workers <= 64:
        raise InvalidInput(f"--workers is {workers}; it must lie between 1 and 64.")
    for name, number in (("--quota", quota), ("--share", share), ("--keep-days", keep_days), ("--threads", threads)):
        if number < 0:
            raise InvalidInput(f"{name} is {number:g}; it must be 0 or more.")
    if data is not None:
        check_folder(data)
    with folder_in_memory() if data is None else nullcontext(data) as folder:
        settings = Settings(
            data=folder, host=host, port=port, hosts=tuple(host_name or ()), origins=tuple(origin or ()),
            require_tokens=require_tokens, workers=workers, threads=threads or os.cpu_count() or 1, images=images,
            models={path.stem: path for path in model or ()}, quota=int(quota * 2**30) or None,
            share=int(share * 2**30) or None, proxies=tuple(proxy or ()), root_path=root_path,
            keep_days=keep_days or None, prefix=prefix, warm=True, labels=tuple(label or ()) or Settings.labels,
        )  # fmt: skip
        app = build_app(settings)
        if not settings.loopback and not app.state.service.tokens.any():
            raise InvalidInput(
                f"{host} can be reached from elsewhere, and nobody has a token yet; "
                f"make one first: bifseg token create NAME --data {folder}"
            )
        run(app, settings, tls_cert, tls_key)
