"""What is compared: data sets, rows of each, and what all rows of a data set have alike."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """A method with settings of its own; `start` is the row whose first stage it takes over."""

    method: str
    sets: Sequence[str] = ()
    start: str | None = None


# What a row is tried with, or goes without: one setting more, by the name of the change.
CHANGES = {
    "+rate": ("stage1.optimisation.lr=0.03",),
    "+decay": ("stage1.optimisation.weight_decay=0.0005",),
    "+mixup": ("stage1.mixup=0.4",),
    "-relation": ("stage1.consistency_weight=0", "stage1.ce_view=weak"),
    "-sam": ("stage1.sharpness.radius=0",),
    "-balance": ("stage1.balance=0",),
    "-teacher": ("stage1.stage2_from=student",),
    "-strong": ("stage1.ce_view=weak",),
}


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


# What takes the first stage of another row over comes last, so that nothing waits for it.
TEN = {
    "ce": Row("ce"),
    "lmd-plus": Row("lmd-plus"),
    "cc-sam": Row("cc-sam"),
    "lmd": Row("lmd"),
    "gcl": Row("gcl"),
    "cb-focal": Row("cb-focal"),
    "balanced-softmax": Row("balanced-softmax"),
    "rs": Row("rs"),
    "la": Row("logit-adjustment", start="ce"),
    "decoupling": Row("decoupling", start="ce"),
}
DOMAINS = {
    # 3,300 steps; minutes on a GPU, days on two cores.
    "isic": Domain("isic", 5, 30, TEN),
    # 2,940 steps or so: the same recipe on red blood cells.
    "rbc": Domain("rbc", 3, 15, {name: TEN[name] for name in ("ce", "lmd-plus", "cc-sam", "lmd", "la")}),
    # 3,300 steps.
    "isic-128": Domain("isic", 5, 60, TEN, size=128, batch=128),
    # 2,200 steps, of fewer pixels; on two cores.
    "isic-32": Domain("isic", 5, 20, TEN, size=32),
}


def row_of(domain: str, name: str) -> Row:
    """A row of a data set by its name.

    `lmd-plus+mixup-sam` is `lmd-plus` with mixup and without SAM, `ce+rate` is CE with another rate (and
    `la+rate` starts from it), `ce@60` is CE with 60 epochs.
    """
    rows = DOMAINS[domain].rows
    known = "|".join(sorted(map(re.escape, rows), key=len, reverse=True))
    found = re.fullmatch(rf"({known})((?:[+-][a-z]+)*)(@\d+)?", name)
    changes = re.findall(r"[+-][a-z]+", found[2]) if found else []
    if found is None or not CHANGES.keys() >= set(changes):
        choices = f"one of {', '.join(rows)}, with any of {', '.join(CHANGES)}, with @EPOCHS"
        raise SystemExit(f"no row '{name}': {choices}")
    row, epochs = rows[found[1]], found[3] or ""
    if row.start is not None:
        return Row(row.method, row.sets, f"{row.start}{found[2]}{epochs}")
    sets = [one for change in changes for one in CHANGES[change]]
    length = [f"stage1.epochs={epochs[1:]}"] if epochs else []
    return Row(row.method, [*row.sets, *sets, *length])
