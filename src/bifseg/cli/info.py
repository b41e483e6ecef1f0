"""``bifseg info``."""

from __future__ import annotations

import json
from typing import Annotated

import typer


def info(
    model: Annotated[str, typer.Argument(help="A model, by name or .safetensors file: print its card.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print it as JSON.")] = False,
) -> None:
    """Say what is installed: versions, device, threads, models, licences. Of a model: what it learnt from, and how."""
    import platform
    from importlib.metadata import metadata, version

    import torch

    from bifseg.networks.checkpoint import SHIPPED, load_model, shipped

    if model:
        found = load_model(model)
        about = {name: getattr(found, name) for name in ("name", "architecture", "settings", "size", "tuned", "sha256")}
        about["parameters"] = sum(p.numel() for p in found.network.parameters())
        for key, value in () if as_json else (about | found.card).items():
            print(f"{key:<15}{value if isinstance(value, str | int | float) else json.dumps(value)}")
        if as_json:
            print(json.dumps(about | {"card": found.card}, indent=2))
        return
    facts = {
        "bifseg": version("bifseg"),
        "licence": metadata("bifseg").json.get("license_expression", "unknown"),
        "python": platform.python_version(),
        **{name: version(name) for name in ("torch", "numpy", "scipy", "SimpleITK", "safetensors")},
        "device": f"CPU ({platform.machine()}); no GPU is needed",
        "threads": torch.get_num_threads(),
    }
    models = [
        {
            "model": model.name,
            "dimension": model.dimension,
            "megabytes": round((SHIPPED / f"{model.name}.safetensors").stat().st_size / 1e6, 1),
            "sha256": model.sha256,
            "licence": model.card.get("licence", "unknown"),
            "data": model.card.get("data", "unknown"),
        }
        for model in map(load_model, shipped())
    ]
    if as_json:
        print(json.dumps(facts | {"models": models}, indent=2))
        return
    for about in (facts, *(model | {"sha256": model["sha256"][:12]} for model in models)):
        print(*(f"{key:<12}{value}" for key, value in about.items()), "", sep="\n")
