"""The tables of docs/results.md from the logits that are kept; nothing is trained.

    python -m benchmarks.win.tables --results benchmarks/results/win/isic --against lmd-plus

Every row decides by the same rule: for each fold tau is the one that its validation images choose
(docs/tau.md), and the largest s - tau log pi wins. All test images of all folds are then measured together.
Differences are paired over the images, groups count together, and p is corrected for the number of rows
(Holm).
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from benchmarks.win.answers import SPLITS, of_kind
from lmd.data.dataset.longtail import head_medium_tail
from lmd.evaluation.cases import Cases, measure
from lmd.evaluation.intervals.differences import p_of, paired_difference
from lmd.evaluation.intervals.uncertainty import Measured, mean_of
from lmd.evaluation.pairs.multiple import holm
from lmd.evaluation.probability.decisions import GRID, choose_tau, log_prior, softmax

SHOWN = ("bacc", "tail", "auc", "f1")
CHOSEN = "chosen.json"
WIDE = [round(0.05 * step, 2) for step in range(-40, 81)]


@dataclass(frozen=True)
class Kept:
    """What a domain's files say of its images."""

    cases: pd.DataFrame
    validated: pd.DataFrame
    counts: pd.DataFrame

    @property
    def classes(self) -> list[str]:
        """The class names, in the order of the logits."""
        return list(self.counts.index)

    @property
    def folds(self) -> list[str]:
        """The names of the folds."""
        return list(self.counts.columns)

    def labels(self, table: pd.DataFrame, fold: str) -> np.ndarray:
        """The classes of a fold's images as numbers, in the order of its logits."""
        return table.loc[table["fold"] == fold, "label"].map(self.classes.index).to_numpy()


def main() -> None:
    """Prints the table, and writes it as JSON beside the logits."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--results", type=Path, required=True, help="the folder of one domain")
    parser.add_argument("--against", default="lmd-plus", help="the row that all others are compared with")
    parser.add_argument(
        "--flips", action="store_true", help="all rows with features averaged over mirror images"
    )
    parser.add_argument("--tau", type=float, help="the same tau for all, in place of the rule")
    parser.add_argument("--wide", action="store_true", help="the rule's tau from -2 to 4, not from 0 to 2")
    parser.add_argument("--rows", nargs="+", help="these alone; default: the chosen ones, or all")
    parser.add_argument("--folds", nargs="+", help="these alone, for rows that do not have all")
    parser.add_argument("--seeds", type=int, nargs="+", help="these alone")
    parser.add_argument("--name", default="table", help="of the file")
    options = parser.parse_args()
    kept = read(options.results, options.folds)
    rule = Rule(" flips" if options.flips else "", options.tau, WIDE if options.wide else GRID)
    trained = {
        row: {seed: measured(kept, file, rule) for seed, file in files.items()}
        for row, files in asked(finished(options.results, kept), options).items()
    }
    found = table(trained, options.against)
    print("\n".join(lines(found, options.against)))
    flips = "-flips" if options.flips else ""
    tau = "" if options.tau is None else f"-tau-{options.tau}"
    wide = "-wide" if options.wide else ""
    target = options.results / f"{options.name}{flips}{tau}{wide}.json"
    target.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


def read(folder: Path, folds: Sequence[str] | None = None) -> Kept:
    """Reads the tables of a domain, of some folds or all."""
    cases, validated = (pd.read_csv(folder / name, dtype=str) for name in ("cases.csv", "validated.csv"))
    counts = pd.read_csv(folder / "counts.csv", index_col="label")
    return Kept(cases, validated, counts[list(folds or counts.columns)])


Files = dict[str, dict[int, Mapping[str, np.ndarray]]]


def asked(files: Files, options: argparse.Namespace) -> Files:
    """The rows and seeds that are shown; a row is shown as it was chosen (`benchmarks.win.choice`)."""
    chosen = options.results / CHOSEN
    if options.rows or not chosen.exists():
        names = {row: row for row in options.rows or files}
    else:
        names = json.loads(chosen.read_text(encoding="utf-8"))
    if missing := sorted(name for name in names.values() if name not in files):
        print(f"not there on all folds: {', '.join(missing)}", file=sys.stderr)
    found = {row: files[name] for row, name in names.items() if name in files}
    seeds = options.seeds
    shown = {row: {s: one for s, one in of.items() if not seeds or s in seeds} for row, of in found.items()}
    return {row: of for row, of in shown.items() if of}


def finished(folder: Path, kept: Kept) -> Files:
    """The logits of the rows that have all folds, by row and seed."""
    found: Files = {}
    for path in sorted(folder.glob("*.npz")):
        row, _, seed = path.stem.rpartition("-")
        logits = dict(np.load(path))
        if all(f"{fold} test" in logits for fold in kept.folds):
            found.setdefault(row, {})[int(seed)] = logits
    return found


class Rule(NamedTuple):
    """How a row decides: with which features, and by which tau; None is the one that validation chooses."""

    kind: str = ""
    tau: float | None = None
    grid: Sequence[float] = GRID


BY_ITSELF = Rule()


def measured(kept: Kept, logits: Mapping[str, np.ndarray], rule: Rule = BY_ITSELF) -> dict[str, Measured]:
    """What one row with one seed is worth on the images of all folds together."""
    bands, _ = head_medium_tail(kept.classes, kept.counts.sum(axis=1).to_numpy())
    return measure(pooled(kept, logits, rule), kept.classes, bands)


def pooled(kept: Kept, logits: Mapping[str, np.ndarray], rule: Rule = BY_ITSELF) -> Cases:
    """The decisions of all folds together: each by the tau that its own validation images choose."""
    parts = [kept.cases[kept.cases["fold"] == fold] for fold in kept.folds]
    table = pd.concat(parts)
    probabilities, choices = [], []
    for fold in kept.folds:
        validated, tested = (of_kind(logits, fold, split, rule.kind).astype(float) for split in SPLITS)
        labels, shares = kept.labels(kept.validated, fold), log_prior(kept.counts[fold].to_numpy())
        tau = choose_tau(validated, labels, shares, rule.grid) if rule.tau is None else rule.tau
        probabilities.append(softmax(tested))
        choices.append((tested - tau * shares).argmax(1))
    labels = table["label"].map(kept.classes.index).to_numpy()
    clusters = table["group"].to_numpy()
    return Cases(
        table["id"].to_numpy(), labels, clusters, np.concatenate(probabilities), np.concatenate(choices)
    )


def table(trained: Mapping[str, Mapping[int, Mapping[str, Measured]]], against: str) -> list[dict[str, Any]]:
    """The rows from the best to the worst, with their differences from one of them over the seeds of both."""
    means = {row: over(seeds, list(seeds)) for row, seeds in trained.items()}
    order = sorted(means, key=lambda row: -means[row]["bacc"].value)
    found = [row_of(row, means[row], list(trained[row])) for row in order]
    others = [one for one in found if one["row"] != against]
    if against not in trained:
        return found
    for one in others:
        shared = sorted(set(trained[against]) & set(trained[one["row"]]))
        first, second = over(trained[against], shared), over(trained[one["row"]], shared)
        one["difference"] = {name: plain(paired_difference(first[name], second[name])) for name in SHOWN}
        one["p"] = p_of(first["bacc"], second["bacc"])
    for one, p in zip(others, holm([one["p"] for one in others]), strict=True):
        one["p_holm"] = p
    return found


def over(seeds: Mapping[int, Mapping[str, Measured]], chosen: Sequence[int]) -> dict[str, Measured]:
    """The means over some seeds."""
    return {name: mean_of([seeds[seed][name] for seed in chosen]) for name in SHOWN}


def row_of(name: str, means: Mapping[str, Measured], seeds: Sequence[int]) -> dict[str, Any]:
    """A row of the table."""
    metrics = {metric: plain(means[metric].estimate()) for metric in SHOWN}
    return {
        "row": name,
        "seeds": list(seeds),
        "metrics": metrics,
        "bacc_by_seed": list(means["bacc"].trained),
    }


def plain(estimate: Any) -> dict[str, float | None]:
    """An estimate as numbers."""
    return {
        name: None if (value := getattr(estimate, name)) is None else round(value, 4)
        for name in ("value", "low", "high")
    }


def points(gap: Mapping[str, float | None]) -> str:
    """A difference in points, with its interval, where there are images enough for one."""
    bounds = [f"{100 * bound:+.1f}" for bound in (gap["low"], gap["high"]) if bound is not None]
    return f"{100 * (gap['value'] or 0.0):+.1f} [{', '.join(bounds) or 'no interval'}]"


def lines(found: Sequence[Mapping[str, Any]], against: str) -> list[str]:
    """The table in Markdown."""
    head = ["row", "seeds", "BACC", "tail recall", "AUC", "F1", f"{against} less this", "p (Holm)"]
    rows = [head, ["---"] * len(head)]
    for one in found:
        metrics = one["metrics"]
        bacc = f"{metrics['bacc']['value']:.3f} [{metrics['bacc']['low']:.3f}, {metrics['bacc']['high']:.3f}]"
        gap = one.get("difference", {}).get("bacc")
        told = "" if gap is None else points(gap)
        p = f"{one['p_holm']:.3f}" if "p_holm" in one else ""
        rest = [f"{metrics[name]['value']:.3f}" for name in SHOWN[1:]]
        rows.append([one["row"], str(len(one["seeds"])), bacc, *rest, told, p])
    return ["| " + " | ".join(cells) + " |" for cells in rows]


if __name__ == "__main__":
    main()
