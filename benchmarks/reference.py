"""ICC in the published way, written plainly: what the fast code is held against, and the oracle of its tests.

The M-step draws R virtual features of each class with NumPy's multivariate normal sampler (float64, by
SVD), keeps them in a Python list, and lets a DataLoader feed them one by one into batches for
the classifier. The E-step's distances factorise a C x C covariance for every sample and every class. Nothing
is made slower than it need be: the library calls are batched where their signature allows it.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset


def draw(mean: np.ndarray, covariance: np.ndarray, per_class: int, seed: int) -> list[tuple[Tensor, int]]:
    """Returns R virtual features of each class with their labels (section 3.4.1 of the paper)."""
    random = np.random.default_rng(seed)
    features: list[tuple[Tensor, int]] = []
    for label, (mu, sigma) in enumerate(zip(mean, covariance, strict=True)):
        cloud = random.multivariate_normal(mu, sigma, per_class, method="svd")
        features += [(row, label) for row in torch.from_numpy(cloud)]
    return features


class _Listed(Dataset[tuple[Tensor, int]]):
    def __init__(self, features: list[tuple[Tensor, int]]) -> None:
        self.features = features

    def __len__(self) -> int:
        return len(self.features)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.features[index]


def train_classifier(
    classifier: nn.Module, features: list[tuple[Tensor, int]], batch: int, lr: float, device: str = "cpu"
) -> float:
    """Trains the classifier in one pass over the virtual features (see eq. 8) and returns the mean loss."""
    optimiser = torch.optim.SGD(classifier.parameters(), lr=lr, momentum=0.9, weight_decay=1e-4)
    losses: list[float] = []
    for rows, labels in DataLoader(_Listed(features), batch_size=batch, shuffle=True):
        loss = F.cross_entropy(classifier(rows.float().to(device)), labels.to(device))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    return float(np.mean(losses))


def m_step(
    classifier: nn.Module,
    mean: np.ndarray,
    covariance: np.ndarray,
    per_class: int,
    batch: int,
    lr: float,
    device: str = "cpu",
) -> float:
    """Runs one whole M-step and returns the mean loss."""
    return train_classifier(classifier, draw(mean, covariance, per_class, 0), batch, lr, device)


def distances(features: Tensor, mean: Tensor, covariance: Tensor) -> Tensor:
    """Returns the Mahalanobis distances [B, K], a factorisation for each sample and class (eq. 10-11)."""
    columns: list[Tensor] = []
    for mu, sigma in zip(mean, covariance, strict=True):
        factors = torch.linalg.cholesky(sigma.expand(len(features), -1, -1))
        centred = (features - mu)[:, :, None]
        columns.append((centred * torch.cholesky_solve(centred, factors)).sum((1, 2)))
    return torch.stack(columns, dim=1)


def consistency(features: Tensor, labels: Tensor, mean: Tensor, covariance: Tensor) -> Tensor:
    """Returns Psi - Phi (eq. 10-12), written as the equations are."""
    found = distances(features, mean, covariance)
    own = F.one_hot(labels, found.shape[1]).bool()
    return found[own].mean() - found[~own].mean()
