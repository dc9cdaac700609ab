"""A look at every image file: what it is, whether it can be read, and hashes that tell its copies."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from lmd.data.dataset.manifest import Dataset
from lmd.data.decode.dicom_marks import is_dicom
from lmd.data.decode.files import open_file
from lmd.data.decode.hashes import file_hashes
from lmd.data.decode.images import examine
from lmd.data.decode.kinds import HEAD
from lmd.data.decode.pictures import formats
from lmd.data.decode.place import cache_folder
from lmd.errors import DataError
from lmd.files import atomic_path
from lmd.parallel import Steps, in_threads, quiet

_VERSION = 3  # Part of the file's name: raise it when a record changes.
_SIDE = 64  # Of the grey picture that is hashed.
_PIXELS = 32  # Of the grey picture that is kept, with which the hashes are checked.
_HASH_SIDE = 16  # The lowest frequencies of the cosine transform, in both directions: 256 bits.
BITS = _HASH_SIDE**2
_AT_ONCE = 2**13
_MOST_IN_MEMORY = 2**26  # Bytes of records.
NUM_TURNS = 8  # Four quarter turns, and the same of the mirror image.
_LOOK = np.dtype([
    ("sha256", "U64"),
    ("format", "U16"),
    ("mode", "U16"),
    ("width", np.int32),
    ("height", np.int32),
    ("top", np.int32),  # The largest value of a grey image with 16 bits; 0 of others.
    ("hashes", np.uint8, (NUM_TURNS, BITS // 8)),
    ("pixels", np.uint8, (_PIXELS, _PIXELS)),
])  # fmt: skip


@dataclass(frozen=True)
class Looks:
    """What a look at the files of a data set showed."""

    records: np.ndarray  # One for each image, in table order; empty where there is no readable file.
    missing: list[int]  # The rows whose file is not there,
    broken: dict[int, str]  # and those whose file cannot be read, with the reason.

    def good(self) -> list[int]:
        """Returns the rows whose image was read."""
        return [row for row, record in enumerate(self.records["sha256"]) if record]


def look_at(dataset: Dataset, progress: Steps = quiet) -> Looks:
    """Returns what every image file is. A file whose hash is known from an earlier look is not decoded again.

    Raises:
        LmdError: what was seen cannot be kept under DATA/cache.
    """
    paths = [dataset.path(file) for file in dataset.table["file"]]
    missing = [row for row, path in enumerate(paths) if not path.exists()]
    absent = set(missing)
    broken = {row: why for row, path in enumerate(paths) if row not in absent and (why := _unopened(path))}
    rows = [row for row in range(len(paths)) if row not in absent and row not in broken]
    hashes = file_hashes(_only(dataset, rows), progress)
    records = _room(len(paths), cache_folder(dataset))
    broken |= _fill(records, dict(zip(rows, hashes, strict=True)), dataset, progress)
    return Looks(records, missing, dict(sorted(broken.items())))


def _unopened(path: Path) -> str | None:
    """Why a file cannot be opened; None where it can."""
    try:
        open_file(path).close()
    except DataError as error:
        return str(error)
    return None


def _only(dataset: Dataset, rows: list[int]) -> Dataset:
    return Dataset(dataset.folder, dataset.table.iloc[rows], dataset.info)


def _fill(records: np.ndarray, hashes: dict[int, str], dataset: Dataset, progress: Steps) -> dict[int, str]:
    """Fills the records of the files with these hashes; returns the rows that cannot be decoded."""
    recipe = dataset.info.recipe
    chosen = {name: recipe[name] for name in ("frame", "bits") if recipe.get(name) is not None}
    words = "".join(f"-{name}{value}" for name, value in chosen.items())
    kept_file = cache_folder(dataset) / f"looks-{_VERSION}{words}.npy"
    kept = _read_kept(kept_file)
    known = {str(name): number for number, name in enumerate(kept["sha256"])}
    files = dataset.table["file"].tolist()
    new = [row for row, name in hashes.items() if name not in known]
    for row, name in hashes.items():
        if name in known:
            records[row] = kept[known[name]]
    broken: dict[int, str] = {}
    for start in range(0, len(new), _AT_ONCE):
        rows = new[start : start + _AT_ONCE]
        seen = in_threads(lambda row: _look(dataset.path(files[row]), hashes[row], **chosen), rows)
        broken |= {row: look for row, look in zip(rows, seen, strict=True) if isinstance(look, str)}
        for row, look in zip(rows, seen, strict=True):
            if row not in broken:
                records[row] = look
        progress(start + len(rows), len(new))
    if len(broken) < len(new):
        _keep(kept_file, records)
    return broken


def _room(number: int, folder: Path) -> np.ndarray:
    """Room for so many records, all zero: of many in a file without a name, which the system may page out."""
    if number * _LOOK.itemsize <= _MOST_IN_MEMORY:
        return np.zeros(number, dtype=_LOOK)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            return np.memmap(file, dtype=_LOOK, mode="w+", shape=(number,))
    except OSError as error:
        raise DataError(f"cannot write {folder}: {error.strerror or error}") from error


def _read_kept(path: Path) -> np.ndarray:
    """The records of an earlier look; a damaged file counts as none."""
    try:
        kept = np.load(path, mmap_mode="r", allow_pickle=False)
    except Exception:  # numpy reads a header with Python's own parsers: a damaged one raises many kinds.
        return np.zeros(0, dtype=_LOOK)
    return kept if kept.dtype == _LOOK and kept.ndim == 1 else np.zeros(0, dtype=_LOOK)


def _keep(path: Path, records: np.ndarray) -> None:
    """Writes the records of the files that were read, block by block."""
    good = np.flatnonzero(records["sha256"] != "")
    header = {"descr": np.lib.format.dtype_to_descr(_LOOK), "fortran_order": False, "shape": good.shape}
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        for start in range(0, len(good), _AT_ONCE):
            file.write(records[good[start : start + _AT_ONCE]].tobytes())


def _look(path: Path, sha256: str, frame: int | None = None, bits: int | None = None) -> Any:
    """The record of a file, or why it cannot be read."""
    try:
        image, top = examine(path, _SIDE, frame, bits)
    except DataError as error:
        return str(error)
    kind, mode, width, height = _header(path, image)
    hashes, pixels = signature(image)
    return (sha256, kind, mode, width, height, top, hashes, pixels)


def _header(path: Path, image: np.ndarray) -> tuple[str, str, int, int]:
    """Format, colour mode and upright size; of a file that Pillow cannot open, what the image shows."""
    height, width = image.shape[:2]
    try:
        with path.open("rb") as file:
            if is_dicom(file.read(HEAD)):
                raise ValueError("it may be a TIFF as well, of another size")
            file.seek(0)
            with Image.open(file, formats=formats(path)) as head:
                sides = sorted(head.size)
                width, height = sides if height > width else sides[::-1]
                return head.format or "", head.mode, width, height
    except Exception:  # DICOM, and some kinds of TIFF.
        return path.suffix[1:].upper() or "unknown", "", width, height


def signature(image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the perceptual hashes of an RGB image in its eight positions, and its grey 32 x 32 pixels."""
    from imagehash import phash

    grey = Image.fromarray(image).convert("L").resize((_SIDE, _SIDE), Image.Resampling.BILINEAR)
    upright = phash(grey, hash_size=_HASH_SIDE).hash
    others = [values > np.median(values) for values in _turned_frequencies(np.asarray(grey))]
    hashes = np.stack([np.packbits(bits) for bits in (upright, *others)])
    return hashes, np.asarray(grey.resize((_PIXELS, _PIXELS), Image.Resampling.BOX))


def _turned_frequencies(grey: np.ndarray) -> Iterator[np.ndarray]:
    """Yields the lowest frequencies of a picture in its seven other positions, from one transform.

    A mirror changes the sign of every second frequency across it; a quarter turn is a transpose and a mirror.
    """
    from scipy.fftpack import dct

    found = dct(dct(grey, axis=0), axis=1)[:_HASH_SIDE, :_HASH_SIDE]
    sign = (-1.0) ** np.arange(_HASH_SIDE)
    for values in (found, found * sign):
        for quarter in range(4):
            if quarter or values is not found:
                yield values
            values = sign[:, None] * values.T


def turned(images: np.ndarray, turn: int) -> np.ndarray:
    """Returns images [..., H, W] in one of eight positions; from the fifth on they are mirrored.

    >>> turned(np.array([[1, 2], [3, 4]]), 1).tolist(), turned(np.array([[1, 2], [3, 4]]), 4).tolist()
    ([[2, 4], [1, 3]], [[2, 1], [4, 3]])
    """
    return np.rot90(images[..., ::-1] if turn >= 4 else images, turn % 4, axes=(-2, -1))
