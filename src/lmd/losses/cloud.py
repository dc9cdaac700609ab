"""GCL: logits disturbed by Gaussian noise, in a cloud that is larger the rarer the class is."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from lmd.numerics import at_least_float32

# Inside the root of sin^2: at a cosine of +-1 the slope is then 0 and not infinite.
_EPSILON = 1e-7


def cloud_sizes(counts: Int[Tensor, " classes"]) -> Float[Tensor, " classes"]:
    """The size of each class's cloud, delta_k = (log n_max - log n_k) / (log n_max - log n_min) in [0, 1].

    Li, Cheung, Lu, CVPR 2022. A class without images takes the largest cloud.

    Raises:
        ValueError: all classes have as many images: no class is rarer than another.

    >>> cloud_sizes(torch.tensor([100, 10, 1])).tolist()
    [0.0, 0.5, 1.0]
    """
    present = counts[counts > 0]
    if len(present.unique()) < 2:
        raise ValueError(
            f"GCL needs classes of different sizes, found {present.unique().tolist()} images in every class"
        )
    logs = counts.clamp(min=int(present.min())).double().log10()
    return (logs.max() - logs) / (logs.max() - logs.min())


def clipped_noise(shape: tuple[int, int]) -> Float[Tensor, "batch classes"]:
    """Noise from N(0, (1/3)^2) clipped to [-1, 1], one value for each image and class.

    It is drawn from torch's global generator on the CPU, which the training seeds for each epoch, so that
    a run repeats and resumes exactly, on any device.

    >>> bool(clipped_noise((1000, 2)).abs().max() <= 1)
    True
    """
    return (torch.randn(shape) / 3).clamp(-1, 1)


def clouded_logits(
    cosines: Float[Tensor, "batch classes"],
    labels: Int[Tensor, " batch"],
    sizes: Float[Tensor, " classes"],
    noise: Float[Tensor, "batch classes"],
    scale: float = 30.0,
    strength: float = 0.5,
    margin: float = 0.0,
) -> Float[Tensor, "batch classes"]:
    """The logits S (cos_k - a delta_k |e_k| - m [k = y]): cosine form, `strength` is a.

    >>> cosines, labels, ones = torch.zeros(1, 2), torch.tensor([0]), torch.ones(1, 2)
    >>> clouded_logits(cosines, labels, torch.tensor([0.0, 1.0]), ones, scale=2.0, margin=0.1).tolist()
    [[-0.20000000298023224, -1.0]]
    """
    cos = at_least_float32(cosines)
    target = F.one_hot(labels, cos.shape[1]).to(cos.dtype)
    return scale * (cos - strength * sizes.to(cos) * noise.to(cos).abs() - margin * target)


def angular_clouded_logits(
    cosines: Float[Tensor, "batch classes"],
    labels: Int[Tensor, " batch"],
    sizes: Float[Tensor, " classes"],
    noise: Float[Tensor, "batch classes"],
    scale: float = 30.0,
    strength: float = 0.5,
    margin: float = 0.0,
    easy_margin: bool = True,
) -> Float[Tensor, "batch classes"]:
    """The logits S cos(theta_k + t_k) with t_k = (pi/2) a delta_k |e_k| + m [k = y]: angular form.

    With an easy margin only angles below pi/2 are shifted; where cos_k <= 0 the logit is S cos_k. Without,
    all are, and where theta_k + t_k would pass pi the logit is S (cos_k - sin t_k) instead, so that it
    keeps falling. `strength` is a. Li et al., IEEE TAI 2024.

    >>> ones, sizes = torch.ones(1, 3), torch.tensor([0.0, 1.0, 1.0])
    >>> cosines = torch.tensor([[0.5, 0.5, -0.5]])
    >>> logits = angular_clouded_logits(cosines, torch.tensor([0]), sizes, ones, scale=1.0)
    >>> [round(value, 4) for value in logits[0].tolist()]  # cos 60, cos(60 + 45), cos 120 degrees
    [0.5, -0.2588, -0.5]
    """
    cos = at_least_float32(cosines)
    target = F.one_hot(labels, cos.shape[1]).to(cos.dtype)
    turn = math.pi / 2 * strength * sizes.to(cos) * noise.to(cos).abs() + margin * target
    sine = (1 - cos.square()).clamp(min=_EPSILON).sqrt()
    turned = cos * turn.cos() - sine * turn.sin()
    if easy_margin:
        return scale * torch.where(cos > 0, turned, cos)
    return scale * torch.where(cos >= (math.pi - turn).cos(), turned, cos - turn.sin())
