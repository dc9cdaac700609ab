"""The words after a verb, looked over before typer parses them, and how messages name a verb's parts."""

from __future__ import annotations

import re
from collections import deque
from typing import Any

import typer

from lmd.errors import SettingsError, nearest

NUMBER = "N"  # The metavar of options that take a whole number.
SHARE = "SHARE"  # And of those that take a number between 0 and 1.
_ON, _OFF = ("true", "yes", "on", "1"), ("false", "no", "off", "0")


def _is_share(value: str) -> bool:
    try:
        return 0 < float(value) < 1
    except ValueError:
        return False


class Words:
    """The words after a verb."""

    def __init__(self, command: Any, ctx: typer.Context, words: list[str]) -> None:
        self.path, self.help = path_of(ctx), see_help(ctx)
        self.options = by_name(command, ctx)
        self.has_arguments = bool(positional(command, ctx))
        self.rest = deque(words)
        self.given: set[str] = set()

    def checked(self) -> list[str]:
        """Returns the words in a form that typer understands.

        Raises:
            SettingsError: an option is unknown, is given twice, or has no value or a wrong one.
        """
        found: list[str] = []
        while self.rest:
            word = self.rest.popleft()
            if word == "--":
                return [*found, word, *self.rest]
            found += self._option(word) if word.startswith("-") and word != "-" else [self._argument(word)]
        return found

    def _argument(self, word: str) -> str:
        if not word:
            raise SettingsError(f"{self.path}: an argument is empty text {self.help}")
        return word

    def _option(self, word: str) -> list[str]:
        """The words of one option and its value."""
        name, equals, value = word.partition("=")
        name = normal(name)
        if name not in self.options:
            near = near_option(name, self.options)
            if not near and "--set" in self.options:
                near = "; settings are given as --set NAME=VALUE"
            raise SettingsError(f"{self.path} has no option {name}{near} {self.help}")
        option = self.options[name]
        if option.is_flag:
            return self._flag(name, option, value if equals else None)
        value = value if equals else self._following(name, option)
        self._check_value(name, option, value)
        return [name, value]

    def _following(self, name: str, option: Any) -> str:
        """The word that follows an option; another option is no value."""
        following = self.rest.popleft() if self.rest else None
        if following is None or normal(following.partition("=")[0]) in self.options:
            found = "" if following is None else f", found the option {following}"
            raise SettingsError(f"{self.path}: {name} needs a value, as in {with_value(option)}{found}")
        return following

    def _check_value(self, name: str, option: Any, value: str) -> None:
        if not value:
            raise SettingsError(f"{self.path}: {name} needs a value, found empty text")
        if option.name in self.given and not option.multiple:
            raise SettingsError(f"{self.path}: {name} is given twice, the second time as {value}")
        if option.metavar == NUMBER and not re.fullmatch(r"[+-]?\d+", value):
            raise SettingsError(f"{self.path}: {name} {value}: must be a whole number")
        if option.metavar == SHARE and not _is_share(value):
            raise SettingsError(f"{self.path}: {name} {value}: must be a number between 0 and 1, such as 0.9")
        self.given.add(option.name)

    def _flag(self, name: str, option: Any, value: str | None) -> list[str]:
        """The form of a flag that a value after it asks for; a value stands apart where nothing else may."""
        if value is None and not self.has_arguments and self.rest and self.rest[0].lower() in (*_ON, *_OFF):
            value = self.rest.popleft()
        if value is None or (value.lower() in _ON and name in option.opts):
            return [name]
        if value.lower() in _OFF and name in option.opts:
            return option.secondary_opts[:1]  # A flag without an off-form is off where it is not given.
        forms = " or ".join([*option.opts, *option.secondary_opts])
        raise SettingsError(f"{self.path}: {name} takes no value, found '{value}'; give {forms} alone")


def normal(name: str) -> str:
    """Returns a name as options and sources are written: `--skip_bad` is `--skip-bad`."""
    return name.replace("_", "-")


def near_option(name: str, known: Any) -> str:
    """Returns the end of a message: the option that was meant; for one letter, the only one with it first."""
    longer = [option for option in known if option.startswith(f"-{name}")] if len(name) == 2 else []
    return f"; did you mean {longer[0]}?" if len(longer) == 1 else nearest(name, known, quote="")


def asked_for_help(ctx: typer.Context, words: list[str]) -> bool:
    """Returns whether one of the words, up to a lone `--`, asks for help."""
    end = words.index("--") if "--" in words else len(words)
    return any(word in ctx.help_option_names for word in words[:end])


def path_of(ctx: typer.Context) -> str:
    """Returns the words that led to a command, without `lmd`."""
    return ctx.command_path.removeprefix("lmd").strip() or "lmd"


def see_help(ctx: typer.Context) -> str:
    """Returns the end of a message: where the help is."""
    return f"(see '{ctx.command_path} --help')"


def positional(command: Any, ctx: typer.Context) -> list[Any]:
    """Returns the arguments of a command."""
    return [param for param in command.get_params(ctx) if param.param_type_name == "argument"]


def options_of(command: Any, ctx: typer.Context) -> list[Any]:
    """Returns the options of a command."""
    return [param for param in command.get_params(ctx) if param.param_type_name == "option"]


def by_name(command: Any, ctx: typer.Context) -> dict[str, Any]:
    """Returns the options of a command by each of their names."""
    found = options_of(command, ctx)
    return {name: option for option in found for name in (*option.opts, *option.secondary_opts)}


def arguments(command: Any, ctx: typer.Context) -> list[str]:
    """Returns the arguments of a command as a line of usage shows them."""
    found = positional(command, ctx)
    return [shown_name(param) if param.required else f"[{shown_name(param)}]" for param in found]


def shown_name(param: Any) -> str:
    """Returns what stands for a value."""
    return param.metavar or param.name.upper()


def with_value(option: Any) -> str:
    """Returns an option as it is given: its names and its value."""
    off = option.secondary_opts if option.default else []  # "--no-x" of what is off anyway says nothing.
    names = ", ".join(sorted(map(str, option.opts), key=len)) + "".join(f" / {name}" for name in off)
    return names if option.is_flag else f"{names} {shown_name(option)}"


def needs(error: Any) -> str:
    """Returns the message for typer's error about a parameter that is missing."""
    param = error.param
    shown = with_value(param) if param.param_type_name == "option" else shown_name(param)
    return f"{path_of(error.ctx)} needs {shown} ({param.help})"
