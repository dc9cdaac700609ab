"""What is to be said of the models of all folds together: their card and their frequency bands."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from lmd.model_card import ModelCard, Outputs


def pooled_card(cards: Mapping[str, ModelCard]) -> ModelCard:
    """Returns one card for all folds: mean training images, validation scores and outputs, seconds in all.

    The frequency bands are by the training images of a fold, and may differ where two classes are of nearly
    the same size: those that most folds have are taken.
    """
    every = list(cards.values())
    bands = Counter(json.dumps([card.bands, card.bands_rule]) for card in every).most_common(1)[0][0]
    by_band, rule = json.loads(bands)
    return every[0].model_copy(
        update={
            "bands": by_band,
            "bands_rule": rule,
            "training_counts": np.rint(np.mean([card.training_counts for card in every], 0))
            .astype(int)
            .tolist(),
            "validation_bacc": _mean([card.validation_bacc for card in every], needed=1),
            "validation_margin": _mean([card.validation_margin for card in every], needed=1),
            "outputs": pooled_outputs([card.outputs for card in every]),
            "training_seconds": sum(card.training_seconds for card in every),
        }
    )


def pooled_outputs(every: Sequence[Outputs]) -> Outputs:
    """Returns what the mean of the folds' probabilities is: mean tau and temperature, and their one prior."""
    first = every[0]
    return Outputs(
        tau=float(np.mean([one.tau for one in every])),
        tau_by=first.tau_by,
        tau_validation=_mean([one.tau_validation for one in every], needed=len(every)),
        temperature=float(np.mean([one.temperature for one in every])),
        temperature_by=first.temperature_by,
        prior=first.prior if len({one.prior for one in every}) == 1 else "unknown",
    )


def _mean(values: Sequence[float | None], needed: int) -> float | None:
    """The mean of what is known; None where fewer are known than needed."""
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if len(known) >= needed else None
