"""Files that installed packages bring along."""

from importlib.util import find_spec
from pathlib import Path

import pytest


def files(package: str, folder: str, *endings: str) -> list:
    """Those of a package with some endings, or one that says why there are none."""
    found = find_spec(package)
    place = Path(found.origin).parent / folder if found else Path("missing")
    paths = sorted(path for path in place.glob("*") if path.name.lower().endswith(endings))
    if not paths:
        return [pytest.param(None, marks=pytest.mark.skip(f"{package} brings no {folder} along"))]
    return [pytest.param(path, id=path.name) for path in paths]
