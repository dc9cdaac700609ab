"""A run and an ONNX file of version 0.2 keep loading for ever, and answer as they did then."""

from __future__ import annotations

import importlib.util
import json
import tarfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

import lmd
from lmd.deployment.export.onnx_file import answering
from lmd.run import read_identity
from tests import toy

HERE = Path(__file__).parent / "kept"
NUMBERS = [f"{kind}_{name}" for kind in "pd" for name in toy.CLASSES]


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("kept")
    with tarfile.open(HERE / "kept-0.2.tar.xz") as archive:
        archive.extractall(place, filter="data")
    return place / "kept-0.2"


@pytest.fixture(scope="module")
def answers(kept: Path) -> pd.DataFrame:
    table = pd.read_csv(kept / "answers.csv")
    assert len(table) == 7
    assert table["predicted"].nunique() > 1  # Or they would say little.
    return table


def test_it_is_small_and_is_never_made_again() -> None:
    assert (HERE / "kept-0.2.tar.xz").stat().st_size <= 200_000
    from tests.deployment.export.kept import make

    assert make.main() == 2


def test_a_run_of_this_version_keeps_loading(kept: Path, answers: pd.DataFrame) -> None:
    files = [kept / "images" / name for name in answers["id"]]
    found = lmd.load(kept / "run").predict(files)
    np.testing.assert_allclose(found[NUMBERS], answers[NUMBERS], atol=1e-5)
    assert found["predicted"].tolist() == answers["predicted"].tolist()


def test_it_can_still_be_exported(kept: Path, tmp_path: Path) -> None:
    told = lmd.export(kept / "run", out=tmp_path / "out", format="torch", images=kept / "images")
    assert told.agreement.images == "7 images named by --images"
    assert "MODEL_CARD.md" not in (tmp_path / "out" / "README.md").read_text()  # It is not kept.


def test_its_settings_keep_being_read(kept: Path) -> None:
    saved = read_identity(lmd.RunFolder(kept / "run"))
    assert (saved["method"], saved["settings"]["encoder"], saved["settings"]["tau"]) == (
        "ce",
        "test_resnet",
        1.2,
    )


@pytest.mark.skipif(importlib.util.find_spec("onnxruntime") is None, reason="needs the extra 'export'")
def test_an_onnx_file_of_this_version_keeps_loading(kept: Path, answers: pd.DataFrame) -> None:
    opened = [Image.open(kept / "images" / name) for name in answers["id"]]
    small = [np.asarray(one.resize((16, 16), Image.Resampling.BILINEAR)) for one in opened]
    pixels = torch.from_numpy(np.stack(small).transpose(0, 3, 1, 2))
    p, d = answering(kept / "onnx" / "model.onnx")(pixels)
    np.testing.assert_allclose(np.concatenate([p, d], 1), answers[NUMBERS], atol=1e-5)


@pytest.mark.skipif(importlib.util.find_spec("onnxruntime") is None, reason="needs the extra 'export'")
def test_what_it_says_of_itself_keeps_its_place(kept: Path) -> None:
    import onnxruntime

    session = onnxruntime.InferenceSession(kept / "onnx" / "model.onnx")
    about = session.get_modelmeta().custom_metadata_map
    assert json.loads(about["classes"]) == toy.CLASSES
    assert json.loads(about["input"])["shape"] == ["N", 3, 16, 16]
    assert json.loads(about["card"])["training_counts"] == toy.COUNTS["train"]
