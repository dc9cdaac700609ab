"""Near duplicates: altered copies are found, pictures that only look alike are not."""

from __future__ import annotations

import io
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageEnhance

from lmd.data.audit import looks
from lmd.data.audit.duplicates import NEAR_BITS, TURNED_BITS, identical_rows, near_pairs
from lmd.data.audit.looks import look_at, signature, turned
from lmd.data.dataset.sources import phantom
from tests import toy


def blobs(seed: int, size: int = 96) -> np.ndarray:
    """A picture with structure at several scales."""
    random = np.random.default_rng(seed)
    coarse = [random.integers(0, 256, (n, n, 3), dtype=np.uint8) for n in (4, 8, 16)]
    layers = [Image.fromarray(c).resize((size, size), Image.Resampling.BICUBIC) for c in coarse]
    return np.mean([np.asarray(layer, float) for layer in layers], axis=0).astype(np.uint8)


def records(pictures: list[np.ndarray], names: list[str] | None = None) -> np.ndarray:
    made = np.zeros(len(pictures), dtype=looks._LOOK)
    for row, picture in enumerate(pictures):
        made[row]["hashes"], made[row]["pixels"] = signature(picture)
        made[row]["sha256"] = names[row] if names else f"sha{row}"
    return made


def as_jpeg(image: Image.Image) -> Image.Image:
    buffer = io.BytesIO()
    image.save(buffer, format="JPEG", quality=40)
    return Image.open(buffer).convert("RGB")


ALTERED: dict[str, Callable[[Image.Image], Image.Image]] = {
    "jpeg": as_jpeg,
    "half": lambda image: image.resize((48, 48), Image.Resampling.BICUBIC),
    "double": lambda image: image.resize((192, 192), Image.Resampling.BICUBIC),
    "bright": lambda image: ImageEnhance.Brightness(image).enhance(1.2),
    "contrast": lambda image: ImageEnhance.Contrast(image).enhance(0.7),
    "grey": lambda image: image.convert("L").convert("RGB"),
    "squashed": lambda image: image.resize((120, 80), Image.Resampling.BILINEAR),
    "cropped": lambda image: image.crop((1, 1, 95, 95)),
}
TURNED = {f"turn {turn}": turn for turn in range(1, 8)}


@pytest.mark.parametrize("change", ALTERED)
def test_altered_copies_are_found(change: str) -> None:
    pictures = [blobs(k) for k in range(6)]
    pictures.append(np.asarray(ALTERED[change](Image.fromarray(pictures[2]))))
    pairs, complete = near_pairs(records(pictures))
    assert [(pair.first, pair.second, pair.turn) for pair in pairs] == [(2, 6, 0)]
    assert complete


@pytest.mark.parametrize("turn", TURNED.values(), ids=TURNED)
def test_turned_and_mirrored_copies_are_found(turn: int) -> None:
    pictures = [blobs(k) for k in range(6)]
    copy = np.ascontiguousarray(turned(pictures[2].transpose(2, 0, 1), turn).transpose(1, 2, 0))
    (pair,), _ = near_pairs(records([*pictures, copy]))
    assert (pair.first, pair.second) == (2, 6)
    back = turned(records([copy])["pixels"][0], pair.turn)
    np.testing.assert_allclose(back.astype(int), records([pictures[2]])["pixels"][0].astype(int), atol=2)


def test_other_pictures_are_far_apart() -> None:
    assert near_pairs(records([blobs(k) for k in range(120)]))[0] == []


def test_phantoms_that_look_alike_are_no_copies(tmp_path: Path) -> None:
    """Drawn lesions of one size in the middle of one skin; those of one lesion are two views, not copies."""
    options = phantom.Options(images=60, imbalance=20, val_per_class=2, test_per_class=7, size=48)
    seen = look_at(phantom.prepare(options, tmp_path / "data"))
    assert near_pairs(seen.records)[0] == []


def test_pictures_without_structure_agree_by_brightness() -> None:
    """Their hashes are noise or nothing, whatever they show."""
    black, dark, white = (np.full((64, 64, 3), value, np.uint8) for value in (0, 1, 250))
    pairs, _ = near_pairs(records([black, dark, white]), most_bits=64)
    assert [(pair.first, pair.second) for pair in pairs] == [(0, 1)]


def test_hashes_alone_do_not_suffice() -> None:
    """Equal hashes, other pixels: the second check refuses them."""
    made = records([blobs(0), blobs(1)])
    made["hashes"][1] = made["hashes"][0]
    assert near_pairs(made)[0] == []
    made["pixels"][1] = made["pixels"][0]
    assert len(near_pairs(made)[0]) == 1


def test_the_limit_is_in_bits() -> None:
    made = records([blobs(0), blobs(0)])
    bits = np.unpackbits(made["hashes"][1, 0])
    bits[:NEAR_BITS] ^= 1
    made["hashes"][1] = np.packbits(bits)
    assert [pair.bits for pair in near_pairs(made)[0]] == [NEAR_BITS]
    assert near_pairs(made, NEAR_BITS - 1)[0] == []


def test_turned_copies_have_to_be_closer() -> None:
    made = records([blobs(0), np.ascontiguousarray(np.rot90(blobs(0)))])
    (pair,), _ = near_pairs(made)
    bits = np.unpackbits(made["hashes"][1, pair.turn])
    bits[: TURNED_BITS + 1] = 1 - np.unpackbits(made["hashes"][0, 0])[: TURNED_BITS + 1]
    bits[TURNED_BITS + 1 :] = np.unpackbits(made["hashes"][0, 0])[TURNED_BITS + 1 :]
    made["hashes"][1, pair.turn] = np.packbits(bits)
    assert near_pairs(made)[0] == []
    bits[0] ^= 1
    made["hashes"][1, pair.turn] = np.packbits(bits)
    assert [near.bits for near in near_pairs(made)[0]] == [TURNED_BITS]


def test_identical_images_are_not_near_ones() -> None:
    made = records([blobs(0), blobs(0), blobs(1), blobs(2)], ["a", "a", "b", ""])
    assert identical_rows(made) == [[0, 1]]
    assert near_pairs(made)[0] == []


def test_a_folder_of_blank_pictures_ends_early(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lmd.data.audit.duplicates._MOST_PAIRS", 10)
    monkeypatch.setattr("lmd.data.audit.duplicates._BLOCK", 8)
    pairs, complete = near_pairs(records([np.full((32, 32, 3), 9, np.uint8)] * 8))
    assert not complete
    assert 10 < len(pairs) < 28


def test_blocks_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    made = records([blobs(k // 2) if k % 2 else blobs(k // 2)[1:-1, 1:-1] for k in range(30)])
    whole = near_pairs(made)[0]
    assert len(whole) == 15
    monkeypatch.setattr("lmd.data.audit.duplicates._BLOCK", 60)
    assert near_pairs(made)[0] == whole


def test_a_second_look_decodes_what_is_new_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = toy.make_dataset(tmp_path)
    first = look_at(dataset)
    decoded: list[Path] = []

    def counting(path: Path, *options: int | None) -> tuple[np.ndarray, int]:
        decoded.append(path)
        return looks_examine(path, *options)

    looks_examine = looks.examine
    monkeypatch.setattr(looks, "examine", counting)
    np.testing.assert_array_equal(look_at(dataset).records, first.records)
    assert decoded == []
    time.sleep(0.01)
    Image.fromarray(toy.draw(2, 999)).save(dataset.paths()[4])
    again = look_at(dataset)
    assert decoded == [dataset.paths()[4]]
    assert again.records["sha256"][4] != first.records["sha256"][4]
    np.testing.assert_array_equal(np.delete(again.records, 4), np.delete(first.records, 4))


@pytest.mark.parametrize("damage", [b"", b"\x93NUMPY nonsense", None])
def test_a_damaged_file_of_looks_is_made_again(tmp_path: Path, damage: bytes | None) -> None:
    dataset = toy.make_dataset(tmp_path)
    first = look_at(dataset)
    (kept,) = (dataset.folder / "cache").glob("looks-*.npy")
    kept.write_bytes(kept.read_bytes()[:500] if damage is None else damage)
    np.testing.assert_array_equal(look_at(dataset).records, first.records)
    assert len(np.load(kept)) == 87
