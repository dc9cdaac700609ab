"""The M-step: the classifier is trained on virtual features, the encoder is frozen (section 3.4.2)."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any, Literal, Protocol, cast

import torch
from torch import Tensor, nn

from lmd.errors import advising
from lmd.graphed import GraphedStep, Inputs
from lmd.losses.classification import linear_cross_entropy
from lmd.losses.exact import ExpectedCrossEntropy, minimise, quasi_normal
from lmd.losses.gaussian import ClassGaussians
from lmd.losses.virtual import VirtualFeatures
from lmd.parallel import one_core_each
from lmd.runtime import derive_seed
from lmd.settings import CommonSettings, Count, NonNegative, Optimisation, Settings
from lmd.stages.base import StageContext
from lmd.stages.calibration.statistics import Statistics
from lmd.stages.optimisation import (
    Losses,
    RunningMeans,
    build_optimiser,
    give_rate,
    load_optimiser,
    rate_at,
)

RAISE_RIDGE = "raise 'statistics.ridge' or choose another 'statistics.covariance'"
# The exact M-step: draws of the logits, largest entry of the gradient at its end, evaluations at most.
DRAWS, TOLERANCE, EVALUATIONS = 1024, 1e-4, 1000


class MStepSettings(Settings):
    """How the classifier f is trained in each iteration."""

    solver: Literal["sampled", "exact"] = "sampled"
    """SGD on virtual features (paper), or the minimum of its limit R -> infinity (ours)"""
    virtual_per_class: Count = 50_000
    """R, virtual features of each class in each iteration (paper, section 4.7); for `sampled`"""
    batch: Count = 352
    """virtual features in a step (authors' code); for `sampled`"""
    optimisation: Optimisation = Optimisation(lr=1e-5, weight_decay=1e-4)
    """SGD of the classifier (rate: paper, section 4.2; decay: authors' code); for `sampled`"""
    # On validation .01 gave .650 balanced accuracy and .001 .607 (docs/log.md).
    l2: NonNegative = 0.01
    """weight of ||W||^2 / 2 in the objective (ours, chosen on validation); for `exact`"""

    def idle(self) -> dict[str, Sequence[str]]:
        """Returns the settings of the solver that is not used, by the setting that is the reason."""
        sampled = ("m_step.virtual_per_class", "m_step.batch", "m_step.optimisation")
        others: dict[str, Sequence[str]] = {"exact": sampled, "sampled": ("m_step.l2",)}
        return {f"m_step.solver={self.solver}": others[self.solver]}


class MStep(Protocol):
    """One way to train the classifier on class Gaussians."""

    def prepare(self, context: StageContext, steps: int) -> None:
        """Takes the network over; `steps` is how many M-steps there will be."""
        ...

    def fit(self, gaussians: ClassGaussians, iteration: int) -> Losses:
        """Trains the classifier and returns the mean of its loss."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """Returns what the next iteration depends on, beyond the classifier."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes such a state back."""
        ...


class SampledMStep:
    """SGD on R virtual features of each class, as in the paper: theta_f = argmin L^M; see eq. 8."""

    def __init__(self, common: CommonSettings, settings: MStepSettings) -> None:
        """Keeps the settings."""
        self.common, self.settings = common, settings

    def prepare(self, context: StageContext, steps: int) -> None:
        """Makes the optimiser of the classifier."""
        self.context, self.steps = context, steps
        self.num_classes = context.train.num_classes
        self.optimiser = build_optimiser(context.network.classifier, self.settings.optimisation, self.common)
        self.train_block = GraphedStep(self._train_block, context.runtime.device, "the M-step")

    def fit(self, gaussians: ClassGaussians, iteration: int) -> Losses:
        """Takes ceil(R K / batch) steps (Algorithm 1, lines 13-14)."""
        steps = math.ceil(self.total / self.settings.batch)
        means, done = RunningMeans(), 0
        for features in self.blocks(gaussians, iteration):
            count = math.ceil(len(features) / self.settings.batch)
            rates = [self._rate(iteration + (done + step) / steps) for step in range(count)]
            block = {
                "features": features,
                "labels": self.labels(done * self.settings.batch, len(features)),
                "rates": torch.tensor(rates, dtype=torch.float64),
            }
            means.add(self.train_block(block), steps=count)
            done += count
            self.context.on_step(done, steps)
        return means.result()

    def _rate(self, moment: float) -> float:
        return rate_at(self.settings.optimisation, self.common, moment, self.steps)

    @property
    def total(self) -> int:
        """The features of one M-step: R K."""
        return self.settings.virtual_per_class * self.num_classes

    def labels(self, start: int, number: int) -> Tensor:
        """Returns the labels of so many features: the classes in turn, each R times in all."""
        places = torch.arange(start, start + number, device=self.context.runtime.device)
        return places % self.num_classes

    def blocks(self, gaussians: ClassGaussians, iteration: int) -> Iterator[Tensor]:
        """Yields virtual features for some steps at a time.

        On a CPU the next are drawn while the classifier learns.

        Raises:
            SettingsError: a covariance is not positive definite.
        """
        with advising(RAISE_RIDGE):
            source = VirtualFeatures(gaussians)
        chunks = source.chunks(self.total, self.settings.batch, self.generator(iteration))
        on_cpu = self.context.runtime.device.type == "cpu"
        yield from one_core_each(source.draw, chunks) if on_cpu else map(source.draw, chunks)

    def generator(self, iteration: int) -> torch.Generator:
        """Returns the generator of an iteration's draws."""
        seed = derive_seed(self.common.seed, "stage2", "virtual", iteration)
        return torch.Generator(self.context.runtime.device).manual_seed(seed)

    def _train_block(self, block: Inputs) -> dict[str, Tensor]:
        """Takes the steps of a block and returns the sum of their losses."""
        features, labels, rates = (block[name] for name in ("features", "labels", "rates"))
        batch = self.settings.batch
        losses: list[Tensor] = []
        for part, own, rate in zip(features.split(batch), labels.split(batch), rates, strict=True):
            give_rate(self.optimiser, rate)
            losses.append(self._gradient_step(part, own))
        return {"maximise": torch.stack(losses).double().sum()}

    def _gradient_step(self, features: Tensor, labels: Tensor) -> Tensor:
        classifier = linear_part(self.context)
        loss, *gradients = linear_cross_entropy(
            features, labels, classifier.weight.detach(), classifier.bias.detach()
        )
        for parameter, gradient in zip(classifier.parameters(), gradients, strict=True):
            parameter.grad = gradient
        self.optimiser.step()
        return loss

    def state_dict(self) -> dict[str, Any]:
        """Returns the optimiser's state."""
        return self.optimiser.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes such a state back."""
        load_optimiser(self.optimiser, state)


class RealFeatureMStep(SampledMStep):
    """The ablation w/o VFC: the same steps on class-balanced real features, drawn with replacement."""

    def __init__(self, common: CommonSettings, settings: MStepSettings, statistics: Statistics) -> None:
        """Takes the features from the statistics, which keep them."""
        super().__init__(common, settings)
        self.statistics = statistics

    def blocks(self, gaussians: ClassGaussians, iteration: int) -> Iterator[Tensor]:
        """Yields batches of the images' own features."""
        features, labels = self.statistics.features, self.statistics.labels
        rows = [torch.nonzero(labels == k).flatten() for k in range(self.num_classes)]
        counts = torch.tensor([len(r) for r in rows], device=features.device)
        table = nn.utils.rnn.pad_sequence(rows, batch_first=True)
        generator = self.generator(iteration)
        for start in range(0, self.total, self.settings.batch):
            wanted = self.labels(start, min(self.settings.batch, self.total - start))
            uniform = torch.rand(len(wanted), generator=generator, device=wanted.device)
            yield features[table[wanted, (uniform * counts[wanted]).long()]]


class ExactMStep:
    """The minimum of the objective for R -> infinity, from the classifier of the iteration before."""

    def __init__(self, common: CommonSettings, settings: MStepSettings) -> None:
        """Keeps the settings."""
        self.common, self.settings = common, settings

    def prepare(self, context: StageContext, steps: int) -> None:
        """Draws the points that the expectation is a mean over: the same in all iterations.

        Raises:
            SettingsError: there are more classes than the points have dimensions.
        """
        self.context = context
        seed = derive_seed(self.common.seed, "stage2", "exact")
        with advising("use 'm_step.solver=sampled'"):
            self.draws = quasi_normal(context.train.num_classes - 1, DRAWS, seed)

    def fit(self, gaussians: ClassGaussians, iteration: int) -> Losses:
        """Solves the M-step (Algorithm 1, lines 13-14, without sampling).

        Raises:
            SettingsError: the logits have no finite covariance.
        """
        classifier = linear_part(self.context)
        weight, bias = classifier.weight.detach(), classifier.bias.detach()
        with advising(f"{RAISE_RIDGE}, or raise 'm_step.l2'"):
            objective = ExpectedCrossEntropy(gaussians, self.draws, self.settings.l2)
            found = minimise(objective, weight, bias, TOLERANCE, EVALUATIONS)
        weight.copy_(found.weight)
        bias.copy_(found.bias)
        self.context.on_step(1, 1)
        return {
            "maximise": found.value,
            "maximise_gradient": found.gradient,
            "maximise_evaluations": found.evaluations,
        }

    def state_dict(self) -> dict[str, Any]:
        """Returns nothing: the classifier is all that the next iteration starts from."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes nothing back."""


def build_m_step(
    common: CommonSettings, settings: MStepSettings, statistics: Statistics, real_features: bool
) -> MStep:
    """Returns the M-step that the settings ask for."""
    if real_features:
        return RealFeatureMStep(common, settings, statistics)
    return (ExactMStep if settings.solver == "exact" else SampledMStep)(common, settings)


def linear_part(context: StageContext) -> nn.Linear:
    """Returns the classifier of stage 2, which is linear."""
    return cast("nn.Linear", context.network.classifier)
