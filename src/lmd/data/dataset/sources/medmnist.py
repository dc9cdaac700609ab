"""MedMNIST: small medical images in one file, through the `medmnist` package or a file already on disk."""

from __future__ import annotations

import contextlib
import importlib
import io
import zlib
from pathlib import Path
from typing import Annotated, NamedTuple
from zipfile import BadZipFile

import numpy as np
import pandas as pd
from PIL import Image
from pydantic import AfterValidator

from lmd.data.dataset.checks import SPLITS
from lmd.data.dataset.finish import finish
from lmd.data.dataset.manifest import Dataset
from lmd.data.dataset.meaning.grouping import Grouping
from lmd.data.dataset.output import refuse_used
from lmd.data.dataset.reading.tables import hashes
from lmd.errors import DataError, SettingsError, suggest
from lmd.extras import how_to_install
from lmd.parallel import Steps, quiet
from lmd.settings import Settings

TITLE = "MedMNIST v2: small images of one of 11 sets, ready to use"
EXAMPLES = (
    "lmd prepare medmnist --name dermamnist --size 64 --out DATA",
    "lmd prepare medmnist --name dermamnist --root dermamnist.npz --out DATA",
)
SIZES = (28, 64, 128, 224)

_ORGANS = [
    "bladder", "femur-left", "femur-right", "heart", "kidney-left", "kidney-right", "liver", "lung-left",
    "lung-right", "pancreas", "spleen",
]  # fmt: skip
# Class names by label, as the package has them; shortened where it lists what a class is made of.
CLASSES = {
    "bloodmnist": [
        "basophil", "eosinophil", "erythroblast", "immature granulocyte", "lymphocyte", "monocyte",
        "neutrophil", "platelet",
    ],
    "breastmnist": ["malignant", "normal or benign"],
    "dermamnist": [
        "actinic keratosis", "basal cell carcinoma", "benign keratosis", "dermatofibroma", "melanoma",
        "melanocytic nevus", "vascular lesion",
    ],
    "octmnist": ["choroidal neovascularization", "diabetic macular edema", "drusen", "normal"],
    "organamnist": _ORGANS,
    "organcmnist": _ORGANS,
    "organsmnist": _ORGANS,
    "pathmnist": [
        "adipose", "background", "debris", "lymphocytes", "mucus", "smooth muscle", "normal mucosa",
        "cancer-associated stroma", "adenocarcinoma epithelium",
    ],
    "pneumoniamnist": ["normal", "pneumonia"],
    "retinamnist": ["grade 0", "grade 1", "grade 2", "grade 3", "grade 4"],
    "tissuemnist": [
        "collecting duct", "distal convoluted tubule", "glomerular endothelial", "interstitial endothelial",
        "leukocyte", "podocyte", "proximal tubule", "thick ascending limb",
    ],
}  # fmt: skip
_NON_COMMERCIAL = ("dermamnist",)


def _known_size(value: int) -> int:
    if value not in SIZES:
        raise ValueError(f"must be one of {', '.join(map(str, SIZES))}, the sizes of MedMNIST")
    return value


class Options(Settings):
    """`root` is an .npz file or the folder of one; without it the package downloads the set."""

    name: str
    """name of the set, such as dermamnist or pathmnist"""
    size: Annotated[int, AfterValidator(_known_size)] = 28
    """pixels of each side of an image: 28, 64, 128 or 224"""
    root: Path | None = None
    """file .npz of the set, or the folder of it; without it the package medmnist downloads one"""


class _Split(NamedTuple):
    """The images [N, H, W] or [N, H, W, 3] and the label of each."""

    images: np.ndarray
    labels: np.ndarray


def prepare(options: Options, out: Path, progress: Steps = quiet) -> Dataset:
    """Makes a dataset folder of a MedMNIST set, its images as PNG files in RGB, its own splits.

    Raises:
        DataError: there is neither package nor file, or the file is not such a set.
        SettingsError: no such set, or one of several labels or three dimensions.
    """
    refuse_used(out)
    _refuse_others(options.name)
    path = _downloaded(options) if options.root is None else _on_disk(options, options.root)
    splits = _load(path, options)
    classes = CLASSES[options.name]
    rows = [row for split in SPLITS for row in _rows(split, splits[split].labels, classes)]
    return finish(
        out,
        pd.DataFrame(rows),
        classes,
        {**options.model_dump(mode="json", exclude={"root"}), "splits": "as given"},
        lambda folder: _draw_all(splits, folder / "images", progress),
        title=f"MedMNIST {options.name}, {options.size} x {options.size}",
        licence="CC BY-NC 4.0" if options.name in _NON_COMMERCIAL else "CC BY 4.0",
        citation="Yang et al. 2023, MedMNIST v2, Scientific Data 10, 41, and the set's own source",
        source="medmnist",
        image_root="images",
        grouping=Grouping(level="image"),
        tables_sha256=hashes([path]),
    )


def _refuse_others(name: str) -> None:
    if name == "chestmnist":
        raise SettingsError("chestmnist gives an image several labels at once; lmd needs one label an image")
    if name.endswith("3d"):
        raise SettingsError(f"{name} has images of three dimensions; lmd needs two")
    if name not in CLASSES:
        raise SettingsError(f"unknown MedMNIST set '{name}'{suggest(name, CLASSES)}")


def _file_name(options: Options) -> str:
    return f"{options.name}.npz" if options.size == SIZES[0] else f"{options.name}_{options.size}.npz"


def _on_disk(options: Options, root: Path) -> Path:
    path = root / _file_name(options) if root.is_dir() else root
    if not path.is_file():
        raise DataError(f"no file {path}")
    return path


def _downloaded(options: Options) -> Path:
    """The file that the package keeps, downloaded by it where it is not there yet."""
    try:
        medmnist = importlib.import_module("medmnist")  # An extra: type checkers need not find it.
    except ImportError:
        raise DataError(
            f"medmnist is not installed: {how_to_install('medmnist')}, or name a downloaded "
            f"{_file_name(options)} with --root"
        ) from None
    kind = getattr(medmnist, medmnist.INFO[options.name]["python_class"])
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            found = kind(split=SPLITS[0], download=True, size=options.size, mmap_mode="r")
    except (RuntimeError, OSError, ValueError) as error:
        first = next(iter(str(error).strip().splitlines()), "")
        raise DataError(
            f"{options.name} was not downloaded: {first.strip()} Get {_file_name(options)} by "
            "other means and name it with --root"
        ) from None  # The causes of a download that failed are many lines, and say nothing more.
    return Path(found.root) / _file_name(options)


def _load(path: Path, options: Options) -> dict[str, _Split]:
    try:
        with path.open("rb") as file:
            arrays = np.load(file, allow_pickle=False)
            if not isinstance(arrays, np.lib.npyio.NpzFile):
                raise DataError(f"{path} is not a MedMNIST file: it holds a single array")
            return {split: _checked(path, split, arrays, options) for split in SPLITS}
    except DataError:
        raise
    except KeyError as error:
        raise DataError(f"{path} is not a MedMNIST file: it lacks {str(error.args[0]).split()[0]}") from error
    except (OSError, ValueError, EOFError, BadZipFile, zlib.error) as error:
        raise DataError(f"{path} is not a MedMNIST file: {' '.join(str(error).split())[:120]}") from error


def _checked(path: Path, split: str, arrays: np.lib.npyio.NpzFile, options: Options) -> _Split:
    images, labels = arrays[f"{split}_images"], arrays[f"{split}_labels"]
    if labels.ndim == 2 and labels.shape[1] > 1:
        raise DataError(f"{path} gives an image {labels.shape[1]} labels; lmd needs one label an image")
    side = options.size
    if images.dtype != np.uint8 or images.shape[1:] not in ((side, side), (side, side, 3)):
        raise DataError(
            f"{path} has {split} images of shape {images.shape[1:]} and type {images.dtype}, not bytes of "
            f"{side} x {side}, grey or RGB; does --size fit?"
        )
    labels = labels.reshape(-1)
    known = len(CLASSES[options.name])
    sound = np.issubdtype(labels.dtype, np.integer) and bool(np.isin(labels, np.arange(known)).all())
    if len(labels) != len(images) or not sound:
        raise DataError(f"{path} does not give each {split} image a label from 0 to {known - 1}")
    return _Split(images, labels)


def _rows(split: str, labels: np.ndarray, classes: list[str]) -> list[dict[str, str]]:
    names = [f"{split}-{number:06d}" for number in range(len(labels))]
    return [
        {"id": name, "file": f"{name}.png", "label": classes[label], "split": split, "group": name}
        for name, label in zip(names, labels, strict=True)
    ]


def _draw_all(splits: dict[str, _Split], folder: Path, progress: Steps) -> None:
    folder.mkdir()
    total, done = sum(len(split.labels) for split in splits.values()), 0
    for name, split in splits.items():
        for number, image in enumerate(split.images):
            picture = Image.fromarray(image).convert("RGB")
            picture.save(folder / f"{name}-{number:06d}.png", compress_level=1)
            done += 1
            if done % 64 == 0 or done == total:
                progress(done, total)
