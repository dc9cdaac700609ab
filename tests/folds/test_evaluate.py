"""Folds measured together: out-of-fold predictions pooled, repeats, and other data."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import balanced_accuracy_score, roc_auc_score

import lmd as package
from lmd.data.dataset.folds_folder import Folds
from lmd.data.dataset.manifest import Dataset
from lmd.errors import DataError
from lmd.evaluation import measure
from lmd.evaluation.results import Evaluation, read_evaluation
from lmd.folds.evaluate import with_decisions
from lmd.folds.folder import cards, read_folds_run
from lmd.folds.pooled_card import pooled_card
from lmd.run import RunFolder
from lmd.seals import sealed_json
from tests import toy
from tests.command import Command, refused
from tests.folds.conftest import SETTINGS, make_folds, write_raw


def predictions(run: Path, on: str = "") -> pd.DataFrame:
    return pd.read_csv(RunFolder(run).predictions("test", on), dtype={"id": str, "group": str})


def measured(table: pd.DataFrame, bands: dict[str, list[str]]) -> Evaluation:
    """What the public function says of a table of predictions."""
    names = [name.removeprefix("p_") for name in table.columns if name.startswith("p_")]
    labels = table["label"].map({name: k for k, name in enumerate(names)})
    shares = table[[f"p_{name}" for name in names]].to_numpy()
    return measure(labels.to_numpy(), shares, table["group"].to_numpy(), classes=names, bands=bands)


def test_pooled_is_measure_on_the_predictions_of_all_folds(lmd: Command, folds: Folds, run: Path) -> None:
    code, out, err = lmd("evaluate", run)
    assert code == 0, err
    table = predictions(run)
    assert sorted(table["id"]) == sorted(folds.first.table["id"])
    parts = pd.concat([pd.read_csv(run / name / "predictions-test.csv") for name in folds.names])
    joined = table.merge(parts, on="id", suffixes=("", "_fold"))
    for name in ("label", "predicted", *(f"p_{label}" for label in toy.CLASSES)):
        assert joined[name].equals(joined[f"{name}_fold"]), name
    tested = {name: set(folds.datasets[name].split("test")["id"]) for name in folds.names}
    assert {name: set(rows["id"]) for name, rows in table.groupby("fold")} == tested
    patients = dict(zip(folds.first.table["id"], folds.first.table["group"], strict=True))
    assert table.groupby(table["id"].map(patients))["group"].nunique().max() == 1
    assert table["group"].nunique() == 30
    assert not set(table["group"]) & set(patients.values())  # No patient is named.
    result = read_evaluation(run / "evaluation-test.json")
    wanted = measured(table, result_bands(result))
    for name in ("metrics", "bands", "classes", "confusion", "interval", "n"):
        assert getattr(result, name) == getattr(wanted, name), name
    assert result.n == 60
    assert result.interval.clusters == 30
    told = next(line for line in out.splitlines() if line.startswith("balanced accuracy"))
    assert str(wanted.metrics["bacc"]) in told
    assert "3 folds pooled: each image was predicted by the model that was not trained on it" in out


def result_bands(result: Evaluation) -> dict[str, list[str]]:
    return {name: band.classes for name, band in result.bands.items()}


def test_repeats_are_the_mean_of_each_and_not_more_patients(raw: Path, tmp_path: Path) -> None:
    folds = make_folds(raw, tmp_path / "cv", folds=2, repeats=2)
    settings = {**SETTINGS, "stage1": {"epochs": 1}}
    package.train(folds, method="ce", settings=settings, out=tmp_path / "run")
    result = package.evaluate(tmp_path / "run")
    table = predictions(tmp_path / "run")
    assert len(table) == 120
    bands = result_bands(result)
    repeats = [
        measured(rows, bands) for _, rows in table.groupby(table["fold"].str.split("/").str[0], sort=True)
    ]
    assert [repeat.n for repeat in repeats] == [60, 60]
    assert result.n == 60
    assert result.interval.clusters == 30
    for name, found in result.metrics.items():
        for part in ("value", "low", "high"):
            values = [getattr(repeat.metrics[name], part) for repeat in repeats]
            mean = None if None in values else pytest.approx(np.mean(values))  # A few images: no interval.
            assert getattr(found, part) == mean, (name, part)
    assert result.metrics["bacc"].low is not None
    for k, entry in enumerate(result.classes):
        assert entry.n == repeats[0].classes[k].n
        assert entry.recall.value == pytest.approx(np.mean([one.classes[k].recall.value for one in repeats]))
    assert np.sum(result.confusion) == 120
    assert result.folds is not None
    assert result.folds.how.startswith("2 repeats of 2 folds")
    assert set(result.folds.bacc) == set(folds.names)


def test_what_folds_share_is_not_pooled(lmd: Command, run: Path) -> None:
    for split in ("val", "train"):
        refused(lmd("evaluate", run, "--split", split), f"--split {split}", "run/fold-1", "--split test")


def test_other_data_are_answered_by_the_mean_of_the_models(lmd: Command, run: Path, tmp_path: Path) -> None:
    raw = write_raw(tmp_path / "raw", first=1000)
    told = {"root": raw / "images", "table": raw / "cases.csv", "fractions": (0, 0, 1)}
    other = package.prepare("table", tmp_path / "clinic", **told)
    assert isinstance(other, Dataset)
    code, out, err = lmd("evaluate", run, "--data", other.folder)
    assert code == 0, err
    assert "the mean of the probabilities of the 3 folds' models" in out
    on = other.info.manifest_sha256
    table = predictions(run, on)
    shares = [f"p_{name}" for name in toy.CLASSES]
    answers = [
        package.load(run / name).predict([other.root / file for file in other.split("test")["file"]])[shares]
        for name in ("fold-1", "fold-2", "fold-3")
    ]
    np.testing.assert_allclose(table[shares], np.mean(answers, axis=0), atol=1e-6)
    result = read_evaluation(RunFolder(run).evaluation("test", on))
    assert result.data is not None
    assert (result.n, result.data.title) == (60, "cases")
    assert result.overlap is not None
    assert result.overlap.images == 0


def test_images_that_any_fold_was_trained_on_are_refused(lmd: Command, folds: Folds, run: Path) -> None:
    """The test images of fold-1 are new to its own model, and the other two were trained on them."""
    first = folds.folder / "fold-1"
    refused(lmd("evaluate", run, "--data", first), "trained on", "--allow-overlap")
    code, out, err = lmd("evaluate", run, "--data", first, "--allow-overlap")
    assert code == 0, err
    result = read_evaluation(RunFolder(run).evaluation("test", folds.first.info.manifest_sha256))
    assert result.overlap is not None
    assert result.overlap.images == len(folds.first.split("test"))
    assert "OVERLAP" in out


def test_folds_that_do_not_fit_are_refused(
    lmd: Command, folds: Folds, run: Path, raw: Path, tmp_path: Path
) -> None:
    other = make_folds(raw, tmp_path / "other", folds=3, seed=1)
    refused(lmd("evaluate", run, "--data", other.folder), "other folds than", "other/fold-1")
    refused(lmd("evaluate", run / "fold-1", "--data", folds.folder), "has folds", "cv/fold-1")
    text = (run / "fold-2" / "settings.yaml").read_text()
    (run / "fold-2" / "settings.yaml").write_text(text.replace("batch: 8", "batch: 9"))
    refused(lmd("evaluate", run), "fold-2 is no fold of", "batch is 9, not 8")
    (run / "fold-2" / "settings.yaml").write_text(text.replace("method: ce", "method: rs"))
    refused(lmd("evaluate", run), "its method is 'rs', not 'ce'")
    (run / "fold-2" / "settings.yaml").write_text(text)
    shutil.copytree(run / "fold-1", run / "fold-2", dirs_exist_ok=True)
    refused(lmd("evaluate", run), "was not trained on fold-2")
    shutil.rmtree(run / "fold-2")
    refused(lmd("evaluate", run), "fold-2", "has not finished", "--resume")


def test_a_moved_folder_is_asked_for_and_found(lmd: Command, folds: Folds, run: Path, tmp_path: Path) -> None:
    told = json.loads((run / "folds-run.json").read_text())
    (run / "folds-run.json").write_text(json.dumps({**told, "data": "/nowhere/cv"}))
    refused(lmd("evaluate", run), "no longer at /nowhere/cv", "--data DIR")
    moved = shutil.copytree(folds.folder, tmp_path / "moved")
    code, out, err = lmd("evaluate", run, "--data", moved)
    assert code == 0, err
    assert "3 folds pooled" in out


def test_changed_images_are_refused(folds: Folds, run: Path, tmp_path: Path) -> None:
    """Another clinic's images of the same names: no fold was trained on them."""
    shutil.copytree(folds.folder, tmp_path / "cv", ignore=shutil.ignore_patterns("cache"))
    shutil.copytree(folds.first.root, tmp_path / "images")
    for file in (tmp_path / "cv").rglob("dataset.json"):
        file.write_text(json.dumps({**json.loads(file.read_text()), "image_root": str(tmp_path / "images")}))
    name = folds.datasets["fold-1"].split("train")["file"].iloc[0]
    shutil.copy(tmp_path / "images" / "x59.png", tmp_path / "images" / name)
    with pytest.raises(DataError, match="trained on"):
        package.evaluate(run, data=tmp_path / "cv")


def test_a_fold_can_still_be_measured_alone(lmd: Command, run: Path) -> None:
    code, _, err = lmd("evaluate", run / "fold-3", "--split", "val")
    assert code == 0, err
    assert RunFolder(run / "fold-3").evaluation("val").is_file()
    assert read_folds_run(run).names == ["fold-1", "fold-2", "fold-3"]


def test_a_fold_that_does_not_shift_has_its_ranking_as_decisions_beside_one_that_does() -> None:
    plain = pd.DataFrame({"id": ["a"], "predicted": ["x"], "p_x": ["0.7"], "p_y": ["0.3"]})
    shifted = plain.assign(id="b", d_x="0.4", d_y="0.6", predicted="y")
    both = with_decisions([plain, shifted])
    assert [list(part.columns) for part in both] == [list(shifted.columns)] * 2
    assert both[0][["d_x", "d_y"]].to_numpy().tolist() == [["0.7", "0.3"]]
    assert with_decisions([plain, plain])[0].equals(plain)


def test_folds_that_shift_are_pooled_and_averaged_with_both(lmd: Command, folds: Folds, run: Path) -> None:
    """The cards say another tau: no training is needed for it."""
    for name in folds.names:
        card = run / name / "model" / "model.json"
        tree = json.loads(card.read_text())
        del tree["sha256"]
        tree["outputs"] |= {"tau": 1.5, "temperature": 2.0}
        card.write_text(sealed_json(tree))
    code, out, err = lmd("evaluate", run)
    assert code == 0, err
    assert "are shifted to rare classes, tau 1.5; AUC ranks by p" in out
    table = predictions(run)
    shares, decisions = (table[[f"{kind}_{name}" for name in toy.CLASSES]].to_numpy() for kind in "pd")
    decided = table["predicted"].to_numpy()
    assert decided.tolist() == np.array(toy.CLASSES)[decisions.argmax(1)].tolist()
    labels = table["label"].map({name: k for k, name in enumerate(toy.CLASSES)})
    metrics = read_evaluation(run / "evaluation-test.json").metrics
    auc = roc_auc_score(labels, shares, multi_class="ovr", average="macro")
    assert metrics["auc"].value == pytest.approx(auc)
    assert metrics["bacc"].value == pytest.approx(balanced_accuracy_score(table["label"], decided))
    image = folds.first.root / "x58.png"
    answer = package.load(run, average=True).predict(image)
    each = [package.load(run / name).predict(image).filter(regex="^p_") for name in folds.names]
    mean = np.mean(each, axis=0)
    np.testing.assert_allclose(answer.filter(regex="^p_"), mean, atol=1e-6)
    counts = np.array(pooled_card(cards(read_folds_run(run))).training_counts)
    wanted = mean * (counts / counts.sum()) ** (-1.5 / 2.0)
    np.testing.assert_allclose(answer.filter(regex="^d_"), wanted / wanted.sum(), atol=1e-6)
