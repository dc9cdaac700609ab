"""Prediction sets on saved features: LAC and APS, one threshold and one for each class.

    python -m benchmarks.sets DATA FEATURES.npz...    # benchmarks/results/sets

The validation and test images are drawn anew 100 times, whole groups at a time: a third calibrates, the rest
is measured. A row is the mean over draws and encoders. APS (Romano, Sesia, Candes 2020) orders the classes of
an image by probability; the score of a class is the sum of the probabilities down to it, of which its own
counts with a random share.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

import numpy as np

from benchmarks.saved import all_saved, parser
from lmd.evaluation.probability.decisions import softmax
from lmd.evaluation.selective.conformal import calibrate, members, threshold_of

DRAWS, LEVEL = 100, 0.9
Sets = dict[str, np.ndarray]


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures, prints the table and writes it."""
    options = parser(__doc__ or "", "sets").parse_args(arguments)
    some = all_saved(options)
    dataset, rows = some[0].dataset, ~some[0].rows("train")
    labels, groups = some[0].labels[rows], np.unique(some[0].groups[rows], return_inverse=True)[1]
    place = dataset.classes.index
    bands = {name: [place(one) for one in members] for name, members in dataset.info.bands.items()}
    found: dict[str, list[np.ndarray]] = {}
    for saved in some:
        shares = softmax(saved.logits)[rows]
        for draw in range(DRAWS):
            for name, row in one_draw(labels, shares, groups, bands, draw).items():
                found.setdefault(name, []).append(row)
        print(f"{saved.name} is done", file=sys.stderr, flush=True)
    text = report(found, dataset.classes)
    (options.out / "sets.md").write_text(text)
    print(text)
    return 0


def one_draw(
    labels: np.ndarray, shares: np.ndarray, groups: np.ndarray, bands: dict[str, list[int]], seed: int
) -> dict[str, np.ndarray]:
    """Returns coverage over all, mean size, and the coverage of each class, by the kind of sets."""
    random = np.random.default_rng(seed)
    chosen = random.random(groups.max() + 1) < 1 / 3
    here = chosen[groups]
    aps = -cumulated(shares, random.random(len(shares)))  # As of probabilities: larger is more likely.
    kinds: Sets = {}
    for name, scores in (("LAC", shares), ("APS", aps)):
        own, new = scores[here], scores[~here]
        one = threshold_of(own[np.arange(len(own)), labels[here]], groups[here], LEVEL)
        kinds[f"{name}, one threshold"] = new >= one
        found = calibrate(labels[here], 1 + own if name == "APS" else own, groups[here], bands, LEVEL)
        limits = np.array([each.threshold for each in found])
        kinds[f"{name}, by class"] = (1 + new if name == "APS" else new) >= limits
    predicted = shares[~here].argmax(1)
    with_answer = members(shares[~here], predicted, _limits(labels, shares, groups, here, bands))
    kinds["LAC, by class, with the predicted class"] = with_answer
    return {name: _row(inside, labels[~here], groups[~here]) for name, inside in kinds.items()}


def _limits(
    labels: np.ndarray,
    shares: np.ndarray,
    groups: np.ndarray,
    here: np.ndarray,
    bands: dict[str, list[int]],
) -> np.ndarray:
    found = calibrate(labels[here], shares[here], groups[here], bands, LEVEL)
    return np.array([each.threshold for each in found])


def cumulated(shares: np.ndarray, random: np.ndarray) -> np.ndarray:
    """Returns the APS score of each class: the probabilities above it, and a random share of its own."""
    order = np.argsort(-shares, axis=1)
    ordered = np.take_along_axis(shares, order, 1)
    scores = ordered.cumsum(1) - ordered * random[:, None]
    back = np.empty_like(scores)
    np.put_along_axis(back, order, scores, 1)
    return np.minimum(back, 1.0)


def _row(inside: np.ndarray, labels: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Shares and sizes; of a class each group counts as one image, as in the promise."""
    hit = inside[np.arange(len(labels)), labels]
    size = np.bincount(groups)[groups]
    of_class = np.bincount(labels, hit / size) / np.bincount(labels, 1 / size)
    sizes = inside.sum(1)
    balanced = (np.bincount(labels, sizes) / np.bincount(labels)).mean()
    by_group = (hit / size).sum() / (1 / size).sum()
    return np.concatenate([[hit.mean(), by_group, sizes.mean(), balanced, (sizes == 0).mean()], of_class])


def report(found: dict[str, list[np.ndarray]], classes: Sequence[str]) -> str:
    """Returns the table: coverages in percent."""
    head = ["sets", "images", "groups", "size", "size, classes alike", "empty", *classes]
    lines = [f"| {' | '.join(head)} |", "|" + "---|" * len(head)]
    for name, rows in found.items():
        mean = np.mean(rows, axis=0)
        shares = [f"{100 * one:.1f}" for one in mean]
        cells = [*shares[:2], f"{mean[2]:.2f}", f"{mean[3]:.2f}", *shares[4:]]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
