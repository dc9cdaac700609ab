"""TIFFs of rare kinds: shown with the values that were written, or refused with words for what they are."""

from __future__ import annotations

import struct
import zlib
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

from lmd.data.decode.images import decode
from lmd.errors import DataError
from tests.data.decode.test_matrix import refused

DRAW = np.random.default_rng(0)
RGB = DRAW.integers(0, 256, (12, 20, 3)).astype(np.uint8)
GREY, ALPHA, OTHER = (DRAW.integers(0, 256, (12, 20)).astype(np.uint8) for _ in range(3))
SMOOTH = (np.add.outer(np.arange(32), np.arange(48)) * 50).astype(np.uint16)  # Up to 3,900.


def tiff(path: Path, values: np.ndarray, **options: Any) -> Path:
    # tifffile changes the options that it is given.
    tifffile.imwrite(path, values, planarconfig="contig" if values.ndim == 3 else None, **deepcopy(options))
    return path


def by_hand(path: Path, tags: dict[int, tuple[int, list[int]]], data: bytes) -> Path:
    """Writes a little-endian TIFF of one strip; the tag 273 is filled in."""
    tags = {**tags, 273: (4, [0])}
    place = 8 + 2 + 12 * len(tags) + 4
    sizes = {3: "H", 4: "I"}
    bodies = {tag: struct.pack(f"<{len(v)}{sizes[kind]}", *v) for tag, (kind, v) in tags.items()}
    start = place + sum(len(body) for body in bodies.values() if len(body) > 4)
    bodies[273] = struct.pack("<I", start)
    entries, behind = b"", b""
    for tag in sorted(tags):
        inside = bodies[tag].ljust(4, b"\0")
        if len(bodies[tag]) > 4:
            inside, behind = struct.pack("<I", place + len(behind)), behind + bodies[tag]
        entries += struct.pack("<HHI", tag, tags[tag][0], len(tags[tag][1])) + inside
    head = b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + bytes(4)
    path.write_bytes(head + behind + data)
    return path


def tags_of(
    height: int, width: int, bits: list[int], meaning: int, size: int
) -> dict[int, tuple[int, list[int]]]:
    return {
        256: (4, [width]), 257: (4, [height]), 258: (3, bits), 259: (3, [1]), 262: (3, [meaning]),
        277: (3, [len(bits)]), 278: (4, [height]), 279: (4, [size]),
    }  # fmt: skip


# JPEG with 12 bits.


@pytest.mark.parametrize("tile", [None, (16, 16)])
def test_twelve_bit_jpeg(tmp_path: Path, tile: tuple[int, int] | None) -> None:
    """tifffile decodes it as well; 4,095 is white. --bits is not for a file that says its bits."""
    options = {"compression": "jpeg", "compressionargs": {"bitspersample": 12, "level": 98}}
    values = SMOOTH[:, :47] if tile else SMOOTH
    path = tiff(tmp_path / "x.tif", values, tile=tile, **options)
    stored = tifffile.imread(path)
    assert np.abs(stored.astype(int) - values).max() < 50
    wanted = np.floor(stored / 4095 * 255 + 0.5)
    for bits in (None, 9):
        found = decode(path, bits=bits)
        np.testing.assert_array_equal(found, np.repeat(wanted[..., None], 3, axis=2))


def test_twelve_bit_jpegs_that_libtiff_reads_wrongly(tmp_path: Path) -> None:
    """It leaves out the last of an odd number of columns."""
    options = {"compression": "jpeg", "compressionargs": {"bitspersample": 12}}
    path = tiff(tmp_path / "x.tif", SMOOTH[:, :47], **options)
    refused(
        path, "it is a 12-bit grey TIFF compressed as JPEG with an odd number of columns, which is not read"
    )
    colours = np.stack([SMOOTH] * 3, axis=2)
    for values, photometric in ((colours, "rgb"), (SMOOTH, "miniswhite")):
        path = tiff(tmp_path / "x.tif", values, photometric=photometric, **options)
        refused(path, "it is a 12-bit ", "compressed as JPEG, which is not read; save it uncompressed")


# Channels beyond the colours.


def test_transparency_behind_another_channel(tmp_path: Path) -> None:
    values = np.dstack([RGB, OTHER, ALPHA])
    path = tiff(tmp_path / "x.tif", values, photometric="rgb", extrasamples=["unspecified", "unassalpha"])
    assert np.abs(decode(path) - RGB * (ALPHA[..., None] / 255)).max() <= 1
    path = tiff(tmp_path / "x.tif", values, photometric="rgb", extrasamples=["unspecified", "unspecified"])
    np.testing.assert_array_equal(decode(path), RGB)


def test_transparency_of_inks_and_of_white_first(tmp_path: Path) -> None:
    inks = np.dstack([255 - RGB, np.zeros_like(GREY), ALPHA])
    path = tiff(tmp_path / "x.tif", inks, photometric="separated", extrasamples=["unassalpha"])
    assert np.abs(decode(path) - RGB * (ALPHA[..., None] / 255)).max() <= 1
    white = np.dstack([255 - GREY, ALPHA])
    path = tiff(tmp_path / "x.tif", white, photometric="miniswhite", extrasamples=["unassalpha"])
    assert np.abs(decode(path)[..., 0] - GREY * (ALPHA / 255)).max() <= 1


# Tags.


@pytest.mark.parametrize("kind", [0, 4])
def test_samples_of_no_said_kind_are_whole_numbers(tmp_path: Path, kind: int) -> None:
    values = GREY.astype("<u2") * 257
    tags = {**tags_of(12, 20, [16], 1, values.nbytes), 339: (3, [kind])}
    np.testing.assert_array_equal(decode(by_hand(tmp_path / "x.tif", tags, values.tobytes()))[..., 0], GREY)
    tags = {**tags_of(12, 20, [32], 1, 960), 339: (3, [kind])}
    path = by_hand(tmp_path / "x.tif", tags, bytes(960))
    refused(path, "it is a 32-bit TIFF that does not say what its numbers are")


@pytest.mark.parametrize("bits", [8, 16])
def test_a_strip_whose_length_is_0(tmp_path: Path, bits: int) -> None:
    values = GREY.astype("<u2") * 257 if bits == 16 else GREY
    path = by_hand(tmp_path / "x.tif", tags_of(12, 20, [bits], 1, 0), values.tobytes())
    np.testing.assert_array_equal(decode(path)[..., 0], GREY)
    path.write_bytes(path.read_bytes()[:-20])
    refused(path, "it ends early")


def test_inks_that_are_not_those_of_cmyk(tmp_path: Path) -> None:
    path = tiff(
        tmp_path / "x.tif", np.dstack([RGB, GREY]), photometric="separated", extratags=[(332, 3, 1, 2, True)]
    )
    refused(path, "it is a TIFF of inks that are not cyan, magenta, yellow and black; save it as RGB")


@pytest.mark.parametrize("said", [True, False])
def test_fewer_colour_samples_without_compression(tmp_path: Path, said: bool) -> None:
    """Four pixels share their colours; without the tag this is what the standard means."""
    tags = tags_of(12, 20, [8, 8, 8], 6, 360) | ({530: (3, [2, 2])} if said else {})
    refused(
        by_hand(tmp_path / "x.tif", tags, bytes(360)), "it is an 8-bit YCbCr TIFF with fewer colour samples"
    )


def test_full_ycbcr_is_read(tmp_path: Path) -> None:
    picture = Image.fromarray(RGB).convert("YCbCr")
    wanted = np.asarray(picture.convert("RGB"))
    for more in ({530: (3, [1, 1])}, {}):
        path = by_hand(tmp_path / "x.tif", tags_of(12, 20, [8] * 3, 6, RGB.size) | more, picture.tobytes())
        assert np.abs(decode(path).astype(int) - wanted).max() <= 3


# Words.


def test_webp_inside_is_refused_in_silence(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = tiff(tmp_path / "x.tif", RGB, photometric="rgb", compression="webp")
    refused(path, "it is a TIFF with a compression that is not read (WebP); save it uncompressed")
    assert capfd.readouterr() == ("", "")


def message(path: Path) -> str:
    """What is said of a file; nothing where it is read."""
    try:
        decode(path)
    except DataError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("meaning", range(-1, 11))
def test_no_message_shows_an_object_in_memory(tmp_path: Path, meaning: int) -> None:
    """Nor "a 8-bit". Every number of channels with every kind of bits and compression."""
    said = set()
    for count in range(1, 6):
        for bits, packed in ((1, 1), (8, 1), (8, 7), (8, 8), (12, 1), (16, 1), (24, 1), (32, 1)):
            size = 12 * ((20 * count * bits + 7) // 8)
            data = zlib.compress(bytes(size)) if packed == 8 else bytes(size)
            tags = tags_of(12, 20, [bits] * count, max(meaning, 0), len(data)) | {259: (3, [packed])}
            if meaning == -1:
                del tags[262]
            said.add(message(by_hand(tmp_path / "x.tif", tags, data)))
    assert len(said) > 5
    assert not [line for line in said if "<" in line or " a 8" in line]
