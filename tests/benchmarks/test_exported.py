"""The benchmark of exports runs, and finds them in agreement."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import lmd
from benchmarks import exported
from tests import toy


@pytest.mark.slow
def test_it_measures_agreement_and_speed(tmp_path: Path) -> None:
    dataset = toy.make_dataset(tmp_path)
    settings = {**toy.COMMON, "stage1": {"epochs": 1}, "tau": 0.5}
    run = lmd.train(dataset, method="ce", settings=settings, out=tmp_path / "run")
    arguments = [str(run.path), "--images", "20", "--out", str(tmp_path / "out")]
    assert exported.main(arguments) == 0
    found = json.loads((tmp_path / "out" / "exported.json").read_text())
    assert found["images"] == 20
    for name in ("torch", "onnx"):
        assert found["agreement"][name].keys() == {"1", "7", "64"}
        assert max(found["agreement"][name].values()) < 1e-4
    assert found["agreement"]["onnx int8"]["64"] > 1e-4
    assert min(rate for one in found["images_per_second"].values() for rate in one.values()) > 0
