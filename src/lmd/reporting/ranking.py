"""The critical-difference figure: methods by their mean, and bars that join those that are not told apart."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lmd.evaluation.pairs.comparison import Comparison
from lmd.evaluation.parts import Estimate
from lmd.reporting.figures import BLUE, GREY, drawing
from lmd.reporting.page import METRICS
from lmd.text import visible


def metric_title(metric: str) -> str:
    """Returns the name of a metric, or of a frequency band's recall, in words."""
    return METRICS.get(metric, f"{metric} recall")


def ranking_figure(found: Comparison) -> str:
    """The critical-difference figure, as SVG: each method's mean with its interval, the best on top.

    At the right a bar joins the methods of a group that cannot be told apart; its dots are those methods.
    """
    rows, groups = found.ranking.rows, found.ranking.groups
    place = {row.name: number for number, row in enumerate(rows)}
    with drawing(5.6, 1.1 + 0.26 * len(rows)) as picture:
        axes = picture.axes
        for row in rows:
            _point(axes, row.value, place[row.name])
        for number, group in enumerate(groups):
            _bar(axes, number, sorted(place[name] for name in group))
        axes.set_yticks(range(len(rows)), [visible(f"{row.name} ({row.groups})") for row in rows])
        axes.set(xlabel=f"{metric_title(found.metric)}, mean with 95% interval", ylim=(len(rows) - 0.5, -0.5))
    return picture.svg


def _bar(axes: Any, number: int, places: Sequence[int]) -> None:
    """The bar of a group, right of the values; so many bars stand before it."""
    where = {"transform": axes.get_yaxis_transform(), "clip_on": False}
    across = 1.03 + 0.03 * number
    axes.plot([across] * 2, [places[0], places[-1]], color=GREY, linewidth=3, solid_capstyle="round", **where)
    axes.plot([across] * len(places), places, marker="o", color=BLUE, linestyle="none", **where)


def _point(axes: Any, value: Estimate, place: int) -> None:
    if value.value is None:
        return
    low, high = (value.value if end is None else end for end in (value.low, value.high))
    axes.errorbar(
        value.value, place, xerr=[[max(value.value - low, 0)], [max(high - value.value, 0)]],
        marker="o", color=BLUE, capsize=2,
    )  # fmt: skip
