"""What each part of `lmd-plus` adds, from the kept logits; nothing is trained.

    python -m benchmarks.win.ingredients --results benchmarks/results/win/isic

Each line compares two rows on the test images of the same folds: the first has a part that the second lacks.
Differences are in points of the metric, paired over the images; images of a lesion count together.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.win.tables import Kept, finished, measured, plain, read
from lmd.evaluation.intervals.differences import p_of, paired_difference
from lmd.evaluation.intervals.uncertainty import Measured
from lmd.evaluation.pairs.multiple import holm

THREE = ("fold-1", "fold-2", "fold-3")


class Answer(NamedTuple):
    """A row, with features averaged over mirror images or not, and its tau; None is the rule's."""

    row: str
    kind: str = ""
    tau: float | None = None


class Pair(NamedTuple):
    """A part, what has it, what lacks it, and the folds; None are all."""

    part: str
    having: Answer
    lacking: Answer
    folds: Sequence[str] | None = None


def left_out(part: str, change: str) -> Pair:
    """A part that is left out of `lmd-plus` with mixup, on three folds."""
    return Pair(part, Answer("lmd-plus+mixup"), Answer(f"lmd-plus+mixup{change}"), THREE)


PAIRS = (
    left_out("RRL", "-relation"),
    left_out("sharpness-aware steps", "-sam"),
    left_out("balanced logits", "-balance"),
    left_out("cross entropy on the strong view, too", "-strong"),
    left_out("EMA teacher as encoder", "-teacher"),
    Pair("mixup", Answer("lmd-plus+mixup"), Answer("lmd-plus"), THREE),
    Pair("tau in lmd-plus", Answer("lmd-plus"), Answer("lmd-plus", tau=0.0)),
    Pair("tau in lmd", Answer("lmd"), Answer("lmd", tau=0.0)),
    Pair("tau in CE", Answer("ce+decay"), Answer("ce+decay", tau=0.0)),
    Pair("mirror images in lmd", Answer("lmd", " flips"), Answer("lmd")),
    Pair("mirror images in CC-SAM", Answer("cc-sam+decay", " flips"), Answer("cc-sam+decay")),
    Pair("mirror images in CE", Answer("ce+decay", " flips"), Answer("ce+decay")),
    Pair("lmd-plus for lmd, both with mirror images", Answer("lmd-plus"), Answer("lmd", " flips")),
)


def main() -> None:
    """Prints the table, and writes it as JSON beside the logits."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--results", type=Path, required=True, help="the folder of one domain")
    parser.add_argument("--seed", type=int, default=42)
    options = parser.parse_args()
    found = list(differences(options.results, options.seed))
    for one, p in zip(found, holm([one["p"] for one in found]), strict=True):
        one["p_holm"] = p
        gap = one["bacc"]
        told = f"{100 * gap['value']:+.1f} [{100 * gap['low']:+.1f}, {100 * gap['high']:+.1f}]"
        rest = " | ".join(f"{100 * one[name]['value']:+.1f}" for name in ("tail", "auc"))
        print(f"| {one['part']} | {one['folds']} | {told} | {p:.3f} | {rest} |")
    text = json.dumps(found, indent=2) + "\n"
    (options.results / "ingredients.json").write_text(text, encoding="utf-8")


def differences(results: Path, seed: int) -> Iterator[dict[str, Any]]:
    """Yields each pair's differences."""
    for pair in PAIRS:
        kept = read(results, pair.folds)
        having, lacking = (answered(results, kept, one, seed) for one in (pair.having, pair.lacking))
        gaps = {
            name: plain(paired_difference(having[name], lacking[name])) for name in ("bacc", "tail", "auc")
        }
        yield {
            "part": pair.part,
            "folds": len(kept.folds),
            "having": pair.having,
            "lacking": pair.lacking,
            **gaps,
            "p": p_of(having["bacc"], lacking["bacc"]),
        }


def answered(results: Path, kept: Kept, answer: Answer, seed: int) -> dict[str, Measured]:
    """What a row is worth on the folds."""
    return measured(kept, finished(results, kept)[answer.row][seed], answer.kind, answer.tau)


if __name__ == "__main__":
    main()
