"""A run's report: one self-contained HTML file for a clinician, a statistician and an engineer."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from lmd.evaluation.results import Evaluation, read_evaluations
from lmd.methods import in_words
from lmd.model_card import ModelCard
from lmd.records import read_environment, read_metrics
from lmd.reporting.class_figures import recall_against_tail
from lmd.reporting.clinician import class_words, verdict
from lmd.reporting.engineer import facts, hashes, settings_table, versions
from lmd.reporting.learning import learning_curves
from lmd.reporting.page import render
from lmd.reporting.pictures import Pictures
from lmd.reporting.statistician import confusion_content, split_content
from lmd.run import RunFolder, read_identity, read_model_card
from lmd.settings import Tree
from lmd.text import duration

ASK = "Pictures of the worst mistakes, with what the network looked at, are added by lmd report."
NO_PICTURES = "There are no pictures of cases: {why}."


def write_report(path: Path, pictures: Pictures | None = None, no_pictures: str = ASK) -> Path:
    """Writes RUN/report.html from what lies in the run folder, and returns its path.

    Without `pictures` no network is opened and no image; `no_pictures` then says why.

    Raises:
        CheckpointError: the run has no finished model.
    """
    folder = RunFolder(path)
    card, history = read_model_card(folder), read_metrics(path)
    content = report_content(path, card, read_identity(folder))
    content |= {"pictures": pictures, "no_pictures": no_pictures}
    content |= {"curves": learning_curves(history) if history else []}
    return render("run.html", path / "report.html", content)


def report_content(path: Path, card: ModelCard, identity: Tree) -> Tree:
    """Returns what a report shows but for pictures and learning curves, from what lies in the run folder."""
    evaluations, counts = main_first(read_evaluations(path)), card.training_counts
    splits = [
        split_content(result, counts, RunFolder(path).predictions(name))
        for name, result in evaluations.items()
    ]
    return {
        "title": f"{card.method} on {card.dataset.title}",
        "what": in_words(card.method),
        "phantom": card.dataset.source == "phantom",
        "card": card,
        "training_time": duration(card.training_seconds),
        "splits": splits,
        "main": splits[0] if splits else None,
        **(_clinician(splits[0], card) if splits else {}),
        "facts": facts(card),
        "settings": settings_table(identity["settings"]),
        "hashes": hashes(card, identity),
        "versions": versions(read_environment(path)),
        "curves": [],
        "curves_of_folds": {},
        "pictures": None,
        "no_pictures": ASK,
    }


def main_first(evaluations: Mapping[str, Evaluation]) -> dict[str, Evaluation]:
    """Returns evaluations, the one first that a reader is told of: that of the run's own test images.

    Without it the test images of another data set are.
    """
    order = {name: (name != "test", result.split != "test") for name, result in evaluations.items()}
    return {name: evaluations[name] for name in sorted(order, key=order.__getitem__)}


def _clinician(main: Tree, card: ModelCard) -> Tree:
    result: Evaluation = main["result"]
    counts = card.training_counts
    return {
        "verdict": verdict(result, counts),
        "words": class_words(result, counts, main["against"]),
        "tail": recall_against_tail(result, counts),
        "confusion": confusion_content(result, counts),
    }
