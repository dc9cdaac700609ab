"""Whose images a data set keeps together, and which of its columns look like persons and were not used."""

from __future__ import annotations

from lmd.data.dataset.checks import COLUMNS
from lmd.data.dataset.manifest import Dataset
from lmd.data.dataset.meaning.grouping import PATIENTS_UNKNOWN, SOME_UNKNOWN, Grouping
from lmd.data.dataset.meaning.suspects import unused_people


def grouping_of(dataset: Dataset) -> Grouping:
    """Returns what is known of the groups of a data set; the columns of its metadata are looked at too.

    A data set of version 0.1 does not say what its groups are: they are "group" where any has two images.
    """
    table = dataset.table
    several = bool(table["group"].duplicated().any())
    known = dataset.info.grouping or Grouping(level="group" if several else "image")
    left = {*COLUMNS, *dataset.info.recipe.get("ignore_column", ())}
    names = [name for name in table.columns if name not in left]
    found = unused_people(table, table["group"], table["label"], names)
    return known.model_copy(update={"unused": tuple(dict.fromkeys([*known.unused, *found]))})


def unknown_persons(grouping: Grouping) -> list[str]:
    """Returns what is not known of the patients, in words."""
    if grouping.knows_patients:
        return []
    return [SOME_UNKNOWN if grouping.level in ("patient", "case") else PATIENTS_UNKNOWN]
