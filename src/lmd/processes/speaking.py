"""Which of several processes tells a person what went wrong."""

from __future__ import annotations

import os

from lmd.errors import LmdError, SettingsError
from lmd.processes.starters import LAUNCHED, place

# What a process does when another has gone: it says nothing where whoever started it will.
TRY_AGAIN = 75  # EX_TEMPFAIL of sysexits.h: the same command with --resume may succeed.


class LostProcessError(LmdError):
    """Another process of this training has ended."""

    exit_code = TRY_AGAIN


def speaks(error: Exception | None = None) -> bool:
    """Returns whether this process tells an error, or that it was stopped; the first does so for all.

    Another process tells what is wrong with its own machine: a file that it cannot read, for example.
    """
    try:
        here = place()
    except SettingsError:
        return True
    lost = isinstance(error, LostProcessError) and LAUNCHED in os.environ
    return not lost and (here.leads or (error is not None and not isinstance(error, LostProcessError)))
