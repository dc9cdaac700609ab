"""Stage 2 of LMD: Iterative Classifier Calibration (arXiv 2502.03238, section 3.4, Algorithm 1)."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Annotated, Any, Literal

import numpy as np
import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from lmd.data.feed.loader import Batch, batches
from lmd.data.feed.sampling import balanced_order, instance_order
from lmd.data.feed.views import view
from lmd.losses.classification import cross_entropy, generalised_cross_entropy, linear_cross_entropy
from lmd.losses.covariance import ledoit_wolf_coefficients, shrink
from lmd.losses.distance import ClassMetric, prepare_metric
from lmd.losses.distribution import distribution_consistency
from lmd.losses.exact import ExpectedCrossEntropy, minimise, quasi_normal
from lmd.losses.gaussian import ClassGaussians, class_statistics, smooth, unbias
from lmd.losses.virtual import VirtualFeatures
from lmd.models.classifier import build_classifier
from lmd.models.network import Network, encoder_training
from lmd.parallel import one_core_each
from lmd.runtime import derive_seed
from lmd.settings import CommonSettings, Count, Decay, Fraction, NonNegative, Optimisation, Positive, Settings
from lmd.stages.base import (
    Losses,
    RunningMeans,
    StageContext,
    build_optimiser,
    seed_epoch,
    set_rate,
    steps_per_epoch,
)
from lmd.stages.calibration.statistics import check_memory, encode_rows, stream_statistics


class CalibrationSettings(Settings):
    """Settings of ICC; the numbers in comments are rows of the table in docs/paper.md."""

    iterations: Annotated[int, Field(ge=0)] = 200  # J
    virtual_per_class: Count = 50_000  # R
    head_batch: Count = 352
    # sampled: SGD on virtual features, as in the paper. exact: their limit R -> infinity, solved to its
    # minimum. exact_sgd: as many steps as "sampled" takes, each with the gradient of that limit.
    m_step: Literal["sampled", "exact", "exact_sgd"] = "sampled"
    # On validation .01 gave .650 balanced accuracy and .001 .607 (docs/log.md).
    m_step_l2: NonNegative = 0.01
    m_step_draws: Annotated[int, Field(ge=2)] = 1024
    m_step_tolerance: Positive = 1e-4
    m_step_evaluations: Count = 1000
    head_optimisation: Optimisation = Optimisation(lr=1e-5, weight_decay=1e-4)
    encoder_optimisation: Optimisation = Optimisation(lr=1e-6, weight_decay=1e-4)
    gradient_clip: Positive | None = None
    head: Literal["linear", "cosine"] = "linear"  # 23
    reinit: Literal["once", "each_iter"] = "once"  # 23
    virtual: bool = True  # False: the M-step sees class-balanced real features (ablation w/o VFC)
    stats_data: Literal["balanced_draw", "all_images"] = "balanced_draw"  # 22
    unbiased_weights: bool = False  # 22
    stats_decay: Decay = 0.999  # 18
    sample_from: Literal["ema", "current"] = "ema"  # 18
    cov: Literal["ridge", "oas", "ledoit_wolf", "pooled", "diagonal"] = "ridge"  # 17
    ridge: NonNegative = 0.01  # 17
    distribution_weight: NonNegative = 1e-4  # lambda_e
    fdc_metric: Literal["precision", "covariance_literal", "pooled_precision", "diagonal", "euclidean"] = (
        "precision"  # 16
    )
    fdc_sign: Literal["paper", "code"] = "paper"  # 15
    phi_cap: Positive | None = None
    normalise_by_dim: bool = False
    estep_label: Literal["ce", "gce", "detached_legacy", "none"] = "ce"  # 14
    gce_q: Annotated[float, Field(gt=0.0, le=1.0)] = 0.7  # 14
    estep_view: Literal["clean", "weak", "strong"] = "clean"  # 12
    estep_bn: Literal["frozen", "train"] = "frozen"  # 13
    estep_sampling: Literal["instance", "balanced"] = "instance"  # Table 5
    estep_fraction: Fraction = 1.0
    final_m_step: bool = True  # 19

    @model_validator(mode="after")
    def _ask_for_a_linear_classifier(self) -> CalibrationSettings:
        if self.m_step != "sampled" and self.head != "linear":
            raise ValueError(f"m_step '{self.m_step}' needs head 'linear'; with '{self.head}' use 'sampled'")
        return self

    @model_validator(mode="after")
    def _ask_for_an_m_step(self) -> CalibrationSettings:
        if self.iterations == 0 and not self.final_m_step:
            raise ValueError("with iterations = 0 and no final_m_step the new classifier is never trained")
        return self


class Calibration:
    """ICC: an EM loop of *estimate, maximise, expect*.

    Algorithm 1 runs M1 E1 M2 E2 ... MJ EJ. With `final_m_step` one more estimate and M-step follows,
    so that the saved classifier fits the saved encoder; the epochs of this stage are then cut before
    each E-step - M1 | E1 M2 | E2 M3 | ... | EJ MJ+1 - and every epoch ends with a matching pair that
    validation may choose.
    """

    name = "stage2"

    def __init__(self, common: CommonSettings, stage: CalibrationSettings, num_classes: int) -> None:
        """Keeps the settings; nothing is built before `prepare`."""
        self.common = common
        self.stage = stage
        self.num_classes = num_classes
        self.epochs = stage.iterations + int(stage.final_m_step)
        self.smoothed: ClassGaussians | None = None
        self.shrinkage: Tensor | None = None

    def prepare(self, context: StageContext) -> None:
        """Re-initialises the classifier (once) and makes the two optimisers."""
        self.context = context
        self.network = context.network
        self.labels = context.train.labels.numpy()
        self.channels = _channels(self.network)
        numbers = torch.arange(self.stage.head_batch + self.num_classes, device=context.runtime.device)
        self.cycle = numbers % self.num_classes
        averaged = self.epochs if self.stage.stats_decay > 0 else 1
        matrices = _makes_matrices(self.stage)
        check_memory(context.train.counts, self.channels, averaged, context.runtime.device, matrices)
        head = build_classifier(self.stage.head, self.channels, self.num_classes, self._seed("head", 0))
        self.network.classifier = head.to(context.runtime.device)
        self.head_optimiser = build_optimiser(
            self.network.classifier, self.stage.head_optimisation, self.common
        )
        self.encoder_optimiser = build_optimiser(
            self.network.encoder, self.stage.encoder_optimisation, self.common
        )

    def run_epoch(self, epoch: int) -> Losses:
        """Runs the steps of one epoch (see the class) and returns all their loss terms."""
        seed_epoch(self.common.seed, self.name, epoch)
        losses: Losses = {}
        if self.stage.final_m_step and epoch > 0:
            losses |= self.expect(epoch - 1)
        self.estimate(epoch)
        losses |= self.maximise(epoch)
        if not self.stage.final_m_step:
            losses |= self.expect(epoch)
        return losses

    def estimate(self, iteration: int) -> None:
        """Estimates mu_k and Sigma_k of the encoder's features and smooths them (eq. 6)."""
        rows, weights = self._statistics_sample(iteration)
        labels = self.context.train.labels[torch.from_numpy(rows)].to(self.context.runtime.device)
        if self.stage.virtual and self.stage.cov != "ledoit_wolf":
            current = stream_statistics(self.context, self.channels, rows, weights)
        else:  # Real features, or Ledoit and Wolf's fourth moments, need the features themselves.
            self.features, self.feature_labels = encode_rows(self.context, rows)
            current = class_statistics(self.features, labels, self.num_classes, weights)
        if self.stage.unbiased_weights:
            current = unbias(current, labels, weights)
        if self.stage.cov == "ledoit_wolf":
            self.shrinkage = ledoit_wolf_coefficients(self.features, labels, self.num_classes)
        self.smoothed = smooth(self.smoothed, current, iteration, self.stage.stats_decay)
        self.current = current

    def maximise(self, iteration: int) -> Losses:
        """Trains the classifier on R virtual features of each class (eq. 7-8), encoder frozen."""
        if self.stage.reinit == "each_iter":
            self._reinitialise_head(iteration)
        if self.stage.m_step == "exact" and self.stage.virtual:
            return self._solve()
        total = self.stage.virtual_per_class * self.num_classes
        steps = math.ceil(total / self.stage.head_batch)
        means = RunningMeans()
        for step, loss in enumerate(self._head_gradients(iteration, steps, total)):
            moment = iteration + step / steps
            set_rate(self.head_optimiser, self.stage.head_optimisation, self.common, moment, self.epochs)
            self._move(self.head_optimiser, self.network.classifier)
            means.add({"maximise": loss})
            self.context.on_step(step + 1, steps)
        return means.result()

    def _head_gradients(self, iteration: int, steps: int, total: int) -> Iterator[Tensor]:
        """Leaves the gradient of each step in the classifier as it then is, and yields the loss."""
        classifier = self.network.classifier
        if self.stage.m_step == "exact_sgd" and self.stage.virtual:
            # The paper's step has the optimiser's weight decay; `m_step_l2` belongs to the minimum alone.
            objective = self._objective(l2=0.0)
            for _ in range(steps):
                value, *gradients = objective(*_linear(classifier))
                yield _leave(classifier, torch.tensor(value), gradients)
            return
        generator = torch.Generator(self.context.runtime.device).manual_seed(self._seed("virtual", iteration))
        source = (self._virtual_features if self.stage.virtual else self._real_features)(total, generator)
        for step, features in enumerate(source):
            labels = self._cyclic_labels(step, total)
            if isinstance(classifier, nn.Linear):
                value, *gradients = linear_cross_entropy(features, labels, *_linear(classifier))
            else:
                value = cross_entropy(classifier(features), labels)
                gradients = torch.autograd.grad(value, list(classifier.parameters()))
            yield _leave(classifier, value, gradients)

    def _solve(self) -> Losses:
        """Solves the M-step to its minimum, starting from the classifier of the iteration before."""
        weight, bias = _linear(self.network.classifier)
        stage = self.stage
        found = minimise(
            self._objective(stage.m_step_l2), weight, bias, stage.m_step_tolerance, stage.m_step_evaluations
        )
        weight.copy_(found.weight)
        bias.copy_(found.bias)
        self.context.on_step(1, 1)
        return {
            "maximise": found.value,
            "maximise_gradient": found.gradient,
            "maximise_evaluations": found.evaluations,
        }

    def _objective(self, l2: float) -> ExpectedCrossEntropy:
        """The exact M-step's objective; its draws are the same in all iterations, so that a warm start is."""
        draws = quasi_normal(self.num_classes - 1, self.stage.m_step_draws, self._seed("exact"))
        return ExpectedCrossEntropy(self._sampled(), draws, l2)

    def expect(self, iteration: int) -> Losses:
        """Trains the encoder through the frozen classifier, with FDC (eq. 10-12)."""
        metric = None
        if self.stage.distribution_weight > 0:
            metric = prepare_metric(self._shrunk(self.smoothed), self.stage.fdc_metric)
        order = self._estep_order(iteration)
        steps = steps_per_epoch(len(order), self.common.batch)
        means = RunningMeans()
        with encoder_training(self.network, self.stage.estep_bn):
            for number, batch in enumerate(self._estep_batches(order)):
                moment = iteration + number / steps
                set_rate(
                    self.encoder_optimiser,
                    self.stage.encoder_optimisation,
                    self.common,
                    moment,
                    max(self.stage.iterations, 1),
                )
                terms = self._expect_terms(batch, iteration, metric)
                self._step(self.encoder_optimiser, self.network.encoder, terms["expect"])
                means.add(terms)
                self.context.on_step(number + 1, steps)
        return means.result()

    def _expect_terms(self, batch: Batch, iteration: int, metric: ClassMetric | None) -> dict[str, Tensor]:
        """Equation 12: lambda_e (Psi - Phi) + the label term."""
        views = view(self.stage.estep_view, batch.images, batch.index, self.common.seed, iteration)
        with self.context.runtime.autocast():
            output = self.network(views)
        terms = {"expect_label": self._label_term(output.logits.float(), batch.labels)}
        terms["expect"] = terms["expect_label"]
        if metric is not None:
            distances = metric.distances(output.features.float())
            if self.stage.normalise_by_dim:
                distances = distances / output.features.shape[1]
            fdc = distribution_consistency(distances, batch.labels, self.stage.fdc_sign, self.stage.phi_cap)
            terms["distribution_consistency"] = fdc
            terms["expect"] = terms["expect"] + self.stage.distribution_weight * fdc
        return terms

    def _label_term(self, logits: Tensor, labels: Tensor) -> Tensor:
        """The label term of the E-step; "detached_legacy" has no gradient, as in the authors' code."""
        kind = self.stage.estep_label
        if kind == "none":
            return torch.zeros((), device=logits.device)
        if kind == "ce":
            return cross_entropy(logits, labels)
        loss = generalised_cross_entropy(logits, labels, self.stage.gce_q)
        return loss.detach() if kind == "detached_legacy" else loss

    def _step(self, optimiser: torch.optim.Optimizer, module: nn.Module, loss: Tensor) -> None:
        if not loss.requires_grad:  # No term is left that could move the encoder.
            return
        optimiser.zero_grad(set_to_none=True)
        self.context.runtime.backward(loss)
        self._move(optimiser, module)

    def _move(self, optimiser: torch.optim.Optimizer, module: nn.Module) -> None:
        if self.stage.gradient_clip is not None:
            nn.utils.clip_grad_norm_(module.parameters(), self.stage.gradient_clip)
        optimiser.step()

    def _statistics_sample(self, iteration: int) -> tuple[np.ndarray, Tensor | None]:
        """The distinct rows the statistics are made of, and how often each was drawn."""
        if self.stage.stats_data == "all_images":
            return np.arange(len(self.labels)), None
        drawn = balanced_order(self.labels, self._seed("statistics"), iteration)
        rows, times = np.unique(drawn, return_counts=True)
        return rows, torch.from_numpy(times).to(self.context.runtime.device)

    def _estep_order(self, iteration: int) -> np.ndarray:
        seed = self._seed("expect")
        if self.stage.estep_sampling == "balanced":
            order = balanced_order(self.labels, seed, iteration)
        else:
            order = instance_order(len(self.labels), seed, iteration)
        return order[: max(1, round(len(order) * self.stage.estep_fraction))]

    def _estep_batches(self, order: np.ndarray) -> Any:
        size = self.common.batch
        return batches(
            self.context.train, order, size, self.context.runtime.device, drop_last=len(order) >= size
        )

    def _cyclic_labels(self, step: int, total: int) -> Tensor:
        """The labels of one M-step batch: the classes in turn, so that each is drawn R times in all."""
        start = step * self.stage.head_batch
        number = min(self.stage.head_batch, total - start)
        first = start % self.num_classes
        return self.cycle[first : first + number]

    def _sampled(self) -> ClassGaussians:
        """The Gaussians that the M-step draws from."""
        return self._shrunk(self.smoothed if self.stage.sample_from == "ema" else self.current)

    def _virtual_features(self, total: int, generator: torch.Generator) -> Iterator[Tensor]:
        """Yields class-balanced batches of draws; on a CPU the next are drawn while the classifier learns."""
        source, batch = VirtualFeatures(self._sampled()), self.stage.head_batch
        chunks = source.chunks(total, batch, generator)
        on_cpu = self.context.runtime.device.type == "cpu"
        for features in one_core_each(source.draw, chunks) if on_cpu else map(source.draw, chunks):
            yield from features.split(batch)

    def _real_features(self, total: int, generator: torch.Generator) -> Iterator[Tensor]:
        """Yields class-balanced batches of the images' own features, drawn with replacement."""
        rows = [torch.nonzero(self.feature_labels == k).flatten() for k in range(self.num_classes)]
        counts = torch.tensor([len(r) for r in rows], device=self.features.device)
        table = nn.utils.rnn.pad_sequence(rows, batch_first=True)
        for step in range(math.ceil(total / self.stage.head_batch)):
            labels = self._cyclic_labels(step, total)
            uniform = torch.rand(len(labels), generator=generator, device=labels.device)
            yield self.features[table[labels, (uniform * counts[labels]).long()]]

    def _shrunk(self, gaussians: ClassGaussians | None) -> ClassGaussians:
        assert gaussians is not None, "estimate comes before whatever uses the statistics"
        return shrink(gaussians, self.stage.cov, self.stage.ridge, self.shrinkage)

    def _reinitialise_head(self, iteration: int) -> None:
        fresh = build_classifier(
            self.stage.head, self.channels, self.num_classes, self._seed("head", iteration)
        )
        self.network.classifier.load_state_dict(fresh.state_dict())
        self.head_optimiser.state.clear()

    def _seed(self, *keys: int | str) -> int:
        return derive_seed(self.common.seed, self.name, *keys)

    def deliver(self) -> Network:
        """Returns the network as it is now."""
        return self.network

    def state_dict(self) -> dict[str, Any]:
        """Returns both optimisers and the smoothed statistics."""
        return {
            "head": self.head_optimiser.state_dict(),
            "encoder": self.encoder_optimiser.state_dict(),
            "smoothed": None if self.smoothed is None else self.smoothed.as_dict(),
            "shrinkage": self.shrinkage,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes such a state back."""
        self.head_optimiser.load_state_dict(state["head"])
        self.encoder_optimiser.load_state_dict(state["encoder"])
        if state["smoothed"] is not None:
            self.smoothed = ClassGaussians.from_dict(state["smoothed"]).to(self.context.runtime.device)
        self.shrinkage = state["shrinkage"]

    def artefacts(self) -> dict[str, Tensor]:
        """Returns the smoothed class Gaussians, in fp32."""
        if self.smoothed is None:
            return {}
        return self.smoothed.to(torch.float32).to("cpu").as_dict()


def _makes_matrices(stage: CalibrationSettings) -> str | None:
    """The setting that makes a C x C matrix of every class, however few images it has."""
    if stage.virtual and stage.cov == "pooled":
        return "stage2.cov"
    return "stage2.fdc_metric" if stage.fdc_metric == "covariance_literal" else None


def _leave(classifier: nn.Module, loss: Tensor, gradients: Sequence[Tensor]) -> Tensor:
    """Leaves the gradients in the classifier's parameters; returns the loss."""
    for parameter, gradient in zip(classifier.parameters(), gradients, strict=True):
        parameter.grad = gradient
    return loss


def _linear(classifier: nn.Module) -> tuple[Tensor, Tensor]:
    """The W and b of a linear classifier, to compute with and to write into without autograd."""
    assert isinstance(classifier, nn.Linear), "the settings ask for a linear classifier"
    return classifier.weight.detach(), classifier.bias.detach()


def _channels(network: Network) -> int:
    parameter = next(network.classifier.parameters())
    return parameter.shape[-1]
