"""The verb that looks through a data set: inspect."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lmd.cli.app import Data, Seed, app, say
from lmd.cli.names import within
from lmd.cli.verbs import Verb
from lmd.cli.words import NUMBER
from lmd.errors import CheckpointError, DataError, SettingsError

if TYPE_CHECKING:
    from lmd.data.audit.results import Fingerprint


@app.command(
    cls=Verb,
    short_help="Shows counts, leaks, copies and damaged files",
    epilog="lmd inspect DATA",
)
def inspect(
    data: Data,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="the picture page (default: DATA/inspect.html)")
    ] = None,
    json_file: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="a JSON file for the fingerprint")
    ] = None,
    page: Annotated[
        bool, typer.Option("--page/--no-page", help="write the picture page, or not (default: write it)")
    ] = True,
    quick: Annotated[bool, typer.Option("--quick", help="open no image: counts, groups and splits")] = False,
    strict: Annotated[bool, typer.Option("--strict", help="exit with 1 when anything is wrong")] = False,
    near: Annotated[
        int,
        typer.Option(
            metavar=NUMBER,
            callback=within(0, 64),
            help="bits of 256 in which near duplicates may differ, 0 to 64",
        ),
    ] = 36,
    seed: Seed = None,
) -> None:
    """Shows what to know before training: counts, leaks, copies, damaged files, test resolution."""
    from lmd.api.data import inspect as look_through
    from lmd.api.data import read_dataset
    from lmd.data.dataset.folds_folder import Folds
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
    first, wrong = _say_found(found, json_file)
    if page and not quick:
        target = data / "inspect.html" if out is None else out
        shown = dataset.first if isinstance(dataset, Folds) else dataset
        with _naming_ways_out(out):
            say(f"page: {write_inspection(target, shown, first, 42 if seed is None else seed)}")
    if strict and wrong:
        raise typer.Exit(1)


def _say_found(
    found: Fingerprint | dict[str, Fingerprint], json_file: Path | None
) -> tuple[Fingerprint, bool]:
    """Prints what was found of a data set or its folds; returns what the page shows, and if any is wrong."""
    from lmd.data.audit import folds_text, results, text

    several = found if isinstance(found, dict) else None
    one = next(iter(found.values())) if isinstance(found, dict) else found
    for line in text.format_fingerprint(one) if several is None else folds_text.format_folds(several):
        say(line)
    if json_file is not None and several is None:
        results.write_fingerprint(json_file, one)
    elif json_file is not None and several is not None:
        folds_text.write_fingerprints(json_file, several)
    if json_file is not None:
        say(f"fingerprint: {json_file}")
    return one, bool(one.wrong if several is None else folds_text.wrong_in(several))


@contextmanager
def _naming_ways_out(out: Path | None) -> Iterator[None]:
    """Says how to do without a page beside the data, where their folder is read-only."""
    try:
        yield
    except CheckpointError as error:
        ways = "" if out else "; name another place with --out FILE, or leave the page out with --no-page"
        raise CheckpointError(f"{error}{ways}") from error
