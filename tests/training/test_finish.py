"""What ends a training: tau, the temperature and the answers on the validation images."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from safetensors.torch import load_file

from lmd import methods
from lmd.data.dataset.manifest import Dataset
from lmd.data.decode.cache import open_cache
from lmd.data.feed.loader import image_set
from lmd.evaluation.judge import evaluate_run
from lmd.evaluation.outputs import logits_of
from lmd.evaluation.predict import load_model
from lmd.evaluation.probability.decisions import choose_tau, log_prior, margin_score, softmax, width_of
from lmd.evaluation.probability.temperature import fit_temperature
from lmd.run import RunFolder, read_identity, read_model_card
from lmd.seals import sealed_json
from lmd.settings import merge
from lmd.training.start import train
from tests import toy
from tests.command import Command, refused

PRIOR = log_prior(np.array(toy.COUNTS["train"]))
SHIFTED: dict[str, Any] = {"tau": 1.5, "calibration": "temperature", "select": "val_margin"}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return toy.make_dataset(tmp_path_factory.mktemp("toy"))


@pytest.fixture(scope="module")
def runs(dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> dict[str, RunFolder]:
    """CE with its last epoch kept, without and with a shift, and by validation."""
    place = tmp_path_factory.mktemp("runs")
    changes: dict[str, dict[str, Any]] = {
        "plain": {"select": "last"},
        "shifted": {**SHIFTED, "select": "last"},
        "chosen": {**SHIFTED, "tau": "validation"},
    }
    return {name: train_ce(dataset, place / name, **change) for name, change in changes.items()}


def train_ce(dataset: Dataset, out: Path, **changes: Any) -> RunFolder:
    return train(dataset, "ce", methods.settings_of("ce", recipe=merge(toy.COMMON, changes)), out)


def logits_and_labels(run: RunFolder, dataset: Dataset) -> tuple[np.ndarray, np.ndarray]:
    images = image_set(dataset, "val", open_cache(dataset, 16, "none"))
    return logits_of(load_model(run), images.pixels), images.labels.numpy()


def history(run: RunFolder) -> list[dict[str, Any]]:
    return [json.loads(line)["validation"] for line in run.metrics.read_text().splitlines()]


def test_no_shift_and_no_temperature_touches_the_weights(runs: dict[str, RunFolder]) -> None:
    plain, shifted = (load_file(runs[name].weights) for name in ("plain", "shifted"))
    assert all(torch.equal(plain[name], shifted[name]) for name in plain)


def test_the_card_says_what_the_outputs_are(runs: dict[str, RunFolder], dataset: Dataset) -> None:
    logits, labels = logits_and_labels(runs["shifted"], dataset)
    offset = log_prior(np.array(toy.COUNTS["val"])) - PRIOR
    best, temperature = choose_tau(logits, labels, PRIOR), fit_temperature(logits, labels, offset)
    assert temperature is not None
    made = read_model_card(runs["shifted"]).outputs
    assert (made.tau, made.tau_by, made.temperature_by) == (1.5, "settings", "validation")
    assert made.prior == "training"
    assert made.temperature == pytest.approx(temperature, rel=1e-4)
    assert made.tau_validation == pytest.approx(best)
    plain = read_model_card(runs["plain"])
    assert (plain.outputs.tau, plain.outputs.temperature, plain.outputs.temperature_by) == (0, 1, "none")
    assert plain.format == 3


def test_the_answers_on_validation_are_there_and_those_of_evaluate(
    runs: dict[str, RunFolder], dataset: Dataset
) -> None:
    run = runs["shifted"]
    written = run.predictions("val").read_text()
    table = pd.read_csv(run.predictions("val"))
    logits, labels = logits_and_labels(run, dataset)
    made = read_model_card(run).outputs
    wanted = softmax(logits / made.temperature)
    np.testing.assert_allclose(table.filter(regex="^p_"), wanted, atol=1e-6)
    shifted = softmax((logits - 1.5 * PRIOR) / made.temperature)
    np.testing.assert_allclose(table.filter(regex="^d_"), shifted, atol=1e-6)
    assert table["label"].tolist() == np.array(toy.CLASSES)[labels].tolist()
    result = evaluate_run(run, "val")
    assert run.predictions("val").read_text() == written
    assert result.metrics["bacc"].value == pytest.approx(history(run)[-1]["bacc"])
    assert result.metrics["auc"].value == pytest.approx(history(run)[-1]["auc"], abs=0.02)  # T moves it.


def test_validation_chooses_tau_and_the_epoch_by_the_smoothed_criterion(
    runs: dict[str, RunFolder], dataset: Dataset
) -> None:
    card, lines = read_model_card(runs["chosen"]), history(runs["chosen"])
    logits, labels = logits_and_labels(runs["chosen"], dataset)
    assert card.outputs.tau_by == "validation"
    assert card.outputs.tau == card.outputs.tau_validation == choose_tau(logits, labels, PRIOR)
    kept = max(lines, key=lambda line: line["margin"])
    assert card.selected_by == "val_margin"
    assert (card.validation_margin, card.validation_bacc) == (kept["margin"], kept["bacc"])
    assert card.outputs.tau == kept["tau"]
    wanted = margin_score(logits - kept["tau"] * PRIOR, labels, width_of(logits))
    assert kept["margin"] == pytest.approx(wanted, abs=1e-5)
    assert all("tau" not in line for line in history(runs["shifted"]))


def test_without_validation_images_tau_is_a_number(tmp_path: Path, lmd: Command) -> None:
    counts = {"train": [12, 6, 3], "val": [0, 0, 0], "test": [2, 2, 1]}
    data = toy.make_dataset(tmp_path / "data", counts)
    words = [f"--set={name}={json.dumps(value)}" for name, value in toy.COMMON.items() if name != "stage1"]
    train = ("train", data.folder, "--method", "ce", "--budget", "paper", "--set", "stage1.epochs=1", *words)
    refused(
        lmd(*train, "--set", "tau=validation", "--out", tmp_path / "no"),
        "setting tau = 'validation'", "has no validation image", "tau=0.75",
    )  # fmt: skip
    assert not (tmp_path / "no").exists()
    code, _, err = lmd(
        *train, "--set", "tau=0.75", "--set", "calibration=temperature", "--out", tmp_path / "r"
    )
    assert code == 0, err
    made = read_model_card(RunFolder(tmp_path / "r")).outputs
    assert (made.tau, made.tau_validation, made.temperature) == (0.75, None, 1.0)
    assert not RunFolder(tmp_path / "r").predictions("val").exists()


def test_the_commands_say_which_probabilities_are_for_what(
    runs: dict[str, RunFolder], dataset: Dataset, lmd: Command
) -> None:
    words = (
        "p_<class> are for ranking; decisions ('predicted' and d_<class>) are shifted to rare classes, tau"
    )
    _, out, _ = lmd("evaluate", runs["shifted"].path)
    assert f"{words} 1.5; AUC ranks by p; all else counts decisions" in out
    _, out, err = lmd("predict", runs["shifted"].path, dataset.paths()[-1])
    assert f"{words} 1.5" in err
    assert ",p_common,p_less,p_rare,d_common,d_less,d_rare" in out.splitlines()[0]
    _, out, err = lmd("predict", runs["plain"].path, dataset.paths()[-1])
    assert "ranking" not in err
    assert "d_common" not in out


def test_the_model_card_for_people_says_so_too(runs: dict[str, RunFolder], lmd: Command) -> None:
    assert lmd("evaluate", runs["shifted"].path)[0] == lmd("evaluate", runs["plain"].path)[0] == 0
    text = (runs["shifted"].path / "MODEL_CARD.md").read_text()
    assert (
        "Rank by the probabilities `p_<class>`. They belong to classes as frequent as in the training" in text
    )
    assert (
        "Decide by `predicted`, the largest of `d_<class>`: these are shifted to rare classes, by tau = 1.5"
        in text
    )
    assert "(fitted on validation)" in text
    text = (runs["plain"].path / "MODEL_CARD.md").read_text()
    assert "The decision is the class with the largest of them." in text
    assert "1 (not fitted)" in text


def as_of_version_0_2(run: Path, **changes: Any) -> None:
    """A run folder as version 0.2 left it, with other settings besides."""
    settings = yaml.safe_load((run / "settings.yaml").read_text())
    for name in ("tau", "calibration", "adjustment"):
        settings.pop(name, None)
    (run / "settings.yaml").write_text(yaml.safe_dump(settings | changes, sort_keys=False))
    if (run / "model" / "model.json").exists():
        card = json.loads((run / "model" / "model.json").read_text())
        for name in ("sha256", "outputs", "validation_margin"):
            del card[name]
        (run / "model" / "model.json").write_text(sealed_json({**card, "format": 2}))


def test_a_run_of_an_earlier_version_is_what_it_was(
    runs: dict[str, RunFolder], tmp_path: Path, lmd: Command
) -> None:
    """It is evaluated without a shift; and going on with it, whatever the budget lays now, is no change."""
    run = Path(shutil.copytree(runs["plain"].path, tmp_path / "run"))
    as_of_version_0_2(run)
    (run / "predictions-val.csv").unlink()
    assert read_identity(RunFolder(run))["settings"]["tau"] == 0.0
    result = evaluate_run(RunFolder(run), "val")
    assert result.metrics["bacc"].value == pytest.approx(history(runs["plain"])[-1]["bacc"])
    written = (run / "predictions-val.csv").read_text()
    assert "d_common" not in written
    (run / "predictions-val.csv").unlink()
    evaluate_run(RunFolder(run), "test")
    assert (run / "predictions-val.csv").read_text() == written
    data = read_identity(RunFolder(run))["data"]
    code, _, err = lmd("train", data, "--out", run, "--resume")
    assert code == 0, err


def test_the_tau_of_an_earlier_logit_adjustment_is_its_adjustment() -> None:
    from lmd.run import upgraded

    old = {"tau": 1.5, "select": "val_bacc"}
    assert upgraded(old) == {
        "freeze": "none", "last_batch": "drop", "tau": 0.0, "calibration": "none", "select": "val_bacc",
        "adjustment": 1.5,
    }  # fmt: skip
    new = {"tau": 0.75, "calibration": "none", "adjustment": 1.0, "freeze": "all", "last_batch": "even"}
    assert upgraded(new) == new
