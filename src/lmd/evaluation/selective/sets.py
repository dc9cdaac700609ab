"""Prediction sets measured: how often they hold the true class, how large they are, what they rest on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from lmd.evaluation.cases import Cases
from lmd.evaluation.intervals.shares import share_of
from lmd.evaluation.parts import Estimate
from lmd.evaluation.selective.conformal import Basis, Calibrated, calibrate, fewest, likely_coverage, members
from lmd.settings import Settings

COVERAGE = 0.9  # The share that sets promise where nothing else is asked for.
METHOD = (
    "split conformal sets (LAC) from the validation images: a class is in the set if its probability reaches "
    "the threshold of the class; the predicted class always is"
)
_CHOSEN = "the kept epoch and the temperature were chosen on the same validation images, which costs a little"


class Covered(Settings):
    """Some images: how often the set holds the true class, and how many classes it has."""

    n: int
    coverage: Estimate
    """share of the images whose set holds the true class"""
    coverage_of_groups: float | None
    """the same with each group (patient, lesion) counting as one image, which is what is promised"""
    size: float | None
    """mean number of classes in a set; None without images"""
    single: float | None
    """share of the sets with one class"""


class ClassSets(Settings):
    """One class: its images, and how its threshold came about."""

    name: str
    covered: Covered
    threshold: float
    """the class is in the set from this probability on; 0: in every set"""
    basis: Basis
    """the class itself, classes of its band that have too few images alone, or all images"""
    of: list[str]
    """classes whose validation images the threshold rests on"""
    calibration_n: int
    calibration_groups: int
    note: str
    """what that number allows, in words"""


class SetsResult(Settings):
    """Prediction sets on a split."""

    level: float
    """share of the images of a class whose sets shall hold it"""
    method: str
    overall: Covered
    bands: dict[str, Covered]
    classes: list[ClassSets]
    sizes: list[int]
    """number of images by the size of their set: 1, 2, ... K"""
    notes: list[str]


def sets_of(
    cases: Cases,
    validation: Cases,
    classes: Sequence[str],
    bands: Mapping[str, Sequence[int]],
    level: float = COVERAGE,
) -> SetsResult:
    """Returns what sets of a promised coverage are worth on some cases.

    Raises:
        SettingsError: the level is not between 0 and 1.
    """
    found = calibrate(validation.labels, validation.probabilities, validation.clusters, bands, level)
    inside = members(cases.probabilities, cases.predicted, np.array([one.threshold for one in found]))

    def covered(rows: np.ndarray) -> Covered:
        return _covered(inside[rows], cases.labels[rows], cases.clusters[rows])

    of_class = [covered(cases.labels == k) for k in range(len(classes))]
    return SetsResult(
        level=level,
        method=METHOD,
        overall=covered(np.ones(len(cases.labels), dtype=bool)),
        bands={name: covered(np.isin(cases.labels, some)) for name, some in bands.items()},
        classes=[
            _class(name, one, part, classes, level)
            for name, one, part in zip(classes, found, of_class, strict=True)
        ],
        sizes=np.bincount(inside.sum(1), minlength=len(classes) + 1)[1:].tolist(),
        notes=[_CHOSEN, *_grouped(validation, cases)],
    )


def _covered(inside: np.ndarray, labels: np.ndarray, clusters: np.ndarray) -> Covered:
    sizes = inside.sum(1)
    some = len(labels) > 0
    hit = inside[np.arange(len(labels)), labels]
    return Covered(
        n=len(labels),
        coverage=share_of(hit, clusters),
        coverage_of_groups=_of_groups(hit, clusters) if some else None,
        size=float(sizes.mean()) if some else None,
        single=float((sizes == 1).mean()) if some else None,
    )


def _of_groups(hit: np.ndarray, clusters: np.ndarray) -> float:
    """The mean over the groups of the share of their images that are hit."""
    _, group, size = np.unique(clusters, return_inverse=True, return_counts=True)
    return float((np.bincount(group, hit) / size).mean())


def _class(name: str, found: Calibrated, part: Covered, classes: Sequence[str], level: float) -> ClassSets:
    of = [classes[k] for k in found.of]
    return ClassSets(
        name=name,
        covered=part,
        threshold=found.threshold,
        basis=found.basis,
        of=of,
        calibration_n=found.n,
        calibration_groups=found.groups,
        note=allowed(found, of, level),
    )


def allowed(found: Calibrated, of: Sequence[str], level: float) -> str:
    """Returns in words what the number of calibration images allows.

    >>> allowed(Calibrated(0.2, "class", (0,), 12, 12), ["DF"], 0.9)
    'own threshold from 12 validation images; in 95 of 100 such draws it covers 74 to 100%'
    """
    number, share = _told(found), f"{100 * level:g}%"
    need = f"{share} needs {fewest(level)}"
    if found.groups < fewest(level):
        return f"in every set: all {number} are too few, as {need}"
    if found.basis == "all":
        return (
            f"too few images alone ({need}): the threshold of all {number}, which promises {share} over all"
        )
    low, high = likely_coverage(found.groups, level)
    about = "" if found.groups == found.n else "about "  # Exact for groups of one image.
    draws = f"in 95 of 100 such draws it covers {about}{100 * low:.0f} to {100 * high:.0f}%"
    if found.basis == "class":
        return f"own threshold from {number}; {draws}"
    together = " and ".join(of)
    return f"too few images alone ({need}): one threshold for {together} together, from {number}; {draws}"


def _told(found: Calibrated) -> str:
    images = f"{found.n} validation image{'' if found.n == 1 else 's'}"
    return images if found.groups == found.n else f"{images} in {found.groups} groups"


def _grouped(*cases: Cases) -> list[str]:
    if all(len(set(some.clusters)) == len(some.clusters) for some in cases):
        return []
    return [
        "the images of one group (patient, lesion) count as one in the calibration: the promise is that of a "
        "random image of a new group"
    ]
