"""The methods: one file each, found by its name, or given as a path to a file of the user's own."""

from __future__ import annotations

import importlib
import importlib.util
import pkgutil
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol, cast

import numpy as np

from lmd.errors import SettingsError, suggest
from lmd.methods.base import Stage
from lmd.settings import CommonSettings

BUDGETS = ("smoke", "short", "paper")


class Method(Protocol):
    """What a method's module offers."""

    __doc__: str | None
    Settings: type[CommonSettings]
    BUDGETS: Mapping[str, Mapping[str, Any]]
    PAPER: str  # Authors, venue, link.
    STATUS: str  # "baseline of the paper", "reconstruction", "beyond the paper" ...

    def stages(self, settings: CommonSettings, counts: np.ndarray) -> list[Stage]:
        """Returns the stages to run, in order; `counts` are the training images per class."""
        ...


def names() -> list[str]:
    """Returns the names of the built-in methods: one for each file of this package.

    >>> [name for name in names() if name in ("ce", "lmd", "lmd-code", "lmd-literal")]
    ['ce', 'lmd', 'lmd-code', 'lmd-literal']
    """
    files = (module.name for module in pkgutil.iter_modules(__path__))
    return sorted(name.replace("_", "-") for name in files if name != "base" and not name.startswith("_"))


def load(name: str) -> Method:
    """Returns the module of a method, by name or by the path of a file that holds one.

    Raises:
        SettingsError: no such method; the nearest name is offered.
    """
    if name.endswith(".py"):
        return _load_file(Path(name))
    if name not in names():
        raise SettingsError(f"unknown method '{name}'{suggest(name, names())}")
    return cast("Method", importlib.import_module(f"lmd.methods.{name.replace('-', '_')}"))


def _load_file(path: Path) -> Method:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if not path.is_file() or spec is None or spec.loader is None:
        raise SettingsError(f"no method file {path}")
    module: ModuleType = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    for part in ("Settings", "stages", "BUDGETS", "PAPER", "STATUS"):
        if not hasattr(module, part):
            raise SettingsError(f"method file {path} has no '{part}'")
    return cast("Method", module)


def preset(method: Method) -> Mapping[str, Any]:
    """Returns the settings that a preset lays over its parent's defaults; other methods have none."""
    return cast("Mapping[str, Any]", getattr(method, "PRESET", {}))


def title(method: Method) -> str:
    """Returns the first line of the method's description."""
    return (method.__doc__ or "").strip().partition("\n")[0]


def budget(method: Method, name: str) -> Mapping[str, Any]:
    """Returns the settings that a budget lays over the defaults; "paper" lays none.

    Raises:
        SettingsError: no such budget.
    """
    if name not in BUDGETS:
        raise SettingsError(f"unknown budget '{name}'{suggest(name, BUDGETS)}")
    return method.BUDGETS.get(name, {})
