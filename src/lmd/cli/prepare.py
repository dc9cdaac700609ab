"""The verbs about sources of data: prepare, whose options are those of the source, and sources."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from lmd.cli.app import app, say
from lmd.cli.names import names_in
from lmd.cli.options import Shown, from_words, shown_options, spelled
from lmd.cli.verbs import Verb, listed, write_list
from lmd.cli.words import normal
from lmd.errors import SettingsError, suggest

OUT = Shown("out", "DIR", "the dataset folder to make", required=True)


class Sources(TyperGroup):
    """The verb `prepare`: its first word is a source, whose own options follow."""

    def parse_args(self, ctx: typer.Context, args: list[str]) -> list[str]:  # type: ignore[override]
        """Puts the source first, wherever it stands."""
        words = source_first(args, self.list_commands(ctx))
        if not words or (words[0].startswith("-") and words[0] not in ctx.help_option_names):
            known = ", ".join(self.list_commands(ctx))
            raise SettingsError(f"prepare needs a SOURCE, one of {known} (see 'lmd prepare --help')")
        return super().parse_args(ctx, [normal(words[0]), *words[1:]])

    def collect_usage_pieces(self, ctx: typer.Context) -> list[str]:  # type: ignore[override]
        """Returns what follows the verb in the usage line."""
        return ["SOURCE", "--out DIR", "[OPTIONS]"]

    def list_commands(self, ctx: typer.Context) -> list[str]:  # type: ignore[override]
        """Returns the names of the sources, without loading one."""
        return names_in("data", "dataset", "sources")

    def get_command(self, ctx: typer.Context, cmd_name: str) -> Any:  # type: ignore[override]
        """Returns the command that prepares data of one source."""
        known, name = self.list_commands(ctx), normal(cmd_name)
        if name not in known:
            raise SettingsError(f"unknown source '{cmd_name}'{suggest(name, known)}")
        return source_command(name)

    def format_options(self, ctx: typer.Context, formatter: Any) -> None:  # type: ignore[override]
        """Writes each source with its title."""
        from lmd.data.dataset import sources

        names = self.list_commands(ctx)
        write_list(formatter, "Sources", [(name, sources.load(name).TITLE) for name in names])


app.add_typer(
    typer.Typer(cls=Sources, rich_markup_mode=None),
    name="prepare",
    help="Makes a dataset folder of raw images. Each source of images has options of its own.",
    short_help="Makes a dataset folder of raw images",
    epilog="'lmd prepare SOURCE --help' shows the options of a source.",
)


def source_first(words: list[str], known: list[str]) -> list[str]:
    """Returns the words with the source in front: the first word that is no option and no option's value.

    >>> source_first(["--out", "d", "folder", "--root", "r"], ["folder", "table"])
    ['folder', '--out', 'd', '--root', 'r']
    """
    if not words or not words[0].startswith("-"):
        return words
    lone = [word.startswith("--") and "=" not in word for word in words]
    places = [at for at, word in enumerate(words) if normal(word) in known]
    # A word after a flag is no value: where no other word is a source, it is taken.
    place = next((at for at in places if not lone[at - 1]), next(iter(places), None))
    return words if place is None else [words[place], *words[:place], *words[place + 1 :]]


def source_command(name: str) -> Any:
    """Returns the command that prepares data of one source, made from the source's options."""
    from lmd.data.dataset import sources

    source = sources.load(name)
    shown = shown_options(source.Options)
    needed = sum(option.required for option in shown)
    options = [*shown[:needed], OUT, *shown[needed:]]
    examples = getattr(source, "EXAMPLES", None) or [_example(name, options)]

    def run(**given: Any) -> None:
        out = given.pop("out")
        _prepare(name, out, {key: value for key, value in given.items() if value is not None})

    parameters = [_parameter(option) for option in options]
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    alone = typer.Typer(add_completion=False, rich_markup_mode=None)
    purpose = f"Makes a dataset folder from {source.TITLE}."
    alone.command(name, cls=Verb, help=purpose, epilog="\n".join(examples))(run)
    return typer.main.get_command(alone)


def _example(name: str, options: list[Shown]) -> str:
    needed = [f"{option.flag} {option.metavar}" for option in options if option.required]
    return " ".join(["lmd prepare", name, *needed])


def _parameter(option: Shown) -> inspect.Parameter:
    """An option as typer reads it from a function; texts are checked by the source's own options."""
    kind: Any = Path if option is OUT else list[str] if option.several else bool if option.is_flag else str
    names = f"{option.flag}/--no-{option.flag[2:]}" if option.is_flag else option.flag
    info = typer.Option(
        names,
        metavar=None if option.is_flag else option.metavar,
        help=option.help,
        show_default=option.default or False,
        hidden=option.hidden,
    )
    annotation = Annotated[kind if option.required else kind | None, info]
    default = inspect.Parameter.empty if option.required else None
    return inspect.Parameter(
        option.name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation
    )


def _prepare(name: str, out: Path, given: dict[str, Any]) -> None:
    from lmd.data.dataset import sources
    from lmd.fields import read_options

    model = sources.load(name).Options
    words = from_words(model, given)
    read_options(model, words, f"prepare {name}", spelled)
    from lmd.api.data import prepare as make_dataset
    from lmd.data.audit.folds_text import folds_summary
    from lmd.data.audit.text import summary_lines
    from lmd.data.dataset.folds_folder import Folds
    from lmd.terminal import bar

    with bar("reading images") as progress:
        dataset = make_dataset(name, out, progress=progress, **words)
    for line in folds_summary(dataset) if isinstance(dataset, Folds) else summary_lines(dataset):
        say(line)


@app.command(cls=Verb, short_help="Lists the sources of data and their options", epilog="lmd sources folder")
def sources(
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="show the options of this source")
    ] = None,
) -> None:
    """Lists the sources of data with their options; shows what the options mean of one that is named."""
    if name is not None:
        app(["prepare", name, "--help"], standalone_mode=False, prog_name="lmd")
        return
    from lmd.data.dataset import sources as registry

    rows = [(name, _lines_of(registry.load(name))) for name in registry.names()]
    column = max(len(name) for name, _ in rows)
    for name, texts in rows:
        for line in (*listed(name, texts[0], column), *listed("", texts[1], column)):
            say(line)


def _lines_of(source: Any) -> tuple[str, str]:
    """The title of a source, and its options."""
    flags = (option.flag for option in shown_options(source.Options) if not option.hidden)
    return source.TITLE, " ".join(flags)
