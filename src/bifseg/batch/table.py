"""The table of a batch: a row for each object, from a CSV file or a JSON list."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from bifseg.errors import DamagedFile, InvalidInput, MissingFile
from bifseg.io.formats import ending_of, read_endings

COLUMNS = {
    "image": "the scan, a file or a folder of DICOM slices; the only column there must be",
    "box": "voxel ranges x,y,z as in `bifseg segment`: 40:80,52:90,12",
    "mask": "a mask on the voxels of the scan, to start from; without a box, its extent grown by the margin",
    "previous": "a mask of an earlier scan: the box is the same place, grown by the margin",
    "label": "of several labels in mask or previous, the object's",
    "name": "of the object and its files; by default the scan's",
    "model": "another one than the command's",
    "task": "of `bifseg tasks`: begin with what it has learnt, in place of a model",
    "series": "of several DICOM series in a folder or zip: its UID, number or description",
}
LONGEST = 120  # characters of a name, which becomes a file's


@dataclass(frozen=True)
class Row:
    """One object to segment: texts as the table has them, empty where it has none.

    ``number``: as people count rows, without the one of the names. ``name``: of its files, unlike any other's.
    ``problem``: why it cannot be worked on, if it is the table that is wrong.
    """

    number: int
    name: str
    image: str = ""
    box: str = ""
    mask: str = ""
    previous: str = ""
    label: str = ""
    model: str = ""
    task: str = ""
    series: str = ""
    problem: str = ""


def read_table(path: Path) -> list[Row]:
    """The rows of a table; paths in it are relative to its folder.

    A row that cannot be worked on is among them and says why. Raises MissingFile, DamagedFile for what is no table,
    and InvalidInput for one without rows, without a column ``image``, or with a column that nobody knows.
    """
    if not path.is_file():
        raise MissingFile(f"There is no table {path}.")
    try:
        text = path.read_text("utf-8-sig")
    except UnicodeDecodeError:
        raise DamagedFile(path, "is no text in UTF-8; save it as CSV in UTF-8, or as JSON.") from None
    entries = list(_of_json(path, text) if path.suffix.lower() == ".json" else _of_csv(path, text))
    if not entries:
        raise InvalidInput(f"The table {path} has no rows.")
    known = ", ".join(COLUMNS)
    for name in dict.fromkeys(key for fields, _ in entries for key in fields):
        if name not in COLUMNS:
            raise InvalidInput(f"The table {path} has a column {name!r}; known are {known}.")
    if not any("image" in fields for fields, _ in entries):
        raise InvalidInput(f"The table {path} has no column image; known are {known}.")
    return list(_rows(entries, path.parent))


def _of_csv(path: Path, text: str) -> Iterator[tuple[dict[str, str], str]]:
    """The fields of each row, and what is wrong with it; separated by commas, semicolons or tabs."""
    head = text.partition("\n")[0]
    separator = next((mark for mark in "\t;" if mark in head), ",")
    lines = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    try:
        names = [name.strip() for name in next(lines, [])]
        if twice := [name for name in names if names.count(name) > 1]:
            raise InvalidInput(f"The table {path} has the column {twice[0]!r} twice.")
        for values in lines:
            if any(values):
                much = len(values) > len(names)
                problem = f"it has {len(values)} values for {len(names)} columns; put a box in quotes" if much else ""
                yield dict(zip(names, (value.strip() for value in values), strict=False)), problem
    except csv.Error as error:
        raise DamagedFile(path, f"is no CSV, in line {lines.line_num}: {error}.") from None


def _of_json(path: Path, text: str) -> Iterator[tuple[dict[str, str], str]]:
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DamagedFile(path, f"is not JSON, or damaged: {error}.") from None
    if not isinstance(content, list) or not all(isinstance(row, dict) for row in content):
        raise DamagedFile(path, 'is malformed: it must be a list of rows, [{"image": ...}, ...].')
    for row in content:
        strange = [name for name, value in row.items() if isinstance(value, (bool, list, dict))]
        problem = f"its {strange[0]} is {row[strange[0]]!r}; give a text or a number" if strange else ""
        yield {name: "" if value is None else str(value).strip() for name, value in row.items()}, problem


def _rows(entries: Iterable[tuple[dict[str, str], str]], folder: Path) -> Iterator[Row]:
    taken: dict[str, int] = {}  # rows by their names as a disk may see them
    for number, (fields, problem) in enumerate(entries, 1):
        wanted = fields.pop("name", "")
        name, wrong = _named(wanted or _stem(fields.get("image", "")), taken, number, chosen=bool(wanted))
        taken[name.casefold()] = number
        for column in ("image", "mask", "previous"):
            if fields.get(column):
                fields[column] = str(folder / fields[column])
        model = fields.get("model", "")
        if model.endswith(".safetensors"):
            fields["model"] = str(folder / model)
        yield Row(number, name, problem=problem or wrong or _missing(fields), **fields)


def _named(name: str, taken: dict[str, int], number: int, *, chosen: bool) -> tuple[str, str]:
    """A row's name, unlike those before, and what is wrong with the one it has."""
    plain = re.sub(r"[^\w.+=@ -]", "_", name)[:LONGEST].strip(" .") or "row"
    problem = ""
    if chosen and plain != name:
        problem = f"its name is {name!r}; a name is at most {LONGEST} letters, digits, blanks and . _ + = @ -"
    elif chosen and name.casefold() in taken:
        problem = f"its name {name!r} is that of row {taken[name.casefold()]}"
    unique, k = plain, 2
    while unique.casefold() in taken:
        unique, k = f"{plain}-{k}", k + 1
    return unique, problem


def _missing(fields: dict[str, str]) -> str:
    if not fields.get("image"):
        return "it names no image"
    if not any(fields.get(column) for column in ("box", "mask", "previous")):
        return "it does not say where the object is; give a box, a mask, or a mask of a previous scan"
    if fields.get("previous") and (fields.get("box") or fields.get("mask")):
        return "it has a mask of a previous scan beside a box or a mask; give the one or the others"
    if fields.get("task") and fields.get("model"):
        return "it has a task beside a model; give one of the two"
    if fields.get("label") and not (fields.get("mask") or fields.get("previous")):
        return "its label chooses one of those in a mask, and there is none"
    if fields.get("label") and not re.fullmatch(r"[1-9]\d{0,8}", fields["label"]):
        return f"its label is {fields['label']!r}; give a whole number from 1 on"
    return ""


def _stem(image: str) -> str:
    name = Path(image).name
    return name[: -len(ending_of(name, read_endings()) or "") or None]
