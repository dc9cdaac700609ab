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

from benchmarks.win.tables import (
    BY_ITSELF,
    CHOSEN,
    SHOWN,
    Files,
    Kept,
    Rule,
    finished,
    measured,
    plain,
    points,
    read,
)
from lmd.evaluation.intervals.differences import p_of, paired_difference
from lmd.evaluation.intervals.uncertainty import Measured
from lmd.evaluation.pairs.multiple import holm

THREE = ("fold-1", "fold-2", "fold-3")


class Answer(NamedTuple):
    """A row as it was chosen, or of another name, and how it decides."""

    row: str
    rule: Rule = BY_ITSELF


class Pair(NamedTuple):
    """A part, what has it, what lacks it, and the folds; None are all."""

    part: str
    having: Answer
    lacking: Answer
    folds: Sequence[str] | None = None


WHOLE = "lmd-plus+mixup"
UNSHIFTED, MIRRORED = Rule(tau=0.0), Rule(" flips")


def left_out(part: str, change: str, whole: str = WHOLE) -> Pair:
    """A part that is left out of `lmd-plus` with mixup, on three folds."""
    return Pair(part, Answer(whole), Answer(f"{WHOLE}{change}"), THREE)


PAIRS = (
    Pair("mixup", Answer(WHOLE), Answer("lmd-plus"), THREE),
    left_out("sharpness-aware steps", "-sam"),
    left_out("balanced logits", "-balance"),
    left_out("RRL and the strong view in the cross entropy", "-relation"),
    left_out("RRL alone", "-relation", f"{WHOLE}-strong"),
    left_out("the strong view in the cross entropy", "-strong"),
    left_out("EMA teacher; BatchNorm is re-estimated in both", "-teacher"),
    Pair("tau in lmd-plus", Answer("lmd-plus"), Answer("lmd-plus", UNSHIFTED)),
    Pair("tau in LMD", Answer("lmd"), Answer("lmd", UNSHIFTED)),
    Pair("tau in CE", Answer("ce"), Answer("ce", UNSHIFTED)),
    Pair("mirror images in LMD", Answer("lmd", MIRRORED), Answer("lmd")),
    Pair("mirror images in CC-SAM", Answer("cc-sam", MIRRORED), Answer("cc-sam")),
    Pair("mirror images in CE", Answer("ce", MIRRORED), Answer("ce")),
    Pair("lmd-plus for LMD, both with mirror images", Answer("lmd-plus"), Answer("lmd", MIRRORED)),
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
        rest = " | ".join(f"{100 * one[name]['value']:+.1f}" for name in ("tail", "auc"))
        print(f"| {one['part']} | {one['folds']} | {points(one['bacc'])} | {p:.3f} | {rest} |")
    text = json.dumps(found, indent=2) + "\n"
    (options.results / "ingredients.json").write_text(text, encoding="utf-8")


def differences(results: Path, seed: int) -> Iterator[dict[str, Any]]:
    """Yields each pair's differences."""
    chosen = json.loads((results / CHOSEN).read_text(encoding="utf-8"))
    read_once = {folds: (kept := read(results, folds), finished(results, kept)) for folds in (None, THREE)}

    def answered(answer: Answer, kept: Kept, files: Files) -> dict[str, Measured]:
        return measured(kept, files[chosen.get(answer.row, answer.row)][seed], answer.rule)

    for pair in PAIRS:
        having, lacking = (answered(one, *read_once[pair.folds]) for one in (pair.having, pair.lacking))
        gaps = {name: plain(paired_difference(having[name], lacking[name])) for name in SHOWN}
        told = {"part": pair.part, "folds": len(pair.folds or read_once[None][0].folds)}
        yield {
            **told,
            "having": [pair.having.row, *pair.having.rule[:2]],
            "lacking": [pair.lacking.row, *pair.lacking.rule[:2]],
            **gaps,
            "p": p_of(having["bacc"], lacking["bacc"]),
        }


if __name__ == "__main__":
    main()
