"""A tiny data set on disk and settings that train on it in a second."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from lmd import methods
from lmd.data.dataset.manifest import Dataset, DatasetInfo, write_dataset
from lmd.settings import merge

CLASSES = ["common", "less", "rare"]
COUNTS = {"train": [40, 12, 5], "val": [8, 4, 3], "test": [8, 4, 3]}

COMMON: dict[str, Any] = {
    "encoder": "test_resnet",
    "pretrained": False,
    "size": 16,
    "batch": 8,
    "stage1": {"epochs": 3},
}
LMD: dict[str, Any] = {
    **COMMON,
    "stage1": {"epochs": 3, "consistency_weight": 1.0},
    "iterations": 2,
    "m_step": {"virtual_per_class": 40, "batch": 20, "optimisation": {"lr": 0.05}},
    "e_step": {"optimisation": {"lr": 1e-3}},
}
# Raw Gram matrices are of the order of 1,000: at weight 1 they diverge within three steps.
LITERAL: dict[str, Any] = {**LMD, "stage1": {"epochs": 3, "consistency_weight": 1e-5}}
# What a method needs beyond COMMON to train on the toy in a second.
# A query after every epoch, of nearly all that is left.
FLEXIBLE: dict[str, Any] = {
    **COMMON,
    "stage1": {"epochs": 3, "warmup": 0, "patience": 0, "query_ratio": 1.0, "optimisation": {"lr": 0.01}},
}
# With every ingredient on: the contract then holds for each of them.
PLUS: dict[str, Any] = {
    **COMMON,
    "stage1": {
        "epochs": 3,
        "consistency_weight": 1.0,
        "mixup": 0.4,
        "ce_view": "both",
        "stage2_from": "teacher",
        "sharpness": {"radius": 0.05},
    },
}
RECIPES: dict[str, dict[str, Any]] = {
    "lmd": LMD,
    "lmd-literal": LITERAL,
    "lmd-code": LMD,
    "lmd-plus": PLUS,
    "fs": FLEXIBLE,
}
SHORT_HEAD: dict[str, Any] = {"stage2": {"epochs": 2}}


def recipe(name: str) -> dict[str, Any]:
    """Returns the settings with which a method trains on the toy: COMMON, and its own."""
    if name in RECIPES:
        return RECIPES[name]
    stage2 = methods.load(name).Settings.model_fields.get("stage2")
    trains = stage2 is not None and hasattr(stage2.default, "epochs")
    return merge(COMMON, SHORT_HEAD) if trains else COMMON


def as_earlier(run: Path, **changes: Any) -> None:
    """Rewrites model.json as version 0.1 wrote it, without any checksum, and with other values."""
    path = run / "model" / "model.json"
    card = {**json.loads(path.read_text()), "format": 1, **changes}
    newer = ("sha256", "files", "outputs", "validation_margin")
    path.write_text(json.dumps({name: value for name, value in card.items() if name not in newer}))


def draw(label: int, number: int, size: int = 20) -> np.ndarray:
    """Returns a noisy image whose colour tells the class, not quite surely."""
    random = np.random.default_rng(1000 * label + number)
    base = np.array([90, 120, 150]) + 40 * np.eye(3)[label % 3] + random.normal(0, 20, 3)
    return np.clip(random.normal(base, 25, (size, size, 3)), 0, 255).astype(np.uint8)


def make_dataset(
    folder: Path, counts: dict[str, list[int]] = COUNTS, mode: str = "RGB", classes: list[str] = CLASSES
) -> Dataset:
    """Writes images and a dataset folder, by default of 87 images and 3 classes; groups of one image."""
    images = folder / "images"
    images.mkdir(parents=True)
    rows: list[dict[str, str]] = []
    for split, of_class in counts.items():
        for label, count in enumerate(of_class):
            for _ in range(count):
                name = f"image{len(rows):03d}"
                Image.fromarray(draw(label, len(rows))).convert(mode).save(images / f"{name}.png")
                row = {"id": name, "file": f"{name}.png", "label": classes[label], "split": split}
                rows.append({**row, "group": name})
    info = DatasetInfo(
        title="toy",
        classes=classes,
        bands=dict(zip(("head", "medium", "tail"), ([name] for name in classes), strict=False)),
        bands_rule="by hand",
        licence="none",
        citation="none",
        source="toy",
        recipe={"split": "group"},
        image_root=str(images.resolve()),
        manifest_sha256="",
    )
    return write_dataset(folder / "data", pd.DataFrame(rows), info)
