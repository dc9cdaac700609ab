"""A run's report, one self-contained HTML file, and what all pages are rendered with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lmd.evaluation.results import BandResult, ClassResult, Estimate, Evaluation, read_evaluations
from lmd.files import atomic_write
from lmd.model_card import ModelCard
from lmd.records import read_environment, read_metrics
from lmd.reporting.figures import class_recalls, confusion_matrix, learning_curves, most_confused
from lmd.run import RunFolder, read_identity, read_model_card
from lmd.settings import Tree
from lmd.text import FEW, FEW_NOTE, image_count, listed

_SHOWN = 10  # Classes that a line names.
METRICS = {
    "bacc": "balanced accuracy",
    "auc": "macro AUC",
    "f1": "macro F1",
    "mcc": "MCC",
    "kappa_unweighted": "kappa",
    "precision": "macro precision",
}


def write_report(path: Path) -> Path:
    """Writes RUN/report.html from what lies in the run folder, and returns its path.

    Raises:
        CheckpointError: the run has no finished model.
    """
    folder = RunFolder(path)
    card = read_model_card(folder)
    history = read_metrics(path)
    content = report_content(path, card, read_identity(folder)["settings"])
    curves = learning_curves(history) if history else ""
    return render("run.html", path / "report.html", {**content, "curves": curves})


def report_content(path: Path, card: ModelCard, settings: Tree) -> Tree:
    """Returns what a report shows, but for the learning curves: read from what lies in the run folder."""
    evaluations = read_evaluations(path)
    return {
        "title": f"{card.method} on {card.dataset.title}",
        "phantom": _is_phantom(card),
        "card": card,
        "settings": _flatten(settings),
        "environment": read_environment(path),
        "evaluations": {split: _split_content(split, result) for split, result in evaluations.items()},
    }


def interval_words(evaluation: Evaluation) -> str:
    """Returns what the brackets of an evaluation's numbers are."""
    made, split = evaluation.interval, evaluation.split
    by = f"by {made.clusters} groups" if made.clustered else "by image"
    drawn = "" if made.draws is None else f", {made.draws} draws"
    return f"brackets: {made.level:.0%} {made.method}, {by}{drawn}; split {split}"


def shown_metrics(result: Evaluation) -> list[tuple[str, Estimate]]:
    """Returns the macro metrics of the tables, by title; those of an earlier version may lack some."""
    return [(title, result.metrics[name]) for name, title in METRICS.items() if name in result.metrics]


def reason_lines(result: Evaluation) -> list[str]:
    """Returns why something is undefined or has no interval, each reason once."""
    told = {"recall", "kappa"}  # Not in the tables.
    names: dict[str, list[str]] = {}
    for name, reason in result.reasons.items():
        if name not in Evaluation.model_fields and (name not in told or name not in result.metrics):
            names.setdefault(reason, []).append(METRICS.get(name, name))
    return [f"{listed(of, _SHOWN)}: {reason}" for reason, of in names.items()]


def has_few(result: Evaluation) -> bool:
    """Returns whether a number of images in a table is marked as small."""
    counts = [entry.n for entry in (*result.classes, *result.bands.values())]
    return any(0 < count < FEW for count in (*counts, result.n))


def result_notes(result: Evaluation) -> list[str]:
    """Returns what must be known of an evaluation: other data, images seen before, absent classes."""
    notes: list[str] = [] if result.folds is None else [result.folds.how]
    if result.data is not None:
        notes.append(f"another data set than the run's own: {result.data.title}")
    overlap = result.overlap
    if overlap is not None and (overlap.any or overlap.images is None or result.data is not None):
        notes.append(f"{'OVERLAP: ' if overlap.any else ''}{overlap.note}")
    absent = [entry.name for entry in result.classes if entry.n == 0]
    if absent:
        left = len(result.classes) - len(absent)
        classes = "class" if left == 1 else "classes"
        notes.append(
            f"no image of {len(absent)} of the model's {len(result.classes)} classes "
            f"({listed(absent, _SHOWN)}): every mean is over the {left} {classes} with images"
        )
    return notes


def shown_recall(entry: ClassResult | BandResult) -> str:
    """Returns the recall of a class or band in words: of one without images, that there are none."""
    return str(entry.recall) if entry.n else "no image"


def class_row(entry: ClassResult) -> list[str]:
    """Returns a class's row: name, n, band, recall, specificity, PPV, NPV, F1 and AUC.

    An evaluation of an earlier version has the PPV as precision, and neither specificity nor NPV.
    """
    newer = "npv" in entry.model_fields_set
    rest = [entry.specificity, entry.ppv, entry.npv] if newer else [None, entry.precision, None]
    lacking = "undefined" if newer else "-"
    shown = [lacking if value is None else f"{value:.3f}" for value in rest]
    others = ["undefined" if value is None else f"{value:.3f}" for value in (entry.f1, entry.auc)]
    return [entry.name, image_count(entry.n), entry.band or "", shown_recall(entry), *shown, *others]


def _split_content(split: str, result: Evaluation) -> Tree:
    return {
        "result": result,
        "metrics": shown_metrics(result),
        "reasons": reason_lines(result),
        "classes": [class_row(entry) for entry in result.classes],
        "few": FEW_NOTE if has_few(result) else "",
        "confused": most_confused(result),
        "interval": interval_words(result),
        "notes": result_notes(result),
        "confusion": confusion_matrix(result.confusion, [entry.name for entry in result.classes]),
        "recalls": class_recalls({split: result}),
    }


def _is_phantom(card: ModelCard) -> bool:
    return card.dataset.source == "phantom"


def _flatten(tree: Tree, prefix: str = "") -> list[tuple[str, Any]]:
    rows: list[tuple[str, Any]] = []
    for name, value in tree.items():
        inner = _flatten(value, f"{prefix}{name}.") if isinstance(value, dict) else [(prefix + name, value)]
        rows += inner
    return rows


def render(template: str, path: Path, content: Tree) -> Path:
    """Writes a page made of a template, whole or not at all, and returns its path."""
    from jinja2 import Environment, PackageLoader
    from markupsafe import Markup

    environment = Environment(loader=PackageLoader("lmd.reporting"), autoescape=True, trim_blocks=True)
    environment.filters["svg"] = Markup  # Our own figures; every other value is escaped.
    environment.filters["recall"] = shown_recall
    environment.filters["count"] = image_count
    atomic_write(path, environment.get_template(template).render(content))
    return path
