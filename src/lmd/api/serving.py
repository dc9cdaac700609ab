"""The Python interface to a server that answers images with a trained model."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Literal

from lmd.run import RunFolder


def serve(
    run: RunFolder | Path | str,
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    token: str | None = None,
    queue: int = 64,
    timeout: float = 60.0,
    max_mb: float = 64.0,
    max_megapixels: float = 50.0,
    max_files: int = 16,
    nearest: Literal["auto", "on", "off"] = "auto",
    say: Callable[[str], None] = lambda line: None,
) -> None:
    """Serves a page and an HTTP interface that answer images with a trained model (docs/serve.md).

    It returns once a signal has stopped it: what runs is finished, what is new is refused. Of a folds run the
    mean of its models answers.

    Args:
        run: a finished run.
        host: the address to listen at; one that other machines reach needs a token.
        port: the port; 0 takes any that is free.
        token: what each request must know (default: the environment variable LMD_SERVE_TOKEN).
        queue: requests that are in work or wait at once; more get the status 429.
        timeout: seconds until a request that is not answered yet gets the status 504.
        max_mb: megabytes of a request.
        max_megapixels: million pixels of an image.
        max_files: files of a request.
        nearest: show the nearest training images; "auto" does where this machine alone can ask.
        say: called with a line once the server answers.

    Raises:
        SettingsError: a value that cannot be, a package that is missing, or a port that is in use.
        CheckpointError, DataError: the run has no finished model, or a file of it is damaged.
    """
    from lmd.api.runs import run_of
    from lmd.deployment.serving.options import options_of
    from lmd.deployment.serving.server import require_packages, serve_run

    require_packages()
    options = options_of(
        host=host, port=port, token=token, queue=queue, timeout=timeout, max_mb=max_mb,
        max_megapixels=max_megapixels, max_files=max_files, nearest=nearest,
    )  # fmt: skip
    serve_run(run_of(run), options, say)
