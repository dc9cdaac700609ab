"""Dataset folders: what is written is read again, and what is wrong is named in one line."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmd.data.dataset.checks import Leakage, check_table, crossing_groups, leakage
from lmd.data.dataset.info import INFO, MANIFEST, DatasetInfo
from lmd.data.dataset.manifest import Dataset, read_dataset, write_dataset
from lmd.errors import DataError
from tests import toy

Change = Callable[[pd.DataFrame], pd.DataFrame]


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    return toy.make_dataset(tmp_path)


def first_row(column: str, value: str) -> Change:
    return lambda table: table.assign(**{column: [value, *table[column][1:]]})


def test_a_folder_is_read_as_it_was_written(dataset: Dataset) -> None:
    again = read_dataset(dataset.folder)
    pd.testing.assert_frame_equal(again.table, dataset.table)
    assert again.info == dataset.info
    assert again.counts("train").tolist() == [40, 12, 5]
    assert again.labels("val").tolist() == [0] * 8 + [1] * 4 + [2] * 3
    assert all(path.is_file() for path in again.paths())


def test_the_folder_of_an_earlier_version_is_read(dataset: Dataset) -> None:
    """It called the frequency bands groups; what is written has today's names."""
    path = dataset.folder / INFO
    told = json.loads(path.read_text())
    assert (told["bands"]["tail"], told["bands_rule"]) == (["rare"], "by hand")
    names = {"bands": "groups", "bands_rule": "groups_rule"}
    path.write_text(json.dumps({names.get(name, name): value for name, value in told.items()}))
    assert read_dataset(dataset.folder).info == dataset.info


@given(st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1).filter(str.strip))
def test_any_id_and_metadata_survive_the_file(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    """Ids such as "007", "NA" or "1e5" must not become numbers or blanks."""
    source = _SOURCE or _SOURCE.append(toy.make_dataset(tmp_path_factory.mktemp("toy"))) or _SOURCE
    table = source[0].table.assign(note=text)
    table = first_row("id", text)(table)
    folder = tmp_path_factory.mktemp("out") / "data"
    write_dataset(folder, table, source[0].info)
    again = read_dataset(folder).table
    assert again["id"][0] == text
    assert set(again["note"]) == {text}


_SOURCE: list[Dataset] = []


@pytest.mark.parametrize("identity", ["007", "NA", "1e5", "nan", "None", "a,b", 'say "x"', "a\nb", "a\rb"])
def test_ids_are_texts(dataset: Dataset, tmp_path: Path, identity: str) -> None:
    write_dataset(tmp_path / "again", first_row("id", identity)(dataset.table), dataset.info)
    assert read_dataset(tmp_path / "again").table["id"][0] == identity


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (first_row("id", "image001"), r"id 'image001' stands more than once"),
        (first_row("file", "image001.png"), r"image 'image001\.png' stands more than once"),
        (first_row("file", "image086.png"), r"image 'image086\.png' is in more than one split"),
        (first_row("file", "../secret.png"), r"'\.\./secret\.png' lies outside"),
        (first_row("file", "/etc/secret.png"), r"'/etc/secret\.png' lies outside"),
        (first_row("label", "rrare"), r"label 'rrare' \(image 'image000'\).*did you mean 'rare'"),
        (first_row("split", "trian"), r"unknown split 'trian'.*did you mean 'train'"),
        (first_row("group", "image086"), r"group 'image086' has images in more than one split \(1 such"),
        (first_row("group", " "), r"no group in row 2"),
        (lambda table: table.iloc[:0], "no images"),
        (lambda table: table.drop(columns="label"), "lacks the column 'label'; it needs id, file"),
        (lambda table: table[table["label"] != "rare"], "class 'rare' is empty"),
        (
            lambda table: table[(table["label"] != "rare") | (table["split"] != "train")],
            "'rare' has no training",
        ),
    ],
)
def test_an_unsound_table_is_named_and_nothing_is_written(
    dataset: Dataset, tmp_path: Path, change: Change, message: str
) -> None:
    before = sorted(tmp_path.iterdir())
    with pytest.raises(DataError, match=message):
        write_dataset(tmp_path / "again", change(dataset.table), dataset.info)
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    ("classes", "message"),
    [(["common", "less", "rare", "rare"], "'rare' stands more than once"), (["common"], "at least two")],
)
def test_unsound_classes(dataset: Dataset, classes: list[str], message: str) -> None:
    with pytest.raises(DataError, match=message):
        check_table(dataset.table, dataset.info.model_copy(update={"classes": classes}))


def test_groups_may_cross_where_images_were_split_on_purpose(dataset: Dataset, tmp_path: Path) -> None:
    info = dataset.info.model_copy(update={"recipe": {"split": "image"}})
    write_dataset(tmp_path / "leaky", first_row("group", "image086")(dataset.table), info)
    assert crossing_groups(read_dataset(tmp_path / "leaky").table) == ["image086"]


@pytest.mark.parametrize("split", ["paper", "image"])
def test_leaks_made_on_purpose_pass_and_are_counted(dataset: Dataset, split: str) -> None:
    table = dataset.table.copy()
    test, train = table.index[table["split"] == "test"], table.index[table["split"] == "train"]
    table.loc[[*test[:3], train[0], train[1]], "group"] = "A"
    table.loc[[test[3], train[2]], "group"] = "B"
    table.loc[[*test[4:6]], "group"] = "C"  # Two test images of one group, none in training: no leak.
    check_table(table, dataset.info.model_copy(update={"recipe": {"split": split}}))
    assert leakage(table) == Leakage(groups=2, test_images=4, of_test_images=len(test))
    assert leakage(dataset.table).groups == 0


def test_a_list_is_read_without_its_images_but_gives_no_paths(dataset: Dataset, tmp_path: Path) -> None:
    info = dataset.info.model_copy(update={"list_only": True})
    listed = write_dataset(tmp_path / "listed", dataset.table, info)
    assert read_dataset(listed.folder).paths() == dataset.paths()  # Where they are there after all.
    dataset.paths()[2].unlink()
    again = read_dataset(listed.folder)
    assert again.counts("train").tolist() == [40, 12, 5]
    with pytest.raises(DataError, match=r"'image002\.png' is missing .*1 missing in all.*--list-only"):
        again.paths()


def test_a_name_that_is_no_unicode_is_refused(dataset: Dataset, tmp_path: Path) -> None:
    table = dataset.table.astype(object)
    table.loc[0, "id"] = os.fsdecode(b"caf\xe9")
    with pytest.raises(DataError, match=r"name is not UTF-8 text \(near .*caf\\udce9"):
        write_dataset(tmp_path / "again", table, dataset.info)
    assert not (tmp_path / "again").exists()


def test_a_manifest_changed_by_hand_is_refused(dataset: Dataset) -> None:
    text = (dataset.folder / MANIFEST).read_text()
    (dataset.folder / MANIFEST).write_text(text.replace("image000,", "imageYYY,", 1))
    with pytest.raises(DataError, match=r"changed after it was made.*lmd prepare table"):
        read_dataset(dataset.folder)


def test_missing_parts_are_named(dataset: Dataset, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no dataset folder .*nowhere"):
        read_dataset(tmp_path / "nowhere")
    for victim in dataset.paths()[3:5]:
        victim.unlink()
    with pytest.raises(DataError, match=r"'image003\.png' is missing .*2 missing in all"):
        read_dataset(dataset.folder)
    (dataset.folder / MANIFEST).unlink()
    with pytest.raises(DataError, match=r"cannot read manifest\.csv \(No such file"):
        read_dataset(dataset.folder)
    (dataset.folder / INFO).unlink()
    with pytest.raises(DataError, match=r"it has no dataset\.json; make one of images with"):
        read_dataset(dataset.folder)


@pytest.mark.parametrize("damage", ["{", "[]", '{"title": 3}', ""])
def test_damaged_json_is_one_line(dataset: Dataset, damage: str) -> None:
    (dataset.folder / INFO).write_text(damage)
    with pytest.raises(DataError, match=r"dataset\.json is damaged") as caught:
        read_dataset(dataset.folder)
    assert "\n" not in str(caught.value)


def test_a_setting_that_dataset_json_does_not_know_is_named(dataset: Dataset) -> None:
    content = json.loads((dataset.folder / INFO).read_text())
    (dataset.folder / INFO).write_text(json.dumps({**content, "clases": []}))
    with pytest.raises(DataError, match="clases"):
        read_dataset(dataset.folder)


@pytest.mark.parametrize("content", [b"", b"\xff\xfe\x00"])
def test_a_damaged_manifest_is_one_line(dataset: Dataset, content: bytes) -> None:
    (dataset.folder / MANIFEST).write_bytes(content)
    with pytest.raises(DataError, match=r"not a table|lacks the column"):
        read_dataset(dataset.folder)


def test_a_used_output_is_left_alone(dataset: Dataset) -> None:
    before = (dataset.folder / MANIFEST).stat().st_mtime_ns
    with pytest.raises(DataError, match="is not empty"):
        write_dataset(dataset.folder, dataset.table, dataset.info)
    assert (dataset.folder / MANIFEST).stat().st_mtime_ns == before


def test_an_empty_output_folder_will_do(dataset: Dataset, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    write_dataset(tmp_path / "empty", dataset.table, dataset.info)
    assert read_dataset(tmp_path / "empty").info == dataset.info


def test_other_languages_are_written_whatever_the_locale(
    dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("locale.getencoding", lambda: "ascii")
    info = dataset.info.model_copy(update={"title": "Hautläsionen 皮膚"})
    write_dataset(tmp_path / "again", dataset.table, info)
    assert read_dataset(tmp_path / "again").info.title == "Hautläsionen 皮膚"


def test_missing_values_in_metadata_become_blanks(dataset: Dataset, tmp_path: Path) -> None:
    write_dataset(tmp_path / "again", dataset.table.assign(age=float("nan")), dataset.info)
    assert set(read_dataset(tmp_path / "again").table["age"]) == {""}


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_an_end_half_way_leaves_nothing(dataset: Dataset, tmp_path: Path, error: BaseException) -> None:
    def breaks(folder: Path) -> None:
        (folder / "half.png").write_bytes(b"half")
        raise error

    before = sorted(tmp_path.iterdir())
    with pytest.raises((DataError, KeyboardInterrupt)) as caught:
        write_dataset(tmp_path / "again", dataset.table, dataset.info, breaks)
    if isinstance(error, OSError):
        assert str(caught.value) == f"cannot write {tmp_path / 'again'}: No space left on device"
    assert sorted(tmp_path.iterdir()) == before


def test_an_unknown_split_is_named(dataset: Dataset) -> None:
    with pytest.raises(DataError, match=r"unknown split 'tset'; did you mean 'test'"):
        dataset.split("tset")


def test_a_relative_image_root_moves_with_its_folder(dataset: Dataset, tmp_path: Path) -> None:
    info = DatasetInfo(**{**dataset.info.model_dump(), "image_root": "pictures"})

    def fill(folder: Path) -> None:
        (folder / "pictures").mkdir()
        for path in dataset.paths():
            (folder / "pictures" / path.name).write_bytes(path.read_bytes())

    write_dataset(tmp_path / "first", dataset.table, info, fill).folder.rename(tmp_path / "second")
    assert read_dataset(tmp_path / "second").root == (tmp_path / "second" / "pictures").resolve()
