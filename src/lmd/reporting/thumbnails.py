"""Small pictures that stand inside a page."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from lmd.data.dataset.manifest import Dataset
from lmd.data.decode.images import decode
from lmd.errors import DataError
from lmd.parallel import in_threads

_TINT = 0.65  # How much of a place where the map is 1 is the map's colour.


def thumbnail(path: Path, side: int, frame: int | None = None, bits: int | None = None) -> str:
    """Returns a small JPEG without tags as a data URI; empty where the file cannot be read any more."""
    try:
        return uri_of(decode(path, least=side, frame=frame, bits=bits), side)
    except DataError:
        return ""


def thumbnails(dataset: Dataset, files: Sequence[str], side: int) -> list[str]:
    """Returns pictures of a data set's files, as `thumbnail` makes them."""
    frame, bits = dataset.info.recipe.get("frame"), dataset.info.recipe.get("bits")
    return in_threads(lambda file: thumbnail(dataset.path(file), side, frame, bits), list(files))


def uri_of(pixels: np.ndarray, side: int) -> str:
    """Returns pixels uint8 [H, W, 3] as a data URI, at most so many pixels on a side."""
    picture = Image.fromarray(pixels)
    picture.thumbnail((side, side))
    buffer = io.BytesIO()
    picture.save(buffer, format="JPEG", quality=80)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def tinted(pixels: np.ndarray, shares: np.ndarray, side: int) -> np.ndarray:
    """Returns pixels uint8 [S, S, 3] in grey, with a map [S, S] from 0 to 1 over them in colour."""
    from matplotlib import colormaps

    large = (side, side)
    grey = np.asarray(Image.fromarray(pixels).convert("L").resize(large, Image.Resampling.BICUBIC))
    heat = Image.fromarray((shares * 255).round().astype(np.uint8)).resize(large, Image.Resampling.BILINEAR)
    part = np.asarray(heat)[..., None] / 255.0
    colour = colormaps["inferno"](np.asarray(heat))[..., :3] * 255.0
    mixed = (1 - _TINT * part) * grey[..., None] + _TINT * part * colour
    return mixed.round().clip(0, 255).astype(np.uint8)
