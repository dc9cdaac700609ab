"""What all verbs share: the application, its options, and how an error is told."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from lmd.errors import LmdError
from lmd.version import __version__

app = typer.Typer(
    name="lmd",
    help="Long-tailed medical diagnosis: classifiers that recognise rare classes. Research use only.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

Data = Annotated[Path, typer.Argument(metavar="DATA", help="a dataset folder made by 'lmd prepare'")]
Run = Annotated[Path, typer.Argument(metavar="RUN", help="a run folder made by 'lmd train'")]
Seed = Annotated[
    int | None, typer.Option(help="the seed of every random draw (default: the recipe's, or 42)")
]
Budget = Annotated[
    str, typer.Option(help="the schedule: smoke (seconds), short (12 epochs at 64 pixels) or paper")
]
Weights = Annotated[str | None, typer.Option(help="a safetensors file for the encoder")]
PartialWeights = Annotated[
    bool, typer.Option("--partial-weights", help="accept weights that lack some tensors")
]
Set = Annotated[list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="a setting; repeatable")]


def main() -> None:
    """Runs the command; a user's mistake is one line on stderr and exit code 2."""
    # Threads that wait must sleep: spinning ones slow two trainings on one machine twenty-fold (docs/log.md).
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        code = app(standalone_mode=False)
    except Exception as error:
        message = _message(error)
        if message is None:
            raise
        print(f"lmd: {' '.join(message.split())}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("lmd: interrupted; a training goes on with --resume", file=sys.stderr)
        sys.exit(130)
    sys.exit(code if isinstance(code, int) else 0)


def _message(error: Exception) -> str | None:
    """The line to show for an error that a user can cause; None for a fault of our own."""
    if isinstance(error, LmdError):
        return str(error)
    if isinstance(error, OSError):
        return f"{error.filename or 'file system'}: {error.strerror or error}"
    if hasattr(error, "format_message"):  # typer's usage errors, whose base class is private to it.
        return f"{error.format_message()} (see 'lmd --help')"  # type: ignore[attr-defined]
    return None


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"lmd {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="show the version")
    ] = False,
) -> None:
    """Long-tailed medical diagnosis: classifiers that recognise rare classes. Research use only."""
