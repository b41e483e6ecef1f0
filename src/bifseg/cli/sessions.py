"""``bifseg sessions``."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bifseg.errors import InvalidInput, MissingFile

if TYPE_CHECKING:
    from rich.table import Table

    from bifseg.storage import Store

sessions_app = typer.Typer(name="sessions", help="Look after the sessions that a server keeps.")
Data = Annotated[Path, typer.Option(help="The folder that the server keeps its sessions in.")]
Id = Annotated[str, typer.Argument(help="A session, as `bifseg sessions list` calls it.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print it as JSON.")]


@sessions_app.command(name="list")
def list_(
    data: Data,
    user: Annotated[str | None, typer.Option(help="Only this user's.")] = None,
    as_json: AsJson = False,
) -> None:
    """Print all sessions, the last used first."""
    with _store(data) as store:
        rows = [row.as_dict() | store.history(row.id).summary() for row in store.sessions(user)]
    if as_json:
        _print_json(rows)
        return
    columns = ("session", "user", "client", "last used", "objects", "steps", "title")
    table = _table(*columns)
    for row in rows:
        names = ", ".join(about["name"] for about in row["objects"])
        when, steps = _when(row["touched"]), str(row["number"])
        _add(table, row["id"], row["owner"], row["client"], when, names, steps, row["title"])
    _show(table)


@sessions_app.command()
def show(id: Id, data: Data, as_json: AsJson = False) -> None:
    """Print what was done in a session, step by step."""
    with _store(data) as store:
        about, entries = store.session(id).as_dict(), store.entries(id)
    if as_json:
        _print_json({**about, "entries": [vars(entry) for entry in entries]})
        return
    table = _table("step", "when", "what", "object", "box", "voxels", "s")
    for entry in entries:
        state = entry.state or {"current": None}
        name = state["current"]
        segment = state["objects"][name] if name else {}
        seconds = entry.summary.get("seconds")
        _add(
            table,
            str(entry.number), _when(entry.created), entry.kind, name or "", segment.get("box", ""),
            str(segment.get("voxels", "")), "" if seconds is None else f"{seconds:.2f}",
        )  # fmt: skip
    _show(table)


@sessions_app.command()
def export(id: Id, data: Data, output: Annotated[Path, typer.Option("-o", "--output", help="The file.")]) -> None:
    """Write a session, with its image and every step, into one file.

    A file whose name ends as one that `bifseg segment` writes gets its objects instead.
    """
    from bifseg.cli.outputs import check_folder
    from bifseg.io.formats import written_endings
    from bifseg.io.images import write_image
    from bifseg.storage.transfer import export

    check_folder(output.parent)
    with _store(data) as store:
        if not output.name.lower().endswith(written_endings()):
            export(store, id, output)
            return
        row = store.image_row(store.session(id).image)
        state = store.load(store.history(id).state)
        if not state.objects:
            raise InvalidInput("There is nothing to write: the session has no object yet.")
        image, headers = store.image(row.key), None if row.dicom is None else store.blob(row.dicom)
        write_image(output, state.labels(image.shape), image, names=state.names, headers=headers)


@sessions_app.command(name="import")
def import_(
    file: Annotated[Path, typer.Argument(help="A file of `bifseg sessions export`.")],
    data: Data,
    user: Annotated[str, typer.Option(help="Whose session it becomes.")] = "local",
) -> None:
    """Take in an exported session, and print its new name."""
    from bifseg.storage.transfer import import_

    if not file.is_file():
        raise MissingFile(f"{file} does not exist.")
    with _store(data, make=True) as store:
        print(import_(store, file, user))


@sessions_app.command()
def replay(
    id: Id,
    data: Data,
    method: Annotated[str, typer.Option(help="bifseg, or another method of `bifseg benchmark`.")] = "bifseg",
    model: Annotated[list[Path] | None, typer.Option(help="A model that the server offers; repeatable.")] = None,
    server: Annotated[str, typer.Option(help="Where the method nninteractive answers.")] = "",
    as_json: AsJson = False,
) -> None:
    """Run a session again, by the same or another method, and compare every mask with the recorded one."""
    from bifseg.evaluation.replay import replay

    with _store(data) as store:
        rows = list(replay(store, id, method, models={path.stem: path for path in model or ()}, server=server))
    if as_json:
        _print_json([vars(row) for row in rows])
        return
    table = _table("step", "what", "object", "voxels", "recorded", "Dice", "same", "s")
    for row in rows:
        score = "" if row.dice is None else f"{row.dice:.3f}"
        _add(
            table,
            str(row.number), row.kind, row.object or "", str(row.voxels), str(row.recorded), score,
            "yes" if row.same else "no", f"{row.seconds:.2f}",
        )  # fmt: skip
    _show(table)


@sessions_app.command()
def delete(
    ids: Annotated[list[str], typer.Argument(help="The sessions.")],
    data: Data,
) -> None:
    """Delete sessions, and everything that only they use, for good."""
    with _store(data) as store:
        for id in ids:
            store.session(id)
        for id in ids:
            store.delete(id)


@sessions_app.command()
def verify(data: Data) -> None:
    """Check that everything stored is whole; exit code 1 and a sentence for each thing that is not."""
    from bifseg.storage.transfer import verify

    with _store(data) as store:
        problems = list(verify(store))
        count = len(store.sessions())
    for problem in problems:
        print(problem)
    if problems:
        raise typer.Exit(1)
    print(f"{count} sessions are whole")


@sessions_app.command()
def sweep(
    data: Data, keep_days: Annotated[float, typer.Option(help="Delete sessions that nobody used for so long.")]
) -> None:
    """Delete old sessions, images that no session uses, and what killed processes left."""
    from bifseg.storage.retention import sweep

    if not keep_days > 0:
        raise InvalidInput(f"--keep-days is {keep_days}; it must be above 0.")
    with _store(data) as store:
        swept = sweep(store, keep_days=keep_days)
    print(f"deleted {swept.sessions} sessions, {swept.images} images, {swept.blobs} other contents")


@contextmanager
def _store(data: Path, make: bool = False) -> Iterator[Store]:
    from bifseg.storage import Store

    if not make and not (data / "store.sqlite").is_file():
        raise MissingFile(f"{data} holds no store; give the folder that bifseg serve --data was given.")
    store = Store(data)
    try:
        yield store
    finally:
        store.close()


def _table(*columns: str) -> Table:
    from rich import box
    from rich.table import Table

    return Table(*columns, box=box.SIMPLE_HEAD, pad_edge=False)


def _add(table: Table, *cells: str) -> None:
    """A row without the codes that terminals obey: titles and names are what clients sent."""
    table.add_row(*("".join(c if c.isprintable() else "?" for c in cell) for cell in cells))


def _show(table: Table) -> None:
    from rich.console import Console

    console = Console(markup=False, highlight=False)
    if not console.is_terminal:  # a pipe gets whole lines
        console.width = 1000
    console.print(table)


def _print_json(content: object) -> None:
    import json

    print(json.dumps(content, indent=2))


def _when(seconds: float) -> str:
    return f"{datetime.fromtimestamp(seconds, timezone.utc):%Y-%m-%d %H:%M}"
