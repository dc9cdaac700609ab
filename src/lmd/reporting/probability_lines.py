"""What an evaluation says of probabilities, priors, thresholds and costs, as lines for the terminal."""

from __future__ import annotations

from collections.abc import Sequence

from lmd.evaluation.parts import Estimate
from lmd.evaluation.probability.results import (
    ClassAtPrior,
    CostResult,
    PriorResult,
    ProbabilityResult,
    ThresholdResult,
)
from lmd.evaluation.results import Evaluation
from lmd.text import image_count, in_columns


def probability_lines(evaluation: Evaluation) -> list[str]:
    """Returns the lines below the metrics; none of an evaluation of an earlier version."""
    found, asked = evaluation.probabilities, evaluation.thresholds
    return [
        *([] if found is None else _probabilities(found)),
        *([] if evaluation.prior is None else _prior(evaluation.prior)),
        *([] if asked is None or not asked.sensitivity else _thresholds(asked.sensitivity)),
        *([] if asked is None or asked.cost is None else _cost(asked.cost)),
    ]


def _probabilities(found: ProbabilityResult) -> list[str]:
    rows = [["probabilities", "log loss", "Brier score", "class-wise ECE", "by chance"]]
    rows += [
        [
            one.name,
            str(one.nll),
            str(one.brier),
            f"{one.ece_class_wise:.4f}",
            f"{one.ece_class_wise_by_chance:.4f}",
        ]
        for one in found.variants
    ]
    how = [f"{one.name}: {one.how}" for one in found.variants]
    return ["", *in_columns(rows, numbers=True), *how, *found.notes]


def _prior(found: PriorResult) -> list[str]:
    lines = ["", f"at the prior '{found.asked}', from {found.start}:"]
    for made in found.decisions:
        lines += [f"{made.how}: {_shown(made.accuracy)} of them right", *_classes(made.classes, found.shares)]
    return [*lines, *(f"warning: {line}" for line in found.warnings)]


def _classes(classes: Sequence[ClassAtPrior], shares: dict[str, Estimate]) -> list[str]:
    rows = [["class", "share", "n", "sensitivity", "specificity", "PPV", "NPV"]]
    rows += [
        [
            one.name,
            f"{shares[one.name].value:.3f}",
            image_count(one.n),
            *map(_shown, (one.sensitivity, one.specificity, one.ppv, one.npv)),
        ]
        for one in classes
    ]
    return in_columns(rows, numbers=True)


def _shown(estimate: Estimate) -> str:
    return str(estimate).removesuffix(" (no interval)")


def _thresholds(found: Sequence[ThresholdResult]) -> list[str]:
    lines = ["", "thresholds, chosen on validation, and what they reach here:"]
    rows = [["class", "wanted", "p at least", "on average", "at least (95%)", "sensitivity", "specificity"]]
    rows += [
        [
            one.name,
            f"{one.wanted:g}",
            f"{one.threshold:.4g}",
            f"{one.expected:.3f}",
            f"{one.assured:.3f}",
            *map(_shown, (one.sensitivity, one.specificity)),
        ]
        for one in found
        if one.threshold is not None
    ]
    table = in_columns(rows, numbers=True) if len(rows) > 1 else []
    return [*lines, *table, *(f"{one.name}: {one.reason}" for one in found if one.reason)]


def _cost(found: CostResult) -> list[str]:
    return [
        "",
        f"mean cost of an image ({found.file}): {_shown(found.least)} by the decisions of the least expected "
        f"cost, {_shown(found.model)} by the model's; difference {found.change}",
    ]
