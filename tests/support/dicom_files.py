"""DICOM series and structure sets, written and read with pydicom."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np
import pydicom
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid
from skimage.measure import points_in_poly

from bifseg.imaging.image import Image
from bifseg.io import dicom_seg
from bifseg.io.images import read_image


def save_dicom(folder: Path, positions: list[tuple[float, float, float]], uid: str | None = None) -> str:
    """Slices of 5 x 6 pixels of 3 x 2 mm; slice k holds 100 k + pixel number - 1000."""
    folder.mkdir(parents=True, exist_ok=True)
    uid = uid or generate_uid()
    for k, position in enumerate(positions):
        meta = pydicom.dataset.FileMetaDataset()
        meta.TransferSyntaxUID, meta.MediaStorageSOPClassUID = ExplicitVRLittleEndian, CTImageStorage
        meta.MediaStorageSOPInstanceUID = generate_uid()
        s = pydicom.dataset.FileDataset("", {}, file_meta=meta, preamble=bytes(128))
        s.SOPClassUID, s.SOPInstanceUID = CTImageStorage, meta.MediaStorageSOPInstanceUID
        s.SeriesInstanceUID, s.StudyInstanceUID, s.FrameOfReferenceUID = uid, "1.2.3", "1.2.4"
        s.Modality, s.Rows, s.Columns, s.PixelSpacing, s.InstanceNumber = "CT", 6, 5, [2, 3], k + 1
        s.ImageOrientationPatient, s.ImagePositionPatient = [1, 0, 0, 0, 1, 0], [float(v) for v in position]
        s.SamplesPerPixel, s.PhotometricInterpretation = 1, "MONOCHROME2"
        s.BitsAllocated, s.BitsStored, s.HighBit, s.PixelRepresentation = 16, 16, 15, 1
        s.RescaleSlope, s.RescaleIntercept = 1, -1000
        s.PixelData = (np.arange(30, dtype=np.int16) + 100 * k).tobytes()
        # Names that run against the positions: the order must come from the geometry.
        s.save_as(folder / f"{uid[-6:]}-{99 - k}", enforce_file_format=True)
    return uid


def check_dicom(image: Image) -> None:
    expected = np.arange(30).reshape(6, 5).T[..., None] + 100 * np.arange(4) - 1000
    assert np.array_equal(image.array, expected)
    assert image.spacing == (3, 2, 4)
    assert image.origin == (1, 2, -8)


def dice(a, b):
    return 2 * (a & b).sum() / (a.sum() + b.sum())


def series(folder, shape=(40, 36, 12), spacing=2.5, orientation=(1, 0, 0, 0, 1, 0), reverse=False):
    """A DICOM series of noise: the image in it, and its headers."""
    folder.mkdir()
    uids = {n: pydicom.uid.generate_uid() for n in ("StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID")}
    normal = np.cross(orientation[:3], orientation[3:])
    rng = np.random.default_rng(0)
    for k in range(shape[2]):
        content = pydicom.Dataset()
        content.file_meta = pydicom.dataset.FileMetaDataset()
        content.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
        content.SOPClassUID = content.file_meta.MediaStorageSOPClassUID = pydicom.uid.CTImageStorage
        content.SOPInstanceUID = content.file_meta.MediaStorageSOPInstanceUID = pydicom.uid.generate_uid()
        for name, uid in uids.items():
            setattr(content, name, uid)
        content.PatientName, content.PatientID, content.Modality = "Müller^Jörg", "7", "CT"
        content.SpecificCharacterSet, content.SeriesNumber, content.InstanceNumber = "ISO_IR 100", 3, k + 1
        content.Columns, content.Rows = shape[:2]
        content.SamplesPerPixel, content.PhotometricInterpretation = 1, "MONOCHROME2"
        content.BitsAllocated = content.BitsStored = 16
        content.HighBit, content.PixelRepresentation = 15, 1
        content.PixelSpacing, content.SliceThickness = [0.8, 0.7], spacing
        content.ImageOrientationPatient = list(orientation)
        content.ImagePositionPatient = [f"{n:.9g}" for n in np.array([-20.5, -30, 40]) + k * spacing * normal]
        content.PixelData = rng.integers(-1000, 1000, shape[1::-1]).astype("<i2").tobytes()
        content.save_as(folder / f"{shape[2] - k if reverse else k:03}.dcm", enforce_file_format=True)
    return read_image(folder), dicom_seg.headers_of(folder)


def rasterised(path, image):
    """The masks in a structure set by name: pixel centres inside of its polygons, even-odd."""
    content = pydicom.dcmread(path)
    names = {roi.ROINumber: roi.ROIName for roi in content.StructureSetROISequence}
    x, y = (a.ravel() for a in np.mgrid[: image.shape[0], : image.shape[1]])
    masks = {name: np.zeros(image.shape, bool) for name in names.values()}
    inverse = np.linalg.inv(image.affine)
    for roi in content.ROIContourSequence:
        for contour in roi.ContourSequence:
            places = np.array(contour.ContourData, float).reshape(-1, 3)
            assert len(places) == contour.NumberOfContourPoints >= 3
            voxels = (np.c_[places, np.ones(len(places))] @ inverse.T)[:, :3]
            (z,) = set(np.rint(voxels[:, 2]).astype(int))
            assert np.abs(voxels[:, 2] - z).max() < 1e-2  # they lie in their slice
            inside = points_in_poly(np.c_[x, y], voxels[:, :2]).reshape(image.shape[:2])
            masks[names[roi.ReferencedROINumber]][..., z] ^= inside
    return content, masks


def enhanced(path: Path, positions: list, slopes: list, pixels: np.ndarray) -> Path:
    """An enhanced CT: ``pixels`` (frames, rows, columns), int16."""

    def item(**fields):
        dataset = Dataset()
        for name, value in fields.items():
            setattr(dataset, name, value)
        return dataset

    save_dicom(path.parent / "one", [(0, 0, 0)])
    content = pydicom.dcmread(next((path.parent / "one").iterdir()))
    for name in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "RescaleSlope", "RescaleIntercept"):
        delattr(content, name)
    content.SOPClassUID = content.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.2.1"
    content.NumberOfFrames, content.PixelData = len(pixels), pixels.astype("<i2").tobytes()
    content.SharedFunctionalGroupsSequence = Sequence([
        item(
            PixelMeasuresSequence=Sequence([item(PixelSpacing=[2, 3], SliceThickness=4)]),
            PlaneOrientationSequence=Sequence([item(ImageOrientationPatient=[1, 0, 0, 0, 1, 0])]),
        )
    ])  # fmt: skip
    content.PerFrameFunctionalGroupsSequence = Sequence(
        item(
            PlanePositionSequence=Sequence([item(ImagePositionPatient=list(map(float, position)))]),
            PixelValueTransformationSequence=Sequence([item(RescaleSlope=float(slope), RescaleIntercept=0.0)]),
        )
        for position, slope in zip(positions, slopes, strict=True)
    )
    content.save_as(path)
    return path


def headers(*slices, **shared):
    """A zip of headers as a store keeps them; each of ``slices`` is what one has of its own."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for k, own in enumerate(slices or ({},)):
            header = pydicom.Dataset()
            header.file_meta = pydicom.dataset.FileMetaDataset()
            header.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
            for name, value in {**shared, **own}.items():
                setattr(header, name, value)
            part = io.BytesIO()
            pydicom.dcmwrite(part, header, enforce_file_format=False)
            archive.writestr(f"{k:05}.dcm", part.getvalue())
    return content.getvalue()


def pet(**other):
    """A PET header from which an SUV can be computed: 50 kg, 100 MBq, one half-life between injection and scan."""
    tracer = pydicom.Dataset()
    tracer.RadionuclideTotalDose, tracer.RadionuclideHalfLife = 1e8, 3600
    tracer.RadiopharmaceuticalStartTime = "090000"
    given = {"Modality": "PT", "Units": "BQML", "DecayCorrection": "START", "PatientWeight": 50,
             "SeriesDate": "20260102", "SeriesTime": "100000", "AcquisitionTime": "100000",
             "RadiopharmaceuticalInformationSequence": [tracer]}  # fmt: skip
    return {**given, **other}
