"""One rule for all rows: how far decisions are shifted to rare classes, made anew from what is stored."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd

from lmd.comparing.answers import Answers
from lmd.errors import DataError, SettingsError
from lmd.evaluation.cases import Cases, cases_of
from lmd.evaluation.judge import evaluate_run
from lmd.evaluation.pairs.comparison import TauRule
from lmd.evaluation.probability.decisions import choose_tau, decide, log_prior, logits_of
from lmd.evaluation.probability.source import validation_cases
from lmd.folds.folder import FoldsRun
from lmd.model_card import ModelCard
from lmd.parallel import Steps
from lmd.run import RunFolder


def decided(
    answers: Answers, table: pd.DataFrame, classes: list[str], rule: TauRule, progress: Steps
) -> tuple[Cases, list[float]]:
    """Returns the cases of a table with decisions by the rule, and tau; of folds that of each.

    Raises:
        SettingsError: tau is to be chosen on validation images, and there are none.
        DataError: the table does not hold predictions of these classes.
    """
    cases = cases_of(table, classes)
    models = _models(answers, table)
    if rule == "own":
        return cases, [card.outputs.tau for card in models.values()]
    if rule == "0":
        return replace(cases, decided=None), [0.0] * len(models)
    taus = {name: chosen_tau(answers, name, classes, progress) for name in models}
    return replace(cases, decided=_shifted(table, cases, classes, models, taus)), list(taus.values())


def _models(answers: Answers, table: pd.DataFrame) -> dict[str, ModelCard]:
    """The card of each model that answers in a table, by the name of its fold."""
    if answers.averaged:
        return {"": answers.run.card}
    names = dict.fromkeys(table["fold"]) if "fold" in table else [""]
    return {name: answers.run.models[name] for name in names}


def _shifted(
    table: pd.DataFrame,
    cases: Cases,
    classes: list[str],
    models: dict[str, ModelCard],
    taus: dict[str, float],
) -> np.ndarray:
    """The class that each case is decided for, by the model that answered it [N]."""
    names = table["fold"] if "fold" in table else pd.Series("", index=table.index)
    ordered = table.assign(id=table["id"].astype(str), model=names).sort_values("id", kind="stable")
    found = np.empty(len(table), dtype=np.int64)
    for name, card in models.items():
        mine = (ordered["model"] == name).to_numpy()
        made = decide(
            cases.probabilities[mine], prior_of(card, classes), taus[name], card.outputs.temperature
        )
        found[mine] = made.argmax(1)
    return found


def prior_of(card: ModelCard, classes: list[str]) -> np.ndarray:
    """Returns log pi of a model's training images, in this order of the classes [K]."""
    counts = dict(zip(card.classes, card.training_counts, strict=True))
    return log_prior(np.array([counts[name] for name in classes]))


def chosen_tau(answers: Answers, name: str, classes: list[str], progress: Steps) -> float:
    """Returns the tau that validation images choose for a model.

    Raises:
        SettingsError: there are no validation images.
    """
    run, path = answers.run, answers.run.path
    if answers.averaged:
        raise SettingsError(
            f"--tau validation: the models of {path} answer together, and no validation images are of all of "
            "them: take --tau 0 or --tau own"
        )
    folder = run.folder.folds[name] if isinstance(run.folder, FoldsRun) else run.folder
    _validated(folder, progress)
    cases = validation_cases(folder, classes)
    if isinstance(cases, str):
        raise SettingsError(f"--tau validation: {path}: {cases}")
    card = run.models[name]
    return choose_tau(
        logits_of(cases.probabilities, card.outputs.temperature), cases.labels, prior_of(card, classes)
    )


def _validated(folder: RunFolder, progress: Steps) -> None:
    """Makes the predictions on validation images where there are none."""
    if not folder.predictions("val").is_file():
        try:
            evaluate_run(folder, "val", progress=progress)
        except DataError as error:
            raise SettingsError(
                f"--tau validation: {folder.path} has no predictions on validation images: {error}; "
                "take --tau 0 or --tau own"
            ) from error
