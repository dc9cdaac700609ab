"""Learning curves: one panel for each kind of loss, for losses of different kinds have no common scale."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from lmd.reporting.figures import CLASS_COLOURS, GREY, MARKERS, Figure, drawing
from lmd.settings import Tree
from lmd.stages.terms import TERMS

_MINIMISED, _LABELS, _VIEWS = "what is minimised", "cross entropies", "differences between two views"
# The kind of a term; a term that is not here, such as one of an own method, has a panel of its own.
KINDS: Mapping[str, str] = MappingProxyType(
    {
        "total": _MINIMISED,
        "expect": _MINIMISED,
        "probability_consistency": _VIEWS,
        "sample_consistency": _VIEWS,
        "channel_consistency": _VIEWS,
        "distribution_consistency": "distance to the class Gaussians",
        **dict.fromkeys(
            ("cross_entropy", "adjusted_cross_entropy", "balanced_softmax", "smoothed_cross_entropy"), _LABELS
        ),
        **dict.fromkeys(("class_balanced", "focal", "seesaw", "ldam", "clouded_cross_entropy"), _LABELS),
        **dict.fromkeys(("clouded_focal", "shifted", "noisy", "maximise", "expect_label"), _LABELS),
    }
)
SEEN: Mapping[str, str] = MappingProxyType(
    {
        _MINIMISED: "The sum that training lowers. It should fall, and be nearly flat at the end of a stage.",
        _LABELS: "How badly the labels are predicted on training images. Near 0 they are learned by heart.",
        _VIEWS: "How differently two views of an image are answered. It should fall or stay small.",
    }
)
_SCORES = {"bacc": "balanced accuracy", "auc": "macro AUC", "margin": "smoothed balanced accuracy"}
_Points = list[tuple[int, float]]


def learning_curves(history: list[Tree]) -> list[Figure]:
    """Returns a panel for each kind of loss, then one for each score on the validation images."""
    losses = _by_kind(_without_copy(_series(history, "losses")))
    scores = _series(history, "validation")
    starts = _starts(history)
    panels = [
        _panel(kind, terms, starts, SEEN.get(kind) or _meaning(terms)) for kind, terms in losses.items()
    ]
    for name, points in scores.items():
        title = _SCORES.get(name, name.replace("_", " "))
        panels.append(_panel(f"validation: {title}", {name: points}, starts, _of_score(title, points)))
    return panels


def _series(history: list[Tree], part: str) -> dict[str, _Points]:
    """The numbers of a part of each record by name, with the epoch counted over all stages."""
    found: dict[str, _Points] = {}
    for epoch, record in enumerate(history, 1):
        for name, value in record[part].items():
            if isinstance(value, int | float):
                found.setdefault(name, []).append((epoch, float(value)))
    return found


def _without_copy(series: dict[str, _Points]) -> dict[str, _Points]:
    """The series but for the total where it is the only term once more."""
    others = [points for name, points in series.items() if name != "total"]
    return {name: points for name, points in series.items() if name != "total" or points not in others}


def _by_kind(series: Mapping[str, _Points]) -> dict[str, dict[str, _Points]]:
    kinds: dict[str, dict[str, _Points]] = {}
    for name, points in series.items():
        kinds.setdefault(KINDS.get(name, name.replace("_", " ")), {})[name] = points
    return kinds


def _starts(history: list[Tree]) -> list[tuple[float, str]]:
    """Where each stage but the first begins, between two epochs."""
    stages = [record["stage"] for record in history]
    return [(i + 0.5, stages[i]) for i in range(1, len(stages)) if stages[i] != stages[i - 1]]


def _meaning(terms: Mapping[str, _Points]) -> str:
    told = "; ".join(TERMS[name] for name in terms if name in TERMS)
    return f"{told[0].upper()}{told[1:]}." if told else "A term of this method's own."


def _of_score(title: str, points: _Points) -> str:
    epoch, best = max(points, key=lambda point: point[1])
    return f"The largest {title} on the validation images is {best:.3f}, in epoch {epoch}."


def _panel(kind: str, terms: Mapping[str, _Points], starts: list[tuple[float, str]], seen: str) -> Figure:
    with drawing(4.2, 2.6) as picture:
        axes = picture.axes
        for number, (name, points) in enumerate(terms.items()):
            _line(axes, number, name, points)
        for place, stage in starts:
            axes.axvline(place, color=GREY, linestyle=":", linewidth=1)
            at = axes.get_xaxis_transform()
            axes.text(place, 0.99, f" {stage}", color=GREY, fontsize=8, va="top", transform=at)
        axes.set(xlabel="epoch", xlim=(0.5, None))
        axes.set_title(kind, loc="left", fontsize=9, fontweight="bold")
        axes.xaxis.get_major_locator().set_params(integer=True)
        if len(terms) > 1:
            axes.legend(fontsize=8, frameon=False)
    return Figure(picture.svg, f"{kind} by epoch", seen)


def _line(axes: Any, number: int, name: str, points: _Points) -> None:
    style = {
        "color": CLASS_COLOURS[number % 8],
        "marker": MARKERS[number % 8],
        "markersize": 3,
        "linewidth": 1.4,
    }
    axes.plot(*zip(*points, strict=True), label=name.replace("_", " "), **style)
