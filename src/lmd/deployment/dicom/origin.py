"""What a report takes over from the header of an image, and nothing else: `KEPT`, and how it is referred to.

All other tags are never read here: private ones, comments, institutions, overlays. A value of a patient goes
from file to file. It is quoted in no message.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lmd.data.decode.dicom_marks import is_bare
from lmd.data.decode.files import printable
from lmd.errors import DataError

if TYPE_CHECKING:
    from pydicom import Dataset as Header

# What makes a report part of a patient's study. No other tag of the image gets into a file of ours.
KEPT = (
    "PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyInstanceUID", "StudyID", "StudyDate",
    "StudyTime", "AccessionNumber", "ReferringPhysicianName",
)  # fmt: skip
# How a report refers to the image.
_REFERRED = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "SOPClassUID")
# What is looked at for the heat map. The first says whether its pixels may be copied, the others go along.
_OF_PIXELS = (
    "BurnedInAnnotation", "LossyImageCompression", "LossyImageCompressionRatio",
    "LossyImageCompressionMethod",
)  # fmt: skip
_COUNTED = ("NumberOfFrames",)
_HEAD = 2048


@dataclass(frozen=True)
class Origin:
    """The image that a report is about: its file, what is kept of its header, how it is referred to."""

    path: Path
    kept: Header
    uids: dict[str, str]
    frame: int | None
    """the number of the frame, where the file has several"""
    pixels: Header
    """what the header says of burnt-in text and of lossy compression"""

    @property
    def free_of_text(self) -> bool:
        """Whether the file says that no text is burnt into its pixels; else there may be some."""
        return str(self.pixels.get("BurnedInAnnotation") or "").strip().upper() == "NO"


def read_origin(path: Path, frame: int | None) -> Origin:
    """Returns what a report needs of the header of a DICOM image.

    Raises:
        DataError: the header cannot be read, or does not say which study, series and image it is.
    """
    name = printable(path)
    try:
        with quiet_pydicom():
            return _origin(path, name, frame)
    except DataError:
        raise
    except Exception as error:  # Its text may quote the file, and so a patient: only its kind is told.
        kind = type(error).__name__
        raise DataError(f"image {name} cannot be read: damaged DICOM ({kind})") from None


def _origin(path: Path, name: str, frame: int | None) -> Origin:
    from pydicom import dcmread

    wanted = list(dict.fromkeys((*KEPT, *_REFERRED, *_OF_PIXELS, *_COUNTED)))
    with path.open("rb") as file:
        bare = is_bare(file.read(_HEAD))
        file.seek(0)
        header = dcmread(file, stop_before_pixels=True, specific_tags=list(wanted), force=bare)
    several = int(header.get("NumberOfFrames") or 1) > 1
    kept, pixels = _copied(header, KEPT), _copied(header, _OF_PIXELS)
    return Origin(path, kept, _uids(header, name), frame if several else None, pixels)


def _uids(header: Header, name: str) -> dict[str, str]:
    """How the image is referred to."""
    from pydicom.uid import UID

    found = {tag: str(header.get(tag) or "") for tag in _REFERRED}
    for tag, value in found.items():
        if not UID(value).is_valid:
            raise DataError(
                f"image {name} has no sound {tag}, and its report could not refer to it: have the file "
                "written anew by the system that it is from"
            )
    return found


def _copied(header: Header, tags: Sequence[str]) -> Header:
    """Some tags of a header with their values as texts; what is not there is empty."""
    from pydicom import Dataset

    copy = Dataset()
    for tag in tags:
        lay(copy, tag, header.get(tag))
    return copy


def lay(header: Header, tag: str, value: Any) -> None:
    """Lays a value into a header as it is: what another system wrote wrongly still has to match its study."""
    from pydicom import DataElement
    from pydicom.config import IGNORE
    from pydicom.datadict import dictionary_VR, tag_for_keyword
    from pydicom.multival import MultiValue

    number = tag_for_keyword(tag)
    assert number is not None
    plain = [str(part) for part in value] if isinstance(value, MultiValue) else str(value or "")
    header.add(DataElement(number, dictionary_VR(number), plain, validation_mode=IGNORE))


@contextmanager
def quiet_pydicom() -> Iterator[None]:
    """Lets no library warn or log for a while: their lines quote values, and so perhaps a patient."""
    import logging

    from pydicom import config

    loggers = [logging.getLogger(name) for name in ("pydicom", "highdicom")]
    before = [logger.level for logger in loggers], config.settings.reading_validation_mode
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        config.settings.reading_validation_mode = config.IGNORE
        for logger in loggers:
            logger.setLevel(logging.CRITICAL)
        try:
            yield
        finally:
            config.settings.reading_validation_mode = before[1]
            for logger, level in zip(loggers, before[0], strict=True):
                logger.setLevel(level)
