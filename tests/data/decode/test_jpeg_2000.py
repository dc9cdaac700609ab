"""JPEG 2000 beyond 8 bits and without whole bytes: every value that was written is the one that is shown."""

from __future__ import annotations

import itertools
from pathlib import Path

import imagecodecs
import numpy as np
import pytest

from lmd.data.decode import jpeg2000
from lmd.data.decode.images import decode
from tests.data.decode.test_matrix import refused


def written(path: Path, values: np.ndarray, bits: int, codec: str = "JP2", *, mixed: bool = True) -> Path:
    options = {} if bits in (8, 16) else {"bitspersample": bits}
    data = imagecodecs.jpeg2k_encode(
        values, level=0, reversible=True, codecformat=codec, mct=mixed and values.shape[2:] == (3,), **options
    )
    np.testing.assert_array_equal(imagecodecs.jpeg2k_decode(data), values)
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("codec", ["JP2", "J2K"])
@pytest.mark.parametrize("count", [1, 2, 3, 4], ids=["grey", "grey alpha", "RGB", "RGB alpha"])
@pytest.mark.parametrize("bits", [9, 10, 12, 16])
def test_bright_values_stay_bright(tmp_path: Path, bits: int, count: int, codec: str) -> None:
    """Pillow adds a half to the highest values, and they become 0."""
    top = 2**bits - 1
    ramp = np.linspace(top - 2 ** (bits - 7), top, 64).astype(np.uint16).reshape(8, 8)
    values = np.stack([ramp] * count, axis=2) if count > 1 else ramp
    if count in (2, 4):
        values[..., -1] = top
    found = decode(written(tmp_path / "x.jp2", values, bits, codec))
    wanted = (ramp >> 8 if bits == 16 and count > 2 else np.floor(ramp / top * 255 + 0.5)).astype(int)
    assert found.min() > 250
    assert np.abs(found - wanted[..., None]).max() <= 1
    assert found[-1, -1].tolist() == [255] * 3


def test_a_white_picture_is_white(tmp_path: Path) -> None:
    for mixed in (False, True):
        path = written(tmp_path / "x.jp2", np.full((8, 8, 3), 65535, np.uint16), 16, mixed=mixed)
        assert decode(path).min() == 255


def test_deep_transparency_is_laid_on_black(tmp_path: Path) -> None:
    values = np.full((8, 8, 4), 65535, np.uint16)
    values[0, :, 3] = np.arange(8) * 9362
    found = decode(written(tmp_path / "x.jp2", values, 16))
    assert np.abs(found[0, :, 0] - np.arange(8) * 9362 / 257).max() <= 1
    assert found[1:].min() == 255


@pytest.mark.parametrize("count", [1, 3, 4])
@pytest.mark.parametrize("bits", range(1, 8))
def test_fewer_than_eight_bits_fill_the_range(tmp_path: Path, bits: int, count: int) -> None:
    top = 2**bits - 1
    values = np.random.default_rng(bits).integers(0, top + 1, (9, 11, count)).astype(np.uint8)
    values[0, 0], values[0, 1] = 0, top
    values[..., 3:] = top
    stored = values[..., 0] if count == 1 else values
    found = decode(written(tmp_path / "x.jp2", stored, bits, mixed=False))
    wanted = np.floor(values[..., :3] / top * 255 + 0.5)
    np.testing.assert_array_equal(found, np.broadcast_to(wanted, (9, 11, 3)))


@pytest.mark.parametrize("codec", ["JP2", "J2K"])
@pytest.mark.parametrize(
    ("kind", "low", "high"),
    [(np.int8, -128, 127), (np.int16, 0, 255), (np.int16, -300, -45), (np.int16, -30000, 30000)],
)
def test_signed_samples(tmp_path: Path, kind: type, low: int, high: int, codec: str) -> None:
    """The rule of signed TIFFs: values from 0 to 255 stay as they are; else their own range."""
    values = np.linspace(low, high, 64).round().astype(kind).reshape(8, 8)
    wanted = np.floor((values.astype(float) - low) / (high - low) * 255 + 0.5)
    bits = 8 * values.itemsize
    found = decode(written(tmp_path / "x.jp2", values, bits, codec))
    np.testing.assert_array_equal(found, np.repeat(wanted[..., None], 3, axis=2))
    colours = np.stack([values, values[::-1], values[:, ::-1]], axis=2)
    found = decode(written(tmp_path / "x.jp2", colours, bits, codec, mixed=False))
    np.testing.assert_array_equal(found[..., 1], wanted[::-1])


def test_what_is_not_read_is_named(tmp_path: Path) -> None:
    values = np.full((8, 8, 3), 4095, np.uint16)
    path = written(tmp_path / "x.jp2", values, 12)
    data = bytearray(path.read_bytes())
    place = data.index(b"\xff\x4f\xff\x51") + 42
    changes = {"colr": (data.index(b"colr") + 10, 18), "step": (place + 4, 2), "bits": (place, 9)}
    for place, value in changes.values():
        (tmp_path / "odd.jp2").write_bytes(data[:place] + bytes([value]) + data[place + 1 :])
        refused(
            tmp_path / "odd.jp2", "it is a JPEG 2000 with colour samples of 12 bits, of a kind that is not"
        )
    signed = written(tmp_path / "x.jp2", np.zeros((8, 8, 4), np.int16), 16)
    refused(signed, "it is a JPEG 2000 with signed colour samples of 16 bits, of a kind that is not read")


def test_without_the_decoder_one_line_names_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    deep = written(tmp_path / "x.jp2", np.full((8, 8, 3), 65535, np.uint16), 16)
    grey = written(tmp_path / "grey.jp2", np.full((8, 8), 65535, np.uint16), 16)
    monkeypatch.setattr(jpeg2000, "_decoder", lambda: None)
    refused(
        deep, "x.jp2 is a JPEG 2000 with colour samples of 16 bits, which needs more to be installed: in "
    )
    assert decode(grey).min() == 255


def test_deep_files_that_are_cut_are_refused(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    noise = np.random.default_rng(0).integers(0, 65536, (30, 40, 3)).astype(np.uint16)
    for codec, part in itertools.product(("JP2", "J2K"), (0.3, 0.6, 0.95, 0.999)):
        data = written(tmp_path / "x.jp2", noise, 16, codec).read_bytes()
        (tmp_path / "x.jp2").write_bytes(data[: int(len(data) * part)])
        refused(tmp_path / "x.jp2", "x.jp2 cannot be read")
    assert capfd.readouterr() == ("", "")


def test_the_picture_is_found_behind_a_long_profile(tmp_path: Path) -> None:
    """12 bits of grey; its codestream begins later than the first bytes that are looked at."""
    path = written(tmp_path / "x.jp2", np.full((8, 8), 4095, np.uint16), 12)
    data = path.read_bytes()
    place = data.index(b"jp2c") - 4
    path.write_bytes(data[:place] + (5000).to_bytes(4, "big") + b"free" + bytes(4992) + data[place:])
    assert decode(path, bits=9).min() == 255  # The file says its 12 bits: --bits is not for it.
