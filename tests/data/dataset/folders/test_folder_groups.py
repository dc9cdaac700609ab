"""Patients by folders below the class folders, and what else the source `folder` says of single files."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.messy import Messy, picture
from tests.trees import advised, each, following, refusal, tree

AB = ("a", "b")
STUDIES = [f"{'ab'[n % 2]}/P{n // 2 % 6}/study{n % 3}/x{n}.png" for n in range(36)]


@pytest.fixture
def messy(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> Messy:
    return Messy(tmp_path, caplog, 0)


def test_deeper_trees_ask_for_the_depth(messy: Messy) -> None:
    root = tree(messy.path / "root", STUDIES)
    said = refusal(messy, root, group_folders=True)
    assert "up to 2 folders below their class folder" in said
    assert said.endswith("--group-depth: 1 for 'P0', 2 for 'study0'")
    table = messy.folder(root, group_folders=True, group_depth=1).table
    assert set(table["group"]) == {f"P{n}" for n in range(6)}
    assert (table.groupby("group")["split"].nunique() == 1).all()
    assert "groups: 6 by folders below the class folders (patient); the largest has 6 images" in messy.told()


def test_the_depth_alone_is_enough(messy: Messy) -> None:
    """In BreakHis the third folder below the class is the slide of a patient."""
    kinds = {"benign": ("adenosis", "fibro"), "malignant": ("ductal", "lobular")}
    files = [
        f"{name}/SOB/{kind}/SOB_{kind}_{person}/{zoom}/{kind}{person}{zoom}-{n}.png"
        for name, found in kinds.items() for kind in found for person in range(3) for zoom in ("40X", "100X") for n in range(2)
    ]  # fmt: skip
    dataset = messy.folder(tree(messy.path / "root", files), group_depth=3)
    assert dataset.table["group"].nunique() == 12
    assert dataset.info.grouping is not None
    assert dataset.info.grouping.knows_patients
    assert dataset.info.recipe["group_depth"] == 3


def test_an_image_without_such_a_folder_is_named(messy: Messy) -> None:
    root = tree(messy.path / "root", [*each(AB, ("P0", "P1", "P2")), "a/z.png"])
    said = refusal(messy, root, group_folders=True)
    assert f"image a/z.png in {root} has no folder of a patient" in said
    assert following(messy, said, root, group_folders=True).table["group"].nunique() == 3


def test_a_depth_that_no_image_has_is_refused(messy: Messy) -> None:
    root = tree(messy.path / "root", each(AB, ("P0", "P1")))
    assert "lies 1 folder below its class folder, and the patient is folder 2 (12 such" in refusal(
        messy, root, group_depth=2
    )
    flat = tree(messy.path / "flat", each(AB))
    assert "no image lies in a folder below its class folder" in refusal(messy, flat, group_folders=True)


def test_patients_below_splits_and_classes(messy: Messy) -> None:
    files = [
        f"{split}/{c}/{split}P{n}/x{c}{n}{i}.png"
        for split in ("train", "test")
        for c in AB
        for n in range(3)
        for i in range(2)
    ]
    table = messy.folder(tree(messy.path / "root", files), group_folders=True).table
    assert set(table["group"]) == {f"{split}P{n}" for split in ("train", "test") for n in range(3)}


def test_one_patient_written_in_two_ways(messy: Messy) -> None:
    root = tree(messy.path / "root", each(AB, ("P1", "p1", "P2", "P3")))
    said = refusal(messy, root, group_folders=True)
    assert "the folders 'P1' and 'p1' may be one patient" in said
    assert "(a/P1/a-P1-0.png and a/p1/a-p1-0.png)" in said
    assert "row" not in said
    assert messy.folder(root, group_folders=True, similar_ids="merge").table["group"].nunique() == 3
    again = Messy(messy.path / "again", messy.log, 0)
    assert again.folder(root, group_folders=True, similar_ids="keep").table["group"].nunique() == 4


def test_a_folder_that_is_no_patient_is_said(messy: Messy) -> None:
    files = [f"{c}/SOB/{c}{n}/x{c}{n}{i}.png" for c in AB for n in range(6) for i in range(2)]
    files += [f"{c}/other/{c}{n}/y{c}{n}.png" for c in AB for n in range(6)]
    messy.folder(tree(messy.path / "root", files), group_depth=1)
    assert "more than half of the images are of one patient" in messy.told()
    assert "--ignore-column" not in messy.told()


def test_names_that_are_only_unique_within_a_folder_are_said(messy: Messy) -> None:
    root = tree(messy.path / "root", each(AB, ("P0", "P1", "P2"), ("s1", "s2", "s3")))
    messy.folder(root, group_depth=2)
    assert "6 names of patients stand in several folders of one class" in messy.told()


# Files.


def test_one_image_under_two_endings_is_seen(messy: Messy) -> None:
    root = tree(messy.path / "root", [*each(AB), "a/1.2.0.dcm", "a/1.2.0.dcm.png"])
    said = refusal(messy, root)
    assert "twice: a/1.2.0.dcm and a/1.2.0.dcm.png" in said
    assert advised(said, "--exclude") == ["*.dcm.png"]


@pytest.mark.parametrize(
    ("names", "pattern"),
    [
        (("x0.png", "x0.png.jpg"), "*.png.jpg"), (("x0.jpg", "x0.jpeg"), "*.jpeg"), (("X0.png", "x0.png"), "a/x0.png"),
        (("x0.PNG", "x0.png"), "*.PNG"), (("[1].png", "[1].jpg"), "*.jpg"), (("x [1].png", "X [1].png"), "a/x [[]1].png"),
    ],
)  # fmt: skip
def test_the_advice_for_doubles_leaves_out_one_of_them(
    messy: Messy, names: tuple[str, str], pattern: str
) -> None:
    root = tree(messy.path / "root", [*each(AB), *(f"a/{name}" for name in names)])
    said = refusal(messy, root)
    assert "rename it if it is another image" in said
    assert advised(said, "--exclude") == [pattern]
    assert len(following(messy, said, root).table) == 7


def test_other_dots_in_names_are_no_doubles(messy: Messy) -> None:
    root = tree(
        messy.path / "root", [*each(AB), "a/1.2.png", "a/1.3.png", "a/1.png", "b/1.png", "a/x.final.png"]
    )
    assert len(messy.folder(root).table) == 11


SYSTEM = ["~snapshot", "LOST.DIR", "thumbnails", "PaxHeaders", "PaxHeaders.1234", "@tmp", "FOUND.001", "RECYCLED", "Network Trash Folder"]  # fmt: skip


@pytest.mark.parametrize("name", SYSTEM)
def test_more_system_folders_are_passed_over(messy: Messy, name: str) -> None:
    root = tree(messy.path / "root", [*each(AB, images=4), f"{name}/y.png", f"a/{name}/y.png"])
    dataset = messy.folder(root)
    assert (dataset.classes, len(dataset.table)) == (["a", "b"], 8)
    assert f"passed over, as no folders or files of images: {name}" in messy.told()


@pytest.mark.parametrize("name", ["~$x.png", "pax_global_header", "Picasa.ini"])
def test_more_system_files_are_passed_over(messy: Messy, name: str) -> None:
    root = tree(messy.path / "root", each(AB, images=4))
    (root / "a" / name).write_bytes(b"of a system")
    assert len(messy.folder(root).table) == 8
    assert "passed over" in messy.told()
    assert "are no images" not in messy.told()


@pytest.mark.parametrize("ending", [".jpg", ".png", ".gif", ".tif", ".webp"])
def test_images_without_an_ending_are_said(messy: Messy, ending: str) -> None:
    root = tree(messy.path / "root", each(AB, images=4))
    picture(messy.path / f"y{ending}").rename(root / "a" / "bare")
    (root / "a" / "README").write_text("no image")
    assert len(messy.folder(root).table) == 8
    assert "2 files are no images and left out: 2 without an ending" in messy.told()
    assert f"1 of them looks like an image by content (first: {root}/a/bare)" in messy.told()
    (root / "a" / "bare").rename(root / "a" / f"bare{ending}")
    assert len(Messy(messy.path / "again", messy.log, 0).folder(root).table) == 9


def test_a_pattern_may_be_a_whole_path(messy: Messy) -> None:
    root = tree(messy.path / "root", [*each(AB, images=4), "a/crops/y.png"])
    assert len(messy.folder(root, exclude=f"{root.resolve()}/a/crops").table) == 8
