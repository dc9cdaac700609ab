"""A model's logits as a table of answers: what to rank by, and what was decided."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import torch

from lmd.evaluation.probability.decisions import decide, log_prior
from lmd.files import atomic_path
from lmd.model_card import ModelCard
from lmd.spreadsheet import guarded_table

_ROWS_AT_ONCE = 50_000  # Of a table as it is written.


def answer_table(
    logits: np.ndarray, names: pd.DataFrame, card: ModelCard, unlike: np.ndarray | None = None
) -> pd.DataFrame:
    """Returns `names` with `predicted`, `p_<class>` to rank by and, where tau shifts, `d_<class>`.

    `predicted` is the class with the largest d; without a shift d is p, and is not written twice. `unlike`,
    where it is known, says which share of the validation images is less unlike what was seen.
    """
    ranking = ranking_of(logits, card)
    decision = decisions_of(ranking, card)
    predicted = pd.Series(np.array(card.classes)[decision.argmax(1)], name="predicted")
    shifted = [_columns("d", decision, card)] if card.outputs.differ else []
    last = [] if unlike is None else [pd.Series(unlike, name="unlike")]
    return pd.concat([names, predicted, _columns("p", ranking, card), *shifted, *last], axis=1)


def told(card: ModelCard) -> str | None:
    """Returns in one line which probabilities are for what; None where they do not differ."""
    if not card.outputs.differ:
        return None
    return (
        f"p_<class> are for ranking; decisions ('predicted' and d_<class>) are shifted to rare classes, "
        f"tau {card.outputs.tau:g}"
    )


def ranking_of(logits: np.ndarray, card: ModelCard) -> np.ndarray:
    """Returns the ranking probabilities [N, K] of a model's logits."""
    return torch.from_numpy(logits / card.outputs.temperature).double().softmax(1).numpy()


def decisions_of(ranking: np.ndarray, card: ModelCard) -> np.ndarray:
    """Returns the decision probabilities [N, K] that belong to a model's ranking probabilities."""
    made = card.outputs
    if not made.differ:
        return ranking
    return decide(ranking, log_prior(np.array(card.training_counts)), made.tau, made.temperature)


def _columns(kind: str, values: np.ndarray, card: ModelCard) -> pd.DataFrame:
    return pd.DataFrame(values, columns=[f"{kind}_{name}" for name in card.classes])


def write_predictions(path: Path, predictions: pd.DataFrame) -> None:
    """Writes predictions as CSV, atomically; probabilities with nine significant digits."""
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        for start in range(0, max(1, len(predictions)), _ROWS_AT_ONCE):
            part = guarded_table(predictions.iloc[start : start + _ROWS_AT_ONCE])
            part.to_csv(file, index=False, header=start == 0, float_format="%.9g", lineterminator="\n")
