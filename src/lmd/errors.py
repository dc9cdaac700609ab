"""The errors a user can cause, and how a message offers the nearest right name."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

_MOST_LETTERS = 1500  # Of a message: it may quote a value, and a value from a file may have any length.


class LmdError(Exception):
    """Any mistake that the command reports in one line and with exit code 2."""

    exit_code = 2

    def __str__(self) -> str:
        """The message, cut where nobody would read on."""
        text = super().__str__()
        return text if len(text) <= _MOST_LETTERS else f"{text[:_MOST_LETTERS]}..."


class SettingsError(LmdError, ValueError):
    """A method, a setting or a value that does not exist or is out of range."""


class DataError(LmdError, ValueError):
    """A data set, a manifest or an image that cannot be used as it is."""


class CheckpointError(LmdError, RuntimeError):
    """A checkpoint, a weights file or a run folder that does not fit or cannot be written."""


class UnfinishedError(LmdError):
    """Time is over before all was done; what there is has been kept, and the same call goes on."""


OUT_OF_MEMORY = 71  # EX_OSERR of sysexits.h: the exit code where memory ran out.
TRY_AGAIN = 75  # EX_TEMPFAIL of sysexits.h: what follows with && does not start.
# As torch and the libraries below it say that an allocation failed.
_MEMORY = ("out of memory", "can't allocate memory", "ALLOC_FAILED")


def out_of_memory(error: BaseException) -> bool:
    """Returns whether an error says that memory ran out, be it the machine's or a GPU's.

    >>> out_of_memory(MemoryError()), out_of_memory(RuntimeError("shape"))
    (True, False)
    """
    text = str(error)
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and any(words in text for words in _MEMORY)
    )


@contextmanager
def advising(advice: str) -> Iterator[None]:
    """Gives a computation's plain ValueError the way out, which names settings: it becomes a SettingsError.

    `losses/` knows no setting; the stage that calls it does.
    """
    try:
        yield
    except LmdError:
        raise
    except ValueError as error:
        raise SettingsError(f"{error}: {advice}") from error


def suggest(name: str, allowed: Iterable[str]) -> str:
    """Returns the end of an error message: the nearest allowed name, or all of them.

    >>> suggest("lmdd", ["ce", "lmd"])
    "; did you mean 'lmd'?"
    >>> suggest("zzz", ["ce", "lmd"])
    '; known: ce, lmd'
    """
    names = sorted(allowed)
    return nearest(name, names) or f"; known: {', '.join(names)}"


def nearest(name: str, allowed: Iterable[str], quote: str = "'", cutoff: float = 0.6) -> str:
    """Returns the end of an error message: the nearest allowed name, or nothing where none is near enough.

    Capitals count for nothing.

    >>> nearest("lmdd", ["ce", "lmd"]), nearest("CE", ["ce", "lmd"]), nearest("zzz", ["ce", "lmd"])
    ("; did you mean 'lmd'?", "; did you mean 'ce'?", '')
    """
    names = sorted(allowed)
    near = difflib.get_close_matches(name, names, n=1, cutoff=cutoff)
    if not near:
        small = {known.casefold(): known for known in names}
        near = [small[one] for one in difflib.get_close_matches(name.casefold(), small, n=1, cutoff=cutoff)]
    return f"; did you mean {quote}{near[0]}{quote}?" if near else ""
