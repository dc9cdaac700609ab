"""A file becomes a uint8 image, and a data set a cache of decoded pixels."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, ImageOps

from lmd.errors import DataError

if TYPE_CHECKING:
    from lmd.data.manifest import Dataset

Progress = Callable[[int, int], None]

EXTENSIONS = (".jpg", ".jpeg", ".png", ".tif", ".tiff", ".bmp", ".webp", ".gif")
MAX_PIXELS = 300_000_000  # A whole-slide tile fits; a decompression bomb does not.
_VERSION = 1  # Part of the cache's key: raise it when decoding or resizing changes.

Image.MAX_IMAGE_PIXELS = None  # Our own limit below gives a clear line instead of a warning.


def quiet(done: int, total: int) -> None:
    """Shows no progress."""


def list_images(folder: Path) -> list[Path]:
    """Returns the image files below a folder, by name."""
    return sorted(path for path in folder.rglob("*") if _is_image(path))


def _is_image(path: Path) -> bool:
    """Whether a name is that of an image; macOS leaves hidden "._name.jpg" files that are none."""
    return path.suffix.lower() in EXTENSIONS and not path.name.startswith(".") and path.is_file()


def decode(path: Path, least: int | None = None) -> np.ndarray:
    """Returns an image as RGB uint8 [H, W, 3], upright as its EXIF tag says.

    `least` allows a JPEG to be decoded at a fraction of its size, no side smaller than that.

    Raises:
        DataError: the file is missing, unreadable, truncated or too large.
    """
    try:
        with Image.open(path) as image:
            if image.width * image.height > MAX_PIXELS:
                raise DataError(f"image {path} is too large: {image.width} x {image.height} pixels")
            if least is not None:
                image.draft("RGB", (least, least))
            return np.asarray(_to_rgb(ImageOps.exif_transpose(image)))
    except DataError:
        raise
    except FileNotFoundError as error:
        raise DataError(f"no image {path}") from error
    except Exception as error:  # Pillow's decoders raise many kinds for damaged files.
        raise DataError(f"image {path} cannot be read: {' '.join(str(error).split())[:120]}") from error


def _to_rgb(image: Image.Image) -> Image.Image:
    """RGB from any mode: 16-bit grey is scaled to 8 bits, transparency is laid on black."""
    if image.mode.startswith(("I", "F")):
        values = np.asarray(image, dtype=np.float64)
        top = 65535.0 if image.mode.startswith("I") else max(float(values.max()), 1.0)
        return Image.fromarray((values.clip(0, top) * (255.0 / top)).astype(np.uint8)).convert("RGB")
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        image = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, (0, 0, 0, 255)), image).convert("RGB")
    return image.convert("RGB")


def resize(image: np.ndarray, size: int, crop: str = "none") -> np.ndarray:
    """Returns [size, size, 3]: squashed as in the paper ("none"), or cut to its middle square ("center")."""
    picture = Image.fromarray(image)
    if crop == "center":
        side = min(picture.size)
        left, top = (picture.width - side) // 2, (picture.height - side) // 2
        picture = picture.crop((left, top, left + side, top + side))
    return np.asarray(picture.resize((size, size), Image.Resampling.BILINEAR))


def verify(paths: list[Path], progress: Progress = quiet) -> dict[Path, str]:
    """Returns the files that cannot be decoded, each with the reason."""

    def problem(path: Path) -> str | None:
        try:
            decode(path)
        except DataError as error:
            return str(error)
        return None

    reasons = _in_threads(problem, paths, progress)
    return {path: reason for path, reason in zip(paths, reasons, strict=True) if reason is not None}


def _in_threads(function: Callable[[Any], Any], items: Iterable[Any], progress: Progress) -> list[Any]:
    """Maps a function in threads (decoding releases the interpreter) and tells how far it is."""
    todo = list(items)
    results: list[Any] = []
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for result in pool.map(function, todo):
            results.append(result)
            if len(results) % 64 == 0 or len(results) == len(todo):
                progress(len(results), len(todo))
    return results


def open_cache(
    dataset: Dataset, size: int, crop: str = "none", progress: Progress | None = None
) -> np.ndarray:
    """Returns the decoded images, uint8 [N, 3, size, size] in table order, memory-mapped and read-only.

    They are decoded once, under DATA/cache, keyed by the files' hashes, the size and the crop. A changed
    image gives another key; a cache that was not finished is never taken for one.

    Raises:
        DataError: an image cannot be read, or the disk is full.
    """
    hashes = file_hashes(dataset, progress or quiet)
    text = json.dumps([_VERSION, size, crop, list(zip(dataset.table["file"], hashes, strict=True))])
    key = hashlib.sha256(text.encode()).hexdigest()[:16]
    target = dataset.folder / "cache" / f"{size}-{crop}-{key}.npy"
    shape = (len(hashes), 3, size, size)
    cache = _read_cache(target, shape)
    if cache is None:
        _build_cache(dataset.paths(), size, crop, target, progress or quiet)
        cache = _read_cache(target, shape)
    assert cache is not None
    return cache


def _read_cache(target: Path, shape: tuple[int, ...]) -> np.ndarray | None:
    """The cache, or None where there is none or a damaged one (cut off by a crash of the machine)."""
    try:
        cache = np.load(target, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    return cache if cache.shape == shape and cache.dtype == np.uint8 else None


def file_hashes(dataset: Dataset, progress: Progress = quiet) -> list[str]:
    """Returns the sha256 of each image file; a file whose size and time are unchanged is not read again."""
    known_file = dataset.folder / "cache" / "hashes.json"
    known = _read_known(known_file)

    def entry(path: Path) -> list[Any]:
        try:
            status = path.stat()
            old = known.get(str(path))
            if old is not None and old[:2] == [status.st_size, status.st_mtime_ns]:
                return old
            return [status.st_size, status.st_mtime_ns, hashlib.sha256(path.read_bytes()).hexdigest()]
        except OSError as error:
            raise DataError(f"image {path} cannot be read: {error.strerror}") from error

    paths = dataset.paths()
    entries = _in_threads(entry, paths, progress if not known else quiet)
    now = {str(path): value for path, value in zip(paths, entries, strict=True)}
    if now != known:
        _write_atomically(known_file, lambda file: Path(file).write_text(json.dumps(now)))
    return [value[2] for value in entries]


def _read_known(path: Path) -> dict[str, list[Any]]:
    """The hashes known so far; a damaged file counts as none."""
    try:
        known = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return known if isinstance(known, dict) else {}


def _build_cache(paths: list[Path], size: int, crop: str, target: Path, progress: Progress) -> None:
    def pixels(path: Path) -> np.ndarray:
        return resize(decode(path, least=2 * size), size, crop).transpose(2, 0, 1)

    def build(file: str) -> None:
        shape = (len(paths), 3, size, size)
        cache = np.lib.format.open_memmap(file, mode="w+", dtype=np.uint8, shape=shape)
        _reserve(Path(file))
        for start in range(0, len(paths), 1024):
            rows = _in_threads(pixels, paths[start : start + 1024], quiet)
            cache[start : start + len(rows)] = rows
            progress(start + len(rows), len(paths))
        cache.flush()

    _write_atomically(target, build)


def _reserve(path: Path) -> None:
    """Claims the room of a sparse file: writing to its memory map would kill the process on a full disk."""
    with path.open("r+b") as file:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)


def _write_atomically(target: Path, write: Callable[[str], Any]) -> None:
    temporary = None
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=".", suffix=target.suffix)
        os.close(handle)
        write(temporary)
        Path(temporary).chmod(0o644)
        Path(temporary).replace(target)
    except OSError as error:
        raise DataError(f"cannot write {target}: {error.strerror}") from error
    finally:
        if temporary is not None:
            Path(temporary).unlink(missing_ok=True)
