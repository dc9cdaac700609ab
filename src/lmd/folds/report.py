"""The report and the model card of a folds run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from lmd.evaluation.results import Estimate, read_evaluations
from lmd.folds.folder import FoldsRun, cards
from lmd.folds.pooled_card import pooled_card
from lmd.model_card import ModelCard
from lmd.records import read_metrics
from lmd.reporting.card import write_card_of
from lmd.reporting.learning import learning_curves
from lmd.reporting.page import render
from lmd.reporting.pictures import Pictures
from lmd.reporting.report import ASK, report_content
from lmd.reporting.tables import table_of
from lmd.text import in_columns


def write_folds_report(run: FoldsRun, pictures: Pictures | None = None, no_pictures: str = ASK) -> Path:
    """Writes RUN/report.html and RUN/MODEL_CARD.md of a folds run, and returns the first's path.

    Without `pictures` no network is opened and no image; `no_pictures` then says why.

    Raises:
        CheckpointError: a fold has not finished.
    """
    found = cards(run)
    card, rows = pooled_card(found), fold_rows(run, found)
    lines = [
        f"- these are {len(found)} models, one for each fold, trained without its test images; training "
        "images and validation score are means over the folds, the seconds are their sum, the manifest is "
        f"that of {run.names[0]}",
        "",
        *_markdown(rows),
    ]
    write_card_of(run.path, card, lines)
    content = report_content(run.path, card, {"settings": run.info.settings})
    curves = {name: learning_curves(read_metrics(folder.path)) for name, folder in run.folds.items()}
    content |= {
        "title": f"{content['title']}: {len(found)} folds",
        "folds": table_of(rows, "The folds"),
        "curves_of_folds": curves,
        "pictures": pictures,
        "no_pictures": no_pictures,
    }
    return render("folds.html", run.path / "report.html", content)


def fold_rows(run: FoldsRun, found: Mapping[str, ModelCard]) -> list[list[str]]:
    """Returns a row for each fold: training images, seconds, balanced accuracy in validation and test."""
    test = read_evaluations(run.path).get("test")
    bacc = test.folds.bacc if test is not None and test.folds is not None else dict[str, Estimate]()
    rows = [["fold", "training images", "seconds", "validation balanced accuracy", "test balanced accuracy"]]
    for name, card in found.items():
        score = "none" if card.validation_bacc is None else f"{card.validation_bacc:.3f}"
        tested = str(bacc[name]) if name in bacc else ""
        rows.append([name, str(sum(card.training_counts)), f"{card.training_seconds:.0f}", score, tested])
    return rows


def fold_lines(run: FoldsRun) -> list[str]:
    """Returns these rows as lines of text."""
    return in_columns(fold_rows(run, cards(run)))


def _markdown(rows: list[list[str]]) -> list[str]:
    lines = [f"| {' | '.join(row)} |" for row in rows]
    return [lines[0], "|---" * len(rows[0]) + "|", *lines[1:]]
