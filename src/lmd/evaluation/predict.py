"""A trained model's answers: probabilities for a split of a data set, or for image files."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from lmd.data.asked import image_files
from lmd.data.dataset.manifest import Dataset
from lmd.data.decode.cache import open_cache, read_as
from lmd.data.feed.loader import image_set
from lmd.data.feed.mapped import MappedPixels
from lmd.errors import CheckpointError, DataError
from lmd.evaluation.answers import answer_table
from lmd.evaluation.classes import refuse_other_classes
from lmd.evaluation.outputs import answered, in_batches, joined, outputs_of, read_images
from lmd.evaluation.prior_answers import answers_at_prior
from lmd.evaluation.probability.source import Source, source_of
from lmd.evaluation.selective.unlikeness import Unlikeness
from lmd.evaluation.selective.unlikeness_files import read_unlikeness
from lmd.evaluation.set_answers import Promise, promise_of, refuse_both
from lmd.evaluation.wanted import Prior, checked_prior
from lmd.model_card import ModelCard
from lmd.models.classifier import build_classifier
from lmd.models.encoder import build_encoder, num_features
from lmd.models.folding import at_rest
from lmd.models.network import Network, Output
from lmd.parallel import Steps, quiet
from lmd.run import RunFolder, check_files, read_model_card
from lmd.runtime import Runtime


@dataclass(frozen=True)
class Model:
    """A trained network with all that prediction needs."""

    network: Network
    card: ModelCard
    runtime: Runtime
    unlikeness: Unlikeness | None = field(default=None, kw_only=True)
    """what tells how unlike anything seen an image is; None where the run does not keep it"""
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
        sets: float | None = None,
    ) -> pd.DataFrame:
        """Returns a table with a row for each image: `id`, `predicted`, `p_<class>`, and perhaps `unlike`.

        The probabilities p rank cases. Where the model's tau shifts decisions, `d_<class>` follow, and
        `predicted` is the class with the largest d.

        Args:
            images: image files, or folders of them.
            skip_bad: leave out images that cannot be read.
            frame: which frame of files that hold several, from 1.
            prior: how frequent the classes are where the images are from: "train", "uniform", "estimate" (by
                these images), a file of shares or {"melanoma": 0.02, ...}. p are the probabilities there.
            sets: a share such as 0.9: the column `set` has classes that hold the true one so often, where
                images are like those of validation (docs/sets.md). Not together with a prior.

        Raises:
            DataError: an image cannot be read (without `skip_bad`), or none can, or a folder has none; or the
                prior or sets need validation images that the run has not.
            SettingsError: there is no such prior, or no such share.
        """
        refuse_both(prior, sets)
        stated = None if prior is None else checked_prior(prior, self.source)
        promise = None if sets is None else self.promise(sets)
        answers, _ = predict_files(self, image_files(images), skip_bad, frame)
        answers = answers.drop(columns=["label", "group"])
        if promise is not None:
            return promise.added_to(answers)
        return answers if stated is None else answers_at_prior(answers, self.source, stated)[0]

    @property
    def source(self) -> Source:
        """What is known of its probabilities."""
        return source_of(self.folder, self.card)

    def promise(self, level: float) -> Promise:
        """Returns what prediction sets of so large a coverage rest on.

        Raises:
            SettingsError: the coverage is not between 0 and 1.
            DataError: there are no answers on validation images.
        """
        return promise_of(self.source, self.card.bands, level)

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
    network = Network(encoder, classifier, (made.mean, made.std), made.flips)
    network.load_state_dict(_read_weights(folder, network))
    runtime = Runtime(card.precision)
    kept = read_unlikeness(folder)
    return Model(network.to(runtime.device), card, runtime, unlikeness=kept, folder=folder)


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
    return answers_of(model, images.pixels, names_of(dataset, split), progress)


def names_of(dataset: Dataset, split: str) -> pd.DataFrame:
    """Returns id, label and group of each image of a split.

    A group may be a patient. Run folders hold a number in its place, which is all that the intervals need.
    """
    names = dataset.split(split)[["id", "label", "group"]].reset_index(drop=True)
    return names.assign(group=[f"g{number}" for number in pd.factorize(names["group"])[0]])


def answers_of(
    model: Model, pixels: torch.Tensor | MappedPixels, names: pd.DataFrame, progress: Steps = quiet
) -> pd.DataFrame:
    """Returns the answers on images, uint8 [N, 3, S, S], beside their names."""
    found = _Answers(model)
    for output in outputs_of(model, pixels):
        progress(found.add(output), len(pixels))
    return found.table(names)


class _Answers:
    """The answers of a model, batch by batch; features are not kept."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self.logits: list[torch.Tensor] = []
        self.unlike: list[np.ndarray] = []
        self.done = 0

    def add(self, output: Output) -> int:
        """Adds a batch and returns how many images there are now."""
        self.logits.append(output.logits)
        if self.model.unlikeness is not None:
            self.unlike.append(self.model.unlikeness.unlike(output.features))
        self.done += len(output.logits)
        return self.done

    def table(self, names: pd.DataFrame) -> pd.DataFrame:
        unlike = np.concatenate(self.unlike) if self.unlike else None
        return answer_table(joined(self.logits), names, self.model.card, unlike)


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
    found = _Answers(model)
    read = partial(read_images, model.card.preprocessing, frame, skip_bad)
    with closing(answered(model, read, in_batches(paths, model))) as parts:
        for images, answer in parts:
            used += images.used
            skipped |= images.bad
            found.add(answer)
            progress(len(used) + len(skipped), len(paths))
    if not used:
        raise DataError(
            "the only image cannot be read"
            if len(paths) == 1
            else f"none of the {len(paths)} images can be read"
        )
    names = pd.DataFrame({"id": used, "label": "", "group": ""})
    return found.table(names), skipped
