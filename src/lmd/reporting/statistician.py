"""What a statistician wants to know of an evaluation: numbers with intervals and n, curves, and reasons."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from lmd.errors import LmdError
from lmd.evaluation.cases import Cases, cases_of, read_predictions
from lmd.evaluation.intervals.one_against_rest import Against, against_rest
from lmd.evaluation.results import Evaluation
from lmd.reporting.beyond_parts import beyond_parts
from lmd.reporting.class_figures import roc_and_precision_recall
from lmd.reporting.figures import MOST_CELLS, Figure, confusion_matrix, most_confused
from lmd.reporting.order import bands_in_order, class_order, in_order
from lmd.reporting.page import class_row, has_few, interval_words, reason_lines, result_notes, shown_metrics
from lmd.reporting.probability_parts import probability_parts
from lmd.reporting.tables import Cell, Table, number, table_of
from lmd.settings import Tree
from lmd.text import FEW_NOTE, image_count

_OF_CLASS = (
    "class",
    "n",
    "band",
    "sensitivity (recall)",
    "specificity",
    "PPV (precision)",
    "NPV",
    "F1",
    "AUC",
)


def cases_behind(file: Path, result: Evaluation) -> Cases | None:
    """Returns the cases that an evaluation is of.

    None where the file is gone, was changed since, or has images more than once, as that of several repeats.
    """
    names = [entry.name for entry in result.classes]
    try:
        cases = cases_of(read_predictions(file), names)
    except (LmdError, KeyError, ValueError):
        return None
    counts = np.zeros((len(names), len(names)), dtype=int)
    np.add.at(counts, (cases.labels, cases.predicted), 1)
    same = counts.tolist() == result.confusion and len(set(cases.ids)) == len(cases.ids)
    return cases if same else None


def all_against_rest(cases: Cases | None, result: Evaluation) -> list[Against] | None:
    """Returns each class against the rest, in the model's order; None without the cases."""
    if cases is None:
        return None
    places = range(len(result.classes))
    return [against_rest(cases.labels, cases.predicted, cases.clusters, k) for k in places]


def metrics_table(result: Evaluation) -> Table:
    """Returns the macro metrics with their intervals."""
    rows = [[Cell(title), number(value)] for title, value in shown_metrics(result)]
    return Table(["metric", "value"], rows, f"Metrics over all classes, split {result.measured}", sorts=False)


def bands_table(result: Evaluation) -> Table:
    """Returns the means over the classes of each band, with their intervals."""
    rows = []
    for name in bands_in_order(result.bands, result.bands):
        band = result.bands[name]
        recall = number(band.recall) if band.n else Cell("no image")
        numbers = [recall, number(band.precision), number(band.f1)]
        rows.append([Cell(name), Cell(image_count(band.n), band.n), Cell(", ".join(band.classes)), *numbers])
    return Table(
        ["band", "n", "classes", "recall", "precision", "F1"],
        rows,
        f"Frequency bands, split {result.measured}",
        sorts=False,
    )


def classes_table(result: Evaluation, counts: Sequence[int], against: Sequence[Against] | None) -> Table:
    """Returns a row for each class, most frequent in training first."""
    rows = []
    for k in class_order(counts):
        cells = [Cell.of(word) for word in class_row(result.classes[k])]
        if against is not None and result.classes[k].n:
            cells[4:7] = map(number, (against[k].specificity, against[k].ppv, against[k].npv))
        cells[1] = Cell(image_count(result.classes[k].n), result.classes[k].n)
        rows.append(cells)
    return Table(_OF_CLASS, rows, f"Each class against all others, split {result.measured}")


def split_content(result: Evaluation, counts: Sequence[int], file: Path) -> Tree:
    """Returns what the page shows of an evaluation."""
    behind = cases_behind(file, result)
    against = all_against_rest(behind, result)
    return {
        "split": result.measured,
        "result": result,
        "against": against,
        "metrics": metrics_table(result),
        "bands": bands_table(result),
        "classes": classes_table(result, counts, against),
        "reasons": reason_lines(result),
        "few": FEW_NOTE if has_few(result) else "",
        "interval": interval_words(result),
        "notes": result_notes(result),
        "more": [*probability_parts(result, counts), *beyond_parts(result, counts)],
        "curves": [] if behind is None else _curves(behind, result, counts),
        "no_curves": ""
        if behind
        else "Curves and intervals of specificity, PPV and NPV need the predictions "
        f"file of this evaluation: run `lmd evaluate` with --split {result.split} again.",
    }


def _curves(cases: Cases, result: Evaluation, counts: Sequence[int]) -> list[Figure]:
    return roc_and_precision_recall(cases.labels, cases.probabilities, result, counts)


def confusion_content(result: Evaluation, counts: Sequence[int]) -> Tree:
    """Returns the confusion matrix in the order of the classes: as a table, of many classes as a figure."""
    order = class_order(counts)
    matrix = np.array(result.confusion)[np.ix_(order, order)]
    names = [entry.name for entry in in_order(result.classes, counts)]
    if len(order) > MOST_CELLS:
        svg = confusion_matrix(matrix.tolist(), names)
        head = ["true class", "taken for", "images", "of"]
        pairs = table_of([head, *most_confused(result)], "The classes most often taken for another one")
        return {"svg": svg, "confused": pairs, "names": names, "rows": []}
    share = matrix / np.maximum(matrix.sum(1, keepdims=True), 1)
    columns = range(len(names))
    rows = [
        (name, int(matrix[j].sum()), [(int(matrix[j, g]), float(share[j, g]), g == j) for g in columns])
        for j, name in enumerate(names)
    ]
    return {"svg": "", "confused": None, "names": names, "rows": rows}
