"""Whom an image belongs to: found under every usual name, refused where it is in doubt, never silent."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from lmd.data.audit.fingerprint import fingerprint
from lmd.data.audit.text import format_fingerprint
from lmd.data.dataset.checks import crossing_groups
from lmd.data.dataset.manifest import Dataset, read_dataset
from lmd.data.dataset.meaning.codes import may_be_codes
from lmd.data.dataset.meaning.columns import level_of, suspects_a_person
from lmd.data.dataset.meaning.spelling import id_key
from lmd.errors import DataError
from tests.command import Command
from tests.messy import Messy, cases, persons, written


@pytest.fixture
def messy(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> Messy:
    return Messy(tmp_path, caplog)


PATIENTS = (
    "Patient ID", "PatientID", "patientId", "patient_id", "PATIENT_ID", "patient", "Patient", "patient-id", "patient.id",
    "patientid", "Patient No.", "PatNr", "pat_id", "PatID", "subject_id", "Subject", "SubjectID", "USUBJID", "SUBJID",
    "participant_id", "person id", "MRN", "mrn", "medical_record_number", "hospital number", "PID", "pt_id",
    "anon_patient_id", "hashed_mrn", "id_paciente", "Patienten-ID", "患者ID", "Patient #", "ID_PATIENT", "unique_patient_id",
    "patient_name", "individual_id", "donor_id", "Patient Identifier", "record_id", "Hospital Patient ID",
    "Patient ID (site)", "Site Subject ID", "UHID", "empi",
)  # fmt: skip


@pytest.mark.parametrize("name", PATIENTS)
def test_a_column_of_patients_is_found_however_it_is_written(name: str) -> None:
    assert level_of(name) == "patient"


@pytest.mark.parametrize(
    ("name", "level"),
    [
        ("case_id", "case"), ("CaseNo", "case"), ("study_id", "study"), ("StudyInstanceUID", "study"),
        ("Accession Number", "study"), ("exam_id", "study"), ("video_id", "study"), ("SeriesInstanceUID", "series"),
        ("slide_id", "series"), ("lesion id", "lesion"), ("LesionID", "lesion"), ("nodule_id", "lesion"),
        ("group", "group"), ("patient_study_id", "study"), ("patient_lesion_id", "lesion"),
    ],
)  # fmt: skip
def test_other_levels_are_told_apart(name: str, level: str) -> None:
    assert level_of(name) == level


@pytest.mark.parametrize(
    "name",
    [
        "Patient Age", "patient_sex", "Patient Gender", "PatientWeight", "patient_group", "visit", "visit_number",
        "lesion_number", "lesion_name", "lesion_type", "study_name", "image_id", "isic_id", "age_approx", "site",
        "number_of_patients", "subject_height", "patient_birth_date", "case_type", "diagnosis", "copyright_license",
    ],
)  # fmt: skip
def test_what_only_tells_of_a_person_is_no_id(name: str) -> None:
    assert level_of(name) is None


def test_some_names_are_suspected() -> None:
    assert all(map(suspects_a_person, ["patient_surname", "ID", "subject initials", "bcr_patient_barcode_2"]))
    assert not any(
        map(suspects_a_person, ["Patient Age", "site", "age", "fitzpatrick", "patient_group_count"])
    )


@pytest.mark.parametrize("name", ["Patient ID", "PatientID", "patientId", "subject_id", "MRN", "lesion id"])
def test_the_groups_are_those_of_the_column(messy: Messy, name: str) -> None:
    dataset = messy.table(cases(**{name: persons()}))
    assert dataset.table["group"].tolist() == persons()
    assert crossing_groups(dataset.table) == []
    assert f"groups: 6 by '{name}'" in messy.told()
    assert dataset.info.recipe["columns"]["group"] == (name,) or dataset.info.recipe["columns"]["group"] == [
        name
    ]


LEAKING = (
    "Patient ID",
    "PatientID",
    "patientId",
    "subject_id",
    "case_id",
    "study_id",
    "MRN",
    "lesion id",
    "PATIENT",
    "Pat-Nr",
)


@pytest.mark.parametrize("name", LEAKING)
def test_a_table_whose_own_split_tears_a_patient_is_refused(messy: Messy, name: str) -> None:
    splits = (["train"] * 2 + ["val", "test"]) * 6
    with pytest.raises(DataError, match="'P0' has images in more than one split"):
        messy.table(cases(split=splits, **{name: persons()}))
    assert not messy.out.exists()


@pytest.mark.parametrize("name", LEAKING)
def test_a_column_of_persons_that_is_not_used_fails_inspect(messy: Messy, lmd: Command, name: str) -> None:
    """--group-column names another one: the persons are then torn, which `inspect --strict` does not pass."""
    columns = cases(mine=[str(row // 2) for row in range(24)], **{name: persons()})
    path = written(messy.path / "cases.csv", columns)
    options = ["--table", path, "--root", messy.root, "--group-column", "mine", "--seed", "3"]
    code, _, _ = lmd("prepare", "table", *options, "--out", messy.out)
    assert code == 0
    assert f"column '{name}' looks like persons or lesions and was not used" in messy.told()
    code, out, _ = lmd("inspect", messy.out, "--no-page", "--strict")
    assert code == 1
    assert f"column '{name}' looks like persons" in out
    messy.log.clear()
    code, _, _ = lmd("prepare", "table", *options, "--out", messy.path / "quiet", "--ignore-column", name)
    assert (code, "looks like persons" in messy.told()) == (0, False)
    assert lmd("inspect", messy.path / "quiet", "--no-page", "--strict")[0] == 0


@pytest.mark.parametrize(
    "name",
    [
        "RID",
        "eid",
        "hadm_id",
        "submitter_id",
        "cases.0.submitter_id",
        "barcode",
        "Chart No",
        "Reg No",
        "user_id",
        "child_id",
        "anon_pid",
        "No. Dossier",
        "病历号",
    ],
)
def test_ids_of_unknown_names_are_suspected(messy: Messy, name: str) -> None:
    dataset = messy.table(cases(**{name: persons()}))
    assert f"column '{name}' looks like persons or lesions and was not used" in messy.told()
    assert fingerprint(dataset).wrong


@pytest.mark.parametrize(
    "values", [[f"X{row // 4:03d}" for row in range(24)], [str(40511 + row // 4) for row in range(24)]]
)
def test_values_that_look_like_ids_are_suspected_under_any_name(messy: Messy, values: list[str]) -> None:
    messy.table(cases(IPP=values))
    assert "column 'IPP' looks like persons or lesions and was not used" in messy.told()


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("age", [str(40 + row % 7) for row in range(24)]), ("year", [str(2015 + row % 6) for row in range(24)]),
        ("date", [f"2026-01-{row % 9 + 1:02d}" for row in range(24)]), ("code", [f"C43.{row % 7}" for row in range(24)]),
        ("slice_no", [str(row % 8) for row in range(24)]), ("camera", ["canon", "nikon"] * 12),
    ],
)  # fmt: skip
def test_other_columns_are_not_suspected(messy: Messy, name: str, values: list[str]) -> None:
    dataset = messy.table(cases(patient_id=persons(), **{name: values}))
    assert fingerprint(dataset).wrong == []
    assert "looks like persons" not in messy.told()


def test_what_crosses_between_and_lies_within_the_patient_is_no_contradiction(messy: Messy) -> None:
    """A lesion that is seen in two studies of its patient."""
    studies = [f"S{row // 2}" for row in range(24)]
    lesions = [f"L{row // 4}-{row % 2}" for row in range(24)]
    dataset = messy.table(cases(patient_id=persons(), study_id=studies, lesion_id=lesions))
    assert dataset.table["group"].tolist() == persons()


def test_unknown_patients_are_not_nothing_wrong(messy: Messy, lmd: Command) -> None:
    messy.table(cases(patient_id=[""] * 20 + ["P1"] * 4))
    _, out, _ = lmd("inspect", messy.out, "--no-page")
    assert "patients of some images are not known: images of one patient may be in training and test" in out
    assert "nothing is wrong" not in out


def test_nested_levels_take_the_coarsest(messy: Messy) -> None:
    lesions = [f"L{row // 2}" for row in range(24)]
    studies = [f"S{row // 4}" for row in range(24)]
    dataset = messy.table(
        cases(lesion_id=lesions, study_id=studies, patient_id=[f"P{row // 8}" for row in range(24)])
    )
    assert dataset.table["group"].tolist() == [f"P{row // 8}" for row in range(24)]
    assert "by 'patient_id' and 'study_id' and 'lesion_id' (patient)" in messy.told()
    assert dataset.table["lesion_id"].tolist() == lesions
    assert "patient_id" not in dataset.table.columns


def test_split_lesion_takes_the_lesions_and_tells_of_the_patients(messy: Messy) -> None:
    lesions = [f"L{row // 2}" for row in range(24)]
    dataset = messy.table(cases(lesion_id=lesions, patient_id=persons()), split="lesion")
    assert dataset.table["group"].tolist() == lesions
    assert "column 'patient_id' looks like persons or lesions and was not used" in messy.told()
    assert [line for line in fingerprint(dataset).wrong if "patient_id" in line]


@pytest.mark.parametrize(
    ("columns", "names"),
    [
        (
            {"patient_id": persons(), "study_id": [f"S{row % 5}" for row in range(24)]},
            ("patient_id", "study_id"),
        ),
        (
            {"patient_id": persons(), "subject": [f"S{row // 3}" for row in range(24)]},
            ("patient_id", "subject"),
        ),
        (
            {"patient_id": persons(), "lesion_id": [str(row % 4) for row in range(24)]},
            ("patient_id", "lesion_id"),
        ),
        ({"group": [str(row % 3) for row in range(24)], "patient": persons()}, ("patient", "group")),
        ({"MRN": persons(), "PatientID": [f"P{row // 2}" for row in range(24)]}, ("MRN", "PatientID")),
    ],
)
def test_columns_that_contradict_each_other_are_refused(
    messy: Messy, columns: dict[str, list[str]], names: tuple[str, str]
) -> None:
    with pytest.raises(DataError, match=f"'{names[0]}' and '{names[1]}'.*--group-column.*--ignore-column"):
        messy.table(cases(**columns))
    dataset = messy.table(cases(**columns), ignore_column=names[1])
    assert dataset.table["group"].tolist() == columns[names[0]]


def test_two_columns_with_the_same_partition_are_one(messy: Messy) -> None:
    dataset = messy.table(cases(patient_id=persons(), MRN=[f"{row // 4 + 100}" for row in range(24)]))
    assert dataset.table["group"].nunique() == 6


@pytest.mark.parametrize("split", ["patient", "lesion", "group"])
def test_a_split_by_what_is_not_known_is_refused(messy: Messy, split: str) -> None:
    with pytest.raises(DataError, match=f"--split {split} needs a column.*'age'.*--group-column"):
        messy.table(cases(age=["50"] * 24), split=split)


def test_a_split_by_patient_does_not_take_lesions(messy: Messy) -> None:
    with pytest.raises(DataError, match=r"--split patient needs .*'lesion_id' names the lesion"):
        messy.table(cases(lesion_id=persons()), split="patient")


def test_no_patients_is_said_and_is_no_failure(messy: Messy, lmd: Command) -> None:
    messy.table(cases())
    assert "patients are not known: images of one patient may be in training and test" in messy.told()
    code, out, _ = lmd("inspect", messy.out, "--no-page", "--strict")
    assert code == 0
    assert "patients are not known: images of one patient may be in training and test" in out
    assert "nothing is wrong" not in out


def test_known_patients_let_inspect_say_that_nothing_is_wrong(messy: Messy) -> None:
    dataset = messy.table(cases(patient_id=persons()))
    assert format_fingerprint(fingerprint(read_dataset(dataset.folder)))[-1] == "nothing is wrong"


ONE_PERSON = [
    ("p1", "P1"), ("3", "3.0"), ("3", "03"), ("P3", "P3.0"), ("P03", "P3"), ("P 3", "P3"), ("P-3", "P_3"), ("P3", "P3\u200b"),
    ("P\u00a03", "P 3"), ("Ａ1", "A1"), ("é1", "e\u03011"), ("ann  smith", "Ann Smith"), ("p3", "p-3"), ("0012", "12.00"),
    ("'00123", "123"), ('="123"', "123"), ("12,345", "12345"), ("O'Brien", "O’Brien"), ("Smith, A", "Smith,A"), ("P1", "Р1"),
    ("P.1", "P-1"), ("P/1", "P1"), ("#12", "12"), ("(3)", "3"), ("P1.", "P1"), ("ID: 5", "ID 5"),
]  # fmt: skip


@pytest.mark.parametrize(("one", "other"), ONE_PERSON)
def test_ids_of_one_person_written_differently_are_refused_or_merged_or_kept(
    messy: Messy, one: str, other: str
) -> None:
    ids = [one if row % 2 else other for row in range(12)] + ["Q7"] * 6 + ["Q8"] * 6
    with pytest.raises(
        DataError, match=r"may be one, written differently: .*\(row \d+\).*--similar-ids merge"
    ):
        messy.table(cases(patient_id=ids))
    merged = messy.table(cases(patient_id=ids), similar_ids="merge")
    assert merged.table["group"].nunique() == 3
    messy = Messy(messy.path / "again", messy.log)
    assert messy.table(cases(patient_id=ids), similar_ids="keep").table["group"].nunique() in (3, 4)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("1-2", "12"),
        ("P1", "P11"),
        ("1.2.840.1", "1.2.840.10"),
        ("10", "1"),
        ("A1B", "A1C"),
        ("P100", "P1"),
        ("1.1", "1.10"),
        ("0e12", "0e77"),
    ],
)
def test_ids_of_two_persons_stay_two(one: str, other: str) -> None:
    assert id_key(one) != id_key(other)


@pytest.mark.parametrize(
    "word",
    [
        "unknown",
        "NA",
        "nan",
        "-",
        "",
        "N/A",
        "None",
        "?",
        "Unknown ",
        "null",
        "missing",
        "\u200b",
        "k.A.",
        "#NV",
        "不詳",
        "-1",
        "xxxxx",
        "unknown_1",
        "Anonymous^Patient",
    ],
)
def test_a_placeholder_is_no_person(messy: Messy, word: str) -> None:
    ids = [word] * 16 + ["P1"] * 4 + ["P2"] * 4
    dataset = messy.table(cases(patient_id=ids))
    assert dataset.table["group"].nunique() == 18
    assert dataset.info.grouping is not None
    assert dataset.info.grouping.unknown == 16
    assert "16 of 24 images have no known patient" in messy.told()


def test_a_column_without_any_known_id_is_said_and_not_used(messy: Messy) -> None:
    messy.table(cases(patient_id=["unknown"] * 24))
    assert "column 'patient_id' holds no known id and was not used" in messy.told()
    assert "patients are not known" in messy.told()
    with pytest.raises(DataError, match="--split patient needs ids, and column 'patient_id'"):
        Messy(messy.path / "more", messy.log).table(cases(patient_id=["unknown"] * 24), split="patient")


def test_a_group_of_more_than_half_of_all_images_is_said(messy: Messy) -> None:
    messy.table(cases(patient_id=["P1"] * 16 + ["P2"] * 4 + ["P3"] * 4))
    assert "more than half of the images are of one patient: where 'patient_id' is no id" in messy.told()


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("study", ["HAM", "BCN", "MSK", "HAM"] * 6), ("lesion", ["0", "1"] * 12), ("case", ["case", "control"] * 12),
        ("animal", ["dog", "cat", "cow"] * 8), ("group", ["A", "B"] * 12), ("video", ["yes", "no"] * 12),
    ],
)  # fmt: skip
def test_a_cohort_a_flag_or_an_arm_is_no_id(messy: Messy, name: str, values: list[str]) -> None:
    dataset = messy.table(cases(patient_id=persons(), **{name: values}))
    assert dataset.table["group"].nunique() == 6
    assert f"column '{name}' has few values that do not look like ids, and was not used" in messy.told()


@pytest.mark.parametrize("name", ["study", "lesion", "case", "accession", "slide", "video", "group"])
def test_ids_under_a_short_name_are_ids(messy: Messy, name: str) -> None:
    assert (
        messy.table(cases(**{name: [f"A{row // 4 + 100}" for row in range(24)]})).table["group"].nunique()
        == 6
    )


def test_another_name_of_the_class_is_no_person(messy: Messy) -> None:
    labels = [f"c{row % 6}" for row in range(24)]
    assert fingerprint(
        messy.table(cases(label=labels, name=[f"class {row % 6}" for row in range(24)]))
    ).wrong[:1] != [
        "column 'name' looks like persons or lesions and was not used: images of one lie in several groups"
    ]
    assert "looks like persons" not in messy.told()


def test_an_unknown_patient_is_known_by_the_lesion(messy: Messy) -> None:
    """One image of a lesion tells the patient of all; without any, the lesion stays together."""
    patients = ["P1", "unknown", "unknown", "unknown", "P1", *persons(19, 3)]
    lesions = ["L1", "L1", "L2", "L2", "L3", *[f"M{row // 3}" for row in range(19)]]
    groups = messy.table(cases(patient_id=patients, lesion_id=lesions)).table["group"].tolist()
    assert groups[0] == groups[1] == groups[4] == "P1"
    assert groups[2] == groups[3] != "P1"


def test_ids_that_a_spreadsheet_shortened_are_refused(messy: Messy) -> None:
    with pytest.raises(DataError, match=r"shortened \('1.23457E\+11' in row 2\)"):
        messy.table(cases(patient_id=["1.23457E+11"] * 12 + ["9.87654E+11"] * 12))


def test_an_image_named_like_a_patient_is_another_group(messy: Messy) -> None:
    ids = ["x05.png"] * 4 + [""] * 20
    dataset = messy.table(cases(patient_id=ids))
    assert dataset.table["group"].nunique() == 21


def test_a_repeated_id_column_beside_the_images_is_suspected(messy: Messy) -> None:
    dataset = messy.table(cases(id=persons()))
    assert "column 'id' looks like persons or lesions and was not used" in messy.told()
    assert fingerprint(dataset).wrong


def old(dataset: Dataset) -> Dataset:
    return Dataset(dataset.folder, dataset.table, dataset.info.model_copy(update={"grouping": None}))


def test_a_data_set_of_an_earlier_version_is_looked_at_too(messy: Messy) -> None:
    """Version 0.1 kept a column that it did not know as metadata, and split the patients."""
    dataset = messy.table(cases(**{"Patient ID": persons()}), ignore_column="Patient ID")
    assert fingerprint(dataset).wrong == []
    blind = old(dataset)
    del blind.info.recipe["ignore_column"]
    assert fingerprint(blind).grouping.level == "image"
    assert [line for line in fingerprint(blind).wrong if "'Patient ID' looks like persons" in line]


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("Chart No", [f"P{row // 4 + 1:02d}" for row in range(24)]), ("ID", [f"Z{row // 4 + 11}" for row in range(24)]),
        ("Pseudonym", [f"{row // 4 + 101}.0" for row in range(24)]), ("code", [f"S{row // 4:02d}" for row in range(24)]),
        ("Zaak", [f"Z{row // 4 + 11}" for row in range(24)]), ("ID", [f"A{row // 4:02d}.1" for row in range(24)]),
    ],
)  # fmt: skip
def test_ids_that_resemble_codes_of_diseases_are_suspected(
    messy: Messy, name: str, values: list[str]
) -> None:
    dataset = messy.table(cases(**{name: values}))
    assert f"column '{name}' looks like persons or lesions and was not used" in messy.told()
    assert fingerprint(dataset).wrong


def test_an_id_with_an_improbable_share_of_the_images_is_said(messy: Messy) -> None:
    messy.table(cases(patient_id=["999"] * 9 + [f"P{row}" for row in range(15)]))
    assert "patient '999' has 38% of the images: is it a code for unknown? then empty it" in messy.told()


@pytest.mark.parametrize(
    ("sizes", "found"),
    [
        ({"999": 8, "p": 1}, ["999"]),
        ({"0": 5, "p": 1}, ["0"]),
        ({"999": 4, "p": 1}, []),  # Few images, as any patient may have.
        ({"999": 8, "p": 4}, []),  # Others have as many: 999 is one of a row of numbers.
        ({"P17": 40, "p": 10}, ["P17"]),
        ({"P17": 40, "p": 20}, []),
    ],
)
def test_what_may_be_a_code_for_unknown(sizes: dict[str, int], found: list[str]) -> None:
    name, others = next(iter(sizes)), [f"q{row}" for row in range(11)]
    groups = pd.Series([name] * sizes[name] + [one for one in others for _ in range(sizes["p"])])
    assert [one for one, _ in may_be_codes(groups)] == found
