"""Figures as inline SVG, drawn with matplotlib in colours that colour-blind people tell apart."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np

from lmd.evaluation.results import Estimate, Evaluation
from lmd.text import image_count, visible

# Okabe and Ito's palette.
BLUE, ORANGE, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "#7f7f7f"
MOST_CELLS = 30  # Classes of which a figure has a number for each pair, or a bar for each class.
_PAIRS = 20  # Pairs of classes in the table beside it.
BAND_COLOURS = {"head": BLUE, "medium": GREEN, "tail": ORANGE}
# The rest of the palette, for figures with more than three colours; black is the page's ink.
CLASS_COLOURS = (BLUE, ORANGE, GREEN, "#CC79A7", "#E69F00", "#56B4E9", GREY, "#000000")
MARKERS = "os^Dv<>P"
# What matplotlib would write of itself: a date, and addresses of other hosts in a page that needs none.
_NO_METADATA = dict.fromkeys(("Creator", "Date", "Format", "Type"))
_NAME = 18  # Letters of a class that a figure has room for.


class Figure(NamedTuple):
    """A figure of a page: the drawing, what it is, and what there is to see in it."""

    svg: str
    label: str
    caption: str


class Drawing:
    """A figure that becomes SVG text when its block ends."""

    def __init__(self, figure: Any, axes: Any) -> None:
        """Holds matplotlib's figure and axes."""
        self.figure, self.axes, self.svg = figure, axes, ""


@contextmanager
def drawing(width: float, height: float, columns: int = 1) -> Iterator[Drawing]:
    """Gives a figure and makes SVG of it, without metadata and random ids: equal data give equal pages."""
    import matplotlib as mpl
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    style = {"svg.hashsalt": "lmd", "font.size": 9, "svg.fonttype": "none", "text.parse_math": False}
    with mpl.rc_context({**style, "axes.spines.top": False, "axes.spines.right": False}):
        figure = Figure(figsize=(width, height), layout="constrained")
        FigureCanvasSVG(figure)
        result = Drawing(figure, figure.subplots(1, columns))
        yield result
        _write_numbers_plainly(figure)
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", metadata=_NO_METADATA)
    text = buffer.getvalue()
    result.svg = text[text.index("<svg") :]


def _write_numbers_plainly(figure: Any) -> None:
    """Has logarithmic axes say 100: their own 10^2 is mathematics, which is not set here."""
    from matplotlib.ticker import LogFormatter, LogFormatterSciNotation, StrMethodFormatter

    for axis in [axis for axes in figure.axes for axis in (axes.xaxis, axes.yaxis)]:
        if isinstance(axis.get_major_formatter(), LogFormatterSciNotation):
            axis.set_major_formatter(StrMethodFormatter("{x:,.12g}"))
        if isinstance(axis.get_minor_formatter(), LogFormatterSciNotation):
            axis.set_minor_formatter(LogFormatter())


def confusion_matrix(matrix: list[list[int]], classes: list[str]) -> str:
    """Counts, coloured by the share of the true class (row); of many classes the colours alone."""
    counts = np.array(matrix, dtype=float)
    share = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    many = len(classes) > MOST_CELLS
    side = 8.0 if many else 2 + 0.45 * len(classes)
    with drawing(side, side) as picture:
        axes = picture.axes
        axes.imshow(share, cmap="Blues", vmin=0, vmax=1, interpolation="nearest")
        if not many:
            _write_cells(axes, counts, share, classes)
        axes.set(xlabel="predicted", ylabel="true")
    return picture.svg


def _write_cells(axes: Any, counts: np.ndarray, share: np.ndarray, classes: list[str]) -> None:
    for row, column in np.ndindex(*share.shape):
        colour = "white" if share[row, column] > 0.55 else "black"
        axes.text(column, row, f"{counts[row, column]:.0f}", ha="center", va="center", color=colour)
    names = {"labels": [_plain(name) for name in classes]}
    axes.set_xticks(range(len(classes)), **names, rotation=90)
    axes.set_yticks(range(len(classes)), **names)


def most_confused(result: Evaluation) -> list[list[str]]:
    """Returns the pairs of classes with most images, where a figure of all pairs has no numbers.

    Each is a row: the true class, what it is taken for, how many images, of how many.
    """
    counts = np.array(result.confusion)
    if len(counts) <= MOST_CELLS:
        return []
    np.fill_diagonal(counts, 0)
    order = np.argsort(-counts, axis=None, kind="stable")[:_PAIRS]
    pairs = [divmod(int(place), len(counts)) for place in order if counts.flat[place]]
    names = [entry.name for entry in result.classes]
    return [[names[j], names[g], str(counts[j, g]), image_count(result.classes[j].n)] for j, g in pairs]


def class_recalls(runs: dict[str, Evaluation]) -> str:
    """Recall of each class with its interval, a bar for each run; of many classes the rarest alone."""
    first = next(iter(runs.values())).classes
    order = sorted(range(len(first)), key=lambda k: -first[k].n)
    if len(order) > MOST_CELLS:
        order = [k for k in order if first[k].n][-MOST_CELLS:]
    with drawing(9, 3.2) as picture:
        axes, width = picture.axes, 0.8 / len(runs)
        for number, (name, run) in enumerate(runs.items()):
            place = np.arange(len(order)) + number * width - 0.4 + width / 2
            _recall_bars(axes, [run.classes[k].recall for k in order], place, width, name, number)
        counts = [f"n={image_count(first[k].n)}" if first[k].n else "no image" for k in order]
        labels = [f"{_plain(first[k].name)}\n{count}" for k, count in zip(order, counts, strict=True)]
        axes.set_xticks(range(len(order)), labels, rotation=90 if len(order) > 12 else 0)
        axes.set(ylabel="recall (95% interval)", ylim=(0, 1.02))
        axes.legend()
    return picture.svg


def _recall_bars(
    axes: Any, recalls: list[Estimate], place: np.ndarray, width: float, name: str, number: int
) -> None:
    """One run's bars; a recall without interval has no whisker."""
    value = np.array([recall.value or 0.0 for recall in recalls])
    low, high = (
        np.array([getattr(recall, end) for recall in recalls], dtype=float) for end in ("low", "high")
    )
    error = np.nan_to_num(np.clip([value - low, high - value], 0, None))
    colour = (BLUE, ORANGE, GREEN, GREY)[number % 4]
    axes.bar(place, value, width, yerr=error, label=_plain(name), color=colour, capsize=2)


def short(name: str) -> str:
    """Returns a name with as many letters as a figure has room for.

    >>> short("pigmented benign keratosis")
    'pigmented benign…'
    """
    plain = _plain(name)
    return plain if len(plain) <= _NAME else f"{plain[: _NAME - 1].rstrip()}…"


def _plain(name: str) -> str:
    """A name without what XML forbids; `drawing` takes no name for mathematics."""
    return visible(name)
