"""The verbs about data: prepare, inspect, sources."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from lmd.cli.app import Data, Seed, app
from lmd.errors import DataError, SettingsError


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def prepare(
    context: typer.Context,
    source: Annotated[str, typer.Argument(help="one of 'lmd sources'")],
    out: Annotated[Path, typer.Option(help="the dataset folder to make")],
) -> None:
    """Makes a dataset folder. The source's own options (see 'lmd sources') follow as --name value."""
    from lmd.api import prepare as make_dataset
    from lmd.data.audit.text import summary_lines
    from lmd.terminal import bar

    with bar("reading images") as progress:
        dataset = make_dataset(source, out, progress=progress, **_extra_options(context.args))
    for line in summary_lines(dataset):
        typer.echo(line)


def _extra_options(arguments: list[str]) -> dict[str, Any]:
    """Reads `--name value`, `--name=value` and lone `--flag` into a dict of texts and True.

    >>> _extra_options(["--root", "images", "--allow-missing", "--seed=3"])
    {'root': 'images', 'allow_missing': True, 'seed': '3'}
    """
    options: dict[str, Any] = {}
    rest = list(arguments)
    while rest:
        word = rest.pop(0)
        if not word.startswith("--"):
            raise SettingsError(f"unexpected argument '{word}'")
        name, equals, value = word[2:].partition("=")
        if equals:
            options[name.replace("-", "_")] = value
        elif rest and not rest[0].startswith("--"):
            options[name.replace("-", "_")] = rest.pop(0)
        else:
            options[name.replace("-", "_")] = True
    return options


@app.command()
def inspect(
    data: Data,
    out: Annotated[Path | None, typer.Option(help="the picture page (default: DATA/inspect.html)")] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="a JSON file for the fingerprint")] = None,
    page: Annotated[bool, typer.Option("--page/--no-page", help="write the picture page")] = True,
    quick: Annotated[bool, typer.Option("--quick", help="open no image: counts, groups and splits")] = False,
    strict: Annotated[bool, typer.Option("--strict", help="exit with 1 when anything is wrong")] = False,
    near: Annotated[
        int, typer.Option(min=0, max=64, help="bits of 256 in which near duplicates may differ")
    ] = 36,
    seed: Seed = None,
) -> None:
    """Shows what to know before training: counts, leaks, copies, damaged files, test resolution."""
    from lmd.api import inspect as look_through
    from lmd.api import read_dataset
    from lmd.data.audit.results import write_fingerprint
    from lmd.data.audit.text import format_fingerprint
    from lmd.reporting.inspect_page import write_inspection
    from lmd.terminal import bar

    if quick and out is not None:
        raise SettingsError("--quick opens no image: it cannot write the page --out; leave one of the two")
    for file in (out, json_file):
        if file is not None and file.exists():
            raise DataError(f"output file {file} exists already")
    dataset = read_dataset(data, check_files=False)
    with bar("looking at images") as progress:
        found = look_through(dataset, near=near, look=not quick, progress=progress)
    for line in format_fingerprint(found):
        typer.echo(line)
    if json_file is not None:
        typer.echo(f"fingerprint: {write_fingerprint(json_file, found)}")
    if page and not quick:
        target = data / "inspect.html" if out is None else out
        typer.echo(f"page: {write_inspection(target, dataset, found, 42 if seed is None else seed)}")
    if strict and found.wrong:
        raise typer.Exit(1)


@app.command()
def sources() -> None:
    """Lists the data sources and their options."""
    from lmd.data.dataset import sources as registry

    for name in registry.names():
        module = registry.load(name)
        options = " ".join(f"--{option.replace('_', '-')}" for option in module.Options.model_fields)
        typer.echo(f"{name:10s} {module.TITLE}\n{'':10s} {options}")
