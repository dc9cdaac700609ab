"""Several evaluations side by side, and the paired differences between them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from lmd.evaluation.results import BandResult, Estimate, Evaluation
from lmd.reporting.figures import class_recalls
from lmd.reporting.page import (
    METRICS,
    has_few,
    interval_words,
    reason_lines,
    render,
    result_notes,
    shown_recall,
)
from lmd.settings import Tree
from lmd.text import FEW_NOTE, few_note, image_count, in_columns

# By the name of a pair of runs, such as "LMD - CE": the difference in each metric.
Differences = Mapping[str, Mapping[str, Estimate]]
PAIRED = "differences: paired over the same test images; an interval that holds 0 does not tell two apart"


def write_comparison(
    path: Path,
    runs: dict[str, Evaluation],
    title: str,
    note: str,
    differences: Differences = MappingProxyType({}),
    about: str = "",
    phantom: bool = False,
) -> Path:
    """Writes a page with several evaluations side by side, and returns its path.

    `about` says what the differences are of; it stands above them.
    """
    content: Tree = {
        "title": title,
        "note": note,
        "phantom": phantom,
        "notes": notes_of(runs),
        "rows": comparison_table(runs),
        "names": list(runs),
        "differences": difference_rows(differences),
        "pairs": list(differences),
        "about": about,
        "paired": PAIRED[0].upper() + PAIRED[1:],
        "recalls": class_recalls(runs),
        "interval": interval_words(next(iter(runs.values()))),
        "few": FEW_NOTE if any(map(has_few, runs.values())) else "",
    }
    return render("comparison.html", path, content)


def comparison_table(runs: dict[str, Evaluation]) -> list[list[str]]:
    """Returns the rows metric, n, then one cell for each run: overall metrics, then recall of each band."""
    first = next(iter(runs.values()))
    rows = [
        [title, image_count(first.n), *(_shown(run, name) for run in runs.values())]
        for name, title in METRICS.items()
        if any(name in run.metrics for run in runs.values())
    ]
    for band, entry in _bands(runs).items():
        cells = [shown_recall(run.bands[band]) if band in run.bands else "-" for run in runs.values()]
        rows.append([f"{band} recall", image_count(entry.n), *cells])
    return rows


def _bands(runs: dict[str, Evaluation]) -> dict[str, BandResult]:
    """Every band that a run has, of the first run that has it."""
    bands: dict[str, BandResult] = {}
    for run in runs.values():
        for band, entry in run.bands.items():
            bands.setdefault(band, entry)
    return bands


def _shown(run: Evaluation, metric: str) -> str:
    """A metric in words; an evaluation of an earlier version may lack it."""
    return str(run.metrics[metric]) if metric in run.metrics else "-"


def comparison_lines(runs: dict[str, Evaluation]) -> list[str]:
    """Returns that table as lines of text: first what must be known of it, last what the brackets are."""
    table = in_columns([["", "n", *runs], *comparison_table(runs)])
    return [*notes_of(runs), *table, *_below(runs, few_note(table))]


def _below(runs: dict[str, Evaluation], few: list[str]) -> list[str]:
    """What is said below the table: what has no interval, what is marked, and what the brackets are."""
    first = next(iter(runs.values()))
    reasons = dict.fromkeys(line for run in runs.values() for line in reason_lines(run))
    return [*reasons, *few, interval_words(first)]


def notes_of(runs: dict[str, Evaluation]) -> list[str]:
    """Returns what must be known of some evaluations; where it is not the same of all, whose it is."""
    notes = {name: result_notes(run) for name, run in runs.items()}
    everywhere = [
        line for line in next(iter(notes.values())) if all(line in of_run for of_run in notes.values())
    ]
    own = [f"{name}: {line}" for name, lines in notes.items() for line in lines if line not in everywhere]
    return [*everywhere, *own]


def difference_rows(differences: Differences) -> list[list[str]]:
    """Returns a row for each metric: its name, and the paired difference of each pair of runs."""
    metrics = dict.fromkeys(metric for found in differences.values() for metric in found)
    return [
        [METRICS.get(metric, f"{metric} recall"), *(str(found[metric]) for found in differences.values())]
        for metric in metrics
    ]


def difference_lines(differences: Differences) -> list[str]:
    """Returns the paired differences as lines of text, with a line that says how to read them."""
    rows = [["", *differences], *difference_rows(differences)]
    return [*in_columns(rows), PAIRED]
