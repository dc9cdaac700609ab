"""`lmd report`: pictures of mistakes, words for a clinician, and the page in a real browser."""

from __future__ import annotations

import base64
import io
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import lmd as package
from lmd.data.dataset.manifest import Dataset
from lmd.evaluation.results import Estimate, read_evaluation
from lmd.reporting import clinician
from lmd.reporting.class_figures import features_in_the_plane, recall_against_tail, roc_and_precision_recall
from lmd.reporting.learning import learning_curves
from lmd.reporting.order import class_order
from lmd.reporting.pictures import Pictures, pictures_of
from lmd.reporting.statistician import all_against_rest, cases_behind
from lmd.reporting.svg import Inline
from lmd.run import RunFolder
from lmd.text import image_count
from tests import toy
from tests.command import Command, refused
from tests.reporting.look import Visit
from tests.reporting.test_page import evaluation, rows

# The rarest class comes first in the data, so that the order of a page is another than the data's.
CLASSES = ["rare <b>x</b>", "common", "less"]
COUNTS = {"train": [6, 40, 12], "val": [4, 6, 4], "test": [5, 12, 6]}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Dataset]:
    """A finished and measured run, and its data set, whose groups have names of persons."""
    place = tmp_path_factory.mktemp("report")
    dataset = toy.make_dataset(place, COUNTS, classes=CLASSES)
    settings = {**toy.COMMON, "size": 64, "stage1": {"epochs": 1}}
    package.train(dataset, method="ce", settings=settings, out=place / "run")
    package.evaluate(place / "run", "val")
    package.evaluate(place / "run", prior="uniform", sensitivity=["common=0.6"])
    return place / "run", dataset


@pytest.fixture(scope="module")
def shown(made: tuple[Path, Dataset]) -> Pictures:
    return pictures_of(RunFolder(made[0]), made[1], "test")


@pytest.fixture
def run(made: tuple[Path, Dataset], tmp_path: Path) -> Path:
    return Path(shutil.copytree(made[0], tmp_path / "run"))


# Pictures.


def test_the_worst_mistakes_come_first(made: tuple[Path, Dataset], shown: Pictures) -> None:
    table = pd.read_csv(made[0] / "predictions-test.csv")
    own = np.array([row[f"p_{row['label']}"] for _, row in table.iterrows()])
    wrong = table.assign(own=own)[table["label"] != table["predicted"]].sort_values("own")
    assert [case.id for case in shown.top] == wrong["id"].tolist()[:12]
    first = wrong.iloc[0]
    assert first["label"] in shown.top[0].words
    assert f"{first['own']:.3f}" in shown.top[0].words
    captions = [picture.caption for picture in shown.top[0].pictures]
    assert captions[0] == "the image"
    assert captions[1:3] == [f"for the answer, {first['predicted']}", f"for the true class, {first['label']}"]
    assert all(re.fullmatch(r"near: .*, -?\d\.\d\d", caption) for caption in captions[3:])
    assert len(captions) == 6
    assert "Grad-CAM" in shown.maps


def test_wrong_cases_are_counted_by_class_in_the_one_order(
    made: tuple[Path, Dataset], shown: Pictures
) -> None:
    result = read_evaluation(made[0] / "evaluation-test.json")
    assert [entry.name for entry in shown.wrong] == ["common", "less", "rare <b>x</b>"]
    for entry in shown.wrong:
        k = CLASSES.index(entry.name)
        assert (entry.wrong, entry.of) == (
            sum(result.confusion[k]) - result.confusion[k][k],
            result.classes[k].n,
        )
        assert len(entry.pictures) == min(6, entry.wrong)


def test_each_picture_is_a_small_jpeg(shown: Pictures) -> None:
    every = [picture for part in (*shown.top, *shown.wrong, *shown.views) for picture in part.pictures]
    assert len(shown.views) == 3
    for picture in every:
        data = base64.b64decode(picture.uri.removeprefix("data:image/jpeg;base64,"))
        with Image.open(io.BytesIO(data)) as image:
            assert image.format == "JPEG"
            assert max(image.size) <= 160
        assert picture.alt


# The command.


def test_the_command_writes_a_page_with_pictures(run: Path, lmd: Command) -> None:
    code, out, _ = lmd("report", run)
    page = (run / "report.html").read_text()
    assert code == 0
    assert f"report: {run / 'report.html'}" in out
    assert "no pictures" not in out
    assert page.count("data:image/jpeg") > 20
    assert "Keep it as you keep them" in page
    assert len(page) < 3_000_000
    assert "rare <b>" not in page


def test_without_pictures_no_image_is_on_the_page(run: Path, lmd: Command) -> None:
    assert lmd("report", run, "--no-pictures")[0] == 0
    page = (run / "report.html").read_text()
    assert "data:image/jpeg" not in page
    assert "Pictures of the worst mistakes" in page
    assert "<h4>image" not in page


def test_data_that_are_gone_leave_a_page_that_says_so(run: Path, lmd: Command, tmp_path: Path) -> None:
    settings = (run / "settings.yaml").read_text()
    (run / "settings.yaml").write_text(
        re.sub("^data: .*$", f"data: {tmp_path / 'gone'}", settings, flags=re.M)
    )
    code, out, _ = lmd("report", run)
    assert code == 0
    assert "no pictures: the data set" in out
    assert "There are no pictures of cases: the data set" in (run / "report.html").read_text()


def test_other_data_than_those_measured_are_refused(run: Path, lmd: Command, tmp_path: Path) -> None:
    other = toy.make_dataset(tmp_path / "other", {**COUNTS, "test": [3, 3, 3]}, classes=CLASSES)
    before = (run / "report.html").read_bytes()
    first = f"run 'lmd evaluate {run} --split test --data {other.folder}' first"
    refused(lmd("report", run, "--data", other.folder), "has no predictions-test-on-", first)
    on = other.info.manifest_sha256
    shutil.copy(run / "predictions-test.csv", RunFolder(run).predictions("test", on))
    refused(lmd("report", run, "--data", other.folder), "is not of the test images", first)
    assert (run / "report.html").read_bytes() == before
    refused(lmd("report", run, "--split", "train", "--data", other.folder), "predictions-train-on-")
    refused(lmd("report", tmp_path / "none"), "no trained model")


# Words.


def test_a_class_is_judged_by_its_interval() -> None:
    entry = evaluation().classes[0]

    def level(n: int, low: float | None, high: float | None, value: float = 0.5) -> str:
        recall = Estimate(value=value, low=low, high=high)
        return clinician.level_of(entry.model_copy(update={"n": n, "recall": recall}))

    assert level(0, None, None) == "not measured"
    assert level(9, 0.9, 1.0) == level(50, None, None) == "too few images to say"
    assert level(50, 0.8, 0.9) == "found dependably"
    assert level(50, 0.7, 0.9) == level(50, 0.4, 0.5) == "found in part"
    assert level(50, 0.2, 0.49) == "missed more often than found"
    assert level(18, 0.12, 0.53, 0.28) == "perhaps missed more often than found"


def test_the_verdict_warns_of_what_may_be_missed_and_never_denies_what_is_found() -> None:
    result, counts = evaluation(), [6, 40, 12]

    def head(*recalls: tuple[float, float, float], n: int = 50) -> str:
        entries = [
            entry.model_copy(update={"n": n, "recall": Estimate(value=value, low=low, high=high)})
            for entry, (value, low, high) in zip(result.classes, recalls, strict=True)
        ]
        return clinician.verdict(result.model_copy(update={"classes": entries}), counts).head

    names = [entry.name for entry in result.classes]
    bad, doubtful, part, good = (0.2, 0.1, 0.4), (0.28, 0.12, 0.53), (0.6, 0.5, 0.7), (0.9, 0.8, 0.95)
    assert head(doubtful, good, part) == (
        f"Do not rely on it for {names[0]}: it may miss more than half of such images."
    )
    assert head(doubtful, good, bad) == (
        f"Do not rely on it for {names[2]}: it misses more than half of such images. "
        f"Nor for {names[0]}: it may miss more than half of such images."
    )
    assert head(part, good, part).startswith(f"It finds {names[1]} dependably, and part of the images of the")
    assert head(part, part, part).startswith("It finds part of the images of each class.")
    assert head(part, part, part, n=5).startswith("Too few images to judge it for")
    assert "the others" not in head(part, part, part, n=5)


def test_the_words_have_the_numbers(made: tuple[Path, Dataset]) -> None:
    result = read_evaluation(made[0] / "evaluation-test.json")
    behind = cases_behind(made[0] / "predictions-test.csv", result)
    against = all_against_rest(behind, result)
    assert against is not None
    words = clinician.class_words(result, [6, 40, 12], against)
    assert [entry.name for entry in words] == ["common", "less", "rare <b>x</b>"]
    assert words[0].images == "12 here, 40 in training"
    matrix = np.array(result.confusion)
    assert f"here {matrix[1, 1]} of 12" in words[0].lines[0]
    assert f"{matrix[:, 1].sum() - matrix[1, 1]} of 11 are wrongly called common" in words[0].lines[1]
    assert f"here {matrix[1, 1]} of {matrix[:, 1].sum()}" in words[0].lines[2]
    head, lines = clinician.verdict(result, [6, 40, 12])
    assert "rare <b>x</b>" in head
    bacc = result.metrics["bacc"]
    assert clinician.per_hundred(bacc) in lines[0]
    assert "Guessing would reach 33.3" in lines[0]


def test_predictions_that_were_changed_are_not_shown_beside_an_evaluation(run: Path) -> None:
    result = read_evaluation(run / "evaluation-test.json")
    file = run / "predictions-test.csv"
    assert cases_behind(file, result) is not None
    table = pd.read_csv(file)
    table.loc[0, "predicted"] = next(name for name in CLASSES if name != table["predicted"][0])
    table.to_csv(file, index=False)
    assert cases_behind(file, result) is None
    file.unlink()
    assert cases_behind(file, result) is None


def test_what_an_evaluation_has_beyond_its_metrics_is_shown(made: tuple[Path, Dataset]) -> None:
    package.report(made[0], pictures=False)
    page = (made[0] / "report.html").read_text()
    result, shown = read_evaluation(made[0] / "evaluation-test.json"), rows(page)
    assert result.probabilities is not None
    for entry in result.probabilities.variants:
        row = next(row for row in shown if row[:2] == [entry.name, str(entry.nll)])
        assert row[3] == str(entry.brier)
        assert row[5:7] == [f"{entry.ece_equal_mass:.3f}", f"{entry.ece_equal_mass_by_chance:.3f}"]
    assert result.prior is not None
    for one in result.prior.decisions[0].classes:
        numbers = [str(one.sensitivity), str(one.specificity), str(one.ppv), str(one.npv)]
        assert [one.name, image_count(one.n), *numbers] in shown
        if one.ppv.value is not None:
            assert f"{clinician.per_hundred(one.ppv)} would be right" in page
    assert result.thresholds is not None
    wanted = result.thresholds.sensitivity[0]
    assert ["common", "0.600", f"{wanted.threshold:.3f}"] in [row[:3] for row in shown]
    assert result.sets is not None
    for one in result.sets.classes:
        assert [one.name, image_count(one.covered.n), str(one.covered.coverage)] in [row[:3] for row in shown]
    assert result.selective is not None
    assert [str(result.selective.table[-1].accuracy), str(result.selective.table[-1].bacc)] in [
        row[2:4] for row in shown
    ]
    assert (
        result.reasons["by_group"][1:] in page
    )  # Groups of one image: the reason stands in place of numbers.


# Figures.


def test_classes_have_one_order(made: tuple[Path, Dataset]) -> None:
    package.report(made[0], pictures=False)
    page = (made[0] / "report.html").read_text()
    assert class_order([6, 40, 12]) == [1, 2, 0]
    tables = [[row[0] for row in rows(part) if row and row[0] in CLASSES] for part in page.split("<table")]
    full = [names for names in tables if len(names) > 1]
    assert len(full) >= 5  # The confusion, and the classes of two splits among them.
    assert all(names == ["common", "less", "rare <b>x</b>"] for names in full)


def test_losses_of_one_kind_share_a_panel() -> None:
    losses = {"total": 2.0, "cross_entropy": 1.0, "distribution_consistency": -5000.0, "own_term": 3.0}
    record = {"stage": "stage1", "epoch": 0, "losses": losses, "validation": {"bacc": 0.5}, "seconds": 1}
    second = {
        "stage": "stage2",
        "epoch": 0,
        "losses": {"maximise": 0.4},
        "validation": {"bacc": 0.75},
        "seconds": 1,
    }
    panels = {made.label: made for made in learning_curves([record, second])}
    assert list(panels) == [
        "what is minimised by epoch", "cross entropies by epoch", "distance to the class Gaussians by epoch",
        "own term by epoch", "validation: balanced accuracy by epoch",
    ]  # fmt: skip
    alone = [{**record, "losses": {"total": 1.0, "cross_entropy": 1.0}}]
    assert learning_curves(alone)[0].label == "cross entropies by epoch"
    assert "maximise" in panels["cross entropies by epoch"].svg
    assert "stage2" in panels["what is minimised by epoch"].svg
    assert "0.750, in epoch 2" in panels["validation: balanced accuracy by epoch"].caption


def test_many_classes_have_figures_of_a_bearable_size() -> None:
    random = np.random.default_rng(0)
    names = [f"class {k}" for k in range(120)]
    labels = np.arange(600) % 120
    p = random.random((600, 120)) + 3 * np.eye(120)[labels]
    result = evaluation()
    one = result.classes[0]
    many = result.model_copy(
        update={"classes": [one.model_copy(update={"name": name, "n": 5}) for name in names]}
    )
    counts = list(range(1000, 880, -1))
    figures = [recall_against_tail(many, counts), *roc_and_precision_recall(labels, p, many, counts)]
    figures.append(features_in_the_plane(random.random((600, 2)), labels, names, counts, {}))
    assert max(len(made.svg) for made in figures) < 300_000
    assert "The 8 rarest of 120" in figures[1].caption


def test_drawings_in_a_page_share_no_name_and_have_its_colours() -> None:
    inline = Inline()
    svg = '<svg><g id="a" style="fill: #0072b2"><use href="#a"/><path clip-path="url(#c)"/></g><text>id="x" #000000</text></svg>'
    first, second = inline(svg, 'of "a" & b'), inline(svg)
    assert 'id="d1-a"' in first
    assert 'href="#d1-a"' in first
    assert "url(#d1-c)" in first
    assert 'id="d2-a"' in second
    assert "fill: var(--blue, #0072b2)" in first
    assert 'id="x" #000000</text>' in first
    assert 'aria-label="of &quot;a&quot; &amp; b"' in first


# In a browser.


@pytest.fixture(scope="module")
def page_file(made: tuple[Path, Dataset], tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = Path(shutil.copytree(made[0], tmp_path_factory.mktemp("page") / "run"))
    return package.report(run)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_the_page_fits_is_quiet_and_accessible(
    browser: Any, page_file: Path, width: int, scheme: str
) -> None:
    with Visit(browser, page_file, width, scheme) as visit:
        assert visit.page.locator("h2").all_inner_texts() == [
            "For the clinician", "For the statistician", "For the engineer",
        ]  # fmt: skip
        assert visit.page.evaluate("[...document.images].every(one => one.naturalWidth > 0)")
        visit.page.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true; })")
        visit.is_quiet_and_accessible()


def test_a_table_is_sorted_by_a_click_and_back(browser: Any, page_file: Path) -> None:
    with Visit(browser, page_file, 1280) as visit:
        table = visit.page.locator("table.sorts", has_text="Each class against all others, split test")
        images = table.locator("tbody td:nth-child(2)")
        head = table.locator("thead th").nth(1)
        assert images.all_inner_texts() == ["12", "6 *", "5 *"]
        head.get_by_role("button").press("Enter")
        assert head.get_attribute("aria-sort") == "descending"
        head.get_by_role("button").click()
        assert head.get_attribute("aria-sort") == "ascending"
        assert images.all_inner_texts() == ["5 *", "6 *", "12"]
        head.get_by_role("button").click()
        assert head.get_attribute("aria-sort") is None
        assert images.all_inner_texts() == ["12", "6 *", "5 *"]
        table.locator("thead th").nth(0).get_by_role("button").click()
        assert table.locator("tbody td:first-child").all_inner_texts() == ["rare <b>x</b>", "less", "common"]


def test_the_page_is_read_without_scripts_and_printed(browser: Any, page_file: Path) -> None:
    with Visit(browser, page_file, 390, script=False) as visit:
        assert visit.page.locator("th button").count() == 0
        assert visit.page.locator("tbody tr").count() > 20
    with Visit(browser, page_file, 1280, "dark") as visit:
        printed = visit.page.pdf(format="A4")
        assert printed.startswith(b"%PDF")
        visit.page.emulate_media(media="print")
        body = "getComputedStyle(document.body)"
        assert visit.page.evaluate(f"{body}.backgroundColor") == "rgb(255, 255, 255)"
        assert visit.page.evaluate(f"{body}.color") == "rgb(27, 31, 36)"
