"""Stage 1 of LMD: Relation-aware Representation Learning (arXiv 2502.03238, section 3.3)."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

from pydantic import Field
from torch import Tensor

from lmd.losses.classification import cross_entropy
from lmd.losses.relation import channel_consistency, probability_consistency, sample_consistency
from lmd.models.network import Network, Output
from lmd.models.teacher import BatchNormRule, Teacher
from lmd.runtime import gather
from lmd.settings import CommonSettings, Decay, NonNegative, Tree
from lmd.stages.base import StageContext, Supervised, SupervisedSettings

# What the budgets lay over RRL's defaults, alike in every method that begins with it.
SMOKE_STAGE1: Tree = {"consistency_weight": 1.0, "teacher_decay": 0.9}
SHORT_STAGE1: Tree = {"consistency_weight": 3.0, "ramp": "linear", "ramp_epochs": 3, "teacher_decay": 0.99}


class RelationSettings(SupervisedSettings):
    """Settings of RRL; the numbers in comments are rows of the table in docs/paper.md."""

    consistency_weight: NonNegative = 10.0  # lambda_1
    probability_factor: NonNegative = 0.5  # L = L_CE + lambda_1 (L_sample + L_channel + 0.5 L_prob)
    teacher_decay: Decay = 0.999
    teacher_bn: BatchNormRule = "batch"  # 9
    gram_norm: Literal["row_l2", "frobenius", "none"] = "row_l2"  # 1
    channel_div: Literal["C", "N"] = "C"  # 3
    legacy_gather_scale: bool = False  # 4
    ce_view: Literal["weak", "strong", "both"] = "weak"  # 5
    kl: Literal["teacher_student", "student_teacher", "symmetric"] = "teacher_student"  # 6
    consistency_start: NonNegative = 0.0  # 8, in epochs
    ramp: Literal["none", "linear", "sigmoid"] = "none"  # 8
    ramp_epochs: Annotated[float, Field(gt=0.0)] = 1.0
    stage2_from: Literal["student", "teacher"] = "student"  # 10


def consistency_ramp(epoch: float, settings: RelationSettings) -> float:
    """Returns the factor in [0, 1] on lambda_1 at a moment of the training.

    Before `consistency_start` it is 0. From there it is 1 at once ("none"), grows linearly over
    `ramp_epochs`, or as exp(-5 (1 - t)^2) with t in [0, 1] ("sigmoid": Laine and Aila, ICLR 2017).

    >>> consistency_ramp(1.5, RelationSettings(ramp="linear", consistency_start=1, ramp_epochs=2))
    0.25
    """
    since = epoch - settings.consistency_start
    if since < 0:
        return 0.0
    progress = min(1.0, since / settings.ramp_epochs)
    if settings.ramp == "linear":
        return progress
    return math.exp(-5.0 * (1.0 - progress) ** 2) if settings.ramp == "sigmoid" else 1.0


class RelationLearning(Supervised):
    """Student on the strong view, EMA teacher on the weak view, three consistencies (eq. 3-5).

    L = L_CE + lambda_1 (L_sample + L_channel + 0.5 L_prob)

    The cross entropy sees the weak view, the strong view, or the mean over both. A weak view costs a
    second pass of the student.
    """

    view_names = ("weak", "strong")

    def __init__(self, common: CommonSettings, stage: RelationSettings) -> None:
        """Keeps the settings."""
        super().__init__(common, stage)
        self.stage = stage

    def prepare(self, context: StageContext) -> None:
        """Makes the teacher as a copy of the student."""
        super().prepare(context)
        self.teacher = Teacher(self.network, self.stage.teacher_decay, self.stage.teacher_bn)

    def loss(self, views: dict[str, Tensor], labels: Tensor, epoch: float) -> dict[str, Tensor]:
        """Returns the cross entropy and the three consistency terms of a batch."""
        with self.context.runtime.autocast():
            strong = self.network(views["strong"])
            weak = self.network(views["weak"]) if self.stage.ce_view != "strong" else None
            teacher = self.teacher(views["weak"])
        terms = self._consistency(strong, teacher)
        terms["cross_entropy"] = self._cross_entropy(strong, weak, labels)
        relation = terms["sample_consistency"] + terms["channel_consistency"]
        relation = relation + self.stage.probability_factor * terms["probability_consistency"]
        weight = self.stage.consistency_weight * consistency_ramp(epoch, self.stage)
        return {"total": terms["cross_entropy"] + weight * relation, **terms}

    def _consistency(self, strong: Output, teacher: Output) -> dict[str, Tensor]:
        """Equations 3-5 on the features of all processes."""
        student_features, teacher_features, student_logits, teacher_logits = (
            gather(part.float(), self.stage.legacy_gather_scale)
            for part in (strong.features, teacher.features, strong.logits, teacher.logits)
        )
        norm = self.stage.gram_norm
        return {
            "probability_consistency": probability_consistency(student_logits, teacher_logits, self.stage.kl),
            "sample_consistency": sample_consistency(student_features, teacher_features, norm),
            "channel_consistency": channel_consistency(
                student_features, teacher_features, norm, self.stage.channel_div
            ),
        }

    def _cross_entropy(self, strong: Output, weak: Output | None, labels: Tensor) -> Tensor:
        if weak is None:
            return cross_entropy(strong.logits.float(), labels)
        loss = cross_entropy(weak.logits.float(), labels)
        if self.stage.ce_view == "both":
            loss = 0.5 * (loss + cross_entropy(strong.logits.float(), labels))
        return loss

    def after_step(self) -> None:
        """Moves the teacher toward the student."""
        self.teacher.follow(self.network, self.step)

    def deliver(self) -> Network:
        """Returns the student, or the teacher where `stage2_from` says so."""
        if self.stage.stage2_from == "student":
            return self.network
        self.teacher.network.load_state_dict(self.teacher.export(self.network))
        return self.teacher.network

    def state_dict(self) -> dict[str, Any]:
        """Returns the optimiser's and the teacher's state."""
        return {**super().state_dict(), "teacher": dict(self.teacher.network.state_dict())}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes such a state back."""
        super().load_state_dict(state)
        self.teacher.network.load_state_dict(state["teacher"])
