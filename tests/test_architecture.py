"""The house holds: what README promises about importing, and that examples in docstrings run."""

import doctest
import importlib
import pkgutil
import subprocess
import sys

import pytest

import bifseg

MODULES = [m.name for m in pkgutil.walk_packages(bifseg.__path__, "bifseg.")]


@pytest.mark.parametrize("name", MODULES)
def test_examples_in_docstrings_are_true(name):
    module = importlib.import_module(name)
    failed, _ = doctest.testmod(module, extraglobs={"np": importlib.import_module("numpy")})
    assert failed == 0
    assert module.__doc__


def test_importing_the_package_waits_for_nothing():
    program = "import sys, bifseg; print([m for m in ('torch', 'scipy', 'SimpleITK', 'numpy') if m in sys.modules])"
    assert subprocess.check_output([sys.executable, "-c", program], text=True).strip() == "[]"
