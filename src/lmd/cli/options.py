"""The options of a data source as the command shows and reads them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import UnionType
from typing import TYPE_CHECKING, Annotated, Any, Literal, Union, get_args, get_origin

from lmd.errors import SettingsError

if TYPE_CHECKING:  # Help has to come before pydantic is loaded.
    from pydantic import BaseModel
    from pydantic.fields import FieldInfo


@dataclass(frozen=True)
class Shown:
    """An option: its name, what its value looks like, and what it means."""

    name: str
    metavar: str
    help: str
    default: str = ""
    required: bool = False
    several: bool = False
    hidden: bool = False

    @property
    def flag(self) -> str:
        """The option as it is typed."""
        return f"--{self.name.replace('_', '-')}"

    @property
    def is_flag(self) -> bool:
        """Whether it takes no value."""
        return not self.metavar


def spelled(name: str, value: Any) -> str:
    """Returns an option and its value as they are typed.

    >>> spelled("skip_bad", "x"), spelled("exclude", ["a", "b"])
    ('--skip-bad x', '--exclude a --exclude b')
    """
    flag = f"--{name.replace('_', '-')}"
    return " ".join(f"{flag} {one}" for one in (value if isinstance(value, list) else [value]))


def shown_options(model: type[BaseModel]) -> list[Shown]:
    """Returns the options of a source: what is needed first, then its own, then those of several sources."""
    refused, own = getattr(model, "REFUSED", ()), vars(model).get("__annotations__", {})
    order = [*own, *model.model_fields]
    found = [_shown(name, field, name in refused) for name, field in model.model_fields.items()]
    return sorted(found, key=lambda option: (not option.required, order.index(option.name)))


def _shown(name: str, field: FieldInfo, hidden: bool) -> Shown:
    several = _origin(field) in (tuple, dict) and not _is_fixed(field)
    text = " ".join((field.description or "").split())
    text += "; may be given again" if several else ""
    metavar = "|".join(dict.fromkeys(filter(None, (_metavar(kind, text) for kind in _kinds(field)))))
    limits = _limits(field)
    text += f" ({limits})" if limits else ""
    default = "" if field.is_required() else _written(field.get_default(call_default_factory=True))
    return Shown(name, metavar, text, default, field.is_required(), several, hidden)


def _kinds(field: FieldInfo) -> list[Any]:
    """The kinds that a value may have, without None and what is annotated to them."""
    kinds = get_args(field.annotation) if _origin(field) in (Union, UnionType) else [field.annotation]
    plain = [get_args(kind)[0] if get_origin(kind) is Annotated else kind for kind in kinds]
    return [kind for kind in plain if kind is not type(None)]


def _origin(field: FieldInfo) -> Any:
    return get_origin(field.annotation)


def _is_fixed(field: FieldInfo) -> bool:
    """Whether it is a tuple of so many values: they are written with commas between them."""
    return _origin(field) is tuple and Ellipsis not in get_args(field.annotation)


def _metavar(kind: Any, text: str) -> str:
    """What a value looks like; "" of a flag."""
    if get_origin(kind) is Literal:
        return "|".join(map(str, get_args(kind)))
    if get_origin(kind) is tuple:
        inner = get_args(kind)
        return "TEXT" if Ellipsis in inner else ",".join("X" * len(inner))
    if get_origin(kind) is dict:
        return "NAME=VALUE"
    if issubclass(kind, Path):
        return _path_metavar(text)
    return {bool: "", int: "N", float: "X"}.get(kind, "TEXT")


def _path_metavar(text: str) -> str:
    """A folder or a file: what the meaning of the option names first."""
    words = text.replace(",", " ").split()
    first = next((word for word in words if word in ("folder", "file", "table")), "file")
    return "DIR" if first == "folder" else "FILE"


def _limits(field: FieldInfo) -> str:
    """The range of a number, as far as it says more than that there are no negative ones."""
    limits = {name: value for part in _metadata(field) for name, value in _limit(part)}
    low, high = limits.get("ge"), limits.get("le")
    if low is not None and high is not None:
        return f"{low:g} to {high:g}"
    return f"at least {low:g}" if low else ""


def _metadata(field: FieldInfo) -> Iterator[Any]:
    """What is annotated to a field or to one of its kinds."""
    yield from field.metadata
    for kind in get_args(field.annotation):
        if get_origin(kind) is Annotated:
            for part in kind.__metadata__:
                yield from getattr(part, "metadata", [part])


def _limit(part: Any) -> list[tuple[str, float]]:
    return [(name, getattr(part, name)) for name in ("ge", "le") if hasattr(part, name)]


def _written(default: Any) -> str:
    """A default as it would be typed; "" where there is nothing to say."""
    if isinstance(default, tuple):
        return ",".join(map(str, default))
    if isinstance(default, float):
        return f"{default:g}"
    return "" if default is None or default == {} or isinstance(default, bool) else str(default)


def from_words(model: type[BaseModel], given: dict[str, Any]) -> dict[str, Any]:
    """Returns the values of options that may be repeated, put together; all else as it is.

    Raises:
        SettingsError: a part of NAME=VALUE,NAME=VALUE has no value, or one name has two.
    """
    kinds = {name: _origin(field) for name, field in model.model_fields.items()}
    return {
        name: _mapping(name, value) if kinds[name] is dict else value
        for name, value in given.items()
        if value != []
    }


def _mapping(name: str, texts: list[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for part in (part.strip() for text in texts for part in text.split(",")):
        key, equals, value = (word.strip() for word in part.partition("="))
        if not (key and equals and value):
            raise SettingsError(
                f"{spelled(name, part)}: must be NAME=VALUE, several with commas between them"
            )
        if found.setdefault(key, value) != value:
            raise SettingsError(f"{spelled(name, part)}: '{key}' has the value '{found[key]}' already")
    return found
