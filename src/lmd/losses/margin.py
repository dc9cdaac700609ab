"""LDAM: a margin around each class that is wider the rarer the class is."""

from __future__ import annotations

import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from lmd.numerics import at_least_float32


def ldam_margins(counts: Int[Tensor, " classes"], max_margin: float = 0.5) -> Float[Tensor, " classes"]:
    """The margin of each class, m_k = m_max (n_k / n_min)^(-1/4), n_min the smallest count there is.

    Cao et al., NeurIPS 2019. A class without images takes the largest margin; it is never a label.

    >>> import torch
    >>> ldam_margins(torch.tensor([81, 16, 1])).tolist()
    [0.16666666666666666, 0.25, 0.5]
    """
    smallest = counts[counts > 0].min()
    return max_margin * (counts.clamp(min=int(smallest)).double() / smallest) ** -0.25


def ldam_loss(
    cosines: Float[Tensor, "batch classes"],
    labels: Int[Tensor, " batch"],
    margins: Float[Tensor, " classes"],
    scale: float = 30.0,
    weights: Float[Tensor, " classes"] | None = None,
) -> Float[Tensor, ""]:
    """The mean cross entropy of S (cos(z, w_k) - m_k [k = y]).

    `weights` make it a mean weighted by those of the labels, as in the authors' code.

    >>> import torch
    >>> value = ldam_loss(torch.zeros(1, 2), torch.tensor([0]), torch.tensor([0.5, 0.5]), scale=2.0)
    >>> round(float(value), 4)  # log(1 + e)
    1.3133
    """
    cos = at_least_float32(cosines)
    margin = F.one_hot(labels, cos.shape[1]).to(cos.dtype) * margins.to(cos)
    return F.cross_entropy(scale * (cos - margin), labels, None if weights is None else weights.to(cos))
