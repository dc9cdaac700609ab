"""What is to be said of the models of all folds together: their card and their frequency bands."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping

import numpy as np

from lmd.model_card import ModelCard


def pooled_card(cards: Mapping[str, ModelCard]) -> ModelCard:
    """Returns one card for all folds: mean training images and validation score, seconds in all.

    The frequency bands are by the training images of a fold, and may differ where two classes are of nearly
    the same size: those that most folds have are taken.
    """
    every = list(cards.values())
    scores = [card.validation_bacc for card in every if card.validation_bacc is not None]
    bands = Counter(json.dumps([card.bands, card.bands_rule]) for card in every).most_common(1)[0][0]
    by_band, rule = json.loads(bands)
    return every[0].model_copy(
        update={
            "bands": by_band,
            "bands_rule": rule,
            "training_counts": np.rint(np.mean([card.training_counts for card in every], 0))
            .astype(int)
            .tolist(),
            "validation_bacc": float(np.mean(scores)) if scores else None,
            "training_seconds": sum(card.training_seconds for card in every),
        }
    )
