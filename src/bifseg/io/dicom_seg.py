"""What DICOM needs beyond pixels: the headers of a series are kept, so that a mask can become a DICOM-SEG of it."""

from __future__ import annotations

import io
import re
import warnings
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from bifseg.errors import InvalidInput, MissingExtra
from bifseg.imaging.image import Image
from bifseg.io.archive import unzip
from bifseg.io.atomic import write_atomically
from bifseg.io.dicom_file import DicomFile, read_file
from bifseg.io.dicom_headers import packed_headers
from bifseg.io.dicom_series import frame_order, series_files
from bifseg.io.labels import PALETTE, TISSUE, Code, label_of
from bifseg.loading import version

MAY_BE_EMPTY = (
    "PatientID", "PatientName", "PatientBirthDate", "PatientSex", "StudyID", "StudyDate", "StudyTime",
    "AccessionNumber", "ReferringPhysicianName", "PositionReferenceIndicator",
)  # fmt: skip
FORMS = {
    "PatientSex": "[MFO]?",
    "PatientBirthDate": r"(\d{8})?",
    "StudyDate": r"(\d{8})?",
    "StudyTime": r"(\d\d[\d.]*)?",
}


def headers_of(path: str | Path, *, series: str | None = None) -> bytes:
    """The headers of a series' slices, in their order, without the pixels: a zip of DICOM files.

    ``path``: a folder, a zip or one file; ``series``: as in `bifseg.io.images.read_image`. Raises InvalidInput where
    there is no such series, and for headers that are compressed.
    """
    with _files(Path(path), series) as files:
        return packed_headers(Path(path), files)


def warm_up() -> None:
    """Load what writing needs, highdicom and its tables of the standard, which takes half a second; nothing where it
    is not installed."""
    with suppress(MissingExtra):
        from pydicom.dataset import Dataset
        from pydicom.uid import CTImageStorage

        one = Dataset()
        one.SOPClassUID = CTImageStorage
        with suppress(ValueError):  # of a slice there are none; but to know that, it has looked into the tables
            _highdicom()[0].utils.get_plane_positions_of_image(one)


def write_dicom_seg(path: str | Path, labels: np.ndarray, names: Sequence[str], image: Image, headers: bytes) -> None:
    """Write a label map as a DICOM Segmentation object of the series that it was drawn on; atomic.

    ``labels``: integers (x, y, z), k is the k-th of ``names``. ``image``: the scan, read from the series; ``headers``:
    of `headers_of`. Raises InvalidInput where there is nothing in the labels, or they do not fit the series.
    """
    highdicom, codes = _highdicom()
    sources = sources_of(headers, image.spacing[2])
    frames = np.moveaxis(np.asarray(labels), (0, 1, 2), (2, 1, 0))  # DICOM: slices, rows (y), columns (x)
    if len(sources) == 1 and frames.shape[0] == (count := int(sources[0].get("NumberOfFrames") or 1)) > 1:
        order = frames_in_order(headers)  # of one file's frames, which need not be stored as they lie
        frames = frames[np.argsort(order)] if len(order) == count else frames
    slices = int(sources[0].get("NumberOfFrames", 1)) if len(sources) == 1 else len(sources)
    if labels.shape != image.shape or frames.shape != (slices, sources[0].Rows, sources[0].Columns):
        raise InvalidInput(
            f"The labels have the shape {labels.shape}; the series has "
            f"{sources[0].Columns} x {sources[0].Rows} x {slices} voxels."
        )
    numbers = np.unique(frames[frames > 0])
    if not len(numbers) or numbers[-1] > len(names):
        raise InvalidInput("There is nothing to write: the labels are empty, or hold numbers that have no name.")
    algorithm = highdicom.AlgorithmIdentificationSequence(
        name="bifseg", version=version("bifseg"), family=codes.cid7162.ArtificialIntelligence
    )
    described = [_described(highdicom, k, name, algorithm) for k, name in enumerate(names, start=1)]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # values that the standard would not have were the scanner's
            segmentation = highdicom.seg.Segmentation(
                source_images=sources, pixel_array=frames.astype(np.uint8 if len(names) < 256 else np.uint16),
                segmentation_type=highdicom.seg.SegmentationTypeValues.BINARY, segment_descriptions=described,
                series_instance_uid=highdicom.UID(), series_number=int(sources[0].get("SeriesNumber") or 0) + 1000,
                sop_instance_uid=highdicom.UID(), instance_number=1, manufacturer="bifseg",
                manufacturer_model_name="bifseg", software_versions=version("bifseg"), device_serial_number="0",
                content_label="SEGMENTATION", series_description="Segmentation (bifseg)",
            )  # fmt: skip
    except AttributeError as error:
        raise InvalidInput(f"The series cannot carry a segmentation: its headers lack {error.name}.") from None
    except (ValueError, TypeError, KeyError) as error:
        raise InvalidInput(f"The series cannot carry a segmentation: its headers are refused ({error}).") from error
    segmentation.SpecificCharacterSet = "ISO_IR 192"  # UTF-8: an object may be named in any script
    content = io.BytesIO()
    segmentation.save_as(content)
    write_atomically(Path(path), content.getvalue())


def _described(highdicom: Any, number: int, name: str, algorithm: Any) -> Any:
    """A segment, coded as what its name says; tissue where that is no known label."""
    label = label_of(name)
    kind, category = (TISSUE, TISSUE) if label is None else (label.type, label.category)
    colour = PALETTE[(number - 1) % len(PALETTE)] if label is None else label.colour
    described = highdicom.seg.SegmentDescription(
        segment_number=number, segment_label=called(name) or f"object {number}",
        segmented_property_category=_coded(highdicom, category), segmented_property_type=_coded(highdicom, kind),
        algorithm_type=highdicom.seg.SegmentAlgorithmTypeValues.SEMIAUTOMATIC, algorithm_identification=algorithm,
        display_color=highdicom.color.CIELabColor.from_rgb(*bytes.fromhex(colour[1:])),
    )  # fmt: skip
    if label is not None and label.side is not None:
        side = _coded(highdicom, label.side)
        described.SegmentedPropertyTypeCodeSequence[0].SegmentedPropertyTypeModifierCodeSequence = [side]
    return described


def _coded(highdicom: Any, code: Code) -> Any:
    value, meaning = code
    return highdicom.sr.CodedConcept(value=value, scheme_designator="SCT", meaning=meaning)


def called(name: str) -> str:
    """A name as DICOM holds it: 64 characters at most, on one line, and no backslash, which would make two of it."""
    return "".join(c if c.isprintable() else " " for c in name.replace("\\", "/")).strip()[:64].strip()


def sources_of(headers: bytes, thickness: float) -> list[Any]:
    """The headers, as highdicom takes them: all text in Unicode, and no value that the standard does not have."""
    from pydicom import dcmread

    with zipfile.ZipFile(io.BytesIO(headers)) as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        sources = [dcmread(io.BytesIO(archive.read(name)), force=True) for name in sorted(archive.namelist())]
        for source in sources:
            source.decode()  # by the character set that the file names, whatever it is
            source.SpecificCharacterSet = "ISO_IR 192"
            for keyword in MAY_BE_EMPTY:  # but must be there, which those who remove names from files forget
                value = source.get(keyword)
                if value is None or not re.fullmatch(FORMS.get(keyword, ".*"), str(value), re.DOTALL):
                    setattr(source, keyword, "")
            if not source.get("SliceThickness"):
                source.SliceThickness = f"{thickness:.6g}"
    return sources


def frames_in_order(headers: bytes) -> list[int]:
    """The frames of the one file whose header this is, in the order in which they lie."""
    with zipfile.ZipFile(io.BytesIO(headers)) as archive:
        return frame_order(archive.read(archive.namelist()[0]))


@contextmanager
def _files(path: Path, series: str | None) -> Iterator[Sequence[DicomFile]]:
    """The files of a series, in the order of their slices."""
    if path.is_dir():
        yield series_files(path, path, series)
    elif zipfile.is_zipfile(path):
        with TemporaryDirectory() as folder:
            names = unzip(path, Path(folder))
            yield series_files(Path(folder), path, series, names)
    else:
        yield [read_file(path, str(path))]


def _highdicom() -> tuple[Any, Any]:
    try:
        import highdicom
        from pydicom.sr.codedict import codes
    except ImportError:
        raise MissingExtra('DICOM-SEG needs highdicom, which is not installed: pip install "bifseg[dicom]"') from None
    return highdicom, codes
