"""The commands and their options, as typer tells them."""

from __future__ import annotations

import re

import typer
from typer.cli import get_docs_for_click

from bifseg.cli import program


def page() -> str:
    command = typer.main.get_command(program)
    context = typer.Context(command, info_name="bifseg")
    text = get_docs_for_click(obj=command, ctx=context, name="bifseg", title="Commands")
    text = re.sub(r"\n\* `--help`: .*", "", text)
    text = re.sub(r"\*\*Options\*\*:\n\n(?=\n|\*\*|#|$)", "", text)  # of those that have no other
    text = re.sub(r"\[default: [^\]]*[/\\]bifseg\]", "[default: your own cache folder]", text)  # else the writer's
    return re.sub(r"\n{3,}", "\n\n", text)
