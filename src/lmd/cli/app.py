"""What all verbs share: the application, its options, and how an error is told."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from lmd.cli.names import BUDGETS, EXECUTORS, JOBS, TAUS, among, check_number, within
from lmd.cli.verbs import Verbs
from lmd.cli.words import NUMBER, needs
from lmd.errors import OUT_OF_MEMORY, TRY_AGAIN, LmdError, UnfinishedError, out_of_memory
from lmd.processes.speaking import speaks
from lmd.stopping import asked
from lmd.text import visible
from lmd.version import __version__

app = typer.Typer(
    name="lmd",
    cls=Verbs,
    help="Long-tailed medical diagnosis: classifiers that recognise rare classes. Research use only.",
    epilog="'lmd VERB --help' shows the options of a verb, 'lmd prepare SOURCE --help' those of a source.",
    context_settings={"help_option_names": ["-h", "--help"]},
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def one_of(choices: str, help: str) -> Any:
    """Returns an option whose value is one of some words, such as "train|val|test"."""
    return typer.Option(metavar=choices, callback=among(choices), help=help)


Data = Annotated[Path, typer.Argument(metavar="DATA", help="a dataset folder made by 'lmd prepare'")]
Run = Annotated[Path, typer.Argument(metavar="RUN", help="a run folder made by 'lmd train'")]
Seed = Annotated[
    int | None,
    typer.Option(
        metavar=NUMBER,
        callback=within(0),
        help="the seed of every random draw (default: the recipe's, or 42)",
    ),
]
Budget = Annotated[
    str | None,
    typer.Option(
        metavar=BUDGETS,
        callback=among(BUDGETS),
        help="the schedule: auto is a plan for these data and this machine (default of train), smoke takes "
        "seconds, short has 12 epochs at 64 pixels, paper 100 at 224",
    ),
]
TauRule = Annotated[
    str,
    one_of(
        TAUS, "one rule for all: no shift to rare classes, each with its own, or chosen on validation images"
    ),
]
Weights = Annotated[
    str | None,
    typer.Option(
        metavar="FILE|RUN",
        help="the encoder's: a safetensors file, package:efficientnet-lite0, or a run (default: a download)",
    ),
]
PartialWeights = Annotated[
    bool, typer.Option("--partial-weights", help="accept weights that lack some tensors")
]
AllowCode = Annotated[
    bool,
    typer.Option("--allow-code", help="run a method's .py file that the command line does not name itself"),
]
Jobs = Annotated[
    str,
    typer.Option(
        metavar=JOBS,
        callback=check_number,
        help="trainings at the same time (of folds), each in a process with its share of the cores; auto: as "
        "many as fit",
    ),
]
Deadline = Annotated[
    float | None,
    typer.Option(
        metavar="SECONDS",
        help="with --jobs: begin nothing that cannot end in this time, stop and keep what still runs then",
    ),
]
Executor = Annotated[
    str | None,
    typer.Option(
        metavar=EXECUTORS,
        callback=among(EXECUTORS),
        help="with --jobs: submit each training as a job, through submitit (docs/reproduce.md)",
    ),
]
Slurm = Annotated[
    list[str] | None,
    typer.Option(
        "--slurm",
        metavar="KEY=VALUE",
        help="an option of the jobs, such as partition=gpu; may be given again",
    ),
]
Set = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="NAME=VALUE", help="a setting that 'lmd methods NAME' lists; may be given again"
    ),
]

_CLOSED = 141  # As other tools end whose reader has gone, such as `head`: 128 + SIGPIPE.


def run() -> int:
    """Runs the command and returns its exit code; a user's mistake is one line on stderr and exit code 2."""
    try:
        code = app(standalone_mode=False, prog_name="lmd")  # typer turns an interrupt into its exit code.
        sys.stdout.flush()
    except BrokenPipeError:
        return _closed()
    except SystemExit as end:
        if not isinstance(end.__context__, BrokenPipeError):  # typer turns it into a bare exit code 1.
            raise
        return _closed()
    except Exception as error:
        told = _message(error)
        if told is None or asked() is not None:  # A library may have made an error of an interrupt.
            raise
        if speaks(error):
            print(f"lmd: {visible(' '.join(told.split()))}", file=sys.stderr)
        return _code(error)
    return code if isinstance(code, int) else 0


def _closed() -> int:
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # Or Python complains when it flushes at its end.
    return _CLOSED


def _code(error: Exception) -> int:
    """The exit code of an error that is told in one line."""
    if isinstance(error, UnfinishedError):
        return TRY_AGAIN
    return OUT_OF_MEMORY if out_of_memory(error) else 2


def _message(error: Exception) -> str | None:
    """The line to show for an error that a user can cause; None for a fault of our own."""
    if out_of_memory(error):
        return f"memory ran out: take a smaller --set batch or size, or fewer --jobs ({_first_line(error)})"
    if isinstance(error, LmdError):
        return str(error)
    if isinstance(error, OSError):
        return f"{error.filename or 'file system'}: {error.strerror or error}"
    # typer's usage errors, whose classes are private to it: all but this one are told before typer parses.
    if type(error).__name__ == "MissingParameter":
        return needs(error)
    if hasattr(error, "format_message"):
        return f"{error.format_message()} (see 'lmd --help')"  # type: ignore[attr-defined]
    return None


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]


def say(text: str, *, err: bool = False) -> None:
    """Prints lines; what a terminal would obey in a name is shown."""
    typer.echo(visible(text), err=err)


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
