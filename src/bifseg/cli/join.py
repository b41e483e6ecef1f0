"""``bifseg join``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bifseg.cli.outputs import check_model

MODEL = "A name that `bifseg info` lists, or a .safetensors file: "


def join(
    volume: Annotated[str, typer.Argument(help=MODEL + "a 3D network.")],
    plane: Annotated[str, typer.Argument(help=MODEL + "a 2D network, asked about the slices of a 3D box.")],
    refinement: Annotated[str, typer.Argument(help=MODEL + "a 3D network that hears strokes.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Model file to write: .safetensors.")],
) -> None:
    """Make one 3D network of three: two give the first mask together, the third joins them once there are strokes."""
    check_model(output)
    from bifseg.networks.checkpoint import load_model, save_model
    from bifseg.training.join import join as joined

    models = [load_model(name, dimension) for name, dimension in ((volume, 3), (plane, 2), (refinement, 3))]
    save_model(joined(*models), output, half=True)
    print(f"Wrote {output}.")
