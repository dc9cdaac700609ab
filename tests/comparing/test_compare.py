"""Finished runs compared: what is a row, what is refused, what is said."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lmd.comparing.compare import compare_runs
from lmd.comparing.runs import rows_of
from lmd.errors import CheckpointError, DataError, SettingsError
from lmd.evaluation.cases import cases_of, read_predictions
from lmd.evaluation.metrics import balanced_accuracy
from lmd.evaluation.probability.decisions import choose_tau, log_prior
from lmd.model_card import Outputs
from tests.comparing import made


def test_runs_that_differ_by_seed_alone_are_one_row(tmp_path: Path) -> None:
    paths = [made.run(tmp_path / f"ce-{seed}", seed=seed) for seed in (1, 2, 3)]
    paths += [made.run(tmp_path / f"focal-{seed}", "focal", seed, 4.0) for seed in (1, 2, 3)]
    found = compare_runs(paths)
    assert {name: len(one.runs) for name, one in found.methods.items()} == {"ce": 3, "focal": 3}
    mean = np.mean([bacc(path) for path in paths[:3]])
    assert found.methods["ce"].metrics["bacc"].value == pytest.approx(mean)
    assert [row.name for row in found.ranking.rows] == ["focal", "ce"]
    assert found.ranking.pairs[0].about == "methods"
    assert found.ranking.pairs[0].better == "focal"
    assert found.notes == []


def bacc(path: Path) -> float:
    cases = cases_of(read_predictions(path / "predictions-test.csv"), made.CLASSES)
    return balanced_accuracy(cases.labels, cases.probabilities)


def test_settings_tell_rows_of_one_method_apart(tmp_path: Path) -> None:
    paths = [
        made.run(tmp_path / "a", settings=["stage1.epochs=3"]),
        made.run(tmp_path / "b", settings=["stage1.epochs=4"]),
        made.run(tmp_path / "c", "focal"),
    ]
    assert list(rows_of(paths)) == ["ce (stage1.epochs=3)", "ce (stage1.epochs=4)", "focal"]


def test_rows_with_many_other_settings_are_named_by_their_folders(tmp_path: Path) -> None:
    other = ["stage1.epochs=4", "batch=8", "size=64"]
    paths = [made.run(tmp_path / "a"), made.run(tmp_path / "b", settings=other)]
    assert list(rows_of(paths)) == ["ce (a)", "ce (b)"]


def test_one_training_is_about_the_trained_model(tmp_path: Path) -> None:
    found = compare_runs([made.run(tmp_path / "a"), made.run(tmp_path / "b", "focal", strength=5.0)])
    assert "this trained model" in found.notes[0]
    assert found.ranking.pairs[0].about == "trained models"


def test_tau_is_one_rule_for_all_rows(tmp_path: Path) -> None:
    """The stored decisions of one run are shifted; with --tau 0 neither is, and both are equal."""
    shifted = made.run(tmp_path / "a", "focal", outputs=Outputs(tau=1.0, temperature=2.0))
    plain = made.run(tmp_path / "b")
    same = compare_runs([shifted, plain], tau="0")
    assert same.methods["ce"].metrics["bacc"] == same.methods["focal"].metrics["bacc"]
    own = compare_runs([shifted, plain], tau="own")
    assert own.methods["ce"].metrics["bacc"] == same.methods["ce"].metrics["bacc"]
    labels, found = made.IMAGES, made.logits(made.IMAGES, 2.0, 42)
    wanted = balanced_accuracy(labels, found - log_prior(np.array(made.COUNTS)))
    assert own.methods["focal"].metrics["bacc"].value == pytest.approx(wanted)
    assert wanted > bacc(plain) + 0.05
    assert [run.tau for name in ("focal", "ce") for run in own.methods[name].runs] == [[1.0], [0.0]]


def test_tau_is_chosen_on_validation_for_each_run_alike(tmp_path: Path) -> None:
    runs = [
        made.run(tmp_path / "a"),
        made.run(tmp_path / "b", "focal", outputs=Outputs(tau=0.5, temperature=2.0)),
    ]
    found = compare_runs(runs, tau="validation")
    (one,), (other,) = (found.methods[name].runs[0].tau for name in ("ce", "focal"))
    val = made.logits(made.IMAGES, 2.0, 1042)
    prior = log_prior(np.array(made.COUNTS))
    wanted = choose_tau(val - val.mean(1, keepdims=True), made.IMAGES, prior)
    assert (one, other) == (wanted, wanted)
    assert wanted > 0.3
    shifted = balanced_accuracy(made.IMAGES, made.logits(made.IMAGES, 2.0, 42) - wanted * prior)
    assert found.methods["focal"].metrics["bacc"].value == pytest.approx(shifted)


def test_areas_do_not_depend_on_the_shift(tmp_path: Path) -> None:
    runs = [made.run(tmp_path / "a"), made.run(tmp_path / "b", "focal", strength=3.0)]
    areas = [
        compare_runs(runs, tau=rule).methods["ce"].metrics["auc"].value for rule in ("0", "own", "validation")
    ]
    assert len(set(areas)) == 1


def test_folds_are_pooled_and_repeats_are_trainings(tmp_path: Path) -> None:
    first = made.folds_run(tmp_path / "a", 2.0, repeats=2)
    second = made.folds_run(tmp_path / "b", 5.0, method="focal", repeats=2)
    found = compare_runs([first, second])
    assert [run.repeat for run in found.methods["ce"].runs] == ["repeat-1", "repeat-2"]
    assert found.n == len(made.IMAGES)
    assert found.ranking.pairs[0].trainings == 2
    assert found.ranking.pairs[0].better == "focal"
    tuned = compare_runs([first, second], tau="validation")
    assert all(len(run.tau) == 2 and min(run.tau) > 0 for run in tuned.methods["ce"].runs)


def test_repeats_with_other_test_images_are_refused(tmp_path: Path) -> None:
    runs = [
        made.folds_run(tmp_path / "a", 2.0, folds=False),
        made.folds_run(tmp_path / "b", 3.0, method="rs", folds=False),
    ]
    with pytest.raises(
        DataError, match=r"each repeat of .*/a has other test images: .* such as .*/a/repeat-1"
    ):
        compare_runs(runs)


def test_other_order_of_classes_is_the_same_comparison(tmp_path: Path) -> None:
    turned = ["rare", "common", "less"]
    card = made.card(classes=turned, training_counts=[30, 900, 300])
    answers = made.table(made.IMAGES, made.logits(made.IMAGES, 2.0, 42)[:, [2, 0, 1]], card)
    runs = [
        made.run(tmp_path / "a"),
        made.run(tmp_path / "b", "focal", answers=answers, classes=turned, training_counts=[30, 900, 300]),
    ]
    found = compare_runs(runs)
    assert found.methods["ce"].metrics["bacc"] == found.methods["focal"].metrics["bacc"]
    assert list(found.counts) == ["common", "less", "rare"]


def other_cases(folder: Path, **changes: object) -> list[Path]:
    """A run, and one that was measured on other cases."""
    labels = made.IMAGES.copy()
    labels[0] = 1
    groups = [f"g{number // 2}" for number in range(len(labels))]
    answers = {
        "images": made.table(made.IMAGES, made.logits(made.IMAGES, 2.0, 1), made.card(), first="y"),
        "labels": made.table(labels, made.logits(labels, 2.0, 1), made.card()),
        "groups": made.table(made.IMAGES, made.logits(made.IMAGES, 2.0, 1), made.card(), groups),
    }[str(changes["other"])]
    return [made.run(folder / "first"), made.run(folder / "second", "focal", answers=answers)]


@pytest.mark.parametrize(
    ("other", "words"),
    [
        ("images", "120 images and 120 images, 0 of them in both"),
        ("labels", "1 of 120 images has another class"),
        ("groups", "grouped in another way"),
    ],
)
def test_runs_on_other_cases_are_refused(tmp_path: Path, other: str, words: str) -> None:
    with pytest.raises(DataError) as refused:
        compare_runs(other_cases(tmp_path, other=other))
    assert all(word in str(refused.value) for word in (words, "first", "second", "--data"))


def test_runs_with_other_classes_are_refused(tmp_path: Path) -> None:
    second = made.run(tmp_path / "b", "focal", classes=["common", "less", "odd"], bands={})
    with pytest.raises(DataError, match=r"/a and .*/b have other classes: only .*/b has 'odd'"):
        compare_runs([made.run(tmp_path / "a"), second])


def test_what_cannot_be_compared_is_refused(tmp_path: Path) -> None:
    one = made.run(tmp_path / "a")
    with pytest.raises(SettingsError, match="is named twice"):
        compare_runs([one, tmp_path / "b" / ".." / "a"])
    with pytest.raises(SettingsError, match=r"nothing to compare: .*/a is one run of ce"):
        compare_runs([one])
    with pytest.raises(SettingsError, match="name two runs"):
        compare_runs([])
    with pytest.raises(SettingsError, match=r"2 runs that differ by seed alone of ce"):
        compare_runs([one, made.run(tmp_path / "c", seed=7)])
    with pytest.raises(SettingsError, match=r"/a and .*/d are the same training \(ce, seed 42\)"):
        compare_runs([one, made.run(tmp_path / "d")])
    with pytest.raises(CheckpointError, match="no trained model: no such run"):
        compare_runs([one, tmp_path / "none"])
    with pytest.raises(SettingsError, match=r"unknown metric 'bac'.*'bacc'"):
        compare_runs([one, made.run(tmp_path / "e", "focal")], metric="bac")
    with pytest.raises(SettingsError, match="chosen on the images that are measured"):
        compare_runs([one, tmp_path / "e"], split="val", tau="validation")


def test_without_validation_tau_is_not_chosen(tmp_path: Path) -> None:
    runs = [made.run(tmp_path / "a", val=False), made.run(tmp_path / "b", "focal")]
    with pytest.raises((SettingsError, CheckpointError)):
        compare_runs(runs, tau="validation")


def test_damaged_predictions_are_refused(tmp_path: Path) -> None:
    runs = [made.run(tmp_path / "a"), made.run(tmp_path / "b", "focal")]
    file = runs[1] / "predictions-test.csv"
    file.write_text(file.read_text().replace("p_less", "q_less"))
    with pytest.raises(DataError, match=r"the predictions of .*/b are damaged: lacks the column .*p_less"):
        compare_runs(runs)


@pytest.mark.parametrize(
    ("numbers", "words"),
    [
        ("nan,0.5,0.5", "nan, 0.5, 0.5"),
        ("0.2,0.2,0.2", "0.2, 0.2, 0.2"),
        ("1.5,-0.5,0", "1.5, -0.5, 0.0"),
        ("inf,0,0", "inf, 0.0, 0.0"),
    ],
)
def test_what_are_no_probabilities_is_refused(tmp_path: Path, numbers: str, words: str) -> None:
    runs = [made.run(tmp_path / "a"), made.run(tmp_path / "b", "focal")]
    file = runs[1] / "predictions-test.csv"
    head, first, *rest = file.read_text().splitlines()
    file.write_text("\n".join([head, ",".join([*first.split(",")[:4], numbers]), *rest]))
    with pytest.raises(DataError, match="not from 0 to 1 with a sum of 1") as refused:
        compare_runs(runs)
    assert all(word in str(refused.value) for word in (words, "/b", "x000"))


def test_a_band_can_be_the_metric(tmp_path: Path) -> None:
    runs = [made.run(tmp_path / "a"), made.run(tmp_path / "b", "focal", strength=5.0)]
    found = compare_runs(runs, metric="tail")
    assert found.ranking.rows[0].value == found.methods["focal"].metrics["tail"]
    assert found.ranking.pairs[0].reason is not None  # Twenty images of one class are too few.
