"""Stage 1 of LMD: Relation-aware Representation Learning (arXiv 2502.03238, section 3.3)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from torch import Tensor

from lmd.amounts import Share
from lmd.graphed import Branch
from lmd.losses.classification import cross_entropy
from lmd.losses.relation import (
    Direction,
    GramNorm,
    channel_consistency,
    probability_consistency,
    sample_consistency,
)
from lmd.models.network import Network, Output
from lmd.models.teacher import Teacher
from lmd.settings import CommonSettings, Decay, NonNegative, Tree
from lmd.stages.base import StageContext, Supervised, SupervisedSettings

# What the budgets lay over RRL's defaults, alike in every method that begins with it.
SMOKE_STAGE1: Tree = {"consistency_weight": 1.0, "teacher_decay": 0.9}
SHORT_STAGE1: Tree = {"consistency_weight": 3.0, "ramp_epochs": 3, "teacher_decay": 0.99}
AUTO_STAGE1: Tree = {**SHORT_STAGE1, "ramp_epochs": Share(0.25)}


class RelationSettings(SupervisedSettings):
    """Settings of RRL (section 3.3); docs/paper.md says where they depart from paper or code."""

    OLD_NAMES: ClassVar[Mapping[str, str]] = {
        "ramp": "ramp_epochs",
        **dict.fromkeys(
            ("probability_factor", "teacher_bn", "channel_div", "legacy_gather_scale", "consistency_start"),
            "",
        ),
    }

    consistency_weight: NonNegative = 10.0
    """lambda_1, weight of the three consistency terms (LMD paper, section 4.2)"""
    ramp_epochs: NonNegative = 0.0
    """epochs over which lambda_1 grows linearly from 0 (ours); 0: full from the first step (LMD paper)"""
    teacher_decay: Decay = 0.999
    """limit of the teacher's moving average, per step (authors' code of LMD)"""
    gram_norm: GramNorm = "row_l2"
    """scaling of a Gram matrix: rows (authors' code of LMD) or the whole to length 1, or none (LMD paper)"""
    kl: Direction = "teacher_student"
    """KL(teacher, student) (authors' code of LMD), KL(student, teacher) (LMD paper, eq. 3), or their mean"""
    ce_view: Literal["weak", "strong", "both"] = "weak"
    """view that the cross entropy sees (LMD paper: weak; authors' code of LMD: strong)"""
    stage2_from: Literal["student", "teacher"] = "student"
    """network that stage 2 starts from (authors' code of LMD: student)"""


class RelationLearning(Supervised):
    """Student on the strong view, EMA teacher on the weak view, three consistencies; see eq. 3 to eq. 5.

        L_stage1 = L_CE + lambda_1 (L_sample + L_channel + 0.5 L_prob)

    The cross entropy sees the weak view, the strong view, or the mean over both. A weak view costs a
    second pass of the student. Where lambda_1 is 0 the network sees the views of the cross entropy alone, so
    that its BatchNorm knows no other.
    """

    view_names = ("weak", "strong")
    capturable = True

    def __init__(self, common: CommonSettings, stage: RelationSettings) -> None:
        """Keeps the settings; a view that no loss would see is not made."""
        super().__init__(common, stage)
        self.stage = stage
        self.seen = ("weak", "strong") if stage.ce_view == "both" else (stage.ce_view,)
        if stage.consistency_weight == 0:
            self.view_names = self.seen

    def prepare(self, context: StageContext) -> None:
        """Makes the teacher as a copy of the student."""
        super().prepare(context)
        self.teacher = Teacher(self.network, self.stage.teacher_decay)

    def loss(self, views: Mapping[str, Tensor], labels: Tensor, epoch: float) -> dict[str, Tensor]:
        """Returns as "total" L_CE + lambda_1 (L_sample + L_channel + 0.5 L_prob), and the terms of it."""
        if self.stage.consistency_weight == 0:
            return self._unrelated(views, self.targets(views, labels))
        with self.context.runtime.autocast():
            with Branch(labels.device) as branch:
                teacher = self.teacher(views["weak"])
            student = {"strong": self.network(views["strong"])}
            if "weak" in self.seen:
                student["weak"] = self.network(views["weak"])
            branch.join()
        terms = self.consistency(self.of_all(student["strong"]), self.of_all(teacher))
        terms["cross_entropy"] = self._cross_entropy(student, self.targets(views, labels))
        relation = terms["sample_consistency"] + terms["channel_consistency"]
        relation = relation + 0.5 * terms["probability_consistency"]
        return {"total": terms["cross_entropy"] + self.weight(epoch) * relation, **terms}

    def _unrelated(self, views: Mapping[str, Tensor], targets: Tensor) -> dict[str, Tensor]:
        """The cross entropy of the views that it sees, and nothing else."""
        with self.context.runtime.autocast():
            student = {name: self.network(views[name]) for name in self.seen}
        loss = self._cross_entropy(student, targets)
        return {"total": loss, "cross_entropy": loss}

    def changing(self, epoch: int, moment: float) -> dict[str, Any]:
        """Returns the seeds of the views, the weight of the consistency and that of the student."""
        return {
            **super().changing(epoch, moment),
            "consistency": self.weight(moment),
            "student": self.teacher.weight(self.step),
        }

    def weight(self, epoch: float | Tensor) -> float | Tensor:
        """Returns lambda_1 at a moment; where a graph is recorded, the tensor that will hold it."""
        if isinstance(epoch, Tensor):
            return self.now["consistency"]
        return self.stage.consistency_weight * self.ramp(epoch)

    def ramp(self, epoch: float) -> float:
        """Returns the factor in [0, 1] on lambda_1 at a moment of the training."""
        return min(1.0, epoch / self.stage.ramp_epochs) if self.stage.ramp_epochs > 0 else 1.0

    def consistency(self, student: Output, teacher: Output) -> dict[str, Tensor]:
        """Returns the three terms of the features and logits of all processes."""
        norm = self.stage.gram_norm
        return {
            "probability_consistency": probability_consistency(student.logits, teacher.logits, self.stage.kl),
            "sample_consistency": sample_consistency(student.features, teacher.features, norm),
            "channel_consistency": channel_consistency(student.features, teacher.features, norm),
        }

    def of_all(self, output: Output) -> Output:
        """Returns what the networks of all processes gave, in fp32."""
        return Output(self.gather(output.features.float()), self.gather(output.logits.float()))

    def _cross_entropy(self, student: Mapping[str, Output], targets: Tensor) -> Tensor:
        """The mean over the views that it sees."""
        losses = [self.criterion(student[name].logits.float(), targets) for name in self.seen]
        return losses[0] if len(losses) == 1 else 0.5 * (losses[0] + losses[1])

    def targets(self, views: Mapping[str, Tensor], labels: Tensor) -> Tensor:
        """Returns what the cross entropy compares the logits of the views with: the labels."""
        return labels

    def criterion(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Returns the cross entropy of a view's logits."""
        return cross_entropy(logits, targets)

    def after_step(self) -> None:
        """Moves the teacher toward the student."""
        self.teacher.follow(self.network, self.now["student"])

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
