"""The state of a run between two epochs, saved and taken back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple, cast

from torch import OutOfMemoryError, Tensor

from lmd import run
from lmd.errors import CheckpointError
from lmd.evaluation.leaks.seen import SeenImages
from lmd.models.classifier import classifier_kind
from lmd.models.network import Network
from lmd.run import RunFolder
from lmd.settings import Tree
from lmd.stages.base import Stage
from lmd.training.selection import Best

_PARTS = ("identity", "classifier", "network", "stage_state", "state")


class FirstStage(NamedTuple):
    """What another run's first stage handed over, and the images that it saw where the run tells."""

    classifier: str
    weights: dict[str, Tensor]
    seen: SeenImages | None = None


@dataclass
class State:
    """Where a run stands: all that a checkpoint holds besides network and stage."""

    stage: int = 0
    epoch: int = 0
    best: Best = field(default_factory=Best)
    history: list[Tree] = field(default_factory=list[Tree])


def whole(identity: Tree, network: Network, stage: Stage | None, state: State) -> Tree:
    """Returns a copy of all that a run goes on from; no `stage` between two stages.

    The best network is not copied: another takes its place, and nothing changes it.
    """
    return {
        "identity": identity,
        "classifier": classifier_kind(network.classifier),
        "network": copied(network.state_dict()),
        "stage_state": copied(stage.state_dict()) if stage else None,
        "state": {**vars(state), "history": list(state.history), "best": dict(vars(state.best))},
    }


def copied(tree: Any) -> Any:
    """Returns a tree of values with copies of its tensors, each where it lies."""
    return _mapped(tree, _copy)


def fetched(tree: Any) -> Any:
    """Returns a tree of values with its tensors in the memory of the processor."""
    return _mapped(tree, Tensor.cpu)


def _copy(value: Tensor) -> Tensor:
    try:
        return value.detach().clone()
    except OutOfMemoryError:  # Of a GPU.
        return value.detach().cpu()


def _mapped(tree: Any, change: Callable[[Tensor], Tensor]) -> Any:
    if isinstance(tree, Tensor):
        return change(tree)
    if isinstance(tree, dict):
        pairs = cast("Tree", tree).items()
        return {key: _mapped(value, change) for key, value in pairs}
    if type(tree) in (list, tuple):
        return [_mapped(value, change) for value in tree]
    return tree


def load(folder: RunFolder, identity: Tree) -> Tree | None:
    """Returns what `whole` returned and was saved, or None where there is no checkpoint yet.

    Raises:
        CheckpointError: it is damaged, or of another run.
    """
    if not folder.checkpoint.is_file():
        return None
    saved = run.load_checkpoint(folder)
    try:
        for name in _PARTS:
            saved[name]
        run.check_identity(saved["identity"], identity)
        state_of(saved)
    except (AttributeError, KeyError, TypeError) as error:  # Its checksum fits: somebody made it so.
        raise CheckpointError(
            f"{folder.checkpoint} is damaged: it does not hold what a run saves; start the run anew in "
            "another folder"
        ) from error
    return saved


def state_of(saved: Tree) -> State:
    """Returns where a saved run stood."""
    state = saved["state"]
    best = Best(**state["best"])
    if best.score is not None and not best.validation:  # Of an earlier version, which chose by this alone.
        best.validation = {"bacc": best.score}
    return State(state["stage"], state["epoch"], best, state["history"])


def restore_stage(folder: RunFolder, stage: Stage, state: dict[str, Any]) -> None:
    """Gives a stage its saved state back.

    Raises:
        CheckpointError: another version of lmd wrote it.
    """
    try:
        stage.load_state_dict(state)
    except (KeyError, ValueError, RuntimeError, TypeError) as error:
        raise CheckpointError(
            f"checkpoint {folder.checkpoint} does not fit stage '{stage.name}': another version of "
            "lmd wrote it; start the run anew in another folder"
        ) from error
