"""How the difference of one row from the others goes from fold to fold: five trainings, not one.

    python -m benchmarks.win.byfold --results benchmarks/results/win/isic

The intervals of the table are over images. Trainings differ, too: here each fold is one draw, with Student's
interval of their mean. Folds share training images, so that it is a rough one.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from scipy import stats

from benchmarks.win.tables import Rule, asked, finished, measured, read


def main() -> None:
    """Prints a line for each other row."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--results", type=Path, required=True, help="the folder of one domain")
    parser.add_argument("--against", default="lmd-plus")
    parser.add_argument("--flips", action="store_true", help="all rows with mirror images")
    parser.add_argument("--rows", nargs="+", help="these alone; default: the chosen ones, or all")
    parser.add_argument("--seed", type=int, default=42)
    options = parser.parse_args()
    options.seeds = [options.seed]
    values = by_fold(options)
    names = read(options.results).folds
    print("\n".join(["| row | " + " | ".join(names) + " | mean |", "|---" * (len(names) + 2) + "|"]))
    for row, own in values.items():
        if row != options.against:
            gaps = 100 * (values[options.against] - own)
            low, high = interval(gaps)
            told = " | ".join(f"{gap:+.1f}" for gap in gaps)
            print(f"| {row} | {told} | {gaps.mean():+.1f} [{low:+.1f}, {high:+.1f}] |")


def by_fold(options: argparse.Namespace) -> dict[str, np.ndarray]:
    """The balanced accuracy of each row in each fold."""
    whole, rule = read(options.results), Rule(" flips" if options.flips else "")
    files = asked(finished(options.results, whole), options)
    kept = [read(options.results, [fold]) for fold in whole.folds]
    return {
        row: np.array([measured(one, seeds[options.seed], rule)["bacc"].value for one in kept])
        for row, seeds in files.items()
    }


def interval(gaps: np.ndarray) -> tuple[float, float]:
    """Student's 95% interval of the mean.

    >>> low, high = interval(np.array([1.0, 2.0, 3.0]))
    >>> round(low, 2), round(high, 2)
    (-0.48, 4.48)
    """
    half = stats.t.ppf(0.975, len(gaps) - 1) * gaps.std(ddof=1) / np.sqrt(len(gaps))
    return float(gaps.mean() - half), float(gaps.mean() + half)


if __name__ == "__main__":
    main()
