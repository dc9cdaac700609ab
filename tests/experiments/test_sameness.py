"""Which rows cannot differ: where the bounds lie, and what counts as movement."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from lmd.experiments.sameness import Moves, encoder_moved, equal_groups, same_answers, same_encoders
from lmd.run import RunFolder, write_stage1
from tests.experiments import by_hand


def weights(seed: int = 0) -> dict[str, Tensor]:
    random = torch.Generator().manual_seed(seed)
    return {
        "encoder.conv.weight": torch.randn(4, 3, generator=random),
        "encoder.bn.bias": torch.zeros(4),
        "encoder.bn.running_mean": torch.randn(4, generator=random),
        "encoder.bn.running_var": 1e4 + torch.rand(4, generator=random),
        "encoder.bn.num_batches_tracked": torch.tensor(7),
        "classifier.weight": torch.randn(2, 4, generator=random),
    }


def run_of(folder: Path, before: dict[str, Tensor], after: dict[str, Tensor]) -> RunFolder:
    run = RunFolder(folder)
    write_stage1(run, before, "linear")
    save_file(after, run.weights)
    return run


def changed(name: str, factor: float) -> dict[str, Tensor]:
    found = weights()
    return found | {name: found[name] * (1 + factor)}


@pytest.mark.parametrize(
    ("name", "factor", "moved"),
    [
        ("encoder.conv.weight", 1e-3, 1e-3),
        ("encoder.bn.running_mean", 1e-3, 1e-3),
        ("encoder.bn.running_var", 1e-3, 1e-3),
        ("encoder.bn.num_batches_tracked", 1, 0),
        ("classifier.weight", 1, 0),
        ("encoder.conv.weight", 0, 0),
    ],
)
def test_the_encoder_alone_counts_and_each_kind_by_its_own_size(
    name: str, factor: float, moved: float, tmp_path: Path
) -> None:
    """Large running variances must not hide that the filters moved."""
    run = run_of(tmp_path, weights(), changed(name, factor))
    assert encoder_moved(run) == pytest.approx(moved, rel=1e-3)
    assert encoder_moved(run) == pytest.approx(by_hand.moved(tmp_path), rel=1e-6)


def test_what_was_zero_and_moved_has_moved(tmp_path: Path) -> None:
    before = {"encoder.weight": torch.zeros(3)}
    assert encoder_moved(run_of(tmp_path / "a", before, {"encoder.weight": torch.ones(3)})) == float("inf")
    assert encoder_moved(run_of(tmp_path / "b", before, before)) == 0


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        ({42: ("a", 0.0)}, {42: ("a", 9e-7)}, True),
        ({42: ("a", 0.0)}, {42: ("a", 2e-6)}, False),
        ({42: ("a", 2e-6)}, {42: ("a", 0.0)}, False),
        ({42: ("a", 0.0)}, {42: ("b", 0.0)}, False),
        ({42: ("a", 0.0), 43: ("b", 0.0)}, {42: ("a", 0.0), 43: ("b", 1e-3)}, False),
        ({42: ("a", 0.0), 43: ("b", 1e-3)}, {42: ("a", 0.0)}, True),
        ({42: ("a", 0.0)}, {43: ("a", 0.0)}, False),
        ({}, {}, False),
    ],
)
def test_encoders_are_the_same_in_every_run_or_not_at_all(first: Moves, second: Moves, same: bool) -> None:
    assert same_encoders(first, second) == same


def test_answers_are_the_same_to_rounding_in_every_run() -> None:
    one = np.random.default_rng(0).dirichlet(np.ones(3), 5)
    near, far = one + 9e-7, one.copy()
    far[4, 2] += 2e-6
    assert same_answers({42: one, 43: one}, {42: near, 43: one})
    assert not same_answers({42: one, 43: one}, {42: near, 43: far})
    assert not same_answers({42: one}, {43: one})
    assert not same_answers({}, {})


def test_a_group_holds_all_its_equals_and_loners_are_left_out() -> None:
    entries = {"a": 1, "b": 2, "c": 1, "d": 3, "e": 2, "f": 1}
    assert equal_groups(entries, lambda first, second: first == second) == [["a", "c", "f"], ["b", "e"]]
