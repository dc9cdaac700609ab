"""`--log`: each number once, also after an interruption; no path and no image; a dead log stops no training."""

from __future__ import annotations

import json
import logging
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

import lmd
from lmd.data.dataset.manifest import Dataset
from lmd.errors import SettingsError
from lmd.run import RunFolder
from lmd.settings import Tree
from lmd.training import logs
from lmd.training.logs import Logged, logging_to
from lmd.training.progress import Silent
from tests import toy
from tests.command import Command, refused

SETTINGS = {**toy.COMMON, "stage1": {"epochs": 3}}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return toy.make_dataset(tmp_path_factory.mktemp("toy"))


class Fake:
    """A log in memory; `dies` lets it fail with an epoch."""

    def __init__(self, run: RunFolder, dies: int = 99) -> None:
        self.run, self.dies = run, dies
        self.settings: Tree = {}
        self.points: list[tuple[str, int]] = []
        self.ended: bool | None = None

    def begin(self, settings: Tree) -> None:
        self.settings = settings

    def write(self, points: dict[str, float], epoch: int) -> None:
        if epoch >= self.dies:
            raise ConnectionError("no\nserver")
        self.points += [(name, epoch) for name in points]

    def close(self, finished: bool) -> None:
        self.ended = finished


@pytest.fixture
def fakes(monkeypatch: pytest.MonkeyPatch) -> list[Fake]:
    """The logs that are made, one for each call of `train`."""
    made: list[Fake] = []

    def make(run: RunFolder) -> Fake:
        made.append(Fake(run))
        return made[-1]

    monkeypatch.setitem(logs._KINDS, "fake", ((), make))
    return made


class Stop(Silent):
    def finished(self, record: Tree) -> None:
        if record["epoch"] == 1:
            raise KeyboardInterrupt


def train(dataset: Dataset, out: Path, **options: Any) -> RunFolder:
    return lmd.train(dataset, method="ce", settings=SETTINGS, out=out, **options)


def names(epochs: int) -> list[tuple[str, int]]:
    terms = ("loss/total", "loss/cross_entropy", "validation/bacc", "validation/auc",
             "validation/margin", "seconds")  # fmt: skip
    return [(f"stage1/{term}", epoch) for epoch in range(1, epochs + 1) for term in terms]


def test_each_epoch_is_written_once(dataset: Dataset, fakes: list[Fake], tmp_path: Path) -> None:
    train(dataset, tmp_path / "run", log="fake")
    (fake,) = fakes
    assert fake.points == names(3)
    assert fake.ended is True
    assert fake.settings["method"] == "ce"
    assert fake.settings["stage1.epochs"] == 3


def test_a_resumed_run_has_each_epoch_once(dataset: Dataset, fakes: list[Fake], tmp_path: Path) -> None:
    """The last epoch of the first call is in the history and was never written."""
    with pytest.raises(KeyboardInterrupt):
        train(dataset, tmp_path / "run", progress=Stop())
    train(dataset, tmp_path / "run", log="fake", resume=True)
    assert fakes[0].points == names(3)


def test_an_interrupted_run_says_so(dataset: Dataset, fakes: list[Fake], tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        train(dataset, tmp_path / "run", log="fake", progress=Stop())
    assert fakes[0].ended is False
    assert fakes[0].points == names(2)


def test_no_path_and_no_image_is_written(dataset: Dataset, fakes: list[Fake], tmp_path: Path) -> None:
    first = train(dataset, tmp_path / "patient-anna")
    train(dataset, tmp_path / "run", log="fake", weights=first.path)
    told = json.dumps([fakes[0].settings, fakes[0].points])
    assert "weights_sha256" in told
    for secret in ("anna", str(tmp_path), str(dataset.folder), "image0", "toy0"):
        assert secret not in told


def test_a_log_that_dies_stops_no_training(
    dataset: Dataset, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    fake = Fake(RunFolder(tmp_path / "run"), dies=2)
    with caplog.at_level(logging.WARNING):
        train(dataset, tmp_path / "run", progress=Logged(None, fake.run, fake))
    assert fake.points == names(1)
    assert caplog.text.count("--log is given up, the training goes on: ConnectionError: no server") == 1


def test_a_log_that_cannot_begin_is_one_line(dataset: Dataset, tmp_path: Path) -> None:
    fake = Fake(RunFolder(tmp_path / "run"))
    fake.begin = lambda settings: 1 / 0  # type: ignore[method-assign, assignment, return-value]
    with pytest.raises(SettingsError, match="--log cannot be written: ZeroDivisionError: division by zero"):
        train(dataset, tmp_path / "run", progress=Logged(None, fake.run, fake))


def test_what_cannot_be_is_refused(lmd: Command, dataset: Dataset, tmp_path: Path) -> None:
    words = ("train", dataset.folder, "--out", tmp_path / "run", "--log")
    refused(lmd(*words, "tensorbord"), "unknown log 'tensorbord'", "did you mean 'tensorboard'")
    with pytest.raises(SettingsError, match="unknown --log 'wandb'; known: mlflow, tensorboard"):
        logs.check_log("wandb")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("kind", ["tensorboard", "mlflow"])
def test_a_missing_package_says_how_to_install_it(
    kind: str, dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logs, "find_spec", lambda name: None)
    with pytest.raises(SettingsError, match=rf"--log {kind} needs the package '{kind}': .*\[{kind}\]"):
        train(dataset, tmp_path / "run", log=kind)
    assert not (tmp_path / "run").exists()


def test_tensorboard_reads_what_is_written(dataset: Dataset, tmp_path: Path) -> None:
    events = pytest.importorskip(
        "tensorboard.backend.event_processing.event_accumulator", reason="tensorboard is not installed"
    )
    out = tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        train(dataset, out, log="tensorboard", progress=Stop())
    train(dataset, out, log="tensorboard", resume=True)
    found = events.EventAccumulator(str(out / "tensorboard"))
    found.Reload()
    history = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    points = found.Scalars("stage1/loss/total")
    assert [point.step for point in points] == [1, 2, 3]
    assert [point.value for point in points] == pytest.approx([line["losses"]["total"] for line in history])
    assert "_hparams_/session_start_info" in found.summary_metadata


# MLflow, whose package is heavy: a stand-in with the calls that are used.


class Client:
    """As much of MlflowClient as is used; runs stay over several clients."""

    runs: dict[str, dict[str, Any]] = {}  # noqa: RUF012

    def __init__(self, tracking_uri: str) -> None:
        self.place = tracking_uri

    def get_experiment_by_name(self, name: str) -> Any:
        return None

    def create_experiment(self, name: str, artifact_location: str | None) -> str:
        assert name == "lmd"
        return "1"

    def create_run(self, experiment: str, run_name: str) -> Any:
        self.runs["r1"] = {"place": self.place, "params": [], "metrics": [], "status": "RUNNING"}
        return SimpleNamespace(info=SimpleNamespace(run_id="r1"))

    def log_batch(self, run: str, metrics: Any = (), params: Any = ()) -> None:
        assert len(params) <= 100
        self.runs[run]["metrics"] += metrics
        self.runs[run]["params"] += params

    def get_metric_history(self, run: str, name: str) -> Any:
        return [SimpleNamespace(step=step) for key, _, _, step in self.runs[run]["metrics"] if key == name]

    def set_terminated(self, run: str, status: str) -> None:
        self.runs[run]["status"] = status


@pytest.fixture
def mlflow(monkeypatch: pytest.MonkeyPatch) -> dict[str, dict[str, Any]]:
    tracking, entities = ModuleType("mlflow.tracking"), ModuleType("mlflow.entities")
    tracking.MlflowClient = Client  # type: ignore[attr-defined]
    entities.Metric = entities.Param = lambda *parts: parts  # type: ignore[attr-defined]
    for module in (ModuleType("mlflow"), tracking, entities):
        monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setattr(logs, "find_spec", lambda name: name)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")  # So that it is taken back after the test.
    monkeypatch.setattr(Client, "runs", {})
    return Client.runs


def test_mlflow_stays_in_the_run_folder_and_goes_on(
    dataset: Dataset, mlflow: dict[str, dict[str, Any]], tmp_path: Path
) -> None:
    out = tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        train(dataset, out, log="mlflow", progress=Stop())
    assert mlflow["r1"]["status"] == "KILLED"
    train(dataset, out, log="mlflow", resume=True)
    assert [(name, step) for name, _, _, step in mlflow["r1"]["metrics"]] == names(3)
    assert mlflow["r1"]["place"] == f"sqlite:///{out}/mlflow.db"
    assert mlflow["r1"]["status"] == "FINISHED"
    assert ("stage1.epochs", "3") in mlflow["r1"]["params"]
    assert len(mlflow) == 1


def test_another_place_is_told_without_its_password(
    dataset: Dataset,
    mlflow: dict[str, dict[str, Any]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://me:secret@example.org/x")
    with caplog.at_level(logging.WARNING):
        train(dataset, tmp_path / "quiet")
        assert "example.org" not in caplog.text
        train(dataset, tmp_path / "run", log="mlflow")
    assert caplog.text.count("go to https://***@example.org/x, as MLFLOW_TRACKING_URI says") == 1
    assert "secret" not in caplog.text
    assert mlflow["r1"]["place"] == "https://me:secret@example.org/x"


def test_without_a_log_nothing_is_wrapped(tmp_path: Path) -> None:
    watcher = Silent()
    with logging_to(None, RunFolder(tmp_path), watcher) as same:
        assert same is watcher
