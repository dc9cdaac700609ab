"""What keeps the cost of many images within bounds gives what the plain way gives."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from imagehash import phash
from PIL import Image

from lmd.data.audit import buckets, duplicates, looks
from lmd.data.audit.buckets import close_in_buckets
from lmd.data.audit.looks import look_at, signature, turned
from lmd.data.decode import cache, hashes
from lmd.data.decode.cache import array_of
from lmd.data.decode.hashes import file_hashes
from lmd.evaluation import answers
from lmd.evaluation.answers import write_predictions
from lmd.spreadsheet import guarded_table
from tests import toy


def planted(number: int, flipped: int, random: np.random.Generator) -> np.ndarray:
    """Hashes of which the second half are copies of the first, with some bits flipped in each."""
    bits = random.integers(0, 2, (number, 256), dtype=np.uint8)
    copies = bits.copy()
    for row in copies:
        row[random.choice(256, flipped, replace=False)] ^= 1
    return np.packbits(np.concatenate([bits, copies]), axis=1)


@pytest.mark.parametrize(("flipped", "least"), [(0, 1.0), (12, 0.99), (24, 0.95), (36, 0.7)])
def test_most_near_pairs_meet_in_a_bucket(flipped: int, least: float) -> None:
    number = 1500
    both = planted(number, flipped, np.random.default_rng(0))
    found: dict[tuple[int, int], int] = {}
    for first, second, bits in close_in_buckets(both, both, 36):
        found |= dict(zip(zip(first.tolist(), second.tolist(), strict=True), bits.tolist(), strict=True))
    there = sum(found.get((row, row + number)) == flipped for row in range(number))
    assert there >= least * number
    assert all(first < second for first, second in found)


def test_a_bucket_of_equal_pictures_costs_no_square(monkeypatch: pytest.MonkeyPatch) -> None:
    """Twenty thousand black pictures have 200 million pairs."""
    monkeypatch.setattr(buckets, "TABLES", 1)
    black = np.zeros((20_000, 32), dtype=np.uint8)
    (part,) = close_in_buckets(black, black, 36)
    assert len(part[0]) <= 64 * 64
    assert len(part[0]) > 1000


def test_many_pictures_are_searched_in_buckets_and_that_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = toy.make_dataset(tmp_path)
    for row, change in ((0, 8), (1, 0)):
        image = Image.open(dataset.paths()[row])
        turned_image = (
            image.transpose(Image.Transpose.ROTATE_90)
            if row
            else image.point(lambda v, c=change: min(255, v + c))
        )
        turned_image.save(dataset.paths()[row + 60])
    seen = look_at(dataset)
    whole, complete = duplicates.near_pairs(seen.records)
    monkeypatch.setattr(duplicates, "MOST_COMPARED", 10)
    some, complete_now = duplicates.near_pairs(seen.records)
    assert (complete, complete_now) == (True, False)
    assert whole == some
    assert {(pair.first, pair.second) for pair in some} >= {(0, 60), (1, 61)}


def test_records_in_a_file_are_those_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = toy.make_dataset(tmp_path)
    plain = look_at(dataset)
    (kept,) = (dataset.folder / "cache").glob("looks-*.npy")
    text = kept.read_bytes()
    kept.unlink()
    monkeypatch.setattr(looks, "_MOST_IN_MEMORY", 0)
    monkeypatch.setattr(looks, "_AT_ONCE", 10)
    again = look_at(dataset)
    assert isinstance(again.records, np.memmap)
    assert np.array_equal(again.records, plain.records)
    assert kept.read_bytes() == text
    assert np.array_equal(look_at(dataset).records, plain.records)
    assert [path.name for path in kept.parent.iterdir() if path.name.startswith("tmp")] == []


def test_one_transform_gives_the_hashes_of_all_positions() -> None:
    for number in range(12):
        image = toy.draw(number % 3, number, 50)
        grey = Image.fromarray(image).convert("L").resize((64, 64), Image.Resampling.BILINEAR)
        for turn, hashed in enumerate(signature(image)[0]):
            picture = Image.fromarray(np.ascontiguousarray(turned(np.asarray(grey), turn)))
            assert np.array_equal(hashed, np.packbits(phash(picture, hash_size=16).hash)), turn


def test_the_name_of_a_cache_is_that_of_the_whole_list(tmp_path: Path) -> None:
    """It is hashed in parts; caches of earlier versions are still found."""
    dataset = toy.make_dataset(tmp_path)
    files = list(zip(dataset.table["file"], file_hashes(dataset), strict=True))
    text = json.dumps([cache._VERSION, 16, "none", None, None, files])
    assert (
        array_of(dataset, 16).target.name == f"16-none-{hashlib.sha256(text.encode()).hexdigest()[:16]}.npy"
    )


def test_hashes_are_saved_ever_rarer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """To write all of them after each block would take a time that grows with the square of N."""
    dataset, saved = toy.make_dataset(tmp_path), list[int]()
    real = hashes._save

    def counted(file: Path, entries: dict[str, list[object]]) -> None:
        saved.append(len(entries))
        real(file, entries)

    monkeypatch.setattr(hashes, "_save", counted)
    monkeypatch.setattr(hashes, "_AT_ONCE", 10)
    found = file_hashes(dataset)
    assert saved == [10, 20, 40, 80, 87]
    assert file_hashes(dataset) == found
    assert saved[5:] == []


@pytest.mark.parametrize("rows", [0, 1, 7, 10])
def test_predictions_are_written_in_parts(rows: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = pd.DataFrame({"id": [f"=é,{n}" for n in range(rows)], "p_a": np.arange(rows) / 7})
    monkeypatch.setattr(answers, "_ROWS_AT_ONCE", 5)
    write_predictions(tmp_path / "p.csv", table)
    assert (tmp_path / "p.csv").read_text() == guarded_table(table).to_csv(index=False, float_format="%.9g")


def test_what_a_kill_left_beside_the_hashes_is_removed(tmp_path: Path) -> None:
    """Also where all hashes are known, so that nothing is written."""
    dataset = toy.make_dataset(tmp_path)
    file_hashes(dataset)
    left = cache.cache_folder(dataset) / ".hashes.json.abcdefgh.lmd"
    left.mkdir()
    (left / ".lock").touch()
    file_hashes(dataset)
    assert not left.exists()
