"""A data set with its caches, and a run with all its files: what the sound bytes are taken from."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from unittest.mock import patch

from tests import toy

COUNTS = {"train": [6, 4, 5], "val": [2, 2, 2], "test": [3, 3, 2]}


def make(folder: Path) -> Path:
    """Makes the world in a folder, which it returns."""
    import lmd
    from lmd.data.audit.fingerprint import fingerprint
    from lmd.run_folder import RunFolder
    from lmd.training.progress import Silent
    from lmd.training.saving import VARIABLE
    from lmd.training.start import train

    class Keeping(Silent):
        """Keeps the checkpoint that a finished run removes."""

        def finished(self, record: object) -> None:
            shutil.copy(run / "checkpoint" / "state.safetensors", folder / "state.safetensors")

    dataset = toy.make_dataset(folder, COUNTS)
    run = folder / "run"
    settings = lmd.methods.settings_of("ce", recipe={**toy.COMMON, "stage1": {"epochs": 2}})
    with patch.dict(os.environ, {VARIABLE: "0"}):
        train(dataset, "ce", settings, run, progress=Keeping())
    lmd.evaluate(run, "test")
    (run / "checkpoint").mkdir(exist_ok=True)
    (folder / "state.safetensors").rename(run / "checkpoint" / "state.safetensors")
    fingerprint(dataset, lambda done, of: None, 36, True)
    assert RunFolder(run).checkpoint.is_file()
    state = {"format": 1, "experiment": "table3", "budget": "short", "data": {"100": "0" * 64}, "weights_sha256": None,
             "partial_weights": False, "settings": ["size=16"]}  # fmt: skip
    (folder / "experiment.json").write_text(json.dumps(state))
    _add_folds(folder, run)
    return folder


def _add_folds(folder: Path, run: Path) -> None:
    """Adds a folder of two divisions of the data set, and a folds run of one of them."""
    from lmd.data.dataset.folds_folder import FoldsInfo, write_info
    from lmd.data.dataset.manifest import read_dataset
    from lmd.folds.folder import FoldsRun, FoldsRunInfo, write_folds_run
    from lmd.run import read_identity
    from lmd.run_folder import RunFolder

    sha256 = read_dataset(folder / "data").info.manifest_sha256
    names = ("repeat-1", "repeat-2")
    for name in names:
        for file in ("dataset.json", "manifest.csv"):
            (folder / "folds" / name).mkdir(parents=True, exist_ok=True)
            shutil.copy(folder / "data" / file, folder / "folds" / name)
    hashes = dict.fromkeys(names, sha256)
    write_info(
        folder / "folds",
        FoldsInfo(title="toy", folds=None, repeats=2, seed=0, manifests_sha256=hashes),
    )
    shutil.copytree(run, folder / "folds-run" / "repeat-1")
    saved = read_identity(RunFolder(run))
    info = FoldsRunInfo(
        title="toy",
        method="ce",
        data=str(folder / "folds"),
        manifests_sha256={"repeat-1": sha256},
        settings=saved["settings"],
    )
    write_folds_run(FoldsRun(folder / "folds-run", info))
