"""Two remedies for rare classes in an ordinary PyTorch loop, with nothing else of lmd.

    python examples/losses_in_a_plain_loop.py

The data are points of three classes with 900, 90 and 9 cases. The first network learns with the cross
entropy. The second puts the classes' frequencies into the loss (balanced softmax). The third draws each
class equally often. Take one remedy, not both: together they correct twice.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from lmd.data.feed import OrderSampler
from lmd.evaluation import Evaluation, measure
from lmd.losses import cross_entropy, prior_cross_entropy

COUNTS = torch.tensor([900, 90, 9])
CENTRES = torch.tensor([[0.0, 0.0], [2.0, 0.0], [1.0, 1.7]])
Loss = Callable[[Tensor, Tensor], Tensor]


def draw(counts: Tensor, seed: int) -> tuple[Tensor, Tensor]:
    """Returns points [N, 2] around the centres, and their labels [N]."""
    labels = torch.arange(len(counts)).repeat_interleave(counts)
    noise = torch.randn(len(labels), 2, generator=torch.Generator().manual_seed(seed))
    return CENTRES[labels] + 0.7 * noise, labels


def train(loss: Loss, sampler: OrderSampler, epochs: int) -> nn.Module:
    """Trains a small network: the loop that everybody has."""
    torch.manual_seed(0)
    points, labels = draw(COUNTS, seed=1)
    loader = DataLoader(TensorDataset(points, labels), batch_size=64, sampler=sampler)
    network = nn.Sequential(nn.Linear(2, 16), nn.ReLU(), nn.Linear(16, len(COUNTS)))
    optimiser = torch.optim.Adam(network.parameters(), lr=0.01)
    for epoch in range(epochs):
        sampler.set_epoch(epoch)  # Without it every epoch has the same order.
        for x, y in loader:
            optimiser.zero_grad()
            loss(network(x), y).backward()
            optimiser.step()
    return network


def main(epochs: int = 20) -> dict[str, Evaluation]:
    """Trains three networks; returns what each is worth on as many test cases of each class."""
    _, labels = draw(COUNTS, seed=1)
    networks = {
        "cross entropy": train(cross_entropy, OrderSampler(labels, "instance"), epochs),
        "balanced softmax": train(
            lambda logits, y: prior_cross_entropy(logits, y, COUNTS), OrderSampler(labels, "instance"), epochs
        ),
        "balanced sampling": train(cross_entropy, OrderSampler(labels, "balanced"), epochs),
    }
    points, truth = draw(torch.tensor([300, 300, 300]), seed=2)
    results: dict[str, Evaluation] = {}
    for name, network in networks.items():
        with torch.no_grad():
            results[name] = measure(truth, network(points).softmax(1), classes=["common", "less", "rare"])
        recalls = ", ".join(f"{found.name} {found.recall.value:.2f}" for found in results[name].classes)
        print(f"{name}: balanced accuracy {results[name].metrics['bacc']}; recall of {recalls}")
    return results


if __name__ == "__main__":
    main()
