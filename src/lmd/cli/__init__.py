"""The command `lmd`: parse, call, print. Nothing heavy is imported before a verb runs."""

import os
import sys

from lmd.cli.stopped import ended
from lmd.stopping import heeding


def main() -> None:
    """Runs the command and ends the process with its exit code (docs/reliability.md lists them)."""
    # Threads that wait must sleep: spinning ones slow two trainings on one machine twenty-fold (docs/log.md).
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    with heeding():
        code = ended(_run)
    sys.exit(code)


def _run() -> int:
    """Imports the verbs, a moment in which a person may press Ctrl-C, and runs the one asked for."""
    from lmd.cli import (  # noqa: F401
        compare,
        data,
        export,
        features,
        paper,
        prepare,
        report,
        runs,
        serve,
        training,
        tune,
    )
    from lmd.cli.app import run

    return run()
