"""What is compared: data sets, rows of each, and what all rows of a data set have alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """A method with settings of its own; `start` is the row whose first stage it takes over."""

    method: str
    sets: Sequence[str] = ()
    start: str | None = None


@dataclass(frozen=True)
class Domain:
    """A data set with its folds, and the pixels, batch and epochs of stage 1 of all its rows."""

    data: str
    folds: int
    epochs: int
    rows: dict[str, Row]
    size: int = 64
    batch: int = 64

    @property
    def alike(self) -> list[str]:
        """The settings that all rows have."""
        own = [f"size={self.size}", f"batch={self.batch}", f"stage1.epochs={self.epochs}", "crop=center"]
        return [*own, "last_batch=even", "precision=bf16", "tau=validation", "partial_weights=true"]


TEN = {
    "ce": Row("ce"),
    "la": Row("logit-adjustment", start="ce"),
    "decoupling": Row("decoupling", start="ce"),
    "lmd-plus": Row("lmd-plus"),
    "cc-sam": Row("cc-sam"),
    "lmd": Row("lmd"),
    "balanced-softmax": Row("balanced-softmax"),
    "cb-focal": Row("cb-focal"),
    "gcl": Row("gcl"),
    "rs": Row("rs"),
}
# What `lmd-plus` was put together from: each a setting less or more, judged on validation images alone.
_STRONG = "stage1.ce_view=strong"
TRIALS = {
    "t-strong": Row("lmd-plus", [_STRONG]),
    "t-mixup": Row("lmd-plus", [_STRONG, "stage1.mixup=0.4"]),
    "t-sam": Row("lmd-plus", [_STRONG, "stage1.sharpness.radius=0.05"]),
    "t-plain": Row("lmd-plus", [_STRONG, "stage1.balance=0"]),
    "t-slow": Row("lmd-plus", [_STRONG, "stage1.teacher_decay=0.999"]),
    "t-rate": Row("lmd-plus", [_STRONG, "stage1.optimisation.lr=0.03"]),
}
DOMAINS = {
    # 2,090 steps; on two cores.
    "isic": Domain("isic", 5, 19, TEN),
    # 2,145 steps: the same recipe on red blood cells.
    "rbc": Domain("rbc", 3, 11, {name: TEN[name] for name in ("ce", "la", "lmd-plus", "cc-sam", "lmd")}),
    # 3,300 steps; on a GPU.
    "isic-128": Domain("isic", 5, 60, TEN, size=128, batch=128),
}


def row_of(domain: str, name: str) -> Row:
    """A row of a data set by its name, among them the trials."""
    return {**DOMAINS[domain].rows, **TRIALS}[name]
