"""Decodes real files by lmd and by an independent reference, and counts equal, refused and different ones.

    python -m benchmarks.decoders FOLDER... --out FILE.json     # needs the extra `dev`

The reference is pydicom with its functions for palettes, modality and windows for DICOM, tifffile for TIFF,
imagecodecs for JPEG, PNG, JPEG 2000, WebP, BMP and AVIF, and Pillow for the rest and where these fail. A file
is equal where both pictures correlate over 0.99, or where both are of one colour. Of several frames the first
is compared. A file that lmd alone reads counts as "alone". Files that nobody reads and that are not named as
images are left out.
"""

from __future__ import annotations

import argparse
import json
import logging
import signal
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from lmd.data.decode.dicom import is_dicom
from lmd.data.decode.files import EXTENSIONS
from lmd.data.decode.images import decode
from lmd.errors import DataError

SECONDS = 30
NAMED = [".avif", ".avifs", ".jp2", ".j2k", ".jpc", ".jpf", ".jpx", ".j2c", ".jfif", ".jpe", ".tga", ".pfm"]
NAMED += [".pbm", ".pgm", ".ppm", ".pnm", ".dib", ".apng", ".ima", *EXTENSIONS]
CODECS = {
    "JPEG": "jpeg8",
    "MPO": "jpeg8",
    "PNG": "png",
    "JPEG2000": "jpeg2k",
    "WEBP": "webp",
    "BMP": "bmp",
    "AVIF": "avif",
}


def main() -> None:
    """Compares all files below the folders and writes, or prints, the counts and what is different."""
    parser = argparse.ArgumentParser(description="real files by lmd and by other decoders")
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--out", type=Path, help="a JSON file; without it the result is printed")
    options = parser.parse_args()
    warnings.filterwarnings("ignore")
    logging.disable(logging.CRITICAL)
    text = json.dumps({folder.name: of_folder(folder) for folder in options.folders}, indent=2)
    if options.out is None:
        print(text)
    else:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(text + "\n")


def of_folder(folder: Path) -> dict[str, Any]:
    """Returns the counts of a folder, and which of its files are no plain successes."""
    signal.signal(signal.SIGALRM, _too_long)
    counts: Counter[str] = Counter()
    told: dict[str, dict[str, str]] = {"refused": {}, "different": {}, "failed": {}, "alone": {}}
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        outcome, words = compared(path)
        counts[outcome] += outcome != "no image"
        if outcome in told:
            told[outcome][path.relative_to(folder).as_posix()] = words.replace(str(path), path.name)
    return {"files": counts.total(), **{name: counts[name] for name in ("equal", *told)}, "which": told}


def _too_long(*_: object) -> None:
    raise TimeoutError(f"takes longer than {SECONDS} s")


def in_time(function: Callable[..., Any], *given: Any, **named: Any) -> Any:
    """Returns what a function returns; one that takes too long is stopped."""
    signal.alarm(SECONDS)
    try:
        return function(*given, **named)
    finally:
        signal.alarm(0)


def compared(path: Path) -> tuple[str, str]:
    """Returns what became of a file, in a word, and the details."""
    refusal, found = "", None
    try:
        found = in_time(decode, path, frame=1)
    except DataError as error:
        refusal = str(error)
    except Exception as error:
        return "failed", f"{type(error).__name__}: {error}"
    if "takes longer" in refusal:
        return "failed", refusal
    if found is None:
        if path.suffix.lower() not in NAMED and _reference(path) is None:
            return "no image", ""
        return ("refused" if "\n" not in refusal else "failed"), refusal
    reference = _reference(path)
    if reference is None:
        return "alone", ""
    return agreement(found, reference)


def agreement(found: np.ndarray, reference: np.ndarray) -> tuple[str, str]:
    """Returns whether a picture [H, W, 3] is that of the reference [H, W] or [H, W, C], of any range."""
    if reference.dtype == np.uint16:  # Of 16 bits eight are left: both lose the same, if all 16 are meant.
        outcome = agreement(found, (reference.astype(np.uint32) * 255 + 32767) // 65535)
        if outcome[0] == "equal":
            return outcome
    wanted = reference.astype(np.float64)
    wanted = np.repeat(wanted[..., None], 3, axis=2) if wanted.ndim == 2 else wanted[..., :3]
    if wanted.shape != found.shape:
        return "different", f"sizes {found.shape} and {reference.shape}"
    if not found.size or np.ptp(found) == 0 or np.ptp(wanted) == 0:
        near = np.ptp(found) == 0 and np.ptp(wanted) <= 1
        return ("equal", "") if near else ("different", "one of them is of one colour")
    r = float(np.corrcoef(found.reshape(-1).astype(np.float64), wanted.reshape(-1))[0, 1])
    return ("equal", "") if r > 0.99 else ("different", f"r = {r:.4f}")


def _reference(path: Path) -> np.ndarray | None:
    for reader in (_by_pydicom, _by_tifffile, _by_imagecodecs, _by_pillow):
        try:
            found = in_time(reader, path)
        except Exception:
            continue
        if found is not None:
            return found
    return None


def _by_pydicom(path: Path) -> np.ndarray | None:
    import pydicom
    from pydicom.pixels import apply_color_lut, apply_modality_lut, apply_voi_lut

    if not is_dicom(path.read_bytes()[:1024]):
        return None
    header = pydicom.dcmread(path, force=True)
    pixels = header.pixel_array
    if int(header.get("NumberOfFrames") or 1) > 1:
        pixels = pixels[0]
    if header.PhotometricInterpretation == "PALETTE COLOR":
        for name in ("Red", "Green", "Blue"):  # pydicom reads these in the order of the machine.
            element = header.get_item(f"{name}PaletteColorLookupTableData")
            if element is not None and header.original_encoding[1] is False:
                swapped = np.frombuffer(element.value, np.uint16).byteswap().tobytes()
                setattr(header, f"{name}PaletteColorLookupTableData", swapped)
        return apply_color_lut(pixels, header)[..., :3]
    if pixels.ndim == 3:
        return pixels
    for name in ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"):
        for groups in list(header.get(name) or [])[:1]:
            for part in ("PixelValueTransformationSequence", "FrameVOILUTSequence"):
                for item in groups.get(part) or []:
                    header.update(item)
    if pixels.dtype.kind == "f":  # pydicom refuses a window of real numbers.
        return apply_modality_lut(pixels, header)
    grey = apply_voi_lut(apply_modality_lut(pixels, header), header).astype(np.float64)
    return -grey if header.PhotometricInterpretation == "MONOCHROME1" else grey


def _by_tifffile(path: Path) -> np.ndarray | None:
    import tifffile

    with tifffile.TiffFile(path) as file:
        page = next((page for page in file.pages if not page.subfiletype & 5), file.pages[0])
        return turned(coloured(page.asarray(), page), int(getattr(page.tags.get(274), "value", 1)))


def coloured(values: np.ndarray, page: Any) -> np.ndarray:
    """Returns the samples of a page of tifffile as grey or RGB of any range, transparency laid on black."""
    name = page.photometric.name
    if name == "PALETTE":
        index = values[..., 0] if values.ndim == 3 else values
        painted = np.moveaxis(page.colormap[:, index], 0, -1) >> 8
        return painted * (values[..., 1:] / 255.0) if values.ndim == 3 else painted
    if page.planarconfig == 2 and values.ndim == 3:
        values = np.moveaxis(values, 0, -1)
    if name == "MINISWHITE":
        values = -values.astype(np.float64) if values.dtype != bool else ~values
    if name == "SEPARATED":
        high = float(np.iinfo(values.dtype).max)
        return (high - values[..., :3]).clip(0) * (1 - values[..., 3:4] / high)
    if name == "CIELAB" or (name == "YCBCR" and page.compression not in (6, 7)):
        raise ValueError("not by tifffile")
    kinds = [int(kind) for kind in page.extrasamples]
    colours = 3 if name in ("RGB", "YCBCR") else 1
    if values.ndim == 3 and values.shape[-1] > colours:
        high = float(np.iinfo(values.dtype).max) if values.dtype.kind in "iu" else 1.0
        alpha = values[..., colours, None] / high if (kinds or [2])[0] == 2 else 1.0
        values = values[..., :colours] * alpha
        values = values[..., 0] if colours == 1 else values
    if values.dtype == np.uint16 and page.bitspersample < 16:
        top = 2**page.bitspersample - 1
        return (values.astype(np.uint32) * 255 + top // 2) // top
    return values


def turned(values: np.ndarray, tag: int) -> np.ndarray:
    """Returns a picture turned upright from the position that an orientation tag names."""
    if tag in (5, 6, 7, 8):
        values = values.swapaxes(0, 1)
    if tag in (2, 3, 6, 7):
        values = values[:, ::-1]
    return values[::-1] if tag in (3, 4, 7, 8) else values


def _by_imagecodecs(path: Path) -> np.ndarray | None:
    import imagecodecs

    with Image.open(path) as image:
        form, mode, tag = image.format, image.mode, image.getexif().get(274, 1)
        clear = image.info.get("transparency")
    codec = CODECS.get(str(form))
    if codec is None or mode in ("CMYK", "P", "YCCK") or clear is not None:
        return None
    values = imagecodecs.imread(str(path), codec=[codec])
    if values.ndim == 4:
        values = values[0]
    if values.ndim == 3 and values.shape[-1] in (2, 4):
        high = np.iinfo(values.dtype).max
        values = values[..., :-1] * (values[..., -1:] / high)
    values = values[..., 0] if values.ndim == 3 and values.shape[-1] == 1 else values
    return turned(values, tag)


def _by_pillow(path: Path) -> np.ndarray | None:
    with Image.open(path) as image:
        if image.mode.startswith(("I", "F")):
            values = np.where(np.asarray(image) == image.info.get("transparency"), 0, np.asarray(image))
            return values.astype(np.uint16) if image.mode.startswith("I") and values.min() >= 0 else values
        upright = turned(np.asarray(image.convert("RGBA")), image.getexif().get(274, 1)).astype(np.float64)
    return upright[..., :3] * (upright[..., 3:] / 255)


if __name__ == "__main__":
    main()
