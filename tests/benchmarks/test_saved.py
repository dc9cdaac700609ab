"""Saved features are read with their data set; simulated promises are those of the docs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.probabilities import calibration_rows, implied_rows
from benchmarks.promises import costs_rows, expected_rows, holds, share, thresholds_rows
from benchmarks.saved import read_saved, write_parts
from lmd.evaluation.parts import Estimate
from tests import toy


def test_saved_features_have_the_labels_and_splits_of_their_images(tmp_path: Path) -> None:
    dataset = toy.make_dataset(tmp_path, {"train": [9, 6, 4], "val": [3, 3, 3], "test": [4, 3, 3]})
    number, random = len(dataset.table), np.random.default_rng(0)
    whole = random.integers(0, 255, (number, 3)).astype(np.uint8)
    weight = random.normal(size=(3, 3)).astype(np.float32)
    np.savez(
        tmp_path / "features-plusA.npz",
        **{"0_clean": whole, "0_clean_scale": np.float32(0.01), "W": weight, "b": np.float32([0, 1, 2])},
    )
    saved = read_saved(dataset, tmp_path / "features-plusA.npz")
    assert saved.name == "plusA"
    np.testing.assert_allclose(saved.logits, whole * 0.01 @ weight.T + [0, 1, 2], rtol=1e-5)
    X, y = saved.of("val")
    assert y.tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    np.testing.assert_allclose(X, saved.features[saved.rows("val")])
    assert len(np.unique(saved.groups)) == number
    row = next(calibration_rows([saved]))
    assert row["at the shares of the test"]  # Its own classifier had balanced softmax.
    assert row["log loss"].keys() == {"T = 1", "temperature", "vector"}
    assert next(implied_rows([saved]))["declared"] == "uniform"
    write_parts(tmp_path / "out", {"part": iter([{"a": 1.0}])})
    assert (tmp_path / "out" / "part.json").read_text() == '[\n {\n  "a": 1.0\n }\n]\n'


def test_promises_hold_in_a_short_simulation() -> None:
    assert holds(Estimate(value=0.5, low=0.4, high=0.6), 0.6)
    assert holds(Estimate(value=0.5, low=None, high=None), 0.6) is None
    assert share([True, None, False]) == pytest.approx(0.5)
    assert 0.87 < next(thresholds_rows(100))["on average"] < 0.93
    assert min(next(expected_rows(40))["held"].values()) > 0.8
    assert next(costs_rows(40))["held"]["cost"] > 0.8
