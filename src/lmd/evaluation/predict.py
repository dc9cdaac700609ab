"""A trained model's answers: probabilities for a split of a data set, or for image files."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from lmd.data.augment import clean
from lmd.data.cache import open_cache
from lmd.data.images import decode_small
from lmd.data.loader import image_set
from lmd.data.manifest import Dataset
from lmd.data.parallel import streamed
from lmd.errors import CheckpointError, DataError
from lmd.models.classifier import build_classifier
from lmd.models.encoder import build_encoder, num_features
from lmd.models.folding import at_rest
from lmd.models.inference import batch_for, clean_batches, outputs
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

    @cached_property
    def at_rest(self) -> Network:
        """The network that answers: a copy of the trained one as it is now, with less to compute."""
        return at_rest(self.network, self.runtime.precision)


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
    images, device = image_set(dataset, split, pixels), model.runtime.device
    names = table[["id", "label", "group"]].reset_index(drop=True)
    # A group may be a patient: run folders hold a number in its place, which serves the bootstrap as well.
    names["group"] = [f"g{number}" for number in pd.factorize(names["group"])[0]]
    parts = clean_batches(images, np.arange(len(names)), batch_for(device), model.runtime)
    return _answers(model, _logits(model, parts, lambda done: progress(done, len(names))), names)


def predict_files(
    model: Model,
    paths: list[Path],
    skip_bad: bool = False,
    frame: int | None = None,
    progress: Callable[[int, int], None] = _quiet,
) -> tuple[pd.DataFrame, dict[str, str]]:
    """Returns the predictions on image files, and why files were skipped.

    `frame` (from 1) chooses in files of several frames. Threads decode the files of the next two batches
    while the network works on one; no more images than that are in memory.

    Raises:
        DataError: a file cannot be read (without `skip_bad`), or none can.
    """
    used: list[str] = []
    skipped: dict[str, str] = {}
    size = batch_for(model.runtime.device)
    with closing(_images(model, paths, frame, 2 * size, used, skipped if skip_bad else None)) as images:
        parts = _in_batches(images, size, model.runtime.device)
        logits = _logits(model, parts, lambda done: progress(done + len(skipped), len(paths)))
    if not used:
        raise DataError(f"none of the {len(paths)} images can be read")
    return _answers(model, logits, pd.DataFrame({"id": used, "label": "", "group": ""})), skipped


def _images(
    model: Model,
    paths: list[Path],
    frame: int | None,
    window: int,
    used: list[str],
    skipped: dict[str, str] | None,
) -> Generator[np.ndarray, None, None]:
    """Yields the images of the files, and notes which files were used and why others were skipped."""
    size, crop = model.card["preprocessing"]["size"], model.card["preprocessing"]["crop"]

    def read(path: Path) -> np.ndarray | DataError:
        try:
            return decode_small(path, size, crop, frame)
        except DataError as error:
            return error

    with closing(streamed(read, paths, window)) as found:
        for path, image in zip(paths, found, strict=True):
            if not isinstance(image, DataError):
                used.append(str(path))
                yield image
            elif skipped is not None:
                skipped[str(path)] = str(image)
            else:
                raise image


def _in_batches(images: Iterator[np.ndarray], size: int, device: torch.device) -> Iterator[torch.Tensor]:
    while batch := list(islice(images, size)):
        yield clean(torch.from_numpy(np.stack(batch)).to(device))


def _logits(
    model: Model, parts: Iterable[torch.Tensor], progress: Callable[[int], None]
) -> list[torch.Tensor]:
    """The logits of batches of normalised images."""
    found: list[torch.Tensor] = []
    for output in outputs(model.at_rest, parts, model.runtime):
        found.append(output.logits)
        progress(sum(map(len, found)))
    return found


def _answers(model: Model, logits: list[torch.Tensor], names: pd.DataFrame) -> pd.DataFrame:
    probabilities = torch.cat(logits).double().softmax(1).cpu().numpy()
    columns = pd.DataFrame(probabilities, columns=[f"p_{name}" for name in model.classes])
    predicted = pd.Series(np.array(model.classes)[probabilities.argmax(1)], name="predicted")
    return pd.concat([names, predicted, columns], axis=1)


def write_predictions(path: Path, predictions: pd.DataFrame) -> None:
    """Writes predictions as CSV, atomically; probabilities with nine significant digits."""
    csv: Any = predictions.to_csv(index=False, float_format="%.9g")
    atomic_write(path, csv)
