"""From images to groups (patients, lesions): one answer for all images of a group, and its metrics."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from lmd.evaluation.evaluate import evaluate
from lmd.evaluation.groups.levels import GroupsResult

HOW = (
    "the logarithms of the probabilities are averaged over the images of a group, and their exponentials add "
    "up to 1 again; the largest decides"
)
_SMALLEST = 1e-12  # A probability that was rounded to 0 must not overrule all other images.


def mean_of_logs(probabilities: np.ndarray, group: np.ndarray) -> np.ndarray:
    """Returns the geometric mean of each group's probabilities [G, K], with a sum of 1.

    `group` [N] has numbers from 0 to G - 1.

    >>> mean_of_logs(np.array([[0.8, 0.2], [0.2, 0.8], [0.1, 0.9]]), np.array([0, 0, 1])).round(9).tolist()
    [[0.5, 0.5], [0.1, 0.9]]
    """
    logs = np.log(np.maximum(probabilities, _SMALLEST))
    sums = np.stack([np.bincount(group, column) for column in logs.T], axis=1)
    mean = sums / np.bincount(group)[:, None]
    shares = np.exp(mean - mean.max(1, keepdims=True))
    return shares / shares.sum(1, keepdims=True)


def group_table(predictions: pd.DataFrame, classes: Sequence[str]) -> tuple[pd.DataFrame, list[str]]:
    """Returns one row for each group, and the groups that are left out: their images have several labels.

    The table has the columns of the predictions of images (`p_<class>`, and `d_<class>` where decisions have
    their own probabilities), and `images`, their number. The id of a row is its group.
    """
    kinds = predictions.groupby("group", sort=False)["label"].nunique()
    several = kinds.index[kinds > 1].tolist()
    used = predictions[~predictions["group"].isin(several)]
    number, names = pd.factorize(used["group"])
    first = used.iloc[np.unique(number, return_index=True)[1]]
    table = pd.DataFrame({"id": names, "label": first["label"].to_numpy(), "group": names})
    sets = {letter: _shares(used, letter, number, classes) for letter in "pd" if _has(used, letter, classes)}
    if not sets or used.empty:
        return table, several
    decisions = sets.get("d", sets["p"])
    table["predicted"] = np.array(classes)[decisions.argmax(1)]
    table["images"] = np.bincount(number)
    columns = [
        pd.DataFrame(shares, columns=[f"{letter}_{name}" for name in classes])
        for letter, shares in sets.items()
    ]
    return pd.concat([table, *columns], axis=1), several


def _has(predictions: pd.DataFrame, letter: str, classes: Sequence[str]) -> bool:
    return f"{letter}_{classes[0]}" in predictions.columns


def _shares(used: pd.DataFrame, letter: str, number: np.ndarray, classes: Sequence[str]) -> np.ndarray:
    columns = [f"{letter}_{name}" for name in classes]
    return mean_of_logs(used[columns].to_numpy(dtype=np.float64), number)


def by_group(
    predictions: pd.DataFrame, classes: list[str], bands: dict[str, list[str]], split: str
) -> tuple[pd.DataFrame, GroupsResult] | str:
    """Returns the table of the groups and what it is worth, or in words why there is none.

    Raises:
        DataError: an image has no label, or one that is not a class.
    """
    if predictions["group"].nunique() == len(predictions):
        return "each group has one image: numbers by group are those by image"
    table, several = group_table(predictions, classes)
    if table.empty:
        return "the images of every group have several labels: a group has no class that could be measured"
    found = evaluate(table, classes, bands, split)
    result = GroupsResult(
        n=found.n,
        images=int(table["images"].sum()),
        several=len(several),
        how=HOW,
        metrics=found.metrics,
        bands=found.bands,
        classes=found.classes,
        confusion=found.confusion,
        reasons={**found.reasons, **_left_out(several, split)},
    )
    return table, result


def _left_out(several: Sequence[str], split: str) -> dict[str, str]:
    if not several:
        return {}
    have, are = ("group has", "is") if len(several) == 1 else ("groups have", "are")
    told = f"{len(several)} {have} images of several labels in split '{split}' and {are} left out by group"
    return {"several labels": told}
