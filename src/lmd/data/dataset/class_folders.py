"""Images sorted into class folders, with or without folders of splits: every file is used or counted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from lmd.data.dataset.checks import SPLITS
from lmd.data.dataset.given_splits import folder_split
from lmd.data.decode.files import Listing, is_ours, is_passed, printable, sort_in, walk
from lmd.errors import DataError


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
    found: Listing = field(default_factory=Listing)
    loose: int = 0
    """images that lie in no class folder"""

    def images(self) -> list[SortedImage]:
        """Returns all images of all class folders, by split and class.

        Raises:
            DataError: a class folder is empty, or the folders do not say the split of each image.
        """
        images = [image for folders, split in self._places() for image in self._below(folders, split)]
        with_split = sum(bool(image.split) for image in images)
        if with_split not in (0, len(images)):
            first = next(image.file for image in images if not image.split)
            raise DataError(
                f"{self.root}: {with_split} images lie in folders of splits, and {len(images) - with_split} "
                f"do not (first: {printable(first)}); sort all of them by split, or none"
            )
        return images

    def lines(self) -> list[str]:
        """Returns what is to be told of files that are not used."""
        loose = [f"{self.loose} images lie in no class folder and are left out"] if self.loose else []
        return [*loose, *self.found.lines(self.exclude)]

    def _places(self) -> list[tuple[list[Path], str]]:
        """The class folders with their split: those of the root, or those of each folder of a split."""
        splits = {folder: folder_split(folder.name) for folder in self._folders(self.root)}
        given = [folder for folder, split in splits.items() if split]
        if not given:
            self._refuse_a_wrapper(list(splits))
            return [(self._classes(self.root, list(splits)), "")]
        others = [folder.name for folder, split in splits.items() if not split]
        if others:
            raise DataError(
                f"{self.root} has folders of splits ({given[0].name}) and others ({printable(others[0])}): "
                "sort the images either by split and class, or by class alone, where no class is named as a "
                "split; leave a folder out with --exclude"
            )
        self._count_loose(self.root)
        given.sort(key=lambda folder: (SPLITS.index(splits[folder]), folder))
        parents = [(self._unwrapped(folder, splits[folder]), splits[folder]) for folder in given]
        return [(self._classes(parent, self._folders(parent)), split) for parent, split in parents]

    def _classes(self, parent: Path, folders: list[Path]) -> list[Path]:
        """The class folders of a folder, and its loose files counted."""
        if not folders:
            raise DataError(f"{parent} has no class folders")
        self._count_loose(parent)
        return folders

    def _folders(self, folder: Path) -> list[Path]:
        """The folders in a folder that may be of classes; a link to one is followed."""
        folders = [path for path in sorted(folder.iterdir()) if path.is_dir()]
        return [path for path in folders if not is_passed(path, self.root, self.exclude, self.found)]

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
        """The folder of class folders; some archives have "train/train/..."."""
        inner = [path for path in folder.iterdir() if path.is_dir()]
        if len(inner) == 1 and folder_split(inner[0].name) == split:
            return inner[0]
        named = next((path.name for path in inner if folder_split(path.name)), None)
        if named is not None:
            raise DataError(
                f"{folder} has a class folder that is named as a split ('{named}'): rename it, or leave it "
                "out with --exclude"
            )
        return folder

    def _refuse_a_wrapper(self, folders: list[Path]) -> None:
        """Refuses a root whose only folder holds what its own folders should be."""
        if len(folders) == 1:
            inside = list(folders[0].iterdir())
            if sum(path.is_dir() for path in inside) > 1 and not any(path.is_file() for path in inside):
                raise DataError(
                    f"{self.root} holds a single folder, and the class folders lie in it: give --root "
                    f"{folders[0]}"
                )

    def _below(self, folders: list[Path], split: str) -> list[SortedImage]:
        """The images below class folders."""
        images: list[SortedImage] = []
        for folder in folders:
            inside = walk(folder, self.exclude, self.root)
            if not inside.images and any(map(is_ours, folder.iterdir())):
                inside.passed.append(folder.name)
            elif not inside.images and not inside.excluded:
                raise DataError(
                    f"class '{printable(folder.name)}' is empty: {printable(folder)} has no image"
                )
            images += [self._image(path, folder, split) for path in inside.images]
            self.found.add(inside)
        return images

    def _image(self, path: Path, folder: Path, split: str) -> SortedImage:
        """An image; where no folder above its class says the split, one below may: "nevus/train/x.png"."""
        parts = path.relative_to(folder).parts[:-1]
        file = path.relative_to(self.root).as_posix()
        own = folder_split(parts[0]) if parts else ""
        if own and split and own != split:
            raise DataError(f"image {printable(file)} lies in folders of two splits")
        return SortedImage(file, folder.name, split or own, "/".join(parts[1:] if own else parts))
