"""Class folders that are none: a level too high, containers, masks; and real classes that look alike."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.messy import Messy
from tests.trees import each, following, refusal, tree

AB = ("a", "b")
PATIENTS = tuple(str(10253 + number) for number in range(6))


@pytest.fixture
def messy(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> Messy:
    return Messy(tmp_path, caplog, 0)


WRONG = {
    "IDC": each(PATIENTS, ("0", "1")),
    "patients": each(("P0", "P1", "P2"), AB),
    "patients with splits": each(("P0", "P1", "P2"), ("train", "test"), AB),
    "patients within splits": each(("train", "test"), ("P0", "P1"), ("benign", "malignant")),
    "centers": each(("CenterA", "CenterB"), ("benign", "malignant")),
    "centers, other names": each(("Center_A", "Center_B"), AB),
    "cohorts": each(("internal", "external"), ("benign", "malignant")),
    "organs": each(("lung", "colon"), ("normal", "tumor")),
    "sides": each(("left", "right"), ("no_dr", "dr_mild")),
    "years": each(("2019", "2020"), AB),
    "one class a patient": [
        f"P{n}/{('benign', 'malignant')[n % 2]}/x{n}{i}.png" for n in range(8) for i in range(2)
    ],
    "names of persons": each(tuple(f"{name}son" for name in "abcdefghijkl"), ("k1", "k2")),
}


@pytest.mark.parametrize("name", WRONG)
def test_the_same_folders_below_each_are_more_likely_the_classes(messy: Messy, name: str) -> None:
    root = tree(messy.path / "root", WRONG[name])
    said = refusal(messy, root)
    assert "may be no classes: the same folders (" in said
    inner = Path(said.partition("(such as ")[2].partition(")")[0])
    assert inner.is_dir()
    if name != "one class a patient":
        assert len(messy.folder(inner).classes) == 2


def test_findings_below_patients_are_no_patients(messy: Messy) -> None:
    said = refusal(messy, tree(messy.path / "root", WRONG["IDC"]), group_folders=True)
    assert "the same folders ('0', '1') lie below '10253', '10254', '10255' and 3 more" in said
    assert "--group-folders" not in said


RIGHT = {
    "years": (("melanoma", "nevus"), ("2019", "2020")),
    "dates": (("melanoma", "nevus"), ("2019-01-05", "2020-11-30")),
    "sides": (("grade0", "grade1", "grade2"), ("left", "right")),
    "zoom": (("benign", "malignant"), ("40X", "100X")),
    "stages": (("T1", "T2", "T3"), ("left", "right")),
    "views": (("normal", "pneumonia"), ("AP", "PA")),
    "kinds": (("melanoma", "nevus"), ("clinical", "dermoscopic")),
    "grades": (("0", "1", "2", "3", "4"), ("x", "y")),
    "both patients": (("benign", "malignant"), ("P1", "P2", "P3")),
    "slides": (("normal", "tumor"), ("slide_001", "slide_002")),
    "places": (("left", "center", "right"), ("s1", "s2")),
}


@pytest.mark.parametrize("name", RIGHT)
def test_ordinary_folders_below_classes_are_read_and_said(messy: Messy, name: str) -> None:
    classes, below = RIGHT[name]
    dataset = messy.folder(tree(messy.path / "root", each(classes, below)))
    assert dataset.classes == sorted(classes)
    assert len(dataset.table) == 3 * len(classes) * len(below)
    assert "taken as class" in messy.told()
    assert "where it is the class, give a folder above it as --root" in messy.told()


CONTAINERS = {
    "plants": each(("color", "grayscale", "segmented"), ("apple", "corn"), alike=True),
    "augmented": each(("data", "data_aug"), AB),
    "parts": each(("HAM10000_images_part_1", "HAM10000_images_part_2")),
    "numbers": each(("1. Original Images", "2. Processed Images"), AB),
    "batches": each(("batch_1", "batch_2", "batch_3"), AB),
    "one": each(("images",)),
}


@pytest.mark.parametrize("name", CONTAINERS)
def test_containers_are_no_classes(messy: Messy, name: str) -> None:
    root = tree(messy.path / "root", CONTAINERS[name])
    said = refusal(messy, root)
    assert f"{root} has no class folders: folders such as '" in said
    if name not in ("parts", "one"):
        assert len(messy.folder(Path(said.partition("(such as ")[2].partition(")")[0])).classes) == 2
    else:
        assert "use a table ('lmd prepare table')" in said


def test_containers_that_are_the_classes_may_be_renamed(messy: Messy) -> None:
    root = tree(messy.path / "root", each(("original", "augmented"), images=6))
    assert "rename them" in refusal(messy, root)
    for name in ("original", "augmented"):
        (root / name).rename(root / f"{name} by hand")
    assert messy.folder(root).classes == ["augmented by hand", "original by hand"]


def test_versions_of_images_below_classes_are_said(messy: Messy) -> None:
    root = tree(messy.path / "root", each(("apple", "corn"), ("color", "grayscale"), alike=True))
    assert len(messy.folder(root).table) == 12
    assert (
        "'color', 'grayscale' below the class folders may hold other versions of the same images"
        in messy.told()
    )
    assert "leave them out with --exclude 'grayscale'" in messy.told()


def test_real_trees_of_one_level_are_read(messy: Messy) -> None:
    classes = "dyed-lifted-polyps esophagitis CNV with_mask without_mask site_arm label0 label1 SEG case control".split()
    assert messy.folder(tree(messy.path / "root", each(classes, alike=True))).classes == sorted(classes)


@pytest.mark.parametrize(
    "names", [("patient_1", "patient_2"), ("Subject 01", "Subject 02"), ("labeled", "unlabeled")]
)
def test_folders_named_as_persons_are_no_classes(messy: Messy, names: tuple[str, ...]) -> None:
    assert "are named by what they hold" in refusal(messy, tree(messy.path / "root", each(names, images=6)))


def test_augmented_images_beside_the_others_are_said(messy: Messy) -> None:
    root = tree(messy.path / "root", [*each(AB), *each(AB, ("augmented",))])
    messy.folder(root)
    line = next(line for line in messy.log.messages if "other versions of the same images" in line)
    assert len(following(Messy(messy.path / "again", messy.log, 0), line, root).table) == 6


# Masks.

MASKED = {
    "COVID": [
        f"{c}/{kind}/{c}-{n}.png"
        for c in ("COVID", "Normal")
        for kind in ("images", "masks")
        for n in range(4)
    ],
    "beside": [*each(AB, alike=True), *each(AB, ("masks",), alike=True)],
    "labels": each(AB, ("images", "labels"), alike=True),
    "ground truth": each(AB, ("img", "Ground Truth"), alike=True),
    "own names": [*each(AB), *each(AB, ("Segmentation_masks",))],
    "beside the class": each(("COVID", "Normal", "COVID_masks", "Normal masks"), alike=True),
    "glued": each(("lungs", "others", "lungmasks"), alike=True),
    "splits": each(("train", "test"), ("images", "masks"), AB, alike=True),
    "labels above": [*each(AB, alike=True), *each(("labels",), AB, alike=True)],
    "labels of all": [*each(AB), *(f"labels/{c}-{n}.png" for c in AB for n in range(3))],
    "named labels": [*each(AB), *(f"gt/{c}-{n}_gt.png" for c in AB for n in range(3))],
}


@pytest.mark.parametrize("name", MASKED)
def test_folders_of_masks_are_refused_and_left_out_as_advised(messy: Messy, name: str) -> None:
    root = tree(messy.path / "root", MASKED[name])
    said = refusal(messy, root)
    assert "lie in folders of masks (first: " in said
    masks = int(said.partition(" of ")[0])
    dataset = following(messy, said, root)
    assert len(dataset.table) == len(MASKED[name]) - masks
    assert not dataset.table["file"].str.contains("mask|label|truth|gt", case=False).any()
    assert f"{masks} files left out by --exclude" in messy.told()
    assert len(dataset.classes) == 2


def test_masks_above_the_classes_are_left_step_by_step(messy: Messy) -> None:
    root = tree(messy.path / "root", each(("images", "masks"), AB, images=6, alike=True))
    assert "--exclude 'masks'" in refusal(messy, root)
    assert refusal(messy, root, exclude="masks").endswith(f"give --root {root}/images")
    assert messy.folder(root / "images").classes == ["a", "b"]


NAMES = [
    "{}-mask", "{}.mask", "mask_{}", "{} mask", "{}Mask", "{}_lesion", "{}_anno", "{}_label", "{}_superpixels", "{}_GT",
    "{}_Mask_1", "{}_seg_liver", "Mask-{}", "{}_GroundTruth", "{}_ground_truth", "{} (mask)", "{}_attribute_globules",
    "{}_segmentation", "{}_Annotation", "{}_msk", "{}[mask]", "{}_contour", "{}_binary",
]  # fmt: skip


@pytest.mark.parametrize("form", NAMES)
def test_files_named_as_masks_are_told_and_left_out_as_advised(messy: Messy, form: str) -> None:
    files = [
        f"{c}/{name}.png" for c in AB for n in range(4) for name in (f"X{c}{n}", form.format(f"X{c}{n}"))
    ]
    root = tree(messy.path / "root", files)
    messy.folder(root)
    line = next(line for line in messy.log.messages if "8 files are named as masks of other images" in line)
    again = Messy(messy.path / "again", messy.log, 0)
    table = following(again, line, root).table
    assert table["file"].tolist() == [f"{c}/X{c}{n}.png" for c in AB for n in range(4)]


def test_an_image_may_have_a_word_where_its_mask_has_another(messy: Messy) -> None:
    messy.folder(
        tree(
            messy.path / "root",
            [f"{c}/{kind}_{c}{n}.png" for c in AB for n in range(4) for kind in ("image", "mask")],
        )
    )
    assert "8 files are named as masks of other images" in messy.told()
    assert "--exclude 'mask_*'" in messy.told()


def test_advice_for_masks_leaves_out_no_image(messy: Messy) -> None:
    """Images of lesions have the name that masks of others have."""
    files = [*each(AB), "a/lesion_7.png", "b/lesion_8.png", "b/8.png"]
    root = tree(messy.path / "root", files)
    messy.folder(root)
    line = next(line for line in messy.log.messages if "named as a mask" in line)
    again = Messy(messy.path / "again", messy.log, 0)
    assert sorted(following(again, line, root).table["file"]) == sorted({*files} - {"b/lesion_8.png"})
