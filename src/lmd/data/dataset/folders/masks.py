"""Masks among images, known by their names or folders: they are no images to be trained on."""

from __future__ import annotations

import re
import shlex
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from functools import cache
from glob import escape
from pathlib import Path, PurePosixPath

from lmd.data.dataset.meaning.columns import tokens
from lmd.data.dataset.meaning.locate import stem
from lmd.data.decode.excluded import matches
from lmd.data.decode.files import printable
from lmd.errors import DataError
from lmd.text import numbered

# Folders of these names hold masks, whatever the files in them are named.
_SURE = frozenset(
    "mask masks msk msks segmentation segmentations segmentationmask segmentationmasks "
    "groundtruth groundtruths maske masken masque masques mascara mascaras máscara máscaras "
    "superpixels 掩码 掩膜".split()
)
# Folders of these names do where the files in them are named as images elsewhere.
_LIKELY = frozenset(
    "seg segs segm gt gts annotation annotations anno annot annots label labels contour contours "
    "overlay overlays outline outlines manual roi rois heatmap heatmaps bbox bboxes boundary "
    "boundaries attribute attributes truth truths superpixel 标注 标签".split()
)
_BESIDE = frozenset(
    "image images img imgs binary data folder files file png jpg bmp tif tiff train training val "
    "validation test testing pixel pixelwise level of the lesion lesions lung input set expert "
    "reference ref".split()
)
_NEGATIONS = frozenset("with without no not non un wo".split())
_IN_NAMES = {*_SURE, *_LIKELY, "ground_truth", "lesion", "msk", "ann", "annotated", "segmented", "binary"} - {
    "attributes",
    "truths",
    "heatmaps",
    "rois",
}
_WORD = "|".join(sorted((word.replace("_", r"[ _\-]?") for word in _IN_NAMES), key=len, reverse=True))
_MARK = re.compile(rf"[\s_.\-(\[]*(?:{_WORD})")
_MARK_BEFORE = re.compile(rf"(?:{_WORD})[\s_.\-]*")
_IMAGE = r"(?:image|img|im|photo|original|orig|raw|input)"  # "image_1.png" beside "mask_1.png".
_MARKED_IMAGE = re.compile(rf"{_IMAGE}[\s_.\-]*(?P<back>.+)|(?P<front>.+?)[\s_.\-]*{_IMAGE}")
_GLUED = re.compile(r"\w+?(masks?|segmentations?)|(masks?|segmentations?)(?:images?|files?)")
_SHOWN = 5


def excluding(patterns: Iterable[str]) -> str:
    """Returns the options that leave out patterns, as a shell takes them.

    >>> excluding(["*_GT.png", "b"])
    "--exclude '*_GT.png' --exclude 'b'"
    """
    quoted = (shlex.quote(printable(pattern)) for pattern in patterns)
    return " ".join(f"--exclude {word}" if word[0] == "'" else f"--exclude '{word}'" for word in quoted)


def told_masks(files: Sequence[str]) -> Iterator[str]:
    """Yields what is to be told of files that are named as the mask of another one: "x0_mask"."""
    masks = named_masks(files)
    if masks:
        patterns = _exact(masks, files)
        out = (
            f"leave them out with {excluding(patterns)}" if patterns else "move them out of the class folders"
        )
        yield (
            f"{numbered(len(masks), 'file is named as a mask', 'files are named as masks')} of other images "
            f"(first: {printable(next(iter(masks)))}); {out}"
        )


def named_masks(files: Sequence[str]) -> dict[str, str]:
    """Returns the files that are named as the mask of another one, each with a pattern for such names.

    >>> named_masks(["a/x0.png", "a/x0_GT.png", "b/mask x0.png", "a/x1.png", "a/x2_mask.png"])
    {'a/x0_GT.png': '*_GT.png', 'b/mask x0.png': 'mask *'}
    """
    stems = _bases({stem(file) for file in files})
    return {file: pattern for file in files if (pattern := _pattern(file, stems))}


def _bases(stems: Set[str]) -> set[str]:
    """What masks may be named after: the stems of files, also without a word for an image."""
    found = (_MARKED_IMAGE.fullmatch(name) for name in stems)
    return {*stems, *(match["back"] or match["front"] for match in found if match)}


def _pattern(file: str, stems: Set[str]) -> str:
    """The pattern of a mask's name, in the case in which it is written; "" for what is no mask."""
    name, path = stem(file), PurePosixPath(file)
    for start, end in _readings(name):
        base = name[:start] or name[end:]
        if base not in stems:
            continue
        if path.name[: len(name)].casefold() != name:  # Its letters cannot be told one by one.
            return escape(file)
        mark = escape(path.name[start:end])
        if start == 0:
            return f"{mark}*"
        return f"*{mark}*" if name[end:] else f"*{mark}{escape(path.name[len(name) :])}"
    return ""


def _readings(name: str) -> Iterator[tuple[int, int]]:
    """Where a word for a mask stands in a name, with what parts it from the rest."""
    before = _MARK_BEFORE.match(name)
    if before and before.end() < len(name):
        yield before.span()
    for found in _MARK.finditer(name):
        if found.start() and not name[found.end() : found.end() + 1].isalpha():
            yield found.span()


def _exact(masks: dict[str, str], files: Sequence[str]) -> list[str]:
    """Patterns that leave out these masks and nothing else; none where they would be too many."""
    patterns: list[str] = []
    found = set(masks.values())
    for pattern in sorted(one for one in found if not any(matches(one, [two]) for two in found - {one})):
        fitting = [file for file in files if matches(file, [pattern])]
        own = [file for file in masks if masks[file] == pattern]
        patterns += (
            [pattern]
            if all(file in masks or _is_surely_named(file) for file in fitting)
            else map(escape, own)
        )
    return patterns if len(patterns) <= _SHOWN else []


def _is_surely_named(file: str) -> bool:
    """Whether a file is named as a mask, though its image is not there."""
    name = stem(file)
    return any(set(_words(name[start:end])) & _SURE for start, end in _readings(name))


def refuse_mask_folders(files: Sequence[str], root: Path) -> None:
    """Refuses images that lie in folders of masks, such as "COVID/masks" beside "COVID/images".

    Raises:
        DataError: there are such folders, named with the pattern that leaves them out.
    """
    found = {file: name for file in files if (name := _mask_folder(PurePosixPath(file).parent.as_posix()))}
    sure = {name for name in set(found.values()) if _is_sure(name) or _are_named_alike(name, found, files)}
    masks = [file for file, name in found.items() if name in sure]
    if masks:
        lie = "lies" if len(masks) == 1 else "lie"
        raise DataError(
            f"{len(masks)} of {len(files)} images in {root} {lie} in folders of masks (first: "
            f"{printable(masks[0])}) and would be trained on; leave them out with "
            f"{excluding(map(escape, sorted(sure)))}, or rename the folder if these are images"
        )


@cache
def _mask_folder(folder: str) -> str:
    """The first part of a path that may be a folder of masks; "" without any."""
    return next((part for part in PurePosixPath(folder).parts if _has_word(part)), "")


def _words(name: str) -> list[str]:
    """The words of a name without numbers; "ground truth" is one."""
    joined = re.sub(r"(?i)ground[\s_\-]*truth", "groundtruth", name)
    words = [word for word in tokens(joined) if not word.isdigit()]
    return [found[1] or found[2] if (found := _GLUED.fullmatch(word)) else word for word in words]


def _has_word(name: str) -> bool:
    words = set(_words(name))
    return bool(words & (_SURE | _LIKELY)) and not words & _NEGATIONS


def _is_sure(name: str) -> bool:
    return all(word in _SURE | _LIKELY | _BESIDE or len(word) == 1 for word in _words(name)) and bool(
        set(_words(name)) & _SURE
    )


def _are_named_alike(name: str, found: dict[str, str], files: Sequence[str]) -> bool:
    """Whether at least half of the files in folders of a name are named as one file elsewhere."""
    inside = [file for file, folder in found.items() if folder == name]
    others: dict[str, list[str]] = defaultdict(list)
    for file in files:
        if file not in found:
            others[stem(file)].append(file)
    bases = _bases(others.keys())
    alike = sum(_has_one_like_it(file, name, others) or bool(_pattern(file, bases)) for file in inside)
    return alike >= len(inside) / 2


def _has_one_like_it(file: str, name: str, others: Mapping[str, Sequence[str]]) -> bool:
    """Whether one file beside a folder has the name of a file in it; where many have, it is a mere number."""
    parts = file.split("/")[:-1]
    place = parts.index(name)
    above, below = parts[:place], parts[place + 1 :]
    like = [other.split("/")[:-1] for other in others.get(stem(file), ())]
    like = [folders for folders in like if folders[:place] == above]
    rest = [word for word in _words(name) if word not in _SURE | _LIKELY]  # "COVID" of "COVID masks".
    nearer = [
        folders for folders in like if (below and folders[-len(below) :] == below)
        or (rest and [_words(folder) for folder in folders[place : place + 1]] == [rest])
    ]  # fmt: skip
    return len(nearer or like) == 1
