"""LMD by hand: Algorithm 1 of arXiv 2502.03238 as one straight script, without `lmd.train`.

    python examples/lmd_by_hand.py

Drawn phantom images and a tiny encoder: less than a minute. Each step names its equation and its line of
Algorithm 1. `lmd.train` does the same with validation, checkpoints and exact resume (docs/paper.md).
"""

from __future__ import annotations

import copy
import tempfile

import timm
import torch
from torch import Tensor, nn

import lmd
from lmd import losses
from lmd.data.decode.cache import open_cache
from lmd.data.feed import OrderSampler
from lmd.data.feed.loader import image_set
from lmd.data.feed.views import clean, strong, weak
from lmd.evaluation import Evaluation, measure

SIZE, BATCH, SEED = 32, 64, 1  # pixels, images in a step, seed of every draw
LAMBDA_1, LAMBDA_E = 1.0, 1e-4  # weights of the consistencies (paper: 10) and of Psi - Phi (eq. 12)
VIRTUAL, RIDGE = 2000, 0.01  # R, virtual features of each class (paper: 50,000); variance added to Sigma_k


def main(images: int = 400, epochs: int = 12, iterations: int = 3) -> dict[str, Evaluation]:
    """Trains on phantoms; returns the test results after stage 1 and after stage 2."""
    torch.manual_seed(SEED)
    with tempfile.TemporaryDirectory() as folder:
        data = lmd.prepare("phantom", out=f"{folder}/data", images=images, size=SIZE, seed=SEED)
        pixels = open_cache(data, SIZE)
        train, test = image_set(data, "train", pixels), image_set(data, "test", pixels)
    x, y, num_classes = train.pixels, train.labels, train.num_classes
    uniform, balanced = OrderSampler(y, "instance", SEED), OrderSampler(y, "balanced", SEED)

    # Lines 1 to 8, stage 1: relation-aware representation learning of g and f. The teacher begins as a copy.
    g = timm.create_model("test_resnet", num_classes=0)
    f = nn.Linear(g.num_features, num_classes)
    student = nn.ModuleList([g, f])
    teacher = copy.deepcopy(student)
    optimiser = torch.optim.SGD(student.parameters(), lr=0.02, momentum=0.9)
    step = 0
    for epoch in range(epochs):
        uniform.set_epoch(epoch)
        for rows in torch.from_numpy(uniform.order()).split(BATCH):
            x_w, x_s = weak(x[rows], rows, SEED, epoch), strong(x[rows], rows, SEED, epoch)
            z_s = g(x_s)
            with torch.no_grad():
                z_w = teacher[0](x_w)
                logits_w = teacher[1](z_w)
            prob = losses.probability_consistency(f(z_s), logits_w)  # eq. 3
            sample = losses.sample_consistency(z_s, z_w)  # eq. 4
            channel = losses.channel_consistency(z_s, z_w)  # eq. 5
            loss = losses.cross_entropy(f(g(x_w)), y[rows]) + LAMBDA_1 * (sample + channel + 0.5 * prob)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            decay, step = min(1 - 1 / (step + 1), 0.99), step + 1  # The teacher follows the student.
            with torch.no_grad():
                for mine, theirs in zip(teacher.parameters(), student.parameters(), strict=True):
                    mine.lerp_(theirs, 1 - decay)
        print(f"stage 1, epoch {epoch + 1}: loss {loss.item():.3f}")

    @torch.no_grad()
    def features(pixels: Tensor) -> Tensor:
        return torch.cat([g.eval()(clean(part)) for part in pixels.split(256)])

    @torch.no_grad()
    def result() -> Evaluation:
        return measure(test.labels, f(features(test.pixels)).softmax(1), classes=data.classes)

    results = {"stage 1": result()}

    # Lines 9 to 19, stage 2: iterative classifier calibration. g stays, f is new (line 9).
    f = nn.Linear(g.num_features, num_classes)
    optimiser_f = torch.optim.SGD(f.parameters(), lr=0.01, momentum=0.9, weight_decay=1e-4)
    optimiser_g = torch.optim.SGD(g.parameters(), lr=1e-4, momentum=0.9, weight_decay=1e-4)
    smoothed = None
    for j in range(iterations + 1):  # The last pass has an M-step alone, so that f fits g at the end.
        # Line 12: mu_k and Sigma_k of class-balanced images, eq. 6-7, and their average over iterations.
        balanced.set_epoch(j)
        rows = torch.from_numpy(balanced.order())
        now = losses.class_statistics(features(x[rows]), y[rows], num_classes)
        smoothed = losses.smooth(smoothed, now, j, decay=0.999)
        gaussians = losses.shrink(smoothed, "ridge", RIDGE)  # So that each Sigma_k has an inverse.

        # M-step, lines 13 and 14: f learns from virtual features v ~ N(mu_k, Sigma_k), eq. 8.
        generator, virtual = torch.Generator().manual_seed(j), losses.VirtualFeatures(gaussians)
        for v in virtual.stream(VIRTUAL * num_classes, 44 * num_classes, generator):
            loss = losses.cross_entropy(f(v), torch.arange(len(v)) % num_classes)  # Classes come in turn.
            optimiser_f.zero_grad()
            loss.backward()
            optimiser_f.step()
        print(f"stage 2, iteration {j + 1}, M-step: loss {loss.item():.3f}")

        # E-step, lines 15 and 16: g learns through f, which stays as it is; so does BatchNorm. Eq. 9-12.
        distance = losses.prepare_metric(gaussians)  # d_k of eq. 10 and 11
        uniform.set_epoch(epochs + j)
        for rows in torch.from_numpy(uniform.order()).split(BATCH) if j < iterations else ():
            z = g.eval()(clean(x[rows]))
            terms = losses.expectation_loss(f(z), y[rows], distance.distances(z), LAMBDA_E)  # eq. 12
            optimiser_g.zero_grad()
            terms.total.backward()
            optimiser_g.step()

    results["stage 2"] = result()  # Line 19: f and g together predict.
    for name, found in results.items():
        print(f"balanced accuracy after {name}: {found.metrics['bacc']}")
    return results


if __name__ == "__main__":
    torch.set_num_threads(1)  # Maps of a few pixels: more threads wait for each other.
    main()
