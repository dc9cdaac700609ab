"""Phantoms: drawn lesion-like images, no patients. The default of the demonstration and of the tests.

Eight classes of ellipse-like spots on skin-like ground, long-tailed in training. A class has a mean
appearance (size, irregularity, colours, texture) and a spread around it. The classes overlap, so that no
classifier is perfect, and one that is trained without correction takes rare classes for common ones.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, ClassVar

import numpy as np
import pandas as pd
from PIL import Image
from pydantic import Field, field_validator

from lmd.data.dataset.finish import finish
from lmd.data.dataset.manifest import Dataset
from lmd.data.dataset.meaning.grouping import Grouping
from lmd.data.dataset.options import SplitOptions
from lmd.data.dataset.output import refuse_used
from lmd.parallel import Steps, quiet
from lmd.runtime import derive_seed

TITLE = "drawn lesions of no patient, 8 classes, to try lmd without data"
EXAMPLES = (
    "lmd prepare phantom --out DATA",
    "lmd prepare phantom --images 300 --imbalance 50 --seed 1 --out DATA",
)
CLASSES = ["ash", "birch", "cedar", "elm", "fir", "hazel", "larch", "maple"]

# Mean appearance of each class: radius, irregularity, darkness, redness, blueness, dots, ring, asymmetry.
_APPEARANCE = np.array(
    [
        [0.50, 0.15, 0.55, 0.35, 0.25, 0.20, 0.10, 0.15],
        [0.56, 0.50, 0.72, 0.35, 0.42, 0.35, 0.15, 0.50],
        [0.48, 0.30, 0.42, 0.68, 0.35, 0.20, 0.15, 0.30],
        [0.54, 0.30, 0.50, 0.38, 0.22, 0.72, 0.20, 0.25],
        [0.52, 0.40, 0.40, 0.62, 0.25, 0.50, 0.25, 0.35],
        [0.40, 0.18, 0.45, 0.42, 0.25, 0.18, 0.72, 0.15],
        [0.44, 0.20, 0.55, 0.62, 0.62, 0.20, 0.20, 0.20],
        [0.54, 0.50, 0.45, 0.65, 0.28, 0.55, 0.40, 0.50],
    ]
)
_SPREAD = 0.11  # The standard deviation within a class, about half the distance between neighbours.


class Options(SplitOptions):
    """`images` is the size of the largest class in training, `imbalance` its ratio to the smallest."""

    # Inherited, but phantoms are drawn split by split. The help does not list what is always refused.
    REFUSED: ClassVar[tuple[str, ...]] = ("split", "fractions")

    images: Annotated[int, Field(ge=8)] = 900
    """training images of the largest class"""
    imbalance: Annotated[float, Field(ge=1.0)] = 100.0
    """ratio of the largest to the smallest class in training"""
    val_per_class: Annotated[int, Field(ge=1)] = 25
    """validation images of each class"""
    test_per_class: Annotated[int, Field(ge=1)] = 60
    """test images of each class"""
    size: Annotated[int, Field(ge=16, le=512)] = 64
    """pixels of each side of an image"""

    @field_validator(*REFUSED)
    @classmethod
    def _refuse_splits(cls, value: Any) -> Any:
        raise ValueError("phantoms come with their splits; images, val_per_class, test_per_class set them")


def class_counts(options: Options) -> np.ndarray:
    """Returns the training images of each class: n_k = n_1 r^(-k/(K-1)), at least one."""
    exponent = np.arange(len(CLASSES)) / (len(CLASSES) - 1)
    return np.maximum(1, np.round(options.images * options.imbalance**-exponent)).astype(int)


def prepare(options: Options, out: Path, progress: Steps = quiet) -> Dataset:
    """Draws the images and makes a dataset folder: training long-tailed, validation and test balanced.

    About one lesion in five is drawn twice, as two images of one group.

    Raises:
        DataError: the folder is in use or cannot be written.
    """
    refuse_used(out)
    rows = _plan(options)
    design = "training is long-tailed; validation and test have the same number of images of each class"
    return finish(
        out,
        pd.DataFrame(rows),
        CLASSES,
        {**options.model_dump(mode="json", exclude={"split", "fractions"}), "design": design},
        lambda folder: _draw_all(rows, folder / "images", options, progress),
        title="phantom lesions (drawn, not real patients)",
        licence="Apache-2.0",
        citation="drawn by lmd",
        source="phantom",
        image_root="images",
        grouping=Grouping(level="lesion"),
    )


def _draw_all(rows: list[dict[str, str]], folder: Path, options: Options, progress: Steps) -> None:
    folder.mkdir()
    for number, row in enumerate(rows):
        picture = draw(row["label"], row["group"], row["id"], options.size, options.seed)
        Image.fromarray(picture).save(folder / row["file"], compress_level=1)
        if number % 64 == 63 or number + 1 == len(rows):
            progress(number + 1, len(rows))


def _plan(options: Options) -> list[dict[str, str]]:
    """The images to draw; every fifth lesion gives two."""
    rows: list[dict[str, str]] = []
    per_split = {"train": class_counts(options), "val": options.val_per_class, "test": options.test_per_class}
    for split, counts in per_split.items():
        for name, count in zip(CLASSES, np.broadcast_to(counts, len(CLASSES)), strict=True):
            for number in range(int(count)):
                lesion = number - 1 if number % 6 == 5 else number
                identity = f"{split}-{name}-{number:05d}"
                group = f"{split}-{name}-lesion{lesion:05d}"
                rows.append(
                    {"id": identity, "file": f"{identity}.png", "label": name, "split": split, "group": group}
                )
    return rows


def draw(label: str, group: str, identity: str, size: int, seed: int) -> np.ndarray:
    """Returns a drawn image [size, size, 3], a pure function of its arguments."""
    lesion = np.random.default_rng(derive_seed("phantom lesion", seed, group))
    image = np.random.default_rng(derive_seed("phantom image", seed, identity))
    appearance = _APPEARANCE[CLASSES.index(label)] + lesion.normal(0, _SPREAD, 8)
    look = np.clip(appearance, 0.02, 0.98)
    y, x = _coordinates(size, image)
    mask, depth = _shape(x, y, look, lesion)
    texture = _texture(size, look, image)
    skin = np.array([0.86, 0.68, 0.58]) + lesion.normal(0, 0.03, 3)
    picture = skin[None, None] * (1 + 0.06 * _smooth_noise(size, 4, image))[..., None]
    colour = _pigment(look)[None, None] * (1 + 0.5 * texture)[..., None]
    ring = look[6] * np.exp(-(((depth - 0.25) / 0.12) ** 2))
    colour = colour + 0.35 * ring[..., None] * (np.array([0.95, 0.85, 0.8]) - colour)
    picture = picture + mask[..., None] * (colour - picture)
    picture = _hairs(picture, x, y, image)
    picture = picture * (1 - 0.12 * (x**2 + y**2))[..., None] + image.normal(0, 0.02, picture.shape)
    return (np.clip(picture, 0, 1) * 255).astype(np.uint8)


def _coordinates(size: int, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Pixel positions in [-1, 1], turned and shifted as a photographer would."""
    line = (np.arange(size) + 0.5) / size * 2 - 1
    y, x = np.meshgrid(line, line, indexing="ij")
    angle, (dx, dy) = random.uniform(0, 2 * np.pi), random.normal(0, 0.1, 2)
    x, y = x - dx, y - dy
    return np.sin(angle) * x + np.cos(angle) * y, np.cos(angle) * x - np.sin(angle) * y


def _shape(
    x: np.ndarray, y: np.ndarray, look: np.ndarray, random: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """The soft mask of a blob with an irregular border, and the relative depth below its border."""
    angle = np.arctan2(y, x)
    border = np.ones_like(x)
    for order in range(2, 7):
        amount = 0.22 * look[1] / np.sqrt(order)
        border += amount * np.cos(order * angle + random.uniform(0, 2 * np.pi)) * random.uniform(0.4, 1.0)
    border += 0.35 * look[7] * np.cos(angle + random.uniform(0, 2 * np.pi))
    radius = (0.35 + 0.5 * look[0]) * np.maximum(border, 0.2)
    depth = 1 - np.hypot(x, y * (1 + 0.3 * look[7])) / radius
    return 1 / (1 + np.exp(-depth / 0.06)), depth


def _pigment(look: np.ndarray) -> np.ndarray:
    brown = np.array([0.62, 0.42, 0.30]) * (1.25 - 0.9 * look[2])
    red = np.array([0.75, 0.30, 0.28])
    blue = np.array([0.35, 0.35, 0.55])
    mixed = brown + 0.55 * look[3] * (red - brown)
    return mixed + 0.45 * look[4] * (blue - mixed)


def _texture(size: int, look: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Coarse mottling, and dots where the class has them."""
    dots = _smooth_noise(size, max(4, size // 4), random)
    return 0.35 * _smooth_noise(size, 5, random) - 0.9 * look[5] * (dots > 0.8)


def _smooth_noise(size: int, nodes: int, random: np.random.Generator) -> np.ndarray:
    """Standard normal noise on a coarse grid, enlarged smoothly."""
    coarse = Image.fromarray(random.normal(size=(nodes, nodes)).astype(np.float32))
    return np.asarray(coarse.resize((size, size), Image.Resampling.BICUBIC))


def _hairs(picture: np.ndarray, x: np.ndarray, y: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """A few dark, curved lines over everything."""
    for _ in range(random.integers(0, 4)):
        angle, offset, bend = random.uniform(0, np.pi), random.uniform(-0.9, 0.9), random.normal(0, 0.3)
        along = np.cos(angle) * x + np.sin(angle) * y
        across = -np.sin(angle) * x + np.cos(angle) * y - offset - bend * along**2
        picture = picture * (1 - 0.6 * np.exp(-((across / 0.015) ** 2)))[..., None]
    return picture
