"""Where the images lie that a table names: looked up in one walk through the folder, never guessed."""

from __future__ import annotations

import logging
import os
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import dropwhile
from pathlib import Path
from urllib.parse import unquote

from lmd.data.decode.files import EXTENSIONS, Listing, printable, walk

_log = logging.getLogger(__name__)

_PREFIX = re.compile(r"[A-Za-z][A-Za-z0-9+.]*:|\?")  # "C:" of Windows, "https:" of an address.
_ZEROS = re.compile(r"^(\D*(?:\d+\D+)*?)0+(\d+)$")
_MASKS = frozenset("mask masks segmentation segmentations annotation annotations groundtruth gt".split())
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
        return self._indexed(lambda file: _without_zeros(stem(file)))

    def _indexed(self, key: Callable[[str], str]) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for file in self._exact:
            found.setdefault(key(file), []).append(file)
        return found

    def of_stem(self, name: str) -> list[str]:
        """Returns the files of a name, whatever their folder, ending and case."""
        return self._by_stem.get(stem(name), [])

    def places(self, names: Sequence[str]) -> list[Place]:
        """Returns where the images of a table lie.

        A file that one row names as it is written belongs to that row. Folders have to agree with those below
        the root ("P1/scan" is not "P2/scan") where the table has several images of one name, or where other
        rows name their images by the folders that are there.
        """
        written = [self._as_written(name) for name in names]
        taken = {place.file for place in written if place is not None}
        several = Counter(_folded(_last(_bare(name))) for name in dict.fromkeys(names))
        by_folder = any("/" in file for file in taken)
        fixed = frozenset(name for name, count in several.items() if count > 1 or by_folder)
        pairs = zip(names, written, strict=True)
        return [place or self._looked_up(name, taken, fixed) for name, place in pairs]

    def place(self, name: str) -> Place:
        """Returns the one file that a name means: as it is written, or else if exactly one fits.

        Tried in this order: the path below the root; the name with its folders, as far as they agree; the
        name without its ending; the name with lost zeros, or with the ".0" that a spreadsheet adds.
        """
        return self._as_written(name) or self._looked_up(name, set(), frozenset())

    def _as_written(self, name: str) -> Place | None:
        """The file that a name means as it is written, or that it leads out of the root; None of others."""
        parts = self._parts(name)
        if parts is None:
            return Place(reason=f"names an image outside of {self.root}: '{printable(name)}'", leaves=True)
        path = "/".join(parts)
        forms = (name, name.strip(), path, _bare(path))
        return next((Place(form) for form in forms if form in self._exact), None)

    def _parts(self, name: str) -> list[str] | None:
        """The parts of a name below the root; None of a name that leads out of it."""
        text = name.strip()
        parts = [part for part in text.replace("\\", "/").split("/") if part not in ("", ".")]
        if parts[:1] == [".."] and not (self.root / text).exists():  # Of another machine: "../input".
            parts = list(dropwhile(lambda part: part == "..", parts))
        if ".." in parts:
            return None
        return self._from_root(text, parts) or None if text.startswith("/") else parts

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

    def _looked_up(self, name: str, taken: set[str], fixed: frozenset[str]) -> Place:
        plain = _bare(name)
        for found in filter(None, self._candidates(plain)):
            free = [file for file in found if not _is_mask(file, plain)]
            if _folded(_last(plain)) in fixed:
                free = [file for file in free if _folders_agree(plain, file)]
            free = [file for file in free if file not in taken or _folders_agree(plain, file)]
            nearest = _nearest(plain, free) if len(free) > 1 else free
            if nearest:
                return Place(nearest[0]) if len(nearest) == 1 else Place(reason=_several(name, nearest))
        return Place(reason=f"{NOT_BELOW} {self.root}: '{printable(name)}'")

    def _candidates(self, plain: str) -> Iterator[list[str] | None]:
        """The files that fit a name, by each way of looking; a mask is not the image of its name."""
        yield self._by_name.get(_folded(_last(plain)))
        bare = stem(plain)
        yield self._by_stem.get(bare)
        yield self._by_number.get(_without_zeros(_POINT_ZERO.sub("", bare)))

    def tell_unlisted(self, files: Iterable[str]) -> None:
        """Says how many image files the table does not name, and what else is not used."""
        unlisted = len(self._exact) - len(self._exact.keys() & set(files))
        if unlisted:
            _log.warning("%d image files below %s are not in the table", unlisted, self.root)
        for line in self.listing.lines(self.exclude):
            _log.warning("%s", line)


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


def _bare(name: str) -> str:
    """A name without what surrounds it elsewhere: drive, address, quotes, a query."""
    text = name.strip().removeprefix("=").strip("\"'").replace("\\", "/")
    if "://" in text or "%" in text:
        text = unquote(text.partition("?")[0])
    parts = [part for part in text.split("/") if part not in ("", ".") and not _PREFIX.fullmatch(part)]
    return "/".join(parts)


def _without_zeros(name: str) -> str:
    """A name without the zeros that a spreadsheet loses: those before its last number."""
    return _ZEROS.sub(r"\1\2", name)


def _is_mask(file: str, name: str) -> bool:
    """Whether a file lies in a folder of masks that the name does not name."""
    folders = set(_folded(file).split("/")[:-1]) - set(_folded(name).split("/")[:-1])
    return bool(folders & _MASKS)


def _folders_agree(name: str, file: str) -> bool:
    """Whether the folders of one are the last folders of the other."""
    one, other = _folded(name).split("/")[-2::-1], _folded(file).split("/")[-2::-1]
    return _agreement(one, other) == min(len(one), len(other))


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
    return (
        f"names an image that could be {len(files)} files: '{printable(name)}' could be {names}{more}; leave "
        "folders out with --exclude"
    )
