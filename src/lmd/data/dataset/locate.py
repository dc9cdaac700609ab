"""Where the images lie that a table names: looked up in one walk through the folder, never guessed."""

from __future__ import annotations

import logging
import os
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from glob import escape
from pathlib import Path

from lmd.data.dataset.spelling import id_key
from lmd.data.decode.files import EXTENSIONS, Listing, printable, walk
from lmd.errors import DataError

_log = logging.getLogger(__name__)

_PREFIX = re.compile(r"[A-Za-z][A-Za-z0-9+.]*:|\?")  # "C:" of Windows, "https:" of an address.
_POINT_ZERO = re.compile(r"\.0+$")
NOT_BELOW = "names an image that is not below"
_SHOWN = 3  # Candidates that a message names.


@dataclass(frozen=True)
class Place:
    """Where an image lies below the root, or why it cannot be said."""

    file: str = ""
    reason: str = ""
    leaves: bool = False  # Whether the name leads out of the root.


@dataclass
class ImageIndex:
    """The image files below a folder, found by name whatever the folder, case, ending or Unicode form.

    Names are plain texts here and no paths: a table may have a hundred thousand.
    """

    root: Path
    exclude: Sequence[str] = ()
    _folders: dict[str, Path | None] = field(default_factory=dict)

    @cached_property
    def listing(self) -> Listing:
        """What one walk through the folder found."""
        return walk(self.root, self.exclude)

    @cached_property
    def _exact(self) -> dict[str, None]:
        return dict.fromkeys(path.relative_to(self.root).as_posix() for path in self.listing.images)

    @cached_property
    def _by_name(self) -> dict[str, list[str]]:
        return self._indexed(lambda file: _folded(_last(file)))

    @cached_property
    def _by_stem(self) -> dict[str, list[str]]:
        return self._indexed(stem)

    @cached_property
    def _by_number(self) -> dict[str, list[str]]:
        return self._indexed(lambda file: id_key(stem(file)))

    def _indexed(self, key: Callable[[str], str]) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for file in self._exact:
            found.setdefault(key(file), []).append(file)
        return found

    def of_stem(self, name: str) -> list[str]:
        """Returns the files of a name, whatever their folder, ending and case."""
        return self._by_stem.get(stem(name), [])

    def place(self, name: str) -> Place:
        """Returns the one file that a name means: as it is written, or else if exactly one fits.

        Tried in this order: the path below the root; the name with its folders, as far as they agree; the
        name without its ending; the name with lost zeros, or with the ".0" that a spreadsheet adds.
        """
        parts = [part for part in name.strip().replace("\\", "/").split("/") if part not in ("", ".")]
        if ".." in parts:
            return self._left(name)
        if name.lstrip().startswith("/"):
            parts = self._from_root(name.strip(), parts)
            if not parts:
                return self._left(name)
        plain = "/".join(part for part in parts if not _PREFIX.fullmatch(part))
        for form in (name, name.strip(), "/".join(parts), plain):
            if form in self._exact:
                return Place(form)
        return self._looked_up(name, plain)

    def tell_unlisted(self, files: Iterable[str]) -> None:
        """Says how many image files the table does not name, and what else is not used."""
        unlisted = len(self._exact) - len(self._exact.keys() & set(files))
        if unlisted:
            _log.warning("%d image files below %s are not in the table", unlisted, self.root)
        for line in self.listing.lines(self.exclude):
            _log.warning("%s", line)

    def _left(self, name: str) -> Place:
        return Place(reason=f"names an image outside of {self.root}: '{printable(name)}'", leaves=True)

    def _from_root(self, name: str, parts: list[str]) -> list[str]:
        """The parts of an absolute path from the root on, which links may lead to.

        All of its parts where this machine has no such folder; none where it has, elsewhere.
        """
        folder = name.rpartition("/")[0] or "/"
        if folder not in self._folders:
            real = Path(folder).resolve() if Path(folder).is_dir() else None
            self._folders[folder] = real if real is None or real.is_relative_to(self.root) else Path("/")
        below = self._folders[folder]
        if below is None:
            return parts
        if below.is_relative_to(self.root):
            return [*below.relative_to(self.root).parts, parts[-1]]
        return [] if os.path.lexists(name) else parts

    def _looked_up(self, name: str, plain: str) -> Place:
        for found in self._candidates(plain):
            nearest = _nearest(plain, found) if len(found) > 1 else found
            if len(nearest) == 1:
                return Place(nearest[0])
            if nearest:
                return Place(reason=_several(name, nearest))
        return Place(reason=f"{NOT_BELOW} {self.root}: '{printable(name)}'")

    def _candidates(self, plain: str) -> Iterator[list[str]]:
        """The files that fit a name, by each way of looking."""
        bare = stem(plain)
        yield self._by_name.get(_folded(_last(plain)), [])
        yield self._by_stem.get(bare, [])
        yield self._by_number.get(id_key(_POINT_ZERO.sub("", bare)), [])


def _last(file: str) -> str:
    return file.rpartition("/")[2]


def stem(file: str) -> str:
    """Returns what two names of one image share: no folder, no ending of an image, one case and Unicode form.

    >>> stem("a/ISIC_1.JPG"), stem("b/1.2.840.7")
    ('isic_1', '1.2.840.7')
    """
    name = _folded(_last(file))
    before, _, ending = name.rpartition(".")
    return before if before and f".{ending}" in EXTENSIONS else name


def _folded(name: str) -> str:
    return (name if name.isascii() else unicodedata.normalize("NFC", name)).casefold()


def _nearest(name: str, files: Sequence[str]) -> list[str]:
    """Of files of one name those whose folders agree with the name's for longest."""
    wanted = _folded(name).split("/")[-2::-1]
    agree = [_agreement(wanted, _folded(file).split("/")[-2::-1]) for file in files]
    return [file for file, length in zip(files, agree, strict=True) if length == max(agree)]


def _agreement(one: Sequence[str], other: Sequence[str]) -> int:
    """How many folders above the file are the same, from the nearest on."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((n for n, (first, second) in pairs if first != second), min(len(one), len(other)))


def _several(name: str, files: Sequence[str]) -> str:
    names = ", ".join(printable(file) for file in files[:_SHOWN])
    more = f" and {len(files) - _SHOWN} more" if len(files) > _SHOWN else ""
    return f"names an image that could be {len(files)} files: '{printable(name)}' could be {names}{more}"


def refuse_doubles(files: Iterable[str], root: Path) -> None:
    """Refuses two files of one folder that differ by their endings alone: one image twice.

    "1.2.dcm" and "1.2.dcm.png" are such files, too.

    Raises:
        DataError: two such files, both named, and what leaves out one of them.
    """
    alike: dict[tuple[str, str], list[str]] = {}
    for file in sorted(files):
        alike.setdefault((file.rpartition("/")[0], _bare(file)), []).append(file)
    doubles = [found for found in alike.values() if len(found) > 1]
    if doubles:
        more = f" ({len(doubles)} such images)" if len(doubles) > 1 else ""
        raise DataError(
            f"an image is in {root} twice: {printable(doubles[0][0])} and {printable(doubles[0][1])}{more}; "
            f"delete one, rename it if it is another image, or leave it out with --exclude "
            f"'{printable(_pattern_of(doubles, list(alike.values())))}'"
        )


def _bare(file: str) -> str:
    """The stem of a file without any of several endings."""
    bare = stem(file)
    while (shorter := stem(bare)) != bare:
        bare = shorter
    return bare


def _pattern_of(doubles: Sequence[list[str]], all_files: Sequence[list[str]]) -> str:
    """The ending that only doubles have, or else the second of the first two files alone."""
    for file in sorted(doubles[0], key=len, reverse=True):  # "x.dcm.png" is a copy of "x.dcm".
        ending = "." + ".".join(_last(file)[len(_bare(file)) :].split(".")[1:])
        having = [[name.endswith(ending) for name in found] for found in all_files]
        if all(sum(ends) < len(ends) for ends in having if any(ends)):
            return f"*{ending}"
    return escape(doubles[0][1])
