"""Decoding of what users have, whatever its format."""

from __future__ import annotations

import logging
import time
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image, ImageOps

from lmd.data.decode import bounds
from lmd.data.decode import pictures as reader
from lmd.data.decode.files import list_images, printable
from lmd.data.decode.images import decode, resize, verify
from lmd.errors import DataError

RED = (200, 30, 40)


def saved(path: Path, image: Image.Image, **options: object) -> Path:
    image.save(path, **options)
    return path


@pytest.mark.parametrize(
    ("name", "image"),
    [
        ("rgb.png", Image.new("RGB", (6, 4), RED)),
        ("rgba.png", Image.new("RGBA", (6, 4), (*RED, 255))),
        ("palette.png", Image.new("RGB", (6, 4), RED).quantize(4)),
        ("cmyk.tif", Image.new("RGB", (6, 4), RED).convert("CMYK")),
        ("rgb.bmp", Image.new("RGB", (6, 4), RED)),
        ("rgb.webp", Image.new("RGB", (6, 4), RED)),
    ],
)
def test_every_colour_mode_becomes_rgb(tmp_path: Path, name: str, image: Image.Image) -> None:
    options = {"lossless": True} if name.endswith("webp") else {}
    pixels = decode(saved(tmp_path / name, image, **options))
    assert (pixels.shape, pixels.dtype) == ((4, 6, 3), np.uint8)
    np.testing.assert_allclose(pixels.reshape(-1, 3).mean(0), RED, atol=2)


def test_grey_and_sixteen_bits_keep_their_brightness(tmp_path: Path) -> None:
    assert decode(saved(tmp_path / "grey.png", Image.new("L", (3, 3), 77)))[0, 0].tolist() == [77] * 3
    deep = Image.fromarray(np.full((3, 3), 77 * 257, dtype=np.uint16))
    assert decode(saved(tmp_path / "deep.png", deep))[0, 0].tolist() == [77] * 3


@pytest.mark.parametrize(
    ("values", "shown"),
    [
        (np.array([[0.0, 0.25, 1.0]], np.float32), [0, 64, 255]),  # A probability or a reflectance.
        (np.array([[0.0, 77.0, 200.0]], np.float32), [0, 77, 200]),
        (np.array([[0.0, 77 * 257, 60000]], np.float32), [0, 77, 233]),
        (np.array([[-1000.0, 500.0, 2000.0]], np.float32), [0, 128, 255]),  # No range: its own.
        (np.array([[0, 77, 200]], np.int32), [0, 77, 200]),
        (np.array([[0, 77 * 257, 65535]], np.int32), [0, 77, 255]),
        (np.array([[7.0, 7.0, 7e9]], np.float32), [0, 0, 255]),
    ],
)
def test_deep_tiffs_are_brought_to_eight_bits(tmp_path: Path, values: np.ndarray, shown: list[int]) -> None:
    path = saved(tmp_path / "deep.tif", Image.fromarray(values))
    assert decode(path)[0, :, 0].tolist() == shown
    assert np.ptp(decode(path), axis=2).max() == 0


def test_sixteen_bit_tiffs_of_either_byte_order(tmp_path: Path) -> None:
    values = np.array([[0, 77 * 257, 65535]], np.uint16)
    little = saved(tmp_path / "little.tif", Image.fromarray(values))
    big = saved(tmp_path / "big.tif", Image.frombytes("I;16B", (3, 1), values.astype(">u2").tobytes()))
    assert decode(little)[0, :, 0].tolist() == decode(big)[0, :, 0].tolist() == [0, 77, 255]


def test_a_tiff_of_no_numbers_is_refused(tmp_path: Path) -> None:
    path = saved(tmp_path / "nan.tif", Image.fromarray(np.array([[0, np.nan]], np.float32)))
    with pytest.raises(DataError, match=r"nan\.tif cannot be read: it has pixels that are not numbers"):
        decode(path)


def test_cmyk_jpegs_keep_their_colour(tmp_path: Path) -> None:
    path = saved(tmp_path / "print.jpg", Image.new("RGB", (16, 16), RED).convert("CMYK"), quality=95)
    np.testing.assert_allclose(decode(path).reshape(-1, 3).mean(0), RED, atol=4)


def test_black_and_white(tmp_path: Path) -> None:
    image = Image.new("1", (2, 1))
    image.putpixel((1, 0), 1)
    assert decode(saved(tmp_path / "bits.png", image))[0, :, 0].tolist() == [0, 255]


def test_transparency_is_laid_on_black(tmp_path: Path) -> None:
    half = Image.new("RGBA", (2, 1), (200, 200, 200, 0))
    half.putpixel((1, 0), (200, 100, 0, 51))
    assert decode(saved(tmp_path / "clear.png", half)).tolist() == [[[0, 0, 0], [40, 20, 0]]]


@pytest.mark.parametrize(
    "name", ["x.png", "x.tga", "x.bmp", "x.webp", "x.tif", "x.jp2", "la.png", "deep.tif"]
)
def test_an_empty_transparency_is_none(tmp_path: Path, name: str) -> None:
    """Its writer left the fourth channel at 0: a viewer that heeds it shows nothing at all."""
    colours = np.random.default_rng(0).integers(0, 256, (8, 9, 3)).astype(np.uint8)
    wanted, empty = colours, np.dstack([colours, np.zeros((8, 9), np.uint8)])
    if name == "la.png":
        wanted = np.repeat(colours[..., :1], 3, axis=2)
        Image.fromarray(empty[..., [0, 3]], "LA").save(tmp_path / name)
    elif name == "deep.tif":
        tifffile.imwrite(
            tmp_path / name, empty.astype(np.uint16) * 257, photometric="rgb", extrasamples=["unassalpha"]
        )
    else:
        options = {"x.webp": {"lossless": True, "exact": True}, "x.jp2": {"irreversible": False}}
        Image.fromarray(empty).save(tmp_path / name, **options.get(name, {}))
    np.testing.assert_array_equal(decode(tmp_path / name), wanted)


@pytest.mark.parametrize("bits", [1, 2, 8, 16])
def test_a_clear_grey_level_is_black(tmp_path: Path, bits: int) -> None:
    from tests.data.decode.test_matrix_formats import HEIGHT, WIDTH, chunk, packed, png

    top = 2**bits - 1
    values = np.zeros((HEIGHT, WIDTH), np.uint8 if bits <= 8 else np.uint16)
    values[3:, :20] = top
    for clear, white in ((top, 0), (0, 255)):
        mark = chunk(b"tRNS", clear.to_bytes(2, "big"))
        (tmp_path / "x.png").write_bytes(png(packed(values, bits), bits, 0, mark))
        np.testing.assert_array_equal(decode(tmp_path / "x.png")[..., 1], np.where(values == top, white, 0))


def test_a_transparent_palette_colour_is_laid_on_black(tmp_path: Path) -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([200, 200, 200, 10, 20, 30])
    image.putpixel((1, 0), 1)
    pixels = decode(saved(tmp_path / "palette.png", image, transparency=0))
    assert pixels.tolist() == [[[0, 0, 0], [10, 20, 30]]]


@pytest.mark.parametrize("ending", ["png", "jpg", "tif"])
@pytest.mark.parametrize("tag", range(1, 9))
def test_an_image_stands_upright(tmp_path: Path, tag: int, ending: str) -> None:
    """As Pillow's own function turns it, which is not the one that is used."""
    values = np.zeros((16, 32, 3), np.uint8)
    values[:8, :8] = 255
    exif = Image.Exif()
    exif[0x0112] = tag
    path = saved(tmp_path / f"turned.{ending}", Image.fromarray(values), exif=exif)
    with Image.open(path) as image:
        expected = np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
    assert expected.shape == ((16, 32, 3) if tag < 5 else (32, 16, 3))
    np.testing.assert_array_equal(decode(path), expected)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_a_damaged_exif_tag_does_not_lose_an_image(tmp_path: Path) -> None:
    path = saved(tmp_path / "odd.jpg", Image.new("RGB", (8, 8)), exif=b"Exif\0\0MM\0*\0\0\0\x08\xff\xff")
    assert decode(path).shape == (8, 8, 3)


# Several pictures in one file.


def pictures(count: int) -> list[Image.Image]:
    return [Image.new("RGB", (6, 4), (60 * number, 0, 0)) for number in range(count)]


@pytest.mark.parametrize("name", ["film.gif", "film.png", "film.webp", "pages.tif"])
def test_of_several_pictures_one_must_be_chosen(tmp_path: Path, name: str) -> None:
    first, *rest = pictures(3)
    options = {"lossless": True} if name.endswith("webp") else {}
    path = saved(tmp_path / name, first, save_all=True, append_images=rest, **options)
    with pytest.raises(DataError, match=r"has 3 frames, and one is needed: choose it with --frame N"):
        decode(path)
    assert [int(decode(path, frame=number)[0, 0, 0]) for number in (1, 2, 3)] == [0, 60, 120]
    with pytest.raises(DataError, match="has 3 frames; there is no frame 4"):
        decode(path, frame=4)


def test_a_single_picture_needs_no_choice(tmp_path: Path) -> None:
    path = saved(tmp_path / "one.png", pictures(2)[1])
    assert decode(path, frame=7)[0, 0, 0] == 60


def test_the_preview_of_a_camera_is_no_second_picture(tmp_path: Path) -> None:
    first, second = (Image.new("RGB", (16, 16), (shade,) * 3) for shade in (50, 200))
    path = saved(tmp_path / "phone.jpg", first, format="MPO", save_all=True, append_images=[second])
    with Image.open(path) as image:
        assert image.n_frames == 2
    assert decode(path)[0, 0, 0] == 50


def test_the_preview_of_a_scanner_is_no_second_picture(tmp_path: Path) -> None:
    small, large = Image.new("RGB", (3, 2)), Image.new("RGB", (6, 4))
    small.encoderinfo = {"tiffinfo": {254: 1}}
    path = saved(tmp_path / "scan.tif", large, save_all=True, append_images=[small])
    with Image.open(path) as image:
        assert image.n_frames == 2
    assert decode(path).shape == (4, 6, 3)


# What would harm.


def test_a_bomb_is_refused_before_it_is_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = saved(tmp_path / "big.png", Image.new("RGB", (6, 4)))
    monkeypatch.setattr(bounds, "MAX_PIXELS", 20)
    monkeypatch.setattr(Image.Image, "load", lambda *_: pytest.fail("decoded"))
    with pytest.raises(DataError, match=r"big\.png is too large: 6 x 4 pixels"):
        decode(path)


def test_the_guard_of_pillow_stands(tmp_path: Path) -> None:
    """A picture of 2 terapixels in a few bytes: its header alone is read."""
    path = saved(tmp_path / "bomb.png", Image.new("1", (8, 8)))
    data = bytearray(path.read_bytes())
    data[16:24] = (1_500_000).to_bytes(4, "big") * 2
    data[29:33] = zlib.crc32(data[12:29]).to_bytes(4, "big")
    path.write_bytes(data)
    with pytest.raises(
        DataError, match=r"bomb\.png is too large: at most 100 million pixels \(300 million of a JPEG\)"
    ):
        decode(path)
    assert Image.MAX_IMAGE_PIXELS == bounds.MAX_OF_JPEG


def test_large_images_are_decoded_one_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = [saved(tmp_path / f"{number}.png", Image.new("RGB", (6, 4))) for number in range(4)]
    monkeypatch.setattr(bounds, "LARGE_PIXELS", 20)
    monkeypatch.setattr("lmd.parallel.num_cores", lambda: 4)
    real, now, most = reader._to_rgb, [0], [0]

    def slow(*given: Any) -> reader.Picture:
        now[0] += 1
        most[0] = max(most[0], now[0])
        time.sleep(0.02)
        now[0] -= 1
        return real(*given)

    monkeypatch.setattr(reader, "_to_rgb", slow)
    assert verify(paths) == {}
    assert most == [1]


def test_no_format_that_starts_a_program_is_tried(tmp_path: Path) -> None:
    path = tmp_path / "x.jpg"
    path.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\nshowpage\n")
    with pytest.raises(DataError, match="is not an image in a known format"):
        decode(path)


def test_crops(tmp_path: Path) -> None:
    wide = np.zeros((10, 30, 3), np.uint8)
    wide[:, 10:20] = 255
    assert resize(wide, 10, "center").min() == 255
    squashed = resize(wide, 9, "none")
    assert squashed.shape == (9, 9, 3)
    assert squashed[4, 0, 0] == 0
    assert squashed[4, 4, 0] == 255


def test_verify_names_what_cannot_be_read(tmp_path: Path) -> None:
    good = saved(tmp_path / "good.png", Image.new("RGB", (4, 4)))
    bad = tmp_path / "bad.png"
    bad.write_bytes(good.read_bytes()[:40])
    assert list(verify([good, bad])) == [bad]


def test_hidden_files_and_folders_hold_no_images(tmp_path: Path) -> None:
    good = saved(tmp_path / "good.png", Image.new("RGB", (4, 4)))
    (tmp_path / "._good.png").write_bytes(b"macOS")
    (tmp_path / "notes.txt").write_text("")
    (tmp_path / ".ipynb_checkpoints").mkdir()
    saved(tmp_path / ".ipynb_checkpoints" / "good-checkpoint.png", Image.new("RGB", (4, 4)))
    assert list_images(tmp_path) == [good]


def test_images_of_every_format_are_listed_in_one_order(tmp_path: Path) -> None:
    names = ["b.JPG", "a.dcm", "c/Z.TIFF", "c/x.webp", "d.jpg/inside.bmp"]
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert list_images(tmp_path) == sorted(tmp_path / name for name in names)


def test_links_to_folders_are_told_and_not_entered(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The class `a` must not get the images of `b` through a link to their common folder."""
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        saved(tmp_path / name / "x.png", Image.new("RGB", (4, 4)))
    (tmp_path / "a" / "loop").symlink_to(tmp_path, target_is_directory=True)
    with caplog.at_level(logging.WARNING):
        assert list_images(tmp_path / "a") == [tmp_path / "a" / "x.png"]
    assert caplog.messages == [f"the link {tmp_path / 'a' / 'loop'} to a folder is not entered"]


def test_a_name_in_a_message_is_one_line() -> None:
    assert printable("über\n\x1b[31m\udcff.png") == "über\\n\\x1b[31m\\udcff.png"


def test_a_jpeg_decoded_small_looks_the_same(tmp_path: Path) -> None:
    ramp = np.linspace(0, 255, 800)[None, :, None].repeat(600, 0).repeat(3, 2).astype(np.uint8)
    path = saved(tmp_path / "large.jpg", Image.fromarray(ramp), quality=95)
    small = decode(path, least=64)
    assert 64 <= min(small.shape[:2]) < 600
    difference = resize(small, 32).astype(int) - resize(decode(path), 32)
    assert np.abs(difference).max() <= 3
