"""What a task learns in a second: the classifier alone, from few pixels."""

import pytest

from bifseg.tasks import fitting


def quicken(patched: pytest.MonkeyPatch) -> None:
    """Have tasks learn so while this is patched; tests/tasks has the trunk learn, too."""
    patched.setattr(fitting, "ROWS", 4000)
    patched.setattr(fitting, "sees_the_image_alone", lambda network: False)
