"""Images sorted into class folders, with or without folders of splits: every file is used or counted."""

from __future__ import annotations

import shlex
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from glob import escape
from pathlib import Path
from typing import NoReturn

from lmd.data.dataset.checks import SPLITS
from lmd.data.dataset.folders.folder_levels import refuse_no_classes, refuse_repeated, tells_no_class
from lmd.data.dataset.folders.masks import excluding, refuse_mask_folders
from lmd.data.dataset.folders.split_folders import folder_split, read_splits, refuse_folds
from lmd.data.decode.excluded import is_excluded
from lmd.data.decode.files import Listing, counted, is_ours, is_passed, is_system, printable, sort_in, walk
from lmd.errors import DataError
from lmd.text import numbered

_FEW = 12  # More folders than this below a class are no splits, whatever words their names hold.


@dataclass(frozen=True)
class SortedImage:
    """An image and what its folders say of it."""

    file: str
    """its path below the root"""
    folder: str
    """name of its class folder"""
    split: str
    """its split, "" where no folder says one"""
    below: str
    """the folders between the class folder and the image"""


@dataclass
class ClassFolders:
    """A root of class folders, and what was found and passed over in it."""

    root: Path
    exclude: Sequence[str] = ()
    grouped: bool = False
    """whether folders below the class folders are patients"""
    found: Listing = field(default_factory=Listing)
    places: dict[str, Path] = field(default_factory=dict)
    """the first class folder of each name"""
    loose: int = 0
    """images that lie in no class folder"""

    def images(self) -> list[SortedImage]:
        """Returns all images of all class folders, by split and class.

        Raises:
            DataError: a class folder is empty, or the folders do not say class and split of each image.
        """
        images = [image for folders, split in self._places() for image in self._below(folders, split)]
        refuse_mask_folders([image.file for image in images], self.root)
        self._refuse_a_wrong_level(images)
        with_split = sum(bool(image.split) for image in images)
        if with_split not in (0, len(images)):
            first = next(image.file for image in images if not image.split)
            raise DataError(
                f"{self.root}: {numbered(with_split, 'image lies', 'images lie')} in folders of splits, "
                f"and {len(images) - with_split} "
                f"do not (first: {printable(first)}); sort all of them by split, or none"
            )
        return images

    def _refuse_a_wrong_level(self, images: Sequence[SortedImage]) -> None:
        below: dict[str, set[str]] = defaultdict(set)
        for image in images:
            below[image.folder].add(image.below.partition("/")[0])
        places = {name: self.places[name] for name in below}
        refuse_no_classes(places, self.root)
        refuse_repeated(below, places, self.root, self.grouped)

    def lines(self) -> list[str]:
        """Returns what is to be told of files that are not used."""
        lines = list(self.found.lines(self.exclude))
        if self.loose:
            lie, are = ("image lies", "is") if self.loose == 1 else ("images lie", "are")
            lines.insert(0, f"{self.loose} {lie} in no class folder and {are} left out")
        return lines

    def _places(self) -> list[tuple[list[Path], str]]:
        """The class folders with their split: those of the root, or those of each folder of a split."""
        folders = self._folders(self.root)
        splits = read_splits([folder.name for folder in folders], self.root)
        given = [folder for folder in folders if splits[folder.name]]
        if not given:
            self._refuse_a_wrapper(folders)
            return [(self._classes(self.root, folders), "")]
        others = [folder for folder in folders if not splits[folder.name]]
        if others:
            raise DataError(
                f"{self.root} has folders of splits ({given[0].name}) and others "
                f"({printable(others[0].name)}): sort the images either by split and class, or by class "
                "alone, where no class is named as a split; rename a folder, or leave it out with "
                f"{excluding([escape(others[0].name)])}"
            )
        self._count_loose(self.root)
        given.sort(key=lambda folder: (SPLITS.index(splits[folder.name]), folder))
        parents = [(self._unwrapped(folder, splits[folder.name]), splits[folder.name]) for folder in given]
        return [(self._classes(parent, self._folders(parent)), split) for parent, split in parents]

    def _classes(self, parent: Path, folders: list[Path]) -> list[Path]:
        """The class folders of a folder, and its loose files counted."""
        if not folders:
            self._refuse_a_flat_folder(parent)
        refuse_folds([folder.name for folder in folders], parent)
        self._count_loose(parent)
        return folders

    def _refuse_a_flat_folder(self, parent: Path) -> NoReturn:
        """Says of a folder without class folders what it has, and the ways out."""
        here = Listing()
        for path in parent.iterdir():
            if not path.is_dir():
                sort_in(path, self.root, self.exclude, here)
        table = f"if a table has the labels: lmd prepare table --root {printable(self.root)} --table FILE"
        if parent == self.root:
            raise DataError(
                f"{parent} has no class folders, and {numbered(len(here.images), 'image')}; {table}"
            )
        others = [folder for folder in self.root.iterdir() if folder.is_dir() and folder != parent]
        one = f"give another folder alone as --root ({printable(others[0])}); or " if others else ""
        raise DataError(
            f"{printable(parent)} has no class folders, and {numbered(len(here.images), 'image')}: "
            f"{one}{table}"
        )

    def _folders(self, folder: Path) -> list[Path]:
        """The folders in a folder that may be of classes; a link to one is followed."""
        inside = sorted(folder.iterdir())
        self._refuse_a_broken_link(inside)
        folders = [path for path in inside if path.is_dir()]
        return [path for path in folders if not is_passed(path, self.root, self.exclude, self.found)]

    def _refuse_a_broken_link(self, paths: Sequence[Path]) -> None:
        """Refuses a link among class folders whose folder is not there: a class would be lost unsaid."""
        for path in paths:
            if path.is_symlink() and not path.exists() and not (path.suffix and path.readlink().suffix):
                name = path.relative_to(self.root).as_posix()
                if not (is_system(path.name) or is_excluded(path, self.root, self.exclude)):
                    raise DataError(
                        f"class folder {printable(path)} is a link to {printable(path.readlink())}, which is "
                        f"not there; mend the link, or leave it out with {excluding([escape(name)])}"
                    )

    def _count_loose(self, folder: Path) -> None:
        """Counts the files that lie in a folder itself, where only folders are used."""
        here = Listing()
        for path in folder.iterdir():
            if not path.is_dir():
                sort_in(path, self.root, self.exclude, here)
        self.loose += len(here.images)
        here.images.clear()
        self.found.add(here)

    def _unwrapped(self, folder: Path, split: str) -> Path:
        """The folder of class folders; some archives have "train/train/..." or "train/images/..."."""
        inner = self._peek(folder)
        if len(inner) == 1 and (folder_split(inner[0].name) == split or self._is_container(inner[0])):
            self._folders(folder)  # What is passed over beside it is noted.
            self._count_loose(folder)
            return self._unwrapped(inner[0], split)
        named = next((path.name for path in inner if folder_split(path.name)), None)
        if named is not None:
            raise DataError(
                f"{folder} has a class folder that is named as a split ('{named}'): rename it, or leave it "
                f"out with {excluding([escape(named)])}"
            )
        return folder

    def _is_container(self, folder: Path) -> bool:
        return tells_no_class(folder.name) and bool(self._peek(folder))

    def _peek(self, folder: Path) -> list[Path]:
        """The folders in a folder that may be of classes; what is passed over is not noted."""
        inner = [path for path in sorted(folder.iterdir()) if path.is_dir()]
        return [path for path in inner if not is_passed(path, self.root, self.exclude, Listing())]

    def _refuse_a_wrapper(self, folders: list[Path]) -> None:
        """Refuses a root whose only folder holds what its own folders should be."""
        place, inside = self.root, folders
        while len(inside) == 1 and not any(map(self._is_image, inside[0].iterdir())):
            place, inside = inside[0], self._peek(inside[0])
        if place != self.root and len(inside) > 1:
            raise DataError(
                f"{self.root} holds a single folder, and the class folders lie in it: give --root "
                f"{shlex.quote(printable(place))}"
            )

    def _is_image(self, path: Path) -> bool:
        here = Listing()
        if not path.is_dir():
            sort_in(path, self.root, self.exclude, here)
        return bool(here.images)

    def _below(self, folders: list[Path], split: str) -> list[SortedImage]:
        """The images below class folders."""
        images: list[SortedImage] = []
        for folder in folders:
            self.places.setdefault(folder.name, folder)
            inside = walk(folder, self.exclude, self.root)
            if not inside.images and any(map(is_ours, folder.iterdir())):
                inside.passed.append(folder.name)
            elif not inside.images and not inside.excluded:
                self._refuse_an_empty_class(folder, inside)
            images += self._images(folder, inside.images, split)
            self.found.add(inside)
        return images

    def _refuse_an_empty_class(self, folder: Path, inside: Listing) -> NoReturn:
        others = f" ({counted(inside.others)})" if inside.others else ""
        raise DataError(
            f"class '{printable(folder.name)}' is empty: {printable(folder)} has no image{others}; if it "
            "is no class, leave it out with "
            f"{excluding([escape(folder.relative_to(self.root).as_posix())])}"
        )

    def _images(self, folder: Path, paths: Sequence[Path], split: str) -> list[SortedImage]:
        """The images of a class; where no folder above says the split, one below may: "nevus/train/x.png"."""
        parts = {path: path.relative_to(folder).parts[:-1] for path in paths}
        first = sorted({below[0] for below in parts.values() if below})
        own = {name: folder_split(name) for name in first}
        splits = read_splits(first, folder, within=True) if not split and len(first) <= _FEW else own
        return [self._image(path, folder.name, parts[path], split, splits) for path in paths]

    def _image(
        self, path: Path, name: str, below: Sequence[str], split: str, splits: Mapping[str, str]
    ) -> SortedImage:
        file = path.relative_to(self.root).as_posix()
        own = splits[below[0]] if below else ""
        if own and split and own != split:
            raise DataError(
                f"image {printable(file)} lies in folders of two splits; leave it out with "
                f"{excluding([escape(file)])}"
            )
        return SortedImage(file, name, split or own, "/".join(below[1:] if own else below))
