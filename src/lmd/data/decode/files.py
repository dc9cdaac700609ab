"""Image files on disk: found by their names or headers, opened with care, named in messages."""

from __future__ import annotations

import logging
import os
import re
import stat
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from io import BufferedReader
from pathlib import Path

from lmd.data.decode.dicom_marks import is_dicom
from lmd.data.decode.excluded import is_excluded
from lmd.errors import DataError
from lmd.text import numbered

# Every ending under which the formats that `images` reads are found; docs/images.md lists them.
EXTENSIONS = tuple(
    ".jpg .jpeg .jpe .jfif .png .apng .tif .tiff .bmp .dib .webp .gif .jp2 .j2k .jpc .jpf .jpx .j2c "
    ".tga .icb .vda .vst .pbm .pgm .ppm .pnm .pfm .avif .avifs .dcm .dicom .dic .ima".split()
)
# What systems and cameras leave beside images, and what holds no picture of a patient.
SYSTEM_FOLDERS = frozenset(
    "__macosx @eadir lost+found lost.dir $recycle.bin recycler recycled #recycle #snapshot ~snapshot "
    "__pycache__ @recycle @recently-snapshot @sharesnapshot @tmp @__thumb thumbnails _thumbnails $extend "
    "resource.frk".split()
) | {"system volume information", "network trash folder", "temporary items"}
_NUMBERED_FOLDERS = re.compile(r"paxheaders?(\.\w+)?|found\.\d{3}")  # Of tar, and of a check of the disk.
_SYSTEM_FILES = frozenset(
    "thumbs.db thumbs.db:encryptable ehthumbs.db ehthumbs_vista.db desktop.ini icon\r dicomdir picasa.ini "
    "pax_global_header zbthumbnail.info".split(" ")
)
_PICTURES = re.compile(
    rb"\xff\xd8\xff|\x89PNG\r\n|GIF8[79]a|II\*\0|MM\0\*|RIFF....WEBP|\0\0\0\x0cjP  ", re.DOTALL
)
_OUR_FILES = (("manifest.csv", "dataset.json"), ("settings.yaml", "environment.json"), ("folds.json",))
_HEAD = 512  # Bytes from which a DICOM file is recognised.

_log = logging.getLogger(__name__)


@dataclass
class Listing:
    """The image files below a folder, and what was passed over: by name, or by ending with its number."""

    images: list[Path] = field(default_factory=list)
    others: Counter[str] = field(default_factory=Counter)
    passed: list[str] = field(default_factory=list)
    excluded: int = 0
    links: list[Path] = field(default_factory=list)
    pictures: list[Path] = field(default_factory=list)
    """files among the others that are pictures by their first bytes"""

    def add(self, other: Listing) -> None:
        """Takes over what another listing found."""
        self.images += other.images
        self.others += other.others
        self.passed += other.passed
        self.excluded += other.excluded
        self.links += other.links
        self.pictures += other.pictures

    def lines(self, exclude: Sequence[str] = ()) -> Iterator[str]:
        """Yields what is to be told: nothing is left out in silence."""
        for link in self.links:
            yield f"the link {printable(link)} to a folder is not entered"
        if self.passed:
            names = ", ".join(printable(name) for name in sorted(set(self.passed))[:5])
            more = f" and {len(set(self.passed)) - 5} more" if len(set(self.passed)) > 5 else ""
            yield f"passed over, as no folders or files of images: {names}{more}"
        if self.others:
            yield (
                f"{numbered(self.others.total(), 'file is no image', 'files are no images')} and left "
                f"out: {counted(self.others)}"
            )
        if self.pictures:
            look = numbered(len(self.pictures), "of them looks like an image", "of them look like images")
            yield (
                f"{look} by content (first: {printable(self.pictures[0])}): files are used that have an "
                "ending such as .jpg"
            )
        if self.excluded or exclude:
            yield f"{numbered(self.excluded, 'file')} left out by --exclude"


def counted(endings: Counter[str], shown: int = 8) -> str:
    """Returns endings with their numbers, most frequent first.

    >>> counted(Counter({".txt": 2, "": 1}))
    '2 .txt, 1 without an ending'
    """
    words = [
        f"{number} {printable(name) or 'without an ending'}" for name, number in endings.most_common(shown)
    ]
    more = len(endings) - shown
    return ", ".join(words) + (f" and {numbered(more, 'more ending')}" if more > 0 else "")


def list_images(folder: Path) -> list[Path]:
    """Returns the image files below a folder, by name, and tells of links that are not entered.

    Raises:
        DataError: a folder cannot be read.
    """
    found = walk(folder)
    for link in found.links:
        _log.warning("the link %s to a folder is not entered", printable(link))
    return found.images


def walk(folder: Path, exclude: Sequence[str] = (), root: Path | None = None) -> Listing:
    """Returns what is below a folder; patterns of `exclude` are matched below `root` (the folder itself).

    A file is an image by its ending, or by its header where it is DICOM. Files that cannot be read (a broken
    link, a pipe) count as images: `decode` says what is wrong with them. Links to folders are not followed:
    they may lead back to a folder above, or into another class.

    Raises:
        DataError: a folder cannot be read.
    """
    found, top = Listing(), root or folder
    for parent, folders, files in os.walk(folder, onerror=_refuse_folder):
        here = Path(parent)
        folders[:] = [name for name in sorted(folders) if _is_entered(here / name, top, exclude, found)]
        for name in files:
            sort_in(here / name, top, exclude, found)
    found.images.sort()
    return found


def _is_entered(folder: Path, top: Path, exclude: Sequence[str], found: Listing) -> bool:
    if folder.is_symlink() and not folder.name.startswith("."):
        found.links.append(folder)
        return False
    return not is_passed(folder, top, exclude, found)


def is_passed(folder: Path, top: Path, exclude: Sequence[str], found: Listing) -> bool:
    """Whether a folder is passed over: it is the system's, ours, or excluded; that is noted in `found`."""
    if is_system(folder.name) or is_ours(folder):
        found.passed.append(folder.name)
        return True
    if is_excluded(folder, top, exclude):
        found.excluded += sum(len(files) for _, _, files in os.walk(folder))
        return True
    return False


def sort_in(file: Path, top: Path, exclude: Sequence[str], found: Listing) -> None:
    """Puts a file where it belongs."""
    name = file.name
    if name.startswith((".", "~$")) or name.casefold() in _SYSTEM_FILES:
        found.passed.append(name if not name.startswith("._") else "._*")
    elif is_excluded(file, top, exclude):
        found.excluded += 1
    elif name.lower().endswith(EXTENSIONS) or is_dicom(head := _head(file)):
        found.images.append(file)
    else:
        found.others[_ending(name)] += 1
        if _PICTURES.match(head):
            found.pictures.append(file)


def _ending(name: str) -> str:
    ending = Path(name).suffix.lower()
    return ending if len(ending) <= 10 else ""


def is_system(name: str) -> bool:
    """Whether a folder of that name is the system's, or hidden."""
    plain = name.casefold()
    return name.startswith(".") or plain in SYSTEM_FOLDERS or _NUMBERED_FOLDERS.fullmatch(plain) is not None


def is_ours(folder: Path) -> bool:
    """Whether a folder is a dataset folder, a folder of folds or a run folder of ours."""
    return any(all((folder / name).is_file() for name in names) for names in _OUR_FILES)


def _head(file: Path) -> bytes:
    """The first bytes of a file; none of what is no file or cannot be read."""
    try:
        if not stat.S_ISREG(file.stat().st_mode):
            return b""
        with file.open("rb") as opened:
            return opened.read(_HEAD)
    except OSError:
        return b""


def _refuse_folder(error: OSError) -> None:
    raise DataError(f"folder {printable(error.filename)} cannot be read: {error.strerror}") from error


def printable(path: Path | str) -> str:
    r"""Returns a path for a message: one line, whatever is in the name.

    >>> printable("a\nb.png")
    'a\\nb.png'
    """
    name = str(path)
    if name.isprintable():  # Nearly always; this is asked for each image.
        return name
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in name)


def open_file(path: Path) -> BufferedReader:
    """Returns a file opened for reading. A pipe is refused: reading it could wait for ever.

    Raises:
        DataError: there is no such file, or it is empty, or cannot be read.
    """
    name = printable(path)
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise DataError(f"image {name} is not a file but a folder, pipe or device")
        if status.st_size == 0:
            raise DataError(f"image {name} is empty (0 bytes)")
        return path.open("rb")
    except FileNotFoundError as error:
        broken = f"image {name} is a link to a file that is not there"
        raise DataError(broken if path.is_symlink() else f"no image {name}") from error
    except OSError as error:
        raise DataError(f"image {name} cannot be read: {error.strerror}") from error
