"""The contract: what holds for every method, and so for every file that is put beside them.

A method inherits this suite by its name alone; `examples/my_method.py` stands for methods of users' own.
"""

from __future__ import annotations

import functools
import json
import math
import re
import shutil
import statistics
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file

import lmd.training.loop
from lmd import methods
from lmd.data.dataset.manifest import Dataset
from lmd.data.feed.loader import ImageSet
from lmd.data.feed.loader import image_set as real_image_set
from lmd.errors import DataError, LmdError, SettingsError
from lmd.evaluation.judge import evaluate_run
from lmd.evaluation.predict import load_model, predict_files
from lmd.fields import setting_names
from lmd.models.classifier import CosineClassifier, LinearClassifier
from lmd.recipe import read_recipe
from lmd.run import RunFolder, read_identity
from lmd.settings import CommonSettings, Optimisation, Tree, merge, resolve
from lmd.training.progress import Silent
from lmd.training.start import train
from tests import toy

ROOT = Path(__file__).parents[2]
EXAMPLE = str(ROOT / "examples" / "my_method.py")
STATUSES = {
    "the method",
    "preset of lmd",
    "baseline of the paper",
    "reconstruction",
    "ablation of the paper",
    "beyond the paper",
    "control",
}
PROVENANCE = re.compile(r"\b(paper|authors|ours)\b", re.IGNORECASE)
built_in = pytest.mark.parametrize("built_in", methods.names())


@pytest.fixture(scope="module", params=[*methods.names(), EXAMPLE], ids=lambda name: Path(name).stem)
def name(request: pytest.FixtureRequest) -> str:
    methods.load(request.param, allow_code=True)
    return request.param


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return toy.make_dataset(tmp_path_factory.mktemp("toy"))


@pytest.fixture(scope="module")
def two_grey_classes(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    counts = {"train": [12, 5], "val": [3, 3], "test": [3, 3]}
    return toy.make_dataset(tmp_path_factory.mktemp("grey"), counts, "L", toy.CLASSES[:2])


@pytest.fixture(scope="module")
def one_image_class(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    counts = {"train": [9, 4, 1], "val": [2, 2, 1], "test": [2, 2, 1]}
    return toy.make_dataset(tmp_path_factory.mktemp("single"), counts)


@pytest.fixture(scope="module")
def no_validation(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    counts = {"train": [12, 6, 3], "val": [0, 0, 0], "test": [2, 2, 1]}
    return toy.make_dataset(tmp_path_factory.mktemp("no_val"), counts)


def settings_of(name: str, **changes: Any) -> CommonSettings:
    return methods.settings_of(name, recipe=merge(toy.recipe(name), changes))


def weights_of(folder: RunFolder) -> dict[str, torch.Tensor]:
    return load_file(folder.weights)


def same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[key], second[key]) for key in first)


def records(folder: RunFolder) -> list[Tree]:
    """The history without the time that it took."""
    lines = folder.metrics.read_text().splitlines()
    return [{**json.loads(line), "seconds": None} for line in lines]


def finite(folder: RunFolder) -> bool:
    return all(bool(torch.isfinite(value).all()) for value in weights_of(folder).values())


class Snapshots(Silent):
    """Copies the run folder wherever a run may be interrupted: between the stages and after each epoch."""

    def __init__(self, out: Path, where: Path) -> None:
        self.out, self.where = out, where

    def started(self, stage: str, epoch: int, epochs: int) -> None:
        if epoch == 0 and stage != "stage1":
            shutil.copytree(self.out, self.where / f"{stage}-start")

    def finished(self, record: Tree) -> None:
        shutil.copytree(self.out, self.where / f"{record['stage']}-{record['epoch']}")


@pytest.fixture(scope="module")
def finished(name: str, dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """A run that nothing interrupted; copies of how it stood on the way lie beside it."""
    out = tmp_path_factory.mktemp("run") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LMD_CHECKPOINT_SECONDS", "0")  # No thread writes while a copy is made.
        return train(
            dataset, name, settings_of(name), out, progress=Snapshots(out, out.parent / "on-the-way")
        )


# Documented and sourced.


def leaves(tree: Tree, prefix: str = "") -> Iterator[str]:
    """The dotted names of all values of a nested tree."""
    for name, value in tree.items():
        if isinstance(value, dict):
            yield from leaves(value, f"{prefix}{name}.")
        else:
            yield prefix + name


def own_settings(method: methods.Method) -> list[str]:
    """The settings that a page has to explain: those that not every method has; of a preset, what it changes."""
    if methods.preset(method):
        return list(leaves(dict(methods.preset(method))))
    defaults = method.Settings().model_dump(mode="json")
    return [leaf for leaf in leaves(defaults) if leaf.split(".")[0] not in CommonSettings.model_fields]


def explained(page: str) -> set[str]:
    """The settings in the first column of a page's tables whose row says where the default is from."""
    rows = [line.split("|") for line in page.splitlines() if line.startswith("|")]
    rows = [cells for cells in rows if any(PROVENANCE.search(cell) for cell in cells[2:])]
    return {name for cells in rows for name in re.findall(r"`([^`]+)`", cells[1])}


@built_in
def test_it_is_documented_and_sourced(built_in: str) -> None:
    method = methods.load(built_in)
    assert methods.title(method).endswith(".")
    assert method.PAPER.strip()
    assert method.STATUS in STATUSES
    assert methods.implied_prior(method, methods.settings_of(built_in)) == method.PRIOR
    assert any(line.startswith(f"prior: {method.PRIOR}; ") for line in methods.describe(built_in))
    page = (ROOT / "docs" / "methods" / f"{built_in.replace('-', '_')}.md").read_text()
    assert page.startswith("# ")
    told = explained(page)
    # A group such as `stage1.optimisation` may be explained as one; a whole stage may not.
    parts = {
        leaf: {leaf, leaf.rpartition(".")[0] if leaf.count(".") > 1 else leaf}
        for leaf in own_settings(method)
    }
    assert [leaf for leaf, names in parts.items() if not names & told] == []
    known = {*setting_names(method.Settings)}
    assert [name for name in told if name.partition("=")[0].strip() not in known] == []


OPTIMISATION = re.compile(
    r"(?P<optimiser>SGD|Adam), rate (?P<lr>\S+), (?:momentum|beta_1) (?P<momentum>\S+), "
    r"(?:no decay|decay (?P<weight_decay>\S+)), `?(?P<schedule>\w+)"
)


def stated(cell: str) -> Any:
    """The default that a cell of a page states: its first word, or the numbers of an optimisation."""
    found = OPTIMISATION.match(cell)
    if found is None:
        word = yaml.safe_load(cell.strip("`").split()[0].strip("`,:;"))
        return number(None if word == "none" and not cell.startswith("`") else word)
    values = {"warmup_epochs": 0.0, **{name: number(text or 0) for name, text in found.groupdict().items()}}
    return {**values, "optimiser": found["optimiser"].lower()}


def number(value: Any) -> Any:
    """A number as such, also where YAML takes 1e-4 for a text."""
    try:
        return value if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        return value


@pytest.mark.parametrize(
    ("cell", "value"),
    [
        ("0.1: delta's place", 0.1),
        ("1e-6: r", 1e-6),
        ("true: only angles", True),
        ("none: the best of 0", None),
        ("`none`; or `rrl`", "none"),
        ("`noise`; or `sam`, one step", "noise"),
        ("30 epochs", 30),
    ],
)
def test_a_default_is_read_from_its_cell(cell: str, value: Any) -> None:
    assert stated(cell) == value


@built_in
def test_its_page_states_the_defaults(built_in: str) -> None:
    method = methods.load(built_in)
    settings = resolve(method.Settings, methods.preset(method))
    page = (ROOT / "docs" / "methods" / f"{built_in.replace('-', '_')}.md").read_text()
    rows = re.findall(r"^\| `([a-z0-9_.]+)` \| ([^|]+) \|(.*)", page, flags=re.MULTILINE)
    told = {name: cell for name, cell, source in rows if PROVENANCE.search(source)}
    assert told
    for name, cell in told.items():
        value = functools.reduce(getattr, name.split("."), cast("Any", settings))
        assert stated(cell) == (value.model_dump() if isinstance(value, Optimisation) else number(value)), (
            name
        )


@built_in
def test_it_has_a_line_in_the_index_and_a_recipe_that_resolves(built_in: str) -> None:
    file = built_in.replace("-", "_")
    assert f"({file}.md)" in (ROOT / "docs" / "methods" / "index.md").read_text()
    recipe = read_recipe(ROOT / "recipes" / "isic2019-64" / f"{file}.yaml")
    assert recipe.pop("method") == built_in
    assert methods.settings_of(built_in, recipe=recipe).size == 64


def test_its_budgets_resolve(name: str) -> None:
    method = methods.load(name)
    assert set(method.BUDGETS) <= set(methods.BUDGETS)
    sizes = {budget: methods.settings_of(name, budget).size for budget in methods.FIXED_BUDGETS}
    assert sizes == {"smoke": 32, "short": 64, "paper": 224}


# Settings.


def test_settings_survive_a_recipe(name: str) -> None:
    settings = settings_of(name, seed=7)
    text = yaml.safe_dump(settings.model_dump(mode="json"))
    assert resolve(type(settings), yaml.safe_load(text)) == settings
    assert settings != resolve(type(settings))


def test_bad_settings_are_refused_by_name(name: str) -> None:
    kind = methods.load(name).Settings
    defaults = kind().model_dump(mode="json")
    for leaf in leaves(defaults):
        with pytest.raises(SettingsError, match=rf"setting {re.escape(leaf)}\b"):
            resolve(kind, overrides=[f"{leaf}=[[]]"])
        with pytest.raises(SettingsError, match=rf"unknown setting '{re.escape(leaf)}x'; did you mean"):
            resolve(kind, overrides=[f"{leaf}x=1"])


def test_numbers_out_of_range_are_refused_by_name(name: str) -> None:
    kind = methods.load(name).Settings
    for leaf in leaves(kind().model_dump(mode="json")):
        for value in ("-1000000000.5", ".nan", "-.inf"):
            with pytest.raises(SettingsError, match=rf"setting {re.escape(leaf)}\b"):
                resolve(kind, overrides=[f"{leaf}={value}"])


# Training.


def totals(folder: RunFolder, stage: str) -> list[float]:
    """What a stage minimises, epoch by epoch: nothing where it does not train."""
    losses = [record["losses"] for record in records(folder) if record["stage"] == stage]
    key = next((key for key in ("total", "maximise") if key in losses[0]), None)
    return [] if key is None else [terms[key] for terms in losses]


def longer(name: str) -> Tree:
    """More epochs of each stage that trains."""
    changes: Tree = {"stage1": {"epochs": 10, "optimisation": {"schedule": "constant", "warmup_epochs": 0.0}}}
    settings = settings_of(name)
    if hasattr(getattr(settings, "stage2", None), "epochs"):
        changes["stage2"] = {"epochs": 10}
    elif hasattr(settings, "iterations"):
        changes |= {"iterations": 5, **slow_encoder(name)}
    return changes


def slow_encoder(name: str) -> Tree:
    """ICC's own rate for the encoder; the toy's is a thousand times that, and FDC is unbounded below."""
    own = hasattr(settings_of(name), "e_step")
    return {"e_step": {"optimisation": {"lr": 1e-6}}} if own else {}


def test_losses_are_finite_and_fall(name: str, dataset: Dataset, tmp_path: Path) -> None:
    folder = train(dataset, name, settings_of(name, **longer(name)), tmp_path / "run")
    told = [value for record in records(folder) for value in record["losses"].values()]
    assert told
    assert all(map(math.isfinite, told))
    for stage in {record["stage"] for record in records(folder)}:
        values = totals(folder, stage)
        assert not values or statistics.mean(values[-3:]) < values[0], (stage, values)


def test_same_seed_same_weights_and_the_test_split_is_never_touched(
    name: str, finished: RunFolder, dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Asking for the test images fails, and their labels are others: the weights are the same."""

    def guarded(dataset: Dataset, split: str, pixels: Any) -> ImageSet:
        assert split != "test"
        return real_image_set(dataset, split, pixels)

    monkeypatch.setattr(lmd.training.loop, "image_set", guarded)
    table = dataset.table.copy()
    table.loc[table["split"] == "test", "label"] = "common"
    again = train(Dataset(dataset.folder, table, dataset.info), name, settings_of(name), tmp_path / "again")
    assert same(weights_of(finished), weights_of(again))
    assert records(finished) == records(again)


def test_another_seed_gives_other_weights(
    name: str, finished: RunFolder, dataset: Dataset, tmp_path: Path
) -> None:
    other = weights_of(train(dataset, name, settings_of(name, seed=1), tmp_path / "other"))
    changed = {key for key, value in weights_of(finished).items() if not torch.equal(value, other[key])}
    assert any(key.startswith("encoder") for key in changed)
    assert any(key.startswith("classifier") for key in changed)


def test_interrupted_anywhere_and_resumed_equals_uninterrupted(
    name: str, finished: RunFolder, dataset: Dataset
) -> None:
    stops = sorted((finished.path.parent / "on-the-way").iterdir())
    assert len(stops) >= 3
    for stop in stops:
        resumed = train(dataset, name, settings_of(name), stop, resume=True)
        assert same(weights_of(finished), weights_of(resumed)), stop.name
        assert records(finished) == records(resumed), stop.name
        assert (
            json.loads(finished.model.read_text())["validation_bacc"]
            == (json.loads(resumed.model.read_text())["validation_bacc"])
        )


def test_validation_has_its_say_on_the_model_that_is_kept(name: str, finished: RunFolder) -> None:
    last = records(finished)[-1]["stage"]
    scores = [line["validation"].get("bacc") for line in records(finished) if line["stage"] == last]
    assert all(score is not None for score in scores)
    chosen = json.loads(finished.model.read_text())["validation_bacc"]
    if settings_of(name).select == "last":
        assert chosen is None
    else:  # A stage may offer several networks in an epoch; the line of the epoch shows its last one.
        assert chosen >= max(scores)


def test_it_evaluates_and_predicts(name: str, finished: RunFolder, dataset: Dataset) -> None:
    result = evaluate_run(finished, "test")
    assert result.n == sum(toy.COUNTS["test"])
    model = load_model(finished)
    file = dataset.paths()[-1]
    (answers, _), written = predict_files(model, [file]), finished.predictions("test").read_text()
    row = dict(
        zip(*(line.split(",") for line in (written.splitlines()[0], written.splitlines()[-1])), strict=True)
    )
    for label in toy.CLASSES:
        assert float(row[f"p_{label}"]) == pytest.approx(float(answers[f"p_{label}"].iloc[0]), abs=1e-5)
    assert float(answers.filter(like="p_").sum(axis=1).iloc[0]) == pytest.approx(1.0)
    assert isinstance(model.network.classifier, LinearClassifier | CosineClassifier)
    assert read_identity(finished)["method"] == name


def number_of_stages(name: str) -> int:
    return len(methods.load(name).stages(settings_of(name), np.array(toy.COUNTS["train"])))


def test_its_second_stage_runs_from_a_finished_first_one(
    name: str, finished: RunFolder, dataset: Dataset, tmp_path: Path
) -> None:
    """`--from` itself gives the same weights; a method of one stage has nothing to take over."""
    if number_of_stages(name) == 1:
        with pytest.raises(SettingsError, match="has one stage"):
            train(dataset, name, settings_of(name), tmp_path / "run", start=finished)
        assert not (tmp_path / "run").exists()
        return
    again = train(dataset, name, settings_of(name), tmp_path / "run", start=finished)
    assert same(weights_of(finished), weights_of(again))
    assert records(again) == [record for record in records(finished) if record["stage"] != "stage1"]


# Unusual data.


def test_two_classes_of_grey_images(name: str, two_grey_classes: Dataset, tmp_path: Path) -> None:
    folder = train(two_grey_classes, name, settings_of(name), tmp_path / "run")
    assert finite(folder)
    assert len(weights_of(folder)["classifier.weight"]) == 2


def test_a_class_of_one_image_absent_from_most_batches(
    name: str, one_image_class: Dataset, tmp_path: Path
) -> None:
    """Batches of two images have two of the three classes at most.

    BatchNorm over two images is a sign and its gradient may be large: at ten times this rate one seed in
    twenty diverges.
    """
    changes = merge(slow_encoder(name), {"batch": 2, "stage1": {"optimisation": {"lr": 0.001}}})
    folder = train(one_image_class, name, settings_of(name, **changes), tmp_path / "run")
    assert finite(folder)


def test_without_validation_it_trains_or_says_why(name: str, no_validation: Dataset, tmp_path: Path) -> None:
    reason = ""
    try:
        folder = train(no_validation, name, settings_of(name), tmp_path / "run")
    except LmdError as error:
        reason = str(error)
    if reason:
        assert re.fullmatch(r".*\bvalidation\b.*", reason)
    else:
        assert finite(folder)


def test_half_precision(name: str, dataset: Dataset, tmp_path: Path) -> None:
    folder = train(dataset, name, settings_of(name, precision="bf16", size=32), tmp_path / "run")
    assert finite(folder)
    assert {value.dtype for value in weights_of(folder).values()} <= {torch.float32, torch.int64}


def test_one_class_is_refused(name: str, dataset: Dataset, tmp_path: Path) -> None:
    table = dataset.table[dataset.table["label"] == "common"]
    alone = Dataset(dataset.folder, table, dataset.info.model_copy(update={"classes": ["common"]}))
    with pytest.raises(DataError, match=r"at least two classes, found \['common'\]"):
        train(alone, name, settings_of(name), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_class_without_training_images_is_refused(name: str, dataset: Dataset, tmp_path: Path) -> None:
    table = dataset.table[(dataset.table["label"] != "rare") | (dataset.table["split"] != "train")]
    with pytest.raises(DataError, match="class 'rare' has no training image"):
        train(Dataset(dataset.folder, table, dataset.info), name, settings_of(name), tmp_path / "run")
    assert not (tmp_path / "run").exists()
