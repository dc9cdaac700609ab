"""Finished runs compared on the same images: means over seeds, paired differences, Holm, groups."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast, get_args

import numpy as np

from lmd.comparing.answers import Answers, answers_on, own_answers
from lmd.comparing.runs import Finished, rows_of
from lmd.comparing.shift import decided
from lmd.data.dataset.folds_folder import Folds
from lmd.data.dataset.manifest import Dataset
from lmd.errors import DataError, SettingsError, suggest
from lmd.evaluation.cases import Cases, measure
from lmd.evaluation.intervals.uncertainty import Measured, mean_of
from lmd.evaluation.pairs.comparison import Comparison, MethodCompared, RunUsed, TauRule
from lmd.evaluation.pairs.paired import rank
from lmd.parallel import Steps, quiet

Key = tuple[int, str]


@dataclass(frozen=True)
class Training:
    """One training of a row: its cases, decided by the rule, and tau."""

    run: Finished
    cases: Cases
    tau: list[float]
    data: str


Rows = Mapping[str, Mapping[Key, Training]]


def compare_runs(
    paths: Sequence[Path],
    data: Dataset | Folds | None = None,
    split: str = "test",
    tau: TauRule = "0",
    metric: str = "bacc",
    allow_overlap: bool = False,
    progress: Steps = quiet,
) -> Comparison:
    """Compares finished runs, or runs on folds, that were measured on the same images.

    Raises:
        SettingsError: fewer than two methods, or an unknown metric.
        DataError: the runs have other classes, or were measured on other images.
        CheckpointError: one is no finished run.
    """
    if split == "val" and tau == "validation":
        raise SettingsError(
            "--tau validation: it would be chosen on the images that are measured: take --tau 0"
        )
    rows = rows_of(paths)
    first = next(iter(rows.values()))[0]
    _check_classes([run for row in rows.values() for run in row], first)
    _check_metric(metric, first)

    def answers(run: Finished) -> Answers:
        return (
            own_answers(run, split, progress)
            if data is None
            else answers_on(run, data, split, allow_overlap, progress)
        )

    trainings = {
        name: dict(
            part for run in row for part in _trainings(answers(run), first.card.classes, tau, progress)
        )
        for name, row in rows.items()
    }
    _check_cases([one for row in trainings.values() for one in row.values()])
    return _compared(trainings, first, metric, split, tau)


def rule_of(tau: str) -> TauRule:
    """Returns the rule by which all rows decide.

    Raises:
        SettingsError: there is no such rule.
    """
    rules = get_args(TauRule)
    if tau not in rules:
        raise SettingsError(f"unknown tau '{tau}'{suggest(tau, rules)}")
    return cast("TauRule", tau)


def _check_classes(runs: Sequence[Finished], first: Finished) -> None:
    """Refuses runs with other classes than the first; another order is fine."""
    for run in runs:
        odd = sorted(set(run.card.classes) ^ set(first.card.classes))
        if odd:
            whose = run if odd[0] in run.card.classes else first
            raise DataError(
                f"{first.path} and {run.path} have other classes: only {whose.path} has '{odd[0]}'; "
                "runs of the same classes can be compared"
            )


def _check_metric(metric: str, first: Finished) -> None:
    from lmd.evaluation.metrics import MACRO

    known = [name for name in (*MACRO, *first.card.bands) if name not in ("recall", "kappa_quadratic")]
    if metric not in known:
        raise SettingsError(f"unknown metric '{metric}'{suggest(metric, known)}")


def _trainings(
    answers: Answers, classes: list[str], tau: TauRule, progress: Steps
) -> list[tuple[Key, Training]]:
    """The trainings in a run: one, or one for each repeat of its folds."""
    found: list[tuple[Key, Training]] = []
    for repeat, table in answers.tables.items():
        try:
            cases, used = decided(answers, table, classes, tau, progress)
        except (KeyError, ValueError) as error:
            what = f"lacks the column {error}" if isinstance(error, KeyError) else str(error)
            raise DataError(f"the predictions of {answers.run.path} are damaged: {what}") from error
        except DataError as error:
            raise DataError(f"the predictions of {answers.run.path}: {error}") from error
        found.append(((answers.run.seed, repeat), Training(answers.run, cases, used, answers.data)))
    return found


def _check_cases(trainings: Sequence[Training]) -> None:
    """Refuses runs that were measured on other images, labels or groups than the first."""
    first = trainings[0]
    own = next(
        (one for one in trainings[1:] if one.run is first.run and _difference(first.cases, one.cases)), None
    )
    if own is not None:
        raise DataError(
            f"each repeat of {own.run.path} has other test images: compare one repeat of each run, such as "
            f"{own.run.path / next(iter(own.run.models))}"
        )
    for other in trainings[1:]:
        why = _difference(first.cases, other.cases)
        if why is not None:
            raise DataError(
                f"{first.run.path} ({first.data}) and {other.run.path} ({other.data}) were not measured on "
                f"the same cases: {why}; measure both on one data set with --data DIR"
            )


def _difference(first: Cases, other: Cases) -> str | None:
    """What two runs' cases differ in; None where they are the same."""
    if first.identity() == other.identity():
        return None
    mine, theirs = set(first.ids.tolist()), set(other.ids.tolist())
    if mine != theirs:
        return f"{len(mine)} images and {len(theirs)} images, {len(mine & theirs)} of them in both"
    labels = int((first.labels != other.labels).sum())
    if labels:
        return f"{labels} of {len(mine)} images {'has' if labels == 1 else 'have'} another class"
    return "the images are grouped in another way (patients, lesions)"


def _compared(rows: Rows, first: Finished, metric: str, split: str, tau: TauRule) -> Comparison:
    classes, bands = first.card.classes, first.card.bands
    measured = {
        name: {key: measure(one.cases, classes, bands) for key, one in row.items()}
        for name, row in rows.items()
    }
    one = next(iter(next(iter(rows.values())).values()))
    counts = np.bincount(one.cases.labels, minlength=len(classes))
    order = sorted(range(len(classes)), key=lambda k: (-first.card.training_counts[k], k))
    return Comparison(
        metric=metric,
        split=split,
        data=one.data,
        phantom=first.card.dataset.source == "phantom",
        n=len(one.cases.labels),
        groups=len(set(one.cases.clusters.tolist())),
        counts={classes[k]: int(counts[k]) for k in order},
        tau=tau,
        methods={name: _method(name, row, measured[name]) for name, row in rows.items()},
        ranking=rank(_of_metric(measured, metric), metric),
        notes=[*_of_split(split), *_notes(rows, counts)],
    )


def _of_metric(
    measured: Mapping[str, Mapping[Key, Mapping[str, Measured]]], metric: str
) -> dict[str, dict[Key, Measured]]:
    return {name: {key: found[metric] for key, found in row.items()} for name, row in measured.items()}


def _method(
    name: str, row: Mapping[Key, Training], measured: Mapping[Key, Mapping[str, Measured]]
) -> MethodCompared:
    first = next(iter(measured.values()))
    return MethodCompared(
        name=name,
        method=next(iter(row.values())).run.method,
        runs=[
            RunUsed(folder=one.run.path.name, seed=seed, repeat=repeat, tau=one.tau)
            for (seed, repeat), one in row.items()
        ],
        metrics={
            metric: mean_of([found[metric] for found in measured.values()]).estimate() for metric in first
        },
    )


def _of_split(split: str) -> list[str]:
    seen = {"train": "the models were trained on these images", "val": "epochs were chosen on these images"}
    return [] if split == "test" else [f"this is no test: {seen[split]}"]


def _notes(rows: Rows, counts: np.ndarray) -> list[str]:
    """What has to be known of a comparison as a whole."""
    notes: list[str] = []
    if any(len(row) < 2 for row in rows.values()):
        notes.append(
            "what is said of a row of one training is said of this trained model, not of the method: another "
            "training may come out otherwise (name runs with other seeds, too)"
        )
    keys = [set(row) for row in rows.values()]
    if any(key != keys[0] for key in keys):
        notes.append("the rows have other seeds: a pair is compared over the seeds that both have")
    if (counts == 0).any():
        empty = int((counts == 0).sum())
        have = "has" if empty == 1 else "have"
        notes.append(f"{empty} of {len(counts)} classes {have} no image: means leave them out")
    return notes
