"""Recipes: YAML files of settings, which may name their method."""

from __future__ import annotations

from pathlib import Path
from typing import cast

from lmd.errors import SettingsError
from lmd.reading import MOST_YAML, UnreadableError, text_of, yaml_of
from lmd.settings import Tree


def read_recipe(path: Path) -> Tree:
    """Returns the settings that a recipe (a YAML file) holds.

    Raises:
        SettingsError: the file is missing, is not YAML or does not hold a mapping.
    """
    try:
        tree = yaml_of(text_of(path, MOST_YAML))
    except OSError as error:
        raise SettingsError(f"cannot read recipe {path}: {error.strerror or error}") from error
    except UnreadableError as error:
        raise SettingsError(f"recipe {path} {error}") from error
    if tree is None:
        return {}
    if not isinstance(tree, dict):
        raise SettingsError(f"recipe {path} must hold 'name: value' lines, found {type(tree).__name__}")
    return cast("Tree", tree)


def named_method(
    method: str | None, recipe: Path | None, default: str, allow_code: bool = False
) -> tuple[str, Tree]:
    """Returns the method that is asked for, and the settings that the recipe has for it.

    Raises:
        SettingsError: the recipe is for another method, or cannot be read. Or it alone names a file with
            code, without `allow_code`.
    """
    tree = read_recipe(recipe) if recipe else {}
    written = tree.pop("method", None)
    if written is not None and not isinstance(written, str):
        raise SettingsError(f"recipe {recipe}: method = {written!r} must be the name of a method")
    if None not in (method, written) and method != written:
        raise SettingsError(f"recipe {recipe} is for method '{written}', not for '{method}'")
    if method is None and written is not None and written.endswith(".py") and not allow_code:
        raise file_not_allowed(f"recipe {recipe} names the method file {written}", written)
    return next((name for name in (method, written) if name is not None), default), tree


def file_not_allowed(who: str, file: str) -> SettingsError:
    """Returns the refusal to run a file that was not named on the command line, with the way out."""
    return SettingsError(
        f"{who}, whose code would run: read it first, then add --allow-code (in Python allow_code=True), or "
        f"train with --method {file}"
    )
