"""The fingerprint in words, for the terminal."""

from __future__ import annotations

from collections.abc import Mapping

from lmd.data.audit.persons import unknown_persons
from lmd.data.audit.results import FileFacts, Fingerprint, GroupSizes, NearDuplicates, NearPair
from lmd.data.audit.wrong import first_names
from lmd.data.dataset.checks import SPLITS
from lmd.data.dataset.manifest import Dataset
from lmd.data.decode.levels import few_bits
from lmd.text import FEW, FEW_NOTE, image_count, in_columns, numbered

_SHOWN = 5  # Lines that are shown of a long list.


def summary_lines(dataset: Dataset) -> list[str]:
    """Returns what `prepare` says of the folder it made."""
    counts = ", ".join(f"{split} {len(dataset.split(split))}" for split in SPLITS)
    skipped = dataset.info.recipe.get("skipped", 0)
    lines = [
        f"{dataset.folder}: {numbered(len(dataset.table), 'image')}, {len(dataset.classes)} classes "
        f"({counts})"
    ]
    lines += in_columns(_class_rows(dataset))
    if skipped:
        lines.append(
            f"{numbered(skipped, 'image or row', 'images or rows')} left out, listed in "
            f"{dataset.folder / 'skipped.csv'}"
        )
    return lines


def _class_rows(dataset: Dataset) -> list[list[str]]:
    """Each class with its images in each split, and in all."""
    counts = {split: dataset.counts(split).tolist() for split in SPLITS}
    rows = [[counts[split][k] for split in SPLITS] for k in range(len(dataset.classes))]
    named = zip(dataset.classes, rows, strict=True)
    return [["class", *SPLITS, "all"], *([name, *map(str, row), str(sum(row))] for name, row in named)]


def format_fingerprint(found: Fingerprint) -> list[str]:
    """Returns the fingerprint as lines for the terminal; the last ones say what is wrong."""
    lines = [f"{found.title}: {found.images} images, {len(found.classes)} classes"]
    lines += in_columns(count_rows(found))
    lines.append(f"{imbalance_words(found.imbalance)}; {found.bands_rule}")
    lines += [*_group_lines(found), *worth_lines(found), *file_lines(found), *_copy_lines(found)]
    lines += unknown_persons(found.grouping)
    if found.wrong:
        return [*lines, f"wrong ({len(found.wrong)}):", *(f"  {line}" for line in found.wrong)]
    return [*lines, "nothing is wrong" if found.grouping.knows_patients else "nothing else was found"]


def imbalance_words(imbalance: float | None) -> str:
    """Returns how unequal the classes are in training.

    >>> imbalance_words(12.5), imbalance_words(None)
    ('imbalance in training: 12.5', 'no training images: a set for testing alone')
    """
    if imbalance is None:
        return "no training images: a set for testing alone"
    return f"imbalance in training: {imbalance:.1f}"


def count_rows(found: Fingerprint) -> list[list[str]]:
    """Returns the rows class, band, one count for each split, and all; the first row is the header."""
    names = {name: band for band, members in found.bands.items() for name in members}
    rows = [["class", "band", *SPLITS, "all"]]
    for k, name in enumerate(found.classes):
        numbers = [found.counts[split][k] for split in SPLITS]
        rows.append([name, names.get(name, ""), *_marked(numbers), str(sum(numbers))])
    totals = [sum(found.counts[split]) for split in SPLITS]
    return [*rows, ["all", "", *_marked(totals), str(sum(totals))]]


def _marked(numbers: list[int]) -> list[str]:
    """The counts of training, validation and test; those that something is measured on, marked if small."""
    train, *measured = numbers
    return [str(train), *map(image_count, measured)]


def _few_lines(found: Fingerprint) -> list[str]:
    """What the mark means, where there is one."""
    counts = [number for split in SPLITS[1:] for number in found.counts[split]]
    return [FEW_NOTE] if any(0 < number < FEW for number in counts) else []


def _group_lines(found: Fingerprint) -> list[str]:
    crossing = found.crossing_groups
    lines = [
        f"groups: {found.num_groups} ({found.grouping.level}), of which {len(crossing)} have images in more "
        "than one split",
        per_group_line(found.images_per_group),
    ]
    for entry in crossing[:_SHOWN]:
        splits = ", ".join(entry.splits)
        lines.append(f"  group {entry.group[1:]}: {first_names(entry.ids)} (in {splits})")
    if crossing[_SHOWN:]:
        lines.append(f"  and {numbered(len(crossing) - _SHOWN, 'more group')}")
    return lines


def per_group_line(sizes: GroupSizes) -> str:
    """Returns how many groups have how many images, in words."""
    return (
        f"images per group: {numbered(sizes.one, 'group')} with 1, {sizes.two} with 2, {sizes.three} with 3, "
        f"{sizes.more} with more (at most {sizes.largest})"
    )


def worth_lines(found: Fingerprint) -> list[str]:
    """Returns what one test image is worth, for each class where that is much."""
    if found.smallest_test_class is None:
        return ["there is no test split", *_few_lines(found)]
    lines = [
        f"class {name} has no test image: its recall cannot be measured" for name in found.without["test"]
    ]
    for row in found.worth:
        shown = image_count(row.n)
        images = f"{shown} test image: it" if row.n == 1 else f"{shown} test images: one image"
        lines.append(
            f"class {row.name} has {images} is {row.points_of_recall:.1f} points of its recall and "
            f"{row.points_of_bacc:.1f} of balanced accuracy"
        )
    return [*lines, *_few_lines(found)]


def file_lines(found: Fingerprint) -> list[str]:
    """Returns what the image files are."""
    files = found.files
    if files is None:
        return ["the image files were not opened: nothing is said of sizes, damage and copies"]
    lines: list[str] = []
    if found.list_only and files.missing:
        are = "is" if len(files.missing) == 1 else "are"
        lines.append(
            f"the data set is a list: {len(files.missing)} of its {found.images} images {are} not there; "
            "sizes, damage and copies are told of the rest alone"
        )
    lines += _kind_lines(files)
    lines += [f"broken: {bad.reason}" for bad in files.broken[:_SHOWN]]
    if files.broken[_SHOWN:]:
        lines.append(f"broken: {len(files.broken) - _SHOWN} more")
    if files.changed:
        lines.append(
            f"changed since preparing (written after the manifest): {numbered(len(files.changed), 'image')}, "
            f"{first_names(files.changed)}"
        )
    return lines


def _kind_lines(files: FileFacts) -> list[str]:
    if files.shorter_side is None or files.aspect is None:
        return []
    low, middle, high = files.shorter_side
    least, median, most = files.aspect
    dark = few_bits(files.largest_of_16_bits or 0)
    return [
        f"formats: {_counts(files.formats)}; colour modes: {_counts(files.modes)}",
        f"sizes: {_counts(files.sizes)}; shorter side {low:g} to {high:g}, median {middle:g}; "
        f"width / height {least:.2f} to {most:.2f}, median {median:.2f}",
        *([] if dark is None else [dark]),
    ]


def _copy_lines(found: Fingerprint) -> list[str]:
    identical, near = found.identical, found.near
    lines = [
        f"identical images: {first_names(entry.ids)} (in {', '.join(entry.splits)})"
        for entry in identical[:_SHOWN]
    ]
    if identical[_SHOWN:]:
        lines.append(f"identical images: {numbered(len(identical) - _SHOWN, 'more set')}")
    if near is None:
        return lines
    lines.append(near_line(near))
    return [*lines, *(f"  {first_names(pair.ids)}: {pair_words(pair)}" for pair in near.pairs[:_SHOWN])]


def near_line(near: NearDuplicates) -> str:
    """Returns how many pairs are near duplicates, and what that means."""
    least = "" if near.complete else "at least "
    noun = "pair" if near.count == 1 else "pairs"
    return (
        f"near duplicates: {least}{near.count} {noun} ({near.across} across splits, "
        f"{near.other_group} of different groups, {near.other_label} of different classes); "
        f"at most {near.bits} of {near.of} bits differ, pixels correlate {near.agreement:g} or more"
    )


def pair_words(pair: NearPair) -> str:
    """Returns what is to be said of two pictures that are nearly the same."""
    same = "the same group" if pair.groups[0] == pair.groups[1] else "different groups"
    splits, labels = (" and ".join(dict.fromkeys(values)) for values in (pair.splits, pair.labels))
    turned = ", turned or mirrored" if pair.turned else ""
    return f"{splits}; {labels}; {same}; {pair.bits} bits{turned}"


def _counts(tally: Mapping[str, int], shown: int = 4) -> str:
    words = [f"{name} {count}" for name, count in list(tally.items())[:shown]]
    return ", ".join(words) + (f" and {len(tally) - shown} more" if len(tally) > shown else "")
