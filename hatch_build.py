"""What packages need besides Python's files: the page, built of web/ where it is not there yet."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class BuildHook(BuildHookInterface):
    """Builds the page for wheel and sdist; an editable installation is a developer's, who types ``make page``."""

    def initialize(self, version: str, build_data: dict) -> None:
        web = Path(self.root, "web")
        page = Path(self.root, "src", "bifseg", "server", "static", "index.html")
        if version == "editable" or page.is_file():
            return
        npm = shutil.which("npm")
        if npm is None or not web.is_dir():
            missing = "npm" if npm is None else "the folder web/"
            print(f"bifseg: {missing} is not here, so the package goes without the page.", file=sys.stderr)
            return
        try:
            for words in (["ci"], ["run", "build"]):
                subprocess.run([npm, "--prefix", str(web), *words], check=True, stdout=sys.stderr)
        except (OSError, subprocess.CalledProcessError) as error:  # no network, an old Node.js: all else works
            shutil.rmtree(page.parent, ignore_errors=True)
            print(f"bifseg: the page was not built ({error}), so the package goes without it.", file=sys.stderr)
