"""What an evaluation says of probabilities, priors, thresholds and costs, and how the command is asked."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import lmd as api
from lmd.data.dataset.manifest import Dataset
from lmd.errors import DataError, SettingsError
from lmd.evaluation.cases import Cases, cases_of, read_predictions
from lmd.evaluation.probability.at_prior import prior_of, thresholds_of
from lmd.evaluation.probability.calibration import fit
from lmd.evaluation.probability.priors import shifted
from lmd.evaluation.probability.quality import probabilities_of
from lmd.evaluation.probability.results import ProbabilityScores, ThresholdsResult
from lmd.evaluation.probability.source import Source, validation_cases
from lmd.evaluation.probability.start import start_of
from lmd.evaluation.probability.thresholds import threshold_for
from lmd.evaluation.results import Evaluation, read_evaluation, write_evaluation
from lmd.evaluation.wanted import NOTHING_WANTED, Wanted, stated_prior
from lmd.reporting.probability_lines import probability_lines
from lmd.run import RunFolder
from tests.command import Command, refused
from tests.evaluation.probable import CLASSES, SHARES, drawn, posterior

BANDS = {"head": ["common"], "tail": ["less", "rare"]}
COUNTS = (700, 200, 100)
OTHER = np.array([0.3, 0.3, 0.4])


def cases(number: int, shares: np.ndarray = SHARES, seed: int = 0, temperature: float = 0.5) -> Cases:
    """Cases with probabilities that imply the training shares and are twice too sure."""
    labels, scores = drawn(number, shares, seed)
    ids = np.array([f"image{row:05d}" for row in range(number)])
    return Cases(ids, labels, np.arange(number), posterior(scores, SHARES, temperature))


VAL, TEST = cases(800), cases(1000, seed=1)
SOURCE = Source(CLASSES, "training", COUNTS, VAL)


def variants(
    test: Cases, source: Source, split: str = "test", temperature: float = 1.0
) -> dict[str, ProbabilityScores]:
    found = probabilities_of(test, source, BANDS, split, temperature)
    return {one.name: one for one in found.variants}


def test_calibration_lowers_the_losses_of_overconfident_probabilities_and_says_by_how_much() -> None:
    found = variants(TEST, SOURCE)
    assert list(found) == ["model", "temperature", "vector"]
    before, after = found["model"], found["temperature"]
    made = fit("temperature", VAL.labels, VAL.probabilities, np.log(np.bincount(VAL.labels) / 800 / SHARES))
    p = made(TEST.probabilities)
    assert after.nll.value == pytest.approx(-np.log(p[np.arange(1000), TEST.labels]).mean())
    assert before.nll_change is None
    assert after.nll_change is not None
    assert after.nll_change.value == pytest.approx((after.nll.value or 0) - (before.nll.value or 0))
    assert (after.nll_change.high or 0) < 0
    assert after.ece_class_wise < before.ece_class_wise
    assert after.ece_class_wise < 2 * after.ece_class_wise_by_chance
    assert before.bands["tail"].n == int((TEST.labels > 0).sum())
    assert set(before.reliability) == {"all", "head", "tail"}


def test_a_models_own_temperature_is_undone_for_the_comparison() -> None:
    found = variants(cases(1000, seed=1, temperature=1.0), SOURCE, temperature=2.0)
    assert list(found) == ["model", "uncalibrated", "vector"]
    assert found["uncalibrated"].nll.value == pytest.approx(variants(TEST, SOURCE)["model"].nll.value)


def test_probabilities_are_also_shown_at_the_shares_of_the_split_where_these_are_others() -> None:
    test = cases(1000, OTHER, seed=1)
    found = variants(test, SOURCE)
    assert list(found) == ["model", "temperature", "vector", "split"]
    shares = np.bincount(test.labels) / 1000
    p = shifted(test.probabilities, SHARES, shares)
    assert found["split"].nll.value == pytest.approx(-np.log(p[np.arange(1000), test.labels]).mean())
    assert "then at the shares of the split" in found["vector"].how
    assert (
        (found["vector"].nll.value or 0) < (found["split"].nll.value or 0) < (found["model"].nll.value or 0)
    )


def test_on_validation_itself_no_image_calibrates_itself() -> None:
    found = variants(VAL, SOURCE, "val")
    assert "the other four fifths" in found["vector"].how
    assert (found["temperature"].nll.value or 0) < (found["model"].nll.value or 0)


def test_on_validation_itself_a_temperature_does_not_answer_for_the_shares() -> None:
    """Validation has equal shares, the model implies those of training and is twice too sure: T is 2."""
    labels, scores = drawn(1500, np.full(3, 1 / 3), gap=1.0)
    implied = np.array([0.9, 0.08, 0.02])
    ids, clusters = np.arange(1500).astype(str), np.arange(1500)
    val = Cases(ids, labels, clusters, posterior(scores, implied, 0.5))
    source = Source(CLASSES, "training", (900, 80, 20), val)
    found = variants(val, source, "val")["temperature"].nll.value
    wanted = -np.log(posterior(scores, implied)[np.arange(1500), labels]).mean()
    assert found == pytest.approx(wanted, abs=0.05)


def test_what_is_missing_is_said() -> None:
    without = Source(CLASSES, "unknown", COUNTS, "there are none")
    found = probabilities_of(TEST, without, BANDS, "test", 1.0)
    assert [one.name for one in found.variants] == ["model"]
    assert found.notes[0] == "no calibration: there are none"
    assert "unknown" in found.notes[1]
    right = Cases(VAL.ids, VAL.probabilities.argmax(1), VAL.clusters, VAL.probabilities)
    found = probabilities_of(TEST, Source(CLASSES, "training", COUNTS, right), BANDS, "test", 1.0)
    assert found.notes == ["no calibration: all validation images are right, which bounds no temperature"]


def test_a_split_without_a_class_has_its_probabilities_judged() -> None:
    here = np.flatnonzero(TEST.labels < 2)
    part = Cases(TEST.ids[here], TEST.labels[here], TEST.clusters[here], TEST.probabilities[here])
    found = variants(part, SOURCE)["model"]
    assert found.ece_of_class["rare"] > 0
    assert found.bands["tail"].n == int((part.labels == 1).sum())
    one = Cases(TEST.ids[:3], np.array([0, 1, 2]), TEST.clusters[:3], TEST.probabilities[:3])
    few = variants(one, SOURCE)["model"]
    assert few.nll.value is not None
    assert few.nll.low is None


@pytest.mark.parametrize(("declared", "implied"), [("training", [0.7, 0.2, 0.1]), ("uniform", [1 / 3] * 3)])
def test_a_declared_prior_is_where_shifts_start(declared: str, implied: list[float]) -> None:
    start = start_of(Source(CLASSES, declared, COUNTS, "none"))  # type: ignore[arg-type]
    np.testing.assert_allclose(start.implied, implied)
    np.testing.assert_array_equal(start.calibration(TEST.probabilities), TEST.probabilities)


def test_an_unknown_prior_is_made_that_of_validation() -> None:
    start = start_of(Source(CLASSES, "unknown", COUNTS, VAL))
    np.testing.assert_allclose(start.implied, np.bincount(VAL.labels) / 800)
    np.testing.assert_allclose(start.calibration(VAL.probabilities).mean(0), start.implied, atol=1e-5)
    with pytest.raises(DataError, match=r"unknown which shares .*, and there are none"):
        start_of(Source(CLASSES, "unknown", COUNTS, "there are none"))
    few = cases(30)
    assert (
        "fewer than 5 validation images of rare"
        in start_of(Source(CLASSES, "unknown", COUNTS, few)).warnings[0]
    )


def test_expected_values_at_a_prior_are_those_of_a_split_with_these_shares() -> None:
    """The decisions of a calibrated model at shares .3, .3, .4: from a split with .7, .2, .1, and measured."""
    calibrated = [cases(20_000, shares, seed, 1.0) for shares, seed in ((SHARES, 1), (OTHER, 2))]
    source = Source(CLASSES, "training", COUNTS, VAL)
    prior = stated_prior(dict(zip(CLASSES, OTHER.tolist(), strict=True)), CLASSES)
    here, there = (
        prior_of(part, source, prior.resolved(source, part.probabilities, part.clusters))
        for part in calibrated
    )
    truth = calibrated[1].labels
    taken = shifted(calibrated[1].probabilities, SHARES, OTHER).argmax(1)
    for k, one in enumerate(here.decisions[1].classes):
        assert one.ppv.value == pytest.approx((truth == k)[taken == k].mean(), abs=0.02)
        assert one.npv.value == pytest.approx((truth != k)[taken != k].mean(), abs=0.02)
        assert one.specificity.value == pytest.approx((taken != k)[truth != k].mean(), abs=0.02)
        assert one.sensitivity.value == pytest.approx((taken == k)[truth == k].mean(), abs=0.02)
    assert here.decisions[1].accuracy.value == pytest.approx((taken == truth).mean(), abs=0.01)
    assert (there.decisions[1].accuracy.low or 0) > (there.decisions[0].accuracy.high or 1)


def test_a_prior_is_a_word_a_file_or_a_mapping() -> None:
    resolve = lambda prior: stated_prior(prior, CLASSES).resolved(SOURCE, TEST.probabilities, TEST.clusters)  # noqa: E731
    assert resolve("train").shares.tolist() == pytest.approx([0.7, 0.2, 0.1])
    assert resolve("uniform").shares.tolist() == pytest.approx([1 / 3] * 3)
    assert resolve({"rare": 0.5, "less": 0.5, "common": 0}).shares.tolist() == [0, 0.5, 0.5]
    assert resolve("estimate").shares == pytest.approx(np.bincount(TEST.labels) / 1000, abs=0.03)
    with pytest.raises(SettingsError, match="--prior unifrm: must be train, uniform, estimate or a file"):
        stated_prior("unifrm", CLASSES)
    with pytest.raises(DataError, match="prior has no share of rare"):
        stated_prior({"less": 0.5, "common": 0.5}, CLASSES)


def test_thresholds_come_from_validation_and_are_measured_on_the_split() -> None:
    asked = Wanted(sensitivity={"rare": 0.9, "less": 0.999}).understood(CLASSES)
    asked.check(SOURCE)
    found = thresholds_of(TEST, SOURCE, asked, None)
    assert isinstance(found, ThresholdsResult)
    rare, less = found.sensitivity
    own = VAL.labels == 2
    assert rare.threshold == threshold_for(VAL.probabilities[own, 2], VAL.clusters[own], 0.9).value
    taken = TEST.probabilities[:, 2] >= rare.threshold
    assert rare.sensitivity.value == pytest.approx(taken[TEST.labels == 2].mean())
    assert rare.ppv.value == pytest.approx((TEST.labels == 2)[taken].mean())
    assert rare.specificity.value == pytest.approx((~taken)[TEST.labels != 2].mean())
    assert rare.npv.value == pytest.approx((TEST.labels != 2)[~taken].mean())
    assert (rare.sensitivity.low or 1) < 0.9 < (rare.sensitivity.high or 0)
    assert less.threshold is None
    assert "cannot promise a sensitivity of 0.999" in (less.reason or "")
    assert less.sensitivity.value is None
    assert thresholds_of(TEST, SOURCE, NOTHING_WANTED.understood(CLASSES), None) is None


def test_decisions_by_cost_cost_less_and_are_at_the_stated_prior(tmp_path: Path) -> None:
    (tmp_path / "costs.csv").write_text("class,common,less,rare\ncommon,0,1,1\nless,1,0,1\nrare,50,20,0\n")
    asked = Wanted(cost=tmp_path / "costs.csv", prior="uniform").understood(CLASSES)
    assert asked.prior is not None
    prior = asked.prior.resolved(SOURCE, TEST.probabilities, TEST.clusters)
    plain, at = thresholds_of(TEST, SOURCE, asked, None), thresholds_of(TEST, SOURCE, asked, prior)
    assert plain is not None
    assert at is not None
    assert plain.cost is not None
    assert at.cost is not None
    assert plain.cost.shares["rare"] == pytest.approx((TEST.labels == 2).mean())
    assert at.cost.shares["rare"] == pytest.approx(1 / 3)
    for cost in (plain.cost, at.cost):
        assert (cost.change.high or 0) < 0
        assert cost.file == "costs.csv"


# The command on a run.


def test_an_evaluation_keeps_what_was_found_and_is_read_again(
    trained: tuple[Path, Dataset], run: Path, tmp_path: Path
) -> None:
    prior = tmp_path / "prior.yaml"
    prior.write_text("common: 0.9\nless: 0.07\nrare: 0.03\n")
    result = api.evaluate(run, prior=prior, sensitivity=["common=0.5"], data=trained[1])
    assert read_evaluation(run / "evaluation-test.json") == result
    assert result.probabilities is not None
    assert result.probabilities.implied == "training"
    assert result.prior is not None
    assert (result.prior.asked, result.prior.shares["rare"].value) == ("prior.yaml", pytest.approx(0.03))
    assert result.thresholds is not None
    (one,) = result.thresholds.sensitivity
    assert (one.name, one.images, one.n) == ("common", 8, 8)
    plain = api.evaluate(run)
    assert (plain.prior, plain.thresholds) == (None, None)
    assert "prior" not in json.loads((run / "evaluation-test.json").read_text())


def test_a_run_of_an_earlier_version_predicts_its_validation_images_first(run: Path) -> None:
    kept = (run / "predictions-val.csv").read_text()
    (run / "predictions-val.csv").unlink()
    result = api.evaluate(run)
    assert result.probabilities is not None
    assert "vector" in [one.name for one in result.probabilities.variants]
    assert (
        read_predictions(run / "predictions-val.csv").shape == pd.read_csv(pd.io.common.StringIO(kept)).shape
    )


def test_predictions_of_another_data_sets_validation_images_are_not_taken(run: Path) -> None:
    folder = RunFolder(run)
    assert not isinstance(validation_cases(folder, CLASSES), str)
    result = api.evaluate(run, "val")
    other = {"title": "other", "manifest_sha256": "0" * 64}
    changed = Evaluation.model_validate(result.model_dump(mode="json", by_alias=True) | {"data": other})
    write_evaluation(folder.evaluation("val"), changed)
    assert "of another data set" in str(validation_cases(folder, CLASSES))


def test_the_command_tells_all_of_it(run: Path, tmp_path: Path, lmd: Command) -> None:
    costs = tmp_path / "costs.csv"
    costs.write_text("class,common,less,rare\ncommon,0,1,1\nless,1,0,1\nrare,50,20,0\n")
    wanted = [
        "--prior",
        "uniform",
        "--sensitivity",
        "common=0.5",
        "--sensitivity",
        "rare=0.99",
        "--cost",
        costs,
    ]
    code, out, err = lmd("evaluate", run, *wanted)
    assert code == 0, err
    for words in (
        "class-wise ECE", "at the prior 'uniform'", "3 validation images of the class cannot promise",
        "mean cost of an image (costs.csv)", "the largest probability at these shares",
    ):  # fmt: skip
        assert words in out, words
    assert probability_lines(read_evaluation(run / "evaluation-test.json"))[0] == ""


def test_predictions_at_a_prior(
    trained: tuple[Path, Dataset], run: Path, tmp_path: Path, lmd: Command
) -> None:
    images = sorted((trained[1].folder.parent / "images").iterdir())[:5]
    prior = tmp_path / "prior.csv"
    prior.write_text("class,share\ncommon,0.1\nless,0.2\nrare,0.7\n")
    code, _, err = lmd("predict", run, *images, "--prior", prior, "--out", tmp_path / "answers.csv")
    assert code == 0, err
    assert "prior 'prior.csv': common 0.100, less 0.200, rare 0.700" in err
    table = pd.read_csv(tmp_path / "answers.csv")
    columns = [f"p_{name}" for name in CLASSES]
    model = api.load(run)
    own = model.predict(images)[columns].to_numpy()
    expected = shifted(own, np.array([40, 12, 5]) / 57, np.array([0.1, 0.2, 0.7]))
    np.testing.assert_allclose(table[columns], expected, rtol=1e-4, atol=1e-9)
    assert table["predicted"].tolist() == [CLASSES[k] for k in expected.argmax(1)]
    by_api = model.predict(images, prior={"common": 0.1, "less": 0.2, "rare": 0.7})
    np.testing.assert_allclose(by_api[columns], expected, rtol=1e-4, atol=1e-9)
    assert [name for name in by_api.columns if name.startswith("d_")] == []


def test_what_cannot_be_had_is_one_line_and_nothing_is_written(
    run: Path, tmp_path: Path, lmd: Command
) -> None:
    wrong = tmp_path / "prior.csv"
    wrong.write_text("class,share\ncommon,0.5\nless,0.2\nrare,0.7\n")
    before = sorted(run.iterdir())
    refused(lmd("evaluate", run, "--prior", wrong), "sum to 1.4, not to 1")
    refused(lmd("predict", run, tmp_path, "--prior", wrong), "")
    refused(lmd("evaluate", run, "--sensitivity", "rare=1.5"), "above 0 and below 1")
    refused(lmd("evaluate", run, "--sensitivity", "rare=0.9", "--split", "val"), "on another split")
    refused(lmd("evaluate", run, "--cost", wrong), "lacks the column 'common'")
    assert sorted(run.iterdir()) == before


@pytest.mark.parametrize("value", ["0", "nan", "0.9", "-0.4", "1e9"])
def test_a_table_with_no_probabilities_names_the_image(value: str) -> None:
    table = pd.DataFrame({"id": ["a", "b"], "label": ["x", "y"], "group": ["g0", "g1"]})
    table = table.assign(p_x=["0.5", value], p_y=["0.5", "0.9"])
    with pytest.raises(DataError, match="the probabilities of image 'b' are not from 0 to 1 with a sum of 1"):
        cases_of(table, ["x", "y"])
