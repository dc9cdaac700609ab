"""LMD+: each ingredient does what it says, and nothing where it is left out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from lmd import methods
from lmd.data.feed.loader import ImageSet
from lmd.evaluation.predict import load_model
from lmd.models.classifier import build_classifier
from lmd.models.encoder import build_encoder, num_features
from lmd.models.network import Network, Output
from lmd.processes.shares import Share
from lmd.runtime import Runtime
from lmd.settings import merge, resolve
from lmd.stages.balanced_relation import BalancedRelation
from lmd.stages.base import StageContext
from lmd.stages.relation import RelationLearning
from lmd.training.start import train
from tests import toy

COUNTS = np.array([12, 8, 4])
PLAIN = {"balance": 0.0, "mixup": 0.0, "sharpness": {"radius": 0.0}}


def stage_of(name: str, **stage1: Any) -> RelationLearning:
    """The first stage of a method, ready for a batch."""
    method = methods.load(name)
    recipe = merge(toy.COMMON, {"batch": 12, "stage1": {"consistency_weight": 1.0, **stage1}})
    stage = method.stages(resolve(method.Settings, recipe), COUNTS)[0]
    torch.manual_seed(0)
    pixels = torch.randint(0, 256, (24, 3, 16, 16), dtype=torch.uint8)
    train = ImageSet(pixels, torch.from_numpy(np.repeat(np.arange(3), COUNTS)), 3)
    encoder = build_encoder("test_resnet")
    network = Network(encoder, build_classifier("linear", num_features(encoder), 3, seed=0))
    stage.prepare(StageContext(network, train, Runtime("fp32"), lambda done, total: None))
    assert isinstance(stage, RelationLearning)
    return stage


def weights(stage: RelationLearning) -> torch.Tensor:
    return torch.cat([one.detach().flatten() for one in stage.network.parameters()])


def test_without_its_ingredients_stage_1_is_that_of_lmd() -> None:
    plus, plain = stage_of("lmd-plus", **PLAIN), stage_of("lmd")
    found, expected = plus.run_epoch(0), plain.run_epoch(0)
    assert found == pytest.approx(expected, rel=1e-4)
    assert torch.allclose(weights(plus), weights(plain), atol=1e-4)


@pytest.mark.parametrize("view", ["weak", "strong"])
def test_without_relation_the_network_sees_the_view_of_the_cross_entropy_alone(view: str) -> None:
    stage = stage_of("lmd", consistency_weight=0.0, ce_view=view)
    expected = stage_of("lmd", consistency_weight=0.0, ce_view=view)
    passes: list[int] = []
    stage.network.encoder.register_forward_hook(lambda *_: passes.append(1))
    losses = stage.run_epoch(0)
    assert set(losses) == {"total", "cross_entropy"}
    assert len(passes) == 2  # One for each batch: no strong pass, whose images BatchNorm would count.
    assert stage.view_names == (view,)
    assert losses == expected.run_epoch(0)


def test_without_relation_both_views_count_as_much() -> None:
    both = stage_of("lmd", consistency_weight=0.0, ce_view="both")
    tiny = stage_of("lmd", consistency_weight=1e-9, ce_view="both")
    assert both.run_epoch(0)["total"] == pytest.approx(tiny.run_epoch(0)["cross_entropy"], rel=1e-5)
    assert torch.allclose(weights(both), weights(tiny), atol=1e-5)


def test_the_cross_entropy_of_both_views_is_their_mean() -> None:
    labels, views = torch.arange(6) % 3, {name: torch.randn(6, 3, 16, 16) for name in ("weak", "strong")}
    found = {}
    for view in ("weak", "strong", "both"):
        stage = stage_of("lmd", consistency_weight=0.0, ce_view=view)
        stage.network.eval()  # BatchNorm as it is: no pass changes another.
        found[view] = float(stage.loss(views, labels, 0.0)["cross_entropy"].detach())
    assert found["weak"] != pytest.approx(found["strong"], abs=1e-4)
    assert found["both"] == pytest.approx((found["weak"] + found["strong"]) / 2, abs=1e-5)


def test_balance_adds_the_frequency_of_the_classes_to_the_logits_of_both_losses() -> None:
    stage = stage_of("lmd-plus", **{**PLAIN, "balance": 0.5})
    assert isinstance(stage, BalancedRelation)
    logits, labels = torch.randn(6, 3), torch.tensor([0, 1, 2, 0, 1, 2])
    targets = F.one_hot(labels, 3).float()
    shift = 0.5 * torch.log(torch.tensor([12.0, 8.0, 4.0]) / 24)
    expected = F.cross_entropy(logits + shift, labels)
    assert float(stage.criterion(logits, targets)) == pytest.approx(float(expected), rel=1e-6)
    teacher, student = torch.randn(6, 3), torch.randn(6, 3)
    outputs = [Output(torch.zeros(6, 4), logits) for logits in (student, teacher)]
    found = stage.consistency(*outputs)["probability_consistency"]
    divergence = F.kl_div(
        (student + shift).log_softmax(1), (teacher + shift).softmax(1), reduction="batchmean"
    )
    assert float(found) == pytest.approx(float(divergence), rel=1e-5)


def test_images_and_labels_are_mixed_alike_until_the_last_part() -> None:
    stage = stage_of("lmd-plus", **{**PLAIN, "mixup": 1.0, "mixup_first": 0.5})
    batch = next(iter(stage.batches(stage.order(0))))
    assert isinstance(stage, BalancedRelation)
    plain, hard = RelationLearning.views(stage, batch, 0), F.one_hot(batch.labels, 3).float()
    torch.manual_seed(3)
    drawn = stage.draws(Share(len(batch.labels)))
    torch.manual_seed(3)
    mixed, weight, partner = stage.views(batch, 0), drawn["mix"], drawn["partner"]
    assert 0 < float(weight) < 1
    for name, whole in (("weak", plain["weak"]), ("strong", plain["strong"]), ("targets", hard)):
        assert torch.allclose(mixed[name], (1 - weight) * whole + weight * whole[partner], atol=1e-5)
    later = stage.views(batch, 2)
    assert torch.equal(later["weak"], RelationLearning.views(stage, batch, 2)["weak"])
    assert torch.equal(later["targets"], hard)
    assert [stage.changing(epoch, epoch)["mixing"] for epoch in range(3)] == [1.0, 1.0, 0.0]


def test_steps_look_uphill_in_the_last_part_alone() -> None:
    stage = stage_of("lmd-plus", **{**PLAIN, "sharpness": {"radius": 0.1, "last": 0.5}})
    names = [set(stage.changing(0, moment)) for moment in (0.0, 1.4, 1.5)]
    assert ["radius" in found for found in names] == [False, False, True]


def test_a_step_that_looks_uphill_has_another_gradient_and_the_same_running_statistics() -> None:
    flat, sharp = (
        stage_of("lmd-plus", **{**PLAIN, "sharpness": {"radius": radius, "last": 1.0}})
        for radius in (0.0, 0.5)
    )
    images = torch.randn(12, 3, 16, 16)
    labels = torch.arange(12) % 3
    targets = F.one_hot(labels, 3).float()
    for stage, more in ((flat, {}), (sharp, {"radius": torch.tensor(0.5)})):
        stage.now = more
        stage.differentiate({"weak": images, "strong": images, "targets": targets}, labels, 0.0)
    assert torch.equal(weights(flat), weights(sharp))  # The weights are where they were.
    gradients = [
        torch.cat([one.grad.flatten() for one in stage.network.parameters() if one.grad is not None])
        for stage in (flat, sharp)
    ]
    assert not torch.allclose(gradients[0], gradients[1], rtol=1e-2)


def test_features_at_rest_are_the_mean_over_mirror_images() -> None:
    encoder = build_encoder("test_resnet")
    network = Network(
        encoder, build_classifier("linear", num_features(encoder), 3, seed=0), flips="both"
    ).eval()
    images = torch.randn(2, 3, 16, 16)
    mirrored = [images, images.flip(3), images.flip(2), images.flip(2).flip(3)]
    expected = torch.stack([encoder(one) for one in mirrored]).mean(0)
    assert torch.allclose(network(images).features, expected, atol=1e-6)
    assert torch.allclose(network(images.flip(3)).logits, network(images).logits, atol=1e-5)
    assert not torch.allclose(network.train()(images).features, expected, atol=1e-6)


def test_a_saved_model_answers_a_mirrored_image_alike(tmp_path: Path) -> None:
    dataset = toy.make_dataset(tmp_path)
    settings = methods.settings_of("lmd-plus", recipe=toy.recipe("lmd-plus"))
    model = load_model(train(dataset, "lmd-plus", settings, tmp_path / "run"))
    assert model.card.preprocessing.flips == "both"
    assert model.card.outputs.tau_by == "validation"
    pixels = np.random.default_rng(0).integers(0, 255, (16, 16, 3), dtype=np.uint8)
    for name, array in (("a", pixels), ("b", pixels[:, ::-1]), ("c", pixels[::-1])):
        Image.fromarray(np.ascontiguousarray(array)).save(tmp_path / f"{name}.png")
    answers = model.predict([tmp_path / f"{name}.png" for name in "abc"])
    numbers = answers.filter(like="p_").to_numpy()
    assert np.allclose(numbers, numbers[0], atol=1e-5)
