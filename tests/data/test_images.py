"""Decoding of what users have, and a cache that is never wrong."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lmd.data import images
from lmd.data.images import decode, file_hashes, list_images, open_cache, resize, verify
from lmd.data.manifest import Dataset
from lmd.errors import DataError
from tests import toy

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


def test_transparency_is_laid_on_black(tmp_path: Path) -> None:
    half = Image.new("RGBA", (2, 2), (200, 200, 200, 0))
    assert decode(saved(tmp_path / "clear.png", half)).max() == 0


def test_an_image_stands_upright(tmp_path: Path) -> None:
    image = Image.new("RGB", (4, 2))
    image.putpixel((0, 0), (255, 255, 255))
    exif = Image.Exif()
    exif[0x0112] = 6  # To be turned by 90 degrees clockwise.
    pixels = decode(saved(tmp_path / "turned.png", image, exif=exif))
    assert pixels.shape == (4, 2, 3)
    assert pixels[0, 1].tolist() == [255] * 3


def test_a_bomb_is_refused_before_it_is_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "MAX_PIXELS", 20)
    with pytest.raises(DataError, match=r"big\.png is too large: 6 x 4"):
        decode(saved(tmp_path / "big.png", Image.new("RGB", (6, 4))))


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


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    return toy.make_dataset(tmp_path)


def test_the_cache_holds_the_resized_images_in_table_order(dataset: Dataset) -> None:
    cache = open_cache(dataset, 16)
    assert (cache.shape, cache.dtype) == ((87, 3, 16, 16), np.uint8)
    assert not cache.flags.writeable
    for row in (0, 50, 86):
        expected = resize(decode(dataset.paths()[row]), 16).transpose(2, 0, 1)
        np.testing.assert_array_equal(cache[row], expected)


def test_a_second_opening_decodes_nothing(dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    first = np.array(open_cache(dataset, 16))
    monkeypatch.setattr(images, "decode", lambda *_: pytest.fail("decoded again"))
    monkeypatch.setattr(Path, "read_bytes", lambda *_: pytest.fail("hashed again"))
    np.testing.assert_array_equal(open_cache(dataset, 16), first)


def test_a_changed_image_is_decoded_again(dataset: Dataset) -> None:
    before = np.array(open_cache(dataset, 16))
    victim = dataset.paths()[7]
    Image.new("RGB", (20, 20), (255, 255, 255)).save(victim)
    os.utime(victim, ns=(1, 1))
    after = open_cache(dataset, 16)
    assert after[7].min() == 255
    np.testing.assert_array_equal(np.delete(after, 7, 0), np.delete(before, 7, 0))


def test_size_and_crop_have_caches_of_their_own(dataset: Dataset) -> None:
    assert open_cache(dataset, 16).shape[-1] == 16
    assert open_cache(dataset, 8).shape[-1] == 8
    open_cache(dataset, 8, "center")
    assert len(list((dataset.folder / "cache").glob("*.npy"))) == 3


def test_an_interrupted_build_is_not_taken_for_a_cache(
    dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process dies between two images; the next opening builds the whole."""
    real, calls = images.resize, []

    def dies(*arguments: object) -> np.ndarray:
        calls.append(1)
        if len(calls) == 40:
            raise KeyboardInterrupt
        return real(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(images, "resize", dies)
    with pytest.raises(KeyboardInterrupt):
        open_cache(dataset, 16)
    monkeypatch.setattr(images, "resize", real)
    expected = resize(decode(dataset.paths()[86]), 16).transpose(2, 0, 1)
    np.testing.assert_array_equal(open_cache(dataset, 16)[86], expected)


def test_a_damaged_list_of_hashes_is_made_anew(dataset: Dataset) -> None:
    hashes = file_hashes(dataset)
    (dataset.folder / "cache" / "hashes.json").write_text("{damaged")
    assert file_hashes(dataset) == hashes


def test_a_damaged_cache_is_built_again(dataset: Dataset) -> None:
    expected = np.array(open_cache(dataset, 16))
    (file,) = (dataset.folder / "cache").glob("*.npy")
    file.write_bytes(file.read_bytes()[:5000])
    np.testing.assert_array_equal(open_cache(dataset, 16), expected)


def test_the_room_of_a_cache_is_claimed_before_it_is_filled(
    dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a full disk a sparse memory map would kill the process instead of raising."""
    seen: list[int] = []
    real = images._in_threads

    def look(function: object, items: object, progress: object) -> list[object]:
        unfinished = [path.stat() for path in (dataset.folder / "cache").glob(".*.npy")]
        seen.extend(512 * status.st_blocks - status.st_size for status in unfinished)
        return real(function, items, progress)  # type: ignore[arg-type]

    monkeypatch.setattr(images, "_in_threads", look)
    open_cache(dataset, 64)
    assert seen
    assert min(seen) >= 0


def test_a_full_disk_is_one_line_and_leaves_no_cache(
    dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(images, "_reserve", full)
    with pytest.raises(DataError, match=r"cannot write .*16-none-.*: No space left"):
        open_cache(dataset, 16)
    assert [path.name for path in (dataset.folder / "cache").iterdir()] == ["hashes.json"]


def test_an_unreadable_image_is_named_when_the_cache_is_built(dataset: Dataset) -> None:
    dataset.paths()[5].write_bytes(b"no image")
    with pytest.raises(DataError, match=r"image005\.png cannot be read"):
        open_cache(dataset, 16)
    assert not list((dataset.folder / "cache").glob("*.npy"))


def test_hidden_files_are_no_images(tmp_path: Path) -> None:
    good = saved(tmp_path / "good.png", Image.new("RGB", (4, 4)))
    (tmp_path / "._good.png").write_bytes(b"macOS")
    (tmp_path / "notes.txt").write_text("")
    assert list_images(tmp_path) == [good]


def test_a_jpeg_decoded_small_looks_the_same(tmp_path: Path) -> None:
    ramp = np.linspace(0, 255, 800)[None, :, None].repeat(600, 0).repeat(3, 2).astype(np.uint8)
    path = saved(tmp_path / "large.jpg", Image.fromarray(ramp), quality=95)
    small = decode(path, least=64)
    assert 64 <= min(small.shape[:2]) < 600
    difference = resize(small, 32).astype(int) - resize(decode(path), 32)
    assert np.abs(difference).max() <= 3
