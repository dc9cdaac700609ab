"""The fingerprint in words, for the terminal."""

from __future__ import annotations

from lmd.data.dataset.manifest import SPLITS
from lmd.data.decode.images import printable
from lmd.settings import Tree

_SHOWN = 5  # Of a long list, so many lines tell what is the matter.


def format_fingerprint(found: Tree) -> list[str]:
    """Returns the fingerprint as lines for the terminal; the last ones say what is wrong."""
    lines = [f"{found['title']}: {found['images']} images, {len(found['classes'])} classes"]
    lines += _aligned(count_rows(found))
    lines.append(f"imbalance in training: {found['imbalance']:.1f}; {found['groups_rule']}")
    lines += [*_group_lines(found), *worth_lines(found), *file_lines(found), *_copy_lines(found)]
    if found["wrong"]:
        return [*lines, f"wrong ({len(found['wrong'])}):", *(f"  {line}" for line in found["wrong"])]
    return [*lines, "nothing is wrong"]


def count_rows(found: Tree) -> list[list[str]]:
    """Returns the rows class, group, one count for each split, and all; the first row is the header."""
    names = {name: group for group, members in found["groups"].items() for name in members}
    rows = [["class", "group", *SPLITS, "all"]]
    for k, name in enumerate(found["classes"]):
        numbers = [found["counts"][split][k] for split in SPLITS]
        rows.append([name, names.get(name, ""), *map(str, numbers), str(sum(numbers))])
    totals = [sum(found["counts"][split]) for split in SPLITS]
    return [*rows, ["all", "", *map(str, totals), str(sum(totals))]]


def _aligned(rows: list[list[str]]) -> list[str]:
    widths = [max(len(row[k]) for row in rows) for k in range(len(rows[0]))]
    return ["  ".join(word.ljust(width) for word, width in zip(row, widths, strict=True)) for row in rows]


def _group_lines(found: Tree) -> list[str]:
    crossing, per = found["crossing_groups"], found["images_per_group"]
    lines = [
        f"groups: {found['lesions']}, of which {len(crossing)} have images in more than one split",
        per_group_line(per),
    ]
    for entry in crossing[:_SHOWN]:
        lines.append(
            f"  group {entry['group'][1:]}: {_names(entry['ids'])} (in {', '.join(entry['splits'])})"
        )
    if crossing[_SHOWN:]:
        lines.append(f"  and {len(crossing) - _SHOWN} more groups")
    return lines


def per_group_line(per: Tree) -> str:
    """Returns how many groups have how many images, in words."""
    return (
        f"images per group: {per['1']} groups with 1, {per['2']} with 2, {per['3']} with 3, "
        f"{per['more']} with more (at most {per['largest']})"
    )


def worth_lines(found: Tree) -> list[str]:
    """Returns what one test image is worth, for each class where that is much."""
    smallest = found["smallest_test_class"]
    if smallest is None:
        return ["there is no test split"]
    lines = [
        f"class {name} has no test image: its recall cannot be measured" for name in found["without"]["test"]
    ]
    for row in found["worth"]:
        images = "1 test image: it" if row["n"] == 1 else f"{row['n']} test images: one image"
        lines.append(
            f"class {row['class']} has {images} is {row['points_of_recall']:.1f} points of its recall and "
            f"{row['points_of_bacc']:.1f} of balanced accuracy"
        )
    return lines


def file_lines(found: Tree) -> list[str]:
    """Returns what the image files are."""
    files = found["files"]
    if files is None:
        return ["the image files were not opened: nothing is said of sizes, damage and copies"]
    lines = []
    if found["list_only"] and files["missing"]:
        lines.append(
            f"the data set is a list: {len(files['missing'])} of its {found['images']} images are not there; "
            "sizes, damage and copies are told of the rest alone"
        )
    lines += _kind_lines(files) if files["read"] else []
    lines += [f"broken: {bad['reason']}" for bad in files["broken"][:_SHOWN]]
    if files["broken"][_SHOWN:]:
        lines.append(f"broken: {len(files['broken']) - _SHOWN} more")
    if files["changed"]:
        lines.append(
            f"changed since preparing (written after the manifest): {len(files['changed'])} images, "
            f"{_names(files['changed'])}"
        )
    return lines


def _kind_lines(files: Tree) -> list[str]:
    low, middle, high = files["shorter_side"]
    least, median, most = files["aspect"]
    return [
        f"formats: {_counts(files['formats'])}; colour modes: {_counts(files['modes'])}",
        f"sizes: {_counts(files['sizes'])}; shorter side {low:g} to {high:g}, median {middle:g}; "
        f"width / height {least:.2f} to {most:.2f}, median {median:.2f}",
    ]


def _copy_lines(found: Tree) -> list[str]:
    identical, near = found["identical"], found["near"]
    lines = [
        f"identical images: {_names(entry['ids'])} (in {', '.join(entry['splits'])})"
        for entry in identical[:_SHOWN]
    ]
    if identical[_SHOWN:]:
        lines.append(f"identical images: {len(identical) - _SHOWN} more sets")
    if near is None:
        return lines
    lines.append(near_line(near))
    for pair in near["pairs"][:_SHOWN]:
        lines.append(f"  {_names(pair['ids'])}: {pair_words(pair)}")
    return lines


def near_line(near: Tree) -> str:
    """Returns how many pairs are near duplicates, and what that means."""
    least = "" if near["complete"] else "at least "
    return (
        f"near duplicates: {least}{near['count']} pairs ({near['across']} across splits, "
        f"{near['other_group']} of different groups, {near['other_label']} of different classes); "
        f"at most {near['bits']} of {near['of']} bits differ, pixels correlate {near['agreement']:g} or more"
    )


def pair_words(pair: Tree) -> str:
    """Returns what is to be said of two pictures that are nearly the same."""
    groups = pair["groups"]
    same = "the same group" if groups[0] == groups[1] else "different groups"
    splits, labels = (" and ".join(dict.fromkeys(pair[name])) for name in ("splits", "labels"))
    turned = ", turned or mirrored" if pair["turned"] else ""
    return f"{splits}; {labels}; {same}; {pair['bits']} bits{turned}"


def _counts(tally: Tree, shown: int = 4) -> str:
    words = [f"{name} {count}" for name, count in list(tally.items())[:shown]]
    return ", ".join(words) + (f" and {len(tally) - shown} more" if len(tally) > shown else "")


def _names(names: list[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(printable(name) for name in names[:_SHOWN]) + more
