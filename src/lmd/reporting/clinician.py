"""What a clinician wants to know of a model: a plain verdict, and each class in words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from lmd.evaluation.intervals.one_against_rest import Against
from lmd.evaluation.results import ClassResult, Estimate, Evaluation
from lmd.reporting.order import in_order
from lmd.text import FEW, image_count, listed

# From which share on a class counts as found dependably, and below which as missed more often than found.
DEPENDABLE, MISSED = 0.8, 0.5
# How well a class is found, from best to worst, then where it is unknown.
GOOD, PART, DOUBTFUL, BAD = (
    "found dependably",
    "found in part",
    "perhaps missed more often than found",
    "missed more often than found",
)
FEW_IMAGES, NONE = "too few images to say", "not measured"
_NAMED = 8  # Classes that a line names.
_MOST_MISTAKES = 3


class Verdict(NamedTuple):
    """A model in a sentence, and the lines that it rests on."""

    head: str
    lines: list[str]


class ClassWords(NamedTuple):
    """A class in words: how well it is found, and four sentences."""

    name: str
    band: str
    images: str
    level: str
    lines: list[str]


def level_of(entry: ClassResult) -> str:
    """Returns how well a class is found, as far as its interval allows to say: one of six."""
    value, low, high = entry.recall.value, entry.recall.low, entry.recall.high
    if entry.n == 0:
        return NONE
    if entry.n < FEW or value is None or low is None or high is None:
        return FEW_IMAGES
    if low >= DEPENDABLE:
        return GOOD
    if high < MISSED:
        return BAD
    return DOUBTFUL if value < MISSED else PART


def verdict(result: Evaluation, counts: Sequence[int]) -> Verdict:
    """Returns a plain verdict on a model: what it can be relied on for, what not, and what is not known."""
    entries = in_order(result.classes, counts)
    by_level: dict[str, list[str]] = {}
    for entry in entries:
        by_level.setdefault(level_of(entry), []).append(entry.name)
    lines = [_mean_line(result), *_level_lines(by_level), *_mistakes(result)]
    return Verdict(_head(by_level, len(entries)), lines)


def _head(by_level: dict[str, list[str]], number: int) -> str:
    if len(by_level.get(GOOD, [])) == number:
        return f"It finds each of its {number} classes dependably on these images."
    parts = [*_warned(by_level), *_unknown(by_level)]
    return " ".join(parts or _in_part(by_level))


def _warned(by_level: dict[str, list[str]]) -> list[str]:
    """What it should not be relied on for: what it misses, and what it may miss, more often than not."""
    bad, doubtful = by_level.get(BAD, []), by_level.get(DOUBTFUL, [])
    never, nor = "Do not rely on it for", "Nor" if bad else "Do not rely on it"
    first = [f"{never} {listed(bad, _NAMED)}: it misses more than half of such images."] if bad else []
    second = f"{nor} for {listed(doubtful, _NAMED)}: it may miss more than half of such images."
    return [*first, second] if doubtful else first


def _unknown(by_level: dict[str, list[str]]) -> list[str]:
    unknown = [*by_level.get(NONE, []), *by_level.get(FEW_IMAGES, [])]
    return [f"Too few images to judge it for {listed(unknown, _NAMED)}."] if unknown else []


def _in_part(by_level: dict[str, list[str]]) -> list[str]:
    """Where nothing is to be warned of: what is found dependably, and that the rest is found in part."""
    good = by_level.get(GOOD, [])
    first = f"It finds {listed(good, _NAMED)} dependably, and" if good else "It finds"
    of = "of the other classes" if good else "of each class"
    return [f"{first} part of the images {of}.", "A class that it does not name is not ruled out."]


def _mean_line(result: Evaluation) -> str:
    present = sum(entry.n > 0 for entry in result.classes)
    bacc = result.metrics["bacc"]
    guessing = f" Guessing would reach {100 / present:.3g}." if present > 1 else ""
    return (
        f"Of 100 images of a class it names the right class for {per_hundred(bacc)}, as the mean over the "
        f"classes.{guessing}"
    )


def _level_lines(by_level: dict[str, list[str]]) -> list[str]:
    said = {
        GOOD: "Found dependably, at least 80 of 100 with the whole interval",
        PART: "Found in part, at least half of the images here",
        DOUBTFUL: "Perhaps missed more often than found, less than half of the images here",
        BAD: "Missed more often than found, with the whole interval",
        FEW_IMAGES: f"Too few images to say (fewer than {FEW}, or no interval)",
        NONE: "Not measured, for there is no image of it here",
    }
    lines = [f"{words}: {listed(by_level[key], _NAMED)}." for key, words in said.items() if key in by_level]
    return lines if GOOD in by_level else ["Found dependably: no class.", *lines]


def _mistakes(result: Evaluation) -> list[str]:
    """The pairs of classes that are confused most, by their share of the true class."""
    counts = np.array(result.confusion, dtype=float)
    np.fill_diagonal(counts, 0)
    order = np.argsort(-counts, axis=None, kind="stable")[:_MOST_MISTAKES]
    names = [entry.name for entry in result.classes]
    told = [
        f"{names[j]} taken for {names[g]} ({counts[j, g]:.0f} of {result.classes[j].n})"
        for j, g in (divmod(int(place), len(names)) for place in order)
        if counts[j, g]
    ]
    return [f"Its most frequent mistakes: {'; '.join(told)}."] if told else ["It made no mistake here."]


def per_hundred(estimate: Estimate) -> str:
    """Returns a share as so many of a hundred, with its interval.

    >>> per_hundred(Estimate(value=0.626, low=0.5, high=0.7))
    '63 (50 to 70)'
    >>> per_hundred(Estimate(value=0.5, low=None, high=None))
    '50 (no interval)'
    """
    if estimate.value is None:
        return "an undefined number"
    if estimate.low is None or estimate.high is None:
        return f"{100 * estimate.value:.0f} (no interval)"
    return f"{100 * estimate.value:.0f} ({100 * estimate.low:.0f} to {100 * estimate.high:.0f})"


def class_words(
    result: Evaluation, counts: Sequence[int], against: Sequence[Against] | None
) -> list[ClassWords]:
    """Returns each class in words, most frequent first."""
    places = in_order(range(len(result.classes)), counts)
    return [_words(result, k, counts[k], against[k] if against else None) for k in places]


def _words(result: Evaluation, k: int, trained: int, against: Against | None) -> ClassWords:
    entry = result.classes[k]
    images = f"{image_count(entry.n)} here, {trained} in training"
    found = _found(result, k) if entry.n else "There is no image of it here, so nothing is known of it."
    lines = [found, *_others(result, k, against), *_answers(result, k, against)]
    return ClassWords(entry.name, entry.band or "", images, level_of(entry), lines)


def _found(result: Evaluation, k: int) -> str:
    entry, row = result.classes[k], np.array(result.confusion[k])
    text = (
        f"Sensitivity: of 100 such images it finds {per_hundred(entry.recall)}; here {row[k]} of {entry.n}."
    )
    missed = np.where(np.arange(len(row)) == k, 0, row)
    if not missed.any():
        return text
    other = int(missed.argmax())
    name, times = result.classes[other].name, int(missed[other])
    return f"{text} Those that it misses are most often taken for {name} ({times})."


def _others(result: Evaluation, k: int, against: Against | None) -> list[str]:
    entry, matrix = result.classes[k], np.array(result.confusion)
    others = int(matrix.sum() - matrix[k].sum())
    if entry.specificity is None or not others:
        return []
    value = against.specificity if against else Estimate(value=entry.specificity, low=None, high=None)
    wrong = int(matrix[:, k].sum() - matrix[k, k])
    return [
        f"Specificity: of 100 images of other classes it takes {per_hundred(value)} for something else; "
        f"{wrong} of {others} are wrongly called {entry.name}."
    ]


def _answers(result: Evaluation, k: int, against: Against | None) -> list[str]:
    entry, matrix = result.classes[k], np.array(result.confusion)
    called = int(matrix[:, k].sum())
    if not called:
        return [f"PPV: undefined, for it never answers {entry.name} here."]
    ppv = entry.ppv if entry.ppv is not None else entry.precision
    value = against.ppv if against and entry.n else Estimate(value=ppv, low=None, high=None)
    name, share = entry.name, 100 * entry.n / matrix.sum()
    return [
        f"PPV: of 100 answers {name} {per_hundred(value)} are right; here {matrix[k, k]} of {called}, where "
        f"{share:.3g} of 100 images are {name}.",
        *_at_prior(result, name),
    ]


def _at_prior(result: Evaluation, name: str) -> list[str]:
    """The PPV where the classes have the shares that were stated, if any were."""
    if result.prior is None or not result.prior.decisions:
        return []
    expected = next(one for one in result.prior.decisions[0].classes if one.name == name)
    share = result.prior.shares[name].value
    where = "" if share is None else f" ({100 * share:.3g} of 100 images are {name})"
    return [f"At the stated shares{where}: of 100 such answers {per_hundred(expected.ppv)} would be right."]
