"""The data sets that commands learn from and judge on, and how their classes are written on the command line."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from bifseg.errors import InvalidInput

if TYPE_CHECKING:
    from bifseg.io.datasets import Dataset


def names_of(text: str) -> list[str]:
    """Names separated by commas."""
    return [name.strip() for name in text.split(",") if name.strip()]


def region_of(text: str) -> tuple[str, tuple[int, ...]]:
    """A class made of several label values, ``NAME=1,3,4``; InvalidInput for another form."""
    match = re.fullmatch(r"([^=]+)=(\d+(?:,\d+)*)", text)
    if not match:
        raise InvalidInput(f"--region is {text!r}; it must be a name and label values: core=1,3,4.")
    return match[1].strip(), tuple(int(value) for value in match[2].split(","))


def open_datasets(paths: Iterable[Path], channel: int, regions: Iterable[str], names: Iterable[str]) -> list[Dataset]:
    """Data sets with the regions among their classes; InvalidInput for one of ``names`` that none of them has.

    Patients who share a scan are made one, which is said on stderr.
    """
    from dataclasses import replace

    from bifseg.io.datasets import one_patient_per_scan, open_dataset

    made, sets = dict(map(region_of, regions)), []
    for path in paths:
        found, said = one_patient_per_scan(open_dataset(path, channel))
        sets.append(found)
        for sentence in said:
            print("bifseg:", sentence, file=sys.stderr)
    if made:
        sets = [replace(one, labels={**one.labels, **made}) for one in sets]
    for name in names:
        if not any(name in one.labels for one in sets):
            known = dict.fromkeys(label for one in sets for label in one.labels)
            raise InvalidInput(f"No data set has a class {name!r}; there is {', '.join(known) or 'none'}.")
    return sets
