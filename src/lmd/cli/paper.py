"""The verbs about the paper and its methods: reproduce, paper, methods."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lmd.cli.app import AllowCode, Budget, Deadline, Executor, PartialWeights, Set, Slurm, Weights, app, say
from lmd.cli.names import JOBS, TAUS, among, check_number, jobs_of, within
from lmd.cli.verbs import Verb
from lmd.cli.words import NUMBER
from lmd.errors import TRY_AGAIN
from lmd.text import numbered, them


@app.command(
    cls=Verb,
    short_help="Repeats a table or figure of the paper, beside its numbers",
    epilog="lmd reproduce table3 --data 100=LT --out OUT --budget short",
)
def reproduce(
    name: Annotated[str, typer.Argument(metavar="NAME", help="table1 to table5, or fig3 to fig7")],
    data: Annotated[
        list[str],
        typer.Option(metavar="DIR", help="a dataset folder; for table3 once for each r, as --data 100=DIR"),
    ],
    out: Annotated[
        Path,
        typer.Option(metavar="DIR", help="the folder for runs, tables and figures; a second call goes on"),
    ],
    seeds: Annotated[
        int, typer.Option(metavar=NUMBER, callback=within(1), help="how many seeds, from 42")
    ] = 3,
    methods: Annotated[
        str | None,
        typer.Option(metavar="NAMES", help="train these rows alone: names with commas between them"),
    ] = None,
    budget: Budget = "paper",
    weights: Weights = None,
    partial_weights: PartialWeights = False,
    settings: Set = None,
    allow_code: AllowCode = False,
    jobs: Annotated[
        str,
        typer.Option(
            metavar=JOBS,
            callback=check_number,
            help="how many runs are trained side by side; auto: as many as fit",
        ),
    ] = "1",
    deadline: Deadline = None,
    executor: Executor = None,
    slurm: Slurm = None,
    tau: Annotated[
        str,
        typer.Option(
            metavar=TAUS, callback=among(TAUS), help="how far the decisions of all rows go to rare classes"
        ),
    ] = "0",
    only: Annotated[str | None, typer.Option(metavar="RUN", hidden=True)] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="list the runs, and what they will do and take; train nothing")
    ] = False,
) -> None:
    """Runs a table or figure of the paper and sets its numbers beside ours, with intervals."""
    from lmd.experiments.request import Request, check

    request = Request(
        name,
        data,
        out,
        seeds,
        methods,
        budget or "paper",
        weights,
        partial_weights,
        settings or [],
        allow_code,
        jobs_of(jobs),
        tau,
        deadline,
        executor,
        slurm or [],
    )
    from lmd.runtime import refuse_several_processes

    refuse_several_processes()
    check(request)  # Before torch is loaded.
    from lmd.experiments.engine import plan, reproduce, reproduce_one
    from lmd.terminal import Watching

    if only is not None:  # A child of `--jobs`.
        reproduce_one(request, only, Watching())
        return
    if dry_run:
        say("\n".join(plan(request, Watching())))
        return
    outcome = reproduce(request, say, Watching())
    say(f"table: {outcome.table}")
    if outcome.late:
        late = len(outcome.late)
        say(f"{numbered(late, 'run')} did not end in time; the same call goes on with {them(late)}", err=True)
        raise typer.Exit(TRY_AGAIN)
    if outcome.failures:
        raise typer.Exit(1)


@app.command(cls=Verb, short_help="Shows the numbers of the paper's tables", epilog="lmd paper table3")
def paper(
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="table1 to table5, or fig3 to fig7")
    ] = None,
    as_csv: Annotated[bool, typer.Option("--csv", help="the numbers of a table as CSV")] = False,
) -> None:
    """Shows the tables of arXiv 2502.03238, and what it states of its figures."""
    from lmd.experiments.paper.printing import shown

    typer.echo(shown(name, as_csv), nl=False)


@app.command(cls=Verb, short_help="Lists the methods; with a name, all about one", epilog="lmd methods lmd")
def methods(
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="show all about one method, or a path to a .py file")
    ] = None,
    allow_code: AllowCode = False,
) -> None:
    """Lists the methods with their status and paper; shows all about one that is named."""
    from lmd import methods as registry

    lines = registry.overview() if name is None else registry.describe(name, allow_code)
    for line in lines:
        say(line)
