"""What an audit of a data set found, as typed values; `lmd inspect --json` writes them."""

from __future__ import annotations

import json
from pathlib import Path

from pydantic import ConfigDict, Field

from lmd.data.dataset.checks import Leakage
from lmd.data.dataset.meaning.grouping import Grouping
from lmd.files import atomic_write
from lmd.settings import Settings


class Found(Settings):
    """A part of a fingerprint. A field with an alias bears that name in JSON."""

    model_config = ConfigDict(populate_by_name=True)


class GroupSizes(Found):
    """How many groups have one image, two, three, and more."""

    one: int = Field(alias="1")
    two: int = Field(alias="2")
    three: int = Field(alias="3")
    more: int
    largest: int
    """images of the largest group"""


class CrossingGroup(Found):
    """A group with images in more than one split."""

    group: str
    """its number ("g0"); the name may be a patient's"""
    splits: list[str]
    ids: list[str]


class Worth(Found):
    """What one test image of a class is worth; None where the class has none."""

    name: str = Field(alias="class")
    n: int
    """test images of the class"""
    points_of_recall: float | None
    points_of_bacc: float | None


class BrokenFile(Found):
    """An image file that cannot be read."""

    file: str
    reason: str


class FileFacts(Found):
    """What the image files are."""

    read: int
    """files that could be read"""
    missing: list[str]
    broken: list[BrokenFile]
    changed: list[str]
    """files that were written after the manifest"""
    formats: dict[str, int]
    modes: dict[str, int]
    """colour modes, as Pillow names them"""
    sizes: dict[str, int]
    """width x height in pixels, as shown"""
    shorter_side: list[float] | None
    """least, median and greatest, in pixels"""
    aspect: list[float] | None
    """least, median and greatest width / height"""
    largest_of_16_bits: int | None = None
    """largest value of the grey images with 16 bits; None where there are none or `--bits` was given"""


class Identical(Found):
    """Images whose files are byte for byte the same."""

    ids: list[str]
    splits: list[str]


class Contradictory(Found):
    """Identical images with different labels."""

    ids: list[str]
    labels: list[str]


class NearPair(Found):
    """Two images that show nearly the same picture."""

    rows: list[int]
    """their rows in the manifest, from 0"""
    ids: list[str]
    splits: list[str]
    labels: list[str]
    groups: list[str]
    bits: int
    """bits in which their hashes differ"""
    agreement: float
    """correlation of their pixels"""
    turned: bool
    """whether one is a turned or mirrored copy"""


class NearDuplicates(Found):
    """All pairs of nearly the same picture, counted; the foremost of them described."""

    bits: int
    """bits of the hash that may differ"""
    of: int
    """bits of the hash"""
    agreement: float
    """least correlation of the pixels"""
    complete: bool
    """whether the search came to its end: it stops when there are very many"""
    count: int
    across: int
    """pairs in two splits"""
    train_test: int
    """pairs in training and test"""
    other_group: int
    """pairs of different groups"""
    other_label: int
    """pairs of different classes"""
    pairs: list[NearPair]


class Fingerprint(Found):
    """What to know of a data set before anyone trains on it."""

    title: str
    images: int
    list_only: bool
    """whether the images need not be there"""
    counts: dict[str, list[int]]
    """images of each class, by split"""
    classes: list[str]
    imbalance: float | None
    """training images of the largest class over those of the smallest; None where there are none"""
    bands: dict[str, list[str]] = Field(alias="groups")
    bands_rule: str = Field(alias="groups_rule")
    num_groups: int = Field(alias="lesions")
    grouping: Grouping
    """what a group is, and which columns look like persons and were not used"""
    images_per_group: GroupSizes
    crossing_groups: list[CrossingGroup]
    leakage: Leakage
    smallest_test_class: Worth | None
    """None where there is no test split"""
    worth: list[Worth]
    """for the smallest test class, and for each other where one image is worth much"""
    without: dict[str, list[str]]
    """classes without an image in the split, by split"""
    files: FileFacts | None
    """None where no file was opened"""
    identical: list[Identical]
    contradictory: list[Contradictory]
    near: NearDuplicates | None
    wrong: list[str]
    """what must not be so, one line each"""


def write_fingerprint(path: Path, found: Fingerprint) -> Path:
    """Writes a fingerprint as JSON, whole or not at all, and returns its path."""
    tree = found.model_dump(mode="json", by_alias=True)
    atomic_write(path, json.dumps(tree, indent=2, ensure_ascii=False) + "\n")
    return path
