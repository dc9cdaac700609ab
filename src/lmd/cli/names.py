"""What words of the command may be, checked without torch: a slip is answered at once."""

from __future__ import annotations

import pkgutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import typer

from lmd.cli import static
from lmd.cli.words import path_of
from lmd.errors import SettingsError, nearest, suggest

BUDGETS, SPLITS, LOGS = "auto|smoke|short|paper", "train|val|test", "tensorboard|mlflow"
EXECUTORS = "slurm|local"
JOBS = "N|auto"  # How many processes.
TAUS = "0|own|validation"  # The rule of tau for all rows of a table.
Check = Callable[[typer.Context, typer.CallbackParam, Any], Any]


def names_in(*folder: str) -> list[str]:
    """Returns the names that the modules of a package stand for: methods, or sources of data.

    >>> "isic2019" in names_in("data", "dataset", "sources")
    True
    """
    modules = pkgutil.iter_modules([str(static.ROOT.joinpath(*folder))])
    return sorted(module.name.replace("_", "-") for module in modules if not module.name.startswith("_"))


def among(choices: str) -> Check:
    """Returns a check that an option is one of `a|b|c`."""

    def check(ctx: typer.Context, param: typer.CallbackParam, value: str | None) -> str | None:
        if value is not None and value not in choices.split("|"):
            raise SettingsError(f"unknown {param.name} '{value}'{suggest(value, choices.split('|'))}")
        return value

    return check


def within(low: int, high: int | None = None) -> Check:
    """Returns a check that an option is a number of a range."""

    def check(ctx: typer.Context, param: typer.CallbackParam, value: int | None) -> int | None:
        if value is not None and not low <= value <= (value if high is None else high):
            allowed = f"at least {low}" if high is None else f"from {low} to {high}"
            raise SettingsError(f"{path_of(ctx)}: {param.opts[0]} {value}: must be {allowed}")
        return value

    return check


def check_number(ctx: typer.Context, param: typer.CallbackParam, value: str) -> str:
    """Checks that --jobs is a number from 1, or auto."""
    if value != "auto" and not (value.isdecimal() and int(value) >= 1):
        raise SettingsError(f"{path_of(ctx)}: {param.opts[0]} {value}: must be at least 1, or auto")
    return value


def jobs_of(text: str) -> int | Literal["auto"]:
    """Returns what a checked --jobs says.

    >>> jobs_of("2"), jobs_of("auto")
    (2, 'auto')
    """
    return "auto" if text == "auto" else int(text)


def check_choice(
    method: str | None, recipe: Path | None, overrides: Sequence[str], allow_code: bool = False
) -> None:
    """Refuses methods and settings that do not exist, and values that no method takes.

    Raises:
        SettingsError: one line that offers the nearest name, or says what is allowed.
    """
    from lmd import methods
    from lmd.recipe import named_method
    from lmd.settings import METHOD, parse_override

    layers = [parse_override(text) for text in overrides]
    name, tree = named_method(method, recipe, METHOD, allow_code)
    methods.check_name(name)
    _check_settings(name, [tree, *layers])
    if not name.endswith(".py"):  # A file of the user's own may have other limits.
        _check_values([tree, *layers])


def _check_values(layers: Sequence[Mapping[str, Any]]) -> None:
    """Checks the values of the settings that all methods share; the others need the method, and torch."""
    from lmd.settings import CommonSettings, resolve

    shared = CommonSettings.model_fields
    resolve(CommonSettings, *({key: layer[key] for key in layer if key in shared} for layer in layers))


def _check_settings(method: str, layers: Sequence[Mapping[str, Any]]) -> None:
    from lmd.fields import leaf_values

    file = static.ROOT / "methods" / f"{method.replace('-', '_')}.py"
    try:
        known, old = static.setting_names(Path(method) if method.endswith(".py") else file)
    except static.UnsureError:
        return  # The full check is slower, and sure.
    for name in (name for layer in layers for name, _ in leaf_values(layer)):
        of_earlier = any(f".{part}." in f".{name}." for part in old)
        if name not in known and not of_earlier:
            raise SettingsError(f"unknown setting {_what_is_unknown(name, known, method)}")


def _what_is_unknown(name: str, known: set[str], method: str) -> str:
    """The name with the one that was meant, or the part of it that the method has not."""
    hint = nearest(name, known, cutoff=0.8 if "." in name else 0.6)
    parts = name.split(".")
    groups = [".".join(parts[:end]) for end in range(1, len(parts) + 1)]
    first = next(group for group in groups if group not in known)
    return f"'{name}'{hint}" if hint else f"'{first}'; 'lmd methods {method}' lists them"
