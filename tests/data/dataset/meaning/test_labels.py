"""Labels: which column they are in, and what is refused or told of their words."""

from __future__ import annotations

from pathlib import Path

import pytest

from lmd.data.dataset.meaning.spelling import is_missing, label_key
from lmd.errors import DataError
from tests.command import Command
from tests.messy import Messy, cases, picture, written


@pytest.fixture
def messy(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> Messy:
    return Messy(tmp_path, caplog)


def halves(one: str, other: str) -> list[str]:
    return [one, other] * 12


@pytest.mark.parametrize(
    "names",
    [
        ("diagnosis", "target"), ("label", "class"), ("dx", "diagnosis"), ("Label", "label"), ("class_name", "y"),
        ("Category", "label"), ("finding", "pathology"), ("grade", "severity"), ("labels", "ground truth"),
    ],
)  # fmt: skip
def test_two_columns_that_could_be_the_label_are_refused(messy: Messy, names: tuple[str, str]) -> None:
    columns = {"image": cases()["image"], names[0]: halves("a", "b"), names[1]: halves("0", "1")}
    with pytest.raises(
        DataError, match=f"two columns that could be the label, '{names[0]}' and '{names[1]}'.*--label-column"
    ):
        messy.table(columns)
    assert messy.table(columns, label_column=names[0]).classes == ["a", "b"]
    assert f"label '{names[0]}'" in messy.told()


def test_a_label_column_that_is_ignored_leaves_the_other(messy: Messy) -> None:
    columns = {**cases(), "diagnosis": halves("x", "y")}
    assert messy.table(columns, ignore_column=("label",)).classes == ["x", "y"]


@pytest.mark.parametrize(
    "name", ["Finding Labels", "findings", "dx", "Class Name", "histopathology", "lesion_type", "Grade"]
)
def test_other_usual_names_are_found(messy: Messy, name: str) -> None:
    assert messy.table({"image": cases()["image"], name: halves("a", "b")}).classes == ["a", "b"]


TWINS = [
    ("1", "1.0"), ("1", "01"), ("0", "0.0"), ("1,0", "1"), ("nevus", "Nevus"), ("nevus", "nevus\u200b"),
    ("basal cell", "basal  cell"), ("basal cell", "basal\u00a0cell"), ("basal cell", "basal_cell"), ("naévus", "nae\u0301vus"),
    ("nevus", "ｎevus"), ("ne\u00advus", "nevus"), ("basal\u2009cell", "basal cell"), ("1e0", "1"), ("T-1", "t 1"), ("Grade 1", "Grade1"), ("nevus.", "nevus"), ("Barrett's", "Barrett’s"), ("AK", "АК"),
    ('="1"', "1"), ("1,000", "1000"), ("a&b", "a &amp; b"), ("TRUE", "1"), ("yes", "Y"), ("BI-RADS 4", "BIRADS 4"),
]  # fmt: skip


@pytest.mark.parametrize(("one", "other"), TWINS)
def test_labels_that_a_reader_takes_for_one_are_refused_with_rows(messy: Messy, one: str, other: str) -> None:
    labels = [one, "other", other, "other"] * 6
    with pytest.raises(DataError, match=r"labels '.*' \(row [24]\) and '.*' \(row [24]\) differ only by"):
        messy.table(cases(label=labels))
    assert not messy.out.exists()


@pytest.mark.parametrize(
    ("one", "other"), [("1", "10"), ("1 0", "10"), ("T1", "T2"), ("1.5", "1"), ("C++", "C"), ("I", "II")]
)
def test_labels_that_differ_stay_two(one: str, other: str) -> None:
    assert label_key(one) != label_key(other)


@pytest.mark.parametrize(
    ("one", "other"), [("1", "01"), ("nevus", "Nevus"), ("basal cell", "basal_cell"), ("a\u200b", "a")]
)
def test_class_folders_that_a_reader_takes_for_one_are_refused(messy: Messy, one: str, other: str) -> None:
    for number, name in enumerate((one, other, "third")):
        picture(messy.path / "root" / name / "x.png", number)
    with pytest.raises(DataError, match=r"class folders '.*' and '.*' differ only by"):
        messy.folder(messy.path / "root")


def test_words_that_may_mean_not_known_are_told_by_name(messy: Messy) -> None:
    words = ["nevus", "mel", "nan", "n/a", "?", "None"]
    dataset = messy.table(cases(label=words * 4))
    assert len(dataset.classes) == 6
    assert "'nan' 4, 'n/a' 4, '?' 4, 'None' 4" in messy.told()
    assert "--drop-label" in messy.told()


def test_labels_are_left_out_on_request(messy: Messy) -> None:
    dataset = messy.table(cases(label=["nevus", "mel", "nan", "?"] * 6), drop_label=("nan", "?"))
    assert dataset.classes == ["mel", "nevus"]
    assert len(dataset.table) == 12
    listed = (messy.out / "skipped.csv").read_text()
    assert "has the label 'nan', left out by --drop-label, in row 4" in listed
    with pytest.raises(DataError, match="no label 'gone' to leave out"):
        Messy(messy.path / "more", messy.log).table(cases(), drop_label="gone")


def test_a_class_folder_named_unknown_is_told(messy: Messy) -> None:
    for number, name in enumerate(("nevus", "unknown") * 6):
        picture(messy.path / "root" / name / f"x{number}.png", number)
        picture(messy.path / "root" / "mel" / f"y{number}.png", 20 + number)
    messy.folder(messy.path / "root")
    assert "'unknown' 6" in messy.told()
    assert "leave its images out with --exclude" in messy.told()
    other = Messy(messy.path / "more", messy.log, 0)
    assert other.folder(messy.path / "root", exclude="unknown").classes == ["mel", "nevus"]


def test_the_classes_are_printed_with_their_counts(messy: Messy, lmd: Command) -> None:
    path = written(messy.path / "cases.csv", cases())
    code, out, _ = lmd("prepare", "table", "--table", path, "--root", messy.root, "--out", messy.out)
    assert code == 0
    rows = [line.split() for line in out.splitlines()]
    assert ["class", "train", "val", "test", "all"] in rows
    assert [row[-1] for row in rows if row[0] in ("melanoma", "nevus")] == ["12", "12"]


def marks(**values: str) -> dict[str, list[str]]:
    return {"image": cases()["image"], **{name: list(text) for name, text in values.items()}}


@pytest.mark.parametrize(
    ("yes", "no"), [("1", "0"), ("1.0", "0.0"), ("True", "False"), ("x", ""), ("yes", "no")]
)
def test_columns_that_mark_the_class_are_read(messy: Messy, yes: str, no: str) -> None:
    pattern = [yes, no, no] * 8
    columns = {
        "image": cases()["image"],
        "MEL": pattern,
        "NV": pattern[2:] + pattern[:2],
        "BCC": pattern[1:] + pattern[:1],
    }
    dataset = messy.table(columns)
    assert dataset.classes == ["BCC", "MEL", "NV"]
    labels = dict(zip(dataset.table["id"], dataset.table["label"], strict=True))
    assert (labels["x00.png"], labels["x01.png"], labels["x02.png"]) == ("MEL", "NV", "BCC")
    assert "label 'MEL' 'NV' 'BCC'" in messy.told()


def test_several_marks_in_a_row_are_refused(messy: Messy) -> None:
    with pytest.raises(
        DataError, match=r"marks 'A' and 'B' in row 4 \(1 such row\).*multi-label.*not supported"
    ):
        messy.table(marks(A="101" * 8, B="011" + "010" * 7))


def test_a_row_without_a_mark_has_no_label(messy: Messy) -> None:
    columns = marks(A="00" + "10" * 11, B="01" + "01" * 11)
    with pytest.raises(
        DataError, match=r"marks no class in row 2 \(1 such row\).*--label-columns.*--unmarked"
    ):
        messy.table(columns)
    with pytest.raises(DataError, match="has no label in row 2"):
        messy.table(columns, label_columns="A,B")
    assert messy.table(columns, label_columns="A,B", unmarked="C").classes == ["A", "B", "C"]
    other = Messy(messy.path / "more", messy.log)
    assert len(other.table(columns, label_columns="A,B", skip_bad=True).table) == 23


@pytest.mark.parametrize(
    "columns",
    [
        {"OD": "10" * 12, "OS": "01" * 12, "Befund-Text": ["AMD", "DR", "AMD"] * 8},
        {"artefact": "10" * 12, "good_quality": "01" * 12, "what": ["nv", "mel"] * 12},
        {"Edema": "10" * 12, "No Finding": "01" * 12, "Consolidation": ["1.0", "0", "-1.0"] * 8},
        {"MEL": "10" * 12, "NV": "01" * 12, "outcome": ["alive", "dead"] * 12},
    ],
)
def test_marks_beside_what_may_be_the_label_are_asked_about(
    messy: Messy, columns: dict[str, str | list[str]]
) -> None:
    with pytest.raises(DataError, match=r"--label-column.*--label-columns"):
        messy.table({"image": cases()["image"], **{name: list(values) for name, values in columns.items()}})
    assert not messy.out.exists()


def test_a_place_in_the_image_is_no_label(messy: Messy) -> None:
    """NIH's table has a column "OriginalImagePixelSpacing[x,y]", which a comma parts into two."""
    columns = {
        "Image Index": cases()["image"],
        "Finding Labels": halves("a", "b"),
        "Spacing[x": ["0.1"] * 24,
        "y]": ["0.2", "0.3"] * 12,
    }
    assert messy.table(columns).classes == ["a", "b"]
    other = Messy(messy.path / "more", messy.log)
    assert other.table(cases(x=["5", "6"] * 12, y=["7", "8"] * 12)).classes == ["melanoma", "nevus"]


def test_codes_with_a_point_are_classes(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    messy = Messy(tmp_path, caplog, 48)
    codes = [f"17{row % 3}.{row % 4}" for row in range(12)] * 4
    assert len(messy.table(cases(48, label=codes)).classes) == 12
    other = Messy(messy.path / "more", messy.log)
    assert len(other.table(cases(label=["3", "4", "3+4", "4+3"] * 6)).classes) == 4


def test_the_columns_of_the_classes_may_be_named(messy: Messy) -> None:
    columns = marks(A="10" * 12, B="01" * 12, C="11" * 12)
    with pytest.raises(DataError, match="multi-label"):
        messy.table(columns)
    assert messy.table(columns, label_columns="A,B").classes == ["A", "B"]
    with pytest.raises(DataError, match="no image column"):
        Messy(messy.path / "more", messy.log).table(columns, label_columns="A,image")


def test_properties_of_a_patient_are_no_classes(messy: Messy) -> None:
    assert messy.table(marks(A="10" * 12, B="01" * 12, male="11" * 12, is_test="0" * 24)).classes == [
        "A",
        "B",
    ]


@pytest.mark.parametrize(
    "text",
    ["Mass|Effusion", "A|B", "['Mass', 'Effusion']", "nevus;melanoma", "nevus, melanoma", "nevus + melanoma"],
)
def test_several_classes_in_a_label_are_refused(messy: Messy, text: str) -> None:
    labels = [*cases()["label"][:-1], text]
    with pytest.raises(DataError, match=r"several classes in row 25.*not supported"):
        messy.table(cases(label=labels))


def test_a_comma_within_a_name_is_no_list(messy: Messy) -> None:
    assert messy.table(cases(label=halves("melanoma, NOS", "nevus"))).classes == ["melanoma, NOS", "nevus"]


@pytest.mark.parametrize(
    "values",
    [
        [f"{row * 0.37:.2f}" for row in range(24)],
        [f"{row * 0.37:.2f}".replace(".", ",") for row in range(24)],
        [str(30 + 3 * row) for row in range(24)],
        [f"{1 + row / 10}" for row in range(12)] * 2,
        [f"-{row}.5" for row in range(24)],
    ],
)  # fmt: skip
def test_measured_numbers_are_refused(messy: Messy, values: list[str]) -> None:
    with pytest.raises(DataError, match="is this a regression target"):
        messy.table(cases(label=values))


@pytest.mark.parametrize(
    "values",
    [[str(row % 12) for row in range(24)], ["0.5", "1.5", "2.5"] * 8, [str(row % 4) for row in range(24)]],
)
def test_numbers_of_classes_are_classes(messy: Messy, values: list[str]) -> None:
    assert sorted(messy.table(cases(label=values)).classes) == sorted(set(values))


def test_a_label_for_each_row_is_refused(messy: Messy) -> None:
    with pytest.raises(
        DataError, match=r"another label in each of 24 rows of column 'label'.*is it the label"
    ):
        messy.table(cases(label=[f"report {row} of the day" for row in range(24)]))


def test_words_for_not_known() -> None:
    assert all(
        map(
            is_missing,
            ["", " ", "NaN", "n/a", "N.A.", "?", "--", "unknown", "(unknown)", "\u200b", "None", "#N/A"],
        )
    )
    assert not any(map(is_missing, ["0", "nevus", "no", "naevus", "normal", "none of these", "other"]))


def test_numbers_for_not_known_are_told(messy: Messy) -> None:
    messy.table(cases(label=["0", "1", "-1", "999"] * 6))
    assert "'-1' 6, '999' 6" in messy.told()


def test_a_list_of_one_label_is_the_label(messy: Messy) -> None:
    assert messy.table(cases(label=["['D']", '["N"]'] * 12)).classes == ["D", "N"]


def test_a_label_of_ones_and_zeros_beside_other_flags_is_the_label(messy: Messy) -> None:
    columns = {"image": cases()["image"], "target": halves("0", "1"), "attribution": ["0", "0", "1"] * 8}
    assert messy.table(columns).classes == ["0", "1"]


def test_marks_of_get_dummies_are_read(messy: Messy) -> None:
    columns = {
        "image": cases()["image"],
        "label_mel": ["True", "False"] * 12,
        "label_nv": ["False", "True"] * 12,
    }
    assert messy.table(columns).classes == ["label_mel", "label_nv"]


@pytest.mark.parametrize("named", [False, True])
def test_two_columns_that_are_opposites_are_told_to_be_taken_for_classes(messy: Messy, named: bool) -> None:
    """They may be a property, such as an ulcer and none. Named ones are what was asked for."""
    columns = marks(ulcer="10" * 12, no_ulcer="01" * 12)
    options = {"label_columns": ("ulcer", "no_ulcer")} if named else {}
    assert messy.table(columns, **options).classes == ["no_ulcer", "ulcer"]
    told = "'ulcer' and 'no_ulcer' hold 1 and 0, each row one 1: they are taken for two classes;"
    assert (told in messy.told()) == (not named)
