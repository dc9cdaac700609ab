"""What all verbs share beyond typer: help pages that are read at a glance, and slips told in one line."""

from __future__ import annotations

import textwrap
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from lmd.cli.stopped import remember
from lmd.cli.words import (
    Words,
    arguments,
    asked_for_help,
    by_name,
    near_option,
    options_of,
    path_of,
    positional,
    see_help,
    shown_name,
    with_value,
)
from lmd.errors import SettingsError, suggest

COLUMN = 28  # Of names in a list; what is longer has a line of its own.


class Verb(TyperCommand):
    """A verb: its words are looked over before they are parsed, its help lists what each of them means."""

    def parse_args(self, ctx: typer.Context, args: list[str]) -> list[str]:  # type: ignore[override]
        """Parses the words; what is wrong with them is told in the words of the user."""
        ctx.allow_extra_args = True  # So that the message about one too many is ours.
        if asked_for_help(ctx, args):  # Also at the end of a line that is not right yet.
            return super().parse_args(ctx, ["--help"])
        rest = super().parse_args(ctx, Words(self, ctx, args).checked())
        if rest:
            takes = " ".join([*arguments(self, ctx), "and"]) if positional(self, ctx) else "nothing but"
            message = f"unexpected argument '{rest[0]}': {path_of(ctx)} takes {takes} options"
            raise SettingsError(f"{message} {see_help(ctx)}")
        return rest

    def invoke(self, ctx: typer.Context) -> Any:  # type: ignore[override]
        """Runs the verb; what runs is kept, should a signal stop it."""
        remember(ctx.info_name or "", ctx.params)
        return super().invoke(ctx)

    def collect_usage_pieces(self, ctx: typer.Context) -> list[str]:  # type: ignore[override]
        """Returns what follows the verb in the usage line: all that is needed, then options."""
        needed = [with_value(option) for option in options_of(self, ctx) if option.required]
        return [*arguments(self, ctx), *needed, "[OPTIONS]"]

    def format_options(self, ctx: typer.Context, formatter: Any) -> None:  # type: ignore[override]
        """Writes the arguments and the options, each with its meaning, choices and default."""
        write_list(
            formatter, "Arguments", [(shown_name(one), _meaning(one)) for one in positional(self, ctx)]
        )
        shown = [option for option in options_of(self, ctx) if not option.hidden]
        write_list(formatter, "Options", [(with_value(one), _meaning(one)) for one in shown])

    def format_epilog(self, ctx: typer.Context, formatter: Any) -> None:  # type: ignore[override]
        """Writes the examples, one a line."""
        lines = (self.epilog or "").splitlines()
        if lines:
            with formatter.section("Examples" if len(lines) > 1 else "Example"):
                for line in lines:
                    formatter.write(f"{'':{formatter.current_indent}}{line}\n")


class Verbs(TyperGroup):
    """The command `lmd` itself, whose first word is a verb."""

    # As a newcomer meets them; the help lists them so.
    ORDER = ("demo", "prepare", "inspect", "train", "embed", "fit", "evaluate", "report", "predict",
             "export", "serve", "compare", "tune", "reproduce", "paper", "methods", "sources")  # fmt: skip

    def parse_args(self, ctx: typer.Context, args: list[str]) -> list[str]:  # type: ignore[override]
        """Shows the help where there is no verb; `lmd help VERB` is `lmd VERB --help`."""
        if not args:
            # Help was all that could be meant, so it goes where help goes. But nothing was done, and a script
            # whose verb came out empty must not go on: the exit code is that of any other wrong call.
            typer.echo(ctx.get_help())
            raise typer.Exit(2)
        words = [*args[1:], "--help"] if args[0] == "help" else args
        known = by_name(self, ctx)
        if words[0].startswith("-") and words[0] not in known:
            near = near_option(words[0], known) or "; a verb comes first"
            raise SettingsError(f"lmd has no option {words[0]}{near} {see_help(ctx)}")
        return super().parse_args(ctx, words)

    def resolve_command(self, ctx: typer.Context, args: list[str]) -> Any:  # type: ignore[override]
        """Returns the verb that the first word names; the nearest is offered where there is none."""
        if args[0] not in self.commands:
            raise SettingsError(
                f"lmd has no verb '{args[0]}'{suggest(args[0], self.commands)} {see_help(ctx)}"
            )
        return super().resolve_command(ctx, args)

    def list_commands(self, ctx: typer.Context) -> list[str]:  # type: ignore[override]
        """Returns the verbs in their order."""
        return sorted(self.commands, key=self.ORDER.index)

    def collect_usage_pieces(self, ctx: typer.Context) -> list[str]:  # type: ignore[override]
        """Returns what follows `lmd` in the usage line."""
        return ["VERB ..."]

    def format_options(self, ctx: typer.Context, formatter: Any) -> None:  # type: ignore[override]
        """Writes each verb with its purpose, then the options."""
        verbs = [(name, self.commands[name].short_help or "") for name in self.list_commands(ctx)]
        write_list(formatter, "Verbs", verbs)
        write_list(formatter, "Options", [(with_value(one), _meaning(one)) for one in options_of(self, ctx)])


def write_list(formatter: Any, title: str, rows: list[tuple[str, str]]) -> None:
    """Writes names and what they mean below a title; nothing where there are none."""
    if rows:
        with formatter.section(title):
            column = min(COLUMN, max(len(name) for name, _ in rows))
            for name, text in rows:
                formatter.write("\n".join([*listed(name, text, column, 2, formatter.width), ""]))


def listed(name: str, text: str, column: int, indent: int = 0, width: int = 80) -> list[str]:
    """Returns a name with what it means beside it, or below where the name is long.

    >>> listed("--a", "one two", 4, width=10), listed("--long", "one", 4)
    (['--a   one', '      two'], ['--long', '      one'])
    """
    start, below = " " * indent, " " * (indent + column + 2)
    lines = textwrap.wrap(text, width - len(below), break_on_hyphens=False)
    beside = lines.pop(0) if lines and len(name) <= column else ""
    return [f"{start}{name:{column}}  {beside}".rstrip(), *(below + line for line in lines)]


def _meaning(param: Any) -> str:
    """The help of an argument or option, and what holds where it is not given."""
    if param.name == "help":
        return "show this help"
    if param.required:
        return f"{param.help}  [required]"
    default = param.show_default if isinstance(param.show_default, str) else param.default
    plain = default is None or isinstance(default, bool)
    return param.help if plain else f"{param.help}  [default: {default}]"
