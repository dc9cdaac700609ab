"""What a person states for an evaluation: shares of the classes, wanted sensitivities, a table of costs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lmd.data.dataset.reading.tables import read_table
from lmd.errors import DataError, SettingsError, suggest
from lmd.reading import MOST_YAML, UnreadableError, json_of, text_of, yaml_of
from lmd.text import listed, shortened

WORDS = ("train", "uniform", "estimate")  # What --prior takes besides a file.
_ROUNDING = 0.005  # How far from 1 stated shares may add up, and from 100 percents.
_TREES = {".json": json_of, ".yaml": yaml_of, ".yml": yaml_of}


def read_shares(path: Path, classes: Sequence[str]) -> np.ndarray:
    """Returns the shares [K] that a file states for the classes, in their order; they sum to 1.

    A CSV file has the columns `class` and `share`; a YAML or JSON file gives each class its share.

    Raises:
        DataError: the file cannot be read, names another class, lacks one, or its shares do not sum to 1.
    """
    return checked_shares(path, _stated(path), classes)


def checked_shares(path: Path | str, found: Mapping[str, Any], classes: Sequence[str]) -> np.ndarray:
    """Returns the shares [K] of a mapping from classes to shares; `path` is what a message calls it.

    Raises:
        DataError: it names another class, lacks one, or its shares do not sum to 1.
    """
    for name in found:
        if name not in classes:
            raise DataError(f"{path} has the class '{shortened(name)}', which the model does not know"
                            f"{suggest(name, classes)}")  # fmt: skip
    absent = [name for name in classes if name not in found]
    if absent:
        raise DataError(
            f"{path} has no share of {listed(absent)}: write one for each class, 0 where it is none"
        )
    shares = np.array([_number(path, f"the share of '{name}'", found[name]) for name in classes])
    total = float(shares.sum())
    if abs(total - 1) > _ROUNDING:
        percents = "; these look like percents: divide them by 100" if abs(total - 100) < 0.5 else ""
        raise DataError(
            f"{path}: the shares of the {len(classes)} classes sum to {total:g}, not to 1{percents}"
        )
    return shares / total


def _stated(path: Path) -> Mapping[str, Any]:
    """What a file gives each class."""
    read = _TREES.get(path.suffix.lower())
    if read is None:
        return _columns(path, "share")
    try:
        tree = read(text_of(path, MOST_YAML))
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}") from error
    except UnreadableError as error:
        raise DataError(f"{path} {error}") from error
    if not isinstance(tree, dict):
        raise DataError(f"{path} must give each class its share, as in 'melanoma: 0.02'")
    return tree


def _columns(path: Path, column: str) -> dict[str, str]:
    table = read_table(path, ["class", column])
    found: dict[str, str] = {}
    for row, name, value in zip(table.index, table["class"], table[column], strict=True):
        if name in found:
            raise DataError(f"{path} has the class '{shortened(name)}' twice, again in row {row}")
        found[name] = value
    return found


def _number(path: Path | str, what: str, value: Any) -> float:
    """A number from 0 on."""
    try:
        number = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not (math.isfinite(number) and number >= 0):
        raise DataError(f"{path}: {what} is '{shortened(str(value))}', and must be a number from 0 on")
    return number


def read_costs(path: Path, classes: Sequence[str]) -> np.ndarray:
    """Returns the costs [K, K] of a CSV file: a row for each true class, a column for each that is decided.

    The first column is named `class` and has the true classes.

    Raises:
        DataError: the file cannot be read, lacks a class, has another one, or a cost that is no number.
    """
    table = read_table(path, ["class", *classes])
    rows = table["class"].tolist()
    known = [name for name in table.columns if name != "class"]
    for name, where in [*((name, "column") for name in known), *((name, "row") for name in rows)]:
        if name not in classes:
            raise DataError(f"{path} has the {where} '{shortened(name)}', which is no class of the model"
                            f"{suggest(name, classes)}")  # fmt: skip
    wrong = [name for name in classes if rows.count(name) != 1]
    if wrong:
        raise DataError(
            f"{path} has {rows.count(wrong[0])} rows of the class '{wrong[0]}': write one for each"
        )
    costs = [
        [
            _number(path, f"the cost of '{true}' taken for '{name}'", cell)
            for name, cell in zip(classes, row, strict=True)
        ]
        for true, row in zip(rows, table[list(classes)].to_numpy(), strict=True)
    ]
    found = np.array(costs)[[rows.index(name) for name in classes]]
    if not (found > 0).any():
        raise DataError(f"{path}: every cost is 0: write what each mistake costs")
    return found


def wanted_sensitivities(
    texts: Sequence[str] | Mapping[str, float], classes: Sequence[str]
) -> dict[str, float]:
    """Returns the sensitivity that is wanted of each class, from texts CLASS=0.95 or from a mapping.

    Raises:
        SettingsError: no such class, one twice, or a sensitivity that is not above 0 and below 1.
    """
    pairs = (
        list(texts.items()) if isinstance(texts, Mapping) else [text.rpartition("=")[::2] for text in texts]
    )
    found: dict[str, float] = {}
    for name, value in pairs:
        said = f"--sensitivity {name}={value}"
        if name not in classes:
            raise SettingsError(f"{said}: the model has no class '{name}'{suggest(name, classes)}")
        if name in found:
            raise SettingsError(f"{said}: '{name}' has the sensitivity {found[name]:g} already")
        found[name] = _between(said, value)
    return found


def _between(said: str, value: Any) -> float:
    try:
        number = float(value)
    except ValueError:
        number = math.nan
    if not 0 < number < 1:
        raise SettingsError(f"{said}: must be CLASS=NUMBER, with a number above 0 and below 1, such as 0.95")
    return number
