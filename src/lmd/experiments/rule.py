"""One rule of decision for all rows of a table: how far each shifts its decisions to rare classes.

Runs of an experiment are trained at tau = 0, whatever the rule, so that they are the same and one folder
serves all rules. A rule decides anew from the probabilities that lie in the runs' folders.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from lmd.data.decode.cache import open_cache, read_as
from lmd.data.feed.loader import image_set
from lmd.evaluation.cases import Cases, read_cases
from lmd.evaluation.outputs import logits_of
from lmd.evaluation.predict import load_model
from lmd.evaluation.probability.decisions import choose_tau, decide, log_prior
from lmd.experiments.runs import Run
from lmd.run import read_model_card

WORDS = {
    "0": "Decisions: tau = 0 in every row, as published (the largest probability).",
    "own": "Decisions: each row has its method's own tau (--tau own), so that rows may differ by it alone.",
    "validation": "Decisions: tau of each run was chosen on its validation images (--tau validation).",
}


def ruled_cases(run: Run, rule: str) -> Cases:
    """Returns the test cases of a run, decided by a rule."""
    cases = read_cases(run.folder.predictions("test"), run.dataset)
    card = read_model_card(run.folder)
    prior = log_prior(np.array(card.training_counts))
    decisions = decide(cases.probabilities, prior, tau_of(run, rule), card.outputs.temperature)
    return replace(cases, decided=decisions.argmax(1))


def tau_of(run: Run, rule: str) -> float:
    """Returns the tau that a rule gives a run."""
    asked = {"0": 0.0, "own": run.own_tau, "validation": "validation"}[rule]
    if not isinstance(asked, str):
        return asked
    known = read_model_card(run.folder).outputs.tau_validation
    return _chosen(run) if known is None else known


def _chosen(run: Run) -> float:
    """What validation chooses for a run of an earlier version, whose card does not say it; 0 without any."""
    if not run.dataset.counts("val").any():
        return 0.0
    model = load_model(run.folder)
    made = model.card.preprocessing
    pixels = open_cache(read_as(run.dataset, made.bits), made.size, made.crop)
    val = image_set(run.dataset, "val", pixels)
    prior = log_prior(np.array(model.card.training_counts))
    return choose_tau(logits_of(model, val.pixels), val.labels.numpy(), prior)
