"""What is known against a training stands in its model card and its report."""

from __future__ import annotations

from pathlib import Path

import lmd
from lmd.run import read_model_card
from tests import toy
from tests.command import Command, refused

PATIENTS = "atients are not known: images of one patient may be in training and test"


def test_unknown_patients_and_too_few_steps_stand_in_the_card_and_the_report(tmp_path: Path) -> None:
    run = lmd.train(toy.make_dataset(tmp_path), method="ce", settings=toy.COMMON, out=tmp_path / "run")
    few = "this cannot learn much: 24 gradient steps, and 200 are few"
    assert read_model_card(run).warnings == [f"p{PATIENTS}", few]
    card, report = ((run.path / name).read_text() for name in ("MODEL_CARD.md", "report.html"))
    assert f"- P{PATIENTS}.\n- T{few[1:]}.\n" in card
    assert f"P{PATIENTS}." in report
    assert f"T{few[1:]}." in report


def test_a_dry_run_refuses_weights_that_cannot_be_had(lmd: Command, tmp_path: Path) -> None:
    data = toy.make_dataset(tmp_path)
    words = ("train", data.folder, "--out", tmp_path / "run", "--weights", tmp_path / "none.safetensors")
    refused(lmd(*words, "--dry-run"), "none.safetensors")
