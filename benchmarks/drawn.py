"""Draws a small data set from the real images of ISIC 2019, lesion by lesion, and writes its table."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

CLASSES = ("MEL", "NV", "BCC", "AK", "BKL", "DF", "VASC", "SCC")
TRUTH, METADATA = "ISIC_2019_Training_GroundTruth.csv", "ISIC_2019_Training_Metadata.csv"
IMAGES = "ISIC_2019_Training_Input"


def real_images(folder: Path) -> pd.DataFrame:
    """Returns id, label and lesion of each image whose file is there; one without a lesion is its own."""
    table = pd.read_csv(folder / TRUTH).merge(pd.read_csv(folder / METADATA), on="image")
    present = {path.stem for path in (folder / IMAGES).glob("*.jpg")}
    table = table[table["image"].isin(present)].reset_index(drop=True)
    labels = np.array(CLASSES)[table[list(CLASSES)].to_numpy().argmax(1)]
    lesion = table["lesion_id"].fillna(table["image"])
    return pd.DataFrame({"file": table["image"] + ".jpg", "label": labels, "lesion": lesion})


def wanted_counts(labels: pd.Series, images: int, smallest: int) -> dict[str, int]:
    """Returns how many images of each class to draw: its share of all, but no fewer than `smallest`.

    >>> wanted_counts(pd.Series(["a"] * 90 + ["b"] * 9 + ["c"]), 50, 5)
    {'a': 40, 'b': 5, 'c': 5}
    """
    counts = labels.value_counts()
    rare = counts[counts * images / counts.sum() < smallest].index
    left, rest = images - smallest * len(rare), counts.drop(rare)
    wanted = (rest * left / rest.sum()).round().astype(int)
    wanted.iloc[0] += left - wanted.sum()  # What rounding left over goes to the largest class.
    return {**wanted.to_dict(), **dict.fromkeys(rare, smallest)}


def draw(table: pd.DataFrame, wanted: dict[str, int], seed: int) -> pd.DataFrame:
    """Returns so many rows of each class, whole lesions in an order drawn from the seed.

    Of the last lesion of a class only the images that are still wanted are taken.
    """
    order = pd.Series(table["lesion"].unique()).sample(frac=1, random_state=seed).reset_index(drop=True)
    place = {lesion: number for number, lesion in enumerate(order)}
    table = table.assign(place=table["lesion"].map(place)).sort_values(["place", "file"])
    rows = [table[table["label"] == name].head(number) for name, number in sorted(wanted.items())]
    return pd.concat(rows).drop(columns="place").sort_values("file").reset_index(drop=True)
