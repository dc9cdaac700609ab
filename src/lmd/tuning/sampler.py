"""The next settings to try: optuna's TPE, as a pure function of the trials before.

Its generator begins anew for each trial, with a seed made of the search's seed and the trial's number. So a
search that was interrupted goes on as if nothing had happened.
"""

from __future__ import annotations

import importlib
import logging
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from lmd.errors import SettingsError
from lmd.extras import how_to_install
from lmd.runtime import derive_seed
from lmd.tuning.space import Choice, Range, Value

STARTUP = 10  # Trials that are drawn evenly, before there is anything to learn from (optuna's default).


class Tried(NamedTuple):
    """One trial: what was tried, and its score; None where the training failed, for a reason."""

    values: Mapping[str, Value]
    score: float | None
    seconds: float = 0.0
    reason: str | None = None


def optuna() -> Any:
    """Returns the package, quiet.

    Raises:
        SettingsError: it is not installed.
    """
    try:
        package: Any = importlib.import_module("optuna")
    except ImportError:
        raise SettingsError(f"lmd tune needs optuna: {how_to_install('tune')}") from None
    package.logging.set_verbosity(logging.WARNING)
    return package


def distributions(space: Mapping[str, Range | Choice]) -> dict[str, Any]:
    """Returns a space in optuna's words."""
    return {name: _distribution(part) for name, part in space.items()}


def _distribution(part: Range | Choice) -> Any:
    kinds = optuna().distributions
    if isinstance(part, Choice):
        return kinds.CategoricalDistribution(part.values)
    whole = isinstance(part.low, int) and isinstance(part.high, int)
    kind = kinds.IntDistribution if whole else kinds.FloatDistribution
    return kind(part.low, part.high, log=part.log)


def next_values(space: Mapping[str, Range | Choice], tried: Sequence[Tried], seed: int) -> dict[str, Value]:
    """Returns the values to try next, given all trials before; the same for the same ones.

    Numbers have four significant digits, so that a recipe can be read.
    """
    package, parts = optuna(), distributions(space)
    sampler = package.samplers.TPESampler(
        seed=derive_seed(seed, "tune", len(tried)) % 2**32, n_startup_trials=STARTUP
    )
    study = package.create_study(direction="maximize", sampler=sampler)
    study.add_trials(
        [
            package.trial.create_trial(params=dict(one.values), distributions=parts, value=one.score)
            for one in tried
            if one.score is not None
        ]
    )
    params = study.ask(parts).params
    return {name: _short(params[name], part) for name, part in space.items()}


def _short(value: Value, part: Range | Choice) -> Value:
    """A number with four digits, still inside of its range."""
    if isinstance(part, Choice) or not isinstance(value, float):
        return value
    return min(max(float(f"{value:.4g}"), part.low), part.high)
