"""Damaged and odd images as users meet them: each is used, skipped and listed, passed over, or refused in one line."""

from __future__ import annotations

import io
import os
import signal
import sys
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from lmd import cli
from lmd.data.dataset.manifest import read_dataset
from lmd.data.decode.cache import open_cache


class Odd(NamedTuple):
    """An input in the folder of a class, and what has to become of it."""

    name: str  # What the file is called; it may be put into a sub-folder.
    make: Callable[[Path], object]
    outcome: str  # "used", "passed over", or the reason for which it is refused and can be skipped.


def image(size: tuple[int, int] = (8, 6), mode: str = "RGB", colour: object = 90) -> Image.Image:
    shade = (colour,) * 3 if mode == "RGB" else colour
    return Image.new(mode, size, shade)  # type: ignore[arg-type]


def encoded(form: str, picture: Image.Image | None = None, **options: object) -> bytes:
    file = io.BytesIO()
    (picture or image((64, 48))).save(file, form, **options)
    return file.getvalue()


def saving(form: str, picture: Image.Image | None = None, **options: object) -> Callable[[Path], object]:
    return lambda path: path.write_bytes(encoded(form, picture, **options))


def writing(data: bytes) -> Callable[[Path], object]:
    return lambda path: path.write_bytes(data)


def noise(size: tuple[int, int]) -> Image.Image:
    values = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3))
    return Image.fromarray(values.astype(np.uint8))


def bomb() -> bytes:
    """A picture of 90,000 x 90,000 pixels in a hundred bytes."""
    data = bytearray(encoded("PNG", image(mode="1", colour=0)))
    data[16:24] = (90_000).to_bytes(4, "big") * 2
    data[29:33] = zlib.crc32(data[12:29]).to_bytes(4, "big")
    return bytes(data)


def looped_tiff() -> bytes:
    """A TIFF file whose second page is its first."""
    data = bytearray(encoded("TIFF", image()))
    start = int.from_bytes(data[4:8], "little")
    count = int.from_bytes(data[start : start + 2], "little")
    data[start + 2 + 12 * count : start + 6 + 12 * count] = start.to_bytes(4, "little")
    return bytes(data)


def linked(target: str, folder: bool = False) -> Callable[[Path], object]:
    return lambda path: path.symlink_to(target, target_is_directory=folder)


def folder_with_image(path: Path) -> None:
    path.mkdir()
    image().save(path / "inside.png")


def locked(path: Path) -> None:
    image().save(path)
    path.chmod(0)


def film(form: str, **options: object) -> Callable[[Path], object]:
    """A file of three frames or pages, of the shades 10, 90 and 200."""

    def make(path: Path) -> None:
        first, *rest = (image((64, 48), colour=shade) for shade in (10, 90, 200))
        saving(form, first, save_all=True, append_images=rest, **options)(path)

    return make


EXIF = Image.Exif()
EXIF[0x0112] = 6

ODD = [
    # Used.
    Odd("grey16.png", saving("PNG", Image.fromarray(np.full((6, 8), 40_000, np.uint16))), "used"),
    Odd("grey16.tif", saving("TIFF", Image.fromarray(np.full((6, 8), 40_000, np.uint16))), "used"),
    Odd("float.tiff", saving("TIFF", Image.fromarray(np.full((6, 8), 0.5, np.float32))), "used"),
    Odd("grey.jpg", saving("JPEG", image(mode="L")), "used"),
    Odd("bits.png", saving("PNG", image(mode="1", colour=1)), "used"),
    Odd("alpha.png", saving("PNG", image(mode="RGBA", colour=(90, 90, 90, 128))), "used"),
    Odd("grey-alpha.png", saving("PNG", image(mode="LA", colour=(90, 128))), "used"),
    Odd("palette.gif", saving("GIF", image().quantize(4)), "used"),
    Odd("palette.png", saving("PNG", image().quantize(4), transparency=0), "used"),
    Odd("print.jpg", saving("JPEG", image(mode="CMYK", colour=(9, 9, 9, 9))), "used"),
    Odd("print.tif", saving("TIFF", image(mode="CMYK", colour=(9, 9, 9, 9))), "used"),
    Odd("turned.jpg", saving("JPEG", exif=EXIF), "used"),
    Odd("progressive.jpg", saving("JPEG", noise((64, 48)), progressive=True), "used"),
    Odd("lossless.webp", saving("WEBP", lossless=True), "used"),
    Odd("windows.bmp", saving("BMP"), "used"),
    Odd("UPPER.JPEG", saving("JPEG"), "used"),
    Odd("png-named.jpg", saving("PNG"), "used"),
    Odd("jpeg-named.dcm", saving("JPEG"), "used"),
    Odd("one-pixel.png", saving("PNG", image((1, 1))), "used"),
    Odd("strip.png", saving("PNG", image((20_000, 1))), "used"),
    Odd("strip.jpg", saving("JPEG", image((1, 20_000))), "used"),
    Odd("large.png", saving("PNG", image((4000, 3000), mode="L"), compress_level=1), "used"),
    Odd("phone.jpg", film("MPO"), "used"),
    Odd("Läsion 日本 é.png", saving("PNG"), "used"),
    Odd("with  spaces .png", saving("PNG"), "used"),
    Odd("with\nnewline.png", saving("PNG"), "used"),
    Odd("with,comma\"quote';.png", saving("PNG"), "used"),
    Odd("-option.png", saving("PNG"), "used"),
    Odd("link.png", linked("good0.png"), "used"),
    # Not images: passed over.
    Odd("._mac.jpg", writing(b"\0\x05\x16\x07"), "passed over"),
    Odd(".hidden.png", saving("PNG"), "passed over"),
    Odd("notes.txt", writing(b"a note"), "passed over"),
    Odd("loop", linked(".", folder=True), "passed over"),
    Odd("loop.png", linked("..", folder=True), "passed over"),
    # Refused, or skipped and listed.
    Odd("empty.jpg", writing(b""), "is empty (0 bytes)"),
    Odd("text.jpg", writing(b"this is not an image\n" * 9), "is not an image in a known format"),
    Odd("page.jpg", writing(b"<!DOCTYPE html>\n<html>404 Not Found</html>"), "is a web page, not an image"),
    Odd("script.jpg", writing(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n"), "is not an image"),
    Odd("text.dcm", writing(b"this is not DICOM"), "is not an image in a known format"),
    Odd("cut.dcm", writing(b"\0" * 128 + b"DICM"), "is a DICOM file without an image in it"),
    Odd(
        "cut.jpg", writing(encoded("JPEG", noise((64, 48)))[:-600]), "cannot be read: image file is truncated"
    ),
    Odd("cut.png", writing(encoded("PNG", noise((64, 48)))[:-600]), "cannot be read"),
    Odd("cut.gif", writing(encoded("GIF", noise((64, 48)))[:-2000]), "cannot be read"),
    Odd("cut.tif", writing(encoded("TIFF", noise((64, 48)))[:-2000]), "cannot be read"),
    Odd("cut.webp", writing(encoded("WEBP", noise((64, 48)), lossless=True)[:-600]), "cannot be read"),
    Odd("head.jpg", writing(encoded("JPEG")[:30]), "cannot be read"),
    Odd("bomb.png", writing(bomb()), "is too large: at most 100 million pixels"),
    Odd("endless.tif", writing(looped_tiff()), "used"),
    Odd("nan.tif", saving("TIFF", Image.fromarray(np.full((6, 8), np.nan, np.float32))), "not numbers"),
    Odd("film.gif", film("GIF"), "has 3 frames, and one is needed: choose it with --frame N"),
    Odd("film.png", film("PNG"), "has 3 frames"),
    Odd("film.webp", film("WEBP", lossless=True), "has 3 frames"),
    Odd("pages.tif", film("TIFF"), "has 3 frames"),
    Odd("broken-link.png", linked("gone.png"), "is a link to a file that is not there"),
    Odd("self.png", linked("self.png"), "cannot be read: Too many levels of symbolic links"),
    Odd("zero.jpg", linked("/dev/zero"), "is not a file but a folder, pipe or device"),
    Odd("pipe.jpg", os.mkfifo, "is not a file but a folder, pipe or device"),
    Odd("locked.png", locked, "cannot be read: Permission denied"),
]


@pytest.fixture(autouse=True)
def deadline() -> Iterator[None]:
    """Nothing may hang."""
    signal.alarm(60)
    yield
    signal.alarm(0)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two classes of six sound images."""
    for name in ("a", "b"):
        (tmp_path / "raw" / name).mkdir(parents=True)
        for number in range(6):
            image(colour=40 * number).save(tmp_path / "raw" / name / f"good{number}.png")
    return tmp_path / "raw"


def lmd(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    """Runs the command here; returns its exit code."""
    monkeypatch.setattr(sys, "argv", ["lmd", *map(str, arguments)])
    with pytest.raises(SystemExit) as end:
        cli.main()
    return int(end.value.code or 0)


def prepared(out: Path) -> set[str]:
    """The images of a dataset folder; all of them come into the cache."""
    dataset = read_dataset(out)
    assert open_cache(dataset, 8).shape == (len(dataset.table), 3, 8, 8)
    return set(dataset.table["file"])


GOOD = {f"{label}/good{number}.png" for label in "ab" for number in range(6)}


@pytest.mark.parametrize("odd", ODD, ids=[ascii(odd.name) for odd in ODD])
def test_odd_images(
    odd: Odd,
    root: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    if odd.make is locked and os.geteuid() == 0:
        pytest.skip("root may read everything")
    odd.make(root / "a" / odd.name)
    command = ("prepare", "folder", "--root", root, "--out")
    code = lmd(monkeypatch, *command, tmp_path / "data")
    captured = capsys.readouterr()
    if odd.outcome in ("used", "passed over"):
        assert code == 0, captured.err
        assert prepared(tmp_path / "data") == GOOD | ({f"a/{odd.name}"} if odd.outcome == "used" else set())
        assert not (tmp_path / "data" / "skipped.csv").exists()
        return
    assert code == 2
    line = captured.err.strip()
    assert odd.outcome in line
    assert odd.name in line
    assert "\n" not in line
    assert "(1 such image; leave it out with --skip-bad)" in line
    assert not (tmp_path / "data").exists()
    assert lmd(monkeypatch, *command, tmp_path / "data", "--skip-bad") == 0
    assert prepared(tmp_path / "data") == GOOD
    skipped = pd.read_csv(tmp_path / "data" / "skipped.csv")
    assert skipped["file"].tolist() == [f"a/{odd.name}"]
    assert odd.outcome in skipped["reason"][0]
    assert "1 image or row left out" in capsys.readouterr().out


def test_the_folder_of_an_odd_name_is_searched(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder_with_image(root / "a" / "x.jpg")
    assert lmd(monkeypatch, "prepare", "folder", "--root", root, "--out", tmp_path / "data") == 0
    assert prepared(tmp_path / "data") == GOOD | {"a/x.jpg/inside.png"}


@pytest.mark.parametrize("frame", [1, 3])
def test_a_frame_can_be_chosen(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, frame: int
) -> None:
    film("GIF")(root / "a" / "film.gif")
    command = ("prepare", "folder", "--root", root, "--out", tmp_path / "data", "--frame", frame)
    assert lmd(monkeypatch, *command) == 0
    dataset = read_dataset(tmp_path / "data")
    row = dataset.table["file"].tolist().index("a/film.gif")
    assert np.unique(open_cache(dataset, 8)[row]).tolist() == [{1: 10, 3: 200}[frame]]


@pytest.mark.parametrize(
    ("frame", "message"), [(4, "has 3 frames; there is no frame 4"), (0, "--frame 0: must be at least 1")]
)
def test_a_frame_that_is_not_there_is_refused(
    root: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    frame: int,
    message: str,
) -> None:
    film("GIF")(root / "a" / "film.gif")
    command = ("prepare", "folder", "--root", root, "--out", tmp_path / "data", "--frame", frame)
    assert lmd(monkeypatch, *command) == 2
    assert message in capsys.readouterr().err


def test_when_no_image_is_left_that_is_said(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for path in (root / "a").iterdir():
        path.write_bytes(b"")
    command = ("prepare", "folder", "--root", root, "--out", tmp_path / "data", "--skip-bad")
    assert lmd(monkeypatch, *command) == 2
    assert "class 'a' is empty" in capsys.readouterr().err
