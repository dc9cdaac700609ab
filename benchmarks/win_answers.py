"""The logits of the trainings of `benchmarks.win`, small enough to be kept: what its tables are made of.

    python -m benchmarks.win_answers --work runs/win --domain isic --out benchmarks/results/win

For each row and seed one file: the logits of the validation and the test images of each fold, as the row
answers and with features averaged over mirror images, whether or not the row does so by itself. Three tables
of the domain have the images: class, group, fold. All that the tables of docs/results.md say follows from
these files, without a training.
"""

from __future__ import annotations

import argparse
import copy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.win import DOMAINS, Training
from lmd.data.dataset.folds_folder import Folds, read_folds
from lmd.data.decode.cache import open_cache
from lmd.data.feed.loader import image_set
from lmd.evaluation.outputs import logits_of
from lmd.evaluation.predict import Model, load_model

SPLITS = ("val", "test")


def main() -> None:
    """Writes the logits of what is finished and not yet written."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--domain", choices=list(DOMAINS), required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[42])
    parser.add_argument("--rows", nargs="+")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    folds = read_folds(options.work / "data" / options.domain)
    out = options.out / options.domain
    out.mkdir(parents=True, exist_ok=True)
    write_cases(folds, out / "cases.csv")
    for seed in options.seeds:
        for row in options.rows or DOMAINS[options.domain].rows:
            trainings = [Training(options.work, options.domain, row, fold, seed) for fold in folds.datasets]
            write_logits(folds, [one for one in trainings if one.finished], out / f"{row}-{seed}.npz")


def write_cases(folds: Folds, path: Path) -> None:
    """Writes class, group as a number, and fold of each image, and how many the training images are."""
    parts = [dataset.split("test").assign(fold=name) for name, dataset in folds.datasets.items()]
    table = pd.concat(parts).sort_values("id")
    groups = pd.factorize(table["group"])[0]
    table.assign(group=groups)[["id", "label", "group", "fold"]].to_csv(path, index=False)
    validated = [dataset.split("val").assign(fold=name) for name, dataset in folds.datasets.items()]
    pd.concat(validated)[["id", "label", "fold"]].to_csv(path.with_name("validated.csv"), index=False)
    counts = {name: dataset.counts("train") for name, dataset in folds.datasets.items()}
    pd.DataFrame(counts, index=folds.first.classes).to_csv(path.with_name("counts.csv"), index_label="label")


def write_logits(folds: Folds, trainings: list[Training], path: Path) -> None:
    """Adds the logits of the trainings that the file does not have."""
    found = dict(np.load(path)) if path.exists() else {}
    missing = [one for one in trainings if f"{one.fold} test" not in found]
    for training in missing:
        model = load_model(training.out)
        for name, asked in (("", model), (" flips", with_flips(model))):
            for split in SPLITS:
                found[f"{training.fold} {split}{name}"] = logits(asked, folds, training.fold, split)
        print(path.stem, training.fold, flush=True)
    if missing:
        np.savez_compressed(path, **found)


def with_flips(model: Model) -> Model:
    """The model with features averaged over mirror images; its classifier stays as it is."""
    network = copy.deepcopy(model.network)
    network.flips = "both"
    return replace(model, network=network)


def logits(model: Model, folds: Folds, fold: str, split: str) -> np.ndarray:
    """The logits of a split in the order of its manifest, in half precision."""
    dataset = folds.datasets[fold]
    made = model.card.preprocessing
    pixels = open_cache(dataset, made.size, made.crop)
    return logits_of(model, image_set(dataset, split, pixels).pixels).astype(np.float16)


if __name__ == "__main__":
    main()
