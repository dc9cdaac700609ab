"""What the groups of settings hold: names, groups, choices and descriptions of their fields."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeGuard, TypeVar, cast, get_args, get_origin

import yaml
from pydantic import BaseModel, ValidationError

from lmd.errors import LmdError, SettingsError, nearest, suggest
from lmd.reading import UnreadableError, json_of, text_of
from lmd.text import shortened


def first_fault(error: ValidationError) -> str:
    """Returns what is wrong with a file, as its first fault: the name of the field and what was expected."""
    first = error.errors()[0]
    place = ".".join(map(str, first["loc"])) or "the file"
    return shortened(f"{place}: {must_be(first)}", 300)


# What a value has to be, by the kind of fault that pydantic found; its own words are for programmers.
_MUST_BE = {
    **dict.fromkeys(
        ("int_type", "int_parsing", "int_parsing_size", "int_from_float"), "must be a whole number"
    ),
    **dict.fromkeys(("float_type", "float_parsing"), "must be a number"),
    **dict.fromkeys(("bool_type", "bool_parsing"), "must be true or false"),
    **dict.fromkeys(("tuple_type", "list_type"), "must be a list"),
    **dict.fromkeys(("dict_type", "mapping_type"), "must give names their values"),
    **dict.fromkeys(
        ("model_type", "model_attributes_type"), "must be a group of settings; set one of its members"
    ),
    "string_type": "must be text",
    "path_type": "must be a path",
    "finite_number": "must be a finite number",
    "greater_than_equal": "must be at least {ge:g}",
    "greater_than": "must be more than {gt:g}",
    "less_than_equal": "must be at most {le:g}",
    "less_than": "must be less than {lt:g}",
    "literal_error": "must be one of {expected}",
    "value_error": "{error}",
    "missing": "is missing",
    "extra_forbidden": "is unknown",
}


def must_be(fault: Mapping[str, Any]) -> str:
    """Returns what a value has to be, of one of the faults that pydantic lists."""
    words = _MUST_BE.get(fault["type"], "").format_map(fault.get("ctx", {}))
    if fault["type"] == "literal_error":
        words += nearest(str(fault["input"]), re.findall("'([^']*)'", fault["ctx"]["expected"]))
    return words or fault["msg"]


M = TypeVar("M", bound=BaseModel)


def read_json(model: type[M], path: Path, error: type[LmdError]) -> M:
    """Returns what a JSON file of ours holds, after checking each of its fields.

    Raises:
        OSError: the file cannot be read.
        LmdError: it is damaged; of the kind `error`, in one line.
    """
    try:
        return model.model_validate(json_of(text_of(path)))
    except UnreadableError as fault:
        raise error(f"{path} is damaged: it {fault}") from fault
    except ValidationError as fault:
        raise error(f"{path} is damaged: {first_fault(fault)}") from fault


Spelling = Callable[[str, Any], str]


def as_in_python(name: str, value: Any) -> str:
    """Returns an option and its value as Python writes them."""
    return f"{name} = {value!r}"


def read_options(model: type[M], given: Mapping[str, Any], whose: str, spell: Spelling = as_in_python) -> M:
    """Returns the options of a data source, from what was given by name.

    Args:
        model: the source's options.
        given: names and values; texts are read as the command gives them.
        whose: the source, as a message names it.
        spell: how a message writes an option and its value.

    Raises:
        SettingsError: one line that names the option, its value and what is allowed.
    """
    for name, value in given.items():
        if value == "" and name in model.model_fields:  # A path of "" would be the current folder.
            raise SettingsError(f"{whose}: {spell(name, value)}: must not be empty")
    try:
        return model.model_validate(given)
    except ValidationError as error:
        raise SettingsError(_option_fault(model, given, error, whose, spell)) from error


def _option_fault(
    model: type[BaseModel], given: Mapping[str, Any], error: ValidationError, whose: str, spell: Spelling
) -> str:
    errors = error.errors()
    first = next((found for found in errors if found["type"] == "extra_forbidden"), errors[0])
    name = str(next(iter(first["loc"]), ""))
    if first["type"] == "extra_forbidden":
        return f"{whose} has no option '{name}'{suggest(name, model.model_fields)}"
    if name and name not in given:
        return f"{whose} needs the option '{name}' ({model.model_fields[name].description})"
    return f"{whose}: {spell(name, given[name])}: {must_be(first)}" if name else f"{whose}: {must_be(first)}"


def groups_of(model: type[BaseModel]) -> dict[str, type[BaseModel]]:
    """Returns the groups of settings in a model, by name."""
    kinds = {name: field.annotation for name, field in model.model_fields.items()}
    return {name: kind for name, kind in kinds.items() if _is_group(kind)}


def _is_group(kind: Any) -> TypeGuard[type[BaseModel]]:
    return isinstance(kind, type) and issubclass(kind, BaseModel)


def setting_names(model: type[BaseModel], prefix: str = "") -> list[str]:
    """Returns the dotted names of all settings of a model, groups included."""
    groups = groups_of(model)
    names: list[str] = []
    for name in model.model_fields:
        names.append(prefix + name)
        if name in groups:
            names += setting_names(groups[name], f"{prefix}{name}.")
    return names


def old_names_of(model: type[BaseModel], prefix: str = "") -> dict[str, str]:
    """Returns the dotted names of earlier versions and what they are called today; "" where they are gone."""
    names = {prefix + old: new and prefix + new for old, new in getattr(model, "OLD_NAMES", {}).items()}
    for name, group in groups_of(model).items():
        names |= old_names_of(group, f"{prefix}{name}.")
    return names


def leaf_values(tree: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    """Returns all values of a nested tree with their dotted names.

    >>> leaf_values({"a": 1, "b": {"c": 2}})
    [('a', 1), ('b.c', 2)]
    """
    found: list[tuple[str, Any]] = []
    for name, value in tree.items():
        if isinstance(value, Mapping):
            found += leaf_values(cast("Mapping[str, Any]", value), f"{prefix}{name}.")
        else:
            found.append((f"{prefix}{name}", value))
    return found


def setting_lines(settings: BaseModel) -> list[str]:
    """Returns the settings as text: name, value and choices on a line, and below it what the setting is.

    >>> from pydantic import Field
    >>> class Example(BaseModel):
    ...     kind: Literal["a", "b"] = Field("a", description="which of the two (ours)")
    >>> setting_lines(Example())
    ['  kind = a  (a, b)', '      which of the two (ours)']
    """
    lines: list[str] = []
    for first, text in _entries(settings, ""):
        lines += [f"  {first}", f"      {text}"] if text else [f"  {first}"]
    return lines


def _entries(settings: BaseModel, prefix: str) -> Iterator[tuple[str, str]]:
    """Each setting and what it means; of a group its name, where somebody says what it is for."""
    for name, field in type(settings).model_fields.items():
        value, text = getattr(settings, name), field.description or ""
        if isinstance(value, BaseModel):
            yield from [(f"{prefix}{name}", text)] if text else []
            yield from _entries(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name} = {as_yaml(value)}{_choices(field.annotation)}", text


def _choices(annotation: Any) -> str:
    """The values that a setting may have, where they can be listed."""
    kinds = [annotation, *get_args(annotation)]
    found = [str(value) for kind in kinds if get_origin(kind) is Literal for value in get_args(kind)]
    return f"  ({', '.join(found)})" if found else ""


def as_yaml(value: Any) -> str:
    """Returns a value as `--set` and recipes write it."""
    return yaml.safe_dump(value, default_flow_style=True).removesuffix("\n").removesuffix("\n...")


def as_overrides(settings: Mapping[str, Any] | Sequence[str]) -> list[str]:
    """Returns settings as `--set` takes them: one text or several, or names and values, nested or not.

    Raises:
        SettingsError: a value is of a kind that no setting has.

    >>> as_overrides({"stage1": {"epochs": 5}, "m_step.l2": 0.1}), as_overrides("size=64")
    (['stage1.epochs=5', 'm_step.l2=0.1'], ['size=64'])
    """
    if isinstance(settings, str):
        return [settings]
    if isinstance(settings, Mapping):
        return [f"{name}={_written(name, value)}" for name, value in leaf_values(settings)]
    return list(settings)


def _written(name: str, value: Any) -> str:
    """A value as `--set` writes it; numpy's numbers and paths are as good as plain ones."""
    plain = value.item() if hasattr(value, "item") else value
    try:
        return as_yaml(str(plain) if isinstance(plain, Path) else plain)
    except yaml.YAMLError as error:
        raise SettingsError(f"setting {name}: {type(value).__name__} is no kind of value for it") from error
