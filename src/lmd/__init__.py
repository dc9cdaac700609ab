"""Long-tailed medical diagnosis: training classifiers that recognise rare classes, and proving it.

    import lmd

    data = lmd.prepare("folder", root="images", out="data")
    run = lmd.train(data, method="lmd", out="run", seed=1)
    lmd.evaluate(run, split="test").metrics["bacc"]
    lmd.load("run").predict(["a.jpg", "b.dcm"])

docs/api.md describes them. Nothing heavy is imported before one of them is used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from lmd.version import __version__

if TYPE_CHECKING:
    from lmd import data, evaluation, losses, methods, models, stages
    from lmd.api.data import inspect, prepare, read_dataset
    from lmd.api.deployed import export
    from lmd.api.dicom import dicom_reports
    from lmd.api.runs import evaluate, load, plan, report, train
    from lmd.api.serving import serve
    from lmd.api.several import compare, reproduce, tune
    from lmd.data.dataset.folds_folder import Folds
    from lmd.embedding.embed import embed
    from lmd.embedding.fit import fit
    from lmd.embedding.folder import Features, read_features
    from lmd.errors import CheckpointError, DataError, LmdError, SettingsError
    from lmd.estimator import VirtualFeatureClassifier
    from lmd.folds.folder import FoldsRun
    from lmd.run import RunFolder

__all__ = [
    "CheckpointError",
    "DataError",
    "Features",
    "Folds",
    "FoldsRun",
    "LmdError",
    "RunFolder",
    "SettingsError",
    "VirtualFeatureClassifier",
    "__version__",
    "compare",
    "data",
    "dicom_reports",
    "embed",
    "evaluate",
    "evaluation",
    "export",
    "fit",
    "inspect",
    "load",
    "losses",
    "methods",
    "models",
    "plan",
    "prepare",
    "read_dataset",
    "read_features",
    "report",
    "reproduce",
    "serve",
    "stages",
    "train",
    "tune",
]

_ROOMS = ("data", "evaluation", "losses", "methods", "models", "stages")
_HOMES = {
    "lmd.api.data": ("inspect", "prepare", "read_dataset"),
    "lmd.api.deployed": ("export",),
    "lmd.api.dicom": ("dicom_reports",),
    "lmd.api.runs": ("evaluate", "load", "plan", "report", "train"),
    "lmd.api.serving": ("serve",),
    "lmd.api.several": ("compare", "reproduce", "tune"),
    "lmd.errors": ("CheckpointError", "DataError", "LmdError", "SettingsError"),
    "lmd.run": ("RunFolder",),
    "lmd.embedding.embed": ("embed",),
    "lmd.embedding.fit": ("fit",),
    "lmd.embedding.folder": ("Features", "read_features"),
    "lmd.estimator": ("VirtualFeatureClassifier",),
    "lmd.data.dataset.folds_folder": ("Folds",),
    "lmd.folds.folder": ("FoldsRun",),
}


def __getattr__(name: str) -> Any:
    """Imports a public name when it is first used (PEP 562)."""
    if name in _ROOMS:
        return importlib.import_module(f"lmd.{name}")
    for home, names in _HOMES.items():
        if name in names:
            return getattr(importlib.import_module(home), name)
    raise AttributeError(f"module 'lmd' has no attribute '{name}'")


def __dir__() -> list[str]:
    """Returns the public names."""
    return sorted(__all__)
