"""Results files read and checked: whole runs of one evaluator, each of them once, and what is said about them."""

from __future__ import annotations

import gzip
import json
import math
import re
import zlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from bifseg.errors import InvalidInput, MissingFile
from bifseg.evaluation.protocols import PROTOCOLS

KEY = ("protocol", "dataset", "case", "label", "dimension", "method", "network", "user", "seed")
TEXTS = ("protocol", "dataset", "case", "patient", "label", "method", "user")
WHOLE = ("dimension", "seed", "step", "strokes")
SHARES = ("dice", "nsd")
COSTS = ("seconds", "user_seconds")
FIELDS = (*TEXTS, *WHOLE, *SHARES, *COSTS, "network", "seen")
PACKED = ".gz"
JUDGES = ("evaluator", "users")  # versions that must agree, so that two numbers mean the same


def read_results(paths: Sequence[Path]) -> tuple[list[dict], list[dict]]:
    """The rows of several results files, and what the ``.about.json`` beside each says (where there is one).

    A last line that was not finished is left out, and so is a last run with fewer steps than its like: a benchmark
    that was stopped leaves them. A run that two files tell alike counts once. Raises FileNotFoundError, and
    InvalidInput that names file and line, for a file that is missing, empty, damaged or lacks fields, for runs that are
    told twice and differently, and for files of different evaluators.
    """
    rows: list[dict] = []
    known: dict[tuple, tuple[Path, list[dict]]] = {}
    abouts = []
    for path in paths:
        content = read_rows(path)
        for key, run in _runs(content, path):
            if key not in known:
                known[key] = path, run
                rows += run
            elif _scores(known[key][1]) != _scores(run):
                raise InvalidInput(
                    f"{known[key][0]} and {path} both hold {_words(key)}, with different results; give one of them."
                )
        abouts.append(read_about(path))
    check_judges(abouts, rows)
    return rows, abouts


def read_rows(path: Path) -> list[dict]:
    """The rows of one file in their order, each checked; an unfinished last line is left out."""
    if not path.exists():
        raise MissingFile(f"There is no file {path}; give the results of `bifseg benchmark`.")
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder; give the results of `bifseg benchmark`, a .jsonl file.")
    lines = _content(path).split(b"\n")
    rows = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError:
            if number == len(lines):
                break  # the last line has no end: its writer was stopped
            raise InvalidInput(f"Line {number} of {path} is damaged: it is no JSON.") from None
        if problem := _problem(row):
            raise InvalidInput(f"Line {number} of {path} is no row of results: {problem}.")
        rows.append(row)
    if not rows:
        raise InvalidInput(f"{path} holds no results; let `bifseg benchmark` write some.")
    return rows


def read_about(path: Path) -> dict:
    """What is said about a results file in the file ``.about.json`` beside it; its name only where there is none.

    Of whole paths in the command the last part is kept: where they lay is nobody's business.
    """
    plain = path.with_suffix("") if path.suffix == PACKED else path
    beside = plain.with_suffix(".about.json")
    about: dict[str, Any] = {}
    if beside.exists():
        try:
            content = json.loads(beside.read_bytes())
        except ValueError:
            content = None
        if not isinstance(content, dict):
            raise InvalidInput(f"{beside} is damaged: it is no JSON object.")
        about = content
    if isinstance(about.get("commands"), list):
        about["commands"] = [_without_folders(str(command)) for command in about["commands"]]
    return {"results": plain.name, **about}


def check_judges(abouts: Iterable[Mapping], rows: Iterable[Mapping] = ()) -> None:
    """InvalidInput where the numbers come from different versions of the evaluator or of the simulated users."""
    for judge in JUDGES:
        judges: dict[str, str] = {}
        for about in abouts:
            versions = about.get("versions", {})
            if judge in versions:
                judges.setdefault(str(versions[judge]), about.get("results", "one"))
        for row in rows:
            if judge in row:
                judges.setdefault(str(row[judge]), "a row")
        if len(judges) > 1:
            names = ", ".join(f"{version} ({name})" for version, name in judges.items())
            raise InvalidInput(f"The results are of different versions of the {judge}: {names}; judge all with one.")


def _content(path: Path) -> bytes:
    """What a results file holds, unpacked where its name ends with .gz."""
    content = path.read_bytes()
    if path.suffix != PACKED:
        return content
    try:
        return gzip.decompress(content)
    except (OSError, EOFError, zlib.error):
        raise InvalidInput(f"{path} is damaged: it cannot be unpacked.") from None


def _without_folders(command: str) -> str:
    return re.sub(r"(?<=[\s='\"])[/~][^\s'\"]*/([^\s/'\"]+)", r"\1", command)


def _problem(row: object) -> str:
    """What is wrong with a row; empty where nothing is."""
    if not isinstance(row, dict):
        return "it is no object"
    if missing := [name for name in FIELDS if name not in row]:
        return f"it has no {', '.join(missing)}"
    for name in TEXTS:
        if not isinstance(row[name], str):
            return f"{name} is {row[name]!r}, which must be text"
    for name in WHOLE:
        if not isinstance(row[name], int) or row[name] < 0:
            return f"{name} is {row[name]!r}, which must be a whole number"
    for name in (*SHARES, *COSTS):
        most = 1 if name in SHARES else math.inf
        if not _number(row[name]) or not 0 <= row[name] <= most:
            return f"{name} is {row[name]!r}, which must be a number {'from 0 to 1' if most == 1 else 'not below 0'}"
    if row.get("peak_mib") is not None and not _number(row["peak_mib"]):
        return f"peak_mib is {row['peak_mib']!r}, which must be a number"
    if row["dimension"] not in (2, 3):
        return f"dimension is {row['dimension']}, which must be 2 or 3"
    if row["protocol"] not in PROTOCOLS:
        return f"protocol is {row['protocol']!r}; known are {', '.join(PROTOCOLS)}"
    if not (row["network"] is None or isinstance(row["network"], str)):
        return f"network is {row['network']!r}, which must be text or null"
    if not isinstance(row["seen"], bool):
        return f"seen is {row['seen']!r}, which must be true or false"
    return ""


def _number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _runs(rows: Sequence[dict], path: Path) -> list[tuple[tuple, list[dict]]]:
    """Every run of a file with its rows in the order of steps; InvalidInput where a step is missing or there twice."""
    runs: dict[tuple, list[dict]] = {}
    for row in rows:
        runs.setdefault(tuple(row[name] for name in KEY), []).append(row)
    for key, run in runs.items():
        run.sort(key=lambda row: row["step"])
        if [row["step"] for row in run] != list(range(len(run))):
            raise InvalidInput(f"{path} has a step twice or not at all in {_words(key)}; judge that again.")
    last = tuple(rows[-1][name] for name in KEY)
    alike = [len(run) for key, run in runs.items() if _kind(key) == _kind(last)]
    if len(runs[last]) < max(alike):
        del runs[last]
    return list(runs.items())


def _kind(key: tuple) -> tuple:
    facts = dict(zip(KEY, key, strict=True))
    return tuple(facts[name] for name in ("protocol", "dimension", "method", "network", "user"))


def _scores(run: Sequence[Mapping]) -> list[tuple]:
    return [tuple(row[name] for name in (*SHARES, "strokes")) for row in run]


def _words(key: tuple) -> str:
    facts = dict(zip(KEY, key, strict=True))
    network = f" ({facts['network']})" if facts["network"] else ""
    return (
        f"{facts['method']}{network} on {facts['label']} of {facts['case']} by the user {facts['user']}, "
        f"seed {facts['seed']}, protocol {facts['protocol']}"
    )
