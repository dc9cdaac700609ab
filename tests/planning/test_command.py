"""The budget auto through the command: printed before anything starts, written down as ordinary settings."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from safetensors.torch import save_file

import lmd
from lmd import methods
from lmd.data.dataset.manifest import Dataset
from lmd.errors import CheckpointError
from lmd.models import hub
from lmd.models.encoder import build_encoder
from lmd.stages.terms import TERMS, legend
from lmd.terminal import TrainingProgress
from tests import toy
from tests.command import Command, refused

FAST = ("--set", "encoder=test_resnet", "--set", "pretrained=false", "--set", "size=16")


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return toy.make_dataset(tmp_path_factory.mktemp("toy"))


def files(folder: Path) -> set[Path]:
    return set(folder.rglob("*"))


def test_a_dry_run_prints_the_plan_and_writes_nothing(lmd: Command, tmp_path: Path) -> None:
    data = toy.make_dataset(tmp_path)
    before = files(tmp_path)
    code, out, err = lmd("train", data.folder, "--out", tmp_path / "run", "--dry-run", *FAST)
    assert code == 0, err
    assert files(tmp_path) == before
    lines = out.splitlines()
    assert lines[0].split() == ["plan", "lmd", "on", str(data.folder)]
    assert "42 epochs: 504 steps" in out  # Twelve batches of at most five in an epoch of 57 images.
    assert "on this machine" in out


def no_download(name: object) -> None:
    pytest.fail("a download was tried")


def test_a_plan_needs_no_download(
    lmd: Command, dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub, "_cached", lambda where: None)
    monkeypatch.setattr(hub, "download", no_download)
    size = ("--set", "encoder=test_resnet", "--set", "size=16")
    code, out, err = lmd("train", dataset.folder, "--out", tmp_path, "--dry-run", *size)
    assert code == 0, err
    *lines, last = out.splitlines()
    assert lines[-1].startswith("time ")
    assert "on this machine, by some steps of each stage" in lines[-1]
    assert last.startswith("weights: those of 'test_resnet' are not on this machine")
    assert "--weights package:efficientnet-lite0 --set encoder=tf_efficientnet_lite0" in last


def test_a_plan_says_nothing_of_weights_that_are_there(
    lmd: Command, dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "w.safetensors"
    save_file(dict(build_encoder("test_resnet", size=16).state_dict()), file)
    monkeypatch.setattr(hub, "_cached", lambda where: file)
    size = ("--set", "encoder=test_resnet", "--set", "size=16")
    code, out, err = lmd("train", dataset.folder, "--out", tmp_path, "--dry-run", *size)
    assert code == 0, err
    assert out.splitlines()[-1].startswith("time ")


def test_a_plan_refuses_weights_that_nobody_could_download(
    lmd: Command, dataset: Dataset, tmp_path: Path
) -> None:
    given = ("--set", "encoder=test_resnet", "--weights", tmp_path / "none.safetensors")
    refused(lmd("train", dataset.folder, "--out", tmp_path, "--dry-run", *given), "none.safetensors")


@pytest.mark.parametrize("budget", ["smoke", "short"])
def test_a_budget_that_cannot_learn_from_these_data_says_so(
    lmd: Command, dataset: Dataset, tmp_path: Path, budget: str
) -> None:
    _, out, _ = lmd("train", dataset.folder, "--out", tmp_path, "--dry-run", "--budget", budget, *FAST)
    assert out.splitlines()[-1].startswith("warning: this cannot learn much")


def test_the_default_is_a_plan_that_ends_up_in_the_settings(
    lmd: Command, dataset: Dataset, tmp_path: Path
) -> None:
    code, _, err = lmd("train", dataset.folder, "--out", tmp_path / "run", "--method", "ce", *FAST)
    assert code == 0, err
    assert "42 epochs: 504 steps" in err
    assert "stage1: total: what is minimised; cross_entropy: -log of the probability" in err
    assert "after 10 steps: " in err
    assert err.count("stage1: total") == 1
    assert "left in all" in err
    settings = yaml.safe_load((tmp_path / "run" / "settings.yaml").read_text())
    assert {name: settings[name] for name in ("batch", "last_batch", "select")} == {
        "batch": 5,
        "last_batch": "even",
        "select": "last",
    }
    assert settings["stage1"]["epochs"] == 42
    assert len((tmp_path / "run" / "metrics.jsonl").read_text().splitlines()) == 42


def interrupted(monkeypatch: pytest.MonkeyPatch, dataset: Dataset, out: Path, **choices: Any) -> None:
    """Trains until the third epoch, and is killed there."""
    from lmd.stages.base import Supervised

    whole, count = Supervised.run_epoch, itertools.count(1)

    def stopping(stage: Supervised, epoch: int) -> dict[str, float]:
        if next(count) > 3:
            raise KeyboardInterrupt
        return whole(stage, epoch)

    with monkeypatch.context() as patch:
        patch.setattr(Supervised, "run_epoch", stopping)
        with pytest.raises(KeyboardInterrupt):
            lmd.train(dataset, out=out, method="ce", **choices)


def test_a_planned_run_goes_on_by_itself_to_the_same_weights(
    monkeypatch: pytest.MonkeyPatch, dataset: Dataset, tmp_path: Path
) -> None:
    short = {"settings": {**FLAT, "stage1.epochs": 5}}
    whole = lmd.train(dataset, out=tmp_path / "whole", method="ce", **short)
    interrupted(monkeypatch, dataset, tmp_path / "run", **short)
    again = lmd.train(dataset, out=tmp_path / "run", resume=True)
    assert again.weights.read_bytes() == whole.weights.read_bytes()


FLAT = {"encoder": "test_resnet", "pretrained": False, "size": 16}


def test_a_resume_that_names_a_budget_is_a_choice(
    monkeypatch: pytest.MonkeyPatch, dataset: Dataset, tmp_path: Path
) -> None:
    interrupted(monkeypatch, dataset, tmp_path / "run", settings={**FLAT, "stage1.epochs": 5})
    with pytest.raises(CheckpointError, match="other settings"):
        lmd.train(dataset, out=tmp_path / "run", budget="paper", resume=True)


def test_a_run_of_an_earlier_version_goes_on_without_the_new_settings(
    monkeypatch: pytest.MonkeyPatch, dataset: Dataset, tmp_path: Path
) -> None:
    choices: dict[str, Any] = {"budget": "smoke", "settings": {**FLAT, "stage1.epochs": 5}}
    interrupted(monkeypatch, dataset, tmp_path / "run", **choices)
    file = tmp_path / "run" / "settings.yaml"
    tree = yaml.safe_load(file.read_text())
    file.write_text(yaml.safe_dump({name: value for name, value in tree.items() if name not in NEW}))
    assert lmd.train(dataset, out=tmp_path / "run", resume=True).model.is_file()


NEW = ("freeze", "last_batch")


@pytest.mark.parametrize("name", methods.names())
def test_every_term_of_every_method_has_a_meaning(dataset: Dataset, name: str, tmp_path: Path) -> None:
    from lmd.settings import resolve
    from lmd.training.start import train

    settings = resolve(methods.load(name).Settings, methods.preset(methods.load(name)), toy.recipe(name))
    run = train(dataset, name, settings, tmp_path / "run")
    terms = {name for line in run.metrics.read_text().splitlines() for name in json.loads(line)["losses"]}
    assert terms <= set(TERMS)
    assert legend(["own", "adjustment"]) == f"adjustment: {TERMS['adjustment']}"


def test_one_of_several_trainings_is_not_rehearsed(
    monkeypatch: pytest.MonkeyPatch, dataset: Dataset, capfd: pytest.CaptureFixture[str]
) -> None:
    from lmd.planning import plan, plan_of_run, settings_for

    monkeypatch.setattr(plan, "rehearse", lambda outline: pytest.fail("it was rehearsed"))
    progress = TrainingProgress()
    progress.prefix = "CE "
    settings = settings_for("ce", dataset, "smoke", overrides=["pretrained=false"])
    progress.planned(plan_of_run(dataset, "ce", settings))
    assert capfd.readouterr().err.startswith("warning: this cannot learn much")
