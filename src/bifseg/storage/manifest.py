"""What an exported session says of itself: written from a store, and read back without trusting a word of it."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

from bifseg.errors import InvalidInput
from bifseg.method.parameters import RULES, Parameters
from bifseg.storage.journal import KINDS, STATELESS, Entry, History, blobs_of
from bifseg.storage.rows import further
from bifseg.storage.store import Store
from bifseg.storage.told import DEEPEST, depth, parts

FORMAT, VERSION = "bifseg-session", 1
DEFAULTS = Parameters().as_dict()
GEOMETRY = ("shape", "dtype", "spacing", "origin", "direction", "planar")
REQUEST, SUMMARY, SOURCE = 160_000, 10_000, 1_000  # parts that each may have: the first as many as one may draw
FURTHER = {"calibrated", "source", "colours"}  # that are there where they are not what 0.1 took for granted


@dataclass(frozen=True)
class Manifest:
    """A session, its image and its journal, with names for what is kept beside them: ``image``, ``dicom``, ``blobs``.

    ``options``: how the session was begun, as `Store.create` takes it. ``geometry``: of the image, as in `ImageRow`.
    """

    options: Mapping
    geometry: Mapping
    image: str
    dicom: str | None
    entries: tuple[Entry, ...]
    blobs: frozenset[str]

    @property
    def segments(self) -> dict[str, list[tuple]]:
        """All that the journal says of each stored segment: (name, box, voxels, part of what, task, version, rules)."""
        claims: dict[str, list[tuple]] = {}
        for entry in self.entries:
            for name, about in (entry.state or {"objects": {}})["objects"].items():
                prior = about.get("prior", {})
                facts = (
                    name, about["box"], about["voxels"], about.get("part_of", ""), prior.get("task"),
                    prior.get("version"), about.get("tidy"),
                )  # fmt: skip
                claims.setdefault(about["segment"], []).append(facts)
        return claims

    @property
    def priors(self) -> dict[str, Mapping]:
        """What the journal says of stored classifiers that tasks had learnt."""
        told = [entry.request.get("prior") for entry in self.entries]
        return {prior["blob"]: prior for prior in told if isinstance(prior, dict) and "blob" in prior}


def write(store: Store, id: str) -> tuple[bytes, list[str]]:
    """A session's manifest as JSON, and the blobs that belong to it. Its owner is not named, nor are clients' keys."""
    row, entries = store.session(id), store.entries(id)
    image = store.image_row(row.image)
    blobs = [ref["blob"] for ref in store.read("SELECT blob FROM refs WHERE session = ? ORDER BY blob", (id,))]
    model = PurePath(row.model).stem if row.model.endswith(".safetensors") else row.model
    content = {
        "format": FORMAT,
        "version": VERSION,
        "session": {
            "title": row.title, "model": model, "parameters": row.parameters, "seed": row.seed, "client": row.client,
        },
        "image": {
            "blob": image.blob, "dicom": image.dicom, **{name: getattr(image, name) for name in GEOMETRY},
            **further(image.planar, image.calibrated, image.source, image.colours),
        },
        "entries": [{name: value for name, value in vars(entry).items() if name != "key"} for entry in entries],
        "blobs": blobs,
    }  # fmt: skip
    return json.dumps(content).encode(), list(dict.fromkeys(filter(None, (image.blob, image.dicom, *blobs))))


def read(content: bytes) -> Manifest:
    """The manifest in these bytes; InvalidInput, a sentence, for one that no store can have written."""
    try:
        document = json.loads(content, parse_constant=_number, parse_float=_number)
    except (ValueError, RecursionError):
        raise InvalidInput("its manifest.json is no JSON") from None
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise InvalidInput(f"its format is not {FORMAT}")
    if document.get("version") != VERSION:
        raise InvalidInput(f"its version is {document.get('version')!r:.20}; this bifseg reads version {VERSION}")
    try:
        session, image = document["session"], document["image"]
        source = image.get("source", {})
        if depth(source) > DEEPEST or parts(source, SOURCE) > SOURCE:
            raise InvalidInput("its image tells more of its file than a header can")
        blobs = frozenset(map(_sha, document["blobs"]))
        manifest = Manifest(
            _options(session), {name: image[name] for name in GEOMETRY + tuple(FURTHER & image.keys())},
            _sha(image["blob"]),
            None if image["dicom"] is None else _sha(image["dicom"]),
            tuple(_entry(number, entry, blobs) for number, entry in enumerate(document["entries"], start=1)), blobs,
        )  # fmt: skip
        History().after((entry.number, entry.kind, entry.state) for entry in manifest.entries)
    except (KeyError, TypeError, AttributeError, OverflowError) as error:
        raise InvalidInput(f"its manifest.json is of another form: {str(error)[:80]}") from None
    return manifest


def _options(session: Mapping) -> dict:
    options = {name: str(session[name])[:200] for name in ("title", "client")}
    model, seed, parameters = session["model"], session["seed"], session["parameters"]
    # a name, never a path: it would have the server look for a file of its own
    if not re.fullmatch(r"[\w.+ -]{1,100}", model) or model.endswith(".safetensors"):
        raise InvalidInput(f"its model {model[:100]!r} is no name")
    if type(seed) is not int or not 0 <= seed < 1 << 63:
        raise InvalidInput(f"its seed is {str(seed)[:40]}; it must be a whole number from 0 on")
    if isinstance(parameters, dict):
        kinds: dict[str, tuple[type, ...]] = {
            name: (int, float) if type(value) is float else (type(value),) for name, value in DEFAULTS.items()
        }
        kinds |= {"preset": (str,), "neighbours": (int,)}  # the latter of older versions
        for name, value in parameters.items():
            if type(value) not in kinds.get(name, ()):
                raise InvalidInput(f"its parameter {name[:40]!r} is {str(value)[:40]}")
        if "preset" not in parameters:
            parameters = Parameters.stored(parameters).as_dict()
    elif not isinstance(parameters, str):
        raise InvalidInput("it has no parameters")
    return {**options, "model": model, "seed": seed, "parameters": parameters}


def _entry(number: int, entry: Mapping, blobs: frozenset[str]) -> Entry:
    kind, request, state = entry["kind"], entry["request"], entry["state"]
    if entry["number"] != number or kind not in KINDS or (state is None) != (kind in STATELESS):
        raise InvalidInput(f"its journal has no entry {number}, or not of a kind that there is")
    if max(depth(request), depth(entry["summary"])) > DEEPEST:
        raise InvalidInput(f"its entry {number} is nested too deeply")
    if parts(request, REQUEST) > REQUEST or parts(entry["summary"], SUMMARY) > SUMMARY:
        raise InvalidInput(f"its entry {number} tells more than an interaction can")
    if not isinstance(request, dict) or not blobs.issuperset(blobs_of(request)):
        raise InvalidInput(f"its entry {number} refers to what is not in it")
    return Entry(number, kind, request, _state(number, state, blobs), _summary(entry["summary"]), None, _time(entry))


def _state(number: int, state: Mapping | None, blobs: frozenset[str]) -> dict | None:
    if state is None:
        return None
    objects = {}
    for name, about in state["objects"].items():
        objects[name] = {"segment": about["segment"], "box": str(about["box"]), "voxels": about["voxels"]}
        if "part_of" in about:
            objects[name]["part_of"] = about["part_of"]
        if "prior" in about:
            objects[name]["prior"] = {"task": str(about["prior"]["task"]), "version": int(about["prior"]["version"])}
        if "tidy" in about:
            objects[name]["tidy"] = {rule: float(about["tidy"][rule]) for rule in RULES}
    wholes = [name for name, about in objects.items() if "part_of" not in about]
    if any("part_of" in about and about["part_of"] not in wholes for about in objects.values()):
        raise InvalidInput(f"in its entry {number} a part belongs to none of the objects")
    if not blobs.issuperset(about["segment"] for about in objects.values()):
        raise InvalidInput(f"its entry {number} refers to what is not in it")
    if state["current"] not in (None, *objects):
        raise InvalidInput(f"in its entry {number} the current object is none of the objects")
    return {"objects": objects, "current": state["current"]}


def _summary(stored: Mapping) -> dict:
    """What an interaction cost: those parts of it that there are, and nothing else."""
    summary: dict[str, Any] = {}
    if "seconds" in stored:
        summary["seconds"] = float(stored["seconds"])
    if "milliseconds" in stored:
        summary["milliseconds"] = {stage: float(ms) for stage, ms in stored["milliseconds"].items()}
    if "rounds" in stored:
        summary["rounds"] = [dict(record) for record in stored["rounds"]]
    return summary


def _time(entry: Mapping) -> float:
    return float(entry["created"])


def _sha(text: str) -> str:
    if not re.fullmatch("[0-9a-f]{64}", text):
        raise InvalidInput("it names a content otherwise than by a SHA-256")
    return text


def _number(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise InvalidInput(text)
    return number
