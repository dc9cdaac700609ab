"""How good a run's probabilities are on a split: as they are, and after calibrations on validation."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from lmd.errors import DataError
from lmd.evaluation.cases import Cases
from lmd.evaluation.parts import Estimate
from lmd.evaluation.probability.calibration import Kind, all_right, at_temperature, fit, out_of_fold
from lmd.evaluation.probability.metrics import (
    BINS,
    brier_scores,
    calibration_error,
    class_errors,
    class_errors_by_chance,
    equal_mass,
    equal_width,
    error_by_chance,
    log_losses,
    mean_with_interval,
)
from lmd.evaluation.probability.priors import shares_of, shifted
from lmd.evaluation.probability.reliability_bins import reliability_by_band
from lmd.evaluation.probability.results import BandLosses, ProbabilityResult, ProbabilityScores
from lmd.evaluation.probability.source import Source
from lmd.evaluation.probability.start import start_of

APART = 0.05  # Half the sum of |differences of shares| from which probabilities are also shown shifted.
_ALL_RIGHT = "no calibration: all validation images are right, which bounds no temperature"
Variant = tuple[str, str, np.ndarray]  # Its name, how it was made, and its probabilities.


@dataclass(frozen=True)
class _Split:
    """A run's probabilities on a split, what is known of them, and what they were divided by (T)."""

    cases: Cases
    source: Source
    split: str
    temperature: float

    @cached_property
    def shares(self) -> np.ndarray:
        """The shares of the classes in the split [K]."""
        counts = np.bincount(self.cases.labels, minlength=len(self.source.classes))
        return counts / counts.sum()

    def variants(self, notes: list[str]) -> Iterator[Variant]:
        """Yields the probabilities as they are and after calibrations; what is missing goes to `notes`."""
        own = self.cases.probabilities
        words = (
            f"the model's own, divided by T = {self.temperature:.3g}" if self.divided else "the model's own"
        )
        yield "model", words, own
        if self.divided:
            yield (
                "uncalibrated",
                "of the logits as they are, T = 1",
                at_temperature(own, 1 / self.temperature),
            )
        yield from self._calibrated(notes)
        yield from self._shifted(notes)

    @property
    def divided(self) -> bool:
        """Whether the model's card has a temperature."""
        return self.temperature != 1

    def _calibrated(self, notes: list[str]) -> Iterator[Variant]:
        val = self.source.validation
        if isinstance(val, str) or all_right(val.labels, val.probabilities):
            notes.append(f"no calibration: {val}" if isinstance(val, str) else _ALL_RIGHT)
            return
        kinds: list[Kind] = ["vector"] if self.divided else ["temperature", "vector"]
        for kind in kinds:
            yield kind, *self._by(kind, val)

    def _by(self, kind: Kind, val: Cases) -> tuple[str, np.ndarray]:
        name = {"temperature": "a temperature", "vector": "a scale and a bias for each class"}[kind]
        own = self.cases.probabilities
        there = shares_of(np.bincount(val.labels, minlength=len(self.source.classes)))
        offset = np.log(there / self._implied(kind, there))
        if self.split == "val":
            found = out_of_fold(kind, self.cases.labels, own, self.cases.clusters, offset)
            return f"{name}, fitted on the other four fifths of the validation images", found
        found = fit(kind, val.labels, val.probabilities, offset)(own)
        if kind == "vector" and _apart(self.shares, there):
            return f"{name}, fitted on validation; then at the shares of the split", shifted(
                found, there, self.shares
            )
        return f"{name}, fitted on validation", found

    def _implied(self, kind: Kind, there: np.ndarray) -> np.ndarray:
        """The shares that the model's probabilities imply; `there` where a bias by class finds them."""
        declared = {"training": self.source.training, "uniform": np.full(len(there), 1 / len(there))}
        return declared.get(self.source.declared, there) if kind == "temperature" else there

    def _shifted(self, notes: list[str]) -> Iterator[Variant]:
        """The model's own at the shares of the split, where they imply others."""
        try:
            start = start_of(self.source)
        except DataError as error:
            notes.append(f"not shown at the shares of the split: {error}")
            return
        if _apart(self.shares, start.implied):
            found = start.shifted(self.cases.probabilities, self.shares)
            yield "split", f"{start.words}, shifted to the shares of the split", found


def _apart(first: np.ndarray, second: np.ndarray) -> bool:
    return float(np.abs(first - second).sum()) / 2 > APART


def probabilities_of(
    cases: Cases, source: Source, bands: Mapping[str, list[str]], split: str, temperature: float
) -> ProbabilityResult:
    """Returns how good a run's probabilities are on a split, before and after calibrations on validation.

    Args:
        cases: the split's, with the model's probabilities for ranking.
        source: what the probabilities imply, and the validation cases.
        bands: the classes of each frequency band.
        split: "train", "val" or "test"; on validation itself calibrations are fitted out of fold.
        temperature: what the model divides its logits by.
    """
    notes: list[str] = []
    places = {band: [source.classes.index(name) for name in some] for band, some in bands.items() if some}
    found = list(_Split(cases, source, split, temperature).variants(notes))
    scores = [_scores(*variant, cases, list(source.classes), places) for variant in found]
    return ProbabilityResult(implied=source.declared, variants=scores, notes=notes)


def _scores(
    name: str,
    how: str,
    probabilities: np.ndarray,
    cases: Cases,
    classes: Sequence[str],
    bands: Mapping[str, list[int]],
) -> ProbabilityScores:
    labels, clusters = cases.labels, cases.clusters
    losses, largest = log_losses(labels, probabilities), probabilities.max(1)
    hits, places = (probabilities.argmax(1) == labels).astype(float), equal_mass(largest, BINS)
    errors = class_errors(labels, probabilities)
    return ProbabilityScores(
        name=name,
        how=how,
        nll=mean_with_interval(losses, clusters),
        brier=mean_with_interval(brier_scores(labels, probabilities), clusters),
        nll_change=_change(name, losses, cases),
        ece=calibration_error(largest, hits, equal_width(largest, BINS)),
        ece_equal_mass=calibration_error(largest, hits, places),
        ece_equal_mass_by_chance=error_by_chance(largest, places),
        ece_class_wise=float(errors.mean()),
        ece_class_wise_by_chance=float(class_errors_by_chance(probabilities).mean()),
        ece_of_class=dict(zip(classes, errors.tolist(), strict=True)),
        bands={band: _band(labels, probabilities, some) for band, some in bands.items()},
        reliability=reliability_by_band(labels, probabilities, clusters, bands),
    )


def _change(name: str, losses: np.ndarray, cases: Cases) -> Estimate | None:
    if name == "model":
        return None
    return mean_with_interval(losses - log_losses(cases.labels, cases.probabilities), cases.clusters)


def _band(labels: np.ndarray, probabilities: np.ndarray, classes: list[int]) -> BandLosses:
    rows = np.isin(labels, classes)
    if not rows.any():
        return BandLosses(n=0, nll=None, brier=None)
    part = labels[rows], probabilities[rows]
    return BandLosses(
        n=int(rows.sum()), nll=float(log_losses(*part).mean()), brier=float(brier_scores(*part).mean())
    )
