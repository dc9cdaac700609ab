"""The M-step without sampling in feature space: its limit for R -> infinity, see eq. 8.

The classifier is linear, s = W v + b, so the logits of class k are Gaussian in K dimensions alone, with
mean W mu_k + b and covariance W Sigma_k W^T. The expectation over v in R^C that R virtual features
estimate is therefore one over s in R^K, and a few hundred well-placed draws of s give it more exactly than
50,000 draws of v. Its cost does not depend on R, nor, once the statistics stand, on the number of images.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from lmd.graphed import GraphedStep, Inputs
from lmd.losses.gaussian import ClassGaussians, dense

# Numbers of one block of classes: [classes, K-1, draws] of logits, or [classes, K-1, C] of products.
BLOCK = 2**22
# What keeps the Cholesky factor of W Sigma_k W^T defined where W is degenerate, relative to its diagonal.
JITTER = {torch.float32: 1e-6, torch.float64: 1e-12}


def quasi_normal(dimensions: int, draws: int, seed: int) -> Float[Tensor, "dimensions draws"]:
    """Standard normal points that fill the space evenly: scrambled Sobol points and their mirror images.

    A function of the arguments alone. `draws` is rounded up to an even number.

    Raises:
        ValueError: there are fewer than two classes, or more than Sobol's sequence has dimensions for.

    >>> points = quasi_normal(3, 64, seed=0)
    >>> points.shape, bool((points[:, :32] == -points[:, 32:]).all())
    (torch.Size([3, 64]), True)
    """
    most = torch.quasirandom.SobolEngine.MAXDIM
    if not 1 <= dimensions <= most:
        raise ValueError(f"the exact M-step needs 2 to {most + 1} classes, not {dimensions + 1}")
    engine = torch.quasirandom.SobolEngine(dimensions, scramble=True, seed=seed)
    uniform = engine.draw(math.ceil(draws / 2), dtype=torch.float64).T.clamp(1e-12, 1 - 1e-12)
    half = torch.special.ndtri(uniform)
    return torch.cat([half, -half], dim=1)


class ExpectedCrossEntropy:
    """The objective of the M-step for R -> infinity, as a function of the classifier (W, b); see eq. 8.

        L(W, b) = (1/K) sum_k E_{v ~ N(mu_k, Sigma_k)} [ -log softmax(W v + b)_k ] + (l2 / 2) ||W||^2

    The expectation is the mean over fixed draws e of s = W mu_k + b + chol(W Sigma_k W^T) e, and the
    gradient is that of this very mean, so that a line search finds the two in agreement. As softmax knows
    differences alone, all is computed for the K-1 differences to the first class: W Sigma_k W^T itself is
    singular whenever the rows of W add up to zero, as they do at the minimum. L is convex.
    """

    def __init__(
        self,
        gaussians: ClassGaussians,
        draws: Float[Tensor, "differences draws"],
        l2: float = 0.0,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        """Keeps Sigma_k as a root where that makes the product with W cheaper, else as a matrix."""
        self.mean = gaussians.mean.to(dtype)
        self.draws = draws.to(self.mean)
        self.l2 = l2
        self.floor = gaussians.floor.to(dtype)
        channels = self.mean.shape[1]
        self.spread = [
            (part if 2 * len(part) <= channels else dense(part)).to(dtype) for part in gaussians.spread
        ]
        largest = max(self.draws.numel(), len(self.draws) * channels)
        self.blocks = torch.arange(len(self.mean), device=self.mean.device).split(max(BLOCK // largest, 1))
        self.evaluate = GraphedStep(self._evaluate, self.mean.device, "the exact M-step")

    def __call__(
        self, weight: Float[Tensor, "classes channels"], bias: Float[Tensor, " classes"]
    ) -> tuple[float, Tensor, Tensor]:
        """Returns the value and its gradients in W and b.

        Raises:
            ValueError: the value is not finite, or the covariance of the logits is not positive definite.
        """
        found = self.evaluate({"weight": weight, "bias": bias})
        value, failed = torch.stack([found["value"], found["failed"]]).tolist()
        if failed:
            raise ValueError("the covariance of the logits is not positive definite")
        if not math.isfinite(value):
            raise ValueError(f"the cross entropy of the exact M-step became {value}")
        return value, found["weight"].clone(), found["bias"].clone()

    def _evaluate(self, point: Inputs) -> dict[str, Tensor]:
        """The value, its gradients, and how many covariances are not positive definite: no number is read."""
        weight, bias = point["weight"], point["bias"]
        difference, offset = weight[1:] - weight[:1], bias[1:] - bias[:1]
        value = torch.zeros((), dtype=torch.float64, device=weight.device)
        failed = torch.zeros_like(value)
        grad_weight, grad_bias = torch.zeros_like(difference), torch.zeros_like(offset)
        start = 0
        for labels in self.blocks:
            places = range(start, start := start + len(labels))
            products = torch.stack([self._times_covariance(difference, k) for k in places])
            mean = self.mean[places.start : places.stop]
            centre = mean @ difference.T + offset
            block_value, block_failed, to_centre, to_covariance = self._expectation(
                centre, products @ difference.T, labels
            )
            value, failed = value + block_value, failed + block_failed
            grad_bias += to_centre.sum(0)
            grad_weight += to_centre.T @ mean
            # d(V Sigma V^T) = 2 sym(dV Sigma V^T), and V Sigma is at hand.
            grad_weight += 2 * torch.bmm(to_covariance, products).sum(0)
        value = value / len(weight) + 0.5 * self.l2 * weight.double().square().sum()
        grad_weight, grad_bias = grad_weight / len(weight), grad_bias / len(weight)
        return {
            "value": value,
            "failed": failed,
            "weight": _undo(grad_weight) + self.l2 * weight,
            "bias": _undo(grad_bias),
        }

    def _times_covariance(self, difference: Tensor, label: int) -> Tensor:
        """Returns V Sigma_k [K-1, C]."""
        spread, channels = self.spread[label], self.mean.shape[1]
        if len(spread) < channels:
            return torch.addcmul((difference @ spread.T) @ spread, difference, self.floor[label])
        return torch.addcmul(difference @ spread, difference, self.floor[label])

    def _expectation(
        self, centre: Tensor, covariance: Tensor, labels: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """The cross entropy of some classes, how many have none, and its gradients.

        They are the gradients in the means and in the covariances of the logits.
        """
        size, draws = self.draws.shape
        factor, failed = _cholesky(covariance.double(), JITTER[covariance.dtype])
        logits = torch.baddbmm(
            centre[:, :, None], factor.to(centre), self.draws.expand(len(labels), size, draws)
        )
        own = F.one_hot(labels, size + 1)[:, 1:, None].to(centre)
        top = logits.amax(1, keepdim=True).clamp(min=0.0)  # The first class has logit 0.
        correct = (logits * own).sum(1)
        posterior = logits.sub_(top).exp_()
        normaliser = posterior.sum(1, keepdim=True).add_(torch.exp(-top))
        entropy = (normaliser.log() + top)[:, 0] - correct
        residual = posterior.div_(normaliser).sub_(own).div_(draws)
        to_factor = (residual @ self.draws.T).double()
        to_covariance = _through_cholesky(factor, to_factor)
        value = entropy.double().mean(1).sum()
        return value, failed, residual.sum(2), to_covariance.to(centre)


def _undo(gradient: Tensor) -> Tensor:
    """From the gradient in the differences to the first class to that in all classes."""
    return torch.cat([-gradient.sum(0, keepdim=True), gradient])


def _cholesky(covariance: Tensor, jitter: float) -> tuple[Tensor, Tensor]:
    """The Cholesky factors, and how many are none."""
    size = covariance.shape[-1]
    scale = covariance.diagonal(dim1=1, dim2=2).mean(1)[:, None, None]
    identity = torch.eye(size, dtype=covariance.dtype, device=covariance.device)
    symmetric = 0.5 * (covariance + covariance.mT)
    factor, failed = torch.linalg.cholesky_ex(symmetric + (jitter * scale + 1e-12) * identity)
    return factor, (failed != 0).sum().double()


def _through_cholesky(factor: Tensor, to_factor: Tensor) -> Tensor:
    """The gradient in A = L L^T from that in L: sym( L^{-T} P(L^T dL) L^{-1} ), P = tril, diagonal halved.

    Murray, "Differentiation of the Cholesky decomposition" (2016).
    """
    inner = (factor.mT @ to_factor.tril()).tril()
    inner.diagonal(dim1=1, dim2=2).mul_(0.5)
    left = torch.linalg.solve_triangular(factor.mT, inner, upper=True)
    outer = torch.linalg.solve_triangular(factor, left, upper=False, left=False)
    return 0.5 * (outer + outer.mT)


class Minimum(NamedTuple):
    """Where a minimisation ended: the classifier, the value, the largest gradient entry, and the cost."""

    weight: Tensor
    bias: Tensor
    value: float
    gradient: float
    evaluations: int


@torch.no_grad()
def minimise(
    objective: ExpectedCrossEntropy,
    weight: Float[Tensor, "classes channels"],
    bias: Float[Tensor, " classes"],
    tolerance: float = 1e-4,
    evaluations: int = 1000,
) -> Minimum:
    """Minimises the expected cross entropy by L-BFGS from the given classifier, with no random choice.

    It ends where no entry of the gradient exceeds `tolerance`, or after about `evaluations` evaluations.
    """
    point = [weight.detach().clone().requires_grad_(), bias.detach().clone().requires_grad_()]
    optimiser = torch.optim.LBFGS(
        point,
        max_iter=evaluations,
        max_eval=evaluations,
        tolerance_grad=tolerance,
        tolerance_change=0.0,
        history_size=20,
        line_search_fn="strong_wolfe",
    )
    count = 0

    def closure() -> float:
        nonlocal count
        count += 1
        value, point[0].grad, point[1].grad = objective(point[0].detach(), point[1].detach())
        return value

    optimiser.step(closure)
    value, *gradients = objective(point[0].detach(), point[1].detach())
    largest = max(float(gradient.abs().max()) for gradient in gradients)
    return Minimum(point[0].detach(), point[1].detach(), value, largest, count)
