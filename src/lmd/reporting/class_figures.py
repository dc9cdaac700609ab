"""Figures of classes: recall against the long tail, ROC and precision-recall curves, and t-SNE."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from lmd.evaluation.results import Evaluation
from lmd.reporting.figures import (
    BAND_COLOURS,
    BLUE,
    CLASS_COLOURS,
    GREY,
    MARKERS,
    MOST_CELLS,
    Drawing,
    Figure,
    drawing,
    short,
)
from lmd.reporting.order import class_order

_CURVES, _POINTS = 8, 200  # Classes with a curve each, and the points of a curve.
_LINES = ("-", "--", "-.", ":")


def recall_against_tail(result: Evaluation, counts: Sequence[int]) -> Figure:
    """Returns the training images of each class (left) beside its recall with interval (right)."""
    order, many = class_order(counts), len(counts) > MOST_CELLS
    height = min(0.9 + 0.27 * len(order), 9.0)
    with drawing(4.7, height, columns=2) as picture:
        left, right = picture.axes
        colours = [BAND_COLOURS.get(result.classes[k].band or "", BLUE) for k in order]
        rows = np.arange(len(order))
        left.barh(rows, np.array(counts)[order], color=colours, height=0.7)
        _logarithmic(left, max(counts))
        left.set_yticks([] if many else rows, [] if many else [short(result.classes[k].name) for k in order])
        _recalls(right, [result.classes[k] for k in order], colours)
        right.set(xlim=(0, 1), xlabel="recall, 95% interval", yticks=[])
        for axes in picture.axes:
            axes.set_ylim(len(order) - 0.4, -0.6)
            axes.grid(axis="x", color="#d5dae1", linewidth=0.6)
            axes.set_axisbelow(True)
    return Figure(picture.svg, "training images and recall of each class", _tail_caption(result))


def _logarithmic(axes: Any, most: int) -> None:
    """A logarithmic axis from 1 on, with whole numbers."""
    ticks = [10**power for power in range(len(str(max(most, 1))))]
    axes.set(xscale="log", xlim=(0.8, max(most, 2) * 1.15), xlabel="training images (log)")
    axes.set_xticks(ticks, [f"{tick:,}" for tick in ticks])


def _recalls(axes: Any, entries: Sequence[Any], colours: Sequence[str]) -> None:
    for row, (entry, colour) in enumerate(zip(entries, colours, strict=True)):
        recall = entry.recall
        if recall.value is None:
            axes.text(0.02, row, "no image", va="center", color=GREY, fontsize=8)
            continue
        if recall.low is not None and recall.high is not None:
            axes.hlines(row, recall.low, recall.high, color=colour, linewidth=2)
        axes.plot(recall.value, row, marker="o", markersize=5, color=colour, clip_on=False)


def _tail_caption(result: Evaluation) -> str:
    """What to see: whether recall falls with the training images."""
    recalls = {
        band: part.recall.value for band, part in result.bands.items() if part.recall.value is not None
    }
    if not {"head", "tail"} <= set(recalls):
        seen = "Compare the two sides: does the recall fall with the number of training images?"
    else:
        gap = recalls["head"] - recalls["tail"]
        told = "lower than" if gap > 0.005 else "not lower than"
        seen = (
            f"The recall of the rare classes (tail, {recalls['tail']:.2f}) is {told} that of the frequent "
            f"ones (head, {recalls['head']:.2f})."
        )
    return f"Most frequent class on top. {seen} A wide interval means few test images."


def roc_and_precision_recall(
    labels: np.ndarray, probabilities: np.ndarray, result: Evaluation, counts: Sequence[int]
) -> list[Figure]:
    """Returns the ROC and the precision-recall curves of the classes, each against all others.

    Of more than eight classes the eight rarest that have images are drawn.
    """
    present = [k for k in class_order(counts) if 0 < result.classes[k].n < len(labels)]
    shown = present[-_CURVES:]
    which = (
        "" if len(shown) == len(present) else f" The {len(shown)} rarest of {len(present)} classes are shown."
    )
    return [
        _roc(labels, probabilities, result, shown, which),
        _precision(labels, probabilities, result, shown, which),
    ]


def _roc(labels: np.ndarray, p: np.ndarray, result: Evaluation, shown: list[int], which: str) -> Figure:
    from sklearn.metrics import roc_curve

    with drawing(4.6, 4.6) as picture:
        for number, k in enumerate(shown):
            fpr, tpr, _ = roc_curve(labels == k, p[:, k])
            area = result.classes[k].auc
            name = f"{short(result.classes[k].name)} {'' if area is None else f'{area:.3f}'}"
            _curve(picture.axes, fpr, tpr, number, name)
        picture.axes.plot([0, 1], [0, 1], color=GREY, linewidth=0.8)
        picture.axes.set(xlabel="1 - specificity", ylabel="sensitivity", xlim=(0, 1), ylim=(0, 1.01))
        _legend(picture)
    caption = (
        "ROC: how many of a class are found (up) against how many others are wrongly taken for it (right), "
        "over all thresholds. The nearer to the upper left corner, the better; the grey line is guessing. "
        f"Numbers: area under the curve.{which}"
    )
    return Figure(picture.svg, "ROC curves", caption)


def _precision(labels: np.ndarray, p: np.ndarray, result: Evaluation, shown: list[int], which: str) -> Figure:
    from sklearn.metrics import average_precision_score, precision_recall_curve

    with drawing(4.6, 4.6) as picture:
        for number, k in enumerate(shown):
            truth = labels == k
            precision, recall, _ = precision_recall_curve(truth, p[:, k])
            area = float(average_precision_score(truth, p[:, k]))
            _curve(picture.axes, recall, precision, number, f"{short(result.classes[k].name)} {area:.3f}")
        picture.axes.set(xlabel="recall (sensitivity)", ylabel="precision (PPV)", xlim=(0, 1), ylim=(0, 1.01))
        _legend(picture)
    caption = (
        "Precision and recall: how often the model is right when it names a class (up) against how many of "
        "the class it finds (right). It depends on how rare the class is in this split. A curve that falls "
        f"at once is a class whose alarms are mostly false. Numbers: average precision.{which}"
    )
    return Figure(picture.svg, "precision-recall curves", caption)


def _curve(axes: Any, x: np.ndarray, y: np.ndarray, number: int, name: str) -> None:
    keep = np.unique(np.linspace(0, len(x) - 1, min(len(x), _POINTS)).round().astype(int))
    style = {"color": CLASS_COLOURS[number % 8], "linestyle": _LINES[number % 4], "linewidth": 1.5}
    axes.plot(x[keep], y[keep], label=name, **style)


def _legend(picture: Drawing) -> None:
    if picture.axes.get_legend_handles_labels()[1]:
        style = {"fontsize": 8, "frameon": False, "handlelength": 2.6}
        picture.figure.legend(loc="outside lower center", ncols=3, **style)


def features_in_the_plane(
    places: np.ndarray,
    labels: np.ndarray,
    names: Sequence[str],
    counts: Sequence[int],
    bands: Mapping[str, str],
) -> Figure:
    """Returns the t-SNE of features [N, 2], a colour and a mark for each class; of many, for each band."""
    order = class_order(counts)
    many = len(order) > len(CLASS_COLOURS)
    with drawing(4.7, 4.9) as picture:
        for number, k in enumerate(order):
            here = places[labels == k]
            colour = BAND_COLOURS.get(bands.get(names[k], ""), GREY) if many else CLASS_COLOURS[number]
            style = {"s": 13, "color": colour, "marker": MARKERS[number % 8], "linewidths": 0, "alpha": 0.85}
            picture.axes.scatter(here[:, 0], here[:, 1], label=None if many else short(names[k]), **style)
        for band, colour in BAND_COLOURS.items() if many else ():
            picture.axes.scatter([], [], s=9, color=colour, label=band)
        picture.axes.set(xticks=[], yticks=[])
        picture.axes.spines[:].set_visible(False)
        picture.figure.legend(loc="outside lower center", ncols=3, fontsize=8, frameon=False, markerscale=1.5)
    caption = (
        "t-SNE of the features before the classifier: each mark is an image of this split, and near marks "
        "are images that the network takes for alike. A class that lies in one heap is easy; marks of a "
        "class inside another's heap are its mistakes. Distances between heaps mean nothing."
    )
    return Figure(picture.svg, "t-SNE of the features", caption)
