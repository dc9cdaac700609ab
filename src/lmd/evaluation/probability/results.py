"""What was found of probabilities, priors, thresholds and costs: typed values for an evaluation's JSON."""

from __future__ import annotations

from lmd.evaluation.parts import Estimate
from lmd.evaluation.probability.reliability_bins import ReliabilityBin
from lmd.settings import Settings


class BandLosses(Settings):
    """The mean losses of the images of a frequency band; None where the split has none."""

    n: int
    nll: float | None
    brier: float | None


class ProbabilityScores(Settings):
    """How good some probabilities are on a split; less is better in each number."""

    name: str
    """one of model, uncalibrated, temperature, vector, split (the model at the shares of the split)"""
    how: str
    """where they come from, in words"""
    nll: Estimate
    """mean log loss"""
    brier: Estimate
    """mean Brier score, 0 to 2"""
    nll_change: Estimate | None = None
    """the log loss less that of the model's own probabilities, image by image; None of these"""
    ece: float
    """calibration error of the largest probability, 15 bins of one width"""
    ece_equal_mass: float
    """the same with 15 bins of as many images each"""
    ece_equal_mass_by_chance: float
    """what perfectly calibrated probabilities are expected to have on so many images"""
    ece_class_wise: float
    """mean over the classes of the error of p_k, bins of as many images each"""
    ece_class_wise_by_chance: float
    ece_of_class: dict[str, float]
    bands: dict[str, BandLosses]
    reliability: dict[str, list[ReliabilityBin]]
    """by "all" (the largest probability) and by band (each image with each class of the band)"""


class ProbabilityResult(Settings):
    """How good the probabilities are, as the model gives them and after calibrations on validation."""

    implied: str
    """the shares of the classes that the model's probabilities imply: training, uniform or unknown"""
    variants: list[ProbabilityScores]
    notes: list[str]
    """why a variant is missing"""


class ClassAtPrior(Settings):
    """What a decision for one class is worth where the classes have stated shares."""

    name: str
    n: int
    """images of the class in the split"""
    sensitivity: Estimate
    specificity: Estimate
    ppv: Estimate
    npv: Estimate


class DecisionsAtPrior(Settings):
    """What decisions are worth where the classes have stated shares."""

    how: str
    accuracy: Estimate
    """expected share of right decisions"""
    classes: list[ClassAtPrior]


class PriorResult(Settings):
    """The shares of the classes where the model is used, and what its decisions are worth there."""

    asked: str
    """train, uniform, estimate, or the name of the file"""
    shares: dict[str, Estimate]
    """with an interval where they were estimated"""
    start: str
    """the probabilities that were shifted, and the shares that these imply"""
    decisions: list[DecisionsAtPrior]
    """those of the model, and the largest probability at these shares"""
    warnings: list[str]


class ThresholdResult(Settings):
    """A threshold for the probability of a class, chosen on validation, and what it reaches on the split."""

    name: str
    wanted: float
    """sensitivity that was asked for"""
    threshold: float | None
    """the class is said to be there where its probability is at least this"""
    images: int
    """validation images of the class"""
    groups: int
    """groups of them (patients, lesions)"""
    expected: float | None
    """sensitivity on new images, on average"""
    assured: float | None
    """sensitivity on new images, at least, with a certainty of 95%"""
    n: int
    """images of the class in the split"""
    sensitivity: Estimate
    """reached on the split, as are the others"""
    specificity: Estimate
    ppv: Estimate
    npv: Estimate
    at_prior: ClassAtPrior | None = None
    """at the stated shares, where some were"""
    reason: str | None = None
    """why there is no threshold"""


class CostResult(Settings):
    """What decisions cost: those of the least expected cost, and those of the model."""

    file: str
    costs: list[list[float]]
    """of each true class (row) and each class that is decided for (column)"""
    shares: dict[str, float]
    """of the classes where the mean is taken"""
    least: Estimate
    """mean cost of an image, by the decisions of the least expected cost"""
    model: Estimate
    """mean cost of an image, by the model's decisions"""
    change: Estimate
    """the first less the second"""
    classes: list[ClassAtPrior]
    """what the decisions of the least expected cost are worth"""


class ThresholdsResult(Settings):
    """Thresholds for wanted sensitivities, and decisions by cost."""

    sensitivity: list[ThresholdResult]
    cost: CostResult | None = None
