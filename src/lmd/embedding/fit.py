"""ICC's classifier on the features of a frozen encoder, as a run folder like any other: `lmd fit`."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import pandas as pd
import torch
from pydantic import Field
from torch import Tensor

from lmd import run
from lmd.embedding.folder import IMAGES, Features, FeaturesInfo, read_features
from lmd.errors import DataError
from lmd.estimator import VirtualFeatureClassifier
from lmd.evaluation.answers import answer_table, write_predictions
from lmd.evaluation.probability.decisions import softmax
from lmd.evaluation.selective.unlikeness import Unlikeness
from lmd.evaluation.selective.unlikeness_files import unlikeness_of_features, write_unlikeness
from lmd.fields import as_overrides
from lmd.files import atomic_write
from lmd.locks import locked, refuse_held
from lmd.model_card import ModelCard, Outputs
from lmd.reporting.card import write_card
from lmd.reporting.report import write_report
from lmd.run import RunFolder
from lmd.run_folder import FITTED, create
from lmd.runtime import Runtime
from lmd.settings import NonNegative, Positive, Settings, Tau, Tree, resolve
from lmd.training import surroundings
from lmd.training.finish import fitted_outputs
from lmd.training.selection import judgement


class FitSettings(Settings):
    """How a classifier is fitted to features."""

    tau: Tau = "validation"
    """shift of the decisions to rare classes; validation: what suits the validation images best"""
    covariance: Literal["ridge", "oas", "ledoit_wolf", "pooled", "diagonal"] = "ridge"
    """regularisation of the covariance of each class"""
    ridge: NonNegative = 0.1
    """variance added to each channel; the unit is the mean variance within classes"""
    l2: NonNegative = 0.4
    """weight of ||W||^2 / 2 in the objective, in the same unit"""
    tol: Positive = 1e-5
    """largest entry of the gradient at which the minimisation ends"""
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 42
    """seed of the points that the expectation is a mean over"""
    calibration: Literal["temperature", "none"] = "temperature"
    """the temperature of the probabilities: fitted on the validation images, or 1"""


@dataclass(frozen=True)
class Fitted:
    """A classifier (W, b) in the precision of the model, and what it was made with."""

    estimator: VirtualFeatureClassifier
    weight: Tensor
    bias: Tensor
    seconds: float

    def logits(self, values: np.ndarray) -> np.ndarray:
        """Returns the logits [N, K] of features, as the network computes them."""
        return torch.nn.functional.linear(torch.from_numpy(values), self.weight, self.bias).double().numpy()


def fit(
    features: Features | Path | str,
    *,
    out: Path | str,
    settings: Mapping[str, Any] | Sequence[str] = (),
) -> RunFolder:
    """Fits a classifier to the training images' features and writes a run folder; it takes seconds.

    The run's network is the frozen encoder with this classifier, so that `evaluate`, `predict` and the other
    verbs take it like any other run.

    Args:
        features: a features folder, as `lmd.embed` makes it.
        out: the run folder to make.
        settings: names and values, {"tau": 0.5}, or texts as `--set` takes them: tau, covariance, ridge, l2,
            tol, seed.

    Raises:
        SettingsError, DataError, CheckpointError: one line on what is wrong.
    """
    chosen = resolve(FitSettings, overrides=as_overrides(settings))
    refuse_held(Path(out))
    folder = create(Path(out), resumes=False)
    found = features if isinstance(features, Features) else read_features(features)
    _check(found)
    with locked(folder.path):
        fitted = _fitted(found, chosen)
        _write(folder, found, chosen, fitted)
    write_report(folder.path)
    write_card(folder.path)
    return folder


def _check(features: Features) -> None:
    """Refuses features that no classifier can be fitted to."""
    info = features.info
    if not any(info.counts["train"]):
        raise DataError(f"{features.folder} has no training image: embed a data set with 'train' rows")
    if len(info.classes) < 2:
        raise DataError(f"{features.folder} has one class, {info.classes[0]}: a classifier needs two")
    empty = [name for name, count in zip(info.classes, info.counts["train"], strict=True) if not count]
    if empty:
        raise DataError(
            f"class '{empty[0]}' of {features.folder} has no training image; it needs one at least"
        )


def _fitted(features: Features, settings: FitSettings) -> Fitted:
    begun, rows = time.perf_counter(), features.rows("train")
    shared = {name: getattr(settings, name) for name in ("covariance", "ridge", "l2", "tol")}
    known = settings.tau == "validation" and any(features.info.counts["val"])  # They choose it, later.
    estimator = VirtualFeatureClassifier(0.0 if known else settings.tau, random_state=settings.seed, **shared)
    estimator.fit(features.values[rows], features.labels[rows])
    weight, bias = (torch.from_numpy(part).float() for part in (estimator.coef_, estimator.intercept_))
    return Fitted(estimator, weight, bias, time.perf_counter() - begun)


def _write(folder: RunFolder, features: Features, settings: FitSettings, fitted: Fitted) -> None:
    """Writes what a run folder has; model.json comes last."""
    info, rows = features.info, features.rows("val")
    logits, labels = fitted.logits(features.values[rows]), features.labels[rows]
    outputs, validation = _validated(settings, fitted, logits, labels)
    card = _card(info, fitted, outputs, validation)
    run.write_identity(folder, _identity(info, settings))
    surroundings.write(folder, Runtime(info.precision))
    run.write_metrics(folder, [_record(fitted, validation)])
    atomic_write(folder.images, (features.folder / IMAGES).read_bytes())
    known = fitted.estimator.gaussians_
    if len(rows):
        usual = torch.from_numpy(features.values[rows])
        seen = _unlikeness(features, usual)
        answers = answer_table(logits, _names(features, rows), card, seen.unlike(usual))
        write_predictions(folder.predictions("val"), answers)
        write_unlikeness(folder, seen)
    run.write_model(folder, _weights(features, fitted), card, known.to(torch.float32).as_dict())


def _unlikeness(features: Features, usual: torch.Tensor) -> Unlikeness:
    """What to measure unlikeness by."""
    rows = features.rows("train")
    train, labels = torch.from_numpy(features.values[rows]), torch.from_numpy(features.labels[rows])
    return unlikeness_of_features(train, labels, len(features.info.classes), usual)


def _validated(
    settings: FitSettings, fitted: Fitted, logits: np.ndarray, labels: np.ndarray
) -> tuple[Outputs, Tree]:
    """What the outputs are and how good they are, by the validation images, where there are some.

    Which shares of the classes the probabilities imply is unknown, as of LMD: validation has to tell.
    """
    tau, made = settings.tau, fitted.estimator
    if not len(labels):
        by = "validation" if tau == "validation" else "settings"
        return Outputs(tau=made.tau_, tau_by=by, prior="unknown"), {}
    counts = made.class_count_
    outputs = fitted_outputs(logits, labels, counts, tau, settings.calibration, prior="unknown")
    return outputs, judgement(logits, softmax(logits), labels, tau, made.log_prior_)


def _card(info: FeaturesInfo, fitted: Fitted, outputs: Outputs, validation: Tree) -> ModelCard:
    return ModelCard(
        method=FITTED,
        encoder=info.encoder,
        classifier="linear",
        classes=info.classes,
        bands=info.bands,
        bands_rule=info.bands_rule,
        preprocessing=info.preprocessing,
        precision=info.precision,
        training_counts=info.counts["train"],
        dataset=info.dataset,
        selected_by="last",
        validation_bacc=validation.get("bacc"),
        validation_margin=validation.get("margin"),
        training_seconds=round(fitted.seconds, 3),
        warnings=info.warnings,
        outputs=outputs,
    )


def _names(features: Features, rows: np.ndarray) -> pd.DataFrame:
    """Id, label and group of some images; groups are numbered as in the other predictions of a run."""
    names = features.table.iloc[rows][["id", "label", "group"]].reset_index(drop=True)
    names["group"] = [f"g{number}" for number in pd.factorize(names["group"])[0]]
    return names


def _identity(info: FeaturesInfo, settings: FitSettings) -> Tree:
    """What settings.yaml says of the run."""
    made = info.preprocessing
    common = {"encoder": info.encoder, "weights": info.weights, "freeze": "all"}
    return {
        "method": FITTED,
        "method_sha256": None,
        "data": info.data,
        "manifest_sha256": info.dataset.manifest_sha256,
        "weights_sha256": info.weights_sha256,
        "from_sha256": None,
        "settings": {**common, "size": made.size, "crop": made.crop, **settings.model_dump(mode="json")},
    }


def _record(fitted: Fitted, validation: Tree) -> Tree:
    """The line of metrics.jsonl."""
    made = fitted.estimator
    losses = {"maximise": made.loss_, "maximise_evaluations": made.n_iter_}
    return {
        "stage": "stage2", "epoch": 0, "losses": losses, "validation": validation,
        "seconds": round(fitted.seconds, 3),
    }  # fmt: skip


def _weights(features: Features, fitted: Fitted) -> dict[str, Tensor]:
    """The network: the encoder as it is, and the classifier."""
    encoder = {f"encoder.{name}": value for name, value in features.encoder_weights().items()}
    return {**encoder, "classifier.weight": fitted.weight, "classifier.bias": fitted.bias}
