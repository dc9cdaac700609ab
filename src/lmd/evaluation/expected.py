"""What decisions are worth where the classes have other shares than in the split: expected PPV and NPV.

Each image that is taken for a class is a true or a false alarm. With r_j the share of the images of class j
that are taken for class k, and w the shares of the classes where the model is used,

    sensitivity = r_k               specificity = 1 - sum over j != k of w_j r_j / (1 - w_k)
    PPV = w_k r_k / sum over j of w_j r_j
    NPV = sum over j != k of w_j (1 - r_j) / sum over j of w_j (1 - r_j)

This takes the images of a class to look the same there. Intervals are on the log odds (Mercaldo et al. 2007),
with half a hit and half a miss more in each class, so that none has the width zero.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from lmd.evaluation.influence import centred
from lmd.evaluation.results import Estimate
from lmd.evaluation.score import design_effect, quantile

UNDEFINED = Estimate(value=None, low=None, high=None)
_PRIOR = 0.5  # Hits more in each class, and misses.


@dataclass(frozen=True)
class Alarms:
    """The images that are taken for one class: of each its class, its group, and whether it is taken."""

    labels: np.ndarray
    clusters: np.ndarray
    taken: np.ndarray
    own: int

    def ppv(self, prior: np.ndarray) -> Estimate:
        """Returns the expected positive predictive value at shares `prior` [K]."""
        return self._predictive(prior, self.taken.astype(float), own=True)

    def npv(self, prior: np.ndarray) -> Estimate:
        """Returns the expected negative predictive value at shares `prior` [K]."""
        return self._predictive(prior, 1.0 - self.taken, own=False)

    def specificity(self, prior: np.ndarray) -> Estimate:
        """Returns the expected specificity at shares `prior` [K]: that of the other classes' mix there."""
        others = np.where(np.arange(len(prior)) == self.own, 0.0, prior)
        if not others.sum():
            return UNDEFINED
        return self._mean(1.0 - self.taken, others / others.sum())

    def _mean(self, hits: np.ndarray, weights: np.ndarray) -> Estimate:
        """A weighted mean of the classes' shares of hits, with its interval on the log odds."""
        rates, even = self._rates(hits, len(weights))
        if np.isnan(rates[weights > 0]).any():
            return UNDEFINED
        at = float(np.nansum(weights * even))
        by_rate = np.where(weights > 0, weights, 0.0) / (at * (1 - at))
        value = float(np.nansum(np.where(weights > 0, weights * rates, 0)))
        return self._interval(value, math.log(at / (1 - at)), hits, by_rate, even)

    def _predictive(self, prior: np.ndarray, hits: np.ndarray, own: bool) -> Estimate:
        """The odds of the right ones among the images with a hit: PPV of alarms, NPV of their absence."""
        rates, even = self._rates(hits, len(prior))
        if np.isnan(rates[prior > 0]).any():
            return UNDEFINED
        right = (np.arange(len(prior)) == self.own) == own
        weighted, smooth = np.where(prior > 0, prior * rates, 0), np.where(prior > 0, prior * even, 0)
        if not weighted.sum() or not smooth[right].sum() or not smooth[~right].sum():
            return UNDEFINED
        sums = np.where(right, smooth[right].sum(), -smooth[~right].sum())
        odds = math.log(smooth[right].sum() / smooth[~right].sum())
        value = float(weighted[right].sum() / weighted.sum())
        return self._interval(value, odds, hits, prior / sums, even)

    def _rates(self, hits: np.ndarray, classes: int) -> tuple[np.ndarray, np.ndarray]:
        """The share of hits of each class [K], nan without images, and the same with half a hit more."""
        number = np.bincount(self.labels, minlength=classes)
        found = np.bincount(self.labels, hits, classes)
        rates = np.where(number > 0, found / np.maximum(number, 1), np.nan)
        return rates, (found + _PRIOR) / (number + 2 * _PRIOR)

    def _interval(
        self, value: float, odds: float, hits: np.ndarray, by_rate: np.ndarray, even: np.ndarray
    ) -> Estimate:
        """The interval around log odds whose derivative by the rate of each class is known."""
        number = np.bincount(self.labels, minlength=len(by_rate))
        by_image = (by_rate / np.maximum(number, 1))[self.labels]
        variance = by_image**2 * (even * (1 - even))[self.labels]
        each = centred(hits * by_image, self.labels)
        clusters = np.unique(self.clusters, return_inverse=True)[1]
        spread = float(variance.sum()) * design_effect(each, variance, self.labels, clusters)
        width = quantile() * math.sqrt(spread)
        low, high = (1 / (1 + math.exp(-end)) for end in (odds - width, odds + width))
        return Estimate(value=value, low=min(low, value), high=max(high, value))
