"""What a run folder holds, written and read: what the run is, its state, its model."""

from __future__ import annotations

import json
import logging
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast, get_args

import yaml
from pydantic import ValidationError

from lmd.errors import CheckpointError, SettingsError
from lmd.fields import first_fault
from lmd.files import atomic_path, atomic_write, load_tree, save_tree
from lmd.model_card import FORMAT, FileName, ModelCard
from lmd.models.packages import weights_path
from lmd.reading import MOST_YAML, UnreadableError, text_of, yaml_of
from lmd.run_folder import RunFolder, why_no_model
from lmd.seals import DAMAGED, read_sealed_json, sealed_json, sha256_of
from lmd.settings import CommonSettings, Tree
from lmd.text import shortened

if TYPE_CHECKING:
    from torch import Tensor

_log = logging.getLogger(__name__)

_HEAD = ("method", "method_sha256", "data", "manifest_sha256", "weights_sha256", "from_sha256")
# Settings that runs of earlier versions lack, and what these did.
_LATER = {"freeze": "none", "last_batch": "drop", "tau": 0.0, "calibration": "none"}
# What these tell apart; all else in an identity is a setting.
_KINDS = {"manifest_sha256": "data", "method_sha256": "code: the method's file has changed"}


def identity(
    method: str, settings: CommonSettings, data: Path, manifest_sha256: str, start: RunFolder | None = None
) -> Tree:
    """Returns what makes a run what it is: a checkpoint goes on only where all of it is equal."""
    return {
        "method": method,
        "method_sha256": _sha256(Path(method), "method") if method.endswith(".py") else None,
        "data": str(data.resolve()),
        "manifest_sha256": manifest_sha256,
        "weights_sha256": None if settings.weights is None else _sha256(weights_path(settings.weights)),
        "from_sha256": None if start is None else _sha256(start.stage1),
        "settings": settings.model_dump(mode="json"),
    }


def _sha256(path: Path, what: str = "weights") -> str:
    try:
        return sha256_of(path)
    except OSError as error:
        raise CheckpointError(f"no {what} file {path} ({error.strerror})") from error


def check_identity(saved: Tree, wanted: Tree) -> None:
    """Compares a checkpoint's identity with the wanted one.

    Raises:
        CheckpointError: they differ; the first difference is named.
    """
    saved = {**saved, "settings": upgraded(saved["settings"])}
    for name, old, new in _differences(saved, wanted, ""):
        if name != "data":  # A data set may have moved; its manifest's hash says whether it is the same.
            kind = _KINDS.get(name, "settings")
            raise CheckpointError(f"the checkpoint is from other {kind}: {name} was {old!r}, now {new!r}")


def upgraded(settings: Tree) -> Tree:
    """Returns the settings of a run as this version has them; a run of an earlier version does what it did.

    Its logit adjustment called `adjustment` tau, and its decoupling called `stage2.norm_power` so.
    """
    stage2 = settings.get("stage2")
    if isinstance(stage2, dict) and {"tau", "ncm_features"} <= stage2.keys():
        rest = {name: value for name, value in stage2.items() if name != "tau"}
        settings = {**settings, "stage2": {**rest, "norm_power": stage2["tau"]}}
    if "tau" in settings and "calibration" not in settings:
        settings = {**settings, "adjustment": settings["tau"], "tau": 0.0}
    return {**_LATER, **settings}


def _differences(old: Tree, new: Tree, prefix: str) -> list[tuple[str, Any, Any]]:
    found: list[tuple[str, Any, Any]] = []
    for name in dict.fromkeys((*old, *new)):
        before, after = old.get(name), new.get(name)
        if isinstance(before, dict) and isinstance(after, dict):
            found += _differences(cast("Tree", before), cast("Tree", after), f"{prefix}{name}.")
        elif before != after:
            found.append((prefix + name, before, after))
    return found


def write_identity(run: RunFolder, identity: Tree) -> None:
    """Writes settings.yaml: method and data first, then every setting, all on one level."""
    flat = {name: identity[name] for name in _HEAD} | identity["settings"]
    atomic_write(run.settings, yaml.safe_dump(flat, sort_keys=False))


def read_identity(run: RunFolder) -> Tree:
    """Returns the identity that settings.yaml holds.

    Raises:
        CheckpointError: this is no run folder.
    """
    try:
        flat = cast("Tree", yaml_of(text_of(run.settings, MOST_YAML)))
        flat.setdefault("method_sha256")  # Runs of earlier versions have none.
        head = {name: flat.pop(name) for name in _HEAD}
    except (OSError, KeyError, AttributeError, TypeError) as error:
        raise CheckpointError(f"{run.path} is not a run folder: it has no readable settings.yaml") from error
    except UnreadableError as error:
        raise CheckpointError(f"{run.path} has no readable settings.yaml: it {error}") from error
    _check_head(run, head)
    return {**head, "settings": upgraded(flat)}


def _check_head(run: RunFolder, head: Tree) -> None:
    """Refuses a head whose values are no texts; the hashes may be missing."""
    for name, value in head.items():
        none = value is None and name.endswith("_sha256")
        if not none and (not isinstance(value, str) or "\0" in value):
            told = shortened(repr(value))
            raise CheckpointError(f"{run.settings} is damaged: {name} = {told} is no text that can be meant")


def write_metrics(run: RunFolder, history: list[Tree]) -> None:
    """Writes the whole history: after a resume no line stands twice."""
    atomic_write(run.metrics, "".join(json.dumps(record) + "\n" for record in history))


def write_stage1(run: RunFolder, weights: dict[str, Tensor], kind: str) -> None:
    """Writes the network that the first stage hands over, with the kind of its classifier."""
    save_tree(run.stage1, {"classifier": kind, "weights": weights})


def read_stage1(run: RunFolder, settings: CommonSettings) -> tuple[str, dict[str, Tensor]]:
    """Returns the kind of classifier and the weights that a finished run's first stage handed over.

    Raises:
        CheckpointError: the run is not finished, or keeps no first stage.
        SettingsError: it was trained with another encoder or image size.
    """
    card = read_model_card(run)
    found = {"encoder": card.encoder, **card.preprocessing.model_dump()}
    for name in ("encoder", "size", "crop"):
        if found[name] != getattr(settings, name):
            wanted = getattr(settings, name)
            raise SettingsError(f"--from {run.path}: it has {name} = {found[name]}, this run wants {wanted}")
    check_files(run, card)
    if not run.stage1.is_file() and run.stage1.name not in card.files:
        raise CheckpointError(
            f"--from {run.path}: it keeps no first stage, as runs of 'lmd fit' do not; begin with its "
            f"encoder: --weights {run.path}"
        )
    return stage1_of(run)


def stage1_of(run: RunFolder) -> tuple[str, dict[str, Tensor]]:
    """Returns the kind of classifier and the weights that stage1.safetensors holds.

    Raises:
        CheckpointError: it is missing, damaged, or holds something else.
    """
    tree = load_tree(run.stage1)
    try:
        kind = "classifier" if "classifier" in tree else "head"  # Version 0.1 wrote "head".
        return tree[kind], dict(tree["weights"])
    except (KeyError, TypeError, ValueError) as error:  # Its checksum fits: somebody made it so.
        raise CheckpointError(f"{run.stage1} is damaged: it does not hold a first stage") from error


def write_model(
    run: RunFolder, weights: dict[str, Tensor], card: ModelCard, artefacts: dict[str, Tensor]
) -> None:
    """Writes the model folder; model.json comes last, so that its presence says the model is complete."""
    from safetensors.torch import save_file

    with atomic_path(run.weights) as temporary:
        save_file({name: value.detach().cpu().contiguous() for name, value in weights.items()}, temporary)
    if artefacts:
        with atomic_path(run.gaussians) as temporary:
            save_file({name: value.contiguous() for name, value in artefacts.items()}, temporary)
    names = [name for name in get_args(FileName) if (run.model.parent / name).is_file()]
    files = {name: sha256_of(run.model.parent / name) for name in names}
    card = card.model_copy(update={"format": FORMAT, "files": files})
    atomic_write(run.model, sealed_json(card.model_dump(mode="json")))


def read_model_card(run: RunFolder) -> ModelCard:
    """Returns model.json.

    Raises:
        CheckpointError: the run has no finished model, or the file is damaged.
    """
    if not run.model.is_file():
        raise CheckpointError(f"{run.path} has no trained model: {why_no_model(run)}")
    try:
        tree, sealed = read_sealed_json(run.model)
        card = ModelCard.model_validate(tree)
    except ValidationError as error:
        raise CheckpointError(f"{run.model} is damaged: {first_fault(error)}") from error
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{run.model} is damaged: {error}") from error
    if not sealed:
        _tell_no_checksum(run.model)
    return card


@cache
def _tell_no_checksum(path: Path) -> None:
    """Says it once, however often the file is read."""
    _log.warning("%s is of an earlier version: it has no checksums that would show damage", path)


def check_files(run: RunFolder, card: ModelCard) -> None:
    """Checks that the files of a model are those that its model.json was written with.

    What a copy of the run leaves out is not missed, but for the weights.

    Raises:
        CheckpointError: a file was changed, or the weights are gone.
    """
    for name, wanted in card.files.items():
        path = run.model.parent / name
        if (path.is_file() or path == run.weights) and _sha256(path) != wanted:
            raise CheckpointError(f"cannot read {path}: {DAMAGED}; copy it anew, or train the run again")


def save_checkpoint(run: RunFolder, state: Tree) -> None:
    """Saves the state of a run in one atomic file."""
    save_tree(run.checkpoint, state)


def load_checkpoint(run: RunFolder) -> Tree:
    """Returns the state that `save_checkpoint` saved."""
    return cast("Tree", load_tree(run.checkpoint))
