"""Splits that a table brings: words, numbers that a name decides, and columns that are none."""

from __future__ import annotations

from pathlib import Path

import pytest

from lmd.data.dataset.manifest import Dataset
from lmd.errors import DataError
from tests.messy import Messy, cases


@pytest.fixture
def messy(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> Messy:
    return Messy(tmp_path, caplog)


def thirds(one: str, two: str, three: str) -> list[str]:
    return [one] * 12 + [two] * 6 + [three] * 6


def sizes(dataset: Dataset) -> list[int]:
    return [len(dataset.split(name)) for name in ("train", "val", "test")]


WORDS = [
    ("train", "val", "test"), ("Training", "validate", "TEST"), ("train", "dev", "test"), ("TRAIN", "Valid", "Testing"),
    ("train_set", "validation set", "test-set"), (" train ", "val", "test"), ("trn", "val", "tst"), ("TrainSet", "DevSet", "TestSet"),
]  # fmt: skip


@pytest.mark.parametrize("words", WORDS, ids=lambda words: words[1])
@pytest.mark.parametrize("name", ["split", "Data Split", "partition", "set", "subset", "fold"])
def test_words_of_a_split(messy: Messy, words: tuple[str, str, str], name: str) -> None:
    dataset = messy.table(cases(**{name: thirds(*words)}))
    assert sizes(dataset) == [12, 6, 6]
    assert f"split '{name}'" in messy.told()


@pytest.mark.parametrize(
    "words",
    [
        ("0", "1", "2"),
        ("1", "2", "3"),
        ("True", "False", "True"),
        ("A", "B", "C"),
        ("train", "val", "holdout"),
    ],
)
def test_other_words_in_a_split_column_are_refused_and_may_be_translated(
    messy: Messy, words: tuple[str, str, str]
) -> None:
    other = next(word for word in words if word not in ("train", "val"))
    with pytest.raises(DataError, match=f"unknown split '{other}' in row .*--split-map, as in '{other}="):
        messy.table(cases(split=thirds(*words)))
    if len(set(words)) == 3:
        meant = dict(zip(words, ("train", "val", "test"), strict=True))
        assert sizes(messy.table(cases(split=thirds(*words)), split_map=meant)) == [12, 6, 6]


def test_a_map_to_no_split_is_refused(messy: Messy) -> None:
    with pytest.raises(DataError, match="'exam' is no split; they are train, val, test"):
        messy.table(cases(split=thirds("0", "1", "2")), split_map={"0": "train", "1": "exam"})
    with pytest.raises(DataError, match="--split-map needs the column"):
        messy.table(cases(), split_map={"0": "train"})


@pytest.mark.parametrize(
    ("yes", "no"),
    [
        ("1", "0"),
        ("True", "False"),
        ("yes", "no"),
        ("1.0", "0.0"),
        ("1", ""),
        ("x", ""),
        ("ja", "nein"),
        ("1", "NA"),
    ],
)
@pytest.mark.parametrize(
    "name", ["is_test", "IsTest", "test_flag", "is_testing", "in_test_set", "used_for_testing"]
)
def test_a_name_decides_what_numbers_mean(messy: Messy, name: str, yes: str, no: str) -> None:
    assert sizes(messy.table(cases(**{name: [no] * 18 + [yes] * 6}))) == [18, 0, 6]


def test_the_rest_of_is_train_is_test(messy: Messy) -> None:
    assert sizes(messy.table(cases(is_train=["1"] * 18 + ["0"] * 6))) == [18, 0, 6]


def test_several_columns_of_truths_are_one_split(messy: Messy) -> None:
    columns = cases(
        is_train=["1"] * 12 + ["0"] * 12,
        is_val=["0"] * 12 + ["1"] * 6 + ["0"] * 6,
        is_test=["0"] * 18 + ["1"] * 6,
    )
    assert sizes(messy.table(columns)) == [12, 6, 6]
    with pytest.raises(DataError, match="row 2 into two splits by the columns 'is_train' and 'is_test'"):
        Messy(messy.path / "more", messy.log).table(cases(is_train=["1"] * 24, is_test=["1"] + ["0"] * 23))


@pytest.mark.parametrize("name", ["set", "dataset", "fold", "phase", "group"])
def test_a_column_of_other_words_is_no_split(messy: Messy, name: str) -> None:
    dataset = messy.table(
        cases(**{name: thirds("HAM10000", "BCN", "MSK")}), ignore_column=name if name == "group" else ()
    )
    assert "splits" not in dataset.info.recipe
    if name != "group":
        assert set(dataset.table[name]) == {"HAM10000", "BCN", "MSK"}


def test_a_column_of_some_split_words_is_asked_about(messy: Messy) -> None:
    with pytest.raises(
        DataError, match=r"'train' and 'hold' in column 'set': is it the split\?.*--split-column"
    ):
        messy.table(cases(set=thirds("train", "test", "hold")))
    meant = {"hold": "val"}
    dataset = messy.table(cases(set=thirds("train", "hold", "test")), split_column="set", split_map=meant)
    assert sizes(dataset) == [12, 6, 6]


def test_two_columns_of_splits_are_refused(messy: Messy) -> None:
    columns = cases(split=thirds("train", "val", "test"), subset=thirds("train", "test", "val"))
    with pytest.raises(DataError, match="two columns that could be the split, 'split' and 'subset'"):
        messy.table(columns)
    assert sizes(messy.table(columns, split_column="subset")) == [12, 6, 6]


@pytest.mark.parametrize("word", ["", " ", "nan", "unknown", "-"])
def test_a_row_without_a_split_is_refused(messy: Messy, word: str) -> None:
    splits = [*thirds("train", "val", "test")[:-1], word]
    with pytest.raises(DataError, match="has no split in row 25"):
        messy.table(cases(split=splits))
    assert len(messy.table(cases(split=splits), skip_bad=True).table) == 23


@pytest.mark.parametrize("name", ["test", "valid", "val", "train", "is_holdout", "holdout"])
def test_a_name_that_does_not_decide_is_asked_about(messy: Messy, name: str) -> None:
    """A "test" may be a finding, and "valid" a mark of quality."""
    with pytest.raises(DataError, match=f"the column '{name}' .*is it a split.*--ignore-column"):
        messy.table(cases(**{name: ["0"] * 18 + ["1"] * 6}))
    meant = {"0": "train", "1": "test"}
    assert sizes(
        messy.table(cases(**{name: ["0"] * 18 + ["1"] * 6}), split_column=name, split_map=meant)
    ) == [18, 0, 6]


@pytest.mark.parametrize(
    "name",
    [
        "original_split",
        "kaggle_split",
        "split_1",
        "tvt",
        "Dataset Type",
        "image_set",
        "role",
        "data",
        "Aufteilung",
        "is_test",
    ],
)
def test_a_column_of_split_words_is_the_split_whatever_its_name(messy: Messy, name: str) -> None:
    assert sizes(messy.table(cases(**{name: thirds("train", "val", "test")}))) == [12, 6, 6]


@pytest.mark.parametrize(
    ("name", "values"),
    [("test", ["positive", "negative"] * 12), ("valid", ["0.3", "0.7"] * 12), ("kind", ["test"] * 24)],
)
def test_a_finding_is_no_split(messy: Messy, name: str, values: list[str]) -> None:
    assert "splits" not in messy.table(cases(**{name: values})).info.recipe
