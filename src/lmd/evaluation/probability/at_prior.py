"""What decisions are worth at stated shares of the classes: expected PPV and NPV, thresholds and costs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lmd.evaluation.cases import Cases
from lmd.evaluation.intervals.shares import share_of
from lmd.evaluation.intervals.uncertainty import Sample
from lmd.evaluation.parts import Estimate
from lmd.evaluation.probability.costs import MeanCost, cheapest
from lmd.evaluation.probability.expected import Alarms
from lmd.evaluation.probability.results import (
    ClassAtPrior,
    CostResult,
    DecisionsAtPrior,
    PriorResult,
    ThresholdResult,
    ThresholdsResult,
)
from lmd.evaluation.probability.source import Source
from lmd.evaluation.probability.start import start_of
from lmd.evaluation.probability.thresholds import threshold_for
from lmd.evaluation.wanted import AtPrior, Understood

_OWN = "the model's decisions"
_LARGEST = "the largest probability at these shares"


def prior_of(cases: Cases, source: Source, prior: AtPrior) -> PriorResult:
    """Returns what a model's decisions, and the largest probability at some shares, are worth there."""
    largest = prior.probabilities(cases.probabilities).argmax(1)
    return PriorResult(
        asked=prior.name,
        shares=dict(zip(source.classes, prior.estimates, strict=True)),
        start=prior.start.words,
        decisions=[
            _decisions(how, cases, decided, source.classes, prior.shares)
            for how, decided in ((_OWN, cases.predicted), (_LARGEST, largest))
        ],
        warnings=prior.start.warnings,
    )


def _decisions(
    how: str, cases: Cases, decided: np.ndarray, classes: Sequence[str], shares: np.ndarray
) -> DecisionsAtPrior:
    wrong = MeanCost.of(Sample.of(cases.labels, cases.clusters), decided, 1 - np.eye(len(classes)), shares)
    return DecisionsAtPrior(
        how=how, accuracy=_rest(wrong.estimate()), classes=_worth(cases, decided, classes, shares)
    )


def _rest(share: Estimate) -> Estimate:
    """1 less a share."""
    low, high = (None if end is None else 1 - end for end in (share.high, share.low))
    return Estimate(value=None if share.value is None else 1 - share.value, low=low, high=high)


def _worth(
    cases: Cases, decided: np.ndarray, classes: Sequence[str], shares: np.ndarray
) -> list[ClassAtPrior]:
    return [_class(cases, decided == k, k, classes, shares) for k in range(len(classes))]


def _class(
    cases: Cases, taken: np.ndarray, k: int, classes: Sequence[str], shares: np.ndarray
) -> ClassAtPrior:
    """What it is worth there to say that class k is there, of the images where it is said."""
    alarms = Alarms(cases.labels, cases.clusters, taken, k, len(classes))
    own = cases.labels == k
    return ClassAtPrior(
        name=classes[k],
        n=int(own.sum()),
        sensitivity=share_of(taken[own], cases.clusters[own]),
        specificity=alarms.specificity(shares),
        ppv=alarms.ppv(shares),
        npv=alarms.npv(shares),
    )


def thresholds_of(
    cases: Cases, source: Source, asked: Understood, prior: AtPrior | None
) -> ThresholdsResult | None:
    """Returns thresholds for wanted sensitivities and decisions by cost; None where none are wanted."""
    if not asked.sensitivities and asked.costs is None:
        return None
    found = [_threshold(cases, source, *wanted, prior) for wanted in asked.sensitivities.items()]
    cost = None if asked.costs is None else _cost(cases, source, asked, asked.costs, prior)
    return ThresholdsResult(sensitivity=found, cost=cost)


def _threshold(
    cases: Cases, source: Source, name: str, wanted: float, prior: AtPrior | None
) -> ThresholdResult:
    val, k = source.validation, source.classes.index(name)
    assert not isinstance(val, str)  # `Understood.check` has looked.
    rows = val.labels == k
    found = threshold_for(val.probabilities[rows, k], val.clusters[rows], wanted)
    limit = np.inf if found.value is None else found.value
    taken, own = cases.probabilities[:, k] >= limit, cases.labels == k
    there = found.value is not None
    return ThresholdResult(
        name=name,
        wanted=wanted,
        threshold=found.value,
        images=found.images,
        groups=found.groups,
        expected=found.expected,
        assured=found.assured,
        n=int(own.sum()),
        sensitivity=_share(taken, own & there, cases),
        specificity=_share(~taken, ~own & there, cases),
        ppv=_share(own, taken & there, cases),
        npv=_share(~own, ~taken & there, cases),
        at_prior=_class(cases, taken, k, source.classes, prior.shares) if prior and there else None,
        reason=found.reason,
    )


def _share(hits: np.ndarray, rows: np.ndarray, cases: Cases) -> Estimate:
    return share_of(hits[rows], cases.clusters[rows])


def _cost(
    cases: Cases, source: Source, asked: Understood, costs: np.ndarray, prior: AtPrior | None
) -> CostResult:
    """Decisions by cost at the stated shares, or at those of the split."""
    number = np.bincount(cases.labels, minlength=len(source.classes))
    shares = number / number.sum() if prior is None else prior.shares
    start = start_of(source) if prior is None else prior.start
    decided = cheapest(start.shifted(cases.probabilities, shares), costs)
    sample = Sample.of(cases.labels, cases.clusters)
    least, own = (MeanCost.of(sample, one, costs, shares) for one in (decided, cases.predicted))
    return CostResult(
        file=asked.cost_file,
        costs=costs.tolist(),
        shares=dict(zip(source.classes, shares.tolist(), strict=True)),
        least=least.estimate(),
        model=own.estimate(),
        change=least.less(own),
        classes=_worth(cases, decided, source.classes, shares),
    )
