"""Odd tables and folders: each is used, skipped and listed, or refused in one line. Never a traceback."""

from __future__ import annotations

import codecs
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import pandas as pd
import pytest
from PIL import Image

from lmd.data.dataset.manifest import Dataset, read_dataset
from lmd.data.dataset.sources import folder, table
from lmd.errors import DataError
from lmd.settings import resolve
from tests import toy

NAMES = [f"x{number}.png" for number in range(20)]
LABELS = ["nevus", "melanoma"] * 10
ROWS = [f"{name},{label}" for name, label in zip(NAMES, LABELS, strict=True)]


def lines(*rows: str, header: str = "image,label") -> bytes:
    return ("\n".join([header, *rows]) + "\n").encode()


def changed(row: int, text: str) -> bytes:
    """The sound table with the row of a spreadsheet replaced."""
    return lines(*[text if number == row else old for number, old in enumerate(ROWS, start=2)])


class Case(NamedTuple):
    """A table, and what is to become of it: so many images, or a line that matches; options besides."""

    content: bytes
    outcome: int | str
    options: Mapping[str, object] = MappingProxyType({})
    listed: str = ""  # What skipped.csv says.


SKIP: dict[str, object] = {"skip_bad": True}
CASES = {
    "plain": Case(lines(*ROWS), 20),
    "byte order mark": Case(codecs.BOM_UTF8 + lines(*ROWS), 20),
    "utf-16 of a spreadsheet": Case(lines(*ROWS).decode().encode("utf-16"), 20),
    "semicolons": Case(lines(*ROWS).replace(b",", b";"), 20),
    "tabs": Case(lines(*ROWS).replace(b",", b"\t"), 20),
    "bars": Case(lines(*ROWS).replace(b",", b"|"), 20),
    "windows line ends": Case(lines(*ROWS).replace(b"\n", b"\r\n"), 20),
    "no line end at the end": Case(lines(*ROWS)[:-1], 20),
    "quotes": Case(b"\n".join(b'"' + line.replace(b",", b'","') + b'"' for line in lines(*ROWS).splitlines()), 20),
    "a comma in a quoted field": Case(
        lines(*[f'{row},"left, upper"' for row in ROWS], header="image,label,site"), 20
    ),
    "blank rows above, between and below": Case(b"\n\n" + lines(*ROWS[:5], "", ",", *ROWS[5:], "", ""), 20),
    "a nameless column, as pandas writes": Case(
        lines(*[f"{number},{row}" for number, row in enumerate(ROWS)], header=",image,label"), 20
    ),
    "spaces around the names of columns": Case(lines(*ROWS, header=" image , label"), 20),
    "labels with trailing spaces": Case(changed(2, "x0.png,nevus  "), 20),
    "names with trailing spaces": Case(changed(2, "x0.png ,nevus"), 20),
    "names without extension": Case(lines(*[row.replace(".png", "") for row in ROWS]), 20),
    "windows paths": Case(changed(2, "sub\\deep.png,nevus"), 20),
    "an absolute path below the root": Case(b"ROOT", 20),
    "empty file": Case(b"", "is empty"),
    "only blank lines": Case(b"\n\n\n", "is empty"),
    "header alone": Case(lines(), "has no rows"),
    "duplicate columns": Case(
        lines(*[row + ",a" for row in ROWS], header="image,label,label"), "has 2 columns named 'label'"
    ),
    "columns that differ by case": Case(
        lines(*[row + ",a" for row in ROWS], header="image,label,Label"), "'label' and 'Label'.*--label-column"
    ),
    "no label column": Case(lines(*ROWS, header="image,what"), "no label column.*--label-column"),
    "a row too long": Case(changed(4, "x2.png,nevus,more"), "3 fields in row 4, its header has 2"),
    "a row too short": Case(changed(4, "x2.png"), "1 fields in row 4, its header has 2"),
    "an open quote": Case(changed(4, '"x2.png,nevus'), "is not a table"),
    "binary data": Case(b"image,label\n\0\0\0,a\n", "binary data"),
    "an image for a table": Case(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "is an image, not a table"),
    "another encoding": Case(changed(3, "x1.png,m\xe9lanome").decode().encode("latin-1"), "row 3.*--encoding"),
    "another encoding, named": Case(
        lines(*[row.replace("melanoma", "mélanome") for row in ROWS]).decode().encode("cp1252"),
        20,
        {"encoding": "cp1252"},
    ),
    "an encoding that is none": Case(lines(*ROWS), "unknown encoding 'klingon'", {"encoding": "klingon"}),
    "a missing label": Case(changed(5, "x3.png,"), r"has no label in row 5 \(1 such row[;)]"),
    "a missing label, skipped": Case(changed(5, "x3.png, "), 19, SKIP, "x3.png,has no label in row 5"),
    "a missing image": Case(changed(5, ",nevus"), "has no image in row 5"),
    "no usable row": Case(lines("x0.png,", "x1.png,"), "no usable image is left", SKIP),
    "labels of mixed case": Case(changed(2, "x0.png,Nevus"), r"labels 'Nevus' \(row 2\) and 'nevus' \(row 4\) differ only by case"),
    "labels spelled in two Unicode forms": Case(
        lines(*[row.replace("nevus", "naévus") for row in ROWS[:10]], *[row.replace("nevus", "nae\u0301vus") for row in ROWS[10:]]),
        "differ only by case, spaces, spelling",
    ),
    "one class": Case(lines(*[row.replace("melanoma", "nevus") for row in ROWS]), "at least two classes"),
    "an image listed twice": Case(lines(*ROWS, "./x0.png,nevus"), r"lists image 'x0.png' again \(first: row 2\) in row 22"),
    "an image listed twice, skipped": Case(lines(*ROWS, "x0,nevus"), 20, SKIP, "again (first: row 2) in row 22"),
    "two labels for an image": Case(lines(*ROWS, "x0.png,melanoma"), "the labels 'nevus' and 'melanoma' in row 2"),
    "two labels for an image, skipped": Case(lines(*ROWS, "x0.png,melanoma"), 19, SKIP, "the labels 'nevus' and"),
    "a path leaving the root": Case(changed(2, "../cases.csv,nevus"), r"not below .*: '\.\./cases\.csv' in row 2"),
    "a path leaving the root, not to be skipped": Case(changed(2, "sub/../../x.png,nevus"), "outside of", SKIP),
    "an absolute path": Case(changed(2, "/etc/passwd,nevus"), "outside of .* '/etc/passwd'"),
    "an image that is not there": Case(changed(2, "gone.png,nevus"), "gone.png.*1 such row[;)]"),
    "an image that is not there, skipped": Case(changed(2, "gone.png,nevus"), 19, SKIP, "gone.png"),
    "a link to itself": Case(changed(2, "loop.png,nevus"), "loop.png.*1 such image[;)]"),
    "a folder for an image": Case(changed(2, "sub,nevus"), "sub.*1 such row[;)]"),
    "a hidden file that is no image": Case(changed(2, "._x0.png,nevus"), r"\._x0.png.*1 such row[;)]"),
    "unicode in a name": Case(changed(2, "皮膚 ä.png,nevus"), 20),
    "a line break in a name": Case(changed(2, '"line\nbreak.png",nevus'), 20),
    "a carriage return in a name": Case(changed(2, '"carriage\rreturn.png",nevus'), 20),
    "quotes and commas in a name": Case(changed(2, '"a ""b"", c.png",nevus'), 20),
    "a name that looks like a missing value": Case(changed(2, "NA,nevus"), 20),
    "a label that looks like a missing value": Case(lines(*[row.replace("nevus", "NA") for row in ROWS]), 20),
    "a split in other words": Case(
        lines(*[f"{row},{'Training' if n < 12 else 'TEST'}" for n, row in enumerate(ROWS)], header="image,label,split"),
        20,
    ),
    "an unknown split": Case(lines(*[row + ",holdout" for row in ROWS], header="image,label,split"), "unknown split 'holdout'"),
    "a blank split": Case(
        lines(*[row + ",train" for row in ROWS[:19]], ROWS[19] + ",", header="image,label,split"), "no split in row 21"
    ),
    "a split that tears a patient": Case(
        lines(*[f"{row},{'train' if n < 12 else 'test'},p{n % 4}" for n, row in enumerate(ROWS)], header="image,label,split,patient"),
        "group 'p0' has images in more than one split",
    ),
    "a split and folds": Case(
        lines(*[row + ",train" for row in ROWS], header="image,label,split"), "--folds and --repeats", {"folds": 2}
    ),
    "metadata under our own names": Case(lines(*[row + ",z" for row in ROWS], header="image,label,file"), 20),
}  # fmt: skip


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twenty images, and some of odd names."""
    folder = tmp_path_factory.mktemp("odd") / "images"
    (folder / "sub").mkdir(parents=True)
    odd = ["sub/deep.png", "皮膚 ä.png", "line\nbreak.png", "carriage\rreturn.png", 'a "b", c.png', "NA.png"]
    for number, name in enumerate([*NAMES, *odd]):
        Image.fromarray(toy.draw(number % 2, number)).save(folder / name)
    (folder / "loop.png").symlink_to(folder / "loop.png")
    (folder / "._x0.png").write_bytes(b"what macOS leaves")
    return folder


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_an_odd_table_has_a_defined_outcome(root: Path, tmp_path: Path, case: Case) -> None:
    (tmp_path / "cases.csv").write_bytes(
        changed(2, f"{root / 'x0.png'},nevus") if case.content == b"ROOT" else case.content
    )
    options = resolve(table.Options, {"root": root, "table": tmp_path / "cases.csv", **case.options})
    if isinstance(case.outcome, str):
        with pytest.raises(DataError, match=case.outcome) as caught:
            table.prepare(options, tmp_path / "data")
        assert "\n" not in str(caught.value)
        assert not (tmp_path / "data").exists()
        return
    table.prepare(options, tmp_path / "data")
    again = read_dataset(tmp_path / "data")
    assert len(again.table) == case.outcome
    assert len(again.classes) == 2
    assert all(path.is_file() for path in again.paths())
    skipped = tmp_path / "data" / "skipped.csv"
    assert skipped.exists() == bool(case.listed)
    if case.listed:
        assert case.listed in skipped.read_text().replace('"', "")


def test_rows_and_values_stay_what_they_are(root: Path, tmp_path: Path) -> None:
    """The row named is the spreadsheet's, whatever is blank above; ids and metadata are no numbers."""
    rows = [*ROWS[:3], "", "", *ROWS[3:-1], "x19.png,"]
    (tmp_path / "cases.csv").write_bytes(b"\n\n" + lines(*rows))
    with pytest.raises(DataError, match="no label in row 25"):
        table.prepare(table.Options(root=root, table=tmp_path / "cases.csv"), tmp_path / "data")
    (tmp_path / "cases.csv").write_bytes(
        lines(*[row + ",007,NA" for row in ROWS], header="image,label,site,dose")
    )
    dataset = table.prepare(table.Options(root=root, table=tmp_path / "cases.csv"), tmp_path / "data")
    assert set(read_dataset(dataset.folder).table["site"]) == {"007"}
    assert set(read_dataset(dataset.folder).table["dose"]) == {"NA"}


# Folders.


def image(path: Path, number: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(toy.draw(number % 2, number)).save(path)


def loop(root: Path) -> None:
    (root / "nevus" / "round").symlink_to(root, target_is_directory=True)
    (root / "melanoma" / "self.png").symlink_to(root / "melanoma" / "self.png")


def hide(root: Path) -> None:
    (root / ".git").mkdir()
    (root / "nevus" / "._x0.png").write_bytes(b"what macOS leaves")
    (root / "nevus" / ".DS_Store").write_bytes(b"no image")


def mix(root: Path) -> None:
    for name in ("a.JPG", "b.jpeg", "c.bmp", "d.tif", "e.webp", "deep/er/f.png"):
        image(root / "nevus" / name)
    (root / "nevus" / "notes.txt").write_text("not an image, and not named as one")


def no_text(root: Path) -> None:
    (root / "nevus" / os.fsdecode(b"caf\xe9.png")).write_bytes((root / "nevus" / "x0.png").read_bytes())


def link_a_class(root: Path) -> None:
    (root / "nevus").rename(root.parent / "elsewhere")
    (root / "nevus").symlink_to(root.parent / "elsewhere", target_is_directory=True)


FOLDERS: dict[str, tuple[Callable[[Path], object], int | str, dict[str, object]]] = {
    "plain": (lambda root: None, 20, {}),
    "hidden files and folders": (hide, 20, {}),
    "mixed formats, nested folders": (mix, 26, {}),
    "a link round in circles": (loop, "self.png.*1 such image[;)]", {}),
    "a link round in circles, skipped": (loop, 20, SKIP),
    "a class that is a link": (link_a_class, 20, {}),
    "a name that is no Unicode": (no_text, r"caf\\udce9\.png' is not UTF-8 text", {}),
    "a name that is no Unicode, skipped": (no_text, 20, SKIP),
    "a line break in a name": (lambda root: image(root / "nevus" / "line\nbreak.png"), 21, {}),
    "an image of no class": (lambda root: image(root / "loose.png"), 20, {}),
    "classes that differ by case": (lambda root: image(root / "Nevus" / "y.png"), "'Nevus' and 'nevus' differ", {}),
    "classes that differ by a space": (lambda root: image(root / "nevus " / "y.png"), "'nevus' and 'nevus ' differ", {}),
    "a class of none": (lambda root: (root / "scar").mkdir(), "class 'scar' is empty", {}),
    "a class of damaged images": (
        lambda root: (root / "scar").mkdir() or (root / "scar" / "y.png").write_bytes(b""),
        "class 'scar' is empty",
        SKIP,
    ),
    "splits beside classes": (lambda root: image(root / "train" / "nevus" / "y.png"), r"\(train\) and others", {}),
    "folds of two": (lambda root: None, 20, {"folds": 2}),
}  # fmt: skip


@pytest.mark.parametrize(("change", "outcome", "options"), FOLDERS.values(), ids=FOLDERS)
def test_an_odd_folder_has_a_defined_outcome(
    tmp_path: Path, change: Callable[[Path], object], outcome: int | str, options: dict[str, object]
) -> None:
    root = tmp_path / "root"
    for number, label in enumerate(LABELS):
        image(root / label / f"x{number}.png", number)
    change(root)
    chosen = resolve(folder.Options, {"root": root, **options})
    if isinstance(outcome, str):
        with pytest.raises(DataError, match=outcome):
            folder.prepare(chosen, tmp_path / "data")
        assert not (tmp_path / "data").exists()
    else:
        dataset = folder.prepare(chosen, tmp_path / "data")
        assert len(read_dataset(dataset.folder).table) == outcome


def split_folders(root: Path, words: tuple[str, str, str]) -> Dataset:
    for number, label in enumerate(LABELS):
        image(root / words[number // 2 % 3] / label / f"x{number}.png", number)
    return folder.prepare(folder.Options(root=root), root.parent / "data")


def test_folders_may_name_their_splits_in_other_words(tmp_path: Path) -> None:
    dataset = split_folders(tmp_path / "root", ("Training", "valid", "testing"))
    assert [len(dataset.split(name)) for name in ("train", "val", "test")] == [8, 6, 6]
    assert dataset.info.recipe["splits"] == "as given"
    assert pd.Series(dataset.table["file"]).str.startswith(("Training/", "valid/", "testing/")).all()
