"""Where an image lies that a table names: by its name, if exactly one file fits, and in seconds."""

from __future__ import annotations

import time
import unicodedata
from pathlib import Path

import pytest

from lmd.data.dataset.meaning.locate import ImageIndex
from lmd.errors import DataError
from tests.messy import Messy, cases, picture


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("located") / "images"
    names = [
        "part_1/ISIC_0000001.jpg", "part_2/ISIC_0000002.JPG", "0012.png", "a/same.png", "b/same.png", "a/b/deep.png",
        f"{unicodedata.normalize('NFD', 'Müller')}.png", "two.png", "two.jpg", "1.2.840.7", "back\\slash.png", "Upper.PNG",
        "x 1.png", "07/img.png", "8/img.png",
    ]  # fmt: skip
    for number, name in enumerate(names):
        path = folder / name
        picture(path.with_name("p.png"), number).rename(path)
    (folder / "1.2.840.7").write_bytes(b"\0" * 128 + b"DICM" + b"\0" * 100)
    return folder


FOUND = {
    "ISIC_0000001.jpg": "part_1/ISIC_0000001.jpg",
    "ISIC_0000001": "part_1/ISIC_0000001.jpg",
    "isic_0000002": "part_2/ISIC_0000002.JPG",
    "ISIC_0000002.png": "part_2/ISIC_0000002.JPG",
    "ISIC_1": "part_1/ISIC_0000001.jpg",
    "other/place/ISIC_0000001.jpg": "part_1/ISIC_0000001.jpg",
    r"C:\data\part_1\ISIC_0000001.jpg": "part_1/ISIC_0000001.jpg",
    r"\\server\share\images\ISIC_0000001.jpg": "part_1/ISIC_0000001.jpg",
    "/home/somebody/images/ISIC_0000001.jpg": "part_1/ISIC_0000001.jpg",
    "https://host.example/images/ISIC_0000001.jpg": "part_1/ISIC_0000001.jpg",
    "file:///mnt/data/ISIC_0000001.jpg": "part_1/ISIC_0000001.jpg",
    "12": "0012.png",
    "12.0": "0012.png",
    "00012.png": "0012.png",
    "a/same.png": "a/same.png",
    "../input/archive/images/0012.png": "0012.png",
    "../../elsewhere/deep.png": "a/b/deep.png",
    r"D:\x\b\same.png": "b/same.png",
    "./a/b/deep.png": "a/b/deep.png",
    "deep": "a/b/deep.png",
    "DEEP.PNG": "a/b/deep.png",
    "Müller.png": f"{unicodedata.normalize('NFD', 'Müller')}.png",
    "müller": f"{unicodedata.normalize('NFD', 'Müller')}.png",
    "two.png": "two.png",
    "two.jpg": "two.jpg",
    "1.2.840.7": "1.2.840.7",
    "1.2.840.7.dcm": "1.2.840.7",
    "back\\slash.png": "back\\slash.png",
    "upper": "Upper.PNG",
    " x 1.png ": "x 1.png",
    "07/img.png": "07/img.png",
    "/data/8/img.png": "8/img.png",
}


@pytest.mark.parametrize(("name", "file"), FOUND.items(), ids=FOUND)
def test_an_image_is_found_if_one_file_fits(root: Path, name: str, file: str) -> None:
    assert ImageIndex(root).place(name).file == file


@pytest.mark.parametrize("name", ["same.png", "same", "two", "x/same.png", "two.gif", "img"])
def test_two_files_that_fit_are_named(root: Path, name: str) -> None:
    place = ImageIndex(root).place(name)
    assert not place.file
    assert "could be 2 files" in place.reason


@pytest.mark.parametrize(
    "name", ["gone.png", "ISIC_0000003", "same_2.png", "", "120", "/nowhere/gone.png", "13.0"]
)
def test_an_image_that_is_not_there_is_said_to_be_so(root: Path, name: str) -> None:
    assert f"names an image that is not below {root}" in ImageIndex(root).place(name).reason


@pytest.mark.parametrize("name", ["a/../0012.png", "a/../../0012.png", "/etc/passwd", r"a\..\0012.png"])
def test_a_name_that_leads_out_is_refused(root: Path, name: str) -> None:
    assert ImageIndex(root).place(name).leaves


def test_an_absolute_path_through_a_link_is_below_the_root(root: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(root)
    assert ImageIndex(root).place(f"{tmp_path}/link/a/same.png").file == "a/same.png"
    assert ImageIndex(root).place(f"{root}/b/same.png").file == "b/same.png"


def test_a_file_of_this_machine_outside_of_the_root_is_not_taken_for_one_below(
    root: Path, tmp_path: Path
) -> None:
    picture(tmp_path / "0012.png", 1)
    assert ImageIndex(root).place(f"{tmp_path}/0012.png").leaves


def test_a_file_beside_the_root_is_outside(root: Path) -> None:
    picture(root.parent / "0012.png", 1)
    assert ImageIndex(root).place("../0012.png").leaves
    (root.parent / "0012.png").unlink()
    assert ImageIndex(root).place("../0012.png").file == "0012.png"


def test_excluded_files_do_not_count(root: Path) -> None:
    assert ImageIndex(root, ("b",)).place("same.png").file == "a/same.png"


def test_a_table_of_a_wrong_root_answers_in_seconds(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    messy = Messy(tmp_path, caplog, 3)
    names = [f"/data/elsewhere/img_{row}.png" for row in range(100_000)]
    start = time.perf_counter()
    with pytest.raises(DataError, match=r"none of the 100000 images of .* is below .*: is --root the folder"):
        messy.table(cases(100_000, image=names))
    assert time.perf_counter() - start < 15  # Alone it takes 3 s (docs/data.md); the tests share two cores.


def test_the_row_and_the_candidates_are_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    messy = Messy(tmp_path, caplog)
    for folder in ("one", "two"):
        picture(messy.root / folder / "scan.png")
    with pytest.raises(DataError, match=r"'scan' could be one/scan.png, two/scan.png.*--exclude.* in row 5"):
        messy.table(cases(image=[*cases()["image"][:3], "scan", *cases()["image"][4:]]))


def test_images_that_the_table_does_not_name_are_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    messy = Messy(tmp_path, caplog, 26)
    (messy.root / "notes.txt").write_text("")
    messy.table(cases())
    assert f"2 image files below {messy.root} are not in the table" in messy.told()
    assert "1 file is no image and left out: 1 .txt" in messy.told()


def test_names_without_their_folders_are_found(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The archive of HAM10000 has two folders of images, and a table of names alone."""
    messy = Messy(tmp_path, caplog, 0)
    dataset = messy.table(messy.like_ham10000())
    assert len(dataset.table) == 24
    assert dataset.table["file"][3] == "HAM10000_images_part_2/ISIC_0000003.jpg"
    assert dataset.table["group"].nunique() == 12


def test_a_missing_image_is_not_another_patients(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """P0/scan.png lacks; P5/scan.png is the image of another row and no stand-in."""
    messy = Messy(tmp_path, caplog, 0)
    names = [f"P{row}/ct/scan.png" for row in range(24)]
    for row, name in enumerate(names[1:], start=1):
        picture(messy.root / name, row)
    with pytest.raises(DataError, match=r"not below .*: 'P0/ct/scan.png' in row 2"):
        messy.table(cases(image=names))
    kept = messy.table(cases(image=names), skip_bad=True).table
    assert kept["file"].tolist() == kept["id"].tolist() == names[1:]


def test_a_file_that_another_row_names_is_its_own(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    messy = Messy(tmp_path, caplog)
    names = ["other/x01.png", *cases()["image"][1:]]
    with pytest.raises(
        DataError,
        match=r"not below .*: 'other/x01.png' in row 2|gives image 'x01.png' the labels 'melanoma' and 'nevus'",
    ):
        messy.table(cases(image=names))


def test_a_mask_is_not_the_image_of_its_name(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    messy = Messy(tmp_path, caplog)
    (messy.root / "masks").mkdir()
    (messy.root / "x03.png").rename(messy.root / "masks" / "x03.png")
    with pytest.raises(DataError, match=r"not below .*: 'x03.png' in row 5"):
        messy.table(cases())


@pytest.mark.parametrize(
    ("name", "file"),
    [("1.10", "1.1.png"), ("1e3", "1000.png"), ("2020-01", "2020_1.png"), ("left1", "left_01.png")],
)
def test_other_numbers_are_other_images(tmp_path: Path, name: str, file: str) -> None:
    picture(tmp_path / file)
    assert ImageIndex(tmp_path).place(name).file == ""


@pytest.mark.parametrize(
    "name", ["'x00.png'", '="x00.png"', "https://host/a/x00.png?token=1", "https://host/x%200.png"]
)
def test_what_surrounds_a_name_elsewhere_is_left_out(tmp_path: Path, name: str) -> None:
    picture(tmp_path / "x00.png")
    picture(tmp_path / "x 0.png", 1)
    assert ImageIndex(tmp_path).place(name).file == ("x 0.png" if "%20" in name else "x00.png")


def test_two_columns_that_name_different_images_are_refused(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    messy = Messy(tmp_path, caplog)
    names = cases()["image"]
    with pytest.raises(DataError, match=r"'image' and 'filename', and they name different images in row 2"):
        messy.table(cases(filename=names[::-1]))
    assert messy.table(cases(filename=names[::-1]), image_column="filename").table["file"][0] == "x23.png"


def test_the_column_whose_images_are_there_is_taken(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    messy = Messy(tmp_path, caplog)
    columns = {
        "image": [f"scan of patient {row}" for row in range(24)],
        "path": cases()["image"],
        "label": cases()["label"],
    }
    assert messy.table(columns).table["file"][3] == "x03.png"
    assert "image 'path'" in messy.told()


def test_a_column_of_another_name_is_found_by_its_files(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    messy = Messy(tmp_path, caplog)
    columns = {
        "DDI_file": cases()["image"],
        "DDI_ID": [str(row) for row in range(24)],
        "label": cases()["label"],
    }
    assert messy.table(columns).table["file"][5] == "x05.png"
    assert "image 'DDI_file'" in messy.told()
    other = {"left_eye": cases()["image"], "right_eye": cases()["image"][::-1], "label": cases()["label"]}
    with pytest.raises(DataError, match=r"no image column \(columns: left_eye, right_eye, label\)"):
        Messy(tmp_path / "more", caplog).table(other)


def test_a_folder_that_other_rows_name_is_not_overlooked(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """ "train/x00.png" lacks; "test/x00.png" is another image, although no row names it."""
    messy = Messy(tmp_path, caplog, 0)
    for row in range(24):
        picture(messy.root / ("test" if row == 0 else "train") / f"x{row:02d}.png", row)
    with pytest.raises(DataError, match=r"not below .*: 'train/x00.png' in row 2"):
        messy.table(cases(image=[f"train/x{row:02d}.png" for row in range(24)]))


def test_rows_that_are_left_out_are_in_the_table(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    messy = Messy(tmp_path, caplog)
    messy.table(cases(label=["nevus", "mel", "nan"] * 8), drop_label="nan")
    assert "are not in the table" not in messy.told()
