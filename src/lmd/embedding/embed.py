"""Features of every image of a data set, from an encoder that is not trained: `lmd embed`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from lmd.data.audit.persons import grouping_of, unknown_persons
from lmd.data.dataset.checks import SPLITS
from lmd.data.dataset.folds_folder import Folds, is_folds
from lmd.data.dataset.manifest import Dataset, read_dataset
from lmd.data.dataset.output import becoming, refuse_used
from lmd.data.decode.cache import open_cache, read_as
from lmd.embedding.encode import encode_images
from lmd.embedding.folder import (
    COLUMNS,
    IMAGES,
    Features,
    FeaturesInfo,
    read_features,
    refuse_not_finite,
    write_features,
)
from lmd.embedding.source import Source, named, of_run
from lmd.errors import DataError
from lmd.evaluation.leaks.earlier import refuse_known_test, seen_before
from lmd.evaluation.leaks.seen import begun_with, seen_in_training, seen_text
from lmd.model_card import TrainedOn
from lmd.models.encoder import num_features
from lmd.models.packages import weights_path
from lmd.parallel import Steps, quiet
from lmd.run import RunFolder
from lmd.seals import sha256_of

ENCODER = "resnet18"  # Where none is named, as in a training.


def embed(
    data: Dataset | Path | str,
    *,
    out: Path | str,
    encoder: str | None = None,
    weights: Path | str | None = None,
    partial_weights: bool = False,
    run: RunFolder | Path | str | None = None,
    size: int | None = None,
    crop: str | None = None,
    progress: Steps = quiet,
) -> Features:
    """Writes a features folder: what a frozen encoder makes of each image, all splits included.

    Args:
        data: a dataset folder.
        out: the features folder to make; it must not exist, or be empty.
        encoder: a timm name, such as "tf_efficientnet_lite0"; "resnet18" where none is given.
        weights: a safetensors file, "package:NAME" or a run's folder (default: timm's own, downloaded).
        partial_weights: accept weights that lack some tensors.
        run: a finished run; its encoder, image size and crop are taken, and none may be given.
        size: pixels of each side of an image (default: what timm's configuration of the encoder says).
        crop: "none" (default): the whole image, squashed to a square; "center": its central square.
        progress: called with the images encoded so far and all of them.

    Raises:
        SettingsError, DataError, CheckpointError: one line on what is wrong; nothing is written.
    """
    out, dataset = Path(out), _one(data)
    refuse_used(out)
    bits = dataset.info.recipe.get("bits")
    if run is None:
        source = named(encoder or ENCODER, weights, size, crop, bits, partial_weights)
    else:
        source = of_run(run, encoder=encoder, weights=weights, size=size, crop=crop)
    source.check()
    refuse_known_test(source.weights, dataset, progress)
    with becoming(out) as unfinished:
        _fill(unfinished, dataset, source, progress)
    return read_features(out)


def _one(data: Dataset | Folds | Path | str) -> Dataset:
    """The data set, if it is one."""
    if isinstance(data, Folds) or (not isinstance(data, Dataset) and is_folds(Path(data))):
        folder = data.folder if isinstance(data, Folds) else Path(data)
        raise DataError(f"{folder} has folds: name one of them, such as {folder / 'fold-1'}")
    return data if isinstance(data, Dataset) else read_dataset(Path(data))


def _fill(folder: Path, dataset: Dataset, source: Source, progress: Steps) -> None:
    """Encodes the images and writes what a features folder has."""
    made = source.preprocessing
    pixels = open_cache(read_as(dataset, made.bits), made.size, made.crop, progress)
    seen = begun_with(seen_in_training(dataset, pixels), seen_before(source.weights))
    encoder = source.build()
    values = encode_images(encoder, pixels, made, source.precision, progress)
    refuse_not_finite(values, dataset.table["id"].to_numpy(), source.encoder)
    (folder / IMAGES).write_text(seen_text(seen), encoding="utf-8")
    table = dataset.table[COLUMNS].assign(group=_numbered(dataset.table["group"]))
    info = _info(dataset, source, num_features(encoder))
    write_features(folder, info, table, values, dict(encoder.state_dict()))


def _numbered(groups: pd.Series) -> np.ndarray:
    """A number for each group: a group may be a patient, and who it is is not needed here."""
    return np.array([f"g{number}" for number in pd.factorize(groups)[0]])


def _info(dataset: Dataset, source: Source, channels: int) -> FeaturesInfo:
    info, weights = dataset.info, source.weights
    return FeaturesInfo(
        encoder=source.encoder,
        channels=channels,
        preprocessing=source.preprocessing,
        precision=source.precision,
        weights=weights,
        weights_sha256=None if weights is None else sha256_of(weights_path(weights)),
        classes=dataset.classes,
        bands=info.bands,
        bands_rule=info.bands_rule,
        counts={split: dataset.counts(split).tolist() for split in SPLITS},
        dataset=TrainedOn(**info.model_dump(include=set(TrainedOn.model_fields))),
        data=str(dataset.folder.resolve()),
        warnings=unknown_persons(grouping_of(dataset)),
    )
