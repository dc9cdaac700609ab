"""The other formats, written by other libraries or by hand: equal to what was written, or refused in one line."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
from PIL import Image, features

from lmd.data.decode.images import decode
from tests.data.decode.test_matrix import ALPHA, GREY, HEIGHT, RGB, WIDTH, check, grey_rgb, refused, whole

CLEAR = whole(ALPHA, 8) / 255.0
GREY_ALPHA = np.concatenate([GREY[..., None], ALPHA], axis=2)
RGB_ALPHA = np.concatenate([RGB, ALPHA], axis=2)


def chunk(name: bytes, data: bytes) -> bytes:
    return len(data).to_bytes(4, "big") + name + data + zlib.crc32(name + data).to_bytes(4, "big")


def png(rows: list[bytes], bits: int, colour: int, *chunks: bytes) -> bytes:
    head = struct.pack(">IIBBBBB", WIDTH, HEIGHT, bits, colour, 0, 0, 0)
    data = zlib.compress(b"".join(b"\0" + row for row in rows))
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", head)
        + b"".join(chunks)
        + chunk(b"IDAT", data)
        + chunk(b"IEND", b"")
    )


def packed(values: np.ndarray, bits: int) -> list[bytes]:
    """Rows of samples, packed to so many bits, the first byte of several first."""
    if bits < 8:
        return [imagecodecs.packints_encode(row.reshape(-1), bits) for row in values]
    return [row.astype(">u2" if bits == 16 else "u1").tobytes() for row in values]


@pytest.mark.parametrize("bits", [1, 2, 4, 8, 16])
def test_grey_pngs(tmp_path: Path, bits: int) -> None:
    values = whole(GREY, bits)
    path = tmp_path / "x.png"
    path.write_bytes(png(packed(values, bits), bits, 0))
    np.testing.assert_array_equal(imagecodecs.imread(str(path)) if bits >= 8 else values, values)
    check(path, grey_rgb(values / (2**bits - 1) * 255))
    if bits == 1:
        return
    clear = int(values[3, 4])
    path.write_bytes(png(packed(values, bits), bits, 0, chunk(b"tRNS", clear.to_bytes(2, "big"))))
    check(path, grey_rgb(np.where(values == clear, 0, values / (2**bits - 1) * 255)))


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("colour", [2, 4, 6])
def test_colour_pngs(tmp_path: Path, bits: int, colour: int) -> None:
    """RGB, grey with transparency, RGB with transparency; of 16 bits the upper 8."""
    values = whole({2: RGB, 4: GREY_ALPHA, 6: RGB_ALPHA}[colour], bits)
    path = tmp_path / "x.png"
    path.write_bytes(png(packed(values, bits), bits, colour))
    eight = (values >> (bits - 8)).astype(float)
    colours = eight if colour == 2 else eight[..., :-1] * (eight[..., -1:] / 255)
    check(path, np.repeat(colours, 3, axis=2) if colour == 4 else colours)


@pytest.mark.parametrize("transparent", [False, True])
@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_palette_pngs(tmp_path: Path, bits: int, transparent: bool) -> None:
    table = np.random.default_rng(bits).integers(0, 256, (2**bits, 3)).astype(np.uint8)
    alpha = np.random.default_rng(9).integers(0, 256, 2**bits).astype(np.uint8)
    values = whole(GREY, bits)
    extra = [chunk(b"tRNS", alpha.tobytes())] if transparent else []
    path = tmp_path / "x.png"
    path.write_bytes(png(packed(values, bits), bits, 3, chunk(b"PLTE", table.tobytes()), *extra))
    check(path, table[values] * (alpha[values] / 255.0 if transparent else np.ones(values.shape))[..., None])


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_pngs_with_one_clear_colour(tmp_path: Path, bits: int) -> None:
    """Pillow tells it by its number."""
    table = np.random.default_rng(bits).integers(1, 256, (2**bits, 3)).astype(np.uint8)
    values = whole(GREY, bits)
    path = tmp_path / "x.png"
    path.write_bytes(
        png(packed(values, bits), bits, 3, chunk(b"PLTE", table.tobytes()), chunk(b"tRNS", b"\xff\0"))
    )
    check(path, np.where((values == 1)[..., None], 0, table[values]).astype(float), within=0)


# PNM and PFM.


@pytest.mark.parametrize("plain", [False, True])
@pytest.mark.parametrize("top", [1, 15, 255, 1023, 4095, 65535])
@pytest.mark.parametrize("kind", ["grey", "colour"])
def test_pnm(tmp_path: Path, kind: str, top: int, plain: bool) -> None:
    """Whatever the largest value is that a file names: it is white."""
    values = np.floor((GREY if kind == "grey" else RGB) * top + 0.5).astype(int)
    mark = {("grey", False): b"P5", ("colour", False): b"P6", ("grey", True): b"P2", ("colour", True): b"P3"}
    path = tmp_path / ("x.pgm" if kind == "grey" else "x.ppm")
    data = (
        " ".join(map(str, values.reshape(-1))).encode()
        if plain
        else values.astype(">u2" if top > 255 else "u1").tobytes()
    )
    path.write_bytes(mark[kind, plain] + f"\n# made\n{WIDTH} {HEIGHT}\n{top}\n".encode() + data)
    wanted = values / top * 255
    check(path, grey_rgb(wanted) if kind == "grey" else wanted)


@pytest.mark.parametrize("plain", [False, True])
def test_pbm(tmp_path: Path, plain: bool) -> None:
    black = whole(GREY, 1)
    data = " ".join(map(str, black.reshape(-1))).encode() if plain else b"".join(packed(black, 1))
    (tmp_path / "x.pbm").write_bytes((b"P1" if plain else b"P4") + f"\n{WIDTH} {HEIGHT}\n".encode() + data)
    check(tmp_path / "x.pbm", grey_rgb(255.0 * (1 - black)))


@pytest.mark.parametrize("order", ["<", ">"])
def test_pfm(tmp_path: Path, order: str) -> None:
    data = GREY[::-1].astype(f"{order}f4").tobytes()
    (tmp_path / "x.pfm").write_bytes(
        f"Pf\n{WIDTH} {HEIGHT}\n{'-1.0' if order == '<' else '1.0'}\n".encode() + data
    )
    check(tmp_path / "x.pfm", grey_rgb(GREY * 255))
    (tmp_path / "x.pfm").write_bytes(f"PF\n{WIDTH} {HEIGHT}\n-1.0\n".encode() + data * 3)
    refused(tmp_path / "x.pfm", "is a colour PFM picture, which is not read")


# JPEG, JPEG 2000, WebP, AVIF, GIF, BMP, TGA.


@pytest.mark.parametrize("bits", [8, 10, 12, 16])
@pytest.mark.parametrize("codec", ["jp2", "j2k"])
@pytest.mark.parametrize("kind", ["grey", "colour", "alpha"])
def test_jpeg_2000(tmp_path: Path, kind: str, codec: str, bits: int) -> None:
    """The precision that a file names is all of its range: 4,095 is white in 12 bits."""
    values = whole({"grey": GREY, "colour": RGB, "alpha": RGB_ALPHA}[kind], bits)
    data = imagecodecs.jpeg2k_encode(values, codecformat=codec, bitspersample=bits, reversible=True, level=0)
    path = tmp_path / f"x.{codec}"
    path.write_bytes(data)
    np.testing.assert_array_equal(imagecodecs.jpeg2k_decode(data), values)
    eight = values / (2**bits - 1) * 255
    wanted = {
        "grey": lambda: grey_rgb(eight),
        "colour": lambda: eight,
        "alpha": lambda: eight[..., :3] * CLEAR,
    }[kind]()
    check(path, wanted, within=2.5)


@pytest.mark.parametrize("sampling", ["444", "422", "420"])
@pytest.mark.parametrize("kind", ["grey", "colour"])
def test_jpegs(tmp_path: Path, kind: str, sampling: str) -> None:
    data = imagecodecs.jpeg8_encode(whole(GREY if kind == "grey" else RGB, 8), level=98, subsampling=sampling)
    (tmp_path / "x.jpg").write_bytes(data)
    reference = imagecodecs.jpeg8_decode(data).astype(float)
    check(tmp_path / "x.jpg", grey_rgb(reference) if kind == "grey" else reference, within=3)


@pytest.mark.parametrize("progressive", [False, True])
def test_cmyk_jpegs_of_adobe(tmp_path: Path, progressive: bool) -> None:
    """They hold their values inverted."""
    cmyk = whole(np.concatenate([1 - RGB, 0.1 * GREY[..., None]], axis=2), 8)
    picture = Image.frombytes("CMYK", (WIDTH, HEIGHT), cmyk.tobytes())
    picture.save(tmp_path / "x.jpg", quality=98, progressive=progressive, subsampling=0)
    parts = cmyk / 255.0
    check(tmp_path / "x.jpg", 255 * (1 - parts[..., :3]) * (1 - parts[..., 3:]), within=14)


def test_twelve_bit_jpegs_are_refused(tmp_path: Path) -> None:
    (tmp_path / "x.jpg").write_bytes(imagecodecs.jpeg_encode(whole(GREY, 12), bitspersample=12, level=90))
    refused(tmp_path / "x.jpg", "is a JPEG of 12 bits, which is not read; save it as PNG or JPEG")


@pytest.mark.parametrize("lossless", [False, True])
def test_webp(tmp_path: Path, lossless: bool) -> None:
    data = imagecodecs.webp_encode(whole(RGB, 8), lossless=lossless, level=95)
    (tmp_path / "x.webp").write_bytes(data)
    check(tmp_path / "x.webp", RGB * 255, within=1 if lossless else 25)
    (tmp_path / "x.webp").write_bytes(imagecodecs.webp_encode(whole(RGB_ALPHA, 8), lossless=True))
    check(tmp_path / "x.webp", whole(RGB, 8) * CLEAR)


@pytest.mark.parametrize("bits", [8, 10, 12])
def test_avif_is_read_where_pillow_can(tmp_path: Path, bits: int) -> None:
    kind = np.uint8 if bits == 8 else np.uint16
    data = imagecodecs.avif_encode(whole(RGB, bits).astype(kind), level=95, bitspersample=bits)
    (tmp_path / "x.png").write_bytes(data)
    if "avif" in features.modules and features.check("avif"):
        check(tmp_path / "x.png", RGB * 255, within=12)
    else:
        refused(tmp_path / "x.png", "is an AVIF picture, which is not read")


def test_gifs(tmp_path: Path) -> None:
    picture = Image.fromarray(whole(RGB, 8)).quantize(64)
    picture.save(tmp_path / "x.gif")
    values = imagecodecs.gif_decode((tmp_path / "x.gif").read_bytes())
    check(tmp_path / "x.gif", values.reshape(HEIGHT, WIDTH, -1)[..., :3].astype(float), within=0)


def bmp(
    rows: list[bytes], bits: int, top_down: bool = False, table: bytes = b"", masks: tuple[int, ...] = ()
) -> bytes:
    """A bitmap of Windows; its rows go upwards unless told otherwise, and are filled to 4 bytes."""
    lines = [row + bytes(-len(row) % 4) for row in rows]
    data = b"".join(lines if top_down else lines[::-1])
    behind = b"".join(struct.pack("<I", mask) for mask in masks) + table
    height = -HEIGHT if top_down else HEIGHT
    head = struct.pack(
        "<IiiHHIIiiII", 40, WIDTH, height, 1, bits, 3 if masks else 0, len(data), 0, 0, len(table) // 4, 0
    )
    start = 14 + len(head) + len(behind)
    return b"BM" + struct.pack("<IHHI", start + len(data), 0, 0, start) + head + behind + data


@pytest.mark.parametrize("top_down", [False, True])
@pytest.mark.parametrize("bits", [1, 4, 8, 16, 24, 32])
def test_bmps(tmp_path: Path, bits: int, top_down: bool) -> None:
    eight = whole(RGB, 8)
    masks: tuple[int, ...] = ()
    table = b""
    if bits <= 8:
        colours = np.random.default_rng(bits).integers(0, 256, (2**bits, 4)).astype(np.uint8)
        table, values = colours.tobytes(), whole(GREY, bits)
        rows, wanted = packed(values, bits), colours[values][..., 2::-1].astype(float)
    elif bits == 16:
        five = whole(RGB, 5).astype(np.uint16)
        five[..., 1] = whole(RGB[..., 1], 6)
        rows = [row.astype("<u2").tobytes() for row in five[..., 0] << 11 | five[..., 1] << 5 | five[..., 2]]
        wanted, masks = five / np.array([31, 63, 31]) * 255, (0xF800, 0x07E0, 0x001F)
    else:
        more = np.zeros((HEIGHT, WIDTH, 1), np.uint8)
        rows = [row.tobytes() for row in np.concatenate([eight[..., ::-1], more], axis=2)[..., : bits // 8]]
        wanted = eight.astype(float)
    data = bmp(rows, bits, top_down, table, masks)
    (tmp_path / "x.bmp").write_bytes(data)
    check(tmp_path / "x.bmp", wanted)
    (tmp_path / "x.dib").write_bytes(data[14:])
    if bits > 8:  # Pillow looks for the pixels of a DIB behind the palette.
        check(tmp_path / "x.dib", wanted)


def run_length_bmp(values: np.ndarray, table: bytes) -> bytes:
    """A bitmap of 8 bits with runs of one value, and an end after each row."""
    data = b""
    for row in values[::-1]:
        data += b"".join(bytes((1, value)) for value in row) + b"\0\0"
    data += b"\0\1"
    head = struct.pack("<IiiHHIIiiII", 40, WIDTH, HEIGHT, 1, 8, 1, len(data), 0, 0, 256, 0)
    start = 14 + len(head) + len(table)
    return b"BM" + struct.pack("<IHHI", start + len(data), 0, 0, start) + head + table + data


def test_run_length_bmps(tmp_path: Path) -> None:
    colours = np.random.default_rng(0).integers(0, 256, (256, 4)).astype(np.uint8)
    values = whole(GREY, 8)
    (tmp_path / "x.bmp").write_bytes(run_length_bmp(values, colours.tobytes()))
    check(tmp_path / "x.bmp", colours[values][..., 2::-1].astype(float), within=0)


@pytest.mark.parametrize("name", ["x.tga", "x.ICB", "x.vda", "x.vst"])
@pytest.mark.parametrize("packed_", [False, True])
@pytest.mark.parametrize("upwards", [False, True])
@pytest.mark.parametrize("kind", ["grey", "colour", "alpha", "palette"])
def test_tgas(tmp_path: Path, kind: str, upwards: bool, packed_: bool, name: str) -> None:
    values = whole(
        {"grey": GREY[..., None], "colour": RGB, "alpha": RGB_ALPHA, "palette": GREY[..., None]}[kind], 8
    )
    table = (
        np.random.default_rng(1).integers(0, 256, (256, 3)).astype(np.uint8) if kind == "palette" else None
    )
    stored = values[..., [2, 1, 0, 3][: values.shape[2]]] if values.shape[2] > 1 else values
    stored = stored[::-1] if upwards else stored
    number = {"grey": 3, "palette": 1}.get(kind, 2) + 8 * packed_
    pixels = stored.reshape(-1, stored.shape[2])
    data = b"".join(b"\0" + pixel.tobytes() for pixel in pixels) if packed_ else pixels.tobytes()
    head = struct.pack("<BBBHHBHHHHBB", 0, table is not None, number, 0, 256 if table is not None else 0, 24 if table is not None else 0,
                       0, 0, WIDTH, HEIGHT, 8 * stored.shape[2], 0 if upwards else 0x20)  # fmt: skip
    (tmp_path / name).write_bytes(head + (b"" if table is None else table[:, ::-1].tobytes()) + data)
    wanted = {
        "grey": lambda: grey_rgb(values[..., 0].astype(float)),
        "colour": lambda: values.astype(float),
        "alpha": lambda: values[..., :3] * CLEAR,
        "palette": lambda: table[values[..., 0]].astype(float),
    }[kind]()
    check(tmp_path / name, wanted)
    (tmp_path / "x.png").write_bytes((tmp_path / name).read_bytes())
    refused(tmp_path / "x.png", "x.png")  # Its content bears no mark of the format: the name must.


def test_phones_with_two_pictures(tmp_path: Path) -> None:
    first, second = (Image.fromarray(whole(picture, 8)) for picture in (RGB, 1 - RGB))
    first.save(tmp_path / "x.jpg", "MPO", save_all=True, append_images=[second], quality=98)
    check(tmp_path / "x.jpg", RGB * 255, within=12)


# Files of other kinds, and files that end early.

KINDS: dict[str, tuple[bytes, str]] = {
    "git-lfs": (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n", "run 'git lfs pull'"),
    "heic": (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "is a HEIC picture"),
    "heif": (b"\0\0\0\x18ftypmif1\0\0\0\0mif1", "is a HEIF picture"),
    "jpeg xl": (imagecodecs.jpegxl_encode(whole(RGB, 8)), "is a JPEG XL picture"),
    "jpeg xl box": (b"\0\0\0\x0cJXL \r\n\x87\n", "is a JPEG XL picture"),
    "jpeg xr": (imagecodecs.jpegxr_encode(whole(RGB, 8)), "is a JPEG XR picture"),
    "jpeg-ls": (imagecodecs.jpegls_encode(whole(GREY, 8)), "is a JPEG-LS picture"),
    "photoshop": (b"8BPS\0\1", "is a Photoshop file"),
    "pdf": (b"%PDF-1.7\n", "it is a PDF; save its pages as PNG"),
    "zip": (b"PK\3\4\x14\0", "it is a ZIP archive; unpack it"),
    "gzip": (b"\x1f\x8b\x08\0", "it is packed with gzip; unpack it"),
    "postscript": (b"%!PS-Adobe-3.0 EPSF-3.0\n", "it is PostScript"),
    "svg": (b'<?xml version="1.0"?>\n<svg xmlns="x"></svg>', "is an SVG drawing"),
    "nifti": (struct.pack("<I", 348) + bytes(344), "it is a NIfTI volume"),
    "nrrd": (b"NRRD0004\ntype: short\n", "it is an NRRD volume"),
    "hdf5": (b"\x89HDF\r\n\x1a\n", "it is an HDF5 file"),
    "numpy": (b"\x93NUMPY\1\0", "it is a NumPy array"),
    "mp4": (b"\0\0\0\x20ftypisom\0\0\2\0", "it is a video"),
    "avi": (b"RIFF\0\0\0\0AVI LIST", "it is a video"),
    "mkv": (b"\x1a\x45\xdf\xa3\1\0", "it is a video"),
    "text": (b"patient;diagnosis\n1;melanoma\n", "it is text"),
    "page": (b"\n<!doctype HTML><html><body>404</body></html>", "is a web page, not an image"),
    "zeros": (bytes(5000), "begins with 512 zero bytes"),
    "noise": (b"\x9c\xf3\x11\x80" * 9, "is not an image in a known format"),
    "damaged png": (b"\x89PNG\r\n\x1a\n" + bytes(90), "begins as a PNG file and is damaged"),
    "lossless jpeg": (imagecodecs.ljpeg_encode(whole(GREY, 12), bitspersample=12), "is a lossless JPEG"),
    "12-bit jpeg behind much EXIF": (
        b"\xff\xd8\xff\xe1\xff\xff" + bytes(65533)
        + imagecodecs.jpeg_encode(whole(GREY, 12), bitspersample=12)[2:], "is a JPEG of 12 bits"),
    "apple png": (b"\x89PNG\r\n\x1a\n" + chunk(b"CgBI", b"\x50\0\x20\2") + png([], 8, 2)[8:], "(CgBI)"),
    "pam": (b"P7\nWIDTH 1\n", "is a PAM picture"),
    "pcx": (b"\x0a\5\1\x08" + bytes(60), "is a PCX picture"),
    "sgi": (b"\1\xda\1\1\0\3", "is an SGI picture"),
    "icns": (b"icns\0\0\1\0", "is an Apple icon"),
    "utf-16": ("a letter".encode("utf-16"), "it is text (UTF-16)"),
    "qoi": (imagecodecs.qoi_encode(whole(RGB, 8)), "is a QOI picture"),
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_files_of_other_kinds_are_named(tmp_path: Path, kind: str) -> None:
    data, words = KINDS[kind]
    (tmp_path / "x.jpg").write_bytes(data)
    refused(tmp_path / "x.jpg", words)


def saved(form: str, **options: Any) -> bytes:
    file = io.BytesIO()
    Image.fromarray(whole(np.random.default_rng(0).random((60, 80, 3)), 8)).save(file, form, **options)
    return file.getvalue()


CUT: dict[str, Callable[[], tuple[str, bytes, str]]] = {
    "jpg": lambda: ("x.jpg", saved("JPEG"), "its end is missing"),
    "png": lambda: ("x.png", saved("PNG"), "its end is missing"),
    "gif": lambda: ("x.gif", saved("GIF"), "cannot be read"),
    "webp": lambda: ("x.webp", saved("WEBP"), "bytes are there"),
    "bmp": lambda: ("x.bmp", saved("BMP"), "bytes are there"),
    "tif": lambda: ("x.tif", saved("TIFF"), "it ends early: "),
    "lzw.tif": lambda: ("x.tif", saved("TIFF", compression="tiff_lzw"), "it ends early: "),
    "jp2": lambda: ("x.jp2", saved("JPEG2000"), "cannot be read"),
    "tga": lambda: ("x.tga", saved("TGA"), "cannot be read"),
    "ppm": lambda: ("x.ppm", saved("PPM"), "cannot be read"),
}  # fmt: skip


@pytest.mark.parametrize("part", [0.3, 0.6, 0.95])
@pytest.mark.parametrize("name", CUT)
def test_cut_files_are_refused(tmp_path: Path, name: str, part: float) -> None:
    file, data, words = CUT[name]()
    (tmp_path / file).write_bytes(data)
    assert decode(tmp_path / file).shape == (60, 80, 3)
    (tmp_path / file).write_bytes(data[: int(len(data) * part)])
    refused(tmp_path / file, words)


def test_a_jpeg_2000_whose_two_sizes_differ_is_no_bomb(tmp_path: Path) -> None:
    """The box says 80 x 60; the codestream says 60,000 x 60,000."""
    data = bytearray(saved("JPEG2000"))
    place = data.index(b"\xff\x4f\xff\x51") + 8
    data[place : place + 8] = struct.pack(">II", 60_000, 60_000)
    (tmp_path / "x.jp2").write_bytes(bytes(data))
    refused(tmp_path / "x.jp2", "x.jp2")
