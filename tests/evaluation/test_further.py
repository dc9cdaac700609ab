"""Sets, abstention, unlikeness, groups and subgroups of a run: what stands in its folder, and what is refused."""

from __future__ import annotations

import io
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from PIL import Image

import lmd as package
from lmd.data.dataset.manifest import Dataset, write_dataset
from lmd.evaluation.cases import cases_of, read_predictions
from lmd.evaluation.evaluate import evaluate
from lmd.evaluation.further import Around, Further, further
from lmd.evaluation.results import read_evaluation, write_evaluation
from lmd.evaluation.selective.sets import sets_of
from lmd.evaluation.selective.unlikeness_files import read_unlikeness
from lmd.run_folder import RunFolder
from tests import toy
from tests.command import Command, refused

IMAGES = 15  # In the test split of the toy.


def with_columns(dataset: Dataset, folder: Path, **columns: list[str]) -> Dataset:
    """The toy with other columns of its test images; those of the other splits are empty or themselves."""
    table = dataset.table.copy()
    test = table["split"] == "test"
    for name, values in columns.items():
        if name not in table:
            table[name] = ""
        table.loc[test, name] = values
    return write_dataset(folder, table, dataset.info)


@pytest.fixture
def grouped(trained: tuple[Path, Dataset], tmp_path: Path) -> Dataset:
    """Test images in groups of two, of one label but for one group; sex and age are known of most."""
    return with_columns(
        trained[1],
        tmp_path / "grouped",
        group=[f"Mrs Brown {number // 2}" for number in range(IMAGES)],
        sex=["male", "female", ""] * 5,
        age=[str(30 + 4 * number) for number in range(IMAGES - 1)] + [""],
    )


def test_an_evaluation_has_sets_abstention_and_unlikeness(run: Path) -> None:
    result = package.evaluate(run)
    table, val = (read_predictions(run / f"predictions-{split}.csv") for split in ("test", "val"))
    places = {"head": [0], "medium": [1], "tail": [2]}
    cases, validation = (cases_of(some, toy.CLASSES) for some in (table, val))
    assert result.sets == sets_of(cases, validation, toy.CLASSES, places, 0.9)
    assert result.selective is not None
    largest = table[[f"p_{name}" for name in toy.CLASSES]].astype(float).to_numpy().max(1)
    assert result.selective.confidence == "the largest probability"
    assert result.selective.table[0].threshold == pytest.approx(largest.min())
    assert result.unlikeness is not None
    assert result.unlikeness.unlike_n == (table["unlike"].astype(float) >= 0.99).sum()
    assert result.by_group is None
    assert result.subgroups is None
    assert result.reasons["by_group"] == "each group has one image: numbers by group are those by image"
    assert not (run / "predictions-test-groups.csv").exists()
    assert read_evaluation(run / "evaluation-test.json") == result


def test_groups_and_columns_are_measured_and_no_name_is_kept(run: Path, grouped: Dataset) -> None:
    result = package.evaluate(run, data=grouped, allow_overlap=True, by=["sex", "age:20"], coverage=0.5)
    of_groups = RunFolder(run).predictions_by_group("test", grouped.info.manifest_sha256)
    by_group = pd.read_csv(of_groups)
    found = result.by_group
    assert found is not None
    # 8 common, 4 less and 3 rare images in pairs: 4, 2 and 2 groups; none has several labels.
    assert (found.n, found.images, found.several) == (8, 15, 0)
    assert by_group["images"].tolist() == [2] * 7 + [1]
    right = (by_group["predicted"] == by_group["label"]).groupby(by_group["label"]).mean()
    assert found.metrics["bacc"].value == pytest.approx(right.mean())
    assert result.subgroups is not None
    sex, age = result.subgroups
    assert [(cell.value, cell.n, cell.groups) for cell in sex.cells] == [
        ("female", 5, 5), ("male", 5, 5), (None, 5, 5),
    ]  # fmt: skip
    assert [(cell.value, cell.n) for cell in age.cells] == [
        ("20 to under 40", 3), ("40 to under 60", 5), ("60 to under 80", 5), ("80 to under 100", 1), (None, 1),
    ]  # fmt: skip
    assert result.sets is not None
    assert result.sets.level == 0.5
    assert result.sets.notes[-1].startswith("these images are of another data set")
    assert not any("Brown" in file.read_text() for file in run.rglob("*") if file.suffix in (".csv", ".json"))
    file = run / "predictions-test-groups.csv"
    file.write_text("of an earlier evaluation")
    package.evaluate(run)  # Without groups that file would be wrong.
    assert not file.exists()
    assert of_groups.exists()


def test_sets_are_of_new_images_alone(run: Path) -> None:
    assert "calibrated on these images" in package.evaluate(run, "val").reasons["sets"]
    assert "has learnt these images" in package.evaluate(run, "train").reasons["sets"]


def test_predictions_of_validation_images_are_made_where_they_are_missing(
    run: Path, grouped: Dataset
) -> None:
    """A run of an earlier version has none."""
    val = run / "predictions-val.csv"
    before = pd.read_csv(val)
    val.unlink()
    result = package.evaluate(run, data=grouped, allow_overlap=True)  # Its validation images may be others.
    assert result.sets is None
    assert "validation" in result.reasons["sets"]
    assert not val.exists()
    assert package.evaluate(run).sets is not None
    pd.testing.assert_frame_equal(pd.read_csv(val), before, rtol=1e-5, atol=1 / 15 + 1e-6)


def test_a_run_of_an_earlier_version_has_no_unlikeness(run: Path) -> None:
    """Or it has a file of another name, which is read."""
    kept = run / "model" / "unlikeness.safetensors"
    earlier = kept.rename(kept.with_name("novelty.safetensors"))
    assert read_unlikeness(RunFolder(run)) is not None
    earlier.unlink()
    result = package.evaluate(run)
    assert result.unlikeness is None
    assert "an earlier version made it" in result.reasons["unlikeness"]
    assert "unlike" not in read_predictions(run / "predictions-test.csv").columns


def test_an_evaluation_of_an_earlier_version_can_be_read(run: Path) -> None:
    package.evaluate(run)
    file = run / "evaluation-test.json"
    tree: dict[str, Any] = json.loads(file.read_text())
    earlier = {"novelty" if name == "unlikeness" else name: value for name, value in tree.items()}
    earlier["reasons"] = {**tree["reasons"], "novelty": "why"}
    file.write_text(json.dumps(earlier))
    found = read_evaluation(file)
    assert found.reasons["unlikeness"] == "why"
    assert found.unlikeness is not None
    assert found.unlikeness.model_dump(mode="json") == tree["unlikeness"]
    for name in ("sets", "selective", "unlikeness"):
        del tree[name]
    file.write_text(json.dumps(tree))
    found = read_evaluation(file)
    assert (found.sets, found.selective, found.unlikeness) == (None, None, None)
    write_evaluation(file, found)
    assert json.loads(file.read_text()) == tree


def test_predict_warns_of_images_unlike_anything_seen(
    lmd: Command, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = read_unlikeness(RunFolder(run))
    assert known is not None
    image = tmp_path / "new.png"
    Image.fromarray(toy.draw(0, 3)).save(image)
    for scores, unlike in (
        (0.0, 1),
        (1e9, 0),
    ):  # Validation images that are nothing special, and all strange.
        other = replace(known, scores=torch.full_like(known.scores, scores))
        monkeypatch.setattr("lmd.evaluation.predict.read_unlikeness", lambda folder, other=other: other)
        code, out, err = lmd("predict", run, image)
        assert code == 0, err
        assert pd.read_csv(io.StringIO(out))["unlike"].tolist() == [unlike]
        note = "note: 1 of 1 images is more unlike what the model has seen than 99% of the validation images"
        assert (note in err) == (str(image) in err) == bool(unlike)


def test_the_terminal_says_it_in_lines(lmd: Command, run: Path, grouped: Dataset) -> None:
    words = ["--data", grouped.folder, "--allow-overlap", "--by", "sex", "--coverage", "0.8"]
    code, out, err = lmd("evaluate", run, *words)
    assert code == 0, err
    assert "by group (8 groups of 15 images): balanced accuracy" in out
    assert "sets for 80% hold the true class of" in out
    assert "rare: too few images alone (80% needs 4): the threshold of all 15 validation images" in out
    assert "answering the surest 80% of images: balanced accuracy" in out
    assert re.search(
        r"\b(1 of 15 images is|\d+ of 15 images are) more unlike what was seen than 99% of the validation images",
        out,
    )
    lines = out.splitlines()
    place = next(row for row, line in enumerate(lines) if line.startswith("sex"))
    assert [line.split()[:2] for line in lines[place + 1 : place + 4]] == [
        ["female", "5"], ["male", "5"], ["(empty)", "5"],
    ]  # fmt: skip
    assert any(line.strip().startswith("male: only 5 images or groups;") for line in lines)
    assert out.count("a cell needs 30 images or groups to be compared") == 1


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--by", "sex"], ["--by sex: no such column", "no metadata columns"]),
        (["--by", "group"], ["--by group", "names images, groups or people"]),
        (["--coverage", "1.5"], ["--coverage 1.5: must be a number between 0 and 1"]),
        (["--coverage", "nan"], ["--coverage nan: must be a number between 0 and 1"]),
        (["--coverage", "most"], ["--coverage most: must be a number between 0 and 1"]),
    ],
)
def test_what_cannot_be_measured_is_refused_and_nothing_written(
    lmd: Command, run: Path, words: list[str], told: list[str]
) -> None:
    refused(lmd("evaluate", run, *words), *told)
    assert not (run / "evaluation-test.json").exists()


def test_a_bad_value_is_refused_before_anything_is_written(
    lmd: Command, run: Path, trained: tuple[Path, Dataset], tmp_path: Path
) -> None:
    ages = ["30"] * (IMAGES - 1) + ["old"]
    other = with_columns(trained[1], tmp_path / "other", age=ages)
    result = lmd("evaluate", run, "--data", other.folder, "--allow-overlap", "--by", "age:10")
    refused(result, "--by age:10", "'image086' has age = 'old', which is no number")
    assert not (run / "evaluation-test.json").exists()


def test_confidence_is_of_the_decision() -> None:
    """Where tau shifts, an image is answered by how sure the decision is, not the largest probability."""
    table = pd.DataFrame(
        {
            "id": ["b", "a"], "label": ["x", "y"], "group": ["b", "a"], "predicted": ["y", "y"],
            "p_x": [0.8, 0.3], "p_y": [0.2, 0.7], "d_x": [0.4, 0.1], "d_y": [0.6, 0.9], "unlike": [0.1, 1.0],
        }
    )  # fmt: skip
    around = Around("test", ["x", "y"], {"head": ["x", "y"]}, "none", table[["id", "group"]])
    result, groups = further(evaluate(table, ["x", "y"], around.bands, "test"), table, around, Further())
    assert result.selective is not None
    assert [row.threshold for row in result.selective.table] == [0.6, 0.9]
    assert result.selective.table[-1].accuracy.value == 1
    assert "tau shifts" in result.selective.confidence
    assert result.unlikeness is not None
    assert result.unlikeness.of_class == {"y": 1}
    assert result.unlikeness.accuracy_unlike.value == 1
    assert result.unlikeness.accuracy_usual.value == 0
    assert result.reasons["sets"] == "none"
    assert groups is None


def test_sets_of_files_are_those_that_the_evaluation_measures(
    trained: tuple[Path, Dataset], run: Path, tmp_path: Path, lmd: Command
) -> None:
    table = trained[1].split("test")
    files = [trained[1].root / name for name in table["file"]]
    code, _, err = lmd("predict", run, *files, "--sets", "0.5", "--out", tmp_path / "new.csv")
    assert code == 0, err
    assert "50% of the images of each of" in err
    found = read_predictions(tmp_path / "new.csv")
    inside = [set(text.split("; ")) for text in found["set"]]
    measured = package.evaluate(run, coverage=0.5).sets
    assert measured is not None
    assert [sum(len(one) == size for one in inside) for size in (1, 2, 3)] == measured.sizes
    hits = [label in one for label, one in zip(table["label"], inside, strict=True)]
    assert sum(hits) / len(hits) == measured.overall.coverage.value
    refused(lmd("predict", run, files[0], "--sets", "1.5"), "--sets 1.5: must be a number between 0 and 1")
    refused(lmd("predict", run, files[0], "--sets", "0.9", "--prior", "train"), "cannot go together")
    (run / "predictions-val.csv").unlink()
    refused(
        lmd("predict", run, files[0], "--sets", "0.9"), "--sets has nothing to calibrate with: the run has"
    )
