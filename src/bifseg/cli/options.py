"""Options that several commands have: one name, one help."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

ModelName = Annotated[str, typer.Option("--model", help="A name that `bifseg info` lists, or a .safetensors file.")]
TaskData = Annotated[Path | None, typer.Option("--task-data", help="The folder of the tasks; by default in your own.")]
Preset = Annotated[str, typer.Option("--preset", help="fast or paper.")]
Changes = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="NAME=VALUE", help="Another value than the preset's: fill_holes=0. Repeatable."),
]
Refine = Annotated[
    str,
    typer.Option("--refine", help="none: the network alone; crf: one graph cut; auto: as the preset says."),
]
Seed = Annotated[int, typer.Option("--seed", min=0, help="Fixes what is random.")]
