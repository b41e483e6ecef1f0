"""SimpleITK, imported when it is first needed, for that takes a second."""

from __future__ import annotations

from typing import Any


def sitk() -> Any:
    import SimpleITK  # here, for it takes a second

    SimpleITK.ProcessObject.SetGlobalWarningDisplay(False)
    return SimpleITK
