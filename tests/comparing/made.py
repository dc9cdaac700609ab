"""Run folders as a training leaves them, made without one: settings, card and predictions."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from lmd.evaluation.answers import answer_table, write_predictions
from lmd.files import atomic_write
from lmd.folds.folder import FoldsRun, FoldsRunInfo, write_folds_run
from lmd.methods import settings_of
from lmd.model_card import ModelCard, Outputs
from lmd.run import RunFolder, write_identity
from lmd.seals import sealed_json

CLASSES = ["common", "less", "rare"]
COUNTS = [900, 300, 30]
SHA = "a" * 64
IMAGES = np.repeat([0, 1, 2], [60, 40, 20])


def card(**changes: Any) -> ModelCard:
    base: dict[str, Any] = {
        "format": 3,
        "method": "ce",
        "encoder": "test_resnet",
        "classifier": "linear",
        "classes": CLASSES,
        "bands": {"head": ["common"], "medium": ["less"], "tail": ["rare"]},
        "bands_rule": "by hand",
        "preprocessing": {"size": 16, "crop": "none", "mean": (0, 0, 0), "std": (1, 1, 1)},
        "precision": "fp32",
        "training_counts": COUNTS,
        "dataset": {"title": "toy", "source": "toy", "licence": "none", "manifest_sha256": SHA},
        "selected_by": "last",
        "validation_bacc": None,
        "training_seconds": 1.0,
    }
    return ModelCard.model_validate({**base, **changes})


def logits(labels: np.ndarray, strength: float, seed: int, prior: float = 1.0) -> np.ndarray:
    """Logits that know the class by `strength`, and lean to frequent classes."""
    hard = np.random.default_rng(5).normal(size=(len(labels), 3))
    own = np.random.default_rng(seed).normal(size=(len(labels), 3))
    lean = prior * np.log(np.array(COUNTS) / sum(COUNTS))
    return strength * np.eye(3)[labels] + hard + 0.4 * own + lean


def table(
    labels: np.ndarray,
    found: np.ndarray,
    made: ModelCard,
    groups: Sequence[str] | None = None,
    first: str = "x",
) -> pd.DataFrame:
    names = pd.DataFrame(
        {
            "id": [f"{first}{number:03d}" for number in range(len(labels))],
            "label": [CLASSES[k] for k in labels],
            "group": groups or [f"g{number}" for number in range(len(labels))],
        }
    )
    return answer_table(found, names, made)


def run(
    folder: Path,
    method: str = "ce",
    seed: int = 42,
    strength: float = 2.0,
    settings: Sequence[str] = (),
    outputs: Outputs = Outputs(),  # noqa: B008
    answers: pd.DataFrame | None = None,
    val: bool = True,
    **changes: Any,
) -> Path:
    """Writes a finished run, whose classifier is the better the larger `strength`."""
    made = card(method=method, outputs=outputs, **changes)
    place = RunFolder(folder)
    resolved = settings_of(method, "smoke", overrides=[f"seed={seed}", *settings]).model_dump(mode="json")
    head = {"method": method, "data": "gone", "manifest_sha256": SHA}
    empty = dict.fromkeys(("method_sha256", "weights_sha256", "from_sha256"))
    folder.mkdir(parents=True)
    write_identity(place, {**head, **empty, "settings": resolved})
    atomic_write(place.model, sealed_json(made.model_dump(mode="json")))
    found = logits(IMAGES, strength, seed)
    write_predictions(place.predictions("test"), table(IMAGES, found, made) if answers is None else answers)
    if val:
        other = logits(IMAGES, strength, seed + 1000)
        write_predictions(place.predictions("val"), table(IMAGES, other, made, first="v"))
    return folder


def folds_run(
    folder: Path, strength: float, seed: int = 42, method: str = "ce", repeats: int = 1, folds: bool = True
) -> Path:
    """Writes a finished run on two folds, repeated or not, with its pooled predictions; or on two repeats."""
    names = [f"fold-{k}" if folds else f"repeat-{k}" for k in (1, 2)]
    if repeats > 1:
        names = [f"repeat-{r}/{name}" for r in range(1, repeats + 1) for name in names]
    resolved = settings_of(method, "smoke", overrides=[f"seed={seed}"]).model_dump(mode="json")
    parts = []
    for number, name in enumerate(names):
        run(folder / name, method, seed, strength)
        found = table(IMAGES, logits(IMAGES, strength, seed + 10 * (number // 2)), card())
        mine = np.arange(len(IMAGES)) % 2 == number % 2
        parts.append(found[mine].assign(fold=name))
    info = FoldsRunInfo(
        title="toy", method=method, data="gone", manifests_sha256=dict.fromkeys(names, SHA), settings=resolved
    )
    place = FoldsRun(folder, info)
    write_folds_run(place)
    write_predictions(place.predictions("test"), pd.concat(parts, ignore_index=True))
    return folder
