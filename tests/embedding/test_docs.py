"""docs/features.md as it is written: every Python block, from top to bottom."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest

import lmd
from lmd.embedding.fit import FitSettings
from lmd.estimator import VirtualFeatureClassifier
from lmd.losses.covariance import Shrinkage
from lmd.models import encoder, sources
from tests.test_api import fenced, make_images, run_block
from tests.test_house import ROOT

PAGE = ROOT / "docs" / "features.md"


def test_the_page_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests have no network: in place of a download, an encoder keeps the weights that were drawn."""
    obtain, names = sources.obtain, dict[str, Any]()
    monkeypatch.setattr(encoder, "obtain", lambda name, pretrained, weights: obtain(name, False, weights))
    make_images(tmp_path)
    monkeypatch.chdir(tmp_path)
    shown = [run_block(block, names, "docs/features.md") for block in fenced(PAGE.read_text())]
    bacc, (predicted, decisions), ranking = shown[0]
    assert bacc.low is not None
    assert predicted.tolist() == np.array(["common", "less", "rare"])[decisions.argmax(1)].tolist()
    assert ranking.shape == decisions.shape
    assert (names["again"].predict(names["X"]) == predicted).all()
    assert len(shown) == 2


def test_the_page_has_every_setting_with_its_default() -> None:
    text = PAGE.read_text()
    for name, value in FitSettings().model_dump().items():
        shown = f"`{value}`" if isinstance(value, str) else f"{value:g}".replace("e-05", "e-5")
        assert f"| `{name}` | {shown} |" in text
    assert all(f"`{kind}`" in text for kind in get_args(Shrinkage))
    ours, theirs = FitSettings().model_dump(), VirtualFeatureClassifier().get_params()
    same = ("covariance", "ridge", "l2", "tol")
    assert {name: ours[name] for name in same} == {name: theirs[name] for name in same}


def test_the_names_of_the_page_are_public() -> None:
    assert {"embed", "fit", "Features", "read_features", "VirtualFeatureClassifier"} <= set(lmd.__all__)
