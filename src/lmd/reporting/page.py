"""What all pages are rendered with, and what is said of an evaluation wherever it is shown."""

from __future__ import annotations

from pathlib import Path

from lmd.evaluation.results import BandResult, ClassResult, Estimate, Evaluation
from lmd.files import atomic_write
from lmd.reporting.svg import Inline
from lmd.settings import Tree
from lmd.text import FEW, image_count, listed
from lmd.version import __version__

_SHOWN = 10  # Classes that a line names.
METRICS = {
    "bacc": "balanced accuracy",
    "auc": "macro AUC",
    "f1": "macro F1",
    "mcc": "MCC",
    "kappa_unweighted": "kappa",
    "precision": "macro precision",
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
    told = {"recall", "kappa_quadratic"}  # Not in the tables.
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


def sentence(text: str) -> str:
    """Returns a text that begins with a capital letter, whatever follows.

    >>> sentence("by hand, AUC")
    'By hand, AUC'
    """
    return text[:1].upper() + text[1:]


def render(template: str, path: Path, content: Tree) -> Path:
    """Writes a page made of a template, whole or not at all, and returns its path."""
    from jinja2 import Environment, PackageLoader
    from markupsafe import Markup

    environment = Environment(loader=PackageLoader("lmd.reporting"), autoescape=True, trim_blocks=True)
    inline = Inline()

    def svg(drawing: str, label: str = "figure") -> Markup:
        """A figure of our own; every other value is escaped."""
        return Markup(inline(drawing, label))

    environment.filters["svg"] = svg
    environment.filters["recall"] = shown_recall
    environment.filters["count"] = image_count
    environment.filters["sentence"] = sentence
    atomic_write(path, environment.get_template(template).render(content, version=__version__))
    return path
