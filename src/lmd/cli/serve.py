"""The verb that serves a run: serve."""

from __future__ import annotations

from typing import Annotated

import typer

from lmd.cli.app import Run, app, one_of, say
from lmd.cli.names import within
from lmd.cli.runs import check_run
from lmd.cli.verbs import Verb
from lmd.cli.words import NUMBER

_NEAREST = "auto|on|off"


@app.command(
    cls=Verb,
    short_help="Serves a page and an HTTP interface that answer images",
    epilog="lmd serve RUN\nLMD_SERVE_TOKEN=... lmd serve RUN --host 0.0.0.0 --port 8080",
)
def serve(
    run: Run,
    host: Annotated[
        str,
        typer.Option(metavar="ADDRESS", help="where to listen; one that other machines reach needs a token"),
    ] = "127.0.0.1",
    port: Annotated[
        int,
        typer.Option(metavar=NUMBER, callback=within(0, 65535), help="the port; 0 takes any that is free"),
    ] = 8000,
    token: Annotated[
        str | None,
        typer.Option(
            metavar="TEXT",
            help="what each request must know; better in the variable LMD_SERVE_TOKEN, which no list of "
            "processes shows",
        ),
    ] = None,
    queue: Annotated[
        int,
        typer.Option(
            metavar=NUMBER, callback=within(1, 10_000), help="requests at once; more are told to come again"
        ),
    ] = 64,
    timeout: Annotated[
        float, typer.Option(metavar="SECONDS", help="until a request that is not answered is given up")
    ] = 60.0,
    max_mb: Annotated[float, typer.Option(metavar="MB", help="megabytes of a request")] = 64.0,
    max_megapixels: Annotated[
        float, typer.Option(metavar="MP", help="million pixels of an image, from 1 to 100")
    ] = 50.0,
    max_files: Annotated[
        int, typer.Option(metavar=NUMBER, callback=within(1, 1000), help="files of a request")
    ] = 16,
    nearest: Annotated[
        str,
        one_of(_NEAREST, "show the nearest training images; auto: where this machine alone can ask"),
    ] = "auto",
) -> None:
    """Serves a page and an HTTP interface on this machine, until Ctrl-C; uploads are never stored."""
    from lmd.deployment.serving.options import options_of
    from lmd.deployment.serving.server import require_packages, serve_run
    from lmd.folds.folder import is_folds_run, opened

    check_run(run, is_folds_run(run))
    options = options_of(
        host=host, port=port, token=token, queue=queue, timeout=timeout, max_mb=max_mb,
        max_megapixels=max_megapixels, max_files=max_files, nearest=nearest,
    )  # fmt: skip
    require_packages()
    serve_run(opened(run), options, say)
