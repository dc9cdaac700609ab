"""A trained model's answers: probabilities for a split of a data set, or for image files."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from lmd.data.cache import open_cache
from lmd.data.images import decode, resize
from lmd.data.loader import ImageSet, image_set
from lmd.data.manifest import Dataset
from lmd.errors import CheckpointError, DataError
from lmd.models.classifier import build_classifier
from lmd.models.encoder import build_encoder, num_features
from lmd.models.inference import encode
from lmd.models.network import Network
from lmd.run import RunFolder, read_model_card
from lmd.runtime import Runtime, atomic_write
from lmd.settings import Tree


def _quiet(done: int, total: int) -> None:
    """Shows no progress."""


@dataclass(frozen=True)
class Model:
    """A trained network with all that prediction needs."""

    network: Network
    card: Tree
    runtime: Runtime

    @property
    def classes(self) -> list[str]:
        """The class names, in the order of the logits."""
        return self.card["classes"]


def load_model(folder: RunFolder) -> Model:
    """Returns the trained model of a run folder.

    Raises:
        CheckpointError: the run has no finished model, or its files do not fit together.
    """
    card = read_model_card(folder)
    encoder = build_encoder(card["encoder"])
    head = build_classifier(card["head"], num_features(encoder), len(card["classes"]), seed=0)
    network = Network(encoder, head)
    network.load_state_dict(_read_weights(folder, network))
    runtime = Runtime(card["precision"])
    return Model(network.to(runtime.device), card, runtime)


def _read_weights(folder: RunFolder, network: Network) -> dict[str, torch.Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        weights = load_file(folder.weights)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"cannot read {folder.weights}: {error}") from error
    shapes = {name: value.shape for name, value in network.state_dict().items()}
    if {name: value.shape for name, value in weights.items()} != shapes:
        raise CheckpointError(f"{folder.weights} does not fit the architecture in {folder.model}")
    return weights


def predict_split(
    model: Model, dataset: Dataset, split: str, progress: Callable[[int, int], None] = _quiet
) -> pd.DataFrame:
    """Returns the predictions on a split: `id,label,group,predicted` and one `p_<class>` per class.

    Raises:
        DataError: the classes differ from the model's, or the split is empty.
    """
    if dataset.classes != model.classes:
        raise DataError(
            f"{dataset.folder} has classes {dataset.classes}, the model was trained on {model.classes}"
        )
    table = dataset.split(split)
    if table.empty:
        raise DataError(f"split '{split}' of {dataset.folder} has no images")
    preprocessing = model.card["preprocessing"]
    pixels = open_cache(dataset, preprocessing["size"], preprocessing["crop"])
    images = image_set(dataset, split, pixels)
    names = table[["id", "label", "group"]].reset_index(drop=True)
    # A group may be a patient: run folders hold a number in its place, which serves the bootstrap as well.
    names["group"] = [f"g{number}" for number in pd.factorize(names["group"])[0]]
    return _answers(model, images, names, progress)


def predict_files(
    model: Model, paths: list[Path], skip_bad: bool = False, frame: int | None = None
) -> tuple[pd.DataFrame, dict[str, str]]:
    """Returns the predictions on image files, and why files were skipped.

    `frame` (from 1) chooses in files of several frames.

    Raises:
        DataError: a file cannot be read (without `skip_bad`), or none can.
    """
    size, crop = model.card["preprocessing"]["size"], model.card["preprocessing"]["crop"]
    pixels: list[np.ndarray] = []
    used: list[str] = []
    skipped: dict[str, str] = {}
    for path in paths:
        try:
            image = decode(path, least=2 * size, frame=frame)  # As for the cache that it was trained on.
            pixels.append(resize(image, size, crop).transpose(2, 0, 1))
            used.append(str(path))
        except DataError as error:
            if not skip_bad:
                raise
            skipped[str(path)] = str(error)
    if not used:
        raise DataError(f"none of the {len(paths)} images can be read")
    labels = torch.zeros(len(used), dtype=torch.int64)
    images = ImageSet(torch.from_numpy(np.stack(pixels)), labels, len(model.classes))
    return _answers(model, images, pd.DataFrame({"id": used, "label": "", "group": ""}), _quiet), skipped


def _answers(
    model: Model, images: ImageSet, names: pd.DataFrame, progress: Callable[[int, int], None]
) -> pd.DataFrame:
    logits = encode(model.network, images, model.runtime, progress=progress).logits.double()
    probabilities = logits.softmax(1).cpu().numpy()
    columns = pd.DataFrame(probabilities, columns=[f"p_{name}" for name in model.classes])
    predicted = pd.Series(np.array(model.classes)[probabilities.argmax(1)], name="predicted")
    return pd.concat([names, predicted, columns], axis=1)


def write_predictions(path: Path, predictions: pd.DataFrame) -> None:
    """Writes predictions as CSV, atomically; probabilities with nine significant digits."""
    csv: Any = predictions.to_csv(index=False, float_format="%.9g")
    atomic_write(path, csv)
