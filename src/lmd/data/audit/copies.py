"""The copies among the images of a data set, with the splits, labels and groups they are in."""

from __future__ import annotations

import numpy as np
import pandas as pd

from lmd.data.audit.duplicates import LEAST_AGREEMENT, Pair, identical_rows, near_pairs
from lmd.data.audit.looks import BITS, Looks
from lmd.data.audit.results import Contradictory, Identical, NearDuplicates, NearPair

_LISTED = 1000  # Near duplicates in the fingerprint: those across splits first, then those nearest.


def identical(table: pd.DataFrame, looks: Looks) -> list[Identical]:
    """Returns the sets of byte-identical images."""
    return [
        Identical(ids=part["id"].tolist(), splits=sorted(set(part["split"]))) for part in _sets(table, looks)
    ]


def contradictory(table: pd.DataFrame, looks: Looks) -> list[Contradictory]:
    """Returns the sets of byte-identical images that have different labels."""
    return [
        Contradictory(ids=part["id"].tolist(), labels=sorted(set(part["label"])))
        for part in _sets(table, looks)
        if part["label"].nunique() > 1
    ]


def _sets(table: pd.DataFrame, looks: Looks) -> list[pd.DataFrame]:
    return [table.iloc[rows] for rows in identical_rows(looks.records)]


def near_duplicates(table: pd.DataFrame, groups: np.ndarray, looks: Looks, near_bits: int) -> NearDuplicates:
    """Returns the pairs of nearly the same picture; `groups` numbers the group of each row."""
    found, complete = near_pairs(looks.records, near_bits)
    pairs = [_described(table, groups, pair) for pair in found]
    pairs.sort(key=lambda pair: (not _differ(pair.splits), not _differ(pair.labels), pair.bits))
    return NearDuplicates(
        bits=near_bits,
        of=BITS,
        agreement=LEAST_AGREEMENT,
        complete=complete,
        count=len(pairs),
        across=sum(_differ(pair.splits) for pair in pairs),
        train_test=sum(set(pair.splits) == {"train", "test"} for pair in pairs),
        other_group=sum(_differ(pair.groups) for pair in pairs),
        other_label=sum(_differ(pair.labels) for pair in pairs),
        pairs=pairs[:_LISTED],
    )


def _differ(values: list[str]) -> bool:
    return len(set(values)) > 1


def _described(table: pd.DataFrame, groups: np.ndarray, pair: Pair) -> NearPair:
    rows = [pair.first, pair.second]
    return NearPair(
        rows=rows,
        ids=[table["id"].iat[row] for row in rows],
        splits=[table["split"].iat[row] for row in rows],
        labels=[table["label"].iat[row] for row in rows],
        groups=[f"g{groups[row]}" for row in rows],
        bits=pair.bits,
        agreement=pair.agreement,
        turned=pair.turn > 0,
    )
