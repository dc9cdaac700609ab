"""A trained model's answers: probabilities for a split of a data set, or for image files."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch

from lmd.data.asked import image_files
from lmd.data.dataset.manifest import Dataset
from lmd.data.decode.cache import open_cache, read_as
from lmd.data.decode.images import decode_small
from lmd.data.feed.loader import image_set
from lmd.data.feed.scale import clean
from lmd.errors import CheckpointError, DataError
from lmd.evaluation.answers import answer_table
from lmd.evaluation.classes import refuse_other_classes
from lmd.evaluation.prior_answers import answers_at_prior
from lmd.evaluation.source import Source, source_of
from lmd.evaluation.wanted import Prior, stated_prior
from lmd.files import atomic_write
from lmd.model_card import ModelCard, Preprocessing
from lmd.models.classifier import build_classifier
from lmd.models.encoder import build_encoder, num_features
from lmd.models.folding import at_rest
from lmd.models.inference import batch_for
from lmd.models.network import Network
from lmd.parallel import Steps, num_cores, one_core_each, quiet, streamed
from lmd.run import RunFolder, check_files, read_model_card
from lmd.runtime import Runtime
from lmd.spreadsheet import guarded_table


@dataclass(frozen=True)
class Model:
    """A trained network with all that prediction needs."""

    network: Network
    card: ModelCard
    runtime: Runtime
    folder: RunFolder | None = field(default=None, kw_only=True)
    """where its run lies; None of the mean of several"""

    @property
    def classes(self) -> list[str]:
        """The class names, in the order of the logits."""
        return self.card.classes

    def predict(
        self,
        images: Sequence[Path | str] | Path | str,
        *,
        skip_bad: bool = False,
        frame: int | None = None,
        prior: Prior | None = None,
    ) -> pd.DataFrame:
        """Returns a table with a row for each image: `id`, `predicted`, and `p_<class>` for each class.

        The probabilities p rank cases. Where the model's tau shifts decisions, `d_<class>` follow, and
        `predicted` is the class with the largest d.

        Args:
            images: image files, or folders of them.
            skip_bad: leave out images that cannot be read.
            frame: which frame of files that hold several, from 1.
            prior: how frequent the classes are where the images are from: "train", "uniform", "estimate" (by
                these images), a file of shares or {"melanoma": 0.02, ...}. p are the probabilities there.

        Raises:
            DataError: an image cannot be read (without `skip_bad`), or none can, or a folder has none; or the
                prior needs validation images that the run has not.
            SettingsError: there is no such prior.
        """
        stated = None if prior is None else stated_prior(prior, self.classes)
        answers, _ = predict_files(self, image_files(images), skip_bad, frame)
        answers = answers.drop(columns=["label", "group"])
        return answers if stated is None else answers_at_prior(answers, self.source, stated)[0]

    @property
    def source(self) -> Source:
        """What is known of its probabilities."""
        return source_of(self.folder, self.card)

    @cached_property
    def at_rest(self) -> Network:
        """A copy of the trained network, for prediction: the same answers with less to compute."""
        return at_rest(self.network, self.runtime.precision)


def load_model(folder: RunFolder) -> Model:
    """Returns the trained model of a run folder.

    Raises:
        CheckpointError: the run has no finished model, or its files do not fit together.
    """
    card = read_model_card(folder)
    check_files(folder, card)
    made = card.preprocessing
    encoder = build_encoder(card.encoder, size=made.size)
    classifier = build_classifier(card.classifier, num_features(encoder), len(card.classes), seed=0)
    network = Network(encoder, classifier, (made.mean, made.std))
    network.load_state_dict(_read_weights(folder, network))
    runtime = Runtime(card.precision)
    return Model(network.to(runtime.device), card, runtime, folder=folder)


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


def pixels_for(model: Model, dataset: Dataset, split: str) -> np.ndarray:
    """Returns the pixels of a data set as the model takes them, if it can be measured on the split.

    Raises:
        DataError: the data set has a class that the model does not know, or the split is empty.
    """
    refuse_other_classes(dataset, model.classes)
    if dataset.split(split).empty:
        raise DataError(f"split '{split}' of {dataset.folder} has no images")
    made = model.card.preprocessing
    return open_cache(read_as(dataset, made.bits), made.size, made.crop)


def predict_split(
    model: Model, dataset: Dataset, split: str, progress: Steps = quiet, pixels: np.ndarray | None = None
) -> pd.DataFrame:
    """Returns the predictions on a split: `id,label,group,predicted`, `p_<class>` and perhaps `d_<class>`.

    `pixels` are what `pixels_for` gave, where it was called before; its errors are those of this function.
    """
    images = image_set(dataset, split, pixels_for(model, dataset, split) if pixels is None else pixels)
    return answer_table(logits_of(model, images.pixels, progress), names_of(dataset, split), model.card)


def names_of(dataset: Dataset, split: str) -> pd.DataFrame:
    """Returns id, label and group of each image of a split.

    A group may be a patient. Run folders hold a number in its place, which is all that the intervals need.
    """
    names = dataset.split(split)[["id", "label", "group"]].reset_index(drop=True)
    return names.assign(group=[f"g{number}" for number in pd.factorize(names["group"])[0]])


def logits_of(model: Model, pixels: torch.Tensor, progress: Steps = quiet) -> np.ndarray:
    """Returns the logits [N, K] of images, uint8 [N, 3, S, S]."""
    logits: list[torch.Tensor] = []
    rows = _batches(range(len(pixels)), model)
    with closing(_answered(model, lambda part: _Images(pixels[part[0] : part[-1] + 1]), rows)) as parts:
        for _, answer in parts:
            logits.append(answer)
            progress(sum(map(len, logits)), len(pixels))
    return _joined(logits)


def _joined(logits: list[torch.Tensor]) -> np.ndarray:
    return torch.cat(logits).double().cpu().numpy()


def predict_files(
    model: Model,
    paths: list[Path],
    skip_bad: bool = False,
    frame: int | None = None,
    progress: Steps = quiet,
) -> tuple[pd.DataFrame, dict[str, str]]:
    """Returns the predictions on image files, and why files were skipped.

    `frame` (from 1) chooses in files of several frames. A few batches of images are in memory, never all.

    Raises:
        DataError: a file cannot be read (without `skip_bad`), or none can.
    """
    used: list[str] = []
    skipped: dict[str, str] = {}
    logits: list[torch.Tensor] = []
    read = partial(_read, model.card.preprocessing, frame, skip_bad)
    with closing(_answered(model, read, _batches(paths, model))) as parts:
        for images, answer in parts:
            used += images.used
            skipped |= images.bad
            logits.append(answer)
            progress(len(used) + len(skipped), len(paths))
    if not used:
        raise DataError(f"none of the {len(paths)} images can be read")
    names = pd.DataFrame({"id": used, "label": "", "group": ""})
    return answer_table(_joined(logits), names, model.card), skipped


class _Images(NamedTuple):
    """Some images, uint8 [B, 3, S, S]; the files that they are from, and the files that could not be read."""

    pixels: torch.Tensor
    used: Sequence[str] = ()
    bad: Mapping[str, str] = {}


def _read(preprocessing: Preprocessing, frame: int | None, skip_bad: bool, paths: Sequence[Path]) -> _Images:
    """Reads some files; without `skip_bad` the first that cannot be read ends it."""
    size, crop = preprocessing.size, preprocessing.crop
    pixels: list[np.ndarray] = [np.empty((0, 3, size, size), np.uint8)]
    used: list[str] = []
    bad: dict[str, str] = {}
    for path in paths:
        try:
            pixels.append(decode_small(path, size, crop, frame, preprocessing.bits)[None])
            used.append(str(path))
        except DataError as error:
            if not skip_bad:
                raise
            bad[str(path)] = str(error)
    return _Images(torch.from_numpy(np.concatenate(pixels)), used, bad)


def _batches(items: Sequence[Any], model: Model) -> list[Sequence[Any]]:
    """The items in batches: as large as is quickest, and no fewer than can be worked on at once."""
    quickest = batch_for(model.runtime.device, model.card.preprocessing.size)
    size = max(1, min(quickest, math.ceil(len(items) / num_cores())))
    return [items[start : start + size] for start in range(0, len(items), size)]


def _answered(
    model: Model, read: Callable[[Any], _Images], batches: list[Sequence[Any]]
) -> Generator[tuple[_Images, torch.Tensor], None, None]:
    """Yields the images that `read` makes of each batch, and their logits.

    On a CPU every core reads a batch and then answers it, so that decoding and network overlap. On a GPU
    threads read while it answers.
    """
    network = model.at_rest  # Made here, before several threads ask for it.
    if model.runtime.device.type != "cpu":
        for images in streamed(read, batches, window=2):
            yield images, _logits(network, images, model)
        return

    def work(batch: Sequence[Any]) -> tuple[_Images, torch.Tensor]:
        images = read(batch)
        return images, _logits(network, images, model)

    yield from one_core_each(work, batches)


@torch.inference_mode()
def _logits(network: Network, images: _Images, model: Model) -> torch.Tensor:
    """The logits of images, in fp32."""
    scale = model.card.preprocessing
    pixels = clean(images.pixels.to(model.runtime.device), scale.mean, scale.std)
    with model.runtime.autocast():
        return network(pixels).logits.float()


def write_predictions(path: Path, predictions: pd.DataFrame) -> None:
    """Writes predictions as CSV, atomically; probabilities with nine significant digits."""
    csv: Any = guarded_table(predictions).to_csv(index=False, float_format="%.9g")
    atomic_write(path, csv)
