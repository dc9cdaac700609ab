"""A folds run measured: each fold on its own test images, and all of these predictions together."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import cast

import pandas as pd

from lmd.data.dataset.folds_folder import Folds, by_repeat, read_folds
from lmd.data.dataset.manifest import Dataset
from lmd.errors import DataError, SettingsError
from lmd.evaluation.answers import write_predictions
from lmd.evaluation.cases import cases_of, read_predictions
from lmd.evaluation.evaluate import evaluate
from lmd.evaluation.further import NOTHING, Around, Further, further
from lmd.evaluation.judge import evaluate_run, write_judged
from lmd.evaluation.leaks.overlap import overlap_with_training
from lmd.evaluation.predict import pixels_for, predict_split
from lmd.evaluation.probability.fields import fields_of
from lmd.evaluation.results import Evaluation, FoldsResult, OtherData
from lmd.evaluation.wanted import NOTHING_WANTED
from lmd.folds.average import load_average
from lmd.folds.combine import mean_of, overlap_of
from lmd.folds.folder import FoldsRun, cards
from lmd.folds.pooled_card import pooled_card
from lmd.folds.probabilities import pooled_fields
from lmd.folds.report import write_folds_report
from lmd.parallel import Steps, quiet
from lmd.reporting.card import write_card
from lmd.reporting.report import write_report

TEST = "test"
_OWN_SETS = "each fold has validation images of its own, and its folder has its own sets"


def evaluate_folds(
    run: FoldsRun,
    split: str,
    data: Dataset | Folds | None = None,
    progress: Steps = quiet,
    allow_overlap: bool = False,
    asked: Further = NOTHING,
) -> Evaluation:
    """Measures a folds run and returns the evaluation of its folds together, which it also writes.

    Each image of its own data is predicted by the model that was not trained on it; `data` is another data
    set, which the mean of the models' probabilities answers.

    Raises:
        CheckpointError: a fold has not finished.
        DataError: the data set is gone or does not fit, or has images that a fold was trained on.
    """
    if isinstance(data, Dataset):
        found = _external(run, split, data, progress, allow_overlap, asked)
    else:
        found = _pooled(run, split, own_folds(run, data), progress, asked)
    result = write_judged(run, *found)
    write_folds_report(run)
    return result


def own_folds(run: FoldsRun, data: Folds | None) -> Folds:
    """Returns the folds that a run was trained on, wherever they lie now.

    Raises:
        DataError: they are gone, or `data` are others.
    """
    place = Path(run.info.data)
    if data is None and not place.is_dir():
        raise DataError(f"the folds of {run.path} are no longer at {place}: name the folder with --data DIR")
    folds = data or read_folds(place)
    if folds.info.manifests_sha256 != run.info.manifests_sha256:
        raise DataError(
            f"{folds.folder} has other folds than {run.path} was trained on: to measure other images name "
            f"one dataset folder, such as {folds.folder / folds.names[0]}"
        )
    return folds


def _pooled(
    run: FoldsRun, split: str, folds: Folds, progress: Steps, asked: Further
) -> tuple[Evaluation, pd.DataFrame | None]:
    """Each fold on its own test images, and these predictions together."""
    refuse_shared(run, split)
    card = pooled_card(cards(run))
    asked.columns(list(folds.first.table.columns))
    wanted = asked.wanted.understood(card.classes)
    results = _each(run, folds, progress, replace(asked, by=(), wanted=NOTHING_WANTED))
    file = run.predictions(TEST)
    write_predictions(file, _pooled_table(run, folds, list(results)))
    table = read_predictions(file)  # With the rounded probabilities that whoever measures it finds.
    repeats = by_repeat(list(results))
    measured: list[Evaluation] = []
    groups: list[pd.DataFrame | None] = []
    for names in repeats:
        some = _rows(table, names)
        overlap = overlap_of([results[name].overlap for name in names])
        found = pooled_fields(run, folds, names, cases_of(some, card.classes), card, wanted)
        result = evaluate(some, card.classes, card.bands, TEST)
        result = result.model_copy(update={"overlap": overlap} | found)
        rows = pd.concat([folds.datasets[name].split(TEST) for name in names])
        around = Around(TEST, card.classes, card.bands, _OWN_SETS, rows)
        result, of_groups = further(result, some, around, asked)
        measured.append(result)
        groups.append(of_groups)
    bacc = {name: result.metrics["bacc"] for name, result in results.items()}
    together = FoldsResult(how=_how(folds, repeats), bacc=bacc)
    result = mean_of(measured).model_copy(update={"folds": together})
    return result, groups[0] if len(groups) == 1 else None


def refuse_shared(run: FoldsRun, split: str) -> None:
    """Refuses a split whose images several folds have.

    Raises:
        SettingsError: it is not the test split.
    """
    if split != TEST:
        raise SettingsError(
            f"--split {split}: the folds of {run.path} share their {split} images, so that they cannot be "
            f"pooled: take --split test, or one fold, such as {run.path / run.names[0]}"
        )


def _each(run: FoldsRun, folds: Folds, progress: Steps, asked: Further) -> dict[str, Evaluation]:
    """The evaluation of each fold that has test images, by name; its folder has its own report too."""
    sizes = {name: len(dataset.split(TEST)) for name, dataset in folds.datasets.items()}
    results: dict[str, Evaluation] = {}
    before = 0
    for name, size in sizes.items():
        if size == 0:  # More folds than groups.
            continue
        start = before
        folder = run.folds[name]
        results[name] = evaluate_run(
            folder,
            TEST,
            folds.datasets[name],
            lambda n, _, s=start: progress(s + n, sum(sizes.values())),
            asked=asked,
        )
        if results[name].data is not None:
            raise DataError(f"{folder.path} was trained on other images than those of {folds.folder / name}")
        write_card(folder.path)
        write_report(folder.path)
        before += size
    return results


def _pooled_table(run: FoldsRun, folds: Folds, names: list[str]) -> pd.DataFrame:
    """The predictions of all folds with the fold of each; groups are numbered anew, over all of them."""
    parts: list[pd.DataFrame] = []
    for number, repeat in enumerate(by_repeat(names)):
        for name in repeat:
            groups = dict(
                zip(*(folds.datasets[name].table[column] for column in ("id", "group")), strict=True)
            )
            part = read_predictions(run.folds[name].predictions(TEST))
            parts.append(part.assign(group=part["id"].map(groups), fold=name, repeat=number))
    table = pd.concat(with_decisions(parts)).sort_values(["repeat", "id"], kind="stable", ignore_index=True)
    table["group"] = [f"g{number}" for number in pd.factorize(table["group"])[0]]
    first = ["id", "label", "group", "fold"]
    rest = [name for name in table.columns if name not in (*first, "repeat")]
    return cast("pd.DataFrame", table[[*first, *rest]])


def with_decisions(parts: list[pd.DataFrame]) -> list[pd.DataFrame]:
    """Returns the tables of all folds with d_<class> where one has them; without a shift they are p."""
    longest = max(parts, key=lambda part: len(part.columns))
    shifted = [name for name in longest.columns if name.startswith("d_") and f"p_{name[2:]}" in longest]
    return [
        part.assign(**{name: part[f"p_{name[2:]}"] for name in shifted if name not in part})[
            list(longest.columns)
        ]
        for part in parts
    ]


def _rows(table: pd.DataFrame, names: list[str]) -> pd.DataFrame:
    return cast("pd.DataFrame", table[table["fold"].isin(names)].reset_index(drop=True))


def _how(folds: Folds, repeats: list[list[str]]) -> str:
    """How the folds were measured together, in words."""
    number = len(repeats)
    mean = "each number is the mean over the repeats, each interval has the mean of their limits"
    if folds.info.folds is None:
        return f"{number} repeats, each with its own test images: {mean}"
    pooled = "each image was predicted by the model that was not trained on it"
    if number == 1:
        return f"{len(repeats[0])} folds pooled: {pooled}"
    return f"{number} repeats of {folds.info.folds} folds, pooled: {pooled}; {mean}"


def _external(
    run: FoldsRun, split: str, dataset: Dataset, progress: Steps, allow_overlap: bool, asked: Further
) -> tuple[Evaluation, pd.DataFrame | None]:
    """Another data set, answered by the mean of the models' probabilities."""
    model = load_average(run)
    asked.columns(list(dataset.table.columns))
    wanted = asked.wanted.understood(model.classes, split)
    wanted.check(model.source)
    pixels = pixels_for(model, dataset, split)
    first, *others = run.folds.values()
    overlap = overlap_with_training(
        first, model.members[0].card, dataset, split, pixels, own=False, allow=allow_overlap, also=others
    )
    file = run.predictions(split, dataset.info.manifest_sha256)
    write_predictions(file, predict_split(model, dataset, split, progress, pixels))
    table = read_predictions(file)
    result = evaluate(table, model.classes, model.card.bands, split)
    data = OtherData(title=dataset.info.title, manifest_sha256=dataset.info.manifest_sha256)
    how = f"the mean of the probabilities of the {len(model.members)} folds' models"
    together = FoldsResult(how=how, bacc={})
    found = fields_of(cases_of(table, model.classes), model.source, model.card, split, wanted)
    result = result.model_copy(update={"data": data, "overlap": overlap, "folds": together} | found)
    rows = dataset.split(split)
    around = Around(split, model.classes, model.card.bands, _OWN_SETS, rows, own=False)
    return further(result, table, around, asked)
