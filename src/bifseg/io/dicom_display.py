"""How a DICOM series wants to be seen: its window, whether bright is dark, and what its numbers are called."""

from __future__ import annotations

import hashlib
import io
import math
import re
import warnings
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import numpy as np

from bifseg.io.dicom_file import DAMAGE

FUNCTIONS = ("LINEAR", "LINEAR_EXACT", "SIGMOID")
UNITS = {"BQML": "Bq/ml", "GML": "SUV", "CNTS": "counts", "PROPCNTS": "counts", "HU": "HU", "OD": "OD", "US": None}
Shown = tuple[float, float, str, tuple[int, ...] | None]  # black, white, function, table
PHILIPS_SUV = (0x7053, 0x1000)  # from counts to SUV, where the scanner is a Philips


@dataclass(frozen=True)
class Display:
    """What a series' headers say of how it is looked at; what they do not tell is None.

    Parameters
    ----------
    low, high
        The values, as they are in the image, that are black and white.
    function
        How grey runs between them: LINEAR, SIGMOID or, as ``table`` says, TABLE.
    table
        Grey levels, 0 to 255, of the whole numbers from ``low`` to ``high``; the first and the last go on beyond.
    inverted
        Whether large values are dark.
    unit
        Of the values.
    suv
        By what a value is multiplied to become a standardized uptake value by body weight, in g/ml.
    suv_missing
        Why there is no ``suv``, in a PET series.
    modality, description
        Of the series.

    Examples
    --------
    >>> Display().window is None
    True
    """

    low: float | None = None
    high: float | None = None
    function: str = "LINEAR"
    table: tuple[int, ...] | None = None
    inverted: bool = False
    unit: str | None = None
    suv: float | None = None
    suv_missing: str | None = None
    modality: str | None = None
    description: str | None = None

    @property
    def window(self) -> tuple[float, float] | None:
        """Black and white, where the headers name them."""
        return None if self.low is None or self.high is None else (self.low, self.high)


def display_of(headers: bytes) -> Display:
    """How a series wants to be seen.

    Parameters
    ----------
    headers
        Of its slices, as of `bifseg.io.dicom_seg.headers_of`. Its middle slice speaks for all; in PET, where many
        scanners give each slice a window of its own, only what the first and the last say, too.

    Returns
    -------
    Display
        Nothing is raised: what is damaged counts as what is missing.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            first, header, last = _three(headers)
        except DAMAGE:
            return Display()
        modality = _or_none(lambda: str(header.get("Modality") or "") or None)
        window = _or_none(lambda: _finite(_window(header)))
        if modality == "PT" and any(_or_none(partial(_window, one)) != window for one in (first, last)):
            window = None
        suv, missing = _suv_of(first, header, last) if modality == "PT" else (None, None)
        low, high, function, table = window or (None, None, "LINEAR", None)
        return Display(
            low, high, function, table, inverted=bool(_or_none(lambda: _inverted(header))),
            unit=_or_none(lambda: _unit(header, modality)), suv=suv, suv_missing=missing, modality=modality,
            description=_or_none(lambda: _line(header.get("SeriesDescription"))),
        )  # fmt: skip


def patient_of(headers: bytes) -> str | None:
    """Whose a series is, as something that tells patients apart and names nobody.

    Parameters
    ----------
    headers
        As of `display_of`.

    Returns
    -------
    str or None
        A hash of the patient's ID; None where the headers tell none.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        id = _or_none(lambda: str(_three(headers)[1].get("PatientID") or "").strip())
    return hashlib.sha256(id.encode()).hexdigest()[:16] if id else None


def _three(headers: bytes) -> tuple[Any, Any, Any]:
    """The first, the middle and the last header."""
    from pydicom import dcmread

    with zipfile.ZipFile(io.BytesIO(headers)) as archive:
        names = sorted(archive.namelist())
        read = {name: dcmread(io.BytesIO(archive.read(name)), force=True)
                for name in {names[0], names[len(names) // 2], names[-1]}}  # fmt: skip
        return read[names[0]], read[names[len(names) // 2]], read[names[-1]]


def _finite(window: Shown | None) -> Shown | None:
    return window if window is not None and all(map(math.isfinite, window[:2])) else None


def _or_none(read: Callable[[], Any]) -> Any:
    try:
        return read()
    except DAMAGE:
        return None


def _line(text: object) -> str | None:
    return " ".join("".join(c if c.isprintable() else " " for c in str(text or "")).split())[:64] or None


# ---- grey levels


def _window(header: Any) -> Shown | None:
    """Black, white and the function of the first window that can be, DICOM PS3.3 C.11.2.1.2; else those of a table."""
    source = next((s for s in _sources(header, "FrameVOILUTSequence") if s.get("WindowCenter") is not None), None)
    return (source is not None and _straight(source)) or _listed(header)


def _listed(header: Any) -> Shown | None:
    """The first table, C.11.2.1.1: its descriptor tells how many numbers it has, of which value the first is, and how
    many bits are theirs."""
    source = next((s for s in _sources(header, "FrameVOILUTSequence") if s.get("VOILUTSequence")), None)
    if source is None:
        return None
    item = source.VOILUTSequence[0]
    count, first, bits = (int(number) for number in item.LUTDescriptor)
    count = count or 1 << 16
    if first >= 1 << 15 and (header.get("PixelRepresentation") == 1 or float(header.get("RescaleIntercept") or 0) < 0):
        first -= 1 << 16  # a number with a sign, in a file that does not say so
    data = item.LUTData
    if isinstance(data, bytes):
        data = np.frombuffer(data, "u1" if len(data) < 2 * count else "<u2")
    grey = np.asarray(data, float)[:count] * 255 / ((1 << bits) - 1)
    if not 1 <= bits <= 16 or len(grey) != count or grey.max() > 255 or grey.min() == grey.max():
        return None
    return float(first), float(first + count - 1), "TABLE", tuple(np.rint(grey).astype(int).tolist())


def _straight(source: Any) -> Shown | None:
    function = str(source.get("VOILUTFunction") or "LINEAR").upper()
    function = function if function in FUNCTIONS else "LINEAR"
    for centre, width in zip(_numbers(source.WindowCenter), _numbers(source.get("WindowWidth")), strict=False):
        if not (math.isfinite(centre) and math.isfinite(width)):
            continue
        if function == "LINEAR" and width > 1:
            return centre - 0.5 - (width - 1) / 2, centre - 0.5 + (width - 1) / 2, "LINEAR", None
        if function != "LINEAR" and width > 0:
            return centre - width / 2, centre + width / 2, "SIGMOID" if function == "SIGMOID" else "LINEAR", None
    return None


def _sources(header: Any, sequence: str) -> Iterator[Any]:
    """What may hold an element: a middle frame's group, the shared one, the header itself."""
    frames = header.get("PerFrameFunctionalGroupsSequence") or []
    groups = [*frames[len(frames) // 2 :][:1], *(header.get("SharedFunctionalGroupsSequence") or [])[:1]]
    for group in groups:
        yield from (group.get(sequence) or [])[:1]
    yield header


def _numbers(value: Any) -> list[float]:
    values = value if isinstance(value, (list, tuple)) or hasattr(value, "append") else [value]
    return [float(one) for one in values if one not in (None, "")]


def _inverted(header: Any) -> bool:
    """A modality whose bright is dark by custom, or an image that says so."""
    shape = str(header.get("PresentationLUTShape") or "")
    return header.get("PhotometricInterpretation") == "MONOCHROME1" or shape == "INVERSE" or _is_pet(header)


def _is_pet(header: Any) -> bool:
    return header.get("Modality") == "PT"


def _unit(header: Any, modality: str | None) -> str | None:
    if modality == "PT":
        return UNITS.get(str(header.get("Units") or "").upper())
    kind = str(header.get("RescaleType") or "").upper()
    return UNITS.get(kind, "HU" if modality == "CT" and not kind else None)


# ---- uptake


def _suv_of(first: Any, header: Any, last: Any) -> tuple[float | None, str | None]:
    try:
        return _suv(first, header, last)
    except DAMAGE:
        return None, "the headers hold values that are none"


def _suv(first: Any, header: Any, last: Any) -> tuple[float | None, str | None]:
    """The factor to SUV by body weight, or what the headers lack for it; as QIBA's FDG-PET profile computes it."""
    units = str(header.get("Units") or "").upper()
    if units == "GML":
        return 1.0, None
    if units == "CNTS":
        factor = header.get(PHILIPS_SUV)
        number = float(factor.value) if factor is not None and factor.VR == "DS" else 0.0
        return (number, None) if number > 0 else (None, "the values are counts")
    if units != "BQML":
        return None, "the headers name no unit" if not units else f"the unit is {_line(units)}"
    tracer = (header.get("RadiopharmaceuticalInformationSequence") or [{}])[0]
    weight = float(header.get("PatientWeight") or 0)
    dose = float(tracer.get("RadionuclideTotalDose") or 0)
    if weight <= 0:
        return None, "the headers have no body weight"
    if dose <= 0:
        return None, "the headers have no dose"
    correction = str(header.get("DecayCorrection") or "").upper()
    if correction == "ADMIN":
        return 1000 * weight / dose, None
    if correction != "START":
        return None, "the headers do not say to which time the decay was corrected"
    life = float(tracer.get("RadionuclideHalfLife") or 0)
    injected, scanned = _injection(tracer, header), _scan(first, header, last)
    if life <= 0:
        return None, "the headers have no half-life"
    if injected is None or scanned is None:
        return None, "the headers lack the time of injection or of the scan"
    if injected > scanned and scanned + timedelta(days=1) > injected:
        injected -= timedelta(days=1)  # before midnight
    waited = (scanned - injected).total_seconds()
    if not 0 <= waited < 86_400:
        return None, "the times of injection and scan do not fit each other"
    return 1000 * weight / (dose * 0.5 ** (waited / life)), None


def _injection(tracer: Mapping[str, Any], header: Any) -> datetime | None:
    whole = _time(str(tracer.get("RadiopharmaceuticalStartDateTime") or "")[:14])
    day = str(header.get("SeriesDate") or header.get("StudyDate") or "")
    return whole or _time(day + str(tracer.get("RadiopharmaceuticalStartTime") or ""))


def _scan(first: Any, header: Any, last: Any) -> datetime | None:
    """When the scan began: the series' time, unless it was made anew after the earliest slice was taken."""
    series = _time(str(header.get("SeriesDate") or "") + str(header.get("SeriesTime") or ""))
    taken = [_time(str(h.get("AcquisitionDate") or h.get("SeriesDate") or "") + str(h.get("AcquisitionTime") or ""))
             for h in (first, header, last)]  # fmt: skip
    return min((time for time in (series, *taken) if time is not None), default=None)


def _time(text: str) -> datetime | None:
    digits = re.sub(r"[^0-9.]", "", text).partition(".")[0]
    try:
        return datetime.strptime(digits.ljust(14, "0")[:14], "%Y%m%d%H%M%S") if len(digits) >= 10 else None
    except ValueError:
        return None
