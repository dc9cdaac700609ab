"""Which settings a search may choose, and between which values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from lmd.errors import SettingsError, suggest
from lmd.fields import leaf_values, setting_names
from lmd.recipe import read_recipe
from lmd.settings import CommonSettings
from lmd.text import shortened

Value = float | int | str | bool


@dataclass(frozen=True)
class Range:
    """Numbers from `low` to `high`; with `log` each factor is as likely as every other.

    Two whole numbers at its ends make it a range of whole numbers.
    """

    low: float
    high: float
    log: bool = False


@dataclass(frozen=True)
class Around:
    """Numbers from the value at hand divided by `times` to that value times `times`, evenly by factor."""

    times: float


@dataclass(frozen=True)
class Choice:
    """One of some values."""

    values: tuple[Value, ...]


Space = Mapping[str, Range | Around | Choice]


def settled(space: Space, settings: CommonSettings, whose: str) -> dict[str, Range | Choice]:
    """Returns a space with numbers in the place of each `Around`, which is about the settings at hand.

    Raises:
        SettingsError: it names a setting that the method has not, or goes around a value of 0.
    """
    values, known = dict(leaf_values(settings.model_dump())), setting_names(type(settings))
    for name in space:
        if name not in values:
            raise SettingsError(f"{whose}: unknown setting '{name}'{suggest(name, known)}")
    return {name: _settled(name, part, values[name], whose) for name, part in space.items()}


def _settled(name: str, part: Range | Around | Choice, value: Any, whose: str) -> Range | Choice:
    if not isinstance(part, Around):
        return part
    if isinstance(value, bool) or not isinstance(value, int | float) or value <= 0:
        raise SettingsError(
            f"{whose}: {name}: 'times' needs a number above 0 to begin with, and it is {value}"
        )
    return Range(float(f"{value / part.times:.6g}"), float(f"{value * part.times:.6g}"), log=True)


def read_space(path: Path) -> dict[str, Range | Around | Choice]:
    """Returns the space that a YAML file holds: of each setting {low, high, log}, {times} or a list.

    Raises:
        SettingsError: it cannot be read, or an entry is no space; the entry is named.
    """
    tree = read_recipe(path)
    found = {name: _part(value, f"{path}: {name}") for name, value in _entries(tree)}
    if not found:
        raise SettingsError(
            f"{path} names no setting to search: write such as 'stage1.optimisation.lr: {{times: 10}}'"
        )
    return found


def _entries(tree: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    """The entries of a tree, whose groups may be nested or dotted."""
    found: list[tuple[str, Any]] = []
    for name, value in tree.items():
        if isinstance(value, Mapping) and not {"low", "high", "times", "log"} & value.keys():
            found += _entries(cast("Mapping[str, Any]", value), f"{prefix}{name}.")
        else:
            found.append((f"{prefix}{name}", value))
    return found


def _part(value: Any, where: str) -> Range | Around | Choice:
    if isinstance(value, list):
        return _choice(cast("list[Any]", value), where)
    if isinstance(value, Mapping) and value.keys() == {"times"}:
        return Around(_number(value["times"], f"{where}: times", above=1))
    if isinstance(value, Mapping) and {"low", "high"} <= value.keys() <= {"low", "high", "log"}:
        return _range(cast("Mapping[str, Any]", value), where)
    raise SettingsError(
        f"{where} = {shortened(repr(value))}: must be {{low: X, high: X}}, {{low: X, high: X, log: true}}, "
        "{times: X} or a list of values"
    )


def _choice(values: Sequence[Any], where: str) -> Choice:
    if not values or not all(isinstance(value, Value) for value in values):
        raise SettingsError(f"{where}: the list must hold numbers or texts, one at the least")
    return Choice(tuple(values))


def _range(value: Mapping[str, Any], where: str) -> Range:
    log = value.get("log", False)
    if not isinstance(log, bool):
        raise SettingsError(f"{where}: log = {log!r} must be true or false")
    low = _number(value["low"], f"{where}: low", above=0 if log else None)
    high = _number(value["high"], f"{where}: high", above=low)
    return Range(low, high, log)


def _number(value: Any, where: str, above: float | None = None) -> float:
    """A number of a space; whole numbers stay whole."""
    fine = isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e300
    if not fine or (above is not None and value <= above):
        more = "" if above is None else f" above {above:g}"
        raise SettingsError(f"{where} = {shortened(repr(value))} must be a number{more}")
    return value
