"""Which of a row's trials is compared: the one that validation images prefer, by one rule for every row.

    python -m benchmarks.win.choice --results benchmarks/results/win/isic

Every row has three trials. They are judged on the validation images of the folds on which all three were
trained, by the criterion that also chooses tau (docs/tau.md): the largest mean over the folds wins. What wins
is written to `chosen.json`. No test image is looked at.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np

from benchmarks.win.answers import of_kind
from benchmarks.win.rows import DOMAINS, row_of
from benchmarks.win.tables import CHOSEN, Kept, read
from lmd.evaluation.probability.decisions import log_prior, tau_scores

TRIED = ("+rate", "+decay")
OF_PLUS = ("+mixup", "+mixup-relation")


def trials_of(row: str) -> list[str]:
    """The names of a row's trials, the row itself first."""
    return [row, *(f"{row}{change}" for change in (OF_PLUS if row == "lmd-plus" else TRIED))]


def trials(domain: str, rows: list[str]) -> list[str]:
    """The trials of some rows; what starts from another row comes last."""
    names = [name for row in rows for name in trials_of(row)]
    return sorted(names, key=lambda name: row_of(domain, name).start is not None)


def read_chosen(path: Path, domain: str) -> list[str]:
    """The rows of a domain as they were chosen, and before them those that they start from."""
    chosen = [json.loads(path.read_text(encoding="utf-8"))[row] for row in DOMAINS[domain].rows]
    starts = [start for name in chosen if (start := row_of(domain, name).start) is not None]
    return list(dict.fromkeys([*starts, *chosen]))


def write_chosen(path: Path, domain: str, to: Path) -> None:
    """Writes what was chosen for the rows of a domain beside its logits."""
    picked = json.loads(path.read_text(encoding="utf-8"))
    text = json.dumps({row: picked[row] for row in DOMAINS[domain].rows}, indent=2) + "\n"
    (to / CHOSEN).write_text(text, encoding="utf-8")


def main() -> None:
    """Prints how each trial does on validation images, and writes which are chosen."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--results", type=Path, required=True, help="the folder of one domain")
    parser.add_argument("--domain", choices=list(DOMAINS), default="isic")
    parser.add_argument("--seed", type=int, default=42)
    options = parser.parse_args()
    kept, chosen = read(options.results), {}
    print("| trial | folds | criterion | with mirror images |\n|---|---|---|---|")
    for row in DOMAINS[options.domain].rows:
        chosen[row] = choose(options.results, kept, row, options.seed)
    (options.results / CHOSEN).write_text(json.dumps(chosen, indent=2) + "\n", encoding="utf-8")


def choose(results: Path, kept: Kept, row: str, seed: int) -> str:
    """The best trial of a row; each answers as it does by itself. Where one did not end, the row as it is."""
    files = {name: results / f"{name}-{seed}.npz" for name in trials_of(row)}
    logits = {name: dict(np.load(path)) if path.exists() else {} for name, path in files.items()}
    folds = [fold for fold in kept.folds if all(f"{fold} val" in one for one in logits.values())]
    if not folds:
        print(f"| {row}: on no fold have all its trials ended, so it stays as it is | 0 | | |")
        return row
    found = {name: [score(kept, one, folds, kind) for kind in ("", " flips")] for name, one in logits.items()}
    for name, (own, flipped) in found.items():
        print(f"| {name} | {len(folds)} | {own:.3f} | {flipped:.3f} |")
    return max(found, key=lambda name: found[name][0])


def score(kept: Kept, logits: dict[str, np.ndarray], folds: list[str], kind: str) -> float:
    """The criterion at its best tau, mean over folds."""
    found = []
    for fold in folds:
        labels, counts = kept.labels(kept.validated, fold), kept.counts[fold].to_numpy()
        scores = tau_scores(of_kind(logits, fold, "val", kind).astype(float), labels, log_prior(counts))
        found.append(max(scores))
    return float(np.mean(found))


if __name__ == "__main__":
    main()
