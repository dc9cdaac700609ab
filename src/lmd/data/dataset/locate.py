"""Where the images lie that a table names: looked up in one walk through the folder, never guessed."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath

from lmd.data.dataset.spelling import id_key
from lmd.data.decode.files import EXTENSIONS, Listing, printable, walk
from lmd.errors import DataError

_DRIVE = re.compile(r"^[A-Za-z]:(?=[/\\])|^[a-z][a-z0-9+.]*://|^//\?/", re.IGNORECASE)
_POINT_ZERO = re.compile(r"\.0+$")
_SHOWN = 3  # Candidates that a message names.


@dataclass(frozen=True)
class Place:
    """Where an image lies below the root, or why it cannot be said."""

    file: str = ""
    reason: str = ""
    leaves: bool = False  # Whether the name leads out of the root.


class ImageIndex:
    """The image files below a folder, found by name whatever the folder, case, ending or Unicode form."""

    def __init__(self, root: Path, exclude: Sequence[str] = ()) -> None:
        """Walks through the folder once."""
        self.root = root
        self.listing: Listing = walk(root, exclude)
        self.files = [path.relative_to(root).as_posix() for path in self.listing.images]

    @cached_property
    def _exact(self) -> frozenset[str]:
        return frozenset(self.files)

    @cached_property
    def _by_name(self) -> dict[str, list[str]]:
        return self._indexed(lambda file: _folded(PurePosixPath(file).name))

    @cached_property
    def _by_stem(self) -> dict[str, list[str]]:
        return self._indexed(stem)

    @cached_property
    def _by_number(self) -> dict[str, list[str]]:
        return self._indexed(lambda file: id_key(stem(file)))

    def _indexed(self, key: Callable[[str], str]) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for file in self.files:
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
        outside = self._outside(name)
        if outside:
            return Place(reason=outside, leaves=True)
        forms = _forms(name, self.root)
        for form in forms:
            if form in self._exact:
                return Place(form)
        plain = forms[-1]
        for found in self._candidates(plain):
            nearest = _nearest(plain, found)
            if len(nearest) == 1:
                return Place(nearest[0])
            if nearest:
                return Place(reason=_several(name, nearest))
        return Place(reason=f"names an image that is not below {self.root}: '{printable(name)}'")

    def _candidates(self, plain: str) -> Iterable[list[str]]:
        """The files that fit a name, by each way of looking; a name without an ending may be a stem."""
        yield self._by_name.get(_folded(PurePosixPath(plain).name), [])
        yield self._by_stem.get(stem(plain), [])
        yield self._by_number.get(id_key(_POINT_ZERO.sub("", stem(plain))), [])

    def _outside(self, name: str) -> str:
        """Why a name is refused: it leaves the root, or is a file of this machine outside of it."""
        path = PurePosixPath(name.strip())
        leaves = ".." in PurePosixPath(name.replace("\\", "/")).parts
        if leaves or (path.is_absolute() and _below(path, self.root) is None and _exists(path)):
            return f"names an image outside of {self.root}: '{printable(name)}'"
        return ""


def _below(path: PurePosixPath, root: Path) -> PurePosixPath | None:
    """An absolute path as one below the root, which may be reached through links; None where it is none."""
    if path.is_relative_to(root):
        return path.relative_to(root)
    if not _exists(path):
        return None
    parent = Path(path).parent.resolve()
    return PurePosixPath(parent.relative_to(root) / path.name) if parent.is_relative_to(root) else None


def _exists(path: PurePosixPath) -> bool:
    try:
        return Path(path).exists()
    except (OSError, ValueError):
        return False


def stem(file: str) -> str:
    """Returns what two names of one image share: no folder, no ending of an image, one case and Unicode form.

    >>> stem("a/ISIC_1.JPG"), stem("b/1.2.840.7")
    ('isic_1', '1.2.840.7')
    """
    name = PurePosixPath(file).name
    ending = next((ending for ending in EXTENSIONS if name.lower().endswith(ending)), "")
    return _folded(name[: len(name) - len(ending)])


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()


def _forms(name: str, root: Path) -> list[str]:
    """The paths below the root that a name may be, as written first; the last is free of prefixes."""
    given = PurePosixPath(name)
    below = _below(PurePosixPath(name.strip()), root) if given.is_absolute() else None
    written = (given if below is None else below).as_posix()
    bare = _DRIVE.sub("", written.strip().replace("\\", "/")).lstrip("/")
    return [written, written.strip(), PurePosixPath(bare).as_posix()]


def _nearest(name: str, files: Sequence[str]) -> list[str]:
    """Of files of one name those whose folders agree with the name's for longest."""
    wanted = [_folded(part) for part in PurePosixPath(name).parent.parts]
    agree = [
        _agreement(wanted, [_folded(part) for part in PurePosixPath(file).parent.parts]) for file in files
    ]
    most = max(agree, default=0)
    return [file for file, length in zip(files, agree, strict=True) if length == most]


def _agreement(one: Sequence[str], other: Sequence[str]) -> int:
    """How many folders above the file are the same."""
    pairs = zip(reversed(one), reversed(other), strict=False)
    return next((n for n, (first, second) in enumerate(pairs) if first != second), min(len(one), len(other)))


def _several(name: str, files: Sequence[str]) -> str:
    names = ", ".join(printable(file) for file in files[:_SHOWN])
    more = f" and {len(files) - _SHOWN} more" if len(files) > _SHOWN else ""
    return f"names an image that could be {len(files)} files: '{printable(name)}' could be {names}{more}"


def refuse_doubles(files: Iterable[str], root: Path) -> None:
    """Refuses two files of one folder that differ by their ending alone: one image twice, or a picture of it.

    Raises:
        DataError: two such files, both named.
    """
    seen: dict[tuple[str, str], str] = {}
    for file in sorted(files):
        other = seen.setdefault((str(PurePosixPath(file).parent), stem(file)), file)
        if other != file:
            raise DataError(
                f"an image is in {root} twice: {printable(other)} and {printable(file)}; delete one, or "
                f"leave it out with --exclude '*{PurePosixPath(file).suffix}'"
            )
