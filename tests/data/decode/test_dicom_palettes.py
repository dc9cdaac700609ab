"""DICOM palettes as they are in the field, and DICOM files without the mark at their beginning."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from lmd.data.decode import dicom
from lmd.data.decode.images import decode
from tests.data.decode.test_dicom import header, written
from tests.data.decode.test_matrix import refused

COLOURS = ("Red", "Green", "Blue")
TABLE = np.random.default_rng(4).integers(0, 256, (3, 256)).astype(np.uint8)  # Of each colour 256 entries.
PIXELS = np.arange(256, dtype=np.uint8).reshape(16, 16)
PAINTED = np.moveaxis(TABLE[:, PIXELS], 0, -1)


def with_palette(entries: list[bytes], descriptor: list[int], pixels: np.ndarray = PIXELS) -> Dataset:
    dataset = header(pixels, "PALETTE COLOR")
    for colour, data in zip(COLOURS, entries, strict=True):
        setattr(dataset, f"{colour}PaletteColorLookupTableDescriptor", descriptor)
        setattr(dataset, f"{colour}PaletteColorLookupTableData", data)
        dataset[f"{colour}PaletteColorLookupTableData"].VR = "OW"
    return dataset


def as_big_endian(dataset: Dataset) -> Dataset:
    """The same file in big endian; whole words are swapped, as the standard has it."""
    dataset.file_meta.TransferSyntaxUID = ExplicitVRBigEndian
    for name in ("PixelData", *(f"{colour}PaletteColorLookupTableData" for colour in COLOURS)):
        if dataset[name].VR == "OW" and (name != "PixelData" or dataset.BitsAllocated == 16):
            dataset[name].value = np.frombuffer(dataset[name].value, np.uint16).byteswap().tobytes()
    return dataset


@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize("upper", [False, True], ids=["8 bits in 16", "16 bits"])
def test_sixteen_bit_palettes(tmp_path: Path, upper: bool, big: bool) -> None:
    """Entries that are all below 256 are 8 bits, whatever the descriptor says: a viewer shows no black picture."""
    wide = TABLE.astype("<u2")
    entries = [colour.tobytes() for colour in (wide << 8 | 255 - wide if upper else wide)]
    dataset = with_palette(entries, [256, 0, 16])
    path = written(tmp_path / "x.dcm", as_big_endian(dataset) if big else dataset)
    np.testing.assert_array_equal(decode(path), PAINTED)


@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize("bits", [8, 16])
def test_entries_of_eight_bits_two_in_a_word(tmp_path: Path, bits: int, big: bool) -> None:
    dataset = with_palette([colour.tobytes() for colour in TABLE], [256, 0, bits])
    path = written(tmp_path / "x.dcm", as_big_endian(dataset) if big else dataset)
    np.testing.assert_array_equal(decode(path), PAINTED)


def test_the_first_mapped_value(tmp_path: Path) -> None:
    """Values before it have the first colour, values behind the last entry its colour."""
    dataset = with_palette([colour[:100].tobytes() for colour in TABLE], [100, 50, 8])
    places = np.clip(PIXELS.astype(int) - 50, 0, 99)
    np.testing.assert_array_equal(
        decode(written(tmp_path / "x.dcm", dataset)), np.moveaxis(TABLE[:, places], 0, -1)
    )


def test_more_entries_than_eight_bits_can_count(tmp_path: Path) -> None:
    """pydicom's own function wraps the places of such entries around."""
    table = np.random.default_rng(5).integers(0, 256, (3, 1000)).astype(np.uint8)
    pixels = np.arange(1000, dtype=np.uint16).reshape(20, 50)
    dataset = with_palette([colour.tobytes() for colour in table], [1000, 0, 8], pixels)
    np.testing.assert_array_equal(
        decode(written(tmp_path / "x.dcm", dataset)), np.moveaxis(table[:, pixels], 0, -1)
    )


def test_a_segmented_palette_and_one_with_transparency(tmp_path: Path) -> None:
    """A discrete entry, then a line to 200 in 255 steps; transparency is left out."""
    dataset = header(PIXELS, "PALETTE COLOR")
    line = np.array([0, 1, 0, 1, 255, 200], np.uint8).tobytes()
    for colour in COLOURS:
        setattr(dataset, f"{colour}PaletteColorLookupTableDescriptor", [256, 0, 8])
        setattr(dataset, f"Segmented{colour}PaletteColorLookupTableData", line)
    dataset.AlphaPaletteColorLookupTableData = bytes(256)
    found = decode(written(tmp_path / "x.dcm", dataset))
    wanted = np.around(np.arange(256) * 200 / 255).reshape(16, 16)
    np.testing.assert_array_equal(found, np.repeat(wanted[..., None], 3, axis=2))


def test_a_palette_that_ends_early_is_refused(tmp_path: Path) -> None:
    dataset = with_palette([colour[:100].tobytes() for colour in TABLE], [256, 0, 8])
    refused(written(tmp_path / "x.dcm", dataset), "cannot be read: damaged DICOM")


# Without a preamble.


def bare(path: Path, syntax: str, *, meta: bool) -> bytes:
    """A grey ramp without preamble, with or without the group that says how it is written."""
    dataset = header(PIXELS)
    dataset.file_meta.TransferSyntaxUID = syntax
    written(path, dataset)
    data = path.read_bytes()
    if meta:
        return data[132:]
    return data[132 + 12 + dcmread(path).file_meta.FileMetaInformationGroupLength :]


@pytest.mark.parametrize("meta", [False, True])
@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian])
def test_dicom_without_preamble(tmp_path: Path, syntax: str, meta: bool) -> None:
    path = tmp_path / "x.dcm"
    data = bare(path, syntax, meta=meta)
    assert dicom.is_dicom(data[:132])
    path.write_bytes(data)
    np.testing.assert_array_equal(decode(path)[..., 0], PIXELS)
    path.write_bytes(data[:-100])
    refused(path, "x.dcm")


def test_a_preamble_that_is_a_tiff_is_dicom(tmp_path: Path) -> None:
    """Such files can be opened as both."""
    path = written(tmp_path / "x.dcm", header(PIXELS))
    path.write_bytes(b"II*\0\x08\0\0\0" + path.read_bytes()[8:])
    np.testing.assert_array_equal(decode(path)[..., 0], PIXELS)


def test_other_files_are_not_taken_for_dicom() -> None:
    """Random bytes with the first byte of a tag; a Windows icon, a film, a font, a Matlab file."""
    draw = np.random.default_rng(0)
    for first in (b"\x08\0", b"\x02\0", b"\0\x08", b"\0\x02"):
        heads = [first + draw.bytes(510) for _ in range(2000)] + [first + bytes(510), first * 256]
        assert not any(dicom.is_dicom(head) for head in heads)
    marks = (
        b"\0\0\1\0\1\0\x10\x10",
        b"\0\0\0\x18ftypmp42",
        b"\0\1\0\0\0\x0f\0\x80\0\3\0\x70",
        b"\0\0\1\xba",
        bytes(8),
    )
    assert not any(dicom.is_dicom(mark.ljust(512, b"\0")) for mark in marks)
    assert not dicom.is_dicom(b"")


def test_a_cut_file_tells_its_bytes(tmp_path: Path) -> None:
    path = written(tmp_path / "x.dcm", header(np.zeros((100, 100), np.uint8)))
    path.write_bytes(path.read_bytes()[:5000])
    refused(path, "ends early: 5,000 of more than 10,000 bytes are there")


def test_real_numbers_with_a_window(tmp_path: Path) -> None:
    """A map from 0 to 1 with the window 0.5, 1: its values are shown, and not a black and white step."""
    dataset = header(PIXELS)
    values = np.linspace(0, 1, 256, dtype=np.float32).reshape(16, 16)
    del dataset.PixelData
    dataset.BitsAllocated, dataset.FloatPixelData = 32, values.tobytes()
    dataset.WindowCenter, dataset.WindowWidth = 0.5, 1
    dataset.save_as(tmp_path / "x.dcm", enforce_file_format=True)
    assert np.abs(decode(tmp_path / "x.dcm")[..., 0] - np.arange(256.0).reshape(16, 16)).max() <= 1
