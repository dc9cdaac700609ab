"""DICOM images with a patient and with all that must not get out, written by pydicom."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage, generate_uid

from tests import toy

# What belongs to the study, and so into its reports.
PATIENT = {
    "PatientName": "Müller^Žofie=山田^花子",
    "PatientID": "ID-4711",
    "PatientBirthDate": "19631122",
    "PatientSex": "F",
    "StudyID": "S-12",
    "StudyDate": "20260102",
    "StudyTime": "101112",
    "AccessionNumber": "A-998877",
    "ReferringPhysicianName": "Whoever^Dr",
}
# What stands in the image and must stay there.
STAYS = (
    "COMMENT-SECRET", "OTHER-ID-SECRET", "Nowhere Hospital", "PRIVATE-SECRET", "NESTED-SECRET", "OPERATOR-SECRET",
    "STATION-SECRET", "HISTORY-SECRET", "DEVICE-SECRET",
)  # fmt: skip


def image(number: int = 0, label: int = 0, pixels: np.ndarray | None = None, **tags: Any) -> Dataset:
    """A colour image of the toy's class, with a patient; `tags` lays others in, and None takes one out."""
    made = Dataset()
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    made.file_meta.MediaStorageSOPClassUID = made.SOPClassUID = SecondaryCaptureImageStorage
    made.file_meta.MediaStorageSOPInstanceUID = made.SOPInstanceUID = generate_uid()
    made.SpecificCharacterSet = "ISO_IR 192"
    made.StudyInstanceUID, made.SeriesInstanceUID = generate_uid(), generate_uid()
    for tag, value in PATIENT.items():
        setattr(made, tag, value)
    made.PatientComments, made.OtherPatientIDs, made.InstitutionName, _, _, made.OperatorsName = STAYS[:6]
    made.StationName, made.AdditionalPatientHistory, made.DeviceSerialNumber = STAYS[6:]
    made.private_block(0x0011, "SOME VENDOR", create=True).add_new(0x01, "LO", STAYS[3])
    item = Dataset()
    item.PatientID = STAYS[4]
    made.OtherPatientIDsSequence = [item]
    _lay_pixels(made, toy.draw(label, number, 24) if pixels is None else pixels)
    for tag, value in tags.items():
        if value is None:
            delattr(made, tag)
        else:
            setattr(made, tag, value)
    return made


def _lay_pixels(made: Dataset, pixels: np.ndarray) -> None:
    if pixels.ndim == 4:
        made.NumberOfFrames = len(pixels)
    made.Rows, made.Columns = pixels.shape[-3:-1]
    made.SamplesPerPixel, made.PhotometricInterpretation, made.PlanarConfiguration = 3, "RGB", 0
    made.BitsAllocated = made.BitsStored = 8
    made.HighBit, made.PixelRepresentation = 7, 0
    made.PixelData = pixels.tobytes()
    made["PixelData"].VR = "OB"


def written(path: Path, made: Dataset) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    made.save_as(path, enforce_file_format=True)
    return path
