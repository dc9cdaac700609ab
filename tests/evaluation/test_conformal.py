"""Prediction sets: thresholds against independent ones, coverage by simulation, what small numbers allow."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from lmd.errors import SettingsError
from lmd.evaluation.cases import Cases
from lmd.evaluation.selective.conformal import calibrate, fewest, likely_coverage, members, threshold_of
from lmd.evaluation.selective.sets import sets_of

NO_BANDS: dict[str, list[int]] = {}


def drawn(random: np.random.Generator, counts: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """Labels and probabilities of a model that is right now and then, and badly calibrated."""
    labels = np.repeat(np.arange(len(counts)), counts)
    logits = random.normal(size=(len(labels), len(counts))) * 1.5
    logits[np.arange(len(labels)), labels] += 1.0
    logits[:, 0] += 1.0  # The first class is preferred, so that one threshold for all would not do.
    shares = np.exp(2 * logits)
    return labels, shares / shares.sum(1, keepdims=True)


def cases(labels: np.ndarray, probabilities: np.ndarray, clusters: np.ndarray | None = None) -> Cases:
    ids = np.array([f"{row:04d}" for row in range(len(labels))])
    return Cases(ids, labels, ids if clusters is None else clusters, probabilities)


@pytest.mark.parametrize("level", [0.5, 0.8, 0.9, 0.95])
@pytest.mark.parametrize("n", [1, 4, 8, 9, 19, 57])
def test_the_threshold_is_the_conformal_quantile(n: int, level: float) -> None:
    """ceil((n + 1) level) of the n scores 1 - p lie on or below it; with too few there is none."""
    p = np.random.default_rng(n).permutation(np.linspace(0.01, 0.99, n))
    rank = math.ceil((n + 1) * level - 1e-9)
    wanted = 0.0 if rank > n else 1 - np.sort(1 - p)[rank - 1]
    assert threshold_of(p, np.arange(n), level) == pytest.approx(wanted)
    assert (n >= fewest(level)) == (rank <= n) == (n >= 1 / (1 - level) - 1 - 1e-9)


def test_a_group_counts_as_one_image() -> None:
    """Each image three times is as each image once; a group of two shares one weight."""
    p, rows = np.linspace(0.05, 0.95, 19), np.arange(19)
    once = threshold_of(p, rows, 0.8)
    assert threshold_of(np.repeat(p, 3), np.repeat(rows, 3), 0.8) == once
    # Groups {.9, .5}, {.8}, {.7}: the weights .5, 1, 1, .5 add up to 2.5 at .7 and to 3 at .5; 4 x .65 = 2.6.
    grouped = threshold_of(np.array([0.9, 0.5, 0.8, 0.7]), np.array([0, 0, 1, 2]), 0.65)
    assert grouped == 0.5
    assert threshold_of(np.array([0.9, 0.5, 0.8, 0.7]), np.array([0, 0, 1, 2]), 0.6) == 0.7


def test_sets_cover_in_simulation_over_all_and_in_each_class() -> None:
    """Mean over 400 draws of model and calibration images; 10 images of a class are just enough for 90%."""
    random, level, counts = np.random.default_rng(0), 0.9, (200, 40, 10)
    by_class, exact = np.zeros(3), np.zeros(3)
    for _ in range(400):
        found = calibrate(*_calibration(random, counts), NO_BANDS, level)
        assert [one.basis for one in found] == ["class"] * 3
        thresholds = np.array([one.threshold for one in found])
        labels, shares = drawn(random, (200, 200, 200))
        for k in range(3):
            mine = labels == k
            by_class[k] += members(shares[mine], shares[mine].argmax(1), thresholds)[:, k].mean() / 400
            exact[k] += (shares[mine, k] >= thresholds[k]).mean() / 400
    # Without the predicted class it is ceil((n + 1) level) / (n + 1): .9005, .9024 and 10 / 11.
    np.testing.assert_allclose(exact, [181 / 201, 37 / 41, 10 / 11], atol=0.012)
    assert (by_class >= exact).all()
    assert by_class.min() > level - 0.005


def _calibration(
    random: np.random.Generator, counts: Sequence[int]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    labels, shares = drawn(random, counts)
    return labels, shares, np.arange(len(labels))


def test_one_threshold_for_all_covers_over_all_but_not_in_each_class() -> None:
    """So few images that no class has its own: the promise is over all images, as they are mixed."""
    random, counts, level = np.random.default_rng(1), (8, 3, 3), 0.9
    hits = np.zeros(3)
    for _ in range(600):
        found = calibrate(*_calibration(random, counts), NO_BANDS, level)
        assert {one.basis for one in found} == {"all"}
        assert {one.n for one in found} == {14}
        labels, shares = drawn(random, (80, 30, 30))
        inside = shares >= found[0].threshold
        hits += [inside[labels == k, k].mean() / 600 for k in range(3)]
    assert hits @ np.array([8, 3, 3]) / 14 == pytest.approx(14 / 15, abs=0.012)  # ceil(15 x .9) / 15
    assert hits[0] > hits[1] + 0.02


def test_groups_of_many_images_do_not_make_the_sets_too_small() -> None:
    """Large groups are easy here. A random image of a new group is covered; without groups it would not be."""
    random, level = np.random.default_rng(2), 0.8
    covered = np.zeros(2)
    for _ in range(1500):
        p, clusters = _in_groups(random, 14)
        new, _ = _in_groups(random, 1)
        thresholds = [threshold_of(p, clusters, level), threshold_of(p, np.arange(len(p)), level)]
        covered += [(new >= t).mean() / 1500 for t in thresholds]
    assert covered[0] >= level - 0.015
    assert covered[1] < level - 0.1


def _in_groups(random: np.random.Generator, number: int) -> tuple[np.ndarray, np.ndarray]:
    sizes = np.where(random.random(number) < 0.3, 10, 1)
    level = np.where(sizes == 10, 0.7, 0.3) + random.uniform(-0.25, 0.25, number)
    clusters = np.repeat(np.arange(number), sizes)
    return np.clip(level[clusters] + random.uniform(-0.04, 0.04, len(clusters)), 0, 1), clusters


def test_a_class_takes_its_own_then_its_bands_then_everything() -> None:
    counts = (30, 9, 5, 6, 4, 3)  # 9 are needed for 90%.
    random = np.random.default_rng(3)
    bands = {"head": [0], "medium": [1, 2], "tail": [3, 4, 5]}
    labels, shares, clusters = _calibration(random, counts)
    found = calibrate(labels, shares, clusters, bands, 0.9)
    assert [one.basis for one in found] == ["class", "class", "all", "band", "band", "band"]
    assert [one.of for one in found[3:]] == [(3, 4, 5)] * 3
    assert [(one.n, one.groups) for one in found] == [
        (30, 30),
        (9, 9),
        (57, 57),
        (13, 13),
        (13, 13),
        (13, 13),
    ]
    tail = labels >= 3
    own = shares[tail, labels[tail]]
    assert found[4].threshold == threshold_of(own, np.arange(13), 0.9)
    # All images of the tail are of one patient: one group is no more than one image.
    one = calibrate(labels, shares, np.where(tail, 999, clusters), bands, 0.9)
    assert one[3].basis == "all"
    assert one[3].groups == 45


def test_words_say_what_the_number_allows() -> None:
    random, bands = np.random.default_rng(4), {"frequent": [0], "rare": [1, 2]}
    validation = cases(*drawn(random, (60, 6, 0)))
    test = cases(*drawn(random, (20, 8, 0)))
    result = sets_of(test, validation, ["NV", "DF", "VASC"], bands, 0.9)
    own, few, none = (one.note for one in result.classes)
    low, high = (100 * edge for edge in likely_coverage(60, 0.9))
    assert own == (
        f"own threshold from 60 validation images; in 95 of 100 such draws it covers {low:.0f} to {high:.0f}%"
    )
    pairs = replace(validation, clusters=np.arange(66) // 2)
    grouped = sets_of(test, pairs, ["NV", "DF", "VASC"], bands, 0.9).classes[0].note
    low, high = (100 * edge for edge in likely_coverage(30, 0.9))
    assert grouped.startswith("own threshold from 60 validation images in 30 groups;")
    assert grouped.endswith(f"such draws it covers about {low:.0f} to {high:.0f}%")
    assert few == none
    assert few.startswith("too few images alone (90% needs 9): the threshold of all 66 validation images")
    assert result.classes[2].covered.n == 0
    assert result.classes[2].covered.coverage.value is None
    assert result.bands["rare"].n == 8
    nothing = sets_of(test, cases(*drawn(random, (1, 1, 1))), ["NV", "DF", "VASC"], bands, 0.9)
    assert {one.threshold for one in nothing.classes} == {0.0}
    assert nothing.classes[0].note == ("in every set: all 3 validation images are too few, as 90% needs 9")
    assert nothing.overall.size == 3
    assert nothing.overall.coverage.value == 1


def test_coverage_and_size_are_counted() -> None:
    validation = cases(*drawn(np.random.default_rng(5), (40, 40, 40)))
    labels, shares = drawn(np.random.default_rng(6), (30, 20, 10))
    result = sets_of(cases(labels, shares), validation, ["a", "b", "c"], {"head": [0], "tail": [1, 2]}, 0.8)
    sets: list[set[int]] = []
    for row in shares:
        some = {k for k in range(3) if row[k] >= result.classes[k].threshold}
        sets.append(some | {int(row.argmax())})
    hit = np.array([label in some for label, some in zip(labels.tolist(), sets, strict=True)])
    size = np.array([len(some) for some in sets])
    assert result.overall.coverage.value == pytest.approx(hit.mean())
    assert result.overall.coverage_of_groups == pytest.approx(hit.mean())
    assert result.overall.size == pytest.approx(size.mean())
    assert result.overall.single == pytest.approx((size == 1).mean())
    assert result.bands["tail"].coverage.value == pytest.approx(hit[30:].mean())
    assert result.classes[1].covered.size == pytest.approx(size[30:50].mean())
    assert result.sizes == [int((size == number).sum()) for number in (1, 2, 3)]
    low, high = result.overall.coverage.low, result.overall.coverage.high
    assert low is not None
    assert high is not None
    assert low < hit.mean() < high


def test_coverage_is_also_that_of_groups() -> None:
    """Three images of one patient that are not covered weigh as much as one of another that is."""
    validation = cases(*drawn(np.random.default_rng(5), (40, 40, 40)))
    shares = np.array([[1.0, 0.0, 0.0]] * 3 + [[0.0, 1.0, 0.0]])
    test = cases(np.ones(4, dtype=int), shares, np.array(["a", "a", "a", "b"]))
    result = sets_of(test, validation, ["a", "b", "c"], {}, 0.8)
    assert result.overall.coverage.value == 0.25
    assert result.overall.coverage_of_groups == 0.5
    assert result.classes[0].covered.coverage_of_groups is None
    assert "count as one" in result.notes[-1]


@pytest.mark.parametrize(("n", "level"), [(9, 0.9), (15, 0.9), (200, 0.95), (5000, 0.8)])
def test_the_spread_of_the_coverage_is_that_of_a_beta(n: int, level: float) -> None:
    rank = math.ceil((n + 1) * level - 1e-9)
    wanted = stats.beta(rank, n + 1 - rank).ppf([0.025, 0.975])
    np.testing.assert_allclose(likely_coverage(n, level), wanted, atol=1e-8)


@pytest.mark.parametrize("level", [0.0, 1.0, 90.0, -0.1, math.nan])
def test_a_coverage_that_no_set_can_have_is_refused(level: float) -> None:
    with pytest.raises(SettingsError, match=r"must lie between 0 and 1, such as 0\.9"):
        calibrate(*_calibration(np.random.default_rng(0), (10, 10)), NO_BANDS, level)


def test_a_set_has_the_decision_also_where_it_is_not_the_largest_probability() -> None:
    """The decision is of shifted probabilities, the set of unshifted ones."""
    inside = members(np.array([[0.6, 0.3, 0.1]]), np.array([2]), np.array([0.5, 0.5, 0.5]))
    assert inside.tolist() == [[True, False, True]]
