"""DICOM values at the ends of their types, padding, tables and inversion, by hand arithmetic."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from lmd.data.decode.images import decode
from tests.data.decode.test_dicom import header, in_eight_bits, shown, written
from tests.data.decode.test_matrix import refused


@pytest.mark.parametrize("kind", ["i1", "i2", "i4", "u2", "u4"])
@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_the_whole_range_of_a_type(tmp_path: Path, kind: str, photometric: str) -> None:
    """The difference of its ends has no place in a signed type: it overflowed, and all became black."""
    low, high = np.iinfo(kind).min, np.iinfo(kind).max
    values = np.array([[low, high], [low // 2, high // 2]], kind)
    parts = (values.astype(float) - low) / (float(high) - low)
    wanted = in_eight_bits(1 - parts if photometric == "MONOCHROME1" else parts)
    assert shown(tmp_path, header(values, photometric)) == wanted
    same = header(values, photometric, RescaleSlope=1, RescaleIntercept=0)
    assert shown(tmp_path, same) == wanted


def test_a_wide_picture_of_two_values(tmp_path: Path) -> None:
    assert shown(tmp_path, header(np.array([[-30000, 30000]], np.int16))) == [[0, 255]]


# Padding.

PADDED = np.array([[-32768, 0], [100, 200]], np.int16)


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize("window", [{}, {"WindowCenter": 100.5, "WindowWidth": 201}], ids=["none", "window"])
@pytest.mark.parametrize("value", [-32768, 32767])
def test_padding_is_black(tmp_path: Path, photometric: str, window: dict[str, float], value: int) -> None:
    """Whether it is the lowest or the highest value, and also where the lowest value is white."""
    values = np.where(PADDED == -32768, value, PADDED).astype(np.int16)
    dataset = header(values, photometric, **window)
    dataset.add_new("PixelPaddingValue", "SS", value)
    one, two, three = (255, 128 if not window else 127, 0) if photometric == "MONOCHROME1" else (0, 128, 255)
    found = shown(tmp_path, dataset)
    assert found[0] == [0, one]
    assert abs(found[1][0] - two) <= 1
    assert found[1][1] == three


def test_a_range_of_padding(tmp_path: Path) -> None:
    values = np.array([[-2000, -1800, 0, 50, 100]], np.int16)
    for first, last in ((-2000, -1500), (-1500, -2000)):
        dataset = header(values)
        dataset.add_new("PixelPaddingValue", "SS", first)
        dataset.add_new("PixelPaddingRangeLimit", "SS", last)
        assert shown(tmp_path, dataset) == [[0, 0, 0, 128, 255]]


def test_padding_that_is_written_without_its_sign(tmp_path: Path) -> None:
    """63,536 has the bits of -2,000; and the reverse in a file of unsigned values."""
    dataset = header(np.array([[-2000, 0, 50, 100]], np.int16))
    dataset.add_new("PixelPaddingValue", "US", 63536)
    assert shown(tmp_path, dataset) == [[0, 0, 128, 255]]
    dataset = header(np.array([[63536, 0, 50, 100]], np.uint16))
    dataset.add_new("PixelPaddingValue", "SS", -2000)
    assert shown(tmp_path, dataset) == [[0, 0, 128, 255]]


def test_a_file_of_padding_alone_has_none(tmp_path: Path) -> None:
    assert shown(tmp_path, header(np.full((1, 2), 9, np.uint8), PixelPaddingValue=9)) == [[9, 9]]


# Tables.

RAMP = np.arange(0, 4096, 5, dtype=np.uint16).reshape(20, 41)[:, :40]


def table(entries: np.ndarray, bits: int, first: int = 0) -> Sequence:
    item = Dataset()
    item.add_new("LUTDescriptor", "US", [len(entries), first, bits])
    item.add_new("LUTData", "US", entries.astype(int).tolist())
    return Sequence([item])


@pytest.mark.parametrize(
    ("bits", "top"), [(8, 255), (12, 4095), (16, 65535), (16, 4095), (16, 1023), (16, 255)]
)
def test_a_voi_table_uses_its_bits(tmp_path: Path, bits: int, top: int) -> None:
    """Some declare 16 bits and have entries of fewer: they are as bright as the others."""
    entries = np.arange(4096) * top // 4095
    dataset = header(RAMP, BitsStored=12, HighBit=11, VOILUTSequence=table(entries, bits))
    assert shown(tmp_path, dataset) == in_eight_bits(entries[RAMP] / top)


def test_a_voi_table_behind_a_rescale(tmp_path: Path) -> None:
    """It begins at -1,024, which is written as 64,512."""
    dataset = header(RAMP, BitsStored=12, HighBit=11, RescaleSlope=1, RescaleIntercept=-1024)
    dataset.VOILUTSequence = table(np.arange(4096), 12, 64512)
    assert shown(tmp_path, dataset) == in_eight_bits(RAMP / 4095)


def test_a_modality_table_of_the_whole_signed_range(tmp_path: Path) -> None:
    """The place of a value is counted from -32,768: that difference overflows as well."""
    values = np.linspace(-32768, 32767, 12).astype(np.int16).reshape(3, 4)
    item = Dataset()
    item.add_new("LUTDescriptor", "SS", [0, -32768, 16])
    item.add_new("LUTData", "OW", np.arange(65536, dtype="<u2")[::-1].tobytes())
    dataset = header(values, ModalityLUTSequence=Sequence([item]))
    assert shown(tmp_path, dataset) == in_eight_bits((32767 - values.astype(float)) / 65535)


def test_a_modality_table_that_declares_too_many_bits(tmp_path: Path) -> None:
    """Its entries are no display values: without a window their own range is shown."""
    dataset = header(RAMP, BitsStored=12, HighBit=11, ModalityLUTSequence=table(np.arange(4096), 16))
    assert shown(tmp_path, dataset) == in_eight_bits(RAMP / RAMP.max())


def test_a_damaged_table_is_named(tmp_path: Path) -> None:
    item = Dataset()
    item.add_new("LUTDescriptor", "US", [100, 0, 16])
    item.add_new("LUTData", "US", [1, 2, 3])
    for tag in ("VOILUTSequence", "ModalityLUTSequence"):
        path = written(tmp_path / "x.dcm", header(RAMP, **{tag: Sequence([item])}))
        refused(path, f"damaged DICOM (the table in its tag {tag} cannot be read)")


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize(("shape", "white"), [("IDENTITY", False), ("INVERSE", True), ("inverse ", True)])
def test_the_shape_of_the_presentation(tmp_path: Path, photometric: str, shape: str, white: bool) -> None:
    """INVERSE and MONOCHROME1 both say that the lowest value is white; together they say it once."""
    values = np.array([[0, 55, 255]], np.uint8)
    found = shown(tmp_path, header(values, photometric, PresentationLUTShape=shape))
    assert found == [[255, 200, 0]] if white or photometric == "MONOCHROME1" else [[0, 55, 255]]
    deep = header(values.astype(np.uint16) * 16, photometric, PresentationLUTShape=shape)
    assert shown(tmp_path, deep) == found


# Real numbers.


def real(path: Path, values: np.ndarray, **tags: float) -> Path:
    dataset = header(np.zeros(values.shape, np.uint8), **tags)
    for name in ("PixelData", "BitsStored", "HighBit", "PixelRepresentation"):
        delattr(dataset, name)
    dataset.BitsAllocated = 8 * values.itemsize
    setattr(dataset, "FloatPixelData" if values.itemsize == 4 else "DoubleFloatPixelData", values.tobytes())
    dataset.save_as(path, enforce_file_format=True)
    return path


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_real_numbers_without_a_window(tmp_path: Path, kind: type) -> None:
    values = np.array([[-1.5, 0, 0.5, 2.5]], kind)
    found = decode(real(tmp_path / "x.dcm", values))
    assert found[0, :, 0].tolist() == in_eight_bits((values + 1.5) / 4)[0]
    for odd in (np.nan, np.inf):
        values[0, 1] = odd
        for window in ({}, {"WindowCenter": 0, "WindowWidth": 2}):
            path = real(tmp_path / "x.dcm", values, **window)
            refused(path, "cannot be read: it has pixels that are not numbers")
