"""Whether the folders that are taken for the classes are the classes, or lie a level too high."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from glob import escape
from pathlib import Path

from lmd.data.dataset.folders.masks import excluding
from lmd.data.dataset.meaning.columns import tokens
from lmd.data.decode.files import printable
from lmd.errors import DataError

# Names of what holds images, and of what was done to them: of themselves they are no classes.
_VERSIONS = frozenset(
    "raw original originals orig processed preprocessed resized cropped crop crops augmented "
    "augmentation aug enhanced filtered normalized normalised color colour rgb gray grey "
    "grayscale greyscale segmented unsegmented".split()
)
_CONTAINERS = _VERSIONS | frozenset(
    "image images img imgs picture pictures photo photos data dataset datasets set sets file "
    "files jpg jpeg png tif tiff bmp dicom dcm mask masks labels annotation annotations "
    "groundtruth groundtruths segmentation segmentations overlay overlays part parts batch "
    "batches chunk chunks shard archive input inputs output outputs labeled labelled unlabeled "
    "unlabelled bilder daten 图像 图片 数据".split()
)
_PERSONS = frozenset(
    "patient patients pat subject subjects subj sub case participant person patientin paciente "
    "paziente 患者".split()
)
# Names of whom or where images are from; classes only where nothing below says more.
_SOURCES = frozenset(
    "center centers centre centres site sites hospital hospitals clinic institution institute "
    "institutions cohort cohorts domain scanner device vendor camera machine laboratory lab "
    "source reader study patient patients pat subject subjects sub subj case cases person "
    "participant animal slide slides scan scans wsi session visit year day week patientin "
    "paciente zentrum klinik krankenhaus fall 患者 医院".split()
)
# Words before a number that make it a class: "grade3".
_GRADES = frozenset(
    "class grade level stage type score category cat kl birads bi rads isup gleason dr label "
    "group phase group cin tirads pirads lirads klasse grad stufe".split()
)
_FINDINGS = frozenset(
    "benign malignant malign normal abnormal positive negative pos neg healthy unhealthy disease "
    "diseased sick tumor tumour cancer cancerous nontumor control pathological covid pneumonia "
    "infected uninfected parasitized lesion nonlesion yes no true false 0 1 idc adenocarcinoma "
    "melanoma nevus naevus mel nv bcc bkl akiec gutartig bösartig maligno benigno".split()
)
_ORDINARY = re.compile(
    r"(19|20)\d\d([-_.]?\d\d){0,2}|\d+([.,]\d+)?[xX]|[xX]\d+|l|r|left|right|od|os|ap|pa|lat\w*|frontal|axial|"
    r"coronal|sagittal|t1\w*|t2\w*|flair|dwi|adc|cc|mlo|[lr](cc|mlo)|male|female|m|f|day|night|clinic\w*|dermosc\w*"
    r"|\d+mm|anterior|posterior|upper|lower|front|back|side|macro|micro|polari[sz]ed|white|nbi|wl\w*"
)
_MANY, _FEW, _NEARLY = 10, 4, 0.8


def tells_no_class(name: str) -> bool:
    """Whether a name only tells that there are images, or what was done to them.

    >>> tells_no_class("1. Original Images"), tells_no_class("benign images")
    (True, False)
    """
    return _is_all_of(name, _CONTAINERS)


def told_versions(below: Iterable[str]) -> Iterator[str]:
    """Yields what is to be told of folders below class folders that may hold versions of one image."""
    names = sorted({name.partition("/")[0] for name in below})
    kinds = [name for name in names if _is_all_of(name, _VERSIONS)]
    if kinds and len(names) > 1:
        out = kinds if len(kinds) < len(names) else kinds[1:]
        yield (
            f"the folders {_listed(kinds)} below the class folders may hold other versions of the same "
            "images, and so one image would lie in training and test; leave them out with "
            f"{excluding(map(escape, out))}"
        )


def refuse_no_classes(places: Mapping[str, Path], root: Path) -> None:
    """Refuses folders of which none is named as a class: "images", "masks"; `places` says where they are.

    Raises:
        DataError: all names tell what the folders hold, and none a class.
    """
    names = list(places)
    if names and (all(map(tells_no_class, names)) or _are_parts(names) or _are_persons(names)):
        raise DataError(
            f"{root} has no class folders: folders such as {_listed(names)} are named by what they hold; "
            f"{_way_out(names, places)}; where they are the classes all the same, rename them"
        )


def refuse_repeated(
    below: Mapping[str, Set[str]], places: Mapping[str, Path], root: Path, grouped: bool
) -> None:
    """Refuses "classes" that are none where the same few folders lie below each of them.

    `below` has the names of the folders in each class folder, "" for an image that lies in none. Years, sides
    and magnifications below real classes are usual. So are patients with images of both classes, where
    `grouped` says that the folders are patients.

    Raises:
        DataError: the folders below are more likely the classes.
    """
    names = list(below)
    common = _common(below)
    if len(common) > 1 and _is_doubtful(names, common, grouped):
        findings = all(_is_all_of(name, _FINDINGS) for name in common)
        patients = "" if findings else "; where they are patients, add --group-folders"
        raise DataError(
            f"the folders of {root} may be no classes: the same folders ({_listed(common)}) lie below "
            f"{_listed(names)}; where those are the classes, {_way_out(names, places)}{patients}; where the "
            f"folders above are the classes all the same, move the images of each up into it"
        )


def _common(below: Mapping[str, Set[str]]) -> list[str]:
    """The names of the folders that are the same below nearly all classes, if nearly all images lie in such.

    A patient may have images of one class alone; then each name lies below several of many.
    """
    counts = Counter(name for names in below.values() for name in names)
    loose, places = counts.pop("", 0), len(below)
    shared = sorted(name for name, number in counts.items() if number > 1)
    if places < 2 or loose > (1 - _NEARLY) * places or len(shared) < _NEARLY * len(counts):
        return []
    often = [name for name in shared if counts[name] >= places / 2]
    return shared if len(often) > 1 or places > 2 * len(shared) else []


def _is_doubtful(names: Sequence[str], common: Sequence[str], grouped: bool) -> bool:
    if all(map(_is_ordinary, common)):
        return False
    if all(_is_all_of(name, _FINDINGS) for name in common):
        return not grouped or _are_numbered(names) or not any(name.isdigit() for name in common)
    if grouped:
        return False
    if sum(map(_is_ordinary, names)) >= _NEARLY * len(names):
        return True
    many = len(names) >= _MANY and len(common) <= _FEW
    return many or sum(map(_is_no_class, names)) >= _NEARLY * len(names) or _are_numbered(names)


def _is_ordinary(name: str) -> bool:
    """Whether a name tells a year, a side, a view or a magnification."""
    return _ORDINARY.fullmatch(name.strip().casefold()) is not None


def _is_no_class(name: str) -> bool:
    """Whether a word of a name tells whom, where or what the images are from."""
    words = set(tokens(name))
    return bool(words & _SOURCES) or any(_is_source(word) for word in words) or bool(words & _CONTAINERS)


def _are_parts(names: Sequence[str]) -> bool:
    """Whether names are numbered parts of one archive: "images_part_1", "images_part_2"."""
    skeletons = {re.sub(r"\d+", "0", name.strip().casefold()) for name in names}
    return len(names) > 1 and len(skeletons) == 1 and bool(set(tokens(names[0])) & _CONTAINERS)


def _are_persons(names: Sequence[str]) -> bool:
    """Whether all names are numbered persons: "patient_1", "Subject 02"."""
    return all(_is_all_of(name, _PERSONS) and re.search(r"\d", name) for name in names)


def _is_source(word: str) -> bool:
    """Whether a word has a letter glued on, as "sitea"."""
    return len(word) > 4 and word[:-1] in _SOURCES


def _are_numbered(names: Sequence[str]) -> bool:
    """Whether names are numbers of persons: "P0", "P1", "10253", and no grades such as "grade0" or "0"."""
    skeletons = Counter(re.sub(r"\d+", "0", name.strip().casefold()) for name in names)
    usual, number = skeletons.most_common(1)[0]
    if "0" not in usual or number < _NEARLY * len(names):
        return False
    words = [word for word in tokens(usual) if not word.isdigit()]
    if not words:
        return max(len(name.strip()) for name in names) > 2
    return not set(words) & _GRADES


def _is_all_of(name: str, words: Set[str]) -> bool:
    """Whether all words of a name are among `words`; numbers and single letters may order the folders."""
    found = tokens(name)
    whole = "".join(found)
    telling = [word for word in found if not word.isdigit() and len(word) > 1]
    return whole in words or (bool(telling) and all(word in words for word in telling))


def _way_out(names: Sequence[str], places: Mapping[str, Path]) -> str:
    others = f", leave others out with {excluding([escape(names[-1])])}" if len(names) > 1 else ""
    return (
        f"give one of these folders as --root (such as {printable(places[names[0]])}){others}, sort the "
        "images by class first, or use a table ('lmd prepare table')"
    )


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(f"'{printable(name)}'" for name in names[:3])
    return shown + (f" and {len(names) - 3} more" if len(names) > 3 else "")
