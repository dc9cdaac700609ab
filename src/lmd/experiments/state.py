"""The state file of an experiment's folder: what may go into its one table."""

from __future__ import annotations

import json
from pathlib import Path
from typing import cast

from lmd.errors import CheckpointError, SettingsError
from lmd.experiments.request import Job
from lmd.experiments.runs import RUNS, sha256_of
from lmd.files import atomic_write
from lmd.models.packages import weights_path
from lmd.reading import UnreadableError, json_of, text_of
from lmd.settings import Tree

STATE = "experiment.json"


def claim(job: Job) -> None:
    """Writes the state file, or checks that the folder's own asks for the same.

    Seeds, methods and further columns may be added by a later call; experiment, budget, data, weights and
    settings may not change, so that no table mixes them.

    Raises:
        SettingsError: the folder is another experiment's, or not empty; one line names the difference.
    """
    check(job)
    atomic_write(job.request.out / STATE, json.dumps(_wanted(job), indent=2) + "\n")


def check(job: Job) -> None:
    """Checks that the folder is new or this experiment's, and writes nothing.

    Raises:
        SettingsError: it is not.
    """
    out, wanted = job.request.out, _wanted(job)
    if not (out / STATE).is_file():
        if out.exists() and (not out.is_dir() or any(out.iterdir())):
            raise SettingsError(f"output folder {out} is not empty and holds no experiment; choose another")
        return
    if not (out / RUNS).exists():
        return  # Nothing was trained yet, so that nothing can be mixed.
    saved = _read(out / STATE)
    for name in ("experiment", "budget", "weights_sha256", "partial_weights", "settings"):
        if saved.get(name) != wanted[name]:
            raise SettingsError(
                f"{out} holds {saved.get('experiment')} with {name} = {saved.get(name)!r}, now asked for "
                f"{wanted[name]!r}; choose another --out, or ask for the same"
            )
    for block, sha256 in saved["data"].items():
        if wanted["data"].get(block, "") != sha256:
            raise SettingsError(
                f"{out} holds {saved['experiment']} on other data: column '{block}' has the manifest "
                f"{sha256[:12]}, this call names {wanted['data'].get(block, 'none')[:12]}; name the same "
                "--data again (columns may be added, never left out or changed), or choose another --out"
            )


def _wanted(job: Job) -> Tree:
    request = job.request
    weights = None if request.weights is None else weights_path(request.weights)
    if weights is not None and not weights.is_file():
        raise CheckpointError(f"no weights file {weights}")
    return {
        "format": 1,
        "experiment": request.name,
        "budget": request.budget,
        "data": {block: given.manifest_sha256 for block, given in job.data.items()},
        "weights_sha256": None if weights is None else sha256_of(weights),
        "partial_weights": request.partial_weights,
        "settings": sorted(request.overrides),
    }


def _read(path: Path) -> Tree:
    try:
        tree = cast("Tree", json_of(text_of(path)))
        saved = {**tree, "data": dict(tree["data"])}
        if not all(isinstance(text, str) for text in (saved["experiment"], *saved["data"].values())):
            raise UnreadableError("has hashes of data that are no texts")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SettingsError(f"{path} is damaged: {error}; choose another --out") from error
    return saved
