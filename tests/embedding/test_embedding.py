"""lmd embed and lmd fit: what they write, and that it is what the network computes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

import lmd
from lmd.evaluation.leaks.seen import read_seen
from lmd.evaluation.probability.decisions import choose_tau, log_prior
from lmd.evaluation.probability.temperature import temperature_for
from lmd.evaluation.selective.unlikeness_files import read_unlikeness, unlikeness_of_features
from lmd.run import read_identity, read_model_card
from tests import toy
from tests.command import Command
from tests.embedding.conftest import Made


def probabilities(table: pd.DataFrame, kind: str) -> np.ndarray:
    return table[[f"{kind}_{name}" for name in toy.CLASSES]].to_numpy(dtype=float)


# Features.


def test_features_are_what_the_networks_answers_rest_on(made: Made) -> None:
    weights = load_file(made.run.weights)
    card = read_model_card(made.run)
    model = lmd.load(made.run)
    files = [made.dataset.root / name for name in made.dataset.table["file"]]
    logits = (
        made.features.values @ weights["classifier.weight"].numpy().T + weights["classifier.bias"].numpy()
    )
    ranking = torch.from_numpy(logits / card.outputs.temperature).softmax(1).numpy()
    np.testing.assert_allclose(probabilities(model.predict(files), "p"), ranking, atol=1e-5)


def test_features_come_in_the_order_of_the_manifest_with_groups_as_numbers(made: Made) -> None:
    table = pd.read_csv(made.features.folder / "manifest.csv", dtype=str)
    assert list(table.columns) == ["id", "label", "split", "group"]
    pd.testing.assert_frame_equal(table[["id", "label", "split"]], made.dataset.table[["id", "label", "split"]],
                                  check_dtype=False)  # fmt: skip
    assert table["group"].tolist() == [f"g{number}" for number in range(87)]
    X, y = made.features.split("val")
    np.testing.assert_array_equal(X, made.features.values[(table["split"] == "val").to_numpy()])
    assert y.tolist() == ["common"] * 8 + ["less"] * 4 + ["rare"] * 3


def test_embedding_again_gives_the_same_bytes(made: Made, tmp_path: Path) -> None:
    again = lmd.embed(
        str(made.dataset.folder),
        out=str(tmp_path / "again"),
        encoder="test_resnet",
        weights=made.weights,
        size=16,
    )
    for file in (
        "features.safetensors",
        "manifest.csv",
        "encoder.safetensors",
        "images.json",
        "features.json",
    ):
        assert (again.folder / file).read_bytes() == (made.features.folder / file).read_bytes(), file


def test_the_folder_says_where_its_features_are_from(made: Made) -> None:
    info = json.loads((made.features.folder / "features.json").read_text())
    assert info["encoder"] == "test_resnet"
    assert info["channels"] == made.features.values.shape[1] == 96
    assert info["counts"] == toy.COUNTS
    assert info["preprocessing"]["size"] == 16
    assert info["dataset"]["manifest_sha256"] == made.dataset.info.manifest_sha256
    assert info["weights_sha256"] == read_identity(made.run)["weights_sha256"]
    assert set(info["files"]) == {
        "features.safetensors",
        "manifest.csv",
        "encoder.safetensors",
        "images.json",
    }


def test_the_encoder_of_a_run_is_taken_with_its_size(made: Made, tmp_path: Path) -> None:
    features = lmd.embed(made.dataset, out=tmp_path / "again", run=made.run)
    np.testing.assert_array_equal(features.values, made.features.values)
    assert features.info.preprocessing == made.features.info.preprocessing
    assert features.info.weights == str(made.run.path)
    again = lmd.fit(features, out=tmp_path / "run")
    seen = read_seen(again)
    assert seen is not None
    assert seen.earlier is not None
    assert len(seen.earlier.files) == 57 + 15


# A run.


def test_a_run_has_what_every_run_has(made: Made) -> None:
    files = {path.name for path in made.run.path.iterdir()}
    assert {"settings.yaml", "environment.json", "metrics.jsonl", "predictions-val.csv"} <= files
    assert {"report.html", "MODEL_CARD.md"} <= files
    assert made.run.gaussians.is_file()
    card = read_model_card(made.run)
    assert card.training_counts == toy.COUNTS["train"]
    assert (card.outputs.tau, card.outputs.tau_by, card.outputs.prior) == (0.75, "settings", "unknown")
    seen = read_seen(made.run)
    assert seen is not None
    assert (len(seen.train.files), len(seen.val.files)) == (57, 15)


def test_evaluating_the_data_set_says_what_the_features_say(made: Made) -> None:
    result = lmd.evaluate(made.run)
    X, y = made.features.split("test")
    train_X, train_y = made.features.split("train")
    model = lmd.VirtualFeatureClassifier(random_state=42).fit(train_X, train_y)
    table = pd.read_csv(made.run.predictions("test"))
    assert table["predicted"].tolist() == model.predict(X).tolist()
    hits = table["predicted"].to_numpy() == y
    assert result.metrics["bacc"].value == pytest.approx(
        np.mean([hits[y == name].mean() for name in toy.CLASSES])
    )
    card = read_model_card(made.run)
    logits = np.log(model.ranking_proba(X)) / card.outputs.temperature
    expected = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    np.testing.assert_allclose(probabilities(table, "p"), expected, atol=1e-5)
    assert result.overlap is not None
    assert result.overlap.images == 0


def test_the_answers_on_validation_images_are_those_of_the_network(made: Made) -> None:
    kept = pd.read_csv(made.run.predictions("val"))
    lmd.evaluate(made.run, split="val")
    again = pd.read_csv(made.run.predictions("val"))
    assert kept.columns.tolist() == again.columns.tolist()
    assert kept[["id", "label", "group", "predicted"]].equals(again[["id", "label", "group", "predicted"]])
    for kind in ("p", "d"):
        np.testing.assert_allclose(probabilities(kept, kind), probabilities(again, kind), atol=1e-5)


def test_unlikeness_is_measured_by_the_directions_of_training_features(made: Made) -> None:
    features = made.features
    train, val = (features.values[features.rows(split)] for split in ("train", "val"))
    labels = features.labels[features.rows("train")]
    known = read_unlikeness(made.run)
    assert known is not None
    lengths = np.linalg.norm(train, axis=1, keepdims=True)
    means = np.stack([(train / lengths)[labels == k].mean(0) for k in range(len(features.info.classes))])
    wanted = unlikeness_of_features(
        *map(torch.from_numpy, (train, labels)), len(means), torch.from_numpy(val)
    )
    np.testing.assert_allclose(known.mean.numpy(), means, atol=1e-5)
    np.testing.assert_allclose(
        known.unlike(torch.from_numpy(val)), wanted.unlike(torch.from_numpy(val)), atol=1e-6
    )


def test_tau_and_temperature_are_fitted_on_the_validation_images(made: Made, tmp_path: Path) -> None:
    run = lmd.fit(made.features, out=tmp_path / "run", settings={"covariance": "oas"})
    train_X, train_y = made.features.split("train")
    model = lmd.VirtualFeatureClassifier(0, covariance="oas", random_state=42).fit(train_X, train_y)
    X, y = made.features.split("val")
    logits, labels = X @ model.coef_.T + model.intercept_, np.searchsorted(model.classes_, y)
    made_by = read_model_card(run).outputs
    assert made_by.tau_by == "validation"
    assert made_by.tau == choose_tau(logits, labels, log_prior(np.array(toy.COUNTS["train"])))
    temperature = temperature_for("unknown", logits, labels, np.array(toy.COUNTS["train"]))
    assert made_by.temperature == pytest.approx(temperature, rel=1e-3)


def test_without_validation_images_there_is_nothing_to_fit_on(tmp_path: Path, made: Made) -> None:
    data = toy.make_dataset(tmp_path, {"train": [6, 4, 1], "test": [2, 2, 2]})
    features = lmd.embed(
        data, out=tmp_path / "features", encoder="test_resnet", weights=made.weights, size=16
    )
    run = lmd.fit(features, out=tmp_path / "run")  # A class of one image will do.
    card = read_model_card(run)
    assert card.outputs.temperature_by == "none"
    assert card.validation_bacc is None
    assert not run.predictions("val").exists()
    model = lmd.VirtualFeatureClassifier("validation", random_state=42).fit(*features.split("train"))
    assert (card.outputs.tau, card.outputs.tau_by) == (model.tau_, "validation")


# The command.


def test_the_command_does_what_the_functions_do(lmd: Command, made: Made, tmp_path: Path) -> None:
    code, out, err = lmd(
        "embed", made.dataset.folder, "--encoder", "test_resnet", "--weights", made.weights, "--size", 16,
        "--out", tmp_path / "features",
    )  # fmt: skip
    assert code == 0, err
    assert "87 images, 96 channels" in out
    code, out, err = lmd("fit", tmp_path / "features", "--set", "tau=0.5", "--out", tmp_path / "run")
    assert code == 0, err
    assert f"next: lmd evaluate {tmp_path / 'run'}" in out
    assert "tau: 0.5" in (tmp_path / "run" / "settings.yaml").read_text()
    for verb in (
        ("evaluate", tmp_path / "run"),
        ("predict", tmp_path / "run", made.dataset.root / "image000.png"),
    ):
        code, out, err = lmd(*verb)
        assert code == 0, err
