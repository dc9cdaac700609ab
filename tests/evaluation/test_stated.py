"""Files of shares and costs, and wanted sensitivities: what is read, and one line for what is wrong."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lmd.errors import DataError, SettingsError
from lmd.evaluation.stated import read_costs, read_shares, wanted_sensitivities
from tests.evaluation.probable import CLASSES


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("prior.csv", "class,share\nrare,0.1\ncommon,0.7\nless,0.2\n"),
        ("prior.csv", "share;class\n0.1;rare\n0.7;common\n0.2;less\n"),
        ("prior.yaml", "rare: 0.1\ncommon: 0.7\nless: 0.2\n"),
        ("prior.json", '{"rare": 0.1, "common": 0.7, "less": 0.2}'),
    ],
)
def test_shares_are_read_in_the_order_of_the_classes(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    np.testing.assert_allclose(read_shares(tmp_path / name, CLASSES), [0.7, 0.2, 0.1])


def test_rounded_shares_are_made_to_sum_to_one(tmp_path: Path) -> None:
    (tmp_path / "p.yaml").write_text("common: 0.333\nless: 0.333\nrare: 0.333\n")
    assert read_shares(tmp_path / "p.yaml", CLASSES).tolist() == pytest.approx([1 / 3] * 3)


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("p.csv", "class,share\ncommon,0.7\nless,0.2\n", "has no share of rare"),
        ("p.csv", "class,share\ncommon,0.7\nles,0.2\nrare,0.1\n", "class 'les'.*did you mean 'less'"),
        ("p.csv", "class,share\ncommon,0.7\ncommon,0.2\nrare,0.1\n", "'common' twice, again in row 3"),
        ("p.csv", "class,share\ncommon,0.7\nless,0.2\nrare,0.3\n", "sum to 1.2, not to 1"),
        ("p.csv", "class,share\ncommon,70\nless,20\nrare,10\n", "sum to 100, not to 1; .*divide them by 100"),
        ("p.csv", "class,share\ncommon,0.9\nless,-0.2\nrare,0.3\n", "'less' is '-0.2'.*from 0 on"),
        ("p.csv", "class,share\ncommon,nan\nless,0.2\nrare,0.3\n", "'common' is 'nan'"),
        ("p.csv", "class,prevalence\ncommon,0.7\nless,0.2\nrare,0.1\n", "lacks the column 'share'"),
        ("p.csv", "", "is empty"),
        ("p.yaml", "common: many\nless: 0.2\nrare: 0.1\n", "'common' is 'many'"),
        ("p.yaml", "common: true\nless: 0.2\nrare: 0.1\n", "'common' is 'True'"),
        ("p.yaml", "- 0.7\n- 0.2\n- 0.1\n", "must give each class its share"),
        ("p.yaml", "common: [", "is not YAML"),
        ("p.json", "{", "is not JSON"),
    ],
)
def test_wrong_shares_are_one_line(tmp_path: Path, name: str, text: str, words: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(DataError, match=rf"p\.\w+.*{words}") as error:
        read_shares(tmp_path / name, CLASSES)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["none.csv", "none.yaml"])
def test_a_file_that_is_not_there_is_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError, match=name):
        read_shares(tmp_path / name, CLASSES)


COSTS = "class,common,less,rare\nrare,20,5,0\ncommon,0,1,2\nless,3,0,1\n"


def test_costs_are_read_in_the_order_of_the_classes(tmp_path: Path) -> None:
    (tmp_path / "c.csv").write_text(COSTS)
    assert read_costs(tmp_path / "c.csv", CLASSES).tolist() == [[0, 1, 2], [3, 0, 1], [20, 5, 0]]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (COSTS.replace("\nless,3,0,1", ""), "has 0 rows of the class 'less'"),
        (COSTS.replace("less,3", "rare,3"), "has 0 rows of the class 'less'"),
        (COSTS.replace("less,3", "lesser,3"), "the row 'lesser'.*did you mean 'less'"),
        (COSTS.replace(",rare\n", ",rear\n"), "lacks the column 'rare'; known: class, common, less, rear"),
        ("class,common,less,rare,refer\ncommon,0,1,2,1\nless,3,0,1,1\nrare,9,9,0,1\n", "the column 'refer'"),
        (COSTS.replace("20", "dear"), "cost of 'rare' taken for 'common' is 'dear'"),
        (COSTS.replace("20", "-1"), "'-1', and must be a number from 0 on"),
        ("class,common,less,rare\ncommon,0,0,0\nless,0,0,0\nrare,0,0,0\n", "every cost is 0"),
    ],
)
def test_wrong_costs_are_one_line(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "c.csv").write_text(text)
    with pytest.raises(DataError, match=rf"c\.csv.*{words}"):
        read_costs(tmp_path / "c.csv", CLASSES)


def test_sensitivities_from_texts_and_from_a_mapping() -> None:
    assert wanted_sensitivities(["rare=0.95", "less=.8"], CLASSES) == {"rare": 0.95, "less": 0.8}
    assert wanted_sensitivities({"rare": 0.95}, CLASSES) == {"rare": 0.95}
    assert wanted_sensitivities(["a=b=0.5"], ["a=b", "c"]) == {"a=b": 0.5}


@pytest.mark.parametrize(
    ("texts", "words"),
    [
        (["rear=0.95"], "no class 'rear'; did you mean 'rare'"),
        (["rare=95"], "above 0 and below 1"),
        (["rare=1"], "above 0 and below 1"),
        (["rare=high"], "must be CLASS=NUMBER"),
        (["rare=0.9", "rare=0.95"], "'rare' has the sensitivity 0.9 already"),
        (["0.95"], "no class ''"),
    ],
)
def test_wrong_sensitivities_are_one_line(texts: list[str], words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        wanted_sensitivities(texts, CLASSES)
