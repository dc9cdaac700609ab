"""A cache that is never wrong, whatever happens while it is built."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from lmd.data.dataset.manifest import Dataset, read_dataset
from lmd.data.dataset.sources import isic2019
from lmd.data.decode import cache, hashes
from lmd.data.decode.cache import open_cache
from lmd.data.decode.hashes import file_hashes
from lmd.data.decode.images import decode, decode_small, resize
from lmd.data.feed.loader import batches, image_set
from lmd.errors import DataError, LmdError
from tests import toy


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    return toy.make_dataset(tmp_path)


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "_CHUNK_ROWS", 10)


def expected_cache(dataset: Dataset, size: int) -> np.ndarray:
    return np.stack([resize(decode(path), size).transpose(2, 0, 1) for path in dataset.paths()])


def files(dataset: Dataset) -> list[str]:
    """The kinds of the files in the cache."""
    return sorted(path.suffix for path in (dataset.folder / "cache").iterdir())


def target_of(dataset: Dataset) -> Path:
    (file,) = (dataset.folder / "cache").glob("*.npy")
    return file


def count_decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    names: list[str] = []

    def counted(path: Path, *options: Any) -> np.ndarray:
        names.append(path.name)
        return decode_small(path, *options)

    monkeypatch.setattr(cache, "decode_small", counted)
    return names


def test_the_cache_holds_the_resized_images_in_table_order(dataset: Dataset, small_chunks: None) -> None:
    found = open_cache(dataset, 16)
    assert (found.shape, found.dtype) == ((87, 3, 16, 16), np.uint8)
    assert isinstance(found, np.memmap)
    assert not found.flags.writeable
    np.testing.assert_array_equal(found, expected_cache(dataset, 16))
    assert files(dataset) == [".json", ".npy", ".sums"]


def test_a_second_opening_decodes_nothing(dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    first = np.array(open_cache(dataset, 16))
    monkeypatch.setattr(cache, "decode_small", lambda *_, **__: pytest.fail("decoded again"))
    monkeypatch.setattr(hashes, "open_file", lambda *_: pytest.fail("hashed again"))
    np.testing.assert_array_equal(open_cache(dataset, 16), first)


def test_a_changed_image_is_decoded_again(dataset: Dataset) -> None:
    before = np.array(open_cache(dataset, 16))
    victim = dataset.paths()[7]
    Image.new("RGB", (20, 20), (255, 255, 255)).save(victim)
    os.utime(victim, ns=(1, 1))
    after = open_cache(dataset, 16)
    assert after[7].min() == 255
    np.testing.assert_array_equal(np.delete(after, 7, 0), np.delete(before, 7, 0))


def test_size_crop_and_frame_have_caches_of_their_own(dataset: Dataset) -> None:
    assert open_cache(dataset, 16).shape[-1] == 16
    assert open_cache(dataset, 8).shape[-1] == 8
    open_cache(dataset, 8, "center")
    info = dataset.info.model_copy(update={"recipe": {**dataset.info.recipe, "frame": 2}})
    open_cache(Dataset(dataset.folder, dataset.table, info), 8)
    assert len(list((dataset.folder / "cache").glob("*.npy"))) == 4


def test_the_chosen_frame_is_the_one_in_the_cache(dataset: Dataset) -> None:
    pages = [Image.new("RGB", (20, 20), (shade,) * 3) for shade in (10, 200)]
    pages[0].save(dataset.paths()[3], format="TIFF", save_all=True, append_images=pages[1:])
    with pytest.raises(DataError, match="has 2 frames"):
        open_cache(dataset, 8)
    info = dataset.info.model_copy(update={"recipe": {**dataset.info.recipe, "frame": 2}})
    assert (open_cache(Dataset(dataset.folder, dataset.table, info), 8)[3] == 200).all()


# Interrupted.

KILLED = """
import os, signal, sys
from pathlib import Path
from typing import Any
from lmd.data.decode import cache, hashes
from lmd.data.dataset.manifest import read_dataset

real, done = cache.decode_small, []

def dies(*arguments, **options):
    done.append(1)
    if len(done) == 45:
        os.kill(os.getpid(), signal.SIGKILL)
    return real(*arguments, **options)

cache.decode_small, cache._CHUNK_ROWS = dies, 10
cache.open_cache(read_dataset(Path(sys.argv[1])), 16)
"""


def test_a_killed_build_goes_on_where_it_stopped(
    dataset: Dataset, small_chunks: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = subprocess.run([sys.executable, "-c", KILLED, str(dataset.folder)])
    assert done.returncode == -signal.SIGKILL
    assert files(dataset) == [".json", ".part", ".sums"]
    decoded = count_decoded(monkeypatch)
    found = open_cache(dataset, 16)
    assert sorted(decoded) == [f"image{number:03d}.png" for number in range(40, 87)]
    np.testing.assert_array_equal(found, expected_cache(dataset, 16))
    resumed = target_of(dataset).read_bytes()
    for path in (dataset.folder / "cache").iterdir():
        path.unlink()
    open_cache(dataset, 16)
    assert target_of(dataset).read_bytes() == resumed


def test_an_unreadable_image_is_named_and_the_rest_is_kept(
    dataset: Dataset, small_chunks: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    victim = dataset.paths()[75]
    good = victim.read_bytes()
    victim.write_bytes(b"no image")
    with pytest.raises(DataError, match=r"image075\.png is not an image"):
        open_cache(dataset, 16)
    assert not list((dataset.folder / "cache").glob("*.npy"))
    decoded = count_decoded(monkeypatch)
    with pytest.raises(DataError, match=r"image075\.png is not an image"):
        open_cache(dataset, 16)
    assert set(decoded) <= {f"image{number:03d}.png" for number in range(70, 80)}
    victim.write_bytes(good)
    np.testing.assert_array_equal(open_cache(dataset, 16), expected_cache(dataset, 16))


def test_a_build_that_is_complete_but_unnamed_needs_its_name_only(
    dataset: Dataset, small_chunks: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed after the last chunk and before the array got its name."""
    open_cache(dataset, 16)
    target = target_of(dataset)
    target.rename(target.with_name(f".{target.name}.part"))
    monkeypatch.setattr(cache, "decode_small", lambda *_, **__: pytest.fail("decoded again"))
    assert len(open_cache(dataset, 16)) == 87


# Damaged.


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:5000])


def flip(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[-20_000] ^= 1
    file.write_bytes(data)


def zero(file: Path) -> None:
    """As a file may be after the machine lost its power."""
    file.write_bytes(bytes(file.stat().st_size))


def blank(file: Path) -> None:
    header = file.read_bytes()[:128]
    file.write_bytes(header + bytes(file.stat().st_size - 128))


def forget(file: Path) -> None:
    file.with_suffix(".sums").unlink()


@pytest.mark.parametrize("damage", [cut, flip, zero, blank, forget])
@pytest.mark.usefixtures("small_chunks")
def test_a_damaged_cache_is_built_again(dataset: Dataset, damage: object) -> None:
    expected = np.array(open_cache(dataset, 16))
    damage(target_of(dataset))  # type: ignore[operator]
    np.testing.assert_array_equal(open_cache(dataset, 16), expected)


@pytest.mark.parametrize("damage", [cut, flip, zero, blank])
@pytest.mark.usefixtures("small_chunks")
def test_a_damaged_unfinished_cache_is_not_believed(dataset: Dataset, damage: object) -> None:
    expected = np.array(open_cache(dataset, 16))
    target = target_of(dataset)
    damage(target)  # type: ignore[operator]
    target.rename(target.with_name(f".{target.name}.part"))
    np.testing.assert_array_equal(open_cache(dataset, 16), expected)


@pytest.mark.parametrize("text", ["", "0 zz\n", "0\n1 2 3\n\xff\x00", "0 00000000\n10 00000000\n"])
def test_damaged_checksums_are_not_believed(dataset: Dataset, text: str) -> None:
    expected = np.array(open_cache(dataset, 16))
    target_of(dataset).with_suffix(".sums").write_text(text)
    np.testing.assert_array_equal(open_cache(dataset, 16), expected)


def test_a_line_cut_off_by_a_crash_costs_its_own_chunk_only(
    dataset: Dataset, small_chunks: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_cache(dataset, 16)
    target = target_of(dataset)
    sums = target.with_suffix(".sums")
    sums.write_text(sums.read_text()[:-4])
    target.rename(target.with_name(f".{target.name}.part"))
    decoded = count_decoded(monkeypatch)
    open_cache(dataset, 16)
    assert sorted(decoded) == [f"image{number:03d}.png" for number in range(80, 87)]


def test_a_disk_that_does_not_keep_what_is_written_is_told(
    dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache, "_read", lambda *_: None)
    with pytest.raises(DataError, match=r"cannot keep .*the disk does not give back"):
        open_cache(dataset, 16)


@pytest.mark.parametrize("text", ["{damaged", "[]", '{"NAME": 5}', '{"NAME": []}', '{"NAME": [1, 2, 3]}'])
def test_a_damaged_list_of_hashes_is_made_anew(dataset: Dataset, text: str) -> None:
    wanted = file_hashes(dataset)
    listed = dataset.folder / "cache" / "hashes.json"
    listed.write_text(text.replace("NAME", str(dataset.paths()[0])))
    assert file_hashes(dataset) == wanted
    assert len(json.loads(listed.read_text())) == 87


def test_hashing_goes_on_where_it_stopped(dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hashes, "_AT_ONCE", 20)
    victim = dataset.paths()[50]
    good = victim.read_bytes()
    victim.write_bytes(b"")
    with pytest.raises(DataError, match=r"image050\.png is empty"):
        file_hashes(dataset)
    assert len(json.loads((dataset.folder / "cache" / "hashes.json").read_text())) == 40
    victim.write_bytes(good)
    assert len(set(file_hashes(dataset))) == 87


# A full disk.


def test_the_room_of_a_cache_is_claimed_before_it_is_filled(
    dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk shows before an hour of decoding, not after it."""
    missing: list[int] = []

    def look(path: Path, *options: Any) -> np.ndarray:
        (partial,) = (dataset.folder / "cache").glob("*.part")
        status = partial.stat()
        missing.append(87 * 3 * 64 * 64 - min(512 * status.st_blocks, status.st_size))
        return decode_small(path, *options)

    monkeypatch.setattr(cache, "decode_small", look)
    open_cache(dataset, 64)
    assert missing
    assert max(missing) < 0


def test_a_full_disk_is_one_line_and_leaves_no_cache(
    dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(cache, "_reserve", full)
    with pytest.raises(DataError, match=r"cannot write .*16-none-.*: No space left"):
        open_cache(dataset, 16)
    assert files(dataset) == [".json"]


def test_a_disk_that_fills_up_is_one_line_and_keeps_what_is_done(
    dataset: Dataset, small_chunks: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where room cannot be claimed beforehand."""
    real = cache._write

    def fills(file: object, place: int, data: bytes, start: int, array: object) -> None:
        if start == 30:
            raise OSError(28, "No space left on device")
        real(file, place, data, start, array)  # type: ignore[arg-type]

    monkeypatch.setattr(cache, "_write", fills)
    with pytest.raises(DataError, match=r"cannot write .*16-none-.*: No space left"):
        open_cache(dataset, 16)
    monkeypatch.setattr(cache, "_write", real)
    decoded = count_decoded(monkeypatch)
    open_cache(dataset, 16)
    assert min(decoded) == "image030.png"


def test_a_folder_that_cannot_be_written_is_one_line(dataset: Dataset) -> None:
    (dataset.folder / "cache").write_text("in the way")
    with pytest.raises(LmdError, match="cannot write"):
        open_cache(dataset, 16)


# Two at once.

TOGETHER = """
import sys, time
from pathlib import Path
from typing import Any
from lmd.data.decode import cache, hashes
from lmd.data.dataset.manifest import read_dataset

real = cache.decode_small
cache.decode_small = lambda *arguments, **options: time.sleep(0.001) or real(*arguments, **options)
cache._CHUNK_ROWS = 5
dataset = read_dataset(Path(sys.argv[1]))
print("ready", flush=True)
sys.stdin.readline()
print(int(cache.open_cache(dataset, 16).sum(dtype="int64")))
"""


def test_processes_that_build_the_same_cache_do_not_harm_it(
    dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache, "_CHUNK_ROWS", 5)
    command = [sys.executable, "-c", TOGETHER, str(dataset.folder)]
    pipe = subprocess.PIPE
    builders = [subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) for _ in range(3)]
    for builder in builders:
        assert builder.stdout is not None
        assert builder.stdout.readline() == "ready\n"
    answers = [builder.communicate("go\n", timeout=60)[0] for builder in builders]
    expected = expected_cache(dataset, 16)
    assert answers == [f"{expected.sum(dtype='int64')}\n"] * 3
    monkeypatch.setattr(cache, "decode_small", lambda *_, **__: pytest.fail("the cache is not sound"))
    np.testing.assert_array_equal(open_cache(dataset, 16), expected)
    assert files(dataset) == [".json", ".npy", ".sums"]


# How fast.


@pytest.mark.slow
def test_the_real_images_are_prepared_cached_and_read_in_time(shared: Path, tmp_path: Path) -> None:
    """Under 60 s on two cores; again in seconds; batches at more than 5,000 images a second."""
    began = time.perf_counter()
    options = isic2019.Options(root=shared / "isic2019", allow_missing=True, split="lesion", seed=42)
    isic2019.prepare(options, tmp_path / "data")
    dataset = read_dataset(tmp_path / "data")
    pixels = open_cache(dataset, 64)
    first = time.perf_counter() - began
    began = time.perf_counter()
    pixels = open_cache(read_dataset(tmp_path / "data"), 64)
    again = time.perf_counter() - began
    images = image_set(dataset, "train", pixels)
    order = np.random.default_rng(0).permutation(len(images.labels))
    began = time.perf_counter()
    read = sum(len(batch.labels) for batch in batches(images, order, 64, "cpu"))
    rate = read / (time.perf_counter() - began)
    print(f"prepared and cached in {first:.1f} s, again in {again:.2f} s, {rate:.0f} images/s")
    assert pixels.shape == (10_015, 3, 64, 64)
    assert first < 60
    assert again < 5
    assert rate > 5000
