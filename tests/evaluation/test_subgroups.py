"""Subgroups of a metadata column: which images are in which cell, their metrics, what is refused."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from lmd.errors import DataError, SettingsError
from lmd.evaluation import measure
from lmd.evaluation.groups.subgroups import By, cells_of, parse_by, subgroups_of, warning_of

NAMES = ["NV", "MEL", "DF"]


def rows(**columns: list[str]) -> pd.DataFrame:
    number = len(next(iter(columns.values())))
    ids = [f"i{row}" for row in range(number)]
    return pd.DataFrame({"id": ids, "group": ids, **columns})


def cells(by: By, table: pd.DataFrame) -> dict[str | None, list[int]]:
    return {name: np.flatnonzero(here).tolist() for name, here in cells_of(by, table).items()}


def test_each_value_is_a_cell_and_empty_ones_are_their_own() -> None:
    table = rows(sex=["male", "female", "", " male", "NA", "unknown", "nan"])
    assert cells(By("sex"), table) == {"female": [1], "male": [0, 3], "unknown": [5], None: [2, 4, 6]}


def test_numbers_are_binned_from_multiples_of_the_width() -> None:
    table = rows(age=["45.0", "5", "", "50", "49.9", "0", "-3", "100"])
    assert cells(By("age", 10), table) == {
        "-10 to under 0": [6],
        "0 to under 10": [1, 5],
        "40 to under 50": [0, 4],
        "50 to under 60": [3],
        "100 to under 110": [7],
        None: [2],
    }
    thickness = rows(mm=["0.1", "0.2", "0.3", "0.7"])  # .3 / .1 is 2.9999999999999996.
    assert list(cells(By("mm", 0.1), thickness)) == [
        "0.1 to under 0.2", "0.2 to under 0.3", "0.3 to under 0.4", "0.7 to under 0.8",
    ]  # fmt: skip


def test_a_column_without_any_value_is_one_cell() -> None:
    assert cells(By("age", 10), rows(age=["", "", ""])) == {None: [0, 1, 2]}


def test_every_metric_of_a_cell_is_that_of_its_images() -> None:
    random = np.random.default_rng(0)
    labels = np.array([0] * 60 + [1] * 40)
    shares = random.dirichlet(np.ones(3), 100)
    sex = random.choice(["m", "f"], 100)
    group = [f"g{row // 2}" for row in range(100)]
    ids = [f"i{row:03d}" for row in range(100)]
    predictions = pd.DataFrame(shares.astype(str), columns=[f"p_{name}" for name in NAMES])
    predictions = predictions.assign(id=ids, label=np.array(NAMES)[labels], group=group)
    manifest = pd.DataFrame({"id": ids, "group": group, "sex": sex}).iloc[::-1]  # In another order.
    bands = {"head": ["NV"], "tail": ["MEL", "DF"]}
    (column,) = subgroups_of(predictions, manifest, [By("sex")], NAMES, bands, "test")
    assert (column.column, column.width) == ("sex", None)
    assert [cell.value for cell in column.cells] == ["f", "m"]
    for cell in column.cells:
        here = sex == cell.value
        alone = measure(labels[here], shares[here], np.array(group)[here], classes=NAMES, bands=bands)
        assert cell.n == here.sum()
        assert cell.groups == len(set(np.array(group)[here]))
        assert cell.metrics == alone.metrics
        assert cell.classes == alone.classes
        assert cell.reasons == alone.reasons


def test_small_cells_have_a_warning() -> None:
    labels = ["NV"] * 40 + ["MEL"] * 12 + ["DF"] * 2
    site = ["arm"] * 52 + ["leg"] * 2
    table = rows(site=site, label=labels)
    predictions = table[["id", "group", "label"]].assign(
        **{f"p_{name}": np.where(table["label"] == name, 0.8, 0.1) for name in NAMES}
    )
    (column,) = subgroups_of(predictions, table, [By("site")], NAMES, {}, "test")
    arm, leg = column.cells
    assert arm.warning == "none of DF"
    assert leg.warning == "only 2 images or groups; none of NV, MEL; fewer than 10 images of DF"
    names = [f"c{number}" for number in range(9)]
    told = warning_of(np.array([1] + [0] * 8), np.ones(9), 1, names)
    assert told == (
        "only 1 image or group; none of c1, c2, c3, c4, c5 and 3 more; fewer than 10 images of c0"
    )


def test_what_by_means() -> None:
    columns = ["id", "file", "label", "split", "group", "sex", "age", "dose:mg"]
    assert parse_by("dose:mg", columns) == By("dose:mg")
    assert parse_by("dose:mg:5", columns) == By("dose:mg", 5.0)
    assert parse_by("age:0.5", columns) == By("age", 0.5)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("sexe", r"--by sexe: no such column; did you mean 'sex'\? \(columns: sex, age, patient_id\)"),
        ("age:ten", r"--by age:ten: the width of the bins must be a positive number, as in age:10"),
        ("age:0", r"must be a positive number"),
        ("age:-5", r"must be a positive number"),
        ("age:nan", r"must be a positive number"),
        ("age:inf", r"must be a positive number"),
        ("age:", r"must be a positive number"),
        ("label", r"--by label: this column names images, groups or people, or is measured already"),
        ("group", r"take a property such as sex or site"),
        ("patient_id", r"--by patient_id: this column names images, groups or people"),
    ],
)
def test_what_cannot_be_meant_is_refused(text: str, message: str) -> None:
    columns = ["id", "file", "label", "split", "group", "sex", "age", "patient_id"]
    with pytest.raises(SettingsError, match=message):
        parse_by(text, columns)


def test_a_data_set_without_metadata_says_so() -> None:
    with pytest.raises(SettingsError, match=r"\(the data set has no metadata columns\)"):
        parse_by("sex", ["id", "file", "label", "split", "group"])


def test_a_value_that_is_no_number_is_named() -> None:
    with pytest.raises(DataError, match=r"--by age:10: image 'i1' has age = 'forty', which is no number"):
        cells_of(By("age", 10), rows(age=["40", "forty", "inf"]))
    with pytest.raises(DataError, match=r"image 'i1' has age = 'inf'"):
        cells_of(By("age", 10), rows(age=["40", "inf"]))


def test_too_many_values_are_refused_with_a_way_out() -> None:
    ages = [str(20 + number) for number in range(60)]
    with pytest.raises(DataError, match=r"60 different values, and 30 are the most .* such as --by age:10"):
        cells_of(By("age"), rows(age=ages))
    with pytest.raises(DataError, match=r"--by age:1: 60 different values.* such as --by age:10"):
        cells_of(By("age", 1), rows(age=ages))
    names = [f"town {number}" for number in range(31)]
    with pytest.raises(DataError, match="gather its values into fewer"):
        cells_of(By("town"), rows(town=names))


def test_values_that_may_name_people_are_refused() -> None:
    """They would stand in the run folder, where no such name may be."""
    with pytest.raises(DataError, match="its 12 values tell most of the 12 images or groups apart"):
        cells_of(By("who"), rows(who=[f"Ms {letter}" for letter in "ABCDEFGHIJKL"]))
    assert len(cells_of(By("who"), rows(who=[f"ward {row % 12}" for row in range(24)]))) == 12
