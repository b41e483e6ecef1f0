"""bifseg: a box and scribbles on a medical image become a mask, by image-specific fine-tuning.

>>> import bifseg
>>> session = bifseg.Session(bifseg.read_image("scan.nii.gz"))  # doctest: +SKIP
>>> mask = session.box(((40, 80), (52, 90), 12))                # doctest: +SKIP
"""

from __future__ import annotations

from importlib import import_module

from bifseg.loading import loading

_HOMES = {
    "Box": "prompts.interaction",
    "Image": "imaging.image",
    "Parameters": "method.parameters",
    "Session": "session.session",
    "Stroke": "prompts.interaction",
    "load_model": "networks.checkpoint",
    "read_image": "io.images",
    "write_image": "io.images",
}

__all__ = sorted(_HOMES)
__version__ = "0.1.0"


def __getattr__(name: str) -> object:
    """Load a public name when it is first used, so that ``import bifseg`` does not wait for torch."""
    if name not in _HOMES:
        raise AttributeError(f"module 'bifseg' has no attribute {name!r}")
    with loading():
        value = getattr(import_module(f"bifseg.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
