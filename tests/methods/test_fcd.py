"""FCD: perturbed where it should be, cross entropy without perturbation, and a region that is not left."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from lmd.losses.classification import cross_entropy
from lmd.methods import ce, fcd
from tests.methods.tiny import falls, resumed_equals_whole, stage_of, weights

OPTIONS: list[dict[str, Any]] = [{"bound": 0.0}, {"stage1": {"flat": "sam", "rho": 0.0}}]


@pytest.mark.parametrize("changes", OPTIONS)
def test_without_perturbation_it_is_cross_entropy_bit_for_bit(changes: dict[str, Any]) -> None:
    """BatchNorm's statistics included: they are updated once a step."""
    flat, plain = stage_of(fcd, **changes), stage_of(ce)
    for epoch in range(2):
        assert flat.run_epoch(epoch) == plain.run_epoch(epoch)
    assert torch.equal(weights(flat.network), weights(plain.network))


def test_the_last_layers_are_flat_and_noise_stays_within_half_the_bound() -> None:
    stage = stage_of(fcd, bound=0.5, flat_layers=2)
    names = list(stage.flat)
    assert names[2:] == ["classifier.weight", "classifier.bias"]
    convolutions = [name for name, value in stage.network.encoder.named_parameters() if value.ndim > 1]
    assert names[:2] == [f"encoder.{name}" for name in convolutions[-2:]]
    torch.manual_seed(0)
    noise = torch.cat([value.flatten() for value in stage._noise().values()])
    assert float(noise.abs().max()) <= 0.25
    assert float(noise.abs().max()) > 0.24
    assert abs(float(noise.mean())) < 0.01


def test_the_gradient_is_the_mean_of_those_at_the_draws() -> None:
    stage = stage_of(fcd, bound=0.5, stage1={"draws": 3})
    batch = next(stage.batches(stage.order(0)))
    views = stage.views(batch, 0)
    stage.network.eval()
    torch.manual_seed(5)
    loss = stage.loss(views, batch.labels, 0.0)["total"]
    torch.manual_seed(5)
    expected = torch.stack(
        [_loss_moved(stage, stage._noise(), views["weak"], batch.labels) for _ in range(3)]
    )
    torch.testing.assert_close(loss, expected.mean())
    assert len({round(float(value), 6) for value in expected}) == 3


def _loss_moved(
    stage: Any, shift: dict[str, torch.Tensor], images: torch.Tensor, labels: torch.Tensor
) -> Any:
    """By really moving the weights, and back."""
    with torch.no_grad():
        before = {name: value.clone() for name, value in stage.flat.items()}
        for name, value in stage.flat.items():
            value.add_(shift[name])
        loss = cross_entropy(stage.network(images).logits, labels)
        for name, value in stage.flat.items():
            value.copy_(before[name])
    return loss


def test_sam_steps_uphill_by_its_radius() -> None:
    stage = stage_of(fcd, stage1={"flat": "sam", "rho": 0.05})
    batch = next(stage.batches(stage.order(0)))
    images = stage.views(batch, 0)["weak"]
    stage.network.eval()
    shift = stage._ascent(images, batch.labels)
    length = torch.cat([value.flatten() for value in shift.values()]).norm()
    assert float(length) == pytest.approx(0.05, rel=1e-4)
    nowhere = {name: torch.zeros_like(value) for name, value in shift.items()}
    here = _loss_moved(stage, nowhere, images, batch.labels)
    assert float(_loss_moved(stage, shift, images, batch.labels)) > float(here)


def test_the_second_stage_stays_in_the_region_and_moves_nothing_else() -> None:
    stage = stage_of(fcd, 1, bound=0.002, stage2={"optimisation": {"lr": 0.1}})
    before = {name: value.clone() for name, value in stage.network.state_dict().items()}
    for epoch in range(2):
        stage.run_epoch(epoch)
    moved = {name: (value - before[name]).abs().max() for name, value in stage.network.state_dict().items()}
    flat = [float(moved[name]) for name in stage.flat]
    assert all(0 < step <= 0.001 * (1 + 1e-3) for step in flat)
    assert max(flat) > 0.0009  # The bound was met, not only never reached.
    assert not any(bool(step) for name, step in moved.items() if name not in stage.flat)


@pytest.mark.parametrize(("distil", "strong"), [("logits", 10.0), ("features", 1000.0)])
def test_distillation_is_zero_at_the_start_and_holds_the_network_back(distil: str, strong: float) -> None:
    def drift(weight: float) -> float:
        changes = {"distil": distil, "distillation_weight": weight, "optimisation": {"lr": 0.01}}
        stage = stage_of(fcd, 1, bound=1.0, stage2=changes)
        batch = next(stage.batches(stage.order(0)))
        stage.set_mode()
        views = stage.views(batch, 0)
        assert float(stage.loss(views, batch.labels, 0.0)["distillation"].detach()) == pytest.approx(
            0, abs=1e-6
        )
        for epoch in range(3):
            stage.run_epoch(epoch)
        return float(stage.loss(views, batch.labels, 0.0)["distillation"].detach())

    assert drift(strong) < 0.5 * drift(0.0)


@pytest.mark.parametrize(("number", "flat"), [(0, "noise"), (0, "sam"), (1, "noise")])
def test_resumed_equals_uninterrupted(number: int, flat: str, tmp_path: Path) -> None:
    resumed_equals_whole(lambda: stage_of(fcd, number, stage1={"flat": flat}), tmp_path)


@pytest.mark.parametrize("flat", ["noise", "sam"])
def test_it_learns_with_two_classes_one_of_a_single_image(flat: str) -> None:
    assert falls(stage_of(fcd, counts=(15, 1), stage1={"flat": flat}))
