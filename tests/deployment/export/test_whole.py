"""One module says what the network and its card say, whatever the network is made of."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from lmd.data.feed.scale import clean
from lmd.deployment.export.program import program_of, without_noise
from lmd.deployment.export.whole import whole
from lmd.evaluation.answers import decisions_of, ranking_of
from lmd.folds.average import AverageNetwork
from lmd.model_card import ModelCard, Outputs, Preprocessing, TrainedOn
from lmd.models.classifier import build_classifier
from lmd.models.encoder import build_encoder, num_features
from lmd.models.folding import at_rest
from lmd.models.network import Network, Output

MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.3, 0.25)
CARD = ModelCard(
    method="ce",
    encoder="test_resnet",
    classifier="linear",
    classes=["a", "b", "c"],
    bands={},
    bands_rule="none",
    preprocessing=Preprocessing(size=32, crop="none", mean=MEAN, std=STD),
    precision="fp32",
    training_counts=[90, 9, 0],
    dataset=TrainedOn(title="t", source="s", licence="l", manifest_sha256="m"),
    selected_by="last",
    validation_bacc=None,
    training_seconds=0.0,
    outputs=Outputs(tau=0.7, temperature=1.4),
)


def network_of(kind: str = "linear", seed: int = 0) -> Network:
    torch.manual_seed(seed)
    encoder = build_encoder("test_resnet", size=32)
    network = Network(encoder, build_classifier(kind, num_features(encoder), 3, seed), (MEAN, STD))
    with torch.no_grad():
        for name, values in network.state_dict().items():
            if "running_mean" in name or "prototypes" in name:
                values.uniform_(-0.3, 0.3)
            elif "running_var" in name or ("bn" in name and "weight" in name):
                values.uniform_(0.5, 1.5)
    return network.eval()


def images(count: int) -> torch.Tensor:
    """Noise with a gradient of each image's own."""
    random = np.random.default_rng(count)
    noise = random.integers(0, 100, (count, 3, 32, 32))
    slope = random.uniform(0, 155, (count, 3, 1, 1)) * np.linspace(0, 1, 32)
    return torch.from_numpy((noise + slope).astype(np.uint8))


@torch.inference_mode()
def wanted(network: Network, pixels: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
    """p and d, as the rest of lmd computes them."""
    p = ranking_of(network(clean(pixels, MEAN, STD)).logits.double().numpy(), CARD)
    return p, decisions_of(p, CARD)


def agree(
    module: torch.nn.Module, network: Network, atol: float = 1e-5, counts: tuple[int, ...] = (3,)
) -> None:
    for count in counts:
        with torch.inference_mode():
            found = module(images(count))
        for mine, other in zip(found, wanted(network, images(count)), strict=True):
            np.testing.assert_allclose(mine.numpy(), other, atol=atol)


@pytest.mark.parametrize("kind", ["linear", "cosine", "prototype"])
def test_it_answers_as_the_network_and_its_card(kind: str) -> None:
    network = network_of(kind)
    p, d = wanted(network, images(3))
    assert np.abs(p - d).max() > 0.05
    assert np.ptp(p, 0).max() > 1e-3  # Images differ.
    agree(whole(network, CARD), network)


def test_it_leaves_the_network_as_it_was() -> None:
    network = network_of()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    whole(network, CARD, half=True)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_several_networks_answer_together() -> None:
    networks = [network_of(seed=seed) for seed in (0, 1)]
    both = AverageNetwork(networks, [1.0, 1.8])
    assert math.isclose(both.temperature, CARD.outputs.temperature)
    module = whole(both, CARD)
    agree(module, both)
    program = program_of(module, "test_resnet", 32)
    agree(program.module(), both, counts=(1, 4))


class Mirrored(Network):
    """A network whose features at rest are means over an image and its mirror image."""

    flips = True

    def forward(self, images: torch.Tensor) -> Output:
        if self.training:
            return super().forward(images)
        features = (self.encoder(images) + self.encoder(images.flip(3))) / 2
        return Output(features, self.classifier(features))


def test_what_a_network_does_at_rest_is_in_the_program() -> None:
    plain = network_of()
    network = Mirrored(plain.encoder, plain.classifier, plain.scale).eval()
    with torch.inference_mode():
        gap = network(clean(images(3))).logits - plain(clean(images(3))).logits
    assert gap.abs().max() > 1e-3
    program = program_of(whole(network.train(), CARD), "test_resnet", 32)
    agree(program.module(), network.eval(), counts=(1, 3))


def test_convolutions_stay_convolutions() -> None:
    """The products that lmd itself computes small maps with are larger, and other programs have no use of them."""
    module = whole(at_rest(network_of(), "fp32"), CARD)
    operations = {str(node.target) for node in program_of(module, "test_resnet", 32).graph.nodes}
    assert "aten.conv2d.default" in operations
    convolutions = [part for part in module.modules() if isinstance(part, torch.nn.Conv2d)]
    program = program_of(module, "test_resnet", 32)
    found = [node for node in program.graph.nodes if "conv2d" in str(node.target)]
    assert len(found) == len(convolutions)


def test_half_precision_is_the_encoders_alone() -> None:
    network = network_of("cosine")
    module = whole(network, CARD, half=True)
    kinds = {name: value.dtype for name, value in module.named_parameters()}
    assert {kind for name, kind in kinds.items() if "encoder" in name} == {torch.float16}
    assert kinds["network.classifier.weight"] == torch.float32
    agree(module, network, atol=3e-3)


def test_noise_is_dropped_and_the_logs_are_as_before() -> None:
    import logging
    import warnings

    before = logging.getLogger().handlers[:]
    with without_noise():
        warnings.warn("a warning", stacklevel=1)
        logging.getLogger().warning("a line")
    assert logging.getLogger().handlers == before
    assert logging.getLogger().manager.disable == 0
