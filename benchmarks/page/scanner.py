"""A made-up CT as a scanner sends it: a folder of DICOM slices."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from bifseg.imaging.image import Image


def write_series(folder: Path, scan: Image) -> Path:
    """Slices of ``scan``, int16 Hounsfield units whose axes run to left, back and head: the folder."""
    from pydicom import Dataset
    from pydicom.dataset import FileMetaDataset
    from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

    folder.mkdir(parents=True)
    study, series, frame = (generate_uid() for _ in range(3))
    axes = [*scan.direction[:, 0], *scan.direction[:, 1]]
    for k in range(scan.shape[2]):
        s = Dataset()
        s.file_meta = FileMetaDataset()
        s.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        s.SOPClassUID = s.file_meta.MediaStorageSOPClassUID = CTImageStorage
        s.SOPInstanceUID = s.file_meta.MediaStorageSOPInstanceUID = generate_uid()
        s.StudyInstanceUID, s.SeriesInstanceUID, s.FrameOfReferenceUID = study, series, frame
        s.PatientName, s.PatientID, s.PatientBirthDate, s.PatientSex = "Synthetic^Abdomen", "1", "", ""
        s.StudyDate, s.StudyTime, s.StudyID, s.AccessionNumber = "20260101", "120000", "1", ""
        s.ReferringPhysicianName = s.PositionReferenceIndicator = ""
        s.Modality, s.SeriesNumber, s.InstanceNumber, s.SeriesDescription = "CT", 2, k + 1, "Abdomen, synthetic"
        s.Rows, s.Columns = scan.shape[1], scan.shape[0]
        s.PixelSpacing = [scan.spacing[1], scan.spacing[0]]
        s.SliceThickness = scan.spacing[2]
        s.ImageOrientationPatient = [float(value) for value in axes]
        place = scan.affine @ [0, 0, k, 1]
        s.ImagePositionPatient = [float(f"{value:.6g}") for value in place[:3]]
        s.SamplesPerPixel, s.PhotometricInterpretation = 1, "MONOCHROME2"
        s.BitsAllocated = s.BitsStored = 16
        s.HighBit, s.PixelRepresentation, s.RescaleSlope, s.RescaleIntercept = 15, 1, 1, 0
        s.WindowCenter, s.WindowWidth = 50, 400
        s.PixelData = np.asarray(scan.array[:, :, k]).T.astype("<i2").tobytes()
        s.save_as(folder / f"{k:04}.dcm", enforce_file_format=True)
    return folder
