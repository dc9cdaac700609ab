"""An image decoded at the size of the network is the one that is decoded and then resized."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lmd.data.decode.images import decode, decode_small, resize
from lmd.errors import DataError
from tests import toy


def noise(height: int, width: int) -> Image.Image:
    return Image.fromarray(toy.draw(1, 7, max(height, width))[:height, :width])


@pytest.mark.parametrize("crop", ["none", "center"])
@pytest.mark.parametrize(
    ("name", "options"), [("a.jpg", {}), ("a.png", {}), ("turned.jpg", {"exif": 6}), ("frames.tif", {})]
)
def test_it_is_the_decoded_and_resized_image(
    name: str, options: dict[str, int], crop: str, tmp_path: Path
) -> None:
    exif = Image.Exif()
    exif[0x0112] = options.get("exif", 1)
    pages = [noise(100, 130)] if name == "frames.tif" else []
    noise(150, 200).save(
        tmp_path / name, exif=exif, **({"save_all": True, "append_images": pages} if pages else {})
    )
    frame = 2 if pages else None
    expected = resize(decode(tmp_path / name, least=32, frame=frame), 16, crop).transpose(2, 0, 1)
    found = decode_small(tmp_path / name, 16, crop, frame)
    assert (found.shape, found.dtype) == ((3, 16, 16), np.uint8)
    np.testing.assert_array_equal(found, expected)


def test_a_bad_file_is_refused_in_the_same_words(tmp_path: Path) -> None:
    noise(64, 64).save(tmp_path / "cut.jpg")
    (tmp_path / "cut.jpg").write_bytes((tmp_path / "cut.jpg").read_bytes()[:600])
    (tmp_path / "text.jpg").write_bytes(b"text")
    for name in ("cut.jpg", "text.jpg", "none.jpg"):
        with pytest.raises(DataError) as expected:
            decode(tmp_path / name)
        with pytest.raises(DataError) as found:
            decode_small(tmp_path / name, 16)
        assert str(found.value) == str(expected.value)
