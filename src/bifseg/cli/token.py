"""``bifseg token``."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bifseg.errors import MissingFile

if TYPE_CHECKING:
    from bifseg.server.access.tokens import Tokens

token_app = typer.Typer(name="token", help="Say who may use a server: create, revoke and list tokens.")
Data = Annotated[Path, typer.Option(help="The folder that the server keeps its sessions in.")]


@token_app.command()
def create(
    user: Annotated[str, typer.Argument(help="Whose token it is.")],
    data: Data,
    days: Annotated[float | None, typer.Option(help="How long it is valid; without it, until it is revoked.")] = None,
    admin: Annotated[bool, typer.Option("--admin", help="Of who runs the server: sees the store's numbers.")] = False,
) -> None:
    """Print a new token for a user. It is shown this once: the store keeps only its digest."""
    import sys

    with _tokens(data, make=True) as tokens:
        print(tokens.create(user, days, admin=admin))
    print(f"bifseg: {user} may now use the server; from here on everybody needs a token", file=sys.stderr)


@token_app.command()
def revoke(name: Annotated[str, typer.Argument(help="A token's id, or a user: all of theirs.")], data: Data) -> None:
    """Make a token, or all tokens of a user, invalid at once."""
    import sys

    with _tokens(data) as tokens:
        count = tokens.revoke(name)
    print(f"bifseg: {count} revoked", file=sys.stderr)


@token_app.command(name="list")
def list_(data: Data) -> None:
    """Print all tokens: id, user, when made, last used, and whether valid."""
    with _tokens(data) as tokens:
        for row in tokens.list():
            state = "valid" if row.live else "revoked" if row.revoked else "expired"
            admin = "  admin" if row.admin else ""
            print(f"{row.id}  {row.user:<20}  {_day(row.created)}  {_day(row.last_used)}  {state}{admin}")


@contextmanager
def _tokens(data: Path, make: bool = False) -> Iterator[Tokens]:
    from bifseg.server.access.tokens import Tokens
    from bifseg.storage import Store

    if not make and not (data / "store.sqlite").is_file():
        raise MissingFile(f"{data} holds no store; give the folder that bifseg serve --data was given.")

    store = Store(data)
    try:
        yield Tokens(store)
    finally:
        store.close()


def _day(seconds: float | None) -> str:
    return "never           " if seconds is None else f"{datetime.fromtimestamp(seconds, timezone.utc):%Y-%m-%d %H:%M}"
