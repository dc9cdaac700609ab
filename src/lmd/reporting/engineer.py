"""What an engineer wants to know of a run: what it is, from what it was made, with which versions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lmd.model_card import ModelCard, Outputs
from lmd.reporting.tables import Cell, Table
from lmd.settings import Tree
from lmd.text import duration

_CHOSEN = {
    "last": "last epoch",
    "val_bacc": "epoch with the best balanced accuracy on validation",
    "val_margin": "epoch with the best smoothed balanced accuracy on validation",
}
IMPLIED = {"training": "those of the training images", "uniform": "all alike", "unknown": "not known"}
_HASHES = {
    "manifest_sha256": "manifest of the data",
    "weights_sha256": "weights that it began with",
    "from_sha256": "first stage that it took over",
    "method_sha256": "file of the method",
}


def facts(card: ModelCard) -> Table:
    """Returns what the model is."""
    image = card.preprocessing
    score = "none" if card.validation_bacc is None else f"{card.validation_bacc:.3f}"
    rows = {
        "method": card.method,
        "encoder": card.encoder,
        "classifier": card.classifier,
        "images": f"{image.size} x {image.size} pixels, crop {image.crop}",
        "precision": card.precision,
        "kept": f"{_CHOSEN[card.selected_by]}; validation balanced accuracy {score}",
        "probabilities": _probabilities(card.outputs),
        "decisions": _decisions(card.outputs),
        "training": f"{sum(card.training_counts)} images, {duration(card.training_seconds)}",
        "data": f"{card.dataset.title} (source {card.dataset.source}, licence {card.dataset.licence})",
        "format of model.json": str(card.format),
    }
    return _table(rows, "The model")


def _probabilities(outputs: Outputs) -> str:
    fitted = " (fitted on validation)" if outputs.temperature_by == "validation" else ""
    return (
        f"softmax(s / T), s the logits, T = {outputs.temperature:.4g}{fitted}; shares of the classes that "
        f"they imply: {IMPLIED[outputs.prior]}"
    )


def _decisions(outputs: Outputs) -> str:
    if not outputs.differ:
        return "the largest probability"
    by = "chosen on validation" if outputs.tau_by == "validation" else "as set"
    return (
        f"the largest softmax((s - tau log pi) / T), pi the shares of the training images, tau = "
        f"{outputs.tau:.4g} ({by})"
    )


def hashes(card: ModelCard, identity: Mapping[str, Any]) -> Table:
    """Returns the SHA-256 of what went in and came out."""
    came = {words: identity.get(name) for name, words in _HASHES.items()}
    came["manifest of the data"] = came["manifest of the data"] or card.dataset.manifest_sha256
    rows = {words: value for words, value in {**came, **card.files}.items() if value}
    return _table(rows, "SHA-256")


def settings_table(settings: Tree) -> Table:
    """Returns every setting on a line."""
    return _table(dict(flat(settings)), "Settings")


def versions(environment: Tree) -> Table:
    """Returns what it was trained with."""
    return _table(dict(flat(environment)), "Versions and machine of the training")


def flat(tree: Tree, prefix: str = "") -> list[tuple[str, Any]]:
    """Returns the leaves of a tree, each with its dotted name."""
    rows: list[tuple[str, Any]] = []
    for name, value in tree.items():
        rows += flat(value, f"{prefix}{name}.") if isinstance(value, dict) else [(prefix + name, value)]
    return rows


def _table(rows: Mapping[str, Any], caption: str) -> Table:
    cells = [[Cell(name), Cell("" if value is None else str(value))] for name, value in rows.items()]
    return Table(["name", "value"], cells, caption, sorts=False)
