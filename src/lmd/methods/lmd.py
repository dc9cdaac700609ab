"""LMD: relation-aware representation learning, then iterative classifier calibration.

Pan, Zhang, Yang, Li, Chen: "Long-tailed medical diagnosis with relation-aware representation learning
and iterative classifier calibration", arXiv 2502.03238 (2025); conference version MICCAI 2023.

    stage 1 (RRL)   L_CE + lambda_1 (L_sample + L_channel + 0.5 L_prob)       see eq. 3-5
    stage 2 (ICC)   statistics: mu_k and Sigma_k of class-balanced images     see eq. 6-7
                    M-step: CE of f on R virtual features v ~ N(mu_k, Sigma_k)  see eq. 8
                    E-step: lambda_e (Psi - Phi) + CE through the frozen f    see eq. 9-12

The defaults are the paper's; every departure is a row of the table in docs/paper.md.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal, NamedTuple

import numpy as np
from pydantic import Field

from lmd.model_card import Prior
from lmd.settings import CommonSettings, budgets
from lmd.stages.base import Stage, Supervised
from lmd.stages.calibration.algorithm import Calibration
from lmd.stages.calibration.e_step import EStep, EStepSettings, IdleEStep
from lmd.stages.calibration.m_step import MStepSettings, build_m_step
from lmd.stages.calibration.statistics import Statistics, StatisticsSettings
from lmd.stages.classifier_training import ClassifierSettings, ClassifierTraining
from lmd.stages.cross_entropy import CrossEntropy, CrossEntropySettings
from lmd.stages.relation import AUTO_STAGE1, SHORT_STAGE1, SMOKE_STAGE1, RelationLearning, RelationSettings

# The names of version 0.1, so that an old recipe is told the new ones; "" is gone.
_OLD_NAMES = {
    "rrl": "without", "icc": "without", "vfc": "without", "fdc": "without",
    "stage2.iterations": "iterations",
    "stage2.virtual_per_class": "m_step.virtual_per_class",
    "stage2.head_batch": "m_step.batch",
    "stage2.m_step": "m_step.solver",
    "stage2.m_step_l2": "m_step.l2",
    "stage2.head_optimisation": "m_step.optimisation",
    "stage2.encoder_optimisation": "e_step.optimisation",
    "stage2.stats_data": "statistics.sampling",
    "stage2.stats_decay": "statistics.decay",
    "stage2.cov": "statistics.covariance",
    "stage2.ridge": "statistics.ridge",
    "stage2.distribution_weight": "e_step.distribution_weight",
    "stage2.fdc_metric": "e_step.distance",
    "stage2.estep_view": "e_step.view",
    "stage2.estep_bn": "e_step.batch_norm",
    "stage2.estep_sampling": "e_step.sampling",
    **dict.fromkeys(
        ("stage2.m_step_draws", "stage2.m_step_tolerance", "stage2.m_step_evaluations", "stage2.head",
         "stage2.reinit", "stage2.gradient_clip", "stage2.virtual", "stage2.unbiased_weights",
         "stage2.sample_from", "stage2.fdc_sign", "stage2.phi_cap", "stage2.normalise_by_dim",
         "stage2.estep_label", "stage2.gce_q", "stage2.estep_fraction", "stage2.final_m_step"),
        "",
    ),
}  # fmt: skip


# What the first stage has in common with cross entropy, which stands for it w/o RRL.
_SHARED = ("epochs", "optimisation", "sampling")
# The settings that have no effect, by the part that is left out.
_IDLE: Mapping[str, tuple[str, ...]] = {
    "rrl": tuple(
        f"stage1.{name}" for name in RelationSettings.model_fields if name not in (*_SHARED, "ce_view")
    ),
    "icc": ("iterations", "statistics", "m_step", "e_step"),
    "vfc": ("m_step.solver", "m_step.l2"),
    "fdc": ("e_step.distribution_weight", "e_step.distance"),
}


class Settings(CommonSettings):
    """LMD's settings, in groups that read like the paper."""

    OLD_NAMES: ClassVar[Mapping[str, str]] = _OLD_NAMES

    without: Literal["none", "rrl", "icc", "vfc", "fdc"] = "none"
    """the part that an ablation leaves out (paper, section 4.6)"""
    stage1: RelationSettings = RelationSettings()
    """stage 1: RRL (paper, section 3.3)"""
    iterations: Annotated[int, Field(ge=0)] = 200
    """J, iterations of M-step and E-step (authors' code: 200); 0: one M-step alone"""
    statistics: StatisticsSettings = StatisticsSettings()
    """stage 2, ICC: the class Gaussians (paper, section 3.4.2)"""
    m_step: MStepSettings = MStepSettings()
    """stage 2, ICC: training of the classifier (paper, sections 3.4.1 and 3.4.2)"""
    e_step: EStepSettings = EStepSettings()
    """stage 2, ICC: training of the encoder, with FDC (paper, section 3.4.3)"""

    def idle(self) -> Mapping[str, Sequence[str]]:
        """Returns settings of what is not used: of a part left out, the other solver, a frozen encoder."""
        found: dict[str, Sequence[str]] = {f"without={self.without}": _IDLE.get(self.without, ())}
        if self.without not in ("icc", "vfc"):
            found |= self.m_step.idle()
        if self.without != "icc" and self.freeze == "all":
            found["freeze=all"] = ("e_step",)
        return found


PAPER = "Pan et al., arXiv 2502.03238 (2025); conference version MICCAI 2023"
STATUS = "the method"
# The M-step draws as many virtual features of each class, which would imply equal shares. On new images it
# does not: a bias by class undid 0.56 to 0.75 of it on five encoders (docs/probabilities.md).
PRIOR: Prior = "unknown"
# Measured, not the paper's: ICC leaves rare classes at a disadvantage on new images (docs/tau.md).
TAU = 0.75
BUDGETS = budgets(
    smoke={
        "tau": TAU,
        "stage1": SMOKE_STAGE1,
        "iterations": 1,
        "m_step": {"virtual_per_class": 2000, "optimisation": {"lr": 0.01}},
    },
    short={
        "tau": TAU,
        "stage1": SHORT_STAGE1,
        "iterations": 2,
        "m_step": {"virtual_per_class": 10_000, "optimisation": {"lr": 0.03, "weight_decay": 1e-2}},
    },
    auto={
        "tau": TAU,
        "stage1": AUTO_STAGE1,
        "iterations": 2,
        "m_step": {"virtual_per_class": 10_000, "optimisation": {"lr": 0.03, "weight_decay": 1e-2}},
    },
)


class Parts(NamedTuple):
    """The classes that LMD is put together from; a preset replaces some."""

    relation: Callable[[Any, Any], RelationLearning] = RelationLearning
    calibration: type[Calibration] = Calibration
    e_step: type[EStep] = EStep


def stages(settings: Settings, counts: np.ndarray, parts: Parts = Parts()) -> list[Stage]:  # noqa: B008
    """Returns RRL and ICC, or what an ablation has in the place of one."""
    return [_first(settings, parts), _second(settings, parts)]


def _first(settings: Settings, parts: Parts) -> Supervised:
    """RRL; w/o RRL stage 1 is that of CE, so that no strong view reaches its BatchNorm either."""
    stage = settings.stage1
    if settings.without != "rrl":
        return parts.relation(settings, stage)
    shared = {name: getattr(stage, name) for name in _SHARED}
    view = "strong" if stage.ce_view == "strong" else "weak"
    return CrossEntropy(settings, CrossEntropySettings(**shared, view=view))


def _second(settings: Settings, parts: Parts) -> Stage:
    """ICC; w/o ICC the classifier is trained anew on class-balanced features, as in `rrl-crt`."""
    if settings.without == "icc":
        return ClassifierTraining(settings, ClassifierSettings())
    real = settings.without == "vfc"
    statistics = Statistics(settings, settings.statistics, keep_features=real)
    m_step = build_m_step(settings, settings.m_step, statistics, real_features=real)
    kind = IdleEStep if settings.freeze == "all" else parts.e_step
    e_step = kind(settings, _e_step_settings(settings), settings.iterations)
    return parts.calibration(settings, statistics, m_step, e_step)


def _e_step_settings(settings: Settings) -> EStepSettings:
    update = {"distribution_weight": 0.0} if settings.without == "fdc" else {}
    return settings.e_step.model_copy(update=update)
