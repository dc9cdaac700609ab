"""Pictures of what a network looked at: the maps lie where the answer comes from, the nearest are nearest."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.metrics import confusion_matrix
from torch import Tensor, nn

from benchmarks.clustered import ppv_held
from lmd.evaluation.explain import Maps, find_maps, grad_cam, nearest, spread_over_classes
from lmd.evaluation.intervals.one_against_rest import against_rest
from lmd.evaluation.intervals.shares import share_of
from lmd.models.encoder import build_encoder, num_features
from lmd.models.network import Network


class OneQuadrant(nn.Module):
    """An encoder that sees the whole image and uses the upper right quarter of its maps."""

    feature_info = ({"module": "stage", "num_chs": 4},)

    def __init__(self) -> None:
        super().__init__()
        self.stage = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.Softplus())

    def forward(self, images: Tensor) -> Tensor:
        maps = self.stage(images)
        side = maps.shape[2] // 2
        return maps[:, :, :side, side:].mean((2, 3))


def network_of(encoder: nn.Module, channels: int, classes: int = 3) -> Network:
    torch.manual_seed(0)
    return Network(encoder, nn.Linear(channels, classes))


def test_the_map_lies_where_the_answer_comes_from() -> None:
    torch.manual_seed(3)
    network = network_of(OneQuadrant(), 4)
    images = torch.randn(6, 3, 16, 16)
    maps = find_maps(network, 16)
    assert maps == Maps("stage", 4, 16)
    found = grad_cam(network, images, torch.arange(6) % 3, maps)
    lit = found.sum((1, 2)) > 0
    assert lit.sum() >= 2
    inside = found[:, :8, 8:].sum((1, 2))[lit] / found.sum((1, 2))[lit]
    assert inside.min() > 0.999
    assert found.max() == pytest.approx(1.0)


def test_on_a_map_that_is_averaged_it_is_grad_cam() -> None:
    """Grad-CAM's formula: channels weighted by the mean of their gradients."""
    encoder = build_encoder("test_resnet", size=64)
    network = network_of(encoder, num_features(encoder)).eval()
    last = encoder.feature_info[-1]
    images, classes = torch.randn(2, 3, 64, 64), torch.tensor([0, 2])
    seen: list[Tensor] = []
    hook = encoder.get_submodule(last["module"]).register_forward_hook(lambda *given: seen.append(given[2]))
    logits = network(images).logits
    hook.remove()
    (slope,) = torch.autograd.grad(logits.gather(1, classes[:, None]).sum(), seen[0])
    expected = (slope.mean((2, 3), keepdim=True) * seen[0]).sum(1).relu()
    expected = (expected / expected.amax((1, 2), keepdim=True).clamp_min(1e-12)).detach()
    large = torch.nn.functional.interpolate(expected[:, None], size=(64, 64), mode="bilinear")[:, 0]
    maps = Maps(last["module"], last["num_chs"], seen[0].shape[2])
    np.testing.assert_allclose(grad_cam(network, images, classes, maps), large, atol=1e-5)


def test_a_network_is_left_as_it_was() -> None:
    network = network_of(OneQuadrant(), 4).train()
    for weight in network.parameters():
        weight.requires_grad_(False)
    assert grad_cam(network, torch.randn(2, 3, 8, 8), torch.tensor([0, 1]), Maps("stage", 4, 8)).max() > 0
    assert network.training
    assert all(weight.grad is None for weight in network.parameters())
    assert not network.encoder.stage._forward_hooks


@pytest.mark.parametrize(
    ("name", "size", "least"), [("resnet10t", 64, 4), ("test_convnext", 64, 4), ("test_efficientnet", 64, 4)]
)
def test_small_images_have_an_earlier_map(name: str, size: int, least: int) -> None:
    encoder = build_encoder(name, size=size)
    maps = find_maps(network_of(encoder, num_features(encoder)), size)
    assert isinstance(maps, Maps)
    assert maps.side >= least


def test_an_encoder_without_maps_says_why() -> None:
    encoder = build_encoder("test_vit", size=160)
    told = find_maps(network_of(encoder, num_features(encoder)), 160)
    assert told == "this encoder has no maps of places: its features are tokens or vectors"
    assert find_maps(network_of(nn.Flatten(), 48), 4) == "this encoder does not say where its maps are"


def test_the_nearest_have_the_smallest_angle() -> None:
    known = np.array([[1.0, 0.0], [0.0, 5.0], [3.0, 3.0]])
    places, cosines = nearest(np.array([[2.0, 0.1], [0.0, 0.0]]), known, 2)
    assert places[0].tolist() == [0, 2]
    assert cosines[0] == pytest.approx([2 / np.hypot(2, 0.1), 2.1 / (np.hypot(2, 0.1) * np.sqrt(2))])
    assert cosines[1].tolist() == [0, 0]
    assert nearest(known, known, 9)[0].shape == (3, 3)


def test_rows_are_spread_over_the_classes() -> None:
    labels = np.repeat([0, 2, 1], [50, 3, 20])
    rows = spread_over_classes(labels, 5, seed=1)
    assert np.bincount(labels[rows]).tolist() == [5, 5, 3]
    assert rows.tolist() == sorted(rows)
    assert rows.tolist() == spread_over_classes(labels, 5, seed=1).tolist()
    assert rows.tolist() != spread_over_classes(labels, 5, seed=2).tolist()
    assert spread_over_classes(labels[:0], 5, seed=1).tolist() == []


def test_a_class_against_the_rest() -> None:
    random = np.random.default_rng(5)
    labels = random.choice(3, 200, p=[0.6, 0.3, 0.1])
    predicted = np.where(random.random(200) < 0.7, labels, random.choice(3, 200))
    found = against_rest(labels, predicted, np.arange(200), 1)
    (tn, fp), (fn, tp) = confusion_matrix(labels == 1, predicted == 1)
    wanted = {
        "sensitivity": tp / (tp + fn),
        "specificity": tn / (tn + fp),
        "ppv": tp / (tp + fp),
        "npv": tn / (tn + fn),
    }
    for name, value in wanted.items():
        estimate = getattr(found, name)
        assert estimate.value == pytest.approx(value)
        assert estimate.low < value < estimate.high
    assert (found.images, found.others, found.found, found.called) == (tp + fn, tn + fp, tp, tp + fp)


def test_images_of_one_patient_make_an_interval_wider() -> None:
    labels = np.repeat([0, 1], 100)
    predicted = np.where(np.arange(200) % 20 < 15, labels, 1 - labels)
    alone = against_rest(labels, predicted, np.arange(200), 1).specificity
    together = against_rest(labels, predicted, np.arange(200) // 5, 1).specificity
    assert alone.value == together.value == 0.75
    assert together.high - together.low > 1.5 * (alone.high - alone.low)


def test_each_number_has_the_interval_of_a_share_as_that_of_a_threshold_has() -> None:
    """Two answers, or 30 in groups, are enough for the interval of a PPV; one answer is not."""
    labels, clusters = np.repeat([0, 1, 1, 2], 15), np.arange(60) // 2
    predicted = np.where(np.arange(60) % 15 < 11, labels, (labels + 1) % 3)
    found, said = against_rest(labels, predicted, clusters, 1), predicted == 1
    assert found.called == said.sum() == 26
    assert found.ppv == share_of((labels == 1)[said], clusters[said])
    assert found.npv == share_of((labels != 1)[~said], clusters[~said])
    assert found.sensitivity == share_of(said[labels == 1], clusters[labels == 1])
    assert found.specificity == share_of(~said[labels != 1], clusters[labels != 1])
    assert 0.5 < (found.ppv.low or 0) < (found.ppv.value or 0) < (found.ppv.high or 0) < 1
    two = against_rest(np.array([0, 0, 1, 1]), np.array([0, 1, 1, 0]), np.arange(4), 1)
    assert (two.ppv.value, two.ppv.low is None) == (0.5, False)
    one = against_rest(np.array([0, 0, 1, 1]), np.array([0, 0, 1, 0]), np.arange(4), 1)
    assert (one.ppv.value, one.ppv.low) == (1.0, None)


def test_the_interval_of_a_ppv_holds_the_true_one() -> None:
    assert ppv_held(10, 100, (0.7, 0.1), largest=5, repetitions=40) >= 0.9


def test_a_share_of_nothing_is_undefined() -> None:
    labels, clusters = np.array([0, 0, 1]), np.arange(3)
    absent = against_rest(labels, np.array([0, 2, 1]), clusters, 2)
    assert absent.sensitivity.value is absent.ppv.value is None
    assert absent.specificity.value == pytest.approx(2 / 3)
    assert against_rest(labels, np.zeros(3), clusters, 1).ppv.value is None
    assert against_rest(labels, np.zeros(3), clusters, 0).npv.value is None
