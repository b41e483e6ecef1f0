"""Where a system has no fcntl and no resource, as Windows, everything is imported all the same."""

import subprocess
import sys

PROGRAM = """
import importlib, pkgutil, sys
sys.modules["fcntl"] = sys.modules["resource"] = None  # as if they were not there
import bifseg
names = [found.name for found in pkgutil.walk_packages(bifseg.__path__, "bifseg.")]
names = [name for name in names if not name.endswith("__main__")]
for name in names:
    importlib.import_module(name)
print(len(names))
"""


def test_every_module_is_imported_without_what_only_unix_has():
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", PROGRAM], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert int(done.stdout) > 150
