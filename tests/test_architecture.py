"""The house holds: what README promises about importing, and that examples in docstrings run."""

import doctest
import importlib
import inspect
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import bifseg

MODULES = [m.name for m in pkgutil.walk_packages(bifseg.__path__, "bifseg.")]


@pytest.mark.parametrize("name", MODULES)
def test_examples_in_docstrings_are_true(name):
    module = importlib.import_module(name)
    if ">>>" in inspect.getsource(module):  # nine of ten have none, and to look for them takes two seconds
        failed, _ = doctest.testmod(module, extraglobs={"np": importlib.import_module("numpy")})
        assert failed == 0
    assert module.__doc__


def test_importing_the_package_waits_for_nothing():
    program = "import sys, bifseg; print([m for m in ('torch', 'scipy', 'SimpleITK', 'numpy') if m in sys.modules])"
    assert subprocess.check_output([sys.executable, "-c", program], text=True).strip() == "[]"


@pytest.mark.server
def test_a_first_mask_waits_for_no_library_that_it_does_not_need(tmp_path):
    from bifseg.io.images import write_image
    from bifseg.training.synthetic.phantom import phantom

    scan, _ = phantom(shape=(32, 32, 16))
    write_image(tmp_path / "scan.nii.gz", scan.array, scan)
    left_out = "scipy.ndimage SimpleITK pydicom PIL matplotlib skimage highdicom fastapi joblib"
    program = "import sys; from bifseg.cli import main; main(sys.argv[2:])\n"
    program += "print([name for name in sys.argv[1].split() if name in sys.modules])"
    arguments = ["segment", str(tmp_path / "scan.nii.gz"), "--box", "8:24,8:24,8", "-o", str(tmp_path / "mask.nii.gz")]
    said = subprocess.check_output([sys.executable, "-c", program, left_out, *arguments], text=True)
    assert said.splitlines()[-1] == "[]"


def test_no_two_test_files_have_one_name():
    """pytest imports them by their names alone, and refuses the second one."""
    names = [path.name for path in Path(__file__).parent.rglob("*.py") if path.name != "conftest.py"]
    assert len(names) == len(set(names))


def test_no_file_is_longer_than_350_lines():
    root, made = Path(__file__).parents[1], {"types.ts"}  # by a generator
    folders = ("src", "tests", "benchmarks", "codegen", "docs", "web/src", "web/test", "web/codegen")
    files = [path for folder in folders for path in (root / folder).rglob("*") if "node_modules" not in path.parts]
    written = [path for path in files if path.suffix in (".py", ".ts", ".css", ".mjs") and path.name not in made]
    ours = [path for path in written if "static" not in path.parts]  # where the page is built
    assert len(ours) > 500
    long = {str(path.relative_to(root)) for path in ours if len(path.read_text(encoding="utf-8").splitlines()) > 350}
    assert long == set()
