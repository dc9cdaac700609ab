"""Data sources: one file each; the file is the registration."""

from __future__ import annotations

import importlib
import pkgutil
from pathlib import Path
from typing import Any, Protocol, cast

from lmd.data.dataset.manifest import Dataset
from lmd.errors import SettingsError, suggest
from lmd.parallel import Steps
from lmd.settings import Settings


class Source(Protocol):
    """What a source's module offers."""

    TITLE: str
    Options: type[Settings]

    def prepare(self, options: Any, out: Path, progress: Steps = ...) -> Dataset:
        """Makes the dataset folder `out` and returns it."""
        ...


def names() -> list[str]:
    """Returns the names of the sources.

    >>> "isic2019" in names()
    True
    """
    files = (module.name for module in pkgutil.iter_modules(__path__))
    return sorted(name.replace("_", "-") for name in files if not name.startswith("_"))


def load(name: str) -> Source:
    """Returns the module of a source.

    Raises:
        SettingsError: no such source; the nearest name is offered.
    """
    if name not in names():
        raise SettingsError(f"unknown source '{name}'{suggest(name, names())}")
    return cast("Source", importlib.import_module(f"lmd.data.dataset.sources.{name.replace('-', '_')}"))
