"""The decoded pixels of a data set as one array on disk: built once, chunk by chunk, with checksums.

An unfinished array is `.<name>.part`. `<name>.sums` lists the chunks that are written, with a checksum of
each. A build that goes on after a crash keeps the chunks whose checksums fit and decodes the rest. An array
is complete when it has its final name and every checksum fits. There is no lock: processes that build one
array at once write the same bytes to the same places, and the first renames the file.
"""

from __future__ import annotations

import hashlib
import json
import os
import zlib
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from lmd.data.decode.hashes import file_hashes
from lmd.data.decode.images import decode_small
from lmd.data.decode.place import cache_folder
from lmd.errors import DataError
from lmd.parallel import Steps, in_threads, quiet

if TYPE_CHECKING:
    from lmd.data.dataset.manifest import Dataset

_VERSION = 4  # Part of the cache's key: raise it when decoding, resizing or the chunks change.
_CHUNK_ROWS, _CHUNK_BYTES = 256, 2**26  # The most of a chunk; a killed build loses one chunk.


def open_cache(dataset: Dataset, size: int, crop: str = "none", progress: Steps | None = None) -> np.ndarray:
    """Returns the decoded images, uint8 [N, 3, size, size] in table order, memory-mapped and read-only.

    They are decoded once, in the `cache_folder`, keyed by the files' hashes, the size, the crop, and the
    recipe's frame and bits: a changed image gives another key. An unfinished or damaged cache is not used.

    Raises:
        DataError: an image cannot be read, the disk is full, or it does not keep what is written.
    """
    progress = progress or quiet
    array = array_of(dataset, size, crop, progress)
    frame, bits = _chosen(dataset)
    ready = _read(replace(array, target=dataset.folder / "cache" / array.target.name))
    if ready is not None:
        return ready

    def pixels(path: Path) -> np.ndarray:
        return decode_small(path, size, crop, frame, bits)

    for _ in range(2):
        if (cache := _read(array)) is not None:
            return cache
        _build(array, dataset.paths(), pixels, progress)
    if (cache := _read(array)) is None:
        raise DataError(f"cannot keep {array.target}: the disk does not give back what was written")
    return cache


def array_of(dataset: Dataset, size: int, crop: str = "none", progress: Steps = quiet) -> Array:
    """Returns where the decoded images of a data set are kept, or would be."""
    hashes = file_hashes(dataset, progress)
    key = hashlib.sha256()
    # What json.dumps says of the whole list, in parts: of a million images it has 100 MB.
    key.update(json.dumps([_VERSION, size, crop, *_chosen(dataset)]).encode()[:-1] + b", [")
    for place, pair in enumerate(zip(dataset.table["file"], hashes, strict=True)):
        key.update((", " if place else "").encode() + json.dumps(pair).encode())
    key.update(b"]]")
    name = f"{size}-{crop}-{key.hexdigest()[:16]}.npy"
    return Array(cache_folder(dataset) / name, (len(hashes), 3, size, size))


def _chosen(dataset: Dataset) -> tuple[int | None, int | None]:
    """Which frame is used of files of several, and how many bits of deep images."""
    return dataset.info.recipe.get("frame"), dataset.info.recipe.get("bits")


def read_as(dataset: Dataset, bits: int | None) -> Dataset:
    """Returns a data set whose 16-bit images are taken to use so many bits, whatever its recipe says.

    A model's images are to be read as those that it was trained on.
    """
    rest = {name: value for name, value in dataset.info.recipe.items() if name != "bits"}
    recipe = rest if bits is None else {**rest, "bits": bits}
    return replace(dataset, info=dataset.info.model_copy(update={"recipe": recipe}))


@dataclass(frozen=True)
class Array:
    """An array of images on disk, finished or not."""

    target: Path
    shape: tuple[int, int, int, int]

    @property
    def partial(self) -> Path:
        """The file of an array that is not finished."""
        return self.target.with_name(f".{self.target.name}.part")

    @property
    def sums_file(self) -> Path:
        """The checksums of the chunks that are written."""
        return self.target.with_suffix(".sums")

    @property
    def row_bytes(self) -> int:
        """The bytes of an image."""
        return self.shape[1] * self.shape[2] * self.shape[3]

    def chunks(self) -> list[tuple[int, int]]:
        """The first row and the row after the last of each chunk."""
        rows = max(1, min(_CHUNK_ROWS, _CHUNK_BYTES // self.row_bytes))
        return [(start, min(start + rows, self.shape[0])) for start in range(0, self.shape[0], rows)]

    def sums(self) -> dict[int, int]:
        """The checksum of each chunk that was written; a line cut off by a crash counts as none."""
        found: dict[int, int] = {}
        try:
            lines = self.sums_file.read_text(encoding="ascii", errors="replace").splitlines()
        except OSError:
            return {}
        for line in lines:
            with suppress(ValueError):
                start, checksum = line.split()
                found[int(start)] = int(checksum, 16)
        return found


def _read(array: Array) -> np.ndarray | None:
    """The finished array, or None where there is none or a damaged one."""
    try:
        cache = np.load(array.target, mmap_mode="r", allow_pickle=False)
    except Exception:  # numpy reads a header with Python's own parsers: a damaged one raises many kinds.
        return None
    if cache.shape != array.shape or cache.dtype != np.uint8:
        return None
    sums = array.sums()

    def fits(chunk: tuple[int, int]) -> bool:
        return sums.get(chunk[0]) == zlib.crc32(cache[slice(*chunk)])

    return cache if all(in_threads(fits, array.chunks())) else None


def _build(array: Array, paths: list[Path], pixels: Callable[[Path], np.ndarray], progress: Steps) -> None:
    """Decodes the chunks that are not there yet, and gives the array its final name."""
    try:
        array.target.parent.mkdir(parents=True, exist_ok=True)
        array.partial.touch()
        with array.partial.open("r+b") as file:
            offset = _lay_out(file, array)
            sums = array.sums()
            for start, stop in array.chunks():
                place = offset + start * array.row_bytes
                if sums.get(start) != _checksum(file, place, (stop - start) * array.row_bytes):
                    rows = in_threads(pixels, paths[start:stop])
                    _write(file, place, np.stack(rows).tobytes(), start, array)
                progress(stop, len(paths))
        with suppress(FileNotFoundError):  # Another process was faster: its array is this one.
            array.partial.replace(array.target)
    except OSError as error:
        raise DataError(f"cannot write {array.target}: {error.strerror}") from error


def _lay_out(file: BinaryIO, array: Array) -> int:
    """Writes the header and reserves the space of the images; returns where they begin."""
    header = {"descr": "|u1", "fortran_order": False, "shape": array.shape}
    np.lib.format.write_array_header_1_0(file, header)
    offset = file.tell()
    file.flush()
    size = offset + array.shape[0] * array.row_bytes
    if os.fstat(file.fileno()).st_size < size:
        try:
            _reserve(file, size)
        except OSError:
            array.partial.unlink(missing_ok=True)
            raise
    return offset


def _reserve(file: BinaryIO, size: int) -> None:
    """Reserves the space of a file, so that a full disk is noticed before an hour of decoding."""
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(file.fileno(), 0, size)
    else:
        file.truncate(size)


def _checksum(file: BinaryIO, place: int, length: int) -> int:
    file.seek(place)
    return zlib.crc32(file.read(length))


def _write(file: BinaryIO, place: int, data: bytes, start: int, array: Array) -> None:
    """Writes a chunk, and then that it is written."""
    file.seek(place)
    file.write(data)
    file.flush()
    with array.sums_file.open("a", encoding="ascii") as sums:
        sums.write(f"\n{start} {zlib.crc32(data):08x}\n")  # On a line of its own, whatever a crash left.
