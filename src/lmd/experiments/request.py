"""What was asked of an experiment, checked as a whole before anything is written or trained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lmd import methods
from lmd.data.dataset.manifest import Dataset, read_dataset
from lmd.errors import DataError, SettingsError, suggest
from lmd.experiments import load
from lmd.experiments.base import BAND_NAMES, Experiment, Row
from lmd.fields import as_overrides, leaf_values
from lmd.settings import parse_override

FIRST_SEED = 42
FEWEST_POINTS = 10  # Of a projection: below that a picture says nothing.


@dataclass(frozen=True)
class Request:
    """The options of `lmd reproduce`; `overrides` are `name=value`, `data` folders or `block=folder`."""

    name: str
    data: Sequence[str]
    out: Path
    seeds: int = 3
    methods: str | None = None
    budget: str = "paper"
    weights: str | None = None
    partial_weights: bool = False
    overrides: Sequence[str] = ()
    allow_code: bool = False


def asked(name: str, data: Any, out: Path, options: Mapping[str, Any]) -> Request:
    """Returns the request that the arguments of `lmd.reproduce` make.

    Raises:
        SettingsError: there is no such option.
    """
    known = ("seeds", "methods", "budget", "weights", "partial_weights", "settings", "allow_code")
    for option in options:
        if option not in known:
            raise SettingsError(f"unknown option '{option}'{suggest(option, known)}")
    given = dict(options)
    overrides = as_overrides(given.pop("settings", ()))
    if not isinstance(given.get("methods"), str | None):
        given["methods"] = ",".join(map(str, given["methods"]))
    several = [data] if isinstance(data, str | Path | Dataset) else list(data)
    folders = [str(one.folder if isinstance(one, Dataset) else one) for one in several]
    return Request(name, folders, out, overrides=overrides, **given)


@dataclass(frozen=True)
class Job:
    """A request whose parts have all been found: nothing in it is unknown."""

    request: Request
    experiment: Experiment
    datasets: dict[str, Dataset]  # By block.
    rows: tuple[Row, ...]  # All that the table has,
    chosen: tuple[Row, ...]  # and those to train.

    @property
    def seeds(self) -> list[int]:
        """The seeds of each row."""
        return [FIRST_SEED + number for number in range(self.request.seeds)]


def check(request: Request) -> Job:
    """Returns the job that a request describes.

    Raises:
        SettingsError, DataError: one line on what is wrong.
    """
    experiment = load(request.name)
    if request.seeds < 1:
        raise SettingsError(f"--seeds {request.seeds}: at least one seed is needed")
    if request.budget not in methods.BUDGETS:
        raise SettingsError(f"unknown budget '{request.budget}'{suggest(request.budget, methods.BUDGETS)}")
    default = experiment.rows_of(request.budget)
    chosen = default if request.methods is None else _choose(experiment, default, request)
    _check_overrides(default, request.overrides, experiment.name)
    datasets = _datasets(experiment, request.data)
    added = tuple(row for row in chosen if row not in default)
    return Job(request, experiment, datasets, (*default, *added), chosen)


def _choose(experiment: Experiment, default: tuple[Row, ...], request: Request) -> tuple[Row, ...]:
    """The rows that --methods names: by their own name or, where the table is open, any method."""
    text = request.methods or ""
    rows = {row.key: row for row in default}
    chosen: dict[str, Row] = {}
    for name in filter(None, (part.strip() for part in text.split(","))):
        if name in rows:
            chosen[name] = rows[name]
            continue
        known = {*rows, *(methods.names() if experiment.open_rows else ())}
        if not experiment.open_rows or (name not in known and not name.endswith(".py")):
            raise SettingsError(f"--methods: {experiment.name} has no '{name}'{suggest(name, known)}")
        methods.load(name, request.allow_code)
        key = Path(name).stem if name.endswith(".py") else name
        if key in rows or key in chosen:
            raise SettingsError(f"--methods: '{name}' would be a second row '{key}'; rename the file")
        chosen[key] = Row(key, key, name, kind="asked")
    if not chosen:
        raise SettingsError(f"--methods '{text}' names no method; known: {', '.join(rows)}")
    return tuple(chosen.values())


def _check_overrides(rows: tuple[Row, ...], overrides: Sequence[str], name: str) -> None:
    """Refuses to set what the rows differ in, or what has an option of its own."""
    varied = {leaf for row in rows for leaf, _ in leaf_values(row.settings)}
    options = {"seed": "--seeds", "weights": "--weights", "partial_weights": "--partial-weights"}
    for override in overrides:
        named = [leaf for leaf, _ in leaf_values(parse_override(override))]
        if not named:
            raise SettingsError(f"--set {override}: it sets nothing")
        for setting in named:
            if setting in options:
                raise SettingsError(f"--set {setting}: use {options[setting]}")
            clash = [leaf for leaf in varied if f"{leaf}.".startswith(f"{setting}.")]
            if clash:
                raise SettingsError(f"--set {setting}: {name} itself sets {clash[0]} for some of its rows")


def _datasets(experiment: Experiment, data: Sequence[str]) -> dict[str, Dataset]:
    """The data set of each block."""
    if not data:
        raise SettingsError(f"{experiment.name} needs --data, a dataset folder made by 'lmd prepare'")
    keys = [block.key for block in experiment.blocks]
    if len(keys) == 1 and len(data) > 1:
        raise SettingsError(f"{experiment.name} is of one data set: name one --data, not {len(data)}")
    found: dict[str, Dataset] = {}
    for text in data:
        key, folder = _split_label(text, keys)
        dataset = read_dataset(folder)
        _check_dataset(experiment, dataset)
        key = key or _nearest_block(experiment, dataset, len(data))
        if key in found:
            raise SettingsError(f"--data: two folders for '{key}' ({found[key].folder} and {folder})")
        if any(dataset.info.manifest_sha256 == other.info.manifest_sha256 for other in found.values()):
            raise DataError(f"--data: {folder} is the same data set as another of this call")
        found[key] = dataset
    return {key: found[key] for key in keys if key in found}


def _split_label(text: str, keys: list[str]) -> tuple[str | None, Path]:
    """Takes `100=DIR` apart; without a label, or where the text is a folder as it stands, there is none."""
    label, equals, folder = text.partition("=")
    if not equals or Path(text).is_dir():
        return (keys[0] if len(keys) == 1 else None), Path(text)
    if len(keys) == 1:
        raise SettingsError(f"--data {text}: this experiment has one data set; name the folder alone")
    if label not in keys:
        raise SettingsError(f"--data {text}: no column '{label}'; known: {', '.join(keys)}")
    return label, Path(folder)


def _nearest_block(experiment: Experiment, dataset: Dataset, number: int) -> str:
    """The block whose imbalance is nearest to that of a folder without a label."""
    if number > 1:
        first = experiment.blocks[0].key
        raise SettingsError(f"several --data: say which is which, as in --data {first}={dataset.folder}")
    measured = imbalance(dataset)
    return min(experiment.blocks, key=lambda block: abs(np.log(float(block.key) / measured))).key


def imbalance(dataset: Dataset) -> float:
    """Returns the training images of the largest class over those of the smallest."""
    counts = dataset.counts("train")
    return float(counts.max() / max(counts.min(), 1))


def _check_dataset(experiment: Experiment, dataset: Dataset) -> None:
    """Refuses a data set on which the table could not be filled."""
    if not dataset.counts("train").any():
        raise DataError(f"{experiment.name} trains its runs; {dataset.folder} has no training image")
    if not dataset.counts("test").sum():
        raise DataError(f"{experiment.name} is measured on the test split; {dataset.folder} has none")
    if not experiment.needs_bands:
        return
    lacking = [band for band in BAND_NAMES if not dataset.info.bands.get(band)]
    if lacking:
        bands = ", ".join(dataset.info.bands) or "none"
        raise DataError(
            f"{experiment.name} needs classes in head, medium and tail; {dataset.folder} has none in "
            f"{lacking[0]} (bands: {bands})"
        )
    if experiment.points is not None:
        _check_points(experiment, dataset)


def _check_points(experiment: Experiment, dataset: Dataset) -> None:
    names = shown_classes(experiment, dataset)
    number = int(dataset.split("test")["label"].isin(names).sum())
    if number < FEWEST_POINTS or len(names) < 2:
        raise DataError(
            f"{experiment.name} shows the test images of {', '.join(names)}: {dataset.folder} has {number}, "
            f"and at least {FEWEST_POINTS} of two classes are needed"
        )


def shown_classes(experiment: Experiment, dataset: Dataset) -> list[str]:
    """Returns the classes that a projection shows, those without a test image left out.

    They are those of the paper's figure; on data that lack one of them, those that `points` names.
    """
    count = dict(zip(dataset.classes, dataset.counts("test"), strict=True))
    return [name for name in _wanted_classes(experiment, dataset, count) if count[name]]


def _wanted_classes(experiment: Experiment, dataset: Dataset, count: dict[str, int]) -> Sequence[str]:
    bands = dataset.info.bands
    if set(experiment.paper.classes) <= set(dataset.classes):
        return experiment.paper.classes
    if experiment.points == "largest":
        return [max(bands[band], key=lambda name: count[name]) for band in BAND_NAMES]
    return bands["tail"]
