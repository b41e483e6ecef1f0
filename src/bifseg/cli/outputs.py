"""Whether results may be written where a user wants them: asked before anything is computed."""

from __future__ import annotations

import os
from pathlib import Path

from bifseg.errors import InvalidInput


def check_folder(folder: Path) -> None:
    """Refuse a folder in which, or a path at which, nothing can be made."""
    nearest = next(parent for parent in (folder.absolute(), *folder.absolute().parents) if parent.exists())
    if not nearest.is_dir():
        raise NotADirectoryError(f"Cannot write to {folder}: {nearest} is a file.")
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise PermissionError(f"Cannot write to {folder}: the folder {nearest} is not writable.")


def check_model(path: Path) -> None:
    """Refuse a path at which no model can be written, or none may: those that ship stay as they are."""
    from bifseg.networks.checkpoint import SHIPPED

    if path.suffix != ".safetensors":
        raise InvalidInput(f"Cannot write {path}: the suffix of a model must be .safetensors.")
    if path.resolve().parent == SHIPPED.resolve():
        raise InvalidInput(f"Cannot write {path}: the models that ship with bifseg stay as they are.")
    if path.is_dir():
        raise IsADirectoryError(f"Cannot write {path}: it is a folder.")
    check_folder(path.parent)
