"""A report and a heat map as DICOM files: highdicom makes them without a patient, who is then laid in.

So no library sees what identifies a person: some of them quote in warnings what they take for wrong.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from lmd.deployment.dicom import codes
from lmd.deployment.dicom.content import MAKER, Author
from lmd.deployment.dicom.origin import KEPT, Origin, lay
from lmd.version import __version__

if TYPE_CHECKING:
    from highdicom.sr import MeasurementReport
    from pydicom import Dataset as Header

_UTF8 = "ISO_IR 192"
_SERIES = {"report": 9901, "heat map": 9902}
_LOSSY = ("LossyImageCompression", "LossyImageCompressionRatio", "LossyImageCompressionMethod")


@dataclass(frozen=True)
class Place:
    """Where a file of ours stands in the study: its series and its number there."""

    series: str
    number: int


def report_file(content: MeasurementReport, origin: Origin, author: Author, place: Place) -> Header:
    """Returns a report as a DICOM file: a Comprehensive SR in the study of the image, not verified."""
    from highdicom.coding_schemes import CodingSchemeIdentificationItem
    from highdicom.sr import ComprehensiveSR

    scheme = CodingSchemeIdentificationItem(
        designator=codes.SCHEME, name=codes.SCHEME_NAME, responsible_organization=MAKER
    )
    report = ComprehensiveSR(
        evidence=[_nobody(origin)],
        content=content[0],
        is_complete=True,
        coding_schemes=[scheme],
        **_made_by("report", origin, author, place),
    )
    report.CompletionFlagDescription = codes.SHORT_STATEMENT
    return _of_patient(report, origin)


def heat_map_file(
    pixels: np.ndarray, words: str, origin: Origin, author: Author, place: Place, *, copied: bool
) -> Header:
    """Returns a picture uint8 [H, W, 3] as a secondary capture in the study of the image.

    `copied` says whether pixels of the image are in it; what compression had done to them goes with them.
    """
    from highdicom import CoordinateSystemNames, PhotometricInterpretationValues
    from highdicom.sc import SCImage

    picture = SCImage(
        pixel_array=pixels,
        photometric_interpretation=PhotometricInterpretationValues.RGB,
        bits_allocated=8,
        coordinate_system=CoordinateSystemNames.PATIENT,
        patient_orientation=("L", "P"),
        study_instance_uid=origin.uids["StudyInstanceUID"],
        transfer_syntax_uid="1.2.840.10008.1.2.1",
        **_made_by("heat map", origin, author, place),
    )
    picture.PatientOrientation = []  # highdicom wants one; that of the image is not known.
    picture.Laterality = ""
    picture.ConversionType = "WSD"
    picture.BurnedInAnnotation = "NO"
    picture.DerivationDescription = f"{words} {codes.STATEMENT}"
    picture.SourceImageSequence = [_reference(origin)]
    if copied:
        for tag in (tag for tag in _LOSSY if origin.pixels.get(tag)):
            picture[tag] = origin.pixels[tag]
    return _of_patient(picture, origin)


def _made_by(kind: str, origin: Origin, author: Author, place: Place) -> dict[str, Any]:
    """What both kinds of files say of their series and of the program."""
    from pydicom.uid import generate_uid

    return {
        "series_instance_uid": place.series,
        "series_number": _SERIES[kind],
        "sop_instance_uid": generate_uid(prefix=None),
        "instance_number": place.number,
        "series_description": f"{MAKER} {kind}: research use only",
        "manufacturer": MAKER,
        "manufacturer_model_name": author.method[:64],
        "software_versions": __version__,
        "device_serial_number": author.sha256,
    }


def _nobody(origin: Origin) -> Header:
    """The image as evidence, without a patient."""
    from pydicom import Dataset

    nobody = Dataset()
    for tag in KEPT:
        lay(nobody, tag, "")
    for tag, value in origin.uids.items():
        lay(nobody, tag, value)
    return nobody


def _reference(origin: Origin) -> Header:
    """The image as the source of a picture."""
    from highdicom.sr import CodedConcept
    from pydicom import Dataset

    item = Dataset()
    item.ReferencedSOPClassUID = origin.uids["SOPClassUID"]
    item.ReferencedSOPInstanceUID = origin.uids["SOPInstanceUID"]
    if origin.frame is not None:
        item.ReferencedFrameNumber = origin.frame
    purpose = CodedConcept("121322", "DCM", "Source image for image processing operation")
    item.PurposeOfReferenceCodeSequence = [purpose]
    return item


def _of_patient(file: Header, origin: Origin) -> Header:
    """Lays the patient and the study of the image into a file."""
    file.SpecificCharacterSet = _UTF8
    for tag in KEPT:
        file[tag] = origin.kept[tag]
    return file
