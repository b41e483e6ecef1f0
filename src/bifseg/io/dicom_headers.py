"""The headers of a DICOM series as they are kept beside its voxels: whole files without their pixels, in a zip."""

from __future__ import annotations

import io
import warnings
import zipfile
from collections.abc import Sequence
from pathlib import Path

from bifseg.errors import DamagedFile
from bifseg.io.dicom_file import DAMAGE, DicomFile
from bifseg.io.untrusted import mapped


def packed_headers(path: Path, files: Sequence[DicomFile]) -> bytes:
    """The headers of a series' files, in their order, as a zip of DICOM files; errors speak of ``path``."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for number, file in enumerate(files):
            archive.writestr(zipfile.ZipInfo(f"{number:05}.dcm"), _header(path, file), zipfile.ZIP_DEFLATED)
    return content.getvalue()


def _header(path: Path, file: DicomFile) -> bytes:
    """A DICOM file without its pixels, with the preamble and the meta information that some lack."""
    from pydicom import dcmread
    from pydicom.dataset import FileMetaDataset
    from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

    with mapped(file.path) as data, warnings.catch_warnings():
        if data[128:132] == b"DICM" and file.header.file_meta.get("TransferSyntaxUID"):
            return data[: file.end]
        warnings.simplefilter("ignore")
        try:
            header = dcmread(data, stop_before_pixels=True, force=True)
            if not header.get("SOPClassUID"):
                raise EOFError
            implicit, little = header.original_encoding
            meta = header.file_meta = getattr(header, "file_meta", None) or FileMetaDataset()
            if not meta.get("TransferSyntaxUID"):
                kinds = ExplicitVRLittleEndian, ExplicitVRBigEndian
                meta.TransferSyntaxUID = ImplicitVRLittleEndian if implicit else kinds[little is False]
            header.preamble = header.preamble or bytes(128)
            part = io.BytesIO()
            header.save_as(part)
        except DAMAGE as error:
            raise DamagedFile(path, "is no DICOM file, or its header is damaged.") from error
    return part.getvalue()
