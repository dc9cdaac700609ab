"""A folds run is exported as one model, the mean of its folds' probabilities."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import lmd
from lmd.deployment.export.asked import Asked
from lmd.deployment.export.images import data_of, pixels_of, sample_of
from lmd.deployment.export.onnx_file import answering
from lmd.deployment.export.run import Work
from lmd.folds.evaluate import own_folds
from lmd.folds.folder import FoldsRun, opened
from lmd.parallel import quiet
from tests.deployment.export.conftest import SETTINGS
from tests.folds.conftest import make_folds, write_raw

pytestmark = pytest.mark.slow  # Two trainings and an export of both; test_whole.py has the mean itself.
CLASSES = ["common", "less", "rare"]


@pytest.fixture(scope="module")
def folds_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("several")
    folds = make_folds(write_raw(place / "raw"), place / "cv", folds=2)
    lmd.train(folds, method="ce", settings=SETTINGS, out=place / "run")
    return place / "run"


def test_it_answers_as_predict_average_does(folds_run: Path, tmp_path: Path) -> None:
    told = lmd.export(folds_run, out=tmp_path / "out")
    files = sorted((folds_run.parent / "raw" / "images").glob("*.png"))[::9]
    table = lmd.load(folds_run, average=True).predict(files)
    run = opened(folds_run)
    assert isinstance(run, FoldsRun)
    dataset = own_folds(run, None).first
    place = {Path(file).name: row for row, file in enumerate(dataset.table["file"])}
    rows = np.array([place[file.name] for file in files])
    model = lmd.load(folds_run, average=True)
    p, d = answering(tmp_path / "out" / "model.onnx")(pixels_of(model.card.preprocessing, dataset, rows))
    np.testing.assert_allclose(p, table[[f"p_{name}" for name in CLASSES]], atol=1e-5)
    np.testing.assert_allclose(d, table[[f"d_{name}" for name in CLASSES]], atol=1e-5)
    one = lmd.load(folds_run / "fold-1").predict(files)
    assert (
        np.abs(p - one[[f"p_{name}" for name in CLASSES]]).to_numpy().max() > 1e-3
    )  # It is not one of them.
    assert (told.models, len(set(told.weights_sha256))) == (2, 2)
    assert told.card["files"] == {}
    page = (tmp_path / "out" / "README.md").read_text()
    assert ": the mean of 2 models\n" in page
    saved = json.loads((tmp_path / "out" / "export.json").read_text())
    assert list(saved["files"]) == ["model.onnx"]
    assert len(saved["weights_sha256"]) == 2


def test_what_a_variant_of_several_models_loses_is_told_with_care(folds_run: Path) -> None:
    run, model = opened(folds_run), lmd.load(folds_run, average=True)
    dataset, why = data_of(run, model.card, None)
    sample = sample_of(model.card, dataset, why, ())
    work = Work(run, model, Asked(int8=True), dataset, why, sample, quiet)
    assert "most of its models were trained on these: the difference counts" in work.labelled.told
