"""What tests of the pool share: workers find what their jobs do."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def _factories(monkeypatch):
    """Workers find tests/support/pool_factory.py."""
    path = [str(Path(__file__).parents[2] / "support"), os.environ.get("PYTHONPATH", "")]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, path)))
