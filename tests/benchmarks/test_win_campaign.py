"""The campaign on a GPU: names of rows, the order, what ends early, and which trial is chosen."""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from benchmarks.saved import Saved
from benchmarks.win import byfold, campaign, choice, ingredients, story, tables, trainings
from benchmarks.win.answers import of_kind
from benchmarks.win.rows import TEN, Row, row_of
from benchmarks.win.trainings import Times, Training, train_all
from lmd.data.dataset.manifest import read_dataset
from tests import toy
from tests.benchmarks.test_win import kept, logits


def test_a_row_is_named_by_what_is_changed() -> None:
    assert row_of("isic", "cc-sam") == Row("cc-sam", [])
    assert row_of("isic", "lmd-plus+mixup-sam").sets == ["stage1.mixup=0.4", "stage1.sharpness.radius=0"]
    assert row_of("isic", "lmd-plus-relation").sets == ["stage1.consistency_weight=0", "stage1.ce_view=weak"]
    assert row_of("isic", "ce+decay@60").sets == [
        "stage1.optimisation.weight_decay=0.0005",
        "stage1.epochs=60",
    ]
    assert row_of("isic", "la+rate@5") == Row("logit-adjustment", (), "ce+rate@5")
    for name in ("nothing", "ce+nothing", "lmd-plus-", "ce@", "rs-42"):
        with pytest.raises(SystemExit, match=f"no row '{re.escape(name)}'"):
            row_of("isic", name)


def test_every_row_has_as_many_trials() -> None:
    assert {len(choice.trials_of(row)) for row in TEN} == {3}
    assert choice.trials("isic", ["la", "ce"])[:3] == [
        "ce",
        "ce+rate",
        "ce+decay",
    ]  # What starts from it is last.


def options_of(folder: Path, **changes: Any) -> argparse.Namespace:
    return argparse.Namespace(**{"work": folder, "domain": "isic", "suffix": "", "out": folder, **changes})


def test_the_first_fold_of_all_rows_is_tried_before_the_second() -> None:
    order = list(campaign.trial_order(options_of(Path("w"), suffix="@1")))
    assert len(order) == 60
    assert {one.fold for one in order[:30]} == {"fold-1"}
    assert [one.row for one in order[:3]] == ["lmd-plus@1", "lmd-plus+mixup@1", "lmd-plus+mixup-relation@1"]


def test_the_table_comes_first_and_each_first_stage_before_what_needs_it(tmp_path: Path) -> None:
    chosen = {row: row for row in TEN} | {"la": "la+rate", "ce": "ce+decay"}
    file = tmp_path / "chosen.json"
    file.write_text(json.dumps(chosen))
    order = list(campaign.table_order(options_of(tmp_path), file))
    first = [one.row for one in order if (one.domain, one.fold, one.seed) == ("isic", "fold-1", 42)]
    assert first.index("ce+rate") < first.index("la+rate")
    assert first.index("ce") < first.index("decoupling")
    assert set(chosen.values()) <= set(first)
    domains = [one.domain for one in order]
    assert domains.index("rbc") == 5 * 12  # Ten rows, two first stages of others, five folds.
    assert "lmd-plus@60" in first
    assert order[-1].seed == 43


def quick(monkeypatch: pytest.MonkeyPatch, command: str) -> None:
    """Trainings are a command of the shell, which is told the model card that it may write."""

    def words(self: Training) -> list[str]:
        self.out.path.mkdir(parents=True, exist_ok=True)
        return ["sh", "-c", command, "sh", str(self.out.path / "MODEL_CARD.md"), self.row]

    monkeypatch.setattr(Training, "words", property(words))
    monkeypatch.setattr(trainings, "_PAUSE", 0.01)


def test_nothing_waits_for_a_first_stage_that_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    quick(monkeypatch, 'test "$2" = ce && exit 3; touch "$1"')
    order = [Training(tmp_path, "isic", row, "fold-1", 42) for row in ("ce", "la", "rs")]
    begun = time.time()
    train_all(order, 2, 60)
    assert time.time() - begun < 20
    assert [one.finished for one in order] == [False, False, True]
    assert "not finished (3)" in capsys.readouterr().out


def test_what_runs_at_the_end_of_the_grace_is_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    quick(monkeypatch, "exec sleep 60")
    order = [Training(tmp_path, "isic", row, "fold-1", 42) for row in ("ce", "rs")]
    begun = time.time()
    train_all(order, 1, 0.5, grace=0.2)
    assert time.time() - begun < 20
    assert "not finished (-15)" in capsys.readouterr().out
    assert not order[1].run.exists()  # Not begun.
    process = subprocess.Popen(["sh", "-c", "exit 0"])
    assert Times(time.time(), 5.0, set()).code_of(process) == 0


def test_the_trial_that_validation_prefers_is_chosen_and_no_test_image_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    kept(tmp_path)
    for name, right in (("ce", 1.0), ("ce+rate", 3.0), ("ce+decay", 0.5), ("rs", 1.0)):
        logits(tmp_path, name, right=right, shift=0.0)
        path = tmp_path / f"{name}-42.npz"
        found = {key: value for key, value in np.load(path).items() if " val" in key}
        if name == "ce+decay":
            found = {key: value for key, value in found.items() if key.startswith("fold-2")}
        np.savez_compressed(path, **found)
    monkeypatch.setattr(sys, "argv", ["choice", "--results", str(tmp_path)])
    choice.main()
    chosen = json.loads((tmp_path / "chosen.json").read_text())
    assert (chosen["ce"], chosen["rs"], chosen["gcl"]) == ("ce+rate", "rs", "gcl")
    assert "| ce+rate | 1 |" in capsys.readouterr().out  # The folds that all three have.
    assert choice.read_chosen(tmp_path / "chosen.json", "rbc") == [
        "ce",
        "ce+rate",
        "lmd-plus",
        "cc-sam",
        "lmd",
        "la",
    ]


def test_rows_are_shown_as_they_were_chosen_or_as_they_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept(tmp_path)
    for name in ("lmd-plus", "ce", "ce+rate"):
        logits(tmp_path, name, right=2.0 if name == "ce+rate" else 1.0, shift=0.0)
    (tmp_path / "chosen.json").write_text(json.dumps({"lmd-plus": "lmd-plus", "ce": "ce+rate", "rs": "rs"}))

    def shown(*words: str) -> dict[str, float]:
        monkeypatch.setattr(sys, "argv", ["tables", "--results", str(tmp_path), "--name", "shown", *words])
        tables.main()
        found = json.loads((tmp_path / "shown.json").read_text())
        return {one["row"]: one["metrics"]["bacc"]["value"] for one in found}

    chosen = shown()
    named = shown("--rows", "ce", "ce+rate")
    assert list(chosen) == ["ce", "lmd-plus"]
    assert chosen["ce"] == named["ce+rate"] > named["ce"]
    assert shown("--rows", "ce", "--folds", "fold-1") != shown("--rows", "ce")
    assert shown("--seeds", "43") == {}


def test_a_row_s_lead_is_told_fold_by_fold(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    kept(tmp_path)
    table = pd.read_csv(tmp_path / "cases.csv").assign(label=["rare", "common", "common", "rare"] * 15)
    table.to_csv(tmp_path / "cases.csv", index=False)  # Both folds have both classes.
    table[["id", "label", "fold"]].to_csv(tmp_path / "validated.csv", index=False)
    logits(tmp_path, "lmd-plus", right=4.0, shift=0.0)
    logits(tmp_path, "ce", right=0.1, shift=0.0)
    monkeypatch.setattr(sys, "argv", ["byfold", "--results", str(tmp_path)])
    byfold.main()
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("| ce |")]
    gaps = [float(cell.split()[0]) for cell in line.strip("| ").split(" | ")[1:]]
    assert min(gaps) > 5
    assert gaps[2] == pytest.approx((gaps[0] + gaps[1]) / 2, abs=0.06)
    low, high = byfold.interval(np.array([1.0, 2.0, 3.0]))
    assert (low, high) == pytest.approx((-0.484, 4.484), abs=1e-3)


def test_a_row_that_has_mirror_images_anyway_is_kept_once() -> None:
    own, mirrored = np.zeros((1, 2)), np.ones((1, 2))
    assert of_kind({"fold-1 test": own, "mirrored": own}, "fold-1", "test", " flips") is own
    with pytest.raises(SystemExit, match="no logits 'fold-1 test flips' are kept"):
        of_kind({"fold-1 test": own}, "fold-1", "test", " flips")
    assert (
        of_kind({"fold-1 test": own, "fold-1 test flips": mirrored}, "fold-1", "test", " flips") is mirrored
    )


def test_a_part_adds_what_it_adds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept(tmp_path)
    logits(tmp_path, "lmd-plus", right=2.0, shift=0.0)
    logits(tmp_path, "lmd", right=2.0, shift=1.9)
    (tmp_path / "chosen.json").write_text("{}")
    pairs = [
        ingredients.Pair("tau", ingredients.Answer("lmd"), ingredients.Answer("lmd", ingredients.UNSHIFTED)),
        ingredients.Pair(
            "nothing", ingredients.Answer("lmd"), ingredients.Answer("lmd", ingredients.MIRRORED), ("fold-1",)
        ),
    ]
    monkeypatch.setattr(ingredients, "PAIRS", pairs)
    monkeypatch.setattr(ingredients, "THREE", ("fold-1",))
    monkeypatch.setattr(sys, "argv", ["ingredients", "--results", str(tmp_path)])
    ingredients.main()
    tau, nothing = json.loads((tmp_path / "ingredients.json").read_text())
    assert tau["bacc"]["low"] > 0.02
    assert (nothing["bacc"]["value"], nothing["folds"]) == (0.0, 1)
    assert tau["p_holm"] < 0.05 < nothing["p_holm"]


def test_a_difference_without_an_interval_says_so() -> None:
    assert tables.points({"value": 0.0123, "low": -0.01, "high": 0.02}) == "+1.2 [-1.0, +2.0]"
    assert tables.points({"value": 0.0123, "low": None, "high": None}) == "+1.2 [no interval]"


def test_the_figures_have_all_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept(tmp_path)
    for name in ("ce+decay", "lmd", "lmd-plus", "lmd-plus@5"):
        logits(tmp_path, name, right=2.0, shift=0.0)
    chosen = {"ce": "ce+decay", "lmd": "lmd", "lmd-plus": "lmd-plus"}
    (tmp_path / "chosen.json").write_text(json.dumps(chosen))
    rows = [
        {"row": row, "seed": 42, "fold": "fold-1", "stage": "stage1", "epoch": epoch, "margin": 0.5}
        for row in chosen.values()
        for epoch in range(3)
    ]
    pd.DataFrame(rows).to_csv(tmp_path / "curves.csv", index=False)
    gap = {"value": 0.01, "low": 0.0, "high": 0.02}
    (tmp_path / "ingredients.json").write_text(json.dumps([{"part": "a part", "folds": 2, "bacc": gap}]))
    monkeypatch.setattr(sys, "argv", ["story", "--results", str(tmp_path), "--out", str(tmp_path)])
    story.main()
    drawn = (tmp_path / "steps.svg").read_text()
    assert all(f">{name}</text>" in drawn for name in ("CE", "LMD", "LMD+"))
    files = tables.finished(tmp_path, tables.read(tmp_path, ["fold-1"]))
    found = story.lengths(tables.read(tmp_path, ["fold-1"]), files, "lmd-plus", 1.0)
    assert [at for at, _ in found] == [5 * story.STEPS, 30 * story.STEPS]
    assert found[0][1]["bacc"].value > 0.9
    assert "a part (2 folds)" in (tmp_path / "parts.svg").read_text()


def test_a_class_whose_new_images_lie_half_way_has_moved_by_half(tmp_path: Path) -> None:
    dataset = read_dataset(toy.make_dataset(tmp_path).folder)
    numbers = dataset.table["label"].map(dataset.classes.index).to_numpy()
    places = 4.0 * np.eye(len(dataset.classes))
    centre = places.mean(0)
    train = (dataset.table["split"] == "train").to_numpy()
    half = centre + 0.5 * (places - centre)
    features = np.where(
        train[:, None], places[numbers], np.where((numbers == 0)[:, None], half[0], places[numbers])
    )
    saved = Saved("features-plusA-42", features, dataset)
    assert story.moved(saved) == pytest.approx([0.5, *[0.0] * (len(dataset.classes) - 1)])
    assert "balanced RRL" in story.drift([saved])
