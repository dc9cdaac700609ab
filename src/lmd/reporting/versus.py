"""A comparison of finished runs in words, as tables, and as a page with its figure."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import pandas as pd

from lmd.evaluation.pairs.comparison import Comparison
from lmd.evaluation.pairs.paired import Pair, Ranked
from lmd.evaluation.parts import Estimate
from lmd.files import atomic_write
from lmd.reporting.figures import Figure
from lmd.reporting.page import METRICS, render, sentence
from lmd.reporting.ranking import metric_title, ranking_figure
from lmd.reporting.tables import Cell, Table, table_of
from lmd.spreadsheet import guarded_table
from lmd.text import image_count, in_columns

_PAIRS = 30  # That the terminal shows.
_CAPTION = (
    "Each dot is the mean over a method's trainings, each line its 95% interval. A bar at the right joins "
    "methods that cannot be told apart; its dots are those methods."
)
_RULES = {
    "0": "no shift: the largest probability decides (--tau 0)",
    "own": "each run decides as it does in use (--tau own)",
    "validation": "tau is chosen for each model on its validation images (--tau validation)",
}


def shown_p(value: float | None) -> str:
    """Returns a p-value in words.

    >>> shown_p(0.0004), shown_p(0.0312), shown_p(None)
    ('< 0.001', '0.031', '-')
    """
    if value is None:
        return "-"
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def heading(found: Comparison) -> list[str]:
    """Returns what was measured, how decisions were made, and what must be known of it."""
    of = "" if found.groups == found.n else f", {found.groups} groups"
    measured = f"{metric_title(found.metric)}, split {found.split} of {found.data}: {found.n} images{of}"
    return [measured, f"decisions: {_RULES[found.tau]}", *found.notes]


def rows_table(found: Comparison) -> list[list[str]]:
    """Returns the rows of the table, its head first: the best method first, letters of groups before it."""
    others = [name for name in METRICS if name != found.metric and _has(found, name)]
    head = ["groups", "method", "trainings", metric_title(found.metric), *map(metric_title, others)]
    return [head, *(_row(found, row, others) for row in found.ranking.rows)]


def _has(found: Comparison, metric: str) -> bool:
    return any(metric in one.metrics for one in found.methods.values())


def _row(found: Comparison, row: Ranked, others: Sequence[str]) -> list[str]:
    metrics = found.methods[row.name].metrics
    values = [metrics[name].value for name in others]
    shown = ["undefined" if value is None else f"{value:.3f}" for value in values]
    return [row.groups, row.name, str(row.trainings), str(row.value), *shown]


def pairs_table(pairs: Sequence[Pair]) -> list[list[str]]:
    """Returns the rows of the table of pairs, its head first."""
    head = ["pair", "difference", "p", "p (Holm)", "verdict"]
    return [
        head,
        *(
            [_name(one), _signed(one.difference), shown_p(one.p), shown_p(one.p_holm), verdict(one)]
            for one in pairs
        ),
    ]


def _name(pair: Pair) -> str:
    return f"{pair.first} - {pair.second}"


def _signed(gap: Estimate) -> str:
    if gap.value is None:
        return "undefined"
    if gap.low is None or gap.high is None:
        return f"{gap.value:+.3f} (no interval)"
    return f"{gap.value:+.3f} [{gap.low:+.3f}, {gap.high:+.3f}]"


def verdict(pair: Pair) -> str:
    """Says what a pair shows: of the methods, or of the trained models alone."""
    if pair.p is None:
        return f"not judged: {(pair.reason or '').removeprefix('no interval: ')}"
    if pair.better is None:
        return "not told apart"
    whose = "" if pair.about == "methods" else "this model of "
    return f"{whose}{pair.better} is better"


def legend(found: Comparison) -> list[str]:
    """Returns how the tables are to be read."""
    number = sum(pair.p is not None for pair in found.ranking.pairs)
    return [
        "methods that share a letter cannot be told apart; that does not show that they are equally good",
        _counted(number),
        "brackets: 95% intervals; that of a difference is paired over the same images and seeds, and is of "
        "this pair alone",
    ]


def _counted(pairs: int) -> str:
    if pairs == 0:
        return "no pair could be judged"
    noun = "1 pair was" if pairs == 1 else f"{pairs} pairs were"
    return f"told apart: p (Holm) below 0.05; it counts that {noun} looked at"


def comparison_text(found: Comparison) -> list[str]:
    """Returns the comparison as lines of text."""
    pairs = found.ranking.pairs[:_PAIRS]
    more = len(found.ranking.pairs) - len(pairs)
    return [
        *heading(found),
        "",
        *in_columns(rows_table(found)),
        "",
        *in_columns(pairs_table(pairs)),
        *([f"and {more} pairs more: --out DIR writes them all"] if more else []),
        "",
        *legend(found),
    ]


def write_versus(folder: Path, found: Comparison) -> Path:
    """Writes compare.json, compare.csv, pairs.csv, compare.svg and compare.html; returns its path."""
    atomic_write(folder / "compare.json", found.model_dump_json(indent=2) + "\n")
    atomic_write(folder / "compare.csv", _csv(_flat_rows(found)))
    atomic_write(folder / "pairs.csv", _csv(_flat_pairs(found.ranking.pairs)))
    figure = ranking_figure(found)
    atomic_write(folder / "compare.svg", figure + "\n")
    content = {
        "title": sentence(f"{metric_title(found.metric)} of {len(found.methods)} methods"),
        "phantom": found.phantom,
        "heading": heading(found),
        "figure_": Figure(figure, f"{metric_title(found.metric)} of each method", _CAPTION),
        "rows": table_of(rows_table(found), "Methods, the best first"),
        "pairs": _pairs(found),
        "legend": legend(found),
        "bands": [table_of(rows, "Recall by frequency band") for rows in _bands_table(found)],
        "counts": table_of(_counts_table(found), "Images of each class"),
        "runs": table_of(_runs_table(found), "Runs behind the rows"),
    }
    return render("compare.html", folder / "compare.html", content)


def _pairs(found: Comparison) -> Table:
    """The table of pairs; its p-values are sorted as numbers."""
    pairs = found.ranking.pairs
    made = table_of(pairs_table(pairs), "Every pair of methods")
    rows = [
        [*row[:2], Cell(row[2].text, pair.p), Cell(row[3].text, pair.p_holm), row[4]]
        for row, pair in zip(made.rows, pairs, strict=True)
    ]
    return made._replace(rows=rows)


def _counts_table(found: Comparison) -> list[list[str]]:
    return [["class", "images"], *([name, image_count(number)] for name, number in found.counts.items())]


def _bands_table(found: Comparison) -> list[list[list[str]]]:
    """The recall of each frequency band as one table, its head first; none where there are no bands."""
    known = next(iter(found.methods.values())).metrics
    bands = [name for name in known if name not in METRICS and name not in ("recall", "kappa_quadratic")]
    rows = [
        [row.name, *(str(found.methods[row.name].metrics[band]) for band in bands)]
        for row in found.ranking.rows
    ]
    return [[["method", *map(metric_title, bands)], *rows]] if bands else []


def _runs_table(found: Comparison) -> list[list[str]]:
    """Every run behind the rows, its head first."""
    rows = [
        [row.name, run.folder, str(run.seed), run.repeat, ", ".join(f"{tau:g}" for tau in run.tau)]
        for row in found.ranking.rows
        for run in found.methods[row.name].runs
    ]
    return [["method", "run", "seed", "repeat", "tau"], *rows]


def _flat_rows(found: Comparison) -> list[list[Any]]:
    names = list(next(iter(found.methods.values())).metrics)
    head = [
        "method",
        "groups",
        "trainings",
        *(f"{name}{end}" for name in names for end in ("", "_low", "_high")),
    ]
    rows: list[list[Any]] = [head]
    for row in found.ranking.rows:
        metrics = found.methods[row.name].metrics
        numbers = [value for name in names for value in metrics[name].model_dump().values()]
        rows.append([row.name, row.groups, row.trainings, *numbers])
    return rows


def _flat_pairs(pairs: Sequence[Pair]) -> list[list[Any]]:
    head = [
        "first",
        "second",
        "difference",
        "low",
        "high",
        "p",
        "p_holm",
        "trainings",
        "about",
        "better",
        "reason",
    ]
    return [
        head,
        *(
            [one.first, one.second, *one.difference.model_dump().values(), one.p, one.p_holm, one.trainings,
             one.about, one.better, one.reason]
            for one in pairs
        ),
    ]  # fmt: skip


def _csv(rows: Sequence[Sequence[Any]]) -> str:
    head, *rest = rows
    table = pd.DataFrame([list(row) for row in rest], columns=list(head))
    return cast("str", guarded_table(table).to_csv(index=False))
