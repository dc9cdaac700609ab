"""Parts of a report on probabilities: calibration, stated shares of the classes, thresholds, costs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lmd.evaluation.probability.reliability_bins import ALL, ReliabilityBin
from lmd.evaluation.probability.results import (
    ClassAtPrior,
    CostResult,
    DecisionsAtPrior,
    PriorResult,
    ProbabilityResult,
    ProbabilityScores,
    ThresholdResult,
    ThresholdsResult,
)
from lmd.evaluation.results import Evaluation
from lmd.reporting.engineer import IMPLIED
from lmd.reporting.figures import BAND_COLOURS, GREY, Figure, drawing
from lmd.reporting.order import in_order
from lmd.reporting.tables import Cell, Part, Table, counted, decimal, number


def probability_parts(result: Evaluation, counts: Sequence[int]) -> list[Part]:
    """Returns the parts that an evaluation has."""
    parts: list[Part] = []
    if result.probabilities is not None:
        parts.append(_calibration(result.probabilities))
    elif "probabilities" in result.reasons:
        parts.append(Part("Calibration of the probabilities", notes=[result.reasons["probabilities"]]))
    if result.prior is not None:
        parts.append(_prior(result.prior, counts))
    if result.thresholds is not None:
        names = [entry.name for entry in in_order(result.classes, counts)]
        parts += _thresholds(result.thresholds, counts, names)
    return parts


def _calibration(found: ProbabilityResult) -> Part:
    rows = [_scores(entry) for entry in found.variants]
    head = ["probabilities", "log loss", "less that of the model", "Brier score", "ECE", "ECE, equal mass",
            "expected by chance", "ECE by class", "expected by chance"]  # fmt: skip
    line = (
        "A probability is calibrated if it comes true as often as it says. The shares of the classes that "
        f"the model's probabilities imply: {IMPLIED.get(found.implied, found.implied)}."
    )
    notes = [f"{entry.name}: {entry.how}" for entry in found.variants]
    figures = [_reliability(entry) for entry in found.variants[:1]]
    bands = _bands(found.variants)
    return Part(
        "Calibration of the probabilities",
        [line],
        [Table(head, rows, "Probabilities, as they are and calibrated on validation", sorts=False), bands],
        figures,
        [*notes, *found.notes],
    )


def _scores(entry: ProbabilityScores) -> list[Cell]:
    change = Cell("-") if entry.nll_change is None else number(entry.nll_change)
    errors = (entry.ece, entry.ece_equal_mass, entry.ece_equal_mass_by_chance, entry.ece_class_wise,
              entry.ece_class_wise_by_chance)  # fmt: skip
    return [Cell(entry.name), number(entry.nll), change, number(entry.brier), *map(decimal, errors)]


def _bands(variants: Sequence[ProbabilityScores]) -> Table:
    rows = [
        [Cell(entry.name), Cell(band), counted(losses.n), _or_dash(losses.nll), _or_dash(losses.brier)]
        for entry in variants
        for band, losses in entry.bands.items()
    ]
    return Table(
        ["probabilities", "band", "n", "log loss", "Brier score"], rows, "The same by frequency band"
    )


def _or_dash(value: float | None) -> Cell:
    return Cell("-") if value is None else decimal(value)


def _reliability(entry: ProbabilityScores) -> Figure:
    """Predicted against observed, for all images and for each band."""
    with drawing(4.4, 4.2) as picture:
        axes = picture.axes
        axes.plot([0, 1], [0, 1], color=GREY, linewidth=0.8)
        for name, bins in entry.reliability.items():
            colour = "#000000" if name == ALL else BAND_COLOURS.get(name, GREY)
            _curve(axes, bins, colour, "largest probability" if name == ALL else name)
        axes.set(xlabel="predicted probability", ylabel="how often it came true", xlim=(0, 1), ylim=(0, 1))
        axes.legend(fontsize=8, frameon=False)
    caption = (
        f"Reliability of the {entry.name}'s probabilities. On the grey line they come true as often as they "
        "say; below it the model is too sure, above it not sure enough. Each dot is a tenth of the images "
        "(or of the pairs of an image and a class of the band), with its interval."
    )
    return Figure(picture.svg, "reliability diagram", caption)


def _curve(axes: Any, bins: Sequence[ReliabilityBin], colour: str, label: str) -> None:
    shown = [one for one in bins if one.observed.value is not None]
    axes.plot(
        [one.predicted for one in shown], [one.observed.value for one in shown],
        marker="o", markersize=3.5, linewidth=1.4, color=colour, label=label,
    )  # fmt: skip
    for one in shown:
        if one.observed.low is not None and one.observed.high is not None:
            axes.vlines(one.predicted, one.observed.low, one.observed.high, color=colour, linewidth=0.8)


def _prior(found: PriorResult, counts: Sequence[int]) -> Part:
    names = in_order(list(found.shares), counts)
    shares = [[Cell(name), number(found.shares[name])] for name in names]
    lines = [f"What decisions are worth where the classes have other shares than here: {found.asked}."]
    tables = [Table(["class", "share"], shares, "Stated shares of the classes")]
    for made in found.decisions:
        tables.append(_at_prior(made, counts))
    notes = [f"{made.how}: expected share of right decisions {made.accuracy}" for made in found.decisions]
    return Part("At a stated prevalence", lines, tables, notes=[found.start, *notes, *found.warnings])


def _at_prior(made: DecisionsAtPrior, counts: Sequence[int]) -> Table:
    return _worth(made.classes, counts, f"Expected at these shares: {made.how}")


def _worth(classes: Sequence[ClassAtPrior], counts: Sequence[int], caption: str) -> Table:
    rows = [
        [Cell(one.name), counted(one.n), *map(number, (one.sensitivity, one.specificity, one.ppv, one.npv))]
        for one in in_order(classes, counts)
    ]
    return Table(["class", "n", "sensitivity", "specificity", "PPV", "NPV"], rows, caption)


def _thresholds(found: ThresholdsResult, counts: Sequence[int], names: Sequence[str]) -> list[Part]:
    parts: list[Part] = []
    if found.sensitivity:
        parts.append(_sensitivities(sorted(found.sensitivity, key=lambda one: names.index(one.name))))
    if found.cost is not None:
        parts.append(_cost(found.cost, counts))
    return parts


def _sensitivities(found: Sequence[ThresholdResult]) -> Part:
    rows = [
        [Cell(one.name), decimal(one.wanted), _or_dash(one.threshold), counted(one.images),
         _or_dash(one.assured), counted(one.n),
         *map(number, (one.sensitivity, one.specificity, one.ppv, one.npv))]
        for one in found
    ]  # fmt: skip
    head = ["class", "wanted", "threshold", "validation images", "assured", "n here", "sensitivity here",
            "specificity", "PPV", "NPV"]  # fmt: skip
    lines = [
        "Thresholds for the probability of a class, chosen on validation images so that the wanted "
        "sensitivity is reached on new images on average. Assured: what it is at least, with a certainty of "
        "95%.",
    ]
    notes = [f"{one.name}: {one.reason}" for one in found if one.reason]
    return Part("Thresholds", lines, [Table(head, rows, "Thresholds for wanted sensitivities")], notes=notes)


def _cost(found: CostResult, counts: Sequence[int]) -> Part:
    rows = [
        [Cell("the least expected cost"), number(found.least)],
        [Cell("the model's decisions"), number(found.model)],
        [Cell("difference"), number(found.change)],
    ]
    costs = Table(["decisions by", "mean cost of an image"], rows, "What decisions cost", sorts=False)
    worth = _worth(found.classes, counts, "Decisions of the least expected cost")
    shares = ", ".join(f"{name} {share:.3g}" for name, share in found.shares.items())
    return Part(
        "Decisions by cost", [f"Costs from {found.file}."], [costs, worth], notes=[f"shares: {shares}"]
    )
