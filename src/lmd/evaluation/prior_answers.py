"""The answers of a model on images without labels, at stated shares of the classes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from lmd.evaluation.parts import Estimate
from lmd.evaluation.probability.source import Source
from lmd.evaluation.wanted import AtPrior, StatedPrior


def answers_at_prior(
    answers: pd.DataFrame, source: Source, prior: StatedPrior
) -> tuple[pd.DataFrame, AtPrior]:
    """Returns a table of answers with the probabilities at a prior, and what the prior is.

    `p_<class>` are then the probabilities where the classes have these shares, and `predicted` is the class
    with the largest. What a model's tau shifts (`d_<class>`) is left out: the prior takes its place.

    Raises:
        DataError: what the prior needs of validation is not there.
    """
    columns = [f"p_{name}" for name in source.classes]
    own = answers[columns].to_numpy(dtype=np.float64)
    found = prior.resolved(source, own, np.arange(len(own)))
    there = found.probabilities(own)
    kept = answers.drop(columns=[f"d_{name}" for name in source.classes], errors="ignore")
    decided = np.array(source.classes)[there.argmax(1)]
    return kept.assign(predicted=decided, **dict(zip(columns, there.T, strict=True))), found


def prior_lines(classes: Sequence[str], found: AtPrior) -> list[str]:
    """Returns what to say of probabilities at a prior: what was shifted to which shares, and warnings."""
    shares = ", ".join(map(_share, classes, found.estimates))
    return [
        f"probabilities and decisions at the prior '{found.name}': {shares}",
        f"they start from {found.start.words}",
        *(f"warning: {line}" for line in found.start.warnings),
    ]


def _share(name: str, share: Estimate) -> str:
    return f"{name} {share.value:.3f}" if share.low is None else f"{name} {share}"
