"""The pictures of a reproduced experiment: values with intervals, sweeps, and projections."""

from __future__ import annotations

from typing import Any

import numpy as np

from lmd.reporting.figures import BAND_COLOURS, BLUE, CLASS_COLOURS, GREY, MARKERS, ORANGE, drawing
from lmd.settings import Tree


def figures(content: Tree) -> dict[str, str]:
    """Returns the pictures of an experiment by file name, as SVG."""
    found: dict[str, str] = {}
    for block in content["blocks"]:
        rows = [row for row in block["rows"] if row["status"] == "run"]
        if not rows:
            continue
        suffix = "" if len(content["blocks"]) == 1 else f"-{block['key']}"
        if content["axis"] is None:
            found[f"figure{suffix}.svg"] = values(content, block)
        else:
            found[f"figure{suffix}.svg"] = sweep(content, rows)
    if content["points"]:
        found["projection.svg"] = projection(content["points"])
    return found


def values(content: Tree, block: Tree) -> str:
    """Each row's value in the ranking metric with its interval, and the paper's where it is known."""
    metric = content["ranking"]
    rows = block["rows"][::-1]
    title = next(m["title"] for m in content["metrics"] if m["key"] == metric)
    with drawing(7, 1.2 + 0.26 * len(rows)) as picture:
        axes = picture.axes
        for place, row in enumerate(rows):
            cell = row["cells"][metric]
            if cell["paper"]["value"] is not None:
                axes.plot(cell["paper"]["value"], place, marker="x", color=GREY, linestyle="none")
            if cell["ours"] is not None and cell["ours"]["value"] is not None:
                _bar(axes, cell["ours"], place)
        axes.plot([], [], marker="o", color=BLUE, label="ours, 95% interval")
        if any(row["cells"][metric]["paper"]["value"] is not None for row in rows):
            axes.plot([], [], marker="x", color=GREY, linestyle="none", label=_of_the_paper(content))
        axes.set_yticks(range(len(rows)), [row["title"] for row in rows])
        axes.set(xlabel=f"{title} (%), {block['title']}, budget {content['budget']}")
        axes.legend(fontsize=7)
    return picture.svg


def _bar(axes: Any, entry: Tree, place: float) -> None:
    if entry["low"] is None or entry["high"] is None:
        axes.plot(entry["value"], place, marker="o", color=BLUE)
        return
    error = [[max(entry["value"] - entry["low"], 0)], [max(entry["high"] - entry["value"], 0)]]
    axes.errorbar(entry["value"], place, xerr=error, marker="o", color=BLUE, capsize=2)


def sweep(content: Tree, rows: list[Tree]) -> str:
    """The metrics over the value that is swept, and over the compute time where that is asked for."""
    axis = content["axis"]
    panels = [("place", axis["title"], axis["logarithmic"])]
    panels += [("seconds", "compute time, both stages (s)", False)] if axis["seconds"] else []
    with drawing(5 * len(panels), 3.4, columns=len(panels)) as picture:
        for axes, (key, name, logarithmic) in zip(np.atleast_1d(picture.axes), panels, strict=True):
            _panel(axes, content, rows, key)
            axes.set(xlabel=name, xscale="log" if logarithmic else "linear")
    return picture.svg


def _panel(axes: Any, content: Tree, rows: list[Tree], key: str) -> None:
    """The curves of one panel: the ranking metric, or those that the axis names."""
    titles = {metric["key"]: metric["title"] for metric in content["metrics"]}
    curves = content["axis"]["curves"] or (content["ranking"],)
    for metric in curves:
        _curve(axes, rows, key, metric, titles[metric] if len(curves) > 1 else None)
        _papers_points(axes, content, rows, key, metric)
    axes.set(ylabel=f"{'values' if len(curves) > 1 else titles[curves[0]]} (%), 95% interval")
    if axes.get_legend_handles_labels()[1]:
        axes.legend(fontsize=7)


def _curve(axes: Any, rows: list[Tree], key: str, metric: str, label: str | None) -> None:
    """One metric: a point for each value that is swept, a horizontal line for each row beside the sweep."""
    colour = BAND_COLOURS.get(metric, BLUE)
    ordered = sorted((row for row in rows if row["place"] is not None), key=lambda row: row[key])
    ours = [row["cells"][metric]["ours"] for row in ordered]
    middle, low, high = np.array([[e["value"], e["low"], e["high"]] for e in ours], dtype=float).T
    error = np.clip([middle - low, high - middle], 0, None)
    places = [row[key] for row in ordered]
    axes.errorbar(places, middle, yerr=error, marker="o", color=colour, capsize=2, label=label)
    _lines_beside(axes, rows, metric, label, colour)


def _papers_points(axes: Any, content: Tree, rows: list[Tree], key: str, metric: str) -> None:
    """The paper's values of a sweep, where they are of these data."""
    swept = [row for row in rows if row["place"] is not None]
    known = [(row[key], paper) for row in swept if (paper := row["cells"][metric]["paper"]["value"])]
    if known:
        label = _of_the_paper(content)
        axes.plot(*zip(*known, strict=True), marker="x", color=ORANGE, linestyle="none", label=label)


def _of_the_paper(content: Tree) -> str:
    """What the paper's marks are called: its schedule may be another than ours."""
    return "paper" if content["budget"] == "paper" else "paper, with its own schedule"


def _lines_beside(axes: Any, rows: list[Tree], metric: str, label: str | None, colour: str) -> None:
    for row in rows:
        value = row["cells"][metric]["ours"]["value"]
        if row["place"] is None and value is not None:
            words = f"{row['title']}, {label}" if label else row["title"]
            axes.axhline(value, color=colour, linestyle="--", label=words)


def projection(points: Tree) -> str:
    """One panel for each row: the images in the plane, a colour and a mark for each class."""
    labels = np.array(points["labels"])
    panels = list(points["panels"].values())
    with drawing(3.6 * len(panels), 3.8, columns=len(panels)) as picture:
        for axes, panel in zip(np.atleast_1d(picture.axes), panels, strict=True):
            places = np.array(panel["places"])
            for number, name in enumerate(points["classes"]):
                here = places[labels == name]
                axes.scatter(
                    here[:, 0],
                    here[:, 1],
                    s=12,
                    color=_colour(points, number),
                    marker=MARKERS[number % len(MARKERS)],
                    label=f"{_band_of(points, name)}: {name}",
                )
            axes.set(title=panel["title"], xticks=[], yticks=[])
        handles, names = np.atleast_1d(picture.axes)[0].get_legend_handles_labels()
        picture.figure.legend(handles, names, loc="outside lower center", ncols=4, fontsize=7)
    return picture.svg


def _band_of(points: Tree, name: str) -> str:
    return next((band for band, members in points["groups"].items() if name in members), "no band")


def _colour(points: Tree, number: int) -> str:
    """A band's own colour where each class is of another band, else a colour for each class."""
    bands = [_band_of(points, name) for name in points["classes"]]
    if len(set(bands)) == len(bands) and bands[number] in BAND_COLOURS:
        return BAND_COLOURS[bands[number]]
    return CLASS_COLOURS[number % len(CLASS_COLOURS)]
