"""Files of every kind, written by other libraries, against independent decoders: equal, or refused in one line.

tifffile, imagecodecs and pydicom write and read them. What a value has to become is computed here
from the samples that were written, by the rules of docs/images.md; no code of lmd takes part in it.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image

from lmd.data.decode.images import decode
from lmd.errors import DataError

HEIGHT, WIDTH = 37, 50  # No multiples of a strip, a tile or a byte.
Y, X = np.mgrid[:HEIGHT, :WIDTH]
GREY = ((np.sin(X / 9) + np.cos(Y / 7) + X / WIDTH + 2) / 5).clip(0, 1)  # 0 to 1, not symmetric.
RGB = np.stack([GREY, GREY[::-1] ** 2, 0.3 + 0.6 * GREY[:, ::-1]], axis=2)
ALPHA = (0.25 + 0.75 * X / WIDTH)[..., None]


def whole(values: np.ndarray, bits: int) -> np.ndarray:
    """Values from 0 to 1 as whole numbers of so many bits."""
    kind = np.uint8 if bits <= 8 else np.uint16 if bits <= 16 else np.uint32
    return np.floor(values * (2.0**bits - 1) + 0.5).astype(kind)


def grey_rgb(values: np.ndarray) -> np.ndarray:
    """Grey values from 0 to 255 as what has to be shown."""
    return np.repeat(values[..., None], 3, axis=2)


def check(path: Path, wanted: np.ndarray, within: float = 1) -> None:
    """The picture is the wanted one [H, W, 3], 0 to 255."""
    found = decode(path).astype(np.float64)
    assert found.shape == wanted.shape
    r = np.corrcoef(found.reshape(-1), wanted.reshape(-1))[0, 1]
    assert r > 0.99, r
    assert np.abs(found - wanted).max() <= within


def refused(path: Path, *words: str) -> None:
    with pytest.raises(DataError) as caught:
        decode(path)
    line = str(caught.value)
    assert "\n" not in line
    for word in words:
        assert word in line, line


def squeezed(values: np.ndarray) -> np.ndarray:
    """The rule for signed, 32-bit and real numbers, from 0 to 255."""
    values = values.astype(np.float64)
    low, high = values.min(), values.max()
    if low >= 0:
        low, high = 0.0, next(top for top in (1.0, 255.0, 65535.0, high) if high <= top)
    return (values - low) / (high - low) * 255


# TIFF.

ORDERS = ("<", ">")
LAYOUTS: dict[str, dict[str, Any]] = {
    "strips": {"rowsperstrip": 10},
    "one strip": {},
    "tiles": {"tile": (16, 32)},
    "deflate": {"compression": "zlib", "rowsperstrip": 10},
    "lzw": {"compression": "lzw", "rowsperstrip": 10},
    "packbits": {"compression": "packbits", "rowsperstrip": 10},
    "lzma tiles": {"compression": "lzma", "tile": (16, 32)},
    "zstd": {"compression": "zstd", "rowsperstrip": 10},
    "predictor": {"compression": "lzw", "predictor": True, "rowsperstrip": 10},
    "predicted tiles": {"compression": "zlib", "predictor": True, "tile": (16, 32)},
    "big": {"bigtiff": True, "rowsperstrip": 10},
}
KINDS = ("u1", "i1", "u2", "i2", "u4", "i4", "u8", "f2", "f4", "f8")


def of_kind(kind: str) -> np.ndarray:
    """A grey picture in a type: unsigned whole numbers of the full range of 8 or 16 bits, real ones from 0 to 1."""
    if kind[0] == "f":
        return GREY.astype(kind)
    if kind in ("i1", "i2", "i4"):
        return (GREY * 200 - 100).astype(kind)
    return whole(GREY, 8 if kind == "u1" else 16).astype(kind)


GREYS = [pair for pair in itertools.product(KINDS, LAYOUTS) if pair[0] != "u8" or "predict" not in pair[1]]


@pytest.mark.parametrize(("kind", "layout"), GREYS)
def test_grey_tiffs(tmp_path: Path, kind: str, layout: str) -> None:
    """Every type in every layout, in either byte order and with either meaning of 0."""
    values = of_kind(kind)
    eight = (
        squeezed(values)
        if kind not in ("u1", "u2")
        else values / (255 if kind == "u2" else 1) / (257 / 255 if kind == "u2" else 1)
    )
    for order, meaning in itertools.product(ORDERS, ("minisblack", "miniswhite")):
        path = tmp_path / f"{'le' if order == '<' else 'be'}-{meaning}.tif"
        tifffile.imwrite(path, values, byteorder=order, photometric=meaning, **LAYOUTS[layout])
        np.testing.assert_array_equal(tifffile.imread(path), values)
        check(path, grey_rgb(eight if meaning == "minisblack" else 255 - eight))


@pytest.mark.parametrize("bits", [1, 2, 3, 4, 5, 6, 7, 9, 10, 11, 12, 13, 14, 15])
def test_packed_tiffs(tmp_path: Path, bits: int) -> None:
    """Samples whose bits are no whole bytes. imagecodecs packs them, a row at a time."""
    values = whole(GREY, bits)
    rows = b"".join(imagecodecs.packints_encode(row, bits) for row in values)
    for meaning in (0, 1):
        path = tmp_path / f"{meaning}.tif"
        path.write_bytes(tiff(rows, bits=(bits,), meaning=meaning))
        np.testing.assert_array_equal(tifffile.imread(path), values)
        eight = values / (2**bits - 1) * 255
        check(path, grey_rgb(eight if meaning == 1 else 255 - eight))


def tiff(data: bytes, bits: tuple[int, ...] = (8,), meaning: int = 1, order: str = "<", **tags: Any) -> bytes:
    """A TIFF of one strip, whatever its tags say; `tags` are `t<number>` with one value or several."""
    small = "little" if order == "<" else "big"
    entries: dict[int, tuple[int, ...]] = {
        256: (WIDTH,), 257: (HEIGHT,), 258: bits, 259: (1,), 262: (meaning,), 273: (0,), 277: (len(bits),),
        278: (HEIGHT,), 279: (len(data),),
    }  # fmt: skip
    for name, value in tags.items():
        entries[int(name[1:])] = value if isinstance(value, tuple) else (value,)
    place = 8 + 2 + 12 * len(entries) + 4
    table, behind = b"", b""
    for tag in sorted(entries):
        packed = b"".join(value.to_bytes(4, small) for value in entries[tag])
        head = tag.to_bytes(2, small) + (4).to_bytes(2, small) + len(entries[tag]).to_bytes(4, small)
        if len(packed) > 4:
            table += head + (place + len(behind)).to_bytes(4, small)
            behind += packed
        else:
            table += head + packed
    start = (place + len(behind)).to_bytes(4, small)
    strip = (273).to_bytes(2, small) + (4).to_bytes(2, small) + (1).to_bytes(4, small)
    table = table.replace(strip + bytes(4), strip + start)
    mark = (b"II" if order == "<" else b"MM") + (42).to_bytes(2, small) + (8).to_bytes(4, small)
    return mark + len(entries).to_bytes(2, small) + table + bytes(4) + behind + data


@pytest.mark.parametrize("layout", ["strips", "tiles", "deflate", "lzw", "predictor", "predicted tiles"])
@pytest.mark.parametrize("planar", ["contig", "separate"])
@pytest.mark.parametrize("bits", [8, 16])
def test_rgb_tiffs(tmp_path: Path, bits: int, planar: str, layout: str) -> None:
    """Colours side by side or each for itself, with and without transparency of both kinds."""
    values = whole(RGB, bits)
    kinds = {"none": None, "unspecified": "unspecified", "alpha": "unassalpha", "premultiplied": "assocalpha"}
    for order, (name, extra) in itertools.product(ORDERS, kinds.items()):
        path = tmp_path / f"{'le' if order == '<' else 'be'}-{name}.tif"
        colours = whole(RGB * ALPHA, bits) if name == "premultiplied" else values
        pixels = np.concatenate([colours, whole(ALPHA, bits)], axis=2) if extra else colours
        stored = np.moveaxis(pixels, -1, 0) if planar == "separate" else pixels
        given = {} if extra is None else {"extrasamples": [extra]}
        tifffile.imwrite(
            path, stored, byteorder=order, photometric="rgb", planarconfig=planar, **given, **LAYOUTS[layout]
        )
        np.testing.assert_array_equal(tifffile.imread(path), stored)
        eight = colours >> 8 if bits == 16 else colours  # The upper 8 bits.
        check(path, eight * (whole(ALPHA, 8) / 255.0 if name == "alpha" else 1.0))


@pytest.mark.parametrize("kind", ["f4", "f8", "u4"])
def test_rgb_tiffs_of_many_bits(tmp_path: Path, kind: str) -> None:
    values = RGB.astype(kind) if kind[0] == "f" else whole(RGB, 16).astype(kind)
    tifffile.imwrite(tmp_path / "x.tif", values, photometric="rgb")
    check(tmp_path / "x.tif", squeezed(values))


@pytest.mark.parametrize("bits", [8, 16])
def test_grey_tiffs_with_transparency(tmp_path: Path, bits: int) -> None:
    values = np.concatenate([whole(GREY, bits)[..., None], whole(ALPHA, bits)], axis=2)
    shown = grey_rgb(GREY * 255)
    for kind, wanted in {
        "unassalpha": shown * (whole(ALPHA, 8) / 255.0),
        "assocalpha": shown,
        "unspecified": shown,
    }.items():
        path = tmp_path / f"{kind}.tif"
        tifffile.imwrite(path, values, photometric="minisblack", planarconfig="contig", extrasamples=[kind])
        check(path, wanted, within=1.2)


@pytest.mark.parametrize("scale", [1, 257], ids=["8-bit colours", "16-bit colours"])
@pytest.mark.parametrize("bits", [1, 2, 4, 8, 16])
def test_palette_tiffs(tmp_path: Path, bits: int, scale: int) -> None:
    """Some programs write colours of 8 bits into the table of 16 bits."""
    table = (np.random.default_rng(bits).integers(0, 256, (3, 2**bits)) * scale).astype(np.uint16)
    values = whole(GREY, bits)
    rows = (
        values.astype("<u2").tobytes()
        if bits == 16
        else b"".join(imagecodecs.packints_encode(row, bits) if bits < 8 else row.tobytes() for row in values)
    )
    path = tmp_path / "x.tif"
    path.write_bytes(tiff(rows, (bits,), 3, t320=tuple(table.reshape(-1).tolist())))
    check(path, np.moveaxis(table[:, values] // scale, 0, -1).astype(float), within=0)


@pytest.mark.parametrize("planar", ["contig", "separate"])
@pytest.mark.parametrize("bits", [8, 16])
def test_cmyk_tiffs(tmp_path: Path, bits: int, planar: str) -> None:
    values = whole(np.concatenate([RGB, 0.2 * GREY[..., None]], axis=2), bits)
    stored = np.moveaxis(values, -1, 0) if planar == "separate" else values
    tifffile.imwrite(tmp_path / "x.tif", stored, photometric="separated", planarconfig=planar)
    parts = values / (2**bits - 1)
    check(tmp_path / "x.tif", 255 * (1 - parts[..., :3]) * (1 - parts[..., 3:]), within=2.5)


@pytest.mark.parametrize("compression", ["jpeg", None])
def test_ycbcr_tiffs(tmp_path: Path, compression: str | None) -> None:
    path = tmp_path / "x.tif"
    if compression:
        tifffile.imwrite(
            path, whole(RGB, 8), photometric="rgb", compression="jpeg", compressionargs={"level": 95}
        )
        check(path, RGB * 255, within=12)
        return
    ycc = np.asarray(Image.fromarray(whole(RGB, 8)).convert("YCbCr"))
    path.write_bytes(tiff(ycc.tobytes(), (8, 8, 8), 6, t530=(1, 1)))
    check(path, RGB * 255, within=4)
    path.write_bytes(tiff(ycc.tobytes(), (8, 8, 8), 6, t530=(2, 2)))
    refused(path, "YCbCr TIFF", "save it as RGB")


def test_lab_tiffs(tmp_path: Path) -> None:
    lab = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    lab[..., 0] = whole(GREY, 8)
    path = tmp_path / "x.tif"
    path.write_bytes(tiff(lab.tobytes(), (8, 8, 8), 8))
    found = decode(path).astype(float)
    assert np.corrcoef(found[..., 1].reshape(-1), GREY.reshape(-1))[0, 1] > 0.99
    assert np.ptp(found, axis=2).max() <= 3
    path.write_bytes(tiff(whole(RGB, 16).astype("<u2").tobytes(), (16, 16, 16), 8))
    refused(path, "a 16-bit CIELab TIFF", "save it as RGB")


COMPLEX = np.ones((HEIGHT, WIDTH), np.complex64)
REFUSED: dict[str, tuple[Callable[[Path], object], str]] = {
    "complex": (lambda path: tifffile.imwrite(path, COMPLEX), "a complex-valued 64-bit grey TIFF, which is not read"),
    "nan": (lambda path: tifffile.imwrite(path, np.full((9, 9), np.nan)), "pixels that are not numbers"),
    "infinite": (lambda path: tifffile.imwrite(path, np.full((9, 9), np.inf, np.float16)), "not numbers"),
    "five channels": (
        lambda path: tifffile.imwrite(path, np.zeros((9, 9, 5), np.uint8), photometric="minisblack", planarconfig="contig"),
        "8-bit grey TIFF of 5 channels",
    ),
    "volume": (
        lambda path: tifffile.imwrite(path, np.zeros((16, 16, 16), np.uint8), volumetric=True, tile=(16, 16, 16)),
        "a TIFF of a volume",
    ),
    "stack of ImageJ": (lambda path: path.write_bytes(tiff(bytes(HEIGHT * WIDTH), t270=tuple(b"ImageJ=1.5\nimages=4\n"))), "a TIFF of a volume"),
    "jpeg 2000": (
        lambda path: tifffile.imwrite(path, whole(RGB, 8), photometric="rgb", compression="jpeg2000"),
        "a compression that is not read (JPEG 2000)",
    ),
    "jpeg xl": (
        lambda path: tifffile.imwrite(path, whole(RGB, 8), photometric="rgb", compression="jpegxl"),
        "a compression that is not read (JPEG XL)",
    ),
    "lerc": (lambda path: tifffile.imwrite(path, whole(GREY, 16), compression="lerc"), "(LERC)"),
    "mask": (lambda path: path.write_bytes(tiff(bytes(HEIGHT * WIDTH), meaning=4)), "8-bit unusual TIFF, which is not read"),
    "raw": (lambda path: path.write_bytes(tiff(bytes(HEIGHT * WIDTH), meaning=32803)), "a camera's raw file"),
    "24 bits": (lambda path: path.write_bytes(tiff(bytes(3 * HEIGHT * WIDTH), (24,))), "24-bit grey TIFF, which is not read"),
    "different bits": (lambda path: path.write_bytes(tiff(bytes(2 * HEIGHT * WIDTH), (5, 6, 5), 2)), "different numbers of bits"),
    "neither black nor white": (
        lambda path: path.write_bytes(tiff(bytes(HEIGHT * WIDTH)).replace(b"\x06\1\4\0", b"\x07\1\4\0")),
        "does not say whether 0 is black or white",
    ),
    "cut": (lambda path: path.write_bytes(tiff(whole(GREY, 8).tobytes())[:-600]), "it ends early: "),
    "huge": (lambda path: path.write_bytes(tiff(bytes(9), t256=60_000, t257=60_000)), "is too large: 60000 x 60000"),
    "of nothing": (lambda path: path.write_bytes(tiff(bytes(9), t256=0)), "cannot be read"),
    "of many bytes": (lambda path: path.write_bytes(tiff(bytes(9), (64,) * 4, 2, t256=17_000, t257=17_000, t278=17_000, t338=2, t259=8)), "is too large: 17000 x 17000 pixels are 289 million, and 9 million are the most for its kind"),
    "endless": (lambda path: path.write_bytes(tiff(bytes(9), t256=100, t257=100, t278=1, t273=(8,) * 9, t279=(1,) * 9)), "9 of its 100 strips"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_read_is_named(tmp_path: Path, name: str) -> None:
    write, words = REFUSED[name]
    write(tmp_path / "x.tif")
    refused(tmp_path / "x.tif", words)
