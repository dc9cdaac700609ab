"""Texts that others wrote become values: the one place where YAML and JSON are read.

A file may come from anybody. So a text is bounded in its size, its depth and its digits. Aliases, tags that
make objects, names that stand twice and numbers that are none are refused. Plain values come out, or nothing.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn, cast

import yaml
from yaml.constructor import SafeConstructor

MOST_YAML = 2**18  # Bytes; settings.yaml has two thousand.
MOST_JSON = 2**28  # images.json of a million images has 150 million.
MOST_DEPTH = 40  # Groups in groups. Our own files have at most a dozen.
_MOST_DIGITS = 40
_INT64 = range(-(2**63), 2**63)


class UnreadableError(ValueError):
    """Why a text is not read, as the end of a sentence about its file."""


def text_of(path: Path, most: int = MOST_JSON) -> str:
    """Returns the text of a file.

    Raises:
        OSError: it cannot be read.
        UnreadableError: it is no UTF-8, or larger than `most` bytes.
    """
    try:
        with path.open("rb") as file:
            data = file.read(most + 1)
    except ValueError as error:  # A NUL in its name.
        raise UnreadableError(f"has a name that no file can have ({error})") from error
    if len(data) > most:
        raise UnreadableError(f"has more than {most:,} bytes")
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise UnreadableError("is not a text file (UTF-8)") from error


def json_of(text: str) -> Any:
    """Returns what a JSON text holds.

    Raises:
        UnreadableError: it is not JSON, or goes beyond the bounds of this module.

    >>> json_of('{"a": [1, 2.5, null]}')
    {'a': [1, 2.5, None]}
    """
    try:
        tree = json.loads(
            text, object_pairs_hook=_once, parse_int=_whole, parse_float=_finite, parse_constant=_no_number
        )
    except RecursionError as error:
        raise _too_deep() from error
    except json.JSONDecodeError as error:
        raise UnreadableError(f"is not JSON ({error})") from error
    _check(tree, letters="\\u" in text)
    return tree


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    tree = dict(pairs)
    if len(tree) < len(pairs):
        names = [name for name, _ in pairs]
        raise _twice(next(name for name in names if names.count(name) > 1))
    return tree


def _twice(name: str) -> UnreadableError:
    return UnreadableError(f"has the name {_short(name)} twice in one group")


def _short(text: str) -> str:
    return ascii(text if len(text) <= 60 else f"{text[:57]}...")


def _too_deep() -> UnreadableError:
    return UnreadableError(f"has groups inside of groups, more than {MOST_DEPTH} deep")


def _whole(text: str) -> int:
    if len(text) > _MOST_DIGITS:
        raise UnreadableError(f"has a number of {len(text)} digits; {_MOST_DIGITS} are the most")
    return int(text)


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise UnreadableError(f"has the number {_short(text)}, which is too large")
    return value


def _no_number(text: str) -> NoReturn:
    raise UnreadableError(f"has {text} where a number has to be")


def _check(tree: Any, letters: bool) -> None:
    """Refuses what is too deep and, with `letters`, halves of letters; without a call for each level."""
    level, depth = [tree], 0
    while level:
        if depth > MOST_DEPTH:
            raise _too_deep()
        if letters:
            for value in level:
                _check_letters(value)
        level, depth = [inner for value in level for inner in _parts(value, letters)], depth + 1


def _parts(value: Any, names: bool) -> Iterator[Any]:
    """What a list or group holds; with `names` the names of a group as well."""
    if isinstance(value, dict):
        yield from cast("dict[str, Any]", value).values()
        yield from cast("dict[str, Any]", value) if names else ()
    elif isinstance(value, list):
        yield from cast("list[Any]", value)


def _check_letters(value: Any) -> None:
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise UnreadableError(f"has half of a letter ({_short(value)}), which is no text") from error


def yaml_of(text: str) -> Any:
    """Returns what a YAML text holds: texts, numbers, true and false, null, lists and groups by name.

    Raises:
        UnreadableError: it is not YAML, or goes beyond the bounds of this module.

    >>> yaml_of("a: {b: [1, 2.5, yes]}")
    {'a': {'b': [1, 2.5, True]}}
    """
    loader = _Nodes(text)
    try:
        node = loader.get_single_node()
        return None if node is None else _value(node)
    except yaml.YAMLError as error:
        raise UnreadableError(f"is not YAML: {' '.join(str(error).split())}") from error
    except UnreadableError:
        raise
    except (ValueError, OverflowError) as error:  # "\UFFFFFFFF" is a letter that Python has not.
        raise UnreadableError(f"is not YAML: {error}") from error
    finally:
        loader.dispose()


class _Nodes(yaml.SafeLoader):
    """The nodes of a YAML text, refused while they are read: a bomb is not built first."""

    def __init__(self, text: str) -> None:
        try:
            super().__init__(text)
        except yaml.YAMLError as error:
            raise UnreadableError(f"is not YAML: {' '.join(str(error).split())}") from error
        self._depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        """Returns the next node.

        Raises:
            UnreadableError: it is an alias, or too deep.
        """
        if self.check_event(yaml.AliasEvent):
            event = self.peek_event()
            raise UnreadableError(f"has the alias *{event.anchor} (line {event.start_mark.line + 1}): "
                                  "write the value itself")  # fmt: skip
        if self._depth > MOST_DEPTH:
            raise _too_deep()
        self._depth += 1
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node


_TAG = "tag:yaml.org,2002:"
# A date is a text here, and "<<" and "=" are names like others: settings have none of them.
_TEXTS = {_TAG + name for name in ("str", "timestamp", "merge", "value")}


def _value(node: yaml.Node) -> Any:
    if isinstance(node, yaml.SequenceNode) and node.tag == _TAG + "seq":
        return [_value(child) for child in node.value]
    if isinstance(node, yaml.MappingNode) and node.tag == _TAG + "map":
        return _group(node)
    if isinstance(node, yaml.ScalarNode):
        return _scalar(node)
    raise _strange(node)


def _strange(node: yaml.Node) -> UnreadableError:
    line = node.start_mark.line + 1
    return UnreadableError(f"has a value of the kind {_short(node.tag)} (line {line}), which is not read")


def _group(node: yaml.MappingNode) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for key, value in node.value:
        name = _value(key)
        if not isinstance(name, str):
            line = key.start_mark.line + 1
            raise UnreadableError(f"has {_short(str(name))} in the place of a name (line {line}): quote it")
        if name in tree:
            raise _twice(name)
        tree[name] = _value(value)
    return tree


def _scalar(node: yaml.ScalarNode) -> Any:
    if node.tag in _TEXTS:
        _check_letters(node.value)
        return node.value
    kind = node.tag.removeprefix(_TAG)
    if kind not in ("int", "float", "bool", "null"):
        raise _strange(node)
    if len(node.value) > _MOST_DIGITS:
        raise UnreadableError(f"has a number of {len(node.value)} digits; {_MOST_DIGITS} are the most")
    try:
        return _bounded(getattr(SafeConstructor(), f"construct_yaml_{kind}")(node))
    except (KeyError, IndexError) as error:
        raise UnreadableError(f"has {_short(node.value)} where YAML needs a value of {kind}") from error


def _bounded(value: Any) -> Any:
    if isinstance(value, int) and value not in _INT64:
        raise UnreadableError("has a whole number of more than 64 bits")
    return value
