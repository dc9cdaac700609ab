"""Folders that are named as splits: which split each of them means, and names that leave it open."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from glob import escape
from pathlib import Path

from lmd.data.dataset.checks import SPLITS
from lmd.data.dataset.folders.masks import excluding
from lmd.data.dataset.meaning.columns import tokens
from lmd.data.dataset.meaning.given_splits import split_name
from lmd.data.decode.files import printable
from lmd.errors import DataError

# Words that folders are named with beside those that tables use.
_FOREIGN = {
    "train": "trainings trainingsset entrainement entraînement apprentissage entrenamiento treino "
    "treinamento treinar addestramento обучение eğitim 训练 訓練 学習 훈련 학습",
    "val": "validations validierung validierungs validacion validación validacao validação validazione "
    "validatie валидация doğrulama 验证 驗證 検証 검증",
    "test": "tests prueba pruebas teste тест тестирование 测试 測試 テスト 테스트",
}
_SPLIT_OF = {word: split for split, words in _FOREIGN.items() for word in words.split()}
# Words that may stand beside one, in any place or glued on; they tell nothing of the images.
_BESIDE = frozenset(
    "set sets data dataset datasets split splits images image imgs img folder folders dir "
    "directory seg cls original final resized cropped pictures picture pics photos photo png jpg "
    "jpeg bmp tif tiff dicom dcm px input inputs files file samples sample daten datensatz satz "
    "bilder bild menge ordner 集 数据 数据集 图像 图片 データ セット 画像 세트 데이터 이미지".split()
)
# Words that mean more than one split, or none that is ours.
_OPEN = frozenset(
    "trainval trainvalid traintest trainvaltest traindev valtest development eval evaluation holdout heldout "
    "hidden inference".split()
)
_FOLD = frozenset("fold folds kfold cv split partition part crossval crossvalidation falte".split())
_GLUED = frozenset(
    "train training trainings test testing val valid validation validierungs 训练 测试 验证 訓練 "
    "測試 驗證 学習 検証 훈련 테스트 검증".split()
)


def folder_split(name: str) -> str:
    """Returns the split that a folder's name means, "" for none; numbers may order the folders.

    >>> [folder_split(name) for name in ("1_train", "seg_test", "Trainingsdaten", "testes", "test strip")]
    ['train', 'test', 'train', '', '']
    """
    name = re.sub(r"^\s*[a-hA-H][.)]\s*", "", name)
    words = [word for word in tokens(name) if word not in _BESIDE and not word.isdigit()]
    return _split_of(words[0]) if len(words) == 1 else ""


def _split_of(word: str) -> str:
    """The split that a word means, alone or with a word such as "images" glued on."""
    for known in (word, *_unglued(word)):
        split = _SPLIT_OF.get(known, split_name(known))
        if split in SPLITS:
            return split
    return ""


def _unglued(word: str) -> list[str]:
    ends = [word.removesuffix(beside) for beside in _BESIDE if word.endswith(beside)]
    return [end for end in (*ends, *(word.removeprefix(w) for w in _BESIDE if word.startswith(w))) if end]


def read_splits(names: Collection[str], place: Path, within: bool = False) -> dict[str, str]:
    """Returns the split that each folder means, "" for none.

    A name may have other words beside the split, if all names have the same: "xray_train" and "xray_test".
    `within` a class there may be patients who all have such a word.

    Raises:
        DataError: names hold words of splits among others, so that they may be splits or classes.
    """
    own = {name: folder_split(name) for name in names}
    if names and all(own.values()):
        return own
    shared = _with_one_rest(names)
    if shared:
        return shared
    hints = {name: hint for name in names if (hint := own[name] or _hint(name))}
    open_names = [name for name in hints if not own[name]]
    if open_names and (len(set(hints.values())) > 1 or (len(hints) == len(names) > 1 and not within)):
        raise DataError(
            f"{place} has folders whose names hold words of splits among others (such as "
            f"{_listed(hints)}): are they splits? rename those that are to train, val or test, and those "
            "that are classes to names without such a word; leave others out with "
            f"{excluding([escape(open_names[0])])}"
        )
    return own


def _hint(name: str) -> str:
    """The split that a word in a name means; "+" for one that leaves it open."""
    words = tokens(name)
    found = {split for word in words if (split := _split_of(word) or _ending_of(word))}
    if len(found) > 1 or any(word in _OPEN for word in (*words, "".join(words))):
        return "+"
    return next(iter(found), "")


def _ending_of(word: str) -> str:
    """The split of a word with a single letter glued on: "traina"."""
    return split_name(word[:-1]) if len(word) > 4 and word[:-1] in ("train", "test", "valid") else ""


def _with_one_rest(names: Collection[str]) -> dict[str, str]:
    """The splits of names that are alike but for the word of the split; nothing where some are not."""
    if not 1 < len(names) <= len(SPLITS):
        return {}
    rests = {name: _rests(name) for name in names}
    for rest in {rest for found in rests.values() for rest in found}:
        meant = {name: found[rest] for name, found in rests.items() if rest in found}
        if len(meant) == len(names) and len(set(meant.values())) == len(names):
            return meant
    return {}


def _rests(name: str) -> dict[tuple[str, str], str]:
    """What stands before and behind each word of a split that a name holds, and the split."""
    whole = "".join(word for word in tokens(name) if not word.isdigit())
    found: dict[tuple[str, str], str] = {}
    for word in sorted(_GLUED, key=len):  # The longest word at a place wins: "training" before "train".
        for match in re.finditer(word, whole):
            found[whole[: match.start()], whole[match.end() :]] = _split_of(word)
    return found


def refuse_folds(names: Sequence[str], place: Path) -> None:
    """Refuses folders that are the folds of somebody's cross-validation: they are no classes.

    Raises:
        DataError: all folders are numbered folds.
    """
    if len(names) > 1 and all(_is_fold(name) for name in names):
        raise DataError(
            f"{place} holds folds of a cross-validation ({_listed(names)}), and no class folders: give one "
            f"of them as --root, such as --root {place / names[0]}, or put the images of all into one "
            "folder for each class and use --folds"
        )


def _is_fold(name: str) -> bool:
    words = tokens(name)
    numbered = [word for word in words if word.isdigit() or len(word) == 1]
    rest = [word for word in words if word not in numbered and word not in _BESIDE - _FOLD]
    return bool(numbered) and bool(rest) and all(word in _FOLD for word in rest)


def _listed(names: Iterable[str]) -> str:
    shown = [printable(name) for name in names]
    return ", ".join(shown[:3]) + (f" and {len(shown) - 3} more" if len(shown) > 3 else "")
