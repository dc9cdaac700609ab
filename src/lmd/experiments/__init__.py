"""The paper's tables and figures as data: which runs, which numbers, the paper's values."""

from __future__ import annotations

from lmd.errors import SettingsError, suggest
from lmd.experiments.base import Experiment
from lmd.experiments.projections import FIG4, FIG5
from lmd.experiments.sweeps import FIG3, FIG6, FIG7, TABLE4, TABLE5
from lmd.experiments.tables import TABLE1, TABLE2, TABLE3

_ALL = (TABLE1, TABLE2, TABLE3, TABLE4, TABLE5, FIG3, FIG4, FIG5, FIG6, FIG7)
EXPERIMENTS: dict[str, Experiment] = {experiment.name: experiment for experiment in _ALL}


def load(name: str) -> Experiment:
    """Returns an experiment by its name.

    Raises:
        SettingsError: no such experiment; the nearest name is offered.
    """
    if name not in EXPERIMENTS:
        raise SettingsError(f"unknown experiment '{name}'{suggest(name, EXPERIMENTS)}")
    return EXPERIMENTS[name]
