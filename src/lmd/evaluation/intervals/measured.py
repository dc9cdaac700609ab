"""Every metric of some predictions, each with what its interval is made of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial

import numpy as np

from lmd.evaluation.intervals import influence
from lmd.evaluation.intervals.areas import by_ranks, mean_area
from lmd.evaluation.intervals.score import Scale
from lmd.evaluation.intervals.uncertainty import Measured, Sample, needed_apart, too_few, without_interval
from lmd.evaluation.metrics import (
    MACRO,
    against_the_rest,
    class_metrics,
    confusion,
    kappa,
    mcc,
    mean_over_classes,
)

ALONE = "no interval: with images of one class only, this metric cannot come out otherwise"
# Metrics of the whole matrix, from -1 to 1; the others are means over classes, from 0 to 1.
WHOLE = {
    "mcc": mcc,
    "kappa_quadratic": partial(kappa, quadratic=True),
    "kappa_unweighted": partial(kappa, quadratic=False),
}


def value_of(metric: str, matrix: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Returns a metric of confusion matrices [..., K, K]: a mean over classes with weights [K], or whole."""
    if metric in WHOLE:
        return WHOLE[metric](matrix)
    return np.nansum(class_metrics(matrix)[metric] * weights, axis=-1)


@dataclass(frozen=True)
class AllMetrics:
    """Every metric of some cases, of which N have classes `labels` [N] and probabilities [N, K].

    Probabilities rank: areas under curves are made of them. All else counts decisions: `decided` [N], or the
    largest probability where they are not given.
    """

    sample: Sample
    probabilities: np.ndarray
    decided: np.ndarray | None = None

    @cached_property
    def predicted(self) -> np.ndarray:
        """The class that each case is taken for [N]."""
        return self.probabilities.argmax(1) if self.decided is None else self.decided

    @cached_property
    def confusion(self) -> np.ndarray:
        """The confusion matrix [K, K]; rows are the true classes."""
        num_classes, once = self.probabilities.shape[1], np.ones((1, len(self.probabilities)))
        return confusion(self.sample.labels, self.predicted, num_classes, once)[0]

    @cached_property
    def of_class(self) -> dict[str, np.ndarray]:
        """Each metric of each class [K]; nan where undefined."""
        return {**class_metrics(self.confusion), **against_the_rest(self.confusion), "auc": self._areas}

    @cached_property
    def _smoothed(self) -> np.ndarray:
        return influence.smoothed(self.confusion)

    @cached_property
    def _groups(self) -> np.ndarray:
        return self.sample.groups(len(self.confusion))

    @cached_property
    def _ranks(self) -> np.ndarray:
        """How each image takes part in the AUC of each class [N, K]."""
        columns = [
            by_ranks(self.sample.labels, self.probabilities[:, k], k) for k in range(len(self.confusion))
        ]
        return np.stack(columns, axis=1)

    @cached_property
    def _areas(self) -> np.ndarray:
        labels, number = self.sample.labels, self.confusion.sum(-1)
        sums = np.bincount(labels, self._ranks[np.arange(len(labels)), labels], len(number))
        there = (number > 0) & (number < len(labels))
        return np.where(there, sums / np.maximum(number, 1), np.nan)

    @property
    def macro(self) -> dict[str, Measured]:
        """Every macro metric by its name."""
        return {name: self.whole(name) for name in MACRO}

    def whole(self, name: str) -> Measured:
        """Returns a macro metric."""
        if name in WHOLE:
            return self._of_all(name, float(WHOLE[name](self.confusion)))
        return self.over("recall" if name == "bacc" else name, range(len(self.confusion)))

    def over(self, metric: str, classes: Sequence[int]) -> Measured:
        """Returns the mean of a class metric over some classes: recall, precision, f1 or auc."""
        columns = np.array(list(classes), dtype=int)
        value = float(mean_over_classes(self.of_class[metric][columns]))
        present = columns[self._groups[columns] > 0]
        if np.isnan(value):
            return without_interval(value, None)
        weights = np.bincount(present, minlength=len(self.confusion)) / len(present)
        if metric == "auc":
            found = mean_area(value, self.sample, self._ranks, present)
        else:
            found = (self._recalls if metric == "recall" else partial(self._cells, metric))(value, weights)
        return self._judged(found, metric, present)

    def _judged(self, found: Measured, metric: str, classes: np.ndarray) -> Measured:
        if not found.influence.variance.any():  # A precision where no other class can be taken for it.
            return replace(found, reason=ALONE, apart=ALONE)
        groups, grouped = self._groups[classes], bool(self._groups.sum() < len(self.sample.labels))
        apart = needed_apart(metric, groups)
        return replace(
            found,
            reason=too_few(metric, groups, grouped=grouped),
            apart=too_few(metric, groups, apart, grouped),
        )

    def _of_all(self, metric: str, value: float) -> Measured:
        """A metric of the whole matrix."""
        present = np.flatnonzero(self._groups)
        if np.isnan(value) or len(present) == 1:
            return without_interval(np.nan, None)
        found = self._cells(metric, value, np.ones(len(self.confusion)))
        return self._judged(replace(found, scale=Scale(low=-1.0)), metric, present)

    def _cells(self, metric: str, value: float, weights: np.ndarray) -> Measured:
        by_cell = influence.BY_CELL[metric](self._smoothed, weights)
        at = float(value_of(metric, self._smoothed, weights))
        found = influence.of_cells(self.sample.labels, self.predicted, self._smoothed, by_cell, at)
        return Measured(value, self.sample, found)

    def _recalls(self, value: float, weights: np.ndarray) -> Measured:
        """A mean of recalls; it rests on the images of its classes alone."""
        labels = self.sample.labels
        mine = np.flatnonzero(weights[labels] > 0)
        hits = (self.predicted == labels)[mine].astype(float)
        sample = Sample(labels[mine], self.sample.clusters[mine])
        return Measured(value, sample, influence.of_recalls(labels[mine], hits, self._smoothed, weights))
