"""One image under two endings in a folder: a copy, or a picture of it, that would be trained on twice."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from glob import escape
from pathlib import Path

from lmd.data.dataset.meaning.locate import stem
from lmd.data.decode.files import printable
from lmd.errors import DataError


def refuse_doubles(files: Iterable[str], root: Path) -> None:
    """Refuses two files of one folder that differ by their endings alone: one image twice.

    "1.2.dcm" and "1.2.dcm.png" are such files, too.

    Raises:
        DataError: two such files, both named, and what leaves out one of them.
    """
    alike: dict[tuple[str, str], list[str]] = {}
    for file in sorted(files):
        alike.setdefault((file.rpartition("/")[0], _without_endings(file)), []).append(file)
    doubles = [found for found in alike.values() if len(found) > 1]
    if doubles:
        more = f" ({len(doubles)} such images)" if len(doubles) > 1 else ""
        raise DataError(
            f"an image is in {root} twice: {printable(doubles[0][0])} and {printable(doubles[0][1])}{more}; "
            f"delete one, rename it if it is another image, or leave it out with --exclude "
            f"'{printable(_pattern_of(doubles, list(alike.values())))}'"
        )


def _without_endings(file: str) -> str:
    """The stem of a file without any of several endings."""
    bare = stem(file)
    while (shorter := stem(bare)) != bare:
        bare = shorter
    return bare


def _pattern_of(doubles: Sequence[list[str]], all_files: Sequence[list[str]]) -> str:
    """The ending that only doubles have, or else the second of the first two files alone."""
    for file in sorted(doubles[0], key=len, reverse=True):  # "x.dcm.png" is a copy of "x.dcm".
        ending = "." + ".".join(file.rpartition("/")[2][len(_without_endings(file)) :].split(".")[1:])
        having = [[name.endswith(ending) for name in found] for found in all_files]
        if all(sum(ends) < len(ends) for ends in having if any(ends)):
            return f"*{ending}"
    return escape(doubles[0][1])
