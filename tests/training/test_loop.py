"""Training: both stages, the same weights for the same seed, and resume after kill -9."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from lmd import methods
from lmd.data.dataset.manifest import Dataset, read_dataset
from lmd.errors import CheckpointError, SettingsError
from lmd.evaluation.judge import evaluate_run
from lmd.files import save_tree
from lmd.run import RunFolder, load_checkpoint
from lmd.settings import CommonSettings, Tree, merge
from lmd.stages.adjustment import Adjustment
from lmd.stages.calibration.e_step import EStep
from lmd.stages.calibration.m_step import SampledMStep
from lmd.stages.calibration.statistics import Statistics
from lmd.stages.relation import RelationLearning
from lmd.training import loop, saving
from lmd.training.checkpoint import restore_stage
from lmd.training.progress import Silent
from lmd.training.start import train
from tests import toy
from tests.processes import exit_code


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return toy.make_dataset(tmp_path_factory.mktemp("toy"))


def settings_of(name: str, **changes: Any) -> CommonSettings:
    return methods.settings_of(name, recipe=merge(toy.recipe(name), changes))


def weights_of(folder: RunFolder) -> dict[str, torch.Tensor]:
    return load_file(folder.weights)


def same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return first.keys() == second.keys() and all(
        torch.equal(value, second[name]) for name, value in first.items()
    )


@pytest.fixture(scope="module")
def finished(dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """An LMD run that nothing interrupted."""
    return train(dataset, "lmd", settings_of("lmd"), tmp_path_factory.mktemp("run") / "lmd")


def records(folder: RunFolder) -> list[dict[str, Any]]:
    return [json.loads(line) for line in folder.metrics.read_text().splitlines()]


@pytest.mark.parametrize("name", methods.names())
def test_every_method_trains_and_leaves_a_complete_run_folder(
    name: str, dataset: Dataset, tmp_path: Path
) -> None:
    folder = train(dataset, name, settings_of(name), tmp_path / "run")
    card = json.loads(folder.model.read_text())
    assert card["classes"] == toy.CLASSES
    assert card["training_counts"] == toy.COUNTS["train"]
    assert card["preprocessing"]["size"] == 16
    assert all(bool(torch.isfinite(value).all()) for value in weights_of(folder).values())
    assert not folder.checkpoint.exists()
    assert (folder.path / "environment.json").is_file()
    assert [record["epoch"] for record in records(folder) if record["stage"] == "stage1"] == [0, 1, 2]


def test_each_loss_term_is_logged(finished: RunFolder) -> None:
    first, last = records(finished)[0], records(finished)[-1]
    assert set(first["losses"]) == {
        "total",
        "cross_entropy",
        "probability_consistency",
        "sample_consistency",
        "channel_consistency",
    }
    assert set(last["losses"]) == {"maximise"}
    before = records(finished)[-2]["losses"]
    assert set(before) == {"maximise", "expect", "expect_label", "distribution_consistency"}
    losses = first["losses"]
    relation = losses["sample_consistency"] + losses["channel_consistency"]
    relation += 0.5 * losses["probability_consistency"]
    assert losses["total"] == pytest.approx(losses["cross_entropy"] + relation, rel=1e-5)


def test_the_closing_m_step_follows_the_last_e_step(finished: RunFolder) -> None:
    stage2 = [set(record["losses"]) for record in records(finished) if record["stage"] == "stage2"]
    assert ["expect" in terms for terms in stage2] == [True, True, False]
    assert all("maximise" in terms for terms in stage2)


def test_validation_judges_the_pair_before_the_e_step(
    finished: RunFolder, dataset: Dataset, tmp_path: Path
) -> None:
    """What iteration 0 offers is what a run without any E-step ends with."""
    alone = train(dataset, "lmd", settings_of("lmd", iterations=0), tmp_path / "alone")
    first = next(record for record in records(finished) if record["stage"] == "stage2")
    assert first["validation"] == records(alone)[-1]["validation"]


def test_the_same_seed_gives_the_same_weights_and_another_does_not(
    finished: RunFolder, dataset: Dataset, tmp_path: Path
) -> None:
    again = train(dataset, "lmd", settings_of("lmd"), tmp_path / "again")
    other = train(dataset, "lmd", settings_of("lmd", seed=1), tmp_path / "other")
    assert same(weights_of(finished), weights_of(again))
    assert not same(weights_of(finished), weights_of(other))


class Encoders(Silent):
    """Keeps the encoder as it is after each epoch of stage 1."""

    def __init__(self, out: Path) -> None:
        self.folder, self.after = RunFolder(out), []

    def finished(self, record: Tree) -> None:
        if record["stage"] == "stage1":
            self.after.append(load_checkpoint(self.folder)["network"])


@pytest.mark.usefixtures("each_epoch_saved")
@pytest.mark.parametrize(("name", "handed_over"), [("ce", 0), ("lmd", -1)])
def test_validation_chooses_in_the_last_stage_alone(
    name: str, handed_over: int, dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where validation only gets worse, CE keeps its first epoch, and LMD's stage 2 gets stage 1's last."""
    scores = iter(range(100, 0, -1))
    monkeypatch.setattr(loop, "validate", lambda *_: {"bacc": next(scores), "auc": 0.5})
    settings = settings_of(name, **({"iterations": 0} if name == "lmd" else {}))
    encoders = Encoders(tmp_path / "run")
    weights = weights_of(train(dataset, name, settings, tmp_path / "run", progress=encoders))
    expected = encoders.after[handed_over]
    encoder = [key for key in weights if key.startswith("encoder")]
    assert encoder
    assert all(torch.equal(weights[key], expected[key]) for key in encoder)


@pytest.mark.parametrize("select", ["last", "val_bacc"])
def test_select_says_whether_validation_chooses(
    select: str, dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where validation only gets worse, the last iteration is kept, or the first with its own Gaussians."""
    scores = iter(range(100, 0, -1))
    monkeypatch.setattr(loop, "validate", lambda *_: {"bacc": next(scores), "auc": 0.5})
    folder = train(dataset, "lmd", settings_of("lmd", select=select), tmp_path / "run")
    monkeypatch.setattr(loop, "validate", lambda *_: {})
    kept = 2 if select == "last" else 0
    alone = train(dataset, "lmd", settings_of("lmd", iterations=kept), tmp_path / "alone")
    assert same(weights_of(folder), weights_of(alone))
    assert same(load_file(folder.gaussians), load_file(alone.gaussians))


@pytest.mark.parametrize("name", ["lmd-code", "lmd-literal"])
def test_without_a_closing_m_step_what_is_saved_is_what_was_validated(
    name: str, dataset: Dataset, tmp_path: Path
) -> None:
    settings = settings_of(name, e_step={"optimisation": {"lr": 1e-2}})
    folder = train(dataset, name, settings, tmp_path / "run")
    found = evaluate_run(folder, "val").metrics["bacc"].value
    assert records(folder)[-1]["validation"]["bacc"] == pytest.approx(found)


def test_batch_norm_is_re_estimated_for_the_best_epoch_too(
    dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A method of one stage whose first epoch is the best."""
    scores = iter(range(100, 0, -1))
    monkeypatch.setattr(loop, "validate", lambda *_: {"bacc": next(scores), "auc": 0.5})
    best = weights_of(train(dataset, "ce", settings_of("ce", bn_recalibrate=True), tmp_path / "best"))
    once = settings_of("ce", bn_recalibrate=True, select="last", stage1={"epochs": 1})
    assert same(best, weights_of(train(dataset, "ce", once, tmp_path / "once")))


def test_batch_norm_is_re_estimated_on_clean_images_where_asked(dataset: Dataset, tmp_path: Path) -> None:
    plain = weights_of(train(dataset, "ce", settings_of("ce", select="last"), tmp_path / "plain"))
    asked = settings_of("ce", select="last", bn_recalibrate=True)
    again = weights_of(train(dataset, "ce", asked, tmp_path / "again"))
    changed = {key for key in plain if not torch.equal(plain[key], again[key])}
    assert changed
    assert all("running_" in key or "num_batches" in key for key in changed)


def test_the_test_split_is_not_touched(finished: RunFolder, dataset: Dataset, tmp_path: Path) -> None:
    """Relabelling the test images changes nothing."""
    table = dataset.table.copy()
    table.loc[table["split"] == "test", "label"] = "common"
    changed = Dataset(dataset.folder, table, dataset.info)
    run = train(changed, "lmd", settings_of("lmd"), tmp_path / "run")
    assert same(weights_of(finished), weights_of(run))


def killed(data: Path, out: Path, owner: type, name: str, call: int, seconds: str = "0") -> None:
    """Trains LMD until this process kills itself, as `kill -9` would, at the n-th call of one function."""
    os.environ[saving.VARIABLE] = seconds
    original, calls = getattr(owner, name), []

    def deadly(self: Any, *arguments: Any, **keywords: Any) -> Any:
        calls.append(name)
        if len(calls) == call:
            os.kill(os.getpid(), signal.SIGKILL)
        return original(self, *arguments, **keywords)

    setattr(owner, name, deadly)
    train(read_dataset(data), "lmd", settings_of("lmd"), out)


@pytest.mark.parametrize(
    ("owner", "name", "call", "where"),
    [
        (RelationLearning, "_train_step", 3, "stage 1, before the first checkpoint"),
        (RelationLearning, "_train_step", 11, "stage 1, second epoch"),
        (Statistics, "update", 1, "between the stages"),
        (SampledMStep, "_gradient_step", 4, "first M-step"),
        (SampledMStep, "_gradient_step", 8, "second M-step, after an E-step"),
        (EStep, "loss", 3, "first E-step"),
        (EStep, "loss", 10, "second E-step"),
    ],
)
def test_killed_and_resumed_equals_uninterrupted(
    owner: type, name: str, call: int, where: str, finished: RunFolder, dataset: Dataset, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    assert exit_code(killed, dataset.folder, out, owner, name, call) == -signal.SIGKILL, where
    folder = train(read_dataset(dataset.folder), "lmd", settings_of("lmd"), out, resume=True)
    assert same(weights_of(finished), weights_of(folder)), where
    timeless = [{**record, "seconds": 0} for record in records(folder)]
    assert timeless == [{**record, "seconds": 0} for record in records(finished)]


@pytest.mark.parametrize(
    ("owner", "name", "call", "saved"), [(RelationLearning, "_train_step", 14, 0), (EStep, "loss", 10, 3)]
)
def test_killed_within_a_minute_a_run_goes_on_from_its_last_stage(
    owner: type, name: str, call: int, saved: int, finished: RunFolder, dataset: Dataset, tmp_path: Path
) -> None:
    """Epochs that were not saved are trained again; metrics.jsonl has each of them once."""
    out = tmp_path / "run"
    assert exit_code(killed, dataset.folder, out, owner, name, call, "60") == -signal.SIGKILL
    assert len(records(RunFolder(out))) > saved
    assert RunFolder(out).checkpoint.is_file() == bool(saved)
    if saved:
        assert len(load_checkpoint(RunFolder(out))["state"]["history"]) == saved
    began: list[tuple[str, int]] = []

    class Watched(Silent):
        def started(self, stage: str, epoch: int, epochs: int) -> None:
            began.append((stage, epoch))

    folder = train(
        read_dataset(dataset.folder), "lmd", settings_of("lmd"), out, resume=True, progress=Watched()
    )
    assert len(began) == len(records(finished)) - saved
    assert same(weights_of(finished), weights_of(folder))
    timeless = [{**record, "seconds": 0} for record in records(folder)]
    assert timeless == [{**record, "seconds": 0} for record in records(finished)]


def interrupted(
    dataset: Dataset, out: Path, settings: CommonSettings | None = None, stage: str = "stage1"
) -> None:
    """Leaves a run that stopped after the first epoch of a stage."""

    class Stop(Silent):
        def finished(self, record: dict[str, Any]) -> None:
            if record["stage"] == stage:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(dataset, "lmd", settings or settings_of("lmd"), out, progress=Stop())


@pytest.mark.parametrize(
    "changes",
    [
        {"statistics": {"covariance": "ledoit_wolf"}},
        {"m_step": {"solver": "exact"}},
        {"without": "vfc"},
        {"stage1": {"stage2_from": "teacher"}, "select": "last"},
    ],
)
@pytest.mark.parametrize("stage", ["stage1", "stage2"])
def test_resumed_equals_uninterrupted_with_other_settings(
    changes: dict[str, Any], stage: str, dataset: Dataset, tmp_path: Path
) -> None:
    settings = settings_of("lmd", **changes)
    whole = train(dataset, "lmd", settings, tmp_path / "whole")
    interrupted(dataset, tmp_path / "half", settings, stage)
    half = train(dataset, "lmd", settings, tmp_path / "half", resume=True)
    assert same(weights_of(whole), weights_of(half))


def test_a_checkpoint_of_other_settings_is_refused(dataset: Dataset, tmp_path: Path) -> None:
    interrupted(dataset, tmp_path / "run")
    changed = settings_of("lmd", stage1={"teacher_decay": 0.5})
    with pytest.raises(CheckpointError, match=r"stage1\.teacher_decay was 0\.999, now 0\.5"):
        train(dataset, "lmd", changed, tmp_path / "run", resume=True)


def test_a_checkpoint_of_other_data_is_refused(dataset: Dataset, tmp_path: Path) -> None:
    interrupted(dataset, tmp_path / "run")
    changed = Dataset(
        dataset.folder, dataset.table, dataset.info.model_copy(update={"manifest_sha256": "0" * 64})
    )
    with pytest.raises(CheckpointError, match="other data"):
        train(changed, "lmd", settings_of("lmd"), tmp_path / "run", resume=True)


def test_a_damaged_checkpoint_is_one_clear_error(dataset: Dataset, tmp_path: Path) -> None:
    interrupted(dataset, tmp_path / "run")
    RunFolder(tmp_path / "run").checkpoint.write_bytes(b"damaged")
    with pytest.raises(CheckpointError, match="cannot read checkpoint"):
        train(dataset, "lmd", settings_of("lmd"), tmp_path / "run", resume=True)


def test_an_output_folder_in_use_is_refused_and_left_alone(dataset: Dataset, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("precious")
    with pytest.raises(SettingsError, match="not empty"):
        train(dataset, "ce", settings_of("ce"), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_a_checkpoint_of_another_version_is_one_line(dataset: Dataset, tmp_path: Path) -> None:
    out = tmp_path / "run"
    interrupted(dataset, out, stage="stage2")
    folder = RunFolder(out)
    saved = load_checkpoint(folder)
    del saved["stage_state"]["statistics"]["smoothed"]["rows"]
    save_tree(folder.checkpoint, saved)
    with pytest.raises(CheckpointError, match="does not fit stage 'stage2': another version of lmd wrote it"):
        train(dataset, "lmd", settings_of("lmd"), out, resume=True)


@pytest.mark.parametrize("fault", [KeyError, ValueError, RuntimeError, TypeError])
def test_whatever_a_stage_says_of_a_state_of_another_version_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: type[Exception]
) -> None:
    def refuse(self: Adjustment, state: dict[str, Any]) -> None:
        raise fault("of another shape")

    monkeypatch.setattr(Adjustment, "load_state_dict", refuse)
    with pytest.raises(CheckpointError, match="does not fit stage 'stage2'"):
        restore_stage(RunFolder(tmp_path), Adjustment(CommonSettings()), {})


def test_resuming_what_is_no_run_is_refused(dataset: Dataset, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("precious")
    with pytest.raises(CheckpointError, match="not a run folder"):
        train(dataset, "ce", settings_of("ce"), tmp_path, resume=True)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_resuming_a_finished_run_changes_nothing(finished: RunFolder, dataset: Dataset) -> None:
    before = finished.weights.stat().st_mtime_ns
    train(dataset, "lmd", settings_of("lmd"), finished.path, resume=True)
    assert finished.weights.stat().st_mtime_ns == before
    with pytest.raises(CheckpointError, match="other settings"):
        train(dataset, "lmd", settings_of("lmd", seed=7), finished.path, resume=True)


def test_a_diverging_training_says_so(dataset: Dataset, tmp_path: Path) -> None:
    wild = settings_of("ce", stage1={"optimisation": {"lr": 1e30}})
    with pytest.raises(SettingsError, match=r"loss term .* lower a learning rate"):
        train(dataset, "ce", wild, tmp_path / "run")


def test_bf16_trains(dataset: Dataset, tmp_path: Path) -> None:
    folder = train(dataset, "lmd", settings_of("lmd", precision="bf16", size=32), tmp_path / "run")
    assert all(bool(torch.isfinite(value).all()) for value in weights_of(folder).values())
