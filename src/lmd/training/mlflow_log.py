"""A log for MLflow: a database in the run folder, or where MLFLOW_TRACKING_URI says."""

from __future__ import annotations

import logging
import os
import re
import time
from importlib import import_module
from typing import Any

from lmd.files import atomic_write
from lmd.run import RunFolder
from lmd.settings import Tree

_log = logging.getLogger(__name__)
EXPERIMENT = "lmd"
# Set unless the user has: MLflow tells its makers of each use, and tries a dead server for minutes.
_QUIET = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
}
_BATCH = 100  # Parameters that MLflow takes at once.


def _part(name: str) -> Any:
    return import_module(f"mlflow.{name}")


class MlflowLog:
    """One run of MLflow, whose id stands in RUN/mlflow-run.txt, so that a resumed run goes on with it."""

    def __init__(self, run: RunFolder) -> None:
        """Chooses the place, and says where it is if it is not the run folder."""
        self.run, self.id_file = run, run.path / "mlflow-run.txt"
        given = os.environ.get("MLFLOW_TRACKING_URI", "").strip()
        # Nothing is kept there, but MLflow notes a place, and takes the current folder by itself.
        self.files = None if given else (run.path / "mlflow-files").resolve().as_uri()
        self.place = given or f"sqlite:///{(run.path / 'mlflow.db').resolve()}"
        if given:
            text = "--log mlflow: settings, losses and validation go to %s, as MLFLOW_TRACKING_URI says"
            _log.warning(text, re.sub(r"//[^/@]*@", "//***@", given))

    def begin(self, settings: Tree) -> None:
        """Takes the run that was begun, or makes one with the settings as its parameters."""
        for name, value in _QUIET.items():
            os.environ.setdefault(name, value)
        self.client = _part("tracking").MlflowClient(tracking_uri=self.place)
        if self.id_file.is_file():
            self.id = self.id_file.read_text(encoding="ascii").strip()
            self.client.set_terminated(self.id, "RUNNING")
            return
        made = self.client.create_run(self._experiment(), run_name=self.run.path.resolve().name)
        self.id = str(made.info.run_id)
        atomic_write(self.id_file, f"{self.id}\n")
        self._write_settings(settings)

    def _experiment(self) -> str:
        known = self.client.get_experiment_by_name(EXPERIMENT)
        if known is not None:
            return str(known.experiment_id)
        return str(self.client.create_experiment(EXPERIMENT, artifact_location=self.files))

    def _write_settings(self, settings: Tree) -> None:
        values = [_part("entities").Param(name, str(value)) for name, value in settings.items()]
        for start in range(0, len(values), _BATCH):
            self.client.log_batch(self.id, params=values[start : start + _BATCH])

    def write(self, points: dict[str, float], epoch: int) -> None:
        """Writes the points of an epoch that are not there yet."""
        now, metric = round(1000 * time.time()), _part("entities").Metric
        new = [name for name in points if epoch not in self._known(name)]
        self.client.log_batch(self.id, metrics=[metric(name, points[name], now, epoch) for name in new])

    def _known(self, name: str) -> set[int]:
        """The epochs of a term that stand in the log."""
        return {int(point.step) for point in self.client.get_metric_history(self.id, name)}

    def close(self, finished: bool) -> None:
        """Says how the run ended."""
        self.client.set_terminated(self.id, "FINISHED" if finished else "KILLED")
