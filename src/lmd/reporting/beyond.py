"""What an evaluation says beyond its metrics, as lines for a terminal."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd

from lmd.evaluation.groups.levels import Cell, ColumnResult, GroupsResult
from lmd.evaluation.groups.subgroups import SMALL_CELLS
from lmd.evaluation.parts import Estimate
from lmd.evaluation.results import Evaluation
from lmd.evaluation.selective.abstention import SelectiveResult
from lmd.evaluation.selective.sets import SetsResult
from lmd.evaluation.selective.unlikeness_result import USUAL, UnlikenessResult
from lmd.text import image_count, in_columns, numbered, shortened

_SHOWN = (1.0, 0.8, 0.5)  # The shares of answered images of which the terminal has a line.


def beyond_lines(result: Evaluation) -> list[str]:
    """Returns lines on sets, abstention, unlikeness, groups and subgroups; nothing on what is missing."""
    lines: list[str] = []
    if result.by_group is not None:
        lines += _group_lines(result.by_group)
    if result.sets is not None:
        lines += _set_lines(result.sets)
    if result.selective is not None:
        lines += _selective_lines(result.selective)
    if result.unlikeness is not None:
        lines.append(_unlikeness_line(result.unlikeness, result.n))
    for column in result.subgroups or []:
        lines += ["", *_column_lines(column)]
    return lines


def _group_lines(found: GroupsResult) -> list[str]:
    told = (
        f"by group ({numbered(found.n, 'group')} of {image_count(found.images)} images): balanced accuracy "
    )
    return [told + str(found.metrics["bacc"]), *([found.reasons["several labels"]] if found.several else [])]


def _set_lines(found: SetsResult) -> Iterator[str]:
    yield (
        f"sets for {100 * found.level:g}% hold the true class of {found.overall.coverage} of the images, "
        f"with {found.overall.size:.2f} classes on average"
    )
    lacking = [one for one in found.classes if one.basis != "class"]
    for note in dict.fromkeys(one.note for one in lacking):
        yield f"  {', '.join(one.name for one in lacking if one.note == note)}: {note}"


def _selective_lines(found: SelectiveResult) -> Iterator[str]:
    for share in _SHOWN[1:]:
        row = min(found.table, key=lambda one: abs(one.answered - share))
        if row.answered < 1:
            left = f", without {', '.join(row.without)}" if row.without else ""
            yield f"answering the surest {row.answered:.0%} of images: balanced accuracy {row.bacc}{left}"


def _unlikeness_line(found: UnlikenessResult, n: int) -> str:
    are = "is" if found.unlike_n == 1 else "are"
    there, elsewhere = _short(found.accuracy_unlike), _short(found.accuracy_usual)
    return (
        f"{found.unlike_n} of {image_count(n)} images {are} more unlike what was seen than {USUAL:.0%} of "
        f"the validation images: accuracy {there} there, {elsewhere} elsewhere"
    )


def _short(estimate: Estimate) -> str:
    return "-" if estimate.value is None else f"{estimate.value:.3f}"


def unlike_lines(answers: pd.DataFrame) -> list[str]:
    """Returns a note on the images that are unlike what was seen, where the model can tell.

    >>> unlike_lines(pd.DataFrame({"id": ["a.png", "b.png"], "unlike": [0.2, 1.0]}))[0][:58]
    'note: 1 of 2 images is more unlike what the model has seen'
    """
    far = answers["id"][answers["unlike"] >= USUAL].tolist() if "unlike" in answers else []
    if not far:
        return []
    are = "is" if len(far) == 1 else "are"
    return [
        f"note: {len(far)} of {len(answers)} images {are} more unlike what the model has seen than "
        f"{USUAL:.0%} of the validation images: do not trust the answer (first: {far[0]})"
    ]


def _column_lines(column: ColumnResult) -> Iterator[str]:
    name = column.column if column.width is None else f"{column.column}, bins of {column.width:g}"
    rows = [[name, "images", "groups", "balanced accuracy", "AUC"]]
    for cell in column.cells:
        counts = [image_count(cell.n), str(cell.groups)]
        rows.append([_value(cell), *counts, str(cell.metrics["bacc"]), str(cell.metrics["auc"])])
    yield from in_columns(rows)
    for cell in column.cells:
        if cell.warning:
            yield f"  {_value(cell)}: {cell.warning}"
    if any(cell.warning for cell in column.cells):
        yield f"  {SMALL_CELLS}"


def _value(cell: Cell) -> str:
    return "(empty)" if cell.value is None else shortened(cell.value)
