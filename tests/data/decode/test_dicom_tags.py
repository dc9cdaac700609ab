"""DICOM files whose tags are missing, contradict each other, or say what is not read: the message names the tag."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset
from pydicom.tag import Tag

from lmd.data.decode import dicom
from lmd.data.decode.images import decode
from tests.data.decode.test_dicom import header, written
from tests.data.decode.test_matrix import refused

IMPLICIT, EXPLICIT, BIG, JPEG_2000 = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2", "1.2.840.10008.1.2.4.90"  # fmt: skip
PIXELS = np.arange(240, dtype=np.uint8).reshape(12, 20)
COLOURS = np.random.default_rng(0).integers(0, 256, (12, 20, 3)).astype(np.uint8)


@pytest.fixture(autouse=True)
def silent() -> None:
    """pytest sets the filters of warnings anew for each test; lmd sets its own once."""
    dicom._set_up.cache_clear()


def said(path: Path, dataset: Dataset, syntax: str, *, implicit: bool, little: bool = True) -> Path:
    """Writes a file in one encoding, and says another one."""
    data = DicomBytesIO()
    data.is_little_endian, data.is_implicit_VR = little, implicit
    body = Dataset()
    for element in dataset:
        body.add(element)
    write_dataset(data, body)
    name = syntax.encode() + b"\0" * (len(syntax) % 2)
    meta = b"\2\0\x10\0UI" + struct.pack("<H", len(name)) + name
    length = b"\2\0\0\0UL\4\0" + struct.pack("<I", len(meta))
    path.write_bytes(bytes(128) + b"DICM" + length + meta + data.getvalue())
    return path


@pytest.mark.parametrize(("syntax", "implicit"), [(IMPLICIT, False), (EXPLICIT, True)])
def test_an_encoding_that_is_said_wrongly(tmp_path: Path, syntax: str, implicit: bool) -> None:
    """The header of the pixels has four bytes more or fewer than expected; they are no pixels."""
    path = said(tmp_path / "x.dcm", header(PIXELS), syntax, implicit=implicit)
    np.testing.assert_array_equal(decode(path)[..., 0], PIXELS)
    film = said(tmp_path / "x.dcm", header(np.stack([PIXELS, 255 - PIXELS])), syntax, implicit=implicit)
    np.testing.assert_array_equal(decode(film, frame=2)[..., 0], 255 - PIXELS)
    colours = said(tmp_path / "x.dcm", header(COLOURS, "RGB"), syntax, implicit=implicit)
    np.testing.assert_array_equal(decode(colours), COLOURS)


def test_a_compressed_file_with_an_implicit_header(tmp_path: Path) -> None:
    dataset = header(PIXELS)
    dataset.PixelData = encapsulate(
        [imagecodecs.jpeg2k_encode(PIXELS, level=0, reversible=True, codecformat="J2K")]
    )
    dataset["PixelData"].VR, dataset["PixelData"].is_undefined_length = "OB", True
    path = said(tmp_path / "x.dcm", dataset, JPEG_2000, implicit=True)
    np.testing.assert_array_equal(decode(path)[..., 0], PIXELS)


@pytest.mark.parametrize(("syntax", "little"), [(EXPLICIT, False), (IMPLICIT, False), (BIG, True)])
def test_the_other_order_of_bytes_is_refused(tmp_path: Path, syntax: str, little: bool) -> None:
    path = said(tmp_path / "x.dcm", header(PIXELS), syntax, implicit=False, little=little)
    refused(path, "x.dcm is a DICOM file whose bytes are in another order than it says; save it again")


@pytest.mark.parametrize(
    "name", ["HSV", "ARGB", "CMYK", "YBR_PARTIAL_422", "YBR_PARTIAL_420", "YBR_RCT", "YBR_ICT"]
)
def test_colours_that_are_not_read_are_named(tmp_path: Path, name: str) -> None:
    path = written(tmp_path / "x.dcm", header(COLOURS, "RGB", PhotometricInterpretation=name))
    refused(path, f"its tag PhotometricInterpretation is {name}", "which is not read; save it as RGB")


def test_colours_that_do_not_fit_their_samples(tmp_path: Path) -> None:
    grey = header(PIXELS, PhotometricInterpretation="RGB")
    refused(written(tmp_path / "x.dcm", grey), "PhotometricInterpretation is RGB, and SamplesPerPixel is 1")
    colour = header(COLOURS, "RGB", PhotometricInterpretation="MONOCHROME2")
    refused(written(tmp_path / "x.dcm", colour), "is MONOCHROME2, and SamplesPerPixel is 3")
    signed = header(COLOURS, "RGB", PixelRepresentation=1)
    refused(written(tmp_path / "x.dcm", signed), "PixelRepresentation")


@pytest.mark.parametrize(
    "tag", ["SamplesPerPixel", "PhotometricInterpretation", "PlanarConfiguration", "BitsAllocated", "BitsStored",
            "PixelRepresentation"])  # fmt: skip
def test_a_missing_tag_is_named(tmp_path: Path, tag: str) -> None:
    dataset = header(COLOURS, "RGB")
    dataset["PixelData"].VR = "OB"
    delattr(dataset, tag)
    dataset.save_as(tmp_path / "x.dcm", enforce_file_format=True)
    refused(tmp_path / "x.dcm", f"cannot be read: damaged DICOM (its tag {tag} is missing)")


def with_text(tag: int, text: bytes) -> Dataset:
    """A file with a number that is written as this text."""
    dataset = header(
        PIXELS.astype(np.uint16), WindowCenter=3, WindowWidth=4, RescaleSlope=1, RescaleIntercept=0
    )
    dataset[tag] = RawDataElement(Tag(tag), "DS", len(text), text, 0, False, True)
    return dataset


@pytest.mark.parametrize(
    ("tag", "name"), [(0x00281050, "WindowCenter"), (0x00281051, "WindowWidth"), (0x00281053, "RescaleSlope")]
)
def test_a_number_that_is_none_is_named_and_not_quoted(tmp_path: Path, tag: int, name: str) -> None:
    for text in (b"Doe^Jane", b"nan ", b"1e400 ", b"20,5"):
        path = written(tmp_path / "x.dcm", with_text(tag, text))
        refused(path, f"damaged DICOM (its tag {name} has a value that cannot be read)")
    path = written(tmp_path / "x.dcm", with_text(tag, b"Doe^Jane"))
    with pytest.raises(ValueError, match=r"^(?!.*Doe)"):
        decode(path)


def test_a_slope_that_is_empty_or_zero(tmp_path: Path) -> None:
    refused(written(tmp_path / "x.dcm", with_text(0x00281053, b"")), "(its tag RescaleSlope is empty)")
    path = written(tmp_path / "x.dcm", header(PIXELS, RescaleSlope=0, RescaleIntercept=5))
    refused(path, "its tag RescaleSlope is 0, which makes all pixels alike")


def packed_twelve(dataset: Dataset) -> None:
    dataset.BitsAllocated = 12


def upper_bits(dataset: Dataset) -> None:
    dataset.BitsStored, dataset.HighBit = 12, 15


def too_many(dataset: Dataset) -> None:
    dataset.BitsStored, dataset.HighBit = 17, 16


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (packed_twelve, "its tag BitsAllocated is 12; save it with 8 or 16 bits"),
        (upper_bits, "its tag HighBit is 15, and 11 is read for 12 bits"),
        (too_many, "its tags BitsAllocated, BitsStored and PixelRepresentation do not go together"),
    ],
)
def test_bits_that_are_not_read(tmp_path: Path, change: Callable[[Dataset], None], words: str) -> None:
    dataset = header(PIXELS.astype(np.uint16))
    change(dataset)
    refused(written(tmp_path / "x.dcm", dataset), words)


def test_without_pixels_or_palette(tmp_path: Path) -> None:
    dataset = header(PIXELS)
    del dataset.PixelData
    dataset.save_as(tmp_path / "x.dcm", enforce_file_format=True)
    refused(tmp_path / "x.dcm", "x.dcm is a DICOM file that has no pixel data; it may end early")
    path = written(tmp_path / "x.dcm", header(PIXELS, "PALETTE COLOR"))
    refused(path, "damaged DICOM (its tag RedPaletteColorLookupTableDescriptor is missing)")


@pytest.mark.parametrize(
    ("syntax", "words"),
    [
        ("1.2.840.113619.5.2", "(GE's private form, 1.2.840.113619.5.2)"),
        ("1.2.840.10008.1.20", "(Papyrus 3, 1.2.840.10008.1.20)"),
        ("1.2.840.10008.1.2.4.110", "(JPEG XL, 1.2.840.10008.1.2.4.110)"),
        ("Doe^Jane", "that is not supported (no number)"),
    ],
)
def test_other_transfer_syntaxes_are_named(tmp_path: Path, syntax: str, words: str) -> None:
    refused(
        said(tmp_path / "x.dcm", header(PIXELS), syntax, implicit=syntax.startswith("1.2.840.1136")), words
    )


def test_colours_of_fewer_bits_fill_the_range(tmp_path: Path) -> None:
    found = decode(written(tmp_path / "x.dcm", header(COLOURS >> 3, "RGB", BitsStored=5, HighBit=4)))
    np.testing.assert_array_equal(found, np.floor((COLOURS >> 3) / 31 * 255 + 0.5))
