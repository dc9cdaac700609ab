"""How much a network disagrees with itself under dropout."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor


def disagreement(probabilities: Float[Tensor, "passes images classes"]) -> Float[Tensor, " images"]:
    """The mutual information between an image's label and the network's weights (BALD), in nats.

        I = H(mean_t p_t) - mean_t H(p_t),    H(p) = -sum_k p_k log p_k

    p_t are the posteriors of T passes with dropout. It is 0 where all passes agree, however unsure they
    are, and log 2 where two passes are sure of different classes. Houlsby et al., arXiv 1112.5745 (2011).

    >>> sure = torch.tensor([[[1.0, 0.0]], [[0.0, 1.0]]])
    >>> round(float(disagreement(sure)), 4), float(disagreement(torch.full((2, 1, 2), 0.5)))
    (0.6931, 0.0)
    """
    return _entropy(probabilities.mean(0)) - _entropy(probabilities).mean(0)


def _entropy(probabilities: Tensor) -> Tensor:
    """Returns H(p), where 0 log 0 is 0."""
    return -torch.xlogy(probabilities, probabilities).sum(-1)
