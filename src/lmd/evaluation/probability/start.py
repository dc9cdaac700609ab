"""Where a shift of the prior starts: calibrated probabilities, and the shares of classes that they imply."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from lmd.errors import DataError
from lmd.evaluation.cases import Cases
from lmd.evaluation.probability.label_shift import Shares, check_identifiable, estimate_shares
from lmd.evaluation.probability.priors import FEW, shifted, with_known_prior
from lmd.evaluation.probability.source import Source
from lmd.text import listed


@dataclass(frozen=True)
class Start:
    """A calibration, the shares [K] that the probabilities imply after it, this in words, and warnings."""

    calibration: Callable[[np.ndarray], np.ndarray]
    implied: np.ndarray
    words: str
    warnings: list[str]

    def shifted(self, probabilities: np.ndarray, wanted: np.ndarray) -> np.ndarray:
        """Returns a model's probabilities [N, K] as they are where the classes have the shares `wanted`."""
        return shifted(self.calibration(probabilities), self.implied, wanted)


def start_of(source: Source) -> Start:
    """Returns where a shift starts: as the method declares, or from a bias by class fitted on validation.

    Raises:
        DataError: it is unknown what the probabilities imply, and validation cannot tell.
    """
    own = "the model's probabilities, which imply"
    if source.declared == "training":
        return Start(_as_they_are, source.training, f"{own} the shares of the training images", [])
    if source.declared == "uniform":
        classes = len(source.classes)
        return Start(_as_they_are, np.full(classes, 1 / classes), f"{own} equal shares of all classes", [])
    return _by_bias(source)


def _as_they_are(probabilities: np.ndarray) -> np.ndarray:
    return probabilities


def _by_bias(source: Source) -> Start:
    val = _validation(source, "it is unknown which shares of the classes the model's probabilities imply")
    made, implied = with_known_prior(val.labels, val.probabilities, source.classes)
    words = (
        "the model's probabilities after a temperature and a bias by class, fitted on validation; they imply "
        "the shares of the validation images"
    )
    return Start(made, implied, words, _few(source.classes, val))


def _few(classes: Sequence[str], val: Cases) -> list[str]:
    counts = np.bincount(val.labels, minlength=len(classes))
    few = [f"{name} ({count})" for name, count in zip(classes, counts, strict=True) if count < FEW]
    return (
        [f"fewer than {FEW} validation images of {listed(few)}: what they imply is hardly known"]
        if few
        else []
    )


def _validation(source: Source, why: str) -> Cases:
    if isinstance(source.validation, str):
        raise DataError(f"{why}, and {source.validation}")
    return source.validation


def check_estimate(source: Source) -> None:
    """Refuses to estimate shares where validation does not allow it.

    Raises:
        DataError: there is no validation, it lacks a class, or two classes cannot be told apart.
    """
    val = _validation(source, "an estimate of the shares needs a calibration")
    check_identifiable(val.labels, val.probabilities, source.classes)


def estimated(source: Source, probabilities: np.ndarray, clusters: np.ndarray) -> tuple[Shares, Start]:
    """Returns the shares of the classes among images without labels, and where a shift to them starts.

    Raises:
        DataError: there is no validation, it lacks a class, or two classes cannot be told apart.
    """
    val = _validation(source, "an estimate of the shares needs a calibration")
    shares, made = estimate_shares(
        probabilities, clusters, val.labels, val.probabilities, source.classes, val.clusters
    )
    implied = np.bincount(val.labels, minlength=len(source.classes)) / len(val.labels)
    words = (
        "the model's probabilities after vector scaling, fitted on validation; they imply the shares of the "
        "validation images"
    )
    return shares, Start(made, implied, words, [*_few(source.classes, val), *shares.warnings])
