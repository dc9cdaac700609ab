"""The logits of the trainings, small enough to be kept: what the tables are made of.

For each row and seed one file: the logits of the validation and the test images of each fold, as the row
answers and with features averaged over mirror images, whether or not the row does so by itself. Three tables
of the data set have the images: class, group, fold. All that the tables of docs/results.md say follows from
these files, without a training.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.win.rows import DOMAINS
from benchmarks.win.trainings import Training
from lmd.data.dataset.folds_folder import Folds, read_folds
from lmd.data.decode.cache import open_cache
from lmd.data.feed.loader import image_set
from lmd.evaluation.outputs import logits_of
from lmd.evaluation.predict import Model, load_model
from lmd.records import read_metrics

SPLITS = ("val", "test")
SAVED = "logits.npz"
MIRRORED = "mirrored"  # In the file of a row that averages over mirror images by itself: it has one kind.


def keep(work: Path, domain: str, trainings: Sequence[Training], out: Path) -> None:
    """Writes the logits of what is finished and not yet written."""
    folds = read_folds(work / "data" / DOMAINS[domain].data)
    out = out / domain
    out.mkdir(parents=True, exist_ok=True)
    write_cases(folds, out)
    for training in trainings:
        if training.finished:
            write_logits(folds, training, out / f"{training.row}-{training.seed}.npz")
    write_curves([training for training in trainings if training.finished], out / "curves.csv")


def write_curves(trainings: Sequence[Training], path: Path) -> None:
    """Adds what validation said after each epoch, of all that is finished, and the seconds it took."""
    before = [pd.read_csv(path)] if path.exists() else []
    lines = [
        {"row": one.row, "seed": one.seed, "fold": one.fold, **_flat(line)}
        for one in trainings
        for line in read_metrics(one.out.path)
    ]
    table = pd.concat([*before, pd.DataFrame(lines)])
    unique = ["row", "seed", "fold", "stage", "epoch"]
    table.drop_duplicates(unique, keep="last").to_csv(path, index=False, float_format="%.5g")


def _flat(line: Mapping[str, Any]) -> dict[str, Any]:
    told = {"stage": line["stage"], "epoch": line["epoch"], "seconds": line.get("seconds")}
    return {**told, "loss": line["losses"].get("total"), **(line["validation"] or {})}


def tables_of(folds: Folds) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Returns class, group as a number, and fold of each test image; the validation images; training counts.

    Images are in the order of each fold's logits.
    """
    tested, validated = (
        pd.concat([dataset.split(split).assign(fold=name) for name, dataset in folds.datasets.items()])
        for split in ("test", "val")
    )
    tested = tested.assign(group=pd.factorize(tested["group"])[0])
    counts = {name: dataset.counts("train") for name, dataset in folds.datasets.items()}
    columns = ["id", "label", "group", "fold"]
    return tested[columns], validated[columns], pd.DataFrame(counts, index=folds.first.classes)


def write_cases(folds: Folds, out: Path) -> None:
    """Writes these tables."""
    tested, validated, counts = tables_of(folds)
    tested.to_csv(out / "cases.csv", index=False)
    validated.drop(columns="group").to_csv(out / "validated.csv", index=False)
    counts.to_csv(out / "counts.csv", index_label="label")


def write_logits(folds: Folds, training: Training, path: Path) -> None:
    """Adds the logits of a training to the file of its row, where it does not have them."""
    found = dict(np.load(path)) if path.exists() else {}
    if f"{training.fold} test" in found:
        return
    saved = training.out.path / SAVED
    found |= dict(np.load(saved)) if saved.exists() else answers(folds, training)
    np.savez_compressed(path, **found)
    print(path.stem, training.fold, flush=True)


def save(training: Training) -> None:
    """Writes the logits of a training into its folder, where many processes do so at a time."""
    folds = read_folds(training.work / "data" / DOMAINS[training.domain].data)
    np.savez_compressed(training.out.path / SAVED, **answers(folds, training))


def answers(folds: Folds, training: Training) -> dict[str, np.ndarray]:
    """The logits of validation and test images: as the row answers, and with mirror images."""
    model, fold = load_model(training.out), training.fold
    mirrored = model.network.flips == "both"
    kinds = {"": model} if mirrored else {"": model, " flips": with_flips(model)}
    found = {
        f"{fold} {split}{name}": logits(asked, folds, fold, split)
        for name, asked in kinds.items()
        for split in SPLITS
    }
    return {**found, MIRRORED: np.array(mirrored)} if mirrored else found


def of_kind(logits: Mapping[str, np.ndarray], fold: str, split: str, kind: str) -> np.ndarray:
    """The kept logits of a fold's images; a row that averages over mirror images has one kind alone."""
    name = f"{fold} {split}{'' if MIRRORED in logits else kind}"
    if name not in logits:
        raise SystemExit(f"no logits '{name}' are kept: 'benchmarks.win.campaign' makes them")
    return logits[name]


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
