"""`--from`: another run's first stage in place of one's own, to the same weights, or one line that says why not."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

import lmd.run
from lmd import methods
from lmd.data.dataset.manifest import Dataset, read_dataset
from lmd.errors import CheckpointError, DataError, LmdError, SettingsError
from lmd.run import RunFolder, read_identity
from lmd.seals import sealed_json
from lmd.settings import CommonSettings, Tree, merge
from lmd.training import fresh
from lmd.training.progress import Silent
from lmd.training.start import train
from tests import toy


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return toy.make_dataset(tmp_path_factory.mktemp("toy"))


def settings_of(name: str, **changes: Any) -> CommonSettings:
    return methods.settings_of(name, recipe=merge(toy.recipe(name), changes))


@pytest.fixture(scope="module")
def ce(dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    return train(dataset, "ce", settings_of("ce"), tmp_path_factory.mktemp("ce") / "run")


@pytest.fixture(scope="module")
def decoupling(dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """Both stages in one run."""
    return train(dataset, "decoupling", settings_of("decoupling"), tmp_path_factory.mktemp("whole") / "run")


def same(first: RunFolder, second: RunFolder) -> bool:
    one, other = load_file(first.weights), load_file(second.weights)
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


def records(folder: RunFolder, stage: str) -> list[Tree]:
    lines = map(json.loads, folder.metrics.read_text().splitlines())
    return [{**record, "seconds": None} for record in lines if record["stage"] == stage]


def test_a_second_stage_on_another_method_s_first_equals_the_two_in_one_run(
    ce: RunFolder, decoupling: RunFolder, dataset: Dataset, tmp_path: Path
) -> None:
    """Decoupling's first stage is cross entropy: a CE run gives it the same encoder, bit for bit."""
    taken = train(dataset, "decoupling", settings_of("decoupling"), tmp_path / "run", start=ce)
    assert same(taken, decoupling)
    assert records(taken, "stage2") == records(decoupling, "stage2")
    assert records(taken, "stage1") == []
    assert not taken.checkpoint.exists()


def test_decoupling_on_lmd_s_encoder_is_rrl_crt(dataset: Dataset, tmp_path: Path) -> None:
    stage1 = toy.LMD["stage1"]
    whole = train(dataset, "rrl-crt", settings_of("rrl-crt", stage1=stage1), tmp_path / "whole")
    start = train(dataset, "lmd", settings_of("lmd"), tmp_path / "lmd")
    for name in ("decoupling", "rrl-crt"):
        taken = train(dataset, name, settings_of(name), tmp_path / name, start=start)
        assert same(taken, whole), name


def test_lmd_without_icc_is_rrl_crt(dataset: Dataset, tmp_path: Path) -> None:
    start = train(dataset, "lmd", settings_of("lmd"), tmp_path / "lmd")
    stage2 = methods.settings_of("rrl-crt").model_dump()["stage2"]
    ablation = train(dataset, "lmd", settings_of("lmd", without="icc"), tmp_path / "ablation", start=start)
    method = train(dataset, "rrl-crt", settings_of("rrl-crt", stage2=stage2), tmp_path / "crt", start=start)
    assert same(ablation, method)


def test_what_was_taken_over_can_be_handed_on(ce: RunFolder, dataset: Dataset, tmp_path: Path) -> None:
    first = train(dataset, "decoupling", settings_of("decoupling"), tmp_path / "first", start=ce)
    tau: Tree = {"stage2": {"variant": "tau_norm"}}
    again = train(dataset, "decoupling", settings_of("decoupling", **tau), tmp_path / "again", start=first)
    straight = train(dataset, "decoupling", settings_of("decoupling", **tau), tmp_path / "tau", start=ce)
    assert same(again, straight)


def test_it_is_the_first_stage_s_network_and_not_the_finished_one(
    decoupling: RunFolder, dataset: Dataset, tmp_path: Path
) -> None:
    """LWS keeps the classifier that it finds: that of cross entropy, not the new one of cRT."""
    lws: Tree = {"stage2": {"variant": "lws", "optimisation": {"lr": 1e-12}}}
    run = train(dataset, "decoupling", settings_of("decoupling", **lws), tmp_path / "run", start=decoupling)
    expected = lmd.run.load_tree(decoupling.stage1)["weights"]["classifier.weight"]
    torch.testing.assert_close(load_file(run.weights)["classifier.weight"], expected)


def test_no_weights_are_asked_for_that_would_not_be_used(
    ce: RunFolder, decoupling: RunFolder, dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`pretrained` is the default: without this, `--from` would want a download."""
    asked: list[bool] = []
    real = fresh.build_encoder

    def watched(name: str, *, pretrained: bool, **others: Any) -> torch.nn.Module:
        asked.append(pretrained)
        return real(name, pretrained=False, **others)

    monkeypatch.setattr(fresh, "build_encoder", watched)
    run = train(dataset, "decoupling", settings_of("decoupling", pretrained=True), tmp_path / "run", start=ce)
    assert asked == [False]
    assert same(run, decoupling)


class Stop(Silent):
    """Interrupts a run after the first epoch it finishes."""

    def finished(self, record: Tree) -> None:
        raise KeyboardInterrupt


class StopAtOnce(Silent):
    """Interrupts a run before its first step."""

    def started(self, stage: str, epoch: int, epochs: int) -> None:
        raise KeyboardInterrupt


@pytest.mark.parametrize("stop", [Stop, StopAtOnce])
@pytest.mark.parametrize("named_again", [False, True])
def test_resumed_equals_uninterrupted(
    stop: type[Silent],
    named_again: bool,
    ce: RunFolder,
    decoupling: RunFolder,
    dataset: Dataset,
    tmp_path: Path,
) -> None:
    """The run that it started from need not be named again, and may be gone."""
    settings, out = settings_of("decoupling"), tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        train(dataset, "decoupling", settings, out, start=ce, progress=stop())
    start = ce if named_again else None
    resumed = train(dataset, "decoupling", settings, out, start=start, resume=True)
    assert same(resumed, decoupling)
    assert read_identity(resumed)["from_sha256"] is not None


@pytest.mark.parametrize("stop", [Stop, StopAtOnce])
@pytest.mark.parametrize("variant", ["lws", "tau_norm", "ncm"])
def test_every_classifier_of_decoupling_resumes(
    stop: type[Silent], variant: str, ce: RunFolder, dataset: Dataset, tmp_path: Path
) -> None:
    settings = settings_of("decoupling", stage2={"variant": variant}, select="last")
    whole = train(dataset, "decoupling", settings, tmp_path / "whole", start=ce)
    with pytest.raises(KeyboardInterrupt):
        train(dataset, "decoupling", settings, tmp_path / "run", start=ce, progress=stop())
    resumed = train(dataset, "decoupling", settings, tmp_path / "run", resume=True)
    assert same(resumed, whole)
    assert records(resumed, "stage2") == records(whole, "stage2")


def test_resuming_on_another_first_stage_is_refused(ce: RunFolder, dataset: Dataset, tmp_path: Path) -> None:
    settings, out = settings_of("decoupling"), tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        train(dataset, "decoupling", settings, out, start=ce, progress=Stop())
    other = train(dataset, "ce", settings_of("ce", seed=1), tmp_path / "other")
    with pytest.raises(CheckpointError, match="from_sha256"):
        train(dataset, "decoupling", settings, out, start=other, resume=True)


def test_a_run_stopped_before_it_took_the_stage_over_does_not_train_its_own(
    ce: RunFolder, decoupling: RunFolder, dataset: Dataset, tmp_path: Path
) -> None:
    settings, out = settings_of("decoupling"), tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        train(dataset, "decoupling", settings, out, start=ce, progress=Stop())
    shutil.rmtree(out / "checkpoint")
    with pytest.raises(CheckpointError, match="name --from again"):
        train(dataset, "decoupling", settings, out, resume=True)
    assert same(train(dataset, "decoupling", settings, out, start=ce, resume=True), decoupling)


def refused(
    kind: type[LmdError],
    words: str,
    dataset: Dataset,
    start: Path,
    out: Path,
    method: str = "decoupling",
    **changes: Any,
) -> None:
    """Asserts one line that says what is wrong, and that nothing was written."""
    with pytest.raises(kind, match=words) as error:
        train(dataset, method, settings_of(method, **changes), out, start=RunFolder(start))
    assert "\n" not in str(error.value)
    assert not out.exists()


def other_images(folder: Path, like: Dataset) -> Dataset:
    """A data set with the table and dataset.json of another, and with an image of each name of its own."""
    counts = {split: like.counts(split).tolist()[::-1] for split in ("train", "val", "test")}
    drawn = toy.make_dataset(folder / "other", counts, classes=like.classes)
    return Dataset(drawn.folder, like.table, like.info.model_copy(update={"image_root": "../images"}))


def test_other_images_under_the_same_names_are_refused(
    ce: RunFolder, dataset: Dataset, tmp_path: Path
) -> None:
    twin = other_images(tmp_path, dataset)
    assert twin.info.manifest_sha256 == dataset.info.manifest_sha256
    refused(
        DataError, "trained on other images than those of .* though names", twin, ce.path, tmp_path / "run"
    )


def test_the_images_of_the_first_stage_are_carried_over(
    ce: RunFolder, dataset: Dataset, tmp_path: Path
) -> None:
    """The run that it started from saw these pixels too, such as with other bits."""
    start = RunFolder(Path(shutil.copytree(ce.path, tmp_path / "start")))
    kept = json.loads(start.images.read_text())
    kept["train"]["pixels"] = sorted([*kept["train"]["pixels"][1:], "f" * 64])
    del kept["sha256"]
    start.images.write_text(sealed_json(kept))
    toy.as_earlier(start.path)  # model.json knows the hash of the file as it was.
    with pytest.raises(KeyboardInterrupt):
        train(
            dataset, "decoupling", settings_of("decoupling"), tmp_path / "run", start=start, progress=Stop()
        )
    run = train(dataset, "decoupling", settings_of("decoupling"), tmp_path / "run", resume=True)
    found = json.loads(run.images.read_text())
    assert found["train"]["files"] == kept["train"]["files"]
    assert len(found["train"]["pixels"]) == len(kept["train"]["pixels"]) + 1
    assert "f" * 64 in found["train"]["pixels"]


def test_an_interrupted_run_does_not_go_on_with_other_images(dataset: Dataset, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        train(dataset, "ce", settings_of("ce"), tmp_path / "run", progress=Stop())
    with pytest.raises(CheckpointError, match="began with other images"):
        train(other_images(tmp_path, dataset), "ce", settings_of("ce"), tmp_path / "run", resume=True)


def test_what_does_not_fit_is_refused_and_nothing_is_written(
    ce: RunFolder, dataset: Dataset, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    moved = dataset.info.model_copy(update={"manifest_sha256": "0" * 64})
    other = Dataset(dataset.folder, dataset.table, moved)
    refused(DataError, "trained on the images of .* but with another division", other, ce.path, out)
    refused(DataError, r"trained on another data set \(toy\)", other_images(tmp_path, other), ce.path, out)
    refused(SettingsError, "size = 16, this run wants 24", dataset, ce.path, out, size=24)
    refused(SettingsError, "crop = none, this run wants center", dataset, ce.path, out, crop="center")
    refused(
        SettingsError,
        "encoder = test_resnet, this run wants test_vit",
        dataset, ce.path, out, encoder="test_vit",
    )  # fmt: skip
    refused(SettingsError, "'ce' has one stage", dataset, ce.path, out, method="ce")
    refused(CheckpointError, "no such run", dataset, tmp_path / "none", out)


def test_an_unfinished_or_damaged_run_is_refused(ce: RunFolder, dataset: Dataset, tmp_path: Path) -> None:
    half = tmp_path / "half"
    with pytest.raises(KeyboardInterrupt):
        train(dataset, "ce", settings_of("ce"), half, progress=Stop())
    refused(CheckpointError, "has not finished", dataset, half, tmp_path / "run")
    damaged = tmp_path / "damaged"
    shutil.copytree(ce.path, damaged)
    RunFolder(damaged).stage1.write_bytes(b"damaged")
    refused(
        CheckpointError,
        r"cannot read .*stage1\.safetensors: its checksum",
        dataset,
        damaged,
        tmp_path / "run",
    )
    RunFolder(damaged).stage1.unlink()
    refused(CheckpointError, r"stage1\.safetensors", dataset, damaged, tmp_path / "run")


def test_a_second_stage_that_cannot_use_the_classifier_says_so_before_it_begins(
    ce: RunFolder, dataset: Dataset, tmp_path: Path
) -> None:
    cosine = tmp_path / "cosine"
    shutil.copytree(ce.path, cosine)
    tree = lmd.run.load_tree(ce.stage1)
    weights = {key: value for key, value in tree["weights"].items() if key != "classifier.bias"}
    weights["classifier.scale"] = torch.tensor(16.0)
    lmd.run.write_stage1(RunFolder(cosine), weights, "cosine")
    toy.as_earlier(cosine)  # model.json knows the hash of the file as it was.
    for variant in ("lws", "tau_norm"):
        refused(
            SettingsError, "needs a linear classifier in stage 1, found CosineClassifier",
            dataset, cosine, tmp_path / "run", stage2={"variant": variant},
        )  # fmt: skip
    refused(
        SettingsError, "linear classifier", dataset, cosine, tmp_path / "run", method="rrl-logit-adjustment"
    )
    train(dataset, "decoupling", settings_of("decoupling"), tmp_path / "crt", start=RunFolder(cosine))


def test_a_moved_data_set_is_the_same_one(ce: RunFolder, dataset: Dataset, tmp_path: Path) -> None:
    moved = tmp_path / "moved"
    shutil.copytree(dataset.folder, moved)
    run = train(read_dataset(moved), "decoupling", settings_of("decoupling"), tmp_path / "run", start=ce)
    assert run.model.is_file()
