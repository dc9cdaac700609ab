"""MODEL_CARD.md: what a person must know before using a trained model (Mitchell et al., FAT* 2019)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lmd.evaluation.results import Evaluation, read_evaluations
from lmd.files import atomic_write
from lmd.methods import in_words
from lmd.model_card import ModelCard
from lmd.reporting.page import has_few, reason_lines, result_notes, shown_metrics, shown_recall
from lmd.run import RunFolder, read_model_card
from lmd.text import FEW_NOTE, image_count, markdown, numbered


def write_card(path: Path) -> Path:
    """Writes RUN/MODEL_CARD.md from what lies in the run folder, and returns its path.

    Raises:
        CheckpointError: the run has no finished model.
    """
    return write_card_of(path, read_model_card(RunFolder(path)))


def write_card_of(path: Path, card: ModelCard, more: Sequence[str] = ()) -> Path:
    """Writes the model card of a run whose model.json is given; `more` lines follow on the training."""
    parts = [_head(card), [*_training(card), *more], _classes(card), _answers(card)]
    parts += [_measured(result) for result in read_evaluations(path).values()]
    text = "\n\n".join("\n".join(lines) for lines in [*parts, _limits(card)])
    atomic_write(path / "MODEL_CARD.md", text + "\n")
    return path / "MODEL_CARD.md"


def _head(card: ModelCard) -> list[str]:
    data = card.dataset
    return [
        f"# Model card: {markdown(card.method)} on {markdown(data.title)}",
        "",
        "For research. Not a medical device: it must not decide about a patient.",
    ]


def _training(card: ModelCard) -> list[str]:
    data, image = card.dataset, card.preprocessing
    return [
        "## How it was made",
        "",
        f"- network: {markdown(card.encoder)} with a {card.classifier} classifier; images squashed to "
        f"{image.size} x {image.size} pixels, crop {image.crop}",
        f"- method: {markdown(card.method)}{_in_words(card)}; chosen by {_chosen(card)}; "
        f"{card.training_seconds:.0f} s of training",
        f"- data: {markdown(data.title)} (source {markdown(data.source)}, licence {markdown(data.licence)}, "
        f"manifest sha256 {data.manifest_sha256[:16]})",
    ]


def _in_words(card: ModelCard) -> str:
    """What the method is, in brackets."""
    what = in_words(card.method)
    return "" if what is None else f" ({markdown(what.rstrip('.'))})"


def _chosen(card: ModelCard) -> str:
    """What chose the epoch, in words."""
    score = card.validation_bacc
    if score is None:
        return "last epoch"
    if card.selected_by == "val_margin" and card.validation_margin is not None:
        return f"smoothed validation balanced accuracy ({card.validation_margin:.3f}; plain {score:.3f})"
    return f"validation balanced accuracy ({score:.3f})"


_PRIORS = {
    "training": "They belong to classes as frequent as in the training images, not as in a clinic.",
    "uniform": "They belong to classes that are all equally frequent, not as frequent as in a clinic.",
    "unknown": "Which frequency of classes they belong to does not follow from the method.",
}


def _answers(card: ModelCard) -> list[str]:
    """What the outputs mean."""
    made = card.outputs
    by = "fitted on validation" if made.temperature_by == "validation" else "not fitted"
    decision = "The decision is the class with the largest of them"
    if made.differ:
        chosen = " (chosen on validation)" if made.tau_by == "validation" else ""
        decision = (
            "Decide by `predicted`, the largest of `d_<class>`: these are shifted to rare classes, by tau = "
            f"{made.tau:g}{chosen}. More cases of rare classes are found, and fewer of common ones"
        )
    return [
        "## What its answers mean",
        "",
        f"- Rank by the probabilities `p_<class>`. {_PRIORS[made.prior]}",
        f"- {decision}.",
        f"- temperature of the probabilities: {made.temperature:.3g} ({by})",
    ]


def _classes(card: ModelCard) -> list[str]:
    rows = zip(card.classes, card.training_counts, strict=True)
    return [
        "## Classes",
        "",
        f"{markdown(card.bands_rule)}.",
        "",
        "| class | band | training images |",
        "|---|---|---|",
        *(f"| {markdown(name)} | {markdown(card.band_of.get(name, ''))} | {count} |" for name, count in rows),
    ]


def _measured(result: Evaluation) -> list[str]:
    shown = [(title, result.n, str(value)) for title, value in shown_metrics(result)]
    shown += [(f"{name} recall", band.n, shown_recall(band)) for name, band in result.bands.items()]
    shown += [(f"recall of {markdown(entry.name)}", entry.n, shown_recall(entry)) for entry in result.classes]
    rows = [f"| {title} | {image_count(count)} | {value} |" for title, count, value in shown]
    notes = [line for note in result_notes(result) for line in (f"- {markdown(note)}", "")]
    return [
        f"## Measured on the {markdown(result.measured)} split",
        "",
        *notes,
        "| | n | value, 95% interval |",
        "|---|---|---|",
        *rows,
        *(["", FEW_NOTE.replace("*", "\\*")] if has_few(result) else []),
        *(line for reason in reason_lines(result) for line in ("", f"{markdown(reason)}.")),
    ]


def _limits(card: ModelCard) -> list[str]:
    counts = card.training_counts
    least = min(counts)
    rarest = [markdown(name) for name, count in zip(card.classes, counts, strict=True) if count == least]
    which = f"class, {rarest[0]}, was" if len(rarest) == 1 else f"classes, {', '.join(rarest)}, were each"
    return [
        "## Limits",
        "",
        *(f"- {markdown(line[0].upper() + line[1:])}." for line in card.warnings),
        f"- It answers with one of {len(counts)} classes, also where none of them is right.",
        f"- Its rarest {which} learned from {numbered(least, 'image')}.",
        f"- Guessing has a balanced accuracy of {1 / len(counts):.3f}. "
        "The recall of a band is the mean over its classes.",
        "- Intervals are about the test images. They say nothing of how much another training would differ.",
        "- Other cameras, clinics and patients than those of its data may give other results: measure first.",
    ]
