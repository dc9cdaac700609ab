"""What must not be so in a data set, one line each: `lmd inspect --strict` fails on any."""

from __future__ import annotations

from lmd.data.audit.results import Fingerprint
from lmd.data.decode.files import printable
from lmd.text import listed, numbered


def wrong_lines(found: Fingerprint) -> list[str]:
    """Returns what is wrong: leaks between splits, lacking or damaged images, copies."""
    return [*_wrong_splits(found), *_wrong_files(found), *_wrong_copies(found)]


def _wrong_splits(found: Fingerprint) -> list[str]:
    lines = [
        f"column '{name}' looks like persons or lesions and was not used: images of one lie in several groups"
        for name in found.grouping.unused
    ]
    leaked, crossing = found.leakage, len(found.crossing_groups)
    if leaked.groups:
        lines.append(
            f"leak: {leaked.test_images} of {leaked.of_test_images} test images are of a group "
            f"(lesion, patient) that is also in training ({numbered(leaked.groups, 'group')})"
        )
    if crossing > leaked.groups:
        lines.append(
            f"leak: {numbered(crossing, 'group in all has', 'groups in all have')} images in more than "
            "one split"
        )
    # A set without training images is for testing a model of other images: what it has is enough.
    for split, names in (found.without if found.imbalance is not None else {}).items():
        if len(names) == len(found.classes):
            lines.append(f"there is no {split} split")
        elif names:
            lines.append(f"no {split} image: {_some(names, 'class', 'classes')}")
    return lines


def _wrong_files(found: Fingerprint) -> list[str]:
    files = found.files
    if files is None:
        return []
    lines: list[str] = []
    if files.broken:
        lines.append(f"broken: {_some([bad.file for bad in files.broken], 'image', 'images')}")
    if files.missing and not found.list_only:
        lines.append(f"missing: {_some(files.missing, 'image', 'images')}")
    return lines


def _wrong_copies(found: Fingerprint) -> list[str]:
    across = sum(len(entry.splits) > 1 for entry in found.identical)
    contradictory, near = found.contradictory, found.near
    lines: list[str] = []
    if across:
        lines.append(f"identical images in more than one split: {_sets(across)}")
    if contradictory:
        first = contradictory[0]
        lines.append(
            f"identical images with different labels: {_sets(len(contradictory))}, first "
            f"{first_names(first.ids)} ({', '.join(first.labels)})"
        )
    if near and near.across:
        lines.append(
            f"nearly the same picture in two splits: {numbered(near.across, 'pair')} ({near.train_test} "
            "of them in training and test)"
        )
    return lines


def _sets(count: int) -> str:
    return f"{count} set{'' if count == 1 else 's'}"


def _some(names: list[str], one: str, many: str) -> str:
    return f"{len(names)} {one if len(names) == 1 else many} ({first_names(names)})"


def first_names(names: list[str], shown: int = 5) -> str:
    """Returns the first names, and how many more there are.

    >>> first_names(["a", "b", "c"], 2)
    'a, b and 1 more'
    """
    return listed([printable(name) for name in names], shown)
