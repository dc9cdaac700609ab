"""The methods: one file each, found by its name, or given as a path to a file of the user's own."""

from __future__ import annotations

import importlib
import importlib.util
import pkgutil
import sys
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType, ModuleType
from typing import TYPE_CHECKING, Any, Protocol, cast

from lmd.errors import LmdError, SettingsError, suggest
from lmd.fields import setting_lines
from lmd.model_card import Prior
from lmd.recipe import file_not_allowed
from lmd.run_folder import FITTED
from lmd.runtime import derive_seed
from lmd.settings import CommonSettings, resolve
from lmd.text import in_columns

if TYPE_CHECKING:  # A method's name is looked up without torch.
    import numpy as np

    from lmd.stages.base import Stage

FIXED_BUDGETS = ("smoke", "short", "paper")  # The same for all data.
BUDGETS = ("auto", *FIXED_BUDGETS)


_PRIORS = {
    "training": "training; its probabilities imply classes as frequent as in the training images",
    "uniform": "uniform; its probabilities imply that all classes are equally frequent",
    "unknown": "unknown; the frequency of classes that its probabilities imply does not follow from its loss",
}


class Method(Protocol):
    """What a method's module offers."""

    __doc__: str | None
    Settings: type[CommonSettings]
    BUDGETS: Mapping[str, Mapping[str, Any]]
    PAPER: str  # Authors, venue, link.
    STATUS: str  # "baseline of the paper", "reconstruction", "beyond the paper" ...
    PRIOR: Prior  # The frequency of classes that the outputs imply, where the defaults are in force.

    def stages(self, settings: CommonSettings, counts: np.ndarray) -> list[Stage]:
        """Returns the stages to run, in order; `counts` are the training images per class."""
        ...


def names() -> list[str]:
    """Returns the names of the built-in methods: one for each file of this package.

    >>> [name for name in names() if name in ("ce", "lmd", "lmd-code", "lmd-literal")]
    ['ce', 'lmd', 'lmd-code', 'lmd-literal']
    """
    files = (module.name for module in pkgutil.iter_modules(__path__))
    return sorted(name.replace("_", "-") for name in files)


def check_name(name: str) -> None:
    """Refuses a method that is not there, without the seconds that importing one takes.

    Raises:
        SettingsError: no such method; the nearest name is offered.
    """
    if name.endswith(".py"):
        _read_file(Path(name))
    elif name not in names():
        raise SettingsError(f"unknown method '{name}'{suggest(name, names())}")


def load(name: str, allow_code: bool = False) -> Method:
    """Returns the module of a method, by name or by the path of a file that holds one.

    A file is run with `allow_code`. Without it, only what has run already is returned: so nobody's file runs
    because a recipe, a run folder or a checkpoint names it.

    Raises:
        SettingsError: no such method; the nearest name is offered. Or a file that was not allowed to run.
    """
    check_name(name)
    if name.endswith(".py"):
        return _load_file(Path(name), allow_code)
    return cast("Method", importlib.import_module(f"lmd.methods.{name.replace('-', '_')}"))


def _load_file(path: Path, allow_code: bool) -> Method:
    """A method from a user's file; what is wrong with the file is one line, and not our traceback."""
    name = f"lmd_method_{derive_seed(str(path.resolve()), _read_file(path).hex()):x}"
    if name in sys.modules:
        return cast("Method", sys.modules[name])
    if not allow_code:
        raise file_not_allowed(f"{path} is a method file", str(path))
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # Before it runs: pydantic looks annotations up there.
    try:
        spec.loader.exec_module(module)
        _check_parts(module, path)
    except BaseException as error:
        del sys.modules[name]
        if isinstance(error, LmdError | KeyboardInterrupt):
            raise
        raise SettingsError(f"method file {_place(path, error)} fails: {_describe(error)}") from error
    return cast("Method", module)


def _read_file(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise SettingsError(f"no method file {path} ({error.strerror})") from error


def _check_parts(module: ModuleType, path: Path) -> None:
    """Refuses a file that lacks a part of `Method`, or has another thing in its place."""
    for part in ("Settings", "stages", "BUDGETS", "PAPER", "STATUS"):
        if not hasattr(module, part):
            raise SettingsError(f"method file {path} has no '{part}'; docs/methods/own.md says what it needs")
    kind = module.Settings
    if not (isinstance(kind, type) and issubclass(kind, CommonSettings)):
        raise SettingsError(f"method file {path}: Settings must be a subclass of lmd.settings.CommonSettings")
    if not callable(module.stages):
        raise SettingsError(f"method file {path}: stages must be a function of (settings, counts)")
    if getattr(module, "PRIOR", "unknown") not in _PRIORS:
        raise SettingsError(f"method file {path}: PRIOR must be one of {', '.join(_PRIORS)}")
    if not isinstance(module.BUDGETS, Mapping):
        raise SettingsError(f"method file {path}: BUDGETS must map a budget to settings; {{}} will do")


def _place(path: Path, error: BaseException) -> str:
    """The file and, where it is known, the last of its lines that took part in an error."""
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if Path(frame.filename) == path.absolute()]
    if isinstance(error, SyntaxError) and error.filename == str(path.absolute()):
        lines.append(error.lineno)
    return f"{path}, line {lines[-1]}" if lines else str(path)


def _describe(error: BaseException) -> str:
    text = error.msg if isinstance(error, SyntaxError) else str(error)
    return f"{type(error).__name__}: {' '.join(text.split())}"


def preset(method: Method) -> Mapping[str, Any]:
    """Returns the settings that a preset lays over its parent's defaults; other methods have none."""
    return cast("Mapping[str, Any]", getattr(method, "PRESET", {}))


def implied_prior(method: Method, settings: CommonSettings) -> Prior:
    """Returns the frequency of classes that a method's outputs imply under these settings.

    A method whose settings change it has a function `prior(settings)`. Of a user's file that says nothing it
    is unknown.
    """
    own = getattr(method, "prior", None)
    return cast("Prior", own(settings) if own is not None else getattr(method, "PRIOR", "unknown"))


def title(method: Method) -> str:
    """Returns the first line of the method's description."""
    return (method.__doc__ or "").strip().partition("\n")[0]


def in_words(name: str) -> str | None:
    """Returns what the method of a run is, in the words of `overview`; None of a file of the user's own.

    >>> in_words("virtual-features").partition(":")[0], in_words("mine.py")
    ('Virtual features', None)
    """
    if name == FITTED:
        return (
            "Virtual features: the encoder stays as it was, and a classifier is fitted to features that are "
            "drawn from a Gaussian of each class."
        )
    return title(load(name)) if name in names() else None


def budget(method: Method, name: str) -> Mapping[str, Any]:
    """Returns the settings that a budget lays over the defaults; "paper" lays none.

    What a method adds to "auto" is but a part of that budget, and may hold lengths that are not in epochs:
    `lmd.planning.settings_for` makes settings of it.

    Raises:
        SettingsError: no such budget.
    """
    if name not in BUDGETS:
        raise SettingsError(f"unknown budget '{name}'{suggest(name, BUDGETS)}")
    return method.BUDGETS.get(name, {})


def overview() -> list[str]:
    """Returns one line for each method: name, status, paper and title, in columns."""
    found = [(name, load(name)) for name in names()]
    rows = [("method", "status", "paper", "what it is")]
    rows += [(name, method.STATUS, method.PAPER, title(method)) for name, method in found]
    return in_columns(rows)


def settings_of(
    name: str,
    budget_name: str = "paper",
    recipe: Mapping[str, Any] = MappingProxyType({}),
    flags: Mapping[str, Any] = MappingProxyType({}),
    overrides: Sequence[str] = (),
    allow_code: bool = False,
) -> CommonSettings:
    """Returns a method's settings: defaults < preset < budget < recipe < flags < overrides.

    A run's settings come from `lmd.planning.settings_for`, which knows the data; here there are none, and
    so no budget "auto". With `allow_code` the method may be a file, whose code is run.

    Raises:
        SettingsError: no such method or budget, or a setting that does not exist or is out of range.
    """
    method = load(name, allow_code)
    if budget_name == "auto":
        raise SettingsError("the budget 'auto' is a plan for a data set: without data there is none")
    layers = (preset(method), budget(method, budget_name), recipe, flags)
    return resolve(method.Settings, *layers, overrides=overrides)


def describe(name: str, allow_code: bool = False) -> list[str]:
    """Returns all about a method: its description, its origin, and each setting with its default."""
    method = load(name, allow_code)
    settings = settings_of(name, allow_code=allow_code)
    facts = [
        f"paper: {method.PAPER}",
        f"status: {method.STATUS}",
        f"prior: {_PRIORS[implied_prior(method, settings)]}",
    ]
    return [
        *(method.__doc__ or "").strip().splitlines(),
        "",
        *facts,
        "",
        "settings (--set NAME=VALUE):",
        *setting_lines(settings),
    ]
