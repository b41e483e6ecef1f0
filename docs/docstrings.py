"""Whether public docstrings say what goes in, what comes out, and in which shape: by numpydoc's own validation.

`make lint` runs it: python -m docs.docstrings. Decision 0036 says why.
"""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import pkgutil
import sys
from collections.abc import Iterator

from numpydoc.validate import validate

import bifseg

PACKAGES = ("bifseg.method", "bifseg.session")  # all their names, beside those that `bifseg` exports
CHECKS = (
    "GL01", "GL03", "GL06", "GL07", "GL08",  # a docstring that opens as all do, with the known sections in their order
    "SS01", "SS04", "SS06",  # a summary of one line
    "PR01", "PR02", "PR03", "PR07",  # every parameter, no other, in the signature's order, each with a description
    "RT01", "RT03", "YD01",  # what is returned or yielded
)  # fmt: skip


def main() -> int:
    names = [*dict.fromkeys(public())]
    lines = [line for name in names for line in problems(name)]
    print("\n".join([*lines, f"{len(names)} docstrings, {len(lines)} problems"]))
    return bool(lines)


def public() -> Iterator[str]:
    """Import paths of what users and readers look at: functions, classes, and their own methods and properties."""
    for name in bifseg.__all__:
        yield from _with_members(getattr(bifseg, name))
    for package in map(importlib.import_module, PACKAGES):
        for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            module = importlib.import_module(found.name)
            for name, value in vars(module).items():
                if not name.startswith("_") and getattr(value, "__module__", "") == module.__name__:
                    yield from _with_members(value)


def problems(name: str) -> list[str]:
    """Each as file, line, name, code and sentence."""
    report = validate(name)
    errors = {code: sentence for code, sentence in report["errors"] if code in CHECKS}
    if _explains_fields(name) and "Parameters\n" not in report["docstring"]:
        errors.pop("PR01", None)
    return [f"{report['file']}:{report['file_line']}: {name}: {code} {errors[code]}" for code in errors]


def _explains_fields(name: str) -> bool:
    """Whether it is a dataclass, whose fields are explained where they stand."""
    module, _, attribute = name.rpartition(".")
    return dataclasses.is_dataclass(getattr(sys.modules.get(module), attribute, None))


def _with_members(value: object) -> Iterator[str]:
    if not (inspect.isclass(value) or inspect.isfunction(value)):
        return
    path = f"{value.__module__}.{value.__qualname__}"
    yield path
    if inspect.isclass(value):
        inherited = {name for base in value.__mro__[1:] for name in vars(base)}
        for name, member in vars(value).items():
            kind = inspect.isfunction(member) or isinstance(member, (classmethod, staticmethod, property))
            if kind and not name.startswith("_") and name not in inherited:
                yield f"{path}.{name}"


if __name__ == "__main__":
    sys.exit(main())
